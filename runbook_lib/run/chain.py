"""What a run's audit chain says, what lies in the run's folder, and what of it which execution may have left there.

`journal/audit.py` writes the chain, and compares.
"""

import hashlib
import json
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from ..process import is_at_work
from .files import file_sha256, json_seal
from .folder import CHAIN, Run

FILE, LOG = CHAIN, "run.log"
SUMMARY = "summary.html"  # of the whole run: every execution writes it anew
DISCLAIM = "disclaim"  # another run's execution, which ends claims in this run's journals

# What an execution that has begun may do to the folder.
_JOURNAL, _RESULTS, _NOTEBOOK, _READS = "journal", "results", "notebook", "reads"
WORK, SAVING, OVER = (_JOURNAL, _NOTEBOOK), (_NOTEBOOK,), ()
REPORT = (_JOURNAL, _RESULTS, _NOTEBOOK, _READS)
JOURNALS = {  # of the stages that write to the target: journal/<name>
    "02_test": ("create", "test"),
    "03_migrate": ("migrate", "follow"),
    "05_rollback": ("create", "test", "migrate", "restore"),
}
_LISTS = ("quarantine.jsonl", "conflicts.jsonl", "unrouted.jsonl", "dangling.jsonl", "unreadable.jsonl")
_MATCHES = ("plan-matches.jsonl", "matches.jsonl")  # 02 and 03 write them before they insert, where 01 has not
_RESULTS_OF = {  # what a stage's report replaces, or, where a name has a time, adds
    "00_draft": ("mapping-draft-*.json",),
    "01_analyze": ("migration-analysis-*.json", "plan.json", *_MATCHES, *_LISTS),
    "02_test": ("migration-report-*.json",),
    "03_migrate": (
        "migration-report-*.json", "cutover-*.json", "id-map.parquet", "failed.jsonl", "kept.jsonl", "drift.jsonl", *_LISTS,
    ),
    "04_validate": (
        "migration-report-*.json", "dangling.jsonl", "unreadable.jsonl", "drift.jsonl", "differences.jsonl",
        "residual-ids.jsonl", "residual-environment.jsonl",
    ),
    "05_rollback": ("migration-report-*.json", "kept.jsonl", "restore-conflicts.jsonl"),
}  # fmt: skip
CREATED = "02_create_tables"  # the executed copy of a 02 that only created tables
COPIES = {"02_test": ("02_test", CREATED)}
_NOBODYS = (".?*-????????", ".nfs*", ".DS_Store")  # unfinished files of the program; what file systems leave
_IN_ITSELF = (
    ".lock",
    ".stop",
    ".tune",
    ".cutover",
    ".progress.*",
    ".lease*",
    ".job-*",
    "*.zip",
)  # in the run's folder alone, of program and people
_PRIVATE = (".jsonl", "id-map.parquet", "plan.json")  # they may hold keys; the program lets nobody else read them
COMPARISONS = ("journal/validate", "set-aside/")  # 04 removes its earlier journals, and sets damaged ones aside
STOP_NOTHING = (*COMPARISONS, SUMMARY)  # what is not as it was left there keeps nobody from writing to the target


class Kind(StrEnum):
    """What became of a file."""

    REMOVED = "removed"
    ADDED = "added"
    CHANGED = "changed"
    GREW = "grew"
    SHORT = "short"
    DAMAGED = "damaged"
    SPECIAL = "special"  # it is no file of its own now


class Finding(NamedTuple):
    """A file that is not as the last record has it."""

    name: str  # from the run's folder on; of a folder without files it ends in /
    kind: Kind
    told: str  # a sentence without its full stop
    allowed: bool  # whether an execution that has not ended may have done it


class Special(str):
    """What a file is that is no file of its own: "a symlink", …"""


@dataclass(frozen=True)
class Verification:
    """What comparing a run's folder with its audit chain found. The lists hold a sentence for each thing."""

    records: int
    files: int
    head: str  # hash of the last record: keep it elsewhere to prove the chain itself
    problems: list[str]
    growth: list[str]  # what an execution that has begun and not ended may have done
    readable: list[str]  # what others can read now: no file is another one for that
    repairs: list[str]  # what was repaired, or accepted by a rollback: no problem any more


