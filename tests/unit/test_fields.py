"""Fields: constants, values from inside attributes, parts of texts, values that stand for others, dates in other spellings."""

import copy

import pytest
from compiled import mapping_of, routes_of
from hypothesis import given
from hypothesis import strategies as st
from strategies import items, values

from runbook_lib.mapping.routes import Reject, Row
from runbook_lib.report.samples import changes
from runbook_lib.stages.analyze import skew
from runbook_lib.stages.validate.compare import id_attribute
from runbook_lib.stages.validate.groups import rule_of
from runbook_lib.values import MAX_LEVELS
from runbook_lib.walk.ledger import Ledger
from runbook_lib.walk.plan import _is_injective
from runbook_lib.walk.preread import key_attributes

HEAD = "defaults: {source: t, target: u, id: null}\ntables:\n"
KEY = {"pk": {"S": "k"}}
NULL = {"NULL": True}
DEEP = MAX_LEVELS + 1


def route_of(fields: str, more: str = "rest: more", keys: str = "{pk: S}"):
    """The route of entry A with these fields, beside the key pk."""
    return routes_of(
        f"{HEAD}  A: {{create: {{key: {keys}}}, fields: {{pk: {{from: pk}}, {fields}}}, {more}}}", {"A": {"pk": "S"}}
    )["A"]


def made(fields: str, source: dict, more: str = "rest: more") -> dict:
    """The target item without its key; it must be one. The source item is never changed."""
    before = copy.deepcopy(source)
    row = route_of(fields, more).route({**KEY, **source})
    assert isinstance(row, Row), row
    assert source == before
    return {name: value for name, value in row.item.items() if name != "pk"}


def rejected(fields: str, source: dict, more: str = "rest: more") -> tuple[str, str]:
    """Attribute and reason of the quarantined item."""
    reject = route_of(fields, more).route({**KEY, **source})
    assert isinstance(reject, Reject), reject
    return reject.attribute, reject.reason


def told(fields: str, *source: dict, more: str = "rest: more") -> dict[str, dict[str, int]]:
    """The ledger: attribute → word → items, without the key."""
    route = route_of(fields, more)
    rows = [route.route({**KEY, **item}) for item in source]
    found = Ledger(route.entry).page(rows)
    return {name: {word: n for word, n in words.items() if n} for name, words in found.items() if name != "pk"}


# constants


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("2", {"N": "2"}),
        ("1.50", {"N": "1.5"}),
        ("two", {"S": "two"}),
        ("''", {"S": ""}),
        ("true", {"BOOL": True}),
        ("null", NULL),
        ("[]", {"L": []}),
        ("[1, [a]]", {"L": [{"N": "1"}, {"L": [{"S": "a"}]}]}),
        ("{a: {b: null}}", {"M": {"a": {"M": {"b": NULL}}}}),
        ("'{{a}}'", {"S": "{a}"}),
    ],
)
def test_a_constant_has_the_type_it_is_written_in(written, value):
    """Text in it is no template. A template can read the field."""
    assert made(f"v: {{value: {written}}}", {"a": {"S": "x"}}, "drop: [a]") == {"v": value}
    if "N" in value:
        assert made(f"v: {{value: {written}}}, t: 'v{{v}}'", {})["t"] == {"S": f"v{value['N']}"}


def test_a_constant_takes_no_value_of_the_item():
    """An attribute of its name goes where it would have gone."""
    assert made("v: {value: 2}", {"v": {"N": "1"}}) == {"v": {"N": "2"}, "more": {"M": {"v": {"N": "1"}}}}
    assert told("v: {value: 2}", {"v": {"N": "1"}}, {"v": {"N": "2"}}) == {"v": {"rest": 2}}


