"""Ids and references inside keys and other texts, in map values and keys, of several entries: what becomes of an item."""

import json

import pytest
from compiled import mapping_of, routes_of

from runbook_lib.errors import MappingError, Refused
from runbook_lib.mapping.ids import id_function
from runbook_lib.mapping.routes import Reject
from runbook_lib.walk.ledger import Ledger

HEAD = "defaults: {source: s, target: t}\ntables:\n"
KEYS = {"PK": "S", "SK": "S"}


def new(entry, old, id_format="uuid"):
    """The new id of an entry's old one."""
    return id_function("prod", entry, id_format, within_text=True)({"S": old})["S"]


def routed(rules, item, entry="Lines", exists=None):
    """The row of an item of an entry with these rules, beside the entries Orders and Items; its ledger must add up."""
    text = HEAD + f"  Orders: {{id: {{in: PK, as: 'ORDER#{{id}}'}}}}\n  Items: {{id: sku}}\n  {entry}: {rules}\n"
    names = ("Orders", "Items", entry)
    routes = routes_of(text, keys=dict.fromkeys(names, KEYS), exists=exists)
    item = {"PK": {"S": "p"}, "SK": {"S": "s"}, **item}
    row = routes[entry].route(item)
    if not isinstance(row, Reject):
        page = Ledger(routes[entry].entry).page([row])
        assert {name: counts["unaccounted"] for name, counts in page.items() if counts["unaccounted"]} == {}
        assert all(sum(counts.values()) == 1 for counts in page.values())
    return row


def words(rules, item, **more):
    """Attribute → what the ledger says became of it."""
    text = HEAD + f"  Orders: {{id: {{in: PK, as: 'ORDER#{{id}}'}}}}\n  Items: {{id: sku}}\n  Lines: {rules}\n"
    route = routes_of(text, keys=dict.fromkeys(("Orders", "Items", "Lines"), KEYS), **more)["Lines"]
    row = route.route({"PK": {"S": "p"}, "SK": {"S": "s"}, **item})
    return {name: next(iter(+counts)) for name, counts in Ledger(route.entry).page([row]).items()}


# ids inside attributes


@pytest.mark.parametrize(
    ("form", "text", "made"),
    [
        ("LINE#{id}", "LINE#7", "LINE#<7>"),
        ("{id}#LINE", "7#LINE", "<7>#LINE"),
        ("{*}#doc#{id}", "2025-03-01#doc#7", "2025-03-01#doc#<7>"),
        ("{*}#{id}", "#7", "#<7>"),
        ("{*}#{id}", "a#b#7", "a#<b#7>"),  # {*} ends where its literal first stands
        ("A#{*}#B#{id}#{*}", "A#x#y#B#7#z", "A#x#y#B#<7>#z"),
        ("{{{id}}}", "{7}", "{<7>}"),
    ],
)
def test_an_id_inside_an_attribute(form, text, made):
    """The new one goes back to the same place; the rest of the text stays."""
    row = routed(f"{{id: {{in: SK, as: {json.dumps(form)}}}}}", {"SK": {"S": text}})
    old = made[made.index("<") + 1 : made.index(">")]
    assert row.item["SK"] == {"S": made.replace(f"<{old}>", new("Lines", old))}
    assert (row.old, row.old_id, row.new_id) == ({"S": old}, old, new("Lines", old))
    assert row.unreadable == []


@pytest.mark.parametrize("value", [{"S": "OTHER#7"}, {"S": "LINE#"}, {"N": "7"}, {"L": [{"S": "LINE#7"}]}])
def test_a_value_that_the_form_does_not_fit_is_unreadable(value):
    """Copied, listed under the attribute; the item has no id then."""
    row = routed("{id: {in: at, as: 'LINE#{id}'}}", {"at": value})
    assert row.item["at"] == value
    assert (row.old, row.unreadable) == (None, ["at"])


