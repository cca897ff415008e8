"""The gate of a cut-over: whether both sides are equal, so that the application may write to the target from now on.

The process that follows the source judges it, because it alone knows what it has read and applied. `runbook cutover` asks it
by a file in the run's folder that it holds meanwhile, and the answer is a file there, too. No clock that somebody can set
decides: times are counted on the machine's own clock, from the moment when a change was received.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from ...run.folder import Run, iso, now, own_json
from ...run.progress_file import StageProgress, at_work
from ...verdict import FAIL, PASS, REVIEW, plural
from ...walk.control import CutoverRequest, asking_cutover, cutover_request

KIND, SCHEMA = "cutover", 1  # of the answer's file
READS = 3  # reads in a row of every open shard that have to give nothing
ONCE_MORE = 2  # by so many they have to grow for one to have begun after a moment: see `dynamo.streams.Batch`
PATIENCE = 30.0  # seconds beyond the quiet ones that the gate waits for the sides to become equal
# What is wrong with a touched item; LISTED: following has left it alone, and drift.jsonl says so.
MISSING, DIFFERENT, LEFT, LISTED = "missing", "different", "left", "listed"
_TOLD = {
    MISSING: "{} of {} that changed in the source {} not in the target",
    DIFFERENT: "{} of {} that changed in the source {} different in the target",
    LEFT: "{} of {} that went from the source {} still in the target",
    LISTED: "{} of {} {} left alone, because the target holds something else: see drift.jsonl",
}


class Standing(NamedTuple):
    """How one followed source table stands."""

    table: str
    quiet: int  # reads in a row that gave nothing, of the open shard that has the fewest
    silent: float  # seconds since a change was received last, or since the table is followed
    waits: bool  # whether changes that were received are not applied


class Compared(NamedTuple):
    """What comparing the touched items once more has found."""

    items: int
    wrong: Mapping[str, Counter]  # entry → what is wrong → items


@dataclass(frozen=True)
class Cutover:
    """An answer of the gate."""

    request: str
    asked_at: str  # ISO 8601
    quiet: float
    standing: Sequence[Standing]
    compared: Compared | None = None  # None: it did not come to that
    missing: list[str] = field(default_factory=list)  # what keeps the gate closed, as sentences
    accepted: list[str] = field(default_factory=list)  # what would, and was accepted
    moment: str | None = None  # from which on the application may write to the target

    @property
    def open(self) -> bool:
        """Whether the application may write to the target."""
        return self.moment is not None

    @property
    def verdict(self) -> str:
        """PASS where it is open; REVIEW where only changes in the target keep it closed, which somebody decides."""
        if self.open:
            return PASS
        behind = self.compared is None or any({*counts} - {LISTED} for counts in self.compared.wrong.values())
        return FAIL if behind else REVIEW

    def as_json(self) -> dict[str, Any]:
        """The answer as plain data."""
        compared = self.compared
        return {
            "request": self.request,
            "asked_at": self.asked_at,
            "open": self.open,
            "moment": self.moment,
            "quiet_seconds": self.quiet,
            "missing": self.missing,
            "accepted": self.accepted,
            "tables": {
                one.table: {"quiet_reads": one.quiet, "silent_seconds": round(one.silent, 1), "applied": not one.waits}
                for one in self.standing
            },
            "compared": compared
            and {"items": compared.items, "wrong": {name: dict(counts) for name, counts in compared.wrong.items()}},
            "verdict": self.verdict,
        }


class Gate:
    """Called between two rounds of following; answers a request once it can. Not thread-safe."""

    def __init__(self, run: Run, compare: Callable[[], Compared], *, clock: Callable[[], float] = time.monotonic):
        """`compare` compares every item that was touched since the walk once more, on both sides; `clock` gives seconds."""
        self._run, self._compare, self._clock = run, compare, clock
        self._asked, self._answered, self._since = "", "", 0.0
        self.doing = ""  # what the gate waits for, in words; "" where nobody asks
        self._compared: Compared | None = None
        self._reads: dict[str, int] = {}  # table → its quiet reads when the comparison began

    def __call__(self, standing: Sequence[Standing]) -> Cutover | None:
        """The answer that opens the gate, or None. Writes each answer into the run's folder."""
        asked, self.doing = cutover_request(self._run), ""
        if asked is None or asked.id == self._answered:
            return None
        if asked.id != self._asked:
            self._asked, self._since, self._compared = asked.id, self._clock(), None
        waited = self._clock() - self._since
        self.doing = f"the gate waits until nothing has come for {asked.quiet:g} s"
        if waited < asked.quiet:
            return None  # a change from before the application stopped may come late
        if moving := why_not_quiet(standing, asked.quiet):
            self._compared = None  # what was equal then may not be any more
            late = waited > asked.quiet + PATIENCE
            return self._answer(asked, standing, moving) if late else None
        self.doing = ""
        if self._compared is None:
            self._reads = {one.table: one.quiet for one in standing}
            self._compared = self._compare()
            return None
        if any(one.quiet < self._reads[one.table] + ONCE_MORE for one in standing):
            self.doing = "the gate reads every stream once more"
            return None  # something may have changed while both sides were compared: a shard was not read since
        return self._answer(asked, standing, [])

    def _answer(self, asked: CutoverRequest, standing: Sequence[Standing], missing: list[str]) -> Cutover | None:
        accepted: list[str] = []
        for name, counts in self._compared.wrong.items() if self._compared else ():
            for kind, number in counts.items():
                taken = kind == LISTED and asked.accept_drift
                (accepted if taken else missing).append(
                    _TOLD[kind].format(plural(number, "item"), name, "is" if number == 1 else "are")
                )
        answer = Cutover(asked.id, asked.at, asked.quiet, standing, self._compared, missing, accepted)
        if not missing:
            answer = replace(answer, moment=iso(now()))
        self._run.write_json(KIND, {"schema": SCHEMA, "run_id": self._run.id, **answer.as_json()})
        self._answered, self._compared, self.doing = asked.id, None, ""
        return answer if answer.open else None


def ask(
    run: Run, quiet: float, *, accept_drift: bool, waiting: Callable[[StageProgress], object]
) -> dict[str, Any] | None:
    """The gate's answer, as its file has it; None where the process that follows the run ended before, or none does.

    Calls `waiting` again and again with how far that process is: it decides how long to wait. Writes to the run's folder.
    Raises as `asking_cutover`.
    """

    def answer() -> dict[str, Any] | None:
        found = (own_json(path) for path in reversed(run.json_files(KIND)))
        return next((one for one in found if one["request"] == asked.id), None)

    with asking_cutover(run, quiet, accept_drift=accept_drift) as asked:
        while not (found := answer()) and (at := follower(run)):
            waiting(at)
        return found or answer()


def follower(run: Run) -> StageProgress | None:
    """How far the process is that follows the run's source; None where none does. Read-only."""
    return next((one for one in at_work(run) if one.following), None)


def why_not_quiet(standing: Sequence[Standing], quiet: float) -> list[str]:
    """What speaks against the application having stopped, or against all being applied, as sentences. Pure."""
    found = []
    for one in standing:
        if one.waits:
            found.append(f"changes of {one.table} are not applied yet")
        elif one.quiet < READS or one.silent < quiet:
            found.append(
                f"{one.table}: the last change came {one.silent:,.0f} s ago, and {plural(one.quiet, 'read')} of its stream gave "
                f"nothing since; it takes {quiet:g} s and {READS} reads. Does something still write to it?"
            )
    return found
