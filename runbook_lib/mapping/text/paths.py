r"""Paths: how a mapping names a place in an item, ``lines[].product``, ``payload:json.members{keys}``. Pure.

A path begins with an attribute. Steps follow: ``.name`` a member of a map; ``[]`` each element of a list or set; ``{}`` each
value of a map; ``{keys}`` its keys; ``:json`` what JSON text holds; ``:split(,)[]`` each part of a text. In a name, a
backslash makes the next character plain: ``a\.b`` is one attribute.
"""

import re
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, NamedTuple


class _Step:
    """One kind of step; there is one object of each."""

    def __init__(self, spelling: str):
        self._spelling = spelling

    def __repr__(self) -> str:
        return self._spelling


# Steps beside names: each element of a list or set; decode text; each value of a map; its keys
EACH, JSON, VALUES, KEYS = _Step("[]"), _Step(":json"), _Step("{}"), _Step("{keys}")


class Split(NamedTuple):
    """A step: the text as a list of what stands between separators. EACH follows."""

    separator: str


Steps = tuple[Any, ...]  # names, and the steps above

HELP = (
    "write a.b for maps, [] for each element, {} or {keys} for a map's values or keys, :json and :split(,)[] for text"
)
_SPECIAL = r"\.:[]{}"
_STEP = re.compile(
    r"(?P<each>\[\])|(?P<json>:json(?=$|[.\[:{]))|(?P<values>\{\})|(?P<keys>\{keys\})"
    r"|:split\((?P<split>[^)]+)\)(?=\[\])|(?P<dot>\.)?(?P<name>(?:[^\\.:\[\]{}]|\\[\\.:\[\]{}])+)"
)
_ESCAPED = re.compile(r"\\(.)")
_TO_ESCAPE = re.compile(r"[\\.:\[\]{}]")


def parse(path: str) -> Steps:
    """The steps of a path: names and EACH, JSON, VALUES, KEYS, Split. Raises ValueError, what is wrong and how to write it."""
    steps: list[Any] = []
    at = 0
    while at < len(path):
        found = _STEP.match(path, at)
        is_name = found is not None and found["name"] is not None
        # The first step is a name without a dot, a later name has one.
        if found is None or is_name != (found["dot"] is not None if steps else is_name):
            raise ValueError(_mistake(path, at))
        if not steps and (not is_name or found["dot"]):
            raise ValueError(f"is not a path; it begins with the name of an attribute; {HELP}")
        if steps and steps[-1] is KEYS:
            raise ValueError("is not a path; nothing follows {keys}, which are text")
        if _is_part(steps) and not (found["json"] or found["split"]):
            raise ValueError("is not a path; only :json or :split(,)[] follows the parts of a text, which are text")
        if is_name:
            steps.append(_ESCAPED.sub(r"\1", found["name"]))
        elif found["split"]:
            steps.append(_split(found["split"]))
        else:
            steps.append({"each": EACH, "json": JSON, "values": VALUES, "keys": KEYS}[found.lastgroup])
        at = found.end()
    if not steps:
        raise ValueError("is not a path; it is empty; name an attribute")
    return tuple(steps)


def _split(separator: str) -> Split:
    bare = separator
    if len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "'\"":
        bare = bare[1:-1]
    elif len(bare) == 2 and bare[0] == "\\" and not bare[1].isalnum():
        bare = bare[1]
    if bare != separator:
        raise ValueError(
            f"takes a separator as it is written, without quotes or a backslash; write :split({bare or ','})[]"
        )
    return Split(separator)


def _mistake(path: str, at: int) -> str:
    rest = path[at:]
    if rest == ".":
        return "is not a path; it ends where a name should follow"
    if rest.startswith(":split"):
        return "is not a path; write :split(,)[] with the separator in the brackets and [] after them"
    if rest.startswith("\\"):
        return f"is not a path; a backslash stands before one of {' '.join(_SPECIAL)} alone, to make it plain"
    return f"is not a path; {HELP}; a backslash before one of {_SPECIAL} makes it part of a name"


def meet(one: Steps, other: Steps) -> bool:
    """Whether two paths lead to one value, or one of them into a text that the other reads otherwise, or as a whole."""
    for step, beside in zip_longest(one, other):
        if step == beside or (VALUES in (step, beside) and str in (type(step), type(beside))):
            continue
        return all(ends is None or ends is JSON or isinstance(ends, Split) for ends in (step, beside))
    return True


def overlap(one: Steps, other: Steps) -> bool:
    """Whether two paths lead to one value, or one of them to what the other leads into."""
    return all(step == beside for step, beside in zip(one, other, strict=False))


def text_at_end(steps: Steps) -> str:
    """What a path leads to, where that is text whatever stands there; "" where a value of any type may."""
    if steps[-1] is KEYS:
        return "a map's key"
    return "a part of a text" if _is_part(steps) else ""


def _is_part(steps: Sequence[Any]) -> bool:
    return len(steps) > 1 and isinstance(steps[-2], Split)


def spelled(steps: Steps) -> str:
    """The path as a mapping spells it."""
    text = ""
    for step in steps:
        if isinstance(step, str):
            text += ("." if text else "") + escaped(step)
        else:
            text += f":split({step.separator})" if isinstance(step, Split) else repr(step)
    return text


def escaped(name: str) -> str:
    """An attribute's name as it stands in a path."""
    return _TO_ESCAPE.sub(r"\\\g<0>", name)


def members(path: str) -> tuple[str, ...]:
    """The steps of a path that leads through maps alone. Raises ValueError, a sentence, for any other."""
    steps = parse(path)
    if not all(isinstance(step, str) for step in steps):
        raise ValueError("leads to several values, or into text; here a path has names alone, as in a.b")
    return steps


def value_at(item: dict, steps: tuple[str, ...]) -> dict | None:
    """The typed value at the end of a path through maps; None where there is none."""
    value = item.get(steps[0])
    for step in steps[1:]:
        if value is None:
            return None
        value = value.get("M", {}).get(step)
    return value
