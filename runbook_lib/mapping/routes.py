"""Routes: mapping entries compiled to pure functions from a source item to a target item, or to a rejection with its reason.

The dry run, the migration and the validation all call the same route, so the others do what one shows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from ..errors import Quarantine, Refused
from ..values import (
    MAX_ITEM_BYTES,
    MAX_KEY_BYTES,
    MAX_LEVELS,
    SCALARS,
    digest_of,
    has_expired,
    is_empty,
    key_bytes,
    key_hash,
    key_text,
    levels,
    serialize,
    size,
    text_of,
)
from . import conditions
from .fields import Build, compile_fields
from .ids import FORMATS, KEEP, fits, id_function
from .model import Entry
from .references import Matching, Parents, Several, compile_references, remembering, reusing
from .text import templates
from .transform import compile_transform
from .walkers import Found, left, taking_out

Key = tuple[tuple[str, str], ...]  # attribute and type letter, partition key first


@dataclass(slots=True)
class Row:
    """One item on its way: what is written, under which key, and how it is recognised.

    Its item shares the parts that no rule rewrites with the source item, so neither is ever changed in place.
    """

    entry: str
    source: dict  # the source item
    source_key: dict
    key: dict
    item: dict
    raw: bytes  # the item, serialized once
    digest: str
    old: dict | None  # the id as a typed value; None where the item has none
    old_id: str
    new_id: str
    references: list[Found]
    unreadable: list[str]  # reference paths that could not be read
    sparse: list[str]  # index key attributes left out
    link: bytes | None = None  # a hash of the id, as references to it have one; None where it is to be made
    values: bytes | None = None  # `serialize_values` of the item, where it is to be inserted
    fell_back: Sequence[str] = ()  # fields whose value did not convert, by `on_error: default` or `rest`
    several: Sequence[str] = ()  # reference paths whose value is an id of several entries
    before: dict | None = None  # the item before the transform, where that has changed it
    _key_hash: bytes | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def key_hash(self) -> bytes:
        """16 bytes that identify the key within its table."""
        if self._key_hash is None:
            self._key_hash = key_hash(self.key)
        return self._key_hash


class Reject(NamedTuple):
    """An item that is not written: quarantined, with the attribute and the reason (which quotes no value)."""

    entry: str
    source_key: dict
    attribute: str
    reason: str
    stop: bool = False  # the rule says `on_error: stop`
    old: dict | None = None  # the id as a typed value
    references: tuple[Found, ...] = ()


class Matched(NamedTuple):
    """An item that is not written: the target has an item with the same values, which stays as it is and lends it its id."""

    entry: str
    source_key: dict
    key: dict  # of the target's item
    old: dict  # the id as a typed value
    old_id: str
    new_id: str
    by: bytes  # the hash of the values that both have
    references: tuple[Found, ...] = ()  # none: they are not written either


@dataclass(frozen=True)
class Shape:
    """The keys of an entry's two tables, where the tables exist."""

    source_key: Key
    target_key: Key
    index_keys: Mapping[str, str]  # index key attribute -> type letter
    index_sort_keys: frozenset[str] = frozenset()  # the sort keys of the indexes


@dataclass(frozen=True)
class Route:
    """A compiled entry."""

    entry: Entry
    shape: Shape
    selects: Callable[[dict], bool]
    takes: Callable[
        [dict], bool
    ]  # selects it, and does not leave it out: the same function where it leaves nothing out
    writes: Callable[[dict], bool]  # takes it, and the target has none in its place: likewise
    route: Callable[[dict], Row | Reject | Matched | None]  # None: `expired: skip` leaves it out
    id_of: Callable[[dict], dict | None]  # source item -> its id as a typed value
    key_of: Callable[[dict], dict | None]  # source item -> its target key; None without one, or if quarantined for it
    references_of: Callable[[dict], tuple[list[Found], list[str]]]  # source item -> its references; unreadable paths


def parents_of(
    entries: Mapping[str, Entry],
    shapes: Mapping[str, Shape],
    environment: str,
    exists: Callable[[str, dict], bool] | None = None,
    matched: Callable[[str, dict], Matching | None] | None = None,
) -> Parents:
    """What references need to know about every entry. Raises Refused where an id format does not fit a key's type."""
    types = {}
    for name, entry in entries.items():
        inside = bool(entry.id_parts)
        types[name] = dict(shapes[name].source_key).get(entry.model.id) if name in shapes else None
        if inside and types[name] not in ("S", None):
            raise Refused(
                f"{name}: id stands inside {entry.model.id!r}, a key of {entry.source} of type {types[name]}, not text; "
                f"write `id: {entry.model.id}`."
            )
        types[name] = "S" if inside else types[name]
        if types[name] and types[name] not in fits(entry.model.id_format, within_text=inside):
            fitting = " or ".join(f for f, letters in FORMATS.items() if types[name] in letters)
            raise Refused(
                f"{name}: id_format {entry.model.id_format} does not fit {entry.source}, whose key attribute "
                f"{entry.model.id!r} has type {types[name]}; use {fitting}."
            )
    minters = {
        name: id_function(
            environment,
            name,
            entry.model.id_format if entry.model.makes_ids else KEEP,
            within_text=bool(entry.id_parts),
        )
        for name, entry in entries.items()
    }
    if matched:
        minters |= {
            name: reusing(minters[name], partial(matched, name))
            for name, entry in entries.items()
            if entry.model.reuses
        }
    return Parents(minters, types, exists or Parents.exists, entries=entries, matched=matched or Parents.matched)


