"""Conditions of `where` and of queries: what they say, and what they mean."""

import base64
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import meaning, values

from runbook_lib.mapping.conditions import Comparison, Condition, holds, read, read_key
from runbook_lib.values import from_python

PLACES = {"a": "a", "m.a": "m", r"m\.a": "m.a"}


def says(wanted, value, path="a"):
    """Whether an item with this value at the path meets the condition; absent where the value is None."""
    item = {} if value is None else {"a": value}
    if path == "m.a":
        item = {"m": {"M": item}}
    return holds((read(path, wanted),))(item)


@given(values, values)
def test_equality_is_typed(left, right):
    """As in DynamoDB: numbers by value, sets without order, types must agree."""
    condition = holds((Condition(("a",), (Comparison("=", (right,)),)),))
    assert condition({"a": left}) == (meaning(left) == meaning(right))
    assert not condition({"b": right})


comparable = st.one_of(
    st.sampled_from(["", "a", "ab", "b", "é", "\uffff", "\U00010000"]).map(lambda s: {"S": s}),
    st.sampled_from(["-1", "0", "-0", "1", "1.0", "2", "10", "9.5", "1E1"]).map(lambda n: {"N": n}),
    st.sampled_from(["", "AA==", "AAA=", "AP8=", "/w=="]).map(lambda b: {"B": b}),
)
others = st.sampled_from([{"BOOL": True}, {"NULL": True}, {"L": []}, {"SS": ["a"]}])


def ordered(value):
    """Python's own order of what a value means."""
    ((letter, content),) = value.items()
    return Decimal(content) if letter == "N" else content.encode() if letter == "S" else base64.b64decode(content)


@given(comparable | others, comparable, comparable)
def test_comparisons_are_by_value_within_one_type(value, low, high):
    """Text by UTF-8, numbers by value, binary by bytes; across types and for other types never true."""
    letter = next(iter(value))

    def meets(word, *operands):
        return holds((Condition(("m", "a"), (Comparison(word, operands),)),))({"m": {"M": {"a": value}}})

    same = letter in low
    assert meets("lt", low) == (same and ordered(value) < ordered(low))
    assert meets("le", low) == (same and ordered(value) <= ordered(low))
    assert meets("gt", low) == (same and ordered(value) > ordered(low))
    assert meets("ge", low) == (same and ordered(value) >= ordered(low))
    if "N" not in low:
        assert meets("begins_with", low) == (same and ordered(value).startswith(ordered(low)))
    assume(low.keys() == high.keys())
    assert meets("between", low, high) == (same and ordered(low) <= ordered(value) <= ordered(high))


@pytest.mark.parametrize(
    ("wanted", "meeting", "failing"),
    [
        ("x", [{"S": "x"}], [{"S": "y"}, None, {"NULL": True}]),
        ([1, "x", None], [{"N": "1.0"}, {"S": "x"}, {"NULL": True}], [{"S": "1"}, None]),
        ({"begins_with": "VISIT#"}, [{"S": "VISIT#1"}, {"S": "VISIT#"}], [{"S": "visit#1"}, {"N": "1"}, None]),
        ({"exists": True}, [{"S": ""}, {"NULL": True}, {"BOOL": False}], [None]),
        ({"exists": False}, [None], [{"S": ""}, {"NULL": True}]),
        ({"not": "x"}, [None, {"S": "y"}, {"N": "1"}], [{"S": "x"}]),
        ({"not": ["x", "y"]}, [None, {"S": "z"}], [{"S": "x"}, {"S": "y"}]),
        ({"not": {"begins_with": "a"}}, [None, {"S": "b"}, {"L": []}], [{"S": "ab"}]),
        ({"not": {"not": {"exists": True}}}, [{"S": "x"}], [None]),
        ({"ge": 5, "lt": 10}, [{"N": "5"}, {"N": "9.99"}], [{"N": "10"}, {"N": "4"}, {"S": "7"}, None]),
        ({"not": {"ge": 5, "lt": 10}}, [{"N": "10"}, None, {"S": "7"}], [{"N": "5"}]),
        ({"exists": True, "not": [1, 2]}, [{"N": "3"}, {"S": "1"}], [{"N": "2"}, None]),
        ({"between": ["a", "b"]}, [{"S": "a"}, {"S": "b"}], [{"S": "ba"}, None]),
        (True, [{"BOOL": True}], [{"S": "true"}, {"N": "1"}]),
    ],
)
@pytest.mark.parametrize("path", ["a", "m.a"])
def test_what_the_words_mean(wanted, meeting, failing, path):
    """At the top of an item and inside a map; a condition on an absent attribute is false, under `not` true."""
    assert [value for value in meeting if not says(wanted, value, path)] == []
    assert [value for value in failing if says(wanted, value, path)] == []


