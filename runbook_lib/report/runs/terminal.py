"""How far a stage is, on stderr while its command waits for the notebook: a live display on a terminal, else lines.

The notebook's kernel publishes the figures in the run's folder; a thread here reads and shows them. Whatever becomes of the
display, the command goes on.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, suppress
from dataclasses import replace
from typing import Any, Protocol, TextIO

from ...process import visible
from ...run.folder import Run
from ...run.progress_file import COMMAND, STOPPED, Published, StageProgress, progress_of
from ...verdict import plural
from .progress import active, amount, finished, line, waiting

EVERY = 0.5  # seconds between two looks
LINE_EVERY = 30.0  # seconds between two lines where there is no terminal
ROWS = 12  # tables with a bar of their own, at most
DUMB = ("", "dumb", "unknown")  # terminals that cannot be steered


class Shown(Protocol):
    """A way to show how far a stage is."""

    def show(self, now: StageProgress) -> None:
        """Shows it."""

    def end(self, last: StageProgress | None) -> None:
        """Shows the last of it, if there was anything, and leaves the stream as it was found."""


@contextmanager
def following(run: Run, stage: str, *, every: float = EVERY, stream: TextIO | None = None) -> Iterator[None]:
    """A block in which a stage's notebook is executed: stderr shows how far it is. `every`: seconds between two looks.

    Meanwhile a file in the run's folder says that a command is at work.
    """
    stream = stream or sys.stderr
    starting = StageProgress(stage, doing="starting")
    published, over = Published(run, COMMAND), threading.Event()
    with ExitStack() as stack:
        published.write(starting)
        stack.callback(published.end)
        shown = _display_on(stream, stack) or Lines(stream)
        thread = threading.Thread(
            target=_follow, args=(run, starting, shown, published, over, every), daemon=True, name="show"
        )
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def _follow(
    run: Run, starting: StageProgress, shown: Shown, published: Published, over: threading.Event, every: float
) -> None:
    last = None
    with suppress(Exception):  # of the display alone
        while not over.wait(every):
            found = progress_of(run, starting.stage)
            last = found or last
            if last is None:
                now = starting
            else:
                now = replace(last, ended="", doing="saving the notebook") if last.ended else last
            published.write(StageProgress(starting.stage, doing=now.doing))
            shown.show(now)
        last = progress_of(run, starting.stage) or last
    with suppress(Exception):
        shown.end(last if last is None or last.ended else replace(last, ended=STOPPED))


def _display_on(stream: TextIO, stack: ExitStack) -> "Bars | None":
    """The live display; None where the stream is no terminal that can be steered."""
    with suppress(Exception):
        if stream.isatty() and os.environ.get("TERM", "") not in DUMB:
            bars = Bars(getattr(stream, "steering", lambda: stream)())
            stack.enter_context(bars)
            return bars
    return None


class Lines:
    """A line every LINE_EVERY seconds, and one for each table that is finished."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic):
        """`clock` gives seconds."""
        self._stream, self._clock = stream, clock
        self._told = clock()  # when the last line was
        self._known: set[str] = set()  # tables of which it was said that they are finished
        self._began = False

    def show(self, now: StageProgress) -> None:
        """Prints what is due."""
        for table in now.finished:
            if table.name not in self._known:
                self._known.add(table.name)
                if not table.before:
                    self._print(f"{now.stage}: finished {table.name}, {plural(table.done, 'item')}")
        first = bool(now.tables) and not self._began and not now.ended
        if first or self._clock() - self._told >= LINE_EVERY:
            self._began = self._began or bool(now.tables)
            self._print(line(now))

    def end(self, last: StageProgress | None) -> None:
        """Prints the tables that were finished since, and the sum."""
        if last is not None and last.tables:
            self.show(last)
            self._print(line(last))

    def _print(self, text: str) -> None:
        self._told = self._clock()
        print(visible(text), file=self._stream, flush=True)


class Bars:
    """A line, and a bar for each table that is worked on, in place. A `with` block; `rich` draws it."""

    def __init__(self, stream: TextIO):
        """`stream` is a terminal that takes what steers it."""
        from rich.console import Console
        from rich.live import Live

        self._console = Console(file=stream, highlight=False, soft_wrap=False)
        self._live = Live(
            console=self._console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        self._above = redirect_stderr(_Above(self._console, sys.stderr))

    def __enter__(self) -> "Bars":
        self._live.start()
        self._above.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._above.__exit__(*exception)
        self._live.stop()

    def show(self, now: StageProgress) -> None:
        """Draws it anew."""
        self._live.update(_drawn(now, self._console.width), refresh=True)

    def end(self, last: StageProgress | None) -> None:
        """Leaves one line."""
        from rich.text import Text

        self._live.stop()
        if last is not None and last.tables:
            self._console.print(Text(line(last)), soft_wrap=True)


def _drawn(now: StageProgress, width: int) -> Any:
    """What stands on a terminal of that width."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    rows, below = active(now), []
    figures = [(amount(table), f"{table.rate:,.0f} items/s") for table in rows[:ROWS]]
    bar_width = 20 if width >= 80 else 10
    room = width - bar_width - sum(max(map(len, column)) for column in zip(*figures, strict=True)) - 6
    grid = Table.grid(padding=(0, 2, 0, 0))
    for options in ({"max_width": max(8, room)}, {"width": bar_width}, {"justify": "right"}, {"justify": "right"}):
        grid.add_column(no_wrap=True, overflow="ellipsis", **options)
    for table, texts in zip(rows, figures, strict=False):
        style = "yellow" if table.slowed else "cyan"
        bar = ProgressBar(table.total or 1, min(table.done, table.total or 0), bar_width, complete_style=style)
        grid.add_row(Text(visible(table.name)), bar, *map(Text, texts))
    if len(rows) > ROWS:
        below.append(Text(f"and {plural(len(rows) - ROWS, 'more table')}"))
    if now.finished:
        below.append(Text(f"✓ {finished(now)}", style="green"))
    if left := waiting(now):
        below.append(Text(f"{plural(len(left), 'table')} waiting", style="dim"))
    return Group(Text(line(now), style="bold"), *([grid] if rows else []), *below)


class _Above:
    """Takes what is printed on stderr meanwhile, and puts it above the display, escaped."""

    def __init__(self, console: Any, stream: TextIO):
        self._console, self._stream, self._left = console, stream, ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes whole lines above the display; gives the text's length."""
        from rich.text import Text

        *lines, self._left = (self._left + text).split("\n")
        for one in lines:
            self._console.print(Text(visible(one, "\t")), soft_wrap=True)
        return len(text)

    def flush(self) -> None:
        """Writes the beginning of a line, too."""
        if self._left:
            self.write("\n")
