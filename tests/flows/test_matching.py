"""`match`: what the target has already is found, frozen for all stages of a run, and refused where it was changed."""

import json

import pytest
import support_worlds as worlds
from support_crashes import KILLED, at_record, in_child, small_pages
from support_flows import counts_of, flow_of

from runbook_lib.errors import Refused
from runbook_lib.journal.stage import Stage
from runbook_lib.run.matches import FILE, Matches
from runbook_lib.walk.matching.search import search

SOURCE, TARGET = worlds.SOURCE, worlds.TARGET
KEY = {"key": {"id": "S"}}
PAIR = {"key": {"PK": "S", "SK": "S"}}
ON_MOTO = pytest.mark.parametrize("engine", ["moto"], indirect=True)  # what no engine decides
MAPPING = "{People: {match: {by: [email]}}, Visits: {references: {who: People}}}"


def item(id_, **values):
    """An item of texts, and of typed values where they are dicts."""
    return {name: value if isinstance(value, dict) else {"S": value} for name, value in ({"id": id_} | values).items()}


def built(world, tmp_path, here, there, mapping=MAPPING, source=KEY, target=KEY, **more):
    """A migration of the people `here` into a table that holds those `there`. `more`: other source tables' items."""
    world.build(
        {"People": source | {"items": here}, **{name: KEY | {"items": one} for name, one in more.items()}}, SOURCE
    )
    world.build({"People": target | {"items": there}, **dict.fromkeys(more, KEY)}, TARGET)
    return flow_of(mapping, world, tmp_path)


def found(flow, entry="People"):
    """Source key → the target's id; source key → why it is ambiguous; and the figures."""
    result = search(flow._plan())
    pairs = {_text(line["key"]): line["target_id"] for line in result.matches if line["table"] == entry}
    reasons = {_text(line["key"]): line["reason"] for line in result.ambiguous}
    return pairs, reasons, result.matches.figures[entry]


def whose(world):
    """Old id of a visit → whose it is in the target."""
    return {one["old"]["S"]: one["who"]["S"] for one in world.items(world.name("Visits", TARGET))}


def _text(key):
    return "/".join(next(iter(value.values())) for value in key.values())


def test_one_item_on_each_side_with_equal_values_is_a_match(world, tmp_path, monkeypatch):
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
    flow = built(world, tmp_path, here, there, "{People: {match: {by: [email]}}}")
    small_pages(monkeypatch)
    pairs, reasons, figures = found(flow)
    assert pairs == {number: {"S": f"t{number}"} for number in "1234"}
    assert reasons == {}
    assert figures == {
        "by": ["email"],
        "found": "reuse",
        "source_items": 6,
        "target_items": 6,
        "matched": 4,
        "ambiguous": 0,
        "nearly": 1,
    }


@ON_MOTO
def test_what_could_be_several_is_ambiguous_and_no_match(world, tmp_path):
    """Two items there, two here, two on both sides; and two that share an id and would be different items."""
    here = [
        item("1", n="1", email="a"),
        item("2", n="1", email="b"),
        item("3", n="1", email="b"),
        item("4", n="1", email="c"),
        item("5", n="1", email="c"),
        item("6", n="1", email="d"),
        item("6", n="2", email="e"),
        item("7", n="1", email="twice, but not there"),
        item("8", n="1", email="twice, but not there"),
    ]
    there = [item(f"t{at}", n="1", email=email) for at, email in enumerate(["a", "a", "b", "c", "c", "d", "e"])]
    key = {"key": {"id": "S", "n": "S"}}
    pairs, reasons, figures = found(built(world, tmp_path, here, there, "{People: {match: {by: [email]}}}", key, key))
    assert pairs == {}
    assert reasons == {
        "1/1": "2 items of the target have these values",
        "2/1": "2 source items have these values, and one item of the target",
        "3/1": "2 source items have these values, and one item of the target",
        "4/1": "2 source items and 2 items of the target have these values",
        "5/1": "2 source items and 2 items of the target have these values",
        "6/1": "2 matched source items share one id, and are different items of the target",
        "6/2": "2 matched source items share one id, and are different items of the target",
    }
    assert (figures["matched"], figures["ambiguous"], figures["nearly"]) == (0, 7, 0)


