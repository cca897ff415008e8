"""Figures: legible at 35 tables, nothing over a name, no state, no display."""

import base64
import io
import re
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support_results import analysis_of, migration_of

from runbook_lib.discover.profile import AttributeProfile
from runbook_lib.mapping.levels import levels
from runbook_lib.report import figures
from runbook_lib.report.drawing import canvas
from runbook_lib.report.drawing.reference_map import GAP, _Map, draw_map, lay_out
from runbook_lib.stages.analyze.analysis import EntryAnalysis
from runbook_lib.stages.analyze.skew import Use
from runbook_lib.stages.validate.groups import DifferenceGroup
from runbook_lib.stages.validate.validate import Validation

# The 35 tables of an environment copy, and what refers to what.
PARENTS = {
    "BackOfficeAssignTo": {"Contacts"},
    "ContactAuditLog": {"Contacts"},
    "ContactUs": {"Contacts", "Properties"},
    "Affiliates": {"Contacts", "Properties"},
    "NotificationQueue": {"NotificationTemplate", "Contacts"},
    "eSignatureDocuments": {"Properties"},
    "Requests": {"Contacts", "Properties"},
    "PendingAppoitments": {"Requests"},
    "Projects": {"Contacts", "Properties", "Requests", "Quotes"},
    "Quotes": {"Projects", "Contacts", "Properties", "Requests"},
    "QuoteItems": {"Projects", "QuoteItems"},
    "ProjectComments": {"Projects", "Contacts"},
    "ProjectMilestones": {"Projects"},
    "ProjectPermissions": {"Projects"},
    "ProjectPaymentTerms": {"Projects", "ProjectPaymentTerms"},
    "AuditLog": {"Contacts", "Properties", "Requests", "Projects", "Quotes", "QuoteItems", "ProjectPaymentTerms"},
}
ALONE = [f"BackOfficeTable{number}" for number in range(16)]
TABLES = {name: set() for name in ("Contacts", "Properties", "NotificationTemplate", *ALONE)} | PARENTS
LEVELS = levels(TABLES)
EDGES = [(child, parent, 1234, len(parent) % 3) for child in TABLES for parent in sorted(TABLES[child])]
EDGES.append(("AuditLog", None, 0, 4))
RECORDS = dict.fromkeys(TABLES, 123_456)
STRANGE = ["$x^{2", "<script>alert(1)</script>", "a\nb\u202e", "東京 😀", '"><img src=x onerror=alert(1)>', "x" * 80]


def image_of(markup: str) -> Image.Image:
    """The picture in an `<img>`."""
    return Image.open(io.BytesIO(base64.b64decode(re.search(r'src="data:image/png;base64,([^"]+)"', markup)[1])))


def alt_of(markup: str) -> str:
    return re.search(r'<img alt="([^"]*)"', markup)[1]


def drawn(levels_: dict, edges: list) -> _Map:
    """A map after drawing, with its figure."""
    map_ = _Map(levels_, {(child, parent): (count, dangling) for child, parent, count, dangling in edges}, RECORDS)
    map_.image()
    return map_


def test_a_figure_is_an_image_of_twice_the_pixels_that_shrinks_with_the_page():
    markup = draw_map(LEVELS, EDGES, RECORDS)
    width = int(re.search(r'width="(\d+)"', markup)[1])
    assert image_of(markup).size[0] == pytest.approx(2 * width, abs=2)
    assert "max-width:100%" in markup
    assert "data:image/png" in markup
    assert len(markup) < 400_000


def test_tables_without_references_stand_below_the_map():
    markup = draw_map(LEVELS, EDGES, RECORDS)
    below = markup.partition("</div>")[2]
    assert "16 entries without references" in below
    assert all(name in below for name in ALONE)
    assert not any(name in alt_of(markup) for name in ALONE)


def test_the_description_says_what_the_map_shows():
    alt = alt_of(draw_map({"A": 1, "B": 2}, [("B", "A", 5, 0), ("B", "A", 1000, 3), ("B", None, 0, 4)], {}))
    assert "B to A: 1,005, 3 dangling" in alt  # one edge, however many paths
    assert "B to an unknown table: 0, 4 dangling" in alt


