"""Named points where tests make the program fail: killed, refused by the disk, cut off from the endpoint.

Nothing is armed unless somebody does it; then a point costs one test of `armed`. Armed by the environment, for a
process that is about to start:

    RUNBOOK_FAILPOINTS="journal.append.after=kill@3;wire.PutItem.after=error@5"

or inside a process by `arm`, with the same text or with a function that gets the name of each point as it is reached.

A rule is `PATTERN=ACTION@N`: at the Nth time (default 1) that a point is reached whose name fits the pattern, in which
`*` stands for anything; `@N+` means the Nth time and every time after it.

Point                        is reached
journal.open.before          before a journal file is opened or created
journal.append.before        before a record is written
journal.fsync.before         when the record is written, but may not be on disk
journal.append.after         when it is on disk
file.NAME.write.before       before the content of a file is written under a temporary name
file.NAME.fsync.before       when it is written, but may not be on disk
file.NAME.rename.before      when it is on disk under the temporary name
file.NAME.folder.before      when it has its own name, but the folder may not be on disk
file.NAME.after              when all is on disk
wire.OPERATION.before        before a request leaves; each retry is a request
wire.OPERATION.after         when its reply has come

Action        does
kill          sends SIGKILL to this process: nothing gets to clean up
error         EIO at journal and files; at requests a lost connection, so that after `wire.*.after` the reply is lost
eio, enospc   that OSError
lost-reply    as error, for `wire.*.after` only
"""

import errno
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

from .errors import Refused

VARIABLE = "RUNBOOK_FAILPOINTS"
POINTS = (
    *("journal.open.before", "journal.append.before", "journal.fsync.before", "journal.append.after"),
    *("file.*.write.before", "file.*.fsync.before", "file.*.rename.before", "file.*.folder.before", "file.*.after"),
    *("wire.*.before", "wire.*.after"),
)
ACTIONS = ("kill", "error", "eio", "enospc", "lost-reply")

armed = False  # callers look at this first
_reached: Callable[[str], object] | None = None


def arm(points: str | Callable[[str], object]) -> Callable[[str], object]:
    """Makes points fail, or tells a function of each. Gives what is armed. Raises Refused for a rule that fits no point."""
    global armed, _reached
    _reached = points if callable(points) else Rules(points)
    armed = True
    return _reached


def disarm() -> None:
    """Ends it."""
    global armed, _reached
    armed, _reached = False, None


def reach(point: str) -> None:
    """Fails here, where that was asked for. Raises OSError, or does not return."""
    if _reached is not None:
        _reached(point)


@dataclass
class _Rule:
    pattern: str
    action: str
    number: int
    lasting: bool
    reached: int = 0


@dataclass
class Rules:
    """The rules of one text; counts how often each was reached. Thread-safe."""

    text: str
    fired: bool = False  # whether one of them made something fail
    rules: list[_Rule] = field(init=False)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.rules = [_rule(part.strip()) for part in self.text.split(";") if part.strip()]

    def __call__(self, point: str) -> None:
        due = None
        with self.lock:
            for rule in self.rules:
                if _meet(rule.pattern, point):
                    rule.reached += 1
                    if rule.reached == rule.number or (rule.lasting and rule.reached > rule.number):
                        due = due or rule.action
                        self.fired = True
        if due:
            _fail(point, due)


def _rule(text: str) -> _Rule:
    pattern, _, rest = text.partition("=")
    action, _, when = rest.partition("@")
    number = when.removesuffix("+") or "1"
    fits = [point for point in POINTS if _meet(pattern, point)]
    if not fits or action not in ACTIONS or not number.isdecimal() or number == "0":
        raise Refused(f"{VARIABLE}: {text!r} is no rule PATTERN=ACTION@N for a point; see runbook_lib/failpoints.py.")
    if action == "lost-reply" and any(not point.endswith(".after") or point[0] != "w" for point in fits):
        raise Refused(f"{VARIABLE}: {text!r}: a reply is lost at wire.OPERATION.after only.")
    return _Rule(pattern, action, int(number), when.endswith("+"))


def _meet(one: str, other: str) -> bool:
    """Whether some name fits both patterns."""
    if not one or not other:
        return not (one + other).strip("*")
    if one[0] == "*":
        return _meet(one[1:], other) or _meet(one, other[1:])
    if other[0] == "*":
        return _meet(other, one)
    return one[0] == other[0] and _meet(one[1:], other[1:])


def _fail(point: str, action: str) -> NoReturn:
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if point.startswith("wire.") and action in ("error", "lost-reply"):
        raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
    number = errno.ENOSPC if action == "enospc" else errno.EIO
    raise OSError(number, os.strerror(number))


if text := os.environ.get(VARIABLE):
    arm(text)
