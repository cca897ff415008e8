"""Typed values: canonical numbers, digests, equality, sizes, orders."""

import base64
import copy
import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    base64s,
    decimals,
    items,
    meaning,
    names,
    numbers,
    respelled_item,
    scalars,
    spellings,
    texts,
    values,
)

from runbook_lib import values as v

CANONICAL = re.compile(r"0|-?(?:[1-9][0-9]*|[0-9]+\.[0-9]*[1-9])")


@given(numbers)
def test_a_canonical_number_has_the_same_value_and_one_plain_form(text):
    """No exponent, no superfluous zero, no -0; the value is that of decimal.Decimal, exactly."""
    canonical = v.canonical_number(text)
    assert Decimal(canonical) == Decimal(text)
    assert CANONICAL.fullmatch(canonical)
    assert not re.match(r"-?0[0-9]", canonical)
    assert v.canonical_number(canonical) == canonical


@given(decimals().flatmap(lambda number: st.tuples(spellings(number), spellings(number))))
def test_all_spellings_of_a_number_have_one_canonical_form(pair):
    """What is equal by value is equal as canonical text."""
    assert v.canonical_number(pair[0]) == v.canonical_number(pair[1])


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("-0", "0"),
        ("-0.00e7", "0"),
        ("1.50E+2", "150"),
        ("0.10", "0.1"),
        ("100", "100"),
        ("1e0", "1"),
        ("-1E-3", "-0.001"),
        ("9" * 38, "9" * 38),
        ("0." + "9" * 38, "0." + "9" * 38),
        ("1" + "0" * 60, "1" + "0" * 60),
        ("0" * 300 + "7." + "0" * 300, "7"),
        ("9." + "9" * 37 + "E+125", "9" * 38 + "0" * 88),
        ("-1E-130", "-0." + "0" * 129 + "1"),
        ("1." + "1" * 37 + "E-130", "0." + "0" * 129 + "1" * 38),
    ],
)
def test_canonical_numbers(text, canonical):
    """The edges: zeros, exponents, 38 digits, the largest and the smallest magnitude."""
    assert v.canonical_number(text) == canonical


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "abc",
            "NaN",
            "sNaN",
            "Infinity",
            "-inf",
            "1_000",
            "1,5",
            "0x1F",
            "--1",
            "1e",
            "e1",
            ".",
            "1 2",
            " 5",
            "5\n",
        ),
        "٣",  # digits of another script are digits to Python
        *("1" * 39, "0." + "1" * 39, "1" + "0" * 37 + "1"),
        "1." + "0" * 250 + "1",  # must not be rounded to 1
        *("1e126", "-1e126", "1e401", "1e999999", "1e99999999999999999999", "9" * 400),
        *("1e-131", "1e-401", "1e-999999", "1e-99999999999999999999", "1." + "1" * 38 + "E-130"),
    ],
)
def test_what_dynamodb_calls_no_number_is_refused(text):
    """Text, NaN, more than 38 digits, out of range 1E-130 … 9.99…E+125: ValueError, never a rounded number."""
    with pytest.raises(ValueError, match=r"^(not a|a number)"):
        v.canonical_number(text)


@given(items.flatmap(lambda item: st.tuples(st.just(item), respelled_item(item))))
def test_digest_and_equality_ignore_spelling(pair):
    """Numbers by value, sets and map keys in any order: the same digest, and equal; what is given is not changed."""
    before = copy.deepcopy(pair)
    left, right = pair
    assert v.digest(left) == v.digest(right)
    assert v.equal({"M": left}, {"M": right})
    assert {name: v.canonical(value) for name, value in left.items()} == {n: v.canonical(w) for n, w in right.items()}
    assert pair == before


_close = st.one_of(  # a small world, so that equal and nearly equal values meet often
    st.sampled_from(["", "1", "1.0", "true", "a"]).map(lambda text: {"S": text}),
    st.sampled_from(["1", "1.0", "0", "-0", "10e-1", "1.0000000000000000000000000000000000001"]).map(
        lambda n: {"N": n}
    ),
    st.sampled_from(["", "MQ==", "MS4w"]).map(lambda blob: {"B": blob}),
    st.sampled_from([{"BOOL": True}, {"BOOL": False}, {"NULL": True}, {"L": []}, {"M": {}}]),
    st.lists(st.sampled_from(["1", "1.0"]), min_size=1, unique=True).map(lambda m: {"SS": m}),
    st.lists(st.sampled_from(["1", "2e0"]), min_size=1, unique=True).map(lambda m: {"NS": m}),
    st.lists(st.sampled_from(["MQ==", ""]), min_size=1, unique=True).map(lambda m: {"BS": m}),
)
_close = st.recursive(
    _close,
    lambda m: (
        st.lists(m, max_size=2).map(lambda c: {"L": c})
        | st.dictionaries(st.sampled_from("NS"), m, max_size=2).map(lambda c: {"M": c})
    ),
    max_leaves=3,
)


