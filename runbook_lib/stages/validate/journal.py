"""The journal of 04, from which an interrupted validation resumes: one record per page, written after the page was compared.

Every validation that starts from the beginning gets a folder of its own, `journal/validate`, `journal/validate-2`, …, and
removes the folders before it. Its form is the form of the other stages: `stage.jsonl` with the events execution and end,
and a file for each table and segment. Only the validation depends on it: a damaged journal is set aside, and the comparison
starts again.

compared   page, last, items, and the fields of compare.Compared: when, figures, the first differences, hashes in base64
again      of `stage.jsonl`: table, segment, skip: so many records of that file no longer count, they were too old
resumed    of `stage.jsonl`: an interrupted execution goes on; as in `execution`, machine, running: its `running_time`
"""

import re
import shutil
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import Any

from ...errors import Refused
from ...journal import log as journal
from ...journal.log import Log
from ...journal.stage import Stage
from ...journal.table_file import Position
from ...run.files import make_folder
from ...run.fingerprints import sources_fingerprint
from ...run.folder import Run, iso, now
from ...run.locks.lease_file import machine, running_time
from ...walk.plan import Plan
from ...walk.walk import Page
from .compare import Compared, Totals

STAGE, SET_ASIDE = "validate", "set-aside"
SLACK = 10  # seconds that a clock which is never set may lag behind
_FOLDER = re.compile(rf"{STAGE}(?:-(\d+))?")
_COMPARING = {  # files on which the records depend, in addition to the migration's code
    "comparison": "stages/validate/compare.py",
    "groups": "stages/validate/groups.py",
    "origins": "stages/validate/origins.py",
    "target scan": "stages/validate/target_scan.py",
    "renewed ids": "discover/renewed.py",
    "tokens": "discover/text/tokens.py",
    "validation journal": "stages/validate/journal.py",
    "journal index": "journal/lookup.py",
    "journal files": "journal/table_file.py",
    "spill": "run/spill.py",
}


class _SetBack(Exception):
    """The clock was set back since the validation began, so that nobody knows how old its comparisons are."""


class ValidationJournal:
    """One execution, open for appending. A `with` block; thread-safe as long as one worker owns a segment."""

    def __init__(
        self,
        stage: Stage,
        plan: Plan,
        segments: dict[str, int],
        positions: dict[tuple[str, int], Position],
        again: int = 0,
    ):
        """`positions`: (source table, segment) → where it stands, for the segments that were started. `again`: how many
        pages of earlier executions are compared once more."""
        self._stage, self._plan, self.segments, self.positions, self.again = stage, plan, segments, positions, again
        self._logs: dict[tuple[str, int], Log] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> "ValidationJournal":
        return self

    def __exit__(self, kind: type | None, problem: BaseException | None, trace: TracebackType | None) -> None:
        for log in self._logs.values():
            log.close()

    @property
    def pages(self) -> int:
        """The number of pages that earlier executions compared, and that are not compared again."""
        return sum(position.number for position in self.positions.values())

    def items(self) -> Counter:
        """Source table → items that earlier executions compared, and that are not compared again."""
        found: Counter = Counter()
        for (table, _), position in self.positions.items():
            found[table] += position.items
        return found

    def left(self) -> set[str]:
        """The source tables that are not compared to their ends."""
        done = Counter(table for (table, _), position in self.positions.items() if position.done)
        return {table for table, segments in self.segments.items() if done[table] < segments}

    def append(self, page: Page, compared: Compared) -> None:
        """Writes a page's record; it is on disk when this returns. Raises OSError."""
        log = self._log(page.table, page.segment)
        about = {"page": page.number, "last": page.last, "items": len(page.items)}
        log.append("compared", **about, **compared.as_record())

    def _log(self, table: str, segment: int) -> Log:
        with self._lock:
            if (table, segment) not in self._logs:
                entries = [route.entry.name for route in self._plan.by_source()[table]]
                log, _ = self._stage.open_log(self._plan.identity, table, entries, segment, self.segments[table])
                self._logs[table, segment] = log
            return self._logs[table, segment]


def go_on(run: Run, plan: Plan) -> tuple[ValidationJournal, Totals]:
    """The run's last validation with its totals so far, if it was interrupted and is the same; else a new one.

    The same means equal mapping, environments, program code, chosen entries, segments, and state of the migration. Writes
    to the run's folder; removes the journals of earlier validations.
    """
    number, again = _latest(run), 0
    if number:
        stage, totals = _stage(run, number), Totals()
        try:
            segments = _unfinished(stage, plan)
            positions, again = _read(stage, totals, plan.parameters.limits.stale) if segments else ({}, 0)
        except _SetBack:
            again = sum(sum(1 for _ in records) for _, _, records in _compared(stage))
            run.logger().warning("the validation starts again, because the clock was set back since it began")
        except (Refused, ValueError, KeyError, TypeError) as problem:
            run.logger().warning("the validation starts again, because its journal cannot be read: %s", problem)
            _set_aside(run, stage.folder)
        else:
            if segments:
                stage.record("resumed", machine=machine(), running=running_time())
                found = ValidationJournal(stage, plan, segments, positions, again)
                told = "%s resumes: %d pages were compared before; %d pages are compared again"
                run.logger().info(told, stage.name, found.pages, again)
                return found, totals
    stage = _stage(run, number + 1)
    segments = {table: plan.segments(table) for table in plan.by_source()}
    about = _identity(stage, plan)
    stage.record("execution", **about, segments=segments, machine=machine(), running=running_time())
    for old in _folders(run):
        if old < number + 1:
            shutil.rmtree(_stage(run, old).folder, ignore_errors=True)
    return ValidationJournal(stage, plan, segments, {}, again), Totals()


