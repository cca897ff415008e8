"""Matching two sides: it agrees with a naive search, spilled or not, and hashes values by what they are."""

from collections import Counter
from dataclasses import dataclass

import pytest
from compiled import mapping_of, routes_of
from hypothesis import given, settings
from hypothesis import strategies as st

from runbook_lib.mapping.matching.owner import compile_owner
from runbook_lib.mapping.matching.values import compile_by
from runbook_lib.values import key_hash, key_text
from runbook_lib.walk.matching.sides import Sides

HEAD = "defaults: {source: '{table}-s', target: '{table}-t'}\ntables:\n"
MAPPING = HEAD + "  People: {match: {by: [email, n]}}\n"
KEY = {"People": {"id": "S", "n": "N"}}
EMAILS = st.sampled_from(["a", "b", " A", "B", ""])


@dataclass(frozen=True)
class Side:
    """An item of the naive search."""

    key: str
    own: str  # of a source item: the key that it would have in the target
    old: str
    values: tuple


def person(id_, n, email, at):
    """An item whose key is `id_` and `at`, with two values to compare, of which one may be empty."""
    return {"id": {"S": id_}, "n": {"N": str(at)}, "email": {"S": email}, "m": {"N": str(n)}}


@settings(max_examples=150)
@given(st.data(), st.sampled_from([0, 10**9]))
def test_it_agrees_with_a_naive_search(data, spill):
    """Of any few items, copies of theirs among them: what is matched, ambiguous, and nearly the same."""
    keys = data.draw(st.lists(st.tuples(st.sampled_from("123"), st.integers(0, 4)), max_size=6, unique=True))
    sources = [person(id_, data.draw(st.integers(1, 2)), data.draw(EMAILS), at) for id_, at in keys]
    route = routes_of(MAPPING.replace("n]", "m]"), KEY)["People"]
    rows = [route.route(item) for item in sources]
    copied = data.draw(st.lists(st.sampled_from(rows), unique_by=lambda row: key_text(row.key))) if rows else []
    targets = [row.item | {"email": {"S": data.draw(EMAILS)}} for row in copied]
    others = data.draw(st.lists(st.tuples(st.integers(1, 2), EMAILS), max_size=4))
    targets += [person(f"t{at}", n, email, 0) for at, (n, email) in enumerate(others)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("runbook_lib.run.spill._TOGETHER._bytes", spill)
        sides, doubts = Sides(route), {}
        sides.add_target(iter([targets[:2], [], targets[2:]]))
        sides.begin_source()
        sides.add_source(rows)
        lines = list(sides.join(lambda key, reason: doubts.setdefault(key_text(key), reason)))
    figures = sides.figures
    pairs = {key_text(line["key"]): key_text(line["target_key"]) for line in lines}
    assert (pairs, doubts.keys(), figures.nearly) == naive(
        [Side(key_text(r.source_key), key_text(r.key), r.old["S"], values_of(r.item)) for r in rows],
        [Side(key_text({name: item[name] for name in ("id", "n")}), "", "", values_of(item)) for item in targets],
    )
    assert (figures.matched, figures.ambiguous) == (len(pairs), len(doubts))
    assert [line["by"] for line in lines] == [compile_by(route.entry)(row_of(rows, line).item).hex() for line in lines]


def values_of(item):
    """The two values, () where one is empty."""
    email = item["email"]["S"]
    return (email, item["m"]["N"]) if email else ()


def row_of(rows, line):
    """The row of a match."""
    return next(row for row in rows if row.source_key == line["key"])


def naive(sources, targets):
    """Source key → target key; the keys of what is ambiguous; how many are nearly the same."""
    pairs, ambiguous, nearly = {}, set(), 0
    for one in sources:
        equals = [other for other in targets if one.values and other.values == one.values]
        twins = [other for other in sources if other.values == one.values]
        left = [other for other in equals if other.key not in [twin.own for twin in twins]]
        if one.own in [other.key for other in equals]:
            ambiguous |= {one.key} if left else set()  # it is there twice
        elif len(left) == len(twins) == 1:
            pairs[one.key] = left[0].key
        elif left:
            ambiguous.add(one.key)
    for one in sources:
        close = [other for other in targets if one.values and loose(other.values) == loose(one.values)]
        twins = [other for other in sources if loose(other.values) == loose(one.values)]
        nearly += len(close) == len(twins) == 1 and close[0].values != one.values and close[0].key != one.own
    ids = Counter(one.old for one in sources if one.key in pairs)
    for one in sources:
        if one.key in pairs and ids[one.old] > 1:
            ambiguous.add(one.key)
            del pairs[one.key]
    return pairs, ambiguous, nearly


def loose(values):
    """The values, read loosely."""
    return tuple(value.strip().lower() for value in values)


def test_the_order_of_matches_does_not_depend_on_the_order_in_which_items_are_read():
    """Two searches that see the same items freeze the same file."""
    route = routes_of(MAPPING.replace(", n]", "]"), KEY)["People"]
    rows = [route.route(person(str(at), 1, f"m{at}", at)) for at in range(100)]
    targets = [person(f"t{at}", 1, f"m{at}", at) for at in range(100)]

    def lines(rows, targets):
        sides = Sides(route)
        sides.add_target(iter([targets]))
        sides.begin_source()
        sides.add_source(rows)
        return list(sides.join(lambda key, reason: None))

    assert len(lines(rows, targets)) == 100
    assert lines(rows, targets) == lines(rows[::-1], targets[50:] + targets[:50])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"S": "1"}, {"N": "1"}, False),
        ({"N": "1"}, {"N": "1.0"}, True),
        ({"N": "100"}, {"N": "1e2"}, True),
        ({"S": "a"}, {"B": "YQ=="}, False),
        ({"S": "a"}, {"S": "A"}, False),
        ({"NS": ["1", "2"]}, {"NS": ["2.0", "1"]}, True),
        ({"SS": ["a"]}, {"L": [{"S": "a"}]}, False),
        ({"M": {"a": {"N": "1"}, "b": {"S": ""}}}, {"M": {"b": {"S": ""}, "a": {"N": "1.0"}}}, True),
        ({"BOOL": False}, {"BOOL": False}, True),
    ],
)
def test_values_are_equal_by_their_canonical_form(one, other, same):
    """Types apart, numbers by value, sets without order."""
    by = compile_by(mapping_of(MAPPING.replace(", n]", "]")).entries["People"])
    assert (by({"email": one}) == by({"email": other})) is same


