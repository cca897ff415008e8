"""A stage's journal as one reading found it: handed on to whoever asks, so that no file is read twice for one answer."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import Refused
from .intents import Intent
from .table_file import Head, Position, Seen, Stamp, TableFile

COUNTED = ("scanned", "inserted", "already_there", "conflicts", "quarantined", "failed", "expired", "matched")


@dataclass
class Pass:
    """One pass over one source table for a set of entries."""

    table: str
    entries: list[str]
    segments: int
    positions: dict[int, Position] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether every segment was walked to its end."""
        return len(self.positions) == self.segments and all(position.done for position in self.positions.values())


@dataclass(frozen=True)
class State:
    """What a stage's journal says in sum."""

    tables: dict[str, Counter]  # entry -> COUNTED
    unrouted: int
    executions: int
    started: str | None
    ended: str | None
    finished: bool  # every pass that was started is done and the last execution ended
    rolled_back: bool
    rolling_back: bool
    undone: Counter  # deleted, kept_edited, not_found; replaced: deleted for a newer version that is not in yet
    catching_up: bool = False  # a delta was started and has not ended
    following: bool = False  # following was started and has not come to its end
    reopened: bool = False  # a repair left passes to be gone over again, and no execution was started since

    @property
    def standing(self) -> int:
        """Inserted items that are neither deleted by an undo or a delta nor found gone."""
        inserted = sum(counts["inserted"] for counts in self.tables.values())
        return inserted - sum(self.undone[name] for name in ("deleted", "not_found", "replaced"))


@dataclass(frozen=True)
class EventsFile:
    """`stage.jsonl` as it was when it was read."""

    path: Path
    stamp: Stamp
    records: int
    link: str  # of the last record
    links: dict[int, str]  # length in records -> link, of the lengths that were asked for
    events: tuple[dict[str, Any], ...]
    own: bool = False  # the last of them were written, and not read since

    def with_event(self, event: dict[str, Any], link: str, stamp: Stamp) -> "EventsFile":
        """As it is when one more was written."""
        return replace(self, stamp=stamp, records=self.records + 1, link=link, events=(*self.events, event), own=True)


@dataclass(frozen=True)
class Snapshot:
    """A stage's journal as it was when it was read."""

    run_id: str
    stage: str
    folder: Path
    log: EventsFile | None  # None: the stage never began
    files: tuple[TableFile, ...]  # those that were started

    @property
    def began(self) -> bool:
        """Whether the stage ever began."""
        return self.log is not None

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """The stage's own records in order, or those of some kinds."""
        return [event for event in (self.log.events if self.log else ()) if not kinds or event["kind"] in kinds]

    @property
    def executions(self) -> int:
        """How often the stage was started."""
        return len(self.events("execution"))

    def entries(self) -> list[str]:
        """The entries that the stage worked on, in the order of its executions."""
        return list(dict.fromkeys(name for event in self.events("execution") for name in event["entries"]))

    def passes(self) -> list[Pass]:
        """All passes with where their segments stand."""
        found: dict[tuple, Pass] = {}
        for file in self.files:
            begin = file.begin
            about = (begin["table"], tuple(begin["entries"]))
            one = found.setdefault(about, Pass(begin["table"], begin["entries"], begin["segments"]))
            one.positions[begin["segment"]] = file.position
        return list(found.values())

    def heads(self) -> dict[Path, Head]:
        """Each file, with what the audit chain wants of it."""
        found = {
            f.path: Head(f.tail.records, f.tail.link.decode(), {0: ""} | f.links, f.is_current(), f.stamp.size)
            for f in self.files
        }
        if log := self.log:
            stands = Stamp.now(log.path) == log.stamp
            found[log.path] = Head(log.records, log.link, {0: ""} | log.links, stands, log.stamp.size)
        return found

    def check_complete(self) -> None:
        """Refused where an execution ended and a pass of it is not done: no execution ends before its passes do."""
        done = {entry for one in self.passes() if one.done for entry in one.entries}
        if lost := ", ".join(sorted(ended(self.events()) - done)):
            raise Refused(
                f"{self.folder}: the journal of {lost} has lost records; restore it from a copy, or see "
                f"`runbook repair {self.run_id}`."
            )

    def intents(self, *, final: bool = False) -> Iterator[tuple[str, Intent]]:
        """(Source table, intent) over all files; `final` gives only those with an outcome. Reads each file once."""
        for file in self.files:
            for intent in file.intents():
                if not final or intent.outcome is not None:
                    yield file.begin["table"], intent

    def letters(self, execution: int | None = None) -> Counter:
        """Outcome → rows with it that nothing has replaced; of one execution where it is given."""
        found: Counter = Counter()
        for file in self.files:
            for number, counted in file.counted.items():
                found.update(counted.letters if execution in (None, number) else {})
        return found

    def seen(self) -> dict[str, Seen]:
        """Entry → what the stage has met of its source attributes."""
        found: dict[str, Seen] = defaultdict(Seen)
        for file in self.files:
            for entry, seen in file.seen.items():
                found[entry].add(seen.ledger, seen.types)
        return dict(found)

    def items(self, entries: Collection[str]) -> Counter:
        """Source table → items that the passes of these entries have gone through."""
        return self._by_table(entries, lambda file: file.position.items)

    def uncertain(self, entries: Collection[str]) -> Counter:
        """Source table → items of pages that were not finished: which of them arrived has to be looked up."""
        return self._by_table(entries, lambda file: sum(map(len, file.maybe_landed.values())))

    def _by_table(self, entries: Collection[str], number: Callable[[TableFile], int]) -> Counter:
        found: Counter = Counter()
        for file in self.files:
            if not {*entries}.isdisjoint(file.begin["entries"]):
                found[file.begin["table"]] += number(file)
        return found

    def singly(self) -> dict[str, Counter]:
        """Entry → why single requests inserted, not batches → items; entries of which all went in batches are not in it."""
        found: dict[str, Counter] = defaultdict(Counter)
        for file in self.files:
            for entry, reasons in file.singly.items():
                found[entry].update(reasons)
        return dict(found)

    def unanswered(self) -> int:
        """Items that count as inserted because an equal one was there after an insert that got no answer."""
        return sum(file.unanswered for file in self.files)

    def state(self, execution: int | None = None) -> State:
        """The stage in sum; of one execution where it is given."""
        counts: dict[str, Counter] = defaultdict(Counter)
        unrouted: dict[str, Counter] = defaultdict(Counter)  # source table -> entries of a pass -> items
        undone: Counter = Counter()
        for file in self.files:
            here = 0
            for number, counted in file.counted.items():
                if execution in (None, number):
                    here += counted.unrouted
                    undone.update(counted.undone)
                    for entry, numbers in counted.entries.items():
                        counts[entry].update(numbers)
            unrouted[file.begin["table"]][tuple(file.begin["entries"])] += here
        tables = {entry: Counter({name: numbers[name] for name in COUNTED}) for entry, numbers in counts.items()}
        # Each pass meets the same unrouted items.
        return state_of(self.events(), tables, sum(max(passes.values()) for passes in unrouted.values()), undone)

    def may_stand(self) -> bool:
        """Whether the target may hold something that the stage inserted and no rollback has come to its end."""
        state = self.state()
        if state.rolled_back or state.standing > 0 or state.reopened:
            return not state.rolled_back
        # Nobody has looked yet at what lies elsewhere; of a page that was cut off, some may have landed.
        return bool(unsettled(self.events())) or any(file.maybe_landed for file in self.files)


