"""References that name nothing, and values that cannot be read as ids: each of them listed, and what is said of them.

What dangles is known when everything was read. So the listings are written from a second look, at the tables concerned
alone: a migration without such references pays nothing for it.
"""

import threading
from collections import Counter
from collections.abc import Callable, Collection, Container, Iterator, Mapping
from typing import Any, NamedTuple

from ..errors import DynamoError, Interrupted
from ..journal.intents import JournalRow
from ..journal.listings import dangling_rows, reference_line, write_listing
from ..journal.snapshot import Snapshot
from ..mapping.model import Entry
from ..mapping.routes import Route, Row
from ..mapping.walkers import Found
from ..run.folder import Run
from ..run.spill import HashLog, HashSet, Spool
from ..values import key_text
from ..verdict import Alert, dangling_alert, several_alert, unreadable_alert
from ..walk.plan import Plan
from ..walk.preread import reference_attributes
from ..walk.walk import Page, Winners, route_items, walk

DANGLING, UNREADABLE = "dangling", "unreadable"  # listings
Place = tuple[str, str, str | None]  # entry, reference path, parent: None where the item names no entry
IN_MEMORY = 50_000  # hashes that are looked up in a set of Python's; of more a sorted file is a tenth of the size
BATCH = 100  # source items that are read at once


class Hit(NamedTuple):
    """One line of a listing."""

    kind: str  # DANGLING or UNREADABLE
    entry: Entry
    key: dict  # of the source
    path: str
    to: str | None

    def as_json(self) -> dict[str, Any]:
        """The line."""
        return reference_line(self.entry, self.key, self.path, self.to)


def members(log: HashLog) -> Container[bytes]:
    """The hashes of a bag, to look single ones up."""
    found: HashSet = log.frozen()
    return frozenset(found[at] for at in range(len(found))) if len(found) <= IN_MEMORY else found


def find(
    plan: Plan,
    dangling: Mapping[Place, HashLog],
    unreadable: Collection[tuple[str, str]],
    hash_of: Callable[[Found], bytes],
    *,
    sure: Collection[str] = (),
    winners: Winners | None = None,
    arrived: Callable[[list[Row]], list[bool]] = lambda rows: [True] * len(rows),
    on_page: Callable[[], object] = lambda: None,
) -> dict[str, Spool]:
    """The lines of both listings. Reads once more those source tables where there are any, keys and references alone.

    `dangling`: hashes, as `hash_of` makes them, of the references that name nothing. `unreadable`: entry and path. Of a
    kind that is not `sure` an item only counts if a route makes a row of it, and `arrived` says so of the row.
    """
    listed = {DANGLING: Spool(), UNREADABLE: Spool()}
    wanted = {place: members(log) for place, log in dangling.items() if len(log)}
    chosen = plan.choose([entry for entry, *_ in (*wanted, *unreadable)])
    lock = threading.Lock()

    def look(page: Page, routes: list[Route], *_: object) -> tuple[str, list[Hit]]:
        hits = [hit for item in page.items for route in routes if route.writes(item) for hit in hits_of(route, item)]
        return page.table, hits

    def hits_of(route: Route, item: dict) -> Iterator[Hit]:
        entry, (found, paths) = route.entry, route.references_of(item)
        key = {name: item[name] for name, _ in route.shape.source_key}
        for one in found:
            if hash_of(one) in wanted.get((entry.name, one.path, one.parent), ()):
                yield Hit(DANGLING, entry, key, one.path, one.parent)
        for path in paths:
            if (entry.name, path) in unreadable:
                yield Hit(UNREADABLE, entry, key, path, None)

    def step(looked: tuple[str, list[Hit]]) -> None:
        table, hits = looked
        doubtful = {(hit.entry.name, key_text(hit.key)): hit.key for hit in hits if hit.kind not in sure}
        there = _there(chosen, table, list(doubtful.items()), winners or {}, arrived)
        with lock:
            for hit in hits:
                if hit.kind in sure or (hit.entry.name, key_text(hit.key)) in there:
                    listed[hit.kind].append(hit.as_json())
        on_page()

    attributes = {
        table: sorted(set().union(*(reference_attributes(route.entry, route.shape) for route in routes)))
        for table, routes in chosen.by_source().items()
    }
    if attributes:
        walk(chosen, step, attributes=attributes, route=look)
    return listed


