"""The different values at one path, as numbers with their counts: all of them, or those of a part of the hashes."""

from array import array

import numpy as np

PENDING = 1_024  # values that wait to be counted, at least
_MIX = np.uint64(0x9E3779B97F4A7C15)


class Values:
    """The different values at one path, with their counts."""

    def __init__(self) -> None:
        """None yet."""
        self.codes, self.counts = np.empty(0, np.int64), np.empty(0, np.int64)
        self.total = 0  # values, kept or not
        self.shift = 0  # kept are those whose mixed code begins with so many zero bits
        self._pending = array("q")

    def __len__(self) -> int:
        """How many it holds in memory."""
        return len(self.codes) + len(self._pending)

    def add(self, codes: array) -> None:
        """Adds values."""
        self.total += len(codes)
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