@ON_MOTO
def test_all_of_several_values_have_to_be_there_and_equal(world, tmp_path):
    """With one of them absent, on either side, nothing is compared."""
    here = [item("1", a="x", b="y"), item("2", a="x"), item("3", a="z", m={"M": {}}, b="y")]
    there = [item("t1", a="x", b="y"), item("t2", a="x"), item("t3", b="y")]
    pairs, reasons, figures = found(built(world, tmp_path, here, there, "{People: {match: {by: [a, b]}}}"))
    assert (pairs, reasons, figures["source_items"], figures["target_items"]) == ({"1": {"S": "t1"}}, {}, 2, 1)


@ON_MOTO
def test_a_row_does_not_match_its_own_earlier_copy(world, tmp_path):
    """Nor is it ambiguous because of it, in a second run, or after items of a test were kept."""
    flow = built(world, tmp_path, [item("1", email="a"), item("2", email="b")], [item("t9", email="z")], Visits=[])
    flow.analyze()
    flow.test("People", 1, keep=True)
    flow.migrate()
    second = flow_of(MAPPING, world, tmp_path, "the-second-run")
    pairs, reasons, figures = found(second)
    assert (pairs, reasons, figures["matched"], figures["target_items"]) == ({}, {}, 0, 3)
    assert counts_of(second.migrate())["People"]["already_there"] == 2


SINGLE = """{
  People: {where: {kind: person}, id: {in: PK, as: 'P#{id}'}, match: {by: [email]}},
  Firms: {source: "People-dev-%s", target: "People-prod-%s", where: {PK: {begins_with: 'F#'}}, id: {in: PK, as: 'F#{id}'},
    match: {by: [email]}, references: {SK: 'OF#{People}'}}}"""


def test_entries_of_one_table_are_told_apart_and_ids_stand_inside_keys(world, tmp_path):
    """By conditions on what is copied, and by the text around ids: nobody matches an item of the other entry."""
    here = [
        {"PK": {"S": "P#1"}, "SK": {"S": "x"}, "kind": {"S": "person"}, "email": {"S": "a"}},
        {"PK": {"S": "F#2"}, "SK": {"S": "OF#1"}, "email": {"S": "b"}},
        {"PK": {"S": "F#3"}, "SK": {"S": "OF#1"}, "email": {"S": "only a person there"}},
    ]
    there = [
        {"PK": {"S": "P#p-9"}, "SK": {"S": "x"}, "kind": {"S": "person"}, "email": {"S": "a"}},
        {"PK": {"S": "F#f-9"}, "SK": {"S": "OF#p-9"}, "email": {"S": "b"}},
        {"PK": {"S": "P#p-8"}, "SK": {"S": "x"}, "kind": {"S": "person"}, "email": {"S": "only a person there"}},
        {"PK": {"S": "Q#q-9"}, "SK": {"S": "x"}, "kind": {"S": "person"}, "email": {"S": "a"}},
    ]
    mapping = SINGLE % (world.suffix, world.suffix)
    flow = built(world, tmp_path, here, there, mapping, PAIR, PAIR)
    assert found(flow)[0] == {"P#1/x": {"S": "p-9"}}
    assert found(flow, "Firms")[0] == {"F#2/OF#1": {"S": "f-9"}}
    told = "nothing tells its items in .* from those of Firms; give a condition"
    with pytest.raises(Refused, match=told):
        found(flow_of(mapping.replace("where: {kind: person}, id: {in: PK, as: 'P#{id}'}", "id: SK"), world, tmp_path))


SPLIT = """{People: {id_format: keep, match: {by: [mail]}, create: {key: {PK: S, SK: S}},
  fields: {PK: 'CUSTOMER#{id}', SK: PROFILE, kind: {value: 7}, mail: {from: email}}, rest: more}}"""


