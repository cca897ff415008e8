"""01_analyze: the walk with `observe` as its last step. Reads both sides and writes to neither."""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ..dynamo import tables
from ..mapping.references import Found
from ..mapping.routes import Reject, Row
from ..run.spill import HashLog, Spool
from ..values import digest, size
from ..verdict import Alert, alerts_of_analysis
from ..walk.plan import Plan
from ..walk.preread import id_hash, prepare
from ..walk.walk import Page, Routed, walk
from .profile import Profile, merge_into, profile_items

DEFAULT_WRITE_UNITS = 40_000  # a table's default quota; on-demand tables start at a tenth and double
SAMPLES = 2  # samples shown before and after, per entry
UNIT_BYTES = 1024


@dataclass
class EntryAnalysis:
    """One entry in figures."""

    records: int = 0
    routed: int = 0
    quarantined: int = 0
    losers: int = 0  # another source item has the same target key
    already_there: int = 0
    different_there: int = 0  # the target holds something else under the key
    collisions: int = 0  # target keys that two rows share although the mapping rules that out
    bytes: int = 0
    write_units: int = 0
    references: Counter = field(default_factory=Counter)  # path -> references
    dangling: Counter = field(default_factory=Counter)  # path -> references whose parent is not in the source
    unreadable: Counter = field(default_factory=Counter)  # path -> values that cannot be read as ids
    sparse: Counter = field(default_factory=Counter)  # index key attribute -> items it was left out of
    reasons: Counter = field(default_factory=Counter)  # (attribute, reason) -> quarantined items
    parents: Counter = field(default_factory=Counter)  # (path, parent) -> references
    profile: Profile = field(default_factory=dict)
    samples: list[tuple[dict, Row]] = field(default_factory=list)  # source item, what becomes of it


@dataclass(frozen=True)
class TargetState:
    """One target table before the migration."""

    exists: bool
    empty: bool
    differences: list[str]
    has_stream: bool = False


@dataclass(frozen=True)
class Analysis:
    """What the migration would do: the result of doing everything except the writing."""

    tables: dict[str, EntryAnalysis]
    levels: dict[str, int]  # entry -> level, parents first
    targets: dict[str, TargetState]  # target table -> its state
    unrouted: dict[str, int]  # source table -> items
    seconds: float  # that reading took
    estimated_seconds: float
    alerts: list[Alert]
    listed: dict[str, Spool]  # quarantine, conflicts, unrouted: entries of the listing files

    @property
    def records(self) -> int:
        """Items that the entries select; one item counts once for each entry."""
        return sum(table.records for table in self.tables.values())

    @property
    def records_by_entry(self) -> dict[str, int]:
        """Entry → items that it selects."""
        return {name: table.records for name, table in self.tables.items()}

    @property
    def relationships(self) -> int:
        """References found."""
        return sum(table.references.total() for table in self.tables.values())

    @property
    def dangling(self) -> int:
        """References whose parent is not in the source."""
        return sum(table.dangling.total() for table in self.tables.values())

    @property
    def write_units(self) -> int:
        """Write units of the whole migration, indexes included."""
        return sum(table.write_units for table in self.tables.values())


