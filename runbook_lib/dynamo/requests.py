"""Requests to one side's tables: signed, retried, paced, held back by guards."""

import logging
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypedDict, TypeVar

import orjson

from ..errors import Again, ConditionFailed, DynamoError, Expired, Interrupted, NotSent
from . import errors as faults
from .rate_limiter import READ_UNIT, WRITE_UNIT, RateLimiter, Slowdown

ATTEMPTS = 10
PATIENCE = 3  # times as many attempts where the table refuses only a part of what it is sent
BASE_DELAY = 0.05  # seconds; the n-th retry waits up to BASE_DELAY * 2**n, at random, so that threads spread out
MAX_DELAY = 5.0
WORKERS = 8
READS = frozenset({"Scan", "Query", "GetItem", "BatchGetItem"})
WRITES = frozenset({"PutItem", "DeleteItem", "BatchExecuteStatement"})
STREAM_READS = frozenset({"DescribeStream", "GetShardIterator", "GetRecords", "ListStreams"})  # no capacity is consumed

R = TypeVar("R", bound="Requests")

log = logging.getLogger(__name__)
_guards: list[Callable[[], None]] = []  # of this process, whatever its connections


@contextmanager
def guarded(check: Callable[[], None]) -> Iterator[None]:
    """A block in which no write leaves this process unless the check passes: it raises Interrupted."""
    _guards.append(check)
    try:
        yield
    finally:
        _guards.remove(check)


class Keys(Protocol):
    """What signs requests: see `session.Login`."""

    who: str  # role or user, as a message names it; "" where that is not known

    def frozen(self) -> Any:
        """Credentials that do not change while one request is signed: access_key, secret_key, token."""

    def renew(self, stale: Any) -> bool:
        """Whether there are other credentials now than the `stale` ones, which have expired."""


class Settings(TypedDict, total=False):
    """The settings of a side's requests, by name."""

    label: str  # how messages name the side
    workers: int  # requests in flight at most
    limiter: RateLimiter | None
    read_only: bool  # refuse every operation that writes
    ca_bundle: str | None
    attempts: int
    base_delay: float  # seconds
    max_delay: float
    guarded: bool
    connect_timeout: float
    read_timeout: float


