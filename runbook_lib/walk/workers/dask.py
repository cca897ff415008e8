"""Workers on Dask: worker processes of this machine, or, where `limits.scheduler` names one, of a cluster.

Each is pinned to one Dask worker and gives it one slice of some seconds at a time. A slice is in the segment's journal
file before it ends, so Dask must repeat nothing: if a worker is lost, the driver starts its slice again on another
worker, from the position in the journal. Driver and workers share the journal's folder, or `limits.journal`.
"""

import contextlib
import logging
import os
import pickle
import threading
import time
import uuid
from collections.abc import Iterator
from functools import lru_cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from ...dynamo.rate_limiter import Budgets
from ...errors import Interrupted, Refused, RunbookError, WorkersLost
from ...journal.log import unwritable
from ...parameters import Limits
from ...process import leave_interrupts, silence_dask, wait_longer_for_locks
from ...run.files import write_atomically
from . import worker as units
from .object_store import Blob, Store
from .worker import Job, Slice, Worker

POLL = 1.0  # seconds between two looks at the cluster while a slice is out
CONNECT = 30.0  # seconds for the first answer of the scheduler, and for its first worker
ANSWER = 10.0  # seconds for an answer of the scheduler
PATIENCE = 60.0  # seconds without an answer of the scheduler, or without any worker
RESTART = 10.0  # seconds in which a lost worker may be replaced; then two share one
HUNG = 100  # slices that one may take before it is given up, and
PAGE_UNITS = 50_000  # a page's units, many: where few units a second are allowed, a page takes long
LOCKED = 120.0  # seconds: a machine that is lost keeps its locks on a shared file system for 90
_JOB = ".job-"  # the beginning of the job file's name


def workers(limits: Limits, segments: int) -> list[Worker]:
    """One for each Dask worker that answers now, at most `segments` and `limits.workers` of them.

    Workers that join later take the places of lost ones. Raises Refused: no scheduler there, no worker, no way in.
    """
    most = min(segments, limits.workers)
    cluster = _Cluster(limits.scheduler, most)
    count = max(1, min(most, len(cluster.workers() or ())))
    cluster.users = count
    return [_Pinned(cluster) for _ in range(count)]


class JobFile(NamedTuple):
    """Where a worker that shares the folder finds the job. It comes by way of Dask, and proves what the folder gives."""

    path: str
    sha256: str


class JobObject(NamedTuple):
    """The same in a store, where driver and workers share no folder."""

    url: str
    folder: str
    blob: Blob


def work(place: JobFile | JobObject, table: str, number: int, budgets: Budgets) -> Slice:
    """What worker.advance does, in a worker of the cluster: one slice at a time, whatever threads the worker has."""
    wait_longer_for_locks(LOCKED)
    with _one:
        try:
            job = _read(place)
        except FileNotFoundError:
            folder = Path(place.path).parent
            fix = "choose an --outputs folder that driver and workers share under one path"
            return Slice(False, problem=(Refused, f"a worker cannot see {folder}; {fix}."))
        except OSError as problem:
            fix = "run driver and workers as the same user"
            return Slice(False, problem=(Refused, f"a worker cannot read {place.path}: {problem.strerror}; {fix}."))
        except RunbookError as problem:
            return Slice(False, problem=(type(problem), f"a worker cannot start: {problem}"))
        return units.advance(job, table, number, budgets)


def dask_setup(worker: object) -> None:
    """What a worker of this machine does first, by Dask's own convention: Ctrl-C is for the process that started it."""
    leave_interrupts()


_one = threading.Lock()


@lru_cache(1)
def _read(place: JobFile | JobObject) -> Job:
    if isinstance(place, JobObject):
        content = BytesIO()
        Store(place.url).load(place.folder, place.blob, content)
        return pickle.loads(content.getvalue())
    data = Path(place.path).read_bytes()
    if sha256(data).hexdigest() != place.sha256:  # to unpickle is to run what it says
        raise Refused(
            f"{place.path} is not the job that this run submitted; find out who else writes there, then resume."
        )
    return pickle.loads(data)


