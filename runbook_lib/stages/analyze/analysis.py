"""What an analysis found, for reports and views."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ...discover.profile import Profile
from ...mapping.routes import Row
from ...run.matches import Figures
from ...run.spill import Spool
from ...verdict import Alert
from ...walk.matching.search import Search
from ...walk.structure import Structures
from .checks import Check, alerts_of
from .skew import Skew

if TYPE_CHECKING:
    from ...discover.references import Finding


@dataclass
class EntryAnalysis:
    """One entry in figures."""

    records: int = 0
    routed: int = 0
    quarantined: int = 0
    losers: int = 0  # another source item has the same target key
    already_there: int = 0
    different_there: int = 0  # the target holds something else under the key
    collisions: int = 0  # target keys that two rows share although the mapping rules that out
    bytes: int = 0
    sizes: Counter = field(default_factory=Counter)  # n -> items of at most 2^n bytes, and more than half of that
    write_units: int = 0  # indexes included
    table_units: int = 0  # write units without indexes
    index_units: Counter = field(default_factory=Counter)  # index -> write units
    read_units: int = 0  # of reading the target items, each by its key
    expired: int = 0  # items whose time to live, by the source table's attribute, was over when the analysis began
    skipped: int = 0  # those of them that `expired: skip` leaves out
    matched: int = 0  # items of the target have their place
    references: Counter = field(default_factory=Counter)  # path -> references
    dangling: Counter = field(default_factory=Counter)  # path -> references whose parent is not in the source
    several: Counter = field(default_factory=Counter)  # path -> references whose id several entries have
    unreadable: Counter = field(default_factory=Counter)  # path -> values that cannot be read as ids
    sparse: Counter = field(default_factory=Counter)  # index key attribute -> items it was left out of
    reasons: Counter = field(default_factory=Counter)  # (attribute, reason) -> quarantined items
    parents: Counter = field(default_factory=Counter)  # (path, parent) -> references
    profile: Profile = field(default_factory=dict)
    ledger: dict[str, Counter] = field(
        default_factory=dict
    )  # source attribute -> what became of it (walk/ledger.WORDS) -> items
    fell_back: Counter = field(default_factory=Counter)  # field -> items whose value did not convert and fell back
    valued: Counter = field(default_factory=Counter)  # field that can fall back -> items with a value for it
    samples: list[tuple[dict, Row]] = field(default_factory=list)  # source item, what becomes of it


class Unmatched(NamedTuple):
    """A name in the mapping that no item has, or an entry that selects nothing."""

    table: str  # the entry
    rule: str  # reference, id, from, template, where, drop, query, index, or empty
    name: str  # as in the mapping; of an empty table its name
    items: int  # of the entry; for an index key of all entries that write to the table
    suggestion: str | None  # the nearest name that the items do have
    level: str  # REVIEW, or "" for a note
    accepted: bool  # the mapping says that this is right


class Doubt(NamedTuple):
    """What a mapping probably means otherwise: a note."""

    table: str  # the entry
    said: str
    action: str


@dataclass
class SourceState:
    """One source table."""

    items: int = 0
    read_units: int = 0  # of one strongly consistent scan; of large pages from a sample of their items
    ttl: str | None = None  # the attribute by which items expire
    ttl_known: bool = True  # False: DescribeTimeToLive is not available


@dataclass(frozen=True)
class TargetState:
    """One target table before the migration."""

    exists: bool
    empty: bool
    differences: list[str]
    has_stream: bool = False


class Bound(NamedTuple):
    """How long something takes, and what makes it take so long."""

    seconds: float
    reason: str


NO_BOUND = Bound(0.0, "")


class Cost(NamedTuple):
    """What a stage takes of both sides. Provisioned tables give units, but cost nothing more."""

    read_units: int
    write_units: int  # those of replicas included
    usd: float  # at list price


class Prices(NamedTuple):
    """Where the prices come from."""

    date: str
    region: str  # whose prices the target has
    source: str
    source_region: str  # whose prices the source has
    unknown: list[str]  # regions that no price is known for
    file: str  # the user's, or the one that is built in
    old: bool  # more than a year


NO_PRICES = Prices("", "", "", "", [], "", False)


@dataclass(frozen=True)
class Analysis:
    """What the migration would do: the result of doing everything except the writing."""

    tables: dict[str, EntryAnalysis]
    levels: dict[str, int]  # entry -> level, parents first
    targets: dict[str, TargetState]  # target table -> its state
    unrouted: dict[str, int]  # source table -> items
    seconds: float  # that reading took
    checks: list[Check]  # the go/no-go list, complete
    listed: dict[str, Spool]  # quarantine, conflicts, unrouted: entries of the listing files
    unmatched: list[Unmatched] = field(default_factory=list)  # in the order of the mapping
    doubts: list[Doubt] = field(default_factory=list)
    undeclared: list["Finding"] = field(default_factory=list)  # ids that no rule rewrites
    not_references: list["Finding"] = field(default_factory=list)  # the same, where the mapping says that they are none
    # Ids of an entry that are ids of another; both are renewed.
    shared_ids: list["Finding"] = field(default_factory=list)
    sources: dict[str, SourceState] = field(default_factory=dict)  # source table -> what was read of it
    skew: Skew = field(default_factory=dict)
    reading: Bound = NO_BOUND  # of 03
    writing: Bound = NO_BOUND
    costs: dict[str, Cost] = field(default_factory=dict)  # stage -> what it takes
    prices: Prices = NO_PRICES
    structures: Structures | None = None  # of both sides' tables, when it began
    search: Search | None = None  # for matches; None where nothing says `match`, or they were frozen before
    matches: Figures = field(default_factory=dict)  # entry that says `match` -> what the search counted

    def ordered(self, entries: Iterable[str] | None = None) -> list[tuple[str, EntryAnalysis]]:
        """All entries, or these of them, by level and name: parents first."""
        names = self.tables if entries is None else set(entries) & self.tables.keys()
        return [(n, self.tables[n]) for n in sorted(names, key=lambda n: (self.levels.get(n, 0), n))]

    @property
    def ledgers(self) -> dict[str, dict[str, Counter]]:
        """Entry → what became of its source attributes; parents first."""
        return {name: table.ledger for name, table in self.ordered()}

    @property
    def alerts(self) -> list[Alert]:
        """The checks that are open: what the verdict is made of."""
        return alerts_of(self.checks)

    @property
    def records(self) -> int:
        """Items that the entries select; one item counts once for each entry."""
        return sum(table.records for table in self.tables.values())

    @property
    def records_by_entry(self) -> dict[str, int]:
        """Entry → items that it selects."""
        return {name: table.records for name, table in self.tables.items()}

    @property
    def relationships(self) -> int:
        """References found."""
        return sum(table.references.total() for table in self.tables.values())

    @property
    def dangling(self) -> int:
        """References whose parent is not in the source."""
        return sum(table.dangling.total() for table in self.tables.values())

    @property
    def estimated_seconds(self) -> float:
        """How long 03 takes at least."""
        return self.reading.seconds + self.writing.seconds

    @property
    def write_units(self) -> int:
        """Write units of all items that the routes make, indexes included, replicas not."""
        return sum(table.write_units for table in self.tables.values())
