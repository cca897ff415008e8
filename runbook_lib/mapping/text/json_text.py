"""Replaces ids inside JSON text by position; every other character stays. Pure."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any

import orjson

from ...errors import NotJson
from .paths import EACH, JSON, KEYS, VALUES, Split

TAKE_OUT = ""  # raw JSON never is: what stands there goes, with its name or its comma

Replace = Callable[[str | None, bool], str | None]
ReplaceAt = Callable[[int, str | None, bool], str | None]  # with the number of the path

_SPACE = re.compile(r"[ \t\n\r]*")
_COMMA = re.compile(r"[ \t\n\r]*,?[ \t\n\r]*")
# In text that is JSON for sure: a string without escapes; a name without, with its value if that is as plain, or a number
_MEMBER = re.compile(r'"([^"\\]*)"[ \t\n\r]*:[ \t\n\r]*("[^"\\]*"|[-+.0-9A-Za-z]*)[ \t\n\r]*,?[ \t\n\r]*')
_PLAIN = re.compile(r'"([^"\\]+)"')
_HALF = re.compile("[\ud800-\udfff]")  # half a character: has no UTF-8 form, only an escape
_DEEP = 100  # from this many brackets on, Python's decoder decides whether the text is too deep


class _Literal(str):
    """A JSON number as it was written."""


def _refuse(constant: str):
    raise NotJson("not JSON")


_decoder = json.JSONDecoder(parse_int=_Literal, parse_float=_Literal, parse_constant=_refuse, strict=True)


class Paths:
    """Numbered paths into a JSON text, as a tree, so that one pass over the text finds all values."""

    def __init__(self, numbered: Iterable[tuple[int, Sequence]]):
        """Raises ValueError where one path ends at text that another path decodes."""
        below: dict = {}
        for number, steps in numbered:
            below.setdefault(steps[0] if steps else None, []).append((number, steps[1:]))
        self.all = [number for paths in below.values() for number, _ in paths]
        ends = [number for number, _ in below.pop(None, ())]
        if len(ends) > 1 or (ends and JSON in below):
            raise ValueError("a path ends at a text that another one reads")
        self.end = ends[0] if ends else None
        self.is_leaf = self.all == ends
        self.below = {step: Paths(paths) for step, paths in below.items()}
        self.every, self.keys = self.below.get(VALUES), self.below.get(KEYS)
        self.splits = [
            (step.separator, inner.below[EACH]) for step, inner in self.below.items() if isinstance(step, Split)
        ]
        if len([step for step in self.below if step in (VALUES, KEYS) or isinstance(step, str)]) > 1 and (
            self.every or self.keys
        ):
            raise ValueError("what one path changes, another one reads")
        if len(self.splits) + len(ends) + (JSON in self.below) > 1:
            raise ValueError("a text is read in several ways")
        # The paths to report where a value is neither a list, a map nor text
        wanting_list = self.below[EACH].all if EACH in self.below else []
        in_text = [step for step in self.below if step is JSON or isinstance(step, Split)]
        wanting_text = [*ends, *(number for step in in_text for number in self.below[step].all)]
        self.not_list = [number for number in self.all if number not in wanting_list]
        self.not_map = [*wanting_list, *wanting_text]
        self.not_text = [number for number in self.all if number not in wanting_text]


def rewrite(text: str, steps: Sequence, replace: Replace) -> str:
    """The text with each string or number at `steps` replaced by what `replace(content, is_number)` gives.

    `replace` returns raw JSON to write there, TAKE_OUT to take the element or member out, or None to leave the value.
    Where the value of the whole text is taken out, the result is empty. It is called with None where the value at the path
    is not an id. Null, absent and empty values stay. Raises NotJson for text that is not JSON.
    """
    return rewrite_all(text, Paths([(0, steps)]), lambda number, content, is_number: replace(content, is_number))


def rewrite_all(text: str, paths: Paths, replace: ReplaceAt) -> str:
    """The same for several paths in one pass."""
    spans: list[tuple[int, int, str]] = []
    start = _SPACE.match(text).end()
    try:
        _check(text)
        _find(text, start, paths, replace, spans)
    except (json.JSONDecodeError, RecursionError):
        raise NotJson("not JSON") from None
    if _is_out(spans, start):
        return ""
    pieces, done = [], 0
    for start, end, raw in spans:
        pieces += text[done:start], raw
        done = end
    return "".join([*pieces, text[done:]])


def decoded(text: str) -> dict:
    """JSON text as a typed value, its numbers as they are written. Raises NotJson, and RecursionError where it is too deep."""
    try:
        return _typed(_decoder.decode(text))
    except json.JSONDecodeError:
        raise NotJson("not JSON") from None


def _typed(value: Any) -> dict:
    if isinstance(value, list):
        return {"L": [_typed(one) for one in value]}
    if isinstance(value, dict):
        return {"M": {name: _typed(one) for name, one in value.items()}}
    if value is None:
        return {"NULL": True}
    return {"BOOL" if isinstance(value, bool) else "N" if isinstance(value, _Literal) else "S": value}


def quote(content: str, like: str = "") -> str:
    """The content as a JSON string; non-ASCII characters are escaped unless `like`, the surrounding text, has some."""
    is_ascii = like.isascii() or _HALF.search(content)
    return encode_basestring_ascii(content) if is_ascii else encode_basestring(content)  # what json.dumps calls


def _check(text: str) -> None:
    if text.count("[") + text.count("{") < _DEEP:
        try:
            orjson.loads(text)  # stricter than Python's decoder, and several times as fast
            return
        except orjson.JSONDecodeError:
            pass
    _decoder.decode(text)


def _find(text: str, at: int, paths: Paths, replace: ReplaceAt, spans: list) -> int:
    """Where the value that starts at `at` ends. Appends its replacements to `spans`."""
    if plain := paths.is_leaf and _PLAIN.match(text, at):
        raw = replace(paths.end, plain[1], False)
        if raw is not None:
            spans.append((at, plain.end(), raw))
        return plain.end()
    if text[at] == "[":
        return _elements(text, at, paths, replace, spans)
    if text[at] == "{":
        return _members(text, at, paths, replace, spans)
    value, end = _decoder.raw_decode(text, at)
    if value is None or value == "":
        return end
    if not isinstance(value, str):  # true, false
        _tell(paths.all, replace)
        return end
    _tell(paths.not_text, replace)
    is_number, raw = isinstance(value, _Literal), None
    if paths.end is not None:
        raw = replace(paths.end, str(value), is_number)
    elif JSON in paths.below:
        if is_number:
            _tell(paths.below[JSON].all, replace)
        else:
            raw = _rewrite_inside(value, paths.below[JSON], replace, text)
    for separator, inner in paths.splits:
        if is_number:
            _tell(inner.all, replace)
        else:
            raw = _rewrite_parts(value, separator, inner, replace, text)
    if raw is not None:
        spans.append((at, end, raw))
    return end


def _tell(paths: list[int], replace: ReplaceAt) -> None:
    for path in paths:
        replace(path, None, False)


def _elements(text: str, at: int, paths: Paths, replace: ReplaceAt, spans: list) -> int:
    inner, start = paths.below.get(EACH), at
    at = first = _SPACE.match(text, at + 1).end()
    if text[at] == "]":
        return at + 1
    _tell(paths.not_list, replace)
    if inner is None:
        return _decoder.raw_decode(text, start)[1]
    while text[at] != "]":
        after = _COMMA.match(text, _find(text, at, inner, replace, spans)).end()
        if _is_out(spans, at):
            _widen(text, first, at, after, spans)
        at = after
    return at + 1


def _members(text: str, at: int, paths: Paths, replace: ReplaceAt, spans: list) -> int:
    at = first = _SPACE.match(text, at + 1).end()
    if text[at] == "}":
        return at + 1
    _tell(paths.not_map, replace)
    if paths.keys is not None:
        return _names(text, at, paths.keys.end, replace, spans)
    below = paths.below
    while text[at] != "}":
        member = _MEMBER.match(text, at)
        if member:
            name, (start, end), after = member[1], member.span(2), member.end()
        else:
            name, end = json.decoder.scanstring(text, at + 1, True)
            start = end = after = _SPACE.match(text, _SPACE.match(text, end).end() + 1).end()  # past the colon
        if name in below or paths.every is not None:
            inner = below.get(name) or paths.every
            after = _COMMA.match(text, _find(text, start, inner, replace, spans)).end()
            if _is_out(spans, start):
                _widen(text, first, at, after, spans)
            at = after
        elif start < end:
            at = after
        else:
            at = _COMMA.match(text, _decoder.raw_decode(text, start)[1]).end()
    return at + 1


def _names(text: str, first: int, path: int, replace: ReplaceAt, spans: list) -> int:
    """The members of an object whose names stand at a path, from the first on."""
    at, names = first, set()
    while text[at] != "}":
        name, named = json.decoder.scanstring(text, at + 1, True)
        end = _decoder.raw_decode(text, _SPACE.match(text, _SPACE.match(text, named).end() + 1).end())[1]
        after = _COMMA.match(text, end).end()
        raw = replace(path, name, False) if name else None
        if raw == TAKE_OUT:
            spans.append((at, end, TAKE_OUT))
            _widen(text, first, at, after, spans)
        else:
            name = name if raw is None else json.loads(raw)
            if name in names:
                raise NotJson("two names of an object become one")
            names.add(name)
            spans += [(at, named, raw)] if raw is not None else []
        at = after
    return at + 1


def _is_out(spans: list, at: int) -> bool:
    """Whether the value that starts at `at` was the last one to be found, and is taken out."""
    return bool(spans) and spans[-1][0] == at and spans[-1][2] == TAKE_OUT


def _widen(text: str, first: int, at: int, after: int, spans: list) -> None:
    """Takes out the whole element or member that starts at `at`, with one comma; `after`: where the next one, or the end, is.

    `first` is where the first one starts. The spans neither touch what stays nor each other.
    """
    _, end, _ = spans.pop()
    if at == first or (spans and spans[-1][1] == at and spans[-1][2] == TAKE_OUT):  # nothing before it stays
        spans.append((at, after, TAKE_OUT))
    else:
        spans.append((text.rindex(",", 0, at), end, TAKE_OUT))


def _rewrite_inside(content: str, paths: Paths, replace: ReplaceAt, around: str) -> str | None:
    """JSON text inside JSON text, quoted again where something in it was replaced."""
    try:
        new = rewrite_all(content, paths, replace)
    except NotJson:
        _tell(paths.all, replace)
        return None
    if new == content:
        return None
    return quote(new, around) if new else TAKE_OUT


def _rewrite_parts(content: str, separator: str, paths: Paths, replace: ReplaceAt, around: str) -> str | None:
    """Text in parts, quoted again where one of them was replaced. The spaces around a part stay."""
    pieces, changed = [], False
    for part in content.split(separator):
        core = part.strip()
        raw = replace(paths.end, core, False) if core and paths.end is not None else None
        changed = changed or raw is not None
        if raw != TAKE_OUT:
            pieces.append(part if raw is None else part.replace(core, json.loads(raw), 1))
    return (quote(separator.join(pieces), around) if pieces else TAKE_OUT) if changed else None
