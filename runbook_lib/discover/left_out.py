"""What of an entry's target items holds old ids on purpose, so that nobody looks for survivors there. Pure.

A mapping says it of paths of the source. This follows them to where their values stand in the target.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ..mapping.fields import field_of
from ..mapping.model import Entry, FieldRule
from ..mapping.text import templates
from ..mapping.text.conversions import text_of_scalar
from ..mapping.text.paths import Split, escaped, spelled

MOST = 16  # times that a text may hold an id for each to be looked at
_DEEPER = (".", "[", ":", "{")  # begins what a path says of the inside of an attribute


@dataclass(frozen=True)
class Mixed:
    """A text that a template makes of some values that stay on purpose, and of others."""

    literals: tuple[str, ...]  # before, between and after the holes
    stays: tuple[bool | None, ...]  # of each hole: whether its value stays on purpose; None: no id can stand there

    def explains(self, text: str, part: str) -> bool:
        """Whether the part of the text can only stand where values stay on purpose."""
        if text.count(part) > MOST:
            return False
        stays = {self.stays[hole] for hole in self._holes(text, part)}
        return True in stays and False not in stays

    def _holes(self, text: str, part: str) -> Iterator[int]:
        """The holes in which the part may stand, at any place where the text holds it; none where no text fits."""
        head, *between, tail = self.literals
        end = len(text) - len(tail)
        at = text.find(part) if text.startswith(head) and text.endswith(tail) else -1
        while at >= 0:
            stop = at + len(part)
            if len(head) <= at and stop <= end:
                for hole in range(len(self.stays)):
                    if _in_order(between[:hole], text[len(head) : at]) and _in_order(between[hole:], text[stop:end]):
                        yield hole
            at = text.find(part, at + 1)


def _in_order(literals: Iterable[str], text: str) -> bool:
    at = 0
    for literal in literals:
        at = text.find(literal, at)
        if at < 0:
            return False
        at += len(literal)
    return True


@dataclass(frozen=True)
class LeftOut:
    """What is not looked at in the target items of one entry."""

    listed: tuple[str, ...] = ()  # the paths of the source, as a report lists them
    paths: frozenset[str] = frozenset()  # of the target, as a mapping spells them
    made: frozenset[str] = frozenset()  # attributes that templates make of nothing else
    mixed: Mapping[str, Mixed] = field(default_factory=dict)  # attribute -> its template

    def touches(self, path: str) -> bool:
        """Whether not all that stands at a path of the target is looked at."""
        return any(inside(path, one) is not None for one in (*self.paths, *map(escaped, (*self.made, *self.mixed))))


def left_out(entry: Entry, entries: Mapping[str, Entry]) -> LeftOut:
    """What is left out of an entry: ids that are kept, references to them, and `not_references`. `entries`: all."""
    listed = {*_listed(entry, entries)}
    fields = entry.model.fields or {}
    paths = {at for path in listed for at in _copies(entry, path)}
    made, mixed = set(), _beside(entry, entries)
    for name in [name for name, rule in fields.items() if rule.template is not None]:
        parts = _flat(name, fields)
        if len(parts) == 1 and not isinstance(parts[0], str):  # as good as a copy, with what stands inside
            paths |= {escaped(name) + deeper for path in listed if (deeper := inside(path, parts[0].name)) is not None}
            continue
        holes = templates.holes(parts)
        stays = tuple(None if hole.format else hole.name in listed for hole in holes)
        if True in stays and False in stays:
            mixed[name] = Mixed(tuple(templates.literals(parts)), stays)
        elif True in stays:
            made.add(name)
    return LeftOut(tuple(sorted(listed)), frozenset(paths), frozenset(made), mixed)


class Places(NamedTuple):
    """Where the values of one path of the source stand in the target."""

    paths: set[str]  # as a mapping spells them
    are_copies: bool  # all of them are the values as they are
    are_known: bool = True  # False: a function of the user's may put them elsewhere

    def hold(self, path: str) -> bool:
        """Whether a path of the target is one of them, or lies inside one."""
        return any(inside(path, place) is not None for place in self.paths)


def places_of(entry: Entry, path: str) -> Places:
    """Where the values of a source path stand in the entry's target items: in copies, in the rest, in what templates make."""
    fields = entry.model.fields or {}
    made = {
        escaped(name)
        for name, rule in fields.items()
        if rule.template is not None
        and any(not isinstance(part, str) and inside(path, part.name) is not None for part in _flat(name, fields))
    }
    derived = [
        rule
        for rule in fields.values()
        if rule.source and rule.derives and inside(path, spelled(rule.steps)) is not None
    ]
    return Places({*_copies(entry, path)} | made, not made and not derived and not entry.code, not entry.code)


