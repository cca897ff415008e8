"""Figures: where items went, and which types their attributes have."""

from collections.abc import Mapping

from ..discover.profile import Profile
from ..stages.analyze.analysis import Analysis
from .drawing.canvas import GREY, INK, ROW, Canvas, stacked, text_width
from .drawing.html import ACCENT, Html, note

PARTS = {  # where items went -> its name and colour
    "inserted": ("inserted", "#3f9d6a"),
    "already_there": ("already there", "#a9cbb6"),
    "conflicts": ("conflicts", "#f0b030"),
    "quarantined": ("quarantined", "#d9822b"),
    "failed": ("failed", "#bf2c2c"),
}
LEFT_OUT = {"expired": ("expired", "#a9b4bf")}  # only where the mapping leaves any out
TYPES = ("S", "N", "B", "BOOL", "NULL", "L", "M", "SS", "NS", "BS")


def counts(tables: Mapping[str, Mapping[str, int]]) -> Html:
    """Where each table's items went: inserted, already there, conflicts, quarantined, failed, expired.

    One scale for all tables; a part that is not zero is never too small to be seen.
    """
    if not tables:
        return note("No tables.")
    parts = PARTS | LEFT_OUT if any(table.get("expired") for table in tables.values()) else PARTS
    return stacked(sorted(tables), tables, parts, f"Where the items of {len(tables)} tables went", "no items")


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
