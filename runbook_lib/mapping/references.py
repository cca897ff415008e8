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
from typing import NamedTuple

from ..errors import NotJson
from ..values import SCALARS, SETS, canonical_number, is_empty, key_bytes, text_of
from . import templates
from .ids import id_hash, id_head
from .json_text import EACH, JSON, TAKE_OUT, Paths, quote, rewrite_all
from .model import ASKING, Entry, NamedBy

NULL = {"NULL": True}
GONE: dict = {}  # no typed value: what a leaf returns where it leaves out the attribute, the member or the element
LINK_BYTES = 8  # enough to count by
NOWHERE = b"\0" * LINK_BYTES
REMEMBERED = 5000  # ids of each parent


class Found(NamedTuple):
    """One reference in one item: `parent`, `old` and `new` are None where the entry is unknown."""

    path: str
    parent: str | None
    old: dict | None
    new: dict | None
    link: bytes = NOWHERE  # a hash of parent and old id


_found = partial(tuple.__new__, Found)  # the same in half the time


@dataclass(frozen=True)
class Parents:
    """What rewriting needs to know about the referenced entries."""

    new_id: Mapping[str, Callable[[dict], dict]]
    id_type: Mapping[str, str | None]  # S, N or B where the id is a key of the source table, else None
    exists: Callable[[str, dict], bool] = lambda entry, old: True  # asked only where `dangling` is one of model.ASKING
    entries: Mapping[str, Entry] = field(default_factory=dict)  # whose rules apply inside their records
    known: dict[str, dict[str, tuple[dict, bytes]]] = field(default_factory=dict)  # by old id as text: new id, link


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


# (value, source item, references found, paths whose value is no id, not JSON, or matches no template) -> new value
Rewrite = Callable[[dict, dict, list[Found], list[str]], dict]
Path = tuple[tuple, str, Rewrite]  # steps, as written, what to do with the values at its end


def compile_references(entry: Entry, parents: Parents) -> Callable[[dict, dict, list[Found], list[str]], None]:
    """A function (item, copy, found, unreadable) that rewrites the references in `copy` and appends what it found."""
    by_name: dict[str, list[Path]] = defaultdict(list)
    for path, steps in entry.paths.items():
        rule = entry.model.references[path]
        if isinstance(rule.record_of, str):
            by_name[steps[0]] += _record_paths(path, steps[1:], rule.record_of, parents)
        elif rule.record_of is None:
            by_name[steps[0]].append((steps[1:], path, _leaf(path, entry, path, parents)))
    rewrites = [(name, rewrite) for name, paths in by_name.items() for rewrite in _walkers(paths)]
    rewrites += [
        (steps[0], _named_record(path, steps[1:], entry.model.references[path].named_by, parents))
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


def _leaf(path: str, entry: Entry, rule_path: str, parents: Parents) -> Rewrite:
    """What the rule of an entry for `rule_path` does with the values at its end; it counts them for `path`."""
    rule, parts = entry.model.references[rule_path], entry.references_to[rule_path]
    if not parts:
        return _named_leaf(path, rule.table_named_by, rule.dangling, parents)
    if len(parts) == 1 and isinstance(parts[0], templates.Hole):
        return _id_leaf(path, parts[0].name, rule.dangling, parents)
    return _text_leaf(path, parts, rule.dangling, parents)


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
            _id_leaf(path, name, "map", parents) if rule is None else _leaf(path, entry, rule, parents),
        )
        for inner, rule in paths_in_record(entry)
    ]


def _named_record(path: str, steps: tuple, attribute: str, parents: Parents) -> Rewrite:
    """Rewrites a record by the rules of the entry that another attribute names. Another name counts as dangling."""
    of = {name: _walkers(_record_paths(path, steps, name, parents)) for name in parents.entries}

    def rewrite_record(value: dict, item: dict, found: list[Found], unreadable: list[str]) -> dict:
        name = item.get(attribute, NULL).get("S")
        if name not in of and not is_empty(value):
            found.append(Found(path, None, None, None))
        for rewrite in of.get(name, ()):
            value = rewrite(value, item, found, unreadable)
        return value

    return rewrite_record


def _walkers(paths: list[Path]) -> list[Rewrite]:
    """Functions to apply in order; together they return a value with its leaves at these paths replaced."""
    if len(paths) > 1 and all(steps and steps[0] is JSON for steps, _, _ in paths):
        try:
            return [_inside_json(paths)]
        except ValueError:  # one path ends where another continues: the first decides what the other finds
            pass
    return [_walker(*path) for path in paths]


def _walker(steps: tuple, path: str, leaf: Rewrite) -> Rewrite:
    if not steps:
        return leaf
    if steps[0] is JSON:
        return _inside_json([(steps, path, leaf)])
    return (_each if steps[0] is EACH else _member)(steps, path, leaf)


