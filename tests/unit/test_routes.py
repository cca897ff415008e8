"""Routes: source item in; target item, or the reason why not, out."""

import copy
import json
from dataclasses import replace

import pytest
from compiled import mapping_of, routes_of
from hypothesis import given
from hypothesis import strategies as st
from strategies import items, meaning, texts, values

from runbook_lib import values as v
from runbook_lib.errors import Refused
from runbook_lib.mapping.ids import id_function
from runbook_lib.mapping.routes import (
    Reject,
    Row,
    Shape,
    compile_route,
    parents_of,
)
from runbook_lib.mapping.text.paths import escaped
from runbook_lib.walk.preread import key_attributes, reference_attributes

HEAD = "defaults: {source: '{table}-s', target: '{table}-t', id: id}\n"
NULL = {"NULL": True}
plain_names = st.sampled_from(["id", "S", "N", "SS", "M", "a.b", "tags", "rest", "gone"])
KEY = {"pk": {"S": "k1"}}
CREATE = "create: {key: {PK: S}, indexes: {GSI1: {G1PK: S, G1SK: S}, GSI2: {G2PK: N}}}"


def route_of(body, source=None, target=None):
    """The route of entry A with this body; source key {pk: S}, target key {PK: S} with the indexes of CREATE."""
    return routes_of(
        f"{HEAD}tables: {{A: {{{body}}}}}", {"A": source or {"pk": "S"}}, targets={"A": target} if target else None
    )["A"]


def split(fields, more="rest: rest", id_format="keep"):
    """A route that builds PK from pk, with these fields besides."""
    return route_of(
        f"id_format: {id_format}, {CREATE}, fields: {{PK: '{{pk}}', {fields}}}, drop: [pk]{', ' if more else ''}{more}"
    )


def item_of(route, attributes):
    """The target item without its key; the row must be one."""
    row = route.route({**KEY, **attributes})
    assert isinstance(row, Row), row
    return {name: value for name, value in row.item.items() if name != "PK"}


def reject_of(route, attributes):
    """Attribute and reason of a quarantined item."""
    reject = route.route({**KEY, **attributes})
    assert isinstance(reject, Reject), reject
    return reject.attribute, reject.reason


# Copies


@given(items)
def test_without_fields_everything_is_copied(item):
    """Value for value; only the id is new, and the item given is never changed."""
    item = {**item, **KEY, "id": {"S": "i"}}
    before = copy.deepcopy(item)
    row = COPY.route(item)
    assert row.item == {**before, "id": id_function("prod", "A", "uuid")({"S": "i"})}
    assert item == before
    assert (row.source_key, row.key, row.old_id, row.new_id) == (KEY, KEY, "i", row.item["id"]["S"])
    assert row.digest == v.digest(row.item)
    assert row.raw == v.serialize(row.item)


COPY = route_of("")


@given(items, st.sets(plain_names, max_size=3))
def test_drop_drops_by_name_and_nothing_else(item, dropped):
    """The rest is as it was."""
    dropped -= {"pk", "id"}
    route = route_of(f"drop: {json.dumps([escaped(name) for name in sorted(dropped)])}")
    row = route.route({**item, **KEY, "id": NULL})
    assert row.item == {name: value for name, value in {**item, **KEY, "id": NULL}.items() if name not in dropped}


@pytest.mark.parametrize(
    "value", [None, NULL, {"S": ""}, {"M": {"a": {"S": "x"}}}, {"L": []}, {"BOOL": True}, {"SS": ["a"]}]
)
def test_an_item_without_an_id_keeps_its_attributes(value):
    """Absent, null, empty, or of a type that can be no id: the listings then show the keys."""
    attributes = {} if value is None else {"id": value}
    for route in (COPY, route_of("id_format: keep")):
        row = route.route({**KEY, **attributes})
        assert row.item == {**KEY, **attributes}
        assert (row.old, row.old_id, row.new_id) == (None, '{"pk":{"S":"k1"}}', '{"pk":{"S":"k1"}}')
        assert route.id_of({**KEY, **attributes}) is None


