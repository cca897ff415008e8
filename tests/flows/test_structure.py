"""Tables as the source's are: made so, compared, and told where something of them is lost."""

import time
from types import SimpleNamespace

import engines
import pytest
import support_worlds as worlds
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from support_crashes import KILLED, at_record, in_child
from support_flows import flow_of

from runbook_lib.dynamo import backups, session, tables
from runbook_lib.dynamo.structure.description import as_json
from runbook_lib.dynamo.structure.differences import differences
from runbook_lib.errors import Interrupted, MappingError, NotAvailable, Refused
from runbook_lib.mapping.create import Create
from runbook_lib.stages.analyze.structure import structure_checks
from runbook_lib.stages.rollback.rollback import Undoing
from runbook_lib.walk import structure as structures

SOURCE, TARGET = worlds.SOURCE, worlds.TARGET
NOW = int(time.time())
SETTINGS = ("DescribeTimeToLive", "UpdateTimeToLive", "DescribeContinuousBackups", "UpdateContinuousBackups")
ITEMS = [
    {
        "pk": {"S": "c1"},
        "sk": {"S": f"o{n}"},
        "st": {"S": "open"},
        "dt": {"S": f"2024-0{n}"},
        "until": {"N": str(NOW * 2)},
    }
    for n in range(1, 5)
]


def schema(*names):
    return [{"AttributeName": name, "KeyType": kind} for name, kind in zip(names, ("HASH", "RANGE"), strict=False)]


def index(name, keys, projection="ALL", named=None):
    about = {"ProjectionType": projection} | ({"NonKeyAttributes": named} if named else {})
    return {"IndexName": name, "KeySchema": schema(*keys), "Projection": about}


ORDERS = {  # as in the public reports of tools that lose indexes
    "KeySchema": schema("pk", "sk"),
    "AttributeDefinitions": [{"AttributeName": n, "AttributeType": "S"} for n in ("pk", "sk", "st", "dt")],
    "GlobalSecondaryIndexes": [
        index("byStatus", ("st", "dt"), "KEYS_ONLY"),
        index("byDay", ("dt",), "INCLUDE", ["st"]),
    ],
    "LocalSecondaryIndexes": [index("byDate", ("pk", "dt"))],
    "BillingMode": "PAY_PER_REQUEST",
}
DESCRIBED = """{
  key: {pk: S, sk: S},
  indexes: {byStatus: {key: {st: S, dt: S}, projection: KEYS_ONLY}, byDay: {key: {dt: S}, projection: [st]}},
  local_indexes: {byDate: {pk: S, dt: S}}, ttl: until
}"""


def build(world, name, *, ttl="until", recovery=False, items=ITEMS, **more):
    """A table of orders, made and filled without any of the program."""
    world.client.create_table(TableName=name, **{key: value for key, value in (ORDERS | more).items() if value != []})
    world.client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 0.1})
    if ttl:
        wanted = {"Enabled": True, "AttributeName": ttl}
        world.client.update_time_to_live(TableName=name, TimeToLiveSpecification=wanted)
    if recovery:
        wanted = {"PointInTimeRecoveryEnabled": True}
        world.client.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=wanted)
    for item in items:
        world.put(name, item)


def looked_up(world, name):
    """What an engine says of a table, by boto3: keys, indexes of both kinds, TTL."""
    about = world.client.describe_table(TableName=name)["Table"]
    ttl = world.client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    indexes = {
        (kind, one["IndexName"]): (
            one["KeySchema"],
            one["Projection"]["ProjectionType"],
            sorted(one["Projection"].get("NonKeyAttributes", ())),
        )
        for kind in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes")
        for one in about.get(kind, ())
    }
    return about["KeySchema"], indexes, ttl.get("AttributeName") if ttl["TimeToLiveStatus"] != "DISABLED" else None


