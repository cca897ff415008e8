"""Source ids, and the name of the source's environment, that are left in the target: what was found, and what it means."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ...discover.left_out import left_out, places_of
from ...discover.renewed import Renewed
from ...discover.survivors import Survivor, Survivors
from ...run.spill import Spool
from ...verdict import REVIEW, Alert, plural
from ...walk.plan import Plan

LONG = 8  # characters from which the name of an environment is no common word
ENVIRONMENT_HOLE = "{source.environment}"


class Mine(NamedTuple):
    """One item of the target that the mapping makes."""

    entry: str
    key: dict
    item: dict


@dataclass
class Left:
    """What is left of one kind: figures, and a line for each value."""

    values: int = 0
    by_entry: Counter = field(default_factory=Counter)  # items
    by_path: dict[str, Counter] = field(default_factory=lambda: defaultdict(Counter))  # entry -> path -> items
    owners: set[tuple[str, str, str | None]] = field(default_factory=set)  # entry, path, the entry whose ids are there
    lines: Spool = field(default_factory=Spool)

    def add(self, mine: Mine, found: list[Survivor], before: Collection[Survivor] = ()) -> None:
        """Adds what was found in one item; `before`: what was found in it and added before."""
        self.by_entry[mine.entry] += not before
        self.values += len(found)
        self.by_path[mine.entry].update({one.path for one in found} - {one.path for one in before})
        self.owners |= {(mine.entry, one.path, one.to) for one in found}
        for one in sorted({*found} - {*before}):
            self.lines.append({"table": mine.entry, "key": mine.key, "path": one.path, "to": one.to})

    @property
    def items(self) -> int:
        """In how many items something is left."""
        return self.by_entry.total()

    def alerts(self, what: str, level: str, action: str) -> list[Alert]:
        """One for each entry."""
        return [
            Alert(
                level,
                entry,
                f"{plural(number, 'item')} with {what} left ({', '.join(sorted(self.by_path[entry]))})",
                action,
            )
            for entry, number in sorted(self.by_entry.items())
        ]

    def as_json(self) -> dict[str, Any]:
        """The figures."""
        return {
            "items": self.items,
            "values": self.values,
            "by_path": {entry: dict(sorted(paths.items())) for entry, paths in sorted(self.by_path.items())},
        }


@dataclass
class Residual:
    """What is left of the source in the target."""

    ids: Left = field(default_factory=Left)
    environment: Left = field(default_factory=Left)
    name: str | None = None  # the source's environment, where it was looked for
    coincidences: Counter = field(default_factory=Counter)  # (target table, path) -> values that only look like ids
    left_out: dict[str, list[str]] = field(default_factory=dict)  # entry -> paths that were not looked at
    entries: list[str] = field(default_factory=list)  # whose ids were looked for
    not_looked_for: list[str] = field(default_factory=list)  # entries that get new ids, and were not read

    def alerts(self) -> list[Alert]:
        """The open items."""
        level = REVIEW if len(self.name or "") >= LONG else ""
        alerts = self.ids.alerts("an id of the source", REVIEW, _IDS)
        alerts += self.environment.alerts("the name of the source's environment", level, _NAME)
        if number := self.coincidences.total():
            message = f"{plural(number, 'value')} equal to ids of the source, at paths that hold other things"
            alerts.append(Alert("", "", message, "Nothing to do: numbers and short texts coincide."))
        if self.not_looked_for:
            message = f"nobody looked for the ids of {', '.join(self.not_looked_for)}, which `--tables` left out"
            alerts.append(Alert("", "", message, _NOT_READ))
        return alerts

    def settles(self, plan: Plan, one: Mapping[str, Any]) -> bool:
        """Whether the search has its own answer to a line of the analysis' `undeclared`: it found ids there, or none.

        None is an answer where the values stand in the target as they are, and were looked at.
        """
        table, to, entries = one["table"], one["to"], plan.mapping.entries
        entry = entries[table]
        places = places_of(entry, one["path"])
        left = [(path, owner) for name, path, owner in self.ids.owners if name == table]
        if any(places.hold(path) or (owner == to and not places.are_known) for path, owner in left):
            return True
        if "{" in one["path"] or not places.paths or not places.are_copies or to not in self.entries:
            return False
        aside = left_out(entry, entries)
        doubtful = [path for name, path in self.coincidences if name == entry.target]
        return not any(map(aside.touches, places.paths)) and not any(map(places.hold, doubtful))


_IDS = (
    "See residual-ids.jsonl. They point at nothing, or at the wrong item: declare the reference (01 gives the line) and "
    "migrate again, or list the path under `not_references`."
)
_NOT_READ = (
    "That no id of the source is left proves nothing about theirs. Validate without `--tables` to look for them, too."
)
_NAME = "See residual-environment.jsonl. Check that nothing in the target reads from the source."


class Search:
    """Looks through the items of the target, page by page, and counts. Not thread-safe."""

    def __init__(self, plan: Plan, renewed: Renewed, walked: Collection[str]):
        """`renewed`: the ids to look for. `walked`: the entries that were read for theirs, beside the chosen ones."""
        entries = {name: route.entry for name, route in plan.routes.items()}
        left = {name: left_out(entry, plan.mapping.entries) for name, entry in entries.items()}
        renewing = [name for name, entry in plan.mapping.entries.items() if entry.model.renews_ids]
        self.found = Residual(
            entries=renewed.entries,
            not_looked_for=sorted({*renewing} - {*entries} - {*walked}),
            left_out={name: [*one.listed] for name, one in left.items() if one.listed},
        )
        sides = plan.parameters.source.environment, plan.parameters.target.environment
        used = any(ENVIRONMENT_HOLE in (entry.model.source or "") for entry in entries.values())
        self.found.name = sides[0] if used and sides[0] != sides[1] else None
        mapped = plan.mapping.entries
        self._survivors = Survivors(renewed, entries, left, self.found.name, within=sides[1], mapped=mapped)
        self._targets = {name: entry.target for name, entry in entries.items()}
        self._again: set[str] = set()  # entries whose items have to be looked at again

    @property
    def needed(self) -> bool:
        """Whether there is anything to look for."""
        return bool(self.found.entries or self.found.name)

    def page(self, mine: list[Mine]) -> None:
        """Looks at a page of a target table."""
        for entry, some in _by_entry(mine):
            self._count(some, self._survivors.look(entry, [one.item for one in some]))

    def tables_again(self) -> set[str]:
        """The target tables to go through once more, by `page_again`. Call it after the last page."""
        self._again, coincidences = self._survivors.bare()
        for (entry, path), number in coincidences.items():
            self.found.coincidences[self._targets[entry], path] += number
        return {self._targets[entry] for entry in self._again}

    def page_again(self, mine: list[Mine]) -> None:
        """Looks at a page again, for bare ids."""
        for entry, some in _by_entry(mine):
            if entry in self._again:
                self._look_again(entry, some)

    def _look_again(self, entry: str, mine: list[Mine]) -> None:
        items = [one.item for one in mine]
        found = self._survivors.look_again(entry, items)
        some = sorted({one.index for one in found})
        before: dict[int, set[Survivor]] = defaultdict(set)
        for one in self._survivors.look(entry, [items[at] for at in some]):
            if one.to is not None:
                before[some[one.index]].add(one._replace(index=some[one.index]))
        self._count(mine, found, before)

    def _count(
        self, mine: list[Mine], found: list[Survivor], before: Mapping[int, set[Survivor]] | None = None
    ) -> None:
        by_item: dict[int, tuple[list[Survivor], list[Survivor]]] = defaultdict(lambda: ([], []))
        for one in found:
            by_item[one.index][one.to is None].append(one)
        for index, kinds in by_item.items():
            for left, some in zip((self.found.ids, self.found.environment), kinds, strict=True):
                if some:
                    left.add(mine[index], some, (before or {}).get(index, ()))


def _by_entry(mine: list[Mine]) -> Iterable[tuple[str, list[Mine]]]:
    found: dict[str, list[Mine]] = defaultdict(list)
    for one in mine:
        found[one.entry].append(one)
    return found.items()


def lines_of(residual: Residual) -> dict[str, Spool]:
    """Listing → its lines; the key is the target's."""
    return {"residual-ids": residual.ids.lines, "residual-environment": residual.environment.lines}


def as_json(residual: Residual) -> dict[str, dict[str, Any]]:
    """The figures as the report has them."""
    paths: dict[str, dict[str, int]] = defaultdict(dict)
    for (table, path), number in sorted(residual.coincidences.items()):
        paths[table][path] = number
    ids = residual.ids.as_json() | {"coincidences": residual.coincidences.total(), "coincidences_by_path": paths}
    about = {
        "entries": residual.entries,
        "not_looked_for": residual.not_looked_for,
        "left_out": residual.left_out,
    }
    return {
        "residual_ids": ids | about,
        "residual_environment": residual.environment.as_json(),
    }