# values inside attributes


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("info.rating", {"N": "8"}),
        ("info.deep.x", {"SS": ["a"]}),
        ("info.deep", {"M": {"x": {"SS": ["a"]}}}),
        ("info.none", NULL),
        ("info.a\\.b", {"S": "dotted"}),
        ("'js:json.customer.id'", {"S": "c-1"}),
        ("'js:json.customer.n'", {"N": "12345678901234567890.123"}),
        ("'js:json.yes'", {"BOOL": True}),
        ("'js:json.none'", NULL),
        ("'js:json.list'", {"L": [{"N": "1"}, {"S": "S"}]}),
        ("'js:json.typed'", {"M": {"S": {"S": "x"}}}),
        ("'js:json.inner:json.k'", {"S": "v"}),
        ("'info.js:json.k'", {"S": "v"}),
        ("'info.js:json'", {"M": {"k": {"S": "v"}}}),
    ],
)
def test_from_reads_inside_an_attribute(path, value):
    """Through maps and JSON text. The attribute itself goes where it would have gone."""
    source = {
        "info": {
            "M": {
                "rating": {"N": "8"},
                "deep": {"M": {"x": {"SS": ["a"]}}},
                "none": NULL,
                "a.b": {"S": "dotted"},
                "js": {"S": '{"k": "v"}'},
            }
        },
        "js": {
            "S": '{"customer": {"id": "c-1", "n": 12345678901234567890.123}, "yes": true, "none": null, "list": [1, "S"], '
            '"typed": {"S": "x"}, "inner": "{\\"k\\": \\"v\\"}"}'
        },
    }
    assert made(f"v: {{from: {path}}}", source) == {"v": value, "more": {"M": source}}
    assert made(f"v: {{from: {path}}}", source, "drop: [info, js]") == {"v": value}
    assert told(f"v: {{from: {path}}}", source) == {"info": {"rest": 1}, "js": {"rest": 1}}


def test_what_is_read_inside_an_attribute_does_not_use_it_up():
    """Without `rest` it quarantines the item, as any attribute that no rule uses up."""
    assert rejected("v: {from: info.a}", {"info": {"M": {}}}, "drop: []")[0] == "info"


@pytest.mark.parametrize(
    "source",
    [
        {},
        {"info": NULL},
        {"info": {"S": "x"}},
        {"info": {"M": {"other": {"S": "x"}}}},
        {"info": {"L": []}},
        {"js": {"S": ""}},
        {"js": NULL},
        {"js": {"S": "null"}},
        {"js": {"S": "[1]"}},
        {"js": {"S": '{"b": 1}'}},
        {"js": {"S": '{"a": null}'}},
    ],
)
def test_where_the_path_leads_to_nothing_the_field_is_absent_or_takes_the_default(source):
    """Maps without the name, other types on the way, JSON without it."""
    absent = made("v: {from: info.a}, w: {from: 'js:json.a.b'}", source)
    assert absent.keys() == ({"more"} if source else set())
    filled = made("v: {from: info.a, default: 1}, w: {from: 'js:json.a.b', default: x}", source)
    assert (filled["v"], filled["w"]) == ({"N": "1"}, {"S": "x"})


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"S": "{"}, "text that is not JSON"),
        ({"S": '{"a": 1, "a": 2}'}, "JSON text with the same name twice"),
        ({"S": '{"a": "\\ud800"}'}, "JSON text with half a character (a lone surrogate)"),
        ({"S": '{"a": 1e999}'}, "a number out of DynamoDB's range"),
        (
            {"S": '{"a": ' + "[" * DEEP + "]" * DEEP + "}"},
            f"JSON text nested more than {MAX_LEVELS} levels deep",
        ),
        ({"S": "[" * 100_000}, f"JSON text nested more than {MAX_LEVELS} levels deep"),
        ({"N": "1"}, "type N is not JSON text"),
        ({"M": {}}, "type M is not JSON text"),
    ],
)
def test_what_is_no_json_text_goes_by_on_error(value, reason):
    """A field never takes part of what cannot be read."""
    source = {"js": value}
    assert rejected("v: {from: 'js:json.a'}", source) == ("js:json.a", f"v needs a part of it: {reason}")
    default = "v: {from: 'js:json.a', default: 0, on_error: default}"
    assert made(default, source) == {"v": {"N": "0"}, "more": {"M": source}}
    assert made("v: {from: 'js:json.a', on_error: rest}", source) == {"more": {"M": source}}
    route = route_of(default)
    rows = [route.route({**KEY, **item}) for item in (source, {"js": {"S": '{"a": 1}'}}, {"js": {"S": "{}"}}, {})]
    assert Ledger(route.entry).fallen(rows) == ({"v": 1}, {"v": 2})


