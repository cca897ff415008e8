"""How two tables differ, each given as `description.as_json` gives it. Pure."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ...mapping.create import ALL, KEYS_ONLY

SHAPE = ("key", "index", "projection")  # what a migration depends on; the rest can be changed at any time
# What of a description is compared as a whole → what a difference in it is called. Warm throughput is left out, as it
# grows by itself.
_WHOLE = {
    "billing": "billing",
    "units": "capacity",
    "stream": "stream",
    "protection": "protection",
    "encryption": "encryption",
    "replicas": "replica",
    "class": "class",
    "ttl": "ttl",
    "recovery": "recovery",
}


class Difference(NamedTuple):
    """One difference. `wanted` and `found` are plain JSON, as the descriptions have them; None where a side has nothing."""

    what: str  # key, index, projection, capacity, or another word of _WHOLE
    name: str  # of the index; "" for the table
    wanted: Any
    found: Any


def differences(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[Difference]:
    """Where two descriptions differ, key first; what only one of them says anything about is no difference."""
    different = []
    if wanted["key"] != found["key"]:
        different.append(Difference("key", "", wanted["key"], found["key"]))
    for name in sorted(wanted["indexes"].keys() | found["indexes"].keys()):
        one, other = wanted["indexes"].get(name), found["indexes"].get(name)
        if one is None or other is None or any(one[part] != other[part] for part in ("local", "key", "partition")):
            different.append(Difference("index", name, one, other))
            continue
        for part, what in (("projection", "projection"), ("units", "capacity")):
            if one[part] != other[part]:
                different.append(Difference(what, name, one[part], other[part]))
    for part, what in _WHOLE.items():
        if part in wanted and part in found and wanted[part] != found[part]:
            different.append(Difference(what, "", wanted[part], found[part]))
    return different


def is_narrower(found: str | list[str], wanted: str | list[str]) -> bool:
    """Whether one projection lacks an attribute that another has."""
    if found == ALL or wanted == KEYS_ONLY:
        return False
    return wanted == ALL or not set(wanted) <= (set() if found == KEYS_ONLY else set(found))


def lacking(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[Difference]:
    """Differences in shape by which a table cannot do what is wanted: more indexes, and wider ones, can."""
    return [
        one
        for one in differences(wanted, found)
        if one.what == "key"
        or (one.what == "index" and one.wanted is not None)
        or (one.what == "projection" and is_narrower(one.found, one.wanted))
    ]


def sentence(one: Difference) -> str:
    """A difference in shape as a phrase about the table that was found."""
    if one.what == "key":
        return f"its key is {key_text(one.found)}, not {key_text(one.wanted)}"
    if one.what == "projection":
        return f"index {one.name} projects {projection_text(one.found)}, not {projection_text(one.wanted)}"
    if one.found is None:
        return f"index {one.name} is missing"
    if one.found["local"] != one.wanted["local"]:
        kinds = ("global", "local")
        return f"index {one.name} is {kinds[one.found['local']]}, not {kinds[one.wanted['local']]}"
    return (
        f"the key of index {one.name} is {key_text(one.found['key'], one.found['partition'])}, "
        f"not {key_text(one.wanted['key'], one.wanted['partition'])}"
    )


def key_text(key: list[list[str]], partition: int = 1) -> str:
    """`PK (S) + SK (N)`; a partition key of several attributes stands in brackets."""
    parts = [f"{name} ({letter})" for name, letter in key]
    if partition > 1:
        parts = [f"[{' + '.join(parts[:partition])}]", *parts[partition:]]
    return " + ".join(parts)


def projection_text(projection: str | list[str]) -> str:
    """ALL, KEYS_ONLY, or the attributes."""
    return projection if isinstance(projection, str) else ", ".join(projection)
