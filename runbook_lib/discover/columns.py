"""Pages of items as columns: every path, at any depth, with all texts and numbers that stand there.

Going through columns instead of items lets `map`, `set` and their like do what is done for each value, in a fraction of
the time. Items that have the same names are turned into columns together, and so are the maps at one path.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import chain
from operator import methodcaller
from typing import Any

import orjson

from ..mapping.text.paths import EACH, JSON, KEYS, VALUES, Split
from ..values import MAX_ATTRIBUTES, SETS, canonical_number
from .text.tokens import is_recognisable

MAX_NAMES = 100  # of the maps at one path: where they have more, the names are data
MAX_COUNTED = 12  # the same where all begin with a digit: dates, years, numbers
_opens = methodcaller("startswith", ("{", "["))
_LONG = re.compile(r"[0-9]{19}")  # a number that orjson may read as a float, with other digits
_NOT_JSON = object()

Path = tuple[Any, ...]


def as_columns(maps: Iterable[dict]) -> dict[str, list]:
    """Name → the members of that name in all the maps that have it."""
    alike: dict[tuple[str, ...], list[dict]] = defaultdict(list)
    for one in maps:
        alike[tuple(one)].append(one)
    columns: dict[str, list] = defaultdict(list)
    for names, group in alike.items():
        for name, members in zip(names, zip(*[one.values() for one in group], strict=True), strict=True):
            columns[name].extend(members)
    return columns


def by_letter(values: list[dict]) -> dict[str, list]:
    """Type letter → the contents of the typed values of that type."""
    letter = next(iter(values[0]))
    try:
        return {letter: [value[letter] for value in values]}  # nearly all attributes have one type
    except KeyError:
        found: dict[str, list] = defaultdict(list)
        for value in values:
            for letter, content in value.items():  # one
                found[letter].append(content)
        return found


def leads_to(declared: Path, steps: Path) -> bool:
    """Whether a declared path leads to what stands at another one: also by all values of a map, or by the parts of the text."""
    parts = declared[len(steps) :]
    return (
        len(declared) >= len(steps)
        and (not parts or isinstance(parts[0], Split))
        and all(d == s or (d is VALUES and isinstance(s, str)) for d, s in zip(declared, steps, strict=False))
    )


class Columns:
    """What stands at every path of some items."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.whole: dict[Path, list[str]] = defaultdict(list)  # texts; numbers, canonical; binary in base64
        self.free: dict[Path, list[str]] = defaultdict(list)  # the texts among them that are no JSON
        # Path of a map, KEYS -> its keys; of an item those that may be ids.
        self.keys: dict[Path, Counter[str]] = defaultdict(Counter)


class Reader:
    """Turns pages of one entry's items into columns, and tells names that are data from names that are attributes."""

    def __init__(self, *, numbers: bool = True):
        """Nothing known yet. Without `numbers` these are left out of the columns."""
        self._numbers = numbers
        self._names: dict[Path, set[str]] = defaultdict(set)
        self.collapsed: set[Path] = set()  # of maps whose names are data: one path, VALUES, for all their values

    def columns(self, attributes: Mapping[str, list[dict]]) -> Columns:
        """The columns of a page. `attributes`: name → typed values, as `as_columns` gives them."""
        found = Columns()
        self._members(found, (), attributes, self._typed)
        if names := {name: len(values) for name, values in attributes.items() if is_recognisable(name)}:
            found.keys[KEYS,].update(names)
        return found

    def collapse(self, path: Path) -> Path:
        """The path with VALUES in place of names that are data."""
        for at in range(len(path)):
            if path[:at] in self.collapsed and isinstance(path[at], str):
                path = (*path[:at], VALUES, *path[at + 1 :])
        return path

    def _members(self, found: Columns, path: Path, members: Mapping[str, list], go_on: Any) -> None:
        if path not in self.collapsed:
            names = self._names[path]
            names.update(members)
            are_counted = len(names) > MAX_COUNTED and all(name[:1].isdigit() for name in names)
            if are_counted or len(names) > (MAX_NAMES if path else MAX_ATTRIBUTES):
                self.collapsed.add(path)
                self._names = defaultdict(set, {p: n for p, n in self._names.items() if p[: len(path)] != path})
        if path in self.collapsed:
            go_on(found, (*path, VALUES), [*chain.from_iterable(members.values())])
        else:
            for name, values in members.items():
                go_on(found, (*path, name), values)

    def _maps(self, found: Columns, path: Path, maps: list[dict], go_on: Any) -> None:
        columns = as_columns(maps)
        keys = found.keys[*path, KEYS]
        for name, values in columns.items():
            keys[name] += len(values)
        self._members(found, path, columns, go_on)

    def _typed(self, found: Columns, path: Path, values: list[dict]) -> None:
        for letter, contents in by_letter(values).items() if values else ():
            if letter == "S":
                self._texts(found, path, contents)
            elif letter == "N" and self._numbers:
                found.whole[path] += map(canonical_number, contents)
            elif letter == "M":
                self._maps(found, path, contents, self._typed)
            elif letter == "L":
                self._typed(found, (*path, EACH), [*chain.from_iterable(contents)])
            elif letter == "B":
                found.whole[path] += contents
            elif letter in SETS and (letter != "NS" or self._numbers):
                members = [*chain.from_iterable(contents)]
                self._typed(found, (*path, EACH), [{SETS[letter]: member} for member in members])

    def _texts(self, found: Columns, path: Path, texts: list[str]) -> None:
        found.whole[path] += texts
        if True not in map(_opens, texts):
            found.free[path] += texts
            return
        decoded = [_decoded(text) if _opens(text) else _NOT_JSON for text in texts]
        found.free[path] += [text for text, value in zip(texts, decoded, strict=True) if value is _NOT_JSON]
        self._plain(found, (*path, JSON), [value for value in decoded if value is not _NOT_JSON])

    def _plain(self, found: Columns, path: Path, values: list) -> None:
        """The same for what JSON text holds."""
        of: dict[type, list] = defaultdict(list)
        for value in values:
            of[value.__class__].append(value)
        if dict in of:
            self._maps(found, path, of[dict], self._plain)
        if list in of:
            self._plain(found, (*path, EACH), [*chain.from_iterable(of[list])])
        if str in of:
            self._texts(found, path, of[str])
        if int in of and self._numbers:
            found.whole[path] += map(str, of[int])
        if float in of and self._numbers:
            found.whole[path] += [str(int(number)) for number in of[float] if number.is_integer()]


def _decoded(text: str) -> Any:
    try:
        return json.loads(text, parse_int=str, parse_float=str) if _LONG.search(text) else orjson.loads(text)
    except (ValueError, RecursionError):
        return _NOT_JSON
