"""03_migrate with `follow`: after the walk the target goes on to be what the source is, until somebody ends it.

1. The position of every source table's stream is noted.
2. The walk, as without `follow`. What changes meanwhile is in the streams.
3. A table whose changes no noted position covers is walked again, with the rules of a delta: one that was migrated before its
   positions were noted, or whose position is lost. New positions are noted first.
4. What the streams hold is applied, table by table, again and again. A position is noted behind its effect.

It may die anywhere: the same command goes on from the last position.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

from ...dynamo.streams.positions import Positions
from ...dynamo.streams.stream import open_stream
from ...errors import DynamoError, Failed, Interrupted, Refused
from ...journal.log import CONFLICT
from ...journal.lookup import Lookup
from ...journal.snapshot import ended
from ...journal.stage import Stage
from ...run.folder import Run, iso, now
from ...walk import control
from ...walk.insert import OnPage
from ...walk.plan import Plan
from .. import expiry, matching, sealed
from ..execution import BY_HAND, resumable, resume_hint
from ..migrate.delta import SecondWalk, walk_again
from ..migrate.drift import DELETED, UNSELECTED
from ..migrate.followed import Followed, TableFollowed
from ..migrate.migrate import Migration, migrate_in, migration_of, passes_to_repeat
from .apply import Follower
from .aside import Aside
from .compare import compare
from .gate import Compared, Cutover, Gate
from .journal import LINES, Drifted, TableJournal, begin
from .keeper import Keeper
from .streams import Streams
from .table import FollowedTable, TableState, progress_of

LIST = 30.0  # seconds between two versions of `drift.jsonl`
IDLE = 1.0  # seconds at most between two looks at streams that hold nothing
SIDE_BY_SIDE = 32  # tables at most
FIX = "resume it first with the same command"
Hook = Callable[
    [Mapping[str, TableState]], Any
]  # asked once a round: None goes on, anything else ends it with this result
STOPPED = "stop was requested; what was read is applied."
OPEN_FIGURES = {"kept_edited", "outdated", "conflicts", "failed"}  # of a delta: what is left for somebody to decide


def goes_on(states: Mapping[str, TableState]) -> None:
    """The hook of who follows until somebody stops it."""


def follow(
    run: Run,
    plan: Plan,
    on_page: OnPage | None = None,
    *,
    accept_drift: bool = False,
    hook: Hook = goes_on,
) -> Migration:
    """Migrates the plan's entries as `migrate` does, then applies what their source tables' streams hold.

    Ends where `hook` gives a result, or where somebody stops it: then `followed.stopped` says so. Writes to the target, to the
    journals of `migrate` and `follow`, and `drift.jsonl`. Raises Refused (nothing written to the target) where a table has no
    stream that can be followed, or the routes ask which items exist; Interrupted (the same command goes on).
    """
    with run.saving(), Stage(run, "migrate") as stage, Aside() as aside, ExitStack() as stack:
        plan.require_targets()
        _require_routes(plan)
        streams = _open_streams(plan)
        plan = matching.frozen(run, plan, "03_migrate")
        stage.check_identity(plan.identity)
        begin(run, plan.identity, list(plan.routes))
        journals = {
            table: stack.enter_context(TableJournal(run, table, plan.identity, aside.settle)) for table in streams
        }
        return _Following(stage, plan, on_page, accept_drift, hook, streams, journals, aside).follow()


def planned(run: Run, plan: Plan) -> list[str]:
    """What following would do, as sentences. Reads the streams' descriptions. Raises Refused as `follow`."""
    plan.require_targets()
    _require_routes(plan)
    streams = _open_streams(plan)
    return [
        *(f"insert {name} from {route.entry.source} into {route.entry.target}" for name, route in plan.routes.items()),
        *(f"apply what changes in {table}, from before the walk on, until it is stopped" for table in streams),
    ]


def _require_routes(plan: Plan) -> None:
    for route in plan.routes.values():
        if asking := sorted(route.entry.asking()):
            raise Refused(
                f"{route.entry.name}: what becomes of {asking[0]} depends on which items exist (`dangling`, or several entries "
                "in `to`), and --follow cannot keep that right while items come and go; use --delta, or `dangling: map`."
            )


def _open_streams(plan: Plan) -> Streams:
    try:
        return Streams(partial(open_stream, plan.source), plan.by_source())
    except DynamoError as problem:
        raise Refused(str(problem)) from None


