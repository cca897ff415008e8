"""The steps of a run that do the work, each in its one order: locks, work, report. Nothing is shown here.

A book shows what they give; the tests drive the same steps without a notebook.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple

from ..dynamo.session import Connection
from ..errors import DynamoError, Interrupted, Refused
from ..journal.snapshot import Snapshot
from ..journal.stage import created_tables
from ..parameters import LeaseSettings
from ..report import json_analysis
from ..report import json_report as report
from ..run.folder import Run
from ..run.locks.locks import hold_targets
from ..stages import execution, expiry, matching
from ..stages.analyze.analyze import analyze
from ..stages.migrate.migrate import Migration, migrate
from ..stages.rollback.drop_tables import TableDeletion
from ..stages.rollback.restore import COPY, Restored, Wanted
from ..stages.rollback.rollback import Undoing
from ..stages.rollback.undo import Undone
from ..stages.test.canary import Created, create_tables, created_notes, run_canary
from ..stages.validate.repair import MISSING, Repaired, repair
from ..stages.validate.validate import validate
from ..verdict import REVIEW, Alert
from ..walk.insert import OnPage
from ..walk.plan import Plan, recall_new_tables

Watch = Callable[[Run, Plan | Undoing, str], AbstractContextManager[OnPage | None]]  # of a run's work in a stage

CONCLUDING = "writing the report"


def unwatched(run: Run, work: Plan | Undoing, stage: str) -> AbstractContextManager[OnPage | None]:
    """Follows no page."""
    return nullcontext()


class Done(NamedTuple):
    """What a step gave, with its report where it wrote one."""

    result: Any
    content: dict[str, Any] | None = None  # of the report
    path: Path | None = None
    alerts: Sequence[Alert] = ()
    journal: Snapshot | None = None  # as the step left it


def refused_as(kind: type[Refused | Interrupted]) -> Callable:
    """Decorates a step: what DynamoDB refuses in it is raised as `kind`.

    Refused where the step has left nothing in the target, Interrupted where the same command goes on from there.
    """

    def decorate(step: Callable) -> Callable:
        @wraps(step)
        def guarded(*arguments, **named):
            try:
                return step(*arguments, **named)
            except DynamoError as problem:
                raise kind(str(problem)) from None

        return guarded

    return decorate


@dataclass(frozen=True)
class Steps:
    """The steps of one run. `watch` makes the block around the work that is called after every page of it."""

    run: Run
    lease: LeaseSettings | None = None
    break_lock: str = ""
    accept_drift: bool = False
    watch: Watch = unwatched
    accept_changed: bool = False
    confirmed: list[str] = field(default_factory=list)  # what the user confirmed, and how, as sentences
    notes: Sequence[Alert] = ()  # for every report
    accepted: list[str] = field(default_factory=list)  # what was not as it was left in the run's folder

    def __post_init__(self) -> None:
        recall_new_tables(created_tables(self.run))

    @contextmanager
    def writing(self, stage: str, target: Connection, tables: Mapping[str, str | None]) -> Iterator[None]:
        """Holds the run and the target tables (name → identity). Refused where another process writes one of them."""
        with (
            self.run.lock(stage),
            hold_targets(target, tables, self.run, break_lock=self.break_lock, lease=self.lease),
        ):
            self._enter(stage if stage != "04_validate" else "03_migrate")  # 04 repairs by the means of 03
            yield

    def _enter(self, notebook: str) -> None:
        accepted = execution.enter(self.run, notebook, accept_changed=self.accept_changed, confirmed=self.confirmed)
        self.accepted.extend(accepted)

    @refused_as(Refused)
    def analyze(self, plan: Plan) -> Done:
        """01. Reads both sides; writes the analysis into the run's folder."""
        plan = expiry.as_of(self.run, plan, renew=True)
        with self.watch(self.run, plan, "01_analyze") as on_page:
            plan, found = matching.analyzed(self.run, plan)
            analysis = analyze(plan, on_page, found)
            plan.meter.do(CONCLUDING)
            execution.done(self.run, "01_analyze")
            written = json_analysis.write_analysis(self.run, plan, analysis, self.notes)
            return Done(analysis, *written, analysis.alerts)

    @refused_as(Refused)
    def create_tables(self, plan: Plan, *, last: bool = True) -> Done:
        """02, the tables that are missing; not the `last` step where a test follows, which reports them.

        Writes to the target's account and the run's folder.
        """
        with self.run.lock("02_test"), self.watch(self.run, plan, "02_test"):
            self._enter("02_test")
            created = create_tables(self.run, plan)
            if not last:
                return Done(created)
            execution.done(self.run, "02_test")
            alerts = [Alert("", c.table, f"created for {c.entry}", "Nothing to do.") for c in created]
            alerts += [*created_notes(created), *self.notes]
            return Done(created, *report.write_test(self.run, plan, created, None, alerts), alerts)

    @refused_as(Refused)
    def test(self, plan: Plan, table: str, limit: int, *, keep: bool, created: Sequence[Created] = ()) -> Done:
        """02, the items. Writes to the target and the run's folder."""
        with self.writing("02_test", plan.target, plan.targets()), self.watch(self.run, plan, "02_test"):
            plan.meter.do(f"inserting items of {table} with what they refer to, comparing, undoing")
            canary = run_canary(self.run, plan, table, limit, keep=keep)
            execution.done(self.run, "02_test", canary.journal)
            alerts = [*report.canary_alerts(canary), *created_notes(created), *self.notes]
            return Done(
                canary, *report.write_test(self.run, plan, list(created), canary, alerts), alerts, canary.journal
            )

    def migrate(self, plan: Plan, work: Callable[..., Migration] = migrate) -> Done:
        """03: `work` is migrate, retry_failed, catch_up or follow. Writes to the target and the run's folder."""
        with (
            self.writing("03_migrate", plan.target, plan.targets()),
            self.watch(self.run, plan, "03_migrate") as on_page,
        ):
            migration = work(self.run, plan, on_page, accept_drift=self.accept_drift)
            plan.meter.do(CONCLUDING)
            execution.done(self.run, "03_migrate", migration.journal)
            content, path = report.write_migration(self.run, plan, migration, self.notes)
        if migration.followed and migration.followed.stopped:
            raise migration.followed.stopped
        alerts = [Alert(**{**alert, "level": alert["level"].replace("NOTE", "")}) for alert in content["alerts"]]
        return Done(migration, content, path, alerts, migration.journal)

    @refused_as(Refused)
    def validate(self, plan: Plan) -> Done:
        """04. Reads both sides; writes its journal and report into the run's folder."""
        with self.run.lock("04_validate"):
            return self._compare(plan)

    @refused_as(Refused)
    def plan_repair(self, plan: Plan, word: str) -> list[str]:
        """What `repair` would do, as sentences. Reads both sides."""
        with self.watch(self.run, plan, "04_validate") as on_page:
            return repair(self.run, plan, on_page, word=word, write=False).steps()

    @refused_as(Interrupted)
    def repair(self, plan: Plan, word: str = MISSING) -> Done:
        """04 that first inserts what is missing. Writes to the target, to 03's journal and report, and as 04."""
        with self.writing("04_validate", plan.target, plan.targets()):
            with self.watch(self.run, plan, "04_validate") as on_page:
                repaired = repair(self.run, plan, on_page, word=word)
                plan.meter.do(CONCLUDING)
                execution.done(self.run, "03_migrate", repaired.migration.journal)
                report.write_migration(self.run, plan, repaired.migration)
            execution.done(self.run, "03_migrate", repaired.migration.journal)  # 04's report continues a recorded one
            return self._compare(plan, repaired)

    def _compare(self, plan: Plan, repaired: Repaired | None = None) -> Done:
        with self.watch(self.run, plan, "04_validate") as on_page:
            validation = validate(self.run, plan, on_page)
            plan.meter.do(CONCLUDING)
            if repaired:
                validation.alerts.extend(repaired.alerts())
            for sentence in execution.not_as_left(self.run, validation.migrated):
                action = (
                    "See `runbook verify`; no command writes to the target until it is as it was, or you accept it."
                )
                message = f"the run's folder is not as it was left: {sentence}"
                validation.alerts.append(Alert(REVIEW, "", message, action))
            validation.alerts.extend(self.notes)
            written = report.write_validation(self.run, plan, validation, repaired)
        return Done(validation, *written, validation.alerts, validation.migrated)

    @refused_as(Interrupted)
    def undo(self, undoing: Undoing) -> Done:
        """05. Deletes from the target what the checkpoint's stage inserted; writes to the journal and the run's folder."""
        with (
            self.writing("05_rollback", undoing.target(), undoing.tables()),
            self.watch(self.run, undoing, "05_rollback") as on_page,
        ):
            undone = undoing.undo(on_page)
            undoing.meter.do(CONCLUDING)
            execution.done(self.run, "05_rollback", undone.journal)
            return self._concluded(undoing, undone)

    @refused_as(Interrupted)
    def restore(self, undoing: Undoing, undone: Undone, wanted: Wanted) -> Done:
        """05, the restore; its result is the `Restored`. Writes to the target's account, the run and its journal."""
        tables = {wanted.table: undoing.tables()[wanted.table]} if wanted.kind == COPY else {}
        with (
            self.writing("05_rollback", undoing.target(), tables),
            self.watch(self.run, undoing, "05_rollback"),
        ):
            execution.done(self.run, "05_rollback")  # it lists as it goes
            restored = undoing.restore(wanted)
            undoing.meter.do(CONCLUDING)
            return self._concluded(undoing, undone, restored=restored)._replace(result=restored)

    @refused_as(Interrupted)
    def delete_tables(
        self, undoing: Undoing, undone: Undone, names: list[str], restored: Restored | None = None
    ) -> Done:
        """05, the tables; its result are the `TableDeletion`s. Writes to the target's account and the run's folder."""
        with self.run.lock("05_rollback"), self.watch(self.run, undoing, "05_rollback"):
            undoing.meter.do("deleting tables")
            deletions = undoing.delete_tables(names)
            return self._concluded(undoing, undone, deletions, restored)._replace(result=deletions)

    def _concluded(
        self,
        undoing: Undoing,
        undone: Undone,
        deletions: Sequence[TableDeletion] = (),
        restored: Restored | None = None,
    ) -> Done:
        alerts = [*undoing.alerts(undone, list(deletions), restored), *self.notes]
        deleted = [deletion.table for deletion in deletions if deletion.deleted]
        stage = undoing.checkpoint.stage
        written = report.write_rollback(
            self.run, undoing.sides(), undone, deleted, alerts, stage, restored, undoing.meter
        )
        return Done(undone, *written, alerts, undone.journal)
