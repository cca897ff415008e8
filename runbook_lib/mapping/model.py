"""What a mapping file may say, as pydantic models; and what it becomes: entries with table names, paths, references.

`load` fills these in; the other modules of this folder compile them.
"""

from dataclasses import dataclass, field
from functools import cached_property
from types import CodeType
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Field, WrapValidator, field_validator, model_serializer, model_validator

from ..errors import MappingError, Written
from ..values import from_python, is_empty
from ..yaml_files import Strict, suggest
from . import levels as graph
from .conditions import Condition
from .create import Create, Name, read_create
from .ids import KEEP, check_format
from .text import datetimes, templates
from .text.conversions import TYPES, convert, text_meant
from .text.derivation import DATETIME, Derive, derivation, parse_path
from .text.paths import JSON, Steps
from .text.templates import Parts

INSERT = "insert"  # what `match` may say of items that are found
ASKING = ("keep", "null", "remove")  # what `dangling` may say that depends on which ids the source holds


class NamedBy(Strict):
    """The entry whose name another attribute of the item holds."""

    table_named_by: Name


class Reference(Strict):
    """One path whose values are ids of other items, or whole records of another entry."""

    to: str | list[str] | None = None
    table_named_by: Name | None = None
    record_of: Name | NamedBy | None = None
    dangling: Literal["map", "keep", "null", "remove", "stop"] = "map"

    @property
    def places(self) -> list[str]:
        """What `to` gives: entries, or templates that name them."""
        return [self.to] if isinstance(self.to, str) else self.to or []

    @property
    def named_by(self) -> str | None:
        """The attribute that names the entry whose id, or record, stands at the path."""
        return self.record_of.table_named_by if isinstance(self.record_of, NamedBy) else self.table_named_by

    @field_validator("dangling", mode="before")
    @classmethod
    def _null(cls, value: Any) -> Any:
        return "null" if value is None else value  # YAML reads `dangling: null` as no value


class IdInside(Strict):
    """An id that is a part of an attribute's text."""

    attribute: Name = Field(alias="in")
    form: str = Field(alias="as")  # a template; the hole {id} takes the id


def _read_id(value: Any, check: Any) -> Any:
    return IdInside.model_validate(value) if isinstance(value, dict) else check(value)  # else a mistake names a union


class FieldRule(Strict):
    """One attribute of the target: a template, a constant, or a value of the source and what becomes of it."""

    template: str | None = None
    value: Any = None
    source: Name | None = Field(None, alias="from")  # a path to one value
    form: str | None = Field(
        None, alias="as"
    )  # a template; the hole {value} takes what the rest of the rule goes on with
    type: Literal[(*TYPES, DATETIME)] | None = None
    values: dict[str, Any] | None = None
    read: str | None = None  # how a datetime is spelt
    write: str | None = None
    default: Any = None
    on_error: Literal["quarantine", "default", "rest", "stop"] = "quarantine"

    @model_serializer(mode="wrap")
    def _as_said(self, dump: Any) -> dict[str, Any]:
        return {key: value for key, value in dump(self).items() if key != "default" or self.has_default}  # null is one

    @property
    def is_constant(self) -> bool:
        """Whether the rule gives a value (which may be null)."""
        return "value" in self.model_fields_set

    @property
    def text(self) -> str | None:
        """The text that it gives every item, or those without a value (its default); None where it gives none."""
        if self.template is not None:
            return None if self.holes else "".join(templates.literals(templates.parse(self.template)))
        return (self.constant if self.is_constant else self.plain_default if self.has_default else {}).get("S")

    @cached_property
    def constant(self) -> dict:
        """That value, typed. Raises ValueError where DynamoDB cannot hold it, or it has holes."""
        is_text = isinstance(self.value, str)
        return _constant(self.value, "write it without {value: …}" if is_text else "build it by `transform`")

    @cached_property
    def constants(self) -> dict[str, dict]:
        """Text → the typed value that `values` gives for it. Raises ValueError as `constant` does."""
        return {text: self.constant_for(text) for text in self.values or {}}

    def misspelt(self, letter: str) -> dict[str, str]:
        """Texts of `values` that no value of a type (N, BOOL) is compared as → the text as which what they mean is compared."""
        found = {text: text_meant(text, letter) for text in self.values or () if self.form is None}
        return {text: right for text, right in found.items() if right != text}

    def constant_for(self, text: str) -> dict:
        """The typed value that `values` gives for a text. Raises ValueError as `constant` does."""
        return _constant(self.values[text], "give a value without it")

    @cached_property
    def steps(self) -> Steps:
        """The path that it reads; () without `from`. Raises ValueError where it is none."""
        return parse_path(self.source) if self.source else ()

    @property
    def uses_up(self) -> str | None:
        """The source attribute that it uses up: the one that it reads as a whole."""
        return self.steps[0] if len(self.steps) == 1 else None

    @property
    def origin(self) -> str | None:
        """The attribute that it reads, or the path inside one, as messages name it."""
        return self.uses_up or self.source

    @cached_property
    def holes(self) -> list[templates.Hole]:
        """The holes of its template."""
        return templates.holes(templates.parse(self.template)) if self.template is not None else []

    @property
    def reads_json(self) -> bool:
        """Whether it reads its value out of JSON text."""
        return JSON in self.steps

    @property
    def derives(self) -> bool:
        """Whether it makes something else of its value, which may fail."""
        return self.form is not None or self.type is not None or self.values is not None

    def derivation(self) -> Derive | None:
        """The function that makes it of a value that is not empty; None where the rule copies. See `text.derivation`."""
        return derivation(
            self.form, self.type, None if self.values is None else self.constants, (self.read or "", self.write or "")
        )

    @property
    def has_default(self) -> bool:
        """Whether the rule gives a default (which may be null)."""
        return "default" in self.model_fields_set

    @cached_property
    def plain_default(self) -> dict:
        """The default as it is written, typed. Raises ValueError as `constant` does."""
        return _constant(self.default, "give a default without it")

    @property
    def falls_back(self) -> bool:
        """Whether a value that does not convert is replaced or kept elsewhere; the item is written all the same."""
        return self.on_error in ("default", "rest")


