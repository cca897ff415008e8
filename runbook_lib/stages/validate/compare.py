"""The last step of 04 for one page: compares the routes' rows with the target's items. Figures and hashes, no values."""

import base64
import threading
from collections import Counter, defaultdict
from collections.abc import Container, Iterator, Mapping
from dataclasses import astuple, dataclass, field
from typing import Any

from ...mapping.references import NULL
from ...mapping.routes import Row
from ...run.spill import HashLog
from ...values import differences, digest, key_hash, text_of
from ...walk.plan import Plan
from ...walk.walk import Routed
from ..migrate.drift import Notes
from .origins import Origins
from .queries import Pattern
from .target_scan import text_hash

MAX_SHOWN = 1_000  # differences kept in memory; all are counted
WIDTH = 16  # bytes of a hash


@dataclass(frozen=True)
class Difference:
    """One attribute, or one item, that is not as the mapping says. Holds types, never values."""

    table: str
    key: dict  # target key
    kind: str  # missing, expired, different, extra
    attribute: str = ""
    expected: str = ""  # type letter, or "absent"
    found: str = ""


@dataclass
class EntryValidation:
    """One entry in figures."""

    scanned: int = 0
    checked: int = 0
    equal: int = 0
    missing: int = 0
    different: int = 0
    conflicts: int = 0
    quarantined: int = 0
    references: int = 0
    dangling: int = 0
    expired: int = 0  # also absent, but its time to live is over
    added: int = 0  # why items are missing, different or in conflict, if the migration's journal says
    changed: int = 0
    edited_in_target: int = 0


@dataclass
class Compared:
    """The result of comparing one page: everything the validation needs later."""

    tables: dict[str, Counter] = field(default_factory=lambda: defaultdict(Counter))  # entry -> figures
    unrouted: int = 0
    differences: list[Difference] = field(default_factory=list)
    expected: dict[str, bytes] = field(default_factory=lambda: defaultdict(bytes))  # target table -> key hashes
    held: dict[str, bytes] = field(default_factory=lambda: defaultdict(bytes))  # entry -> ids of equal items
    asked: dict[str, dict[str, bytes]] = field(default_factory=dict)  # parent, entry -> referenced ids
    matching: dict[str, dict[str, bytes]] = field(
        default_factory=dict
    )  # entry, query -> keys that the query must return
    drift: list[tuple[str, dict, str]] = field(default_factory=list)  # entry, source key, reason

    def as_record(self) -> dict[str, Any]:
        """The page as plain JSON data; hashes in base64."""
        return {
            "tables": self.tables,
            "unrouted": self.unrouted,
            "differences": [astuple(difference) for difference in self.differences],
            "expected": _text(self.expected),
            "held": _text(self.held),
            "asked": {parent: _text(entries) for parent, entries in self.asked.items()},
            "matching": {entry: _text(queries) for entry, queries in self.matching.items()},
            "drift": self.drift,
        }

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> "Compared":
        """The page from its `as_record`."""
        return cls(
            {entry: Counter(figures) for entry, figures in record["tables"].items()},
            record["unrouted"],
            [Difference(*difference) for difference in record["differences"]],
            _bytes(record["expected"]),
            _bytes(record["held"]),
            {parent: _bytes(entries) for parent, entries in record["asked"].items()},
            {entry: _bytes(queries) for entry, queries in record["matching"].items()},
            record["drift"],
        )


def _text(hashes: Mapping[str, bytes]) -> dict[str, str]:
    return {name: base64.b64encode(blob).decode() for name, blob in hashes.items()}


def _bytes(texts: Mapping[str, str]) -> dict[str, bytes]:
    return {name: base64.b64decode(text) for name, text in texts.items()}