@pytest.mark.parametrize(
    ("value", "id_format", "text"),
    [({"N": "7.0"}, "number", "7"), ({"B": "AP8="}, "uuid", "AP8="), ({"S": "x"}, "short", "x")],
)
def test_ids_as_text_in_the_row(value, id_format, text):
    """S as it is, N canonical, B base64; the new one has the same type."""
    row = route_of(f"id_format: {id_format}").route({**KEY, "id": value})
    assert row.old_id == text
    assert row.new_id == v.text_of(row.item["id"])
    assert list(row.item["id"]) == list(value)


def test_an_id_whose_type_the_format_does_not_fit_is_quarantined():
    """Where the id is no key, so that it shows only with the item."""
    assert reject_of(COPY, {"id": {"N": "7"}}) == ("id", "id_format uuid does not fit a key of type N")


@pytest.mark.parametrize(
    ("id_format", "letter", "mend"),
    [
        ("uuid", "N", "number or number15 or keep"),
        ("short", "B", "uuid or keep"),
        ("number", "S", "uuid or short or keep"),
    ],
)
def test_a_format_that_does_not_fit_the_key_type_is_refused(id_format, letter, mend):
    """Before anything is read, with the formats that fit."""
    mapping = mapping_of(f"{HEAD}tables: {{A: {{id_format: {id_format}}}}}")
    shape = Shape((("id", letter),), (("id", letter),), {})
    with pytest.raises(
        Refused,
        match=rf"^A: id_format {id_format} does not fit A-s, whose key attribute 'id' has type {letter}; use {mend}\.$",
    ):
        parents_of(mapping.entries, {"A": shape}, "prod")


def test_two_entries_on_one_table():
    """Each takes what it selects; an item goes to every entry that selects it, with that entry's own ids."""
    text = f"{HEAD}tables: {{A: {{source: s, where: {{kind: a}}}}, B: {{source: s, where: {{kind: [a, b]}}}}}}"
    routes = routes_of(text, {"A": {"pk": "S"}, "B": {"pk": "S"}})
    item = {**KEY, "id": {"S": "1"}, "kind": {"S": "a"}}
    assert [name for name, route in routes.items() if route.selects(item)] == ["A", "B"]
    assert [name for name, route in routes.items() if route.selects({**item, "kind": {"S": "b"}})] == ["B"]
    assert [name for name, route in routes.items() if route.selects({**item, "kind": {"S": "A"}})] == []
    assert routes["A"].route(item).new_id != routes["B"].route(item).new_id


# where


@pytest.mark.parametrize(
    ("where", "value", "selected"),
    [
        ("LEAD", {"S": "LEAD"}, True),
        ("LEAD", {"S": "lead"}, False),
        ("LEAD", None, False),
        ("LEAD", {"SS": ["LEAD"]}, False),
        ("LEAD", {"L": [{"S": "LEAD"}]}, False),
        ("5", {"N": "5"}, True),
        ("5", {"N": "5.0"}, True),
        ("5", {"S": "5"}, False),
        ("'5'", {"S": "5"}, True),
        ("'5'", {"N": "5"}, False),
        ("1.50", {"N": "1.5"}, True),
        ("true", {"BOOL": True}, True),
        ("true", {"BOOL": False}, False),
        ("true", {"S": "true"}, False),
        ("null", NULL, True),
        ("null", None, False),
        ("null", {"S": ""}, False),
        ("''", {"S": ""}, True),
        ("[a, 5, true]", {"S": "a"}, True),
        ("[a, 5, true]", {"N": "5"}, True),
        ("[a, 5, true]", {"BOOL": True}, True),
        ("[a, 5, true]", {"S": "true"}, False),
        ("[[a, 1]]", {"L": [{"S": "a"}, {"N": "1.0"}]}, True),
        ("123456789012345678901234567890", {"N": "123456789012345678901234567890"}, True),
        ("123456789012345678901234567890", {"N": "123456789012345678901234567891"}, False),
    ],
)
def test_where_is_typed_equality(where, value, selected):
    """A list means any of; numbers by value; absent is never equal."""
    route = route_of(f"where: {{kind: {where}}}")
    assert route.selects({**KEY, **({"kind": value} if value else {})}) is selected


