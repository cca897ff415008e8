"""One look at every source table: a sample of each, then one walk over all items, with a last step that gathers evidence.

Items of a table are kept apart by its type attribute, if it has one, else by the patterns of their keys: a *place* is a table
and one kind of its items.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ...discover.columns import MAX_ATTRIBUTES, Reader, as_columns
from ...discover.evidence import Evidence
from ...discover.text import names
from ...discover.text.tokens import is_recognisable
from ...dynamo import session, tables
from ...dynamo.rate_limiter import RateLimiter
from ...dynamo.session import Connection
from ...errors import DynamoError, Refused
from ...mapping.file.load import mapping_of
from ...mapping.model import Mapping as TableMapping
from ...mapping.routes import Shape, compile_route, parents_of
from ...parameters import Limits, Parameters
from ...walk.plan import Plan, budgets_of, tables_of
from ...walk.walk import SMALL_BYTES, Page, walk
from . import ids, types
from .ids import Candidate
from .keys import Patterns, Spot, spots, values_at
from .matching import natural_keys
from .matching.natural_keys import Held
from .tables import Names, find_names

SAMPLE = 200  # items of a table that are looked at first
SAMPLED_SEGMENTS = 8  # from which they come, where the table has several pages


@dataclass
class Place:
    """What the items of one kind hold. Counts and hashes, no value of an item."""

    items: int = 0
    attributes: Counter = field(default_factory=Counter)  # attribute → items that have it
    like_ids: Counter = field(default_factory=Counter)  # attribute named like an id → values that look like one
    candidates: dict[str | Spot, Candidate] = field(default_factory=lambda: defaultdict(Candidate))
    held: dict[str, Held] = field(default_factory=lambda: defaultdict(Held))  # of what may be natural keys


@dataclass
class Survey:
    """What the walk found."""

    plan: Plan  # one entry for each table
    names: Names
    ttl: dict[
        str, str | None
    ]  # table → the attribute by which its items expire, where it has one and the engine says so
    type_attributes: dict[str, str | None]  # table → the attribute that its places differ in
    patterns: dict[str, Patterns]  # table → of its keys
    places: dict[
        tuple[str, str], Place
    ]  # (table, value of the attribute, else the label of its key) → ; "" without one
    evidence: Evidence  # by `label` of the place
    most: int | None  # items of a table that were read at most


def label(table: str, value: str) -> str:
    """A place's name in the evidence."""
    return f"{table}\0{value}"


def open_sources(parameters: Parameters, pattern: str, run_id: str = "") -> tuple[Plan, Names]:
    """A plan that only reads, with one entry for each table, without ids and references; and the tables. Read-only.

    The target is not asked for anything yet: the plan's is the source's connection, which cannot write.
    """
    limiter, workers = RateLimiter(patience=60 * parameters.limits.patience), parameters.limits.workers
    source = session.connect(parameters.source, "source", workers=workers, limiter=limiter, run_id=run_id)
    return sources_at(source, limiter, parameters, pattern)


def sources_at(source: Connection, limiter: RateLimiter, parameters: Parameters, pattern: str) -> tuple[Plan, Names]:
    """The same on a source that is open; `limiter` is its own."""
    found = find_names(source, parameters, pattern)
    tables_found = {name: tables.describe(source, name) for name in found.tables.values()}
    for name, table in tables_found.items():
        if table is None:
            raise Refused(f"table {name} does not exist in {source.region} ({source.endpoint_url}); correct --pattern.")
    mapping = _provisional(parameters, found)
    shapes = {
        e.name: Shape(tables_found[e.source].key, tables_found[e.source].key, {}) for e in mapping.entries.values()
    }
    parents = parents_of(mapping.entries, shapes, parameters.target.environment)
    routes = {name: compile_route(entry, shapes[name], parents) for name, entry in mapping.entries.items()}
    limiter.allow(budgets_of(_limits(parameters.limits, mapping), tables_of(mapping.entries)))
    return Plan(parameters, mapping, source, source, tables_found, {}, routes, routes, limiter), found


def _provisional(parameters: Parameters, found: Names) -> TableMapping:
    content = {
        entry: {"source": table, "target": found.target or found.own[entry][1], "id": None}
        for entry, table in found.tables.items()
    }
    return mapping_of({"tables": content}, parameters.mapping_path().name, parameters)


def _limits(limits: Limits, mapping: TableMapping) -> Limits:
    """The limits without those of entries that are only now drafted."""
    known = {name: own for name, own in limits.tables.items() if name in mapping.entries or name == "*"}
    return limits.model_copy(update={"tables": known})


def survey(
    plan: Plan,
    found: Names,
    on_page: Callable[[str, Counter], None] | None,
    most: int | None,
    matched: Collection[str] = (),
) -> Survey:
    """Reads every table once, or at most `most` items of each, after a sample of it. Read-only.

    `matched`: the tables of which to keep what may be natural keys.
    """
    samples = {table: sample(plan, table, most) for table in plan.by_source()}
    surveyor = Surveyor(plan, found, samples, on_page, matched)
    plan.count(most=most)
    walk(plan, surveyor, counted=True, route=_unrouted, segments=dict.fromkeys(samples, 1) if most else None, most=most)
    ttl = {table: _ttl(plan, table) for table in samples}
    return Survey(
        plan, found, ttl, surveyor.type_attributes, surveyor.patterns, surveyor.places, surveyor.evidence, most
    )


