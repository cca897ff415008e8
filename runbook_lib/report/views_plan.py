"""Views around the work itself: what is planned, what a run left, what to type to do it again."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from ..run.folder import Run
from ..stages.rollback.drop_tables import TableDeletion
from ..stages.rollback.restore import COPY, NOT_CARRIED_OVER, Restored
from ..verdict import plural
from ..walk.plan import Plan
from .html import Raw, chip, details, flagged, mono, note, number, table

COMMANDS = {
    "01_analyze": "analyze",
    "02_test": "test",
    "03_migrate": "migrate",
    "04_validate": "validate",
    "05_rollback": "rollback",
}


def plan(result: Plan) -> Raw:
    """Which entry goes from where to where, parents first."""
    levels = result.mapping.levels()
    rows = []
    for name in sorted(result.routes, key=lambda entry: (levels[entry], entry)):
        entry = result.routes[name].entry
        target = result.target_tables[entry.target]
        items = result.source_tables[entry.source].items
        rows.append([number(levels[name]), name, mono(entry.source), mono(entry.target), number(items), _state(target)])
    head = ["level", "entry", "source table", "target table", "items in the source table", "target"]
    return table(head, rows, align="rlllrl")


def _state(target: Any) -> Raw:
    return chip("missing", "bad") if target is None else chip("there", "good")


def backups(found: Mapping[str, Mapping[str, Any]]) -> Raw:
    """What stands behind each target table before the first insert."""
    if not found:
        return note("The target is not production, or has no table yet: no backup is looked for.")
    says = {
        "point_in_time": ("good", "point-in-time recovery is on"),
        "on_demand": ("good", "an on-demand backup is taken before the first insert"),
        "waived": ("look", "none: target.backup says waived"),
        "not_available": ("look", "none: not available here, the engine has no backups"),
    }
    rows = []
    for name, about in found.items():
        tone, words = says[about["kind"]]
        rows.append([mono(name), chip(about["kind"].replace("_", " "), tone), about["arn"] or words])
    return table(["target table", "backup", ""], rows, align="llw")


def restored(result: Restored) -> Raw:
    """What a restore did, and what it is not."""
    if result.kind == COPY:
        counts = {"in the backup": result.items, "copied back": result.inserted, "equal already": result.equal}
        rows = [*counts.items(), ["different, left as they are", flagged(result.different)]]
        body = table([f"into {result.table}", "items"], rows, align="lr")
        return Raw(body + note("Nothing that the target held was overwritten or deleted."))
    line = note(f"{result.source} is restored into the new table {result.table}, {plural(result.items, 'item')}.")
    lacks = f"A restore is no undo: the old table is as it was. The new one lacks: {', '.join(NOT_CARRIED_OVER)}."
    return Raw(line + note(lacks, "look"))


def deletions(results: Sequence[TableDeletion]) -> Raw:
    """What became of the tables that were to be deleted."""
    rows = [
        [mono(result.table), chip("deleted", "good") if result.deleted else chip("left", "look"), result.reason]
        for result in results
    ]
    return table(["table", "", "why"], rows, align="llw")


def files(run: Run) -> Raw:
    """What lies in the run's folder."""
    meaning = {
        "migration-analysis": "what 01 found",
        "migration-checkpoint": "what 05 needs to roll back",
        "migration-report": "figures of a stage and those before it",
        "id-map": "old id and new id of every item",
        "quarantine": "items not written, because a value does not fit",
        "conflicts": "items whose target key is taken",
        "unrouted": "items that no entry selects",
        "failed": "items that could not be written",
        "differences": "first items that 04 found missing, different or extra",
        "drift": "items that changed on one of the sides since the migration",
        "restore-conflicts": "items that a restored table holds otherwise",
        "kept": "items that a rollback left alone",
        "run.log": "what happened, step by step",
    }
    rows = []
    for path in sorted(run.folder.iterdir()):
        about = next((text for start, text in meaning.items() if path.name.startswith(start)), None)
        if about and path.is_file():
            rows.append([mono(path.name), about, number(path.stat().st_size)])
    return table(["file", "what it is", "bytes"], rows, align="lwr", caption=f"outputs: {run.id}")


def reproduce(stage: str, run: Run, file: str | None, values: Mapping[str, Any]) -> Raw:
    """How to do the same from a terminal."""
    creating = stage == "02_test" and not values["table"]
    command = f"runbook {'create-tables' if creating else COMMANDS[stage]}"
    if stage == "05_rollback":
        command += " --checkpoint FILE"
    else:
        command += f" PARAMS --run-id {run.id}"
    if stage == "02_test" and values["table"]:
        command += f" {values['table']} --limit {values['limit']}" + (" --keep" if values["keep"] else "")
    if values.get("tables"):
        command += f" --tables {','.join(values['tables'])}"
    if values.get("retry_failed"):
        command += " --retry-failed"
    if values.get("delta"):
        command += " --delta"
    if values.get("restore_from"):
        command += f" --restore-from {shlex.quote(values['restore_from'])}"
    if values.get("delete_tables"):
        command += f" --delete-tables {','.join(values['delete_tables'])}"
    if "execute" in values:
        command += " --execute --confirm ENVIRONMENT"
    body = note(mono(command)) + (note(f"The figures of this notebook as data: {file}") if file else "")
    return details("How to do the same from a terminal", body)