def test_where_means_all_of_its_attributes():
    """And without one everything is selected."""
    route = route_of("where: {a: 1, b: x}")
    assert route.selects({"a": {"N": "1"}, "b": {"S": "x"}})
    assert not route.selects({"a": {"N": "1"}, "b": {"S": "y"}})
    assert not route.selects({"a": {"N": "1"}})
    assert route_of("").selects({})


# fields: from, type, default, on_error


@pytest.mark.parametrize("value", [None, NULL, {"S": ""}, {"L": []}, {"M": {}}, {"B": ""}])
@pytest.mark.parametrize(
    ("rule", "default"),
    [
        ("default: 0", {"N": "0"}),
        ("default: [a, 1]", {"L": [{"S": "a"}, {"N": "1"}]}),
        ("default: null", NULL),
        ("type: number, default: 0", {"N": "0"}),
        ("type: number, default: '1.50'", {"N": "1.5"}),
        ("type: list, default: []", {"L": []}),
        ("type: list, default: 'a, b'", {"L": [{"S": "a"}, {"S": "b"}]}),
        ("type: boolean, default: null", NULL),
    ],
)
def test_a_default_stands_for_absent_null_and_empty(value, rule, default):
    """It has the rule's type. Without one absent stays absent, null and empty are copied, whatever the type."""
    attributes = {} if value is None else {"x": value}
    assert item_of(split(f"a: {{from: x, {rule}}}"), attributes) == {"a": default}
    plain = {} if value is None else {"a": value}
    assert item_of(split(f"a: {{from: x, {rule.partition('default')[0].rstrip(', ')}}}"), attributes) == plain


@pytest.mark.parametrize("value", [{"N": "0"}, {"BOOL": False}, {"S": " "}, {"L": [NULL]}, {"S": "0"}])
def test_zero_false_and_blanks_are_values(value):
    """No default for them, and they arrive in the rest, too."""
    assert item_of(split("a: {from: x, default: 7}"), {"x": value}) == {"a": value}
    assert item_of(split("a: {from: x}"), {"y": value}) == {"rest": {"M": {"y": value}}}


@given(values.filter(lambda value: not v.is_empty(value)))
def test_from_copies_the_typed_value(value):
    """Exactly, sets and binary and all."""
    assert item_of(FROM, {"x": value}) == {"a": value}


FROM = split("a: {from: x}")


def test_from_may_read_one_attribute_twice_and_rename():
    """Both fields get it; it is used up."""
    assert item_of(split("a: {from: x}, b: {from: x, type: string}"), {"x": {"N": "1.0"}}) == {
        "a": {"N": "1.0"},
        "b": {"S": "1"},
    }


def test_from_reads_the_rewritten_copy():
    """`id` and references are rewritten before fields read."""
    fields = "PK: '{pk}', id: {from: id}, b: {from: by}, t: 'X#{by}#{id}'"
    entry = f"references: {{by: P}}, {CREATE}, fields: {{{fields}}}, drop: [pk], rest: r"
    text = f"{HEAD}tables: {{P: {{}}, A: {{{entry}}}}}"
    route = routes_of(text, {"A": {"pk": "S"}})["A"]
    row = route.route({**KEY, "id": {"S": "i"}, "by": {"S": "p"}})
    by, new = id_function("prod", "P", "uuid")({"S": "p"}), id_function("prod", "A", "uuid")({"S": "i"})
    assert row.item == {"PK": {"S": "k1"}, "id": new, "b": by, "t": {"S": f"X#{by['S']}#{new['S']}"}}
    assert (row.old_id, row.new_id) == ("i", new["S"])


def test_conversions():
    """By the rules of `convert`, each type once."""
    types = {"n": "number", "b": "boolean", "s": "string", "l": "list", "m": "map"}
    route = split(", ".join(f"{name}: {{from: {name}, type: {type_}}}" for name, type_ in types.items()))
    assert item_of(
        route,
        {"n": {"S": "35000.75"}, "b": {"S": "True"}, "s": {"N": "1.50"}, "l": {"S": "a, b"}, "m": {"S": '{"x": 1}'}},
    ) == {
        "n": {"N": "35000.75"},
        "b": {"BOOL": True},
        "s": {"S": "1.5"},
        "l": {"L": [{"S": "a"}, {"S": "b"}]},
        "m": {"M": {"x": {"N": "1"}}},
    }