def flow_with(create, world, tmp_path, more="", **settings):
    flow = flow_of(f"{{orders: {{id: null, create: {create}{more}}}}}", world, tmp_path)
    production = settings.get("production", False)
    target = flow.parameters.target.model_copy(update={"production": production})
    flow.parameters = flow.parameters.model_copy(update={"target": target})
    return flow


def checked(content):
    """(what, level, message) of the checks on structure that are not well."""
    return [
        (c["what"], c["level"], c["message"])
        for c in content["checks"]
        if c["level"] != "OK" and c["what"] not in ("table", "ids")
    ]


def refusing(monkeypatch, code, *operations):
    """The endpoint answers these operations with an error."""
    call = BaseClient._make_api_call

    def refused(client, operation, parameters):
        if operation in operations:
            error = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
            raise ClientError(error, operation)
        return call(client, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", refused)


def connected(world, label="target"):
    side = SimpleNamespace(environment="t", region=engines.REGION, account=None, profile=None, role_arn=None)
    side.external_id = None
    side.endpoint_url = world.engine.endpoint_url
    return session.connect(side, label)


# made as they are to be


@pytest.fixture
def orders(world):
    """The source's table of orders, on an engine that has TTL."""
    if world.engine.name == "dynalite":
        pytest.skip("dynalite has no time to live")
    build(world, world.name("orders", SOURCE))
    return world


@pytest.mark.parametrize("create", ["like_source", DESCRIBED], ids=["like_source", "described"])
def test_keys_indexes_projections_and_ttl_arrive(create, orders, tmp_path):
    """As boto3 says of both sides; nothing is told as lost, and every stage passes."""
    flow = flow_with(create, orders, tmp_path)
    assert checked(flow.analyze()) == []
    name = orders.name("orders", TARGET)
    planned = structures.read_structures(flow._plan()).target[name]
    assert flow.create() == [name]
    made = structures.read_structures(flow._plan()).target[name]
    assert (differences(planned, made), planned["ttl"], planned.keys()) == ([], "until", made.keys())
    assert looked_up(orders, name) == looked_up(orders, orders.name("orders", SOURCE))
    assert looked_up(orders, name)[2] == "until"
    assert flow.migrate()["verdict"] == "PASS"
    report = flow.validate()
    assert (report["verdict"], report["validation"]["structure"]) == ("PASS", [])
    assert orders.content(SOURCE) == orders.content(TARGET)


def test_index_keys_of_several_attributes_arrive_and_answer(moto_world, tmp_path):
    """Four and four attributes: made as the source has them, compared in 01, asked for from the left in 04."""
    names, kinds = "abcdefgh", ["HASH"] * 4 + ["RANGE"] * 4
    wide = {
        "IndexName": "wide",
        "KeySchema": [{"AttributeName": name, "KeyType": kind} for name, kind in zip(names, kinds, strict=True)],
        "Projection": {"ProjectionType": "ALL"},
    }
    items = [
        {"id": {"S": str(n)}} | {name: {"S": "x"} for name in names} | {"e": {"S": str(n % 2)}, "f": {"S": str(9 - n)}}
        for n in range(6)
    ]
    moto_world.engine.call(
        "CreateTable",
        TableName=moto_world.name("T", SOURCE),
        KeySchema=schema("id"),
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("id", *names)],
        BillingMode="PAY_PER_REQUEST",
        GlobalSecondaryIndexes=[wide],
    )
    for item in items:
        moto_world.put(moto_world.name("T", SOURCE), item)
    queries = (
        "{all: {index: wide, key: {a: x, b: x, c: x, d: x}}, "
        "some: {index: wide, key: {a: x, b: x, c: x, d: x, e: '1', f: {gt: '5'}}}}"
    )
    flow = flow_of(f"{{T: {{id_format: keep, create: like_source, queries: {queries}}}}}", moto_world, tmp_path)
    content = flow.analyze()
    ((name, about),) = content["targets"].items()
    assert list(about["skew"]) == ["a + b + c + d", "id"]
    assert content["estimated_write_units"] == 2 * 6
    flow.create()
    (made,) = moto_world.client.describe_table(TableName=name)["Table"]["GlobalSecondaryIndexes"]
    assert made["KeySchema"] == wide["KeySchema"]
    flow.migrate()
    report = flow.validate()
    assert report["verdict"] == "PASS"
    assert [one["expected"] for one in report["validation"]["queries"]] == [6, 2]


