"""One stage of a run (test or migrate) as its journal tells it: which pages are done, what was counted, what stands open.

A stage's folder holds `stage.jsonl` (executions, checkpoints, ends) and the table files. Nothing here talks to DynamoDB.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import Damaged, Refused
from ..run.files import make_folder
from ..run.fingerprints import Identity
from ..run.folder import Run, iso, now
from ..values import key_hash
from . import log as journal
from .log import INSERTED, SCHEMA, Intent, Log

COUNTED = ("scanned", "inserted", "already_there", "conflicts", "quarantined", "failed")


@dataclass(frozen=True)
class Position:
    """Where a segment goes on: the next page's number and start key; done where it has been walked to its end."""

    number: int = 0
    start: dict | None = None
    done: bool = False


@dataclass
class Part:
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
    finished: bool  # every part that was begun is done and the last execution ended
    rolled_back: bool
    rolling_back: bool
    undone: Counter  # deleted, kept_edited, not_found; replaced: deleted for a newer version that is not in yet
    catching_up: bool = False  # a delta was begun and has not ended
    reopened: bool = False  # a repair left passes to be gone over again, and no execution was begun since

    @property
    def standing(self) -> int:
        """Inserted items that are neither deleted by an undo or a delta nor found gone."""
        inserted = sum(counts["inserted"] for counts in self.tables.values())
        return inserted - sum(self.undone[name] for name in ("deleted", "not_found", "replaced"))