def _there(
    plan: Plan,
    table: str,
    wanted: list[tuple[tuple[str, str], dict]],
    winners: Winners,
    arrived: Callable[[list[Row]], list[bool]],
) -> set[tuple[str, str]]:
    """Those of some source items (entry, key as text) of which there is a row that arrived."""
    there = set()
    for at in range(0, len(wanted), BATCH):
        batch = wanted[at : at + BATCH]
        found = plan.source.wire.get_many(table, [key for _, key in batch])
        rows = []
        for ((entry, _), _), item in zip(batch, found, strict=True):
            if item is not None:
                page = Page(table, 0, 0, None, None, [item])
                rows += route_items(page, [plan.routes[entry]], [], winners).rows
        there |= {
            (row.entry, key_text(row.source_key)) for row, is_there in zip(rows, arrived(rows), strict=True) if is_there
        }
    return there


def list_dangling(run: Run, plan: Plan, journal: Snapshot, lost: HashLog) -> Counter:
    """Writes `dangling.jsonl` of a migration. Gives (entry, path) → lines.

    The journal knows that a row refers to what is not there, and the source item at which path. Of an item that is gone,
    has changed or cannot be read, path and parent are null.
    """
    counts: Counter = Counter()

    def lines() -> Iterator[dict[str, Any]]:
        for table, rows in dangling_rows(journal, members(lost)) if len(lost) else ():
            for at in range(0, len(rows), BATCH):
                batch = rows[at : at + BATCH]
                for (row, links), item in zip(batch, _items(plan, table, [row for row, _ in batch]), strict=True):
                    yield from _lines(row, links, item)

    def _lines(row: JournalRow, links: list[bytes], item: dict | None) -> Iterator[dict[str, Any]]:
        route = plan.all_routes.get(row.entry)
        found = route.references_of(item)[0] if route and item is not None else []
        for link in links:
            one = next((one for one in found if one.link == link), None)
            if one is not None:
                found.remove(one)
            counts[row.entry, one and one.path] += 1
            yield reference_line(row.entry, row.source_key, one and one.path, one and one.parent)

    write_listing(run.folder, DANGLING, lines())
    return counts


def _items(plan: Plan, table: str, rows: list[JournalRow]) -> list[dict | None]:
    try:
        return plan.source.wire.get_many(table, [row.source_key for row in rows])
    except (DynamoError, Interrupted):  # what was migrated is migrated: the report does not fail for the path's name
        return [None] * len(rows)


def alerts(
    entry: Entry, dangling: Mapping[str | None, int], unreadable: Mapping[str, int], several: Mapping[str, int]
) -> list[Alert]:
    """The open items of one entry, from path → number; what the mapping accepts is a note."""
    accept, found = entry.model.accept, []
    if several:
        found.append(several_alert(entry.name, sum(several.values()), sorted(several)))
    for numbers, accepted, alert in (
        (dangling, accept.dangling, dangling_alert),
        (unreadable, accept.unreadable, unreadable_alert),
    ):
        left = {path: number for path, number in numbers.items() if number and path not in accepted}
        if left:
            found.append(alert(entry.name, sum(left.values()), sorted(filter(None, left))))
        if seen := {path: number for path, number in numbers.items() if number and path in accepted}:
            told = alert(entry.name, sum(seen.values()), sorted(seen)).message
            found.append(accepted_alert(entry.name, told))
    return found


def accepted_alert(table: str, message: str) -> Alert:
    """The note on what the mapping accepts."""
    return Alert("", table, f"{message}: accepted in the mapping", "Nothing to do.")
