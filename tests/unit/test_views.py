"""What the notebooks show: escaped, without values, well formed, in styles that an untrusted JupyterLab keeps."""

import ast
import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
import support_fixtures
from compiled import mapping_of, routes_of
from support_results import analysis_of, migration_of, state_of

from runbook_lib.discover.profile import AttributeProfile, profile_items
from runbook_lib.discover.references import Finding
from runbook_lib.mapping.routes import Row
from runbook_lib.mapping.walkers import Found
from runbook_lib.report import figures, views
from runbook_lib.report.analysis import edges
from runbook_lib.report.drawing import html, page
from runbook_lib.report.drawing.reference_map import draw_map
from runbook_lib.report.frames import (
    AnalysisFrames,
    CanaryFrames,
    CreatedFrames,
    MigrationFrames,
    PreviewFrames,
    UndoneFrames,
    ValidationFrames,
)
from runbook_lib.report.json_analysis import left_open
from runbook_lib.report.samples import changes, key_tag
from runbook_lib.run.folder import Run
from runbook_lib.run.progress_file import StageProgress, TableProgress
from runbook_lib.stages.analyze.analysis import Cost, EntryAnalysis, Prices, TargetState, Unmatched
from runbook_lib.stages.analyze.checks import Check, from_alert
from runbook_lib.stages.analyze.skew import Use
from runbook_lib.stages.migrate.migrate import Migration
from runbook_lib.stages.rollback.undo import Preview, Undone
from runbook_lib.stages.sealed import Deviation, Held
from runbook_lib.stages.test.canary import Canary, Closure, Created, Pair
from runbook_lib.stages.validate.groups import DifferenceGroup, Group, explained
from runbook_lib.stages.validate.queries import PatternProof
from runbook_lib.stages.validate.validate import Difference, EntryValidation, Validation
from runbook_lib.verdict import (
    FAIL,
    NOT_FINISHED,
    PASS,
    PLANNED,
    REVIEW,
    ROLLED_BACK,
    Alert,
    dangling_alert,
    meaning,
    unrouted_alert,
)
from runbook_lib.walk.matching.search import Search

browser = support_fixtures.browser
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</td></table><style>*{display:none}</style>",
    "<a href=javascript:alert(1)>x</a>",
    "&lt;b&gt; & $x^2$ {{7*7}} `code`",
    "right\u202eleft\x00\x1b[31m\n",
]
SECRET = "Quokka Zanzibar 4711"  # no part of it may be seen anywhere
TAGS = set("div span b h3 table thead tbody tfoot tr th td details summary img wbr".split())
ATTRIBUTES = set("style open alt width src class scope role tabindex data-sort".split()) | {
    f"aria-{name}" for name in ("label", "valuemin", "valuemax", "valuenow", "valuetext")
}
# What JupyterLab 4.6 keeps of inline styles in an untrusted output, as far as used here; the last two groups it drops.
KEPT = set(
    "align-items background border border-bottom border-collapse border-left border-radius border-right border-top "
    "box-sizing color cursor display flex-wrap font-family font-size font-weight gap height justify-content "
    "letter-spacing line-height margin max-width min-width opacity overflow-wrap overflow-x padding page-break-inside "
    "table-layout text-align vertical-align white-space width".split()
)
DROPPED = set("font-variant-numeric print-color-adjust -webkit-print-color-adjust".split())


class Checker(HTMLParser):
    """Well formed, and nothing but the tags, attributes and styles that are meant."""

    def __init__(self, markup: str):
        super().__init__()
        self.open: list[str] = []
        self.words = ""
        self.seen: Counter = Counter()
        self.feed(str(markup))
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.seen[tag] += 1
        assert tag in TAGS, tag
        if tag not in ("img", "wbr"):
            self.open.append(tag)
        for name, value in attributes:
            self.seen[f"{tag} {name}"] += 1
            assert name in ATTRIBUTES, f"{tag} {name}={value}"
            if name == "src":
                assert value.startswith("data:image/png;base64,")
            if name == "alt":
                self.words += value
            if name == "style":
                for declaration in value.split(";"):
                    assert declaration.partition(":")[0].strip() in KEPT | DROPPED, declaration

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data


def row_of(source: dict, item: dict, entry: str = "Contacts", **more) -> Row:
    """A row with what the views need of it."""
    values = {
        "source_key": {"id": source["id"]},
        "key": {"id": item["id"]},
        "old": source["id"],
        "old_id": source["id"].get("S", ""),
        "new_id": item["id"].get("S", ""),
        "references": [],
        "unreadable": [],
        "sparse": [],
        **more,
    }
    return Row(entry=entry, source=source, item=item, raw=b"", digest="", **values)


