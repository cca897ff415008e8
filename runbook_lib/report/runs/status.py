"""What a run is doing or did, read from its journal alone; works while another process writes it."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import Refused
from ...journal import repair
from ...journal.snapshot import COUNTED, Snapshot, State, state_of
from ...journal.stage import Stage
from ...process import visible
from ...run.folder import Run, about_of, runs
from ...run.progress_file import StageProgress, at_work
from ...stages.validate import journal as validation_journal
from ...verdict import FAIL, INTERRUPTED, NOT_FINISHED, PASS, PLANNED, REFUSED, REVIEW, ROLLED_BACK, plural
from ..drawing.html import Html, chip, muted
from .executions import STAGES, history
from .outcome import NOTHING, cutover_told, outcome_of
from .progress import following_lines, line

_FIGURES = (*COUNTED, "unrouted")
_RUNNING = "running"
_TONES = {PASS: "good", REVIEW: "look", FAIL: "bad", INTERRUPTED: "look"}  # of the bar
_BAR = (
    "font-family:system-ui,sans-serif;font-size:13px;display:flex;flex-wrap:wrap;gap:4px 18px;align-items:center;"
    "margin:4px 0 10px 0"
)
UNKNOWN = "run.json is missing, damaged or of another run; restore it from a copy"


@dataclass(frozen=True)
class RunStatus:
    """The status of one run, from its folder."""

    run_id: str
    state: str  # analyzed, running, interrupted, complete, rolled back, ...
    holder: str | None  # who is writing it now
    tables: dict[str, dict[str, int]]  # entry -> counts of the migration
    totals: dict[str, int]
    verdict: str | None  # of the newest report, where it still stands
    validation: str | None = None  # the last one: interrupted (or going on), complete
    repaired: str | None = None  # what repairs of the migration's journal lost
    elsewhere: str | None = None  # the URL where an interrupted execution's last records lie, which are not counted yet
    problem: str | None = None  # why the run or its `run.json` cannot be read
    progress: StageProgress | None = None  # of what goes on now
    cutover: str | None = None  # the latest answer of the gate, where it still stands
    uncertain: int = 0  # items that an execution had under way when it ended: the journal does not know which arrived

    def as_json(self) -> dict[str, Any]:
        """The status as plain data."""
        return {**vars(self), "progress": self.progress and figures(self.progress)}

    def text(self) -> str:
        """The status as lines for a terminal."""
        word = self.state + (", repaired" if self.repaired else "")
        lines = [f"{self.run_id}: {word}" + (f", written by {self.holder}" if self.holder else "")]
        if self.progress:
            lines += [line(self.progress), *following_lines(self.progress)]
        if self.problem:
            lines[0] += f"; {self.problem}"
        if self.cutover:
            lines.append(f"cut-over: {self.cutover}")
        if self.verdict:
            lines.append(f"latest report: {self.verdict}")
        if self.repaired:
            lines.append(self.repaired)
        if self.elsewhere:
            lines.append(f"the last records may still lie at {self.elsewhere}; resuming or rolling back fetches them")
        if self.validation:
            lines.append(f"validation: {self.validation}")
        if self.tables:
            width = max(len(name) for name in (*self.tables, "all"))
            heads = [name.replace("_", " ") for name in COUNTED]
            lines.append(" " * width + "".join(f"{head:>15}" for head in heads))
            for name, counts in (*self.tables.items(), ("all", self.totals)):
                lines.append(f"{name:<{width}}" + "".join(f"{counts[key]:>15,}" for key in COUNTED))
            if self.uncertain:
                lines.append(
                    f"not counted: {plural(self.uncertain, 'item')} of pages that were not finished. "
                    "Resuming, or rolling back, looks up which of them are in the target."
                )
            if self.totals["unrouted"]:
                lines.append(f"unrouted: {self.totals['unrouted']:,}")
        return "\n".join(map(visible, lines))


def status(run: Run) -> RunStatus:
    """The status of a run. Read-only."""
    migrate, holder = Stage(run, "migrate"), run.holder()
    journal = migrate.read()
    state = journal.state() if journal.began else None
    zeros = dict.fromkeys(COUNTED, 0)
    tables = {name: zeros | dict(state.tables.get(name, {})) for name in journal.entries()} if state else {}
    totals = {key: sum(counts[key] for counts in tables.values()) for key in COUNTED}
    unrouted = state.unrouted if state else 0
    outcome = outcome_of(run, journal)
    return RunStatus(
        run.id,
        _word(run, journal, state, holder),
        holder,
        tables,
        {**totals, "unrouted": unrouted},
        None if outcome.verdict in (NOT_FINISHED, NOTHING) else outcome.verdict,
        validation_journal.state(run),
        repair.told(migrate) or None,
        next((event["url"] for event in migrate.unsettled() if not holder), None),
        None if about_of(run) else UNKNOWN,
        next(iter(at_work(run)), None),
        cutover_told(outcome.cutover) if outcome.cutover else None,
        0 if holder else journal.uncertain(journal.entries()).total(),
    )


def figures(now: StageProgress) -> dict[str, Any]:
    """How far a stage is, as plain data, with the line that a terminal shows."""
    return {**now.as_json(), "line": line(now)}


def watch(runs: Sequence[Run], tell: Callable[[Run, StageProgress], object], pause: Callable[[], object]) -> None:
    """Tells how far each of the runs is, again and again, until nothing goes on in any of them. Read-only.

    `pause` waits between two looks. Between the stages of one command there is a moment in which nothing is at work, so a
    run that was at work is left only when two looks found nothing.
    """
    quiet = dict.fromkeys(runs, 1)
    while quiet:
        for run in list(quiet):
            found, holder = at_work(run), run.holder()
            quiet[run] = 0 if found or holder else quiet[run] + 1
            if found or holder:
                tell(run, found[0] if found else StageProgress(run.id, doing=f"written by {holder}"))
            elif quiet[run] > 1:
                del quiet[run]
        if quiet:
            pause()


def status_of_all(outputs: Path) -> list[RunStatus]:
    """The status of every run in a folder, the latest first; of a run that cannot be read, why. Read-only."""
    return [_status_or_why(run) for run in runs(outputs)]


def _status_or_why(run: Run) -> RunStatus:
    try:
        return status(run)
    except Refused as problem:
        holder = None
        with suppress(Refused):  # this may be the problem
            holder = run.holder()
        return RunStatus(run.id, "damaged", holder, {}, dict.fromkeys(_FIGURES, 0), None, problem=str(problem))


def _word(run: Run, migrated: Snapshot, state: State | None, holder: str | None) -> str:
    if holder:
        return "running"
    if state:
        word = _stage_word(state)
        halted = word == "interrupted" and any(event["stop"] for event in migrated.events("failed"))
        return "stopped by the mapping" if halted else word
    if events := list(Stage(run, "test").events()):
        return f"tested ({_stage_word(state_of(events))})"
    if run.latest_json("migration-analysis"):
        return "analyzed"
    return "drafted" if run.latest_json("mapping-draft") else "new"


def _stage_word(state: State) -> str:
    if state.rolled_back:
        return "rolled back"
    if state.rolling_back:
        return "rollback interrupted"
    if state.catching_up:
        return "delta interrupted"
    if state.following:
        return "following stopped"
    return "complete" if state.finished else "interrupted"


# the stages in one line, as the notebooks show them


class Bar(NamedTuple):
    """How the stages of a run stand: stage → word; stages that never ended are left out."""

    words: dict[str, str]

    def html(self, stage: str, verdict: str, *, all_linked: bool = True) -> Html:
        """The bar in the notebook of a stage, whose word is its verdict so far. Links lead to the notebooks beside it.

        `all_linked`: whether every stage has one; else only those that have ended are links.
        """
        own = {PLANNED: self.words.get(stage, ""), NOT_FINISHED: ""}.get(verdict, verdict)
        words = {**self.words, stage: own}
        linked = {name for name in STAGES if name != stage and (all_linked or name in words)}
        steps = [_step(name, words.get(name, ""), linked=name in linked, here=name == stage) for name in STAGES]
        return Html('<nav aria-label="Stages of this run" style="{}">{}</nav>').format(_BAR, Html("").join(steps))


def bar_of(run: Run) -> Bar:
    """How the stages of a run stand, by its audit chain and its reports. Read-only; what cannot be read is left out.

    The latest execution of a stage counts that did more than show a plan, or to be refused.
    """
    words: dict[str, str] = {}
    with suppress(Refused):
        for one in history(run).executions:
            word = one.verdict or (INTERRUPTED if one.worked and not one.ended else "")
            if word == REFUSED:
                words.setdefault(one.stage, word)
            elif word not in ("", PLANNED, NOT_FINISHED):
                words[one.stage] = word
        undone = outcome_of(run, ()).results.get("05_rollback", {}).get("rollback", {}).get("stage")
        if undone == "migrate" and "03_migrate" in words:
            words["03_migrate"] = ROLLED_BACK
        if (holder := run.holder()) and (now := next((stage for stage in STAGES if stage in holder), None)):
            words[now] = _RUNNING
    return Bar(words)


def _step(stage: str, word: str, *, linked: bool, here: bool) -> Html:
    name = Html("{} {}").format(stage[:2], STAGES[stage])
    if here:
        name = Html('<b aria-current="page">{}</b>').format(name)
    elif linked:
        name = Html('<a href="{}.ipynb">{}</a>').format(stage, name)
    mark = "✓ " if word in (PASS, REVIEW, ROLLED_BACK) else ""
    said = chip(mark + word.lower().replace("_", " ") if word not in _TONES else mark + word, _TONES.get(word, "quiet"))
    return Html('<span style="white-space:nowrap">{} {}</span>').format(name, said if word else muted("–"))
