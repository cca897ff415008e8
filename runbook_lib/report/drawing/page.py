"""A whole HTML page: one frame for reports, summary and index. Reads `page.css` and `page.js` beside it, and templates.

The page needs no network. Its only script sorts and filters tables; the page's policy allows it by its hash, so that nothing
in the data can run, and the page is complete without it. Inline styles become classes, which keeps a page small, and
their colours become variables, which the dark theme sets anew: what has no colour of its own for the dark stays as it is.
"""

import base64
import re
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from markupsafe import Markup

from .html import Html, clipped, with_code

DARK = {  # a light colour of `html` -> the same in a dark page; colours of badges are legible in both
    "#dff3e6": "#12351f",
    "#14532d": "#8be0ad",
    "#fdefc8": "#3d2e08",
    "#6a4500": "#f3cd7a",
    "#fde2df": "#4a1614",
    "#8c1a13": "#ffb4ab",
    "#e1ecf8": "#162f4a",
    "#1c4a7d": "#a8cdf7",
    "#e9ecef": "#2a313a",
    "#3a424d": "#cdd5dd",
    "#d9dde2": "#39424c",
}
WIDE = 8  # columns of a table with which the page is printed on its side
WORKED = ("<thead", "<details", "data-filter")  # what the script is for
_CONTENTS = Html(
    '<nav class="contents" aria-label="Contents"><details open><summary>Contents</summary><ol>{}</ol></details></nav>\n'
)
_STYLED = re.compile(r'(<[a-z][a-z0-9]*(?: [a-z-]+="[^"<>]*")*?) style="([^"<>]*)"')
_CLASS = re.compile(r' class="([^"]*)"')
_HEAD = re.compile(r"<thead.*?</thead>", re.DOTALL)


def document(title: object, body: str, *, contents: Iterable[tuple[str, str]] = (), style: str = "") -> str:
    """The page. `body` is HTML, what stands in `<main>`, with one `<h1>`; `contents`: (id, heading) for the list beside it.

    `style` is more CSS. A page with a table of WIDE columns or more is printed on landscape paper; one with nothing to sort,
    filter or unfold has no script.
    """
    shown, classes = _classes(body)
    wide = any(head.count("<th ") >= WIDE for head in _HEAD.findall(shown))
    links = Html("").join(Html('<li><a href="#{}">{}</a></li>').format(*one) for one in contents)
    script = _file("page.js") if links or any(mark in shown for mark in WORKED) else ""
    css = _file("page.css") + ("@page { size: A4 landscape; }\n" if wide else "") + classes + style
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(script)}">\n'
        f"<title>{Html.escape(title)}</title>\n<style>\n{css}</style>\n</head>\n<body>\n"
        f'<a class="skip" href="#page">Skip to the page</a>\n<div class="{"beside" if links else "alone"}">\n'
        f'{_CONTENTS.format(links) if links else ""}<main id="page">\n{shown}\n</main>\n</div>\n'
        f"{f'<script>{script}</script>' if script else ''}\n</body>\n</html>\n"
    )


def render(module: Path, title: object, **values: Any) -> bytes:
    """The page, as UTF-8, of what stands beside a module: its template (NAME.html.j2) for `<main>`, and its CSS (NAME.css).

    Every value is escaped, unless it is Html.
    """
    body = _templates(module.parent).get_template(f"{module.stem}.html.j2").render(values)
    return document(title, body, style=_read(module.with_suffix(".css"))).encode()


def _policy(script: str) -> str:
    digest = base64.b64encode(sha256(script.encode()).digest()).decode()
    runs = f"; script-src 'sha256-{digest}'" if script else ""
    return f"default-src 'none'; style-src 'unsafe-inline'; img-src data:{runs}; base-uri 'none'; form-action 'none'"


@cache
def _templates(folder: Path):
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        finalize=lambda value: value if isinstance(value, Markup) else Html.escape(value),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"code": with_code, "clip": clipped}
    return found


def _file(name: str) -> str:
    return _read(Path(__file__).with_name(name))


@cache
def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _classes(body: str) -> tuple[str, str]:
    """The body with a class for each different inline style, and their CSS."""
    names: dict[str, str] = {}

    def named(found: re.Match) -> str:
        tag, style = found[1], found[2]
        name = names.setdefault(style, f"x{len(names)}")  # no class of a highlighter
        if has := _CLASS.search(tag):
            return f'{tag[: has.start()]} class="{has[1]} {name}"{tag[has.end() :]}'
        return f'{tag} class="{name}"'

    shown = _STYLED.sub(named, body)
    css = "".join(f".{name}{{{_coloured(style)}}}\n" for style, name in names.items())
    light = "".join(f"--c{colour[1:]}:{colour};" for colour in DARK)
    dark = "".join(f"--c{colour[1:]}:{other};" for colour, other in DARK.items())
    return shown, (
        f":root{{{light}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n{css}" if css else ""
    )


def _coloured(style: str) -> str:
    """The style with variables for colours that have a dark one, and a colour for faint text, which is then legible."""
    for colour in DARK:
        style = style.replace(colour, f"var(--c{colour[1:]})")
    return re.sub(r"(^|;)opacity:\.\d+", r"\1color:var(--soft)", style)