@pytest.mark.parametrize("item", [{}, {"at": {"S": ""}}, {"at": {"NULL": True}}])
def test_an_absent_or_empty_id_is_none(item):
    """As where the id is the whole attribute: not unreadable."""
    row = routed("{id: {in: at, as: 'LINE#{id}'}}", item)
    assert (row.old, row.unreadable) == (None, [])


def test_a_key_that_holds_a_parents_id_and_its_own():
    """Both rules read one text; neither disturbs the other."""
    row = routed(
        "{id: {in: SK, as: 'ORDER#{*}#LINE#{id}'}, references: {SK: 'ORDER#{Orders}#LINE#{*}'}}",
        {"SK": {"S": "ORDER#o1#LINE#7"}},
    )
    assert row.item["SK"]["S"] == f"ORDER#{new('Orders', 'o1')}#LINE#{new('Lines', '7')}"
    ((path, parent, old, made, _),) = row.references
    assert (path, parent, old, made) == ("SK", "Orders", {"S": "o1"}, {"S": new("Orders", "o1")})


def test_a_reference_finds_an_id_that_stands_inside_an_attribute():
    """Whole, in a template, as a number, with the parent's format."""
    row = routed(
        "{id: null, references: {PK: 'ORDER#{Orders}', order: Orders, label: 'no {Orders}, late', n: Orders}}",
        {"PK": {"S": "ORDER#7"}, "order": {"S": "7"}, "label": {"S": "no 7, late"}},
    )
    made = new("Orders", "7")
    assert [row.item[name]["S"] for name in ("PK", "order", "label")] == [f"ORDER#{made}", made, f"no {made}, late"]
    assert {found.old["S"] for found in row.references} == {"7"}
    assert len({found.link for found in row.references}) == 1


def test_numbers_inside_a_text():
    """Formats of digits fit there; a reference that is a number stays one."""
    text = HEAD + "  A: {id: {in: PK, as: 'A#{id}'}, id_format: number15}\n  B: {id: null, references: {a: A, t: A}}\n"
    route = routes_of(text, keys={"A": KEYS, "B": KEYS})["B"]
    row = route.route({"PK": {"S": "x"}, "SK": {"S": "y"}, "a": {"N": "7.0"}, "t": {"S": "7"}})
    made = new("A", "7", "number15")
    assert (row.item["a"], row.item["t"]) == ({"N": made}, {"S": made})
    assert 10**14 <= int(made) < 10**15 < 2**53


def test_a_record_of_an_entry_whose_id_stands_inside():
    """Rewritten in the record by the same rule."""
    row = routed(
        "{id: null, references: {'was:json': {record_of: Orders}}}", {"was": {"S": '{"PK": "ORDER#7", "n": 1}'}}
    )
    assert row.item["was"]["S"] == f'{{"PK": "ORDER#{new("Orders", "7")}", "n": 1}}'


# id formats


@pytest.mark.parametrize("inner", ["uuid", "short", "number", "number15"])
def test_a_text_around_a_format(inner):
    """Whole attributes and parts of them."""
    text = HEAD + f"  A: {{id_format: 'CUS-{{{inner}}}!'}}\n  B: {{references: {{a: A}}}}\n"
    routes = routes_of(text)
    row = routes["A"].route({"id": {"S": "CUS-1"}})
    assert row.new_id == f"CUS-{new('A', 'CUS-1', inner)}!"
    assert routes["B"].route({"id": {"S": "b"}, "a": {"S": "CUS-1"}}).item["a"] == {"S": row.new_id}


@pytest.mark.parametrize(
    ("rules", "key", "says"),
    [
        ("id_format: 'CUS-{short}'", {"id": "N"}, "does not fit s, whose key attribute 'id' has type N; use number or"),
        ("id_format: number15", {"id": "S"}, "does not fit"),
        ("id: {in: id, as: 'A#{id}'}", {"id": "N"}, "id stands inside 'id', a key of s of type N, not text"),
    ],
)
def test_a_format_that_does_not_fit_the_key_is_refused(rules, key, says):
    """Before anything is read."""
    with pytest.raises(Refused, match=says):
        routes_of(HEAD + f"  A: {{{rules}}}\n", keys={"A": key})


