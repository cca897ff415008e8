"""The calls about backups with a scripted client: what each refusal becomes, and that no reply is shown."""

import contextlib
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from runbook_lib.dynamo import backups, tables
from runbook_lib.dynamo.rate_limiter import RateLimiter
from runbook_lib.errors import DynamoError, Interrupted, NotAvailable, Refused
from runbook_lib.report import work
from runbook_lib.stages.migrate import backup_gate
from runbook_lib.stages.rollback import restore

ARN = "arn:aws:dynamodb:us-west-1:123456789012:table/T/backup/01"
AWS = "https://dynamodb.us-west-1.amazonaws.com"
NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)


class Client:
    """Answers every operation with what `script` yields next, raising what is an exception; keeps the requests."""

    def __init__(self, *script):
        self.script, self.requests = list(script), []

    def __getattr__(self, operation):
        def answer(**request):
            self.requests.append((operation, request))
            found = self.script.pop(0) if len(self.script) > 1 else self.script[0]
            if isinstance(found, Exception):
                raise found
            return found

        return answer


def scripted(*script, url="http://x", label="target"):
    about = {"label": label, "region": "us-west-1", "endpoint_url": url, "who": ""}
    return SimpleNamespace(**about, address=(url, "us-west-1"), client=Client(*script), limiter=RateLimiter())


def refusal(code, status=400, message="about canary-of-a-value"):
    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "CreateBackup")


CALLS = {
    "DescribeContinuousBackups": lambda target: backups.recovery(target, "T"),
    "CreateBackup": lambda target: backups.create(target, "T", "runbook-x-T"),
    "DescribeBackup": lambda target: backups.describe(target, ARN),
    "RestoreTableFromBackup": lambda target: backups.restore(target, "T-restored", arn=ARN),
    "RestoreTableToPointInTime": lambda target: backups.restore(target, "T-restored", of="T", at=NOW),
}


@pytest.fixture(params=CALLS)
def operation(request):
    return request.param


def ask(operation, *script, **options):
    return CALLS[operation](scripted(*script, **options))


@pytest.mark.parametrize("code", ["AccessDeniedException", "AccessDenied"])
def test_a_missing_right_is_named(operation, code):
    """One sentence with operation, place and right; not the engine's own text."""
    with pytest.raises(
        Refused,
        match=rf"^target: {operation} on .*access denied; allow dynamodb:{operation} on .* for the role or user\.$",
    ) as found:
        ask(operation, refusal(code))
    assert "canary" not in str(found.value)


LACKS = [
    refusal("UnknownOperationException"),
    refusal("UnknownOperation"),
    refusal("NotImplemented", 501),
    refusal("501", 501),
    refusal("ValidationException", message="Backups are not supported"),
    refusal("ValidationException", message="unsupported operation"),
]


@pytest.mark.parametrize("answer", LACKS)
def test_an_engine_that_lacks_the_call_is_told_apart(operation, answer):
    """By its code, the HTTP status, or its words."""
    with pytest.raises(NotAvailable, match=f"{operation} .*not available here"):
        ask(operation, answer)


@pytest.mark.parametrize("answer", [LACKS[0], LACKS[4]])
def test_aws_never_lacks_the_call(operation, answer):
    """There it is a refusal as any other: a migration does not go on without a backup."""
    with pytest.raises(DynamoError, match="was refused"):
        ask(operation, answer, url=AWS)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refusal("ThrottlingException"), Interrupted),
        (refusal("InternalServerError", 500), Interrupted),
        (refusal("ExpiredTokenException"), Refused),
        (EndpointConnectionError(endpoint_url="http://x"), Refused),
        (refusal("ValidationException"), DynamoError),
        (refusal("LimitExceededException"), DynamoError),
    ],
)
def test_everything_else_is_as_for_tables(operation, answer, kind):
    """Interrupted where it passes, Refused where something is to be mended, else for the caller."""
    with pytest.raises(kind) as found:
        ask(operation, answer)
    assert type(found.value) is kind
    assert "canary" not in str(found.value)


def test_the_source_is_never_asked_to_back_up_or_restore():
    """It is only read."""
    for operation in ("CreateBackup", "RestoreTableFromBackup"):
        with pytest.raises(AssertionError):
            ask(operation, {}, label="source")


@pytest.mark.parametrize("status", ["ENABLED", "DISABLED", None])
def test_recovery_is_on_only_where_dynamodb_says_so(status):
    """A reply without the part about recovery says that it is off."""
    part = {"PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": status}} if status else {}
    found = ask("DescribeContinuousBackups", {"ContinuousBackupsDescription": part})
    assert found.on is (status == "ENABLED")