class Stage:
    """The journal of one stage of one run."""

    def __init__(self, run: Run, name: str):
        """`name` is test or migrate. Nothing is written until `begin`."""
        self.run, self.name = run, name
        self.folder = run.journal(name)
        self._events = self.folder / "stage.jsonl"

    def exists(self) -> bool:
        """Whether the stage ever began."""
        return self._events.exists()

    def events(self, *kinds: str) -> Iterator[dict]:
        """The stage's own records in order. Raises Damaged."""
        if self.exists():
            yield from journal.records(self._events, *kinds)

    def record(self, kind: str, **content: Any) -> None:
        """Writes one of the stage's own records."""
        make_folder(self.folder)
        log = self.open(self._events)
        log.append(kind, at=iso(now()), **content)
        log.close()

    def executions(self) -> int:
        """How often the stage was begun."""
        return sum(1 for _ in self.events("execution"))

    def files(self) -> list[tuple[Path, dict]]:
        """The table files that were begun, with their first records.

        Raises Damaged; Refused where one is of another run or stage, is there twice, or is of an unknown schema.
        """
        found: dict[tuple, tuple[Path, dict]] = {}
        for event in itertools.islice(self.events("execution"), 1):
            self._check_origin(self._events, event)
        for path in journal.logs(self.folder):
            if (begin := journal.begin_of(path)) is None:
                continue
            self._check_origin(path, begin)
            place = (begin["table"], *begin["entries"], begin["segment"])
            if place in found:
                raise Refused(f"{path.name} and {found[place][0].name} are of the same segment; take away the copy.")
            found[place] = (path, begin)
        return list(found.values())

    def _check_origin(self, path: Path, first: dict) -> None:
        schema, run, stage = (first.get(key) for key in ("schema", "run", "stage"))
        if schema != SCHEMA:
            raise Refused(
                f"{path.name} has schema {schema}, this program knows {SCHEMA}; use the version that wrote it."
            )
        if (run, stage) != (self.run.id, self.name):
            raise Refused(
                f"{path.name} belongs to run {run} ({stage}); put the file back where it came from and the right one here, "
                f"or see `runbook repair {self.run.id}`."
            )

    def open(self, path: Path) -> Log:
        """A file of the stage for appending; a torn last record is cut, and the run's log says so."""
        log = Log(path)
        if log.cut:
            self.run.logger().warning("%s: a torn last record of %d bytes was cut", path.name, log.cut)
        return log

    def parts(self) -> list[Part]:
        """All passes with where their segments stand."""
        found: dict[tuple, Part] = {}
        for path, begin in self.files():
            place = (begin["table"], tuple(begin["entries"]))
            part = found.setdefault(place, Part(begin["table"], begin["entries"], begin["segments"]))
            part.positions[begin["segment"]] = position_of(path)
        return list(found.values())

    def check_complete(self, parts: list[Part]) -> None:
        """Refused where an execution ended and a pass of it is not done: no execution ends before its passes do."""
        done = {entry for part in parts if part.done for entry in part.entries}
        if lost := ", ".join(sorted(ended(self.events()) - done)):
            raise Refused(
                f"{self.folder}: the journal of {lost} has lost records; restore it from a copy, or see "
                f"`runbook repair {self.run.id}`."
            )

    def unsettled(self) -> list[dict]:
        """The executions whose last records may lie where their workers put them, and not here: see shared_journal.py."""
        events = list(self.events("shared", "settled"))
        settled = {event["place"] for event in events if event["kind"] == "settled"}
        return [event for event in events if event["kind"] == "shared" and event["place"] not in settled]

    def check_settled(self) -> None:
        """Refused where records of an interrupted execution lie elsewhere and were not fetched. Read-only."""
        try:
            found = self.unsettled()
        except Damaged:  # to be repaired first
            return
        for event in found:
            raise Refused(
                f"{self.folder}: records of an interrupted execution lie at {event['url']}; resume the run to fetch them. "
                "If a file here is damaged, move it elsewhere first: it is fetched whole."
            )

    def backups(self) -> dict[str, dict[str, Any]]:
        """Target table → kind, arn, at and, of an on-demand backup, name and status. Read-only."""
        known: dict[str, dict[str, Any]] = {}
        for event in self.events("backups"):
            known |= event["tables"]
        return known

    def repairs(self) -> list[dict]:
        """What repairs found, one for each file that was damaged. An attempt that was cut off is told once."""
        found = {}
        for event in self.events("repaired"):
            for name, about in event["files"].items():
                found[name, about["was"] or event["at"]] = {"at": event["at"], "file": name, **about}
        return list(found.values())

    def path(self, table: str, entries: list[str], segment: int) -> Path:
        """The file of a segment of a pass: the one it has, or a free name."""
        number = segment
        while (path := self.folder / journal.log_name(table, number)).exists():
            begin = journal.begin_of(path)
            if begin is None or (begin["entries"], begin["segment"]) == (entries, segment):
                return path
            number += 1
        return path

    def open_log(self, identity: Identity, table: str, entries: list[str], segment: int, segments: int) -> Log:
        """The segment's file, its first record written."""
        while True:
            log = self.open(self.path(table, entries, segment))
            if log.empty:
                log.append(
                    "begin", table=table, entries=entries, segment=segment, segments=segments, **self.identity(identity)
                )
                return log
            begin = journal.begin_of(log.path)
            if (begin["entries"], begin["segment"]) == (entries, segment):
                return log
            log.close()  # another process took the name meanwhile

    def identity(self, identity: Identity) -> dict[str, Any]:
        """What the first record of each file and of each execution holds, so that a resumed run can be checked against it."""
        return {
            "schema": SCHEMA,
            "run": self.run.id,
            "stage": self.name,
            **identity._asdict(),
        }

    def check_identity(self, identity: Identity) -> None:
        """Refused where the stage was begun with another mapping, other environments or other code."""
        first = next(self.events("execution"), None)
        if first is None:
            return
        for key, value in self.identity(identity).items():
            if first.get(key) != value:
                what = {
                    "mapping": "another mapping",
                    "environments": "other environments",
                    "code": "other program code",
                }
                raise Refused(
                    f"run {self.run.id} was begun with {what.get(key, f'another {key}')}; "
                    "go back to what it was, or start a new run."
                )

    def intents(self, *, final: bool = False) -> Iterator[tuple[str, Intent]]:
        """(source table, intent) over all files; `final` gives only those with an outcome."""
        for path, begin in self.files():
            for intent in journal.intents(path):
                if not final or intent.outcome is not None:
                    yield begin["table"], intent

    def state(self, execution: int | None = None) -> State:
        """The stage in sum; of one execution where it is given."""
        counts: dict[str, Counter] = defaultdict(Counter)
        unrouted: dict[str, Counter] = defaultdict(Counter)  # source table -> entries of a pass -> items
        undone: Counter = Counter()
        for path, begin in self.files():
            here = 0
            for record in journal.records(path, "outcome", "undone"):
                if execution not in (None, record["execution"]):
                    continue
                if record["kind"] == "undone":
                    undone.update(record["counts"])
                    continue
                here += record["unrouted"]
                undone["replaced"] -= sum(letter == INSERTED for _, letter, _ in record.get("instead", ()))
                for entry, numbers in record["counts"].items():
                    counts[entry].update(numbers)  # of an intent that replaces something: what that changes
            unrouted[begin["table"]][tuple(begin["entries"])] += here
        events = list(self.events())
        kinds = [event["kind"] for event in events]
        begun = [event["at"] for event in events if event["kind"] == "execution"]
        ended = [event["at"] for event in events if event["kind"] == "end"]
        last = next((kind for kind in reversed(kinds) if kind in ("execution", "end", "rollback", "rolled_back")), None)
        opening = [event["kind"] for event in events if event["kind"] == "execution" or _reopens(event)]
        reopened = opening[-1:] == ["repaired"]
        delta = next((kind for kind in reversed(kinds) if kind in ("delta", "delta_end", "rolled_back")), None)
        return State(
            tables={entry: Counter({name: numbers[name] for name in COUNTED}) for entry, numbers in counts.items()},
            unrouted=sum(max(passes.values()) for passes in unrouted.values()),  # each pass meets the same ones
            executions=len(begun),
            started=begun[0] if begun else None,
            ended=ended[-1] if ended else None,
            finished=last == "end" and not reopened,
            rolled_back=last == "rolled_back",
            rolling_back=last == "rollback",
            undone=undone,
            catching_up=delta == "delta",
            reopened=reopened and last not in ("rollback", "rolled_back"),
        )

    def may_stand(self, state: State) -> bool:
        """Whether the target may hold something that the stage inserted and no rollback has come to its end. Read-only.

        `state` is the stage's, as it is now.
        """
        if state.rolled_back or state.standing > 0 or state.reopened:
            return not state.rolled_back
        if self.unsettled():  # nobody has looked yet at what lies elsewhere
            return True
        return any(self.open_keys(path) for path, _ in self.files())  # of a page that was cut off, some may have landed

    def open_keys(self, path: Path) -> dict[tuple[str, bytes], set[str]]:
        """(Entry, key hash) → digests of a file's rows that may have been written without a word: absent at intent, no
        outcome, and not looked at by an undo since. The entry belongs to it: two entries may make one key in two tables."""
        found: dict[tuple[str, bytes], set[str]] = {}
        for intent in journal.intents(path) if path.exists() else ():
            if intent.outcome is None:
                for index, row in enumerate(intent.rows):
                    # A page that was open twice may have found another version the second time.
                    if not row.present and index not in intent.undone:
                        found.setdefault((row.entry, key_hash(row.key)), set()).add(row.digest)
            elif found:  # the page was done again, and this is what became of it
                for row in intent.rows:
                    found.pop((row.entry, key_hash(row.key)), None)
        return found


def ended(events: Iterable[dict]) -> set[str]:
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


def _reopens(event: dict) -> bool:
    return event["kind"] == "repaired" and bool(event["entries"])


def position_of(path: Path) -> Position:
    """Where the segment of a journal file goes on. Read-only."""
    last = None
    for record in journal.records(path, "outcome"):
        last = last if record["page"] is None else record
    return Position(last["page"] + 1, last["last"], last["last"] is None) if last else Position()
