"""Whole migrations through a proxy that behaves as AWS does, and as the network before it: create, 01, 03, 04, 05.

Each behaviour that a run has to live with comes to what an untroubled run comes to: the same items, counts and figures, and a
target that is as it was after the rollback. The slow tier takes one migration for each behaviour; the long one each
migration with each, and all behaviours at once.
"""

import re
from contextlib import contextmanager

import aws_shaped
import engines
import pytest
import support_worlds as worlds
from aws_requests import READS
from support_aws import CASES, Case, figures

from runbook_lib.dynamo import tables
from runbook_lib.dynamo.transport import Transport
from runbook_lib.errors import Interrupted, Refused

BATCH = "BatchExecuteStatement"
ALLOWED = {"Effect": "Allow", "Action": "dynamodb:*", "Resource": "*"}
NO_STATEMENTS = {"Effect": "Deny", "Action": "dynamodb:PartiQLInsert"}
UNDECIDED = ("throttled", "denied", "lost", "error")  # answers to the question for batches that are asked for again
NO = ("unknown", "crash")  # and those after which items go one by one
NAMING = ("BatchGetItem", "GetItem")  # whose replies say what they are about

# Behaviour, or a name for several with their options -> the migration of the slow tier, if any, and options.
LIVED_WITH = {
    "fresh_tables": ("copy", {"requests": 3}),
    "throttle_table": ("library", {"first": 3, "on_demand": False}),
    "throttle_index": ("split", {"first": 2}),
    "throttle_partition": ("split", {"first": 3}),
    "throttled_reads": ("copy", {"throttle_partition": {"first": 1, "reads": True}}),
    "lagging_indexes": ("split", {"writes": 5, "queries": 1}),
    "capacity": ("split", {}),
    "warm": ("copy", {}),
    "lost": ("copy", {"rate": 0.3}),
    "late": ("split", {"rate": 0.05, "seconds": 0.5}),
    "cut": ("library", {"rate": 0.3}),
    "empty": ("library", {"rate": 0.3}),
    "status": ("split", {"rate": 0.3}),
    "doubled": ("split", {"rate": 0.3, "operations": [*READS, "DeleteItem"]}),
    "swapped": ("split", {"wait": 0.1, "operations": NAMING}),
    "probe_validation": (None, {"probe": {"answer": "validation"}}),
    **{f"probe_{answer}": (None, {"probe": {"answer": answer, "times": 2}}) for answer in UNDECIDED},
    **{f"probe_{answer}": (None, {"probe": {"answer": answer}}) for answer in NO},
}
LIMITS = {
    "capacity": {"read_units": 20_000.0, "write_units": 20_000.0},
    "swapped": {"segments": 4},  # several requests on one table at once
}
# Nothing to meet, or far too much: tables without such an index, and tables where each item is a partition of its own.
WITHOUT = {
    *(("copy", name) for name in ("throttle_index", "lagging_indexes", "throttle_partition")),
    *(("library", name) for name in ("lagging_indexes", "throttle_partition")),
}


SPLIT_FIRST = [pytest.param("split", marks=pytest.mark.slow)]
SPLIT_FIRST += [pytest.param(case, marks=pytest.mark.long) for case in CASES if case != "split"]


@pytest.fixture(scope="module")
def _engine():
    """An engine of these tests alone: their tables stay."""
    try:
        with engines.running("ministack") as engine:
            yield engine
    except engines.NotInstalled as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def _made():
    """The cases made so far."""
    return {}


@pytest.fixture
def case(request, _engine, _made, tmp_path_factory):
    """One of the migrations, its target empty and without tables."""
    if request.param not in _made:
        _made[request.param] = Case(request.param, worlds.World(_engine), tmp_path_factory.mktemp(request.param))
    yield _made[request.param]
    _made[request.param].drop()


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    """Between two looks at a table."""
    monkeypatch.setattr(tables, "POLL", 0.01)


@contextmanager
def proxied(case, **behaviours):
    """A proxy before the engine."""
    proxy = aws_shaped.Proxy(case.world.engine.endpoint_url, **behaviours)
    try:
        yield proxy
    finally:
        proxy.close()


