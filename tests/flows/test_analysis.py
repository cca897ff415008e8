"""What 01 says beforehand of cost, time, expired items and heavy keys, on real tables."""

import math
import time
from collections import Counter
from dataclasses import replace

import orjson
import pytest
import support_worlds as worlds
from support_flows import flow_of

from runbook_lib.dynamo import tables
from runbook_lib.dynamo.rate_limiter import Budgets, RateLimiter
from runbook_lib.dynamo.requests import Requests
from runbook_lib.dynamo.structure.description import Units
from runbook_lib.errors import DynamoError, Refused
from runbook_lib.report import views
from runbook_lib.report.frames import AnalysisFrames
from runbook_lib.stages.analyze import costs
from runbook_lib.stages.analyze.analyze import _scan_units, analyze
from runbook_lib.values import size
from runbook_lib.walk.plan import open_plan

SOURCE, TARGET = worlds.SOURCE, worlds.TARGET
READ, WRITE = 0.1395 / 1e6, 0.695 / 1e6  # dollars a unit in us-west-1
KEY = {"key": {"id": "S"}}


def item(number: int, bytes_: int, **more) -> dict:
    """An item of so many bytes, as DynamoDB counts."""
    key = f"{number:04}"
    return {"id": {"S": key}, "text": {"S": "x" * (bytes_ - len("idtext") - len(key))}} | more


def checks(content: dict, what: str) -> list[tuple]:
    """Level, table and sentence of the checks of one kind."""
    return [(c["level"], c["table"].partition("-")[0], c["message"]) for c in content["checks"] if c["what"] == what]


def test_sizes_of_items_as_they_will_be_written(moto_world, tmp_path):
    """An item of exactly 1 KB, one write unit, counts below that edge."""
    moto_world.build({"Notes": KEY | {"items": [item(0, 1024), item(1, 1025), item(2, 20)]}}, SOURCE)
    moto_world.build({"Notes": KEY}, TARGET)
    flow = flow_of("{Notes: {id_format: keep}}", moto_world, tmp_path)
    sizes = AnalysisFrames(analyze(open_plan(flow.parameters))).sizes
    assert sizes.values.tolist() == [["Notes", 32, 1], ["Notes", 1024, 1], ["Notes", 2048, 1]]


def test_units_and_money_of_every_stage(moto_world, tmp_path):
    """Reads in 4 KB by what a scan takes, and item by item; writes in 1 KB with those of the index; the target scanned by 04."""
    items = [item(n, 1500) for n in range(10)] + [item(10, 5000), item(11, 100, g={"S": "a"})]
    moto_world.build({"Notes": KEY | {"items": items}}, SOURCE)
    moto_world.build({"Notes": KEY | {"indexes": {"by": {"g": "S"}}}}, TARGET)
    flow = flow_of("{Notes: {id_format: keep}}", moto_world, tmp_path)
    content = flow.analyze()
    scan = math.ceil((10 * 1500 + 5000 + 100 + 2) / 4096)
    single, writes = 10 + 2 + 1, 10 * 2 + 5 + 1 + 1
    assert content["estimated_write_units"] == writes
    assert content["costs"] == {
        "01_analyze": money(scan, 0),
        "02_test": money(scan, 0),
        "03_migrate": money(scan, writes),
        "04_validate": money(scan + single + scan, 0),
        "05_rollback": money(single, writes),
    }
    assert content["prices"]["region"] == content["prices"]["source_region"] == "us-west-1"
    assert content["prices"]["unknown"] == []
    shown = views.costs(analyze(open_plan(flow.parameters)))
    assert f">{scan + single + scan}</td>" in shown
    assert "List price of us-west-1, 2026-09-29" in shown


