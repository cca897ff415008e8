"""How evenly the target's partition keys spread what is written. Holds no more than a few hundred values a key.

A partition takes 1,000 write units a second, whatever its table may take ("Burst and adaptive capacity" in the DynamoDB
developer guide), so the heaviest value of a partition key bounds how fast a table or an index can be filled.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ...discover.distinct import Distinct
from ...dynamo.rate_limiter import WRITE_UNIT
from ...mapping.create import ALL, KEYS_ONLY
from ...mapping.routes import Key, Route, Row
from ...mapping.text import templates
from ...values import size
from ...verdict import REVIEW, plural
from ...walk.plan import Plan
from .checks import NOTE, Check

KEPT = 256  # values that are counted for one key
PARTITION_WRITES = 1_000  # write units a second that one partition takes
PARTITION_READS = 3_000  # read units
LONG = 600.0  # seconds for one partition from which on it is worth a decision before the migration
SMALL = 10_000  # write units of one value, ten seconds of a partition, below which only the design counts
TOP = 5  # values of a partition key that are told apart
FEW = 100  # write units below which no design matters
DATES = 4  # attributes of an entry whose months are counted
MAX_MONTHS = 600
ALL_OF = 16  # pages of an entry whose months are counted, and
EVERY = 8  # of the further ones each such
ENOUGH = 0.9  # share of an entry's items that must have a date, for its month to be proposed
_DATE = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])-\d\d")
_MONTH = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])", re.ASCII)


class Heavy:
    """Units by value. Exact up to KEPT different values; beyond them each count may be too small, by 1 / KEPT of all at most.

    Misra and Gries' counters in their mergeable form: Agarwal et al., Mergeable Summaries, PODS 2012.
    """

    def __init__(self) -> None:
        self.total = 0
        self._units: dict[str, int] = {}
        self._distinct: Distinct | None = None  # from the KEPT-th value on

    def add(self, page: Mapping[str, int]) -> None:
        """Adds a page's units by value."""
        self.total += sum(page.values())
        if self._distinct is None and len(self._units.keys() | page) > KEPT:
            self._distinct = Distinct()
            self._distinct.add("S", self._units)
        if self._distinct is not None:
            self._distinct.add("S", page)
        units = Counter(self._units)
        units.update(_pruned(page))
        self._units = _pruned(units)

    @property
    def distinct(self) -> int:
        """How many different values; above KEPT an estimate."""
        return self._distinct.count if self._distinct else len(self._units)

    @property
    def top(self) -> tuple[tuple[str, int], ...]:
        """The heaviest values and their units, at most TOP; of equal ones the first by name, and "" where none stands out."""
        return tuple(sorted(self._units.items(), key=lambda one: (-one[1], one[0]))[:TOP]) or (("", 0),)


def _pruned(units: Mapping[str, int]) -> Mapping[str, int]:
    """At most KEPT of the values; all lose what the heaviest of the others has, which keeps the error as Heavy says."""
    if len(units) <= KEPT:
        return units
    cut = sorted(units.values(), reverse=True)[KEPT]
    return {value: number - cut for value, number in units.items() if number > cut}


