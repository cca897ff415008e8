"""Which paths hold ids of other items: found, with how much confidence, and what is none."""

import itertools
import json
import random
import re
from array import array
from collections import Counter

import numpy as np
import pytest
from compiled import mapping_of, routes_of
from hypothesis import given, settings
from hypothesis import strategies as st
from support_schemas import RECOGNISABLE, UUIDS, Database, database, text

from runbook_lib.discover import evidence
from runbook_lib.discover.columns import MAX_NAMES, Reader, as_columns
from runbook_lib.discover.confidence import LIKELY
from runbook_lib.discover.evidence import Evidence, Values
from runbook_lib.discover.references import Finding, find_references, undeclared
from runbook_lib.discover.text import names
from runbook_lib.discover.text.slots import slots_of
from runbook_lib.discover.text.tokens import is_recognisable, parts_of, token_spans, unescaped, whole_part
from runbook_lib.mapping.model import Entry
from runbook_lib.mapping.text import templates
from runbook_lib.mapping.text.paths import EACH, JSON, KEYS, VALUES, spelled
from runbook_lib.values import text_of
from runbook_lib.yaml_files import parse_value

SEEDS = range(4)


def entries_of(names: list[str], models: dict[str, dict] | None = None) -> dict[str, Entry]:
    """Entries that copy, as a mapping without references makes them."""
    body = {name: (models or {}).get(name, {}) for name in names}
    return mapping_of(json.dumps({"defaults": {"source": "{table}-s", "target": "{table}-t"}, "tables": body})).entries


def findings_of(items: dict[str, list[dict]], models: dict[str, dict] | None = None, page: int = 50) -> list[Finding]:
    """What is found in the items of some entries, read in pages."""
    entries = entries_of(list(items), models)
    naming = {name: {rule.named_by for rule in one.model.references.values()} for name, one in entries.items()}
    found = Evidence(items, naming, entries)
    for name, of_entry in items.items():
        for at in range(0, len(of_entry), page):
            part = of_entry[at : at + page]
            read = [own_id(entries[name], one) for one in part]
            found.add(name, part, as_columns(part), [text_of(one) for one in read if one])
    return find_references(found.columns(), found, entries)


def own_id(entry: Entry, item: dict) -> dict | None:
    """An item's id as a typed value."""
    value = item.get(entry.model.id or "")
    if not entry.id_parts or value is None:
        return value
    pieces = templates.reader(entry.id_parts)(value.get("S", ""))
    at = [hole.name for hole in templates.holes(entry.id_parts)].index("id")
    return {"S": pieces[at]} if pieces else None


MEANINGLESS = pytest.mark.parametrize("meaningless", [pytest.param(False, marks=pytest.mark.slow), True])


@MEANINGLESS
@pytest.mark.parametrize("style", RECOGNISABLE)
def test_references_by_ids_that_can_be_recognised_are_all_found(style, meaningless):
    """F1 of at least 0.98, whatever the attributes are called."""
    right = wrong = missed = 0
    for seed in SEEDS:
        made = database(seed, style, meaningless=meaningless)
        sure = certain(made)
        right, wrong, missed = (
            right + len(sure & made.truth),
            wrong + len(sure - made.truth),
            missed + len(made.truth - sure),
        )
    assert 2 * right / (2 * right + wrong + missed) >= 0.98


@MEANINGLESS
@pytest.mark.parametrize("style", ["integer", "sparse"])
def test_bare_numbers_are_certain_only_where_they_are_ids(style, meaningless):
    """Precision of at least 0.95 among what is called certain; the other references are shown as ambiguous."""
    right = wrong = 0
    shown: set = set()
    truth: set = set()
    for seed in SEEDS:
        made = database(seed, style, meaningless=meaningless)
        sure = certain(made)
        right, wrong = right + len(sure & made.truth), wrong + len(sure - made.truth)
        truth |= {(seed, *one) for one in made.truth}
        shown |= {(seed, f.table, f.path, f.to) for f in findings_of(made.items) if f.confidence >= LIKELY}
    assert right / (right + wrong or 1) >= 0.95 or not right + wrong
    assert right or meaningless
    assert len(truth & shown) >= 0.95 * len(truth)


def certain(made: Database) -> set[tuple[str, str, str]]:
    """The findings from which the analysis asks for a decision."""
    return {(f.table, f.path, f.to) for f in findings_of(made.items) if f.is_certain}


# what a page becomes


def test_every_value_at_every_depth_stands_in_a_column():
    """Lists, sets, maps, keys, JSON text and JSON text in it; numbers in their canonical form."""
    inner = json.dumps({"c": "three"})
    item = {
        "a": text("one"),
        "n": {"N": "7.0"},
        "l": {"L": [{"M": {"b": text("two")}}, text("x")]},
        "s": {"NS": ["8", "9"]},
        "j": text(json.dumps([{"k": 5, "deep": inner}])),
        "m": {"M": {"key": {"BOOL": True}}},
    }
    found = Reader().columns(as_columns([item]))
    assert {spelled(path): texts for path, texts in found.whole.items() if texts} == {
        "a": ["one"],
        "n": ["7"],
        "l[].b": ["two"],
        "l[]": ["x"],
        "s[]": ["8", "9"],
        "j": [item["j"]["S"]],
        "j:json[].k": ["5"],
        "j:json[].deep": [inner],
        "j:json[].deep:json.c": ["three"],
    }
    assert {spelled(path): dict(keys) for path, keys in found.keys.items()} == {
        "l[]{keys}": {"b": 1},
        "m{keys}": {"key": 1},
        "j:json[]{keys}": {"k": 1, "deep": 1},
        "j:json[].deep:json{keys}": {"c": 1},
    }
    assert sorted(found.free[("a",)] + found.free[("l", EACH)]) == ["one", "x"]


def test_a_long_number_in_json_keeps_its_digits():
    """A reader of floats would lose the last ones."""
    found = Reader().columns(as_columns([{"j": text('{"id": 12345678901234567890, "half": 1.5}')}]))
    assert found.whole["j", JSON, "id"] == ["12345678901234567890"]


def test_names_of_maps_that_are_data_share_a_path():
    """Whether they are found on one page or on several: what was counted under the old paths is counted under the new one."""
    rows = [{"by": {"M": {f"key{number}": text(UUIDS[number % 50])}}} for number in range(2 * MAX_NAMES)]
    parents = [{"id": text(one)} for one in UUIDS[:50]]
    for page in (10, 1_000):
        found = [f for f in findings_of({"Parents": parents, "Rows": rows}, page=page) if f.table == "Rows"]
        assert [(f.path, f.to, f.values, f.found, f.line) for f in found] == [
            ("by{}", "Parents", 200, 200, '"by{}": Parents')
        ]


