"""Fields: the rules of an entry compiled to a function that builds the target item from the rewritten copy. Pure."""

from collections.abc import Callable, Collection, Mapping, Sequence

from ..errors import Quarantine
from ..values import canonical_number, is_empty
from . import conditions
from .model import Entry, EntryModel, FieldRule, Keys, default_of
from .text import templates
from .text.conversions import TYPES, convert

NO_DATE = "not an ISO 8601 date"
NOTHING = ()

Build = Callable[
    [dict], tuple[dict, list[str], Sequence[str]]
]  # target item, index keys left out, fields that fell back
# (source value, what is left over, names of fields that fell back) -> value of the field
Copied = Callable[[dict | None, dict, list[str]], dict | None]
Piece = Callable[[dict, dict], str | None]  # (target item so far, copy) -> text; None: leave the attribute out


def compile_fields(
    entry: Entry, key_names: Collection[str], index_names: Collection[str], *, keys_only: bool = False
) -> Build:
    """A function from a copy to (target item, index keys left out, fields whose value did not convert and fell back).

    It raises Quarantine and never changes the copy.

    `key_names` are the key attributes of the target table, `index_names` the key attributes of its indexes. With
    `keys_only` it builds only the keys and what they are built from, if rules build them.
    """
    model = entry.model
    keys_only = keys_only and all(
        name in model.fields and model.fields[name].on_error != "rest" for name in key_names
    )  # a key may also come from the rest
    made_of = feeding(model.fields, key_names)[0] if keys_only else model.fields.keys()
    used_up = {*entry.dropped, *(rule.source for rule in model.fields.values() if rule.source)}
    copies = [
        (name, rule.source, _copied(name, rule))
        for name, rule in model.fields.items()
        if rule.source and name in made_of
    ]
    texts = [
        (name, _text(name, parts, model.fields, name in key_names), name in index_names and name not in key_names)
        for name, parts in _template_order(model.fields)
        if name in made_of
    ]
    to_map = model.rest if model.rest != "copy" else None
    # With `rest: copy`, a value that does not convert may keep its name, which is the same in both tables.
    made = {name for name, rule in model.fields.items() if rule.on_error != "rest" or rule.source != name}
    can_fall_back = any(rule.falls_back for rule in model.fields.values())

    def build(copy: dict) -> tuple[dict, list[str], Sequence[str]]:
        target: dict[str, dict] = {}
        sparse: list[str] = []
        fell_back = [] if can_fall_back else NOTHING
        left = {}
        if not keys_only:
            left = copy.copy()
            for name in used_up:
                if name in left:
                    del left[name]
        for name, source, copied in copies:
            value = copy.get(source)
            if copied is not None:
                value = copied(value, left, fell_back)
            if value is not None:
                target[name] = value
        for name, text_of, may_be_absent in texts:
            text = text_of(target, copy)
            if text:
                target[name] = {"S": text}
            elif may_be_absent:
                sparse.append(name)  # an index takes no empty key; without the attribute the item is not in the index
            elif text is not None:
                target[name] = {"S": text}
        if left:
            _place_rest(left, target, to_map, model.rest, made)
        return target, sparse, fell_back

    return build


def unwritable(entry: Entry, keys: Keys) -> str | None:
    """Why the rules can write no item, whatever it holds: where, and what to do. Pure. None where they can write some."""
    return (_no_copy if entry.model.fields is None else _no_item)(entry, keys)


def _no_copy(entry: Entry, keys: Keys) -> str | None:
    for name, letter in keys.target.items():
        if name in entry.dropped:
            return f".drop: leaves out {name}, a key of the target table, which every item needs; remove it there."
        if entry.model.described and keys.source.get(name, letter) != letter:
            return (
                f".create: {name} is a key of type {letter}, in the source it has type {keys.source[name]}, and a copy keeps "
                f"its type; correct it, or convert it in `fields`."
            )
    return None


