"""The patterns of a table's keys: which parts of `ORDER#7#LINE#3` are words, and which are values. Pure.

Words divide the items of a table into kinds, as a type attribute does, and name them; values may be ids. Whether something is
a word shows in a sample: a word comes again, a value comes as often as there are things.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from ...discover.text import names
from ...discover.text.patterns import common
from ...discover.text.times import TIME
from ...discover.text.tokens import is_uuid
from ...dynamo.structure.description import Key
from ...mapping.text import templates
from ...mapping.text.paths import escaped
from . import types

ANY, ORDERED = "\0", "\1"  # in a pattern: a value; a value at its beginning that is a date or a number
BETWEEN = "\x1f"  # the patterns of the keys in a label
FEW = 3  # different words of a place that are words although each comes only once or twice
_KEY = frozenset("pk sk id key partitionkey sortkey hashkey rangekey hash range".split())
_DIGITS = ["0", ":"]  # what begins with a digit lies between these
ALIKE = 0.95  # of the sampled items of a kind that must have one pattern
TWINS = 0.99  # of the sampled items of a kind in which two parts of the key must be equal
VALUE = "*"  # begins the mark of a value before which no word stands; the attribute follows
_GENERAL = frozenset(
    "base data default detail details head header info main meta metadata profile record root self".split()
)  # words for the item itself, whatever it is
_PIECES = re.compile(rf"({TIME})|([#|:/])|([^#|:/]+)")
_WORD = re.compile(r"[^\W\d_](?:[^\W\d]|-)*")
_LOOSE = re.compile(r"([^\W\d_]+)([_-])(?=[^\W_]*\d)(.+)", re.DOTALL)  # order_12, CUS-7
_PREFIXED = re.compile(r"([^\W\d_]+)([_-])(.+)", re.DOTALL)  # order_abc, where others are order_12
_DATED = re.compile(rf"({TIME})(_)(.+)", re.DOTALL)  # of RES_2024-05-01_x7


class Spot(NamedTuple):
    """A part of a key that takes a value."""

    attribute: str
    form: str  # the key as a template, with {id} where the value stands; "{id}" where it is all of the key
    mark: str  # in small letters the word before it, or all words, if that one is general; without one VALUE and the attribute
    twin: bool  # the other part of the key holds the same value, or no value at all

    @property
    def is_part(self) -> bool:
        """Whether a word stands before the value, and between them what no id has: user/42, not CUS-7."""
        return not self.mark.startswith(VALUE) and any(sign in self.form for sign in "#|:/")


class Patterns:
    """How the keys of one table are taken apart."""

    def __init__(self, key: Key, sample: list[dict]):
        """Judged from some items, which it keeps."""
        self.sample = sample
        self._names = [name for name, letter in key if letter == "S"]
        self._are_words: dict[tuple[str, str, str], bool] = {}
        self._prefixes = {name: _prefixes(item.get(name, {}).get("S", "") for item in sample) for name in self._names}
        for name in self._names:
            self._learn(name, [item for item in sample if "S" in item.get(name, {})])

    def label(self, item: dict) -> str:
        """The patterns of an item's key; of a key that is no text there is none."""
        return BETWEEN.join(self.pattern(name, item.get(name, {}).get("S", "")) for name in self._names)

    def patterns(self, label: str) -> dict[str, str]:
        """Attribute → pattern."""
        return dict(zip(self._names, label.split(BETWEEN), strict=True))

    def pattern(self, name: str, text: str) -> str:
        """The text with ANY in the place of each value; a first one that is in the order of time or number is ORDERED."""
        return self._mask(name, text).run()

    def _mask(self, name: str, text: str) -> "_Mask":
        parts = pieces(text, self._prefixes[name])
        return _Mask(parts, lambda place, word: self._decided(name, place, word))

    def _decided(self, name: str, place: "_Place", word: str) -> bool:
        known = self._are_words.get((name, *place[:2]))
        return place.expected(word) if known is None else known

    def _learn(self, name: str, items: list[dict]) -> None:
        """Decides place by place, from the left: what is before a place must be known."""
        masks = [(item, self._mask(name, item[name]["S"])) for item in items]
        while masks:
            at: dict[_Place, list[tuple[dict, str]]] = defaultdict(list)
            for item, mask in masks:
                if (stop := mask.next_word()) is not None:
                    at[stop[0]].append((item, stop[1]))
            for place, several in at.items():
                self._are_words[name, *place[:2]] = _are_words(place, several)
            masks = [(item, mask) for item, mask in masks if mask.next_word() is not None]
            for _, mask in masks:
                mask.step()


class _Place(NamedTuple):
    """A place in a text at which a word stands."""

    before: str  # the pattern so far
    after: str  # the separator behind it; "" at the end
    follows_word: bool

    def expected(self, word: str) -> bool:
        """Whether a word that was never seen there is one: those before a separator are, unless a word stands before them."""
        return not self.follows_word and (bool(self.after) or word.isupper())


