"""The profile of a table's attributes, built page by page: counts, types, lengths, number of values; never a value."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..values import line_of
from .columns import as_columns, by_letter
from .distinct import Distinct, different

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
        for letter, contents in by_letter(values).items():
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
    return profile_columns(as_columns(items), known)


def profile_columns(columns: Mapping[str, list[dict]], known: Mapping[str, AttributeProfile] | None = None) -> Profile:
    """The same from the items' columns."""
    found: Profile = {}
    for name, values in columns.items():
        found[name] = attribute = AttributeProfile()
        attribute.add(values, known[name].distinct if known and name in known else None)
    return found


def merge_into(whole: Profile, page: Profile) -> None:
    """Adds a page's profile to the table's; names beyond MAX_ATTRIBUTES share one line."""
    for name, attribute in page.items():
        whole.setdefault(line_of(name, whole), AttributeProfile()).merge(attribute)