def begun(case, proxy, run, **limits):
    """A migration through the proxy whose target has its tables and residents."""
    flow = case.through(proxy.url, run, **limits)
    flow.create()
    case.settle()
    return flow


def check_whole(case, flow):
    """From 01 to 05 as an untroubled run."""
    flow.analyze()
    assert case.content() == case.before
    report = flow.migrate()
    case.check_migrated(report)
    assert figures(flow.validate()) == case.validation
    undone = flow.rollback()["rollback"]
    assert case.content() == case.before
    assert (undone["deleted"], undone["kept_edited"], undone["not_found"]) == (report["totals"]["inserted"], 0, 0)


def impatient(monkeypatch):
    """The program waits a quarter of a second for a reply."""
    monkeypatch.setitem(Transport.__init__.__kwdefaults__, "read_timeout", 0.25)


def switched_on(name):
    """Behaviours and their options."""
    options = LIVED_WITH[name][1]
    return options if options.keys() & aws_shaped.BEHAVIOURS.keys() else {name: options or True}


def tiers():
    """Each behaviour with each migration; the slow tier has one of them."""
    for case in CASES:
        for behaviour, (chosen, _) in LIVED_WITH.items():
            if (case, behaviour) not in WITHOUT:
                mark = pytest.mark.slow if case == chosen else pytest.mark.long
                yield pytest.param(case, behaviour, marks=mark, id=f"{case}-{behaviour}")


@pytest.mark.parametrize(("case", "behaviour"), list(tiers()), indirect=["case"])
def test_a_migration_lives_with_it(case, behaviour, monkeypatch):
    """Nothing is lost, written twice, or left behind, and nobody needs to look."""
    behaviours = switched_on(behaviour)
    if behaviour == "late":
        impatient(monkeypatch)
    limits = LIMITS.get(behaviour, {})
    with proxied(case, **behaviours) as proxy:
        check_whole(case, begun(case, proxy, behaviour, **limits))
        assert all(proxy.seen[name] for name in behaviours), proxy.seen
        assert proxy.calls[BATCH]


@pytest.mark.parametrize("case", SPLIT_FIRST, indirect=True)
def test_no_batch_has_two_statements_for_one_key(case):
    """DynamoDB would refuse it as a whole."""
    with proxied(case, equal_keys=True) as proxy:
        check_whole(case, begun(case, proxy, "equal_keys"))
        assert proxy.calls[BATCH]
        assert not proxy.seen["equal_keys"]


CONTROL = ("CreateTable", "DescribeTable", "DescribeTimeToLive", "DescribeContinuousBackups")


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["lost", "cut", "status"])
@pytest.mark.parametrize("case", ["split"], indirect=True)
def test_tables_are_made_and_described_whatever_becomes_of_some_replies(fault, case):
    """Each is the run's own; each request goes wrong once at most."""
    with proxied(case, **{fault: {"rate": 0.4, "times": 1, "operations": CONTROL}}) as proxy:
        flow = case.through(proxy.url, f"tables-{fault}")
        assert sorted(flow.create()) == case.targets
        case.settle()
        assert flow.analyze()["verdict"] == "REVIEW"
        assert proxy.seen[fault]


@pytest.mark.slow
@pytest.mark.parametrize("case", ["split"], indirect=True)
def test_a_table_whose_creation_arrives_twice_is_taken_for_anothers(case):
    """02 stops and says so; once more it finds them, and the migration is as any other."""
    with proxied(case, doubled={"operations": ["CreateTable"], "times": 1}) as proxy:
        flow = case.through(proxy.url, "doubled-tables")
        with pytest.raises(Interrupted, match="somebody else has created it meanwhile; run this again"):
            flow.create()
        assert come_through(flow.create) == []
        case.settle()
        check_whole(case, flow)
        assert proxy.seen["doubled"] == len(case.targets)


# rights