def test_what_does_not_convert_is_quarantined_with_attribute_and_reason():
    """The source attribute is named, the field too; the value is not quoted; the source key is there."""
    reject = split("n: {from: x, type: number}").route({**KEY, "x": {"S": "7,5 Secret"}})
    assert reject[:5] == ("A", KEY, "x", "n needs a number: text that is not a plain decimal number", False)


def test_on_error_default():
    """The default stands for what does not convert, not only for what is empty."""
    route = split("n: {from: x, type: number, default: 3, on_error: default}")
    assert item_of(route, {"x": {"S": "many"}}) == {"n": {"N": "3"}}
    assert item_of(route, {"x": {"S": "4"}}) == {"n": {"N": "4"}}


def test_on_error_rest():
    """The value goes to the rest under its own name, type intact; the field is absent."""
    for value in ({"S": "many"}, {"SS": ["1"]}, {"M": {"a": {"N": "1"}}}):
        assert item_of(split("n: {from: x, type: number, on_error: rest}"), {"x": value}) == {
            "rest": {"M": {"x": value}}
        }
        copy_route = split("n: {from: x, type: number, on_error: rest}", "rest: copy")
        assert item_of(copy_route, {"x": value}) == {"x": value}
        assert item_of(split("x: {from: x, type: number, on_error: rest}", "rest: copy"), {"x": value}) == {"x": value}
    taken = split("n: {from: x, type: number, on_error: rest}, x: {from: y}", "rest: copy")
    assert reject_of(taken, {"x": {"S": "many"}, "y": {"S": "z"}}) == (
        "x",
        "a rule makes a field of the same name",
    )


def test_on_error_stop():
    """The item is rejected, and marked so that the run stops before or at it."""
    reject = split("n: {from: x, type: number, on_error: stop}").route({**KEY, "x": {"S": "many"}})
    assert (reject.attribute, reject.stop) == ("x", True)


# templates


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"S": "a b"}, "a b"),
        ({"N": "1.50E1"}, "15"),
        ({"BOOL": False}, "false"),
        ({"BOOL": True}, "true"),
        (None, "none"),
        (NULL, "none"),
        ({"S": ""}, "none"),
        ({"N": "0"}, "0"),
        ({"S": " "}, " "),
    ],
)
def test_what_a_hole_shows(value, text):
    """S as it is, N canonical, BOOL as a word; the default for absent, null and empty text."""
    attributes = {} if value is None else {"x": value}
    rest = {} if value is None else {"rest": {"M": {"x": value}}}  # a template does not use an attribute up
    assert item_of(split("t: 'T#{x|none}!'"), attributes) == {"t": {"S": f"T#{text}!"}, **rest}


def test_a_template_reads_the_converted_value_of_the_field_of_that_name():
    """Else the source value; whatever the order in which the fields stand."""
    fields = "t: '{n}/{d}/{x}/{y}', n: {from: x, type: number}, d: {from: gone, default: 5}, y: {from: z}"
    assert item_of(split(fields), {"x": {"S": "07.50"}, "z": {"S": "Z"}, "y": {"S": "unread"}, "n": {"S": "unread"}})[
        "t"
    ] == {"S": "7.5/5/07.50/Z"}


def test_templates_read_templates():
    """Those that are read are made first; a template of its own name reads the source."""
    route = split("a: '<{b}>', b: '[{c}]', c: '({c})'")
    assert item_of(route, {"c": {"S": "x"}}) == {
        "a": {"S": "<[(x)]>"},
        "b": {"S": "[(x)]"},
        "c": {"S": "(x)"},
        "rest": {"M": {"c": {"S": "x"}}},
    }


