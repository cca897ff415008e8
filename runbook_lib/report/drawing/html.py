"""HTML for notebook outputs: escaping, and the blocks from which every view is built. Pure, light to import.

Styles are inline, because JupyterLab strips `<style>` from untrusted outputs, and plain, because it keeps only some inline
styles. Elements with a background also set their colour; all others inherit, faint ones with an opacity, so the
same output is legible in JupyterLab's light and dark theme. `page` gives the colours used here a dark one in what is exported.
"""

import re
from collections.abc import Collection, Iterable, Sequence

from markupsafe import Markup

from ...errors import lines_of
from ...verdict import FAIL, PASS, REVIEW, ROLLED_BACK

ACCENT = "#2f6fb3"
LINE = "#8884"
MUTED = "opacity:.75"
QUIET = "opacity:.65"  # less than that is not legible
MONO = "font-family:monospace;font-size:.95em"
EXACT = "-webkit-print-color-adjust:exact;print-color-adjust:exact"
SOLID = {  # verdict -> background and text of its badge
    PASS: ("#1b7f47", "#ffffff"),
    REVIEW: ("#f0b030", "#3a2800"),
    FAIL: ("#bf2c2c", "#ffffff"),
    ROLLED_BACK: ("#55637a", "#ffffff"),
}
NO_VERDICT = ("#d9dde2", "#3a424d")  # of any other word
TINTS = {  # tone -> background and text of a chip, border of a note
    "good": ("#dff3e6", "#14532d", "#1b7f47"),
    "look": ("#fdefc8", "#6a4500", "#e0a020"),
    "bad": ("#fde2df", "#8c1a13", "#bf2c2c"),
    "accent": ("#e1ecf8", "#1c4a7d", ACCENT),
    "quiet": ("#e9ecef", "#3a424d", "#9aa3ad"),
}
_ALIGN = {
    "l": "left;white-space:nowrap",
    "r": "right;white-space:nowrap",
    "c": "center;white-space:nowrap",
    "w": "left;white-space:normal;overflow-wrap:anywhere;min-width:14em",  # sentences, which may wrap
    "v": "left;white-space:normal;overflow-wrap:anywhere;min-width:9em",  # values, which may break anywhere
}
NAME = 24  # characters of a name that stay in one line
_LONG = "left;white-space:normal;overflow-wrap:anywhere;min-width:13em"  # a name that may wrap
_PART = re.compile(r"(?<=[._/:])(?=.)")  # where it does so first; hyphens are such places anyway


class Html(Markup):
    """HTML, made of a literal alone: what is formatted, joined or added into it is escaped, unless it is Html, too."""

    @classmethod
    def escape(cls, value: object) -> "Html":
        """The value as HTML, for use between tags and in quoted attributes."""
        return value if isinstance(value, cls) else super().escape(visible(value))


_NONE = Html("")
_BREAK = Html("<wbr>")
_WRAPS = Html('class="rb-wrap"')
_MONO = Html('class="rb-mono"')


def visible(value: object) -> str:
    """The value as text without hidden characters: what does not print, such as a change of direction, shows as �."""
    return "".join(c if c.isprintable() else "�" for c in str(value))