def filled(name: str, attribute: str, value: str) -> dict[str, str]:
    """Every view of results in which tables, attributes and reasons have these names, and items this value."""
    item = {
        "id": {"S": f"{value} id"},
        attribute: {"S": value},
        f"{attribute}-n": {"N": "4711.4711"},
        f"{attribute}-l": {"L": [{"S": value}]},
        f"{attribute}-m": {"M": {value: {"S": value}}},
        f"{attribute}-b": {"B": "UXVva2th"},
        f"{attribute}-ss": {"SS": [value]},
        f"{attribute}-ref": {"S": f"{value} parent"},
        f"{attribute}-dropped": {"S": value},
        f"{attribute}-moved": {"S": value},
        f"{attribute}-renamed": {"S": f"{value} renamed"},
    }
    target = {n: v for n, v in item.items() if not n.endswith(("dropped", "moved", "renamed"))}
    target |= {
        "id": {"S": "0a1b2c3d-new"},
        f"{attribute}-ref": {"S": "9f8e7d6c-new"},
        f"{attribute}-n": {"S": "4711.4711"},
        "rest": {"M": {f"{attribute}-moved": {"S": value}}},
        "other": {"S": f"{value} renamed"},
        "made": {"S": f"PREFIX#{value}"},
    }
    found = Found(f"{attribute}-ref", name, item[f"{attribute}-ref"], target[f"{attribute}-ref"])
    row = row_of(item, target, name, references=[found])
    entry = EntryAnalysis(
        records=3,
        routed=2,
        quarantined=1,
        losers=1,
        collisions=1,
        references=Counter({attribute: 5}),
        dangling=Counter({attribute: 2}),
        unreadable=Counter({attribute: 1}),
        reasons=Counter({(attribute, f"{name} needs a number: text that is none"): 1}),
        parents=Counter({(attribute, name): 3, (attribute, "Other"): 2}),
        profile=profile_items([item, target]),
        samples=[(item, row)],
        sizes=Counter({9: 2, 11: 1}),
        ledger={attribute: Counter(copied=2, unaccounted=1), "id": Counter(rewritten=3)},
    )
    alerts = [
        Alert(FAIL, name, f"2 items at {attribute}: bad", name),
        Alert(REVIEW, name, name, name),
        Alert("", name, name, name),
    ]
    alerts += [dangling_alert(f"{name}{n}", n, [attribute]) for n in range(1, 9)]
    targets = {
        name: TargetState(True, False, [f"index {attribute} is missing"], True),
        f"{name}2": TargetState(False, True, []),
    }
    listed = {"quarantine": [{"table": name, "key": {"id": item["id"]}, "attribute": attribute, "reason": name}]}
    costs, prices = {name: Cost(1, 2, 0.5)}, Prices(name, name, name, f"{name}2", [name], name, old=True)
    checks = [from_alert(alert, name, name) for alert in alerts] + [Check("", "", name, name, None, "", "", name)]
    analysis = analysis_of(
        {name: entry}, checks=checks, targets=targets, unrouted={name: 1}, listed=listed, costs=costs, prices=prices
    )
    about = {"by": [attribute], "found": "reuse", "source_items": None, "target_items": 2}
    about |= {"matched": 1, "ambiguous": 1, "nearly": 1}
    found_there = Search(None, [], {}, {}, {name: [[item[attribute], item[f"{attribute}-m"]]]})
    analysis = replace(analysis, matches={name: about}, search=found_there)
    analysis.unmatched.extend(
        Unmatched(name, "reference", attribute, 3, near, level, accepted)
        for near, level, accepted in ((name, REVIEW, False), (None, "", False), (name, REVIEW, True))
    )
    edited = {**target, attribute: {"S": f"{value} edited"}, "extra": {"N": "4711"}}
    pairs = [Pair(item, row, target), Pair(item, row, edited), Pair(item, row, None)]
    undone = Undone(1, 1, 1, [{"table": name, "key": {"id": item["id"]}, "reason": name}])
    counts = {"scanned": 5, "inserted": 3, "conflicts": 1, "failed": 2}
    state = state_of({name: counts}, unrouted=2, rolled_back=True)
    closure = Closure({name: [item]}, [row], [found], 1)
    validation = Validation(
        {name: EntryValidation(scanned=5, checked=4, equal=1, missing=1, different=2, quarantined=1, dangling=1)},
        {name: 1},
        1,
        [
            Difference(name, {"id": item["id"]}, "different", attribute, "S", "N"),
            Difference(name, {"id": item["id"]}, "extra"),
        ],
        [f"{name}: index {attribute} is missing"],
        [
            PatternProof(name, attribute, name, 3, 2, 1, 0, f"{name}: 1 is missing"),
            PatternProof(name, attribute, None, 3, 3, 1, 1, None),
        ],
        alerts,
        groups=[
            DifferenceGroup(name, attribute, "different", "S", "N", f"fields.{attribute}: template {name}", 1, name),
            DifferenceGroup(name, "", "missing", "", "", "", 1, name),
        ],
    )
    undeclared = Finding(name, attribute, name, 4, 3, 0.9, f"{attribute}: {name}")
    analysis.undeclared.append(undeclared)
    analysis.skew[name] = {attribute: Use(3, 900, 800, top=((value, 800), ("other", 90)))}
    validation.residual.ids.by_path[name][attribute] += 1
    held = Held(name, False, [Deviation("target", name, what, attribute, name, [name]) for what in ("ttl", "type")])
    throughput = [{"at": f"2025-01-01T00:00:0{n}Z", "seconds": 1.0, "items": n, "throttled": n} for n in range(4)]
    report = {"throughput": throughput, "held_back": [{"table": name, "reason": name, "refused": 1, "seconds": 2.0}]}
    edges = [(name, name, 3, 1), (name, None, 0, 2), (f"{name}2", name, 4, 1)]
    shown = {
        "banner": html.banner(name, REVIEW, name, [(name, name), (name, 3)]),
        "alerts": views.alerts(alerts),
        "decision": views.decision(analysis),
        "costs": views.costs(analysis),
        "overview": views.overview(analysis),
        "profile_html": views.profile_html(analysis),
        "references": views.references(analysis),
        "samples": views.samples(analysis),
        "targets": views.targets(analysis),
        "quarantine": views.quarantine(analysis),
        "unmatched": views.unmatched(analysis),
        "ledger": views.ledger(analysis),
        "drift": views.drift(Migration(state, None, False, None, held=held)),
        "created": views.created([Created(name, name, 1.5)]),
        "canary": views.canary(Canary(name, 2, closure, state, pairs, undone)),
        "kept canary": views.canary(Canary(name, 2, closure, state, pairs[:1], None)),
        "migration": views.migration(Migration(state, None, False, None)),
        "preview": views.preview(Preview({name: 3}, {name: 2})),
        "undone": views.undone(undone),
        "progress": views.progress(
            StageProgress(
                name,
                (
                    TableProgress(name, 1, 2, 3.0, name, slowed=(name,)),
                    TableProgress(name, 2, 2, 0.0, "finished"),
                    TableProgress(name, 0, None, 0.0, "waiting", after=(name,)),
                ),
                slowed=(name,),
            ),
            name,
        ),
        "held back": views.held_back([{"table": name, "reason": name, "refused": 1, "seconds": 2.0}]),
        "validation": views.validation(validation),
        "differences_html": views.differences_html(validation),
        "matches": views.matches(analysis),
        "undeclared": views.undeclared(analysis),
        "residual": views.residual(validation),
        "patterns": views.patterns(validation),
        "map": draw_map({name: 1, f"{name}2": 2, f"{name}3": 2}, edges, {name: 3}),
        "counts": views.counts(Migration(state, None, False, None)),
        "types": figures.types(analysis),
        "sizes": views.sizes(analysis),
        "spread": views.spread(analysis),
        "causes": views.causes(validation),
        "throughput": views.throughput(report),
    }
    faces = [
        AnalysisFrames(analysis),
        MigrationFrames(Migration(state, None, False, None, held=held), report),
        ValidationFrames(validation, report),
        CanaryFrames(Canary(name, 2, closure, state, pairs, undone)),
        CreatedFrames([Created(name, name, 1.5)]),
        PreviewFrames(Preview({name: 3}, {name: 2})),
        UndoneFrames(undone),
    ]
    frames = [getattr(face, which) for face in faces for which in face.names()]
    assert sum(frame.empty for frame in frames) == 2  # of a migration without a journal that was no delta
    assert "<script" not in "".join(frame._repr_html_() for frame in frames)
    return {**shown, "frames": html.Html.escape("".join(frame.to_csv() for frame in frames))}


