"""The rights that each stage needs: one table, of which `runbook iam` makes policies and a test the one in docs/commands.md.

A right is actions on a kind of thing, where a condition holds. Tests run every stage on an endpoint that allows exactly
these, and find each of them used, apart from those in `UNSEEN`. Pure.
"""

from collections.abc import Callable
from typing import NamedTuple

from ..mapping.create import LIKE_SOURCE, Create
from ..mapping.model import Entry
from ..parameters import Parameters
from ..walk.plan import SKIP

# What rights are on. Those on entries' own tables, and on what belongs to these tables:
SOURCE, STREAM, TARGET = "SourceTable", "SourceStream", "TargetTable"
INDEX, BACKUP, RESTORED = "TargetIndex", "TargetBackup", "TargetRestored"
# and those that no entry decides:
LIST, LEASE, ROLE, CALLER = "SourceList", "TargetLease", "TargetRollbackRole", "Caller"
JOURNAL, BUCKET = "TargetJournal", "TargetBucket"


class When(NamedTuple):
    """A condition on the parameters and an entry; for rights that no entry decides it is asked without one."""

    says: str
    holds: Callable[[Parameters, Entry | None], bool]


class Right(NamedTuple):
    """Actions on a kind of thing. Without a service before it, an action is DynamoDB's."""

    on: str
    actions: str
    when: When | None = None


def _of_create(holds: Callable[[Create], object]) -> Callable[[Parameters, Entry], bool]:
    return lambda _, entry: isinstance(entry.model.create, Create) and bool(holds(entry.model.create))


CREATED = When("with `create`", lambda _, entry: entry.model.create is not None)
LIKE = When("for `like_source`", lambda _, entry: entry.model.create == LIKE_SOURCE)
TAGGED = When("with tags", _of_create(lambda create: create.tags))
# A source may have TTL whatever the mapping says, and `like_source` sets what the source has.
EXPIRING = When(
    "with TTL, or `like_source`",
    lambda _, e: e.model.create == LIKE_SOURCE or bool(e.model.described and e.model.described.ttl),
)
RECOVERABLE = When("with point-in-time recovery", _of_create(lambda create: create.point_in_time_recovery))
SKIPPED = When("for `expired: skip`", lambda _, entry: entry.model.expired == SKIP)
MATCHED = When("for `match`", lambda _, entry: entry.model.match is not None)
QUERIED = When("for `queries`", lambda _, entry: any(not query.index for query in entry.model.queries.values()))
QUERIED_BY_INDEX = When("for `queries`", lambda _, entry: any(query.index for query in entry.model.queries.values()))
BACKED_UP = When(
    "in production, unless the backup is waived",
    lambda given, _: given.target.production and given.target.backup == "required",
)
ALONE = When("without `target.rollback_role_arn`", lambda given, _: not given.target.rollback_role_arn)
# With a role of its own the target's role deletes nothing; it takes no other role, the credentials behind it do.
BY_ROLE = When(
    "with `target.rollback_role_arn`, unless `target.role_arn` is given",
    lambda given, _: bool(given.target.rollback_role_arn) and not given.target.role_arn,
)
LEASED = When("with `lease`", lambda given, _: given.lease is not None)
IN_BUCKET = When("with `limits.journal` in S3", lambda given, _: (given.limits.journal or "").startswith("s3://"))

