"""Field types: a conversion is exact or does not happen. Pure.

`convert` returns the converted typed value, or raises ValueError with the reason.
"""

import json
import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from ...values import (
    CANONICAL_NUMBER,
    MAX_LEVELS,
    SCALARS,
    SETS,
    canonical,
    canonical_number,
    key_bytes,
    levels,
    serialize,
)
from .paths import JSON

TYPES = {"string": "S", "number": "N", "boolean": "BOOL", "list": "L", "map": "M"}

_PLAIN_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def convert(value: dict, wanted: str) -> dict:
    """The typed value converted exactly to `wanted`: string, number, boolean, list or map.

    Raises ValueError with a reason that does not quote the value.
    """
    ((letter, content),) = value.items()
    if letter == TYPES[wanted]:
        return value
    if wanted == "string":
        if (text := text_of_scalar(value)) is not None:
            return {"S": text}
    elif letter == "S":
        return _FROM_TEXT[wanted](content)
    raise ValueError(f"type {letter} does not convert to {wanted}")


def text_of_scalar(value: dict) -> str | None:
    """The text of a text, number (a plain decimal) or boolean; None for any other. Raises ValueError for no legal number."""
    ((letter, content),) = value.items()
    if letter == "BOOL":
        return "true" if content else "false"
    return content if letter == "S" else canonical_number(content) if letter == "N" else None


def text_meant(text: str, letter: str) -> str:
    """The one text, as `text_of_scalar` has it, of the number (N) or boolean (BOOL) that a text spells; itself for any other."""
    if letter == "BOOL":
        return text.lower() if text.lower() in ("true", "false") else text
    try:
        return canonical_number(text)
    except ValueError:
        return text


def _number(text: str) -> dict:
    if CANONICAL_NUMBER.fullmatch(text):
        return {"N": text}
    if not _PLAIN_DECIMAL.fullmatch(text):
        raise ValueError("text that is not a plain decimal number")
    if len(text) > 38 and sum(character.isdigit() for character in text) > 38:
        raise ValueError("a number of more than 38 digits")
    return {"N": canonical_number(text)}


def _boolean(text: str) -> dict:
    if text.lower() not in ("true", "false"):
        raise ValueError("text that is neither true nor false")
    return {"BOOL": text.lower() == "true"}


def _list(text: str) -> dict:
    if text.lstrip()[:1] not in ("[", "{"):
        return {"L": [{"S": piece} for part in text.split(",") if (piece := part.strip())]}
    return _structure(_json_list, text)


def _map(text: str) -> dict:
    return _structure(_json_map, text)


# Each raises ValueError as `convert` does.
_FROM_TEXT: dict[str, Callable[[str], dict]] = {"number": _number, "boolean": _boolean, "list": _list, "map": _map}


def _structure(read: Callable[[str], dict], text: str) -> dict:
    try:
        value = read(text)
        too_deep = text.count("[") + text.count("{") >= MAX_LEVELS and levels({"": value}) > MAX_LEVELS
    except RecursionError:
        too_deep = True
    if too_deep:
        raise ValueError(f"JSON text nested more than {MAX_LEVELS} levels deep")
    if text.isascii() and "\\" not in text:
        return value
    try:
        serialize(value)
    except TypeError:
        raise ValueError("JSON text with half a character (a lone surrogate)") from None
    return value


def _json_list(text: str) -> dict:
    parsed = _json(text)
    if _typed(parsed) and "L" in parsed:
        return parsed
    if not isinstance(parsed, list):
        raise ValueError("JSON text that is not a list")
    return {"L": parsed if parsed and all(map(_typed, parsed)) else [_from_json(member) for member in parsed]}


def _json_map(text: str) -> dict:
    parsed = _json(text)
    if not isinstance(parsed, dict):
        raise ValueError("JSON text that is not a map")
    if _typed(parsed):
        if "M" not in parsed:
            raise ValueError("exported DynamoDB JSON that is not a map")
        return parsed
    if parsed and all(map(_typed, parsed.values())):
        return {"M": parsed}
    return {"M": {name: _from_json(member) for name, member in parsed.items()}}


class _Number(str):
    """A JSON number as it was written, so that no digit is lost on the way."""


def _refuse(constant: str):
    raise ValueError("text that is not JSON")


def _unique(pairs: list) -> dict:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("JSON text with the same name twice")
    return found


_decoder = json.JSONDecoder(parse_int=_Number, parse_float=_Number, parse_constant=_refuse, object_pairs_hook=_unique)


def json_value(text: str, steps: Sequence) -> dict | None:
    """The typed value that JSON text holds at these steps, names and JSON; None where it holds none.

    Raises ValueError with a reason, as `convert` does.
    """
    return _structure(lambda text: _value_at(text, steps), text) or None


def _value_at(text: str, steps: Sequence) -> dict:
    value = _remembered(text)
    for step in steps:
        if step is JSON:
            if value is None or value == "":
                return {}
            if not isinstance(value, str) or isinstance(value, _Number):
                raise ValueError("a value that is not text, where JSON text should be")
            value = _remembered(value)
        elif not isinstance(value, dict) or step not in value:
            return {}
        else:
            value = value[step]
    return _from_json(value)


def _json(text: str):
    try:
        return _decoder.decode(text)
    except json.JSONDecodeError:
        raise ValueError("text that is not JSON") from None


_remembered = lru_cache(maxsize=8)(_json)  # several fields may read one text


def _from_json(value) -> dict:
    if value is None:
        return {"NULL": True}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, _Number):
        return {"N": canonical_number(value)}
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, list):
        return {"L": [_from_json(member) for member in value]}
    return {"M": {name: _from_json(member) for name, member in value.items()}}


def _typed(value) -> bool:
    """Whether a parsed JSON value is one well-formed typed value of exported DynamoDB JSON."""
    if not isinstance(value, dict) or len(value) != 1:
        return False
    ((letter, content),) = value.items()
    if letter in SCALARS:
        return type(content) is str and _is_legal({letter: content})
    if letter == "BOOL":
        return isinstance(content, bool)
    if letter == "NULL":
        return content is True
    if letter == "L":
        return isinstance(content, list) and all(map(_typed, content))
    if letter == "M":
        return isinstance(content, dict) and all(map(_typed, content.values()))
    if letter not in SETS or not isinstance(content, list) or not content:
        return False
    is_set = all(_typed({SETS[letter]: member}) for member in content)
    return is_set and len(canonical(value)[letter]) == len(content)  # a set holds nothing twice


def _is_legal(scalar: dict) -> bool:
    try:
        key_bytes(scalar)
    except ValueError:
        return False
    return True