@pytest.mark.parametrize(
    ("levels_", "edges"),
    [
        ({}, []),
        ({"A": 1, "B": 2}, []),
        ({"A": 1}, [("A", "A", 5, 0)]),
        ({"A": 1}, [("A", None, 0, 5)]),
        ({"A": 1, "B": 1, "C": 1}, [("A", "B", 1, 0), ("B", "C", 1, 1), ("C", "A", 1, 0)]),
        ({"A": 1, "B": 7}, [("A", "B", 1, 0)]),  # against the levels, as a table named by an attribute can be
        ({"A": 1, "B": 2}, [("A", "unknown", 3, 1), ("unknown", "A", 1, 0)]),
    ],
)
def test_maps_of_odd_shapes(levels_, edges):
    assert draw_map(levels_, edges, {})


def test_no_name_of_a_map_touches_another_or_a_foreign_box():
    """35 tables, with cycles, tables that refer to themselves, and dangling references."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.patches import FancyBboxPatch

    canvas = drawn(LEVELS, EDGES).canvas
    renderer = FigureCanvasAgg(canvas.figure).get_renderer()
    texts = [(text.get_text(), text.get_window_extent(renderer)) for text in canvas.axes.texts]
    boxes = [p.get_window_extent(renderer) for p in canvas.axes.patches if isinstance(p, FancyBboxPatch)]
    assert len(boxes) == 19
    assert len(texts) > 60
    page = canvas.figure.bbox
    for words, extent in texts:
        assert page.x0 <= extent.x0 <= extent.x1 <= page.x1, words
        assert page.y0 <= extent.y0 <= extent.y1 <= page.y1, words
        for box in boxes:
            inside = box.x0 <= extent.x0 and extent.x1 <= box.x1 and box.y0 <= extent.y0 and extent.y1 <= box.y1
            assert inside or not extent.overlaps(box), words
    for (one, left), (other, right) in combinations(texts, 2):
        assert not left.overlaps(right), (one, other)
    for one, other in combinations(boxes, 2):
        assert not one.overlaps(other)


@st.composite
def graphs(draw):
    names = [f"T{number}" for number in range(draw(st.integers(1, 14)))]
    pairs = st.tuples(st.sampled_from(names), st.sampled_from(names))
    return (
        names,
        draw(st.lists(pairs, unique=True, max_size=30)),
        draw(st.lists(st.integers(1, 5), min_size=14, max_size=14)),
    )


@given(graphs())
@settings(deadline=None)
def test_nothing_in_a_column_lies_over_anything_else(graph):
    """Boxes and passing lines keep their distance, whatever the levels and references."""
    names, edges, level = graph
    heights = {name: 20.0 + 7 * index for index, name in enumerate(names)}
    layout = lay_out(dict(zip(names, level, strict=False)), edges, heights)
    assert sorted(n for column in layout.columns for n in column if isinstance(n, str)) == sorted(names)
    for column in layout.columns:
        for upper, lower in pairwise(column):
            between = layout.middle[lower] - layout.half(lower) - layout.middle[upper] - layout.half(upper)
            assert between >= GAP - 1e-6
    for child, parent in edges:
        for node in layout.way(child, parent) if layout.column_of[child] != layout.column_of[parent] else ():
            assert node in layout.middle


def test_the_layout_crosses_no_lines_where_none_need_cross():
    """A and B each have a child of their own; the children stand in the parents' order."""
    heights = dict.fromkeys("ABab", 20.0)
    layout = lay_out({"A": 1, "B": 1, "a": 2, "b": 2}, [("a", "B"), ("b", "A")], heights)
    assert (layout.middle["A"] < layout.middle["B"]) == (layout.middle["b"] < layout.middle["a"])


def test_counts_keep_the_smallest_part_visible():
    """One failed item among a million has its pixels, in its colour."""
    markup = figures.counts({"Large": {"inserted": 1_000_000, "failed": 1}, "Small": {"conflicts": 1}, "None": {}})
    picture = image_of(markup).convert("RGB")
    bars = picture.crop((0, 2 * 34, *picture.size))  # below the legend
    colours = {colour: count for count, colour in bars.getcolors(1 << 24)}
    for part in ("inserted", "conflicts", "failed"):
        wanted = bytes.fromhex(figures.PARTS[part][1][1:])
        assert (
            max(
                count
                for colour, count in colours.items()
                if sum(abs(a - b) for a, b in zip(colour, wanted, strict=True)) < 12
            )
            > 100
        )
    assert "1,000,000 inserted" in alt_of(markup)
    assert "1 failed" in alt_of(markup)


