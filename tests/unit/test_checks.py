"""The go/no-go list: every fact once, and the alerts are those of its checks that are open."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest
from compiled import mapping_of, routes_of

from runbook_lib.discover.profile import profile_items
from runbook_lib.discover.references import Finding
from runbook_lib.report import views
from runbook_lib.stages.analyze.analysis import Analysis, EntryAnalysis, SourceState, TargetState, Unmatched
from runbook_lib.stages.analyze.checks import NOTE, Check, alerts_of
from runbook_lib.stages.analyze.costs import lasts
from runbook_lib.stages.analyze.doubts import Doubts
from runbook_lib.stages.analyze.findings import WELL, mapping_checks, undeclared_checks, walk_checks
from runbook_lib.verdict import FAIL, REVIEW, Alert, worst

MAPPING = """
unrouted: {unrouted}
defaults: {{source: s, target: t, id: id}}
tables: {{T: {{{more}}}}}
"""
WORDS = {"": "ok", NOTE: "note", REVIEW: "look", FAIL: "stop"}


def analysis_of(entry: EntryAnalysis, more: str = "", ignore: str = "review", **about) -> Analysis:
    """The analysis of one entry T from table s into table t, with its checks of the walk."""
    text = MAPPING.format(more=more, unrouted=ignore)
    plan = SimpleNamespace(routes=routes_of(text), mapping=mapping_of(text), expiry=None)
    values = {
        "levels": {"T": 1},
        "targets": {"t": TargetState(True, True, [])},
        "unrouted": {},
        "seconds": 1.0,
        "checks": [],
        "listed": {},
        "sources": {"s": SourceState(items=3)},
    }
    analysis = Analysis({"T": entry}, **values | about)
    return replace(analysis, checks=walk_checks(plan, analysis))


def open_of(analysis: Analysis) -> dict[str, str]:
    """What of the list is open → its level."""
    return {check.what: check.level for check in analysis.checks if check.level}


def test_where_all_is_well_the_list_is_complete():
    """Each kind of check has its line, none is open, and the view says go."""
    analysis = analysis_of(EntryAnalysis(records=3, routed=3))
    whats = ["access", "empty", "expired", "table", "contents", *WELL]
    assert [(check.what, check.level) for check in analysis.checks] == [(what, "") for what in whats]
    assert analysis.alerts == []
    shown = views.decision(analysis)
    assert "<b>Go.</b> Nothing speaks against" in shown
    assert shown.count(">ok<") == len(whats)


def ids_checks(tables: str, shared: list[Finding] = (), keys: dict | None = None, chosen: str = "AB") -> list[tuple]:
    """Level, table and message of what the list says of ids, of entries A and B."""
    text = f"defaults: {{source: '{{table}}-s', target: '{{table}}-t'}}\ntables: {tables}"
    routes = {name: route for name, route in routes_of(text, keys).items() if name in chosen}
    plan = SimpleNamespace(routes=routes, mapping=mapping_of(text), expiry=None)
    entries = {name: EntryAnalysis(parents=Counter({("a", "A"): 2} if name == "B" else ())) for name in routes}
    analysis = Analysis(entries, {}, {}, {}, 1.0, [], {}, shared_ids=list(shared))
    return [(c.level, c.table, c.message) for c in mapping_checks(plan, analysis) if c.what == "ids"]


def test_who_keeps_its_ids_is_said():
    """Beside others, alone, and all of them together; not of an entry whose key is a reference."""
    kept, refer = "the items keep their ids", ", and so does what refers to them (2 references)"
    inside = "no id attribute: ids inside its items' keys stay"
    nothing = "no entry renews ids: all items keep theirs, and those inside keys, texts and references stay too"
    assert ids_checks("{A: {}, B: {}}") == []
    assert ids_checks("{A: {id_format: keep}, B: {references: {a: A}}}") == [(NOTE, "A", kept + refer)]
    assert ids_checks("{A: {}, B: {id: null}}", keys={"B": {"PK": "S", "SK": "S"}}) == [(NOTE, "B", inside)]
    of_others = "no ids of its own: only the ids of other entries inside its items are renewed"
    assert ids_checks("{A: {}, B: {id: null, references: {pk: A}}}", keys={"B": {"pk": "S", "SK": "S"}}) == [
        (NOTE, "B", of_others)
    ]
    assert ids_checks("{A: {}, B: {id: null, references: {id: A}}}") == []
    for both in ("{A: {id: null}, B: {id: null}}", "{A: {id_format: keep}, B: {id: null}}"):
        assert ids_checks(both) == [(NOTE, "", nothing)]
    assert ids_checks("{A: {id_format: keep}, B: {id_format: keep}}") == [("", "", nothing)]  # a decision
    assert ids_checks("{A: {id: null}}", chosen="A") == [(NOTE, "", nothing)]
    assert ids_checks("{A: {id: null}, B: {}}", chosen="A") == [(NOTE, "A", inside)]


def test_ids_that_two_entries_share_are_for_you_to_decide():
    """Unless the entry says that they are no references."""
    shared = [Finding("B", "id", "A", 50, 49, 1.0, None)]
    message = "49 of 50 ids at id are ids of A, too; each gets its own new one"
    assert ids_checks("{A: {}, B: {}}", shared) == [(REVIEW, "B", message)]
    assert ids_checks("{A: {}, B: {not_references: [id]}}", shared) == [(NOTE, "B", message)]


def test_a_text_that_is_the_name_of_an_attribute_is_a_note():
    """Once, beside the names that nothing has."""
    text = "defaults: {source: s, target: t}\ntables: {A: {fields: {id: {from: id}, mail: email}, rest: copy}}"
    plan = SimpleNamespace(routes=routes_of(text), mapping=mapping_of(text), expiry=None)
    entry = EntryAnalysis(records=1, profile=profile_items([{"id": {"S": "1"}, "email": {"S": "x"}}]))
    doubts = Doubts(plan).found({"A": entry})
    checks = mapping_checks(plan, Analysis({"A": entry}, {}, {}, {}, 1.0, [], {}, doubts=doubts))
    assert [(c.table, c.message, c.action) for c in checks if c.what == "names" and c.level == NOTE] == [
        (
            "A",
            "every item gets the text email as mail, which is also the name of an attribute",
            'Nothing to do, if the text is meant; else write {from: email}, or "{email}" for its text.',
        )
    ]


def test_what_is_accepted_without_need_is_a_note():
    """So that a misspelt name is not silently without effect."""
    text = "defaults: {source: s, target: t}\ntables: {A: {accept: {unmatched: [gone, drop, n]}}}"
    plan = SimpleNamespace(routes=routes_of(text), mapping=mapping_of(text), expiry=None)
    entry = EntryAnalysis(records=1, profile=profile_items([{"id": {"S": "1"}}]), fell_back=Counter(n=1))
    unmatched = [Unmatched("A", "drop", "drop", 1, None, "", True)]
    checks = mapping_checks(plan, Analysis({"A": entry}, {}, {}, {}, 1.0, [], {}, unmatched=unmatched))
    assert [c.message for c in checks if c.action == "Correct it there, or remove it."] == [
        "`accept: {unmatched: […]}` names gone, and nothing of that name is unmatched"
    ]


CREATE = "create: {key: {id: S}}"
STOP = "references: {a: {to: T, dangling: stop}}"
LARGE = Counter({("", "the target item is 500,000 bytes; DynamoDB takes 409,600"): 1})


@pytest.mark.parametrize(
    ("entry", "about", "what", "level", "message"),
    [
        ({"collisions": 1}, {}, "collision", FAIL, "1 target key collide"),
        ({"losers": 1}, {}, "conflict", REVIEW, "1 conflict: another item has the target key"),
        ({"different_there": 2}, {}, "conflict", REVIEW, "2 conflicts: another item has the target key"),
        ({"reasons": LARGE}, {}, "size", REVIEW, "1 item larger than the 400 KB that DynamoDB takes"),
        (
            {"quarantined": 2},
            {},
            "quarantine",
            REVIEW,
            "2 items quarantined: not written, because a value does not fit",
        ),
        ({"dangling": Counter(a=1)}, {}, "dangling", REVIEW, "1 dangling reference (a): the item does not exist"),
        ({"unreadable": Counter(a=1)}, {}, "unreadable", REVIEW, "1 value at a not readable as ids"),
        ({"expired": 2}, {}, "expired", NOTE, "2 items whose time to live is over"),
        ({}, {"unrouted": {"s": 5}}, "unrouted", REVIEW, "5 source items that no entry of the mapping selects"),
        (
            {},
            {"sources": {"s": SourceState()}},
            "empty",
            REVIEW,
            "the source table is empty, so nothing of this entry is proved",
        ),
        (
            {},
            {"targets": {"t": TargetState(True, False, [])}},
            "contents",
            NOTE,
            "already holds items; none of them will be touched",
        ),
        ({}, {"targets": {"t": TargetState(False, True, [])}}, "table", FAIL, "the target table does not exist"),
        (
            {},
            {"targets": {"t": TargetState(False, True, [])}, "more": CREATE},
            "table",
            NOTE,
            "the target table does not exist yet; the mapping says how to create it",
        ),
    ],
)
def test_each_finding_is_one_check_one_alert_and_one_line(entry, about, what, level, message):
    """At one level, in one wording: they cannot disagree."""
    about = {"more": "references: {a: T}", **about}
    analysis = analysis_of(EntryAnalysis(records=3, **entry), **about)
    assert open_of(analysis) == {what: level}
    (alert,) = analysis.alerts
    assert (alert.level or NOTE, alert.message) == (level, message)
    assert alert.action
    assert worst(analysis.alerts) == {NOTE: "PASS"}.get(level, level)
    shown = views.decision(analysis)
    assert shown.count(f">{WORDS[level]}<") == 1
    assert message in shown
    assert {NOTE: "<b>Go.</b>", REVIEW: "<b>Go, after a look.</b>", FAIL: "<b>No go.</b>"}[level] in shown


def test_what_the_mapping_accepts_is_listed_and_not_open():
    analysis = analysis_of(EntryAnalysis(), "accept: {empty: true}", sources={"s": SourceState()})
    assert analysis.alerts == []
    assert [c.message for c in analysis.checks if c.what == "empty"] == [
        "the source table is empty, so nothing of this entry is proved; the mapping accepts it"
    ]


def test_items_that_the_mapping_ignores_are_counted():
    checks = analysis_of(EntryAnalysis(), ignore="ignore", unrouted={"s": 5}).checks
    assert [(c.found, c.level, c.message) for c in checks if c.what == "unrouted"] == [
        (5, "", "5 source items that no entry selects, which the mapping ignores")
    ]


def test_a_rule_that_says_stop_stops():
    """A dangling reference, and a value that does not convert: each beside its count."""
    analysis = analysis_of(EntryAnalysis(records=3, dangling=Counter(a=1)), STOP)
    assert [(c.what, c.level) for c in analysis.checks if c.level] == [("dangling", REVIEW), ("dangling", FAIL)]
    fields = "fields: {id: {from: id}, n: {from: m, type: number, on_error: stop}}"
    entry = EntryAnalysis(records=3, quarantined=1, reasons=Counter({("m", "no number"): 1}))
    analysis = analysis_of(entry, fields)
    assert [(c.what, c.level) for c in analysis.checks if c.level] == [("quarantine", REVIEW), ("quarantine", FAIL)]
    assert "a value does not convert, where the mapping says stop" in views.decision(analysis)


def test_a_check_with_a_level_becomes_an_alert():
    """What is well becomes none."""
    checks = [
        Check("target", "T", "ttl", None, "expires", REVIEW, "Turn it on.", "TTL is off"),
        Check("target", "T", "billing", "PROVISIONED", None, NOTE, "Look.", "is provisioned"),
        Check("target", "T", "key", 1, 1, "", "", "has the key"),
    ]
    assert alerts_of(checks) == [
        Alert(REVIEW, "T", "TTL is off", "Turn it on."),
        Alert("", "T", "is provisioned", "Look."),
    ]


def test_equal_findings_of_many_tables_share_a_line():
    """Worst first within a check; what is fine of the same kind stays one line."""
    checks = [Check("target", f"T{n}", "ttl", "x", None, "", "", "the same as in the source") for n in range(30)]
    checks += [Check("target", f"N{n}", "ttl", None, None, NOTE, "Nothing.", "no time to live") for n in range(35)]
    checks += [Check("source", f"E{n}", "dangling", n, None, REVIEW, "x", f"{n} dangling references") for n in (2, 3)]
    shown = views.decision(replace(analysis_of(EntryAnalysis()), checks=checks))
    assert shown.count("<tr") == 1 + 3
    assert "35 tables" in shown
    assert "5 dangling references" in shown
    assert "1 line asks for a decision" in shown


def test_values_that_are_ids_of_several_entries_name_all_of_them():
    """Each line may be the right one; where each entry has a part of the values, one line stands for all."""
    both = [Finding("Posts", "author", to, 90, 90, 1.0, f"author: {to}") for to in ("Profiles", "Users")]
    (check,) = undeclared_checks(SimpleNamespace(undeclared=both))
    assert check.message == "author: 90 of 90 values are ids of Profiles and of Users, and no rule rewrites them"
    assert check.action.startswith(
        "Add `author: Profiles` or `author: Users` under `references`, whichever is meant; or"
    )
    parts = [replace(one, found=45) for one in both]
    (check,) = undeclared_checks(SimpleNamespace(undeclared=parts))
    assert check.message == "author: 45 of 90 values are ids of Profiles and 1 other, and no rule rewrites them"
    assert check.action.startswith("Add `author: Profiles` under `references`; or")


@pytest.mark.parametrize(
    ("confidence", "said"),
    [
        (1.0, "The mapping language cannot say this path or pattern"),
        (0.6, "Look at the values: if they are ids, write a template"),
    ],
)
def test_values_without_a_line_to_paste(confidence, said):
    """Two bare numbers in one text can be said, but not by what the values say."""
    (check,) = undeclared_checks(
        SimpleNamespace(undeclared=[Finding("Posts", "pair", "Users", 9, 9, confidence, None)])
    )
    assert check.action.startswith(said)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "under a second"),
        (0.99, "under a second"),
        (1.2, "about 1 second"),
        (40, "about 40 seconds"),
        (150, "about 2 minutes"),
        (10_000, "about 3 hours"),
    ],
)
def test_a_duration_is_said_as_people_say_it(seconds, said):
    """Never "about 0 seconds" or "1 seconds"."""
    assert lasts(seconds) == said
