"""02_test: creates the missing target tables; inserts a few items of an entry with what they refer to, and deletes them again."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from ...dynamo import backups, tables
from ...errors import DynamoError, Failed, Interrupted, NotAvailable, Refused
from ...journal.snapshot import Snapshot, State
from ...journal.stage import Stage
from ...mapping.model import Entry
from ...mapping.routes import Matched, Reject, Route, Row
from ...mapping.walkers import Found
from ...run.folder import Run
from ...values import digest, key_text
from ...verdict import Alert
from ...walk.insert import Inserter
from ...walk.plan import Plan
from ...walk.preread import id_hash, prepare
from ...walk.structure import wanted_ttl
from ...walk.walk import Page, Routed, Winners, route_items
from .. import expiry, matching
from ..execution import begin, check_can_write, checkpoint_of, look_at_targets, resumable
from ..rollback.disclaim import disclaim
from ..rollback.undo import Undone, undo

MAX_ITEMS = 1_000
FROM_CHECKPOINT = "Roll back from the checkpoint of this test."


@dataclass(frozen=True)
class Created:
    """One target table that was created."""

    entry: str
    table: str
    seconds: float
    notes: tuple[tuple[str, str], ...] = ()  # what could not be set: what, and what to do


@dataclass(frozen=True)
class Closure:
    """Chosen source items with what they refer to, each once."""

    items: dict[str, list[dict]]  # source table -> items
    rows: list[Row]
    cut: list[Found]  # references beyond MAX_ITEMS
    dangling: int
    matched: list[Matched] = field(default_factory=list)  # items whose place one of the target has: not inserted


@dataclass(frozen=True)
class Pair:
    """A source item, the row its route produced, and the target's item (None: not found)."""

    source: dict
    row: Row
    found: dict | None

    @property
    def equal(self) -> bool:
        """Whether the target held exactly what the route makes."""
        return self.found is not None and digest(self.found) == self.row.digest


@dataclass(frozen=True)
class Canary:
    """What a test did."""

    table: str
    limit: int
    closure: Closure
    state: State  # counts of this execution
    pairs: list[Pair]
    undone: Undone | None  # None: kept
    journal: Snapshot | None = None  # the stage's journal after it

    @property
    def wrong(self) -> int:
        """Items that the target did not hold as expected, without those whose key another item has."""
        return sum(not pair.equal for pair in self.pairs) - sum(c["conflicts"] for c in self.state.tables.values())


def created_notes(created: Sequence[Created]) -> list[Alert]:
    """What could not be set on the created tables, as notes."""
    return [Alert("", made.table, said, action) for made in created for said, action in made.notes]


def create_tables(run: Run, plan: Plan) -> list[Created]:
    """Creates the missing target tables, waits until they are ACTIVE and sets TTL and point-in-time recovery.

    Finishes tables that an earlier execution of this run created and left unfinished; no other table is changed. Writes
    to the target's account. Raises Refused where the mapping does not describe a missing table, or an existing one has
    another key or index.
    """
    missing = plan.missing_targets()
    for entry in missing:
        if not entry.model.create:
            raise Refused(
                f"{entry.name}: target table {entry.target} does not exist, and the mapping does not describe it; "
                "deploy it, or add `create`."
            )
        if entry.target.startswith("arn:"):
            raise Refused(
                f"{entry.name}: target table {entry.target} does not exist, and a table is not created by its ARN; deploy it, "
                "or name it without account and region."
            )
    plan.require_shapes()
    created = []
    with Stage(run, "create") as stage:
        unfinished = _unfinished(stage, plan)
        for entry in missing:  # intent first: a table whose creation was never confirmed is still known as ours
            about = {"entry": entry.name, "table": entry.target}
            stage.record("creating", **about)
            plan.meter.do(f"creating table {entry.target}")
            unanswered = partial(stage.record, "unanswered", **about)
            tables.create(plan.target, entry.target, entry.model.create, unanswered)
            stage.record("made", **about)
        for entry in [*unfinished, *missing]:
            started = time.monotonic()
            plan.meter.do(f"waiting for table {entry.target} to become active")
            made = tables.wait_active(plan.target, entry.target)
            notes = _settle(plan, entry)
            about = {"entry": entry.name, "table": entry.target, "identity": made.identity}
            stage.record("created", **about, address=plan.target.address)
            run.logger().info("created %s", entry.target)
            created.append(Created(entry.name, entry.target, time.monotonic() - started, tuple(notes)))
    return created


