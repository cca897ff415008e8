"""Transforms: what the function gets, what may come back, what it must leave as it is, and what a mistake says."""

import os
import traceback
from collections import Counter
from decimal import Decimal
from types import SimpleNamespace

import pytest
from compiled import mapping_of, routes_of
from hypothesis import given
from strategies import items

from runbook_lib.errors import MappingError
from runbook_lib.mapping.routes import Reject, Row
from runbook_lib.report.samples import changes
from runbook_lib.stages.analyze.repeatable import check_repeatable
from runbook_lib.stages.validate.groups import rule_of
from runbook_lib.walk.ledger import Ledger
from runbook_lib.walk.walk import Page, route_items

HEAD = "defaults: {source: s, target: t, transform: 't.py:f'}\ntables:\n"
COPY = HEAD + "  P: {transform: null}\n  A: {references: {%s}}\n"
ITEM = {
    "id": {"S": "i"},
    "n": {"N": "1.50"},
    "e": {"N": "1E+2"},
    "b": {"B": "AAE="},
    "yes": {"BOOL": True},
    "none": {"NULL": True},
    "ss": {"SS": ["b", "a"]},
    "ns": {"NS": ["2.0", "1"]},
    "bs": {"BS": ["AQ==", "AA=="]},
    "l": {"L": [{"N": "1.0"}, {"S": "x"}]},
    "m": {"M": {"deep": {"M": {"n": {"N": "7.0"}}}, "t": {"S": "y"}}},
}


def route_of(body: str, text: str = HEAD + "  A: {}\n", **about):
    """The route of entry A with a function whose body is given, for one `item`."""
    code = "def f(item):\n" + "".join(f"    {line}\n" for line in body.splitlines())
    return routes_of(text, files={"t.py": code}, **about)["A"]


def made(body: str, item: dict, text: str = HEAD + "  A: {}\n", **about) -> Row:
    """The row of an item."""
    row = route_of(body, text, **about).route({"id": {"S": "i"}} | item)
    assert isinstance(row, Row), row
    return row


def refused(body: str, item: dict | None = None, text: str = HEAD + "  A: {}\n", **about) -> tuple[str, str]:
    """Attribute and reason of a quarantined item."""
    reject = route_of(body, text, **about).route({"id": {"S": "i"}} | (item or {}))
    assert isinstance(reject, Reject), reject
    return reject.attribute, reject.reason


# what it gets and gives


def test_the_function_gets_plain_values_and_gives_them_back():
    """Each type as Python has it, numbers exact."""
    wanted = {
        "n": Decimal("1.50"),
        "e": Decimal(100),
        "b": b"\0\1",
        "yes": True,
        "none": None,
        "ss": {"a", "b"},
        "ns": {Decimal(1), Decimal(2)},
        "bs": {b"\0", b"\1"},
        "l": [Decimal(1), "x"],
        "m": {"deep": {"n": Decimal(7)}, "t": "y"},
    }
    body = f"import json\nfrom decimal import Decimal\nassert {{**item, 'id': 0}} == {{'id': 0, **{wanted!r}}}\nreturn item"
    row = made(body, ITEM)
    assert row.before is None
    assert {type(value) for value in wanted.values()} == {Decimal, bytes, bool, type(None), set, list, dict}


def test_what_does_not_change_keeps_its_object_and_so_its_spelling_and_order():
    """Also below an attribute that changes, and where the function gives equal values of its own."""
    body = (
        "item['m']['t'] = 'z'\nitem['l'].append(5)\nitem['x'] = 1\n"
        "item['n'] = item['n'] + 0\nitem['e'] = 100\nitem['ss'] = set(sorted(item['ss']))\nreturn dict(reversed(item.items()))"
    )
    row = made(body, ITEM)
    for name in ITEM.keys() - {"id", "m", "l"}:
        assert row.item[name] is ITEM[name], name
    assert row.item["m"]["M"]["deep"] is ITEM["m"]["M"]["deep"]
    assert row.item["l"] == {"L": [{"N": "1.0"}, {"S": "x"}, {"N": "5"}]}
    assert (row.item["m"]["M"]["t"], row.item["x"]) == ({"S": "z"}, {"N": "1"})
    assert row.before.keys() == ITEM.keys()
    assert row.source is not row.item


@given(items)
def test_an_item_that_comes_back_is_the_same(item):
    """Whatever it holds."""
    row = IDENTITY.route(item | {"id": {"S": "i"}})
    assert row.before is None
    assert row.item == item | {"id": row.item["id"]}