def test_what_create_leaves_out_is_told_before_and_after(orders, tmp_path):
    """The local index and TTL are lost: REVIEW in 01 and in 04. A projection that is wider is a note."""
    flow = flow_with("{key: {pk: S, sk: S}, indexes: {byStatus: {st: S, dt: S}, byDay: {dt: S}}}", orders, tmp_path)
    lost = [
        ("index", "REVIEW", "index byDate is missing"),
        ("projection", "NOTE", "index byDay projects ALL, not st"),
        ("projection", "NOTE", "index byStatus projects ALL, not KEYS_ONLY"),
        ("ttl", "REVIEW", "TTL is off, not until"),
    ]
    analysis = flow.analyze()
    assert (checked(analysis), analysis["verdict"]) == (lost, "REVIEW")
    actions = {c["action"] for c in analysis["checks"] if c["level"] == "REVIEW"}
    assert len(actions) == 1
    assert "Add it to the mapping's `create` before 02 makes the table" in actions.pop()
    flow.create()
    flow.migrate()
    report = flow.validate()
    assert [(a["level"], a["message"]) for a in report["alerts"]] == [one[1:] for one in lost]
    assert (report["verdict"], report["validation"]["structure"]) == ("REVIEW", [])


def test_of_a_missing_table_04_says_that_it_is_missing_and_no_more(moto_world, tmp_path):
    """What it would lack once it is made is no news there."""
    for table in ("orders", "more"):
        build(moto_world, moto_world.name(table, SOURCE), items=ITEMS[:1])
    build(moto_world, moto_world.name("more", TARGET), items=ITEMS[:1])
    flow = flow_of("{orders: {id: null, create: {key: {pk: S, sk: S}}}, more: {id: null}}", moto_world, tmp_path)
    report = flow.validate()
    missing = f"{moto_world.name('orders', TARGET)}: the table does not exist"
    assert report["validation"]["structure"] == [missing]
    assert [alert["message"] for alert in report["alerts"]] == [missing, "1 item missing in the target"]


def test_the_rest_of_create_arrives(moto_world, tmp_path):
    """Stream, deletion protection and point-in-time recovery."""
    build(moto_world, moto_world.name("orders", SOURCE))
    more = "stream: NEW_IMAGE, point_in_time_recovery: true, deletion_protection: true"
    flow = flow_with(f"{{key: {{pk: S, sk: S}}, {more}}}", moto_world, tmp_path)
    name = moto_world.name("orders", TARGET)
    flow.create()
    target = connected(moto_world)
    table = tables.describe(target, name)
    assert (table.stream, table.deletion_protection) == ("NEW_IMAGE", True)
    assert backups.recovery(target, name).on
    moto_world.client.update_table(TableName=name, DeletionProtectionEnabled=False)


def test_every_engine_makes_what_was_planned(world):
    """The description of `create` is the one of the table that it made; an engine may ignore what it does not know."""
    text = {"key": {"a": "S", "b": "N"}, "indexes": {"byC": {"key": {"c": "B"}, "projection": ["x"]}}}
    spec = Create(**text, local_indexes={"byD": {"key": {"a": "S", "d": "S"}, "projection": "KEYS_ONLY"}})
    target, name = connected(world), world.name("T", TARGET)
    tables.create(target, name, spec)
    found = tables.wait_active(target, name)
    assert tables.difference(found, spec) == []
    wanted = structures.planned_of(SimpleNamespace(model=SimpleNamespace(create=spec), like_source=False), {})
    assert differences(wanted, as_json(found)) == []


