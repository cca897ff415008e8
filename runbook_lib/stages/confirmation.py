"""What a stage is about to do, in words, for the person who confirms it.

The words have numbers where they are known: from the run's analysis, its journal, or DynamoDB's own counts, which are up to
six hours old.
"""

from collections.abc import Collection, Mapping

from ..journal.stage import Stage
from ..mapping.model import Entry
from ..parameters import Target
from ..run.folder import Run
from ..verdict import plural
from ..walk.plan import SKIP

_NOT_YET: Mapping[str, int] = {}


def place(target: Target) -> str:
    """The environment with what tells it apart from others: `live (production, eu-central-1)`."""
    notes = ["production"] if target.production else []
    notes += [target.region] if target.region else []
    return target.environment + (f" ({', '.join(notes)})" if notes else "")


def migrating(
    run: Run | None,
    entries: Collection[Entry],
    target: Target,
    counts: Mapping[str, int] = _NOT_YET,
    *,
    complete: bool = False,
    again: str = "",
) -> str:
    """What 03 would do. Read-only.

    `counts`: source table → DynamoDB's own count of its items. `again` is "retry_failed", "delta", "follow" or "".
    `run` is None where a new one would begin; `complete` says that it has nothing left to insert.
    """
    tables = plural(len({entry.target for entry in entries}), "table")
    where = f"{tables} of {place(target)}"
    if again == "retry_failed":
        return f"insert the items that failed before into {where}"
    if again == "delta":
        return f"insert added items and replace the copies of changed ones in {where}"
    if again == "follow":
        first = "" if complete else "insert the items that are missing, then "
        return f"{first}insert, replace and delete copies as the source changes in {where}, until it is stopped"
    if run and complete:
        return f"report run {run.id}, which is complete, and write nothing into {place(target)}"
    rest = "the rest of " if run and Stage(run, "migrate").exists() else ""
    return f"insert {rest}{_items(run, entries, counts)} into {where}"


def _items(run: Run | None, entries: Collection[Entry], counts: Mapping[str, int]) -> str:
    analysis = run.latest_json("migration-analysis") if run else None
    known = analysis["tables"] if analysis else {}
    if all(entry.name in known for entry in entries):
        return plural(sum(_to_insert(known[entry.name], entry) for entry in entries), "item")
    sources = {entry.source for entry in entries}
    if not sources <= counts.keys():
        return "the items"
    most = "at most " if any(entry.model.where for entry in entries) else ""
    return f"{most}about {plural(sum(counts[name] for name in sources), 'item')}"


def _to_insert(found: Mapping[str, int | None], entry: Entry) -> int:
    """How many items of an entry 03 would insert, by what its analysis `found`; each item counts once in it. Pure."""
    left = ["quarantined", "conflicts", "already_there", *(["expired"] if entry.model.expired == SKIP else [])]
    left += ["matched"] if entry.model.reuses else []
    return found["records"] - sum(found.get(name) or 0 for name in left)


def creating(missing: int | None) -> str:
    """What 02 would do first; "" where no table is missing. None: nobody has looked yet. Pure."""
    return "create the missing tables" if missing is None else f"create {plural(missing, 'table')}" if missing else ""


def testing(target: Target, missing: int | None, table: str, limit: int, *, keep: bool) -> str:
    """What 02 would do; with an empty `table` it only creates tables. Pure."""
    test = (
        f"insert {plural(limit, 'item')} of {table} with what {'it refers' if limit == 1 else 'they refer'} to"
        f"{'' if keep else ' and delete all of it again'}"
    )
    steps = [step for step in (creating(missing), table and test) if step]
    return f"{', '.join(steps) or 'create no table'} in {place(target)}"


def repairing(entries: Collection[Entry], target: Target) -> str:
    """What 04 would do with `repair`. Pure."""
    return f"insert what is missing into {plural(len({entry.target for entry in entries}), 'table')} of {place(target)}"
