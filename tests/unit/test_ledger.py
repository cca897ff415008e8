"""The ledger: what became of every source attribute, looked for in the target items."""

from collections import Counter

import pytest
from compiled import routes_of
from hypothesis import given
from hypothesis import strategies as st
from strategies import items, values

from runbook_lib import values as typed
from runbook_lib.mapping.routes import Row
from runbook_lib.values import add_counts
from runbook_lib.verdict import FAIL, REVIEW
from runbook_lib.walk import ledger
from runbook_lib.walk.ledger import WORDS, Ledger

HEAD = "defaults: {source: t, target: u, id: id}\ntables:\n"
COPY = HEAD + (
    "  A: {references: {p: A, 'l[]': A, 's[]': A, m.p: A, 'j:json.p': A, text: 'A#{A}', "
    "gone: {to: A, dangling: 'null'}}, drop: [d]}\n"
)
PATHS = ("p: {to: A", "'l[]': {to: A", "'s[]': {to: A", "m.p: {to: A", "'j:json.p': {to: A", "text: {to: 'A#{A}'")
REMOVE = HEAD + f"  A: {{references: {{{', '.join(f'{path}, dangling: remove}}' for path in PATHS)}}}, drop: [d]}}\n"
SPLIT = (
    HEAD
    + """
  A:
    id_format: keep
    references: {p: P}
    fields:
      key: "{id}"
      id: {from: id}
      parent: {from: p}
      again: {from: p}
      n: {from: n, type: number, default: 0, on_error: default}
      f: {from: f, type: number, on_error: rest}
      b: {from: b, type: boolean}
      empty: {from: e, default: none}
    rest: more
    drop: [d]
  P: {}
"""
)


def rows_of(text: str, source: list[dict], exists=None) -> tuple[list[Row], Ledger]:
    """The rows of entry A, and its ledger."""
    route = routes_of(text, exists=exists)["A"]
    rows = [row for row in map(route.route, source) if isinstance(row, Row)]
    return rows, Ledger(route.entry)


def counted(text: str, *source: dict, exists=None) -> dict[str, dict[str, int]]:
    """Attribute → word → items, of items that all have a row."""
    rows, of = rows_of(text, [{"id": {"S": f"i{n}"}, **item} for n, item in enumerate(source)], exists)
    assert len(rows) == len(source)
    return {name: dict(counts) for name, counts in of.page(rows).items()}


def test_a_copy():
    """New ids and rewritten references wherever they stand; what is dropped; all else as it is."""
    found = counted(
        COPY,
        {
            "p": {"S": "i1"},
            "l": {"L": [{"S": "i1"}, {"N": "1"}]},
            "s": {"SS": ["i1"]},
            "m": {"M": {"p": {"S": "i1"}, "q": {"S": "x"}}},
            "j": {"S": '{"p": "i1"}'},
            "text": {"S": "A#i1"},
            "gone": {"S": "nobody"},
            "d": {"S": "x"},
            "plain": {"M": {"p": {"S": "i1"}}},
        },
        {
            "p": {"NULL": True},
            "l": {"L": []},
            "m": {"M": {"q": {"S": "x"}}},
            "j": {"S": "not JSON"},
            "text": {"S": "B#i1"},
            "d": {"NULL": True},
        },
        exists=lambda entry, old: old != {"S": "nobody"},
    )
    rewritten = ("p", "l", "m", "j", "text")
    assert found == {
        "id": {"rewritten": 2},
        **{name: {"rewritten": 1, "copied": 1} for name in rewritten},
        "s": {"rewritten": 1},
        "gone": {"rewritten": 1},
        "d": {"dropped": 2},
        "plain": {"copied": 1},
    }


RECORDS = (
    HEAD
    + """
  A: {references: {p: A, 'l[]': A, 's[]': A, m.p: A, 'j:json.p': A, text: '{A}|{A}'}}
  Log:
    references:
      after: {record_of: A}
      before: {record_of: {table_named_by: of}}
      'many[]': {record_of: A}
      both: {record_of: A}
      both.by: A
"""
)
RECORD = {
    "id": {"S": "i1"},
    "p": {"S": "i2"},
    "l": {"L": [{"S": "i1"}, {"NULL": True}]},
    "s": {"SS": ["i1", "i2"]},
    "m": {"M": {"p": {"S": "i1"}, "q": {"M": {"p": {"S": "i1"}}}}},
    "j": {"S": '{"p": "i1", "q": 1}'},
    "text": {"S": "i1|i2"},
    "n": {"N": "1.0"},
}


