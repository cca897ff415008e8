"""What a notebook imports. `begin` returns a `Book`; each of its steps does one thing and returns one result.

The verdict stands at the top from the first moment ("NOT FINISHED") and is updated in place when the notebook ends,
is refused, or fails. Without `execute` the steps that write show what they would do and return None.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import Refused, RunbookError
from ..journal import audit
from ..journal.snapshot import Snapshot
from ..parameters import build_parameters
from ..process import is_headless
from ..report import json_analysis, views
from ..report import json_report as report
from ..report.drawing import html
from ..run.folder import Run
from ..stages import expiry
from ..stages.analyze.analysis import Analysis
from ..stages.execution import explained
from ..stages.migrate import backup_gate
from ..stages.migrate.delta import catch_up
from ..stages.migrate.migrate import Migration, migrate
from ..stages.migrate.retry_failed import failed, retry_failed
from ..stages.rollback.restore import Restored
from ..stages.rollback.rollback import Undoing
from ..stages.rollback.undo import Preview, Undone
from ..stages.selection import mapping_for, select_run
from ..stages.test.canary import Canary, Created, collect
from ..stages.validate.validate import Validation
from ..verdict import EXIT_BUG, NOT_FINISHED, PASS, PLANNED, STOPPED, Alert, ended_by, plural, worst
from ..walk import control
from ..walk.guard import confirm
from ..walk.plan import Plan, open_plan
from .display import Banner, Chosen, dropdown, interactive, on_error, show, show_frame
from .execute import RESULT
from .parameters_cell import COMMON, OWN, check_names, typed
from .progress import Progress, telling
from .steps import Done, Steps, refused_as

BANNER = "runbook-verdict"
STAYS = (
    "Nothing was rolled back: what arrived stays in the target, and the journal knows it. Resume, or undo it with 05."
)


def begin(stage: str, namespace: Mapping[str, Any]) -> "Book":
    """The book for a stage, from the values that the parameters cell and papermill left in `namespace` (`globals()`).

    Shows the banner. Raises ParametersError for an undeclared name or type, Refused where a named file does not exist.
    """
    book = Book(stage)
    book._open(namespace)
    return book


class Book:
    """One execution of one notebook."""

    def __init__(self, stage: str):
        """Shows the banner; `begin` does the rest."""
        self.stage = stage
        self.run: Run | None = None
        self.execute = False
        self._undoing: Undoing | None = None
        self._restored: Restored | None = None
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
        self._banner = Banner(BANNER)
        self._show_banner(NOT_FINISHED, "The notebook has not reached its last cell.", EXIT_BUG)
        on_error(self._stopped)

    def _open(self, namespace: Mapping[str, Any]) -> None:
        declared = COMMON | OWN[self.stage]
        check_names(declared)
        values = {name: typed(name, namespace.get(name), wanted) for name, wanted in declared.items()}
        content = {name: values[name] for name in ("mapping", "source", "target", "limits", "lease") if values[name]}
        self.parameters = build_parameters(content)
        self._values, self.execute = values, bool(values.get("execute"))
        if self.stage == "05_rollback":
            try:
                self._undoing = Undoing(
                    values["checkpoint"], values["outputs"], self.parameters, values["accept_changed"]
                )
            except Refused:
                if values["checkpoint"] or self.execute:
                    raise
                self._headline = "There is nothing to roll back: no run of these parameters has a checkpoint."
                return
            self.run, self.parameters = self._undoing.checkpoint.run, self._undoing.checkpoint.parameters
        else:
            self.run = select_run(
                self.stage,
                self.parameters,
                mapping_for(self.stage, self.parameters),
                outputs=values["outputs"] or "outputs",
                run_id=values["run_id"],
                tables=values.get("tables"),
                migrated=bool(values.get("retry_failed") or values.get("delta")),
            )
        given = {name: values[name] for name in ("break_lock", "accept_drift", "accept_changed") if name in values}
        self._work = Steps(self.run, self.parameters.lease, watch=Progress, **given)
        if not is_headless():  # the command did it before it started this kernel
            control.clear(self.run)
        audit.begin(self.run, self.stage)
        self.run.logger().info("%s begins", self.stage)
        sides = map(_side_name, (self.parameters.source, self.parameters.target))
        self._facts = [("run", self.run.id), *zip(("from", "to"), sides, strict=True)]
        self._show_banner(NOT_FINISHED, "The notebook has not reached its last cell.", EXIT_BUG)

    # steps of 01 to 04

    @refused_as(Refused)
    def plan(self) -> Plan:
        """The plan: parameters and mapping matched with the real tables. Read-only."""
        return open_plan(self.parameters, chosen=self._values.get("tables") or None, run_id=self.run.id)

    def analyze(self, plan: Plan) -> Analysis:
        """The dry run over every page. Reads both sides; writes the analysis into the run's folder."""
        done = self._work.analyze(plan)
        analysis: Analysis = done.result
        headline = (
            f"{analysis.records:,} records in {plural(len(analysis.tables), 'table')}, "
            f"{analysis.relationships:,} references; {json_analysis.left_open(plan, done.content['totals'], analysis.alerts)}."
        )
        self._done(done, headline)
        return analysis

    def confirm(self, action: str, *, always: bool = True) -> None:
        """Shows how the user confirmed the writing. Raises Refused where nobody did. Asks nothing without execute."""
        if not self.execute:
            self.show(html.note, "execute is False: what follows shows the plan and writes nothing.")
            return
        ask = input if interactive() else None
        needed = always or self.parameters.target.production
        line = confirm(self.parameters.target, self._values["confirm"], action, needed=needed, ask=ask)
        self._confirmed = True
        self.run.logger().info("%s: %s", action, line)
        self.show(html.note, f"{action}: {line}.")

    def create_tables(self, plan: Plan) -> list[Created] | None:
        """Creates the missing target tables. Writes to the target's account, with execute."""
        if not self._may_write():
            missing = [(entry.name, entry.target) for entry in plan.missing_targets()]
            self._planned([f"create {table} for {entry}" for entry, table in missing] or ["create no table: all exist"])
            return None
        done = self._work.create_tables(plan, last=not self._values["table"])
        self._created = done.result
        if done.content:
            self._done(done, f"{plural(len(done.result), 'table')} created; every target table exists.")
        return done.result

    @refused_as(Refused)
    def canary(self, table: str | None = None) -> Canary | None:
        """Inserts a few items of one entry with what they refer to, compares and undoes them. Writes to the target."""
        table = table or self._values["table"]
        limit, keep = self._values["limit"], self._values["keep"]
        if not table:
            return None
        if limit < 1:
            raise Refused(f"limit is {limit}; test at least one item.")
        plan = self.plan()
        plan.mapping.check_names([table])
        if not self._may_write():
            closure = collect(expiry.as_of(self.run, plan), table, limit, {})
            per_entry = Counter(row.entry for row in closure.rows)
            self._planned([f"insert {plural(n, 'item')} of {entry}, compare, undo" for entry, n in per_entry.items()])
            return None
        done = self._work.test(plan, table, limit, keep=keep, created=self._created)
        canary: Canary = done.result
        inserted = sum(counts["inserted"] for counts in canary.state.tables.values())
        end = "kept" if keep else f"{plural(canary.undone.deleted, 'insert')} undone"
        headline = f"{plural(len(canary.closure.rows), 'item')} compared, {inserted:,} of them inserted; {end}."
        self._done(done, headline)
        return canary

    @refused_as(Refused)
    def backups(self, plan: Plan) -> dict[str, dict[str, Any]]:
        """Target table → its backup before the first insert; {} where the target is not production. Read-only."""
        found = backup_gate.outlook(self.run, plan)
        if not self.execute:
            wanted = {table: about["kind"] for table, about in found.items() if not about.get("arn")}  # else taken
            self._planned([backup_gate.PLANNED[kind].format(table) for table, kind in wanted.items()], show=False)
        return found

    def migrate(self, plan: Plan) -> Migration | None:
        """Starts or resumes the migration. Writes to the target and the run's folder, with execute."""
        again = bool(self._values["retry_failed"])
        if self._values["delta"]:
            return self._catch_up(plan)
        if not self._may_write() and again:
            waiting = failed(self.run, list(plan.routes))
            steps = [f"retry {plural(number, 'failed item')} of {entry}" for entry, number in waiting.items()]
            self._planned(steps or ["retry nothing: no item failed"])
            return None
        if not self.execute:
            entries = [route.entry for route in plan.routes.values()]
            self._planned([f"insert {entry.name} from {entry.source} into {entry.target}" for entry in entries])
            return None
        done = self._work.migrate(plan, retry_failed if again else migrate)
        migration: Migration = done.result
        totals = done.content["totals"]
        nothing = "no item had failed" if again else "this run was complete"
        first = f"Nothing was written: {nothing}. " if migration.wrote_nothing else ""
        left = f", {totals['failed']:,} still failed" if again and totals["failed"] else ""
        headline = (
            f"{first}{totals['inserted']:,} of {totals['scanned']:,} items inserted, "
            f"{totals['already_there']:,} already there{left}."
        )
        if migration.failure:  # its last words may be a command to copy
            before = "" if migration.undone else f"{headline} "
            headline = f"{before}Failed: {migration.failure}{report.taken_back(migration)}"
        self._done(done, headline)
        return migration

    def _catch_up(self, plan: Plan) -> Migration | None:
        """Brings the target up to date with the source; without execute it only counts the changes."""
        if self._values["retry_failed"]:
            raise Refused("delta and retry_failed cannot run together; run one after the other.")
        if not self._may_write():
            with Progress(self.run, plan, "compared") as on_page:
                self._planned(catch_up(self.run, plan, on_page, write=False).drift.steps())
            return None
        done = self._work.migrate(plan, catch_up)
        self._done(done, done.result.drift.headline())
        return done.result

    def validate(self, plan: Plan) -> Validation | None:
        """Starts or resumes the comparison of both sides; writes the report. With `repair` it first inserts what is missing."""
        word = self._values["repair"]
        if word and not self._confirmed:
            self.confirm("repair")
        if word and not self._may_write():
            self._planned(self._work.plan_repair(plan, word))
            return None
        done = self._work.repair(plan, word) if word else self._work.validate(plan)
        self._done(done, done.result.headline())
        return done.result

    # steps of 05

    def preview(self) -> Preview:
        """The items that the rollback would look at, from the journal alone. Read-only."""
        if self._undoing is None:
            return Preview({}, {})
        self._facts.append(("checkpoint", self._undoing.checkpoint.path.name))
        preview = self._undoing.preview(self._values["delete_tables"], self._values["restore_from"])
        for entry, number in preview.entries.items() if not self.execute else ():
            self._planned([f"delete {plural(number, 'item')} of {entry} where unchanged"])
        for entry, number in preview.unknown.items() if not self.execute else ():
            unknown = f"{plural(number, 'item')} of {entry} announced without a result"
            self._planned([f"look up {unknown}, and delete what is there and equal"])
        return preview

    def undo(self) -> Undone | None:
        """Deletes what the stage inserted and nobody changed. Writes to the target and the journal, with execute."""
        if not self._may_write():
            self._planned([])
            return None
        done = self._work.undo(self._undoing)
        self._done_rollback(done, done.result)
        return done.result

    def restore(self, undone: Undone | None) -> Restored | None:
        """Restores what `restore_from` names: into a new table, or, from a restored one, what the target lacks. With execute."""
        name = self._values["restore_from"]
        if undone is None or not name:
            self._planned([self._undoing.wanted(name).plan()] if name and self._undoing else [])
            return None
        if interactive() and input(f"Restore from {name}? Type RESTORE to confirm: ").strip() != "RESTORE":
            raise Refused("the restore was not confirmed; nothing was restored.")
        with telling() as tell:
            done = self._work.restore(self._undoing, undone, self._undoing.wanted(name), tell)
        self._restored = done.result
        self._done_rollback(done, undone)
        return self._restored

    def delete_tables(self, undone: Undone | None) -> list[Any] | None:
        """Deletes the tables named in the parameters that this run created and that are empty now. With execute."""
        names = self._values["delete_tables"]
        if undone is None or not names:
            self._planned([f"delete table {name} when it is empty" for name in names])
            return None
        if interactive() and input(f"Delete {', '.join(names)}? Type DELETE to confirm: ").strip() != "DELETE":
            raise Refused("the deletion was not confirmed; no table was deleted.")
        done = self._work.delete_tables(self._undoing, undone, names, self._restored)
        self._done_rollback(done, undone)
        return done.result

    def _done_rollback(self, done: Done, undone: Undone) -> None:
        headline = (
            f"{plural(undone.deleted, 'item')} deleted, {undone.kept_edited:,} kept because they were edited, "
            f"{undone.not_found:,} not found."
        )
        self._done(done, headline)
        self._exit_code = int(any(alert.level for alert in done.alerts))

    # showing

    def show(self, view: Callable[..., str], *results: Any) -> None:
        """Displays a view of the steps' results, or why there is none."""
        without = "Not requested: nothing was done here." if self.execute else "Nothing to show: execute is False."
        show(view, *results, without=without)

    show_frame = staticmethod(show_frame)

    def choose_table(self, plan: Plan) -> Any:
        """A dropdown of the entries, set to the parameter; its value is the test's entry. In batch it is only text."""
        chosen = self._values["table"]
        static = html.note(f"Entry to test: {chosen or 'none, only the tables are created'}.")
        if not interactive():
            self.show(lambda: static)
            return Chosen(chosen)
        return dropdown("Test", [("none", ""), *((name, name) for name in plan.routes)], chosen, static)

    def finish(self) -> None:
        """Updates the verdict at the top and shows the open items here."""
        if self._content is None:
            self._verdict, self._exit_code = PLANNED, 0
            self._headline = self._headline or "Nothing was written: execute is False. The plan is below."
        verdict = self._verdict or worst(self._alerts)
        code = self._exit_code if self._exit_code is not None else int(verdict != PASS)
        self._show_banner(verdict, self._headline, code)
        if self.run is None:
            return
        if self._content is not None and self._content["held_back"]:
            self.show(views.held_back, self._content["held_back"])
        self.show(lambda: views.reproduce(self.stage, self.run, self._file, self._values))  # a plan has no file
        self.run.logger().info("%s ends: %s", self.stage, verdict)
        audit.append(self.run, self.stage, audit.SAVING, journals=self._journals)

    # inside

    def _may_write(self) -> bool:
        if self.execute and not self._confirmed:
            raise Refused("the confirmation cell was not run; run the cells in order.")
        return self.execute

    def _planned(self, steps: list[str], *, show: bool = True) -> None:
        self._steps = [*self._steps, *steps]
        if steps and show:
            self.show(html.note, "Would " + "; ".join(steps) + ".")

    def _done(self, done: Done, headline: str) -> None:
        accepted = "".join(f" Accepted: {sentence}." for sentence in self._work.accepted)
        self._content, self._file, self._headline = done.content, done.path.name, headline + accepted
        self._alerts = list(done.alerts)
        self._verdict = done.content["verdict"]
        self._journals = [done.journal] if done.journal else self._journals

    def _show_banner(self, verdict: str, headline: str, exit_code: int, resume: str | None = "") -> None:
        open_items = views.alerts(self._alerts) if self._content is not None else ""
        if resume and self.stage == "03_migrate":
            open_items = html.note(STAYS)
        self._banner.show(
            {
                "text/html": html.banner(self.stage, verdict, headline, self._facts) + open_items,
                "text/plain": f"{self.stage}: {verdict}. {headline}",
                RESULT: {
                    "stage": self.stage,
                    "verdict": verdict,
                    "exit_code": exit_code,
                    "headline": headline,
                    "resume": resume,  # its last sentence; None where the same command is not the way on
                    "run_id": self.run.id if self.run else None,
                    "file": self._file,
                    "plan": self._steps,
                },
            }
        )

    def _stopped(self, error: BaseException) -> None:
        """Shows in the banner why a cell stopped the notebook."""
        error, resume = explained(error, self.run, self.stage)
        if isinstance(error, RunbookError):
            self._show_banner(ended_by(error), str(error), error.exit_code, resume)
        else:
            self._show_banner(STOPPED, f"A bug in the program: {type(error).__name__}. See the cell below.", EXIT_BUG)
        if self.run:
            self.run.logger().error("%s stops: %s", self.stage, type(error).__name__)


def _side_name(side: Any) -> str:
    return side.environment + (f" ({side.region})" if side.region else "")
