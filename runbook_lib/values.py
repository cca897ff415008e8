"""DynamoDB values as they stand on the wire, and the one canonical form that digests and equality use.

A typed value is a dict with one key, the type letter: ``{"S": "a"}``, ``{"N": "1.5"}``, ``{"B": "<base64>"}``. An item or
a key is a dict of attribute name to typed value. Nothing here turns them into Python numbers or bytes for storage, so
what is copied is copied bit by bit. Pure.
"""

import base64
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow, Subnormal
from functools import lru_cache
from hashlib import blake2b

import orjson

MAX_ITEM_BYTES = 400 * 1024
MAX_KEY_BYTES = {"partition": 2048, "sort": 1024}
MAX_LEVELS = 32
MAX_DIGITS = 38  # of a number
SETS = {"SS": "S", "NS": "N", "BS": "B"}
MAX_ATTRIBUTES = 2_000  # of items that are told apart: where they have more, the names are data
FURTHER = "(further attributes)"
ABSENT = "absent"  # what `differences` says of an attribute that an item lacks
SCALARS = ("S", "N", "B")
SHORT_SET = 200  # bytes
EXPIRING = 5 * 365 * 86_400  # seconds: what expired longer ago DynamoDB does not delete
_S, _N = b"SN"
_HASH = blake2b(digest_size=16)

_PLAIN = r"(?:-?(?:[1-9][0-9]{0,18}+(?:[0-9]{0,19}|\.[0-9]{0,17}[1-9])|0\.[0-9]{0,17}[1-9])|0)"
CANONICAL_NUMBER = re.compile(_PLAIN)
_PLAIN_BYTES = _PLAIN.encode()
_CANONICAL_MEMBERS = re.compile(rb'"' + _PLAIN_BYTES + rb'(?:","' + _PLAIN_BYTES + rb')*+"')  # of a set of numbers
# In serialized form: a number that is perhaps not canonical, and a set (whose order is not fixed). Text cannot fake
# either, because its quotes are escaped; an attribute named "N" or "SS" is followed by a brace, not by these. Each begins
# with a few fixed characters: what does, is found three times as fast.
_ODD_NUMBER = re.compile(rb'N":"(?!' + _PLAIN_BYTES + rb'")([^"]*)"')
_SET = re.compile(rb'S":\[(?:"[^"\\]*+(?:\\.[^"\\]*+)*+",?)*+\]')
# What DynamoDB calls a number: 38 digits, 1E-130 to 9.99…E+125. What does not fit raises; nothing is ever rounded.
_EXACT = Context(prec=38, Emin=-130, Emax=125, traps=[InvalidOperation, Overflow, Subnormal, Inexact])


def canonical_number(text: str) -> str:
    """The number as a plain decimal: no exponent, no trailing zeros, no minus zero.

    Raises ValueError for what DynamoDB does not call a number: text, NaN, more than 38 digits, too large or too small.
    """
    if CANONICAL_NUMBER.fullmatch(text):
        return text
    if not text.isascii():  # Decimal reads the digits of every script
        raise ValueError("not a number")
    try:
        number = _EXACT.create_decimal(text)
    except InvalidOperation:
        raise ValueError("not a number") from None
    except (Overflow, Subnormal):
        raise ValueError("a number out of DynamoDB's range") from None
    except Inexact:
        raise ValueError("a number of more than 38 digits") from None
    if not number.is_finite():
        raise ValueError("not a finite number")
    return format(number.normalize(_EXACT), "f") if number else "0"


def canonical(value: dict) -> dict:
    """The typed value with canonical numbers and sorted sets, at every depth.

    Raises ValueError for numbers that are not valid and for empty sets.
    """
    if "S" in value:
        return value
    ((letter, content),) = value.items()
    if letter == "N":
        return {"N": canonical_number(content)}
    if letter == "M":
        return {"M": {name: canonical(member) for name, member in content.items()}}
    if letter == "L":
        return {"L": [canonical(member) for member in content]}
    if letter in SETS:
        if not content:
            raise ValueError("an empty set")
        if letter == "NS":
            return {"NS": sorted({canonical_number(number) for number in content})}
        if letter == "BS":
            return {"BS": sorted(set(content), key=base64.b64decode)}
        return {"SS": sorted(set(content), key=str.encode)}
    return value


def serialize(item: dict) -> bytes:
    """The item as JSON with its keys sorted by UTF-8: what is sent, and what digests start from."""
    return orjson.dumps(item, option=orjson.OPT_SORT_KEYS)


def serialize_values(item: dict) -> bytes:
    """The item's values as a JSON list, in its order and without their names: what a batch sends."""
    return orjson.dumps([*item.values()])


