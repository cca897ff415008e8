"""Operators of the state machine: the stages as a notebook runs them, cut off in many ways, and how each ended.

A death is SIGKILL in a forked child. What the child wrote to the tables before it died comes back through a pipe, record by
record, so that nothing is lost that had arrived; what it wrote to disk is there.
"""

import contextlib
import itertools
import json
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, Executor, Future
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pytest
from faults.machine_model import Model
from support_flows import Flow
from support_memory import Memory, Place

from runbook_lib import failpoints
from runbook_lib.errors import Interrupted, Refused
from runbook_lib.journal import audit
from runbook_lib.notebook.steps import Steps
from runbook_lib.stages.rollback.rollback import Undoing
from runbook_lib.stages.rollback.undo import undo
from runbook_lib.walk import control

DONE, REFUSED, INTERRUPTED, KILLED = "done", "refused", "interrupted", "killed"


class End(NamedTuple):
    """How a command ended."""

    how: str
    report: dict[str, Any] | None = None
    sentence: str = ""


@dataclass
class Clock:
    """A clock that ticks at every look, so that no file name waits for the next second."""

    at: datetime

    def __call__(self) -> datetime:
        self.at += timedelta(seconds=1)
        return self.at

    def skip(self) -> None:
        """Beyond what a child may have seen."""
        self.at += timedelta(hours=1)


class Operator(Flow):
    """A run's stages; `on_page` is called after every page."""

    on_page: Callable[..., None] | None = None

    def command(self, name: str) -> dict[str, Any]:
        """One stage, with its report and its record in the audit chain."""
        content = getattr(self, name)()
        audit.append(self.run(), name)
        return content

    def steps(self) -> Steps:
        """Those of a flow, followed by `on_page`."""
        return replace(super().steps(), watch=lambda *_: contextlib.nullcontext(self.on_page))

    def rollback(self, stage: str = "migrate", restore_from: str = "") -> dict[str, Any]:
        """05, followed by `on_page`."""
        if self.on_page is None:
            return super().rollback(stage, restore_from)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                Undoing, "undo", lambda self_, *_: undo(self_.checkpoint, self_.target(), on_page=self.on_page)
            )
            return super().rollback(stage, restore_from)


def ended(work: Callable[[], dict[str, Any]]) -> End:
    """The work, done here."""
    try:
        return End(DONE, json.loads(json.dumps(work())))
    except Refused as problem:
        return End(REFUSED, sentence=str(problem))
    except Interrupted as problem:
        return End(INTERRUPTED, sentence=str(problem))
    except KeyboardInterrupt:  # the notebook makes a sentence of it
        return End(INTERRUPTED)


def killed(work: Callable[[], dict[str, Any]], points: str, memory: Memory, clock: Clock) -> End:
    """The work, done in a child process that SIGKILL ends at one of the points, if it comes to it."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if not child:
        code = 1
        try:
            os.close(reading)
            _tell_writes(memory, writing)
            failpoints.arm(points)
            end = ended(work)
            os.write(writing, json.dumps({"end": end}).encode() + b"\n")
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = [json.loads(line) for line in pipe]
    _, status = os.waitpid(child, 0)
    clock.skip()
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, -signal.SIGKILL), f"{points}: the child ended with {code}"
    end = End(KILLED)
    for record in told:
        if "end" in record:
            end = End(*record["end"])
        else:
            memory.replay(tuple(record["place"]), record["after"])
    return end if code == 0 else End(KILLED)


def _tell_writes(memory: Memory, pipe: int) -> None:
    before_that = memory.on_write

    def tell(place: tuple[str, str], before: dict | None, after: dict | None) -> None:
        os.write(pipe, json.dumps({"place": place, "after": after}).encode() + b"\n")
        before_that(place, before, after)

    memory.on_write = tell


@contextlib.contextmanager
def armed(points: str | Callable[[str], object]) -> Iterator[None]:
    """A block in which points fail."""
    try:
        failpoints.arm(points)
        yield
    finally:
        failpoints.disarm()


def at_point(number: int, do: Callable[[], None]) -> Callable[[str], None]:
    """To be armed: does something once, at the Nth request or journal record."""
    count = itertools.count(1)

    def reached(point: str) -> None:
        if point.startswith(("wire.", "journal.")) and next(count) == number:
            do()

    return reached


def at_page(operator: Operator, number: int, way: str) -> None:
    """The operator asks it to stop, or presses Ctrl-C, at the Nth page."""
    count, run = itertools.count(1), operator.run()

    def on_page(*_: Any) -> None:
        if next(count) == number:
            if way == "by hand":
                raise KeyboardInterrupt
            control.request_stop(run)
        control.check(run)

    operator.on_page = on_page


def refusing(memory: Memory, model: Model, every: int, *, for_good: bool) -> None:
    """The engine refuses every Nth insert: of a key for good, or a statement of a batch for the moment."""
    count, run = itertools.count(1), model.busy

    def refusal(operation: str, place: Place) -> str | None:
        if operation == "DeleteItem":
            return None
        if for_good:
            if place in run.refused or next(count) % every == 0:
                run.refused.add(place)
                return "ValidationException"
        elif operation == "BatchExecuteStatement" and next(count) % every == 0:
            return "ThrottlingError"
        return None

    memory.before_write = refusal


def racing(memory: Memory, number: int, edit: Callable[[Place], None], *, deletes: bool) -> None:
    """The application writes to the very place of the Nth insert, or the Nth delete, in the instant before it."""
    count = itertools.count(1)

    def raced(operation: str, place: Place) -> None:
        if (operation == "DeleteItem") == deletes and next(count) == number:
            edit(place)

    memory.before_write = raced


class OneByOne(Executor):
    """In the place of a pool of threads: what is submitted is done when somebody waits for it, in that order.

    With threads it is left to chance how far the others come before one's failure stops them, and no example would be the
    same twice.
    """

    def __init__(self, *_: Any, **__: Any):
        """Takes what a pool takes."""

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future:
        """To be done later."""
        future: Future = Future()
        future.do = lambda: work(*arguments)
        return future

    def map(self, work: Callable[[Any], Any], *found: Iterable[Any]) -> Iterator[Any]:
        """One after the other, as the results are asked for."""
        return map(work, *found)

    @staticmethod
    def wait(futures: Iterable[Future], return_when: str = ALL_COMPLETED) -> tuple[set[Future], set[Future]]:
        """Does the first of the futures, or all of them."""
        left = [future for future in futures if not future.done()]
        for future in left[:1] if return_when == FIRST_COMPLETED else left:
            try:
                future.set_result(future.do())
            except Exception as problem:
                future.set_exception(problem)
        return {future for future in futures if future.done()}, {future for future in futures if not future.done()}


def close_logs() -> None:
    """Closes the run logs of a machine that has ended."""
    for name in [name for name in logging.Logger.manager.loggerDict if name.startswith("runbook./")]:
        for handler in list(logging.getLogger(name).handlers):
            handler.close()
        del logging.Logger.manager.loggerDict[name]
