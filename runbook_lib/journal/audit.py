"""`audit.jsonl`: a chain of hashes over all that lies in a run's folder, and the proof that nobody else touched it since.

Each line holds the hash of the line before, so that none can be changed, taken out or put in without breaking the chain.
The records name every file with its SHA-256, every journal file with its length and the hash of its last record (each what
changed since the one before), and which executions have begun and not ended. What they name must stay as it was.
Behind the last one only such an execution may leave something, and only what its stage writes: see `may_leave`. A record
never takes over what nobody may have done: that stays a finding until somebody puts it right, or a rollback accepts it,
which the chain tells. Where a journal was repaired, a record says so, and earlier ones no longer count for its files.
"""

import errno
import getpass
import hashlib
import json
import os
import socket
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Any, NamedTuple

from .. import __version__
from ..errors import Refused
from ..process import executor
from ..run.chain import (
    COMPARISONS,
    DISCLAIM,  # noqa: F401 (audit.DISCLAIM)
    FILE,
    JOURNALS,
    LOG,
    OVER,
    REPORT,  # noqa: F401 (audit.REPORT)
    SAVING,
    STOP_NOTHING,
    WORK,
    Chain,
    Finding,
    Kind,
    Special,
    Verification,
    at_first,
    begins_with,
    is_allowed,
    is_readable,
    names,
    no_record,
    read_chain,
    special_of,
    wrong_before,
)
from ..run.files import file_sha256, json_seal, lock_file, open_file, write_atomically
from ..run.fingerprints import code_fingerprint
from ..run.folder import Run, iso, now
from ..run.released import Notebook
from .snapshot import Snapshot
from .table_file import Head, read_head

Heads = dict[str, list[tuple[int, str]]]
Accepts, Elsewhere = Callable[[Finding], bool] | None, Callable[[], Collection[str]]


class Repaired(NamedTuple):
    """What the record of a repair says besides."""

    files: dict[str, str]  # journal file -> what was done: earlier records no longer count for it
    events: dict[str, int]  # stage -> how many of its events `repaired` this record knows


class _There(NamedTuple):
    """What lies in the folder."""

    things: dict[str, Any]  # name -> SHA-256, Head or Special; without the chain and the log
    log: list | None  # bytes, SHA-256
    log_began: bool  # whether it begins as the chain has it
    chain: Special | None  # what the chain's file is, where it is none
    readable: list[str]  # sentences: what others can read although it may hold keys


# writing


def begin(run: Run, stage: str) -> None:
    """Adds a record that an execution begins, unless its command did; it reads no journal. Writes to `audit.jsonl`."""
    may = begins_with(stage)
    with run.saving(), _held(run) as (file, chain):
        if {*may} <= {*chain.open.get(_key(stage), ())}:
            return
        files = chain.files if chain.hashes else at_first(run.folder)
        heads = {name: [*known[-1]] for name, known in chain.heads.items()}
        known = {"files": files, "journal": heads, "log": chain.log, "wrong": wrong_before(run.folder, chain, stage)}
        _add(run, file, chain, stage, {**known, "open": {**chain.open, _key(stage): may}})


def enter(
    run: Run, stage: str, *, accepts: Accepts = None, elsewhere: Elsewhere = set, confirmed: Sequence[str] = ()
) -> list[str]:
    """Checks the folder as `check` does, and adds a record that the stage's work begins; gives what was accepted.

    The record says what was `confirmed`, and how.

    The caller holds the run, so others that hold it are over, or wait. Raises Refused. Writes to `audit.jsonl`.
    """
    with run.saving(), _held(run) as (file, chain):
        there = _look(run.folder, chain, {})
        all_found = _compare(chain, there, chain.open)
        found = _refusing(run, all_found, accepts, elsewhere)
        opened = {
            who: [*SAVING] if who.partition(" ")[0] in JOURNALS and who != _key(stage) else can
            for who, can in chain.open.items()
        }
        more = {"accepted": {one.name: one.told for one in found}} if found else {}
        more |= {"confirmed": [*confirmed]} if confirmed else {}
        state = _state(run, chain, there, _wrong(all_found) - {one.name for one in found}, lambda name: True)
        more["wrong"] = {name: sha256 for name, sha256 in chain.wrong.items() if name not in more.get("accepted", ())}
        _add(run, file, chain, stage, {**state, **more, "open": {**opened, _key(stage): [*WORK]}})
        return [one.told for one in found]


