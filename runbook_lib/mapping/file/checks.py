"""What a mapping can be refused for when it is read: rules that contradict each other, or can never write an item. Pure."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...errors import Mistake
from ...yaml_files import suggest
from .. import conditions
from ..create import LIKE_SOURCE, Create
from ..fields import field_of
from ..ids import FORMATS
from ..model import Entry, EntryModel, FieldRule, Keys, default_of
from ..text import datetimes, paths, templates
from ..text.conversions import TYPES
from ..text.derivation import DATETIME, parse_form
from ..text.paths import JSON
from .unwritable import goes_with, unwritable

Mistakes = Iterator[Mistake]
_OPTIONS = {  # of fields and entries -> words that nobody writes into an attribute of that name
    "type": tuple(TYPES),
    "on_error": ("quarantine", "default", "rest", "stop"),
    "rest": ("copy",),
    "create": (LIKE_SOURCE,),
    "expired": ("copy", "skip"),
    "id_format": tuple(FORMATS),
}


_NO_MAPS = {  # words that are meant as an option of `rest`, in small letters -> what to do
    **dict.fromkeys(
        ("quarantine", "none", "null"), "leave `rest` out: then an attribute that no rule names quarantines its item"
    ),
    **dict.fromkeys(("drop", "ignore"), "list the attributes under `drop`"),
    **dict.fromkeys(("copy", "keep", "all", "*"), "write copy"),
}


def unknown(name: str, known: Any) -> str:
    """What is said of a name that nothing has, with what was probably meant."""
    return f"no {name!r} there{suggest(name, list(known))}"


def check_accept(model: EntryModel) -> Mistakes:
    """What is accepted must exist, so that a misspelt name is not silently without effect."""
    accept = model.accept
    for group, names, known in (
        ("dangling", accept.dangling, model.references),
        ("unreadable", accept.unreadable, [*model.references, *([model.id] if model.id else ())]),
        ("queries", accept.queries, model.queries),
    ):
        for name in names:
            if name not in known:
                yield Mistake(("accept", group), unknown(name, known))


def _problem(check: Callable[..., Any], *given: Any) -> str | None:
    """What a function refuses, or None."""
    try:
        check(*given)
    except ValueError as problem:
        return str(problem)
    return None


def check_fields(model: EntryModel) -> Mistakes:
    """Each rule of `fields` by itself, and whether they go together."""
    if model.fields is None:
        if model.rest is not None:
            yield Mistake(("rest",), "works only with fields; without fields everything is copied")
        return
    wrong = False
    for name, rule in model.fields.items():
        for mistake in (*_stray(name, rule), *_of_field(rule, model)):
            wrong = True
            yield mistake.within("fields", name)
    rest = model.rest or ""
    if rest != "copy" and (instead := _NO_MAPS.get(rest.strip().casefold())):
        yield Mistake(("rest",), f"names the map for the rest, and {model.rest!r} looks like an option; {instead}")
    elif rest != rest.strip():
        yield Mistake(("rest",), f"names a map with a space beside it; write {rest.strip()}")
    elif "{" in rest:
        yield Mistake(("rest",), "is a name, taken as it is written; write one without { }")
    if model.rest in model.fields:
        yield Mistake(("rest",), f"{model.rest!r} is also a field; give one of them another name")
    if model.create == LIKE_SOURCE and model.rest != "copy":
        yield Mistake(
            ("create",),
            f"{LIKE_SOURCE} makes a table with the source's keys, and `fields` makes other items; describe the table, "
            "or write `create: null`",
        )
    if not wrong:
        yield from _check_cycles(model)


ALIASES = {"source": "from", "form": "as"}


def _stray(name: str, rule: FieldRule) -> Mistakes:
    """An option that is indented like a field would write its word into every item, and no name stands for all."""
    if name == "*":
        yield Mistake((), "is the name of one field, and stands for no others; write `rest: copy`")
    if rule.template in _OPTIONS.get(name, ()):
        yield Mistake(
            (),
            f"is an option, and stands where a field should; indent it elsewhere, or write {{value: {rule.template}}}",
        )


def _of_field(rule: FieldRule, model: EntryModel) -> Mistakes:
    kinds = {"template": rule.template is not None, "value": rule.is_constant, "from": rule.source is not None}
    given = [kind for kind, is_given in kinds.items() if is_given]
    others = sorted(ALIASES.get(key, key) for key in rule.model_fields_set if ALIASES.get(key, key) not in given)
    if len(given) != 1:
        yield Mistake((), "needs one of text (a template), {from: path} and {value: constant}")
    elif given == ["from"]:
        yield from _of_copy(rule, model)
    elif others:
        what = "a template" if given == ["template"] else "a constant"
        yield Mistake((), f"{what} takes no {', '.join(others)}; remove it, or write {{from: …}} instead")
    elif given == ["value"]:
        if problem := _problem(lambda: rule.constant):
            yield Mistake(("value",), problem)
    elif problem := _problem(templates.parse, rule.template):
        yield Mistake((), problem)
    else:
        for hole in rule.holes:
            if hole.name == templates.ANY:
                yield Mistake((), "{*} stands for text that a template reads, and this one writes; name an attribute")
            elif hole.name != hole.name.strip():
                yield Mistake(
                    (), f"{{{hole.name}}} names an attribute with a space beside it; write {{{hole.name.strip()}}}"
                )
            elif problem := _problem(lambda hole=hole: hole.steps):
                yield Mistake((), f"{{{hole.name}}} {problem}")


def _of_copy(rule: FieldRule, model: EntryModel) -> Mistakes:
    """A rule that reads from the source: its path, what becomes of the value, what if nothing can."""
    steps: paths.Steps = ()
    if problem := _problem(lambda: rule.steps):
        yield Mistake(("from",), problem)
    else:
        steps = rule.steps
    if rule.form is not None and (problem := _problem(parse_form, rule.form)):
        yield Mistake(("as",), problem)
    if rule.values is not None:
        yield from _of_values(rule)
    unspelt = _of_datetime(rule)
    yield from unspelt
    if rule.on_error != "quarantine" and not rule.derives and JSON not in steps:
        yield Mistake((), "on_error needs one of type, as and values; add it or remove on_error")
    elif rule.on_error == "default" and not rule.has_default:
        yield Mistake((), "on_error: default needs a default; add it")
    elif rule.on_error == "rest" and model.rest is None:
        yield Mistake((), "on_error: rest needs the entry's rest; add `rest: NAME`")
    elif rule.on_error == "rest" and len(steps) > 1 and (gone := [path for path in model.drop if _holds(path, steps)]):
        yield Mistake(
            (), f"on_error: rest leaves the value where it is, and drop leaves out {gone[0]}; remove one of them"
        )
    if says := _problem(lambda: rule.plain_default):
        yield Mistake(("default",), says)
    elif rule.has_default and not unspelt and (says := _problem(default_of, rule)):
        yield Mistake((), f"the default is not a {rule.type}: {says}; correct it")


def _holds(path: str, steps: paths.Steps) -> bool:
    """Whether what stands at the steps is, or is in, what stands at a path."""
    outer = () if _problem(paths.parse, path) else paths.parse(path)
    return bool(outer) and steps[: len(outer)] == outer


def _of_values(rule: FieldRule) -> Mistakes:
    if rule.type:
        yield Mistake(("values",), "gives typed values, so `type` has nothing to convert; remove one of them")
    if not rule.values:
        yield Mistake(("values",), "is empty; give text: value")
    for text in rule.values:
        if not text:
            yield Mistake(("values",), "an empty value is copied, or takes the default; remove the empty text")
        if problem := _problem(rule.constant_for, text):
            yield Mistake(("values", text), problem)


def _of_datetime(rule: FieldRule) -> list[Mistake]:
    """`read` and `write` belong to `type: datetime`, and to nothing else."""
    found = []
    for key, word, check in (("read", rule.read, datetimes.check_read), ("write", rule.write, datetimes.spelling)):
        if rule.type != DATETIME and word is not None:
            found.append(Mistake((key,), f"belongs to `type: {DATETIME}`; add that, or remove {key}"))
        elif rule.type == DATETIME and word is None:
            found.append(Mistake((key,), f"is missing; {datetimes.SPELT}"))
        elif word is not None and (problem := _problem(check, word)):
            found.append(Mistake((key,), problem))
    return found


def _check_cycles(model: EntryModel) -> Mistakes:
    """A template may read another template's field; in a cycle none could be first."""
    templated = {name: rule for name, rule in model.fields.items() if rule.template is not None}
    found = {name: {field_of(hole.steps, templated) for hole in rule.holes} for name, rule in templated.items()}
    done: set[str | None] = {None}
    while ready := {name for name, names in found.items() if name not in done and not names - {name} - done}:
        done |= ready
    if ring := sorted(found.keys() - done):
        yield Mistake(("fields",), f"{', '.join(ring)} read each other in a cycle; let one of them read the source")


