"""What each stage reads and writes in capacity units, what that costs at list price, and how long 03 takes, and why."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from ...dynamo.rate_limiter import ALL, READ, READ_UNIT, WRITE
from ...dynamo.structure.description import NEW_PACE, Pace, pace
from ...parameters import PriceList, load_prices
from ...verdict import plural
from ...walk.matching.search import scans as searching
from ...walk.plan import Plan
from ...walk.preread import scans
from .analysis import Analysis, Bound, Cost, EntryAnalysis, Prices
from .checks import NOTE, Check

PRICES = Path(__file__).with_name("prices.yaml")
MIGRATE = "03_migrate"
SEARCHING = ("01_analyze", MIGRATE)  # for matches; 02 goes by those that 01 froze
STAGES = ("01_analyze", "02_test", MIGRATE, "04_validate", "05_rollback")
SHORT = 60.0  # seconds of all of a table's write capacity that need no note
OLD = 365  # days from which on a price list is called old
PAGE_UNITS = 256  # of one Scan response
INFREQUENT = "STANDARD_INFREQUENT_ACCESS"


class Demand(NamedTuple):
    """What one stage takes, each by table, without replicas."""

    source: Counter  # read units
    reads: Counter  # of the target
    writes: Counter


def price_list() -> tuple[PriceList, str]:
    """The user's price list, else the one that is built in; and its name. Raises ParametersError."""
    return load_prices(PRICES)


def prices_of(plan: Plan, prices: tuple[PriceList, str]) -> Prices:
    """What is to be said of the prices of the plan's two regions."""
    about, file = prices
    names = (plan.source.region, plan.target.region, *_replica_regions(plan))
    unknown = [name for name in dict.fromkeys(names) if name not in about.regions]
    old = (datetime.now(UTC).date() - about.date).days > OLD
    source, target = (_region(about, side.region) for side in (plan.source, plan.target))
    return Prices(str(about.date), target, about.source, source, unknown, file, old)


def _region(prices: PriceList, name: str) -> str:
    return name if name in prices.regions else next(iter(prices.regions))


def _replicas(plan: Plan, target: str) -> tuple[str, ...]:
    table = plan.target_tables[target]
    return table.replicas if table else ()


def _replica_regions(plan: Plan) -> list[str]:
    return sorted({region for name in plan.target_names() for region in _replicas(plan, name)})


