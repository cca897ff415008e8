"""Which attributes may be natural keys, such as an e-mail address, and what both sides say of them. Pure.

Values are kept as hashes: one of the value as it is, behind one of it without letter case and blanks around it, so that values
that are nearly the same are of one part of the log.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ....discover.text import names
from ....discover.text.times import is_time
from ....mapping.matching.values import folded, hash_of
from ....mapping.text.paths import escaped
from ....run.spill import HashLog
from ....values import canonical, text_of
from ....verdict import plural

PRESENT = 0.5  # share of the source's items that must have a value
REPEATED = 0.01  # share of the values that may repeat another one; one value may whatever the share
MOST = 6  # attributes of a kind of items that are looked at
LONGEST = 100  # characters of a value
FEW = 20  # values of which each differs in any attribute: with fewer, name or values must say that it is a natural key
_SPEAKING = frozenset(
    """barcode code domain ean email gtin handle iban isbn login mail mobile no nr number phone sku slug upc username vat
    vin""".split()
)
_LETTERS = ("S", "N")
_HALF = 8  # bytes of a hash
_RECORD = np.dtype([("folded", "<u8"), ("exact", "<u8")])


@dataclass
class Held:
    """The values of an attribute over items of one side: counts and hashes, none of the values."""

    values: int = 0
    mails: int = 0  # with `@` in them
    bare: int = 0  # whole numbers, as a counter gives them
    _log: HashLog = field(default_factory=lambda: HashLog(2 * _HALF))

    def add(self, typed: Iterable[dict]) -> None:
        """Adds typed values; empty texts, and what is neither text nor number, are none."""
        hashes = []
        for value in typed:
            if next(iter(value)) not in _LETTERS or not (text := text_of(value)):
                continue
            found = [canonical(value)]
            exact, near = hash_of(found), folded(found)
            hashes.append((exact if near == found else hash_of(near))[:_HALF] + exact[:_HALF])
            self.mails += "@" in text
            self.bare += text.isdigit()
        self.values += len(hashes)
        self._log.extend(hashes)

    def merge(self, other: "Held") -> None:
        """Adds those of another kind of items."""
        self.values, self.mails, self.bare = (
            self.values + other.values, self.mails + other.mails, self.bare + other.bare,
        )  # fmt: skip
        for blob in other._log.parts():
            self._log.extend_packed(blob)

    def parts(self) -> Iterable[np.ndarray]:
        """The hashes as records; values that are nearly the same are in one part."""
        return (np.frombuffer(blob, _RECORD) for blob in self._log.parts())


class Tally(NamedTuple):
    """How many values one side has, how many different ones, and how many that no other item there has."""

    values: int
    different: int
    unique: int

    @property
    def nearly_unique(self) -> bool:
        """Whether nearly no value comes twice."""
        return self.values > 0 and self.values - self.different <= max(1, REPEATED * self.values)


@dataclass(frozen=True)
class NaturalKey:
    """An attribute that is nearly unique on both sides, and which of its values both have."""

    attribute: str
    source: Tally
    target: Tally
    both: int  # different values
    ambiguous: int  # of these, values that several items of one side have
    nearly: int  # values that both sides have only if letter case and blanks around them do not count
    counts: bool  # whether the values are whole numbers, as a counter gives them on either side

    @property
    def to_decide(self) -> bool:
        """Whether a value is on both sides."""
        return self.both > 0

    @property
    def by(self) -> list[str]:
        """As a mapping says it."""
        return [escaped(self.attribute)]

    @property
    def why(self) -> str:
        """The evidence, in words."""
        parts = [
            f"{self.both:,} of {plural(self.source.different, 'value')} {'is' if self.both == 1 else 'are'} also in the target; "
            f"unique there: {self.target.unique:,} of {self.target.values:,}"
        ]
        if self.ambiguous:
            parts.append(f"{self.ambiguous:,} of the {self.both:,} ambiguous: several items have one")
        if self.nearly:
            differ = (
                "differs only in letter case or blanks, and does"
                if self.nearly == 1
                else "differ only in letter case or blanks, and do"
            )
            parts.append(f"{self.nearly:,} more {differ} not match")
        if self.counts:
            parts.append("such numbers may be equal by chance")
        return "; ".join(parts)


def candidates(sample: list[dict], key: Collection[str]) -> list[str]:
    """The attributes that may be natural keys, judged from some items: those that say so by their names first.

    `key`: the names of the table's key, which are none.
    """
    found = []
    for name in sorted({name for item in sample for name in item} - {*key}):
        values = [item[name] for item in sample if name in item]
        texts = [text_of(value) for value in values if next(iter(value)) in _LETTERS]
        texts = [text for text in texts if text]
        is_numeric = any("N" in value for value in values)
        if 2 * len(texts) < PRESENT * len(sample) or _belongs_to_a_key(name):  # half as many as must be: it is a sample
            continue
        if len(texts) - len({*texts}) > max(1, 2 * REPEATED * len(texts)) or max(map(len, texts)) > LONGEST:
            continue
        if is_numeric and (names.names_a_measure(name) or not all(map(str.isdigit, texts))):
            continue
        if 2 * sum(map(is_time, texts)) > len(texts) or any(text[0] in "{[" or "\n" in text for text in texts):
            continue
        found.append(name)
    return sorted(found, key=lambda name: (not _speaks(name), name))[:MOST]


def is_candidate(name: str, held: Held, items: int) -> bool:
    """Whether an attribute may be a natural key, as far as all items of the source say; there are so many of them."""
    if held.values < PRESENT * items or not tally(held).nearly_unique:
        return False
    return held.values >= FEW or _speaks(name) or 2 * held.mails > held.values


def tally(held: Held) -> Tally:
    """The counts of one side."""
    different = unique = 0
    for part in held.parts():
        _, numbers = np.unique(part["exact"], return_counts=True)
        different, unique = different + len(numbers), unique + int((numbers == 1).sum())
    return Tally(held.values, different, unique)


def compared(source: Mapping[str, Held], target: Mapping[str, Held]) -> list[NaturalKey]:
    """Of the source's candidates those that are nearly unique in the target, too: with most common values first."""
    found = [_compared(name, held, target[name]) for name, held in source.items() if name in target]
    kept = [one for one in found if one.target.nearly_unique]
    return sorted(kept, key=lambda one: (one.ambiguous - one.both, one.attribute))


def _compared(name: str, source: Held, target: Held) -> NaturalKey:
    shared = ambiguous = nearly = 0
    for mine, theirs in zip(source.parts(), target.parts(), strict=True):
        (my, my_numbers), (their, their_numbers) = (
            np.unique(part["exact"], return_counts=True) for part in (mine, theirs)
        )
        both, at_mine, at_theirs = np.intersect1d(my, their, assume_unique=True, return_indices=True)
        shared += len(both)
        ambiguous += int(((my_numbers[at_mine] > 1) | (their_numbers[at_theirs] > 1)).sum())
        equal = mine["folded"][np.isin(mine["exact"], both)]
        nearly += len(np.setdiff1d(np.intersect1d(mine["folded"], theirs["folded"]), equal))
    counts = 2 * source.bare > source.values
    return NaturalKey(name, tally(source), tally(target), shared, ambiguous, nearly, counts)


def _speaks(name: str) -> bool:
    return bool(_SPEAKING.intersection(names.words(name)))


def _belongs_to_a_key(name: str) -> bool:
    """Whether a name says that an index sorts by it, as `GSI1PK` does: what stands there is made of other attributes."""
    return bool(names.words(name)) and names.says_nothing(name)
