"""A run and its folder: its id, its number, its lock, its log, its JSON files; how later stages find it.

Which run is the latest goes by their numbers, which of a run's files by its audit chain. Nothing here trusts a clock: it
may step back, and names that hold the time go up all the same.
"""

import hashlib
import json
import logging
import math
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

from ..errors import Interrupted, Refused
from ..mapping.model import Mapping
from ..parameters import Parameters, resolve_path
from ..process import visible
from .files import (
    NO_LOCK,
    lock_file,
    open_file,
    open_lock,
    open_to_read,
    read_holder,
    read_json,
    sync_folder,
    write_atomically,
    write_holder,
)

RUN_ID = re.compile(r"[a-z0-9-]{8,64}")
SCHEMA = 1
CHAIN = "audit.jsonl"
_TIME = "%Y%m%dT%H%M%SZ"
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

    def write_json(self, kind: str, content: dict[str, Any], announce: Callable[..., None] = lambda **_: None) -> Path:
        """Writes `<kind>-<timestamp>.json`, whole or not at all. Gives the path.

        The timestamp is a second after the last one at least: no name is used twice, also where that file has gone.
        `announce` takes its `file` name and `sha256` before it is there.
        """
        with numbering(self.folder.parent):
            names = {path.name for path in self.folder.glob(f"{kind}-*.json")} | self._first_records().keys()
            last = max(filter(None, (_moment(kind, name) for name in names)), default=datetime.min.replace(tzinfo=UTC))
            path = self.folder / f"{kind}-{max(now(), last + timedelta(seconds=1)):{_TIME}}.json"
            text = (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
            announce(file=path.name, sha256=hashlib.sha256(text).hexdigest())
            write_atomically(path, text)
        return path

    def json_files(self, kind: str) -> list[Path]:
        """The run's `<kind>-<timestamp>.json`, the latest last. Read-only."""
        return self.in_order(path for path in self.folder.glob(f"{kind}-*.json") if _moment(kind, path.name))

    def standing_files(self, kind: str) -> list[Path]:
        """The run's `<kind>-<timestamp>.json` that decide something, the latest last; they may be gone. Read-only.

        Where the run has an audit chain, a file that no record of it names decides nothing: nobody knows whose it is.
        """
        known = self._first_records(standing=True)
        names = known if (self.folder / CHAIN).exists() else os.listdir(self.folder)
        return self.in_order(self.folder / name for name in names if _moment(kind, name))

    def latest_json(self, kind: str) -> dict[str, Any] | None:
        """The latest of `standing_files`, or None. Raises as `own_json`."""
        paths = self.standing_files(kind)
        return own_json(paths[-1]) if paths else None

    def in_order(self, paths: Iterable[Path]) -> list[Path]:
        """Files of the run's folder, the latest last. Read-only.

        In the order of the audit chain, then those that are in no record yet. Those that came with one record go by their
        names, numbers in them by their value.
        """
        paths = list(paths)
        first = self._first_records() if len(paths) > 1 else {}
        return sorted(paths, key=lambda path: (first.get(path.name, math.inf), _parts(path.stem)))

    def free_name(self, stage: str) -> str:
        """The name of the next executed copy, without its ending: `<stage>`, then `<stage>-2`; never one twice. Read-only."""
        names = {path.name for path in self.folder.glob(f"{stage}*")} | self._first_records().keys()
        found = (re.fullmatch(rf"{stage}(?:-(\d+))?\.(?:ipynb|html)", name) for name in names)
        last = max((int(match[1] or 1) for match in found if match), default=0)
        return f"{stage}-{last + 1}" if last else stage

    def _first_records(self, *, standing: bool = False) -> dict[str, int]:
        """File → the number of the audit record that names it first; if `standing`, only of files that are still to be there."""
        found: dict[str, int] = {}
        with suppress(FileNotFoundError), open_to_read(self.folder / CHAIN) as lines:
            for number, line in enumerate(lines):
                with suppress(ValueError, KeyError, TypeError, RecursionError):  # torn or damaged: `verify` says so
                    record = json.loads(line)
                    for name in record["gone"] if standing else ():
                        found.pop(name, None)
                    for name in record["files"]:
                        found.setdefault(name, number)
        return found

    def logger(self) -> logging.Logger:
        """The run's log, `run.log`. It holds counts, names and codes, never values. Raises Refused where it is no file."""
        path = (self.folder / "run.log").absolute()
        logger = logging.getLogger(f"runbook.{path}")  # runs of one name may lie in several folders
        if not any(getattr(handler, "baseFilename", None) == str(path) for handler in logger.handlers):
            handler = _LogFile(path, encoding="utf-8")
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
                f"{problem.filename2 or problem.filename or self.folder}: {problem.strerror or problem}; fix that."
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
        """Holds the run for writing. Refused, naming the holder, where another live process holds it, or `.lock` is none."""
        with self.saving():
            descriptor = open_lock(self.folder / ".lock")
        with open(descriptor, "r+", encoding="utf-8", errors="replace") as file:
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
        """Who is writing this run now, or None. Read-only. Raises Refused where `.lock` cannot be read."""
        try:
            descriptor = open_file(self.folder / ".lock", fix=NO_LOCK)
        except FileNotFoundError:
            return None
        with open(descriptor, encoding="utf-8") as file:
            try:
                free = lock_file(file, shared=True, patience=0)
            except OSError:  # a file system without locks
                free = False
            return None if free else _holder(file)


class _LogFile(logging.FileHandler):
    """A log that is appended to its own file, and to no other that a link leads to; of each record it writes one line."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))

    def _open(self) -> TextIO:
        path, flags = Path(self.baseFilename), os.O_WRONLY | os.O_CREAT | os.O_APPEND
        descriptor = open_file(path, flags, "remove it, or restore it from a copy", 0o666)
        return open(descriptor, "a", encoding="utf-8")


def _holder(file) -> str:
    held = read_holder(file)
    if not isinstance(held, dict) or not {"pid", "host", "stage", "since"} <= held.keys():
        return "another process"
    return f"process {held['pid']} on {held['host']} ({held['stage']}, since {held['since']})"


def own_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file that the program wrote. Raises Refused where it is gone, or not what was written."""
    with suppress(OSError, ValueError):
        if isinstance(content := read_json(path), dict):
            return content
    state = "is damaged" if os.path.lexists(path) else "was removed"
    raise Refused(f"{path} {state}; restore it from a copy.")


def _moment(kind: str, name: str) -> datetime | None:
    """The timestamp in a file's name; None where that is not `<kind>-<timestamp>.json`."""
    with suppress(ValueError):
        return datetime.strptime(name, f"{kind}-{_TIME}.json").replace(tzinfo=UTC)
    return None


def _parts(name: str) -> list[tuple[int, str]]:
    """What a name is compared by: 03_migrate, 03_migrate-2, 03_migrate-10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


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
    if known is None and _is_run(folder) and about is not None:
        raise Refused(_unreadable(folder))
    if known is None and not _is_run(folder):
        if about is None:
            raise Refused(f"no run {run_id} in {outputs}; `runbook status` lists the runs there.")
        known = _begin(folder.parent, run_id, about)[1]
    if about is not None and known["fingerprint"] != about["fingerprint"]:
        raise Refused(f"run {run_id} belongs to other environments or another mapping file; use a new run ID.")
    return Run(run_id, folder)


def new_run(outputs: str | Path, about: dict[str, Any]) -> Run:
    """A new run by `run_json`, its id `YYYYMMDD-HHMMSS-<name>`. Writes its folder. Refused where that cannot be written."""
    return _begin(resolve_path(outputs), None, about)[0]


def _begin(outputs: Path, run_id: str | None, about: dict[str, Any]) -> tuple[Run, dict[str, Any]]:
    """A run and its `run.json`, made under the lock of all runs, with the number after the highest there."""
    try:
        outputs.mkdir(parents=True, exist_ok=True)
        with numbering(outputs):
            folder = outputs / run_id if run_id else own_folder(outputs, about["name"])
            if (known := _stored(folder)) is None:  # else another process has made it meanwhile
                folder.mkdir(exist_ok=True)
                sync_folder(outputs)
                number = 1 + max((_number(other) for path in outputs.glob("*/") if (other := _stored(path))), default=0)
                known = {"run_id": folder.name, "number": number, **about}
                write_atomically(folder / "run.json", json.dumps(known, indent=2).encode())
    except OSError as problem:
        where = outputs / run_id if run_id else outputs
        raise Refused(f"{where} cannot be written: {problem.strerror}; choose another --outputs folder.") from None
    return Run(folder.name, folder), known


@contextmanager
def numbering(outputs: Path) -> Iterator[None]:
    """Holds `.lock` in a folder of runs: nobody else takes a number or a name meanwhile.

    Refused where another keeps it, and where it is no lock. Where the file system knows no locks, two runs may get one
    number: they go by their `created` and ids.
    """
    with ExitStack() as stack:
        held = True
        with suppress(OSError):
            descriptor = open_lock(outputs / ".lock", 0o666)
            file = stack.enter_context(open(descriptor, "rb"))
            with suppress(PermissionError):
                os.fchmod(descriptor, 0o666)  # for other users, whatever the umask says
            held = lock_file(file)
        if not held:
            raise Refused(f"{outputs} is held by another process that takes a number; wait for it to end.")
        yield


def own_folder(outputs: Path, name: str) -> Path:
    """A new folder `YYYYMMDD-HHMMSS-<name>`, the name in lower case with other characters as `-`; if need be, with a number.

    Two processes never get the same one. Raises OSError.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "run"
    wanted = f"{now():%Y%m%d-%H%M%S}-{slug}"[:64].rstrip("-")
    while True:
        try:
            (outputs / wanted).mkdir(parents=True)
        except FileExistsError:
            wanted = _next_id(wanted)
        else:
            return outputs / wanted


def _next_id(run_id: str) -> str:
    """An id after this one, for two runs of the same second."""
    head, _, tail = run_id.rpartition("-")
    return f"{head}-{int(tail) + 1}" if tail.isdigit() and len(tail) < 6 else f"{run_id[:62]}-2"


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
    """All runs in a folder, or those of one migration, the latest first. Read-only.

    By number; those of earlier versions, which have none, come last, by `created`. What `about_of` cannot tell comes first,
    and is Refused where the runs of one migration are asked for. A copy of a run is none. Refused where `outputs` is no folder.
    """
    folder, found = resolve_path(outputs), []
    try:
        folders = [folder / entry.name for entry in os.scandir(folder) if entry.is_dir()]
    except FileNotFoundError:
        folders = []
    except OSError as problem:
        raise Refused(f"{folder} cannot be read: {problem.strerror}; name the folder of the runs.") from None
    for path in filter(_is_run, folders):
        if known := _stored(path):
            order = (_number(known), known["created"], path.name)
        elif (named := _content(path).get("run_id")) and named != path.name and _stored(path.parent / str(named)):
            continue
        elif fingerprint is not None:
            raise Refused(_unreadable(path))
        else:
            order = (math.inf, "", path.name)
        if not known or fingerprint in (None, known["fingerprint"]):
            found.append((order, Run(path.name, path)))
    return [run for _, run in sorted(found, key=lambda one: one[0], reverse=True)]


def about_of(run: Run) -> dict[str, Any] | None:
    """The run's `run.json`; None where that is missing, damaged, or of another run. Read-only."""
    return _stored(run.folder)


def _number(known: dict[str, Any]) -> int:
    return known.get("number", 0)


def _is_run(folder: Path) -> bool:
    """Whether the folder holds a run, also one that has lost its `run.json`."""
    return any((folder / name).exists() for name in ("run.json", CHAIN, "journal"))


def _unreadable(folder: Path) -> str:
    return f"{folder / 'run.json'} is missing, damaged or of another run; restore it from a copy, or move that folder elsewhere."


def _content(folder: Path) -> dict[str, Any]:
    try:
        content = read_json(folder / "run.json")
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _stored(folder: Path) -> dict[str, Any] | None:
    known = _content(folder)
    texts = all(isinstance(known.get(key), str) for key in ("fingerprint", "created"))
    whole = texts and known.get("run_id") == folder.name and type(_number(known)) is int
    return known if whole else None
