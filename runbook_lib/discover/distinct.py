"""Counts different values in bounded memory."""

import heapq
from collections.abc import Collection, Hashable, Iterable
from hashlib import blake2b
from zlib import crc32

import orjson

from ..values import SCALARS, SETS

KEPT = 256
ERROR = 0.06  # standard error of an estimate: 1 / sqrt(KEPT - 2)
_PLACE_BITS, _TELLING_BITS = 32, 64
_PLACES = (1 << _PLACE_BITS) - 1
_ALL = 1 << (_PLACE_BITS + _TELLING_BITS)
_SPREAD = 0x9E3779B1  # odd: values that are alike have checksums that are alike, but not multiples of this


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