class _Following:
    """One command."""

    def __init__(
        self,
        stage: Stage,
        plan: Plan,
        on_page: OnPage | None,
        accept_drift: bool,
        hook: Hook,
        streams: Streams,
        journals: Mapping[str, TableJournal],
        aside: Aside,
    ):
        self._stage, self._run, self._plan, self._on_page = stage, stage.run, plan, on_page
        self._accept_drift, self._hook = accept_drift, hook
        self._gate: Gate | None = None
        self._streams, self._journals, self._aside = streams, journals, aside
        self._listed = time.monotonic()  # when `drift.jsonl` was looked at
        self._followed = False  # whether the stage's journal says so

    def follow(self) -> Migration:
        """Steps 1 to 4."""
        young = self._note()
        walked = set(self._plan.routes) <= ended(self._stage.events())
        with nullcontext() if walked else Keeper(self._run, self._streams, self._journals, young=young):
            migration = migrate_in(self._stage, self._plan, self._on_page, accept_drift=self._accept_drift)
        if migration.failure:
            return migration
        # Matches, and the moment as of which items expire, are frozen by now.
        self._plan = expiry.as_of(self._run, matching.frozen(self._run, self._plan, "03_migrate"))
        result, stopped = None, None
        while result is None and stopped is None:
            self._walk_owed()
            with resumable(self._run, causes=(Interrupted, Failed, DynamoError)):
                result, stopped = self._session()
        self._aside.write(self._run.folder)
        if stopped is None:
            self._stage.record("follow_end")
        cutover = result.as_json() if isinstance(result, Cutover) else None
        followed = Followed(self._figures(), iso(now()), result, stopped, cutover, *self._doubles(cutover))
        return migration_of(self._stage, self._stage.checkpoint(), followed=followed)

    def _doubles(self, cutover: dict[str, Any] | None) -> tuple[int, int]:
        """Source items that are in the target twice, and matches that no longer hold: looked for once the gate is open.

        It reads whole tables, and nobody waits for it then. What cannot be read keeps no cut-over back: the log says so.
        """
        found: list[matching.Again] = []
        if cutover:
            try:
                found = list(matching.look_again(self._run, self._plan).values())
            except (DynamoError, Interrupted) as problem:
                self._run.logger().warning("the target was not searched once more for matches: %s", problem)
        return sum(one.ambiguous for one in found), sum(one.gone for one in found)

    # positions

    def _note(self) -> bool:
        """Notes positions for the entries for which none are; whether all of them were noted just now."""
        begun = {entry for event in self._stage.events("execution") for entry in event["entries"]}
        noted = 0
        try:
            for table, routes in self._plan.by_source().items():
                journal, names = self._journals[table], [route.entry.name for route in routes]
                if left := sorted(set(journal.entries) - set(names)):
                    raise Refused(
                        f"this run follows {', '.join(left)} of {table}, too; name all of them with --tables."
                    )
                new = set(names) - set(journal.entries)
                if journal.noted and new:  # the older positions count for all: what they give again has no effect
                    journal.note(Positions.from_json(journal.positions), names, owes=bool(new & begun))
                elif not journal.noted:
                    journal.note(self._streams[table].positions_now(), names, owes=bool(new & begun))
                    noted += 1
        except DynamoError as problem:
            raise Refused(str(problem)) from None
        return noted == len(self._journals)

    # walks

    def _walk_owed(self) -> None:
        """Walks over the tables that owe it, with the rules of a delta, until none does: a position may be lost meanwhile."""
        while tables := [table for table, journal in self._journals.items() if journal.owes]:
            self._walk(tables)

    def _walk(self, tables: list[str]) -> None:
        entries = [route.entry.name for table in tables for route in self._plan.by_source()[table]]
        figures: dict[str, Counter] = {table: Counter() for table in tables}
        notes = _Notes(self._plan, self._journals, figures)

        def step(chosen: Plan, lookup: Lookup, segments: dict[str, int]) -> "_Again":
            work = _Again(chosen, self._stage, lookup, segments, Counter(), notes, self._on_page, write=True)
            work.figures = figures
            return work

        def hold(plan: Plan) -> None:
            sealed.hold(self._stage, plan, accepted=self._accept_drift)

        owed = {table: len(self._journals[table].walked_again) for table in tables}
        with Keeper(self._run, self._streams, self._journals):
            walk_again(self._stage, self._plan.choose(entries), step, write=True, fix=FIX, hold=hold, end=notes.flush)
        for table in tables:
            self._journals[table].walked(figures[table], owed[table])

    # the loop

    def _session(self) -> tuple[Any, Interrupted | None]:
        """Follows until it ends, or a table owes a walk: the result, or what stopped it; neither for such a table."""
        passes = passes_to_repeat(self._stage.read(), self._plan, FIX)
        if not self._followed:
            self._stage.record("follow", entries=list(self._plan.routes))
            self._followed = True
        with Lookup(self._stage.read()) as lookup, ExitStack() as stack:
            tables = []
            for name, journal in self._journals.items():
                followers = [
                    Follower(self._plan.choose(one.entries), self._stage, lookup, {one.table: one.segments})
                    for one in passes
                    if one.table == name
                ]
                table = FollowedTable(self._streams, journal, followers, self._aside)
                tables.append(stack.enter_context(table))
            self._gate = Gate(self._run, lambda: self._compare(tables))
            with self._plan.meter.following(lambda: progress_of(tables)):
                return self._loop(tables)

    def _compare(self, tables: list[FollowedTable]) -> Compared:
        """The comparison of everything that was touched. Reads both sides."""
        self._plan.meter.do("comparing what was touched once more")
        followers = {table.name: table.followers for table in tables}
        workers = self._plan.parameters.limits.workers

        def note(table: str, drifted: list[Drifted]) -> None:
            self._journals[table].left_alone(drifted)

        try:
            return compare(self._run, followers, self._aside, workers, note, lambda: control.check(self._run, STOPPED))
        finally:
            self._aside.write(self._run.folder)  # the answer names it
            self._plan.meter.do("")

    def _loop(self, tables: list[FollowedTable]) -> tuple[Any, Interrupted | None]:
        with ThreadPoolExecutor(min(SIDE_BY_SIDE, len(tables)), thread_name_prefix="follow") as pool:
            try:
                while not any(table.lost for table in tables):
                    with self._ending(futures := [pool.submit(table.work) for table in tables]):
                        wait(futures)
                    done = [future.result() for future in futures]
                    if (result := self._hook({table.name: table.state() for table in tables})) is not None:
                        return result, None
                    if (opened := self._gate([table.standing() for table in tables])) is not None:
                        return opened, None
                    self._plan.meter.do(self._gate.doing)
                    control.check(self._run, STOPPED)
                    if self._on_page:
                        self._on_page("", Counter())
                    if time.monotonic() - self._listed >= LIST:
                        self._aside.write(self._run.folder)
                        self._listed = time.monotonic()
                    pause = min(table.wait for table in tables)
                    threading.Event().wait(min(IDLE, pause) if any(done) else IDLE)
            except KeyboardInterrupt:
                return None, Interrupted(BY_HAND, resume_hint(self._run))
            except Interrupted:
                if not control.is_requested(self._run):
                    raise
                return None, Interrupted(STOPPED, resume_hint(self._run))
        return None, None

    @contextmanager
    def _ending(self, futures: list) -> Iterator[None]:
        try:
            yield
        finally:  # Ctrl-C here: what is under way is finished
            with self._plan.limiter.ending():
                wait(futures)

    def _figures(self) -> dict[str, TableFollowed]:
        found = {}
        for name, journal in self._journals.items():
            counts = {key: journal.counts[key] for key in ("records", "inserted", "replaced", "deleted")}
            drifted = self._aside.drifted(name)
            found[name] = TableFollowed(journal.since, **counts, drifted=drifted, walked_again=journal.walked_again)
        return found