# map values, map keys, parts of texts, names with dots


def test_map_values_and_keys():
    """At any depth, also in JSON text; the other members stay, in their order."""
    item = {
        "by": {"M": {"a": {"S": "1"}, "b": {"NULL": True}, "c": {"S": ""}}},
        "of": {"M": {"1": {"N": "5"}, "2": {"S": "x"}}},
        "deep": {"M": {"x": {"M": {"1": {"L": []}}}, "y": {"M": {}}}},
        "text": {"S": '{ "1": {"q": 2},  "2":[] }'},
        "a.b": {"S": "1"},
    }
    rules = r"""{id: null, references: {"by{}": Items, "of{keys}": Items, "deep{}{keys}": Items, "text:json{keys}": Items,
        "a\\.b": Items}}"""
    row = routed(rules, item)
    one, two = new("Items", "1"), new("Items", "2")
    assert row.item["by"] == {"M": {"a": {"S": one}, "b": {"NULL": True}, "c": {"S": ""}}}
    assert row.item["of"] == {"M": {one: {"N": "5"}, two: {"S": "x"}}}
    assert list(row.item["of"]["M"]) == [one, two]
    assert row.item["deep"] == {"M": {"x": {"M": {one: {"L": []}}}, "y": {"M": {}}}}
    assert row.item["text"] == {"S": f'{{ "{one}": {{"q": 2}},  "{two}":[] }}'}
    assert row.item["a.b"] == {"S": one}
    assert [found.path for found in row.references].count("of{keys}") == 2
    assert row.unreadable == []


def test_values_in_json_text_below_every_name():
    """`{}` there too, with names that JSON escapes."""
    row = routed(
        """{id: null, references: {"t:json.of{}.id": Items}}""",
        {"t": {"S": '{"of": {"a\\"b": {"id": "1"}, "c": {"id": 2, "n": "1"}, "d": null}}'}},
    )
    made = new("Items", "1")
    assert row.item["t"]["S"] == f'{{"of": {{"a\\"b": {{"id": "{made}"}}, "c": {{"id": 2, "n": "1"}}, "d": null}}}}'


def test_parts_of_a_text():
    """Separators and the spaces around the parts stay; empty parts are left alone."""
    row = routed(
        """{id: null, references: {"codes:split(,)[]": Items, "t:json.c:split(;)[]": Items}}""",
        {"codes": {"S": "1, 2,,  1"}, "t": {"S": '{"c": "1;2"}'}},
    )
    one, two = new("Items", "1"), new("Items", "2")
    assert row.item["codes"] == {"S": f"{one}, {two},,  {one}"}
    assert row.item["t"] == {"S": f'{{"c": "{one};{two}"}}'}
    assert len(row.references) == 5


def test_what_a_path_does_not_fit_is_unreadable():
    """Once a path and value."""
    rules = """{id: null, references: {"a{}": Items, "b{keys}": Items, "c:split(,)[]": Items}}"""
    wrong = {"a": {"L": [{"S": "1"}]}, "b": {"S": "1"}, "c": {"N": "1"}}
    row = routed(rules, wrong)
    assert {name: row.item[name] for name in wrong} == wrong
    assert sorted(row.unreadable) == ["a{}", "b{keys}", "c:split(,)[]"]
    assert routed(rules, {"a": {"M": {}}, "b": {"NULL": True}, "c": {"S": ""}}).unreadable == []


