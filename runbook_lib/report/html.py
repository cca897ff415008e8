"""HTML for notebook outputs: escaping, and the blocks from which every view is built. Pure, light to import.

Styles are inline, because JupyterLab strips `<style>` from outputs that it does not trust, and plain, because of inline
styles it keeps only those on a list of its own. Elements with a background also set their colour; all others inherit, so the
same output is legible in the light and the dark theme, in the exported file, and in print.
"""

import html
import unicodedata
from collections.abc import Iterable, Sequence

from ..verdict import FAIL, PASS, REVIEW, ROLLED_BACK

NOT_FINISHED = "not finished"
ACCENT = "#2f6fb3"
LINE = "#8884"
MUTED = "opacity:.65"
MONO = "font-family:monospace;font-size:.95em"
_EXACT = "-webkit-print-color-adjust:exact;print-color-adjust:exact"
SOLID = {  # verdict -> background and text of its badge
    PASS: ("#1b7f47", "#ffffff"),
    REVIEW: ("#f0b030", "#3a2800"),
    FAIL: ("#bf2c2c", "#ffffff"),
    ROLLED_BACK: ("#55637a", "#ffffff"),
    NOT_FINISHED: ("#d9dde2", "#3a424d"),
}
TINTS = {  # tone -> background and text of a chip, border of a note
    "good": ("#dff3e6", "#14532d", "#1b7f47"),
    "look": ("#fdefc8", "#6a4500", "#e0a020"),
    "bad": ("#fde2df", "#8c1a13", "#bf2c2c"),
    "accent": ("#e1ecf8", "#1c4a7d", ACCENT),
    "quiet": ("#e9ecef", "#3a424d", "#9aa3ad"),
}
_BIDI = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_ALIGN = {
    "l": "left;white-space:nowrap",
    "r": "right;white-space:nowrap",
    "c": "center;white-space:nowrap",
    "w": "left;white-space:normal;min-width:14em",  # sentences, which may wrap
}


class Raw(str):
    """HTML built here from escaped parts; it is not escaped again."""


def visible(value: object) -> str:
    """The value as text without hidden characters: control characters and changes of direction show as �."""
    return "".join("�" if c in _BIDI or unicodedata.category(c) in ("Cc", "Cs") else c for c in str(value))


def text(value: object) -> str:
    """The value escaped, for use between tags and in quoted attributes."""
    return html.escape(visible(value), quote=True)


def quiet(value: object) -> Raw:
    """The value in a quiet colour."""
    return Raw(f'<span style="opacity:.45">{_content(value)}</span>')


def muted(value: object) -> Raw:
    """The value as an aside."""
    return Raw(f'<span style="{MUTED}">{_content(value)}</span>')


def mono(value: object) -> Raw:
    """The value in a typewriter face, spaces kept."""
    return Raw(f'<span style="{MONO};white-space:pre">{_content(value)}</span>')


def number(value: int) -> Raw:
    """A count with thousands separators; zero is a quiet dot, so that other values stand out."""
    return Raw(f"{value:,}") if value else quiet("·")


def flagged(value: int, tone: str = "look") -> Raw:
    """A count, on a coloured ground unless it is zero."""
    return chip(f"{value:,}", tone) if value else quiet("·")


def size(value: int) -> Raw:
    """A size in B, KB, MB, …"""
    amount, unit = float(value), "B"
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if amount < 1024 or unit == "TB":
            break
        amount /= 1024
    return Raw(f"{amount:,.{0 if amount >= 100 or unit == 'B' else 1}f} {unit}") if value else quiet("·")


def duration(seconds: float) -> str:
    """Seconds for people: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def chip(label: object, tone: str = "quiet") -> Raw:
    """A word on a tinted ground."""
    background, colour, _ = TINTS[tone]
    style = f"background:{background};color:{colour};padding:0 6px;border-radius:4px;white-space:nowrap;{_EXACT}"
    return Raw(f'<span style="{style}">{_content(label)}</span>')


def badge(verdict: str) -> Raw:
    """The verdict's word on its colour."""
    background, colour = SOLID.get(verdict, SOLID[NOT_FINISHED])
    style = f"background:{background};color:{colour};padding:2px 10px;border-radius:4px;white-space:nowrap;{_EXACT}"
    return Raw(f'<span style="{style};font-weight:700;letter-spacing:.04em">{text(verdict)}</span>')


