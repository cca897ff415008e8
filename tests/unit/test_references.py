"""Rewriting of references: every id at a path becomes the new id of the item it names."""

import copy
import json
from itertools import combinations

import pytest
from compiled import routes_of
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import items, texts, values

from runbook_lib.mapping.ids import id_function
from runbook_lib.mapping.routes import Row
from runbook_lib.mapping.text.paths import meet, parse

HEAD = "defaults: {source: '{table}-s', target: '{table}-t', id: id}\n"
PEOPLE = id_function("prod", "People", "uuid")
NULL = {"NULL": True}


def new(old, entry="People", id_format="uuid", letter="S"):
    """The new id that the parent itself gets."""
    return id_function("prod", entry, id_format)({letter: old})[letter]


def moved(references, attributes, *, tables="People: {}", keys=None, exists=None):
    """What becomes of an item of entry Notes with these references and attributes."""
    text = f"{HEAD}tables:\n  {tables}\n  Notes: {{references: {references}}}"
    row = routes_of(text, keys, exists)["Notes"].route({"id": {"S": "n1"}, **attributes})
    assert isinstance(row, Row)
    return row


def found(row):
    return [(f.path, f.parent, f.old, f.new) for f in row.references]


def test_a_reference_becomes_the_id_that_its_parent_gets():
    """The child needs no lookup: the parent's own route gives the same new id."""
    text = f"{HEAD}tables:\n  People: {{}}\n  Notes: {{references: {{by: People}}}}"
    routes = routes_of(text)
    parent = routes["People"].route({"id": {"S": "p1"}, "name": {"S": "x"}})
    child = routes["Notes"].route({"id": {"S": "n1"}, "by": {"S": "p1"}})
    assert child.item["by"] == parent.item["id"] != {"S": "p1"}
    assert found(child) == [("by", "People", {"S": "p1"}, parent.item["id"])]
    assert (child.old_id, parent.new_id) == ("n1", parent.item["id"]["S"])


@pytest.mark.parametrize(
    ("path", "attribute", "old", "expected", "count"),
    [
        ("by", "by", {"S": "p"}, {"S": new("p")}, 1),
        (
            "a.b.c",
            "a",
            {"M": {"b": {"M": {"c": {"S": "p"}, "d": {"S": "p"}}}}},
            {"M": {"b": {"M": {"c": {"S": new("p")}, "d": {"S": "p"}}}}},
            1,
        ),
        (
            "by[]",
            "by",
            {"L": [{"S": "p"}, NULL, {"S": ""}, {"S": "q"}]},
            {"L": [{"S": new("p")}, NULL, {"S": ""}, {"S": new("q")}]},
            2,
        ),
        (
            "by[].id",
            "by",
            {"L": [{"M": {"id": {"S": "p"}}}, {"M": {}}]},
            {"L": [{"M": {"id": {"S": new("p")}}}, {"M": {}}]},
            1,
        ),
        ("by[][]", "by", {"L": [{"L": [{"S": "p"}]}, {"L": []}]}, {"L": [{"L": [{"S": new("p")}]}, {"L": []}]}, 1),
        ("by[]", "by", {"SS": ["p", "q"]}, {"SS": [new("p"), new("q")]}, 2),
        ("a.by[]", "a", {"M": {"by": {"SS": ["p"]}}}, {"M": {"by": {"SS": [new("p")]}}}, 1),
        (
            "by:json[]",
            "by",
            {"S": ' [ "p" ,\n"q",null, "" ] '},
            {"S": f' [ "{new("p")}" ,\n"{new("q")}",null, "" ] '},
            2,
        ),
        (
            "by:json.a.id",
            "by",
            {"S": '{"z":1, "a" :{"id":"p"},"id":"p"}'},
            {"S": f'{{"z":1, "a" :{{"id":"{new("p")}"}},"id":"p"}}'},
            1,
        ),
        ("by[]:json.id", "by", {"L": [{"S": '{"id":"p"}'}]}, {"L": [{"S": f'{{"id":"{new("p")}"}}'}]}, 1),
        ("by:json[]:json.id", "by", {"S": '["{\\"id\\":\\"p\\"}"]'}, {"S": f'["{{\\"id\\":\\"{new("p")}\\"}}"]'}, 1),
        ("by:json", "by", {"S": '"p"'}, {"S": f'"{new("p")}"'}, 1),
    ],
)
def test_paths(path, attribute, old, expected, count):
    """Into maps, lists, sets, JSON text, and combinations; what is beside the path stays."""
    row = moved(f'{{"{path}": People}}', {attribute: old})
    assert row.item[attribute] == expected
    assert [f.path for f in row.references] == [path] * count
    assert row.unreadable == []