def log_of(**more: dict) -> tuple[Row, Ledger]:
    """The row of an item of a log that holds whole records, and the ledger."""
    route = routes_of(RECORDS)["Log"]
    return route.route({"id": {"S": "l1"}, **more}), Ledger(route.entry)


@pytest.mark.parametrize(
    "more",
    [
        {"after": {"M": RECORD}},
        {"after": {"M": {"id": {"S": "i1"}}}},
        {"both": {"M": {**RECORD, "by": {"S": "i3"}}}},
        {"before": {"M": RECORD}, "of": {"S": "A"}},
        {"many": {"L": [{"M": RECORD}, {"M": {"n": {"N": "1"}}}]}},
    ],
)
def test_a_whole_record_that_is_a_map_is_rewritten(more):
    """Under the attribute itself, in a list, by the name that another attribute holds, and with a path inside it."""
    row, of = log_of(**more)
    name = next(iter(more))
    assert row.item[name] != row.source[name]
    assert {word: n for word, n in of.page([row, row])[name].items() if n} == {"rewritten": 2}


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record.pop("n"),
        lambda record: record.update(x={"S": "x"}),
        lambda record: record.update(n={"N": "1"}),
        lambda record: record.update(m={"M": {"p": record["m"]["M"]["p"], "q": {"S": "lost"}}}),
        lambda record: record.update(m={"M": {"p": record["m"]["M"]["p"]}}),
        lambda record: record.update(l={"L": record["l"]["L"][:1]}),
        lambda record: record.update(p={"N": "1"}),
    ],
)
@pytest.mark.parametrize("name", ["after", "before", "both"])
def test_a_record_that_lost_something_is_unaccounted(name, change):
    """The ledger compares it with what was there: members, and values at which no rule writes."""
    row, of = log_of(**{name: {"M": RECORD}, "of": {"S": "A"}})
    change(row.item[name]["M"])
    assert of.page([row])[name] == {"unaccounted": 1}


def test_a_text_with_two_ids_of_which_one_became_null():
    """All of the text is null then, whichever of the two it was."""
    text = HEAD + "  A: {references: {text: {to: '{A}|{A}', dangling: 'null'}}}\n"
    known = {"S": "i0"}
    found = counted(
        text, {"text": {"S": "i0|gone"}}, {"text": {"S": "gone|i0"}}, exists=lambda entry, old: old == known
    )
    assert found["text"] == {"rewritten": 2}


def test_a_split():
    """Fields, conversions, defaults, the rest. An attribute that is copied to two fields counts once."""
    found = counted(
        SPLIT,
        {
            "p": {"S": "x"},
            "n": {"S": "1"},
            "f": {"S": "1"},
            "b": {"S": "TRUE"},
            "e": {"S": ""},
            "d": {"S": "x"},
            "z": {"S": "x"},
        },
        {
            "p": {"NULL": True},
            "n": {"N": "1"},
            "f": {"N": "1.0"},
            "b": {"BOOL": False},
            "e": {"S": "x"},
            "z": {"L": []},
        },
        {"n": {"S": "many"}, "f": {"S": "many"}, "e": {"NULL": True}, "more": {"M": {"y": {"S": "x"}}}},
        {"n": {"NULL": True}, "more": {"M": {}}},
        {},
    )
    assert found == {
        "id": {"copied": 5},
        "p": {"rewritten": 1, "copied": 1},
        "n": {"converted": 1, "copied": 1, "defaulted": 3},
        "f": {"converted": 1, "copied": 1, "rest": 1},
        "b": {"converted": 1, "copied": 1},
        "e": {"defaulted": 4, "copied": 1},
        "d": {"dropped": 1},
        "z": {"rest": 2},
        "more": {"rest": 2},
    }


def test_the_rest_that_keeps_its_names():
    """It lies beside the fields. A value that fell back there is the rest, too."""
    text = (
        HEAD
        + "  A: {id_format: keep, fields: {id: {from: id}, n: {from: n, type: number, on_error: rest}}, rest: copy, drop: [d]}"
    )
    found = counted(text, {"n": {"S": "x"}, "z": {"S": "x"}, "d": {"S": "x"}}, {"n": {"S": "1"}, "z": {"S": "x"}})
    assert found == {"id": {"copied": 2}, "n": {"rest": 1, "converted": 1}, "z": {"rest": 2}, "d": {"dropped": 1}}


