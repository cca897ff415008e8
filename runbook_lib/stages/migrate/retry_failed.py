"""03 with `retry_failed`: reads the items that could not be written from the source again, and retries them.

Each item goes through its route again. A new intent in the same journal file replaces the failed row once its outcome is
written. After a crash in between, the rows are still failed, and the same command continues.
"""

from collections import Counter
from collections.abc import Iterator

from ...errors import DynamoError, Failed, Refused
from ...journal.intents import JournalRow
from ...journal.log import FAILED
from ...journal.snapshot import Snapshot
from ...journal.stage import Stage
from ...journal.table_file import TableFile
from ...run.folder import Run
from ...run.progress_file import WRITING
from ...values import key_text
from ...walk.insert import Inserter, Instead, OnPage
from ...walk.plan import Plan
from ...walk.walk import Page, Routed, Winners, route_items
from .. import expiry, matching, sealed
from ..execution import check_can_write, resumable
from .migrate import Migration, migration_of, ready_to_insert

BATCH = 100  # items of one intent
GONE = "the source item is gone"
ELSEWHERE = "another entry selects the source item now; a new run migrates it"

Wanted = list[tuple[JournalRow, Instead]]


def failed(run: Run, entries: list[str]) -> Counter:
    """Entry → items of the run's migration that could not be written. Read-only. Raises Damaged, Refused."""
    return _failed(Stage(run, "migrate").read(), entries)


def _failed(journal: Snapshot, entries: list[str]) -> Counter:
    tables = journal.state().tables
    return Counter({name: number for name in entries if (number := tables.get(name, Counter())["failed"])})


def retry_failed(run: Run, plan: Plan, on_page: OnPage | None = None, *, accept_drift: bool = False) -> Migration:
    """Retries the failed items of the plan's entries. Writes to the target and to the run's folder.

    Raises Refused (nothing written) and Interrupted (the same command resumes). Items that still cannot be written stay
    failed, and nothing is rolled back for them, whatever `limits.on_failure` says.
    """
    with run.saving(), Stage(run, "migrate") as stage:
        return _retry(stage, plan, on_page, accept_drift)


def _retry(stage: Stage, plan: Plan, on_page: OnPage | None, accept_drift: bool) -> Migration:
    run = stage.run
    if not stage.executions():
        raise Refused(f"run {run.id} has migrated nothing yet, so there is nothing to retry; migrate first.")
    plan = matching.frozen(run, plan, "03_migrate")
    before = check_can_write(run, stage, plan)
    plan.require_targets()
    plan = expiry.as_of(run, plan)
    before.check_complete()
    files = _wanted(before, set(plan.routes))
    if not files:
        sealed.accept(stage, accepted=accept_drift)
        return migration_of(stage, stage.checkpoint(), wrote_nothing=True)
    number = sum(len(rows) for _, rows in files)
    plan = plan.choose(sorted({row.entry for _, rows in files for row, _ in rows}))
    plan, winners, was_empty = ready_to_insert(stage, plan, accept_drift)
    stage.record("retry", items=number)
    run.logger().info("%s: retrying %d failed items", stage.name, number)
    failure = None
    try:
        with resumable(run):
            levels = plan.choose(list(plan.all_routes)).levels()  # parents first
            numbers: Counter = Counter()
            for file, rows in files:
                numbers[file.begin["table"]] += len(rows)
            plan.meter.begin(numbers)
            for file, rows in sorted(files, key=lambda one: (levels[one[0].begin["table"]], one[0].path)):
                _retry_file(stage, plan, file.begin, rows, was_empty, winners, on_page)
                numbers[file.begin["table"]] -= len(rows)
                if not numbers[file.begin["table"]]:
                    plan.meter.finish(file.begin["table"])
    except (Failed, DynamoError) as problem:
        failure = str(problem)
        run.logger().error("failed: %s", failure)
    left = _failed(stage.read(), list(plan.routes)).total()
    stage.record("retried", items=number, left=left)
    run.logger().info("%s: %d failed items retried, %d still failed", stage.name, number, left)
    return migration_of(stage, stage.checkpoint(), failure=failure)


def _wanted(journal: Snapshot, entries: set[str]) -> list[tuple[TableFile, Wanted]]:
    """The journal files with failed rows of these entries, and the rows."""
    found = [(file, list(_failed_rows(file, entries))) for file in journal.files if file.holding[FAILED]]
    return [one for one in found if one[1]]


def _failed_rows(file: TableFile, entries: set[str]) -> Iterator[tuple[JournalRow, Instead]]:
    for intent in file.intents(only=set(file.holding[FAILED])):
        for index, (row, letter) in enumerate(zip(intent.rows, intent.outcome or "", strict=False)):
            if letter == FAILED and row.entry in entries:
                yield row, Instead(row.entry, intent.n, FAILED, index)


def _retry_file(
    stage: Stage,
    plan: Plan,
    begin: dict,
    wanted: Wanted,
    was_empty: dict[str, bool],
    winners: Winners,
    on_page: OnPage | None,
) -> None:
    table = begin["table"]
    with Inserter(
        plan.choose(begin["entries"]),
        stage,
        stage.executions(),
        was_empty,
        segments={table: begin["segments"]},
        stop_on_failure=False,
    ) as insert:
        for at in range(0, len(wanted), BATCH):
            batch = wanted[at : at + BATCH]
            items = plan.source.wire.get_many(table, [row.source_key for row, _ in batch])
            page = Page(table, begin["segment"], 0, None, None, [item for item in items if item is not None])
            routed, still = _route(plan, page, [row for row, _ in batch], items, winners)
            counted = plan.meter.page(table, len(batch), WRITING)
            insert.again(routed, [instead for _, instead in batch], still, answered=counted.answered)
            counted.end()
            if on_page:
                on_page(table, Counter(scanned=len(batch)))


def _route(
    plan: Plan, page: Page, rows: list[JournalRow], items: list[dict | None], winners: Winners
) -> tuple[Routed, list[tuple[JournalRow, str]]]:
    """What the items' routes make of them now, and the rows that cannot be retried, with the reason. Pure."""
    routed, unrouted, still = Routed(page, Counter(), [], [], [], []), {}, []
    for row, item in zip(rows, items, strict=True):
        if item is None:
            still.append((row, GONE))
            continue
        route = plan.all_routes[row.entry]
        others = [r for r in plan.all_routes.values() if r.entry.source == page.table and r is not route]
        one = route_items(Page(page.table, page.segment, 0, None, None, [item]), [route], others, winners)
        if not one.scanned and not one.unrouted:
            still.append((row, ELSEWHERE))
            continue
        routed.scanned.update(one.scanned)
        routed.rows.extend(one.rows)
        routed.losers.extend(one.losers)
        routed.rejects.extend(reject._replace(stop=False) for reject in one.rejects)  # listed, without stopping a page
        routed.skipped.extend(one.skipped)
        routed.matched.extend(one.matched)
        unrouted |= {key_text(key): key for key in one.unrouted}
    routed.unrouted.extend(unrouted.values())
    return routed, still
