"""Paths: how they are read, spelled, and refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import texts

from runbook_lib.mapping.text.paths import (
    EACH,
    JSON,
    KEYS,
    VALUES,
    Split,
    escaped,
    meet,
    members,
    parse,
    spelled,
    value_at,
)

STEPS = {
    "a": ("a",),
    "a.b": ("a", "b"),
    "a[]": ("a", EACH),
    "a[].b": ("a", EACH, "b"),
    "a:json": ("a", JSON),
    "a:json[].b:json": ("a", JSON, EACH, "b", JSON),
    "a{}": ("a", VALUES),
    "a{}.b": ("a", VALUES, "b"),
    "a{}{}[]": ("a", VALUES, VALUES, EACH),
    "a{keys}": ("a", KEYS),
    "a:json.b{keys}": ("a", JSON, "b", KEYS),
    "a:split(,)[]": ("a", Split(","), EACH),
    "a:split( | )[]": ("a", Split(" | "), EACH),
    "a:split(#)[]:split(.)[]": ("a", Split("#"), EACH, Split("."), EACH),
    r"a\.b": ("a.b",),
    r"a\.b.c": ("a.b", "c"),
    r"a\:json": ("a:json",),
    r"a\[\]": ("a[]",),
    r"a\{\}.\\": ("a{}", "\\"),
    "a b-c_d/é": ("a b-c_d/é",),
}


@pytest.mark.parametrize(("path", "steps"), STEPS.items())
def test_reading_and_spelling(path, steps):
    """One spelling a path."""
    assert parse(path) == steps
    assert spelled(steps) == path


def test_paths_that_meet():
    """At one value, or in one text; a list and its elements, a map's keys and values, two names do not."""
    for one, other in (
        ("a", "a[]"),
        ("a[]", "a.b"),
        ("m{keys}", "m{}"),
        ("m.a", "m.b"),
        ("m{}", "m.a.b"),
        ("a:json", "a:json.b"),
    ):
        assert not meet(parse(one), parse(other))
        assert not meet(parse(other), parse(one))
    for one, other in (("a", "a"), ("m{}", "m.a"), ("m{}.x", "m.a.x"), ("a", "a:json.b"), ("a:json[]", "a:split(,)[]")):
        assert meet(parse(one), parse(other))
        assert meet(parse(other), parse(one))


names = texts.filter(bool)
parts = (Split(","), EACH)
steps = names | st.sampled_from([EACH, JSON, VALUES, (*parts, JSON), (*parts, *parts, JSON)])


@given(names, st.lists(steps, max_size=4), st.sampled_from([(), (KEYS,), parts]))
def test_whatever_an_attribute_is_called_a_path_can_name_it(name, more, last):
    """Also where its name is made of the characters of paths."""
    flat = [one for step in more for one in (step if type(step) is tuple else (step,))]
    path = (name, *flat, *last)
    assert parse(spelled(path)) == path


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("", "is empty; name an attribute"),
        (".a", "begins with the name of an attribute"),
        ("[]", "begins with the name of an attribute"),
        (":json", "begins with the name of an attribute"),
        ("a.", "ends where a name should follow"),
        ("a..b", "is not a path; write a.b for maps"),
        ("a[", "is not a path; write a.b for maps"),
        ("a[0]", "is not a path; write a.b for maps"),
        ("a[]b", "is not a path; write a.b for maps"),
        ("a.[]", "is not a path; write a.b for maps"),
        ("a:jsonx", "is not a path; write a.b for maps"),
        ("a{b}", "is not a path; write a.b for maps"),
        ("a{keys}.b", "nothing follows {keys}"),
        ("a{keys}[]", "nothing follows {keys}"),
        *((f"a:split(,)[]{more}", "only :json or :split") for more in (".b", "[]", "{}", "{keys}")),
        ("a:split(,)", r"write :split\(,\)\[\] with the separator"),
        ("a:split()[]", r"write :split\(,\)\[\] with the separator"),
        ("a:split[]", r"write :split\(,\)\[\] with the separator"),
        (r"a\b", "a backslash stands before one of"),
        ("a\\", "a backslash stands before one of"),
    ],
)
def test_what_is_no_path(path, says):
    """With how to write one."""
    with pytest.raises(ValueError, match=says):
        parse(path)


def test_paths_through_maps_alone():
    """Those of conditions: they lead to one value."""
    assert members(r"a.b\.c") == ("a", "b.c")
    for path in ("a[]", "a{}", "a{keys}", "a:json.b", "a:split(,)[]"):
        with pytest.raises(ValueError, match="leads to several values, or into text"):
            members(path)
    item = {"a": {"M": {"b": {"S": "x"}}}, "c": {"S": "y"}}
    assert value_at(item, ("a", "b")) == {"S": "x"}
    for path in (("a", "c"), ("c", "b"), ("d", "b"), ("a", "b", "c")):
        assert value_at(item, path) is None


@given(texts.filter(bool))
def test_an_escaped_name_is_a_path(name):
    """To one attribute."""
    assert parse(escaped(name)) == (name,)
