"""What is to be done about one damaged journal file, so that nothing is claimed that is not known. Reads, and decides.

Of a table's file the records before the first gap stay as they are. Behind it no outcome is left: its pages are gone over
again, so that every count comes out right. Their intents stay, as those of pages that were open when a process died: what
they announced and the target holds unchanged is the run's. What an intent announced that is itself lost cannot be told from
the items of others any more.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from ..values import key_hash
from ..verdict import plural
from .intents import JournalRow
from .log import INSERTED, MADE_ROOM
from .salvage import Kept, Lost, Salvage, is_done, opened

REWRITE, ASIDE, NOTE = "rewrite", "aside", "note"
NOTHING = "no record is lost; links and order are made right"
SURELY_NO_INTENT = ("outcome", "unsent", "undo", "undone", "fence")


@dataclass(frozen=True)
class Mend:
    """What is to be done about one file, and what that costs."""

    path: Path
    how: str  # REWRITE it, set it ASIDE, or only NOTE what it lacks
    told: list[str]  # phrases
    bodies: list[Kept | bytes] = field(default_factory=list)  # REWRITE: its records
    lost: int = 0  # records, at least
    intents: list[int] = field(default_factory=list)  # numbers of those that are lost
    items: int | None = 0  # how many inserted items can no longer be claimed, at most; None: nobody knows
    done: bool = False  # the segment was walked to its end, as far as its records still say

    @property
    def sentence(self) -> str:
        """What was found and what follows from it."""
        return "; ".join(self.told)


def mend_table(
    found: Salvage, begin: dict, *, made_again: bool, known_length: int, known_lost: Iterable[int]
) -> Mend | None:
    """What is to be done about a table's file, whose first record is `begin`; None where it is whole.

    `made_again`: that record was lost. `known_length` is how many records it once had, as far as anybody knows, and
    `known_lost` are the intents that an earlier repair found lost.
    """
    kept = found.kept if made_again else found.kept[1:]
    first_alone = made_again and kept[0].exact  # nothing else is missing before the first record that is kept
    gaps = [index for index, one in enumerate(kept) if one.lost and not (first_alone and index == 0)]
    lost = sum(kept[index].lost for index in gaps) + len(found.behind) + first_alone
    cut = max(0, known_length - len(found.kept) - lost)  # records that were there once, at the end
    if not found.damaged and not cut:
        return None
    gap = min(gaps, default=len(kept))
    with opened(found.path) as data:
        bodies, outcomes = _bodies(data, kept, gap, found.lost)
    numbers, items = _lost_intents(found, kept, cut, set(known_lost))
    told = [f"{plural(lost + cut, 'record')} lost"] if lost + cut else []
    told += ["the first one is made again from what the stage says"] if made_again else []
    told += left_out(found)
    if outcomes:
        told.append(f"{plural(outcomes, 'outcome')} behind the gap left out: their items are looked up when it goes on")
    if items != 0:
        told.append(_unclaimed(numbers, items, kept))
    return Mend(
        found.path,
        REWRITE if found.damaged else NOTE,
        told or [NOTHING],
        [orjson.dumps(begin) if made_again else found.kept[0], *bodies],
        lost + cut,
        sorted(numbers),
        items,
        done=is_done(kept[:gap]),
    )


def mend_lost_table(found: Salvage, why: str, known_length: int, *, ours: bool) -> Mend:
    """A table's file of another run, or of which nobody can tell where it belongs: it is set aside as a whole."""
    open_intents = {one.about["n"]: one.about["rows"] for one in found.kept if one.about["kind"] == "intent"}
    inserted = 0
    for one in found.kept:
        if one.about["kind"] == "outcome":
            inserted += one.about["inserted"]
            open_intents.pop(one.about["n"], None)
    others = known_length > max(1, len(found.kept) + len(found.lost)) or any(one.kind != "begin" for one in found.lost)
    items = None if any(open_intents.values()) or others or not ours else inserted
    told = [f"{why}: set aside as a whole"]
    if items != 0:
        told.append("its pass begins again; what it had inserted cannot be claimed")
    return Mend(found.path, ASIDE, told, lost=max(known_length, len(found.kept) + len(found.lost)), items=items)


def missing(path: Path, known_length: int) -> Mend:
    """A file that is not there."""
    told = [
        "missing: put it back if there is a copy; else its pass begins again, and what it had inserted cannot be claimed"
    ]
    return Mend(path, NOTE, told, lost=known_length, items=0 if known_length == 1 else None)


def left_out(found: Salvage) -> list[str]:
    """A phrase for the lines where nothing is missing."""
    return [f"{plural(found.strange, 'line')} left out that belong elsewhere or repeat others"] if found.strange else []


