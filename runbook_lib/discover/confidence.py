"""How sure it is that values are ids of an entry, where these ids look like other things, too. Pure.

Inclusion dependencies and what tells foreign keys from chance: Zhang et al., On Multi-Column Foreign Key Discovery, VLDB
2010 (values that look like a random sample of the key); Motl and Kordík, Foreign Key Constraint Identification in Relational
Databases, ITAT 2017 (names).
"""

from collections.abc import Callable

import numpy as np

from .evidence import Column, Match
from .text import names
from .text.patterns import AGREEING
from .text.slots import Slot

CERTAIN, LIKELY = 0.9, 0.5  # confidence from which a finding asks for a decision, and from which it is a note
UNSURE = 0.6  # confidence of what is one of several possibilities
COVERED = 0.9  # of different values that must be ids
CHANCE = 1e-6  # probability of a coincidence that is none
KOLMOGOROV = 1.63  # critical value for a sample at 1 %: Kolmogorov and Smirnov
ENOUGH = 20  # different values from which their number, or their distribution, says something
SHARE = 0.3  # of the ids that occur, from which values that are few may be a sample
NAMED, COMMON, SILENT = 0.95, 0.85, 0.92  # texts under a name that speaks for the entry, under another one, under none

Bare = tuple[np.ndarray, int]  # as `Evidence.bare_of` gives it
BareOf = Callable[[str], Bare]


def confidence_of(column: Column, match: Match, named: bool, bare_of: BareOf) -> float:
    """From 0 to 1. `named`: whether the path's name speaks for the entry."""
    codes = column.values.codes
    covered = len(match.hits) >= COVERED * len(codes) - 1
    if not len(match.hits) or len(match.hits) < LIKELY * len(codes):
        return 0.0
    hits, bare = codes[match.hits], bare_of(match.to)
    whole = hits[hits >= 0]
    if len(whole) == len(hits):
        # A name says what all of a text is; which of the numbers in it, it does not say.
        return _of_numbers(column, whole, covered, named and not isinstance(column.path[-1], Slot), numbers_of(bare))
    if not covered:
        return LIKELY if named and len(hits) >= ENOUGH else 0.0
    return NAMED if named else _of_texts(column, len(hits) << column.values.shift, bare)


def numbers_of(bare: Bare) -> Bare:
    """The same of the ids that are whole numbers."""
    return bare[0][np.searchsorted(bare[0], 0) :], bare[1]


def _of_numbers(column: Column, whole: np.ndarray, covered: bool, named: bool, numbers: Bare) -> float:
    ids, every = numbers
    if not len(ids):
        return 0.0
    low, high = np.searchsorted(ids, [whole[0], whole[-1] + 1])
    between = every * (high - low + (every > 1))  # of ids that are a part of all, one more may be there than is seen
    density = min(1.0, float(between) / float(whole[-1] - whole[0] + 1))
    by_chance = density ** len(whole)
    if not covered and by_chance >= CHANCE:
        return 0.0
    share = len(whole) / (len(ids) * every)
    is_sample = share >= SHARE or _distance(whole, ids) * len(whole) ** 0.5 < KOLMOGOROV
    if by_chance < CHANCE:
        return 0.98 if named else 0.92
    if named and is_sample:
        return 0.93
    if _says_a_measure(column):
        return 0.0
    if is_sample and len(whole) >= ENOUGH:
        return UNSURE
    return round(min(0.75, 1 - by_chance), 2)


def _of_texts(column: Column, number: int, bare: Bare) -> float:
    """So many different texts, all of them ids, under no name that speaks for the entry."""
    ids, every = bare
    is_sample = number >= ENOUGH or number >= SHARE * every * np.searchsorted(ids, 0)
    is_slot = isinstance(column.path[-1], Slot)
    if is_slot and not _have_letters(column.inside):  # 01, 02, 03: numbers, days, months
        return UNSURE if is_sample and number >= ENOUGH else 0.0
    is_key = column.path == column.steps and names.says_nothing(column.name) and _have_letters(column.samples)
    # A name that does not speak for the entry speaks against it. What stands in keys, and in slots, has none.
    most = SILENT if (is_slot or is_key) and is_sample and not _says_a_measure(column) else COMMON
    return min(most, 0.35 + 0.1 * number)


def _have_letters(texts: list[str]) -> bool:
    return sum(any(map(str.isalpha, text)) for text in texts) >= AGREEING * len(texts) > 0


def _says_a_measure(column: Column) -> bool:
    """Whether the name, or the word before a slot, says that what stands there counts or measures something."""
    slot = column.path[-1]
    if not isinstance(slot, Slot):
        return names.names_a_measure(column.name)
    before = {slot.word_before(text) for text in column.samples} - {""}
    return len(before) == 1 and names.names_a_measure(*before)


def _distance(values: np.ndarray, ids: np.ndarray) -> float:
    """The largest distance between the distribution of the values among the ids and an even one."""
    ranks = (np.searchsorted(ids, values) + 0.5) / len(ids)
    steps = np.arange(1, len(values) + 1) / len(values)
    return float(max(np.abs(steps - ranks).max(), np.abs(steps - 1 / len(values) - ranks).max()))