def append(
    run: Run,
    stage: str,
    may: Collection[str] | None = OVER,
    *,
    repaired: Repaired | None = None,
    journals: Iterable[Snapshot] = (),
    own: Collection[str] = (),
    outcome: dict[str, Any] | None = None,
    notebook: Notebook | None = None,
    by: str = "",
) -> str:
    """Adds a record of the folder as it is now; gives its hash. Writes to `audit.jsonl`.

    `may` is what this execution may do from here on; None: what it might before, because it was interrupted, and workers
    may still write for it. `own` are the names of its notebook and pages, just written; `notebook` is what was executed.
    A journal file that stands as one of `journals` has it is not read again. `outcome`: what stage and run have come to, in
    counts and words. `by`: the `executor`, where that is another process.
    """
    key = _key(stage, by)
    with run.saving(), _held(run) as (file, chain):
        there = _look(run.folder, chain, _seen(run.folder, journals), trusted=True)
        more, during = {"outcome": outcome} if outcome else {}, {key: begins_with(stage), **chain.open}
        opened = chain.open_after(key) if may == OVER else chain.open
        if may:
            opened = {**opened, key: [*may]}
        if repaired:
            during["repair"] = [*repaired.files, *(f"journal/{name}/stage.jsonl" for name in repaired.events)]
            more |= {"repaired": repaired.files, "events": repaired.events}
        more |= {"notebook": notebook._asdict()} if notebook else {}
        others = {who: can for who, can in opened.items() if who != key}

        def unfinished(name: str) -> bool:
            return name not in own and (bool(may) or is_allowed(others, name, Kind.ADDED))

        state = _state(run, chain, there, _wrong(_compare(chain, there, during)) - {*own}, unfinished)
        if opened:
            wrong = wrong_before(run.folder, chain, stage)
            more["wrong"] = {name: was for name, was in wrong.items() if may or name in chain.wrong}
        return _add(run, file, chain, stage, {**state, **more, "open": opened})


def renew(run: Run, stage: str, aside: Path | None, repaired: Repaired) -> str:
    """Begins a new chain in the place of a damaged one, which `aside` is a copy of; gives the hash of its first record.

    That record names the old chain. Writes to `audit.jsonl`, whole or not at all.
    """
    with run.saving():
        last, chain = read_chain(run), Chain()
        more = {"repaired": repaired.files, "events": repaired.events, "open": last.open}
        more |= {"replaces": [aside.name if aside else "", last.head]}
        there = _look(run.folder, chain, {})
        state = _state(run, chain, there, (), lambda name: is_allowed(last.open, name, Kind.ADDED))
        line = _line(run, chain, stage, {**state, **more})
        write_atomically(run.folder / FILE, json.dumps(line).encode() + b"\n", 0o600)
        return line["hash"]


def _wrong(found: Iterable[Finding]) -> set[str]:
    """The files of which a record says what the records before do."""
    return {one.name for one in found if not one.allowed}


@contextmanager
def _held(run: Run) -> Iterator[tuple[IO[bytes], Chain]]:
    """The chain, open for appending: one process at a time. A torn last record is cut."""
    path = run.folder / FILE
    if special := special_of(path):
        raise Refused(f"{path} is {special} now; put the file back where it was.")
    with open(open_file(path, os.O_RDWR | os.O_CREAT | os.O_APPEND), "r+b", buffering=0) as file:
        if not lock_file(file):
            raise Refused(f"{path} is held by another process; wait for it to end.")
        chain = read_chain(run)
        if chain.torn:
            os.truncate(path, path.read_bytes().rfind(b"\n") + 1)
        yield file, chain


def _add(run: Run, file: IO[bytes], chain: Chain, stage: str, content: dict[str, Any]) -> str:
    if chain.broken:  # nothing can continue it; `runbook repair` begins a new one
        return chain.head
    line = _line(run, chain, stage, content)
    if file.write(written := json.dumps(line).encode() + b"\n") != len(written):
        raise OSError(errno.ENOSPC, "the disk took only a part of an audit record")
    os.fsync(file.fileno())
    return line["hash"]


def _line(run: Run, chain: Chain, stage: str, content: dict[str, Any]) -> dict[str, Any]:
    anew = {*content.get("repaired", ()), *content.get("accepted", ())}
    content |= chain.told(content["files"], content["journal"], anew)
    content = {
        "at": iso(now()),
        "run": run.id,
        "stage": stage,
        "actor": f"{getpass.getuser()}@{socket.gethostname()}",
        "version": __version__,
        "code": code_fingerprint(),
        # A file system without modes shows its files to everybody from the first.
        "private": chain.private if chain.hashes else not is_readable(run.folder / FILE),
        "previous": chain.head,
        **content,
    }
    return {**content, "hash": json_seal(content)}


