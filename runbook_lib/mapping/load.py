"""Reading a mapping file: checked, its defaults filled in, resolved to `Entry` objects (see `model`).

A mistake in a file raises MappingError: one sentence with file, entry, what is wrong and how to fix it.
"""

import hashlib
import json
import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

from pydantic import ValidationError

from ..errors import MappingError
from ..parameters import Parameters
from ..values import from_python
from ..yaml_files import expand, explain, read_yaml, suggest
from . import templates
from .fields import goes_with, unwritable
from .json_text import EACH, JSON
from .model import (
    LIKE_SOURCE,
    NOT_WRITTEN,
    OPERATORS,
    Create,
    Entry,
    EntryModel,
    Keys,
    Mapping,
    MappingModel,
    Reference,
    default_of,
)
from .references import paths_in_record

_TABLE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,255}")
_TABLE_ARN = re.compile(r"arn:aws[a-z-]*:dynamodb:[a-z0-9-]+:\d{12}:table/[A-Za-z0-9_.-]{3,255}")
_PATH_TOKEN = re.compile(r"\[\]|:json(?=$|[.\[:])|\.|[^.\[\]:]+|.")


def load_mapping(parameters: Parameters) -> Mapping:
    """The mapping that the parameters name, checked and resolved. Read-only. Raises MappingError, one sentence."""
    path = parameters.mapping_path()
    return mapping_of(read_yaml(path, MappingError), path.name, parameters)


def mapping_of(content: dict[str, Any], file: str, parameters: Parameters) -> Mapping:
    """The same for what a mapping file holds; `file` is its name in messages."""
    content = expand(content, file, MappingError)
    for group in ("tables", "defaults"):
        if content.get(group, {}) is None:
            content[group] = {}
    tables = content.get("tables")
    if isinstance(tables, dict):
        content["tables"] = {name: {} if entry is None else entry for name, entry in tables.items()}
    try:
        MappingModel.model_validate(content)
        defaults = content.get("defaults", {})
        models = {name: EntryModel.model_validate({**defaults, **e}) for name, e in content["tables"].items()}
    except ValidationError as problem:
        raise MappingError(explain(problem, file, MappingModel)) from None
    entries = {}
    for name, model in models.items():
        try:
            entries[name] = _resolve(name, model, models, parameters)
        except ValueError as problem:
            raise MappingError(f"{file}: tables.{name}{problem}") from None
    for name, entry in entries.items():
        try:
            entries[name] = replace(entry, inside=_inside_records(entry, entries))
        except ValueError as problem:
            raise MappingError(f"{file}: tables.{name}{problem}") from None
    _check_creates(file, entries)
    check_keys(file, entries, {name: _described_keys(entry.model.described) for name, entry in entries.items()})
    resolved = {
        name: [entry.source, entry.target, entry.model.model_dump(by_alias=True, exclude=set(NOT_WRITTEN))]
        for name, entry in entries.items()
    }
    # repr for Decimal: 1.5 and "1.5" are not the same mapping. In the order of the file, which {PK, SK} depends on.
    fingerprint = hashlib.sha256(json.dumps([resolved, content.get("unrouted")], default=repr).encode())
    return Mapping(file, entries, content.get("unrouted") == "ignore", fingerprint.hexdigest())


def _resolve(name: str, model: EntryModel, models: dict[str, EntryModel], parameters: Parameters) -> Entry:
    source = _table_name("source", model.source, name, parameters)
    target = _table_name("target", model.target, name, parameters)
    paths, references_to = {}, {}
    for path, reference in model.references.items():
        where = f".references.{path}"
        paths[path] = _path(path, where)
        references_to[path] = _reference(reference, models, where)
        if paths[path] == (model.id,):
            raise ValueError(f"{where}: is the id attribute itself; remove the reference (the id is always rewritten).")
    # Compared with paths as the analysis spells them, which may be more than `references` can say: any text may be one.
    for path in model.not_references:
        if path in model.references:
            raise ValueError(f".not_references: {path}: is also under references; remove it from one of them.")
    _check_accept(model)
    _check_fields(model)
    _check_queries(model)
    for attribute, wanted in model.where.items():
        if wanted == []:
            raise ValueError(f".where.{attribute}: is an empty list, which selects nothing; give a value.")
        if isinstance(wanted, dict):
            raise ValueError(f".where.{attribute}: is a map; give a value, or a list of values, to compare with.")
        _check_value(wanted, f".where.{attribute}")
    return Entry(name, source, target, model, paths, references_to)


def _check_accept(model: EntryModel) -> None:
    """What is accepted must exist, so that a misspelt name is not silently without effect."""
    accept = model.accept
    for group, names, known in (
        ("dangling", accept.dangling, model.references),
        ("unreadable", accept.unreadable, model.references),
        ("queries", accept.queries, model.queries),
    ):
        for name in names:
            if name not in known:
                raise ValueError(f".accept.{group}: no {name!r} there{suggest(name, list(known))}")


