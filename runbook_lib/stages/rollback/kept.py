"""What an undo left alone because it was edited, with what differs: names and types of attributes, never values.

The journal knows an inserted item by its digest alone. The source's item, routed once more, is that item again where its
digest is the journal's; then it can be set beside what the target holds.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from ...dynamo.items import Wire
from ...errors import Refused, RunbookError
from ...journal.checkpoint import Checkpoint
from ...journal.intents import JournalRow
from ...mapping.routes import Route, Row
from ...values import differences
from ...walk.plan import Plan, open_plan

LIMIT = 1_000  # items of which the differences are looked up
ATTRIBUTES = 50  # of an item that are named
BATCH = 100
REASON = "changed since it was inserted; left as it is"


def listed(checkpoint: Checkpoint, rows: list[JournalRow], target: Wire) -> list[dict[str, Any]]:
    """The lines of `kept.jsonl`: table (the entry), key (of the source), target_key, attribute, reason, differences.

    Reads source and target again, for the first LIMIT items. Raises nothing: the undo is done, and where a difference
    cannot be told, the reason says why.
    """
    lines = [_line(row) for row in rows]
    try:
        plan = open_plan(checkpoint.parameters, undo=True) if rows else None
    except Exception as problem:
        _unknown(checkpoint, lines, "the source cannot be read", problem)
        return lines
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
        _say(line, f"the first {LIMIT:,} items are looked at")
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
    line["reason"] = f"{REASON}. What differs is not known: {why.rstrip('.')}."


def _unknown(checkpoint: Checkpoint, lines: Iterable[dict[str, Any]], what: str, problem: Exception) -> None:
    # The text of other exceptions may quote a value.
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
            _say(line, _other(checkpoint, plan) or "its source item has changed, too")
        else:
            found_out = differences(inserted.item, there)[:ATTRIBUTES]
            line["attribute"] = ", ".join(name for name, _, _ in found_out)
            line["differences"] = [{"attribute": name, "was": was, "is": now} for name, was, now in found_out]


def _routes(plan: Plan, entry: str) -> list[Route]:
    """The entry's route; where it asks which ids the source held, one for each answer: which was right the digest tells."""
    if entry not in plan.all_routes:
        return []
    route = plan.all_routes[entry]
    if {rule.dangling for rule in route.entry.model.references.values()} & {"keep", "null"}:
        return [route, plan.with_exists(lambda parent, old: False).all_routes[entry]]
    return [route]


def _as_inserted(routes: list[Route], item: dict, row: JournalRow) -> Row | None:
    """What was inserted, where the source still gives it."""
    for route in routes:
        made = route.route(item)
        if isinstance(made, Row) and made.digest == row.digest:
            return made
    return None


def _other(checkpoint: Checkpoint, plan: Plan) -> str | None:
    try:
        checkpoint.stage_journal().check_identity(plan.identity)
    except Refused:
        return "the mapping, or the program, is another now"
    return None
