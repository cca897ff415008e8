"""Routes: mapping entries compiled to pure functions from a source item to a target item, or to a reason why not.

The dry run, the migration and the validation all call the same route, so what one shows the others do.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from . import templates
from .convert import convert
from .errors import Refused
from .ids import FORMATS, id_function
from .mapping import Entry, FieldRule, default_of
from .references import Finds, Found, Parents, compile_references
from .values import (
    MAX_ITEM_BYTES,
    MAX_KEY_BYTES,
    MAX_LEVELS,
    SCALARS,
    canonical_number,
    digest_of,
    equal,
    from_python,
    is_empty,
    key_bytes,
    key_text,
    levels,
    serialize,
    size,
    text_of,
)

Key = tuple[tuple[str, str], ...]  # attribute and type letter, partition key first
NO_DATE = "not an ISO 8601 date"


class Row(NamedTuple):
    """One item on its way: what is written, under which key, and how it is recognised."""

    entry: str
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


class Reject(NamedTuple):
    """An item that is not written: quarantined, with the attribute and the reason (which quotes no value)."""

    entry: str
    source_key: dict
    attribute: str
    reason: str
    stop: bool = False  # the rule says `on_error: stop`
    old: dict | None = None  # the id as a typed value
    references: tuple[Found, ...] = ()


@dataclass(frozen=True)
class Shape:
    """The keys of the two tables of an entry, as far as they exist."""

    source_key: Key
    target_key: Key
    index_keys: Mapping[str, str]  # index key attribute -> type letter
    index_sort_keys: frozenset[str] = frozenset()  # those that an index sorts by


@dataclass(frozen=True)
class Route:
    """A compiled entry."""

    entry: Entry
    shape: Shape
    selects: Callable[[dict], bool]
    route: Callable[[dict], Row | Reject]
    id_of: Callable[[dict], dict | None]  # source item -> its id as a typed value


class _Quarantine(Exception):
    def __init__(self, attribute: str, reason: str, stop: bool = False):
        self.attribute, self.reason, self.stop = attribute, reason, stop


def parents_of(entries: Mapping[str, Entry], shapes: Mapping[str, Shape], environment: str, exists=None) -> Parents:
    """What references need to know of every entry. Refused where an id format does not fit a key's type."""
    types = {}
    for name, entry in entries.items():
        types[name] = dict(shapes[name].source_key).get(entry.model.id) if name in shapes else None
        if types[name] and types[name] not in FORMATS[entry.model.id_format]:
            fitting = " or ".join(f for f, letters in FORMATS.items() if types[name] in letters)
            raise Refused(
                f"{name}: id_format {entry.model.id_format} does not fit {entry.source}, whose key attribute "
                f"{entry.model.id!r} has type {types[name]}; use {fitting}."
            )
    minters = {
        # Without an id attribute nothing gets a new id, so that references to it stay as well.
        name: id_function(environment, name, entry.model.id_format if entry.model.id else "keep")
        for name, entry in entries.items()
    }
    return Parents(minters, types, exists) if exists else Parents(minters, types)


def compile_route(entry: Entry, shape: Shape, parents: Parents) -> Route:
    """The route of an entry. Pure; the functions in it never change the item they are given."""
    rewrite = compile_references(entry, parents)
    transform = _compile_fields(entry, shape) if entry.model.fields is not None else _compile_copy(entry)
    new_id, id_attribute = parents.new_id[entry.name], entry.model.id
    source_names = [name for name, _ in shape.source_key]
    check_keys = _compile_key_check(shape)
    target_names = [name for name, _ in shape.target_key]

    def id_of(item: dict) -> dict | None:
        value = item.get(id_attribute)
        return value if value and next(iter(value)) in SCALARS and not is_empty(value) else None

    def route(item: dict) -> Row | Reject:
        source_key = {name: item[name] for name in source_names}
        finds, old = Finds(), id_of(item)
        try:
            copy = dict(item)
            if old is not None:
                copy[id_attribute] = new = _mint(new_id, old, id_attribute)
            rewrite(item, copy, finds)
            target, sparse = transform(copy)
            check_keys(target)
            key = {name: target[name] for name in target_names}
            raw = serialize(target)
            digest = _digest(target, raw)
        except _Quarantine as problem:
            return Reject(
                entry.name, source_key, problem.attribute, problem.reason, problem.stop, old, tuple(finds.references)
            )
        ids = (key_text(source_key), key_text(key)) if old is None else (text_of(old), text_of(new))
        return Row(
            entry.name, source_key, key, target, raw, digest, old, *ids, finds.references, finds.unreadable, sparse
        )

    return Route(entry, shape, _compile_where(entry), route, id_of)


