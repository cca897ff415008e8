"""A draft → `mapping-draft-<timestamp>.json`, and its open items."""

from pathlib import Path
from typing import Any

from ...run.folder import Run, iso, now
from ...stages.draft.draft import Draft, Sources
from ...stages.draft.entries import Drafted
from ...stages.draft.matching.natural_keys import NaturalKey
from ...stages.draft.references import Rule
from ...verdict import REVIEW, Alert, plural, worst
from ..json_report import SCHEMA, alerts_as_json, held_back, saved


@saved
def write_draft(run: Run, sources: Sources, draft: Draft, alerts: list[Alert]) -> tuple[dict[str, Any], Path]:
    """Writes `mapping-draft-<timestamp>.json`. Returns the content and the path."""
    content = {
        "schema": SCHEMA,
        "run_id": run.id,
        "created": iso(now()),
        "source": sources.plan.sides()["source"],
        "mapping": draft.mapping.file,
        "items_read": draft.items,
        "at_most": draft.most,
        "tables": {name: _entry(entry, draft) for name, entry in draft.entries.items()},
        "unrouted": {one.table: one.items for one in draft.unrouted},
        "totals": {
            "records": sum(entry.items for entry in draft.entries.values()),
            "declared": len(draft.rules(ambiguous=False)),
            "ambiguous": len(draft.rules(ambiguous=True)),
            "matches": sum(one.to_decide for _, one in draft.natural_keys()),
        },
        "held_back": held_back(sources.plan.limiter),
        "verdict": worst(alerts),
        "alerts": alerts_as_json(alerts),
    }
    return content, run.write_json("mapping-draft", content)


def draft_alerts(draft: Draft) -> list[Alert]:
    """The open items of a draft."""
    alerts = []
    for name, entry in draft.entries.items():
        if number := sum(rule.ambiguous for rule in entry.rules):
            action = "Search the mapping file for `decide`, and take the line in, or delete it."
            alerts.append(Alert(REVIEW, name, f"{plural(number, 'reference')} ambiguous", action))
        alerts += [_match_alert(name, one) for one in entry.natural_keys if one.to_decide or one.nearly]
        if entry.items and not entry.id.attribute:
            kept = "Its items keep their keys" + (", but for the ids of other entries" if entry.rewritten else "")
            alerts.append(Alert("", name, f"no id: {entry.id.why}", f"{kept}. Name the id if it has one."))
    for one in draft.unrouted:
        message = f"{plural(one.items, 'item')} of no kind that has an entry"
        alerts.append(Alert("", one.table, message, "01 lists them as unrouted."))
    for sentence in draft.unread:
        action = "Give the right to read it, and draft again, or go on: no natural key is proposed there."
        alerts.append(Alert("", "", f"The target was not looked at for items that it has already: {sentence}", action))
    return alerts


def _match_alert(entry: str, one: NaturalKey) -> Alert:
    if not one.to_decide:
        message = f"{plural(one.nearly, 'value')} of {one.attribute} also in the target, but for letter case or blanks"
        return Alert("", entry, message, "`match` compares exactly: these items would be written.")
    action = "Search the mapping file for `match`, and take the line in, or delete it."
    message = f"{plural(one.both, 'value')} of {one.attribute} also in the target: perhaps the same items"
    return Alert(REVIEW, entry, message, action)


def _entry(entry: Drafted, draft: Draft) -> dict[str, Any]:
    return {
        "source": entry.table.name,
        "target": draft.mapping.entries[entry.name].target,
        "where": entry.where,
        "key": dict(entry.table.key),
        "id": entry.id.rule,
        "id_format": entry.id.id_format if entry.id.attribute else None,
        "records": entry.items,
        "references": {rule.path: _rule(rule) for rule in entry.rules},
        "like_ids": entry.like_ids,
        "stays": entry.stays,
        "matches": [_match(one) for one in entry.natural_keys],
    }


def _match(one: NaturalKey) -> dict[str, Any]:
    return {
        "by": one.by,
        "source": one.source._asdict(),
        "target": one.target._asdict(),
        "both": one.both,
        "ambiguous": one.ambiguous,
        "nearly": one.nearly,
        "decision": "ambiguous" if one.to_decide else "none",
    }


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "to": rule.to,
        "parents": rule.parents,
        "values": rule.values,
        "found": rule.found,
        "coverage": rule.coverage,
        "confidence": rule.confidence,
        "decision": "ambiguous" if rule.ambiguous else "declared",
        "rule": rule.rule,
        "why": rule.why,
    }
