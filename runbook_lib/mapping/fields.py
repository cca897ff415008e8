"""Fields: the rules of an entry compiled to a function that builds the target item from the rewritten copy. Pure."""

from collections.abc import Callable, Collection, Mapping, Sequence

from ..errors import Quarantine
from ..values import is_empty
from .model import Entry, FieldRule, default_of
from .text import templates
from .text.conversions import TYPES, text_of_scalar
from .text.derivation import reading
from .text.paths import VALUES, Steps, value_at
from .walkers import taking_out

NO_DATE = "not an ISO 8601 date"
NOTHING = ()

Build = Callable[
    [dict], tuple[dict, list[str], Sequence[str]]
]  # target item, index keys left out, fields that fell back
# (source value, what is left over, names of fields that fell back) -> value of the field
Copied = Callable[[dict | None, dict, list[str]], dict | None]
Taken = Callable[[dict, dict, list[str]], dict | None]  # the same from the whole copy
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
    gone = used_up(entry)
    take_out = taking_out(steps for steps in entry.drops if len(steps) > 1)
    made = {name: rule for name, rule in model.fields.items() if name in made_of}
    constants = {name: rule.constant for name, rule in made.items() if rule.is_constant}
    copies = [(name, rule.uses_up, _copied(name, rule, entry)) for name, rule in made.items() if rule.uses_up]
    nested = [(name, _taken(name, rule, entry)) for name, rule in made.items() if len(rule.steps) > 1]
    texts = [
        (name, _text(name, parts, model.fields, name in key_names), name in index_names and name not in key_names)
        for name, parts in _template_order(model.fields)
        if name in made_of
    ]
    to_map = model.rest if model.rest != "copy" else None
    # With `rest: copy`, a value that does not convert may keep its name, which is the same in both tables.
    named = {name for name, rule in model.fields.items() if rule.on_error != "rest" or rule.uses_up != name}
    can_fall_back = any(rule.falls_back for rule in model.fields.values())

    def build(copy: dict) -> tuple[dict, list[str], Sequence[str]]:
        target: dict[str, dict] = constants.copy()
        sparse: list[str] = []
        fell_back = [] if can_fall_back else NOTHING
        left = {}
        if not keys_only:
            left = copy.copy() if take_out is None else take_out(copy)
            for name in gone:
                if name in left:
                    del left[name]
        for name, source, copied in copies:
            value = copy.get(source)
            if copied is not None:
                value = copied(value, left, fell_back)
            if value is not None:
                target[name] = value
        for name, taken in nested:
            value = taken(copy, left, fell_back)
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
            _place_rest(left, target, to_map, model.rest, named)
        return target, sparse, fell_back

    return build


def used_up(entry: Entry) -> set[str]:
    """The source attributes that do not go to the rest: dropped, or read by a field as a whole."""
    return {*entry.dropped, *(rule.uses_up for rule in (entry.model.fields or {}).values())} - {None}


def field_of(steps: Steps, fields: Mapping[str, FieldRule]) -> str | None:
    """The field that a hole with this path reads, if it is set."""
    return steps[0] if len(steps) == 1 and steps[0] in fields else None


def reads(rule: FieldRule) -> list[Steps]:
    """The paths that a rule reads."""
    return [rule.steps] if rule.source else [hole.steps for hole in rule.holes]


def _copied(name: str, rule: FieldRule, entry: Entry) -> Copied | None:
    """The function a `from` rule applies to its value; None where the value is copied unchanged."""
    derive, trim = rule.derivation(), _without_dropped(rule.steps, entry)
    if derive is None and trim is None and not rule.has_default:
        return None
    # What has this type stays: text where any type is right, nothing where something is made of every value
    stays = "S" if derive is None else TYPES.get(rule.type) if rule.form is None else None
    default = default_of(rule)

    def copied(value: dict | None, left: dict, fell_back: list[str]) -> dict | None:
        # Not empty, and of the wanted type, or text where any type is right.
        if value is not None and value.get(stays) and trim is None:
            return value
        if value is None or (not value.get("S") and is_empty(value)):
            return default if rule.has_default else value
        if trim is not None and (value := trim(value)) is None:
            return default if rule.has_default else None
        try:
            return derive(value) if derive else value
        except ValueError as problem:
            return _fall_back(name, rule, value, problem, default, left, fell_back)

    return copied