def _mint(new_id: Callable[[dict], dict], old: dict, attribute: str) -> dict:
    try:
        return new_id(old)
    except ValueError as problem:
        raise _Quarantine(attribute, str(problem)) from None


def _digest(item: dict, raw: bytes) -> str:
    containers = raw.count(b'{"M":') + raw.count(b'{"L":')
    if containers >= MAX_LEVELS and levels(item) > MAX_LEVELS:
        raise _Quarantine("", f"the target item is nested more than {MAX_LEVELS} levels deep")
    try:
        # The serialized form is never shorter than what DynamoDB counts, so small items need no exact count.
        if len(raw) > MAX_ITEM_BYTES and (bytes_ := size(item)) > MAX_ITEM_BYTES:
            raise _Quarantine("", f"the target item is {bytes_:,} bytes; DynamoDB takes {MAX_ITEM_BYTES:,}")
        return digest_of(item, raw)
    except ValueError as problem:
        raise _Quarantine("", f"it holds {problem}") from None


def _compile_where(entry: Entry) -> Callable[[dict], bool]:
    wanted = [
        (name, [from_python(choice) for choice in (values if isinstance(values, list) else [values])])
        for name, values in entry.model.where.items()
    ]
    if not wanted:
        return lambda item: True

    def selects(item: dict) -> bool:
        return all(any(equal(item.get(name), choice) for choice in choices) for name, choices in wanted)

    return selects


def _compile_copy(entry: Entry) -> Callable[[dict], tuple[dict, list]]:
    drop = set(entry.model.drop)
    if not drop:
        return lambda copy: (copy, [])
    return lambda copy: ({name: value for name, value in copy.items() if name not in drop}, [])


def _compile_fields(entry: Entry, shape: Shape) -> Callable[[dict], tuple[dict, list]]:
    model = entry.model
    used_up = set(model.drop) | {rule.source for rule in model.fields.values() if rule.source}
    copies = [(name, rule, default_of(rule)) for name, rule in model.fields.items() if rule.source]
    texts = _template_order(model.fields)
    key_names = {name for name, _ in shape.target_key}
    to_map = model.rest if model.rest != "copy" else None
    # With `rest: copy`, a value that does not convert may keep the name that it has in both tables.
    made = {name for name, rule in model.fields.items() if rule.on_error != "rest" or rule.source != name}

    def transform(copy: dict) -> tuple[dict, list]:
        target: dict[str, dict] = {}
        sparse: list[str] = []
        left = {name: value for name, value in copy.items() if name not in used_up}
        for name, rule, default in copies:
            value = _copied(name, rule, default, copy, left)
            if value is not None:
                target[name] = value
        for name, parts in texts:
            text = _filled(name, parts, target, copy, name in key_names)
            if name in shape.index_keys and name not in key_names and not text:
                sparse.append(name)  # an index takes no empty key; without it the item is just not in the index
            elif text is not None:
                target[name] = {"S": text}
        if left:
            _place_rest(left, target, to_map, model.rest, made)
        return target, sparse

    return transform


def _copied(name: str, rule: FieldRule, default: dict, copy: dict, left: dict) -> dict | None:
    value = copy.get(rule.source)
    if value is None or is_empty(value):
        return default if rule.has_default else value
    if rule.type is None:
        return value
    try:
        return convert(value, rule.type)
    except ValueError as problem:
        if rule.on_error == "default":
            return default
        if rule.on_error == "rest":
            left[rule.source] = value
            return None
        raise _Quarantine(rule.source, f"{name} wants a {rule.type}: {problem}", rule.on_error == "stop") from None


