"""01_analyze: the walk with `observe` as its last step. Reads both sides and writes to neither."""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from math import ceil

from ...discover.columns import as_columns
from ...discover.evidence import Evidence
from ...discover.profile import Profile, merge_into, profile_columns
from ...discover.references import find_references, same_ids, undeclared
from ...dynamo import tables
from ...dynamo.rate_limiter import READ_UNIT
from ...mapping.references import REMEMBERED
from ...mapping.routes import Matched, Reject, Row
from ...mapping.walkers import Found
from ...run.spill import HashLog, Spool
from ...values import MAX_ATTRIBUTES, add_counts, has_expired, size, text_of
from ...walk.ledger import Ledger
from ...walk.matching.search import Search
from ...walk.plan import Plan
from ...walk.preread import id_hash, prepare
from ...walk.structure import Structures, read_structures
from ...walk.walk import Routed, digests_there, walk
from .. import references
from .analysis import Analysis, EntryAnalysis, SourceState, TargetState
from .costs import (
    MIGRATE,
    cost_checks,
    costs_of,
    demands_of,
    partitions_of,
    price_list,
    prices_of,
    reading_of,
    slowest,
    writing_of,
)
from .doubts import Doubts
from .findings import mapping_checks, undeclared_checks, walk_checks
from .names import Names
from .repeatable import check_repeatable
from .skew import Spread, SpreadPage, skew_checks
from .structure import structure_checks

SAMPLES = 2  # samples shown before and after, per entry
PAGE_BYTES = 1 << 20  # of one Scan response, at most
MEASURED = 32  # items of a page, at least, whose size in the source is measured
FURTHER_REASONS = "further reasons"
NO_ID = bytes(16)  # stands for the id in a reference that names no entry


