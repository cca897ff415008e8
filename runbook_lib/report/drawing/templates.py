"""Whole pages from the templates in `report/runs`: every value is escaped, nothing is loaded from elsewhere."""

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from markupsafe import Markup

from .html import Html, with_code

SCRIPT = "filter.js.j2"  # the only script of any of them


def render(template: str, **values: Any) -> bytes:
    """The page as UTF-8. Its policy allows its own style and, by its hash, SCRIPT; no request leaves it."""
    pages = _environment()
    digest = hashlib.sha256(pages.get_template(SCRIPT).render().encode()).digest()
    return pages.get_template(template).render(digest=base64.b64encode(digest).decode(), **values).encode()


def clipped(text: str, most: int) -> str:
    """The text, cut at a word's end and said to be cut where it has more than `most` characters."""
    if len(text) <= most:
        return text
    head = text[: most - 1]
    return (head.rsplit(" ", 1)[0] if " " in head[most // 2 :] else head) + "…"


@cache
def _environment():
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = Environment(
        loader=FileSystemLoader(Path(__file__).parents[1] / "runs"),
        autoescape=True,
        finalize=lambda value: value if isinstance(value, Markup) else Html.escape(value),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"code": with_code, "clip": clipped}
    return found
