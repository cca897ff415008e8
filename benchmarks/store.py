"""What the canned target does with what it is given: counts it, or keeps it as well."""

import re
from typing import Any

import orjson

_NAME = re.compile(r"'((?:[^']|'')*)'\s*:\s*\?")
_TABLE = re.compile(rb'INTO \\"([^"\\]+)\\"', re.IGNORECASE)
_CONDITION = re.compile(r'"((?:[^"]|"")*)"\s*=\s*\?')
_MISSING = {"Code": "ValidationError", "Message": "Missing the key in the item"}
_THERE = {"Code": "DuplicateItem", "Message": "Duplicate primary key exists in table"}


class Target:
    """The target tables. With `keep` they remember their items and refuse those whose key is taken."""

    def __init__(self, keys: dict[str, list[str]], keep: bool):
        self._keys, self._keep = keys, keep
        self._items: dict[str, dict[tuple, bytes]] = {name: {} for name in keys}
        self._order: dict[str, tuple[list[tuple], dict[tuple, int]]] = {}  # as it was when a scan of the table began
        self.inserted = self.refused = self.deleted = 0

    def put(self, body: bytes) -> tuple[int, bytes]:
        """PutItem, on the condition that the key is not there."""
        if not self._keep:
            self.inserted += 1
            return 200, b"{}"
        request = orjson.loads(body)
        there = self._insert(request["TableName"], request["Item"])
        if there is None:
            return 200, b"{}"
        kind = b"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"
        return 400, b'{"__type":"%s","message":"The conditional request failed","Item":%s}' % (kind, there)

    def batch_write(self, body: bytes) -> tuple[int, bytes]:
        """BatchWriteItem: puts that overwrite. They are only counted."""
        self.inserted += body.count(b'"PutRequest":')
        return 200, b'{"UnprocessedItems":{}}'

    def statements(self, body: bytes) -> tuple[int, bytes]:
        """BatchExecuteStatement: INSERTs, and DELETEs with conditions. What is not kept is not even parsed."""
        number = body.count(b'"Statement":')
        if not self._keep and number > 1:
            self.inserted += number
            reply = b'{"TableName":"%s"}' % _TABLE.search(body)[1]
            return 200, b'{"Responses":[%s]}' % b",".join([reply] * number)
        return 200, orjson.dumps({"Responses": [self._statement(each) for each in orjson.loads(body)["Statements"]]})

    def _statement(self, statement: dict[str, Any]) -> dict[str, Any]:
        text, values = statement["Statement"], statement.get("Parameters", [])
        verb, table = text.split(None, 1)[0].upper(), next(name for name in self._keys if f'"{name}"' in text)
        if verb == "DELETE":
            conditions = dict(zip(_CONDITION.findall(text.partition("WHERE")[2]), values, strict=False))
            return {"TableName": table, **self._deleted(table, conditions)}
        names = [name.replace("''", "'") for name in _NAME.findall(text)]
        item = dict(zip(names, values, strict=True)) if names else values[0]["M"] if values else {}
        if not item.keys() >= set(self._keys[table]):
            return {"Error": _MISSING}
        there = self._insert(table, item)
        if there is None:
            return {"TableName": table}
        known = {"Item": orjson.loads(there)} if statement.get("ReturnValuesOnConditionCheckFailure") else {}
        return {"Error": {**_THERE, **known}, "TableName": table}

    def _insert(self, table: str, item: dict) -> bytes | None:
        """What is there already, or None where the item is new."""
        if not self._keep:
            self.inserted += 1
            return None
        key = self._key(table, item)
        if (there := self._items[table].get(key)) is not None:
            self.refused += 1
            return there
        self.inserted += 1
        self._items[table][key] = orjson.dumps(item)
        return None

    def delete(self, body: bytes) -> tuple[int, bytes]:
        """DeleteItem. The condition is taken to hold."""
        request = orjson.loads(body)
        return 200, orjson.dumps(self._deleted(request["TableName"], request["Key"]))

    def _deleted(self, table: str, key: dict) -> dict[str, Any]:
        old = self._items[table].pop(self._key(table, key), None)
        self.deleted += old is not None
        return {} if old is None else {"Attributes": orjson.loads(old)}

    def get(self, body: bytes) -> tuple[int, bytes]:
        """GetItem."""
        request = orjson.loads(body)
        found = self._items[request["TableName"]].get(self._key(request["TableName"], request["Key"]))
        return 200, b'{"Item":%s}' % found if found else b"{}"

    def get_many(self, body: bytes) -> tuple[int, bytes]:
        """BatchGetItem."""
        parts = []
        for table, about in orjson.loads(body)["RequestItems"].items():
            found = (self._items[table].get(self._key(table, key)) for key in about["Keys"])
            items = b",".join(projected(item, about) for item in found if item)
            parts.append(b"%s:[%s]" % (orjson.dumps(table), items))
        return 200, b'{"Responses":{%s},"UnprocessedKeys":{}}' % b",".join(parts)

    def scan(self, request: dict[str, Any], page_items: int) -> bytes:
        """A page of what was kept, in the order in which it came."""
        table, start = request["TableName"], request.get("ExclusiveStartKey")
        if start is None or table not in self._order:
            keys = list(self._items[table])
            self._order[table] = (keys, {key: place for place, key in enumerate(keys)})
        keys, places = self._order[table]
        segment, segments = request.get("Segment", 0), request.get("TotalSegments", 1)
        end = len(keys) * (segment + 1) // segments
        begin = len(keys) * segment // segments if start is None else places[self._key(table, start)] + 1
        stop = min(end, begin + min(page_items, request.get("Limit", page_items)))
        items = [item for key in keys[begin:stop] if (item := self._items[table].get(key))]
        last = b""
        if stop < end:
            names = self._keys[table]
            last = b',"LastEvaluatedKey":' + orjson.dumps(dict(zip(names, map(_typed, keys[stop - 1]), strict=True)))
        texts = b",".join(projected(item, request) for item in items)
        return b'{"Count":%d,"ScannedCount":%d,"Items":[%s]%s}' % (len(items), len(items), texts, last)

    def _key(self, table: str, item: dict) -> tuple:
        return tuple(next(iter(item[name].items())) for name in self._keys[table])


def projected(item: bytes, request: dict[str, Any]) -> bytes:
    """An item as its request wants it."""
    if not (names := projection(request)):
        return item
    content = orjson.loads(item)
    return orjson.dumps({name: content[name] for name in names if name in content})


def projection(request: dict[str, Any]) -> tuple[str, ...]:
    """The attributes that a request names, () for all."""
    known = request.get("ExpressionAttributeNames", {})
    wanted = [name.strip() for name in request.get("ProjectionExpression", "").split(",")]
    return tuple(known.get(name, name) for name in wanted if name)


def _typed(part: tuple[str, str]) -> dict[str, str]:
    return dict([part])