class _Mask:
    """Walks through the pieces of a text and makes its pattern."""

    def __init__(self, parts: list[str], decide: Callable[[_Place, str], bool]):
        self._parts, self._decide = parts, decide
        self._at, self._out, self._follows_word = 0, "", False

    def next_word(self) -> tuple[_Place, str] | None:
        """The next place at which it must be decided, and the word there; None where there is no further one."""
        while self._at < len(self._parts):
            part = self._parts[self._at]
            if _WORD.fullmatch(part):
                after = self._parts[self._at + 1] if self._at + 1 < len(self._parts) else ""
                return _Place(self._out, after, self._follows_word), part
            self._take(part, is_word=False)
        return None

    def step(self) -> None:
        """Takes the next word, as a word or as a value."""
        if (stop := self.next_word()) is not None:
            self._take(stop[1], is_word=self._decide(*stop))

    def run(self) -> str:
        """The pattern of the whole text."""
        while self.next_word() is not None:
            self.step()
        return self._out

    def _take(self, part: str, *, is_word: bool) -> None:
        if part in _SEPARATORS or is_word:
            self._out += part
        elif not self._out and (part.isdigit() or re.fullmatch(TIME, part)):
            self._out = ORDERED
        elif self._out[-1:] not in (ANY, ORDERED):  # what stands right behind a value cannot be told from it
            self._out += ANY
        self._follows_word = is_word if part not in _SEPARATORS else self._follows_word
        self._at += 1


_SEPARATORS = frozenset("#|:/_-")


def _prefixes(texts: Iterable[str]) -> frozenset[str]:
    """What several texts without a separator begin with, before a value: `order_`. A few values have no digit by chance."""
    found = Counter(parts[0] + parts[1] for text in texts if len(parts := pieces(text)) == 3 and parts[1] in "_-")
    return frozenset(prefix for prefix, number in found.items() if number > 1)


def pieces(text: str, prefixes: frozenset[str] = frozenset()) -> list[str]:
    """The parts of a key's text, and what separates them. A date is one part, unless a hyphen follows; nothing is lost.

    `prefixes`: before which a value stands, whatever it looks like.
    """
    if not any(sign in text for sign in "#|:/") and not is_uuid(text):
        loose = _LOOSE.fullmatch(text)
        if not loose and (known := _PREFIXED.fullmatch(text)) and known[1] + known[2] in prefixes:
            loose = known
        if loose:
            dated = _DATED.fullmatch(loose[3]) if loose[2] == "_" else None
            return [loose[1], loose[2], *(dated.groups() if dated else [loose[3]])]
    found: list[str] = []
    for part in [one[0] for one in _PIECES.finditer(text)]:
        if found and len(part) > 1 and part[0] in "-_" and re.fullmatch(TIME, found[-1]):
            if part[0] == "-":  # a reader stops at the first hyphen
                found[-1:] = re.split("(-)", found[-1])
            found += [part[0], part[1:]]
        else:
            found.append(part)
    return found


def _are_words(place: _Place, several: list[tuple[dict, str]]) -> bool:
    words = Counter(word for _, word in several)
    often = Counter({word: n for word, n in words.items() if n > 1})
    if often.total() >= ALIKE * len(several):  # one that came once is no kind, and says nothing of the others
        words = often
    if len(words) > types.MOST:
        return False
    upper = all(map(str.isupper, words))
    if place.after and not place.follows_word:
        return upper or len(words) <= FEW or len(several) >= 2 * len(words)
    if len(words) == 1:
        return not place.follows_word and (upper or len(several) > 1)
    kinds = {
        word: types.Kind(n, Counter(name for item, mine in several if mine == word for name in item))
        for word, n in words.items()
    }
    return types.differ(kinds, strong=upper and not place.follows_word)


def literal(pattern: str) -> str:
    """What a pattern begins with, up to its first value."""
    return re.split(f"[{ANY}{ORDERED}]", pattern)[0]


def is_constant(pattern: str) -> bool:
    """Whether a pattern has no value in it."""
    return literal(pattern) == pattern


def is_general(word: str) -> bool:
    """Whether a word says only that this is the thing itself, as PROFILE does."""
    return re.sub(r"[\W_]", "", word).lower() in _GENERAL


def words_of(pattern: str) -> list[str]:
    """The words of a pattern."""
    return [part for part in re.split(rf"[{ANY}{ORDERED}#|:/]+", pattern) if part.strip("_-")]


