"""The append-only record of a stage, the only state of a run: status, resume, rollback, id map and report read it.

One file per (table, segment), mode 0600; one JSON record a line, each preceded by a hash over itself and all before it.

begin    run, stage, table, entries, segment, segments, fingerprints
intent   n, execution, page, start, rows, losers, rejects, unrouted   before the page's first request leaves
outcome  n, execution, page, last, counts, unrouted, rows, errors     after its last answer came; rows: a letter each
         instead                                                      what was settled before and is anew: n, letter, index
undo     n, execution, rows                                          before the first delete leaves
undone   n, execution, rows, counts                                  rows: index -> what became of it
"""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from . import failpoints
from .errors import Refused

SCHEMA = 1
INSERTED, ALREADY_THERE, CONFLICT, FAILED = "iacf"  # what became of a row
REPLACED = "-"  # a later intent stands for the row
LOSER, REJECT, UNROUTED = "lqu"  # an intent's other lists
COUNTS = {
    INSERTED: "inserted",
    ALREADY_THERE: "already_there",
    CONFLICT: "conflicts",
    FAILED: "failed",
    LOSER: "conflicts",
    REJECT: "quarantined",
}


class Damaged(Refused):
    """A journal record does not fit the chain."""


class JournalRow(NamedTuple):
    """One row of an intent."""

    entry: str
    source_key: dict
    key: dict
    old_id: str
    new_id: str
    digest: str
    present: bool  # the key was in the target before
    ids: str  # its own id and those it refers to, hashed: see relations.py


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


class Log:
    """One journal file, open for appending. Not thread-safe: one worker owns one segment."""

    def __init__(self, path: Path):
        """Opens or creates the file; a torn last line is cut. Raises Damaged for any other damage."""
        self.path = path
        if failpoints.armed:
            failpoints.reach("journal.open.before")
        self._file = open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+b", buffering=0)  # noqa: SIM115
        self._chain, self._next, good = b"", 0, 0
        for end, link, body in _lines(path):
            good, self._chain = end, link
            if _kind(body) == "intent":
                self._next += 1
        self.cut = path.stat().st_size - good  # bytes of a torn last line
        if self.cut:
            self._file.truncate(good)
        if not good:  # new, or its first record never came: the folder may not know it yet
            sync_folder(path.parent)

    @property
    def empty(self) -> bool:
        """Whether nothing was ever written."""
        return not self._chain

    def append(self, kind: str, **record: Any) -> None:
        """Writes one record and waits until it is on disk. Raises OSError as the disk does; the file is closed then."""
        body = orjson.dumps({"kind": kind, **record})
        chain = _link(self._chain, body)
        line = chain + b" " + body + b"\n"
        try:
            if failpoints.armed:
                failpoints.reach("journal.append.before")
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, "the disk took only a part of a journal record")
            if failpoints.armed:
                failpoints.reach("journal.fsync.before")
            os.fsync(self._file.fileno())
            if failpoints.armed:
                failpoints.reach("journal.append.after")
        except BaseException:
            self._file.close()  # what is on disk is not known: nothing may be written behind it
            raise
        self._chain = chain

    def number(self) -> int:
        """The number for the next intent."""
        self._next += 1
        return self._next - 1

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _link(chain: bytes, body: bytes) -> bytes:
    return blake2b(chain + body, digest_size=16).hexdigest().encode()


def _kind(body: bytes) -> str:
    return body[9 : body.index(b'"', 9)].decode()  # every record begins {"kind":"


def _lines(path: Path) -> Iterator[tuple[int, bytes, bytes]]:
    """Of each whole record: where it ends, its link, its body. Stops at a torn last line. Raises Damaged."""
    chain, end = b"", 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            link, _, body = line.rstrip(b"\n").partition(b" ")
            if not line.endswith(b"\n"):
                return  # the last line, torn by a crash
            if link != _link(chain, body):
                raise Damaged(
                    f"{path.name}: record {number} is damaged; restore the file from a copy. Nothing was done with it."
                )
            chain, end = link, end + len(line)
            yield end, chain, body


def links(path: Path) -> Iterator[bytes]:
    """The link of each whole record, which stands for it and all before it. Read-only. Raises Damaged."""
    for _, link, _ in _lines(path):
        yield link


def records(path: Path, *kinds: str) -> Iterator[dict]:
    """The records of a file in order, or those of some kinds. Read-only. Raises Damaged."""
    for _, _, body in _lines(path):
        if not kinds or _kind(body) in kinds:
            yield orjson.loads(body)


def intents(path: Path, *, whole: bool = False) -> Iterator[Intent]:
    """The intents of a file, in order, each with its outcome and its undo, one in memory at a time. Read-only.

    `whole` leaves what was replaced in the lists, so that their indexes hold.
    """
    undo: dict[int, Intent] = {}
    replaced: dict[int, set[tuple[str, int]]] = {}
    for _, _, body in _lines(path):
        kind = _kind(body)
        if kind == "outcome" and b'"instead":' in body:
            for n, letter, index in orjson.loads(body).get("instead", ()):
                replaced.setdefault(n, set()).add((letter, index))
        elif kind in ("undo", "undone"):
            record = orjson.loads(body)
            marks = undo.setdefault(record["n"], Intent())
            if kind == "undo":
                marks.undoing.update(record["rows"])
            else:
                marks.undone |= {int(index): state for index, state in record["rows"].items()}
    waiting: Intent | None = None
    for record in records(path, "intent", "outcome"):
        if record.pop("kind") == "outcome":
            waiting.outcome, waiting.last, waiting.errors = record["rows"], record["last"], record["errors"]
            if waiting.n in replaced and not whole:
                _take_out(waiting, replaced[waiting.n])
            yield waiting
            waiting = None
            continue
        if waiting is not None:
            yield waiting  # its outcome was never written: the process died, and the page was begun again
        record["rows"] = [JournalRow(*row) for row in record["rows"]]
        record["losers"] = [JournalRow(*row) for row in record["losers"]]
        waiting = Intent(**record)
        marks = undo.get(waiting.n, waiting)
        waiting.undoing, waiting.undone = marks.undoing, marks.undone
    if waiting is not None:
        yield waiting


def _take_out(intent: Intent, replaced: set[tuple[str, int]]) -> None:
    """Leaves out of an intent what a later one stands for."""
    letters = list(intent.outcome)
    for index in (index for letter, index in replaced if letter not in (LOSER, REJECT, UNROUTED)):
        letters[index] = REPLACED
        intent.errors.pop(str(index), None)
    intent.outcome = "".join(letters)
    for letter, name in ((LOSER, "losers"), (REJECT, "rejects"), (UNROUTED, "unrouted")):
        kept = [one for index, one in enumerate(getattr(intent, name)) if (letter, index) not in replaced]
        setattr(intent, name, kept)


def log_name(table: str, segment: int) -> str:
    """The file name for a table and a segment."""
    return f"{table}.{segment:05}.jsonl"


def begin_of(path: Path) -> dict | None:
    """The first record of a file, or None where it has none yet. Read-only. Raises Damaged."""
    return next(records(path), None)


def logs(folder: Path) -> list[Path]:
    """The table files of a stage, in name order."""
    return sorted(path for path in folder.glob("*.jsonl") if path.stem.rpartition(".")[2].isdigit())


def make_folder(folder: Path) -> None:
    """Makes the folder, and those above it that are missing, mode 0700; on disk when it returns."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Waits until the folder's entries are on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
