"""Backups of tables, by boto3's client: point-in-time recovery, on-demand backups, restoring either into a new table.

Every call raises NotAvailable where the engine has no such call, Refused without access or an endpoint, Interrupted
where the endpoint is overloaded, and DynamoError for what else DynamoDB refuses.
"""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from ..errors import DynamoError, Interrupted, NotAvailable, Refused
from . import tables
from .session import Connection, is_aws
from .tables import Table

AVAILABLE, CREATING, DELETED = "AVAILABLE", "CREATING", "DELETED"
# What passes by itself: too many backups or restores at once, a table or backup that is being changed, and a table so
# new that DynamoDB has not made it ready for backups.
BUSY = frozenset(
    "LimitExceededException ContinuousBackupsUnavailableException TableInUseException BackupInUseException "
    "ResourceInUseException".split()
)
LOOK = 30.0  # seconds between two words about a table that is being restored
_LACKS = frozenset("UnknownOperationException UnknownOperation NotImplemented NotImplementedException 501".split())
_UNSUPPORTED = re.compile(r"\b(un|not )supported\b|\bnot implemented\b", re.IGNORECASE)


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


def recovery(connection: Connection, table: str, otherwise: str = "") -> Recovery:
    """Whether a table can be restored to a point in time. Read-only. `otherwise` ends the sentence about a missing right."""
    with _asking(connection, "DescribeContinuousBackups", table, otherwise):
        reply = connection.client.describe_continuous_backups(TableName=table)
    about = reply.get("ContinuousBackupsDescription", {}).get("PointInTimeRecoveryDescription", {})
    on = about.get("PointInTimeRecoveryStatus") == "ENABLED"
    return Recovery(on, about.get("EarliestRestorableDateTime"), about.get("LatestRestorableDateTime"))


def create(connection: Connection, table: str, name: str, otherwise: str = "") -> str:
    """Starts an on-demand backup; gives its ARN. Writes to the account, not to the table.

    Raises DynamoError with a code of BUSY where it may be tried again.
    """
    assert connection.label != "source", "the source is only read"
    with _asking(connection, "CreateBackup", table, otherwise):
        return connection.client.create_backup(TableName=table, BackupName=name)["BackupDetails"]["BackupArn"]


def describe(connection: Connection, arn: str, otherwise: str = "") -> Backup | None:
    """The backup of that ARN, or None where there is none (any more). Read-only."""
    try:
        with _asking(connection, "DescribeBackup", arn, otherwise):
            about = connection.client.describe_backup(BackupArn=arn)["BackupDescription"]
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
    assert connection.label != "source", "the source is only read"
    operation = "RestoreTableFromBackup" if arn else "RestoreTableToPointInTime"
    with _asking(connection, operation, table):
        if arn:
            connection.client.restore_table_from_backup(TargetTableName=table, BackupArn=arn)
        else:
            connection.client.restore_table_to_point_in_time(
                SourceTableName=of, TargetTableName=table, RestoreDateTime=at
            )


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


@contextmanager
def _asking(connection: Connection, operation: str, name: str, otherwise: str = "") -> Iterator[None]:
    """As tables.sentences; and NotAvailable where the engine lacks the call, and which right is missing by its name."""
    from botocore.exceptions import ClientError

    with tables.sentences(connection, operation, name):
        try:
            yield
        except ClientError as problem:
            where = tables.where_is(connection, operation, name)
            if problem.response.get("Error", {}).get("Code") in tables.DENIED:
                raise Refused(f"{where}: access denied; allow dynamodb:{operation}{otherwise}.") from None
            if not is_aws(connection.endpoint_url) and _lacks(problem.response):
                raise NotAvailable(f"{where}: not available here: this endpoint has no such operation.") from None
            raise


def _lacks(response: dict) -> bool:
    content, status = response.get("Error", {}), response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    code, text = content.get("Code", ""), content.get("Message", "")
    return status == 501 or code in _LACKS or (code == "ValidationException" and bool(_UNSUPPORTED.search(text)))