@pytest.mark.parametrize("value", [None, NULL, {"L": [{"S": "a"}]}, {"M": {}}, {"SS": ["a"]}, {"B": "AA=="}])
def test_a_hole_without_value_quarantines_a_table_key_and_leaves_an_index_key_out(value):
    """Sparse index keys are counted."""
    attributes = {} if value is None else {"x": value}
    attribute, reason = reject_of(route_of(f"{CREATE}, fields: {{PK: 'P#{{x}}'}}, rest: r"), attributes)
    assert attribute == "x"
    assert reason.startswith("PK needs it: ")
    row = split("G1PK: 'G#{x}', G1SK: '{pk}', t: 'T#{x}'").route({**KEY, **attributes})
    assert row.sparse == ["G1PK"]
    assert "G1PK" not in row.item
    assert "t" not in row.item
    assert row.item["G1SK"] == {"S": "k1"}


@pytest.mark.parametrize(
    ("value", "month"),
    [
        ({"S": "2025-08-31T23:30:00-02:00"}, "2025-09"),
        ({"S": "2025-08-01T00:30:00+02:00"}, "2025-07"),
        ({"S": "2025-08-01"}, "2025-08"),
        ({"S": "soon"}, "0000-00"),
        ({"S": ""}, "0000-00"),
        ({"N": "1754000000"}, "0000-00"),
        ({"L": []}, "0000-00"),
        (NULL, "0000-00"),
        (None, "0000-00"),
    ],
)
def test_dates_in_templates(value, month):
    """UTC; what is no ISO 8601 date takes the default. Never today."""
    route = route_of(f"{CREATE}, fields: {{PK: '{{at:%Y-%m|0000-00}}#{{pk}}'}}, rest: r")
    row = route.route({**KEY, **({"at": value} if value else {})})
    assert row.key == {"PK": {"S": f"{month}#k1"}}


def test_a_bad_date_without_a_default_quarantines_wherever_it_stands():
    """In a table key, an index key or a plain attribute; an absent or empty one is left out of an index."""
    for field in ("PK: '{at:%Y}#{pk}'", "PK: '{pk}', G1PK: '{at:%Y}'", "PK: '{pk}', t: '{at:%Y}'"):
        route = route_of(f"{CREATE}, fields: {{{field}}}, rest: r")
        assert reject_of(route, {"at": {"S": "soon"}}) == (
            "at",
            f"{field.split(', ')[-1].split(':')[0]} needs it: not an ISO 8601 date",
        )
    for value in ({"S": ""}, NULL):
        assert split("G1PK: '{at:%Y}'").route({**KEY, "at": value}).sparse == ["G1PK"]
        assert reject_of(route_of(f"{CREATE}, fields: {{PK: '{{at:%Y}}#{{pk}}'}}, rest: r"), {"at": value})[0] == "at"


# rest


@given(items)
def test_what_no_rule_names_goes_to_the_rest_map_with_its_type(item):
    """Every attribute but those that `from` and `drop` use up; nothing at all if there is none."""
    row = REST.route({**item, **KEY, "x": {"S": "X"}})
    left = {name: value for name, value in item.items() if name not in ("pk", "x", "gone", "custom")}
    if "custom" in item and "M" not in item["custom"]:
        assert row.attribute == "custom"
        return
    left |= item.get("custom", {"M": {}})["M"]
    assert row.item.get("custom", {"M": {}}) == {"M": left}
    assert {n: w for n, w in row.item.items() if n != "custom"} == {"PK": {"S": "k1"}, "a": {"S": "X"}, "t": {"S": "X"}}
    assert ("custom" in row.item) == bool(left or "custom" in item)


REST = route_of(
    f"{CREATE}, id: null, fields: {{PK: '{{pk}}', a: {{from: x}}, t: '{{x}}'}}, drop: [pk, gone], rest: custom"
)


@given(items, st.lists(plain_names, max_size=2))
def test_every_source_attribute_is_accounted_for(item, dropped):
    """Mapped, in the rest, or dropped by name: none is lost, none is made up."""
    dropped = [name for name in dropped if name not in ("pk", "rest")]
    route = route_of(
        f"{CREATE}, id: null, fields: {{PK: '{{pk}}', from_S: {{from: S}}}}, drop: {json.dumps(dropped)}, rest: rest"
    )
    item = {name: value for name, value in {**item, **KEY}.items() if name != "rest"}  # for that, see below
    row = route.route(item)
    found = {"pk": KEY["pk"]} if "pk" in dropped else {}
    found |= row.item.get("rest", {"M": {}})["M"]
    found |= {"S": row.item["from_S"]} if "from_S" in row.item else {}
    found |= {name: item[name] for name in dropped if name in item}
    assert {n: meaning(w) for n, w in found.items()} == {n: meaning(w) for n, w in item.items()}


