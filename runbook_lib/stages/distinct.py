"""Counts different values in bounded memory."""

import heapq
from collections.abc import Hashable, Iterable
from hashlib import blake2b

import orjson

KEPT = 256
ERROR = 0.06  # standard error of an estimate: 1 / sqrt(KEPT - 2)
_ALL = 1 << 64


class Distinct:
    """A count of different values: exact up to KEPT of them, beyond that estimated from the KEPT smallest hashes.

    The k-minimum-values estimate (k - 1) / u, where u is the k-th smallest of hashes that lie evenly in (0, 1): Beyer et
    al., On Synopses for Distinct-Value Estimation Under Multiset Operations, SIGMOD 2007. The same values give the same
    count in any order.
    """

    def __init__(self, values: Iterable[tuple[str, Hashable]] = ()):
        """`values`: pairs of type letter and content, as `content_of` returns it."""
        self._hashes = heapq.nsmallest(KEPT, {_hash(letter, content) for letter, content in values})

    def merge(self, other: "Distinct") -> None:
        """Adds what another page found."""
        mine = self._hashes
        new = other._hashes if len(mine) < KEPT else [one for one in other._hashes if one < mine[-1]]
        if new:
            self._hashes = heapq.nsmallest(KEPT, {*mine, *new})

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
    if letter in ("SS", "NS", "BS"):
        content = sorted(content)
    return orjson.dumps(content, option=orjson.OPT_SORT_KEYS)


def _hash(letter: str, content: Hashable) -> int:
    if isinstance(content, str):
        data = content.encode("utf-8", "surrogatepass")
    else:
        data = content if isinstance(content, bytes) else b"%d" % content
    return int.from_bytes(blake2b(data, digest_size=8, key=letter.encode()).digest())
