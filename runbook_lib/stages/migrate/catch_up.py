"""03_migrate with `delta`: a second walk over the source brings the target up to date.

1. An item that the journal does not know is inserted.
2. An item that changed in the source, and whose copy is still as this run inserted it: the copy is deleted, with an undo's
   care, and the new version inserted.
3. A copy that was edited in the target stays, and so does the copy of an item that is gone from the source. Both are listed.

A pass may die anywhere: the next one reads in the journal what was done, and in the target what arrived.
"""

from collections import Counter

from ...errors import DynamoError, Failed, Interrupted, Refused
from ...journal.index import Index
from ...journal.snapshot import Part, Snapshot
from ...journal.stage import Stage
from ...run.folder import Run
from ...walk.insert import OnPage
from ...walk.plan import Plan
from ...walk.preread import prepare
from ...walk.walk import walk
from ..execution import check_can_write, ensure_checkpoint, resumable
from . import backup_gate as backups
from .delta import SecondWalk
from .drift import Drift, Notes
from .migrate import Migration, migration_of, walks_of


def catch_up(run: Run, plan: Plan, on_page: OnPage | None = None, *, write: bool = True) -> Migration:
    """One pass over those of the plan's entries that the run has migrated. Writes to the target, the journal and `drift.jsonl`.

    Without `write` it only counts what there is to do. Raises Refused (nothing written) where the run is not finished or was
    rolled back, Interrupted (the same command resumes). Items that cannot be written stay failed; nothing is rolled back.
    """
    with run.saving(), Stage(run, "migrate") as stage:
        return _catch_up(stage, plan, on_page, write)


def _catch_up(stage: Stage, plan: Plan, on_page: OnPage | None, write: bool) -> Migration:
    run = stage.run
    before = check_can_write(run, stage, plan)
    parts = _parts(before, plan)
    plan = plan.choose([entry for part in parts for entry in part.entries])
    plan.require_targets()
    try:
        plan, winners = prepare(plan)
        if write:
            backups.ensure(stage, plan)
    except DynamoError as problem:
        raise Refused(str(problem)) from None
    counts: Counter = Counter()
    notes = Notes()
    again = f"Run the same command with the run ID {run.id} to do the rest"
    with resumable(run, again, (Interrupted, Failed, DynamoError)):
        with Index(before) as index:
            if write:
                ensure_checkpoint(stage, plan)
                stage.record("delta", entries=list(plan.routes))
            for together in walks_of(parts):
                chosen = plan.choose([entry for part in together for entry in part.entries])
                segments = {part.table: part.segments for part in together}
                with SecondWalk(chosen, stage, index, segments, counts, notes, on_page, write=write) as step:
                    walk(chosen, step, winners=winners, segments=segments)
                    step.conclude()
        drift = Drift(**counts)
        if write:
            notes.write(run.folder)
            stage.record("delta_end", **drift.as_json())
    run.logger().info("delta: %s", ", ".join(f"{number} {name}" for name, number in drift.as_json().items()))
    return migration_of(stage, stage.checkpoint(), wrote_nothing=not write, drift=drift)


def _parts(journal: Snapshot, plan: Plan) -> list[Part]:
    """The passes to repeat. Raises Refused where the run has not finished them."""
    begun = journal.parts()
    journal.check_complete()
    if not begun or not journal.state().finished or not all(part.done for part in begun):
        raise Refused(
            f"run {journal.run_id} has not finished its migration; resume it first with the command without --delta."
        )
    chosen = [part for part in begun if set(part.entries) & plan.routes.keys()]
    for part in chosen:
        if not set(part.entries) <= plan.routes.keys():
            raise Refused(
                f"{', '.join(part.entries)} were migrated in one pass over {part.table}; name all of them with --tables."
            )
    if not chosen:
        raise Refused(
            f"run {journal.run_id} has migrated none of {', '.join(plan.routes)}; name entries that it has migrated."
        )
    return chosen
