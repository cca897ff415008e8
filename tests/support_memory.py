"""Tables in this process that answer the wire's requests as DynamoDB does: for tests of thousands of runs.

It is put in the place of the network, below signing, retries and failpoints, and knows what the data path sends and no
more. That it answers as other engines do is tested in faults/test_memory.py. Not thread-safe beyond one request.
"""

import json
import re
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import orjson
import pytest
import support_worlds as worlds
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import ClientError

from runbook_lib.dynamo import session
from runbook_lib.dynamo.items import Wire
from runbook_lib.dynamo.rate_limiter import RateLimiter
from runbook_lib.dynamo.session import Connection
from runbook_lib.dynamo.transport import Transport

URL = "http://127.0.0.1:9"
_STATEMENT = re.compile(r"""INSERT INTO "([^"]+)" VALUE \{(.*)\}""")
_NAME = re.compile(r"'((?:[^']|'')*)': \?")
_TERM = re.compile(r"(#\w+) = (:\w+)")

Place = tuple[str, str]  # table, key as text
OnWrite = Callable[[Place, dict | None, dict | None], None]  # place, item before, item after
BeforeWrite = Callable[[str, Place], str | None]  # operation, place -> the code of a refusal


@dataclass
class _Table:
    key: dict[str, str]
    items: dict[str, dict] = field(default_factory=dict)  # by key as text


class Error(Exception):
    """A refusal: code, message, and what comes with it."""

    def __init__(self, code: str, message: str = "", **more: Any):
        super().__init__(code)
        self.code, self.reply = code, {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message, **more}


class Memory:
    """An engine. `on_write` is told of every change; `before_write` may give the code with which it is refused."""

    def __init__(self, *, page: int = 1_000, keys: int = 100, batches: bool = True):
        """`page`: items that a Scan looks at; `keys`: keys that a BatchGetItem answers; `batches`: takes PartiQL INSERTs."""
        self.page, self.keys, self.batches = page, keys, batches
        self.tables: dict[str, _Table] = {}
        self.on_write: OnWrite = lambda place, before, after: None
        self.before_write: BeforeWrite = lambda operation, place: None
        self.requests = 0
        self._lock = threading.RLock()

    # as a test sees it

    def create(self, table: str, key: dict[str, str]) -> None:
        """Makes an empty table."""
        self.tables[table] = _Table(key)

    def content(self, table: str) -> dict[str, dict]:
        """Its items by key as text."""
        return dict(self.tables[table].items)

    def put(self, table: str, item: dict) -> None:
        """Writes an item, over what is there."""
        self._set(table, self._key(table, item), item)

    def delete(self, table: str, key: str) -> None:
        """Takes an item away."""
        self._set(table, key, None)

    def replay(self, place: Place, item: dict | None) -> None:
        """A write that happened in a copy of this engine."""
        self._set(*place, item)

    def place(self, table: str, item: dict) -> Place:
        """Where an item belongs."""
        return table, self._key(table, item)

    # as the program sees it

    def answer(self, operation: str, body: dict) -> tuple[int, dict]:
        """Status and reply."""
        with self._lock:
            self.requests += 1
            try:
                return 200, getattr(self, f"_{operation}")(body)
            except Error as refusal:
                return 400, refusal.reply

    def describe_table(self, TableName: str) -> dict:
        """What boto3 gives."""
        if TableName not in self.tables:
            error = {"Error": {"Code": "ResourceNotFoundException", "Message": "Requested resource not found"}}
            raise ClientError(error, "DescribeTable")
        key = self.tables[TableName].key
        return {
            "Table": {
                "TableName": TableName,
                "TableStatus": "ACTIVE",
                "KeySchema": [
                    {"AttributeName": name, "KeyType": kind} for name, kind in zip(key, ("HASH", "RANGE"), strict=False)
                ],
                "AttributeDefinitions": [{"AttributeName": n, "AttributeType": letter} for n, letter in key.items()],
            }
        }

    def _DescribeTable(self, body: dict) -> dict:
        self._table(body["TableName"])
        return self.describe_table(body["TableName"])

    def describe_continuous_backups(self, TableName: str) -> dict:
        return {"ContinuousBackupsDescription": {"ContinuousBackupsStatus": "ENABLED"}}

    def describe_time_to_live(self, TableName: str) -> dict:
        """What boto3 gives."""
        return {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}

    # operations

    def _Scan(self, body: dict) -> dict:
        table = self._table(body["TableName"])
        segments = body.get("TotalSegments", 1)
        places = sorted(_hashed(key) for key in table.items)
        places = [place for place in places if int(place[0][:8], 16) % segments == body.get("Segment", 0)]
        start = body.get("ExclusiveStartKey")
        at = bisect_right(places, _hashed(key_text(start))) if start else 0
        limit = min(body.get("Limit", self.page), self.page)
        found = [table.items[key] for _, key in places[at : at + limit]]
        reply: dict[str, Any] = {}
        if len(found) == limit:  # as DynamoDB does, also where nothing is left: the next page is empty then
            reply["LastEvaluatedKey"] = {name: found[-1][name] for name in table.key}
        if "ProjectionExpression" in body:
            names = [body["ExpressionAttributeNames"][mark] for mark in body["ProjectionExpression"].split(",")]
            found = [{name: item[name] for name in names if name in item} for item in found]
        return {"Items": found, "Count": len(found), "ScannedCount": len(found), **reply}

    def _GetItem(self, body: dict) -> dict:
        item = self._table(body["TableName"]).items.get(key_text(body["Key"]))
        return {} if item is None else {"Item": item}

    def _BatchGetItem(self, body: dict) -> dict:
        ((name, about),) = body["RequestItems"].items()
        items, asked = self._table(name).items, about["Keys"]
        if len({key_text(key) for key in asked}) < len(asked) or len(asked) > 100:
            raise Error("ValidationException", "Provided list of item keys contains duplicates")
        found = [items[text] for key in asked[: self.keys] if (text := key_text(key)) in items]
        left = {name: about | {"Keys": asked[self.keys :]}} if asked[self.keys :] else {}
        return {"Responses": {name: found}, "UnprocessedKeys": left}

    def _PutItem(self, body: dict) -> dict:
        self._table(body["TableName"])
        key = self._key(body["TableName"], body["Item"])
        self._may_write("PutItem", (body["TableName"], key))
        self._check(body, key)
        self._set(body["TableName"], key, body["Item"])
        return {}

    def _DeleteItem(self, body: dict) -> dict:
        self._may_write("DeleteItem", (body["TableName"], key_text(body["Key"])))
        old = self._table(body["TableName"]).items.get(key_text(body["Key"]))
        self._check(body, key_text(body["Key"]))
        if old is None:
            return {}
        self._set(body["TableName"], key_text(body["Key"]), None)
        return {"Attributes": old} if body.get("ReturnValues") == "ALL_OLD" else {}

    def _BatchExecuteStatement(self, body: dict) -> dict:
        if not self.batches or not 0 < len(body["Statements"]) <= 25:
            raise Error("ValidationException")
        return {"Responses": [self._statement(statement) for statement in body["Statements"]]}

    def _statement(self, statement: dict) -> dict:
        name, pairs = _STATEMENT.fullmatch(statement["Statement"]).groups()
        names = [attribute.replace("''", "'") for attribute in _NAME.findall(pairs)]
        item = dict(zip(names, statement["Parameters"], strict=True))
        try:
            key = self._key(name, item)
            self._may_write("BatchExecuteStatement", (name, key))
            if key in self._table(name).items:
                raise Error("DuplicateItem", "Duplicate primary key exists in table")
        except Error as refusal:
            code = {"ValidationException": "ValidationError"}.get(refusal.code, refusal.code)
            return {"Error": {"Code": code, "Message": refusal.reply["message"]}}
        self._set(name, key, item)
        return {"TableName": name}

    # parts of them

    def _table(self, name: str) -> _Table:
        if name not in self.tables:
            raise Error("ResourceNotFoundException", "Requested resource not found")
        return self.tables[name]

    def _key(self, table: str, item: dict) -> str:
        for name, letter in self.tables[table].key.items():
            if name not in item:
                raise Error("ValidationException", f"Missing the key {name} in the item")
            if letter not in item[name]:
                raise Error("ValidationException", f"Type mismatch for key {name} expected: {letter} actual: other")
        return key_text({name: item[name] for name in self.tables[table].key})

    def _check(self, body: dict, key: str) -> None:
        """Refuses where the condition does not hold."""
        condition, names = body.get("ConditionExpression"), body.get("ExpressionAttributeNames", {})
        old = self.tables[body["TableName"]].items.get(key)
        if condition == "attribute_not_exists(#k)":
            holds = old is None or names["#k"] not in old
        else:
            terms = [_TERM.fullmatch(term).groups() for term in condition.split(" AND ")] if condition else []
            values = body.get("ExpressionAttributeValues", {})
            holds = all(
                old is not None and names[mark] in old and worlds.plain(old[names[mark]]) == worlds.plain(values[value])
                for mark, value in terms
            )
        if not holds:
            shown = old is not None and body.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
            more = {"Item": old} if shown else {}
            raise Error("ConditionalCheckFailedException", "The conditional request failed", **more)

    def _may_write(self, operation: str, place: Place) -> None:
        if code := self.before_write(operation, place):
            raise Error(code)

    def _set(self, table: str, key: str, item: dict | None) -> None:
        items = self.tables[table].items
        before = items.get(key)
        self.on_write((table, key), before, item)
        if item is None:
            items.pop(key, None)
        else:
            items[key] = item