@pytest.mark.parametrize(
    "item", [{}, {"a": {"NULL": True}}, {"a": {"S": "b"}}, {"a": {"L": [{"S": "x"}]}}, {"a": {"M": {"c": {"S": "x"}}}}]
)
def test_a_path_that_leads_nowhere_is_never_true(item):
    """Absent is not null, not less and not equal; under `not` it is true."""
    for wanted in ("x", {"lt": "x"}, {"le": "x"}, {"gt": ""}, {"ge": ""}, {"begins_with": "x"}, None, {"exists": True}):
        assert not holds((read("a.b", wanted),))(item)
        assert holds((read("a.b", {"not": wanted}),))(item)


def test_a_name_with_a_dot_is_one_attribute():
    """With the backslash of every path."""
    assert holds((read(r"a\.b", 1),))({"a.b": {"N": "1"}})
    assert not holds((read("a.b", 1),))({"a.b": {"N": "1"}})


@pytest.mark.parametrize(
    ("path", "wanted", "says"),
    [
        ("a", [], "is an empty list, which selects nothing; give a value"),
        ("a", {}, "compares with nothing; give a value, or one of "),
        ("a", {"<": 1}, "'<' is no word of a condition; write lt"),
        ("a", {">=": 1}, "'>=' is no word of a condition; write ge"),
        ("a", {"$in": [1]}, "'.in' is no word of a condition; write a list"),
        ("a", {"begin_with": "x"}, "'begin_with' is no word of a condition; did you mean 'begins_with'?"),
        ("a", {"begins_with": 5}, "begins_with compares with one text, in quotes; give that alone"),
        ("a", {"begins_with": ["x", "y"]}, "begins_with compares with one text, in quotes; give that alone"),
        ("a", {"begins_with": ""}, "every text begins with nothing"),
        ("a", {"lt": True}, "lt compares with one text or number; give that alone"),
        ("a", {"lt": None}, "lt compares with one text or number; give that alone"),
        ("a", {"between": [9, 1]}, "between needs two values of one type, the smaller one first"),
        ("a", {"between": [1, "9"]}, "between needs two values of one type"),
        ("a", {"between": [1]}, "between needs two values; write \\[from, to\\]"),
        ("a", {"exists": "yes"}, "exists: 'yes' is neither true nor false"),
        ("a", {"not": {}}, "compares with nothing"),
        ("a", {"not": {"like": "x"}}, "'like' is no word of a condition"),
        ("a[]", 1, "leads to several values"),
        ("a:json.b", 1, "leads to several values, or into text"),
        ("", 1, "is not a path"),
    ],
)
def test_what_no_condition_can_say(path, wanted, says):
    """Each with what to write."""
    with pytest.raises(ValueError, match=says):
        read(path, wanted)


def test_key_values_are_read_as_the_keys_type():
    """2025 without quotes is text where the key is text."""
    assert read_key("a.b", {"begins_with": 2025}, "S") == Condition(
        ("a.b",), (Comparison("begins_with", ({"S": "2025"},)),)
    )
    assert read_key("n", "7.0", "N").tests[0].values == ({"N": "7"},)
    assert read_key("b", "AA==", "B").tests[0].values == ({"B": "AA=="},)
    for wanted in ([1, 2], {"not": 1}, {"exists": True}, {"ge": 1, "lt": 5}):
        with pytest.raises(ValueError, match="a query asks one thing of a key"):
            read_key("n", wanted, "N")


@given(
    comparable, comparable, comparable, st.sampled_from(["lt", "le", "gt", "ge"]), st.sampled_from(["lt", "gt", "ge"])
)
def test_words_that_some_value_meets_are_not_refused(value, low, high, word, other):
    """Whatever they are: only what no value meets is."""
    words = {word: plain(low), "not": {other: plain(high)}} if word == other else {word: plain(low), other: plain(high)}
    assume(None not in (plain(low), plain(high)))
    tests = [Comparison(word, (low,)), Comparison(other, (high,))]
    if word == other:
        tests[1] = Comparison("not", (), (tests[1],))
    if holds((Condition(("a",), tuple(tests)),))({"a": value}):
        assert read("a", words).tests


def plain(value):
    """As YAML would have it; None where YAML has no such value."""
    return value.get("S", Decimal(value["N"]) if "N" in value else None)


def test_values_are_typed_as_yaml_types_them():
    """As everywhere in the file."""
    assert read("a", {"lt": Decimal("1.50")}).tests == (Comparison("lt", (from_python(Decimal("1.5")),)),)
