"""Which attribute is the id of a table's items: known by key, name and values. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ...discover.evidence import Ids
from ...discover.text import names
from ...discover.text.times import is_time
from ...discover.text.tokens import is_recognisable
from ...dynamo.structure.description import Key
from ...run.spill import HashSet
from ...values import text_of
from ...verdict import plural
from .keys import Spot

PRESENT, REPEATED = 0.99, 0.01  # share of the items that must have an id; and of the ids that may come twice
RECOGNISED = 0.9  # of the values, of a key with another name
BORROWED = 0.9  # of a key's values that must be ids of another entry, for the key to be a reference
MOST = 6  # attributes of a table that are looked at as ids
WIDE = 65_536  # different values, above which a part of them stands for all where two places are compared
LOOKED_UP = 256  # values that are looked up among so many
FORMATS = {"S": "uuid", "B": "uuid", "N": "number"}  # type letter → id_format
_EXACT = ("id", "uuid", "guid", "ulid")


@dataclass
class Candidate:
    """What an attribute holds over the items of a place, as far as ids are concerned."""

    letters: Counter = field(default_factory=Counter)  # type letter → items
    composed: int = 0  # texts with `#` or `|` in them
    times: int = 0  # dates, moments and years
    numbers: int = 0  # whole numbers
    mixed: int = 0  # texts with a digit in them
    mails: int = 0  # texts with `@` in them
    ids: Ids = field(default_factory=Ids)
    _values: "Values | None" = None
    _sets: tuple[HashSet, ...] = ()

    def add(self, values: Iterable[dict]) -> None:
        """Adds typed values of some items."""
        self._values, self._sets = None, ()
        texts = []
        for value in values:
            letter = next(iter(value))
            self.letters[letter] += 1
            if letter in FORMATS:
                texts.append(value.get("S") or text_of(value))
        self.composed += sum("#" in text or "|" in text for text in texts)
        self.times += sum(map(is_time, texts))
        self.numbers += sum(map(str.isdigit, texts))
        self.mixed += sum(any(map(str.isdigit, text)) for text in texts)
        self.mails += sum("@" in text for text in texts)
        self.ids.add(texts)

    def merge(self, other: "Candidate") -> None:
        """Adds those of another place."""
        self._values, self._sets = None, ()
        self.letters += other.letters
        for count in ("composed", "times", "numbers", "mixed", "mails"):
            setattr(self, count, getattr(self, count) + getattr(other, count))
        self.ids.merge(other.ids)

    def fits(self, items: int) -> bool:
        """Whether it may be the id of so many items: nearly all have one, of one type, and nearly no two the same."""
        if self.letter not in FORMATS or self.letters[self.letter] < PRESENT * items:
            return False
        return self.letters.total() - self.different <= REPEATED * items

    @property
    def different(self) -> int:
        """The number of different values."""
        return self.values.number

    def mostly(self, number: int) -> bool:
        """Whether so many of its values are nearly all."""
        return number >= RECOGNISED * self.letters.total()

    @property
    def letter(self) -> str:
        """The type of its values."""
        return self.letters.most_common(1)[0][0] if self.letters else ""

    @property
    def recognised(self) -> float:
        """The share of its values that look like ids and like nothing else."""
        whole = self.letters.total()
        return len(self.ids.recognisable) / whole if whole else 0.0

    @property
    def values(self) -> "Values":
        """Its different values."""
        if self._values is None:
            found, number, parts = [], 0, 0
            for some in zip(self.ids.recognisable.parts(), self.ids.others.parts(), strict=True):
                found.append(np.unique(np.frombuffer(b"".join(some), np.int64), return_counts=True))
                number, parts = number + len(found[-1][0]), parts + 1
                if number > WIDE:
                    del found[1:]
            codes, counts = map(np.concatenate, zip(*found, strict=True))
            order, every = np.argsort(codes), parts if number > WIDE else 1
            self._values = Values(codes[order], counts[order], every, number)
        return self._values

    def holds(self, codes: np.ndarray) -> np.ndarray:
        """Which of some values it holds, looked up one by one."""
        self._sets = self._sets or (self.ids.recognisable.frozen(), self.ids.others.frozen())
        return np.array([any(code.tobytes() in one for one in self._sets) for code in codes], bool)


class Values(NamedTuple):
    """The different values of a place, as codes; of very many those of one part of the hashes."""

    codes: np.ndarray  # ascending
    counts: np.ndarray  # how often each comes
    every: int  # how many values each stands for
    number: int  # of all


class Overlap(NamedTuple):
    """How much of what one place holds another holds, too. Of many values an estimate."""

    different: int  # values of the one place that were looked at
    shared: int  # of these, values of the other one
    share: float  # of the one place's items, those with a value that the other has
    covered: float  # of the other's different values, those that the one has
    by_chance: float  # how probable that is, if the values are bare numbers; 0 of texts


def overlap(one: Candidate, other: Candidate) -> Overlap:
    """How much of what a place holds another holds, too."""
    (codes, counts, every, number), theirs = one.values, other.values
    if every == 1 < theirs.every:  # a few among very many
        codes, counts = codes[:: -(-len(codes) // LOOKED_UP) or 1], counts[:: -(-len(codes) // LOOKED_UP) or 1]
        is_shared = other.holds(codes)
    else:
        is_shared = np.isin(codes, theirs.codes, assume_unique=True)
    shared = codes[is_shared]
    if not len(shared):
        return Overlap(len(codes), 0, 0.0, 0.0, 0.0)
    numbers, by_chance = shared[shared >= 0], 0.0
    if len(numbers) > len(shared) / 2:
        low, high = np.searchsorted(theirs.codes, [numbers[0], numbers[-1] + 1])
        room = float(numbers[-1] - numbers[0] + 1)
        by_chance = min(1.0, float(high - low) * theirs.every / room) ** len(numbers)
    share = float(counts[is_shared].sum() / counts.sum())
    covered = len(shared) / len(codes) * number / theirs.number
    return Overlap(len(codes), len(shared), share, min(1.0, covered), by_chance)


@dataclass(frozen=True)
class Choice:
    """The id of an entry, or why there is none."""

    attribute: str | None
    id_format: str
    why: str
    form: str = ""  # a template with {id}, where the id is a part of the attribute

    @property
    def rule(self) -> str | dict[str, str] | None:
        """As a mapping says it under `id`."""
        return {"in": self.attribute, "as": self.form} if self.form else self.attribute


def is_id_alone(key: Key) -> bool:
    """Whether a key is an id by its name."""
    return len(key) == 1 and _is_exact(key[0][0])


def candidates(sample: list[dict], key: Key) -> list[str]:
    """The attributes that may be ids, judged from some items: keys, those with a name like `orderId`, unique ones."""
    found = [name for name, _ in key]
    if is_id_alone(key):
        return found
    named, others = [], []
    for name in sorted({name for item in sample for name in item} - set(found)):
        values = [item[name] for item in sample if name in item]
        texts = [value["S"] for value in values if value.get("S")]
        if len(values) < 0.2 * len(sample) or len({*map(str, values)}) < len(values) * (1 - REPEATED) - 1:
            continue
        if _is_exact(name):
            named.insert(0, name)
        elif names.says_id(name):
            named.append(name)
        elif len(texts) == len(values) and sum(map(is_recognisable, texts)) >= RECOGNISED * len(texts):
            others.append(name)
    return (found + named + others)[:MOST]


def choose(entry: str, key: Key, items: int, candidates_: Mapping[Any, Candidate]) -> Choice:
    """The id attribute of an entry's items, as far as key, name and values say. `candidates_`: those of these items."""
    found = {name: one for name, one in candidates_.items() if isinstance(name, str)}
    if not items:
        return _of_empty(key)
    fitting = {name: one for name, one in found.items() if one.fits(items)}
    if len(key) == 1:
        name = key[0][0]
        one = fitting.get(name)
        like = names.says_id(name) or (one and one.recognised >= RECOGNISED)
        if one and (_is_exact(name) or (like and not _is_composed(name, items, candidates_))):
            return Choice(name, FORMATS[one.letter], f"the key ({one.letter}), {_share(one)}")
    ranked = sorted(fitting, key=lambda name: (not _is_exact(name), -_speaks(name, entry), name))
    for name in ranked:
        if _is_exact(name) or _speaks(name, entry):
            one = fitting[name]
            return Choice(name, FORMATS[one.letter], f"unique in {plural(items, 'item')}, {_share(one)}")
    return Choice(None, "uuid", _none(key, items, candidates_))


