"""Segments worked on by other processes: a few seconds at a time, wherever there is room.

The process that the user started, the driver, hands out one segment after the other and learns its position. Only the
driver writes the stage's own journal, shows progress, and takes requests to stop. A worker connects to both sides itself,
so each checks accounts and endpoints. It writes the segment's journal file and resumes from it, so the next worker finds
everything that a dead one did. Delivery is at least once, and the insert idempotent.
"""

import time
from collections import Counter
from contextlib import ExitStack
from ctypes import c_longlong
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from ...dynamo.rate_limiter import Budgets, Slowdown
from ...dynamo.requests import guarded
from ...errors import Interrupted, Refused, RunbookError
from ...journal.stage import Stage, created_tables
from ...journal.table_file import Position
from ...mapping.file.load import load_mapping
from ...parameters import build_parameters
from ...process import end_with_parent
from ...run.fingerprints import identity_of
from ...run.folder import Run
from ...run.locks import lease_file as lease_cell
from ...run.locks import locks
from ...run.matches import Matches
from ...run.spill import HashSet
from .. import control
from ..insert import Inserter
from ..plan import Expiry, Plan, open_plan, recall_new_tables
from ..preread import with_known
from ..progress import Meter
from ..walk import Segment, Winners, route_to_insert
from .shared_journal import Shared, WorkerFolder

SLICE = 3.0  # seconds that a worker stays with a segment before it reports
# Items of the segment at hand that are done, those of earlier executions and of the page under way included; 0 without one.
_items = c_longlong(0)


@dataclass(frozen=True)
class Job:
    """What all workers of one execution need to know. Plain data."""

    run_id: str
    folder: str
    stage: str
    execution: int
    parameters: dict[str, Any]
    chosen: list[str]
    was_empty: dict[str, bool]
    stop_on_failure: bool
    segments: dict[str, int]
    winners: Winners
    known: str | None  # file of the source's ids, where the mapping asks for them
    expiry: Expiry | None  # what `expired: skip` leaves out
    matches: tuple[str, str] | None  # file of the frozen matches and its SHA-256, where there are any
    identity: dict[str, Any]  # of mapping, environments and code: a worker with others does not touch anything
    sides: dict[str, dict[str, Any]]  # what the driver's credentials and settings lead to
    locks: dict[str, int]  # what it holds on its machine: once one is broken, no worker there writes
    machine: str
    holder: str | None  # holds the run: under another holder, or none, the worker starts nothing more
    shared: Shared | None = None  # where the journal lies, for workers that do not see the folder

    @property
    def name(self) -> tuple:
        """What distinguishes it from other jobs."""
        return self.folder, self.stage, self.execution, tuple(self.chosen), self.shared and self.shared.place


@dataclass(frozen=True)
class Slice:
    """What a worker did in its time."""

    done: bool
    counts: Counter = field(default_factory=Counter)
    slowed: list[str] = field(default_factory=list)  # tables that hold back, with the reason
    slowdowns: list[Slowdown] = field(default_factory=list)  # and for how long they did
    problem: tuple[type[RunbookError], str] | None = None  # kind and sentence, which survive pickle
    items: int = 0  # of the segment that are done by now, whoever did them, and also those that no entry selects

    def raise_problem(self) -> None:
        """Raises what the worker ran into."""
        if self.problem:
            kind, sentence = self.problem
            raise kind(sentence)


class Worker(Protocol):
    """A worker that does one thing at a time."""

    def advance(self, job: Job, table: str, number: int, budgets: Budgets) -> Slice:
        """What units.advance gives there. Raises WorkersLost where the worker died; the next call has another one."""

    def items(self) -> int:
        """What the slice would say of its items if it ended now; 0 where there is none, or nobody can know."""

    def close(self) -> None:
        """Ends the worker."""


def begin_process(items: c_longlong) -> None:
    """What a worker process of this machine does first. `items` is memory that it shares with its driver."""
    global _items
    _items = items
    end_with_parent()


class _Tally(Meter):
    """Counts where the driver can look."""

    def add(self, table: str, items: int) -> None:
        with self._lock:
            _items.value += items


def advance(job: Job, table: str, number: int, budgets: Budgets) -> Slice:
    """Works on one segment for SLICE seconds. Writes to the target and to the segment's journal.

    `budgets` are this worker's share of the run's.
    """
    counts: Counter = Counter()
    try:
        worker = _Worker.of(job)
        done = worker.advance(table, number, budgets, counts)
        limiter = worker.plan.limiter
        return Slice(done, counts, limiter.slowed(), limiter.take_slowdowns(), items=_items.value)
    except RunbookError as problem:
        _Worker.forget()
        return Slice(False, counts, problem=(type(problem), str(problem)), items=_items.value)
    except BaseException:
        _Worker.forget()
        raise
    finally:
        _items.value = 0  # the next slice may be another segment's