IDENTITY = route_of("return {name: value for name, value in item.items()}")


def test_the_source_item_is_never_changed():
    """The function's copy is its own at every depth."""
    before = repr(ITEM)
    made("item['l'].clear()\nitem['m']['deep']['n'] = 0\nitem['ss'].add('c')\nitem.pop('n')\nreturn item", ITEM)
    assert repr(ITEM) == before


@pytest.mark.parametrize(
    ("value", "typed"),
    [
        ("5", {"N": "5"}),
        ("10 ** 3 * 7", {"N": "7000"}),
        ("Decimal('-0.0')", {"N": "0"}),
        ("Decimal('1E+3')", {"N": "1000"}),
        ("True", {"BOOL": True}),
        ("None", {"NULL": True}),
        ("b'a'", {"B": "YQ=="}),
        ("''", {"S": ""}),
        ("[]", {"L": []}),
        ("{}", {"M": {}}),
        ("{2, Decimal('1.0'), 10}", {"NS": ["1", "10", "2"]}),
        ("{'b', 'a'}", {"SS": ["a", "b"]}),
        ("{b'b', b'a'}", {"BS": ["YQ==", "Yg=="]}),
        ("{'a': [1, {'b': None}]}", {"M": {"a": {"L": [{"N": "1"}, {"M": {"b": {"NULL": True}}}]}}}),
    ],
)
def test_what_comes_back_is_typed(value, typed):
    """Sets in the one canonical order, whatever Python's is."""
    assert made(f"from decimal import Decimal\nitem['x'] = {value}\nreturn item", {}).item["x"] == typed


@pytest.mark.parametrize(
    ("before", "value", "typed"),
    [
        ({"N": "1"}, "True", {"BOOL": True}),
        ({"BOOL": True}, "1", {"N": "1"}),
        ({"BOOL": False}, "0", {"N": "0"}),
        ({"NS": ["1"]}, "{'1'}", {"SS": ["1"]}),
        ({"L": []}, "{}", {"M": {}}),
        ({"S": "1"}, "1", {"N": "1"}),
        ({"M": {"a": {"N": "1"}}}, "{'a': True}", {"M": {"a": {"BOOL": True}}}),
    ],
)
def test_values_that_python_calls_equal_are_told_apart(before, value, typed):
    """True is not 1."""
    assert made(f"item['x'] = {value}\nreturn item", {"x": before}).item["x"] == typed


TAKES = "; a target item takes str, Decimal, int, bool, None, bytes, list, dict and set"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("1.5", f"a value of type float{TAKES}"),
        ("('a',)", f"a value of type tuple{TAKES}"),
        ("[{'a': 1.5}]", f"a value of type float{TAKES}"),
        ("__import__('datetime').datetime(2024, 1, 1)", f"a value of type datetime{TAKES}"),
        ("__import__('collections').OrderedDict()", f"a value of type OrderedDict{TAKES}"),
        ("set()", "an empty set, which DynamoDB does not have; leave the attribute out"),
        ("{'a', 1}", "a set of Decimal, str; its members are all str, all Decimal or int, or all bytes"),
        ("{True}", "a set of bool; its members are all str, all Decimal or int, or all bytes"),
        ("__import__('decimal').Decimal('NaN')", "not a finite number"),
        ("__import__('decimal').Decimal('sNaN')", "not a finite number"),
        ("__import__('decimal').Decimal('Infinity')", "not a finite number"),
        ("int('1' * 39)", "a number of more than 38 digits"),
        ("10 ** 5000", "a number out of DynamoDB's range"),
        ("{'a': {5: 1}}", "a map with a name of type int; names are text"),
        ("{'a': {'': 1}}", "a map with an empty name; give it one, or leave it out"),
        ("'\\ud800'", "text with half a character (a lone surrogate)"),
        ("{'\\ud800'}", None),
        ("(lambda x: x.append(x) or x)([])", "nested more than 32 levels deep"),
    ],
)
def test_what_no_item_can_hold_quarantines_with_attribute_and_type(value, problem):
    """Never with the value."""
    attribute, reason = refused(f"item['x'] = {value}\nreturn item", {"x": {"S": "1"}})
    assert attribute == "x"
    if problem:
        assert reason == f"what the transform makes of it is {problem}"
    assert "\ud800" not in reason


