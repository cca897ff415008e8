"""The sealed plan, `plan.json`: what 01 saw, and what 03 of the same run says where the world is another one since."""

import json
import stat

import pytest
import support_worlds as worlds
from support_crashes import small_pages
from support_flows import flow_of

from runbook_lib.errors import Refused
from runbook_lib.journal import audit
from runbook_lib.journal.stage import Stage
from runbook_lib.walk.insert import Inserter

SOURCE, TARGET = worlds.SOURCE, worlds.TARGET
PLAIN = {"key": {"id": "S"}}
TABLES = {"Customers": PLAIN, "Orders": PLAIN | {"indexes": {"byShop": {"shop": "S"}}}}
MAPPING = "{Customers: {create: like_source}, Orders: {references: {customerId: Customers}, create: like_source}}"


@pytest.fixture
def shop(moto_world, tmp_path):
    """Two tables of ten items each, in the source; their migration, not yet begun."""
    moto_world.build(TABLES, SOURCE)
    for n in range(10):
        moto_world.put(moto_world.name("Customers", SOURCE), {"id": {"S": f"c{n}"}, "name": {"S": "x"}})
        order = {"id": {"S": f"o{n}"}, "customerId": {"S": f"c{n}"}, "total": {"N": "1"}, "shop": {"S": "a"}}
        moto_world.put(moto_world.name("Orders", SOURCE), order)
    flow = flow_of(MAPPING, moto_world, tmp_path)
    flow.world = moto_world
    return flow


def drift(report):
    """(table, what, name) of what is told."""
    return [(one["table"], one["what"], one["name"]) for one in report["plan"]["drift"]]


def recreated(world, name, **changed):
    """The table again with something else about it, and empty."""
    about = world.client.describe_table(TableName=name)["Table"]
    request = {key: about[key] for key in ("KeySchema", "AttributeDefinitions")}
    indexes = [
        {key: one[key] for key in ("IndexName", "KeySchema", "Projection")}
        for one in about.get("GlobalSecondaryIndexes", ())
    ]
    world.client.delete_table(TableName=name)
    request |= {"GlobalSecondaryIndexes": indexes, "BillingMode": "PAY_PER_REQUEST"} | changed
    world.client.create_table(TableName=name, **{key: value for key, value in request.items() if value})


def index(name, *keys, projection="ALL"):
    schema = [{"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"), strict=False)]
    return {"IndexName": name, "KeySchema": schema, "Projection": {"ProjectionType": projection}}


def attributes(*names):
    return [{"AttributeName": name, "AttributeType": "S"} for name in names]


# what 01 writes


def test_the_plan_holds_names_types_counts_and_structures(shop):
    """And no value; mode 0600; the audit chain knows it. Repeating 01 replaces it."""
    shop.analyze()
    path = shop.run().folder / "plan.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    plan = json.loads(path.read_text())
    assert plan["tables"]["Orders"] == {
        "records": 10,
        "attributes": {name: {"types": ["N" if name == "total" else "S"], "routed": 10}
                       for name in ("customerId", "id", "shop", "total")},
    }  # fmt: skip
    assert plan["target"][shop.world.name("Orders", TARGET)]["exists"] is False
    assert plan["source"][shop.world.name("Orders", SOURCE)]["structure"]["key"] == [["id", "S"]]
    assert '"c1"' not in path.read_text()
    audit.append(shop.run(), "01_analyze")
    assert audit.verify(shop.run()).problems == []
    path.write_text(path.read_text() + " ")
    assert "plan.json was changed" in audit.verify(shop.run()).problems
    shop.world.put(shop.world.name("Orders", SOURCE), {"id": {"S": "more"}})
    shop.analyze()
    assert json.loads(path.read_text())["tables"]["Orders"]["records"] == 11


