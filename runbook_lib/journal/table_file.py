"""One journal file of a source table, read once: what it says in sum, and where it stands.

Memory is bounded by the pages that were cut off: of intents with an outcome only numbers and counts are kept. Who needs the
rows streams them, in one more pass, with what is known from this one.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson

from ..errors import Damaged, Refused
from ..run.files import open_to_read
from ..values import add_counts, key_hash
from . import log as journal
from .intents import Intent, JournalRow, Marks, intents, rows_of
from .log import CONFLICT, FAILED, INSERTED, KEPT_EDITED, MADE_ROOM, Tail, kind_of, number_of

Place = tuple[str, bytes]  # an entry, and the hash of a target key: two entries may make one key in two tables


class Stamp(NamedTuple):
    """What changes where a file is written or replaced."""

    inode: int
    size: int
    modified: int  # nanoseconds

    @classmethod
    def now(cls, path: Path) -> "Stamp | None":
        """The stamp of the file at that path; None where there is none. Raises Refused where its folder is none."""
        try:
            return cls.of(os.stat(path))
        except FileNotFoundError:
            return None
        except NotADirectoryError:
            raise Refused(f"{path.parent} is no folder; restore it from a copy.") from None

    @classmethod
    def of(cls, found: os.stat_result) -> "Stamp":
        """The stamp of a file."""
        return cls(found.st_ino, found.st_size, found.st_mtime_ns)


class Head(NamedTuple):
    """How far a journal file goes."""

    records: int
    link: str  # of the last record
    links: dict[int, str]  # length in records -> link, of some lengths
    stands: bool  # whether nobody wrote to the file since it was read
    size: int  # bytes; a torn last record counts
    damage: str = ""  # what is wrong with the file, as words behind its name


@dataclass(frozen=True)
class Position:
    """Where a segment goes on: the next page's number and start key; done where it has been walked to its end."""

    number: int = 0
    start: dict | None = None
    done: bool = False
    items: int = field(default=0, compare=False)  # that the pages before it had


@dataclass
class Counted:
    """What one execution counted in a file."""

    entries: dict[str, Counter] = field(default_factory=lambda: defaultdict(Counter))  # entry -> figures
    unrouted: int = 0
    undone: Counter = field(default_factory=Counter)
    letters: Counter = field(default_factory=Counter)  # outcomes of rows that no later intent stands for


@dataclass
class Seen:
    """What outcomes say of the source attributes of an entry's rows: each item once, as it was routed first."""

    ledger: dict[str, Counter] = field(default_factory=dict)  # attribute -> word of walk/ledger -> items
    types: dict[str, Counter] = field(
        default_factory=dict
    )  # attribute -> type letter -> pages, or files, where it was met

    def add(self, ledger: Mapping[str, Mapping[str, int]], types: Mapping[str, Mapping[str, int]]) -> None:
        """Adds what a page, or a file, says."""
        add_counts(self.ledger, ledger)
        add_counts(self.types, types)


class CutOff(NamedTuple):
    """A row of an intent without an outcome."""

    n: int
    index: int
    place: Place
    digest: str


class Standing(NamedTuple):
    """What a file says is inserted, and no undo has done away with."""

    entries: Counter  # entry -> rows
    claimed: frozenset[Place]  # of rows that were cut off: an intent with an outcome says that it has them


