"""What the stages share around an execution: checking that it may write, starting it, and saying how to resume it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ..dynamo import tables
from ..errors import Interrupted, Refused
from ..journal import audit
from ..journal.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from ..journal.snapshot import Snapshot
from ..journal.stage import Stage
from ..run.folder import Run, numbering, runs
from ..verdict import plural
from ..walk.plan import Plan
from ..walk.workers.shared_journal import settle
from . import matching, sealed

BY_HAND = "interrupted by hand."
AUDITED = {"test": "02_test", "migrate": "03_migrate"}  # the notebook that writes a stage's journal


@contextmanager
def resumable(run: Run, hint: str = "", causes: tuple[type[Exception], ...] = (Interrupted,)) -> Iterator[None]:
    """A block of work that can be resumed: what interrupts it leaves as Interrupted, and its message ends with how to resume.

    `hint` is that sentence, by default `resume_hint`; a message that has one already keeps it. `causes` are the errors
    that count as an interruption; Ctrl-C always does. Other errors pass. Writes to the run's log.
    """
    hint = hint or resume_hint(run)
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(BY_HAND, hint) from None
    except causes as problem:
        with suppress(OSError):  # the log may be on the disk that is full
            run.logger().error("interrupted: %s", problem)
        if getattr(problem, "hint", ""):
            raise
        raise Interrupted(str(problem), hint) from problem


def resume_hint(run: Run, stage: str = "") -> str:
    """How to resume the run, or its rollback where `stage` is 05_rollback: one sentence."""
    if stage == "05_rollback":
        return "Roll back again with the same checkpoint to resume."
    return f"Run the same command with the run ID {run.id} to resume."


def explained(error: BaseException, run: Run | None, stage: str) -> tuple[BaseException, str | None]:
    """What stopped a stage, its message with the way to resume where it is an interruption.

    Also that sentence, "" where there is none, None where the message names another way than the same command.
    """
    resume = resume_hint(run, stage) if run else ""
    if isinstance(error, KeyboardInterrupt):
        error = Interrupted(BY_HAND, resume)
    if not isinstance(error, Interrupted):
        return error, ""
    if not error.hint:
        error = Interrupted(str(error), resume)
    return error, error.hint if error.hint == resume else None


def enter(run: Run, notebook: str, *, accept_changed: bool = False, confirmed: Sequence[str] = ()) -> list[str]:
    """Checks the run's folder before a notebook writes to the target; gives what was accepted, as sentences.

    The caller holds the run. Raises Refused where the folder is not as it was left, unless `accept_changed`. A checkpoint that
    is gone or cannot be read stops no 02 and 03: they write another one.
    Writes to the audit chain, with what was `confirmed`, and to the run's log.
    """
    if notebook == "03_migrate":
        sealed.read_plan(run)  # it says best what is wrong with the plan

    def accepts(found: audit.Finding) -> bool:
        return accept_changed or (notebook in AUDITED.values() and _is_lost_checkpoint(run, found))

    def elsewhere() -> set[str]:
        return {name for stage in AUDITED for name in Stage(run, stage).elsewhere()}

    with run.saving():
        accepted = audit.enter(run, notebook, accepts=accepts, elsewhere=elsewhere, confirmed=confirmed)
    for sentence in accepted:
        run.logger().warning("accepted: %s", sentence)
    return accepted


def _is_lost_checkpoint(run: Run, found: audit.Finding) -> bool:
    if not found.name.startswith("migration-checkpoint-"):
        return False
    try:
        read_checkpoint(run.folder / found.name)
    except Refused:
        return True
    return False


def done(run: Run, notebook: str, journal: Snapshot | None = None) -> None:
    """Records that the work of a notebook is done, and what it reports comes next. Writes to the audit chain."""
    audit.append(run, notebook, audit.REPORT, journals=[journal] if journal else [])


def not_as_left(run: Run, journal: Snapshot) -> list[str]:
    """What is not as it was left in the run's folder, as sentences, for a notebook that only reads. Read-only."""
    return [one.told for one in audit.check(run, [journal], accepts=lambda one: True)]


