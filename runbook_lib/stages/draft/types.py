"""The attribute that says of which kind an item is, where a table holds items of several kinds. Pure.

The names of such attributes are the same everywhere (`__typename`, `entity_type`, `type`); whether one divides a table
shows in the data: items of different kinds have different attributes.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

MOST = 50  # kinds of items in a table
LONGEST = 64  # characters of a kind's name
PRESENT = 0.99  # of the items that must have the attribute
CORE = 0.9  # of the items of a kind that must have an attribute, for it to be one of the kind's own
STRAY, STRAY_SHARE = 3, 0.01  # a kind with fewer items, and a smaller share, is none: its items stay unrouted
_ALWAYS = frozenset(("typename", "et"))  # what frameworks write: AppSync, DynamoDB Toolbox
_STRONG = frozenset(
    "entitytype itemtype recordtype objecttype doctype documenttype modeltype rowtype entity entityname".split()
)
_WEAK = frozenset(("type", "kind", "discriminator"))


class Kind(NamedTuple):
    """The items with one value of an attribute: how many, and how many of them have each attribute."""

    items: int
    attributes: Counter


Kinds = Mapping[str, Kind]  # value of the type attribute → its items


def type_attribute(sample: list[dict], key: Collection[str]) -> str | None:
    """The attribute by which to group a table's items, judged from some of them. Whether it divides them, `divides` says.

    `key`: the names of the table's key, which are none.
    """
    rated: list[tuple[int, str]] = []
    composite = len(key) > 1
    for name in sorted({name for item in sample for name in item} - {*key}):
        values = {item.get(name, {}).get("S") for item in sample if name in item}
        present = sum(name in item for item in sample)
        if present < PRESENT * len(sample) - 1 or None in values or len(values) > MOST or _NOT_SAYABLE.search(name):
            continue
        if max(map(len, values)) > LONGEST or "" in values:
            continue
        if len(values) > 1 and divides(name, kinds_of(sample, name), composite=composite):
            rated.append((0 if _word(name) in _ALWAYS | _STRONG else 1 if _word(name) in _WEAK else 2, name))
        elif _word(name) in _ALWAYS | _STRONG | _WEAK:  # other kinds may come later
            rated.append((3 if _word(name) in _ALWAYS | _STRONG else 4, name))
    return min(rated)[1] if rated else None


_NOT_SAYABLE = re.compile(r"[.\[\]:{}\\$]")


def _word(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


def kinds_of(items: list[dict], attribute: str) -> dict[str, Kind]:
    """The kinds of some items."""
    groups = grouped(items, by_attribute(attribute))
    return {value: Kind(len(group), Counter(n for item in group for n in item)) for value, group in groups.items()}


def grouped(items: list[dict], kind_of: Callable[[dict], str]) -> dict[str, list[dict]]:
    """Items by their kind."""
    groups: dict[str, list[dict]] = defaultdict(list)
    for item in items:
        groups[kind_of(item)].append(item)
    return groups


def by_attribute(attribute: str | None) -> Callable[[dict], str]:
    """A function from an item to what the attribute says; "" where it says nothing, or there is no attribute."""
    return lambda item: item.get(attribute, {}).get("S", "") if attribute else ""


def divides(name: str, kinds: Kinds, *, composite: bool) -> bool:
    """Whether an attribute divides a table's items into kinds: 2 to 50, which differ in what they hold.

    What must differ depends on the name: `entity_type` may be believed, an attribute called `state` must prove it.
    """
    whole = sum(kind.items for kind in kinds.values())
    kept = {value: kind for value, kind in kinds.items() if value and not is_stray(kind, whole)}
    if not 2 <= len(kept) <= MOST or kinds.get("", Kind(0, Counter())).items > (1 - PRESENT) * whole + 1:
        return False
    word = _word(name)
    if word in _ALWAYS:
        return True
    if word in _STRONG:
        return differ(kept, strong=True)
    return differ(kept, strong=False) and (word in _WEAK or composite)


def differ(kinds: Kinds, *, strong: bool) -> bool:
    """Whether the kinds differ in what they hold: most pairs of them in both directions; any one where the name says it."""
    pairs = [(a, b) for a in kinds.values() for b in kinds.values() if a is not b]
    if strong:
        return any(_has_more(a, b) for a, b in pairs)
    return sum(_has_more(a, b) and _has_more(b, a) for a, b in pairs) > len(pairs) / 2


def is_stray(kind: Kind, whole: int) -> bool:
    """Whether so few items have this value that it is no kind; `whole`: items of the table."""
    return kind.items < STRAY and kind.items < STRAY_SHARE * whole


def _has_more(one: Kind, other: Kind) -> bool:
    """Whether nearly all items of a kind have an attribute that no item of the other has."""
    return any(n >= CORE * one.items and not other.attributes[name] for name, n in one.attributes.items())
