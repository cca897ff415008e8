"""What every notebook's book has: the run, the confirmation, what is shown, the verdict at the top.

The verdict stands at the top from the first moment ("NOT FINISHED") and is updated in place when the notebook ends,
is refused, or fails. Without `execute` the steps that write show what they would do and return None.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from ..errors import Interrupted, Refused, RunbookError
from ..journal import audit
from ..journal.snapshot import Snapshot
from ..parameters import build_parameters
from ..process import executor, is_headless, notebook_file
from ..report import views
from ..report.drawing import html
from ..report.runs.status import Bar, bar_of
from ..report.runs.summary import write_summary
from ..run.chain import JOURNALS, SUMMARY
from ..run.folder import Run
from ..run.released import NOTE, UNKNOWN, Notebook, look
from ..stages.execution import explained
from ..stages.notify import Notifier
from ..stages.selection import mapping_for, select_run
from ..verdict import EXIT_BUG, NOT_FINISHED, PASS, PLANNED, REFUSED, STOPPED, Alert, ended_by, plural, worst
from ..walk import control
from ..walk.guard import confirm
from . import display
from .display import Banner, on_error, show, show_frame
from .execute import copy_name
from .parameters_cell import DEMO, as_parameters, values_of
from .progress import Progress
from .steps import Done, Steps

BANNER = "runbook-verdict"
BY_HAND = "Run the cell that stopped again, or all cells, to resume."
FILING = "Save this notebook (Ctrl-S; JupyterLab also saves every two minutes): that files its executed copy and report in {}."
DEMOS = (
    "These are the demo's parameters: {} to {}. For tables of your own use `runbook lab PARAMS`, which opens copies of the "
    "notebooks with your parameters filled in."
)


class BaseBook:
    """One execution of one notebook: its run, its confirmation, what it shows, its verdict. The steps are its subclasses'."""

    def __init__(self, stage: str):
        """Shows the banner; `begin` does the rest."""
        self.stage = stage
        self.run: Run | None = None
        self.execute = False
        self._alerts: list[Alert] = []
        self._verdict: str | None = None  # given by the step, else the worst of the alerts
        self._headline = ""
        self._facts: list[tuple[str, str]] = []
        self._steps: list[str] = []  # that would be done, without execute
        self._file: str | None = None
        self._content: dict[str, Any] | None = None
        self._exit_code: int | None = None
        self._journals: list[Snapshot] = []  # as the steps left them
        self._confirmed = False
        self._values: dict[str, Any] = {}
        self._notebook = UNKNOWN
        self._notifier: Notifier | None = None
        self._execution = uuid4().hex  # its executed copy is filed once
        self._ended = ""  # how it ended last: finished, or stopped
        self._bar: Bar | None = None
        self._banner = Banner(BANNER)
        self._show_banner(NOT_FINISHED, "The notebook has not reached its last cell.", EXIT_BUG)
        on_error(self._stopped, lambda error: self._explained(error)[1])

    def _open(self, namespace: Mapping[str, Any]) -> None:
        values = values_of(self.stage, namespace)
        content = {
            name: values[name] for name in ("mapping", "source", "target", "limits", "lease", "notify") if values[name]
        }
        self.parameters = build_parameters(content)
        self._values, self.execute = values, bool(values.get("execute"))
        if not self._choose(values):
            return
        self._notebook = self._look()
        given = {name: values[name] for name in ("break_lock", "accept_drift", "accept_changed") if name in values}
        self._work = Steps(self.run, self.parameters.lease, watch=Progress, notes=self._notebook.notes(), **given)
        if not is_headless() and not self.run.holder():  # the command did it before it started this kernel
            control.clear(self.run)
        audit.begin(self.run, self.stage)
        if not is_headless() and self.execute and self.stage in JOURNALS:  # no verdict of before outlives this kernel
            write_summary(self.run, writing=self.stage)
        self.run.logger().info("%s begins", self.stage)
        sides = map(_side_name, (self.parameters.source, self.parameters.target))
        self._bar = self._stages()
        self._facts = [("run", self.run.id), *zip(("from", "to"), sides, strict=True)]
        self._show_banner(NOT_FINISHED, "The notebook has not reached its last cell.", EXIT_BUG)
        if not is_headless():  # else the command tells
            sides = self.parameters.source, self.parameters.target
            self._notifier = Notifier(values["notify"], self.run, self.stage, *sides)
            self._notifier.begin()

    def _choose(self, values: dict[str, Any]) -> bool:
        """Sets the run. False where there is none, and nothing to do."""
        self.run = select_run(
            self.stage,
            self.parameters,
            mapping_for(self.stage, self.parameters),
            outputs=values["outputs"] or "outputs",
            run_id=values["run_id"],
            tables=values.get("tables"),
            migrated=bool(values.get("retry_failed") or values.get("delta")),
            new=bool(values.get("new")),
        )
        return True

    def _confirm(self, what: str, *, always: bool = True) -> None:
        """Shows how the user confirmed to do `what`. Raises Refused where nobody did. Asks nothing without execute."""
        if not self.execute:
            self.show(html.note, "execute is False: what follows shows the plan and writes nothing.")
            return
        needed = always or self.parameters.target.production
        line = confirm(self.parameters.target, self._values["confirm"], what, needed=needed, ask=self._ask())
        self._confirmed = True
        self._tell(f"{what}: {line}")

    def _ask(self) -> Callable[[str], str] | None:
        return input if display.interactive() else None

    def _tell(self, confirmed: str) -> None:
        """Shows and records what was confirmed, and how."""
        if confirmed:
            self._work.confirmed.append(confirmed)
            self.run.logger().info("confirmed: %s", confirmed)
            self.show(html.note, f"{confirmed[0].upper()}{confirmed[1:]}.")

    # showing

    def show(self, view: Callable[..., str], *results: Any) -> None:
        """Displays a view of the steps' results, or why there is none."""
        show(view, *results, without=self._without())

    def show_frame(self, query: Callable[..., Any], *results: Any, empty: str = "") -> None:
        """Displays the DataFrame that `query` makes of the steps' results, or why there is none; `empty`: without rows."""
        show_frame(query, *results, without=self._without(), empty=empty)

    def _without(self) -> str:
        return "Not requested: nothing was done here." if self.execute else "Nothing to show: execute is False."

    @property
    def report(self) -> dict[str, Any]:
        """The content of the report that the last step wrote; {} where none has."""
        return self._content or {}

    def finish(self) -> None:
        """Updates the verdict at the top, shows it and the open items here, and writes what is left to write of this run."""
        if self._content is None:
            self._verdict, self._exit_code = PLANNED, 0
            planned = f"It would do {plural(len(self._steps), 'thing')}." if self._steps else "There is nothing to do."
            self._headline = self._headline or f"Nothing was written: execute is False. {planned}"
        self._notebook = self._look() if self.run else UNKNOWN
        verdict = self._verdict or worst(self._alerts)
        code = self._exit_code if self._exit_code is not None else int(verdict != PASS)
        if self._ended == "stopped":  # and went on: that counts as another execution, with a copy of its own
            self._execution = uuid4().hex
        self._ended = "finished"
        self._bar = self._stages() if self.run else None
        self._show_banner(verdict, self._headline, code)
        self.show(lambda: views.ending(verdict, self._headline, self._alerts, self._summary()))
        if self.run is None:
            return
        if self._content is not None and self._content["held_back"]:
            self.show(views.held_back, self._content["held_back"])
        self.show(lambda: views.reproduce(self.stage, self.run, self._file, self._values))  # a plan has no file
        self.run.logger().info("%s ends: %s", self.stage, verdict)
        more = {"outcome": {"stage_verdict": verdict}, "notebook": self._notebook}
        head = audit.append(self.run, self.stage, audit.SAVING, journals=self._journals, **more)
        if not is_headless():  # else the command writes it, with the way to the report that it makes
            written = write_summary(self.run, self._journals, after=self.stage)
            if written.problem:
                self.show(html.note, written.problem)
            more["outcome"] = written.as_outcome(verdict)
            head = audit.append(self.run, self.stage, audit.SAVING, journals=self._journals, own=[SUMMARY], **more)
        if self._notifier:
            self._notifier.over(verdict, code, self._headline, head=head)
        here = Path.cwd()
        if display.interactive() and here.name == "lab" and here.parent.parent == self.run.folder.parent.resolve():
            display.hint(FILING.format(self.run.folder.name))

    # inside

    def _look(self) -> Notebook:
        """What is known of the notebook that is executed, as far as its cells have run."""
        return look(self.stage, notebook_file(interactive=display.interactive()), display.executed())

    def _summary(self) -> str | None:
        """The way to the run's summary from the notebook: an executed copy lies beside it."""
        if self.run is None:
            return None
        return SUMMARY if is_headless() else os.path.relpath(self.run.folder / SUMMARY)

    def _may_write(self) -> bool:
        if self.execute and not self._confirmed:
            raise Refused("the confirmation cell was not run; run the cells in order.")
        return self.execute

    def _planned(self, steps: list[str], *, show: bool = True) -> None:
        self._steps = [*self._steps, *steps]
        if steps and show:
            self.show(views.planned, steps)

    def _done(self, done: Done, headline: str) -> None:
        accepted = "".join(f" Accepted: {sentence}." for sentence in self._work.accepted)
        self._content, self._file, self._headline = done.content, done.path.name, headline + accepted
        self._alerts = [alert for alert in done.alerts if alert != NOTE]  # the banner says it
        self._verdict = done.content["verdict"]
        self._journals = [done.journal] if done.journal else self._journals

    def _show_banner(self, verdict: str, headline: str, exit_code: int, resume: str | None = "") -> None:
        open_items = None
        if self._content is not None:
            listed = self.stage == "01_analyze"
            open_items = views.alerts(self._alerts, notes_are_listed=listed, accepted=bool(self._work.accepted))
        elif verdict == PLANNED and self._steps:
            open_items = views.planned(self._steps)
        result = {
            "stage": self.stage,
            "verdict": verdict,
            "exit_code": exit_code,
            "headline": headline,
            "resume": resume,  # its last sentence; None where the same command is not the way on
            "run_id": self.run.id if self.run else None,
            "file": self._file,
            "plan": self._steps,
            "facts": self._facts,
            "released": self._notebook.released,
            "execution": self._execution,
            "executor": executor(),
            "copy": copy_name(self.stage, self._values),
        }
        bundle = display.banner(result, open_items)
        self._banner.show({**bundle, "text/html": self._top(verdict) + bundle["text/html"]})

    def _top(self, verdict: str) -> html.Html:
        """What stands above the banner: the stages of the run, and whether these are only the demo's parameters."""
        bar = self._bar.html(self.stage, verdict, all_linked=display.interactive()) if self._bar else html.Html("")
        if not self._values or not display.interactive() or self._values["run_id"]:
            return bar
        environments = self.parameters.source.environment, self.parameters.target.environment
        return bar + (html.note(html.with_code(DEMOS.format(*environments)), "look") if environments == DEMO else "")

    def _stages(self) -> Bar:
        return bar_of(self.run)

    def _stopped(self, error: BaseException) -> None:
        """Shows in the banner why a cell stopped the notebook. A cell of somebody's own that fails says nothing of it."""
        if not _is_ours(error):
            return
        if self._ended:
            self._execution = uuid4().hex
        self._ended = "stopped"
        error, headline, resume = self._explained(error)
        if isinstance(error, RunbookError):
            verdict, code = ended_by(error), error.exit_code
            if isinstance(error, Interrupted) and not is_headless():
                control.clear(self.run)  # the request has stopped what it was for
            self._bar = self._stages() if self.run else None
        else:
            verdict, code = STOPPED, EXIT_BUG
            headline = f"A bug in the program: {type(error).__name__}. See the cell below."
        if self._content is not None and self.stage in JOURNALS:  # an earlier step has written to the target
            headline = f"{self._headline} Then it stopped: {headline}"
        self._show_banner(verdict, headline, code, resume)
        if self._notifier:
            self._notifier.over(verdict, code, headline)
        if self.run:
            why = f"{verdict}: {headline}" if isinstance(error, RunbookError) else type(error).__name__
            self.run.logger().error("%s stops: %s", self.stage, " ".join(why.split()))
            if not is_headless():
                with suppress(OSError, Refused):  # what stopped the notebook may be a full disk
                    self._record_stop(verdict)

    def _record_stop(self, verdict: str) -> None:
        """Writes the summary, and the audit record of a refusal: else the execution would count as interrupted."""
        written = write_summary(self.run)
        if verdict == REFUSED:
            # Who reads only is through with it. One that writes may have left work to resume.
            may = None if self.stage in JOURNALS else audit.SAVING
            audit.append(self.run, self.stage, may, own=[SUMMARY], outcome=written.as_outcome(verdict))

    def _explained(self, error: BaseException) -> tuple[BaseException, str, str | None]:
        """What stopped a cell, and what to say of it to whoever is there; its last sentence, where that says how to resume."""
        error, resume = explained(error, self.run, self.stage)
        headline = str(error)
        if display.interactive():
            headline = as_parameters(headline, self.stage)
            if resume:
                headline, resume = f"{headline.removesuffix(resume)}{BY_HAND}", BY_HAND
        return error, headline, resume


def _is_ours(error: BaseException) -> bool:
    """Whether an error comes out of this package, not out of a cell alone."""
    trace = error.__traceback__
    if isinstance(error, RunbookError) or trace is None:
        return True
    while trace and not str(trace.tb_frame.f_globals.get("__name__", "")).startswith(f"{__name__.partition('.')[0]}."):
        trace = trace.tb_next
    return trace is not None


def _side_name(side: Any) -> str:
    return side.environment + (f" ({side.region})" if side.region else "")
