"""03_migrate with `delta`: a second walk over the source brings the target up to date.

1. An item that the journal does not know is inserted.
2. An item that changed in the source, and whose copy is still as this run inserted it: the copy is deleted, with an undo's
   care, and the new version inserted.
3. A copy that was edited in the target stays, and so does the copy of an item that is gone from the source. Both are listed.

A pass may die anywhere: the next one reads in the journal what was done, and in the target what arrived.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from ...dynamo.items import Wire
from ...dynamo.session import Connection
from ...errors import DynamoError, Failed, Interrupted, Refused
from ...journal.intents import JournalRow
from ...journal.log import ALREADY_THERE, CONFLICT, INSERTED, KEPT_EDITED, MADE_ROOM, UNROUTED
from ...journal.lookup import ANNOUNCED, GONE, OF_NO_ENTRY, OPEN, Lookup, Said, item_hash
from ...journal.stage import Stage
from ...mapping.routes import Row
from ...run.folder import Run
from ...values import digest, key_hash
from ...walk.insert import Inserter, Instead, OnPage
from ...walk.plan import Plan
from ...walk.preread import prepare
from ...walk.walk import Routed, walk
from .. import sealed
from ..execution import check_can_write, ensure_checkpoint, resumable
from ..rollback import undo as rollback
from . import backup_gate
from .changes import Change, Copy, Met, decide, first_rows, is_quiet, met_of, routed_of
from .drift import DELETED, UNSELECTED, Drift, Notes
from .migrate import Migration, migration_of, passes_by_walk, passes_to_repeat

RESUME = "resume it first with the command without --delta"
COPIED = (INSERTED, ALREADY_THERE, OPEN)  # what the target may hold an equal item for


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

    def step(chosen: Plan, lookup: Lookup, segments: dict[str, int]) -> SecondWalk:
        return SecondWalk(chosen, stage, lookup, segments, counts, notes, on_page, write=write)

    def begin(plan: Plan) -> None:
        stage.record("delta", entries=list(plan.routes))

    def end() -> None:
        notes.write(stage.run.folder)
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
    before = check_can_write(stage.run, stage, plan)
    passes = passes_to_repeat(before, plan, fix)
    plan = plan.choose([entry for one in passes for entry in one.entries])
    plan.require_targets()
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
            for together in passes_by_walk(passes):
                chosen = plan.choose([entry for one in together for entry in one.entries])
                segments = {one.table: one.segments for one in together}
                with step(chosen, lookup, segments) as work:
                    walk(chosen, work, winners=winners, segments=segments)
                    work.conclude()
        if write:
            end()


class SecondWalk:
    """The last step of a delta, and its conclusion. A `with` block; thread-safe."""

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
        self._write, self._run_id = write, stage.run.id
        self._lock = threading.Lock()  # updates one page at a time; the page's requests run in parallel
        entries = {table: [route.entry.name for route in routes] for table, routes in plan.by_source().items()}
        self._files = {
            number
            for number, file in enumerate(lookup.files)
            if file.begin["entries"] == entries.get(file.begin["table"])
        }
        unread = dict.fromkeys(plan.target_names(), False)  # every key is read before it is written
        self._insert = Inserter(plan, stage, stage.executions(), unread, segments=segments, stop_on_failure=False)
        self._pool = ThreadPoolExecutor(plan.parameters.limits.workers, thread_name_prefix="delta")
        self._eraser: Connection | None = None

    def __enter__(self) -> "SecondWalk":
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown()
        self._insert.__exit__(*exception)

    def __call__(self, routed: Routed) -> None:
        """Brings the target up to date with one page. Writes to the target and the journal."""
        page = routed.page
        met = list(met_of(routed))
        said = self._lookup.find([one.item_hash for one in met], self._files)
        selected = self._selected_now(routed, met)
        self._lookup.see([one.item_hash for one in met])
        left = [(one, found) for one in met if not is_quiet(one, found := said.get(one.item_hash, []))]
        with self._lock:
            self._counts["looked_at"] += len(page.items)
            if left or selected:
                changes = self._changes(left)
                self._make_room(changes)
                self._settle(page.table, page.segment, changes, selected)
        if self._on_page:
            self._on_page(page.table, Counter(scanned=len(page.items)))

    def conclude(self) -> None:
        """Lists, or stops counting, the items that the journal knows and the walk did not meet. Writes to the journal."""
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
        copies = [self._copies(said) for _, said in left]
        in_conflict = [met.thing for met, said in left if not met.letter and said and said[-1].letter == CONFLICT]
        held = self._held([*(copy.row for found in copies for copy in found), *in_conflict])
        changes = []
        for (met, said), found in zip(left, copies, strict=True):
            for copy in found:
                copy.item = held[self._where(copy.row)]
            there = None if met.letter else held.get(self._where(met.thing))
            if change := decide(met, said, found, None if there is None else digest(there)):
                self._counts["changed" if said else "added"] += 1
                changes.append(change)
        return changes

    def _copies(self, said: list[Said]) -> list[Copy]:
        versions: dict[str, list[Said]] = defaultdict(list)
        for one in said:
            if one.letter in (INSERTED, OPEN) and one.state != GONE:
                versions[one.digest].append(one)
        return [Copy(self._row(found[0]), found) for found in versions.values()]

    def _held(self, rows: Iterable[Row | JournalRow]) -> dict[tuple[str, bytes], dict | None]:
        """(Target table, key hash) → what the target holds under the rows' keys."""
        keys: dict[str, dict[bytes, dict]] = defaultdict(dict)
        for row in rows:
            table, hashed = self._where(row)
            keys[table][hashed] = row.key
        return {
            (table, hashed): item
            for table, found in keys.items()
            for hashed, item in zip(found, self._plan.target.wire.get_many(table, list(found.values())), strict=True)
        }

    def _where(self, row: Row | JournalRow) -> tuple[str, bytes]:
        return self._plan.routes[row.entry].entry.target, key_hash(row.key)

    def _row(self, said: Said) -> JournalRow:
        return self._lookup.intent(said).rows[said.index]

    def _begin(self, said: Said) -> dict:
        return self._lookup.files[said.file].begin

    # bringing it to the target

    def _make_room(self, changes: list[Change]) -> None:
        """Deletes the copies that newer versions replace. A copy that turns out to be edited is kept."""
        copies = [(change, copy) for change in changes for copy in change.remove]
        gone = [copy for change in changes for copy in change.vanished]
        if not self._write:
            return
        if copies:
            wire = self._connect_eraser().wire
            wire.check_guards()
            self._record("undo", [copy for _, copy in copies])
            deleted = list(self._pool.map(lambda pair: self._delete(wire, pair[1]), copies))
            for (change, copy), done in zip(copies, deleted, strict=True):
                if done:
                    gone.append(copy)
                else:
                    change.write, change.kept = False, KEPT_EDITED
        if gone:
            self._record("undone", gone)

    def _delete(self, wire: Wire, copy: Copy) -> bool:
        try:
            return rollback.delete_unchanged(wire, self._where(copy.row)[0], copy.row, copy.item)
        except DynamoError as problem:
            if problem.code != "AccessDeniedException":
                raise
            raise Interrupted(
                f"{str(problem).rstrip('.')}; name a role that may delete as target.rollback_role_arn."
            ) from problem

    def _connect_eraser(self) -> Connection:
        """The connection for deletes, with the rollback role where one is given."""
        if self._eraser is None:
            parameters = self._plan.parameters
            role = parameters.target.rollback_role_arn
            self._eraser = rollback.connect(parameters, self._plan.limiter, self._run_id) if role else self._plan.target
        return self._eraser

    def _record(self, kind: str, copies: list[Copy]) -> None:
        """Writes undo records or their results; these do not count in a rollback's figures."""
        intents: dict[tuple[int, int], list[Said]] = defaultdict(list)
        for copy in copies:
            for one in copy.said:
                intents[one.file, one.n].append(one)
        for (_, n), said in intents.items():
            begin, rows = self._begin(said[0]), sorted(one.index for one in said)
            record = {"n": n, "execution": self._lookup.intent(said[0]).execution}
            if kind == "undo":
                record |= {"rows": rows}
            else:
                sure = sum(one.letter == INSERTED for one in said)
                record |= {
                    "rows": {str(index): MADE_ROOM for index in rows},
                    "counts": {"replaced": sure} if sure else {},
                }
            self._insert.log(begin["table"], begin["segment"]).append(kind, **record)

    def _settle(self, table: str, segment: int, changes: list[Change], selected: list[Said]) -> None:
        """Inserts the new versions, or records why there is none, in the file that knows the item. Notes all of them."""
        files: dict[tuple[str, int], tuple[list[Change], list[Instead]]] = defaultdict(lambda: ([], []))
        for change in changes:
            if not change.write:
                self._tell(change, "")
                continue
            home = self._begin(change.settled[-1]) if change.settled else {"table": table, "segment": segment}
            mine, instead = files[home["table"], home["segment"]]
            mine.append(change)
            instead += [
                _instead(change.met.entry, one) for one in change.settled if one.file == change.settled[-1].file
            ]
        for one in selected:
            begin = self._begin(one)
            files[begin["table"], begin["segment"]][1].append(_instead("", one))
        for (name, number), (mine, instead) in files.items():
            routed = routed_of(name, number, [change.met for change in mine])
            done = self._insert.again(routed, instead, first=first_rows(mine)) if self._write else ""
            letters = iter(done or INSERTED * len(routed.rows))
            for change in mine:
                self._tell(change, "" if change.met.letter else next(letters))

    def _tell(self, change: Change, letter: str) -> None:
        figure, reason = change.told(letter)
        if figure:
            self._counts[figure] += 1
        self._notes.add(change.met.entry, change.met.source_key, reason)

    # what was not met

    def _conclude(self, batch: list[Said]) -> None:
        rows = {one: self._row(one) for one in batch if one.letter in COPIED and one.state != GONE}
        held = self._held(rows.values())
        standing, vanished, nothing = [], [], [one for one in batch if one not in rows]
        for one, row in rows.items():
            item = held[self._where(row)]
            if item is not None and digest(item) == row.digest:
                standing.append(one)
            elif item is None and one.state == ANNOUNCED:
                vanished.append(one)
        sources = self._sources([*standing, *vanished, *nothing])
        for one in standing:
            if self._is_as_before(one, sources[one]) or self._is_told_elsewhere(one):
                continue
            self._counts["deleted"] += 1
            self._notes.add(*self._lookup.source_key(one), DELETED if sources[one] is None else UNSELECTED)
        if self._write and vanished:
            self._record("undone", [Copy(rows[one], [one]) for one in vanished])
        over = [
            one for one in (*vanished, *nothing) if one.letter != OPEN and not self._is_as_before(one, sources[one])
        ]
        self._withdraw(over)

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

    def _withdraw(self, said: list[Said]) -> None:
        """Stops counting items that had no copy and are gone from the source. Writes to the journal."""
        self._counts["withdrawn"] += len(said)
        files: dict[tuple[str, int], list[Instead]] = defaultdict(list)
        for one in said:
            begin = self._begin(one)
            files[begin["table"], begin["segment"]].append(_instead(self._lookup.source_key(one)[0], one))
        for (table, segment), instead in files.items() if self._write else ():
            self._insert.again(routed_of(table, segment, []), instead)


def _instead(entry: str, said: Said) -> Instead:
    return Instead(entry, said.n, said.letter, said.index)