def state_of(
    events: Iterable[dict[str, Any]],
    tables: dict[str, Counter] | None = None,
    unrouted: int = 0,
    undone: Counter | None = None,
) -> State:
    """The stage in sum: from its own records, and what was counted in the table files."""
    events = list(events)
    kinds = [event["kind"] for event in events]
    begun = [event["at"] for event in events if event["kind"] == "execution"]
    over = [event["at"] for event in events if event["kind"] == "end"]
    last = next((kind for kind in reversed(kinds) if kind in ("execution", "end", "rollback", "rolled_back")), None)
    opening = [event["kind"] for event in events if event["kind"] == "execution" or _reopens(event)]
    reopened = opening[-1:] == ["repaired"]
    delta = next((kind for kind in reversed(kinds) if kind in ("delta", "delta_end", "rolled_back")), None)
    follow = next((kind for kind in reversed(kinds) if kind in ("follow", "follow_end", "rolled_back")), None)
    return State(
        tables=tables or {},
        unrouted=unrouted,
        executions=len(begun),
        started=begun[0] if begun else None,
        ended=over[-1] if over else None,
        finished=last == "end" and not reopened,
        rolled_back=last == "rolled_back",
        rolling_back=last == "rollback",
        undone=Counter() if undone is None else undone,
        catching_up=delta == "delta",
        following=follow == "follow",
        reopened=reopened and last not in ("rollback", "rolled_back"),
    )


def ended(events: Iterable[dict[str, Any]]) -> set[str]:
    """The entries whose passes were done when an execution ended, and that no repair opened again since."""
    begun: set[str] = set()
    found: set[str] = set()
    for event in events:
        if event["kind"] == "execution":
            begun = set(event["entries"])
        elif event["kind"] == "end":
            found |= begun
        elif event["kind"] == "repaired":
            begun, found = begun - set(event["entries"]), found - set(event["entries"])
    return found


def unsettled(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The executions whose last records may lie where their workers put them, and not here: see shared_journal.py."""
    shared = [event for event in events if event["kind"] in ("shared", "settled")]
    settled = {event["place"] for event in shared if event["kind"] == "settled"}
    return [event for event in shared if event["kind"] == "shared" and event["place"] not in settled]


def _reopens(event: dict[str, Any]) -> bool:
    return event["kind"] == "repaired" and bool(event["entries"])
