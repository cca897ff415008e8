"""Deletes target tables that a run created: a separate step after the undo, for tables named one by one."""

from dataclasses import dataclass

from ...dynamo import tables
from ...dynamo.session import Connection
from ...errors import DynamoError, Refused
from ...journal.checkpoint import Checkpoint
from ...journal.stage import Stage


@dataclass(frozen=True)
class TableDeletion:
    """The result for one table."""

    table: str
    deleted: bool
    reason: str  # why it was left, or ""


def created_tables(checkpoint: Checkpoint) -> dict[str, str]:
    """Table → entry, for the tables that this run created and has not deleted. Read-only."""
    return _created(Stage(checkpoint.run, "create"))


def _created(stage: Stage) -> dict[str, str]:
    made = {event["table"]: event["entry"] for event in stage.events("creating")}
    gone = {event["table"] for event in stage.events("deleted")}
    return {table: entry for table, entry in made.items() if table not in gone}


def resolve_tables(checkpoint: Checkpoint, names: list[str]) -> list[str]:
    """The tables that `names` (entries or tables) mean. Raises Refused where this run did not create one of them."""
    return _resolve(checkpoint, names, created_tables(checkpoint))


def _resolve(checkpoint: Checkpoint, names: list[str], made: dict[str, str]) -> list[str]:
    found = []
    for name in names:
        table = checkpoint.entries[name]["target"] if name in checkpoint.entries else name
        if table not in made:
            known = ", ".join(sorted(made)) or "none"
            raise Refused(f"{name}: run {checkpoint.run.id} did not create this table; it created: {known}.")
        found.append(table)
    return list(dict.fromkeys(found))


def delete_tables(checkpoint: Checkpoint, target: Connection, names: list[str]) -> list[TableDeletion]:
    """Deletes the named tables that are empty. Writes to the target's account and the run's journal.

    A table that still holds an item, whoever wrote it, that is protected, that DynamoDB never confirmed to this run, or that
    somebody else has made since, stays; the result gives the reason.
    """
    results = []
    with Stage(checkpoint.run, "create") as stage:
        confirmed = {event["table"] for event in stage.events("made", "created")}
        identities = {event["table"]: known for event in stage.events("created") if (known := event.get("identity"))}
        for table in _resolve(checkpoint, names, _created(stage)):
            try:
                reason = _delete(target, table, identities.get(table), known=table in confirmed)
            except (DynamoError, Refused) as problem:
                reason = getattr(problem, "message", "") or str(problem).rstrip(".")
            if not reason:
                stage.record("deleted", table=table)
            results.append(TableDeletion(table, not reason, reason))
    return results


def _delete(target: Connection, table: str, identity: str | None, *, known: bool) -> str:
    """Why a table stays, "" once it is gone. `known`: that this run made it; `identity`: of the one that it made."""
    found = tables.describe(target, table)
    if found is None:
        return ""
    if not known:  # the run ended when it was about to make it: it may be somebody else's
        return "whether this run made it is not known"
    if found.identity not in (None, identity or found.identity):
        return "somebody else has made it since"
    if not tables.is_empty(target, table):
        return "it still holds items"
    tables.delete(target, table)
    return ""