def _taken(name: str, rule: FieldRule, entry: Entry) -> Taken:
    """The same for a rule that reads inside an attribute."""
    read, copied, default = reading(rule.steps), _copied(name, rule, entry), default_of(rule)

    def taken(copy: dict, left: dict, fell_back: list[str]) -> dict | None:
        try:
            value = read(copy)
        except ValueError as problem:
            return _fall_back(name, rule, None, problem, default, left, fell_back)
        return value if copied is None else copied(value, left, fell_back)

    return taken


def _fall_back(
    name: str, rule: FieldRule, value: dict | None, problem: ValueError, default: dict, left: dict, fell_back: list[str]
) -> dict | None:
    """What `on_error` says of a value of which nothing can be made. What it goes inside of stays where that is."""
    if rule.falls_back:
        fell_back.append(name)
    if rule.on_error == "default":
        return default
    if rule.on_error == "rest":
        if rule.uses_up:
            left[rule.uses_up] = value
        return None
    needs = f"a {rule.type}" if rule.type else "one of its `values`" if rule.values is not None else "a part of it"
    raise Quarantine(rule.origin, f"{name} needs {needs}: {problem}", rule.on_error == "stop") from None


def _without_dropped(steps: Steps, entry: Entry) -> Callable[[dict], dict | None] | None:
    """The function that leaves out of the value at a path what `drop` says below it; None where that says nothing.

    A field can read what `drop` leaves out, so nothing else of `drop` counts.
    """
    below = [
        drop[len(steps) :]
        for drop in entry.drops
        if len(drop) > len(steps) and all(d == step or d is VALUES for d, step in zip(drop, steps, strict=False))
    ]
    take_out = taking_out(("", *drop) for drop in below)
    return (lambda value: take_out({"": value}).get("")) if take_out else None


def _template_order(fields: Mapping[str, FieldRule]) -> list[tuple[str, tuple]]:
    """Field name and parsed template, in an order in which each comes after the templates it reads."""
    waiting = {name: rule for name, rule in fields.items() if rule.template is not None}
    ordered = []
    while waiting:
        for name, rule in list(waiting.items()):
            if not any(field_of(hole.steps, waiting) not in (None, name) for hole in rule.holes):
                ordered.append((name, templates.parse(waiting.pop(name).template)))
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
        for steps in reads(fields[name]):
            found.add(steps[0])
            if fields[name].template is not None and len(steps) == 1:
                left.append(steps[0])
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
    is_inside = len(hole.steps) > 1
    attribute, is_made = hole.name if is_inside else hole.steps[0], field_of(hole.steps, fields) is not None
    dated = templates.date_function(hole.format) if hole.format else None

    def piece(target: dict, copy: dict) -> str | None:
        value = (target.get(attribute) or copy.get(attribute)) if is_made else copy.get(attribute)
        if value is not None and (text := value.get("S")) and (dated is None or (text := dated(text))):
            return text
        text, reason = _hole_text(hole, value)
        if text is None and (is_key or reason == NO_DATE):
            raise Quarantine(attribute, f"{name} needs it: {reason}")
        return text

    return piece if not is_inside else lambda target, copy: piece(target, {attribute: value_at(copy, hole.steps)})


def _hole_text(hole: templates.Hole, value: dict | None) -> tuple[str | None, str]:
    """The text for a hole, or None and the reason."""
    letter = next(iter(value or {"NULL": True}))
    text, reason = None, "absent" if value is None else "null" if letter == "NULL" else f"type {letter} is not text"
    try:
        text = None if value is None else text_of_scalar(value)
    except ValueError as problem:
        reason = str(problem)
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