def clipped(text: str, most: int) -> str:
    """The text, cut at a word's end and said to be cut where it has more than `most` characters."""
    if len(text) <= most:
        return text
    head = text[: most - 1]
    return (head.rsplit(" ", 1)[0] if " " in head[most // 2 :] else head) + "…"


def quiet(value: object) -> Html:
    """The value in a quiet colour."""
    return _tag("span", QUIET, value)


def muted(value: object) -> Html:
    """The value as an aside."""
    return _tag("span", MUTED, value)


def mono(value: object, *, breaks: bool = False) -> Html:
    """The value in a typewriter face, spaces kept. With `breaks`, or where it is long, it may wrap anywhere."""
    breaks = breaks or len(str(value)) > NAME
    style = f"{MONO};white-space:{'pre-wrap;overflow-wrap:anywhere' if breaks else 'pre'}"
    return _tag("span", style, value, attributes=_MONO)


def sorted_by(value: object, worth: float) -> Html:
    """The value, which a column is sorted by as a number that its text does not say."""
    return Html('<span data-sort="{:g}">{}</span>').format(worth, value)


def number(value: int) -> Html:
    """A count with thousands separators; zero is a quiet dot, so that other values stand out."""
    return Html("{:,}").format(value) if value else quiet("·")


def flagged(value: int, tone: str = "look") -> Html:
    """A count, on a coloured ground unless it is zero."""
    return chip(f"{value:,}", tone) if value else quiet("·")


def size(value: int) -> Html:
    """A size in B, KB, MB, …"""
    amount, unit = float(value), "B"
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if amount < 1024 or unit == "TB":
            break
        amount /= 1024
    said = f"{amount:,.{0 if amount >= 100 or unit == 'B' else 1}f} {unit}"
    return sorted_by(said, value) if value else quiet("·")


def duration(seconds: float) -> str:
    """Seconds for people: `0.4 s`, `8 s`, `12 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 9.95 and seconds != int(seconds):
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def chip(label: object, tone: str = "quiet") -> Html:
    """A word on a tinted ground."""
    background, colour, _ = TINTS[tone]
    wraps = "normal;overflow-wrap:anywhere" if len(str(label)) > NAME else "nowrap"
    style = f"background:{background};color:{colour};padding:0 6px;border-radius:4px;white-space:{wraps};{EXACT}"
    return _tag("span", style, label)


def badge(verdict: str) -> Html:
    """The verdict's word on its colour."""
    background, colour = SOLID.get(verdict, NO_VERDICT)
    style = f"background:{background};color:{colour};padding:2px 10px;border-radius:4px;white-space:nowrap;{EXACT}"
    return _tag("span", f"{style};font-weight:700;letter-spacing:.04em", verdict)


def with_code(sentence: str) -> Html:
    """The sentence, with text in backticks as code."""
    pieces = sentence.split("`")
    if len(pieces) % 2 == 0:
        return Html.escape(sentence)
    return Html("").join(_tag("span", MONO, piece) if number % 2 else piece for number, piece in enumerate(pieces))


def banner(
    stage: str, verdict: str, headline: str, facts: Sequence[tuple[str, object]] = (), *, means: str = ""
) -> Html:
    """The top of a notebook: the stage, its verdict and what it means, one sentence, and a few figures."""
    colour = SOLID.get(verdict, NO_VERDICT)[0]
    figures = [
        _tag(
            "div",
            "",
            _tag("div", f"{MUTED};font-size:.9em", label),
            _tag("div", "font-weight:600;font-size:1.05em", said),
        )
        for label, value in facts
        for said in (f"{value:,}" if isinstance(value, int) else value,)
    ]
    style = f"border:1px solid {LINE};border-left:8px solid {colour};border-radius:6px;padding:14px 20px"
    meaning = _tag("span", "margin:0 0 0 10px", means) if means else ""
    return _tag(
        "div",
        f"{style};margin:4px 0 12px 0;font-family:system-ui,sans-serif;page-break-inside:avoid",
        _tag(
            "div",
            "display:flex;flex-wrap:wrap;justify-content:space-between;gap:2px 16px;line-height:1.6",
            _tag("div", "", badge(verdict), meaning),
            _tag("div", f"{MUTED};font-weight:600", stage),
        ),
        _tag(
            "div",
            "font-size:1.4em;font-weight:600;line-height:1.3;margin:8px 0 0 0",
            Html("<br>").join(map(with_code, lines_of(headline))),
        ),
        _tag("div", "display:flex;flex-wrap:wrap;gap:10px 36px;margin:14px 0 0 0", *figures) if facts else "",
    )


def note(message: object, tone: str = "quiet") -> Html:
    """A sentence with a coloured bar beside it."""
    style = f"border-left:4px solid {TINTS[tone][2]};padding:4px 12px;margin:6px 0;max-width:70em"
    return _tag("div", style, message)


def heading(title: object) -> Html:
    """A small heading within an output."""
    return _tag("h3", "font-size:1em;line-height:1.35;font-weight:600;margin:14px 0 4px 0", title)


def details(summary: object, body: object, *, open: bool = False) -> Html:
    """A line that unfolds. It works without scripts, even in an untrusted output."""
    return Html('<details style="margin:2px 0"{}>{}{}</details>').format(
        Html(" open") if open else "",
        _tag("summary", "cursor:pointer;padding:2px 0", summary),
        _tag("div", "margin:4px 0 10px 18px", body),
    )


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    align: str,
    limit: int | None = None,
    total: int | None = None,
    caption: object = None,
    foot: Sequence[object] | None = None,
    marks: Sequence[str | None] = (),
    rare: Collection[str] = (),
) -> Html:
    """A table that scrolls sideways rather than break. In an exported page it can be sorted, and filtered where it is long.

    `align` has a letter a column: l for names (they wrap where they are long), r, c, w for sentences that may wrap, or v for
    values. Cells are escaped unless Html; an int gets thousands separators and a zero a quiet dot. Columns that are named in
    `rare` and 0 in every row are left out, and said to be. The first `limit` rows are shown, and said to be so many of `total`
    (default: of the rows given). `foot` is a row of totals; `marks` gives rows a tone for a bar at their left. A screen
    reader gives the table's name as the caption, else as its columns.
    """
    rows = list(rows)
    total = len(rows) if total is None else total
    absent = [
        name for at, name in enumerate(columns) if rows and name in rare and all(row[at] in _ZERO for row in rows)
    ]
    if absent:
        kept = [at for at, name in enumerate(columns) if name not in absent]
        columns, align, *rows = ([line[at] for at in kept] for line in (columns, align, *rows))
        foot = foot and [foot[at] for at in kept]
    shown = rows if limit is None else rows[:limit]
    top = ";vertical-align:top" if {"w", "v"} & set(align) else ""
    bars = [f";border-left:4px solid {TINTS[tone][2]}" if tone else "" for tone in marks] + [""] * len(shown)
    lines = [
        _row("td", row, align, top, f"border-bottom:1px solid {LINE}{bar}")
        for row, bar in zip(shown, bars, strict=False)
    ]
    under = f"border-bottom:2px solid {LINE};background:transparent"
    head = _row("th", columns, align, f";font-weight:600;{MUTED}", under, Html('scope="col"'))
    parts = [_tag("thead", "", head), _tag("tbody", "", *lines)]
    if foot is not None:
        parts.append(_tag("tfoot", "", _row("td", foot, align, ";font-weight:600", f"border-top:2px solid {LINE}")))
    style = "border-collapse:collapse;table-layout:auto;width:auto;margin:0;font-size:13px;line-height:1.35"
    style += ";font-variant-numeric:tabular-nums"
    name = caption or "Table: " + ", ".join(column for column in columns if column)
    inside = _tag("table", style, *parts, attributes=Html('aria-label="{}"').format(name))
    # it scrolls, so that the keyboard has to reach it
    kind = "rb-box rb-words" if align.count("w") > 1 else "rb-box"
    box = Html('class="{}" role="group" aria-label="{}" tabindex="0"').format(kind, name)
    body = _tag("div", "overflow-x:auto", inside, attributes=box)
    above = Html("") if caption is None else heading(caption)
    if absent:
        above += _tag("div", f"{MUTED};margin:4px 0", f"Not shown, because 0 in every row: {', '.join(absent)}.")
    below = _tag("div", f"{MUTED};margin:4px 0", f"{len(shown):,} of {total:,} shown") if len(shown) < total else ""
    return _tag("div", "font-family:system-ui,sans-serif;font-size:13px;margin:4px 0 10px 0", above, body, below)


def _row(cell: str, values: Sequence[object], align: str, style: str, border: str, scope: Html = _NONE) -> Html:
    cells = []
    for letter, value in zip(align, values, strict=True):
        is_text = type(value) is str
        is_long = letter == "l" and len(value if is_text else Html.escape(value).striptags()) > NAME
        shown = _BREAK.join(_PART.split(value)) if is_long and is_text else value
        way = f"padding:3px 10px;text-align:{_LONG if is_long else _ALIGN[letter]}{style}"
        cells.append(_tag(cell, way, shown, attributes=scope or (_WRAPS if is_long or letter in "wv" else _NONE)))
    return _tag("tr", border, *cells)


def _tag(name: str, style: str, *content: object, attributes: Html = _NONE) -> Html:
    """An element. None in it is a dash, an int has separators, a bool is yes or no; what is not Html is escaped."""
    inside = Html("").join(map(_content, content))
    given = Html(" {}").format(attributes) if attributes else attributes
    given += Html(' style="{}"').format(style) if style else ""
    return Html("<{0}{1}>{2}</{0}>").format(name, given, inside)


def _content(value: object) -> object:
    if value is None:
        return quiet("–")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value) if isinstance(value, int) else value


TICK = chip("✓", "good")
_ZERO = (0, quiet("·"))
