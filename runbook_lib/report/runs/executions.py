"""The executions of a run as its audit chain has them: who, when, for how long, what each came to. No other file is read."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from stat import S_ISREG
from typing import Any

from ...process import is_at_work
from ...run.chain import FILE, JOURNALS, SAVING
from ...run.files import open_to_read
from ...run.folder import Run

STAGES = {  # with their titles
    "00_draft": "Draft",
    "01_analyze": "Analyze",
    "02_test": "Test",
    "03_migrate": "Migrate",
    "04_validate": "Validate",
    "05_rollback": "Roll back",
}


@dataclass
class Execution:
    """One execution of one stage's notebook."""

    stage: str
    actor: str  # user@host
    began: str
    ended: str | None = None  # when its work was done; None where it was refused, interrupted, or still works
    verdict: str | None = None  # its own; None where nobody has said one yet
    copy: str = ""  # its executed notebook, where there is one
    worked: bool = False  # whether it came further than to open the run

    @property
    def seconds(self) -> float | None:
        """How long its work took; None where it did not end, or the clock was set back."""
        if not self.ended:
            return None
        taken = (datetime.fromisoformat(self.ended) - datetime.fromisoformat(self.began)).total_seconds()
        return taken if taken >= 0 else None


@dataclass
class History:
    """What the records of a chain say, seals not checked: `runbook verify` does that."""

    executions: list[Execution] = field(default_factory=list)
    head: str = ""  # hash of the last record
    outcome: dict[str, Any] | None = None  # of the last record, where an execution ended with it
    files: dict[str, str] = field(default_factory=dict)  # that are to be there -> SHA-256
    journal: dict[str, int | None] = field(default_factory=dict)  # file -> bytes, where the chain says so
    damaged: bool = False  # whether a line is no record
    _open: dict[str, list[str]] = field(default_factory=dict)
    _current: dict[str, Execution] = field(default_factory=dict)  # "<stage> <executor>" -> the latest

    def add(self, record: Mapping[str, Any]) -> None:
        """Takes the next record."""
        self.head, self.outcome = record["hash"], record.get("outcome")
        for name in record.get("gone", ()):
            self.files.pop(name, None)
            self.journal.pop(name, None)
        self.files |= record["files"]
        self.journal |= {name: (head[2] if len(head) > 2 else None) for name, head in record["journal"].items()}
        opened = record.get("open", {})
        for key in {**self._open, **opened}:
            if key.partition(" ")[0] in STAGES:
                self._follow(key, opened.get(key), record)
        self._open = opened
        of_stage = [one for one in self._current.values() if one.stage == record["stage"]]
        if of_stage and self.outcome:
            latest = max(of_stage, key=self.executions.index)
            latest.copy = self.outcome.get("copy") or latest.copy
            latest.verdict = self.outcome.get("stage_verdict") or latest.verdict

    def _follow(self, key: str, can: list[str] | None, record: Mapping[str, Any]) -> None:
        """`can`: what an execution may do from this record on; None where it is over."""
        execution, stage, over = self._current.get(key), key.partition(" ")[0], can in (None, [*SAVING])
        begins = key not in self._open or (execution is not None and execution.ended and not over)
        if execution is None or begins:
            execution = Execution(stage, record["actor"], record["at"])
            self._current[key] = execution
            self.executions.append(execution)
        if not over and stage == record["stage"]:
            execution.worked = True
        elif over and stage == record["stage"] and execution.worked and not execution.ended:
            execution.ended = record["at"]

    def latest(self, stage: str) -> Execution | None:
        """The latest execution of a stage."""
        return next((one for one in reversed(self.executions) if one.stage == stage), None)

    def actors(self) -> list[str]:
        """Who executed something, the first first."""
        return list(dict.fromkeys(one.actor for one in self.executions))

    def writing(self) -> Execution | None:
        """An execution that may have begun to write to the target and has not ended, as far as the chain knows."""
        found = [one for key, one in self._current.items() if self._open.get(key, [*SAVING]) != [*SAVING]]
        return next((one for one in found if one.stage in JOURNALS), None)

    def writes_beside(self, stage: str) -> str | None:
        """Another stage than this one that may be writing to the target, in a process that is surely there."""
        for key, can in self._open.items():
            other, _, executed_by = key.partition(" ")
            if other in JOURNALS and other != stage and can != [*SAVING] and is_at_work(executed_by):
                return other
        return None

    def not_as_left(self, folder: Path) -> str | None:
        """The first file that is plainly not as the chain has it: gone, no file, or a journal of another size. Read-only."""
        for name in sorted(self.files.keys() | self.journal.keys()):
            if name.endswith("/"):
                continue
            try:
                about = os.lstat(folder / name)
            except OSError:
                return f"{name} was removed"
            size = self.journal.get(name)
            if not S_ISREG(about.st_mode) or (size is not None and about.st_size != size):
                return f"{name} was changed"
        return None


def history(run: Run) -> History:
    """The run's audit chain, read once. Read-only. Raises Refused where it is no file."""
    found = History()
    for record in _records(run.folder / FILE):
        try:
            found.add(record)
        except (KeyError, TypeError, ValueError, AttributeError):
            found.damaged = True
    return found


def _records(path: Path) -> Iterator[Any]:
    with suppress(FileNotFoundError), open_to_read(path) as lines:
        for line in lines:
            try:
                yield json.loads(line)
            except (ValueError, RecursionError):
                yield None
