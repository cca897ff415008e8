"""Threads for the segments of large tables: as few as keep one processor busy."""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

WINDOW = 0.25  # seconds after which the number may change
IDLE, BUSY = (
    0.7,
    0.95,
)  # processors in use: below the one another thread begins, above the other one ends with its segment


class ProcessorTime:
    """Seconds that the process has computed; on Linux, with those in which its threads waited for a processor."""

    def __init__(self, threads: Path = Path("/proc/self/task")):
        """`threads`: where the system says how long each thread has waited."""
        self._threads = threads
        self._waited: dict[Path, int] = {}  # of every thread there has been, in nanoseconds

    def __call__(self) -> float:
        for thread in self._threads.glob("*"):
            with contextlib.suppress(OSError, ValueError, IndexError):  # it has just ended, or the system does not say
                self._waited[thread] = int(thread.joinpath("schedstat").read_text().split()[1])
        return time.process_time() + sum(self._waited.values()) / 1e9


class SegmentPool:
    """A pool of one thread, and of more, up to `most`, while the process waits. A `with` block; thread-safe.

    One interpreter computes on one processor. While that is busy, another page only costs memory and time slices. While it
    waits for the network, the pool starts another segment, unless it waits for a budget. While it waits for a processor
    that other processes use, another page would help as little.
    """

    def __init__(
        self,
        most: int,
        held_back: Callable[[], object] = lambda: False,
        *,
        clock: Callable[[], float] = time.monotonic,
        processor: Callable[[], float] | None = None,
    ):
        """`held_back` says whether a budget holds the run back; `processor` what `ProcessorTime` does."""
        self.allowed = 1
        self._most, self._held_back = most, held_back
        self._clock, self._processor = clock, processor or ProcessorTime()
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Future, Callable, tuple]] = deque()
        self._threads: set[threading.Thread] = set()
        self._at, self._used = clock(), self._processor()

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future:
        """What comes of a segment, once it is its turn. `work` calls `between_pages`. Raises RuntimeError: no thread."""
        future: Future = Future()
        with self._lock:
            self._waiting.append((future, work, arguments))
            try:
                self._begin()
            except RuntimeError:
                if not self._threads:
                    self._waiting.pop()
                    raise
        return future

    def between_pages(self) -> None:
        """Begins another thread where the process has been waiting, or lets one end where it has been busy."""
        with self._lock:
            now, used = self._clock(), self._processor()
            if now - self._at < WINDOW:
                return
            busy = (used - self._used) / (now - self._at)
            self._at, self._used = now, used
            if busy > BUSY and self.allowed > 1:
                self.allowed -= 1
            elif busy < IDLE and self.allowed < self._most and self._waiting and not self._held_back():
                self.allowed += 1
                with contextlib.suppress(RuntimeError):  # those that are there go on
                    self._begin()

    def __enter__(self) -> "SegmentPool":
        return self

    def __exit__(self, *exception) -> None:
        """Waits until all is done."""
        while self._threads:
            for thread in list(self._threads):
                thread.join()

    def _begin(self) -> None:
        if self._waiting and len(self._threads) < self.allowed:
            thread = threading.Thread(target=self._work, name="walk-large")
            thread.start()  # it waits for the lock
            self._threads.add(thread)

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting or len(self._threads) > self.allowed:
                    self._threads.discard(threading.current_thread())
                    return
                future, work, arguments = self._waiting.popleft()
            try:
                future.set_result(work(*arguments))
            except BaseException as problem:  # whoever waits for the segment gets it
                future.set_exception(problem)