def test_a_source_of_another_kind_makes_other_indexes(orders, tmp_path):
    """An existing target without what the source has is another shape: 01 says so, 03 is refused, naming it."""
    flow = flow_with("like_source", orders, tmp_path)
    build(orders, orders.name("orders", TARGET), items=(), LocalSecondaryIndexes=[index("byDay2", ("pk", "dt"))])
    assert ("index", "FAIL", "index byDate is missing") in checked(flow.analyze())
    with pytest.raises(Refused, match=r"has another shape: index byDate is missing; correct `create`"):
        flow.migrate()


def test_like_source_of_two_sources_for_one_target(moto_world, tmp_path):
    """They must be alike; if not, one sentence when the plan is made."""
    build(moto_world, moto_world.name("orders", SOURCE))
    moto_world.build({"other": {"key": {"pk": "S", "sk": "S"}}}, SOURCE)
    target = moto_world.name("orders", TARGET)
    entry = f"id: null, create: like_source, target: {target}"
    with pytest.raises(MappingError, match=r"tables\.other\.create: like_source makes another table than in orders"):
        flow_of(f"{{orders: {{{entry}}}, other: {{{entry}}}}}", moto_world, tmp_path).analyze()


# unfinished


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_table_that_a_killed_run_made_gets_its_ttl(moment, moto_world, tmp_path):
    """Died when the table was there and its TTL was not: the same command finishes it, once."""
    build(moto_world, moto_world.name("orders", SOURCE))
    flow, name = flow_with("like_source", moto_world, tmp_path), moto_world.name("orders", TARGET)
    arm = at_record("made", 1, "after") if moment == "before" else at_record("created", 1, "before")
    assert in_child(flow.create, arm) == KILLED
    assert (looked_up(moto_world, name)[2] == "until") is (moment == "after")
    assert flow.create() == [name]
    assert looked_up(moto_world, name)[2] == "until"
    assert flow.create() == []


def test_a_table_is_the_runs_where_no_answer_came(moto_world, tmp_path, monkeypatch):
    """The endpoint was gone when the request for it had arrived: the same command finishes what is as described."""
    build(moto_world, moto_world.name("orders", SOURCE))
    flow, name = flow_with(DESCRIBED, moto_world, tmp_path), moto_world.name("orders", TARGET)

    def gone(connection, table, spec, unanswered):
        create(connection, table, spec)
        unanswered()
        raise Refused("the endpoint does not answer.")

    create = tables.create
    monkeypatch.setattr(tables, "create", gone)
    with pytest.raises(Refused):
        flow.create()
    assert looked_up(moto_world, name)[2] is None
    assert flow.create() == [name]
    assert looked_up(moto_world, name)[2] == "until"
    assert flow.create() == []


def test_a_table_that_somebody_else_made_keeps_its_settings(moto_world, tmp_path, monkeypatch):
    """Also where this run was about to make it: a TTL would delete their items. It is told as lost, and never deleted."""
    build(moto_world, moto_world.name("orders", SOURCE))
    flow, name = flow_with(DESCRIBED, moto_world, tmp_path), moto_world.name("orders", TARGET)
    assert in_child(flow.create, at_record("creating", 1, "after")) == KILLED
    build(moto_world, name, ttl=None, items=())
    assert flow.create() == []
    assert looked_up(moto_world, name)[2] is None
    assert checked(flow.analyze()) == [("ttl", "REVIEW", "TTL is off, not until")]
    flow.migrate()
    flow.rollback()
    (deletion,) = Undoing(str(flow.checkpoint()), "", flow.parameters).delete_tables([name])
    assert (deletion.deleted, deletion.reason) == (False, "whether this run made it is not known")