@pytest.mark.parametrize(
    ("fields", "source", "item"),
    [
        ("t: '{info.rating}'", {"info": {"M": {"rating": {"N": "8.0"}}}}, {"t": {"S": "8"}}),
        ("t: 'r{info.rating|none}'", {"info": {"M": {}}}, {"t": {"S": "rnone"}}),
        ("t: 'r{info.rating}'", {}, {}),
        ("t: '{info.at:%Y-%m|0000}'", {"info": {"M": {"at": {"S": "2025-08-09"}}}}, {"t": {"S": "2025-08"}}),
        ("t: '{info.at:%Y-%m|0000}'", {}, {"t": {"S": "0000"}}),
        ("t: '{a\\.b}'", {"a.b": {"S": "x"}}, {"t": {"S": "x"}}),
        ("t: '{a\\:b}'", {"a:b": {"S": "x"}}, {"t": {"S": "x"}}),
        ("t: '{a\\|b|c}'", {"a|b": {"S": "x"}}, {"t": {"S": "x"}}),
        ("t: '{a\\|b|c}'", {}, {"t": {"S": "c"}}),
        ("t: '{a\\\\}'", {"a\\": {"S": "x"}}, {"t": {"S": "x"}}),
        ("t: '{a\\[0\\]}'", {"a[0]": {"S": "x"}}, {"t": {"S": "x"}}),
    ],
)
def test_holes_read_inside_maps(fields, source, item):
    """A backslash makes a character of the grammar part of the name."""
    found = made(fields, source)
    assert {name: value for name, value in found.items() if name != "more"} == item


def test_a_hole_whose_whole_text_names_a_field_reads_that_field():
    """Whether the name holds a dot or not. A path that goes on reads the source."""
    fields = "'info\\.a': {value: field}, t: '{info\\.a}', u: '{info.a}', info: {value: 1}, w: '{info.a}{info}'"
    found = made(fields, {"info": {"M": {"a": {"S": "source"}}}}, "drop: [info]")
    assert found["info.a"] == {"S": "field"}
    assert (found["t"], found["u"], found["w"]) == ({"S": "field"}, {"S": "source"}, {"S": "source1"})


def test_a_hole_of_a_key_names_the_path_in_its_reason():
    """The path as the mapping has it, and no value."""
    text = f"{HEAD}  A: {{create: {{key: {{k: S}}}}, fields: {{k: '{{info.a}}'}}, rest: more}}"
    reject = routes_of(text)["A"].route({"id": {"S": "1"}, "info": {"M": {"b": {"S": "secret"}}}})
    assert (reject.attribute, reject.reason) == ("info.a", "k needs it: absent")


def test_a_field_reads_what_drop_leaves_out_below_an_attribute():
    """So a value can move up. What a field copies as a whole loses what is dropped inside it."""
    source = {"info": {"M": {"rating": {"N": "8"}, "secret": {"S": "x"}, "in": {"M": {"secret": {"S": "y"}}}}}}
    drop = "rest: more, drop: [info.rating, info.secret, 'info{}.secret']"
    left = {"info": {"M": {"in": {"M": {}}}}}
    assert made("rating: {from: info.rating}, t: '{info.secret}'", source, drop) == {
        "rating": {"N": "8"},
        "t": {"S": "x"},
        "more": {"M": left},
    }
    assert made("i: {from: info}, n: {from: info.in}", source, drop) == {"i": left["info"], "n": {"M": {}}}