@pytest.mark.parametrize("value", [NULL, {"S": ""}, {"L": []}, {"M": {}}, {"B": ""}, None])
@pytest.mark.parametrize("path", ["by", "by.a", "by[]", "by:json", "by:json[].id", "by[].a"])
def test_null_absent_and_empty_are_left_alone(path, value):
    """They are neither dangling nor unreadable."""
    row = moved(f'{{"{path}": People}}', {} if value is None else {"by": value})
    assert row.item.get("by") == value
    assert (row.references, row.unreadable) == ([], [])


@pytest.mark.parametrize("text", ["null", "[]", "{}", '""', '{"id": null}', '{"id": ""}', '{"x": 1}', '{"id": []}'])
def test_null_absent_and_empty_inside_json_are_left_alone(text):
    """The same inside JSON text."""
    row = moved('{"by:json.id": People}', {"by": {"S": text}})
    assert row.item["by"] == {"S": text}
    assert (row.references, row.unreadable) == ([], [])


@pytest.mark.parametrize(
    ("path", "value", "times"),
    [
        ("by", {"BOOL": True}, 1),
        ("by", {"L": [{"S": "p"}]}, 1),
        ("by", {"M": {"a": {"S": "p"}}}, 1),
        ("by", {"SS": ["p"]}, 1),
        ("by.a", {"S": "p"}, 1),
        ("by[]", {"S": "p"}, 1),
        ("by[]", {"M": {"a": {"S": "p"}}}, 1),
        ("by[]", {"L": [{"BOOL": False}, {"M": {"a": NULL}}]}, 2),
        ("by[].a", {"SS": ["p"]}, 1),
        ("by:json", {"N": "5"}, 1),
        ("by:json", {"S": "contact-1, contact-2"}, 1),
        ("by:json[]", {"S": '{"id": "p"}'}, 1),
        ("by:json[]", {"S": "[true, false]"}, 2),
        ("by:json.id", {"S": '{"id": true}'}, 1),
        ("by:json.id", {"S": '["p"]'}, 1),
    ],
)
def test_what_is_no_id_stays_and_is_counted(path, value, times):
    """Another type than the path expects, text that is not JSON: copied as it is, counted unreadable."""
    row = moved(f'{{"{path}": People}}', {"by": value})
    assert row.item["by"] == value
    assert row.references == []
    assert row.unreadable == [path] * times


def test_one_odd_member_does_not_keep_the_others_from_being_rewritten():
    """Lists and JSON arrays alike: an id left in the target would point into the source."""
    in_list = moved('{"by[]": People}', {"by": {"L": [{"BOOL": True}, {"S": "p"}]}})
    assert in_list.item["by"] == {"L": [{"BOOL": True}, {"S": new("p")}]}
    in_json = moved('{"by:json[]": People}', {"by": {"S": '[true, "p", {"a": 1}]'}})
    assert in_json.item["by"] == {"S": f'[true, "{new("p")}", {{"a": 1}}]'}
    for row, odd in ((in_list, 1), (in_json, 2)):
        assert (len(row.references), len(row.unreadable)) == (1, odd)


@given(
    items,
    st.lists(
        st.sampled_from(["a", "a.b", "a[]", "a[].b", "a:json", "a:json.b", "a:json[]", "tags", "tags[]", "S"]),
        unique=True,
        max_size=4,
    ),
)
def test_items_are_never_changed_and_nothing_else_is_touched(item, paths):
    """Whatever stands there; attributes without a path arrive as they are; the same again on a second call."""
    assume(not any(meet(parse(one), parse(other)) for one, other in combinations(paths, 2)))
    route = _route(tuple(paths))
    item = {**item, "id": {"S": "n1"}}
    before = copy.deepcopy(item)
    row = route.route(item)
    assert item == before
    assert row == route.route(item)
    first = {path.split(".")[0].split("[")[0].split(":")[0] for path in paths} | {"id"}
    assert {n: v for n, v in row.item.items() if n not in first} == {n: v for n, v in item.items() if n not in first}
    assert row.item.keys() == item.keys()