class Query(Strict):
    """An access pattern; validation proves it by running the query."""

    key: dict[str, Any] = Field(min_length=1, max_length=8)
    index: str | None = None
    filter: dict[str, Any] = {}


class Accept(Strict):
    """What the user has seen and accepts: counted and listed as ever, but no reason for REVIEW."""

    empty: bool = False  # the source table has no items
    extra: bool = False  # items of the target that the mapping does not produce
    dangling: list[str] = []  # reference paths
    unreadable: list[str] = []  # reference paths
    unmatched: list[str] = []  # names that no item has
    differs: list[str] = []  # target attributes
    queries: list[str] = []  # names of queries that prove nothing


class Match(Strict):
    """Items that the target has already: what identifies one, and what becomes of the source item that it equals."""

    by: list[str] = Field(min_length=1)  # attributes of the target, or paths through maps
    found: Literal["reuse", "insert", "stop"] = "reuse"


NOT_WRITTEN = ("accept", "not_references")  # what of an entry changes no item, and so no fingerprint


class EntryModel(Strict):
    """An entry, or the defaults of all entries, as written."""

    source: str | None = None
    target: str | None = None
    id_rule: Annotated[Name | IdInside | None, WrapValidator(_read_id)] = Field("id", alias="id")  # None: it has no ids
    id_format: Annotated[str, AfterValidator(check_format)] = "uuid"
    where: dict[str, Any] = {}
    references: dict[str, Reference] = {}
    fields: dict[str, FieldRule] | None = None
    rest: Name | None = None
    drop: list[str] = []
    expired: Literal["copy", "skip"] = "copy"
    match: Match | None = None
    transform: str | None = None  # FILE.py:FUNCTION, a file beside the mapping
    # Not left to pydantic, which would name the alternatives of a union in its messages.
    create: Annotated[Create | Literal["like_source"] | None, WrapValidator(read_create)] = None
    queries: dict[str, Query] = {}
    not_references: list[Name] = []  # paths whose values look like ids and are none
    accept: Accept = Accept()

    @property
    def id(self) -> str | None:
        """The attribute that is the id, or holds it."""
        return self.id_rule.attribute if isinstance(self.id_rule, IdInside) else self.id_rule

    @property
    def described(self) -> Create | None:
        """What the file itself says of the target table; in a plan, `create` is resolved and says all."""
        return self.create if isinstance(self.create, Create) else None

    @property
    def reuses(self) -> bool:
        """Whether a source item that equals one of the target is not written, and has that one's id."""
        return self.match is not None and self.match.found == "reuse"

    @property
    def makes_ids(self) -> bool:
        """Whether every item of it gets an id other than that of the source; with `keep` only those do that are matched."""
        return bool(self.id) and self.id_format != KEEP

    @property
    def renews_ids(self) -> bool:
        """Whether items of it get new ids. Without an id attribute nothing does, so references to them stay too."""
        return self.makes_ids or (bool(self.id) and self.reuses)

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        content = dict(content)
        for group, key in (("references", "to"), ("fields", "template")):
            if isinstance(rules := content.get(group), dict):
                content[group] = {name: {key: r} if isinstance(r, str) else r for name, r in rules.items()}
        return content


class MappingModel(Strict):
    """A mapping file as written."""

    defaults: EntryModel = EntryModel()
    tables: dict[str, EntryModel] = Field(min_length=1)
    unrouted: Literal["review", "ignore"] = "review"


