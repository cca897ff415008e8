"""03_migrate: the walk with insert as its last step; starting, resuming, failing, and undoing where the limits say so."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...dynamo import tables
from ...errors import DynamoError, Failed, Interrupted, Refused, Stopped
from ...journal import audit
from ...journal import log as journal
from ...journal.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from ...journal.stage import Part, Stage, State
from ...run.folder import Run
from ...verdict import plural
from ...walk.insert import OnPage
from ...walk.plan import Plan
from ...walk.preread import prepare
from ...walk.workers import engines
from ...walk.workers.shared_journal import settle
from ..rollback.undo import Undone, undo
from . import backup_gate as backups
from .drift import Drift


@dataclass(frozen=True)
class Migration:
    """What a migration did."""

    state: State
    checkpoint: Path | None
    wrote_nothing: bool  # the run was finished before
    failure: str | None  # why it could not be completed
    undone: Undone | None = None  # what taking it back did, after a failure
    drift: Drift | None = None  # what a second walk found and did: see delta.py


def migrate(run: Run, plan: Plan, on_page: OnPage | None = None) -> Migration:
    """The migration of the plan's chosen entries, begun or gone on with. Writes to the target and to the run's folder.

    Raises Refused (nothing written) and Interrupted (the same run id resumes). A failure is not raised: it is in the
    result, after the undo that `limits.on_failure` asks for.
    """
    with run.saving():
        return _migrate(run, plan, on_page)


def _migrate(run: Run, plan: Plan, on_page: OnPage | None) -> Migration:
    stage = Stage(run, "migrate")
    check_can_write(run, stage, plan)
    plan.require_targets()
    keep_going = plan.parameters.limits.on_failure == "keep"
    if (failure := _unanswered_failure(stage)) and not keep_going:
        path = checkpoint_path(stage)
        undone = _take_back(run, plan, path)
        return Migration(stage.state(), path, False, failure, undone)
    for event in stage.events("failed"):
        if event["stop"]:
            raise Refused(f"run {run.id} was stopped: {event['reason']}. Correct that, and begin a new run.")
    passes = _passes(plan, stage)
    if not passes:
        if not stage.state().finished:
            stage.record("end")
        return Migration(stage.state(), ensure_checkpoint(stage, plan), True, None)
    chosen = sorted({entry for parts in passes for part in parts for entry in part.entries})
    plan = plan.choose(chosen)
    try:
        plan, winners = prepare(plan)
        backups.ensure(stage, plan)
        was_empty = look_at_targets(stage, plan)
    except DynamoError as problem:
        raise Refused(str(problem)) from None
    failure, undone = None, None
    try:
        path = begin(stage, plan, chosen, [part for parts in passes for part in parts])
        execution = stage.executions()
        for parts in passes:
            part_plan = plan.choose([entry for part in parts for entry in part.entries])
            segments = {part.table: part.segments for part in parts}
            resume = {(part.table, number): at for part in parts for number, at in part.positions.items()}
            engines.insert(
                part_plan,
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
            undone = _take_back(run, plan, path)
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted by hand; {resume_hint(run)}.") from None
    except Interrupted as problem:
        run.logger().error("interrupted: %s", problem)
        raise Interrupted(f"{str(problem).rstrip('.')}. {resume_hint(run)}.") from problem
    return Migration(stage.state(), path, False, failure, undone)


def _unanswered_failure(stage: Stage) -> str | None:
    """Why the last execution failed, where it died before it could do something about it."""
    reason, last = None, None
    for event in stage.events("execution", "failed", "end"):
        last, reason = event["kind"], event.get("reason")
    failed = sum(counts["failed"] for counts in stage.state().tables.values())
    if last == "execution" and failed:
        return f"{plural(failed, 'item')} could not be written, see failed.jsonl"
    return reason


def _take_back(run: Run, plan: Plan, path: Path) -> Undone:
    try:
        return undo(checkpoint_of(Stage(run, "migrate"), plan))
    except (Interrupted, KeyboardInterrupt, DynamoError) as problem:
        raise Interrupted(
            f"the migration failed, and taking it back was interrupted ({problem or 'by hand'}). "
            f"Go on with: runbook rollback --checkpoint {path} --execute --confirm ENVIRONMENT"
        ) from problem


def resume_hint(run: Run) -> str:
    """How to go on."""
    return f"Run it again with the run id {run.id} to go on where it was"


def check_can_write(run: Run, stage: Stage, plan: Plan) -> None:
    """Refused where the run was rolled back, was begun with something else, or was analyzed with something else."""
    journal.wait_for_writers(stage.folder)
    settle(stage)
    state = stage.state()
    if stage.name == "migrate" and state.rolled_back:
        raise Refused(f"run {run.id} was rolled back; start a new run for another migration.")
    if stage.name == "migrate" and state.rolling_back:
        raise Refused(f"run {run.id} was rolled back in part; give the rollback command again, then start a new run.")
    stage.check_identity(plan.identity)
    audit.check_journals(run)
    analysis = run.latest_json("migration-analysis")
    if analysis:
        for key, value in stage.identity(plan.identity).items():
            if key in ("mapping", "environments", "code") and analysis["fingerprints"][key] != value:
                raise Refused(
                    f"the analysis in run {run.id} was made with another {key}; analyze again (a new run), "
                    "so that what was decided on is what is done."
                )


def look_at_targets(stage: Stage, plan: Plan) -> dict[str, bool]:
    """Target table → whether it is empty now, at the beginning of this execution; recorded.

    An earlier execution's answer is no use: what others have inserted since must not be taken for ours.
    """
    names = sorted({route.entry.target for route in plan.routes.values()})
    empty = {name: tables.is_empty(plan.target, name) for name in names}
    stage.record("targets", empty=empty)
    return empty


def begin(stage: Stage, plan: Plan, chosen: list[str], parts: Sequence[Part] = ()) -> Path:
    """Records a new execution and, at the first, writes the checkpoint. Gives the checkpoint's path."""
    told = [[part.table, part.entries, part.segments] for part in parts]  # so that a first record can be made again
    stage.record("execution", entries=chosen, parts=told, **stage.identity(plan.identity))
    path = ensure_checkpoint(stage, plan)
    stage.run.logger().info("%s: execution %d, %d entries", stage.name, stage.executions(), len(chosen))
    return path


