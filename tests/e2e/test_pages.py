"""The pages of one run in Chromium: accessible, without a network, on narrow windows, and on paper. Slow: kernels, a browser."""

import io
from pathlib import Path

import pypdf
import pytest

from runbook_lib.cli import main
from runbook_lib.demo.world import World

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
AXE = ROOT / "tests" / "engines" / "node_modules" / "axe-core" / "axe.min.js"
PARAMS = str(ROOT / "parameters" / "demo_table_split.yaml")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
UNFOLD = "for (const one of document.querySelectorAll('details')) one.open = true"
# Rows that differ from an earlier one in their words alone go: nothing new can be found in them, and they are most of a page.
DROP_ROWS_ALIKE = """() => {
    const seen = new Set(), words = ["aria-label", "data-sort", "href", "src", "alt"];
    const tag = one => [one.tagName, one.textContent === "", ...[...one.attributes].map(
        ({name, value}) => words.includes(name) ? name : name + value)];
    for (const row of document.querySelectorAll("tbody tr")) {
        const above = [];
        for (let one = row.closest("table"); one; one = one.parentElement) above.push(one.tagName, one.className);
        const alike = JSON.stringify([above, [row, ...row.querySelectorAll("*")].map(tag)]);
        if (seen.has(alike)) row.remove();
        seen.add(alike);
    }
}"""
SERIOUS = """async only => (await axe.run(document, {runOnly: only, resultTypes: ["violations"]})).violations
    .filter(one => ["serious", "critical"].includes(one.impact) || one.id === "heading-order")
    .map(one => [one.id, one.nodes.map(node => node.html.slice(0, 200))])"""
SCROLLS = ["scrollable-region-focusable"]
COLOURS = ["color-contrast", "link-in-text-block"]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Every HTML page of a run from 01 to 05, with a dry run of 03 among them, and of a draft."""
    outputs = tmp_path_factory.mktemp("outputs")
    written = ["--execute", "--confirm", "democrm-v2"]
    patch = pytest.MonkeyPatch()
    patch.chdir(ROOT)
    with World():
        run = ["--outputs", str(outputs)]
        for words in (
            ["analyze"],
            ["test", "Leads", "--limit", "3", *written],
            ["migrate"],
            ["migrate", *written],
            ["validate"],
        ):
            assert main([words[0], PARAMS, *words[1:], *run]) in (0, 1)
        checkpoint = max(outputs.glob("*/migration-checkpoint-*.json"))
        assert main(["rollback", "--checkpoint", str(checkpoint), *written, "--outputs", str(outputs)]) in (0, 1)
        draft = [
            "draft",
            PARAMS,
            "--pattern",
            "{table}",
            "-p",
            f"mapping={outputs / 'drafted.yaml'}",
            "--outputs",
            str(outputs),
        ]
        assert main(draft) in (0, 1)
    patch.undo()
    found = sorted(outputs.glob("*/*.html"))
    assert len(found) == 16  # two of them summaries
    return found


def opened(browser, path, *, scheme="light", width=1280, **more):
    """The page in a window, and what it asked of the network and said on the console."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **more)
    page, said = context.new_page(), []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on(
        "request", lambda request: said.append(request.url) if not request.url.startswith(("file:", "data:")) else None
    )
    page.goto(path.as_uri())
    return page, said


def unfolded(page, width):
    """The page in a window of this width, everything unfolded, after its script has seen what fits."""
    page.set_viewport_size({"width": width, "height": 900})
    page.evaluate(UNFOLD)
    page.evaluate("() => new Promise(seen => requestAnimationFrame(() => requestAnimationFrame(seen)))")


def test_axe_finds_nothing_serious(browser, pages):
    """All unfolded, light and dark, wide and narrow; every page has one h1, and a title that says what it is."""
    for path in pages:
        page, _ = opened(browser, path, bypass_csp=True)
        page.add_script_tag(path=AXE)
        widths = (1280,) if "-code" in path.name else (420, 1280)
        for width in widths:
            unfolded(page, width)
            assert page.evaluate(SERIOUS, SCROLLS) == [], (path.name, width)
        page.evaluate(DROP_ROWS_ALIKE)
        for width in widths:
            unfolded(page, width)
            assert page.evaluate(SERIOUS, RULES) == [], (path.name, width)
        page.emulate_media(color_scheme="dark")
        assert page.evaluate(SERIOUS, COLOURS) == [], (path.name, "dark")
        assert page.locator("h1").count() == 1
        assert path.name == "summary.html" or page.title().startswith(path.stem[:2])
        page.context.close()


def test_nothing_is_asked_of_a_network_and_nothing_goes_wrong(browser, pages):
    """The policy lets the one script run, and nothing else."""
    for path in pages:
        page, said = opened(browser, path, offline=True)
        assert said == [], path.name
        assert page.locator("th button").count() > 0 or not path.name.startswith("01")
        page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.ran = 1\">')")
        page.wait_for_timeout(50)
        assert page.evaluate("window.ran") is None
        page.context.close()


def test_no_page_is_wider_than_its_window(browser, pages):
    """Tables scroll in boxes of their own, and fit them in an ordinary window; no text is smaller than 12 pixels."""
    small = """() => [...document.querySelectorAll('main *')].filter(one => one.checkVisibility() &&
        [...one.childNodes].some(n => n.nodeType === 3 && n.data.trim()) &&
        parseFloat(getComputedStyle(one).fontSize) < 11.95)
        .map(one => one.outerHTML.slice(0, 120))"""
    cut = """() => [...document.querySelectorAll('table')].map(one => one.parentElement)
        .filter(box => box.scrollWidth > box.clientWidth)
        .map(box => [box.scrollWidth - box.clientWidth, box.querySelector('tr').innerText])"""
    for path in pages:
        page, _ = opened(browser, path)
        for width in (420, 1280):
            unfolded(page, width)
            assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth"), (path.name, width)
            assert page.evaluate(small) == [], (path.name, width)
        assert page.evaluate(cut) == [], path.name
        page.context.close()


def test_a_page_without_its_script_is_complete(browser, pages):
    """The contents stand open, and every row is there."""
    path = next(path for path in pages if path.name == "01_analyze.html")
    with_script, _ = opened(browser, path)
    without, _ = opened(browser, path, java_script_enabled=False)
    assert without.locator(".contents a").count() == with_script.locator(".contents a").count() > 8
    assert without.locator("tbody tr").count() == with_script.locator("tbody tr").count()
    for page in (with_script, without):
        page.context.close()


def test_a_printed_page_is_complete(browser, pages):
    """No text lies beyond the paper's edge, and every table has its last column's head; controls are not printed."""
    for path in pages:
        page, _ = opened(browser, path)
        heads = page.evaluate(
            "[...document.querySelectorAll('thead tr')].map(row => row.cells[row.cells.length - 1].innerText)"
        )
        paper = pypdf.PdfReader(io.BytesIO(page.pdf(prefer_css_page_size=True)))
        text = ""
        for sheet in paper.pages:
            right, beyond = float(sheet.mediabox.right), []

            def seen(words, outer, inner, _font, _size, right=right, beyond=beyond):
                across = outer[0] * inner[4] + outer[2] * inner[5] + outer[4]
                if words.strip() and not 0 <= across <= right:
                    beyond.append((words, across))

            text += sheet.extract_text(visitor_text=seen)
            assert beyond == [], path.name
        plain = "".join(text.split())
        for head in heads:
            words = "".join(head.split()).removesuffix("↕")
            assert words in plain, (path.name, head)
        assert "Contents" not in text
        assert "Filterrows" not in plain
        page.context.close()
