"""Executes a notebook with papermill into the run's folder, and writes its HTML copies and the index of all runs."""

import re
import sys
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import Refused
from ..journal import audit
from ..journal.snapshot import Snapshot
from ..journal.stage import Stage
from ..parameters import project_root
from ..process import headless, papermill_with, stop_before_interrupting, visible
from ..report.runs.index import Ended, in_turn, refresh_index
from ..report.runs.summary import write_summary
from ..run.chain import CREATED, JOURNALS, SUMMARY
from ..run.files import read_json, write_atomically
from ..run.folder import Run
from ..run.progress_file import clear
from ..run.released import UNKNOWN, Notebook, look
from ..stages.execution import resume_hint
from ..verdict import BUG, EXIT_BUG, EXIT_INTERRUPTED, INTERRUPTED, NOT_FINISHED
from ..walk import control
from .display import banner
from .export import export, result_of, set_result
from .parameters_cell import folded

_NO_KERNEL = ("Kernel died before", "Kernel didn't respond")  # jupyter_client's words, which have no class of their own
_COLOUR = re.compile(r"\x1b\[[\d;]*m")  # as IPython writes it


@dataclass(frozen=True)
class Execution:
    """The result of executing one notebook."""

    notebook: Path  # the executed copy
    html: Path | None
    exit_code: int
    result: dict[str, Any]  # verdict, exit_code, headline, file, ...; what the banner says
    traceback: str | None = None  # of a bug
    head: str = ""  # hash of the last record of the audit chain
    released: bool | None = None  # whether the notebook is as it was released


def notebook_path(stage: str) -> Path:
    """The notebook of a stage: from the project around the working directory, else from the folder beside this package."""
    for root in (project_root(), Path(__file__).resolve().parents[2]):
        path = root / "notebooks" / f"{stage}.ipynb"
        if path.exists():
            return path
    raise Refused(f"notebooks/{stage}.ipynb is missing; run from the project's folder.")


def execute(
    stage: str,
    run: Run,
    parameters: dict[str, Any],
    following: Callable[[Run, str], AbstractContextManager] = lambda run, stage: nullcontext(),
) -> Execution:
    """Runs a stage's notebook with these parameters. Writes the executed copy and its HTML into the run's folder.

    `following` makes the block around all that, which shows how far the stage is.
    """
    clear(run, stage)
    try:
        with following(run, stage):
            return _execute(stage, run, parameters)
    finally:
        clear(run, stage)  # the kernel leaves its last figures to who shows them


def _execute(stage: str, run: Run, parameters: dict[str, Any]) -> Execution:
    control.clear(run)
    audit.begin(run, stage)
    if stage in JOURNALS and parameters.get("execute"):
        write_summary(run, writing=stage)  # whatever becomes of this process: no verdict of before outlives it
    copy = own_copy(run, copy_name(stage, parameters), notebook_path(stage).read_bytes())
    problem, traceback = _run_cells(copy, run, folded(stage, parameters))
    result = banner_of(copy)
    told = bool(result) and result["verdict"] != NOT_FINISHED  # a problem that the notebook handled itself
    if problem and traceback is None and not told:
        result = _say_interrupted(copy, run, stage, problem)
        told = True
    html, about = keep(run, stage, copy, result, _word(result, problem, traceback))
    if problem is None:
        return Execution(copy, html, result["exit_code"], result, **about)
    if told:
        bug = result["exit_code"] == EXIT_BUG
        return Execution(copy, html, result["exit_code"], result, traceback if bug else None, **about)
    return Execution(copy, html, EXIT_BUG, {**result, "verdict": BUG, "headline": problem}, traceback, **about)


def _run_cells(copy: Path, run: Run, parameters: dict[str, Any]) -> tuple[str | None, str | None]:
    """Executes the notebook in place; gives what ended it before its last cell, and the traceback where a cell raised."""
    papermill = papermill_with(write_atomically)
    from nbclient.exceptions import DeadKernelError
    from traitlets.config import Config

    def stop() -> None:
        control.request_stop(run)
        print("Stopping after the current page; press Ctrl-C again to stop now.", file=sys.stderr, flush=True)

    try:
        with stop_before_interrupting(stop), headless(copy):
            papermill.execute_notebook(
                str(copy),  # not the released one, which may have changed since
                str(copy),
                parameters=parameters,
                kernel_name="python3",
                progress_bar=False,
                shutdown_kernel="immediate",
                store_widget_state=False,
                coalesce_streams=True,
                autosave_cell_every=5,
                config=Config({"KernelManager": {"transport_encryption": "auto"}}),
            )
    except papermill.exceptions.PapermillExecutionError as error:
        return f"{error.ename}: {error.evalue}", _COLOUR.sub("", "\n".join(error.traceback))
    except KeyboardInterrupt:
        return "interrupted by hand", None
    except DeadKernelError:
        return "the notebook's kernel died", None
    except RuntimeError as error:
        if not str(error).startswith(_NO_KERNEL):
            raise
        return "the notebook's kernel did not start", None
    return None, None


