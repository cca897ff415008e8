"""Restores a backup into a new table, or copies a restored table's items back into the target. A separate step of 05.

DynamoDB restores into a new table only. The copy then inserts the items that the target lacks; it overwrites and deletes
nothing. Both can be repeated: the same command waits for a restore that was started, and finds copied items equal.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ...dynamo import backups, tables
from ...dynamo.aws.partitions import is_aws
from ...dynamo.errors import MaybeOurs, table_name
from ...dynamo.session import Connection
from ...errors import DynamoError, Interrupted, Refused
from ...journal.checkpoint import Checkpoint
from ...journal.listings import entry_of, write_listing
from ...journal.stage import Stage
from ...run.folder import iso, now
from ...values import digest, equal
from ...verdict import REVIEW, Alert, plural
from ...walk.progress import Meter

BACKUP, POINT_IN_TIME, COPY = "backup", "point_in_time", "copy"
NOT_CARRIED_OVER = (
    "auto scaling", "IAM policies", "CloudWatch alarms", "tags", "stream settings", "TTL", "point-in-time recovery",
    "deletion protection", "resource policies",
)  # fmt: skip
START_DEADLINE = 300.0  # seconds for DynamoDB to accept a restore
DEADLINE = 43_200.0  # seconds for a restored table to become active; DynamoDB needs minutes to many hours
CONFLICTS = "restore-conflicts"
BATCH = 100
NAMED = 5  # attributes that a listing names
_ARN = re.compile(r"arn:[^:]+:dynamodb:[^:]*:[^:]*:table/([^/]+)/backup/[^/]+")
_RESTORED = re.compile(r"(.+)-restored-\d{14}")


@dataclass(frozen=True)
class Wanted:
    """What to restore."""

    text: str  # as it was given
    kind: str  # BACKUP, POINT_IN_TIME or COPY
    table: str  # the target table that the backup is of
    backup: str = ""  # ARN, or the table to copy from
    at: datetime | None = None

    def plan(self) -> str:
        """The plan, as a phrase."""
        if self.kind == COPY:
            return f"copy what {self.table} lacks from {self.backup}, overwriting nothing"
        return f"restore {self.table} from {self.text} into a new table"


@dataclass(frozen=True)
class Restored:
    """What a restore did. `items` is DynamoDB's own count of the new table, or the number of items read for a copy."""

    source: str
    kind: str
    table: str  # the new one, or the one that was copied into
    items: int
    inserted: int = 0
    equal: int = 0
    different: int = 0

    def as_json(self) -> dict[str, Any]:
        """The report's section, with the settings that the new table lacks."""
        names = ("kind", "table", "items", "inserted", "equal", "different")
        lacks = [] if self.kind == COPY else list(NOT_CARRIED_OVER)
        return {"from": self.source, **{name: getattr(self, name) for name in names}, "not_carried_over": lacks}


def wanted(text: str, checkpoint: Checkpoint) -> Wanted:
    """What `text` means: a backup's ARN, TABLE@TIME, BACKUP_TABLE or BACKUP_TABLE>TABLE. Pure.

    Raises Refused where it is none of these, or not of a target table of this checkpoint.
    """
    text = text.strip()
    if match := _ARN.fullmatch(text):
        return Wanted(text, BACKUP, _target(match[1], checkpoint), text)
    if text.startswith("arn:"):
        raise Refused(
            f"{text}: not the ARN of a backup, which ends in table/NAME/backup/ID, as in the checkpoint's `backups`."
        )
    table, at, time = text.partition("@")
    if at:
        return Wanted(text, POINT_IN_TIME, _target(table, checkpoint), at=_moment(time, text))
    backup, arrow, table = text.partition(">")
    if not arrow:
        match = _RESTORED.fullmatch(backup)
        # The name of a restored table holds only the beginning of a long one.
        known = {about["target"] for about in checkpoint.entries.values()}
        meant = [name for name in known if match and table_name(name)[: backups.KEPT] == match[1]]
        if match is None or len(meant) > 1:
            raise Refused(f"{text}: its name does not say which table it was restored from; write '{text}>TABLE'.")
        table = meant[0] if meant else match[1]
    found = Wanted(text, COPY, _target(table.strip(), checkpoint), backup.strip())
    if found.backup == found.table:
        raise Refused(f"{text}: a table cannot be copied into itself; name the restored table first.")
    return found