def test_a_path_is_collapsed_only_at_its_names():
    """A list where other items have a map is still a list."""
    reader = Reader()
    reader.columns(as_columns([{"by": {"M": {f"key{number}": text("x")}}} for number in range(2 * MAX_NAMES)]))
    assert reader.collapse(("by", "key1", "more")) == ("by", VALUES, "more")
    assert reader.collapse(("by", EACH)) == ("by", EACH)
    assert reader.collapse(("by", KEYS)) == ("by", KEYS)


# tokens


@pytest.mark.parametrize(
    "id_",
    [UUIDS[0], UUIDS[0].upper(), "CUS-7", "ord_1001", "user:12", "c-1", "a1b2c3d4-1j2k3l4m", "01HZXW8Q", "ab12cd34"],
)
def test_ids_that_can_be_recognised(id_):
    assert is_recognisable(id_)


@pytest.mark.parametrize(
    "other",
    [
        "7",
        "c1",
        "2024-01-31",
        "2024-01-31T08:00:00Z",
        "2024-01",
        "ann.lee84@example.com",
        "blue-shirt-large",
        "new",
        "12345678",
    ],
)
def test_what_looks_like_other_things_too(other):
    assert not is_recognisable(other)


def test_parts_of_texts():
    """Of long texts only what looks like an id; nothing of a date, or of a text without separators."""
    long_text = " ".join(["word"] * 40) + f" {UUIDS[1]} 12345678 99"
    found = parts_of(
        ["plain", "2024-01-31T08:00:00Z", "ORG#7#USER#8", f"file_{UUIDS[0]}.pdf", long_text, f"{UUIDS[2]}-{UUIDS[3]}"]
    )
    assert {"ORG", "7", "USER", "8", *UUIDS[:4]} <= {*found}
    assert not {"plain", "2024-01-31T08", "word", "99"} & {*found}


@settings(max_examples=300)
@given(st.text(st.sampled_from("aB10-_#/.:% 2F"), max_size=24))
def test_parts_are_the_texts_at_the_spans(some):
    """In the samples from which patterns are read, too, every part stands where it was found."""
    spans = token_spans(some)
    assert {*parts_of([some])} - {some} <= {some[a:b] for a, b in spans} | {""}
    assert spans == sorted(spans, key=lambda span: (span[0], -span[1]))


def test_dates_and_numbers_as_names_are_data():
    """One path for the days of a map, where there are more than a year's months; twelve names may be attributes."""
    users = [{"id": {"N": str(n)}} for n in range(1, 51)]
    for days, paths in ((13, {"days{}"}), (12, {f"days.2024-01-{day:02}" for day in range(1, 13)})):
        logs = [
            {
                "id": text(f"L-{n:03}"),
                "days": {"M": {f"2024-01-{day:02}": {"N": str((7 * n + day) % 50 + 1)} for day in range(1, days + 1)}},
            }
            for n in range(60)
        ]
        assert {f.path for f in findings_of({"Users": users, "Logs": logs}) if f.table == "Logs"} == paths


def test_names_that_are_ids_are_data_however_few():
    """One path for all of them, which does not spell an id; other names stay. Attributes that are named so count, too."""
    users = [{"id": text(one)} for one in UUIDS[:40]]
    logs = [
        {
            "id": text(f"L-{n:03}"),
            "seen": {"M": {UUIDS[n]: text(UUIDS[n + 1]), "line1": text(UUIDS[n]), "n": text("x")}},
            "doc": text(json.dumps({UUIDS[n]: {"by": UUIDS[n]}})),
            UUIDS[n + 2]: {"BOOL": True},
            "roles": {"M": {f"USER#{UUIDS[n]}": text(f"R-{n:03}")}},
        }
        for n in range(30)
    ]
    roles = [{"id": text(f"R-{n:03}")} for n in range(30)]
    found = findings_of({"Users": users, "Logs": logs, "Roles": roles})
    assert {(f.path, f.values, f.found, f.line) for f in found} == {
        ("seen{keys}", 90, 30, '"seen{keys}": {to: Users, dangling: keep}'),
        ("seen{}", 30, 30, '"seen{}": {to: Users, dangling: keep}'),
        ("seen.line1", 30, 30, "seen.line1: Users"),
        ("doc:json{keys}", 30, 30, '"doc:json{keys}": Users'),
        ("doc:json{}.by", 30, 30, '"doc:json{}.by": Users'),
        ("{keys}", 30, 30, None),  # names of attributes: nothing says them
        ("roles{}", 30, 30, '"roles{}": Roles'),
        ("roles{keys}", 30, 30, '"roles{keys}": "USER#{Users}"'),
    }


@pytest.mark.parametrize("piece", ["a-", "a_", "a.", "a#1-", "a/a-1_", "%2F-", "1-a.", "é-1."])
def test_the_parts_of_a_long_text_are_not_many_times_as_long(piece):
    """Nor do they take long: what a text of a hundred thousand pieces gives grows with it, and not with its square."""
    parts = [parts_of([piece * number + "1"]) for number in (1_000, 2_000)]
    letters = [sum(map(len, some)) for some in parts]
    assert letters[1] <= 2.1 * letters[0] + 100
    assert letters[1] <= 20 * len(piece) * 2_000


# bounded memory


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.booleans(), st.lists(st.integers(-50, 50) | st.integers(-(2**63), 2**62), max_size=40))),
    st.integers(0, 3),
    st.integers(0, 3),
)
def test_values_are_counted_like_a_counter(pages, mine, theirs):
    """Whatever the pieces, in one or two paths that are joined; halved, what is kept has all its counts."""
    values, other = Values(), Values()
    for first, codes in pages:
        (values if first else other).add(array("q", codes))
        (values if first else other).settle()
    for one, times in ((values, mine), (other, theirs)):
        for _ in range(times):
            one.halve()
    values.merge(other)
    assert values.shift == max(mine, theirs)
    counted = Counter(itertools.chain.from_iterable(codes for _, codes in pages))
    assert values.total == counted.total()
    kept = dict(zip(values.codes.tolist(), values.counts.tolist(), strict=True))
    assert list(kept) == sorted(kept)
    assert kept == {code: counted[code] for code in kept}
    if not values.shift:
        assert kept == counted
    assert [values.count(code) for code in (*counted, 7)] == [kept.get(code, 0) for code in (*counted, 7)]


