"""Which paths hold ids of other items, how sure that is, and the line of a mapping that says so.

Where ids can be recognised (a uuid, a prefix, letters and digits), a value that equals one is no coincidence. Other ids, bare
numbers above all, are also quantities, years and positions. There the coverage of the path, the part of the ids that occur, the
way they lie among all ids, and the names decide; where these do not agree, the finding is ambiguous. Inside texts, such ids are
looked for slot by slot.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ..mapping.fields import feeding
from ..mapping.model import Entry
from ..mapping.references import paths_in_record
from ..mapping.text.paths import VALUES, spelled
from ..yaml_files import scalar
from .columns import Path, leads_to
from .confidence import CERTAIN, CHANCE, COVERED, LIKELY, UNSURE, BareOf, confidence_of, numbers_of
from .evidence import OWN_ID, PART, Column, Evidence, Match, steps_of
from .lines import Line, leaves_out, line_of, says_whose
from .text import names
from .text.patterns import as_reference
from .text.slots import Slot

SAID = 0.95  # confidence where the text itself says whose ids are in it, as ORDER#7 does
ENOUGH_IDS = 20  # of an entry, before it says something that they are those of another
MOST_IDS, ALL_IDS = 0.95, 0.98  # of them that must be; the second where they cannot be recognised


@dataclass(frozen=True)
class Finding:
    """Values of one path that are ids of one entry. Holds counts and names, never a value."""

    table: str  # the entry whose items have the path
    path: str
    to: str
    values: int  # texts and numbers at the path
    found: int  # of these, ids of `to` (or texts that hold one); an estimate for paths of very many different values
    confidence: float
    line: str | None  # for `references` in the mapping; None where the language cannot say it
    steps: Path = ()  # the path
    held: frozenset[str] = frozenset()  # every entry of whose ids the path holds some
    declared: str = ""  # what the mapping says that the path refers to, where that is something else
    said: bool = False  # the texts there say themselves whose ids they hold
    takes_all: bool = False  # its line is for values that hold ids, and for those that are one
    in_slot: bool = False  # the ids look like other things, too, and stand at one place of texts that look alike
    beside: bool = False  # rules rewrite other parts of these texts
    record: str = ""  # the entries by whose rules the record there is rewritten, where they leave out the path

    @property
    def coverage(self) -> float:
        """The share of the values that are ids."""
        return round(self.found / self.values, 4) if self.values else 0.0

    @property
    def is_certain(self) -> bool:
        """Whether it asks for a decision."""
        return self.confidence >= CERTAIN

    def as_json(self) -> dict[str, Any]:
        """As the analysis lists it."""
        fields = ("table", "path", "to", "values", "found", "coverage", "confidence", "line")
        told = {name: getattr(self, name) for name in ("declared", "record") if getattr(self, name)}
        return {name: getattr(self, name) for name in fields} | told


def find_references(columns: list[Column], evidence: Evidence, entries: Mapping[str, Entry]) -> list[Finding]:
    """Every path whose values are ids of an entry, whether or not the mapping says so; ids of the items' own are not.

    A path has several findings where its values are ids of several entries. `columns` are those of the evidence.
    """
    naming = _naming(columns)
    bare_of = cache(evidence.bare_of)
    found: dict[tuple[str, str, str], Finding] = {}
    looked_at = [column for column in columns if _is_looked_at(column, entries)]
    in_slots = _in_slots(looked_at, entries, bare_of)
    for column in [column for column in looked_at if not isinstance(column.path[-1], Slot)]:
        entry = entries[column.entry]
        steps = column.steps
        held = frozenset(match.to for match in column.matches)
        whole = column.values.total if column.named else evidence.total(column.entry, steps)
        parents = _parents(column, entry, entries, bare_of)
        for match, confidence in parents:
            number = _occurrences(column, match)
            one = Finding(
                column.entry, spelled(steps), match.to, whole, min(number, whole), confidence, None, steps, held
            )
            if column.named:
                one = replace(one, record=column.named[1])
            elif column.path[-1] is not PART or one.coverage >= LIKELY:  # else it is no pattern
                owners = [match, *(other for other, _ in parents if other is not match)]
                named_by = naming.get((column.entry, steps, match.to))
                ids = sum(_occurrences(column, owner) for owner in owners)
                mixed = evidence.is_mixed(column.entry, steps)
                some = mixed or ids < COVERED * whole
                slots = _certain(in_slots.get((column.entry, steps), {}))
                line = line_of(column, steps, owners, named_by, entries, some=some, slots=slots)
                if mixed and (column.path[-1] is not VALUES or named_by):
                    line = Line(None)  # it would be said of the other members, too
                said = says_whose(column, match, entries)
                one = replace(one, line=line.text, takes_all=line.takes_all, said=said)
                if line.in_a_text > 1 and not (match.recognised or said):
                    one = replace(one, line=None, confidence=min(UNSURE, confidence))  # which is which, nothing says
            other = found.get((one.table, one.path, one.to))
            if other and column.named:  # the same path in records of another entry
                records = f"{other.record}, {one.record}"
                one = replace(one, values=one.values + other.values, found=one.found + other.found, record=records)
            elif other:  # some values are ids, others hold some: the first says how to declare it
                first = max(one, other, key=lambda some: (some.takes_all, some.found))
                one = replace(first, found=min(whole, one.found + other.found))
            found[one.table, one.path, one.to] = one
    parts = {(column.entry, column.steps): column for column in looked_at if column.path[-1] is PART}
    for place, slots in in_slots.items():
        known = {one.to for one in found.values() if (one.table, one.steps) == place and one.is_certain}
        for one in _slots_of(slots, parts.get(place), evidence, entries, bare_of):
            other = found.get((one.table, one.path, one.to))
            if one.confidence > other.confidence if other else known.isdisjoint(one.held):
                found[one.table, one.path, one.to] = one
    for column in columns:
        for name, inner in _records_at(column, entries[column.entry]):
            for to in [match.to for match in column.matches if inner not in _rewritten(entries[name])]:
                one = found.get((column.entry, spelled(column.steps), to))
                if one and (name, spelled(inner), to) in found:  # declared there, it is rewritten here
                    records = dict.fromkeys([*filter(None, one.record.split(", ")), name])
                    found[one.table, one.path, to] = replace(one, line=None, record=", ".join(records))
    return sorted(found.values(), key=lambda one: (one.table, one.path, -one.found, one.to))


def _is_looked_at(column: Column, entries: Mapping[str, Entry]) -> bool:
    """Whether a path may hold references: it is not the items' own id, and nothing in a record that rules rewrite."""
    entry, steps = entries[column.entry], column.steps
    quoted = _records_at(column, entry)
    is_own = column.path[-1] is OWN_ID or (steps == (entry.model.id,) and not entry.id_parts)
    if is_own or any(inner in _rewritten(entries[name]) for name, inner in quoted):
        return False
    # Of a path that rules rewrite in the records of some entries, the items are told apart; of others they are not.
    return bool(quoted) and steps in entry.inside if column.named else steps not in entry.inside