@pytest.mark.parametrize(
    ("returned", "problem"),
    [
        ("None", "returned None; return the item"),
        ("[item]", "returned a value of type list; return the item"),
        ("{**item, 5: 1}", "returned an item with a name of type int; names are text"),
        ("{**item, '': 1}", "returned an item with an empty name; give it one, or leave it out"),
        (
            "{**item, '\\udc00': 1}",
            "returned an item with a name that is text with half a character (a lone surrogate)",
        ),
    ],
)
def test_what_is_no_item_quarantines(returned, problem):
    """The function stands where the attribute would."""
    assert refused(f"return {returned}") == ("t.py:f", problem)


# errors of the function


def test_a_value_error_that_it_raises_is_the_reason():
    """In one line, and not without end."""
    assert refused("raise ValueError('no\\n e-mail  address')") == ("t.py:f", "no e-mail address")
    assert refused("def g(): raise ValueError('deeper')\ng()") == ("t.py:f", "deeper")
    assert refused("class Bad(ValueError): pass\nraise Bad('mine') from KeyError()") == ("t.py:f", "mine")
    assert refused(f"raise ValueError('{'x ' * 5000}')")[1] == ("x " * 150).strip()
    assert refused("\nraise ValueError")[1] == "ValueError in t.py, line 3"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise ValueError(f\"no place: {item['name']!r}, {item['n']}\")", "no place: …"),
        ("raise ValueError('n\\u00f6\\nein: ' + item['name'].upper() + ', so not')", "nö ein: … so not"),
        ("raise ValueError('%s of %s' % (item['n'], item['name'][2:5]))", "… of …"),
        ("raise ValueError(item['name'])", "ValueError in t.py, line 2"),
        ("def g(): raise ValueError(f'is {item[\"n\"]} of 7')\ng()", "is … of 7"),
    ],
)
def test_what_a_reason_quotes_is_not_in_it(body, reason):
    """Only words that stand in a text of the file: any other may come from the item."""
    item = {"name": {"S": "a secret, 'x'"}, "n": {"N": "42"}}
    assert refused(f"{body}\nreturn item", item)[1] == reason


@pytest.mark.parametrize(
    ("body", "kind", "line"),
    [
        ("return item['secret']", "KeyError", 2),
        ("\nreturn int('secret')", "ValueError", 3),
        ("try:\n    int('secret')\nexcept ValueError:\n    raise", "ValueError", 3),
        ("import datetime\nreturn datetime.datetime.strptime('secret', '%Y')", "ValueError", 3),
        ("return b'\\xff'.decode()", "UnicodeDecodeError", 2),
        ("def g():\n    return 1 / 0\nreturn g()", "ZeroDivisionError", 3),
        ("import sys\nreturn f(item)", "RecursionError", 3),
        ("import sys\nsys.exit('secret')", "SystemExit", 3),
    ],
)
def test_any_other_error_gives_class_and_line_and_never_its_text(body, kind, line):
    """A message may hold values: that of Python's own ValueError does."""
    assert refused(body) == ("t.py:f", f"{kind} in t.py, line {line}")


def test_what_ends_the_program_is_not_swallowed():
    """Ctrl-C comes when it comes."""
    with pytest.raises(KeyboardInterrupt):
        route_of("raise KeyboardInterrupt").route(ITEM)


# what it must leave as it is


def test_the_table_keys_stay():
    """Also where a field makes them."""
    text = HEAD + "  A: {id_format: keep, create: {key: {PK: S, SK: S}}, fields: {PK: A, SK: '{id}'}, rest: r}\n"
    changes = "changes a key of the target table; let it leave that as it is"
    assert refused("item['PK'] = 'B'\nreturn item", text=text) == ("PK", f"the transform {changes}")
    assert refused("del item['SK']\nreturn item", text=text)[0] == "SK"
    assert refused("item['id'] = 'other'\nreturn item")[0] == "id"


@pytest.mark.parametrize(
    ("rules", "body", "attribute"),
    [
        ("", "item['key'] = 'x'", "key"),
        (", fields: {pk: {from: pk}, other: {from: key}}, rest: r", "item['other'] = 'x'", "other"),
        (", fields: {pk: {from: pk}, text: 'X#{key}'}, rest: r", "item['text'] = 'X'", "text"),
        (", fields: {pk: {from: pk}, k: {from: key}, text: 'X#{k}'}, drop: [d], rest: r", "item['text'] = 'X'", "text"),
        (", fields: {pk: {from: pk}}, rest: r", "item['r']['key'] = 'x'", "r"),
        (", fields: {pk: {from: pk}}, rest: copy", "del item['key']", "key"),
    ],
)
@pytest.mark.parametrize("id_format", ["uuid", "keep"])
def test_the_id_stays_wherever_the_rules_put_it(rules, body, attribute, id_format):
    """A copy, a field, a template, the rest."""
    text = HEAD + f"  A: {{id: key, id_format: {id_format}{rules}}}\n"
    item = {"pk": {"S": "1"}, "key": {"S": "k"}, "d": {"S": "d"}}
    found = refused(body + "\nreturn item", item, text, keys={"A": {"pk": "S"}})
    assert found == (attribute, "the transform changes the id; let it leave that as it is")


