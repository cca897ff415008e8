"""What the state machine of test_machine.py knows: plain dicts of both sides, who wrote what, and what the mapping makes.

A second implementation of the mapping below, by hand, so that the program is not its own judge. Three source tables, four
entries: ports and ships refer to each other, and a ship whose port is not there loses the reference; an event goes to one
of two entries, which share a target table and a key that is made of two attributes, so that events compete for it, and
an event that changes moves.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import support_worlds as worlds
from support_memory import Memory, Place, key_text

from runbook_lib.values import digest

MAPPING = """{
  Ports: {where: {kind: port}, references: {flagship: Ships}},
  Ships: {references: {portId: {to: Ports, dangling: null}, "sisters[]": Ships}},
  Logs: {
    source: Events-dev-mem, target: Book-prod-mem, where: {kind: log}, id: null, references: {shipId: Ships},
    fields: {PK: "{month}", SK: "{num}", size: {from: size, type: number}, shipId: {from: shipId}},
    rest: more, drop: [pk, sk, kind]},
  Notes: {
    source: Events-dev-mem, target: Book-prod-mem, where: {kind: note}, id_format: short,
    fields: {PK: "{month}", SK: "{num}", id: {from: id}}, rest: copy, drop: [pk, sk]}}"""
SUFFIX = "mem"
PORTS, SHIPS, EVENTS = (f"{name}-dev-{SUFFIX}" for name in ("Ports", "Ships", "Events"))
NEW_PORTS, NEW_SHIPS, BOOK = (f"{name}-prod-{SUFFIX}" for name in ("Ports", "Ships", "Book"))
SOURCES = {PORTS: {"id": "S"}, SHIPS: {"id": "S"}, EVENTS: {"pk": "S", "sk": "S"}}
TARGETS = {NEW_PORTS: {"id": "S"}, NEW_SHIPS: {"id": "S"}, BOOK: {"PK": "S", "SK": "S"}}
ENTRIES = {"Ports": PORTS, "Ships": SHIPS, "Logs": EVENTS, "Notes": EVENTS}
TABLES = {"Ports": NEW_PORTS, "Ships": NEW_SHIPS, "Logs": BOOK, "Notes": BOOK}
KINDS = {"port": "Ports", "log": "Logs", "note": "Notes"}

Content = dict[Place, dict]
Origin = tuple[str, str]  # entry, source key as text


class Row(NamedTuple):
    """What an item becomes."""

    place: Place
    item: dict


def text(item: dict) -> str:
    """An item in one form."""
    return worlds.as_text(worlds.plain_item(item))


def entry_of(place: Place, item: dict) -> str | None:
    """The entry that selects a source item."""
    if place[0] == SHIPS:
        return "Ships"
    entry = KINDS.get(item.get("kind", {}).get("S"))
    return entry if entry and ENTRIES[entry] == place[0] else None


def make(entry: str, item: dict, *, port_is_there: bool) -> Row | None:
    """What the mapping makes of an item; None where it is quarantined."""
    made = dict(item)
    if entry == "Ports":
        made["id"] = _new_id("Ports", item["id"])
        if "flagship" in item:
            made["flagship"] = _new_id("Ships", item["flagship"])
        return Row((NEW_PORTS, key_text({"id": made["id"]})), made)
    if entry == "Ships":
        made["id"] = _new_id("Ships", item["id"])
        if "portId" in item:
            made["portId"] = _new_id("Ports", item["portId"]) if port_is_there else {"NULL": True}
        if "sisters" in item:
            made["sisters"] = {"L": [_new_id("Ships", sister) for sister in item["sisters"]["L"]]}
        return Row((NEW_SHIPS, key_text({"id": made["id"]})), made)
    if "month" not in item:
        return None
    made = {name: value for name, value in item.items() if name not in ("pk", "sk")}
    key = {"PK": item["month"], "SK": {"S": item["num"]["N"]}}
    if entry == "Notes":
        made["id"] = {"S": worlds.new_id(worlds.TARGET, "Notes", "short", "S", item["id"]["S"])}
        return Row((BOOK, key_text(key)), made | key)
    size, ship = made.pop("size", None), made.pop("shipId", None)
    del made["kind"]
    if size and not next(iter(size.values())).isdecimal():
        return None
    made = key | {"more": {"M": made}}
    made |= {"size": {"N": next(iter(size.values()))}} if size else {}
    made |= {"shipId": _new_id("Ships", ship)} if ship else {}
    return Row((BOOK, key_text(key)), made)


def _new_id(entry: str, old: dict) -> dict:
    return {"S": worlds.new_id(worlds.TARGET, entry, "uuid", "S", old["S"])}


@dataclass
class Expected:
    """What a source makes, all of it."""

    rows: dict[Origin, Row] = field(default_factory=dict)  # those that are written
    losers: set[Origin] = field(default_factory=set)
    rejects: set[Origin] = field(default_factory=set)
    unrouted: set[Place] = field(default_factory=set)
    source: dict[Origin, Place] = field(default_factory=dict)

    def places(self) -> dict[Place, Origin]:
        """Target place → who gets it."""
        return {row.place: origin for origin, row in self.rows.items()}

    def selected(self, entry: str) -> set[Origin]:
        """The items of an entry."""
        return {origin for origin in (*self.rows, *self.losers, *self.rejects) if origin[0] == entry}


def expect(source: Content) -> Expected:
    """What the mapping makes of a source."""
    found, winners = Expected(), {}
    for place in sorted(source):
        item = source[place]
        entry = entry_of(place, item)
        if entry is None:
            found.unrouted.add(place)
            continue
        origin = (entry, place[1])
        found.source[origin] = place
        row = make(entry, item, port_is_there=_port_of(source, item))
        if row is None:
            found.rejects.add(origin)
        elif winners.setdefault(row.place, origin) == origin:  # sorted: the smallest source key comes first
            found.rows[origin] = row
        else:
            found.losers.add(origin)
    return found


def _port_of(source: Content, item: dict) -> bool:
    """Whether the port that an item names is there, and selected."""
    there = source.get((PORTS, key_text({"id": item["portId"]}))) if "portId" in item else None
    return there is not None and there["kind"] == {"S": "port"}


def possible(source: Content) -> Iterator[tuple[Origin, Row]]:
    """All that may be made of single items of a source, whatever else was there when they were read."""
    for place, item in source.items():
        entry = entry_of(place, item)
        for there in (True, False) if entry else ():
            if row := make(entry, item, port_is_there=there):
                yield (entry, place[1]), row


INSERTED, OPEN, OTHERS, REPLACED = "i", "open", "others'", "-"
NO_OUTCOME = (OPEN, OTHERS)


class Claim(NamedTuple):
    """A row of a journal."""

    place: Place
    digest: str
    letter: str  # of its outcome; where it has none OPEN, or OTHERS where it was there before or was never sent
    undone: str  # what became of it, "" where nothing did


@dataclass
class RunModel:
    """What is known of one run from outside."""

    id: str
    folder: Path
    first: Content | None = None  # the target when it began
    versions: dict[Place, dict[str, Origin]] = field(default_factory=lambda: defaultdict(dict))  # what it wrote
    wrote: dict[Place, set[str]] = field(default_factory=lambda: defaultdict(set))  # the same as digests
    others: dict[Place, set[str]] = field(default_factory=lambda: defaultdict(set))  # what others put there, as digests
    dubious: dict[Place, set[str]] = field(default_factory=lambda: defaultdict(set))  # digests it may claim, in doubt
    touched: set[Place] = field(default_factory=set)  # in the target, by others, since it began
    changed: set[Place] = field(default_factory=set)  # in the source, since it began
    refused: set[Place] = field(default_factory=set)  # could not be written at some time
    caught_up: bool = False  # a delta was begun
    cut_off: bool = False  # a command of it was
    comparing: bool = False  # a validation was cut off, and may go on
    compared_before: bool = False  # something was written since then
    to_compare: bool = True  # something was written since a validation ended

    def claims(self, place: Place, item: dict) -> bool:
        """Whether the run may take what is there for its own."""
        return text(item) in self.versions[place] or digest(item) in self.dubious[place]

    def records(self, name: str = "stage.jsonl") -> list[dict]:
        """The records of a journal file; a torn last line is none."""
        path = self.folder / "journal/migrate" / name
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        return [json.loads(line.partition(b" ")[2]) for line in lines if line.endswith(b"\n")]

    def last_event(self) -> str | None:
        """Of those that tell where the run stands."""
        kinds = [record["kind"] for record in self.records()]
        return next((kind for kind in reversed(kinds) if kind in ("execution", "end", "rollback", "rolled_back")), None)

    def started(self) -> str:
        """When it began; "" where it has not."""
        return next((record["at"] for record in self.records() if record["kind"] == "execution"), "")

    def has_checkpoint(self) -> bool:
        """Whether it can be rolled back."""
        return any(self.folder.glob("migration-checkpoint-*.json"))

    def rows(self) -> Iterator[Claim]:
        """The rows of its journal, as it says of them now."""
        for path in (self.folder / "journal/migrate").glob("*.0*.jsonl"):
            rows: dict[int, list] = {}
            letters: dict[int, list[str]] = {}
            states: dict[int, dict[int, str]] = defaultdict(dict)
            for record in self.records(path.name):
                n, kind = record.get("n"), record["kind"]
                if kind == "intent":
                    rows[n], letters[n] = record["rows"], [OTHERS if row[6] else OPEN for row in record["rows"]]
                elif kind == "unsent":
                    letters[n] = [OTHERS if i in record["rows"] else one for i, one in enumerate(letters[n])]
                elif kind == "outcome":
                    letters[n] = list(record["rows"])
                    for other, _, index in (one for one in record.get("instead", ()) if one[1] in "iacf"):
                        letters[other][index] = REPLACED
                elif kind == "undone":
                    states[n] |= {int(index): state for index, state in record["rows"].items()}
            for n, found in rows.items():
                for index, (row, letter) in enumerate(zip(found, letters[n], strict=True)):
                    yield Claim((TABLES[row[0]], key_text(row[2])), row[5], letter, states[n].get(index, ""))

    def claimed(self) -> tuple[dict[Place, set[str]], dict[Place, set[str]]]:
        """What its journal claims as its own, and is not undone: place → digests; of complete intents, and of open ones."""
        sure: dict[Place, set[str]] = defaultdict(set)
        unsure: dict[Place, set[str]] = defaultdict(set)
        for row in self.rows():
            if row.letter in (INSERTED, OPEN) and row.undone in ("", "kept_edited"):
                (sure if row.letter == INSERTED else unsure)[row.place].add(row.digest)
        return sure, unsure

    def note_open_intents(self) -> None:
        """What was announced, and has no outcome: the run may claim what it finds there."""
        for place, digests in self.claimed()[1].items():
            self.dubious[place] |= digests

    def listed(self, *names: str) -> dict[tuple[str, str], str]:
        """(Entry, source key) → reason, over listing files."""
        found = {}
        for name in names:
            path = self.folder / f"{name}.jsonl"
            for line in path.read_text().splitlines() if path.exists() else ():
                entry = json.loads(line)
                found[entry["table"], key_text(entry["key"])] = entry["reason"]
        return found


class Model:
    """Both sides as they should be, told of every write; what must not be is in `wrong`."""

    def __init__(self, memory: Memory):
        """Is told by the engine from now on."""
        self.source: Content = {}
        self.target: Content = {}
        self.writer: dict[Place, str] = {}  # which run wrote what the target holds; "" for the application
        self.runs: dict[str, RunModel] = {}
        self.wrong: list[str] = []
        self.busy: RunModel | None = None  # whose command is at work
        self.writes = 0  # of the program, in this command
        self.meddled = False  # whether the application wrote in this command
        self.unanswered = False  # whether requests of this command may get no answer
        self.taken: Content = {}  # deleted by the program though it was not its own: to be put back
        self._application = True
        self._may_delete = False
        self._replaces: Content | None = None  # in a delta: the target as it was when it began
        self._allowed: dict[Place, dict[str, Origin]] = {}
        memory.on_write = self.observe

    @contextmanager
    def command(self, run: RunModel, *, may_delete: bool, replaces: bool) -> Iterator[None]:
        """A block in which a run is at work."""
        self.busy, self._may_delete, self.writes, self.meddled = run, may_delete, 0, False
        self._replaces = dict(self.target) if replaces else None
        self._allowed.clear()
        self._allow()
        self._application = False
        try:
            yield
        finally:
            self.busy, self._application = None, True

    @contextmanager
    def application(self) -> Iterator[None]:
        """A block in which the application writes, in the middle of a command or not."""
        before, self._application = self._application, True
        try:
            yield
        finally:
            self._application = before
            self._allow()

    def _allow(self) -> None:
        for origin, row in possible(self.source) if self.busy else ():
            self._allowed.setdefault(row.place, {})[text(row.item)] = origin

    def observe(self, place: Place, before: dict | None, after: dict | None) -> None:
        """Is told of one write."""
        self.meddled |= self._application and self.busy is not None
        for run in self.runs.values():
            run.compared_before |= run.comparing
            run.to_compare = True
        if place[0] in SOURCES:
            if not self._application:
                self.wrong.append(f"{self.busy.id} wrote to the source: {place}")
            for run in self.runs.values():
                run.changed.add(place)
            _set(self.source, place, after)
            return
        if self._application:
            self._edited(place, after)
        elif after is None:
            self._deleted(place, before)
        else:
            self._inserted(place, before, after)
        for run in self.runs.values():
            if self._application or run is not self.busy:
                run.touched.add(place)
                run.others[place] |= {digest(after)} if after is not None else set()
        _set(self.target, place, after)

    def _edited(self, place: Place, after: dict | None) -> None:
        self.writer.pop(place, None)
        if after is not None:
            self.writer[place] = ""
            if self.busy and self.unanswered and place not in self.target:
                # Written between its look and its insert, whose answer may be lost: an equal item cannot be told from its own.
                self.busy.dubious[place].add(digest(after))

    def _inserted(self, place: Place, before: dict | None, after: dict) -> None:
        run = self.busy
        if before is not None:
            self.wrong.append(f"{run.id} overwrote {place}")
        if place in self.taken and text(self.taken[place]) == text(after):
            del self.taken[place]
            self.writer[place] = ""
            return
        if origin := self._allowed.get(place, {}).get(text(after)):
            run.versions[place][text(after)] = origin
            run.wrote[place].add(digest(after))
        else:
            self.wrong.append(f"{run.id} wrote what the source does not make: {place}")
        self.writer[place] = run.id

    def _deleted(self, place: Place, before: dict) -> None:
        if not self._may_delete:
            self.wrong.append(f"{self.busy.id} deleted in a command that never does: {place}")
        if not self.busy.claims(place, before):
            self.taken[place] = before
        elif self._replaces is not None and not self.meddled and not self._is_replaced(place, before):
            self.wrong.append(f"{self.busy.id} deleted a copy before its new version was there: {place}")
        self.writer.pop(place, None)

    def _is_replaced(self, place: Place, before: dict) -> bool:
        """Whether what was made of the same source item stands somewhere else, or can stand nowhere before the copy is gone."""
        rows, versions, seen, at = expect(self.source).rows, self.busy.versions, set(), place
        origin = versions[place].get(text(before))
        if origin is None or ((row := rows.get(origin)) and text(self.target.get(row.place, {})) == text(row.item)):
            return True
        while at not in seen and origin in rows:  # from the place of a copy to the one that its item goes to
            seen.add(at)
            at = rows[origin].place
            if at == place:
                return True
            origin = versions[at].get(text(self._replaces.get(at, {})))
        return False


def _set(content: Content, place: Place, item: dict | None) -> None:
    if item is None:
        content.pop(place, None)
    else:
        content[place] = item
