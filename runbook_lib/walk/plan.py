"""A plan: parameters and mapping set against the real tables, with every route compiled. Read-only."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from collections.abc import Mapping as Dict
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from ..dynamo import session, tables
from ..dynamo.rate_limiter import ALL, READ, WRITE, Budgets, RateLimiter
from ..dynamo.session import Connection
from ..dynamo.structure.creation import like
from ..dynamo.tables import Table
from ..errors import ParametersError, Refused
from ..mapping import levels as graph
from ..mapping.create import LIKE_SOURCE, Create
from ..mapping.file.load import check_all_keys, load_mapping, with_creates
from ..mapping.matching.ids import may_share_ids
from ..mapping.model import Entry, Keys, Mapping
from ..mapping.routes import Key, Route, Shape, compile_route, parents_of
from ..parameters import Limits, Parameters
from ..run.fingerprints import Identity, identity_of
from ..run.matches import Matches
from ..run.progress_file import READING
from ..run.spill import HashSet
from ..yaml_files import suggest
from .guard import check_endpoint, check_engine, check_lease, check_names, check_same_table
from .progress import Meter

SKIP = "skip"  # of `expired`
EACH = "*"  # in `limits.tables`: every table that is not named
SEGMENT_BYTES = 100_000_000  # a table gets one scan segment for each of these, up to the number of workers


@dataclass(frozen=True)
class Expiry:
    """What `expired: skip` leaves out in every stage of a run: items that had expired at one moment."""

    moment: str  # ISO 8601, UTC
    attributes: dict[str, str | None]  # source table of an entry that says it → its TTL attribute; None: it has none

    @property
    def second(self) -> int:
        """The moment in seconds since 1970."""
        return int(datetime.fromisoformat(self.moment).timestamp())

    def as_json(self) -> dict[str, Any]:
        """As `plan.json` and the journals have it."""
        return vars(self)


@dataclass(frozen=True)
class Plan:
    """Everything a walk needs. Its tables are as they were when it was made."""

    parameters: Parameters
    mapping: Mapping
    source: Connection
    target: Connection
    source_tables: dict[str, Table]
    target_tables: dict[str, Table | None]  # None: does not exist
    routes: dict[str, Route]  # by entry, those chosen
    all_routes: dict[str, Route]  # by entry, chosen or not
    limiter: RateLimiter  # of both sides
    known: HashSet | None = None  # hashed ids of the source, where the routes ask whether an item exists
    expiry: Expiry | None = None  # where an entry says `expired: skip`, once `as_of` was called
    matches: Matches | None = None  # where an entry says `match`, once `with_matches` was called
    meter: Meter = None  # what the stage has done so far; one for all plans that are made of this one

    def __post_init__(self) -> None:
        if self.meter is None:
            object.__setattr__(self, "meter", Meter(self.limiter))

    def by_source(self) -> dict[str, list[Route]]:
        """Source table → routes that read it, in mapping order."""
        grouped: dict[str, list[Route]] = defaultdict(list)
        for route in self.routes.values():
            grouped[route.entry.source].append(route)
        return dict(grouped)

    def by_target(self, rows: Iterable[Any]) -> dict[str, list]:
        """Target table → those of the rows, or of what else has an `entry`, that belong there."""
        grouped: dict[str, list] = defaultdict(list)
        for row in rows:
            grouped[self.all_routes[row.entry].entry.target].append(row)
        return grouped

    def parents(self) -> dict[str, set[str]]:
        """Source table → the tables that its items refer to."""
        entries = self.mapping.entries
        parents: dict[str, set[str]] = {route.entry.source: set() for route in self.routes.values()}
        for route in self.routes.values():
            parents[route.entry.source] |= {entries[name].source for name in route.entry.parents()}
        return parents

    def count(
        self,
        state: str = READING,
        *,
        earlier: Dict[str, int] | None = None,
        uncertain: Dict[str, int] | None = None,
        left: Collection[str] | None = None,
        execution: int = 1,
        most: int | None = None,
    ) -> None:
        """Tells the meter that the items of the chosen entries' source tables come now; `state` is what is done with them.

        `earlier`: source table → items that earlier executions have done; `uncertain`: likewise, items of their unfinished
        pages; `left`: the tables that are not finished (default: all); `most`: how many items of each table are looked at. The
        number of a table's items is DynamoDB's estimate.
        """
        by_source = self.by_source()
        numbers = {table: self.source_tables[table].items for table in by_source}
        self.meter.begin(
            {table: number if most is None else min(most, number) for table, number in numbers.items()},
            state,
            earlier=earlier,
            uncertain=uncertain,
            finished=[table for table in by_source if left is not None and table not in left],
            places={
                table: [f"source {table}", *(f"target {route.entry.target}" for route in routes)]
                for table, routes in by_source.items()
            },
            execution=execution,
        )

    def levels(self) -> dict[str, int]:
        """Source table → level; parents first. Entries that share a table share its level."""
        return graph.levels(self.parents())

    @property
    def identity(self) -> Identity:
        """What a resumed run must have in common with this plan."""
        return identity_of(self.mapping, self.parameters, self.matches and self.matches.sha256)

    def sides(self) -> dict[str, dict[str, Any]]:
        """ "source" and "target" → environment, region and account, as reports and checkpoints name them."""
        return {
            label: {key: getattr(connection, key) for key in ("environment", "region", "account")}
            for label, connection in (("source", self.source), ("target", self.target))
        }

    def segments(self, table: str) -> int:
        """How many scan segments a source table gets."""
        limits = self.parameters.limits
        return limits.segments or max(1, min(limits.workers, self.source_tables[table].size_bytes // SEGMENT_BYTES))

    def target_names(self) -> list[str]:
        """The target tables of the chosen entries."""
        return sorted({route.entry.target for route in self.routes.values()})

    def targets(self) -> dict[str, str | None]:
        """Target tables of the chosen entries → their identity, as far as it is known."""
        tables = {name: self.target_tables[name] for name in self.target_names()}
        return {name: table and table.identity for name, table in tables.items()}

    def missing_targets(self) -> list[Entry]:
        """One entry for each target table that does not exist."""
        missing = {r.entry.target: r.entry for r in self.routes.values() if self.target_tables[r.entry.target] is None}
        return list(missing.values())

    def require_targets(self, *, shapes: bool = True) -> None:
        """Refused where a target table is missing or (with `shapes`) has another shape than the mapping describes."""
        for entry in self.missing_targets():
            create = "create it with 02_test, or with `runbook create-tables`"
            fix = create if entry.model.create else "deploy it, or describe it under `create`"
            raise Refused(
                f"{entry.name}: target table {entry.target} does not exist in {self.target.region} "
                f"({self.target.endpoint_url}); {fix}."
            )
        if shapes:
            self.require_shapes()

    def require_shapes(self) -> None:
        """Refused where an existing target table has another shape than the mapping describes."""
        for route in self.routes.values():
            if differences := self.shape_differences(route.entry):
                raise Refused(
                    f"{route.entry.name}: {route.entry.target} has another shape: {'; '.join(differences)}; "
                    "correct `create`, or give the target another name."
                )

    def shape_differences(self, entry: Entry) -> list[str]:
        """What an existing target table lacks of what the mapping describes, as sentences."""
        table = self.target_tables[entry.target]
        return tables.difference(table, entry.model.create) if table and entry.model.create else []

    def shares_target_keys(self, route: Route) -> bool:
        """Whether two source items of this entry, or of another entry, can have the same target key."""
        same_target = [r for r in self.all_routes.values() if r.entry.target == route.entry.target]
        reusing = {name for name, one in self.mapping.entries.items() if one.model.reuses}
        return len(same_target) > 1 or not _is_injective(route, reusing)

    def with_exists(self, exists: Callable[[str, dict], bool], known: HashSet | None = None) -> "Plan":
        """The plan with routes that know which items the source holds; `known` is what they ask."""
        routes = _compile(self.mapping, self.shapes(), self.parameters, exists, self.matches)
        return replace(self, routes={name: routes[name] for name in self.routes}, all_routes=routes, known=known)

    def without_matches(self) -> "Plan":
        """The plan with routes that know no matches."""
        routes = _compile(self.mapping, self.shapes(), self.parameters)
        return replace(self, routes={name: routes[name] for name in self.routes}, all_routes=routes, matches=None)

    def skipping(self) -> list[Entry]:
        """The entries, chosen or not, that say `expired: skip`."""
        return [entry for entry in self.mapping.entries.values() if entry.model.expired == SKIP]

    def as_of(self, expiry: Expiry) -> "Plan":
        """The plan with routes that leave out what `expired: skip` says. Call it before `with_exists`."""
        entries = {
            name: replace(entry, expires=(attribute, expiry.second))
            if entry.model.expired == SKIP and (attribute := expiry.attributes[entry.source])
            else entry
            for name, entry in self.mapping.entries.items()
        }
        mapping = replace(self.mapping, entries=entries)
        routes = _compile(mapping, self.shapes(), self.parameters, None, self.matches)
        chosen = {name: routes[name] for name in self.routes}
        return replace(self, mapping=mapping, routes=chosen, all_routes=routes, expiry=expiry)

    def with_matches(self, matches: Matches) -> "Plan":
        """The plan with routes that go by these matches. Call it before `with_exists`."""
        routes = _compile(self.mapping, self.shapes(), self.parameters, None, matches)
        chosen = {name: routes[name] for name in self.routes}
        return replace(self, routes=chosen, all_routes=routes, matches=matches)

    def shapes(self) -> dict[str, Shape]:
        """Entry → the keys of its tables."""
        return {name: route.shape for name, route in self.all_routes.items()}

    def choose(self, names: list[str]) -> "Plan":
        """The plan for some entries alone."""
        return replace(self, routes={name: self.all_routes[name] for name in self.all_routes if name in names})


def _compile(
    mapping: Mapping,
    shapes: dict[str, Shape],
    parameters: Parameters,
    exists: Callable | None = None,
    matches: Matches | None = None,
) -> dict[str, Route]:
    matched = matches.of if matches is not None else None
    parents = parents_of(mapping.entries, shapes, parameters.target.environment, exists, matched)
    return {name: compile_route(entry, shapes[name], parents) for name, entry in mapping.entries.items()}


def open_plan(
    parameters: Parameters,
    *,
    mapping: Mapping | None = None,
    chosen: list[str] | None = None,
    undo: bool = False,
    run_id: str = "",
    follow: Callable[[RateLimiter], object] = lambda limiter: None,
) -> Plan:
    """The plan for the parameters; `chosen` names the entries to work on (default all). Read-only.

    `mapping`: that of the parameters, where it has been loaded. `run_id`: the run in whose name roles are assumed. With
    `undo` no transform runs: its code is the mapping's, and a rollback needs none. `follow` gets what waits for tables that
    do not answer, before it has to.

    Raises Refused (with MappingError, ParametersError): bad input, no access, a missing source table, source equal to
    target, a production target at an unknown endpoint, an engine that cannot be had, an id format that does not fit.
    """
    mapping = mapping or load_mapping(parameters)
    mapping.check_names(chosen or [])
    limits = parameters.limits
    if undo:
        mapping = replace(mapping, entries={name: replace(e, code=None) for name, e in mapping.entries.items()})
    else:
        check_engine(limits)
    limiter = RateLimiter(budgets_of(limits, tables_of(mapping.entries)), patience=60 * limits.patience)
    follow(limiter)
    role = parameters.target.rollback_role_arn if undo else None
    common = {"workers": limits.workers, "limiter": limiter, "run_id": run_id}
    source = session.connect(parameters.source, "source", **common)
    target = session.connect(parameters.target, "target", role_arn=role, **common)
    check_endpoint(parameters.target, target.endpoint_url)
    entries = {name: e for name, e in mapping.entries.items() if not chosen or name in chosen}
    check_lease(parameters.lease, mapping.entries.values(), limits)
    # Every entry's tables are described, also where only some are chosen: references need the parents' key types.
    source_tables = _describe_all(source, {entry.source for entry in mapping.entries.values()})
    check_names(source, source_tables)
    target_tables = _describe_all(target, {entry.target for entry in mapping.entries.values()})
    for entry in mapping.entries.values():
        if source_tables[entry.source] is None:
            raise Refused(
                f"{entry.name}: source table {entry.source} does not exist in {source.region} "
                f"({source.endpoint_url}); check the environment, the region and the mapping."
            )
    check_names(target, target_tables)
    check_same_table(mapping.entries.values(), source, target, source_tables, target_tables)
    mapping = with_creates(
        mapping,
        {
            name: like(source_tables[entry.source])
            for name, entry in mapping.entries.items()
            if entry.model.create == LIKE_SOURCE
        },
    )
    shapes = {
        name: _shape(entry, source_tables[entry.source], target_tables[entry.target])
        for name, entry in mapping.entries.items()
    }
    check_all_keys(mapping, {name: _keys(mapping.entries[name], s, target_tables) for name, s in shapes.items()})
    routes = _compile(mapping, shapes, parameters)
    chosen_routes = {name: routes[name] for name in entries}
    return Plan(parameters, mapping, source, target, source_tables, target_tables, chosen_routes, routes, limiter)


def tables_of(entries: Dict[str, Entry]) -> dict[str, tuple[str, str]]:
    """Entry → source table, target table."""
    return {name: (entry.source, entry.target) for name, entry in entries.items()}


def budgets_of(limits: Limits, tables: Dict[str, tuple[str, str]]) -> Budgets:
    """The budgets of a run; `tables` is entry → source table, target table.

    An entry's read units hold for its source table and for its target table, each; its write units for its target
    table. Of several entries of one table the lowest holds. Raises ParametersError for a name that is not an entry.
    """
    units = {}
    for kind, of_all in ((READ, limits.read_units), (WRITE, limits.write_units)):
        if of_all is not None:
            units[ALL, kind] = of_all
    for name in sorted(limits.tables.keys() - tables.keys() - {EACH}):
        raise ParametersError(f"limits.tables: no entry {name!r}{suggest(name, [*tables, EACH])}")
    for name, (source, target) in tables.items():
        own = limits.tables.get(name) or limits.tables.get(EACH)
        if own is None:
            continue
        places = [(f"source {source}", READ, own.read_units), (f"target {target}", READ, own.read_units)]
        for side_table, kind, allowed in [*places, (f"target {target}", WRITE, own.write_units)]:
            if allowed is not None:
                units[side_table, kind] = min(allowed, units.get((side_table, kind), allowed))
    return Budgets(units)


def recall_new_tables(created: Iterable[tuple[tuple[str, str], str, float]]) -> None:
    """Notes tables that this run created, perhaps in another process: not all of DynamoDB's hosts may know the latest yet.

    `created`: as `journal.stage.created_tables` gives them.
    """
    for address, table, age in created:
        tables.note_active(address, table, age)


def _describe_all(connection: Connection, names: set[str]) -> dict[str, Any]:
    return {name: tables.describe(connection, name) for name in sorted(names)}


def _shape(entry: Entry, source: Table, target: Table | None) -> Shape:
    create: Create | None = entry.model.create
    if target is not None:
        keys = [(index.key, index.partition) for index in target.indexes.values()]
        return Shape(source.key, target.key, *_index_keys(keys))
    if create is not None:
        keys = [(tuple(i.key.items()), getattr(i, "partition", 1)) for i in create.all_indexes.values()]
        return Shape(source.key, tuple(create.key.items()), *_index_keys(keys))
    # Not there yet, and nobody says what it will be: the copies of a table need what the table has.
    keys = [(index.key, index.partition) for index in source.indexes.values() if entry.model.fields is None]
    return Shape(source.key, source.key, *_index_keys(keys))


def _keys(entry: Entry, shape: Shape, target_tables: dict[str, Table | None]) -> Keys:
    """The keys of an entry's tables, as far as they are known: nobody says what the table of new items will be."""
    source = dict(shape.source_key)
    if entry.model.fields is not None and entry.model.create is None and target_tables[entry.target] is None:
        return Keys(source)
    return Keys(source, dict(shape.target_key), dict(shape.index_keys))


def _index_keys(keys: list[tuple[Key, int]]) -> tuple[dict[str, str], frozenset[str]]:
    """The key attributes of all indexes with their types, and those of them that some index sorts by.

    `keys`: each with the number of attributes that are its partition key.
    """
    return {name: letter for key, _ in keys for name, letter in key}, frozenset(
        name for key, partition in keys for name, _ in key[partition:]
    )


def _is_injective(route: Route, reusing: Collection[str] = ()) -> bool:
    """Whether different source keys surely give different target keys: the key attributes are copied or hashed.

    Ids of `reusing` entries may be those of items that the target has, and two old ids have one new one.
    """
    model = route.entry.model
    source_names = {name for name, _ in route.shape.source_key}
    target_names = {name for name, _ in route.shape.target_key}
    if source_names & (route.entry.asking() | route.entry.dropped):
        return False
    if reusing and may_share_ids(route.entry, source_names, reusing):
        return False
    if model.fields is None:
        return source_names <= target_names
    copied = {
        rule.uses_up
        for name, rule in model.fields.items()
        if name in target_names and not rule.derives and not rule.has_default
    }
    return source_names <= copied
