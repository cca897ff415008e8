"""The gate before a production migration: every target table has a backup before the first insert.

Point-in-time recovery is enough. Otherwise the gate takes an on-demand backup and waits for it, unless `target.backup` is
`waived`. The stage's journal (events `backups`) and the checkpoint record the result, so a resumed run takes no second
backup.
"""

import hashlib
import re
from typing import Any

from ...dynamo import backups, tables
from ...errors import DynamoError, Interrupted, NotAvailable
from ...journal.stage import Stage
from ...run.folder import Run, iso, now
from ...verdict import Alert
from ...walk import control
from ...walk.plan import Plan

POINT_IN_TIME, ON_DEMAND, WAIVED, NOT_AVAILABLE = "point_in_time", "on_demand", "waived", "not_available"
PLANNED = {  # kind -> what 03 would do, of a table
    POINT_IN_TIME: "rely on point-in-time recovery of {}, which is on",
    ON_DEMAND: "take an on-demand backup of {} before the first insert",
    WAIVED: "go without a backup of {}, as target.backup says",
    NOT_AVAILABLE: "go without a backup of {}: not available here",
}
DEADLINE = 1_800.0  # seconds for all backups to be available; DynamoDB takes them in minutes, whatever the size
IN_FLIGHT = 20  # backups under way at once; DynamoDB allows 50 an account
OTHERWISE = ", or set target.backup: waived to migrate without a backup"
MAX_NAME = 255


def outlook(run: Run, plan: Plan) -> dict[str, dict[str, Any]]:
    """Target table → kind: what `ensure` did, or would do now. Read-only; {} where the target is not production.

    Raises Refused where that is unknown.
    """
    if not plan.parameters.target.production:
        return {}
    known = Stage(run, "migrate").backups()
    there = [name for name in plan.target_names() if plan.target_tables[name] is not None]
    return {name: known.get(name) or {"kind": _kind(plan, name), "arn": None} for name in there}


def ensure(stage: Stage, plan: Plan) -> None:
    """Makes sure that each target table of the plan has a backup. Writes backups to the account, and to the journal.

    Does nothing where the target is not production, or a table's backup is recorded. Raises Refused
    without access, Interrupted where a backup is not available in time; then nothing was inserted.
    """
    if not plan.parameters.target.production:
        return
    known = stage.backups()
    begun = {name: about["arn"] for name, about in known.items() if _is_begun(about)}
    waiting = []
    for name in plan.target_names():
        if name in known and (name not in begun or plan.parameters.target.backup != WAIVED):
            continue
        if (kind := _kind(plan, name)) == ON_DEMAND:
            waiting.append(name)
        else:
            begun.pop(name, None)
            _note(stage, name, kind)
    _take(stage, plan, waiting, {name: arn for name, arn in begun.items() if name in plan.target_names()})


def alerts(known: dict[str, dict[str, Any]]) -> list[Alert]:
    """The alerts for tables that were migrated into without a backup. Pure."""
    why = {WAIVED: "waived by target.backup", NOT_AVAILABLE: "not available here, because the engine has none"}
    return [
        Alert("", table, f"no backup: {why[about['kind']]}", "Only a rollback can undo this migration.")
        for table, about in known.items()
        if about["kind"] in why
    ]


def _kind(plan: Plan, table: str) -> str:
    """The kind of backup that a table has or needs."""
    if plan.parameters.target.backup == WAIVED:
        return WAIVED
    try:
        return POINT_IN_TIME if backups.recovery(plan.target, table, OTHERWISE).on else ON_DEMAND
    except NotAvailable:
        return NOT_AVAILABLE


def _take(stage: Stage, plan: Plan, waiting: list[str], begun: dict[str, str]) -> None:
    """Takes on-demand backups, several at a time, and waits until all are available; `begun` are the backups under way."""
    reasons: dict[str, str] = {}
    for pause in tables.pauses(DEADLINE):
        control.check(stage.run)
        plan.meter.do(f"taking backups, {len(waiting) + len(begun)} to come")
        for name in list(waiting):
            if len(begun) >= IN_FLIGHT:
                break
            label = backup_name(stage.run.id, name)
            try:
                begun[name] = backups.create(plan.target, name, label, OTHERWISE)
            except NotAvailable:
                _note(stage, name, NOT_AVAILABLE)
            except DynamoError as problem:
                if problem.code not in backups.BUSY:
                    raise
                reasons[name] = problem.code
                continue
            else:
                _note(stage, name, ON_DEMAND, begun[name], name=label, status=backups.CREATING)
            waiting.remove(name)
        for name, arn in list(begun.items()):
            found = backups.describe(plan.target, arn, OTHERWISE)
            reasons[name] = found.status if found else backups.DELETED
            if reasons[name] == backups.AVAILABLE:
                _note(stage, name, ON_DEMAND, arn, name=backup_name(stage.run.id, name), status=backups.AVAILABLE)
            elif reasons[name] == backups.DELETED:
                waiting.append(name)
            else:
                continue
            del begun[name]
        if not waiting and not begun:
            return
        pause()
    late = ", ".join(f"{name} ({reasons.get(name, 'not started')})" for name in sorted({*waiting, *begun}))
    raise Interrupted(
        f"after {DEADLINE:.0f} seconds these backups are not available: {late}; wait for them{OTHERWISE}."
    )


def _note(stage: Stage, table: str, kind: str, arn: str | None = None, **more: Any) -> None:
    stage.record("backups", tables={table: {"kind": kind, "arn": arn, "at": iso(now()), **more}})
    stage.run.logger().info("backup of %s: %s", table, " ".join(filter(None, (kind, more.get("status"), arn))))


def _is_begun(about: dict[str, Any]) -> bool:
    """Whether an on-demand backup was started and is not known to be available."""
    return about["kind"] == ON_DEMAND and about["status"] != backups.AVAILABLE


def backup_name(run_id: str, table: str) -> str:
    """`runbook-<run id>-<table>`, shortened to DynamoDB's limit; a shortened name stays unique per table."""
    name = re.sub(r"[^a-zA-Z0-9_.-]", "-", f"runbook-{run_id}-{table}")
    if len(name) <= MAX_NAME:
        return name
    return f"{name[: MAX_NAME - 9]}-{hashlib.sha256(table.encode()).hexdigest()[:8]}"
