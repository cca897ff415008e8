"""Reading a stream's shards round by round, parents before children.

1. A listing (DescribeStream, all pages) shows the shards. Those that come after a known one are taken up.
2. Each shard that may be read is asked once, several at a time. A shard may be read once nothing of its ancestors is left.
3. The records are handed over, with the positions after them. The caller applies and notes them, and asks for more: only
   then may the children of a shard be read that ended with these records.

A listing may be old, and lack a shard for a while. What does not fit is waited for, and then is a lost position, never a gap.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import NamedTuple

from ...errors import NOT_FOUND, DynamoError, PositionLost
from .lineage import Lineage
from .positions import Position, Positions
from .records import Listing, Record, Shard
from .stream import ON, WORKERS, Stream

EMPTY = 1.0  # seconds until a shard that gave nothing is asked again
# Seconds until a shard that gave records is. Kinesis allows five reads of a shard a second. For DynamoDB's streams AWS names no
# such number, but says that more than two readers of a shard may be throttled; its Lambda asks each shard four times a second.
BEHIND = 0.2
LIST = 1.0  # seconds between two listings at least, for each page that the last one had: AWS allows ten pages a second
LIST_AGAIN = 60.0  # seconds between two listings at most
CHILDREN = 300.0  # seconds that the children of a shard are waited for
MISSING = 60.0  # seconds that a shard or the stream is waited for where it is not found
ENOUGH = 4_000  # records; a round that has them asks no further shards

TRIMMED, EXPIRED = "TrimmedDataAccessException", "ExpiredIteratorException"
NEVER = float("-inf")


class Newest(NamedTuple):
    """The newest record so far."""

    received: float  # the reader's clock, when it came
    at: float  # when the change was made, in seconds since the epoch


class Batch(NamedTuple):
    """What one round gave."""

    records: list[Record]  # per key in order
    positions: Positions  # after these records: what to note once they are applied
    # Rounds in a row in which every open shard, freshly listed, gave nothing; 0 as soon as a record came. It goes on counting:
    # from a moment on, nothing came in a whole round once it has grown by 2, since the first may have begun before.
    quiet: int
    newest: Newest | None  # None: no record since this reader began
    caught_up: bool  # the last answer of every open shard was empty, and nothing is waited for
    wait: float  # seconds until there is something to ask; 0.0: at once


@dataclass
class _Reading:
    """How a shard is read."""

    position: Position
    iterator: str | None = None
    due: float = NEVER  # when it may be asked again
    empty: bool = False  # whether its last answer was
    swept: bool = False  # whether it gave nothing since the listing of this round of quiet
    missing: float | None = None  # since when it is not found
    childless: float | None = None  # since when it has ended and no child of it is known


class _Answer(NamedTuple):
    """What asking one shard gave."""

    records: list[Record]
    iterator: str | None
    code: str = ""  # why it gave nothing


class StreamReader:
    """Reads one stream from a position. For one thread at a time; close it, or use it as a context."""

    def __init__(
        self,
        stream: Stream,
        positions: Positions,
        *,
        workers: int = WORKERS,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Asks nobody. `workers`: shards asked at a time. Raises PositionLost where the positions are of another stream."""
        self._stream, self._clock, self._workers = stream, clock, workers
        if (positions.arn, positions.label) != (stream.arn, stream.label):
            raise self._replaced()
        self._shards = {name: _Reading(position) for name, position in positions.shards.items()}
        self._read: set[str] = set()  # shards that this reader has read to their end
        self._lineage = Lineage()
        self._pool = ThreadPoolExecutor(workers) if workers > 1 else None
        self._listed = NEVER  # when the last listing was
        self._pages = 1
        self._fresh = False  # whether the last listing is of this round of quiet
        self._gone: float | None = None  # since when the stream is not found
        self._quiet = 0
        self._newest: Newest | None = None

    def read(self) -> Batch:
        """Return what one round gave: every shard that may be asked now was asked once. Read-only; waits only for answers.

        Calling it again says that the batch before was applied and noted: only then are children of a shard read whose
        last records were in that batch. Empty, with the time to wait, where nothing may be asked yet.
        Raises PositionLost where records after the position are gone, Interrupted where the endpoint does not recover, Denied.
        """
        if self._listing_due() <= self._clock():
            self._list()
        records: list[Record] = []
        for name, answer in self._ask_all().items():
            self._take(name, answer)
            records += answer.records
        if records:
            self._newest = Newest(self._clock(), max(one.at for one in records))
        if self._fresh and not self._is_waiting() and self._all("swept"):
            self._start_round(self._quiet + 1)
        return Batch(records, self._positions(), self._quiet, self._newest, self._is_caught_up(), self._wait())

    def close(self) -> None:
        """Ends the reader's threads, after what is in flight."""
        if self._pool:
            self._pool.shutdown()

    def __enter__(self) -> "StreamReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # asking

    def _readable(self) -> list[str]:
        """The shards with something left to read, and nothing left of their ancestors."""
        left = {name: shard.position.parent for name, shard in self._shards.items() if not shard.position.ended}
        return [name for name, parent in left.items() if left.keys().isdisjoint(self._lineage.above(name, parent))]

    def _ask_all(self) -> dict[str, _Answer]:
        """The answers of all shards that may be asked now. Notes none of them, so that an error loses no records."""
        now = self._clock()
        due = [name for name in self._readable() if self._shards[name].due <= now]
        due.sort(key=lambda name: self._shards[name].due)
        answers: dict[str, _Answer] = {}
        for start in range(0, len(due), self._workers):
            names = due[start : start + self._workers]
            answers |= zip(names, self._ask(names), strict=True)
            if sum(len(answer.records) for answer in answers.values()) >= ENOUGH:
                break
        return answers

    def _ask(self, names: list[str]) -> list[_Answer]:
        if self._pool is None or len(names) == 1:
            return [self._ask_one(name) for name in names]
        asking = [self._pool.submit(self._ask_one, name) for name in names]
        wait(asking)  # all of them, before an error of one ends the round
        return [one.result() for one in asking]

    def _ask_one(self, name: str) -> _Answer:
        shard = self._shards[name]
        try:
            if shard.iterator is None:
                shard.iterator = self._stream.iterator(name, shard.position)
            return _Answer(*self._stream.records(name, shard.iterator))
        except DynamoError as refused:
            if refused.code not in (TRIMMED, EXPIRED, NOT_FOUND):
                raise
            return _Answer([], None, refused.code)
        finally:
            shard.due = self._clock() + BEHIND  # from the answer on: an attempt that was throttled may have waited

    def _take(self, name: str, answer: _Answer) -> None:
        """Notes an answer. Raises PositionLost where it says that records are gone."""
        shard, now = self._shards[name], self._clock()
        if answer.code == TRIMMED:
            raise self._lost("records after the noted position are older than it keeps them (24 hours)")
        shard.iterator = answer.iterator
        if answer.code == NOT_FOUND:
            shard.missing = now if shard.missing is None else shard.missing
            if now - shard.missing >= MISSING:
                raise self._lost("a shard that was not read to its end is gone")
        elif not answer.code:
            shard.missing = None
        if answer.records:
            shard.position = shard.position._replace(sequence=answer.records[-1].sequence, seen=True)
        elif answer.code != EXPIRED:
            shard.due += EMPTY - BEHIND
        if not answer.code and answer.iterator is None:
            shard.position = shard.position._replace(seen=True, ended=True)
            self._read.add(name)
        shard.swept = shard.empty = not (answer.records or answer.code or shard.position.ended)
        if not shard.swept:
            self._start_round(0)

    # the shards there are

    def _listing_due(self) -> float:
        """When the shards are to be listed next: soon where something is waited for, or all is quiet."""
        soon = self._is_waiting() or (not self._fresh and self._all("empty"))
        return self._listed + max(LIST if soon else LIST_AGAIN, LIST * self._pages)

    def _list(self) -> None:
        now = self._listed = self._clock()
        try:
            listing = self._stream.listing()
        except DynamoError as refused:
            if not refused.not_found:
                raise
            self._gone = now if self._gone is None else self._gone
            if now - self._gone >= MISSING:
                raise self._lost("it is gone, and perhaps its table with it") from None
            return
        self._gone, self._pages = None, listing.pages
        if listing.label != self._stream.label:
            raise self._replaced()
        self._lineage.learn(listing.shards, now)
        self._take_up(now)
        self._look_for_children(listing, now)
        self._fresh = True
        for shard in self._shards.values():
            shard.swept = False

    def _take_up(self, now: float) -> None:
        """Takes up the shards that are new, and drops ended ones whose children are known."""
        self._read = {name for name in self._read if name in self._lineage or name in self._shards}
        above = self._above()
        known = {*self._shards, *above, *self._read}
        self._add(self._lineage.below([*self._shards, *self._read], known))
        ended = {name for name, shard in self._shards.items() if shard.position.ended}
        late, unexplained = self._lineage.beside({*above, *self._read, *ended}, known, now)
        if unexplained:
            raise self._lost("it has a shard that comes after none of those that were read")
        known |= late.keys()
        self._add(late | self._lineage.below(late, known))
        for name in ended & self._above():
            del self._shards[name]
            self._read.add(name)

    def _above(self) -> set[str]:
        """All ancestors of the shards that are read or were: of them, nothing is left, or they are being read, too."""
        parents = {name: self._lineage.parent(name) for name in self._read}
        parents |= {name: shard.position.parent for name, shard in self._shards.items()}
        return {ancestor for name, parent in parents.items() for ancestor in self._lineage.above(name, parent)}

    def _add(self, shards: dict[str, Shard]) -> None:
        for name, shard in shards.items():
            self._shards[name] = _Reading(Position(shard.parent, shard.start))
            self._start_round(0)

    def _look_for_children(self, listing: Listing, now: float) -> None:
        """Raises PositionLost where nothing comes after a shard that was read to its end."""
        for name, shard in list(self._shards.items()):
            if not shard.position.ended:
                continue
            shard.childless = now if shard.childless is None else shard.childless
            waited = now - shard.childless
            if not shard.position.seen:  # closed before the position was noted
                if waited >= CHILDREN and name not in listing.shards:
                    del self._shards[name]
                    self._read.add(name)
            elif listing.status not in ON and not self._readable():  # what it still holds comes first
                raise self._lost("it was turned off")
            elif waited >= CHILDREN:
                raise self._lost("what comes after a shard that was read to its end is not listed")

    # quiet

    def _start_round(self, quiet: int) -> None:
        self._quiet, self._fresh = quiet, False

    def _all(self, what: str) -> bool:
        return all(getattr(shard, what) for shard in self._shards.values() if not shard.position.ended)

    def _is_waiting(self) -> bool:
        """Whether something is to be found: children, a shard or the stream that is missing, what a shard comes after."""
        return (
            self._gone is not None
            or self._lineage.is_unclear
            or any(map(self._is_open_question, self._shards.values()))
        )

    def _is_open_question(self, shard: _Reading) -> bool:
        if not shard.position.ended:
            return shard.missing is not None
        return shard.position.seen or shard.childless is None or self._listed - shard.childless < CHILDREN

    def _is_caught_up(self) -> bool:
        return self._listed > NEVER and not self._is_waiting() and self._all("empty")

    def _wait(self) -> float:
        due = [self._listing_due(), *(self._shards[name].due for name in self._readable())]
        return max(0.0, min(due) - self._clock())

    def _positions(self) -> Positions:
        shards = {name: shard.position for name, shard in self._shards.items()}
        return Positions(self._stream.arn, self._stream.label, shards)

    def _replaced(self) -> PositionLost:
        return self._lost("it was turned off and on again since, and the new one does not hold what the old one held")

    def _lost(self, why: str) -> PositionLost:
        about = f"The stream of {self._stream.table} cannot be read on from the noted position"
        return PositionLost(f"{about}: {why}; walk the table again.")