def test_ids_that_are_converted_in_turn():
    """A number's new id as text, JSON text with new ids in it as a map."""
    text = HEAD + (
        "  A: {id_format: number, references: {p: A, 'j:json.p': A}, rest: more, fields: "
        "{id: {from: id, type: string}, p: {from: p, type: string}, j: {from: j, type: map}}}"
    )
    route = routes_of(text, {"A": {"id": "N"}}, targets={"A": {"id": "S"}})["A"]
    rows = [route.route({"id": {"N": "1"}, "p": {"N": "2"}, "j": {"S": '{"p": 2}'}})]
    assert Ledger(route.entry).page(rows) == {name: Counter(rewritten=1) for name in ("id", "p", "j")}


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        (COPY, "plain", None),
        (COPY, "plain", {"S": "another"}),
        (COPY, "p", {"S": "no id of anything"}),
        (COPY, "p", None),
        (COPY, "m", {"S": "no map"}),
        (COPY, "id", {"S": "another"}),
        (SPLIT, "n", {"N": "2"}),
        (SPLIT, "n", None),
        (SPLIT, "b", {"BOOL": False}),
        (SPLIT, "parent", {"S": "another"}),
        (SPLIT, "more", {"M": {"plain": {"S": "another"}, "m": {"M": {}}}}),
        (SPLIT, "more", None),
    ],
)
@pytest.mark.parametrize("beside", [0, 1])
def test_a_value_that_is_found_nowhere_is_unaccounted(text, name, value, beside):
    """The ledger looks: it does not conclude from the rules that all is well. Alone on a page, or beside a sound row."""
    source = {"id": {"S": "i"}, "p": {"S": "x"}, "m": {"M": {"p": {"S": "x"}}}, "plain": {"S": "x"}}
    if text is SPLIT:
        source |= {"n": {"S": "1"}, "b": {"S": "true"}}
    rows, of = rows_of(text, [source, {**source, "id": {"S": "sound"}}])
    assert not any(counts["unaccounted"] for counts in of.page(rows).values())
    rows[0].item = {**rows[0].item, name: value}
    if name == "parent":
        rows[0].item["again"] = value
    if value is None:
        del rows[0].item[name]
    found = of.page(rows[: 1 + beside])
    lost = {n for n, counts in found.items() if counts["unaccounted"]}
    assert lost == ({"plain", "m"} if name == "more" else {"p"} if name == "parent" else {name})
    assert all(sum(counts.values()) == 1 + beside for counts in found.values())


@pytest.mark.parametrize("dangling", ["remove", "'null'"])
def test_the_default_stands_for_a_reference_that_was_taken_away(dangling):
    """One that stays is rewritten, also where another of its list goes."""
    text = (
        HEAD
        + f"""
  A:
    references: {{p: {{to: A, dangling: {dangling}}}, "l[]": {{to: A, dangling: remove}}}}
    fields: {{id: {{from: id}}, parent: {{from: p, default: none}}, list: {{from: l, default: [none]}}}}
"""
    )
    source = [{"p": {"S": p}, "l": {"L": [{"S": p}, {"S": "gone"}]}} for p in ("i0", "gone")]
    found = counted(text, *source, {}, exists=lambda entry, old: old == {"S": "i0"})
    assert found["p"] == found["l"] == {"rewritten": 1, "defaulted": 2}


def test_only_the_default_itself_stands_for_an_empty_value():
    """Anything else in its place does not come from the item."""
    rows, of = rows_of(SPLIT, [{"id": {"S": "i"}, "n": {"S": ""}}, {"id": {"S": "j"}}])
    assert of.page(rows)["n"] == {"defaulted": 2}
    for row in rows:
        row.item = {**row.item, "n": {"N": "7"}}
    assert of.page(rows).get("n") == {"unaccounted": 1}  # the other item has no such attribute


