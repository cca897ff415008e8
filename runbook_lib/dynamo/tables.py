"""Tables as such: what they are, making them, waiting for them, deleting them. By boto3's client; no item passes."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..errors import DynamoError, Interrupted, Refused
from ..mapping.model import Create
from . import errors as faults
from .session import Connection

DEADLINE = 300.0  # seconds for a table to become active, or to be gone
POLL = 0.2  # seconds at first between two looks, doubled up to MAX_POLL
MAX_POLL = 5.0
GARBLED = 3  # how often a reply may make no sense
NOT_DYNAMODB = "what answers there is not DynamoDB; check endpoint_url and any proxy"
SETTLING = frozenset({"ResourceNotFoundException", "ResourceInUseException", "LimitExceededException"})
DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})


@dataclass(frozen=True)
class Index:
    """A secondary index, global or local. `key` is (attribute, type letter), partition key first."""

    key: tuple[tuple[str, str], ...]
    projection: str


@dataclass(frozen=True)
class Table:
    """What DescribeTable says. `items` and `size_bytes` are DynamoDB's own counts, hours old."""

    name: str
    key: tuple[tuple[str, str], ...]
    indexes: dict[str, Index]
    items: int
    size_bytes: int
    status: str
    billing: str  # PAY_PER_REQUEST or PROVISIONED
    arn: str | None
    stream: bool
    deletion_protection: bool
    write_capacity: int | None = None  # provisioned write units a second, the least of the table's and its indexes'


def describe(connection: Connection, name: str) -> Table | None:
    """Return the table, or None where it does not exist. Read-only.

    Raises Refused: no access, an endpoint that does not answer, credentials that are not accepted.
    """
    content = _describe(connection, name)
    return content and _table(content)


def create(connection: Connection, name: str, spec: Create) -> None:
    """Creates a table as `spec` says (key, indexes, tags, billing) and returns while it is still being made.

    Waits where too many tables are being made at once. Raises Refused without access, Interrupted where that does not
    end, DynamoError where the table exists or the description is wrong.
    """
    _may_write(connection)
    request = _create_request(name, spec)
    for pause in pauses(DEADLINE):
        try:
            with sentences(connection, "CreateTable", name):
                connection.client.create_table(**request)
            return
        except DynamoError as refused:
            if refused.code != "LimitExceededException":
                raise
        pause()
    raise Interrupted(
        f"{connection.label}: {name} cannot be created, because too many tables are changing; wait a while."
    )


def wait_active(connection: Connection, name: str, timeout: float = DEADLINE) -> Table:
    """Return the table once it and all its indexes are active. Read-only. Raises Interrupted at the deadline."""
    state = "missing"
    for pause in pauses(timeout):
        if content := _describe(connection, name):
            indexes = content.get("GlobalSecondaryIndexes", [])
            states = {content["TableStatus"], *(index.get("IndexStatus", "ACTIVE") for index in indexes)}
            if states == {"ACTIVE"}:
                return _table(content)
            state = ", ".join(sorted(states - {"ACTIVE"}))
        pause()
    raise Interrupted(f"{connection.label}: {name} is not active after {timeout:.0f} seconds ({state}); wait a while.")


def delete(connection: Connection, name: str, timeout: float = DEADLINE) -> None:
    """Deletes a table with all its items, and returns when it is gone; one that does not exist is.

    Raises DynamoError where it is protected against deletion, Refused without access, Interrupted at the deadline.
    """
    _may_write(connection)
    for pause in pauses(timeout):
        if (content := _describe(connection, name)) is None:
            return
        if content.get("DeletionProtectionEnabled"):
            raise DynamoError(
                f"{connection.label}: {name} is protected against deletion; turn its deletion protection off first.",
                code="ValidationException",
                message="the table is protected against deletion",
                operation="DeleteTable",
                table=name,
            )
        if content["TableStatus"] != "DELETING":
            try:
                with sentences(connection, "DeleteTable", name):
                    connection.client.delete_table(TableName=name)
            except DynamoError as refused:  # gone meanwhile, or still being made or changed: look again
                if refused.code not in SETTLING:
                    raise
        pause()
    raise Interrupted(f"{connection.label}: {name} is not deleted after {timeout:.0f} seconds; wait a while.")


