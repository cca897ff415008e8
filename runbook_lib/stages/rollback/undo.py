"""05_rollback: undo what a stage inserted, and nothing else.

It deletes an item only if the journal says that this run inserted it, the stored item equals the inserted one, and the
delete's own condition still holds. An item that was edited since stays and is listed.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

from ...dynamo import session, tables
from ...dynamo.items import Wire
from ...dynamo.rate_limiter import RateLimiter
from ...dynamo.session import Connection
from ...errors import ConditionFailed, DynamoError, Interrupted
from ...journal.checkpoint import Checkpoint
from ...journal.intents import Intent, JournalRow
from ...journal.log import (
    ALREADY_THERE,
    CONFLICT,
    DELETED,
    INSERTED,
    KEPT_EDITED,
    MADE_ROOM,
    NEVER_WRITTEN,
    NOT_FOUND,
    Log,
)
from ...journal.snapshot import Snapshot
from ...journal.stage import Stage
from ...journal.table_file import TableFile, place_of
from ...parameters import Parameters
from ...run.progress_file import UNDOING
from ...values import SCALARS, digest
from ...walk.plan import budgets_of
from ...walk.progress import Meter
from ...walk.workers.shared_journal import settle
from .kept import listed

BATCH = 100
EXPRESSION_BYTES = 3_500  # of the 4 KB that DynamoDB accepts; each condition takes a name and a value placeholder
MAX_CONDITION_VALUE = 1_000


@dataclass(frozen=True)
class Undone:
    """What an undo did: counts of the stage across its executions, and the items it left alone."""

    deleted: int
    kept_edited: int
    not_found: int
    kept: list[dict]  # the lines of kept.jsonl: see kept.py
    already_there: int = 0  # items of others, left alone: those equal to ours from before,
    conflicts: int = 0  # and those different from ours under the same key
    journal: Snapshot | None = None  # the stage's journal after it
    unanswered: int = 0  # of the deleted: no answer had said that this run inserted them; they were equal
    made_again: tuple[str, ...] = ()  # target tables that were deleted, and others made under their names: left alone

    def others(self) -> str:
        """The items of others that were left alone, as a phrase; "" without any."""
        equal = f"{self.already_there:,} equal to ours, there before" if self.already_there else ""
        other = (
            f"{self.conflicts:,} different from ours under the same key (see conflicts.jsonl)" if self.conflicts else ""
        )
        return ", ".join(filter(None, (equal, other)))


class Preview(NamedTuple):
    """What an undo would look at."""

    entries: dict[str, int]  # entry -> items that this stage inserted and no rollback has undone
    unknown: dict[str, int]  # entry -> rows of intents without an outcome: the undo looks them up
    changed: Sequence[str] = ()  # accepted: what is not as it was left in the run's folder, as sentences


def preview(journal: Snapshot) -> Preview:
    """What an undo would look at, from the stage's journal alone. Read-only."""
    entries, unknown = Counter(), Counter()
    for file in journal.files:
        entries.update(file.standing.entries)
        unknown.update(file.unknown())
    return Preview(dict(+entries), dict(+unknown))


def undo(
    checkpoint: Checkpoint,
    target: Connection | None = None,
    *,
    known: Snapshot | None = None,
    execution: int | None = None,
    on_page: Callable[[str, Counter], None] | None = None,
    made_again: tuple[str, ...] | None = None,
    meter: Meter | None = None,
) -> Undone:
    """Deletes what the stage (or one execution of it) inserted. Writes to the target and to the stage's journal.

    Children go before parents. Without `target` it connects with `target.rollback_role_arn`. Resumable: it does not touch undone
    items again, and looks at kept items again. It reads the source only to list what differs in kept items; nothing else
    depends on that. `known` is an earlier reading of the stage's journal; `made_again` what `identities` says.
    `meter` counts the items, entry by entry.
    """
    stage = checkpoint.stage_journal()
    parameters = checkpoint.parameters
    target = target or connect(parameters, limiter_of(checkpoint), stage.run.id)
    with stage.run.saving(), stage:
        stage.read(known)
        others = identities(target, stage, stage.targets())[1] if made_again is None else made_again
        kept = _undo(checkpoint, stage, target, others, execution, on_page, meter or Meter())
        lines = listed(checkpoint, kept, target.wire)
    after = stage.read()
    counts, letters = after.state(execution).undone, after.letters(execution)
    return Undone(
        counts[DELETED],
        counts[KEPT_EDITED],
        counts[NOT_FOUND],
        lines,
        letters[ALREADY_THERE],
        letters[CONFLICT],
        after,
        counts["unanswered"],
        others,
    )


