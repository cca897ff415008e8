"""The last step of 04 for one page: compares the routes' rows with the target's items. Figures and hashes, no values."""

import base64
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Container, Mapping
from dataclasses import astuple, dataclass, field
from datetime import UTC, datetime
from typing import Any

from ...discover.renewed import Renewed, hashed
from ...dynamo.items import Looked
from ...mapping.ids import id_hash
from ...mapping.model import Entry, EntryModel, FieldRule, IdInside
from ...mapping.routes import Row
from ...mapping.text.derivation import DATETIME
from ...mapping.walkers import LINK_BYTES
from ...run.folder import iso
from ...run.spill import HashLog
from ...values import differences, digest, equal, has_expired, key_hash, text_of
from ...walk.plan import Plan
from ...walk.walk import Routed
from ..migrate.drift import Notes
from ..references import Place
from .groups import MAX_GROUPS, OTHERS, Group
from .origins import Origins
from .queries import Pattern

MAX_SHOWN = 1_000  # differences kept in memory; all are counted


@dataclass(frozen=True)
class Difference:
    """One attribute, or one item, that is not as the mapping says. Holds types, never values."""

    table: str
    key: dict  # target key
    # missing, expired, different, accepted (of an attribute that may differ), extra, match gone, match changed
    kind: str
    attribute: str = ""
    expected: str = ""  # type letter, or values.ABSENT
    found: str = ""


@dataclass
class EntryValidation:
    """One entry in figures."""

    scanned: int = 0
    checked: int = 0
    equal: int = 0
    missing: int = 0
    different: int = 0
    accepted: int = 0  # different in attributes alone of which the mapping accepts that
    conflicts: int = 0
    quarantined: int = 0
    references: int = 0
    dangling: int = 0
    unreadable: int = 0
    expired: int = 0  # also absent, but its time to live is over
    skipped: int = 0  # left out by `expired: skip`, and so not compared
    matched: int = 0  # items of the target have their place: they are not compared either
    added: int = 0  # why items are missing, different or in conflict, if the migration's journal says
    changed: int = 0
    edited_in_target: int = 0


@dataclass
class Compared:
    """The result of comparing one page: everything the validation needs later."""

    tables: dict[str, Counter] = field(default_factory=lambda: defaultdict(Counter))  # entry -> figures
    unrouted: int = 0
    differences: list[Difference] = field(default_factory=list)
    expected: dict[str, bytearray] = field(default_factory=lambda: defaultdict(bytearray))  # entry -> hashes of keys
    renewed: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)  # entry -> `hashed` of ids that get new ones
    held: dict[str, bytes] = field(default_factory=lambda: defaultdict(bytes))  # entry -> links of items that are there
    asked: dict[Place, bytearray] = field(default_factory=lambda: defaultdict(bytearray))  # links of referenced ids
    unreadable: Counter = field(default_factory=Counter)  # (entry, path) -> values
    several: Counter = field(default_factory=Counter)  # (entry, path) -> references whose id several entries have
    groups: Counter = field(default_factory=Counter)  # groups.Group -> items
    at: str = ""  # when it was compared
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
            "renewed": {entry: [base64.b64encode(b).decode() for b in both] for entry, both in self.renewed.items()},
            "held": _text(self.held),
            "asked": [[*place, base64.b64encode(blob).decode()] for place, blob in self.asked.items()],
            "unreadable": [[*place, number] for place, number in self.unreadable.items()],
            "several": [[*place, number] for place, number in self.several.items()],
            "groups": [[*group, number] for group, number in self.groups.items()],
            "at": self.at,
            "matching": {entry: _text(queries) for entry, queries in self.matching.items()},
            "drift": self.drift,
        }

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> "Compared":
        """The page from its `as_record`."""
        return cls(
            tables={entry: Counter(figures) for entry, figures in record["tables"].items()},
            unrouted=record["unrouted"],
            differences=[Difference(*difference) for difference in record["differences"]],
            expected=_bytes(record["expected"]),
            renewed={entry: tuple(map(base64.b64decode, both)) for entry, both in record["renewed"].items()},
            held=_bytes(record["held"]),
            asked={tuple(place): bytearray(base64.b64decode(blob)) for *place, blob in record["asked"]},
            unreadable=Counter({tuple(place): number for *place, number in record["unreadable"]}),
            several=Counter({tuple(place): number for *place, number in record.get("several", ())}),
            groups=Counter({Group(*group): number for *group, number in record["groups"]}),
            at=record["at"],
            matching={entry: _bytes(queries) for entry, queries in record["matching"].items()},
            drift=record["drift"],
        )


