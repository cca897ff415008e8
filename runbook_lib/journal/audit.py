"""`audit.jsonl`: a chain of hashes over what a run left behind, and the proof that nobody touched it since.

Each line holds the hash of the line before, so that none can be changed, taken out or put in without breaking the chain.
A record names every file with its SHA-256, and every journal file with its length in records and the hash of its last:
a journal (and `run.log`, by its length in bytes) may grow after that, but what was there stays. The journals of 04 are
the exception: a validation takes away those before it; of a damaged one `verify` speaks, and it stops nothing. Where a
journal was repaired, a record says so, and what earlier records know of the repaired files no longer counts.
"""

import getpass
import hashlib
import json
import os
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from .. import __version__
from ..errors import Damaged, Refused
from ..run.files import file_sha256, json_seal, write_atomically
from ..run.fingerprints import code_fingerprint
from ..run.folder import CHAIN, Run, iso, now
from . import log as journal
from .snapshot import Head, Snapshot

FILE, LOG = CHAIN, "run.log"
Heads = dict[str, list[tuple[int, str]]]
_PATTERNS = (
    "0*.ipynb", "0*.html", "migration-*.json", "mapping-draft-*.json", "*.jsonl", "id-map.parquet", "run.json", "plan.json",
)  # fmt: skip


@dataclass(frozen=True)
class Verification:
    """What comparing a run's folder with its audit chain found."""

    records: int
    files: int
    head: str  # hash of the last record: keep it elsewhere to prove the chain itself
    problems: list[str]  # one sentence each
    repairs: list[str]  # one sentence each: what was repaired, which is no problem


class Repaired(NamedTuple):
    """What the record of a repair says besides."""

    files: dict[str, str]  # journal file -> what was done: earlier records no longer count for it
    aside: list[str]  # what was set aside
    events: dict[str, int]  # stage -> how many of its events `repaired` this record knows


def append(run: Run, stage: str, repaired: Repaired | None = None, journals: Iterable[Snapshot] = ()) -> str:
    """Adds a record of the folder as it is now; gives its hash. Writes to `audit.jsonl`.

    A journal file that stands as one of `journals` has it is not read again.
    """
    with run.saving():
        return _append(run, stage, _of_repair(run.folder, repaired) if repaired else {}, _seen(run.folder, journals))


def renew(run: Run, stage: str, aside: Path, repaired: Repaired) -> str:
    """Begins a new chain in the place of a damaged one, which `aside` is a copy of; gives the hash of its first record.

    That record names the old chain. Writes to `audit.jsonl`, whole or not at all.
    """
    with run.saving():
        path = run.folder / FILE
        line = _line(run, stage, "", {**_of_repair(run.folder, repaired), "replaces": [aside.name, _head(path)]})
        write_atomically(path, json.dumps(line).encode() + b"\n", 0o600)
        return line["hash"]