def test_fields_tell_which_items_are_the_entrys_and_where_their_ids_are(world, tmp_path):
    """Constants of any type, and the text in templates of keys; numbers are read out of text."""
    here = [{"id": {"N": str(number)}, "email": {"S": f"m{number}"}} for number in range(6)]

    def one(id_, email, sk="PROFILE", kind="7.0"):
        return {"PK": {"S": id_}, "SK": {"S": sk}, "kind": {"N": kind}, "mail": {"S": email}}

    there = [
        one("CUSTOMER#90", "m0"),
        one("CUSTOMER#x", "m1"),
        one("CLIENT#92", "m2"),
        one("CUSTOMER#93", "m3", sk="OTHER"),
        one("CUSTOMER#94", "m4", kind="8"),
        one("CUSTOMER#5", "m5"),
    ]
    pairs, reasons, figures = found(built(world, tmp_path, here, there, SPLIT, {"key": {"id": "N"}}, PAIR))
    assert pairs == {"0": {"N": "90"}}
    assert reasons == {"1": "the item of the target that has these values has no id of the same type"}
    assert figures["target_items"] == 3  # m5 is the row's own


@ON_MOTO
def test_values_may_hold_ids_of_entries_that_were_matched_before(world, tmp_path):
    """The second entry is matched by an id that the first one takes from the target, whatever their order in the file."""
    mapping = """{Visits: {references: {who: People}, match: {by: [who, day]}}, People: {match: {by: [email]}}}"""
    flow = built(
        world,
        tmp_path,
        [item("1", email="a")],
        [item("t1", email="a")],
        mapping,
        Visits=[item("v1", who="1", day="monday"), item("v2", who="1", day="friday")],
    )
    world.put(world.name("Visits", TARGET), item("tv", who="t1", day="monday"))
    assert found(flow, "Visits")[0] == {"v1": {"S": "tv"}}


@ON_MOTO
def test_what_the_target_has_is_matched_also_for_entries_that_are_not_chosen(world, tmp_path):
    """References to their items follow."""
    flow = built(
        world, tmp_path, [item("1", email="a")], [item("t1", email="a")], Visits=[item("v1", old="v1", who="1")]
    )
    flow.migrate(["Visits"])
    assert whose(world) == {"v1": "t1"}


@ON_MOTO
def test_a_target_that_is_empty_or_not_there_costs_no_walk_over_the_source(world, tmp_path):
    """Nothing can be matched, so the source's items are not counted either."""
    flow = built(world, tmp_path, [item("1", email="a")], [], Visits=[])
    figures = found(flow)[2]
    assert (figures["source_items"], figures["target_items"], figures["matched"]) == (None, 0, 0)


# freezing


def people(world, tmp_path, mapping=MAPPING, there=("a", "z")):
    """Ann and Bob with a visit each; the target has who has the first of these mails, and somebody else."""
    here = [item("1", email="a"), item("2", email="b")]
    visits = [item("v1", old="v1", who="1"), item("v2", old="v2", who="2")]
    return built(world, tmp_path, here, [item(f"t-{one}", email=one) for one in there], mapping, Visits=visits)


def recorded(flow, stage="migrate"):
    """What the executions of a stage recorded of the matches they went by."""
    return [event["matches"] for event in Stage(flow.run(), stage).events("execution")]


def frozen(flow):
    """The file of the run's frozen matches."""
    return flow.outputs / flow.run_id / FILE