_routes = {}


def _route(paths):
    if paths not in _routes:
        references = ", ".join(f'"{path}": People' for path in paths)
        _routes[paths] = routes_of(f"{HEAD}tables:\n  People: {{}}\n  Notes: {{references: {{{references}}}}}")["Notes"]
    return _routes[paths]


@given(st.dictionaries(st.sampled_from("abc") | texts, texts | st.lists(texts) | st.none(), max_size=5))
def test_json_text_keeps_its_meaning_beside_the_ids(document):
    """Every other value of the document is as before."""
    row = _route(("a:json.b", "a:json.c[]")).route({"id": {"S": "n"}, "a": {"S": json.dumps(document)}})
    after = json.loads(row.item["a"]["S"]) if document else document
    for name, value in document.items():
        if name == "b" and isinstance(value, str) and value:
            assert after[name] == new(value)
        elif name == "c" and isinstance(value, list):
            assert after[name] == [member and new(member) for member in value]
        else:
            assert after[name] == value


def test_an_empty_member_of_a_set_is_left_alone():
    """As in a list: it is no reference, and not dangling."""
    row = moved('{"by[]": People}', {"by": {"SS": ["", "p"]}})
    assert row.item["by"] == {"SS": ["", new("p")]}
    assert (len(row.references), row.unreadable) == (1, [])


def test_paths_into_one_json_text_that_cross():
    """What one path reaches by a name, and the other as any value: they go one after the other, in the order of the mapping."""
    text = {"S": json.dumps({"a": {"x": "p", "y": "q"}})}
    row = moved('{"d:json{}.x": People, "d:json.a.y": People}', {"d": text})
    assert row.item["d"]["S"] == json.dumps({"a": {"x": new("p"), "y": new("q")}})
    assert [f.path for f in row.references] == ["d:json{}.x", "d:json.a.y"]


@given(
    st.permutations(["a:json.b", "a:json.b.c", "a:json.c[]", "a:json.c[].b", "a:json.d:json.b", "a:json[].b"]),
    st.dictionaries(
        st.sampled_from("bcd"),
        st.sampled_from(["p", "", '{"b":"p"}', True, None, 7, ["p", "q"], [{"b": "p"}], {"c": "p"}, {"c": [1]}]),
    )
    | st.lists(st.sampled_from([{"b": "p"}, {"b": True}, "x", []])),
)
def test_paths_into_one_json_text_find_what_each_finds_alone(paths, document):
    """One pass over the text; as if each of them had been the only one, in the order of the mapping."""
    attributes = {"id": {"S": "n"}, "a": {"S": json.dumps(document)}}
    together = _route(tuple(paths)).route(attributes)
    alone = [_route((path,)).route(attributes) for path in paths]
    assert together.references == [f for row in alone for f in row.references]
    assert together.unreadable == [p for row in alone for p in row.unreadable]
    one_by_one = attributes
    for path in paths:
        one_by_one = {**attributes, "a": _route((path,)).route(one_by_one).item["a"]}
    assert together.item["a"] == one_by_one["a"]


# Templates: ids inside text


def test_ids_inside_text():
    """Each piece by the rule of its own parent; the text around stays."""
    row = moved("{pk: 'ORG#{Orgs}#USER#{People}'}", {"pk": {"S": "ORG#o#USER#p"}}, tables="People: {}\n  Orgs: {}")
    assert row.item["pk"] == {"S": f"ORG#{new('o', 'Orgs')}#USER#{new('p')}"}
    assert [(f.path, f.parent, f.old) for f in row.references] == [
        ("pk", "Orgs", {"S": "o"}),
        ("pk", "People", {"S": "p"}),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "ORG#a#USER#b#USER#c",
        "ORG##USER#USER#x#USER#y",
        "ORG#a",
        "org#a#USER#b",
        "ORG#a#USER#",
        "xORG#a#USER#b",
        "ORG#a#USER#b#USER#c#USER#d",
    ],
)
def test_text_that_matches_not_or_in_several_ways_is_left_alone(text):
    """And counted: guessing would make a wrong id."""
    row = moved("{pk: 'ORG#{Orgs}#USER#{People}'}", {"pk": {"S": text}}, tables="People: {}\n  Orgs: {}")
    assert row.item["pk"] == {"S": text}
    assert (row.references, row.unreadable) == ([], ["pk"])


