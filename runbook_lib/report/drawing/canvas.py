"""Figures as HTML `<img>` with a PNG inside: the canvas, and bars with a part for each colour.

Drawn in pixels on matplotlib's Figure, without pyplot: no state, no display, safe on any thread. Figures have a white
ground of their own, so that they look the same in every theme and in print.
"""

import base64
import io
import warnings
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import Any

from .html import LINE, Html, visible

ROW = 20  # pixels of a row
LEAST = 4  # pixels of the smallest part of a bar that is not zero
INK, GREY, RED = "#1f2933", "#6b7680", "#bf2c2c"
SIZE = 11.0  # pixels of text
COLOURS = 255  # of the PNG: enough for text with smooth edges, a third of the bytes


def stacked(
    names: list[str],
    tables: Mapping[str, Mapping[str, int]],
    parts: Mapping[str, tuple[str, str]],
    title: str,
    nothing: str,
) -> Html:
    """A bar a table, in the order of `names`. `parts`: part → its name and colour; the first needs no words."""
    sums = {name: sum(tables[name].get(part, 0) for part in parts) for name in names}
    left = 12 + max(text_width(name) for name in names) + 12
    numbers = left + max(text_width(f"{total:,}") for total in sums.values()) + 10
    bar = 420
    said = {name: _said(tables[name], parts, nothing) for name in names}
    right = max(text_width(words, 10) for words in said.values())
    legend = sum(text_width(label) + 34 for label, _ in parts.values())
    canvas = Canvas(max(numbers + bar + 12 + right + 24, legend + 24), 34 + ROW * len(names) + 10)
    x = 12.0
    for label, colour in parts.values():
        canvas.box(x, 11, 11, 11, fill=colour, round_=2)
        canvas.text(x + 16, 17, label, colour=GREY)
        x += text_width(label) + 34
    for index, name in enumerate(names):
        middle = 34 + ROW * index + ROW / 2
        canvas.text(12, middle, name)
        canvas.text(numbers - 10, middle, f"{sums[name]:,}", colour=GREY, ha="right")
        x = numbers
        for part, width in widths(tables[name], parts, bar / max(1, *sums.values())).items():
            canvas.box(x, middle - 6, width, 12, fill=parts[part][1])
            x += width
        is_bad = any(tables[name].get(part) and colour == RED for part, (_, colour) in parts.items())
        canvas.text(x + 8, middle, said[name], size=10, colour=RED if is_bad else GREY)
    whole = {part: sum(table.get(part, 0) for table in tables.values()) for part in parts}
    alt = ", ".join(f"{whole[part]:,} {label}" for part, (label, _) in parts.items())
    return canvas.image(f"{title}: {alt}.")


def _said(table: Mapping[str, int], parts: Mapping[str, tuple[str, str]], nothing: str) -> str:
    first, *others = parts
    words = [f"{table[part]:,} {parts[part][0]}" for part in others if table.get(part)]
    return ", ".join(words) or ("" if table.get(first) else nothing)


def widths(table: Mapping[str, int], parts: Iterable[str], scale: float) -> dict[str, float]:
    """Pixels for each part that is not zero: by the scale, but at least LEAST."""
    return {part: max(scale * table[part], LEAST) for part in parts if table.get(part)}


class Canvas:
    """A white ground on which things are drawn in pixels, from the top left."""

    def __init__(self, width: float, height: float):
        """The size in CSS pixels; the PNG has twice as many."""
        from matplotlib.figure import Figure

        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / 72, height / 72), dpi=144, facecolor="white")
        self.axes = self.figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
        self.axes.axis("off")

    def text(self, x: float, y: float, words: object, *, size: float = SIZE, colour: str = INK, **style: Any) -> None:
        """One line of text, by default from x to the right, its middle at y."""
        style = {"ha": "left", "va": "center_baseline", **style}
        self.axes.text(x, y, visible(words), size=size, color=colour, parse_math=False, **style)

    def box(self, x: float, y: float, width: float, height: float, *, fill: str, edge: str = "none", round_: float = 0):
        """A rectangle, its corners rounded."""
        from matplotlib.patches import FancyBboxPatch

        style = f"round,pad=0,rounding_size={round_}" if round_ else "square,pad=0"
        self.axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=style, fc=fill, ec=edge, lw=1))

    def line(
        self, points: list[tuple[float, float]], codes: list[int], colour: str, width: float, order: int = 1
    ) -> None:
        """A path of matplotlib's codes."""
        from matplotlib.patches import PathPatch
        from matplotlib.path import Path

        self.axes.add_patch(
            PathPatch(Path(points, codes), fc="none", ec=colour, lw=width, zorder=order, capstyle="round")
        )

    def area(self, points: list[tuple[float, float]], codes: list[int], fill: str) -> None:
        """What a path of matplotlib's codes encloses."""
        from matplotlib.patches import PathPatch
        from matplotlib.path import Path

        self.axes.add_patch(PathPatch(Path(points, codes), fc=fill, ec="none", zorder=1))

    def image(self, alt: str, colours: int = COLOURS) -> Html:
        """The `<img>`, its PNG of at most so many colours."""
        from PIL import Image

        drawn = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a character the font lacks is drawn as a box; that needs no warning
            self.figure.savefig(drawn, format="png")
        small = io.BytesIO()
        Image.open(drawn).convert("RGB").quantize(colours, dither=Image.Dither.NONE).save(small, "png", optimize=True)
        data = base64.b64encode(small.getvalue()).decode()
        style = f"max-width:100%;height:auto;box-sizing:border-box;border:1px solid {LINE};border-radius:6px;background:#ffffff"
        img = Html('<img alt="{}" width="{:.0f}" style="{}" src="data:image/png;base64,{}">')
        return img.format(alt, self.width, style, data)


def fitted(words: object, width: float, size: float = SIZE) -> str:
    """The words, or as many of their characters as fit, with … at the end."""
    shown = visible(words)
    if text_width(shown, size) <= width:
        return shown
    over = bisect_right(range(len(shown)), width, key=lambda n: text_width(f"{shown[:n]}…", size))
    return f"{shown[: max(0, over - 1)]}…"


def text_width(words: object, size: float = SIZE) -> float:
    """Pixels that a line of text takes."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font = get_font(findfont(FontProperties()))
    font.set_size(size, 72)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        font.set_text(visible(words))
    return font.get_width_height()[0] / 64