def test_setting_waits_while_the_table_is_busy(moto_world, monkeypatch):
    """Until it is taken; a refusal of another kind is none to wait for. Set already, it is left alone."""
    monkeypatch.setattr(tables, "POLL", 0.01)
    name, target = moto_world.name("orders", TARGET), connected(moto_world)
    build(moto_world, name, ttl=None, items=())
    real, codes = target.client.update_time_to_live, ["LimitExceededException", "ResourceInUseException"]
    calls = []

    def busy(**request):
        calls.append(request)
        if codes:
            raise ClientError({"Error": {"Code": codes.pop()}}, "UpdateTimeToLive")
        return real(**request)

    target.client.update_time_to_live = busy
    tables.set_ttl(target, name, "until")
    tables.set_ttl(target, name, "until")
    assert (len(calls), looked_up(moto_world, name)[2]) == (3, "until")
    with pytest.raises(AssertionError):
        tables.set_ttl(connected(moto_world, "source"), name, "other")


# what an engine or a role does not have


def test_an_engine_without_the_calls_gives_lines_and_no_crash(moto_world, tmp_path, monkeypatch):
    """One line a side and setting, not one a table; the tables are made, and 02 says what they lack."""
    for table in ("orders", "more"):
        build(moto_world, moto_world.name(table, SOURCE), items=ITEMS[:1])
    body = "{id: null, create: like_source}"
    described = f"{{id: null, create: {DESCRIBED[:-2]}, point_in_time_recovery: true}}}}"
    flow = flow_of(f"{{orders: {described}, more: {body}}}", moto_world, tmp_path)
    refusing(monkeypatch, "UnknownOperationException", *SETTINGS)
    unknown = [
        ("ttl", "NOTE", "TTL of the source's tables: not available here"),
        ("recovery", "NOTE", "point-in-time recovery of the source's tables: not available here"),
    ]
    assert checked(flow.analyze()) == unknown
    done = flow.steps().create_tables(flow._plan())
    assert len(done.result) == 2
    said = [(alert.table, alert.level, alert.message) for alert in done.alerts if "created for" not in alert.message]
    orders, more = moto_world.name("orders", TARGET), moto_world.name("more", TARGET)
    assert said == [
        (orders, "", "TTL by until was not set: not available here"),
        (orders, "", "point-in-time recovery was not set: not available here"),
        (more, "", f"TTL was not set, because that of {moto_world.name('more', SOURCE)} is not available here"),
    ]
    assert flow.migrate()["verdict"] == "PASS"
    report = flow.validate()
    assert report["verdict"] == "PASS"
    assert len([alert for alert in report["alerts"] if "not available here" in alert["message"]]) == 4


def test_a_role_that_may_not_ask_is_told_which_right_it_lacks(moto_world, tmp_path, monkeypatch):
    """What it may not read is a note. What it may not set is refused by its name, and set by the same command later."""
    build(moto_world, moto_world.name("orders", SOURCE))
    flow, name = flow_with("like_source", moto_world, tmp_path), moto_world.name("orders", TARGET)
    with monkeypatch.context() as patch:
        refusing(patch, "AccessDeniedException", "DescribeTimeToLive")
        (check,) = [c for c in flow.analyze()["checks"] if c["level"] == "NOTE" and c["what"] not in ("table", "ids")]
        assert (check["side"], check["table"], check["what"], check["found"]) == ("source", "", "ttl", "not known")
        assert "access denied; allow dynamodb:DescribeTimeToLive on " in check["action"]
    with monkeypatch.context() as patch:
        refusing(patch, "AccessDeniedException", "UpdateTimeToLive")
        with pytest.raises(Refused, match=rf"UpdateTimeToLive on {name} .*allow dynamodb:UpdateTimeToLive on "):
            flow.create()
    assert flow.create() == [name]
    assert looked_up(moto_world, name)[2] == "until"


def test_an_overloaded_endpoint_ends_no_analysis(moto_world, tmp_path, monkeypatch):
    """A setting that only a note depends on is unknown then; 02, which would lose the TTL, is interrupted and resumed."""
    build(moto_world, moto_world.name("orders", SOURCE))
    flow, name = flow_with("like_source", moto_world, tmp_path), moto_world.name("orders", TARGET)
    with monkeypatch.context() as patch:
        refusing(patch, "ThrottlingException", "DescribeTimeToLive")
        assert ("ttl", "NOTE", "TTL of the source's tables: not known") in checked(flow.analyze())
        with pytest.raises(Interrupted, match="overloaded"):
            flow.create()
    assert flow.create() == [name]
    assert looked_up(moto_world, name)[2] == "until"