def test_halved_values_estimate(monkeypatch):
    """The number of different values, and the part of them that are ids, stay right to some percent."""
    monkeypatch.setattr(evidence, "KEPT", 2_000)
    parents = [{"id": text(f"P-{number:06}")} for number in range(20_000)]
    rows = [
        {
            "id": text(f"R-{number:06}"),
            "half": text(f"{'P' if number % 2 else 'Q'}-{number:06}"),
            "kind": text("P-000001"),
        }
        for number in range(20_000)
    ]
    found = {f.path: f for f in findings_of({"Parents": parents, "Rows": rows}, page=1_000) if f.table == "Rows"}
    assert found["half"].values == 20_000
    assert found["half"].found == pytest.approx(10_000, rel=0.2)
    assert (found["kind"].values, found["kind"].found) == (20_000, 20_000)


# decisions


def test_a_pattern_names_the_entry_that_was_found():
    """Not another one that has the same numbers; where two numbers stand in a text, nothing says which is which."""
    few, more = [{"id": {"N": str(n)}} for n in range(1, 61)], [{"id": {"N": str(n)}} for n in range(1, 81)]
    log = [
        {"id": text(f"s{n}x"), "portRef": text(f"port/{n % 60 + 1}"), "way": text(f"from {n % 80 + 1} to {n % 60 + 1}")}
        for n in range(300)
    ]
    found = {f.path: f for f in findings_of({"Ports": few, "Carriers": more, "Log": log}) if f.table == "Log"}
    assert (found["portRef"].to, found["portRef"].line) == ("Ports", 'portRef: "port/{Ports}"')
    assert found["portRef"].is_certain
    assert "way" not in found or (found["way"].line is None and not found["way"].is_certain)
    log = [{"id": text(f"s{n}x"), "portRef": text(f"{n % 60 + 1}/{n % 59 + 1}")} for n in range(300)]
    found = {f.path: f for f in findings_of({"Ports": few, "Log": log}) if f.table == "Log"}
    assert [(f.line, f.is_certain) for f in found.values()] == [(None, False)]


def test_a_line_says_only_what_the_language_reads():
    """A template that reads other parts than the ids is none; and where only some values are ids, the others stay."""
    customers = [{"id": text(f"CUS-{n:03}")} for n in range(100, 140)]
    log = [
        {
            "id": text(f"s{n}x"),
            "pair": text(f"CUS-{100 + n}-CUS-{139 - n}"),
            "way": text(f"CUS-{100 + n} to CUS-{139 - n}"),
            "by": text(f"CUS-{100 + n}" if n % 4 == 0 else f"free text {n}"),
        }
        for n in range(40)
    ]
    found = {f.path: f.line for f in findings_of({"Customers": customers, "Log": log}) if f.table == "Log"}
    assert found == {
        "pair": None,
        "way": 'way: "{Customers} to {Customers}"',
        "by": "by: {to: Customers, dangling: keep}",
    }


@pytest.mark.parametrize("path", ["author", "userId", "profileRef"])
def test_entries_with_the_same_ids_may_both_be_meant(path):
    """Unless a name says which; or one of them lacks ids that occur."""
    people = [{"id": text(one)} for one in UUIDS[:90]]
    posts = [{"id": text(f"P-{n:04}"), path: text(UUIDS[n % 90])} for n in range(200)]
    found = [f for f in findings_of({"Profiles": people, "Users": people, "Posts": posts}) if f.table == "Posts"]
    meant = {"author": ["Profiles", "Users"], "userId": ["Users"], "profileRef": ["Profiles"]}[path]
    assert [(f.to, f.line, f.confidence) for f in found] == [(to, f"{path}: {to}", 1.0) for to in meant]
    found = [f for f in findings_of({"Profiles": people[1:], "Users": people, "Posts": posts}) if f.table == "Posts"]
    assert [f.to for f in found] == ["Users"]


def test_what_a_field_is_made_of_arrives_although_it_is_dropped():
    """A dropped attribute needs no rule, unless a template or another field reads it."""
    users = [{"id": text(one)} for one in UUIDS[:40]]
    posts = [{"id": text(f"P-{n:04}"), "code": text(UUIDS[n])} for n in range(40)]
    for fields, wanted in (({}, []), ({"label": "M-{code}"}, ["code"]), ({"label": {"from": "code"}}, ["code"])):
        model = {"Posts": {"fields": {"id": {"from": "id"}, **fields}, "rest": "more", "drop": ["code"]}}
        found = findings_of({"Users": users, "Posts": posts}, model)
        open_, none = undeclared(found, entries_of(["Users", "Posts"], model))
        assert ([f.path for f in open_], none) == (wanted, [])


def test_a_path_to_several_entries_is_named_by_an_attribute():
    """Only where each item has an id of the entry that it names; else the line names both entries."""
    people = [{"id": text(one)} for one in UUIDS[:40]]
    places = [{"id": text(one)} for one in UUIDS[40:80]]
    log = [
        {"id": text(f"L{n}"), "of": text(("People", "Places")[n % 2]), "record": text(UUIDS[n % 2 * 40 + n % 40])}
        for n in range(80)
    ]
    found = [f for f in findings_of({"People": people, "Places": places, "Log": log}) if f.table == "Log"]
    assert [(f.path, f.to, f.line) for f in found] == [
        ("record", "People", "record: {table_named_by: of}"),
        ("record", "Places", "record: {table_named_by: of}"),
    ]
    for one in log[:20]:
        one["of"] = text("People")
    found = [f for f in findings_of({"People": people, "Places": places, "Log": log}) if f.table == "Log"]
    assert {f.line for f in found} == {"record: {to: [People, Places]}"}


def test_an_id_in_records_of_several_entries_is_named_by_the_attribute_that_names_them():
    """At any depth, so that one line serves all."""
    people, places = ([{"id": text(one)} for one in UUIDS[at : at + 40]] for at in (0, 40))
    log = [
        {
            "id": text(f"L{n}"),
            "of": text(("People", "Places")[n % 2]),
            "was": text(json.dumps({"id": UUIDS[n % 2 * 40 + n % 40], "n": n})),
        }
        for n in range(80)
    ]
    found = [f for f in findings_of({"People": people, "Places": places, "Log": log}) if f.table == "Log"]
    assert [(f.path, f.to, f.line) for f in found] == [
        ("was:json.id", "People", '"was:json.id": {table_named_by: of}'),
        ("was:json.id", "Places", '"was:json.id": {table_named_by: of}'),
    ]


