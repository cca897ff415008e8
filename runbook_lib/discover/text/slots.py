"""The slots of texts that look alike: what stands between the same separators, in text after text. Pure.

`LINE#000#p2` and `LINE#001#p7` have three slots. Of all the parts of such texts only some are ids. Of what stands in one slot
nearly all are, or none.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import compress
from operator import itemgetter
from random import Random
from typing import NamedTuple

from .tokens import SEPARATORS, UUID, is_recognisable, is_uuid, unescaped

LEAST = 0.1  # of the texts of a page that must have a form, for its slots to be looked at
MOST_FORMS, MOST_MARKS = 4, 12  # of a page; of a text
MOST_TEXTS = 256  # of a path, in a page, that are taken apart
SAMPLED = 8  # texts of a page that say which slots can hold no bare id
_STRONG = SEPARATORS + b" "
_ALL = _STRONG + b"-_"  # an id may hold the last two: texts are taken apart without them, and with them
_WORDS = {marks: bytes({*range(1, 256)} - {*marks}) for marks in (_STRONG, _ALL)}
_ENDS = {marks: bytes.maketrans(marks, bytes(len(marks))) for marks in _WORDS}
_PARTS = re.compile(rf"[^{re.escape(_STRONG.decode())}]+")
_EDGES = {marks: re.compile(rf"[{re.escape(marks.decode())}]") for marks in _WORDS}
# What has separators in it and no bare id: uuids, dates, times of day, decimals, addresses of machines.
_CLOSED = re.compile(
    rf"{UUID}|(?<![0-9])[0-9]{{4}}-[0-9]{{2}}(?:-[0-9]{{2}}(?:[T ][0-9:.,]*(?:Z|[+-][0-9:]+)?)?)?(?![0-9A-Za-z])"
    r"|(?<![0-9])[0-9]{1,2}(?::[0-9]{2}){1,2}(?![0-9])"
    r"|(?<![0-9A-Za-z.])[0-9]+(?:\.[0-9]+)+(?![0-9A-Za-z])|(?<![0-9/])[0-9]{1,4}/[0-9]{1,2}/[0-9]{1,4}(?![0-9/])"
)


class Slot(NamedTuple):
    """A place in the texts of one form."""

    form: str  # the separators in the texts, in their order
    at: int  # which of the parts between them, from 0

    def span(self, text: str) -> tuple[int, int] | None:
        """Where it begins and ends in a text; None where the text has another form."""
        text = _plain(text)
        edges = _edges(text, _marks_of(self.form))
        if "".join([text[edge] for edge in edges[1:-1]]) != self.form:
            return None
        return edges[self.at] + 1, edges[self.at + 1]

    def without(self, text: str, masked: str, mark: str) -> "Slot | None":
        """The same slot where `mark` stands in the place of another one; None where it does not, or stands in this one.

        `masked`: the text with the mark.
        """
        start = masked.find(mark)
        for at in range(len(self.form) + 1) if start >= 0 else ():
            if self._replace(at=at).span(text) == (start, start + len(text) - len(masked) + len(mark)):
                return None if at == self.at else Slot(self.form[:at] + mark + self.form[at:], self.at + (at < self.at))
        return None

    def word_before(self, text: str) -> str:
        """What stands in the slot before it; "" where there is none."""
        span = self._replace(at=self.at - 1).span(text) if self.at else None
        return text[slice(*span)] if span else ""


class Seen(NamedTuple):
    """What stands in a slot."""

    parts: list[str]  # of some of the texts
    number: int  # of all texts that have the slot, about


def slots_of(texts: list[str]) -> dict[Slot, Seen]:
    """Slot → what stands there, for each form that many of the texts have; without slots that can hold no bare id."""
    if all(map(is_uuid, texts[:SAMPLED])):
        return {}
    number = len(texts)
    if number > MOST_TEXTS:
        texts = [*_some_of(number)(texts)]
    found = _slots_of(texts)
    return {slot: Seen(parts, round(len(parts) * number / len(texts))) for slot, parts in found.items()}


@lru_cache(64)
def _some_of(number: int) -> Callable[[list], tuple]:
    """A function that takes some of so many: always the same, and none of them by where it stands."""
    return itemgetter(*sorted(Random(number).sample(range(number), MOST_TEXTS)))


def _slots_of(texts: list[str]) -> dict[Slot, list[str]]:
    joined = "\0".join(texts)
    if "%" in joined or joined.count("\0") >= len(texts):
        texts = [*map(_plain, texts)]
        joined = "\0".join(texts)
    data = joined.encode("utf-8", "surrogatepass")
    found = _formed(texts, data, _STRONG)
    if b"-" in data or b"_" in data:
        found |= _formed(texts, data, _ALL)
    return found


def _formed(texts: list[str], data: bytes, marks: bytes) -> dict[Slot, list[str]]:
    """The same by these marks. `data`: the texts, encoded, with NUL between them."""
    found: dict[Slot, list[str]] = {}
    forms = data.translate(None, _WORDS[marks]).decode().split("\0")
    for form, number in Counter(forms).most_common(MOST_FORMS):
        if number < LEAST * len(texts):
            break
        if not 0 < len(form) <= MOST_MARKS or _marks_of(form) != marks:
            continue
        alike, of_them = texts, data
        if number < len(texts):
            alike = [*compress(texts, map(form.__eq__, forms))]
            of_them = "\0".join(alike).encode("utf-8", "surrogatepass")
        parts = of_them.translate(_ENDS[marks]).decode("utf-8", "surrogatepass").split("\0")
        columns = [parts[at :: len(form) + 1] for at in range(len(form) + 1)]
        if form.isspace() and min(len({*column}) for column in columns) > 1:
            continue  # sentences
        closed = _closed(alike[:SAMPLED], marks)
        for at, column in enumerate(columns):
            sample = column[:SAMPLED]
            if marks is _ALL and (
                not {"-", "_"} & {*form[max(0, at - 1) : at + 1]} or _mostly(map(str.isdigit, sample))
            ):
                continue  # by the others it is the same; and what follows a hyphen in CUS-7 is a part of an id
            if at not in closed and not _mostly(map(is_recognisable, sample)):
                found[Slot(form, at)] = column
    return found


def _closed(sample: list[str], marks: bytes) -> set[int]:
    """The slots that most of the texts have within something that holds no bare id."""
    counts: Counter[int] = Counter()
    for text in sample:
        spans = [one.span() for one in _CLOSED.finditer(text)]
        if marks is _ALL:
            spans += [one.span() for one in _PARTS.finditer(text) if one[0] != text and is_recognisable(one[0])]
        if spans:
            edges = _edges(text, marks)
            counts.update(
                at for at in range(len(edges) - 1) if any(edges[at] < b and a <= edges[at + 1] for a, b in spans)
            )
    return {at for at, number in counts.items() if 2 * number > len(sample)}


def _mostly(facts: Iterable[bool]) -> bool:
    facts = [*facts]
    return 2 * sum(facts) > len(facts)


def _marks_of(form: str) -> bytes:
    return _ALL if "-" in form or "_" in form else _STRONG


def _edges(text: str, marks: bytes) -> list[int]:
    """Where the separators stand, with the places before the text and behind it."""
    return [-1, *[edge.start() for edge in _EDGES[marks].finditer(text)], len(text)]


def _plain(text: str) -> str:
    """The text, as long as before, without escapes, and without NUL, which stands between texts."""
    return unescaped(text.replace("\0", " "))