class Held(NamedTuple):
    """What a slot holds."""

    column: Column
    parents: list[tuple[Match, float]]  # the entries whose ids stand there, with the confidence

    @property
    def is_certain(self) -> bool:
        """Whether it asks for a decision."""
        return self.parents[0][1] >= CERTAIN

    @property
    def are_numbers(self) -> bool:
        """Whether the ids are whole numbers."""
        return self.column.values.codes[self.parents[0][0].hits[0]] >= 0


InSlots = dict[tuple[str, Path], dict[Slot, Held]]  # entry and path of the texts -> what their slots hold


def _in_slots(columns: Iterable[Column], entries: Mapping[str, Entry], bare_of: BareOf) -> InSlots:
    """What the slots of texts hold, where the ids look like other things, too; the others are seen without slots.

    Where several slots may hold ids that are numbers, nothing says which does.
    """
    found: InSlots = defaultdict(dict)
    for column in columns:
        slot = column.path[-1]
        if not isinstance(slot, Slot) or any(match.recognised for match in column.matches):
            continue
        if parents := _parents(column, entries[column.entry], entries, bare_of):
            found[column.entry, column.steps][slot] = Held(column, parents)
    for slots in found.values():
        unsure = [slot for slot, held in slots.items() if not held.is_certain and held.are_numbers]
        for slot in unsure if len(unsure) > 1 else ():
            del slots[slot]
    return found


def _certain(slots: Mapping[Slot, Held]) -> dict[Slot, str]:
    return {slot: held.parents[0][0].to for slot, held in slots.items() if held.is_certain}


