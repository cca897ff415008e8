"""Keeps positions young while a walk goes on that may take longer than a stream keeps its records.

DynamoDB keeps a record for 24 hours. A thread of the driver sleeps until the positions are half as old. Then it reads the
streams to their ends and notes positions and keys; nothing is applied, and the walk pays nothing.
"""

import threading
from collections.abc import Mapping
from contextlib import suppress

from ...dynamo.streams.positions import Positions
from ...dynamo.streams.reader import StreamReader
from ...errors import DynamoError, Interrupted, PositionLost
from ...run.folder import Run
from ...values import key_hash
from .journal import TableJournal
from .streams import Streams

AGE = 12 * 3600.0  # seconds that a position may be old
RETRY = 600.0  # seconds until reading is tried again after it failed


class Keeper:
    """A block in which a walk goes on. It owns the positions meanwhile."""

    def __init__(self, run: Run, streams: Streams, journals: Mapping[str, TableJournal], *, young: bool = False):
        """`young`: all positions were noted just now; else nobody knows how old they are, as clocks may be set."""
        self._run, self._streams, self._journals, self._young = run, streams, journals, young
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True, name="keeper")

    def __enter__(self) -> "Keeper":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        due = AGE if self._young else 0.0
        while not self._over.wait(due):
            try:
                for table in self._streams:
                    self._read(table)
                due = AGE
            except (Interrupted, DynamoError, OSError) as problem:  # the walk meets it as well, or it passes
                with suppress(OSError):
                    self._run.logger().warning("the streams could not be read during the walk: %s", problem)
                due = RETRY

    def _read(self, table: str) -> None:
        stream, journal = self._streams[table], self._journals[table]
        try:
            with StreamReader(stream, Positions.from_json(journal.positions)) as reader:
                while not self._over.is_set():
                    batch = reader.read()
                    keys = {key_hash(record.key): record.key for record in batch.records}
                    if keys or journal.has_moved(batch.positions):
                        journal.read(batch.positions, list(keys.values()), batch.newest and batch.newest.at)
                    if batch.caught_up:
                        return
                    self._over.wait(batch.wait)
        except PositionLost:
            self._streams.note_again(journal)
