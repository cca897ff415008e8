"""Walking to what stands at paths, and rewriting it there. Pure.

Each path is compiled once to a function that walks straight to its ends. Values are never changed in place: rewritten
parts are new objects, and the old and the new item share the rest.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import repeat
from typing import Any, NamedTuple

from ..errors import NotJson, Quarantine
from ..values import SETS, is_empty
from .text.json_text import TAKE_OUT, Paths, decoded, quote, rewrite_all
from .text.paths import EACH, JSON, KEYS, VALUES, Split

NULL = {"NULL": True}
GONE: dict = {}  # no typed value: what a leaf returns where it leaves out the attribute, the member or the element
LINK_BYTES = 8  # enough to count by
NOWHERE = b"\0" * LINK_BYTES


class Found(NamedTuple):
    """One reference in one item: `parent`, `old` and `new` are None where the entry is unknown."""

    path: str
    parent: str | None
    old: dict | None
    new: dict | None
    link: bytes = NOWHERE  # a hash of parent and old id


# (value, source item, references found, paths whose value is no id, not JSON, or matches no template) -> new value
Rewrite = Callable[[dict, dict, list[Found], list[str]], dict]
Path = tuple[tuple, str, Rewrite]  # steps, as written, what to do with the values at its end


def walkers(paths: list[Path]) -> list[Rewrite]:
    """Functions to apply in order; together they return a value with its leaves at these paths replaced."""
    if len(paths) > 1 and all(steps and steps[0] is JSON for steps, _, _ in paths):
        try:
            return [_inside_json(paths)]
        except ValueError:  # one path ends where another continues: the first decides what the other finds
            pass
    return [_walker(*path) for path in paths]


def taking_out(paths: Iterable[tuple]) -> Callable[[dict], dict] | None:
    """The function from an item to one without what stands at these paths, each of two steps or more; None without paths."""
    ways = [(steps[0], _walker(steps[1:], "", _gone)) for steps in paths]
    if not ways:
        return None

    def take_out(item: dict) -> dict:
        item = item.copy()
        for name, rewrite in ways:
            if name in item and not (new := rewrite(item[name], item, [], [])):
                del item[name]
            elif name in item:
                item[name] = new
        return item

    return take_out


def standing(value: dict | None, steps: tuple, at: tuple = ()) -> Iterator[tuple[tuple, dict]]:
    """Where and what stands at a path below a value: (names and indexes that lead there, typed value).

    Null and empty values are left out. A set is one value, and so are the names of a map, because they have no order; and JSON
    text that is too deep to be read.
    """
    if value is None or is_empty(value):
        return
    if not steps:
        yield at, value
        return
    step, *rest = steps
    ((letter, content),) = value.items()
    inner: Iterable[tuple[Any, dict]] = ()
    if step is EACH and letter in SETS and not rest:
        yield at, value
    elif step is KEYS and letter == "M":
        yield at, {"M": dict.fromkeys(content, NULL)}
    elif step is JSON and letter == "S":
        try:
            inner = [(JSON, decoded(content))]
        except NotJson:  # nothing in it is a reference
            return
        except RecursionError:
            yield at, value
    elif step is EACH and letter == "L":
        inner = enumerate(content)
    elif isinstance(step, Split) and letter == "S":
        inner, rest = enumerate({"S": part.strip()} for part in content.split(step.separator)), rest[1:]  # past EACH
    elif step is VALUES and letter == "M":
        inner = content.items()
    elif letter == "M" and step in content:
        inner = [(step, content[step])]
    for place, one in inner:
        yield from standing(one, rest, (*at, place))


def _gone(value: dict, item: dict, found: list[Found], unreadable: list[str]) -> dict:
    return GONE


def _walker(steps: tuple, path: str, leaf: Rewrite) -> Rewrite:
    if not steps:
        return leaf
    step = steps[0]
    if step is JSON:
        return _inside_json([(steps, path, leaf)])
    if isinstance(step, Split):
        return _parts(step.separator, _walker(steps[2:], path, leaf), path)  # past EACH
    return {EACH: _each, VALUES: _values, KEYS: _keys}.get(step, _member)(steps, path, leaf)


def _each(steps: tuple, path: str, leaf: Rewrite) -> Rewrite:
    at_end, rewrite_member = len(steps) == 1, _walker(steps[1:], path, leaf)

    def rewrite_each(value: dict, item: dict, found: list[Found], unreadable: list[str]) -> dict:
        members = value.get("L")
        if members:
            return {"L": [new for one in members if (new := rewrite_member(one, item, found, unreadable))]}
        ((letter, content),) = value.items()
        if letter in SETS and content and at_end:
            return _rewrite_set(letter, content, leaf, item, found, unreadable)
        return left(value, path, unreadable)

    return rewrite_each


def _member(steps: tuple, path: str, leaf: Rewrite) -> Rewrite:
    step, rewrite_member = steps[0], _walker(steps[1:], path, leaf)

    def rewrite_inside(value: dict, item: dict, found: list[Found], unreadable: list[str]) -> dict:
        members = value.get("M")
        if not members:
            return left(value, path, unreadable)
        member = members.get(step)
        if member is None:
            return value
        new = rewrite_member(member, item, found, unreadable)
        return {"M": {**members, step: new} if new else {name: one for name, one in members.items() if name != step}}

    return rewrite_inside


def _values(steps: tuple, path: str, leaf: Rewrite) -> Rewrite:
    rewrite_member = _walker(steps[1:], path, leaf)

    def rewrite_values(value: dict, item: dict, found: list[Found], unreadable: list[str]) -> dict:
        members = value.get("M")
        if not members:
            return left(value, path, unreadable)
        rewritten = {name: rewrite_member(one, item, found, unreadable) for name, one in members.items()}
        return {"M": {name: one for name, one in rewritten.items() if one}}

    return rewrite_values


def _keys(steps: tuple, path: str, leaf: Rewrite) -> Rewrite:
    def rewrite_keys(value: dict, item: dict, found: list[Found], unreadable: list[str]) -> dict:
        members = value.get("M")
        if not members:
            return left(value, path, unreadable)
        rewritten = {}
        for name, one in members.items():
            new = leaf({"S": name}, item, found, unreadable) if name else {"S": name}
            if new:
                if new["S"] in rewritten:
                    raise Quarantine(path, "two keys of the map become one")
                rewritten[new["S"]] = one
        return {"M": rewritten}

    return rewrite_keys


def _parts(separator: str, rewrite_part: Rewrite, path: str) -> Rewrite:
    """Rewrites each part of a text. The spaces around a part stay; a text that loses all its parts goes."""

    def rewrite_parts(value: dict, item: dict, found: list[Found], unreadable: list[str]) -> dict:
        text = value.get("S")
        if not text:
            return left(value, path, unreadable)
        pieces = []
        for part in text.split(separator):
            core = part.strip()
            new = rewrite_part({"S": core}, item, found, unreadable) if core else {"S": core}
            if new:
                pieces.append(part if new["S"] == core else part.replace(core, new["S"], 1))
        return {"S": separator.join(pieces)} if pieces else GONE

    return rewrite_parts


def left(value: dict, path: str, unreadable: list[str]) -> dict:
    """The value unchanged: it is not what its path expects. Counted as unreadable unless it is empty."""
    if not is_empty(value):
        unreadable.append(path)
    return value


def _rewrite_set(
    letter: str, members: list, leaf: Rewrite, item: dict, found: list[Found], unreadable: list[str]
) -> dict:
    kind = SETS[letter]
    rewritten = [leaf({kind: member}, item, found, unreadable) for member in members]
    kept = list(dict.fromkeys(value[kind] for value in rewritten if kind in value))
    if kept:
        return {letter: kept}
    return GONE if GONE in rewritten else NULL  # a set cannot be empty


def _inside_json(inside: list[Path]) -> Rewrite:
    """Rewrites several paths into the JSON text at one place, in one pass over the text."""
    paths = Paths((number, steps[1:]) for number, (steps, _, _) in enumerate(inside))
    at_all = list(dict.fromkeys(path for _, path, _ in inside))

    def rewrite_json(value: dict, item: dict, found: list[Found], unreadable: list[str]) -> dict:
        text = value.get("S")
        if not text:
            for path in at_all:
                left(value, path, unreadable)
            return value
        found_at: dict[int, list[Found]] = defaultdict(list)
        unreadable_at: dict[int, list[str]] = defaultdict(list)

        def replace(number: int, content: str | None, is_number: bool) -> str | None:
            _, path, leaf = inside[number]
            if content is None:
                unreadable_at[number].append(path)
                return None
            old = {"N": content} if is_number else {"S": content}
            new = leaf(old, item, found_at[number], unreadable_at[number])
            if new == old:
                return None
            if new in (NULL, GONE):
                return "null" if new else TAKE_OUT
            return new["N"] if "N" in new else quote(new["S"], text)

        try:
            new_text = rewrite_all(text, paths, replace)
        except NotJson:
            unreadable += at_all
            return value
        for number in sorted(found_at):
            found += found_at[number]
        for number in sorted(unreadable_at):
            unreadable += unreadable_at[number]
        return {"S": new_text} if new_text else GONE

    return rewrite_json


class Places:
    """Paths below an attribute, at which two of its values may differ."""

    _END = None  # below a step at which a path ends
    _GOES = "", ""  # likewise, where what stands there may be left out

    def __init__(self) -> None:
        """None yet: values may differ nowhere."""
        self._tree: dict[Any, Any] = {}  # a step → the steps below it

    def add(self, steps: tuple, *, may_go: bool = False) -> None:
        """Adds a path. `may_go`: what stands there may be left out. What text holds in parts may differ as a whole."""
        tree = self._tree
        for step in steps:
            if isinstance(step, Split):
                break
            tree = tree.setdefault(step, {})
        tree[self._END] = {}
        if may_go:
            tree[self._GOES] = {}

    @property
    def are_all(self) -> bool:
        """Whether a value that is no map and no list may differ as a whole, and that is all."""
        return self._tree == {self._END: {}}

    def differ(self, value: dict, there: dict | None) -> bool:
        """Whether two values differ, and at these paths alone: elsewhere nothing is missing or changed."""
        return there is not None and there is not value and there != value and self._fit(self._tree, value, there)

    def may_go(self, value: dict) -> bool:
        """Whether the whole value may be left out: it is one itself, JSON text of one alone, or a set of them."""
        return self._may_go(self._tree, value)

    def _fit(self, tree: dict, value: dict, there: dict) -> bool:
        """Whether two values are the same but at these steps."""
        if there is value or there == value:
            return True
        ((letter, content),) = value.items()
        other = there.get(letter)
        if letter == "M" and other is not None:
            return (self._fit_keys if KEYS in tree else self._fit_members)(tree, content, other)
        if letter == "L" and other is not None:
            return EACH in tree and self._fit_some(tree[EACH], content, other)
        if other is None:  # an id may have become null, and so may a set of them
            return "NULL" in there and (self._END in tree or EACH in tree)
        return self._END in tree or JSON in tree or (EACH in tree and letter in SETS)

    def _fit_members(self, tree: dict, content: dict, other: dict) -> bool:
        every = tree.get(VALUES, {})
        below = {name: {**every, **tree[name]} if name in tree else every for name in content}
        gone = {name for name in content.keys() - other.keys() if self._may_go(below[name], content[name])}
        return other.keys() | gone == content.keys() and all(
            other[name] is one or (self._fit(below[name], one, other[name]) if below[name] else other[name] == one)
            for name, one in content.items()
            if name not in gone
        )

    def _fit_keys(self, tree: dict, content: dict, other: dict) -> bool:
        """Of a map whose names are ids the values keep their order."""
        some_go = self._GOES in tree[KEYS] or self._GOES in tree.get(VALUES, ())
        each = {**tree.get(VALUES, {}), **({self._GOES: {}} if some_go else {})}
        return self._fit_some(each, [*content.values()], [*other.values()])

    def _fit_some(self, each: dict, content: list, other: list) -> bool:
        """Whether some values in order are others, without those that may go."""
        if len(other) == len(content):
            return all(map(self._fit, repeat(each), content, other))
        left = iter(content)
        enough = len(other) + sum([self._may_go(each, one) for one in content]) >= len(content)
        return enough and all(any(self._fit(each, value, one) for value in left) for one in other)

    def _may_go(self, tree: dict, value: dict) -> bool:
        while JSON in tree and self._GOES not in tree:
            tree = tree[JSON]
        return self._GOES in tree or (self._GOES in tree.get(EACH, ()) and not SETS.keys().isdisjoint(value))