def _state(
    run: Run, chain: Chain, there: _There, wrong: Collection[str], unfinished: Callable[[str], bool]
) -> dict[str, Any]:
    """What a record says of the folder: what is there, and of what is `wrong` what the chain says.

    Notebooks and pages that no record names yet are left out where they are `unfinished`: somebody is still writing them.
    """
    files = {name: told for name, told in chain.files.items() if name in wrong}
    heads = {name: [*known[-1]] for name, known in chain.heads.items() if name in wrong}
    for name, value in there.things.items():
        if name in wrong or isinstance(value, Special):
            continue
        if isinstance(value, Head) and not value.damage:
            heads[name] = [value.records, value.link, value.size]
        elif isinstance(value, Head):
            files[name] = file_sha256(run.folder / name)
        elif name in chain.files or not name.endswith((".ipynb", ".html")) or not unfinished(name):
            files[name] = value
    log = there.log if there.log and LOG not in wrong else chain.log
    return {"files": files, "journal": heads, "log": log}


# checking


def verify(run: Run, head: str = "") -> Verification:
    """The folder against its chain, which must hold the record with the hash `head`, if one is given. Read-only.

    Raises Refused where there is no chain.
    """
    path = run.folder / FILE
    if not (path.exists() or path.is_symlink()):
        raise Refused(f"run {run.id} has no {FILE}: nothing was executed in it, or the file was removed.")
    chain = read_chain(run)
    found = _compare(chain, there := _look(run.folder, chain, {}), chain.open)
    readable = there.readable if chain.private else []
    problems = [one.told for one in found if not one.allowed]
    if chain.torn and not chain.broken:
        problems.insert(0, no_record(len(chain.hashes) + 1))
    if head and head not in chain.hashes:
        problems.insert(0, f"{FILE} has no record {head}: it lost its end, or somebody made it anew")
    growth, files = [one.told for one in found if one.allowed], len(chain.files) + len(chain.heads)
    return Verification(len(chain.hashes), files, chain.head, problems, growth, readable, chain.notes)


def check(
    run: Run, journals: Iterable[Snapshot] = (), *, accepts: Accepts = None, elsewhere: Elsewhere = set
) -> list[Finding]:
    """What is not as the chain has it and nobody may have done. Refused where that is more than it `accepts`. Read-only.

    A journal file that `journals` holds is not read again. What files of `elsewhere` lack can still be fetched. The journals
    of 04 and the summary stop nothing: they are made anew.
    """
    chain = read_chain(run)
    found = _compare(chain, _look(run.folder, chain, _seen(run.folder, journals)), chain.open)
    return _refusing(run, found, accepts, elsewhere)


def _refusing(run: Run, found: Iterable[Finding], accepts: Accepts, elsewhere: Elsewhere) -> list[Finding]:
    found = [one for one in found if not (one.allowed or one.name.startswith(STOP_NOTHING))]
    found = [one for one in found if one.kind not in (Kind.REMOVED, Kind.SHORT) or one.name not in elsewhere()]
    if wrong := [one for one in found if not (accepts and accepts(one))]:
        more = f" (and {len(wrong) - 1} more: `runbook verify {run.id}`)" if wrong[1:] else ""
        added = wrong[0].kind == Kind.ADDED or wrong[0].told.endswith("was added")
        fix = "move it elsewhere" if added else "restore the file from a copy"
        if wrong[0].name.startswith(("journal/", FILE)) and not added:
            fix += f", or see `runbook repair {run.id}`"
        raise Refused(f"{wrong[0].told}{more}; {fix}, or go on with --accept-changed.")
    return found


