"""Reading a mapping file: checked, its defaults filled in, resolved to `Entry` objects (see `model`).

Mistakes in a file raise one MappingError that states all of them: file, entry, what is wrong and how to fix it.
"""

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from functools import cache, partial
from itertools import pairwise
from typing import Any

from pydantic import ValidationError

from ...errors import MappingError
from ...parameters import Parameters
from ...yaml_files import expand, explain, read_yaml, suggest
from .. import conditions
from ..create import Create
from ..model import NOT_WRITTEN, Code, Entry, EntryModel, IdInside, Keys, Mapping, MappingModel, Reference
from ..references import paths_in_record
from ..text import paths, templates
from ..transform import code_file, read_code
from .checks import (
    Mistake,
    Mistakes,
    check_accept,
    check_creates,
    check_fields,
    check_keys,
    check_queries,
    described_keys,
)

_TABLE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,255}")
_TABLE_ARN = re.compile(r"arn:aws[a-z-]*:dynamodb:[a-z0-9-]+:\d{12}:table/[A-Za-z0-9_.-]{3,255}")


def load_mapping(parameters: Parameters) -> Mapping:
    """The mapping that the parameters name, checked and resolved. Read-only. Raises MappingError."""
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
    mistakes: list[Mistake] = []
    entries = {}
    read_beside = cache(partial(read_code, parameters.mapping_path().parent))
    for name, model in models.items():
        reader = _Reader(name, model, models, parameters, read_beside)
        entries[name] = reader.entry()
        mistakes += reader.mistakes
    _refuse(file, mistakes)
    for name, entry in entries.items():
        inside, found = _inside_records(entry, entries)
        entries[name] = replace(entry, inside=inside)
        mistakes += found
    mistakes += check_creates(entries)
    for entry in entries.values():
        mistakes += check_keys(entry, described_keys(entry.model.described))
    _refuse(file, mistakes)
    resolved = {
        name: [entry.source, entry.target, entry.model.model_dump(by_alias=True, exclude=set(NOT_WRITTEN))]
        for name, entry in entries.items()
    }
    for name, entry in entries.items():
        if entry.code:
            resolved[name].append(hashlib.sha256(entry.code.source).hexdigest())
    # repr for Decimal: 1.5 and "1.5" are not the same mapping. In the order of the file, which {PK, SK} depends on.
    fingerprint = hashlib.sha256(json.dumps([resolved, content.get("unrouted")], default=repr).encode())
    return Mapping(file, entries, content.get("unrouted") == "ignore", fingerprint.hexdigest())


def _refuse(file: str, mistakes: Iterable[Mistake]) -> None:
    if lines := [f"{file}: {mistake}" for mistake in mistakes]:
        raise MappingError("\n".join(lines))


