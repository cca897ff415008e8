"""The data path: raw DynamoDB JSON in and out, signed, retried, paced. No boto3 serialization, no Python number types.

An item is what the wire holds, parsed: `{"id": {"S": "a"}, "n": {"N": "1.5"}}`. Every method raises Interrupted when
the endpoint does not recover within the attempts, or the credentials are not accepted (the run can be resumed), and
DynamoError for a refusal that no retry mends.
"""

import logging
import random
import threading
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import orjson

from ..errors import Interrupted
from . import faults
from .faults import Again, ConditionFailed, DynamoError, Expired
from .pace import Pace

__all__ = ["ConditionFailed", "DynamoError", "Wire"]

ATTEMPTS = 10
PATIENCE = 3  # times as many attempts where the table refuses only a part of what it is sent
BASE_DELAY = 0.05  # seconds; the n-th retry waits up to BASE_DELAY * 2**n, at random, so that threads spread out
MAX_DELAY = 5.0
BATCH_GET_KEYS = 100  # DynamoDB's limit for one BatchGetItem
VANISHING = 5  # how often a put may be refused for an item that is gone when looked at

READS = frozenset({"Scan", "Query", "GetItem", "BatchGetItem"})
WRITES = frozenset({"PutItem", "DeleteItem"})
_READ_UNIT, _WRITE_UNIT = 4096, 1024  # bytes

log = logging.getLogger(__name__)


