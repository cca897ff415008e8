"""What an answer means: codes, replies that answer nothing, and exceptions whose text never holds an item's values."""

import re
import time
from collections.abc import Mapping
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from ..errors import DENIED, NOT_FOUND, Again, ConditionFailed, DynamoError, Expired, Interrupted

Address = tuple[str, str]  # endpoint and region

# The one table. A code that is in none of these, and every answer without one, is tried again, and then Interrupted.
THROTTLED = frozenset(  # tried again, and the table is slowed
    "ProvisionedThroughputExceededException ThrottlingException Throttling ThrottledException ThrottlingError "
    "RequestThrottled RequestThrottledException RequestLimitExceeded TooManyRequestsException SlowDown "
    "BandwidthLimitExceeded".split()
)
TRANSIENT = frozenset(  # tried again, as is every status from 500 up
    "InternalServerError InternalServerErrorException InternalFailure ServiceUnavailable ServiceUnavailableException "
    "RequestTimeout RequestTimeoutException PriorRequestNotComplete TransactionConflictException "
    "TransactionInProgressException ReplicatedWriteConflictException CRC32CheckFailed".split()
)
EXPIRED = frozenset("ExpiredToken ExpiredTokenException".split())  # credentials renewed once, then Interrupted
REJECTED = frozenset(  # Interrupted: no request can succeed with these credentials or this clock
    "UnrecognizedClientException InvalidSignatureException SignatureDoesNotMatch InvalidClientTokenId "
    "MissingAuthenticationToken MissingAuthenticationTokenException IncompleteSignature IncompleteSignatureException "
    "RequestExpired RequestTimeTooSkewed".split()
)

LIMIT = "LimitExceededException"  # too many tables are being changed; but of a stream's data: too many requests
STREAM_LIMITED = frozenset({"DescribeStream", "GetShardIterator", "GetRecords"})
CONDITION_FAILED = "ConditionalCheckFailedException"
LACKS = frozenset(  # said of an operation that the engine does not have
    "UnknownOperationException UnknownOperation InvalidAction NotImplemented NotImplementedException".split()
)
FINAL = (  # no retry changes it: raised at once as a DynamoError
    frozenset(
        "ValidationException SerializationException DuplicateItemException ItemCollectionSizeLimitExceededException "
        "ResourceInUseException TableInUseException TableAlreadyExistsException TableNotFoundException "
        "IndexNotFoundException LimitExceededException BackupNotFoundException BackupInUseException "
        "ExpiredIteratorException TrimmedDataAccessException "
        "ContinuousBackupsUnavailableException PointInTimeRecoveryUnavailableException InvalidRestoreTimeException".split()
    )
    | {CONDITION_FAILED, NOT_FOUND}
    | DENIED
    | LACKS
)
# What BatchExecuteStatement says of one statement, in the words of a single request.
_OF_STATEMENTS = {
    "AccessDenied": "AccessDeniedException",
    "ConditionalCheckFailed": CONDITION_FAILED,
    "DuplicateItem": "DuplicateItemException",
    "ItemCollectionSizeLimitExceeded": "ItemCollectionSizeLimitExceededException",
    "ProvisionedThroughputExceeded": "ProvisionedThroughputExceededException",
    "ResourceNotFound": NOT_FOUND,
    "TransactionConflict": "TransactionConflictException",
    "ValidationError": "ValidationException",
}
_CODE = re.compile(r"[A-Za-z0-9_]{3,80}")
_XML = re.compile(r"<Code>(\w+)</Code>\s*<Message>([^<]*)</Message>")  # how some gateways and engines refuse
_RIGHT = re.compile(
    r"(?:User: (?P<who>[\w+=,.@:/-]+) is )?not authorized to perform: (?P<action>[\w:*]+)"
    r"(?: on resource: (?P<what>arn:[\w:/.*+=,@-]+))?"
)
_ACTIONS = {"BatchExecuteStatement": "PartiQLInsert"}  # operations whose right has another name
# Where a reply always has a value, for the operations that have no rule of their own in `lacking`.
_ALWAYS = {
    "DescribeTimeToLive": ("TimeToLiveDescription", "TimeToLiveStatus"),
    "UpdateTimeToLive": ("TimeToLiveSpecification",),
    "DescribeContinuousBackups": ("ContinuousBackupsDescription",),
    "UpdateContinuousBackups": ("ContinuousBackupsDescription",),
    "CreateBackup": ("BackupDetails", "BackupArn"),
    "DescribeBackup": ("BackupDescription", "BackupDetails", "BackupStatus"),
}
_INDEX = re.compile(r"table/[\w.-]+/index/[\w.-]+|global secondary index", re.IGNORECASE)
NEW_TABLE = 60.0  # seconds for which some of DynamoDB's hosts may not know a table that is active already
# Of this process, whatever its connections: address and name of tables that its runs created → until when they are new.
# An address has no account: STS may tell it to one connection and not to the next, and a new table would count as lost.
_new: dict[tuple[Address, str], float] = {}
_MAX_SKEW = 240  # seconds; AWS refuses from 300 on