def check_queries(model: EntryModel) -> Mistakes:
    """Whether the table or index that a query names can answer it, as far as the file says what it is."""
    create = model.described
    keys = described_keys(create)
    letters = {**keys.indexes, **keys.target}
    for name, query in model.queries.items():
        place, asked = ("queries", name), None
        if create and query.index and query.index not in create.all_indexes:
            yield Mistake(place, f"index {query.index!r} is unknown{suggest(query.index, list(create.all_indexes))}")
        elif create:
            asked = create.all_indexes[query.index] if query.index else create
            if misfit := conditions.misfit(query.key, list(asked.key), getattr(asked, "partition", 1)):
                yield Mistake(place, misfit)
        for attribute, wanted in query.key.items():
            if problem := _problem(conditions.read_key, attribute, wanted, letters.get(attribute, "S")):
                yield Mistake((*place, "key", attribute), problem)
        keyed = {*query.key, *(asked.key if create and asked else ())}
        for path in query.filter.keys() & keyed:
            yield Mistake((*place, "filter", path), "is a key attribute, which no filter may name; give it under key")
        for path, wanted in query.filter.items():
            if problem := _problem(conditions.read, path, wanted):
                yield Mistake((*place, "filter", path), problem)


def check_keys(entry: Entry, keys: Keys) -> Mistakes:
    """Rules that can write no item, or take the value of a key away."""
    place = ("tables", entry.name)
    for name, rule in (entry.model.fields or {}).items():
        misspelt = rule.misspelt("N") if keys.source.get(rule.uses_up) == "N" else {}
        for text, right in misspelt.items():
            yield Mistake(
                (*place, "fields", name, "values", text),
                f"no number is compared as this, and {rule.uses_up} is a key of type N; write '{right}'",
            )
    if problem := _without_key(entry, keys) or unwritable(entry, keys):
        where, _, says = problem.partition(": ")
        yield Mistake((*place, *where.removeprefix(".").split(".", 1)), says)


