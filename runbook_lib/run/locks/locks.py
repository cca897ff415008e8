"""One operator at a time: a lock on this machine for every target table that is written to; a lease across machines.

A lock is a file held by `flock`, so that it goes with its process, however that ends. It tells who holds it. All users
of the machine keep theirs in one folder. Each makes files of their own, which others read and nobody else can remove:
whoever wants a table holds their own file first, and then looks whether another user's is held. Behind the locks,
where the parameters name a table for them, are the leases.
"""

import fcntl
import hashlib
import os
import pwd
import random
import re
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from ... import process
from ...dynamo.requests import guarded
from ...dynamo.session import Connection
from ...errors import Interrupted, Refused
from ...parameters import LeaseSettings
from .. import files
from ..files import read_holder, still_ours, write_holder
from ..folder import Run, iso, now
from . import lease as leases

PLACES = ("/run/lock", "/dev/shm")  # not for a user alone, as TMPDIR is, nor for a service alone, as its /tmp may be
_SETTLED = 3_000_000_000  # nanoseconds; a folder that changes again sooner may show the same time
_OPEN = os.O_NOFOLLOW | os.O_NONBLOCK  # a link would lead to another file, and a pipe would wait
_SAID = re.compile(r"[\w.:+-]{1,100}")  # what a lock file may say: others write it, and a message quotes it


def shared_folder() -> Path:
    """The folder for the locks: the first that every user may write to, and none may remove others' files from."""
    for place in PLACES:
        with suppress(OSError):
            if os.stat(place).st_mode & 0o1777 == 0o1777 and not os.statvfs(place).f_flag & os.ST_RDONLY:
                return Path(place)
    return Path("/tmp")


FOLDER = shared_folder()


_held: dict[str, int] = {}  # path → inode of the lock files that this process keeps open


def held() -> dict[str, int]:
    """The locks that this process holds, to be followed by its workers on this machine."""
    return dict(_held)


def follow(held: Mapping[str, int]) -> Callable[[], None]:
    """A check of held locks: it raises Interrupted once another operator has broken one. Read-only.

    Made before every write, it looks at the folder alone while that has not changed.
    """
    folder, seen = os.path.dirname(next(iter(held), "/")), -1

    def check() -> None:
        nonlocal seen
        moment = time.time_ns()  # before the look: the process may be stopped between the two
        if (changed := os.stat(folder).st_mtime_ns) == seen:
            return
        for path, inode in held.items():
            with suppress(FileNotFoundError):
                if os.stat(path).st_ino == inode:
                    continue
            raise Interrupted("another operator has broken the lock of this run; it writes nothing more.")
        seen = changed if moment - changed > _SETTLED else -1

    return check


@contextmanager
def hold_targets(
    target: Connection,
    tables: Mapping[str, str | None],
    run: Run,
    *,
    break_lock: str = "",
    lease: LeaseSettings | None = None,
) -> Iterator[None]:
    """Holds the tables for writing; no write leaves this process once one of the locks is broken or a lease is lost.

    Refused, naming the holder, where another live process holds one of them.

    `tables`: name → the table's identity, None where that is not known. `break_lock` names a holder, `PID@HOST`, whose
    lock this process takes. Writes to the machine's folder of locks and to the lease's table.
    """
    with ExitStack() as stack:
        files = {}
        for name, table in sorted(_names(target, tables).items()):
            path = FOLDER / f"runbook-{name}.{os.geteuid()}.lock"
            files[str(path)] = stack.enter_context(_hold(path, table, run, break_lock))
        stack.enter_context(guarded(follow(files)))
        if lease and tables:
            stack.enter_context(leases.hold(target, list(tables), run, lease, break_lock=break_lock))
        yield


def _names(target: Connection, tables: Mapping[str, str | None]) -> dict[str, str]:
    """Name of a lock → table. Each table has one by its address; one by its identity holds under any address.

    The first is for those who may not describe the table, and so know no identity.
    """
    found = {}
    for table, identity in tables.items():
        address = "|".join((target.account or "", target.region, target.endpoint_url, table))
        for known in filter(None, (address, identity)):
            found[hashlib.sha256(known.encode()).hexdigest()[:32]] = table
    return found


