"""Access patterns: the request, and the condition that must give the same."""

import re
from types import SimpleNamespace

import pytest
from compiled import mapping_of

from runbook_lib.dynamo.structure.description import Index
from runbook_lib.errors import DynamoError
from runbook_lib.run.spill import HashLog
from runbook_lib.stages.validate.queries import compile_patterns, prove
from runbook_lib.values import key_hash

KEY = (("PK", "S"), ("SK", "S"))
INDEXES = {"G1": (("G1PK", "S"), ("G1SK", "S")), "NUM": (("PK", "S"), ("n", "N")), "BIN": (("b", "B"),)}


def pattern(query):
    """The compiled query of an entry whose table has these keys and indexes."""
    entry = mapping_of(f"tables: {{A: {{source: s, target: t, queries: {{q: {query}}}}}}}").entries["A"]
    indexes = {name: Index(key) for name, key in INDEXES.items()}
    indexes["KEYS"] = Index(INDEXES["NUM"], "KEYS_ONLY")
    indexes["SOME"] = Index((("a", "S"), ("b", "S"), ("c", "S")), ("d", "e"), partition=2)
    indexes["FOUR"] = Index(tuple((name, "S") for name in "abcd"), partition=2)
    plan = SimpleNamespace(target_tables={"t": SimpleNamespace(key=KEY, indexes=indexes)})
    (compiled,) = compile_patterns(plan, entry)
    return compiled


def resolved(request, part):
    """An expression with its placeholders filled in."""
    text = request[part]
    names_ = request["ExpressionAttributeNames"] | request["ExpressionAttributeValues"]
    return re.sub(r"[#:]\w+", lambda m: str(names_[m[0]]), text)


@pytest.mark.parametrize(
    ("query", "index", "key", "filter_"),
    [
        ("{key: {PK: LEAD}}", None, "PK = {'S': 'LEAD'}", None),
        (
            "{key: {PK: a}, filter: {c.d: [1, x], e: {not: {exists: true}}, f: {ge: 1, lt: 5}, g: {exists: false}}}",
            None,
            "PK = {'S': 'a'}",
            "(c.d = {'N': '1'} OR c.d = {'S': 'x'}) AND (NOT (attribute_exists(e))) AND f >= {'N': '1'} AND f < {'N': '5'}"
            " AND (NOT (attribute_exists(g)))",
        ),
        (
            "{key: {PK: LEAD, SK: {begins_with: '2025-08'}}}",
            None,
            "PK = {'S': 'LEAD'} AND begins_with(SK, {'S': '2025-08'})",
            None,
        ),
        (
            "{key: {PK: a, SK: {between: [b, c]}}}",
            None,
            "PK = {'S': 'a'} AND SK BETWEEN {'S': 'b'} AND {'S': 'c'}",
            None,
        ),
        (
            "{index: G1, key: {G1PK: 'S#new', G1SK: {ge: x}}}",
            "G1",
            "G1PK = {'S': 'S#new'} AND G1SK >= {'S': 'x'}",
            None,
        ),
        ("{index: NUM, key: {PK: a, n: {lt: 1.50}}}", "NUM", "PK = {'S': 'a'} AND n < {'N': '1.5'}", None),
        ("{index: NUM, key: {PK: a, n: '7.0'}}", "NUM", "PK = {'S': 'a'} AND n = {'N': '7'}", None),
        ("{index: BIN, key: {b: AP8=}}", "BIN", "b = {'B': 'AP8='}", None),
        ("{key: {PK: 2025, SK: {lt: 1.50}}}", None, "PK = {'S': '2025'} AND SK < {'S': '1.50'}", None),
        (
            "{key: {PK: a}, filter: {custom.industry: Health, custom.PK: true, n: {gt: 3}}}",
            None,
            "PK = {'S': 'a'}",
            "custom.industry = {'S': 'Health'} AND custom.PK = {'BOOL': True} AND n > {'N': '3'}",
        ),
    ],
)
def test_requests(query, index, key, filter_):
    """Names and values by placeholder, so that no reserved word and no quote can do harm; tables are read consistently."""
    compiled = pattern(query)
    request = compiled.request
    assert request["TableName"] == "t"
    assert request.get("IndexName") == index == compiled.index
    assert ("ConsistentRead" in request) == (index is None)
    assert resolved(request, "KeyConditionExpression") == key
    assert (resolved(request, "FilterExpression") if filter_ else request.get("FilterExpression")) == filter_
    assert not re.search(r"(?<![#:\w])(?!BETWEEN|AND|begins_with)[A-Za-z]\w*", request["KeyConditionExpression"])
    assert compiled.sort_key == {None: ["SK"], "G1": ["G1SK"], "NUM": ["n"], "BIN": []}[index]
    assert compiled.key_names == ["PK", "SK"]


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("{index: by_day, key: {PK: a}}", "A.q: t has no index by_day; known are BIN, FOUR, G1, KEYS, NUM, SOME"),
        ("{index: g1, key: {PK: a}}", "A.q: t has no index g1; did you mean 'G1'?"),
        ("{key: {G1PK: a}}", "A.q: G1PK is not a key attribute there"),
        ("{index: NUM, key: {PK: a, n: many}}", "A.q: a key value is not a number"),
        ("{key: {SK: a}}", "A.q: key must give PK and SK (the partition key at least)"),
        ("{index: FOUR, key: {a: x}}", "A.q: key must give a and b and c and d (a and b at least)"),
        ("{index: FOUR, key: {a: x, b: {lt: x}}}", "A.q: the partition key b needs one value; compare the sort key"),
        (
            "{index: FOUR, key: {a: x, b: x, d: x}}",
            "A.q: key gives d without c, which stands before it in the sort key; give both",
        ),
        (
            "{index: FOUR, key: {a: x, b: x, c: {lt: x}, d: x}}",
            "A.q: c needs one value; of a sort key only the last attribute that is given is compared",
        ),
    ],
)
def test_what_does_not_fit_the_table(query, sentence):
    """A table that the mapping does not describe is known only now."""
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        pattern(query)


