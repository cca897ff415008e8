"""Made-up worlds on an engine, and what is in them, read and compared without any of runbook_lib.

Table files are YAML: `Name: {key: {id: S}, indexes: {byX: {x: S}}, items: [{id: {S: a}}, …]}`, values in DynamoDB JSON.
On the engine the table is `Name-dev-SUFFIX` or `Name-prod-SUFFIX`, so that worlds live side by side on one engine.
In every text `<Orgs uuid S acme>` stands for the new id of the old id `acme` (type S) of entry Orgs.
"""

import base64
import functools
import hashlib
import json
import re
import time
import uuid
from dataclasses import dataclass, field
from decimal import Context, Decimal
from pathlib import Path
from typing import Any

import engines
import yaml

SOURCE, TARGET = "dev", "prod"  # the two environments of every world
_NEW_ID = re.compile(r"<([\w.-]+) (uuid|short|number) ([SNB]) ([^>]*)>")
_EXACT = Context(prec=38)  # Python's own keeps 28 digits: keys that differ in the last ten would be one
_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass
class World:
    """The tables of one test on an engine."""

    engine: engines.Engine
    suffix: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    def __post_init__(self):
        self.keys: dict[str, dict[str, str]] = {}  # real name -> key

    @functools.cached_property
    def client(self):
        """A boto3 client, for what has no method here; `call` costs a fifth."""
        return self.engine.client()

    def name(self, table: str, environment: str) -> str:
        """The name of a table on the engine."""
        return f"{table}-{environment}-{self.suffix}"

    def build(self, tables: dict[str, Any], environment: str) -> None:
        """Makes and fills tables as a table file describes them."""
        for table, about in tables.items():
            name = self.name(table, environment)
            self.create(name, about["key"], about.get("indexes", {}))
            items = [{"PutRequest": {"Item": item}} for item in about.get("items", ())]
            for at in range(0, len(items), 25):
                reply = self.engine.call("BatchWriteItem", RequestItems={name: items[at : at + 25]})
                assert not reply.get("UnprocessedItems")

    def sea(self, items: int) -> "World":
        """Builds so many ports and ships, every tenth ship of a port that is not there, and their empty targets."""
        key = {"key": {"id": "S"}}
        ports = [{"id": {"S": f"p{n}"}} for n in range(items)]
        ships = [{"id": {"S": f"s{n}"}, "portId": {"S": f"p{n if n % 10 else -1}"}} for n in range(items)]
        self.build({"Ports": key | {"items": ports}, "Ships": key | {"items": ships}}, SOURCE)
        self.build({"Ports": key, "Ships": key}, TARGET)
        return self

    def create(self, name: str, key: dict[str, str], indexes: dict[str, dict[str, str]] | None = None) -> None:
        """Makes an empty table."""
        types = dict(key)
        for index in (indexes or {}).values():
            types |= index
        secondary = [
            {"IndexName": n, "KeySchema": _schema(k), "Projection": {"ProjectionType": "ALL"}}
            for n, k in (indexes or {}).items()
        ]
        self.engine.call(
            "CreateTable",
            TableName=name,
            KeySchema=_schema(key),
            AttributeDefinitions=[{"AttributeName": a, "AttributeType": t} for a, t in types.items()],
            BillingMode="PAY_PER_REQUEST",
            **({"GlobalSecondaryIndexes": secondary} if secondary else {}),
        )
        deadline = time.monotonic() + 10
        while self.engine.call("DescribeTable", TableName=name)["Table"]["TableStatus"] != "ACTIVE":
            assert time.monotonic() < deadline, f"{name} does not become active"
            time.sleep(0.05)
        self.keys[name] = key

    def put(self, name: str, item: dict) -> None:
        """Writes one item, over what is there."""
        self.engine.call("PutItem", TableName=name, Item=item)

    def delete(self, name: str, key: dict) -> None:
        """Deletes one item, if it is there."""
        self.engine.call("DeleteItem", TableName=name, Key=key)

    def names(self, environment: str) -> list[str]:
        """The tables of one side that are on the engine now."""
        end = f"-{environment}-{self.suffix}"
        pages = self.engine.pages("ListTables", "LastEvaluatedTableName", "ExclusiveStartTableName")
        return sorted(name for page in pages for name in page["TableNames"] if name.endswith(end))

    def items(self, name: str) -> list[dict]:
        """All items of a table in plain form, in a fixed order."""
        pages = self.engine.pages("Scan", "LastEvaluatedKey", "ExclusiveStartKey", TableName=name, ConsistentRead=True)
        return plain_items([item for page in pages for item in page["Items"]])

    def content(self, environment: str) -> dict[str, list[dict]]:
        """Table (without environment and suffix) → its items, for one side."""
        end = f"-{environment}-{self.suffix}"
        return {name.removesuffix(end): self.items(name) for name in self.names(environment)}

    def digest(self, environment: str) -> str:
        """SHA-256 over all tables and items of one side."""
        return hashlib.sha256(as_text(self.content(environment)).encode()).hexdigest()

    def drop(self) -> None:
        """Deletes all tables of this world."""
        for environment in (SOURCE, TARGET):
            for name in self.names(environment):
                self.engine.call("DeleteTable", TableName=name)


