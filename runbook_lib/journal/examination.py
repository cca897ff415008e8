"""One stage's journal, looked through for a repair: what is wrong with each file, and what follows from that. Reads, decides.

What is to be done about a table's file says mending.py. Of `stage.jsonl` every intact event stays, and one that is lost is
made again where the other files prove it.
"""

from dataclasses import dataclass, field
from pathlib import Path

import orjson

from ..errors import Refused
from ..run.folder import Run, iso, now
from ..verdict import plural
from . import log as journal
from .checkpoint import read_checkpoint
from .log import DELETED, KEPT_EDITED, NEVER_WRITTEN, NOT_FOUND, SCHEMA
from .mending import NOTE, NOTHING, REWRITE, Mend, left_out, mend_lost_table, mend_table, missing
from .salvage import Kept, Salvage, fingerprint, is_done, read
from .snapshot import ended
from .stage import Stage

UNDONE = {DELETED, KEPT_EDITED, NOT_FOUND, NEVER_WRITTEN}  # what a rollback makes of a row, and nothing else does
IDENTITY = ("schema", "run", "stage", "mapping", "environments", "code")


class Examination:
    """What is to be done about one stage. Raises Refused where nothing can be done."""

    def __init__(self, stage: Stage, heads: dict[str, list[tuple[int, str]]], known_repairs: int):
        """`heads` is what the audit chain knows of the stage's files, and how many of its events `repaired` it knows."""
        self._stage, self._heads = stage, heads
        self.mends: list[Mend] = []
        path = stage.folder / "stage.jsonl"
        found = read(path) if path.exists() else Salvage(path, False, [], [], 0)
        if not self._is_ours(found):
            found = Salvage(path, True, [], [], len(found.kept))
        self._events = [one.about for one in found.kept]
        self._repairs = [event for event in self._events if event["kind"] == "repaired"]
        self._pending = {
            name: about for event in self._repairs[known_repairs:] for name, about in event["files"].items()
        }
        facts = _Facts()
        done = self._tables(facts)
        if mend := _mend_events(stage.run, stage.name, found, facts, known_length=self._known_length(found)):
            self.mends.append(mend)
            self._events = [one.about if isinstance(one, Kept) else orjson.loads(one) for one in mend.bodies]
        self.reopened = sorted(ended(self._events) - done)  # entries whose passes are to be gone over again
        if self.reopened and not self.mends:
            told = (
                f"the passes of {', '.join(self.reopened)} are not done, although the stage had ended: records are lost"
            )
            self.mends.append(Mend(path, NOTE, [told], lost=1, items=None))
        mended = {mend.path.name for mend in self.mends}
        # Files of an earlier repair that was cut off before the audit chain knew of it.
        self.unfinished = {name: about["told"] for name, about in self._pending.items() if name not in mended}

    def _tables(self, facts: "_Facts") -> set[str]:
        """Looks at the table files; gives the entries whose passes are done, as far as what is intact says."""
        found = {path: read(path) for path in journal.logs(self._stage.folder)}
        begins = {path: begin for path, one in found.items() if (begin := self._begin(one))}
        places: dict[tuple, Path] = {}
        for path, begin in begins.items():
            place = (begin["table"], *begin["entries"], begin["segment"])
            if place in places:
                raise Refused(f"{path.name} and {places[place].name} are of the same segment; take away the copy.")
            places[place] = path
        walked: dict[tuple, set[int]] = {}  # table, entries and segments of a pass -> segments that are done
        for path, one in found.items():
            length = self._known_length(one)
            if not one.kept and not one.lost and not length:
                continue  # its first record never came
            ours = self._is_ours(one)
            again = self._begin_again(path, places) if ours and one.kept and path not in begins else None
            begin = begins.get(path) or again
            facts.add(begin, one.kept if ours else [])
            if begin is None:
                self.mends.append(mend_lost_table(one, self._why(one), length, ours=ours))
                continue
            places[begin["table"], *begin["entries"], begin["segment"]] = path
            mend = mend_table(
                one, begin, made_again=again is not None, known_length=length, known_lost=self._known_lost(path)
            )
            self.mends += [mend] if mend else []
            if mend.done if mend else is_done(one.kept):
                walked.setdefault((begin["table"], (*begin["entries"],), begin["segments"]), set()).add(
                    begin["segment"]
                )
        for name in sorted(self._heads.keys() - {path.name for path in found} - {"stage.jsonl"} - self._pending.keys()):
            self.mends.append(missing(self._stage.folder / name, max(length for length, _ in self._heads[name])))
        return {entry for (_, entries, number), done in walked.items() if len(done) == number for entry in entries}

    def _begin(self, found: Salvage) -> dict | None:
        """The first record, where it is intact and of this stage of this run. Refused where its schema is unknown."""
        if not found.kept or found.kept[0].about["kind"] != "begin" or found.kept[0].lost:
            return None
        begin = found.kept[0].about
        if begin.get("schema") != SCHEMA:
            raise Refused(
                f"{found.path.name} has schema {begin.get('schema')}, this program knows {SCHEMA}; use the version that wrote it."
            )
        return begin if self._is_ours(found) else None

    def _is_ours(self, found: Salvage) -> bool:
        """Whether the first record that names a run names this one."""
        about = next((one.about for one in found.kept if one.about["kind"] in ("begin", "execution")), None)
        return about is None or (about["run"], about["stage"]) == (self._stage.run.id, self._stage.name)

    def _why(self, found: Salvage) -> str:
        if not self._is_ours(found):
            return f"belongs to run {found.kept[0].about['run']} ({found.kept[0].about['stage']})"
        return "its first record is lost, and what it said is not known for certain"

    def _begin_again(self, path: Path, places: dict[tuple, Path]) -> dict | None:
        """The first record made again, where the stage's own events leave no doubt which segment the file is of."""
        table = path.stem.rpartition(".")[0]
        executions = [event for event in self._events if event["kind"] == "execution"]
        told = {(part[0], (*part[1],), part[2]) for event in executions for part in event.get("parts", ())}
        free = [
            {"table": table, "entries": list(entries), "segment": segment, "segments": segments}
            for name, entries, segments in told
            for segment in range(segments)
            if name == table and (table, *entries, segment) not in places
        ]
        if len(free) != 1:
            return None
        identity = {key: executions[0][key] for key in IDENTITY}
        return {"kind": "begin", **free[0], **identity, "made_again": True}

    def _known_lost(self, path: Path) -> set[int]:
        """The intents that earlier repairs found lost. One that announced itself and was cut off does not count."""
        told = [event["files"][path.name] for event in self._repairs if path.name in event["files"]]
        now = fingerprint(path) if told else None
        return {n for about in told if about["was"] != now for n in about["intents"]}

    def _known_length(self, found: Salvage) -> int:
        """How many records the file once had, as the audit chain says. Refused where that knows another chain."""
        name = found.path.name
        if name in self._pending:
            return 0
        gap = next((index for index, one in enumerate(found.kept) if one.lost), len(found.kept))
        for length, head in self._heads.get(name, ()):
            if 0 < length <= gap and found.kept[length - 1].link.decode() != head and self._is_ours(found):
                raise Refused(
                    f"{name}: record {length} is not the one that was written, and the chain was made anew over it; restore "
                    "the file from a copy."
                )
        return max((length for length, _ in self._heads.get(name, ())), default=0)


