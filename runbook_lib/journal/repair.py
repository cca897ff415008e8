"""`runbook repair`: makes the damaged journals of a run readable again. Talks to no database.

Of each damaged file the records before the first break stay. All behind it is set aside, and nothing of it is claimed:

1. The file is copied to `damaged/`.
2. The stage gets the event `repaired`: what was found, and the entries whose passes are to be walked again.
3. The records that stay replace the file. Where the last of them is an intent, its rows are not claimed either: the next
   record may have said that they never left. Where a rollback may be among what is lost, the whole file is set aside:
   what it deleted, somebody else may have inserted again.
4. The audit chain gets a record: what earlier records say of the file no longer counts.

A repair that dies in between is finished by the same command.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import orjson

from ..errors import Damaged, Refused
from ..run.files import file_sha256, make_folder, name_of, open_to_read, read_json, sync_folder, write_atomically
from ..run.folder import Run, iso, now
from ..verdict import REVIEW, Alert, plural
from . import audit
from . import log as journal
from .checkpoint import read_checkpoint
from .log import DELETED, KEPT_EDITED, NEVER_WRITTEN, NOT_FOUND
from .snapshot import ended, unsettled
from .stage import Stage, is_named_for

WITH_JOURNAL = ("create", "test", "migrate", "follow", "restore")  # stages
EVENTS, FOLDER = "stage.jsonl", "damaged"
ROLLBACK = {"rollback", "rolled_back"}  # events
BY_ROLLBACK = {DELETED, KEPT_EDITED, NOT_FOUND, NEVER_WRITTEN}  # what nothing but a rollback makes of a row
AUDIT = "a record does not continue the chain; the file is set aside, and a new chain names it"
SEE = "See `runbook repair` in docs/faults.md; `runbook verify` says what was done."
IDENTITY = ("schema", "run", "stage", "mapping", "environments", "code")


@dataclass
class File:
    """A journal file: what its records before the first break say, and what is wrong with it."""

    path: Path
    told: str = ""  # what is wrong; "" where nothing is
    lost: int = 0  # records, as far as anybody knows
    records: int = 0  # that stay
    lines: int = 0  # of the whole file
    first: dict = field(default_factory=dict)  # record
    last: dict = field(default_factory=dict)  # record
    events: list[dict] = field(default_factory=list)  # all records of `stage.jsonl`
    execution: int = 0  # the highest
    done: bool = False  # the segment was walked to its end
    undone: set[str] = field(default_factory=set)  # what became of rows

    @property
    def phrase(self) -> str:
        """What is wrong with it, and what stays."""
        return f"{self.told}; {plural(self.records, 'record')} kept, {self.lost} lost"

    def set_aside(self, why: str) -> None:
        """Keeps nothing of it."""
        self.told, self.lost = why, max(self.lost, self.lines)
        self.records, self.events = 0, []


@dataclass(frozen=True)
class Findings:
    """What is wrong with one stage."""

    said: File  # stage.jsonl
    damaged: list[File]
    again: list[dict]  # lost events that the other files prove
    reopened: list[str]  # entries whose passes are to be walked again
    unfinished: dict[str, str]  # files that were replaced before the audit chain knew of it -> what was wrong


@dataclass(frozen=True)
class Repair:
    """What is wrong with the journals of a run."""

    stages: dict[str, Findings]
    audit: bool  # the audit chain is damaged

    @property
    def needed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.files())

    def files(self) -> dict[str, str]:
        """File → what is wrong with it, and what is done, as a phrase."""
        told = {}
        for name, found in self.stages.items():
            phrases = found.unfinished | {file.path.name: file.phrase for file in found.damaged}
            told |= {f"journal/{name}/{file}": phrase for file, phrase in phrases.items()}
        return {**told, **({audit.FILE: AUDIT} if self.audit else {})}


def examine(run: Run) -> Repair:
    """What is wrong with a run's journals. Read-only.

    Raises Refused where nothing can be done: an unknown schema, a chain that was made anew, records of workers that were
    not fetched.
    """
    heads, chain, found = audit.journal_heads(run), audit.read_chain(run), {}
    for name in WITH_JOURNAL:
        folder = f"journal/{name}/"
        of_stage = {file.removeprefix(folder): dict(of) for file, of in heads.items() if file.startswith(folder)}
        if of_stage or run.journal(name).is_dir():
            found[name] = _examine(Stage(run, name), of_stage, chain.repairs.get(name, 0))
            if found[name].damaged:
                Stage(run, name).check_settled()
    return Repair(found, bool(chain.broken))


def repair(run: Run) -> Repair:
    """Does what `examine` says; gives that. Writes to the run's folder.

    Raises Refused (nothing was written); Interrupted where a worker still writes, or the disk refuses: the same command
    goes on.
    """
    with run.lock("repair"), run.saving():
        for name in WITH_JOURNAL:
            for path in journal.logs(run.journal(name)):
                with open_to_read(path) as file:
                    journal.hold(file, path.name)
        found = examine(run)
        if not found.needed:
            return found
        for one in audit.check(run, accepts=lambda one: True):
            if one.kind == one.kind.GREW and one.name.startswith("journal/"):
                raise Refused(f"{one.told}, and no execution writes it; restore the file from a copy.")
        for name, one in found.stages.items():
            if one.damaged:
                _apply(Stage(run, name), one)
        for name, phrase in found.files().items():
            run.logger().warning("repaired %s: %s", name, phrase)
        events = {name: sum(1 for _ in Stage(run, name).events("repaired")) for name in WITH_JOURNAL}
        about = audit.Repaired(found.files(), events)
        if found.audit:
            path = run.folder / audit.FILE
            audit.renew(run, "repair", _copy(path) if path.exists() else None, about)
        else:
            audit.append(run, "repair", repaired=about)
        return found


def told(stage: Stage) -> str:
    """What repairs lost of a stage's journal, as a sentence; "" where there was none. Read-only."""
    if not (repairs := stage.repairs()):
        return ""
    lost = plural(sum(one["lost"] for one in repairs), "record")
    return f"the journal was repaired: {lost} lost; a rollback leaves the items that only these name"


