"""Tables as such: what they are, making them, waiting for them, deleting them. By boto3's client; no item passes."""

import random
import re
import time
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any

from ..errors import Again, Denied, DynamoError, Interrupted, NotAvailable, Refused
from ..mapping.create import Create
from . import errors as faults
from .aws.partitions import is_aws, unknown_region
from .errors import note_active
from .session import Connection
from .structure.creation import create_request, planned
from .structure.description import Table, as_json, table_of
from .structure.differences import lacking, sentence

DEADLINE = 300.0  # seconds for a table to become active, or to be gone
POLL = 0.2  # seconds at first between two looks, doubled up to MAX_POLL
MAX_POLL = 5.0
ATTEMPTS = 5  # how often a reply may make no sense
NOT_DYNAMODB = "what answers there is not DynamoDB; check endpoint_url and any proxy"
LIMIT = "LimitExceededException"
EXISTS = frozenset({"ResourceInUseException", "TableAlreadyExistsException", "TableInUseException"})
SETTLING = frozenset({faults.NOT_FOUND, "ResourceInUseException", LIMIT})
_UNDERSTOOD = "_runbook_understood"  # of a client: that its endpoint has answered as DynamoDB does
_UNSUPPORTED = re.compile(r"\b(un|not )supported\b|\bnot implemented\b", re.IGNORECASE)


def describe(connection: Connection, name: str) -> Table | None:
    """Return the table, or None where it does not exist, or is all but deleted. Read-only.

    Raises Refused: no access, an endpoint that does not answer, credentials that are not accepted; and Interrupted.
    """
    content = _describe(connection, name)
    return table_of(content) if content and "KeySchema" in content else None


def identities(connection: Connection, names: Iterable[str]) -> dict[str, str | None]:
    """Return name → the table's identity, None where it does not exist or may not be described. Read-only.

    For an undo, which needs no right to describe. Raises Interrupted where another thing is in the way: the run has written
    there before, so it passes.
    """
    found: dict[str, str | None] = {}
    for name in sorted(set(names)):
        try:
            table = describe(connection, name)
        except Denied:
            table = None
        except Refused as problem:
            raise Interrupted(str(problem)) from None
        found[name] = table and table.identity
    return found


def names(connection: Connection) -> list[str]:
    """The names of all tables there, in order. Read-only. Raises Refused as `describe` does."""
    found: list[str] = []
    start: dict[str, str] = {}
    while True:
        send = partial(connection.client.list_tables, **start)
        page = asked(connection, "ListTables", "all tables", send, ", or name the one table with --pattern", start)
        found += page["TableNames"]
        if (last := page.get("LastEvaluatedTableName")) is None:
            return sorted(found)
        start = {"ExclusiveStartTableName": last}


def create(connection: Connection, name: str, spec: Create, unanswered: Callable[[], object] = lambda: None) -> None:
    """Creates a table as `spec` says (key, indexes, tags, billing) and returns while it is still being made.

    Waits where too many tables are being made at once. Calls `unanswered` where nobody said what became of a request: it
    may have made the table. So a table that is there after that, as `spec` says, is the one that was made; one that is
    there at the first answer is somebody else's. Raises Refused without access, Interrupted where that does not end, or
    somebody else has made the table, DynamoError where the description is wrong.
    """
    may_write(connection)
    request = create_request(name, spec)
    send = partial(connection.client.create_table, **request)
    with _counting_unanswered(connection.client, "CreateTable", unanswered) as lost:
        try:
            _patiently(connection, "CreateTable", name, partial(answer, connection, "CreateTable", name, send), {LIMIT})
        except DynamoError as refused:
            if refused.code not in EXISTS:
                raise
            if not lost or difference(wait_active(connection, name), spec):
                by = "somebody else has created it meanwhile; run this again to see whether it fits"
                raise Interrupted(f"{where_is(connection, 'CreateTable', name)}: {by}.") from None