def _mend_events(run: Run, stage: str, found: Salvage, facts: "_Facts", *, known_length: int) -> Mend | None:
    """What is to be done about `stage.jsonl`; None where it is whole."""
    lost = max(sum(one.lost for one in found.kept) + len(found.behind), known_length - len(found.kept))
    if not found.damaged and not lost and (found.path.exists() or not facts.executions):
        return None
    at = next((index for index, one in enumerate(found.kept) if one.lost), len(found.kept))
    events = [one.about for one in found.kept]
    again = _made_again(run, stage, events, facts, at)
    there = [] if found.path.exists() else ["missing"]
    kinds = sorted({one.kind for one in found.lost} - {""})
    told = [f"{plural(lost, 'event')} lost" + (f" ({', '.join(kinds)})" if kinds else "")] if lost else there
    told += left_out(found)
    if again:
        told.append(f"made again from the other files: {', '.join(event['kind'] for event in again)}")
    bodies = [*found.kept[:at], *map(orjson.dumps, again), *found.kept[at:]]
    return Mend(found.path, REWRITE, told or [NOTHING], bodies, lost)


@dataclass
class _Facts:
    """What a stage's table files say of the stage itself."""

    begins: list[dict] = field(default_factory=list)
    executions: int = 0
    undone: set[str] = field(default_factory=set)  # what became of rows that were undone; "" where nobody knows

    @property
    def rolling_back(self) -> bool:
        """Whether what was undone of a migration was so by a rollback: a second walk makes room for newer items, no more."""
        return bool(self.undone & UNDONE) or self.undone == {""}

    def add(self, begin: dict | None, kept: list[Kept]) -> None:
        """Takes a file in."""
        self.begins += [begin] if begin else []
        self.executions = max([self.executions, 1, *(one.about.get("execution", 0) for one in kept)])
        waiting: set[int] = set()
        for one in kept:
            if one.about["kind"] == "undo":
                waiting.add(one.about["n"])
            elif one.about["kind"] == "undone":
                waiting.discard(one.about["n"])
                self.undone.update(one.about["states"])
        self.undone |= {""} if waiting else set()


def _made_again(run: Run, stage: str, events: list[dict], facts: "_Facts", at: int) -> list[dict]:
    """The events that the other files prove: how often the stage was begun, its checkpoint, that a rollback was begun."""
    around = [event["at"] for event in (*events[:at][-1:], *events[at:][:1])]
    when = {"at": around[0] if around else iso(now()), "made_again": True}
    executions = [event for event in events if event["kind"] == "execution"]
    found = []
    for _ in range(facts.executions - len(executions) if executions or facts.begins else 0):
        about = executions[0] if executions else facts.begins[0]
        identity = {key: about[key] for key in ("schema", "run", "stage", "mapping", "environments", "code")}
        entries = sorted({entry for begin in facts.begins for entry in begin["entries"]})
        found.append({"kind": "execution", **when, "entries": entries, "parts": _parts(facts.begins), **identity})
    if (executions or found) and not any(event["kind"] == "checkpoint" for event in events):
        for path in sorted(run.folder.glob("migration-checkpoint-*.json")):
            if _is_checkpoint(path, stage):
                found.append({"kind": "checkpoint", **when, "file": path.name})
    walked = any(event["kind"] == "delta" for event in events) and not facts.undone & UNDONE
    rolled = any(event["kind"] in ("rollback", "rolled_back") for event in events)
    if stage == "migrate" and facts.rolling_back and not walked and not rolled:
        found.append({"kind": "rollback", **when})
    return found


def _parts(begins: list[dict]) -> list[list]:
    return [list(part) for part in {(b["table"], tuple(b["entries"]), b["segments"]): 0 for b in begins}]


def _is_checkpoint(path: Path, stage: str) -> bool:
    try:
        return read_checkpoint(path).stage == stage
    except Refused:
        return False
