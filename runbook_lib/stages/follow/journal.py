"""How far each source table's stream was followed: `journal/follow/`, one file a table, in the form of every journal file.

noted    positions, entries, owes, lost    positions from which the stream is read; before anything is read from there.
                                           owes: the table has to be walked (again) first; lost: a position was lost
read     positions, keys, newest           read while the table was walked: these keys wait
applied  positions, keys, waited, counts, drifted, newest
                                           what was read, or `waited` records `read` in all, is in the target and its journal
drift    drifted                           what a walk left alone, or a comparison found so
walked   counts, owed                      a walk is over that began when so many had been owed

A position is written behind its effect: what is read twice has no effect the second time. Keys are the source's. Nothing
else depends on these files: a table whose file is lost is walked again.
"""

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from ...dynamo.streams.positions import Positions
from ...errors import Refused
from ...journal import log as log_file
from ...journal.log import Tail, unwritable
from ...journal.stage import Stage
from ...run.fingerprints import Identity
from ...run.folder import Run, iso, now

STAGE = "follow"
LINES = 1_000  # drifted items in one record


class Drifted(NamedTuple):
    """An item that following left alone."""

    entry: str
    key: dict  # the source's
    reason: str


class TableJournal:
    """The journal of one table. For one thread at a time. A `with` block."""

    def __init__(
        self, run: Run, table: str, identity: Identity, drifted: Callable[[str, Iterable | None, Iterable], object]
    ):
        """Opens or begins the file. `drifted` gets table, keys (None: all) and drifted items of each record, in order.

        Raises Damaged, Refused where the file is another's; Interrupted where another process writes it.
        """
        self.table, self._drifted = table, drifted
        self.positions: dict[str, Any] | None = None  # as noted last
        self.entries: list[str] = []  # that were followed
        self.owes = False  # whether the table has to be walked before anything is applied
        self.counts: Counter = Counter()
        self.walked_again: list[dict[str, Any]] = []  # at, lost, and the figures of the walk, once it is over
        self.since = ""
        self.newest: float | None = None  # when the newest record that is applied was made, in seconds since the epoch
        self._reads: list[Tail] = []  # before each record `read` that waits
        self._waited = 0  # records `read` that are applied
        self._tail, self._lock = Tail(), threading.Lock()
        stage = Stage(run, STAGE)
        self._log = stage.open(path_of(run, table), look=self._look)
        about = {"table": table, "entries": [], "segment": 0, "segments": 1, **stage.identity(identity)}
        if self._log.empty:
            self._append("begin", **about)
        elif (self._first.get("run"), self._first.get("stage"), self._first.get("table")) != (run.id, STAGE, table):
            self._log.close()
            raise Refused(
                f"{self._log.path.name} of journal/{STAGE} is a file of another run or table; put the right file here."
            )

    def __enter__(self) -> "TableJournal":
        return self

    def __exit__(self, *exception: object) -> None:
        self._log.close()

    @property
    def noted(self) -> bool:
        """Whether a position was ever noted."""
        return self.positions is not None

    @property
    def waits(self) -> bool:
        """Whether keys that were read wait to be applied."""
        return bool(self._reads)

    def note(self, positions: Positions, entries: Sequence[str], *, owes: bool, lost: bool = False) -> None:
        """Notes positions from which the stream is to be read. Raises Interrupted as the disk does."""
        self._append("noted", positions=positions.as_json(), entries=list(entries), owes=owes, lost=lost)

    def read(self, positions: Positions, keys: Sequence[dict], newest: float | None) -> None:
        """Notes what was read, and is to be applied later."""
        self._append("read", positions=self._changed(positions), keys=list(keys), newest=newest)

    def applied(
        self,
        keys: Sequence[dict],
        counts: Mapping[str, int],
        drifted: Sequence[Drifted],
        *,
        positions: Positions | None = None,
        newest: float | None = None,
        waited: int = 0,
    ) -> None:
        """Notes what was applied: keys of the stream up to these positions, or of so many records `read` that waited."""
        self._append(
            "applied",
            **({"positions": self._changed(positions)} if positions else {}),
            keys=list(keys),
            waited=self._waited + waited,
            counts=dict(counts),
            drifted=[list(one) for one in drifted],
            newest=newest,
        )

    def left_alone(self, drifted: Sequence[Drifted]) -> None:
        """Notes what a walk left alone, or a comparison found so."""
        self._append("drift", drifted=[list(one) for one in drifted])

    def walked(self, counts: Mapping[str, int], owed: int) -> None:
        """Notes that a walk is over that began when so many walks had been owed in all: a later one is still owed."""
        self._append("walked", counts=dict(counts), owed=owed)

    def waiting(self) -> Iterator[tuple[list[dict], float | None]]:
        """The keys of each record `read` that is not applied, and when the newest change of them was made."""
        reader = self._log.reader()
        for tail in list(self._reads):
            _, _, body = next(log_file.lines(self._log.path, reader, after=tail))
            record = orjson.loads(body)
            yield record["keys"], record["newest"]

    def has_moved(self, positions: Positions) -> bool:
        """Whether these positions are not those noted last."""
        return positions.as_json() != self.positions

    def _changed(self, positions: Positions) -> dict[str, Any]:
        """What positions change of those noted last."""
        content, last = positions.as_json(), self.positions or {}
        if {name: content[name] for name in content if name != "shards"} != {n: last[n] for n in last if n != "shards"}:
            return content
        shards, before = content["shards"], last["shards"]
        return {
            "shards": {shard: at for shard, at in shards.items() if before.get(shard) != at},
            "gone": sorted(before.keys() - shards.keys()),
        }

    def _append(self, kind: str, **content: Any) -> None:
        record = {"at": iso(now()), **content}
        with self._lock:  # a walk says what it left alone while its keeper says what it read
            before = self._tail
            try:
                self._log.append(kind, **record)
            except OSError as problem:
                raise unwritable(problem) from problem
            self._tail = Tail(self._log.stat().st_size, before.records + 1, self._log.link.encode())
            self._take({"kind": kind, **record}, before)

    def _look(self, end: int, link: bytes, body: bytes) -> None:
        before, self._tail = self._tail, Tail(end, self._tail.records + 1, link)
        self._take(orjson.loads(body), before)

    def _take(self, record: dict[str, Any], before: Tail) -> None:
        """What a record says; `before` is where the file stood."""
        kind = record["kind"]
        if before.records == 0:
            self._first = record
        if told := record.get("positions"):
            self.positions = told if "gone" not in told else merged(self.positions, told)
        if kind == "noted":
            self.since = self.since or record["at"]
            self.entries, self.owes = record["entries"], record["owes"] or self.owes
            if record["owes"]:  # the walk will say again what it leaves alone
                self._drifted(self.table, None, ())
                self.walked_again.append({"at": record["at"], "lost": record["lost"]})
        elif kind == "read":
            self._reads.append(before)
        elif kind == "applied":
            del self._reads[: record["waited"] - self._waited]
            self._waited = record["waited"]
            self.counts.update(record["counts"])
            self._drifted(self.table, record["keys"], record["drifted"])
            self.newest = max(filter(None, (self.newest, record["newest"])), default=None)
        elif kind == "drift":
            self._drifted(self.table, (), record["drifted"])
        elif kind == "walked":
            self.owes = len(self.walked_again) > record["owed"]
            self.walked_again[record["owed"] - 1] |= {"until": record["at"], **record["counts"]}


def merged(positions: dict[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """Positions with what has changed of them. Pure."""
    shards = {shard: at for shard, at in positions["shards"].items() if shard not in changed["gone"]}
    return {**positions, "shards": {**shards, **changed["shards"]}}


def begin(run: Run, identity: Identity, entries: Sequence[str]) -> None:
    """Begins the journal of following, where nobody has: the stage that its files belong to. Writes to the run's folder."""
    stage = Stage(run, STAGE)
    if not stage.exists():
        stage.record("execution", entries=list(entries), **stage.identity(identity))


def path_of(run: Run, table: str) -> Path:
    """The file of a table."""
    return run.journal(STAGE) / log_file.log_name(table, 0)


def touched(run: Run) -> Iterator[tuple[str, list[dict]]]:
    """(Source table, source keys) of what the streams named since positions were first noted, and of what a walk left alone.

    A key may come more than once. Read-only. Raises Damaged.
    """
    for path in log_file.logs(run.journal(STAGE)) if os.path.isdir(run.journal(STAGE)) else ():
        table = ""
        for record in log_file.records(path, "begin", "read", "applied", "drift"):
            table = record.get("table", table)
            if keys := record.get("keys") or [Drifted(*one).key for one in record.get("drifted", ())]:
                yield table, keys
