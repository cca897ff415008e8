"""What a run has come to, from the reports in its folder: the verdict as it stands, one sentence, and what is to decide."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ...journal.snapshot import Snapshot
from ...journal.stage import Stage
from ...run.folder import Run, own_json
from ...verdict import FAIL, NOT_FINISHED, PASS, REVIEW, ROLLED_BACK, Alert, AlertGroup, grouped, plural

NOTHING = "NOTHING YET"  # of a run in which no stage has come to a result
DAMAGED = "DAMAGED"  # of one whose folder cannot be read
NAMES = {"test": "02_test", "migrate": "03_migrate", "validate": "04_validate", "rollback": "05_rollback"}
_BEGINS, _ENDS = ("execution", "delta", "follow", "rollback"), ("end", "delta_end", "follow_end", "rolled_back")


@dataclass(frozen=True)
class Outcome:
    """What a run has come to."""

    verdict: str  # as it stands: of the latest result, or NOT_FINISHED, NOTHING, DAMAGED
    stage: str | None  # whose result that is; None where there is none
    headline: str
    results: dict[str, dict[str, Any]] = field(default_factory=dict)  # stage -> its latest JSON, the latest stage last
    decisions: list[AlertGroup] = field(default_factory=list)
    changing: bool = False  # whether something that writes has begun since and not ended
    cutover: Mapping[str, Any] | None = None  # the latest answer of the gate, where it still stands

    @property
    def report(self) -> dict[str, Any]:
        """The latest report of 02 to 05; {} where there is none."""
        return next((self.results[name] for name in reversed(self.results) if name in NAMES.values()), {})

    @property
    def proved(self) -> bool:
        """Whether the latest thing that was done is a comparison of everything that 03 inserted, and it still stands."""
        return self.stage == "04_validate" and not (self.changing or self.rolled_back)

    @property
    def rolled_back(self) -> bool:
        """Whether the migration, or what a test had left, was taken back."""
        return self.verdict == ROLLED_BACK


def outcome_of(
    run: Run, migrated: Snapshot | Iterable[Mapping[str, Any]] | None = None, writing: str | None = None
) -> Outcome:
    """The outcome of a run. `writing`: a stage that has begun to write.

    `migrated`: the journal of 03, or its events; None: they are read now, unless something writes. A verdict ends where the
    target may have changed since. Read-only. Raises Refused where a report is gone or damaged.
    """
    results = _results(run)
    stage = next(reversed(results), None)
    if migrated is None:
        migrated = [] if writing else Stage(run, "migrate").events()
    events = migrated.events() if isinstance(migrated, Snapshot) else migrated
    last = next((event["kind"] for event in reversed([*events]) if event["kind"] in (*_BEGINS, *_ENDS)), None)
    verdict = results[stage]["verdict"] if stage else NOT_FINISHED if last else NOTHING
    changing = bool(writing) or last in _BEGINS
    if verdict in (PASS, REVIEW, NOTHING) and changing:
        verdict = NOT_FINISHED
    elif verdict in (PASS, REVIEW) and last == "rolled_back":  # its report could not be written
        verdict = ROLLED_BACK
    found = Outcome(verdict, stage, "", results, decisions(_alerts(results, stage)), changing)
    found = replace(found, cutover=_cutover(run, last, is_going_on=changing))
    return replace(found, headline=_headline(found, migrated, writing))


def cutover_told(answer: Mapping[str, Any]) -> str:
    """An answer of the gate as a sentence without its full stop. Pure."""
    if answer["open"]:
        return f"the application may write to the target from {answer['moment']} on"
    first, *more = answer["missing"]
    return f"not yet, asked at {answer['asked_at']}: {first}" + (f" (and {len(more)} more)" if more else "")


def _cutover(run: Run, last: str | None, *, is_going_on: bool) -> Mapping[str, Any] | None:
    """An open gate counts until something else is done to the target; a closed one until following has ended."""
    if last == "follow_end" and not is_going_on:
        answer = run.latest_json("cutover")
        return answer if answer and answer["open"] else None
    asked = run.json_files("cutover") if last == "follow" else ()  # no record of the audit chain names it yet
    answer = own_json(asked[-1]) if asked else None
    return None if not answer or answer["open"] else answer


def decisions(alerts: Iterable[Mapping[str, str]]) -> list[AlertGroup]:
    """The open items of a report, those that one decision settles together; notes left out. Pure."""
    return grouped(Alert(**alert) for alert in alerts if alert["level"] in (FAIL, REVIEW))


def _results(run: Run) -> dict[str, dict[str, Any]]:
    """Stage → its latest result, in the order in which they came. A rollback of the tests takes no migration back."""
    found: dict[str, dict[str, Any]] = {}
    for path in reversed(run.standing_files("migration-report")):
        content = own_json(path)
        found.setdefault(NAMES[content["stage"]], content)
        if len(found) == len(NAMES):
            break
    later = {name: found[name] for name in reversed(found)}
    of_test = later.get("05_rollback", {}).get("rollback", {}).get("stage") == "test"
    if of_test and {"03_migrate", "04_validate"} & later.keys():
        later = {"05_rollback": later.pop("05_rollback"), **later}
    first = {"00_draft": "mapping-draft", "01_analyze": "migration-analysis"}
    return {name: content for name, kind in first.items() if (content := run.latest_json(kind))} | later


def _alerts(results: Mapping[str, dict[str, Any]], stage: str | None) -> list[dict[str, str]]:
    """The open items of the latest result; before 03, those that 01 left as well."""
    if stage is None:
        return []
    earlier = results.get("01_analyze", {}).get("alerts", []) if stage == "02_test" else []
    return [*results[stage]["alerts"], *earlier]


def _headline(found: Outcome, migrated: Any, writing: str | None) -> str:
    if writing:
        return f"{writing} has begun and not ended"
    sentence = _what_was_done(found, migrated)
    open_ = len(found.decisions)
    if not open_ or found.rolled_back:
        return sentence
    return f"{sentence}; {plural(open_, 'decision')} {'is' if open_ == 1 else 'are'} open"


def _what_was_done(found: Outcome, migrated: Any) -> str:
    report = found.report
    if found.changing or found.verdict == NOT_FINISHED:
        return _interrupted(migrated)
    if found.stage is None:
        return "No stage has come to a result yet"
    if found.rolled_back:
        undone = report.get("rollback", {})
        kept = f", {plural(undone['kept_edited'], 'edited item')} kept" if undone.get("kept_edited") else ""
        return f"Rolled back: {plural(undone.get('deleted', 0), 'item')} deleted again{kept}"
    if found.stage == "00_draft":
        return f"A mapping with {plural(len(found.results['00_draft']['tables']), 'entry', 'entries')} was drafted"
    if found.stage == "01_analyze":
        return f"{plural(found.results['01_analyze']['totals']['records'], 'item')} read; nothing was written yet"
    if found.stage == "02_test":
        return f"{_tested(report)}; nothing was migrated yet"
    arrived, of = sum(report["totals"][key] for key in ("inserted", "already_there")), report["totals"]["scanned"]
    copied = f"{arrived:,} of {of:,} items copied"
    if found.stage == "03_migrate":
        if found.cutover:
            return f"The gate is open: {cutover_told(found.cutover)}; {copied}"
        again = "changed since 04 compared it, and " if "validation" in report else ""
        return f"{copied}; {again}not proved yet"
    checked = report["validation"]
    wrong = [f"{plural(checked[key], 'item')} {key}" for key in ("missing", "different") if checked[key]]
    if wrong:
        return f"{checked['equal']:,} of {of:,} items proved equal; {', '.join(wrong)}"
    proved = "and proved equal" if checked["equal"] == arrived else f"and {checked['equal']:,} of them proved equal"
    expired, matched = (report["totals"].get(name) for name in ("expired", "matched"))
    left = f", {expired:,} left out because they had expired" if expired else ""
    left += f", {matched:,} matched with items that the target has" if matched else ""
    return f"{copied} {proved}{left}"


def _tested(report: Mapping[str, Any]) -> str:
    if test := report.get("test"):
        return f"{plural(test['items'], 'item')} tested, {test['equal']:,} equal"
    return f"{plural(len(report['tables_created']), 'table')} created"


def _interrupted(migrated: Any) -> str:
    """What the journal says of a migration, a delta or a rollback that has not ended."""
    if not isinstance(migrated, Snapshot):
        return "The target was being written, and that has not ended"
    state = migrated.state()
    if state.rolling_back:
        return "A rollback has begun and not ended"
    counted = sum(counts["inserted"] + counts["already_there"] for counts in state.tables.values())
    what = "A delta has begun and not ended" if state.catching_up else "The migration has not ended"
    if state.following and state.finished and not state.catching_up:
        what = "Following was stopped, or goes on"
    return f"{what}: {plural(counted, 'item')} copied so far"
