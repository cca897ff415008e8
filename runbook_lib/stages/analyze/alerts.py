"""The open items of an analysis. Pure."""

from ...verdict import FAIL, Alert, alerts_of_counts, plural, unrouted_alert
from ...walk.plan import Plan
from .. import references
from .analysis import Analysis, EntryAnalysis


def alerts_of_analysis(plan: Plan, analysis: Analysis) -> list[Alert]:
    """The open items that a dry run found."""
    alerts = []
    for target, state in analysis.targets.items():
        creatable = any(r.entry.model.create for r in plan.routes.values() if r.entry.target == target)
        if not state.exists and not creatable:
            alerts.append(
                Alert(
                    FAIL,
                    target,
                    "the target table does not exist",
                    "Deploy it, or describe it under `create` in the mapping.",
                )
            )
        if state.differences:
            alerts.append(Alert(FAIL, target, "; ".join(state.differences), "Correct the table or the mapping."))
        if not state.exists and creatable:
            alerts.append(Alert("", target, "will be created by 02_test", "Nothing to do."))
        if state.exists and not state.empty:
            alerts.append(Alert("", target, "already holds items; none of them will be touched", "Nothing to do."))
        if state.has_stream:
            alerts.append(
                Alert(
                    "", target, "has a stream: its consumers will see every insert", "Pause the consumers if unwanted."
                )
            )
    for name, table in analysis.tables.items():
        conflicts = table.losers + table.different_there
        counts = {"quarantined": table.quarantined, "conflicts": conflicts}
        counts["scanned"] = sum(counts.values())
        alerts += alerts_of_counts({name: counts}, 0, True)
        alerts += references.alerts(plan.mapping.entries[name], table.dangling, table.unreadable)
        stopping = [
            path for path in table.dangling if plan.routes[name].entry.model.references[path].dangling == "stop"
        ]
        if stopping:
            alerts.append(
                Alert(
                    FAIL,
                    name,
                    f"dangling references at {', '.join(stopping)}, where the mapping says stop",
                    "Migrate the parents, or choose map, keep or null.",
                )
            )
        if table.collisions:
            alerts.append(Alert(FAIL, name, f"{plural(table.collisions, 'target key')} collide", "Change id_format."))
        if any(reason for (_, reason) in table.reasons) and _stops(plan, name, table):
            alerts.append(
                Alert(FAIL, name, "a value does not convert, where the mapping says stop", "See quarantine.jsonl.")
            )
    if analysis.unrouted and not plan.mapping.ignore_unrouted:
        alerts.append(unrouted_alert(sum(analysis.unrouted.values())))
    return alerts


def _stops(plan: Plan, name: str, table: EntryAnalysis) -> bool:
    rules = (plan.routes[name].entry.model.fields or {}).values()
    stopping = {rule.source for rule in rules if rule.on_error == "stop"}
    return any(attribute in stopping for attribute, _ in table.reasons)
