"""Every exception of the program. The module imports no other of the program, so that every other may use it.

RunbookError                 a condition the user can act on; `exit_code` is what the command returns
├── Refused                  2: bad input, wrong environment, no access; nothing was written
│   ├── Denied                  a right is missing
│   ├── ParametersError         a mistake in a parameters file
│   ├── MappingError            a mistake in a mapping file
│   └── Damaged                 a journal record does not fit the chain
├── Interrupted              3: stopped half-way; the journal knows where; the same run id resumes
│   ├── NotSent                 a guard of this process held a write back: no copy of it ever left
│   └── Stuck                   one segment cannot go on; segments of other tables can
├── Failed                   1: the migration cannot be completed (a lost table, a `stop` policy, an item nobody can write)
│   └── Stopped                 the mapping says `stop` at what was found; resuming cannot help
├── PositionLost             1: a stream no longer holds what comes after the noted position
└── DynamoError              1: DynamoDB refused a request for good
    ├── ConditionFailed         the condition of a write does not hold
    └── NotAvailable            the engine lacks the call

Signals between parts of the program, which never reach the user:

Again                        a request failed in a way that passes (dynamo)
Expired                      a request was signed with a token that is no longer valid (dynamo)
Mistake                      one of the mistakes in a file; `refuse` makes one error of all (yaml_files, mapping.file)
NotJson                      a text is not JSON (mapping)
Quarantine                   an item is not to be written (mapping)
WorkersLost                  workers of another process died (walk.workers)
"""

from collections.abc import Iterable, Iterator
from typing import Any

Place = tuple[str | int, ...]  # the keys that lead somewhere in a file
SEVERAL = "mistakes; nothing was written."  # ends a text that has a line for each mistake


class RunbookError(Exception):
    """A condition the user can act on: its text is one sentence saying what is wrong, where, and what to do.

    Only the text about a file with several mistakes has several lines (see `refuse`).
    """

    exit_code = 1

    def _render_traceback_(self):
        # IPython calls this instead of printing frames: an analyst needs the sentence, not our call stack.
        return [f"{type(self).__name__}: {self}"]


class Refused(RunbookError):
    """Nothing was written: the input, the environment or the access is not what the work needs."""

    exit_code = 2


class Denied(Refused):
    """A right is missing, which the text names."""


class ParametersError(Refused):
    """A parameters file or a parameter is wrong."""


class MappingError(Refused):
    """A mapping file is wrong."""


class Damaged(Refused):
    """A journal record does not fit the chain."""


class Interrupted(RunbookError):
    """The work stopped half-way and can be resumed with the same run id.

    Whoever raises it says what happened and what to do about it. How to resume is a sentence that only
    `stages.execution` adds, as `hint`, so that a message says it once.
    """

    exit_code = 3

    def __init__(self, text: str = "", hint: str = ""):
        super().__init__(f"{text.rstrip('.')}. {hint}" if hint else text)
        self.hint = hint


class NotSent(Interrupted):
    """A guard of this process held a write back (see `dynamo.items.guarded`): no copy of it ever left."""


class Stuck(Interrupted):
    """A segment cannot go on; others can, where their tables do not refer to its own."""


class Failed(RunbookError):
    """The work cannot be completed; `limits.on_failure` says what happens to what was written so far."""

    exit_code = 1


class Stopped(Failed):
    """The mapping says `stop` at what was found: correct the source or the mapping first."""


class PositionLost(RunbookError):
    """A stream no longer holds what comes after the noted position: only another walk of the table can tell what changed."""


DENIED = frozenset("AccessDenied AccessDeniedException UnauthorizedOperation".split())
NOT_FOUND = "ResourceNotFoundException"


class DynamoError(RunbookError):
    """DynamoDB refused a request for good. The text names side, operation, table and code, never a value.

    Attributes: code; message (what DynamoDB said, as far as it cannot hold a value); operation; table (None where the
    request names none); request_id.
    """

    def __init__(
        self,
        text: str,
        code: str = "",
        message: str = "",
        operation: str = "",
        table: str | None = None,
        request_id: str | None = None,
    ):
        super().__init__(text)
        self.code, self.message, self.operation = code, message, operation
        self.table, self.request_id = table, request_id

    @property
    def denied(self) -> bool:
        """Whether a right is missing."""
        return self.code in DENIED

    @property
    def not_found(self) -> bool:
        """Whether DynamoDB does not know the table. On the data path the table is lost then: see `Requests.call`."""
        return self.code == NOT_FOUND


class ConditionFailed(DynamoError):
    """The condition of a write does not hold. `item` is what is stored, where the engine sent it, else None."""

    item: dict | None = None


class NotAvailable(DynamoError):
    """The engine has no such call. Never raised for AWS, where the same answer means something else."""