@contextmanager
def _counting_unanswered(client: Any, operation: str, unanswered: Callable[[], object]) -> Iterator[list[int]]:
    """A block in which `unanswered` is called at its end where a request of boto3's client got no answer, or 5xx.

    Gives the list that tells how many, then and there.
    """
    lost: list[int] = []

    def sent(**_: Any) -> None:
        lost.append(1)

    def answered(response: Any, **_: Any) -> None:
        if response is not None and response[0].status_code < 500:
            lost.pop()

    handlers = {f"before-send.dynamodb.{operation}": sent, f"needs-retry.dynamodb.{operation}": answered}
    for event, handler in handlers.items():
        client.meta.events.register(event, handler)
    try:
        yield lost
    finally:
        for event, handler in handlers.items():
            client.meta.events.unregister(event, handler)
        if lost:
            unanswered()


def wait_active(connection: Connection, name: str, timeout: float = DEADLINE) -> Table:
    """Return the table once it and all its indexes are active. Read-only. Raises Interrupted at the deadline."""
    state = "missing"
    for pause in pauses(timeout):
        if content := _describe(connection, name):
            indexes = content.get("GlobalSecondaryIndexes", [])
            states = {content["TableStatus"], *(index.get("IndexStatus", "ACTIVE") for index in indexes)}
            if states == {"ACTIVE"}:
                note_active(connection.address, name)
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
                answer(connection, "DeleteTable", name, lambda: connection.client.delete_table(TableName=name))
                faults.note_deleted(connection.address, name)
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
    send = partial(connection.client.describe_time_to_live, TableName=name)
    about = asked(connection, "DescribeTimeToLive", name, send)["TimeToLiveDescription"]
    return about.get("AttributeName") if about["TimeToLiveStatus"] != "DISABLED" else None


def set_ttl(connection: Connection, name: str, attribute: str) -> None:
    """Lets the items of a table expire by an attribute; done already is done. Writes to the target's account.

    Raises NotAvailable where the engine does not know the call, Refused without access, Interrupted at the deadline.
    """
    wanted = {"Enabled": True, "AttributeName": attribute}

    def send() -> dict[str, Any]:
        if ttl_attribute(connection, name) == attribute:  # perhaps by an earlier attempt, whose reply was damaged
            return {"TimeToLiveSpecification": wanted}
        return connection.client.update_time_to_live(TableName=name, TimeToLiveSpecification=wanted)

    change(connection, "UpdateTimeToLive", name, send)


def change(
    connection: Connection, operation: str, name: str, send: Callable[[], dict[str, Any]], busy: Container[str] = ()
) -> None:
    """Changes a table that is active, by a call that an engine may lack; waits while the table is busy or not yet known.

    Writes to the target's account. `busy`: codes that also pass. Raises as `set_ttl`.
    """
    may_write(connection)
    _patiently(connection, operation, name, partial(asked, connection, operation, name, send), {*SETTLING, *busy})


def is_empty(connection: Connection, name: str) -> bool:
    """Return whether a consistent Scan finds no item. Read-only. Raises as Wire does."""
    return not any(connection.wire.scan_pages(name, limit=1))


def _patiently(
    connection: Connection, operation: str, name: str, send: Callable[[], object], busy: Container[str]
) -> None:
    code = ""
    for pause in pauses(DEADLINE):
        try:
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
        return answer(connection, "DescribeTable", name, partial(connection.client.describe_table, TableName=name))[
            "Table"
        ]
    except DynamoError as refused:
        if refused.not_found:
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


def answer(
    connection: Connection,
    operation: str,
    name: str,
    send: Callable[[], dict[str, Any]],
    otherwise: str = "",
    body: dict[str, Any] | None = None,
    *,
    lenient: bool = False,
) -> dict[str, Any]:
    """What boto3's client answers to `send`, once it answers: passing faults are tried again, as on the data path.

    A new table that is not found is one of them. Raises Refused (fix something), Interrupted (wait) or DynamoError (the
    caller decides). `otherwise` ends the sentence about a missing right. `lenient`: see `asked`.
    """
    limiter, place = connection.limiter, f"{connection.label} {name}"
    where, garbled, since = where_is(connection, operation, name), 0, None
    for attempt in count():
        try:
            with _sentences(connection, operation, name, lenient, otherwise):
                reply = send()
                if lacks := faults.lacking(operation, body or {}, reply):
                    raise Again(f"the reply lacks {lacks}")
            limiter.goes_on(place)
            vars(connection.client)[_UNDERSTOOD] = True
            return reply
        except Again as problem:
            if problem.overload:
                if since is None:
                    since = limiter.clock()
                elif (remark := unknown_region(connection.region)) and _never_answered(connection, problem):
                    raise Refused(f"{where}: the endpoint answers only {problem.reason}; {remark}") from None
                if lenient or limiter.clock() - since >= limiter.patience or not limiter.is_patient:
                    raise Interrupted(
                        f"{where}: the endpoint is overloaded ({problem.reason}); wait a while."
                    ) from None
                limiter.waits(place, problem.reason)
            elif not problem.missing and (garbled := garbled + 1) >= ATTEMPTS:
                if not problem.by_server and _UNDERSTOOD not in vars(connection.client):
                    raise Refused(f"{where}: {NOT_DYNAMODB} ({problem.reason}).") from None
                raise Interrupted(
                    f"{where}: gave up after {garbled} attempts; the last one failed: {problem.reason}."
                ) from None
        limiter.pause(min(POLL * 2 ** min(attempt, 10), MAX_POLL) * random.uniform(0.75, 1.25))
    raise AssertionError