# An engine's sentence may quote what it was sent. Only these, which hold attribute names and types, are passed on.
_SAFE_SENTENCES = tuple(
    re.compile(pattern)
    for pattern in (
        r"The conditional request failed",
        r"Requested resource not found",
        r"Item size (to update )?has exceeded the maximum allowed size",
        r"Missing the key [\w.-]+ in the item",
        r"Type mismatch for (key|Index Key) [\w.-]+,? [Ee]xpected: \w+,? [Aa]ctual: \w+( IndexName: [\w.-]+)?",
        r"The provided key element does not match the schema",
        r"The AttributeValue for a key attribute cannot contain an empty (string|binary) value\. Key: [\w.-]+",
        r"Size of (hashkey|rangekey) has exceeded the maximum size limit of \d+ bytes",
        r"Number overflow",
        r"Number underflow",
        r"Attempting to store more than 38 significant digits in a Number",
        r"An (AttributeValue|number|string) set may not be empty|Supplied AttributeValue is empty",
        r"Nesting Levels have exceeded supported limits",
        r"not authorized to perform: [\w:]+ on resource: [\w:/.*-]+",
        r"The table does not have the specified index: [\w.-]+",
    )
)


class MaybeOurs(dict):
    """The item that is there. An attempt to insert under its key was not answered, so it may be what that attempt wrote."""


def where(label: str, operation: str, table: str | None) -> str:
    """The opening of a message: side, operation, table."""
    return f"{label + ': ' if label else ''}{operation}{' on ' + table if table else ''}"


def from_reply(
    label: str, operation: str, table: str | None, status: int, headers: Mapping[str, str], raw: bytes, who: str = ""
) -> Exception:
    """Return the exception that stands for a reply other than 200: Again, Expired, Interrupted or a DynamoError.

    `who` the request is from, where that is known.
    """
    content = _content(raw)
    code = str(content.get("__type", "")).rpartition("#")[2]
    code = _OF_STATEMENTS.get(code, code)
    if status >= 500 or code in TRANSIENT:
        return Again(code if _CODE.fullmatch(code) else f"HTTP status {status}", overload=True, by_server=status >= 500)
    if not _CODE.fullmatch(code):
        return Again(f"the reply (HTTP status {status}) is not DynamoDB's")
    text = str(content.get("message") or content.get("Message") or "")
    if code in THROTTLED or (code == LIMIT and operation in STREAM_LIMITED):
        return Again(_throttle_reason(code, content, text), overload=True, may_have_landed=False)
    if code in EXPIRED:
        return Expired()
    place = where(label, operation, table)
    if code in REJECTED:
        return Interrupted(f"{place}: the credentials or the signature were not accepted ({code}){_skew(headers)}.")
    if code not in FINAL:
        return Again(unknown(code, status), may_have_landed=False)
    detail = denial(operation, table, text, who) if code in DENIED else safe_detail(text)
    kind = ConditionFailed if code == CONDITION_FAILED else DynamoError
    error = kind(
        f"{place} was refused: {code}: {detail}.", code, detail, operation, table, headers.get("x-amzn-requestid")
    )
    if isinstance(error, ConditionFailed):
        error.item = content.get("Item")
    return error


