"""Reads what the target really holds, for the validation: items that the mapping does not produce, and parents left out."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ...discover.renewed import Renewed, hashed
from ...mapping.ids import id_hash
from ...mapping.routes import Reject, Route
from ...mapping.walkers import LINK_BYTES
from ...run.spill import HashLog, HashSet
from ...values import key_hash, text_of
from ...walk.plan import Plan
from ...walk.preread import key_attributes_of, keys_of, whole_rows
from ...walk.walk import Page, walk
from .residual import Mine, Residual, Search


@dataclass(frozen=True)
class TargetSide:
    """The contents of the chosen entries' target tables."""

    extra: dict[str, HashSet] = field(default_factory=dict)  # target table -> key hashes, where there are any
    keys: list[tuple[str, dict]] = field(default_factory=list)  # the first extra items: table, key
    others: dict[str, HashSet] = field(
        default_factory=dict
    )  # target table -> keys that entries produce there which are not chosen, and of matched items
    residual: Residual = field(default_factory=Residual)  # what is left of the source


def look_at_target(
    plan: Plan,
    expected: dict[str, HashLog],
    held: dict[str, HashLog],
    parents: set[str],
    renewed: Renewed,
    matched: Mapping[str, HashLog],
    shown: int,
    on_page: Callable[[], object],
) -> TargetSide:
    """What the target holds. Read-only.

    `expected`: entry → keys that it produces. `held`: entry → links of its items that are in the target; gets those of the
    `parents` that are not chosen, and `renewed` their ids. `matched`: target table → keys of its items that have the place of
    source items: they are neither the mapping's nor extra. `shown`: how many extra items to name. `on_page` is
    called after each page, and may raise.
    """
    targets = {route.entry.target for route in plan.routes.values()}
    left_out = [
        name
        for name, route in plan.all_routes.items()
        if name not in plan.routes and (name in parents or route.entry.target in targets)
    ]
    others = _others(plan, left_out, targets, held, parents, renewed, matched, on_page)
    search = Search(plan, renewed, left_out)
    side = TargetSide(others=others, residual=search.found)
    scan = _Scan(plan, expected, others, on_page)
    for target in sorted(targets):
        extra = HashLog()
        for mine, keys in scan.pages(target, whole=search.needed):
            search.page(mine)
            extra.extend([key_hash(key) for key in keys])
            side.keys.extend((target, key) for key in keys[: max(0, shown - len(side.keys))])
        if len(extra):
            side.extra[target] = extra.frozen()
    for target in sorted(search.tables_again()):
        for mine, _ in scan.pages(target, whole=True):
            search.page_again(mine)
    return side


class _Scan:
    """Reads target tables page by page, and tells whose the items are."""

    def __init__(
        self,
        plan: Plan,
        expected: dict[str, HashLog],
        others: dict[str, HashSet],
        on_page: Callable[[], object],
    ):
        self._plan, self._others, self._on_page = plan, others, on_page
        self._expected: dict[str, list[tuple[str, HashSet]]] = defaultdict(list)
        for name, route in plan.routes.items():
            self._expected[route.entry.target].append((name, expected[name].frozen()))

    def pages(self, target: str, *, whole: bool) -> Iterator[tuple[list[Mine], list[dict]]]:
        """The items that the chosen entries produce, and the keys of those that no entry does.

        Without `whole` the items have their keys alone.
        """
        if (table := self._plan.target_tables[target]) is None:
            return
        names, others = sorted(name for name, _ in table.key), self._others.get(target, ())
        for items in self._plan.target.wire.scan_pages(target, attributes=None if whole else names):
            mine, extra = [], []
            for item in items:
                key = {name: item[name] for name in names}
                known = key_hash(key)
                owner = next((entry for entry, keys in self._expected[target] if known in keys), None)
                if owner is not None:
                    mine.append(Mine(owner, key, item))
                elif known not in others:
                    extra.append(key)
            yield mine, extra
            self._on_page()


class _Made(NamedTuple):
    """What an entry that is not chosen makes of a source item."""

    entry: str
    key: dict | None  # target key; None of an item that its transform quarantines
    old: dict | None  # id of the source


def _others(
    plan: Plan,
    left_out: list[str],
    targets: set[str],
    held: dict[str, HashLog],
    parents: set[str],
    renewed: Renewed,
    matched: Mapping[str, HashLog],
    on_page: Callable[[], object],
) -> dict[str, HashSet]:
    """Target table → keys that the entries `left_out` produce there, and those of `matched`.

    Adds their ids, and the links of parents that are there.

    Reads of the source no more than makes the keys, and of the target the items of those parents.
    """
    others = plan.choose(left_out)
    keys: dict[str, HashLog] = defaultdict(HashLog, matched)

    def make(page: Page, routes: list[Route], *_: object) -> list[_Made]:
        found, doubtful = keys_of(page, routes)
        made = [
            _Made(route.entry.name, None if _is_quarantined(route, item) else key, route.id_of(item))
            for route, item, key in found
        ]
        return made + [_Made(row.entry, row.key, row.old) for row in whole_rows(others, page.table, doubtful)]

    def collect(made: list[_Made]) -> None:
        for one in made:
            if one.old is not None and plan.mapping.entries[one.entry].model.makes_ids:
                renewed.add(one.entry, *hashed([text_of(one.old)]))
        for target, of_target in plan.by_target(one for one in made if one.key is not None).items():
            if target in targets:
                keys[target].extend([key_hash(one.key) for one in of_target])
            asked = [one for one in of_target if one.entry in parents and one.old is not None]
            if not asked or plan.target_tables[target] is None:
                continue
            items = plan.target.wire.get_many(target, [one.key for one in asked])
            for one, item in zip(asked, items, strict=True):
                if item is not None:
                    held[one.entry].extend([id_hash(one.entry, one.old, LINK_BYTES)])
        on_page()

    if left_out:
        transforming = {route.entry.source for route in others.routes.values() if route.entry.code}  # read whole
        attributes = {table: names for table, names in key_attributes_of(others).items() if table not in transforming}
        walk(others, collect, attributes=attributes, route=make)
    return {target: log.frozen() for target, log in keys.items()}


def _is_quarantined(route: Route, item: dict) -> bool:
    """Whether a transform quarantines an item whose key is right. Nothing but a transform needs the whole item for that."""
    return route.entry.code is not None and isinstance(route.route(item), Reject)