@pytest.mark.parametrize(
    ("path", "value", "left"),
    [
        ("a{}", {"M": {"x": {"S": "1"}, "y": {"S": "9"}}}, {"M": {"x": {"S": "<1>"}}}),
        ("a{keys}", {"M": {"1": {"N": "5"}, "9": {"N": "6"}}}, {"M": {"<1>": {"N": "5"}}}),
        ("a{keys}", {"M": {"9": {"N": "6"}}}, {"M": {}}),
        ("a:split(,)[]", {"S": "9,1,9"}, {"S": "<1>"}),
        ("a:split(,)[]", {"S": "9"}, None),
        ("a:json{keys}", {"S": '{"9": 1, "1": 2}'}, {"S": '{"<1>": 2}'}),
        ("a:json.b:split(,)[]", {"S": '{"b": "9,1"}'}, {"S": '{"b": "<1>"}'}),
        ("a:json.b:split(,)[]", {"S": '{"b": "9", "c": 1}'}, {"S": '{"c": 1}'}),
    ],
)
def test_what_dangles_can_be_left_out(path, value, left):
    """The member, the key with its value, the part with its separator."""
    exists = lambda entry, old: old != {"S": "9"}  # noqa: E731
    row = routed(
        f"{{id: null, references: {{{json.dumps(path)}: {{to: Items, dangling: remove}}}}}}",
        {"a": value},
        exists=exists,
    )
    wanted = left and json.loads(json.dumps(left).replace("<1>", new("Items", "1")))
    assert row.item.get("a") == wanted


def test_two_keys_that_become_one_quarantine_the_item():
    """DynamoDB's map could hold only one of them."""
    made = new("Items", "1")
    row = routed(
        """{id: null, references: {"a{keys}": {to: Items, dangling: keep}}}""",
        {"a": {"M": {"1": {"N": "1"}, made: {"N": "2"}}}},
        exists=lambda entry, old: old == {"S": "1"},
    )
    assert isinstance(row, Reject)
    assert row.reason == "two keys of the map become one"


def test_two_names_that_become_one_in_json_text_leave_it_as_it_is():
    """A reader of the text would see only one of them."""
    text = json.dumps({"1": 1, new("Items", "1"): 2})
    rules = """{id: null, references: {"a:json{keys}": {to: Items, dangling: keep}}}"""
    row = routed(rules, {"a": {"S": text}}, exists=lambda entry, old: old == {"S": "1"})
    assert (row.item["a"], row.unreadable) == ({"S": text}, ["a:json{keys}"])


# {*} and several parents


def test_any_text_in_a_template():
    """Without the literal that follows; it may be nothing."""
    for text, made in (("SHIP#2025#1", "SHIP#2025#<1>"), ("SHIP##1", "SHIP##<1>"), ("SHIP#a b#1", "SHIP#a b#<1>")):
        row = routed("{id: null, references: {SK: 'SHIP#{*}#{Items}'}}", {"SK": {"S": text}})
        assert row.item["SK"]["S"] == made.replace("<1>", new("Items", "1"))
        assert [found.parent for found in row.references] == ["Items"]
    row = routed("{id: null, references: {SK: '{Items}#{*}'}}", {"SK": {"S": "1#a#b"}})
    assert row.unreadable == ["SK"]  # the id is 1, or 1#a


def test_a_text_that_several_items_hold_counts_in_each():
    """Read once, in each item it is a reference of its own; what cannot be read counts each time, too."""
    text = HEAD + "  Items: {id: sku}\n  Lines: {id: null, references: {PK: 'SHIP#{Items}', SK: 'SHIP#{*}#{Items}'}}\n"
    route = routes_of(text, keys=dict.fromkeys(("Items", "Lines"), KEYS))["Lines"].route
    rows = [route({"PK": {"S": "SHIP#1"}, "SK": {"S": sort}}) for sort in ("SHIP#a#2", "SHIP#a#2", "2", "2")]
    olds = [[(found.path, found.old["S"]) for found in row.references] for row in rows]
    assert olds == [[("PK", "1"), ("SK", "2")]] * 2 + [[("PK", "1")]] * 2
    assert [row.unreadable for row in rows] == [[], [], ["SK"], ["SK"]]
    assert [row.item["SK"]["S"] for row in rows] == [f"SHIP#a#{new('Items', '2')}"] * 2 + ["2"] * 2


