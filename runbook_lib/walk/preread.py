"""What has to be known of the source before the first insert: which ids it holds, and which items share a target key.

Read-only. Only the tables that need it are read, and only where the mapping makes it necessary.
"""

import threading
from collections import Counter, defaultdict
from typing import NamedTuple

from ..errors import Refused
from ..mapping.fields import feeding
from ..mapping.ids import id_hash
from ..mapping.model import Entry
from ..mapping.routes import Route, Row, Shape
from ..run.spill import HashLog, HashSet
from ..values import key_hash, key_text, order
from .plan import Plan
from .walk import Page, Routed, Winners, route_items, walk


def with_known(plan: Plan, known: HashSet) -> Plan:
    """The plan with routes that know which items the source holds."""
    return plan.with_exists(lambda entry, old: id_hash(entry, old) in known, known)


def prepare(plan: Plan, *, refuse: bool = True) -> tuple[Plan, Winners]:
    """The plan with its routes knowing the source's ids where the mapping asks, and the winners of shared target keys.

    Raises Refused where a reference with `dangling: stop` is dangling (unless `refuse` is False). Read-only.
    """
    asks, stopping = _asking(plan, refuse)
    if asks:
        known = source_ids(plan)
        plan = with_known(plan, known)
    else:
        known = HashSet(b"", 16)
    targets, sharing = _sharing(plan)
    if stopping:

        def check(routed: Routed) -> None:
            for row in routed.rows:
                _refuse_dangling(plan, row, known)

        walk(plan.choose(list(stopping)), check)
    if not sharing:
        return plan, {}
    whole = plan.choose(list(sharing))
    logs = {target: HashLog() for target in targets}

    def collect(keyed: _Keyed) -> None:
        by_target = defaultdict(list)
        for target, hashed, _ in keyed.found:
            by_target[target].append(hashed)
        for row in whole_rows(whole, keyed.page.table, keyed.doubtful):
            by_target[whole.routes[row.entry].entry.target].append(row.key_hash)
        for target, hashes in by_target.items():
            logs[target].extend(hashes)

    walk(whole, collect, attributes=key_attributes_of(whole), route=_keyed)
    duplicates = {target: found for target, log in logs.items() if (found := log.duplicates())}
    return plan, _winners(whole, duplicates) if duplicates else {}


def scans(plan: Plan, *, refuse: bool, shared: bool) -> Counter:
    """Source table → how often `prepare` reads it whole. `shared`: whether items share a target key. Pure."""
    (asks, stopping), (_, sharing) = _asking(plan, refuse), _sharing(plan)
    entries = plan.mapping.entries
    counted = Counter(e.source for e in entries.values() if e.model.id or e.selecting) if asks else Counter()
    for names in (stopping, sharing, sharing if shared else ()):
        counted.update({entries[name].source for name in names})
    return counted


def _asking(plan: Plan, refuse: bool) -> tuple[bool, set[str]]:
    """Whether the routes ask which ids the source holds; and the entries that stop at a dangling reference."""
    entries = [route.entry for route in plan.routes.values()]
    stops = {e.name for e in entries if "stop" in [rule.dangling for rule in e.model.references.values()]}
    stopping = stops if refuse else set()
    return bool(stopping) or any(entry.asking() for entry in entries), stopping


def _sharing(plan: Plan) -> tuple[set[str], set[str]]:
    """The target tables in which two source items can have one key, and the entries that write to them."""
    targets = {route.entry.target for route in plan.routes.values() if plan.shares_target_keys(route)}
    # All entries that write to such a table take part, chosen or not, so that the choice does not change the winner.
    return targets, {name for name, route in plan.all_routes.items() if route.entry.target in targets}


def key_attributes(entry: Entry, shape: Shape) -> set[str]:
    """The source attributes that decide whether an entry selects an item, and what its source and target keys are."""
    model = entry.model
    wanted = {name for name, _ in (*shape.source_key, *shape.target_key)} | entry.selecting
    if model.id:
        wanted.add(model.id)
    if model.fields is not None:
        wanted |= feeding(model.fields, {name for name, _ in shape.target_key})[1]
    for path, steps in entry.paths.items():
        if steps[0] in wanted and (named_by := model.references[path].named_by):
            wanted.add(named_by)
    return wanted


