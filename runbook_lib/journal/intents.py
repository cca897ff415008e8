"""A journal file's intents, each with what became of it: its outcome, what an undo did, and what took its place."""

from binascii import a2b_base64, b2a_base64
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

import orjson

from ..mapping.ids import id_hash
from ..mapping.routes import Matched, Row
from ..mapping.walkers import LINK_BYTES, NOWHERE, Found
from ..values import serialize
from .log import EXPIRED, LOSER, MATCHED, REJECT, REPLACED, UNROUTED, Tail, kind_of, lines, number_of

NEAR = 1 << 15  # bytes
HEAD, EXECUTION = 200, b',"execution":'  # every intent says it in its first bytes

NOT_ROWS = {  # letter -> list of an intent
    LOSER: "losers",
    REJECT: "rejects",
    UNROUTED: "unrouted",
    EXPIRED: "skipped",
    MATCHED: "matched",
}


class JournalRow(NamedTuple):
    """One row of an intent."""

    entry: str
    source_key: dict
    key: dict
    old_id: str
    new_id: str
    digest: str
    present: bool  # the key was in the target before; or what may be there now is not ours, as it was never sent
    ids: str  # its own id and those it refers to, hashed: see `encode_ids`


@dataclass
class Intent:
    """One page's intent with what followed it.

    Without a page it is of items that earlier intents of the file had already: see `Inserter.again`. What was replaced is
    no longer in the lists; a row keeps its place, its letter is REPLACED.
    """

    n: int = 0
    execution: int = 1
    page: int | None = 0
    start: dict | None = None
    rows: list[JournalRow] = field(default_factory=list)
    losers: list[JournalRow] = field(default_factory=list)
    rejects: list[list] = field(default_factory=list)  # entry, source key, attribute, reason
    unrouted: list[dict] = field(default_factory=list)
    outcome: str | None = None  # one letter a row
    last: dict | None = None
    errors: dict[str, str] = field(default_factory=dict)
    undoing: set[int] = field(default_factory=set)  # an undo was announced
    undone: dict[int, str] = field(default_factory=dict)
    unanswered: set[int] = field(default_factory=set)  # inserted, as far as an equal item tells; no answer said so
    stale: set[int] = field(default_factory=set)  # conflicts with an earlier version that an open intent wrote
    replaced: set[tuple[str, int]] = field(default_factory=set)  # letter, index: what a later intent stands for
    unreadable: dict[str, list[int]] = field(default_factory=dict)  # reference path -> row, once for each such value
    several: dict[str, dict[str, int]] = field(default_factory=dict)  # entry, path -> ids that several entries have
    skipped: list[list] = field(default_factory=list)  # entry, source key: left out by `expired: skip`
    # An item of the target has their place: its key and id; the digest is the hash of the values that both have.
    matched: list[JournalRow] = field(default_factory=list)
    at: int = field(default=0, compare=False)  # where its record begins in the file
    size: int = field(default=0, compare=False)  # bytes of its record


class Marks:
    """What later records of a file say of earlier intents: which rows were undone, and which were replaced.

    One byte a row of an intent that an undo has to do with.
    """

    _ANNOUNCED = 0x80

    def __init__(self) -> None:
        """Nothing is said yet."""
        self._words: list[str] = [""]  # what becomes of a row in an undo
        self._rows: dict[int, bytearray] = {}  # intent -> a byte a row: which word, and whether it was announced
        self._replaced: dict[int, set[tuple[str, int]]] = {}

    def __bool__(self) -> bool:
        return bool(self._rows or self._replaced)

    def add_undo(self, record: dict) -> None:
        """Takes a record `undo` or `undone`."""
        rows = self._rows.setdefault(record["n"], bytearray())
        for index, word in (
            record["rows"].items() if record["kind"] == "undone" else ((i, None) for i in record["rows"])
        ):
            index = int(index)
            rows.extend(bytes(max(0, index + 1 - len(rows))))
            if word is None:
                rows[index] |= self._ANNOUNCED
            else:
                if word not in self._words:
                    self._words.append(word)
                rows[index] = rows[index] & self._ANNOUNCED | self._words.index(word)

    def add_instead(self, instead: list) -> None:
        """Takes what an outcome says of earlier intents."""
        for n, letter, index in instead:
            self._replaced.setdefault(n, set()).add((letter, index))

    def state(self, n: int, index: int) -> str | None:
        """What became of a row in an undo; None where none has come to an end with it."""
        rows = self._rows.get(n, b"")
        return self._words[rows[index] & ~self._ANNOUNCED] or None if index < len(rows) else None

    def replaced(self, n: int) -> set[tuple[str, int]]:
        """Letter and index of what later intents stand for."""
        return self._replaced.get(n, set())

    def put_on(self, intent: Intent) -> None:
        """Fills in what undos say."""
        for index, byte in enumerate(self._rows.get(intent.n, b"")):
            if byte & self._ANNOUNCED:
                intent.undoing.add(index)
            if word := byte & ~self._ANNOUNCED:
                intent.undone[index] = self._words[word]