def test_the_entry_whose_source_holds_the_id():
    """None: dangling, mapped as the first. Several: the first, and counted."""
    held = {("Orders", "o"), ("Items", "i"), ("Orders", "both"), ("Items", "both")}
    exists = lambda entry, old: (entry, old["S"]) in held  # noqa: E731
    for old, parent, several in (("o", "Orders", 0), ("i", "Items", 0), ("none", "Orders", 0), ("both", "Orders", 1)):
        row = routed("{id: null, references: {a: {to: [Orders, Items]}}}", {"a": {"S": old}}, exists=exists)
        assert row.item["a"] == {"S": new(parent, old)}
        assert [(found.parent, found.old) for found in row.references] == [(parent, {"S": old})]
        assert row.several == ["a"] * several
        assert row.unreadable == []
    row = routed(
        "{id: null, references: {a: {to: [Orders, Items], dangling: keep}}}", {"a": {"S": "none"}}, exists=exists
    )
    assert row.item["a"] == {"S": "none"}


def test_templates_of_which_one_fits():
    """An attribute that holds keys of several kinds."""
    exists = lambda entry, old: True  # noqa: E731
    rules = "{id: null, references: {a: {to: ['ORDER#{Orders}', 'ITEM#{Items}']}}}"
    for text, made in (("ITEM#1", f"ITEM#{new('Items', '1')}"), ("ORDER#1", f"ORDER#{new('Orders', '1')}")):
        row = routed(rules, {"a": {"S": text}}, exists=exists)
        assert (row.item["a"], row.unreadable, row.several) == ({"S": made}, [], [])
    row = routed(rules, {"a": {"S": "USER#1"}}, exists=exists)
    assert (row.item["a"], row.unreadable) == ({"S": "USER#1"}, ["a"])


# drop


def test_drop_below_an_attribute():
    """Members of maps and of elements; the rest stays. References there are read first."""
    item = {
        "a": {"M": {"b": {"S": "x"}, "c": {"S": "y"}}},
        "l": {"L": [{"M": {"cost": {"N": "1"}, "n": {"N": "2"}}}, {"M": {"n": {"N": "3"}}}]},
        "m": {"M": {"p": {"M": {"s": {"S": "1"}}}, "q": {"M": {"t": {"S": "2"}}}}},
        "e.f": {"S": "gone"},
    }
    rules = r"""{id: null, drop: [a.b, "l[].cost", "m{}.s", "e\\.f", none.x]}"""
    row = routed(rules, item)
    assert row.item == {
        "PK": {"S": "p"},
        "SK": {"S": "s"},
        "a": {"M": {"c": {"S": "y"}}},
        "l": {"L": [{"M": {"n": {"N": "2"}}}, {"M": {"n": {"N": "3"}}}]},
        "m": {"M": {"p": {"M": {}}, "q": {"M": {"t": {"S": "2"}}}}},
    }
    assert item["a"] == {"M": {"b": {"S": "x"}, "c": {"S": "y"}}}, "the source item is never changed"
    assert words(rules, item) == {
        "PK": "copied",
        "SK": "copied",
        "a": "rewritten",
        "l": "rewritten",
        "m": "rewritten",
        "e.f": "dropped",
    }


@pytest.mark.parametrize("path", ["a:json.b", "a:split(,)[]", "a{keys}"])
def test_drop_does_not_reach_into_text(path):
    """One sentence, with the mend."""
    with pytest.raises(MappingError, match="drop leaves out attributes, members of maps and elements"):
        mapping_of(HEAD + f"  A: {{drop: [{json.dumps(path)}]}}\n")


# what the ledger would say of a wrong copy


def test_the_ledger_does_not_believe_an_id_rule():
    """Another text around the id is a loss."""
    text = HEAD + "  A: {id: {in: PK, as: '{*}#A#{id}'}}\n"
    route = routes_of(text, keys={"A": KEYS})["A"]
    row = route.route({"PK": {"S": "2025#A#1"}, "SK": {"S": "x"}})
    assert Ledger(route.entry).page([row])["PK"]["rewritten"] == 1
    row.item = row.item | {"PK": {"S": row.item["PK"]["S"].replace("2025", "2024")}}
    assert Ledger(route.entry).page([row])["PK"]["unaccounted"] == 1