def _text(hashes: Mapping[str, bytes | bytearray]) -> dict[str, str]:
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
        self._accepted = {name: frozenset(route.entry.model.accept.differs) for name, route in plan.routes.items()}
        self._renews = {name for name, route in plan.routes.items() if route.entry.model.makes_ids}
        self._ids = {name: id_attribute(route.entry) for name, route in plan.routes.items()}
        self._ticks = time.monotonic()  # pages count on from `now`, so that they stay in order if the clock is set

    def __call__(self, routed: Routed, answered: Looked) -> Compared:
        """Reads the target under every row's key and compares. `answered`: see `Wire.get_many`."""
        at = iso(datetime.fromtimestamp(self._now + time.monotonic() - self._ticks, UTC))
        page = Compared(unrouted=len(routed.unrouted), at=at)
        for target, rows in self._plan.by_target(routed.rows).items():
            there = self._plan.target_tables[target] is not None
            keys = [row.key for row in rows]
            items = self._plan.target.wire.get_many(target, keys, answered) if there else [None] * len(rows)
            hashes = [key_hash(row.key) for row in rows]
            for row, key, item in zip(rows, hashes, items, strict=True):
                self._compare(page, target, row, key, item)
        for entry, number in routed.scanned.items():
            page.tables[entry]["scanned"] += number
        for row in routed.losers:
            page.tables[row.entry]["conflicts"] += 1
        for reject in routed.rejects:
            page.tables[reject.entry]["quarantined"] += 1
        for one in routed.skipped:
            page.tables[one.entry]["skipped"] += 1
        for one in routed.matched:
            page.tables[one.entry]["matched"] += 1
        olds: dict[str, list[str]] = defaultdict(list)
        for one in (*routed.rows, *routed.losers, *routed.rejects, *routed.skipped):
            if one.old is not None and one.entry in self._renews:
                olds[one.entry].append(one.old.get("S") or text_of(one.old))
        page.renewed = {entry: hashed(ids) for entry, ids in olds.items()}
        return page

    def _compare(self, page: Compared, target: str, row: Row, key: bytes, item: dict | None) -> None:
        figures = page.tables[row.entry]
        figures["checked"] += 1
        page.expected[row.entry] += key
        if item is None:
            kind = "expired" if has_expired(row.item, self._expiry.get(target), self._now) else "missing"
            figures[kind] += 1
            page.differences.append(Difference(row.entry, row.key, kind))
            page.groups[Group(row.entry, "", kind)] += 1
            if kind == "missing":
                self._explain(page, row, None)
            return
        self._ask(page, row, figures)
        same = digest(item) == row.digest
        if row.old is not None and row.entry in self._parents and (same or self._has_its_id(row, item)):
            page.held[row.entry] += row.link or id_hash(row.entry, row.old, LINK_BYTES)
        if same:
            figures["equal"] += 1
            self._match(page, target, key, row.item)
        elif key in self._conflicts.get(target, ()):
            figures["conflicts"] += 1
            self._explain(page, row, item)
        else:
            found = _differences(row, item, self._accepted[row.entry])
            page.differences += found
            page.groups.update(Group(row.entry, one.attribute, one.kind, one.expected, one.found) for one in found)
            self._match(page, target, key, item)  # a query that returns it works, whatever else is wrong with the item
            if all(one.kind == "accepted" for one in found):
                figures["accepted"] += 1
            else:
                figures["different"] += 1
                self._explain(page, row, item)

    def _has_its_id(self, row: Row, item: dict) -> bool:
        """Whether what the target holds under a row's key is the row's item, however edited: where an id is stored, by its id."""
        name = self._ids[row.entry]
        return name is None or equal(row.item.get(name), item.get(name))

    def _match(self, page: Compared, target: str, key: bytes, item: dict) -> None:
        for pattern in self._patterns.get(target, ()):
            if pattern.matches(item):
                page.matching.setdefault(pattern.entry, defaultdict(bytes))[pattern.name] += key

    def _explain(self, page: Compared, row: Row, item: dict | None) -> None:
        drifted = self._origins.of_row(row, item) if self._origins else None
        if drifted and drifted.figure:
            page.tables[row.entry][drifted.figure] += 1
            page.drift.append((row.entry, row.source_key, drifted.reason))

    def _ask(self, page: Compared, row: Row, figures: Counter) -> None:
        for found in row.references:
            figures["references"] += 1
            page.asked[row.entry, found.path, found.parent] += found.link
        for path in row.unreadable:
            figures["unreadable"] += 1
            page.unreadable[row.entry, path] += 1
        for path in row.several:
            page.several[row.entry, path] += 1


