"""Figures, each with a sentence that says its point; where there is no point, the sentence alone.

Those with a sentence are WIDE pixels wide, which a narrow window shows legibly.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from ..discover.profile import Profile
from ..stages.analyze.analysis import Analysis
from ..stages.analyze.skew import FEW, PARTITION_WRITES, SMALL
from ..stages.migrate.migrate import Migration
from ..stages.validate.validate import Validation
from ..verdict import plural
from .drawing.canvas import GREY, INK, LEAST, RED, ROW, Canvas, fitted, stacked, text_width
from .drawing.html import ACCENT, Html, duration, note
from .frames import AnalysisFrames, MigrationFrames, ValidationFrames
from .samples import tag

PARTS = {  # where items went -> its name and colour
    "inserted": ("inserted", "#3f9d6a"),
    "already_there": ("already there", "#a9cbb6"),
    "conflicts": ("conflicts", "#f0b030"),
    "quarantined": ("quarantined", "#d9822b"),
    "failed": ("failed", "#bf2c2c"),
}
LEFT_OUT = {"expired": ("expired", "#a9b4bf"), "matched": ("matched", "#7fb3d5")}  # only where there are any
KINDS = {  # of differences -> colour
    "missing": RED,
    "different": "#d9822b",
    "extra": "#f0b030",
    "accepted": "#a9cbb6",
    "expired": "#a9b4bf",
    "match gone": "#d9822b",
    "match changed": "#f0b030",
}
CAUSE = ["kind", "attribute", "expected", "found"]  # what differences of one cause have in common, whatever the table
HELD, PALE = "#f0b030", "#f8dfa6"  # of what holds back
WIDE, EDGE, WORD = 520, 12, 12.0  # width, margin and size of text of a figure with a sentence
MOST = 7  # rows of such a figure
FEW_COLOURS = 64
POINTS = 3  # of time, from which on a course is drawn
SMALLEST, LARGEST = 5, 19  # powers of two: sizes of items up to 512 KB
UNIT, LIMIT = 10, 400 * 1024  # 2^10 bytes are a write unit; and what an item may have at most
HEAVY = 0.1  # share of the write units under one value, from which on it is drawn
TYPES = ("S", "N", "B", "BOOL", "NULL", "L", "M", "SS", "NS", "BS")


def counts(tables: Mapping[str, Mapping[str, int]]) -> Html:
    """Where each table's items went: inserted, already there, conflicts, quarantined, failed, expired, matched.

    One scale for all tables; a part that is not zero is never too small to be seen.
    """
    if not tables:
        return note("No tables.")
    parts = PARTS | {part: how for part, how in LEFT_OUT.items() if any(table.get(part) for table in tables.values())}
    return stacked(sorted(tables), tables, parts, f"Where the items of {len(tables)} tables went", "no items")


def flow(result: Migration) -> Html:
    """Where all items of the run went, as bands from what was scanned."""
    counts = MigrationFrames(result).counts
    total = int(counts["scanned"].sum())
    parts = PARTS | LEFT_OUT
    went = {part: number for part in parts if (number := int(counts[part].sum()))}
    if not total:
        return note("No item was scanned.")
    tone = "bad" if went.get("failed") else "look" if went.keys() & {"conflicts", "quarantined"} else "good"
    if len(went) == 1:
        return note(f"{plural(total, 'item')} scanned, all {parts[next(iter(went))][0]}.", tone)
    arrived = went.get("inserted", 0) + went.get("already_there", 0)
    said = [f"{parts[part][0]} {number:,}" for part, number in went.items()]
    top, gap, left, right = 14, 8, 130, 300
    height = max(110, 26 * len(went) - gap)
    scale = height / total
    sizes = [max(LEAST, scale * number) for number in went.values()]
    steps = [max(one, 18) + gap for one in sizes]  # a line of text each
    canvas = Canvas(WIDE, top + max(height, sum(steps) - gap) + top)
    canvas.box(left - 14, top, 14, height, fill=INK)
    canvas.text(left - 22, top + height / 2 - 8, f"{total:,}", ha="right", size=WORD)
    canvas.text(left - 22, top + height / 2 + 8, "scanned", ha="right", size=WORD, colour=GREY)
    begin = float(top)
    for (part, number), thick, at in zip(went.items(), sizes, accumulate(steps, initial=top), strict=False):
        y, colour = at + (max(thick, 18) - thick) / 2, parts[part][1]
        _band(canvas, (left, begin, scale * number), (right, y, thick), colour)
        canvas.box(right, y, 10, thick, fill=colour)
        label = f"{parts[part][0]} {number:,} ({_percent(number / total)})"
        canvas.text(right + 18, y + thick / 2, label, size=WORD, colour=RED if part == "failed" else INK)
        begin += scale * number
    sentence = f"{arrived:,} of {total:,} items ({_percent(arrived / total)}) arrived or were there already."
    return note(sentence, tone) + canvas.image(f"Of {total:,} items scanned: {', '.join(said)}.", FEW_COLOURS)


def _band(canvas: Canvas, start: tuple[float, float, float], end: tuple[float, float, float], colour: str) -> None:
    """A pale curve from (x, y, thickness) to (x, y, thickness)."""
    (x, y, thick), (x2, y2, thick2), middle = start, end, (start[0] + end[0]) / 2
    points = [(x, y), (middle, y), (middle, y2), (x2, y2), (x2, y2 + thick2)]
    points += [(middle, y2 + thick2), (middle, y + thick), (x, y + thick), (x, y)]
    canvas.area(points, [1, 4, 4, 4, 2, 4, 4, 4, 79], _shade(0.25, colour))


def throughput(report: Mapping[str, Any]) -> Html:
    """How many items a second a stage did over the time that it worked, and when requests were held back.

    From its report; "" where that has fewer than POINTS stretches.
    """
    points = [one for one in report.get("throughput") or () if one["seconds"] > 0]
    items, seconds = sum(one["items"] for one in points), sum(one["seconds"] for one in points)
    if len(points) < POINTS or not items:
        return Html("")
    rates, mean = [one["items"] / one["seconds"] for one in points], items / seconds
    why, slow = _slow(report.get("held_back") or (), points)
    best, usual = f"{max(rates):,.0f}/s", f"avg {mean:,.0f}/s"
    top, bottom, left = 16, 136, EDGE + 8 + max(text_width(best, WORD), text_width(usual, WORD))
    across, up = (WIDE - EDGE - left) / seconds, (bottom - top) / max(rates)
    ends = [left + across * at for at in accumulate((one["seconds"] for one in points), initial=0.0)]
    canvas = Canvas(WIDE, 196 if slow else 176)
    course = [(left, bottom)]
    for number, rate in enumerate(rates):
        course += [(ends[number], bottom - up * rate), (ends[number + 1], bottom - up * rate)]
    canvas.area([*course, (ends[-1], bottom), (left, bottom)], [1, *[2] * len(course), 79], _shade(0.45))
    canvas.line([(left, bottom), (WIDE - EDGE, bottom)], [1, 2], GREY, 0.8)
    canvas.line([(left, bottom - up * mean), (WIDE - EDGE, bottom - up * mean)], [1, 2], INK, 0.8, order=2)
    canvas.text(left - 8, top, best, ha="right", size=WORD, colour=GREY)
    if up * mean > 16 and up * (max(rates) - mean) > 16:
        canvas.text(left - 8, bottom - up * mean, usual, ha="right", size=WORD)
    canvas.text(left - 8, bottom, "0", ha="right", size=WORD, colour=GREY)
    for number in slow:
        canvas.box(ends[number], bottom + 3, max(1.0, ends[number + 1] - ends[number]), 7, fill=HELD)
    canvas.text(left, 158, "0 s", size=WORD, colour=GREY)
    canvas.text(WIDE - EDGE, 158, f"{duration(seconds)} of work", size=WORD, colour=GREY, ha="right")
    if slow:
        canvas.box(left, 175, 11, 11, fill=HELD, round_=2)
        canvas.text(left + 18, 181, "requests waited or were refused", size=WORD, colour=GREY)
    sentence = f"{mean:,.0f} items/s on average over {duration(seconds)}, {max(rates):,.0f} at best; {why}."
    few = ", ".join(f"{rate:,.0f}" for rate in rates[:: max(1, -(-len(rates) // 10))])
    return note(sentence) + canvas.image(f"Items a second over time: {few}. {sentence}", FEW_COLOURS)


def _slow(found: Sequence[Mapping[str, Any]], points: Sequence[Mapping[str, Any]]) -> tuple[str, list[int]]:
    """Why it was slow, as words, and the places of the stretches in which it was. `found`: `held_back` of the report."""
    slow = [number for number, one in enumerate(points) if one["throttled"] or one.get("held_back")]
    longest = max(found, key=lambda one: one["seconds"], default=None)
    if longest is None or not longest["seconds"]:
        part = f"requests were held back in {len(slow):,} of {len(points):,} stretches of time"
        return part if slow else "nothing held it back", slow
    of = f" of {longest['table']}" if longest["table"] else ""
    share = longest["seconds"] / sum(one["seconds"] for one in points)
    part = f" ({_percent(share)} of the time)" if share <= 1 else ""
    return f"held back for {duration(longest['seconds'])}{part} by {longest['reason']}{of}", slow


def sizes(analysis: Analysis) -> Html:
    """How large the items are that will be written, beside what a unit and the limit allow."""
    found = AnalysisFrames(analysis).sizes.groupby("at_most")["items"].sum()
    total = int(found.sum())
    if not total:
        return note("No item would be written.")
    single = int(found[found.index <= 2**UNIT].sum())
    if single == total:
        return note("Every item is of at most 1 KB: one write unit for the table, as few as there can be.", "good")
    powers = range(SMALLEST, LARGEST + 1)
    bars = {power: int(found[found.index == 2**power].sum()) for power in powers}
    bars[SMALLEST] += int(found[found.index < 2**SMALLEST].sum())
    bars[LARGEST] += int(found[found.index > 2**LARGEST].sum())
    top, bottom, wide = 54, 170, (WIDE - 2 * EDGE) / len(powers)
    canvas = Canvas(WIDE, 214)

    def place(power: float) -> float:
        return EDGE + wide * (power - SMALLEST + 1)

    limit = place(LARGEST - 1 + (LIMIT / 2 ** (LARGEST - 1) - 1))
    for x, words, align in (
        (place(UNIT), "1 write unit", "right"),
        (place(UNIT + 2), "1 read unit", "left"),
        (limit, "400 KB, the limit", "right"),
    ):
        canvas.line([(x, 24), (x, bottom)], [1, 2], RED if x == limit else GREY, 0.8, order=2)
        canvas.text(x, 14, words, size=10.5, ha=align, colour=RED if x == limit else GREY)
    for power, number in bars.items():
        x, high = place(power) - wide, max(3.0 if number else 0.0, (bottom - top) * number / max(bars.values()))
        canvas.box(x + 1.5, bottom - high, wide - 3, high, fill=ACCENT if power <= UNIT else _shade(0.45))
        if number:
            canvas.text(x + wide / 2, bottom - high - 8, _short(number), size=10, ha="center")
        if power % 2:
            canvas.text(place(power), bottom + 12, _bytes(2**power), size=10.5, ha="right", colour=GREY)
    canvas.line([(EDGE, bottom), (WIDE - EDGE, bottom)], [1, 2], GREY, 0.8)
    canvas.text(EDGE, bottom + 32, "number of items of at most this size", size=WORD, colour=GREY)
    most = _bytes(min(int(found.index.max()), LIMIT))
    sentence = (
        f"{_percent(single / total)} of {plural(total, 'item')} take one write unit (at most 1 KB); the largest fits into "
        f"{most}, and the limit is 400 KB."
    )
    alt = ", ".join(f"{number:,} of at most {_bytes(2**power)}" for power, number in bars.items() if number)
    return note(sentence) + canvas.image(f"Items by size: {alt}.", FEW_COLOURS)


def spread(analysis: Analysis) -> Html:
    """How evenly the partition keys of the target spread what is written: the heaviest values of each, by their codes."""
    uses = [(table, key, use) for table, keys in analysis.skew.items() for key, use in keys.items()]
    if not uses:
        return note("No item would be written.")
    heavy = sorted((one for one in uses if one[2].hot >= FEW and one[2].share >= HEAVY), key=lambda one: -one[2].hot)
    if not heavy:
        said = f"under no value of a partition key are both {FEW} write units and {_percent(HEAVY)} of them all"
        return note(f"What is written spreads well over the partitions: {said}.", "good")
    table, key, use = heavy[0]
    sentence = (
        f"One value of {key} takes {_percent(use.share)} of the write units of {table} ({use.hot:,}); a partition takes "
        f"{PARTITION_WRITES:,} a second, so at least {duration(use.seconds)}."
    )
    rows, high, left, bar = heavy[:MOST], 40, EDGE, 200
    canvas = Canvas(WIDE, 14 + high * len(rows) + 26)
    for number, (table, key, use) in enumerate(rows):
        y, x = 14 + high * number, float(left)
        canvas.text(left, y + 6, fitted(f"{key} of {table}", WIDE - 2 * EDGE, WORD), size=WORD)
        for place, (_, units) in enumerate(use.top):
            width = bar * units / use.units
            canvas.box(x, y + 17, max(width, 1.0), 13, fill=HELD if place == 0 else PALE, edge="white")
            x += width
        canvas.box(x, y + 17, max(0.0, left + bar - x), 13, fill="#e9ecef")
        code = f"#{tag({'S': use.top[0][0]})}, " if use.top and use.top[0][0] else ""
        said = f"{_percent(use.share)} under {code}one of {plural(use.distinct, 'value')}"
        canvas.text(left + bar + EDGE, y + 24, fitted(said, WIDE - 3 * EDGE - bar, WORD), size=WORD, colour=GREY)
    foot = "the heaviest value by its code, the next ones, all others"
    canvas.text(left, 14 + high * len(rows) + 10, foot, size=10.5, colour=GREY)
    alt = "; ".join(f"{key} of {table}: {_percent(use.share)} under the heaviest value" for table, key, use in rows)
    tone = "look" if heavy[0][2].hot >= SMALL else "quiet"
    return note(sentence, tone) + canvas.image(f"Partition keys: {alt}.", FEW_COLOURS)


def causes(result: Validation) -> Html:
    """The differences of each table by cause, most first; a sentence for a single cause, and "" where nothing differs."""
    found = ValidationFrames(result).causes
    if found.empty:
        return Html("")
    total = int(found["items"].sum())
    first = found.loc[found.groupby(CAUSE)["items"].transform("sum").idxmax()]  # of the cause that is the most frequent
    tone = "bad" if {"missing", "different"} & set(found["kind"]) else "look"
    sums = found.groupby("table")["items"].sum().sort_values(ascending=False, kind="stable")
    alike = found[(found[CAUSE] == first[CAUSE]).all(axis=1)]
    said = f"{plural(total, 'difference')} in {plural(len(sums), 'table')}"
    if len(alike) == len(found):
        return note(f"{said}, of one cause: {_cause(first)}.", tone)
    where = first["table"] if len(alike) == 1 else plural(len(alike), "table")
    share = _percent(int(alike["items"].sum()) / total)
    sentence = note(f"{said}; {share} have one cause: {_cause(first)}, in {where}.", tone)
    kinds = found.pivot_table(index="table", columns="kind", values="items", aggfunc="sum", fill_value=0)
    shown, high, left, bar = list(sums.index[:MOST]), 40, EDGE, 200
    used = [kind for kind in KINDS if kind in kinds]
    more = f"and {int(sums[MOST:].sum()):,} in {plural(len(sums) - MOST, 'other table')}" if len(sums) > MOST else ""
    canvas = Canvas(WIDE, 34 + high * len(shown) + (24 if more else 4))
    x = float(left)
    for kind in used:
        canvas.box(x, 11, 11, 11, fill=KINDS[kind], round_=2)
        canvas.text(x + 16, 17, kind, size=WORD, colour=GREY)
        x += text_width(kind, WORD) + 36
    for number, table in enumerate(shown):
        y, x = 34 + high * number, float(left)
        canvas.text(left, y + 6, fitted(table, WIDE - 2 * EDGE, WORD), size=WORD)
        for kind in used:
            if items := int(kinds.loc[table, kind]):
                width = max(LEAST, bar * items / int(sums.iloc[0]))
                canvas.box(x, y + 17, width, 13, fill=KINDS[kind])
                x += width
        words = f"{int(sums[table]):,}: {_cause(found[found['table'] == table].iloc[0])}"
        words += " and others" if (found["table"] == table).sum() > 1 else ""
        canvas.text(x + 8, y + 24, fitted(words, WIDE - EDGE - x - 8, WORD), size=WORD, colour=GREY)
    canvas.text(left, 34 + high * len(shown) + 8, more, size=WORD, colour=GREY)
    whole = ", ".join(f"{int(kinds[kind].sum()):,} {kind}" for kind in used)
    alt = "; ".join(f"{table} {int(sums[table]):,}" for table in shown)
    return sentence + canvas.image(f"Differences by cause: {whole}. By table: {alt}.", FEW_COLOURS)


def _cause(group: Any) -> str:
    if not group["attribute"]:
        return f"{group['kind']} items"
    types = f"{group['expected']} → {group['found']}" if group["expected"] != group["found"] else "another value"
    return f"{group['attribute']}, {types}"


def _percent(share: float) -> str:
    """A share that is never rounded to nothing, or to all."""
    if 0 < share < 0.01:
        return "<1 %"
    return ">99 %" if 0.99 < share < 1 else f"{share:.0%}".replace("%", " %")


def _bytes(number: int) -> str:
    return f"{number:,} B" if number < 1024 else f"{number // 1024:,} KB"


def _short(number: int) -> str:
    if number >= 10**6:
        return f"{number / 10**6:,.1f}m"
    return f"{number / 1000:,.0f}k" if number >= 10**4 else f"{number:,}"


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


def _shade(share: float, colour: str = ACCENT) -> str:
    """Between nearly white and the colour; the root, because a few percent must be seen."""
    weight = 0.12 + 0.88 * share**0.6
    channels = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(255 + (channel - 255) * weight):02x}" for channel in channels)