def test_every_stage_goes_by_what_01_froze(world, tmp_path):
    """The matched item is not written, references follow, the target's item stays as it is, and a rollback leaves it."""
    flow = people(world, tmp_path)
    before = world.items(world.name("People", TARGET))
    analysis = flow.analyze()
    plan = json.loads((frozen(flow).parent / "plan.json").read_text())
    sha256 = Matches.open(frozen(flow)).sha256
    assert (plan["matches"]["file"], plan["matches"]["rows"], plan["matches"]["sha256"]) == (FILE, 1, sha256)
    assert analysis["matches"] == {"rows": 1, "sha256": sha256}
    assert analysis["tables"]["People"]["matches"] == plan["matches"]["tables"]["People"]
    assert "matches" not in analysis["tables"]["Visits"]
    assert frozen(flow).stat().st_mode & 0o077 == 0
    flow.test("Visits", 2)
    report = flow.migrate()
    assert [one["sha256"] for one in (*recorded(flow, "test"), *recorded(flow))] == [sha256, sha256]
    assert report["plan"]["drift"] == []
    assert whose(world)["v1"] == "t-a"
    assert len(world.items(world.name("People", TARGET))) == 3
    assert flow.validate()["validation"]["missing"] == 0
    assert flow.rollback()["verdict"] == "ROLLED_BACK"
    assert world.items(world.name("People", TARGET)) == before


@ON_MOTO
@pytest.mark.parametrize("stage", ["test", "migrate"])
def test_without_a_plan_the_first_execution_freezes(world, tmp_path, stage):
    """Its record says which file it went by; 04 goes by it, too."""
    flow = people(world, tmp_path)
    flow.migrate() if stage == "migrate" else flow.test("Visits", 2, keep=True)
    assert recorded(flow, stage)[0]["sha256"] == Matches.open(frozen(flow)).sha256
    assert whose(world)["v1"] == "t-a"
    world.delete(world.name("People", TARGET), item("t-a"))
    if stage == "migrate":
        assert flow.migrate()["verdict"] in ("PASS", "REVIEW")  # nothing is searched any more
        assert flow.validate()["validation"]["different"] == 0


@ON_MOTO
@pytest.mark.parametrize("damage", ["changed", "missing", "foreign"])
@pytest.mark.parametrize("stage", ["migrate", "validate"])
def test_a_file_that_is_not_as_it_was_frozen_is_refused(world, tmp_path, damage, stage):
    """In one sentence, before anything is written."""
    flow = people(world, tmp_path)
    flow.analyze()
    if stage == "validate":
        flow.migrate()
    digest = world.digest(TARGET)
    if damage == "missing":
        frozen(flow).unlink()
    elif damage == "changed":
        frozen(flow).write_bytes(frozen(flow).read_bytes().replace(b"t-a", b"t-z"))
    else:
        frozen(flow).write_bytes(b"")
    with pytest.raises(Refused, match="plan-matches.jsonl"):
        getattr(flow, stage)()
    assert world.digest(TARGET) == digest


@ON_MOTO
def test_05_needs_no_matches(world, tmp_path):
    """It deletes what the journal says, and lists what was edited."""
    flow = people(world, tmp_path)
    flow.migrate()
    frozen(flow).unlink()
    flow.accept_changed = True
    assert flow.rollback()["verdict"] == "ROLLED_BACK"
    assert len(world.items(world.name("People", TARGET))) == 2


@ON_MOTO
def test_new_and_gone_matches_are_drift_and_the_frozen_ones_hold(world, tmp_path):
    """REVIEW, unless it is accepted; counted for each entry."""
    flow = people(world, tmp_path)
    flow.analyze()
    world.put(world.name("People", TARGET), item("t-a", email="another now"))
    world.put(world.name("People", TARGET), item("t-b", email="b"))
    report = flow.migrate()
    (drift,) = report["plan"]["drift"]
    assert (drift["side"], drift["table"], drift["what"], drift["name"]) == ("target", "People", "match", "email")
    assert (drift["planned"], drift["found"]) == ({"matched": 1}, {"matched": 1, "new": 1, "gone": 1})
    (alert,) = [one for one in report["alerts"] if "not as 01 saw it" in one["message"]]
    assert alert["level"] == "REVIEW"
    assert "1 match by email planned, 1 new since and 1 gone" in alert["message"]
    assert whose(world)["v1"] == "t-a"
    flow.accept_drift = True
    flow.migrate()


