"""New ids: a pure function of the target environment, the entry and the old key. No table, no order, no memory.

SHA-256 over ``runbook-id-1``, environment, entry name, type letter and key bytes, each after its length in 4 big-endian
bytes; shaped by the entry's `id_format`.
"""

import base64
from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b, sha256

from ..values import framed, key_bytes
from ..yaml_files import suggest

KEEP = "keep"
FORMATS = {"uuid": ("S", "B"), "short": ("S",), "number": ("N",), "number15": ("N",), KEEP: ("S", "N", "B")}  # → types
_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}  # RFC 9562: two bits are 10


def check_format(id_format: str) -> str:
    """The same format. Raises ValueError, what to write, unless it is one of FORMATS or a text around one, ``CUS-{short}``."""
    if id_format not in FORMATS:
        around(id_format)
    return id_format


def around(id_format: str) -> tuple[str, str, str]:
    """The format inside a text, and the text before and after it. Raises ValueError where there is not exactly one."""
    within = [name for name in FORMATS if name != KEEP]
    before, found, rest = id_format.partition("{")
    name, closed, after = rest.partition("}")
    if not found:
        if inside := next((name for name in within if name in id_format), None):
            raise ValueError(f"{id_format!r} is unknown; write {id_format.replace(inside, f'{{{inside}}}')}")
        raise ValueError(f"{id_format!r} is unknown{suggest(id_format, list(FORMATS)).rstrip('.')}")
    if name not in within or not closed or {*before, *after} & {*"{}"}:
        raise ValueError(f"{id_format!r} needs one of {', '.join(within)} in braces, as in CUS-{{short}}")
    return name, before, after


def fits(id_format: str, *, within_text: bool = False) -> tuple[str, ...]:
    """The key types that a format fits. A text around one makes text; `within_text`: the id is a part of a text itself."""
    if (within_text and id_format in FORMATS) or id_format not in FORMATS:
        return ("S",)
    return FORMATS[id_format]


def id_function(environment: str, entry: str, id_format: str, *, within_text: bool = False) -> Callable[[dict], dict]:
    """A function from an old id (typed value) to its new one, of the same type.

    It raises ValueError where the format does not fit the value's type, or the value cannot be a key. `within_text`: the id is
    a part of a text.
    """
    if id_format == KEEP:
        return _keep
    letters = fits(id_format, within_text=within_text)
    head = b"".join(framed(part.encode()) for part in ("runbook-id-1", environment, entry))
    kinds = {letter: (sha256(head + framed(letter.encode())), _shape(id_format, letter)) for letter in letters}
    begun_text, text_shape = kinds.get("S", (None, None))

    def new_id(value: dict) -> dict:
        text = value.get("S")
        if text is not None and text_shape is not None:  # the fast path: nearly all ids are text
            content = text.encode()
            hashed = begun_text.copy()
            hashed.update(len(content).to_bytes(4, "big") + content)
            return {"S": text_shape(hashed)}
        letter, content = key_bytes(value)
        if letter not in letters:
            raise ValueError(f"id_format {id_format} does not fit a key of type {letter}")
        begun, shape = kinds[letter]
        hashed = begun.copy()
        hashed.update(framed(content))
        return {letter: shape(hashed)}

    return new_id


def id_hash(entry: str, value: dict, width: int = 16) -> bytes:
    """A hash that identifies an old id of an entry. Raises ValueError where the value cannot be a key."""
    letter, content = key_bytes(value)
    hashed = id_head(entry, letter, width).copy()
    hashed.update(content)
    return hashed.digest()


@lru_cache(1024)
def id_head(entry: str, letter: str, width: int = 16) -> blake2b:
    """The hash state to which `id_hash` adds the bytes of the id. Copy it first: it is cached."""
    return blake2b(f"{entry}\0{letter}\0".encode(), digest_size=width)


def _keep(value: dict) -> dict:
    return value


def _uuid(hashed) -> str:
    """Version 8 (RFC 9562 section 5.8) with the hash's first 122 free bits."""
    h = hashed.hexdigest()
    return f"{h[:8]}-{h[8:12]}-8{h[13:16]}-{_VARIANT[h[16]]}{h[17:20]}-{h[20:32]}"


def _uuid_bytes(hashed) -> str:
    return base64.b64encode(bytes.fromhex(_uuid(hashed).replace("-", ""))).decode()


def _number(hashed) -> str:
    return str(10**19 + int.from_bytes(hashed.digest()[:16], "big") % (9 * 10**19))


def _short(hashed) -> str:
    digest = hashed.digest()
    number, digits = int.from_bytes(digest[4:20], "big"), ""
    for _ in range(8):
        number, remainder = divmod(number, 36)
        digits = _BASE36[remainder] + digits
    return f"{digest[:4].hex()}-{digits}"


def _number15(hashed) -> str:
    """Below 2**53, so that every JavaScript number holds it exactly."""
    return str(10**14 + int.from_bytes(hashed.digest()[:16], "big") % (9 * 10**14))


_SHAPES = {"uuid": _uuid, "short": _short, "number": _number, "number15": _number15}


def _shape(id_format: str, letter: str) -> Callable[..., str]:
    if id_format in _SHAPES:
        return _uuid_bytes if letter == "B" else _SHAPES[id_format]
    name, before, after = around(id_format)
    inner = _SHAPES[name]
    return lambda hashed: f"{before}{inner(hashed)}{after}"
