"""The profile of a table's attributes, built page by page: counts, types, lengths, number of values; never a value."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .distinct import Distinct, different

MAX_ATTRIBUTES = 2_000  # of a table, so that attribute names made from data cannot fill the memory
FURTHER = "(further attributes)"
_WITHOUT_LENGTH = frozenset({"N", "BOOL", "NULL"})


@dataclass
class AttributeProfile:
    """One attribute over all items of an entry."""

    types: Counter = field(default_factory=Counter)  # type letter -> items
    empty: int = 0  # null, or an empty text, list, map or set
    shortest: int | None = None  # characters of text, members of lists, maps and sets
    longest: int | None = None
    distinct: Distinct = field(default_factory=Distinct)

    def add(self, values: list[dict], known: Distinct | None = None) -> None:
        """Counts typed values. `known`: what `distinct` will be merged into; see Distinct.add."""
        for letter, contents in _by_letter(values).items():
            self.types[letter] += len(contents)
            if letter == "NULL":
                self.empty += len(contents)
            if letter not in _WITHOUT_LENGTH:
                lengths = [*map(len, contents)]
                self._add_lengths(min(lengths), max(lengths))
                if self.shortest == 0:
                    self.empty += lengths.count(0)
            self.distinct.add(letter, different(letter, contents), known)

    def _add_lengths(self, shortest: int | None, longest: int | None) -> None:
        if shortest is None or longest is None:
            return
        self.shortest = shortest if self.shortest is None else min(self.shortest, shortest)
        self.longest = longest if self.longest is None else max(self.longest, longest)

    def merge(self, other: "AttributeProfile") -> None:
        """Adds what another page found."""
        self.types += other.types
        self.empty += other.empty
        self.distinct.merge(other.distinct)
        self._add_lengths(other.shortest, other.longest)


Profile = dict[str, AttributeProfile]  # attribute -> its profile


def profile_items(items: Iterable[dict], known: Mapping[str, AttributeProfile] | None = None) -> Profile:
    """The profile of some items. `known`: the profile that it will be merged into, which spares some work."""
    found: Profile = {}
    for name, values in _columns(items).items():
        found[name] = attribute = AttributeProfile()
        attribute.add(values, known[name].distinct if known and name in known else None)
    return found


def merge_into(whole: Profile, page: Profile) -> None:
    """Adds a page's profile to the table's; names beyond MAX_ATTRIBUTES share one line."""
    for name, attribute in page.items():
        whole.setdefault(place_of(name, whole), AttributeProfile()).merge(attribute)


def place_of(name: str, whole: Mapping[str, object]) -> str:
    """The line on which an attribute is counted: its own, or FURTHER where there are MAX_ATTRIBUTES already."""
    return name if name in whole or len(whole) < MAX_ATTRIBUTES else FURTHER


def _columns(items: Iterable[dict]) -> dict[str, list[dict]]:
    """Attribute → its values in all items that have it.

    Items with the same attributes are turned into columns together. Going through columns instead of items lets
    `map`, `min`, `set` and their like do what is done for each value: with the places of Distinct, half the time.
    """
    alike: dict[tuple[str, ...], list[dict]] = defaultdict(list)
    for item in items:
        alike[tuple(item)].append(item)
    columns: dict[str, list[dict]] = defaultdict(list)
    for names, group in alike.items():
        for name, values in zip(names, zip(*[item.values() for item in group], strict=True), strict=True):
            columns[name].extend(values)
    return columns


def _by_letter(values: list[dict]) -> dict[str, list]:
    """Type letter → the contents of the values of that type."""
    letter = next(iter(values[0]))
    try:
        return {letter: [value[letter] for value in values]}  # nearly all attributes have one type
    except KeyError:
        by_letter: dict[str, list] = defaultdict(list)
        for value in values:
            for letter, content in value.items():  # one
                by_letter[letter].append(content)
        return by_letter
