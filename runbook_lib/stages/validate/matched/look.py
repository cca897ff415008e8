"""Reads every matched item of the target again: is it there, with the values by which it was matched? Read-only."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from ....discover.renewed import Renewed, hashed
from ....mapping.ids import id_hash
from ....mapping.matching.ids import compile_target_id
from ....mapping.matching.values import compile_by
from ....mapping.walkers import LINK_BYTES
from ....run.spill import HashLog
from ....values import key_hash, text_of
from ....verdict import REVIEW, Alert, plural
from ....walk.plan import Plan

BATCH = 100  # items that are read at once
MAX_SHOWN = 1_000  # of those that are gone or changed, that are named
GONE, CHANGED = "match gone", "match changed"
_SAID = {
    GONE: ("gone from the target", "What refers to them dangles. Find out who deleted them; a new run matches anew."),
    CHANGED: (
        "changed in the target in the values by which they were matched, or in the id",
        "They may be other items now. Look whether what refers to them is right; a new run matches anew.",
    ),
}


@dataclass
class MatchedItems:
    """The matched items of the target."""

    checked: Counter = field(default_factory=Counter)  # entry -> items
    open: Counter = field(default_factory=Counter)  # entry, GONE or CHANGED -> items
    examples: list[tuple[str, dict, str]] = field(default_factory=list)  # entry, target key, GONE or CHANGED
    keys: dict[str, HashLog] = field(default_factory=lambda: defaultdict(HashLog))  # target table -> hashes

    def total(self, what: str) -> int:
        """How many items of all entries are GONE, or CHANGED."""
        return sum(number for (_, kind), number in self.open.items() if kind == what)

    def as_json(self) -> dict[str, int]:
        """The figures in the report."""
        return {"checked": self.checked.total(), "gone": self.total(GONE), "changed": self.total(CHANGED)}

    def alerts(self) -> list[Alert]:
        """The open items."""
        return [
            Alert(REVIEW, entry, f"{plural(number, 'matched item')} {_SAID[kind][0]}", _SAID[kind][1])
            for (entry, kind), number in sorted(self.open.items())
        ]


def look_at_matches(
    plan: Plan,
    parents: Collection[str],
    held: Mapping[str, HashLog],
    renewed: Renewed,
    on_page: Callable[[], object],
) -> MatchedItems | None:
    """What the target holds of the items that were matched; None where the plan has no matches. Reads the target.

    Of the chosen entries, of those that write to the same tables, and of the `parents`. `held`: entry → links of its items that
    are in the target; gets those of the matched items that are there. `renewed` gets their old ids. `on_page` is called now and
    then, and may raise.
    """
    if plan.matches is None:
        return None
    targets, found = set(plan.target_names()), MatchedItems()
    names = {
        name
        for name, route in plan.all_routes.items()
        if route.entry.model.reuses and (name in plan.routes or name in parents or route.entry.target in targets)
    }
    plan.meter.do("looking matched items up in the target")
    workers = plan.parameters.limits.workers
    with ThreadPoolExecutor(workers, thread_name_prefix="matches") as pool:
        batches = _batches(plan, names)
        while together := [*islice(batches, workers)]:
            items = pool.map(lambda batch: _items(plan, batch), together)
            for batch, there in zip(together, items, strict=True):
                _take(plan, found, batch, there, held, renewed)
            on_page()
    return found


def _batches(plan: Plan, names: Collection[str]) -> Iterator[list[dict[str, Any]]]:
    """Lines of the matches, up to BATCH of one entry at a time."""
    batch: list[dict[str, Any]] = []
    for line in plan.matches:
        if line["table"] not in names:
            continue
        if batch and (len(batch) == BATCH or batch[0]["table"] != line["table"]):
            yield batch
            batch = []
        batch.append(line)
    if batch:
        yield batch


def _items(plan: Plan, batch: list[dict[str, Any]]) -> list[dict | None]:
    target = plan.all_routes[batch[0]["table"]].entry.target
    if plan.target_tables[target] is None:
        return [None] * len(batch)
    return plan.target.wire.get_many(target, [line["target_key"] for line in batch])


def _take(
    plan: Plan,
    found: MatchedItems,
    batch: list[dict[str, Any]],
    there: list[dict | None],
    held: Mapping[str, HashLog],
    renewed: Renewed,
) -> None:
    name = batch[0]["table"]
    entry = plan.all_routes[name].entry
    by, id_of = compile_by(entry), compile_target_id(entry)
    found.checked[name] += len(batch)
    renewed.add(name, *hashed([text_of(line["id"]) for line in batch]))
    for line, item in zip(batch, there, strict=True):
        found.keys[entry.target].extend([key_hash(line["target_key"])])
        has_id = item is not None and id_of(item, line["id"]) == line["target_id"]
        if has_id:  # else what refers to it names nothing
            held[name].extend([id_hash(name, line["id"], LINK_BYTES)])
        is_same = has_id and by(item) == bytes.fromhex(line["by"])
        kind = GONE if item is None else None if is_same else CHANGED
        if kind:
            found.open[name, kind] += 1
            if len(found.examples) < MAX_SHOWN:
                found.examples.append((name, line["target_key"], kind))
