"""Figures as HTML `<img>` with a PNG inside: the canvas, where items and attributes went, which types these have.

Also the table of names that match nothing, which explains what the ledger's figure cannot show.

Drawn in pixels on matplotlib's Figure, without pyplot: no state, no display, safe on any thread. Figures have a white
ground of their own, so that they look the same in every theme and in print.
"""

import base64
import io
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ..stages.analyze.analysis import Analysis, EntryAnalysis, Unmatched
from ..stages.analyze.profile import Profile
from ..verdict import REVIEW, plural
from .html import ACCENT, LINE, Html, chip, details, flagged, muted, note, quiet, table, visible

PARTS = {  # where items went -> its name and colour
    "inserted": ("inserted", "#3f9d6a"),
    "already_there": ("already there", "#a9cbb6"),
    "conflicts": ("conflicts", "#f0b030"),
    "quarantined": ("quarantined", "#d9822b"),
    "failed": ("failed", "#bf2c2c"),
}
WORDS = {  # what became of an attribute's value, as the ledger says it -> its name and colour
    "copied": ("copied", "#3f9d6a"),
    "rewritten": ("new id", "#2f6fb3"),
    "converted": ("converted", "#7d5ba6"),
    "transformed": ("transformed", "#c06bab"),
    "defaulted": ("default", "#a9b4bf"),
    "rest": ("rest", "#a9cbb6"),
    "dropped": ("dropped", "#f0b030"),
    "unaccounted": ("unaccounted", "#bf2c2c"),
}
TYPES = ("S", "N", "B", "BOOL", "NULL", "L", "M", "SS", "NS", "BS")
ROW = 20  # pixels of a row
LEAST = 4  # pixels of the smallest part of a bar that is not zero
INK, GREY, RED = "#1f2933", "#6b7680", "#bf2c2c"
SIZE = 11.0  # pixels of text
COLOURS = 255  # of the PNG: enough for text with smooth edges, a third of the bytes


def counts(tables: Mapping[str, Mapping[str, int]]) -> Html:
    """Where each table's items went: inserted, already there, conflicts, quarantined, failed.

    One scale for all tables; a part that is not zero is never too small to be seen.
    """
    if not tables:
        return note("No tables.")
    return _stacked(sorted(tables), tables, PARTS, f"Where the items of {len(tables)} tables went", "no items")