def test_a_value_that_falls_back_has_lost_what_is_dropped_inside_it():
    """It goes to the rest as the rest would hold it. A value of which nothing is left is none."""
    source = {"info": {"M": {"secret": {"S": "x"}, "a": {"S": "y"}}}}
    drop = "rest: more, drop: [info.secret]"
    assert made("i: {from: info, type: number, on_error: rest}", source, drop) == {
        "more": {"M": {"info": {"M": {"a": {"S": "y"}}}}}
    }
    tags = {"tags": {"SS": ["a"]}}
    assert made("t: {from: tags}", tags, "drop: ['tags[]']") == {}
    assert made("t: {from: tags, default: []}", tags, "drop: ['tags[]']") == {"t": {"L": []}}


# parts of texts


@pytest.mark.parametrize(
    ("form", "value", "part"),
    [
        ("VISIT#{value}", {"S": "VISIT#2024#1"}, "2024#1"),
        ("{*}#{value}", {"S": "VISIT#1"}, "1"),
        ("{*}#{value}#{*}", {"S": "a#b#c"}, "b"),
        ("{value}/x", {"S": "1/x"}, "1"),
        ("-{value}", {"N": "-5E+1"}, "50"),
        ("1.{value}", {"N": "1.50"}, "5"),
        ("{{{value}}}", {"S": "{a}"}, "a"),
    ],
)
def test_as_takes_out_a_part(form, value, part):
    """What the hole takes; a number is read by its canonical text."""
    rule = f"v: {{from: a, as: '{form}'}}"
    assert made(rule, {"a": value}) == {"v": {"S": part}}
    assert made(f"v: {{from: m.a, as: '{form}'}}", {"m": {"M": {"a": value}}}, "drop: [m]") == {"v": {"S": part}}
    assert told(rule, {"a": value}) == {"a": {"converted": 1}}


@pytest.mark.parametrize(
    "value", [{"S": "REG#1"}, {"S": "VISIT#"}, {"N": "5"}, {"BOOL": True}, {"SS": ["VISIT#1"]}, {"B": "AAAA"}]
)
def test_what_does_not_fit_goes_by_on_error(value):
    """It is never taken in part."""
    attribute, reason = rejected("v: {from: a, as: 'VISIT#{value}'}", {"a": value})
    assert attribute == "a"
    assert reason.startswith("v needs a part of it: ")
    assert made("v: {from: a, as: 'VISIT#{value}', default: x, on_error: default}", {"a": value}) == {"v": {"S": "x"}}
    assert made("v: {from: a, as: 'VISIT#{value}', on_error: rest}", {"a": value}) == {"more": {"M": {"a": value}}}
    route = route_of("v: {from: a, as: 'VISIT#{value}', on_error: stop}")
    assert route.route({**KEY, "a": value}).stop


@pytest.mark.parametrize("value", [None, NULL, {"S": ""}])
def test_absent_null_and_empty_values_are_no_mistakes(value):
    """They take the default, or stay as they are: under `as`, `values` and `type: datetime` as under the other types."""
    source = {} if value is None else {"a": value}
    for rule in ("as: 'V#{value}'", "values: {x: 1}", "type: datetime, read: iso, write: epoch_millis"):
        assert made(f"v: {{from: a, {rule}}}", source) == ({} if value is None else {"v": value})
        assert made(f"v: {{from: a, {rule}, default: 7}}", source) == {"v": {"N": "7"}}
        assert told(f"v: {{from: a, {rule}, default: 7}}", source) == {"a": {"defaulted": 1}}


