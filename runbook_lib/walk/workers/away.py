"""What a worker has that sees neither the run's folder nor the mapping file: a folder of its own, and the store."""

import tempfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from ...journal.stage import Stage
from ...journal.table_file import TableFile, read_table_file
from ...run.files import make_folder
from ...run.fingerprints import Identity
from ...run.folder import Run
from ...run.spill import HashSet
from .object_log import Head, SharedLog
from .object_store import Blob, Store


@dataclass(frozen=True)
class Shared:
    """Where an execution's records lie, and what its workers would have read from the run's folder. Plain data."""

    url: str
    place: str
    heads: dict[tuple[str, int], Head]  # source table, segment
    mapping: tuple[str, bytes]  # the file's name and content
    known: Blob | None


class Ticket(NamedTuple):
    """What a worker gets an execution's job for. It comes by way of Dask, and proves what the store gives."""

    url: str
    folder: str
    blob: Blob


def hand_in(shared: Shared, job: bytes) -> Ticket:
    """Puts a job. Writes to the store."""
    folder = f"{shared.place}/job"
    return Ticket(shared.url, folder, Store(shared.url).save(folder, BytesIO(job)))


def hand_out(ticket: Ticket) -> bytes:
    """The job that was handed in. Raises Refused where it is another one. Read-only."""
    content = BytesIO()
    Store(ticket.url).load(ticket.folder, ticket.blob, content)
    return content.getvalue()


class Away:
    """What a worker has in the place of the run's folder: a folder of its own, which goes with it."""

    def __init__(self, run_id: str, stage: str, shared: Shared):
        """Makes the folder."""
        self._folder = tempfile.TemporaryDirectory(prefix="runbook-")
        self._store, self._shared = Store(shared.url), shared
        self.run = Run(run_id, Path(self._folder.name, run_id))
        self.stage = _AwayStage(self.run, stage, self._store, shared)
        make_folder(self.stage.folder)
        name, content = shared.mapping
        self.mapping = Path(self._folder.name, name)
        self.mapping.write_bytes(content)

    def __enter__(self) -> "Away":
        return self

    def __exit__(self, *exception) -> None:
        self._folder.cleanup()

    def known(self) -> HashSet | None:
        """The source's ids, where the mapping asks for them."""
        if self._shared.known is None:
            return None
        path = Path(self._folder.name, ".known")
        with path.open("wb") as file:
            self._store.load(f"{self._shared.place}/known", self._shared.known, file)
        return HashSet.open(path)

    def check(self) -> None:
        """Raises Interrupted where somebody else may write what this worker writes: a guard of its requests."""
        for log in list(self.stage.logs.values()):
            log.check()


class _AwayStage(Stage):
    """A stage whose journal files are objects."""

    def __init__(self, run: Run, name: str, store: Store, shared: Shared):
        super().__init__(run, name)
        self._store, self._shared = store, shared
        self.logs: dict[tuple[str, int], SharedLog] = {}

    def open_log(
        self, identity: Identity, table: str, entries: list[str], segment: int, segments: int
    ) -> tuple[SharedLog, TableFile | None]:
        head = self._shared.heads[table, segment]
        log = SharedLog(self._store, f"{self._shared.place}/{head.name}", self.folder / head.name, head)
        self.logs[table, segment] = log
        return log, read_table_file(log.path)
