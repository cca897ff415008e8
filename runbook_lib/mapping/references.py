"""Rewriting of references: every id at a path becomes the new id of the item it names. Pure.

An id is read as its parent's key type (so a number kept as text still finds its parent) and written back in its old
form. A value that cannot be read as an id stays and is counted.

Each path is compiled once to a function that walks straight to its ids. Values are never changed in place: rewritten
parts are new objects, and the old and the new item share the rest.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from ..values import SCALARS, canonical_number, is_empty, key_bytes, text_of
from .ids import id_hash, id_head
from .model import ASKING, Entry, NamedBy
from .text import templates
from .walkers import GONE, LINK_BYTES, NULL, Found, Path, Rewrite, left, walkers

REMEMBERED = 200  # ids of each parent: they stay in the processor's cache, where 5,000 cost more than they save
NO_KEY = "no key"


class Several(str):
    """Among unreadable paths: one whose value is an id of several entries. It was read as an id of the first."""


_found = partial(tuple.__new__, Found)  # the same in half the time


class Matching(Protocol):
    """An item of the target that has the place of a source item."""

    source_key_hash: bytes  # `values.key_hash` of that item's key: others of its entry may have the same id
    target_key: dict
    new: dict  # the target item's id, typed
    by: bytes  # the hash of the values that both have


@dataclass(frozen=True)
class Parents:
    """What rewriting needs to know about the referenced entries."""

    new_id: Mapping[str, Callable[[dict], dict]]
    id_type: Mapping[str, str | None]  # S, N or B where the id is a key of the source table, else None
    exists: Callable[[str, dict], bool] = lambda entry, old: True  # asked only where `dangling` is one of model.ASKING
    entries: Mapping[str, Entry] = field(default_factory=dict)  # whose rules apply inside their records
    known: dict[str, dict[str, tuple[dict, bytes]]] = field(default_factory=dict)  # by old id as text: new id, link
    # The item of the target that has the place of the item with this id; asked only of entries that reuse such items.
    matched: Callable[[str, dict], "Matching | None"] = lambda entry, old: None


def reusing(new_id: Callable[[dict], dict], matched: Callable[[dict], Matching | None]) -> Callable[[dict], dict]:
    """A function as `new_id`, which gives the id of the item of the target where the id's own item is matched with one.

    It raises ValueError where that is of another type, which the places of the old id cannot hold.
    """

    def reused_or_new(old: dict) -> dict:
        match = matched(old)
        return new_id(old) if match is None else _as_type(match.new, next(iter(old)))

    return reused_or_new


def remembering(
    parents: Parents, entry: str
) -> tuple[dict[str, tuple[dict, bytes]], Callable[[dict], tuple[dict, bytes]]]:
    """The new ids and links that are known of an entry, by old id as text; and a function that makes one more known.

    An id is often asked for several times: as that of an item and in references to it. To look it up is
    cheaper than to make it. The function takes an old id of type S, and raises ValueError where that cannot be one.
    """
    new_id, begun = parents.new_id[entry], id_head(entry, "S", LINK_BYTES)
    known = parents.known.setdefault(entry, {})

    def remember(old: dict) -> tuple[dict, bytes]:
        text, link = old["S"], begun.copy()
        new = new_id(old)
        link.update(text.encode())
        if len(known) >= REMEMBERED:
            known.clear()
        known[text] = pair = new, link.digest()
        return pair

    return known, remember


def compile_references(entry: Entry, parents: Parents) -> Callable[[dict, dict, list[Found], list[str]], None]:
    """A function (item, copy, found, unreadable) that rewrites the references in `copy` and appends what it found."""
    by_name: dict[str, list[Path]] = defaultdict(list)
    for path, steps in entry.paths.items():
        rule = entry.model.references[path]
        if isinstance(rule.record_of, str):
            by_name[steps[0]] += _record_paths(path, steps[1:], rule.record_of, parents)
        elif rule.record_of is None:
            by_name[steps[0]].append((steps[1:], path, _leaf(path, entry, path, parents)))
    records = {path for path in entry.paths if entry.model.references[path].record_of}
    rewrites = []
    for name, paths in by_name.items():
        there = walkers(paths)
        with_record = not records.isdisjoint(path for _, path, _ in paths)
        rewrites += [(name, rewrite) for rewrite in ([_once(there, records)] if with_record else there)]
    rewrites += [
        (steps[0], _once([_named_record(path, steps[1:], entry.model.references[path].named_by, parents)], records))
        for path, steps in entry.paths.items()
        if isinstance(entry.model.references[path].record_of, NamedBy)
    ]

    def rewrite_references(item: dict, copy: dict, found: list[Found], unreadable: list[str]) -> None:
        for name, rewrite_value in rewrites:
            value = copy.get(name)
            if value is not None:
                copy[name] = new = rewrite_value(value, item, found, unreadable)
                if not new:
                    del copy[name]

    return rewrite_references


def _once(rewrites: list[Rewrite], records: set[str]) -> Rewrite:
    """All of them in order. What cannot be read in a record counts once an item, not once for each path in it."""

    def rewrite_once(value: dict, item: dict, found: list[Found], unreadable: list[str]) -> dict:
        own: list[str] = []
        for rewrite in rewrites:
            value = value and rewrite(value, item, found, own)
        if own:
            unreadable += [path for path in own if path not in records]
            unreadable += [path for _, path in dict.fromkeys((type(path), path) for path in own if path in records)]
        return value

    return rewrite_once


def _leaf(path: str, entry: Entry, rule_path: str, parents: Parents) -> Rewrite:
    """What the rule of an entry for `rule_path` does with the values at its end; it counts them for `path`."""
    rule, places = entry.model.references[rule_path], entry.references_to[rule_path]
    if not places:
        return _named_leaf(path, rule.table_named_by, rule.dangling, parents)
    leaves = [_place_leaf(path, parts, rule.dangling, parents) for parts in places]
    return leaves[0] if len(leaves) == 1 else _choosing_leaf(path, places, leaves, parents)


def _place_leaf(path: str, parts: templates.Parts, dangling: str, parents: Parents) -> Rewrite:
    if len(parts) == 1 and isinstance(parts[0], templates.Hole):
        return _id_leaf(path, parts[0].name, dangling, parents)
    return (_one_id_leaf if len(templates.entries(parts)) == 1 else _text_leaf)(path, parts, dangling, parents)


def own_parts(entry: Entry) -> templates.Parts:
    """How an entry's own id stands in its attribute, as a reference to the entry would say it."""
    return tuple(templates.Hole(entry.name) if part == templates.Hole("id") else part for part in entry.id_parts) or (
        templates.Hole(entry.name),
    )


