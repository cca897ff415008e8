"""00: the walk that gathers evidence, and the mapping that it suggests. Reads the source; writes the mapping file."""

import itertools
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...discover.evidence import OWN_ID, Column, Evidence, Ids
from ...discover.references import find_references, same_ids
from ...dynamo.structure.description import Key
from ...errors import Refused
from ...mapping.file.load import mapping_of
from ...mapping.model import Entry
from ...mapping.model import Mapping as TableMapping
from ...mapping.text.paths import parse
from ...parameters import Parameters
from ...run.files import name_of, write_atomically
from ...run.folder import now
from ...verdict import plural
from ...walk.plan import Plan
from ...yaml_files import parse_value
from . import ids, owners, references
from .entries import Drafted, Group, Unrouted, grouped
from .ids import Choice
from .matching import natural_keys
from .matching.natural_keys import NaturalKey
from .matching.targets import Targets, Wanted, look, open_targets
from .references import Rule
from .survey import Survey, open_sources, survey
from .tables import Names
from .text import render


@dataclass(frozen=True)
class Sources:
    """The tables to draft, before anything of their items is known."""

    names: Names
    plan: Plan
    targets: Targets = field(default_factory=Targets)


@dataclass(frozen=True)
class Draft:
    """The mapping that the source suggests, as text and as figures."""

    text: str
    mapping: TableMapping  # the text, loaded
    entries: dict[str, Drafted]
    unrouted: list[Unrouted]
    most: int | None  # items of a table that were read at most; None: all
    unread: tuple[str, ...] = ()  # why target tables could not be looked at, one sentence each

    @property
    def items(self) -> int:
        """How many items were read."""
        return sum(entry.items for entry in self.entries.values()) + sum(one.items for one in self.unrouted)

    @property
    def kept(self) -> str:
        """Whose ids are not renewed, and why, in sentences; "" where all are."""
        return _kept(self.entries)

    def rules(self, *, ambiguous: bool) -> list[tuple[str, Rule]]:
        """Entry and rule: of those that need a decision, or of those that are certain."""
        return _rules(self.entries, ambiguous=ambiguous)

    def natural_keys(self) -> list[tuple[str, NaturalKey]]:
        """Entry and natural key, of all entries."""
        return [(e.name, one) for e in self.entries.values() for one in e.natural_keys]


def find_sources(parameters: Parameters, pattern: str, run_id: str = "") -> Sources:
    """The source tables, by their names, and which of their target tables hold items. Read-only.

    Raises Refused where there is no source table. A target that cannot be looked at stops nothing.
    """
    plan, names = open_sources(parameters, pattern, run_id)
    return Sources(names, *open_targets(plan, run_id))


def check_free(path: Path, *, force: bool) -> None:
    """Refused where the mapping file exists and is not to be replaced, or cannot be one."""
    try:
        is_file, exists = path.is_file(), path.exists()
    except OSError as problem:
        raise Refused(f"{path} cannot be written: {problem.strerror}; name another file under `mapping`.") from None
    if exists and not is_file:  # a device would be moved away
        raise Refused(f"{path} is not a regular file; name another one under `mapping`.")
    if exists and not force:
        raise Refused(
            f"{path.name} exists: go on with 01. To draft it anew, name another file under `mapping`, or use --force, which "
            "keeps the old one beside it."
        )


def write_mapping(path: Path, text: str, *, force: bool) -> Path | None:
    """Writes the mapping file. Returns where an older one is kept. Raises Refused as `check_free`."""
    check_free(path, force=force)
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = None
    if path.exists():
        stamp = f".{now():%Y%m%dT%H%M%SZ}"
        for number in itertools.count(1):
            kept = path.with_name(name_of(path.name, stamp if number == 1 else f"{stamp}-{number}"))
            with suppress(FileExistsError), kept.open("xb") as file:  # another process may keep its own just now
                file.write(path.read_bytes())
                file.flush()
                os.fsync(file.fileno())
                break
    write_atomically(path, text.encode())
    return kept


def draft(
    parameters: Parameters, sources: Sources, on_page: Callable[[str, Counter], None] | None, most: int | None
) -> Draft:
    """Reads every table, or at most `most` items of each, and drafts the mapping. Read-only.

    Of target tables that hold items it reads as much, for what may be natural keys.
    """
    seen = survey(sources.plan, sources.names, on_page, most, sources.targets.tables)
    entries, groups, unrouted = _entries(parameters, seen, frozenset())
    if whole := _better_whole(entries):
        entries, groups, unrouted = _entries(parameters, seen, whole)
    wanted = _wanted(entries, groups, sources.targets)
    found, unread = look(sources.plan, sources.targets, wanted, most, on_page)
    for one in wanted:
        keys = natural_keys.compared(one.held, found.get(one.entry, {}))
        entries[one.entry] = replace(entries[one.entry], natural_keys=keys)
    head = _head(seen.plan, entries, unrouted, most)
    text = render(head, seen.names, entries, {one.table: one for one in unrouted})
    content = parse_value(text)
    assert isinstance(content, dict), "the draft is not YAML"
    mapping = mapping_of(content, parameters.mapping_path().name, parameters)
    return Draft(text, mapping, entries, unrouted, most, (*sources.targets.unread, *unread))