def _unfinished(stage: Stage, plan: Plan) -> list[Entry]:
    """One entry for each existing table that this run made and has not finished.

    DynamoDB confirmed it; or it left the request unanswered, and no answer since said that somebody else had been first.
    An intent alone proves nothing: somebody else may have created the table since, and a TTL deletes items.
    """
    last = {
        event["table"]: event["kind"] for event in stage.events("creating", "unanswered", "made", "created", "deleted")
    }
    entries = {route.entry.target: route.entry for route in plan.routes.values()}
    return [
        entry
        for table, entry in entries.items()
        if last.get(table) in ("made", "unanswered") and entry.model.create and plan.target_tables[table] is not None
    ]


def _settle(plan: Plan, entry: Entry) -> list[tuple[str, str]]:
    """Sets what CreateTable cannot. Returns what the engine or the rights do not allow to set, with what to do."""
    notes = []
    ttl, unknown = wanted_ttl(plan, entry)
    if unknown:
        said = f"TTL was not set, because that of {entry.source} is {unknown.reason}"
        notes.append((said, f"{unknown.sentence} Set it by hand if the source has one."))

    def set_up(what: str, send: Callable[[], None]) -> None:
        try:
            send()
        except NotAvailable:
            notes.append(
                (f"{what} was not set: not available here", "Nothing to do here: the endpoint has no such call.")
            )

    if ttl:
        set_up(f"TTL by {ttl}", lambda: tables.set_ttl(plan.target, entry.target, ttl))
    if entry.model.create.point_in_time_recovery:
        set_up("point-in-time recovery", lambda: backups.set_recovery(plan.target, entry.target))
    return notes


def run_canary(run: Run, plan: Plan, table: str, limit: int, *, keep: bool = False) -> Canary:
    """Inserts `limit` items of an entry with what they refer to, compares them, undoes them unless `keep`.

    Writes to the target and to the run's folder. Raises Refused before it writes; Failed or Interrupted while it writes.
    """
    with run.saving(), Stage(run, "test") as stage:
        return _run_canary(stage, plan, table, limit, keep)


def _run_canary(stage: Stage, plan: Plan, table: str, limit: int, keep: bool) -> Canary:
    plan.mapping.check_names([table])
    plan = matching.frozen(stage.run, plan, "02_test")
    check_can_write(stage.run, stage, plan)
    plan, _ = matching.before_first_insert(stage, expiry.as_of(stage.run, plan))
    plan, winners = prepare(plan)
    closure = collect(plan, table, limit, winners)
    names = sorted({one.entry for one in (*closure.rows, *closure.matched)})
    chosen = plan.choose(names)
    chosen.require_targets()
    disclaim(stage, chosen)
    was_empty = look_at_targets(stage, chosen)
    begin(stage, chosen, names)
    execution = stage.executions()
    checkpoint = checkpoint_of(stage, plan)

    def take_back() -> Undone:
        with resumable(stage.run, FROM_CHECKPOINT, (Interrupted, DynamoError)):
            return undo(checkpoint, execution=execution)

    try:
        with resumable(stage.run, FROM_CHECKPOINT):
            with Inserter(chosen, stage, execution, was_empty) as insert:
                for routed in _pages(chosen, closure, winners, execution):
                    insert(routed)
            pairs = _pairs(chosen, closure)
    except (Failed, DynamoError):
        take_back()
        stage.record("end")
        raise
    undone = None if keep else take_back()
    stage.record("end")
    after = stage.read(undone.journal if undone else None)
    return Canary(table, limit, closure, after.state(execution), pairs, undone, after)


