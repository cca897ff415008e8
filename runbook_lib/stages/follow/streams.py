"""The streams of the source tables that are followed, each as it is now."""

from collections.abc import Callable, Iterable

from ...dynamo.streams.stream import Stream
from ...errors import Interrupted, Refused
from .journal import TableJournal


class Streams(dict[str, Stream]):
    """Source table → its stream. For one thread a table."""

    def __init__(self, open_stream: Callable[[str], Stream], tables: Iterable[str]):
        """Opens them. Raises as `open_stream`."""
        super().__init__((table, open_stream(table)) for table in tables)
        self._open = open_stream

    def note_again(self, journal: TableJournal) -> None:
        """Notes new positions of a table whose noted one is lost, before the walk that it owes now. Raises Interrupted."""
        table = journal.table
        try:
            self[table] = self._open(table)  # it may be another stream since
            positions = self[table].positions_now()
        except Refused as problem:
            raise Interrupted(str(problem)) from problem
        journal.note(positions, journal.entries, owes=True, lost=True)