class _Again(SecondWalk):
    """The walk that a table owes: a delta's, whose list is that of following."""

    figures: dict[str, Counter]  # by source table

    def _tell(self, change: Any, letter: str) -> None:
        figure, reason = change.told(letter)
        if figure:
            self.figures[change.met.home[0]][figure] += 1
        if figure in OPEN_FIGURES or letter == CONFLICT:
            self._notes.add(change.met.entry, change.met.source_key, reason)


class _Notes:
    """What a walk leaves alone, for the journals of following."""

    def __init__(self, plan: Plan, journals: Mapping[str, TableJournal], figures: Mapping[str, Counter]):
        self._tables = {name: route.entry.source for name, route in plan.all_routes.items()}
        self._journals, self._figures = journals, figures
        self._lines: dict[str, list[Drifted]] = {table: [] for table in figures}

    def add(self, entry: str, key: dict, reason: str) -> None:
        """Notes one item by its source key."""
        table = self._tables[entry]
        self._figures[table]["deleted"] += reason in (DELETED, UNSELECTED)
        self._lines[table].append(Drifted(entry, key, reason))
        if len(self._lines[table]) >= LINES:
            self._flush(table)

    def flush(self) -> None:
        """Notes what is left."""
        for table in self._lines:
            self._flush(table)

    def _flush(self, table: str) -> None:
        if lines := self._lines[table]:
            self._journals[table].left_alone(lines)
            self._lines[table] = []