def collect(plan: Plan, table: str, limit: int, winners: Winners) -> Closure:
    """The first `limit` items of an entry that a route takes, with what they refer to, at most MAX_ITEMS. Read-only."""
    items: dict[str, list[dict]] = defaultdict(list)
    rows: list[Row] = []
    taken: set[tuple[str, str]] = set()
    known: set[bytes] = set()  # hashes of the parents fetched or about to be fetched
    cut: list[Found] = []
    dangling = 0
    matched: list[Matched] = []

    def take(route: Route, item: dict, row: Row | Matched) -> None:
        place = (route.entry.source, key_text(row.source_key))
        if place not in taken:
            taken.add(place)
            items[route.entry.source].append(item)
        (matched if isinstance(row, Matched) else rows).append(row)

    wanted: list[Found] = []
    for item, row in _first(plan, table, limit, winners):
        if row.old is not None:
            known.add(id_hash(table, row.old))
        take(plan.routes[table], item, row)
        wanted += row.references
    while wanted:
        asked: dict[str, list[Found]] = defaultdict(list)
        for found in wanted:
            if found.old is None:
                dangling += 1
            elif (hashed := id_hash(found.parent, found.old)) not in known:
                known.add(hashed)
                asked[found.parent].append(found)
        wanted = []
        for parent, references in asked.items():
            fetched = _fetch(plan, plan.routes[parent], [found.old for found in references])
            there = {id_hash(parent, plan.routes[parent].id_of(item)) for item in fetched}
            dangling += len(references) - len(there)
            for item in fetched:
                row = plan.routes[parent].route(item)
                if isinstance(row, Reject):
                    continue
                if len(rows) + len(matched) >= MAX_ITEMS:
                    cut += [f for f in references if id_hash(parent, f.old) == id_hash(parent, row.old)]
                    continue
                take(plan.routes[parent], item, row)
                wanted += row.references
    return Closure(dict(items), rows, cut, dangling, matched)


def _first(plan: Plan, table: str, limit: int, winners: Winners) -> list[tuple[dict, Row]]:
    route, found, most = plan.routes[table], [], min(limit, MAX_ITEMS)
    for items in plan.source.wire.scan_pages(route.entry.source):
        for item in items:
            routed = route_items(Page(route.entry.source, 0, 0, None, None, [item]), [route], [], winners)
            found += [(item, row) for row in routed.rows]
        if len(found) >= most:
            break
    return found[:most]


def _fetch(plan: Plan, route: Route, ids: list[dict]) -> list[dict]:
    """The source items with these ids: by key where the id is the whole key, else by one scan of the table."""
    wire, table = plan.source.wire, route.entry.source
    key = route.shape.source_key
    if len(key) == 1 and key[0][0] == route.entry.model.id_rule:
        found = wire.get_many(table, [{key[0][0]: old} for old in ids])
        return [item for item in found if item is not None and route.takes(item)]
    wanted, found = {id_hash(route.entry.name, old) for old in ids}, []
    for items in wire.scan_pages(table):
        selected = [(route.id_of(item), item) for item in items if route.takes(item)]
        found += [item for old, item in selected if old is not None and id_hash(route.entry.name, old) in wanted]
    return found


def _pages(plan: Plan, closure: Closure, winners: Winners, execution: int) -> list[Routed]:
    """The closure as pages, parents before children; each page's number is the execution's, so that no page is resumed."""
    levels, by_source = plan.levels(), plan.by_source()
    chosen = {(one.entry, key_text(one.source_key)) for one in (*closure.rows, *closure.matched)}
    pages = []
    for table in sorted(closure.items, key=lambda name: (levels[name], name)):
        page = Page(table, 0, execution, None, None, closure.items[table])
        routed = route_items(page, by_source[table], list(plan.all_routes.values()), winners)
        rows = [row for row in routed.rows if (row.entry, key_text(row.source_key)) in chosen]
        losers = [row for row in routed.losers if (row.entry, key_text(row.source_key)) in chosen]
        matched = [one for one in routed.matched if (one.entry, key_text(one.source_key)) in chosen]
        scanned = Counter(one.entry for one in (*rows, *losers, *matched))
        pages.append(Routed(page, scanned, rows, losers, [], [], matched=matched))
    return pages


def _pairs(plan: Plan, closure: Closure) -> list[Pair]:
    sources = {}
    for route in plan.routes.values():
        for item in closure.items.get(route.entry.source, []):
            source_key = {name: item[name] for name, _ in route.shape.source_key}
            sources[route.entry.source, key_text(source_key)] = item
    pairs = []
    for target, rows in plan.by_target(closure.rows).items():
        found = plan.target.wire.get_many(target, [row.key for row in rows])
        for row, item in zip(rows, found, strict=True):
            source = sources[plan.routes[row.entry].entry.source, key_text(row.source_key)]
            pairs.append(Pair(source, row, item))
    return pairs
