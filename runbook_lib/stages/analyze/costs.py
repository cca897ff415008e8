"""What each stage reads and writes in capacity units, what that costs at list price, and how long the writing takes."""

from collections import Counter, defaultdict
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ...dynamo.rate_limiter import ALL, READ_UNIT, WRITE
from ...verdict import plural
from ...walk.plan import Plan
from ...walk.preread import scans
from .analysis import Analysis, Cost, Prices
from .checks import NOTE, Check

PRICES = Path(__file__).with_name("prices.yaml")
ON_DEMAND_WRITES = 4_000  # write units a second that a new on-demand table takes; it doubles with use
SHORT = 60.0  # seconds of all of a table's write capacity that need no note


class Writing(NamedTuple):
    """How long 03 writes, if no single partition bounds it."""

    seconds: float
    reason: str


@cache
def _price_list() -> dict[str, Any]:
    return yaml.safe_load(PRICES.read_text(encoding="utf-8"))


def _region(name: str | None) -> str:
    regions = _price_list()["regions"]
    return name if name in regions else next(iter(regions))


def prices_of(plan: Plan) -> Prices:
    """The prices of the plan's two regions."""
    about, names = _price_list(), (plan.source.region, plan.target.region)
    unknown = [name for name in dict.fromkeys(names) if name not in about["regions"]]
    return Prices(about["date"], _region(names[1]), about["source"], _region(names[0]), unknown)