class Requests:
    """Requests to the tables of one side. Thread-safe; at most `workers` requests are in flight."""

    api = "DynamoDB_20120810"  # whose operations these are, as the header X-Amz-Target says it

    def __init__(
        self,
        endpoint_url: str,
        region: str,
        keys: Keys,
        *,
        label: str = "",
        workers: int = WORKERS,
        limiter: RateLimiter | None = None,
        read_only: bool = False,
        ca_bundle: str | None = None,
        attempts: int = ATTEMPTS,
        base_delay: float = BASE_DELAY,
        max_delay: float = MAX_DELAY,
        guarded: bool = True,
        **timeouts: float,
    ):
        from .transport import Transport

        self.label = label
        self.address = endpoint_url, region
        self.retries: Counter[str] = Counter()  # reason -> attempts that failed with it
        self.shown: list[tuple[str | None, dict]] = []  # table and item that the reply to another request showed
        self._transport = Transport(
            endpoint_url, region, connections=workers, ca_bundle=ca_bundle, api=self.api, **timeouts
        )
        self.keys, self._ca_bundle = keys, ca_bundle
        self._counting = threading.Lock()
        self._slots = threading.BoundedSemaphore(workers)
        self.limiter = limiter or RateLimiter()
        self._read_only, self._guarded = read_only, guarded
        self._attempts, self._base_delay, self._max_delay = attempts, base_delay, max_delay

    def beside(self, kind: type[R], endpoint_url: str, workers: int) -> R:
        """Return requests of another kind to another endpoint, with these credentials, limits and this patience. Asks nobody."""
        settings = Settings(label=self.label, workers=workers, limiter=self.limiter, read_only=self._read_only)
        settings |= {"attempts": self._attempts, "base_delay": self._base_delay, "max_delay": self._max_delay}
        return kind(endpoint_url, self.address[1], self.keys, ca_bundle=self._ca_bundle, **settings)

    def check_guards(self) -> None:
        """Raises NotSent where this process may not write now. Costs next to nothing."""
        for check in _guards if self._guarded else ():
            try:
                check()
            except Interrupted as problem:
                raise NotSent(str(problem)) from None

    def call(
        self,
        operation: str,
        body: dict,
        *,
        guarded: bool = True,
        table: str | None = None,
        unanswered: list[str] | None = None,
        key: dict | None = None,
    ) -> dict:
        """Return DynamoDB's reply to one operation; what it does is the operation's. Retries inside.

        A reply that lacks what the operation always answers, or shows an item with another key than `key` (by default the
        body's), is tried again, too, and so is an unknown refusal. A ResourceNotFoundException is raised only where the table
        is lost: it is not new, and DescribeTable does not know it.
        Raises NotSent where a guard holds a write back before its first attempt. `guarded`: see put_new. `table`: where
        the body does not name it. `unanswered` gets the reasons of attempts that may have been carried out although
        no answer said so.
        """
        may = operation in READS or operation in STREAM_READS or not self._read_only
        assert may, f"{self.label} is only read, never written: {operation}"
        table = table or table_in(body)
        side_table = f"{self.label} {table}"
        limiter = self.limiter
        data = orjson.dumps(with_consumed_capacity(operation, body) if limiter.limited else body)
        trying = None
        renewed = False
        while True:
            limiter.wait_turn(side_table)
            keys = self.keys.frozen()
            try:
                reply, size = self._attempt(keys, operation, body, table, data, guarded and operation in WRITES)
                break
            except NotSent as held_back:
                if trying:  # an earlier attempt left
                    raise Interrupted(str(held_back)) from None
                raise
            except Expired:
                if renewed or not self.keys.renew(keys):
                    place = faults.where(self.label, operation, table)
                    raise Interrupted(f"{place}: the credentials have expired; renew them.") from None
                renewed = True
                continue
            except ConditionFailed as refused:  # but it cost what a write costs
                if refused.item is None or faults.is_of(key or body.get("Key", {}), refused.item):
                    self._accept(side_table, operation, body, {}, len(data), 0)
                    raise
                self.shown.append((table, refused.item))
                problem = Again("the refusal shows another item")
            except DynamoError as refused:
                if not refused.not_found or self._is_lost(table):
                    raise
                problem = Again(f"{refused.code}, although the table is there", missing=True, may_have_landed=False)
            except Again as again:
                problem = again
            if unanswered is not None and problem.may_have_landed:
                unanswered.append(problem.reason)
            trying = trying or Trying(self, operation, table)
            trying.failed(problem)
        self._accept(side_table, operation, body, reply, len(data), size)
        return reply

    def _is_lost(self, table: str | None) -> bool:
        """Whether a table of which DynamoDB says that it is not found is gone: a new one is not known everywhere at once."""
        if not table or faults.is_new(self.address, table):
            return not table
        answer = self._once("DescribeTable", {"TableName": table}, table)
        if isinstance(answer, dict):
            return answer["Table"]["TableStatus"] == "DELETING"
        return isinstance(answer, DynamoError)  # not there; or nobody may ask, and the refusal counts

    def _once(self, operation: str, body: dict, table: str) -> dict | Exception:
        """The reply to a single attempt, or why there is none: Again, Expired or DynamoError."""
        try:
            return self._attempt(self.keys.frozen(), operation, body, table, orjson.dumps(body), False)[0]
        except (Again, Expired, DynamoError) as problem:
            return problem

    def _attempt(
        self, keys: Any, operation: str, body: dict, table: str | None, data: bytes, guarded: bool
    ) -> tuple[dict, int]:
        with self._slots:
            if guarded:
                self.check_guards()
            status, headers, raw = self._transport.post(keys, operation, data)
        if status != 200:
            raise faults.from_reply(self.label, operation, table, status, headers, raw, getattr(self.keys, "who", ""))
        try:
            reply = orjson.loads(raw)
        except orjson.JSONDecodeError as problem:  # its text is safe, but it carries the document
            if "memory" in problem.msg:  # what orjson says where there is none left
                raise MemoryError from None
            raise Again("the reply is not JSON") from None
        if not isinstance(reply, dict):
            raise Again("the reply is not a JSON object")
        if lacks := self._lacking(operation, body, reply):
            raise Again(f"the reply lacks {lacks}")
        return reply, len(raw)

    def _lacking(self, operation: str, body: dict, reply: dict) -> str:
        """What a reply of status 200 lacks of what its operation always answers; "" where it lacks nothing."""
        return faults.lacking(operation, body, reply)

    def _note(
        self, operation: str, table: str | None, attempt: int, again: Again | None = None, share: float = 1.0
    ) -> None:
        """Tells log, counter and rate limiter of an attempt: refused, or a share of it; accepted where there is no `again`."""
        side_table = f"{self.label} {table}"
        if again is None:
            self.limiter.accepted(side_table)
            return
        with self._counting:
            self.retries[again.reason] += 1
        log.debug("%s: attempt %d: %s", faults.where(self.label, operation, table), attempt, again.reason)
        if again.overload:
            self.limiter.refused(side_table, again.reason, share)
        else:
            self.limiter.add_slowdowns([Slowdown(side_table, again.reason, refused=1)], 1)

    def _back_off(self, attempt: int, share: float = 1.0) -> None:
        """Waits before the next attempt; for less where only a share of the last one was refused."""
        ceiling = share * min(self._max_delay, self._base_delay * 2 ** min(attempt - 1, 30))
        self.limiter.pause(random.uniform(0, ceiling))  # full jitter

    def _accept(self, side_table: str, operation: str, body: dict, reply: dict, sent: int, received: int) -> None:
        """Tells the rate limiter, and takes the units from the budget."""
        if not body.keys() & {"Statements", "RequestItems"}:  # of those, each has its own outcome
            self.limiter.accepted(side_table)
        if not self.limiter.limited:
            return
        units = consumed_units(operation, body, reply, sent, received)
        if units:
            (self.limiter.wait_read if operation in READS else self.limiter.wait_write)(units, side_table)