def alerts(stage: Stage) -> list[Alert]:
    """What a report says of repairs. Read-only."""
    return [Alert(REVIEW, "", sentence, SEE)] if (sentence := told(stage)) else []


def _examine(stage: Stage, heads: dict[str, dict[int, str]], known: int) -> Findings:
    """`heads`: file → number of a record → its link, as the audit chain knows them; `known`: so many repairs it knows."""
    repairs = [event for event in _read(stage, stage.folder / EVENTS, {}).events if event["kind"] == "repaired"]
    unfinished = {
        name: about["told"]
        for event in repairs[known:]
        for name, about in event["files"].items()
        if _sha256(stage.folder / name) != about["was"]  # else that repair died before it replaced the file
    }
    heads = {name: of for name, of in heads.items() if name not in unfinished}
    said = _read(stage, stage.folder / EVENTS, heads.get(EVENTS, {}))
    paths = {*journal.logs(stage.folder), *(stage.folder / name for name in heads if name != EVENTS)}
    tables = [_read(stage, path, heads.get(path.name, {})) for path in sorted(paths)]
    begun = [file for file in tables if file.records]
    if begun and not said.path.exists():
        said.told = said.told or "missing"
    finished = ended(said.events)
    for file in begun:
        if not (file.told or file.done or finished.isdisjoint(file.first["entries"])):
            file.told, file.lost = "its end is missing, although the stage had ended", 1
    unsure = (  # whether lost records may be those of a rollback
        stage.name == "test"  # it deletes without an event
        or said.told
        or any(EVENTS in event["files"] for event in repairs)
        or any(event["kind"] in ROLLBACK for event in said.events)
        or any(file.undone & BY_ROLLBACK for file in begun)
    )
    for file in begun if unsure else ():
        if file.told:
            file.set_aside(f"{file.told}; a rollback may be among the lost records")
    again = _made_again(stage, said, begun, known - len(repairs)) if said.told else []
    walked: dict[tuple, int] = defaultdict(int)
    for file in begun:
        walked[file.first["table"], (*file.first["entries"],), file.first["segments"]] += file.done and file.records > 0
    done = {entry for (_, entries, segments), number in walked.items() if number == segments for entry in entries}
    reopened = sorted(finished - done)
    damaged = [file for file in (*tables, said) if file.told]
    if reopened and not damaged:
        said.told, said.lost = f"the stage had ended, and files of {', '.join(reopened)} are missing", 1
        damaged = [said]
    return Findings(said, damaged, again, reopened, unfinished)


def _read(stage: Stage, path: Path, heads: dict[int, str]) -> File:
    """A file as far as its first break. Read-only. Refused where its chain is whole, but not the one that is known."""
    file, known = File(path), max(heads, default=0)
    if not path.exists():
        file.told, file.lost = "missing" if known else "", known
        return file
    changed, broken = 0, False
    try:
        for _, link, body in journal.lines(path):
            file.records += 1
            if heads.get(file.records, link.decode()) != link.decode():
                changed = changed or file.records
            file.last = record = orjson.loads(body)
            file.execution = max(file.execution, record.get("execution", 0))
            if path.name == EVENTS:
                file.events.append(record)
            elif record["kind"] == "outcome" and record["page"] is not None:
                file.done = record["last"] is None
            elif record["kind"] == "undone":
                file.undone.update(record["rows"].values())
            if not file.first and record["kind"] in ("begin", "execution"):
                file.first = record
    except Damaged:
        broken = True
    with open_to_read(path) as lines:
        file.lines = sum(1 for _ in lines)
    file.lost = max(known, file.lines if broken else 0) - file.records
    if broken:
        file.told = f"record {file.records + 1} does not fit the chain"
    elif file.lost > 0:
        file.told = "its end is missing"
    if foreign := _foreign(stage, file):
        file.set_aside(foreign)
    elif changed:
        raise Refused(
            f"{path.name}: record {changed} is not the one that was written, and the chain was made anew over it; restore "
            "the file from a copy."
        )
    return file