def test_a_source_attribute_named_like_the_rest_map_is_merged():
    """If it is a map without equal names; else the item is quarantined."""
    route = split("a: {from: x}")
    merged = item_of(route, {"rest": {"M": {"old": {"N": "1"}}}, "y": {"S": "Y"}})
    assert merged == {"rest": {"M": {"old": {"N": "1"}, "y": {"S": "Y"}}}}
    assert item_of(route, {"rest": {"M": {}}}) == {"rest": {"M": {}}}
    assert reject_of(route, {"rest": {"M": {"y": {"N": "1"}}}, "y": {"N": "1"}}) == (
        "y",
        "rest already holds this name",
    )
    for value in ({"S": "text"}, {"L": []}, NULL):
        assert reject_of(route, {"rest": value})[0] == "rest"
        assert reject_of(route, {"rest": value, "y": {"S": "Y"}})[0] == "rest"


def test_rest_copy_keeps_the_names():
    """And quarantines where a rule makes an attribute of that name, also where it makes none for this item."""
    route = split("a: {from: x}, t: 'T'", "rest: copy")
    assert item_of(route, {"y": {"S": "Y"}, "rest": {"N": "1"}}) == {
        "t": {"S": "T"},
        "y": {"S": "Y"},
        "rest": {"N": "1"},
    }
    assert reject_of(route, {"a": {"S": "A"}, "x": {"S": "X"}}) == ("a", "a rule makes a field of the same name")
    assert reject_of(route, {"a": {"S": "A"}}) == ("a", "a rule makes a field of the same name")


def test_without_rest_a_left_over_attribute_quarantines():
    """The first by name, so that the listing is the same each time."""
    route = split("a: {from: x}", "")
    assert item_of(route, {"x": {"S": "X"}}) == {"a": {"S": "X"}}
    assert reject_of(route, {"z": NULL, "y": NULL}) == (
        "y",
        "no rule names this attribute, and the entry has no `rest`",
    )


# keys and limits


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "the target's partition key is absent"),
        ({"N": "1"}, "the target's partition key has type S, the value N"),
        (NULL, "the target's partition key has type S, the value NULL"),
        ({"S": ""}, "the target's partition key is empty"),
        ({"S": "é" * 1025}, "the target's partition key is 2,050 bytes; DynamoDB takes 2,048"),
    ],
)
def test_table_keys_are_checked(value, reason):
    """Present, of the table's type, not empty, not too long."""
    route = route_of(f"{CREATE}, fields: {{PK: {{from: x}}}}, drop: [pk]")
    assert reject_of(route, {"x": value} if value else {}) == ("PK", reason)
    assert isinstance(route.route({**KEY, "x": {"S": "é" * 1024}}), Row)


def test_a_sort_key_takes_1024_bytes():
    """Its own limit."""
    route = route_of("create: {key: {PK: S, SK: S}}, fields: {PK: a, SK: {from: x}}, drop: [pk]")
    assert reject_of(route, {"x": {"S": "x" * 1025}}) == (
        "SK",
        "the target's sort key is 1,025 bytes; DynamoDB takes 1,024",
    )
    assert route.route({**KEY, "x": {"S": "x" * 1024}}).key == {"PK": {"S": "a"}, "SK": {"S": "x" * 1024}}


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"G1PK": {"N": "1"}}, ("G1PK", "an index key of the target has type S, the value N")),
        ({"G1PK": NULL}, ("G1PK", "an index key of the target has type S, the value NULL")),
        ({"G1SK": {"S": ""}}, ("G1SK", "an index key of the target is empty")),
        ({"G2PK": {"S": "1"}}, ("G2PK", "an index key of the target has type N, the value S")),
        ({"G2PK": {"N": "one"}}, ("G2PK", "an index key of the target is not a number")),
        ({"G1SK": {"S": "x" * 1025}}, ("G1SK", "an index key of the target is 1,025 bytes; DynamoDB takes 1,024")),
        ({"G1PK": {"S": "x" * 2049}}, ("G1PK", "an index key of the target is 2,049 bytes; DynamoDB takes 2,048")),
    ],
)
def test_index_keys_are_checked(attributes, expected):
    """DynamoDB refuses an item whose index key has another type, is empty or too long; absent is sparse."""
    assert reject_of(split("G1PK: {from: G1PK}, G1SK: {from: G1SK}, G2PK: {from: G2PK}"), attributes) == expected
    assert item_of(split("G1PK: {from: G1PK}"), {}) == {}