def _bodies(data: Any, kept: list[Kept], gap: int, lost: list[Lost]) -> tuple[list[Kept | bytes], int]:
    """The records that stay, and how many outcomes do not."""
    here = {one.about["n"]: one for one in reversed(kept) if one.about["kind"] == "intent"}
    behind = [one for one in kept[gap:] if one.about.get("n") in here]
    unsent: dict[int, list[Kept | bytes]] = {n: [] for n in here}
    for one in lost:
        if one.kind == "unsent" and one.n in here:  # which rows never left is not known: none is claimed
            about = {"kind": "unsent", "n": one.n, "execution": here[one.n].about["execution"]}
            unsent[one.n].append(orjson.dumps({**about, "rows": list(range(here[one.n].about["rows"]))}))
    for one in behind:
        if one.about["kind"] == "unsent":
            unsent[one.about["n"]].append(one)
    bodies: list[Kept | bytes] = list(kept[:gap])
    if bodies and bodies[-1].about["kind"] == "intent":  # what never left stands right behind its intent
        bodies += unsent.pop(bodies[-1].about["n"], [])
    before = {one.about["n"] for one in kept[:gap] if one.about["kind"] == "intent"}
    for n in sorted(here.keys() - before):
        bodies += [here[n], *unsent[n]]
    states: dict[tuple[int, str], str] = {}
    for index, one in enumerate(kept):
        if one.about["kind"] == "undone" and one.about["n"] in here:
            counted = _recounted(data, one, states)
            bodies += [counted] if index >= gap else []
        elif one.about["kind"] == "undo" and one.about["n"] in here and index >= gap:
            bodies.append(one)
    bodies += _made_room(data, kept, gap, states)
    return bodies, sum(one.about["kind"] == "outcome" for one in kept[gap:])


def _made_room(data: Any, kept: list[Kept], gap: int, states: dict[tuple[int, str], str]) -> Iterator[bytes]:
    """What a lost record must have said: an item whose key a later intent found absent had made room for its new version."""
    later: dict[tuple[str, bytes], tuple[int, str]] = {}  # of intents without a page: item -> number and digest
    for one in kept[gap:]:
        if one.about["kind"] == "intent" and one.about["page"] is None:
            for row in _rows(data, one):
                if not row.present:
                    later[row.entry, key_hash(row.key)] = one.about["n"], row.digest
    letters = {
        one.about["n"]: _record(data, one)["rows"] for one in kept[:gap] if later and one.about["kind"] == "outcome"
    }
    for one in kept if later else ():
        if one.about["kind"] != "intent":
            continue
        found = {}
        for index, row in enumerate(_rows(data, one)):
            n, digest = later.get((row.entry, key_hash(row.key)), (0, row.digest))
            inserted = letters[one.about["n"]][index] == INSERTED if one.about["n"] in letters else not row.present
            if n > one.about["n"] and digest != row.digest and inserted and (one.about["n"], str(index)) not in states:
                found[str(index)] = MADE_ROOM
        if found:
            about = {"kind": "undone", "n": one.about["n"], "execution": one.about["execution"]}
            yield orjson.dumps({**about, "rows": found, "counts": {MADE_ROOM: len(found)}})


def _record(data: Any, one: Kept) -> dict:
    return orjson.loads(data[one.at : one.at + one.size])


def _rows(data: Any, one: Kept) -> list[JournalRow]:
    return [JournalRow(*row) for row in _record(data, one)["rows"]]


def _recounted(data: Any, one: Kept, states: dict[tuple[int, str], str]) -> Kept | bytes:
    """An `undone` record whose counts are what it adds to those before it, of which some may be lost."""
    record = _record(data, one)
    counts = Counter(record["rows"].values())
    counts.subtract(states[record["n"], row] for row in record["rows"] if (record["n"], row) in states)
    states |= {(record["n"], row): state for row, state in record["rows"].items()}
    counts = {state: number for state, number in counts.items() if number}
    if counts == {state: number for state, number in record["counts"].items() if number}:
        return one
    return orjson.dumps({**record, "counts": counts})


def _lost_intents(found: Salvage, kept: list[Kept], cut: int, known: set[int]) -> tuple[set[int], int | None]:
    """The numbers of the intents that are lost, and how many items they inserted; None where nobody knows."""
    here = {one.about["n"] for one in kept if one.about["kind"] == "intent"}
    numbers = {one.about["n"] for one in kept if "n" in one.about}
    numbers |= {one.n for one in found.lost if one.n is not None and one.kind == "intent"}
    lost = set(range(max(numbers, default=-1) + 1)) - here - known
    inserted = {one.about["n"]: one.about["inserted"] for one in kept if one.about["kind"] == "outcome"}
    if cut or not lost <= inserted.keys() or any(one.kind not in SURELY_NO_INTENT for one in found.behind):
        return lost, None
    return lost, sum(inserted[n] for n in lost)


def _unclaimed(lost: set[int], items: int | None, kept: list[Kept]) -> str:
    """What cannot be claimed, and of which pages it is."""
    paged = [one.about for one in kept if one.about.get("page") is not None]
    known = {about["n"]: about["page"] for about in paged}  # of an intent that is lost its outcome tells it
    before = [page for n, page in known.items() if n < min(lost, default=len(known) + 1)]
    after = [page for n, page in known.items() if lost and n > max(lost)]
    pages = sorted({known[n] for n in lost}) if lost and lost <= known.keys() else []
    if not pages:
        pages = [before[-1] + 1 if before else 0, *([max(0, min(after) - 1)] if after else [])]
    first, last = pages[0], max(pages)
    where = f"pages {first} to {last}" if last > first else f"page {first}"
    if items is None:
        where += "" if after else " and on"
        return f"what {where} inserted may be counted as already there, and stay in a rollback"
    return (
        f"{plural(items, 'item')} that {where} inserted cannot be claimed: counted as already there, kept in a rollback"
    )
