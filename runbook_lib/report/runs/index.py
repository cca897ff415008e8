"""The index of the runs in a folder: a page that works from the file system.

Of a run whose last execution ended, what it came to stands in the last record of its audit chain; then no report and no
journal is read. Whoever changes a run adds a record first. Of another run the reports and the events of 03 are read.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from ...errors import Refused
from ...run.chain import SUMMARY
from ...run.files import lock_file, not_written, open_lock, write_atomically
from ...run.folder import Run, about_of, runs
from ...verdict import NOT_FINISHED
from ..drawing.html import clipped, duration
from ..drawing.page import render
from .bundle import summary_in
from .executions import Execution, History, history
from .outcome import DAMAGED, outcome_of
from .status import UNKNOWN
from .summary import TONES, Written, readable

LOCK = ".index.lock"


class Ended(NamedTuple):
    """An execution that has just ended, and is in no record yet."""

    run_id: str
    copy: str  # its executed notebook; "" where there is none
    verdict: str | None
    written: Written  # what the run has come to


class Link(NamedTuple):
    """One execution, as the index shows it."""

    name: str
    page: str | None  # in the run's folder
    verdict: str | None
    tone: str
    took: str


@dataclass(frozen=True)
class Row:
    """One run, as the index shows it."""

    run_id: str
    created: str
    places: Sequence[str]
    mapping: str
    verdict: str
    tone: str
    headline: str
    problem: str
    links: Sequence[Link]
    summary: str | None
    bundle: tuple[str, str] | None
    empty: bool  # whether nothing was executed in it


def write_index(outputs: Path, ended: Ended | None = None) -> Path:
    """Writes `index.html` of the runs in a folder; returns its path. `ended` is not looked up again. Raises OSError."""
    rows = [_row(run, ended if ended and ended.run_id == run.id else None) for run in runs(outputs)]
    page = render(Path(__file__), "Runs", rows=[r for r in rows if not r.empty], empty=[r for r in rows if r.empty])
    write_atomically(outputs / "index.html", page)
    return outputs / "index.html"


@contextmanager
def in_turn(outputs: Path) -> Iterator[None]:
    """A block that ends a stage: of two at once, the later one sees in its pages what the earlier one came to.

    Where the folder takes no lock, or another keeps it, it goes on without.
    """
    with ExitStack() as stack:
        with suppress(OSError, Refused):
            lock_file(stack.enter_context(open(open_lock(outputs / LOCK, 0o666), "rb")))
        yield


def refresh_index(outputs: Path, ended: Ended | None = None) -> str:
    """As `write_index`; gives "", or a sentence where the page cannot be written: it is out of date then, if it is there."""
    try:
        write_index(outputs, ended)
    except OSError as problem:
        return not_written(outputs / "index.html", problem)
    return ""


def _row(run: Run, ended: Ended | None) -> Row:
    known, names = about_of(run), frozenset(os.listdir(run.folder))
    places = (
        [clipped(known[side]["environment"], 60) for side in ("source", "target") if side in known] if known else []
    )
    links: list[Link] = []
    past = History()
    verdict, headline, problem = DAMAGED, "", "" if known else UNKNOWN
    try:
        past = history(run)
        verdict, headline = _outcome(run, past, ended)
        links = _links(run, past, names, ended)
        broken = "audit.jsonl holds a line that is no record" if past.damaged else ""
        problem = problem or broken or (past.not_as_left(run.folder) if not ended else None) or ""
    except (
        Refused,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        IndexError,
    ) as found:  # the affair of that run alone
        problem = problem or _said(found, run)
    if problem and verdict == DAMAGED:
        headline = ""
    return Row(
        run.id,
        readable(known["created"]) if known else "",
        places,
        known["mapping"] if known else "",
        verdict,
        TONES.get(verdict, "none"),
        headline,
        f"{problem}; see runbook verify" if problem and problem != UNKNOWN else problem,
        links,
        SUMMARY if SUMMARY in names else None,
        _bundle(run, past) if not ended else None,
        not (links or problem or "journal" in names),
    )


def _said(problem: Exception, run: Run) -> str:
    if isinstance(problem, Refused):
        return str(problem).replace(f"{run.folder}/", "")
    return "a file of this run does not hold what the program writes"


def _outcome(run: Run, past: History, ended: Ended | None) -> tuple[str, str]:
    """The run's verdict as it stands, and the sentence with it."""
    if ended:
        return ended.written.verdict, ended.written.headline
    if past.outcome and "headline" in past.outcome and not past.damaged:
        return past.outcome["verdict"], past.outcome["headline"]
    found = outcome_of(run)
    if (writing := past.writing()) and found.verdict != NOT_FINISHED:
        return NOT_FINISHED, f"{writing.stage} has begun and not ended"
    return found.verdict, found.headline


def _links(run: Run, past: History, names: frozenset[str], ended: Ended | None) -> list[Link]:
    """Each executed copy, and each execution that left none, as by hand; the latest last."""
    told = {one.copy: one for one in past.executions if one.copy}
    if ended and past.executions:  # in no record yet
        told[ended.copy] = replace(past.executions[-1], copy=ended.copy, verdict=ended.verdict)
    copies = run.in_order(run.folder / name for name in names if name[:1] == "0" and name.endswith(".ipynb"))
    found = []
    for path in copies:
        page = path.with_suffix(".html").name
        found.append(_link(path.stem, page if page in names else path.name, told.get(path.name)))
    began = {(one.stage, one.began) for one in told.values()}
    bare = [one for one in past.executions if one.verdict and not one.copy and (one.stage, one.began) not in began]
    return found + [_link(f"{one.stage} by hand", None, one) for one in bare]


def _link(name: str, page: str | None, one: Execution | None) -> Link:
    verdict = one.verdict if one else None
    took = duration(one.seconds) if one and one.seconds is not None else ""
    return Link(name, page, verdict, TONES.get(verdict or "", "none"), took)


def _bundle(run: Run, past: History) -> tuple[str, str] | None:
    """The name of the run's zip file and what to call it; None where there is none."""
    path = run.folder.with_name(f"{run.id}.zip")
    if not path.is_file():
        return None
    current = past.files.get(SUMMARY)
    return path.name, "zip" if current and summary_in(path) == current else "zip of an earlier state"
