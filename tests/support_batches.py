"""BatchExecuteStatement on an engine that has none: each statement is put to it as a conditional PutItem.

Below failpoints, retries and signatures, so that a run over batches can be killed in a child process while the items are
kept by another one. Between two statements of a batch is a failpoint, `wire.Statement.before` and `.after`: a batch can
be cut off in its middle, as DynamoDB may when a connection breaks.
"""

import re
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from runbook_lib import failpoints
from runbook_lib.dynamo.transport import Transport

OPERATION = "BatchExecuteStatement"
_STATEMENT = re.compile(r"""INSERT INTO "([^"]+)" VALUE \{('(?:[^']|'')*': \?(?:, '(?:[^']|'')*': \?)*)\}""")
_NAME = re.compile(r"'((?:[^']|'')*)': \?")
_CODES = {"ConditionalCheckFailedException": "DuplicateItem", "ValidationException": "ValidationError"}
_TARGET = "DynamoDB_20120810."


def give(patch: pytest.MonkeyPatch) -> None:
    """Makes every engine take batches as long as the patch lasts."""
    directly = Transport._directly
    keys: dict[tuple[str, str], list[str]] = {}

    def send(transport: Transport, headers: dict[str, str], body: bytes) -> tuple[int, Any, bytes]:
        def ask(operation: str, content: dict) -> tuple[int, dict]:
            status, _, raw = directly(transport, headers | {"X-Amz-Target": _TARGET + operation}, orjson.dumps(content))
            return status, orjson.loads(raw)

        if headers["X-Amz-Target"] != _TARGET + OPERATION:
            return directly(transport, headers, body)
        responses = []
        for statement in orjson.loads(body)["Statements"]:
            table, item = inserted(statement)
            place = transport._url, table
            if place not in keys:
                schema = ask("DescribeTable", {"TableName": table})[1]["Table"]["KeySchema"]
                keys[place] = [part["AttributeName"] for part in schema]
            if missing := [name for name in keys[place] if name not in item]:
                text = f"Missing the key {missing[0]} in the item"
                responses.append({"Error": {"Code": "ValidationError", "Message": text}})
                continue
            failpoints.reach("wire.Statement.before")
            responses.append(_insert(ask, table, keys[place][0], item))
            failpoints.reach("wire.Statement.after")
        return 200, {}, orjson.dumps({"Responses": responses})

    patch.setattr(Transport, "_directly", send)


def inserted(statement: dict) -> tuple[str, dict]:
    """Table and item of one statement. Fails where it is not an INSERT with parameters."""
    table, pairs = _STATEMENT.fullmatch(statement["Statement"]).groups()
    names = [name.replace("''", "'") for name in _NAME.findall(pairs)]
    return table, dict(zip(names, statement["Parameters"], strict=True))


def inserts(operation: str, body: bytes) -> list[tuple[str, dict]]:
    """Table and item of each insert in a request; none of another one, or of the question whether batches are taken."""
    if operation == "PutItem":
        content = orjson.loads(body)
        return [(content["TableName"], content["Item"])]
    found = map(inserted, orjson.loads(body)["Statements"]) if operation == OPERATION else ()
    return [(table, item) for table, item in found if {name.rstrip("_") for name in item} != {"runbook"}]


def _insert(ask: Callable[[str, dict], tuple[int, dict]], table: str, partition_key: str, item: dict) -> dict:
    """DynamoDB's response for one statement."""
    body = {
        "TableName": table,
        "Item": item,
        "ConditionExpression": "attribute_not_exists(#k)",
        "ExpressionAttributeNames": {"#k": partition_key},
    }
    status, reply = ask("PutItem", body)
    if status == 200:
        return {"TableName": table}
    code = reply["__type"].rpartition("#")[2]
    return {"Error": {"Code": _CODES.get(code, code.removesuffix("Exception")), "Message": reply.get("message", "")}}
