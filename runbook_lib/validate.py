"""04_validate: the walk with compare as its last step, then the target's own side, the structure, and the queries.

Read-only. Every item, both directions; equality is typed; the references are looked up among what the target really holds.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from .hashlog import HashLog
from .journal import CONFLICT
from .lookups import prepare
from .patterns import PatternProof, prove
from .plan import Plan
from .queries import Pattern, compile_patterns
from .references import NULL
from .routes import Row
from .run import Run
from .stage import Stage
from .target_side import look_at_target, text_hash
from .values import digest, equal, key_hash, text_of
from .verdict import FAIL, REVIEW, Alert, alerts_of_counts, dangling_alert, plural
from .walk import Routed, walk

MAX_SHOWN = 1_000  # differences kept in memory; all are counted


@dataclass(frozen=True)
class Difference:
    """One attribute, or one item, that is not as the mapping says. Holds types, never values."""

    table: str
    key: dict  # target key
    kind: str  # missing, different, extra
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


@dataclass(frozen=True)
class Validation:
    """What comparing both sides found."""

    tables: dict[str, EntryValidation]
    extra: dict[str, int]  # target table -> items that the mapping does not make
    unrouted: int
    differences: list[Difference]
    structure: list[str]  # sentences: what the target's tables lack
    patterns: list[PatternProof]
    alerts: list[Alert] = field(default_factory=list)

    def total(self, name: str) -> int:
        """The sum of one figure over all entries."""
        return sum(getattr(table, name) for table in self.tables.values())


class Comparer:
    """The last step that compares. Call it from any number of workers."""

    def __init__(self, plan: Plan, conflicts: dict[str, set[bytes]], on_page: Callable[[str, Counter], None] | None):
        """`conflicts`: target table → keys that the migration listed as taken by other items."""
        self._plan, self._conflicts, self._on_page = plan, conflicts, on_page
        self._lock = threading.Lock()
        self.tables: dict[str, EntryValidation] = defaultdict(EntryValidation)
        self.differences: list[Difference] = []
        self.unrouted = 0
        self.expected: dict[str, HashLog] = defaultdict(HashLog)  # target table -> key hashes
        self.asked: dict[str, dict[str, HashLog]] = defaultdict(lambda: defaultdict(HashLog))  # parent, entry
        self.held: dict[str, HashLog] = defaultdict(
            HashLog
        )  # entry -> ids of the items that are there, as they should be
        self.patterns: list[Pattern] = []
        self.problems: list[str] = []
        for route in plan.routes.values():
            try:
                self.patterns += compile_patterns(plan, route.entry)
            except ValueError as problem:
                self.problems.append(str(problem))
        self.matching: dict[tuple[str, str], HashLog] = {(p.entry, p.name): HashLog() for p in self.patterns}

    def __call__(self, routed: Routed) -> None:
        """Reads the target under every row's key and compares."""
        by_table: dict[str, list[Row]] = defaultdict(list)
        for row in routed.rows:
            by_table[self._plan.routes[row.entry].entry.target].append(row)
        for target, rows in by_table.items():
            there = self._plan.target_tables[target] is not None
            items = self._plan.target.wire.get_many(target, [row.key for row in rows]) if there else [None] * len(rows)
            self.expected[target].extend(key_hash(row.key) for row in rows)
            with self._lock:
                for row, item in zip(rows, items, strict=True):
                    self._compare(row, item)
        with self._lock:
            for entry, number in routed.scanned.items():
                self.tables[entry].scanned += number
            for row in routed.losers:
                self.tables[row.entry].conflicts += 1
            for reject in routed.rejects:
                self.tables[reject.entry].quarantined += 1
            self.unrouted += len(routed.unrouted)
        if self._on_page:
            self._on_page(routed.page.table, Counter(scanned=len(routed.page.items)))

    def _compare(self, row: Row, item: dict | None) -> None:
        table, target = self.tables[row.entry], self._plan.routes[row.entry].entry.target
        table.checked += 1
        if item is None:
            table.missing += 1
            self.note(Difference(row.entry, row.key, "missing"))
            return
        self._ask(row, table)
        if digest(item) == row.digest:
            table.equal += 1
            if row.old is not None:
                self.held[row.entry].extend([text_hash(row.new_id)])
            for pattern in self.patterns:
                if pattern.table == target and pattern.matches(row.item):
                    self.matching[pattern.entry, pattern.name].extend([key_hash(row.key)])
        elif key_hash(row.key) in self._conflicts[target]:
            table.conflicts += 1
        else:
            table.different += 1
            for difference in _differences(row, item):
                self.note(difference)

    def _ask(self, row: Row, table: EntryValidation) -> None:
        for found in row.references:
            if found.new == NULL:
                continue
            table.references += 1
            if found.new is None:
                table.dangling += 1
            else:
                self.asked[found.parent][row.entry].extend([text_hash(text_of(found.new))])

    def note(self, difference: Difference) -> None:
        """Keeps a difference to be shown, up to MAX_SHOWN."""
        if len(self.differences) < MAX_SHOWN:
            self.differences.append(difference)


