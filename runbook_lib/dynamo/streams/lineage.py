"""Which shards come before and after which, by all the listings of a stream so far. Pure."""

from collections.abc import Iterable, Iterator, Mapping

from .records import Shard

REMEMBERED = 26 * 3600.0  # seconds that a shard is remembered after it was last listed: longer than a stream keeps it
UNCLEAR = 60.0  # seconds after which a listing is not late any more


class Lineage:
    """The shards that were ever listed. A single listing may be old, and lack what an earlier one had."""

    def __init__(self) -> None:
        self._shards: dict[str, Shard] = {}
        self._listed: dict[str, float] = {}  # when each was listed last
        self._children: dict[str, list[str]] = {}
        self._unclear: dict[str, float] = {}  # shards whose descent is unclear → since when

    def learn(self, listed: Mapping[str, Shard], now: float) -> None:
        """Notes a listing."""
        self._shards |= listed
        self._listed |= dict.fromkeys(listed, now)
        for name in [name for name, at in self._listed.items() if now - at >= REMEMBERED]:
            del self._shards[name], self._listed[name]
        self._children = {}
        for name, shard in self._shards.items():
            if shard.parent is not None:
                self._children.setdefault(shard.parent, []).append(name)

    def __contains__(self, name: object) -> bool:
        return name in self._shards

    def parent(self, name: str) -> str | None:
        """A shard's parent, None where it has none or is not known."""
        return self._shards[name].parent if name in self._shards else None

    def above(self, name: str, parent: str | None) -> Iterator[str]:
        """The ancestors of a shard, its parent first, as far as they are known."""
        met = {name}  # a listing that leads in a circle would lead for ever
        while parent is not None and parent not in met:
            met.add(parent)
            yield parent
            parent = self.parent(parent)

    def below(self, names: Iterable[str], known: set[str]) -> dict[str, Shard]:
        """The descendants of shards that are not known, parents first. Adds them to `known`."""
        found, left = {}, list(names)
        while left:
            for child in self._children.get(left.pop(), ()):
                if child not in known:
                    known.add(child)
                    found[child] = self._shards[child]
                    left.append(child)
        return found

    def beside(self, read: set[str], known: set[str], now: float) -> tuple[dict[str, Shard], bool]:
        """The shards that are new although no shard that was just read leads to them; and whether one stays unexplained.

        `read`: shards of which nothing is left, `known`: those and all that are being read. A child of a read one, or a
        shard without a parent, that is still not known after UNCLEAR seconds was listed late. So long it may be that only
        the listing lacks the link between it and a known one.
        """
        heads = {
            name: shard
            for name, shard in self._shards.items()
            if name not in known and (shard.parent in read or shard.parent not in self._shards)
        }
        self._unclear = {name: self._unclear.get(name, now) for name in heads}
        over = {name: shard for name, shard in heads.items() if now - self._unclear[name] >= UNCLEAR}
        explained = {name: one for name, one in over.items() if one.parent is None or one.parent in read}
        return explained, len(explained) < len(over)

    @property
    def is_unclear(self) -> bool:
        """Whether there are shards of which it is not yet clear what they come after."""
        return bool(self._unclear)
