"""`summary.html`: a run on one sheet of paper, from its folder alone, for whoever decides."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import Refused
from ...journal.snapshot import Snapshot
from ...run.chain import SUMMARY
from ...run.files import write_or_tell
from ...run.folder import Run, about_of, own_json
from ...verdict import FAIL, NOT_FINISHED, PASS, PLANNED, REVIEW, ROLLED_BACK, AlertGroup, counted, plural
from ..drawing.html import clipped, duration
from ..drawing.page import render
from .day_after import day_after
from .executions import STAGES, History, history
from .outcome import DAMAGED, NOTHING, Outcome, cutover_told, outcome_of

BARS, NAMED = 6, 3  # entries with a bar of their own; tables that a decision names
LINES, ROW = 35.0, 1.4  # for bars, decisions and checklist together; what a row takes more than its text, or a bar
WIDE, HALF = 105, 44  # letters in a line of the sheet, and of one of its two wide columns
MOST = 190  # letters of a sentence
TONES = {PASS: "pass", REVIEW: "review", FAIL: "fail", DAMAGED: "fail", ROLLED_BACK: "back"}
BACKUPS = {
    "point_in_time": "point in time",
    "on_demand": "on demand",
    "waived": "waived",
    "not_available": "not available here",
}
SUMMED = ("03_migrate", "05_rollback")  # an execution of theirs goes on where the one before ended
LEFT_OUT = ("conflicts", "quarantined", "failed")  # items that are read and do not arrive


class Step(NamedTuple):
    """One of 00 to 05, as the sheet shows it."""

    name: str
    title: str
    verdict: str | None
    tone: str
    told: str
    page: str | None  # its latest report


class Bar(NamedTuple):
    """The items of one entry."""

    name: str
    read: int
    arrived: int
    open: int
    wide: float  # percent of the largest entry's; 0 where there is no bar
    open_wide: float  # of these


@dataclass(frozen=True)
class Written:
    """What a summary says in short, for the audit chain and the index of runs."""

    verdict: str
    headline: str
    problem: str = ""  # a sentence where the page could not be written

    def as_outcome(self, stage_verdict: str | None, copy: str = "") -> dict[str, Any]:
        """As a record of the audit chain holds it: counts and words. `copy` is the executed notebook, where there is one."""
        return {"copy": copy, "stage_verdict": stage_verdict, "verdict": self.verdict, "headline": self.headline}


def write_summary(
    run: Run, journals: Iterable[Snapshot] = (), *, writing: str | None = None, after: str = "", damage: str = ""
) -> Written:
    """Writes the run's `summary.html`; gives what it says in short.

    `journals` are taken as they are, and not read again. `writing` is a stage that now begins to write: until it ends, no
    verdict stands. Nor does one beside another stage that writes, after the stage `after`. `damage`: why a journal cannot be
    read. A folder that cannot be read gives a page that says so. A page that cannot be written is removed. Raises OSError
    where it stays.
    """
    migrated = next((one for one in journals if one.stage == "migrate"), None)
    try:
        if damage:
            raise Refused(damage)
        past = history(run)
        found = outcome_of(run, migrated, writing or (past.writes_beside(after) if after else None))
        page = _page(run, found, past)
    except Refused as problem:
        found, page = _damaged(run, str(problem))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):  # sealed by nobody, or of another version
        found, page = _damaged(run, "a report in this folder does not hold what the program writes")
    return Written(found.verdict, found.headline, write_or_tell(run.folder / SUMMARY, page))


def _damaged(run: Run, problem: str) -> tuple[Outcome, bytes]:
    said = problem.replace(f"{run.folder}/", "")
    found = Outcome(DAMAGED, None, f"This run's folder cannot be read: {said}")
    empty = History()
    with suppress(Refused):
        empty = history(run)
    return found, _page(run, found, empty)


def _page(run: Run, found: Outcome, past: History) -> bytes:
    values = _values(run, found, past)
    return render(Path(__file__), f"{found.verdict}: {' → '.join(values['sides'])} · {run.id}", **values)


def _values(run: Run, found: Outcome, past: History) -> dict[str, Any]:
    """What the template shows."""
    report, results = found.report, found.results
    about = about_of(run) or {}
    checkpoint = {} if found.verdict == DAMAGED else _checkpoint(run)
    bars = _bars(found)
    todo = [clipped(line, MOST) for line in day_after(run.id, found, checkpoint)]
    shown = _fitting(found.decisions, LINES - ROW * len(bars) - sum(_lines(line, WIDE) for line in todo))
    more = len(found.decisions) - len(shown)
    return {
        "run_id": run.id,
        "verdict": found.verdict,
        "tone": TONES.get(found.verdict, "none"),
        "rolled_back": found.rolled_back,
        "of": found.stage if found.verdict not in (NOT_FINISHED, DAMAGED, NOTHING) else None,
        "proved": found.proved,
        "headline": found.headline,
        "sides": _sides(about, results),
        "facts": _facts(found, past),
        "steps": [_step(run, name, found, past) for name in STAGES],
        "decisions": shown,
        "more_decisions": plural(more, "more open item, see", "more open items, see") if more > 0 else "",
        "bars": bars,
        "arrived": "arrived, taken back" if found.rolled_back else "arrived" if _is_migrated(found) else "would arrive",
        "no_entry": report.get("totals", results.get("01_analyze", {}).get("totals", {})).get("unrouted", 0),
        "day_after": todo,
        "equal": _equal(found),
        "mapping": str(about.get("mapping") or ""),
        "mapping_sha256": _mapping_sha256(results, checkpoint),
        "head": past.head,
        "report": _report_of(run, past, found.stage) if found.stage else None,
    }


def _fitting(decisions: Iterable[AlertGroup], lines: float) -> list[tuple[str, str, str, str]]:
    """As many decisions as so many lines take, one at least: level, what was found, where, what to do."""
    shown: list[tuple[str, str, str, str]] = []
    for one in decisions:
        found, where, action = (clipped(text, MOST) for text in (one.message, _where(one), one.action))
        lines -= max(_lines(found, HALF) + _lines(where, HALF), _lines(action, HALF)) + ROW - 1
        if shown and lines < 0:
            break
        shown.append((one.level, found, where, action))
    return shown


def _where(group: AlertGroup) -> str:
    """The tables of a group, those with most first; with their numbers where there are several."""
    members = sorted(group.members, key=lambda alert: (-counted(alert), alert.table))
    names = [
        clipped(alert.table, 44) + (f" {counted(alert):,}" if members[1:] and counted(alert) else "")
        for alert in members
    ]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(filter(None, names[:NAMED])) + more


def _lines(text: str, width: int) -> int:
    return -(-len(text) // width)


def _checkpoint(run: Run) -> Mapping[str, Any]:
    """The checkpoint of 03, as plain JSON; {} where there is none. Its seal counts for 05, not for this page."""
    for path in reversed(run.standing_files("migration-checkpoint")):
        if (content := own_json(path)).get("stage") == "migrate":
            return content
    return {}


def _sides(about: Mapping[str, Any], results: Mapping[str, Any]) -> list[str]:
    """Source and target: environment, region, and the account where it is known."""
    latest = next(reversed(results.values()), {})
    known = latest.get("migration", latest)
    found = []
    for side in ("source", "target"):
        one = known.get(side) or about.get(side)
        if isinstance(one, dict) and isinstance(one.get("environment"), str):
            places = [one.get("region"), f"account {one['account']}" if one.get("account") else None]
            found.append(clipped(one["environment"], 44) + "".join(f", {place}" for place in places if place))
    return found


def _facts(found: Outcome, past: History) -> list[tuple[str, str]]:
    report, analysis = found.report, found.results.get("01_analyze", {})
    done = [one for one in past.executions if one.seconds is not None]
    took = sum(one.seconds for one in done)
    ends = [one.ended for one in done]
    told = cutover_told(found.cutover) if found.cutover else ""
    cutover = [("Cut-over", clipped(told, MOST))] if told and told not in found.headline else []
    return [
        *cutover,
        ("Last stage ended", readable(ends[-1]) if ends else "none yet"),
        ("By", clipped(", ".join(past.actors()) or "not recorded", 60)),
        ("Work took", duration(took) if done else "–"),
        ("Cost, as 01 estimated", _cost(analysis)),
        ("Backups behind it", _backups(report)),
        ("Ids of the source left", _ids_left(found)),
    ]


def readable(moment: str) -> str:
    """A moment in ISO 8601 for people, UTC."""
    return f"{datetime.fromisoformat(moment):%-d %b %Y, %H:%M} UTC"


def _cost(analysis: Mapping[str, Any]) -> str:
    costs = analysis.get("costs")
    if not costs:
        return "not estimated"
    dollars, units = sum(cost["usd"] for cost in costs.values()), costs["03_migrate"]["write_units"]
    total = "under $0.01" if dollars < 0.01 else f"about ${dollars:,.2f}"
    return f"{total}; {plural(units, 'write unit')} in 03"


def _backups(report: Mapping[str, Any]) -> str:
    kinds: dict[str, int] = {}
    for about in report.get("backups", {}).values():
        kinds[about["kind"]] = kinds.get(about["kind"], 0) + 1
    return ", ".join(f"{plural(number, 'table')} {BACKUPS.get(kind, kind)}" for kind, number in kinds.items()) or "none"


def _ids_left(found: Outcome) -> str:
    if found.rolled_back:
        return "–"
    if not found.proved:
        return "not looked for yet" if "validation" not in found.report else "not looked for since the last change"
    left = found.report["validation"]["residual_ids"]["items"]
    return f"in {plural(left, 'item')}" if left else "none"


def _report_of(run: Run, past: History, stage: str) -> str | None:
    """The latest report of a stage that is there: without code, where it was exported."""
    names = [path.name for path in run.in_order(run.folder.glob(f"{stage}*.ipynb"))]
    names += [one.copy for one in past.executions if one.stage == stage and one.copy not in ("", *names)]
    for name in reversed(names):
        for file in (run.folder / name).with_suffix(".html"), run.folder / name:
            if file.is_file() and not file.is_symlink():
                return file.name
    return None


def _took(name: str, past: History) -> float | None:
    """The seconds behind a stage's result; None where nobody knows them.

    What 03 and 05 came to is the work of all their executions; what the others did, of the latest.
    """
    done = [one for one in past.executions if one.stage == name]
    done = [one for one in done if one.worked and one.verdict != PLANNED] if name in SUMMED else done[-1:]
    seconds = [one.seconds for one in done]
    return sum(seconds) if seconds and None not in seconds else None


def _step(run: Run, name: str, found: Outcome, past: History) -> Step:
    result, last = found.results.get(name), past.latest(name)
    verdict = result["verdict"] if result else None
    told = _told(name, result) if result else "–"
    tried = last.verdict if last else None
    if (
        name == "05_rollback"
        and not result
        and found.report.get("totals", {}).get("inserted")
        and not found.rolled_back
    ):
        told = "possible"
    if result and tried != PLANNED and (took := _took(name, past)) is not None:
        told += f", {duration(took)}"
    if tried and tried not in (verdict, *TONES):  # a plan, a refusal, an interruption
        told += f"; last: {tried.lower()}"
    if name == "04_validate" and result and found.stage == "03_migrate":
        told, verdict = "before the last change", None
    return Step(
        name, f"{name[:2]} {STAGES[name]}", verdict, TONES.get(verdict or "", "none"), told, _report_of(run, past, name)
    )


def _told(name: str, result: Mapping[str, Any]) -> str:
    """What a stage came to, in a few words."""
    if name == "00_draft":
        return plural(len(result["tables"]), "entry", "entries")
    if name == "01_analyze":
        return f"{plural(result['totals']['records'], 'item')} read"
    if name == "02_test":
        test = result.get("test")
        undone = "kept" if test and test["kept"] else "taken back"
        return f"{plural(test['items'], 'item')}, {undone}" if test else plural(len(result["tables_created"]), "table")
    if name == "03_migrate":
        return f"{result['totals']['inserted']:,} inserted"
    if name == "04_validate":
        return f"{result['validation']['equal']:,} equal"
    return f"{result['rollback']['deleted']:,} deleted"


def _bars(found: Outcome) -> list[Bar]:
    """The largest entries, and the rest in one line."""
    report, analysis = found.report, found.results.get("01_analyze", {})
    counts: list[tuple[str, int, int, int]] = []
    if _is_migrated(found):
        checked = report.get("validation", {}).get("tables", {}) if found.proved else {}
        for name, one in report["tables"].items():
            wrong = sum(checked.get(name, {}).get(key, 0) for key in ("missing", "different"))
            arrived = one["inserted"] + one["already_there"]
            counts.append((name, one["scanned"], arrived, sum(one[key] for key in LEFT_OUT) + wrong))
    else:
        for name, one in analysis.get("tables", {}).items():
            counts.append((name, one["records"], one["routed"], one["quarantined"] + one["conflicts"]))
    counts.sort(key=lambda one: (-one[1], one[0]))
    most = max((one[1] for one in counts), default=0) or 1
    rest = counts[BARS:] if len(counts) > BARS + 1 else []
    bars = []
    for name, read, arrived, left in counts[: len(counts) - len(rest)]:
        wide = round(read * 100 / most, 2)
        bars.append(Bar(clipped(name, 44), read, arrived, left, wide, round(wide * min(left / (read or 1), 1), 2)))
    if rest:
        bars.append(Bar(f"{len(rest):,} more entries", *(sum(one[at] for one in rest) for at in (1, 2, 3)), 0, 0))
    return bars


def _is_migrated(found: Outcome) -> bool:
    """Whether 03 has come to a result, so that the counts of the latest report are its own."""
    return "03_migrate" in found.results or "04_validate" in found.results


def _equal(found: Outcome) -> str | None:
    """As of when the comparison holds; None where nothing is proved."""
    moment = found.report["validation"]["oldest_comparison"] if found.proved else None
    return readable(moment) if moment else None


def _mapping_sha256(results: Mapping[str, Any], checkpoint: Mapping[str, Any]) -> str | None:
    known = checkpoint.get("fingerprints") or results.get("01_analyze", {}).get("fingerprints")
    return known["mapping"] if known else None
