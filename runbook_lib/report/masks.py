"""A value's shape without its content: what a report may show of an item. Pure, but for a key made at import.

Letters become x or X, digits 9; punctuation and spaces stay, because they carry the form (an address, a date, a key
with separators). Beside the shape stands a short hash under a random key of this process, so that equal values are seen
to be equal within one notebook and can be recognised nowhere else.
"""

import secrets
import unicodedata
from hashlib import blake2b

from ..values import SCALARS, canonical, key_hash, serialize

LONGEST = 48  # characters of a shape
_KEY = secrets.token_bytes(32)
_ASCII_KEPT = set(" !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")


def shape(content: str) -> str:
    """`Ana Lopez 7` → `Xxx Xxxxx 9`; beyond 48 characters cut, with the length said."""
    masked = "".join(map(_masked, content[:LONGEST]))
    return masked if len(content) <= LONGEST else f"{masked}… {len(content):,} characters"


def _masked(character: str) -> str:
    if character in _ASCII_KEPT:
        return character
    category = unicodedata.category(character)
    if category in ("Lu", "Lt"):
        return "X"
    if category[0] in "LM":  # marks are parts of letters
        return "x"
    return "9" if category[0] == "N" else "•"


def value_shape(value: dict) -> str:
    """The shape of a typed value of any type; containers by the number of their members."""
    ((letter, content),) = value.items()
    if letter == "NULL":
        return "null"
    if letter == "BOOL":
        return "true/false"
    if letter in ("S", "N"):
        return shape(content) or "empty"
    if letter == "B":
        return _counted(len(content) * 3 // 4 - content[-2:].count("="), "byte")
    return _counted(len(content), "name" if letter == "M" else "member")


def described(value: dict) -> str:
    """Type and shape in one: `S · Xxx Xxxxx 9`, `L · 3 members`."""
    return f"{next(iter(value))} · {value_shape(value)}"


def tag(value: dict) -> str:
    """Six hex digits, equal for equal values; text and number of the same digits have the same."""
    try:
        value = canonical(value)
    except ValueError:  # what is no legal value is shown as well
        pass
    ((letter, content),) = value.items()
    return _hash(content.encode() if letter in SCALARS else serialize(value))


def key_tag(key: dict) -> str:
    """Six hex digits for a key of one or two attributes."""
    try:
        return _hash(key_hash(key))
    except ValueError:  # what is no legal key can still be in a listing
        return _hash(serialize(key))


def _hash(content: bytes) -> str:
    return blake2b(content, digest_size=3, key=_KEY).hexdigest()


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