def digest_of(item: dict, raw: bytes) -> str:
    """32 hex digits (BLAKE2b, 128 bits) of the item's canonical form; `raw` is `serialize(item)`.

    Raises ValueError as `canonical` does.
    """
    try:
        if _ODD_NUMBER.search(raw):
            raw = _ODD_NUMBER.sub(_canonical_number_part, raw)
        if b"]" in raw:
            raw = _SET.sub(_canonical_set_part, raw)
    except ValueError:  # what the walk through the item raises, if anything, tells which value came first
        raw = serialize({name: canonical(value) for name, value in item.items()})
    return blake2b(raw, digest_size=16).hexdigest()


def _canonical_number_part(part: re.Match) -> bytes:
    return b'N":"%b"' % canonical_number(part[1].decode()).encode()


def _canonical_set_part(part: re.Match) -> bytes:
    text, letter = part[0], part.string[part.start() - 1]
    return _short_set(text, letter) if len(text) <= SHORT_SET else _canonical_set(text, letter)


def _canonical_set(text: bytes, letter: int) -> bytes:
    members = text[4:-1]
    # Of plain text and numbers the bytes sort as the members do.
    if members and b"\\" not in members and (letter == _S or (letter == _N and _CANONICAL_MEMBERS.fullmatch(members))):
        return b'S":["%b"]' % b'","'.join(sorted({*members[1:-1].split(b'","')}))
    (ordered,) = canonical({f"{chr(letter)}S": orjson.loads(text[3:])}).values()
    return b'S":' + orjson.dumps(ordered)


# Most sets are a few roles or tags, and come again and again. A long one would fill the memory for nothing.
_short_set = lru_cache(4096)(_canonical_set)


def digest(item: dict) -> str:
    """32 hex digits (BLAKE2b, 128 bits) of the item's canonical form: equal exactly for equal items."""
    return digest_of(item, serialize(item))


def equal(left: dict | None, right: dict | None) -> bool:
    """Whether two typed values are the same: numbers by value, sets without order, all else exactly."""
    if left == right or left is None or right is None:
        return left == right
    try:
        return canonical(left) == canonical(right)
    except ValueError:  # what is no legal value equals only itself
        return False


def key_bytes(value: dict) -> tuple[str, bytes]:
    """Type letter and bytes of a key value: S as UTF-8, N canonical, B raw. ValueError for anything else."""
    text = value.get("S")
    if text is not None:
        return "S", text.encode()
    ((letter, content),) = value.items()
    if letter == "N":
        return letter, canonical_number(content).encode()
    if letter == "B":
        try:
            raw = base64.b64decode(content, validate=True)
        except ValueError:
            raw = None
        if raw is None or base64.b64encode(raw).decode() != content:  # DynamoDB would give it back as something else
            raise ValueError("not base64")
        return letter, raw
    raise ValueError(f"type {letter} cannot be a key")


def key_hash(key: dict) -> bytes:
    """16 bytes that identify a key (partition and sort value with their types) within its table."""
    parts = b""
    for name in sorted(key) if len(key) > 1 else key:
        value = key[name]
        text = value.get("S")
        letter, content = ("S", text.encode()) if text is not None else key_bytes(value)  # most keys: without a call
        parts += _key_head(name, letter) + len(content).to_bytes(4, "big") + content
    hashed = _HASH.copy()  # takes less than to make one
    hashed.update(parts)
    return hashed.digest()


@lru_cache(1024)
def _key_head(name: str, letter: str) -> bytes:
    return framed(name.encode()) + framed(letter.encode())


def framed(part: bytes) -> bytes:
    """The part after its length in 4 big-endian bytes, so that parts cannot run into each other."""
    return len(part).to_bytes(4, "big") + part


def order(value: dict) -> tuple:
    """A sort key that orders key values as DynamoDB does: S and B by bytes, N by value."""
    ((letter, content),) = value.items()
    return (letter, Decimal(content)) if letter == "N" else (letter, key_bytes(value)[1])


def text_of(value: dict) -> str:
    """A scalar as text for listings and the id map: S as it is, N canonical, B base64."""
    ((letter, content),) = value.items()
    return canonical_number(content) if letter == "N" else content


def key_text(key: dict) -> str:
    """A key as DynamoDB JSON text."""
    return serialize(key).decode()


def is_empty(value: dict) -> bool:
    """Whether the value is null, empty text, empty binary, or an empty list, map or set."""
    ((letter, content),) = value.items()
    return letter == "NULL" or (letter not in ("N", "BOOL") and not content)


