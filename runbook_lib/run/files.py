"""What the program asks of a file system: whole files, folders that outlast a power cut, locks, and hashes of contents."""

import fcntl
import glob
import hashlib
import json
import os
import socket
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, BinaryIO

from .. import failpoints, process
from ..errors import Refused
from ..yaml_files import open_regular, read_whole

MAX_JSON = 1_000_000_000  # bytes of a file that the program itself wrote
MAX_NAME = 255  # bytes of a file's name
NO_LOCK = "remove it: the program makes its locks itself"  # what to do where something else lies there
_POLL = 0.1  # seconds


def lock_file(file: IO[Any], *, shared: bool = False, patience: float | None = None) -> bool:
    """Whether this process now holds the open file's lock; False where another one kept it for `patience` seconds.

    `shared` locks keep out exclusive ones only. `patience` is process.lock_patience by default. Raises OSError where the
    file system knows no locks.
    """
    deadline = time.monotonic() + (process.lock_patience if patience is None else patience)
    while True:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if (left := deadline - time.monotonic()) <= 0:
                return False
            time.sleep(min(_POLL, left))


def still_ours(path: Path, file: IO[Any]) -> bool:
    """Whether the open file is still the one at the path: an operator who breaks a lock removes its file. Read-only."""
    try:
        return os.stat(path).st_ino == os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False


def write_holder(file: IO[str], **about: str) -> None:
    """Writes into a lock file who holds it: this process, and what else there is to know about it."""
    os.ftruncate(file.fileno(), 0)
    os.pwrite(file.fileno(), json.dumps({"pid": os.getpid(), "host": socket.gethostname(), **about}).encode(), 0)


def read_holder(file: IO[str]) -> dict[str, Any] | None:
    """What `write_holder` wrote: pid, host and the rest; None where it is not whole. Read-only."""
    try:
        file.seek(0)
        return json.load(file)
    except (ValueError, RecursionError):
        return None


def open_file(path: Path, flags: int = os.O_RDONLY, fix: str = "restore it from a copy", mode: int = 0o600) -> int:
    """A descriptor of a file of the program's own; `flags` and `mode` as for os.open. To be written, it is no link.

    Raises Refused, with `fix` as what to do, where something else lies there, or the file may not be read. Raises OSError.
    """
    try:
        descriptor = open_regular(path, flags if flags == os.O_RDONLY else flags | os.O_NOFOLLOW, mode)
        if flags != os.O_RDONLY and os.fstat(descriptor).st_nlink > 1:
            os.close(descriptor)
            raise ValueError("it is a hard link to another file")
        return descriptor
    except ValueError as problem:
        raise Refused(f"{path} cannot be used: {problem}; {fix}.") from None
    except PermissionError as problem:
        if flags != os.O_RDONLY:
            raise
        raise Refused(f"{path} cannot be read: {problem.strerror}; ask its owner, or change its mode.") from None


def open_to_read(path: Path) -> BinaryIO:
    """A file of the program's own, open for reading. Raises as `open_file`."""
    return open(open_file(path), "rb")


def open_lock(path: Path, mode: int = 0o600) -> int:
    """A descriptor of a lock file, made where it is missing. Raises Refused, OSError as `open_file`."""
    return open_file(path, os.O_RDWR | os.O_CREAT, NO_LOCK, mode)


def remove_file(path: Path) -> None:
    """Removes the file, if there is one. Raises Refused where it is a folder, OSError."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        if not path.is_dir():
            raise
        raise Refused(f"{path} is a folder; remove it: the program has a file of that name.") from None


def read_json(path: Path) -> Any:
    """What a JSON file holds. Read-only. Raises OSError; ValueError where it is no JSON, or not to be read: see `read_whole`."""
    try:
        return json.loads(read_whole(path, MAX_JSON))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def name_of(head: str, tail: str) -> str:
    """The file name `head` + `tail`; where that is too long, the head's end gives way to a hash of the whole head."""
    room = MAX_NAME - len(tail.encode())
    if len(head.encode()) > room:
        hashed = f"-{hashlib.sha256(head.encode()).hexdigest()[:16]}"
        head = head.encode()[: room - len(hashed)].decode(errors="ignore") + hashed
    return head + tail


def write_atomically(path: Path, content: bytes | Iterable[bytes], mode: int = 0o644) -> None:
    """Writes a file so that a reader sees the old one or the new one, never a mix; on disk when it returns."""
    point = f"file.{path.name}"
    failpoints.reach(f"{point}.write.before")
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:50]}-")  # a name may be full
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines([content] if isinstance(content, bytes) else content)
            file.flush()
            failpoints.reach(f"{point}.fsync.before")
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        failpoints.reach(f"{point}.rename.before")
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    failpoints.reach(f"{point}.folder.before")
    sync_folder(path.parent)
    failpoints.reach(f"{point}.after")


def write_or_tell(path: Path, content: bytes) -> str:
    """As `write_atomically`; where the disk refuses it, a sentence that says so, and no file: the old one is out of date.

    Raises OSError where the old one cannot be removed either.
    """
    try:
        write_atomically(path, content)
        return ""
    except OSError as problem:
        try:
            path.unlink(missing_ok=True)
        except OSError:
            if not path.is_dir():
                raise problem from None
        return not_written(path, problem)


def not_written(path: Path, problem: OSError) -> str:
    """The sentence for a page without which a stage still has its result."""
    return f"{path} cannot be written: {problem.strerror or problem}; fix that, and the next command writes it."


class Unfinished:
    """A file beside the one whose place it is to take, mode 0600, under a name that no other process has.

    It is locked while it is open. One that nobody holds was left by a process that was killed: whoever makes the next one
    for its place removes it. So this is for folders of the program's own: elsewhere such a name may be somebody else's.
    """

    def __init__(self, place: Path):
        """Makes the file at `path`, and opens it as `file`."""
        self._place = place
        for left in place.parent.glob(f".{glob.escape(place.name)}-????????"):
            with suppress(OSError), left.open("r+b") as file:  # it is gone, or the file system knows no locks
                if lock_file(file, patience=0):
                    left.unlink()
        while True:
            descriptor, path = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}-")
            self.file, self.path = os.fdopen(descriptor, "wb"), Path(path)
            with suppress(OSError):
                lock_file(self.file)
            if still_ours(self.path, self.file):  # else another process took it for one that was left
                return
            self.file.close()

    def end(self, *, whole: bool) -> None:
        """Puts the file in its place where it is `whole`, on disk; else removes it."""
        try:
            if whole:
                self.file.flush()
                os.fsync(self.file.fileno())  # what a full disk refuses it refuses here
                os.replace(self.path, self._place)
        finally:
            self.path.unlink(missing_ok=True)
            with suppress(OSError):  # what it could not write is not wanted
                self.file.close()


def make_folder(folder: Path) -> None:
    """Makes the folder, and those above it that are missing, mode 0700; on disk when it returns. Refused for a symlink."""
    if folder.is_symlink():
        raise Refused(f"{folder} is a symlink; put the folder itself there.")
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Waits until the folder's entries are on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, 64 hex digits. Raises Refused, OSError."""
    with open_to_read(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_seal(content: dict[str, Any]) -> str:
    """SHA-256 of a JSON object, 64 hex digits; the order of its keys does not count."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
