"""What a mapping file may say, as pydantic models; and what it becomes: entries with table names, paths, references.

`load` fills these in; the other modules of this folder compile them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, WrapValidator, field_validator, model_validator

from ..errors import MappingError
from ..values import from_python
from ..yaml_files import Strict, suggest
from . import levels as graph
from . import templates
from .conversions import TYPES, convert

_INDEX_NAME = re.compile(r"[A-Za-z0-9_.-]{3,255}")
OPERATORS = ("begins_with", "between", "<", "<=", ">", ">=")
LIKE_SOURCE = "like_source"
ALL, KEYS_ONLY = "ALL", "KEYS_ONLY"  # projections of an index
MOST_LOCAL, MOST_GLOBAL, MOST_PROJECTED = 5, 20, 100  # indexes of a table, and attributes that they project by name
ASKING = ("keep", "null", "remove")  # what `dangling` may say that depends on which ids the source holds
IdFormat = Literal["uuid", "short", "number", "keep"]
KeyType = Literal["S", "N", "B"]
Name = Annotated[str, Field(min_length=1)]  # of an attribute


class NamedBy(Strict):
    """The entry whose name another attribute of the item holds."""

    table_named_by: Name


class Reference(Strict):
    """One path whose values are ids of other items, or whole records of another entry."""

    to: str | None = None
    table_named_by: Name | None = None
    record_of: Name | NamedBy | None = None
    dangling: Literal["map", "keep", "null", "remove", "stop"] = "map"

    @property
    def named_by(self) -> str | None:
        """The attribute that names the entry whose id, or record, stands at the path."""
        return self.record_of.table_named_by if isinstance(self.record_of, NamedBy) else self.table_named_by

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


def _billing(value: Any, check: Any) -> Any:
    return (
        Units.model_validate(value) if isinstance(value, dict) else check(value)
    )  # else a mistake names the alternatives


def _projection(value: Any, _: Any) -> Any:
    if value in (ALL, KEYS_ONLY):
        return value
    if not isinstance(value, list) or not value or not all(isinstance(name, str) and name for name in value):
        raise ValueError(f"{value!r} is not a projection; write ALL, KEYS_ONLY or a list of attributes")
    if len(set(value)) < len(value):
        raise ValueError("an attribute stands twice; name each once")
    return value


class LocalIndex(Strict):
    """A local index; in short, where it projects everything, its key alone."""

    key: dict[str, KeyType] = Field(min_length=1, max_length=8)
    projection: Annotated[Literal["ALL", "KEYS_ONLY"] | list[str], WrapValidator(_projection)] = ALL

    @model_validator(mode="before")
    @classmethod
    def _short(cls, content: Any) -> Any:
        # In the short form every value is a type letter, so {key: S} is an index by an attribute of that name.
        if not isinstance(content, dict) or isinstance(content.get("key"), dict):
            return content
        for word in cls.model_fields.keys() - {"key"}:
            if word in content and content[word] not in ("S", "N", "B"):
                raise ValueError(f"{word} stands beside key attributes; write {{key: {{…}}, {word}: …}}")
        return {"key": content}


class GlobalIndex(LocalIndex):
    """A global index."""

    partition: int = Field(1, ge=1, le=4)  # so many of the key's attributes, from the first, are the partition key

    @model_validator(mode="after")
    def _divided(self) -> "GlobalIndex":
        most = 4 if "partition" in self.model_fields_set else 1
        if not 0 <= len(self.key) - self.partition <= most:
            raise ValueError(
                f"key has {len(self.key)} attributes, {self.partition} of them the partition key (`partition`); "
                "give at most 4 of each, and more than one sort key attribute only with `partition`"
            )
        return self


class Create(Strict):
    """How to create a missing target table."""

    key: dict[str, KeyType] = Field(min_length=1, max_length=2)
    indexes: dict[str, GlobalIndex] = {}
    local_indexes: dict[str, LocalIndex] = {}
    tags: dict[str, str] = {}
    billing: Annotated[Literal["PAY_PER_REQUEST"] | Units, WrapValidator(_billing)] = "PAY_PER_REQUEST"
    ttl: Name | None = None  # the attribute by which items expire
    stream: Literal["KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES"] | None = None
    point_in_time_recovery: bool = False
    deletion_protection: bool = False

    @property
    def all_indexes(self) -> dict[str, LocalIndex]:
        """Global and local ones."""
        return {**self.indexes, **self.local_indexes}

    @field_validator("indexes", "local_indexes")
    @classmethod
    def _names(cls, indexes: dict) -> dict:
        for name in indexes:
            if not _INDEX_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not an index name; use 3 to 255 letters, digits, '_', '-' and '.'")
        return indexes

    @model_validator(mode="after")
    def _fits(self) -> "Create":
        types: dict[str, str] = {}
        for key in (self.key, *(index.key for index in self.all_indexes.values())):
            for name, letter in key.items():
                if types.setdefault(name, letter) != letter:
                    raise ValueError(f"{name} is a key of types {types[name]} and {letter}; give it one type")
        if self.ttl and types.get(self.ttl, "N") != "N":
            raise ValueError(f"ttl: {self.ttl} is a key of type {types[self.ttl]}; items expire only by a number (N)")
        self._check_indexes()
        return self

    def _check_indexes(self) -> None:
        first, *sort = self.key
        for name, local in self.local_indexes.items():
            if name in self.indexes:
                raise ValueError(f"local_indexes: {name} is also under indexes; give one of them another name")
            if not sort:
                raise ValueError(f"local_indexes: {name} needs a table with a sort key; add one, or move it to indexes")
            if len(local.key) != 2 or next(iter(local.key)) != first:
                raise ValueError(
                    f"local_indexes: {name} needs the table's partition key {first} and one sort key of its own; "
                    "correct its key, or move it to indexes"
                )
        for group, most in (("local_indexes", MOST_LOCAL), ("indexes", MOST_GLOBAL)):
            if (number := len(getattr(self, group))) > most:
                raise ValueError(f"{group}: {number} are more than the {most} that a table can have; remove some")
        named = sum(len(index.projection) for index in self.all_indexes.values() if isinstance(index.projection, list))
        if named > MOST_PROJECTED:
            raise ValueError(
                f"the indexes project {named} attributes by name, more than the {MOST_PROJECTED} that a table can have; "
                "project ALL"
            )


def _create(value: Any, _: Any) -> Any:
    if isinstance(value, str) and value != LIKE_SOURCE:
        raise ValueError(f"{value!r} is unknown; write {LIKE_SOURCE}, or {{key: …}}")
    return value if value is None or value == LIKE_SOURCE else Create.model_validate(value)


class Query(Strict):
    """An access pattern; validation proves it by running the query."""

    key: dict[str, Any] = Field(min_length=1, max_length=8)
    index: str | None = None
    filter: dict[str, Any] = {}

    def misfit(self, names: Sequence[str], partition: int) -> str:
        """Why no Query asks for this by a key of these attributes, the first so many its partition key; "" where one does."""
        first, given = names[:partition], [name for name in names[partition:] if name in self.key]
        if self.key.keys() - {*names} or not self.key.keys() >= {*first}:
            least = "the partition key" if partition == 1 else " and ".join(first)
            return f"key must give {' and '.join(names)} ({least} at least)"
        for name in first:
            if isinstance(self.key[name], dict):
                return f"the partition key {name} needs one value; compare the sort key"
        for name, before in zip(given, names[partition:], strict=False):
            if name != before:
                return f"key gives {name} without {before}, which stands before it in the sort key; give both"
        for name in given[:-1]:
            if isinstance(self.key[name], dict):
                return f"{name} needs one value; of a sort key only the last attribute that is given is compared"
        return ""


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
    # Not left to pydantic, which would name the alternatives of a union in its messages.
    create: Annotated[Create | Literal["like_source"] | None, WrapValidator(_create)] = None
    queries: dict[str, Query] = {}
    not_references: list[Name] = []  # paths whose values look like ids and are none
    accept: Accept = Accept()

    @property
    def described(self) -> Create | None:
        """What the file itself says of the target table; in a plan, `create` is resolved and says all."""
        return self.create if isinstance(self.create, Create) else None

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


class Keys(NamedTuple):
    """Key attributes of an entry's tables → type letters; empty where they are not known."""

    source: dict[str, str] = {}
    target: dict[str, str] = {}
    indexes: dict[str, str] = {}  # of the target