def key_text(key: dict) -> str:
    """A key in one form, so that equal keys are the same text."""
    return json.dumps(worlds.plain_item(key), sort_keys=True)


def _hashed(key: str) -> tuple[str, str]:
    return blake2b(key.encode(), digest_size=8).hexdigest(), key


class _Keys:
    """Made-up credentials that never end."""

    def frozen(self) -> ReadOnlyCredentials:
        return ReadOnlyCredentials("testing", "testing", None)

    def renew(self, stale: Any) -> bool:
        return False


@contextmanager
def in_place(memory: Memory) -> Iterator[None]:
    """A block in which every connection leads to the engine, and nobody waits before a retry."""

    def send(transport: Transport, headers: dict[str, str], body: bytes) -> tuple[int, dict, bytes]:
        operation = headers["X-Amz-Target"].rpartition(".")[2]
        status, reply = memory.answer(operation, orjson.loads(body))
        return status, {}, orjson.dumps(reply)

    def connect(side: Any, label: str, *, workers: int = 8, limiter: Any = None, **_: Any) -> Connection:
        def open_wire(**more: Any) -> Wire:
            return Wire(URL, "us-west-1", _Keys(), label=label, read_only=label == "source", **more)

        wire = open_wire(workers=workers, limiter=limiter)
        return Connection(label, side.environment, "us-west-1", None, URL, wire, memory, open_wire)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Transport, "_directly", send)
        patch.setattr(Wire, "_back_off", lambda *_: None)
        patch.setattr(RateLimiter, "refused", lambda limiter, *about: None)
        patch.setattr(session, "connect", connect)
        yield
