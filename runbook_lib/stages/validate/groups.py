"""Differences by cause: counted over all items, each group with the rule that made its attribute, and what to do."""

from collections.abc import Mapping
from dataclasses import dataclass
from operator import eq
from typing import Any, NamedTuple

from ...mapping.model import Entry
from ...mapping.text.paths import Steps
from ...values import ABSENT
from .matched.look import CHANGED, GONE

MAX_GROUPS = 1_000
UNFINISHED = "Resume 03, which is not complete: runbook migrate PARAMS --run-id ID --execute --confirm ENVIRONMENT."
OTHERS = "…"  # stands for the attributes of a table beyond those
ACTIONS = {  # by kind; a different attribute has its own
    "expired": "Nothing to do: the target has let them expire.",
    "accepted": "Nothing to do: the mapping accepts it.",
    "missing": "Insert them: runbook validate PARAMS --repair --execute --confirm ENVIRONMENT.",
    "extra": "Nothing touched them: find out whose they are.",
    GONE: "What refers to them dangles. Find out who deleted them, or start a new run, which matches anew.",
    CHANGED: "They may be other items now. Look whether references to them are right; a new run matches anew.",
}


class Group(NamedTuple):
    """What the differences of a group have in common."""

    table: str  # the entry; of extra items the target table
    attribute: str  # "" for the whole item
    kind: str  # missing, expired, different, accepted, extra, match gone, match changed
    expected: str = ""  # type letter, or values.ABSENT
    found: str = ""


@dataclass(frozen=True)
class DifferenceGroup:
    """A group with its figure, and what follows."""

    table: str
    attribute: str
    kind: str
    expected: str
    found: str
    rule: str  # that made the attribute; "" for whole items
    items: int
    action: str

    def as_json(self) -> dict[str, Any]:
        """The group in the report."""
        return dict(vars(self))


def explained(
    groups: Mapping[Group, int], entries: Mapping[str, Entry], *, complete: bool = True
) -> list[DifferenceGroup]:
    """The groups, the largest first. `complete`: whether the migration was. Pure."""
    found = []
    for group, items in groups.items():
        is_one = group.attribute not in ("", OTHERS) and group.table in entries
        rule = rule_of(entries[group.table], group.attribute) if is_one else ""
        found.append(DifferenceGroup(*group, rule, items, _action(group, rule, complete)))
    return sorted(found, key=lambda one: (-one.items, one.table, one.kind, one.attribute, one.expected, one.found))


def rule_of(entry: Entry, attribute: str) -> str:
    """What makes an attribute of the target: `copied`, `id`, `reference PATH`, `fields.NAME: …`, `rest`, or `none`.

    With `, transform FILE.py:FUNCTION` where the entry has one; that alone, where no rule makes the attribute.
    """
    rule, transform = _rule_of(entry, attribute), entry.model.transform
    if not transform:
        return rule
    return f"transform {transform}" if rule == "none" else f"{rule}, transform {transform}"


def _rule_of(entry: Entry, attribute: str) -> str:
    model = entry.model
    if model.fields is not None and attribute in model.fields:
        rule = model.fields[attribute]
        if not rule.source:
            return f"fields.{attribute}: " + ("constant" if rule.is_constant else f"template {rule.template}")
        origin = f"from {rule.source}" + (f" as {rule.form}" if rule.form is not None else "")
        made = _of_copy(entry, rule.steps)
        return f"fields.{attribute}: {origin}" + (f", {made}" if made != "copied" else "")
    if model.fields is not None and model.rest != "copy":
        return "rest" if attribute == model.rest else "none"
    return "none" if attribute in entry.dropped else _of_copy(entry, (attribute,))


def _of_copy(entry: Entry, place: Steps) -> str:
    """What `id` and `references` do to what stands at a path of the source."""
    if place == (entry.model.id,):
        return "id" if entry.model.renews_ids else "copied"
    # A reference inside the value, or one that the value lies in.
    paths = [path for path, steps in entry.paths.items() if all(map(eq, steps, place))]
    return f"reference {', '.join(paths)}" if paths else "copied"


def _action(group: Group, rule: str, complete: bool) -> str:
    if group.kind == "missing" and not complete:
        return UNFINISHED
    if group.kind in ACTIONS:
        return ACTIONS[group.kind]
    if group.expected == ABSENT:
        return "The target has it and the mapping does not make it: find out what wrote it, or accept it."
    if group.found == ABSENT:
        return f"The target lacks what the mapping makes ({rule}): find out what removed it, or accept it."
    if group.expected != group.found:
        return (
            f"The target has another type than the mapping makes ({rule}): find out what wrote it, or correct the rule."
        )
    return f"See drift.jsonl for which side changed; if neither did, look at what makes it ({rule or 'the mapping'})."
