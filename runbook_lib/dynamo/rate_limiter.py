"""How fast requests may go: the units the operator allows, and less where a table refuses them. Talks to nobody."""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

BURST = 1.0  # seconds of unused units that may be made up for
RECENT = 3.0  # seconds for which a report shows a wait
SLICE = 0.5  # seconds after which a wait looks whether the run is ending
LOGGED = 60.0  # seconds between two lines of the log about tables that are waited for
LONG = 10.0  # seconds without one success after which a table counts as one that is waited for
READ, WRITE = "read", "write"
ALL = ""  # stands for all tables together in a budget

WINDOW = 0.5  # seconds over which a table's refusals are counted; longer, up to MAX_WINDOW, to have SAMPLE requests
MAX_WINDOW = 2.0
SAMPLE = 20
FLOOR = 1.0  # requests a second that a table keeps
MARGIN = 1.25  # how much more is sent than was accepted, where only a part was refused
STEP = 0.25  # of the rate it was lowered to, that it grows by in each window without refusals, and
PEAK_STEP = 0.02  # of the rate at which it was first refused: whichever is more
RECOVERY = 2.0  # times as long as it accepted nothing, until it gets what it got before
SILENCE = WINDOW / 2  # seconds without one success after which nothing is known of what a table takes
KEEP_WINDOWS = 10  # how long a rate is kept that lowering did not help
TABLE_BURST = 0.1  # seconds of a table's unused rate that may be made up for

log = logging.getLogger(__name__)

READ_UNIT, WRITE_UNIT = 4_096, 1_024  # bytes; reads are strongly consistent


@dataclass
class TokenBucket:
    """A rate in units a second; `take` gives how long to wait until the units are due."""

    rate: float | None
    burst: float  # seconds of unused rate that may be made up for
    due: float = float("-inf")

    def take(self, units: float, now: float) -> float:
        """Seconds to wait."""
        if self.rate is None:
            return 0.0
        self.due = max(self.due, now - self.burst) + units / self.rate
        return self.due - now


@dataclass
class _Window:
    rate: float
    share: float  # of the requests that was refused
    accepted: float  # a second