def _each(steps: tuple, path: str, leaf: Rewrite) -> Rewrite:
    at_end, rewrite_member = len(steps) == 1, _walker(steps[1:], path, leaf)

    def rewrite_each(value: dict, item: dict, found: list[Found], unreadable: list[str]) -> dict:
        members = value.get("L")
        if members:
            return {"L": [new for one in members if (new := rewrite_member(one, item, found, unreadable))]}
        ((letter, content),) = value.items()
        if letter in SETS and content and at_end:
            return _rewrite_set(letter, content, leaf, item, found, unreadable)
        return _left(value, path, unreadable)

    return rewrite_each


def _member(steps: tuple, path: str, leaf: Rewrite) -> Rewrite:
    step, rewrite_member = steps[0], _walker(steps[1:], path, leaf)

    def rewrite_inside(value: dict, item: dict, found: list[Found], unreadable: list[str]) -> dict:
        members = value.get("M")
        if not members:
            return _left(value, path, unreadable)
        member = members.get(step)
        if member is None:
            return value
        new = rewrite_member(member, item, found, unreadable)
        return {"M": {**members, step: new} if new else {name: one for name, one in members.items() if name != step}}

    return rewrite_inside


def _left(value: dict, path: str, unreadable: list[str]) -> dict:
    """The value unchanged: it is not what its path expects. Counted as unreadable unless it is empty."""
    if not is_empty(value):
        unreadable.append(path)
    return value


def _rewrite_set(
    letter: str, members: list, leaf: Rewrite, item: dict, found: list[Found], unreadable: list[str]
) -> dict:
    kind = SETS[letter]
    rewritten = [leaf({kind: member}, item, found, unreadable) for member in members]
    kept = list(dict.fromkeys(value[kind] for value in rewritten if kind in value))
    if kept:
        return {letter: kept}
    return GONE if GONE in rewritten else NULL  # a set cannot be empty


def _inside_json(inside: list[Path]) -> Rewrite:
    """Rewrites several paths into the JSON text at one place, in one pass over the text."""
    paths = Paths((number, steps[1:]) for number, (steps, _, _) in enumerate(inside))
    at_all = list(dict.fromkeys(path for _, path, _ in inside))

    def rewrite_json(value: dict, item: dict, found: list[Found], unreadable: list[str]) -> dict:
        text = value.get("S")
        if not text:
            for path in at_all:
                _left(value, path, unreadable)
            return value
        found_at: dict[int, list[Found]] = defaultdict(list)
        unreadable_at: dict[int, list[str]] = defaultdict(list)

        def replace(number: int, content: str | None, is_number: bool) -> str | None:
            _, path, leaf = inside[number]
            if content is None:
                unreadable_at[number].append(path)
                return None
            old = {"N": content} if is_number else {"S": content}
            new = leaf(old, item, found_at[number], unreadable_at[number])
            if new == old:
                return None
            if new in (NULL, GONE):
                return "null" if new else TAKE_OUT
            return new["N"] if "N" in new else quote(new["S"], text)

        try:
            new_text = rewrite_all(text, paths, replace)
        except NotJson:
            unreadable += at_all
            return value
        for number in sorted(found_at):
            found += found_at[number]
        for number in sorted(unreadable_at):
            unreadable += unreadable_at[number]
        return {"S": new_text} if new_text else GONE

    return rewrite_json


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
            return _left(value, path, unreadable)
        try:
            old = _as_type(value, id_type)
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
    leaves = {name: _id_leaf(path, name, dangling, parents) for name in parents.new_id}

    def leaf(value: dict, item: dict, found: list[Found], unreadable: list[str]) -> dict:
        named = leaves.get(item.get(attribute, NULL).get("S"))
        if named:
            return named(value, item, found, unreadable)
        if not is_empty(value):
            found.append(Found(path, None, None, None))
        return value

    return leaf


def _text_leaf(path: str, parts: tuple, dangling: str, parents: Parents) -> Rewrite:
    read = templates.reader(parts)
    leaves = [_id_leaf(path, hole.name, dangling, parents) for hole in templates.holes(parts)]

    def leaf(value: dict, item: dict, found: list[Found], unreadable: list[str]) -> dict:
        pieces = read(value.get("S", ""))
        if pieces is None:
            return _left(value, path, unreadable)
        olds = zip(leaves, pieces, strict=True)
        new = [id_leaf({"S": old}, item, found, unreadable) for id_leaf, old in olds]
        for nothing in (NULL, GONE):
            if nothing in new:
                return nothing
        ids = iter(new)
        return {"S": "".join(next(ids)["S"] if isinstance(part, templates.Hole) else part for part in parts)}

    return leaf


def _as_type(value: dict, letter: str | None) -> dict:
    """The id as another key type. Raises ValueError unless that is exact and reversible."""
    ((own, content),) = value.items()
    if letter is None or own == letter:
        return value
    text = text_of(value)
    if letter == "S" and own in ("N", "B"):
        return {"S": text}
    if own == "S" and letter == "N" and canonical_number(content) == content:
        return {"N": content}
    if own == "S" and letter == "B" and key_bytes({"B": content}):
        return {"B": content}
    raise ValueError(f"no id of type {letter}")