@pytest.mark.parametrize(
    "words", [words if n in (1, 6) else pytest.param(words, marks=pytest.mark.slow) for n, words in enumerate(HOSTILE)]
)
def test_names_and_reasons_are_escaped_everywhere(words):
    """Hostile table names, attribute names and reasons are text, never markup, and nothing in them stays invisible."""
    for view, markup in filled(words, words, words).items():
        checked = Checker(markup)
        assert (
            view in ("counts", "types", "sizes", "spread", "frames") or html.visible(words).strip() in checked.words
        ), view
        assert not set(checked.words) & set("\u202e\x00\x1b"), view


def test_html_is_made_of_literals_alone():
    """Everything else gets in by format, join or +, which escape it: an f-string in its place would not."""
    made = 0
    for path in (Path(html.__file__).parents[1]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("Html", "Markup"):
                assert [type(part) for part in (*node.args, *node.keywords)] == [ast.Constant], ast.unparse(node)
                made += 1
    assert made > 20


def test_html_escapes_what_is_put_into_it():
    bad = "<b>\u202e\u200b\u2028"
    for shown in (html.Html("{}").format(bad), html.Html("").join([bad]), html.Html("") + bad, html.Html("%s") % bad):
        assert shown == "&lt;b&gt;���"
    assert html.Html("").join([html.Html("<i></i>"), "&"]) == "<i></i>&amp;"


def test_no_value_of_an_item_is_shown():
    """Not as text, not inside containers or names of maps, not in keys, not in pictures' descriptions or DataFrames."""
    secrets = [*SECRET.split(), "4711.4711", "UXVva2th"]
    for view, markup in filled("Contacts", "attribute", SECRET).items():
        words = Checker(markup).words.lower()
        assert [secret for secret in secrets if secret.lower() in words] == [], view


@pytest.mark.slow
def test_long_names_wrap(browser, tmp_path):
    """No table is wider than its box in a window of 1280 pixels, with names as long as they get and nowhere to break."""
    views_of = filled("Payment" * 9, "identification" * 7, SECRET)
    shown = html.Html("").join(views_of[name] for name in views_of if name not in ("frames", "progress"))
    path = tmp_path / "long.html"
    path.write_text(page.document("long", f"<h1>long</h1>{shown}", contents=[("page", "contents")]))
    window = browser.new_page(viewport={"width": 1280, "height": 900})
    window.goto(path.as_uri())
    window.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    cut = """() => [...document.querySelectorAll('table')].filter(one => one.scrollWidth > one.parentElement.clientWidth)
        .map(one => one.tHead.innerText)"""
    assert window.evaluate(cut) == []
    assert window.evaluate("document.scrollingElement.scrollWidth") == 1280
    window.emulate_media(media="print")
    window.set_viewport_size({"width": 1032, "height": 702})  # A4, landscape, less its margins
    assert window.evaluate(cut) == []
    assert window.evaluate("document.scrollingElement.scrollWidth") == 1032
    window.close()


def test_a_long_name_may_wrap_first_where_its_parts_end():
    long, short = "customer.billing_address:postal", "Contacts-demoprod-NONE"
    shown = html.table(["path"], [[long], [short]], align="l")
    assert "customer.<wbr>billing_<wbr>address:<wbr>postal" in shown
    assert short in shown
    assert shown.count("white-space:nowrap") == 2  # the head and the short one


def test_a_rare_figure_without_a_row_has_no_column():
    """It is named above the table, which keeps what is not 0 everywhere."""
    rows = [["a", 1, html.flagged(0), 0, 0], ["b", 2, html.flagged(0), 3, 0]]
    shown = html.table(["entry", "items", "failed", "expired", "left"], rows, align="lrrrr", rare=["failed", "expired"],
                       foot=["in all", 3, 0, 3, 0])  # fmt: skip
    checked = Checker(shown)
    assert "Not shown, because 0 in every row: failed." in checked.words
    assert checked.seen["th"] == 4
    assert checked.seen["td"] == 3 * 4
    assert "Not shown" not in html.table(["a", "b"], [], align="lr", rare=["b"])


def test_the_tables_scroll_and_nothing_loads():
    for markup in filled("Contacts", "attribute", SECRET).values():
        assert markup.count("<table") == markup.count("overflow-x:auto")
        assert "http" not in markup
        assert "url(" not in markup


@pytest.mark.parametrize("verdict", [PASS, REVIEW, FAIL, ROLLED_BACK, NOT_FINISHED])
def test_a_banner_says_its_verdict_in_words(verdict):
    checked = Checker(html.banner("01 Analyze", verdict, "All is well", [("records", 3071), ("dangling", 0)]))
    for words in ("01 Analyze", verdict, "All is well", "records", "3,071", "0"):
        assert words in checked.words


def test_what_to_type_stands_out_in_a_headline():
    """As in an alert; it wraps like other text."""
    shown = html.banner("03_migrate", "REFUSED", "CRM is missing; run `runbook create-tables`.")
    assert "`" not in shown
    assert f'<span style="{html.MONO}">runbook create-tables</span>.' in shown


def test_the_mistakes_of_a_file_keep_their_lines_in_a_headline():
    text = "m.yaml: line 1: a\nm.yaml: line 2: b\n2 mistakes; nothing was written."
    shown = html.banner("01_analyze", "REFUSED", text)
    assert "m.yaml: line 1: a<br>m.yaml: line 2: b<br>2 mistakes; nothing was written." in shown


def test_what_has_a_background_has_a_colour():
    """Else it could not be read in the other theme."""
    for label in (html.badge(FAIL), html.chip("x", "look"), html.flagged(3)):
        assert "background:#" in label
        assert ";color:#" in label


def test_a_table_says_how_many_of_its_rows_it_shows():
    rows = [[f"row {number}", number * 1000] for number in range(5)]
    cut = Checker(html.table(["name", "items"], rows, align="lr", limit=2)).words
    assert "row 1" in cut
    assert "row 2" not in cut
    assert "2 of 5 shown" in cut
    assert "2 of 90 shown" in html.table(["name", "items"], rows, align="lr", limit=2, total=90)
    assert "shown" not in html.table(["name", "items"], rows, align="lr", foot=["in all", 10_000])


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "·"),
        (1234567, "1,234,567"),
        (None, "–"),
        (True, "yes"),
        ("<b>", "<b>"),
        (html.Html("<b>x</b>"), "x"),
        (1.5, "1.5"),
    ],
)
def test_cells(value, words):
    """Counts have separators, zeroes are quiet dots, text is escaped unless it is made here."""
    assert Checker(html.table([""], [[value]], align="r")).words == words