class TableRate:
    """The rate that one table of one side gets, in requests a second; None: no limit.

    Its rate is halved in a window in which it refused most; where it refused less, lowered towards what it accepts. Then
    it grows by the same amount in each window, so that others who use the table keep their part, until it is no longer
    what holds the run back.

    Where it accepted nothing at all for a while, nothing is known of what it takes: once it accepts something, the rate is
    back where it was in RECOVERY times that while, unless it refuses again.
    """

    def __init__(self) -> None:
        self.bucket = TokenBucket(None, TABLE_BURST)
        self.reason = ""
        self.accepts = 0
        self.observed = 0.0  # requests a second in the last window
        self._peak = 0.0  # requests a second when it was first refused
        self._low = 0.0  # the rate that it was last lowered to
        self._before: _Window | None = None  # what the rate was lowered for
        self._keep = 0  # windows for which the rate is not lowered
        self._silent: float | None = None  # since when it has accepted nothing,
        self._in_silence = False  # and whether the rate was lowered for that
        self._last = 0.0  # when the last request was
        self._forgiven = float("-inf")  # when a short one was overlooked
        self._step = 0.0  # that it grows by in a window after such a silence
        self.freed = 0  # how often a silence ended
        self._since: float | None = None
        self._sent = 0
        self._refused = 0.0

    def count(self, now: float, refused: float = 0.0) -> None:
        """Notes a request, and which share of it was refused."""
        # A window begins with its first request, not when the last one ended, nor with one before a pause.
        pause = 2 * WINDOW if self.bucket.rate is None else MAX_WINDOW
        if self._since is None or now - self._last > pause:
            self._since, self._sent, self._refused = now, 0, 0.0
        self._last = now
        self._sent += 1
        self._refused += refused
        self.accepts += refused <= 0.5
        if refused < 1:
            self._end_silence(now)
        elif self._silent is None:
            self._silent = now
        elapsed = now - self._since
        if elapsed < WINDOW or (self._refused and self._sent < SAMPLE and elapsed < MAX_WINDOW):
            return
        self.observed = self._sent / elapsed
        self._in_silence = self._silent is not None and now - self._silent >= SILENCE
        self.bucket.rate = self._next_rate(self.observed, self._refused / self._sent)
        self._since, self._sent, self._refused = None, 0, 0.0

    def _end_silence(self, now: float) -> None:
        since, self._silent = self._silent, None
        if since is None or now - since < SILENCE:
            return
        rate, few = self.bucket.rate, self._sent < SAMPLE
        if self._in_silence and rate is not None:
            self._step = max(0.0, self._peak - rate) * WINDOW / (RECOVERY * (now - since))
            self.bucket = TokenBucket(self._grown(rate), TABLE_BURST, now)  # whoever waits for the old one need not
            self.freed += 1
        elif rate is not None or not few or now - self._forgiven < LONG:
            return
        else:  # too few requests to tell what it takes
            self._forgiven = now
        self._in_silence = False
        self._since, self._sent, self._refused = now, 1, 0.0

    def _next_rate(self, sent: float, share: float) -> float | None:
        """The rate that follows from the requests sent a second and the share of them that was refused."""
        rate, accepted = self.bucket.rate, sent * (1 - share)
        before, self._before = self._before, None
        if not share:
            # Far above what the run asks for, the limit limits nothing any more.
            return self._grown(rate) if rate is not None and rate < 1.5 * sent else None
        if rate is None or self._step:
            self._peak = rate or sent
        self._step = 0.0
        rate = min(rate or sent, sent)
        if share > 0.5:
            return self._lowered(rate / 2)
        if self._keep:
            self._keep -= 1
            return self.bucket.rate
        if before and share > 0.8 * before.share and accepted < before.accepted * (1 + rate / before.rate) / 2:
            # Fewer were sent, fewer accepted, as many of them refused: it is not because of how many are sent.
            self._keep = KEEP_WINDOWS
            return before.rate * MARGIN
        factor = min(1.0, (1 - share) * MARGIN)
        if factor < 0.95:
            self._before = _Window(rate, share, accepted)
        return self._lowered(rate * factor)

    def _lowered(self, rate: float) -> float:
        self._low = max(FLOOR, rate)
        return self._low

    def _grown(self, rate: float) -> float:
        return rate + max(STEP * self._low, PEAK_STEP * self._peak, self._step)


@dataclass(frozen=True)
class Budgets:
    """Units a second that are allowed; what is not in `units` has no limit. Plain data."""

    units: Mapping[tuple[str, str], float] = field(default_factory=dict)  # (table, READ or WRITE) -> units a second

    def share(self, workers: int, users: Mapping[str, int]) -> "Budgets":
        """What one of several workers may use, where at most `users[table]` of them work on a table."""
        return Budgets(
            {
                (table, kind): units / max(1, min(workers, users.get(table, workers)))
                for (table, kind), units in self.units.items()
            }
        )


@dataclass
class Slowdown:
    """What held a run back: a table's rate or a budget, and why."""

    name: str  # of the table; "" for a budget of all tables together
    reason: str
    refused: int = 0  # requests
    seconds: float = 0.0  # in which at least one request waited for it
    _until: float = float("-inf")

    def wait(self, now: float, seconds: float) -> None:
        """Notes a wait that begins now."""
        self.seconds += max(0.0, now + seconds - max(now, self._until))
        self._until = max(self._until, now + seconds)