def _listed(entry: Entry, entries: Mapping[str, Entry]) -> Iterator[str]:
    yield from entry.model.not_references
    if entry.model.id and not entry.model.makes_ids and not _varies(entry.id_parts):
        yield escaped(entry.model.id)
    for path, steps in entry.paths.items():
        kept = (names := entry.named(path)) and not any(entries[name].model.makes_ids for name in names)
        if kept and not any(map(_varies, entry.references_to[path])):
            parts = [at for at, step in enumerate(steps) if isinstance(step, Split)]
            yield spelled(steps[: parts[0]]) if parts else path


def _varies(parts: templates.Parts) -> bool:
    """Whether text that is no id stands in a template beside what is one."""
    return any(hole.name == templates.ANY for hole in templates.holes(parts))


def _beside(entry: Entry, entries: Mapping[str, Entry]) -> dict[str, Mixed]:
    """The attributes that are copied as they are, with ids in them that stay and with other text."""
    if entry.model.fields is not None:
        return {}
    found = {}
    if entry.model.id and not entry.model.makes_ids and _varies(entry.id_parts):
        found[entry.model.id] = _mixed(entry.id_parts, {"id"})
    for path, places in entry.references_to.items():
        kept = {name for name in entry.named(path) if not entries[name].model.makes_ids}
        if len(places) == len(entry.paths[path]) == 1 and _varies(places[0]) and kept:
            found[entry.paths[path][0]] = _mixed(places[0], kept)
    return found


def _mixed(parts: templates.Parts, kept: set[str]) -> Mixed:
    return Mixed(tuple(templates.literals(parts)), tuple(hole.name in kept for hole in templates.holes(parts)))


def _copies(entry: Entry, path: str) -> Iterator[str]:
    """Where the values of a source path stand in the target as they are: in fields, and in the rest."""
    model = entry.model
    if any(inside(path, name) is not None for name in model.drop):
        in_rest = False
    elif model.fields is None:
        in_rest = True
    else:
        rules = [(name, rule, inside(path, spelled(rule.steps))) for name, rule in model.fields.items() if rule.source]
        copies = [(name, rule, deeper) for name, rule, deeper in rules if deeper is not None]
        yield from (escaped(name) + _converted(rule, deeper) for name, rule, deeper in copies)
        using_up = [rule for _, rule, _ in copies if rule.uses_up]
        in_rest = bool(model.rest) and (not using_up or any(rule.on_error == "rest" for rule in using_up))
    if in_rest:  # what the map of the rest holds in the source keeps its place there
        is_own = model.fields is None or model.rest == "copy" or inside(path, escaped(model.rest)) is not None
        yield path if is_own else f"{escaped(model.rest)}.{path}"


def _converted(rule: FieldRule, deeper: str) -> str:
    """Where what stood inside a value stands after its conversion: JSON text became the map or the list itself."""
    deeper = deeper.removeprefix(":json") if rule.type in ("map", "list") else deeper
    return deeper or ("[]" if rule.type == "list" else "")


def inside(path: str, attribute: str) -> str | None:
    """What a path says of the inside of an attribute; None where it is the path of another one."""
    deeper = path[len(attribute) :]
    return deeper if path.startswith(attribute) and (not deeper or deeper.startswith(_DEEPER)) else None


def _flat(name: str, fields: Mapping[str, FieldRule]) -> list[str | templates.Hole]:
    """The template of a field, with what fields are made of in the place of the holes that read them."""
    parts = []
    for part in templates.parse(fields[name].template):
        read = None if isinstance(part, str) or part.format else field_of(part.steps, fields)
        rule = None if read in (None, name) else fields[read]
        if rule is None:
            parts.append(
                part if isinstance(part, str) else templates.Hole(spelled(part.steps), part.format, part.default)
            )
        elif rule.template is not None:
            parts += _flat(read, fields)
        elif rule.is_constant:
            parts.append(text_of_scalar(rule.constant) or "")
        else:
            parts.append(templates.Hole(spelled(rule.steps)))
    return parts
