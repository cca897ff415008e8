"""What the rules of an entry can never write, whatever an item holds: known as soon as the keys of its tables are. Pure."""

from ...values import is_empty
from .. import conditions
from ..fields import field_of, reads, used_up
from ..model import Entry, EntryModel, FieldRule, Keys, default_of
from ..text.conversions import TYPES
from ..text.datetimes import spelling
from ..text.derivation import DATETIME
from ..text.paths import Steps


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
    gone = used_up(entry)
    # What every item has when the fields are made; a condition may also be one that items without the attribute meet.
    left = {*keys.source, *_surely(entry)} - gone - entry.asking()
    for name in fields.keys() - gone if model.rest == "copy" else ():
        if name in left or name in {steps[0] for steps in reads(fields[name])}:
            return (
                f".fields.{name}: `rest: copy` keeps the source's {name} beside the field of that name, so no item that has it "
                f"can be written; say `{_dropping(model, name)}`: the field can still read it."
            )
    if model.rest is None:
        needed = {
            steps[0]
            for name in keys.target.keys() & fields.keys()
            for steps in _needs(fields[name])
            if (made := field_of(steps, fields)) is None or made == name or fields[name].source
        }
        if names := sorted(left | (needed - gone)):
            why = "every item has" if left else "a key needs"
            return (
                f".fields: no rule uses up {', '.join(names)}, which {why}, and the entry has no `rest`; copy with "
                f"{{from: …}}, or say `{_dropping(model, *names)}`, or add `rest`."
            )
    for name, letter in {**keys.indexes, **keys.target}.items():
        if name not in fields:
            if name in keys.target and (model.rest != "copy" or name in gone):
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
    if rule.is_constant and letter not in rule.constant:
        return f"is a key of type {letter}, and the value has type {next(iter(rule.constant))}; correct it."
    if rule.is_constant and is_empty(rule.constant):
        return "is a key, which cannot be empty; write another value."
    if rule.values is not None:
        made = {
            next(iter(value)) for value in [*rule.constants.values(), *([default_of(rule)] if rule.has_default else ())]
        }
        return None if letter in made else f"is a key of type {letter}, and `values` gives no such value; correct them."
    if rule.type == DATETIME:
        made_by = f"`write: {rule.write}` makes {'text' if spelling(rule.write).letter == 'S' else 'a number'}"
        return (
            None if spelling(rule.write).letter == letter else f"is a key of type {letter}, and {made_by}; correct it."
        )
    if rule.type and TYPES[rule.type] != letter:
        return f"is a key of type {letter}, and `type: {rule.type}` makes another; {fix}."
    if rule.form is not None and not rule.type and letter != "S":
        return f"is a key of type {letter}, and `as` takes out text; add a `type`."
    if rule.uses_up and not rule.derives and keys.source.get(rule.uses_up, letter) != letter:
        return f"is a key of type {letter}, and the source's key {rule.source} has type {keys.source[rule.uses_up]}; {fix}."
    return None


def goes_with(name: str, gone: Steps, entry: Entry, *, in_key: bool) -> bool:
    """Whether an attribute of the target has no value, or null, where the source has none, or null, at a path.

    `in_key`: of the table; elsewhere a template without text only leaves its attribute out.
    """
    model, fields = entry.model, entry.model.fields or {}
    if name not in fields:
        return gone == (name,) and (model.fields is None or model.rest == "copy")
    if fields[name].source:
        return _starts(fields[name].steps, gone) and not fields[name].has_default
    return in_key and any(
        _starts(steps, gone)
        if (made := field_of(steps, fields)) in (None, name)
        else goes_with(made, gone, entry, in_key=True)
        for steps in _needs(fields[name])
    )


def _starts(steps: Steps, with_these: Steps) -> bool:
    return steps[: len(with_these)] == with_these


def _needs(rule: FieldRule) -> list[Steps]:
    """The paths that a rule reads and has no default for."""
    own = [rule.steps] if rule.source and not rule.has_default else []
    return own + [hole.steps for hole in rule.holes if hole.default is None]


def _dropping(model: EntryModel, *names: str) -> str:
    return f"drop: [{', '.join([*model.drop, *names])}]"