def _foreign(stage: Stage, file: File) -> str:
    """Why a file is not of this stage and name, by its first record; "" where it is. Refused for an unknown schema."""
    first, name = file.first, file.path.name
    if not first:
        return "its first record is lost" if file.told and name != EVENTS else ""
    journal.check_schema(name, first.get("schema"))
    if (first["run"], first["stage"]) != (stage.run.id, stage.name):
        return f"belongs to run {first['run']} ({first['stage']})"
    return "" if name == EVENTS or is_named_for(file.path, first) else f"is a file of {first['table']}"


def _made_again(stage: Stage, said: File, begun: list[File], repairs: int) -> list[dict]:
    """Lost events that matter: executions, the checkpoint, that a rollback was started; `repairs` of them were repairs.

    What stands in the file behind the break proves nothing. It is believed only where it says that a rollback was started.
    """
    kinds = {event["kind"] for event in said.events}
    executions = [event for event in said.events if event["kind"] == "execution"]
    whole, checkpoint = said.path.read_bytes() if said.path.exists() else b"", {}
    known = audit.read_chain(stage.run).files  # it names the checkpoint before the first insert
    for path in stage.run.json_files("migration-checkpoint"):
        if known and path.name not in known:
            continue
        with suppress(Refused):
            if read_checkpoint(path).stage == stage.name:
                about = {"file": path.name, "sha256": known.get(path.name) or file_sha256(path)}
                checkpoint = {**about, "at": read_json(path)["created"]}
    found = []
    for origin in [*executions, *(file.first for file in begun)][:1]:
        about = {key: origin[key] for key in IDENTITY}
        entries = sorted({entry for file in begun for entry in file.first["entries"]})
        number = max((file.execution for file in begun), default=0) or 1
        found += [{"kind": "execution", "entries": entries, **about}] * (number - len(executions))
        if checkpoint and "checkpoint" not in kinds:
            found.append({"kind": "checkpoint", **checkpoint})
    foreign = said.first and not said.records
    rolled = (b'"kind":"roll' in whole and not foreign) or any(file.undone & BY_ROLLBACK for file in begun)
    if stage.name == "migrate" and rolled and not kinds & ROLLBACK:
        found.append({"kind": "rollback"})
    found += [{"kind": "settled", "place": event["place"]} for event in unsettled(said.events)]
    found += [{"kind": "repaired", "entries": [], "files": {}}] * repairs
    at = said.events[-1]["at"] if said.events else checkpoint.get("at", iso(now()))
    return [{**event, "at": at, "made_again": True} for event in found]


def _apply(stage: Stage, found: Findings) -> None:
    """Steps 1 to 3."""
    there = [file for file in found.damaged if file.path.exists()]
    for file in there:
        _copy(file.path)
    files = {f.path.name: {"told": f.phrase, "lost": f.lost, "was": _sha256(f.path)} for f in found.damaged}
    event = {"kind": "repaired", "at": iso(now()), "entries": found.reopened, "files": files}
    make_folder(stage.folder)
    _replace(found.said, [*found.again, event])
    for file in (file for file in there if file is not found.said):
        if not file.records:
            file.path.unlink()
            sync_folder(stage.folder)
            continue
        n, execution, rows = (file.last.get(key) for key in ("n", "execution", "rows"))
        unsent = {"kind": "unsent", "n": n, "execution": execution, "rows": [*range(len(rows or []))]}
        _replace(file, [unsent] if file.last["kind"] == "intent" else [])


def _replace(file: File, more: list[dict]) -> None:
    """Puts the records that stay, and some more, in the place of a file."""

    def content() -> Iterator[bytes]:
        link = b""
        for _, link, body in islice(journal.lines(file.path), file.records):
            yield link + b" " + body + b"\n"
        for record in more:
            link, line = journal.line_of(link, orjson.dumps(record))
            yield line

    write_atomically(file.path, content(), 0o600)


def _copy(path: Path) -> Path:
    """Copies a file to the damaged ones, under a name that tells its content; gives the copy."""
    make_folder(path.parent / FOLDER)
    copy = path.parent / FOLDER / name_of(path.name, f"-{file_sha256(path)[:16]}")
    with open_to_read(path) as file:
        write_atomically(copy, file, 0o600)
    return copy


def _sha256(path: Path) -> str | None:
    return file_sha256(path) if path.exists() else None