def _rules(entries: Mapping[str, Drafted], *, ambiguous: bool) -> list[tuple[str, Rule]]:
    return [(e.name, rule) for e in entries.values() for rule in e.rules if rule.ambiguous is ambiguous]


def _wanted(entries: Mapping[str, Drafted], groups: list[Group], targets: Targets) -> list[Wanted]:
    """What to look for in the target: attributes that are nearly unique in entries whose items get new ids."""
    wanted = []
    for group in groups:
        entry = entries[group.name]
        if not entry.id.attribute or group.table not in targets.tables:
            continue
        taken = {entry.id.attribute, *(parse(rule.path)[0] for rule in entry.rules)}
        held = {
            name: one
            for name, one in group.place.held.items()
            if name not in taken and natural_keys.is_candidate(name, one, group.place.items)
        }
        if held:
            wanted.append(Wanted(group.name, group.table, group.where, held))
    return wanted


def _better_whole(entries: Mapping[str, Drafted]) -> frozenset[str]:
    """Tables that are divided, although references to their items would then name no entry, and whose key is an id.

    Undivided, they take new ids just the same, and each such reference names the one entry.
    """
    found = set()
    for _, rule in (*_rules(entries, ambiguous=True), *_rules(entries, ambiguous=False)):
        if isinstance(rule.rule, dict) and "to" not in rule.rule:
            continue
        parents = [entries[name] for name in rule.parents]
        if references.named_in(rule) == len(parents):
            continue  # one text that holds an id of each
        (table, *others) = {parent.table.name for parent in parents}
        if len(parents) > 1 and not others and len(parents[0].table.key) == 1:
            found.add(table)
    return frozenset(found)


def _entries(
    parameters: Parameters, seen: Survey, undivided: frozenset[str]
) -> tuple[dict[str, Drafted], list[Group], list[Unrouted]]:
    """The entries from what was seen. `undivided`: tables that get one entry, whatever kinds of items they hold."""
    groups, unrouted = grouped(seen, undivided)
    choices = {g.name: ids.choose(g.name, _key(seen, g), g.place.items, g.place.candidates) for g in groups}
    labels = {label: group.name for group in groups for label in group.labels}
    choices |= owners.inside_keys(groups, choices)
    choices |= _referred(seen, groups, choices, labels)
    provisional, evidence = _seen_by(seen, groups, choices, labels, parameters)
    columns = evidence.columns()
    if borrowed := _borrowed(groups, choices, columns):
        choices |= borrowed
        provisional, evidence = _seen_by(seen, groups, choices, labels, parameters)
        columns = evidence.columns()
    found = find_references(columns, evidence, provisional)
    in_keys = owners.in_keys(groups, choices)
    plain = {g.name: {part for part, _ in _key(seen, g)} - in_keys[g.name].read for g in groups}
    rules = references.rules_of(found, provisional, evidence, plain, whole=not seen.most)
    shared = references.shared_ids(same_ids(columns, provisional, evidence))
    rules_and_rest = {name: owners.with_keys(own, in_keys[name], choices[name]) for name, own in rules.items()}
    of_table = Counter()
    for (table, _), place in seen.places.items():
        of_table[table] += place.items
    found_at = {(column.entry, column.path[0]) for column in columns}
    entries = {
        g.name: Drafted(
            g.name,
            seen.plan.source_tables[g.table],
            g.where,
            g.place.items,
            of_table[g.table],
            choices[g.name],
            [*shared.get(g.name, ()), *rules_and_rest[g.name][0]],
            {
                name: number
                for name, number in sorted(g.place.like_ids.items())
                if 2 * number > g.place.attributes[name] and (g.name, name) not in found_at
            },
            rules_and_rest[g.name][1],
            seen.ttl[g.table],
        )
        for g in groups
    }
    return entries, groups, unrouted


def _key(seen: Survey, group: Group) -> Key:
    return seen.plan.source_tables[group.table].key


def _seen_by(
    seen: Survey, groups: list[Group], choices: dict[str, Choice], labels: dict[str, str], parameters: Parameters
) -> tuple[dict[str, Entry], Evidence]:
    """The entries without references, and the evidence by their names."""
    held = {g.name: one.ids for g in groups if (one := owners.held(g, choices[g.name]))}
    plain = {g.name: {"source": g.table, "target": g.table, "id": choices[g.name].rule} for g in groups}
    entries = mapping_of({"tables": plain}, "draft", parameters).entries
    return entries, seen.evidence.joined(labels, held, entries)


