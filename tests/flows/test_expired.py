"""An item that the target let expire is not missing: row 56 of the fault matrix."""

import time
from types import SimpleNamespace

import pytest
import support_worlds as worlds
from support_flows import flow_of

from runbook_lib.dynamo import session, tables
from runbook_lib.errors import DynamoError, Refused
from runbook_lib.report import views
from runbook_lib.stages.validate.validate import validate

SOURCE, TARGET = worlds.SOURCE, worlds.TARGET
HOUR = 3_600
NOW = int(time.time())  # one for all: items are compared with each other


@pytest.fixture
def flow(moto_world, tmp_path):
    """A migration of items of which some have a time to live, and those that are gone from the target since."""
    until = {"past": {"N": str(NOW - HOUR)}, "future": {"N": str(NOW + HOUR)}, "text": {"S": str(NOW - HOUR)}}
    until |= {"none": None, "decimal": {"N": f"{NOW - HOUR}.50"}, "there": {"N": str(NOW - HOUR)}}
    items = [{"id": {"S": name}} | ({"until": value} if value else {}) for name, value in until.items()]
    key = {"key": {"id": "S"}}
    moto_world.build({"Notes": key | {"items": items}, "Other": key | {"items": items}}, SOURCE)
    moto_world.build({"Notes": key, "Other": key}, TARGET)
    flow = flow_of("{Notes: {id_format: keep}, Other: {id_format: keep}}", moto_world, tmp_path)
    flow.migrate()
    for table in ("Notes", "Other"):
        for name in until.keys() - {"there"}:
            moto_world.delete(moto_world.name(table, TARGET), {"id": {"S": name}})
    moto_world.client.update_time_to_live(
        TableName=moto_world.name("Notes", TARGET),
        TimeToLiveSpecification={"Enabled": True, "AttributeName": "until"},
    )
    return flow


def test_what_has_expired_is_told_from_what_is_missing(flow, moto_world):
    """A number before now, in the attribute that the target's table expires by; anything else is missing."""
    report = flow.validate()
    notes, other = (report["validation"]["tables"][name] for name in ("Notes", "Other"))
    assert (notes["missing"], notes["expired"], notes["equal"], notes["checked"]) == (3, 2, 1, 6)
    assert (other["missing"], other["expired"]) == (5, 0)
    assert (report["validation"]["missing"], report["validation"]["expired"]) == (8, 2)
    assert [(a["level"], a["message"]) for a in report["alerts"] if "time to live" in a["message"]] == [
        ("NOTE", "2 items no longer in the target: their time to live is over")
    ]


def test_expired_items_alone_are_no_failure(flow, moto_world):
    """PASS, with a note; the view shows them apart."""
    name = moto_world.name("Notes", TARGET)
    for old, until in (("future", {"N": str(NOW + HOUR)}), ("text", {"S": str(NOW - HOUR)}), ("none", None)):
        moto_world.put(name, {"id": {"S": old}} | ({"until": until} if until else {}))
    assert flow.validate(["Notes"])["verdict"] == "PASS"
    shown = views.validation(validate(flow.run(), flow._plan(["Notes"])))
    assert "6 items compared" in shown
    assert "2 expired" in shown


@pytest.mark.parametrize("problem", [DynamoError("no", "UnknownOperationException", "", "", ""), Refused("denied")])
def test_an_engine_that_cannot_tell_gives_a_line_and_no_crash(problem, flow, monkeypatch):
    """All count as missing, and the alert says why."""

    def refusing(connection, name):
        raise problem

    monkeypatch.setattr(tables, "ttl_attribute", refusing)
    report = flow.validate()
    assert (report["validation"]["missing"], report["validation"]["expired"]) == (10, 0)
    notes = [alert for alert in report["alerts"] if "DescribeTimeToLive is not available here" in alert["message"]]
    assert [(alert["level"], alert["table"]) for alert in notes] == [("NOTE", "Notes"), ("NOTE", "Other")]


def test_every_engine_tells_the_attribute(world):
    """None where there is none."""
    world.build({"Notes": {"key": {"id": "S"}}}, TARGET)
    side = SimpleNamespace(
        environment="t", region="us-west-1", account=None, profile=None, role_arn=None, external_id=None,
        endpoint_url=world.engine.endpoint_url,
    )  # fmt: skip
    connection, name = session.connect(side, "target"), world.name("Notes", TARGET)
    assert tables.ttl_attribute(connection, name) is None
    if world.engine.name != "dynalite":  # it has no time to live
        world.client.update_time_to_live(
            TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "until"}
        )
        assert tables.ttl_attribute(connection, name) == "until"
