"""Field types: a conversion is exact or does not happen."""

import copy
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import items, meaning, numbers, texts, values

from runbook_lib.mapping.text.conversions import TYPES, convert

LONG = "12345678901234567890.123456789012345678"


@given(values, st.sampled_from(list(TYPES)))
def test_a_value_of_the_wanted_type_stays_and_nothing_is_changed(value, wanted):
    """Whatever else does not convert raises ValueError, and the value given is as it was."""
    before = copy.deepcopy(value)
    try:
        converted = convert(value, wanted)
    except ValueError:
        assert TYPES[wanted] not in value
    else:
        assert list(converted) == [TYPES[wanted]]
        if TYPES[wanted] in value:
            assert converted == value
    assert value == before


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("7.5", "7.5"),
        ("35000.75", "35000.75"),
        ("0", "0"),
        ("-0", "0"),
        ("007", "7"),
        ("-12", "-12"),
        ("1.50", "1.5"),
        ("12345678901234567", "12345678901234567"),
        (LONG, LONG),
        ("9" * 38, "9" * 38),
        ("-0." + "1" * 37, "-0." + "1" * 37),
    ],
)
def test_plain_decimals_become_numbers_with_every_digit(text, number):
    """No cut to a whole number, no float in between."""
    assert convert({"S": text}, "number") == {"N": number}


@pytest.mark.parametrize(
    "text",
    [
        *(
            "abc",
            " 7",
            "7 ",
            "7\n",
            "+7",
            ".5",
            "5.",
            "1e3",
            "1E3",
            "1,000",
            "1_000",
            "1.000,5",
            "0x10",
            "NaN",
            "Infinity",
            "--1",
            "-",
            "٧",
            "½",
        ),
        *("1" * 39, "0." + "1" * 38, "1" * 500, "7 %", "$7", "true"),
    ],
)
def test_other_text_is_no_number(text):
    """Separators, exponents, units, more than 38 digits: not exact or not plain."""
    with pytest.raises(ValueError):
        convert({"S": text}, "number")


@pytest.mark.parametrize("text", ["true", "True", "TRUE", "tRuE"])
def test_true_in_any_case(text):
    """And false likewise."""
    assert convert({"S": text}, "boolean") == {"BOOL": True}
    assert convert({"S": text.lower().replace("true", "fAlSe")}, "boolean") == {"BOOL": False}


@pytest.mark.parametrize("text", ["yes", "no", "1", "0", " true", "true ", "t", "on", "wahr"])
def test_other_text_is_no_boolean(text):
    """Only the two words."""
    with pytest.raises(ValueError):
        convert({"S": text}, "boolean")


@pytest.mark.parametrize(
    ("value", "text"),
    [({"N": "1.50E2"}, "150"), ({"N": LONG}, LONG), ({"BOOL": True}, "true"), ({"BOOL": False}, "false")],
)
def test_numbers_and_booleans_become_text(value, text):
    """Numbers canonical, booleans as words."""
    assert convert(value, "string") == {"S": text}


@pytest.mark.parametrize("wanted", list(TYPES))
@pytest.mark.parametrize(
    "value", [{"SS": ["a"]}, {"NS": ["1"]}, {"BS": ["AA=="]}, {"B": "AA=="}, {"NULL": True}, {"M": {}}, {"L": []}]
)
def test_types_that_have_no_exact_form_are_refused(value, wanted):
    """A set has no order, binary no text, a list is no map."""
    if TYPES[wanted] in value:
        assert convert(value, wanted) == value
    else:
        with pytest.raises(ValueError, match=f"type {next(iter(value))} does not convert to {wanted}"):
            convert(value, wanted)


@pytest.mark.parametrize("wanted", ["number", "list", "map", "boolean"])
@pytest.mark.parametrize("value", [{"N": "1"}, {"BOOL": True}])
def test_a_number_is_no_boolean_and_no_list(value, wanted):
    """1 is not true."""
    if TYPES[wanted] not in value:
        with pytest.raises(ValueError):
            convert(value, wanted)


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("a", ["a"]),
        ("a,b", ["a", "b"]),
        (" a , b ,", ["a", "b"]),
        ("crm, VIP,,x y", ["crm", "VIP", "x y"]),
        ("1,2", ["1", "2"]),
        ('"a","b"', ['"a"', '"b"']),
        ("a[1],{b}", ["a[1]", "{b}"]),
        (",", []),
        ("né,日本", ["né", "日本"]),
    ],
)
def test_comma_separated_text_becomes_a_list_of_text(text, members):
    """Pieces without the space around them, empty ones left out."""
    assert convert({"S": text}, "list") == {"L": [{"S": member} for member in members]}