@pytest.mark.parametrize("others", [[], ["Elsewhere"]])
def test_what_the_rules_of_one_entry_leave_out_of_its_record_is_undeclared(others):
    """Although another entry's rules rewrite the same path in its own records; and also beside names of no entry."""
    users = [{"id": text(one)} for one in UUIDS[:40]]
    rented, sold = (
        [{"id": text(f"{kind}-{n}"), "userId": text(UUIDS[n])} for n in range(40)] for kind in ("RENT", "SALE")
    )
    log = [
        {"id": text(f"L{n}"), "of": text(of), "was": text(json.dumps({"id": f"{kind}-{n}", "userId": UUIDS[n]}))}
        for n in range(20)
        for of, kind in (("Rented", "RENT"), ("Sold", "SALE"))
    ]
    log += [{"id": text(f"M{n}"), "of": text(of)} for n, of in enumerate(others)]
    models = {
        "Sold": {"references": {"userId": "Users"}},
        "Log": {"references": {"was:json": {"record_of": {"table_named_by": "of"}}}},
    }
    items = {"Users": users, "Rented": rented, "Sold": sold, "Log": log}
    open_, _ = undeclared(findings_of(items, models), entries_of(list(items), models))
    assert [(f.table, f.path, f.to, f.values, f.line, f.record) for f in open_] == [
        ("Log", "was:json.userId", "Users", 20, None, "Rented"),
        ("Rented", "userId", "Users", 40, "userId: Users", ""),
    ]


def test_the_pattern_of_a_text_becomes_a_template():
    """Where the texts are lists, each part is an id."""
    users, orgs = ([{"id": text(one)} for one in UUIDS[at : at + 40]] for at in (0, 40))
    rows = [
        {
            "id": text(f"R{n}"),
            "pk": text(f"ORG#{UUIDS[40 + n]}#USER#{UUIDS[n]}"),
            "list": text(",".join(UUIDS[: 1 + n % 3])),
            "brace": text(f"{{{UUIDS[n]}}}"),
        }
        for n in range(40)
    ]
    found = [f for f in findings_of({"Users": users, "Orgs": orgs, "Rows": rows}) if f.table == "Rows"]
    assert {(f.path, f.to, f.line) for f in found} == {
        ("pk", "Users", 'pk: "ORG#{Orgs}#USER#{Users}"'),
        ("pk", "Orgs", 'pk: "ORG#{Orgs}#USER#{Users}"'),
        ("list", "Users", '"list:split(,)[]": Users'),
        ("brace", "Users", 'brace: "{{{Users}}}"'),
    }


@pytest.mark.parametrize(("between", "line"), [(",", '"csv:split(,)[]": Items'), ("; ", '"csv:split(;)[]": Items')])
def test_two_numbers_between_commas_are_a_list(between, line):
    """Although each text holds two, and the ids are bare."""
    chance = random.Random(7)
    ids = [str(700_000 + 37 * n) for n in range(100)]
    rows = [{"id": text(f"B{n:03}-xyz"), "csv": text(between.join(chance.sample(ids, 2)))} for n in range(60)]
    (found,) = findings_of({"Items": [{"id": text(one)} for one in ids], "Rows": rows})
    assert (found.path, found.to, found.found, found.line) == ("csv", "Items", 60, line)


def test_what_a_rule_rewrites_is_not_undeclared():
    """Nor what is dropped, what has no new ids, or what the mapping says is no reference; that one is listed apart."""
    items = {
        "Users": [{"id": text(one)} for one in UUIDS[:40]],
        "Kept": [{"id": text(one)} for one in UUIDS[40:80]],
        "Rows": [
            {"id": text(f"R{n}"), "old": text(UUIDS[40 + n])}
            | {name: text(UUIDS[n]) for name in ("said", "forgotten", "none", "gone")}
            for n in range(40)
        ],
    }  # fmt: skip
    models = {
        "Kept": {"id_format": "keep"},
        "Rows": {"references": {"said": "Users"}, "not_references": ["none"], "drop": ["gone"]},
    }
    open_, none = undeclared(findings_of(items, models), entries_of(list(items), models))
    assert [(f.path, f.line) for f in open_] == [("forgotten", "forgotten: Users")]
    assert [f.path for f in none] == ["none"]


def test_every_path_that_is_found_can_be_called_no_reference():
    """As it is spelled: odd names, keys of a map, all values of one; also names of attributes, which `references` cannot say."""
    id_of = lambda n: UUIDS[n % 40]  # noqa: E731
    places = {
        "we.ird": text,
        "we:ird": text,
        "a[0]": text,
        "odd": lambda one: {"M": {"x.y": text(one), "p:q": {"M": {"br[0]": text(one)}}}},
        "keys": lambda one: {"M": {one: {"N": "1"}}},
        "json": lambda one: {"S": json.dumps({one: 1, "k": [{f"p{one}": one}]})},
        "parts": lambda one: text(f"see {one}!"),
    }
    named = [{"id": text(f"N{n}"), id_of(n): {"BOOL": True}} for n in range(3)]
    many = {f"n{at}": {"M": {"who": text(id_of(at))}} for at in range(MAX_NAMES + 1)}
    rows = [{"id": text(f"R{n}"), **{name: of(id_of(n)) for name, of in places.items()}} for n in range(MAX_NAMES + 1)]
    items = {
        "Users": [{"id": text(one)} for one in UUIDS[:40]],
        "Rows": [*rows, *named, {"id": text("last"), "many": {"M": many}}],
    }
    paths = {one.path for one in undeclared(findings_of(items), entries_of(list(items)))[0]}
    said = {
        r"we\.ird",
        r"we\:ird",
        r"a\[0\]",
        r"odd.x\.y",
        r"odd.p\:q.br\[0\]",
        "keys{keys}",
        "json:json{keys}",
        "parts",
        "many{}.who",
        "{keys}",
    }
    assert said <= paths
    models = {"Rows": {"not_references": sorted(paths)}}
    open_, none = undeclared(findings_of(items, models), entries_of(list(items), models))
    assert (open_, {one.path for one in none}) == ([], paths)