def banner(stage: str, verdict: str, headline: str, facts: Sequence[tuple[str, object]] = ()) -> Raw:
    """The top of a notebook: the stage, its verdict, one sentence, and a few figures."""
    colour = SOLID.get(verdict, SOLID[NOT_FINISHED])[0]
    cells = "".join(
        f'<div><div style="{MUTED};font-size:.85em">{text(label)}</div>'
        f'<div style="font-weight:600;font-size:1.05em">{_content(f"{value:,}" if isinstance(value, int) else value)}</div></div>'
        for label, value in facts
    )
    return Raw(
        f'<div style="border:1px solid {LINE};border-left:8px solid {colour};border-radius:6px;padding:14px 20px;'
        f'margin:4px 0 12px 0;font-family:system-ui,sans-serif;page-break-inside:avoid">'
        f'<div style="display:flex;justify-content:space-between;align-items:center;gap:16px">'
        f'<div style="{MUTED};font-weight:600">{text(stage)}</div><div>{badge(verdict)}</div></div>'
        f'<div style="font-size:1.4em;font-weight:600;line-height:1.3;margin:6px 0 0 0">{text(headline)}</div>'
        + (f'<div style="display:flex;flex-wrap:wrap;gap:10px 36px;margin:14px 0 0 0">{cells}</div>' if facts else "")
        + "</div>"
    )


def note(message: object, tone: str = "quiet") -> Raw:
    """A sentence with a coloured bar beside it."""
    style = f"border-left:4px solid {TINTS[tone][2]};padding:4px 12px;margin:6px 0;max-width:70em"
    return Raw(f'<div style="{style}">{_content(message)}</div>')


def heading(title: object) -> Raw:
    """A small heading within an output."""
    return Raw(f'<div style="font-weight:600;margin:14px 0 4px 0">{_content(title)}</div>')


def details(summary: object, body: str, *, open: bool = False) -> Raw:
    """A line that unfolds. It works without scripts, even in an untrusted output."""
    return Raw(
        f'<details style="margin:2px 0"{" open" if open else ""}><summary style="cursor:pointer;padding:2px 0">'
        f'{_content(summary)}</summary><div style="margin:4px 0 10px 18px">{body}</div></details>'
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
) -> Raw:
    """A table that scrolls sideways rather than break.

    `align` has a letter a column: l, r, c, or w for sentences that may wrap. Cells are escaped unless Raw; an int gets
    thousands separators and a zero a quiet dot. The first `limit` rows are shown, and said to be so many of `total`
    (default: of the rows given). `foot` is a row of totals; `marks` gives rows a tone for a bar at their left.
    """
    rows = list(rows)
    total = len(rows) if total is None else total
    shown = rows if limit is None else rows[:limit]
    top = ";vertical-align:top" if "w" in align else ""
    head = "".join(_cell("th", text(c), a, ";font-weight:600;opacity:.75") for c, a in zip(columns, align, strict=True))
    body = [f'<thead><tr style="border-bottom:2px solid {LINE};background:transparent">{head}</tr></thead><tbody>']
    for index, row in enumerate(shown):
        tone = marks[index] if index < len(marks) else None
        bar = f";border-left:4px solid {TINTS[tone][2]}" if tone else ""
        cells = "".join(_cell("td", _content(value), a, top) for value, a in zip(row, align, strict=True))
        body.append(f'<tr style="border-bottom:1px solid {LINE}{bar}">{cells}</tr>')
    body.append("</tbody>")
    if foot is not None:
        cells = "".join(
            _cell("td", _content(value), a, ";font-weight:600") for value, a in zip(foot, align, strict=True)
        )
        body.append(f'<tfoot><tr style="border-top:2px solid {LINE}">{cells}</tr></tfoot>')
    above = "" if caption is None else heading(caption)
    below = "" if len(shown) >= total else f'<div style="{MUTED};margin:4px 0">{len(shown):,} of {total:,} shown</div>'
    style = "border-collapse:collapse;table-layout:auto;width:auto;margin:0;font-size:13px;line-height:1.35"
    style += ";font-variant-numeric:tabular-nums"
    return Raw(
        f'<div style="font-family:system-ui,sans-serif;font-size:13px;margin:4px 0 10px 0">{above}'
        f'<div style="overflow-x:auto"><table style="{style}">{"".join(body)}</table></div>{below}</div>'
    )


def _content(value: object) -> str:
    if isinstance(value, Raw):
        return value
    if value is None:
        return quiet("–")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return number(value)
    return text(value)


def _cell(tag: str, content: str, align: str, more: str) -> str:
    return f'<{tag} style="padding:3px 10px;text-align:{_ALIGN[align]}{more}">{content}</{tag}>'
