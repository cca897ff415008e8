"""04 with `repair`: inserts what the target lacks, through 03's journal, so that a rollback takes it back.

1. Every source item goes through its route again, and its target key is read. What the target holds, it keeps: nothing is
   compared, replaced or deleted here.
2. For an item that is missing the journal of 03 gives the cause. What 03 had inserted, or found there, and somebody has
   deleted since was perhaps deleted on purpose: it is left out unless asked for.
3. An item whose key has changed in the source, and whose copy stands under the older key, is not missing: a delta moves it.
4. The others are inserted like the items of a delta: never overwriting, the intent on disk first.

A repair may die anywhere: the same command goes on with what is still missing.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from ...errors import Refused
from ...journal.log import ALREADY_THERE, INSERTED
from ...journal.lookup import GONE, OPEN, Lookup, Said
from ...journal.stage import Stage
from ...mapping.routes import Row
from ...run.folder import Run, now
from ...values import has_expired
from ...verdict import Alert, plural
from ...walk.insert import OnPage
from ...walk.plan import Plan
from ...walk.structure import read_structures
from ...walk.walk import Routed
from ..migrate.changes import Change, Copy, met_of
from ..migrate.delta import SecondWalk, walk_again
from ..migrate.drift import Notes
from ..migrate.migrate import Migration, migration_of
from .validate import expiry_of

NEVER_ARRIVED, DELETED, ADDED, MOVED = "never_arrived", "deleted", "added", "moved"
CAUSES = {
    NEVER_ARRIVED: "never arrived",
    ADDED: "added to the source since",
    DELETED: "deleted in the target since",
    MOVED: "the source has changed its key since",
}
HOW = {DELETED: "`--repair deleted` inserts them", MOVED: "`runbook migrate --delta` moves the older copies"}
MISSING, ALL = "missing", "deleted"  # what a repair inserts: all but the deleted ones, or those as well
WANTED = {MISSING: (NEVER_ARRIVED, ADDED), ALL: (NEVER_ARRIVED, ADDED, DELETED)}


@dataclass(frozen=True)
class Repaired:
    """What a repair found missing, and what it did."""

    missing: Counter  # (entry, cause) -> items
    wanted: Collection[str]  # the causes of which items were to be inserted
    letters: Counter  # what became of them, by the letters of the journal
    migration: Migration | None = None  # 03's journal after it; None where nothing was written

    def by_cause(self, cause: str) -> int:
        """Items that are missing for a cause."""
        return sum(number for (_, why), number in self.missing.items() if why == cause)

    @property
    def inserted(self) -> int:
        """Items that were inserted, or would be."""
        return self.letters[INSERTED]

    @property
    def left_out(self) -> int:
        """Items that are missing and were not to be inserted."""
        return sum(number for (_, why), number in self.missing.items() if why not in self.wanted)

    def as_json(self) -> dict[str, Any]:
        """The figures in the report."""
        causes = {cause: number for cause in CAUSES if (number := self.by_cause(cause)) or cause != MOVED}
        tried = self.letters.total()
        return {**causes, "inserted": self.inserted, "not_inserted": tried - self.inserted, "left_out": self.left_out}

    def steps(self) -> list[str]:
        """What a repair would do."""
        steps = [
            f"{'insert' if cause in self.wanted else 'leave out'} {plural(number, 'item')} of {entry}: {CAUSES[cause]}"
            + ("" if cause in self.wanted else f" ({HOW[cause]})")
            for (entry, cause), number in sorted(self.missing.items())
        ]
        return steps or ["insert nothing: no item is missing"]

    def alerts(self) -> list[Alert]:
        """The notes on what was done; what is still missing is told by the comparison."""
        found = []
        if self.inserted:
            message = f"{plural(self.inserted, 'missing item')} inserted by the repair"
            found.append(Alert("", "", message, "Nothing to do; a rollback of 03 takes them back."))
        for cause in HOW.keys() - set(self.wanted):
            if number := self.by_cause(cause):
                message = f"{plural(number, 'missing item')} left out: {CAUSES[cause]}"
                found.append(Alert("", "", message, f"{HOW[cause]}."))
        return found


class FillIn(SecondWalk):
    """The last step of a repair: a delta's, for nothing but items that are missing. Its counts are letters of the journal."""

    missing: Counter  # (entry, cause) -> items
    wanted: Collection[str]  # causes
    unsettled: bool  # whether the journal has rows of which it does not say what became of them
    expired: Callable[[Row], bool]  # whether a time to live explains why a row is not there

    def __call__(self, routed: Routed) -> None:
        """Inserts the page's missing items. Writes to the target and the journal."""
        page = routed.page
        counted = self._plan.meter.page(page.table, len(page.items))
        met = [one for one in met_of(routed) if not one.letter]
        held = self._replacer.held([one.thing for one in met], lambda keys, items: counted.answered(items))
        there = {one.item_hash: held[self._replacer.place(one.thing)] is not None for one in met}
        absent = [one for one in met if not there[one.item_hash] and not self.expired(one.thing)]
        # What a repair that died may have inserted is not missing, and the journal does not know it yet.
        unsure = [one for one in met if there[one.item_hash]] if self.unsettled else []
        said = self._lookup.find([one.item_hash for one in (*absent, *unsure)], self._files)
        with self._lock:
            changes = [
                Change(one, found, write=True)
                for one in unsure
                if (found := said.get(one.item_hash)) and found[-1].letter == OPEN and found[-1].digest == one.digest
            ]
            copies = self._copies_there(said.get(one.item_hash, []) for one in absent)
            for one, found in zip(absent, copies, strict=True):
                cause = MOVED if any(map(is_there, found)) else cause_of(said.get(one.item_hash, []))
                self.missing[one.entry, cause] += 1
                if cause in self.wanted:
                    gone = [copy for copy in found if copy.item is None]
                    changes.append(Change(one, said.get(one.item_hash, []), vanished=gone, write=True))
            if changes:
                selected = self._selected_now(routed, [change.met for change in changes])
                self._bring(changes, selected, counted=counted)
        counted.end()
        if self._on_page:
            self._on_page(page.table, Counter(scanned=len(page.items)))

    def conclude(self) -> None:
        """What was not met is no matter of a repair."""

    def _copies_there(self, said: Iterable[list[Said]]) -> list[list[Copy]]:
        """The copies of each item that the journal knows, with what the target holds under their keys."""
        copies = [self._copies(one) for one in said]
        held = self._replacer.held(copy.row for found in copies for copy in found)
        for copy in (copy for found in copies for copy in found):
            copy.item = held[self._replacer.place(copy.row)]
        return copies

    def _tell(self, change: Change, letter: str) -> None:
        self._counts[letter] += 1


