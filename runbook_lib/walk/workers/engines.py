"""Where a migration's segments are worked on: threads of this process, processes of this machine, or a Dask cluster."""

import os
import queue
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool, ProcessPoolExecutor
from contextlib import ExitStack
from ctypes import c_longlong
from multiprocessing import get_context

from ...dynamo.rate_limiter import Budgets
from ...errors import Stuck, WorkersLost
from ...journal.stage import Stage
from ...journal.table_file import Position
from ...mapping.routes import Route
from ...run.files import Unfinished
from ...run.locks import locks
from ...run.locks.lease_file import machine
from ..insert import Inserter, OnPage
from ..plan import Plan
from ..progress import SegmentCount
from ..walk import Segment, Winners, in_order, route_to_insert, segments_of, walk
from .shared_journal import SharedJournal
from .worker import Job, Slice, Worker, advance, begin_process, sides_of

PROCESSES_FROM = 2_000_000_000  # bytes of source tables from which more processes are worth their start
STRIKES = 3  # workers that a segment may lose one after the other


def insert(
    plan: Plan,
    stage: Stage,
    execution: int,
    was_empty: dict[str, bool],
    *,
    winners: Winners,
    segments: dict[str, int],
    resume: dict[tuple[str, int], Position],
    stop_on_failure: bool,
    on_page: OnPage | None,
) -> None:
    """Walks the plan's source tables with insert as the last step. Writes to the target and to the stage's journal.

    Raises what `Inserter` raises; Refused where the engine cannot be had; Interrupted where workers die again and again.
    """
    engine = engine_of(plan, segments)
    if engine == "threads":
        with Inserter(
            plan, stage, execution, was_empty, segments=segments, stop_on_failure=stop_on_failure, on_page=on_page
        ) as step:
            walk(plan, step, winners=winners, resume=resume, segments=segments, route=route_to_insert, counted=True)
        return
    left = segments_of(plan, winners, resume, segments)
    if not left:
        return
    workers: list[Worker] = _processes(plan, len(left)) if engine == "processes" else _cluster(plan, len(left))
    with ExitStack() as ending:
        for worker in workers:
            ending.callback(worker.close)
        limits = plan.parameters.limits
        shared = ending.enter_context(SharedJournal(plan, stage, left)) if limits.journal else None
        parameters = plan.parameters.model_dump()
        parameters["limits"]["workers"] = max(1, limits.workers // len(workers))
        job = Job(
            run_id=stage.run.id,
            folder="" if shared else str(stage.run.folder.absolute()),
            stage=stage.name,
            execution=execution,
            parameters=parameters | {"mapping": "" if shared else str(plan.parameters.mapping_path())},
            chosen=list(plan.routes),
            was_empty=was_empty,
            stop_on_failure=stop_on_failure,
            segments=segments,
            winners=winners,
            known=None if shared else _saved(plan, stage, ending),
            expiry=plan.expiry,
            matches=None
            if shared or plan.matches is None
            else (str(plan.matches.path.absolute()), plan.matches.sha256),
            identity=stage.identity(plan.identity),
            sides=sides_of(plan),
            locks=locks.held(),
            machine=machine(),
            holder=stage.run.holder(),
            shared=shared and shared.about,
        )
        _drive(plan, job, left, [shared.watched(worker) for worker in workers] if shared else workers, on_page)


def engine_of(plan: Plan, segments: dict[str, int]) -> str:
    """What `limits.engine` says; else threads, or processes where the tables are large and the processors several."""
    chosen = plan.parameters.limits.engine
    if chosen:
        return chosen
    size = sum(plan.source_tables[table].size_bytes for table in plan.by_source())
    several = (os.cpu_count() or 1) > 1 and sum(segments.values()) > 1
    return "processes" if several and size > PROCESSES_FROM else "threads"


def _drive(plan: Plan, job: Job, segments: list[Segment], workers: list[Worker], on_page: OnPage | None) -> None:
    """Hands out segments; each stays with its worker, which keeps its journal file open."""
    free: queue.SimpleQueue[Worker] = queue.SimpleQueue()
    for worker in workers:
        free.put(worker)
    stop = threading.Event()
    touched = {table: _touched(table, routes) for table, routes in plan.by_source().items()}
    left = {(segment.table, segment.number) for segment in segments}

    def work(segment: Segment) -> None:
        worker, strikes = free.get(), 0
        count = SegmentCount(plan.meter, segment.table, segment.position.items)
        plan.meter.move(segment.table)
        try:
            while not stop.is_set():
                users = Counter(used for table, _ in left.copy() for used in touched[table])  # that may be at a table
                share = plan.limiter.budgets.share(len(workers), users)
                try:
                    with plan.meter.asking(lambda: count.reached(worker.items())):
                        found = worker.advance(job, segment.table, segment.number, share)
                except WorkersLost as lost:
                    strikes += lost.deaths
                    if strikes >= STRIKES:
                        raise Stuck(
                            f"{segment.table}, segment {segment.number}: {strikes} workers died while working on it; "
                            "see their logs."
                        ) from None
                    continue
                strikes = strikes if not found.counts else 0
                plan.limiter.elsewhere[worker] = found.slowed
                plan.limiter.add_slowdowns(found.slowdowns, len(workers))
                (count.end if found.done else count.reached)(found.items)
                if on_page and found.counts:
                    on_page(segment.table, found.counts)
                found.raise_problem()
                if found.done:
                    left.discard((segment.table, segment.number))
                    return
        finally:
            plan.limiter.elsewhere.pop(worker, None)
            free.put(worker)

    with ThreadPoolExecutor(len(workers), thread_name_prefix="worker") as pool:
        in_order(plan, segments, lambda segment: pool.submit(work, segment), stop.set, plan.meter)


def _touched(table: str, routes: list[Route]) -> list[str]:
    """The budgets that a segment of a source table uses, by table and side."""
    return [f"source {table}", *sorted({f"target {route.entry.target}" for route in routes})]


def _saved(plan: Plan, stage: Stage, ending: ExitStack) -> str | None:
    """The source's ids in a file that workers can map; it goes with the block."""
    if plan.known is None:
        return None
    saved = Unfinished(stage.folder / "known")  # not the one that workers of a killed execution may still map
    ending.callback(saved.end, whole=False)
    plan.known.save(saved.file)
    saved.file.flush()
    return str(saved.path.absolute())


class _Process:
    """A worker process of this machine."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        context = get_context("spawn")
        self._items = context.RawValue(c_longlong, 0)  # not the one in which a dying worker may still count
        self._pool = ProcessPoolExecutor(1, context, initializer=begin_process, initargs=(self._items,))

    def advance(self, job: Job, table: str, number: int, budgets: Budgets) -> Slice:
        try:
            return self._pool.submit(advance, job, table, number, budgets).result()
        except BrokenProcessPool:
            self.close()
            self._start()
            raise WorkersLost from None

    def items(self) -> int:
        return self._items.value

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _processes(plan: Plan, segments: int) -> list[Worker]:
    return [_Process() for _ in range(max(1, min(os.cpu_count() or 1, segments, plan.parameters.limits.workers)))]


def _cluster(plan: Plan, segments: int) -> list[Worker]:
    from .dask import workers

    return workers(plan.parameters.limits, segments)
