"""A journal file whose records are objects, each put before it counts; see shared_journal.py for what that is for.

`<folder>/<number>` is a line of the file, byte for byte; the number is its place in the file. What the file held when the
execution started lies in `<folder>/base`. If two processes put the same number, one of them succeeds: the lock and the fence.
"""

import os
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson

from ...errors import Damaged, Interrupted
from ...journal.log import LINK, kind_of, line_of, lines, link_of, number_of
from ...run.locks.lease_file import running_time
from .object_store import Blob, Store, number_name

GUARD = 5.0  # seconds for which a worker relies on what it has seen
TRIES = 5
_LOST = "another worker, or another execution, has taken over {}; this worker writes nothing more."


class BaseFile(NamedTuple):
    """A journal file as it was when an execution began."""

    name: str
    records: int
    link: str
    blob: Blob


class ObjectRecords:
    """The records of one journal file from a number on, as objects."""

    def __init__(self, store: Store, folder: str, path: Path, records: int, chain: bytes):
        self.store, self.folder, self.path = store, folder, path
        self.records, self.chain = records, chain
        self.closed = False

    def name(self, number: int) -> str:
        return f"{self.folder}/{number_name(number)}"

    def new(self) -> Iterator[tuple[bytes, bytes]]:
        """(Line, body) of each record that came since, each proved to follow the one before. Raises Damaged."""
        last = self.store.last(self.folder, self.records)
        names = [self.name(number) for number in range(self.records, last + 1)]
        for name, line in zip(names, self.store.read_all(names), strict=True):
            if line is None:
                raise self.damaged(name, "is missing")
            link, _, body = line.removesuffix(b"\n").partition(b" ")
            if not line.endswith(b"\n") or link != link_of(self.chain, body, link[LINK:]):
                raise self.damaged(name, "is damaged")
            self.chain, self.records = link, self.records + 1
            self.closed = self.closed or (kind_of(body) == "fence" and orjson.loads(body)["closed"])
            yield line, body

    def put(self, kind: str, **record: Any) -> bytes | None:
        """The next record's line, put; None where somebody else has put another one. Writes to the store."""
        _, line = line_of(self.chain, orjson.dumps({"kind": kind, **record}))
        return line if self.store.create(self.name(self.records), line) else None

    def damaged(self, name: str, how: str) -> Damaged:
        return Damaged(f"{self.store.url}/{name} {how}; restore that object. The program did nothing with it.")


class SharedLog:
    """A worker's journal file: as journal.Log, but its records are objects.

    The file is a copy from which a worker reads the segment's position; the first `let_go` deletes it.
    """

    cut, empty = 0, False

    def __init__(self, store: Store, folder: str, path: Path, base: BaseFile):
        """Fetches the records and takes the file over. Raises Interrupted if the execution has ended, and Damaged."""
        self.path, self._lock, self._confirmed, self._next = path, threading.Lock(), running_time(), 0
        self._held = self._closed = False
        path.unlink(missing_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            store.load(f"{folder}/base", base.blob, file)
        records, chain = 0, b""
        for _, chain, body in lines(path):  # noqa: B007 the last one is wanted
            records += 1
            self._count(body)
        if (records, chain.decode()) != base[1:3]:
            raise Damaged(
                f"{store.url}/{folder}/base differs from {base.name}; resume. The program did nothing with it."
            )
        self._objects = ObjectRecords(store, folder, path, records, chain)
        self._file: BinaryIO = path.open("ab", buffering=0)
        try:
            self._take()
        except BaseException:
            self.close()
            raise

    def _take(self) -> None:
        for _ in range(TRIES):  # another worker, which the driver has given up, may be writing
            for line, body in self._objects.new():
                self._file.write(line)
                self._count(body)
            if self._objects.closed:
                break
            asked = running_time()
            if self._put("fence", {"writer": uuid.uuid4().hex, "closed": False}):
                self._confirmed, self._held = asked, True
                return
        raise Interrupted(_LOST.format(self.path.name))

    def append(self, kind: str, **record: Any) -> None:
        """Puts one record; it is in the store when this returns. Raises Interrupted where somebody else has gone on."""
        asked = running_time()
        try:
            if self._closed or not self._put(kind, record):
                raise Interrupted(_LOST.format(self.path.name))
        except BaseException:
            self.close()  # it may have arrived: nothing may be put after it
            raise
        self._confirmed = asked

    def _put(self, kind: str, record: dict[str, Any]) -> bool:
        line = self._objects.put(kind, **record)
        if line is None:
            return False
        self._objects.chain, self._objects.records = line.partition(b" ")[0], self._objects.records + 1
        if not self._file.closed:
            self._file.write(line)
        return True

    def _count(self, body: bytes) -> None:
        if kind_of(body) == "intent":
            self._next = max(self._next, number_of(body) + 1)

    def check(self) -> None:
        """Raises Interrupted where somebody else may write the file. Asks the store where GUARD is over."""
        for _ in range(TRIES):
            if not self._held or running_time() - self._confirmed <= GUARD:
                return
            with self._lock:
                asked = running_time()
                if asked - self._confirmed > GUARD:  # else another thread has asked meanwhile
                    if not self._is_last():
                        break
                    self._confirmed = asked
        raise Interrupted(_LOST.format(self.path.name))

    def _is_last(self) -> bool:
        return self._objects.store.read(self._objects.name(self._objects.records)) is None

    def let_go(self) -> None:
        """Between two slices nothing is sent, so nothing need be known."""
        self._held = False
        self._file.close()
        self.path.unlink(missing_ok=True)  # it holds keys

    def take_again(self) -> bool:
        """Whether nobody wrote since it was let go; if somebody did, it is closed."""
        asked = running_time()
        if not self._closed and self._is_last():
            self._confirmed, self._held = asked, True
            return True
        self.close()
        return False

    def number(self) -> int:
        """The number for the next intent."""
        self._next += 1
        return self._next - 1

    def close(self) -> None:
        """Closes the file."""
        self._held, self._closed = False, True
        self._file.close()
