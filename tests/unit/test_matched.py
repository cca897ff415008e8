"""Matched items in routes: they are not written, and their id is the target item's wherever the mapping writes it."""

import json
from dataclasses import replace

import pytest
from compiled import mapping_of, routes_of

from runbook_lib.mapping.ids import id_function
from runbook_lib.mapping.model import EntryModel
from runbook_lib.mapping.routes import Matched, Reject, Row, Shape, compile_route, parents_of
from runbook_lib.mapping.walkers import Found
from runbook_lib.run.matches import Match
from runbook_lib.values import key_hash
from runbook_lib.walk.plan import _is_injective
from runbook_lib.walk.preread import keys_of
from runbook_lib.walk.walk import Page, route_items

BY = bytes(16)
NOW = 1_700_000_000


def matches(pairs, key=None, target_key=None):
    """What a run has frozen: old id → the target's id, both typed, of the item with the source key `key`."""
    known = {json.dumps(old): new for old, new in pairs}

    def matched(entry, old):
        new = known.get(json.dumps(old))
        return new and Match(key_hash(key or {"id": old}), target_key or {"id": new}, new, BY)

    return matched


ANN = matches([({"S": "ann"}, {"S": "person-7"})])
TABLES = "defaults: {source: '{table}', target: 'new-{table}', id: id}\ntables:\n"
PEOPLE = "  People: {match: {by: [email]}}\n"


def minted(old, entry="People", id_format="uuid"):
    return id_function("prod", entry, id_format)(old)


def test_a_matched_item_is_no_row_and_says_which_item_of_the_target_it_is():
    """Others of its entry are written under ids of their own; neither is unrouted or rejected."""
    route = routes_of(TABLES + PEOPLE, matched=ANN)["People"]
    ann, bob = {"id": {"S": "ann"}, "email": {"S": "a@x"}}, {"id": {"S": "bob"}}
    one = route.route(ann)
    assert one == Matched(
        "People", {"id": {"S": "ann"}}, {"id": {"S": "person-7"}}, {"S": "ann"}, "ann", "person-7", BY
    )
    routed = route_items(Page("people", 0, 0, None, None, [ann, bob]), [route], [], {})
    assert (routed.matched, routed.scanned) == ([one], {"People": 2})
    assert [row.item for row in routed.rows] == [{"id": minted({"S": "bob"})}]
    assert (routed.rejects, routed.unrouted, routed.skipped) == ([], [], [])
    assert [route.takes(item) for item in (ann, bob)] == [True, True]
    assert [route.writes(item) for item in (ann, bob)] == [False, True]
    assert [item for _, item, _ in keys_of(Page("people", 0, 0, None, None, [ann, bob]), [route])[0]] == [bob]


def test_every_place_of_a_reference_has_the_targets_id():
    """Plain, in a list, in a template, in JSON, named by an attribute, one of several entries, in a record."""
    text = (
        TABLES + PEOPLE + "  Teams: {}\n  Visits:\n    references:\n      who: People\n      'all[]': People\n"
        "      pk: 'P#{People}#V'\n      two: '{People}/{Teams}'\n      'seen:json[]': People\n"
        "      named: {table_named_by: kind}\n      some: {to: [Teams, People]}\n      'was:json': {record_of: People}\n"
    )
    exists = {("People", "ann"), ("People", "bob")}
    route = routes_of(text, matched=ANN, exists=lambda entry, old: (entry, old["S"]) in exists)["Visits"]
    for old, new in (("ann", "person-7"), ("bob", minted({"S": "bob"})["S"])):
        team = minted({"S": "t"}, "Teams")["S"]
        item = {
            "id": {"S": "v"},
            "who": {"S": old},
            "all": {"L": [{"S": old}]},
            "pk": {"S": f"P#{old}#V"},
            "two": {"S": f"{old}/t"},
            "seen": {"S": json.dumps([old])},
            "named": {"S": old},
            "kind": {"S": "People"},
            "some": {"S": old},
            "was": {"S": json.dumps({"id": old})},
        }
        row = route.route(item)
        assert row.item == item | {
            "id": minted({"S": "v"}, "Visits"),
            "who": {"S": new},
            "all": {"L": [{"S": new}]},
            "pk": {"S": f"P#{new}#V"},
            "two": {"S": f"{new}/{team}"},
            "seen": {"S": json.dumps([new])},
            "named": {"S": new},
            "some": {"S": new},
            "was": {"S": json.dumps({"id": new})},
        }
        assert {found.new["S"] for found in row.references} == {new, team}
        assert route.route(item).item == row.item  # from what is remembered, too


def test_ids_inside_texts_and_numbers_and_kept_ones():
    """The target's id goes where the old one stood; a number keeps its type; with `keep` the others stay."""
    inside = (
        "  People: {id: {in: PK, as: 'c#{id}'}, match: {by: [email]}}\n  Visits: {references: {pk: 'c#{People}'}}\n"
    )
    pair = matches([({"S": "1"}, {"S": "77"})], key={"PK": {"S": "c#1"}}, target_key={"PK": {"S": "c#77"}})
    routes = routes_of(TABLES + inside, {"People": {"PK": "S"}}, matched=pair)
    assert routes["People"].route({"PK": {"S": "c#1"}}).new_id == "77"
    assert routes["Visits"].route({"id": {"S": "v"}, "pk": {"S": "c#1"}}).item["pk"] == {"S": "c#77"}
    numbers = (
        "  People: {id_format: number, match: {by: [email]}}\n  Visits: {references: {who: People, pk: 'c#{People}'}}\n"
    )
    pair = matches([({"N": "5"}, {"N": "900"})])
    routes = routes_of(TABLES + numbers, {"People": {"id": "N"}}, matched=pair)
    assert routes["People"].route({"id": {"N": "5"}}).new_id == "900"
    made = routes["Visits"].route({"id": {"S": "v"}, "who": {"S": "5"}, "pk": {"S": "c#5"}}).item
    assert (made["who"], made["pk"]) == ({"S": "900"}, {"S": "c#900"})
    keep = "  People: {id_format: keep, match: {by: [email]}}\n  Visits: {references: {who: People}}\n"
    routes = routes_of(TABLES + keep, matched=ANN)
    assert routes["People"].route({"id": {"S": "bob"}}).item == {"id": {"S": "bob"}}
    for old, new in (("bob", "bob"), ("ann", "person-7")):
        assert routes["Visits"].route({"id": {"S": "v"}, "who": {"S": old}}).item["who"] == {"S": new}


