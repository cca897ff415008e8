"""03_migrate: the walk with insert as its last step; it starts, resumes, fails, and undoes where the limits say so."""

import shlex
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ...errors import DynamoError, Failed, Interrupted, Refused, Stopped
from ...journal.snapshot import Pass, Snapshot, State
from ...journal.stage import Stage
from ...run.folder import Run
from ...verdict import plural
from ...walk.insert import OnPage
from ...walk.plan import Plan
from ...walk.preread import prepare
from ...walk.walk import Winners
from ...walk.workers import engines
from .. import expiry, matching, sealed
from ..execution import (
    begin,
    check_can_write,
    checkpoint_of,
    ensure_checkpoint,
    look_at_targets,
    resumable,
)
from ..rollback.disclaim import disclaim
from ..rollback.undo import Undone, undo
from ..sealed import Held
from . import backup_gate
from .drift import Drift
from .followed import Followed


@dataclass(frozen=True)
class Migration:
    """What a migration did."""

    state: State
    checkpoint: Path | None
    wrote_nothing: bool  # the run had finished before
    failure: str | None  # why it could not be completed
    undone: Undone | None = None  # the undo after a failure
    drift: Drift | None = None  # of a delta: see delta.py
    journal: Snapshot | None = None  # the stage's journal after it
    held: Held | None = None  # what is not as 01 saw it
    followed: Followed | None = None  # what the streams held

    @property
    def ledgers(self) -> dict[str, dict[str, Counter]]:
        """Entry → what became of its source attributes."""
        seen = self.journal.seen() if self.journal else {}
        return {name: seen[name].ledger for name in self.state.tables if name in seen}


def migrate(run: Run, plan: Plan, on_page: OnPage | None = None, *, accept_drift: bool = False) -> Migration:
    """Migrates the plan's chosen entries; starts or resumes. Writes to the target and to the run's folder.

    `accept_drift` goes on where keys, indexes or projections are not as 01 saw them. Raises Refused (nothing written) and
    Interrupted (the same run ID resumes). A failure is not raised: the result holds it, after the undo that
    `limits.on_failure` asks for.
    """
    with run.saving(), Stage(run, "migrate") as stage:
        return migrate_in(stage, plan, on_page, accept_drift=accept_drift)


def migrate_in(stage: Stage, plan: Plan, on_page: OnPage | None, *, accept_drift: bool) -> Migration:
    """As `migrate`, in the journal that somebody has opened."""
    run = stage.run
    plan = matching.frozen(run, plan, "03_migrate")
    before = check_can_write(run, stage, plan)
    plan.require_targets()
    plan = expiry.as_of(run, plan)
    keep_going = plan.parameters.limits.on_failure == "keep"
    if (failure := _unanswered_failure(before)) and not keep_going:
        path = stage.checkpoint()
        failure, undone = _take_back(stage, plan, path, failure)
        return migration_of(stage, path, failure=failure, undone=undone)
    for event in before.events("failed"):
        if event["stop"]:
            raise Refused(
                f"run {run.id} was stopped: {event['reason'].rstrip('.')}. Correct that, then start a new run."
            )
    walks = passes_by_walk(_passes_left(plan, before))
    if not walks:
        sealed.accept(stage, accepted=accept_drift)
        if not before.state().finished:
            stage.record("end")
        return migration_of(stage, ensure_checkpoint(stage, plan), wrote_nothing=True)
    chosen = sorted({entry for passes in walks for one in passes for entry in one.entries})
    # What the journal knows is shown from the first moment: getting ready may take longer than a page.
    earlier = before.items(plan.routes)
    plan.count(
        earlier=earlier,
        uncertain=before.uncertain(plan.routes),
        left={one.table for passes in walks for one in passes},
        execution=before.executions + 1,
    )
    plan, winners, was_empty = ready_to_insert(stage, plan.choose(chosen), accept_drift)
    failure, undone = None, None
    try:
        with resumable(run):
            path = begin(stage, plan, chosen, earlier.total())
            execution = stage.executions()
            plan.meter.do("")
            for passes in walks:
                chosen_plan = plan.choose([entry for one in passes for entry in one.entries])
                segments = {one.table: one.segments for one in passes}
                resume = {(one.table, number): at for one in passes for number, at in one.positions.items()}
                engines.insert(
                    chosen_plan,
                    stage,
                    execution,
                    was_empty,
                    winners=winners,
                    segments=segments,
                    resume=resume,
                    stop_on_failure=not keep_going,
                    on_page=on_page,
                )
            stage.record("end")
    except (Failed, DynamoError) as problem:
        failure = str(problem)
        run.logger().error("failed: %s", failure)
        stage.record("failed", reason=failure, stop=isinstance(problem, Stopped))
        if not keep_going:
            failure, undone = _take_back(stage, plan, path, failure)
    return migration_of(stage, path, failure=failure, undone=undone)