@ON_MOTO
def test_01_searches_anew_until_03_has_begun(world, tmp_path):
    """From then on it goes by what 03 went by."""
    flow = people(world, tmp_path)
    assert flow.analyze()["matches"]["rows"] == 1
    world.put(world.name("People", TARGET), item("t-b", email="b"))
    assert flow.analyze()["matches"]["rows"] == 2
    flow.migrate()
    world.delete(world.name("People", TARGET), item("t-b"))
    again = flow.analyze()
    assert again["matches"]["rows"] == 2
    assert again["tables"]["People"]["matches"]["matched"] == 2


@ON_MOTO
@pytest.mark.parametrize("there", [("a", "z"), ("a", "a2")])
def test_found_stop_refuses_02_and_03_before_the_first_insert(world, tmp_path, there):
    """With or without a plan; 01 says that it will be so."""
    mapping = MAPPING.replace("[email]", "[email], found: stop")
    flow = people(world, tmp_path, mapping, there)
    digest = world.digest(TARGET)
    told = "People: the target has 1 source item already, by email, and the mapping says `found: stop`"
    for step in (lambda: flow.test("Visits", 2), flow.migrate):
        with pytest.raises(Refused, match=told):
            step()
    assert "FAIL" in {one["level"] for one in flow.analyze()["checks"] if one["what"] == "match"}
    for step in (lambda: flow.test("Visits", 2), flow.migrate):
        with pytest.raises(Refused, match=told):
            step()
    assert world.digest(TARGET) == digest


@ON_MOTO
def test_found_insert_changes_nothing_and_says_so(world, tmp_path):
    """The items are inserted beside those that the target has."""
    flow = people(world, tmp_path, MAPPING.replace("[email]", "[email], found: insert"))
    analysis = flow.analyze()
    assert analysis["tables"]["People"]["matches"]["matched"] == 1
    (check,) = [one for one in analysis["checks"] if one["what"] == "match" and one["found"]]
    assert check["level"] == "NOTE"
    assert "1 item will be inserted beside" in check["message"]
    flow.migrate()
    assert len(world.items(world.name("People", TARGET))) == 4
    assert whose(world)["v1"] != "t-a"


@ON_MOTO
def test_04_has_nothing_to_go_by_where_nothing_is_frozen(world, tmp_path):
    """It would call matched items missing."""
    with pytest.raises(Refused, match="has matched nothing yet, and its mapping says `match`; analyze or migrate"):
        people(world, tmp_path).validate()


@ON_MOTO
def test_what_is_ambiguous_is_listed_and_needs_a_look(world, tmp_path):
    """Keys and counts, no value."""
    flow = built(world, tmp_path, [item("1", email="secret")], [item(n, email="secret") for n in "tu"], Visits=[])
    analysis = flow.analyze()
    assert flow.listing("matches") == [
        {"table": "People", "key": item("1"), "attribute": "email", "reason": "2 items of the target have these values"}
    ]
    (check,) = [one for one in analysis["checks"] if one["what"] == "match" and one["level"] == "REVIEW"]
    assert "1 item" in check["message"]
    assert "secret" not in json.dumps(analysis)


@ON_MOTO
@pytest.mark.parametrize("planned", [True, False])
def test_03_and_04_say_what_they_wrote_beside_what_may_be_the_same(world, tmp_path, planned):
    """REVIEW, with or without 01: nobody else would hear of it. With `found: insert`, a note of the others."""
    here, there = [item(n, email=n) for n in "ab"], [item("t-a", email="a"), *(item(n, email="b") for n in "tu")]
    mapping = MAPPING.replace("[email]", "[email], found: insert")
    flow = built(world, tmp_path, here, there, mapping, Visits=[item("v1", who="a")])
    if planned:
        flow.analyze()
    for report in (flow.migrate(), flow.validate()):
        assert report["verdict"] == "REVIEW"
        said = [
            (one["level"], one["table"], one["message"]) for one in report["alerts"] if " by email" in one["message"]
        ]
        assert said == [
            ("REVIEW", "People", "1 item ambiguous by email: written beside those of the target that may be the same"),
            ("NOTE", "People", "1 item written beside those that the target has, by email"),
        ]
    assert [line["key"] for line in flow.listing("matches")] == [item("b")]


