"""The profile of a table's attributes, built page by page: counts, types, lengths, number of values; never a value."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from ..values import is_empty
from .distinct import Distinct, content_of

MAX_ATTRIBUTES = 2_000  # of a table, so that attribute names made from data cannot fill the memory
FURTHER = "(further attributes)"


@dataclass
class AttributeProfile:
    """One attribute over all items of an entry."""

    types: Counter = field(default_factory=Counter)  # type letter -> items
    empty: int = 0  # null, or an empty text, list, map or set
    shortest: int | None = None  # characters of text, members of lists, maps and sets
    longest: int | None = None
    distinct: Distinct = field(default_factory=Distinct)

    def add(self, value: dict) -> None:
        """Counts one value."""
        ((letter, content),) = value.items()
        self.types[letter] += 1
        self.empty += is_empty(value)
        if letter not in ("N", "BOOL", "NULL"):
            length = len(content)
            self.shortest = length if self.shortest is None else min(self.shortest, length)
            self.longest = length if self.longest is None else max(self.longest, length)

    def merge(self, other: "AttributeProfile") -> None:
        """Adds what another page found."""
        self.types += other.types
        self.empty += other.empty
        self.distinct.merge(other.distinct)
        for name, choose in (("shortest", min), ("longest", max)):
            both = [length for length in (getattr(self, name), getattr(other, name)) if length is not None]
            setattr(self, name, choose(both, default=None))


Profile = dict[str, AttributeProfile]  # attribute -> its profile


def profile_items(items: list[dict]) -> Profile:
    """The profile of some items."""
    found: Profile = defaultdict(AttributeProfile)
    values: dict[str, set] = defaultdict(set)
    for item in items:
        for name, value in item.items():
            found[name].add(value)
            ((letter, content),) = value.items()
            values[name].add((letter, content_of(letter, content)))
    for name, profile in found.items():
        profile.distinct = Distinct(values[name])
    return found


def merge_into(whole: Profile, page: Profile) -> None:
    """Adds a page's profile to the table's; names beyond MAX_ATTRIBUTES share one line."""
    for name, attribute in page.items():
        place = name if name in whole or len(whole) < MAX_ATTRIBUTES else FURTHER
        whole.setdefault(place, AttributeProfile()).merge(attribute)