def test_type_and_values_apply_to_what_was_taken_out():
    """Exactly, as ever."""
    assert made("v: {from: a, as: 'N{value}', type: number}", {"a": {"S": "N07"}}) == {"v": {"N": "7"}}
    assert made("v: {from: a, as: 'N{value}', values: {'1': one}}", {"a": {"S": "N1"}}) == {"v": {"S": "one"}}
    date = "v: {from: a, as: 'D{value}', type: datetime, read: '%Y%m%d', write: iso}"
    assert made(date, {"a": {"S": "D20240131"}}) == {"v": {"S": "2024-01-31T00:00:00Z"}}
    assert rejected("v: {from: a, as: 'N{value}', type: number}", {"a": {"S": "Nx"}}) == (
        "a",
        "v needs a number: text that is not a plain decimal number",
    )


# values that stand for others


@pytest.mark.parametrize(
    ("value", "there"),
    [
        ({"S": "yes"}, {"BOOL": True}),
        ({"S": "1"}, {"S": "one"}),
        ({"N": "1.0"}, {"S": "one"}),
        ({"BOOL": True}, {"N": "1"}),
        ({"S": "true"}, {"N": "1"}),
        ({"S": "same"}, {"S": "same"}),
        ({"S": "gone"}, NULL),
    ],
)
def test_values_map_the_text_of_a_value(value, there):
    """Text as it is, a number's canonical form, true and false."""
    rule = "v: {from: a, values: {'yes': true, '1': one, 'true': 1, same: same, gone: null}}"
    assert made(rule, {"a": value}) == {"v": there}
    assert told(rule, {"a": value}) == {"a": {"copied" if there == value else "converted": 1}}


@pytest.mark.parametrize(
    "value", [{"S": "Yes"}, {"S": " yes"}, {"N": "2"}, {"BOOL": False}, {"L": [{"S": "yes"}]}, {"B": "eWVz"}]
)
def test_other_values_go_by_on_error(value):
    """Nothing is guessed."""
    rule = "from: a, values: {'yes': 1}"
    assert rejected(f"v: {{{rule}}}", {"a": value}) == (
        "a",
        "v needs one of its `values`: a value that `values` does not name",
    )
    assert made(f"v: {{{rule}, on_error: rest}}", {"a": value}) == {"more": {"M": {"a": value}}}
    assert made(f"v: {{{rule}, default: 0, on_error: default}}", {"a": value}) == {"v": {"N": "0"}}
    route = route_of(f"v: {{{rule}, default: 0, on_error: default}}")
    rows = [route.route({**KEY, "a": one}) for one in (value, {"S": "yes"})]
    assert [list(row.fell_back) for row in rows] == [["v"], []]
    assert Ledger(route.entry).fallen(rows) == ({"v": 1}, {"v": 2})


# what asks about fields


RULES = [
    "v: {from: a, as: 'A{value}', on_error: rest}",
    "v: {from: a, values: {A: 1, '0': {S: a}}, default: A, on_error: default}",
    "v: {from: a, type: datetime, read: epoch_seconds, write: iso, on_error: rest}",
    "v: {from: 'a:json.a', default: 0, on_error: default}, w: {from: a.b.c}",
    "v: {from: a.b, type: string, on_error: rest}, a: {value: {a: 1}}",
]


@given(st.lists(items | st.dictionaries(st.sampled_from("ab"), values, max_size=2), max_size=4))
def test_every_attribute_of_every_row_has_one_word(found):
    """Whatever the values: nothing is unaccounted."""
    for rule in RULES:
        route = route_of(rule)
        rows = [row for row in (route.route({**item, **KEY}) for item in found) if isinstance(row, Row)]
        for name, words in Ledger(route.entry).page(rows).items():
            assert not words["unaccounted"], (rule, name)


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ("as: 'V#{value}'", {"S": "V#1"}),
        ("values: {a: 1}", {"S": "a"}),
        ("type: datetime, read: iso, write: epoch_millis", {"S": "2024-01-01"}),
    ],
)
@pytest.mark.parametrize("beside", [0, 1])
def test_a_value_that_the_rule_does_not_make_is_unaccounted(rule, value, beside):
    """The ledger makes it again and compares."""
    route = route_of(f"v: {{from: a, {rule}}}")
    rows = [route.route({**KEY, "a": value}) for _ in range(2)]
    rows[0].item = {**rows[0].item, "v": {"S": "another"}}
    assert Ledger(route.entry).page(rows[: 1 + beside])["a"]["unaccounted"] == 1