class Again(Exception):
    """The attempt failed in a way that passes: try again.

    `overload`: because too much was asked. `by_server`: with a status from 500 up. `missing`: the table was not found.
    `may_have_landed`: what it asked for may have been done all the same, because nobody said that it was not.
    """

    def __init__(
        self,
        reason: str,
        overload: bool = False,
        by_server: bool = False,
        *,
        missing: bool = False,
        may_have_landed: bool = True,
    ):
        super().__init__(reason)
        self.reason, self.overload, self.by_server, self.missing = reason, overload, by_server, missing
        self.may_have_landed = may_have_landed


class Expired(Exception):
    """The request was signed with a token that is no longer valid."""


class NotJson(ValueError):
    """The text is not JSON."""


class Quarantine(Exception):
    """An item that is not written: the attribute and the reason, which quotes no value."""

    def __init__(self, attribute: str, reason: str, stop: bool = False):
        self.attribute, self.reason, self.stop = attribute, reason, stop


class WorkersLost(Exception):
    """Workers of another process died; one, where nothing says how many."""

    @property
    def deaths(self) -> int:
        return self.args[0] if self.args else 1


def lines_of(text: str) -> list[str]:
    """The lines of the text about a file's mistakes; any other text is one sentence, whatever it quotes."""
    return text.split("\n") if text.endswith(SEVERAL) else [text]


class Mistake(ValueError):
    """One mistake in a file: where it is, what is wrong and what to do."""

    def __init__(self, place: Place, says: str, mark: Any = None):
        """`says`: a sentence, or its predicate from "is" on. `mark`: yaml.Mark of a place that no keys lead to."""
        self.place, self.says, self.mark = place, f"{says.rstrip('.')}{'' if says.endswith('?') else '.'}", mark
        where = ".".join(str(part) for part in place if part != "") + (
            "" if not place else " " if says.startswith("is ") else ": "
        )
        super().__init__(where + self.says)

    def within(self, *place: str) -> "Mistake":
        """The same in a larger place."""
        return Mistake((*place, *self.place), self.says)

    def is_new(self, others: Iterable["Mistake"]) -> bool:
        """Whether none of the others is at this place, above it or below it."""
        return not any(all(a == b for a, b in zip(self.place, other.place, strict=False)) for other in others)


class Written:
    """Where the content of a file was written, for messages about it."""

    def __init__(self, file: str, root: Any = None, given: Iterable[str] = ()):
        """`root`: yaml.Node; None where no file was read. `given`: the dotted keys that `-p` sets."""
        self.file, self._root, self._given = file, root, [tuple(dotted.split(".")) for dotted in given]

    def given(self, keys: Iterable[str]) -> "Written":
        """The same with keys that `-p` sets."""
        return Written(self.file, self._root, keys)

    def is_given(self, mistake: Mistake) -> bool:
        """Whether a mistake is in what `-p` sets."""
        return any(mistake.place[: len(keys)] == keys for keys in self._given)

    def mark(self, place: Place) -> Any:
        """Where the key at a place stands, or the nearest above it (yaml.Mark); None where no file was read."""
        if self._root is None:
            return None
        node, mark = self._root, self._root.start_mark
        for part in place:
            inner = node.value if isinstance(node.value, list) else []
            if inner and isinstance(inner[0], tuple):  # a map's keys and values; what is merged in stands first
                pairs = [(key, value) for key, value in inner if key.value == part][-1:]
            else:  # an element goes by its number or its text
                pairs = [(one, one) for n, one in enumerate(inner) if part in (n, one.value)]
            if not pairs:
                break
            mark, node = pairs[0][0].start_mark, pairs[0][1]
        return mark

    def scalars(self) -> Iterator[tuple[Place, Any]]:
        """Every value that is no map and no list, as it is written (yaml.ScalarNode), with its place."""
        left = [((), self._root)] if self._root is not None else []
        while left:
            place, node = left.pop()
            if not isinstance(node.value, list):
                yield place, node
            for n, inner in enumerate(node.value if isinstance(node.value, list) else []):
                left.append(((*place, inner[0].value), inner[1]) if isinstance(inner, tuple) else ((*place, n), inner))

    def sentence(self, mistake: Mistake, mark: Any) -> str:
        """A mistake with where it is, on one line."""
        where = f"{self.file}: " + (f"line {mark.line + 1}: " if mark else "")
        if self.is_given(mistake):
            where = "-p "
        return " ".join(f"{where}{mistake}".split())


def refuse(mistakes: Iterable[Mistake], written: Written, error: type[RunbookError]) -> None:
    """Raises `error` with all mistakes, a line each, in the order of the file, those of `-p` last. Does nothing without any."""
    marked = [(mistake, mistake.mark or written.mark(mistake.place)) for mistake in mistakes]
    marked.sort(key=lambda one: (written.is_given(one[0]), one[1].index if one[1] else 0))
    lines = list(dict.fromkeys(written.sentence(*one) for one in marked))
    if len(lines) > 1:
        lines.append(f"{len(lines)} {SEVERAL}")
    if lines:
        raise error("\n".join(lines))