def names(folder: Path) -> Iterator[str]:
    """Every file in the folder, from it on, and every folder without files, with a / behind it."""
    left = [""]
    while left:
        under, empty = left.pop(), True
        try:
            with os.scandir(folder / under) as entries:
                for entry in entries:
                    name = under + entry.name
                    if entry.is_dir(follow_symlinks=False):
                        if entry.name != ".ipynb_checkpoints" and name != "lab":
                            left.append(f"{name}/")
                            empty = False
                    elif not (entry.is_file(follow_symlinks=False) and _is_nobodys(under, entry.name)):
                        yield name
                        empty = False
        except FileNotFoundError:  # of a run that goes on
            continue
        except OSError:  # not ours to read, or too deep
            pass
        if under and empty:
            yield under


def _is_nobodys(under: str, name: str) -> bool:
    """Whether no record says anything of a file. A journal file may have any name: tables are named by others."""
    patterns = _NOBODYS if under else _NOBODYS + _IN_ITSELF
    of_journal = under.startswith("journal/") and name.endswith(".jsonl")
    return not of_journal and any(fnmatchcase(name, pattern) for pattern in patterns)


def at_first(folder: Path) -> dict[str, str]:
    """What a run's folder holds before its first execution."""
    path = folder / "run.json"
    return {path.name: file_sha256(path)} if path.is_file() and not path.is_symlink() else {}


def special_of(path: Path) -> Special | None:
    """What lies at the path, where that is no file of its own. Read-only."""
    if path.is_symlink():
        return Special("a symlink")
    if path.is_dir():
        return Special("a folder")
    return Special("neither a file nor a folder") if path.exists() and not path.is_file() else None


def is_readable(path: Path) -> bool:
    """Whether other users can read or write the file, where there is one that may hold keys. Read-only."""
    return path.name.endswith(_PRIVATE) and path.exists() and bool(path.stat().st_mode & 0o077)


def begins_with(stage: str) -> list[str]:
    """What an execution may do from its first record on: one that writes to the target waits for `enter`. Pure."""
    return [*(SAVING if stage in JOURNALS else (_READS, _NOTEBOOK))]


def is_allowed(may: Mapping[str, Collection[str]], name: str, kind: Kind) -> bool:
    """Whether one of several executions may have done this to a file. `may`: "<stage> …" → what it may do. Pure."""
    return any(may_leave(who.partition(" ")[0], can, name, kind) for who, can in may.items())


def may_leave(stage: str, can: Collection[str], name: str, kind: Kind) -> bool:
    """Whether an execution of a stage that has not ended, and `can` do that much, may have done this to a file. Pure."""
    if name == LOG:
        return kind == Kind.GREW
    if stage == DISCLAIM:
        return name in can and kind == Kind.GREW
    if stage == "repair":
        return name in can or "damaged/" in name
    folder, _, rest = name.removeprefix("journal/").partition("/")
    if _JOURNAL in can and kind in (Kind.ADDED, Kind.GREW):
        if name == "journal/" or (name != f"{folder}/{rest}" and folder in JOURNALS.get(stage, ())):
            return True
        if name.startswith("migration-checkpoint-") and kind == Kind.ADDED:
            return stage in ("02_test", "03_migrate")
    anew = kind in (Kind.ADDED, Kind.CHANGED, Kind.REMOVED)
    while_it_works = ("drift.jsonl", "cutover-*.json")  # a delta, or following, writes them before it ends
    if anew and stage == "03_migrate" and any(fnmatchcase(name, one) for one in while_it_works):
        return _JOURNAL in can
    if name in _MATCHES and anew and stage in ("02_test", "03_migrate"):
        return _JOURNAL in can
    if stage == "04_validate" and name.startswith(COMPARISONS):
        return kind != Kind.SPECIAL
    if _RESULTS in can and anew:
        for pattern in _RESULTS_OF.get(stage, ()):
            if fnmatchcase(name, pattern) and (kind == Kind.ADDED or "*" not in pattern):
                return True
    if _NOTEBOOK in can and name == SUMMARY:
        return anew
    is_copy = name.startswith(COPIES.get(stage, stage)) and name.endswith((".ipynb", ".html"))
    return _NOTEBOOK in can and kind == Kind.ADDED and is_copy


