"""The last step of 02 and 03: insert a page's rows, never overwriting, with the intent on disk before the first request."""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ..dynamo.errors import MaybeOurs
from ..dynamo.items import Looked
from ..errors import DynamoError, Failed, Stopped
from ..journal.intents import JournalRow, encode_ids, matched_of, several_of, unreadable_of
from ..journal.log import ALREADY_THERE, CONFLICT, COUNTS, FAILED, INSERTED, UNROUTED, Log, unwritable
from ..journal.stage import Stage
from ..journal.table_file import Place, Position
from ..mapping.routes import Row
from ..run.progress_file import READING, WRITING
from ..values import digest, serialize
from ..verdict import plural
from .ledger import Ledgers
from .plan import Plan
from .walk import Routed, digests_there

OnPage = Callable[[str, Counter], None]
Answered = Callable[[int], object]  # hears of a request that was answered about how many rows it was


class Instead(NamedTuple):
    """What an earlier intent of the same segment said of one item."""

    entry: str  # "" for an unrouted one
    n: int
    letter: str  # of journal: a row's outcome, LOSER, REJECT, UNROUTED, EXPIRED or MATCHED
    index: int  # in the intent's list


class _OpenLog(NamedTuple):
    """A segment's journal file."""

    log: Log
    unknown: dict[
        Place, set[str]
    ]  # digests of rows of earlier pages that may have landed, and were not looked at since
    position: Position  # where the segment stood when the file was opened


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
        self._targets = {name: route.entry.target for name, route in plan.routes.items()}
        # Entries whose target was not empty: what it holds is read before a row is inserted.
        self._may_hold = {name for name, target in self._targets.items() if not was_empty.get(target)}
        self._ledgers = Ledgers(plan.routes.values())
        self._segments = segments or {}
        self._stop_on_failure, self._on_page = stop_on_failure, on_page
        self._logs: dict[tuple[str, int], _OpenLog] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> "Inserter":
        return self

    def __exit__(self, *exception) -> None:
        for opened in self._logs.values():
            opened.log.close()

    def __call__(self, routed: Routed) -> None:
        """Writes to the target: every row of the page that is absent there.

        Raises Interrupted where the journal or the endpoint fails, Failed where an item cannot be written and the
        run is to stop for it, or a table is lost.
        """
        page = routed.page
        items = self._plan.meter.page(page.table, len(page.items), WRITING)
        counts, _ = self._settle(routed, page.number, page.start, page.last, [], routed.rows, answered=items.answered)
        items.end(READING)
        if self._on_page:
            self._on_page(page.table, sum((Counter(c) for c in counts.values()), Counter()))

    def again(
        self,
        routed: Routed,
        instead: list[Instead],
        still: Sequence[tuple[JournalRow, str]] = (),
        first: Sequence[Row] = (),
        answered: Answered = lambda rows: None,
    ) -> str:
        """Writes to the target: rows of items that were looked at before, or that came later. Raises as a page does.

        Gives a letter for each row, what became of it.

        `routed.page` names table and segment, no more. `instead` is what earlier intents of the same segment said of
        these items, and no longer holds when this has its outcome; until then it does. `still` are rows of items that
        cannot be tried, with the reason: they are failed. `first` are those of the page's rows that no outcome counted
        yet as rows: the ledger takes no others. `answered` hears of each request how many rows it was about.
        """
        return self._settle(routed, None, None, None, instead, first, still, answered=answered)[1]

    def log(self, table: str, segment: int) -> Log:
        """The segment's journal file, for what else is to be recorded there between two pages."""
        return self._hold(table, segment).log

    def _settle(
        self,
        routed: Routed,
        number: int | None,
        start: dict | None,
        last: dict | None,
        instead: list[Instead],
        first: Sequence[Row],
        still: Sequence[tuple[JournalRow, str]] = (),
        *,
        answered: Answered,
    ) -> tuple[dict[str, Counter], str]:
        """Writes intent, inserts and outcome. Returns the additional counts (entry → counts), and a letter for each row."""
        log, unknown, _ = self._hold(routed.page.table, routed.page.segment)
        of_attributes = self._ledgers.record(routed.rows, first)  # now, while the items are in the processor's cache
        try:
            # An execution that died may have sent all but a few of a page: what is there counts as it is looked up.
            there = self._read_there(routed.rows, unknown, lambda keys, items: answered(items))
            ours = sent = [False] * len(there)
            if unknown:
                ours = [d in unknown.get(_place(r), ()) for r, d in zip(routed.rows, there, strict=True)]
                # Of an execution that died: its request may still be under way when the key is read.
                sent = [row.digest in unknown.get(_place(row), ()) for row in routed.rows]
            present = [d is not None and not mine for d, mine in zip(there, ours, strict=True)]
            self._plan.target.wire.check_guards()
            n = log.number()
            log.append(
                "intent",
                n=n,
                execution=self._execution,
                page=number,
                start=start,
                rows=[_journal_row(row, p) for row, p in zip(routed.rows, present, strict=True)]
                + [list(row._replace(present=True)) for row, _ in still],  # not sent: what may be there is not ours
                losers=[_journal_row(row, False) for row in routed.losers],
                rejects=[[r.entry, r.source_key, r.attribute, r.reason] for r in routed.rejects],
                unrouted=routed.unrouted,
                **unreadable_of(routed.rows),
                **several_of(routed.rows),
                **({"skipped": [[one.entry, one.source_key] for one in routed.skipped]} if routed.skipped else {}),
                **matched_of(routed.matched),
            )
            unsent: list[int] = []
            unanswered: list[int] = []
            try:
                outcome, errors, lost = self._insert(routed.rows, there, present, sent, unsent, unanswered, answered)
            finally:
                if unsent:  # so that another operator's equal items are not taken for ours when this is resumed
                    log.append("unsent", n=n, execution=self._execution, rows=unsent)
            counts = _count(routed, outcome)
            for row, reason in still:
                errors[str(len(outcome))] = reason
                outcome += FAILED
                counts[row.entry].update({"scanned": 1, COUNTS[FAILED]: 1})
            stale = [index for index, letter in enumerate(outcome) if letter == CONFLICT and ours[index]]
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
                **of_attributes,
                **self._single(routed.rows),
                **({} if number is None else {"items": len(routed.page.items)}),
                **({"instead": [[one.n, one.letter, one.index] for one in instead]} if instead else {}),
                **({"stale": stale} if stale else {}),
                **({"unanswered": unanswered} if unanswered else {}),
            )
        except OSError as problem:
            raise unwritable(problem) from problem
        for row in routed.rows if unknown else ():  # settled; what is left comes with the next page: it may be cut anew
            unknown.pop(_place(row), None)
        self._stop_where_needed(routed, outcome, errors, lost)
        return counts, outcome

    def _single(self, rows: list[Row]) -> dict[str, dict[str, str]]:
        """What an outcome says of entries whose rows went in single requests: why. {}, where all went in batches."""
        singly = self._plan.target.wire.singly
        found = {row.entry: why for row in rows if (why := singly.get(self._targets[row.entry]))} if singly else None
        return {"single": found} if found else {}

    def _stop_where_needed(self, routed: Routed, outcome: str, errors: dict[str, str], lost: str | None) -> None:
        if lost:
            raise Failed(lost)
        for reject in routed.rejects:
            if reject.stop:
                raise Stopped(f"{reject.entry}: {reject.attribute}: {reject.reason} (`on_error: stop`).")
        if FAILED in outcome and self._stop_on_failure:
            index = outcome.index(FAILED)
            row = routed.rows[index]
            raise Failed(
                f"{row.entry}: {plural(outcome.count(FAILED), 'item')} cannot be written: {errors[str(index)]}."
            )

    def _hold(self, table: str, segment: int) -> _OpenLog:
        with self._lock:
            if (table, segment) not in self._logs:
                entries = [route.entry.name for route in self._plan.by_source()[table]]
                total = self._segments.get(table, 1)
                log, file = self._stage.open_log(self._plan.identity, table, entries, segment, total)
                landed, position = (dict(file.maybe_landed), file.position) if file else ({}, Position())
                self._logs[table, segment] = _OpenLog(log, landed, position)
            return self._logs[table, segment]

    def take(self, table: str, segment: int) -> Position | None:
        """Locks the segment's journal file. Returns the segment's position, None if the file is unchanged since `release`.

        For workers that share a job. Raises Interrupted if another worker keeps the lock.
        """
        known = self._logs.get((table, segment))
        if known and known.log.take_again():
            return None
        if known:
            del self._logs[table, segment]
        return self._hold(table, segment).position

    def release(self, table: str, segment: int) -> None:
        """Lets go of the segment's journal file."""
        self._logs[table, segment].log.let_go()

    def _read_there(self, rows: list[Row], unknown: dict[Place, set[str]], answered: Looked) -> list[str | None]:
        """Per row the digest of what the target holds under its key, read where it may hold something; else None."""
        wanted = enumerate(rows) if unknown or self._may_hold else ()
        return digests_there(
            self._plan,
            rows,
            [index for index, row in wanted if row.entry in self._may_hold or (unknown and _place(row) in unknown)],
            answered,
        )

    def _insert(
        self,
        rows: list[Row],
        there: list[str | None],
        present: list[bool],
        sent: list[bool],
        unsent: list[int],
        unanswered: list[int],
        answered: Answered,
    ) -> tuple[str, dict[str, str], str | None]:
        """One letter a row, the reasons of those that failed, and a sentence where a table is lost or may not be written.

        `sent`: an earlier execution may have written this row. `unsent` gets the rows that a guard held back; then it raises.
        `unanswered` gets those of which no answer said that they are inserted: an equal item is there.
        """
        outcome: list[str] = [""] * len(rows)
        absent: dict[str, list[int]] = defaultdict(list)
        for index, (row, found) in enumerate(zip(rows, there, strict=True)):
            if found is None:
                absent[self._targets[row.entry]].append(index)
            elif found != row.digest:
                outcome[index] = CONFLICT
            else:  # equal; where it was absent when an earlier execution wrote its intent, it is ours
                outcome[index] = ALREADY_THERE if present[index] else INSERTED
                unanswered += [] if present[index] else [index]
        errors, lost = {}, None
        for target, found, index in self._write(rows, absent, unsent, answered):
            if found is None:
                outcome[index] = INSERTED
            elif isinstance(found, DynamoError):
                outcome[index] = FAILED
                errors[str(index)] = f"{found.code}: {found.message}"
                if found.not_found:
                    lost = f"{rows[index].entry}: {target} is lost: {found.code}."
                elif found.denied:
                    lost = f"{rows[index].entry}: {found}"
            elif digest(found) != rows[index].digest:
                outcome[index] = CONFLICT
            else:  # absent at intent, and now equal: ours only where an insert of this row may have landed unanswered
                ours = sent[index] or isinstance(found, MaybeOurs)
                outcome[index] = INSERTED if ours else ALREADY_THERE
                unanswered += [index] if ours else []
        return "".join(outcome), errors, lost

    def _write(
        self, rows: list[Row], absent: dict[str, list[int]], unsent: list[int], answered: Answered
    ) -> Iterator[tuple[str, dict | DynamoError | None, int]]:
        """(target table, what `insert_many` says, row number). Writes to the target; `unsent` as in `_insert`."""
        left = dict(absent)
        for target, indexes in absent.items():
            del left[target]
            held_back: list[int] = []
            route = self._plan.routes[rows[indexes[0]].entry]
            key_names = tuple(name for name, _ in route.shape.target_key)
            # Only of a number there are two spellings; the hash of its canonical form costs more.
            by_value = any(letter == "N" for _, letter in route.shape.target_key)
            try:
                found = self._plan.target.wire.insert_many(
                    target,
                    [rows[index].item for index in indexes],
                    key_names,
                    held_back,
                    keys=[rows[i].key_hash if by_value else serialize(rows[i].key) for i in indexes],
                    sizes=[len(rows[index].raw) for index in indexes],
                    values=[rows[index].values for index in indexes],
                    answered=answered,
                )
            except BaseException:
                unsent += [indexes[number] for number in held_back]
                unsent += [index for others in left.values() for index in others]
                raise
            for there, index in zip(found, indexes, strict=True):
                yield target, there, index