def keep(
    run: Run, stage: str, copy: Path, result: Mapping[str, Any], verdict: str
) -> tuple[Path | None, dict[str, Any]]:
    """Writes what belongs to an executed copy: its pages, summary and index, the audit record. Raises Refused.

    `result` is its banner's data, `verdict` its word. Gives the report's page, the record's hash (`head`), and whether it is
    the `released` notebook.
    """
    pages = export(copy) if copy.exists() else ()
    over = result.get("exit_code", EXIT_INTERRUPTED) not in (EXIT_INTERRUPTED, EXIT_BUG)
    own, notebook = [path.name for path in (copy, *pages)], look(stage, copy)
    by = result.get("executor", "")
    head = conclude(run, stage, over=over, own=own, verdict=verdict, notebook=notebook, by=by)
    return next(iter(pages), None), {"head": head, "released": notebook.released}


def conclude(
    run: Run,
    stage: str,
    *,
    over: bool = True,
    own: Collection[str] = (),
    verdict: str | None = None,
    notebook: Notebook = UNKNOWN,
    by: str = "",
) -> str:
    """Writes the run's summary, the index of all runs, and the audit record of what a notebook left; gives the record's hash.

    `own` are the names of the files that it wrote, `verdict` is its own, `notebook` is what was executed, `by` whom
    (`executor`). Where the execution is not `over` but was interrupted, workers may still write for it. A page that cannot be
    written is a line on stderr. The run's journals are read once for all three. Raises Refused.
    """
    with in_turn(run.folder.parent):
        return _conclude(run, stage, over, own, verdict, notebook, by)


def _conclude(
    run: Run, stage: str, over: bool, own: Collection[str], verdict: str | None, notebook: Notebook, by: str
) -> str:
    heads = audit.journal_heads(run)
    journals: list[Snapshot] = []
    damage = ""
    for name in ("test", "migrate"):
        try:
            journals.append(Stage(run, name).read(heads=heads))
        except Refused as problem:  # the audit and the summary say so
            damage = str(problem)
    try:
        written = write_summary(run, journals, after=stage, damage=damage)
        copy = next((name for name in own if name.endswith(".ipynb")), "")
        unwritten = written.problem, refresh_index(run.folder.parent, Ended(run.id, copy, verdict, written))
        for problem in filter(None, unwritten):
            print(visible(problem), file=sys.stderr)
    except BaseException:
        audit.append(run, stage, None, journals=journals, own=[SUMMARY], notebook=notebook, by=by)
        raise
    outcome, may = written.as_outcome(verdict, copy), audit.OVER if over else None
    more = {"own": [*own, SUMMARY], "outcome": outcome, "notebook": notebook, "by": by}
    return audit.append(run, stage, may, journals=journals, **more)


def _word(result: dict[str, Any], problem: str | None, traceback: str | None) -> str:
    """The verdict of an execution, also where its kernel could not say one."""
    said = result.get("verdict", NOT_FINISHED)
    if problem is None or said != NOT_FINISHED:
        return said
    return INTERRUPTED if traceback is None else BUG


def copy_name(stage: str, parameters: Mapping[str, Any]) -> str:
    """What the executed copy of a stage is called: by what it did with these parameters. Pure."""
    return CREATED if stage == "02_test" and not parameters.get("table") else stage


def own_copy(run: Run, name: str, content: bytes) -> Path:
    """A new copy in the run's folder, called `name` or `name`-2, …, with this content. No two executions get the same one."""
    while True:
        copy = run.folder / f"{run.free_name(name)}.ipynb"
        try:
            with copy.open("xb") as file:
                file.write(content)
        except FileExistsError:
            continue
        return copy


def _say_interrupted(copy: Path, run: Run, stage: str, problem: str) -> dict[str, Any]:
    """The banner's data of a notebook whose kernel ended: interrupted, and how to resume. Writes it into the executed copy."""
    import nbformat

    with suppress(OSError, Refused):
        run.logger().error("%s stops: %s", stage, problem)
    notebook = nbformat.read(copy, 4) if copy.exists() else None
    resume = resume_hint(run, stage)
    known = {"stage": stage, "run_id": run.id, "file": None, "plan": [], "facts": [["run", run.id]]}
    headline = f"{problem}. {resume}"
    more = {"verdict": INTERRUPTED, "exit_code": EXIT_INTERRUPTED, "headline": headline, "resume": resume}
    result = {**known, **(result_of(notebook) if notebook else {}), **more}
    if notebook:
        set_result(notebook, banner(result))
        write_atomically(copy, nbformat.writes(notebook).encode())
    return result


def banner_of(copy: Path) -> dict[str, Any]:
    """The data of the banner in a notebook; empty where it has none yet. Read-only."""
    return result_of(read_json(copy)) if copy.exists() else {}