@pytest.mark.parametrize("value", [{"N": "5"}, {"L": [{"S": "U#p"}]}, {"B": "VSNw"}])
def test_a_template_is_for_text_alone(value):
    """Anything else is counted unreadable."""
    row = moved("{pk: 'U#{People}'}", {"pk": value})
    assert (row.item["pk"], row.references, row.unreadable) == (value, [], ["pk"])


def test_templates_in_lists_and_json():
    """A template stands wherever an entry's name can."""
    row = moved(
        '{"a[]": "U#{People}", "b:json.x": "U#{People}"}',
        {"a": {"L": [{"S": "U#p"}, {"S": "V#p"}]}, "b": {"S": '{"x":"U#p"}'}},
    )
    assert row.item["a"] == {"L": [{"S": f"U#{new('p')}"}, {"S": "V#p"}]}
    assert row.item["b"] == {"S": f'{{"x":"U#{new("p")}"}}'}
    assert row.unreadable == ["a[]"]


# Polymorphic and self references


def test_the_table_is_named_by_another_attribute():
    """Of the source item; the named entry's own format applies."""
    tables = "People: {}\n  Orgs: {id_format: short}"
    row = moved("{of: {table_named_by: kind}}", {"of": {"S": "x"}, "kind": {"S": "Orgs"}}, tables=tables)
    assert row.item["of"] == {"S": new("x", "Orgs", "short")}
    assert found(row) == [("of", "Orgs", {"S": "x"}, {"S": new("x", "Orgs", "short")})]


@pytest.mark.parametrize("kind", [{"S": "Planets"}, {"S": "people"}, NULL, {"N": "1"}, None, {"L": [{"S": "People"}]}])
@pytest.mark.parametrize("dangling", ["map", "keep", "null", "remove"])
def test_an_unknown_table_name_keeps_the_value_and_counts_as_dangling(kind, dangling):
    """Whatever the policy: no rule is known by which to change it."""
    attributes = {"of": {"S": "x"}, **({"kind": kind} if kind else {})}
    row = moved(f"{{of: {{table_named_by: kind, dangling: {dangling}}}}}", attributes)
    assert row.item["of"] == {"S": "x"}
    assert found(row) == [("of", None, None, None)]


def test_polymorphic_ids_inside_json_text():
    """The name stands beside the text, as in an audit log."""
    row = moved(
        '{"was:json.id": {table_named_by: kind}}', {"was": {"S": '{"id": "p", "n": 1.0}'}, "kind": {"S": "People"}}
    )
    assert row.item["was"] == {"S": f'{{"id": "{new("p")}", "n": 1.0}}'}


def test_an_entry_may_refer_to_itself():
    """Also an item to itself."""
    row = moved("{parent: Notes}", {"parent": {"S": "n1"}})
    assert row.item["parent"] == row.item["id"] == {"S": new("n1", "Notes")}


def test_several_paths_in_one_attribute():
    """Each is rewritten once; none undoes another."""
    row = moved(
        '{"d:json.id": Notes, "d:json.by": People, "d:json.all[]": People}',
        {"d": {"S": '{"by":"p","id":"n1","all":["p","q"]}'}},
    )
    assert row.item["d"] == {
        "S": f'{{"by":"{new("p")}","id":"{new("n1", "Notes")}","all":["{new("p")}","{new("q")}"]}}'
    }
    assert len(row.references) == 4


# Dangling references


def only(*olds):
    """A source that holds these people."""
    return lambda entry, old: (entry, old.get("S")) in {("People", known) for known in olds}


