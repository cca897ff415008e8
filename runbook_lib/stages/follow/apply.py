"""Brings single source items to the target: what a delta does for a page, and deletes.

1. A record of a stream only says that a key changed. Where the item that it shows is what the journal says that stands, there
   is nothing to read: each change has a record of its own, and the last one decides.
2. Else the source item is read now, routed, and compared with the journal and the target, as a delta does.
3. A copy of ours goes whose source item is gone, or is no longer to be copied, where nobody has edited it.

So records that come twice, late, or in another order between shards have no effect.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ...journal.intents import JournalRow
from ...journal.listings import SHARED, TAKEN
from ...journal.log import CONFLICT, FAILED, INSERTED, LOSER
from ...journal.lookup import GONE, OF_NO_ENTRY, OPEN, Lookup, Said, item_hash_of
from ...journal.stage import Stage
from ...values import digest, key_hash
from ...walk.plan import Plan
from ...walk.walk import Page, route_to_insert
from ..migrate.changes import ARRIVED, HELD, MISSING, Change, Met, is_quiet, met_of
from ..migrate.delta import WAITING, SecondWalk
from ..migrate.drift import GONE_EDITED, Notes
from ..migrate.replace import Place
from .gate import DIFFERENT, LEFT, LISTED
from .gate import MISSING as MISSING_THERE
from .journal import Drifted

BATCH = 500  # keys with one intent
EDITED = "its copy was edited or deleted in the target, and is left alone"
STILL = {CONFLICT: TAKEN, LOSER: SHARED, FAILED: "it could not be written, see failed.jsonl"}


@dataclass
class Applied:
    """What applying some keys did."""

    counts: Counter = field(default_factory=Counter)  # inserted, replaced, deleted: items
    drifted: list[Drifted] = field(default_factory=list)
    freed: list[Place] = field(default_factory=list)  # places in the target where a copy stood
    waiting: list[tuple[Place, str, dict]] = field(default_factory=list)  # taken by others: place, source table, key


class Wrong(NamedTuple):
    """An item that is not as it should be."""

    entry: str
    key: dict  # the source's
    kind: str  # what is wrong: see gate.py
    why: str = ""  # it is left alone although nobody has listed it


class Follower(SecondWalk):
    """Applies keys of one source table, for the entries of one pass over it. For one thread at a time. A `with` block."""

    deletes = True

    def __init__(self, plan: Plan, stage: Stage, lookup: Lookup, segments: dict[str, int]):
        """`plan` is for the entries of one pass."""
        super().__init__(plan, stage, lookup, segments, Counter(), Notes(), None, write=True)
        ((self._table, self._routes),) = plan.by_source().items()
        self._names = [name for name, _ in self._routes[0].shape.source_key]
        entries = {route.entry.name for route in self._routes}
        others = (route for route in plan.all_routes.values() if route.entry.source == self._table)
        self._others = [route for route in others if route.entry.name not in entries]
        self._done, self._told = Applied(), set[bytes]()

    def apply(self, keys: Sequence[dict], images: Mapping[bytes, dict | None]) -> Applied:
        """Brings the items of these source keys to the target; what it did. Writes to the target and the journal.

        `images`: hash of a key → the item after its last change, as a stream shows it; None: it was removed.
        """
        self._done = Applied()
        wanted = {key_hash(key): {name: key[name] for name in self._names} for key in keys}
        left = list(wanted)
        for at in range(0, len(left), BATCH):
            some = {hashed: wanted[hashed] for hashed in left[at : at + BATCH]}
            self._apply(some, images)
            self._lookup.grow(self._files)
        return self._done

    def waiting(self) -> Iterable[tuple[Place, str, dict]]:
        """What the journal knows of items whose key another item of the target has: place, source table, source key."""
        for one in self._lookup.lettered((CONFLICT, LOSER), self._files):
            intent = self._lookup.intent(one)
            row = (intent.losers if one.letter == LOSER else intent.rows)[one.index]
            yield self._replacer.place(row), self._table, row.source_key

    def wrong(self, keys: Sequence[dict], listed: Collection[bytes] = ()) -> Iterator[Wrong]:
        """Each item of these source keys that is not as it should be. Reads both sides.

        `listed`: hashes of the source keys of items that following has left alone. For any number of threads.
        """
        wanted = {key_hash(key): {name: key[name] for name in self._names} for key in keys}
        whose, said = self._said(wanted)
        there = self._plan.source.wire.get_many(self._table, list(wanted.values()))
        met = self._met(dict(zip(wanted, there, strict=True)), whose)
        rows = {
            h: {self._replacer.place(one.thing): one for one in found if not one.letter} for h, found in met.items()
        }
        copies = {h: [row for found in about.values() for row in self._standing(found)] for h, about in said.items()}
        held = self._replacer.held(
            [
                *(one.thing for found in rows.values() for one in found.values()),
                *(r for found in copies.values() for r in found),
            ]
        )
        for hashed, key in wanted.items():
            failed = any(one.letter == FAILED for found in said.get(hashed, {}).values() for one in found)
            is_listed = hashed in listed and not failed
            mine = rows.get(hashed, {})
            for place, one in mine.items():
                if (item := held[place]) is None or digest(item) != one.digest:
                    why = "" if is_listed else self._why_left_alone(one, said[hashed].get(one.item_hash, []), item)
                    kind = LISTED if is_listed or why else MISSING_THERE if item is None else DIFFERENT
                    yield Wrong(one.entry, key, kind, why)
            for row in copies.get(hashed, ()):
                if (place := self._replacer.place(row)) not in mine and (item := held[place]) is not None:
                    why = GONE_EDITED if not is_listed and digest(item) != row.digest else ""
                    yield Wrong(row.entry, key, LISTED if is_listed or why else LEFT, why)

    @staticmethod
    def _why_left_alone(met: Met, said: list[Said], there: dict | None) -> str:
        """Why the target rightly holds something else than the item, as far as the journal can tell; "" where it cannot."""
        if is_quiet(met, said) and said[0].letter in ARRIVED:
            return EDITED  # it was as it should be: somebody has changed it since
        letter = said[-1].letter if said else ""
        return STILL[letter] if there is not None and letter in (CONFLICT, LOSER) else ""

    def _standing(self, said: Iterable[Said]) -> Iterator[JournalRow]:
        """The copies that stand, as far as the journal knows."""
        return (self._replacer.row(one) for one in said if one.letter in (INSERTED, OPEN) and one.state != GONE)

    def _apply(self, keys: Mapping[bytes, dict], images: Mapping[bytes, dict | None]) -> None:
        whose, said = self._said(keys)
        shown = {hashed: image for hashed, image in images.items() if hashed in keys}
        met = self._met(shown, whose)
        known = {h for h in shown if self._is_quiet(h, met, said) and not self._is_left_alone(said.get(h, {}))}
        left = {hashed: key for hashed, key in keys.items() if hashed not in known}
        if not left:
            return
        items = dict(zip(left, self._plan.source.wire.get_many(self._table, list(left.values())), strict=True))
        stale = {h: item for h, item in items.items() if h not in shown or item != shown[h]}
        met = {h: found for h, found in met.items() if h in left and h not in stale} | self._met(stale, whose)
        work = [
            one for h, key in left.items() if not self._is_quiet(h, met, said) for one in self._work(h, key, met, said)
        ]
        self._room, self._told = WAITING, set()
        changes = self._changes(work)
        self._bring([change for change in changes if not self._waits(change)])
        self._bring_waiting()
        for hashed in left:
            self._tell_again(met.get(hashed, ()), said.get(hashed, {}))

    def _tell_again(self, met: Iterable[Met], said: Mapping[bytes, list[Said]]) -> None:
        """Items that are as the journal says may be left alone as before, and wait for their keys as before."""
        for one in met:
            if one.letter or one.item_hash in self._told or not (found := said.get(one.item_hash)):
                continue
            if reason := STILL.get(found[-1].letter):
                self._done.drifted.append(Drifted(one.entry, one.source_key, reason))
            if found[-1].letter in (CONFLICT, LOSER):
                self._done.waiting.append((self._replacer.place(one.thing), self._table, one.source_key))

    # what is known of an item

    def _said(self, keys: Mapping[bytes, dict]) -> tuple[dict[bytes, bytes], dict[bytes, dict[bytes, list[Said]]]]:
        """Item hash → key's hash; and key's hash → item hash → what the journal says."""
        whose = {item_hash_of(route.entry.name, h): h for h in keys for route in self._routes}
        whose |= {item_hash_of(self._table, h, OF_NO_ENTRY): h for h in keys}
        said: dict[bytes, dict[bytes, list[Said]]] = defaultdict(dict)
        for item, found in self._lookup.find(whose, self._files).items():
            # Of a row that was cut off, and deleted since, nothing is left.
            if found := [one for one in found if (one.letter, one.state) != (OPEN, GONE)]:
                said[whose[item]][item] = found
        return whose, said

    def _met(self, items: Mapping[bytes, dict | None], whose: Mapping[bytes, bytes]) -> dict[bytes, list[Met]]:
        """Key's hash → what the routes make of its item now."""
        there = [item for item in items.values() if item is not None]
        if not there:
            return {}
        page = Page(self._table, 0, 0, None, None, there)
        found: dict[bytes, list[Met]] = defaultdict(list)
        for one in met_of(route_to_insert(page, self._routes, self._others, {})):
            found[whose[one.item_hash]].append(one)
        return found

    @staticmethod
    def _is_quiet(
        hashed: bytes, met: Mapping[bytes, list[Met]], said: Mapping[bytes, Mapping[bytes, list[Said]]]
    ) -> bool:
        """Whether all is as the journal says: of each entry that takes the item, and nothing of others."""
        mine, about = met.get(hashed, ()), said.get(hashed, {})
        if about.keys() - {one.item_hash for one in mine}:
            return False
        return all(is_quiet(one, about.get(one.item_hash, [])) for one in mine)

    @staticmethod
    def _is_left_alone(said: Mapping[bytes, list[Said]]) -> bool:
        """Whether the journal says of an item that it could not be written."""
        return any(found[-1].letter in STILL for found in said.values())

    def _work(
        self,
        hashed: bytes,
        key: dict,
        met: Mapping[bytes, list[Met]],
        said: Mapping[bytes, Mapping[bytes, list[Said]]],
    ) -> Iterable[tuple[Met, list[Said]]]:
        mine, about = {one.item_hash: one for one in met.get(hashed, ())}, said.get(hashed, {})
        for item, one in mine.items():
            if not is_quiet(one, found := about.get(item, [])):
                yield one, found
        for item, found in about.items():
            if item not in mine:
                begin = self._begin(found[0])
                entry = self._entry_of(item, hashed)
                yield Met((begin["table"], begin["segment"]), item, entry, key, MISSING, "", key), found

    def _entry_of(self, item: bytes, hashed: bytes) -> str:
        names = (route.entry.name for route in self._routes)
        return next((name for name in names if item_hash_of(name, hashed) == item), self._table)

    # what was done

    def _bring(self, changes: list[Change], selected: Sequence[Said] = (), **how: object) -> None:
        super()._bring(changes, selected, **how)
        for change in changes:
            if not change.kept:
                self._done.freed += [
                    self._replacer.place(copy.row)
                    for copy in change.remove
                    if change.met.letter or not change.keeps_key(copy)
                ]

    def _tell(self, change: Change, letter: str) -> None:
        met, done = change.met, self._done
        self._told.add(met.item_hash)
        if met.letter:
            if change.kept:
                done.drifted.append(Drifted(met.entry, met.source_key, GONE_EDITED))
            elif change.remove:
                done.counts["deleted"] += 1
            return
        if letter == INSERTED and not change.kept:
            had = bool(change.remove) or any(one.letter == INSERTED for one in change.said)
            done.counts["replaced" if had else "inserted"] += 1
        if change.kept or change.beside or change.abandoned or letter in (CONFLICT, FAILED):
            done.drifted.append(Drifted(met.entry, met.source_key, change.told(letter)[1]))
        if letter == CONFLICT or change.kept == HELD:
            done.waiting.append((self._replacer.place(met.thing), self._table, met.source_key))
