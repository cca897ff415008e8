"""What the program changes for a whole process. Each change stands here, with its reason; nothing else does such a thing.

collect_rarely             the walk: Python's garbage collector takes longer over a page than routing it does
end_with_parent            a worker process of this machine: it must not outlive the process that it works for
leave_interrupts           a worker: Ctrl-C reaches every process of a terminal, and is the driver's to handle
stop_before_interrupting   a command: papermill would kill the kernel at the first Ctrl-C
headless                   a command: nobody is there to answer what a notebook asks
outlive_readers            a command: whoever reads what it writes may go before it is done; names in it must not steer a terminal
papermill_with             a command: papermill starts slowly, and writes notebooks that a reader sees by half
wait_longer_for_locks      a Dask worker: a machine that is lost keeps its locks on a shared file system for a minute and more
silence_dask               a Dask engine: what matters in its log is raised anyway
replace_environment        the demo: nothing of the user's AWS settings may lead its requests elsewhere
"""

import gc
import io
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

COLLECT_EVERY = 200_000  # new objects: two or three pages
HEADLESS, NOTEBOOK = "RUNBOOK_HEADLESS", "RUNBOOK_NOTEBOOK"

lock_patience = 10.0  # seconds to wait for the lock of a file: a kernel can outlive its killed command by one


def collect_rarely() -> None:
    """Makes Python look for unreachable cycles after COLLECT_EVERY new objects, and not in what is loaded now.

    A page is thousands of small objects without a cycle, which go when the page does. To look through them, and through
    all that the kernel holds, again and again takes longer than to route them. At the end of a process, looking through
    all that was imported takes as long as a page. Does nothing where the collector is off or looks more rarely.
    """
    youngest, *older = gc.get_threshold()
    if 0 < youngest < COLLECT_EVERY:
        gc.set_threshold(COLLECT_EVERY, *older)
        gc.freeze()


def end_with_parent() -> None:
    """Ends this process half a second after the one that started it, and leaves Ctrl-C to that one."""
    leave_interrupts()
    from multiprocessing import parent_process

    parent = parent_process().pid  # the system names another one if it has ended by now

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(3)

    threading.Thread(target=watch, daemon=True, name="attend").start()


def leave_interrupts() -> None:
    """Leaves Ctrl-C to the process that started this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def stop_before_interrupting(stop: Callable[[], None]) -> Iterator[None]:
    """A block in which the first Ctrl-C or SIGTERM calls `stop`, and the second raises KeyboardInterrupt.

    Does nothing in a thread, where Python allows no signal handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = False

    def handle(number: int, frame: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def headless(notebook: Path) -> Iterator[None]:
    """A block whose kernels know, by environment variables that they inherit, that nobody is there to answer.

    They know the file of their notebook likewise.
    """
    before = {name: os.environ.get(name) for name in (HEADLESS, NOTEBOOK)}
    os.environ.update({HEADLESS: executor(), NOTEBOOK: str(notebook)})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def is_headless() -> bool:
    """Whether this process was started where nobody is there to answer."""
    return bool(os.environ.get(HEADLESS))


def has_command() -> bool:
    """Whether a command started this process, and waits for what its notebook leaves."""
    return "@" in os.environ.get(HEADLESS, "")


def notebook_file(*, interactive: bool) -> Path | None:
    """The file of the notebook that this kernel executes; None where nobody said so.

    By the command that executes it, else, where a person is at a front end, by JupyterLab. A kernel that papermill
    starts from JupyterLab inherits the name of another notebook.
    """
    name = os.environ.get(NOTEBOOK) if is_headless() else os.environ.get("JPY_SESSION_NAME") if interactive else None
    return Path(name) if name else None


def executor() -> str:
    """Who executes notebooks here: `<pid>@<host>` of the command, in the kernels that it starts as well, or of this process."""
    given = os.environ.get(HEADLESS, "")
    return given if "@" in given else f"{os.getpid()}@{socket.gethostname()}"


def is_at_work(executed_by: str) -> bool:
    """Whether an `executor` is surely there: a process of this host that runs. Of other hosts nobody can say."""
    pid, _, host = executed_by.partition("@")
    return host == socket.gethostname() and pid.isdecimal() and not is_dead(int(pid))


def is_dead(pid: int) -> bool:
    """Whether a process of this machine has surely ended, also where nobody has asked for its exit code yet."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # another user's; no /proc; no number of a process
        return False
    return state in ("Z", "X")


def visible(text: str, kept: str = "") -> str:
    """The text with an escape (`\\u001b`) for each character that does not print, except those in `kept`. Pure.

    Names of files, tables and attributes are foreign: in a terminal they could clear the screen, or look like another line.
    The escapes are valid in JSON, too.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in kept else _escape(ord(c)) for c in text)