@pytest.mark.parametrize(
    ("dangling", "gone"),
    [
        ("map", {"S": new("gone")}),
        ("stop", {"S": new("gone")}),
        ("keep", {"S": "gone"}),
        ("null", NULL),
        ("remove", {}),
    ],
)
def test_dangling_policies(dangling, gone):
    """Mapped by the same rule, kept, null or left out; counted in each case; a reference that resolves is not touched by it."""
    reference = f"{{to: People, dangling: {dangling}}}"
    row = moved(f"{{by: {reference}, also: {reference}}}", {"by": {"S": "gone"}, "also": {"S": "p"}}, exists=only("p"))
    assert row.item.get("by", {}) == gone
    assert row.item["also"] == {"S": new("p")}
    assert found(row) == [("by", "People", {"S": "gone"}, gone), ("also", "People", {"S": "p"}, {"S": new("p")})]


def test_dangling_references_in_containers_become_null_there():
    """A list keeps its length, a set cannot hold null, JSON has its own, a text with an id in it becomes null."""
    references = {path: {"to": "People", "dangling": None} for path in ("l[]", "s[]", "e[]", "j:json[]")}
    references["t"] = {"to": "U#{People}", "dangling": None}
    attributes = {
        "l": {"L": [{"S": "gone"}, {"S": "p"}]},
        "s": {"SS": ["gone", "p"]},
        "e": {"SS": ["gone"]},
        "j": {"S": '["gone", "p"]'},
        "t": {"S": "U#gone"},
    }
    row = moved(json.dumps(references), attributes, exists=only("p"))
    del row.item["id"]
    assert row.item == {
        "l": {"L": [NULL, {"S": new("p")}]},
        "s": {"SS": [new("p")]},
        "e": NULL,
        "j": {"S": f'[null, "{new("p")}"]'},
        "t": NULL,
    }


def test_dangling_references_in_containers_are_left_out_there():
    """A list loses the element and stays, a set that would be empty goes, as does a text with an id in it. Null stays."""
    paths = (
        "l[]",
        "ll[][]",
        "s[]",
        "e[]",
        "ls[][]",
        "m.a",
        "deep[].a",
        "j:json[]",
        "o:json.a",
        "x:json",
        "jj:json.a:json[]",
    )
    references = {path: {"to": "People", "dangling": "remove"} for path in paths}
    references["t"] = references["lt[]"] = {"to": "U#{People}|{People}", "dangling": "remove"}
    gone, p = {"S": "gone"}, {"S": "p"}
    attributes = {
        "l": {"L": [gone, NULL, p, gone]},
        "ll": {"L": [{"L": [gone]}, {"L": [p]}]},
        "s": {"SS": ["gone", "p"]},
        "e": {"SS": ["gone"]},
        "ls": {"L": [{"SS": ["gone"]}, {"SS": ["p"]}]},
        "m": {"M": {"a": gone, "b": p}},
        "deep": {"L": [{"M": {"a": gone}}, {"M": {"a": p}}]},
        "j": {"S": '["gone", null, "p"]'},
        "o": {"S": '{"b": 1, "a": "gone"}'},
        "x": {"S": ' "gone" '},
        "jj": {"S": json.dumps({"a": '["gone"]'})},
        "t": {"S": "U#p|gone"},
        "lt": {"L": [{"S": "U#gone|p"}, {"S": "U#p|p"}, {"S": "p"}]},
    }
    row = moved(json.dumps(references), attributes, exists=only("p"))
    del row.item["id"]
    assert row.item == {
        "l": {"L": [NULL, {"S": new("p")}]},
        "ll": {"L": [{"L": []}, {"L": [{"S": new("p")}]}]},
        "s": {"SS": [new("p")]},
        "ls": {"L": [{"SS": [new("p")]}]},
        "m": {"M": {"b": p}},
        "deep": {"L": [{"M": {}}, {"M": {"a": {"S": new("p")}}}]},
        "j": {"S": f'[null, "{new("p")}"]'},
        "o": {"S": '{"b": 1}'},
        "jj": {"S": '{"a": "[]"}'},
        "lt": {"L": [{"S": f"U#{new('p')}|{new('p')}"}, {"S": "p"}]},
    }
    assert row.unreadable == ["lt[]"]


# Formats and key types of the parent


