"""A run and its folder: its id, its lock, its log, its JSON files; how later stages find it."""

import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import Interrupted, Refused
from ..mapping.model import Mapping
from ..parameters import Parameters, resolve_path
from .files import lock_file, read_holder, sync_folder, write_atomically, write_holder

RUN_ID = re.compile(r"[a-z0-9-]{8,64}")
SCHEMA = 1
NO_THREAD = "can't start new thread"  # Python's words where the system gives no more


def now() -> datetime:
    """The time, UTC."""
    return datetime.now(UTC)


def iso(moment: datetime) -> str:
    """ISO 8601 with seconds, UTC."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Run:
    """One run's folder. The journal in it is the truth; everything else can be made again."""

    id: str
    folder: Path

    def journal(self, stage: str) -> Path:
        """The folder of a stage's journal (which may not exist yet)."""
        return self.folder / "journal" / stage

    def write_json(self, kind: str, content: dict[str, Any]) -> Path:
        """Writes `<kind>-<timestamp>.json`, whole or not at all; a name is never used twice. Gives the path."""
        while True:
            path = self.folder / f"{kind}-{now():%Y%m%dT%H%M%SZ}.json"
            if not path.exists():
                break
            time.sleep(0.05)
        write_atomically(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())
        return path

    def latest_json(self, kind: str) -> dict[str, Any] | None:
        """The newest `<kind>-*.json` of this run, or None."""
        paths = sorted(self.folder.glob(f"{kind}-*.json"))
        return json.loads(paths[-1].read_text(encoding="utf-8")) if paths else None

    def logger(self) -> logging.Logger:
        """The run's log, `run.log`. It holds counts, names and codes, never values."""
        path = (self.folder / "run.log").absolute()
        logger = logging.getLogger(f"runbook.{path}")  # runs of one name may lie in several folders
        if not any(getattr(handler, "baseFilename", None) == str(path) for handler in logger.handlers):
            handler = logging.FileHandler(path, encoding="utf-8")
            formatter = logging.Formatter("%(asctime)sZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
            formatter.converter = time.gmtime
            handler.setFormatter(formatter)
            handler.handleError = lambda record: None  # whoever cannot do without the disk raises
            logger.addHandler(handler)
            logger.setLevel(logging.INFO)
            logger.propagate = False
        return logger

    @contextmanager
    def saving(self) -> Iterator[None]:
        """A block of work. A disk that refuses, memory or threads that run out are Interrupted: the journal knows the rest."""
        try:
            yield
        except OSError as problem:
            raise Interrupted(
                f"{problem.filename or self.folder}: {problem.strerror or problem}; fix that."
            ) from problem
        except (MemoryError, RuntimeError) as problem:
            if isinstance(problem, RuntimeError) and NO_THREAD not in str(problem):
                raise
            what = "memory" if isinstance(problem, MemoryError) else "room for more threads"
            raise Interrupted(
                f"there is not enough {what}; end other programs or lower limits.workers."
            ) from None  # what it came from holds a page

    @contextmanager
    def lock(self, stage: str) -> Iterator[None]:
        """Holds the run for writing. Refused, naming the holder, where another live process holds it."""
        with self.saving():
            descriptor = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        with open(descriptor, "r+", encoding="utf-8") as file:
            with self.saving():
                held = lock_file(file)
            if not held:
                raise Refused(f"{self.id} is being written by {_holder(file)}; wait for it to end.")
            left_over = file.seek(0) or file.read()
            with self.saving():
                if left_over.strip():
                    self.logger().warning(
                        "took over the lock of a process that ended without releasing it: %s", left_over
                    )
                write_holder(file, stage=stage, since=iso(now()))
            try:
                yield
            finally:
                os.ftruncate(descriptor, 0)

    def holder(self) -> str | None:
        """Who is writing this run now, or None. Read-only."""
        path = self.folder / ".lock"
        if not path.exists():
            return None
        with path.open("r", encoding="utf-8") as file:
            try:
                free = lock_file(file, shared=True, patience=0)
            except OSError:  # a file system without locks
                free = False
            return None if free else _holder(file)


def _holder(file) -> str:
    held = read_holder(file) or {}
    if not {"pid", "host", "stage", "since"} <= held.keys():
        return "another process"
    return f"process {held['pid']} on {held['host']} ({held['stage']}, since {held['since']})"


def new_run_id(name: str) -> str:
    """`YYYYMMDD-HHMMSS-<name>`, the name in lower case with other characters as `-`."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "run"
    return f"{now():%Y%m%d-%H%M%S}-{slug}"[:64].rstrip("-")


def check_run_id(run_id: str) -> str:
    """The id. Refused where it is not 8 to 64 of a-z, 0-9 and `-`."""
    if not RUN_ID.fullmatch(run_id):
        raise Refused(f"run ID {run_id!r} is not valid; use 8 to 64 characters of a-z, 0-9 and '-'.")
    return run_id


def open_run(outputs: str | Path, run_id: str, about: dict[str, Any] | None = None) -> Run:
    """The run of that id; with `run_json` it is made where it is missing, and refused where it is another migration."""
    check_run_id(run_id)
    folder = resolve_path(outputs) / run_id
    known = _stored(folder)
    if known is None:
        if about is None:
            raise Refused(f"no run {run_id} in {outputs}; `runbook status` lists the runs there.")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            sync_folder(folder.parent)
            write_atomically(folder / "run.json", json.dumps({"run_id": run_id, **about}, indent=2).encode())
        except OSError as problem:
            raise Refused(f"{folder} cannot be written: {problem.strerror}; choose another --outputs folder.") from None
    elif about is not None and known["fingerprint"] != about["fingerprint"]:
        raise Refused(f"run {run_id} belongs to other environments or another mapping file; use a new run ID.")
    return Run(run_id, folder)


def run_json(parameters: Parameters, mapping: Mapping, name: str) -> dict[str, Any]:
    """What a run's `run.json` holds; its `fingerprint`, over mapping file and sides, is the same for runs of one migration."""
    sides = [
        {key: getattr(side, key) for key in ("environment", "region", "account")}
        for side in (parameters.source, parameters.target)
    ]
    fingerprint = hashlib.sha256(json.dumps([mapping.file, *sides]).encode()).hexdigest()
    return {
        "schema": SCHEMA,
        "name": name,
        "created": iso(now()),
        "fingerprint": fingerprint,
        "mapping": mapping.file,
        "source": sides[0],
        "target": sides[1],
    }


def runs(outputs: str | Path, fingerprint: str | None = None) -> list[Run]:
    """All runs in a folder, or those of one migration, newest first. Read-only."""
    folder = resolve_path(outputs)
    found = [
        (known["created"], path.name)
        for path in folder.glob("*/")
        if (known := _stored(path)) and fingerprint in (None, known["fingerprint"])
    ]
    return [Run(name, folder / name) for _, name in sorted(found, reverse=True)]


def _stored(folder: Path) -> dict[str, Any] | None:
    try:
        return json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