def compile_route(entry: Entry, shape: Shape, parents: Parents) -> Route:
    """The route of an entry. Pure; the functions in it never change the item they are given."""
    name, id_attribute, new_id = entry.name, entry.model.id, parents.new_id[entry.name]
    id_of, put_id = _compile_id(entry)
    rewrite = compile_references(entry, parents) if entry.paths else None
    build, build_key = _compile_build(entry, shape), _compile_build(entry, shape, keys_only=True)
    source_key_of, key_of = _attributes_of(shape.source_key), _attributes_of(shape.target_key)
    transform = compile_transform(entry, dict(shape.target_key))
    check_keys = _compile_key_check(shape)
    known, remember = remembering(parents, name)
    is_inside = bool(entry.id_parts)
    may_be_several = any(
        rule.record_of or len(entry.references_to[path]) > 1 for path, rule in entry.model.references.items()
    )
    rewrites_nothing = rewrite is None and not entry.model.renews_ids

    def key_of_source(item: dict) -> dict | None:
        old, target = id_of(item), item if rewrites_nothing else item.copy()
        try:
            if old is not None and not rewrites_nothing:
                put_id(target, _mint(new_id, old, id_attribute))
            if rewrite is not None:
                rewrite(item, target, [], [])
            if build_key is not None:
                target, _, _ = build_key(target)
            check_keys(target)
        except Quarantine:
            return None
        return key_of(target)

    def references_of(item: dict) -> tuple[list[Found], list[str]]:
        found: list[Found] = []
        unreadable: list[str] = []
        target, old = item.copy(), id_of(item)
        try:
            if old is not None:
                put_id(target, _mint(new_id, old, id_attribute))
            elif is_inside and id_attribute in item:
                left(item[id_attribute], id_attribute, unreadable)
            if rewrite is not None:
                rewrite(item, target, found, unreadable)
        except Quarantine:
            pass  # as far as the route comes with it
        return found, unreadable

    def route(item: dict) -> Row | Reject:
        source_key, old = source_key_of(item), id_of(item)
        found: list[Found] = []
        unreadable: list[str] = []
        sparse: list[str] = []
        link, fell_back = None, ()
        try:
            target = item.copy()
            if old is not None:
                text = old.get("S")
                if text is None:
                    new = _mint(new_id, old, id_attribute)
                else:
                    new, link = known.get(text) or _mint(remember, old, id_attribute)
                put_id(target, new)
            elif is_inside and id_attribute in item:
                left(item[id_attribute], id_attribute, unreadable)
            if rewrite is not None:
                rewrite(item, target, found, unreadable)
            if build is not None:
                target, sparse, fell_back = build(target)
            if transform is not None:
                before, target = target, transform(target)
            check_keys(target)
            raw = serialize(target)
            digest = _digest(target, raw)
        except Quarantine as problem:
            return Reject(name, source_key, problem.attribute, problem.reason, problem.stop, old, tuple(found))
        key = key_of(target)
        if old is None:
            old_id, new_id_ = key_text(source_key), key_text(key)
        else:
            old_id, new_id_ = old.get("S") or text_of(old), new.get("S") or text_of(new)
        row = Row(
            name, item, source_key, key, target, raw, digest, old, old_id, new_id_, found, unreadable, sparse, link
        )
        if fell_back:
            row.fell_back = fell_back
        if transform is not None and target is not before:
            row.before, row.sparse = before, [name for name in sparse if name not in target]
        if may_be_several:
            row.several = [str(path) for path in unreadable if isinstance(path, Several)]
            row.unreadable = [path for path in unreadable if not isinstance(path, Several)]
        return row

    def match_of(item: dict) -> Matching | None:
        old = id_of(item)
        match = None if old is None else parents.matched(name, old)
        return match if match and match.source_key_hash == key_hash(source_key_of(item)) else None

    def route_unmatched(item: dict) -> Row | Reject | Matched:
        match = match_of(item)
        if match is None:
            return route(item)
        old_id, new_id_ = text_of(id_of(item)), text_of(match.new)
        return Matched(name, source_key_of(item), match.target_key, id_of(item), old_id, new_id_, match.by)

    selects = takes = conditions.holds(entry.conditions)
    made = route_unmatched if entry.model.reuses else route
    makes = made
    if expires := entry.expires:
        takes, makes = (
            lambda item: selects(item) and not has_expired(item, *expires),
            lambda item: None if has_expired(item, *expires) else made(item),
        )
    writes = (lambda item: takes(item) and match_of(item) is None) if entry.model.reuses else takes
    return Route(entry, shape, selects, takes, writes, makes, id_of, key_of_source, references_of)


