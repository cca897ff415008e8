"""PASS, REVIEW, FAIL, ROLLED_BACK: what a stage's figures mean, and the alerts that say why. Pure."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from .errors import Interrupted, Refused, RunbookError

PASS, REVIEW, FAIL, ROLLED_BACK = "PASS", "REVIEW", "FAIL", "ROLLED_BACK"
PLANNED = "PLAN"  # of a notebook without `execute`
REFUSED, INTERRUPTED = "REFUSED", "INTERRUPTED"  # of one that stopped early
STOPPED, BUG = "STOPPED", "BUG"  # by a fault in the program: said by the notebook; by what executes it
NOT_FINISHED = "NOT FINISHED"  # of a notebook that has not reached its last cell
_MEANS = {  # stage -> verdict -> what it means
    "00_draft": {
        PASS: "Nothing in the mapping file is ambiguous.",
        REVIEW: "The mapping file is written and loads; some of it needs a decision.",
    },
    "01_analyze": {
        PASS: "Nothing speaks against the migration.",
        REVIEW: "The migration can run; first decide about the items below.",
        FAIL: "The migration would be refused or fail.",
    },
    "02_test": {
        PASS: "What was tested works.",
        REVIEW: "The test ran; look at the items below.",
        FAIL: "The test items did not arrive as they should. Do not migrate yet.",
    },
    "03_migrate": {
        PASS: "The target has everything that the mapping selects.",
        REVIEW: "The migration is through; decide about the items below.",
        FAIL: "The migration did not succeed.",
    },
    "04_validate": {
        PASS: "The target is what the mapping makes of the source.",
        REVIEW: "No migrated item is missing or different; decide about the items below.",
        FAIL: "The target is not what the mapping makes of the source.",
    },
    "05_rollback": {ROLLED_BACK: "What this run inserted and nobody changed is deleted again."},
}
_ENDED = {
    PLANNED: "A dry run: nothing was written.",
    REFUSED: "Put this right, then run it again.",
    INTERRUPTED: "The journal knows how far it came.",
}
EXIT_REFUSED, EXIT_INTERRUPTED, EXIT_BUG = Refused.exit_code, Interrupted.exit_code, 70  # beside 0 and 1: see cli


class Alert(NamedTuple):
    """One open item: how bad, where, what, and what to do."""

    level: str  # REVIEW, FAIL, or "" for a note that does not touch the verdict
    table: str
    message: str
    action: str


_COUNTED = re.compile(r"([\d,]+) (.*?\b(?:item|conflict|reference|value|key))s?\b(.*)", re.DOTALL)
_PATHS = re.compile(r" \(([^()]*)\)| at (.*?)(?= not readable)")


class AlertGroup(NamedTuple):
    """Open items that differ in table, number and paths alone: one decision settles them."""

    level: str
    action: str
    members: list[Alert]

    @property
    def message(self) -> str:
        """What was found: of one alert as it says it, of several with their sum."""
        if len(self.members) == 1:
            return self.members[0].message
        return _kind(self.members[0].message).replace("#", f"{sum(map(counted, self.members)):,}", 1)


def grouped(alerts: Iterable[Alert]) -> list[AlertGroup]:
    """The alerts in groups, worst first."""
    groups: dict[tuple[str, str, str], list[Alert]] = {}
    for alert in alerts:
        groups.setdefault((alert.level, _kind(alert.message), alert.action), []).append(alert)
    found = [AlertGroup(level, action, members) for (level, _, action), members in groups.items()]
    return sorted(found, key=lambda group: (FAIL, REVIEW, "").index(group.level))


def counted(alert: Alert) -> int:
    """How many items or values an alert is about; 0 where its message does not say."""
    found = _COUNTED.fullmatch(alert.message)
    return int(found[1].replace(",", "")) if found else 0


def paths_in(alert: Alert) -> str:
    """The paths that an alert's message names; "" where it names none."""
    found = _PATHS.search(alert.message)
    return (found[1] or found[2]) if found else ""


def _kind(message: str) -> str:
    """The message without its number and paths, the same for every table."""
    found = _COUNTED.fullmatch(message)
    return f"# {found[2]}s{_PATHS.sub('', found[3])}" if found else message


def worst(alerts: Iterable[Alert]) -> str:
    """The verdict of the worst alert; PASS without alerts."""
    levels = {alert.level for alert in alerts}
    return FAIL if FAIL in levels else REVIEW if REVIEW in levels else PASS


def meaning(stage: str, verdict: str) -> str:
    """What a stage's verdict means, in one sentence; "" where the headline says all."""
    return _MEANS.get(stage, {}).get(verdict) or _ENDED.get(verdict, "")


def ended_by(problem: RunbookError) -> str:
    """The word for a notebook that a problem ended."""
    return {EXIT_REFUSED: REFUSED, EXIT_INTERRUPTED: INTERRUPTED}.get(problem.exit_code, FAIL)


def plural(number: int, noun: str, many: str = "") -> str:
    """`1 item`, `2 items`; `many` where an s is not enough."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {many or noun + 's'}"


def alerts_of_counts(tables: dict[str, dict[str, int]], unrouted: int, ignore_unrouted: bool) -> list[Alert]:
    """The open items of a migration's counts."""
    alerts = []
    for name, counts in tables.items():
        accounted = sum(
            counts.get(key, 0)
            for key in ("inserted", "already_there", "conflicts", "quarantined", "failed", "expired", "matched")
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
                    f"{plural(counts['conflicts'], 'conflict')}: another item has the target key",
                    "See conflicts.jsonl; decide which item is right. Nothing is overwritten.",
                )
            )
        if counts.get("expired"):
            message = f"{plural(counts['expired'], 'item')} left out: their time to live was over"
            alerts.append(Alert("", name, message, "Nothing to do: the mapping says `expired: skip`."))
        if counts.get("matched"):
            message = f"{plural(counts['matched'], 'item')} matched: the target has them, under ids of its own"
            action = (
                "Nothing to do: they stay as they are, and what refers to them has their ids (`match` in the mapping)."
            )
            alerts.append(Alert("", name, message, action))
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
        "See dangling.jsonl. `dangling` decides what is written; with `map`, the default, it resolves if its parent is "
        "migrated later. Check the source if you did not expect it.",
    )


def several_alert(table: str, number: int, paths: Iterable[str]) -> Alert:
    """The alert for references whose id is an id of several of the entries that the mapping names."""
    return Alert(
        REVIEW,
        table,
        f"{plural(number, 'reference')} at {', '.join(paths)} to ids that several entries have",
        "They were taken as ids of the first of these entries. Order them in the mapping so that the right one comes first, or "
        "tell them apart by a template.",
    )


def unreadable_alert(table: str, number: int, paths: Iterable[str]) -> Alert:
    """The alert for values that the rule at their path cannot read as ids."""
    return Alert(
        REVIEW,
        table,
        f"{plural(number, 'value')} at {', '.join(paths)} not readable as ids",
        "See unreadable.jsonl. They are copied as they are and keep the ids of the source: correct the path or the "
        "template, or accept them in the mapping.",
    )
