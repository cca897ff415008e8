"""What a refused request means: one table of codes, and exceptions whose text never holds an item's values."""

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from ..errors import Again, ConditionFailed, DynamoError, Expired, Interrupted

# The one table. A code that is in none of these is permanent, and raised at once as a DynamoError.
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

CONDITION_FAILED = "ConditionalCheckFailedException"
# What BatchExecuteStatement says of one statement, in the words of a single request.
_OF_STATEMENTS = {
    "AccessDenied": "AccessDeniedException",
    "ConditionalCheckFailed": CONDITION_FAILED,
    "DuplicateItem": "DuplicateItemException",
    "ItemCollectionSizeLimitExceeded": "ItemCollectionSizeLimitExceededException",
    "ProvisionedThroughputExceeded": "ProvisionedThroughputExceededException",
    "ResourceNotFound": "ResourceNotFoundException",
    "TransactionConflict": "TransactionConflictException",
    "ValidationError": "ValidationException",
}
_CODE = re.compile(r"[A-Za-z0-9_]{3,80}")
_INDEX = re.compile(r"table/[\w.-]+/index/[\w.-]+|global secondary index", re.IGNORECASE)
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


def where(label: str, operation: str, table: str | None) -> str:
    """The opening of a message: side, operation, table."""
    return f"{label + ': ' if label else ''}{operation}{' on ' + table if table else ''}"


def from_reply(
    label: str, operation: str, table: str | None, status: int, headers: Mapping[str, str], raw: bytes
) -> Exception:
    """Return the exception that stands for a reply other than 200: Again, Expired, Interrupted or a DynamoError."""
    content = _content(raw)
    code = str(content.get("__type", "")).rpartition("#")[2]
    if status >= 500 or code in TRANSIENT:
        return Again(code if _CODE.fullmatch(code) else f"HTTP status {status}", overload=True, by_server=status >= 500)
    if not _CODE.fullmatch(code):
        return Again(f"the reply (HTTP status {status}) is not DynamoDB's")
    text = str(content.get("message") or content.get("Message") or "")
    if code in THROTTLED:
        return Again(_throttle_reason(code, content, text), overload=True, may_have_landed=False)
    if code in EXPIRED:
        return Expired()
    place = where(label, operation, table)
    if code in REJECTED:
        return Interrupted(f"{place}: the credentials or the signature were not accepted ({code}){_skew(headers)}.")
    detail = safe_detail(text)
    kind = ConditionFailed if code == CONDITION_FAILED else DynamoError
    error = kind(
        f"{place} was refused: {code}: {detail}.", code, detail, operation, table, headers.get("x-amzn-requestid")
    )
    if isinstance(error, ConditionFailed):
        error.item = content.get("Item")
    return error


def from_statement(label: str, operation: str, table: str | None, error: Any) -> "Again | DynamoError":
    """Return the exception that stands for the `Error` of one statement: Again, or a DynamoError with a single request's code."""
    content = error if isinstance(error, dict) else {}
    code = str(content.get("Code", ""))
    code = _OF_STATEMENTS.get(code, code)
    text = str(content.get("Message") or "")
    if code in THROTTLED:
        return Again(_throttle_reason(code, content, text), overload=True, may_have_landed=False)
    if code in TRANSIENT:
        return Again(code, overload=True)
    if not _CODE.fullmatch(code):
        code = "unknown error"
    detail = safe_detail(text)
    return DynamoError(
        f"{where(label, operation, table)} was refused: {code}: {detail}.", code, detail, operation, table
    )


def safe_detail(text: str) -> str:
    """Return the part of an engine's sentence that cannot hold a value."""
    found = next((match for pattern in _SAFE_SENTENCES if (match := pattern.search(text))), None)
    return found[0] if found else "its text is withheld, as it may quote values"


def _content(raw: bytes) -> dict:
    try:
        content = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {}
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
