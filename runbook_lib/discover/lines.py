"""The line of a mapping that says what a path holds, and texts that say themselves whose ids are in them. Pure."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from ..mapping.model import Entry
from ..mapping.text import templates
from ..mapping.text.paths import EACH, KEYS, Split, parse, spelled
from ..yaml_files import scalar
from .columns import Path
from .evidence import PART, Column, Match, is_inside
from .text import names
from .text.patterns import AGREEING, names_entries, shape_of
from .text.slots import Slot
from .text.tokens import token_spans

ENOUGH = 3  # texts that name an entry before an id of it, for that to be no accident
_MARK = re.compile(r"([^\W\d_]+)[\W_]+$")  # the word before what separates it from an id


class Line(NamedTuple):
    """What to paste into a mapping."""

    text: str | None  # None where the language cannot say it
    in_a_text: int = 1  # how many ids a text holds in places of their own
    takes_all: bool = False  # texts that hold ids, and those that are one


def line_of(
    column: Column,
    steps: Path,
    owners: list[Match],
    named_by: str | None,
    entries: Mapping[str, Entry],
    *,
    some: bool,
    slots: Mapping[Slot, str],
) -> Line:
    """The line to paste. `owners`: who has the ids, the one that is meant first. `some`: whether only some values are ids.

    `slots`: those of the texts that hold the ids of one entry.
    """
    if not is_inside(column.path):
        if named_by:
            return Line(_said(steps, f"{{table_named_by: {scalar(named_by)}}}", []))
        to = _together(owners)
        return Line(_said(steps, _to(to, some=some), to))
    named: dict[int, str] = {}
    for match in reversed(owners):
        named |= dict.fromkeys(_codes(column, match), match.to)
    marks = [(match.to, Mark(match.to, entries), _codes(column, match)) for match in column.matches]

    some_marked = any(says_whose(column, match, entries) for match in column.matches)

    def owner_of(text: str, start: int, stop: int) -> str | None:
        if held := [to for slot, to in slots.items() if slot.span(text) == (start, stop)]:
            return held[0]
        code = column.code_of(text[start:stop])
        told = [
            name for name, mark, codes in marks if (code in codes or mark.is_own) and mark.stands_in(text, start, stop)
        ]
        return told[0] if told else None if some_marked and code >= 0 else named.get(code)

    # Of ids that look like other things, a template would say which is which; a list need not.
    lists = not any(match.recognised for match in owners)
    shape = shape_of(
        column.samples, owner_of, lambda text: [s for slot in slots if (s := slot.span(text))], lists=lists
    )
    if shape.separator and steps[-1] is not KEYS:
        to = shape.templates or (_together(owners) if owners else [*dict.fromkeys(slots.values())])
        listed = _said((*steps, Split(shape.separator), EACH), _to(to, some=not shape.all_ids), to)
        return Line(listed, takes_all=True)
    if not shape.templates:
        return Line(None)
    places = [*sorted({owner for text in column.samples if (owner := owner_of(text, 0, len(text)))}), *shape.templates]
    in_a_text = max(len(names_entries(one) or ()) for one in places)
    return Line(_said(steps, _to(places, some=False), places), in_a_text, len(places) > len(shape.templates))


def _together(owners: list[Match]) -> list[str]:
    """The entries that a rule must name: the first, and those that have ids that the others lack."""
    first, *others = owners
    named, covered = [first], first.hits
    for match in others:
        if first.recognised and match.recognised and len(np.setdiff1d(match.hits, covered, assume_unique=True)):
            named.append(match)
            covered = np.union1d(covered, match.hits)
    return [match.to for match in sorted(named, key=lambda match: (-len(match.hits), match.to))]


def _to(places: list[str], *, some: bool) -> str:
    said = scalar(places[0]) if len(places) == 1 else f"[{', '.join(map(scalar, places))}]"
    keep = ", dangling: keep" if some else ""  # what is no id must not become one
    return f"{{to: {said}{keep}}}" if some or len(places) > 1 else said


def _said(steps: Path, rule: str, places: list[str]) -> str | None:
    """The line; None where no path leads there, or where an entry's name cannot stand in a rule."""
    try:
        path = spelled(steps)
        is_path = parse(path) == steps
    except ValueError:
        return None
    return f"{scalar(path)}: {rule}" if is_path and None not in map(names_entries, places) else None


def says_whose(column: Column, match: Match, entries: Mapping[str, Entry]) -> bool:
    """Whether the texts at a path name the entry before its ids, as they do in its own attribute or by its name: ORDER#7."""
    if column.path[-1] is not PART or not column.samples:
        return False
    mark, codes = Mark(match.to, entries), _codes(column, match)
    said = known = 0
    for text in column.samples:
        found = {column.code_of(text[a:b]) in codes for a, b in token_spans(text) if mark.stands_in(text, a, b)}
        said, known = said + (True in found or (mark.is_own and bool(found))), known + (True in found)
    return known > 0 and said >= AGREEING * len(column.samples) and (mark.is_own or known >= ENOUGH)


def leaves_out(places: Iterable[templates.Parts], slot: Slot, texts: Iterable[str]) -> bool:
    """Whether templates fit some of the texts, and none of their entries takes what stands in a slot."""
    fits = False
    for parts in places:
        read, between, holes = templates.reader(parts), templates.literals(parts), templates.holes(parts)
        for text, span in [(text, span) for text in texts if (span := slot.span(text))]:
            at, fits = 0, fits or read(text) is not None
            for hole, literal, piece in zip(holes, between, read(text) or (), strict=False):
                start, at = at + len(literal), at + len(literal) + len(piece)
                if hole.name != templates.ANY and start < span[1] and span[0] < at:
                    return False
    return fits


def _codes(column: Column, match: Match) -> set[int]:
    return {*column.values.codes[match.hits].tolist()}


class Mark:
    """What stands before an id and says of which entry it is: what is before it in its own attribute, or the entry's name."""

    def __init__(self, entry: str, entries: Mapping[str, Entry]):
        """`entries`: those that are known."""
        id_parts = entries[entry].id_parts if entry in entries else ()
        at = id_parts.index(templates.Hole("id")) if id_parts else 0
        found = _MARK.search(id_parts[at - 1]) if at else None
        self._entry, self._own = entry, re.compile(rf"(?<![^\W_]){re.escape(found[0])}$") if found else None

    @property
    def is_own(self) -> bool:
        """Whether the entry's own attribute has one."""
        return self._own is not None

    def stands_in(self, text: str, start: int, stop: int) -> bool:
        """Whether it stands before a part of a text that no letter and no digit follows."""
        before = text[:start]
        if text[stop : stop + 1].isalnum():
            return False
        if self._own and self._own.search(before):
            return True
        found = _MARK.search(before)
        return found is not None and names.means([f"{found[1]}_id"], self._entry, many=False)