def marks_of(path: Path) -> Marks:
    """The marks of a file. Read-only. Raises Damaged."""
    marks = Marks()
    for _, _, body in lines(path):
        kind = kind_of(body)
        if kind in ("undo", "undone"):
            marks.add_undo(orjson.loads(body))
        elif kind == "outcome" and b'"instead":' in body:
            marks.add_instead(orjson.loads(body).get("instead", ()))
    return marks


def intents(
    path: Path,
    *,
    whole: bool = False,
    marks: Marks | None = None,
    only: Collection[int] | None = None,
    file: BinaryIO | None = None,
    end: int | None = None,
) -> Iterator[Intent]:
    """The intents of a file, in order, each with its outcome and its undo, one in memory at a time. Read-only.

    `whole` leaves what was replaced in the lists, so that their indexes hold. `marks` are the file's where they are known;
    else the file is read twice. `only` are the numbers of those that are wanted. Reads through `file` where one is given,
    and up to the byte `end`.
    """
    marks = marks_of(path) if marks is None else marks
    waiting: Intent | None = None
    for at, _, body in lines(path, file, end=end):
        if (kind := kind_of(body)) == "intent":
            if waiting is not None:
                yield waiting  # its outcome was never written: the process died, and the page was started again
            waiting = None
            if only is None or number_of(body) in only:
                waiting = _intent_of(body, at - len(body) - 1)
                marks.put_on(waiting)
        elif waiting is None:
            continue
        elif kind == "unsent":
            for index in orjson.loads(body)["rows"]:
                waiting.rows[index] = waiting.rows[index]._replace(present=True)
        elif kind == "outcome":
            record = orjson.loads(body)
            waiting.outcome, waiting.last, waiting.errors = record["rows"], record["last"], record["errors"]
            waiting.unanswered = set(record.get("unanswered", ()))
            waiting.stale, waiting.replaced = set(record.get("stale", ())), marks.replaced(waiting.n)
            if waiting.replaced and not whole:
                _take_out(waiting)
            yield waiting
            waiting = None
    if waiting is not None:
        yield waiting


def intent_at(file: BinaryIO, at: int) -> Intent:
    """The intent whose record begins there, as it was written: without what followed it. Read-only."""
    file.seek(at)
    return _intent_of(file.readline(), at)


def row_near(file: BinaryIO, at: int, entry: str, source_key: dict) -> JournalRow | None:
    """A row of a source item that begins near a place of a file; None where none does. Read-only.

    To read a page's whole intent for one of its rows takes a hundred times as long.
    """
    file.seek(max(0, at - NEAR))
    body = file.read(2 * NEAR)
    start = body.find(orjson.dumps([entry, source_key])[:-1] + b",")
    if start < 0:
        return None
    end = start
    while (end := body.find(b'"]', end) + 2) > 1:  # a row ends with a text; this may stand inside an earlier one
        try:
            return JournalRow(*orjson.loads(body[start:end]))
        except (ValueError, TypeError):
            continue
    return None


def execution_at(file: BinaryIO, at: int) -> int:
    """The execution of the intent whose record begins there. Read-only."""
    file.seek(at)
    head = file.read(HEAD)
    begin = head.index(EXECUTION) + len(EXECUTION)
    return int(head[begin : head.index(b",", begin)])


class Growth(NamedTuple):
    """What one record, or an intent with its outcome, adds to a file that was read before."""

    tail: Tail  # how far the file is read with it
    intent: Intent | None = None
    instead: Sequence[tuple[int, str, int]] = ()  # n, letter, index: what it stands for from now on
    states: Sequence[tuple[int, int, str | None]] = ()  # n, row, what became of it in an undo; None: it was announced