@pytest.mark.parametrize("case", SPLIT_FIRST, indirect=True)
def test_without_the_right_to_insert_by_statement_items_go_one_by_one(case):
    policy = [ALLOWED, NO_STATEMENTS | {"Resource": "*"}]
    with proxied(case, iam={"policy": policy}) as proxy:
        check_whole(case, begun(case, proxy, "no-statements"))
        assert proxy.seen["iam"] == proxy.calls[BATCH] > 0
        assert proxy.calls["PutItem"] == case.report["totals"]["inserted"]


def denied(step, kind, *words):
    """What a step says that is not allowed something."""
    with pytest.raises(kind) as caught:
        step()
    for word in ("dynamodb:", "assumed-role/mover", *words):
        assert word in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["split"], indirect=True)
def test_a_right_that_is_missing_is_named(case):
    """In each stage, at once: the action, the table or index, and the role. Nothing is lost by it."""
    table, index, policy = case.targets[-1], case.targets[-1] + "/index/", [ALLOWED]

    def without(*actions, where="*"):
        policy[1:] = [{"Effect": "Deny", "Action": [f"dynamodb:{action}" for action in actions], "Resource": where}]

    with proxied(case, iam={"policy": policy, "role": "mover"}) as proxy:
        flow = case.through(proxy.url, "rights-missing")
        without("CreateTable")
        denied(flow.create, Refused, "CreateTable", "Leads")
        without()
        flow.create()
        case.settle()
        without("Scan")
        denied(flow.analyze, Refused, "dynamodb:Scan")
        without()
        flow.migrate()
        for action, where in (("BatchGetItem", table), ("Query", index), ("Scan", table)):
            without(action, where=f"*:table/{where}*")
            denied(flow.validate, Refused, action, where)
        for action in ("DeleteItem", "BatchGetItem"):
            without(action, where=f"*:table/{table}")
            denied(flow.rollback, Interrupted, action, table)
        without()
        flow.rollback()
        assert case.content() == case.before


@pytest.mark.slow
@pytest.mark.parametrize("undone", [True, False])
@pytest.mark.parametrize("case", ["split"], indirect=True)
def test_without_a_right_to_insert_or_to_delete(undone, case):
    """What was inserted before is taken back; or, without that right either, stays until 05 takes it."""
    table = case.targets[-1]
    lacks = {"Effect": "Deny", "Action": ["dynamodb:PutItem", "dynamodb:PartiQLInsert"], "Resource": f"*:table/{table}"}
    policy = [ALLOWED, lacks, *([] if undone else [lacks | {"Action": "dynamodb:DeleteItem", "Resource": "*"}])]
    with proxied(case, iam={"policy": policy, "role": "mover"}) as proxy:
        flow = begun(case, proxy, f"no-insert-{undone}")
        report = flow.migrate()
        said = " ".join(alert["message"] for alert in report["alerts"])
        assert re.search(rf"allow dynamodb:(PutItem|PartiQLInsert) on \S*{table} for \S*assumed-role/mover", said), said
        assert report["verdict"] == ("ROLLED_BACK" if undone else "FAIL")
        if not undone:
            assert "allow dynamodb:DeleteItem" in said
            assert "runbook rollback --checkpoint" in said
            del policy[2]
            assert case.content() != case.before
            flow.rollback()
        assert case.content() == case.before


# what no run can live with unseen


@pytest.mark.parametrize(
    "case",
    [pytest.param("copy", marks=pytest.mark.slow), *(pytest.param(c, marks=pytest.mark.long) for c in CASES[1:])],
    indirect=True,
)
def test_what_was_there_at_the_first_attempt_is_not_the_runs(case):
    """A request that arrives twice looks like another one who writes the same items: they are left to him."""
    with proxied(case, doubled={"rate": 0.5, "operations": [BATCH, "PutItem"]}) as proxy:
        flow = begun(case, proxy, "doubled-inserts")
        report = flow.migrate()
        assert proxy.seen["doubled"]
        assert case.content() == case.after
        theirs = case.report["totals"]["inserted"] - report["totals"]["inserted"]
        assert theirs == report["totals"]["already_there"] - case.report["totals"]["already_there"] > 0
        flow.rollback()
        case.check_unharmed()
        left = {table: len(items) - len(case.before[table]) for table, items in case.content().items()}
        assert sum(left.values()) == theirs