def _place(row: Row) -> tuple[str, bytes]:
    """The item a row stands for: one key may be in the tables of several entries."""
    return row.entry, row.key_hash


def _journal_row(row: Row, present: bool) -> list:
    return [
        row.entry,
        row.source_key,
        row.key,
        row.old_id,
        row.new_id,
        row.digest,
        present,
        encode_ids(row),
    ]


def _count(routed: Routed, outcome: str) -> dict[str, Counter]:
    counts: dict[str, Counter] = defaultdict(Counter)
    for entry, number in routed.scanned.items():
        counts[entry]["scanned"] = number
    for (entry, letter), number in Counter(zip([row.entry for row in routed.rows], outcome, strict=True)).items():
        counts[entry][COUNTS[letter]] += number
    for row in routed.losers:
        counts[row.entry]["conflicts"] += 1
    for reject in routed.rejects:
        counts[reject.entry]["quarantined"] += 1
    for one in routed.skipped:
        counts[one.entry]["expired"] += 1
    for one in routed.matched:
        counts[one.entry]["matched"] += 1
    for entry, numbers in counts.items():  # invariant 4
        total = sum(numbers.values()) - numbers["scanned"]
        assert numbers["scanned"] == total, f"{entry}: {numbers['scanned']} scanned, {total} accounted for"
    return counts