def _slots_of(
    slots: Mapping[Slot, Held], beside: Column | None, evidence: Evidence, entries: Mapping[str, Entry], bare_of: BareOf
) -> Iterator[Finding]:
    """The findings in the slots of the texts at one path. `beside`: all parts of these texts."""
    for held in slots.values():
        column, entry = held.column, entries[held.column.entry]
        whole, mixed = evidence.total(entry.name, column.steps), evidence.is_mixed(entry.name, column.steps)
        others = (
            [match for match, sure in _parents(beside, entry, entries, bare_of) if sure >= CERTAIN] if beside else []
        )
        for match, confidence in held.parents:
            number = min(whole, _occurrences(column, match))
            one = Finding(
                entry.name,
                spelled(column.steps),
                match.to,
                whole,
                number,
                confidence,
                None,
                column.steps,
                frozenset(match.to for match in column.matches),
                in_slot=True,
                beside=any(
                    leaves_out(entry.references_to[path], column.path[-1], column.samples)
                    for path, declared in entry.paths.items()
                    if declared == column.steps
                ),
            )
            if one.coverage >= LIKELY and not mixed:
                sure = _certain(slots) | {column.path[-1]: match.to}
                line = line_of(beside or column, column.steps, others, None, entries, some=False, slots=sure)
                one = replace(one, line=line.text)
            yield one


def _records_at(column: Column, entry: Entry) -> list[tuple[str, Path]]:
    """The entry whose record the path lies in, and the path in the record; none where no record is declared there."""
    found = []
    for path, rule in entry.model.references.items():
        begun = entry.paths[path]
        name = rule.record_of if isinstance(rule.record_of, str) else None
        if rule.record_of and not name and column.named and column.named[0] == rule.named_by:
            name = column.named[1]
        if name and column.path[: len(begun)] == begun:
            found.append((name, column.steps[len(begun) :]))
    return found


def _rewritten(entry: Entry) -> set[Path]:
    return {steps for steps, _ in paths_in_record(entry)}


def undeclared(findings: Iterable[Finding], entries: Mapping[str, Entry]) -> tuple[list[Finding], list[Finding]]:
    """The findings that no rule rewrites although the ids are renewed; and those of them under `not_references`."""
    by_path: dict[tuple[str, str], list[Finding]] = defaultdict(list)
    for one in findings:
        if entries[one.to].model.renews_ids and one.confidence >= LIKELY:
            by_path[one.table, one.path].append(one)
    open_, none = [], []
    for (table, path), several in by_path.items():
        entry, steps = entries[table], several[0].steps
        if steps[0] in entry.dropped and steps[0] not in _read_by_fields(entry):
            continue
        rules = [rule for rule, declared in entry.paths.items() if leads_to(declared, steps)]
        if path in entry.model.not_references:
            none += several
        elif not rules:
            open_ += several
        else:
            said = {name for rule in rules for name in entry.named(rule)}
            contradicted = said and not any(said & one.held for one in several)
            left = several if contradicted else [one for one in several if one.beside]
            if not left and said and said.isdisjoint(one.to for one in several):  # ids of both: does the name speak?
                named = [one for one in several if _is_named(steps, one.to)]
                left = [replace(one, confidence=min(one.confidence, UNSURE)) for one in named]
            open_ += [replace(one, declared=" and ".join(sorted(said))) for one in left]
    return open_, none


def same_ids(columns: Iterable[Column], entries: Mapping[str, Entry], evidence: Evidence) -> list[Finding]:
    """Ids of one entry, (nearly) all of which are ids of another, where both get new ones: these would differ.

    Of two entries with the same ids, the later one gets the finding, which names the first of those that share them. Bare numbers
    that chance can hit, such as 1 to 100 in two tables, say nothing.
    """
    order, found = {name: at for at, name in enumerate(entries)}, {}
    bare_of = cache(evidence.bare_of)
    for column in columns:
        attribute, id_parts = entries[column.entry].model.id, entries[column.entry].id_parts
        own = (attribute, OWN_ID) if id_parts else (attribute,)
        if column.named or column.path != own or len(column.values.codes) < ENOUGH_IDS:
            continue
        for match in column.matches:
            renewed = all(entries[name].model.makes_ids for name in (column.entry, match.to))
            if match.to == column.entry or not renewed or not _are_the_same(column, match, bare_of):
                continue
            values, share = column.values.total, len(match.hits) / len(column.values.codes)
            there, number = spelled((attribute,)), round(values * share)
            line = f"{scalar(there)}: {scalar(as_reference(id_parts, match.to))}"
            one = Finding(column.entry, there, match.to, values, number, 1.0, line, (attribute,))
            other = found.get(frozenset((one.table, one.to)))
            rank = one.coverage, order[one.table]
            if other is None or rank > (other.coverage, order[other.table]):
                found[frozenset((one.table, one.to))] = one
    told: dict[str, Finding] = {}
    for one in sorted(found.values(), key=lambda one: (order[one.table], -one.coverage, order[one.to])):
        told.setdefault(one.table, one)
    return list(told.values())