def identities(target: Connection, stage: Stage, names: Iterable[str]) -> tuple[dict[str, str | None], tuple[str, ...]]:
    """Target tables → their identities now, as far as they are known, and those that are not the ones that the stage wrote into.

    Read-only.
    """
    there = tables.identities(target, names)
    others = (name for name, written in stage.targets().items() if there.get(name) and there[name] not in written)
    return there, tuple(others)


def connect(parameters: Parameters, limiter: RateLimiter, run_id: str) -> Connection:
    """The target, opened for the run with the rollback role where one is given. Read-only. Raises Refused."""
    workers, side = parameters.limits.workers, parameters.target
    role = side.rollback_role_arn
    return session.connect(side, "target", workers=workers, limiter=limiter, role_arn=role, run_id=run_id)


def limiter_of(checkpoint: Checkpoint) -> RateLimiter:
    """The rate limiter of an undo, with the budgets and the patience of the checkpoint's parameters."""
    tables = {name: (about["source"], about["target"]) for name, about in checkpoint.entries.items()}
    limits = checkpoint.parameters.limits
    return RateLimiter(budgets_of(limits, tables), patience=60 * limits.patience)


def _undo(
    checkpoint: Checkpoint,
    stage: Stage,
    target: Connection,
    others: Collection[str],
    execution: int | None,
    on_page: Callable[[str, Counter], None] | None,
    meter: Meter,
) -> list[JournalRow]:
    """Undoes; returns the rows that were kept."""
    settle(stage)
    before = stage.read()  # every file to its end: damage is found before the first delete
    before.check_complete()
    left, state = _to_undo(before.files), before.state()
    done = {name: counts["inserted"] - left[name] for name, counts in state.tables.items() if state.rolling_back}
    if execution is None:
        stage.record("rollback")
    meter.begin(left + Counter(done), UNDOING, earlier=+Counter(done), execution=len(before.events("rollback")) + 1)
    kept: list[JournalRow] = []
    levels = {about["source"]: about["level"] for about in checkpoint.entries.values()}
    with ThreadPoolExecutor(checkpoint.parameters.limits.workers, thread_name_prefix="undo") as pool:
        for file in sorted(before.files, key=lambda one: (-levels[one.begin["table"]], one.begin["table"], one.path)):
            table = file.begin["table"]
            log, file = stage.hold(file)
            try:
                undo_file = _UndoFile(checkpoint, target.wire, pool, log, kept, others, meter)
                for intent, indexes in _candidates(file, file.intents(file=log.reader()), execution):
                    for at in range(0, len(indexes), BATCH):
                        counts = undo_file.batch(intent, indexes[at : at + BATCH])
                        if on_page:
                            on_page(table, counts)
            finally:
                log.close()
            left -= _to_undo([file])
            for entry in file.begin["entries"]:
                if not left[entry]:
                    meter.finish(entry)
    if execution is None:
        stage.record("rolled_back")
    return kept


def _to_undo(files: Iterable[TableFile]) -> Counter:
    """Entry → items of these journal files that an undo looks at."""
    return sum((file.standing.entries + file.unknown() for file in files), Counter())


def _candidates(
    file: TableFile, intents: Iterable[Intent], execution: int | None
) -> Iterator[tuple[Intent, list[int]]]:
    """Intents with the indexes of their rows that are, or may be, ours and still in the target. `intents` are all of the file."""
    claimed = file.standing.claimed if file.cut_off else ()
    given: set[tuple[str, bytes, str]] = set()  # by an open intent: a page open twice holds its rows twice
    for intent in intents:
        if execution not in (None, intent.execution):
            continue
        indexes = []
        for index, row in enumerate(intent.rows):
            if intent.outcome is None:
                place = place_of(row)
                ours = not row.present and place not in claimed and (*place, row.digest) not in given
                if ours and intent.undone.get(index) != MADE_ROOM:
                    given.add((*place, row.digest))
            else:
                ours = intent.outcome[index] == INSERTED
            if ours and intent.undone.get(index, KEPT_EDITED) == KEPT_EDITED:
                indexes.append(index)
        if indexes:
            yield intent, indexes


