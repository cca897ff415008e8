"""Requests to one side's tables: signed, retried, paced, held back by guards."""

import logging
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypedDict

import orjson

from ..errors import Again, ConditionFailed, DynamoError, Expired, Interrupted, NotSent
from . import errors as faults
from .rate_limiter import READS, WRITES, RateLimiter, consumed_units, with_consumed_capacity

ATTEMPTS = 10
PATIENCE = 3  # times as many attempts where the table refuses only a part of what it is sent
BASE_DELAY = 0.05  # seconds; the n-th retry waits up to BASE_DELAY * 2**n, at random, so that threads spread out
MAX_DELAY = 5.0
WORKERS = 8

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
        self.retries: Counter[str] = Counter()  # reason -> attempts that failed with it
        self._transport = Transport(endpoint_url, region, connections=workers, ca_bundle=ca_bundle, **timeouts)
        self._keys = keys
        self._counting = threading.Lock()
        self._slots = threading.BoundedSemaphore(workers)
        self._limiter = limiter or RateLimiter()
        self._read_only, self._guarded = read_only, guarded
        self._attempts, self._base_delay, self._max_delay = attempts, base_delay, max_delay

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
    ) -> dict:
        """Return DynamoDB's reply to one operation; what it does is the operation's. Retries inside.

        Raises NotSent where a guard holds a write back before its first attempt. `guarded`: see put_new. `table`: where
        the body does not name it. `unanswered` gets the reasons of attempts that may have been carried out although
        no answer said so.
        """
        assert operation in READS or not self._read_only, f"{self.label} is only read, never written: {operation}"
        table = table or table_of(body)
        side_table = f"{self.label} {table}"
        limiter = self._limiter
        data = orjson.dumps(with_consumed_capacity(operation, body) if limiter.limited else body)
        renewed = False
        attempt = 0
        while True:
            limiter.wait_turn(side_table)
            keys = self._keys.frozen()
            try:
                reply, size = self._attempt(keys, operation, table, data, guarded and operation in WRITES)
                break
            except NotSent as held_back:
                if attempt:  # an earlier attempt left
                    raise Interrupted(str(held_back)) from None
                raise
            except Expired:
                if renewed or not self._keys.renew(keys):
                    place = faults.where(self.label, operation, table)
                    raise Interrupted(f"{place}: the credentials have expired; renew them.") from None
                renewed = True
            except ConditionFailed:  # refused, but it cost what a write costs
                self._accept(side_table, operation, body, {}, len(data), 0)
                raise
            except Again as again:
                attempt += 1
                if unanswered is not None and again.may_have_landed:
                    unanswered.append(again.reason)
                if attempt == 1:
                    accepts = limiter.accepts(side_table)
                self._note(operation, table, attempt, again)
                # A table that takes others' requests, only not this one yet, is worth more patience.
                alive = again.overload and limiter.accepts(side_table) > accepts
                if attempt >= self._attempts * (PATIENCE if alive else 1) or limiter.stopping.is_set():
                    place = faults.where(self.label, operation, table)
                    raise Interrupted(
                        f"{place}: gave up after {attempt} attempts; the last one failed: {again.reason}; fix that."
                    ) from None
                self._back_off(attempt)
        self._accept(side_table, operation, body, reply, len(data), size)
        return reply

    def _once(self, operation: str, body: dict, table: str) -> dict | Exception:
        """The reply to a single attempt, or why there is none: Again, Expired or DynamoError."""
        try:
            return self._attempt(self._keys.frozen(), operation, table, orjson.dumps(body), False)[0]
        except (Again, Expired, DynamoError) as problem:
            return problem

    def _attempt(self, keys: Any, operation: str, table: str | None, data: bytes, guarded: bool) -> tuple[dict, int]:
        with self._slots:
            if guarded:
                self.check_guards()
            status, headers, raw = self._transport.post(keys, operation, data)
        if status != 200:
            raise faults.from_reply(self.label, operation, table, status, headers, raw)
        try:
            reply = orjson.loads(raw)
        except orjson.JSONDecodeError as problem:  # its text is safe, but it carries the document
            if "memory" in problem.msg:  # what orjson says where there is none left
                raise MemoryError from None
            raise Again("the reply is not JSON") from None
        if not isinstance(reply, dict):
            raise Again("the reply is not a JSON object")
        return reply, len(raw)

    def _note(
        self, operation: str, table: str | None, attempt: int, again: Again | None = None, share: float = 1.0
    ) -> None:
        """Tells log, counter and rate limiter of an attempt: refused, or a share of it; accepted where there is no `again`."""
        side_table = f"{self.label} {table}"
        if again is None:
            self._limiter.accepted(side_table)
            return
        with self._counting:
            self.retries[again.reason] += 1
        log.debug("%s: attempt %d: %s", faults.where(self.label, operation, table), attempt, again.reason)
        if again.overload:
            self._limiter.refused(side_table, again.reason, share)

    def _back_off(self, attempt: int, share: float = 1.0) -> None:
        """Waits before the next attempt; for less where only a share of the last one was refused."""
        ceiling = share * min(self._max_delay, self._base_delay * 2 ** (attempt - 1))
        self._limiter.pause(random.uniform(0, ceiling))  # full jitter

    def _accept(self, side_table: str, operation: str, body: dict, reply: dict, sent: int, received: int) -> None:
        """Tells the rate limiter, and takes the units from the budget."""
        if "Statements" not in body:  # of those, each has its own outcome
            self._limiter.accepted(side_table)
        if not self._limiter.limited:
            return
        units = consumed_units(operation, body, reply, sent, received)
        if units:
            (self._limiter.wait_read if operation in READS else self._limiter.wait_write)(units, side_table)


def table_of(body: dict) -> str | None:
    return body.get("TableName") or next(iter(body.get("RequestItems", ())), None)