def test_an_id_inside_its_attribute_stays():
    """The whole attribute does."""
    text = HEAD + "  A: {id: {in: code, as: 'C#{id}'}}\n"
    item = {"pk": {"S": "1"}, "code": {"S": "C#7"}}
    assert refused("item['code'] += 'x'\nreturn item", item, text, keys={"A": {"pk": "S"}})[0] == "code"


REFERRING = {
    "p": {"S": "p1"},
    "l": {"L": [{"M": {"p": {"S": "p1"}, "n": {"N": "1"}}}, {"M": {"p": {"S": "p2"}, "n": {"N": "2"}}}]},
    "s": {"SS": ["p1", "p2"]},
    "j": {"S": '{"p": "p1", "n": 1}'},
    "m": {"M": {"p2": {"S": "x"}}},
    "label": {"S": "for p1."},
    "nil": {"NULL": True},
    "plain": {"L": [{"S": "p1"}, {"S": "p2"}, {"S": "p2"}]},
    "jl": {"S": '[{"p": 7}, {"p": "p2"}, {}]'},
    "parts": {"S": "p1, p2"},
    "v": {"M": {"a": {"S": "p1"}, "b": {"S": "p2"}}},
    "some": {"L": [{"M": {"p": {"S": "p1"}}}, {"M": {}}]},
}
PATHS = "p: P, 'l[].p': P, 's[]': P, 'j:json.p': P, 'm{keys}': P, label: 'for {P}.', nil: P, "
PATHS += "'plain[]': P, 'jl:json[].p': P, 'parts:split(,)[]': P, 'v{}': P, 'some[].p': P"


@pytest.mark.parametrize(
    ("body", "attribute", "path"),
    [
        ("item['p'] = 'x'", "p", "p"),
        ("del item['p']", "p", "p"),
        ("item['p'] = None", "p", "p"),
        ("item['l'][1]['p'] = 'x'", "l", "l[].p"),
        ("del item['l'][1]", "l", "l[].p"),
        ("item['l'].append({'p': 'x'})", "l", "l[].p"),
        ("item['s'].add('x')", "s", "s[]"),
        ("item['j'] = item['j'].replace('\"n\"', '\"p\"')", "j", "j:json.p"),
        ("item['j'] = 'no JSON'", "j", "j:json.p"),
        ("item['m'] = {}", "m", "m{keys}"),
        ("item['label'] = item['label'].upper()", "label", "label"),
        ("item['nil'] = 'x'", "nil", "nil"),
    ],
)
def test_references_stay_at_their_paths(body, attribute, path):
    """In lists, sets, JSON text, names of maps and templates."""
    found = refused(body + "\nreturn item", REFERRING, COPY % PATHS)
    assert found == (attribute, f"the transform changes the reference {path}; let it leave that as it is")


@pytest.mark.parametrize(
    ("body", "attribute", "path"),
    [
        ("item['l'].reverse()", "l", "l[].p"),
        ("a, b = item['l']\na['p'], b['p'] = b['p'], a['p']", "l", "l[].p"),
        ("item['plain'].sort(key=item['plain'].count)\nitem['plain'].reverse()", "plain", "plain[]"),
        ("item['plain'].insert(0, None)", "plain", "plain[]"),
        ("a, b = item['some']\nb['p'] = a.pop('p')", "some", "some[].p"),
        ("import json\nitem['jl'] = json.dumps(json.loads(item['jl'])[::-1])", "jl", "jl:json[].p"),
        ("item['parts'] = ', '.join(item['parts'].split(', ')[::-1])", "parts", "parts:split(,)[]"),
        ("item['v'] = dict(zip(item['v'], reversed(item['v'].values())))", "v", "v{}"),
        ("item['v'] = {name.upper(): one for name, one in item['v'].items()}", "v", "v{}"),
    ],
)
def test_references_stay_at_their_places(body, attribute, path):
    """None takes the place of another: not in a list, not under the name of another, not beside what it did not stand beside."""
    found = refused(body + "\nreturn item", REFERRING, COPY % PATHS)
    assert found == (attribute, f"the transform moves the reference {path}; let it leave each one at its place")