@pytest.mark.parametrize(
    "value",
    [{"NS": []}, {"N": "NaN"}, {"N": "1" * 39}, {"M": {"a": {"L": [{"N": "1e200"}]}}}, {"L": [{"NS": ["1", "x"]}]}],
)
def test_what_dynamodb_cannot_hold_is_quarantined(value):
    """With a reason, in a small item and in a large one; never a crash."""
    for attributes in ({"x": value}, {"x": value, "y": {"S": "y" * 500_000}}):
        assert reject_of(COPY, attributes)[0] == ""


def test_400_kb():
    """Counted as DynamoDB counts, after the transform."""
    limit = 400 * 1024
    overhead = len("pk") + len("k1") + len("x")
    assert isinstance(COPY.route({**KEY, "x": {"S": "x" * (limit - overhead)}}), Row)
    assert isinstance(COPY.route({**KEY, "x": {"S": "\u0001" * (limit - overhead)}}), Row)  # six times as long in JSON
    assert reject_of(COPY, {"x": {"S": "x" * (limit - overhead + 1)}}) == (
        "",
        "the target item is 409,601 bytes; DynamoDB takes 409,600",
    )
    assert isinstance(
        split("a: {from: x, type: list}").route({**KEY, "x": {"S": "[" + ",".join(["1"] * 140_000) + "]"}}), Reject
    )


def nested(levels, letter="M"):
    """A value nested so many levels deep."""
    value = {"S": "x"}
    for _ in range(levels - 1):
        value = {"M": {"a": value}} if letter == "M" else {"L": [value]}
    return value


@pytest.mark.parametrize("letter", ["M", "L"])
def test_32_levels(letter):
    """DynamoDB takes no more; the rest map adds one."""
    assert isinstance(COPY.route({**KEY, "x": nested(32, letter)}), Row)
    assert reject_of(COPY, {"x": nested(33, letter)}) == ("", "the target item is nested more than 32 levels deep")
    assert item_of(split("a: {from: a}"), {"x": nested(31, letter)})
    assert reject_of(split("a: {from: a}"), {"x": nested(32, letter)})[1].endswith("32 levels deep")
    assert isinstance(COPY.route({**KEY, "x": {"L": [nested(3, letter)] * 40}}), Row)  # wide is not deep


# in general


@given(items)
def test_routes_are_pure_and_deterministic(item):
    """The item given is never changed; the same item gives the same row or reject."""
    item = {**item, **KEY}
    before = copy.deepcopy(item)
    for route in EVERYTHING:
        assert route.route(item) == route.route(copy.deepcopy(item))
        assert item == before


@given(texts.map(lambda text: f"Secret{text}"), st.sampled_from(["x", "y", "rest", "at", "G2PK", "id", "PK"]))
def test_reasons_never_quote_a_value(secret, name):
    """They are listed in files that may be shared; keys are listed as what they are."""
    for value in ({"S": secret}, {"L": [{"S": secret}]}, {"M": {secret: {"S": secret}}}, {"SS": [secret]}):
        for route in EVERYTHING:
            result = route.route({**KEY, name: value})
            if isinstance(result, Reject):
                assert "Secret" not in result.reason