def test_figures_of_nothing_are_a_sentence():
    assert "No tables" in figures.counts({})
    assert "No tables" in draw_map({}, [], {})

    class Empty:
        tables = {"T": EntryAnalysis()}

    assert "No items" in figures.types(Empty())


def test_types_of_35_tables():
    class Many:
        tables = {name: EntryAnalysis(profile={"a": AttributeProfile(Counter(S=3, N=1, NS=1))}) for name in TABLES}

    markup = figures.types(Many())
    assert alt_of(markup) == "Attribute types of 35 tables: S, N, NS."
    assert image_of(markup).size[1] > 35 * 2 * canvas.ROW


@pytest.mark.parametrize("name", STRANGE)
def test_strange_names_are_drawn_as_they_are(name):
    """No formula is read into them, no markup, and a character that the font lacks is no warning."""

    class One:
        tables = {name: EntryAnalysis(profile={"a": AttributeProfile(Counter(S=1))})}

    with warnings.catch_warnings(action="error"):  # of the drawing alone, not what earlier tests left to be collected
        drawn = (
            draw_map({name: 1, "B": 2}, [("B", name, 1, 1)], {}),
            draw_map({name: 1}, [], {}),
            figures.counts({name: {"inserted": 1}}),
            figures.types(One()),
        )
    for markup in drawn:
        assert "<script" not in markup
        assert markup.count("<img") <= 1
        assert "\u202e" not in markup


def test_figures_can_be_made_on_any_thread():
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: figures.counts({"A": {"inserted": 3}}), range(8)))
    assert len(set(made)) == 1