class RateLimiter:
    """Limits shared by all threads of a run. Thread-safe.

    A table is named with its side, as in "target Orders". Besides the budgets, each table is slowed while it throttles.
    """

    def __init__(
        self,
        budgets: Budgets | None = None,
        *,
        patience: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ):
        """`patience`: seconds that a request which is throttled, or answered with 5xx, is tried for without a success."""
        self.stopping = threading.Event()  # once set, nobody waits: what is in flight shall end soon
        self._ending = threading.Event()  # set while what is in flight is waited for
        self.patience = patience
        self.on_wait: Callable[[], object]  # called while a table is waited for; may raise to end that
        self.follow_waits(log.warning)
        self.clock = clock
        self._waits: dict[str, tuple[float, str]] = {}  # table → since when nothing was accepted, and why
        self._sleep = sleep or self.stopping.wait
        self._lock = threading.Lock()
        self._rates: defaultdict[str, TableRate] = defaultdict(TableRate)
        self._buckets: dict[tuple[str, str], TokenBucket] = {}
        self._held_back: dict[tuple[str, str], float] = {}  # budget -> when the last wait for it ends
        self._slowdowns: dict[tuple[str, str], Slowdown] = {}
        self.elsewhere: dict[Any, list[str]] = {}  # worker of another process -> what its own limiter says in `slowed`
        self.limited = False
        self.allow(budgets or Budgets())

    def allow(self, budgets: Budgets) -> None:
        """Sets other budgets, from now on."""
        with self._lock:
            self.budgets = budgets
            for place, units in budgets.units.items():
                self._buckets.setdefault(place, TokenBucket(units, BURST)).rate = units
            for place in self._buckets.keys() - budgets.units.keys():
                del self._buckets[place]
            self.limited = bool(self._buckets)

    def wait_read(self, units: float, table: str = ALL) -> None:
        """Takes read units of a table; waits while its budget, or that of all tables, is overdrawn."""
        self._take(READ, table, units)

    def wait_write(self, units: float, table: str = ALL) -> None:
        """Takes write units of a table; waits while its budget, or that of all tables, is overdrawn."""
        self._take(WRITE, table, units)

    def wait_turn(self, table: str) -> None:
        """Waits for the table's next token; returns at once where it refused nothing lately."""
        known = self._rates.get(table)
        if known is None or known.bucket.rate is None:
            return
        with self._lock:
            now = self.clock()
            wait = known.bucket.take(1, now)
            if wait > 0:
                self._slowdown(table, known.reason).wait(now, wait)
            freed = known.freed
        while wait > 0 and known.freed == freed and not self.stopping.is_set():
            self._sleep(min(wait, SLICE))
            wait -= SLICE

    def accepted(self, table: str) -> None:
        """Notes that the table accepted a request."""
        self.goes_on(table)
        with self._lock:
            self._rates[table].count(self.clock())

    def refused(self, table: str, reason: str, share: float = 1.0) -> None:
        """Notes that the table throttled a request, or a share of the items in it."""
        self.goes_on(table) if share < 1 else self.waits(table, reason)
        with self._lock:
            self._rates[table].reason = reason
            self._slowdown(table, reason).refused += 1
            self._rates[table].count(self.clock(), refused=share)

    def waits(self, table: str, reason: str) -> None:
        """Notes that the table accepts nothing at the moment."""
        with self._lock:
            self._waits[table] = (self._waits.get(table, (self.clock(),))[0], reason)

    def goes_on(self, table: str) -> None:
        """Notes that the table accepts something again."""
        self._waits.pop(table, None)  # atomic

    def accepts(self, table: str) -> int:
        """How many requests the table has accepted so far: those of which it took at least half of the items."""
        return self._rates[table].accepts

    def slowed(self) -> list[str]:
        """One line for each table that is slowed or waited for, with the reason, and for each budget that holds back.

        Read-only.
        """
        with self._lock:
            now = self.clock()
            waits = {name: (now - at, why) for name, (at, why) in self._waits.items() if now - at >= LONG}
            waited = [
                f"{name}: nothing accepted for {_duration(seconds)} because of {why}; "
                f"waiting up to {_duration(self.patience)} (limits.patience)"
                for name, (seconds, why) in waits.items()
                if self.patience
            ]
            held = [
                f"{f'{table}: ' if table else ''}held to {self._buckets[table, kind].rate:,.0f} {kind} units a second by "
                + limit_of(table, kind)
                for (table, kind), at in self._held_back.items()
                if (table, kind) in self._buckets and now - at < RECENT
            ]
            tables = [
                f"{name}: slowed to {rate.bucket.rate:.0f} requests a second because of {rate.reason}"
                for name, rate in self._rates.items()
                if rate.bucket.rate is not None
                and not (self.patience and name in waits)
                and rate.bucket.rate <= 1.3 * rate.observed  # the rate is what holds back
            ]
            return [*waited, *held, *tables, *sorted({line for lines in self.elsewhere.values() for line in lines})]

    def slowdowns(self) -> list[Slowdown]:
        """What has held the run back so far, the longest first. Read-only."""
        with self._lock:
            return sorted(self._slowdowns.values(), key=lambda slowdown: (-slowdown.seconds, slowdown.name))

    def take_slowdowns(self) -> list[Slowdown]:
        """As `slowdowns`, and forgets them."""
        with self._lock:
            found, self._slowdowns = list(self._slowdowns.values()), {}
        return found

    def add_slowdowns(self, found: list[Slowdown], workers: int) -> None:
        """Adds what held back one of several workers, whose times overlap."""
        with self._lock:
            for other in found:
                mine = self._slowdown(other.name, other.reason)
                mine.refused += other.refused
                mine.seconds += other.seconds / workers

    def pause(self, seconds: float) -> None:
        """Waits, unless the run is stopping or ending. Raises what `on_wait` does."""
        while seconds > 0 and self.is_patient:
            self._sleep(min(seconds, SLICE))
            seconds -= SLICE
        with self._lock:
            is_long = any(self.clock() - at >= LONG for at, _ in self._waits.values())
        if is_long:
            self.on_wait()

    def follow_waits(self, log: Callable[[str], object], *calls: Callable[[], object]) -> None:
        """From now on, while a table accepts nothing, makes these calls; once a minute `log` gets what is waited for.

        A call may raise to end the waiting.
        """
        logged = float("-inf")

        def on_wait() -> None:
            nonlocal logged
            for call in calls:
                call()
            if self.clock() - logged >= LOGGED and (found := self.slowed()):
                logged = self.clock()
                log(f"waiting: {'; '.join(found)}")

        self.on_wait = on_wait

    @contextmanager
    def ending(self) -> Iterator[None]:
        """A block that waits for what is in flight: meanwhile no request waits for a table that accepts nothing."""
        self._ending.set()
        try:
            yield
        finally:
            self._ending.clear()

    @property
    def is_patient(self) -> bool:
        """Whether a table that accepts nothing is still worth waiting for: not where the run is ending."""
        return not (self.stopping.is_set() or self._ending.is_set())

    def _slowdown(self, table: str, reason: str) -> Slowdown:
        return self._slowdowns.setdefault((table, reason), Slowdown(table, reason))

    def _take(self, kind: str, table: str, units: float) -> None:
        longest = 0.0
        with self._lock:
            now = self.clock()
            for name in dict.fromkeys((ALL, table)):
                bucket = self._buckets.get((name, kind))
                wait = bucket.take(units, now) if bucket else 0.0
                if wait > 0:
                    self._held_back[name, kind] = now + wait
                    self._slowdown(name, limit_of(name, kind)).wait(now, wait)
                    longest = max(longest, wait)
        if longest > 0:
            self._sleep(longest)


def _duration(seconds: float) -> str:
    """`3:20`: minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def limit_of(table: str, kind: str) -> str:
    """The parameter that a budget comes from."""
    return f"limits.tables (its {kind}_units)" if table else f"limits.{kind}_units"
