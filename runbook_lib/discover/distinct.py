"""Different values in bounded memory: how many there are, and which, with their counts."""

import heapq
from array import array
from collections.abc import Collection, Hashable, Iterable
from hashlib import blake2b
from zlib import crc32

import numpy as np
import orjson

from ..values import SCALARS, SETS

KEPT = 256
ERROR = 0.06  # standard error of an estimate: 1 / sqrt(KEPT - 2)
_PLACE_BITS, _TELLING_BITS = 32, 64
_PLACES = (1 << _PLACE_BITS) - 1
_ALL = 1 << (_PLACE_BITS + _TELLING_BITS)
_SPREAD = 0x9E3779B1  # odd: values that are alike have checksums that are alike, but not multiples of this
PENDING = 1_024  # values that wait to be counted, at least
_MIX = np.uint64(0x9E3779B97F4A7C15)


class Distinct:
    """A count of different values: exact up to KEPT of them, beyond that estimated from the KEPT smallest hashes.

    The k-minimum-values estimate (k - 1) / u, where u is the k-th smallest of hashes that lie evenly in (0, 1): Beyer et
    al., On Synopses for Distinct-Value Estimation Under Multiset Operations, SIGMOD 2007. The same values give the same
    count in any order.

    A hash begins with a place, a cheap checksum, and goes on with what tells values of one place
    apart. Once KEPT hashes are known, the place alone says of most values that they are not among the smallest.
    """

    def __init__(self, values: Iterable[tuple[str, Hashable]] = ()):
        """`values`: pairs of type letter and content, as `content_of` returns it."""
        self._hashes: list[int] = []  # ascending, at most KEPT
        for letter, content in values:
            self.add(letter, (content,))

    def add(self, letter: str, contents: Collection[Hashable], known: "Distinct | None" = None) -> None:
        """Adds different values of one type, as `different` gives them.

        `known` is what this will be merged into: what can no longer change that is left out.
        """
        key = letter.encode()
        begun, limit = crc32(key), min(self._last_place, known._last_place if known else _PLACES)
        placed = [
            (place, data)
            for data in map(str.encode if letter in SCALARS else _bytes, contents)
            if (place := crc32(data, begun) * _SPREAD & _PLACES) <= limit
        ]
        if len(placed) > KEPT:
            limit = sorted([place for place, _ in placed])[KEPT - 1]
        self._take(
            place << _TELLING_BITS | int.from_bytes(blake2b(data, digest_size=_TELLING_BITS // 8, key=key).digest())
            for place, data in placed
            if place <= limit
        )

    def merge(self, other: "Distinct") -> None:
        """Adds what another page found."""
        mine = self._hashes
        self._take(other._hashes if len(mine) < KEPT else [one for one in other._hashes if one < mine[-1]])

    def _take(self, hashes: Iterable[int]) -> None:
        new = {*hashes}
        if new:
            self._hashes = heapq.nsmallest(KEPT, new.union(self._hashes))

    @property
    def _last_place(self) -> int:
        return _PLACES if self.exact else self._hashes[-1] >> _TELLING_BITS

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Distinct) and self._hashes == other._hashes

    def __repr__(self) -> str:
        return f"Distinct({'' if self.exact else '≈ '}{self.count})"

    @property
    def exact(self) -> bool:
        """Whether `count` is no estimate."""
        return len(self._hashes) < KEPT

    @property
    def count(self) -> int:
        """The number of different values."""
        return len(self._hashes) if self.exact else round((KEPT - 1) * _ALL / (self._hashes[-1] + 1))


def content_of(letter: str, content: object) -> Hashable:
    """A value's content in a form that is equal for equal values."""
    if isinstance(content, str | bool):
        return content
    if letter in SETS:
        content = sorted(content)
    return orjson.dumps(content, option=orjson.OPT_SORT_KEYS)


def _bytes(content: Hashable) -> bytes:
    return content if isinstance(content, bytes) else b"%d" % content


def different(letter: str, contents: Iterable) -> set[Hashable]:
    """The different ones of the contents of values of one type."""
    return {content_of(letter, content) for content in contents} if letter not in SCALARS else set(contents)


class Values:
    """The different values at one path as numbers, with their counts: all of them, or those of a part of the hashes."""

    def __init__(self) -> None:
        """None yet."""
        self.codes, self.counts = np.empty(0, np.int64), np.empty(0, np.int64)
        self.total = 0  # values, kept or not
        self.shift = 0  # kept are those whose mixed code begins with so many zero bits
        self._pending = array("q")

    def __len__(self) -> int:
        """How many it holds in memory."""
        return len(self.codes) + len(self._pending)

    def add(self, codes: array, number: int | None = None) -> None:
        """Adds values; `number`: of all those for which they stand."""
        self.total += len(codes) if number is None else number
        self._pending.extend(codes)
        if len(self._pending) > max(PENDING, len(self.codes)):
            self.settle()

    def settle(self) -> None:
        """Counts what waits."""
        if self._pending:
            pending, self._pending = self._pending, array("q")
            self._count(*np.unique(np.frombuffer(pending, np.int64), return_counts=True))

    def count(self, code: int) -> int:
        """How often a value stands there, as far as it is kept. Call it when nothing waits."""
        at = np.searchsorted(self.codes, code)
        return int(self.counts[at]) if at < len(self.codes) and self.codes[at] == code else 0

    def halve(self) -> None:
        """Keeps half the values."""
        self.settle()
        self.shift += 1
        kept = self._are_kept(self.codes)
        self.codes, self.counts = self.codes[kept], self.counts[kept]

    def shrink(self, most: int) -> None:
        """Keeps at most so many."""
        self.settle()
        while len(self.codes) > most:
            self.halve()

    def merge(self, other: "Values") -> None:
        """Adds the values of another path."""
        self.settle()
        other.settle()
        self.total += other.total
        while self.shift < other.shift:
            self.halve()
        self._count(other.codes, other.counts)

    def take_away(self, other: "Values") -> None:
        """Takes the values of another path away, as often as they are there. Call it when nothing waits."""
        at = np.searchsorted(self.codes, other.codes)
        there = np.append(self.codes, 0)[at] == other.codes
        there[at == len(self.codes)] = False
        gone = np.minimum(self.counts[at[there]], other.counts[there])
        self.counts[at[there]] -= gone
        self.total -= int(gone.sum())
        self.codes, self.counts = self.codes[self.counts > 0], self.counts[self.counts > 0]

    def _count(self, codes: np.ndarray, counts: np.ndarray) -> None:
        """Adds codes that ascend, with their counts."""
        if self.shift:
            kept = self._are_kept(codes)
            codes, counts = codes[kept], counts[kept]
        at = np.searchsorted(self.codes, codes)
        new = np.append(self.codes, 0)[at] != codes
        new[at == len(self.codes)] = True
        self.counts[at[~new]] += counts[~new]
        self.codes, self.counts = (
            np.insert(mine, at[new], theirs[new]) for mine, theirs in ((self.codes, codes), (self.counts, counts))
        )

    def _are_kept(self, codes: np.ndarray) -> np.ndarray:
        return (codes.view(np.uint64) * _MIX) >> np.uint64(64 - self.shift) == 0