def test_with_keep_the_value_stays():
    """The parent's format applies; the reference is counted all the same."""
    row = moved(
        "{by: People, 'j:json[]': People}",
        {"by": {"S": "p"}, "j": {"S": '[ "p" ]'}},
        tables="People: {id_format: keep}",
    )
    assert (row.item["by"], row.item["j"]) == ({"S": "p"}, {"S": '[ "p" ]'})
    assert len(row.references) == 2


@pytest.mark.parametrize("letter", ["S", "N", None])
@pytest.mark.parametrize("dangling", ["map", "keep", "null", "remove"])
@pytest.mark.parametrize("json", ['["\\ud83d"]', "[1e400]", f"[{'9' * 39}]"])
def test_with_keep_what_can_be_no_id_is_dangling(json, dangling, letter):
    """Half a character, and numbers that DynamoDB has not, in JSON text: they stay, and do not end the run."""
    reference = f"{{'j:json[]': {{to: People, dangling: {dangling}}}}}"
    tables, keys = "People: {id_format: keep}", {"People": {"id": letter} if letter else {"pk": "S"}}
    row = moved(reference, {"j": {"S": json}}, tables=tables, keys=keys, exists=only("a"))
    assert (row.item["j"], found(row)) == ({"S": json}, [("j:json[]", None, None, None)])


def test_with_keep_a_number_keeps_its_spelling():
    """Also where the parent's ids are text, so that the number is read as text and put back."""
    attributes = {"n": {"N": "7.0"}, "set": {"NS": ["1E+2"]}, "j": {"S": "[7.0, -0, 1E+2]"}}
    row = moved("{n: People, 'set[]': People, 'j:json[]': People}", attributes, tables="People: {id_format: keep}")
    assert {name: row.item[name] for name in attributes} == attributes
    assert [(f.parent, f.old["S"]) for f in row.references] == [
        ("People", old) for old in ("7", "100", "7", "0", "100")
    ]


def test_a_number_parent_is_found_by_number_and_by_text():
    """Each reference stays in the form in which it stood."""
    tables, keys = "People: {id_format: number}", {"People": {"id": "N"}}
    attributes = {"n": {"N": "7.0"}, "s": {"S": "7"}, "j": {"S": '[7, "7", 7.0]'}, "set": {"NS": ["7", "8"]}}
    row = moved("{n: People, s: People, 'j:json[]': People, 'set[]': People}", attributes, tables=tables, keys=keys)
    seven, eight = (new(n, "People", "number", "N") for n in "78")
    assert row.item["n"] == {"N": seven}
    assert row.item["s"] == {"S": seven}
    assert row.item["j"] == {"S": f'[{seven}, "{seven}", {seven}]'}
    assert row.item["set"] == {"NS": [seven, eight]}
    assert all(f.parent == "People" for f in row.references)


@pytest.mark.parametrize("text", ["007", "7.0", "7e0", "x", "+7", " 7"])
def test_text_that_is_no_exact_number_names_no_number_parent(text):
    """It could not be turned back: kept, counted dangling."""
    row = moved("{by: People}", {"by": {"S": text}}, tables="People: {id_format: number}", keys={"People": {"id": "N"}})
    assert row.item["by"] == {"S": text}
    assert found(row) == [("by", None, None, None)]


def test_a_binary_parent_is_found_by_binary_and_by_base64_text():
    """B takes the 16 uuid bytes; text stays text."""
    keys = {"People": {"id": "B"}}
    row = moved(
        "{b: People, s: People, x: People, 'set[]': People}",
        {"b": {"B": "AP8="}, "s": {"S": "AP8="}, "x": {"S": "QR=="}, "set": {"BS": ["AP8="]}},
        keys=keys,
    )
    made = new("AP8=", letter="B")
    assert (row.item["b"], row.item["s"], row.item["x"]) == ({"B": made}, {"S": made}, {"S": "QR=="})
    assert row.item["set"] == {"BS": [made]}


def test_a_number_that_refers_to_a_text_id_cannot_hold_the_new_one():
    """A uuid is no number: kept, and counted as dangling, so that the verdict says it."""
    row = moved("{by: People, 'j:json[]': People}", {"by": {"N": "7"}, "j": {"S": "[7]"}})
    assert (row.item["by"], row.item["j"]) == ({"N": "7"}, {"S": "[7]"})
    assert [f.parent for f in row.references] == [None, None]


