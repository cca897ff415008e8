"""What a stage's journal says of each item, looked up by source key or target key: drift is found with it.

The look-up is a temporary database of SQLite, without a name: it lies in the machine's temporary folder, is gone with the
process however that ends, and holds hashes and places in the journal, no keys and no values. Memory is bounded by its cache.
"""

import sqlite3
import threading
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any, BinaryIO, NamedTuple

from ..errors import Interrupted
from ..values import key_hash
from .intents import Intent, JournalRow, execution_at, growth, intent_at, row_near
from .log import EXPIRED, INSERTED, LOSER, MADE_ROOM, MATCHED, REJECT, UNROUTED
from .snapshot import Snapshot

OPEN = "o"  # a row that was absent when it was announced, with no word what became of it
STANDS, ANNOUNCED, GONE = range(3)  # of an inserted or open row: there as far as the journal knows; its delete was
# announced, with no word; deleted to make room for a newer version
BY_SOURCE, OF_NO_ENTRY, BY_TARGET = b"source", b"unrouted", b"target"  # kinds of hashes
CACHE_KB = 64_000
BATCH = 10_000  # rows written to the database at once
ASKED = 500  # hashes looked up with one question
HELD_INTENTS = 8  # of those read again, kept in memory
HANDLES = 200  # journal files that are open at a time

_COLUMNS = "file, n, idx, letter, digest, state"


class Said(NamedTuple):
    """What one intent of the journal says of one item."""

    file: int  # number of the journal file
    n: int
    index: int  # in the list of the intent that the letter stands for
    letter: str  # of journal, or OPEN
    digest: str  # of the row; of a matched item's values; of a reject's reason; "" of an unrouted or expired item
    state: int


class _Place(NamedTuple):
    """Where an intent is in its file."""

    at: int
    size: int
    rows: int


def _place_of(intent: Intent) -> _Place:
    return _Place(intent.at, intent.size, len(intent.rows))


def item_hash(entry: str, key: dict, kind: bytes = BY_SOURCE) -> bytes:
    """16 bytes for the source key of an entry; with `kind` OF_NO_ENTRY of a source table, BY_TARGET of a target table."""
    return item_hash_of(entry, key_hash(key), kind)


def item_hash_of(name: str, hashed: bytes, kind: bytes = BY_SOURCE) -> bytes:
    """As `item_hash`, of a key's hash."""
    return blake2b(b"\0".join((kind, name.encode(), hashed)), digest_size=16).digest()


def reason_digest(attribute: str, reason: str) -> str:
    """Tells one reason of a rejected item from another."""
    return blake2b(f"{attribute}\0{reason}".encode(), digest_size=16).hexdigest()