CALLS_STS = Right(CALLER, "sts:GetCallerIdentity")
SETTINGS = "DescribeTimeToLive DescribeContinuousBackups"
BACKS_UP = (
    Right(TARGET, "CreateBackup", BACKED_UP),
    Right(BACKUP, "DescribeBackup", BACKED_UP),
)
LEASES = Right(LEASE, "DescribeTable GetItem PutItem", LEASED)
KEEPS_JOURNAL = (
    Right(JOURNAL, "s3:GetObject s3:PutObject", IN_BUCKET),
    Right(BUCKET, "s3:ListBucket", IN_BUCKET),
)
CREATES = (
    Right(SOURCE, "DescribeTimeToLive", LIKE),
    Right(TARGET, "CreateTable", CREATED),
    Right(TARGET, "TagResource", TAGGED),
    Right(TARGET, "DescribeTimeToLive UpdateTimeToLive", EXPIRING),
    Right(TARGET, "UpdateContinuousBackups", RECOVERABLE),
)
# An entry's items are read and inserted, and what the target holds under their keys is read.
INSERTS = (
    Right(SOURCE, "DescribeTable Scan BatchGetItem"),
    Right(TARGET, "DescribeTable BatchGetItem PutItem PartiQLInsert"),
    LEASES,
)
LOOKS = Right(TARGET, "Scan")  # whether a table is empty
MIGRATES = (
    *INSERTS,
    Right(SOURCE, SETTINGS),  # to compare with what 01 saw
    Right(TARGET, SETTINGS),  # and to know which tables need a backup
    *BACKS_UP,
    *KEEPS_JOURNAL,
)
UNDOES = (
    Right(SOURCE, "DescribeTable BatchGetItem"),  # to name what differs in kept items
    Right(TARGET, "DescribeTable BatchGetItem DeleteItem PutItem"),  # PutItem: to put an item back
    LEASES,
    *KEEPS_JOURNAL,
)
# AWS documents read and write permissions on the table that a restore makes.
RESTORE_WRITES = "Query GetItem PutItem UpdateItem DeleteItem BatchWriteItem"

COMPARES = (
    Right(SOURCE, f"DescribeTable Scan BatchGetItem {SETTINGS}"),
    Right(TARGET, f"DescribeTable Scan BatchGetItem {SETTINGS}"),
)
READS_STREAMS = Right(STREAM, "DescribeStream GetShardIterator GetRecords")
TAKES_BACK = Right(TARGET, "DeleteItem", ALONE), Right(ROLE, "sts:AssumeRole", BY_ROLE)  # by itself

STAGES: dict[str, tuple[Right, ...]] = {
    "draft": (
        Right(LIST, "ListTables"),
        Right(SOURCE, "DescribeTable Scan DescribeTimeToLive"),
        Right(TARGET, "DescribeTable Scan"),  # for natural keys
        CALLS_STS,
    ),
    "analyze": (*COMPARES, CALLS_STS),
    "test": (
        *INSERTS,
        LOOKS,
        Right(SOURCE, "DescribeTimeToLive", SKIPPED),
        *CREATES,
        *TAKES_BACK,
        CALLS_STS,
    ),
    "create-tables": (
        Right(SOURCE, "DescribeTable"),
        Right(TARGET, "DescribeTable"),
        *CREATES,
        CALLS_STS,
    ),
    "migrate": (*MIGRATES, LOOKS, Right(ROLE, "sts:AssumeRole", BY_ROLE), CALLS_STS),
    "validate": (
        *COMPARES,
        Right(TARGET, "Query", QUERIED),
        Right(INDEX, "Query", QUERIED_BY_INDEX),
        CALLS_STS,
    ),
    "rollback": (*UNDOES, Right(TARGET, "Scan DeleteTable", CREATED), CALLS_STS),
    "delta": (*MIGRATES, Right(TARGET, "Scan", MATCHED), *TAKES_BACK, CALLS_STS),
    "follow": (
        *MIGRATES,
        LOOKS,
        READS_STREAMS,
        *TAKES_BACK,
        CALLS_STS,
    ),  # a migration, and then deltas of what the streams hold
    "restore": (
        *UNDOES,
        Right(TARGET, "DescribeContinuousBackups RestoreTableToPointInTime"),
        Right(BACKUP, "DescribeBackup RestoreTableFromBackup"),
        Right(RESTORED, f"RestoreTableFromBackup RestoreTableToPointInTime DescribeTable Scan {RESTORE_WRITES}"),
        CALLS_STS,
    ),
}

# Rights that no test sees used, with the reason.
UNSEEN: dict[tuple[str, str], str] = {
    **{(RESTORED, action): "AWS documents it for a restore" for action in RESTORE_WRITES.split()},
    (CALLER, "sts:GetCallerIdentity"): "the endpoint lets STS pass; AWS allows it to everybody",
    (ROLE, "sts:AssumeRole"): "the endpoint lets STS pass",
    (JOURNAL, "s3:GetObject"): "the endpoint is DynamoDB's; docs/scale.md names what a journal in a bucket needs",
    (JOURNAL, "s3:PutObject"): "as s3:GetObject",
    (BUCKET, "s3:ListBucket"): "as s3:GetObject",
}