def _put(job: Job, content: bytes) -> JobFile | JobObject:
    """The job in the journal's store or folder. Writes it. Raises Interrupted."""
    if job.shared:
        place = f"{job.shared.place}/job"
        return JobObject(job.shared.url, place, Store(job.shared.url).save(place, BytesIO(content)))
    folder = Path(job.folder, "journal", job.stage)
    for old in folder.glob(f"{_JOB}*"):  # of executions that were killed
        old.unlink(missing_ok=True)
    # A name that was never there: no worker's cache of the folder can say that it is not.
    path = folder / f"{_JOB}{uuid.uuid4().hex}"
    try:
        write_atomically(path, content, 0o600)
    except OSError as problem:
        raise unwritable(problem) from None
    return JobFile(str(path), sha256(content).hexdigest())


class _Pinned:
    """A worker of the cluster; another one when that is lost."""

    def __init__(self, cluster: "_Cluster"):
        self._cluster = cluster

    def advance(self, job: Job, table: str, number: int, budgets: Budgets) -> Slice:
        """Raises WorkersLost where the worker was lost, Interrupted where no other comes, or the scheduler is lost."""
        place, worker = self._cluster.publish(job), self._cluster.worker_of(self)
        units_a_second = min(budgets.units.values(), default=PAGE_UNITS)
        until = time.monotonic() + units.SLICE * HUNG + PAGE_UNITS / units_a_second
        with self._cluster.submitted(worker, work, place, table, number, budgets) as future:
            while (found := self._cluster.result(future)) is None:
                workers = self._cluster.workers()
                if workers is not None and worker not in workers:
                    raise WorkersLost
                if time.monotonic() > until:
                    self._cluster.avoid(worker)
                    raise WorkersLost
        return found

    def items(self) -> int:
        """0: Dask says nothing of a call before it ends."""
        return 0

    def close(self) -> None:
        """Releases the worker; the last one closes the cluster."""
        self._cluster.leave(self)


