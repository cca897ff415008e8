"""What is not as 01 saw it: which items differ, and how it is said."""

from collections import Counter
from types import SimpleNamespace

import pytest
from compiled import routes_of

from runbook_lib.journal.snapshot import Pass
from runbook_lib.journal.table_file import Position, Seen
from runbook_lib.stages import sealed
from runbook_lib.stages.sealed import Deviation, Held, held, said
from runbook_lib.values import FURTHER
from runbook_lib.walk.ledger import Ledgers


def journal_of(planned, ledger, types=None, *, records=(10, 10), done=True, events=1, share=0.02):
    """A journal of entry A: `planned` attribute → types, `ledger` attribute → counts."""
    tables = {"A": {"records": records[0], "attributes": {n: {"types": t, "routed": 9} for n, t in planned.items()}}}
    event = {"sha256": "1", "created": "then", "accepted": False, "share": share, "drift": [], "tables": tables}
    types = {name: dict.fromkeys(letters, 1) for name, letters in (types or {}).items()}
    return SimpleNamespace(
        events=lambda kind: [event] * events,
        passes=lambda: [Pass("t", ["A"], 1, {0: Position(1, None, done)})],
        state=lambda: SimpleNamespace(tables={"A": Counter(scanned=records[1])}),
        seen=lambda: {"A": Seen({name: Counter(counts) for name, counts in ledger.items()}, types)},
    )


def told(*given, **more):
    return [(one.what, one.name, one.planned, one.found) for one in held(journal_of(*given, **more)).drift]


def test_attributes_are_compared_by_name_and_type():
    """An attribute for which only a default stands in is not there."""
    planned = {"id": ["S"], "gone": ["S"], "n": ["N"], "never": [], "later": ["S"]}
    ledger = {
        "id": {"copied": 9},
        "n": {"copied": 9},
        "gone": {"defaulted": 9},
        "new": {"rest": 1},
        "never": {"rest": 1},
    }
    assert told(planned, ledger, {"n": ["N", "NULL"], "new": ["BOOL"], "later": ["S"]}) == [
        ("attribute", "gone", ["S"], None),
        ("type", "n", ["N"], ["N", "NULL"]),
        ("attribute", "never", None, []),
        ("attribute", "new", None, ["BOOL"]),
    ]


def test_a_part_of_the_items_says_nothing_of_what_is_missing():
    """Before an entry's passes are done, fewer items and attributes prove nothing; a new attribute does."""
    assert told({"a": ["S"]}, {"b": {"copied": 1}}, records=(10, 3), done=False) == [("attribute", "b", None, [])]


def test_names_without_end_are_not_compared():
    """Where 01 or 03 met more than can be told apart, nothing is new, or gone."""
    assert told({"a": ["S"], FURTHER: ["S"]}, {"a": {"copied": 1}, "b": {"copied": 1}}) == []
    assert told({"a": ["S"], "b": ["S"]}, {"a": {"copied": 1}, FURTHER: {"copied": 1}}, {FURTHER: ["N"]}) == []


@pytest.mark.parametrize(
    ("planned", "found", "share", "is_drift"),
    [(100, 102, 0.02, False), (100, 103, 0.02, True), (100, 97, 0.02, True), (0, 1, 0.02, True), (0, 0, 0, False),
     (100, 101, 0, True), (100, 200, 1, False)],
)  # fmt: skip
def test_counts_may_differ_by_a_share(planned, found, share, is_drift):
    """In both directions, of what 01 counted."""
    assert bool(told({}, {}, records=(planned, found), share=share)) is is_drift


def test_without_a_plan_nothing_is_held():
    """A run in which 01 did not run."""
    assert held(journal_of({}, {}, events=0)) is None


def test_an_older_plan_is_forgotten_and_each_execution_adds():
    """01 may have been repeated; an execution may have been for some entries alone."""
    one, other = (["target", "t", "ttl", "", None, name] for name in ("until", "end"))
    tables = {"A": {"records": 5, "attributes": {}}}
    about = {"created": "then", "accepted": True, "share": 0, "tables": {}}
    events = [
        {"sha256": "1", **about, "drift": [["target", "t", "billing", "", "a", "b"]]},
        {"sha256": "2", **about, "drift": [one], "tables": tables},
        {"sha256": "2", **about, "drift": [one, other]},
    ]
    journal = journal_of({}, {})
    journal.events = lambda kind: events
    assert [one.found for one in held(journal).drift] == ["until", "end", 10]


def test_alerts_group_by_table_and_do_not_run_on():
    """Six are named. Accepted, all are notes; capacity is one anyway."""
    drift = [Deviation("source", "A", "attribute", f"a{n}", None, ["S"]) for n in range(8)]
    drift.append(Deviation("target", "T", "capacity", "", {"read": 1, "write": 1}, None))
    many, capacity = Held("then", False, drift).alerts()
    assert (many.level, many.table) == ("REVIEW", "A")
    assert many.message.endswith("attribute a5 is new; and 2 more")
    assert (capacity.level, capacity.message) == (
        "",
        'not as 01 saw it: capacity is none, not {"read": 1, "write": 1}',
    )
    assert {alert.level for alert in Held("then", True, drift).alerts()} == {""}


def test_everything_has_words():
    """Keys and indexes as elsewhere; what is not there is none."""
    index = {"local": False, "key": [["a", "S"], ["b", "N"]], "partition": 1, "projection": ["x", "y"], "units": None}
    values = (None, [], True, False, 1234, ["a", "b"], [["a", "S"]], index, "KEYS_ONLY", {"x": 1})
    assert [said(value) for value in values] == [
        "none",
        "none",
        "on",
        "off",
        "1,234",
        "a, b",
        "a (S)",
        "a (S) + b (N), projects x, y",
        "KEYS_ONLY",
        '{"x": 1}',
    ]
    gone = Deviation("target", "t", "index", "byX", index, None)
    assert (gone.phrase(), gone.is_shape) == ("index byX is missing", True)
    assert not gone._replace(side="source").is_shape
    assert Deviation("target", "t", "table", "", sealed.MISSING, sealed.ELSEWHERE).phrase() == (
        "the table was missing, and is made by somebody else"
    )


def test_a_page_says_what_it_met_of_each_entry():
    """Types whole where the page is small; of a large one every n-th row. Of rows that were
    counted before only types."""
    routes = routes_of("defaults: {source: t, target: u, id: id}\ntables: {A: {}, B: {}}")
    items = [{"id": {"S": f"i{n}"}, "x": {"NULL": True} if n in (1, 41) else {"S": "x"}} for n in range(100)]
    rows = [routes["A"].route(item) for item in items]
    ledgers = Ledgers(routes.values())
    page = [*rows[:5], routes["B"].route({"id": {"S": "b"}, "y": {"BOOL": True}})]
    said = ledgers.record(page, page)
    assert said["ledger"] == {
        "A": {"id": Counter(rewritten=5), "x": Counter(copied=5)},
        "B": {"id": Counter(rewritten=1), "y": Counter(copied=1)},
    }
    assert said["types"] == {"A": {"id": ["S"], "x": ["NULL", "S"]}, "B": {"id": ["S"], "y": ["BOOL"]}}
    assert ledgers.record(rows, rows)["types"]["A"]["x"] == ["S"]  # rows 0, 3, 6, …
    again = ledgers.record(rows, rows[:1])
    assert again["types"]["A"]["x"] == ["NULL", "S"]
    assert again["ledger"]["A"] == {"id": Counter(rewritten=1), "x": Counter(copied=1)}
    assert ledgers.record(rows, [])["ledger"] == {"A": {}}
    assert ledgers.record([], []) == {}