def difference(table: Table, spec: Create) -> list[str]:
    """Return what the table lacks of what `spec` describes, one phrase each; more indexes are no difference. Pure."""
    found = []
    if table.key != tuple(spec.key.items()):
        found.append(f"its key is {_key_text(table.key)}, not {_key_text(spec.key.items())}")
    for name, key in spec.indexes.items():
        index = table.indexes.get(name)
        if index is None:
            found.append(f"index {name} is missing")
            continue
        if index.key != tuple(key.items()):
            found.append(f"the key of index {name} is {_key_text(index.key)}, not {_key_text(key.items())}")
        if index.projection != "ALL":
            found.append(f"index {name} projects {index.projection}, not ALL")
    return found


def ttl_attribute(connection: Connection, name: str) -> str | None:
    """Return the attribute that says when an item expires, None where the table has none. Read-only.

    Raises DynamoError where the engine does not know the call, Refused as `describe` does.
    """
    with sentences(connection, "DescribeTimeToLive", name):
        about = connection.client.describe_time_to_live(TableName=name).get("TimeToLiveDescription", {})
    return about.get("AttributeName") if about.get("TimeToLiveStatus") != "DISABLED" else None


def is_empty(connection: Connection, name: str) -> bool:
    """Return whether a consistent Scan finds no item. Read-only. Raises as Wire does."""
    start = None
    while True:
        items, start = connection.wire.scan_page(name, start=start, limit=1)
        if items or start is None:
            return not items


def _may_write(connection: Connection) -> None:
    assert connection.label != "source", "the source is only read"


def _describe(connection: Connection, name: str) -> dict | None:
    try:
        with sentences(connection, "DescribeTable", name):
            for _ in range(GARBLED):
                try:
                    reply = connection.client.describe_table(TableName=name)
                except UnicodeDecodeError:  # botocore lets it escape, and reads other garbage as an empty reply
                    continue
                if "Table" in reply:
                    return reply["Table"]
            raise Refused(f"{where_is(connection, 'DescribeTable', name)}: {NOT_DYNAMODB}.")
    except DynamoError as refused:
        if refused.code == "ResourceNotFoundException":
            return None
        raise


def _table(content: dict) -> Table:
    types = {part["AttributeName"]: part["AttributeType"] for part in content["AttributeDefinitions"]}

    def key(schema: list[dict]) -> tuple[tuple[str, str], ...]:
        parts = sorted(schema, key=lambda part: part["KeyType"])  # HASH before RANGE
        return tuple((part["AttributeName"], types[part["AttributeName"]]) for part in parts)

    indexes = content.get("GlobalSecondaryIndexes", []) + content.get("LocalSecondaryIndexes", [])
    return Table(
        name=content["TableName"],
        key=key(content["KeySchema"]),
        indexes={
            index["IndexName"]: Index(key(index["KeySchema"]), index.get("Projection", {}).get("ProjectionType", "ALL"))
            for index in indexes
        },
        items=content.get("ItemCount", 0),
        size_bytes=content.get("TableSizeBytes", 0),
        status=content["TableStatus"],
        billing=content.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED"),
        arn=content.get("TableArn"),
        stream=content.get("StreamSpecification", {}).get("StreamEnabled", False),
        deletion_protection=content.get("DeletionProtectionEnabled", False),
        write_capacity=_write_capacity(content),
    )


def _write_capacity(content: dict) -> int | None:
    """None where the table is on demand."""
    if content.get("BillingModeSummary", {}).get("BillingMode") == "PAY_PER_REQUEST":
        return None
    places = [content, *content.get("GlobalSecondaryIndexes", [])]
    return min(
        (units for place in places if (units := place.get("ProvisionedThroughput", {}).get("WriteCapacityUnits"))),
        default=None,
    )


