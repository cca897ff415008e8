"""What the commands that execute notebooks have in common: parameters, run, confirmation, papermill."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from .dynamo.session import check_endpoints, place_of
from .errors import Refused
from .journal.checkpoint import read_checkpoint
from .mapping.file.load import load_mapping
from .notebook.execute import Execution, execute
from .parameters import Parameters, Target, load_parameters, outputs_folder
from .process import visible
from .report.runs.terminal import following
from .run.folder import Run
from .stages import policy
from .stages.draft.tables import wildcard
from .stages.execution import resumable, resume_hint
from .stages.selection import DRAFT, mapping_for, select_run
from .verdict import ROLLED_BACK
from .walk.guard import ask_for_codes, confirm, terminal
from .yaml_files import parse_value, shown


def run_stage(options: argparse.Namespace, stage: str, own: dict[str, Any]) -> Execution:
    """One stage's notebook, executed."""
    parameters = load_parameters(options.params, override(options.set))
    run = _select(options, stage, parameters, own.get("tables"), own.get("table"))
    return _execute(options, stage, run, parameters, own)


def run_draft(options: argparse.Namespace) -> Execution:
    """00, executed. Refused where the mapping file exists, before a run begins."""
    from .stages.draft.draft import check_free

    parameters = load_parameters(options.params, override(options.set))
    check_free(parameters.mapping_path(), force=options.force)
    own = {"pattern": options.pattern, "items": options.items, "force": options.force}
    return _execute(options, DRAFT, _select(options, DRAFT, parameters), parameters, own)


def run_writing_stage(
    options: argparse.Namespace, stage: str, own: dict[str, Any], action: str, *, always: bool = True
) -> Execution:
    """One stage's notebook, executed after its confirmation. Refused where that is missing or wrong."""
    parameters = load_parameters(options.params, override(options.set))
    _check_names(parameters, own)
    given = _confirmed(options, parameters.target, action, always=always)
    again = own.get("retry_failed", False) or own.get("delta", False)
    run = _select(options, stage, parameters, own.get("tables"), own.get("table"), migrated=again)
    return _execute(options, stage, run, parameters, {**own, **_writing(options, given)})


def full_migration(options: argparse.Namespace) -> list[Execution]:
    """02 (tables only), 03 and 04 in one run; stops where a stage is refused, interrupted or rolled back."""
    parameters = load_parameters(options.params, override(options.set))
    given = _confirmed(options, parameters.target, "full-migration", always=True)
    run = _select(options, "03_migrate", parameters)
    own = _writing(options, given)
    done = [_execute(options, "02_test", run, parameters, own)]
    for stage in ("03_migrate", "04_validate") if done[0].exit_code == 0 else ():
        if stage == "04_validate" and not options.execute:
            break
        of_stage = {**own, "accept_drift": options.accept_drift} if stage == "03_migrate" else {}
        done.append(_execute(options, stage, run, parameters, of_stage))
        if done[-1].exit_code > 1 or done[-1].result.get("verdict") == ROLLED_BACK:
            break
    return done


def run_rollback(options: argparse.Namespace) -> Execution:
    """05, executed for a checkpoint."""
    path = Path(options.checkpoint).absolute()
    checkpoint = read_checkpoint(path)
    given = _confirmed(options, checkpoint.parameters.target, "rollback", always=True)
    own = {
        "checkpoint": str(path),
        "restore_from": options.restore_from,
        "delete_tables": options.delete_tables,
        **_writing(options, given),
    }
    options.outputs, options.run_id = str(checkpoint.run.folder.parent), checkpoint.run.id
    return _execute(options, "05_rollback", checkpoint.run, checkpoint.parameters, own)


def run_iam(options: argparse.Namespace) -> int:
    """The policy document of a stage on stdout, what it cannot say on stderr. Reads files; asks STS for undeclared accounts."""
    sides = policy.sides_of(options.of, options.side)
    parameters = load_parameters(options.params, override(options.set))
    drafts = options.of == "draft"
    if options.pattern and not drafts:
        raise Refused("--pattern belongs to the stage draft; the other stages take their tables from the mapping.")
    mapping = mapping_for(DRAFT if drafts else options.of, parameters)
    check_endpoints(parameters.source, parameters.target)
    places = {side: place_of(getattr(parameters, side), side) for side in sides}
    drafted = wildcard(parameters, options.pattern) if drafts else ""
    found = policy.policy_of(options.of, parameters, mapping, places, side=options.side, drafted=drafted)
    print(json.dumps(found.document, indent=2))
    for note in found.notes:
        print(visible(note), file=sys.stderr)
    return 0


def _select(
    options: argparse.Namespace,
    stage: str,
    parameters: Parameters,
    tables: list[str] | None = None,
    table: str | None = None,
    *,
    migrated: bool = False,
) -> Run:
    mapping = mapping_for(stage, parameters)
    mapping.check_names([*(tables or []), *([table] if table else [])])
    return select_run(
        stage,
        parameters,
        mapping,
        outputs=outputs_folder(options.outputs),
        run_id=options.run_id,
        name=Path(options.params).stem,
        tables=tables,
        migrated=migrated,
    )


def _check_names(parameters: Parameters, own: dict[str, Any]) -> None:
    """Before anybody is asked to confirm something that does not exist."""
    mapping = load_mapping(parameters)
    mapping.check_names([*own.get("tables", []), *([own["table"]] if own.get("table") else [])])
    if own.get("limit", 1) < 1:
        raise Refused(f"--limit {own['limit']}: test at least one item.")


def _writing(options: argparse.Namespace, confirmed: str) -> dict[str, Any]:
    names = ("execute", "break_lock", "accept_changed")
    return {"confirm": confirmed, **{name: getattr(options, name) for name in names}}


def _confirmed(options: argparse.Namespace, target: Target, action: str, *, always: bool) -> str:
    """What to hand to the notebook as its confirmation."""
    if not options.execute:
        return ""
    needed = always or target.production
    confirm(target, options.confirm, action, needed=needed, ask=terminal())
    return target.environment if needed else ""


def _execute(
    options: argparse.Namespace, stage: str, run: Run, parameters: Parameters, own: dict[str, Any]
) -> Execution:
    # The kernel has no terminal. Draft and rollback work without the other side.
    ask_for_codes(parameters, *{DRAFT: ["source"], "05_rollback": ["target"]}.get(stage, ["source", "target"]))
    common = {
        **parameters.model_dump(mode="json"),
        "run_id": run.id,
        "outputs": str(run.folder.parent),
    }
    with resumable(run, resume_hint(run, stage)), run.saving():
        return execute(stage, run, {**common, **own}, following)


def override(settings: list[str]) -> dict[str, Any]:
    """`-p KEY=VALUE` settings as a dict, values read as YAML. Refused for a key that is none of PARAMS."""
    found = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or key.partition(".")[0] not in ("mapping", "source", "target", "limits", "lease"):
            raise Refused(f"-p {shown(setting)}: set a key of PARAMS, such as limits.workers=16.")
        found[key] = parse_value(value)
    return found