def _compile_id(entry: Entry) -> tuple[Callable[[dict], dict | None], Callable[[dict, dict], None]]:
    """A function from an item to its id as a typed value, or None; and one that puts a new id in the place of the old one."""
    attribute, parts = entry.model.id, entry.id_parts

    def id_of(item: dict) -> dict | None:
        value = item.get(attribute)
        if value is None or value.get("S"):
            return value
        return value if next(iter(value)) in SCALARS and not is_empty(value) else None

    def put_id(target: dict, new: dict) -> None:
        target[attribute] = new

    if not parts:
        return id_of, put_id
    find, last = templates.finder(parts), ("", None)

    def id_inside(item: dict) -> dict | None:
        nonlocal last
        text = item.get(attribute, {}).get("S")
        place = find(text) if text else None
        last = text, place
        return {"S": text[place[0] : place[1]]} if place else None

    def put_inside(target: dict, new: dict) -> None:
        text = target[attribute]["S"]
        known, place = last  # of another item where another thread has read one since
        start, end = place if known is text else find(text)
        target[attribute] = {"S": text[:start] + new["S"] + text[end:]}

    return id_inside, put_inside


def _attributes_of(key: Key) -> Callable[[dict], dict]:
    """A function from an item to its key."""
    names = [name for name, _ in key]
    if len(names) == 1:
        (only,) = names
        return lambda item: {only: item[only]}
    partition, sort = names
    return lambda item: {partition: item[partition], sort: item[sort]}


def _mint(new_id: Callable[[dict], Any], old: dict, attribute: str) -> Any:
    try:
        return new_id(old)
    except ValueError as problem:
        raise Quarantine(attribute, str(problem)) from None


def _digest(item: dict, raw: bytes) -> str:
    # Every level is a list or a map, and of two at least one is a list, or a map that has a name: to count those is cheap.
    if 2 * (raw.count(b':{"M":{') + raw.count(b"[")) >= MAX_LEVELS and levels(item) > MAX_LEVELS:
        raise Quarantine("", f"the target item is nested more than {MAX_LEVELS} levels deep")
    try:
        # The serialized form is never shorter than what DynamoDB counts, so small items need no exact count.
        if len(raw) > MAX_ITEM_BYTES and (bytes_ := size(item)) > MAX_ITEM_BYTES:
            raise Quarantine("", f"the target item is {bytes_:,} bytes; DynamoDB takes {MAX_ITEM_BYTES:,}")
        return digest_of(item, raw)
    except ValueError as problem:
        raise Quarantine("", f"it holds {problem}") from None


def _compile_build(entry: Entry, shape: Shape, *, keys_only: bool = False) -> Build | None:
    """The function that builds the target item from the rewritten copy; None where the copy is the target item."""
    if entry.model.fields is not None:
        key_names = {name for name, _ in shape.target_key}
        return compile_fields(entry, key_names, shape.index_keys, keys_only=keys_only)
    take_out = taking_out(steps for steps in entry.drops if len(steps) > 1)
    if take_out is None and not entry.dropped:
        return None
    drop, take_out = entry.dropped, take_out or (lambda copy: copy)
    return lambda copy: ({name: value for name, value in take_out(copy).items() if name not in drop}, [], ())


def _compile_key_check(shape: Shape) -> Callable[[dict], None]:
    checks = [
        (name, letter, f"the target's {role} key", MAX_KEY_BYTES[role], True)
        for role, (name, letter) in zip(("partition", "sort"), shape.target_key, strict=False)
    ]
    for name, letter in shape.index_keys.items():
        if name not in dict(shape.target_key):
            role = "sort" if name in shape.index_sort_keys else "partition"
            checks.append((name, letter, "an index key of the target", MAX_KEY_BYTES[role], False))

    # Text up to a quarter of the limit always fits, because a character has at most 4 bytes. Numbers and binary get a full check.
    sure = [(*one, one[3] // 4 if one[1] == "S" else 0) for one in checks]

    def check(target: dict) -> None:
        for name, letter, what, limit, is_needed, enough in sure:
            value = target.get(name)
            if value is not None:
                text = value.get(letter)
                if not text or len(text) > enough:
                    _check_key_value(name, letter, value, what, limit)
            elif is_needed:
                raise Quarantine(name, f"{what} is absent")

    return check


def _check_key_value(name: str, letter: str, value: dict, what: str, limit: int) -> None:
    if letter not in value:
        raise Quarantine(name, f"{what} has type {letter}, the value {next(iter(value))}")
    try:
        length = len(key_bytes(value)[1])
    except ValueError as problem:
        raise Quarantine(name, f"{what} is {problem}") from None
    if not length:
        raise Quarantine(name, f"{what} is empty")
    if letter != "N" and length > limit:
        raise Quarantine(name, f"{what} is {length:,} bytes; DynamoDB takes {limit:,}")