def _no_item(entry: Entry, keys: Keys) -> str | None:
    model, fields = entry.model, entry.model.fields
    used_up = {*entry.dropped, *(rule.source for rule in fields.values() if rule.source)}
    # What every item has when the fields are made; a condition may also be one that items without the attribute meet.
    left = {*keys.source, *_surely(entry)} - used_up - entry.asking()
    reads = {name: _needs(rule) for name, rule in fields.items()}
    for name in fields.keys() - used_up if model.rest == "copy" else ():
        if name in left or name in _holes(fields[name]):
            return (
                f".fields.{name}: `rest: copy` keeps the source's {name} beside the field of that name, so no item that has it "
                f"can be written; say `{_dropping(model, name)}`: the field can still read it."
            )
    if model.rest is None:
        needed = {hole for name in keys.target for hole in reads.get(name, ()) if hole not in fields or hole == name}
        if names := sorted(left | (needed - used_up)):
            why = "every item has" if left else "a key needs"
            return (
                f".fields: no rule uses up {', '.join(names)}, which {why}, and the entry has no `rest`; copy with "
                f"{{from: …}}, or say `{_dropping(model, *names)}`, or add `rest`."
            )
    for name, letter in {**keys.indexes, **keys.target}.items():
        if name not in fields:
            if name in keys.target and (model.rest != "copy" or name in used_up):
                return f".fields: the key attribute {name!r} of the target is missing; add it."
            continue
        if problem := _no_key(fields[name], letter, keys, name in keys.target):
            return f".fields.{name}: {problem}"
    return None


def _surely(entry: Entry) -> set[str]:
    """The attributes that every item has which the entry selects."""
    return {one.path[0] for one in entry.conditions if any(test.word != conditions.NOT for test in one.tests)}


def _no_key(rule: FieldRule, letter: str, keys: Keys, of_table: bool) -> str | None:
    """Why a rule makes no value for a key of that type."""
    fitting = next((word for word, made in TYPES.items() if made == letter), None)
    fix = f"write {{from: …, type: {fitting}}}" if fitting else "write {from: …} without a type"
    if rule.template is not None and letter != "S":
        return f"is a key of type {letter}, and a template makes text; {fix}."
    if rule.template == "" and of_table:
        return "is a key, which cannot be empty; write some text."
    if rule.type and TYPES[rule.type] != letter:
        return f"is a key of type {letter}, and `type: {rule.type}` makes another; {fix}."
    if rule.source and not rule.type and keys.source.get(rule.source, letter) != letter:
        return (
            f"is a key of type {letter}, and the source's key {rule.source} has type {keys.source[rule.source]}; {fix}."
        )
    return None


def goes_with(name: str, attribute: str, model: EntryModel, *, in_key: bool) -> bool:
    """Whether an attribute of the target has no value, or null, where a source attribute has none.

    `in_key`: of the table; elsewhere a template without text only leaves its attribute out.
    """
    fields = model.fields or {}
    if name not in fields:
        return name == attribute and (model.fields is None or model.rest == "copy")
    if fields[name].source:
        return fields[name].source == attribute and not fields[name].has_default
    return in_key and any(
        hole == attribute if hole == name or hole not in fields else goes_with(hole, attribute, model, in_key=True)
        for hole in _needs(fields[name])
    )


def _needs(rule: FieldRule) -> list[str]:
    """What a rule's template reads and has no default for."""
    return [hole.name for hole in templates.holes(templates.parse(rule.template or "")) if hole.default is None]


def _holes(rule: FieldRule) -> list[str]:
    return [hole.name for hole in templates.holes(templates.parse(rule.template or ""))]


def _dropping(model: EntryModel, *names: str) -> str:
    return f"drop: [{', '.join([*model.drop, *names])}]"