def test_tables_that_02_made_as_planned_are_no_drift(shop):
    """Nor is anything else where nothing has changed; a repeated 03 says the same. Without 01 there is no plan."""
    shop.analyze()
    shop.create()
    report = shop.migrate()
    assert (report["verdict"], report["plan"]["drift"], report["plan"]["accepted"]) == ("PASS", [], False)
    assert report["plan"]["file"] == "plan.json"
    assert shop.migrate()["plan"] == report["plan"]
    assert shop.validate()["plan"] == report["plan"]
    shop.run_id = "another-run"
    assert "plan" not in shop.migrate()


# the tables


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            {"KeySchema": index("", "id", "shop")["KeySchema"]},
            "its key is id (S) + shop (S), not id (S)",
        ),
        (
            {"GlobalSecondaryIndexes": [], "AttributeDefinitions": attributes("id")},
            "index byShop is missing",
        ),
        (
            {
                "GlobalSecondaryIndexes": [index("byShop", "shop"), index("byName", "name")],
                "AttributeDefinitions": attributes("id", "shop", "name"),
            },
            "index byName is new",
        ),
        (
            {"GlobalSecondaryIndexes": [index("byShop", "shop", projection="KEYS_ONLY")]},
            "index byShop projects KEYS_ONLY, not ALL",
        ),
    ],
    ids=["key", "index gone", "index new", "projection"],
)
def test_another_shape_of_a_target_is_refused_before_anything_is_written(changed, told, shop, tmp_path):
    """In one sentence that names it. With --accept-drift it goes on, and lists it as a note."""
    shop.world.build(TABLES, TARGET)
    flow = flow_of("{Customers: {}, Orders: {references: {customerId: Customers}}}", shop.world, tmp_path)
    flow.analyze()
    name = shop.world.name("Orders", TARGET)
    recreated(shop.world, name, **changed)
    with pytest.raises(Refused) as problem:
        flow.migrate()
    assert f"{name} is not as 01 saw it" in str(problem.value)
    assert told in str(problem.value)
    assert "--accept-drift" in str(problem.value)
    assert not any(shop.world.content(TARGET).values())
    flow.accept_drift = True
    report = flow.migrate()
    assert report["plan"]["accepted"] is True
    assert [one["table"] for one in report["plan"]["drift"]] == [name]
    levels = {alert["level"] for alert in report["alerts"] if told in alert["message"]}
    assert levels == {"NOTE"}


