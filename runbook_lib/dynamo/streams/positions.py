"""How far a stream has been read: plain JSON, so that a journal can hold it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple


class Position(NamedTuple):
    """How far one shard has been read."""

    parent: str | None
    sequence: str  # the last one seen; where none was, the shard's StartingSequenceNumber
    seen: bool = False
    ended: bool = False  # read to the end of a closed shard


@dataclass(frozen=True)
class Positions:
    """How far the shards of one stream have been read. A shard that is not among them holds nothing to read, or only later.

    Small: an ended shard is left out as soon as its children are known.
    """

    arn: str  # the stream's
    label: str  # LatestStreamLabel: another one is another stream, which does not hold what this one held
    shards: Mapping[str, Position]

    def as_json(self) -> dict[str, Any]:
        """The same as plain JSON."""
        raise NotImplementedError

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Positions":
        """The positions that `as_json` made. Raises Damaged where they are none."""
        raise NotImplementedError
