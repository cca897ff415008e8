"""Controlling a run while it works, from any terminal: stopping it, changing its budgets, asking whether to cut over.

Each request is a file in the run's folder. The stage looks for it after every page, or every round of following.
"""

import json
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from ..errors import Interrupted, ParametersError, Refused
from ..parameters import Limits
from ..run.files import lock_file, open_lock, open_to_read, read_json, remove_file, still_ours, write_atomically
from ..run.folder import Run, iso, now
from ..yaml_files import suggest
from .plan import Plan, budgets_of, tables_of

STOP, TUNE, CUTOVER = ".stop", ".tune", ".cutover"
GLANCE = 1.0  # seconds: for so long a reader may hold a request at most
MOST = 10_000  # bytes of a request
KEYS = ("limits.read_units", "limits.write_units", "limits.tables.ENTRY.read_units", "limits.tables.ENTRY.write_units")
_KEY = re.compile(r"limits\.(?:tables\.(?P<entry>.+)\.)?(?P<kind>(?:read|write)_units)")


def request_stop(run: Run) -> None:
    """Asks the run to stop after its current page, so that it can be resumed. Writes to the run's folder.

    Raises Interrupted as its disk does.
    """
    with run.saving():
        write_atomically(run.folder / STOP, json.dumps({"request": "stop", "at": iso(now())}).encode(), 0o600)


def check(run: Run, text: str = "stop was requested; the current page is complete.") -> None:
    """Raises Interrupted, with this text, where somebody asked the run to stop. Read-only."""
    if is_requested(run):
        raise Interrupted(text)


def is_requested(run: Run) -> bool:
    """Whether somebody asked the run to stop. Read-only."""
    return (run.folder / STOP).exists()


def check_wait(run: Run) -> None:
    """As `check`, while a table is waited for in the middle of a page."""
    check(run, "stop was requested while a table was waited for; the current page is looked up on resuming.")


def clear(run: Run) -> None:
    """Withdraws all requests: the next stage starts with the budgets of its parameters. Writes to the run's folder.

    Raises Refused where a folder has the name of one.
    """
    for name in (STOP, TUNE):
        remove_file(run.folder / name)


def request_tuning(run: Run, settings: dict[str, Any]) -> dict[str, float | None]:
    """Asks the run to keep other budgets until its stage ends. Writes to the run's folder.

    Returns all requested budgets: dotted key → units a second, None for no limit. Refused for other keys, for an entry
    that the run does not have, and for a value that is neither a number above 0 nor None. Interrupted as the disk does.
    """
    asked = _asked(run) or {}
    for key, value in settings.items():
        found = _KEY.fullmatch(key)
        if not found:
            raise Refused(f"{key} cannot be changed during a run; {', '.join(KEYS)} can.")
        entries = [*(run.latest_json("migration-checkpoint") or {}).get("entries", ()), "*"]
        if (entry := found["entry"]) and len(entries) > 1 and entry not in entries:
            raise Refused(f"{key}: no entry {entry!r}{suggest(entry, entries)}")
        number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
        if value is not None and not (number and 0 < value <= sys.float_info.max):
            raise Refused(f"{key}={value}: give units a second, a number above 0, or `null` for no limit.")
        asked[key] = None if value is None else float(value)
    with run.saving():
        write_atomically(run.folder / TUNE, json.dumps({"at": iso(now()), "settings": asked}).encode(), 0o600)
    return asked


class CutoverRequest(NamedTuple):
    """What `runbook cutover` asks of the process that follows the source."""

    id: str
    at: str  # ISO 8601
    quiet: float  # seconds without a change before the gate may open
    accept_drift: bool  # whether items that are listed in drift.jsonl keep it closed no longer


@contextmanager
def asking_cutover(run: Run, quiet: float, *, accept_drift: bool) -> Iterator[CutoverRequest]:
    """A block in which the process that follows the source is asked whether both sides are equal. Writes to the run's folder.

    The file counts for as long as this process holds it: nobody opens a gate for an operator who has gone. Refused where
    another process asks. Raises Interrupted as the run's disk does.
    """
    path = run.folder / CUTOVER
    asked = CutoverRequest(secrets.token_hex(8), iso(now()), quiet, accept_drift)
    with run.saving():
        file = _hold(path)
        if file is None:
            raise Refused(f"another process asks for the cut-over of {run.id} already; wait for its answer.")
    with file:
        try:
            with run.saving():
                file.truncate()
                file.write(json.dumps(asked._asdict()).encode())
                file.flush()
            yield asked
        finally:
            remove_file(path)


def _hold(path: Path) -> BinaryIO | None:
    """The file, locked; None where another process keeps it."""
    while True:
        file = open(open_lock(path), "r+b")  # noqa: SIM115 - whoever asked for it closes it
        with suppress(OSError):  # a file system without locks: the file alone says that somebody asks
            if not lock_file(file, patience=GLANCE):
                file.close()
                return None
        if still_ours(path, file):
            return file
        file.close()


def cutover_request(run: Run) -> CutoverRequest | None:
    """What somebody asks who waits for the answer, or None. Read-only."""
    with suppress(OSError, ValueError, KeyError, TypeError, Refused), open_to_read(run.folder / CUTOVER) as file:
        with suppress(OSError):
            if lock_file(file, shared=True, patience=0):
                return None
        found = CutoverRequest(**json.loads(file.read(MOST)))
        if [*map(type, found)] == [str, str, float, bool] and found.quiet >= 0:
            return found
    return None


class Tuning:
    """Keeps the budgets of a plan at what `runbook tune` asked for last."""

    def __init__(self, run: Run, plan: Plan):
        """`plan.limiter` has the budgets of the parameters now."""
        self._run, self._plan = run, plan
        self._seen: tuple[int, int] | None = None  # the file and its time

    def apply(self) -> None:
        """Sets the budgets where others were asked for since the last call. Costs one look at the file's time."""
        try:
            found = (self._run.folder / TUNE).stat()
        except FileNotFoundError:
            return
        if (file := (found.st_ino, found.st_mtime_ns)) == self._seen:  # each request is a file of its own
            return
        self._seen = file
        if not (asked := _asked(self._run)):
            return
        try:
            limits = _tuned(self._plan.parameters.limits, asked)
            self._plan.limiter.allow(budgets_of(limits, tables_of(self._plan.mapping.entries)))
        except ParametersError as problem:
            self._run.logger().warning("limits not changed: %s", problem)
            return
        words = ", ".join(f"{key}={value or 'no limit'}" for key, value in asked.items())
        self._run.logger().info("tuned: %s", words)


def _tuned(limits: Limits, asked: dict[str, float | None]) -> Limits:
    content = limits.model_dump()
    for key, value in asked.items():
        entry, kind = _KEY.fullmatch(key).group("entry", "kind")
        place = content
        if entry:
            every = content["tables"].get("*", {})
            place = content["tables"].setdefault(entry, dict(every))
        place[kind] = value
    return Limits.model_validate(content)


def _asked(run: Run) -> dict[str, float | None] | None:
    try:
        return read_json(run.folder / TUNE)["settings"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
