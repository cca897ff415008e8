"""The open items of an analysis. Pure."""

from ...discover.references import CERTAIN
from ...verdict import FAIL, REVIEW, Alert, alerts_of_counts, dangling_alert, plural, unrouted_alert
from ...walk.plan import Plan
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
        if not state.exists and creatable:
            alerts.append(Alert("", target, "will be created by 02_test", "Nothing to do."))
        if state.exists and not state.empty:
            alerts.append(Alert("", target, "already holds items; none of them will be touched", "Nothing to do."))
    for name, table in analysis.tables.items():
        conflicts = table.losers + table.different_there
        counts = {"quarantined": table.quarantined, "conflicts": conflicts}
        counts["scanned"] = sum(counts.values())
        alerts += alerts_of_counts({name: counts}, 0, True)
        if table.dangling:
            alerts.append(dangling_alert(name, table.dangling.total(), sorted(table.dangling)))
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
        if table.unreadable:
            message = f"{plural(table.unreadable.total(), 'value')} at {', '.join(sorted(table.unreadable))} not readable as ids"
            alerts.append(Alert("", name, message, "Copied as they are."))
        if any(reason for (_, reason) in table.reasons) and _stops(plan, name, table):
            alerts.append(
                Alert(FAIL, name, "a value does not convert, where the mapping says stop", "See quarantine.jsonl.")
            )
    alerts += _undeclared(analysis)
    if analysis.unrouted and not plan.mapping.ignore_unrouted:
        alerts.append(unrouted_alert(sum(analysis.unrouted.values())))
    return alerts


def _undeclared(analysis: Analysis) -> list[Alert]:
    """One alert for each path whose values are ids that no rule rewrites."""
    by_path: dict[tuple[str, str], list] = {}
    for one in analysis.undeclared:
        by_path.setdefault((one.table, one.path), []).append(one)
    alerts = []
    for (table, path), several in by_path.items():
        first, more = several[0], len(several) - 1
        certain = first.confidence >= CERTAIN
        to = first.to if not more else f"{first.to} and {plural(more, 'other')}"
        message = (
            f"{path}: {first.found:,} of {plural(first.values, 'value')} {'are' if certain else 'may be'} ids of {to}"
        )
        message += f", but the mapping says {first.declared}" if first.declared else ", and no rule rewrites them"
        paste = f"Add under references: {first.line}" if first.line else "The mapping cannot rewrite them"
        action = f"{paste}; or list {path} under not_references."
        alerts.append(Alert(REVIEW if certain else "", table, message, action))
    return alerts


def _stops(plan: Plan, name: str, table: EntryAnalysis) -> bool:
    rules = (plan.routes[name].entry.model.fields or {}).values()
    stopping = {rule.source for rule in rules if rule.on_error == "stop"}
    return any(attribute in stopping for attribute, _ in table.reasons)
