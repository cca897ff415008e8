"""Rewriting of references: every id at a path becomes the new id of the item it names. Pure.

An id is read as its parent's key type (so a number kept as text still finds its parent) and put back in the form in
which it stood. What cannot be read as an id stays as it is and is counted.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from . import templates
from .jsontext import EACH, JSON, NotJson, quote, rewrite
from .mapping import Entry
from .values import SCALARS, SETS, canonical_number, is_empty, key_bytes, text_of

NULL = {"NULL": True}


class Found(NamedTuple):
    """One reference in one item: `parent` and `old` are None where no entry could be told."""

    path: str
    parent: str | None
    old: dict | None
    new: dict | None


@dataclass
class Finds:
    """What rewriting one item found."""

    references: list[Found] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)  # paths whose value is no id, not JSON, or matches no template


@dataclass(frozen=True)
class Parents:
    """What rewriting needs to know of the entries that are referred to."""

    new_id: Mapping[str, Callable[[dict], dict]]
    id_type: Mapping[str, str | None]  # S, N or B where the id is a key of the source table, else None
    exists: Callable[[str, dict], bool] = lambda entry, old: True  # asked only for `dangling: keep` and `null`


Leaf = Callable[[dict, dict, Finds], dict]


def compile_references(entry: Entry, parents: Parents) -> Callable[[dict, dict, Finds], None]:
    """A function (item, copy, finds) that rewrites the references in `copy` and notes them in `finds`."""
    rewrites = []
    for path, steps in entry.paths.items():
        rule, parts = entry.model.references[path], entry.references_to[path]
        if not parts:
            leaf = _named_leaf(path, rule.table_named_by, rule.dangling, parents)
        elif len(parts) == 1 and isinstance(parts[0], templates.Hole):
            leaf = _id_leaf(path, parts[0].name, rule.dangling, parents)
        else:
            leaf = _text_leaf(path, parts, rule.dangling, parents)
        rewrites.append((path, steps[0], steps[1:], leaf))

    def rewrite_all(item: dict, copy: dict, finds: Finds) -> None:
        for path, name, steps, leaf in rewrites:
            value = copy.get(name)
            if value is not None and not is_empty(value):
                copy[name] = _rewrite(value, steps, path, leaf, item, finds)

    return rewrite_all


def _rewrite(value: dict, steps: tuple, path: str, leaf: Leaf, item: dict, finds: Finds) -> dict:
    """The value with its leaves at `steps` replaced; never changes `value` itself."""
    if is_empty(value):
        return value
    if not steps:
        return leaf(value, item, finds)
    ((letter, content),) = value.items()
    step, rest = steps[0], steps[1:]
    if step is EACH:
        if letter == "L":
            return {"L": [_rewrite(member, rest, path, leaf, item, finds) for member in content]}
        if letter in SETS and not rest:
            return _rewrite_set(letter, content, leaf, item, finds)
    elif step is JSON:
        if letter == "S":
            return _rewrite_json(content, rest, path, leaf, item, finds)
    elif letter == "M":
        if step not in content:
            return value
        return {"M": {**content, step: _rewrite(content[step], rest, path, leaf, item, finds)}}
    finds.unreadable.append(path)
    return value


def _rewrite_set(letter: str, members: list, leaf: Leaf, item: dict, finds: Finds) -> dict:
    kind = SETS[letter]
    rewritten = [leaf({kind: member}, item, finds) for member in members]
    kept = list(dict.fromkeys(value[kind] for value in rewritten if kind in value))
    return {letter: kept} if kept else NULL  # a set cannot be empty


def _rewrite_json(text: str, steps: tuple, path: str, leaf: Leaf, item: dict, finds: Finds) -> dict:
    inside = Finds()

    def replace(content: str | None, is_number: bool) -> str | None:
        if content is None:
            inside.unreadable.append(path)
            return None
        value = {"N": content} if is_number else {"S": content}
        new = leaf(value, item, inside)
        if new == value:
            return None
        if new == NULL:
            return "null"
        return new["N"] if "N" in new else quote(new["S"], text)

    try:
        new_text = rewrite(text, steps, replace)
    except NotJson:
        finds.unreadable.append(path)
        return {"S": text}
    finds.references += inside.references
    finds.unreadable += inside.unreadable
    return {"S": new_text}


def _id_leaf(path: str, parent: str, dangling: str, parents: Parents) -> Leaf:
    new_id, id_type = parents.new_id[parent], parents.id_type[parent]

    def leaf(value: dict, item: dict, finds: Finds) -> dict:
        if next(iter(value)) not in SCALARS:
            finds.unreadable.append(path)
            return value
        try:
            old = _as_type(value, id_type)
            new = _as_type(new_id(old), next(iter(value)))
        except ValueError:  # no item of the parent can have this id
            finds.references.append(Found(path, None, None, None))
            return value
        if dangling in ("keep", "null") and not parents.exists(parent, old):
            new = value if dangling == "keep" else NULL
        finds.references.append(Found(path, parent, old, new))
        return new

    return leaf


def _named_leaf(path: str, attribute: str, dangling: str, parents: Parents) -> Leaf:
    leaves = {name: _id_leaf(path, name, dangling, parents) for name in parents.new_id}

    def leaf(value: dict, item: dict, finds: Finds) -> dict:
        named = leaves.get(item.get(attribute, NULL).get("S"))
        if named:
            return named(value, item, finds)
        finds.references.append(Found(path, None, None, None))
        return value

    return leaf


def _text_leaf(path: str, parts: tuple, dangling: str, parents: Parents) -> Leaf:
    shortest, longest = templates.matcher(parts)
    leaves = [_id_leaf(path, hole.name, dangling, parents) for hole in templates.holes(parts)]

    def leaf(value: dict, item: dict, finds: Finds) -> dict:
        text = value.get("S", "")
        match, other = shortest.fullmatch(text), longest.fullmatch(text)
        if not match or match.groups() != other.groups():
            finds.unreadable.append(path)
            return value
        new = [id_leaf({"S": old}, item, finds) for id_leaf, old in zip(leaves, match.groups(), strict=True)]
        if NULL in new:
            return NULL
        ids = iter(new)
        return {"S": "".join(next(ids)["S"] if isinstance(part, templates.Hole) else part for part in parts)}

    return leaf


def _as_type(value: dict, letter: str | None) -> dict:
    """The id in the form of another key type, where that is exact and can be turned back; else ValueError."""
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