def test_an_element_that_holds_a_reference_is_not_taken_out():
    """Nor is one made equal to another, or given the id as another type; behind the last, elements may come and go."""
    for body in ("del item['plain'][0]", "del item['plain'][2]", "item['jl'] = item['jl'].replace('7', '\"7\"')"):
        attribute, reason = refused(body + "\nreturn item", REFERRING, COPY % PATHS)
        assert reason.startswith(f"the transform changes the reference {attribute}")
    assert made("del item['some'][1]\nreturn item", REFERRING, COPY % PATHS).item["some"]["L"][1:] == []


def test_json_text_that_is_none_or_too_deep_may_not_hide_a_change():
    """What is no JSON holds no reference; what is too deep to be looked at stays as a whole."""
    text = COPY % "'j:json.p': P"
    assert made("item['j'] = '{}'\nreturn item", {"j": {"S": "{p"}}, text).item["j"] == {"S": "{}"}
    deep = '{"p": "p1", "n": ' + "[" * 990 + "]" * 990 + "}"
    assert refused("item['j'] = item['j'].replace('p', 'q')\nreturn item", {"j": {"S": deep}}, text)[0] == "j"


@pytest.mark.parametrize(
    "body",
    [
        "item['l'][1]['n'] = 5",
        "item['l'].append({'n': 5})",
        "import json\nitem['j'] = json.dumps({'n': 5, **json.loads(item['j'])}, indent=1)",
        "item['l'] = [dict(reversed(one.items()), x=1) for one in item['l']]",
        "item['s'] = set(reversed(sorted(item['s'])))\nitem['new'] = 1",
        "item['parts'] = item['parts'].replace(' ', '')",
        "item['m'] = {name: 'other' for name in item['m']}",
        "del item['nil']",
        "item['new'] = item['p']",
    ],
)
def test_what_stands_beside_references_may_change(body):
    """Below the same attribute, too; null is no reference."""
    assert made(body + "\nreturn item", REFERRING, COPY % PATHS).before is not None


@pytest.mark.parametrize(
    ("fields", "body", "attribute"),
    [
        ("{id: {from: id}, q: {from: l}}", "item['q'][0]['p'] = 'x'", "q"),
        ("{id: {from: id}, q: {from: j, type: map}}", "item['q']['n'] = 5", "q"),
        ("{id: {from: id}, t: 'T#{p}'}", "item['t'] = 'T'", "t"),
        ("{id: {from: id}}", "item['r']['l'][0]['p'] = 'x'", "r"),
    ],
)
def test_references_stay_where_fields_and_rest_put_them(fields, body, attribute):
    """A field with a type, and a template, stay as a whole."""
    text = HEAD + f"  P: {{transform: null}}\n  A: {{references: {{{PATHS}}}, fields: {fields}, rest: r}}\n"
    assert refused(body + "\nreturn item", REFERRING, text)[0] == attribute
    fine = made("item['r']['more'] = 1\nitem.get('q', [{}])\nreturn item", REFERRING, text)
    assert fine.item["r"]["M"]["more"] == {"N": "1"}


def test_ids_inside_records_stay():
    """What else the record holds may change."""
    text = COPY % "'log:json': {record_of: P}, before: {record_of: P}"
    item = {"log": {"S": '{"id": "p1", "n": 1}'}, "before": {"M": {"id": {"S": "p1"}, "n": {"N": "1"}}}}
    assert refused("item['before']['id'] = 'x'\nreturn item", item, text)[0] == "before"
    assert refused("item['log'] = '{}'\nreturn item", item, text)[0] == "log"
    assert made("item['before']['n'] = 2\nreturn item", item, text).before is not None


def test_keys_of_indexes_may_change_but_must_be_right():
    """Left out, they are sparse no more than the item says."""
    text = (
        HEAD + "  A: {id_format: keep, create: {key: {id: S}, indexes: {byG: {g: S}}}, "
        "fields: {id: {from: id}, g: '{status}'}, rest: r}\n"
    )
    assert made("return item", {}, text).sparse == ["g"]
    row = made("item['g'] = 'new'\nreturn item", {}, text)
    assert (row.item["g"], row.sparse) == ({"S": "new"}, [])
    assert refused("item['g'] = 5\nreturn item", {}, text) == (
        "g",
        "an index key of the target has type S, the value N",
    )
    assert refused("item['g'] = ''\nreturn item", {}, text)[1] == "an index key of the target is empty"


