"""Which run a stage belongs to: the one named, the latest of the same migration, or a new one."""

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

DRAFT = "00_draft"  # it makes the mapping file
FIRST = (DRAFT, "01_analyze")  # each begins a new run


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
) -> Run:
    """The run for a stage; made where there is none. Writes a new run's folder.

    A run that is named is taken as it is. Else 00 and 01 begin a new one, and the others take the latest of the same
    migration: unless it was rolled back, or (03) is complete for the chosen tables, so that there is something to do.
    With `migrated` it is the latest that has migrated, in whatever state; Refused where there is none, or not the named.
    """
    check_endpoints(parameters.source, parameters.target)  # before a folder is made that would hold a password
    about = run_json(parameters, mapping, name or Path(parameters.mapping).stem)
    if migrated:
        found = open_run(outputs, run_id) if run_id else _latest("04_validate", outputs, about["fingerprint"])
        if found is None:
            raise Refused(f"no run of these parameters in {outputs}; migrate first.")
        run_id = found.id
    if run_id:
        return open_run(outputs, run_id, about)
    found = _latest(stage, outputs, about["fingerprint"]) if stage not in FIRST else None
    if found is None or _is_over(found, stage, tables or list(mapping.entries)):
        return new_run(outputs, about)
    return found


def _latest(stage: str, outputs: str, fingerprint: str) -> Run | None:
    """The latest run; for the validation the latest that has migrated, as there is nothing to compare in the others."""
    known = runs(outputs, fingerprint)
    migrated = [run for run in known if Stage(run, "migrate").exists()] if stage == "04_validate" else []
    return next(iter(migrated or known), None)


def latest_checkpoint(outputs: str, fingerprint: str) -> tuple[Path, Snapshot]:
    """The checkpoint of the latest run whose inserts still stand, 03's before 02's; else of the latest that has one.

    With it the stage's journal as it was found. Refused where there is none.
    """
    found: list[tuple[Path, Snapshot]] = []
    for run in runs(outputs, fingerprint):
        for name in ("migrate", "test"):
            stage = Stage(run, name)
            if path := stage.checkpoint():
                found.append((path, stage.read(heads=journal_heads(run))))
                if found[-1][1].may_stand():
                    return found[-1]
    if found:
        return found[0]
    raise Refused("no run of these parameters has a checkpoint, so there is nothing to roll back.")


def _is_over(run: Run, stage: str, tables: list[str]) -> bool:
    migrated = Stage(run, "migrate")
    if stage == "04_validate" or not migrated.exists():
        return False
    state = state_of(migrated.events())
    if state.rolled_back or state.rolling_back:
        return True
    begun = {entry for event in migrated.events("execution") for entry in event["entries"]}
    return stage == "03_migrate" and state.finished and set(tables) <= begun
