"""A contender in a process of its own, and what it used: CPU, memory, time."""

import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .shapes import Case

ROOT = Path(__file__).resolve().parents[1]
SAMPLE_SECONDS = 0.05
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "RUNBOOK_HEADLESS": "1",
}


@dataclass(frozen=True)
class Measured:
    """What one contender used. Set-up (imports, connections, table descriptions) is in none but the memory."""

    contender: str
    case: str
    items: int
    cpu: float  # seconds, user and system, of the process and its children
    seconds: float  # by the clock
    memory: int  # bytes: the most that the process and its children held at a time

    @property
    def per_item(self) -> float:
        """CPU in microseconds for each item."""
        return self.cpu / self.items * 1e6


def run(contender: str, case: Case, **spec: Any) -> Measured:
    """One contender measured. Raises RuntimeError where it fails."""
    words = [sys.executable, "-m", "benchmarks.contenders", contender, json.dumps({"case": asdict(case), **spec})]
    output, used, memory = spent(words)
    told = json.loads(output.splitlines()[-1])
    cpu = used.ru_utime + used.ru_stime - told["before"]
    return Measured(contender, case.name, told["items"], cpu, told["seconds"], memory)


def spent(words: list[str]) -> tuple[str, Any, int]:
    """What a command printed, the resources that it and its children used, and their peak memory in bytes.

    Raises RuntimeError where it fails.
    """
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, env=environment(), cwd=ROOT)
        watch = _MemoryWatch(process.pid)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        peak = watch.stop()
        if process.returncode:
            raise RuntimeError(f"{' '.join(words[1:4])} ended with {process.returncode}")
        output.seek(0)
        unit = 1 if sys.platform == "darwin" else 1024
        return output.read(), used, max(peak, used.ru_maxrss * unit)


def environment() -> dict[str, str]:
    """The environment of a measured process: it can reach no real account."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {**kept, **ENVIRONMENT}


def work_folder() -> Path:
    """The folder for the runs that are measured: on the disk where real ones are."""
    folder = ROOT / "outputs/benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class _MemoryWatch:
    """The most memory that a process and its descendants held together, by looking every now and then.

    Sees nothing where there is no /proc; what one process held at most is then known from its resources.
    """

    def __init__(self, pid: int):
        self._pid, self._peak, self._over = pid, 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        self._over.set()
        self._thread.join()
        return self._peak

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            pids = _tree(self._pid)
            if len(pids) > 1:  # the peak of a single process is known without looking
                self._peak = max(self._peak, sum(map(_resident, pids)))


def _tree(pid: int) -> list[int]:
    try:
        found = [
            int(word)
            for path in Path(f"/proc/{pid}/task").iterdir()
            for word in (path / "children").read_text().split()
        ]
    except OSError:
        return [pid]
    return [pid, *(each for child in found for each in _tree(child))]


def _resident(pid: int) -> int:
    """Memory of a process, shared pages divided among those who share them."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def machine() -> dict[str, Any]:
    """The machine that was measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": os.cpu_count(),
        "memory_gb": round(memory / 2**30, 1),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