def from_statement(label: str, operation: str, table: str | None, error: Any) -> "Again | DynamoError":
    """Return the exception that stands for the `Error` of one statement: Again, or a DynamoError with a single request's code.

    A table that is not found is Again: a single request finds out whether it is lost.
    """
    content = error if isinstance(error, dict) else {}
    code = str(content.get("Code", ""))
    code = _OF_STATEMENTS.get(code, code)
    text = str(content.get("Message") or "")
    if code in THROTTLED:
        return Again(_throttle_reason(code, content, text), overload=True, may_have_landed=False)
    if code in TRANSIENT:
        return Again(code, overload=True)
    if code == NOT_FOUND:
        return Again(code, may_have_landed=False)
    if not _CODE.fullmatch(code):
        code = "unknown error"
    detail = denial(operation, table, text) if code in DENIED else safe_detail(text)
    return DynamoError(
        f"{where(label, operation, table)} was refused: {code}: {detail}.", code, detail, operation, table
    )


def unknown(code: str, status: int) -> str:
    """A code that is in no table, as a reason."""
    return f"unknown error {code if _CODE.fullmatch(code) else ''} (HTTP status {status})".replace("  ", " ")


def denial(operation: str, table: str | None, text: str, who: str = "") -> str:
    """Return what to allow to whom, from DynamoDB's `text` where that says it: `allow ACTION on TABLE for ROLE`."""
    found = _RIGHT.search(text)
    action, what = (found["action"], found["what"]) if found else ("", "")
    if not action:  # of a key that it may not use DynamoDB may say no more than that
        action = "kms:Decrypt" if re.search(r"\bKMS\b", text) else f"dynamodb:{_ACTIONS.get(operation, operation)}"
    if action.startswith("kms:"):
        what = f"the key {what}" if what else f"the key of {table}"
    who = (found["who"] if found else "") or who or "the role or user"
    ways = ", in its policy and in the key's" if action.startswith("kms:") else ""
    ways += "; a policy denies it explicitly" if "explicit deny" in text else ""
    return f"allow {action} on {what or table} for {who}{ways}"


def lacking(operation: str, body: Mapping[str, Any], reply: Mapping[str, Any]) -> str:
    """Return what a reply of status 200 lacks of what its operation always answers; "" where it lacks nothing.

    Of GetItem and PutItem `{}` is an answer. What BatchExecuteStatement says of each statement is for the caller.
    """
    match operation:
        case "Scan" | "Query":
            return _of_page(body, reply)
        case "BatchGetItem":
            return _of_items(body, reply)
        case "GetItem":
            item = reply.get("Item")
            return "" if item is None or is_of(body["Key"], item) else "its Item"
        case "DeleteItem":  # on a condition that no absent item fulfils
            shown = "ConditionExpression" in body and body.get("ReturnValues") == "ALL_OLD"
            old = reply.get("Attributes", None if shown else body["Key"])
            return "" if is_of(body["Key"], old) else "the Attributes of the deleted item"
        case "DescribeTable":
            return _of_table(reply)
        case "ListTables":
            names, last = reply.get("TableNames"), reply.get("LastEvaluatedTableName")
            goes_on = last is None or last != body.get("ExclusiveStartTableName")
            return "" if isinstance(names, list) and goes_on else "its TableNames"
    value: Any = reply
    for name in _ALWAYS.get(operation, ()):
        value = value.get(name) if isinstance(value, Mapping) else None
        if value is None:
            return name
    return ""


def is_of(key: Mapping[str, dict], item: Any) -> bool:
    """Whether that is an item with this key, numbers by value. If not, the reply it is in is the answer to another request."""
    if not isinstance(item, dict):
        return False
    try:
        return all(
            item[name] == value or Decimal(item[name]["N"]) == Decimal(value["N"]) for name, value in key.items()
        )
    except (KeyError, TypeError, ArithmeticError):
        return False


def _of_page(body: Mapping[str, Any], reply: Mapping[str, Any]) -> str:
    items, start, last = reply.get("Items"), body.get("ExclusiveStartKey"), reply.get("LastEvaluatedKey")
    if not _are_maps(items):
        return "its Items"
    if reply.get("Count", len(items)) != len(items):
        return "as many Items as its Count says"
    if last is not None:  # a page ends behind the key it began at, or the walk would never end
        fits = isinstance(last, dict) and last and all(isinstance(value, dict) for value in last.values())
        if not fits or (start and (last == start or last.keys() != start.keys())):
            return "a LastEvaluatedKey to go on from"
    return ""


def table_name(table: str) -> str:
    """The name of a table that may be named by its ARN."""
    return table.rpartition("/")[2]


