"""Live progress in a notebook: a line per table, updated in place."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from ..report.drawing.html import note
from ..report.runs.progress import DONE, WAITING, progress
from ..run.folder import Run
from ..walk import control
from ..walk.insert import OnPage
from ..walk.plan import Plan

EVERY = 0.5  # seconds between two updates


@contextmanager
def telling() -> Iterator[Callable[[str], None]]:
    """A block with a function that shows a line of text in place of the previous one."""
    from IPython.display import HTML, DisplayHandle

    handle = DisplayHandle()
    handle.display(HTML(""))
    shown = [0.0]

    def tell(line: str) -> None:
        if time.monotonic() - shown[0] >= EVERY:
            shown[0] = time.monotonic()
            handle.update(HTML(note(line)))

    yield tell


class Progress:
    """A `with` block that shows how far each source table is, and gives `add`, to be called from any thread."""

    def __init__(self, run: Run, plan: Plan, verb: str):
        """`verb`: what happens to the items, such as "read"."""
        self._run, self._plan, self._verb = run, plan, verb
        self._done: Counter = Counter()
        self._began: dict[str, float] = {}
        self._lock = threading.Lock()
        self._last = 0.0
        self._tuning = control.Tuning(run, plan)

    def __enter__(self) -> OnPage:
        from IPython.display import HTML, display

        self._html = HTML
        self._handle = display(HTML(progress(self._rows())), display_id=True)
        self._follow(self._show)
        return self.add

    def __exit__(self, *exception) -> None:
        self._follow()
        self._handle.update(self._html(progress(self._rows(ended=exception[0] is None))))

    def add(self, table: str, counts: Counter) -> None:
        """Counts a finished page. Raises Interrupted where the run was asked to stop or may not write any more."""
        control.check(self._run)
        self._tuning.apply()
        self._plan.target.wire.check_guards()
        with self._lock:
            self._began.setdefault(table, time.monotonic())
            self._done[table] += counts["scanned"] or sum(counts.values())
        self._show()

    def _follow(self, *show: Callable[[], None]) -> None:
        stop = partial(control.check_wait, self._run)
        self._plan.limiter.follow_waits(self._run.logger().warning, stop, *show)

    def _show(self) -> None:
        with self._lock:
            if time.monotonic() - self._last >= EVERY:
                self._last = time.monotonic()
                self._handle.update(self._html(progress(self._rows(), self._plan.limiter.slowed())))

    def _rows(self, ended: bool = False) -> list[tuple]:
        rows = []
        for table in self._plan.by_source():
            done, began = self._done[table], self._began.get(table)
            total = max(self._plan.source_tables[table].items, done) or None
            rate = done / max(time.monotonic() - began, 0.001) if began else 0.0
            if ended or (total and done >= total):
                rows.append((table, done, done, 0.0, None, DONE))
            elif began is None:
                rows.append((table, done, total, 0.0, None, WAITING))
            else:
                left = (total - done) / rate if total and rate else None
                rows.append((table, done, total, rate, left, f"being {self._verb}"))
        return rows