def plain(value):
    """A typed value as its JSON meaning, for comparison with json.loads."""
    ((letter, content),) = value.items()
    if letter == "N":
        return Decimal(content)
    if letter == "L":
        return [plain(member) for member in content]
    if letter == "M":
        return {name: plain(member) for name, member in content.items()}
    return None if letter == "NULL" else content


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**37), 10**37) | texts,
    lambda m: st.lists(m, max_size=4) | st.dictionaries(texts, m, max_size=4),
    max_leaves=8,
)


@given(st.lists(json_values, max_size=4), st.sampled_from([None, 1]), st.booleans())
def test_json_text_becomes_a_list_with_the_same_meaning(content, indent, ascii_):
    """Types and values as in the JSON; nothing is guessed."""
    text = json.dumps(content, indent=indent, ensure_ascii=ascii_)
    converted = convert({"S": text}, "list")
    if not any(isinstance(member, dict) and len(member) == 1 for member in content):  # may be exported DynamoDB JSON
        assert plain(converted) == json.loads(text, parse_float=Decimal, parse_int=Decimal)


@given(st.dictionaries(texts, json_values, min_size=2, max_size=4))
def test_json_text_becomes_a_map_with_the_same_meaning(content):
    """The same for a map."""
    assert plain(convert({"S": json.dumps(content)}, "map")) == json.loads(json.dumps(content), parse_int=Decimal)


@given(items.filter(bool))
def test_exported_dynamodb_json_of_a_map_keeps_its_types(item):
    """As an item (name → typed value) and as one typed value; sets and binary too."""
    expected = meaning({"M": item})
    assert meaning(convert({"S": json.dumps({"M": item})}, "map")) == expected
    if not (len(item) == 1 and next(iter(item)) in ("S", "N", "SS", "M")):  # then it may itself be one typed value
        assert meaning(convert({"S": json.dumps(item)}, "map")) == expected


@given(st.lists(values, min_size=1, max_size=4))
def test_exported_dynamodb_json_of_a_list_keeps_its_types(members):
    """As a list of typed values and as one typed value."""
    assert meaning(convert({"S": json.dumps(members)}, "list")) == meaning({"L": members})
    assert meaning(convert({"S": json.dumps({"L": members})}, "list")) == meaning({"L": members})


@given(numbers.filter(lambda n: n[-1:] != "." and not n.lstrip("-").startswith("0") and "+" not in n.split("E")[0]))
def test_json_numbers_keep_every_digit(number):
    """38 digits and exponents, exactly."""
    converted = convert({"S": f"[{number}]"}, "list")["L"][0]
    assert Decimal(converted["N"]) == Decimal(number)


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("[]", []),
        (" [ ] ", []),
        ('{"L": []}', []),
        (
            '["a", 1, true, null, [2.50], {"x": {}}]',
            [{"S": "a"}, {"N": "1"}, {"BOOL": True}, {"NULL": True}, {"L": [{"N": "2.5"}]}, {"M": {"x": {"M": {}}}}],
        ),
        ('[{"S": "a"}, {"N": "7.50"}]', [{"S": "a"}, {"N": "7.50"}]),
        ('[{"M": {"id": {"S": "s1"}, "order": {"N": "1"}}}]', [{"M": {"id": {"S": "s1"}, "order": {"N": "1"}}}]),
        ('{"L": [{"S": "a"}]}', [{"S": "a"}]),
        ('[{"S": "a"}, "b"]', [{"M": {"S": {"S": "a"}}}, {"S": "b"}]),  # not all typed: plain JSON
        ('[{"N": 7}]', [{"M": {"N": {"N": "7"}}}]),  # a typed number is text
        ('[{"N": "seven"}]', [{"M": {"N": {"S": "seven"}}}]),
        ('[{"N": "٧"}]', [{"M": {"N": {"S": "٧"}}}]),
        ('[{"N": "1E400"}]', [{"M": {"N": {"S": "1E400"}}}]),
        ('[{"B": "no base64!"}]', [{"M": {"B": {"S": "no base64!"}}}]),
        ('[{"B": "QR=="}]', [{"M": {"B": {"S": "QR=="}}}]),  # DynamoDB would give it back as QQ==
        ('[{"SS": ["a", "a"]}]', [{"M": {"SS": {"L": [{"S": "a"}, {"S": "a"}]}}}]),  # DynamoDB has no such set
        ('[{"NS": ["1", "1.0"]}]', [{"M": {"NS": {"L": [{"S": "1"}, {"S": "1.0"}]}}}]),
        ('[{"SS": []}]', [{"M": {"SS": {"L": []}}}]),
        ('[{"NULL": false}]', [{"M": {"NULL": {"BOOL": False}}}]),
        ('[{"BS": ["AA=="]}, {"BOOL": false}, {"NULL": true}]', [{"BS": ["AA=="]}, {"BOOL": False}, {"NULL": True}]),
    ],
)
def test_lists_from_json(text, members):
    """Plain JSON and exported DynamoDB JSON in its shapes; what only looks like the latter is plain JSON."""
    assert convert({"S": text}, "list") == {"L": members}


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("{}", {}),
        ('{"M": {}}', {}),
        ('{"M": {"a": {"N": "1"}}}', {"a": {"N": "1"}}),
        ('{"a": {"N": "1"}, "b": {"S": ""}}', {"a": {"N": "1"}, "b": {"S": ""}}),
        ('{"a": {"N": "1"}, "b": 2}', {"a": {"M": {"N": {"S": "1"}}}, "b": {"N": "2"}}),
        ('{"a": 1e2, "b": 0.10}', {"a": {"N": "100"}, "b": {"N": "0.1"}}),
        (f'{{"n": {LONG}}}', {"n": {"N": LONG}}),
    ],
)
def test_maps_from_json(text, content):
    """The same for maps."""
    assert convert({"S": text}, "map") == {"M": content}


