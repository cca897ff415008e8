"""Reading a mapping file: checked, its defaults filled in, resolved to `Entry` objects (see `model`).

Mistakes in a file raise one MappingError that states all of them: file, line, entry, what is wrong and how to fix it.
"""

import hashlib
import json
import re
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import cache, partial
from itertools import combinations
from typing import Any

from pydantic import ValidationError

from ...errors import MappingError, Mistake, Written, refuse
from ...parameters import Parameters
from ...yaml_files import expand, explain, read_yaml, suggest
from .. import conditions
from ..create import Create
from ..model import KEEP, NOT_WRITTEN, Code, Entry, EntryModel, IdInside, Keys, Mapping, MappingModel
from ..references import paths_in_record
from ..text import paths
from ..transform import code_file, read_code
from . import rules
from .checks import (
    Mistakes,
    check_accept,
    check_creates,
    check_fields,
    check_keys,
    check_queries,
    described_keys,
)
from .hints import hint
from .matching import check_matches

# JSON reads numbers there, and YAML reads some of them as text
_POWER_OF_TEN = re.compile(r"[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+")
_KEYS = {field.alias or name for name, field in EntryModel.model_fields.items()}  # of an entry


def load_mapping(parameters: Parameters) -> Mapping:
    """The mapping that the parameters name, checked and resolved. Read-only. Raises MappingError."""
    content, written = read_yaml(parameters.mapping_path(), MappingError)
    if "mapping" in content and "tables" not in content:
        says = "this is a parameters file; under `mapping`, name the file that holds `tables`"
        refuse([Mistake((), says, written.mark(("mapping",)))], written, MappingError)
    return _mapping(content, written, parameters)


def mapping_of(content: dict[str, Any], file: str, parameters: Parameters) -> Mapping:
    """The same for what a mapping file holds; `file` is its name in messages, which know no lines."""
    return _mapping(content, Written(file), parameters)


def _mapping(content: dict[str, Any], written: Written, parameters: Parameters) -> Mapping:
    unset: list[Mistake] = []
    content = expand(content, unset)
    for group in ("tables", "defaults"):
        if content.get(group, {}) is None:
            content[group] = {}
    if isinstance(tables := content.get("tables"), dict):
        content["tables"] = {name: {} if entry is None else entry for name, entry in tables.items()}
    mistakes, models = _models(content)
    mistakes += _ambiguous(written)
    # What refers to an entry whose form is wrong still refers to an entry.
    known = {**{name: EntryModel() for name in content["tables"]}, **models} if models else {}
    entries = {}
    read_beside = cache(partial(read_code, parameters.mapping_path().parent))
    for name, model in models.items():
        reader = _Reader(name, model, known, parameters, read_beside)
        entry = reader.entry()
        mistakes += reader.mistakes
        if not reader.mistakes:
            entries[name] = entry
    for name in models:
        if models[name].id is None and content["tables"][name].get("id_format", KEEP) != KEEP:
            says = "the entry has no ids (`id: null`); remove one of them"
            mistakes.append(Mistake(("tables", name, "id_format"), says))
    for name, entry in entries.items():
        inside, found = _inside_records(entry, entries)
        entries[name] = replace(entry, inside=inside)
        mistakes += found
    mistakes += [*check_creates(entries), *check_matches(entries)]
    for entry in entries.values():
        mistakes += check_keys(entry, described_keys(entry.model.described))
    mistakes += [one for one in _empty(written) if one.is_new(mistakes)]
    refuse([*unset, *(one for one in _once(mistakes, content, models) if one.is_new(unset))], written, MappingError)
    resolved = {name: [entry.source, entry.target, _deciding(entry.model)] for name, entry in entries.items()}
    for name, entry in entries.items():
        if entry.code:
            resolved[name].append(hashlib.sha256(entry.code.source).hexdigest())
    # repr for Decimal: 1.5 and "1.5" are not the same mapping. In the order of the file, which {PK, SK} depends on.
    fingerprint = hashlib.sha256(json.dumps([resolved, content.get("unrouted")], default=repr).encode())
    return Mapping(written.file, entries, content.get("unrouted") == "ignore", fingerprint.hexdigest(), written)


def _deciding(model: EntryModel) -> dict[str, Any]:
    """What of an entry decides what is written. A rule that came later counts only where it is given."""
    without = {*NOT_WRITTEN} if model.match else {*NOT_WRITTEN, "match"}
    return model.model_dump(by_alias=True, exclude=without)