def has_expired(item: dict, attribute: str | None, now: float) -> bool:
    """Whether DynamoDB deletes an item whose time to live stands at the attribute. `now`: seconds since 1970.

    By its rules ("Using time to live" in the AWS developer guide) the value is a number of seconds before `now`, by at most
    five years. Of these no leap day is counted: an item of which nobody can be sure has not expired.
    """
    second = item.get(attribute or "", {}).get("N")
    return second is not None and now - EXPIRING <= float(second) < now


def size(item: dict) -> int:
    """Bytes that DynamoDB counts for an item.

    Names and text as UTF-8; numbers about half their digits + 1; list and map 3 + 1 a member ("DynamoDB item sizes and
    formats" in the AWS developer guide).
    """
    return _names_size(tuple(item)) + _size(item.values())


@lru_cache(4096)
def _names_size(names: tuple[str, ...]) -> int:
    """Bytes of the names of a map; most maps at one place have the same ones, so adding them up is rarely needed."""
    return sum([len(name.encode()) for name in names])


def _size(values: Iterable[dict]) -> int:
    """Bytes of the values alone. One loop, not a call for each value: half the time."""
    total = 0
    for value in values:
        for letter in value:  # one; to iterate over a dict costs less than over its items
            content = value[letter]
        if letter == "S":
            total += len(content) if content.isascii() else len(content.encode())
        elif letter == "N":
            total += _number_size(content)
        elif letter == "M":
            total += 3 + len(content) + _names_size(tuple(content)) + _size(content.values())
        elif letter == "L":
            total += 3 + len(content) + _size(content)
        elif letter == "B":
            total += _binary_size(content)
        elif letter in SETS:
            total += sum(map(_MEMBER_SIZE[letter], content))
        else:
            total += 1
    return total


def _text_size(text: str) -> int:
    return len(text.encode())


def _binary_size(text: str) -> int:
    return len(text) * 3 // 4 - text[-2:].count("=")


def _number_size(text: str) -> int:
    negative = text[:1] == "-"
    plain = text.replace(".", "", 1)[negative:]
    if len(plain) <= MAX_DIGITS and plain.isdigit() and plain.isascii():  # no need of its canonical form
        digits = len(plain.strip("0"))
        return (digits + 1) // 2 + 1 + (negative and digits > 0)
    number = canonical_number(text)
    digits = len(number.lstrip("-").replace(".", "").strip("0"))
    return (digits + 1) // 2 + 1 + number.startswith("-")


_MEMBER_SIZE = {"SS": _text_size, "NS": _number_size, "BS": _binary_size}


def levels(item: dict) -> int:
    """How deep an item is nested: 1 without lists and maps; DynamoDB takes MAX_LEVELS."""
    depth, members = 0, list(item.values())
    while members:
        depth += 1
        nested = [member for member in members if "M" in member or "L" in member]
        members = [inner for m in nested for inner in (m["M"].values() if "M" in m else m["L"])]
    return depth


def from_python(value: object) -> dict:
    """The typed value of a plain Python (YAML, JSON) value, numbers exact: 5 → N, "5" → S, None → NULL.

    Raises ValueError for anything else, such as bytes, and for numbers that DynamoDB does not accept.
    """
    if value is None:
        return {"NULL": True}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, int | float | Decimal):
        return {"N": canonical_number(str(value))}
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, list):
        return {"L": [from_python(member) for member in value]}
    if isinstance(value, dict):
        return {"M": {str(name): from_python(member) for name, member in value.items()}}
    raise ValueError(f"a value of type {type(value).__name__}")


def differences(item: dict, other: dict) -> list[tuple[str, str, str]]:
    """Of each attribute that differs its name and its type in both items, a letter or ABSENT; by name."""
    names = sorted(name for name in item.keys() | other.keys() if not equal(item.get(name), other.get(name)))
    return [(name, _type_letter(item.get(name)), _type_letter(other.get(name))) for name in names]


def _type_letter(value: dict | None) -> str:
    return ABSENT if value is None else next(iter(value))


def line_of(name: str, whole: Mapping[str, object]) -> str:
    """The line on which an attribute is counted: its own, or FURTHER where there are MAX_ATTRIBUTES already."""
    return name if name in whole or len(whole) < MAX_ATTRIBUTES else FURTHER


def add_counts(whole: dict[str, Counter], part: Mapping[str, Mapping[str, int]]) -> None:
    """Adds what was counted by attribute; names beyond MAX_ATTRIBUTES share one line."""
    for name, counts in part.items():
        whole.setdefault(line_of(name, whole), Counter()).update(counts)
