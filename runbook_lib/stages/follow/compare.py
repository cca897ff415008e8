"""Compares the items that following has touched once more, on both sides: what the gate of a cut-over goes by."""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from ...run.folder import Run
from ...values import key_hash
from .apply import Follower, Wrong
from .aside import Aside
from .gate import Compared
from .journal import Drifted, touched

ASKED = 500  # keys that are compared together
AHEAD = 4  # such batches for each worker, at most


def compare(
    run: Run,
    followers: Mapping[str, Sequence[Follower]],
    aside: Aside,
    workers: int,
    note: Callable[[str, list[Drifted]], object],
    check: Callable[[], object] = lambda: None,
) -> Compared:
    """What comparing every touched item has found. Reads both sides; bounded memory.

    `followers`: source table → those that apply it; `note` gets table and items that are left alone, and were listed
    nowhere; `check` is called between two batches, and may raise.
    """
    wrong: dict[str, Counter] = defaultdict(Counter)
    items = 0

    def one(work: tuple[str, list[dict]]) -> list[Wrong]:
        table, keys = work
        listed = {key_hash(line["key"]) for line in aside.among(table, keys)}
        return [found for follower in followers[table] for found in follower.wrong(keys, listed)]

    with ThreadPoolExecutor(workers, thread_name_prefix="compare") as pool:
        for together in _some(_batches(run, followers), workers * AHEAD):
            check()
            items += sum(len(keys) for _, keys in together)
            for (table, _), found in zip(together, pool.map(one, together), strict=True):
                for item in found:
                    wrong[item.entry][item.kind] += 1
                if left := [Drifted(item.entry, item.key, item.why) for item in found if item.why]:
                    note(table, left)
    return Compared(items, dict(wrong))


def _batches(run: Run, tables: Mapping[str, object]) -> Iterator[tuple[str, list[dict]]]:
    """Source table and keys of what was touched, each key once."""
    waiting: dict[str, list[dict]] = defaultdict(list)
    with _Once() as once:
        for table, keys in touched(run):
            if table in tables:  # of an entry that is followed no more there is nothing to compare
                waiting[table] += once.new(table, keys)
                while len(waiting[table]) >= ASKED:
                    yield table, waiting[table][:ASKED]
                    del waiting[table][:ASKED]
    yield from ((table, keys) for table, keys in waiting.items() if keys)


class _Once:
    """Which keys came already: a temporary database without a name, so that memory is bounded. A `with` block."""

    def __init__(self) -> None:
        self._base = sqlite3.connect("", isolation_level=None)
        self._base.execute("PRAGMA journal_mode = OFF")
        self._base.execute("CREATE TABLE known (item PRIMARY KEY) WITHOUT ROWID")
        self._base.execute("BEGIN")

    def __enter__(self) -> "_Once":
        return self

    def __exit__(self, *exception: object) -> None:
        self._base.close()

    def new(self, table: str, keys: Iterable[dict]) -> list[dict]:
        """Those of the keys that come for the first time."""
        head = table.encode() + b"\0"
        insert = self._base.execute
        return [
            key for key in keys if insert("INSERT OR IGNORE INTO known VALUES (?)", (head + key_hash(key),)).rowcount
        ]


def _some(batches: Iterator, number: int) -> Iterator[list]:
    """The batches, so many at a time."""
    together = []
    for one in batches:
        together.append(one)
        if len(together) >= number:
            yield together
            together = []
    if together:
        yield together
