"""`validate --repair`: what is missing is inserted through 03's journal, what is there stays, and a rollback takes it back."""

import json

import pytest
import support_worlds as worlds
from support_crashes import KILLED, at_record, in_child, small_pages
from support_flows import flow_of

from runbook_lib.dynamo.transport import Transport
from runbook_lib.errors import Refused
from runbook_lib.stages.validate.repair import ALL, MISSING

SOURCE, TARGET = worlds.SOURCE, worlds.TARGET
MAPPING = "{Ports: {}, Ships: {references: {port: Ports}}}"


def ship(number):
    """The target's key of a ship."""
    return {"id": {"S": worlds.new_id(TARGET, "Ships", "uuid", "S", f"s{number}")}}


@pytest.fixture
def flow(moto_world, tmp_path, monkeypatch):
    """A migration of 8 ships; since then one was deleted in the target, one edited there, one of somebody else's put there, and
    one added to the source."""
    small_pages(monkeypatch)
    for side in (SOURCE, TARGET):
        moto_world.build({"Ports": {"key": {"id": "S"}}, "Ships": {"key": {"id": "S"}}}, side)
    moto_world.put(moto_world.name("Ports", SOURCE), {"id": {"S": "p"}})
    for number in range(8):
        moto_world.put(moto_world.name("Ships", SOURCE), {"id": {"S": f"s{number}"}, "port": {"S": "p"}})
    flow = flow_of(MAPPING, moto_world, tmp_path, workers=2)
    assert flow.migrate()["verdict"] == "PASS"
    ships = moto_world.name("Ships", TARGET)
    moto_world.delete(ships, ship(1))
    moto_world.put(moto_world.name("Ships", SOURCE), {"id": {"S": "s9"}, "port": {"S": "p"}})
    moto_world.put(ships, ship(2) | {"port": {"S": "edited"}})
    moto_world.put(ships, {"id": {"S": "theirs"}})
    return flow


def repaired(flow, word=MISSING):
    """The report of a repair."""
    with flow._notebook("04_validate"):
        return flow.steps().repair(flow._plan(), word).content


def test_the_plan_lists_what_is_missing_by_cause_and_writes_nothing(flow, moto_world):
    """Deleted ones are left out unless they are asked for."""
    before = moto_world.content(TARGET)
    steps = flow.steps().plan_repair(flow._plan(), MISSING)
    assert steps == [
        "insert 1 item of Ships: added to the source since",
        "leave out 1 item of Ships: deleted in the target since (`--repair deleted` inserts them)",
    ]
    assert flow.steps().plan_repair(flow._plan(), ALL)[1] == "insert 1 item of Ships: deleted in the target since"
    assert moto_world.content(TARGET) == before


def test_a_validation_says_what_to_do_about_what_is_missing_or_different(flow):
    """What inserts the one, and what tells the cause of the other: to resume a complete 03 would do nothing."""
    said = {one["message"]: one["action"] for one in flow.validate()["alerts"]}
    assert "`runbook validate PARAMS --repair`" in said["2 items missing in the target"]
    assert "drift.jsonl" in said["1 item different in the target"]


def test_what_is_missing_is_inserted_and_nothing_else_is_touched(flow, moto_world):
    """Then both sides are compared again; the figures of 03 and the id map know what came."""
    before = moto_world.content(TARGET)["Ships"]
    report = repaired(flow)
    after = moto_world.content(TARGET)["Ships"]
    assert [item for item in after if item not in before] == [
        ship(9) | {"port": {"S": worlds.new_id(TARGET, "Ports", "uuid", "S", "p")}}
    ]
    assert all(item in after for item in before)
    figures = report["validation"]
    wanted = {"never_arrived": 0, "added": 1, "deleted": 1, "inserted": 1, "not_inserted": 0, "left_out": 1}
    assert figures["repaired"] == wanted
    assert (figures["missing"], figures["different"], figures["extra"]) == (1, 1, 1)
    assert report["tables"]["Ships"]["inserted"] == 9
    assert report["id_map"]["rows"] == 10
    # again: nothing is left to insert
    assert repaired(flow)["validation"]["repaired"]["inserted"] == 0


