"""The lease: one operator for each target table, across machines; an item in a DynamoDB table names the lease holder.

The lease holder renews the lease while it runs; a lease that nobody renews expires. No clock of another machine is
trusted: an operator who wants the lease watches its item for the lease's duration, and takes it over if nothing changed.
A lease holder that cannot renew stops by itself after two thirds of that time, before the next one starts.
"""

import math
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from ... import process
from ...dynamo import tables
from ...dynamo.requests import guarded
from ...dynamo.session import Connection
from ...errors import DynamoError, Interrupted, Refused
from ...parameters import LeaseSettings
from ..folder import Run, iso, now
from .lease_file import Cell, machine, running_time
from .lease_table import LeaseTable, Record

RENEW, GIVE_UP = 1 / 3, 2 / 3  # of the lease's time
LONGEST_REQUEST = 30.0  # seconds: the transport's patience, for which a request of the last holder may be under way
ATTEMPTS = 3
LAST_RENEWAL = 2.0  # seconds that the end waits for a renewal under way; one that comes later changes nothing
Clock = Callable[[], float]

_active: set[str] = set()  # what this process holds


class Lease:
    """The lease on one target table, held by this process. Thread-safe."""

    def __init__(self, table: LeaseTable, target: str, record: Record, confirmed: float, clock: Clock):
        """`confirmed` is when the request left that is known to have made the lease ours."""
        self.target, self.record = target, record
        self.on_change: Callable[[], None] = lambda: None  # called when `until` is another moment
        self._table, self._clock = table, clock
        self._reason = ""  # why the last renewal failed
        self._lost = ""  # to whom
        self._confirm(confirmed)

    def _confirm(self, asked: float) -> None:
        self.confirmed, self.until = asked, asked + GIVE_UP * self.record.seconds

    def check(self) -> None:
        """Raises Interrupted where the lease was taken over, or is too old to be relied on: for good."""
        if (moment := self._clock()) <= self.until and not self._lost:
            return
        self._lost = self._lost or (
            f"the lease on {self.target} was not renewed for {moment - self.confirmed:.0f} seconds "
            f"({self._reason or 'this process was not running'}), so another operator may take it; this run writes nothing more."
        )
        raise Interrupted(self._lost)

    def renew(self) -> None:
        """Makes the lease last again, if that can be done now. Writes to the lease table. Raises Interrupted as `check`."""
        self.check()
        asked, before = self._clock(), self.record
        self.record = replace(before, counter=before.counter + 1)  # used up, whether the reply comes or not
        try:
            other = self._table.write(self.target, self.record, before)
        except (Interrupted, Refused) as problem:
            self._reason = str(problem).rstrip(".")
            return
        if other is not None:
            who = f"{other.holder} (run {other.run}) has taken over" if other.holder else "somebody has deleted"
            self._lost = f"{who} the lease on {self.target}; this run writes nothing more."
            self.until = -math.inf
        elif not self._lost:
            self._reason = ""
            self._confirm(asked)
        self.on_change()
        self.check()

    def release(self) -> bool:
        """Whether others need not wait for this lease. Writes to the lease table; the item, and so its fence, stays there."""
        if self._reason:  # it could not be reached the last time: do not wait for it again
            return False
        done = replace(self.record, counter=self.record.counter + 1, released=True)
        try:
            self._table.write(self.target, done, self.record)
        except (Interrupted, Refused):
            return False
        return True

    def keep(self, stop: threading.Event) -> None:
        """Renews until `stop` is set or the lease is lost."""
        third = RENEW * self.record.seconds
        while not stop.wait(max(self.confirmed + third - self._clock(), third / 4)):
            try:
                self.renew()
            except Interrupted:
                return


