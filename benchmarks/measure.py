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
    memory: int  # bytes: the most that the process and its children held at a time, without those that began it

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
        return output.read(), used, peak or used.ru_maxrss * unit


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

    Sees nothing where there is no /proc. What the resources of a process tell then is no less than what the process
    held that began it.
    """

    def __init__(self, pid: int):
        self._pid, self._peak, self._over = pid, _peak(pid), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        self._over.set()
        self._thread.join()
        return self._peak

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            pids = _tree(self._pid)
            together = sum(map(_resident, pids)) if len(pids) > 1 else 0
            self._peak = max(self._peak, _peak(self._pid), together)


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


def _peak(pid: int) -> int:
    """The most memory that a process has held so far, since it became the program that it is."""
    return _figure(pid, "status", "VmHWM:")


def _resident(pid: int) -> int:
    """Memory of a process, shared pages divided among those who share them."""
    return _figure(pid, "smaps_rollup", "Pss:")


def _figure(pid: int, file: str, name: str) -> int:
    """Bytes; 0 where there is no such file, or the process has ended."""
    try:
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name)), 0)


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
