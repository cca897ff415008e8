"""The HTML copies of an executed notebook: what a reader of the report sees where it ended, and where it stopped."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from runbook_lib.notebook.display import banner
from runbook_lib.notebook.export import ABOUT, NOT_REACHED, PAPERMILL, RESULT, export, result_of, set_result
from runbook_lib.verdict import INTERRUPTED, REVIEW

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
    """Links to stages without a page lead to their places on the summary, which is always there; so do those beside the code."""
    report, with_code = pages(tmp_path)
    for words in ("the banner", "two", "Every item is accounted for.", "three"):
        assert words in report
    assert NOT_REACHED not in report
    for page in (report, with_code):
        assert 'href="summary.html#02_test"' in page
        assert "02_test.ipynb" not in page
    assert "first()" not in report


@pytest.mark.parametrize(
    ("there", "leads"), [(["02_create_tables.html"], "02_create_tables.html"),
    (["02_test.html", "02_test-10.html", "02_test-2.html", "02_test-10-code.html"], "02_test-10.html")],
)  # fmt: skip
def test_a_link_to_a_stage_leads_to_its_newest_page(there, leads, tmp_path):
    """The one with the highest number, also where a 02 only created tables."""
    for name in there:
        (tmp_path / name).touch()
    assert all(f'href="{leads}"' in page for page in pages(tmp_path))


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


def told(verdict, headline, resume=""):
    """A banner's bundle, as 03 shows it."""
    facts = [["run", "the-run"]]
    result = {"stage": "03_migrate", "verdict": verdict, "headline": headline, "resume": resume, "facts": facts}
    return banner({**result, "exit_code": 1, "run_id": "the-run", "file": None, "plan": []})


def executed():
    """A notebook with a banner, a table about it, and two sections."""
    about = new_markdown_cell("| | |\n|---|---|\n| **Changes** | nothing |", metadata={"tags": [ABOUT]})
    output = new_output("display_data", data=told(REVIEW, "6 items"))
    begin = new_code_cell("begin()", execution_count=1, outputs=[output], metadata={"tags": ["plumbing"]})
    last = [
        new_code_cell("x()", execution_count=2, outputs=[shown("one")]),
        new_markdown_cell("## Two & <b>more</b>"),
        new_code_cell("y()", execution_count=3, outputs=[shown("two")]),
    ]
    return new_notebook(cells=[new_markdown_cell("# 03 Migrate"), begin, about, new_markdown_cell("## One"), *last])


def test_a_report_begins_with_its_verdict_and_ends_with_what_it_is_about(tmp_path):
    """Only the title stands above; its tab names stage, verdict and run; the contents are those of the page."""
    path = tmp_path / "03_migrate.ipynb"
    nbformat.write(executed(), path)
    report, with_code = (page.read_text(encoding="utf-8") for page in export(path))
    assert "<title>03_migrate · REVIEW · the-run</title>" in report
    body = report.partition("<main")[2]
    places = [
        body.index(words) for words in ("03 Migrate", "6 items", ">one<", ">two<", "About this notebook", "Changes")
    ]
    assert places == sorted(places)
    assert '<a href="#One">One</a>' in report
    assert "Two &amp; more</a>" in report
    assert body.count("<h1") == 1
    assert "anchor-link" not in report
    assert with_code.index("Changes") < with_code.index(">one<")
    assert "About this notebook" not in with_code


@pytest.mark.parametrize("begun", [True, False])
def test_a_copy_whose_kernel_ended_says_how_to_resume(begun):
    """In the place of the banner that was not finished; in one of its own where the kernel ended before there was any."""
    notebook = executed()
    if not begun:
        notebook.cells[1].outputs = []
    set_result(notebook, told(INTERRUPTED, "The kernel died. Resume it.", "Resume it."))
    assert result_of(notebook)["verdict"] == INTERRUPTED
    outputs = [one for cell in notebook.cells for one in cell.get("outputs", ()) if RESULT in one.get("data", {})]
    assert len(outputs) == 1
    assert "Resume it." in outputs[0].data["text/html"]
    assert "Nothing was rolled back" in outputs[0].data["text/html"]
    assert "the-run" in outputs[0].data["text/html"]
