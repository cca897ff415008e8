"""The checkpoint file: written before the first insert, and with the journal enough to roll back from."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import Refused
from ..parameters import Parameters, build_parameters
from ..run.files import file_sha256, json_seal, read_json
from ..run.fingerprints import Identity, code_fingerprint
from ..run.folder import Run, iso, now
from .log import check_schema
from .stage import Stage

SCHEMA = 1


@dataclass(frozen=True)
class Checkpoint:
    """What an undo needs to know of a stage."""

    run: Run
    stage: str
    parameters: Parameters
    entries: dict[str, dict[str, Any]]  # entry -> source, target, level of the source table
    identity: Identity
    sides: dict[str, dict[str, Any]]  # source and target -> environment, region, account
    mapping: dict[str, Any]  # file, fingerprint, and each entry as the mapping resolved it
    backups: dict[str, dict[str, Any]] = field(default_factory=dict)  # target table -> kind, arn, …: `Stage.backups`
    path: Path | None = None

    def check_named(self, stage: Stage, *, accept_changed: bool = False) -> None:
        """Refused where its stage's journal does not name this file, or, unless `accept_changed`, had another one there.

        What an undo deletes follows from the checkpoint, and anybody can write one. Read-only.
        """
        known = {event["file"]: event.get("sha256") for event in stage.events("checkpoint")}
        path, last = (self.path or Path()).resolve(), stage.checkpoint()
        if path.name not in known:
            fix = f"give {last.name}" if last else f"see `runbook repair {self.run.id}`"
            raise Refused(f"{path} is not named in the journal of run {self.run.id}: it is nobody's checkpoint; {fix}.")
        if known[path.name] not in (None, file_sha256(path)) and not accept_changed:
            raise Refused(f"{path} was changed since run {self.run.id} wrote it; restore it from a copy.")

    def stage_journal(self) -> Stage:
        """The stage's journal."""
        return Stage(self.run, self.stage)

    @property
    def target_account(self) -> str | None:
        """The account that was written to, where it was known."""
        return self.sides["target"]["account"]

    @property
    def code_changed(self) -> bool:
        """Whether the program is another one than the one that wrote."""
        return self.identity.code != code_fingerprint()


def write_checkpoint(checkpoint: Checkpoint, stage: Stage) -> Path:
    """Writes `migration-checkpoint-<timestamp>.json` into the run's folder; gives its path.

    The stage's journal says so first: nobody goes by a checkpoint that it does not name. Writes to that, too.
    """
    content = {
        "schema": SCHEMA,
        "run_id": checkpoint.run.id,
        "stage": checkpoint.stage,
        "created": iso(now()),
        "journal": f"journal/{checkpoint.stage}",
        "parameters": checkpoint.parameters.model_dump(exclude={"notify"}),
        **checkpoint.sides,
        "mapping": checkpoint.mapping,
        "entries": checkpoint.entries,
        "backups": checkpoint.backups,
        "fingerprints": checkpoint.identity._asdict(),
    }
    content["sha256"] = json_seal(content)
    announce = partial(stage.record, "checkpoint")
    return checkpoint.run.write_json("migration-checkpoint", content, announce)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """The checkpoint in a file. Read-only. Refused where it is missing, damaged, or not in its run's folder."""
    path = Path(path)
    try:
        content = read_json(path)
        seal = content.pop("sha256")
        if seal != json_seal(content) or "stage" not in content:
            raise ValueError
    except FileNotFoundError:
        raise Refused(f"{path}: no such checkpoint; look in the run's folder, outputs/<run_id>/.") from None
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        named = (
            "restore it from a copy"
            if path.name.startswith("migration-checkpoint-")
            else "give migration-checkpoint-*.json"
        )
        raise Refused(f"{path} is damaged or not a checkpoint; {named}.") from None
    check_schema(path, content["schema"], SCHEMA)
    folder = path.resolve().parent
    run = Run(content["run_id"], folder)
    if folder.name != run.id or not run.journal(content["stage"]).is_dir():
        raise Refused(f"{path} belongs to run {run.id}, whose folder and journal are not here; move it back there.")
    # Whoever rolls back from somebody else's checkpoint must not run a command that it brings.
    parameters = build_parameters({**content["parameters"], "notify": None}, path.name)
    return Checkpoint(
        run,
        content["stage"],
        parameters,
        content["entries"],
        Identity(**content["fingerprints"]),
        {label: content[label] for label in ("source", "target")},
        content["mapping"],
        content.get("backups", {}),
        path,
    )
