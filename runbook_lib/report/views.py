"""What the notebooks show: each view takes a step's result. All is escaped, and no value of an item is ever shown.

Of any result: alerts. Of a Plan: plan, backups, files, reproduce. Of an Analysis: decision, costs, overview,
reference_map, references, types, profile, profile_html, samples, targets, quarantine, unmatched, undeclared, ledger. Of what was
done: created, canary, migration, counts, ledger, drift, progress, held_back, preview, undone, restored, deletions. Of a
Validation: validation, differences, differences_html, residual, patterns.
"""

import re
from collections import Counter
from collections.abc import Iterable

from ..stages.analyze.analysis import Analysis
from ..stages.analyze.checks import Check, alerts_of
from ..verdict import FAIL, REVIEW, Alert
from .analysis import costs, overview, profile, profile_html, quarantine, reference_map, references, targets
from .drawing.html import Html, badge, chip, details, muted, note, table, with_code
from .figures import types
from .mapping import drift, ledger, undeclared, unmatched
from .runs.files import files, reproduce
from .runs.progress import progress
from .samples import samples
from .validation import differences, differences_html, patterns, residual, validation
from .work import (
    backups,
    canary,
    counts,
    created,
    deletions,
    held_back,
    migration,
    plan,
    preview,
    restored,
    undone,
)

__all__ = [
    "alerts",
    "backups",
    "canary",
    "costs",
    "counts",
    "created",
    "decision",
    "deletions",
    "differences",
    "differences_html",
    "drift",
    "files",
    "held_back",
    "ledger",
    "migration",
    "overview",
    "patterns",
    "plan",
    "preview",
    "profile",
    "profile_html",
    "progress",
    "quarantine",
    "reference_map",
    "references",
    "reproduce", "residual",
    "restored",
    "samples",
    "targets",
    "types",
    "undeclared",
    "undone",
    "unmatched",
    "validation",
]  # fmt: skip

STATES = {FAIL: ("stop", "bad"), REVIEW: ("look", "look"), "": ("note", "quiet")}  # level of an alert -> word, tone
NAMED = 6  # tables that are named in an alert; more unfold
_COUNTED = re.compile(r"([\d,]+) (.*?\b(?:item|conflict|reference|value|key))s?\b(.*)", re.DOTALL)
_PATHS = re.compile(r" \(([^()]*)\)| at (.*?)(?= not readable)")


def alerts(open_items: Iterable[Alert]) -> Html:
    """The open items, worst first: what, where, what to do. Equal items of several tables share a row."""
    groups = _grouped(open_items)
    if not groups:
        return note("Nothing open.", "good")
    rows, marks = [], []
    for level, action, members in groups:
        rows.append([badge(level) if level else chip("note"), _message(members), _where(members), with_code(action)])
        marks.append({FAIL: "bad", REVIEW: "look"}.get(level, "quiet"))
    return table(["", "what", "where", "what to do"], rows, align="lwww", marks=marks)


def _grouped(open_items: Iterable[Alert]) -> list[tuple[str, str, list[Alert]]]:
    """Level, action, and the alerts that differ in table, number and paths alone; worst first."""
    groups: dict[tuple[str, str, str], list[Alert]] = {}
    for alert in open_items:
        groups.setdefault((alert.level, _kind(alert.message), alert.action), []).append(alert)
    found = [(level, action, members) for (level, _, action), members in groups.items()]
    return sorted(found, key=lambda group: (FAIL, REVIEW, "").index(group[0]))


def decision(analysis: Analysis) -> Html:
    """The go/no-go list: each check with ok, note, look or stop. A line where all is well; else one for each finding."""
    rows, marks, levels = [], [], Counter()
    by_what: dict[str, list[Check]] = {}
    for check in analysis.checks:
        by_what.setdefault(check.what, []).append(check)
    for what, checks in by_what.items():
        for level, action, members in _grouped(alerts_of(checks)):
            word, tone = STATES[level]
            levels[level] += 1
            rows.append([chip(word, tone), what, _message(members), _where(members), with_code(action)])
            marks.append(tone)
        if fine := list(dict.fromkeys(check.message for check in checks if not check.level)):
            said = fine[0] if len(fine) == 1 else f"{len(fine)} tables, nothing amiss"
            rows.append([chip("ok", "good"), what, said, "", ""])
            marks.append("good")
    if levels[FAIL]:
        word, why, tone = "No go.", f"{_say(levels[FAIL], 'line says', 'lines say')} stop.", "bad"
    elif levels[REVIEW]:
        word, why, tone = (
            "Go, after a look.",
            f"{_say(levels[REVIEW], 'line asks', 'lines ask')} for a decision.",
            "look",
        )
    else:
        word, why, tone = "Go.", "Nothing speaks against the migration.", "good"
    line = note(Html("<b>{}</b> {}").format(word, why), tone)
    return line + table(["", "check", "what was found", "where", "what to do"], rows, align="clwww", marks=marks)


def _say(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def _kind(message: str) -> str:
    """The message without its number and paths, the same for every table."""
    counted = _COUNTED.fullmatch(message)
    if not counted:
        return message
    return f"# {counted[2]}s{_PATHS.sub('', counted[3])}"


def _message(members: list[Alert]) -> str:
    if len(members) == 1:
        return members[0].message
    total = sum(_number(alert.message) for alert in members)
    return _kind(members[0].message).replace("#", f"{total:,}", 1)


def _number(message: str) -> int:
    counted = _COUNTED.fullmatch(message)
    return int(counted[1].replace(",", "")) if counted else 0


def _where(members: list[Alert]) -> Html:
    if len(members) == 1:
        return Html.escape(members[0].table or muted("the whole migration"))
    parts = []
    for alert in members:
        number, paths = _number(alert.message), _PATHS.search(alert.message)
        count = f" {number:,}" if number else ""
        parts.append(Html("").join([alert.table, count, muted(f" ({paths[1] or paths[2]})") if paths else ""]))
    each = Html(" · ").join(parts)
    return each if len(parts) <= NAMED else details(f"{len(parts)} tables", each)