class PageComparer:
    """Compares pages. Thread-safe: it keeps no state."""

    def __init__(
        self,
        plan: Plan,
        patterns: list[Pattern],
        conflicts: Mapping[str, Container[bytes]],
        expiry: Mapping[str, str | None],
        now: float,
        origins: Origins | None = None,
    ):
        """`conflicts`: target table → keys that the migration listed as taken by other items. `expiry`: target table →
        the attribute with the time when an item expires, compared with `now` (seconds). `origins` explains why an item
        is missing or different."""
        self._origins = origins
        self._plan, self._conflicts, self._expiry, self._now = plan, conflicts, expiry, now
        self._patterns: dict[str, list[Pattern]] = defaultdict(list)
        for pattern in patterns:
            self._patterns[pattern.table].append(pattern)
        self._parents = parents_of_references(plan)

    def __call__(self, routed: Routed) -> Compared:
        """Reads the target under every row's key and compares."""
        page = Compared(unrouted=len(routed.unrouted))
        by_table: dict[str, list[Row]] = defaultdict(list)
        for row in routed.rows:
            by_table[self._plan.routes[row.entry].entry.target].append(row)
        for target, rows in by_table.items():
            there = self._plan.target_tables[target] is not None
            items = self._plan.target.wire.get_many(target, [row.key for row in rows]) if there else [None] * len(rows)
            hashes = [key_hash(row.key) for row in rows]
            page.expected[target] = b"".join(hashes)
            for row, hashed, item in zip(rows, hashes, items, strict=True):
                self._compare(page, target, row, hashed, item)
        for entry, number in routed.scanned.items():
            page.tables[entry]["scanned"] += number
        for row in routed.losers:
            page.tables[row.entry]["conflicts"] += 1
        for reject in routed.rejects:
            page.tables[reject.entry]["quarantined"] += 1
        return page

    def _compare(self, page: Compared, target: str, row: Row, hashed: bytes, item: dict | None) -> None:
        figures = page.tables[row.entry]
        figures["checked"] += 1
        if item is None:
            kind = "expired" if self._has_expired(target, row.item) else "missing"
            figures[kind] += 1
            page.differences.append(Difference(row.entry, row.key, kind))
            if kind == "missing":
                self._explain(page, row, None)
            return
        self._ask(page, row, figures)
        if digest(item) == row.digest:
            figures["equal"] += 1
            if row.old is not None and row.entry in self._parents:
                page.held[row.entry] += text_hash(row.new_id)
            for pattern in self._patterns.get(target, ()):
                if pattern.matches(row.item):
                    page.matching.setdefault(pattern.entry, defaultdict(bytes))[pattern.name] += hashed
        elif hashed in self._conflicts.get(target, ()):
            figures["conflicts"] += 1
            self._explain(page, row, item)
        else:
            figures["different"] += 1
            page.differences += _differences(row, item)
            self._explain(page, row, item)

    def _explain(self, page: Compared, row: Row, item: dict | None) -> None:
        drifted = self._origins.of_row(row, item) if self._origins else None
        if drifted and drifted.figure:
            page.tables[row.entry][drifted.figure] += 1
            page.drift.append((row.entry, row.source_key, drifted.reason))

    def _has_expired(self, target: str, item: dict) -> bool:
        second = item.get(self._expiry.get(target) or "", {}).get("N")
        return second is not None and float(second) < self._now

    def _ask(self, page: Compared, row: Row, figures: Counter) -> None:
        for found in row.references:
            figures["references"] += 1
            if found.new is None or found.new == NULL:  # `dangling: null`: the parent does not exist either
                figures["dangling"] += 1
            else:
                page.asked.setdefault(found.parent, defaultdict(bytes))[row.entry] += text_hash(text_of(found.new))


def parents_of_references(plan: Plan) -> set[str]:
    """The entries to which the chosen entries may refer."""
    rules = [rule for route in plan.routes.values() for rule in route.entry.model.references.values()]
    if any(rule.named_by or rule.record_of for rule in rules):
        return set(plan.mapping.entries)
    return {name for route in plan.routes.values() for name in route.entry.parents()}


def _differences(row: Row, item: dict) -> list[Difference]:
    return [
        Difference(row.entry, row.key, "different", name, was, found)
        for name, was, found in differences(row.item, item)
    ]


class Totals:
    """The sum of all pages. Memory is bounded: the hash logs spill to files. Thread-safe."""

    def __init__(self):
        """Nothing yet."""
        self.tables: dict[str, EntryValidation] = defaultdict(EntryValidation)
        self.differences: list[Difference] = []
        self.unrouted = 0
        self.expected: dict[str, HashLog] = defaultdict(HashLog)  # target table -> key hashes
        self.asked: dict[str, dict[str, HashLog]] = defaultdict(lambda: defaultdict(HashLog))  # parent, entry
        self.held: dict[str, HashLog] = defaultdict(HashLog)  # entry -> ids of equal items
        self.matching: dict[tuple[str, str], HashLog] = defaultdict(HashLog)  # entry, query
        self.notes = Notes()  # for drift.jsonl
        self._lock = threading.Lock()

    def room(self) -> int:
        """How many more differences it will keep."""
        return MAX_SHOWN - len(self.differences)

    def note(self, difference: Difference) -> None:
        """Keeps a difference to be shown, up to MAX_SHOWN."""
        if self.room() > 0:
            self.differences.append(difference)

    def add(self, page: Compared) -> None:
        """Adds a page."""
        with self._lock:
            for entry, figures in page.tables.items():
                table = self.tables[entry]
                for name, number in figures.items():
                    setattr(table, name, getattr(table, name) + number)
            self.unrouted += page.unrouted
            for difference in page.differences[: max(0, self.room())]:
                self.note(difference)
            for target, blob in page.expected.items():
                self.expected[target].extend(_hashes(blob))
            for entry, blob in page.held.items():
                self.held[entry].extend(_hashes(blob))
            for parent, entries in page.asked.items():
                for entry, blob in entries.items():
                    self.asked[parent][entry].extend(_hashes(blob))
            for entry, queries in page.matching.items():
                for name, blob in queries.items():
                    self.matching[entry, name].extend(_hashes(blob))
            for note in page.drift:
                self.notes.add(*note)


def _hashes(blob: bytes) -> Iterator[bytes]:
    return (blob[at : at + WIDTH] for at in range(0, len(blob), WIDTH))