def _without_key(entry: Entry, keys: Keys) -> str | None:
    """Where `dangling` takes the value of a key away, so that DynamoDB would take no such item."""
    for path, rule in entry.model.references.items():
        gone, within_text = entry.paths[path], entry.paths[path][-1] is JSON
        if rule.dangling not in ("null", "remove"):
            continue
        while gone[-1] is JSON:
            gone = gone[:-1]
        where = f".references.{path}: `dangling: {rule.dangling}`"
        if key := next((key for key in keys.target if goes_with(key, gone, entry, in_key=True)), None):
            return (
                f"{where} takes away {key}, a key of the target table, which every item needs; write map, keep or stop."
            )
        if rule.dangling == "remove" or within_text:  # text that holds a null is still text
            continue
        if key := next((key for key in keys.indexes if goes_with(key, gone, entry, in_key=False)), None):
            return (
                f"{where} makes {key} null, a key of an index of the target, which DynamoDB refuses; write "
                "`dangling: remove`, which leaves the attribute out."
            )
    return None


def described_keys(create: Create | None) -> Keys:
    """The keys that a mapping itself states of its target."""
    if create is None:
        return Keys()
    return Keys({}, create.key, {n: letter for index in create.all_indexes.values() for n, letter in index.key.items()})


def check_creates(entries: Mapping[str, Entry]) -> Mistakes:
    """Entries that write to one table describe it alike."""
    made: dict[str, Entry] = {}
    for entry in entries.values():
        other = made.setdefault(entry.target, entry)
        if other.model.create != entry.model.create:
            said, mend = f"is not the one of {other.name}, but both write to {entry.target}", "make them the same"
            if other.like_source and entry.like_source:  # they are the same in the file
                said = f"{LIKE_SOURCE} makes another table than in {other.name}, and both write to {entry.target}"
                mend = "describe the table in both"
            yield Mistake(("tables", entry.name, "create"), f"{said}; {mend}")