def spots(key: Key, known: Patterns, sample: list[dict]) -> list[Spot]:
    """The parts of the key that take values in items of one kind, those of the sort key first; [] where their keys differ."""
    labels = Counter(map(known.label, sample))
    ((label, number),) = labels.most_common(1) or (("", 0),)
    if not label or number < ALIKE * len(sample):
        return []
    patterns, found = known.patterns(label), []
    for name, _ in reversed(key):
        pattern = patterns.get(name)
        if not pattern:
            continue
        parts = re.split(f"([{ANY}{ORDERED}])", pattern)
        holes = [at for at, part in enumerate(parts) if part in (ANY, ORDERED)]
        for hole in reversed(holes):
            form = "".join(
                ("{id}" if at == hole else "{*}") if at in holes else part.replace("{", "{{").replace("}", "}}")
                for at, part in enumerate(parts)
            )
            before = words_of("".join(parts[:hole]))
            if len(parts) == 3 and parts[0].endswith("-"):
                form = "{id}"  # CUS-7 is the id itself
            mark = before[-1].strip("_-").lower() if before else VALUE + name
            if is_general(mark):
                mark = " ".join(word for one in patterns.values() for word in words_of(one)).lower()
            found.append(Spot(name, form, mark, twin=False))
    return [one._replace(twin=_is_twin(one, found, patterns, sample)) for one in found]


def _is_twin(one: Spot, others: list[Spot], patterns: dict[str, str], sample: list[dict]) -> bool:
    beside = [other for other in others if other.attribute != one.attribute]
    if not beside:
        return len(patterns) == 1 or any(name != one.attribute for name in patterns)
    mine = values_at(one)
    for other in beside:
        theirs = values_at(other)
        pairs = [(mine(item), theirs(item)) for item in sample]
        if sum(a is not None and a == b for a, b in pairs) >= TWINS * len(pairs):
            return True
    return False


def values_at(spot: Spot) -> Callable[[dict], str | None]:
    """A function from an item to the value at a spot; None where its key has another pattern."""
    find = templates.finder(templates.parse(spot.form))

    def value(item: dict) -> str | None:
        text = item.get(spot.attribute, {}).get("S")
        at = find(text) if text else None
        return text[at[0] : at[1]] if at else None

    return value


def said_by(patterns: Mapping[str, str]) -> tuple[str, str]:
    """What the patterns of a key say of an item, and the words of all of them: order, userorder. `patterns`: by attribute."""
    words = [[_plain(word) for word in words_of(pattern)] for pattern in patterns.values()]
    telling = [[word for word in some if not is_general(word)] for some in words]
    own = next((some for some in reversed(telling) if some), [])
    whole = [word for at, word in enumerate(one for some in telling for one in some)]
    if not own:
        first = next(iter(patterns), "")
        is_key = re.sub(r"[\W_]", "", first).lower() in _KEY
        own = [*names.words(first)] if not is_key else [one for some in words for one in some]
        own = [word for word in own if word != "id"] or ["items"]
    return "".join(own), "".join(dict.fromkeys(whole)) or "".join(own)


def _plain(word: str) -> str:
    word = word.strip("_-")
    return word.lower() if word.isupper() else word


def conditions(patterns: Mapping[str, str]) -> dict[str, Any]:
    """What `where` can say of items whose keys have these patterns."""
    found: dict[str, Any] = {}
    for name, pattern in patterns.items():
        if is_constant(pattern):
            found[escaped(name)] = asked(pattern)
        elif literal(pattern):
            found[escaped(name)] = {"begins_with": asked(literal(pattern))}
        elif pattern.startswith(ORDERED):
            found[escaped(name)] = {"between": _DIGITS}
    return found


def asked(text: str) -> str:
    """A text as a condition has it."""
    return templates.doubled(text)


def may_both_hold(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether items of both patterns may meet the conditions of one of them."""
    return all(_compatible(pattern, other[name]) for name, pattern in one.items())


def _compatible(one: str, other: str) -> bool:
    if one.startswith(ORDERED) or other.startswith(ORDERED):
        text = other if one.startswith(ORDERED) else one
        return text.startswith(ORDERED) or not literal(text) or literal(text)[0].isdigit()
    mine, theirs = literal(one), literal(other)
    if is_constant(one) and is_constant(other):
        return mine == theirs
    if is_constant(one):
        return mine.startswith(theirs)
    return theirs.startswith(mine) or (not is_constant(other) and mine.startswith(theirs))


def covers(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether all items of the other patterns meet the conditions of the one."""
    return all(_covers(pattern, other[name]) for name, pattern in one.items())


def _covers(one: str, other: str) -> bool:
    if one.startswith(ORDERED):
        return other.startswith(ORDERED) or literal(other)[:1].isdigit()
    return one == other if is_constant(one) else other.startswith(literal(one))


def begins(pattern: str, text: str, *, is_all: bool) -> bool:
    """Whether keys of a pattern begin with a text, or are that text."""
    return pattern == text if is_all else literal(pattern).startswith(text)


def joined(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
    """Patterns that items of both have."""
    return {
        name: pattern if pattern == other[name] else common([literal(pattern), literal(other[name])]) + ANY
        for name, pattern in one.items()
    }


def longer(one: Mapping[str, str], other: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """Attribute and text: where the other's keys begin with a text that those of the one do not."""
    for name, pattern in one.items():
        mine, theirs = literal(pattern), literal(other[name])
        if not is_constant(pattern) and len(theirs) > len(mine) and theirs.startswith(mine):
            yield name, theirs