def test_a_rule_that_names_the_wrong_entry_is_contradicted():
    """Its values are all ids of another one."""
    items = {
        "Users": [{"id": text(one)} for one in UUIDS[:40]],
        "Orgs": [{"id": text(one)} for one in UUIDS[40:80]],
        "Rows": [{"id": text(f"R{n}"), "orgId": text(UUIDS[40 + n])} for n in range(40)],
    }
    models = {"Rows": {"references": {"orgId": "Users"}}}
    ((found,), _) = undeclared(findings_of(items, models), entries_of(list(items), models))
    assert (found.path, found.to, found.declared) == ("orgId", "Orgs", "Users")


def test_a_rule_against_which_only_the_name_speaks_is_a_note():
    """The values are ids of both entries; where the name speaks for the declared one, or for none, there is nothing to say."""
    items = {
        "Users": [{"id": {"N": str(one)}} for one in range(1, 31)],
        "Contacts": [{"id": {"N": str(one)}} for one in range(1, 41)],
        "Rows": [{"id": text(f"R{n}"), "contactId": {"N": str(n)}, "by": {"N": str(n)}} for n in range(1, 31)],
    }
    for declared, said in (("Users", [("contactId", "Contacts", "Users", False)]), ("Contacts", [])):
        models = {"Rows": {"references": {"contactId": declared, "by": "Users"}}}
        found, _ = undeclared(findings_of(items, models), entries_of(list(items), models))
        assert [(one.path, one.to, one.declared, one.is_certain) for one in found] == said


def test_a_misspelt_rule_speaks_for_the_attribute_it_means():
    """One value of one is enough then, although `c1` looks like many things."""
    items = {"c": [{"id": text("c1")}], "r": [{"id": text("r1"), "contactId": text("c1")}]}
    models = {"r": {"references": {"contactID": "c"}}}
    ((found,), _) = undeclared(findings_of(items, models), entries_of(list(items), models))
    assert (found.path, found.to, found.line) == ("contactId", "c", "contactId: c")
    assert found.is_certain


@pytest.mark.parametrize("letter", ["N", "S"])
def test_ids_of_64_bits_leave_chance_no_room(letter):
    """Whatever the attribute is called, and although many refer to what is not there."""
    ids = [str(1_500_000_000_000_000_000 + number * 7_919_000_017) for number in range(200)]
    rows = [{"id": text(f"R{n}"), "x1": {letter: ids[n] if n % 3 else ids[n][:-1]}} for n in range(200)]
    (found,) = findings_of({"Kunden": [{"id": {letter: one}} for one in ids], "Rows": rows})
    assert (found.path, found.to, found.line) == ("x1", "Kunden", "x1: {to: Kunden, dangling: keep}")
    assert found.is_certain


def test_small_numbers_are_no_ids_of_an_entry_of_very_many(monkeypatch):
    """Of such an entry only a part of the ids is compared: how densely they lie is counted from that part."""
    monkeypatch.setattr(evidence, "KEPT", 2_000)
    rows = [{"id": text(f"R{n}"), "customerCount": {"N": str(n % 40)}, "x1": {"N": str(n % 900)}} for n in range(1_000)]
    customers = [{"id": {"N": str(number)}} for number in range(5_000)]
    found = findings_of({"Customers": customers, "Rows": rows})
    assert [(f.path, f.is_certain) for f in found if f.path == "customerCount" or f.is_certain] == []


def test_a_text_of_very_many_ids_is_a_list():
    """And no template, although all of the texts have as many."""
    rows = [{"id": text(f"R{n}"), "refs": text(" ".join(UUIDS[n : n + 40]))} for n in range(20)]
    found = findings_of({"Users": [{"id": text(one)} for one in UUIDS], "Rows": rows})
    assert [(f.path, f.line) for f in found] == [("refs", '"refs:split( )[]": Users')]


def test_entries_with_the_same_ids_are_told_apart_by_name():
    """A path is listed once, for the entry whose name it bears."""
    same = [{"id": text(one)} for one in UUIDS[:40]]
    rows = [{"id": text(f"R{n}"), "profileId": text(UUIDS[n]), "userId": text(UUIDS[n])} for n in range(40)]
    found = findings_of({"Users": same, "Profiles": same, "Rows": rows})
    assert {(f.path, f.to) for f in found if f.table == "Rows"} == {("profileId", "Profiles"), ("userId", "Users")}


@pytest.mark.parametrize(
    ("steps", "entry", "right"),
    [
        (["customerId"], "Customers", True),
        (["parentCustomer_id"], "Customers", True),
        (["cust_no"], "Customers", True),
        (["customer", "id"], "Customers", True),
        (["templateId"], "NotificationTemplate", True),
        (["categoryIds"], "Categories", True),
        (["customerCount"], "Customers", False),
        (["customerRating"], "Customers", False),
        (["orders"], "Orders", False),
        (["id"], "Customers", False),
        (["details", "x1"], "Customers", False),
        (["parentCustomer"], "Customers", True),
        (["cust"], "Customers", False),
        (["pricePerCustomer"], "Customers", False),
        (["minCustomer"], "Customers", False),
        (["customerStationery"], "Stations", False),
        (["orderStatusId"], "OrderStatuses", True),
        (["orderStatus"], "OrderStatuses", True),
    ],
)
def test_names_that_say_an_id_of_an_entry(steps, entry, right):
    assert names.means(steps, entry, many=False) is right


def test_a_number_named_like_its_own_entry_is_no_certain_reference():
    """`memberNo` of a member is probably its own number; `memberNo` of a loan is the member's."""
    members = [{"id": {"N": str(n)}, "memberNo": {"N": str(61 - n)}} for n in range(1, 61)]
    loans = [{"id": {"N": str(900 + 7 * n)}, "memberNo": {"N": str(n % 60 + 1)}} for n in range(200)]
    found = {f.table: f.is_certain for f in findings_of({"Members": members, "Loans": loans})}
    assert found == {"Members": False, "Loans": True}


def test_a_list_may_have_the_name_of_its_entry():
    assert names.means(["orders"], "Orders", many=True)


def test_a_sketch_does_not_depend_on_the_order_of_the_pages():
    """Nor do samples, from which the template comes."""
    made = database(3, "prefix")
    turned = {name: items[::-1] for name, items in made.items.items()}
    there, back = ([one.as_json() for one in findings_of(items, page=1_000)] for items in (made.items, turned))
    assert [one | {"line": bool(one["line"])} for one in there] == [one | {"line": bool(one["line"])} for one in back]


def test_different_values_of_one_number_type():
    """Codes of numbers are the numbers; those of texts lie below zero, also of digits with leading zeros."""
    codes = np.array([evidence.code_of(one) for one in ("0", "7", "1" * 19, "07", "²", "x", "9" * 19, "1" * 20)])
    assert codes[:3].tolist() == [0, 7, int("1" * 19)]
    assert (codes[3:] < 0).all()
    assert len({*codes.tolist()}) == 8