def is_there(copy: Copy) -> bool:
    """Whether the target holds the copy, edited or not."""
    return copy.item is not None and (copy.sure or copy.stands)


def cause_of(said: list[Said]) -> str:
    """Why an item is missing, by what the journal says of it. Pure."""
    settled = [one for one in said if one.letter != OPEN]
    if not settled:
        return NEVER_ARRIVED if said else ADDED
    last = settled[-1]
    was_there = last.letter == ALREADY_THERE or (last.letter == INSERTED and last.state != GONE)
    return DELETED if was_there else NEVER_ARRIVED


def repair(run: Run, plan: Plan, on_page: OnPage | None = None, *, word: str = MISSING, write: bool = True) -> Repaired:
    """Inserts what the target lacks of the plan's entries. Writes to the target and the journal of 03.

    Without `write` it only counts. `word` is MISSING or ALL. Raises Refused (nothing written) where the run has
    not finished its migration or was rolled back, Interrupted (the same command goes on).
    """
    if word not in WANTED:
        raise Refused(f"repair is {word!r}; give {MISSING!r} or {ALL!r}.")
    with run.saving(), Stage(run, "migrate") as stage:
        return _repair(stage, plan, on_page, WANTED[word], write)


def _repair(stage: Stage, plan: Plan, on_page: OnPage | None, wanted: Collection[str], write: bool) -> Repaired:
    missing, letters = Counter(), Counter()
    expiry, moment = expiry_of(plan, read_structures(plan))[0], now().timestamp()

    def expired(row: Row) -> bool:
        return has_expired(row.item, expiry.get(plan.all_routes[row.entry].entry.target), moment)

    def step(chosen: Plan, lookup: Lookup, segments: dict[str, int]) -> FillIn:
        work = FillIn(chosen, stage, lookup, segments, letters, Notes(), on_page, write=write)
        work.missing, work.wanted, work.expired = missing, wanted, expired
        work.unsettled = any(file.maybe_landed for file in lookup.files)
        return work

    walk_again(stage, plan, step, write=write, fix="resume it with runbook migrate")
    found = Repaired(missing, wanted, letters, migration_of(stage, stage.checkpoint()) if write else None)
    stage.run.logger().info("repair: %s", ", ".join(f"{number} {name}" for name, number in found.as_json().items()))
    return found
