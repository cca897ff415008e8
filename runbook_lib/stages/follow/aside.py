"""What following left alone, and who waits for a key of the target: a temporary database, so that memory is bounded.

Like the look-up of the journal it has no name, and is gone with the process. The journal in `journal/follow/` holds the first,
the stage's journal the second.
"""

import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson

from ...errors import Interrupted
from ...journal.listings import entry_of, write_listing
from ...values import key_hash
from ..migrate.drift import DELETED, UNSELECTED
from ..migrate.replace import Place

ASKED = 500  # rows that one question gives


class Aside:
    """The items that were left alone, and those that wait. Thread-safe. A `with` block."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._lock = threading.Lock()
        self._counts: Counter = Counter()
        self._changed = True  # whether the list is not as it was written last
        self._base = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        with self._saving():
            self._base.execute("PRAGMA journal_mode = OFF")
            self._base.execute("PRAGMA synchronous = OFF")
            self._base.execute("CREATE TABLE drifted (item PRIMARY KEY, tbl, line) WITHOUT ROWID")
            self._base.execute(
                "CREATE TABLE waiting (place, item, tbl, key, due, PRIMARY KEY (place, item)) WITHOUT ROWID"
            )
            self._base.execute("CREATE INDEX waiting_due ON waiting (tbl) WHERE due")
            self._base.execute("BEGIN")

    def __enter__(self) -> "Aside":
        return self

    def __exit__(self, *exception: object) -> None:
        self._base.close()

    def settle(self, table: str, keys: Iterable[dict] | None, drifted: Iterable[Sequence]) -> None:
        """These source keys of a table (None: all) are settled, but for the drifted ones among them: entry, key, reason."""
        if keys is None:
            with self._saving():
                self._base.execute("DELETE FROM drifted WHERE tbl = ?", (table,))
                self._counts[table] = 0
                self._changed = True
        found = [_item(table, key) for key in keys or ()]
        lines = [
            (_item(table, key) + entry.encode(), table, orjson.dumps(entry_of(entry, key, "", reason)))
            for entry, key, reason in drifted
        ]
        with self._saving():
            before = self._base.total_changes
            if self._counts[table]:
                self._base.executemany(
                    "DELETE FROM drifted WHERE item >= ? AND item < ?",
                    [(item, item + b"\xff") for item in found],
                )
            gone = self._base.total_changes - before
            there = 0
            for line in lines:
                there += len(self._base.execute("SELECT 1 FROM drifted WHERE item = ?", line[:1]).fetchall())
                self._base.execute("INSERT OR REPLACE INTO drifted VALUES (?, ?, ?)", line)
            self._counts[table] += len(lines) - there - gone
            self._changed |= bool(lines or gone)

    def drifted(self, table: str) -> int:
        """How many items of a table are left alone."""
        return self._counts[table]

    def write(self, folder: Path) -> None:
        """Writes `drift.jsonl` into a run's folder, where it is not as it was written last. Raises OSError."""
        if self._changed:
            self._changed = False
            write_listing(folder, "drift", self._lines())

    def _lines(self) -> Iterator[dict[str, Any]]:
        last = b""
        while True:
            with self._saving():
                query = f"SELECT item, line FROM drifted WHERE item > ? ORDER BY item LIMIT {ASKED}"
                lines = self._base.execute(query, (last,)).fetchall()
            if not lines:
                return
            yield from (orjson.loads(line) for _, line in lines)
            last = lines[-1][0]

    def among(self, table: str, keys: Iterable[dict]) -> list[dict[str, Any]]:
        """The lines of those of a table's source keys that are left alone."""
        found = []
        with self._saving():
            for item in (_item(table, key) for key in keys):
                query = "SELECT line FROM drifted WHERE item >= ? AND item < ?"
                found += self._base.execute(query, (item, item + b"\xff")).fetchall()
        return [orjson.loads(line) for (line,) in found]

    def look_again(self, table: str) -> None:
        """All items of a table that are left alone are due: somebody may have decided. What a delta never deletes is not."""
        with self._saving():
            self._base.execute(
                "INSERT OR REPLACE INTO waiting SELECT '', item, tbl, json_extract(CAST(line AS TEXT), '$.key'), 1 "
                "FROM drifted WHERE tbl = ? AND json_extract(CAST(line AS TEXT), '$.reason') NOT IN (?, ?)",
                (table, DELETED, UNSELECTED),
            )

    def wait(self, waiting: Iterable[tuple[Place, str, dict]], *, due: bool = False) -> None:
        """Notes source items that could not have their keys: place in the target, source table, source key.

        `due`: the place may be free by now.
        """
        rows = [(_place(place), _item(table, key), table, orjson.dumps(key), due) for place, table, key in waiting]
        if rows:
            with self._saving():
                self._base.executemany("INSERT OR REPLACE INTO waiting VALUES (?, ?, ?, ?, ?)", rows)

    def free(self, places: Iterable[Place]) -> None:
        """Notes that these places of the target are free: who waits for them is due."""
        with self._saving():
            self._base.executemany("UPDATE waiting SET due = 1 WHERE place = ?", [(_place(one),) for one in places])

    def due(self, table: str) -> list[dict]:
        """Source keys of some of a table's items that are due. They wait no longer."""
        with self._saving():
            query = f"SELECT place, item, key FROM waiting WHERE due AND tbl = ? LIMIT {ASKED}"
            found = self._base.execute(query, (table,)).fetchall()
            self._base.executemany("DELETE FROM waiting WHERE (place, item) = (?, ?)", [one[:2] for one in found])
        return [orjson.loads(key) for *_, key in found]

    @contextmanager
    def _saving(self) -> Iterator[None]:
        try:
            with self._lock:
                yield
        except sqlite3.OperationalError as problem:
            raise Interrupted(
                f"the list of what was left alone cannot be kept: {problem}; make room in the machine's temporary folder, "
                "or set TMPDIR."
            ) from problem


def _item(table: str, key: dict) -> bytes:
    return blake2b(table.encode() + b"\0" + key_hash(key), digest_size=16).digest()


def _place(place: Place) -> bytes:
    table, hashed = place
    return blake2b(table.encode() + b"\0" + hashed, digest_size=16).digest()