def _stacked(
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
        for part, width in _widths(tables[name], parts, bar / max(1, *sums.values())).items():
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


def _widths(table: Mapping[str, int], parts: Iterable[str], scale: float) -> dict[str, float]:
    """Pixels for each part that is not zero: by the scale, but at least LEAST."""
    return {part: max(scale * table[part], LEAST) for part in parts if table.get(part)}


def ledger(analysis: Analysis) -> Html:
    """What became of the values of every source attribute: a bar an entry, and each attribute behind a line that unfolds."""
    entries = {name: entry for name, entry in analysis.tables.items() if entry.ledger}
    if not entries:
        return note("No items.")
    names = sorted(entries, key=lambda name: (analysis.levels.get(name, 0), name))
    sums = {name: dict(sum(entries[name].ledger.values(), Counter())) for name in names}
    used = {word: about for word, about in WORDS.items() if any(sums[name].get(word) for name in names)}
    lost = sum(counts.get("unaccounted", 0) for counts in sums.values())
    values = sum(sum(counts.values()) for counts in sums.values())
    said = f"{plural(lost, 'value')} of {values:,} neither in the target nor dropped." if lost else ""
    said = said or f"All {values:,} values are accounted for: looked for in the target items, not taken from the rules."
    title = f"What became of the attribute values of {len(names)} entries"
    folds = [_attributes(name, entries[name], sums[name]) for name in names]
    return Html("").join(
        [note(said, "bad" if lost else "good"), _stacked(names, sums, used, title, "no values"), *folds]
    )


def _attributes(name: str, entry: EntryAnalysis, sums: Mapping[str, int]) -> Html:
    """The attributes of one entry, most present first, with a column for each word that any of them has."""
    words = [word for word in WORDS if sums.get(word)]
    rows, marks = [], []
    for attribute, counts in sorted(entry.ledger.items(), key=lambda line: (-line[1].total(), line[0])):
        cells = [flagged(counts[word], "bad") if word == "unaccounted" else counts[word] for word in words]
        rows.append([attribute, _bar(counts), *cells])
        marks.append("bad" if counts["unaccounted"] else None)
    columns = ["source attribute", "", *(WORDS[word][0] for word in words)]
    foot = ["in all", "", *(sums[word] for word in words)]
    title = Html("<b>{}</b> {}").format(name, muted(f"{plural(len(rows), 'attribute')} in {entry.routed:,} items"))
    body = table(columns, rows, align="ll" + "r" * len(words), foot=foot, marks=marks)
    return details(title, body, open=bool(sums.get("unaccounted")))


def _bar(counts: Mapping[str, int]) -> Html:
    """The shares of one attribute as a small bar. Of borders, because these are printed where grounds are not."""
    scale = 80 / max(1, sum(counts.values()))
    part = Html('<span style="display:inline-block;height:8px;border-left:{:.0f}px solid {}"></span>')
    return Html("").join(part.format(width, WORDS[word][1]) for word, width in _widths(counts, WORDS, scale).items())


def unmatched(analysis: Analysis) -> Html:
    """The names in the mapping that no item has, those that need a decision first."""
    if not analysis.unmatched:
        return note("Every name in the mapping is an attribute that items have.", "good")
    rows, marks = [], []
    for one in sorted(analysis.unmatched, key=lambda one: (not _is_open(one), one.table)):
        state = chip("accepted") if one.accepted else chip("REVIEW", "look") if _is_open(one) else chip("note")
        rows.append([state, one.table, one.rule, one.name, one.suggestion or quiet("–"), one.items])
        marks.append("look" if _is_open(one) else None)
    return table(["", "entry", "rule", "no item has", "did you mean", "items"], rows, align="clllwr", marks=marks)


def _is_open(one: Unmatched) -> bool:
    return one.level == REVIEW and not one.accepted


def types(analysis: Analysis) -> Html:
    """Which types the attributes of each table have: the number of attributes, darker the more of the values."""
    profiles: dict[str, Profile] = {name: table.profile for name, table in analysis.tables.items() if table.profile}
    if not profiles:
        return note("No items.")
    found = [letter for letter in TYPES if any(letter in a.types for p in profiles.values() for a in p.values())]
    names = sorted(profiles)
    left, cell = 12 + max(text_width(name) for name in names) + 14, 58
    canvas = Canvas(left + cell * len(found) + 12, 32 + ROW * len(names) + 30)
    for column, letter in enumerate(found):
        canvas.text(left + cell * column + cell / 2, 18, letter, ha="center", colour=GREY)
    for row, name in enumerate(names):
        top = 32 + ROW * row
        canvas.text(12, top + ROW / 2, name)
        values = sum(attribute.types.total() for attribute in profiles[name].values())
        for column, letter in enumerate(found):
            attributes = [a.types[letter] for a in profiles[name].values() if letter in a.types]
            x, share = left + cell * column, sum(attributes) / values
            canvas.box(x + 1, top + 1, cell - 2, ROW - 2, fill=_shade(share) if attributes else "#f7f8f9", round_=2)
            if attributes:
                ink = "white" if share > 0.5 else INK
                canvas.text(x + cell / 2, top + ROW / 2, len(attributes), ha="center", colour=ink)
    foot = "number of attributes with a type; the darker, the more of the table's values"
    canvas.text(12, 32 + ROW * len(names) + 15, foot, size=10, colour=GREY)
    return canvas.image(f"Attribute types of {len(names)} tables: {', '.join(found)}.")


def _shade(share: float) -> str:
    """Between nearly white and the accent colour; the root, because a few percent must be seen."""
    weight = 0.12 + 0.88 * share**0.6
    channels = [int(ACCENT[at : at + 2], 16) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(255 + (channel - 255) * weight):02x}" for channel in channels)


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

    def image(self, alt: str) -> Html:
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
        img = Html('<img alt="{}" width="{:.0f}" style="{}" src="data:image/png;base64,{}">')
        return img.format(alt, self.width, style, data)


def text_width(words: object, size: float = SIZE) -> float:
    """Pixels that a line of text takes."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font = get_font(findfont(FontProperties()))
    font.set_size(size, 72)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        font.set_text(visible(words))
    return font.get_width_height()[0] / 64