def test_size_and_levels_are_those_of_what_it_returns():
    """The checks of every item."""
    assert "bytes; DynamoDB takes" in refused("item['x'] = 'x' * 500_000\nreturn item")[1]
    body = "x = []\nfor _ in range(32): x = [x]\nitem['x'] = x\nreturn item"
    assert "32 levels deep" in refused(body)[1]
    assert made(body.replace("32", "31"), {}).item["x"]


def test_key_id_and_references_are_known_without_it():
    """What runs for keys alone does not call it."""
    route = route_of("raise KeyError", COPY % PATHS)
    item = {"id": {"S": "i"}} | REFERRING
    row = route_of("return item", COPY % PATHS).route(item)
    assert route.key_of(item) == row.key
    assert route.references_of(item)[0] == row.references
    rejected = route.route(item)
    assert (rejected.old, list(rejected.references)) == (row.old, row.references)


# the file


@pytest.mark.parametrize(
    ("transform", "sentence"),
    [
        ("clean_lead", "is 'clean_lead'; write FILE.py:FUNCTION, as in transforms.py:clean_lead, for a file beside"),
        ("t.py", "is 't.py'; write FILE.py:FUNCTION"),
        ("/t.py:f", "is '/t.py:f'; write FILE.py:FUNCTION"),
        ("../t.py:f", "is '../t.py:f'; write FILE.py:FUNCTION"),
        ("lib/t.py:f", "is 'lib/t.py:f'; write FILE.py:FUNCTION"),
        ("t.py:f()", "is 't.py:f\\(\\)'; write FILE.py:FUNCTION"),
        ("u.py:f", "u.py: no such file; put it beside the mapping file, or correct the name"),
    ],
)
def test_a_wrong_transform_is_one_sentence(transform, sentence):
    """When the file is read."""
    with pytest.raises(MappingError, match=f"^mapping.yaml: line \\d+: tables.A.transform.*{sentence}.*\\.$"):
        mapping_of(f"tables: {{A: {{source: s, target: t, transform: '{transform}'}}}}", {"t.py": "def f(item): ..."})


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (
            "def f(item):\n  return (\n",
            "mapping.yaml: line 1: defaults.transform: t.py, line 2: '\\(' was never closed; correct",
        ),
        ("def f(item): ...\0", "mapping.yaml: line 1: defaults.transform: .*null byte.*correct the Python there"),
        ("def g(item): ...", "tables.A.transform: t.py has no function 'f'; known are g."),
        ("def ff(item): ...", "tables.A.transform: t.py has no function 'f'; did you mean 'ff'?"),
        ("f = 5", "tables.A.transform: t.py: f is not a function; write `def f\\(item\\):`."),
        ("def f(): ...", "t.py: f cannot be called with one item; write `def f\\(item\\):`."),
        ("def f(item, more): ...", "t.py: f cannot be called with one item"),
        ("def f(*, item): ...", "t.py: f cannot be called with one item"),
        (
            "async def f(item): return item",
            "tables.A.transform: t.py: f is an `async def`, which returns no item when it is called; write `def` without `async`",
        ),
        ("async def f(item): yield item", "t.py: f is an `async def` with `yield`, which returns no item"),
        ("def f(item): yield item", "t.py: f is a generator, because it holds `yield`, .*; `return` the item instead."),
        ("class F:\n  async def __call__(self, item): return item\nf = F()", "t.py: f is an `async def`"),
        ("import functools\ndef g(n, item): yield item\nf = functools.partial(g, 1)", "t.py: f is a generator"),
        ("\nimport nothing_there", "t.py, line 2: ModuleNotFoundError: No module named .*; correct the Python there."),
        (
            "def f(item): ...\nimport sys\nsys.exit(0)",
            "transform: t.py, line 3: SystemExit: 0; correct the Python there.",
        ),
    ],
)
def test_a_wrong_file_is_one_sentence(code, sentence):
    """When it is read, or when routes are compiled, before an item is."""
    with pytest.raises(MappingError, match=sentence) as problem:
        routes_of(HEAD + "  A: {}\n", files={"t.py": code})
    assert "\n" not in str(problem.value)