def _models(content: dict[str, Any]) -> tuple[list[Mistake], dict[str, EntryModel]]:
    """What is wrong in the form of the content; the entries whose form is right, with the right defaults filled in."""
    mistakes = list(_misplaced(content))
    try:
        MappingModel.model_validate(content)
    except ValidationError as problem:
        may_be_empty = ("tables",) if mistakes else None  # its entries stand elsewhere
        found = explain(problem, content, MappingModel, hint)
        mistakes += [one for one in found if one.is_new(mistakes) and one.place != may_be_empty]
    groups = {}
    for group in ("defaults", "tables"):
        wrong = {one.place[1:2] for one in mistakes if one.place[:1] == (group,)}
        inner = content.get(group, {})
        groups[group] = {n: v for n, v in inner.items() if (n,) not in wrong} if isinstance(inner, dict) else {}
    models = {name: EntryModel.model_validate({**groups["defaults"], **e}) for name, e in groups["tables"].items()}
    return mistakes, models


def _misplaced(content: dict[str, Any]) -> Mistakes:
    """Entries, and keys of entries, that are not indented as far as they should be."""
    known = list(MappingModel.model_fields)
    for name, value in content.items():
        if name in _KEYS:
            yield Mistake(
                (name,), "is a key of an entry; indent it below its entry in `tables`, or put it into `defaults`"
            )
        elif name not in known and isinstance(value, dict | None) and "mean" not in suggest(name, known):
            yield Mistake((name,), "unknown key; an entry stands below `tables`: indent it")
    tables = content.get("tables")
    for name, value in tables.items() if isinstance(tables, dict) else ():
        if name in _KEYS and not (isinstance(value, dict) and value.keys() <= _KEYS):
            yield Mistake(
                ("tables", name), "is a key of an entry, and stands beside the entries; indent it below its entry"
            )


def _ambiguous(written: Written) -> Mistakes:
    """Words that YAML reads as true or false, and numbers that it reads as text, where a value of any type may stand."""
    for place, node in written.scalars():
        inside = place[2:] if place[:1] == ("tables",) else place[1:]
        typed = inside[:1] in (("where",), ("queries",)) or inside[2:3] in (("default",), ("value",), ("values",))
        if typed and node.style is None and node.tag.endswith(":str") and _POWER_OF_TEN.fullmatch(node.value):
            yield Mistake(
                place, f"{node.value} without quotes is text; write the number out, or put the text in quotes"
            )
        if (
            typed
            and place[-1] != "exists"
            and node.tag.endswith(":bool")
            and node.value.lower() not in ("true", "false")
        ):
            read = "true" if node.value.lower() in ("yes", "on") else "false"
            yield Mistake(place, f"{node.value} without quotes means {read}; write {read}, or put the text in quotes")


def _empty(written: Written) -> Mistakes:
    """Keys of entries without a value, which YAML reads as null, and null may mean much."""
    for place, node in written.scalars():
        if node.tag.endswith(":null") and not node.value and place[2 if place[0] == "tables" else 1 :]:
            words = (
                "map, keep, null, remove or stop" if place[-1] == "dangling" else "a value, or null if you mean that"
            )
            yield Mistake(place, f"is empty; write {words}")


