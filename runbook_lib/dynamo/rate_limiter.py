"""How fast requests may go: the units the operator allows, and less where a table refuses them. Talks to nobody."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .lane import Lane, Slots

BURST = 1.0  # seconds of unused units that may be made up for
RECENT = 3.0  # seconds for which a wait is told
READ, WRITE = "read", "write"
ALL = ""  # the lane of the budgets of all tables together


@dataclass(frozen=True)
class Budgets:
    """Units a second that are allowed; what is not in `units` has no limit. Plain data."""

    units: Mapping[tuple[str, str], float] = field(default_factory=dict)  # (lane, READ or WRITE) -> units a second

    def share(self, workers: int, users: Mapping[str, int]) -> "Budgets":
        """What one of several workers may use, where at most `users[lane]` of them are at a lane's table."""
        return Budgets(
            {
                (lane, kind): units / max(1, min(workers, users.get(lane, workers)))
                for (lane, kind), units in self.units.items()
            }
        )


@dataclass
class Slowdown:
    """What held a run back: a lane or a budget, and why."""

    name: str  # of the lane; "" for a budget of all tables together
    reason: str
    refused: int = 0  # requests
    seconds: float = 0.0  # in which at least one request waited for it
    _until: float = float("-inf")

    def wait(self, now: float, seconds: float) -> None:
        """Notes a wait that begins now."""
        self.seconds += max(0.0, now + seconds - max(now, self._until))
        self._until = max(self._until, now + seconds)


class Pace:
    """Limits shared by all threads of a run. Thread-safe.

    Apart from the budgets each lane (a table of one side) is slowed while it refuses requests: see lane.py.
    """

    def __init__(
        self,
        budgets: Budgets | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ):
        self.stopping = threading.Event()  # once set, nobody waits: what is in flight shall end soon
        self._clock = clock
        self._sleep = sleep or self.stopping.wait
        self._lock = threading.Lock()
        self._lanes: defaultdict[str, Lane] = defaultdict(Lane)
        self._slots: dict[tuple[str, str], Slots] = {}
        self._held_back: dict[tuple[str, str], float] = {}  # budget -> when the last wait for it ends
        self._slowdowns: dict[tuple[str, str], Slowdown] = {}
        self.elsewhere: dict[Any, list[str]] = {}  # worker of another process -> what it says of its lanes
        self.limited = False
        self.allow(budgets or Budgets())

    def allow(self, budgets: Budgets) -> None:
        """Sets other budgets, from now on."""
        with self._lock:
            self.budgets = budgets
            for place, units in budgets.units.items():
                self._slots.setdefault(place, Slots(units, BURST)).rate = units
            for place in self._slots.keys() - budgets.units.keys():
                del self._slots[place]
            self.limited = bool(self._slots)

    def wait_read(self, units: float, lane: str = ALL) -> None:
        """Takes read units of a table; waits while its budget, or that of all tables, is overdrawn."""
        self._take(READ, lane, units)

    def wait_write(self, units: float, lane: str = ALL) -> None:
        """Takes write units of a table; waits while its budget, or that of all tables, is overdrawn."""
        self._take(WRITE, lane, units)

    def wait_turn(self, lane: str) -> None:
        """Waits for the lane's next slot; returns at once where nothing was refused lately."""
        known = self._lanes.get(lane)
        if known is None or known.slots.rate is None:
            return
        with self._lock:
            now = self._clock()
            wait = known.slots.take(1, now)
            if wait > 0:
                self._slowdown(lane, known.reason).wait(now, wait)
        if wait > 0:
            self._sleep(wait)

    def accepted(self, lane: str) -> None:
        """Notes that the lane accepted a request."""
        with self._lock:
            self._lanes[lane].count(self._clock())

    def refused(self, lane: str, reason: str, share: float = 1.0) -> None:
        """Notes that the lane refused a request, or a share of what was in it, as too many."""
        with self._lock:
            self._lanes[lane].reason = reason
            self._slowdown(lane, reason).refused += 1
            self._lanes[lane].count(self._clock(), refused=share)

    def accepts(self, lane: str) -> int:
        """Return how many requests the lane has accepted so far, at least half of what was in them."""
        return self._lanes[lane].accepts

    def slowed(self) -> list[str]:
        """One line for each lane that is slowed now, with its reason, and for each budget that holds back. Read-only."""
        with self._lock:
            now = self._clock()
            held = [
                f"{f'{lane}: ' if lane else ''}held to {self._slots[lane, kind].rate:,.0f} {kind} units a second by "
                + limit_of(lane, kind)
                for (lane, kind), at in self._held_back.items()
                if (lane, kind) in self._slots and now - at < RECENT
            ]
            lanes = [
                f"{name}: slowed to {lane.slots.rate:.0f} requests a second because of {lane.reason}"
                for name, lane in self._lanes.items()
                if lane.slots.rate is not None
                and lane.slots.rate <= 1.3 * lane.observed  # it is the rate that holds back
            ]
            return [*held, *lanes, *sorted({line for lines in self.elsewhere.values() for line in lines})]

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
        """Waits, unless the run is stopping."""
        self._sleep(seconds)

    def _slowdown(self, lane: str, reason: str) -> Slowdown:
        return self._slowdowns.setdefault((lane, reason), Slowdown(lane, reason))

    def _take(self, kind: str, lane: str, units: float) -> None:
        longest = 0.0
        with self._lock:
            now = self._clock()
            for name in dict.fromkeys((ALL, lane)):
                slots = self._slots.get((name, kind))
                wait = slots.take(units, now) if slots else 0.0
                if wait > 0:
                    self._held_back[name, kind] = now + wait
                    self._slowdown(name, limit_of(name, kind)).wait(now, wait)
                    longest = max(longest, wait)
        if longest > 0:
            self._sleep(longest)


def limit_of(lane: str, kind: str) -> str:
    """The parameter that a budget comes from."""
    return f"limits.tables (its {kind}_units)" if lane else f"limits.{kind}_units"