def _template_order(fields: Mapping[str, FieldRule]) -> list[tuple[str, tuple]]:
    """Templates, those that others read first."""
    waiting = {name: templates.parse(rule.template) for name, rule in fields.items() if rule.template is not None}
    ordered = []
    while waiting:
        for name, parts in list(waiting.items()):
            if not any(hole.name in waiting and hole.name != name for hole in templates.holes(parts)):
                ordered.append((name, waiting.pop(name)))
    return ordered


def _filled(name: str, parts: tuple, target: dict, copy: dict, is_key: bool) -> str | None:
    text = ""
    for part in parts:
        if not isinstance(part, templates.Hole):
            text += part
            continue
        piece, reason = _hole_text(part, target.get(part.name, copy.get(part.name)))
        if piece is None:
            if is_key or reason == NO_DATE:
                raise _Quarantine(part.name, f"{name} needs it: {reason}")
            return None
        text += piece
    return text


def _hole_text(hole: templates.Hole, value: dict | None) -> tuple[str | None, str]:
    """The text for a hole, or None and the reason."""
    ((letter, content),) = (value or {"NULL": True}).items()
    text, reason = None, "absent" if value is None else "null" if letter == "NULL" else f"type {letter} is no text"
    if letter == "S":
        text = content
    elif letter == "N":
        try:
            text = canonical_number(content)
        except ValueError as problem:
            reason = str(problem)
    elif letter == "BOOL":
        text = "true" if content else "false"
    if text is not None and hole.format:
        text, reason = (templates.format_date(text, hole.format), NO_DATE) if text else (None, "empty")
    return (hole.default if not text and hole.default is not None else text), reason


def _place_rest(left: dict, target: dict, to_map: str | None, rest: str | None, made: Collection[str]) -> None:
    if rest is None:
        raise _Quarantine(min(left), "no rule names this attribute, and the entry has no `rest`")
    if to_map is None:
        for name in left:
            if name in made:
                raise _Quarantine(name, "a field of the same name is made by a rule")
        target.update(left)
        return
    own = left.pop(to_map, {"M": {}})
    if "M" not in own:
        raise _Quarantine(to_map, "it is no map, so that the other attributes cannot be put into it")
    for name in left:
        if name in own["M"]:
            raise _Quarantine(name, f"{to_map} already holds this name")
    target[to_map] = {"M": {**own["M"], **left}}


def _compile_key_check(shape: Shape) -> Callable[[dict], None]:
    roles = list(zip(("partition", "sort"), shape.target_key, strict=False))
    key_names = {name for name, _ in shape.target_key}
    indexed = [(name, letter) for name, letter in shape.index_keys.items() if name not in key_names]

    def check(target: dict) -> None:
        for role, (name, letter) in roles:
            if name not in target:
                raise _Quarantine(name, f"the target's {role} key is absent")
            _check_key_value(name, letter, target[name], f"the target's {role} key", MAX_KEY_BYTES[role])
        for name, letter in indexed:
            if name in target:
                role = "sort" if name in shape.index_sort_keys else "partition"
                _check_key_value(name, letter, target[name], "an index key of the target", MAX_KEY_BYTES[role])

    return check


def _check_key_value(name: str, letter: str, value: dict, what: str, limit: int) -> None:
    if letter not in value:
        raise _Quarantine(name, f"{what} has type {letter}, the value {next(iter(value))}")
    try:
        length = len(key_bytes(value)[1])
    except ValueError as problem:
        raise _Quarantine(name, f"{what} is {problem}") from None
    if not length:
        raise _Quarantine(name, f"{what} is empty")
    if letter != "N" and length > limit:
        raise _Quarantine(name, f"{what} is {length:,} bytes; DynamoDB takes {limit:,}")
