"""Dask clusters of processes for tests, and what a worker of theirs does in the place of `cluster.work`."""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

from runbook_lib.dynamo.rate_limiter import Budgets
from runbook_lib.walk.workers import dask as cluster
from runbook_lib.walk.workers import worker as units
from runbook_lib.walk.workers.worker import Slice


@dataclass
class Cluster:
    """A scheduler and workers, each a process."""

    folder: Path
    scheduler: subprocess.Popen | None = None
    workers: list[subprocess.Popen] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Of the scheduler."""
        return json.loads((self.folder / "scheduler.json").read_text())["address"]

    def begin(self, *options: str) -> None:
        """Starts the scheduler, at the address that it had before."""
        file = self.folder / "scheduler.json"
        if file.exists():
            options = (*options, "--port", self.address.rpartition(":")[2])
            file.unlink()
        self.scheduler = self._start(
            "dask_scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(file), *options
        )
        deadline = time.monotonic() + 120
        while not file.exists() or not file.read_text().endswith("}"):
            assert time.monotonic() < deadline, "the scheduler does not start"
            time.sleep(0.05)

    def join(self, *options: str) -> None:
        """Starts another worker."""
        self.workers.append(self._start("dask_worker", self.address, "--no-nanny", "--no-dashboard", *options))

    def kill(self, process: subprocess.Popen) -> None:
        """SIGKILL."""
        process.kill()
        process.wait()

    def _start(self, module: str, *options: str) -> subprocess.Popen:
        command = [sys.executable, "-m", f"distributed.cli.{module}", "--host", "127.0.0.1", *options]
        paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
        with (self.folder / "log").open("ab") as log:
            environment = {**os.environ, "PYTHONPATH": paths, **self.environment}
            return subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log)


@contextmanager
def running(folder: Path, workers: int, *options: str, **environment: str) -> Iterator[Cluster]:
    """A cluster, reached by TCP on this machine; its processes are killed at the end."""
    folder.mkdir()
    found = Cluster(folder, environment=environment)
    try:
        found.begin()
        for _ in range(workers):
            found.join(*options)
        yield found
    finally:
        for process in filter(None, [*found.workers, found.scheduler]):
            found.kill(process)


def one_page_slices(patch):
    """Slices of this process that end with their first page, however long that takes: time is counted in looks at the clock.

    For workers that take turns; a slice looks when it begins, and before each page.
    """
    looks = itertools.count()
    patch.setattr(units, "time", SimpleNamespace(monotonic=lambda: next(looks)))
    patch.setattr(units, "SLICE", 1.5)


def poisoned(place: cluster.JobFile, table: str, number: int, budgets: Budgets) -> Slice:
    """As `cluster.work`, but one segment kills whoever takes it."""
    if table.startswith("Ships") and number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return cluster.work(place, table, number, budgets)


def in_the_middle(ended, table, act):
    """Calls `act` with the process that works on a page of a table: its intent is written, its outcome is not."""

    def watch():
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            for path in (ended.outputs / ended.run_id / "journal/migrate").glob(f"{table}-*.jsonl"):
                text = path.read_text()
                if text.count('"kind":"intent"') > text.count('"kind":"outcome"') and (process := writer_of(path)):
                    act(process)
                    return
            time.sleep(0.01)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def writer_of(path):
    """The process that holds a journal file, or None."""
    inode = str(path.stat().st_ino)
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if words[1] == "FLOCK" and words[5].rpartition(":")[2] == inode:
            return int(words[4])
    return None