@pytest.mark.parametrize(
    "value", [None, {"NULL": True}, {"S": ""}, {"M": {}}, {"L": []}, {"B": ""}, {"N": "no number"}]
)
def test_what_is_no_value_equals_nothing(value):
    """Absent, null, empty; and numbers that are none."""
    by = compile_by(mapping_of(MAPPING.replace(", n]", "]")).entries["People"])
    assert by({} if value is None else {"email": value}) is None


@pytest.mark.parametrize(
    ("body", "item", "owns"),
    [
        ("where: {kind: a}", {"kind": {"S": "a"}}, True),
        ("where: {kind: a}", {"kind": {"S": "b"}}, False),
        ("where: {kind: a}, drop: [kind]", {}, True),
        ("where: {id: 'a'}", {"id": {"S": "new"}}, True),
        ("where: {id: 'a'}, id_format: keep, match: {by: [n], found: insert}", {"id": {"S": "new"}}, False),
        ("where: {boss: a}, references: {boss: People}", {"boss": {"S": "new"}}, True),
        ("where: {boss.kind: a}, references: {boss.id: People}", {"boss": {"M": {"kind": {"S": "b"}}}}, False),
        ("where: {PK: {begins_with: 'P#'}}, id: {in: PK, as: 'P#{id}'}", {"PK": {"S": "Q#1"}}, False),
        ("where: {PK: {begins_with: 'P#'}}, id: {in: PK, as: 'P#{id}'}", {"PK": {"S": "P#1"}}, True),
        ("where: {SK: {begins_with: 'OF'}}, references: {SK: 'OF#{People}'}", {"SK": {"S": "OFF"}}, True),
        ("where: {SK: {begins_with: 'OF'}}, references: {SK: 'OF#{People}'}", {"SK": {"S": "X"}}, False),
        ("fields: {id: {from: id}, kind: a, n: {from: n}}", {"kind": {"S": "a"}}, True),
        ("fields: {id: {from: id}, kind: a, n: {from: n}}", {"kind": {"N": "1"}}, False),
        ("fields: {id: {from: id}, kind: {value: 1}, n: {from: n}}", {"kind": {"N": "1.0"}}, True),
        ("fields: {PK: '{id}#{n|x}#', n: {from: n}, id: {from: id}}", {"PK": {"S": "a#b#c#"}}, True),
        ("fields: {PK: '{id}#{n|x}#', n: {from: n}, id: {from: id}}", {"PK": {"S": "a#"}}, False),
        ("fields: {PK: '{id}#{n|x}#', n: {from: n}, id: {from: id}}", {"PK": {"N": "1"}}, False),
    ],
)
def test_which_items_are_an_entrys(body, item, owns):
    """By conditions as far as they hold for what is copied, by constants, and by the text around holes of keys."""
    match = "" if "match" in body else ", match: {by: [n]}"
    entry = mapping_of(f"{HEAD}  People: {{{body}{match}}}").entries["People"]
    assert compile_owner(entry, ["PK"]).owns(item) is owns


def test_keys_of_both_sides_are_told_apart_by_hash():
    """The own key of a row is the key of its copy."""
    row = routes_of(MAPPING, KEY)["People"].route(person("1", 1, "a", 1))
    assert row.key_hash == key_hash({name: row.item[name] for name in ("id", "n")})
