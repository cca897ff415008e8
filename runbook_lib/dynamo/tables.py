"""Tables as such: what they are, making them, waiting for them, deleting them. By boto3's client; no item passes."""

import random
import re
import time
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager

from ..errors import DynamoError, Interrupted, NotAvailable, Refused
from ..mapping.model import Create
from . import errors as faults
from .session import Connection, is_aws
from .structure.creation import create_request, planned
from .structure.description import Table, as_json, table_of
from .structure.differences import lacking, sentence

DEADLINE = 300.0  # seconds for a table to become active, or to be gone
POLL = 0.2  # seconds at first between two looks, doubled up to MAX_POLL
MAX_POLL = 5.0
GARBLED = 3  # how often a reply may make no sense
NOT_DYNAMODB = "what answers there is not DynamoDB; check endpoint_url and any proxy"
LIMIT = "LimitExceededException"
SETTLING = frozenset({"ResourceNotFoundException", "ResourceInUseException", LIMIT})
DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
_LACKS = frozenset("UnknownOperationException UnknownOperation NotImplemented NotImplementedException 501".split())
_UNSUPPORTED = re.compile(r"\b(un|not )supported\b|\bnot implemented\b", re.IGNORECASE)


def describe(connection: Connection, name: str) -> Table | None:
    """Return the table, or None where it does not exist. Read-only.

    Raises Refused: no access, an endpoint that does not answer, credentials that are not accepted.
    """
    content = _describe(connection, name)
    return content and table_of(content)


def names(connection: Connection) -> list[str]:
    """The names of all tables there, in order. Read-only. Raises Refused as `describe` does."""
    found: list[str] = []
    with asking(connection, "ListTables", "all tables", ", or name the one table with --pattern"):
        for page in connection.client.get_paginator("list_tables").paginate():
            found += page.get("TableNames", ())
    return sorted(found)


def create(connection: Connection, name: str, spec: Create) -> None:
    """Creates a table as `spec` says (key, indexes, tags, billing) and returns while it is still being made.

    Waits where too many tables are being made at once. Raises Refused without access, Interrupted where that does not
    end, DynamoError where the table exists or the description is wrong.
    """
    may_write(connection)
    request = create_request(name, spec)
    _patiently(connection, "CreateTable", name, lambda: connection.client.create_table(**request), {LIMIT})


def wait_active(connection: Connection, name: str, timeout: float = DEADLINE) -> Table:
    """Return the table once it and all its indexes are active. Read-only. Raises Interrupted at the deadline."""
    state = "missing"
    for pause in pauses(timeout):
        if content := _describe(connection, name):
            indexes = content.get("GlobalSecondaryIndexes", [])
            states = {content["TableStatus"], *(index.get("IndexStatus", "ACTIVE") for index in indexes)}
            if states == {"ACTIVE"}:
                return table_of(content)
            state = ", ".join(sorted(states - {"ACTIVE"}))
        pause()
    raise Interrupted(f"{connection.label}: {name} is not active after {timeout:.0f} seconds ({state}); wait a while.")


def delete(connection: Connection, name: str, timeout: float = DEADLINE) -> None:
    """Deletes a table with all its items, and returns when it is gone; one that does not exist is.

    Raises DynamoError where it is protected against deletion, Refused without access, Interrupted at the deadline.
    """
    may_write(connection)
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
    """Return what the table lacks of what `spec` describes, one phrase each; more is no difference. Pure."""
    return [sentence(one) for one in lacking(planned(spec), as_json(table))]


def ttl_attribute(connection: Connection, name: str) -> str | None:
    """Return the attribute that says when an item expires, None where the table has none. Read-only.

    Raises NotAvailable where the engine does not know the call, Refused as `describe` does.
    """
    with asking(connection, "DescribeTimeToLive", name):
        about = connection.client.describe_time_to_live(TableName=name).get("TimeToLiveDescription", {})
    return about.get("AttributeName") if about.get("TimeToLiveStatus") != "DISABLED" else None


def set_ttl(connection: Connection, name: str, attribute: str) -> None:
    """Lets the items of a table expire by an attribute; done already is done. Writes to the target's account.

    Raises NotAvailable where the engine does not know the call, Refused without access, Interrupted at the deadline.
    """
    if ttl_attribute(connection, name) == attribute:
        return
    wanted = {"Enabled": True, "AttributeName": attribute}
    change(
        connection,
        "UpdateTimeToLive",
        name,
        lambda: connection.client.update_time_to_live(TableName=name, TimeToLiveSpecification=wanted),
    )


def change(
    connection: Connection, operation: str, name: str, send: Callable[[], object], busy: Container[str] = ()
) -> None:
    """Changes a table that is active, by a call that an engine may lack; waits while the table is busy or not yet known.

    Writes to the target's account. `busy`: codes that also pass. Raises as `set_ttl`.
    """
    may_write(connection)

    def asked() -> None:
        with asking(connection, operation, name):
            send()

    _patiently(connection, operation, name, asked, {*SETTLING, *busy})


def is_empty(connection: Connection, name: str) -> bool:
    """Return whether a consistent Scan finds no item. Read-only. Raises as Wire does."""
    start = None
    while True:
        items, start = connection.wire.scan_page(name, start=start, limit=1)
        if items or start is None:
            return not items


def _patiently(
    connection: Connection, operation: str, name: str, send: Callable[[], object], busy: Container[str]
) -> None:
    code = ""
    for pause in pauses(DEADLINE):
        try:
            with sentences(connection, operation, name):
                send()
            return
        except DynamoError as refused:
            if (code := refused.code) not in busy:
                raise
        pause()
    where = where_is(connection, operation, name)
    raise Interrupted(f"{where} is refused ({code}), because it or too many tables are changing; wait a while.")


def may_write(connection: Connection) -> None:
    """Fails on the source's connection: nothing there is ever written."""
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


@contextmanager
def asking(connection: Connection, operation: str, name: str, otherwise: str = "") -> Iterator[None]:
    """As `sentences`; and NotAvailable where the engine lacks the call, and which right is missing by its name.

    `otherwise` ends the sentence about a missing right.
    """
    from botocore.exceptions import ClientError

    with sentences(connection, operation, name):
        try:
            yield
        except ClientError as problem:
            where = where_is(connection, operation, name)
            if problem.response.get("Error", {}).get("Code") in DENIED:
                raise Refused(f"{where}: access denied; allow dynamodb:{operation}{otherwise}.") from None
            if not is_aws(connection.endpoint_url) and _lacks(problem.response):
                raise NotAvailable(f"{where}: not available here: this endpoint has no such operation.") from None
            raise


def _lacks(response: dict) -> bool:
    content, status = response.get("Error", {}), response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    code, text = content.get("Code", ""), content.get("Message", "")
    return status == 501 or code in _LACKS or (code == "ValidationException" and bool(_UNSUPPORTED.search(text)))


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
