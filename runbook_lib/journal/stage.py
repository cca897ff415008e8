"""One stage of a run (test or migrate): its journal, to be read and to be written.

A stage's folder holds `stage.jsonl` (executions, checkpoints, ends) and the table files. Nothing here talks to DynamoDB.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from ..errors import Damaged, Refused
from ..run.files import make_folder
from ..run.fingerprints import Identity
from ..run.folder import Run, iso, now
from . import log as journal
from .log import SCHEMA, START, Log, Look, Tail
from .snapshot import EventsFile, Snapshot, unsettled
from .table_file import Reading, Stamp, TableFile, read_table_file

# Journal file, from the run's folder on -> (length in records, link) of the lengths that are asked for.
AskedHeads = Mapping[str, Sequence[tuple[int, str]]]


class Stage:
    """The journal of one stage of one run. In a `with` block `stage.jsonl` stays open between its records."""

    def __init__(self, run: Run, name: str):
        """`name` is test or migrate. Nothing is written until `begin`."""
        self.run, self.name = run, name
        self.folder = run.journal(name)
        self._path = self.folder / "stage.jsonl"
        self._events: EventsFile | None = None  # as read last
        self._read: Snapshot | None = None
        self._log: Log | None = None
        self._entered = 0

    def __enter__(self) -> "Stage":
        self._entered += 1
        return self

    def __exit__(self, *exception: object) -> None:
        self._entered -= 1
        if not self._entered and self._log is not None:
            self._log.close()
            self._log = None

    def exists(self) -> bool:
        """Whether the stage ever began."""
        return self._path.exists()

    def read(self, known: Snapshot | None = None, *, heads: AskedHeads | None = None, wait: bool = False) -> Snapshot:
        """The stage's journal as it is now; what was not written since an earlier reading is taken from there. Read-only.

        `known` is a reading by somebody else. `heads` asks for the links at these lengths. With `wait` nobody writes to a
        table file while it is read: Interrupted where a worker still writes. Raises Damaged; Refused where a file is of another
        run, stage or table, exists twice, or has an unknown schema.
        """
        lengths = {name: [length for length, _ in known_heads] for name, known_heads in (heads or {}).items()}
        earlier = None if wait else known or self._read
        if self._events is None or self._events.own:
            self._events = known.log if known else None
        log = self._events_file(lengths.get(self._name_of(self._path), ()))
        for event in itertools.islice(self.events("execution"), 1):
            self._check_origin(self._path, event)
        seen = {file.path: file for file in earlier.files} if earlier else {}
        found: dict[tuple, TableFile] = {}
        for path in journal.logs(self.folder):
            asked = lengths.get(self._name_of(path), ())
            file = seen.get(path)
            if file is None or not set(asked) <= file.links.keys() | {0} or not file.is_current():
                file = read_table_file(path, asked, wait=wait)
            if file is None:
                continue
            self._check_origin(path, file.begin)
            if not is_named_for(path, file.begin):
                raise Refused(
                    f"{path.name} is a file of {file.begin['table']}; give it its name back and put the right file here, or "
                    f"see `runbook repair {self.run.id}`."
                )
            place = (file.begin["table"], *file.begin["entries"], file.begin["segment"])
            if place in found:
                raise Refused(f"{path.name} and {found[place].path.name} hold the same segment; remove the copy.")
            found[place] = file
        self._read = Snapshot(self.run.id, self.name, self.folder, log, tuple(found.values()))
        return self._read

    # stage.jsonl

    def events(self, *kinds: str) -> Iterator[dict]:
        """The stage's own records in order. Raises Damaged."""
        log = self._events_file()
        return (event for event in (log.events if log else ()) if not kinds or event["kind"] in kinds)

    def record(self, kind: str, **content: Any) -> None:
        """Writes one of the stage's own records."""
        log, self._log = self._log, None  # it is closed where it cannot be written to
        if log is None or not log.take_again():  # new, or somebody else wrote a record meanwhile
            make_folder(self.folder)
            events: list[dict[str, Any]] = []
            log = self.open(self._path, look=lambda _, __, body: events.append(orjson.loads(body)))
            self._events = EventsFile(self._path, Stamp.of(log.stat()), len(events), log.link, {}, tuple(events))
        record = {"at": iso(now()), **content}
        log.append(kind, **record)
        event = orjson.loads(orjson.dumps({"kind": kind, **record}))
        self._events = self._events.with_event(event, log.link, Stamp.of(log.stat()))
        if self._entered:
            log.let_go()
            self._log = log
        else:
            log.close()

    def executions(self) -> int:
        """How often the stage was started."""
        return sum(1 for _ in self.events("execution"))

    def unsettled(self) -> list[dict]:
        """The executions whose last records may lie where their workers put them, and not here: see shared_journal.py."""
        return unsettled(self.events())

    def elsewhere(self) -> set[str]:
        """The files, as the audit chain names them, whose last records may lie elsewhere, and can be fetched."""
        return {self._name_of(self.folder / name) for event in self.unsettled() for name, *_ in event["files"]}

    def check_settled(self) -> None:
        """Refused where records of an interrupted execution lie elsewhere and were not fetched. Read-only."""
        try:
            found = self.unsettled()
        except Damaged:  # to be repaired first
            return
        for event in found:
            raise Refused(
                f"{self.folder}: records of an interrupted execution lie at {event['url']}; resume the run to fetch them. "
                "If a file here is damaged, move it elsewhere first; the program then fetches all of it."
            )

    def backups(self) -> dict[str, dict[str, Any]]:
        """Target table → kind, arn, at and, of an on-demand backup, name and status. Read-only."""
        known: dict[str, dict[str, Any]] = {}
        for event in self.events("backups"):
            known |= event["tables"]
        return known

    def targets(self) -> dict[str, set[str]]:
        """Target table → identities of the tables of that name that the executions wrote into, as far as they are known."""
        found: dict[str, set[str]] = {}
        for event in self.events("targets"):
            for name, identity in event.get("tables", {}).items():
                found.setdefault(name, set()).update({identity} - {None})
        return {name: known for name, known in found.items() if known}

    def repairs(self) -> list[dict]:
        """What repairs found, one for each file that was damaged. It names an attempt that was cut off once."""
        found = {}
        for event in self.events("repaired"):
            for name, about in event["files"].items():
                found[name, about["was"] or event["at"]] = {"at": event["at"], "file": name, **about}
        return list(found.values())

    def checkpoint(self) -> Path | None:
        """The checkpoint that the stage wrote last."""
        files = [event["file"] for event in self.events("checkpoint")]
        return self.run.folder / files[-1] if files else None

    def _events_file(self, lengths: Sequence[int] = ()) -> EventsFile | None:
        """`stage.jsonl` as it is now; None where there is none."""
        known, stamp = self._events, Stamp.now(self._path)
        if stamp is None:
            return None
        if known and stamp == known.stamp and set(lengths) <= known.links.keys() | {0}:
            return known
        events, links, link = [], {}, b""
        for number, (_, link, body) in enumerate(journal.lines(self._path), 1):
            if number in lengths:
                links[number] = link.decode()
            events.append(orjson.loads(body))
        self._events = EventsFile(self._path, stamp, len(events), link.decode(), links, tuple(events))
        return self._events

    # table files

    def open(self, path: Path, known: Tail = START, look: Look | None = None) -> Log:
        """A file of the stage for appending; a torn last record is cut, and the run's log says so. As `Log`."""
        log = Log(path, known, look)
        if log.cut:
            self.run.logger().warning("%s: cut a torn last record of %d bytes", path.name, log.cut)
        return log

    def hold(self, file: TableFile) -> tuple[Log, TableFile]:
        """A table file for appending, and what it says now that nobody else writes to it."""
        log = self.open(file.path, file.tail if file.is_current() else START)
        if not file.is_current():  # a worker that outlived what started it has written its last page meanwhile
            file = read_table_file(file.path)
        return log, file

    def open_log(
        self, identity: Identity, table: str, entries: list[str], segment: int, segments: int
    ) -> tuple[Log, TableFile | None]:
        """The segment's file, its first record written, and what it says; None where it is new."""
        begins = {file.path: file for file in self._read.files} if self._read else {}
        while True:
            path, known = self._path_of(table, entries, segment, begins)
            if known:
                return self.hold(known)
            reading = Reading(path)
            log = self.open(path, look=reading.add)
            if log.empty:
                log.append(
                    "begin", table=table, entries=entries, segment=segment, segments=segments, **self.identity(identity)
                )
                return log, None
            file = reading.done()
            if (file.begin["entries"], file.begin["segment"]) == (entries, segment):
                return log, file
            log.close()  # another process took the name meanwhile

    def _path_of(
        self, table: str, entries: list[str], segment: int, known: Mapping[Path, TableFile]
    ) -> tuple[Path, TableFile | None]:
        """The file of a segment of a pass: the one it has, which may be known, or a free name."""
        number = segment
        while (path := self.folder / journal.log_name(table, number)).exists():
            begin = known[path].begin if path in known else journal.begin_of(path)
            if begin is None or (begin["entries"], begin["segment"]) == (entries, segment):
                return path, known.get(path)
            number += 1
        return path, None

    def identity(self, identity: Identity) -> dict[str, Any]:
        """What the first record of each file and of each execution holds, so that a resumed run can be checked against it."""
        return {
            "schema": SCHEMA,
            "run": self.run.id,
            "stage": self.name,
            **identity._asdict(),
        }

    def check_identity(self, identity: Identity) -> None:
        """Refused where the stage was started with another mapping, other environments or other code."""
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
                    f"run {self.run.id} was started with {what.get(key, f'another {key}')}; "
                    "change it back, or start a new run."
                )

    def _check_origin(self, path: Path, first: dict) -> None:
        schema, run, stage = (first.get(key) for key in ("schema", "run", "stage"))
        journal.check_schema(path.name, schema)
        if (run, stage) != (self.run.id, self.name):
            raise Refused(
                f"{path.name} belongs to run {run} ({stage}); put the file back where it came from and the right one here, "
                f"or see `runbook repair {self.run.id}`."
            )

    def _name_of(self, path: Path) -> str:
        """The file's name as the audit chain has it."""
        return str(path.relative_to(self.run.folder))


def is_named_for(path: Path, begin: dict[str, Any]) -> bool:
    """Whether a table file has the name that its first record asks for; which number it has, others decide."""
    number = path.stem.rpartition(".")[2]
    return number.isdigit() and path.name == journal.log_name(str(begin.get("table")), int(number))


def created_tables(run: Run) -> list[tuple[tuple[str, str], str, float]]:
    """The tables that the run created and has not deleted: address, name, seconds since it became active. Read-only.

    0 where the clock was set back since. [] where the journal cannot be read: whoever needs it says so.
    """
    last: dict[str, dict[str, Any]] = {}
    with suppress(Refused, OSError):
        last = {event["table"]: event for event in Stage(run, "create").events("created", "deleted")}
    return [
        (
            tuple(event.get("address", ())),
            table,
            max(0.0, (now() - datetime.fromisoformat(event["at"])).total_seconds()),
        )
        for table, event in last.items()
        if event["kind"] == "created"
    ]
