"""Reads what the target really holds, for the validation: items that the mapping does not produce, and parents left out."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from ...mapping.ids import id_hash
from ...mapping.references import LINK_BYTES
from ...mapping.routes import Route
from ...run.spill import HashLog, HashSet
from ...values import key_hash
from ...walk.plan import Plan
from ...walk.preread import key_attributes_of, whole_rows
from ...walk.walk import Page, walk


@dataclass(frozen=True)
class TargetSide:
    """The contents of the chosen entries' target tables."""

    extra: dict[str, HashSet] = field(default_factory=dict)  # target table -> key hashes, where there are any
    keys: list[tuple[str, dict]] = field(default_factory=list)  # the first extra items: table, key
    others: dict[str, HashSet] = field(
        default_factory=dict
    )  # target table -> keys that entries produce there which are not chosen


def look_at_target(
    plan: Plan,
    expected: dict[str, HashLog],
    held: dict[str, HashLog],
    parents: set[str],
    shown: int,
    on_page: Callable[[], object],
) -> TargetSide:
    """What the target holds. Read-only.

    `expected`: target table → keys that the chosen entries produce. `held`: entry → links of its items that are in the
    target; gets those of the `parents` that are not chosen. `shown`: how many extra items to name. `on_page` is
    called after each page, and may raise.
    """
    targets = {route.entry.target for route in plan.routes.values()}
    side = TargetSide(others=_others(plan, targets, held, parents, on_page))
    known = {target: [expected[target].frozen(), *filter(None, [side.others.get(target)])] for target in targets}
    for target in sorted(targets):
        if (table := plan.target_tables[target]) is None:
            continue
        key_names, extra = [name for name, _ in table.key], HashLog()
        start = None
        while True:
            items, start = plan.target.wire.scan_page(target, start=start, attributes=sorted(key_names))
            for item in items:
                key = {name: item[name] for name in key_names}
                if not any(key_hash(key) in keys for keys in known[target]):
                    extra.extend([key_hash(key)])
                    if len(side.keys) < shown:
                        side.keys.append((target, key))
            on_page()
            if start is None:
                break
        if len(extra):
            side.extra[target] = extra.frozen()
    return side


class _Made(NamedTuple):
    """What an entry that is not chosen makes of a source item."""

    entry: str
    key: dict  # target key
    old: dict | None  # id of the source


def _others(
    plan: Plan, targets: set[str], held: dict[str, HashLog], parents: set[str], on_page: Callable[[], object]
) -> dict[str, HashSet]:
    """Target table → keys that entries produce there which are not chosen. Adds the links of parents that are there.

    Reads of the source no more than makes the keys, and of the target the items of those parents.
    """
    left_out = [
        name
        for name, route in plan.all_routes.items()
        if name not in plan.routes and (name in parents or route.entry.target in targets)
    ]
    others = plan.choose(left_out)
    keys: dict[str, HashLog] = defaultdict(HashLog)

    def make(page: Page, routes: list[Route], *_: object) -> list[_Made]:
        names = [name for name, _ in routes[0].shape.source_key]
        made, doubtful = [], []
        for item in page.items:
            for route in routes:
                if route.selects(item):
                    key = route.key_of(item)
                    if key is None:
                        doubtful.append({name: item[name] for name in names})
                    else:
                        made.append(_Made(route.entry.name, key, route.id_of(item)))
        return made + [_Made(row.entry, row.key, row.old) for row in whole_rows(others, page.table, doubtful)]

    def collect(made: list[_Made]) -> None:
        for target, of_target in _by_target(plan, made).items():
            if target in targets:
                keys[target].extend([key_hash(one.key) for one in of_target])
            asked = [one for one in of_target if one.entry in parents and one.old is not None]
            if not asked or plan.target_tables[target] is None:
                continue
            items = plan.target.wire.get_many(target, [one.key for one in asked])
            for one, item in zip(asked, items, strict=True):
                if item is not None:
                    held[one.entry].extend([id_hash(one.entry, one.old, LINK_BYTES)])
        on_page()

    if left_out:
        walk(others, collect, attributes=key_attributes_of(others), route=make)
    return {target: log.frozen() for target, log in keys.items()}


def _by_target(plan: Plan, made: list[_Made]) -> dict[str, list[_Made]]:
    found: dict[str, list[_Made]] = defaultdict(list)
    for one in made:
        found[plan.all_routes[one.entry].entry.target].append(one)
    return found