def test_no_value_leaves_the_findings():
    """Counts and names alone, in all that is listed."""
    made = database(1, "uuid")
    ids = {one["id"]["S"] for items in made.items.values() for one in items}
    shown = json.dumps([one.as_json() for one in findings_of(made.items)])
    assert shown != "[]"
    assert not any(one in shown for one in itertools.islice(ids, 500))


def test_the_line_to_paste_is_read_as_it_is_meant():
    """Names that YAML takes for something else, or that have signs in them, stand in quotes."""
    names = ["no", "on", "a b", "it's", "y#"]
    items = {"Users": [{"id": text(one)} for one in UUIDS[:30]]}
    items["Tasks"] = [{"id": text(UUIDS[50 + n]), **dict.fromkeys(names, text(UUIDS[n % 30]))} for n in range(40)]
    lines = [parse_value(found.line) for found in findings_of(items)]
    assert sorted(lines, key=str) == sorted(({name: "Users"} for name in names), key=str)


def test_an_id_inside_its_attribute_is_no_finding_there_and_one_elsewhere():
    """What stands beside it is data, and refers to others where the text says so; also numbers that several entries have."""
    orders = [{"PK": text(f"ORDER#{n}"), "SK": text(f"ORDER#{n}")} for n in range(1, 41)]
    lines = [{"PK": text(f"ORDER#{n % 40 + 1}#LINE#{n}"), "SK": text("x")} for n in range(1, 81)]
    notes = [{"id": text(f"N{n}"), "orderNo": text(f"{n}"), "lineRef": text(f"line {n}")} for n in range(1, 41)]
    items = {"Orders": orders, "Lines": lines, "Notes": notes}
    models = {
        "Orders": {"id": {"in": "SK", "as": "ORDER#{id}"}},
        "Lines": {"id": {"in": "PK", "as": "ORDER#{*}#LINE#{id}"}},
    }
    found = {(f.table, f.path, f.to): f.line for f in findings_of(items, models) if f.is_certain}
    assert found == {
        ("Orders", "PK", "Orders"): 'PK: "ORDER#{Orders}"',
        ("Lines", "PK", "Orders"): 'PK: "ORDER#{Orders}#LINE#{*}"',
        ("Notes", "orderNo", "Orders"): "orderNo: Orders",
        ("Notes", "lineRef", "Lines"): 'lineRef: "line {Lines}"',
    }
    declared = {("Orders", "PK"): "ORDER#{Orders}", ("Lines", "PK"): "ORDER#{Orders}#LINE#{*}"}
    for (entry, path), rule in declared.items():
        models[entry] = {**models[entry], "references": {path: rule}}
    open_, _ = undeclared(findings_of(items, models), entries_of(list(items), models))
    assert {one.table for one in open_ if one.is_certain} == {"Notes"}


def test_what_leads_to_a_path_declares_it():
    """All values of a map, the parts of a text, and names with signs in them."""
    users = [{"id": text(one)} for one in UUIDS[:40]]
    rows = [
        {"id": text(f"R{n}"), "by": {"M": {"first": text(UUIDS[n]), "last": text(UUIDS[n + 1])}}, "a.b": text(UUIDS[n]),
         "codes": text(",".join(UUIDS[n : n + 3]))}
        for n in range(30)
    ]  # fmt: skip
    models = {"Rows": {"references": {"by{}": "Users", r"a\.b": "Users", "codes:split(,)[]": "Users"}}}
    items = {"Users": users, "Rows": rows}
    assert undeclared(findings_of(items, models), entries_of(list(items), models)) == ([], [])


# short ids at one place of texts


PRODUCTS = [f"p{n}" for n in range(1, 9)]
WORDS = ["new", "open", "paid", "sent"]
DAYS = [f"{n:02}" for n in range(1, 41)]


def in_lines(texts: list[str], ids: list[str], rules: dict | None = None, page: int = 50) -> list[Finding]:
    """What is undeclared in the keys of a single table's lines, where products have these ids."""
    items = {
        "Products": [{"PK": text(f"P#{one}"), "SK": text("META")} for one in ids],
        "Orders": [{"id": text(one)} for one in UUIDS[:40]],
        "Lines": [{"PK": text(f"L{n}x"), "SK": text(one)} for n, one in enumerate(texts)],
    }
    models = {"Products": {"id": {"in": "PK", "as": "P#{id}"}}, "Lines": {"id": None, "references": rules or {}}}
    open_, _ = undeclared(findings_of(items, models, page), entries_of(list(items), models))
    return [one for one in open_ if one.table == "Lines"]


@pytest.mark.parametrize(
    ("form", "line"),
    [
        ("LINE#{n:03}#{id}", "LINE#{*}#{Products}"),
        ("{id}#LINE#{n:03}", "{Products}#LINE#{*}"),
        ("LINE#{id}#{n}", "LINE#{Products}#{*}"),
        ("{n}#{word}#{id}", "{*}#{*}#{Products}"),
        ("{n}#{word}#{id}#{n}", "{*}#{*}#{Products}#{*}"),
        ("line/{n}/{id}", "line/{*}/{Products}"),
        ("line_{n}_{id}", "line_{*}_{Products}"),
        ("line-{n}-{id}", "line-{*}-{Products}"),
        ("2024-01-1{n}T08:0{n}:00Z#{id}", "{*}#{Products}"),
        ("{id}#{other}", "{Products}#{Products}"),
        ("ORDER#{order}#{id}", "ORDER#{Orders}#{Products}"),
        ("{id}", "Products"),
    ],
)
def test_short_ids_at_one_place_of_a_key_are_a_finding(form, line):
    """Wherever the place is, whatever separates it, and beside ids that can be recognised."""
    texts = [
        form.format(id=PRODUCTS[n % 8], other=PRODUCTS[n * 3 % 8], n=n % 7, word=WORDS[n % 4], order=UUIDS[n % 40])
        for n in range(120)
    ]
    found = in_lines(texts, PRODUCTS)
    (one,) = [one for one in found if one.to == "Products"]
    assert (one.path, one.values, one.found) == ("SK", 120, 120)
    assert parse_value(one.line) == {"SK": line}
    assert one.is_certain
    assert {one.line for one in found} == {one.line}
    assert in_lines(texts, PRODUCTS, {"SK": line}) == []