def _check_value(value: Any, where: str) -> None:
    try:
        from_python(value)
    except ValueError as problem:
        raise ValueError(f"{where}: {problem}; write a value that DynamoDB can hold.") from None


def _table_name(side: str, template: str | None, name: str, parameters: Parameters) -> str:
    if not template:
        raise ValueError(f".{side} is missing; name the {side} table here or in defaults.")
    known = {"table": name}
    for label, values in (("source", parameters.source), ("target", parameters.target)):
        known |= {f"{label}.{key}": getattr(values, key) for key in ("environment", "region", "account")}
    text = ""
    for part in _parsed(template, f".{side}"):
        if isinstance(part, templates.Hole):
            if part.name not in known or part.format:
                raise ValueError(f".{side}: unknown hole {{{part.name}}}{suggest(part.name, list(known))}")
            part = known[part.name] or part.default
            if part is None:
                raise ValueError(
                    f".{side}: {template!r} needs a value that the parameters file does not give; add it there."
                )
        text += part
    if text.startswith("arn:"):
        if not _TABLE_ARN.fullmatch(text):
            raise ValueError(
                f".{side}: {text!r} is not a table's ARN; write arn:aws:dynamodb:REGION:ACCOUNT:table/NAME."
            )
        return text
    if not _TABLE_NAME.fullmatch(text):
        raise ValueError(f".{side}: {text!r} is not a table name; use letters, digits, '_', '-' and '.', 255 at most.")
    return text


def _parsed(template: str, where: str) -> tuple:
    try:
        return templates.parse(template)
    except ValueError as problem:
        raise ValueError(f"{where}: {problem}.") from None


def _path(path: str, where: str) -> tuple:
    steps: list = []
    wants_name = True
    for token in _PATH_TOKEN.findall(path):
        if token == "[]" and not wants_name:
            steps.append(EACH)
        elif token == ":json" and not wants_name:
            steps.append(JSON)
        elif token == "." and not wants_name:
            wants_name = True
            continue
        elif wants_name and token not in ("[]", ".", "[", "]", ":", ":json"):
            steps.append(token)
        else:
            raise ValueError(f"{where}: is not a path; write a.b for maps, [] for each element, :json for JSON text.")
        wants_name = False
    if wants_name:
        raise ValueError(f"{where}: is not a path; it ends where a name should follow.")
    return tuple(steps)


def _reference(reference: Reference, models: dict[str, EntryModel], where: str) -> tuple:
    given = [name for name in ("to", "table_named_by", "record_of") if getattr(reference, name) is not None]
    if len(given) != 1:
        raise ValueError(f"{where}: needs one of `to` (an entry), `table_named_by` (an attribute) and `record_of`.")
    record = reference.record_of
    if isinstance(record, str) and record not in models:
        raise ValueError(f"{where}: refers to {record!r}, which is not an entry{suggest(record, list(models))}")
    if reference.to is None:
        return ()
    if "{" in reference.to or "}" in reference.to:
        parts = _parsed(reference.to, where)
        for before, after in pairwise(parts):
            if isinstance(before, templates.Hole) and isinstance(after, templates.Hole):
                raise ValueError(f"{where}: two ids with nothing between them cannot be told apart; add the separator.")
    else:
        parts = (templates.Hole(reference.to),)
    if not templates.holes(parts):
        raise ValueError(f"{where}: names no entry; write one in braces, as in 'ORG#{{Orgs}}'.")
    for hole in templates.holes(parts):
        if hole.format or hole.default is not None:
            raise ValueError(f"{where}: {{{hole.name}}} takes no format or default; name the entry alone.")
        if hole.name not in models:
            raise ValueError(
                f"{where}: refers to {hole.name!r}, which is not an entry{suggest(hole.name, list(models))}"
            )
        if models[hole.name].id is None:
            raise ValueError(f"{where}: refers to {hole.name}, which has no ids (`id: null`); give it an id attribute.")
    return parts


def _inside_records(entry: Entry, entries: dict[str, Entry]) -> dict[tuple, str]:
    """The steps of all ids and references inside the records that the entry's paths hold, and what `dangling` says there."""
    found: dict[tuple, str] = {}
    for path, rule in entry.model.references.items():
        if rule.record_of is not None:
            if entry.paths[path][0] == entry.model.id and len(entry.paths[path]) == 1:
                raise ValueError(f".references.{path}: is the id attribute; a record cannot stand there.")
            of = [rule.record_of] if isinstance(rule.record_of, str) else list(entries)
            for name in of:
                for steps, inner in paths_in_record(entries[name]):
                    said = entries[name].model.references[inner].dangling if inner else "map"
                    place = (*entry.paths[path], *steps)
                    if found.get(place) != "remove":  # of records of several entries, what changes most
                        found[place] = said
    return found