def _append(run: Run, stage: str, more: dict[str, Any], seen: dict[str, Head]) -> str:
    path = run.folder / FILE
    if path.exists() and not (chain := path.read_bytes()).endswith(b"\n"):
        os.truncate(path, chain.rfind(b"\n") + 1)  # a disk that was full took only a part of the last record
    line = _line(run, stage, _head(path), more, seen)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as file:
        file.write(json.dumps(line).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return line["hash"]


def _of_repair(folder: Path, repaired: Repaired) -> dict[str, Any]:
    aside = {name: file_sha256(folder / name) for name in repaired.aside}
    return {"repaired": repaired.files, "aside": aside, "events": repaired.events}


def _line(
    run: Run, stage: str, previous: str, more: dict[str, Any], seen: dict[str, Head] | None = None
) -> dict[str, Any]:
    content = {
        "at": iso(now()),
        "stage": stage,
        "actor": f"{getpass.getuser()}@{socket.gethostname()}",
        "version": __version__,
        "code": code_fingerprint(),
        "files": {name: file_sha256(run.folder / name) for name in _files(run.folder)},
        "journal": _journal_heads(run.folder, seen or {}),
        "log": _log_head(run.folder / LOG),
        "previous": previous,
        **more,
    }
    return {**content, "hash": json_seal(content)}


def verify(run: Run) -> Verification:
    """The folder against its chain: every file as it was when last recorded, every journal at least as long. Read-only.

    Raises Refused where there is no chain.
    """
    path = run.folder / FILE
    if not path.exists():
        raise Refused(f"run {run.id} has no {FILE}: nothing was executed in it, or the file was removed.")
    problems: list[str] = []
    previous, number = "", 0
    files: dict[str, str] = {}
    heads: Heads = {}
    log: tuple[int, str] = (0, "")
    repairs: list[str] = []
    for number, record in enumerate(_records(path), 1):
        if record is None or record["previous"] != previous:
            problems.append(f"{FILE}: record {number} does not continue the chain")
            break
        previous, log = record["hash"], tuple(record["log"])
        files |= record["files"] | record.get("aside", {})
        _add_heads(heads, record)
        told = "; ".join(f"{name}: {what}" for name, what in record.get("repaired", {}).items())
        repairs += [f"{record['at']}, {record['actor']}: repaired {told}"] if told else []
    problems += _changed_files(run.folder, files) + _changed_journals(run.folder, heads, {})
    if log[0] and _log_head(run.folder / LOG, log[0]) != list(log):
        problems.append(f"{LOG} was changed")
    return Verification(number, len(files) + len(heads), previous, problems, repairs)


def check_journals(run: Run, heads: Heads | None = None, journals: Iterable[Snapshot] = ()) -> None:
    """Refused where a journal has lost records that the audit chain knows. Read-only.

    `heads` are those of `journal_heads`. A journal file that `journals` holds, read with these heads, is not read again.
    """
    heads = journal_heads(run) if heads is None else heads
    if problems := _changed_journals(run.folder, heads, _seen(run.folder, journals)):
        raise Refused(f"{problems[0]}; restore it from a copy, or see `runbook repair {run.id}`.")


def journal_heads(run: Run) -> Heads:
    """Journal file → what the chain's whole records know of it: lengths in records, and the hash of the last. Read-only."""
    path = run.folder / FILE
    heads: Heads = {}
    for record in _records(path) if path.exists() else ():
        if record is not None:
            _add_heads(heads, record)
    return {name: known for name, known in heads.items() if not _of_validation(name)}


def _add_heads(heads: Heads, record: dict[str, Any]) -> None:
    for name in record.get("repaired", ()):
        heads.pop(name, None)
    for name, head in record["journal"].items():
        heads.setdefault(name, []).append(tuple(head))


def recorded(run: Run, name: str, stage: str) -> str | None:
    """The SHA-256 of a file as a stage left it last; None where the chain does not say. Read-only."""
    path, found = run.folder / FILE, None
    for record in _records(path) if path.exists() else ():
        if record is not None and record["stage"] == stage:
            found = record["files"].get(name, found)
    return found


def known_repairs(run: Run) -> dict[str, int]:
    """Stage → how many of its events `repaired` the chain knows. Read-only."""
    path, known = run.folder / FILE, {}
    for record in _records(path) if path.exists() else ():
        known |= (record or {}).get("events", {})
    return known


def is_damaged(run: Run) -> bool:
    """Whether the chain itself is broken; a torn last line, which a full disk leaves, is no damage. Read-only."""
    path, previous = run.folder / FILE, ""
    torn = path.exists() and not path.read_bytes().endswith(b"\n")
    records = list(_records(path)) if path.exists() else []
    for record in records[: len(records) - torn]:
        if record is None or record["previous"] != previous:
            return True
        previous = record["hash"]
    return False


def _changed_files(folder: Path, files: dict[str, str]) -> list[str]:
    found = []
    for name, recorded in sorted(files.items()):
        path = folder / name
        if not path.exists():
            if not _may_go(name):
                found.append(f"{name} is missing")
        elif file_sha256(path) != recorded:
            found.append(f"{name} was changed")
    known = {*files, FILE, LOG}
    there = (path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    added = sorted(name for name in there if name not in known)
    return found + [
        f"{name} is in no record: somebody added it, or an execution that was killed left it" for name in added
    ]


def _may_go(name: str) -> bool:
    """A listing goes when a later stage finds nothing to list; what it held stands in the journal."""
    return name.endswith(".jsonl")


def _changed_journals(folder: Path, heads: Heads, seen: dict[str, Head]) -> list[str]:
    found = []
    for name, recorded in sorted(heads.items()):
        path = folder / name
        if not path.exists():
            if not _of_validation(name):
                found.append(f"{name} is missing")
            continue
        try:
            held = seen.get(name)
            if held is None or any(length <= held.records and length not in held.links for length, _ in recorded):
                held = _read(path)
        except Damaged as problem:
            found.append(str(problem).rstrip("."))
            continue
        for length, head in recorded:
            if length > held.records:
                found.append(f"{name} has lost records: it held {length:,} and holds {held.records:,}")
                break
            if held.links[length] != head:
                found.append(f"{name}: record {length} is not the one that was written")
                break
    return found


def _files(folder: Path) -> list[str]:
    names = {path.name for pattern in _PATTERNS for path in folder.glob(pattern) if path.is_file()}
    return sorted(names - {FILE})


def _of_validation(name: str) -> bool:
    return name.startswith("journal/validate")


def _seen(folder: Path, journals: Iterable[Snapshot]) -> dict[str, Head]:
    """Journal file → what a snapshot has of it."""
    return {str(path.relative_to(folder)): head for journal in journals for path, head in journal.heads().items()}


def _read(path: Path) -> Head:
    links = {0: ""} | {number: link.decode() for number, link in enumerate(journal.links(path), 1)}
    return Head(len(links) - 1, links[len(links) - 1], links, stands=True)


def _journal_heads(folder: Path, seen: dict[str, Head]) -> dict[str, list]:
    """Journal file → its length in records and the hash of the last. Raises Damaged, but not for a validation's."""
    found = {}
    for name in _journals(folder):
        if name in seen and seen[name].stands:
            found[name] = [seen[name].records, seen[name].link]
            continue
        try:
            found[name] = list(_journal_head(folder / name))
        except Damaged:
            if not _of_validation(name):
                raise
    return found


def _journals(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.glob("journal/*/*.jsonl"))


def _journal_head(path: Path) -> tuple[int, str]:
    number, head = 0, b""
    for number, head in enumerate(journal.links(path), 1):  # noqa: B007 - the last ones are wanted
        pass
    return number, head.decode()


def _log_head(path: Path, length: int | None = None) -> list:
    """How long the log is and the hash of that much of it."""
    content = path.read_bytes()[:length] if path.exists() else b""
    return [len(content), hashlib.sha256(content).hexdigest()]


def _records(path: Path) -> Iterator[dict[str, Any] | None]:
    """The records; None for one that is not what was written."""
    for line in path.read_bytes().splitlines():
        try:
            record = json.loads(line)
            content = {key: value for key, value in record.items() if key != "hash"}
            yield record if record["hash"] == json_seal(content) else None
        except (ValueError, KeyError, AttributeError, RecursionError):
            yield None


def _head(path: Path) -> str:
    last = None
    for last in _records(path) if path.exists() else ():  # noqa: B007
        pass
    return last["hash"] if last else ""