class Lookup:
    """All that a stage's journal says and that no later intent stands for. A `with` block; thread-safe."""

    def __init__(self, journal: Snapshot, targets: dict[str, str] | None = None):
        """Reads each journal file once. With `targets` (entry → target table) what was inserted is found by its target key.

        Raises Damaged, Refused; Interrupted where the temporary folder is full.
        """
        self.files = journal.files
        self._handles: dict[int, BinaryIO] = {}
        self._places: list[dict[int, _Place]] = []  # of each file: n -> where the intent is
        self._tails = [file.tail for file in journal.files]  # how far each file was read
        self._intents: dict[tuple[int, int], Intent] = {}
        self._targets = targets
        self._lock = threading.RLock()
        self._base = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        with self._saving():
            self._base.execute("PRAGMA journal_mode = OFF")
            self._base.execute("PRAGMA synchronous = OFF")
            self._base.execute(f"PRAGMA cache_size = -{CACHE_KB}")
            self._base.execute(f"CREATE TABLE said (item_hash, {_COLUMNS})")
            self._base.execute("CREATE TABLE seen (item_hash)")
            self._base.execute("BEGIN")  # one transaction for all: nothing of it is ever to be kept
            self._fill()
            self._base.execute("CREATE INDEX said_items ON said (item_hash)")
        self.unrouted = {file for (file,) in self._all("SELECT DISTINCT file FROM said WHERE letter = ?", (UNROUTED,))}

    def __enter__(self) -> "Lookup":
        return self

    def __exit__(self, *exception: object) -> None:
        self._base.close()
        for handle in self._handles.values():
            handle.close()

    def find(self, hashes: Iterable[bytes], files: Collection[int] | None = None) -> dict[bytes, list[Said]]:
        """What is said of the item of each hash, in the order in which it was said; hashes without a word are not there."""
        found: dict[bytes, list[Said]] = defaultdict(list)
        left = list(hashes)
        for at in range(0, len(left), ASKED):
            asked = left[at : at + ASKED]
            marks = ",".join("?" * len(asked))
            query = f"SELECT item_hash, {_COLUMNS} FROM said WHERE item_hash IN ({marks}) ORDER BY file, n, idx"
            for hashed, *said in self._all(query, asked):
                if files is None or said[0] in files:
                    found[hashed].append(_said(said))
        return dict(found)

    def see(self, hashes: Iterable[bytes]) -> None:
        """Notes that the items of these hashes were met."""
        with self._saving():
            self._base.executemany("INSERT INTO seen VALUES (?)", zip(hashes))

    def unseen(self, files: Collection[int]) -> Iterator[list[Said]]:
        """What is said in some files of items that were not met, in batches, in the journal's order."""
        with self._saving():
            self._base.execute("CREATE INDEX IF NOT EXISTS seen_items ON seen (item_hash)")
        marks = ",".join(map(str, files))
        last = 0
        while True:  # a new question for each batch, so that others may write to the database between two
            query = (
                f"SELECT rowid, {_COLUMNS} FROM said WHERE file IN ({marks}) AND rowid > ? "
                f"AND NOT EXISTS (SELECT 1 FROM seen WHERE seen.item_hash = said.item_hash) ORDER BY rowid LIMIT {ASKED}"
            )
            batch = self._all(query, (last,))
            if not batch:
                return
            yield [_said(said) for _, *said in batch]
            last = batch[-1][0]

    def announced(self, files: Collection[int]) -> Iterator[list[Said]]:
        """The rows of some files whose delete was announced, with no word what became of it, in batches."""
        query = f"SELECT DISTINCT {_COLUMNS} FROM said WHERE state = ? ORDER BY file, n, idx"
        found = [_said(said) for said in self._all(query, (ANNOUNCED,)) if said[0] in files]  # a page's, or few more
        yield from (found[at : at + ASKED] for at in range(0, len(found), ASKED))

    def lettered(self, letters: Collection[str], files: Collection[int]) -> Iterator[Said]:
        """What some files say with one of these letters, in the journal's order."""
        marks, last = ",".join("?" * len(letters)), (-1, -1, -1)
        while True:  # a new question for each batch, as in `unseen`
            query = (
                f"SELECT DISTINCT {_COLUMNS} FROM said WHERE letter IN ({marks}) AND (file, n, idx) > (?, ?, ?) "
                f"ORDER BY file, n, idx LIMIT {ASKED}"
            )
            batch = [_said(said) for said in self._all(query, (*letters, *last))]
            yield from (one for one in batch if one.file in files)
            if not batch:
                return
            last = batch[-1][:3]

    def forget(self, gone: Iterable[Said]) -> None:
        """Notes that rows were deleted to make room."""
        places = [(GONE, one.file, one.n, one.index, one.letter) for one in gone]
        with self._saving():
            self._base.executemany("UPDATE said SET state = ? WHERE (file, n, idx, letter) = (?, ?, ?, ?)", places)

    def grow(self, files: Collection[int]) -> None:
        """Takes what was appended to some files since they were read. Raises Damaged."""
        with self._saving():
            self._base.execute("CREATE INDEX IF NOT EXISTS said_places ON said (file, n, idx)")
            for number in files:
                self._grow(number)

    def _grow(self, file: int) -> None:
        about, batch = self.files[file].begin["table"], list[tuple]()
        for grown in growth(self._handle(file), self.files[file].path, self._tails[file]):
            self._tails[file] = grown.tail
            if grown.intent is not None:
                self._places[file][grown.intent.n] = _place_of(grown.intent)
                batch += self._rows_of(grown.intent, file, about)
            if grown.instead or grown.states:
                self._write(batch)
                batch = []
            self._base.executemany(
                "DELETE FROM said WHERE (file, n, idx, letter) = (?, ?, ?, ?)",
                [(file, n, index, letter) for n, letter, index in grown.instead],
            )
            self._base.executemany(
                "UPDATE said SET state = ? WHERE (file, n, idx) = (?, ?, ?) AND letter IN (?, ?) AND state < ?",
                [
                    (GONE if word == MADE_ROOM else ANNOUNCED, file, n, index, INSERTED, OPEN, GONE)
                    for n, index, word in grown.states
                ],
            )
        self._write(batch)

    def row(self, said: Said, entry: str, source_key: dict) -> JournalRow:
        """The row that says it, of the item with this source key, without reading the whole of a large intent."""
        with self._lock:
            if (said.file, said.n) not in self._intents:
                place = self._places[said.file][said.n]
                near = place.at + place.size * said.index // max(1, place.rows)  # rows are about equally long
                row = row_near(self._handle(said.file), near, entry, source_key)
                if row is not None and row.digest == said.digest:
                    return row
            return self.intent(said).rows[said.index]

    def execution(self, said: Said) -> int:
        """The execution that wrote the intent that says it."""
        with self._lock:
            return execution_at(self._handle(said.file), self._places[said.file][said.n].at)

    def intent(self, said: Said) -> Intent:
        """The intent that says it, as it was written."""
        with self._lock:
            known = (said.file, said.n)
            if known not in self._intents:
                while len(self._intents) >= HELD_INTENTS:
                    del self._intents[next(iter(self._intents))]
                self._intents[known] = intent_at(self._handle(said.file), self._places[said.file][said.n].at)
            return self._intents[known]

    def source_key(self, said: Said) -> tuple[str, dict]:
        """The entry (of an unrouted item its source table) and the item's source key."""
        intent = self.intent(said)
        if said.letter == UNROUTED:
            return self.files[said.file].begin["table"], intent.unrouted[said.index]
        if said.letter in (REJECT, EXPIRED):
            return tuple((intent.rejects if said.letter == REJECT else intent.skipped)[said.index][:2])
        row = {LOSER: intent.losers, MATCHED: intent.matched}.get(said.letter, intent.rows)[said.index]
        return row.entry, row.source_key

    def _handle(self, number: int) -> BinaryIO:
        """A journal file, open for reading."""
        if number not in self._handles:
            while len(self._handles) >= HANDLES:
                self._handles.pop(next(iter(self._handles))).close()
            self._handles[number] = self.files[number].open()
        return self._handles[number]

    def _fill(self) -> None:
        batch: list[tuple] = []
        for number, file in enumerate(self.files):
            places: dict[int, _Place] = {}
            self._places.append(places)
            for intent in file.intents(whole=True, file=self._handle(number)):
                places[intent.n] = _place_of(intent)
                batch += self._rows_of(intent, number, file.begin["table"])
                if len(batch) >= BATCH:
                    self._write(batch)
                    batch = []
        self._write(batch)

    def _write(self, batch: list[tuple]) -> None:
        self._base.executemany("INSERT INTO said VALUES (?, ?, ?, ?, ?, ?, ?)", batch)

    def _rows_of(self, intent: Intent, file: int, table: str) -> Iterator[tuple]:
        for index, row in enumerate(intent.rows):
            letter = intent.outcome[index] if intent.outcome is not None else OPEN
            if (letter, index) in intent.replaced or (letter == OPEN and row.present):
                continue
            state = STANDS
            if intent.undone.get(index) == MADE_ROOM:
                state = GONE
            elif index in intent.undoing:
                state = ANNOUNCED
            about = (file, intent.n, index, letter, bytes.fromhex(row.digest), state)
            yield item_hash(row.entry, row.source_key), *about
            if self._targets and letter in (INSERTED, OPEN) and state != GONE:
                yield item_hash(self._targets[row.entry], row.key, BY_TARGET), *about
        if intent.outcome is None:
            return
        for letter, rows in ((LOSER, intent.losers), (MATCHED, intent.matched)):
            for index, row in enumerate(rows):
                if (letter, index) not in intent.replaced:
                    told = bytes.fromhex(row.digest)
                    yield item_hash(row.entry, row.source_key), file, intent.n, index, letter, told, STANDS
        for index, (entry, key, attribute, reason) in enumerate(intent.rejects):
            if (REJECT, index) not in intent.replaced:
                told = bytes.fromhex(reason_digest(attribute, reason))
                yield item_hash(entry, key), file, intent.n, index, REJECT, told, STANDS
        for index, (entry, key) in enumerate(intent.skipped):
            if (EXPIRED, index) not in intent.replaced:
                yield item_hash(entry, key), file, intent.n, index, EXPIRED, b"", STANDS
        for index, key in enumerate(intent.unrouted):
            if (UNROUTED, index) not in intent.replaced:
                yield item_hash(table, key, OF_NO_ENTRY), file, intent.n, index, UNROUTED, b"", STANDS

    def _all(self, query: str, values: Iterable[Any] = ()) -> list[tuple]:
        with self._saving():
            return self._base.execute(query, tuple(values)).fetchall()

    @contextmanager
    def _saving(self) -> Iterator[None]:
        """One at a time; what the disk refuses is Interrupted, as all of it can be done again."""
        try:
            with self._lock:
                yield
        except sqlite3.OperationalError as problem:
            raise Interrupted(
                f"the index of the journal cannot be written: {problem}; make room in the machine's temporary folder, "
                "or set TMPDIR."
            ) from problem


def _said(columns: Iterable[Any]) -> Said:
    file, n, index, letter, digest, state = columns
    return Said(file, n, index, letter, digest.hex(), state)
