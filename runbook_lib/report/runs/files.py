"""The files of a run, and the command that does what a notebook did, as HTML."""

import json
import shlex
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...run.folder import Run
from ..drawing.html import Html, details, mono, note, number, table, with_code

OPTIONS = (  # parameters of notebooks that are options of commands, beside `execute` and what confirms
    *(
        "pattern",
        "items",
        "force",
        "limit",
        "keep",
        "tables",
        "retry_failed",
        "delta",
        "follow",
        "accept_drift",
        "repair",
    ),
    *("restore_from", "delete_tables"),
)


def files(run: Run) -> Html:
    """The files in the run's folder, with their meaning."""
    meaning = {
        "mapping-draft": "what 00 drafted, with its evidence",
        "migration-analysis": "what 01 found",
        "plan-matches": "the matches that the run goes by: items of the target that have the place of source items",
        "matches": "source items that are ambiguous, or may be in the target twice; matches that no longer hold",
        "plan": "what 01 saw; 03 compares with it",
        "migration-checkpoint": "what 05 needs to roll back",
        "migration-report": "figures of a stage and those before it",
        "id-map": "old id and new id of every item",
        "quarantine": "items not written because a value does not fit",
        "conflicts": "items whose target key another item has",
        "unrouted": "items that no entry selects",
        "dangling": "references that name no item",
        "unreadable": "values at reference paths that cannot be read as ids",
        "failed": "items that could not be written",
        "residual-ids": "ids of the source that 04 found in the target",
        "residual-environment": "places where 04 found the source environment's name",
        "differences": "first items that 04 found missing, different or extra",
        "drift": "items that changed on either side since the migration",
        "restore-conflicts": "items that differ in the restored table",
        "kept": "items that a rollback left alone",
        "run.log": "what happened, step by step",
        "audit": "the chain of hashes that `runbook verify` checks",
    }
    rows = []
    for path in sorted(run.folder.iterdir()):
        about = next((text for start, text in meaning.items() if path.name.startswith(start)), None)
        if about and path.is_file():
            stage = _stage_of(path) if path.name.startswith("migration-checkpoint") else ""
            rows.append([mono(path.name), with_code(about + stage), number(path.stat().st_size)])
    return table(["file", "what it is", "bytes"], rows, align="lwr", caption=f"outputs: {run.id}")


def _stage_of(checkpoint: Path) -> str:
    """What a checkpoint rolls back; "" where it cannot be read."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return {"test": " the tests", "migrate": " the migration"}[json.loads(checkpoint.read_bytes())["stage"]]
    return ""


def reproduce(stage: str, run: Run, file: str | None, values: dict[str, Any]) -> Html:
    """How to do the same from a terminal."""
    line = shlex.join(["runbook", *command(stage, run.id, values)])
    body = note(mono(line)) + (note(f"The figures of this notebook as data: {file}") if file else "")
    return details("How to do the same from a terminal", body)


def command(stage: str, run_id: str, values: Mapping[str, Any]) -> list[str]:
    """The words after `runbook` that do what a notebook did with these values; PARAMS, FILE and ENVIRONMENT stand in. Pure."""
    creates = stage == "02_test" and not values["table"]
    given = {name: value for name, value in values.items() if name in OPTIONS and value and not creates}
    if values.get("execute") and (stage != "04_validate" or "repair" in given):
        given |= {"execute": True, "confirm": "ENVIRONMENT"}
        confirming = {"confirm_restore": given.get("restore_from"), "confirm_delete": given.get("delete_tables")}
        given |= {name: value for name, value in confirming.items() if value}
    words = ["create-tables" if creates else stage[3:]]
    if stage == "05_rollback":
        words += ["--checkpoint", "FILE"]
    else:
        words += ["PARAMS", *filter(None, [values.get("table")]), "--run-id", run_id]
    for name, value in given.items():
        words.append(f"--{name.replace('_', '-')}")
        if value is not True:
            words.append(",".join(value) if isinstance(value, list) else str(value))
    return words
