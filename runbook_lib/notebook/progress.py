"""Live progress of a stage: shown in the notebook, published for the command and for `status`, and written to the run's log."""

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial

from ..dynamo.rate_limiter import RateLimiter
from ..errors import Interrupted
from ..process import has_command
from ..report.runs.progress import line, progress
from ..run.folder import Run
from ..run.progress_file import FINISHED, STOPPED, Published, StageProgress
from ..stages.rollback.rollback import Undoing
from ..verdict import plural
from ..walk import control
from ..walk.insert import OnPage
from ..walk.plan import Plan
from .display import controls, literal

EVERY = 0.5  # seconds between two updates
# Seconds between two lines of the log about requests that were tried again, and of calm that end a slow-down.
AGAIN = 10.0
_FIGURES = re.compile(r"\b(to|for) [\d:.,]+")  # what changes in a line about one and the same slow-down


class Progress:
    """A `with` block in which a stage works: the notebook shows how far it is, and so can everybody else.

    Gives `add`, to be called from any thread when a page is done.
    """

    def __init__(self, run: Run, work: Plan | Undoing, stage: str):
        """`work` counts its items itself: see walk/progress.py."""
        self._run, self._work, self._stage = run, work, stage
        self._tuning = control.Tuning(run, work) if isinstance(work, Plan) else None  # a rollback keeps its limits
        self._published = Published(run, stage)
        self._log = _Log(run, work)
        self._over, self._busy, self._last, self._shown = threading.Event(), threading.Lock(), 0.0, ""
        self._thread = threading.Thread(target=self._watch, daemon=True, name="progress")

    def __enter__(self) -> OnPage:
        self._work.meter.start(anew=isinstance(self._work, Plan))  # the steps of a rollback are one series
        self._controls = controls(self._run)
        self._controls.__enter__()
        self._display()
        if isinstance(self._work, Plan):
            stop = partial(control.check_wait, self._run)
            self._work.limiter.follow_waits(self._run.logger().warning, stop, self._show)
        self._thread.start()
        return self.add

    def __exit__(self, *exception) -> None:
        self._over.set()
        self._thread.join()
        self._controls.__exit__(*exception)
        if isinstance(self._work, Plan):
            self._work.limiter.follow_waits(self._run.logger().warning)
        last = self._work.meter.look(self._stage, FINISHED if exception[0] is None else STOPPED)
        with suppress(Exception):  # the work is done
            self._log.end(last)
            self._update(last)
        self._published.end(last if has_command() else None)

    def add(self, table: str, counts: Counter) -> None:
        """Notes a finished page, if a table is named. Raises Interrupted: a stop was requested, or writing may not go on."""
        if table:
            self._log.page(table, counts)
        try:
            control.check(self._run)
        except Interrupted:
            self._log.stop()
            raise
        if self._tuning:
            self._tuning.apply()
            self._work.target.wire.check_guards()
        self._show()

    def _display(self) -> None:
        from IPython.display import HTML, display

        self._html = HTML
        self._handle = display(HTML(""), display_id=True)

    def _watch(self) -> None:
        while not self._over.wait(max(EVERY, 0.05)):
            self._show()

    def _show(self) -> None:
        """Shows and publishes how far it is, where that was not done just now. The work goes on whatever becomes of it."""
        if time.monotonic() - self._last < EVERY or not self._busy.acquire(blocking=False):
            return
        try:
            self._last = time.monotonic()
            with suppress(Exception):
                now = self._work.meter.look(self._stage)
                self._log.look(now)
                self._published.write(now)
                self._update(now)
        finally:
            self._busy.release()

    def _update(self, now: StageProgress) -> None:
        content = progress(now, self._run.id)
        if content != self._shown:
            self._shown = content
            self._handle.update(self._html(literal(content)))


@contextmanager
def opening(run: Run, stage: str) -> Iterator[Callable[[RateLimiter], None]]:
    """A block in which the tables are looked at, before a stage works. Gives what follows the waits of a limiter.

    What is waited for stands in the run's log and in progress. Where somebody asks the run to stop, the waiting ends.
    """
    published = Published(run, stage)

    def follow(limiter: RateLimiter) -> None:
        def show() -> None:
            published.write(StageProgress(stage, doing="; ".join(limiter.slowed())))

        stop = partial(control.check, run, "stop was requested while a table was waited for.")
        limiter.follow_waits(run.logger().warning, stop, show)

    try:
        yield follow
    finally:
        published.end()


class _Log:
    """What the run's log says of a stage that works: names and counts, codes and reasons, no values."""

    def __init__(self, run: Run, work: Plan | Undoing):
        self._logger, self._work = run.logger(), work
        # What slows it down, without figures → when that was seen last, and how.
        self._slow: dict[str, tuple[float, str]] = {}
        self._seen: Counter = Counter()  # reason → requests tried again that the log knows of
        self._looked, self._stopping = time.monotonic(), False

    def page(self, table: str, counts: Mapping[str, int]) -> None:
        """A page, or a batch of an undo, is done."""
        told = ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in counts.items() if number)
        self._logger.info("%s: a page is done: %s", table, told or "nothing in it")

    def stop(self) -> None:
        """Somebody has asked the run to stop."""
        if not self._stopping:
            self._stopping = True
            self._logger.warning("a stop was requested; what is under way is finished first")

    def look(self, now: StageProgress) -> None:
        """Notes what slows the stage down, or does so no longer, and how many requests were tried again."""
        moment = time.monotonic()
        for why in now.slowed:
            known = _FIGURES.sub(r"\1 …", why)
            if known not in self._slow:
                self._logger.warning("slowed: %s", why)
            self._slow[known] = moment, why
        for known in [known for known, (at, _) in self._slow.items() if moment - at >= AGAIN]:
            self._logger.info("no longer slowed: %s", self._slow.pop(known)[1])
        if moment - self._looked >= AGAIN:
            self._looked = moment
            self._tell_retries()

    def end(self, last: StageProgress) -> None:
        """Notes how far it came."""
        self._tell_retries()
        for _, why in self._slow.values():
            self._logger.info("no longer slowed: %s", why)
        if last.tables:
            self._logger.info("%s", line(last))

    def _tell_retries(self) -> None:
        sides = [self._work.source, self._work.target] if isinstance(self._work, Plan) else [self._work.target()]
        retries: Counter = Counter()
        for wire in {id(side.wire): side.wire for side in sides}.values():
            retries.update(dict(wire.retries))
        for reason, number in (retries - self._seen).items():
            self._logger.warning("%s tried again: %s", plural(number, "request"), reason)
        self._seen = retries
