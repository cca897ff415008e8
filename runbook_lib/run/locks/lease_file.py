"""A file in the run's folder that tells a run's worker processes until when its leases last.

The lease holder writes it, by a clock that all processes of one machine share.
"""

import contextlib
import hashlib
import math
import os
import socket
import struct
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from ...errors import Interrupted, Refused
from ..files import open_file, remove_file
from ..folder import Run

FILE = ".lease"
_FORM = struct.Struct("=16sd")  # machine, moment


def running_time() -> float:
    """Seconds of which only differences mean something. They pass while this process is stopped, or the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def machine() -> str:
    """A digest that differs between machines of one name, between two boots of one machine, and between containers."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii") + os.readlink("/proc/self/ns/pid")
    except OSError:  # not Linux
        boot = hex(uuid.getnode())
    return hashlib.sha256(f"{socket.gethostname()} {boot}".encode()).hexdigest()[:16]


class Cell:
    """The file, written by the holder alone. Thread-safe."""

    def __init__(self, run: Run):
        """Writes to the run's folder. Raises Interrupted as its disk does, Refused where the file is a folder."""
        self._path, self._lock, self._open = run.folder / FILE, threading.Lock(), True
        with run.saving():
            remove_file(self._path)  # workers that an earlier holder left behind keep that one's
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            self._write(-math.inf)

    def _write(self, moment: float) -> None:
        os.pwrite(self._file, _FORM.pack(machine().encode(), moment), 0)

    def write(self, until: Callable[[], float]) -> None:
        """Writes until when the leases last. If the disk fails, the earlier time stays and passes."""
        with self._lock, contextlib.suppress(OSError):
            if self._open:
                self._write(until())

    def close(self) -> None:
        """Removes the file; processes that follow it stop."""
        self.write(lambda: -math.inf)
        with self._lock, contextlib.suppress(OSError):
            self._open = False
            os.close(self._file)
            self._path.unlink()


def follow(run: Run) -> Callable[[], None]:
    """A check for a process that works for the holder: it raises Interrupted once the leases have run out or are lost.

    Raises Refused on another machine than the holder's and where `.lease` is no file, Interrupted where the run holds no
    lease. Read-only.
    """
    try:
        file = open(open_file(run.folder / FILE), "rb", buffering=0)  # noqa: SIM115 the check keeps it open
        home, _ = _FORM.unpack(os.pread(file.fileno(), _FORM.size, 0))
    except (OSError, struct.error):
        raise Interrupted("this run holds no lease.") from None
    if home != machine().encode():
        raise Refused(
            "a worker on another machine cannot follow the lease; use limits.engine: processes, or remove the lease."
        )

    def check() -> None:
        if running_time() > _FORM.unpack(os.pread(file.fileno(), _FORM.size, 0))[1]:
            raise Interrupted("the lease has expired or was taken over; this worker writes nothing more.")

    return check
