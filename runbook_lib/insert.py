"""The last step of 02 and 03: insert a page's rows, never overwriting, with the intent on disk before the first request."""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import NamedTuple

from . import relations
from .dynamo.wire import DynamoError
from .errors import Failed, Interrupted, Stopped
from .journal import ALREADY_THERE, CONFLICT, COUNTS, FAILED, INSERTED, UNROUTED, Log
from .plan import Plan
from .routes import Row
from .stage import Stage
from .values import digest, key_hash
from .walk import Routed

LOST_TABLE = {"ResourceNotFoundException", "AccessDeniedException"}
OnPage = Callable[[str, Counter], None]


class Instead(NamedTuple):
    """What an earlier intent of the same segment said of one item."""

    entry: str  # "" for an unrouted one
    n: int
    letter: str  # of journal: a row's outcome, LOSER, REJECT or UNROUTED
    index: int  # in the intent's list


class Inserter:
    """Inserts routed pages for one execution of a stage. Call it from any number of workers, one per segment."""

    def __init__(
        self,
        plan: Plan,
        stage: Stage,
        execution: int,
        was_empty: dict[str, bool],
        *,
        segments: dict[str, int] | None = None,
        stop_on_failure: bool = True,
        on_page: OnPage | None = None,
    ):
        """`was_empty` says per target table whether it held nothing when this execution began: its keys need no reading."""
        self._plan, self._stage, self._execution = plan, stage, execution
        self._was_empty, self._segments = was_empty, segments or {}
        self._stop_on_failure, self._on_page = stop_on_failure, on_page
        self._logs: dict[tuple[str, int], tuple[Log, dict[tuple[str, bytes], str]]] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(plan.parameters.limits.workers, thread_name_prefix="insert")

    def __enter__(self) -> "Inserter":
        return self

    def __exit__(self, *exception) -> None:
        self._pool.shutdown()
        for log, _ in self._logs.values():
            log.close()

    def __call__(self, routed: Routed) -> None:
        """Writes to the target: every row of the page that is absent there.

        Raises Interrupted where the journal or the endpoint gives out, Failed where an item cannot be written and the
        run is to stop for it, or a table is lost.
        """
        page = routed.page
        counts = self._settle(routed, page.number, page.start, page.last, [])
        if self._on_page:
            self._on_page(page.table, sum((Counter(c) for c in counts.values()), Counter()))

    def again(self, routed: Routed, instead: list[Instead]) -> None:
        """Writes to the target: rows of items that were looked at before, or that came later. Raises as a page does.

        `routed.page` names table and segment, no more. `instead` is what earlier intents of the same segment said of
        these items, and no longer holds when this has its outcome; until then it does.
        """
        self._settle(routed, None, None, None, instead)

    def _settle(
        self, routed: Routed, number: int | None, start: dict | None, last: dict | None, instead: list[Instead]
    ) -> dict[str, Counter]:
        """Intent, inserts, outcome; gives what that adds to the counts."""
        log, unknown = self._log(routed.page.table, routed.page.segment)
        try:
            there = self._read_there(routed.rows, unknown)
            present = [d is not None and unknown.get(_place(r)) != d for r, d in zip(routed.rows, there, strict=True)]
            n = log.number()
            log.append(
                "intent",
                n=n,
                execution=self._execution,
                page=number,
                start=start,
                rows=[_journal_row(row, p) for row, p in zip(routed.rows, present, strict=True)],
                losers=[_journal_row(row, False) for row in routed.losers],
                rejects=[[r.entry, r.source_key, r.attribute, r.reason] for r in routed.rejects],
                unrouted=routed.unrouted,
            )
            outcome, errors, lost = self._insert(routed.rows, there, present)
            counts = _count(routed, outcome)
            for one in instead:
                if one.letter != UNROUTED:
                    counts[one.entry].subtract({"scanned": 1, COUNTS[one.letter]: 1})
            log.append(
                "outcome",
                n=n,
                execution=self._execution,
                page=number,
                last=last,
                counts=counts,
                unrouted=len(routed.unrouted) - sum(one.letter == UNROUTED for one in instead),
                rows=outcome,
                errors=errors,
                **({"instead": [[one.n, one.letter, one.index] for one in instead]} if instead else {}),
            )
        except OSError as problem:
            raise Interrupted(f"the journal cannot be written: {problem.strerror}; make room and resume.") from problem
        for row in routed.rows if unknown else ():  # settled; what is left comes with the next page: it may be cut anew
            unknown.pop(_place(row), None)
        self._stop_where_needed(routed, outcome, errors, lost)
        return counts

    def _stop_where_needed(self, routed: Routed, outcome: str, errors: dict[str, str], lost: str | None) -> None:
        if lost:
            raise Failed(lost)
        for reject in routed.rejects:
            if reject.stop:
                raise Stopped(f"{reject.entry}: {reject.attribute}: {reject.reason} (`on_error: stop`)")
        if FAILED in outcome and self._stop_on_failure:
            index = outcome.index(FAILED)
            row = routed.rows[index]
            raise Failed(f"{row.entry}: {outcome.count(FAILED)} items cannot be written: {errors[str(index)]}.")

    def _log(self, table: str, segment: int) -> tuple[Log, dict[tuple[str, bytes], str]]:
        with self._lock:
            if (table, segment) not in self._logs:
                entries = [route.entry.name for route in self._plan.by_source()[table]]
                total = self._segments.get(table, 1)
                log = self._stage.open_log(self._plan, table, entries, segment, total)
                self._logs[table, segment] = (log, self._stage.open_keys(log.path))
            return self._logs[table, segment]

    def _read_there(self, rows: list[Row], unknown: dict[tuple[str, bytes], str]) -> list[str | None]:
        """Per row the digest of what the target holds under its key, read where it may hold something; else None."""
        by_table: dict[str, list[int]] = defaultdict(list)
        for index, row in enumerate(rows):
            target = self._target(row)
            if not self._was_empty[target] or _place(row) in unknown:
                by_table[target].append(index)
        found: list[str | None] = [None] * len(rows)
        for target, indexes in by_table.items():
            items = self._plan.target.wire.get_many(target, [rows[index].key for index in indexes])
            for index, item in zip(indexes, items, strict=True):
                found[index] = None if item is None else digest(item)
        return found

    def _target(self, row: Row) -> str:
        return self._plan.routes[row.entry].entry.target

    def _insert(
        self, rows: list[Row], there: list[str | None], present: list[bool]
    ) -> tuple[str, dict[str, str], str | None]:
        """One letter a row, the reasons of those that failed, and a sentence where a table is lost."""
        outcome: list[str] = [""] * len(rows)
        waiting = {}
        for index, row in enumerate(rows):
            if there[index] is None:
                waiting[self._pool.submit(self._put, row)] = index
            elif there[index] != row.digest:
                outcome[index] = CONFLICT
            else:  # equal; where it was absent when an earlier execution wrote its intent, it is ours
                outcome[index] = ALREADY_THERE if present[index] else INSERTED
        wait(waiting)
        errors, lost = {}, None
        for future, index in waiting.items():
            try:
                outcome[index] = future.result()
            except DynamoError as problem:
                outcome[index] = FAILED
                errors[str(index)] = f"{problem.code}: {problem.message}"
                if problem.code in LOST_TABLE:
                    lost = f"{rows[index].entry}: {self._target(rows[index])} is lost: {problem.code}."
        return "".join(outcome), errors, lost

    def _put(self, row: Row) -> str:
        partition_key = self._plan.routes[row.entry].shape.target_key[0][0]
        held = self._plan.target.wire.put_new(self._target(row), row.item, partition_key)
        # Refused although absent at intent, and equal: the reply to our own insert was lost.
        return INSERTED if held is None or digest(held) == row.digest else CONFLICT


def _place(row: Row) -> tuple[str, bytes]:
    """The item a row stands for: one key may be in the tables of several entries."""
    return row.entry, key_hash(row.key)


def _journal_row(row: Row, present: bool) -> list:
    return [
        row.entry,
        row.source_key,
        row.key,
        row.old_id,
        row.new_id,
        row.digest,
        present,
        relations.encode(row),
    ]


def _count(routed: Routed, outcome: str) -> dict[str, Counter]:
    counts: dict[str, Counter] = defaultdict(Counter)
    for entry, number in routed.scanned.items():
        counts[entry]["scanned"] = number
    for row, letter in zip(routed.rows, outcome, strict=True):
        counts[row.entry][COUNTS[letter]] += 1
    for row in routed.losers:
        counts[row.entry]["conflicts"] += 1
    for reject in routed.rejects:
        counts[reject.entry]["quarantined"] += 1
    for entry, numbers in counts.items():  # invariant 4
        total = sum(numbers.values()) - numbers["scanned"]
        assert numbers["scanned"] == total, f"{entry}: {numbers['scanned']} scanned, {total} accounted for"
    return counts
