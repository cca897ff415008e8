"""What the commands that execute notebooks have in common: parameters, run, confirmation, papermill."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from .dynamo.session import check_endpoints, place_of
from .errors import Refused, RunbookError
from .journal.checkpoint import Checkpoint, read_checkpoint
from .mapping.model import Mapping as MigrationMapping
from .notebook.execute import Execution, execute
from .parameters import Parameters, Target, load_parameters, outputs_folder
from .process import visible
from .report.runs.terminal import following
from .run.folder import Run
from .stages import confirmation, policy
from .stages.draft.tables import wildcards
from .stages.execution import resumable, resume_hint
from .stages.notify import Notifier
from .stages.rollback import confirmation as asked
from .stages.rollback import restore
from .stages.rollback.drop_tables import resolve_tables
from .stages.rollback.undo import preview
from .stages.selection import DRAFT, checkpoint_file, find_run, is_complete, mapping_for, select_run
from .verdict import EXIT_BUG, EXIT_INTERRUPTED, INTERRUPTED, ROLLED_BACK, STOPPED, ended_by
from .walk.guard import ask_for_codes, confirm, terminal
from .yaml_files import parse_value, shown, suggest

EMPTY: Mapping[str, Any] = {}


def run_stage(options: argparse.Namespace, stage: str, own: dict[str, Any]) -> Execution:
    """One stage's notebook, executed."""
    parameters = load_parameters(options.params, override(options.set))
    return _execute(options, stage, _select(options, stage, parameters, own), parameters, own)


def run_draft(options: argparse.Namespace) -> Execution:
    """00, executed. Refused where the mapping file exists, before a run begins."""
    from .stages.draft.draft import check_free

    parameters = load_parameters(options.params, override(options.set))
    check_free(parameters.mapping_path(), force=options.force)
    own = {"pattern": options.pattern, "items": options.items, "force": options.force}
    return _execute(options, DRAFT, _select(options, DRAFT, parameters), parameters, own)


def run_writing_stage(
    options: argparse.Namespace, stage: str, own: dict[str, Any], *, always: bool = True
) -> Execution:
    """One stage's notebook, executed after its confirmation. Refused where that is missing or wrong."""
    parameters = load_parameters(options.params, override(options.set))
    given = _confirmed(options, parameters.target, partial(_words, options, stage, parameters, own), always=always)
    run = _select(options, stage, parameters, own)
    return _execute(options, stage, run, parameters, {**own, **_writing(options, given)})


def full_migration(options: argparse.Namespace) -> list[Execution]:
    """02 (tables only), 03 and 04 in one run; stops where a stage is refused, interrupted or rolled back."""
    parameters = load_parameters(options.params, override(options.set))

    def words() -> str:
        return f"{confirmation.creating(None)} and {_words(options, '03_migrate', parameters, {})}"

    given = _confirmed(options, parameters.target, words, always=True)
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
    path = checkpoint_file(options.checkpoint, outputs_folder(options.outputs))
    checkpoint = read_checkpoint(path)
    own = {
        "checkpoint": str(path),
        "restore_from": options.restore_from,
        "delete_tables": options.delete_tables,
        **_writing(options, _confirm_rollback(options, checkpoint)),
        "confirm_restore": options.restore_from if options.execute else "",
        "confirm_delete": options.delete_tables if options.execute else [],
    }
    options.outputs, options.run_id = str(checkpoint.run.folder.parent), checkpoint.run.id
    return _execute(options, "05_rollback", checkpoint.run, checkpoint.parameters, own, options.notify)


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
    drafted = wildcards(parameters, options.pattern) if drafts else {}
    found = policy.policy_of(options.of, parameters, mapping, places, side=options.side, drafted=drafted)
    print(json.dumps(found.document, indent=2))
    for note in found.notes:
        print(visible(note), file=sys.stderr)
    return 0


def _confirm_rollback(options: argparse.Namespace, checkpoint: Checkpoint) -> str:
    """The confirmation of an undo, after that of what follows it. Refused where one is missing or wrong, or cannot be done."""
    wanted = restore.wanted(options.restore_from, checkpoint) if options.restore_from else None
    resolve_tables(checkpoint, options.delete_tables)
    if not options.execute:
        return ""
    target, ask = checkpoint.parameters.target, terminal()

    def words() -> str:
        if options.confirm or not ask:  # nobody sees the numbers, for which the journal is read
            return f"delete what run {checkpoint.run.id} inserted into {confirmation.place(target)}"
        return asked.undoing(checkpoint, preview(checkpoint.stage_journal().read()))

    given = _confirmed(options, target, words, always=True)
    asked.confirm_restore(wanted, options.confirm_restore, ask)
    asked.confirm_delete(options.delete_tables, options.confirm_delete, target, ask)
    return given


