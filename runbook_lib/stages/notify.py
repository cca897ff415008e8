"""Tells a command of the user's what becomes of a stage: `notify` in the parameters."""

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

from ..errors import RunbookError
from ..journal import audit
from ..parameters import Side, project_root
from ..process import visible
from ..run.folder import Run, iso, now
from ..verdict import EXIT_BUG, EXIT_INTERRUPTED, EXIT_REFUSED, FAIL, ROLLED_BACK

BEGIN, END, PAUSE, FAILED = "begin", "end", "pause", "fail"
PATIENCE = 5.0  # seconds that the command may take


class Notifier:
    """Gives a command one JSON object on its stdin for each event of a stage. Does nothing where `command` is empty.

    A command that cannot be started, fails or hangs is a note in the run's log and on stderr, and nothing else. It gets no
    value of an item, no secret, and no environment of its own.
    """

    def __init__(self, command: str | None, run: Run, stage: str, source: Side, target: Side):
        self._words = shlex.split(command or "")
        self._run, self._stage = run, stage
        self._sides = {"from": source.environment, "to": target.environment}
        self._last = ""
        self._beginning: threading.Thread | None = None
        self._problems: list[str] = []

    def begin(self) -> None:
        """Tells that the stage begins; waits for nothing."""
        if self._words:
            told = (self._content(BEGIN),)
            self._beginning = threading.Thread(target=self._tell, args=told, daemon=True, name="notify")
            self._beginning.start()

    def over(
        self, verdict: str, exit_code: int, headline: str, html: Path | None = None, head: str | None = None
    ) -> str:
        """Tells that the stage has ended, paused or failed, once; waits until the command has ended, at most PATIENCE.

        Notes on stderr and in the run's log what went wrong; gives the hash of the audit record of that, or "".
        """
        event = event_of(self._stage, verdict, exit_code)
        if not self._words or event == self._last:
            return ""
        self._last = event
        if self._beginning:
            self._beginning.join()
        if exit_code == EXIT_BUG:  # the message of an exception may quote a value
            headline = "A fault in the program; the notebook shows it."
        said = {"verdict": verdict, "exit_code": exit_code, "headline": headline}
        self._tell(self._content(event, **said, html=str(html) if html else None, audit_head=head or None))
        return self._note(over=exit_code not in (EXIT_INTERRUPTED, EXIT_BUG))

    def _note(self, *, over: bool) -> str:
        """Notes the problems. The audit record of a stage that is `over` covers the log: what is written now needs its own."""
        problems, self._problems = self._problems, []
        for problem in problems:
            print(visible(problem), file=sys.stderr)
        with suppress(OSError, RunbookError):
            if problems:
                audit.begin(self._run, self._stage)
                for problem in problems:
                    self._run.logger().warning("%s", problem.removesuffix("."))
                return audit.append(self._run, self._stage) if over else ""
        return ""

    def _content(self, event: str, **more: object) -> bytes:
        summary = self._run.folder / "summary.html"
        nothing = dict.fromkeys(("verdict", "exit_code", "headline", "html", "audit_head"))
        about = {"run_id": self._run.id, "stage": self._stage, **self._sides, "at": iso(now())}
        summary = {"summary": str(summary) if summary.exists() else None}
        return json.dumps({"event": event, **about, **nothing, **summary, **more}).encode() + b"\n"

    def _tell(self, content: bytes) -> None:
        if problem := _run(self._words, content):
            self._problems.append(f"notify: {self._words[0]} {problem}.")


def event_of(stage: str, verdict: str, exit_code: int) -> str:
    """The word for how a stage came to its end. Pure."""
    if exit_code == EXIT_INTERRUPTED:
        return PAUSE
    undone = stage == "03_migrate" and verdict == ROLLED_BACK
    return FAILED if undone or verdict == FAIL or exit_code in (EXIT_REFUSED, EXIT_BUG) else END


def _run(words: list[str], content: bytes) -> str:
    """Runs a program with `content` on its stdin, without a shell; gives what went wrong, or ""."""
    nowhere = subprocess.DEVNULL
    about = {"stdin": subprocess.PIPE, "stdout": nowhere, "stderr": nowhere, "cwd": project_root()}
    try:
        process = subprocess.Popen(words, start_new_session=True, **about)
    except (OSError, ValueError) as problem:
        return f"cannot be started: {getattr(problem, 'strerror', None) or 'its name is not valid'}"
    try:
        process.communicate(content, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return f"did not end within {PATIENCE:g} seconds and was killed"
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with what it has started
            process.wait()
    return f"ended with exit code {process.returncode}" if process.returncode else ""