def _escape(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class _Outliving:
    """A stream that goes on where nobody reads it any more: the rest is dropped, and nothing raised.

    It escapes what does not print, except line breaks: whoever prints a line sees to those in it, with `visible`.
    """

    def __init__(self, stream: TextIO, *, escaping: bool = True):
        self._stream, self._escaping = stream, escaping
        self.problem: OSError | None = None  # why something was lost that somebody may still wait for

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes text; gives its length."""
        self._do(self._stream.write, visible(text, "\n\t") if self._escaping else text)
        return len(text)

    def steering(self) -> "_Outliving":
        """The same stream for a display that steers the terminal: it escapes nothing, so that display sees to all names."""
        return _Outliving(self._stream, escaping=False)

    def flush(self) -> None:
        """Writes what was held back."""
        self._do(self._stream.flush)

    def _do(self, work: Callable, *arguments: str) -> None:
        try:
            work(*arguments)
        except OSError as problem:
            if not isinstance(problem, BrokenPipeError):
                self.problem = self.problem or problem
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())  # what the stream still holds goes there, too
            os.close(nowhere)


@contextmanager
def outlive_readers() -> Iterator[_Outliving]:
    """A block in which a closed pipe behind stdout or stderr ends nothing, nor a stream that was closed from the start.

    Gives stdout. Without this a command would end half-way, and a file that it opens could get the number of a standard
    stream. What the terminal's encoding does not have, and what would steer it, is written as an escape.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number is this one
            os.set_inheritable(number, True)  # a kernel dies without
    before = sys.stdout, sys.stderr
    streams = [_Outliving(stream or open(os.devnull, "w", encoding="utf-8")) for stream in before]  # noqa: SIM115
    sys.stdout, sys.stderr = streams
    for stream in streams:
        if isinstance(stream._stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        yield streams[0]
    finally:
        for stream in streams:
            stream.flush()
        sys.stdout, sys.stderr = before


def papermill_with(write: Callable[[Path, bytes], None]) -> ModuleType:
    """papermill, which from now on saves notebooks on this machine by `write(path, content)`.

    Its own way empties the file first: a reader would see half a notebook. nbformat imports a grammar for IRIs that takes
    most of a second to build and checks nothing here: this process goes without it.
    """
    sys.modules.setdefault("rfc3987_syntax", None)
    import papermill
    from papermill.iorw import LocalHandler
    from papermill.utils import chdir

    def save(self, text: str, path: str) -> None:
        with chdir(self._cwd):
            write(Path(path).absolute(), text.encode())

    LocalHandler.write = save
    return papermill


def wait_longer_for_locks(seconds: float) -> None:
    """Makes this process wait at least so long for the lock of a file."""
    global lock_patience
    lock_patience = max(lock_patience, seconds)


def silence_dask() -> None:
    """Keeps what Dask logs below CRITICAL from the terminal."""
    for handler in logging.getLogger("distributed").handlers:
        handler.setLevel(logging.CRITICAL)


@contextmanager
def replace_environment(variables: Mapping[str, str]) -> Iterator[None]:
    """A block in which the environment holds these variables and no others; child processes inherit them."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