def _select(options: argparse.Namespace, stage: str, parameters: Parameters, own: Mapping[str, Any] = EMPTY) -> Run:
    return select_run(*_about(options, stage, parameters, own), **_chosen(options, own), name=Path(options.params).stem)


def _about(
    options: argparse.Namespace, stage: str, parameters: Parameters, own: Mapping[str, Any]
) -> tuple[str, Parameters, MigrationMapping]:
    """What decides about the run, the mapping included. Refused where the command names an entry that it has not."""
    mapping = mapping_for(stage, parameters)
    mapping.check_names([*own.get("tables", ()), *([own["table"]] if own.get("table") else [])])
    if own.get("limit", 1) < 1:
        raise Refused(f"--limit {own['limit']}: test at least one item.")
    return stage, parameters, mapping


def _chosen(options: argparse.Namespace, own: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "outputs": outputs_folder(options.outputs),
        "run_id": options.run_id,
        "tables": own.get("tables"),
        "migrated": bool(own.get("retry_failed") or own.get("delta")),
        "new": getattr(options, "new", False),
    }


def _words(options: argparse.Namespace, stage: str, parameters: Parameters, own: Mapping[str, Any]) -> str:
    """What a stage would do, as far as mapping and run's folder know. Refused where it could not begin. Read-only."""
    about, target = _about(options, stage, parameters, own), parameters.target
    entries = [entry for name, entry in about[2].entries.items() if name in (own.get("tables") or about[2].entries)]
    if stage == "02_test":
        return confirmation.testing(
            target, None, own.get("table", ""), own.get("limit", 1), keep=own.get("keep", False)
        )
    if stage == "04_validate":
        return confirmation.repairing(entries, target)
    run = find_run(*about, **_chosen(options, own))
    again = next((word for word in ("retry_failed", "delta", "follow") if own.get(word)), "")
    complete = run is not None and is_complete(run, [entry.name for entry in entries])
    return confirmation.migrating(run, entries, target, complete=complete, again=again)


def _writing(options: argparse.Namespace, confirmed: str) -> dict[str, Any]:
    names = ("execute", "break_lock", "accept_changed")
    return {"confirm": confirmed, **{name: getattr(options, name) for name in names}}


def _confirmed(options: argparse.Namespace, target: Target, words: Callable[[], str], *, always: bool) -> str:
    """What to hand to the notebook as its confirmation. `words` gives what the command would do."""
    if not options.execute:
        return ""
    needed = always or target.production
    what = words()  # refused where it names what does not exist, before anybody is asked
    confirm(target, options.confirm, what, needed=needed, ask=terminal())
    return target.environment if needed else ""


def _execute(
    options: argparse.Namespace,
    stage: str,
    run: Run,
    parameters: Parameters,
    own: dict[str, Any],
    notify: str | None = None,
) -> Execution:
    # The kernel has no terminal. Draft and rollback work without the other side.
    ask_for_codes(parameters, *{DRAFT: ["source"], "05_rollback": ["target"]}.get(stage, ["source", "target"]))
    common = {
        **parameters.model_dump(mode="json", exclude={"notify"}),  # the kernel tells nobody
        "run_id": run.id,
        "outputs": str(run.folder.parent),
    }
    notifier = Notifier(notify or parameters.notify, run, stage, parameters.source, parameters.target)
    notifier.begin()
    try:
        with resumable(run, resume_hint(run, stage)), run.saving():
            execution = execute(stage, run, {**common, **own}, following)
    except RunbookError as problem:
        notifier.over(ended_by(problem), problem.exit_code, str(problem))
        raise
    except KeyboardInterrupt:
        notifier.over(INTERRUPTED, EXIT_INTERRUPTED, "interrupted by hand")
        raise
    except BaseException:
        notifier.over(STOPPED, EXIT_BUG, "")
        raise
    result = execution.result
    about = {"html": execution.html, "head": execution.head}
    told = notifier.over(result.get("verdict", STOPPED), execution.exit_code, result.get("headline", ""), **about)
    return replace(execution, head=told or execution.head)


def override(settings: list[str]) -> dict[str, Any]:
    """`-p KEY=VALUE` settings as a dict, values read as YAML. Refused for a key that is none of PARAMS."""
    found = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise Refused(f"-p {shown(setting)}: write KEY=VALUE, such as limits.workers=16.")
        if (group := key.partition(".")[0]) in ("execute", "confirm", "tables", "run_id", "outputs"):
            raise Refused(
                f"-p {shown(setting)}: {group} is no key of PARAMS but an option: --{group.replace('_', '-')}."
            )
        if group not in Parameters.model_fields:
            raise Refused(f"-p {shown(setting)}: no key of PARAMS{suggest(group, list(Parameters.model_fields))}")
        found[key] = parse_value(value)
    return found
