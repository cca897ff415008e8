"""The entries of a draft: one for each table, or one for each kind of its items. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ...dynamo.structure.description import Table
from ...mapping.conditions import holds, read
from ...mapping.text.paths import escaped
from . import keys, types
from .ids import Choice
from .matching.natural_keys import NaturalKey
from .references import Rule
from .survey import Place, Survey, label
from .tables import unique


@dataclass(frozen=True)
class Group:
    """An entry before its ids are known: the places whose items it takes."""

    name: str
    table: str
    where: dict[str, Any]
    labels: list[str]
    place: Place  # of all of them together
    partition: str = ""  # the partition key of the table
    said: str = ""  # the words of the sort key, where these divide the table


@dataclass(frozen=True)
class Drafted:
    """One entry of the draft."""

    name: str
    table: Table
    where: dict[str, Any]  # path → value or words, where the table holds items of several kinds
    items: int
    of_table: int  # items of the table
    id: Choice
    rules: list[Rule]
    like_ids: dict[str, int]  # attribute → values that look like ids, of which none is an id here
    stays: dict[str, int]  # a part of the key as it stands there → different values, which are ids of nothing here
    ttl: str | None
    natural_keys: list[NaturalKey] = field(default_factory=list)  # where the target holds items

    @property
    def keeps_ids(self) -> bool:
        """Whether its items get no new ids, neither of their own nor, as references, all of their key."""
        return not self.id.attribute and not self.rewritten >= {name for name, _ in self.table.key}

    @property
    def rewritten(self) -> set[str]:
        """The paths that rules rewrite."""
        return {rule.path for rule in self.rules if not rule.ambiguous}


@dataclass(frozen=True)
class Unrouted:
    """Items of a table with several kinds that no entry takes: too few of a kind, or of none."""

    table: str
    items: int


def grouped(seen: Survey, undivided: frozenset[str]) -> tuple[list[Group], list[Unrouted]]:
    """The entries: one for each table, or one for each kind of its items; and the items of no kind.

    `undivided`: tables of which each is one entry, whatever it holds.
    """
    groups, unrouted = [], []
    kinds_of: dict[str, dict[str, Place]] = {table: {} for table in seen.names.tables.values()}
    for (table, value), place in seen.places.items():
        kinds_of[table][value] = place
    divided: dict[str, list[_Kind]] = {}
    for table, places in kinds_of.items():
        by = seen.type_attributes[table]
        if table not in undivided and by and _divides(seen, table, by, places):
            divided[table] = [
                _Kind({escaped(by): keys.asked(value)}, [value], place, _legal(value))
                for value, place in _kept(places)
                if value
            ]
        elif table not in undivided and not by and len(kinds := _by_key(seen, table, places)) > 1:
            divided[table] = kinds
    used = {entry for entry, table in seen.names.tables.items() if table not in divided}
    for entry, table in seen.names.tables.items():
        places, partition = kinds_of[table], seen.plan.source_tables[table].key[0][0]
        if table not in divided:
            labels = [label(table, value) for value in places]
            groups.append(Group(entry, table, {}, labels, _merged([*places.values()]), partition))
            continue
        for kind in divided[table]:
            name = unique(kind.name, used)
            used.add(name)
            labels = [label(table, value) for value in kind.values]
            groups.append(Group(name, table, kind.where, labels, kind.place, partition, kind.said))
        left = sum(place.items for place in places.values()) - sum(kind.place.items for kind in divided[table])
        if left:
            unrouted.append(Unrouted(table, left))
    return groups, unrouted


@dataclass
class _Kind:
    """The items of one entry of a table that has several."""

    where: dict[str, Any]
    values: list[str]  # of the places
    place: Place
    name: str
    patterns: dict[str, str] = field(default_factory=dict)  # of the key's attributes
    said: str = ""


def _kept(places: dict[str, Place]) -> list[tuple[str, Place]]:
    """The places that are kinds, those with most items first."""
    whole = sum(place.items for place in places.values())
    kept = [
        (v, place)
        for v, place in places.items()
        if not types.is_stray(types.Kind(place.items, place.attributes), whole)
    ]
    return sorted(kept, key=lambda pair: (-pair[1].items, pair[0]))


def _by_key(seen: Survey, table: str, places: dict[str, Place]) -> list[_Kind]:
    """The kinds that the patterns of the keys make, each with conditions that no other item of the table meets."""
    if "" in places or not 2 <= len(places) <= types.MOST:
        return []
    known = seen.patterns[table]
    kinds = [_Kind({}, [value], place, "", known.patterns(value)) for value, place in _kept(places)]
    for value, place in sorted(places.items()):
        if not any(value in kind.values for kind in kinds):  # a stray goes with the kind whose conditions it meets
            like = [kind for kind in kinds if keys.covers(kind.patterns, known.patterns(value))]
            if like:
                like[0].values.append(value)
                like[0].place = _merged([like[0].place, place])
    while (pair := _told_apart(kinds, known)) is not None:
        one, other = pair
        kinds.remove(other)
        one.values += other.values
        one.place = _merged([one.place, other.place])
        one.patterns = keys.joined(one.patterns, other.patterns)
    if any(not kind.where for kind in kinds) or not _selects_each(kinds, known):
        return []
    _name(kinds)
    return kinds


def _selects_each(kinds: list[_Kind], known: keys.Patterns) -> bool:
    """Whether the conditions select each item that was looked at for its own kind, and for no other."""
    selects = [holds(tuple(read(path, wanted) for path, wanted in kind.where.items())) for kind in kinds]
    for item in known.sample:
        value = known.label(item)
        if [select(item) for select in selects] != [value in kind.values for kind in kinds]:
            return False
    return True


def _told_apart(kinds: list[_Kind], known: keys.Patterns) -> tuple[_Kind, _Kind] | None:
    """Gives each kind its conditions. Returns two kinds that no condition tells apart, if there are such."""
    for kind in kinds:
        kind.where = keys.conditions(kind.patterns)
    for at, one in enumerate(kinds):
        for other in kinds[at + 1 :]:
            if keys.may_both_hold(one.patterns, other.patterns) and not _separate(one, other, known):
                return one, other
    return None


def _separate(one: _Kind, other: _Kind, known: keys.Patterns) -> bool:
    for mine, theirs in ((one, other), (other, one)):
        if only := _only(mine.place, theirs.place):
            mine.where[escaped(only)] = {"exists": True}
            theirs.where[escaped(only)] = {"exists": False}
            return True
    for mine, theirs in ((one, other), (other, one)):
        for name, text in keys.longer(mine.patterns, theirs.patterns):
            said, is_all = mine.where.get(escaped(name), {}), keys.is_constant(theirs.patterns[name])
            has_such = any(keys.begins(known.patterns(value)[name], text, is_all=is_all) for value in mine.values)
            if isinstance(said, dict) and "not" not in said and not has_such:
                text = keys.asked(text)
                mine.where[escaped(name)] = {**said, "not": text if is_all else {"begins_with": text}}
                return True
    return False


def _only(one: Place, other: Place) -> str | None:
    """An attribute that every item of one place has, and none of the other."""
    return min(
        (n for n, number in one.attributes.items() if number == one.items and not other.attributes[n]), default=None
    )


def _name(kinds: Iterable[_Kind]) -> None:
    """Names the kinds by the words of their keys; where two have the same, the one whose key says nothing else keeps it."""
    names_ = {id(kind): keys.said_by(kind.patterns) for kind in kinds}
    shortest: dict[str, _Kind] = {}
    for kind in sorted(kinds, key=lambda kind: (len(names_[id(kind)][1]), -kind.place.items)):
        kind.said = "".join(keys.words_of([*kind.patterns.values()][-1]))
        plain, whole = names_[id(kind)]
        if shortest.setdefault(plain, kind) is kind:
            kind.name = _legal(plain)
        else:
            kind.name = _legal(whole)


def _divides(seen: Survey, table: str, by: str, places: dict[str, Place]) -> bool:
    kinds = {value: types.Kind(place.items, place.attributes) for value, place in places.items()}
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
        for name, held in place.held.items():
            whole.held[name].merge(held)
    return whole


def _legal(value: str) -> str:
    """A value of a type attribute as the name of an entry."""
    return re.sub(r"[^\w.-]+", "-", value).strip("-_.") or "items"