# the chain


class _Record(BaseModel):
    """What every reader of a record takes for granted: a seal proves that nobody changed it, not what it holds."""

    model_config = ConfigDict(strict=True)

    at: str
    actor: str
    stage: str
    previous: str
    hash: str
    files: dict[str, str]
    journal: dict[str, tuple[int, str] | tuple[int, str, int]]
    log: tuple[int, str]
    run: str | None = None
    gone: list[str] = []
    open: dict[str, list[str]] = {}
    wrong: dict[str, str | None] = {}
    private: bool = False
    events: dict[str, int] = {}
    repaired: dict[str, str] = {}
    accepted: dict[str, str] = {}
    confirmed: list[str] = []
    notebook: dict[str, Any] = {}


@dataclass
class Chain:
    """What the records say."""

    hashes: list[str] = field(default_factory=list)
    broken: str = ""  # what is wrong with the first record that does not continue it
    torn: bool = False  # whether the file ends in a part of a record, as a full disk leaves it
    files: dict[str, str] = field(default_factory=dict)  # SHA-256; "" of a folder without files
    heads: dict[str, list[tuple]] = field(default_factory=dict)  # length in records, link, bytes; of each record
    log: list = field(default_factory=lambda: [0, hashlib.sha256().hexdigest()])  # bytes, SHA-256
    open: dict[str, list[str]] = field(default_factory=dict)  # "<stage> <executor>" -> what it may do
    wrong: dict[str, str | None] = field(
        default_factory=dict
    )  # SHA-256 of results that were so before they are replaced
    private: bool = False  # whether nobody else could read the journal
    notes: list[str] = field(default_factory=list)
    repairs: dict[str, int] = field(default_factory=dict)  # stage -> how many of its events `repaired` a record knows

    @property
    def head(self) -> str:
        """The hash of the last record."""
        return self.hashes[-1] if self.hashes else ""

    def knows(self, name: str) -> bool:
        """Whether the last record names the file."""
        return name in self.files or name in self.heads

    def add(self, record: dict[str, Any]) -> None:
        """Takes the next record."""
        self.hashes.append(record["hash"])
        self.log = record["log"]
        self.open, self.private = record.get("open", {}), record.get("private", False)
        self.wrong = record.get("wrong", {})
        self.repairs = {**self.repairs, **record.get("events", {})}
        for word in ("repaired", "accepted"):
            told = record.get(word, {})
            self.heads = {name: known for name, known in self.heads.items() if name not in told}
            phrases = [f"{name}: {what}" for name, what in told.items()] if word == "repaired" else told.values()
            self.notes += [f"{record['at']}, {record['actor']}: {word} {'; '.join(phrases)}"] if told else []
        gone = {*record.get("gone", ()), *record["journal"]}
        self.files = {name: told for name, told in self.files.items() if name not in gone} | record["files"]
        gone = {*record.get("gone", ()), *record["files"]}
        self.heads = {name: known for name, known in self.heads.items() if name not in gone}
        for name, head in record["journal"].items():
            self.heads[name] = [*self.heads.get(name, ()), tuple(head)]

    def told(self, files: dict[str, str], heads: dict[str, list], anew: Collection[str]) -> dict[str, Any]:
        """What a record says of files and journal, of which the records before say the rest. `anew` is always said."""
        known = {name: [*of[-1]] for name, of in self.heads.items()}
        return {
            "files": {name: told for name, told in files.items() if self.files.get(name) != told},
            "journal": {name: head for name, head in heads.items() if known.get(name) != head or name in anew},
            "gone": sorted((self.files.keys() | known.keys()) - (files.keys() | heads.keys())),
        }

    def open_after(self, key: str) -> dict[str, list[str]]:
        """Which executions stay open when one ends: those at work beside it, and dead ones that it has not taken over. Read-only.

        A command that repairs as 04 works as 03, too. Of the stages that write to the target, `enter` took the dead ones
        over; of the others, the next execution of the same stage does.
        """
        (stage, _, here), still = key.partition(" "), {}
        for who, can in self.open.items():
            of, _, executed_by = who.partition(" ")
            own = who == key or (executed_by == here and stage != DISCLAIM)
            taken_over = can == [*SAVING] or (of == stage and stage not in JOURNALS)
            if not own and (is_at_work(executed_by) or not taken_over):
                still[who] = can
        return still

    def is_as_before(self, name: str, things: Mapping[str, Any]) -> bool:
        """Whether a file was wrong before the report that replaces it began, and was not replaced. The log only grows."""
        return name in self.wrong and (name == LOG or things.get(name) == self.wrong[name])