@pytest.mark.slow
def test_an_engine_without_these_calls_says_so(engine_pool):
    """dynalite has neither recovery nor a way to set TTL, and refuses as the program expects."""
    world = worlds.World(engine_pool("dynalite"))
    world.build({"Notes": {"key": {"a": "S"}}}, TARGET)
    target, name = connected(world), world.name("Notes", TARGET)
    for ask in (backups.recovery, backups.set_recovery, lambda *at: tables.set_ttl(*at, "until")):
        with pytest.raises(NotAvailable):
            ask(target, name)
    world.drop()


# compared


def compare(world, tmp_path, source, target, *, production=False, create="null", more=""):
    """The checks of an existing target, after both tables were built with these settings."""
    build(world, world.name("orders", SOURCE), items=(), **source)
    build(world, world.name("orders", TARGET), items=(), **target)
    flow = flow_with(create, world, tmp_path, more, production=production)
    return [(c.what, c.level, c.message) for c in structure_checks(flow._plan())]


STREAM = {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}}
UNITS = {"BillingMode": "PROVISIONED", "ProvisionedThroughput": {"ReadCapacityUnits": 5, "WriteCapacityUnits": 5}}
FEW = UNITS | {"ProvisionedThroughput": {"ReadCapacityUnits": 5, "WriteCapacityUnits": 1}}
ONE_INDEX = {"GlobalSecondaryIndexes": [ORDERS["GlobalSecondaryIndexes"][0]]}
NO_INDEX = {
    "GlobalSecondaryIndexes": [],
    "LocalSecondaryIndexes": [],
    "AttributeDefinitions": ORDERS["AttributeDefinitions"][:2],
}
PROVISIONED = NO_INDEX | UNITS
NARROW = {"GlobalSecondaryIndexes": [ORDERS["GlobalSecondaryIndexes"][0], index("byDay", ("dt",), "KEYS_ONLY")]}
OTHER_KEY = NO_INDEX | {"KeySchema": schema("pk"), "AttributeDefinitions": ORDERS["AttributeDefinitions"][:1]}
PROTECTED = {"DeletionProtectionEnabled": True}


@pytest.mark.parametrize(
    ("source", "target", "found"),
    [
        ({}, OTHER_KEY, [("key", "FAIL", "its key is pk (S), not pk (S) + sk (S)"),
                         *[("index", "REVIEW", f"index {name} is missing") for name in ("byDate", "byDay", "byStatus")]]),
        ({}, ONE_INDEX, [("index", "REVIEW", "index byDay is missing")]),
        (ONE_INDEX, {}, []),
        ({}, NARROW, [("projection", "REVIEW", "index byDay projects KEYS_ONLY, not st")]),
        (NARROW, {}, [("projection", "NOTE", "index byDay projects st, not KEYS_ONLY")]),
        ({}, {"ttl": None}, [("ttl", "REVIEW", "TTL is off, not until")]),
        ({}, {"ttl": "st"}, [("ttl", "REVIEW", "TTL is st, not until")]),
        ({"ttl": None}, {}, [("ttl", "NOTE", "TTL is until, not off")]),
        (STREAM, {}, [("stream", "NOTE", "the stream is off, not NEW_IMAGE")]),
        ({}, STREAM, [("stream", "NOTE", "has a stream: its consumers will see every insert")]),
        ({"recovery": True}, {}, [("recovery", "NOTE", "point-in-time recovery is off, not on")]),
        ({}, {"recovery": True}, []),
        (PROVISIONED, NO_INDEX, [("billing", "NOTE", "billing is PAY_PER_REQUEST, not PROVISIONED")]),
        (NO_INDEX, PROVISIONED, [("billing", "NOTE", "billing is PROVISIONED, not PAY_PER_REQUEST")]),
        (PROVISIONED, NO_INDEX | FEW, [("capacity", "NOTE", "capacity is read 5, write 1, not read 5, write 5")]),
        (NO_INDEX | FEW, PROVISIONED, []),
    ],
)  # fmt: skip
def test_each_loss_has_its_level(source, target, found, moto_world, tmp_path):
    """Without `create`. What the target has more of is no loss; where nothing is lost, one line says so."""
    well = [("structure", "", f"has everything that {moto_world.name('orders', SOURCE)} has")]
    assert compare(moto_world, tmp_path, source, target) == (found or well)