@dataclass(frozen=True)
class Entry:
    """One entry with its defaults filled in and its table names resolved; the input from which routes are compiled."""

    name: str
    source: str
    target: str
    model: EntryModel
    paths: dict[str, tuple]  # reference path as written -> steps
    references_to: dict[str, tuple]  # reference path -> parsed template; () where it names no entry as an id's
    inside: dict[tuple, str] = field(default_factory=dict)  # steps of what is rewritten inside the records that its
    # paths hold -> what `dangling` says there
    like_source: bool = False  # `create` was resolved against the source

    def parents(self) -> set[str]:
        """The entries it refers to by name; entries that an attribute names (`table_named_by`) are not included."""
        named = {hole.name for parts in self.references_to.values() for hole in templates.holes(parts)}
        records = {rule.record_of for rule in self.model.references.values() if isinstance(rule.record_of, str)}
        return named | records

    def asking(self) -> set[str]:
        """The attributes whose new values depend on which ids the source holds."""
        own = [(steps, self.model.references[path].dangling) for path, steps in self.paths.items()]
        return {steps[0] for steps, dangling in (*own, *self.inside.items()) if dangling in ASKING}


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
    """A rule's default as a typed value, of the rule's type, or null. Raises ValueError where it does not convert."""
    default = from_python(rule.default)
    return convert(default, rule.type) if rule.type and rule.default is not None else default