def check_can_write(run: Run, stage: Stage, plan: Plan) -> Snapshot:
    """The stage's journal, read once nobody else writes to it; the caller holds the run.

    Raises Refused where the run was rolled back, or started or analyzed with other mapping, environments or code, where a
    target table is another than it was, or where `plan.json` is not as 01 left it.
    """
    found = stage.read(wait=True)
    if stage.unsettled():
        settle(stage)
        found = stage.read()
    state = found.state()
    if stage.name == "migrate" and state.rolled_back:
        raise Refused(f"run {run.id} was rolled back; start a new run for another migration.")
    if stage.name == "migrate" and state.rolling_back:
        raise Refused(f"run {run.id} was rolled back in part; run the rollback command again, then start a new run.")
    stage.check_identity(matching.identity_then(stage, plan.mapping, plan.parameters))
    if stage.name == "migrate":
        _check_targets(stage, plan)
    sealed_plan = sealed.read_plan(run) if stage.name == "migrate" else None
    for known in filter(None, (run.latest_json("migration-analysis"), sealed_plan)):
        for key, value in plan.identity._asdict().items():
            if known["fingerprints"][key] != value:
                raise Refused(
                    f"the analysis in run {run.id} was made with another {key}; analyze again in a new run, "
                    "so that the migration does what you decided on."
                )
    return found


def _check_targets(stage: Stage, plan: Plan) -> None:
    """Refused where a target table is another than the one that an earlier execution wrote into: its items are gone."""
    written = stage.targets()
    for name, identity in plan.targets().items():
        if identity and identity not in written.get(name, {identity}):
            raise Refused(
                f"target table {name} was deleted and made again since run {stage.run.id} wrote into it, or is at another "
                "endpoint; correct the endpoint, or start a new run."
            )


def look_at_targets(stage: Stage, plan: Plan) -> dict[str, bool]:
    """Target table → whether it is empty at the start of this execution. Writes to the journal.

    An earlier execution's answer would be wrong: items that others have inserted since must not count as ours.
    """
    names = sorted({route.entry.target for route in plan.routes.values()})
    empty = {name: tables.is_empty(plan.target, name) for name in names}
    stage.record("targets", empty=empty, tables=plan.targets())
    return empty


def begin(stage: Stage, plan: Plan, chosen: list[str], earlier: int = 0) -> Path:
    """Records a new execution and, at the first, writes the checkpoint. Returns the checkpoint's path.

    `earlier`: items that earlier executions have gone through, for the log.
    """
    with numbering(stage.run.folder.parent):
        about = {"expiry": plan.expiry.as_json()} if plan.expiry else {}
        about |= {"matches": plan.matches.as_json()} if plan.matches else {}
        stage.record("execution", entries=chosen, turn=_next_turn(stage.run), **stage.identity(plan.identity), **about)
    path = ensure_checkpoint(stage, plan)
    told = f"resumed, {plural(earlier, 'item')} from before; " if stage.executions() > 1 else ""
    stage.run.logger().info("%s: execution %d, %s%d entries", stage.name, stage.executions(), told, len(chosen))
    return path


def _next_turn(run: Run) -> int:
    """The number after the highest that an execution of another run beside this one has taken."""
    taken = [0]
    for other in (other for other in runs(run.folder.parent) if other.id != run.id):
        for name in ("test", "migrate"):
            with suppress(Refused):  # a damaged journal is that run's affair
                taken += [event.get("turn", 0) for event in Stage(other, name).events("execution")]
    return 1 + max(taken)


def ensure_checkpoint(stage: Stage, plan: Plan) -> Path:
    """The path of the stage's checkpoint. Writes one where none exists or it is damaged."""
    path = stage.checkpoint()
    if path is not None:
        try:
            read_checkpoint(path)
        except Refused as problem:
            stage.run.logger().warning("another checkpoint is written: %s", problem)
        else:
            return path
    path = write_checkpoint(checkpoint_of(stage, plan), stage)
    audit.append(stage.run, AUDITED[stage.name], audit.WORK, journals=[stage.read()])  # before the first insert
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
