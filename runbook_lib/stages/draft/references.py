"""Findings → the rules of a draft: what is certain, what needs a decision, and what the mapping cannot say. Pure."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...discover.confidence import CERTAIN, LIKELY
from ...discover.evidence import Evidence
from ...discover.references import Finding
from ...mapping.file.rules import takes_id
from ...mapping.model import Entry
from ...mapping.text import templates
from ...mapping.text.paths import JSON, meet, parse, spelled
from ...verdict import plural
from ...yaml_files import parse_value
from .ids import Choice

MAIN = 0.95  # of the ids at a path that must be of one entry, for the path to refer to it
COVERED = 0.9  # of the values that must be ids; where fewer are, the others must stay as they are
ENOUGH = 3  # texts with one pattern, before the pattern is shown
NAMED = 3  # entries that a comment names
LONGEST = 1_000  # characters of a path: YAML takes no longer keys on one line


@dataclass(frozen=True)
class Rule:
    """One path of an entry whose values are ids of other items. Holds counts and names, never a value."""

    path: str
    rule: Any  # as it stands in the mapping: an entry, a template, or a dict; None where the mapping cannot say it
    parents: dict[str, int]  # entry → values that are its ids, most first
    values: int
    found: int
    confidence: float
    ambiguous: bool  # it needs a decision
    why: str  # without values

    @property
    def to(self) -> Any:
        """The entry, or the entries; where another attribute, or the record, says which, the rule."""
        if not isinstance(self.rule, dict):
            return next(iter(self.parents))
        if "to" not in self.rule:
            return self.rule
        return [*self.parents] if isinstance(self.rule["to"], list) else next(iter(self.parents))

    @property
    def coverage(self) -> float:
        """The share of the values that are ids."""
        return round(self.found / self.values, 4) if self.values else 0.0


def rules_of(
    findings: Iterable[Finding],
    entries: Mapping[str, Entry],
    evidence: Evidence,
    keys: Mapping[str, Collection[str]],
    *,
    whole: bool,
) -> dict[str, list[Rule]]:
    """Entry → its rules, by path.

    `keys`: entry → the attributes of its key that are no texts with several parts. `whole`: all items were read, so that a value
    without its item has none.
    """
    by_path: dict[str, dict[str, list[Finding]]] = {name: defaultdict(list) for name in entries}
    for one in findings:
        if one.confidence >= LIKELY and len(one.path) <= LONGEST:
            table = entries[one.table].source
            in_key = table == entries[one.to].source and one.path in keys[one.table] and one.coverage >= COVERED
            in_key = in_key and not one.in_slot  # what else stands in keys are counters and days
            by_path[one.table][one.path].append(
                replace(one, confidence=max(one.confidence, CERTAIN)) if in_key else one
            )
    rules = {
        name: {path: _rule(several, whole=whole) for path, several in paths.items()} for name, paths in by_path.items()
    }
    for name, paths in by_path.items():
        _take_records(rules[name], paths, rules, entries, evidence)
    return {name: sorted(found.values(), key=lambda rule: rule.path) for name, found in rules.items()}


def of_key(attribute: str, rule: str, parents: dict[str, int], counted: tuple[int, int], sure: bool, why: str) -> Rule:
    """A rule for a text of the key that holds ids of other items. `counted`: the texts, and those that hold some."""
    values, found = counted
    each = [f"{name} ({number:,})" for name, number in parents.items()] if len(parents) > 1 else [*parents]
    said = f"{found:,} of {plural(values, 'text')} hold ids of {listed(each)}{why}"
    return Rule(spelled((attribute,)), rule, parents, values, found, CERTAIN if sure else LIKELY, not sure, said)


def _rule(several: list[Finding], *, whole: bool) -> Rule:
    first = max(several, key=lambda one: (one.found, one.confidence))
    path, rule = _said(first)
    parents = {one.to: one.found for one in sorted(several, key=lambda one: -one.found)}
    together = min(first.values, sum(parents.values()))
    made = Rule(path, rule, parents, first.values, together, first.confidence, False, "")
    texts = "{" in str(rule) and not isinstance(rule, dict)
    if texts and together < ENOUGH and not first.said:  # what is fixed in them could be a value
        made, rule, texts = replace(made, rule=None), None, True
    owners = listed([f"{name} ({number:,})" for name, number in parents.items()]) if len(several) > 1 else first.to
    counted = f"{together:,} of {plural(first.values, 'text' if texts else 'value')}"
    why = f"{counted} {'hold' if texts else 'are'} ids of {owners}"
    alike = all(_said(one) == (path, rule) for one in several)
    if rule is None:
        return replace(made, ambiguous=True, why=f"{why}; a mapping cannot say this path or pattern")
    if isinstance(rule, dict):
        return replace(made, why=f"{why}; {rule['table_named_by']} says of which")
    if len(several) > 1 and not alike and first.found < MAIN * sum(parents.values()):
        return replace(made, ambiguous=True, why=f"{why}; nothing says of which")
    if not first.is_certain:
        return replace(made, ambiguous=True, why=f"{why}, but such values are common")
    if whole and not texts and made.coverage < COVERED:
        return replace(made, rule={"to": rule, "dangling": "keep"}, why=f"{why}; the others stay as they are")
    return replace(made, rule={"to": rule} if isinstance(rule, list) else rule, why=why)


def listed(owners: list[str]) -> str:
    """Names as a phrase, of many only the first."""
    more = len(owners) - NAMED
    return " and ".join(owners) if more <= 1 else f"{', '.join(owners[:NAMED])} and {more} others"


def _said(one: Finding) -> tuple[str, Any]:
    """The path and the rule in a finding's line; `dangling` is the draft's to say."""
    ((path, rule),) = parse_value(one.line).items() if one.line else ((one.path, None),)
    return path, rule["to"] if isinstance(rule, dict) and "to" in rule else rule


def _take_records(
    own: dict[str, Rule],
    paths: Mapping[str, list[Finding]],
    rules: Mapping[str, Mapping[str, Rule]],
    entries: Mapping[str, Entry],
    evidence: Evidence,
) -> None:
    """Puts `record_of` in the place of the rules below a path that holds whole records of other entries."""
    naming = {
        rule.rule["table_named_by"]: set(rule.parents)
        for rule in own.values()
        if isinstance(rule.rule, dict) and "table_named_by" in rule.rule
    }
    for path, steps, owners in [*_records(paths, entries)]:
        named = next((name for name, known in naming.items() if owners.keys() <= known), None)
        if len(owners) > 1 and named is None:
            continue
        below = {rest: one for rest, one in own.items() if rest.startswith(f"{path}.")}
        covered = {
            rest for rest in below if _is_covered(rest.removeprefix(f"{path}."), paths[rest], owners, rules, entries)
        }
        if len(covered) < 2 and len(owners) == 1:  # an id alone is no record
            continue
        for rest in covered:
            del own[rest]
        by_name = len(owners) > 1
        said = {"table_named_by": named} if by_name else next(iter(owners))
        values, found = evidence.total(next(iter(paths[min(covered)])).table, _text_of(steps)), sum(owners.values())
        values = max(values, found)
        why = f"{found:,} of {plural(values, 'value')} are records of {listed([*owners])}"
        why += f"; {named} says of which" if by_name else ""
        own[path] = Rule(path, {"record_of": said}, owners, values, found, 1.0, False, why)


def _records(
    paths: Mapping[str, list[Finding]], entries: Mapping[str, Entry]
) -> Iterable[tuple[str, tuple, dict[str, int]]]:
    """Path, its steps, and entry → records: of paths below which ids stand where items have theirs."""
    found: dict[tuple, dict[str, int]] = defaultdict(dict)
    for several in paths.values():
        for one in several:
            if len(one.steps) > 1 and one.steps[-1] == entries[one.to].model.id:
                found[one.steps[:-1]][one.to] = one.found
    for steps, owners in found.items():
        if isinstance(steps[-1], str) or steps[-1] is JSON:
            yield spelled(steps), steps, dict(sorted(owners.items(), key=lambda pair: -pair[1]))


def _is_covered(
    rest: str,
    several: list[Finding],
    owners: Mapping[str, int],
    rules: Mapping[str, Mapping[str, Rule]],
    entries: Mapping[str, Entry],
) -> bool:
    """Whether the rules of the record's entry rewrite what was found at a path inside it."""
    of_ids = {name for name in owners if entries[name].model.id == rest}
    of_references = {
        parent
        for name in owners
        if rest in rules[name] and not rules[name][rest].ambiguous
        for parent in rules[name][rest].parents
    }
    return {one.to for one in several} <= of_ids | of_references