def _ttl(plan: Plan, table: str) -> str | None:
    try:
        return tables.ttl_attribute(plan.source, table)
    except (DynamoError, Refused):  # only a comment depends on it
        return None


def _unrouted(page: Page, *_: Any) -> Page:
    return page


def sample(plan: Plan, table: str, most: int | None) -> list[dict]:
    """Some items of a table; of a large one from several places. Read-only."""
    wanted, segments = min(SAMPLE, most or SAMPLE), 1
    if plan.source_tables[table].size_bytes > SMALL_BYTES and not most:
        segments = SAMPLED_SEGMENTS
    read = partial(plan.source.wire.scan_page, table, segments=segments, limit=-(-wanted // segments))
    return [item for segment in range(segments) for item in read(segment=segment)[0]]


class Surveyor:
    """The last step of the walk. Thread-safe."""

    def __init__(
        self,
        plan: Plan,
        found: Names,
        samples: Mapping[str, list[dict]],
        on_page: Callable[[str, Counter], None] | None,
        matched: Collection[str],
    ):
        """`samples`: table → items, which say what to look at; they are not counted. `matched`: as `survey` has it."""
        self._matched = matched
        self._meter, self._on_page, self._lock = plan.meter, on_page, threading.Lock()
        self._readers = {table: Reader() for table in samples}
        self.places: dict[tuple[str, str], Place] = defaultdict(Place)
        self.type_attributes: dict[str, str | None] = {}
        self._keys = {table: plan.source_tables[table].key for table in samples}
        self.patterns: dict[str, Patterns] = {}
        self._kind_of: dict[str, Callable[[dict], str]] = {}
        self._candidates: dict[tuple[str, str], list[str | Spot]] = {}  # place → what may be ids
        self._natural: dict[tuple[str, str], list[str]] = {}  # place → what may be natural keys
        self._kinds: dict[str, set[str]] = defaultdict(set)  # table → its kinds
        kinds = set()
        for table, items in samples.items():
            key = self._keys[table]
            self.type_attributes[table] = by = types.type_attribute(items, [name for name, _ in key])
            self.patterns[table] = Patterns(key, items)
            self._kind_of[table] = types.by_attribute(by) if by or ids.is_id_alone(key) else self.patterns[table].label
            groups = types.grouped(items, self._kind_of[table])
            for kind, of_kind in groups.items():
                self._choose(table, kind, of_kind)
            kinds |= groups.keys() - {""} if by else set()
        self.evidence = Evidence({*found.tables, *kinds})

    def __call__(self, page: Page) -> None:
        """Looks at a page."""
        groups: dict[str, list[dict]] = defaultdict(list)
        for value, items in types.grouped(page.items, self._kind_of[page.table]).items():
            groups[self._kind(page.table, value)] += items
        for value, items in groups.items():
            self._look(page.table, value, items)
        self._meter.add(page.table, len(page.items))
        if self._on_page:
            self._on_page(page.table, Counter(scanned=len(page.items)))

    def _kind(self, table: str, value: str) -> str:
        """The kind; "" for further ones where there are so many that they are none."""
        known = self._kinds[table]
        if len(known) <= types.MOST:
            known.add(value)
        return value if value in known else ""

    def _look(self, table: str, value: str, items: list[dict]) -> None:
        columns = as_columns(items)
        self.evidence.look(label(table, value), self._readers[table], items, columns)
        like = {
            name: sum(is_recognisable(one["S"]) for one in values if "S" in one)
            for name, values in columns.items()
            if names.says_only_id(name)
        }
        with self._lock:
            place = self.places[table, value]
            place.items += len(items)
            for name, values in columns.items():
                if name in place.attributes or len(place.attributes) < MAX_ATTRIBUTES:  # beyond, names are data
                    place.attributes[name] += len(values)
                    place.like_ids[name] += like.get(name, 0)
            if (table, value) not in self._candidates:  # a kind that is not in the sample
                self._choose(table, value, items[:SAMPLE])
            for name in self._candidates[table, value]:
                if isinstance(name, Spot):
                    at = values_at(name)
                    place.candidates[name].add([{"S": text} for item in items if (text := at(item))])
                elif name in columns:
                    place.candidates[name].add(columns[name])
            for name in self._natural[table, value]:
                place.held[name].add(columns.get(name, ()))

    def _choose(self, table: str, kind: str, items: list[dict]) -> None:
        """Chooses what to look at in items of a kind, judged from some of them."""
        key = self._keys[table]
        self._candidates[table, kind] = [*ids.candidates(items, key), *spots(key, self.patterns[table], items)]
        names_ = [name for name, _ in key]
        self._natural[table, kind] = natural_keys.candidates(items, names_) if table in self._matched else []