def check(found: Wanted, target: Connection) -> None:
    """Raises Refused where it cannot be restored: missing backup or table, another key, no such call here. Read-only."""
    with _refusals():
        if found.kind == BACKUP:
            status = (backup := backups.describe(target, found.backup)) and backup.status
            if status != backups.AVAILABLE:
                raise Refused(f"backup {found.backup} is {status or 'missing'}; choose one that is AVAILABLE.")
        elif found.kind == POINT_IN_TIME:
            recovery = backups.recovery(target, found.table)
            if not recovery.on:
                raise Refused(f"point-in-time recovery of {found.table} is off; it cannot be restored to a time.")
            window = recovery.earliest, recovery.latest
            if is_aws(target.endpoint_url) and all(window) and not window[0] <= found.at <= window[1]:
                raise Refused(
                    f"{found.text}: only times from {iso(window[0])} to {iso(window[1])} can be restored now."
                )
        else:
            _key(found, target)


def restore(
    checkpoint: Checkpoint,
    found: Wanted,
    target: Connection,
    look: Callable[[str], None] = lambda told: None,
    meter: Meter | None = None,
) -> Restored:
    """Restores into a new table and waits for it, or copies back. Writes to the target's account, journal and folder.

    Calls `look` with what it does at each poll, and with "" after each page; it may raise to stop. `meter` counts what is
    copied. Raises Refused, and Interrupted: the
    same command resumes.
    """
    with checkpoint.run.saving(), _refusals(), Stage(checkpoint.run, "restore") as stage:
        if found.kind == COPY:
            return _copy(checkpoint, found, target, stage, look, meter or Meter())
        table = _begun(stage, found, target)
        if table is None:
            table = _new_name(found.table, target)
            stage.record("restoring", source=found.text, table=table)
        if tables.describe(target, table) is None:
            _begin(found, table, target, look)
        active = backups.wait_restored(target, table, DEADLINE, lambda s: look(f"{table} is being restored, {s:.0f} s"))
        items = active.items
        if not items and found.kind == BACKUP and (backup := backups.describe(target, found.backup)):
            items = backup.items  # DynamoDB counts a new table hours later
        stage.record("restored", source=found.text, table=table, items=items)
        checkpoint.run.logger().info("restored %s into %s", found.text, table)
        return Restored(found.text, found.kind, table, items)


def alerts(restored: Restored) -> list[Alert]:
    """The open items of a restore. Pure."""
    if restored.kind != COPY:
        message = (
            f"restored {restored.source} into this new table: {plural(restored.items, 'item')} by DynamoDB's count"
        )
        action = (
            "A restore is not an undo: the old table is unchanged. Point the application to the new one, or copy back what "
            f"is missing with --restore-from {restored.table}. Not carried over: {', '.join(NOT_CARRIED_OVER)}."
        )
        return [Alert("", restored.table, message, action)]
    if not restored.different:
        return []
    message = f"{plural(restored.different, 'item')} different in the backup, and left as they are in the target"
    return [Alert(REVIEW, restored.table, message, f"See {CONFLICTS}.jsonl; decide on each by hand.")]


def _begin(found: Wanted, table: str, target: Connection, look: Callable[[str], None]) -> None:
    """Requests the restore; repeats the request while DynamoDB has too much to do."""
    for pause in tables.pauses(START_DEADLINE):
        look(f"asking for {table}")
        try:
            if found.kind == BACKUP:
                backups.restore(target, table, arn=found.backup)
            else:
                backups.restore(target, table, of=found.table, at=found.at)
            return
        except DynamoError as problem:
            if problem.code == "TableAlreadyExistsException":  # requested before; the reply was lost
                return
            if problem.code not in backups.BUSY:
                raise
            reason = problem.code
        pause()
    raise Interrupted(f"{found.text} cannot be restored now ({reason}); wait a while.")


def _begun(stage: Stage, found: Wanted, target: Connection) -> str | None:
    """The table that an earlier attempt of the same restore created, or was about to; None where it is gone."""
    table, done = None, False
    for event in stage.events("restoring", "restored"):
        if event["source"] == found.text:
            table, done = event["table"], event["kind"] == "restored"
    return None if done and tables.describe(target, table) is None else table


def _new_name(table: str, target: Connection) -> str:
    """`<table>-restored-<time>`, a name that no table has."""
    while True:
        name = backups.restored_name(table, f"{now():%Y%m%d%H%M%S}")
        if tables.describe(target, name) is None:
            return name