def of_table(reply: Mapping[str, Any], table: str, nothing: Any) -> Any:
    """What a part of a reply says of a table: under its name, also where the request named its ARN."""
    return reply[table] if table in reply else reply.get(table_name(table), nothing)


def _of_items(body: Mapping[str, Any], reply: Mapping[str, Any]) -> str:
    found, left = reply.get("Responses"), reply.get("UnprocessedKeys", {})
    if not isinstance(found, dict):
        return "its Responses"
    for table, about in body["RequestItems"].items():
        over = of_table(left, table, {}) if isinstance(left, dict) else None
        over = over.get("Keys", []) if isinstance(over, dict) else None
        if not _are_maps(over):
            return "its UnprocessedKeys"
        items = of_table(found, table, [] if len(over) == len(about["Keys"]) else None)
        if not _are_maps(items):
            return f"its Responses for {table}"
        if "UnprocessedKeys" not in reply and len(items) < len(about["Keys"]):
            return "its UnprocessedKeys"
    return ""


def _of_table(reply: Mapping[str, Any]) -> str:
    table = reply.get("Table")
    if not isinstance(table, dict) or not isinstance(table.get("TableStatus"), str):
        return "its Table"
    if table["TableStatus"] == "DELETING":  # of which DynamoDB says little
        return ""
    types = table.get("AttributeDefinitions")
    indexes = [*(table.get("GlobalSecondaryIndexes") or ()), *(table.get("LocalSecondaryIndexes") or ())]
    if not (_are_maps(types) and _are_maps(indexes) and isinstance(table.get("TableName"), str)):
        return "the attributes of its Table"
    known = {part.get("AttributeName") for part in types if "AttributeType" in part}
    if not all("IndexName" in index for index in indexes):
        return "the name of an index"
    for key in (part.get("KeySchema") for part in (table, *indexes)):
        if not (_are_maps(key) and key and all("KeyType" in p and p.get("AttributeName") in known for p in key)):
            return "a key of its Table"
    return ""


def _are_maps(values: Any) -> bool:
    return isinstance(values, list) and set(map(type, values)) <= {dict}


def of_xml(text: str) -> tuple[str, str] | None:
    """Return code and message of a refusal in XML."""
    found = _XML.search(text)
    return (found[1], found[2]) if found else None


def note_active(address: Address, table: str, age: float = 0.0) -> None:
    """Notes that a table which this run created became active so many seconds ago."""
    if age < NEW_TABLE:
        _new[address, table] = time.monotonic() + NEW_TABLE - age


def note_deleted(address: Address, table: str) -> None:
    """Notes that a table was deleted: it is not new any more."""
    _new.pop((address, table), None)


def is_new(address: Address, table: str) -> bool:
    """Whether a table became active so lately that a host which does not know it proves nothing."""
    return time.monotonic() < _new.get((address, table), 0.0)


def safe_detail(text: str) -> str:
    """Return the part of an engine's sentence that cannot hold a value."""
    found = next((match for pattern in _SAFE_SENTENCES if (match := pattern.search(text))), None)
    return found[0] if found else "its text is withheld, as it may quote values"


def _content(raw: bytes) -> dict:
    try:
        content = orjson.loads(raw)
    except orjson.JSONDecodeError:
        code, text = of_xml(raw.decode(errors="replace")) or ("", "")
        return {"__type": code, "message": text}
    return content if isinstance(content, dict) else {}


def _throttle_reason(code: str, content: dict, text: str) -> str:
    """The code, with the table or index that DynamoDB names as the one that is too slow."""
    for entry in content.get("ThrottlingReasons") or content.get("throttlingReasons") or ():
        return f"{entry.get('reason', code)} ({str(entry.get('resource', '')).rpartition(':')[2]})"
    index = _INDEX.search(text)
    return f"{code} ({index[0]})" if index else code


def _skew(headers: Mapping[str, str]) -> str:
    """What the reply's date says about this machine's clock, or the usual remedy."""
    try:
        seconds = time.time() - parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, TypeError, ValueError):
        seconds = 0.0
    if abs(seconds) > _MAX_SKEW:
        return f"; this machine's clock is {abs(seconds):.0f} seconds {'fast' if seconds > 0 else 'slow'}: set it"
    return "; renew the credentials"
