"""How far a stage is, as figures, and the hidden file of the run's folder that holds them while it works.

Its writer holds the file locked: the system lets go of the lock when the process ends, however it ends. So a reader needs to
believe no process id and no clock: what nobody holds is not shown as going on.
"""

import json
import os
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import Refused
from ..process import executor
from .files import lock_file, open_to_read, remove_file, still_ours
from .folder import Run

FILE = ".progress."  # and the stage
COMMAND = "command"  # stands for the stage where a command holds the file, from its first moment to its last
MAX_BYTES = 5_000_000  # of a file
# States of a table; a stage may name others.
READING, WRITING, UNDOING, WAITING, FINISHED = "reading", "writing", "undoing", "waiting", "finished"
STOPPED = "stopped"  # of a stage that did not finish
# What reading a file that the program did not write may raise.
UNUSABLE = (OSError, Refused, ValueError, TypeError, KeyError, AttributeError, RecursionError)


@dataclass(frozen=True)
class TableProgress:
    """How far one source table is; in an undo, one entry."""

    name: str
    done: int  # items, with those of earlier executions
    total: int | None  # an estimate, until the table is finished; None: more have come than that
    rate: float  # items a second, lately
    state: str
    after: tuple[str, ...] = ()  # tables that it waits for
    slowed: tuple[str, ...] = ()  # why it is slower than it could be
    before: bool = False  # an earlier execution finished it


@dataclass(frozen=True)
class TableFollowing:
    """How far the stream of one source table is followed."""

    name: str
    behind: float  # seconds since the newest change that is applied was made, while there is more; else 0
    records: int  # read, and not applied yet
    applied: int  # records, over all executions
    drifted: int  # items that were left alone
    quiet: int  # reads of all open shards in a row that gave nothing


@dataclass(frozen=True)
class StageProgress:
    """How far a stage is, at one moment. Names and figures, no values."""

    stage: str
    tables: tuple[TableProgress, ...] = ()
    rate: float = 0.0  # items a second, lately
    state: str = READING  # what is done with the items
    execution: int = 1  # of the run's stage
    earlier: int = 0  # items that earlier executions have done
    doing: str = ""  # what it does where it does not go through items
    slowed: tuple[str, ...] = ()  # what slows it down
    since: str = ""  # ISO 8601
    seconds: float = 0.0
    ended: str = ""  # "" while it goes on, FINISHED or STOPPED
    uncertain: int = 0  # items of pages that earlier executions did not finish, to be looked up yet
    by: str = field(default_factory=executor)  # who executes it
    following: tuple[TableFollowing, ...] = ()  # after the walk

    @property
    def done(self) -> int:
        """Items."""
        return sum(table.done for table in self.tables)

    @property
    def total(self) -> int | None:
        """Items, as far as DynamoDB's estimates go; None where they do not hold."""
        totals = [table.total for table in self.tables]
        return None if None in totals else sum(totals) or None

    @property
    def finished(self) -> list[TableProgress]:
        """The tables that are finished."""
        return [table for table in self.tables if table.state == FINISHED]

    @property
    def left(self) -> float | None:
        """Seconds, as things go now; None where nobody can say."""
        return None if self.total is None or not self.rate else max(0, self.total - self.done) / self.rate

    def as_json(self) -> dict[str, Any]:
        """The figures as plain data."""
        figures = {
            "items": self.done,
            "of": self.total,
            "tables_finished": len(self.finished),
            "seconds_left": self.left,
        }
        return {**asdict(self), **figures}

    @classmethod
    def of_json(cls, content: Any) -> "StageProgress":
        """What `as_json` gave. Raises TypeError, ValueError, KeyError where it is something else."""
        tables = tuple(TableProgress(**_typed(one, TableProgress)) for one in content["tables"])
        following = tuple(TableFollowing(**_typed(one, TableFollowing)) for one in content["following"])
        return cls(**{**_typed(content, cls), "tables": tables, "following": following})


