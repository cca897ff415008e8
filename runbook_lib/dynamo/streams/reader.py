"""Reading a stream's shards round by round, parents before children."""

import time
from collections.abc import Callable
from typing import NamedTuple

from .positions import Positions
from .records import Record
from .stream import Stream


class Newest(NamedTuple):
    """The newest record so far."""

    received: float  # the reader's clock, when it came
    at: float  # when the change was made, in seconds since the epoch


class Batch(NamedTuple):
    """What one round gave."""

    records: list[Record]  # per key in order
    positions: Positions  # after these records: what to note once they are applied
    quiet: int  # rounds in a row in which every open shard, freshly listed, gave nothing; 0 as soon as a record came
    newest: Newest | None  # None: no record since this reader began
    caught_up: bool  # the last answer of every open shard was empty, and no shard's children are still to be found
    wait: float  # seconds until a shard may be asked again; 0.0: at once


class StreamReader:
    """Reads one stream from a position. For one thread at a time; close it, or use it as a context."""

    def __init__(
        self,
        stream: Stream,
        positions: Positions,
        *,
        workers: int = 4,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Asks nobody. Raises PositionLost where the positions are another stream's."""
        raise NotImplementedError

    def read(self) -> Batch:
        """Return what one round gave: every shard that may be asked now was asked once. Read-only; never sleeps by itself.

        Calling it again says that the batch before was applied and noted: only then are children of a shard read whose
        last records were in that batch. Empty, with the time to wait, where nothing may be asked yet.
        Raises PositionLost where records after the position are gone, Interrupted where the endpoint does not recover.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Ends the reader's threads."""

    def __enter__(self) -> "StreamReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
