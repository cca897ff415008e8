"""The append-only record of a stage, the only state of a run: status, resume, rollback, id map and report read it.

One file per (table, segment), mode 0600; one JSON record a line. Before it stands its link, a hash over the link of the
record before and itself, so that nothing can be changed unseen.

begin    run, stage, table, entries, segment, segments, fingerprints
intent   n, execution, page, start, rows, losers, rejects, unrouted   before the page's first request leaves
         unreadable                                                   reference path -> rows; only where there are any
         several                      entry, path -> references whose id several entries have; only where there are any
         skipped                                                      entry, key: left out by `expired: skip`; likewise
         matched                                                      rows: an item of the target has their place; likewise
unsent   n, execution, rows                                          rows that never left: the page was cut off
outcome  n, execution, page, last, counts, unrouted, rows, errors     after its last answer came; rows: a letter each
         ledger, types                                                of rows: entry, attribute, and what became of it, or letters
         single                                                       entry -> why single requests inserted, not batches
         instead                                                      what was settled before and is again: n, letter, index
         stale                                                        conflicts with what this run wrote of an earlier version
         unanswered                                                   rows that count as inserted because an equal item is there
undo     n, execution, rows                                          before the first delete leaves
undone   n, execution, rows, counts                                  rows: index -> what became of it
fence    writer, closed                                              see shared_journal.py; says nothing of items
"""

import errno
import fcntl
import io
import os
import re
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson

from .. import failpoints
from ..errors import Damaged, Interrupted, Refused
from ..run.files import lock_file, name_of, open_file, open_to_read, sync_folder

SCHEMA = 1
LINK = 32  # characters of a link; older versions wrote 16 more behind it, a seal
READ = 1 << 16  # bytes that are read at once
INSERTED, ALREADY_THERE, CONFLICT, FAILED = "iacf"  # what became of a row
REPLACED = "-"  # a later intent stands for the row
DELETED, KEPT_EDITED, NOT_FOUND, NEVER_WRITTEN = "deleted", "kept_edited", "not_found", "never_written"  # by an undo
MADE_ROOM = "replaced"  # deleted by a delta for a newer version of the item: not the rollback's any more
LOSER, REJECT, UNROUTED, EXPIRED, MATCHED = "lquxm"  # an intent's other lists
COUNTS = {
    INSERTED: "inserted",
    ALREADY_THERE: "already_there",
    CONFLICT: "conflicts",
    FAILED: "failed",
    LOSER: "conflicts",
    REJECT: "quarantined",
    EXPIRED: "expired",
    MATCHED: "matched",
}


class Tail(NamedTuple):
    """How far a file has been read."""

    end: int = 0  # bytes
    records: int = 0
    link: bytes = b""  # of the last record
    next: int = 0  # the number for the next intent


START = Tail()
Look = Callable[[int, bytes, bytes], None]  # gets where a record ends, its link, its body


class Log:
    """One journal file, open for appending. Not thread-safe: one worker owns one segment."""

    def __init__(self, path: Path, known: Tail = START, look: Look | None = None):
        """Opens or creates the file; a torn last line is cut. Raises Damaged for any other damage, Refused for no file.

        What follows `known`, as far as the file was read before, is read now; `look` gets each record.
        """
        self.path = path
        if failpoints.armed:
            failpoints.reach("journal.open.before")
        self._file = open(open_file(path, os.O_RDWR | os.O_CREAT | os.O_APPEND), "r+b", buffering=0)  # noqa: SIM115
        self._claim()
        size = os.fstat(self._file.fileno()).st_size
        if size < known.end:
            self._file.close()
            raise Damaged(
                f"{path.name} is shorter than it was; restore the file from a copy. Nothing was done with it."
            )
        self._next, self._chain, good = known.next, known.link, known.end
        reader = io.BufferedReader(self._file, READ)
        try:
            for good, self._chain, body in lines(path, reader, after=known):
                if kind_of(body) == "intent":
                    self._next = max(self._next, number_of(body) + 1)
                if look:
                    look(good, self._chain, body)
            reader.detach()
        except BaseException:
            self._file.close()
            raise
        self.cut = size - good  # bytes of a torn last line
        if self.cut:
            self._file.truncate(good)
        if not good:  # new, or its first record never came: the folder may not know it yet
            sync_folder(path.parent)

    @property
    def empty(self) -> bool:
        """Whether nothing was ever written."""
        return not self._chain

    @property
    def link(self) -> str:
        """The link of the last record."""
        return self._chain.decode()

    def stat(self) -> os.stat_result:
        """What the system says of the file."""
        return os.fstat(self._file.fileno())

    def reader(self) -> BinaryIO:
        """The file from its beginning, read through the same descriptor; records may be appended meanwhile.

        Raises OSError where an append has failed.
        """
        self._require_open()
        return io.BufferedReader(_View(self._file.fileno()), READ)

    def append(self, kind: str, **record: Any) -> None:
        """Writes one record and waits until it is on disk. Raises OSError as the disk does; the file is closed then.

        Each later one is refused, too.
        """
        self._require_open()
        body = orjson.dumps({"kind": kind, **record})
        chain, line = line_of(self._chain, body)
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

    def _require_open(self) -> None:
        if self._file.closed:
            raise OSError(errno.EIO, "an earlier record could not be written", str(self.path))

    def _claim(self) -> None:
        try:
            hold(self._file, self.path.name)
        except Interrupted:
            self._file.close()
            raise

    def let_go(self) -> None:
        """Lets others write to the file."""
        self._length = os.fstat(self._file.fileno()).st_size
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def take_again(self) -> bool:
        """Whether nobody wrote since it was let go: then the file is held again. If somebody did, it is closed."""
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