def test_settings_and_a_table_made_by_somebody_else_need_a_decision(shop):
    """TTL, stream, protection: REVIEW, with both sides' words. Accepted, they are notes."""
    name = shop.world.name("Customers", TARGET)
    shop.world.build({"Customers": PLAIN}, TARGET)
    shop.analyze()
    client = shop.world.client
    wanted = {"Enabled": True, "AttributeName": "until"}
    client.update_time_to_live(TableName=name, TimeToLiveSpecification=wanted)
    client.update_table(TableName=name, StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"})
    shop.world.build({"Orders": TABLES["Orders"]}, TARGET)  # not by 02
    report = shop.migrate()
    assert report["verdict"] == "REVIEW"
    assert drift(report) == [
        (name, "stream", ""),
        (name, "ttl", ""),
        (shop.world.name("Orders", TARGET), "table", ""),
    ]
    assert report["plan"]["drift"][1] == {
        "side": "target",
        "table": name,
        "what": "ttl",
        "name": "",
        "planned": None,
        "found": "until",
    }
    shop.accept_drift = True
    again = shop.migrate()
    assert (again["verdict"], again["plan"]["accepted"], drift(again)) == ("PASS", True, drift(report))


# the items


def test_counts_beyond_the_limit_need_a_decision(shop):
    """`limits.drift` is the share: 0.02 by default, here one item of ten more than it allows."""
    shop.analyze()
    shop.create()
    shop.world.put(shop.world.name("Orders", SOURCE), {"id": {"S": "more"}, "customerId": {"S": "c1"}})
    shop.parameters = shop.parameters.model_copy(
        update={"limits": shop.parameters.limits.model_copy(update={"drift": 0.1})}
    )
    report = shop.migrate()
    assert (report["verdict"], report["plan"]["drift"]) == ("PASS", [])


def test_what_the_items_have_is_told_after_the_walk(shop):
    """More items, a new attribute, one that is gone, a type that 01 did not see; in 01 and 03 only routed items count."""
    shop.analyze()
    shop.create()
    orders, customers = (shop.world.name(table, SOURCE) for table in ("Orders", "Customers"))
    shop.world.put(orders, {"id": {"S": "more"}, "colour": {"S": "red"}, "total": {"S": "many"}})
    for n in range(10):
        shop.world.put(customers, {"id": {"S": f"c{n}"}})
    report = shop.migrate()
    assert (report["verdict"], report["plan"]["drift"]) == (
        "REVIEW",
        [
            {
                "side": "source",
                "table": "Customers",
                "what": "attribute",
                "name": "name",
                "planned": ["S"],
                "found": None,
            },
            {"side": "source", "table": "Orders", "what": "records", "name": "", "planned": 10, "found": 11},
            {
                "side": "source",
                "table": "Orders",
                "what": "attribute",
                "name": "colour",
                "planned": None,
                "found": ["S"],
            },
            {
                "side": "source",
                "table": "Orders",
                "what": "type",
                "name": "total",
                "planned": ["N"],
                "found": ["N", "S"],
            },
        ],
    )
    messages = [alert["message"] for alert in report["alerts"] if alert["level"] == "REVIEW"]
    assert any("11 items, not 10; attribute colour is new; attribute total has values of type" in m for m in messages)


def test_an_attribute_that_only_quarantined_items_have_is_not_gone(moto_world, tmp_path):
    """01 profiles them, and 03 does not route them."""
    moto_world.build({"Things": {"key": {"id": "S"}}}, SOURCE)
    moto_world.put(moto_world.name("Things", SOURCE), {"id": {"S": "a"}, "n": {"N": "1"}})
    moto_world.put(moto_world.name("Things", SOURCE), {"id": {"S": "b"}, "n": {"S": "many"}, "odd": {"S": "x"}})
    create = "create: {key: {id: S}}, fields: {id: {from: id}, n: {from: n, type: number}}, rest: copy"
    flow = flow_of(f"{{Things: {{{create}}}}}", moto_world, tmp_path)
    flow.analyze()
    flow.create()
    assert flow.migrate()["plan"]["drift"] == []


def test_entries_that_are_chosen_later_are_held_against_the_plan_then(shop):
    """`--tables`: the others say nothing yet."""
    shop.analyze()
    shop.create()
    orders = shop.world.name("Orders", SOURCE)
    shop.world.put(orders, {"id": {"S": "more"}, "colour": {"S": "red"}})
    assert shop.migrate(["Customers"])["plan"]["drift"] == []
    assert drift(shop.migrate()) == [("Orders", "records", ""), ("Orders", "attribute", "colour")]


def test_a_value_that_is_lost_fails_03(shop, monkeypatch):
    """The ledger of 03 looks for itself."""
    call = Inserter.__call__

    def losing(inserter, routed):
        for row in routed.rows:
            row.item.pop("total", None)
        call(inserter, routed)

    monkeypatch.setattr(Inserter, "__call__", losing)
    shop.create()
    report = shop.migrate()
    assert (report["verdict"], report["tables"]["Orders"]["ledger"]["total"]["unaccounted"]) == ("FAIL", 10)
    assert any("10 values at total neither in the target nor dropped" in one["message"] for one in report["alerts"])


# damage


@pytest.mark.parametrize("damage", ["cut", "edited", "another", "gone"])
def test_a_plan_that_is_not_as_01_left_it_is_refused(damage, shop):
    """Cut off, edited, another run's, or gone: the audit chain knows it. 01 mends it."""
    shop.analyze()
    shop.create()
    run = shop.run()
    path = run.folder / "plan.json"
    text = path.read_text()
    if damage == "another":
        shop.run_id = "another-run"
        shop.analyze()
        text, shop.run_id = (shop.run().folder / "plan.json").read_text(), run.id
    changed = {"cut": text[:100], "edited": text.replace('"records": 10', '"records": 11'), "another": text}
    if damage == "gone":
        path.unlink()
    else:
        path.write_text(changed[damage])
    with pytest.raises(Refused, match=r"plan\.json is (damaged|missing|not the one that 01 left).*analyze again"):
        shop.migrate()
    assert not any(shop.world.content(TARGET).values())
    shop.analyze()
    assert shop.migrate()["verdict"] == "PASS"


def test_a_plan_that_was_exchanged_with_its_seal_is_known_by_the_chain(shop):
    """Also where a stage has ended since: the chain does not take over what that stage does not write."""
    shop.analyze()
    path = shop.run().folder / "plan.json"
    first = path.read_text()
    shop.world.put(shop.world.name("Orders", SOURCE), {"id": {"S": "more"}})
    shop.analyze()
    path.write_text(first)
    audit.append(shop.run(), "02_test")
    with pytest.raises(Refused, match="not the one that 01 left"):
        shop.migrate()
    with pytest.raises(Refused, match="plan.json was changed"):
        shop.create()


# resumed, retried, brought up to date


def test_a_resumed_run_is_held_against_the_plan_again(shop, monkeypatch):
    """And tells what an earlier execution found; what somebody changed in between is refused."""
    small_pages(monkeypatch)
    shop.analyze()
    shop.create()
    name = shop.world.name("Customers", TARGET)
    wanted = {"Enabled": True, "AttributeName": "until"}
    shop.world.client.update_time_to_live(TableName=name, TimeToLiveSpecification=wanted)
    shop.migrate(["Customers"])
    off = {"Enabled": False, "AttributeName": "until"}
    shop.world.client.update_time_to_live(TableName=name, TimeToLiveSpecification=off)
    recreated(
        shop.world, shop.world.name("Orders", TARGET), GlobalSecondaryIndexes=[], AttributeDefinitions=attributes("id")
    )
    with pytest.raises(Refused, match="byShop"):
        shop.migrate()
    recreated(
        shop.world,
        shop.world.name("Orders", TARGET),
        GlobalSecondaryIndexes=[index("byShop", "shop")],
        AttributeDefinitions=attributes("id", "shop"),
    )
    report = shop.migrate()
    assert drift(report) == [(name, "ttl", "")]
    assert sum(shop.migrate()["tables"]["Orders"]["ledger"]["id"].values()) == 10


def test_a_delta_is_held_too_and_a_repeated_analysis_makes_another_plan(shop):
    """What a delta inserts is in 03's counts; 01 again makes it the plan."""
    shop.analyze()
    shop.create()
    shop.migrate()
    shop.world.put(shop.world.name("Orders", SOURCE), {"id": {"S": "more"}, "colour": {"S": "red"}})
    shop.world.put(shop.world.name("Orders", SOURCE), {"id": {"S": "o1"}, "size": {"N": "1"}})
    report = shop.delta()
    assert drift(report)[0] == ("Orders", "records", "")
    assert drift(report)[1:] == [("Orders", "attribute", name) for name in ("colour", "size")]
    assert report["drift"]["updated"] == 1
    assert report["tables"]["Orders"]["ledger"]["id"]["rewritten"] == report["tables"]["Orders"]["scanned"] == 11
    name = shop.world.name("Orders", TARGET)
    shop.analyze()
    assert drift(shop.delta()) == []
    client = shop.world.client
    client.update_table(TableName=name, GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "byShop"}}])
    with pytest.raises(Refused, match="byShop"):
        shop.delta()


def test_journals_of_older_versions_say_nothing_of_attributes(shop):
    """Their outcomes have no ledger: the counts are compared all the same."""
    shop.analyze()
    shop.create()
    append = Stage.open_log

    def without(*arguments):
        log, file = append(*arguments)
        write = log.append
        log.append = lambda kind, **record: write(
            kind, **{key: value for key, value in record.items() if key not in ("ledger", "types")}
        )
        return log, file

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stage, "open_log", without)
        shop.world.put(shop.world.name("Orders", SOURCE), {"id": {"S": "more"}, "colour": {"S": "red"}})
        report = shop.migrate()
    assert drift(report) == [("Orders", "records", "")]
    assert report["tables"]["Orders"]["ledger"] == {}
