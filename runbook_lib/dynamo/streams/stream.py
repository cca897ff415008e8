"""One table's stream: whether it can be followed, and where its shards stand."""

from ..session import Connection
from .positions import Positions


class Stream:
    """A stream that is on and shows new and old images. Read-only, thread-safe."""

    table: str
    arn: str
    label: str

    def positions_now(self) -> Positions:
        """Return positions from which every change that is made from now on will be read, and some older ones again."""
        raise NotImplementedError


def open_stream(connection: Connection, table: str) -> Stream:
    """Return the stream of a table. Read-only.

    Raises Refused where it is off or does not show new and old images, NotAvailable where the engine has no streams,
    Denied without the rights, Interrupted where the endpoint does not answer.
    """
    raise NotImplementedError