def parents_of_references(plan: Plan) -> set[str]:
    """The entries to which the chosen entries may refer."""
    rules = [rule for route in plan.routes.values() for rule in route.entry.model.references.values()]
    if any(rule.named_by or rule.record_of for rule in rules):
        return set(plan.mapping.entries)
    return {name for route in plan.routes.values() for name in route.entry.parents()}


def id_attribute(entry: Entry) -> str | None:
    """The attribute of the target that holds the entry's id, or None where the id is only part of a text, or is not stored."""
    model = entry.model
    if model.fields is None:
        return None if model.id in entry.dropped else model.id
    copied = [name for name, rule in model.fields.items() if _is_id(rule, model)]
    if not copied and model.rest == "copy" and model.id not in (*entry.dropped, *model.fields):
        return model.id
    return copied[0] if copied else None


def _is_id(rule: FieldRule, model: EntryModel) -> bool:
    """Whether a field holds what its entry knows as the id: the attribute, or the same part of it."""
    if rule.form is not None:
        inside = model.id_rule.form if isinstance(model.id_rule, IdInside) else None
        is_same = rule.form.replace("{value}", "{id}") == inside
    else:
        is_same = True
    return bool(rule.uses_up) and rule.uses_up == model.id and is_same and rule.values is None and rule.type != DATETIME


def _differences(row: Row, item: dict, accepted: Container[str]) -> list[Difference]:
    return [
        Difference(row.entry, row.key, "accepted" if name in accepted else "different", name, was, found)
        for name, was, found in differences(row.item, item)
    ]


class Totals:
    """The sum of all pages. Memory is bounded: the hash logs spill to files. Thread-safe."""

    def __init__(self):
        """Nothing yet."""
        self.tables: dict[str, EntryValidation] = defaultdict(EntryValidation)
        self.differences: list[Difference] = []
        self.unrouted = 0
        self.expected: dict[str, HashLog] = defaultdict(HashLog)  # entry -> hashes of target keys
        self.renewed = Renewed()
        self.asked: dict[Place, HashLog] = defaultdict(_links)
        self.held: dict[str, HashLog] = defaultdict(_links)  # entry -> of items that are there
        self.unreadable: Counter = Counter()  # (entry, path) -> values
        self.several: Counter = Counter()  # (entry, path) -> references whose id several entries have
        self.groups: Counter = Counter()  # Group -> items
        self.oldest = ""  # when the first of these pages was compared
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

    def count(self, group: Group, items: int) -> None:
        """Counts items of a group. Beyond MAX_GROUPS those of a table share one, so that memory is bounded."""
        known = group in self.groups or len(self.groups) < MAX_GROUPS
        self.groups[group if known else Group(group.table, OTHERS, group.kind)] += items

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
            for entry, blob in page.expected.items():
                self.expected[entry].extend_packed(blob)
            for entry, both in page.renewed.items():
                self.renewed.add(entry, *both)
            for entry, blob in page.held.items():
                self.held[entry].extend_packed(blob)
            for place, blob in page.asked.items():
                self.asked[place].extend_packed(blob)
            self.unreadable.update(page.unreadable)
            self.several.update(page.several)
            for group, number in page.groups.items():
                self.count(group, number)
            self.oldest = min(filter(None, (self.oldest, page.at)), default="")
            for entry, queries in page.matching.items():
                for name, blob in queries.items():
                    self.matching[entry, name].extend_packed(blob)
            for note in page.drift:
                self.notes.add(*note)


def _links() -> HashLog:
    return HashLog(LINK_BYTES)
