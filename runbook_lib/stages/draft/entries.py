"""The entries of a draft: one for each table, or one for each kind of its items. Pure."""

import re
from dataclasses import dataclass

from ...dynamo.structure.description import Table
from . import types
from .ids import Choice
from .references import Rule
from .survey import Place, Survey, label
from .tables import unique


@dataclass(frozen=True)
class Group:
    """An entry before its ids are known: the places whose items it takes."""

    name: str
    table: str
    where: dict[str, str]
    labels: list[str]
    place: Place  # of all of them together


@dataclass(frozen=True)
class Drafted:
    """One entry of the draft."""

    name: str
    table: Table
    where: dict[str, str]  # type attribute → its value, where the table holds items of several kinds
    items: int
    of_table: int  # items of the table
    id: Choice
    rules: list[Rule]
    like_ids: dict[str, int]  # attribute → values that look like ids, of which none is an id here
    ttl: str | None

    @property
    def keeps_ids(self) -> bool:
        """Whether its items get no new ids, neither of their own nor, as references, all of their key."""
        rewritten = {rule.path for rule in self.rules if not rule.ambiguous}
        return not self.id.attribute and not rewritten >= {name for name, _ in self.table.key}


@dataclass(frozen=True)
class Unrouted:
    """Items of a table with several kinds that no entry takes: too few of a kind, or of none."""

    table: str
    attribute: str
    items: int


def grouped(seen: Survey, undivided: frozenset[str]) -> tuple[list[Group], list[Unrouted]]:
    """The entries: one for each table, or one for each kind of its items; and the items of no kind.

    `undivided`: tables of which each is one entry, whatever it holds.
    """
    groups, unrouted = [], []
    kinds_of: dict[str, dict[str, Place]] = {table: {} for table in seen.names.tables.values()}
    for (table, value), place in seen.places.items():
        kinds_of[table][value] = place
    divided = {
        table: by
        for table, by in seen.type_attributes.items()
        if by and table not in undivided and _divides(seen, table, by, kinds_of)
    }
    used = {entry for entry, table in seen.names.tables.items() if table not in divided}
    for entry, table in seen.names.tables.items():
        places = kinds_of[table]
        if table not in divided:
            groups.append(
                Group(entry, table, {}, [label(table, value) for value in places], _merged([*places.values()]))
            )
            continue
        whole, left = sum(place.items for place in places.values()), 0
        for value, place in sorted(places.items(), key=lambda pair: (-pair[1].items, pair[0])):
            if not value or types.is_stray(types.Kind(place.items, place.attributes), whole):
                left += place.items
                continue
            name = unique(_legal(value), used)
            used.add(name)
            groups.append(Group(name, table, {divided[table]: value}, [label(table, value)], place))
        if left:
            unrouted.append(Unrouted(table, divided[table], left))
    return groups, unrouted


def _divides(seen: Survey, table: str, by: str, kinds_of: dict[str, dict[str, Place]]) -> bool:
    kinds = {value: types.Kind(place.items, place.attributes) for value, place in kinds_of[table].items()}
    return types.divides(by, kinds, composite=len(seen.plan.source_tables[table].key) > 1)


def _merged(places: list[Place]) -> Place:
    if len(places) == 1:
        return places[0]
    whole = Place()
    for place in places:
        whole.items += place.items
        whole.attributes += place.attributes
        whole.like_ids += place.like_ids
        for name, candidate in place.candidates.items():
            whole.candidates[name].merge(candidate)
    return whole


def _legal(value: str) -> str:
    """A value of a type attribute as the name of an entry."""
    return re.sub(r"[^\w.-]+", "-", value).strip("-_.") or "items"