def _log(folder: Path) -> str:
    path = folder / LOG
    return file_sha256(path) if path.is_file() else Chain().log[1]


def wrong_before(folder: Path, chain: Chain, stage: str) -> dict[str, str | None]:
    """What a stage replaces or adds, where it is not as it may be: SHA-256, or None where it is gone. The log, too. Read-only."""
    wrong: dict[str, str | None] = {}
    for name in {*os.listdir(folder), *chain.files} - {LOG} if chain.hashes else ():
        known, path = chain.files.get(name), folder / name
        kind = Kind.ADDED if known is None else Kind.CHANGED
        replaced = may_leave(stage, REPORT, name, kind) and not is_allowed(chain.open, name, kind)
        if (replaced or name in chain.wrong) and not special_of(path):
            now = file_sha256(path) if path.exists() else None
            if now != known and (replaced or now == chain.wrong[name]):
                wrong[name] = now
    if LOG in chain.wrong or (chain.hashes and not chain.open and _log(folder) != chain.log[1]):
        wrong[LOG] = None
    return wrong


def read_chain(run: Run) -> Chain:
    """What the run's `audit.jsonl` says. Read-only. Of a broken chain that is what the whole records do."""
    chain = Chain()
    for number, record in enumerate(records(run), 1):
        if record and record.get("run", run.id) != run.id:
            chain.broken = chain.broken or f"{FILE}: record {number} is of run {record['run']}"
            continue
        if record is None or record["previous"] != chain.head:
            chain.broken = chain.broken or no_record(number)
        if record:
            chain.add(record)
    if not chain.hashes and not chain.broken and any(run.folder.glob("journal/*/*.jsonl")):
        chain.broken = f"{FILE} was removed"
    path = run.folder / FILE
    chain.torn = path.is_file() and not (path.read_bytes() or b"\n").endswith(b"\n")
    return chain


def recorded(run: Run, name: str, stage: str) -> str | None:
    """The SHA-256 of a file as a stage left it last; None where the chain does not say. Read-only."""
    found = [record["files"].get(name) for record in records(run) if record and record["stage"] == stage]
    return next((sha256 for sha256 in reversed(found) if sha256), None)


def no_record(number: int) -> str:
    """What is said of a record that is not what was written, or not where it was."""
    return f"{FILE}: record {number} does not continue the chain"


def records(run: Run) -> Iterator[dict[str, Any] | None]:
    """The whole records; None for one that is not what was written, to the byte."""
    path = run.folder / FILE
    for line in path.read_bytes().split(b"\n")[:-1] if path.is_file() else ():
        try:
            record = json.loads(line)
            content = {key: value for key, value in record.items() if key != "hash"}
            whole = json.dumps(record).encode() == line and record["hash"] == json_seal(content)
            if whole:
                _Record.model_validate_json(line)
            yield record if whole else None
        except (ValueError, KeyError, AttributeError, RecursionError):
            yield None
