"""The frame of every page: what it lets run, its colours in both themes, its paper."""

import base64
import re
from hashlib import sha256
from pathlib import Path

import pytest

from runbook_lib.report.drawing import html, page

LIGHT, LAB_DARK = "#ffffff", "#111111"


def luminance(colour: str) -> float:
    """WCAG's relative luminance."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    channels = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def variables(dark: bool) -> dict[str, str]:
    """The colours of the page's CSS in one theme."""
    blocks = re.findall(r":root \{(.*?)\}", page._file("page.css"), re.DOTALL)
    return dict(re.findall(r"--(\w+): (#\w+);", blocks[1 if dark else 0]))


def test_only_the_pages_own_script_may_run():
    """The policy names its hash. Nothing that is put into the page is a script, a style of an attribute, or a link out."""
    shown = page.document("<b>title", html.table(["<i>"], [["<script>x</script>"]], align="l"), contents=[("a", "<u>")])
    script = re.findall(r"<script>(.*?)</script>", shown, re.DOTALL)
    assert len(script) == 1
    digest = base64.b64encode(sha256(script[0].encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'" in shown
    assert "<title>&lt;b&gt;title</title>" in shown
    assert 'style="' not in shown
    assert '<a href="#a">&lt;u&gt;</a>' in shown
    assert not re.search(r"https?:", shown)
    assert shown.count("<main") == shown.count("</html>") == 1


@pytest.mark.parametrize("tone", html.TINTS)
@pytest.mark.parametrize("dark", [False, True])
def test_chips_are_legible_in_both_themes(tone, dark):
    """AA: 4.5 to 1. In the dark, every light colour of `html` is replaced."""
    pair = html.TINTS[tone][:2]
    assert contrast(*([page.DARK[colour] for colour in pair] if dark else pair)) >= 4.5


@pytest.mark.parametrize("verdict", html.SOLID)
def test_badges_are_legible(verdict):
    """They keep their colours in every theme."""
    assert contrast(*html.SOLID[verdict]) >= 4.5


@pytest.mark.parametrize("dark", [False, True])
def test_text_is_legible_on_the_page(dark):
    """Faint text, links and words in colour as well."""
    colours = variables(dark)
    for name in ("ink", "soft", "accent", "pass", "review", "fail", "back"):
        for ground in ("paper", "wash"):
            assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)


@pytest.mark.parametrize(("style", "text", "ground"), [(s, t, g) for s in (html.MUTED, html.QUIET) for t, g in
                         (("#000000", LIGHT), ("#ffffff", LAB_DARK))])  # fmt: skip
def test_faint_text_is_legible_in_jupyterlab(style, text, ground):
    """Its text is 87 % of black or white, of which an opacity takes more."""
    share = 0.87 * float(style.removeprefix("opacity:"))
    ends = [int(colour[1:3], 16) for colour in (text, ground)]
    mixed = round(ends[0] * share + ends[1] * (1 - share))
    assert contrast(f"#{mixed:02x}{mixed:02x}{mixed:02x}", ground) >= 4.5


def test_styles_become_classes_whose_colours_follow_the_theme():
    """A style that comes twice is one class; an opacity is a colour that is legible."""
    shown = page.document("t", html.chip("a", "good") + html.chip("b", "good") + html.muted("c"))
    name = re.search(r'<span class="(\w+)">a</span>', shown)[1]
    assert f'<span class="{name}">b</span>' in shown
    assert f".{name}{{background:var(--cdff3e6);color:var(--c14532d);" in shown
    assert "{color:var(--soft)}" in shown
    dark = re.search(r"@media screen and \(prefers-color-scheme:dark\)\{:root\{(.*?)\}", shown)[1]
    assert f"--cdff3e6:{page.DARK['#dff3e6']};" in dark


def test_a_wide_table_turns_the_paper():
    """The page is printed on its side where a table has many columns."""
    tables = [
        html.table([f"c{n}" for n in range(columns)], [range(columns)], align="r" * columns) for columns in (3, 9)
    ]
    assert ["A4 landscape" in page.document("t", table) for table in tables] == [False, True]


def test_a_page_with_nothing_to_work_on_has_no_script():
    """Nothing to sort, filter or unfold: then the policy lets no script run at all."""
    plain = page.document("t", html.note("a"))
    assert "<script" not in plain
    assert "script-src" not in plain
    for works in (html.details("a", "b"), html.table(["a"], [[1]], align="r"), '<div data-filter="Filter"></div>'):
        assert "script-src 'sha256-" in page.document("t", works)


def test_there_is_one_set_of_colours():
    """Every variable that a page uses has a value in both themes, and no other CSS of a page names a colour."""
    for path in sorted(Path(page.__file__).parents[1].rglob("*.css")):
        text = path.read_text(encoding="utf-8")
        assert set(re.findall(r"var\(--(\w+)", text)) <= set(variables(False)), path.name
        if path.name != "page.css":
            assert not re.search(r"#[0-9a-fA-F]{3}|--\w+:|prefers-color-scheme", text), path.name
    assert variables(True).keys() == variables(False).keys()
