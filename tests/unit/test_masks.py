"""A value's shape says its form and nothing of its content."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbook_lib.report import samples

ALLOWED = set(string.punctuation + " xX9•…")


@pytest.mark.parametrize(
    ("content", "shape"),
    [
        ("Ana Lopez 7", "Xxx Xxxxx 9"),
        ("ana.lopez+2@example.com", "xxx.xxxxx+9@xxxxxxx.xxx"),
        ("2025-08-01T10:00:00Z", "9999-99-99X99:99:99X"),
        ("-35000.75", "-99999.99"),
        ("<script>alert(1)</script>", "<xxxxxx>xxxxx(9)</xxxxxx>"),
        ("Zoë Ñandú Дом 東京", "Xxx Xxxxx Xxx xx"),
        ("٣½Ⅷ", "999"),  # any script's digits
        ("a\u202eb\nc\x00", "x•x•x•"),  # what could hide or turn text around
        ("😀", "•"),
        ("", ""),
    ],
)
def test_letters_and_digits_are_replaced_and_punctuation_stays(content, shape):
    assert samples.shape(content) == shape


def test_a_long_text_is_cut_with_its_length_said():
    assert samples.shape("a" * 48) == "x" * 48
    assert samples.shape("a" * 1049) == "x" * 48 + "… 1,049 characters"


@given(st.text(max_size=60))
def test_no_letter_or_digit_survives(content):
    shown = samples.shape(content).removesuffix(f"… {len(content):,} characters")
    assert set(shown) <= ALLOWED
    assert len(shown) == min(len(content), samples.LONGEST)


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        ({"S": ""}, "empty"),
        ({"N": "7.50"}, "9.99"),
        ({"BOOL": True}, "true/false"),
        ({"BOOL": False}, "true/false"),
        ({"NULL": True}, "null"),
        ({"B": "AAEC"}, "3 bytes"),
        ({"B": "AA=="}, "1 byte"),
        ({"L": [{"S": "secret"}, {"L": []}]}, "2 members"),
        ({"M": {"secret": {"S": "secret"}}}, "1 name"),
        ({"SS": ["secret"]}, "1 member"),
        ({"NS": ["1", "2"]}, "2 members"),
    ],
)
def test_the_shape_of_every_type(value, shape):
    assert samples.value_shape(value) == shape


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"S": "Ana"}, {"S": "Ana"}),
        ({"N": "7.50"}, {"N": "7.5"}),
        ({"S": "7.5"}, {"N": "7.5"}),  # so that an exact conversion is seen to be one
        ({"SS": ["a", "b"]}, {"SS": ["b", "a"]}),
        ({"N": "no number"}, {"N": "no number"}),
    ],
)
def test_equal_values_have_equal_tags(one, other):
    assert samples.tag(one) == samples.tag(other)


def test_different_values_have_different_tags():
    values = [{"S": str(number)} for number in range(50)]
    assert len(set(map(samples.tag, values))) > 45
    assert samples.tag({"BOOL": True}) != samples.tag({"BOOL": False})


def test_a_tag_cannot_be_recomputed_elsewhere(monkeypatch):
    here = samples.tag({"S": "Ana"})
    monkeypatch.setattr(samples, "_KEY", b"the key of another process")
    assert samples.tag({"S": "Ana"}) != here


def test_a_key_tag_identifies_a_key_by_value():
    key = {"PK": {"S": "LEAD"}, "SK": {"N": "1.0"}}
    assert samples.key_tag(key) == samples.key_tag({"SK": {"N": "1"}, "PK": {"S": "LEAD"}})
    assert samples.key_tag(key) != samples.key_tag({"PK": {"S": "LEAD"}, "SK": {"N": "2"}})
    assert len(samples.key_tag({"id": {"BOOL": True}})) == 6  # no legal key, but a listing may hold it