class _Reader:
    """Resolves one entry, and collects its mistakes."""

    def __init__(
        self,
        name: str,
        model: EntryModel,
        models: dict[str, EntryModel],
        parameters: Parameters,
        read_beside: Callable[[str], Code],
    ):
        self._name, self._model, self._models, self._parameters = name, model, models, parameters
        self._read_beside = read_beside
        self.mistakes: list[Mistake] = []

    def entry(self) -> Entry:
        """The entry; not to be used where there are mistakes."""
        model = self._model
        if model.fields is not None:
            fields = {
                self._try(("fields", name), _field_name, name) or name: rule for name, rule in model.fields.items()
            }
            model = model.model_copy(update={"fields": fields})
        source = self._try(("source",), _table_name, "source", model.source, self._name, self._parameters) or ""
        target = self._try(("target",), _table_name, "target", model.target, self._name, self._parameters) or ""
        steps, references_to = {}, {}
        for path, reference in model.references.items():
            place = ("references", path)
            steps[path] = self._try(place, paths.parse, path) or ("",)
            references_to[path] = self._try(place, _reference, reference, self._models) or ()
            if steps[path] == (model.id,) and not isinstance(model.id_rule, IdInside):
                self._say(place, "is the id attribute itself; remove the reference (the id is always rewritten)")
            if paths.KEYS in steps[path] and reference.dangling == "null":
                self._say(place, "a map's key cannot be null; write `dangling: remove`")
        # Compared with paths as the analysis spells them.
        for path in model.not_references:
            if path in model.references:
                self._say(("not_references",), f"{path}: is also under references; remove it from one of them")
            else:
                self._try(("not_references", path), paths.parse, path)
        drops = [self._try(("drop", path), _drop, path) for path in model.drop]
        where = [self._try(("where", path), conditions.read, path, wanted) for path, wanted in model.where.items()]
        id_parts = self._try(("id",), _id_parts, model.id_rule) or ()
        code = None
        if model.transform is not None and (file := self._try(("transform",), code_file, model.transform)):
            code = self._try(("transform",), self._read_beside, file)
        for check in (check_accept, check_fields, check_queries):
            self._collect(check(model))
        return Entry(
            self._name,
            source,
            target,
            model,
            steps,
            references_to,
            conditions=tuple(one for one in where if one),
            id_parts=id_parts,
            drops=tuple(steps for steps in drops if steps),
            code=code,
        )

    def _say(self, place: tuple[str, ...], says: str) -> None:
        self.mistakes.append(Mistake(("tables", self._name, *place), says))

    def _collect(self, found: Mistakes) -> None:
        self.mistakes += [mistake.within("tables", self._name) for mistake in found]

    def _try(self, place: tuple[str, ...], read: Callable[..., Any], *given: Any) -> Any:
        """What the function makes; None where it refuses, which is a mistake."""
        try:
            return read(*given)
        except ValueError as problem:
            self._say(place, str(problem))
            return None


def _table_name(side: str, template: str | None, name: str, parameters: Parameters) -> str:
    if not template:
        raise ValueError(f"is missing; name the {side} table here or in defaults")
    known = {"table": name}
    for label, values in (("source", parameters.source), ("target", parameters.target)):
        known |= {f"{label}.{key}": getattr(values, key) for key in ("environment", "region", "account")}
    text = ""
    for part in templates.parse(template):
        if isinstance(part, templates.Hole):
            if part.name not in known or part.format:
                raise ValueError(f"unknown hole {{{part.name}}}{suggest(part.name, list(known))}")
            part = known[part.name] or part.default
            if part is None:
                raise ValueError(f"{template!r} needs a value that the parameters file does not give; add it there")
        text += part
    if text.startswith("arn:"):
        if not _TABLE_ARN.fullmatch(text):
            raise ValueError(f"{text!r} is not a table's ARN; write arn:aws:dynamodb:REGION:ACCOUNT:table/NAME")
        return text
    if not _TABLE_NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not a table name; use letters, digits, '_', '-' and '.', 255 at most")
    return text


def _field_name(written: str) -> str:
    """The attribute of the target that a key under `fields` names."""
    if not written:
        raise ValueError("is not a name; name an attribute")
    try:
        steps = paths.parse(written)
    except ValueError:
        steps = ()
    if len(steps) != 1:
        plain = paths.escaped(written.replace("\\", ""))
        raise ValueError(
            f"is a path, and a field is one attribute; if its name holds these characters, write {plain!r}"
        )
    return steps[0]


def _reference(reference: Reference, models: dict[str, EntryModel]) -> tuple[templates.Parts, ...]:
    given = [name for name in ("to", "table_named_by", "record_of") if getattr(reference, name) is not None]
    if len(given) != 1:
        raise ValueError("needs one of `to` (an entry), `table_named_by` (an attribute) and `record_of`")
    record = reference.record_of
    if isinstance(record, str) and record not in models:
        raise ValueError(f"refers to {record!r}, which is not an entry{suggest(record, list(models))}")
    if reference.to == [] or len({*reference.places}) < len(reference.places):
        raise ValueError("`to` is empty or names an entry twice; name one entry or more, each once")
    return tuple(_place(place, models) for place in reference.places)