DEEP = 2000
BAD_JSON = [
    *(
        "[",
        "[1,]",
        "{'a': 1}",
        "[NaN]",
        "[Infinity]",
        "[-Infinity]",
        "[1] x",
        "{",
        "[01]",
        '["\\x"]',
        '["a\nb"]',
        "[undefined]",
    ),
    '{"a": 1, "a": 2}',  # one of them would be lost
    '[{"a": {"b": 1, "b": 1}}]',
    "[" + "1" * 39 + "]",
    "[0." + "1" * 39 + "]",
    *(
        "[1e126]",
        "[1e400]",
        "[1e999999]",
        "[-1e99999999999999999999]",
        "[1e-131]",
        "[1e-500]",
        "[1." + "0" * 250 + "1]",
    ),
    *('["\\ud800"]', '[{"S": "\\udfff"}]', '[{"\\ud800": 1}]', '[{"M": {"\\ud800": {"S": ""}}}]', '[[["a\\udc00b"]]]'),
    "[" * DEEP + "]" * DEEP,
    '{"a":' * DEEP + "1" + "}" * DEEP,
    "[" * 700 + "]" * 700,
    '{"L":[' * 400 + "]}" * 400,
]


@pytest.mark.parametrize("text", BAD_JSON, ids=lambda text: text[:30])
@pytest.mark.parametrize("wanted", ["list", "map"])
def test_json_that_would_lose_something_is_refused(text, wanted):
    """Not JSON, a name twice, half characters, numbers DynamoDB cannot hold, no end of nesting: ValueError, no crash."""
    with pytest.raises(ValueError):
        convert({"S": text}, wanted)


@pytest.mark.parametrize("text", ["a", "5", '"x"', "null", "[1]", '{"S": "a"}', '{"L": []}', "", " "])
def test_what_is_no_map_is_refused(text):
    """Comma-separated text is for lists only."""
    with pytest.raises(ValueError):
        convert({"S": text}, "map")


@pytest.mark.parametrize("text", ["{}", '{"a": 1}', '{"S": "a"}', '{"M": {}}', '{"SS": ["a"]}'])
def test_json_that_is_no_list_is_refused(text):
    """A map, and a typed value of another type."""
    with pytest.raises(ValueError):
        convert({"S": text}, "list")


@given(texts.map(lambda text: text + "Secret"), st.sampled_from(["number", "boolean", "list", "map"]))
def test_reasons_never_quote_the_value(text, wanted):
    """They are listed in files that may be shared."""
    reason = ""
    try:
        convert({"S": text}, wanted)
    except ValueError as problem:
        reason = str(problem)
    assert "Secret" not in reason


@pytest.mark.parametrize("text", BAD_JSON, ids=lambda text: text[:30])
def test_reasons_for_bad_json_are_short_and_plain(text):
    """Neither a piece of the value nor half a character, which no UTF-8 file takes."""
    with pytest.raises(ValueError) as problem:
        convert({"S": text}, "list")
    assert len(str(problem.value).encode()) < 60
    assert "\\u" not in str(problem.value)