def paths_in_record(entry: Entry) -> list[tuple[tuple, str | None]]:
    """The steps of what is rewritten inside a record of an entry, each with its path; None for the record's own id.

    What another attribute of the record would name (`table_named_by`), and records in the record, are not.
    """
    own = [((entry.model.id,), None)] if entry.model.renews_ids else []
    return own + [(steps, path) for path, steps in entry.paths.items() if entry.references_to[path]]


def _record_paths(path: str, steps: tuple, name: str, parents: Parents) -> list[Path]:
    """The paths of a record of the entry `name` that stands at `steps`. Their values count for `path`."""
    entry = parents.entries[name]
    return [
        (
            (*steps, *inner),
            path,
            _place_leaf(path, own_parts(entry), "map", parents) if rule is None else _leaf(path, entry, rule, parents),
        )
        for inner, rule in paths_in_record(entry)
    ]


def _named_record(path: str, steps: tuple, attribute: str, parents: Parents) -> Rewrite:
    """Rewrites a record by the rules of the entry that another attribute names. Another name counts as dangling."""
    of = {name: walkers(_record_paths(path, steps, name, parents)) for name in parents.entries}
    (count,) = walkers([(steps, path, lambda value, item, found, unreadable: left(value, path, unreadable))])

    def rewrite_record(value: dict, item: dict, found: list[Found], unreadable: list[str]) -> dict:
        name = item.get(attribute, NULL).get("S")
        if name not in of:
            count(value, item, found, unknown := [])
            found += [Found(path, None, None, None) for _ in unknown]
            return value
        for rewrite in of[name]:
            value = rewrite(value, item, found, unreadable)
        return value

    return rewrite_record


def _id_leaf(path: str, parent: str, dangling: str, parents: Parents) -> Rewrite:
    new_id, id_type = parents.new_id[parent], parents.id_type[parent]
    known, remember = remembering(parents, parent)
    is_text = id_type in ("S", None)
    asks = dangling in ASKING

    def leaf(value: dict, item: dict, found: list[Found], unreadable: list[str]) -> dict:
        text = value.get("S")
        if not text or not is_text or asks:
            return rarer(value, found, unreadable)
        pair = known.get(text)
        if pair is None:
            try:
                pair = remember(value)
            except ValueError:
                return rarer(value, found, unreadable)
        new, link = pair
        found.append(_found((path, parent, value, new, link)))
        return new

    def rarer(value: dict, found: list[Found], unreadable: list[str]) -> dict:
        letter = next(iter(value))
        if letter not in SCALARS or is_empty(value):
            return left(value, path, unreadable)
        try:
            old = _as_id(value, id_type)
            new, link = new_id(old), id_hash(parent, old, LINK_BYTES)
            new = value if new == old else _as_type(new, letter)  # with `keep` it keeps its spelling
        except ValueError:  # no item of the parent can have this id
            found.append(Found(path, None, None, None))
            return value
        if asks and not parents.exists(parent, old):
            new = {"keep": value, "null": NULL, "remove": GONE}[dangling]
        found.append(Found(path, parent, old, new, link))
        return new

    return leaf


