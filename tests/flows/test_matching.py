"""`match`: what the target has already is found, frozen for all stages of a run, and refused where it was changed."""

import support_worlds as worlds
from support_flows import flow_of

from runbook_lib.walk.matching.search import search

SOURCE, TARGET = worlds.SOURCE, worlds.TARGET
KEY = {"key": {"id": "S"}}
MAPPING = "{People: {match: {by: [email]}}, Visits: {references: {who: People}}}"


def item(id_, **texts):
    """An item of texts, and of typed values where they are dicts."""
    return {name: value if isinstance(value, dict) else {"S": value} for name, value in ({"id": id_} | texts).items()}


def built(world, tmp_path, there, here, mapping=MAPPING, key=KEY):
    """A migration of the people `here` into a table that holds those `there`."""
    world.build({"People": key | {"items": here}, "Visits": KEY}, SOURCE)
    world.build({"People": key | {"items": there}, "Visits": KEY}, TARGET)
    return flow_of(mapping, world, tmp_path)


def found(flow, entry="People"):
    """Old id → id of the target, as plain text; the reasons of what is ambiguous; and the figures."""
    result = search(flow._plan())
    pairs = {line["id"] and next(iter(line["id"].values())): line["target_id"] for line in result.matches}
    reasons = {(line["key"]["id"]["S"], line["reason"]) for line in result.ambiguous}
    return pairs, reasons, result.matches.figures[entry]


def test_one_item_on_each_side_with_equal_values_is_a_match(world, tmp_path):
    """Of other types, without a value, of nothing or without any attribute, none is."""
    here = [
        item("1", email="ann@x"),
        item("2", email={"N": "1.0"}),
        item("3", email={"SS": ["b", "a"]}),
        item("4", email={"M": {"a": {"N": "1"}}}),
        item("5", email={"NULL": True}),
        item("6", email={"S": ""}),
        item("7"),
        item("8", email="2"),
        item("9", email="Bob@x"),
    ]
    there = [
        item("t1", email="ann@x"),
        item("t2", email={"N": "1"}),
        item("t3", email={"SS": ["a", "b"]}),
        item("t4", email={"M": {"a": {"N": "1.00"}}}),
        item("t5", email={"NULL": True}),
        item("t6", email={"S": ""}),
        item("t7"),
        item("t8", email={"N": "2"}),
        item("t9", email=" bob@X "),
    ]
    pairs, reasons, figures = found(built(world, tmp_path, there, here))
    assert pairs == {number: {"S": f"t{number}"} for number in "1234"}
    assert reasons == set()
    assert figures == {
        "by": ["email"],
        "found": "reuse",
        "source_items": 6,
        "target_items": 6,
        "matched": 4,
        "ambiguous": 0,
        "nearly": 1,
    }