def _create_request(name: str, spec: Any) -> dict[str, Any]:
    types = dict(spec.key)
    for key in spec.indexes.values():
        types |= key
    if spec.billing == "PAY_PER_REQUEST":
        capacity: dict[str, Any] = {}
    else:
        units = spec.billing if isinstance(spec.billing, dict) else vars(spec.billing)
        throughput = {"ReadCapacityUnits": units["read"], "WriteCapacityUnits": units["write"]}
        capacity = {"ProvisionedThroughput": throughput}
    request: dict[str, Any] = {
        "TableName": name,
        "KeySchema": _key_schema(spec.key),
        "AttributeDefinitions": [{"AttributeName": a, "AttributeType": letter} for a, letter in types.items()],
        "BillingMode": "PROVISIONED" if capacity else "PAY_PER_REQUEST",
        **capacity,
    }
    if spec.indexes:
        request["GlobalSecondaryIndexes"] = [
            {"IndexName": index, "KeySchema": _key_schema(key), "Projection": {"ProjectionType": "ALL"}, **capacity}
            for index, key in spec.indexes.items()
        ]
    if spec.tags:
        request["Tags"] = [{"Key": key, "Value": value} for key, value in spec.tags.items()]
    return request


def _key_schema(key: dict[str, str]) -> list[dict[str, str]]:
    return [{"AttributeName": name, "KeyType": kind} for name, kind in zip(key, ("HASH", "RANGE"), strict=False)]


def _key_text(key: Any) -> str:
    return " + ".join(f"{name} ({letter})" for name, letter in key)


def pauses(timeout: float) -> Iterator[Callable[[], None]]:
    """Yield a function that waits before the next look; the last look is when the time is up."""
    deadline, delay = time.monotonic() + timeout, POLL

    def pause() -> None:
        time.sleep(min(delay * random.uniform(0.75, 1.25), max(0.0, deadline - time.monotonic())))

    while True:
        last = time.monotonic() >= deadline
        yield pause
        if last:
            return
        delay = min(2 * delay, MAX_POLL)


def where_is(connection: Connection, operation: str, name: str) -> str:
    """The opening of a sentence: side, operation, table, region, endpoint."""
    return f"{connection.label}: {operation} on {name} in {connection.region} ({connection.endpoint_url})"


@contextmanager
def sentences(connection: Connection, operation: str, name: str) -> Iterator[None]:
    """Turns botocore's exceptions into Refused (fix something), Interrupted (wait) or DynamoError (caller decides)."""
    from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

    where = where_is(connection, operation, name)
    try:
        yield
    except ClientError as problem:
        raise _from_client_error(problem.response, where, operation, name) from None
    except (ConnectionError, HTTPClientError) as problem:
        fix = "check region, endpoint_url and network"
        raise Refused(f"{where}: the endpoint does not answer ({type(problem).__name__}); {fix}.") from None
    except UnicodeDecodeError:
        raise Refused(f"{where}: {NOT_DYNAMODB}.") from None
    except BotoCoreError as problem:  # credentials that cannot be had, names that cannot be
        raise Refused(f"{where}: {' '.join(str(problem).split()).rstrip('.')}; correct it.") from None


def _from_client_error(response: dict, where: str, operation: str, name: str) -> Exception:
    content, metadata = response.get("Error", {}), response.get("ResponseMetadata", {})
    code = content.get("Code", "")
    status = metadata.get("HTTPStatusCode", 0)
    if code in DENIED:
        return Refused(f"{where}: access denied; let the role or user do {operation} on this table.")
    if code in faults.REJECTED | faults.EXPIRED:
        fix = "renew them and check this machine's clock"
        return Refused(f"{where}: the credentials are not accepted ({code}); {fix}.")
    if code in faults.THROTTLED | faults.TRANSIENT or status >= 500:
        return Interrupted(f"{where}: the endpoint is overloaded ({code}); wait a while.")
    if code.isdigit():  # no code in the reply: botocore takes the HTTP status
        return Refused(f"{where}: {NOT_DYNAMODB} (HTTP status {code}).")
    detail = faults.safe_detail(content.get("Message", ""))
    text = f"{where} was refused: {code}: {detail}."
    return DynamoError(text, code, detail, operation, name, metadata.get("RequestId"))
