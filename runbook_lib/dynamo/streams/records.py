"""What a stream says of one change. Pure."""

from typing import NamedTuple


class Record(NamedTuple):
    """One change of one item. `key` and `image` are typed, as the wire holds them."""

    kind: str  # INSERT, MODIFY, REMOVE
    key: dict
    image: dict | None  # the item as it is after the change; None where it was removed
    sequence: str
    shard: str
    at: float  # seconds since the epoch, as DynamoDB says it: a whole second or minute, never finer
