"""Backups of tables, by boto3's client: point-in-time recovery, on-demand backups, restoring either into a new table.

Every call raises NotAvailable where the engine has no such call, Refused without access or an endpoint, Interrupted
where the endpoint is overloaded, and DynamoError for what else DynamoDB refuses.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from ..errors import DynamoError, Interrupted
from . import tables
from .errors import table_name
from .session import Connection
from .tables import Table

AVAILABLE, CREATING, DELETED = "AVAILABLE", "CREATING", "DELETED"
# What passes by itself: too many backups or restores at once, a table or backup that is being changed, and a table so
# new that DynamoDB has not made it ready for backups.
BUSY = frozenset(
    "LimitExceededException ContinuousBackupsUnavailableException TableInUseException BackupInUseException "
    "ResourceInUseException".split()
)
KEPT = 231  # characters of a table's name in that of a restored one
LOOK = 30.0  # seconds between two words about a table that is being restored


@dataclass(frozen=True)
class Recovery:
    """What DescribeContinuousBackups says of point-in-time recovery; the times only where it is on."""

    on: bool
    earliest: datetime | None = None
    latest: datetime | None = None


@dataclass(frozen=True)
class Backup:
    """An on-demand backup. `items` is DynamoDB's own count of the table, hours old."""

    arn: str
    status: str  # CREATING, AVAILABLE or DELETED
    items: int


def restored_name(table: str, end: str) -> str:
    """The name of a table that `table`, by name or ARN, is restored into; `end` tells one restore from another."""
    return f"{table_name(table)[:KEPT]}-restored-{end}"


def recovery(connection: Connection, table: str, otherwise: str = "") -> Recovery:
    """Whether a table can be restored to a point in time. Read-only. `otherwise` ends the sentence about a missing right."""
    send = partial(connection.client.describe_continuous_backups, TableName=table)
    reply = tables.asked(connection, "DescribeContinuousBackups", table, send, otherwise)
    about = reply["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
    on = about.get("PointInTimeRecoveryStatus") == "ENABLED"
    return Recovery(on, about.get("EarliestRestorableDateTime"), about.get("LatestRestorableDateTime"))


def set_recovery(connection: Connection, table: str) -> None:
    """Makes a table restorable to a point in time; waits while it is too new. Writes to the target's account."""
    wanted = {"PointInTimeRecoveryEnabled": True}
    tables.change(
        connection,
        "UpdateContinuousBackups",
        table,
        lambda: connection.client.update_continuous_backups(TableName=table, PointInTimeRecoverySpecification=wanted),
        BUSY,
    )


def create(connection: Connection, table: str, name: str, otherwise: str = "") -> str:
    """Starts an on-demand backup; gives its ARN. Writes to the account, not to the table.

    Raises DynamoError with a code of BUSY where it may be tried again.
    """
    tables.may_write(connection)
    send = partial(connection.client.create_backup, TableName=table, BackupName=name)
    return tables.asked(connection, "CreateBackup", table, send, otherwise)["BackupDetails"]["BackupArn"]


def describe(connection: Connection, arn: str, otherwise: str = "") -> Backup | None:
    """The backup of that ARN, or None where there is none (any more). Read-only."""
    try:
        send = partial(connection.client.describe_backup, BackupArn=arn)
        about = tables.asked(connection, "DescribeBackup", arn, send, otherwise)["BackupDescription"]
    except DynamoError as problem:
        if problem.code == "BackupNotFoundException":
            return None
        raise
    items = about.get("SourceTableDetails", {}).get("ItemCount", 0)
    return Backup(arn, about["BackupDetails"]["BackupStatus"], items)


def restore(connection: Connection, table: str, *, arn: str = "", of: str = "", at: datetime | None = None) -> None:
    """Begins to restore a backup (`arn`), or a table (`of`) as it was at a time, into the new table `table`.

    Raises DynamoError with a code of BUSY where it may be tried again.
    """
    tables.may_write(connection)
    client = connection.client
    if arn:
        send = partial(client.restore_table_from_backup, TargetTableName=table, BackupArn=arn)
        tables.asked(connection, "RestoreTableFromBackup", table, send)
    else:
        about = {"SourceTableName": of, "TargetTableName": table, "RestoreDateTime": at}
        send = partial(client.restore_table_to_point_in_time, **about)
        tables.asked(connection, "RestoreTableToPointInTime", table, send)


def wait_restored(connection: Connection, table: str, timeout: float, tell: Callable[[float], None]) -> Table:
    """The restored table once it is active. Read-only. `tell` gets the seconds so far, and may raise to stop waiting.

    Raises Interrupted at the deadline.
    """
    began = time.monotonic()
    while True:
        tell(time.monotonic() - began)
        left = began + timeout - time.monotonic()
        try:
            return tables.wait_active(connection, table, min(LOOK, left))
        except Interrupted:
            if left <= LOOK:
                raise
