"""The values by which a source item and an item of the target are the same: read at the paths of `match.by`, hashed. Pure."""

from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import orjson

from ...values import canonical, is_empty
from ..model import Entry
from ..text.paths import value_at

HASH_BYTES = 16


def compile_values(entry: Entry) -> Callable[[dict], list[dict | None]]:
    """A function from a target item to its canonical value at each path; None where that is absent, null, empty or no value."""
    paths = entry.match_paths

    def values(item: dict) -> list[dict | None]:
        return [_present(value_at(item, steps)) for steps in paths]

    return values


def compile_by(entry: Entry) -> Callable[[dict], bytes | None]:
    """A function from a target item to the hash of its values; None where it lacks one of them."""
    values = compile_values(entry)

    def by(item: dict) -> bytes | None:
        found = values(item)
        return None if None in found else hash_of(found)

    return by


def hash_of(values: list[dict]) -> bytes:
    """HASH_BYTES that are equal for equal values: numbers by value, sets without order, types apart."""
    return blake2b(orjson.dumps(values, option=orjson.OPT_SORT_KEYS), digest_size=HASH_BYTES).digest()


def folded(values: list[dict]) -> list[dict]:
    """The same values without the case of letters and the blanks around texts."""
    return [{"S": value["S"].strip().casefold()} if "S" in value else value for value in values]


def _present(value: dict | None) -> Any:
    if value is None or is_empty(value):
        return None
    try:
        return canonical(value)
    except ValueError:
        return None