@contextmanager
def hold(
    target: Connection,
    names: list[str],
    run: Run,
    settings: LeaseSettings,
    *,
    break_lock: str = "",
    clock: Clock = running_time,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[list[Lease]]:
    """Holds the leases on the target tables; no write leaves this process once one of them is lost.

    `break_lock` names a lease holder, `PID@HOST`, whose lease this process takes over. Raises Refused, naming the
    lease holder, if another operator holds one; Interrupted if the lease table cannot be reached. Writes to the lease table.
    """
    table, names = _open(target, names, settings), sorted(set(names))
    watch = _Watch(table, names, run, settings, break_lock, clock)
    while watch.look():
        sleep(watch.poll)
    stop, leases, threads = threading.Event(), [], []
    cell = Cell(run)
    try:
        for name in names:
            leases.append(lease := watch.take(name))
            _active.add(lease.record.nonce)
            threads.append(threading.Thread(target=lease.keep, args=(stop,), name=f"lease {name}", daemon=True))
            threads[-1].start()
        while (left := watch.begin - clock()) > 0:
            sleep(min(left, watch.poll))
        for lease in leases:
            lease.on_change = lambda: cell.write(lambda: min(lease.until for lease in leases))
            lease.on_change()
        with guarded(lambda: _check(leases, clock())):
            yield leases
    finally:
        stop.set()
        cell.close()
        deadline = time.monotonic() + LAST_RENEWAL
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if not all(lease.release() for lease in leases):  # stops at the first: the others would not get through either
            run.logger().warning("a lease could not be released; it expires after %g seconds", settings.seconds)
        _active.difference_update(lease.record.nonce for lease in leases)


def _check(leases: list[Lease], moment: float) -> None:
    for lease in leases:  # before every write that leaves, so it has to be quick
        if moment > lease.until:
            lease.check()


class _Watch:
    """Looks at the leases until all are free to be taken, or one is not."""

    def __init__(
        self, table: LeaseTable, names: list[str], run: Run, settings: LeaseSettings, broken: str, clock: Clock
    ):
        self.poll = min(settings.seconds / 20, 1.0)
        self.begin = clock()  # not before this does whoever held a lease have ended
        self._table, self._run, self._settings, self._broken, self._clock = table, run, settings, broken, clock
        self._patience = clock() + max(settings.seconds, process.lock_patience)
        self._left = list(names)
        self._seen: dict[str, tuple[Record, float]] = {}
        self._free: dict[str, tuple[Record | None, str]] = {}  # what the lease says, why it may be taken all the same

    def look(self) -> bool:
        """Whether there is a lease to wait for. Raises Refused where one is seen to be alive."""
        for name in list(self._left):
            asked = self._clock()
            record = self._table.read(name)
            if (why := self._why_free(name, record, asked)) is not None:
                self._free[name] = (record, why)
                self._left.remove(name)
        return bool(self._left)

    def _why_free(self, name: str, record: Record | None, asked: float) -> str | None:
        """The reason why the lease can be taken over, "" if nobody holds it; None if it is not free."""
        if record is None or record.released:
            return ""
        if self._broken and record.holder == self._broken:
            return "--break-lock names its holder"
        if _is_dead(record):
            return "its process is dead"
        if name not in self._seen:
            self._seen[name] = (record, self._clock())  # after the reply: what is read later than that is watched
            text = "%s (run %s) holds the lease on %s; watching it for up to %g seconds"
            self._run.logger().info(text, record.holder, record.run, name, record.seconds)
            return None
        first, since = self._seen[name]
        if record == first and asked - since >= record.seconds:
            self._wait(since + GIVE_UP * record.seconds)
            return f"it was not renewed for {asked - since:.0f} seconds"
        if record != first or asked > self._patience:
            raise Refused(self._refusal(name, record))
        return None

    def take(self, name: str) -> Lease:
        """The lease, which is free, taken. Writes to the lease table. Refused where another operator was faster."""
        before, why = self._free[name]
        record = Record(
            f"{os.getpid()}@{socket.gethostname()}",
            machine(),
            self._run.id,
            uuid.uuid4().hex,
            before.fence + 1 if before else 1,
            0,
            self._settings.seconds,
            iso(now()),
        )
        asked = self._clock()
        broken = bool(before) and not before.released and before.holder == self._broken
        if (other := self._table.write(name, record, before, counted=not broken)) is not None:
            raise Refused(self._refusal(name, other))
        if broken:  # it may be alive, and writes on until it finds that it cannot renew
            self._wait(self._clock() + GIVE_UP * before.seconds)
        if why:
            text = "took over the lease of %s (run %s) on %s: %s"
            self._run.logger().warning(text, before.holder, before.run, name, why)
        self._run.logger().info("holds the lease on %s, fence %d", name, record.fence)
        return Lease(self._table, name, record, asked, self._clock)

    def _wait(self, ended: float) -> None:
        """Until a holder has ended, and its last request with it."""
        self.begin = max(self.begin, ended + LONGEST_REQUEST)

    def _refusal(self, name: str, record: Record) -> str:
        if not record.holder:
            return f"somebody is changing the leases in {self._table.table} by hand; leave them alone and try again."
        return (
            f"{name} is being written by run {record.run} (process {record.holder}, by its lease since {record.since}); "
            f"wait for it to end, or, if it hangs, take its lease with --break-lock {record.holder}."
        )


def _open(target: Connection, names: list[str], settings: LeaseSettings) -> LeaseTable:
    """The lease table. Refused where it is missing, has another key, or is a target table itself."""
    name = settings.table
    if name in names:
        raise Refused(f"lease.table {name} is a target table; give the leases a table of their own.")
    try:
        table = tables.describe(target, name)
    except DynamoError as problem:
        raise Refused(f"lease.table: {problem}") from None
    make = "create it with one partition key of type S and no sort key"
    if table is None:
        raise Refused(f"lease.table {name} does not exist in {target.region} ({target.endpoint_url}); {make}.")
    if [letter for _, letter in table.key] != ["S"]:
        raise Refused(f"lease.table {name} has a different key; {make}, under another name.")
    patience = max(settings.seconds / 6, 0.5)  # a request that hangs leaves time for another one
    wire = target.open_wire(
        workers=len(names) + 1,
        attempts=ATTEMPTS,
        max_delay=patience,
        connect_timeout=patience,
        read_timeout=patience,
        guarded=False,
    )
    return LeaseTable(wire, name, table.key[0][0], target.region, target.account)


def _is_dead(record: Record) -> bool:
    """Whether the holder is surely gone: a process of this machine that has ended, or this one, which let go of it."""
    pid = record.holder.partition("@")[0]
    if record.machine != machine() or not pid.isdecimal():
        return False
    return record.nonce not in _active if int(pid) == os.getpid() else process.is_dead(int(pid))