def _borrowed(groups: list[Group], choices: dict[str, Choice], columns: list[Column]) -> dict[str, Choice]:
    """Entry → no id, where its key holds the ids of another entry."""
    shares: dict[str, dict[str, float]] = defaultdict(dict)
    for column in columns:
        choice = choices[column.entry]
        if not column.named and column.path == (choice.attribute, *([OWN_ID] if choice.form else ())):
            shares[column.entry] = {
                m.to: len(m.hits) / len(column.values.codes) for m in column.matches if m.to != column.entry
            }
    found = {g.name: ids.borrowed(g.name, choices[g.name], shares[g.name]) for g in groups}
    return {
        name: Choice(None, "uuid", f"the key {choices[name].attribute} holds the ids of {other}: a reference")
        for name, other in found.items()
        if other
    }


def _referred(
    seen: Survey, groups: list[Group], choices: dict[str, Choice], labels: dict[str, str]
) -> dict[str, Choice]:
    """Entry → its id attribute, where only references from other items say which it is."""
    trials: dict[str, tuple[str, str]] = {}
    held: dict[str, Ids] = {}
    for group in groups:
        if choices[group.name].attribute is None:
            for name in ids.unnamed(_key(seen, group), group.place.items, group.place.candidates):
                trials[f"{group.name}\0{name}"] = (group.name, name)
                held[f"{group.name}\0{name}"] = group.place.candidates[name].ids
    if not trials:
        return {}
    number: Counter = Counter()
    keys = {g.name: {part for part, _ in _key(seen, g)} for g in groups}
    for column in seen.evidence.joined(labels, held, {}).columns():
        for match in column.matches:
            entry, attribute = trials[match.to]
            own = {attribute, *keys[entry]}  # the key of an index repeats the item's key
            if not column.named and not (column.entry == entry and column.path[0] in own):
                number[match.to] += len(match.hits)
    chosen = {}
    for trial, hits in number.most_common():
        entry, attribute = trials[trial]
        letter = next(g for g in groups if g.name == entry).place.candidates[attribute].letter
        why = f"unique, and {plural(hits, 'value')} elsewhere are equal to one"
        chosen.setdefault(entry, Choice(attribute, ids.FORMATS[letter], why))
    return chosen


def _head(plan: Plan, entries: dict[str, Drafted], unrouted: list[Unrouted], most: int | None) -> list[str]:
    items = sum(entry.items for entry in entries.values()) + sum(one.items for one in unrouted)
    rules = [rule for entry in entries.values() for rule in entry.rules]
    open_, alike = sum(rule.ambiguous for rule in rules), sum(len(entry.like_ids) for entry in entries.values())
    read = f"at most {most:,} of each read: counts are of these" if most else "all read"
    return [
        f"Drafted {now():%Y-%m-%d %H:%M} UTC from {plan.source.environment} ({plan.source.region}): "
        f"{plural(len(plan.source_tables), 'table')}, {plural(items, 'item')}, {read}.",
        f"References: {len(rules) - open_:,} certain, {open_:,} ambiguous{' (search for decide)' if open_ else ''}. "
        f"{plural(alike, 'attribute')} hold values that look like ids of nothing here.",
        *filter(None, [_matched(entries), _kept(entries)]),
        "Every comment says what the data say. Correct what they cannot know, then run 01.",
    ]


def _matched(entries: Mapping[str, Drafted]) -> str:
    number = sum(one.to_decide for entry in entries.values() for one in entry.natural_keys)
    if not number:
        return ""
    return f"Natural keys: {plural(number, 'attribute')} with values that the target has, too (search for match)."


def _kept(entries: Mapping[str, Drafted]) -> str:
    keeping = [entry for entry in entries.values() if entry.items and entry.keeps_ids]
    of_others = [entry.name for entry in keeping if entry.rewritten]
    names, said = [entry.name for entry in keeping if not entry.rewritten], []
    if names:
        some = of_others or any(entry.id.attribute for entry in entries.values())
        where, there = (f" in {references.listed(names)}", " there") if some else ("", "")
        why = f"no attribute and no part of a key was found{there} that is the id of every item"
        said.append(f"No ids are renewed{where}: {why}.")
    if of_others:
        has, its = ("have", "their") if len(of_others) > 1 else ("has", "its")
        renewed = f"only the ids of other entries inside {its} items are renewed"
        said.append(f"{references.listed(of_others)} {has} no ids of {its} own: {renewed}.")
    return " ".join(said)
