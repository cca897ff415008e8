"""What does not fit in memory goes to files: sets of short hashes (duplicates, joins by id), and objects in order."""

import mmap
import os
import tempfile
import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any
from weakref import WeakSet

import orjson

SPILL_BYTES = 16_000_000
PARTS = 64
SPOOL_BYTES = 1_000_000


class SpillLimit:
    """What bags may hold in memory together: their sum is what counts, however many there are."""

    def __init__(self, bytes_: int):
        """Above `bytes_`, the largest bags go to files."""
        self.lock = threading.RLock()  # bags may be filled from one another
        self._bytes, self._unseen = bytes_, 0
        self._bags: WeakSet[HashLog] = WeakSet()

    def join(self, bag: "HashLog") -> None:
        """Counts a bag from now on, as long as it is there."""
        with self.lock:
            self._bags.add(bag)

    def grown(self, bytes_: int) -> None:
        """Makes room where the bags, one of which has grown, hold too much. Call it with the lock."""
        self._unseen += bytes_
        if self._unseen <= self._bytes // 16:
            return
        self._unseen = 0
        bags = sorted(self._bags, key=lambda bag: bag.held, reverse=True)
        if (held := sum(bag.held for bag in bags)) > self._bytes:
            for bag in bags:
                held -= bag.held
                bag.spill()
                if held <= self._bytes // 2:
                    break


_TOGETHER = SpillLimit(SPILL_BYTES)


class HashLog:
    """A bag of hashes of one width, partitioned by first byte so that two bags can be joined part by part."""

    def __init__(self, width: int = 16, limit: SpillLimit = _TOGETHER):
        """`width` in bytes; what is above the limit lies in a temporary folder that goes with the object."""
        self.width, self.held = width, 0  # bytes in memory
        self._parts = [bytearray() for _ in range(PARTS)]
        self._folder: tempfile.TemporaryDirectory | None = None
        self._limit = limit
        limit.join(self)

    def extend(self, hashes: Iterable[bytes]) -> None:
        """Adds hashes. Thread-safe. Writes to a temporary folder above the limit."""
        with self._limit.lock:
            parts, number = self._parts, 0
            for number, hashed in enumerate(hashes, 1):  # noqa: B007 - the last number is wanted
                parts[hashed[0] % PARTS] += hashed
            self.held += number * self.width
            self._limit.grown(number * self.width)

    def extend_packed(self, blob: bytes | bytearray) -> None:
        """Adds hashes that stand one after the other in `blob`. As `extend`."""
        self.extend(blob[at : at + self.width] for at in range(0, len(blob), self.width))

    def __len__(self) -> int:
        """How many hashes, each counted as often as it was added."""
        return sum(map(len, self.parts())) // self.width

    def duplicates(self) -> set[bytes]:
        """The hashes that were added more than once."""
        found: set[bytes] = set()
        for part in self._each():
            seen: set[bytes] = set()
            for hashed in part:
                (found if hashed in seen else seen).add(hashed)
        return found

    def without(self, other: "HashLog") -> "HashLog":
        """The hashes of this bag, as often as they were added, that the other does not hold."""
        left = HashLog(self.width, self._limit)
        for mine, theirs in zip(self._each(), other._each(), strict=True):
            if mine:
                known = set(theirs)
                left.extend([hashed for hashed in mine if hashed not in known])
        return left

    def frozen(self) -> "HashSet":
        """A read-only set of the hashes, for looking single ones up; in a file where the bag is."""
        parts = (b"".join(sorted(set(part))) for part in self._each())
        if self._folder is None:
            return HashSet(b"".join(parts), self.width)
        with tempfile.TemporaryFile(prefix="runbook-") as file:
            file.writelines(parts)
            file.flush()
            return HashSet(_mapped(file), self.width)

    def parts(self) -> Iterator[bytes]:
        """The hashes, each as often as it was added; those of one part have the same first byte modulo PARTS."""
        return map(self._part, range(PARTS))

    def _part(self, number: int) -> bytes:
        with self._limit.lock:  # another bag that grows may send this one to its files
            spilled = Path(self._folder.name, str(number)) if self._folder else None
            return (spilled.read_bytes() if spilled and spilled.exists() else b"") + bytes(self._parts[number])

    def _each(self) -> Iterator[list[bytes]]:
        for blob in self.parts():
            yield [blob[at : at + self.width] for at in range(0, len(blob), self.width)]

    def spill(self) -> None:
        """Writes what it holds to its files. Call it with the lock of its limit."""
        self._folder = self._folder or tempfile.TemporaryDirectory(prefix="runbook-")
        for number, part in enumerate(self._parts):
            with Path(self._folder.name, str(number)).open("ab") as file:
                file.write(part)
            part.clear()
        self.held = 0


def _mapped(file: IO[bytes]) -> mmap.mmap | bytes:
    """The file's content, read where it is needed; it is kept when the file is closed, or has no name."""
    size = os.fstat(file.fileno()).st_size
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""


class HashSet:
    """A sorted blob of hashes with membership by bisection: 16 bytes an id instead of a hundred."""

    def __init__(self, blob: bytes | mmap.mmap, width: int):
        self._width = width
        self._blob = blob
        places = range(len(blob) // width)
        self._starts = [bisect_left(places, part, key=lambda at: blob[at * width] % PARTS) for part in range(PARTS + 1)]

    def save(self, file: IO[bytes]) -> None:
        """Writes the set to an open file."""
        file.write(self._blob)

    @classmethod
    def open(cls, path: str | Path, width: int = 16) -> "HashSet":
        """The set that was saved; the file is read where it is needed. Read-only."""
        with open(path, "rb") as file:
            return cls(_mapped(file), width)

    def blobs(self, hashes: int = 65_536) -> Iterator[bytes]:
        """All hashes, some at a time."""
        step = hashes * self._width
        return (self._blob[at : at + step] for at in range(0, len(self._blob), step))

    def __contains__(self, hashed: bytes) -> bool:
        low, high = self._starts[hashed[0] % PARTS : hashed[0] % PARTS + 2]
        at = bisect_left(self, hashed, low, high)
        return at < high and self[at] == hashed

    def after(self, head: bytes) -> bytes | None:
        """The first hash that begins with some bytes; None where none does."""
        low, high = self._starts[head[0] % PARTS : head[0] % PARTS + 2]
        at = bisect_left(self, head, low, high)
        return found if at < high and (found := self[at]).startswith(head) else None

    def __getitem__(self, index: int) -> bytes:
        return self._blob[index * self._width : (index + 1) * self._width]

    def __len__(self) -> int:
        return len(self._blob) // self._width


class Spool:
    """JSON objects, appended and read again. Not thread-safe."""

    def __init__(self) -> None:
        """Writes to the temporary folder above SPOOL_BYTES; what it writes goes with the object."""
        self._file = tempfile.SpooledTemporaryFile(SPOOL_BYTES)  # noqa: SIM115
        self._number = 0

    def append(self, content: dict[str, Any]) -> int:
        """Adds one object; gives its place."""
        place = self._file.tell()
        self._file.write(orjson.dumps(content) + b"\n")
        self._number += 1
        return place

    def at(self, place: int) -> dict[str, Any]:
        """The object that `append` put there."""
        self._file.seek(place)
        line = self._file.readline()
        self._file.seek(0, 2)
        return orjson.loads(line)

    def __len__(self) -> int:
        return self._number

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self._file.seek(0)
        for line in self._file:
            yield orjson.loads(line)
        self._file.seek(0, 2)
