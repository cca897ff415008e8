"""01_analyze: the walk with `observe` as its last step. Reads both sides and writes to neither."""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace

from ...dynamo import tables
from ...mapping.references import REMEMBERED, Found
from ...mapping.routes import Reject, Row
from ...run.spill import HashLog, Spool
from ...values import size
from ...walk.plan import Plan
from ...walk.preread import id_hash, prepare
from ...walk.walk import Routed, digests_there, walk
from .. import references
from .alerts import alerts_of_analysis
from .analysis import Analysis, EntryAnalysis, TargetState
from .profile import Profile, merge_into, profile_items

DEFAULT_WRITE_UNITS = 40_000  # a table's default quota; on-demand tables start at a tenth and double
SAMPLES = 2  # samples shown before and after, per entry
UNIT_BYTES = 1024
NO_ID = bytes(16)  # stands for the id in a reference that names no entry


class Observer:
    """The last step that only observes. Thread-safe."""

    def __init__(self, plan: Plan, targets: dict[str, TargetState], on_page: Callable[[str, Counter], None] | None):
        """`targets`: target table → its state; where it holds items, their keys are compared."""
        self._plan, self._on_page = plan, on_page
        # Entries whose target is not empty: what it holds is compared.
        self._may_hold = {
            name
            for name, route in plan.routes.items()
            if targets[route.entry.target].exists and not targets[route.entry.target].empty
        }
        self._lock = threading.Lock()
        self.tables: dict[str, EntryAnalysis] = {name: EntryAnalysis() for name in plan.routes}
        self.unrouted: Counter = Counter()
        self.listed: dict[str, Spool] = defaultdict(Spool)
        self._ids: dict[str, HashLog] = defaultdict(HashLog)
        self._asked: dict[references.Place, HashLog] = defaultdict(HashLog)
        self._dangling: dict[references.Place, HashLog] = {}
        self._keys: dict[str, HashLog] = defaultdict(HashLog)
        self._remembered: dict[str, dict[str, bytes]] = defaultdict(dict)  # entry -> old id as text -> its hash
        self._index_keys = {
            name: [[n for n, _ in index.key] for index in (table.indexes.values() if table else ())]
            for name in plan.routes
            for table in [plan.target_tables[plan.routes[name].entry.target]]
        }

    def __call__(self, routed: Routed) -> None:
        """Counts a page, and reads the target where it holds items."""
        rows: dict[str, list[Row]] = defaultdict(list)
        for row in routed.rows:
            rows[row.entry].append(row)
        wanted = enumerate(routed.rows) if self._may_hold else ()
        there = digests_there(self._plan, routed.rows, [index for index, row in wanted if row.entry in self._may_hold])
        bytes_ = {entry: [size(row.item) for row in of_entry] for entry, of_entry in rows.items()}
        profiles = self._profiles(routed)
        with self._lock:
            for entry, number in routed.scanned.items():
                self.tables[entry].records += number
            for entry, profile in profiles.items():
                merge_into(self.tables[entry].profile, profile)
            for entry, of_entry in rows.items():
                self._count_rows(entry, of_entry, bytes_[entry])
            for row, held in zip(routed.rows, there, strict=True) if any(there) else ():
                self._count_there(row, held)
            for row in routed.losers:
                self.tables[row.entry].losers += 1
                self._list(
                    "conflicts",
                    row.entry,
                    row.source_key,
                    "",
                    "another source item has the same target key and comes first",
                )
            for reject in routed.rejects:
                self._count_reject(reject)
            things: dict[str, list[Row | Reject]] = defaultdict(list)
            for thing in (*routed.rows, *routed.losers, *routed.rejects):
                things[thing.entry].append(thing)
            for entry, of_entry in things.items():
                self._count_references(entry, of_entry)
            self.unrouted[routed.page.table] += len(routed.unrouted)
            for key in routed.unrouted:
                self._list("unrouted", routed.page.table, key, "", "no entry selects it")
            for row in routed.rows:
                if len(samples := self.tables[row.entry].samples) < SAMPLES:
                    samples.append((row.source, row))
        if self._on_page:
            self._on_page(routed.page.table, Counter(scanned=len(routed.page.items)))

    def _profiles(self, routed: Routed) -> dict[str, Profile]:
        items, profiles = routed.page.items, {}
        for route in self._plan.by_source()[routed.page.table]:
            name = route.entry.name
            selects_all = routed.scanned[name] == len(items)
            selected = items if selects_all else [item for item in items if route.selects(item)]
            profiles[name] = profile_items(selected, self.tables[name].profile)
        return profiles

    def _count_rows(self, entry: str, rows: list[Row], bytes_: list[int]) -> None:
        """`bytes_`: the size of each. A page at a time: one call and one lock for its rows."""
        table = self.tables[entry]
        table.routed += len(rows)
        table.bytes += sum(bytes_)
        table.write_units += sum([-(-one // UNIT_BYTES) for one in bytes_])
        for key in self._index_keys[entry]:
            table.write_units += sum(
                -(-one // UNIT_BYTES)
                for row, one in zip(rows, bytes_, strict=True)
                if all(name in row.item for name in key)
            )
        for row in rows:
            if row.unreadable:
                table.unreadable.update(row.unreadable)
            if row.sparse:
                table.sparse.update(row.sparse)
        self._keys[self._plan.routes[entry].entry.target].extend([row.key_hash for row in rows])

    def _count_there(self, row: Row, held: str | None) -> None:
        """`held`: the digest of what the target holds under the row's key."""
        if held == row.digest:
            self.tables[row.entry].already_there += 1
        elif held is not None:
            self.tables[row.entry].different_there += 1
            self._list("conflicts", row.entry, row.source_key, "", "the target holds a different item under this key")

    def _count_reject(self, reject: Reject) -> None:
        table = self.tables[reject.entry]
        table.quarantined += 1
        table.reasons[reject.attribute, reject.reason] += 1
        self._list("quarantine", reject.entry, reject.source_key, reject.attribute, reject.reason)

    def _count_references(self, entry: str, things: list[Row | Reject]) -> None:
        table = self.tables[entry]
        self._ids[entry].extend(self._id_hashes(entry, [thing.old for thing in things if thing.old is not None]))
        olds: dict[tuple[str, str | None], list[dict]] = defaultdict(list)
        for thing in things:
            for path, parent, old, _, _ in thing.references:
                olds[path, parent].append(old)
        for (path, parent), found in olds.items():
            table.references[path] += len(found)
            if parent is None:
                self._asked[entry, path, None].extend([NO_ID] * len(found))
            else:
                table.parents[path, parent] += len(found)
                self._asked[entry, path, parent].extend(self._id_hashes(parent, found))

    def _id_hashes(self, entry: str, ids: list[dict]) -> list[bytes]:
        """A hash of each id of an entry. The same ids come often, as an item's own and in references to it."""
        remembered, hashes = self._remembered[entry], []
        for old in ids:
            text = old.get("S")
            if (hashed := remembered.get(text)) is None:
                hashed = id_hash(entry, old)
                if text is not None:
                    remembered[text] = hashed
            hashes.append(hashed)
        if len(remembered) > REMEMBERED:
            remembered.clear()
        return hashes

    def _list(self, kind: str, table: str, key: dict, attribute: str, reason: str) -> None:
        self.listed[kind].append({"table": table, "key": key, "attribute": attribute, "reason": reason})

    def close(self) -> None:
        """Finds dangling references and colliding keys. Call it once, after the last page."""
        for place, asked in self._asked.items():
            if len(left := asked.without(self._ids[place[2]])):
                self._dangling[place] = left
                self.tables[place[0]].dangling[place[1]] += len(left)
        collisions = {target: len(keys.duplicates()) for target, keys in self._keys.items()}
        for name, table in self.tables.items():
            table.collisions = collisions.get(self._plan.routes[name].entry.target, 0)

    def list_references(self) -> None:
        """Lists what dangles and what could not be read, after `close`. Reads the source tables concerned once more."""

        def hash_of(found: Found) -> bytes:
            return NO_ID if found.parent is None else id_hash(found.parent, found.old)

        unreadable = {(name, path) for name, table in self.tables.items() for path in table.unreadable}
        sure = {references.DANGLING}  # counted of quarantined items, too
        self.listed |= references.find(self._plan, self._dangling, unreadable, hash_of, sure=sure)


def analyze(plan: Plan, on_page: Callable[[str, Counter], None] | None = None) -> Analysis:
    """What the plan's migration would do. Read-only.

    Sends every page of every source table through the migration's routes. Where a target table holds items, it reads and
    compares those under the same keys.
    """
    started = time.monotonic()
    targets = {route.entry.target: _target_state(plan, route.entry.name) for route in plan.routes.values()}
    plan, winners = prepare(plan, refuse=False)
    observer = Observer(plan, targets, on_page)
    walk(plan, observer, winners=winners)
    observer.close()
    seconds = time.monotonic() - started
    observer.list_references()
    analysis = Analysis(
        observer.tables,
        plan.mapping.levels(),
        targets,
        {table: number for table, number in observer.unrouted.items() if number},
        seconds,
        0.0,
        [],
        dict(observer.listed),
    )
    return replace(analysis, estimated_seconds=_estimate(plan, analysis), alerts=alerts_of_analysis(plan, analysis))


def _target_state(plan: Plan, entry: str) -> TargetState:
    name = plan.routes[entry].entry.target
    table = plan.target_tables[name]
    if table is None:
        return TargetState(False, True, [])
    differences = plan.shape_differences(plan.routes[entry].entry)
    return TargetState(True, tables.is_empty(plan.target, name), differences, table.stream)


def _estimate(plan: Plan, analysis: Analysis) -> float:
    """Seconds: the measured reading, plus the slower of the write budget and the requests' round trips."""
    rows = sum(table.routed for table in analysis.tables.values())
    budget = plan.parameters.limits.write_units or DEFAULT_WRITE_UNITS
    existing = next((name for name, state in analysis.targets.items() if state.exists), None)
    started = time.monotonic()
    if existing:
        tables.is_empty(plan.target, existing)
    trip = time.monotonic() - started
    return analysis.seconds + max(analysis.write_units / budget, rows * trip / plan.parameters.limits.workers)