class Trying:
    """The failed attempts of one request, and when they are enough.

    Throttling and 5xx: `attempts` of them, and the limiter's patience without a success. A table that is there and not
    found: the time that a new table needs. Anything else: `attempts` of them.
    """

    def __init__(self, requests: Requests, operation: str, table: str | None):
        self._requests, self._operation, self._table = requests, operation, table
        self._side_table = f"{requests.label} {table}"
        self._accepts = requests.limiter.accepts(self._side_table)
        self._all = self._others = 0
        self._since: dict[bool, float] = {}  # whether it was overload → when it first was

    def failed(self, problem: Again) -> None:
        """Notes an attempt that failed and waits before the next one. Raises Interrupted where it was enough of them."""
        requests, limiter = self._requests, self._requests.limiter
        self._all += 1
        requests._note(self._operation, self._table, self._all, problem)
        if self._is_enough(problem) or limiter.stopping.is_set() or (problem.overload and not limiter.is_patient):
            place = faults.where(requests.label, self._operation, self._table)
            waited = self._waited(problem)
            during = f" in {waited:.0f} seconds (limits.patience)" if problem.overload and limiter.patience else ""
            raise Interrupted(
                f"{place}: gave up after {self._all} attempts{during}; the last one failed: {problem.reason}."
            ) from None
        requests._back_off(self._all)

    def _waited(self, problem: Again) -> float:
        now = self._requests.limiter.clock()
        return now - self._since.setdefault(problem.overload, now)

    def _is_enough(self, problem: Again) -> bool:
        requests, waited = self._requests, self._waited(problem)
        if problem.overload:
            # A table that takes others' requests, only not this one yet, is worth more patience.
            alive = requests.limiter.accepts(self._side_table) > self._accepts
            enough = self._all >= requests._attempts * (PATIENCE if alive else 1)
            return enough and waited >= requests.limiter.patience
        if problem.missing:
            return waited >= faults.NEW_TABLE
        self._others += 1
        return self._others >= requests._attempts


def table_in(body: dict) -> str | None:
    return body.get("TableName") or next(iter(body.get("RequestItems", ())), None)


def with_consumed_capacity(operation: str, body: dict) -> dict:
    """The body, asking DynamoDB to report consumed units, indexes included; the longer reply costs bytes."""
    return body | {"ReturnConsumedCapacity": "TOTAL"} if operation in READS or operation in WRITES else body


def consumed_units(operation: str, body: dict, reply: dict, sent: int, received: int) -> float:
    """Units that a request consumed, 0 for an operation that uses none.

    Where the reply does not tell, by the bytes of request and reply, which are more than DynamoDB counts for the table
    (but leave out what its indexes take).
    """
    told = reply.get("ConsumedCapacity")
    parts = told if isinstance(told, list) else [told]
    consumed = sum(part.get("CapacityUnits", 0) for part in parts if isinstance(part, dict))
    if consumed > 0:
        return consumed
    if operation in READS:
        keys = sum(len(part["Keys"]) for part in body.get("RequestItems", {}).values())
        return max(1, keys, -(-received // READ_UNIT))
    if operation in WRITES:
        statements = body.get("Statements")
        if statements is not None:  # each is rounded up for itself
            return len(statements) + sent // WRITE_UNIT
        return max(1, -(-max(sent, received) // WRITE_UNIT))
    return 0
