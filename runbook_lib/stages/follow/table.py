"""One source table that is followed: reads its stream, applies it, and notes how far it is. One batch at a time."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from ...dynamo.streams.positions import Positions
from ...dynamo.streams.reader import Batch, Newest, StreamReader
from ...errors import PositionLost
from ...run.progress_file import TableFollowing
from ...values import key_hash
from .apply import Applied, Follower
from .aside import Aside
from .gate import Standing
from .journal import Drifted, TableJournal
from .streams import Streams


@dataclass(frozen=True)
class TableState:
    """How far one table is: what a hook decides by."""

    progress: TableFollowing
    newest: Newest | None  # the newest record that was read since this execution began
    caught_up: bool  # the stream holds nothing that is not applied, as far as the last read tells
    owes: bool  # its position was lost: it is to be walked again


class FollowedTable:
    """Follows one table. For one thread at a time, but for `state` and `progress`. A `with` block."""

    def __init__(self, streams: Streams, journal: TableJournal, followers: Sequence[Follower], aside: Aside):
        """Reads nothing yet."""
        self.name, self.wait, self.lost = journal.table, 0.0, False
        self._streams, self._journal, self.followers, self._aside = streams, journal, followers, aside
        self._in_hand, self._batch = 0, Batch([], Positions.from_json(journal.positions), 0, None, False, 0.0)
        self._waits_since: float | None = (
            None  # when the oldest change was made that may not be applied, as far as was read
        )
        self._open = ExitStack()
        self._reader: StreamReader | None = None
        self._began = time.monotonic()  # the reader's clock

    def __enter__(self) -> "FollowedTable":
        with ExitStack() as opening:
            for follower in self.followers:
                opening.enter_context(follower)
                self._aside.wait(follower.waiting(), due=True)
            self._aside.look_again(self.name)
            self._open = opening.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()

    def work(self) -> bool:
        """Whether there was anything to do: keys that wait, one batch of the stream, or keys that became free.

        Writes to the target and to both journals. Notes a position that is lost, and where to read from after the walk.
        """
        for keys, newest in self._journal.waiting():
            self._in_hand = len(keys)
            applied = self._apply(keys, {})
            self._note(applied, keys, len(keys), newest=newest, waited=1)
            return True
        try:
            return self._follow()
        except PositionLost:
            self._streams.note_again(self._journal)
            self.lost = True
            return True

    def _follow(self) -> bool:
        if self._reader is None:
            self._reader = self._open.enter_context(
                StreamReader(self._streams[self.name], Positions.from_json(self._journal.positions))
            )
        self._batch = batch = self._reader.read()
        self.wait, self._in_hand = batch.wait, len(batch.records)
        if batch.records or batch.caught_up:
            self._waits_since = min((record.at for record in batch.records), default=None)
        last = {key_hash(record.key): record for record in batch.records}
        if last:
            keys = [record.key for record in last.values()]
            applied = self._apply(keys, {hashed: record.image for hashed, record in last.items()})
            newest = max(record.at for record in batch.records)
            self._note(applied, keys, len(batch.records), newest=newest, positions=batch.positions)
            self._waits_since = newest
        elif self._journal.has_moved(batch.positions):
            self._journal.applied((), {}, (), positions=batch.positions)
        return self._look_again() or bool(last)

    def _look_again(self) -> bool:
        """Whether there were items whose keys may be free by now, or that were left alone when this execution began."""
        due = self._aside.due(self.name)
        if due:
            before = self._aside.among(self.name, due)
            applied = self._apply(due, {})
            known = {key_hash(one["key"]) for one in before}
            # Conflicts of the walk are listed elsewhere, as long as the stream does not name their items.
            applied.drifted = [one for one in applied.drifted if key_hash(one.key) in known]
            told = {key_hash(one.key) for one in applied.drifted}
            wrong = [one for follower in self.followers for one in follower.wrong([one["key"] for one in before], told)]
            applied.drifted += [Drifted(one.entry, one.key, one.why) for one in wrong if one.why]
            if applied.counts or {(one["table"], one["reason"]) for one in before} != {
                (one.entry, one.reason) for one in applied.drifted
            }:
                self._note(applied, due, 0)
        return bool(due)

    def _apply(self, keys: Sequence[dict], images: dict[bytes, dict | None]) -> Applied:
        done = Applied()
        for follower in self.followers:
            part = follower.apply(keys, images)
            done.counts.update(part.counts)
            done.drifted += part.drifted
            done.freed += part.freed
            done.waiting += part.waiting
        self._aside.wait(done.waiting)
        self._aside.free(done.freed)
        return done

    def _note(self, applied: Applied, keys: Sequence[dict], records: int, **how: object) -> None:
        counts = {"records": records, **applied.counts}
        self._journal.applied(keys, counts, applied.drifted, **how)
        self._in_hand = 0

    def state(self, clock: Callable[[], float] = time.time) -> TableState:
        """How far the table is now."""
        batch = self._batch
        caught_up = batch.caught_up and not (self._in_hand or self._journal.waits)
        return TableState(self.progress(clock), batch.newest, caught_up, self.lost)

    def standing(self) -> Standing:
        """How far the table is now, for the gate."""
        batch, waits = self._batch, bool(self._in_hand) or self._journal.waits
        received = self._began if batch.newest is None else batch.newest.received
        return Standing(self.name, 0 if self.lost else batch.quiet, time.monotonic() - received, waits)

    def progress(self, clock: Callable[[], float] = time.time) -> TableFollowing:
        """How far the table is, as it is shown."""
        batch, since = self._batch, self._waits_since
        is_behind = since is not None and (self._in_hand or not batch.caught_up)
        behind = max(0.0, clock() - since) if is_behind else 0.0
        counts, drifted = self._journal.counts, self._aside.drifted(self.name)
        return TableFollowing(self.name, behind, self._in_hand, counts["records"], drifted, batch.quiet)


def progress_of(tables: Iterable[FollowedTable]) -> tuple[TableFollowing, ...]:
    """How far the tables are, as they are shown."""
    return tuple(table.progress() for table in tables)