def _differences(row: Row, item: dict) -> list[Difference]:
    names = sorted(n for n in row.item.keys() | item.keys() if not equal(row.item.get(n), item.get(n)))
    return [
        Difference(row.entry, row.key, "different", name, _type(row.item.get(name)), _type(item.get(name)))
        for name in names
    ]


def _type(value: dict | None) -> str:
    return "absent" if value is None else next(iter(value))


def validate(run: Run, plan: Plan, on_page: Callable[[str, Counter], None] | None = None) -> Validation:
    """Both sides compared, item by item. Read-only. Raises Refused where no target table is there at all."""
    if all(plan.target_tables[name] is None for name in plan.target_names()):
        plan.require_targets(shapes=False)
    prepared, winners = prepare(plan, refuse=False)
    conflicts = _listed_conflicts(run, plan)
    comparer = Comparer(prepared, conflicts, on_page)
    walk(prepared, comparer, winners=winners)
    side = look_at_target(prepared, comparer.expected, comparer.held, set(comparer.asked), MAX_SHOWN)
    for target, key in side.keys:
        comparer.note(Difference(target, key, "extra"))
    for parent, asked in comparer.asked.items():
        for entry, log in asked.items():
            comparer.tables[entry].dangling += len(log.missing_from(side.held[parent]))
    for name in plan.routes:
        comparer.tables[name]  # an entry without items has a row of zeros
    patterns = []
    for pattern in comparer.patterns:
        foreign = side.extra.get(pattern.table, set()) | conflicts[pattern.table]
        matching = comparer.matching[pattern.entry, pattern.name]
        patterns.append(prove(plan.target.wire, pattern, matching, [foreign, side.others.get(pattern.table, ())]))
    validation = Validation(
        {name: comparer.tables[name] for name in plan.routes},
        {target: len(keys) for target, keys in side.extra.items()},
        comparer.unrouted,
        comparer.differences,
        _structure(plan) + comparer.problems,
        patterns,
    )
    validation.alerts.extend(_alerts(plan, validation))
    return validation


def _listed_conflicts(run: Run, plan: Plan) -> dict[str, set[bytes]]:
    """Target table → keys that the run's migration found taken by different items."""
    found: dict[str, set[bytes]] = defaultdict(set)
    for _, intent in Stage(run, "migrate").intents(final=True):
        for row, letter in zip(intent.rows, intent.outcome, strict=True):
            if letter == CONFLICT:
                found[plan.mapping.entries[row.entry].target].add(key_hash(row.key))
    return found


def _structure(plan: Plan) -> list[str]:
    """What the target's tables lack of what the mapping describes, or of the source's key."""
    found = []
    for route in plan.routes.values():
        entry, table = route.entry, plan.target_tables[route.entry.target]
        if table is None:
            found.append(f"{entry.target}: the table does not exist")
            continue
        found += [f"{entry.target}: {sentence}" for sentence in plan.shape_differences(entry)]
        if not entry.model.create and not entry.model.fields and table.key != plan.source_tables[entry.source].key:
            found.append(f"{entry.target}: its key differs from that of {entry.source}")
    return sorted(set(found))


def _alerts(plan: Plan, validation: Validation) -> list[Alert]:
    alerts = [
        Alert(FAIL, "", sentence, "Correct the table, or the mapping's `create`.") for sentence in validation.structure
    ]
    for name, table in validation.tables.items():
        if table.missing:
            alerts.append(
                Alert(
                    FAIL, name, f"{plural(table.missing, 'item')} missing in the target", "Resume 03, or migrate again."
                )
            )
        if table.different:
            alerts.append(
                Alert(
                    FAIL,
                    name,
                    f"{plural(table.different, 'item')} different in the target",
                    "See the differences below.",
                )
            )
        counts = {"quarantined": table.quarantined, "conflicts": table.conflicts}
        alerts += alerts_of_counts({name: counts | {"scanned": sum(counts.values())}}, 0, True)
        if table.dangling:
            alerts.append(dangling_alert(name, table.dangling))
    alerts += alerts_of_counts({}, validation.unrouted, plan.mapping.ignore_unrouted)
    for target, number in validation.extra.items():
        alerts.append(
            Alert(
                REVIEW,
                target,
                f"{plural(number, 'extra item')} that the mapping does not make",
                "Not touched; check whose they are.",
            )
        )
    for proof in validation.patterns:
        if proof.problem:
            alerts.append(
                Alert(FAIL, proof.entry, f"query {proof.name}: {proof.problem}", "Check indexes and templates.")
            )
    return alerts
