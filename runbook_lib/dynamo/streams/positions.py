"""How far a stream has been read: plain JSON, so that a journal can hold it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...errors import Damaged


class Position(NamedTuple):
    """How far one shard has been read."""

    parent: str | None
    sequence: (
        str | None
    )  # the last one seen; where none was, the StartingSequenceNumber, None where the engine lists none
    seen: bool = False  # whether a record of it was seen
    ended: bool = (
        False  # nothing of it is left to read; `seen` says then whether it was read, or closed before the position
    )


_TYPES = {"parent": (str, type(None)), "sequence": (str, type(None)), "seen": (bool,), "ended": (bool,)}


@dataclass(frozen=True)
class Positions:
    """How far one stream has been read: the shards where what was read ends. Their ancestors have been read, all others are new.

    An ended shard is among them only until a child of it is known.
    """

    arn: str  # the stream's
    label: str  # LatestStreamLabel: another one is another stream, which does not hold what this one held
    shards: Mapping[str, Position]

    def as_json(self) -> dict[str, Any]:
        """The same as plain JSON."""
        return {
            "stream": self.arn,
            "label": self.label,
            "shards": {name: position._asdict() for name, position in self.shards.items()},
        }

    @classmethod
    def from_json(cls, content: Any) -> "Positions":
        """The positions that `as_json` made. Raises Damaged where they are none."""
        try:
            arn, label, shards = content["stream"], content["label"], content["shards"]
            fits = all(isinstance(value, str) for value in (arn, label)) and all(
                one.keys() == _TYPES.keys() and all(type(one[name]) in kinds for name, kinds in _TYPES.items())
                for one in shards.values()
            )
            if fits:
                return cls(arn, label, {name: Position(**one) for name, one in shards.items()})
        except (KeyError, TypeError, AttributeError):
            pass
        raise Damaged("The noted positions of a stream are not readable; walk its table again.")