@given(_close, _close)
def test_digests_are_equal_exactly_for_equal_values(left, right):
    """ "1" is not 1, a list is no set, absent is not null: type and value decide, for digest and equality alike."""
    same = meaning(left) == meaning(right)
    assert v.equal(left, right) == same
    assert (v.digest({"a": left}) == v.digest({"a": right})) == same


@given(values)
def test_absent_is_equal_to_nothing(value):
    """None stands for absent; null is a value."""
    assert not v.equal(None, value)
    assert not v.equal(value, None)
    assert v.equal(None, None)


@pytest.mark.parametrize(
    "value", [{"N": "x"}, {"NS": []}, {"L": [{"N": "1" * 39}]}, {"M": {"a": {"NS": ["NaN"]}}}, {"SS": []}]
)
def test_what_is_no_legal_value_has_no_digest(value):
    """ValueError at any depth; as values they equal only themselves."""
    with pytest.raises(ValueError):
        v.digest({"a": value})
    assert v.equal(value, copy.deepcopy(value))
    assert not v.equal(value, {"N": "1"})


@pytest.mark.parametrize("text", ['"N":"', '{"N":"1.0"}', '"SS":[', '\\"N\\":\\"1.0\\"', '","N":"1.0'])
def test_text_that_looks_like_a_number_changes_nothing(text):
    """The shortcut for items that are canonical already cannot be fooled by content or by names."""
    item = {"a": {"S": text}, text: {"S": "N"}, "N": {"M": {"N": {"S": text}}}, "SS": {"L": [{"S": "x"}]}}
    assert v.digest(item) == v.digest({**item, "N": {"M": {"N": {"S": text}}}})
    assert v.digest({**item, "n": {"N": "1.0"}}) == v.digest({**item, "n": {"N": "1"}})
    assert v.digest({**item, "n": {"N": "1.0"}}) != v.digest(item)


@given(
    st.lists(st.text('ab",[]{}\\\n\u00e9\uffff\U00010000', max_size=4), min_size=2, max_size=4, unique=True),
    st.randoms(),
)
def test_the_members_of_a_set_may_hold_anything(members, dice):
    """Quotes, brackets, commas, escapes: any order gives one digest, one member less another."""
    item = {"b": {"N": "1.0"}, "s": {"SS": members}, "t": {"NS": ["2", "10", "1e0"]}}
    other = {"b": {"N": "1"}, "s": {"SS": dice.sample(members, len(members))}, "t": {"NS": ["1", "10", "2"]}}
    assert v.digest(item) == v.digest(other)
    assert v.digest(item) != v.digest({**item, "s": {"SS": members[1:]}})


@given(st.dictionaries(names, scalars, min_size=2, max_size=6))
def test_map_keys_are_sorted_by_utf8(item):
    """By bytes: U+FFFF before U+10000, which UTF-16 orders the other way round."""
    import json

    assert list(json.loads(v.serialize(item))) == sorted(item, key=lambda name: name.encode())


@given(st.lists(texts, min_size=1, unique=True), st.lists(base64s, min_size=1, unique=True))
def test_sets_are_sorted_by_bytes(strings, blobs):
    """Text by UTF-8, binary by its bytes and not by its base64."""
    assert v.canonical({"SS": strings}) == {"SS": sorted(strings, key=str.encode)}
    assert [base64.b64decode(b) for b in v.canonical({"BS": blobs})["BS"]] == sorted(map(base64.b64decode, blobs))


def plain_size(value):
    """The developer guide's rules, one after the other."""
    ((letter, content),) = value.items()
    if letter == "S":
        return len(content.encode())
    if letter == "B":
        return len(base64.b64decode(content))
    if letter == "N":
        digits = "".join(map(str, Decimal(content).as_tuple().digits)).strip("0")
        return -(-len(digits) // 2) + 1 + (Decimal(content) < 0)
    if letter in ("BOOL", "NULL"):
        return 1
    if letter == "L":
        return 3 + sum(1 + plain_size(member) for member in content)
    if letter == "M":
        return 3 + sum(1 + len(name.encode()) + plain_size(member) for name, member in content.items())
    return sum(plain_size({letter[0]: member}) for member in content)


@given(items)
def test_size_follows_the_developer_guide(item):
    """The bytes that DynamoDB counts, against a plain implementation."""
    assert v.size(item) == sum(len(name.encode()) + plain_size(value) for name, value in item.items())


@given(items)
def test_the_serialized_form_is_never_shorter_than_the_size(item):
    """The route counts exactly only where the serialized form is too long."""
    assert len(v.serialize(item)) >= v.size(item)


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["a", "ab", "b"]), scalars, min_size=1, max_size=2), min_size=2, max_size=2
    )
)
def test_key_hashes_tell_keys_apart(keys):
    """Equal exactly for the same attributes with the same types and values; parts cannot run into each other."""
    same = meaning({"M": keys[0]}) == meaning({"M": keys[1]})
    assert (v.key_hash(keys[0]) == v.key_hash(keys[1])) == same