@dataclass(frozen=True)
class TableFile:
    """One journal file as it was when it was read."""

    path: Path
    begin: dict[str, Any]  # its first record
    stamp: Stamp
    tail: Tail
    links: dict[int, str]  # length in records -> link, of the lengths that were asked for
    counted: dict[int, Counted]  # execution -> what it counted
    position: Position
    maybe_landed: dict[
        Place, set[str]
    ]  # digests of rows that may have been written without a word: absent at intent, no
    # outcome, and neither looked at by an undo nor done again since
    cut_off: tuple[CutOff, ...]  # rows of intents without an outcome, where they were absent at intent
    holding: dict[str, list[int]]  # CONFLICT, FAILED -> numbers of the intents with such rows
    marks: Marks
    seen: dict[str, "Seen"]  # entry -> what its outcomes say of attributes; files of older versions say nothing
    singly: dict[str, Counter]  # entry -> why single requests inserted, not batches -> items
    unanswered: int  # rows that count as inserted because an equal item was there: no answer said so

    def open(self) -> BinaryIO:
        """The file, open for reading. Raises Refused where something else has taken its place, OSError."""
        return open_to_read(self.path)

    def intents(
        self, *, whole: bool = False, only: Collection[int] | None = None, file: BinaryIO | None = None
    ) -> Iterator[Intent]:
        """The file's intents, as far as it was read, one in memory at a time: see `intents.intents`. Read-only."""
        return intents(self.path, whole=whole, marks=self.marks, only=only, file=file, end=self.tail.end)

    @cached_property
    def standing(self) -> Standing:
        """What is inserted and not undone. Reads the file once, where the counts do not tell."""
        entries: Counter = Counter()
        if not self.marks and not self.cut_off:
            for counted in self.counted.values():
                entries.update({entry: numbers["inserted"] for entry, numbers in counted.entries.items()})
            return Standing(entries, frozenset())
        wanted, claimed = {row.place for row in self.cut_off}, set()
        for intent in self.intents():
            for index, (row, letter) in enumerate(zip(intent.rows, intent.outcome or "", strict=False)):
                if letter != INSERTED:
                    continue
                state = intent.undone.get(index, KEPT_EDITED)
                entries[row.entry] += state == KEPT_EDITED
                if wanted and state != MADE_ROOM and (place := place_of(row)) in wanted:
                    claimed.add(place)
        return Standing(entries, frozenset(claimed))

    def unknown(self) -> Counter:
        """Entry → how many different rows that were cut off nobody has looked at yet, or an undo has kept."""
        given: set[tuple[Place, str]] = set()  # a page that was open twice holds its rows twice
        numbers: Counter = Counter()
        for row in self.cut_off:
            state = self.marks.state(row.n, row.index)
            if row.place not in self.standing.claimed and (row.place, row.digest) not in given:
                numbers[row.place[0]] += state in (None, KEPT_EDITED)
            if state != MADE_ROOM:
                given.add((row.place, row.digest))
        return numbers

    def is_current(self) -> bool:
        """Whether nobody wrote to the file since it was read."""
        return Stamp.now(self.path) == self.stamp


def read_table_file(path: Path, lengths: Collection[int] = (), *, wait: bool = False) -> TableFile | None:
    """The file, read once; None where its first record never came. Raises Damaged.

    `lengths` in records are those whose links are wanted. With `wait` nobody writes to it meanwhile: Interrupted where a
    writer goes on.
    """
    with open_to_read(path) as file:
        if wait:
            journal.hold(file, path.name, shared=True)
        reading = Reading(path, Stamp.of(os.fstat(file.fileno())), lengths)
        for record in journal.lines(path, file):
            reading.add(*record)
    return reading.done()


_known_heads: dict[Path, tuple[Stamp, Head]] = {}  # as this process read them last; some dozens


def read_head(path: Path, lengths: Collection[int], held: Head | None = None, trusted: bool = False) -> Head:
    """How far any journal file goes, with its links at these lengths; a damaged one as far as it can be read. Read-only.

    An earlier reading, `held`, is enough where the file stands and it has these links. With `trusted` it need not have them,
    and one by this process is enough as well.
    """
    stamp = Stamp.of(os.stat(path))
    if trusted and not (held and held.stands) and _known_heads.get(path, (None,))[0] == stamp:
        return _known_heads[path][1]
    if held and held.stands and (trusted or set(lengths) <= {0, held.records, *held.links}):
        return held._replace(links={**held.links, held.records: held.link})
    links, number, link, damage = {0: ""}, 0, b"", ""
    try:
        for number, link in enumerate(journal.links(path), 1):
            if number in lengths:
                links[number] = link.decode()
    except Damaged as problem:
        damage = str(problem).partition(";")[0].removeprefix(path.name)
    _known_heads[path] = stamp, Head(number, link.decode(), links, True, stamp.size, damage)
    return _known_heads[path][1]


