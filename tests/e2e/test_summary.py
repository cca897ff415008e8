"""The summary and the index in a browser: one sheet of paper, narrow, dark, for screen readers, without a network."""

import io
from pathlib import Path

import pypdf
import pytest
from support_runs import ABOUT, add, alert, migrated, report, widest

from runbook_lib.report.runs.bundle import write_bundle
from runbook_lib.report.runs.index import write_index
from runbook_lib.run.folder import open_run

pytestmark = pytest.mark.slow
AXE = Path(__file__).resolve().parents[1] / "engines" / "node_modules" / "axe-core" / "axe.min.js"
SERIOUS = """async () => (await axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"]})).violations
    .filter(one => ["serious", "critical"].includes(one.impact)).map(one => [one.id, one.nodes.map(node => node.html)])"""
WIDTHS = (420, 1280)


def damaged(outputs):
    """A run whose last report is cut off."""
    run = migrated(outputs)
    path = run.json_files("migration-report")[-1]
    path.write_bytes(path.read_bytes()[:50])
    add(run, "01_analyze", "note", {"verdict": "PASS"})
    return run


def rolled_back(outputs):
    """A run that was taken back."""
    run = migrated(outputs)
    undone = {"deleted": 98, "kept_edited": 2, "stage": "migrate"}
    made = [{"entry": "Orders", "table": "Orders-live"}]
    back = report("rollback", verdict="ROLLED_BACK", rollback=undone, tables_created=made, alerts=[alert(level="FAIL")])
    add(run, "05_rollback", "migration-report", back, "05_rollback")
    return run


def empty(outputs):
    """A run in which nothing was executed but a plan."""
    run = open_run(outputs, "the-first-run", ABOUT)
    add(run, "01_analyze", "note", {"verdict": "PASS"})
    return run


@pytest.fixture
def page(browser):
    """A page that fails where anything asks for the network, or the console tells of an error."""
    opened, problems = browser.new_page(bypass_csp=False), []
    opened.on("request", lambda one: one.url.startswith("file:") or problems.append(one.url))
    opened.on("console", lambda one: one.type == "error" and problems.append(one.text))
    opened.on("pageerror", lambda one: problems.append(str(one)))
    yield opened
    opened.close()
    assert problems == []


@pytest.mark.parametrize("make", [migrated, widest, rolled_back, damaged, empty])
def test_the_summary_is_one_sheet(make, page, tmp_path):
    """A4, whatever the run holds; nothing is beside the page, on paper, a desk or a telephone."""
    page.goto((make(tmp_path).folder / "summary.html").as_uri())
    printed = pypdf.PdfReader(io.BytesIO(page.pdf(prefer_css_page_size=True)))
    assert len(printed.pages) == 1
    assert [round(float(side)) for side in printed.pages[0].mediabox[2:]] == [595, 842]
    text = printed.pages[0].extract_text()
    assert "runbook verify" in text
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_read_both_pages(scheme, browser, tmp_path):
    """axe finds no serious violation, in either colours, wide and narrow."""
    run = widest(tmp_path)
    rolled_back(tmp_path)
    open_run(tmp_path, "the-empty-run", ABOUT)
    index = write_index(tmp_path)
    opened = browser.new_page(color_scheme=scheme, bypass_csp=True)
    for path in (run.folder / "summary.html", tmp_path / "the-first-run" / "summary.html", index):
        for width in WIDTHS:
            opened.set_viewport_size({"width": width, "height": 900})
            opened.goto(path.as_uri())
            opened.add_script_tag(path=AXE)
            assert opened.evaluate(SERIOUS) == [], (path, width)
    opened.close()


def test_the_index_filters_what_it_lists(page, tmp_path):
    """By any words of a row; what is left is counted. Links lead somewhere."""
    migrated(tmp_path)
    widest(tmp_path)
    write_bundle(rolled_back(tmp_path / "other"))
    page.goto(write_index(tmp_path).as_uri())
    rows = page.locator("tbody tr")
    assert [rows.nth(n).is_visible() for n in range(2)] == [True, True]
    page.get_by_label("Filter").fill("FIRST live")
    assert [rows.nth(n).is_visible() for n in range(2)] == [False, True]
    assert page.get_by_role("status").text_content() == "1 of 2 shown"
    page.get_by_label("Filter").fill("")
    assert [rows.nth(n).is_visible() for n in range(2)] == [True, True]
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, width
    page.get_by_role("link", name="the-first-run").click()
    assert page.get_by_role("heading", level=1).text_content().startswith("100 of 100 items copied and proved equal")
