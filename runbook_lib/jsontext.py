"""Ids inside JSON text, replaced by position: every other character of the text stays as it was. Pure."""

import json
import re
from collections.abc import Callable, Sequence

EACH, JSON = object(), object()  # path steps beside attribute names: each element of a list or set; decode text

Replace = Callable[[str | None, bool], str | None]

_SPACE = re.compile(r"[ \t\n\r]*")
_HALF = re.compile("[\ud800-\udfff]")  # half a character: has no UTF-8 form, only an escape
_EMPTY = (None, "", [], {})


class NotJson(ValueError):
    """The text is not JSON."""


class _Literal(str):
    """A JSON number as it was written."""


def _refuse(constant: str):
    raise NotJson("not JSON")


_decoder = json.JSONDecoder(parse_int=_Literal, parse_float=_Literal, parse_constant=_refuse, strict=True)


def rewrite(text: str, steps: Sequence, replace: Replace) -> str:
    """The text with each string or number at `steps` replaced by what `replace(content, is_number)` gives.

    `replace` gives raw JSON to put there, or None to leave it; it is called with None where the path meets a value that
    is no id. Null, absent and empty values are left alone. Raises NotJson for text that is not JSON.
    """
    spans: list[tuple[int, int, str]] = []
    try:
        _decoder.decode(text)
        _find(text, _skip(text, 0), tuple(steps), replace, spans)
    except (json.JSONDecodeError, RecursionError):
        raise NotJson("not JSON") from None
    pieces, done = [], 0
    for start, end, raw in spans:
        pieces += text[done:start], raw
        done = end
    return "".join([*pieces, text[done:]])


def quote(content: str, like: str = "") -> str:
    """The content as a JSON string; with the non-ASCII characters escaped unless `like`, the text around, has some."""
    return json.dumps(content, ensure_ascii=like.isascii() or bool(_HALF.search(content)))


def _skip(text: str, at: int) -> int:
    return _SPACE.match(text, at).end()


def _find(text: str, at: int, steps: tuple, replace: Replace, spans: list) -> int:
    """Collect the replacements in the value that starts at `at`; gives where the value ends."""
    if not steps or steps[0] is JSON:
        return _leaf(text, at, steps, replace, spans)
    if text[at] == "[" and steps[0] is EACH:
        return _members(text, at, "]", lambda start: _find(text, start, steps[1:], replace, spans))
    if text[at] == "{" and steps[0] is not EACH:

        def member(start: int) -> int:
            name, start = json.decoder.scanstring(text, start + 1, True)
            start = _skip(text, _skip(text, start) + 1)  # past the colon
            if name == steps[0]:
                return _find(text, start, steps[1:], replace, spans)
            return _decoder.raw_decode(text, start)[1]

        return _members(text, at, "}", member)
    value, end = _decoder.raw_decode(text, at)
    if value not in _EMPTY:
        replace(None, False)
    return end


def _members(text: str, at: int, close: str, member: Callable[[int], int]) -> int:
    at = _skip(text, at + 1)
    while text[at] != close:
        at = _skip(text, member(at))
        if text[at] == ",":
            at = _skip(text, at + 1)
    return at + 1


def _leaf(text: str, at: int, steps: tuple, replace: Replace, spans: list) -> int:
    value, end = _decoder.raw_decode(text, at)
    is_number, raw = isinstance(value, _Literal), None
    if isinstance(value, str) and value and not steps:
        raw = replace(str(value), is_number)
    elif isinstance(value, str) and value and not is_number:
        raw = _rewrite_inside(value, steps[1:], replace, text)
    elif value not in _EMPTY:
        replace(None, False)
    if raw is not None:
        spans.append((at, end, raw))
    return end


def _rewrite_inside(content: str, steps: tuple, replace: Replace, around: str) -> str | None:
    """JSON text inside JSON text, quoted again where something in it was replaced."""
    try:
        new = rewrite(content, steps, replace)
    except NotJson:
        replace(None, False)
        return None
    return None if new == content else quote(new, around)