def sides_of(plan: Plan) -> dict[str, dict[str, Any]]:
    """Side → where it lies: region, endpoint and account (None where the endpoint has no STS), and its tables' identities.

    One address, such as localhost, may be another place on another machine.
    """
    return {
        label: {
            "region": side.region,
            "endpoint": side.endpoint_url,
            "account": side.account,
            "tables": tables,
        }
        for label, side, tables in (
            ("source", plan.source, {name: plan.source_tables[name].identity for name in plan.by_source()}),
            ("target", plan.target, plan.targets()),
        )
    }


class _Worker:
    """What this process keeps open for the job it works on."""

    _now: "_Worker | None" = None

    @classmethod
    def of(cls, job: Job) -> "_Worker":
        if cls._now is None or cls._now._job.name != job.name:
            cls.forget()
            cls._now = cls(job)
        return cls._now

    @classmethod
    def forget(cls) -> None:
        """Closes everything, so that the next slice starts from the state on disk."""
        if cls._now is not None:
            worker, cls._now = cls._now, None
            worker._insert.__exit__()
            worker._guards.close()

    def __init__(self, job: Job):
        self._job, self._guards = job, ExitStack()
        own = self._guards.enter_context(WorkerFolder(job.run_id, job.stage, job.shared)) if job.shared else None
        self._run = own.run if own else Run(job.run_id, Path(job.folder))
        self._stage = own.stage if own else Stage(self._run, job.stage)
        parameters = job.parameters | ({"mapping": str(own.mapping)} if own else {})
        recall_new_tables(created_tables(self._run))
        parameters = build_parameters(parameters)
        mapping = load_mapping(parameters)
        matches = own.matches() if own else job.matches and Matches(Path(job.matches[0]), job.matches[1])
        # Before anything of the mapping runs: its transforms are code.
        if (mine := self._stage.identity(identity_of(mapping, parameters, matches and matches.sha256))) != job.identity:
            other = next(key for key in mine if mine[key] != job.identity[key])
            raise Refused(
                f"a worker has a different {other} from the process that started it; use the same everywhere."
            )
        plan = open_plan(parameters, mapping=mapping, chosen=job.chosen, run_id=job.run_id)
        plan = replace(plan, meter=_Tally(plan.limiter))
        if matches is not None:
            plan = plan.with_matches(matches)
        if job.expiry:
            plan = plan.as_of(job.expiry)
        known = own.known() if own else job.known and HashSet.open(job.known)
        if known is not None:
            plan = with_known(plan, known)
        for label, mine in sides_of(plan).items():
            for what, value in mine.items():
                if what == "tables" and value != job.sides[label][what]:
                    raise Refused(
                        f"{label}: a worker finds other tables at {mine['endpoint']} than the process that started it; name "
                        "an endpoint that leads all of them to the same place."
                    )
                if value != (wanted := job.sides[label][what]) and not (what == "account" and None in (value, wanted)):
                    raise Refused(
                        f"{label}: a worker's {what} is {value}, but {wanted} in the process that started it; "
                        "give all of them the same AWS settings, or name it in the parameters."
                    )
        self.plan: Plan = plan
        plan.limiter.follow_waits(self._run.logger().warning, self._check)
        if own:
            self._guards.enter_context(guarded(own.check))
        if job.machine == lease_cell.machine():
            self._guards.enter_context(guarded(locks.follow(job.locks)))
        if plan.parameters.lease:
            self._guards.enter_context(guarded(lease_cell.follow(self._run)))
        self._counts: Counter = Counter()
        self._insert = Inserter(
            plan,
            self._stage,
            job.execution,
            job.was_empty,
            segments=job.segments,
            stop_on_failure=job.stop_on_failure,
            on_page=self._on_page,
        )
        self._positions: dict[tuple[str, int], Position] = {}

    def _on_page(self, table: str, counts: Counter) -> None:
        self._counts.update(counts)
        self._check()

    def _check(self) -> None:
        """Raises Interrupted where the driver was asked to stop, or is no longer there: a worker may outlive it."""
        if self._job.shared:  # there a slice ends soon, and the driver's fence ends its page
            return
        control.check(self._run)
        if self._run.holder() != self._job.holder:
            raise Interrupted(
                "the process that started this worker has ended, or the run's folder is mounted without locks."
            )

    def advance(self, table: str, number: int, budgets: Budgets, counts: Counter) -> bool:
        self.plan.limiter.allow(budgets)
        self._counts = counts
        segment = Segment(self.plan, table, number, self._job.segments[table], self._job.winners)
        # Another worker may have gone on with the segment since: where it is, its journal says.
        position = self._insert.take(table, number) or self._positions[table, number]
        _items.value = position.items
        self._check()  # holding the file: another process that opens it waits, and finds all that was done
        until = time.monotonic() + SLICE
        position = segment.walk(position, self._insert, lambda: time.monotonic() > until, route=route_to_insert)
        self._positions[table, number] = position
        self._insert.release(table, number)
        return position.done