class _UndoFile:
    """Undoes batches of one journal file."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        wire: Wire,
        pool: ThreadPoolExecutor,
        log: Log,
        kept: list[JournalRow],
        others: Collection[str],
        meter: Meter,
    ):
        self._meter = meter
        self._entries, self._workers = checkpoint.entries, checkpoint.parameters.limits.workers
        self._wire, self._pool, self._log, self._kept, self._others = wire, pool, log, kept, others

    def batch(self, intent: Intent, indexes: list[int]) -> Counter:
        """Reads the rows' items and deletes those that are ours and unchanged. Returns counts by state."""
        there: dict[int, dict | None] = {}
        by_table: dict[str, list[int]] = defaultdict(list)
        for entry in {intent.rows[index].entry for index in indexes}:
            self._meter.move(entry)
        for index in indexes:
            by_table[self._table(intent.rows[index])].append(index)
        for table, places in by_table.items():
            items = self._look(table, [intent.rows[index].key for index in places])
            there |= dict(zip(places, items, strict=True))
        mine = {index: item for index, item in there.items() if _is_as_inserted(item, intent.rows[index])}
        if mine:
            self._wire.check_guards()
            self._log.append("undo", n=intent.n, execution=intent.execution, rows=list(mine))
        states = {index: _without_delete(intent, index, item) for index, item in there.items() if index not in mine}
        for index in states:
            self._meter.add(intent.rows[index].entry, 1)
        states = dict(sorted((states | self._delete(intent.rows, mine)).items()))
        counts = Counter(states.values())
        # An item that was kept before is already counted.
        counts.subtract(Counter(intent.undone[index] for index in indexes if index in intent.undone))
        deleted = [index for index, state in states.items() if state == DELETED]
        unanswered = sum(intent.outcome is None or index in intent.unanswered for index in deleted)
        more = {"unanswered": unanswered} if unanswered else {}
        rows = {str(index): state for index, state in states.items()}
        self._log.append("undone", n=intent.n, execution=intent.execution, rows=rows, counts={**counts, **more})
        for index, state in states.items():
            if state == KEPT_EDITED:
                self._kept.append(intent.rows[index])
        return counts

    def _look(self, table: str, keys: list[dict]) -> list[dict | None]:
        """The stored items. A deleted table has none; if all tables are missing, this is the wrong place: Interrupted."""
        if table in self._others:
            return [None] * len(keys)
        try:
            return self._wire.get_many(table, keys)
        except DynamoError as problem:
            if not problem.not_found:
                raise
        if not any(self._exists(name) for name in {about["target"] for about in self._entries.values()}):
            raise Interrupted("none of the target tables exists here; check region and endpoint.")
        return [None] * len(keys)

    def _exists(self, table: str) -> bool:
        try:
            self._wire.call("DescribeTable", {"TableName": table})
        except DynamoError as problem:
            if not problem.not_found:
                raise
            return False
        return True

    def _table(self, row: JournalRow) -> str:
        return self._entries[row.entry]["target"]

    def _delete(self, rows: list[JournalRow], items: dict[int, dict]) -> dict[int, str]:
        """The states of items that are still as inserted. After one delete has raised, no further delete starts."""
        left = iter(items.items())  # threads take the next item atomically; emptying it ends all of them
        states: dict[int, str] = {}

        def work(_: int) -> None:
            try:
                for index, item in left:
                    row = rows[index]
                    deleted = delete_unchanged(self._wire, self._table(row), row, item)
                    states[index] = DELETED if deleted else KEPT_EDITED
                    self._meter.add(row.entry, 1)
            finally:
                deque(left, maxlen=0)

        try:
            list(self._pool.map(work, range(min(self._workers, len(items)))))
        finally:
            deque(left, maxlen=0)
        return states


def _without_delete(intent: Intent, index: int, item: dict | None) -> str:
    """The state of an item that is not deleted: gone, or edited."""
    if item is not None:
        return KEPT_EDITED
    # An earlier attempt announced its delete when it existed, and it is absent now: that delete arrived.
    if index in intent.undoing and index not in intent.undone:
        return DELETED
    return NEVER_WRITTEN if intent.outcome is None else NOT_FOUND


def delete_unchanged(wire: Wire, table: str, row: JournalRow, item: dict) -> bool:
    """Whether the item, last seen as the row was inserted, was deleted. If not, somebody edited it, and it is still there.

    Writes to the table.
    """
    try:
        old = wire.delete_if(table, row.key, _conditions(item, row.key))
    except ConditionFailed:
        return False
    if old not in (None, item) and not _is_as_inserted(old, row):  # edited beyond the condition
        wire.put_new(table, old, next(iter(row.key)), guarded=False)
        return False
    return True


def _is_as_inserted(item: dict | None, row: JournalRow) -> bool:
    return item is not None and digest(item) == row.digest


def _conditions(item: dict, key: dict) -> list[tuple[str, dict]]:
    """The key and as many unchanged scalar attributes as fit into an expression."""
    conditions = [(name, item[name]) for name in key]
    length = 32 * len(conditions)
    for name, value in sorted(item.items()):
        ((letter, content),) = value.items()
        fits = letter in ("BOOL", "NULL") or (letter in SCALARS and len(content) <= MAX_CONDITION_VALUE)
        if name not in key and fits and length < EXPRESSION_BYTES:
            conditions.append((name, value))
            length += 32
    return conditions