def _named_leaf(path: str, attribute: str, dangling: str, parents: Parents) -> Rewrite:
    with_ids = [name for name in parents.new_id if parents.entries[name].model.id is not None]
    leaves = {name: _id_leaf(path, name, dangling, parents) for name in with_ids}

    def leaf(value: dict, item: dict, found: list[Found], unreadable: list[str]) -> dict:
        named = leaves.get(item.get(attribute, NULL).get("S"))
        if named:
            return named(value, item, found, unreadable)
        if next(iter(value)) in SCALARS and not is_empty(value):
            found.append(Found(path, None, None, None))
            return value
        return left(value, path, unreadable)

    return leaf


def _choosing_leaf(path: str, places: tuple[templates.Parts, ...], leaves: list[Rewrite], parents: Parents) -> Rewrite:
    """Goes by the first place whose entry has the id; where none has, by the first that the value fits."""
    holders = [_holder(parts, parents) for parts in places]

    def leaf(value: dict, item: dict, found: list[Found], unreadable: list[str]) -> dict:
        if is_empty(value):
            return value
        held = [holds(value) for holds in holders]
        if held.count(True) > 1:
            unreadable.append(Several(path))
        best = next(answer for answer in (True, False, NO_KEY, None) if answer in held)
        return leaves[held.index(best)](value, item, found, unreadable)

    return leaf


def _holder(parts: templates.Parts, parents: Parents) -> Callable[[dict], bool | str | None]:
    """A function from a value to whether the source holds all ids in it; NO_KEY where no key of the entry's can be one of
    them, None where the value does not fit the text."""
    read, names = templates.reader(parts), [hole.name for hole in templates.holes(parts)]
    is_text = any(isinstance(part, str) for part in parts)

    def holds(value: dict) -> bool | str | None:
        try:
            if is_text:
                pieces = read(value.get("S", ""))
                if pieces is None:
                    return None
                ids = [(n, {"S": piece}) for n, piece in zip(names, pieces, strict=True) if n != templates.ANY]
            else:
                ids = [(names[0], value)]
            return all(parents.exists(name, _as_id(old, parents.id_type[name])) for name, old in ids)
        except ValueError:
            return NO_KEY

    return holds


def _one_id_leaf(path: str, parts: templates.Parts, dangling: str, parents: Parents) -> Rewrite:
    """`_text_leaf` where the template holds one id: nearly all do, and this takes half the time."""
    find, (hole,) = templates.finder(parts), templates.entries(parts)
    parent, id_leaf = hole.name, _id_leaf(path, hole.name, dangling, parents)
    known = {} if dangling in ASKING else remembering(parents, parent)[0]

    def leaf(value: dict, item: dict, found: list[Found], unreadable: list[str]) -> dict:
        text = value.get("S")
        place = find(text) if text else None
        if place is None:
            return left(value, path, unreadable)
        start, end = place
        old = text[start:end]
        if pair := known.get(old):  # what `id_leaf` would do, without a call
            new, link = pair
            found.append(_found((path, parent, {"S": old}, new, link)))
        else:
            new = id_leaf({"S": old}, item, found, unreadable)
        return {"S": text[:start] + new["S"] + text[end:]} if "S" in new else new

    return leaf


def _text_leaf(path: str, parts: templates.Parts, dangling: str, parents: Parents) -> Rewrite:
    read, write = templates.reader(parts), templates.writer(parts)
    leaves = [
        _as_it_is if hole.name == templates.ANY else _id_leaf(path, hole.name, dangling, parents)
        for hole in templates.holes(parts)
    ]

    def leaf(value: dict, item: dict, found: list[Found], unreadable: list[str]) -> dict:
        pieces = read(value.get("S", ""))
        if pieces is None:
            return left(value, path, unreadable)
        olds = zip(leaves, pieces, strict=True)
        new = [id_leaf({"S": old}, item, found, unreadable) for id_leaf, old in olds]
        for nothing in (NULL, GONE):
            if nothing in new:
                return nothing
        return {"S": write([one["S"] for one in new])}

    return leaf


def _as_it_is(value: dict, item: dict, found: list[Found], unreadable: list[str]) -> dict:
    return value


def _as_id(value: dict, letter: str | None) -> dict:
    """The value as an id of this type. Raises ValueError where it cannot be one: base64 is no text id."""
    if letter == "S" and "B" in value:
        raise ValueError("no id of type S")
    return _as_type(value, letter)


def _as_type(value: dict, letter: str | None) -> dict:
    """The id as another key type. Raises ValueError unless that is exact and reversible."""
    ((own, content),) = value.items()
    if letter is None or own == letter:
        return value
    if letter == "S" and own in ("N", "B"):
        return {"S": text_of(value)}
    if own == "S" and letter == "N" and canonical_number(content) == content:
        return {"N": content}
    if own == "S" and letter == "B" and key_bytes({"B": content}):
        return {"B": content}
    raise ValueError(f"no id of type {letter}")