def test_another_item_with_the_same_old_id_has_the_targets_id_and_is_written():
    """Only the item that was matched is not: the source key tells them apart."""
    first = {"id": {"S": "ann"}, "no": {"N": "1"}}
    pair = matches(
        [({"S": "ann"}, {"S": "person-7"})], key=first, target_key={"id": {"S": "person-7"}, "no": {"N": "1"}}
    )
    route = routes_of(TABLES + PEOPLE, {"People": {"id": "S", "no": "N"}}, matched=pair)["People"]
    assert isinstance(route.route(first), Matched)
    row = route.route(first | {"no": {"N": "2"}})
    assert (row.key, row.new_id) == ({"id": {"S": "person-7"}, "no": {"N": "2"}}, "person-7")


def test_an_id_of_another_type_is_no_id_that_references_could_hold():
    """Such a match should never be frozen. A reference to it dangles and stays, and another item with its id is quarantined."""
    pair = matches([({"N": "5"}, {"S": "five"})], key={"id": {"N": "5"}, "no": {"N": "1"}})
    text = (
        "  People: {id_format: number, match: {by: [email]}}\n  Visits: {references: {who: People, pk: 'c#{People}'}}\n"
    )
    routes = routes_of(TABLES + text, {"People": {"id": "N", "no": "N"}}, matched=pair)
    row = routes["Visits"].route({"id": {"S": "v"}, "who": {"S": "5"}, "pk": {"S": "c#5"}})
    assert (row.item["who"], row.item["pk"]) == ({"S": "5"}, {"S": "c#5"})
    assert row.references == [Found("who", None, None, None), Found("pk", None, None, None)]
    assert isinstance(routes["People"].route({"id": {"N": "5"}, "no": {"N": "2"}}), Reject)


def test_what_has_expired_counts_as_expired_matched_or_not():
    """`expired: skip` comes first."""
    mapping = mapping_of(TABLES + "  People: {expired: skip, match: {by: [email]}}\n")
    entries = {"People": replace(mapping.entries["People"], expires=("until", NOW))}
    shape = Shape((("id", "S"),), (("id", "S"),), {})
    route = compile_route(entries["People"], shape, parents_of(entries, {"People": shape}, "prod", None, ANN))
    for until, left in ((NOW - 1, type(None)), (NOW, Matched)):
        assert isinstance(route.route({"id": {"S": "ann"}, "until": {"N": str(until)}}), left)


@pytest.mark.parametrize("found", ["insert", "stop"])
def test_only_reuse_takes_ids_over(found):
    """With the other words every item is written under an id of its own, and nobody asks for matches."""

    def never(entry, old):
        raise AssertionError

    route = routes_of(TABLES + f"  People: {{match: {{by: [email], found: {found}}}}}\n", matched=never)["People"]
    row = route.route({"id": {"S": "ann"}})
    assert isinstance(row, Row)
    assert row.item == {"id": minted({"S": "ann"})}
    assert route.writes is route.takes


def test_an_entry_without_match_pays_nothing():
    """Its route is the bare function, also where another entry has matches."""
    routes = routes_of(TABLES + PEOPLE + "  Teams: {}\n", matched=ANN)
    assert routes["Teams"].route.__name__ == "route"
    assert routes["Teams"].writes is routes["Teams"].takes is routes["Teams"].selects
    assert routes["People"].route.__name__ != "route"


@pytest.mark.parametrize(
    ("text", "keys", "apart"),
    [
        ("  People: {match: {by: [email]}}", {"id": "S"}, True),  # what is matched is not written
        ("  People: {match: {by: [email]}}", {"id": "S", "no": "N"}, False),
        ("  People: {match: {by: [email], found: insert}}", {"id": "S", "no": "N"}, True),
        ("  People: {references: {of: Others}}", {"of": "S"}, False),
        ("  People: {references: {of: {table_named_by: kind}}}", {"of": "S"}, False),
        ("  People: {references: {of: Plain}}", {"of": "S"}, True),
    ],
)
def test_two_source_keys_may_become_one_where_ids_are_taken_over(text, keys, apart):
    """The target may have one id for two of the source: one that an earlier run made of the second."""
    routes = routes_of(TABLES + f"{text}\n  Others: {{match: {{by: [x]}}}}\n  Plain: {{}}\n", {"People": keys})
    reusing = {name for name, route in routes.items() if route.entry.model.reuses}
    assert _is_injective(routes["People"], reusing) is apart


def test_which_entries_renew_ids():
    """With `keep` and `match` some are renewed, though none is made; without an id none is."""
    match = {"by": ["email"]}
    for said, makes, renews in (
        ({}, True, True),
        ({"match": match}, True, True),
        ({"id_format": "keep"}, False, False),
        ({"id_format": "keep", "match": match}, False, True),
        ({"id_format": "keep", "match": match | {"found": "insert"}}, False, False),
        ({"id": None, "match": match}, False, False),
    ):
        model = EntryModel.model_validate(said)
        assert (model.makes_ids, model.renews_ids) == (makes, renews)