def ensure_checkpoint(stage: Stage, plan: Plan) -> Path:
    """The stage's checkpoint; written where there is none, or no whole one any more."""
    path = checkpoint_path(stage)
    if path is not None:
        try:
            read_checkpoint(path)
        except Refused as problem:
            stage.run.logger().warning("another checkpoint is written: %s", problem)
        else:
            return path
    path = write_checkpoint(checkpoint_of(stage, plan))
    stage.record("checkpoint", file=path.name)
    return path


def checkpoint_of(stage: Stage, plan: Plan) -> Checkpoint:
    """The checkpoint of a stage for a plan, not yet written."""
    levels = plan.choose(list(plan.all_routes)).levels()
    entries = {
        name: {"source": route.entry.source, "target": route.entry.target, "level": levels[route.entry.source]}
        for name, route in plan.all_routes.items()
    }
    models = {name: entry.model for name, entry in plan.mapping.entries.items()}
    mapping = {
        "file": plan.mapping.file,
        "fingerprint": plan.mapping.fingerprint,
        "entries": {
            name: {**about, **models[name].model_dump(mode="json", by_alias=True, exclude_unset=True)}
            for name, about in entries.items()
        },
    }
    return Checkpoint(
        stage.run, stage.name, plan.parameters, entries, plan.identity, plan.sides(), mapping, stage.backups()
    )


def checkpoint_path(stage: Stage) -> Path | None:
    """The checkpoint that the stage wrote."""
    files = [event["file"] for event in stage.events("checkpoint")]
    return stage.run.folder / files[-1] if files else None


def _passes(plan: Plan, stage: Stage) -> list[list[Part]]:
    """What is left to do: first the passes an earlier execution left unfinished, then those never begun."""
    begun = stage.parts()
    stage.check_complete(begun)
    unfinished = [part for part in begun if not part.done and set(part.entries) & plan.routes.keys()]
    segments = plan.parameters.limits.segments
    for part in unfinished:
        if segments not in (None, part.segments):
            raise Refused(
                f"the pass over {part.table} was begun in {plural(part.segments, 'segment')}, and limits.segments says "
                f"{segments}; take that out to resume."
            )
        if not set(part.entries) <= plan.routes.keys():
            raise Refused(
                f"the pass over {part.table} was begun for {', '.join(part.entries)}; resume it with --tables naming all."
            )
    covered = {entry for part in begun for entry in part.entries}
    fresh = []
    for table, routes in plan.by_source().items():
        if entries := [route.entry.name for route in routes if route.entry.name not in covered]:
            fresh.append(Part(table, entries, plan.segments(table)))
    return walks_of([*unfinished, *fresh])


def walks_of(parts: list[Part]) -> list[list[Part]]:
    """The passes, grouped so that one walk reads a table once."""
    walks: list[list[Part]] = []
    for part in parts:
        place = next((parts for parts in walks if part.table not in {other.table for other in parts}), None)
        place.append(part) if place is not None else walks.append([part])
    return walks