def test_a_key_of_several_attributes_is_asked_for_from_the_left():
    """All of the partition key, then of the sort key as many as are wanted; the results are in the order of all of them."""
    compiled = pattern("{index: FOUR, key: {a: x, b: y, c: z, d: {gt: w}}}")
    assert resolved(compiled.request, "KeyConditionExpression").replace("{'S': ", "").replace("}", "") == (
        "a = 'x' AND b = 'y' AND c = 'z' AND d > 'w'"
    )
    assert compiled.sort_key == ["c", "d"]
    assert pattern("{index: FOUR, key: {a: x, b: y, c: z}}").matches(
        {name: {"S": v} for name, v in zip("abcd", "xyzw", strict=True)}
    )


@pytest.mark.parametrize(("second", "problem"), [("2", None), ("0", "the results are not in order of c, d")])
def test_the_order_is_that_of_the_whole_sort_key(second, problem):
    """Of equal first attributes the second decides."""
    compiled, expected = pattern("{index: FOUR, key: {a: x, b: y}}"), HashLog()
    items = [{"PK": {"S": "p"}, "SK": {"S": d}, "c": {"S": "same"}, "d": {"S": d}} for d in ("1", second)]
    expected.extend([key_hash({name: item[name] for name in ("PK", "SK")}) for item in items])
    wire = SimpleNamespace(query_pages=lambda body: [(items, None)])
    assert prove(wire, compiled, expected, [], 0.0).problem == problem


@pytest.mark.parametrize(
    ("code", "asked"), [("AccessDeniedException", 1), ("ResourceNotFoundException", 1), ("ValidationException", 3)]
)
def test_only_a_refusal_that_may_pass_is_asked_again(code, asked, monkeypatch):
    """An index that is still being filled refuses for a while; a right that is missing stops 04."""
    answers = [DynamoError("allow it.", code)] * 2

    def query_pages(body):
        calls.append(body)
        if answers:
            raise answers.pop()
        return [([], None)]

    calls: list = []
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    wire, compiled = SimpleNamespace(query_pages=query_pages), pattern("{index: FOUR, key: {a: x, b: y}}")
    if code == "AccessDeniedException":
        with pytest.raises(DynamoError, match="allow it"):
            prove(wire, compiled, HashLog(), [])
    else:
        wanted = f"refused: {code}" if asked == 1 else None
        assert prove(wire, compiled, HashLog(), []).problem == wanted
    assert len(calls) == asked


def test_an_item_without_the_index_keys_is_not_in_the_index():
    """However well it satisfies the condition."""
    matches = pattern("{index: G1, key: {G1PK: x}}").matches
    assert matches({"G1PK": {"S": "x"}, "G1SK": {"S": "1"}})
    assert not matches({"G1PK": {"S": "x"}})
    assert not matches({"G1PK": {"S": "y"}, "G1SK": {"S": "1"}})


def test_all_conditions_must_hold():
    """Key and filter together."""
    matches = pattern("{key: {PK: a, SK: {begins_with: b}}, filter: {c.d: 1}}").matches
    item = {"PK": {"S": "a"}, "SK": {"S": "bc"}, "c": {"M": {"d": {"N": "1.0"}}}}
    assert matches(item)
    for change in (
        {"PK": {"S": "b"}},
        {"SK": {"S": "c"}},
        {"c": {"M": {}}},
        {"c": {"S": "d"}},
        {"c": {"M": {"d": {"S": "1"}}}},
    ):
        assert not matches(item | change)


@pytest.mark.parametrize(
    ("query", "attributes"),
    [
        ("{index: KEYS, key: {PK: a}, filter: {d.x: 1, SK: b, n: 2, z: 3}}", "d, z"),
        ("{index: SOME, key: {a: a, b: b}, filter: {d: 1, e.x: 2, f: 3}}", "f"),
    ],
)
def test_a_filter_on_what_the_index_does_not_hold_is_refused(query, attributes):
    """It would find nothing, whatever the items are. Keys of table and index are in every index."""
    with pytest.raises(ValueError, match=f"does not project {attributes}, so a filter finds nothing"):
        pattern(query)
    assert pattern("{index: SOME, key: {a: a, b: b}, filter: {d: 1, SK: x}}").sort_key == ["c"]