def test_a_backup_that_is_not_there_is_none():
    """It was deleted, or the ARN is another account's."""
    assert ask("DescribeBackup", refusal("BackupNotFoundException")) is None


def test_what_is_asked_for():
    """Names and times reach DynamoDB as they are."""
    target = scripted({"BackupDetails": {"BackupArn": ARN}})
    assert backups.create(target, "T", "runbook-x-T") == ARN
    backups.restore(target, "T-restored", arn=ARN)
    backups.restore(target, "T-restored", of="T", at=NOW)
    assert target.client.requests == [
        ("create_backup", {"TableName": "T", "BackupName": "runbook-x-T"}),
        ("restore_table_from_backup", {"TargetTableName": "T-restored", "BackupArn": ARN}),
        (
            "restore_table_to_point_in_time",
            {"SourceTableName": "T", "TargetTableName": "T-restored", "RestoreDateTime": NOW},
        ),
    ]


def test_waiting_for_a_table_tells_how_long_and_can_be_stopped(monkeypatch):
    """`tell` hears before each look; what it raises ends the waiting; the deadline interrupts."""
    monkeypatch.setattr(tables, "POLL", 0.01)
    monkeypatch.setattr(backups, "LOOK", 0.03)
    key = [{"AttributeName": "id", "KeyType": "HASH"}]
    table = {
        "TableName": "T",
        "TableStatus": "CREATING",
        "KeySchema": key,
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    }
    told = []
    with pytest.raises(Interrupted, match=r"T is not active .*\(CREATING\)"):
        backups.wait_restored(scripted({"Table": table}), "T", 0.1, told.append)
    assert len(told) > 2
    assert told == sorted(told)

    def stop(seconds):
        raise Interrupted("stop was requested.")

    with pytest.raises(Interrupted, match="stop was requested"):
        backups.wait_restored(scripted({"Table": table}), "T", 60, stop)
    assert (
        backups.wait_restored(scripted({"Table": table | {"TableStatus": "ACTIVE"}}), "T", 60, told.append).name == "T"
    )


@pytest.mark.parametrize(("minutes", "fits"), [(-90, False), (-30, True), (-2, False)])
def test_a_time_outside_the_window_is_refused_on_aws(minutes, fits):
    """Before the undo, with the window; other engines, whose windows mean nothing, decide themselves."""
    part = {
        "PointInTimeRecoveryStatus": "ENABLED",
        "EarliestRestorableDateTime": NOW - timedelta(hours=1),
        "LatestRestorableDateTime": NOW - timedelta(minutes=5),
    }
    reply = {"ContinuousBackupsDescription": {"PointInTimeRecoveryDescription": part}}
    found = restore.Wanted("T@time", restore.POINT_IN_TIME, "T", at=NOW + timedelta(minutes=minutes))
    restore.check(found, scripted(reply))
    words = "only times from 2026-11-22T02:00:00Z to 2026-11-22T02:55:00Z can be restored now"
    with contextlib.nullcontext() if fits else pytest.raises(Refused, match=words):
        restore.check(found, scripted(reply, url=AWS))


@pytest.mark.parametrize("status", ["CREATING", "DELETED"])
def test_a_backup_that_is_not_available_is_not_restored(status):
    """Refused, saying what it is."""
    details = {"BackupDescription": {"BackupDetails": {"BackupStatus": status}}}
    with pytest.raises(Refused, match=f"is {status}; choose one that is AVAILABLE"):
        restore.check(restore.Wanted(ARN, restore.BACKUP, "T", ARN), scripted(details))


def test_the_views_say_what_stands_behind_a_table_and_what_a_restore_is_not():
    """A line a table; nothing where the target is not production; the list of what is not carried over."""
    kinds = (backup_gate.POINT_IN_TIME, backup_gate.ON_DEMAND, backup_gate.WAIVED, backup_gate.NOT_AVAILABLE)
    page = work.backups({f"T<{kind}>": {"kind": kind, "arn": None} for kind in kinds})
    assert page.count("<tr") == len(kinds) + 1
    assert "T&lt;waived&gt;" in page
    assert set(backup_gate.PLANNED) == set(kinds)
    assert "No backup is needed" in work.backups({})
    page = work.restored(restore.Restored(ARN, restore.BACKUP, "T-restored-20261122030000", 3))
    said = "A restore is not an undo", "T-restored-20261122030000", "3 items", "table class Standard"
    for words in (*said, *restore.NOT_CARRIED_OVER):
        assert words in page
    page = work.restored(restore.Restored("T-restored-1", restore.COPY, "T", 3, 1, 1, 1))
    assert "into T" in page
    assert "overwritten" in page