class Observer:
    """The last step that only observes. Thread-safe."""

    def __init__(self, plan: Plan, targets: dict[str, TargetState], on_page: Callable[[str, Counter], None] | None):
        """`targets`: target table → its state; where it holds items, their keys are compared."""
        self._plan, self._targets, self._on_page = plan, targets, on_page
        self._lock = threading.Lock()
        self.tables: dict[str, EntryAnalysis] = {name: EntryAnalysis() for name in plan.routes}
        self.unrouted: Counter = Counter()
        self.listed: dict[str, Spool] = defaultdict(Spool)
        self._ids: dict[str, HashLog] = defaultdict(HashLog)
        self._asked: dict[tuple[str, str, str], HashLog] = defaultdict(HashLog)  # entry, path, parent
        self._keys: dict[str, HashLog] = defaultdict(HashLog)
        self._index_keys = {
            name: [[n for n, _ in index.key] for index in (table.indexes.values() if table else ())]
            for name in plan.routes
            for table in [plan.target_tables[plan.routes[name].entry.target]]
        }

    def __call__(self, routed: Routed) -> None:
        """Counts a page, and reads the target where it holds items."""
        there = self._there(routed.rows)
        profiles = self._profiles(routed.page)
        with self._lock:
            for entry, number in routed.scanned.items():
                self.tables[entry].records += number
            for entry, profile in profiles.items():
                merge_into(self.tables[entry].profile, profile)
            for row, held in zip(routed.rows, there, strict=True):
                self._count_row(row, held)
            for row in routed.losers:
                self.tables[row.entry].losers += 1
                self._count_references(row.entry, row.old, row.references)
                self._list(
                    "conflicts",
                    row.entry,
                    row.source_key,
                    "",
                    "another source item has the same target key and comes first",
                )
            for reject in routed.rejects:
                self._count_reject(reject)
            self.unrouted[routed.page.table] += len(routed.unrouted)
            for key in routed.unrouted:
                self._list("unrouted", routed.page.table, key, "", "no entry selects it")
            self._sample(routed)
        if self._on_page:
            self._on_page(routed.page.table, Counter(scanned=len(routed.page.items)))

    def _there(self, rows: list[Row]) -> list[str | None]:
        found: list[str | None] = [None] * len(rows)
        by_table: dict[str, list[int]] = defaultdict(list)
        for index, row in enumerate(rows):
            target = self._plan.routes[row.entry].entry.target
            if self._targets[target].exists and not self._targets[target].empty:
                by_table[target].append(index)
        for target, indexes in by_table.items():
            items = self._plan.target.wire.get_many(target, [rows[index].key for index in indexes])
            for index, item in zip(indexes, items, strict=True):
                found[index] = None if item is None else digest(item)
        return found

    def _profiles(self, page: Page) -> dict[str, Profile]:
        return {
            route.entry.name: profile_items([item for item in page.items if route.selects(item)])
            for route in self._plan.by_source()[page.table]
        }

    def _count_row(self, row: Row, held: str | None) -> None:
        table, target = self.tables[row.entry], self._plan.routes[row.entry].entry.target
        table.routed += 1
        bytes_ = size(row.item)
        table.bytes += bytes_
        indexes = sum(all(name in row.item for name in key) for key in self._index_keys[row.entry])
        table.write_units += -(-bytes_ // UNIT_BYTES) * (1 + indexes)
        table.unreadable.update(row.unreadable)
        table.sparse.update(row.sparse)
        self._keys[target].extend([row.key_hash])
        self._count_references(row.entry, row.old, row.references)
        if held == row.digest:
            table.already_there += 1
        elif held is not None:
            table.different_there += 1
            self._list("conflicts", row.entry, row.source_key, "", "the target holds a different item under this key")

    def _count_reject(self, reject: Reject) -> None:
        table = self.tables[reject.entry]
        table.quarantined += 1
        table.reasons[reject.attribute, reject.reason] += 1
        self._count_references(reject.entry, reject.old, reject.references)
        self._list("quarantine", reject.entry, reject.source_key, reject.attribute, reject.reason)

    def _count_references(self, entry: str, old: dict | None, references: list[Found] | tuple[Found, ...]) -> None:
        table = self.tables[entry]
        if old is not None:
            self._ids[entry].extend([id_hash(entry, old)])
        for found in references:
            table.references[found.path] += 1
            if found.old is None:
                table.dangling[found.path] += 1
            else:
                table.parents[found.path, found.parent] += 1
                self._asked[entry, found.path, found.parent].extend([id_hash(found.parent, found.old)])

    def _list(self, kind: str, table: str, key: dict, attribute: str, reason: str) -> None:
        self.listed[kind].append({"table": table, "key": key, "attribute": attribute, "reason": reason})

    def _sample(self, routed: Routed) -> None:
        if not any(len(self.tables[row.entry].samples) < SAMPLES for row in routed.rows):
            return
        key_names = list(routed.rows[0].source_key)
        items = {tuple(str(item[name]) for name in key_names): item for item in routed.page.items}
        for row in routed.rows:
            samples = self.tables[row.entry].samples
            if len(samples) < SAMPLES:
                samples.append((items[tuple(str(row.source_key[name]) for name in key_names)], row))

    def close(self) -> None:
        """Finds dangling references and colliding keys. Call it once, after the last page."""
        for (entry, path, parent), asked in self._asked.items():
            self.tables[entry].dangling[path] += len(asked.missing_from(self._ids[parent]))
        collisions = {target: len(keys.duplicates()) for target, keys in self._keys.items()}
        for name, table in self.tables.items():
            table.dangling = Counter({path: number for path, number in table.dangling.items() if number})
            table.collisions = collisions.get(self._plan.routes[name].entry.target, 0)


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