def _place(place: str, models: dict[str, EntryModel]) -> templates.Parts:
    if "{" not in place and "}" not in place:
        parts: templates.Parts = (templates.Hole(place),)
    else:
        parts = templates.parse(place)
        _check_separated(parts)
    holes = templates.entries(parts)
    if not holes:
        raise ValueError("names no entry; write one in braces, as in 'ORG#{Orgs}'")
    for hole in templates.holes(parts):
        if hole.format or hole.default is not None:
            raise ValueError(f"{{{hole.name}}} takes no format or default; name the entry alone")
    for hole in holes:
        if hole.name not in models:
            raise ValueError(f"refers to {hole.name!r}, which is not an entry{suggest(hole.name, list(models))}")
        if models[hole.name].id is None:
            raise ValueError(f"refers to {hole.name}, which has no ids (`id: null`); give it an id attribute")
    return parts


def _check_separated(parts: templates.Parts) -> None:
    for before, after in pairwise(parts):
        if isinstance(before, templates.Hole) and isinstance(after, templates.Hole):
            raise ValueError("two holes with nothing between them cannot be told apart; add the separator")


def _drop(path: str) -> paths.Steps:
    steps = paths.parse(path)
    if not all(isinstance(step, str) or step in (paths.EACH, paths.VALUES) for step in steps):
        raise ValueError(
            "drop leaves out attributes, members of maps and elements; change texts and keys by `transform`"
        )
    return steps


def _id_parts(rule: Any) -> templates.Parts:
    """The template of an id inside its attribute; () where the id is the whole attribute, or none."""
    if not isinstance(rule, IdInside):
        return ()
    parts = templates.parse(rule.form)
    _check_separated(parts)
    names = [hole.name for hole in templates.entries(parts)]
    if names != ["id"]:
        raise ValueError(
            f"`as: {rule.form}` needs the hole {{id}} once, and else only {{*}}; write it as in 'USER#{{id}}'"
        )
    if any(hole.format or hole.default is not None for hole in templates.holes(parts)):
        raise ValueError(f"`as: {rule.form}`: the holes take no format or default; write {{id}} alone")
    return parts


def _inside_records(entry: Entry, entries: dict[str, Entry]) -> tuple[dict[tuple, str], list[Mistake]]:
    """The steps of all ids and references inside the records that the entry's paths hold, and what `dangling` says there."""
    found: dict[tuple, str] = {}
    mistakes = []
    for path, rule in entry.model.references.items():
        if rule.record_of is not None:
            if entry.paths[path] == (entry.model.id,):
                place = ("tables", entry.name, "references", path)
                mistakes.append(Mistake(place, "is the id attribute; a record cannot stand there"))
            of: Collection[str] = [rule.record_of] if isinstance(rule.record_of, str) else entries
            for name in of:
                for steps, inner in paths_in_record(entries[name]):
                    said = entries[name].model.references[inner].dangling if inner else "map"
                    place = (*entry.paths[path], *steps)
                    if found.get(place) != "remove":  # of records of several entries, what changes most
                        found[place] = said
    return found, mistakes


def check_all_keys(file: str, entries: dict[str, Entry], keys: dict[str, Keys]) -> None:
    """Refuses rules that can write no item, or take the value of a key away. Raises MappingError. `keys`: of each entry."""
    _refuse(file, [mistake for name, entry in entries.items() for mistake in check_keys(entry, keys[name])])


def with_creates(mapping: Mapping, creates: dict[str, Create]) -> Mapping:
    """The mapping with `create: like_source` resolved, by entry, and checked as if it had been written. Raises MappingError."""
    entries = dict(mapping.entries)
    mistakes: list[Mistake] = []
    for name, create in creates.items():
        model = entries[name].model.model_copy(update={"create": create})
        entries[name] = replace(entries[name], model=model, like_source=True)
        mistakes += [one.within("tables", name) for check in (check_fields, check_queries) for one in check(model)]
    _refuse(mapping.file, [*mistakes, *check_creates(entries)])
    return replace(mapping, entries=entries)