def test_an_index_costs_what_is_projected_into_it(moto_world, tmp_path):
    """Keys alone, some attributes, all; global and local; like the source's, as described, and as a table has them."""
    projections = {"few": "KEYS_ONLY", "some": ["big"], "whole": "ALL"}
    moto_world.engine.call(
        "CreateTable",
        TableName=moto_world.name("Notes", SOURCE),
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("id", "at", "g", "k")],
        BillingMode="PAY_PER_REQUEST",
        GlobalSecondaryIndexes=[
            {
                "IndexName": name,
                "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": said}
                if isinstance(said, list)
                else {"ProjectionType": said},
            }
            for name, said in projections.items()
        ],
        LocalSecondaryIndexes=[
            {
                "IndexName": "local",
                "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}, {"AttributeName": "k", "KeyType": "RANGE"}],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
    )
    big, text = {"big": {"S": "x" * 1100}, "at": {"S": "1"}}, {"S": "a"}
    items = [item(n, 2600, **big, g=text, k=text) for n in range(9)] + [item(9, 2600, **big)]
    for one in items:
        moto_world.put(moto_world.name("Notes", SOURCE), one)
    each, none = 4 + (1 + 2 + 4) + 1, 4  # the table; the global indexes; the local one
    flow = flow_of("{Notes: {id_format: keep, create: like_source}}", moto_world, tmp_path)
    assert flow.analyze()["estimated_write_units"] == 9 * each + none
    flow.create()
    indexes = "{few: {key: {g: S}, projection: KEYS_ONLY}, some: {key: {g: S}, projection: [big]}, whole: {g: S}}"
    local = "{local: {key: {id: S, k: S}, projection: KEYS_ONLY}}"
    create = f"{{key: {{id: S, at: S}}, indexes: {indexes}, local_indexes: {local}}}"
    more = "target: not-there, source: " + moto_world.name("Notes", SOURCE)
    mapping = f"{{Notes: {{id_format: keep}}, Planned: {{id_format: keep, {more}, create: {create}}}}}"
    content = flow_of(mapping, moto_world, tmp_path, "the-second-run").analyze()
    assert {n: t["write_units"] for n, t in content["tables"].items()} == dict.fromkeys(
        ("Notes", "Planned"), 9 * each + none
    )
    assert content["costs"]["03_migrate"]["write_units"] == 2 * (9 * each + none)
    assert content["costs"]["05_rollback"]["write_units"] == 2 * (9 * each + none)


def money(reads: int, writes: int) -> dict:
    return {"read_units": reads, "write_units": writes, "usd": round(reads * READ + writes * WRITE, 6)}


class Meter:
    """What AWS would charge for the requests that the data path sends, by its documentation."""

    def __init__(self, world, monkeypatch):
        self.reads = self.writes = 0
        self._world, real = world, Requests._attempt

        def attempt(wire, keys, operation, body, table, data, guarded):
            reply = real(wire, keys, operation, body, table, data, guarded)
            self._count(operation, table, orjson.loads(data), reply[0])
            return reply

        monkeypatch.setattr(Requests, "_attempt", attempt)

    def _count(self, operation, table, body, reply):
        if operation == "Scan" and body.get("Limit") != 1:  # the look whether a table is empty
            items = [self._whole(table, item) for item in reply["Items"]]
            self.reads += max(1, math.ceil(sum(map(size, items)) / 4096))
        elif operation == "BatchGetItem":
            items = reply["Responses"].get(table, [])
            absent = len(body["RequestItems"][table]["Keys"]) - len(items)
            self.reads += absent + sum(math.ceil(size(item) / 4096) for item in items)
        elif operation in ("PutItem", "DeleteItem"):
            self.writes += math.ceil(size(body.get("Item") or reply["Attributes"]) / 1024)

    def _whole(self, table, item):
        """A Scan is charged for whole items, whatever it brings of them."""
        key = {name: item[name] for name in self._world.keys[table]}
        return self._world.engine.call("GetItem", TableName=table, Key=key)["Item"]

    def taken(self):
        """Since it was asked last."""
        found, self.reads, self.writes = (self.reads, self.writes), 0, 0
        return found


@pytest.mark.slow
def test_the_stages_take_what_01_says(moto_world, tmp_path, monkeypatch):
    """Request by request: references that lead nowhere or are not readable, items that are there, keys that are shared."""
    notes = [item(n, 1500) for n in range(30)]
    more = [
        item(1000 + n, 700, a={"S": f"{n:04}"}, z={"S": f"{n + 25:04}"}, j={"S": "[" if n < 5 else "[]"})
        for n in range(15)
    ]
    halves = [item(n, 900, half={"S": str(n // 2)}) for n in range(10)]
    moto_world.build({n: KEY | {"items": i} for n, i in {"Notes": notes, "More": more, "Half": halves}.items()}, SOURCE)
    moto_world.build({"Notes": KEY | {"items": notes[:9]}, "More": KEY, "Half": KEY}, TARGET)
    fields = "{id: '{half}', half: {from: half}, text: {from: text}}"
    mapping = (
        "{Notes: {id_format: keep}, More: {references: {a: Notes, z: {to: Notes, dangling: keep}, 'j:json[]': Notes}}, "
        f"Half: {{id_format: keep, fields: {fields}, drop: [id]}}}}"
    )
    flow = flow_of(mapping, moto_world, tmp_path)
    meter = Meter(moto_world, monkeypatch)
    costs_ = flow.analyze()["costs"]
    for stage, work in (("03_migrate", flow.migrate), ("04_validate", flow.validate), ("05_rollback", flow.rollback)):
        if stage == "03_migrate":
            assert meter.taken() == (costs_["01_analyze"]["read_units"], 0)
        work()
        assert meter.taken() == (costs_[stage]["read_units"], costs_[stage]["write_units"]), stage


def test_what_is_there_is_looked_up_and_not_written(moto_world, tmp_path):
    """Where the target holds items, 01 and 03 read each key; those that are there cost no write."""
    items = [item(n, 900) for n in range(8)]
    moto_world.build({"Notes": KEY | {"items": items}}, SOURCE)
    moto_world.build({"Notes": KEY | {"items": items[:4]}}, TARGET)
    content = flow_of("{Notes: {id_format: keep}}", moto_world, tmp_path).analyze()
    assert content["costs"]["01_analyze"] == money(2 + 8, 0)
    assert content["costs"]["03_migrate"] == money(2 + 8, 4)
    assert content["costs"]["05_rollback"] == money(4, 4)


def test_what_the_mapping_makes_necessary_is_read_before(moto_world, tmp_path):
    """`dangling: stop`: the ids and the references before 03; a shared key: a pass in each stage, and one more for its winner."""
    items = [item(n, 900, parent={"S": "0001"}) for n in range(8)]
    moto_world.build({"Notes": KEY | {"items": items}}, SOURCE)
    flow = flow_of("{Notes: {references: {parent: {to: Notes, dangling: stop}}}}", moto_world, tmp_path)
    moto_world.build({"Notes": KEY}, TARGET)
    found = {stage: cost["read_units"] for stage, cost in flow.analyze()["costs"].items()}
    assert [found[stage] for stage in ("01_analyze", "02_test", "03_migrate")] == [2, 2 * 2 + 2, 2 * 3]
    fields = "{id: '{half}', half: {from: half}, text: {from: text}}"
    halves = [item(n, 900, half={"S": str(n // 2)}) for n in range(8)]
    moto_world.build({"Half": KEY | {"items": halves}}, SOURCE)
    moto_world.build({"Half": KEY}, TARGET)
    mapping = f"{{Half: {{id_format: keep, fields: {fields}, drop: [id]}}}}"
    content = flow_of(mapping, moto_world, tmp_path, "the-second-run").analyze()
    assert content["tables"]["Half"]["conflicts"] == 4
    assert content["costs"]["01_analyze"]["read_units"] == content["costs"]["03_migrate"]["read_units"] == 2 * 3 + 8
    ((_, _, message),) = checks(content, "cost")
    assert (
        "14 read units (source tables are read up to three times: before the first insert for keys or ids): " in message
    )


def test_a_large_page_is_measured_by_some_of_its_items():
    """To a few per cent; and never taken for more than DynamoDB puts into a page."""
    items = [item(n, 500 + n % 7) for n in range(1_500)]
    assert _scan_units(items) == pytest.approx(1_500 * 503 / 4096, rel=0.02)
    items[0] = item(0, 400_000)  # measured, and not what the others are like
    assert _scan_units(items) == 256
    assert _scan_units([]) == 1


def test_an_unknown_region_has_the_prices_of_one_that_is_named(moto_world, tmp_path):
    moto_world.build({"Notes": KEY | {"items": [item(1, 100)]}}, SOURCE)
    moto_world.build({"Notes": KEY}, TARGET)
    flow = flow_of("{Notes: {}}", moto_world, tmp_path)
    plan = open_plan(flow.parameters)
    analysis = analyze(replace(plan, target=replace(plan.target, region="mars-north-1")))
    prices = analysis.prices
    assert (prices.region, prices.source_region, prices.unknown) == ("us-east-1", "us-west-1", ["mars-north-1"])
    assert analysis.costs["03_migrate"].usd == pytest.approx(1 * READ + 1 * 0.625e-6)
    ((level, said, action),) = [(c.level, c.message, c.action) for c in analysis.checks if c.what == "cost"]
    assert (level, "no price is known here for mars-north-1" in said) == ("NOTE", True)
    assert "parameters/prices.yaml" in action


def test_a_price_list_of_the_users_own_counts(moto_world, tmp_path, monkeypatch):
    """In the project's folder, read before the first page; an old one is called old, a wrong one refused."""
    moto_world.build({"Notes": KEY | {"items": [item(1, 100)]}}, SOURCE)
    moto_world.build({"Notes": KEY}, TARGET)
    flow = flow_of("{Notes: {}}", moto_world, tmp_path)
    (tmp_path / "parameters").mkdir()
    own = tmp_path / "parameters" / "prices.yaml"
    own.write_text("date: 2020-01-01\nsource: our contract\nregions: {us-west-1: {read: 1, write: 10}}\n")
    monkeypatch.chdir(tmp_path)
    content = flow.analyze()
    assert content["costs"]["03_migrate"]["usd"] == 11e-6
    about = content["prices"]
    assert [about[key] for key in ("date", "source", "file", "old")] == [
        "2020-01-01", "our contract", "parameters/prices.yaml", True,
    ]  # fmt: skip
    ((level, _, said),) = checks(content, "cost")
    assert (level, said.endswith("; these prices are more than a year old")) == ("NOTE", True)
    own.write_text("date: 2020-01-01\nregions: {us-west-1: {read: 1, rite: 10}}\n")
    with pytest.raises(
        Refused, match=r"prices\.yaml: line 2: regions\.us-west-1\.rite: unknown key; did you mean 'write'\?"
    ):
        flow.analyze()


def test_provisioned_capacity_costs_time_and_no_money(moto_world, tmp_path):
    """On each side; the index with the least capacity bounds the writing."""
    items = [item(n, 900, **({"g": {"S": "a"}} if n < 90 else {})) for n in range(100)]
    moto_world.build({"Notes": KEY | {"items": items}}, SOURCE)
    moto_world.engine.call(
        "CreateTable",
        TableName=moto_world.name("Notes", TARGET),
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("id", "g")],
        ProvisionedThroughput={"ReadCapacityUnits": 5, "WriteCapacityUnits": 9},
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by",
                "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
                "ProvisionedThroughput": {"ReadCapacityUnits": 5, "WriteCapacityUnits": 1},
            }
        ],
    )
    content = flow_of("{Notes: {}}", moto_world, tmp_path).analyze()
    assert content["costs"]["05_rollback"] == {"read_units": 100, "write_units": 190, "usd": 0}
    assert content["costs"]["03_migrate"]["usd"] == round(content["costs"]["03_migrate"]["read_units"] * READ, 6)
    bound = f"index by of {moto_world.name('Notes', TARGET)}: 1 write unit a second, its provisioned capacity"
    message = f"provisioned: no extra money, but 90 seconds of all its write capacity ({bound})"
    assert checks(content, "capacity") == [("NOTE", "Notes", message)]
    assert content["estimated_duration"]["writing"] == {"seconds": 90.0, "bound": bound}
    assert content["estimated_duration_seconds"] >= 90


def test_a_planned_table_is_counted_as_it_will_be_made(moto_world, tmp_path):
    """Its indexes' writes, and its capacity; less than a minute of it needs no note."""
    moto_world.build({"Notes": KEY | {"items": [item(n, 900, g={"S": "a"}) for n in range(10)]}}, SOURCE)
    create = "{key: {id: S}, indexes: {by_g: {g: S}}, billing: {read: 2, write: 2}}"
    content = flow_of(f"{{Notes: {{create: {create}}}}}", moto_world, tmp_path).analyze()
    assert content["estimated_write_units"] == 20
    message = "provisioned: no extra money, but 5 seconds of all its write capacity"
    assert checks(content, "capacity") == [("OK", "Notes", message)]
    assert content["estimated_duration_seconds"] >= 5


def test_a_budget_bounds_the_duration(moto_world, tmp_path):
    """That of all tables, and that of one."""
    moto_world.build({"Notes": KEY | {"items": [item(n, 900) for n in range(100)]}}, SOURCE)
    moto_world.build({"Notes": KEY}, TARGET)
    for run_id, limits in (
        ("run-all-tables", {"write_units": 1}),
        ("run-one-table", {"tables": {"Notes": {"write_units": 1}}}),
    ):
        content = flow_of("{Notes: {}}", moto_world, tmp_path, run_id, **limits).analyze()
        assert 100 <= content["estimated_duration_seconds"] < 200
        ((_, _, said),) = checks(content, "duration")
        assert "100 seconds to write, bounded by limits." in said


def test_what_bounds_the_duration_is_named(moto_world, tmp_path):
    """By what DescribeTable says of each table and index, the limits, and partitions; replicas cost in their regions."""
    items = [item(n, 900, g={"S": "a"}) for n in range(100)]
    moto_world.build({"Notes": KEY | {"items": items}}, SOURCE)
    moto_world.build({"Notes": KEY | {"indexes": {"by": {"g": "S"}}}}, TARGET)
    plan = open_plan(flow_of("{Notes: {id_format: keep}}", moto_world, tmp_path).parameters)
    analysis = replace(analyze(plan), seconds=0.0)
    ((name, table),) = plan.target_tables.items()
    ((source, from_),) = plan.source_tables.items()
    table, by = replace(table, warm=None), replace(table.indexes["by"], warm=None)
    scan = analysis.sources[source].read_units

    def written(table, by=by, budgets=(), partitions=False):
        other = replace(plan, target_tables={name: replace(table, indexes={"by": by})})
        other = replace(other, limiter=RateLimiter(Budgets(dict(budgets))))
        demand = costs.demands_of(other, analysis)["03_migrate"]
        found = costs.writing_of(other, analysis, demand, 0.0)
        return max(found, *costs.partitions_of(other, analysis, demand)) if partitions else found

    def units(number, why, where=name):
        return (100 / number, f"{where}: {number:,} write units a second, {why}")

    new = "what a new on-demand table takes"
    index = f"index by of {name}"
    fast = replace(by, warm=Units(9, 9_000))
    assert written(table) == units(4_000, f"{new}; DescribeTable does not say what this one does", name)
    assert written(replace(table, warm=Units(1, 8_000)), replace(by, warm=Units(1, 5_000))) == units(
        5_000, "its warm throughput", index
    )
    assert written(replace(table, warm=Units(1, 8_000), most=Units(0, 50)), fast) == units(
        50, "its own limit, OnDemandThroughput"
    )
    assert written(replace(table, warm=Units(1, 8_000), most=Units(7, 0)), fast) == units(8_000, "its warm throughput")
    assert written(replace(table, units=Units(1, 7)), fast) == units(7, "its provisioned capacity")
    assert written(table, replace(by, units=Units(1, 3))) == units(3, "its provisioned capacity", index)
    assert written(table, budgets={("", "write"): 2}) == (100, "limits.write_units: 2 a second")  # of both
    partition = (0.1, f"one value of g in {name}: a partition takes 1,000 write units a second")
    assert written(table, partitions=True) == partition

    def read(from_, budgets=(), reads=0):
        other = replace(plan, source_tables={source: from_}, limiter=RateLimiter(Budgets(dict(budgets))))
        demand = costs.demands_of(other, analysis)["03_migrate"]
        return costs.reading_of(other, analysis, demand._replace(reads=Counter({name: reads} if reads else {})))

    assert read(replace(from_, units=Units(5, 1))) == (
        scan / 5, f"{source}: 5 read units a second, its provisioned capacity",
    )  # fmt: skip
    assert read(replace(from_, warm=None))[1].startswith(f"{source}: 12,000 read units a second, {new}")
    assert read(from_, {("", "read"): 2}) == (scan / 2, "limits.read_units: 2 a second")
    assert read(from_, {(f"source {source}", "read"): 4})[0] == scan / 4
    assert read(from_, reads=100) == (
        100 / 3_000,
        f"one value of g in {name}: a partition takes 3,000 read units a second",
    )

    copied = replace(plan, target_tables={name: replace(table, replicas=("mars-1", "us-east-1"))})
    prices = costs.price_list()
    cost = costs.costs_of(copied, costs.demands_of(copied, analysis), prices)["03_migrate"]
    assert (cost.write_units, costs.prices_of(copied, prices).unknown) == (3 * 200, ["mars-1"])
    assert cost.usd == pytest.approx(scan * READ + 200 * (WRITE + 2 * 0.625e-6))
    full = replace(plan, target_tables={name: replace(table, size_bytes=409_600)})  # of which no key is an entry's
    more = {n: costs.demands_of(p, analysis)["04_validate"].reads[name] for n, p in ((0, plan), (1, full))}
    assert more[1] == more[0] + 100
    rare = replace(plan, target_tables={name: replace(table, table_class=costs.INFREQUENT)})
    assert costs.costs_of(rare, costs.demands_of(rare, analysis), prices)["03_migrate"].usd == pytest.approx(
        scan * READ + 200 * 1.25 * WRITE
    )


@pytest.mark.parametrize("expiring", [True, False])
def test_expired_items_are_counted_by_the_source_tables_attribute(expiring, moto_world, tmp_path):
    """Numbers before now alone; each entry its own."""
    now = int(time.time())
    until = [{"N": str(now - 9999)}, {"N": f"{now - 9999}.5"}, {"N": str(now + 9999)}, {"S": str(now - 9999)}, None]
    items = [item(n, 100, kind={"S": "ab"[n % 2]}) | ({"until": u} if u else {}) for n, u in enumerate(until)]
    moto_world.build({"Notes": KEY | {"items": items}}, SOURCE)
    moto_world.build({"Notes": KEY}, TARGET)
    if expiring:
        moto_world.client.update_time_to_live(
            TableName=moto_world.name("Notes", SOURCE),
            TimeToLiveSpecification={"Enabled": True, "AttributeName": "until"},
        )
    name = '"Notes-{environment}-' + moto_world.suffix + '"'
    source, target = name.replace("{environment}", SOURCE), name.replace("{environment}", TARGET)
    entry = f"{{source: {source}, target: {target}, id_format: keep, where: {{kind: KIND}}}}"
    mapping = f"{{A: {entry.replace('KIND', 'a')}, B: {entry.replace('KIND', 'b')}}}"
    content = flow_of(mapping, moto_world, tmp_path).analyze()
    assert [content["tables"][name]["expired"] for name in "AB"] == ([1, 1] if expiring else [0, 0])
    found = [(level, table) for level, table, _ in checks(content, "expired")]
    assert found == ([("NOTE", "A"), ("NOTE", "B")] if expiring else [("OK", "")])


@pytest.mark.parametrize("problem", [DynamoError("no", "UnknownOperationException", "", "", ""), Refused("denied")])
def test_without_describe_time_to_live_it_is_said(problem, moto_world, tmp_path, monkeypatch):
    """No count, a note, and no crash."""

    def refusing(connection, name):
        raise problem

    monkeypatch.setattr(tables, "ttl_attribute", refusing)
    moto_world.build({"Notes": KEY | {"items": [item(1, 100)]}}, SOURCE)
    moto_world.build({"Notes": KEY}, TARGET)
    content = flow_of("{Notes: {}}", moto_world, tmp_path).analyze()
    assert content["tables"]["Notes"]["expired"] is None
    assert [(level, table) for level, table, _ in checks(content, "ttl")] == [("NOTE", "")] * 2


@pytest.mark.parametrize(("accept", "verdict"), [("", "REVIEW"), ("accept: {empty: true}", "PASS")])
def test_an_empty_source_table_proves_nothing(accept, verdict, moto_world, tmp_path):
    """Unless the mapping says that it may be empty; then it is listed all the same."""
    moto_world.build({"Notes": KEY}, SOURCE)
    moto_world.build({"Notes": KEY}, TARGET)
    content = flow_of(f"{{Notes: {{{accept}}}}}", moto_world, tmp_path).analyze()
    assert content["verdict"] == verdict
    ((level, table, said),) = checks(content, "empty")
    assert (level, table, said.startswith("the source table is empty")) == (
        {"PASS": "OK"}.get(verdict, verdict),
        "Notes",
        True,
    )


def test_heavy_keys_are_named_and_alerts_are_the_open_checks(moto_world, tmp_path):
    """In the analysis as written: `skew` of each target table, the checks, and the alerts made of them."""
    items = [item(n, 900, at={"S": f"2024-{n % 9 + 1:02}-01"}, secret={"S": "a" if n else "b"}) for n in range(120)]
    moto_world.build({"Notes": KEY | {"items": items}}, SOURCE)
    create = "{key: {PK: S, SK: S}, indexes: {by_secret: {secret: S, SK: S}}}"
    fields = "{PK: NOTE, SK: '{id}', secret: {from: secret}, at: {from: at}, text: {from: text}}"
    mapping = f"{{Notes: {{id_format: keep, create: {create}, fields: {fields}, drop: [id]}}}}"
    content = flow_of(mapping, moto_world, tmp_path).analyze()
    (about,) = content["targets"].values()
    assert about["skew"] == {
        "PK": {"distinct": 1, "largest_share": 1.0},
        "secret": {"distinct": 2, "largest_share": round(119 / 120, 4)},
    }
    ((level, table, said),) = checks(content, "skew")
    assert (level, table) == ("NOTE", "Notes")
    assert said == "PK: NOTE puts 100 % of the write units into one partition, which takes 1,000 a second"
    assert any('"NOTE#{at:%Y-%m}"` would spread them over 9 values' in c["action"] for c in content["checks"])
    open_checks = [c for c in content["checks"] if c["level"] != "OK"]
    assert content["alerts"] == [{k: c[k] for k in ("level", "table", "message", "action")} for c in open_checks]


def test_two_entries_with_the_same_ids_part_unless_one_refers_to_the_other(moto_world, tmp_path):
    """01 says so, 03 and 04 repeat it, and what 01 advises keeps them together."""
    ids = [f"usr_{n:05}" for n in range(20)]
    for name in ("Users", "Profiles"):
        moto_world.build({name: KEY | {"items": [{"id": {"S": one}} for one in ids]}}, SOURCE)
    create = "create: like_source"
    flow = flow_of(f"{{Users: {{{create}}}, Profiles: {{{create}}}}}", moto_world, tmp_path)
    content = flow.analyze()
    message = "20 of 20 ids at id are ids of Users, too; each gets its own new one"
    assert (content["verdict"], checks(content, "ids")) == ("REVIEW", [("REVIEW", "Profiles", message)])
    flow.create()
    for report in (flow.migrate(), flow.validate()):
        told = [alert["message"] for alert in report["alerts"] if alert["level"] == "REVIEW"]
        assert (report["verdict"], told) == ("REVIEW", [f"the analysis found that {message}"])
    for name in ("Users", "Profiles"):
        for one in moto_world.items(moto_world.name(name, TARGET)):
            moto_world.delete(moto_world.name(name, TARGET), one)
    mapping = f"{{Users: {{{create}}}, Profiles: {{id: null, references: {{id: Users}}, {create}}}}}"
    flow = flow_of(mapping, moto_world, tmp_path, "the-second-run")
    content = flow.analyze()
    assert (content["verdict"], checks(content, "ids")) == ("PASS", [])
    assert [flow.migrate()["verdict"], flow.validate()["verdict"]] == ["PASS", "PASS"]
    users, profiles = (moto_world.items(moto_world.name(name, TARGET)) for name in ("Users", "Profiles"))
    new = {next(iter(one["id"].values())) for one in users}
    assert new == {next(iter(one["id"].values())) for one in profiles}
    assert new.isdisjoint(ids)