def _never_answered(connection: Connection, problem: Again) -> bool:
    """Whether an endpoint that fails has never answered as DynamoDB does: throttling is such an answer."""
    return problem.reason not in faults.THROTTLED and _UNDERSTOOD not in vars(connection.client)


# For a call that an engine may lack: NotAvailable there. It is not waited for where it is refused as too much.
asked = partial(answer, lenient=True)


@contextmanager
def _sentences(connection: Connection, operation: str, name: str, lenient: bool, otherwise: str) -> Iterator[None]:
    """Turns botocore's exceptions into Refused, DynamoError or Again."""
    from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

    where = where_is(connection, operation, name)
    try:
        yield
    except ClientError as problem:
        error = _from_client_error(connection, problem.response, where, operation, name, otherwise)
        if lenient and not is_aws(connection.endpoint_url) and _lacks(problem.response):
            error = NotAvailable(f"{where}: not available here: this endpoint has no such operation.")
        raise error from None
    except (ConnectionError, HTTPClientError) as problem:
        fix = unknown_region(connection.region) or "check region, endpoint_url and network."
        raise Refused(f"{where}: the endpoint does not answer ({type(problem).__name__}); {fix}") from None
    except UnicodeDecodeError:  # botocore lets it escape, and reads other garbage as an empty reply
        raise Again("the reply is not JSON") from None
    except BotoCoreError as problem:  # credentials that cannot be had, names that cannot be
        raise Refused(f"{where}: {' '.join(str(problem).split()).rstrip('.')}; correct it.") from None


def _lacks(response: dict) -> bool:
    content, status = response.get("Error", {}), response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    code, text = content.get("Code", ""), content.get("Message", "")
    return (
        status == 501
        or code in faults.LACKS | {"501"}
        or (code == "ValidationException" and bool(_UNSUPPORTED.search(text)))
    )


def _from_client_error(
    connection: Connection, response: dict, where: str, operation: str, name: str, otherwise: str
) -> Exception:
    content, metadata = response.get("Error", {}), response.get("ResponseMetadata", {})
    code, text = content.get("Code", ""), content.get("Message") or ""
    status = metadata.get("HTTPStatusCode", 0)
    if code.isdigit() and (found := faults.of_xml(text)):
        code, text = found
    if code in faults.DENIED:
        return Denied(f"{where}: access denied; {faults.denial(operation, name, text, connection.who)}{otherwise}.")
    if code in faults.REJECTED | faults.EXPIRED:
        fix = "renew them and check this machine's clock"
        return Refused(f"{where}: the credentials are not accepted ({code}); {fix}.")
    if code in faults.THROTTLED | faults.TRANSIENT or status >= 500:
        return Again(code, overload=True)
    if code.isdigit() or not code:  # no code in the reply: botocore takes the HTTP status
        return Again(f"HTTP status {code or status}")
    if code not in faults.FINAL:
        return Again(faults.unknown(code, status), by_server=True)
    if code == faults.NOT_FOUND and faults.is_new(connection.address, name):
        return Again(code, missing=True)
    detail = faults.safe_detail(text)
    text = f"{where} was refused: {code}: {detail}."
    return DynamoError(text, code, detail, operation, name, metadata.get("RequestId"))
