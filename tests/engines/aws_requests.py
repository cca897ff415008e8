"""What a request to DynamoDB names, what it weighs, and replies that refuse all or a part of it."""

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

ACCOUNT = "123456789012"
BATCH = "BatchExecuteStatement"
READS = frozenset({"Scan", "Query", "GetItem", "BatchGetItem"})
WRITES = frozenset({"PutItem", "DeleteItem", "UpdateItem", "BatchWriteItem", BATCH})
UNIT = {True: 1024, False: 4096}  # bytes of a write unit, and of a read unit
DYNAMODB, CORAL = "com.amazonaws.dynamodb.v20120810", "com.amazon.coral.service"
_VERB = r"\s*(INSERT\s+INTO|UPDATE|DELETE\s+FROM|SELECT\s.*?FROM)"
_STATEMENT = re.compile(_VERB + r"""\s+"([^"]+)"(?:\."([^"]+)")?""", re.IGNORECASE | re.DOTALL)
_NAME = re.compile(r"'((?:[^']|'')*)'\s*:\s*\?")

Reply = tuple[int, Any]  # status and content
Go = Callable[["Call"], Reply]


@dataclass(frozen=True)
class Call:
    """A request to DynamoDB."""

    operation: str
    body: dict[str, Any]
    headers: dict[str, str]

    def access_key(self) -> str:
        """Whose signature it has."""
        return re.search(r"Credential=([^/]*)/", self.headers["authorization"])[1]

    def arn(self, table: str, index: str | None = None, account: str = ACCOUNT) -> str:
        """The ARN of a table or index, of the region that the request is signed for."""
        scope = re.search(r"Credential=[^/]*/\d+/([^/]+)/", self.headers.get("authorization", ""))
        end = f"/index/{index}" if index else ""
        return f"arn:aws:dynamodb:{scope[1] if scope else 'us-east-1'}:{account}:table/{table}{end}"

    def places(self) -> Iterator["Place"]:
        """Every table, index or item that the request names, in its order."""
        body, write = self.body, self.operation in WRITES
        if self.operation == BATCH:
            yield from map(stated, body["Statements"])
        elif "RequestItems" in body:
            for table, about in body["RequestItems"].items():
                for one in about if write else about["Keys"]:
                    ((kind, of),) = one.items() if write else [("", {"Key": one})]
                    yield Place(plain(table), of.get("Item") or of["Key"], write, kind == "PutRequest")
        elif "TableName" in body:
            item = body.get("Item") or body.get("Key")
            yield Place(plain(body["TableName"]), item, write, "Item" in body, body.get("IndexName"))


@dataclass(frozen=True)
class Place:
    """A part of a request: a table or index, and the item or key that it names there."""

    table: str
    item: dict[str, Any] | None = None
    write: bool = False
    whole: bool = False  # `item` is all that is written, no key alone
    index: str | None = None
    verb: str = ""  # of a statement: INSERT, …

    def units(self) -> int:
        """What it takes, about."""
        return units_of(item_size(self.item or {}), self.write) if self.whole else 1


def refusal(code: str, message: str | None, space: str = DYNAMODB, **more: Any) -> Reply:
    """A refused request."""
    return 400, {"__type": f"{space}#{code}", **({} if message is None else {"message": message}), **more}


def but(call: Call, go: Go, refuse: Callable[[Place], dict | None]) -> Reply:
    """The reply to a batch of which some statements are refused, by what `refuse` gives; the others go on together."""
    refused = [refuse(place) for place in call.places()]
    left = [one for one, response in zip(call.body["Statements"], refused, strict=True) if response is None]
    if len(left) == len(refused):
        return go(call)
    status, content = go(replace(call, body=call.body | {"Statements": left})) if left else (200, {"Responses": []})
    if status != 200:
        return status, content
    answers = iter(content["Responses"])
    return 200, content | {"Responses": [response or next(answers) for response in refused]}


def failed(code: str, message: str, **more: Any) -> dict:
    """The response to a statement that failed."""
    return {"Error": {"Code": code, "Message": message}, **more}


def unprocessed(call: Call, go: Go, over: list[bool]) -> Reply:
    """The reply to a BatchGetItem of which some keys are left over."""
    flags, asked, left = iter(over), {}, {}
    for table, about in call.body["RequestItems"].items():
        split: tuple[list, list] = [], []
        for key in about["Keys"]:
            split[next(flags)].append(key)
        for keys, into in zip(split, (asked, left), strict=True):
            if keys:
                into[table] = about | {"Keys": keys}
    status, content = go(replace(call, body=call.body | {"RequestItems": asked}))
    return status, content | ({"UnprocessedKeys": content.get("UnprocessedKeys", {}) | left} if status == 200 else {})


def unfiltered(body: dict) -> dict:
    """A Scan or Query of the same items, whole."""
    keys = body.get("KeyConditionExpression", "")
    left = {n: v for n, v in body.items() if n not in ("ProjectionExpression", "FilterExpression", "Select")}
    for kind in ("ExpressionAttributeNames", "ExpressionAttributeValues"):
        named = {mark: v for mark, v in left.pop(kind, {}).items() if re.search(rf"{mark}\b", keys)}
        left |= {kind: named} if named else {}
    return left


def stated(statement: dict) -> Place:
    """Where a statement leads; the item where it is an INSERT with parameters."""
    found = _STATEMENT.match(statement["Statement"])
    if not found:
        return Place("")
    verb, names = found[1].split()[0].upper(), [n.replace("''", "'") for n in _NAME.findall(statement["Statement"])]
    item = dict(zip(names, statement.get("Parameters", ()), strict=False)) if verb == "INSERT" else None
    return Place(plain(found[2]), item, verb != "SELECT", item is not None, found[3], verb)


def plain(table: str) -> str:
    """A table's name, also where it is named by its ARN."""
    return table.rpartition(":table/")[2]


def listed(value: Any) -> list:
    """What a policy gives as one or several."""
    return value if isinstance(value, list) else [value]


def key_text(item: dict, names: Iterable[str]) -> str:
    """A key in one form; numbers as they are written."""
    return json.dumps([item.get(name) for name in names], sort_keys=True)


def key_names(about: dict) -> list[str]:
    """The attributes of a table's or index's key."""
    return [part["AttributeName"] for part in about["KeySchema"]]


def units_of(size: int, write: bool, consistent: Any = True) -> float:
    """The units of so many bytes, at least one."""
    return max(1, -(-size // UNIT[write])) * (1 if write or consistent else 0.5)


def item_size(item: dict) -> int:
    """The bytes of an item as DynamoDB counts them, numbers about."""
    return sum(len(name.encode()) + _size(value) for name, value in item.items())


def _size(value: dict) -> int:
    ((letter, content),) = value.items()
    if letter == "S":
        return len(content.encode())
    if letter == "N":
        return (len(re.sub(r"[eE].*|\D", "", content).strip("0")) + 1) // 2 + 1 + content.startswith("-")
    if letter == "B":
        return len(base64.b64decode(content))
    if letter in ("SS", "NS", "BS"):
        return sum(_size({letter[0]: member}) for member in content)
    if letter == "L":
        return 3 + sum(1 + _size(member) for member in content)
    if letter == "M":
        return 3 + sum(1 + len(name.encode()) + _size(member) for name, member in content.items())
    return 1