class Reading:
    """One pass over a table's journal file."""

    def __init__(self, path: Path, stamp: Stamp = Stamp(0, 0, 0), lengths: Collection[int] = ()):  # noqa: B008 a constant
        """`add` is to get each of its records."""
        self._path, self._stamp, self._lengths = path, stamp, lengths
        self._tail, self._begin = Tail(), None
        self._links: dict[int, str] = {}
        self._counted: dict[int, Counted] = defaultdict(Counted)
        self._began: list[tuple[int, int]] = []  # the first intent of each execution
        self._position, self._marks = Position(), Marks()
        self._landed: dict[Place, dict[tuple[int, int], str]] = {}  # of a row of an intent: digest
        self._open: dict[int, dict[int, Place]] = defaultdict(dict)  # intent -> row -> place
        self._cut_off: list[CutOff] = []
        self._holding: dict[str, list[int]] = {CONFLICT: [], FAILED: []}
        self._seen: dict[str, Seen] = defaultdict(Seen)
        self._singly: dict[str, Counter] = defaultdict(Counter)
        self._unanswered = 0
        self._waiting: bytes | None = None  # an intent whose outcome has not come yet
        self._unsent: set[int] = set()

    def add(self, end: int, link: bytes, body: bytes) -> None:
        """Takes a record, with where it ends and its link."""
        records, kind = self._tail.records + 1, kind_of(body)
        if records in self._lengths:
            self._links[records] = link.decode()
        if records == 1:
            self._begin = orjson.loads(body)
        number = self._tail.next
        if kind == "intent":
            number = max(number, number_of(body) + 1)
            self._cut_short()
            self._waiting = body
        elif kind == "unsent":
            self._unsent.update(orjson.loads(body)["rows"])
        elif kind == "outcome":
            self._settle(orjson.loads(body))
        elif kind in ("undo", "undone"):
            self._undo(orjson.loads(body))
        self._tail = Tail(end, records, link, number)

    def done(self) -> TableFile | None:
        """What was read. None where there was no record."""
        self._cut_short()
        if self._begin is None:
            return None
        return TableFile(
            self._path,
            self._begin,
            self._stamp,
            self._tail,
            self._links,
            dict(self._counted),
            self._position,
            {place: set(rows.values()) for place, rows in self._landed.items()},
            tuple(self._cut_off),
            self._holding,
            self._marks,
            dict(self._seen),
            dict(self._singly),
            self._unanswered,
        )

    def _cut_short(self) -> None:
        """The waiting intent's outcome was never written: the process died there."""
        if self._waiting is None:
            return
        n = number_of(self._waiting)
        for index, row in enumerate(rows_of(self._waiting)):
            if not row.present and index not in self._unsent:
                self._cut_off.append(CutOff(n, index, place_of(row), row.digest))
                # A page that was open twice may have found another version the second time.
                if self._marks.state(n, index) is None:
                    self._landed.setdefault(place_of(row), {})[n, index] = row.digest
                    self._open[n][index] = place_of(row)
        self._waiting, self._unsent = None, set()

    def _settle(self, outcome: dict[str, Any]) -> None:
        n, execution, letters = outcome["n"], outcome["execution"], outcome["rows"]
        if not self._began or self._began[-1][1] != execution:
            self._began.append((n, execution))
        counted = self._counted[execution]
        for entry, numbers in outcome["counts"].items():
            counted.entries[entry].update(numbers)  # of an intent that replaces something: what that changes
        counted.unrouted += outcome["unrouted"]
        counted.letters.update(letters)
        for entry, ledger in outcome.get("ledger", {}).items():
            types = outcome["types"][entry]
            self._seen[entry].add(ledger, {name: dict.fromkeys(types[name], 1) for name in types})
        for entry, reason in outcome.get("single", {}).items():
            self._singly[entry][reason] += outcome["counts"][entry].get("inserted", 0)
        self._unanswered += len(outcome.get("unanswered", ()))
        for earlier, letter, index in outcome.get("instead", ()):
            counted.undone["replaced"] -= letter == INSERTED
            if (letter, index) not in self._marks.replaced(earlier):
                self._counted[self._execution_of(earlier)].letters[letter] -= 1
        self._marks.add_instead(outcome.get("instead", ()))
        for letter, found in self._holding.items():
            if letter in letters:
                found.append(n)
        if outcome["page"] is not None:
            items = self._position.items + outcome.get("items", 0)
            self._position = Position(outcome["page"] + 1, outcome["last"], outcome["last"] is None, items)
        if self._landed and self._waiting:  # the page was done again, and this is what became of it
            for row in rows_of(self._waiting):
                self._landed.pop(place_of(row), None)
        self._waiting, self._unsent = None, set()

    def _undo(self, record: dict[str, Any]) -> None:
        self._marks.add_undo(record)
        if record["kind"] == "undone":
            self._counted[record["execution"]].undone.update(record["counts"])
            for index in record["rows"]:
                place = self._open.get(record["n"], {}).pop(int(index), None)
                if rows := self._landed.get(place):
                    rows.pop((record["n"], int(index)), None)
                    if not rows:
                        del self._landed[place]

    def _execution_of(self, n: int) -> int:
        return next((execution for first, execution in reversed(self._began) if first <= n), 1)


def place_of(row: JournalRow) -> Place:
    """What a row stands for in the target."""
    return row.entry, key_hash(row.key)
