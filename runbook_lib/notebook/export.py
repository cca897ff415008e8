"""An executed notebook as HTML that needs no network: with code for engineers, without for readers of the report."""

import copy
import re
from functools import cache
from pathlib import Path

from ..run.chain import SUMMARY
from ..run.files import write_atomically

TEMPLATES = Path(__file__).with_name("html_template")
WIDGET = "application/vnd.jupyter.widget-view+json"
PAPERMILL = "papermill-error-cell-tag"  # its cells that say in which cell an error was: the banner says more
_LINK = re.compile(rf'href="(?:[^"<> ]*/)?{re.escape(SUMMARY)}"')  # a notebook by hand lies elsewhere than its copy
NOT_REACHED = "The notebook stopped here. What comes after it was not reached: see the verdict at the top."


def export(notebook: Path) -> tuple[Path, Path]:
    """Writes `<name>.html` (without code) and `<name>-code.html` beside the notebook; returns both paths."""
    import nbformat

    content = nbformat.read(notebook, 4)
    _drop_widgets(content)
    report = _reached(content)
    paths = (notebook.with_suffix(".html"), notebook.with_name(f"{notebook.stem}-code.html"))
    for path, with_code in zip(paths, (False, True), strict=True):
        shown = content if with_code else report
        body, _ = _exporter(with_code).from_notebook_node(shown, {"metadata": {"name": notebook.stem}})
        write_atomically(path, _LINK.sub(f'href="{SUMMARY}"', body).encode())
    return paths


@cache
def _exporter(with_code: bool):
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    config = Config()
    config.HTMLExporter.exclude_input = not with_code
    config.HTMLExporter.exclude_input_prompt = True
    config.HTMLExporter.exclude_output_prompt = True
    config.HTMLExporter.embed_images = True
    config.HTMLExporter.theme = "light"
    config.CoalesceStreamsPreprocessor.enabled = True
    config.RegexRemovePreprocessor.enabled = True  # empty cells
    return HTMLExporter(config=config, template_name="runbook", extra_template_basedirs=[str(TEMPLATES)])


def _drop_widgets(content) -> None:
    """Removes live controls, which do nothing in a saved copy; text beside them says what they decided."""
    content.metadata.pop("widgets", None)
    for cell in content.cells:
        kept = []
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if data.pop(WIDGET, None) is None or set(data) - {"text/plain"}:
                kept.append(output)
        if cell.cell_type == "code":
            cell.outputs = kept


def _reached(content):
    """A copy for readers: links lead to reports, and headings over nothing are left out, because they read as results."""
    import nbformat

    report = copy.deepcopy(content)
    cells = [cell for cell in report.cells if PAPERMILL not in cell.metadata.get("tags", ())]
    for cell in cells:
        if cell.cell_type == "markdown":
            cell.source = cell.source.replace(".ipynb)", ".html)")
    code = [at for at, cell in enumerate(cells) if cell.cell_type == "code" and cell.source]
    last = max((at for at in code if cells[at].execution_count or cells[at].outputs), default=-1)
    if code and last < code[-1]:
        cells = [*cells[: last + 1], nbformat.v4.new_markdown_cell(NOT_REACHED)]
    report.cells = cells
    return report
