"""PASS, REVIEW, FAIL, ROLLED_BACK: what a stage's figures mean, and the alerts that say why. Pure."""

from collections.abc import Iterable
from typing import NamedTuple

from .errors import Interrupted, Refused, RunbookError

PASS, REVIEW, FAIL, ROLLED_BACK = "PASS", "REVIEW", "FAIL", "ROLLED_BACK"
PLANNED = "PLAN"  # of a notebook without `execute`
REFUSED, INTERRUPTED = "REFUSED", "INTERRUPTED"  # of one that stopped early
STOPPED, BUG = "STOPPED", "BUG"  # by a fault in the program: said by the notebook; by what executes it
NOT_FINISHED = "NOT FINISHED"  # of a notebook that has not reached its last cell
EXIT_REFUSED, EXIT_INTERRUPTED, EXIT_BUG = Refused.exit_code, Interrupted.exit_code, 70  # beside 0 and 1: see cli


class Alert(NamedTuple):
    """One open item: how bad, where, what, and what to do."""

    level: str  # REVIEW, FAIL, or "" for a note that does not touch the verdict
    table: str
    message: str
    action: str


def worst(alerts: Iterable[Alert]) -> str:
    """The verdict of the worst alert; PASS without alerts."""
    levels = {alert.level for alert in alerts}
    return FAIL if FAIL in levels else REVIEW if REVIEW in levels else PASS


def ended_by(problem: RunbookError) -> str:
    """The word for a notebook that a problem ended."""
    return {EXIT_REFUSED: REFUSED, EXIT_INTERRUPTED: INTERRUPTED}.get(problem.exit_code, FAIL)


def plural(number: int, noun: str) -> str:
    """`1 item`, `2 items`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def alerts_of_counts(tables: dict[str, dict[str, int]], unrouted: int, ignore_unrouted: bool) -> list[Alert]:
    """The open items of a migration's counts."""
    alerts = []
    for name, counts in tables.items():
        accounted = sum(
            counts.get(key, 0) for key in ("inserted", "already_there", "conflicts", "quarantined", "failed")
        )
        if counts.get("failed"):
            alerts.append(
                Alert(FAIL, name, f"{plural(counts['failed'], 'item')} could not be written", "See failed.jsonl.")
            )
        if counts.get("scanned", 0) != accounted:
            difference = counts.get("scanned", 0) - accounted
            alerts.append(Alert(FAIL, name, f"{plural(difference, 'item')} unaccounted", "Resume the run."))
        if counts.get("quarantined"):
            alerts.append(
                Alert(
                    REVIEW,
                    name,
                    f"{plural(counts['quarantined'], 'item')} quarantined: not written, because a value does not fit",
                    "See quarantine.jsonl for key, attribute and reason; correct the item or the mapping.",
                )
            )
        if counts.get("conflicts"):
            alerts.append(
                Alert(
                    REVIEW,
                    name,
                    f"{plural(counts['conflicts'], 'conflict')}: a different item holds the target key",
                    "See conflicts.jsonl; decide which item is right. Nothing was overwritten.",
                )
            )
    if unrouted and not ignore_unrouted:
        alerts.append(unrouted_alert(unrouted))
    return alerts


def unrouted_alert(number: int) -> Alert:
    """The alert for items that no entry selects."""
    return Alert(
        REVIEW,
        "",
        f"{plural(number, 'source item')} that no entry of the mapping selects",
        "See unrouted.jsonl; add an entry, or say `unrouted: ignore` in the mapping.",
    )


def dangling_alert(table: str, number: int, paths: Iterable[str] = ()) -> Alert:
    """The alert for references whose parent does not exist."""
    at = f" ({', '.join(paths)})" if paths else ""
    return Alert(
        REVIEW,
        table,
        f"{plural(number, 'dangling reference')}{at}: the item does not exist",
        "`dangling` decides what is written; with `map`, the default, it resolves if its parent is migrated later. "
        "Check the source if you did not expect it.",
    )


def alerts_of_analysis(plan, analysis) -> list[Alert]:
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
    if analysis.unrouted and not plan.mapping.ignore_unrouted:
        alerts.append(unrouted_alert(sum(analysis.unrouted.values())))
    return alerts


def _stops(plan, name: str, table) -> bool:
    rules = (plan.routes[name].entry.model.fields or {}).values()
    stopping = {rule.source for rule in rules if rule.on_error == "stop"}
    return any(attribute in stopping for attribute, _ in table.reasons)