@contextmanager
def _hold(path: Path, table: str, run: Run, break_lock: str) -> Iterator[int]:
    deadline = time.monotonic() + process.lock_patience
    while True:
        file, other = _open(path), path
        if files.lock_file(file, patience=min(0.2, process.lock_patience)) and still_ours(path, file):
            if (other := _held_by_another(path)) is None:
                break
            path.unlink()  # and let go for as long as it waits, so that of two users who begin at once one gets on
        if (holder := _holder(other)) and break_lock == f"{holder['pid']}@{holder['host']}":
            _break(other, table)
            run.logger().warning("broke the lock of %s (run %s) on %s", break_lock, holder["run"], table)
        elif time.monotonic() > deadline:
            raise Refused(_refusal(table, other))
        file.close()
        if other != path:
            time.sleep(random.uniform(0.02, 0.2))
    with file:
        with run.saving():
            write_holder(file, run=run.id, since=iso(now()))
        _held[str(path)] = inode = os.fstat(file.fileno()).st_ino
        try:
            yield inode
        finally:
            del _held[str(path)]
        if still_ours(path, file):
            path.unlink()


def _open(path: Path) -> IO[str]:
    """This user's lock file, which others may read. Refused where something else has its name: that is not touched."""
    while True:
        try:
            # Without O_EXCL, Linux refuses O_CREAT in such a folder, and elsewhere it would follow a link.
            with suppress(FileExistsError):
                return _checked(path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _OPEN, 0o644))
            with suppress(FileNotFoundError):  # its holder has removed it since
                return _checked(path, os.open(path, os.O_RDWR | _OPEN))
        except OSError as problem:
            raise Refused(f"the lock {path} cannot be opened ({problem.strerror}); {_FIX}.") from None


_FIX = "make room there, or remove what has that name if it is not a lock"


def _checked(path: Path, descriptor: int) -> IO[str]:
    about = os.fstat(descriptor)
    if not _is_of(about, os.geteuid()):
        os.close(descriptor)
        raise Refused(f"{path} is not a lock of this user; find out who put it there, and remove it.")
    os.fchmod(descriptor, 0o644)  # whatever the umask is
    return open(descriptor, "r+", encoding="utf-8")


def _is_of(about: os.stat_result, user: int) -> bool:
    """Whether it is a plain file of this user, and has no other name: with one, another user could have put it there."""
    return stat.S_ISREG(about.st_mode) and about.st_uid == user and about.st_nlink <= 1


def _held_by_another(own: Path) -> Path | None:
    """The lock file of another user who holds the table, or None. Read-only. What is no lock of its user does not count."""
    for path in own.parent.glob(f"{own.name.split('.')[0]}.*.lock"):
        user = path.name.split(".")[1]
        if path == own or not user.isdigit():
            continue
        try:
            descriptor = os.open(path, os.O_RDONLY | _OPEN)
        except OSError:  # gone; a link; or not yet readable, and then its user looks at ours later
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            if _is_of(os.fstat(descriptor), int(user)):
                return path
        finally:
            os.close(descriptor)
    return None


def _holder(path: Path) -> dict | None:
    """Who holds the lock, by its file; None where it is not written yet, or does not look like what is written there."""
    try:
        with open(os.open(path, os.O_RDONLY | _OPEN), encoding="utf-8") as file:
            holder = read_holder(file) if os.fstat(file.fileno()).st_size < 1000 else None
        texts = [holder[name] for name in ("host", "run", "since")]
        return holder if isinstance(holder["pid"], int) and all(_SAID.fullmatch(text) for text in texts) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _break(path: Path, table: str) -> None:
    try:
        path.unlink(missing_ok=True)
    except PermissionError:
        raise Refused(f"the lock on {table} belongs to {_user(path)}; only that user or root can break it.") from None


def _user(path: Path) -> str:
    user = path.name.split(".")[1]
    with suppress(KeyError):
        return f"user {pwd.getpwuid(int(user)).pw_name}"
    return f"user {user}"


def _refusal(table: str, path: Path) -> str:
    whose = "" if path.name.split(".")[1] == str(os.geteuid()) else f" of {_user(path)}"
    holder = _holder(path)
    if holder is None:
        return f"{table} is being written by another process{whose} on this machine; wait for it to end."
    name = f"{holder['pid']}@{holder['host']}"
    return (
        f"{table} is being written by run {holder['run']} (process {name}{whose}, since {holder['since']}); wait for it to "
        f"end, or, if it hangs, take its lock with --break-lock {name}."
    )
