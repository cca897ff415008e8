"""Which run a stage belongs to: the one named, the latest of the same migration, or a new one."""

from collections.abc import Collection
from pathlib import Path

from ..dynamo.session import check_endpoints
from ..errors import Refused
from ..journal.audit import journal_heads
from ..journal.snapshot import Snapshot, state_of
from ..journal.stage import Stage
from ..mapping.file.load import load_mapping
from ..mapping.model import Mapping
from ..parameters import Parameters
from ..run.folder import Run, new_run, open_run, run_json, runs
from . import matching

DRAFT = "00_draft"  # it makes the mapping file
FIRST = (DRAFT, "01_analyze")  # each begins a new run
LAB = "lab"  # all of them, by hand: the latest run that has not been rolled back


def mapping_for(stage: str, parameters: Parameters) -> Mapping:
    """The mapping of the parameters, by which a run is found; for 00 one without entries. Raises MappingError."""
    return Mapping(parameters.mapping_path().name, {}, False, "") if stage == DRAFT else load_mapping(parameters)


def select_run(
    stage: str,
    parameters: Parameters,
    mapping: Mapping,
    *,
    outputs: str = "outputs",
    run_id: str | None = None,
    name: str | None = None,
    tables: list[str] | None = None,
    migrated: bool = False,
    new: bool = False,
) -> Run:
    """The run for a stage; made where there is none. Writes a new run's folder.

    A run that is named is taken as it is. With `new` it is another one. Else 00 and 01 begin a new one, and the others take
    the latest of the same migration, unless it was rolled back. 03 takes none that was only tested, and one that is complete
    only if it could be resumed. With `migrated` it is the latest that has migrated, in whatever state. Refused where there is
    none, or not the named.
    """
    about = run_json(parameters, mapping, name or Path(parameters.mapping).stem)
    chosen = {"outputs": outputs, "run_id": run_id, "tables": tables, "migrated": migrated, "new": new}
    found = find_run(stage, parameters, mapping, **chosen)
    if found is None and migrated:
        raise Refused(f"no run {run_id or 'of these parameters'} in {outputs}; migrate first.")
    if run_id:
        return open_run(outputs, run_id, about)
    return found or new_run(outputs, about)


def find_run(
    stage: str,
    parameters: Parameters,
    mapping: Mapping,
    *,
    outputs: str = "outputs",
    run_id: str | None = None,
    tables: list[str] | None = None,
    migrated: bool = False,
    new: bool = False,
) -> Run | None:
    """The run that `select_run` takes, None where it would begin one. Refused where that is refused. Read-only."""
    check_endpoints(parameters.source, parameters.target)  # before a folder is made that would hold a password
    if new and (run_id or migrated):
        with_it = "the ID of a run" if run_id else "a run that has migrated"
        raise Refused(f"`new` begins another run, and this goes on with {with_it}; choose one of them.")
    about = run_json(parameters, mapping, "")
    if run_id:
        there = any(run.id == run_id for run in runs(outputs))
        return open_run(outputs, run_id, about) if there else None
    if new or stage in FIRST:
        return None
    found = _latest("04_validate" if migrated else stage, outputs, about["fingerprint"])
    if found is None or migrated or not _is_over(found, stage, mapping, parameters, tables or mapping.entries):
        return found
    return None


def _latest(stage: str, outputs: str, fingerprint: str) -> Run | None:
    """The latest run; for the validation the latest that has migrated, as there is nothing to compare in the others."""
    known = runs(outputs, fingerprint)
    migrated = [run for run in known if Stage(run, "migrate").exists()] if stage == "04_validate" else []
    return next(iter(migrated or known), None)


def checkpoint_file(text: str, outputs: str) -> Path:
    """The path of a checkpoint that somebody names. Refused, naming its files, where that is a run or its folder. Read-only."""
    path = Path(text).absolute()
    run = None if path.exists() else next((run for run in runs(outputs) if run.id == text), None)
    folder = run.folder if run else path
    if not folder.is_dir():
        return path
    found = {name: Stage(Run(folder.name, folder), name).checkpoint() for name in ("migrate", "test")}
    words = {"migrate": "the migration", "test": "the tests"}
    files = " or ".join(f"--checkpoint {file} ({words[name]})" for name, file in found.items() if file)
    if not files:
        raise Refused(f"{text} holds no checkpoint: nothing was inserted there, so there is nothing to roll back.")
    raise Refused(f"{text} is a folder of a run, not a checkpoint; give {files}.")


def latest_checkpoint(outputs: str, fingerprint: str, run_id: str = "") -> tuple[Path, Snapshot]:
    """The checkpoint of the latest run whose inserts still stand, 03's before 02's; else of the latest that has one.

    With it the stage's journal as it was found. With `run_id` only that run counts. Refused where there is none.
    """
    found: list[tuple[Path, Snapshot]] = []
    for run in (one for one in runs(outputs, fingerprint) if run_id in ("", one.id)):
        for name in ("migrate", "test"):
            stage = Stage(run, name)
            if path := stage.checkpoint():
                found.append((path, stage.read(heads=journal_heads(run))))
                if found[-1][1].may_stand():
                    return found[-1]
    if found:
        return found[0]
    which = f"run {run_id} has no checkpoint" if run_id else "no run of these parameters has a checkpoint"
    raise Refused(f"{which}, so there is nothing to roll back.")


def is_complete(run: Run, tables: Collection[str]) -> bool:
    """Whether the run has migrated all of these entries, so that 03 has nothing to write. Read-only."""
    migrated = Stage(run, "migrate")
    if not migrated.exists():
        return False
    begun = {entry for event in migrated.events("execution") for entry in event["entries"]}
    return state_of(migrated.events()).finished and set(tables) <= begun


def _is_over(run: Run, stage: str, mapping: Mapping, parameters: Parameters, tables: Collection[str]) -> bool:
    """Whether a stage that finds this run as the latest begins another one."""
    migrated = Stage(run, "migrate")
    if stage == "04_validate":
        return False
    if not migrated.exists():
        analyzed = run.json_files("migration-analysis")
        return stage == "03_migrate" and Stage(run, "test").exists() and not analyzed
    state = state_of(migrated.events())
    if state.rolled_back or (state.rolling_back and stage != LAB):
        return True
    if stage != "03_migrate" or not is_complete(run, tables):
        return False
    try:  # of another mapping it has nothing to report
        migrated.check_identity(matching.identity_then(migrated, mapping, parameters))
    except Refused:
        return True
    return False
