"""The HTML copies of an executed notebook: what a reader of the report sees where it ended, and where it stopped."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from runbook_lib.notebook.export import NOT_REACHED, PAPERMILL, export

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of nbconvert


def shown(text):
    """What a cell displays."""
    return new_output("display_data", data={"text/html": f"<p>{text}</p>"})


def pages(folder, *, ends=None):
    """Both pages of a notebook of three sections; `ends` is the output with which the second stops it, none: it ended."""
    notes = [new_markdown_cell(f"An Exception was encountered at 'In [{n}]'.") for n in (2, 3)]
    for one in notes:
        one.metadata["tags"] = [PAPERMILL]
    cells = [
        *([notes[0]] if ends else []),
        new_markdown_cell("# First\n\nThen [second](02_test.ipynb)."),
        new_code_cell("first()", execution_count=1, outputs=[shown("the banner")]),
        new_markdown_cell("## Second"),
        *([notes[1]] if ends else []),
        new_code_cell("second()", execution_count=2, outputs=[ends or shown("two")]),
        new_markdown_cell("## Third\n\nEvery item is accounted for."),
        new_code_cell("third()", **({} if ends else {"execution_count": 3, "outputs": [shown("three")]})),
        new_code_cell("", execution_count=None),
    ]
    path = folder / "01_analyze.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    return [page.read_text(encoding="utf-8") for page in export(path)]


def test_a_report_of_a_notebook_that_ended_is_whole(tmp_path):
    """Its links lead to the other reports, not to notebooks; the page with code stays as the notebook."""
    report, with_code = pages(tmp_path)
    for words in ("the banner", "two", "Every item is accounted for.", "three"):
        assert words in report
    assert NOT_REACHED not in report
    assert 'href="02_test.html"' in report
    assert 'href="02_test.ipynb"' in with_code
    assert "first()" not in report


@pytest.mark.parametrize(
    "ends",
    [new_output("error", ename="Interrupted", evalue="resume", traceback=["Interrupted: resume"]), shown("half")],
    ids=["a cell failed", "the kernel died"],
)
def test_a_report_of_a_notebook_that_stopped_ends_where_it_stopped(ends, tmp_path):
    """A heading over nothing would read as a result. Cells by their number mean nothing to who does not see the code."""
    report, with_code = pages(tmp_path, ends=ends)
    assert "the banner" in report
    assert "Second" in report
    assert NOT_REACHED in report
    assert "Every item is accounted for." not in report
    assert "An Exception was encountered" not in report
    assert "An Exception was encountered" in with_code
    assert "Every item is accounted for." in with_code
