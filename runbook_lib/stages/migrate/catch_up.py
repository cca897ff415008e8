"""03_migrate with `delta`: a second walk over the source brings to the target what has changed there since the first.

What the journal does not know is inserted. Where the target still holds what this run inserted, a changed item's copy is
deleted as an undo would delete it, and the new version inserted. Whatever was edited in the target stays, and so do the
copies of items that are gone from the source; both are listed. A pass may die anywhere: the next one sees in the journal
what was done, and in the target what arrived.
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
    """One pass over what the run has migrated of the plan's entries. Writes to the target, the journal and `drift.jsonl`.

    Without `write` it is only counted what there is to do. Raises Refused where the run is not finished or was rolled back
    (nothing written), Interrupted (the same command goes on). What cannot be written stays failed; nothing is taken back.
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
    again = f"Give the same command again with the run id {run.id}: it does what is left"
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
    """The passes to go over again. Refused where the run is not through with them."""
    begun = journal.parts()
    journal.check_complete()
    if not begun or not journal.state().finished or not all(part.done for part in begun):
        raise Refused(
            f"run {journal.run_id} has not finished its migration; resume it first, by the command without --delta."
        )
    chosen = [part for part in begun if set(part.entries) & plan.routes.keys()]
    for part in chosen:
        if not set(part.entries) <= plan.routes.keys():
            raise Refused(
                f"{', '.join(part.entries)} were migrated in one pass over {part.table}; name all of them under --tables."
            )
    if not chosen:
        raise Refused(f"run {journal.run_id} has migrated none of {', '.join(plan.routes)}; name entries that it has.")
    return chosen
