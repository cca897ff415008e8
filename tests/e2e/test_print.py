"""The report on paper, as Chromium prints it: nothing is beside the page, and nothing waits for a click. Slow: a browser."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from runbook_lib.notebook.export import export
from runbook_lib.report import views
from runbook_lib.report.drawing import html
from runbook_lib.verdict import REVIEW, Alert, dangling_alert

pytestmark = pytest.mark.slow
PAPER = {"width": 1032, "height": 702}  # A4, landscape, less its margins
OVER = """() => [...document.querySelectorAll("table, img, pre, .jp-OutputArea-output")]
    .filter(one => one.getBoundingClientRect().right > window.innerWidth + 1 || one.scrollWidth > one.clientWidth + 1)
    .map(one => one.outerHTML.slice(0, 200))"""


def report(folder):
    """A report with what is widest in the notebooks: open items with long names, and a table of many figures."""
    alerts = [
        Alert(REVIEW, "PaymentReconciliationJournal-production-NONE", "5 items " * 12, "Look at `this` first. " * 9)
    ]
    alerts += [dangling_alert(f"Table{n}WithAName", n, ["some.path:json[]", "another.path"]) for n in range(1, 10)]
    columns = [
        "level",
        "entry",
        *"records routed quarantined conflicts references dangling".split(),
        "already there",
        "write units",
    ]
    rows = [[1, f"BackOfficeProjectStatuses{n}", *range(1_000_000, 1_000_008)] for n in range(60)]
    shown = [views.alerts(alerts), html.table(columns, rows, align="rl" + "r" * 8, foot=["", "in all", *range(8)])]
    outputs = [new_output("display_data", data={"text/html": str(one)}) for one in shown]
    cells = [new_markdown_cell("# A report"), new_code_cell("show()", execution_count=1, outputs=outputs)]
    path = folder / "01_analyze.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    return export(path)[0]


def test_a_printed_report_is_complete(browser, tmp_path):
    """No column is cut off, what is folded in a cell is there, and a sum stands once, at its table's end."""
    page = browser.new_page(viewport=PAPER)
    page.goto(report(tmp_path).as_uri())
    page.emulate_media(media="print")
    assert page.evaluate(OVER) == []
    folded = page.locator("td details > div").first
    assert folded.evaluate("one => one.checkVisibility({contentVisibilityAuto: true}) && one.clientHeight > 0")
    assert page.locator("tfoot").first.evaluate("one => getComputedStyle(one).display") == "table-row-group"
    page.close()