class _View(io.RawIOBase):
    """A descriptor read at a place of its own: appending moves the descriptor's."""

    def __init__(self, descriptor: int):
        self._descriptor, self._at = descriptor, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence != os.SEEK_SET:
            raise io.UnsupportedOperation
        self._at = offset
        return offset

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        read = os.preadv(self._descriptor, [buffer], self._at)
        self._at += read
        return read


def hold(file: BinaryIO, name: str, *, shared: bool = False) -> None:
    """Holds a journal file: a worker that outlived what started it may be at its last page. Raises Interrupted."""
    if not lock_file(file, shared=shared):
        raise Interrupted(f"{name} is still being written by a worker of an earlier execution; end it.")


def unwritable(problem: OSError) -> Interrupted:
    """What to raise where the disk of a journal refuses."""
    return Interrupted(f"the journal cannot be written: {problem.strerror or 'no room'}; make room.")


def check_schema(name: object, schema: object, known: int = SCHEMA) -> None:
    """Refused where a file of the journal, or its checkpoint, has another schema than this program knows."""
    if schema != known:
        raise Refused(f"{name} has schema {schema}, this program knows {known}; use the version that wrote it.")


def link_of(chain: bytes, body: bytes, seal: bytes = b"") -> bytes:
    """The link of a record behind another one's. Records of older versions have a seal behind their link."""
    return blake2b(chain + seal + body, digest_size=LINK // 2).hexdigest().encode() + seal


def line_of(chain: bytes, body: bytes) -> tuple[bytes, bytes]:
    """The link of a record behind another one's, and its line."""
    link = link_of(chain, body)
    return link, link + b" " + body + b"\n"


def number_of(body: bytes) -> int:
    """The number of an intent."""
    begin = len(b'{"kind":"intent","n":')  # every intent begins so: no need to read all of it
    return int(body[begin : body.index(b",", begin)])


def kind_of(body: bytes) -> str:
    """A record's kind."""
    return body[9 : body.index(b'"', 9)].decode()  # every record begins {"kind":"


def lines(
    path: Path, file: BinaryIO | None = None, *, after: Tail = START, end: int | None = None
) -> Iterator[tuple[int, bytes, bytes]]:
    """Of each whole record: where it ends, its link, its body. Stops at a torn last line. Raises Damaged; Refused for no file.

    Reads through `file` where one is given, from behind `after` on, and up to the byte `end`.
    """
    chain, at = after.link, after.end
    with nullcontext(file) if file else open_to_read(path) as data:
        data.seek(at)
        for number, line in enumerate(data, after.records + 1):
            link, _, body = line.rstrip(b"\n").partition(b" ")
            if not line.endswith(b"\n"):
                return  # the last line, torn by a crash
            if link != link_of(chain, body, link[LINK:]):
                raise Damaged(
                    f"{path.name}: record {number} is damaged; restore the file from a copy, or see "
                    "`runbook repair`. Nothing was done with it."
                )
            chain, at = link, at + len(line)
            if end is not None and at > end:
                return
            yield at, chain, body


def links(path: Path) -> Iterator[bytes]:
    """The link of each whole record, which stands for it and all before it. Read-only. Raises Damaged."""
    for _, link, _ in lines(path):
        yield link


def records(path: Path, *kinds: str) -> Iterator[dict]:
    """The records of a file in order, or those of some kinds. Read-only. Raises Damaged."""
    for _, _, body in lines(path):
        if not kinds or kind_of(body) in kinds:
            yield orjson.loads(body)


def log_name(table: str, segment: int) -> str:
    """The file name for a table and a segment."""
    return name_of(re.sub(r"[:/]", "+", table), f".{segment:05}.jsonl")  # of an ARN: what a file's name can hold


def begin_of(path: Path) -> dict | None:
    """The first record of a file, or None where it has none yet. Read-only. Raises Damaged."""
    return next(records(path), None)


def logs(folder: Path) -> list[Path]:
    """The table files of a stage, in name order."""
    return sorted(path for path in folder.glob("*.jsonl") if path.stem.rpartition(".")[2].isdigit())