def come_through(work, times=20):
    """What `work` gives, resumed as often as it is interrupted."""
    for _ in range(times):
        try:
            return work()
        except Interrupted:
            continue
    raise AssertionError("it does not end")


@pytest.mark.parametrize(
    "case",
    [pytest.param("library", marks=pytest.mark.slow), *(pytest.param(c, marks=pytest.mark.long) for c in CASES[:2])],
    indirect=True,
)
def test_a_delete_that_gets_anothers_reply_takes_nothing_of_others(case):
    """What was deleted may seem edited then: it is put back, the report says so, and 05 once more takes it."""
    with proxied(case, swapped={"wait": 0.05, "operations": ["DeleteItem"]}) as proxy:
        flow = begun(case, proxy, "swapped-deletes")
        flow.migrate()
        undone = flow.rollback()["rollback"]
        assert proxy.seen["swapped"]
        case.check_unharmed()
        left = sum(map(len, case.content().values())) - sum(map(len, case.before.values()))
        assert left == undone["kept_edited"]
        proxy.calm = True
        assert flow.rollback()["rollback"]["kept_edited"] == 0
        assert case.content() == case.before


@pytest.mark.long
@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("case", CASES, indirect=True)
def test_a_migration_lives_with_everything_at_once(case, twice, monkeypatch):
    """Resumed where it is interrupted; and 05 once more where a foreign reply made a delete look like another's edit.

    Statements are not allowed on one of the tables, whose items go one by one. With `twice` inserts arrive twice too: those
    items are left to whoever may have written them, so that the figures are no longer those of an untroubled run.
    Not here: foreign replies to inserts, Scans and Queries, which name no item, no segment and no key, and to looks at items
    that may be absent, which name none either, so that no client could tell; any other right that is missing, which ends a
    stage (`test_a_right_that_is_missing_is_named`); answers to the question for batches that forbid them, with which no batch
    would be left to go wrong.
    """
    impatient(monkeypatch)
    rates = {name: {"rate": 0.05, "times": 1} for name in ("lost", "cut", "empty", "status")}
    policy = [ALLOWED, NO_STATEMENTS | {"Resource": f"*:table/{case.targets[0]}"}]
    arriving = {"rate": 0.3, "times": 1, "operations": [*READS, "DeleteItem", *([BATCH, "PutItem"] if twice else [])]}
    foreign = {"wait": 0.05, "times": 1, "operations": ["DeleteItem"]}
    behaviours = {
        name: options or True
        for name, (_, options) in LIVED_WITH.items()
        if name in aws_shaped.BEHAVIOURS and (case.name, name) not in WITHOUT
    }
    behaviours |= rates | {"late": {"rate": 0.03, "times": 1, "seconds": 0.5}, "iam": {"policy": policy}}
    behaviours |= {"doubled": arriving, "swapped": foreign, "equal_keys": True}
    behaviours |= {"probe": {"answer": "throttled", "times": 2}}
    with proxied(case, **behaviours) as proxy:
        flow = begun(case, proxy, f"everything-{twice}", read_units=20_000.0, write_units=20_000.0, segments=4)
        come_through(flow.analyze)
        report = come_through(flow.migrate)
        theirs = case.report["totals"]["inserted"] - report["totals"]["inserted"]
        if twice:
            assert case.content() == case.after
            assert theirs == report["totals"]["already_there"] - case.report["totals"]["already_there"] > 0
        else:
            case.check_migrated(report)
        assert figures(come_through(flow.validate)) == case.validation
        come_through(flow.rollback)
        case.check_unharmed()
        proxy.calm = True
        assert flow.rollback()["rollback"]["kept_edited"] == 0
        left = sum(map(len, case.content().values())) - sum(map(len, case.before.values()))
        assert left == theirs
        assert all(proxy.seen[name] for name in behaviours.keys() - {"equal_keys"}), proxy.seen
        assert not proxy.seen["equal_keys"]
