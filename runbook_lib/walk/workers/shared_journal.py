"""The journal of an execution whose workers share no folder with the driver: each record an object of its own, put first.

`<url>/<run>/<stage>/<id>/<file name>/<number>` is a line of a journal file, byte for byte; the number is its place in the file.
Each execution makes a new id; `base` holds what the file contained when the execution started. docs/internals.md has the rules:

1. A store creates an object once and never changes it. If two processes put the same number, one of them succeeds. The next
   number is therefore both the lock and the fence.
2. A process that opens a file puts a record `fence` first. Whoever wrote the file before can put no further record, and so
   starts no further page.
3. The driver puts the last `fence`, which is `closed`: nobody writes after it. It does so when the execution ends. If the
   driver died, the next execution or rollback does so before it starts.
4. A worker that has put an intent may still send the requests that it announced. Before each write it checks that the next
   number was free within the last GUARD seconds. So ENDED seconds after a fence, its last request has ended.
5. The run's folder stays with the driver, which fetches the new records after each slice. Its files hold what they would hold
   in a shared folder, and the fences.
"""

import contextlib
import os
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from ...errors import Damaged, Interrupted, RunbookError
from ...journal import log as journal
from ...journal.log import kind_of, lines
from ...journal.stage import Stage
from ...journal.table_file import TableFile, read_table_file
from ...run.files import make_folder, open_file, open_to_read
from ...run.fingerprints import Identity
from ...run.folder import Run
from ...run.locks.lease import LONGEST_REQUEST
from ...run.locks.lease_file import running_time
from ...run.matches import Matches
from ...run.spill import HashSet
from ..plan import Plan
from ..walk import Segment
from .object_log import GUARD, BaseFile, ObjectRecords, SharedLog
from .object_store import PARALLEL, Blob, Store

ENDED = GUARD + LONGEST_REQUEST  # seconds after a fence until the previous writer's last request has ended


@dataclass(frozen=True)
class Shared:
    """Where an execution's records lie, and what its workers would have read from the run's folder. Plain data."""

    url: str
    place: str
    bases: dict[tuple[str, int], BaseFile]  # source table, segment
    mapping: tuple[str, bytes]  # the file's name and content
    code: dict[str, bytes]  # likewise of the files of its transforms
    known: Blob | None
    matches: Blob | None


class _Copy(ObjectRecords):
    """The driver's copy of one journal file."""

    def __init__(self, store: Store, folder: str, path: Path, base: BaseFile):
        """Of a file that is whole. Raises Damaged where it is not what the execution began with, or went on with."""
        super().__init__(store, folder, path, 0, b"")
        self._base_records, self._last, self._open = base.records, b"", False
        self.lost: float | None = None  # when a writer was known to have ended with a page open
        self.broken = False  # the file may end in a part of a record
        for _, self.chain, body in lines(path):
            self.records += 1
            if self.records > base.records:
                self._note(body)
            elif self.records == base.records and self.chain.decode() != base.link:
                raise Damaged(f"{path.name} is not the file that the execution started with; restore it from a copy.")
            self._last = self.chain + b" " + body + b"\n"
        if self.records < base.records:
            raise Damaged(f"{path.name} has lost records; remove it, and the program fetches it from {store.url}.")

    def _note(self, body: bytes) -> None:
        kind = kind_of(body)
        if kind == "fence":
            self.closed = self.closed or orjson.loads(body)["closed"]
            if self._open:
                self.lost = running_time()
        self._open = kind in ("intent", "unsent")

    def pull(self) -> None:
        """Fetches the records that are new. Writes to the file. Raises Damaged, and Interrupted as its disk does."""
        if self.broken:
            raise Interrupted(f"{self.path.name} cannot be written; make room.")
        if self.records > self._base_records and self.store.read(self.name(self.records - 1)) != self._last:
            raise self.damaged(self.name(self.records - 1), "is not what it was")
        file = None
        try:
            for line, body in self.new():
                file = file or self._appended()
                if file.write(line) != len(line):
                    raise OSError
                self._last = line
                self._note(body)
            if file:
                os.fsync(file.fileno())
        except OSError as problem:
            self.broken = True
            raise journal.unwritable(problem) from None
        finally:
            if file:
                file.close()

    def _appended(self) -> BinaryIO:
        return open(open_file(self.path, os.O_WRONLY | os.O_APPEND), "ab", buffering=0)

    def fence(self) -> None:
        """Sees to it that nobody writes the file any more, and fetches all of it."""
        self.pull()
        while not self.closed:
            self.put("fence", writer=uuid.uuid4().hex, closed=True)
            self.pull()  # it, or what somebody else has put there: then the next number