def test_a_new_id_that_is_taken_apart_is_looked_for():
    """What a reference was rewritten to, and then made of it, is made again as well."""
    text = (
        "defaults: {source: t, target: u}\ntables:\n  A: {id_format: keep, references: {p: B}, rest: more, fields: "
        "{id: {from: id}, p: {from: p, as: '{value}-{*}-{*}-{*}-{*}'}}}\n  B: {}\n"
    )
    route = routes_of(text)["A"]
    row = route.route({"id": {"S": "1"}, "p": {"S": "2"}})
    assert Ledger(route.entry).page([row])["p"] == {"rewritten": 1}
    row.item["p"] = {"S": "another"}
    assert Ledger(route.entry).page([row])["p"] == {"unaccounted": 1}


def test_a_new_id_inside_a_text_is_looked_for_where_a_field_takes_it_out():
    """As the field would take it out of the text that holds the new one."""
    text = (
        "defaults: {source: t, target: u}\ntables:\n  A: {id: {in: pk, as: 'A#{id}#{*}'}, rest: more, "
        "fields: {a: {from: pk, as: 'A#{value}#{*}'}, b: {from: pk, as: 'A#{*}#{value}'}, pk: {from: pk}}}\n"
    )
    route = routes_of(text, {"A": {"pk": "S"}})["A"]
    row = route.route({"pk": {"S": "A#1#x"}})
    assert (row.item["a"], row.item["b"]) == ({"S": row.new_id}, {"S": "x"})
    assert Ledger(route.entry).page([row])["pk"] == {"rewritten": 1}
    row.item = {"a": row.item["a"]}
    assert Ledger(route.entry).page([row])["pk"] == {"rewritten": 1}
    row.item = {"a": {"S": "1"}, "b": {"S": "y"}}
    assert Ledger(route.entry).page([row])["pk"] == {"unaccounted": 1}


@pytest.mark.parametrize(
    ("fields", "attributes"),
    [
        ("pk: {from: info.a}", {"info"}),
        ("pk: '{info.a}#{b\\.c}'", {"info", "b.c"}),
        ("pk: '{x}', x: {from: 'js:json.a'}", {"x", "js"}),
        ("pk: '{x}#{x.y}', x: {value: 1}", {"x"}),
        ("pk: {from: a, as: 'A{value}'}", {"a"}),
    ],
)
def test_a_key_is_known_by_the_attributes_that_make_it(fields, attributes):
    """Those at the top, which a Scan can be asked for. They are enough to make the key."""
    text = f"{HEAD}  A: {{create: {{key: {{pk: S}}}}, fields: {{{fields}}}, rest: more}}"
    route = routes_of(text, {"A": {"pk": "S"}})["A"]
    assert key_attributes(route.entry, route.shape) == {"pk", *attributes}
    item = {
        "info": {"M": {"a": {"S": "i"}}},
        "b.c": {"S": "b"},
        "js": {"S": '{"a": "j"}'},
        "x": {"M": {"y": {"S": "y"}}},
        "a": {"S": "A1"},
    }
    row = route.route({**KEY, **item})
    assert (
        route.key_of({name: value for name, value in {**KEY, **item}.items() if name in attributes | {"pk"}}) == row.key
    )


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("{value: 2}", "fields.v: constant"),
        ("{from: info.a}", "fields.v: from info.a"),
        ("{from: info.p}", "fields.v: from info.p, reference info.p"),
        ("{from: info}", "fields.v: from info, reference info.p"),
        ("{from: a, as: 'A{value}'}", "fields.v: from a as A{value}"),
        ("{from: id}", "fields.v: from id, id"),
        ("{from: id.x}", "fields.v: from id.x"),
    ],
)
def test_what_made_an_attribute(rule, said):
    """As 04 says it of a difference."""
    text = f"defaults: {{source: t, target: u}}\ntables:\n  A: {{references: {{info.p: A}}, fields: {{v: {rule}}}, rest: more}}\n"
    assert rule_of(mapping_of(text).entries["A"], "v") == said