def test_only_a_regular_file_beside_the_mapping_is_read(tmp_path, monkeypatch):
    """No symlink, no folder, no pipe; nothing that is very large."""
    from runbook_lib.mapping.transform import read_code

    (tmp_path / "real.py").write_text("def f(item): ...")
    (tmp_path / "link.py").symlink_to(tmp_path / "real.py")
    (tmp_path / "folder.py").mkdir()
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "large.py").write_bytes(b"#" * 5_000_001)
    reasons = {
        "link": "a symlink",
        "folder": "not a regular file",
        "pipe": "not a regular file",
        "large": "larger than",
    }
    for name, reason in reasons.items():
        with pytest.raises(ValueError, match=f"{name}.py cannot be read: it is {reason}.*; put a Python file there"):
            read_code(tmp_path, f"{name}.py")
    assert read_code(tmp_path, "real.py").source == b"def f(item): ..."


def test_a_mapping_is_read_without_running_anything_and_a_file_runs_once():
    """For all of its entries; what was read is what runs, and what a traceback shows."""
    code = "print('running')\ncount = 0\ndef f(item):\n    raise KeyboardInterrupt\ndef g(item):\n    return item\n"
    text = HEAD + "  A: {}\n  B: {transform: 't.py:g'}\n"
    with pytest.MonkeyPatch.context() as patch:
        ran = []
        patch.setattr("builtins.print", ran.append)
        mapping = mapping_of(text, {"t.py": code})
        assert (ran, mapping.entries["A"].code is mapping.entries["B"].code) == ([], True)
        routes = routes_of(text, files={"t.py": code})
        assert ran == ["running"]
    try:
        routes["A"].route(ITEM)
    except KeyboardInterrupt as problem:  # the folder is gone
        shown = "".join(traceback.format_exception(problem))
    assert "t.py" in shown
    assert "line 4, in f\n    raise KeyboardInterrupt" in shown


def test_the_fingerprint_covers_the_file():
    """Its bytes; a mapping without a transform has the fingerprint that it had."""
    text = HEAD + "  A: {}\n"
    one, two, same = (mapping_of(text, {"t.py": code}).fingerprint for code in ("f = 1", "f = 2", "f = 1"))
    assert one == same != two
    plain = "tables: {A: {source: s, target: t}}"
    assert mapping_of(plain).fingerprint == mapping_of(plain, {"t.py": "f = 1"}).fingerprint


# the ledger, and what is shown


LEDGER = "item['a'] = 'new'\ndel item['gone']\nitem['more'] = 1\nreturn item"


def ledger(body: str, source: list[dict], text: str) -> dict[str, dict[str, int]]:
    """Attribute → word → items."""
    route = route_of(body, text)
    rows = [route.route({"id": {"S": f"i{n}"}} | item) for n, item in enumerate(source)]
    return {name: dict(+counts) for name, counts in Ledger(route.entry).page(rows).items()}


def test_the_ledger_of_a_copy_counts_what_was_changed_or_taken_out():
    """What a rule has done comes first; what the function adds is nobody's loss."""
    item = {"a": {"S": "old"}, "gone": {"N": "1"}, "kept": {"S": "x"}, "p": {"S": "p1"}, "d": {"S": "d"}}
    text = HEAD + "  P: {transform: null}\n  A: {references: {p: P}, drop: [d]}\n"
    same = item | {"a": {"S": "new"}}
    assert ledger(LEDGER, [item, item, same], text) == {
        "id": {"rewritten": 3},
        "a": {"copied": 1, "transformed": 2},
        "gone": {"transformed": 3},
        "kept": {"copied": 3},
        "p": {"rewritten": 3},
        "d": {"dropped": 3},
    }


def test_the_ledger_of_fields_and_rest_counts_what_was_changed_or_taken_out():
    """Copies of a field, members of the rest and of what was merged with it; a conversion stays one."""
    text = HEAD + (
        "  A: {id_format: keep, fields: {id: {from: id}, b: {from: a}, c: {from: a}, n: {from: n, type: number}, "
        "t: '{s}', z: {from: z, default: none}}, rest: r}\n"
    )
    item = {
        "a": {"S": "x"},
        "n": {"S": "5"},
        "s": {"S": "s"},
        "e": {"S": "e"},
        "r": {"M": {"own": {"S": "o"}, "other": {"S": "o"}}},
    }
    body = "item['b'] = 'y'\nitem['n'] = 6\nitem['t'] = 'T'\nitem['z'] = 'Z'\nitem['r']['e'] = 'E'\n"
    assert ledger(body + "return item", [item], text) == {
        "id": {"copied": 1},
        "a": {"transformed": 1},
        "n": {"converted": 1},
        "s": {"rest": 1},
        "e": {"transformed": 1},
        "r": {"rest": 1},
        "z": {"defaulted": 1},
    }
    assert ledger("del item['r']['own']\nreturn item", [item], text)["r"] == {"transformed": 1}
    found = ledger("del item['r']\nreturn item", [item], text)
    assert {name for name, words in found.items() if words == {"transformed": 1}} == {"s", "e", "r"}


