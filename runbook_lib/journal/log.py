"""The append-only record of a stage, the only state of a run: status, resume, rollback, id map and report read it.

One file per (table, segment), mode 0600; one JSON record a line. Before it stands its link, a hash over itself and all
before it, with its seal, a hash over itself and the file's place: by the chain of links nothing can be changed unseen, by
its seal a record is known as this file's even where those before it are lost (see salvage.py).

begin    run, stage, table, entries, segment, segments, fingerprints
intent   n, execution, page, start, rows, losers, rejects, unrouted   before the page's first request leaves
unsent   n, execution, rows                                          rows that never left: the page was cut off
outcome  n, execution, page, last, counts, unrouted, rows, errors     after its last answer came; rows: a letter each
         instead                                                      what was settled before and is anew: n, letter, index
         stale                                                        conflicts with what this run wrote of an earlier version
undo     n, execution, rows                                          before the first delete leaves
undone   n, execution, rows, counts                                  rows: index -> what became of it
fence    writer, closed                                              see shared_journal.py; says nothing of items
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson

from .. import failpoints
from ..errors import Damaged, Interrupted
from ..run.files import lock_file, sync_folder

SCHEMA = 1
LINK = 32  # characters of a link without its seal
INSERTED, ALREADY_THERE, CONFLICT, FAILED = "iacf"  # what became of a row
REPLACED = "-"  # a later intent stands for the row
DELETED, KEPT_EDITED, NOT_FOUND, NEVER_WRITTEN = "deleted", "kept_edited", "not_found", "never_written"  # by an undo
MADE_ROOM = "replaced"  # deleted by a delta for a newer version of the item: not the rollback's any more
LOSER, REJECT, UNROUTED = "lqu"  # an intent's other lists
COUNTS = {
    INSERTED: "inserted",
    ALREADY_THERE: "already_there",
    CONFLICT: "conflicts",
    FAILED: "failed",
    LOSER: "conflicts",
    REJECT: "quarantined",
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
    stale: set[int] = field(default_factory=set)  # conflicts with an earlier version that an open intent wrote
    replaced: set[tuple[str, int]] = field(default_factory=set)  # letter, index: what a later intent stands for
    at: int = field(default=0, compare=False)  # where its record begins in the file


class Log:
    """One journal file, open for appending. Not thread-safe: one worker owns one segment."""

    def __init__(self, path: Path):
        """Opens or creates the file; a torn last line is cut. Raises Damaged for any other damage."""
        self.path = path
        if failpoints.armed:
            failpoints.reach("journal.open.before")
        self._file = open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+b", buffering=0)  # noqa: SIM115
        self._claim()
        self._chain, self._next, self._place, good = b"", 0, place_of(path), 0
        for end, link, body in lines(path):
            good, self._chain = end, link
            if kind_of(body) == "intent":
                self._next = max(self._next, number_of(body) + 1)
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
        chain, line = line_of(self._chain, self._place, body)
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

    def _claim(self) -> None:
        try:
            hold(self._file, self.path.name)
        except Interrupted:
            self._file.close()
            raise

    def pause(self) -> None:
        """Lets others write to the file."""
        self._length = os.fstat(self._file.fileno()).st_size
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def resume(self) -> bool:
        """Whether nobody wrote since the pause: then the file is held again. If somebody did, it is closed."""
        self._claim()
        if os.fstat(self._file.fileno()).st_size == self._length:
            return True
        self._file.close()
        return False

    def number(self) -> int:
        """The number for the next intent."""
        self._next += 1
        return self._next - 1

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def hold(file: BinaryIO, name: str, *, shared: bool = False) -> None:
    """Holds a journal file: a worker that outlived what started it may be at its last page. Raises Interrupted."""
    if not lock_file(file, shared=shared):
        raise Interrupted(f"{name} is still being written by a worker of an earlier execution; end it, then resume.")


def wait_for_writers(folder: Path) -> None:
    """Waits until nobody writes to the table files of a stage. Read-only. Raises Interrupted where somebody goes on."""
    for path in logs(folder):
        with path.open("rb") as file:
            hold(file, path.name, shared=True)


def place_of(path: Path) -> bytes:
    """What tells the file from every other one: run, stage and name."""
    return "/".join(path.absolute().parts[-4:]).encode()


def seal_of(place: bytes, body: bytes) -> bytes:
    """A hash over a record and where it belongs."""
    return blake2b(place + b"\0" + body, digest_size=8).hexdigest().encode()


def link_of(chain: bytes, body: bytes, seal: bytes = b"") -> bytes:
    """The link of a record behind another one's."""
    return blake2b(chain + seal + body, digest_size=LINK // 2).hexdigest().encode() + seal


def line_of(chain: bytes, place: bytes, body: bytes) -> tuple[bytes, bytes]:
    """The link of a record behind another one's, and its line."""
    link = link_of(chain, body, seal_of(place, body))
    return link, link + b" " + body + b"\n"


def number_of(body: bytes) -> int:
    """The number of an intent."""
    begin = len(b'{"kind":"intent","n":')  # every intent begins so: no need to read all of it
    return int(body[begin : body.index(b",", begin)])


def kind_of(body: bytes) -> str:
    """A record's kind."""
    return body[9 : body.index(b'"', 9)].decode()  # every record begins {"kind":"


def lines(path: Path) -> Iterator[tuple[int, bytes, bytes]]:
    """Of each whole record: where it ends, its link, its body. Stops at a torn last line. Raises Damaged."""
    chain, end = b"", 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            link, _, body = line.rstrip(b"\n").partition(b" ")
            if not line.endswith(b"\n"):
                return  # the last line, torn by a crash
            if link != link_of(chain, body, link[LINK:]):
                raise Damaged(
                    f"{path.name}: record {number} is damaged; restore the file from a copy, or see "
                    "`runbook repair`. Nothing was done with it."
                )
            chain, end = link, end + len(line)
            yield end, chain, body


def links(path: Path) -> Iterator[bytes]:
    """The link of each whole record, which stands for it and all before it. Read-only. Raises Damaged."""
    for _, link, _ in lines(path):
        yield link


def records(path: Path, *kinds: str) -> Iterator[dict]:
    """The records of a file in order, or those of some kinds. Read-only. Raises Damaged."""
    for _, _, body in lines(path):
        if not kinds or kind_of(body) in kinds:
            yield orjson.loads(body)


def intents(path: Path, *, whole: bool = False) -> Iterator[Intent]:
    """The intents of a file, in order, each with its outcome and its undo, one in memory at a time. Read-only.

    `whole` leaves what was replaced in the lists, so that their indexes hold.
    """
    undo: dict[int, Intent] = {}
    replaced: dict[int, set[tuple[str, int]]] = {}
    for _, _, body in lines(path):
        kind = kind_of(body)
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
    for end, _, body in lines(path):
        if (kind := kind_of(body)) not in ("intent", "unsent", "outcome"):
            continue
        record = orjson.loads(body)
        del record["kind"]
        if kind == "unsent":
            for index in record["rows"]:
                waiting.rows[index] = waiting.rows[index]._replace(present=True)
            continue
        if kind == "outcome":
            waiting.outcome, waiting.last, waiting.errors = record["rows"], record["last"], record["errors"]
            waiting.stale, waiting.replaced = set(record.get("stale", ())), replaced.get(waiting.n, set())
            if waiting.replaced and not whole:
                _take_out(waiting)
            yield waiting
            waiting = None
            continue
        if waiting is not None:
            yield waiting  # its outcome was never written: the process died, and the page was begun again
        record["rows"] = [JournalRow(*row) for row in record["rows"]]
        record["losers"] = [JournalRow(*row) for row in record["losers"]]
        waiting = Intent(**record, at=end - len(body) - 1)
        marks = undo.get(waiting.n, waiting)
        waiting.undoing, waiting.undone = marks.undoing, marks.undone
    if waiting is not None:
        yield waiting


def intent_at(path: Path, at: int) -> Intent:
    """The intent whose record begins there, as it was written: without what followed it. Read-only."""
    with path.open("rb") as file:
        file.seek(at)
        record = orjson.loads(file.readline())
    del record["kind"]
    record["rows"] = [JournalRow(*row) for row in record["rows"]]
    record["losers"] = [JournalRow(*row) for row in record["losers"]]
    return Intent(**record, at=at)


def _take_out(intent: Intent) -> None:
    """Leaves out of an intent what a later one stands for."""
    replaced, letters = intent.replaced, list(intent.outcome)
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
