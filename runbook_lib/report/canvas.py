"""The ground that figures are drawn on: pixels on matplotlib's Figure, out as an HTML `<img>` with a PNG inside."""

import base64
import io
import warnings
from typing import Any

from .html import LINE, Raw, text, visible

INK, GREY, RED = "#1f2933", "#6b7680", "#bf2c2c"
SIZE = 11.0  # pixels of text
COLOURS = 255  # of the PNG: enough for text with smooth edges, a third of the bytes


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

    def image(self, alt: str) -> Raw:
        """The `<img>`."""
        from PIL import Image

        drawn = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a character the font lacks is drawn as a box; that needs no warning
            self.figure.savefig(drawn, format="png")
        small = io.BytesIO()
        Image.open(drawn).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(small, "png", optimize=True)
        data = base64.b64encode(small.getvalue()).decode()
        style = f"max-width:100%;height:auto;box-sizing:border-box;border:1px solid {LINE};border-radius:6px;background:#ffffff"
        return Raw(
            f'<img alt="{text(alt)}" width="{self.width:.0f}" style="{style}" src="data:image/png;base64,{data}">'
        )


def text_width(words: object, size: float = SIZE) -> float:
    """Pixels that a line of text takes."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font = get_font(findfont(FontProperties()))
    font.set_size(size, 72)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        font.set_text(visible(words))
    return font.get_width_height()[0] / 64