def _are_the_same(column: Column, match: Match, bare_of: BareOf) -> bool:
    number, hits = len(column.values.codes), column.values.codes[match.hits]
    if match.recognised >= MOST_IDS * number:
        return True
    if len(hits) < ALL_IDS * number:
        return False
    whole = hits[hits >= 0]  # ascending, as the codes are
    if len(whole) < MOST_IDS * len(hits):
        return True
    ids, every = numbers_of(bare_of(match.to))
    between = every * int(((ids >= whole[0]) & (ids <= whole[-1])).sum())
    return bool((min(1.0, between / float(whole[-1] - whole[0] + 1)) ** len(whole)) < CHANCE)


def _read_by_fields(entry: Entry) -> set[str]:
    """The source attributes that the fields are made of: what is written from them arrives, although they are dropped."""
    fields = entry.model.fields or {}
    return feeding(fields, fields)[1]


def _spoken(path: Path) -> list[str]:
    """The names of a path that may speak for an entry: the last, and the one above it."""
    return [step for step in path if isinstance(step, str)][-2:]


def _is_named(path: Path, entry: str) -> bool:
    """Whether a path is named as a reference to the entry would be."""
    return names.means(_spoken(path), entry, many=not isinstance(steps_of(path)[-1], str))


def _occurrences(column: Column, match: Match) -> int:
    counts = column.values.counts
    kept = counts.sum()
    return round(column.values.total * counts[match.hits].sum() / kept) if kept else 0


def _parents(column: Column, entry: Entry, entries: Mapping[str, Entry], bare_of: BareOf) -> list[tuple[Match, float]]:
    """The entries whose ids a column holds, each with the confidence; together they explain all of its ids once."""
    spoken = _spoken(column.path)
    slot = column.path[-1] if isinstance(column.path[-1], Slot) else None
    hinted = _hinted(entry, column.path) if slot is None else set()
    scores = {m.to: 1.0 if m.to in hinted else names.support(spoken, m.to) for m in column.matches}
    ranked = sorted(column.matches, key=lambda m: (-len(m.hits), -scores[m.to], m.to))
    chosen, covered = [], np.empty(0, np.int64)
    for match in ranked:
        if match.recognised and len(np.setdiff1d(match.hits, covered, assume_unique=True)):
            coverage = _occurrences(column, match) / column.values.total
            confidence = round(CERTAIN + (1 - CERTAIN) * min(1.0, coverage), 2)
            same = [m for m in ranked if m is not match and _may_be_meant(m, match, covered)]
            # Others that have the same ids, and for which the names speak as much, may be meant as well.
            chosen += [(m, confidence) for m in (match, *same) if scores[m.to] >= scores[match.to]]
            covered = np.union1d(covered, match.hits)
    told = {m.to for m, _ in chosen}
    chosen += [(m, SAID) for m in ranked if m.to not in told and says_whose(column, m, entries)]
    if chosen:
        return chosen
    named = {m.to: m.to in hinted or _is_named(column.path, m.to) for m in column.matches}
    if named.get(entry.name):
        named[entry.name] = not names.names_itself(spoken, entry.name)
    rated = [(match, confidence_of(column, match, named[match.to], bare_of)) for match in ranked]
    rated = sorted(rated, key=lambda pair: (-pair[1], -scores[pair[0].to], pair[0].to))
    rated = [pair for pair in rated if pair[1] >= LIKELY]
    if len(rated) > 1 and scores[rated[0][0].to] <= scores[rated[1][0].to]:  # no name tells them apart
        return [(match, min(confidence, UNSURE)) for match, confidence in rated]
    return rated[:1]


def _may_be_meant(other: Match, match: Match, covered: np.ndarray) -> bool:
    """Whether all that a match explains, beyond what is covered, are ids of another entry, too."""
    explained = np.setdiff1d(match.hits, covered, assume_unique=True)
    return bool(other.recognised) and not len(np.setdiff1d(explained, other.hits, assume_unique=True))


def _hinted(entry: Entry, path: Path) -> set[str]:
    """The entries to which declared paths refer that are this path, misspelt."""
    text = spelled(path)
    close = [other for other, steps in entry.paths.items() if steps != path and names.alike(other, text)]
    return {name for other in close for name in entry.named(other)}


def _naming(columns: list[Column]) -> dict[tuple[str, Path, str], str]:
    """(entry, path, parent) → the attribute that names the entry whose id stands at the path, where it always does."""
    found: dict[tuple[str, Path, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for column in columns:
        if column.named:
            attribute, name = column.named
            if any(m.to == name and len(m.hits) >= COVERED * len(column.values.codes) - 1 for m in column.matches):
                found[column.entry, column.path][attribute].append(name)
    return {
        (entry, path, name): attribute
        for (entry, path), attributes in found.items()
        for attribute, several in attributes.items()
        if len(several) > 1
        for name in several
    }