class Keys(NamedTuple):
    """Key attributes of an entry's tables → type letters; empty where they are not known."""

    source: dict[str, str] = {}
    target: dict[str, str] = {}
    indexes: dict[str, str] = {}  # of the target


@dataclass(frozen=True)
class Code:
    """A Python file beside the mapping, as it was read once: what the fingerprint covers is what runs."""

    file: str  # its name
    source: bytes
    compiled: CodeType
    defined: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)  # by it, once it was executed


@dataclass(frozen=True)
class Entry:
    """One entry with its defaults filled in and its table names resolved; the input from which routes are compiled."""

    name: str
    source: str
    target: str
    model: EntryModel
    paths: dict[str, Steps]  # reference path as written -> steps
    # reference path -> the parsed templates, of which one fits; a plain entry is one hole; none where no entry is named
    references_to: dict[str, tuple[Parts, ...]]
    conditions: tuple[Condition, ...] = ()  # of `where`
    id_parts: Parts = ()  # the parsed template around an id that stands inside its attribute
    drops: tuple[Steps, ...] = ()  # the paths of `drop`
    match_paths: tuple[tuple[str, ...], ...] = ()  # of `match.by`
    inside: dict[tuple, str] = field(default_factory=dict)  # steps of what is rewritten inside the records that its
    # paths hold -> what `dangling` says there
    like_source: bool = False  # `create` was resolved against the source
    code: Code | None = None  # of `transform`; None also where it is not to run
    # The source's TTL attribute, and the second since 1970 as of which `expired: skip` leaves items out.
    expires: tuple[str, int] | None = None

    @property
    def dropped(self) -> set[str]:
        """The whole attributes that `drop` leaves out."""
        return {steps[0] for steps in self.drops if len(steps) == 1}

    @property
    def selecting(self) -> set[str]:
        """The source attributes that decide which items it selects, and which of these it leaves out."""
        return {condition.path[0] for condition in self.conditions} | {*(self.expires or ())[:1]}

    def named(self, path: str) -> set[str]:
        """The entries whose ids may stand at a reference path, as far as the mapping names them."""
        return {hole.name for parts in self.references_to[path] for hole in templates.entries(parts)}

    def parents(self) -> set[str]:
        """The entries it refers to by name; entries that an attribute names (`table_named_by`) are not included."""
        named = {name for path in self.paths for name in self.named(path)}
        records = {rule.record_of for rule in self.model.references.values() if isinstance(rule.record_of, str)}
        return named | records

    def asking(self) -> set[str]:
        """The attributes whose new values depend on which ids the source holds."""
        own = {steps[0] for path, steps in self.paths.items() if self.asks(path)}
        return own | {steps[0] for steps, dangling in self.inside.items() if dangling in ASKING}

    def asks(self, path: str) -> bool:
        """Whether what is written at a reference path depends on which ids the source holds."""
        return self.model.references[path].dangling in ASKING or len(self.references_to[path]) > 1


@dataclass(frozen=True)
class Mapping:
    """A checked mapping, resolved for one pair of environments."""

    file: str
    entries: dict[str, Entry]
    ignore_unrouted: bool
    fingerprint: str  # SHA-256 of the resolved content
    written: Written = field(default=Written(""), compare=False, repr=False)

    def levels(self) -> dict[str, int]:
        """Each entry's level (parents first, from 1), derived from the references."""
        return graph.levels({name: entry.parents() for name, entry in self.entries.items()})

    def check_names(self, tables: list[str]) -> None:
        """Raises MappingError where a name is not an entry."""
        for name in tables:
            if name not in self.entries:
                raise MappingError(f"{self.file}: no entry {name!r}{suggest(name, list(self.entries))}")


def _constant(value: Any, instead: str) -> dict:
    """A plain value, typed. Raises ValueError, what is wrong and what to write."""
    value = templates.constant(value, instead)
    try:
        return from_python(value)
    except ValueError as problem:
        raise ValueError(f"{problem}; write a value that DynamoDB can hold") from None


def default_of(rule: FieldRule) -> dict:
    """A rule's default as a typed value, of the rule's type, or null. Raises ValueError where it does not convert."""
    default = rule.plain_default
    if rule.type == DATETIME and rule.default is not None:
        return datetimes.default_as(default, rule.read, rule.write)
    if rule.type and rule.default is not None:
        return convert(default, rule.type)
    return default


def made_of(rule: FieldRule, derive: Derive | None, value: dict) -> dict | None:
    """What a rule, with its derivation, makes of a value; None where it can make nothing of it. `value`: {} for none."""
    if rule.has_default and (not value or is_empty(value)):
        return default_of(rule)
    try:
        return derive(value) if derive else value
    except ValueError:
        return None