def growth(file: BinaryIO, path: Path, after: Tail) -> Iterator[Growth]:
    """What stands behind a place of a file, in order. Read-only. Raises Damaged.

    An intent without an outcome is given where the next one begins; at the end of the file it is not given: it may be
    written yet.
    """
    waiting: Intent | None = None
    tail = after
    for at, link, body in lines(path, file, after=after):
        tail = Tail(at, tail.records + 1, link, tail.next)
        kind = kind_of(body)
        if kind == "intent":
            if waiting is not None:
                yield Growth(tail, waiting)
            waiting = _intent_of(body, at - len(body) - 1)
        elif kind == "unsent" and waiting is not None:
            for index in orjson.loads(body)["rows"]:
                waiting.rows[index] = waiting.rows[index]._replace(present=True)
        elif kind == "outcome":
            record = orjson.loads(body)
            if waiting is not None:
                waiting.outcome = record["rows"]
            yield Growth(tail, waiting, [tuple(one) for one in record.get("instead", ())])
            waiting = None
        elif kind in ("undo", "undone"):
            record = orjson.loads(body)
            words = record["rows"].items() if kind == "undone" else ((index, None) for index in record["rows"])
            yield Growth(tail, None, (), [(record["n"], int(index), word) for index, word in words])


def rows_of(body: bytes) -> list[JournalRow]:
    """The rows of an intent's record."""
    return [JournalRow(*row) for row in orjson.loads(body)["rows"]]


def _intent_of(body: bytes, at: int) -> Intent:
    record = orjson.loads(body)
    del record["kind"]
    record["rows"] = [JournalRow(*row) for row in record["rows"]]
    record["losers"] = [JournalRow(*row) for row in record["losers"]]
    if "matched" in record:
        record["matched"] = [JournalRow(*row) for row in record["matched"]]
    return Intent(**record, at=at, size=len(body))


def _take_out(intent: Intent) -> None:
    """Leaves out of an intent what a later one stands for."""
    replaced, letters = intent.replaced, list(intent.outcome)
    for index in (index for letter, index in replaced if letter not in NOT_ROWS):
        letters[index] = REPLACED
        intent.errors.pop(str(index), None)
    intent.outcome = "".join(letters)
    for letter, name in NOT_ROWS.items():
        kept = [one for index, one in enumerate(getattr(intent, name)) if (letter, index) not in replaced]
        setattr(intent, name, kept)


def unreadable_of(rows: Iterable[Row]) -> dict[str, dict[str, list[int]]]:
    """What an intent says of the values that no rule could read as ids; {}, where there is none."""
    found: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        for path in row.unreadable:
            found.setdefault(path, []).append(index)
    return {"unreadable": found} if found else {}


def several_of(rows: Iterable[Row]) -> dict[str, dict[str, dict[str, int]]]:
    """What an intent says of references whose id several entries have; {}, where there is none."""
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        for path in row.several:
            paths = found.setdefault(row.entry, {})
            paths[path] = paths.get(path, 0) + 1
    return {"several": found} if found else {}


def matched_of(matched: Iterable[Matched]) -> dict[str, list[list]]:
    """What an intent says of items whose place one of the target has; {}, where there is none."""
    rows = [
        [one.entry, one.source_key, one.key, one.old_id, one.new_id, one.by.hex(), True, _own_id(one)]
        for one in matched
    ]
    return {"matched": rows} if rows else {}


def _own_id(one: Matched) -> str:
    return b2a_base64(id_hash(one.entry, one.old, LINK_BYTES), newline=False).decode()


def encode_ids(row: Row) -> str:
    """Base64 of a hash of the row's own id, then one of each id it refers to."""
    own = row.link or (id_hash(row.entry, row.old, LINK_BYTES) if row.old else NOWHERE)
    return b2a_base64(own + b"".join([found.link for found in row.references]), newline=False).decode()


def restored(row: JournalRow, item: dict) -> Row:
    """The row of an item that was deleted, to be inserted again as it was."""
    ids = a2b_base64(row.ids)
    own, *links = (ids[at : at + LINK_BYTES] for at in range(0, len(ids), LINK_BYTES))
    references = [Found("", None, None, None, link) for link in links]
    about = (row.source_key, row.key, item, serialize(item), row.digest, None, row.old_id, row.new_id)
    return Row(row.entry, {}, *about, references, [], [], link=own)