def _text_of(steps: tuple) -> tuple:
    return steps[:-1] if steps[-1] is JSON else steps


def shared_ids(same: Iterable[Finding]) -> dict[str, list[Rule]]:
    """Entry → a rule that needs a decision, where its ids are ids of another entry, too: both get different new ones."""
    found: dict[str, list[Rule]] = defaultdict(list)
    for one in same:
        why = f"{one.found:,} of {plural(one.values, 'id')} are ids of {one.to}, too; each gets its own"
        found[one.table].append(Rule(one.path, None, {one.to: one.found}, one.values, one.found, 1.0, True, why))
    return found


def keep_apart(found: dict[str, list[Rule]], choice: Choice) -> None:
    """Leaves to decide, in place, what a mapping may not say beside the id and the other rules."""
    steps = {path: parse(path) for path in found}
    kept = [(choice.attribute,)] if choice.attribute else []
    for path in sorted(found, key=lambda path: (-max(map(named_in, found[path]), default=0), path)):
        if any(rule.rule is not None and not rule.ambiguous for rule in found[path]):
            others = (other for other in kept if other != steps[path] or _takes_id(found[path], choice))
            if any(meet(steps[path], other) for other in others):
                why = "what stands there is rewritten by another rule"
                found[path] = [replace(rule, ambiguous=True, why=f"{rule.why}; {why}") for rule in found[path]]
            else:
                kept.append(steps[path])


def _takes_id(several: list[Rule], choice: Choice) -> bool:
    said = [place for one in several for place in (one.to if isinstance(one.rule, dict) else [one.rule])]
    places = [templates.parse(place if "{" in place else f"{{{place}}}") for place in said]
    return not choice.form or takes_id(tuple(places), templates.parse(choice.form))


def weight(rule: Rule) -> tuple[bool, int]:
    """How much a rule says: whether it is certain, and `named_in`."""
    return not rule.ambiguous, named_in(rule)


def named_in(rule: Rule) -> int:
    """How many entries a rule that is a text names in it; 1 of another rule, 0 where there is none."""
    if isinstance(rule.rule, str) and "{" in rule.rule:
        return len(templates.entries(templates.parse(rule.rule)))
    return int(rule.rule is not None)
