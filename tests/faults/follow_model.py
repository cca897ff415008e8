"""What the machine of test_follow_machine.py knows: who wrote what, and what the mapping makes of the source, by tests/naive.py.

Four source tables, five entries: ports and ships refer to each other, a ship to its owner; an event goes to one of two
entries, which share a target table and a key of two attributes, so that events compete for it; of the owners, some are in
the target already, under ids of their own.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import support_worlds as worlds
import yaml
from naive import Naive
from support_memory import Place, key_text

MAPPING = """{
  Ports: {where: {kind: port}, references: {flagship: Ships}},
  Ships: {references: {portId: Ports, "sisters[]": Ships, ownerId: Owners}},
  Owners: {match: {by: [email], found: reuse}},
  Logs: {
    source: Events-dev-mem, target: Book-prod-mem, where: {kind: log}, id: null, references: {shipId: Ships},
    fields: {PK: "{month}", SK: "{num}", size: {from: size, type: number}, shipId: {from: shipId}},
    rest: more, drop: [pk, sk, kind]},
  Notes: {
    source: Events-dev-mem, target: Book-prod-mem, where: {kind: note}, id_format: short,
    fields: {PK: "{month}", SK: "{num}", id: {from: id}}, rest: copy, drop: [pk, sk]}}"""
SUFFIX = "mem"
PORTS, SHIPS, OWNERS, EVENTS = (f"{name}-dev-{SUFFIX}" for name in ("Ports", "Ships", "Owners", "Events"))
NEW_PORTS, NEW_SHIPS, NEW_OWNERS, BOOK = (f"{name}-prod-{SUFFIX}" for name in ("Ports", "Ships", "Owners", "Book"))
SOURCES = {PORTS: {"id": "S"}, SHIPS: {"id": "S"}, OWNERS: {"id": "S"}, EVENTS: {"pk": "S", "sk": "S"}}
TARGETS = {NEW_PORTS: {"id": "S"}, NEW_SHIPS: {"id": "S"}, NEW_OWNERS: {"id": "S"}, BOOK: {"PK": "S", "SK": "S"}}
ENTRIES = {"Ports": PORTS, "Ships": SHIPS, "Owners": OWNERS, "Logs": EVENTS, "Notes": EVENTS}
TABLES = {"Ports": NEW_PORTS, "Ships": NEW_SHIPS, "Owners": NEW_OWNERS, "Logs": BOOK, "Notes": BOOK}

Origin = tuple[str, str]  # entry, source key as text


class Row(NamedTuple):
    """What an item becomes."""

    place: Place
    item: dict


def text(item: dict) -> str:
    """An item in one form."""
    return worlds.as_text(worlds.plain_item(item))


class Router(Naive):
    """The mapping, with the matches that a run has frozen."""

    def __init__(self, matched: dict[Origin, dict]):
        """`matched`: entry, old id as text → the new one, typed."""
        tables = yaml.safe_load(MAPPING)
        for name, entry in tables.items():
            entry["create"] = {"key": TARGETS[TABLES[name]]}  # so that it knows the keys of the target
        super().__init__(
            {"defaults": {"id": "id"}, "tables": tables},
            worlds.TARGET,
            {name: SOURCES[table] for name, table in ENTRIES.items()},
            set(),
        )
        self.matched = matched

    def _mint(self, entry: str, old: dict) -> dict:
        return self.matched.get((entry, key_text({"id": old}))) or super()._mint(entry, old)

    def rows(self, table: str, item: dict) -> tuple[dict[Origin, Row], set[Origin]]:
        """What an item makes: rows, and what is quarantined."""
        rows, rejects = {}, set()
        key = key_text({name: item[name] for name in SOURCES[table]})
        for entry in (name for name, source in ENTRIES.items() if source == table):
            if (entry, key) in self.matched or (out := self.outcome(entry, item)) is None:
                continue
            if out.item is None:
                rejects.add((entry, key))
                continue
            place = TABLES[entry], key_text({name: out.item[name] for name in TARGETS[TABLES[entry]]})
            rows[entry, key] = Row(place, out.item)
        return rows, rejects


@dataclass
class Model:
    """Who wrote what; what must not be is in `wrong`. Plain data."""

    router: Router = field(default_factory=lambda: Router({}))
    sailing: bool = False  # whether the program is at work, and not the application
    may_delete: bool = False
    writes: int = 0  # of the program
    wrong: list[str] = field(default_factory=list)
    step: int = 0  # of all writes
    round: int = 0  # the step at which the program's round began
    changed: dict[Place, int] = field(default_factory=dict)  # source place → step of its last change
    edited: dict[Place, int] = field(default_factory=dict)  # target place → step of the last edit by others
    theirs: dict[Place, dict | None] = field(default_factory=dict)  # target place → what others left there
    mine: dict[Place, str] = field(default_factory=dict)  # target place → the run's item that stands there, as text
    versions: dict[Place, dict[str, set[Origin]]] = field(default_factory=lambda: defaultdict(dict))  # that were made
    taken: dict[Place, dict] = field(default_factory=dict)  # deleted by the program though edited: to be put back
    removed: dict[Place, tuple[int, str]] = field(default_factory=dict)  # copies that others deleted → step, as text
    counts: Counter = field(default_factory=Counter)

    def observe(self, source: dict[Place, dict], place: Place, before: dict | None, after: dict | None) -> None:
        """Is told of one write; `source` is as it was before."""
        self.step += 1
        if place[0] in SOURCES:
            if self.sailing:
                self.wrong.append(f"the program wrote to the source: {place}")
            if before != after:
                self.changed[place] = self.step
            self._make(place[0], after)
        elif not self.sailing:
            if place in self.mine and after is None:
                self.removed[place] = self.step, self.mine[place]
            elif after is not None:
                self.removed.pop(place, None)
            self.edited[place] = self.step
            self.theirs[place] = after
            self.mine.pop(place, None)
        else:
            self.writes += 1
            (self._deleted if after is None else self._inserted)(source, place, before, after)

    def _make(self, table: str, item: dict | None) -> None:
        for origin, row in (self.router.rows(table, item)[0] if item else {}).items():
            self.versions[row.place].setdefault(text(row.item), set()).add(origin)

    def know(self, router: Router, source: dict[Place, dict]) -> None:
        """The matches are frozen: what is made, is made by them from now on. Earlier versions stay known."""
        self.router = router
        for (table, _), item in source.items():
            self._make(table, item)

    def _inserted(self, source: dict, place: Place, before: dict | None, after: dict) -> None:
        self.counts["inserted"] += 1
        if before is not None:
            self.wrong.append(f"overwritten: {place}")
        if place in self.taken and text(self.taken[place]) == text(after):
            del self.taken[place]
            self.theirs[place] = after
            return
        origins = self.versions[place].get(text(after))
        if origins is None:
            self.wrong.append(f"the source never made what was written to {place}")
        elif place in self.removed and self._is_again(*self.removed[place], place, origins):
            self.wrong.append(f"somebody deleted {place}, and it was written again although its source did not change")
        self.removed.pop(place, None)
        self.theirs.pop(place, None)
        self.mine[place] = text(after)

    def _is_again(self, step: int, was: str, place: Place, origins: set[Origin]) -> bool:
        """Whether a copy that others deleted is written by its source item, which has not changed since.

        In the instant before the program's own delete nobody can tell the two.
        """
        if step > self.round:
            return False
        same = origins & self.versions[place][was]
        return bool(same) and all(self.changed[ENTRIES[entry], key] < step for entry, key in same)

    def _deleted(self, source: dict, place: Place, before: dict | None, after: None) -> None:
        self.counts["deleted"] += 1
        if not self.may_delete:
            self.wrong.append(f"deleted in a command that never does: {place}")
        if place not in self.mine and text(before) not in self.versions[place]:
            self.taken[place] = before
        elif self.may_delete == "stale":
            makers = self.versions[place].get(text(before), ())
            quiet = [
                (entry, key)
                for entry, key in makers
                if self.changed.get((ENTRIES[entry], key), 0) <= self.round and (ENTRIES[entry], key) in source
            ]
            for entry, key in quiet:
                row = self.router.rows(ENTRIES[entry], source[ENTRIES[entry], key])[0].get((entry, key))
                if row and row.place == place and text(row.item) == text(before):
                    self.wrong.append(f"a copy was deleted that is as it should be: {place}")
        self.mine.pop(place, None)
        self.theirs.pop(place, None)


@dataclass
class Expected:
    """What a source makes, all of it."""

    rows: dict[Place, dict[Origin, dict]] = field(default_factory=lambda: defaultdict(dict))
    rejects: set[Origin] = field(default_factory=set)


def expect(router: Router, source: dict[Place, dict]) -> Expected:
    """What the mapping makes of a source, whoever comes first."""
    found = Expected()
    for (table, _), item in source.items():
        rows, rejects = router.rows(table, item)
        found.rejects |= rejects
        for origin, row in rows.items():
            found.rows[row.place][origin] = row.item
    return found


def differences(expected: Expected, target: dict[Place, dict], model: Model, listed: set[Origin]) -> tuple[list, list]:
    """What of the target is not as it should be: what is listed, and what is not, as sentences."""
    told: list[str] = []
    silent: list[str] = []

    def say(sentence: str, origins: Iterable[Origin], place: Place) -> None:
        # Of what nobody has touched since the walk the gate knows nothing: somebody may have edited its copy.
        later = all(model.changed[ENTRIES[e], key] < model.edited.get(place, 0) for e, key in origins)
        (told if later or set(origins) & listed else silent).append(f"{sentence}: {place} {sorted(origins)}")

    for place, makers in expected.rows.items():
        held = target.get(place)
        right = {origin for origin, item in makers.items() if held is not None and text(item) == text(held)}
        for origin in makers.keys() - right:
            say("another item has its key" if right else "missing" if held is None else "different", [origin], place)
    for place, item in model.mine.items():
        if place not in expected.rows:
            say("left", model.versions[place].get(item, ()), place)
    for origin in expected.rejects - listed:
        silent.append(f"quarantined, and not listed: {origin}")
    return told, silent
