"""Looks at the target tables of a draft: which hold items, and what stands there in the attributes that may be natural keys.

Reads alone. What cannot be looked at is said, and stops nothing: the mapping is drafted from the source.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from ....discover.columns import as_columns
from ....dynamo import session, tables
from ....dynamo.structure.description import Table
from ....errors import DynamoError, Refused
from ....mapping.conditions import holds, read
from ....walk.plan import Plan
from .natural_keys import Held


@dataclass(frozen=True)
class Targets:
    """The target tables that hold items."""

    tables: Mapping[str, str] = field(default_factory=dict)  # source table → its target table
    unread: tuple[str, ...] = ()  # why others could not be looked at, one sentence each


class Wanted(NamedTuple):
    """What to look for in the target for one entry."""

    entry: str
    source: str  # the source table
    where: Mapping[str, Any]  # as in the mapping
    held: Mapping[str, Held]  # attribute → what the source holds there


def open_targets(plan: Plan, run_id: str = "") -> tuple[Plan, Targets]:
    """The plan with the target's connection, which cannot write; and the tables there that hold items. Read-only."""
    parameters, workers = plan.parameters, plan.parameters.limits.workers
    try:
        target = session.connect(parameters.target, "target", workers=workers, limiter=plan.limiter, run_id=run_id)
    except Refused as problem:
        return plan, Targets(unread=(str(problem),))
    wire = target.open_wire(workers=workers, limiter=plan.limiter, read_only=True)
    plan = replace(plan, target=replace(target, wire=wire))
    return plan, targets_at(plan)


def targets_at(plan: Plan) -> Targets:
    """The same on a target that is open."""
    found = {}
    try:
        for entry in plan.mapping.entries.values():
            table = tables.describe(plan.target, entry.target)
            if table and not _is_a_source(plan, entry.target, table) and not tables.is_empty(plan.target, entry.target):
                found[entry.source] = entry.target
    except (Refused, DynamoError) as problem:
        return Targets(unread=(str(problem),))
    return Targets(found)


def _is_a_source(plan: Plan, name: str, table: Table) -> bool:
    """Whether a target table is a table that is drafted; 01 refuses that."""
    same_place = plan.source.address == plan.target.address
    for source, other in plan.source_tables.items():
        same = other.is_same(table)
        if same or (same is None and same_place and source == name):
            return True
    return False


def look(
    plan: Plan,
    targets: Targets,
    wanted: Collection[Wanted],
    most: int | None,
    on_page: Callable[[str, Counter], None] | None,
) -> tuple[dict[str, dict[str, Held]], list[str]]:
    """Entry → attribute → what the target holds there; and why tables were not read, one sentence each. Read-only.

    Reads each table once, or at most `most` items of it. `on_page` is called after each page, and may raise.
    """
    found: dict[str, dict[str, Held]] = {}
    unread: list[str] = []
    by_table: dict[str, list[Wanted]] = defaultdict(list)
    for one in wanted:
        by_table[targets.tables[one.source]].append(one)
    for table, of_table in by_table.items():
        plan.meter.do(f"looking in {table} of the target for what the source has, too")
        own = {one.entry: defaultdict(Held) for one in of_table}
        try:
            for items in _pages(plan, table, of_table, most):
                _add(own, of_table, items)
                if on_page:
                    on_page(table, Counter(looked_at=len(items)))
        except DynamoError as problem:
            unread.append(str(problem))
        else:
            found |= own
    plan.meter.do("")
    return found, unread


def _add(own: Mapping[str, Mapping[str, Held]], of_table: list[Wanted], items: list[dict]) -> None:
    for one in of_table:
        columns = as_columns(filter(holds(_conditions(one)), items))
        for name in one.held.keys() & columns.keys():
            own[one.entry][name].add(columns[name])


def _conditions(one: Wanted) -> tuple:
    return tuple(read(path, wanted) for path, wanted in one.where.items())


def _pages(plan: Plan, table: str, of_table: list[Wanted], most: int | None) -> Iterator[list[dict]]:
    names = {condition.path[0] for one in of_table for condition in _conditions(one)}
    attributes = sorted(names.union(*(one.held for one in of_table)))
    start, left = None, most
    while True:
        items, start = plan.target.wire.scan_page(table, start=start, limit=left, attributes=attributes)
        yield items
        left = left and left - len(items)
        if start is None or left == 0:
            return