def test_a_table_refuses_rows_of_another_width():
    with pytest.raises(ValueError):
        html.table(["a", "b"], [[1]], align="lr")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        *[(0.04, "0.0 s"), (8, "8 s"), (8.0, "8 s"), (9.94, "9.9 s"), (12.4, "12 s")],
        *[(200, "3 min 20 s"), (7500, "2 h 05 min")],
    ],
)
def test_durations(seconds, words):
    assert html.duration(seconds) == words


@pytest.mark.parametrize(
    ("size", "words"), [(0, "·"), (947, "947 B"), (1536, "1.5 KB"), (409_600, "400 KB"), (5 * 1024**4, "5.0 TB")]
)
def test_sizes(size, words):
    assert Checker(html.size(size)).words == words


def test_alerts_come_worst_first():
    alerts = [
        Alert("", "A", "a note", "nothing"),
        Alert(REVIEW, "B", "a review", "look"),
        Alert(FAIL, "C", "a failure", "mend"),
    ]
    words = Checker(views.alerts(alerts)).words
    assert words.index("a failure") < words.index("a review") < words.index("a note")
    assert "the whole migration" in Checker(views.alerts([unrouted_alert(5)])).words


def test_what_to_type_stands_out_in_an_alert():
    """Text in backticks is code, escaped; a backtick alone stays."""
    shown = views.alerts([Alert("REVIEW", "", "5 items", "Say `unrouted: <ignore>` there.")])
    assert "`" not in shown
    assert ">unrouted: &lt;ignore&gt;</span> there." in shown
    assert "a ` alone" in views.alerts([Alert("REVIEW", "", "5 items", "a ` alone")])


def test_the_headline_of_a_dry_run_counts_what_is_open():
    """Items and references, not alerts; what would stop the migration; what the mapping ignores is not open."""
    plan = SimpleNamespace(mapping=SimpleNamespace(ignore_unrouted=False))
    totals = {"records": 9, "dangling": 1_400, "unreadable": 0, "quarantined": 2, "conflicts": 0, "unrouted": 3}
    totals |= {"unmatched": 2, "undeclared": 0}
    said = left_open(plan, totals, [Alert(FAIL, "A", "no table", "make it"), Alert(REVIEW, "A", "x", "y")])
    assert said == "1,400 dangling, 2 quarantined, 3 unrouted, 2 unmatched in the mapping, 1 obstacle to the migration"
    plan.mapping.ignore_unrouted = True
    none = dict.fromkeys(totals, 0) | {"unrouted": 3}
    assert left_open(plan, none, []) == "nothing open"
    assert left_open(plan, none, [Alert(REVIEW, "A", "no index", "add it")]) == "1 check to decide"


def test_alerts_without_any():
    assert Checker(views.alerts([])).words == "Nothing asks for a decision."


def test_the_same_alert_of_many_tables_is_one_row():
    """Numbers are summed, each table keeps its own number and paths; more than a few tables unfold."""
    alerts = [
        dangling_alert("Requests", 2, ["agentContactId", "addressId"]),
        dangling_alert("Quotes", 1, ["requestId"]),
    ]
    checked = Checker(views.alerts(alerts))
    assert checked.seen["tr"] == 2
    assert "3 dangling references: the item does not exist" in checked.words
    assert "Requests 2 (agentContactId, addressId) · Quotes 1 (requestId)" in checked.words
    many = [Alert(REVIEW, f"T{number}", "holds items", "Look.") for number in range(35)]
    checked = Checker(views.alerts(many))
    assert "35 tables" in checked.words
    assert checked.seen["details"] == 1


def test_notes_stand_behind_a_line_and_decisions_do_not():
    """A note asks for nothing; where a list below has the notes, the line says so and holds none."""
    notes = [Alert("", f"T{number}", f"note {number}", "Nothing to do.") for number in range(2)]
    asking = [Alert(REVIEW, "A", "3 items differ", "Look.")]
    checked = Checker(views.alerts([*notes, *asking]))
    assert checked.words.index("3 items differ") < checked.words.index("2 notes, nothing to decide")
    assert "note 1" in checked.words
    assert "Nothing asks" not in checked.words
    listed = Checker(views.alerts(notes, notes_are_listed=True))
    assert listed.words == "Nothing asks for a decision.2 notes, nothing to decide: see the list below."


def test_what_was_accepted_is_not_called_nothing():
    """Nobody accepts what is not there."""
    assert Checker(views.alerts([], accepted=True)).words == "Nothing is open besides what was accepted."


