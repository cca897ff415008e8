"""What no rule touches arrives bit by bit, and its digest is what a plain implementation says."""

import copy
import json
from base64 import b64decode
from decimal import Context, Decimal
from hashlib import blake2b

import orjson
import pytest
from compiled import routes_of
from hypothesis import given
from hypothesis import strategies as st
from strategies import items, names, scalars, texts, values

from runbook_lib import values as v
from runbook_lib.mapping.routes import Row

HEAD = "defaults: {source: '{table}-s', target: '{table}-t', id: id, id_format: keep}\n"
CREATE = "create: {key: {PK: S}}"
IDENTITY = routes_of(f"{HEAD}tables: {{A: {{}}}}", {"A": {"pk": "S"}})["A"]
WITH_SORT_KEY = {
    letter: routes_of(f"{HEAD}tables: {{A: {{}}}}", {"A": {"pk": "S", "sk": letter}})["A"] for letter in "SNB"
}
MOVED = routes_of(
    f"{HEAD}tables: {{A: {{{CREATE}, fields: {{PK: '{{pk}}'}}, drop: [pk], rest: rest}}}}", {"A": {"pk": "S"}}
)["A"]

extremes = st.sampled_from(
    ["1E+125", "-1E+125", "9." + "9" * 37 + "E+125", "1E-130", "-1E-130", "-0", "0", "-0.000", "0E+9", "1.50", "100.00"]
    + ["1" * 38, "-" + "9" * 38, "0." + "1" * 38, "1" + "0" * 37, "1" + "0" * 125, "00012", "+7", "12e2", "1.10e-7"]
).map(lambda number: {"N": number})
odd_names = st.sampled_from(
    ["a.b", "a[0]", 'say "hi"', "it's", "back\\slash", "#a", ":v", "{x}", "size", "name", "Status", "NULL", "COUNT"]
    + ["S", "N", "SS", "L", "M", "BOOL", " ", "\n", "é", "日本", "😀", "\uffff", "\U00010000", "x" * 255]
)
odd = st.recursive(
    extremes | values | st.lists(extremes.map(lambda n: n["N"]), min_size=1, max_size=3).map(lambda m: {"NS": m}),
    lambda member: (
        st.lists(member, max_size=3).map(lambda m: {"L": m})
        | st.dictionaries(odd_names, member, max_size=3).map(lambda m: {"M": m})
    ),
    max_leaves=8,
)
odd_items = st.dictionaries(odd_names | names, odd, max_size=6) | items


def plain_number(text):
    """Without exponent, superfluous zeros and minus zero."""
    number = Decimal(text)
    return format(number.normalize(Context(prec=40)), "f") if number else "0"


def plain_form(value):
    """The canonical form, one rule after the other."""
    ((letter, content),) = value.items()
    if letter == "N":
        return {"N": plain_number(content)}
    if letter == "NS":
        return {"NS": sorted({plain_number(number) for number in content})}
    if letter == "SS":
        return {"SS": sorted(set(content), key=lambda text: text.encode())}
    if letter == "BS":
        return {"BS": sorted(set(content), key=b64decode)}
    if letter == "L":
        return {"L": [plain_form(member) for member in content]}
    if letter == "M":
        return {"M": {name: plain_form(member) for name, member in content.items()}}
    return value


def plain_digest(item):
    """Sorted by code points, which is the order of UTF-8."""
    form = {name: plain_form(value) for name, value in item.items()}
    text = json.dumps(form, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return blake2b(text.encode(), digest_size=16).hexdigest()


@given(odd_items, texts.filter(bool))
def test_an_item_without_rules_leaves_as_it_came(item, key):
    """Types, spelling of numbers, order of sets: the bytes sent say what was read; what was read is not changed."""
    item = {**item, "pk": {"S": key}}
    before = copy.deepcopy(item)
    row = IDENTITY.route(item)
    assert isinstance(row, Row)
    assert item == before
    assert row.item == before
    assert orjson.loads(row.raw) == before
    assert row.digest == plain_digest(before) == v.digest(before)
    assert row.key == row.source_key == {"pk": {"S": key}}
    assert row.key_hash == row.key_hash == v.key_hash(row.key)


@given(odd_items, texts.filter(bool), scalars.filter(lambda value: not v.is_empty(value)))
def test_keys_of_every_type_leave_as_they_came(item, key, sort_key):
    """Also numbers that are spelled in an odd way."""
    item = {**item, "pk": {"S": key}, "sk": sort_key}
    row = WITH_SORT_KEY[next(iter(sort_key))].route(item)
    assert row.item == item
    assert row.key == {"pk": {"S": key}, "sk": sort_key}
    assert row.digest == plain_digest(item)


@given(odd_items, texts.filter(bool))
def test_what_goes_to_the_rest_goes_as_it_came(item, key):
    """The same values, one level deeper."""
    item = {name: value for name, value in item.items() if name not in ("PK", "rest")}
    before = copy.deepcopy(item)
    row = MOVED.route({**item, "pk": {"S": key}})
    assert item == before
    assert row.item == {"PK": {"S": key}, **({"rest": {"M": before}} if item else {})}
    assert row.digest == plain_digest(row.item)


@given(odd_items, texts.filter(bool))
def test_two_routes_of_one_item_do_not_touch_each_other(item, key):
    """Rows share with the source what no rule rewrites, so that nothing may ever be changed in place."""
    item = {**item, "pk": {"S": key}, "id": {"S": "i"}}
    first = IDENTITY.route(item)
    before = copy.deepcopy(first)
    MOVED.route(item)
    assert first == before
    assert IDENTITY.route(item) == before


@pytest.mark.parametrize("depth", [30, 31, 32, 33])
@pytest.mark.parametrize("wrap", [lambda inner: {"L": [inner]}, lambda inner: {"M": {"}": inner}}])
def test_the_depth_that_dynamodb_takes(depth, wrap):
    """32 levels arrive, 33 are quarantined, however the item looks besides."""
    value = {"N": "1.0"}
    for _ in range(depth - 1):
        value = wrap(value)
    for item in ({"deep": value}, {"deep": value, **{f"a{number}": {"S": "x"} for number in range(60)}}):
        row = IDENTITY.route({"pk": {"S": "k"}, **item})
        assert isinstance(row, Row) == (depth <= 32)


illegal = st.sampled_from(
    [
        ({"N": "1.0"}, None),
        ({"SS": ["b", "a"]}, None),
        ({"N": "x"}, "it holds not a number"),
        ({"NS": ["2", '"']}, "it holds not a number"),
        ({"L": [{"N": "1" * 39}]}, "it holds a number of more than 38 digits"),
        ({"SS": []}, "it holds an empty set"),
    ]
)


@given(st.lists(illegal, max_size=4))
def test_the_first_value_that_is_none_is_the_reason(found):
    """In the order of the item, whatever the order in which it is serialized."""
    item = {f"{9 - number}": value for number, (value, _) in enumerate(found)}
    result = IDENTITY.route({"pk": {"S": "k"}, **item})
    reasons = [reason for _, reason in found if reason]
    assert getattr(result, "reason", None) == (reasons[0] if reasons else None)
