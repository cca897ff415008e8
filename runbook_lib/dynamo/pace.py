"""How fast requests may go: the units the operator allows, and less where a table refuses them. Talks to nobody."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

WINDOW = 0.5  # seconds over which a table's refusals are counted; longer, up to MAX_WINDOW, to have SAMPLE requests
MAX_WINDOW = 2.0
SAMPLE = 20
FLOOR = 1.0  # requests a second that a table keeps
PROBE = 1.25  # growth for each window, so that capacity that has come back is found
KEEP_WINDOWS = 10  # how long a rate is kept that lowering did not help
BUDGET_BURST = 1.0  # seconds of unused units that may be made up for
LANE_BURST = 0.1
RECENT = 3.0  # seconds for which a wait is told


class Pace:
    """Limits shared by all threads of a run. Thread-safe.

    `read_units` and `write_units` are capacity units a second, None for no limit. Apart from them each lane (a table
    of one side) is slowed while it refuses requests: to half in a window where it refused most, else towards what it
    accepts; then a quarter up in each window, until it is no longer what holds the run back.
    """

    def __init__(
        self,
        read_units: float | None = None,
        write_units: float | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ):
        self.stopping = threading.Event()  # once set, nobody waits: what is in flight shall end soon
        self.limited = read_units is not None or write_units is not None
        self._clock = clock
        self._sleep = sleep or self.stopping.wait
        self._lock = threading.Lock()
        self._read = _Slots(read_units, BUDGET_BURST)
        self._write = _Slots(write_units, BUDGET_BURST)
        self._lanes: defaultdict[str, _Lane] = defaultdict(_Lane)
        self._held_back: dict[str, float] = {}  # budget -> when something last waited for it
        self.elsewhere: dict[Any, list[str]] = {}  # worker of another process -> what it says of its lanes

    def allow(self, read_units: float | None, write_units: float | None) -> None:
        """Sets other budgets, from now on."""
        with self._lock:
            self._read.rate, self._write.rate = read_units, write_units
            self.limited = read_units is not None or write_units is not None

    def budget(self) -> tuple[float | None, float | None]:
        """Read and write units a second that are allowed now. Read-only."""
        return self._read.rate, self._write.rate

    def wait_read(self, units: float) -> None:
        """Takes read units; waits while the budget is overdrawn."""
        self._take(self._read, units, "read")

    def wait_write(self, units: float) -> None:
        """Takes write units; waits while the budget is overdrawn."""
        self._take(self._write, units, "write")

    def wait_turn(self, lane: str) -> None:
        """Waits for the lane's next slot; returns at once where nothing was refused lately."""
        known = self._lanes.get(lane)
        if known is not None and known.slots.rate is not None:
            self._take(known.slots, 1)

    def accepted(self, lane: str) -> None:
        """Notes that the lane accepted a request."""
        with self._lock:
            self._lanes[lane].count(self._clock())

    def refused(self, lane: str, reason: str, share: float = 1.0) -> None:
        """Notes that the lane refused a request, or a share of what was in it, as too many."""
        with self._lock:
            self._lanes[lane].reason = reason
            self._lanes[lane].count(self._clock(), refused=share)

    def accepts(self, lane: str) -> int:
        """Return how many requests the lane has accepted so far, at least half of what was in them."""
        return self._lanes[lane].accepts

    def slowed(self) -> list[str]:
        """One line for each lane that is slowed now, with its reason, and for each budget that holds back. Read-only."""
        with self._lock:
            now, budgets = self._clock(), {"read": self._read.rate, "write": self._write.rate}
            held = [
                f"held to {budgets[kind]:,.0f} {kind} units a second by limits.{kind}_units"
                for kind, at in self._held_back.items()
                if budgets[kind] and now - at < RECENT
            ]
            lanes = [
                f"{name}: slowed to {lane.slots.rate:.0f} requests a second because of {lane.reason}"
                for name, lane in self._lanes.items()
                if lane.slots.rate is not None
                and lane.slots.rate <= 1.3 * lane.observed  # it is the rate that holds back
            ]
            return [*held, *lanes, *sorted({line for lines in self.elsewhere.values() for line in lines})]

    def pause(self, seconds: float) -> None:
        """Waits, unless the run is stopping."""
        self._sleep(seconds)

    def _take(self, slots: "_Slots", units: float, budget: str = "") -> None:
        with self._lock:
            wait = slots.take(units, self._clock())
            if budget and wait > 0:
                self._held_back[budget] = self._clock()
        if wait > 0:
            self._sleep(wait)


@dataclass
class _Slots:
    """Places in a queue: each taker is told how long to wait until its units are due."""

    rate: float | None
    burst: float  # seconds of unused rate that may be made up for
    due: float = float("-inf")

    def take(self, units: float, now: float) -> float:
        if self.rate is None:
            return 0.0
        self.due = max(self.due, now - self.burst) + units / self.rate
        return self.due - now


@dataclass
class _Window:
    rate: float
    share: float  # of the requests that was refused
    accepted: float  # a second


class _Lane:
    """A table of one side: what it accepted and refused in this window, and the rate that follows from it."""

    def __init__(self) -> None:
        self.slots = _Slots(None, LANE_BURST)
        self.reason = ""
        self.accepts = 0
        self.observed = 0.0  # requests a second in the last window
        self._before: _Window | None = None  # what the rate was lowered for
        self._keep = 0  # windows for which the rate is not lowered
        self._since: float | None = None
        self._sent = 0
        self._refused = 0.0

    def count(self, now: float, refused: float = 0.0) -> None:
        if self._since is None:  # a window begins with its first request, not when the last one ended
            self._since = now
        self._sent += 1
        self._refused += refused
        self.accepts += refused <= 0.5
        elapsed = now - self._since
        if elapsed < WINDOW or (self._refused and self._sent < SAMPLE and elapsed < MAX_WINDOW):
            return
        self.observed = self._sent / elapsed
        self.slots.rate = self._next_rate(self.observed, self._refused / self._sent)
        self._since, self._sent, self._refused = None, 0, 0.0

    def _next_rate(self, sent: float, share: float) -> float | None:
        """The rate that follows from the requests sent a second and the share of them that was refused."""
        rate, accepted = self.slots.rate, sent * (1 - share)
        before, self._before = self._before, None
        if not share:
            # Far above what the run asks for, the limit limits nothing any more.
            return rate * PROBE if rate is not None and rate < 4 * sent else None
        rate = min(rate or sent, sent)
        if share > 0.5:
            return max(FLOOR, rate / 2)
        if self._keep:
            self._keep -= 1
            return self.slots.rate
        if before and share > 0.8 * before.share and accepted < before.accepted * (1 + rate / before.rate) / 2:
            # Fewer were sent, fewer accepted, as many of them refused: it is not because of how many are sent.
            self._keep = KEEP_WINDOWS
            return before.rate * PROBE
        factor = min(1.0, (1 - share) * PROBE)
        if factor < 0.95:
            self._before = _Window(rate, share, accepted)
        return max(FLOOR, rate * factor)
