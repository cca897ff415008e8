"""The one walk: every page of every source table through its routes, to one last step.

A page is one Scan response of one segment of one table. A table is walked when those it refers to have been; otherwise
segments and tables run side by side. The last step (observe, insert, compare) gets each page with its routed rows, one page of a
segment after the other, and may raise to stop the walk.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from ..dynamo.items import Looked, unheard
from ..errors import Stuck
from ..journal.table_file import Position
from ..mapping.routes import Matched, Reject, Route, Row
from ..process import collect_rarely
from ..values import digest, key_text, serialize_values
from .plan import Plan
from .pool import SegmentPool
from .progress import Meter

LARGE_PAGES = 4  # of tables of several pages, at most, in memory at a time: see pool.py
SMALL_BYTES = 1_000_000  # a table of one page

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


class Skipped(NamedTuple):
    """An item that its entry selects and `expired: skip` leaves out."""

    entry: str
    source_key: dict
    old: dict | None  # the id as a typed value


@dataclass(frozen=True)
class Routed:
    """A page after its routes."""

    page: Page
    scanned: Counter  # entry -> items it selects
    rows: list[Row]
    losers: list[Row]  # another source item has the same target key and comes first
    rejects: list[Reject]
    unrouted: list[dict]  # source keys of items that no entry selects
    skipped: list[Skipped] = field(default_factory=list)  # selected, and left out by `expired: skip`
    matched: list[Matched] = field(default_factory=list)  # an item of the target has their place


Router = Callable[[Page, list[Route], list[Route], Winners], Any]  # see route_items; its result goes to the step
Step = Callable[[Any], None]  # most steps take a Routed


def route_items(
    page: Page, routes: list[Route], others: list[Route], winners: Winners, *, inserting: bool = False
) -> Routed:
    """The items of a page through the routes of their table. Pure.

    `others` are routes of the same table that are not worked on now: what they select is not unrouted. With `inserting`
    rows have their `values`: made here, while the item is in the processor's cache, they cost half.
    """
    scanned: Counter = Counter()
    rows: list[Row] = []
    losers: list[Row] = []
    rejects: list[Reject] = []
    unrouted: list[dict] = []
    skipped: list[tuple[str, dict]] = []
    matched: list[Matched] = []
    compiled = [(route.entry.name, route.entry.target, route.selects, route.route) for route in routes]
    for item in page.items:
        selected = False
        for name, target, selects, route in compiled:
            if not selects(item):
                continue
            selected = True
            scanned[name] += 1
            result = route(item)
            if result.__class__ is not Row:
                if result is None:
                    skipped.append((name, item))
                elif result.__class__ is Matched:
                    matched.append(result)
                else:
                    rejects.append(result)
            elif winners and _loses(result, target, winners):
                losers.append(result)
            else:
                if inserting:
                    result.values = serialize_values(result.item)
                rows.append(result)
        if not selected and not any(route.selects(item) for route in others):
            unrouted.append({name: item[name] for name, _ in routes[0].shape.source_key})
    left_out = _skipped(skipped, routes) if skipped else []
    return Routed(page, scanned, rows, losers, rejects, unrouted, left_out, matched)


def _skipped(items: list[tuple[str, dict]], routes: list[Route]) -> list[Skipped]:
    of_name, names = {route.entry.name: route for route in routes}, [name for name, _ in routes[0].shape.source_key]
    return [Skipped(entry, {n: item[n] for n in names}, of_name[entry].id_of(item)) for entry, item in items]


route_to_insert = partial(route_items, inserting=True)


def digests_there(plan: Plan, rows: list[Row], indexes: Iterable[int], answered: Looked = unheard) -> list[str | None]:
    """Per row the digest of what the target holds under its key, read for the rows of these indexes; else None.

    `answered`: see `Wire.get_many`.
    """
    found: list[str | None] = [None] * len(rows)
    by_table: dict[str, list[int]] = defaultdict(list)
    for index in indexes:
        by_table[plan.routes[rows[index].entry].entry.target].append(index)
    for target, here in by_table.items():
        items = plan.target.wire.get_many(target, [rows[index].key for index in here], answered)
        for index, item in zip(here, items, strict=True):
            found[index] = None if item is None else digest(item)
    return found


def _loses(row: Row, target: str, winners: Winners) -> bool:
    winner = winners.get((target, row.key_hash))
    return winner is not None and winner != (row.entry, key_text(row.source_key))


def walk(
    plan: Plan,
    step: Step,
    *,
    winners: Winners | None = None,
    resume: dict[tuple[str, int], Position] | None = None,
    segments: dict[str, int] | None = None,
    attributes: dict[str, list[str]] | None = None,
    route: Router | None = None,
    most: int | None = None,
    counted: bool = False,
) -> None:
    """Calls `step` with every page of the plan's source tables. Reads the source; `step` does the rest.

    `resume` has the positions from which segments resume, `attributes` the attributes to read of each table's items
    (default: all), `route` the function that routes a page (default: `route_items`); `most` is how many items of each
    segment are read at most. The plan's meter hears which tables are finished where the walk is the one that is `counted`. The
    first exception, from reading or from the step, stops every segment after its current page, and is raised.
    """
    stop, meter = threading.Event(), plan.meter if counted else None
    workers = plan.parameters.limits.workers

    def work(segment: Segment, between_pages: Callable[[], object] = lambda: None) -> None:
        if meter:
            meter.move(segment.table)
        segment.walk(
            segment.position,
            step,
            stop.is_set,
            attributes=(attributes or {}).get(segment.table),
            between_pages=between_pages,
            route=route or route_items,
            most=most,
        )

    found = segments_of(plan, winners or {}, resume or {}, segments or {})
    with (
        ThreadPoolExecutor(workers, thread_name_prefix="walk") as small,
        SegmentPool(min(LARGE_PAGES, workers), plan.limiter.slowed) as large,
    ):

        def start(segment: Segment) -> Future:
            if plan.source_tables[segment.table].size_bytes < SMALL_BYTES:
                return small.submit(work, segment)
            return large.submit(work, segment, large.between_pages)

        in_order(plan, found, start, stop.set, meter)


@dataclass(frozen=True)
class Segment:
    """One segment of one source table, and where its walk begins."""

    plan: Plan
    table: str
    number: int
    total: int
    winners: Winners
    position: Position = field(default_factory=Position)

    def walk(
        self,
        position: Position,
        step: Step,
        stopping: Callable[[], bool],
        *,
        attributes: list[str] | None = None,
        between_pages: Callable[[], object] = lambda: None,
        route: Router = route_items,
        most: int | None = None,
    ) -> Position:
        """Calls `step` with one page after the other until the end, or until `stopping` says so. Gives where it is then.

        `attributes` names what to bring of the items; `between_pages` is called after each page; `route` makes of a page
        what the step gets; `most` is how many items to read at most.
        """
        collect_rarely()
        routes = self.plan.by_source()[self.table]
        others = [r for r in self.plan.all_routes.values() if r.entry.source == self.table and r not in routes]
        scan_page = self.plan.source.wire.scan_page
        while not position.done and not stopping() and most != 0:
            items, last = scan_page(
                self.table,
                start=position.start,
                segment=self.number,
                segments=self.total,
                attributes=attributes,
                **({} if most is None else {"limit": most}),
            )
            most = None if most is None else most - len(items)
            page, number = Page(self.table, self.number, position.number, position.start, last, items), len(items)
            step(route(page, routes, others, self.winners))
            del items, page
            position = Position(position.number + 1, last, last is None, position.items + number)
            between_pages()
        return position


def segments_of(
    plan: Plan, winners: Winners, resume: dict[tuple[str, int], Position], segments: dict[str, int]
) -> list[Segment]:
    """What is left of the plan's source tables."""
    return [
        segment
        for table in plan.by_source()
        for total in (segments.get(table) or plan.segments(table),)
        for number in range(total)
        for segment in (Segment(plan, table, number, total, winners, resume.get((table, number), Position())),)
        if not segment.position.done
    ]