def test_a_long_plan_unfolds():
    """Of a few steps each is said; of many, how many they are."""
    assert Checker(views.planned(["create A", "create B"])).words == "Would create A; create B."
    shown = Checker(views.planned([f"create T{number}" for number in range(35)]))
    assert "Would do 35 things, such as: create T0" in shown.words
    assert (shown.seen["details"], "create T34" in shown.words) == (1, True)


def test_many_backups_of_a_kind_are_one_line():
    """The table of them unfolds."""
    found = {f"T{number}": {"kind": "point_in_time", "arn": None} for number in range(35)}
    shown = Checker(views.backups(found))
    assert shown.words.startswith("35 tables: point-in-time recovery is on")
    assert shown.seen["details"] == 1


def plan_of(entries, *, missing=()):
    """A plan of entries that each refer to the one before, each with a table of its own on both sides."""
    names = [f"T{number}" for number in range(entries)]
    routes = {name: SimpleNamespace(entry=SimpleNamespace(source=f"{name}-a", target=f"{name}-b")) for name in names}
    levels = {name: 1 + int(name[1:]) % 4 for name in names}
    return SimpleNamespace(
        mapping=SimpleNamespace(levels=lambda: levels),
        routes=routes,
        source_tables={f"{name}-a": SimpleNamespace(items=3) for name in names},
        target_tables={f"{name}-b": None if name in missing else SimpleNamespace() for name in names},
    )


def test_a_long_plan_is_one_line():
    """Its table unfolds, and stands open where a target table is missing; both names share a column."""
    shown = views.plan(plan_of(35))
    words = Checker(shown).words
    assert words.startswith("35 entries, 35 tables, parents before children in 4 levels")
    assert "T8T8-a → T8-b3there" in words
    assert "<details style" in shown
    assert " open>" not in shown
    shown = views.plan(plan_of(35, missing=("T3", "T4")))
    assert "in 4 levels; 2 target tables missing" in Checker(shown).words
    assert " open>" in shown
    assert "<details" not in views.plan(plan_of(3))


def test_long_lists_of_02_and_05_are_one_line():
    """Tables created, with what it waited; items to delete, with their sum. Both unfold."""
    created = views.created([Created(f"T{number}", f"T{number}-b", float(number)) for number in range(35)])
    assert Checker(created).words.startswith("35 tables created, the last one active after 34 s")
    preview = views.preview(Preview({f"T{number}": 2 for number in range(35)}, {}))
    assert Checker(preview).words.startswith("70 items of 35 entries, inserted by this run")
    assert created.count("<details") == preview.count("<details") == 1


def test_a_verdict_is_explained_beside_it():
    """By stage; a dry run and what was refused too. A word without a meaning says nothing."""
    for stage in ("00_draft", "01_analyze", "02_test", "03_migrate", "04_validate"):
        said = meaning(stage, PASS)
        assert said.endswith(".")
        assert said in Checker(html.banner(stage, PASS, "All is well", means=said)).words
    assert meaning("05_rollback", ROLLED_BACK) != meaning("05_rollback", PLANNED) != ""
    assert meaning("03_migrate", NOT_FINISHED) == ""


def test_a_column_is_sorted_by_what_its_text_does_not_say():
    """Sizes, shares and ranges carry their number."""
    assert 'data-sort="1536"' in html.size(1536)
    assert 'data-sort="90"' in html.sorted_by(html.duration(90), 90)


def test_alerts_that_differ_in_more_than_numbers_stay_apart():
    alerts = [
        Alert(FAIL, "A", "3 items missing", "x"),
        Alert(FAIL, "A", "3 items different", "x"),
        Alert(FAIL, "A", "3 items missing", "y"),
    ]
    assert Checker(views.alerts(alerts)).seen["tr"] == 4


def test_overview_lists_all_by_level_with_totals():
    tables = {f"T{number:02}": EntryAnalysis(records=number, routed=number, write_units=1) for number in range(35)}
    analysis = analysis_of(tables, levels={name: 2 if name < "T20" else 1 for name in tables})
    checked = Checker(views.overview(analysis))
    assert checked.seen["tr"] == 35 + 2
    assert checked.words.index("T34") < checked.words.index("T00")
    assert "35 in all59535" in checked.words
    assert (
        "0 in every row: expired, matched, quarantined, conflicts, already there, references, dangling."
        in checked.words
    )
    tables["T34"].routed, tables["T34"].quarantined = 33, 1
    words = Checker(views.overview(analysis)).words
    assert "recordsroutedquarantinedwrite unitssize" in words
    assert "35 in all595594135" in words
    assert "0 in every row: expired, matched, conflicts, already there, references, dangling." in words


def test_what_would_not_be_written_is_listed_whatever_the_reason():
    """Quarantined, in conflict with the source or the target, unrouted: the three lists that the notebook names."""
    tables = {"A": EntryAnalysis(quarantined=2, losers=3, reasons=Counter({("size", "no number"): 2}))}
    tables["B"] = EntryAnalysis(different_there=4)
    words = Checker(views.quarantine(analysis_of(tables, unrouted={"crm": 5}))).words.replace(" ", "")
    for row in (
        "A size no number 2",
        "A the key conflict: another source item makes the same key 3",
        "B the key conflict: the target's item is different 4",
        "crm the whole item no entry selects it 5",
    ):
        assert row.replace(" ", "") in words
    assert words.endswith("inall14")
    assert "Every item would be written." in views.quarantine(analysis_of({"A": EntryAnalysis(routed=3)}))


def test_the_files_of_a_run_are_told_apart(tmp_path):
    """Every list that an alert may name is there, and of two checkpoints it is said what each rolls back."""
    for stage, time in (("test", "1"), ("migrate", "2")):
        (tmp_path / f"migration-checkpoint-{time}.json").write_text(json.dumps({"stage": stage}))
    (tmp_path / "migration-checkpoint-3.json").write_text("cut o")
    named = ("dangling", "unreadable", "quarantine", "conflicts", "unrouted", "failed", "differences", "residual-ids")
    for name in (*named, "residual-environment", "drift", "kept", "restore-conflicts"):
        (tmp_path / f"{name}.jsonl").write_text("{}")
    words = Checker(views.files(Run("the-first-run", tmp_path))).words
    assert "migration-checkpoint-1.jsonwhat 05 needs to roll back the tests" in words
    assert "migration-checkpoint-2.jsonwhat 05 needs to roll back the migration" in words
    assert "migration-checkpoint-3.jsonwhat 05 needs to roll back" in words
    assert all(path.name in words for path in tmp_path.iterdir())


