"""Reads what the target really holds, for the validation: items that the mapping does not produce, and referenced ids."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from ...mapping.model import Entry
from ...run.spill import HashLog, HashSet
from ...values import digest, is_empty, key_hash, text_of
from ...walk.plan import Plan
from ...walk.walk import Routed, walk


@dataclass(frozen=True)
class TargetSide:
    """The contents of the chosen entries' target tables."""

    held: dict[str, HashLog]  # referenced entry -> hashes of the ids in the target
    extra: dict[str, HashSet] = field(default_factory=dict)  # target table -> key hashes, where there are any
    keys: list[tuple[str, dict]] = field(default_factory=list)  # the first extra items: table, key
    others: dict[str, HashSet] = field(
        default_factory=dict
    )  # target table -> keys that entries produce there which are not chosen


def text_hash(text: str) -> bytes:
    """Identifies an id by its text, so that a reference of another type still finds it."""
    return key_hash({"id": {"S": text}})


def look_at_target(
    plan: Plan,
    expected: dict[str, HashLog],
    held: dict[str, HashLog],
    parents: set[str],
    shown: int,
    on_page: Callable[[], object],
) -> TargetSide:
    """What the target holds. Read-only.

    `expected`: target table → keys that the chosen entries produce. `held`: entry → ids of its items that were found equal.
    `parents`: the referenced entries, chosen or not. `shown`: how many extra items to name. `on_page` is
    called after each page of a target table, and may raise.
    """
    targets = {route.entry.target for route in plan.routes.values()}
    side = TargetSide({name: held.get(name) or HashLog() for name in parents})
    side.others.update(_others(plan, targets, side))
    known = {target: [expected[target].frozen(), *filter(None, [side.others.get(target)])] for target in targets}
    ids = {name: attribute for name in parents if (attribute := _id_attribute(plan.mapping.entries[name]))}
    for target in sorted(targets | {plan.mapping.entries[name].target for name in ids}):
        if (table := plan.target_tables[target]) is None:
            continue
        key_names, extra = [name for name, _ in table.key], HashLog()
        here = {name: attribute for name, attribute in ids.items() if plan.mapping.entries[name].target == target}
        attributes = sorted({*key_names, *here.values()})
        start = None
        while True:
            items, start = plan.target.wire.scan_page(target, start=start, attributes=attributes)
            for name, attribute in here.items():
                values = [item[attribute] for item in items if attribute in item]
                side.held[name].extend(
                    text_hash(text_of(value)) for value in values if next(iter(value)) in "SNB" and not is_empty(value)
                )
            for item in items if target in targets else ():
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


def _others(plan: Plan, targets: set[str], side: TargetSide) -> dict[str, HashSet]:
    """Target table → keys that entries produce there which are not chosen. Adds the ids of parents that no scan shows."""
    blind = {name for name in side.held if name not in plan.routes and not _id_attribute(plan.mapping.entries[name])}
    names = {
        name for name, route in plan.all_routes.items() if name not in plan.routes and route.entry.target in targets
    }
    keys: dict[str, HashLog] = defaultdict(HashLog)

    def collect(routed: Routed) -> None:
        for row in routed.rows:
            target = plan.all_routes[row.entry].entry.target
            keys[target].extend([key_hash(row.key)])
            if row.entry in blind and row.old is not None and plan.target_tables[target] is not None:
                item = plan.target.wire.get(target, row.key)
                if item is not None and digest(item) == row.digest:
                    side.held[row.entry].extend([text_hash(row.new_id)])

    if names | blind:
        walk(plan.choose(list(names | blind)), collect)
    return {target: log.frozen() for target, log in keys.items() if target in targets}


def _id_attribute(entry: Entry) -> str | None:
    """The attribute of the target that holds the entry's id, or None where the id is only part of a text, or is not stored."""
    model = entry.model
    if model.fields is None:
        return None if model.id in model.drop else model.id
    copied = [name for name, rule in model.fields.items() if rule.source and rule.source == model.id]
    if not copied and model.rest == "copy" and model.id not in (*model.drop, *model.fields):
        return model.id
    return copied[0] if copied else None
