"""What AWS does and local engines do not: each behaviour is a function of the proxy and options that gives a handler.

A handler takes a call and `go`, which passes it on inwards. Where the answers come from stands in aws_shaped.py.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from aws_requests import (
    ACCOUNT,
    BATCH,
    CORAL,
    READS,
    WRITES,
    Call,
    Go,
    Place,
    Reply,
    but,
    failed,
    item_size,
    key_text,
    listed,
    plain,
    refusal,
    unfiltered,
    units_of,
    unprocessed,
)

NOT_FOUND = "Requested resource not found"
LEVEL = "The level of configured provisioned throughput for"
# (of an index, on demand) -> DynamoDB's sentence
SLOW = {
    (False, False): f"{LEVEL} the table was exceeded. Consider increasing your provisioning level with the UpdateTable "
    "API.",
    (True, False): f"{LEVEL} one or more global secondary indexes of the table was exceeded. Consider increasing your "
    "provisioning level for the under-provisioned global secondary indexes with the UpdateTable API. ",
    (False, True): "Throughput exceeds the current capacity of your table or index. DynamoDB is automatically scaling "
    "your table or index so please try again shortly. If exceptions persist, check if you have a hot key: "
    "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html",
    (True, True): "Throughput exceeds the current capacity for one or more global secondary indexes. DynamoDB is "
    "automatically scaling your index so please try again shortly.",
}


def iam(proxy: Any, policy: Any, role: str = "runbook", session: str = "runbook", account: str = ACCOUNT) -> Callable:
    """Only what a policy allows: a document or its statements, read at each request. Conditions and Not… are not known.

    `{"AccessKeys": {key: policy}}` has one for each access key. `proxy.used` gets pairs: the action that a request needed,
    and the Sid of each statement that allowed it; `proxy.denied` the sentences of what was refused.
    """
    proxy.used, proxy.denied, proxy.iterators = set(), [], {}

    def of(call: Call) -> list:
        document = policy["AccessKeys"][call.access_key()] if "AccessKeys" in policy else policy
        return document["Statement"] if isinstance(document, dict) else document

    def denied(call: Call, action: str, resource: str) -> str | None:
        fitting = [
            statement
            for statement in of(call)
            if any(fnmatchcase(action.lower(), one.lower()) for one in listed(statement["Action"]))
            and any(fnmatchcase(resource, one) for one in listed(statement["Resource"]))
        ]
        effects = {statement["Effect"] for statement in fitting}
        if effects == {"Allow"}:
            with proxy.lock:
                proxy.used |= {(action, statement.get("Sid", "")) for statement in fitting}
            return None
        proxy.met("iam")
        why = "with an explicit deny in an identity-based policy"
        why = why if effects else f"because no identity-based policy allows the {action} action"
        user = f"arn:aws:sts::{account}:assumed-role/{role}/{session}"
        proxy.denied.append(f"User: {user} is not authorized to perform: {action} on resource: {resource} {why}")
        return proxy.denied[-1]

    def statement(call: Call, place: Place) -> dict | None:
        sentence = denied(call, f"dynamodb:PartiQL{place.verb.title()}", call.arn(place.table, place.index, account))
        return sentence and failed("AccessDenied", sentence)

    def on(call: Call, go: Go) -> Reply:
        if call.operation == BATCH:
            return but(call, go, partial(statement, call))
        resources = {call.arn(place.table, place.index, account) for place in call.places()}
        resources |= {
            call.arn(call.body[n], account=account) for n in ("SourceTableName", "TargetTableName") if n in call.body
        }
        resources |= {call.body[n] for n in ("ResourceArn", "TableArn", "BackupArn", "StreamArn") if n in call.body}
        if "ShardIterator" in call.body:
            resources.add(proxy.iterators[call.body["ShardIterator"]])
        for action in [call.operation] + ["TagResource"] * bool(call.body.get("Tags")):
            for resource in sorted(resources) or [call.arn("*", account=account)]:
                if sentence := denied(call, f"dynamodb:{action}", resource):
                    return refusal("AccessDeniedException", None, CORAL, Message=sentence)
        status, content = go(call)
        for name in ("ShardIterator", "NextShardIterator"):  # of which stream the next request with it is
            if status == 200 and content.get(name):
                proxy.iterators[content[name]] = next(iter(resources))
        return status, content

    return on


def fresh_tables(proxy: Any, seconds: float = 0.0, requests: int = 0, rate: float = 1.0, seed: int = 0) -> Callable:
    """A table made through the proxy is unknown to its hosts for seconds, or so many requests, after it was told ACTIVE.

    `rate`: to which share of them, by the number of the request.
    """
    active: dict[str, float | None] = {}
    asked: Counter[str] = Counter()

    def unknown(table: str) -> bool:
        with proxy.lock:
            if active.get(table) is None:
                return False
            asked[table] += 1
            young = asked[table] <= requests or time.monotonic() - active[table] < seconds
            hit = young and random.Random(f"{seed} {asked[table]}").random() < rate
        proxy.met("fresh_tables", hit)
        return hit

    def on(call: Call, go: Go) -> Reply:
        if call.operation == BATCH:
            lost = failed("ResourceNotFound", NOT_FOUND)
            return but(call, go, lambda place: lost if unknown(place.table) else None)
        if call.operation in READS | WRITES and any(map(unknown, {place.table for place in call.places()})):
            return refusal("ResourceNotFoundException", NOT_FOUND)
        status, content = go(call)
        if status == 200 and call.operation in ("CreateTable", "DescribeTable"):
            about = content.get("Table") or content["TableDescription"]
            with proxy.lock:
                if call.operation == "CreateTable":
                    active[about["TableName"]] = None
                if about["TableName"] in active and about["TableStatus"] == "ACTIVE":
                    active[about["TableName"]] = active[about["TableName"]] or time.monotonic()
        return status, content

    return on


def probe(proxy: Any, answer: str, times: int | None = None) -> Callable:
    """What a single INSERT without its key answers, the first `times`: validation, unknown, throttled, denied, lost, error,
    or crash: a 500 without a type.

    `validation` refuses the whole request, naming the key. Without this behaviour the engine answers: a ValidationError.
    """

    def on(call: Call, go: Go) -> Reply:
        place, *others = call.places() if call.operation == BATCH else [Place("")]
        key = proxy.shape(call, place.table)[0] if place.verb == "INSERT" and not others else []
        missing = [name for name in key if name not in place.item]
        if not missing or (times is not None and proxy.seen["probe"] >= times):
            return go(call)
        proxy.met("probe")
        sentence = f"One or more parameter values were invalid: Missing the key {missing[0]} in the item"
        access = f"not authorized to perform: dynamodb:PartiQLInsert on resource: {call.arn(place.table)}"
        return {
            "validation": refusal("ValidationException", sentence),
            "unknown": refusal("UnknownOperationException", None, CORAL),
            "throttled": (200, {"Responses": [failed("ThrottlingError", SLOW[False, True], TableName=place.table)]}),
            "denied": (200, {"Responses": [failed("AccessDenied", f"User: a role is {access}")]}),
            "lost": (200, {"Responses": [failed("ResourceNotFound", NOT_FOUND)]}),
            "error": (500, refusal("InternalServerError", "Internal server error")[1]),
            "crash": (500, {}),
        }[answer]

    return on


def equal_keys(proxy: Any) -> Callable:
    """A batch with two statements for one key is refused as a whole."""

    def on(call: Call, go: Go) -> Reply:
        keys: Counter[str] = Counter()
        for place in call.places() if call.operation == BATCH else ():
            names = proxy.shape(call, place.table)[0]
            if place.item and all(name in place.item for name in names):
                keys[f"{place.table} {key_text(place.item, names)}"] += 1
        if all(count == 1 for count in keys.values()):
            return go(call)
        proxy.met("equal_keys")
        return refusal("ValidationException", "Provided list of item keys contains duplicates")

    return on


def throttle(
    name: str,
    proxy: Any,
    *,
    units: float | None = None,
    first: int = 0,
    seconds: float = 0.0,
    tables: str = "*",
    on_demand: bool = True,
    reads: bool = False,
) -> Callable:
    """Refuses what comes above `units` a second, the `first` ones, or all within `seconds` of the first.

    Counted by table, index or partition, as `name` says, and item by item in batches. `tables` is a pattern; writes
    alone, or `reads` alone.
    """
    came: Counter[str] = Counter()
    began: dict[str, float] = {}
    left: dict[str, tuple[float, float]] = {}  # units, and when

    def buckets(call: Call, place: Place) -> Iterator[tuple[str, str | None]]:
        """(what is counted, index) of all that the place takes units of."""
        key, indexes = proxy.shape(call, place.table)
        if name == "throttle_table":
            yield place.table, None
        elif name == "throttle_partition":
            yield f"{place.table} {key_text(place.item or {}, key[:1])}", None
        else:
            held = [index for index, names in indexes.items() if place.whole and names_in(place.item, names)]
            for index in held if place.write else filter(None, [place.index]):
                yield f"{place.table} {index}", index

    def admits(what: str, takes: float) -> bool:
        now = time.monotonic()
        with proxy.lock:
            came[what] += 1
            if came[what] <= first or now - began.setdefault(what, now) < seconds:
                return False
            if units is None:
                return True
            rest, since = left.get(what, (units, now))
            rest = min(units, rest + (now - since) * units)
            enough = rest >= min(takes, units)
            left[what] = (rest - takes if enough else rest), now
            return enough

    def over(call: Call, place: Place) -> tuple[str, str | None] | None:
        """The table and index that are too slow for the place."""
        if place.write != reads and fnmatchcase(place.table, tables):
            for what, index in buckets(call, place):
                if not admits(what, place.units()):
                    proxy.met(name)
                    return place.table, index
        return None

    def statement(call: Call, place: Place) -> dict | None:
        code = "ThrottlingError" if on_demand else "ProvisionedThroughputExceeded"
        slow = over(call, place)
        return slow and failed(code, SLOW[slow[1] is not None, on_demand], TableName=place.table)

    def whole(call: Call, table: str, index: str | None) -> Reply:
        by_key = on_demand or name == "throttle_partition"
        limit = ("KeyRange" if by_key else "Provisioned") + "ThroughputExceeded"
        kind = ("Index" if index else "Table") + ("Read" if reads else "Write")
        reasons = [{"reason": kind + limit, "resource": call.arn(table, index)}]
        sentence = SLOW[index is not None, on_demand]
        if on_demand:
            return refusal("ThrottlingException", sentence, "com.amazon.coral.availability", throttlingReasons=reasons)
        return refusal("ProvisionedThroughputExceededException", sentence, ThrottlingReasons=reasons)

    def on(call: Call, go: Go) -> Reply:
        if call.operation == BATCH:
            return but(call, go, partial(statement, call))
        slow = [over(call, place) for place in call.places()] if call.operation in READS | WRITES else []
        if not any(slow):
            return go(call)
        if call.operation == "BatchGetItem" and not all(slow):
            return unprocessed(call, go, [one is not None for one in slow])
        return whole(call, *next(filter(None, slow)))

    return on


def lagging_indexes(proxy: Any, seconds: float = 0.0, writes: int = 0, queries: int | None = None) -> Callable:
    """A Query on a global index does not give what was written in the last seconds, or by the last writes to its table.

    So many `queries` of each index; None: all. What was deleted or has left the index is gone from it at once.
    """
    asked: Counter[str] = Counter()
    written: dict[str, dict[str, float]] = {}  # table -> key -> when, the latest last

    def note(call: Call, place: Place) -> None:
        key = key_text(place.item, proxy.shape(call, place.table)[0])
        with proxy.lock:
            of = written.setdefault(place.table, {})
            of.pop(key, None)
            of[key] = time.monotonic()

    def on(call: Call, go: Go) -> Reply:
        status, content = go(call)
        if status == 200 and call.operation in WRITES:
            for place, answer in zip(call.places(), responses(call, content), strict=False):
                if "Error" not in answer:
                    note(call, place)
        place = next(call.places(), None) if status == 200 and call.operation == "Query" else None
        names, indexes = proxy.shape(call, place.table) if place else ([], {})
        if indexes and place.index in indexes and "Items" in content:
            with proxy.lock:
                asked[f"{place.table} {place.index}"] += 1
                lags = queries is None or asked[f"{place.table} {place.index}"] <= queries
                of = dict(written.get(place.table, {})) if lags else {}
            hidden = set(list(of)[-writes:] if writes else ())
            hidden |= {key for key, when in of.items() if time.monotonic() - when < seconds}
            given = [item for item in content["Items"] if key_text(item, names) not in hidden]
            proxy.met("lagging_indexes", len(given) < len(content["Items"]))
            content = content | {"Items": given, "Count": len(given)}
        return status, content

    return on


def capacity(proxy: Any) -> Callable:
    """ConsumedCapacity as AWS counts it, where a request asks for it.

    A write: each item rounded up to 1 KB, in each global index that holds it, too; also a statement that failed when it
    ran. A read: 4 KB, half without consistency; BatchGetItem rounds each item for itself, Scan and Query the page,
    before filter and projection.
    """

    def read(call: Call, content: dict) -> Iterator[tuple[str, str, float]]:
        """(table, index or "", units)."""
        if call.operation == "BatchGetItem":
            for table, about in call.body["RequestItems"].items():
                items = content["Responses"].get(table, [])
                left = content.get("UnprocessedKeys", {}).get(table, {}).get("Keys", ())
                for item in items + [{}] * (len(about["Keys"]) - len(left) - len(items)):
                    yield plain(table), "", units_of(item_size(item), False, about.get("ConsistentRead"))
            return
        if {"ProjectionExpression", "FilterExpression"} & call.body.keys():
            content = proxy.ask(call, call.operation, **unfiltered(call.body))[1]
        items = content.get("Items", [content.get("Item", {})])
        (place,) = call.places()
        size = sum(map(item_size, items))
        yield place.table, place.index or "", units_of(size, False, call.body.get("ConsistentRead"))

    def write(call: Call, content: dict) -> Iterator[tuple[str, str, float]]:
        answers = responses(call, content)
        if all("Error" in answer for answer in answers):
            return
        for place, answer in zip(call.places(), answers, strict=False):
            if "Error" not in answer or "TableName" in answer:  # it ran
                item = content.get("Attributes") or place.item
                takes = units_of(item_size(item), True) if place.whole or "Attributes" in content else 1
                indexes = {} if "Error" in answer else proxy.shape(call, place.table)[1]
                for index in ["", *(index for index, names in indexes.items() if names_in(item, names))]:
                    yield place.table, index, takes

    def on(call: Call, go: Go) -> Reply:
        status, content = go(call)
        wanted = call.body.get("ReturnConsumedCapacity", "NONE")
        if status != 200 or call.operation not in READS | WRITES or wanted == "NONE":
            return status, content
        proxy.met("capacity")
        content.pop("ConsumedCapacity", None)
        taken: dict[str, Counter] = {}
        for table, index, number in (read if call.operation in READS else write)(call, content):
            taken.setdefault(table, Counter())[index] += number
        told = []
        for table, of in taken.items():
            told.append({"TableName": table, "CapacityUnits": float(sum(of.values()))})
            if wanted == "INDEXES":
                parts = {index: {"CapacityUnits": float(number)} for index, number in of.items()}
                told[-1] |= {"Table": parts.pop("", {"CapacityUnits": 0.0}), "GlobalSecondaryIndexes": parts}
        if told:
            content["ConsumedCapacity"] = told if call.operation.startswith("Batch") else told[0]
        return status, content

    return on


def warm(proxy: Any, **fields: Any) -> Callable:
    """DescribeTable tells what AWS tells of throughput, class, encryption and replicas; `fields` replace some of it."""
    warmth = {"ReadUnitsPerSecond": 12_000, "WriteUnitsPerSecond": 4_000, "Status": "ACTIVE"}
    key = f"arn:aws:kms:us-west-1:{ACCOUNT}:key/00000000-0000-0000-0000-000000000000"

    def on(call: Call, go: Go) -> Reply:
        status, content = go(call)
        if status == 200 and call.operation == "DescribeTable":
            proxy.met("warm")
            content["Table"] |= {
                "WarmThroughput": warmth,
                "OnDemandThroughput": {"MaxReadRequestUnits": -1, "MaxWriteRequestUnits": -1},
                "TableClassSummary": {"TableClass": "STANDARD"},
                "SSEDescription": {"Status": "ENABLED", "SSEType": "KMS", "KMSMasterKeyArn": key},
                "GlobalTableVersion": "2019.11.21",
                "Replicas": [{"RegionName": "eu-west-1", "ReplicaStatus": "ACTIVE"}],
                **fields,
            }
            for index in content["Table"].get("GlobalSecondaryIndexes") or ():
                index["WarmThroughput"] = warmth
        return status, content

    return on


def responses(call: Call, content: dict) -> list[dict]:
    """What became of each item of a write that was accepted."""
    return content["Responses"] if call.operation == BATCH else [{}] * 25


def names_in(item: dict, names: list[str]) -> bool:
    """Whether an item has these attributes."""
    return all(name in item for name in names)


# From the client inwards.
ANSWERS: dict[str, Callable] = {
    "iam": iam,
    "fresh_tables": fresh_tables,
    "probe": probe,
    "equal_keys": equal_keys,
    **{name: partial(throttle, name) for name in ("throttle_partition", "throttle_index", "throttle_table")},
    "lagging_indexes": lagging_indexes,
    "capacity": capacity,
    "warm": warm,
}
