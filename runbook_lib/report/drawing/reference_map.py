"""Draws a reference map: boxes, lines with counts at the child, cycles and dangling references in colour."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from ...verdict import plural
from .canvas import GREY, INK, RED, Canvas, text_width
from .html import ACCENT, Html, details, muted, note

MARGIN, CURVE, PORT, PAD, BASE = 16.0, 46.0, 15.0, 10.0, 36.0
LABEL, STUB, BULGE, ARROW = 10.0, 14.0, 26.0, 6.0
PLAIN = "#9fabb8"
MOVETO, LINETO, CURVE4 = 1, 2, 4  # matplotlib's path codes

Edge = tuple[str, str | None]
Counts = Mapping[Edge, tuple[int, int]]  # (child, parent) -> references, dangling
SWEEPS = 24
FEW = 6  # entries without references that are named; more unfold
GAP = 12.0  # between boxes of a column
LANE = 6.0  # height of a passing line

Lane = tuple[str, int]  # parent, column


def draw_map(
    levels: Mapping[str, int],
    edges: Iterable[tuple[str, str | None, int, int]],
    records: Mapping[str, int],
) -> Html:
    """What refers to what: columns by level, parents left; edges are (child, parent, references, dangling).

    An edge whose parent is None leads to an unknown table. Tables without references stand below.
    """
    merged: dict[tuple[str, str | None], list[int]] = {}
    for child, parent, count, dangling in edges:
        counts = merged.setdefault((child, parent), [0, 0])
        counts[0] += count
        counts[1] += dangling
    known = {pair: tuple(counts) for pair, counts in merged.items() if pair[0] in levels}
    known = {(c, p if p in levels else None): counts for (c, p), counts in known.items()}
    linked = {name for pair in known for name in pair if name}
    alone = sorted(set(levels) - linked)
    below = Html("")
    if alone:
        names = Html(" · ").join(Html("{} <b>{:,}</b>").format(name, records.get(name, 0)) for name in alone)
        said = f"{plural(len(alone), 'entry', 'entries')} without references"
        below = details(said, names) if len(alone) > FEW else note(Html("{} {}").format(muted(f"{said}:"), names))
    if not known:
        return below or note("No tables.")
    return Html("<div>{}</div>{}").format(_Map(levels, known, records).image(), below)


class _Map:
    def __init__(self, levels: Mapping[str, int], edges: Counts, records: Mapping[str, int]):
        self.edges, self.records = edges, records
        names = sorted({name for edge in edges for name in edge if name})
        self.same = [e for e in edges if e[1] and levels[e[0]] == levels[e[1]]]  # within a column: cycles and selves
        self.left, self.right = defaultdict(list), defaultdict(list)  # child -> its edges that leave on that side
        for child, parent in edges:
            if parent is None or levels[parent] < levels[child]:
                self.left[child].append((child, parent))
            elif levels[parent] > levels[child]:
                self.right[child].append((child, parent))
        for edge in self.same:  # both ends are at the right
            self.right[edge[0]].append(edge)
            self.right[edge[1]].append((*edge, "in"))
        buses = {parent for child, parent in edges if parent and levels[parent] < levels[child]}
        for parent in buses:
            self.right[parent].append("bus")
        slots = {name: max(len(self.left[name]), len(self.right[name])) for name in names}
        heights = {name: max(BASE, slots[name] * PORT + 6) for name in names}
        between = [(child, parent) for child, parent in edges if parent]
        self.layout = lay_out(levels, between, heights)
        self._columns_x()
        self._ports()

    def _columns_x(self) -> None:
        """Left and right of every column: as wide as its names, as far apart as the labels between them need."""
        self.x: list[tuple[float, float]] = []
        x = MARGIN
        for column in self.layout.columns:
            boxes = [node for node in column if isinstance(node, str)]
            before = [self._label(edge) for name in boxes for edge in self.left[name]]
            after = [self._label(e) for name in boxes for e in self.right[name] if e in self.edges]
            zone = max((text_width(label, LABEL) for label in before), default=0) + 16 if before else 0
            x += zone if not self.x else zone + CURVE
            width = max((text_width(name) for name in boxes), default=0) + 2 * PAD
            self.x.append((x, x + width))
            x += width + (max(text_width(label, LABEL) for label in after) + BULGE + 16 if after else STUB)
        legend = MARGIN + sum(text_width(words, 10) + 52 for _, words in self._shown())
        self.width = max(x + MARGIN, legend)

    def _label(self, edge: Edge) -> str:
        count, dangling = self.edges[edge]
        if edge[1] is None:
            return f"({dangling:,})"
        return f"{count:,} ({dangling:,})" if dangling else f"{count:,}"

    def _ports(self) -> None:
        """Each edge's height at its box: in the order in which the lines arrive, so that they do not cross."""
        self.port: dict[tuple, float] = {}
        for side in (self.left, self.right):
            for name, ends in side.items():
                ends.sort(key=lambda end: (self._from(name, end), str(end)))
                middle = self.layout.middle[name]
                for index, end in enumerate(ends):
                    self.port[name, end] = middle + (index - (len(ends) - 1) / 2) * PORT

    def _from(self, name: str, end) -> float:
        if end == "bus":
            return self.layout.middle[name]
        child, parent, *_ = end
        if parent is None:
            return float("inf")
        if child == parent:
            return self.layout.middle[name] - 1
        if end in self.edges and end not in self.same:
            return self.layout.middle[self.layout.way(child, parent)[-2]]
        return self.layout.middle[parent if name == child else child]

    def image(self) -> Html:
        bottom = max(self.layout.middle[n] + self.layout.half(n) for column in self.layout.columns for n in column)
        self.canvas = Canvas(self.width, bottom + 2 * MARGIN + 24)
        for edge in self.edges:
            self._edge(edge)
        for name in self.layout.heights:
            self._box(name)
        self._legend(bottom + 2 * MARGIN + 10)
        words = (
            f"{child} to {parent or 'an unknown table'}: {count:,}" + (f", {dangling:,} dangling" if dangling else "")
            for (child, parent), (count, dangling) in self.edges.items()
        )
        return self.canvas.image(f"References, parents left. {'; '.join(words)}.")

    def _y(self, height: float) -> float:
        return height + MARGIN

    def _box(self, name: str) -> None:
        left, right = self.x[self.layout.column_of[name]]
        half, middle = self.layout.half(name), self._y(self.layout.middle[name])
        self.canvas.box(left, middle - half, right - left, 2 * half, fill="#f3f6f9", edge="#8a97a5", round_=5)
        self.canvas.text((left + right) / 2, middle - 7, name, ha="center")
        self.canvas.text(
            (left + right) / 2, middle + 8, f"{self.records.get(name, 0):,}", ha="center", size=10, colour=GREY
        )

    def _edge(self, edge: Edge) -> None:
        parent, dangling = edge[1], self.edges[edge][1]
        colour = RED if dangling else ACCENT if edge in self.same else PLAIN
        width = 1.7 if dangling or edge in self.same else 1.2
        order = 3 if dangling else 2 if edge in self.same else 1
        if parent is None:
            self._nowhere(edge)
        elif edge in self.same:
            self._loop(edge, colour, width, order)
        else:
            self._across(edge, colour, width, order)

    def _nowhere(self, edge: Edge) -> None:
        left, y = self.x[self.layout.column_of[edge[0]]][0], self._y(self.port[edge[0], edge])
        start = left - text_width(self._label(edge), LABEL) - 16
        self.canvas.line([(start, y), (left, y)], [MOVETO, LINETO], RED, 1.7, 3)
        self.canvas.text(start, y, "×", colour=RED, ha="center", size=12)
        self._write(left - 6, y, edge, "right")

    def _loop(self, edge: Edge, colour: str, width: float, order: int) -> None:
        child, parent = edge
        x = self.x[self.layout.column_of[child]][1]
        y0, y1 = self._y(self.port[child, edge]), self._y(self.port[parent, (*edge, "in")])
        far = x + text_width(self._label(edge), LABEL) + 12
        out = far + BULGE * (0.7 if child == parent else 1.3)
        points = [(x, y0), (far, y0), (out, y0), (out, y1), (far, y1), (x + ARROW, y1)]
        self.canvas.line(points, [MOVETO, LINETO, CURVE4, CURVE4, CURVE4, LINETO], colour, width, order)
        self._arrow(x, y1, 1, colour)
        self._write(x + 6, y0, edge, "left")

    def _across(self, edge: Edge, colour: str, width: float, order: int) -> None:
        child, parent = edge
        way = self.layout.way(child, parent)
        side = 1 if self.layout.column_of[child] > self.layout.column_of[parent] else -1
        leaves, arrives = (1, 0) if side > 0 else (0, 1)
        start = self.x[self.layout.column_of[parent]][leaves]
        y = self._y(self.port[parent, "bus"] if side > 0 else self.layout.middle[parent])
        here = (start + side * (ARROW + 2), y)
        for node in way[1:-1]:  # shared with the parent's other children: plain
            edges_x, y = self.x[node[1]], self._y(self.layout.middle[node])
            self._curve(here, (edges_x[arrives] - side * 6, y), PLAIN, 1.2, 1)
            here = (edges_x[leaves] + side * 6, y)
            self.canvas.line([(edges_x[0] - 6, y), (edges_x[1] + 6, y)], [MOVETO, LINETO], PLAIN, 1.2)
        box, y = self.x[self.layout.column_of[child]][arrives], self._y(self.port[child, edge])
        near = box - side * (text_width(self._label(edge), LABEL) + 14)
        self._curve(here, (near, y), colour, width, order)
        self.canvas.line([(near, y), (box, y)], [MOVETO, LINETO], colour, width, order)
        self._write(box - side * 6, y, edge, "right" if side > 0 else "left")
        self._arrow(start, self._y(self.port[parent, "bus"] if side > 0 else self.layout.middle[parent]), side, PLAIN)

    def _curve(self, a: tuple[float, float], b: tuple[float, float], colour: str, width: float, order: int) -> None:
        turn = (a[0] + b[0]) / 2
        self.canvas.line([a, (turn, a[1]), (turn, b[1]), b], [MOVETO, CURVE4, CURVE4, CURVE4], colour, width, order)

    def _arrow(self, x: float, y: float, side: int, colour: str) -> None:
        """A head that points into the parent's box."""
        tail = x + side * (ARROW + 2)
        self.canvas.axes.fill([x, tail, tail], [y, y - 4, y + 4], color=colour, zorder=4, lw=0)

    def _write(self, x: float, y: float, edge: Edge, align: str) -> None:
        ground = {"facecolor": "white", "edgecolor": "none", "pad": 1.2}
        colour = RED if self.edges[edge][1] else GREY
        self.canvas.text(x, y, self._label(edge), size=LABEL, colour=colour, ha=align, bbox=ground, zorder=5)

    def _legend(self, y: float) -> None:
        x = MARGIN
        for colour, words in self._shown():
            self.canvas.line([(x, y), (x + 22, y)], [MOVETO, LINETO], colour, 1.8)
            self.canvas.text(x + 28, y, words, size=10, colour=RED if colour == RED else INK)
            x += text_width(words, 10) + 52

    def _shown(self) -> list[tuple[str, str]]:
        """Colours and words of the legend, only those that the map uses."""
        known = [(PLAIN, "refers to (number of references)")]
        if self.same:
            known.append((ACCENT, "a cycle, or itself"))
        if any(dangling for _, dangling in self.edges.values()):
            nowhere = "; × unknown table" if any(parent is None for _, parent in self.edges) else ""
            known.append((RED, f"dangling (number in brackets){nowhere}"))
        return known


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
    """Barycenter sweeps back and forth; the order with the fewest crossings wins."""
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
    """Moves every node as near to its linked nodes as its neighbours in the column allow."""
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
    """The nodes in their order, without overlap, as close as possible to their wanted places.

    Isotonic regression (pool adjacent violators) of the wanted middles minus the heights above each node.
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