def _compare(chain: Chain, there: _There, may: Mapping[str, Collection[str]]) -> list[Finding]:
    """What is not as the chain has it, the chain itself first; `may`: "<stage> …" → what it may do."""
    found: list[tuple[str, Kind, str]] = []
    if there.chain or chain.broken:
        kind = Kind.SPECIAL if there.chain else Kind.DAMAGED
        found.append((FILE, kind, f"{FILE} is {there.chain} now" if there.chain else chain.broken))
    if chain.broken:  # what is left of it does not say all
        return [Finding(*one, False) for one in found]
    for name in sorted({*chain.files, *chain.heads} - there.things.keys()):
        inside = any(other.startswith(f"{name.rstrip('/')}/") for other in there.things)
        if not inside:
            found.append((name, Kind.REMOVED, f"{name} was removed"))
        elif not name.endswith("/"):
            found.append((name, Kind.SPECIAL, f"{name} is a folder now"))
    for name, value in sorted(there.things.items()):
        if isinstance(value, Special):
            told = f"{name} is {value} now" if chain.knows(name) or name == LOG else f"{name}, {value}, was added"
            found.append((name, Kind.SPECIAL, told))
        elif isinstance(value, Head) and (value.damage or name in chain.heads):
            found += [(name, kind, name + told) for kind, told in _of_journal(value, chain.heads.get(name, ()))]
        elif name in chain.files:
            found += [(name, Kind.CHANGED, f"{name} was changed")] if chain.files[name] != value else []
        elif chain.hashes or name != "run.json":
            found.append((name, Kind.ADDED, f"{name} was added: it is in no record"))
    if there.log is None:
        found += [(LOG, Kind.REMOVED, f"{LOG} was removed")] if chain.log[0] and LOG not in there.things else []
    elif not there.log_began:
        found.append((LOG, Kind.CHANGED, f"{LOG} was changed"))
    elif (grown := there.log[0] - chain.log[0]) and chain.hashes:
        found.append((LOG, Kind.GREW, f"{LOG} grew by {grown:,} bytes"))
    return [Finding(*one, is_allowed(may, *one[:2]) and not chain.is_as_before(one[0], there.things)) for one in found]


# reading


def journal_heads(run: Run) -> Heads:
    """Journal file → what the chain knows of it: lengths in records, and the hash of the last. Read-only.

    Refused where a journal file is no file of its own: nobody can say how long reading it takes.
    """
    chain = read_chain(run)
    for name in names(run.folder):
        if name.startswith("journal/") and not name.endswith("/") and (special := special_of(run.folder / name)):
            fix = "restore it from a copy" if chain.knows(name) else "move it elsewhere if it was added"
            raise Refused(f"{name} is {special} now; {fix}.")
    return {name: [head[:2] for head in of] for name, of in chain.heads.items() if not name.startswith(COMPARISONS)}


def _look(folder: Path, chain: Chain, seen: Mapping[str, Head], *, trusted: bool = False) -> _There:
    """What lies in the folder. `seen`: journal files that need not be read again; `trusted`: though the chain asks for more."""
    things: dict[str, Any] = {}
    readable = []
    for name in names(folder):
        path = folder / name
        try:
            if name.endswith("/"):
                things[name] = ""
            elif special := special_of(path):
                things[name] = special
            elif name not in (FILE, LOG):
                is_journal = fnmatchcase(name, "journal/*.jsonl") and name.count("/") == 2 and name not in chain.files
                lengths = {length for length, *_ in chain.heads.get(name, ())}
                things[name] = read_head(path, lengths, seen.get(name), trusted) if is_journal else file_sha256(path)
            if is_readable(path) and not special_of(path):
                readable.append(f"{name}: others can read it now, and it may hold keys; `chmod 600` it")
        except FileNotFoundError:  # a file of a run that goes on
            things.pop(name, None)
        except PermissionError:
            things[name] = Special("a file that cannot be read")
    content = (folder / LOG).read_bytes() if (folder / LOG).is_file() and LOG not in things else None
    log = None if content is None else [len(content), hashlib.sha256(content).hexdigest()]
    began = content is not None and hashlib.sha256(content[: chain.log[0]]).hexdigest() == chain.log[1]
    return _There(things, log, began, things.pop(FILE, None), readable)


def _of_journal(held: Head, known: Sequence[tuple]) -> Iterator[tuple[Kind, str]]:
    """What became of a journal file of which the records of a chain know these lengths: kind, and words behind its name."""
    if held.damage:
        yield Kind.DAMAGED, held.damage
    for length, link, *_ in known:
        if length > held.records:
            if not held.damage:
                yield Kind.SHORT, f" has lost records: it held {length:,} and holds {held.records:,}"
            return
        if held.links.get(length, link) != link:
            yield Kind.CHANGED, f": record {length} is not the one that was written"
            return
    records, _, *size = known[-1] if known else (0, "")
    if held.records > records:
        yield Kind.GREW, f" grew: it held {records:,} records and holds {held.records:,}"
    elif size and held.size > size[0] and not held.damage:
        yield Kind.GREW, " grew by a part of a record"


def _seen(folder: Path, journals: Iterable[Snapshot]) -> dict[str, Head]:
    """Journal file → what a snapshot has of it."""
    return {str(path.relative_to(folder)): head for journal in journals for path, head in journal.heads().items()}


def _key(stage: str, by: str = "") -> str:
    return f"{stage} {by or executor()}"
