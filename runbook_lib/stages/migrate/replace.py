"""How a second walk writes: the new version of an item comes first, then its older copy goes.

1. The new version is inserted, never overwriting. Where another item has its key, or DynamoDB refuses it, the older copy
   stays, and the journal says of the item what it said before.
2. The older copy is deleted, with an undo's care. One that was edited meanwhile stays.
3. The journal stops counting the older copy.

So the target holds the item all the time, wherever the process ends; until step 3 the journal claims both copies, and a
rollback deletes both. A copy under the very key of the new version has to go first, as an insert never overwrites, and so
have those of items that hold each other's keys in a circle. Where the new version is refused then, the copy is inserted again.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import NamedTuple

import orjson

from ...dynamo.items import Looked, Wire, unheard
from ...errors import DynamoError, Interrupted
from ...journal.intents import JournalRow, restored
from ...journal.log import ALREADY_THERE, CONFLICT, FAILED, INSERTED, KEPT_EDITED, MADE_ROOM, kind_of
from ...journal.lookup import OPEN, Lookup, Said
from ...journal.stage import Stage
from ...mapping.routes import Row
from ...values import key_hash
from ...walk.insert import Answered, Inserter, Instead
from ...walk.plan import Plan
from ..rollback.disclaim import disclaim
from ..rollback.undo import connect, delete_unchanged
from .changes import HELD, UNWRITTEN, Change, Copy, Home, Met, first_rows, routed_of

EMPTY: Mapping = MappingProxyType({})
Place = tuple[str, bytes]  # a target table, and the hash of a key


class _Refused(NamedTuple):
    """A new version that was not inserted."""

    change: Change
    row: Instead  # what the journal says of it
    reason: str


class Replacer:
    """Brings changed items to the target, one batch at a time. A batch's requests run in parallel."""

    def __init__(self, plan: Plan, stage: Stage, lookup: Lookup, segments: dict[str, int]):
        """Writes nothing yet."""
        self._plan, self._stage, self._lookup = plan, stage, lookup
        unread = dict.fromkeys(plan.target_names(), False)  # every key is read before it is written
        self._insert = Inserter(plan, stage, stage.executions(), unread, segments=segments, stop_on_failure=False)
        self._pool = ThreadPoolExecutor(plan.parameters.limits.workers, thread_name_prefix="delta")
        self._eraser: Wire | None = None
        self.answered: Answered = lambda rows: None  # hears of each request that inserts

    def close(self) -> None:
        """Ends the threads and closes the journal files."""
        self._pool.shutdown()
        self._insert.__exit__()

    def place(self, row: Row | JournalRow) -> Place:
        """Where the row's item stands in the target."""
        return self._plan.routes[row.entry].entry.target, key_hash(row.key)

    def held(self, rows: Iterable[Row | JournalRow], answered: Looked = unheard) -> dict[Place, dict | None]:
        """What the target holds at the rows' places now. Consistent reads; `answered`: see `Wire.get_many`."""
        keys: dict[str, dict[bytes, dict]] = defaultdict(dict)
        for row in rows:
            table, hashed = self.place(row)
            keys[table][hashed] = row.key
        get_many = self._plan.target.wire.get_many
        return {
            (table, hashed): item
            for table, found in keys.items()
            for hashed, item in zip(found, get_many(table, list(found.values()), answered), strict=True)
        }

    def row(self, said: Said, met: Met | None = None) -> JournalRow:
        """The row that the journal speaks of; faster where its item is known."""
        if met is not None:
            return self._lookup.row(said, met.entry, met.source_key)
        return self._lookup.intent(said).rows[said.index]

    def begin(self, files: Collection[int]) -> None:
        """Records what became of what was cut off, before anything takes its place: an earlier pass's deletes, and `disclaim`."""
        disclaim(self._stage, self._plan)
        for batch in self._lookup.announced(files):
            rows = {one: self.row(one) for one in batch}
            held = self.held(rows.values())
            gone = [one for one, row in rows.items() if held[self.place(row)] is None]
            self._record("undone", gone)
            self._lookup.forget(gone)

    def bring(self, changes: list[Change], selected: Sequence[Said], *, room: bool = False) -> list[str]:
        """Brings changes to the target. Writes to the target and the journal. A letter for each change's row, "" without one.

        `selected` is what the journal says of items that no entry selected and one does now. With `room` all older copies go
        first. Notes in the changes what was kept instead.
        """
        self._record("undone", [one for change in changes for copy in change.vanished for one in copy.said])
        first, later = [], []
        for change in changes:
            for copy in () if change.kept else change.remove:
                (first if room or change.keeps_key(copy) else later).append((change, copy))
        for change, _ in self._delete(first):
            change.write, change.kept = False, KEPT_EDITED
        letters = self._write(changes, selected, {id(copy) for _, copy in later})
        arrived = ("", INSERTED, ALREADY_THERE)
        later = [(change, copy) for change, copy in later if not change.kept and letters[id(change)] in arrived]
        for change, _ in self._delete(later):
            change.beside = True
        over = [*(copy for _, copy in later), *(copy for change in changes for copy in change.abandoned)]
        entries = {one: change.met.entry for change in changes for one in change.said}
        self.withdraw(
            [one for copy in over for one in copy.said if one.letter != OPEN]
            + [one for change in changes if not change.write for one in change.strays()],
            entries,
        )
        return list(letters.values())

    def withdraw(self, said: Iterable[Said], entries: Mapping[Said, str] = EMPTY) -> None:
        """Stops counting what is said of items; `entries` says whose they are, as far as that is known. Writes to the journal."""
        files: dict[Home, dict[Said, Instead]] = defaultdict(dict)
        for one in said:
            entry = entries.get(one) or self._lookup.source_key(one)[0]
            files[self._home(one)][one] = Instead(entry, one.n, one.letter, one.index)
        for home, instead in files.items():
            self._insert.again(routed_of(*home, []), list(instead.values()))

    def _home(self, said: Said) -> Home:
        begin = self._lookup.files[said.file].begin
        return begin["table"], begin["segment"]

    # deletes

    def _delete(self, copies: list[tuple[Change, Copy]]) -> list[tuple[Change, Copy]]:
        """Deletes copies, and returns those that were edited meanwhile, and stay. Writes to the target and the journal."""
        if not copies:
            return []
        wire = self._connect_eraser()
        wire.check_guards()

        def delete(pair: tuple[Change, Copy]) -> bool:
            _, copy = pair
            return delete_unchanged(wire, self.place(copy.row)[0], copy.row, copy.item)

        self._record("undo", [one for _, copy in copies for one in copy.said])
        try:
            done = list(self._pool.map(delete, copies))
        except DynamoError as problem:
            if not problem.denied:
                raise
            raise Interrupted(
                f"{str(problem).rstrip('.')}; name a role that may delete as target.rollback_role_arn."
            ) from problem
        self._record("undone", [one for (_, copy), gone in zip(copies, done, strict=True) if gone for one in copy.said])
        return [pair for pair, gone in zip(copies, done, strict=True) if not gone]

    def _connect_eraser(self) -> Wire:
        """What deletes: the target, with the rollback role where one is given."""
        if self._eraser is None:
            parameters = self._plan.parameters
            role = parameters.target.rollback_role_arn
            target = connect(parameters, self._plan.limiter, self._stage.run.id) if role else self._plan.target
            self._eraser = target.wire
        return self._eraser

    def _record(self, kind: str, said: list[Said]) -> None:
        """Writes undo records or their results; these do not count in a rollback's figures."""
        intents: dict[tuple[int, int], list[Said]] = defaultdict(list)
        for one in said:
            intents[one.file, one.n].append(one)
        for (_, n), some in intents.items():
            rows = sorted(one.index for one in some)
            record = {"n": n, "execution": self._lookup.execution(some[0])}
            if kind == "undo":
                record |= {"rows": rows}
            else:
                sure = sum(one.letter == INSERTED for one in some)
                record |= {
                    "rows": {str(index): MADE_ROOM for index in rows},
                    "counts": {"replaced": sure} if sure else {},
                }
            self._insert.log(*self._home(some[0])).append(kind, **record)

    # inserts

    def _write(self, changes: list[Change], selected: Sequence[Said], stay: set[int]) -> dict[int, str]:
        """Inserts the new versions, or records why there is none, in the file that knows the item. Letters by change (by id).

        `stay` are the copies (by id) of which the journal says the same as before.
        """
        letters = dict.fromkeys(map(id, changes), "")
        files: dict[Home, tuple[list[Change], list[Instead]]] = defaultdict(lambda: ([], []))
        for change in changes:
            if not change.write:
                continue
            last = change.said[-1:] if not change.settled else change.settled[-1:]
            mine, instead = files[self._home(last[0]) if last else change.met.home]
            mine.append(change)
            staying = {one for copy in change.remove if id(copy) in stay for one in copy.said}
            said = [one for one in change.settled if one.file == last[0].file and one not in staying]
            instead += [Instead(change.met.entry, one.n, one.letter, one.index) for one in said]
        for one in selected:
            files[self._home(one)][1].append(Instead("", one.n, one.letter, one.index))
        for at, (mine, instead) in files.items():
            with_row = [change for change in mine if not change.met.letter]
            refused = self._again(at, mine, with_row, instead, letters)
            if refused:
                self._take_back(at, refused, stay)
        return letters

    def _again(
        self, home: Home, changes: list[Change], with_row: list[Change], instead: list[Instead], letters: dict[int, str]
    ) -> list[_Refused]:
        """Inserts; fills in the letters, and returns what was not inserted although an older copy is at stake."""
        log = self._insert.log(*home)
        end = log.stat().st_size
        found = self._insert.again(
            routed_of(*home, [change.met for change in changes]),
            instead,
            first=first_rows(changes),
            answered=self.answered,
        )
        letters |= {id(change): letter for change, letter in zip(with_row, found, strict=True)}
        at_stake = [
            index for index, letter in enumerate(found) if letter in (CONFLICT, FAILED) and with_row[index].remove
        ]
        if not at_stake:
            return []
        reader = log.reader()
        reader.seek(end)
        bodies = [line.rstrip(b"\n").partition(b" ")[2] for line in reader]
        outcome = next(orjson.loads(body) for body in bodies if kind_of(body) == "outcome")
        return [
            _Refused(
                with_row[index],
                Instead(with_row[index].met.entry, outcome["n"], found[index], index),
                outcome["errors"].get(str(index), ""),
            )
            for index in at_stake
        ]

    def _take_back(self, home: Home, refused: list[_Refused], stay: set[int]) -> None:
        """Lets older copies stand whose new versions were refused; inserts those that were deleted, where their keys are free."""
        deleted = {one.row: [copy for copy in one.change.remove if id(copy) not in stay] for one in refused}
        held = self.held(copy.row for copies in deleted.values() for copy in copies)
        instead, again = [], []
        for one in refused:
            free = [copy for copy in deleted[one.row] if held[self.place(copy.row)] is None]
            if deleted[one.row] and not free:  # what the journal says of the new version stays
                continue
            again += [(one, copy) for copy in free[:1]]
            # Of a copy that only an open intent speaks of, the journal has no other word.
            instead += [one.row] if free or one.change.counted else []
            one.change.kept, one.change.reason = HELD if one.row.letter == CONFLICT else UNWRITTEN, one.reason
        if instead:
            routed = routed_of(
                *home, [one.change.met._replace(thing=restored(copy.row, copy.item)) for one, copy in again]
            )
            done = self._insert.again(routed, instead)
            for (one, _), letter in zip(again, done, strict=True):
                if letter not in (INSERTED, ALREADY_THERE):  # somebody was faster
                    one.change.kept = ""


def circles(waiting: dict[Place, Change], place: Callable[[JournalRow], Place]) -> list[list[Change]]:
    """The changes that hold each other's places in a circle, each circle once. Pure.

    `waiting` has them by the place that each one waits for.
    """
    holder = {place(copy.row): change for change in waiting.values() for copy in change.remove}
    found, seen = [], set()
    for change in waiting.values():
        way: list[Change] = []
        one: Change | None = change
        while one is not None and id(one) not in seen:
            seen.add(id(one))
            way.append(one)
            one = holder.get(place(one.met.thing))
        if one in way:
            found.append(way[way.index(one) :])
    return found