@pytest.mark.parametrize(
    ("rule", "is_injective"),
    [
        ("{from: pk}", True),
        ("{from: pk, type: string}", False),
        ("{from: pk, as: 'A{value}'}", False),
        ("{from: pk, values: {a: b}}", False),
        ("{from: pk, type: datetime, read: iso, write: iso}", False),
        ("{from: pk.x}", False),
        ("{value: x}", False),
    ],
)
def test_which_rules_keep_keys_apart(rule, is_injective):
    """Only what copies the source's key; of all others two items may get one key."""
    text = f"{HEAD}  A: {{create: {{key: {{k: S}}}}, fields: {{k: {rule}}}, rest: more}}"
    assert _is_injective(routes_of(text, {"A": {"pk": "S"}})["A"]) is is_injective


def test_a_constant_key_is_one_partition():
    """As a template without holes is."""
    text = (
        f"{HEAD}  A: {{create: {{key: {{k: S}}}}, fields: {{k: {{value: 'a{{b'}}, n: {{value: 1}}, t: x}}, rest: more}}"
    )
    route = routes_of(text)["A"]
    assert [skew._template(route, name) for name in ("k", "n", "t", "other")] == ["a{{b", None, "x", None]


def test_what_a_sample_says_of_each_field():
    """What was done, and from where; the value's shape alone."""
    fields = (
        "v: {value: 2}, r: {from: info.rating}, d: {from: none.such, default: 0}, ts: {from: SK, as: 'V#{value}'}, "
        "y: {from: said, values: {'1': true}}, at: {from: at, type: datetime, read: iso, write: epoch_seconds}, "
        "f: {from: f, values: {a: 1}, default: x, on_error: default}, t: '{info.rating}-{info.none|no}'"
    )
    item = {
        **KEY,
        "info": {"M": {"rating": {"N": "8"}}},
        "SK": {"S": "V#secret"},
        "said": {"S": "1"},
        "at": {"S": "2024-01-01"},
        "f": {"S": "b"},
    }
    route = route_of(fields)
    found = {one.attribute: one for one in changes(item, route.route(item), route.entry)}
    assert {name: (one.kind, one.what) for name, one in found.items() if name != "pk"} == {
        "v": ("made", "a constant"),
        "r": ("renamed", "renamed from info.rating"),
        "d": ("default", "default"),
        "ts": ("converted", "taken out as V#{value} from SK"),
        "y": ("converted", "by `values` from said"),
        "at": ("converted", "iso → epoch_seconds from at"),
        "f": ("default", "default, because it does not convert"),
        "t": ("made", "made by template {info.rating}-{info.none|no}"),
        "info": ("moved", "moved to more"),
    }
    assert (found["v"].shown, found["t"].shown) == ("<b>2</b>", "9<b>-</b><b>no</b>")


@pytest.mark.parametrize(
    ("id_rule", "rule", "is_it"),
    [
        ("id", "{from: id}", True),
        ("id", "{from: id, type: string}", True),
        ("id", "{from: id.x}", False),
        ("id", "{from: id, values: {a: b}}", False),
        ("id", "{from: id, as: 'A{value}'}", False),
        ("{in: id, as: 'A{id}'}", "{from: id, as: 'A{value}'}", True),
        ("{in: id, as: 'A{id}'}", "{from: id, as: '{value}#{*}'}", False),
    ],
)
def test_which_field_holds_the_id(id_rule, rule, is_it):
    """04 knows an item in the target by it."""
    text = f"defaults: {{source: t, target: u}}\ntables:\n  A: {{id: {id_rule}, fields: {{v: {rule}}}, rest: more}}\n"
    assert id_attribute(mapping_of(text).entries["A"]) == ("v" if is_it else None)
