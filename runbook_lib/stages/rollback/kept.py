"""The items that an undo kept because they were edited, with names and types of the attributes that differ, never values.

The journal knows an inserted item only by its digest. So the source's item is routed once more: if its digest is the
journal's, it is the inserted item, and can be compared with the target's.
"""

from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from ...dynamo.items import Wire
from ...errors import Refused, RunbookError
from ...journal.checkpoint import Checkpoint
from ...journal.intents import JournalRow
from ...mapping.routes import Route, Row
from ...values import differences
from ...walk.plan import Plan, open_plan
from .. import matching
from ..execution import AUDITED

LIMIT = 1_000  # items whose differences are looked up
ATTRIBUTES = 50  # of an item that are named
BATCH = 100
REASON = "changed since it was inserted; left as it is"


def listed(checkpoint: Checkpoint, rows: list[JournalRow], target: Wire) -> list[dict[str, Any]]:
    """The lines of `kept.jsonl`: table (the entry), key (of the source), target_key, attribute, reason, differences.

    Reads source and target again, for the first LIMIT items. Raises nothing, because the undo is already done: where the
    differences are unknown, the reason says why.
    """
    lines = [_line(row) for row in rows]
    try:
        plan = open_plan(checkpoint.parameters, undo=True, run_id=checkpoint.run.id) if rows else None
    except Exception as problem:
        _unknown(checkpoint, lines, "the source cannot be read", problem)
        return lines
    with suppress(RunbookError, OSError):  # without them fewer rows are as they were inserted
        plan = plan and matching.frozen(checkpoint.run, plan, AUDITED[checkpoint.stage])
    by_entry: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows[:LIMIT]):
        by_entry[row.entry].append(index)
    for entry, indexes in by_entry.items():
        for at in range(0, len(indexes), BATCH):
            batch = [(rows[index], lines[index]) for index in indexes[at : at + BATCH]]
            try:
                _compare(checkpoint, plan, target, batch)
            except Exception as problem:
                _unknown(checkpoint, [line for _, line in batch], f"{entry} cannot be read", problem)
    for line in lines[LIMIT:]:
        _say(line, f"only the first {LIMIT:,} items are compared")
    return lines


def _line(row: JournalRow) -> dict[str, Any]:
    return {
        "table": row.entry,
        "key": row.source_key,
        "target_key": row.key,
        "attribute": "",
        "reason": REASON,
        "differences": [],
    }


def _say(line: dict[str, Any], why: str) -> None:
    line["reason"] = f"{REASON}. The differences are unknown: {why.rstrip('.')}."


def _unknown(checkpoint: Checkpoint, lines: Iterable[dict[str, Any]], what: str, problem: Exception) -> None:
    # Texts of other exceptions may quote a value.
    why = f"{what}: {problem if isinstance(problem, RunbookError) else type(problem).__name__}"
    checkpoint.run.logger().warning("kept items are listed without what differs: %s", why)
    for line in lines:
        if not line["differences"]:
            _say(line, why)


def _compare(checkpoint: Checkpoint, plan: Plan, target: Wire, batch: list[tuple[JournalRow, dict[str, Any]]]) -> None:
    """Fills the lines of items of one entry."""
    entry = batch[0][0].entry
    routes, about = _routes(plan, entry), checkpoint.entries[entry]
    items = plan.source.wire.get_many(about["source"], [row.source_key for row, _ in batch])
    found = target.get_many(about["target"], [row.key for row, _ in batch])
    for (row, line), item, there in zip(batch, items, found, strict=True):
        inserted = item and _as_inserted(routes, item, row)
        if there is None:
            _say(line, "it was deleted meanwhile")
        elif item is None:
            _say(line, "its source item is gone")
        elif inserted is None:
            _say(line, _other(checkpoint, plan, entry) or "its source item has changed, too")
        else:
            found_out = differences(inserted.item, there)[:ATTRIBUTES]
            line["attribute"] = ", ".join(name for name, _, _ in found_out)
            line["differences"] = [{"attribute": name, "was": was, "is": now} for name, was, now in found_out]


def _routes(plan: Plan, entry: str) -> list[Route]:
    """The entry's route. Where it asks which ids exist, one route per answer: the digest decides which one was used."""
    if entry not in plan.all_routes:
        return []
    route = plan.all_routes[entry]
    if route.entry.asking():
        return [route, plan.with_exists(lambda parent, old: False).all_routes[entry]]
    return [route]


def _as_inserted(routes: list[Route], item: dict, row: JournalRow) -> Row | None:
    """The row that was inserted, if the source still produces it."""
    for route in routes:
        made = route.route(item)
        if isinstance(made, Row) and made.digest == row.digest:
            return made
    return None


def _other(checkpoint: Checkpoint, plan: Plan, entry: str) -> str | None:
    try:
        stage = checkpoint.stage_journal()
        stage.check_identity(matching.identity_then(stage, plan.mapping, plan.parameters))
    except Refused:
        return "the mapping or the program has changed"
    known = plan.mapping.entries.get(entry)
    return f"a rollback does not run {known.model.transform}" if known and known.model.transform else None