@pytest.mark.parametrize(
    ("name", "value", "there"),
    [
        ("p", {"S": "i1"}, None),
        ("l", {"L": [{"S": "gone"}, {"S": "i1"}]}, None),
        ("l", {"L": [{"S": "gone"}, {"S": "i1"}]}, {"L": [{"S": "another"}, {"S": "another"}, {"S": "another"}]}),
        ("m", {"M": {"p": {"S": "gone"}, "q": {"S": "x"}}}, {"M": {}}),
        ("m", {"M": {"p": {"S": "gone"}, "q": {"S": "x"}}}, None),
        ("j", {"S": '{"p": "gone"}'}, None),
    ],
)
def test_what_is_left_out_is_told_from_what_is_lost(name, value, there):
    """`dangling: remove` lets go what stands at the path, not what stands around it, nor a reference that resolves."""
    rows, of = rows_of(REMOVE, [{"id": {"S": "i"}, name: value}], exists=lambda entry, old: old != {"S": "gone"})
    assert not of.page(rows)[name]["unaccounted"]
    rows[0].item = {key: one for key, one in {**rows[0].item, name: there}.items() if one is not None}
    assert of.page(rows)[name] == {"unaccounted": 1}


def even(entry, old):
    """A source that holds about half of all ids."""
    return len(str(old)) % 2 == 0


MAPPINGS = [
    COPY,
    REMOVE,
    SPLIT,
    HEAD + "  A: {fields: {id: {from: id}, S: {from: S, type: string, on_error: rest}}, rest: M}",
]


@given(st.lists(items | st.dictionaries(st.sampled_from("pnfbedlsmjz"), values, max_size=8), max_size=6))
def test_every_attribute_of_every_row_has_one_word(found):
    """Whatever the values: nothing is unaccounted, and one page or several give the same."""
    for text in MAPPINGS:
        rows, of = rows_of(text, [{**item, "id": {"S": f"i{n}"}} for n, item in enumerate(found)], even)
        whole = of.page(rows)
        present = Counter(name for row in rows for name in row.source)
        lacking = Counter(source for source, _, _ in of._defaults for row in rows if source not in row.source)
        assert {name: sum(counts.values()) for name, counts in whole.items()} == present + lacking
        assert not any(counts["unaccounted"] for counts in whole.values())
        parts: dict = {}
        for row in rows:
            add_counts(parts, of.page([row]))
        assert parts == whole


def test_a_conversion_that_fell_back_to_null_is_a_default():
    """Neither text nor a number on either side proves no conversion."""
    text = HEAD + "  A: {fields: {id: {from: id}, n: {from: n, type: number, default: null, on_error: default}}}\n"
    assert counted(text, {"n": {"S": "1"}}, {"n": {"BOOL": True}})["n"] == {"converted": 1, "defaulted": 1}


def test_names_without_end_share_one_line(monkeypatch):
    """As in the profile."""
    monkeypatch.setattr(typed, "MAX_ATTRIBUTES", 2)
    whole: dict = {}
    for number in range(9):
        add_counts(whole, {"id": Counter(copied=1), f"n{number}": Counter(copied=1)})
    assert whole == {"id": Counter(copied=9), "n0": Counter(copied=1), typed.FURTHER: Counter(copied=8)}


def test_conversions_that_fell_back_are_counted():
    """Beside the items that have a value; null and empty are none. Without `on_error` nothing is."""
    source = [{"n": {"S": "x"}}, {"n": {"S": "1"}}, {"n": {"S": ""}}, {"f": {"BOOL": True}}, {}]
    rows, of = rows_of(SPLIT, [{"id": {"S": f"i{n}"}, **item} for n, item in enumerate(source)])
    assert of.fallen(rows) == ({"n": 1, "f": 1}, {"n": 2, "f": 1})
    rows, of = rows_of(COPY, [{"id": {"S": "i"}}])
    assert of.fallen(rows) == ({}, {})


def test_alerts():
    """What is lost stops the migration. A field that no value fits needs a decision, unless the mapping accepts it."""
    lost = {"b": Counter(unaccounted=2), "a": Counter(unaccounted=1, copied=9), "c": Counter(copied=9)}
    (alert,) = ledger.alerts("A", lost, Counter(), Counter(), [])
    assert (alert.level, alert.message) == (FAIL, "3 values at a, b neither in the target nor dropped")
    fell, valued = Counter(all=3, some=1, known=2), Counter(all=3, some=2, known=2)
    found = ledger.alerts("A", {}, fell, valued, ["known"])
    assert [(alert.level, alert.message.split(":")[0]) for alert in found] == [
        (REVIEW, "all"),
        ("", "known"),
        ("", "some"),
    ]
    assert ledger.alerts("A", {"c": Counter(copied=9)}, Counter(), Counter(), []) == []


def test_every_word_stands_in_the_report():
    """Zeros too, so that a reader need not know which are left out."""
    assert ledger.as_json({"a": Counter(copied=2)}) == {"a": {word: 2 * (word == "copied") for word in WORDS}}
