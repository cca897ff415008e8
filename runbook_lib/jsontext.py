"""Ids inside JSON text, replaced by position: every other character of the text stays as it was. Pure."""

import json
import re
from collections.abc import Callable, Sequence

EACH, JSON = object(), object()  # path steps beside attribute names: each element of a list or set; decode text

_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


class NotJson(ValueError):
    """The text is not JSON."""


class _Literal(str):
    """A JSON number as it was written."""


def _refuse(constant: str):
    raise NotJson("not JSON")


_decoder = json.JSONDecoder(parse_int=_Literal, parse_float=_Literal, parse_constant=_refuse, strict=True)


def rewrite(text: str, steps: Sequence, replace: Callable[[str, bool], str | None]) -> str:
    """The text with each string or number at `steps` replaced by what `replace(content, is_number)` gives.

    `replace` gives raw JSON to put there, or None to leave it. Null and empty text are left alone, and so is what is not
    at the path. Raises NotJson for text that is not JSON.
    """
    try:
        _decoder.decode(text)
    except (ValueError, RecursionError):
        raise NotJson("not JSON") from None
    spans: list[tuple[int, int, str]] = []
    _find(text, _skip(text, 0), tuple(steps), replace, spans)
    for start, end, raw in reversed(spans):
        text = text[:start] + raw + text[end:]
    return text


def quote(content: str, like: str = "") -> str:
    """The content as a JSON string; with the non-ASCII characters escaped unless `like`, the text around, has some."""
    return json.dumps(content, ensure_ascii=like.isascii())


def _skip(text: str, at: int) -> int:
    return _SPACE.match(text, at).end()


def _find(text: str, at: int, steps: tuple, replace: Callable, spans: list) -> int:
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
    return _decoder.raw_decode(text, at)[1]


def _members(text: str, at: int, close: str, member: Callable[[int], int]) -> int:
    at = _skip(text, at + 1)
    while text[at] != close:
        at = _skip(text, member(at))
        if text[at] == ",":
            at = _skip(text, at + 1)
    return at + 1


def _leaf(text: str, at: int, steps: tuple, replace: Callable, spans: list) -> int:
    if text[at] == '"':
        content, end = json.decoder.scanstring(text, at + 1, True)
        if steps and content:  # JSON text inside JSON text
            raw = quote(rewrite(content, steps[1:], replace), text)
            raw = None if json.loads(raw) == content else raw
        else:
            raw = replace(content, False) if content else None
    else:
        value, end = _decoder.raw_decode(text, at)
        number = _NUMBER.fullmatch(text, at, end)
        raw = replace(str(value), True) if number and not steps else None
        if raw is None and not number and value is not None:
            raise NotJson("no id at the path")
    if raw is not None:
        spans.append((at, end, raw))
    return end