def costs_of(plan: Plan, analysis: Analysis) -> dict[str, Cost]:
    """Stage → its units and money, from the sizes that the analysis measured. Queries of 04 are not in it. Pure.

    A conditional write costs its write unit, whether by PutItem or by PartiQL. 05 reads what 03 inserted, and deletes it.
    """
    source: dict[str, Counter] = {}  # stage -> source table -> read units
    for stage, refuse in (("01_analyze", False), ("03_migrate", True), ("04_validate", False)):
        before = scans(plan, refuse=refuse, shared=_shares(analysis))
        units = {name: about.read_units for name, about in analysis.sources.items()}
        source[stage] = Counter({name: number * (1 + before[name]) for name, number in units.items()})
        # What only references need is read too: tables of entries that were not chosen have the size that is described.
        for name in before.keys() - units.keys():
            source[stage][name] = before[name] * -(-plan.source_tables[name].size_bytes // READ_UNIT)
    reads: dict[str, Counter] = defaultdict(Counter)  # stage -> target table -> read units
    writes: dict[str, Counter] = defaultdict(Counter)
    sizes: Counter = Counter()
    for name, route in plan.routes.items():
        table, target = analysis.tables[name], route.entry.target
        state = analysis.targets[target]
        part = 1 - (table.already_there + table.different_there) / table.routed if table.routed else 1.0
        if state.exists and not state.empty:  # every key is looked up first
            reads["01_analyze"][target] += table.read_units
            reads["03_migrate"][target] += table.read_units
        writes["03_migrate"][target] += round(part * table.write_units)
        reads["04_validate"][target] += table.read_units
        sizes[target] += round(part * table.bytes)
        reads["05_rollback"][target] += round(part * table.read_units)
        writes["05_rollback"][target] += round(part * table.write_units)
    for target, size in sizes.items():  # 04 scans each target table for items that no entry makes
        held = plan.target_tables[target]
        reads["04_validate"][target] += -(-(size + (held.size_bytes if held else 0)) // READ_UNIT)
    stages = ("01_analyze", "03_migrate", "04_validate", "05_rollback")
    return {stage: _cost(plan, source.get(stage, Counter()), reads[stage], writes[stage]) for stage in stages}


def _shares(analysis: Analysis) -> bool:
    """Whether items share a target key."""
    return any(table.losers for table in analysis.tables.values())


def _readings(plan: Plan, analysis: Analysis) -> str:
    """Why the read units are more than those of one scan, where they are. Even for a few attributes items count whole."""
    before = max(scans(plan, refuse=True, shared=_shares(analysis)).values(), default=0)
    times = {1: "twice", 2: "three times"}.get(before, f"{before + 1} times")
    return f" (source tables are read up to {times}: before the first insert for keys or ids)" if before else ""


def _cost(plan: Plan, source: Counter, reads: Counter, writes: Counter) -> Cost:
    here, there = (_price_list()["regions"][_region(side.region)] for side in (plan.source, plan.target))
    paid = [(source[name], here["read"]) for name in source if plan.source_tables[name].billing == "PAY_PER_REQUEST"]
    provisioned = provisioned_writes(plan)
    paid += [(reads[name], there["read"]) for name in reads if name not in provisioned]
    paid += [(writes[name], there["write"]) for name in writes if name not in provisioned]
    usd = sum(units * price for units, price in paid) / 1e6
    return Cost(source.total() + reads.total(), writes.total(), usd)


def provisioned_writes(plan: Plan) -> dict[str, int]:
    """Target table with provisioned capacity → write units a second: the least of the table's and its indexes'."""
    found = {}
    for route in plan.routes.values():
        table, create = plan.target_tables[route.entry.target], route.entry.model.create
        if table is not None:
            units = table.write_capacity
        else:
            units = create.billing.write if create and create.billing != "PAY_PER_REQUEST" else None
        if units is not None:
            found[route.entry.target] = units
    return found


def _table_units(plan: Plan, analysis: Analysis) -> Counter:
    """Target table → its write units, those of its indexes apart: these take theirs at the same time."""
    units: Counter = Counter()
    for name, table in analysis.tables.items():
        units[plan.routes[name].entry.target] += table.table_units
    return units


def writing_of(plan: Plan, analysis: Analysis, trip: float) -> Writing:
    """The slowest of budgets, capacities and round trips. `trip`: seconds that one request takes."""
    budgets = plan.limiter.budgets.units
    rows = sum(table.routed for table in analysis.tables.values())
    found = [Writing(rows * trip / plan.parameters.limits.workers, "round trips")]
    if allowed := budgets.get((ALL, WRITE)):
        found.append(Writing(analysis.write_units / allowed, "limits.write_units"))
    provisioned = provisioned_writes(plan)
    for target, units in _table_units(plan, analysis).items():
        if target in provisioned:
            found.append(Writing(units / max(1, provisioned[target]), f"the write capacity of {target}"))
        else:
            found.append(Writing(units / ON_DEMAND_WRITES, f"what a new on-demand table takes, {target}"))
        if allowed := budgets.get((f"target {target}", WRITE)):
            found.append(Writing(units / allowed, f"limits.tables, {target}"))
    return max(found)


def cost_checks(plan: Plan, analysis: Analysis, writing: Writing) -> list[Check]:
    """Money, duration, and the capacity that provisioned tables have for it."""
    units, checks = _table_units(plan, analysis), []
    for target, capacity in sorted(provisioned_writes(plan).items()):
        seconds = units[target] / max(1, capacity)
        message = f"provisioned: no extra money, but {plural(round(seconds), 'second')} of all its write capacity"
        if long := seconds > SHORT:
            message += f" ({capacity:,} units a second)"
        action = (
            "Raise its capacity for the migration, or make it on-demand. Others who write to it would be throttled."
        )
        found = {"write_units": units[target], "seconds": round(seconds, 1)}
        checks.append(
            Check("target", target, "capacity", found, None, NOTE if long else "", action if long else "", message)
        )
    prices, total = analysis.prices, sum(cost.usd for cost in analysis.costs.values())
    migrate = analysis.costs["03_migrate"]
    message = (
        f"03 takes {plural(migrate.write_units, 'write unit')}, indexes included, and "
        f"{plural(migrate.read_units, 'read unit')}{_readings(plan, analysis)}: {money(migrate.usd)}; all stages {money(total)} "
        f"(list price of {prices.region}, {prices.date})"
    )
    if prices.unknown:
        message += f"; no price is known here for {', '.join(prices.unknown)}"
    checks.append(Check("", "", "cost", {s: round(c.usd, 6) for s, c in analysis.costs.items()}, None, "", "", message))
    message = (
        f"about {analysis.estimated_seconds:,.0f} seconds: {analysis.seconds:,.0f} to read, {writing.seconds:,.0f} to "
        f"write, bounded by {writing.reason}"
    )
    checks.append(Check("", "", "duration", round(analysis.estimated_seconds, 1), None, "", "", message))
    return checks


def money(usd: float) -> str:
    """`$12.30`, `under $0.01`."""
    return f"${usd:,.2f}" if usd >= 0.01 else "under $0.01" if usd else "$0.00"
