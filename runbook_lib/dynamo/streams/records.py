"""What a stream's replies hold: changes, and the shards it consists of. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

REMOVED = "REMOVE"
KINDS = frozenset({"INSERT", "MODIFY", REMOVED})


class Record(NamedTuple):
    """One change of one item. `key` and `image` are typed, as the wire holds them."""

    kind: str  # INSERT, MODIFY, REMOVE
    key: dict
    image: dict | None  # the item as it is after the change; None where it was removed
    sequence: str
    shard: str
    at: float  # seconds since the epoch; AWS rounds them down to a whole one


class Shard(NamedTuple):
    """One shard, as a listing shows it."""

    parent: str | None
    start: str | None  # StartingSequenceNumber
    end: str | None  # EndingSequenceNumber; None where the shard is open


class Listing(NamedTuple):
    """What DescribeStream says, all pages together."""

    status: str  # ENABLING, ENABLED, DISABLING, DISABLED
    view: str
    label: str
    shards: dict[str, Shard]
    pages: int


def records_of(reply: Mapping[str, Any], shard: str) -> list[Record]:
    """The records of a GetRecords reply that lacks nothing, in order."""
    return [
        Record(
            one["eventName"],
            (about := one["dynamodb"])["Keys"],
            None if one["eventName"] == REMOVED else about["NewImage"],
            about["SequenceNumber"],
            shard,
            _seconds(about.get("ApproximateCreationDateTime")),
        )
        for one in reply["Records"]
    ]


def shards_of(description: Mapping[str, Any]) -> dict[str, Shard]:
    """The shards of a page of DescribeStream that lacks nothing."""
    found = {}
    for one in description["Shards"]:
        numbers = one.get("SequenceNumberRange") or {}
        start, end = numbers.get("StartingSequenceNumber"), numbers.get("EndingSequenceNumber")
        found[one["ShardId"]] = Shard(one.get("ParentShardId"), start, end)
    return found


def lacking(operation: str, body: Mapping[str, Any], reply: Mapping[str, Any]) -> str:
    """Return what a reply of status 200 lacks of what its operation always answers; "" where it lacks nothing."""
    match operation:
        case "DescribeStream":
            return _of_stream(body, reply.get("StreamDescription"))
        case "GetShardIterator":
            return "" if _is_text(reply.get("ShardIterator")) else "its ShardIterator"
        case "GetRecords":
            records, following = reply.get("Records"), reply.get("NextShardIterator")
            if following is not None and not _is_text(following):
                return "a NextShardIterator to go on from"
            return "" if isinstance(records, list) and all(map(_is_record, records)) else "its Records"
    return ""


def _of_stream(body: Mapping[str, Any], about: Any) -> str:
    if not isinstance(about, dict) or not isinstance(about.get("StreamStatus"), str):
        return "its StreamDescription"
    if about.get("StreamArn", body["StreamArn"]) != body["StreamArn"]:
        return "the StreamDescription of this stream"
    shards, last = about.get("Shards"), about.get("LastEvaluatedShardId")
    if not isinstance(shards, list) or not all(
        isinstance(one, dict) and _is_text(one.get("ShardId")) for one in shards
    ):
        return "its Shards"
    if last is not None and (not _is_text(last) or last == body.get("ExclusiveStartShardId")):
        return "a LastEvaluatedShardId to go on from"
    return ""


def _is_record(one: Any) -> bool:
    try:
        kind, about = one["eventName"], one["dynamodb"]
        image = about.get("NewImage") if kind != REMOVED else about["Keys"]
        return kind in KINDS and type(image) is type(about["Keys"]) is dict and type(about["SequenceNumber"]) is str
    except (KeyError, TypeError, AttributeError):
        return False


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _seconds(value: Any) -> float:
    """A time as an engine writes it: a number of seconds, or a text with a date. 0.0 where it says none."""
    if isinstance(value, (int, float)):
        return float(value)
    try:
        return datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp()
    except (AttributeError, ValueError):
        return 0.0