def test_what_a_migration_will_meet_is_no_news_after_it(moto_world, tmp_path):
    """01 says that the target's stream has consumers; 04 does not tell anybody to pause them."""
    build(moto_world, moto_world.name("orders", SOURCE), items=())
    build(moto_world, moto_world.name("orders", TARGET), items=(), **STREAM)
    flow = flow_with("null", moto_world, tmp_path)
    met = [one for one in flow.analyze()["alerts"] if "its consumers will see" in one["message"]]
    assert [one["level"] for one in met] == ["NOTE"]
    flow.migrate()
    assert not [one for one in flow.validate()["alerts"] if "consumers" in one["message"]]


def test_a_production_target_needs_its_safeguards(moto_world, tmp_path):
    """Lost, they ask for a decision; where neither side has them, it is a note."""
    source = {"recovery": True} | PROTECTED
    found = compare(moto_world, tmp_path, source, {}, production=True)
    assert found == [
        ("protection", "REVIEW", "deletion protection is off, not on"),
        ("recovery", "REVIEW", "point-in-time recovery is off, not on"),
    ]
    moto_world.client.update_table(TableName=moto_world.name("orders", SOURCE), DeletionProtectionEnabled=False)
    moto_world.drop()
    found = compare(moto_world, tmp_path, {}, {}, production=True)
    assert found[1:] == [
        ("recovery", "NOTE", "point-in-time recovery is off in 1 of 1 production table"),
        ("protection", "NOTE", "deletion protection is off in 1 of 1 production table"),
    ]


def test_what_fields_make_is_compared_with_create_alone(moto_world, tmp_path):
    """Its keys and indexes are its own; and without `create`, nothing is said to be as it should."""
    more = ", fields: {pk: x, sk: '{sk}'}, rest: copy, drop: [pk, sk]"
    create = "{key: {pk: S, sk: S}, indexes: {byStatus: {key: {st: S, dt: S}, projection: KEYS_ONLY}}, ttl: until}"
    found = compare(moto_world, tmp_path, {"recovery": True}, NARROW | {"ttl": None}, create=create, more=more)
    assert found == [("ttl", "REVIEW", "TTL is off, not until")]
    (check,) = structure_checks(flow_with("null", moto_world, tmp_path, more)._plan())
    assert (check.what, check.found, check.message) == ("structure", None, "has no table to be compared with")


def test_create_is_compared_with_a_target_that_exists(moto_world, tmp_path):
    """What it lacks of the shape stops; a wider projection and settings do not. Without a target nothing is said here."""
    indexes = "{byDay: {dt: S}, byStatus: {key: {st: S, dt: S}, projection: KEYS_ONLY}}"
    create = f"{{key: {{pk: S, sk: S}}, indexes: {indexes}, stream: NEW_IMAGE}}"
    found = compare(moto_world, tmp_path, NARROW, {}, create=create)
    assert found == [
        ("projection", "FAIL", "index byDay projects st, not ALL"),
        ("stream", "NOTE", "the stream is off, not NEW_IMAGE"),
    ]
    moto_world.client.delete_table(TableName=moto_world.name("orders", TARGET))
    assert structure_checks(flow_with("null", moto_world, tmp_path)._plan()) == []