class SharedJournal:
    """The driver's side of one execution."""

    def __init__(self, plan: Plan, stage: Stage, segments: list[Segment]):
        """Begins the segments' files and puts what they hold. Writes to the stage's journal and to the store.

        Raises Refused where objects can be overwritten there; Interrupted.
        """
        self._stage, self._store = stage, Store(plan.parameters.limits.journal)
        self._place = f"{stage.run.id}/{stage.name}/{uuid.uuid4().hex}"
        self._store.probe(f"{self._place}/probe")
        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="shared") as pool:
            paths = [self._begin(plan, segment) for segment in segments]
            bases = list(pool.map(self._put, paths))
        self._bases = {(s.table, s.number): base for s, base in zip(segments, bases, strict=True)}
        # From here on, whatever happens to this process, nobody uses these files before they are fenced.
        files = [[*base[:3], [*base.blob]] for base in bases]
        stage.record("shared", url=self._store.url, place=self._place, files=files)
        self._copies = {
            key: _Copy(self._store, f"{self._place}/{base.name}", stage.folder / base.name, base)
            for key, base in self._bases.items()
        }
        mapping = plan.parameters.mapping_path()
        known = self._put_known(plan)
        code = {entry.code.file: entry.code.source for entry in plan.mapping.entries.values() if entry.code}
        matches = self._put_matches(plan)
        self.about = Shared(
            self._store.url, self._place, self._bases, (mapping.name, mapping.read_bytes()), code, known, matches
        )

    def _begin(self, plan: Plan, segment: Segment) -> Path:
        entries = [route.entry.name for route in plan.by_source()[segment.table]]
        log, _ = self._stage.open_log(plan.identity, segment.table, entries, segment.number, segment.total)
        log.close()
        return log.path

    def _put(self, path: Path) -> BaseFile:
        records, link = 0, b""
        for link in journal.links(path):  # noqa: B007 the last one is wanted
            records += 1
        with open_to_read(path) as file:
            blob = self._store.save(f"{self._place}/{path.name}/base", file)
        return BaseFile(path.name, records, link.decode(), blob)

    def _put_known(self, plan: Plan) -> Blob | None:
        if plan.known is None:
            return None
        with tempfile.TemporaryFile(prefix="runbook-") as file:
            plan.known.save(file)
            file.seek(0)
            return self._store.save(f"{self._place}/known", file)

    def _put_matches(self, plan: Plan) -> Blob | None:
        if plan.matches is None:
            return None
        with open_to_read(plan.matches.path) as file:
            return self._store.save(f"{self._place}/matches", file)

    def __enter__(self) -> "SharedJournal":
        return self

    def __exit__(self, kind: type | None, *exception) -> None:
        if kind is None:
            return self.end()
        with contextlib.suppress(RunbookError, OSError):  # what is under way is worth more; `settle` does the rest
            self.end(wait=False)
        return None

    def watched(self, worker: Any) -> "_Watched":
        """The worker, whose records are fetched after each slice."""
        return _Watched(worker, self)

    def pull(self, table: str, segment: int) -> None:
        """Fetches a segment's new records. Writes to its file. One thread for each segment. Raises Damaged, Interrupted."""
        self._copies[table, segment].pull()

    def end(self, *, wait: bool = True) -> None:
        """Fences and fetches all files. Without `wait` what takes longer is left to `settle`. Writes to both."""
        _fence(self._stage, self._place, list(self._copies.values()), wait)


class _Watched:
    """A worker whose records the driver fetches after each slice."""

    def __init__(self, worker: Any, shared: SharedJournal):
        self._worker, self._shared = worker, shared

    def advance(self, job: Any, table: str, number: int, budgets: Any) -> Any:
        found = self._worker.advance(job, table, number, budgets)
        self._shared.pull(table, number)
        return found

    def items(self) -> int:
        return self._worker.items()

    def close(self) -> None:
        self._worker.close()