def demands_of(plan: Plan, analysis: Analysis) -> dict[str, Demand]:
    """Stage → what it takes, from the sizes that the analysis measured. Pure.

    A Scan takes a unit for each 4 KB of a page, a BatchGetItem for each 4 KB of an item, at least one. A conditional write
    takes what a write takes, by PutItem or PartiQL. 05 reads what 03 inserted, and deletes it. Not in it: the few
    items of 02, the queries of 04, and its second look at a target where values only look like ids.
    """
    found = {stage: Demand(Counter(), Counter(), Counter()) for stage in STAGES}
    units = {name: about.read_units for name, about in analysis.sources.items()}
    walked, looked_through = searching(plan)  # for matches
    for stage, refuse in (("01_analyze", False), ("02_test", True), (MIGRATE, True), ("04_validate", False)):
        before = scans(plan, refuse=refuse, shared=_shares(analysis))
        if stage in SEARCHING:
            before += walked
            found[stage].reads.update({name: _held(plan, name) * times for name, times in looked_through.items()})
        # What only references need is read too: tables of entries that were not chosen have the size that is described.
        for name, times in before.items():
            whole = units[name] if name in units else -(-plan.source_tables[name].size_bytes // READ_UNIT)
            found[stage].source[name] += whole * times
        if stage != "02_test":
            found[stage].source.update(units)
    found["02_test"].source.update(_closure_units(plan, units))
    first, _, migrate, validate, rollback = found.values()
    bytes_: Counter = Counter()  # of a target table when 03 is done
    new: Counter = Counter()
    for name, route in plan.routes.items():
        table, source, target = analysis.tables[name], route.entry.source, route.entry.target
        state, part = analysis.targets[target], _part(table)
        if state.exists and not state.empty:  # every key is looked up first
            first.reads[target] += table.read_units
            migrate.reads[target] += table.read_units
        migrate.writes[target] += round(part * table.write_units)
        validate.reads[target] += table.read_units
        bytes_[target] += table.bytes
        new[target] += round(part * table.bytes)
        rollback.reads[target] += round(part * table.read_units)
        rollback.writes[target] += round(part * table.write_units)
        # References that lead nowhere or cannot be read are listed with the item that holds them.
        dangling, unreadable = (min(n.total(), table.records) for n in (table.dangling, table.unreadable))
        each = -(-units[source] // max(1, analysis.sources[source].items))
        for stage in STAGES[:4]:  # the items of a shared key are read whole, to find which comes first: mostly two
            found[stage].source[source] += min(2 * table.losers, table.records) * each
        first.source[source] += unreadable * each
        migrate.source[source] += dangling * each
        validate.source[source] += (dangling + unreadable) * each
        validate.reads[target] += (dangling + unreadable) * -(-table.read_units // max(1, table.routed))
    for source in {plan.routes[n].entry.source for n, t in analysis.tables.items() if t.dangling or t.unreadable}:
        first.source[source] += units[source]  # a second look finds those items
        validate.source[source] += units[source]
    for target, size in bytes_.items():  # 04 scans each target table for items that no entry makes
        held = plan.target_tables[target]
        validate.reads[target] += -(-max(size, new[target] + (held.size_bytes if held else 0)) // READ_UNIT)
    return found


def _held(plan: Plan, target: str) -> int:
    """The read units of a Scan of a target table, as it was described."""
    return -(-plan.target_tables[target].size_bytes // READ_UNIT)


def _part(table: EntryAnalysis) -> float:
    """The share of an entry's items that 03 has to write."""
    return 1 - (table.already_there + table.different_there) / table.routed if table.routed else 1.0


def _closure_units(plan: Plan, units: dict[str, int]) -> Counter:
    """Source table → units by which 02 finds an item of it and what that refers to, at most.

    It reads the first page of a table; and it scans a table for its parents, where the id is not the whole key.
    """
    found = Counter({name: min(number, PAGE_UNITS) for name, number in units.items()})
    for name in {parent for route in plan.routes.values() for parent in route.entry.parents()} & plan.routes.keys():
        entry, key = plan.routes[name].entry, plan.routes[name].shape.source_key
        if len(key) > 1 or key[0][0] != entry.model.id_rule:
            found[entry.source] = units[entry.source] + min(units[entry.source], PAGE_UNITS)
    return found


def _shares(analysis: Analysis) -> bool:
    """Whether items share a target key."""
    return any(table.losers for table in analysis.tables.values())


def _readings(plan: Plan, analysis: Analysis) -> str:
    """Why the read units are more than those of one scan, where they are. Even for a few attributes items count whole."""
    before = scans(plan, refuse=True, shared=_shares(analysis)) + searching(plan)[0]
    most, why = max(before.values(), default=0), "keys, ids or matches" if plan.matches else "keys or ids"
    times = {1: "twice", 2: "three times"}.get(most, f"{most + 1} times")
    return f" (source tables are read up to {times}: before the first insert for {why})" if most else ""


def costs_of(plan: Plan, demands: dict[str, Demand], prices: tuple[PriceList, str]) -> dict[str, Cost]:
    """Stage → its units and money. A replica takes every write again, in its region. Pure."""
    return {stage: _cost(plan, demand, prices[0]) for stage, demand in demands.items()}


def _cost(plan: Plan, demand: Demand, prices: PriceList) -> Cost:
    paid, writes = [], demand.writes.total()
    for name, units in demand.source.items():
        table = plan.source_tables[name]
        if table.billing == "PAY_PER_REQUEST":
            paid.append(units * _price(prices, plan.source.region, READ, table.table_class))
    for name in demand.reads.keys() | demand.writes.keys():
        table = plan.target_tables[name]
        regions = _replicas(plan, name)
        writes += demand.writes[name] * len(regions)
        if _is_provisioned(plan, name):
            continue
        kind = table.table_class if table else ""
        paid.append(demand.reads[name] * _price(prices, plan.target.region, READ, kind))
        paid += [demand.writes[name] * _price(prices, one, WRITE, kind) for one in (plan.target.region, *regions)]
    return Cost(demand.source.total() + demand.reads.total(), writes, sum(paid) / 1e6)


def _price(prices: PriceList, region: str, kind: str, table_class: str) -> float:
    """Dollars for a million units."""
    price = getattr(prices.regions[_region(prices, region)], kind)
    return price * (prices.infrequent if table_class == INFREQUENT else 1)


def _is_provisioned(plan: Plan, target: str) -> bool:
    table, create = plan.target_tables[target], _create(plan, target)
    return table.billing == "PROVISIONED" if table else bool(create) and create.billing != "PAY_PER_REQUEST"


def _create(plan: Plan, target: str):
    return next(route.entry.model.create for route in plan.routes.values() if route.entry.target == target)


def _write_pace(plan: Plan, target: str, index: str) -> Pace:
    """Of a target table, or of a global index of it, as it is or as 02 will make it."""
    table, create = plan.target_tables[target], _create(plan, target)
    if table:
        return pace(table.indexes[index] if index else table, WRITE)
    return Pace(create.billing.write, "its provisioned capacity") if _is_provisioned(plan, target) else NEW_PACE


def _capacities(plan: Plan, analysis: Analysis, target: str) -> Iterator[Bound]:
    """How long the writes of 03 take a target table and each of its global indexes, which work at the same time."""
    units: Counter = Counter()
    for name, table in analysis.tables.items():
        if plan.routes[name].entry.target != target:
            continue
        for index, number in {"": table.table_units, **table.index_units}.items():
            units[index if index in _global(plan, target) else ""] += _part(table) * number
    for index, number in units.items():
        allowed, why = _write_pace(plan, target, index)
        where = f"index {index} of {target}" if index else target
        yield Bound(number / allowed, f"{where}: {plural(allowed, 'write unit')} a second, {why}")


def _global(plan: Plan, target: str) -> set[str]:
    table, create = plan.target_tables[target], _create(plan, target)
    if table:
        return {name for name, index in table.indexes.items() if not index.local}
    return set(create.indexes) if create else set()


def slowest(found: Iterable[Bound]) -> Bound:
    """Of equal ones the first."""
    return max(found, key=attrgetter("seconds"))


def writing_of(plan: Plan, analysis: Analysis, migrate: Demand, trip: float) -> Bound:
    """The slowest of budgets, capacities and round trips. `trip`: seconds that one request takes."""
    budgets, writes = plan.limiter.budgets.units, migrate.writes
    rows = sum(table.routed for table in analysis.tables.values())
    found = [Bound(rows * trip / plan.parameters.limits.workers, "round trips")]
    if allowed := budgets.get((ALL, WRITE)):
        found.append(Bound(writes.total() / allowed, f"limits.write_units: {allowed:,.10g} a second"))
    for target in writes:
        found += _capacities(plan, analysis, target)
        if allowed := budgets.get((f"target {target}", WRITE)):
            found.append(
                Bound(writes[target] / allowed, f"limits.tables: {allowed:,.10g} write units a second of {target}")
            )
    return slowest(found)


def partitions_of(plan: Plan, analysis: Analysis, migrate: Demand) -> Iterator[Bound]:
    """What the heaviest value of each partition key takes to be written."""
    made: Counter = Counter()
    for name, table in analysis.tables.items():
        made[plan.routes[name].entry.target] += table.write_units
    for target, keys in analysis.skew.items():
        for name, use in keys.items():
            seconds, why = use.to_write(name, target)
            yield Bound(seconds * migrate.writes[target] / max(1, made[target]), why)


def reading_of(plan: Plan, analysis: Analysis, migrate: Demand) -> Bound:
    """The slowest of the pace that 01 had, budgets, capacities of the tables that 03 reads, and partitions."""
    budgets, (source, reads, _) = plan.limiter.budgets.units, migrate
    found = [Bound(analysis.seconds, "the pace of this reading")]
    if allowed := budgets.get((ALL, READ)):
        units = source.total() + reads.total()
        found.append(Bound(units / allowed, f"limits.read_units: {allowed:,.10g} a second"))
    for side, tables, known in (("source", source, plan.source_tables), ("target", reads, plan.target_tables)):
        for name, units in tables.items():
            allowed, why = pace(known[name], READ)
            found.append(Bound(units / allowed, f"{name}: {plural(allowed, 'read unit')} a second, {why}"))
            if allowed := budgets.get((f"{side} {name}", READ)):
                found.append(Bound(units / allowed, f"limits.tables: {allowed:,.10g} read units a second of {name}"))
    for target, keys in analysis.skew.items():
        found += [Bound(*use.to_read(name, target)) for name, use in keys.items() if reads[target]]
    return slowest(found)


def cost_checks(plan: Plan, analysis: Analysis, migrate: Demand) -> list[Check]:
    """Money, duration, and the capacity that provisioned tables have for it."""
    checks = []
    for target in sorted(name for name in migrate.writes if _is_provisioned(plan, name)):
        seconds, why = slowest(_capacities(plan, analysis, target))
        message = f"provisioned: no extra money, but {plural(round(seconds), 'second')} of all its write capacity"
        if long := seconds > SHORT:
            message += f" ({why})"
        action = (
            "Raise its capacity for the migration, or make it on-demand. Others who write to it would be throttled."
        )
        found = {"write_units": migrate.writes[target], "seconds": round(seconds, 1)}
        checks.append(
            Check("target", target, "capacity", found, None, NOTE if long else "", action if long else "", message)
        )
    prices, total = analysis.prices, sum(cost.usd for cost in analysis.costs.values())
    costs = analysis.costs[MIGRATE]
    message = (
        f"03 takes {plural(costs.write_units, 'write unit')}, indexes included, and "
        f"{plural(costs.read_units, 'read unit')}{_readings(plan, analysis)}: {money(costs.usd)}; all stages {money(total)} "
        f"(list price of {prices.region}, {prices.date})"
    )
    if regions := _replica_regions(plan):
        message += f"; replicas in {', '.join(regions)} take every write again, which is included"
    doubts = [f"no price is known here for {', '.join(prices.unknown)}"] if prices.unknown else []
    doubts += ["these prices are more than a year old"] if prices.old else []
    action = "Put a price list of your own into parameters/prices.yaml; docs/commands.md shows one." if doubts else ""
    usd = {stage: round(cost.usd, 6) for stage, cost in analysis.costs.items()}
    checks.append(Check("", "", "cost", usd, None, NOTE if doubts else "", action, "; ".join([message, *doubts])))
    reading, writing = analysis.reading, analysis.writing
    message = (
        f"{lasts(analysis.estimated_seconds)}: {lasts(reading.seconds)} to read, bounded by {reading.reason}; "
        f"{lasts(writing.seconds)} to write, bounded by {writing.reason}"
    )
    checks.append(Check("", "", "duration", round(analysis.estimated_seconds, 1), None, "", "", message))
    return checks


def lasts(seconds: float) -> str:
    """`under a second`, `about 40 seconds`, `about 12 minutes`, `about 3 hours`."""
    if seconds < 1:
        return "under a second"
    unit, noun = (1, "second") if seconds < 120 else (60, "minute") if seconds < 7_200 else (3_600, "hour")
    return f"about {plural(round(seconds / unit), noun)}"


def money(usd: float) -> str:
    """`$12.30`, `under $0.01`."""
    return f"${usd:,.2f}" if usd >= 0.01 else "under $0.01" if usd else "$0.00"
