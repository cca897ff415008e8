"""Ids inside JSON text: replaced by position, every other character of the text as it was."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import texts

from runbook_lib.errors import NotJson
from runbook_lib.mapping.text.json_text import TAKE_OUT, quote, rewrite
from runbook_lib.mapping.text.paths import EACH, JSON

documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda m: st.lists(m, max_size=4) | st.dictionaries(st.sampled_from(["id", "a", "ids"]) | texts, m, max_size=4),
    max_leaves=10,
)
steps = st.lists(st.sampled_from(["id", "a", "ids", EACH, EACH, JSON]), max_size=4).map(tuple)


@st.composite
def spaced(draw, documents_=documents):
    """A JSON text with spaces wherever JSON allows them, and characters escaped or not."""
    space = st.sampled_from(["", "", " ", "\n", "\t \r\n"])

    def string(text):
        quoted = json.dumps(text, ensure_ascii=draw(st.booleans()))
        return quoted.replace("/", draw(st.sampled_from(["/", "\\/"])))

    def write(value):
        if isinstance(value, list):
            inside = ",".join(f"{draw(space)}{write(member)}{draw(space)}" for member in value)
            return f"[{inside or draw(space)}]"
        if isinstance(value, dict):
            inside = ",".join(
                f"{draw(space)}{string(name)}{draw(space)}:{draw(space)}{write(member)}{draw(space)}"
                for name, member in value.items()
            )
            return f"{{{inside or draw(space)}}}"
        return string(value) if isinstance(value, str) else json.dumps(value)

    return draw(space) + write(draw(documents_)) + draw(space)


def leave(content, is_number):
    return None


@given(spaced(), steps)
def test_replacing_nothing_gives_the_identical_text(text, path):
    """Whatever the spacing, the escapes and the path."""
    assert rewrite(text, path, leave) == text


@given(spaced(), steps)
def test_replacing_each_value_by_itself_gives_the_same_meaning(text, path):
    """Positions are right: nothing beside the value is touched."""
    rewritten = rewrite(text, path, lambda c, is_number: None if c is None else c if is_number else quote(c, text))
    assert json.loads(rewritten) == json.loads(text)


def replaced(value, path, new):
    """The same on Python objects: what stands at the path replaced by `new`, if it is text or a number that is not empty."""
    if not path:
        is_id = isinstance(value, str | int | float) and not isinstance(value, bool) and value != ""
        return new if is_id else value
    if path[0] is JSON:
        if not isinstance(value, str) or not value:
            return value
        try:
            inner = json.loads(value, parse_constant=int)  # NaN is no JSON
        except ValueError:
            return value
        changed = replaced(inner, path[1:], new)
        return value if changed == inner else Same(changed)
    if path[0] is EACH:
        return [replaced(member, path[1:], new) for member in value] if isinstance(value, list) else value
    if isinstance(value, dict) and path[0] in value:
        return value | {path[0]: replaced(value[path[0]], path[1:], new)}
    return value


class Same:
    """Equal to any JSON text of a document."""

    def __init__(self, document):
        self.document = document

    def __eq__(self, text):
        return json.loads(text) == self.document

    __hash__ = None


@given(spaced(), steps)
def test_only_what_stands_at_the_path_is_replaced(text, path):
    """Against an implementation on parsed JSON."""
    rewritten = rewrite(text, path, lambda content, is_number: None if content is None else '"NEW-é"')
    assert replaced(json.loads(text), path, "NEW-é") == json.loads(rewritten)


OUT = object()


def without(value, path):
    """The same on Python objects: what stands at the path is taken out, where `goes` says so."""
    if not path:
        is_id = isinstance(value, str | int | float) and not isinstance(value, bool) and value != ""
        return OUT if is_id and goes(json.dumps(value, ensure_ascii=False)) else value
    if path[0] is JSON:
        try:
            inner = without(json.loads(value, parse_constant=int), path[1:])
        except (TypeError, ValueError):
            return value
        return OUT if inner is OUT else Same(inner) if inner != json.loads(value) else value
    if path[0] is EACH:
        stays = isinstance(value, list) and [new for one in value if (new := without(one, path[1:])) is not OUT]
        return value if stays is False else stays
    if isinstance(value, dict) and path[0] in value:
        new = without(value[path[0]], path[1:])
        return {n: new if n == path[0] else one for n, one in value.items() if n != path[0] or new is not OUT}
    return value


def goes(raw):
    return sum(map(ord, raw)) % 3 > 0


def take(content, is_number):
    if content is None:
        return None
    return TAKE_OUT if goes(content if is_number else json.dumps(content, ensure_ascii=False)) else None


@given(spaced(), steps)
def test_only_what_stands_at_the_path_is_taken_out(text, path):
    """With its name and one comma, and the rest stays JSON. Against an implementation on parsed JSON."""
    rewritten, left = rewrite(text, path, take), without(json.loads(text), path)
    assert rewritten == "" if left is OUT else left == json.loads(rewritten)


@pytest.mark.parametrize(
    ("text", "path", "left"),
    [
        (' [ "a" , "b", 1 ] ', (EACH,), " [ ] "),
        ('["b",[], "b" ,[]]', (EACH,), "[[] ,[]]"),
        ('{"x": 1, "id": "b", "y": 2}', ("id",), '{"x": 1, "y": 2}'),
        ('{"id": "b", "y": 2}', ("id",), '{"y": 2}'),
        ('{"id": "b", "id": "b"}', ("id",), "{}"),
        ('{"a": [["b"], ["b", {}]]}', ("a", EACH, EACH), '{"a": [[], [{}]]}'),
        (' "b" ', (), ""),
        ('{"a": "[\\"b\\"]", "c": "\\"b\\""}', ("a", JSON, EACH), '{"a": "[]", "c": "\\"b\\""}'),
        ('{"a": "\\"b\\"", "c": 1}', ("a", JSON), '{"c": 1}'),
    ],
)
def test_what_is_left(text, path, left):
    """The spacing of what stays is as it was."""
    assert rewrite(text, path, lambda content, is_number: None if content is None else TAKE_OUT) == left


nested = documents.map(json.dumps) | texts


@given(
    spaced(st.fixed_dictionaries({"a": nested, "id": st.lists(nested, max_size=3)})),
    st.sampled_from([("a", JSON), ("id", EACH, JSON)]),
    steps,
)
def test_json_text_inside_json_text(text, outer, inner):
    """A text in a text is decoded, rewritten and put back; one that is no JSON does not keep the others from it."""
    path = (*outer, *inner)
    rewritten = rewrite(text, path, lambda content, is_number: None if content is None else '"NEW-é"')
    assert replaced(json.loads(text), path, "NEW-é") == json.loads(rewritten)


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        ('["a", "b"]', (EACH,), "[<a>, <b>]"),
        (' [ "a" ,\n\t"b",null, "" ] ', (EACH,), ' [ <a> ,\n\t<b>,null, "" ] '),
        ('{"id":"a","x":{"id":"b"}}', ("id",), '{"id":<a>,"x":{"id":"b"}}'),
        ('{"id":"a","x":{"id":"b"}}', ("x", "id"), '{"id":"a","x":{"id":<b>}}'),
        ('{"id": "a", "id": "b"}', ("id",), '{"id": <a>, "id": <b>}'),
        ('{"\\u0069d": "a"}', ("id",), '{"\\u0069d": <a>}'),
        ('{"a": [{"id": 7}, {"id": -1.50e2}, {}]}', ("a", EACH, "id"), '{"a": [{"id": #7}, {"id": #-1.50e2}, {}]}'),
        ('[["a"], ["b", ["c"]]]', (EACH, EACH), '[[<a>], [<b>, ["c"]]]'),
        ('"a"', (), "<a>"),
        ("12", (), "#12"),
        ('"\\u30b3\\"\\\\"', (), '<コ"\\>'),
        ('{"a": "[\\"x\\"]"}', ("a", JSON, EACH), '{"a": "[<x>]"}'),
        ('[true, "a", {"b": 1}, [], 5]', (EACH,), '[true, <a>, {"b": 1}, [], #5]'),
        ("[]", (EACH,), "[]"),
        ("null", (EACH,), "null"),
        ('""', (), '""'),
        ('{"a":1}', (EACH,), '{"a":1}'),
    ],
)
def test_what_is_replaced(text, path, expected):
    """Escapes in names and values, numbers as they are written, names that come twice, arrays in arrays."""
    assert (
        rewrite(
            text,
            path,
            lambda content, is_number: None if content is None else f"#{content}" if is_number else f"<{content}>",
        )
        == expected
    )


@pytest.mark.parametrize(
    ("text", "path", "times"),
    [
        ('[true, "a", {"b": 1}, ["c"], 5]', (EACH,), 3),
        ('[null, [], {}, ""]', (EACH,), 0),
        ('{"a": 1}', (EACH,), 1),
        ("[1]", ("a",), 1),
        ("[]", ("a",), 0),
        ("12", (EACH,), 1),
        ('"contact-1"', (EACH,), 1),
        ("false", (), 1),
        ("{}", ("a", "b"), 0),
        ('{"a": {"b": "x"}}', ("a", "c"), 0),
        ('{"a": "x"}', ("a", "c"), 1),
        ('["no json", "[\\"x\\"]", 7]', (EACH, JSON, EACH), 2),
    ],
)
def test_what_is_no_id_is_told(text, path, times):
    """A value of another kind where an id or a list should be; null, absent and empty values are no mistake."""
    told = []
    assert rewrite(text, path, lambda content, is_number: told.append(content)) == text
    assert told.count(None) == times


@pytest.mark.parametrize(
    "text",
    [
        "",
        "contact-1",
        "[",
        "['a']",
        "[1,]",
        "{a: 1}",
        '["a"] x',
        "[NaN]",
        "-Infinity",
        '"a\nb"',
        "\ufeff[]",
        "[" * 5000,
    ],
)
def test_text_that_is_not_json(text):
    """NotJson, however deep it is nested."""
    with pytest.raises(NotJson):
        rewrite(text, (EACH,), leave)


@pytest.mark.parametrize("depth", [*range(900, 1010), 3000])
def test_deep_nesting_never_crashes(depth):
    """Rewritten, or NotJson where Python's own decoder gives up."""
    text = "[" * depth + '"a"' + "]" * depth
    try:
        assert rewrite(text, (EACH,), leave) == text
    except NotJson:
        pass


def test_half_a_character_stays_an_escape():
    """A lone surrogate in text with other non-ASCII characters: what is written must have a UTF-8 form."""
    text = '{"é": "[\\"\\ud800\\", \\"a\\"]"}'
    rewritten = rewrite(text, ("é", JSON, EACH), lambda content, is_number: '"b"' if content == "a" else None)
    assert json.loads(json.loads(rewritten)["é"]) == ["\ud800", "b"]
    assert rewritten.encode()


@given(texts, texts)
def test_quoting(content, around):
    """A JSON string; escaped like the text around it."""
    quoted = quote(content, around)
    assert json.loads(quoted) == content
    assert quoted.isascii() or not around.isascii()


def test_many_ids_in_a_large_text_take_no_time():
    """10,000 ids in 400 KB: position by position, not text by text."""
    import time

    text = json.dumps([f"{number:036}" for number in range(10_000)])
    started = time.process_time()
    assert rewrite(text, (EACH,), lambda content, is_number: f'"{content}"') == text
    assert time.process_time() - started < 0.5