def _copied(name: str, rule: FieldRule) -> Copied | None:
    """The function a `from` rule applies to its value; None where the value is copied unchanged."""
    if rule.type is None and not rule.has_default:
        return None
    wanted, default = TYPES.get(rule.type, "S"), default_of(rule)

    def copied(value: dict | None, left: dict, fell_back: list[str]) -> dict | None:
        # Not empty, and of the wanted type, or text where any type is right.
        if value is not None and value.get(wanted):
            return value
        if value is None or (not value.get("S") and is_empty(value)):
            return default if rule.has_default else value
        if rule.type is None:
            return value
        try:
            return convert(value, rule.type)
        except ValueError as problem:
            if rule.falls_back:
                fell_back.append(name)
            if rule.on_error == "default":
                return default
            if rule.on_error == "rest":
                left[rule.source] = value
                return None
            raise Quarantine(rule.source, f"{name} needs a {rule.type}: {problem}", rule.on_error == "stop") from None

    return copied


def _template_order(fields: Mapping[str, FieldRule]) -> list[tuple[str, tuple]]:
    """Field name and parsed template, in an order in which each comes after the templates it reads."""
    waiting = {name: templates.parse(rule.template) for name, rule in fields.items() if rule.template is not None}
    ordered = []
    while waiting:
        for name, parts in list(waiting.items()):
            if not any(hole.name in waiting and hole.name != name for hole in templates.holes(parts)):
                ordered.append((name, waiting.pop(name)))
    return ordered


def feeding(fields: Mapping[str, FieldRule], names: Collection[str]) -> tuple[set[str], set[str]]:
    """The fields that the named fields are built from, themselves included, and the source attributes they read.

    A template may read other fields.
    """
    found: set[str] = set()
    left, seen = list(names), set()
    while left:
        name = left.pop()
        found.add(name)  # a template reads the source attribute of that name where the field has no value
        if name in seen or name not in fields:
            continue
        seen.add(name)
        if fields[name].source:
            found.add(fields[name].source)
        if fields[name].template is not None:
            left += [hole.name for hole in templates.holes(templates.parse(fields[name].template))]
    return seen, found


def _text(name: str, parts: tuple, fields: Mapping[str, FieldRule], is_key: bool) -> Piece:
    """A function that fills a template."""
    pieces = [_piece(name, hole, fields, is_key) for hole in templates.holes(parts)]
    write = templates.writer(parts)
    if len(parts) == 1 and pieces:
        return pieces[0]
    if not pieces:
        literal = write(())
        return lambda target, copy: literal

    def text_of(target: dict, copy: dict) -> str | None:
        texts = []
        for piece in pieces:
            text = piece(target, copy)
            if text is None:
                return None
            texts.append(text)
        return write(texts)

    return text_of


def _piece(name: str, hole: templates.Hole, fields: Mapping[str, FieldRule], is_key: bool) -> Piece:
    """A function that fills a hole: from the field of that name, else from the source attribute."""
    attribute, is_made = hole.name, hole.name in fields
    dated = templates.date_function(hole.format) if hole.format else None

    def piece(target: dict, copy: dict) -> str | None:
        value = (target.get(attribute) or copy.get(attribute)) if is_made else copy.get(attribute)
        if value is not None and (text := value.get("S")) and (dated is None or (text := dated(text))):
            return text
        text, reason = _hole_text(hole, value)
        if text is None and (is_key or reason == NO_DATE):
            raise Quarantine(attribute, f"{name} needs it: {reason}")
        return text

    return piece


def _hole_text(hole: templates.Hole, value: dict | None) -> tuple[str | None, str]:
    """The text for a hole, or None and the reason."""
    ((letter, content),) = (value or {"NULL": True}).items()
    text, reason = None, "absent" if value is None else "null" if letter == "NULL" else f"type {letter} is not text"
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
        raise Quarantine(min(left), "no rule names this attribute, and the entry has no `rest`")
    if to_map is None:
        for name in left:
            if name in made:
                raise Quarantine(name, "a rule makes a field of the same name")
        target.update(left)
        return
    own = left.pop(to_map, None)
    if own is None:
        target[to_map] = {"M": left}
        return
    if "M" not in own:
        raise Quarantine(to_map, "it is not a map, so the other attributes cannot go into it")
    for name in left:
        if name in own["M"]:
            raise Quarantine(name, f"{to_map} already holds this name")
    target[to_map] = {"M": {**own["M"], **left}}