class Observer:
    """The last step that only observes. Thread-safe."""

    def __init__(
        self,
        plan: Plan,
        targets: dict[str, TargetState],
        structures: Structures,
        on_page: Callable[[str, Counter], None] | None,
    ):
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
        naming = {n: {rule.named_by for rule in r.entry.model.references.values()} for n, r in plan.routes.items()}
        self.evidence = Evidence(plan.routes, naming, {name: route.entry for name, route in plan.routes.items()})
        self._remembered: dict[str, dict[str, bytes]] = defaultdict(dict)  # entry -> old id as text -> its hash
        self.names, self.doubts = Names(plan), Doubts(plan)
        self._ledgers = {name: Ledger(route.entry) for name, route in plan.routes.items()}
        self.sources = {
            table: SourceState(ttl=source.get("ttl"), ttl_known="ttl" in source)
            for table, source in structures.source.items()
        }
        self.spread = Spread(plan)
        self._now = plan.expiry.second if plan.expiry else time.time()

    def __call__(self, routed: Routed) -> None:
        """Counts a page, and reads the target where it holds items.

        Raises MappingError where a transform gives different results for one item.
        """
        check_repeatable(routed, self._plan.by_source()[routed.page.table])
        rows: dict[str, list[Row]] = defaultdict(list)
        for row in routed.rows:
            rows[row.entry].append(row)
        wanted = enumerate(routed.rows) if self._may_hold else ()
        there = digests_there(self._plan, routed.rows, [index for index, row in wanted if row.entry in self._may_hold])
        spreads = [self.spread.of_page(entry, of_entry) for entry, of_entry in rows.items()]
        profiles = self._profiles(routed)
        expired = self._expired(routed)
        read_units = _scan_units(routed.page.items)
        pages = {entry: self._ledgers[entry].page(of_entry) for entry, of_entry in rows.items()}
        with self._lock:
            self.sources[routed.page.table].items += len(routed.page.items)
            self.sources[routed.page.table].read_units += read_units
            for entry, number in expired.items():
                self.tables[entry].expired += number
            for one in routed.skipped:
                self.tables[one.entry].skipped += 1
            for one in routed.matched:
                self.tables[one.entry].matched += 1
            for entry, number in routed.scanned.items():
                self.tables[entry].records += number
            for entry, profile in profiles.items():
                merge_into(self.tables[entry].profile, profile)
            self.names.look(routed, profiles, rows)
            self.doubts.look(routed, profiles, rows)
            for spread in spreads:
                self.spread.add(spread)
                self._count_rows(rows[spread.entry], spread)
                add_counts(self.tables[spread.entry].ledger, pages[spread.entry])
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
            things: dict[str, list[Row | Reject | Matched]] = defaultdict(list)
            for thing in (*routed.rows, *routed.losers, *routed.rejects, *routed.matched):
                things[thing.entry].append(thing)
            for entry, of_entry in things.items():
                self._count_references(entry, of_entry)
            self.unrouted[routed.page.table] += len(routed.unrouted)
            for key in routed.unrouted:
                self._list("unrouted", routed.page.table, key, "", "no entry selects it")
            for row in routed.rows:
                if len(samples := self.tables[row.entry].samples) < SAMPLES:
                    samples.append((row.source, row))
        self._plan.meter.add(routed.page.table, len(routed.page.items))
        if self._on_page:
            self._on_page(routed.page.table, Counter(scanned=len(routed.page.items)))

    def _profiles(self, routed: Routed) -> dict[str, Profile]:
        items, profiles = routed.page.items, {}
        for route in self._plan.by_source()[routed.page.table]:
            name = route.entry.name
            selects_all = routed.scanned[name] == len(items)
            selected = items if selects_all else [item for item in items if route.selects(item)]
            attributes = as_columns(selected)
            profiles[name] = profile_columns(attributes, self.tables[name].profile)
            ids = [old.get("S") or text_of(old) for item in selected if (old := route.id_of(item)) is not None]
            self.evidence.add(name, selected, attributes, ids)
        return profiles

    def _expired(self, routed: Routed) -> Counter:
        """Entry → items of the page whose time to live is over. By what the items hold now, as DynamoDB would."""
        attribute, found = self.sources[routed.page.table].ttl, Counter()
        if attribute:
            gone = [item for item in routed.page.items if has_expired(item, attribute, self._now)]
            for route in self._plan.by_source()[routed.page.table] if gone else ():
                found[route.entry.name] = sum(map(route.selects, gone))
        return Counter(
            {**found, **Counter(one.entry for one in routed.skipped)}
        )  # by the attribute that the run goes by

    def _count_rows(self, rows: list[Row], measured: SpreadPage) -> None:
        """Rows of one entry. A page at a time: one call and one lock for its rows."""
        entry, sizes, units = measured.entry, measured.sizes, measured.units
        table = self.tables[entry]
        table.routed += len(rows)
        table.bytes += sum(sizes)
        table.sizes.update([(one - 1).bit_length() for one in sizes])
        table.read_units += sum([-(-one // READ_UNIT) for one in sizes])
        table.table_units += sum(units)
        table.write_units += sum(units) + measured.index_units.total()
        table.index_units += measured.index_units
        for row in rows:
            if row.unreadable:
                table.unreadable.update(row.unreadable)
            if row.several:
                table.several.update(row.several)
            if row.sparse:
                table.sparse.update(row.sparse)
        fell_back, valued = self._ledgers[entry].fallen(rows)
        table.fell_back += fell_back
        table.valued += valued
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
        why = (reject.attribute, reject.reason)
        # The words of a transform may be as many as the items.
        table.reasons[
            why if why in table.reasons or len(table.reasons) < MAX_ATTRIBUTES else ("", FURTHER_REASONS)
        ] += 1
        self._list("quarantine", reject.entry, reject.source_key, reject.attribute, reject.reason)

    def _count_references(self, entry: str, things: list[Row | Reject | Matched]) -> None:
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


def analyze(plan: Plan, on_page: Callable[[str, Counter], None] | None = None, found: Search | None = None) -> Analysis:
    """What the plan's migration would do. Read-only.

    Sends every page of every source table through the migration's routes. Where a target table holds items, it reads and
    compares those under the same keys. `found`: what the search for matches, by which the plan goes, found.
    """
    started, prices = time.monotonic(), price_list()
    plan.meter.do("looking at the tables")
    targets = {route.entry.target: _target_state(plan, route.entry.name) for route in plan.routes.values()}
    plan, winners = prepare(plan, refuse=False)
    structures = read_structures(plan)
    observer = Observer(plan, targets, structures, on_page)
    plan.count()
    walk(plan, observer, winners=winners, counted=True)
    plan.meter.do("looking for what the mapping does not say")
    observer.close()
    entries, columns = plan.mapping.entries, observer.evidence.columns()
    open_, none = undeclared(find_references(columns, observer.evidence, entries), entries)
    seconds = time.monotonic() - started
    observer.list_references()
    analysis = Analysis(
        observer.tables,
        plan.mapping.levels(),
        targets,
        {table: number for table, number in observer.unrouted.items() if number},
        seconds,
        [],
        dict(observer.listed),
        unmatched=observer.names.unmatched(observer.tables),
        doubts=observer.doubts.found(observer.tables),
        undeclared=open_,
        not_references=none,
        shared_ids=same_ids(columns, entries, observer.evidence),
        sources=observer.sources,
        skew=observer.spread.result(),
        structures=structures,
        search=found,
        matches=plan.matches.figures if plan.matches else {},
    )
    demands = demands_of(plan, analysis)
    writing = writing_of(plan, analysis, demands[MIGRATE], _round_trip(plan, analysis))
    analysis = replace(
        analysis,
        reading=reading_of(plan, analysis, demands[MIGRATE]),
        writing=slowest([writing, *partitions_of(plan, analysis, demands[MIGRATE])]),
        costs=costs_of(plan, demands, prices),
        prices=prices_of(plan, prices),
    )
    # Whatever else looks at an analysis adds its checks here: list, alerts and verdict are made of these alone.
    checks = [
        *walk_checks(plan, analysis),
        *structure_checks(plan, structures),
        *mapping_checks(plan, analysis),
        *undeclared_checks(analysis),
        *skew_checks(analysis.skew, writing.seconds),
        *cost_checks(plan, analysis, demands[MIGRATE]),
    ]
    return replace(analysis, checks=checks)


def _scan_units(items: list[dict]) -> int:
    """The read units of a consistent Scan of these items. Of a full page every n-th item is measured: a tenth of the time."""
    measured = items[:: max(1, len(items) // MEASURED)]
    bytes_ = sum(map(size, measured)) * len(items) / max(1, len(measured))
    return max(1, ceil(min(bytes_, PAGE_BYTES) / READ_UNIT))


def _target_state(plan: Plan, entry: str) -> TargetState:
    name = plan.routes[entry].entry.target
    table = plan.target_tables[name]
    if table is None:
        return TargetState(False, True, [])
    differences = plan.shape_differences(plan.routes[entry].entry)
    return TargetState(True, tables.is_empty(plan.target, name), differences, bool(table.stream))


def _round_trip(plan: Plan, analysis: Analysis) -> float:
    """Seconds that one request to a target table takes, measured; 0 where none exists."""
    existing = next((name for name, state in analysis.targets.items() if state.exists), None)
    started = time.monotonic()
    if existing:
        tables.is_empty(plan.target, existing)
    return time.monotonic() - started