_KINDS: dict[Any, Any] = {int: int, float: (int, float), str: str, bool: bool, int | None: (int, type(None))}


def _typed(content: Any, kind: type) -> dict[str, Any]:
    """The fields of a dataclass, each of its type; lists of texts as tuples."""
    found = {}
    for name, wanted in kind.__annotations__.items():
        value = content[name]
        if wanted == tuple[str, ...]:
            if not all(isinstance(one, str) for one in value):
                raise TypeError(name)
            value = tuple(value)
        elif wanted in _KINDS and not isinstance(value, _KINDS[wanted]):
            raise TypeError(name)
        found[name] = value
    return found


class Published:
    """A file of a run's folder that says how far a stage is, while this is open. What the disk refuses is a line in the log."""

    def __init__(self, run: Run, stage: str):
        """Writes nothing yet."""
        self._run, self._stage, self._path = run, stage, path_of(run, stage)
        self._held: BinaryIO | None = None
        self._written, self._failed = "", False

    def write(self, now: StageProgress) -> None:
        """Replaces the file, as a whole; readable for its owner alone."""
        content = json.dumps(now.as_json())
        if content == self._written:
            return
        try:
            file = self._replace(content.encode())
        except OSError as problem:
            self._say(problem)
            return
        if self._held:
            self._held.close()
        self._held, self._written = file, content

    def _replace(self, content: bytes) -> BinaryIO:
        descriptor, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=FILE[:-1] + "-")
        file = os.fdopen(descriptor, "wb")
        try:
            lock_file(file, patience=0)
            file.write(content)
            file.flush()
            os.replace(temporary, self._path)
        except BaseException:
            os.unlink(temporary)
            with suppress(OSError):  # what it could not write is not wanted
                file.close()
            raise
        return file

    def _say(self, problem: OSError) -> None:
        """Says it once: figures come many times a second."""
        if not self._failed:
            self._failed = True
            with suppress(OSError, Refused):
                self._run.logger().warning("%s cannot be written: %s", self._path.name, problem.strerror)

    def end(self, last: StageProgress | None = None) -> None:
        """Lets go: nobody takes it for going on any more. Removes the file, or leaves the last figures to the command."""
        if last is not None:
            self.write(last)
        else:
            clear(self._run, self._stage)
        if self._held:
            self._held.close()
        self._held, self._written = None, ""


def clear(run: Run, stage: str) -> None:
    """Removes the file of a stage, which an earlier process may have left."""
    with suppress(OSError, Refused):
        remove_file(path_of(run, stage))


def path_of(run: Run, stage: str) -> Path:
    """The file that says how far a stage of the run is."""
    return run.folder / f"{FILE}{stage}"


def progress_of(run: Run, stage: str) -> StageProgress | None:
    """What the last process of this command said of a stage, whether it goes on or has ended. Read-only."""
    found = _read(path_of(run, stage))[0]
    return found if found and (found.stage, found.by) == (stage, executor()) else None


def at_work(run: Run) -> list[StageProgress]:
    """What goes on in the run now, a command that is between two steps of its notebook last. Read-only."""
    with suppress(OSError):
        paths = sorted(run.folder.glob(f"{FILE}*"), key=lambda path: (path.name == FILE + COMMAND, path.name))
        found = [(path.name.removeprefix(FILE), *_read(path)) for path in paths]
        return [one for stage, one, held in found if held and one and stage in (COMMAND, one.stage)]
    return []


def _read(path: Path) -> tuple[StageProgress | None, bool]:
    """What a file says, and whether a process that is there holds it. Nothing where it cannot be what the program wrote."""
    for _ in range(5):
        with (
            suppress(*UNUSABLE),
            open_to_read(path) as file,
        ):
            try:
                held = not lock_file(file, shared=True, patience=0)
            except OSError:  # a file system without locks: nobody can say
                held = False
            if not held and not still_ours(path, file):  # replaced meanwhile: its writer holds the new one
                continue
            return StageProgress.of_json(json.loads(file.read(MAX_BYTES))), held
        return None, False
    return None, False