def read(path: Path) -> Any:
    """A YAML file with its new ids filled in; {} where it does not exist."""
    return filled(yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.exists() else {}


def filled(content: Any) -> Any:
    """Content with every `<Entry format T old>` replaced by the new id."""
    if isinstance(content, str):
        return _NEW_ID.sub(lambda match: new_id(TARGET, *match.groups()), content)
    if isinstance(content, dict):
        return {key: filled(value) for key, value in content.items()}
    return [filled(value) for value in content] if isinstance(content, list) else content


def new_id(environment: str, entry: str, id_format: str, letter: str, old: str) -> str:
    """The new id as the design describes it: a second implementation, so that the first is not its own judge."""
    raw = base64.b64decode(old) if letter == "B" else old.encode()
    parts = (b"runbook-id-1", environment.encode(), entry.encode(), letter.encode(), raw)
    hashed = hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()
    number = int.from_bytes(hashed[:16], "big")
    if id_format in ("number", "number15"):
        first = 10 ** (19 if id_format == "number" else 14)
        return str(first + number % (9 * first))
    if id_format == "short":
        rest = int.from_bytes(hashed[4:20], "big")
        digits = [_BASE36[rest // 36**place % 36] for place in range(7, -1, -1)]
        return hashed[:4].hex() + "-" + "".join(digits)
    number = number & ~(0xF << 76) | 8 << 76  # version 8
    number = number & ~(3 << 62) | 2 << 62  # variant
    return base64.b64encode(number.to_bytes(16, "big")).decode() if letter == "B" else str(uuid.UUID(int=number))


def plain(value: dict) -> dict:
    """A typed value in one form: numbers by value, sets in order."""
    ((letter, content),) = value.items()
    if letter == "N":
        return {"N": _number(content)}
    if letter == "NS":
        return {"NS": sorted(map(_number, content))}
    if letter in ("SS", "BS"):
        return {letter: sorted(content)}
    if letter == "L":
        return {"L": [plain(member) for member in content]}
    if letter == "M":
        return {"M": plain_item(content)}
    return value


def plain_item(item: dict) -> dict:
    """An item (or map) in one form."""
    return {name: plain(value) for name, value in item.items()}


def plain_items(items: list[dict]) -> list[dict]:
    """Items in one form and a fixed order, as `World.items` gives them."""
    return sorted((plain_item(item) for item in items), key=as_text)


def as_text(content: Any) -> str:
    """JSON with sorted keys."""
    return json.dumps(content, sort_keys=True, ensure_ascii=False)


def _number(text: str) -> str:
    number = Decimal(text)
    return format(number.normalize(_EXACT) if number else Decimal(0), "f")


def _schema(key: dict[str, str]) -> list[dict[str, str]]:
    return [{"AttributeName": name, "KeyType": kind} for name, kind in zip(key, ("HASH", "RANGE"), strict=False)]
