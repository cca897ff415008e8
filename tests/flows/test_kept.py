"""What a rollback kept is listed with what differs, where the source still tells what was inserted; nothing depends on it."""

import json

import pytest
import support_worlds as worlds
from support_flows import flow_of

from runbook_lib.dynamo import session
from runbook_lib.dynamo.items import Wire
from runbook_lib.errors import DynamoError, Refused
from runbook_lib.journal.checkpoint import read_checkpoint
from runbook_lib.report import views
from runbook_lib.stages.rollback import kept
from runbook_lib.stages.rollback.rollback import Undoing

SOURCE, TARGET = worlds.SOURCE, worlds.TARGET
SHIP = {"n": {"N": "7.5"}, "m": {"M": {"a": {"N": "1"}}}, "name": {"S": "a secret name"}}


def new(old, entry="Ships"):
    """The new id of an old one, typed."""
    return {"S": worlds.new_id(TARGET, entry, "uuid", "S", old)}


@pytest.fixture
def flow(world, tmp_path):
    """A migration of seven ships, of which six were edited."""
    items = [{"id": {"S": f"s{n}"}} | SHIP for n in range(7)]
    world.build({"Ships": {"key": {"id": "S"}, "items": items}}, SOURCE)
    theirs = [{"id": {"S": "theirs"}}, {"id": new("s6"), "other": {"S": "x"}}]
    world.build({"Ships": {"key": {"id": "S"}, "items": theirs}}, TARGET)
    flow = flow_of("{Ships: {}}", world, tmp_path)
    flow.migrate()
    edits = [
        {"n": {"N": "8"}},
        {"extra": {"BOOL": True}},
        {"m": {"M": {"a": {"N": "2"}}}, "n": {"S": "7.5"}},
        {"n": {"N": "7.500"}},  # the same
        {"name": None},
    ]
    for number, edit in enumerate(edits):
        item = SHIP | edit | {"id": new(f"s{number}")}
        world.put(world.name("Ships", TARGET), {name: value for name, value in item.items() if value})
    return flow


def listed(flow):
    """Source id → the line of kept.jsonl."""
    return {line["key"]["id"]["S"]: line for line in flow.listing("kept")}


def test_kept_items_are_listed_with_the_attributes_that_differ(flow, world):
    """Changed, added, another type, taken away; with types, and not a value."""
    report = flow.rollback()
    assert [report["rollback"][name] for name in ("deleted", "kept_edited", "not_found")] == [2, 4, 0]
    lines = listed(flow)
    assert {old: [tuple(d.values()) for d in line["differences"]] for old, line in lines.items()} == {
        "s0": [("n", "N", "N")],
        "s1": [("extra", "absent", "BOOL")],
        "s2": [("m", "M", "M"), ("n", "N", "S")],
        "s4": [("name", "S", "absent")],
    }
    assert {old: line["attribute"] for old, line in lines.items()} == {
        "s0": "n",
        "s1": "extra",
        "s2": "m, n",
        "s4": "name",
    }
    assert {line["reason"] for line in lines.values()} == {kept.REASON}
    assert set(lines["s0"]["differences"][0]) == {"attribute", "was", "is"}
    assert lines["s0"]["target_key"] == {"id": new("s0")}
    text = json.dumps(flow.listing("kept"))
    assert "7.5" not in text
    assert "secret" not in text


def test_the_items_of_others_are_counted_and_it_is_said_where_they_are_listed(flow):
    """Those that were there before, and that the rollback never looks at."""
    alerts = flow.rollback()["alerts"]
    (alert,) = [alert for alert in alerts if "items of others" in alert["message"]]
    assert alert["message"].endswith("were not touched: 1 different from ours under the same key (see conflicts.jsonl)")
    assert (alert["level"], len(flow.listing("conflicts"))) == ("NOTE", 1)


def test_the_notebook_shows_what_differs(flow):
    """A table with the attributes and their types, and what was left alone."""
    undone = Undoing(str(flow.checkpoint()), "", flow.parameters)
    shown = views.undone(undone.undo())
    for words in (
        "m (another value), n (N → S)",
        "extra (absent → BOOL)",
        "Items of others, not touched: 1 different from ours",
    ):
        assert words in shown
    assert "secret" not in shown


def test_where_the_source_tells_no_more_the_reason_says_so(flow, world):
    """Edited in the source as well, or gone from it: kept all the same, and the others keep their differences."""
    name = world.name("Ships", SOURCE)
    world.put(name, {"id": {"S": "s0"}, "n": {"N": "9"}})
    world.delete(name, {"id": {"S": "s1"}})
    assert flow.rollback()["rollback"]["kept_edited"] == 4
    lines = listed(flow)
    assert lines["s0"]["reason"] == f"{kept.REASON}. The differences are unknown: its source item has changed, too."
    assert lines["s1"]["reason"] == f"{kept.REASON}. The differences are unknown: its source item is gone."
    assert (lines["s0"]["differences"], lines["s0"]["attribute"]) == ([], "")
    assert lines["s2"]["attribute"] == "m, n"