def _copy(
    checkpoint: Checkpoint,
    found: Wanted,
    target: Connection,
    stage: Stage,
    look: Callable[[str], None],
    meter: Meter,
) -> Restored:
    key = _key(found, target)
    meter.begin({found.backup: tables.describe(target, found.backup).items}, "copying")
    meter.move(found.backup)

    def settled() -> None:
        meter.add(found.backup, 1)

    entries = [name for name, about in checkpoint.entries.items() if about["target"] == found.table]
    label = entries[0] if len(entries) == 1 else found.table
    counts: Counter = Counter()
    stage.record("copying", source=found.backup, table=found.table)
    with ThreadPoolExecutor(checkpoint.parameters.limits.workers, thread_name_prefix="restore") as pool:

        def conflicts() -> Iterator[dict[str, Any]]:
            for items in target.wire.scan_pages(found.backup):
                batches = [items[at : at + BATCH] for at in range(0, len(items), BATCH)]
                for number, different in pool.map(
                    lambda batch: _settle(target, found.table, key, batch, settled), batches
                ):
                    counts.update(number)
                    yield from (entry_of(label, *one) for one in different)
                look("")

        try:
            write_listing(checkpoint.run.folder, CONFLICTS, conflicts())
            meter.finish(found.backup)
        except DynamoError as problem:
            raise Interrupted(str(problem)) from None
    stage.record("copied", source=found.backup, table=found.table, counts=counts)
    checkpoint.run.logger().info("copied back from %s into %s: %s", found.backup, found.table, dict(counts))
    return Restored(found.text, COPY, found.table, counts.total(), **counts)


def _settle(
    target: Connection, table: str, key: list[str], items: list[dict], settled: Callable[[], object]
) -> tuple[Counter, list[tuple]]:
    """Inserts the items that are absent, and calls `settled` after each item.

    Returns counts, and key, attribute and reason of those that differ.
    """
    counts: Counter = Counter()
    different = []
    keys = [{name: item[name] for name in key} for item in items]
    for item, at, there in zip(items, keys, target.wire.get_many(table, keys), strict=True):
        there = there or target.wire.put_new(table, item, key[0])
        settled()
        if there is None or digest(there) == digest(item):
            # Where an attempt was not answered, what is there now is what that attempt inserted.
            counts["inserted" if there is None or isinstance(there, MaybeOurs) else "equal"] += 1
            continue
        counts["different"] += 1
        names = sorted(n for n in item.keys() | there.keys() if not equal(item.get(n), there.get(n)))
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        reason = (
            f"the target holds a different item under this key (in {', '.join(names[:NAMED])}{more}); left as it is"
        )
        different.append((at, names[0] if len(names) == 1 else "", reason))
    return counts, different


def _key(found: Wanted, target: Connection) -> list[str]:
    """Both tables' key attributes, partition key first. Raises Refused where they differ, or one table is not active."""
    sides = []
    for name in (found.backup, found.table):
        table = tables.describe(target, name)
        if table is None or table.status not in ("ACTIVE", "UPDATING"):
            state = f"{table.status}; wait until it is ACTIVE" if table else f"not in {target.region}; check the name"
            raise Refused(f"{found.text}: {name} is {state}.")
        sides.append(table)
    if sides[0].is_same(sides[1]):
        raise Refused(f"{found.text}: {found.backup} and {found.table} are one table; name the restored table first.")
    if sides[0].key != sides[1].key:
        raise Refused(f"{found.text}: {found.backup} and {found.table} have different keys; copy between equal tables.")
    return [name for name, _ in sides[0].key]


def _target(name: str, checkpoint: Checkpoint) -> str:
    """The target table that a table's or entry's name means."""
    known = {about["target"] for about in checkpoint.entries.values()}
    table = checkpoint.entries[name]["target"] if name in checkpoint.entries else name
    table = next((one for one in known if table_name(one) == table_name(table)), table)
    if table not in known:
        raise Refused(
            f"{name} is not a target table of run {checkpoint.run.id}; its tables: {', '.join(sorted(known))}."
        )
    return table


def _moment(text: str, whole: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(f"{whole}: {text!r} is not a time; write it as in TABLE@2026-11-22T03:00:00Z.") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment > now():
        raise Refused(f"{whole}: that time is in the future; name a past one.")
    return moment


@contextmanager
def _refusals() -> Iterator[None]:
    """A block that raises Refused for what DynamoDB refuses for good or the engine lacks."""
    try:
        yield
    except DynamoError as problem:
        outside = getattr(problem, "code", "") == "InvalidRestoreTimeException"
        fix = "; choose a time within the table's recovery window." if outside else "."
        raise Refused(str(problem).rstrip(".") + fix) from None