def test_an_entry_without_an_id_attribute_gives_no_new_ids():
    """What names it at run time stays, too: there is no new id to point to."""
    row = moved(
        "{of: {table_named_by: kind}}", {"of": {"S": "p"}, "kind": {"S": "People"}}, tables="People: {id: null}"
    )
    assert row.item["of"] == {"S": "p"}


@given(values)
def test_any_value_at_a_reference_is_either_an_id_or_counted(value):
    """Nothing is dropped in silence, nothing crashes."""
    row = _route(("a",)).route({"id": {"S": "n"}, "a": value})
    ((letter, content),) = value.items()
    if letter == "S" and content:
        assert len(row.references) == 1
        assert row.item["a"] != value
    elif letter in ("N", "B") and content:  # a text id cannot be put back as such
        assert [f.parent for f in row.references] == [None]
        assert row.item["a"] == value
    elif letter == "NULL" or (letter != "BOOL" and not content):
        assert (row.references, row.unreadable) == ([], [])
    else:
        assert (row.references, row.unreadable, row.item["a"]) == ([], ["a"], value)


RECORDS = (
    "People: {references: {bossId: People, 'noteIds[]': Notes}}\n  Places: {id_format: keep, references: {of: People}}"
)


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize(
    ("rule", "says"),
    [("People", "Places"), ("{table_named_by: kind}", "People")],
    ids=["of one entry", "of the entry that an attribute names"],
)
def test_a_record_is_rewritten_by_the_rules_of_its_entry(rule, says, as_text):
    """As the entry's own route rewrites it; all of its references count for the path of the record."""
    path = "'was:json'" if as_text else "was"
    text = f"{HEAD}tables:\n  {RECORDS}\n  Notes: {{references: {{{path}: {{record_of: {rule}}}}}}}"
    record = {"id": "p1", "bossId": "p2", "noteIds": ["n1", "n2"], "of": "p1", "kind": "Places"}
    typed = {"M": {n: {"L": [{"S": m} for m in v]} if isinstance(v, list) else {"S": v} for n, v in record.items()}}
    routes = routes_of(text)
    row = routes["Notes"].route(
        {"id": {"S": "n1"}, "kind": {"S": says}, "was": {"S": json.dumps(record)} if as_text else typed}
    )
    expected = routes["People"].route(typed["M"]).item
    if as_text:
        plain = {n: [m["S"] for m in v["L"]] if "L" in v else v["S"] for n, v in expected.items()}
        assert json.loads(row.item["was"]["S"]) == plain
    else:
        assert row.item["was"]["M"] == expected
    at = path.strip("'")
    assert [(f.path, f.parent) for f in row.references] == [(at, "People")] * 2 + [(at, "Notes")] * 2


def test_a_record_of_no_entry_stays_and_counts_as_dangling():
    """So does one of an entry without new ids and without references, which is not dangling."""
    rule = "{'was:json': {record_of: {table_named_by: kind}}}"
    for kind, dangling in (("Planets", 1), ("Other", 0)):
        row = moved(rule, {"kind": {"S": kind}, "was": {"S": '{"id": "x"}'}}, tables="Other: {id_format: keep}")
        assert row.item["was"] == {"S": '{"id": "x"}'}
        assert found(row) == [("was:json", None, None, None)] * dangling


@pytest.mark.parametrize("value", [{"S": "no json"}, {"N": "7"}, {"L": [{"S": "x"}]}])
def test_what_is_no_record_is_counted_once(value):
    """However many rules the entry has."""
    row = moved("{'was:json': {record_of: People}}", {"was": value}, tables=RECORDS)
    assert row.item["was"] == value
    assert row.unreadable == ["was:json"]


def test_inside_a_record_the_policies_of_its_entry_apply():
    """What its own item gets, its record gets."""
    tables = "People: {references: {bossId: {to: People, dangling: 'null'}}}"
    row = moved(
        "{was: {record_of: People}}",
        {"was": {"M": {"id": {"S": "p1"}, "bossId": {"S": "gone"}}}},
        tables=tables,
        exists=lambda entry, old: old != {"S": "gone"},
    )
    assert row.item["was"] == {"M": {"id": {"S": new("p1")}, "bossId": NULL}}


# What the naive implementation (`test_naive`) found