@ON_MOTO
def test_a_process_that_dies_before_it_has_recorded_the_matches_searches_again(world, tmp_path):
    """Nothing was inserted, and the file that it left is nobody's: the next execution replaces it."""
    flow = people(world, tmp_path)
    assert in_child(flow.migrate, at_record("execution", 1, "before")) == KILLED
    assert frozen(flow).exists()
    assert recorded(flow) == []
    world.delete(world.name("People", TARGET), item("t-a"))
    world.put(world.name("People", TARGET), item("t-b", email="b"))
    flow.migrate()
    assert [one["rows"] for one in recorded(flow)] == [1]
    assert whose(world)["v2"] == "t-b"
    assert flow.validate()["validation"]["missing"] == 0


@ON_MOTO
def test_two_searches_freeze_the_same_file(world, tmp_path):
    """Whatever the segments: only what is matched decides."""
    here = [item(str(at), email=f"m{at % 40}") for at in range(60)]
    flow = built(world, tmp_path, here, [item(f"t{at}", email=f"m{at}") for at in range(40)], Visits=[])
    other = flow_of(MAPPING, world, tmp_path, "other", segments=3, workers=3)
    one, two = (search(each._plan()).matches for each in (flow, other))
    assert (one.rows, one.sha256) == (20, two.sha256)


@ON_MOTO
@pytest.mark.parametrize("accept", ["", ", accept: {unmatched: [mail]}"])
def test_attributes_that_no_item_of_one_side_has_need_a_look(world, tmp_path, accept):
    """They are among the names that match nothing, and can be accepted as those are."""
    mapping = MAPPING.replace("[email]}", "[email, mail]}" + accept)
    flow = built(world, tmp_path, [item("1", email="a", mail="b")], [item("t1", email="a")], mapping, Visits=[])
    (one,) = [one for one in flow.analyze()["unmatched"] if one["rule"] == "match"]
    assert (one["table"], one["name"], one["items"], one["level"]) == ("People", "mail", 1, "REVIEW")
    assert one["accepted"] is bool(accept)


@ON_MOTO
def test_the_search_is_in_the_estimate(world, tmp_path):
    """Both tables once more in 01 and 03; nothing where no entry says `match`."""
    flow = people(world, tmp_path, there=("y", "z"))
    costs = [flow.analyze()["costs"]]
    costs += [flow_of(MAPPING.replace("match: {by: [email]}", ""), world, tmp_path, "without-match").analyze()["costs"]]
    with_match, without = ({stage: about["read_units"] for stage, about in each.items()} for each in costs)
    assert {stage for stage in with_match if with_match[stage] > without[stage]} == {"01_analyze", "03_migrate"}


@ON_MOTO
def test_a_plain_migration_has_no_such_files(world, tmp_path):
    """And what an analysis with another mapping froze goes when 01 is repeated without `match`."""
    flow = people(world, tmp_path)
    flow.analyze()
    assert frozen(flow).exists()
    plain = flow_of(MAPPING.replace("match: {by: [email]}", ""), world, tmp_path)
    plain.analyze()
    assert not frozen(flow).exists()
    plan = json.loads((frozen(flow).parent / "plan.json").read_text())
    assert "matches" not in plan
    plain.migrate()
    assert all("matches" not in event for event in Stage(flow.run(), "migrate").events("execution"))


@ON_MOTO
def test_an_analysis_without_match_leaves_what_03_goes_by(world, tmp_path):
    """Somebody who tries another mapping in the run's folder takes nothing away from it."""
    flow = people(world, tmp_path)
    flow.migrate()
    plain = flow_of(MAPPING.replace("match: {by: [email]}", ""), world, tmp_path)
    plain.analyze()
    assert frozen(flow).exists()