def borrowed(entry: str, choice: Choice, others: Mapping[str, float]) -> str | None:
    """The entry whose ids an entry's key holds, as `userId` of Settings does: the key is a reference, and no id of its own.

    `others`: entry → share of the key's values that are its ids.
    """
    name = choice.attribute
    if name is None or _is_exact(name) or _speaks(name, entry):
        return None
    return next((o for o, share in sorted(others.items()) if share >= BORROWED and _speaks(name, o)), None)


def unnamed(key: Key, items: int, found: Mapping[Any, Candidate]) -> list[str]:
    """Attributes that are ids only if other items refer to them: unique and recognisable, with any name."""
    keys = {name for name, _ in key} if len(key) > 1 else set()
    return [
        name
        for name, one in sorted((name, one) for name, one in found.items() if isinstance(name, str))
        if one.fits(items) and one.recognised >= RECOGNISED and name not in keys
    ]


def _of_empty(key: Key) -> Choice:
    names_ = [name for name, _ in key]
    if len(names_) == 1 and (_is_exact(names_[0]) or names.says_id(names_[0])):
        return Choice(names_[0], FORMATS[key[0][1]], "the key; no item says more")
    return Choice(None, "uuid", "no item to judge by")


def _is_exact(name: str) -> bool:
    return name.strip("_").lower() in _EXACT


def _speaks(name: str, entry: str) -> bool:
    """Whether a name says "id of this entry", as `orderId` does of Orders."""
    return names.says_id(name) and names.support([name], entry) == 1.0


def _is_composed(name: str, items: int, candidates_: Mapping[Any, Candidate]) -> bool:
    """Whether a key has parts: signs that hardly stand in ids, or a word and a value behind another one."""
    one = candidates_[name]
    return one.composed > one.letters.total() / 2 or any(
        spot.attribute == name and spot.is_part and held.letters.total() >= PRESENT * items
        for spot, held in candidates_.items()
        if isinstance(spot, Spot)
    )


def _share(one: Candidate) -> str:
    if one.letter == "N":
        return "numbers"
    alike = len(one.ids.recognisable)
    return f"{alike:,} of {one.letters.total():,} look like ids"


def _none(key: Key, items: int, found: Mapping[Any, Candidate]) -> str:
    parts = " + ".join(name for name, _ in key)
    if len(key) > 1:
        return f"no attribute is unique and named like an id, and no part of the key {parts} is one of its own"
    if key[0][0] in found and _is_composed(key[0][0], items, found):
        return f"the key {parts} is composed of parts, of which none is an id of its own"
    return f"the key {parts} does not look like ids: it is copied"