def ready_to_insert(stage: Stage, plan: Plan, accept_drift: bool) -> tuple[Plan, Winners, dict[str, bool]]:
    """What `prepare` gives, and target table → whether it is empty, once the backups are there.

    Writes to the journal. Raises Refused, also where a target table is not as 01 saw it.
    """
    try:
        plan, changed = matching.before_first_insert(stage, plan)
        sealed.hold(stage, plan, accepted=accept_drift, more=changed)
        plan.meter.do("looking for target keys that several items have")
        plan, winners = prepare(plan)
        backup_gate.ensure(stage, plan)
        plan.meter.do("looking at the target tables")
        disclaim(stage, plan)
        return plan, winners, look_at_targets(stage, plan)
    except DynamoError as problem:
        raise Refused(str(problem)) from None


def migration_of(
    stage: Stage,
    checkpoint: Path | None,
    *,
    wrote_nothing: bool = False,
    failure: str | None = None,
    undone: Undone | None = None,
    drift: Drift | None = None,
    followed: Followed | None = None,
) -> Migration:
    """What a migration did, with the stage's journal read once more. Read-only."""
    after = stage.read(undone.journal if undone else None)
    held = sealed.held(after)
    return Migration(after.state(), checkpoint, wrote_nothing, failure, undone, drift, after, held, followed)


def _unanswered_failure(journal: Snapshot) -> str | None:
    """Why the last execution failed, if it died before it could roll back."""
    reason, last = None, None
    for event in journal.events("execution", "failed", "end"):
        last, reason = event["kind"], event.get("reason")
    failed = sum(counts["failed"] for counts in journal.state().tables.values())
    if last == "execution" and failed:
        return f"{plural(failed, 'item')} could not be written, see failed.jsonl."
    return reason


def _take_back(stage: Stage, plan: Plan, path: Path, failure: str) -> tuple[str, Undone | None]:
    """The failure and its undo. Without the right to delete the failure says what is missing, and the items stay."""
    confirmed = ["--execute", "--confirm", plan.parameters.target.environment]
    rest = shlex.join(["runbook", "rollback", "--checkpoint", str(path), *confirmed])
    try:
        return failure, undo(checkpoint_of(stage, plan), meter=plan.meter)
    except (Interrupted, KeyboardInterrupt, DynamoError, Refused) as problem:
        if isinstance(problem, Refused) or (isinstance(problem, DynamoError) and problem.denied):
            return f"{failure} What was inserted is still there: {problem} Then take it back with: {rest}", None
        raise Interrupted(
            f"the migration failed, and its rollback was interrupted ({problem or 'by hand'})",
            f"Finish it with: {rest}",
        ) from problem


def _passes_left(plan: Plan, journal: Snapshot) -> list[Pass]:
    """The passes left to do: first those that an earlier execution left unfinished, then those not started."""
    begun = journal.passes()
    journal.check_complete()
    unfinished = [one for one in begun if not one.done and set(one.entries) & plan.routes.keys()]
    segments = plan.parameters.limits.segments
    for one in unfinished:
        if segments not in (None, one.segments):
            raise Refused(
                f"the pass over {one.table} started with {plural(one.segments, 'segment')}, but limits.segments says "
                f"{segments}; remove that setting to resume."
            )
        if not set(one.entries) <= plan.routes.keys():
            raise Refused(
                f"the pass over {one.table} started for {', '.join(one.entries)}; resume it with --tables naming all of them."
            )
    covered = {entry for one in begun for entry in one.entries}
    fresh = []
    for table, routes in plan.by_source().items():
        if entries := [route.entry.name for route in routes if route.entry.name not in covered]:
            fresh.append(Pass(table, entries, plan.segments(table)))
    return [*unfinished, *fresh]


def passes_to_repeat(journal: Snapshot, plan: Plan, fix: str) -> list[Pass]:
    """Those of the plan's entries. Raises Refused where the run has not finished them."""
    begun = journal.passes()
    journal.check_complete()
    if not begun or not journal.state().finished or not all(one.done for one in begun):
        raise Refused(f"run {journal.run_id} has not finished its migration; {fix}.")
    chosen = [one for one in begun if set(one.entries) & plan.routes.keys()]
    for one in chosen:
        if not set(one.entries) <= plan.routes.keys():
            raise Refused(
                f"{', '.join(one.entries)} were migrated in one pass over {one.table}; name all of them with --tables."
            )
    if not chosen:
        raise Refused(
            f"run {journal.run_id} has migrated none of {', '.join(plan.routes)}; name entries that it has migrated."
        )
    return chosen


def passes_by_walk(passes: list[Pass]) -> list[list[Pass]]:
    """The passes, grouped so that one walk reads a table once."""
    walks: list[list[Pass]] = []
    for one in passes:
        walk = next((walk for walk in walks if one.table not in {other.table for other in walk}), None)
        walk.append(one) if walk is not None else walks.append([one])
    return walks
