"""`runbook repair`: damaged journals of a run made readable again from what is intact in them. Talks to no database.

What was damaged is set aside, never deleted. The stage gets an event `repaired`, and the audit chain a record, so that what
they know of the damaged files no longer counts. See mending.py for what stays, and why.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from ..errors import Refused
from ..run.files import make_folder, sync_folder, write_atomically
from ..run.folder import Run, iso, now
from ..verdict import REVIEW, Alert, plural
from . import audit
from . import log as journal
from .examination import Examination
from .mending import ASIDE, NOTE, REWRITE, Mend
from .salvage import Kept, fingerprint, opened
from .stage import Stage

STAGES = ("create", "test", "migrate")
FOLDER = "damaged"
AUDIT = "does not continue; it is set aside, and a new chain begins that names it"
SEE = "See `runbook repair` in docs/faults.md; `runbook verify` says what was done."


@dataclass(frozen=True)
class Repair:
    """What is to be done about a run's journals."""

    run: Run
    mends: dict[str, list[Mend]]  # stage -> files; stage.jsonl last
    reopened: dict[str, list[str]]  # stage -> entries whose passes are gone over again
    unfinished: dict[str, str]  # files of an earlier repair that the audit chain does not know -> what was done
    audit: bool  # the chain itself is damaged

    @property
    def needed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.mends or self.unfinished or self.audit)

    def files(self) -> dict[str, str]:
        """File → what is wrong with it and what follows from that."""
        found = {_name(mend.path, self.run): mend.sentence for mends in self.mends.values() for mend in mends}
        return {**self.unfinished, **found, **({audit.FILE: AUDIT} if self.audit else {})}


def examine(run: Run) -> Repair:
    """What is wrong with a run's journals, and what can be done. Read-only.

    Raises Refused where nothing can be done: an unknown schema, a file that is there twice, a chain that was made anew.
    """
    mends, reopened, unfinished = {}, {}, {}
    heads, known = audit.journal_heads(run), audit.known_repairs(run)
    for name in STAGES:
        folder = f"journal/{name}/"
        lengths = {path.removeprefix(folder): found for path, found in heads.items() if path.startswith(folder)}
        if lengths or run.journal(name).is_dir():
            examined = Examination(Stage(run, name), lengths, known.get(name, 0))
            unfinished |= {folder + file: told for file, told in examined.unfinished.items()}
            if examined.mends:
                Stage(run, name).check_settled()
                mends[name], reopened[name] = examined.mends, examined.reopened
    return Repair(run, mends, reopened, unfinished, audit.is_damaged(run))


def repair(run: Run) -> Repair:
    """Does what `examine` says; gives it. Writes to the run's folder.

    Raises Refused (nothing was written), Interrupted where the disk does not take it (the same command goes on).
    """
    with run.lock("repair"), run.saving():
        found = examine(run)
        if not found.needed:
            return found
        aside: list[str] = []
        with ExitStack() as held:
            for mends in found.mends.values():
                for mend in mends:
                    if mend.how != NOTE:
                        _hold(mend.path, held)
            for name, mends in found.mends.items():
                aside += _apply(Stage(run, name), mends, found.reopened[name])
        events = {name: sum(1 for _ in Stage(run, name).events("repaired")) for name in STAGES}
        files = {name: told for name, told in found.files().items() if name != audit.FILE}
        if found.audit:
            copy = _set_aside(run.folder / audit.FILE)
            about = audit.Repaired(found.files(), [*aside, _name(copy, run)], events)
            audit.renew(run, "repair", copy, about)
        else:
            audit.append(run, "repair", audit.Repaired(files, aside, events))
        for name, told in found.files().items():
            run.logger().warning("repaired %s: %s", name, told)
        return found


def told(stage: Stage) -> str:
    """What repairs lost of a stage's journal, as a sentence; "" where there was none. Read-only."""
    repairs = stage.repairs()
    if not repairs:
        return ""
    lost, items = sum(one["lost"] for one in repairs), _items(repairs)
    claim = "all that was inserted is known still"
    if items != 0:
        number = "some items (nobody knows how many)" if items is None else plural(items, "item")
        claim = f"{number} may be counted as already there, and would stay in a rollback"
    return f"the journal was repaired: {plural(lost, 'record')} lost; {claim}"


def alerts(stage: Stage) -> list[Alert]:
    """What a report says of repairs. Read-only."""
    sentence = told(stage)
    return [Alert("" if _items(stage.repairs()) == 0 else REVIEW, "", sentence, SEE)] if sentence else []


def _items(repairs: list[dict]) -> int | None:
    numbers = [one["items"] for one in repairs]
    return None if None in numbers else sum(numbers)


def _name(path: Path, run: Run) -> str:
    return str(path.relative_to(run.folder))


def _hold(path: Path, held: ExitStack) -> None:
    """Holds a file against a worker that outlived what started it."""
    if path.exists():
        file = held.enter_context(path.open("rb"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(f"{path.name} is still being written by a worker; end it first.") from None


def _apply(stage: Stage, mends: list[Mend], reopened: list[str]) -> list[str]:
    """Announces the repair, then replaces the files; gives what was set aside."""
    run, when = stage.run, f"{now():%Y%m%dT%H%M%SZ}"
    aside = [_name(_set_aside(mend.path, when), run) for mend in mends if mend.how != NOTE and mend.path.exists()]
    about = {
        mend.path.name: {
            "told": mend.sentence,
            "lost": mend.lost,
            "intents": mend.intents if mend.how != ASIDE else [],
            "items": mend.items,
            "was": fingerprint(mend.path),
        }
        for mend in mends
    }
    events = next((mend for mend in mends if mend.path.name == "stage.jsonl" and mend.how == REWRITE), None)
    if events:
        event = {"kind": "repaired", "at": iso(now()), "entries": reopened, "files": about}
        make_folder(stage.folder)
        _rewrite(events.path, [*events.bodies, orjson.dumps(event)])
    else:
        stage.record("repaired", entries=reopened, files=about)
    for mend in mends:
        if mend.how == ASIDE:
            mend.path.unlink()  # it has its other name already
            sync_folder(stage.folder)
        elif mend.how == REWRITE and mend is not events:
            _rewrite(mend.path, mend.bodies)
    return aside


def _rewrite(path: Path, bodies: list[Kept | bytes]) -> None:
    """Puts a file with a new chain in the place of the old one."""

    def lines(data: Any) -> Iterator[bytes]:
        chain, place = b"", journal.place_of(path)
        for body in bodies:
            body = body if isinstance(body, bytes) else data[body.at : body.at + body.size]
            chain, line = journal.line_of(chain, place, body)
            yield line

    with ExitStack() as stack:
        data = stack.enter_context(opened(path)) if path.exists() else b""
        write_atomically(path, lines(data), 0o600)


def _set_aside(path: Path, when: str | None = None) -> Path:
    """Gives a file a second name among the damaged ones; gives that."""
    folder = path.parent / FOLDER
    make_folder(folder)
    name = f"{path.name}-{when or f'{now():%Y%m%dT%H%M%SZ}'}"
    number, copy = 1, folder / name
    while copy.exists():
        number += 1
        copy = folder / f"{name}-{number}"
    try:
        os.link(path, copy)
    except OSError:  # a file system without second names
        shutil.copy2(path, copy)
    sync_folder(folder)
    return copy
