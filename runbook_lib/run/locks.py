"""One operator at a time: a lock on this machine for every target table that is written to; a lease across machines.

A lock is a file held by `flock`, so that it goes with its process, however that ends. It tells who holds it. Behind it,
where the parameters name a table for them, are the leases.
"""

import hashlib
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from .. import process
from ..dynamo.session import Connection
from ..errors import Interrupted, Refused
from ..parameters import LeaseSettings
from . import files
from . import lease as leases
from .files import read_holder, still_ours, write_holder
from .folder import Run, iso, now

FOLDER = Path(tempfile.gettempdir()) / "runbook-locks"


class Held:
    """The locks that this process holds."""

    def __init__(self, files: dict[Path, IO[str]], held: Sequence[leases.Lease] = ()):
        """`files` are the open lock files by path."""
        self._files, self._leases = files, held

    def check(self) -> None:
        """Raises Interrupted where another operator broke a lock (its file is not the one that is held) or took a lease."""
        for lease in self._leases:
            lease.check()
        for path, file in self._files.items():
            if not still_ours(path, file):
                raise Interrupted("another operator has broken the lock of this run; it writes nothing more.")


@contextmanager
def hold_targets(
    target: Connection, tables: list[str], run: Run, *, break_lock: str = "", lease: LeaseSettings | None = None
) -> Iterator[Held]:
    """Holds the tables for writing. Refused, naming the holder, where another live process holds one of them.

    `break_lock` names that holder, `PID@HOST`, whose lock this process takes. Writes to the machine's temporary folder and to the
    lease's table.
    """
    FOLDER.mkdir(mode=0o1777, exist_ok=True)
    with ExitStack() as stack:
        opened = {}
        for table in sorted(tables):
            place = "|".join((target.account or "", target.region, target.endpoint_url, table))
            path = FOLDER / f"{hashlib.sha256(place.encode()).hexdigest()[:32]}.lock"
            opened[path] = stack.enter_context(_hold(path, table, run, break_lock))
        held = []
        if lease and tables:
            held = stack.enter_context(leases.hold(target, tables, run, lease, break_lock=break_lock))
        yield Held(opened, held)


@contextmanager
def _hold(path: Path, table: str, run: Run, break_lock: str) -> Iterator[IO[str]]:
    deadline = time.monotonic() + process.lock_patience
    while True:
        file = open(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+", encoding="utf-8")  # noqa: SIM115
        if files.lock_file(file, patience=min(0.2, process.lock_patience)):  # then the file may be another one
            if still_ours(path, file):
                break
        else:
            holder = read_holder(file)
            if holder and break_lock == f"{holder['pid']}@{holder['host']}":
                run.logger().warning("broke the lock of %s (run %s) on %s", break_lock, holder["run"], table)
                path.unlink(missing_ok=True)
            elif time.monotonic() > deadline:
                raise Refused(_refusal(table, holder))
        file.close()
    with file:
        with run.saving():
            write_holder(file, run=run.id, since=iso(now()))
        yield file
        if still_ours(path, file):
            path.unlink()


def _refusal(table: str, holder: dict | None) -> str:
    if holder is None:
        return f"{table} is being written by another process on this machine; wait for it to end."
    name = f"{holder['pid']}@{holder['host']}"
    return (
        f"{table} is being written by run {holder['run']} (process {name}, since {holder['since']}); wait for it to end, "
        f"or, if it hangs, take its lock with --break-lock {name}."
    )