def test_deleted_items_come_back_where_they_are_asked_for_and_a_rollback_takes_all_back(flow, moto_world):
    """The journal counts each item once."""
    report = repaired(flow, ALL)
    assert report["validation"]["repaired"]["inserted"] == 2
    assert report["validation"]["missing"] == 0
    assert report["tables"]["Ships"] | {"inserted": 9, "scanned": 9} == report["tables"]["Ships"]
    undone = flow.rollback()["rollback"]
    assert (undone["deleted"], undone["kept_edited"], undone["not_found"]) == (9, 1, 0)
    assert {item["id"]["S"] for item in moto_world.content(TARGET)["Ships"]} == {"theirs", ship(2)["id"]["S"]}


RECORDS = [("undone", 1), ("intent", 1), ("intent", 2), ("outcome", 1), ("outcome", 2)]
QUICK = {("undone", 1, "middle"), ("intent", 2, "after"), ("outcome", 1, "before")}


@pytest.mark.parametrize(
    ("kind", "number", "moment"),
    [
        pytest.param(*record, moment, marks=() if (*record, moment) in QUICK else pytest.mark.slow)
        for record in RECORDS
        for moment in ("before", "middle", "after")
    ],
)
def test_a_repair_that_is_killed_goes_on(kind, number, moment, flow):
    """Around each record that it writes: each item is there once, counted once, and taken back by a rollback."""
    code = in_child(lambda: repaired(flow, ALL), at_record(kind, number, moment))
    assert code == KILLED
    report = repaired(flow, ALL)
    assert report["validation"]["missing"] == 0
    assert (report["tables"]["Ships"]["scanned"], report["tables"]["Ships"]["inserted"]) == (9, 9)
    assert report["id_map"]["rows"] == 10
    undone = flow.rollback()["rollback"]
    assert (undone["deleted"], undone["kept_edited"], undone["not_found"]) == (9, 1, 0)


def test_what_never_arrived_is_inserted(moto_world, tmp_path, monkeypatch):
    """Items that could not be written are failed until a repair writes them."""
    for side in (SOURCE, TARGET):
        moto_world.build({"Ports": {"key": {"id": "S"}}, "Ships": {"key": {"id": "S"}}}, side)
    moto_world.put(moto_world.name("Ships", SOURCE), {"id": {"S": "s1"}})
    flow = flow_of(MAPPING, moto_world, tmp_path, on_failure="keep")
    post = Transport.post

    def refusing(transport, keys, operation, body):
        if operation in ("PutItem", "BatchExecuteStatement") and b"Item" in body:
            content = {"__type": "com.amazonaws.dynamodb.v20120810#ValidationException", "message": "no"}
            return 400, {}, json.dumps(content).encode()
        return post(transport, keys, operation, body)

    with monkeypatch.context() as patch:
        patch.setattr(Transport, "post", refusing)
        assert flow.migrate()["totals"]["failed"] == 1
    with flow._notebook("04_validate"):
        assert flow.steps().plan_repair(flow._plan(), MISSING) == ["insert 1 item of Ships: never arrived"]
    report = repaired(flow)
    assert report["totals"]["failed"] == 0
    assert report["totals"]["inserted"] == 1
    assert report["validation"]["equal"] == 1


def test_a_run_that_has_not_migrated_is_refused(moto_world, tmp_path):
    """There is no journal that a rollback could go by."""
    for side in (SOURCE, TARGET):
        moto_world.build({"Ports": {"key": {"id": "S"}}, "Ships": {"key": {"id": "S"}}}, side)
    flow = flow_of(MAPPING, moto_world, tmp_path)
    with pytest.raises(Refused, match="resume it with runbook migrate"):
        flow.steps().plan_repair(flow._plan(), MISSING)
    with pytest.raises(Refused, match="give 'missing' or 'deleted'"):
        flow.steps().plan_repair(flow._plan(), "all")
