"""An executed notebook as HTML that needs no network: with code for engineers, without for readers of the report."""

import copy
import re
from collections.abc import Mapping
from functools import cache, partial
from html import unescape
from pathlib import Path
from typing import Any

from ..report.drawing import page
from ..run.chain import COPIES, SUMMARY
from ..run.files import write_atomically

TEMPLATES = Path(__file__).with_name("html_template")
RESULT = "application/vnd.runbook.result+json"  # the banner carries the result as data under this type
ABOUT = "about"  # tag of the cell that says what a notebook changes, needs and leaves: in a report it comes last
LIVE = "runbook_live"  # in the metadata of an output that is for the person at the notebook
WIDGET = "application/vnd.jupyter.widget-view+json"
PAPERMILL = "papermill-error-cell-tag"  # its cells that say in which cell an error was: the banner says more
# To the summary, from a notebook by hand, which lies elsewhere than its copy; to the notebook of a stage.
_LINK = re.compile(rf'href="(?:[^"<> ]*/)?(?:{re.escape(SUMMARY)}|(\d\d_[a-z]+)\.ipynb)"')
NOT_REACHED = "The notebook stopped here. What comes after it was not reached: see the verdict at the top."
_HEADING = re.compile(r'<h2 id="([^"]+)">(.*?)<a class="anchor-link".*?</a></h2>', re.DOTALL)
_TAG = re.compile(r"<[^>]+>")
_ANCHOR = re.compile(r'<a class="anchor-link" href="#[^"]*">[^<]*</a>')


def export(notebook: Path) -> tuple[Path, Path]:
    """Writes `<name>.html` (without code) and `<name>-code.html` beside the notebook; returns both paths."""
    import nbformat

    content = nbformat.read(notebook, 4)
    _drop_live(content)
    title = _title(content, notebook.stem)
    report = _reached(content)
    paths = (notebook.with_suffix(".html"), notebook.with_name(f"{notebook.stem}-code.html"))
    for path, with_code in zip(paths, (False, True), strict=True):
        shown = content if with_code else report
        cells, _ = _exporter(with_code).from_notebook_node(shown)
        contents = [(name, unescape(_TAG.sub("", heading))) for name, heading in _HEADING.findall(cells)]
        body = _LINK.sub(partial(_to_page, notebook.parent), _ANCHOR.sub("", cells))
        write_atomically(path, page.document(title, body, contents=contents).encode())
    return paths


def _to_page(folder: Path, link: re.Match) -> str:
    """A stage's link leads to its newest page; where there is none yet, to its place on the summary, which is written anew."""
    stage = link[1]
    pages = [_newest(folder, name) for name in COPIES.get(stage, (stage,))] if stage else [SUMMARY]
    return f'href="{next(filter(None, pages), f"{SUMMARY}#{stage}")}"'


@cache
def _exporter(with_code: bool):
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    config = Config()
    config.HTMLExporter.exclude_input = not with_code
    config.HTMLExporter.exclude_input_prompt = True
    config.HTMLExporter.exclude_output_prompt = True
    config.HTMLExporter.embed_images = True
    config.CoalesceStreamsPreprocessor.enabled = True
    config.RegexRemovePreprocessor.enabled = True  # empty cells
    return HTMLExporter(config=config, template_name="runbook", extra_template_basedirs=[str(TEMPLATES)])


def result_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """The data of an executed notebook's banner; empty where it has no banner yet."""
    for cell in content.get("cells", ()):
        for output in cell.get("outputs", ()):
            if RESULT in output.get("data", {}):
                return output["data"][RESULT]
    return {}


def set_result(content, bundle: dict[str, Any]) -> None:
    """Replaces an executed notebook's banner; where it has none yet, the cell that would show it does."""
    import nbformat

    shown = nbformat.v4.new_output("display_data", data=bundle)
    code = [cell for cell in content.cells if cell.cell_type == "code"]
    for cell in code:
        for at, output in enumerate(cell.outputs):
            if RESULT in output.get("data", {}):
                cell.outputs[at] = shown
                return
    first = next((cell for cell in code if "plumbing" in cell.metadata.get("tags", ())), code[0])
    first.outputs.append(shown)


def _title(content, name: str) -> str:
    """Stage, verdict and run, for a tab or a list of files."""
    result = result_of(content)
    return " · ".join(str(part) for part in (name, result.get("verdict"), result.get("run_id")) if part)


def _drop_live(content) -> None:
    """Removes what is for the person at the notebook: live controls, hints. Text beside controls says what they decided."""
    content.metadata.pop("widgets", None)
    for cell in content.cells:
        kept = []
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            is_widget = data.pop(WIDGET, None) is not None and not set(data) - {"text/plain"}
            if not is_widget and not output.get("metadata", {}).get(LIVE):
                kept.append(output)
        if cell.cell_type == "code":
            cell.outputs = kept


def _newest(folder: Path, name: str) -> str:
    """The newest page of the executed copies that are called `name`, `name`-2, …; "" where there is none."""
    found = (re.fullmatch(rf"{name}(?:-(\d+))?\.html", path.name) for path in folder.glob(f"{name}*.html"))
    return max((match for match in found if match), key=lambda match: int(match[1] or 1), default=("",))[0]


def _reached(content):
    """A copy for readers: headings over nothing are left out, because they read as results."""
    import nbformat

    report = copy.deepcopy(content)
    cells = [cell for cell in report.cells if PAPERMILL not in cell.metadata.get("tags", ())]
    about = [cell for cell in cells if ABOUT in cell.metadata.get("tags", ())]
    cells = [cell for cell in cells if cell not in about]
    code = [at for at, cell in enumerate(cells) if cell.cell_type == "code" and cell.source]
    last = max((at for at in code if cells[at].execution_count or cells[at].outputs), default=-1)
    if code and last < code[-1]:
        cells = [*cells[: last + 1], nbformat.v4.new_markdown_cell(NOT_REACHED)]
    for cell in about:
        cell.source = f"## About this notebook\n\n{cell.source}"
    report.cells = [*cells, *about]
    return report