def test_profile_has_a_row_an_attribute():
    items = [{"id": {"S": "a"}, "n": {"N": "1"}}, {"id": {"S": "bcd"}, "n": {"S": ""}, "x": {"NULL": True}}]
    analysis = analysis_of({"T": EntryAnalysis(records=2, profile=profile_items(items))})
    rows = {row["attribute"]: row for row in AnalysisFrames(analysis).attributes.to_dict("records")}
    assert [rows["id"][c] for c in ("types", "distinct", "shortest", "longest", "mixed")] == ["S 2", 2, 1, 3, False]
    assert [rows["n"][c] for c in ("types", "empty", "mixed")] == ["N 1 · S 1", 1, True]
    assert [rows["x"][c] for c in ("share", "empty", "mixed")] == [0.5, 1, False]
    words = Checker(views.profile_html(analysis)).words
    assert "n2100 %N 1 · S 1120 – 0" not in words  # lengths are of texts, not of numbers
    assert "x150 %NULL 111" in words


def test_profile_of_nothing():
    assert AnalysisFrames(analysis_of({})).attributes.empty
    assert Checker(views.profile_html(analysis_of({"T": EntryAnalysis()}))).seen["details"] == 1


def test_profile_unfolds_two_entries_with_something_to_see():
    mixed = {"a": AttributeProfile(Counter(S=1, N=1))}
    tables = {f"T{number}": EntryAnalysis(records=2, profile=mixed if number else {}) for number in range(5)}
    checked = Checker(views.profile_html(analysis_of(tables)))
    assert checked.seen["details"] == 5
    assert checked.seen["details open"] == 2
    assert Checker(views.profile_html(analysis_of(tables), ["T1"])).seen["details"] == 1


def test_null_beside_a_type_is_not_mixed():
    tables = {"T": EntryAnalysis(records=2, profile={"a": AttributeProfile(Counter(S=120, NULL=3))})}
    checked = Checker(views.profile_html(analysis_of(tables)))
    assert "S 120 · NULL 3" in checked.words
    assert checked.seen["details open"] == 0


def test_references_of_a_path_to_several_tables_unfold():
    entry = EntryAnalysis(
        references=Counter({"recordId": 7, "contactId": 2}),
        dangling=Counter({"recordId": 3}),
        parents=Counter({("recordId", "A"): 3, ("recordId", "B"): 2, ("contactId", "Contacts"): 2}),
    )
    words = Checker(views.references(analysis_of({"AuditLog": entry}))).words
    assert "2 tablesA 3 · B 2" in words
    assert "contactIdContacts2" in words


def test_edges_for_the_map():
    """A dangling reference belongs to the path's one parent, or to none that could be told."""
    entry = EntryAnalysis(
        references=Counter({"recordId": 5, "contactId": 2, "other": 5}),
        dangling=Counter({"recordId": 3, "contactId": 1}),
        parents=Counter({("recordId", "A"): 3, ("recordId", "B"): 2, ("contactId", "A"): 2, ("other", "A"): 5}),
    )
    assert sorted(edges(analysis_of({"Log": entry})), key=str) == [
        ("Log", "A", 10, 1),
        ("Log", "B", 2, 0),
        ("Log", None, 0, 3),
    ]


MAPPING = """
defaults: {id_format: uuid}
tables:
  Orgs: {source: orgs, target: new-orgs}
  Leads:
    source: leads
    target: new-leads
    references: {orgId: Orgs, path: "ORG#{Orgs}"}
    fields:
      id: {from: id}
      PK: LEAD
      GSI: "STATUS#{status|new}"
      month: "{created:%Y-%m|0000-00}"
      name: {from: name}
      title: {from: label}
      orgId: {from: orgId}
      path: {from: path}
      score: {from: score, type: number}
      size: {from: size, type: number, default: 0}
      rank: {from: rank, type: number, default: 0, on_error: default}
    rest: custom_fields
    drop: [entity]
"""
LEAD = {
    "id": {"S": "lead-1"},
    "name": {"S": "Quokka"},
    "label": {"S": "Zanzibar"},
    "orgId": {"S": "org-1"},
    "path": {"S": "ORG#org-1"},
    "score": {"S": "7.5"},
    "rank": {"S": "none"},
    "entity": {"S": "LEAD"},
    "created": {"S": "2025-08-01"},
    "email": {"S": "quokka@example.com"},
}


def changes_of(item: dict, mapping: bool = True) -> dict:
    """What became of each attribute of a lead."""
    row = routes_of(MAPPING)["Leads"].route(item)
    assert isinstance(row, Row), row
    entry = mapping_of(MAPPING).entries["Leads"] if mapping else None
    return {change.attribute: change for change in changes(item, row, entry)}


def test_samples_name_what_happened_to_each_attribute():
    assert {name: change.what for name, change in changes_of(LEAD).items()} == {
        "id": "new id",
        "PK": "made by template LEAD",
        "GSI": "made by template STATUS#{status|new}",
        "month": "made by template {created:%Y-%m|0000-00}",
        "name": "copied",
        "title": "renamed from label",
        "orgId": "reference → Orgs",
        "path": "reference → Orgs",
        "score": "converted S → N",
        "size": "default",
        "rank": "default, because it does not convert",
        "entity": "dropped",
        "created": "moved to custom_fields",
        "email": "moved to custom_fields",
    }


def test_samples_without_a_mapping_tell_it_from_the_values():
    lead = {**LEAD, "entity": {"S": "a lead"}}  # or PK would seem to be a copy of it
    found = {name: change.what for name, change in changes_of(lead, mapping=False).items()}
    assert found["id"] == "new id"
    assert found["orgId"] == "reference → Orgs"
    assert found["title"] == "renamed from label"
    assert found["email"] == "moved to custom_fields"
    assert found["PK"] == "made by a rule"
    assert found["entity"] == "dropped"


