"""The one walk: every page of every source table through its routes, to one last step.

A page is one Scan response of one segment of one table. Tables go by level, parents before children; within a level the
segments run side by side. The last step (observe, insert, compare) gets each page with its routed rows, one page of a
segment after the other, and may raise to stop the walk.
"""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from .plan import Plan
from .routes import Reject, Route, Row
from .values import key_hash, key_text

Winners = dict[tuple[str, bytes], tuple[str, str]]  # (target table, key hash) -> (entry, source key) that is written


@dataclass(frozen=True)
class Page:
    """One Scan response."""

    table: str
    segment: int
    number: int
    start: dict | None
    last: dict | None  # None: the segment ends here
    items: list[dict]


@dataclass(frozen=True)
class Routed:
    """A page with what its routes made of it."""

    page: Page
    scanned: Counter  # entry -> items it selects
    rows: list[Row]
    losers: list[Row]  # another source item has the same target key and comes first
    rejects: list[Reject]
    unrouted: list[dict]  # source keys of items that no entry selects


@dataclass(frozen=True)
class Position:
    """Where a segment goes on: the next page's number and start key; done where it has been walked to its end."""

    number: int = 0
    start: dict | None = None
    done: bool = False


Step = Callable[[Routed], None]


def route_items(page: Page, routes: list[Route], others: list[Route], winners: Winners) -> Routed:
    """The items of a page through the routes of their table. Pure.

    `others` are routes of the same table that are not worked on now: what they select is not unrouted.
    """
    scanned: Counter = Counter()
    rows: list[Row] = []
    losers: list[Row] = []
    rejects: list[Reject] = []
    unrouted: list[dict] = []
    for item in page.items:
        selected = False
        for route in routes:
            if not route.selects(item):
                continue
            selected = True
            scanned[route.entry.name] += 1
            result = route.route(item)
            if isinstance(result, Reject):
                rejects.append(result)
            elif winners and _loses(result, route, winners):
                losers.append(result)
            else:
                rows.append(result)
        if not selected and not any(route.selects(item) for route in others):
            unrouted.append({name: item[name] for name, _ in routes[0].shape.source_key})
    return Routed(page, scanned, rows, losers, rejects, unrouted)


def _loses(row: Row, route: Route, winners: Winners) -> bool:
    winner = winners.get((route.entry.target, key_hash(row.key)))
    return winner is not None and winner != (row.entry, key_text(row.source_key))


def walk(
    plan: Plan,
    step: Step,
    *,
    winners: Winners | None = None,
    resume: dict[tuple[str, int], Position] | None = None,
    segments: dict[str, int] | None = None,
) -> None:
    """Calls `step` with every page of the plan's source tables. Reads the source; the rest is the step's.

    `resume` says where segments go on. The first exception, from reading or from the step, stops every segment after the
    page it is at, and is raised.
    """
    by_source = plan.by_source()
    levels = plan.levels()
    stop = threading.Event()
    with ThreadPoolExecutor(plan.parameters.limits.workers, thread_name_prefix="walk") as pool:
        for level in sorted({levels[table] for table in by_source}):
            units: list[Future] = []
            for table in (table for table in by_source if levels[table] == level):
                total = (segments or {}).get(table) or plan.segments(table)
                for segment in range(total):
                    position = (resume or {}).get((table, segment), Position())
                    if not position.done:
                        unit = _Unit(plan, table, segment, total, winners or {})
                        units.append(pool.submit(unit.run, position, step, stop))
            _await(units, stop)


def _await(units: list[Future], stop: threading.Event) -> None:
    try:
        wait(units, return_when=FIRST_EXCEPTION)
    finally:  # all done, or an exception there, or Ctrl-C here: the others end with the page they are at
        stop.set()
        wait(units)
    for unit in units:
        unit.result()
    stop.clear()


@dataclass(frozen=True)
class _Unit:
    """One segment of one table."""

    plan: Plan
    table: str
    segment: int
    segments: int
    winners: Winners

    def run(self, position: Position, step: Step, stop: threading.Event) -> None:
        routes = self.plan.by_source()[self.table]
        others = [r for r in self.plan.all_routes.values() if r.entry.source == self.table and r not in routes]
        number, start = position.number, position.start
        while not stop.is_set():
            items, last = self.plan.source.wire.scan_page(
                self.table, start=start, segment=self.segment, segments=self.segments
            )
            page = Page(self.table, self.segment, number, start, last, items)
            step(route_items(page, routes, others, self.winners))
            if last is None:
                return
            number, start = number + 1, last