def test_two_short_ids_between_commas_are_a_list():
    """As many as there are in other texts, too; what is at each place is seen, and one line says both."""
    (one,) = in_lines([f"{PRODUCTS[n % 8]},{PRODUCTS[n * 3 % 8]}" for n in range(120)], PRODUCTS)
    assert (one.line, one.is_certain) == ('"SK:split(,)[]": Products', True)


def test_short_ids_are_seen_in_a_part_of_large_pages():
    """Some of the texts are taken apart; the number of those that hold ids is of all."""
    (one,) = in_lines([f"LINE#{n % 3}#p{n % 8 + 1}" for n in range(4_000)], PRODUCTS, page=2_000)
    assert (one.line, one.values, one.found, one.is_certain) == ('SK: "LINE#{*}#{Products}"', 4_000, 4_000, True)
    ids = [f"p{n}" for n in range(1, 6_001)]
    (one,) = in_lines([f"LINE#{n % 3}#{ids[n * 7 % 6_000]}" for n in range(6_000)], ids, page=50)
    assert (one.values, one.found, one.is_certain) == (6_000, 6_000, True)


def test_short_ids_in_some_of_the_texts_are_a_finding():
    """Others have another form, or the place holds what is no id; the line says what most texts have."""
    for others in ("META", "LINE#7#none"):
        texts = [others if n % 4 == 0 else f"LINE#{n % 3}#{PRODUCTS[n % 7]}" for n in range(120)]
        (one,) = in_lines(texts, PRODUCTS)
        assert (one.line, one.values, one.found, one.is_certain) == ('SK: "LINE#{*}#{Products}"', 120, 90, True)
    texts = ["META" if n % 4 else f"LINE#{n % 3}#{PRODUCTS[n // 4 % 8]}" for n in range(120)]
    texts = [one if n % 4 == 0 else f"META{'xyz'[n % 3] * (n % 9)}" for n, one in enumerate(texts)]
    (one,) = in_lines(texts, PRODUCTS)
    assert (one.line, one.values, one.found, one.is_certain) == (None, 120, 30, True)


def test_short_ids_beside_what_a_rule_takes_are_undeclared():
    """The line says both."""
    texts = [f"ORDER#{UUIDS[n % 40]}#{PRODUCTS[n % 8]}" for n in range(120)]
    (one,) = in_lines(texts, PRODUCTS, {"SK": "ORDER#{Orders}#{*}"})
    assert (one.to, one.line, one.declared) == ("Products", 'SK: "ORDER#{Orders}#{Products}"', "Orders")
    assert one.is_certain


@pytest.mark.parametrize(
    ("form", "ids"),
    [
        ("LINE#{counter}#x", [f"{n}" for n in range(1, 9)]),
        ("LINE#{padded}#x{n}", [f"{n:03}" for n in range(1, 61)]),
        ("STATE#{code}#x{n}", [f"{n}" for n in range(1, 9)]),
        ("D#2024-{month}-{day}#x", DAYS),
        ("D#2024#{month}#x", DAYS),
        ("D#2024-01-01T{month}:{minute}:00Z#x", [f"{n:02}" for n in range(60)]),
        ("{minute}.{day}", [f"{n}" for n in range(60)]),
        ("KIND#LINE#x{n}", ["LINE", *PRODUCTS]),
        ("{half}#{n}", PRODUCTS),
        ("{name} {name}", PRODUCTS),
        ("t-{n}/CUS-{counter}", [f"{n}" for n in range(1, 10)]),
    ],
)
def test_what_else_stands_in_keys_is_no_finding(form, ids):
    """Counters, codes, dates, times, decimals, words; what only half of the texts have of the ids."""
    texts = [
        form.format(
            n=n, counter=n % 9 + 1, padded=f"{n % 9 + 1:03}", code=n % 4 + 1, month=f"{n % 12 + 1:02}", day=f"{n % 28 + 1:02}",
            minute=f"{n * 7 % 60:02}", half=PRODUCTS[n % 8] if n % 2 else f"q{n % 8}", name=("Ann", "Bob", "Cy")[n % 3],
        )
        for n in range(240)
    ]  # fmt: skip
    assert in_lines(texts, ids) == []


@pytest.mark.parametrize(
    ("form", "ids", "line"),
    [
        ("T#p{few}#x{n}", PRODUCTS, "T#{Products}#{*}"),
        ("VERSION#v{some}#x{n}", [f"v{n}" for n in range(1, 10)], "VERSION#{Products}#{*}"),
        ("T#v{some}#x{n}", [f"v{n}" for n in range(1, 200)], "T#{Products}#{*}"),
        ("STATE#{word}#x{n}", [*WORDS, "lost"], "STATE#{Products}#{*}"),
        ("LINE#{many}#x", [f"{n}" for n in range(1, 61)], "LINE#{Products}#x"),
        ("DAY#{day}#x", DAYS, "DAY#{Products}#x"),
    ],
)
def test_what_may_be_ids_or_not_is_a_note_with_the_line(form, ids, line):
    """Few texts, a small part of the ids, a word for a measure before them, many numbers in a row."""
    texts = [
        form.format(n=n, few=n % 5 + 1, some=n % 9 + 1, word=WORDS[n % 4], many=n % 25 + 1, day=f"{n % 31 + 1:02}")
        for n in range(240)
    ]
    (one,) = in_lines(texts, ids)
    assert (parse_value(one.line), one.is_certain) == ({"SK": line}, False)


def test_an_own_id_in_its_slot_is_no_finding_where_the_entries_come_later():
    """As in a draft: what stands beside it is looked at all the same, with its own id taken out."""
    ids = [f"o{n}" for n in range(1, 61)]
    lines = [{"SK": text(f"{PRODUCTS[n % 8]}#{one}#{ids[n * 7 % 60]}")} for n, one in enumerate(ids)]
    seen = Evidence(["table"])
    seen.look("table", Reader(), lines, as_columns(lines))
    names = ["Products", "Lines"]
    entries = entries_of(names, {"Lines": {"id": {"in": "SK", "as": "{*}#{id}#{*}"}}})
    held = {name: evidence.Ids() for name in names}
    held["Products"].add(PRODUCTS)
    held["Lines"].add(ids)
    joined = seen.joined({"table": "Lines"}, held, entries)
    found = find_references(joined.columns(), joined, entries)
    assert [(one.path, one.to, one.found, one.is_certain) for one in found] == [
        ("SK", "Lines", 60, True),
        ("SK", "Products", 60, True),
    ]