class _Each(Heavy):
    """The units of keys that no two items share: each item is a value of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._items = self._most = 0

    def add(self, page: Mapping[str, int]) -> None:
        self._items += page["items"]
        self._most = max(self._most, page["most"])
        self.total += page["total"]

    @property
    def distinct(self) -> int:
        return self._items

    @property
    def top(self) -> tuple[tuple[str, int], ...]:
        return (("", self._most),)


class TargetIndex(NamedTuple):
    """An index of a target table, as it is or as 02 will make it."""

    name: str
    local: bool  # it shares its table's capacity
    partition: Key  # what divides its entries: up to four attributes
    key: Key
    projected: frozenset[str] | None  # the attributes that its entries hold, keys included; None: all of the item

    def units(self, item: dict, number: int) -> int:
        """The write units of an item's entry, 0 where it has none. `number`: those of the item in the table.

        An entry is as large as what is projected into it ("Provisioned throughput considerations for Global Secondary
        Indexes" in the DynamoDB developer guide).
        """
        for name, _ in self.key:
            if name not in item:
                return 0
        if number == 1 or self.projected is None:
            return number
        return -(-size({name: item[name] for name in self.projected if name in item}) // WRITE_UNIT)


class Use(NamedTuple):
    """How one partition key of a target table spreads what is written."""

    distinct: int  # values; above KEPT an estimate
    units: int  # write units of all items that have it; of an index, of their entries there
    hot: int  # write units of its heaviest value
    rule: str = ""  # the template that makes it, as in the mapping; "" where none, or more than one, does
    constant: bool = False  # whether that template has no hole
    proposal: str = ""  # the template with a month added; "" where no date lends itself
    months: int = 0  # into how many values the proposal would divide
    top: tuple[tuple[str, int], ...] = ()  # its heaviest values, never shown, and their units; "": none is shared

    @property
    def share(self) -> float:
        """Of all write units, the part under the heaviest value."""
        return self.hot / self.units if self.units else 0.0

    @property
    def seconds(self) -> float:
        """What the heaviest value takes to be written, at the least."""
        return self.hot / PARTITION_WRITES

    def to_write(self, key: str, target: str) -> tuple[float, str]:
        """Those seconds, and why."""
        why = f"one value of {key} in {target}: a partition takes {PARTITION_WRITES:,} write units a second"
        return self.seconds, why

    def to_read(self, key: str, target: str) -> tuple[float, str]:
        """The same for reading its items one by one. An item of one write unit takes one read unit, larger ones fewer."""
        why = f"one value of {key} in {target}: a partition takes {PARTITION_READS:,} read units a second"
        return self.hot / PARTITION_READS, why


Skew = dict[
    str, dict[str, Use]
]  # target table -> partition key attribute (`a + b` of several), of the table or an index


class SpreadPage(NamedTuple):
    """What the rows of one entry in one page add."""

    entry: str
    sizes: list[int]  # bytes of each row's item
    units: list[int]  # its write units, without indexes
    index_units: Counter  # index -> write units of the rows' entries in it
    keys: Mapping[str, Mapping[str, int]]  # partition key attribute -> value -> write units
    months: Mapping[str, Counter] | None  # source attribute -> month -> items; None: not looked at


def target_keys(plan: Plan, entry: str) -> tuple[Key, list[TargetIndex]]:
    """The key of an entry's target table and its indexes, as they are or as 02 will make them."""
    route = plan.routes[entry]
    table, create = plan.target_tables[route.entry.target], route.entry.model.create
    key = table.key if table else route.shape.target_key
    found = []
    for name, index in (table.indexes if table else create.all_indexes if create else {}).items():
        own, local = (index.key, index.local) if table else (tuple(index.key.items()), name in create.local_indexes)
        first = own[: getattr(index, "partition", 1)]
        found.append(TargetIndex(name, local, first, own, _projected(key, own, index.projection)))
    return key, found


def _projected(key: Key, own: Key, projection: str | Sequence[str]) -> frozenset[str] | None:
    if projection == ALL:
        return None
    return frozenset(() if projection == KEYS_ONLY else projection) | dict(key).keys() | dict(own).keys()


class Spread:
    """Counts, page by page, what is written under each value of the partition keys. `add` wants a lock around it."""

    def __init__(self, plan: Plan):
        """Of the plan's target tables, and their indexes."""
        self._plan = plan
        # Entry -> partition key attribute that items can share -> type letter.
        self._keys: dict[str, dict[str, str]] = {}
        # Entry -> the names of several attributes that are one partition key -> they, places of the indexes that have it.
        self._joined: dict[str, dict[str, tuple[Key, list[int]]]] = defaultdict(dict)
        self._indexes: dict[str, list[TargetIndex]] = {}  # entry -> those of its target table
        # Entry -> such an attribute -> places of the indexes that have it; none where it is the table's own.
        self._having: dict[str, dict[str, list[int]]] = defaultdict(dict)
        self._alone: dict[str, str] = {}  # entry -> partition key attribute that is the whole key
        self._dates: dict[str, list[str]] = {}  # entry whose keys a template makes -> source attributes that are dates
        self._heavy: dict[tuple[str, str], Heavy] = {}
        self._months: dict[str, dict[str, Counter]] = defaultdict(dict)  # entry -> source attribute -> month -> items
        self._pages: Counter = Counter()  # entry -> pages seen
        self._dated: Counter = Counter()  # entry -> items whose dates were looked at
        for name, route in plan.routes.items():
            key, self._indexes[name] = target_keys(plan, name)
            partitions = [index.partition for index in self._indexes[name]]
            self._keys[name] = dict(
                [own[0] for own in partitions if len(own) == 1] + ([key[0]] if len(key) > 1 else [])
            )
            for attribute, letter in self._keys[name].items() - {key[0]}:
                self._having[name][attribute] = [
                    at for at, own in enumerate(partitions) if own == ((attribute, letter),)
                ]
            for own in partitions:
                if len(own) > 1:
                    label, places = " + ".join(dict(own)), [at for at, other in enumerate(partitions) if other == own]
                    self._joined[name][label] = own, places
                    self._heavy.setdefault((route.entry.target, label), Heavy())
            if key[0][0] not in self._keys[name]:
                self._alone[name] = key[0][0]
                self._heavy.setdefault((route.entry.target, key[0][0]), _Each())
            for attribute in self._keys[name]:
                self._heavy.setdefault((route.entry.target, attribute), Heavy())
            if any(_template(route, attribute) for attribute in self._keys[name]):
                self._dates[name] = _dated(route)

    def of_page(self, entry: str, rows: Sequence[Row]) -> SpreadPage:
        """What one page adds, with the size of each row's item.

        One loop for the sizes and the keys: what costs is to bring an item into the processor's cache, once.
        """
        joined = self._joined[entry]
        found: dict[str, dict[str, int]] = {label: defaultdict(int) for label in (*self._keys[entry], *joined)}
        indexes, having = self._indexes[entry], self._having[entry]
        local = [at for at, index in enumerate(indexes) if index.local]  # in the table's own partitions
        keys = [(name, letter, found[name], having.get(name, ())) for name, letter in self._keys[entry].items()]
        several = [(own, found[label], places) for label, (own, places) in joined.items()]
        sizes, units, of_indexes = [], [], []
        for row in rows:
            item = row.item
            bytes_ = size(item)
            number = -(-bytes_ // WRITE_UNIT)
            sizes.append(bytes_)
            units.append(number)
            own = [index.units(item, number) for index in indexes]
            of_indexes.append(own)
            for attribute, letter, by_value, places in keys:
                # Absent, or without the rest of the key: not in this index. Of several indexes the heaviest counts.
                if attribute in item and (
                    most := max([own[at] for at in places]) if places else number + sum([own[at] for at in local])
                ):
                    by_value[item[attribute][letter]] += most
            for parts, by_value, places in several:
                if most := max([own[at] for at in places]):
                    by_value["\0".join([item[name][letter] for name, letter in parts])] += most
        if alone := self._alone.get(entry):
            found[alone] = {"items": len(rows), "most": max(units), "total": sum(units)}
        index_units = Counter(
            {index.name: sum(column) for index, column in zip(indexes, zip(*of_indexes, strict=True), strict=True)}
        )
        return SpreadPage(entry, sizes, units, index_units, found, self._months_of(entry, rows))

    def _months_of(self, entry: str, rows: Sequence[Row]) -> dict[str, Counter] | None:
        """Source attribute → month → items; None where this page is passed over."""
        if entry not in self._dates:
            return None
        self._pages[entry] += 1
        if self._pages[entry] > ALL_OF and self._pages[entry] % EVERY:
            return None
        known, months = self._dates[entry], {}
        for name, value in rows[0].source.items() if len(known) < DATES else ():
            if name not in known and _DATE.match(value.get("S", "")):
                known.append(name)
        for name in known[:DATES]:
            column = Counter([row.source[name].get("S", "")[:7] for row in rows if name in row.source])
            months[name] = Counter({text: number for text, number in column.items() if _MONTH.fullmatch(text)})
        return months

    def add(self, page: SpreadPage) -> None:
        """Adds what `of_page` found."""
        target = self._plan.routes[page.entry].entry.target
        for attribute, by_value in page.keys.items():
            self._heavy[target, attribute].add(by_value)
        if page.months is not None:
            self._dated[page.entry] += len(page.sizes)
            for name, counted in page.months.items():
                mine = self._months[page.entry].setdefault(name, Counter())
                if len(mine) <= MAX_MONTHS:
                    mine.update(counted)

    def result(self) -> Skew:
        """Target table → partition key attribute → its use."""
        skew: Skew = {}
        for (target, attribute), heavy in sorted(self._heavy.items()):
            value, hot = heavy.top[0]
            use = Use(heavy.distinct, heavy.total, hot, top=heavy.top)
            made = [
                (name, rule)
                for name, route in self._plan.routes.items()
                if route.entry.target == target and (rule := _template(route, attribute)) is not None
                if _holes(rule) or templates.parse(rule) == (value,)
            ]
            constant = [one for one in made if not _holes(one[1])]
            if len(named := constant or made) == 1:
                ((entry, rule),) = named
                use = use._replace(rule=rule, constant=bool(constant), **self._proposal(entry, rule))
            skew.setdefault(target, {})[attribute] = use
        return skew

    def _proposal(self, entry: str, rule: str) -> dict:
        """The template with a month added, and the values it would give.

        Of a date that another template reads, if there is one: it will not change as others may. Else of that which most
        items have.
        """
        items, best = self._dated[entry], (False, 0.0, "", 0)
        if any(hole.format for hole in _holes(rule)):
            return {}
        read = _dated(self._plan.routes[entry])
        for name, months in self._months[entry].items():
            share = months.total() / items
            if share >= ENOUGH and 1 < len(months) <= MAX_MONTHS:
                best = max(best, (name in read, share, name, len(months)))
        _, share, name, number = best
        if not name:
            return {}
        default = "" if share == 1 else "|0000-00"
        return {"proposal": f"{rule}#{{{name}:%Y-%m{default}}}", "months": number + (share < 1)}


def _template(route: Route, attribute: str) -> str | None:
    rule = (route.entry.model.fields or {}).get(attribute)
    if rule and rule.is_constant and "S" in rule.constant:
        return rule.constant["S"].replace("{", "{{").replace("}", "}}")
    return rule.template if rule else None


def _holes(template: str) -> list[templates.Hole]:
    return templates.holes(templates.parse(template))


def _dated(route: Route) -> list[str]:
    """The attributes that templates read as dates."""
    holes = [hole for rule in (route.entry.model.fields or {}).values() for hole in rule.holes]
    return list(dict.fromkeys(hole.steps[0] for hole in holes if hole.format and len(hole.steps) == 1))[:DATES]


def skew_checks(skew: Skew, others: float) -> list[Check]:
    """A check for each partition key with too heavy a value, or one that says there is none.

    `others`: the seconds that writing takes if no partition bounds it. REVIEW: one partition takes longer, and more than
    LONG. NOTE: it takes longer, and more than ten seconds; or a template without a hole puts most of the table into one
    partition, which is quick today and grows with the table.
    """
    found = []
    for target, keys in skew.items():
        for attribute, use in keys.items():
            slow = use.seconds > others and use.hot >= SMALL
            level = REVIEW if slow and use.seconds > LONG else NOTE if slow or _designed(use) else ""
            if level:
                said = {"attribute": attribute, "distinct": use.distinct, "largest_share": round(use.share, 4)}
                found.append(
                    Check("target", target, "skew", said, None, level, _mend(attribute, use), _fact(attribute, use))
                )
    if not found:
        most = max((use.share for keys in skew.values() for use in keys.values() if use.hot >= FEW), default=0.0)
        fact = "no value of a partition key is so heavy that its partition bounds the migration"
        found.append(Check("target", "", "skew", {"largest_share": round(most, 4)}, None, "", "", fact))
    return found


def _designed(use: Use) -> bool:
    return use.constant and use.share >= 0.5 and use.hot >= FEW


def _fact(attribute: str, use: Use) -> str:
    who = f"{attribute}: {use.rule}" if use.rule else f"one value of {attribute}"
    if use.rule and not use.constant:
        who = f"one value of {who}"
    least = f", so at least {plural(round(use.seconds), 'second')}" if use.hot >= SMALL else ""
    share = "100" if use.hot == use.units else f"{100 * use.share:.0f}"
    return (
        f"{who} puts {share} % of the write units into one partition, which takes {PARTITION_WRITES:,} a second{least}"
    )


def _mend(attribute: str, use: Use) -> str:
    if use.proposal:
        into = f"{use.months} values" if use.constant else f"up to {use.months} values each"
        return f'`{attribute}: "{use.proposal}"` would spread them over {into}; queries then name the month.'
    if use.rule:
        return f"Add a part with more values to the template of {attribute}, or accept the time that it takes."
    return "A mapping can build another key; or accept the time that it takes."