def end(run: Run) -> None:
    """Records that the last validation has ended and was reported, so the next one starts again. Writes to its journal."""
    if number := _latest(run, set_aside=False):
        _stage(run, number).record("end")


def last(run: Run) -> Stage:
    """The journal of the run's last validation, which may not exist."""
    return _stage(run, _latest(run, set_aside=False))


def state(run: Run) -> str | None:
    """The last validation's state: interrupted (or running) or complete; None without a readable one. Read-only."""
    try:
        found = None
        for event in last(run).events("execution", "end"):
            found = {"execution": "interrupted", "end": "complete"}[event["kind"]]
        return found
    except Refused:
        return None


def _unfinished(stage: Stage, plan: Plan) -> dict[str, int] | None:
    """Source table → segments of the execution, if it has not ended and fits the plan."""
    events = list(stage.events())
    if not events or events[-1]["kind"] == "end":
        return None
    begun = {key: value for key, value in events[0].items() if key not in ("kind", "at", "machine", "running")}
    segments, asked = begun.pop("segments"), plan.parameters.limits.segments
    if asked and any(number != asked for number in segments.values()):
        return None
    return segments if begun == _identity(stage, plan) else None


def _read(stage: Stage, totals: Totals, stale: float) -> tuple[dict[tuple[str, int], Position], int]:
    """The segments' positions, and how many pages are to be compared again; adds the others to the totals.

    A segment whose first page was compared more than `stale` minutes ago is walked again from its start, because either
    side may have changed since. The stage's event `again` says how many of its records no longer count. Writes it. Raises
    Damaged, Refused; _SetBack where a moment lies in the future, or before the one that was written before it, or where
    more time has passed on this machine than between two moments.
    """
    moment = now()
    begins = {}
    events = list(_in_order(stage.events(), "", iso(moment)))
    for event in events:
        passed = running_time() - event["running"] if event.get("machine") == machine() else 0
        if passed > _age(event, moment) + SLACK:
            raise _SetBack
        begins[event.get("table"), event.get("segment")] = event["at"]
    positions, pages = {}, 0
    for place, skip, found in _compared(stage):
        position, records = Position(), _in_order(found, begins.get(place, events[0]["at"]), iso(moment))
        if (first := next(records, None)) is not None and _age(first, moment) >= 60 * stale:
            stale_pages = 1 + sum(1 for _ in records)
            stage.record("again", table=place[0], segment=place[1], skip=skip + stale_pages)
            pages += stale_pages
        else:
            for record in chain([first] if first else [], records):
                totals.add(Compared.of_record(record))
                items = position.items + record["items"]
                position = Position(record["page"] + 1, record["last"], record["last"] is None, items)
        positions[place] = position
    return positions, pages


def _age(record: dict[str, Any], moment: datetime) -> float:
    """How many seconds before a moment a record was written, its own second whole."""
    return (moment - datetime.fromisoformat(record["at"])).total_seconds()


def _compared(stage: Stage) -> Iterator[tuple[tuple[str, int], int, Iterator[dict[str, Any]]]]:
    """(Source table, segment), how many of its records no longer count, and those that do."""
    skip = {(event["table"], event["segment"]): event["skip"] for event in stage.events("again")}
    for file in stage.read().files:
        place = (file.begin["table"], file.begin["segment"])
        yield place, skip.get(place, 0), islice(journal.records(file.path, "compared"), skip.get(place, 0), None)


def _in_order(records: Iterable[dict[str, Any]], since: str, until: str) -> Iterator[dict[str, Any]]:
    """The records. Raises _SetBack where one is earlier than the one before, than `since`, or later than `until`."""
    for record in records:
        if not since <= record["at"] <= until:
            raise _SetBack
        since = record["at"]
        yield record


def _identity(stage: Stage, plan: Plan) -> dict[str, Any]:
    """What an execution must have in common with the one it resumes."""
    migrated = stage.run.journal("migrate").glob("*.jsonl")
    return {
        **stage.identity(plan.identity),
        "comparing": sources_fingerprint(_COMPARING),
        "entries": list(plan.routes),
        "expiry": plan.expiry and plan.expiry.as_json(),
        "accepted": {name: sorted(route.entry.model.accept.differs) for name, route in plan.routes.items()},
        "migrated": sum(path.stat().st_size for path in migrated),
    }


def _stage(run: Run, number: int) -> Stage:
    return Stage(run, STAGE if number <= 1 else f"{STAGE}-{number}")


def _folders(run: Run, *, set_aside: bool = False) -> list[int]:
    places = [run.journal(STAGE).parent, *([run.folder / SET_ASIDE] if set_aside else [])]
    names = (path.name for place in places for path in place.glob(f"{STAGE}*"))
    return [int(match[1] or 1) for name in names if (match := _FOLDER.fullmatch(name))]


def _latest(run: Run, *, set_aside: bool = True) -> int:
    """The number of the last execution, or 0. A number is never used twice, because the audit chain names it."""
    return max(_folders(run, set_aside=set_aside), default=0)


def _set_aside(run: Run, folder: Path) -> None:
    make_folder(run.folder / SET_ASIDE)
    folder.replace(run.folder / SET_ASIDE / folder.name)
