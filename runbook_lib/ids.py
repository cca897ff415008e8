"""New ids: a pure function of the target environment, the entry and the old key. No table, no order, no memory.

SHA-256 over ``runbook-id-1``, environment, entry name, type letter and key bytes, each after its length in 4 big-endian
bytes; shaped by the entry's `id_format`.
"""

import base64
from collections.abc import Callable
from hashlib import sha256

from .values import key_bytes

FORMATS = {"uuid": ("S", "B"), "short": ("S",), "number": ("N",), "keep": ("S", "N", "B")}  # format -> types it fits
_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"


def id_function(environment: str, entry: str, id_format: str) -> Callable[[dict], dict]:
    """A function from an old id (typed value) to its new one, of the same type.

    It raises ValueError where the format does not fit the value's type, or the value cannot be a key.
    """
    if id_format == "keep":
        return _keep
    prefix = sha256(b"".join(_framed(part.encode()) for part in ("runbook-id-1", environment, entry)))
    fits = FORMATS[id_format]

    def new_id(value: dict) -> dict:
        letter, content = key_bytes(value)
        if letter not in fits:
            raise ValueError(f"id_format {id_format} does not fit a key of type {letter}")
        hashed = prefix.copy()
        hashed.update(_framed(letter.encode()) + _framed(content))
        return {letter: _shape(hashed.digest(), id_format, letter)}

    return new_id


def _keep(value: dict) -> dict:
    return value


def _framed(part: bytes) -> bytes:
    return len(part).to_bytes(4, "big") + part


def _shape(hashed: bytes, id_format: str, letter: str) -> str:
    if id_format == "uuid":
        bits = bytearray(hashed[:16])
        bits[6] = bits[6] & 0x0F | 0x80  # version 8, RFC 9562 section 5.8
        bits[8] = bits[8] & 0x3F | 0x80  # variant
        if letter == "B":
            return base64.b64encode(bits).decode()
        text = bits.hex()
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
    if id_format == "number":
        return str(10**19 + int.from_bytes(hashed[:16], "big") % (9 * 10**19))
    number, digits = int.from_bytes(hashed[4:20], "big"), ""
    for _ in range(8):
        number, remainder = divmod(number, 36)
        digits = _BASE36[remainder] + digits
    return f"{hashed[:4].hex()}-{digits}"
