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
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
SIZES = [("light", 1280), ("dark", 1280), ("light", 420)]


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


@pytest.mark.parametrize(("scheme", "width"), SIZES)
def test_axe_finds_nothing_serious(browser, pages, scheme, width):
    """With all that is folded open; every page has one h1, and a title that says what it is."""
    for path in pages if scheme == "light" and width == 1280 else [one for one in pages if "-code" not in one.name]:
        page, _ = opened(browser, path, scheme=scheme, width=width, bypass_csp=True)
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        page.add_script_tag(path=AXE)
        found = page.evaluate("rules => axe.run(document, rules)", RULES)["violations"]
        bad = [
            (one["id"], node["html"][:200], node["any"][:1])
            for one in found
            if one["impact"] in ("serious", "critical") or one["id"] == "heading-order"
            for node in one["nodes"]
        ]
        assert bad == [], path.name
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


@pytest.mark.parametrize("width", [420, 1280])
def test_no_page_is_wider_than_its_window(browser, pages, width):
    """Tables scroll in boxes of their own; no text is smaller than 12 pixels."""
    for path in pages:
        page, _ = opened(browser, path, width=width)
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth"), path.name
        small = """() => [...document.querySelectorAll('main *')].filter(one => one.checkVisibility() &&
            [...one.childNodes].some(n => n.nodeType === 3 && n.data.trim()) &&
            parseFloat(getComputedStyle(one).fontSize) < 11.95)
            .map(one => one.outerHTML.slice(0, 120))"""
        assert page.evaluate(small) == [], path.name
        page.context.close()


def test_the_samples_show_every_column(browser, pages):
    """Before and after of 01 stand side by side in an ordinary window."""
    page, _ = opened(browser, next(path for path in pages if path.name == "01_analyze.html"))
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    page.wait_for_timeout(100)
    cut = """() => [...document.querySelectorAll('.rb-box')].filter(box => box.textContent.includes('what happened') &&
        box.scrollWidth > box.clientWidth + 1).map(box => box.textContent.slice(0, 200))"""
    assert page.locator("th", has_text="what happened").count() > 3
    assert page.evaluate(cut) == []
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
