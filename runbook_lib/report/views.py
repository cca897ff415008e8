"""What the notebooks show: each view takes a step's result. All is escaped, and no value of an item is ever shown.

Of any result: alerts, ending. Of the steps of a dry run: planned. Of a Plan: plan, backups, files, reproduce. Of an
Analysis: decision, costs, overview, reference_map, references, types, sizes, spread, profile_html, samples, targets,
quarantine, matches, unmatched, undeclared, ledger. Of what was done: created, canary, migration, counts, ledger, drift, progress,
held_back, preview, undone, restored, deletions. Of a Validation: validation, causes, differences_html, residual,
patterns. Of a report: throughput.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from ..stages.analyze.analysis import Analysis
from ..stages.analyze.checks import Check, alerts_of
from ..verdict import FAIL, REVIEW, Alert, AlertGroup, counted, grouped, paths_in, plural
from .analysis import costs, overview, profile_html, quarantine, reference_map, references, targets
from .drawing.html import Html, badge, chip, details, muted, note, table, with_code
from .figures import causes, sizes, spread, throughput, types
from .mapping import drift, ledger, matches, undeclared, unmatched
from .runs.files import files, reproduce
from .runs.progress import progress
from .samples import samples
from .validation import differences_html, patterns, residual, validation
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
    "causes",
    "costs",
    "counts",
    "created",
    "decision",
    "deletions",
    "differences_html",
    "drift",
    "ending",
    "files",
    "held_back",
    "ledger",
    "matches",
    "migration",
    "overview",
    "patterns",
    "plan",
    "planned",
    "preview",
    "profile_html",
    "progress",
    "quarantine",
    "reference_map",
    "references",
    "reproduce", "residual",
    "restored",
    "samples",
    "sizes",
    "spread",
    "targets",
    "throughput",
    "types",
    "undeclared",
    "undone",
    "unmatched",
    "validation",
]  # fmt: skip

STATES = {FAIL: ("stop", "bad"), REVIEW: ("look", "look"), "": ("note", "quiet")}  # level of an alert -> word, tone
NAMED = 6  # tables that are named in an alert; more unfold


def alerts(open_items: Iterable[Alert], *, notes_are_listed: bool = False, accepted: bool = False) -> Html:
    """What asks for a decision, worst first: what, where, what to do; equal items of several tables share a row.

    Notes ask for none: one line that unfolds, or says that they are listed below. `accepted`: somebody accepted something.
    """
    groups = grouped(open_items)
    asking, notes = ([group for group in groups if bool(group.level) is asks] for asks in (True, False))
    shown = _alerts(asking) if asking else Html("")
    if not asking:
        shown = note(
            "Nothing is open besides what was accepted." if accepted else "Nothing asks for a decision.", "good"
        )
    if not notes:
        return shown
    line = f"{plural(len(notes), 'note')}, nothing to decide"
    return shown + (note(muted(f"{line}: see the list below.")) if notes_are_listed else details(line, _alerts(notes)))


def _alerts(groups: Sequence[AlertGroup]) -> Html:
    rows, marks = [], []
    for one in groups:
        word = badge(one.level) if one.level else chip("note")
        rows.append([word, one.message, _where(one.members), with_code(one.action)])
        marks.append(STATES[one.level][1])
    return table(["level", "what", "where", "what to do"], rows, align="lwww", marks=marks)


def planned(steps: Sequence[str]) -> Html:
    """What a notebook without `execute` would do."""
    if len(steps) <= NAMED:
        return note(f"Would {'; '.join(steps)}.")
    each = Html("").join(Html("<div>{}</div>").format(step) for step in steps)
    return details(f"Would do {len(steps):,} things, such as: {steps[0]}", each)


def ending(verdict: str, headline: str, open_items: Iterable[Alert], summary: str | None) -> Html:
    """The end of a notebook: its verdict again, what is to decide, and the way to the page to send (a link, relative)."""
    to_decide = [alert for alert in open_items if alert.level]
    way = Html('The run on one page, to print and to send: <a href="{}">{}</a>.')
    link = way.format(summary, summary.rpartition("/")[2]) if summary else ""
    return Html('<div style="margin:4px 0 10px 0">{} {}</div>{}{}').format(
        badge(verdict), with_code(headline), alerts(to_decide) if to_decide else "", note(link) if link else ""
    )


def decision(analysis: Analysis) -> Html:
    """The go/no-go list: each check with ok, note, look or stop. A line where all is well; else one for each finding."""
    rows, marks, levels = [], [], Counter()
    by_what: dict[str, list[Check]] = {}
    for check in analysis.checks:
        by_what.setdefault(check.what, []).append(check)
    for what, checks in by_what.items():
        for one in grouped(alerts_of(checks)):
            word, tone = STATES[one.level]
            levels[one.level] += 1
            rows.append([chip(word, tone), what, one.message, _where(one.members), with_code(one.action)])
            marks.append(tone)
        if fine := list(dict.fromkeys(check.message for check in checks if not check.level)):
            said = fine[0] if len(fine) == 1 else f"{len(fine)} tables, nothing amiss"
            rows.append([chip("ok", "good"), what, said, "", ""])
            marks.append("good")
    if levels[FAIL]:
        word, why, tone = "No go.", f"{plural(levels[FAIL], 'line says', 'lines say')} stop.", "bad"
    elif levels[REVIEW]:
        why = f"{plural(levels[REVIEW], 'line asks', 'lines ask')} for a decision."
        word, tone = "Go, after a look.", "look"
    else:
        word, why, tone = "Go.", "Nothing speaks against the migration.", "good"
    line = note(Html("<b>{}</b> {}").format(word, why), tone)
    return line + table(["says", "check", "what was found", "where", "what to do"], rows, align="clwww", marks=marks)


def _where(members: list[Alert]) -> Html:
    if len(members) == 1:
        return Html.escape(members[0].table or muted("the whole migration"))
    parts = []
    for alert in members:
        number, paths = counted(alert), paths_in(alert)
        count = f" {number:,}" if number else ""
        parts.append(Html("").join([alert.table, count, muted(f" ({paths})") if paths else ""]))
    each = Html(" · ").join(parts)
    return each if len(parts) <= NAMED else details(f"{len(parts)} tables", each)