@pytest.mark.parametrize(
    "closed",
    [UUIDS[0], "2024-01-31", "2024-01-31T08:15:00.123Z", "08:15", "31/01/2024", "12.50", "10.0.0.7", "ORD-2024-7"],
)
def test_what_holds_no_bare_id_has_no_slots(closed):
    """Alone, and beside what may hold some."""
    assert {seen.parts[0] for seen in slots_of([f"{closed}#p2", f"{closed}#p3"]).values()} == {"p2"}
    assert [seen.parts for seen in slots_of([closed]).values()] == [["ORD"]] * closed.startswith("ORD")


SLOTS = st.lists(st.text(st.sampled_from("aB10-_#/.:% 2F\0é"), max_size=18), min_size=1, max_size=12)


@settings(max_examples=300)
@given(SLOTS)
def test_what_stands_in_a_slot_is_where_the_slot_is(texts):
    """In each text that has the form, in the order of the texts."""
    for slot, seen in slots_of(texts).items():
        spans = [(text, span) for text in texts if (span := slot.span(text))]
        assert [*seen.parts] == [unescaped(text.replace("\0", " "))[slice(*span)] for text, span in spans]
        assert seen.number == len(spans)


# what the line says is so


FORMS = {
    "plain": lambda ids, n: text(ids[0]),
    "list": lambda ids, n: {"L": [*map(text, ids)]},
    "set": lambda ids, n: {"SS": sorted({*ids})},
    "values": lambda ids, n: {"M": {f"{one}": text(one) for one in ids}},
    "nested": lambda ids, n: {"M": {"b.c": {"M": {"[x]": text(ids[0])}}}},
    "json": lambda ids, n: text(json.dumps({"a.b": ids[0], "l": ids, "m": {ids[1]: {"by": ids[2]}}})),
    "mixed": lambda ids, n: text(json.dumps({"n": n, "about": "x", ids[1]: {"by": ids[2]}})),
    "also mixed": lambda ids, n: {"M": {"say": text("yes"), ids[1]: text(ids[2])}},
    "comma": lambda ids, n: text(",".join(ids[: 1 + n % 3])),
    "commas and blanks": lambda ids, n: text(" , ".join(ids[: 1 + n % 3])),
    "bar": lambda ids, n: text("|".join(ids[: 2 + n % 2])),
    "dots": lambda ids, n: text("...".join(ids)),
    "closing": lambda ids, n: text(")".join(ids[: 1 + n % 3])),
    "word": lambda ids, n: text(" and ".join(ids[: 2 + n % 2])),
    "prefix": lambda ids, n: text(f"it's: {{{ids[0]}}}"),
    "date before": lambda ids, n: text(f"2024-0{1 + n % 9}-1{n % 7}#ref#{ids[0]}"),
    "time behind": lambda ids, n: text(f"REF#{ids[0]}#2024-01-0{1 + n % 7}T08:0{n % 7}:00Z"),
    "two": lambda ids, n: text(f"A#{ids[0]}#{n}#B#{ids[1]}"),
    "any word": lambda ids, n: text(f"{'abcdefg'[n % 7] * (1 + n % 3)}/{ids[0]}"),
    "own id": lambda ids, n: text(f"REF#{ids[0]}#OWN#own-{n:03}"),
    "free": lambda ids, n: text(f"{'x ' * (n % 5)}see {ids[0]}{' y' * (n % 3)}"),
    "some": lambda ids, n: text(ids[0] if n % 2 else f"none {n}"),
}  # fmt: skip
NAMES = [
    "a",
    "no",
    "a.b",
    "x:y",
    "m[0]",
    "q{}",
    "back\\slash",
    'say "hi"',
    "it's",
    "t\ttab",
    "null",
    "ü",
    "k{keys}",
    "1e3",
    "a b",
]


@settings(max_examples=20)
@given(
    st.lists(
        st.tuples(st.sampled_from(NAMES), st.sampled_from([*FORMS])), min_size=1, max_size=4, unique_by=lambda x: x[0]
    ),
    st.sampled_from(["uuid", "CUS-{}", "cus#{}"]),
    st.sampled_from(["one", "two", "same"]),
    st.booleans(),
    st.integers(0, 99),
)
def test_every_line_loads_and_what_it_says_is_so(placed, style, parents, inside, seed):
    """Whatever the form, the attribute's name and the ids: with the lines in the mapping nothing is found, and no id is left."""
    ids = UUIDS[:60] if style == "uuid" else [style.format(1_000 + n) for n in range(60)]
    owners = {"one": [ids], "two": [ids[:30], ids[30:]], "same": [ids, ids]}[parents]
    items = {f"Parents{at}": [{"id": text(one)} for one in own] for at, own in enumerate(owners)}
    chosen = [[ids[(seed + n * 7 + k * 11) % 60] for k in range(3)] for n in range(70)]
    items["Rows"] = [
        {"id": text(f"R-{n:04}"), **({"key": FORMS["own id"](chosen[n], n)} if inside else {})}
        | {name: FORMS[form](chosen[n], n) for name, form in placed}
        for n in range(70)
    ]
    own = {"id": {"in": "key", "as": "{*}#OWN#{id}"}} if inside else {}
    open_, _ = undeclared(findings_of(items, {"Rows": own}), entries_of(list(items), {"Rows": own}))
    lines = [parse_value(one.line) for one in open_ if one.line]
    models = {"Rows": {**own, "references": {path: rule for line in lines for path, rule in line.items()}}}
    entries = entries_of(list(items), models)  # all of it loads
    found = undeclared(findings_of(items, models), entries)[0]
    said = {one.path for one in open_ if one.line}
    assert said.isdisjoint(one.path for one in found)
    body = {
        "defaults": {"source": "{table}-s", "target": "{table}-t"},
        "tables": {name: models.get(name, {}) for name in items},
    }
    known = {name: {one["id"]["S"] for one in of} for name, of in items.items()}
    route = routes_of(json.dumps(body), exists=lambda entry, old: old.get("S") in known[entry])["Rows"].route
    rows = [route(item) for item in items["Rows"]]
    tops = {one.steps[0] for one in open_ if one.line} - {one.steps[0] for one in open_ if not one.line}
    for row in rows:
        assert row.unreadable == []
        left = json.dumps({name: value for name, value in row.item.items() if name in tops}, ensure_ascii=False)
        assert not [one for one in ids if re.search(whole_part(re.escape(one)), left)]
        assert {parent for _, parent, *_ in row.references} <= items.keys()