class _Cluster:
    """The connection to a scheduler, and who works for whom. Thread-safe."""

    def __init__(self, scheduler: str | None, most: int):
        """Connects; without a scheduler begins one, with as many workers as are useful. Raises Refused."""
        self.users = 0
        self._name = scheduler or "of this machine"
        self._lock, self._look = threading.Lock(), threading.Lock()
        self._pinned: dict[_Pinned, str] = {}
        self._avoided: set[str] = set()
        self._place: JobFile | JobObject | None = None  # where workers find the job
        self._seen: tuple[float, list[str] | None] = (0.0, None)
        self._silent: float | None = None  # since when the scheduler does not answer
        self._own: Any = None
        if not scheduler:
            self._own, self._client = _begin(min(most, os.cpu_count() or 1))
            return
        self._client = _connect(scheduler)
        try:
            self._client.wait_for_workers(1, timeout=CONNECT)
        except Exception:
            self._close()
            raise Refused(f"the Dask scheduler {scheduler} has no workers; start some.") from None

    def publish(self, job: Job) -> JobFile | JobObject:
        """Where workers find the job. Written once, where the journal is: a worker that reads it reaches that, too."""
        with self._lock:
            if self._place is None:
                self._place = _put(job, pickle.dumps(job))
            return self._place

    @contextlib.contextmanager
    def submitted(self, worker: str, *call: Any) -> Iterator[Any]:
        """A call on a worker, as a future that is released when the block ends. Raises WorkersLost."""
        try:
            # Pinned for good: a slice that kills its worker must not reach the workers of others.
            future = self._client.submit(*call, workers=[worker], pure=False, retries=0)
        except Exception:  # the connection is lost, or was closed after it
            time.sleep(POLL)
            raise WorkersLost(0) from None
        try:
            yield future
        finally:
            with contextlib.suppress(Exception):
                future.release()

    def result(self, future: Any) -> Slice | None:
        """What came of a call; None where nothing did within POLL. Raises WorkersLost, Refused, and what the call raised."""
        from distributed import KilledWorker

        try:
            return future.result(timeout=POLL)
        except KilledWorker as killed:
            raise WorkersLost(killed.allowed_failures + 1) from None
        except Exception as problem:
            if future.status == "error":
                if isinstance(problem, ImportError | AttributeError) or "deserialization" in str(problem):
                    raise Refused(
                        "the Dask cluster has a different version of this program; install the same one there."
                    ) from None
                raise
            if future.status == "cancelled":  # the connection was lost; it may come back
                time.sleep(POLL)
                raise WorkersLost(0) from None
            return None

    def workers(self) -> list[str] | None:
        """The addresses of the workers that can be used; None while the scheduler does not answer.

        Raises Interrupted when it has not for too long.
        """
        with self._look:
            at, found = self._seen
            if time.monotonic() - at < POLL:
                return found
            found = self._ask()
            if found is not None:
                self._silent = None
            else:
                self._silent = self._silent or time.monotonic()
                if self._client.status == "closed" or time.monotonic() - self._silent > PATIENCE:
                    raise Interrupted(f"the Dask scheduler {self._name} is lost; start it again.")
            self._seen = time.monotonic(), found
            return found

    def _ask(self) -> list[str] | None:
        if self._client.status != "running":  # it is connecting, or has given up: a caller waits for it
            return None
        try:
            there = self._client.nthreads(callback_timeout=ANSWER)
        except Exception:  # OSError, or what a client says whose connection goes down meanwhile
            return None
        return [address for address in there if address not in self._avoided]

    def worker_of(self, pinned: _Pinned) -> str:
        """The address of its worker: the one it has, else a free one, else, in the end, one that it shares with others.

        Raises Interrupted where there is none for too long.
        """
        began = time.monotonic()
        while True:
            there = self.workers()
            waited = time.monotonic() - began
            with self._lock:
                mine = self._pinned.get(pinned)
                if there is None or mine in there:  # not known: the next call tells
                    if mine:
                        return mine
                else:
                    taken = [worker for one, worker in self._pinned.items() if one is not pinned]
                    free = sorted(there, key=taken.count)
                    if free and (free[0] not in taken or waited > RESTART):
                        self._pinned[pinned] = free[0]
                        return free[0]
                    if not free and waited > PATIENCE:
                        raise Interrupted(f"the Dask cluster {self._name} has no worker left; start some.")
            time.sleep(POLL)

    def avoid(self, worker: str) -> None:
        """Gives a worker no more work."""
        self._avoided.add(worker)
        with self._look:
            self._seen = (0.0, None)

    def leave(self, pinned: _Pinned) -> None:
        """Forgets a worker; closes everything with the last one."""
        with self._lock:
            self._pinned.pop(pinned, None)
            self.users -= 1
            last = self.users == 0
        if last:
            if isinstance(self._place, JobFile):
                Path(self._place.path).unlink(missing_ok=True)
            self._close()

    def _close(self) -> None:
        for end in filter(None, (self._client, self._own)):
            with contextlib.suppress(Exception):  # what is lost cannot be closed
                end.close(timeout=10)


def _begin(workers: int) -> tuple[Any, Any]:
    """A cluster of this machine, and its client. Only this process can reach it: its keys are in memory."""
    import dask
    from distributed import Client, LocalCluster, Security

    settings = {
        "distributed.scheduler.allowed-failures": 0,
        "distributed.worker.profile.enabled": False,
        "distributed.admin.system-monitor.disk": False,
    }
    with dask.config.set(settings):
        own = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            security=Security.temporary(),
            dashboard_address=None,
            preload=[__name__],
            memory_limit=0,  # pages in flight bound it
            silence_logs=logging.CRITICAL,
        )
    return own, Client(own, set_as_default=False, timeout=CONNECT)


def _connect(scheduler: str) -> Any:
    from distributed import Client, Security

    silence_dask()
    client = Client.__new__(Client)  # in two steps: one that cannot connect has to be closed, too
    try:
        security = Security()  # what Dask's own configuration says, DASK_DISTRIBUTED__COMM__TLS__* included
        client.__init__(scheduler, security=security, set_as_default=False, timeout=CONNECT, name="runbook")
        return client
    except (TypeError, ValueError, RuntimeError) as problem:  # no certificates, or none that can be used
        refusal = f"the Dask scheduler {scheduler} cannot be reached ({problem})"
    except OSError:
        refusal = f"no Dask scheduler answers at {scheduler}; start it, or correct limits.scheduler"
    with contextlib.suppress(Exception):
        client.close(timeout=1)
    raise Refused(f"{refusal}; see docs/scale.md for the TLS settings of Dask.")