UNKNOWN = (None, None, None)


@pytest.mark.parametrize(
    ("path", "value", "count"),
    [
        ("r", {"M": {"id": {"S": "p"}}}, 1),
        ("r[]", {"L": [{"M": {"id": {"S": "p"}}}, {"M": {"id": {"S": "q"}}}, NULL]}, 2),
        ("r:json[]", {"S": '[{"id": "p"}, {"id": "q"}, {}, null]'}, 2),
        ("r.a", {"M": {"b": {"S": "p"}}}, 0),
    ],
)
def test_each_record_of_an_unknown_entry_counts_as_dangling(path, value, count):
    """Where there is none, nothing counts."""
    rule = json.dumps({path: {"record_of": {"table_named_by": "of"}}})
    row = moved(rule, {"r": value, "of": {"S": "Nobody"}})
    assert (row.item["r"], found(row), row.unreadable) == (value, [(path, *UNKNOWN)] * count, [])


@pytest.mark.parametrize("record", ["People", "{table_named_by: of}"])
@pytest.mark.parametrize(
    ("path", "value"), [("r", {"S": "x"}), ("r:json", {"S": '"x"'}), ("r.a:json", {"M": {"a": {"S": "x"}}})]
)
def test_a_record_that_cannot_be_read_counts_once(record, path, value):
    """However many references its entry has."""
    tables = "People: {references: {boss: People, friend: People}}"
    row = moved(f"{{'{path}': {{record_of: {record}}}}}", {"r": value, "of": {"S": "People"}}, tables=tables)
    assert (row.item["r"], found(row), row.unreadable) == (value, [], [path])


def test_a_record_may_hold_an_id_of_several_entries():
    """It is listed as such, not as unreadable."""
    tables = "{People: {}, Groups: {}, Deals: {id: null, references: {owner: {to: [People, Groups]}}}}"
    text = f"{HEAD}tables: {tables[:-1]}, Notes: {{references: {{r: {{record_of: Deals}}}}}}}}"
    row = routes_of(text, exists=lambda entry, old: True)["Notes"].route(
        {"id": {"S": "n"}, "r": {"M": {"owner": {"S": "p"}}}}
    )
    assert (row.several, row.unreadable, row.item["r"]) == (["r"], [], {"M": {"owner": {"S": new("p")}}})


def test_of_several_texts_the_one_that_fits_counts_though_no_key_can_be_the_id():
    """Then the id is dangling, and the text is not unreadable."""
    rule = '{by: {to: ["G#{Notes}", "U#{People}"]}}'
    people = {"tables": "People: {id_format: number}", "keys": {"People": {"id": "N"}}}
    row = moved(rule, {"by": {"S": "U#x"}}, **people, exists=lambda entry, old: False)
    assert (found(row), row.unreadable) == ([("by", *UNKNOWN)], [])


@pytest.mark.parametrize(("path", "value"), [("r", {"M": {"a": {"S": "p"}}}), ("r:json", {"S": '{"a": "p"}'})])
def test_what_is_no_id_is_unreadable_whatever_entry_is_named(path, value):
    """In JSON text and outside."""
    for name in ("People", "Nobody"):
        row = moved(f"{{'{path}': {{table_named_by: of}}}}", {"r": value, "of": {"S": name}})
        assert (found(row), row.unreadable) == ([], [path])


def test_an_entry_without_ids_has_none_to_refer_to():
    """Its name is as good as none, whatever `dangling` says."""
    rule = "{by: {table_named_by: of, dangling: remove}}"
    row = moved(rule, {"by": {"S": "p"}, "of": {"S": "People"}}, tables="People: {id: null}", exists=lambda *_: False)
    assert (row.item["by"], found(row)) == ({"S": "p"}, [("by", *UNKNOWN)])


def test_binary_is_no_id_of_an_entry_whose_ids_are_text():
    """Its base64 might be the same text by chance."""
    tables = "People: {id: {in: pk, as: 'P#{id}'}, id_format: number}"
    row = moved("{by: People}", {"by": {"B": "AP8="}}, tables=tables, keys={"People": {"pk": "S"}})
    assert (row.item["by"], found(row)) == ({"B": "AP8="}, [("by", *UNKNOWN)])
