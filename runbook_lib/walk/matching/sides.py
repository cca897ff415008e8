"""What is remembered of an entry's items on both sides while they are matched, and how the two are joined; see `search`.

Hashes of values, keys and places in a file of working data go to bags, which spill. They are joined part by part, so memory
holds a part of one entry.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ...mapping.ids import id_hash
from ...mapping.matching.ids import compile_target_id, holder_of_id
from ...mapping.matching.owner import compile_owner
from ...mapping.matching.values import compile_values, folded, hash_of
from ...mapping.model import INSERT
from ...mapping.routes import Route, Row
from ...run.matches import line_of
from ...run.spill import HashLog, HashSet, Spool
from ...values import key_hash
from ...verdict import plural

SEVERAL = "{} items of the target have these values"
TWICE = "{} source items have these values, and one item of the target"
MANY = "{} source items and {} items of the target have these values"
NO_ID = "the item of the target that has these values has no id of the same type"
COPIED = "its copy in the target, and {} beside it, have these values"
SHARED_ID = "{} matched source items share one id, and are different items of the target"
EXAMPLES = 2
_HASH, _HEAD, _PLACE = 16, 8, 8  # bytes
_T, _S, _PAIR = 2 * _HASH + _PLACE, 3 * _HASH + _PLACE, _HASH + 2 * _PLACE


@dataclass
class Figures:
    """What the search found of an entry, in items."""

    source: int | None = (
        None  # with all values of `by`; None where the source was not read: the target has none to match
    )
    target: int = 0  # likewise, of those that are the entry's
    matched: int = 0
    ambiguous: int = 0
    nearly: int = 0  # would be matched if the case of letters and the blanks around texts did not count


class Sides:
    """One entry's items of both sides."""

    def __init__(self, route: Route):
        """`route` knows the matches of the entries whose ids the values hold, and none of its own."""
        self.route, self.entry = route, route.entry
        self.figures = Figures()
        self.looked_at = 0  # the entry's items of both sides
        self.lacking: dict[str, list[str]] = {}  # source, target -> paths of `by` at which no item there has a value
        self.examples: list[list[dict]] = []  # values of the first matches
        self._key = [name for name, _ in route.shape.target_key]
        self._owner, self._values = compile_owner(self.entry, self._key), compile_values(self.entry)
        self._id_of = compile_target_id(self.entry)
        self._there, self._here = Spool(), Spool()  # what a place in a bag stands for
        self._target, self._source = HashLog(_T), HashLog(_S)
        self._near_target, self._near_source = HashLog(3 * _HASH), HashLog(4 * _HASH)
        self._lock = threading.Lock()
        self._wanted: tuple[HashSet, HashSet] | None = None

    @property
    def attributes(self) -> list[str]:
        """The attributes that are read of the target's items."""
        holder = holder_of_id(self.entry)
        own = {holder.steps[0]} if holder else set()
        return sorted({*self._key, *(steps[0] for steps in self.entry.match_paths), *self._owner.attributes} | own)

    @property
    def is_told_apart(self) -> bool:
        """Whether something tells the entry's items from others in the same table."""
        return bool(self._owner.attributes)

    def add_target(self, pages: Iterator[list[dict]]) -> None:
        """Remembers the entry's items among those of the target table."""
        seen, owned = Counter(), 0
        for items in pages:
            exact, near = [], []
            for item in filter(self._owner.owns, items):
                owned += 1
                values = self._values(item)
                _count(seen, values)
                if None in values:
                    continue
                key = {name: item[name] for name in self._key}
                hashed, hashed_key = hash_of(values), key_hash(key)
                place = self._there.append(item)
                exact.append(hashed + hashed_key + place.to_bytes(_PLACE, "big"))
                near.append(hash_of(folded(values)) + hashed + hashed_key)
            self.figures.target += len(exact)
            self._target.extend(exact)
            self._near_target.extend(near)
        self._note_lacking("target", seen, owned)

    def needs_source(self) -> bool:
        """Whether an item of the target can be matched."""
        return bool(self.figures.target)

    def begin_source(self) -> None:
        """Call it between the target's items and the source's."""
        self._wanted = _heads(self._target), _heads(self._near_target)
        self.figures.source, self._seen, self._rows = 0, Counter(), 0

    def add_source(self, rows: list[Row]) -> None:
        """Remembers those rows of the entry whose values the target has. Thread-safe."""
        exact_wanted, near_wanted = self._wanted
        seen, whole, exact, near = Counter(), 0, [], []
        for row in rows:
            values = self._values(row.item)
            _count(seen, values)
            if None in values:
                continue
            whole += 1
            hashed, close = hash_of(values), hash_of(folded(values))
            if hashed[:_HEAD] in exact_wanted:
                exact.append((hashed, row, values))
            if close[:_HEAD] in near_wanted:
                near.append(close + hashed + key_hash(row.source_key) + row.key_hash)
        with self._lock:
            self._rows += len(rows)
            self._seen.update(seen)
            self.figures.source += whole
            self._near_source.extend(near)
            self._source.extend(
                hashed + key_hash(row.source_key) + row.key_hash + self._keep(row, values).to_bytes(_PLACE, "big")
                for hashed, row, values in exact
            )

    def _keep(self, row: Row, values: list[dict]) -> int:
        return self._here.append({"key": row.source_key, "id": row.old, "values": values})

    def join(self, doubt: Callable[[dict, str], object]) -> Iterator[dict[str, Any]]:
        """The matches, as lines of the frozen file, in an order that only depends on ids. Call it once.

        `doubt` hears of each ambiguous source item: its key, and why.
        """
        if self._wanted is None:
            return
        self._note_lacking("source", self._seen, self._rows)
        self._count_near()

        def ambiguous(key: dict, reason: str) -> None:
            self.figures.ambiguous += 1
            doubt(key, reason)

        for group in self._pairs(ambiguous):
            lines = [self._line(pair) for pair in group]
            if len(group) > 1:
                for line in lines:
                    ambiguous(line["key"], SHARED_ID.format(len(group)))
                continue
            self.figures.matched += 1
            yield from lines

    def _line(self, pair: bytes) -> dict[str, Any]:
        here = self._here.at(int.from_bytes(pair[_HASH : _HASH + _PLACE], "big"))
        item = self._there.at(int.from_bytes(pair[-_PLACE:], "big"))
        if len(self.examples) < EXAMPLES:
            self.examples.append(here["values"])
        old = here["id"]
        new = None if old is None else self._id_of(item, old)
        key = {name: item[name] for name in self._key}
        return line_of(self.entry.name, here["key"], old, key, new, hash_of(here["values"]))

    def _pairs(self, ambiguous: Callable[[dict, str], object]) -> Iterator[list[bytes]]:
        """Pairs of places whose values are equal and those of nothing else, those of one old id together."""
        pairs = HashLog(_PAIR)
        for of_target, of_source in zip(self._target.parts(), self._source.parts(), strict=True):
            there, here = _grouped(of_target, _T), _grouped(of_source, _S)
            for hashed in sorted(here):
                pair = self._pair(there[hashed], sorted(here[hashed]), ambiguous)
                if pair:
                    pairs.extend([pair])
        for part in pairs.parts():
            groups = _grouped(part, _PAIR)
            for hashed in sorted(groups):
                yield sorted(groups[hashed])

    def _pair(self, there: list[bytes], here: list[bytes], ambiguous: Callable[[dict, str], object]) -> bytes | None:
        """The pair of two items that equal each other and nothing else. Of copies that these source items have there, none.

        A source item that is there twice, as its copy and as an item of others, is ambiguous, unless the mapping says so.
        """
        copies = {one[2 * _HASH : 3 * _HASH] for one in here} & {one[_HASH : 2 * _HASH] for one in there}
        left = [one for one in there if one[_HASH : 2 * _HASH] not in copies]
        mine = [one for one in here if one[2 * _HASH : 3 * _HASH] not in copies]
        if left and self.entry.model.match.found != INSERT:
            for one in here:
                if one[2 * _HASH : 3 * _HASH] in copies:
                    ambiguous(self._of_source(one)["key"], COPIED.format(plural(len(left), "item")))
        if not left or not mine:
            return None
        lines = [(one, self._of_source(one)) for one in mine]
        reason = ""
        if len(here) > 1:
            reason = MANY.format(len(here), len(left)) if len(left) > 1 else TWICE.format(len(here))
        elif len(left) > 1:
            reason = SEVERAL.format(len(left))
        elif self.entry.model.reuses:
            old = lines[0][1]["id"]
            item = self._there.at(int.from_bytes(left[0][-_PLACE:], "big"))
            reason = NO_ID if old is None or self._id_of(item, old) is None else ""
        if reason:
            for _, line in lines:
                ambiguous(line["key"], reason)
            return None
        old, (place,) = lines[0][1]["id"], left
        of_id = mine[0][_HASH : 2 * _HASH] if old is None else id_hash(self.entry.name, old, _HASH)
        return of_id + mine[0][-_PLACE:] + place[-_PLACE:]

    def _of_source(self, one: bytes) -> dict[str, Any]:
        return self._here.at(int.from_bytes(one[-_PLACE:], "big"))

    def _count_near(self) -> None:
        for of_target, of_source in zip(self._near_target.parts(), self._near_source.parts(), strict=True):
            there, here = _grouped(of_target, 3 * _HASH), _grouped(of_source, 4 * _HASH)
            for hashed, mine in here.items():
                if len(mine) == len(theirs := there[hashed]) == 1:
                    (one,), (other,) = mine, theirs
                    is_copy = one[3 * _HASH :] == other[2 * _HASH :]
                    self.figures.nearly += not is_copy and one[_HASH : 2 * _HASH] != other[_HASH : 2 * _HASH]

    def _note_lacking(self, side: str, seen: Counter, items: int) -> None:
        names = self.entry.model.match.by
        self.looked_at += items
        if items and (lacking := [name for number, name in enumerate(names) if not seen[number]]):
            self.lacking[side] = lacking


def _heads(bag: HashLog) -> HashSet:
    """The heads of the hashes by which a bag is joined: small enough to ask of every row, and right but for a few too many."""
    heads = HashLog(_HEAD)
    for part in bag.parts():
        heads.extend(part[at : at + _HEAD] for at in range(0, len(part), bag.width))
    return heads.frozen()


def _count(seen: Counter, values: list[dict | None]) -> None:
    for number, value in enumerate(values):
        if value is not None:
            seen[number] += 1


def _grouped(part: bytes, width: int) -> dict[bytes, list[bytes]]:
    """The entries of a part of a bag by their first hash."""
    groups: dict[bytes, list[bytes]] = defaultdict(list)
    for at in range(0, len(part), width):
        one = part[at : at + width]
        groups[one[:_HASH]].append(one)
    return groups