def without_the_table(flow, world, monkeypatch):
    world.client.delete_table(TableName=world.name("Ships", SOURCE))


def without_the_side(flow, world, monkeypatch):
    connect = session.connect

    def refusing(side, label, **more):
        if label == "source":
            raise Refused("source: no AWS credentials were found.")
        return connect(side, label, **more)

    monkeypatch.setattr(session, "connect", refusing)


def without_the_mapping(flow, world, monkeypatch):
    flow.parameters.mapping_path().unlink()


def without_the_right(flow, world, monkeypatch):
    get_many = Wire.get_many

    def denied(wire, table, *keys):
        if wire.label == "source":
            raise DynamoError("denied", "AccessDeniedException", "", "BatchGetItem", table)
        return get_many(wire, table, *keys)

    monkeypatch.setattr(Wire, "get_many", denied)


def with_a_fault(flow, world, monkeypatch):
    def faulty(item, other):
        raise ZeroDivisionError("a secret name")

    monkeypatch.setattr(kept, "differences", faulty)


@pytest.mark.parametrize(
    "lost", [without_the_table, without_the_side, without_the_mapping, without_the_right, with_a_fault]
)
def test_a_rollback_does_not_need_the_source(lost, flow, world, monkeypatch):
    """Table, access, mapping file gone, or a fault of ours: the same is deleted and kept, and the reason says what is missing."""
    lost(flow, world, monkeypatch)
    report = flow.rollback()
    assert [report["rollback"][name] for name in ("deleted", "kept_edited", "not_found")] == [2, 4, 0]
    for line in flow.listing("kept"):
        assert "cannot be read: " in line["reason"]
        assert "secret" not in line["reason"]
        assert (line["differences"], line["attribute"]) == ([], "")


def test_another_mapping_is_named_and_a_difference_that_it_changes_is_not_made_up(flow):
    """What the mapping gives now is not what was inserted; where it gives the same all the same, that is used."""
    path = flow.parameters.mapping_path()
    path.write_text(path.read_text().replace("{Ships: {}}", "{Ships: {drop: [name]}}"))
    flow.rollback()
    assert {line["reason"].partition(" unknown: ")[2] for line in flow.listing("kept")} == {
        "the mapping or the program has changed."
    }


def test_only_the_first_are_looked_at(flow, monkeypatch):
    """The rest is listed all the same."""
    monkeypatch.setattr(kept, "LIMIT", 2)
    flow.rollback()
    found = [bool(line["differences"]) for line in flow.listing("kept")]
    assert sorted(found) == [False, False, True, True]
    assert any("only the first 2 items are compared" in line["reason"] for line in flow.listing("kept"))


def test_no_kept_item_costs_no_look_at_the_source(world, tmp_path, monkeypatch):
    """The source is opened for kept items alone."""
    world.build({"Ships": {"key": {"id": "S"}, "items": [{"id": {"S": "s"}}]}}, SOURCE)
    world.build({"Ships": {"key": {"id": "S"}}}, TARGET)
    flow = flow_of("{Ships: {}}", world, tmp_path)
    flow.migrate()
    without_the_side(flow, world, monkeypatch)
    assert flow.rollback()["rollback"]["deleted"] == 1


@pytest.mark.parametrize("policy", ["keep", "null", "remove"])
def test_what_dangled_is_told_by_the_digest(policy, moto_world, tmp_path):
    """`dangling: keep` and `null` need all ids of the source to route an item; a kept one is told without them."""
    ports = [{"id": {"S": "p"}}]
    ships = [{"id": {"S": "there"}, "port": {"S": "p"}}, {"id": {"S": "nowhere"}, "port": {"S": "q"}}]
    moto_world.build(
        {"Ports": {"key": {"id": "S"}, "items": ports}, "Ships": {"key": {"id": "S"}, "items": ships}}, SOURCE
    )
    moto_world.build({"Ports": {"key": {"id": "S"}}, "Ships": {"key": {"id": "S"}}}, TARGET)
    mapping = f"{{Ports: {{}}, Ships: {{references: {{port: {{to: Ports, dangling: {policy}}}}}}}}}"
    flow = flow_of(mapping, moto_world, tmp_path)
    flow.migrate()
    name = moto_world.name("Ships", TARGET)
    for item in moto_world.items(name):
        moto_world.put(name, item | {"extra": {"S": "x"}})
    flow.rollback()
    assert [line["attribute"] for line in flow.listing("kept")] == ["extra", "extra"]


def test_a_rollback_from_a_checkpoint_alone_finds_mapping_and_sides(flow, monkeypatch, tmp_path):
    """The working directory and the caller's parameters are nothing to it."""
    monkeypatch.chdir(tmp_path.parent)
    checkpoint = read_checkpoint(flow.checkpoint())
    assert checkpoint.parameters.mapping_path().is_absolute()
    flow.rollback()
    assert listed(flow)["s4"]["attribute"] == "name"