def _once(mistakes: list[Mistake], content: dict[str, Any], models: dict[str, EntryModel]) -> list[Mistake]:
    """The same mistakes; those that all entries take from `defaults`, or miss alike, once and in `defaults`."""
    defaults = content["defaults"] if isinstance(content.get("defaults"), dict) else {}
    places = {one.place for one in mistakes}
    # A key that is misspelt or stands elsewhere may be the one that is missing.
    astray = any(
        len(one.place) < 3 and ("unknown key" in one.says or "key of an entry" in one.says) for one in mistakes
    )
    found: list[Mistake] = []
    for one in mistakes:
        place = one.place[2:]
        if astray and place in (("source",), ("target",)) and one.says.startswith("is missing"):
            continue
        if place and one.place[0] == "tables" and (name := one.place[1]) in models:
            heirs = [other for other in models if place[0] not in content["tables"][other]]
            shared = name in heirs and (place[0] in defaults or len(heirs) > 1)
            if shared and places.issuperset(("tables", other, *place) for other in heirs):
                if name != heirs[0]:
                    continue
                one = Mistake(("defaults", *place), one.says)
        found.append(one)
    return found


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
                self._try(("fields", name), rules.field_name, name) or name: rule for name, rule in model.fields.items()
            }
            model = model.model_copy(update={"fields": fields})
        source = self._try(("source",), rules.table_name, "source", model.source, self._name, self._parameters) or ""
        target = self._try(("target",), rules.table_name, "target", model.target, self._name, self._parameters) or ""
        steps, references_to = {}, {}
        id_parts = self._try(("id",), rules.id_parts, model.id_rule) or ()
        self._try(("id_format",), rules.check_around, model.id_format, id_parts)
        for path, reference in model.references.items():
            place = ("references", path)
            steps[path] = self._try(place, paths.parse, path) or ("",)
            places = self._try(place, rules.reference, reference, self._models)
            references_to[path] = places or ()
            if steps[path] == (model.id,) and not isinstance(model.id_rule, IdInside):
                self._say(place, "is the id attribute itself; remove the reference (the id is always rewritten)")
            elif steps[path] == (model.id,) and id_parts and places is not None and rules.takes_id(places, id_parts):
                self._say(place, "takes the id itself, which is always rewritten; write {*} where the id stands")
            elif len(steps[path]) > 1 and model.id and paths.meet(steps[path], (model.id,)):
                self._say(
                    place, "takes the id apart, which is always rewritten; write a template, as in 'ORG#{Orgs}#{*}'"
                )
            if reference.dangling == "null" and (text := paths.text_at_end(steps[path])):
                self._say(place, f"{text} cannot be null; write `dangling: remove`")
        pairs = [(one, other) for one, other in combinations(steps, 2) if paths.meet(steps[one], steps[other])]
        for path, other in pairs:
            if {model.references[path].dangling, model.references[other].dangling} != {"keep"}:
                self._say(
                    ("references", other),
                    f"leads to a value that {path} leads to, too, and would rewrite it once more; write one of them, "
                    "with {to: [ENTRY, ENTRY]} where ids of several stand",
                )
        for path in model.not_references:  # compared with paths as the analysis spells them
            if path in model.references:
                self._say(("not_references",), f"{path}: is also under references; remove it from one of them")
            else:
                below = "_" if path[0] == "{" else ""  # {keys} and {} of an item itself
                self._try(("not_references", path), paths.parse, below + path)
        match = model.match.by if model.match else []
        match_paths = [self._try(("match", "by", path), paths.members, path) for path in match]
        drops = [self._try(("drop", path), rules.drop, path) for path in model.drop]
        where = [self._try(("where", path), conditions.read, path, wanted) for path, wanted in model.where.items()]
        if None not in where and (pair := conditions.contradiction(where)):
            inner, outer = ([*model.where][number] for number in pair)
            self._say(
                ("where", inner), f"is inside {outer}, which the condition beside it says is no map; remove one of them"
            )
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
            match_paths=tuple(steps for steps in match_paths if steps),
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


def _inside_records(entry: Entry, entries: dict[str, Entry]) -> tuple[dict[tuple, str], list[Mistake]]:
    """The steps of all ids and references inside the records that the entry's paths hold, and what `dangling` says there."""
    found: dict[tuple, str] = {}
    mistakes = []
    for path, rule in entry.model.references.items():
        if rule.record_of is not None:
            if entry.paths[path] == (entry.model.id,):
                place = ("tables", entry.name, "references", path)
                mistakes.append(Mistake(place, "is the id attribute; a record cannot stand there"))
            of: Collection[str] = {rule.record_of} if isinstance(rule.record_of, str) else entries
            for name in [name for name in of if name in entries]:  # one with a mistake is not among them
                for steps, inner in paths_in_record(entries[name]):
                    said = entries[name].model.references[inner].dangling if inner else "map"
                    place = (*entry.paths[path], *steps)
                    if found.get(place) != "remove":  # of records of several entries, what changes most
                        found[place] = said
    for path, steps in entry.paths.items():
        if any(paths.meet(steps, place) for place in found):
            says = "is rewritten by the rules of the record that stands above it; remove it"
            mistakes.append(Mistake(("tables", entry.name, "references", path), says))
    return found, mistakes


def check_all_keys(mapping: Mapping, keys: dict[str, Keys]) -> None:
    """Refuses rules that can write no item, or take the value of a key away. Raises MappingError. `keys`: of each entry."""
    found = [mistake for name, entry in mapping.entries.items() for mistake in check_keys(entry, keys[name])]
    refuse(found, mapping.written, MappingError)


def with_creates(mapping: Mapping, creates: dict[str, Create]) -> Mapping:
    """The mapping with `create: like_source` resolved, by entry, and checked as if it had been written. Raises MappingError."""
    entries = dict(mapping.entries)
    mistakes: list[Mistake] = []
    for name, create in creates.items():
        model = entries[name].model.model_copy(update={"create": create})
        entries[name] = replace(entries[name], model=model, like_source=True)
        mistakes += [one.within("tables", name) for check in (check_fields, check_queries) for one in check(model)]
    refuse([*mistakes, *check_creates(entries)], mapping.written, MappingError)
    return replace(mapping, entries=entries)
