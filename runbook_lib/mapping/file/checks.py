"""What a mapping can be refused for when it is read: rules that contradict each other, or can never write an item. Pure."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...values import from_python
from ...yaml_files import suggest
from .. import conditions
from ..create import LIKE_SOURCE, Create
from ..fields import goes_with, unwritable
from ..model import Entry, EntryModel, FieldRule, Keys, default_of
from ..text import templates
from ..text.paths import JSON


class Mistake(ValueError):
    """One mistake in a file: where it is, what is wrong and what to do."""

    def __init__(self, place: tuple[str, ...], says: str):
        """`place`: the keys that lead there; `says`: a sentence."""
        super().__init__(f"{'.'.join(place)}: {says.rstrip('.')}{'' if says.endswith('?') else '.'}")
        self.place, self._says = place, says

    def within(self, *place: str) -> "Mistake":
        """The same in a larger place."""
        return Mistake((*place, *self.place), self._says)


Mistakes = Iterator[Mistake]


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


def _cannot_hold(value: Any) -> str | None:
    if problem := _problem(from_python, value):
        return f"{problem}; write a value that DynamoDB can hold"
    return None


def check_fields(model: EntryModel) -> Mistakes:
    """Each rule of `fields` by itself, and whether they go together."""
    if model.fields is None:
        if model.rest is not None:
            yield Mistake(("rest",), "works only with fields; without fields everything is copied")
        return
    wrong = False
    for name, rule in model.fields.items():
        for says in _of_field(name, rule, model):
            wrong = True
            yield Mistake(("fields", name), says)
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


def _of_field(name: str, rule: FieldRule, model: EntryModel) -> Iterator[str]:
    if (rule.template is None) == (rule.source is None):
        yield "needs text (a template) or {from: attribute}; put a constant in quotes"
        return
    if rule.template is not None:
        if problem := _problem(templates.parse, rule.template):
            yield problem
        elif any(hole.name == templates.ANY for hole in templates.holes(templates.parse(rule.template))):
            yield "{*} stands for text that a template reads, and this one writes; name an attribute"
        if rule.model_fields_set - {"template"}:
            yield "a template takes no type, default or on_error; write {from: …} instead"
        return
    if rule.on_error != "quarantine" and not rule.type:
        yield "on_error needs a type; add the type or remove on_error"
    if rule.on_error == "default" and not rule.has_default:
        yield "on_error: default needs a default; add it"
    if problem := _cannot_hold(rule.default):
        yield problem
    elif rule.has_default and (problem := _problem(default_of, rule)):
        yield f"the default is not a {rule.type}: {problem}; correct it"
    if rule.on_error == "rest" and model.rest is None:
        yield "on_error: rest needs the entry's rest; add `rest: NAME`"


def _check_cycles(model: EntryModel) -> Mistakes:
    """A template may read another template's field; in a cycle none could be first."""
    reads = {
        name: {h.name for h in templates.holes(templates.parse(rule.template))} - {name}
        for name, rule in model.fields.items()
        if rule.template is not None
    }
    done: set[str] = set()
    while ready := {name for name, names in reads.items() if name not in done and not (names & reads.keys()) - done}:
        done |= ready
    if ring := sorted(reads.keys() - done):
        yield Mistake(("fields",), f"{', '.join(ring)} read each other in a cycle; let one of them read the source")


def check_queries(model: EntryModel) -> Mistakes:
    """Whether the table or index that a query names can answer it, as far as the file says what it is."""
    create = model.described
    keys = described_keys(create)
    letters = {**keys.indexes, **keys.target}
    for name, query in model.queries.items():
        place = ("queries", name)
        if create and query.index and query.index not in create.all_indexes:
            yield Mistake(place, f"index {query.index!r} is unknown{suggest(query.index, list(create.all_indexes))}")
        elif create:
            asked = create.all_indexes[query.index] if query.index else create
            if misfit := query.misfit(list(asked.key), getattr(asked, "partition", 1)):
                yield Mistake(place, misfit)
        for attribute, wanted in query.key.items():
            if problem := _problem(conditions.read_key, attribute, wanted, letters.get(attribute, "S")):
                yield Mistake((*place, "key", attribute), problem)
        for path, wanted in query.filter.items():
            if problem := _problem(conditions.read, path, wanted):
                yield Mistake((*place, "filter", path), problem)


def check_keys(entry: Entry, keys: Keys) -> Mistakes:
    """Rules that can write no item, or take the value of a key away."""
    place = ("tables", entry.name)
    if problem := _without_key(entry, keys) or unwritable(entry, keys):
        where, _, says = problem.partition(": ")
        yield Mistake((*place, *where.removeprefix(".").split(".", 1)), says)


def _without_key(entry: Entry, keys: Keys) -> str | None:
    """Where `dangling` takes the value of a key away, so that DynamoDB would take no such item."""
    for path, rule in entry.model.references.items():
        attribute, *below = entry.paths[path]
        if rule.dangling not in ("null", "remove") or any(step is not JSON for step in below):
            continue
        where = f".references.{path}: `dangling: {rule.dangling}`"
        if key := next((key for key in keys.target if goes_with(key, attribute, entry.model, in_key=True)), None):
            return (
                f"{where} takes away {key}, a key of the target table, which every item needs; write map, keep or stop."
            )
        if rule.dangling == "remove" or below:  # text that holds a null is still text
            continue
        if key := next((key for key in keys.indexes if goes_with(key, attribute, entry.model, in_key=False)), None):
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
            yield Mistake(
                ("tables", entry.name, "create"),
                f"differs from the one of {other.name}, but both write to {entry.target}; make them the same",
            )