def _check_fields(model: EntryModel) -> None:
    if model.fields is None:
        if model.rest is not None:
            raise ValueError(".rest: works only with fields; without fields everything is copied.")
        return
    for name, rule in model.fields.items():
        where = f".fields.{name}"
        if (rule.template is None) == (rule.source is None):
            raise ValueError(f"{where}: needs text (a template) or {{from: attribute}}; put a constant in quotes.")
        if rule.template is not None:
            _parsed(rule.template, where)
            if rule.model_fields_set - {"template"}:
                raise ValueError(f"{where}: a template takes no type, default or on_error; write {{from: …}} instead.")
        if rule.on_error != "quarantine" and not rule.type:
            raise ValueError(f"{where}: on_error needs a type; add the type or remove on_error.")
        if rule.on_error == "default" and not rule.has_default:
            raise ValueError(f"{where}: on_error: default needs a default; add it.")
        _check_value(rule.default, where)
        if rule.has_default:
            try:
                default_of(rule)
            except ValueError as problem:
                raise ValueError(f"{where}: the default is not a {rule.type}: {problem}; correct it.") from None
        if rule.on_error == "rest" and model.rest is None:
            raise ValueError(f"{where}: on_error: rest needs the entry's rest; add `rest: NAME`.")
    if model.rest in model.fields:
        raise ValueError(f".rest: {model.rest!r} is also a field; give one of them another name.")
    if model.create == LIKE_SOURCE and model.rest != "copy":
        raise ValueError(
            f".create: {LIKE_SOURCE} makes a table with the source's keys, and `fields` makes other items; "
            "describe the table, or write `create: null`."
        )
    _check_cycles(model)


def _check_cycles(model: EntryModel) -> None:
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
        raise ValueError(f".fields: {', '.join(ring)} read each other in a cycle; let one of them read the source.")


def _check_queries(model: EntryModel) -> None:
    for name, query in model.queries.items():
        where = f".queries.{name}"
        if create := model.described:
            if query.index and query.index not in create.all_indexes:
                raise ValueError(
                    f"{where}: index {query.index!r} is unknown{suggest(query.index, list(create.all_indexes))}"
                )
            place = create.all_indexes[query.index] if query.index else create
            if misfit := query.misfit(list(place.key), getattr(place, "partition", 1)):
                raise ValueError(f"{where}: {misfit}.")
        for group in (query.key, query.filter):
            for attribute, wanted in group.items():
                if isinstance(wanted, dict) and (len(wanted) != 1 or next(iter(wanted)) not in OPERATORS):
                    raise ValueError(f"{where}: {attribute} needs a value or one of {', '.join(OPERATORS)}.")
                operand = wanted.get("between", [0, 0]) if isinstance(wanted, dict) else [0, 0]
                if not isinstance(operand, list) or len(operand) != 2:
                    raise ValueError(f"{where}: {attribute}: between needs two values; write [from, to].")
                _check_value(wanted, f"{where}: {attribute}")


def check_keys(file: str, entries: dict[str, Entry], keys: dict[str, Keys]) -> None:
    """Refuses rules that can write no item, or take the value of a key away. Raises MappingError. `keys`: of each entry."""
    for name, entry in entries.items():
        if problem := _without_key(entry, keys[name]) or unwritable(entry, keys[name]):
            raise MappingError(f"{file}: tables.{name}{problem}")


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


def _described_keys(create: Create | None) -> Keys:
    if create is None:
        return Keys()
    return Keys({}, create.key, {n: letter for index in create.all_indexes.values() for n, letter in index.key.items()})


def with_creates(mapping: Mapping, creates: dict[str, Create]) -> Mapping:
    """The mapping with `create: like_source` resolved, by entry, and checked as if it had been written. Raises MappingError."""
    entries = dict(mapping.entries)
    for name, create in creates.items():
        model = entries[name].model.model_copy(update={"create": create})
        entries[name] = replace(entries[name], model=model, like_source=True)
        try:
            _check_fields(model)
            _check_queries(model)
        except ValueError as problem:
            raise MappingError(f"{mapping.file}: tables.{name}{problem}") from None
    _check_creates(mapping.file, entries)
    return replace(mapping, entries=entries)


def _check_creates(file: str, entries: dict[str, Entry]) -> None:
    made: dict[str, Entry] = {}
    for entry in entries.values():
        other = made.setdefault(entry.target, entry)
        if other.model.create != entry.model.create:
            raise MappingError(
                f"{file}: tables.{entry.name}.create differs from the one of {other.name}, "
                f"but both write to {entry.target}; make them the same."
            )