class WorkerFolder:
    """The worker's side: a folder of its own in the place of the run's, which it does not see; it goes with the block."""

    def __init__(self, run_id: str, stage: str, shared: Shared):
        """Makes the folder, with the mapping file and its transforms' files in it.

        Raises Refused where the store cannot be opened.
        """
        self._folder = tempfile.TemporaryDirectory(prefix="runbook-")
        self._store, self._shared = Store(shared.url), shared
        self.run = Run(run_id, Path(self._folder.name, run_id))
        self.stage = _ObjectStage(self.run, stage, self._store, shared)
        make_folder(self.stage.folder)
        for name, content in (*shared.code.items(), shared.mapping):
            self.mapping = Path(self._folder.name, name)
            self.mapping.write_bytes(content)

    def __enter__(self) -> "WorkerFolder":
        return self

    def __exit__(self, *exception) -> None:
        self._folder.cleanup()

    def known(self) -> HashSet | None:
        """The source's ids, where the mapping asks for them."""
        path = self._fetched("known", self._shared.known)
        return path and HashSet.open(path)

    def matches(self) -> Matches | None:
        """The frozen matches, where there are any."""
        path = self._fetched("matches", self._shared.matches)
        return path and Matches(path)

    def _fetched(self, name: str, blob: Blob | None) -> Path | None:
        if blob is None:
            return None
        path = Path(self._folder.name, f".{name}")
        with path.open("wb") as file:
            self._store.load(f"{self._shared.place}/{name}", blob, file)
        return path

    def check(self) -> None:
        """Raises Interrupted where somebody else may write what this worker writes: a guard of its requests."""
        for log in list(self.stage.logs.values()):
            log.check()


class _ObjectStage(Stage):
    """A stage whose journal files are objects."""

    def __init__(self, run: Run, name: str, store: Store, shared: Shared):
        super().__init__(run, name)
        self._store, self._shared = store, shared
        self.logs: dict[tuple[str, int], SharedLog] = {}

    def open_log(
        self, identity: Identity, table: str, entries: list[str], segment: int, segments: int
    ) -> tuple[SharedLog, TableFile | None]:
        base = self._shared.bases[table, segment]
        log = SharedLog(self._store, f"{self._shared.place}/{base.name}", self.folder / base.name, base)
        self.logs[table, segment] = log
        return log, read_table_file(log.path)


def settle(stage: Stage) -> None:
    """Fences and fetches what an execution left whose driver died, or could not reach the store, wherever that was.

    Then the stage's files are all there is, and nothing more comes: an interrupted page is waited for. Writes to the stage's
    journal and to the store. Raises Interrupted where the store cannot be reached, Damaged where something does not fit.
    """
    for event in stage.unsettled():
        store = Store(event["url"])
        bases = [BaseFile(name, records, link, Blob(*blob)) for name, records, link, blob in event["files"]]
        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="shared") as pool:
            copies = list(pool.map(partial(_copy, stage, store, event["place"]), bases))
        _fence(stage, event["place"], copies, True)
        stage.run.logger().info("%s: the records at %s are fetched", stage.name, store.url)


def _copy(stage: Stage, store: Store, place: str, base: BaseFile) -> _Copy:
    path, folder = stage.folder / base.name, f"{place}/{base.name}"
    log = stage.open(path)  # cuts a torn last record
    log.close()
    if log.empty:
        with open(open_file(path, os.O_WRONLY | os.O_TRUNC), "wb") as file:
            store.load(f"{folder}/base", base.blob, file)
            os.fsync(file.fileno())
    return _Copy(store, folder, path, base)


def _fence(stage: Stage, place: str, copies: list[_Copy], wait: bool) -> None:
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="shared") as pool:
        list(pool.map(_Copy.fence, copies))
    lost = [copy.lost for copy in copies if copy.lost is not None]
    if lost and (left := max(lost) + ENDED - running_time()) > 0:
        if not wait:
            return
        stage.run.logger().info("%s: waiting %.0f seconds for the last requests of lost workers", stage.name, left)
        time.sleep(left)
    stage.record("settled", place=place)