@given(items)
def test_no_value_is_unaccounted_because_of_a_transform(item):
    """Whatever goes."""
    row = EMPTYING.route(item | {"id": {"S": "i"}})
    counts = Ledger(EMPTYING.entry).page([row])
    assert all(dict(words) in ({"transformed": 1}, {"rewritten": 1}) for words in counts.values())


EMPTYING = route_of("return {'id': item['id'], 'new': 1}")


def test_samples_show_what_it_has_changed_made_and_left_out():
    """By the function's name."""
    item = {"id": {"S": "i"}, "a": {"S": "old"}, "gone": {"N": "1"}, "kept": {"S": "x"}}
    route = route_of(LEDGER)
    found = {change.attribute: (change.kind, change.what) for change in changes(item, route.route(item), route.entry)}
    assert found == {
        "id": ("new id", "new id"),
        "a": ("transformed", "transformed by t.py:f"),
        "gone": ("transformed", "left out by t.py:f"),
        "kept": ("copied", "copied"),
        "more": ("made", "made by t.py:f"),
    }


def test_samples_show_it_in_the_rest():
    """What moved there, and what is new there."""
    text = HEAD + "  A: {id_format: keep, fields: {id: {from: id}, a: 'A'}, rest: r}\n"
    item = {"id": {"S": "i"}, "a": {"S": "a"}, "b": {"S": "b"}, "c": {"S": "c"}}
    route = route_of("item['r']['a'] = 'x'\ndel item['r']['b']\nitem['r']['n'] = 1\nreturn item", text)
    found = [(change.attribute, change.kind, change.what) for change in changes(item, route.route(item), route.entry)]
    assert found == [
        ("id", "copied", "copied"),
        ("a", "made", "made by template A"),
        ("a", "transformed", "transformed by t.py:f"),
        ("b", "transformed", "left out by t.py:f"),
        ("c", "moved", "moved to r"),
        ("r.n", "made", "made by t.py:f"),
    ]


def test_the_rule_of_a_difference_names_it():
    """Alone where no rule makes the attribute."""
    entry = mapping_of(HEAD + "  A: {drop: [d]}\n", {"t.py": "f = 1"}).entries["A"]
    assert rule_of(entry, "a") == "copied, transform t.py:f"
    assert rule_of(entry, "d") == "transform t.py:f"


# the same result twice


def checked(body: str, source: list[dict], head: str = "") -> None:
    """Routes a page and looks at it as 01 does."""
    code = head + "def f(item):\n" + "".join(f"    {line}\n" for line in body.splitlines())
    route = routes_of(HEAD + "  A: {}\n", files={"t.py": code})["A"]
    page = Page("s", 0, 0, None, None, [{"id": {"S": f"i{n}"}} | item for n, item in enumerate(source)])
    check_repeatable(route_items(page, [route], [], {}), [route])


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ("item['x'] = next(count)", "A, x"),
        ("if next(count): item['x'] = 1", "A, x"),
        ("if next(count): raise ValueError('later')", "A"),
        ("if not next(count): raise ValueError('first')", "A"),
        ("raise ValueError(('one', 'another')[next(count) % 2])", "A"),
    ],
)
def test_a_function_that_gives_different_results_is_refused(body, where):
    """Another value, an item and a reason, another reason."""
    with pytest.raises(MappingError) as problem:
        checked(body + "\nreturn item", [{}], "import itertools\ncount = itertools.count()\n")
    assert str(problem.value) == (
        f"{where}: t.py:f gives different results for one item; it must depend on the item alone."
    )


def test_a_function_that_depends_on_the_item_alone_is_not_refused():
    """Also where it quarantines; and few items are asked twice."""
    numbers = [{"n": {"N": str(n)}} for n in range(100)]
    checked("if item['n'] % 2: raise ValueError('odd')\nitem['x'] = item['n']\nreturn item", numbers)
    calls = Counter()
    route = routes_of(HEAD + "  A: {}\n", files={"t.py": "def f(item):\n    return item\n"})["A"]
    counting = SimpleNamespace(**{name: getattr(route, name) for name in ("entry", "writes")})
    counting.route = lambda item: calls.update(calls=1) or route.route(item)
    page = Page("s", 0, 0, None, None, [{"id": {"S": f"i{n}"}} for n in range(100)])
    check_repeatable(route_items(page, [route], [], {}), [counting])
    assert calls["calls"] == 8