def test_key_hashes_frame_their_parts():
    """What stands where is part of the key."""
    hashes = {
        v.key_hash(key)
        for key in (
            {"a": {"S": "bc"}},
            {"ab": {"S": "c"}},
            {"a": {"B": "YmM="}},
            {"a": {"S": "1"}},
            {"a": {"N": "1"}},
            {"a": {"S": "x"}, "b": {"S": "y"}},
            {"a": {"S": "y"}, "b": {"S": "x"}},
            {"a": {"S": "xy"}, "b": {"S": ""}},
        )
    }
    assert len(hashes) == 8


@pytest.mark.parametrize(
    "value",
    [
        {"BOOL": True},
        {"NULL": True},
        {"L": []},
        {"M": {}},
        {"SS": ["a"]},
        {"B": "?"},
        {"B": "QR=="},
        {"B": "é"},
        {"B": "QQ"},
        {"N": "x"},
    ],
)
def test_what_is_no_key_has_no_key_bytes(value):
    """Keys are text, numbers and binary."""
    with pytest.raises(ValueError):
        v.key_bytes(value)


@given(
    st.lists(decimals(), min_size=2, max_size=5),
    st.lists(texts, min_size=2),
    st.lists(st.binary(max_size=5), min_size=2),
)
def test_key_values_are_ordered_as_dynamodb_does(numbers_, strings, blobs):
    """Numbers by value, text by UTF-8, binary by bytes."""
    assert sorted(({"N": str(n)} for n in numbers_), key=v.order) == [{"N": str(n)} for n in sorted(numbers_)]
    assert sorted(({"S": s} for s in strings), key=v.order) == [{"S": s} for s in sorted(strings, key=str.encode)]
    encoded = [{"B": base64.b64encode(b).decode()} for b in sorted(blobs)]
    assert sorted(({"B": base64.b64encode(b).decode()} for b in blobs), key=v.order) == encoded


@pytest.mark.parametrize("value", [{"NULL": True}, {"S": ""}, {"B": ""}, {"L": []}, {"M": {}}, {"SS": []}])
def test_null_and_nothing_inside_is_empty(value):
    """What a default stands for."""
    assert v.is_empty(value)


@pytest.mark.parametrize(
    "value", [{"BOOL": False}, {"N": "0"}, {"S": " "}, {"L": [{"NULL": True}]}, {"S": "0"}, {"M": {"": {"S": ""}}}]
)
def test_zero_and_false_are_not_empty(value):
    """0, false and blanks are values."""
    assert not v.is_empty(value)


@pytest.mark.parametrize(
    ("plain", "typed"),
    [
        (None, {"NULL": True}),
        (True, {"BOOL": True}),
        (0, {"N": "0"}),
        (10**37, {"N": "1" + "0" * 37}),
        (Decimal("0.10"), {"N": "0.1"}),
        (1e22, {"N": "1" + "0" * 22}),
        ("5", {"S": "5"}),
        ([1, "a", []], {"L": [{"N": "1"}, {"S": "a"}, {"L": []}]}),
        ({"a": {"b": None}}, {"M": {"a": {"M": {"b": {"NULL": True}}}}}),
    ],
)
def test_plain_values_become_typed_ones(plain, typed):
    """Of YAML: numbers exact, text stays text."""
    assert v.from_python(plain) == typed


@pytest.mark.parametrize(
    "plain", [b"raw", {1, 2}, ("a",), float("nan"), float("inf"), 10**200, Decimal("1e-200"), object()]
)
def test_what_has_no_typed_form_is_refused(plain):
    """Never turned into text that looks like a value."""
    with pytest.raises(ValueError):
        v.from_python(plain)


@pytest.mark.parametrize(
    ("value", "text"), [({"S": "a b"}, "a b"), ({"N": "1.50E1"}, "15"), ({"B": "AP8="}, "AP8="), ({"S": ""}, "")]
)
def test_scalars_as_text(value, text):
    """For listings and the id map."""
    assert v.text_of(value) == text


@pytest.mark.parametrize(
    ("until", "expired"),
    [
        ({"N": "99"}, True),
        ({"N": "99.5"}, True),
        ({"N": "1E+2"}, False),
        ({"N": "100"}, False),
        ({"N": "101"}, False),
        ({"N": "9.9E+125"}, False),
        ({"N": str(100 - v.EXPIRING)}, True),
        ({"N": str(99 - v.EXPIRING)}, False),
        ({"S": "99"}, False),
        ({"NULL": True}, False),
        ({"NS": ["99"]}, False),
        (None, False),
    ],
)
def test_an_item_expires_as_dynamodb_says(until, expired):
    """A number of seconds before the moment, and no more than five years before it."""
    item = {"id": {"S": "a"}} | ({"until": until} if until else {})
    assert v.has_expired(item, "until", 100) is expired
    assert not v.has_expired(item, None, 100)