class Wire:
    """Requests to the tables of one side. Thread-safe; at most `workers` requests are in flight.

    `keys` gives what signs them: `frozen()` and `renew(stale)`, as session.Login has them.
    """

    def __init__(
        self,
        endpoint_url: str,
        region: str,
        keys: Any,
        *,
        label: str = "",
        workers: int = 8,
        pace: Pace | None = None,
        read_only: bool = False,
        ca_bundle: str | None = None,
        attempts: int = ATTEMPTS,
        base_delay: float = BASE_DELAY,
        max_delay: float = MAX_DELAY,
        **timeouts: float,
    ):
        from .transport import Transport

        self.label = label
        self.retries: Counter[str] = Counter()  # reason -> attempts that failed with it
        self._transport = Transport(endpoint_url, region, connections=workers, ca_bundle=ca_bundle, **timeouts)
        self._keys = keys
        self._key_schemas: dict[str, list[str]] = {}
        self._counting = threading.Lock()
        self._slots = threading.BoundedSemaphore(workers)
        self._pace = pace or Pace()
        self._read_only = read_only
        self._attempts, self._base_delay, self._max_delay = attempts, base_delay, max_delay

    # requests

    def call(self, operation: str, body: dict) -> dict:
        """Return DynamoDB's reply to one operation; what it does is the operation's. Retries inside."""
        assert operation in READS or not self._read_only, f"{self.label} is only read, never written: {operation}"
        table = _table(body)
        lane = f"{self.label} {table}"
        data = orjson.dumps(body)
        pace = self._pace
        renewed = False
        attempt = 0
        while True:
            pace.wait_turn(lane)
            keys = self._keys.frozen()
            try:
                reply, size = self._attempt(keys, operation, table, data)
                break
            except Expired:
                if renewed or not self._keys.renew(keys):
                    place = faults.where(self.label, operation, table)
                    raise Interrupted(f"{place}: the credentials have expired; renew them and resume.") from None
                renewed = True
            except ConditionFailed:  # refused, but it cost what a write costs
                self._accept(lane, operation, body, len(data), 0)
                raise
            except Again as again:
                attempt += 1
                if attempt == 1:
                    accepts = pace.accepts(lane)
                self._note(operation, table, lane, attempt, again)
                # A table that takes others' requests, only not this one yet, is worth more patience.
                alive = again.overload and pace.accepts(lane) > accepts
                if attempt >= self._attempts * (PATIENCE if alive else 1) or pace.stopping.is_set():
                    place = faults.where(self.label, operation, table)
                    raise Interrupted(
                        f"{place}: gave up after {attempt} attempts, the last time because of this: {again.reason}; "
                        "resume when that is mended."
                    ) from None
                self._back_off(attempt)
        self._accept(lane, operation, body, len(data), size)
        return reply

    def _attempt(self, keys: Any, operation: str, table: str | None, data: bytes) -> tuple[dict, int]:
        with self._slots:
            status, headers, raw = self._transport.post(keys, operation, data)
        if status != 200:
            raise faults.from_reply(self.label, operation, table, status, headers, raw)
        try:
            reply = orjson.loads(raw)
        except orjson.JSONDecodeError:  # its text is safe, but it carries the document
            raise Again("the reply is not JSON") from None
        if not isinstance(reply, dict):
            raise Again("the reply is not a JSON object")
        return reply, len(raw)

    def _note(self, operation: str, table: str | None, lane: str, attempt: int, again: Again) -> None:
        with self._counting:
            self.retries[again.reason] += 1
        log.debug("%s: attempt %d: %s", faults.where(self.label, operation, table), attempt, again.reason)
        if again.overload:
            self._pace.refused(lane, again.reason)

    def _back_off(self, attempt: int) -> None:
        ceiling = min(self._max_delay, self._base_delay * 2 ** (attempt - 1))
        self._pace.pause(random.uniform(0, ceiling))  # full jitter

    def _accept(self, lane: str, operation: str, body: dict, sent: int, received: int) -> None:
        """Takes the units from the budget: by the bytes on the wire, so not less than DynamoDB counts for the table."""
        self._pace.accepted(lane)
        if not self._pace.limited:
            return
        if operation in READS:
            keys = sum(len(part["Keys"]) for part in body.get("RequestItems", {}).values())
            self._pace.wait_read(max(1, keys, -(-received // _READ_UNIT)))
        elif operation in WRITES:
            self._pace.wait_write(max(1, -(-max(sent, received) // _WRITE_UNIT)))

    # reads

    def scan_page(
        self,
        table: str,
        *,
        start: dict | None = None,
        segment: int = 0,
        segments: int = 1,
        limit: int | None = None,
        attributes: list[str] | None = None,
        consistent: bool = True,
    ) -> tuple[list[dict], dict | None]:
        """Return the items of one page and the key to go on from, None at the segment's end. Read-only.

        A page may be empty and still not be the last. `attributes` names what to bring (default: all).
        """
        body: dict[str, Any] = {"TableName": table, "ConsistentRead": consistent}
        if start is not None:
            body["ExclusiveStartKey"] = start
        if segments > 1:
            body |= {"Segment": segment, "TotalSegments": segments}
        if limit is not None:
            body["Limit"] = limit
        if attributes:
            names = {f"#a{number}": name for number, name in enumerate(attributes)}
            body |= {"ProjectionExpression": ",".join(names), "ExpressionAttributeNames": names}
        return self._page("Scan", body)

    def query_pages(self, body: dict) -> Iterator[tuple[list[dict], dict | None]]:
        """Yield each page's items and the key to go on from. Read-only. `body` is that of Query."""
        body = dict(body)
        while True:
            items, last = self._page("Query", body)
            yield items, last
            if last is None:
                return
            body["ExclusiveStartKey"] = last

    def _page(self, operation: str, body: dict) -> tuple[list[dict], dict | None]:
        reply = self.call(operation, body)
        items = reply.get("Items", [])
        if (count := reply.get("Count", len(items))) != len(items):
            raise Interrupted(
                f"{faults.where(self.label, operation, _table(body))}: the reply says {count} items "
                f"and holds {len(items)}; resume to read that page again."
            )
        return items, reply.get("LastEvaluatedKey")

    def get(self, table: str, key: dict) -> dict | None:
        """Return the item, by a consistent read, or None. Read-only."""
        return self.call("GetItem", {"TableName": table, "Key": key, "ConsistentRead": True}).get("Item")

    def get_many(self, table: str, keys: list[dict]) -> list[dict | None]:
        """Return the item of each key, None where there is none, in the order of the keys. Read-only.

        Consistent reads of up to 100 keys, each key once; what DynamoDB leaves over is asked for again.
        """
        wanted = {_identity(key, key): key for key in keys}
        found: dict[tuple, dict] = {}
        left = list(wanted.values())
        stalled = 0
        while left:
            batch, left = left[:BATCH_GET_KEYS], left[BATCH_GET_KEYS:]
            reply = self.call("BatchGetItem", {"RequestItems": {table: {"Keys": batch, "ConsistentRead": True}}})
            for item in reply.get("Responses", {}).get(table, ()):
                found[_identity(batch[0], item)] = item
            over = reply.get("UnprocessedKeys", {}).get(table, {}).get("Keys", [])
            left = over + left
            # Left over after 16 MB is no reason to wait; nothing at all having come through is.
            if len(over) < len(batch):
                stalled = 0
                continue
            stalled += 1
            self._note("BatchGetItem", table, f"{self.label} {table}", stalled, Again("UnprocessedKeys", overload=True))
            if stalled >= self._attempts:
                place = faults.where(self.label, "BatchGetItem", table)
                raise Interrupted(
                    f"{place}: {stalled} times none of the keys was processed; the table is overloaded: resume later."
                )
            self._back_off(stalled)
        return [found.get(_identity(key, key)) for key in keys]

    # writes: every one of them on a condition

    def put_new(self, table: str, item: dict, partition_key: str) -> dict | None:
        """Return None when the item was inserted, else the item that has its key already. Writes to the table.

        Never overwrites. After a lost reply the item that is there already may be the one that was to be inserted: the
        caller compares. Raises ConditionFailed where an item appears and vanishes again and again.
        """
        body = {
            "TableName": table,
            "Item": item,
            "ConditionExpression": "attribute_not_exists(#k)",
            "ExpressionAttributeNames": {"#k": partition_key},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        for again in range(VANISHING):
            if again:
                self._back_off(again)
            try:
                self.call("PutItem", body)
                return None
            except ConditionFailed as refused:
                last = refused
            # Some engines refuse without the item; then it has to be looked up.
            there = last.item or self.get(table, {name: item[name] for name in self._key_names(table)})
            if there is not None:
                return there
        raise last

    def _key_names(self, table: str) -> list[str]:
        if table not in self._key_schemas:
            schema = self.call("DescribeTable", {"TableName": table})["Table"]["KeySchema"]
            self._key_schemas[table] = [part["AttributeName"] for part in schema]
        return self._key_schemas[table]

    def delete_if(self, table: str, key: dict, condition: list[tuple[str, dict]]) -> dict | None:
        """Return the deleted item, or None where there was none. Writes to the table.

        `condition` lists attributes with the typed values that they must still have. Raises ConditionFailed, with the
        item as it is now, where one has not.
        """
        body: dict[str, Any] = {"TableName": table, "Key": key, "ReturnValues": "ALL_OLD"}
        if condition:
            body |= {
                "ConditionExpression": " AND ".join(f"#a{n} = :v{n}" for n in range(len(condition))),
                "ExpressionAttributeNames": {f"#a{n}": name for n, (name, _) in enumerate(condition)},
                "ExpressionAttributeValues": {f":v{n}": value for n, (_, value) in enumerate(condition)},
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        try:
            return self.call("DeleteItem", body).get("Attributes")
        except ConditionFailed as refused:
            # No item in the refusal: it is gone (perhaps by us, with the reply lost), or the engine does not say.
            refused.item = refused.item or self.get(table, key)
            if refused.item is None:
                return None
            raise


def _table(body: dict) -> str | None:
    return body.get("TableName") or next(iter(body.get("RequestItems", ())), None)


def _identity(names: dict, attributes: dict) -> tuple:
    """What makes two keys the same to DynamoDB: numbers by value, everything else as written."""
    return tuple(
        (name, letter, Decimal(value) if letter == "N" else value)
        for name in sorted(names)
        for letter, value in attributes[name].items()
    )
