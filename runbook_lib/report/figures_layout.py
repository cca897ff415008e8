"""Where the boxes and lines of a reference map go: columns by level, few crossings, no line through a box. Pure.

Each parent has one line that leaves it and passes every column on the way to its furthest child, so that what twenty
tables refer to stays one line and not twenty. Where a line passes a column it has a place of its own among the boxes.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

SWEEPS = 24
GAP = 12.0  # between boxes of a column
LANE = 6.0  # height of a passing line

Lane = tuple[str, int]  # parent, column


@dataclass
class Layout:
    """Columns of boxes and lanes, top to bottom, with the middle of each."""

    columns: list[list[str | Lane]]
    middle: dict[str | Lane, float]
    column_of: dict[str, int]
    heights: Mapping[str, float] = field(repr=False)

    def half(self, node: str | Lane) -> float:
        """Half the height of a box or lane."""
        return (self.heights[node] if isinstance(node, str) else LANE) / 2

    def way(self, child: str, parent: str) -> list[str | Lane]:
        """From the parent to the child: the lanes between them, at the ends the two boxes."""
        at, to = self.column_of[parent], self.column_of[child]
        step = 1 if to > at else -1
        return [parent, *((parent, column) for column in range(at + step, to, step)), child]


def lay_out(levels: Mapping[str, int], edges: Iterable[tuple[str, str]], heights: Mapping[str, float]) -> Layout:
    """Places the boxes that `heights` names; `edges` are (child, parent)."""
    used = sorted({levels[name] for name in heights})
    column_of = {name: used.index(levels[name]) for name in heights}
    layout = Layout([[] for _ in used], {}, column_of, heights)
    links: dict[int, set[tuple]] = defaultdict(set)  # column -> (node there, node in the next one)
    for child, parent in edges:
        if column_of[child] != column_of[parent]:
            way = layout.way(child, parent)
            for a, b in pairwise(way):
                left, right = sorted((a, b), key=lambda node: _column(node, column_of))
                links[_column(left, column_of)].add((left, right))
    nodes = {node for pairs in links.values() for pair in pairs for node in pair} | set(heights)
    for node in sorted(nodes, key=str):
        layout.columns[_column(node, column_of)].append(node)
    before, after = defaultdict(list), defaultdict(list)
    for pairs in links.values():
        for left, right in sorted(pairs, key=str):
            after[left].append(right)
            before[right].append(left)
    layout.columns = _order(layout.columns, links, before, after)
    _place(layout, before, after)
    return layout


def _column(node: str | Lane, column_of: Mapping[str, int]) -> int:
    return column_of[node] if isinstance(node, str) else node[1]


def _order(columns: list[list], links: Mapping[int, set], before: Mapping, after: Mapping) -> list[list]:
    """Barycenter sweeps to and fro; the order with the fewest crossings wins."""
    best, fewest = [list(column) for column in columns], _crossings(columns, links)
    for sweep in range(SWEEPS):
        forth = sweep % 2 == 0
        neighbours, indexes = (before, range(1, len(columns))) if forth else (after, range(len(columns) - 2, -1, -1))
        for index in indexes:
            beside = {node: place for place, node in enumerate(columns[index - 1 if forth else index + 1])}
            own = {node: place for place, node in enumerate(columns[index])}
            columns[index].sort(key=lambda node: (_mean([beside[n] for n in neighbours[node]], own[node]), own[node]))
        if (crossings := _crossings(columns, links)) < fewest:
            best, fewest = [list(column) for column in columns], crossings
    return best


def _mean(places: list[float], otherwise: float) -> float:
    return sum(places) / len(places) if places else otherwise


def _crossings(columns: list[list], links: Mapping[int, set]) -> int:
    total = 0
    for index, pairs in links.items():
        left, right = ({node: place for place, node in enumerate(columns[i])} for i in (index, index + 1))
        places = sorted((left[a], right[b]) for a, b in pairs)
        total += sum(a[0] < b[0] and a[1] > b[1] for i, a in enumerate(places) for b in places[i + 1 :])
    return total


def _place(layout: Layout, before: Mapping, after: Mapping) -> None:
    """Every node as near to what it is linked with as its neighbours in the column allow."""
    for column in layout.columns:
        layout.middle |= _apart(layout, column, dict.fromkeys(column, 0.0))
    for sweep in range(SWEEPS):
        for column in layout.columns if sweep % 2 else reversed(layout.columns):
            wanted = {}
            for node in column:
                beside = [layout.middle[other] for other in (*before[node], *after[node])]
                wanted[node] = _mean(beside, layout.middle[node])
            layout.middle |= _apart(layout, column, wanted)
    top = min((layout.middle[node] - layout.half(node) for column in layout.columns for node in column), default=0.0)
    layout.middle = {node: middle - top for node, middle in layout.middle.items()}


def _apart(layout: Layout, column: list, wanted: Mapping) -> dict:
    """The nodes in their order, none over another, as little as possible from where they want to be.

    Isotonic regression (pool adjacent violators) of the wanted middles less what must lie above each node.
    """
    above, offsets = 0.0, {}
    for index, node in enumerate(column):
        if index:
            above += layout.half(column[index - 1]) + layout.half(node) + GAP
        offsets[node] = above
    pools: list[list] = []  # [sum, members]
    for node in column:
        pools.append([wanted[node] - offsets[node], [node]])
        while len(pools) > 1 and pools[-2][0] / len(pools[-2][1]) > pools[-1][0] / len(pools[-1][1]):
            total, members = pools.pop()
            pools[-1][0] += total
            pools[-1][1] += members
    return {node: total / len(members) + offsets[node] for total, members in pools for node in members}
