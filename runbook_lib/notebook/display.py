"""The notebook's front end: what a cell displays, the verdict at the top, and whether a person can answer."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from ..errors import RunbookError
from ..process import is_headless
from ..report.drawing import html
from ..report.drawing.frame import as_table, inner
from ..run.folder import Run
from ..run.released import DIFFERS
from ..verdict import meaning
from ..walk import control
from .export import LIVE, RESULT

FRAME_ROWS = 50  # of a DataFrame that are shown


def interactive() -> bool:
    """Whether a person is at a front end: JupyterLab takes input, papermill, nbconvert and nbval do not."""
    from IPython import get_ipython

    kernel = getattr(get_ipython(), "kernel", None)
    return bool(kernel and getattr(kernel, "_allow_stdin", False)) and not is_headless()


def literal(content: str) -> str:
    """HTML of which JupyterLab makes no formula, whatever stands between two dollar signs."""
    return f'<div class="mathjax_ignore">{content}</div>'


def executed() -> list[str]:
    """The sources of the cells that have run in this kernel, this one included; [] where there is no kernel."""
    from IPython import get_ipython

    shell = get_ipython()
    return list(shell.user_ns.get("In", ())) if shell else []


def show(view: Callable[..., str], *results: Any, without: str = "") -> None:
    """Displays a view of results, or the sentence `without` where a step returned none."""
    from IPython.display import HTML, display

    if any(result is None for result in results):
        view, results = html.note, (without,)
    if shown := view(*map(inner, results)):
        display(HTML(literal(shown)))


def show_frame(query: Callable[..., Any], *results: Any, without: str = "", empty: str = "") -> None:
    """Displays the DataFrame or Series that a query makes of steps' results, its first FRAME_ROWS rows.

    Shows the sentence `empty` where it has no rows, `without` where a step returned no result; nothing where they are "".
    """
    is_done = all(result is not None for result in results)
    frame = query(*results) if is_done else ()
    if len(frame):
        show(as_table, frame, FRAME_ROWS)
    elif said := empty if is_done else without:
        show(html.note, said)


def hint(sentence: str) -> None:
    """Displays a sentence for the person at the notebook, which its pages leave out."""
    from IPython.display import HTML, display

    display(HTML(literal(html.note(sentence))), metadata={LIVE: True})


class Chosen:
    """The stand-in for a dropdown in batch: only its value."""

    def __init__(self, value: str):
        self.value = value


_dropdowns: dict[str, tuple[str, Any]] = {}  # label -> what was set in its notebook, and the widget


def dropdown(label: str, options: Sequence[tuple[str, str]], chosen: str) -> Any:
    """Displays and returns a dropdown; its `value` is the choice. The notebook's pages leave it out.

    A choice made in it stays when its cell runs again, unless another one was set in the notebook meanwhile.
    """
    import ipywidgets
    from IPython.display import display

    before, value = _dropdowns.get(label), chosen
    if before and before[0] == chosen and before[1].value in dict(options).values():
        value = before[1].value
    widget = ipywidgets.Dropdown(options=options, value=value, description=label)
    _dropdowns[label] = chosen, widget
    display(widget._repr_mimebundle_(), raw=True, metadata={LIVE: True})
    return widget


STAYS = (
    "Nothing was rolled back: what arrived stays in the target, and the journal knows it. Resume, or undo it with 05."
)


def banner(result: Mapping[str, Any], below: html.Html | None = None) -> dict[str, Any]:
    """The verdict as a bundle, MIME type → content, from the data that it carries; `below`: HTML under it.

    Where 03 stopped and can be resumed, it says that nothing was rolled back.
    """
    stage, verdict, headline = (result[name] for name in ("stage", "verdict", "headline"))
    if result["resume"] and stage == "03_migrate":
        below = html.note(STAYS)
    if result.get("released") is False:
        below = html.note(f"{DIFFERS[0].upper()}{DIFFERS[1:]}.", "look") + (below or "")
    shown = html.banner(stage, verdict, headline, result["facts"], means=meaning(stage, verdict))
    return {
        "text/html": shown if below is None else shown + below,
        "text/plain": f"{stage}: {verdict}. {headline}",
        RESULT: dict(result),
    }


@contextmanager
def controls(run: Run) -> Iterator[None]:
    """A block of work under two buttons, Pause and Stop…, where a person sits in front; else nothing is shown.

    Pause asks the run to stop after its current page. Stop… asks once more, then interrupts the cell. Both leave the run
    resumable. The buttons go when the block ends: a saved notebook has none.
    """
    if not interactive():
        yield
        return
    from IPython.display import DisplayHandle

    buttons, shown = _Buttons(run), DisplayHandle()
    shown.display(buttons.box._repr_mimebundle_(), raw=True, metadata={LIVE: True})
    try:
        yield
    finally:
        buttons.end()
        shown.update({"text/html": ""}, raw=True, metadata={LIVE: True})


class _Buttons:
    """The buttons beside the progress. Clicks come on another thread than the one that works."""

    def __init__(self, run: Run):
        import ipywidgets

        self._run, self._ended = run, False
        self._pause = ipywidgets.Button(description="Pause", tooltip="Finish the current page, then stop. Resumable.")
        self._stop = ipywidgets.Button(description="Stop…", tooltip="Stop in the middle of a page. Resumable.")
        self._now = ipywidgets.Button(description="Stop now", button_style="danger")
        self._stay = ipywidgets.Button(description="Go on")
        self._said = ipywidgets.Label("")
        self.box = ipywidgets.HBox([self._pause, self._stop, self._said])
        for button, clicked in (
            (self._pause, self._on_pause),
            (self._stop, partial(self._ask, True)),
            (self._now, self._on_stop),
            (self._stay, partial(self._ask, False)),
        ):
            button.on_click(clicked)
            _answer_beside_the_cell(button)

    def end(self) -> None:
        """The work is over: a click that comes now does nothing."""
        self._ended = True
        for widget in (self._pause, self._stop, self._now, self._stay, self._said, self.box):
            widget.close()

    def _on_pause(self, _: Any) -> None:
        if self._ended:
            return
        control.request_stop(self._run)
        self._pause.disabled, self._said.value = True, "Pausing after this page…"

    def _ask(self, asked: bool, _: Any) -> None:
        said = "Stop now? The current page is looked up on resuming." if asked else ""
        self._said.value = said or ("Pausing after this page…" if self._pause.disabled else "")
        self.box.children = [self._said, self._now, self._stay] if asked else [self._pause, self._stop, self._said]

    def _on_stop(self, _: Any) -> None:
        if self._ended:
            return
        self._said.value, self.box.children = "Stopping…", [self._said]
        os.kill(os.getpid(), signal.SIGINT)  # as the kernel's own interrupt: the cell gets KeyboardInterrupt


def _answer_beside_the_cell(button: Any) -> None:
    """Clicks on this button are handled while the cell that shows it works, from the first moment and in every front end.

    ipykernel 7.4 asks the button's comm which of the kernel's threads ("subshells") is to have a message. Of itself it
    names the thread that made the button: that one is busy until there is nothing left to stop. JupyterLab makes a
    subshell for clicks, but sends those that come before it is there to the busy thread as well.
    """
    button.comm._reply_subshell_for = _subshell


def _subshell(data: Any, sent_to: str | None) -> str:
    """The subshell that a message was sent to, else any, else a new one. ipykernel calls it in the thread that makes them."""
    from ipykernel.kernelbase import Kernel

    made = Kernel.instance().shell_channel_thread.manager
    return sent_to or next(iter(made.list_subshell()), None) or made._create_subshell()


class Banner:
    """An output that stays where it was first shown; any later cell can update it."""

    def __init__(self, name: str):
        self._name = name
        self._shown = False

    def show(self, data: dict[str, Any]) -> None:
        """Displays the bundle: MIME type → content."""
        from IPython.display import display

        display({**data, "text/html": literal(data["text/html"])}, raw=True, display_id=self._name, update=self._shown)
        self._shown = True


def on_error(report: Callable[[BaseException], None], said: Callable[[BaseException], str]) -> None:
    """Calls `report` when a cell fails; only the latest registration counts, however often the notebook starts.

    For the person at the notebook, what `said` makes of an error stands below the cell.
    """
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None:
        return

    def after_cell(result) -> None:
        error = result.error_in_exec or result.error_before_exec
        if error is not None:
            report(error)

    if earlier := getattr(shell, "_runbook_after_cell", None):
        shell.events.unregister("post_run_cell", earlier)
    shell._runbook_after_cell = after_cell
    if interactive():
        shell.set_custom_exc((RunbookError,), partial(_show_error, said))
    shell.events.register("post_run_cell", after_cell)


def _show_error(said: Callable[[BaseException], str], shell: Any, kind: type, error: Any, *_: Any, **__: Any) -> None:
    shell._showtraceback(kind, error, [f"{kind.__name__}: {said(error)}"])
