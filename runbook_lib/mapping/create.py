"""How a mapping describes a table to create: key, indexes, TTL and the rest, as pydantic models."""

import re
from typing import Annotated, Any, Literal

from pydantic import Field, WrapValidator, field_validator, model_validator

from ..yaml_files import Strict

_INDEX_NAME = re.compile(r"[A-Za-z0-9_.-]{3,255}")
LIKE_SOURCE = "like_source"
ALL, KEYS_ONLY = "ALL", "KEYS_ONLY"  # projections of an index
MOST_LOCAL, MOST_GLOBAL, MOST_PROJECTED = 5, 20, 100  # indexes of a table, and attributes that they project by name
KeyType = Literal["S", "N", "B"]
Name = Annotated[str, Field(min_length=1)]  # of an attribute


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
    if word := next((word for word in (ALL, KEYS_ONLY, "*") if word in value), None):
        raise ValueError(
            f"a list names attributes, and {word} is none; write {KEYS_ONLY if word == KEYS_ONLY else ALL} without [ ]"
        )
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

    @field_validator("tags")
    @classmethod
    def _plain(cls, tags: dict) -> dict:
        for name, text in tags.items():
            if "{" in text or "{" in name:
                raise ValueError(
                    f"{name}: {text!r} is no template, and no tag holds braces; write the text itself, or ${{VAR}}"
                )
        return tags

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


def read_create(value: Any, _: Any) -> Any:
    """What `create` says. Raises ValueError for text that is not LIKE_SOURCE."""
    if isinstance(value, str) and value != LIKE_SOURCE:
        raise ValueError(f"{value!r} is unknown; write {LIKE_SOURCE}, or {{key: …}}")
    return value if value is None or value == LIKE_SOURCE else Create.model_validate(value)