def test_pyplot_and_its_state_are_not_used():
    code = (
        "import sys; from runbook_lib.report import figures; "
        "from runbook_lib.report.drawing.reference_map import draw_map; assert 'matplotlib' not in sys.modules; "
        "figures.counts({'A': {'inserted': 1}}); draw_map({'A': 1}, [('A', 'A', 1, 0)], {}); "
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


POINTS = [{"at": "2025-01-01T00:00:00Z", "seconds": 2.0, "items": n, "throttled": n // 200} for n in (100, 300, 200, 0)]
HELD = [{"table": "target T", "reason": "limits.write_units", "refused": 0, "seconds": 2.0}]
USES = {
    "T": {"PK": Use(2, 20_000, 15_000, top=(("secret", 15_000), ("b", 5_000))), "id": Use(9_000, 9_000, 1)},
    "U": {"GSI1PK": Use(40, 1_000, 120, top=(("a", 120),))},
}
GROUPS = [
    DifferenceGroup("T", "", "missing", "", "", "", 30, ""),
    *(DifferenceGroup(f"T{n}", "at", "different", "S", "N", "copied", 20, "") for n in range(20)),
]


def sentence_of(markup: str) -> str:
    return re.sub(r"<[^>]+>", "", markup)


def validation_of(groups: list) -> Validation:
    return Validation({}, {}, 0, [], [], [], groups=groups)


def with_points() -> dict[str, Callable[[], str]]:
    """Every figure with a sentence, where there is something to see."""
    sizes = analysis_of(
        {"T": EntryAnalysis(sizes=Counter({3: 1, 10: 90, 11: 9})), "U": EntryAnalysis(sizes=Counter({19: 1}))}
    )
    counts = {"scanned": 100, "inserted": 90, "conflicts": 7, "failed": 3}
    return {
        "throughput": lambda: figures.throughput({"throughput": POINTS, "held_back": HELD}),
        "flow": lambda: figures.flow(migration_of({"T": counts, "U": {"scanned": 1, "inserted": 1}})),
        "sizes": lambda: figures.sizes(sizes),
        "spread": lambda: figures.spread(analysis_of({}, skew=USES)),
        "causes": lambda: figures.causes(validation_of(GROUPS)),
    }


def test_figures_with_a_point_say_it_and_stay_small():
    """The same input gives the same bytes; the picture has an alternative text with figures, and its own width at most."""
    for name, draw in with_points().items():
        markup = draw()
        assert markup == draw(), name
        assert len(markup) < 40_000, name
        assert image_of(markup).size[0] == 2 * figures.WIDE, name
        assert re.search(r"\d", alt_of(markup)), name
        assert "secret" not in markup


def test_the_sentences_say_the_point():
    said = {name: sentence_of(draw()) for name, draw in with_points().items()}
    assert said == {
        "throughput": "75 items/s on average over 8 s, 150 at best; held back for 2 s (25 % of the time) by "
        "limits.write_units of target T.",
        "flow": "91 of 101 items (90 %) arrived or were there already.",
        "sizes": "90 % of 101 items take one write unit (at most 1 KB); the largest fits into 400 KB, and the limit is 400 KB.",
        "spread": "One value of PK takes 75 % of the write units of T (15,000); a partition takes 1,000 a second, so at least "
        "15 s.",
        "causes": "430 differences in 21 tables; 93 % have one cause: at, S → N, in 20 tables.",
    }
    unheld = [{**point, "throttled": 0} for point in POINTS]
    assert sentence_of(figures.throughput({"throughput": unheld})).endswith("nothing held it back.")
    assert sentence_of(figures.throughput({"throughput": POINTS})).endswith("held back in 2 of 4 stretches of time.")
    waited = [{**point, "held_back": 1.5} for point in unheld]
    assert sentence_of(figures.throughput({"throughput": waited})).endswith("held back in 4 of 4 stretches of time.")


def test_where_all_is_well_there_is_a_sentence_and_no_picture():
    sentences = (
        figures.flow(migration_of({"T": {"scanned": 5, "inserted": 5}})),
        figures.flow(migration_of({})),
        figures.sizes(analysis_of({"T": EntryAnalysis(sizes=Counter({10: 5}))})),
        figures.sizes(analysis_of({})),
        figures.spread(analysis_of({}, skew={"T": {"id": Use(9_000, 9_000, 1), "PK": Use(1, 99, 99)}})),
        figures.spread(analysis_of({})),
        figures.causes(validation_of(GROUPS[:1])),
        figures.causes(validation_of(GROUPS[1:])),
    )
    for markup in sentences:
        assert "<img" not in markup
        assert sentence_of(markup).endswith(".")
    for report in ({}, {"throughput": POINTS[:2]}, {"throughput": [{**point, "items": 0} for point in POINTS]}):
        assert figures.throughput(report) == ""
    assert figures.causes(validation_of([])) == ""


def test_the_least_part_of_a_flow_has_its_pixels_in_its_colour():
    """One failed item of a million, although the picture has few colours."""
    picture = image_of(figures.flow(migration_of({"T": {"scanned": 10**6, "inserted": 10**6 - 1, "failed": 1}})))
    wanted = bytes.fromhex(figures.PARTS["failed"][1][1:])
    near = [
        count
        for count, colour in picture.convert("RGB").getcolors(1 << 24)
        if sum(abs(a - b) for a, b in zip(colour, wanted, strict=True)) < 24
    ]
    assert sum(near) > 60


@pytest.mark.parametrize("name", ["X" * 255, STRANGE[2]])
def test_no_text_of_a_figure_leaves_it(name, monkeypatch):
    """However long a table's or an attribute's name is."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    drawn = []
    whole = canvas.Canvas.image
    monkeypatch.setattr(canvas.Canvas, "image", lambda self, *about: drawn.append(self) or whole(self, *about))
    figures.spread(analysis_of({}, skew={name: {f"{name} + {name}": USES["T"]["PK"]._replace(distinct=10**9)}}))
    figures.causes(validation_of([*GROUPS, DifferenceGroup(name, name, "different", "S", "N", "", 10**9, "")]))
    figures.flow(migration_of({name: {"scanned": 10**9 + 1, "inserted": 10**9, "conflicts": 1}}))
    figures.throughput({"throughput": [{**POINTS[0], "items": 10**6 * n} for n in range(1, 4)]})
    assert len(drawn) == 4
    for one in drawn:
        renderer = FigureCanvasAgg(one.figure).get_renderer()
        for text in one.axes.texts:
            with warnings.catch_warnings(action="ignore"):  # of characters that the font lacks
                box = text.get_window_extent(renderer)
            assert 0 <= box.x0 <= box.x1 <= one.figure.bbox.x1, text.get_text()
            assert 0 <= box.y0 <= box.y1 <= one.figure.bbox.y1, text.get_text()