def reference_attributes(entry: Entry, shape: Shape) -> set[str]:
    """The source attributes that decide whether an entry selects an item, and what it refers to."""
    rules = entry.model.references.values()
    wanted = {name for name, _ in shape.source_key} | entry.selecting | {entry.model.id or ""}
    wanted |= {steps[0] for steps in entry.paths.values()} | {rule.named_by or "" for rule in rules}
    return wanted - {""}


def key_attributes_of(plan: Plan) -> dict[str, list[str]]:
    """Source table → the attributes that are enough to know the target keys of its items.

    Where an item without its others does not pass its route, it has to be read whole.
    """
    return {
        table: sorted(set().union(*(key_attributes(route.entry, route.shape) for route in routes)))
        for table, routes in plan.by_source().items()
    }


class _Keyed(NamedTuple):
    """A page of items of which only the attributes that make their keys were read."""

    page: Page
    found: list[tuple[str, bytes, dict]]  # target table, hash of the target key, source item
    doubtful: list[dict]  # source keys of items that perhaps have a target key: to be read whole


def _keyed(page: Page, routes: list[Route], *_: object) -> _Keyed:
    found, doubtful = keys_of(page, routes)
    return _Keyed(page, [(route.entry.target, key_hash(key), item) for route, item, key in found], doubtful)


def keys_of(page: Page, routes: list[Route]) -> tuple[list[tuple[Route, dict, dict]], list[dict]]:
    """Route, item and target key of what the routes take, and the source keys of items that are to be read whole for it."""
    found, doubtful = [], []
    names = [name for name, _ in routes[0].shape.source_key]
    for item in page.items:
        for route in routes:
            if not route.writes(item):
                continue
            key = route.key_of(item)
            if key is None:
                doubtful.append({name: item[name] for name in names})
            else:
                found.append((route, item, key))
    return found, doubtful


def whole_rows(plan: Plan, table: str, keys: list[dict]) -> list[Row]:
    """What the routes make of items of a source table."""
    if not keys:
        return []
    items = [item for item in plan.source.wire.get_many(table, keys) if item is not None]
    return route_items(Page(table, 0, 0, None, None, items), plan.by_source()[table], [], {}).rows


def source_ids(plan: Plan) -> HashSet:
    """The ids of all items that any entry of the mapping takes, chosen for this run or not."""
    log = HashLog()
    for name, entry in plan.mapping.entries.items():
        route = plan.all_routes[name]
        attributes = sorted({entry.model.id or "", *entry.selecting} - {""})
        for items in plan.source.wire.scan_pages(entry.source, attributes=attributes) if attributes else ():
            ids = [route.id_of(item) for item in items if route.takes(item)]
            log.extend(id_hash(name, value) for value in ids if value is not None)
    return log.frozen()


def _refuse_dangling(plan: Plan, row: Row, known: HashSet) -> None:
    references = plan.mapping.entries[row.entry].model.references
    for found in row.references:
        dangling = found.old is None or id_hash(found.parent, found.old) not in known
        if dangling and references[found.path].dangling == "stop":
            raise Refused(
                f"{row.entry}: a reference at {found.path} names no item of {found.parent or 'any entry'}, and the "
                "mapping says `dangling: stop`; 01_analyze lists all of them. Correct them, or choose map, keep, null or remove."
            )


def _winners(plan: Plan, duplicates: dict[str, set[bytes]]) -> Winners:
    """Per shared target key the item with the smallest source key (by entry order where that is the same item)."""
    positions = {name: position for position, name in enumerate(plan.routes)}
    best: dict[tuple[str, bytes], tuple] = {}
    lock = threading.Lock()

    def collect(keyed: _Keyed) -> None:
        names = [name for name, _ in plan.by_source()[keyed.page.table][0].shape.source_key]
        shared = [
            {name: item[name] for name in names}
            for target, hashed, item in keyed.found
            if hashed in duplicates.get(target, ())
        ]
        for row in whole_rows(plan, keyed.page.table, keyed.doubtful + shared):
            target, hashed = plan.routes[row.entry].entry.target, row.key_hash
            if hashed not in duplicates.get(target, ()):
                continue
            names = [name for name, _ in plan.routes[row.entry].shape.source_key]
            rank = ([order(row.source_key[name]) for name in names], positions[row.entry])
            with lock:
                if (target, hashed) not in best or rank < best[target, hashed][0]:
                    best[target, hashed] = (rank, row.entry, key_text(row.source_key))

    walk(plan, collect, attributes=key_attributes_of(plan), route=_keyed)
    return {place: (entry, source_key) for place, (_, entry, source_key) in best.items()}