EVERYTHING = [
    COPY,
    REST,
    split("a: {from: x, type: number}, b: {from: y, type: list}, G1PK: '{at:%Y-%m}', G2PK: {from: G2PK}"),
    split(
        "a: {from: x, type: map, on_error: rest}, m: {from: y, type: boolean, default: false, on_error: default}",
        "rest: copy",
    ),
    split("a: {from: x, type: string}", ""),
    route_of("references: {x: A, 'y[]': A, 'rest.a': A, 'S:json[]': 'T#{A}'}"),
]


def test_the_references_of_a_quarantined_item_are_kept():
    """They count as well: the item is in the source."""
    route = route_of(f"references: {{by: A}}, {CREATE}, fields: {{PK: '{{gone}}'}}, rest: r")
    reject = route.route({**KEY, "id": {"S": "i"}, "by": {"S": "j"}})
    assert [(f.path, f.parent, f.old) for f in reject.references] == [("by", "A", {"S": "j"})]
    assert reject.old == {"S": "i"}


# keys alone


KEYED = {
    "copied": "where: {kind: [a, b]}",
    "from": f"{CREATE}, fields: {{PK: {{from: x}}, n: {{from: n, type: number}}}}, drop: [pk], rest: r",
    "template": f"{CREATE}, fields: {{PK: '{{n}}#{{x}}', n: {{from: x, type: number, default: 5}}, y: '{{gone}}'}}, rest: r",
    "through an index key": f"{CREATE}, fields: {{PK: '{{G1PK}}#{{x|0}}', G1PK: '{{n}}', x: {{from: n}}}}, rest: r",
    "one of the rest": "create: {key: {PK: S}}, fields: {n: {from: n}}, rest: copy",
    "left over": f"{CREATE}, fields: {{PK: {{from: PK, type: string, on_error: rest}}}}, rest: copy",
}


@pytest.mark.parametrize("body", KEYED.values(), ids=KEYED)
@given(
    st.dictionaries(
        st.sampled_from(["PK", "SK", "x", "n", "y", "G1PK", "other"]),
        st.one_of(values, texts.map(lambda t: {"S": t})),
        max_size=6,
    )
)
def test_a_key_is_known_by_the_attributes_that_make_it(body, attributes):
    """Of an item with no more than those, a route tells the key that it gives to the whole item, if that passes."""
    route = route_of(body)
    item = {**attributes, "pk": {"S": "k"}, "id": {"S": "i"}, "kind": {"S": "a"}}
    wanted = key_attributes(route.entry, route.shape)
    row = route.route(item)
    key = route.key_of({name: value for name, value in item.items() if name in wanted})
    if isinstance(row, Row):
        assert key == row.key


def test_what_names_the_entry_of_a_record_is_among_the_attributes_of_references():
    """A second look at what dangles reads these alone: without it the record would name nothing."""
    route = routes_of(
        "{tables: {Log: {source: log, target: log2, references: {'was:json': {record_of: {table_named_by: of}}}}}}"
    )["Log"]
    assert reference_attributes(route.entry, route.shape) >= {"id", "was", "of"}


def test_an_entry_that_leaves_out_nothing_costs_nothing():
    """It takes what it selects: by the same function. Without TTL `expired: skip` is no rule either."""
    for rule in ("", "expired: skip"):
        route = route_of(rule)
        assert route.takes is route.selects
        assert isinstance(route.route(KEY | {"until": {"N": "1"}}), Row)


def test_what_has_expired_is_selected_and_not_taken():
    """The attribute that decides is read with the keys, and with the references."""
    plain = route_of("where: {kind: a}, expired: skip")
    entry = replace(plain.entry, expires=("until", 100))
    route = compile_route(entry, plain.shape, parents_of({"A": entry}, {"A": plain.shape}, "prod"))
    over, fresh, other = (
        {**KEY, "kind": {"S": k}, "until": {"N": n}} for k, n in (("a", "99"), ("a", "100"), ("b", "99"))
    )
    assert [[bool(f(item)) for f in (route.selects, route.takes)] for item in (over, fresh, other)] == [
        [True, False], [True, True], [False, False],
    ]  # fmt: skip
    assert route.route(over) is None
    assert route.route(fresh).item == fresh
    assert {"until", "kind"} <= key_attributes(entry, plain.shape) & reference_attributes(entry, plain.shape)