def test_samples_show_the_mappings_own_text_and_the_start_of_new_ids_only():
    found = changes_of(LEAD)
    row = routes_of(MAPPING)["Leads"].route(LEAD)
    assert found["PK"].shown == "<b>LEAD</b>"
    assert found["GSI"].shown == "<b>STATUS#</b><b>new</b>"  # absent in the source: the template's default
    assert found["month"].shown == "9999-99"
    assert found["id"].shown == f"{row.new_id[:8]}…"
    assert found["path"].shown == f"<b>ORG#</b>{row.item['path']['S'][4:12]}…"
    assert found["size"].shown == "<b>0</b>"
    assert found["score"].shown is None
    assert found["name"].shown is None


def test_a_templates_default_in_the_data_is_not_shown_as_such():
    """Whether a value is the default's word is the data's secret."""
    found = changes_of({**LEAD, "status": {"S": "new"}})
    assert found["GSI"].shown == "<b>STATUS#</b>xxx"


def test_kept_ids_are_not_shown():
    text = MAPPING.replace("uuid", "keep")
    row = routes_of(text)["Leads"].route(LEAD)
    found = {change.attribute: change for change in changes(LEAD, row, mapping_of(text).entries["Leads"])}
    assert [found[name].what for name in ("id", "orgId", "path")] == ["copied"] * 3


def test_a_kept_id_of_another_type_is_converted_and_not_shown():
    """It is the source's own id, whatever its type."""
    text = MAPPING.replace("uuid", "keep").replace("id: {from: id}", "id: {from: id, type: string}")
    lead = {**LEAD, "id": {"N": "4711"}}
    row = routes_of(text, {"Leads": {"id": "N"}}, targets={"Leads": {"id": "S"}})["Leads"].route(lead)
    found = {change.attribute: change for change in changes(lead, row, mapping_of(text).entries["Leads"])}
    assert found["id"].what == "converted N → S"
    assert found["id"].shown is None


def test_a_reference_set_to_null_is_said():
    text = MAPPING.replace("orgId: Orgs", "orgId: {to: Orgs, dangling: 'null'}")
    row = routes_of(text, exists=lambda entry, old: False)["Leads"].route(LEAD)
    found = {change.attribute: change for change in changes(LEAD, row, mapping_of(text).entries["Leads"])}
    assert found["orgId"].what == "reference → Orgs: set to null"


def test_samples_collapse_what_is_copied():
    item = {"id": {"S": "a"}, **{f"a{number}": {"S": "x"} for number in range(17)}}
    entry = EntryAnalysis(samples=[(item, row_of(item, {**item, "id": {"S": "new"}}))])
    checked = Checker(views.samples(analysis_of({"T": entry})))
    assert "17 attributes copied unchanged" in checked.words
    assert checked.seen["tr"] == 2
    assert "No items" in views.samples(analysis_of({"T": EntryAnalysis()}))
    assert "No items" in views.samples(analysis_of({"T": entry}), [])


def test_a_migration_adds_up_or_says_by_how_much_it_does_not():
    good = {"scanned": 10, "inserted": 7, "already_there": 1, "conflicts": 1, "quarantined": 1, "failed": 0}
    words = Checker(views.migration(migration_of({"A": good}))).words
    assert "10 scanned = 7 inserted + 1 already there + 1 conflict + 1 quarantined + 0 failed ✓" in words
    assert "✗" not in words
    assert "✗ +2" in Checker(views.migration(migration_of({"A": good | {"scanned": 12}}))).words
    rolled_back = views.migration(migration_of({"A": good}, rolled_back=True, undone=Counter(deleted=6, kept_edited=1)))
    assert "Rolled back: 6 deleted again, 1 kept, 0 not found." in Checker(rolled_back).words


def test_differences_are_grouped_by_cause():
    key = {"id": {"S": SECRET}}
    found = [Difference("T", key, "different", "score", "N", "S")] * 3 + [Difference("T", key, "missing")]
    found += [Difference("T", key, "different", "name", "S", "S")]
    entry = mapping_of("tables: {T: {source: s, target: t}}").entries["T"]
    groups = {Group("T", "score", "different", "N", "S"): 3_000, Group("T", "", "missing"): 1}
    groups[Group("T", "name", "different", "S", "S")] = 1
    validation = Validation({}, {}, 0, found, [], [], groups=explained(groups, {"T": entry}))
    checked = Checker(views.differences_html(validation))
    assert checked.seen["tr"] == 4
    assert "score: should be N, is Srule: copied3,000" in checked.words
    assert "name: another valuerule: copied1" in checked.words
    assert f"#{key_tag(key)}" in checked.words
    assert "`" not in checked.words
    frame = ValidationFrames(validation).differences
    assert frame["key"].str.fullmatch("[0-9a-f]{6}").all()
    assert "No item is missing" in views.differences_html(Validation({}, {}, 0, [], [], []))


def test_patterns_say_what_is_proved():
    proofs = [
        PatternProof("T", "by_month", None, 3, 3, 2, 0, None),
        PatternProof("T", "by_status", "GSI1", 3, 2, 1, 0, "1 missing"),
        PatternProof("T", "by_nothing", "GSI1", 0, 0, 1, 0, None),
    ]
    words = Checker(views.patterns(Validation({}, {}, 0, [], [], proofs))).words
    assert "1 of 3 queries" in words
    assert "by_nothingGSI1··1·expects nothing, gets nothing" in words
    assert "by_monthtable332·proved" in words
    assert "by_statusGSI1321·1 missing" in words
    assert "no queries" in views.patterns(Validation({}, {}, 0, [], [], []))


def test_a_canary_says_what_is_not_as_it_should_be():
    source, wanted = {"id": {"S": "a"}, "n": {"N": "1"}}, {"id": {"S": "b"}, "n": {"N": "1"}}
    row = row_of(source, wanted)
    pairs = [Pair(source, row, {**wanted, "n": {"S": "1"}}), Pair(source, row, None)]
    canary = Canary("Contacts", 2, Closure({}, [row], [], 0), state_of({"Contacts": {"inserted": 2}}), pairs, None)
    words = Checker(views.canary(canary)).words
    assert "2 items of Contacts requested; with everything they refer to: 2 items, 0 equal in the target." in words
    assert "not equal" in words
    assert "not found" in words
    assert "Not as expected" in words
    assert "Kept in the target" in words