def in_order(
    plan: Plan,
    segments: list[Segment],
    start: Callable[[Segment], Future],
    stop: Callable[[], object],
    meter: Meter | None = None,
) -> None:
    """Starts every segment once the tables that its own refers to are walked; waits for all. `meter` hears of each table.

    Tables that refer to each other in a circle do not wait for one another. The first exception of a segment calls
    `stop`, and is raised when those that run have ended; Stuck is raised when the others have come as far as they can.
    """
    parents, levels = plan.parents(), plan.levels()
    waiting = {table: [s for s in segments if s.table == table] for table in sorted(levels, key=lambda t: levels[t])}
    running: dict[Future, str] = {}
    open_tables = {table for table, found in waiting.items() if found}
    stuck: dict[str, Stuck] = {}
    meter = meter or Meter()
    for table in waiting.keys() - open_tables:
        meter.finish(table)
    try:
        while open_tables:
            blocked = {table: _before(table, parents, levels) & open_tables for table in waiting}
            for table in [table for table, others in blocked.items() if not others]:
                running |= {start(segment): table for segment in waiting.pop(table)}
            meter.wait(blocked)
            if not running:
                raise next(iter(stuck.values()))
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                try:
                    future.result()
                except Stuck as problem:
                    stuck[running[future]] = problem
                running.pop(future)
            before = open_tables
            open_tables = {*running.values(), *stuck} | {table for table, found in waiting.items() if found}
            for table in before - open_tables:
                meter.finish(table)
    finally:  # all done, or an exception there, or Ctrl-C here: the others end with the page they are at
        stop()
        with plan.limiter.ending():  # and wait for no table that accepts nothing
            wait(running)


def _before(table: str, parents: dict[str, set[str]], levels: dict[str, int]) -> set[str]:
    """All tables to walk before this one: those that it refers to, directly or through others."""
    found: set[str] = set()
    left = [table]
    while left:
        for parent in parents.get(left.pop(), ()):
            if levels.get(parent, levels[table]) < levels[table] and parent not in found:
                found.add(parent)
                left.append(parent)
    return found
