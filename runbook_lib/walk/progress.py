"""Counts how far a stage is where its work is done: the working process feeds a `Meter`, for whoever shows it."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from ..dynamo.rate_limiter import RateLimiter
from ..run.folder import iso, now
from ..run.progress_file import FINISHED, READING, WAITING, StageProgress, TableFollowing, TableProgress

WINDOW = 10.0  # seconds over which a rate is taken
SAMPLE = 0.5  # seconds between two looks at what was counted
POINTS = 240  # of a series, at most


class Meter:
    """Counts the items of a stage. Thread-safe; counting takes a lock for one addition."""

    def __init__(
        self,
        limiter: RateLimiter | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime] = now,
    ):
        """`limiter` knows what slows the stage down; `clock` gives seconds, `wall` the time of day."""
        self.limiter, self._clock, self._wall = limiter or RateLimiter(), clock, wall
        self._lock = threading.Lock()
        self._sources, self._asking = list[Callable[[], object]](), threading.Lock()
        self._followed: Callable[[], tuple[TableFollowing, ...]] = tuple
        self._estimates: dict[str, int] = {}
        self._places: Mapping[str, Sequence[str]] = {}
        self._done: Counter = Counter()
        self._uncertain: Counter = Counter()  # table -> what is done where no item of an unfinished page is left
        self._states: dict[str, str] = {}
        self._waiting: Mapping[str, Collection[str]] = {}
        self._before: frozenset[str] = frozenset()
        self._state, self._execution, self._earlier, self._doing = READING, 1, 0, ""
        self._start()

    def _start(self) -> None:
        self._began, self._since = self._clock(), self._wall()
        self._fresh: Counter = Counter()  # since the last sample
        self._window: deque[tuple[float, Counter]] = deque()  # since when, and what was counted from then on
        self._sampled = self._mark = self._began
        self._points: list[dict[str, Any]] = []
        self._every, self._items = 1.0, 0  # seconds of a point; items of the one that is not over
        self._pressure = self._held()

    def start(self, *, anew: bool = True) -> None:
        """A step of the stage begins: its time starts, and, where the series is to start `anew`, that too."""
        with self._lock:
            points = [] if anew else self._points
            self._estimates, self._done, self._states, self._waiting = {}, Counter(), {}, {}
            self._uncertain = Counter()
            self._state, self._execution, self._earlier, self._doing = READING, 1, 0, ""
            self._start()
            self._points = points

    # what the work tells

    def begin(
        self,
        tables: Mapping[str, int],
        state: str = READING,
        *,
        earlier: Mapping[str, int] | None = None,
        uncertain: Mapping[str, int] | None = None,
        finished: Collection[str] = (),
        places: Mapping[str, Sequence[str]] | None = None,
        execution: int = 1,
    ) -> None:
        """From now on the items of these tables are gone through; they are given with estimates of their number.

        `state`: what is done with them. `earlier`: table → items that earlier executions did; `finished`: the tables that
        they finished; `uncertain`: table → items of pages that they did not finish, which come first now. `places`: table → its
        names at the rate limiter.
        """
        earlier, uncertain = earlier or {}, uncertain or {}
        with self._lock:
            self._estimates, self._places = dict(tables), places or {}
            self._done = Counter({table: earlier.get(table, 0) for table in tables})
            self._uncertain = Counter({table: self._done[table] + number for table, number in uncertain.items()})
            self._states = {table: FINISHED if table in finished else WAITING for table in tables}
            self._state, self._waiting, self._before = state, {}, frozenset(finished)
            self._execution, self._earlier, self._doing = execution, self._done.total(), ""
            self._items += self._fresh.total()  # of what the stage did before
            self._fresh.clear()
            self._window.clear()

    def do(self, doing: str) -> None:
        """Says what the stage does where it does not go through items; "" where it does again."""
        self._doing = doing

    def add(self, table: str, items: int) -> None:
        """Counts items that are done."""
        with self._lock:
            self._done[table] += items
            self._fresh[table] += items

    @contextmanager
    def asking(self, source: Callable[[], object]) -> Iterator[None]:
        """A block in which each look asks a source first: it adds what was counted elsewhere since. After it nobody asks."""
        with self._asking:
            self._sources.append(source)
        try:
            yield
        finally:
            with self._asking:
                self._sources.remove(source)

    @contextmanager
    def following(self, tables: Callable[[], tuple[TableFollowing, ...]]) -> Iterator[None]:
        """A block in which streams are followed; `tables` says how far they are."""
        self._followed = tables
        try:
            yield
        finally:
            self._followed = tuple

    def page(self, table: str, items: int, state: str = "") -> "PageCount":
        """What counts the items of one page, request by request."""
        if state:
            self._states[table] = state
        return PageCount(self, table, items)

    def move(self, table: str) -> None:
        """A table's turn has come."""
        self._states[table] = self._state

    def wait(self, waiting: Mapping[str, Collection[str]]) -> None:
        """Which tables wait, and for which others."""
        self._waiting = waiting

    def finish(self, table: str) -> None:
        """A table is finished."""
        self._states[table] = FINISHED

    # what comes of it

    def sample(self) -> None:
        """Takes what was counted since the last sample into rates and series, where that was not just now."""
        with self._asking:
            for source in self._sources:
                source()
        with self._lock:
            moment = self._clock()
            if moment - self._sampled >= SAMPLE:
                self._sample(moment)

    def look(self, stage: str, ended: str = "") -> StageProgress:
        """How far it is now."""
        self.sample()
        slowed = () if ended else tuple(self.limiter.slowed())
        with self._lock:
            moment = self._clock()
            counted = +sum((fresh for _, fresh in self._window), Counter(self._fresh))
            seconds = max(moment - (self._window[0][0] if self._window else self._sampled), SAMPLE)
            tables = tuple(self._table(name, counted[name] / seconds, slowed) for name in self._estimates)
            return StageProgress(
                stage,
                tables,
                0.0 if ended else counted.total() / seconds,
                self._state,
                self._execution,
                self._earlier,
                "" if ended else self._doing,
                slowed,
                iso(self._since),
                moment - self._began,
                ended,
                uncertain=sum(
                    number
                    for table, number in (self._uncertain - self._done).items()
                    if self._states[table] != FINISHED
                ),
                following=() if ended else self._followed(),
            )

    def throughput(self) -> list[dict[str, Any]]:
        """The stage as a series, the first moment first, at most POINTS long: what the report has under `throughput`."""
        with self._lock:
            self._sample(self._clock())
            self._close(self._sampled)
            return [
                {
                    "at": iso(point["at"]),
                    "seconds": round(point["seconds"], 1),
                    "items": int(point["items"]),
                    "throttled": int(point["throttled"]),
                    "held_back": round(point["held_back"], 1),
                }
                for point in self._points
            ]

    def _table(self, name: str, rate: float, slowed: Sequence[str]) -> TableProgress:
        done, estimate, state = self._done[name], self._estimates[name], self._states[name]
        total = done if state == FINISHED else estimate if done <= estimate else None
        places = [f"{place}: " for place in self._places.get(name, ())] if state not in (WAITING, FINISHED) else []
        why = tuple(line for line in slowed if any(line.startswith(place) for place in places))
        after = tuple(sorted(self._waiting.get(name, ()))) if state == WAITING else ()
        return TableProgress(
            name, done, total, rate if state != FINISHED else 0.0, state, after, why, name in self._before
        )

    def _sample(self, moment: float) -> None:
        self._window.append((self._sampled, self._fresh))
        self._items += self._fresh.total()
        self._fresh, self._sampled = Counter(), moment
        while len(self._window) > 1 and self._window[1][0] <= moment - WINDOW:
            self._window.popleft()
        if moment - self._mark >= self._every:
            self._close(moment)

    def _close(self, moment: float) -> None:
        """Ends a point of the series. Where there are too many, neighbours become one."""
        seconds = moment - self._mark
        if seconds <= 0:
            return
        refused, held = self._held()
        throttled, waited = max(0, refused - self._pressure[0]), max(0.0, held - self._pressure[1])
        # A wait is noted when it begins, and waits of several tables overlap: what is over counts on from here.
        self._pressure = refused, held - max(0.0, waited - seconds)
        self._points.append(
            {
                "at": self._since + timedelta(seconds=self._mark - self._began),
                "seconds": seconds,
                "items": self._items,
                "throttled": throttled,
                "held_back": min(waited, seconds),
            }
        )
        self._mark, self._items = moment, 0
        if len(self._points) >= POINTS:
            pairs = [self._points[at : at + 2] for at in range(0, len(self._points), 2)]
            self._points = [
                {"at": pair[0]["at"], **{key: sum(one[key] for one in pair) for key in pair[0] if key != "at"}}
                for pair in pairs
            ]
            self._every *= 2

    def _held(self) -> tuple[int, float]:
        found = self.limiter.slowdowns()
        return sum(one.refused for one in found), sum(one.seconds for one in found)