def test_what_held_a_stage_back_is_told_with_its_reason():
    """A row each: the table, or all of them, the reason, for how long; nothing where nothing did."""
    assert views.held_back([]) == ""
    found = {"table": "", "reason": "limits.write_units", "refused": 0, "seconds": 200.0}
    shown = views.held_back([found | {"table": "target T", "reason": "ThrottlingException (index by-date)"}, found])
    assert [word in shown for word in ("target T", "by-date", "all tables", "limits.write_units", "3 min 20 s")] == [
        True
    ] * 5


def test_progress_has_a_bar_for_each_table_that_is_worked_on_and_folds_the_others():
    tables = [TableProgress(f"T{number}", 10, 10, 0.0, "finished") for number in range(30)]
    tables += [TableProgress("Busy", 3, 4, 12.0, "writing", slowed=("target Busy: slowed",))]
    tables += [
        TableProgress("New", 3, None, 1.0, "reading"),
        TableProgress("Later", 0, 9, 0.0, "waiting", after=("Busy",)),
    ]
    shown = views.progress(
        StageProgress(
            "03_migrate",
            tuple(tables),
            13.0,
            execution=2,
            earlier=300,
            slowed=("target Busy: slowed",),
            since="2026-03-01T09:59:30Z",
            seconds=61.5,
        ),
        "run-id",
    )
    checked = Checker(shown)
    assert "306 items" in checked.words
    assert "of 319" not in checked.words  # more have come than DynamoDB had counted
    assert "30 of 33 tables · 13 items/s" in checked.words
    assert checked.seen["div role"] == 3  # all, and two tables
    assert checked.seen["div aria-valuenow"] == 1  # without a total there is nothing to fill
    assert "3 of 4" in checked.words
    assert checked.words.count("slowed: target Busy: slowed") == 1
    assert "waiting: Later (after Busy)" in checked.words
    assert checked.seen["details"] == 1
    assert "✓ 30 tables, 300 items finished" in checked.words
    assert "this is execution 2; 300 items from before" in checked.words
    assert "As of 10:00:31 UTC." in checked.words  # who opens a saved notebook sees how old it is
    assert "runbook status run-id --watch" in checked.words


def test_progress_that_has_ended_says_how():
    tables = (TableProgress("T", 1_500, 1_500, 0.0, "finished"), TableProgress("U", 5, 9, 0.0, "reading"))
    stopped = Checker(views.progress(StageProgress("03_migrate", tables, ended="stopped"))).words
    assert "stopped at 1,505 of 1,509 items" in stopped
    assert "items/s" not in stopped
    assert "1 table begun" in stopped
    assert "stands still" not in stopped
    finished = Checker(views.progress(StageProgress("03_migrate", tables[:1], seconds=29.0, ended="finished"))).words
    assert finished.startswith("1 table, 1,500 items, 29 s")


def test_nothing_made_or_to_undo_is_said():
    assert "none was created" in views.created([])
    assert "nothing to undo" in views.preview(Preview({}, {}))
    assert "3 inserts announced" in views.preview(Preview({}, {"A": 1, "B": 2}))
    assert "nothing" not in Checker(views.undone(Undone(0, 0, 0, []))).words


def test_importing_the_views_loads_nothing_heavy():
    code = (
        "import sys; import runbook_lib.report.drawing.html, runbook_lib.report.views, runbook_lib.report.figures; "
        "print(sorted({'pandas', 'matplotlib', 'PIL', 'IPython', 'papermill'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    code = "import sys; import runbook_lib.report.drawing.html\n"
    code += "print(sorted({'boto3', 'botocore', 'pydantic'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_unmatched_names_that_need_a_decision_come_first():
    """What the mapping accepts is shown, as accepted."""
    found = [
        Unmatched("A", "from", "colour", 4, None, "", False),
        Unmatched("B", "reference", "ownr", 1200, "owner", REVIEW, True),
        Unmatched("C", "id", "key", 7, "Key", REVIEW, False),
    ]
    words = Checker(views.unmatched(analysis_of({}, unmatched=found))).words
    assert words.index("Key") < words.index("colour") < words.index("owner")
    assert words.count("REVIEW") == words.count("accepted") == words.count("note") == 1
    assert "1,200" in words
    assert "Every name" in views.unmatched(analysis_of({}))


def test_drift_says_what_stops_first_and_what_is_accepted():
    """And that there is no plan, or nothing that differs from it."""
    drift = [
        Deviation("source", "A", "records", "", 10, 1_200),
        Deviation("target", "T", "key", "", [["a", "S"]], [["b", "N"]]),
    ]

    def shown(held):
        return Checker(views.drift(Migration(state_of({}), None, False, None, held=held))).words

    words = shown(Held("then", False, drift))
    assert words.index("b (N)") < words.index("1,200")
    assert words.count("look") == 2
    assert shown(Held("then", True, drift)).count("accepted") == 2
    assert "All is as 01 saw it (then)" in shown(Held("then", False, []))
    assert "no plan to hold 03 against" in shown(None)


def test_the_ledger_says_of_each_attribute_what_became_of_it():
    """Lost values are said above all, and unfold; without any, it is said that none is."""
    good = EntryAnalysis(routed=2, ledger={"id": Counter(rewritten=2), "tags": Counter(copied=1, defaulted=1)})
    shown = Checker(views.ledger(analysis_of({"Good": good})))
    assert "All 4 values are accounted for" in shown.words
    assert "2 new id" in shown.words  # of the picture's description
    assert shown.seen["details open"] == 0
    bad = EntryAnalysis(routed=2, ledger={"id": Counter(unaccounted=2)})
    shown = Checker(views.ledger(analysis_of({"Good": good, "Bad": bad})))
    assert "2 values of 6 neither in the target nor dropped" in shown.words
    assert shown.seen["details open"] == 1
    assert "No items" in views.ledger(analysis_of({"Empty": EntryAnalysis()}))
