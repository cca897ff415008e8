"""03_migrate with `delta`: a second walk over the source brings the target up to date.

1. An item that the journal does not know is inserted.
2. An item that changed in the source, and whose copy is still as this run inserted it: the new version takes its place, as
   replace.py says. Where another item has the new key, the copy stays; if that item is a copy that moves away as well, the
   change waits for it until the walk is over.
3. A copy that was edited in the target stays, and so does the copy of an item that is gone from the source. All that stays is
   listed.

A pass may die anywhere: the next one reads in the journal what was done, and in the target what arrived.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from ...errors import DynamoError, Failed, Interrupted, Refused
from ...journal.log import ALREADY_THERE, INSERTED, UNROUTED
from ...journal.lookup import GONE, OF_NO_ENTRY, OPEN, Lookup, Said, item_hash
from ...journal.stage import Stage
from ...run.folder import Run
from ...walk.insert import OnPage
from ...walk.plan import Plan
from ...walk.preread import prepare
from ...walk.progress import PageCount
from ...walk.walk import Routed, walk
from .. import expiry, matching, sealed
from ..execution import check_can_write, ensure_checkpoint, resumable
from . import backup_gate
from .changes import Change, Copy, Met, decide, is_quiet, met_of
from .drift import DELETED, GONE_EDITED, UNSELECTED, Drift, Notes
from .migrate import Migration, migration_of, passes_by_walk, passes_to_repeat
from .replace import Place, Replacer, circles

RESUME = "resume it first with the command without --delta"
COPIED = (INSERTED, ALREADY_THERE, OPEN)  # what the target may hold an equal item for
BATCH = 100
WAITING = 4_000_000  # bytes of items, as JSON, that wait for their keys


def catch_up(
    run: Run, plan: Plan, on_page: OnPage | None = None, *, write: bool = True, accept_drift: bool = False
) -> Migration:
    """One pass over those of the plan's entries that the run has migrated. Writes to the target, the journal and `drift.jsonl`.

    Without `write` it only counts what there is to do. Raises Refused (nothing written) where the run is not finished or was
    rolled back, Interrupted (the same command resumes). Items that cannot be written stay failed; nothing is rolled back.
    """
    with run.saving(), Stage(run, "migrate") as stage:
        return _catch_up(stage, plan, on_page, write, accept_drift)


def _catch_up(stage: Stage, plan: Plan, on_page: OnPage | None, write: bool, accept_drift: bool) -> Migration:
    counts, notes = Counter(), Notes()
    plan = matching.frozen(stage.run, plan, "03_migrate")

    def step(chosen: Plan, lookup: Lookup, segments: dict[str, int]) -> SecondWalk:
        return SecondWalk(chosen, stage, lookup, segments, counts, notes, on_page, write=write)

    def begin(plan: Plan) -> None:
        stage.record("delta", entries=list(plan.routes))

    def end() -> None:
        notes.write(stage.run.folder)
        for found in matching.look_again(stage.run, expiry.as_of(stage.run, plan)).values():
            counts.update(ambiguous=found.ambiguous, match_gone=found.gone)
        stage.record("delta_end", **Drift(**counts).as_json())

    def hold(plan: Plan) -> None:
        sealed.hold(stage, plan, accepted=accept_drift)

    walk_again(stage, plan, step, write=write, hold=hold, begin=begin, end=end)
    drift = Drift(**counts)
    stage.run.logger().info("delta: %s", ", ".join(f"{number} {name}" for name, number in drift.as_json().items()))
    return migration_of(stage, stage.checkpoint(), wrote_nothing=not write, drift=drift)


def walk_again(
    stage: Stage,
    plan: Plan,
    step: Callable[[Plan, Lookup, dict[str, int]], "SecondWalk"],
    *,
    write: bool,
    fix: str = RESUME,
    hold: Callable[[Plan], object] = lambda plan: None,
    begin: Callable[[Plan], object] = lambda plan: None,
    end: Callable[[], object] = lambda: None,
) -> None:
    """Walks over what the run has migrated of the plan's entries once more, with the journal looked up.

    `step` makes the last step for some of them. Where something may be written, `hold` is called before, `begin` and `end`
    around it. `fix`: what to do first if the run has not finished. Raises as `catch_up`.
    """
    plan = matching.frozen(stage.run, plan, "03_migrate")
    before = check_can_write(stage.run, stage, plan)
    passes = passes_to_repeat(before, plan, fix)
    plan = plan.choose([entry for one in passes for entry in one.entries])
    plan.require_targets()
    plan = expiry.as_of(stage.run, plan)
    try:
        if write:
            hold(plan)
        plan, winners = prepare(plan)
        if write:
            backup_gate.ensure(stage, plan)
    except DynamoError as problem:
        raise Refused(str(problem)) from None
    with resumable(stage.run, causes=(Interrupted, Failed, DynamoError)):
        with Lookup(before) as lookup:
            if write:
                ensure_checkpoint(stage, plan)
                begin(plan)
            plan.count("comparing")
            for together in passes_by_walk(passes):
                chosen = plan.choose([entry for one in together for entry in one.entries])
                segments = {one.table: one.segments for one in together}
                with step(chosen, lookup, segments) as work:
                    walk(chosen, work, winners=winners, segments=segments, counted=True)
                    work.conclude()
        if write:
            end()


class SecondWalk:
    """The last step of a delta, and its conclusion. A `with` block; thread-safe."""

    deletes = False  # whether the copies of an item go of which there is no version to write

    def __init__(
        self,
        plan: Plan,
        stage: Stage,
        lookup: Lookup,
        segments: dict[str, int],
        counts: Counter,
        notes: Notes,
        on_page: OnPage | None,
        *,
        write: bool,
    ):
        """Adds to `counts` and `notes`. Without `write` it does nothing else."""
        self._plan, self._lookup, self._counts, self._notes, self._on_page = plan, lookup, counts, notes, on_page
        self._write = write
        self._lock = threading.Lock()  # updates one page at a time; the page's requests run in parallel
        entries = {table: [route.entry.name for route in routes] for table, routes in plan.by_source().items()}
        self._files = {
            number
            for number, file in enumerate(lookup.files)
            if file.begin["entries"] == entries.get(file.begin["table"])
        }
        self._replacer = Replacer(plan, stage, lookup, segments)
        self._waiting: list[Change] = []  # their new keys are held, perhaps by copies that move away as well
        self._room = WAITING  # bytes of items that may still wait
        self._left: set[Place] = set()  # without `write`: places of copies that would be gone by now

    def __enter__(self) -> "SecondWalk":
        if self._write:
            self._replacer.begin(self._files)
        return self

    def __exit__(self, *exception: object) -> None:
        self._replacer.close()

    def __call__(self, routed: Routed) -> None:
        """Brings the target up to date with one page. Writes to the target and the journal."""
        page = routed.page
        counted = self._plan.meter.page(page.table, len(page.items))
        met = list(met_of(routed))
        said = self._lookup.find([one.item_hash for one in met], self._files)
        selected = self._selected_now(routed, met)
        self._lookup.see([one.item_hash for one in met])
        left = [(one, found) for one in met if not is_quiet(one, found := said.get(one.item_hash, []))]
        with self._lock:
            self._counts["looked_at"] += len(page.items)
            if left or selected:
                changes = self._changes(left)
                for change in changes:
                    self._counts["changed" if change.said else "added"] += 1
                now = [change for change in changes if not self._waits(change)]
                self._bring(now, selected, counted=counted)
        counted.end()
        if self._on_page:
            self._on_page(page.table, Counter(scanned=len(page.items)))

    def conclude(self) -> None:
        """Brings what waited, then lists, or stops counting, what the journal knows and the walk did not meet.

        Writes to the target and the journal.
        """
        self._bring_waiting()
        for batch in self._lookup.unseen(self._files):
            with self._lock:
                self._conclude(batch)
            if self._on_page:
                self._on_page(self._begin(batch[0])["table"], Counter())

    # what has changed

    def _selected_now(self, routed: Routed, met: list[Met]) -> list[Said]:
        """The journal's records of items that no entry selected then, and that one selects now."""
        if not self._files & self._lookup.unrouted:
            return []
        keys = {item_hash(routed.page.table, one.source_key, OF_NO_ENTRY) for one in met if one.letter != UNROUTED}
        self._lookup.see(keys)
        return [one for found in self._lookup.find(keys, self._files).values() for one in found]

    def _changes(self, left: list[tuple[Met, list[Said]]]) -> list[Change]:
        """What to do, by what the target holds now under the keys of the copies and under the new ones."""
        copies = [self._copies(said, met) for met, said in left]
        asked = [met.thing for met, said in left if said and not met.letter]
        held = self._replacer.held([*(copy.row for found in copies for copy in found), *asked])
        held |= dict.fromkeys(held.keys() & self._left)
        changes = []
        for (met, said), found in zip(left, copies, strict=True):
            for copy in found:
                copy.item = held[self._replacer.place(copy.row)]
            there = None if met.letter else held.get(self._replacer.place(met.thing))
            if change := decide(met, said, found, there, deletes=self.deletes):
                changes.append(change)
        return changes

    def _copies(self, said: list[Said], met: Met | None = None) -> list[Copy]:
        versions: dict[str, list[Said]] = defaultdict(list)
        for one in said:
            if one.letter in (INSERTED, OPEN) and one.state != GONE:
                versions[one.digest].append(one)
        return [Copy(self._replacer.row(found[0], met), found) for found in versions.values()]

    def _begin(self, said: Said) -> dict:
        return self._lookup.files[said.file].begin

    # bringing it to the target

    def _waits(self, change: Change) -> bool:
        """Whether the change is put off until the walk is over. Beyond the room for it, it waits for the next delta."""
        if change.blocked and self._room > 0:
            self._room -= len(change.met.thing.raw)
            self._waiting.append(change)
            return True
        return False

    def _bring(
        self,
        changes: list[Change],
        selected: Sequence[Said] = (),
        *,
        room: bool = False,
        counted: PageCount | None = None,
    ) -> None:
        """Brings changes to the target, as Replacer does, and tells all of them; `counted` hears of each request."""
        if self._write:
            self._replacer.answered = counted.answered if counted else lambda rows: None
            letters = self._replacer.bring(changes, selected, room=room)
        else:
            letters = [INSERTED if change.write and not change.met.letter else "" for change in changes]
            self._left |= {self._replacer.place(copy.row) for copy in moved(changes)}
        for change, letter in zip(changes, letters, strict=True):
            self._tell(change, letter)

    def _bring_waiting(self) -> None:
        """Brings the changes whose keys are free by now, then those that wait for these, then those that wait in a circle."""
        wait: dict[Place, Change] = {}
        queue, self._waiting = self._waiting, []
        while queue:
            free: list[Place] = []
            for at in range(0, len(queue), BATCH):
                changes = self._changes([(change.met, change.said) for change in queue[at : at + BATCH]])
                now = []
                for change in changes:
                    place = self._replacer.place(change.met.thing)
                    if change.blocked and place not in wait:
                        wait[place] = change
                    else:
                        now.append(change)
                self._bring(now)
                free += [self._replacer.place(copy.row) for copy in moved(now)]
            queue = [wait.pop(place) for place in free if place in wait]
        for circle in circles(wait, self._replacer.place):
            for change in circle:
                del wait[self._replacer.place(change.met.thing)]
                change.kept, change.write = "", True
            self._bring(circle, room=True)
        self._bring(list(wait.values()))

    def _tell(self, change: Change, letter: str) -> None:
        figure, reason = change.told(letter)
        if figure:
            self._counts[figure] += 1
        self._notes.add(change.met.entry, change.met.source_key, reason)

    # what was not met

    def _conclude(self, batch: list[Said]) -> None:
        rows = {one: self._replacer.row(one) for one in batch if one.letter in COPIED and one.state != GONE}
        held = self._replacer.held(rows.values())
        standing, edited, nothing = [], [], [one for one in batch if one not in rows]
        for one, row in rows.items():
            copy = Copy(row, [one], held[self._replacer.place(row)])
            if copy.stands:
                standing.append(one)
            elif copy.vanished:  # known only where nothing is written
                nothing.append(one)
            elif copy.sure and copy.item is not None:
                edited.append(one)
        sources = self._sources([*standing, *edited, *nothing])
        for one in standing:
            if self._is_as_before(one, sources[one]) or self._is_told_elsewhere(one):
                continue
            self._counts["deleted"] += 1
            self._notes.add(*self._lookup.source_key(one), DELETED if sources[one] is None else UNSELECTED)
        for one in edited:
            if not self._is_as_before(one, sources[one]):
                self._notes.add(*self._lookup.source_key(one), GONE_EDITED)
        over = [one for one in nothing if one.letter != OPEN and not self._is_as_before(one, sources[one])]
        self._counts["withdrawn"] += len(over)
        if self._write:
            self._replacer.withdraw(over)

    def _sources(self, said: list[Said]) -> dict[Said, dict | None]:
        """The source items, read once more: an item may have appeared after the walk passed."""
        tables: dict[str, list[Said]] = defaultdict(list)
        for one in said:
            tables[self._begin(one)["table"]].append(one)
        return {
            one: item
            for table, found in tables.items()
            for one, item in zip(
                found,
                self._plan.source.wire.get_many(table, [self._lookup.source_key(one)[1] for one in found]),
                strict=True,
            )
        }

    def _is_as_before(self, said: Said, item: dict | None) -> bool:
        """Whether the source item exists, and is selected or not as before."""
        if item is None:
            return False
        table, entry = self._begin(said)["table"], self._lookup.source_key(said)[0]
        if said.letter == UNROUTED:
            return not any(
                route.selects(item) for route in self._plan.all_routes.values() if route.entry.source == table
            )
        return self._plan.routes[entry].selects(item)

    def _is_told_elsewhere(self, said: Said) -> bool:
        """For an open row: whether another intent claims the same version."""
        if said.letter != OPEN:
            return False
        source = item_hash(*self._lookup.source_key(said))
        others = [one for one in self._lookup.find([source])[source] if one.digest == said.digest and one.state != GONE]
        return any(one.letter == INSERTED for one in others) or others[0] != said


def moved(changes: Iterable[Change]) -> list[Copy]:
    """The copies whose new versions have other keys, where they are not kept."""
    return [copy for change in changes if not change.kept for copy in change.remove if not change.keeps_key(copy)]