class PageCount:
    """The items of one page: those that a request has settled count at once, the others when the page is done."""

    def __init__(self, meter: Meter, table: str, items: int):
        """`items`: how many the page has."""
        self._meter, self._table, self._left = meter, table, items
        self._lock = threading.Lock()

    def answered(self, rows: int) -> None:
        """A request about so many rows was answered. An item may have become several rows."""
        with self._lock:
            items = min(rows, self._left)
            self._left -= items
        if items:
            self._meter.add(self._table, items)

    def end(self, state: str = "") -> None:
        """The page is done; `state` is the table's from here on."""
        self.answered(self._left)
        if state:
            self._meter.page(self._table, 0, state)


class SegmentCount:
    """The items of a segment that workers of other processes go through, one after the other where they die.

    A worker begins where the journal says, which is behind one that died in the middle of a page: what counted stays, and
    counts once.
    """

    def __init__(self, meter: Meter, table: str, items: int):
        """`items`: how many it has gone through; the meter knows of them."""
        self._meter, self._table, self._items = meter, table, items
        self._lock = threading.Lock()

    def reached(self, items: int) -> None:
        """It is so far by now, or was when somebody looked."""
        with self._lock:
            more, self._items = max(0, items - self._items), max(items, self._items)
        if more:
            self._meter.add(self._table, more)

    def end(self, items: int) -> None:
        """It is done, and has so many: a page that was read again may have had fewer than when its worker died."""
        with self._lock:
            more, self._items = items - self._items, items
        self._meter.add(self._table, more)
