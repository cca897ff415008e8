"""What a mapping file may say, as pydantic models; and what it becomes: entries with table names, paths, references.

`load` fills these in; the other modules of this folder compile them.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ..errors import MappingError
from ..values import from_python, is_empty
from ..yaml_files import Strict, suggest
from . import levels as graph
from . import templates
from .conversions import TYPES, convert

_INDEX_NAME = re.compile(r"[A-Za-z0-9_.-]{3,255}")
OPERATORS = ("begins_with", "between", "<", "<=", ">", ">=")
IdFormat = Literal["uuid", "short", "number", "keep"]
KeyType = Literal["S", "N", "B"]
Name = Annotated[str, Field(min_length=1)]  # of an attribute


class Reference(Strict):
    """One path whose values are ids of other items."""

    to: str | None = None
    table_named_by: Name | None = None
    dangling: Literal["map", "keep", "null", "stop"] = "map"

    @field_validator("dangling", mode="before")
    @classmethod
    def _null(cls, value: Any) -> Any:
        return "null" if value is None else value  # YAML reads `dangling: null` as no value


class FieldRule(Strict):
    """One attribute of the target: a template, or a typed copy."""

    template: str | None = None
    source: Name | None = Field(None, alias="from")
    type: Literal[tuple(TYPES)] | None = None
    default: Any = None
    on_error: Literal["quarantine", "default", "rest", "stop"] = "quarantine"

    @property
    def has_default(self) -> bool:
        """Whether the rule gives a default (which may be null)."""
        return "default" in self.model_fields_set

    @property
    def falls_back(self) -> bool:
        """Whether a value that does not convert is replaced or kept elsewhere; the item is written all the same."""
        return self.on_error in ("default", "rest")


class Units(Strict):
    """Provisioned capacity."""

    read: int = Field(ge=1)
    write: int = Field(ge=1)


class Create(Strict):
    """How to create a missing target table."""

    key: dict[str, KeyType] = Field(min_length=1, max_length=2)
    indexes: dict[str, dict[str, KeyType]] = {}
    tags: dict[str, str] = {}
    billing: Literal["PAY_PER_REQUEST"] | Units = "PAY_PER_REQUEST"

    @field_validator("indexes")
    @classmethod
    def _names(cls, indexes: dict) -> dict:
        for name in indexes:
            if not _INDEX_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not an index name; use 3 to 255 letters, digits, '_', '-' and '.'")
        return indexes

    @model_validator(mode="after")
    def _one_type_each(self) -> "Create":
        types: dict[str, str] = {}
        for key in (self.key, *self.indexes.values()):
            for name, letter in key.items():
                if types.setdefault(name, letter) != letter:
                    raise ValueError(f"{name} is a key of types {types[name]} and {letter}; give it one type")
        return self


class Query(Strict):
    """An access pattern; validation proves it by running the query."""

    key: dict[str, Any] = Field(min_length=1, max_length=2)
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


NOT_WRITTEN = ("accept", "not_references")  # what of an entry changes no item, and so no fingerprint


class EntryModel(Strict):
    """An entry, or the defaults of all entries, as written."""

    source: str | None = None
    target: str | None = None
    id: Name | None = "id"  # None: the entry has no ids
    id_format: IdFormat = "uuid"
    where: dict[str, Any] = {}
    references: dict[str, Reference] = {}
    fields: dict[str, FieldRule] | None = None
    rest: Name | None = None
    drop: list[str] = []
    create: Create | None = None
    queries: dict[str, Query] = {}
    not_references: list[Name] = []  # paths whose values look like ids and are none
    accept: Accept = Accept()

    @property
    def renews_ids(self) -> bool:
        """Whether its items get new ids. Without an id attribute nothing does, so references to them stay too."""
        return bool(self.id) and self.id_format != "keep"

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


@dataclass(frozen=True)
class Entry:
    """One entry with its defaults filled in and its table names resolved; the input from which routes are compiled."""

    name: str
    source: str
    target: str
    model: EntryModel
    paths: dict[str, tuple]  # reference path as written -> steps
    references_to: dict[str, tuple]  # reference path -> parsed template, or () where another attribute names the table

    def parents(self) -> set[str]:
        """The entries it refers to by name; entries that an attribute names (`table_named_by`) are not included."""
        return {hole.name for parts in self.references_to.values() for hole in templates.holes(parts)}


@dataclass(frozen=True)
class Mapping:
    """A checked mapping, resolved for one pair of environments."""

    file: str
    entries: dict[str, Entry]
    ignore_unrouted: bool
    fingerprint: str  # SHA-256 of the resolved content

    def levels(self) -> dict[str, int]:
        """Each entry's level (parents first, from 1), derived from the references."""
        return graph.levels({name: entry.parents() for name, entry in self.entries.items()})

    def check_names(self, tables: list[str]) -> None:
        """Raises MappingError where a name is not an entry."""
        for name in tables:
            if name not in self.entries:
                raise MappingError(f"{self.file}: no entry {name!r}{suggest(name, list(self.entries))}")


def default_of(rule: FieldRule) -> dict:
    """A rule's default as a typed value, of the rule's type. Raises ValueError where it does not convert."""
    default = from_python(rule.default)
    return convert(default, rule.type) if rule.type and not is_empty(default) else default
