"""The proxy that behaves as AWS does (tests/engines): each behaviour by itself, before an engine in this process."""

import http.client
import json
import os
import shlex
import socket
import struct
import subprocess
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import aws_answers
import aws_shaped
import engines
import pytest
import support_worlds as worlds
from support_memory import Memory
from support_wire import Keys, Stub, error, make, reply

from runbook_lib.dynamo.errors import MaybeOurs
from runbook_lib.dynamo.transport import Transport
from runbook_lib.errors import Again, ConditionFailed, Interrupted

TABLE = "Any"
ARN = f"arn:aws:dynamodb:us-west-1:123456789012:table/{TABLE}"


class Engine(Memory):
    """Also makes and describes tables, with an index on `v`, and gives all items to each Query."""

    def __init__(self):
        super().__init__()
        self.create(TABLE, {"id": "S"})

    def _DescribeTable(self, body):
        self._table(body["TableName"])
        about = self.describe_table(body["TableName"])["Table"]
        schema = [{"AttributeName": "v", "KeyType": "HASH"}]
        return {"Table": about | {"GlobalSecondaryIndexes": [{"IndexName": "byV", "KeySchema": schema}]}}

    def _CreateTable(self, body):
        self.create(body["TableName"], {"id": "S"})
        return {"TableDescription": {"TableName": body["TableName"], "TableStatus": "CREATING"}}

    def _Query(self, body):
        items = list(self.content(body["TableName"]).values())
        return {"Items": items, "Count": len(items)}


@pytest.mark.parametrize("while_it_waits", [False, True])
def test_a_client_that_is_killed_is_no_fault_of_the_server(while_it_waits, monkeypatch):
    """Between two requests, and while it waits for an answer: its connection is reset, and no thread prints a traceback."""
    printed, held = [], threading.Event()
    monkeypatch.setattr(threading, "excepthook", printed.append)
    stub, before, called = Stub(), set(threading.enumerate()), threading.Event()

    def late(body):
        called.set()
        held.wait(60)
        return reply({"more": "x" * 10_000_000})  # than a connection takes that nobody reads

    stub.script = [reply({}), late]
    request = b"POST / HTTP/1.1\r\nx-amz-target: a.Scan\r\ncontent-length: 2\r\n\r\n{}"
    client = socket.create_connection(("127.0.0.1", urlsplit(stub.url).port))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing resets, as a kill may
    client.sendall(request)
    client.recv(1)
    serving = set(threading.enumerate()) - before
    if while_it_waits:
        client.sendall(request)
        assert called.wait(60)
    client.close()
    held.set()
    for thread in serving:
        thread.join(60)
    assert (len(serving), any(thread.is_alive() for thread in serving), printed) == (1, False, [])
    stub.close()


def test_the_page_of_an_engine_that_crashed_is_passed_on():
    """Some answer what they lack with a page that is no JSON."""
    crashed = Stub()
    crashed.script = [reply(None, 500, raw=PAGE)]
    proxy = aws_shaped.Proxy(crashed.url)
    assert post(proxy, "Scan") == (500, PAGE)
    proxy.close()
    crashed.close()


@pytest.fixture
def proxy():
    """A function that puts a proxy with some behaviours before an engine of its own."""
    made = []

    def put(**behaviours):
        engine = Engine()
        made.append(aws_shaped.Proxy(engine.answer, **behaviours))
        made[-1].engine = engine
        return made[-1]

    yield put
    for one in made:
        one.close()


def ask(proxy, operation, **body):
    """Status and content of a reply; the code of a refusal without what stands before it."""
    connection = http.client.HTTPConnection(urlsplit(proxy.url).netloc, timeout=10)
    connection.request(
        "POST", "/", json.dumps(body), {"X-Amz-Target": f"DynamoDB_20120810.{operation}", **engines.UNSIGNED}
    )
    answer = connection.getresponse()
    status, content = answer.status, json.loads(answer.read())
    connection.close()
    if "__type" in content:
        content["__type"] = content["__type"].rpartition("#")[2]
    return status, content


def put(proxy, key, **more):
    return ask(proxy, "PutItem", TableName=TABLE, Item={"id": {"S": key}, "v": {"S": "v"}}, **more)


def statement(**values):
    names = ", ".join(f"'{name}': ?" for name in values)
    return {"Statement": f'INSERT INTO "{TABLE}" VALUE {{{names}}}', "Parameters": [{"S": v} for v in values.values()]}


def batch(proxy, *keys, **more):
    """The responses to a batch of inserts."""
    return ask(proxy, "BatchExecuteStatement", Statements=[statement(id=key, v="v") for key in keys], **more)


def read(proxy, *keys, **more):
    asked = {TABLE: {"Keys": [{"id": {"S": key}} for key in keys], "ConsistentRead": True}}
    return ask(proxy, "BatchGetItem", RequestItems=asked, **more)


def test_without_behaviours_it_passes_everything_on(proxy):
    plain = proxy()
    assert put(plain, "a") == (200, {})
    assert ask(plain, "GetItem", TableName=TABLE, Key={"id": {"S": "a"}})[1]["Item"]["v"] == {"S": "v"}
    assert ask(plain, "Scan", TableName="None")[1]["__type"] == "ResourceNotFoundException"
    assert plain.calls == {"PutItem": 1, "GetItem": 1, "Scan": 1}
    assert not plain.seen
    with pytest.raises(AssertionError, match="no such behaviour"):
        proxy(slow=True)


def test_it_passes_on_through_connections_that_are_kept(moto):
    """Over the network, signatures and other services too."""
    through = aws_shaped.Proxy(moto.endpoint_url)
    front = engines.Engine("proxy", through.url, moto.process)
    assert front.client("us-west-1", "sts").get_caller_identity()["Account"] == "123456789012"
    name = f"Passed-{uuid.uuid4()}"
    worlds.World(front).create(name, {"id": "S"})
    front.call("PutItem", TableName=name, Item={"id": {"S": "größe"}, "n": {"N": "7.5"}})
    assert front.call("Scan", TableName=name)["Items"] == moto.call("Scan", TableName=name)["Items"]
    with pytest.raises(engines.Rejected, match="ResourceNotFoundException"):
        front.call("Scan", TableName=name + "-none")
    through.close()


def test_the_command_that_its_docstring_gives_works(proxy):
    """Word for word, but for the engine's address and the port, which may be taken here."""
    script = Path(aws_shaped.__file__)
    (line,) = (line for line in aws_shaped.__doc__.splitlines() if "python tests/engines/aws_shaped.py" in line)
    path, python, *words = shlex.split(line.replace("http://127.0.0.1:4566", proxy().url).replace("8001", "0"))
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=script.parents[2],
        env={**os.environ, "PYTHONPATH": path.removeprefix("PYTHONPATH=")},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        word, port = process.stdout.readline().split()
        front = SimpleNamespace(url=f"http://127.0.0.1:{port}")
        assert "WarmThroughput" in ask(front, "DescribeTable", TableName=TABLE)[1]["Table"]
        assert (python, word, ask(front, "Seen")) == ("python", "ready", (200, {"warm": 1}))
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_it_is_a_command_too(moto):
    """It says where it listens; `Seen` says what happened."""
    script = Path(aws_shaped.__file__)
    root = script.parents[2]
    process = subprocess.Popen(
        [sys.executable, script, moto.endpoint_url, 'throttle_table:{"first": 1, "reads": true}', "warm"],
        env={**os.environ, "PYTHONPATH": f"{root}:{root / 'tests'}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        word, port = process.stdout.readline().split()
        assert word == "ready"
        front = engines.Engine("proxy", f"http://127.0.0.1:{port}", process)
        with pytest.raises(engines.Rejected, match="ThrottlingException"):
            front.call("Scan", TableName="Nobody's")
        assert front.call("Seen") == {"throttle_table": 1}
    finally:
        process.kill()
        process.wait()


# what AWS does


def test_a_fresh_table_is_active_before_it_is_known(proxy):
    """Only one that was made through the proxy, and only its data."""
    fresh = proxy(fresh_tables={"requests": 2})
    assert put(fresh, "a")[0] == 200  # an old table
    ask(fresh, "CreateTable", TableName="New")
    assert ask(fresh, "Scan", TableName="New")[0] == 200  # not yet told active
    assert ask(fresh, "DescribeTable", TableName="New")[1]["Table"]["TableStatus"] == "ACTIVE"
    status, content = ask(fresh, "Scan", TableName="New")
    assert (status, content["__type"], content["message"]) == (
        400,
        "ResourceNotFoundException",
        "Requested resource not found",
    )
    one = {"Statement": "INSERT INTO \"New\" VALUE {'id': ?}", "Parameters": [{"S": "a"}]}
    (response,) = ask(fresh, "BatchExecuteStatement", Statements=[one])[1]["Responses"]
    assert response == {"Error": {"Code": "ResourceNotFound", "Message": "Requested resource not found"}}
    assert ask(fresh, "BatchExecuteStatement", Statements=[one])[1]["Responses"] == [{"TableName": "New"}]
    assert fresh.seen == {"fresh_tables": 2}


@pytest.mark.parametrize(
    ("on_demand", "code", "of_statement", "reasons", "limit"),
    [
        (True, "ThrottlingException", "ThrottlingError", "throttlingReasons", "KeyRange"),
        (
            False,
            "ProvisionedThroughputExceededException",
            "ProvisionedThroughputExceeded",
            "ThrottlingReasons",
            "Provisioned",
        ),
    ],
)
def test_a_throttled_request_names_reason_and_resource_a_statement_does_not(
    on_demand, code, of_statement, reasons, limit, proxy
):
    slow = proxy(throttle_table={"first": 2, "on_demand": on_demand})
    status, content = put(slow, "a")
    assert (status, content["__type"]) == (400, code)
    assert content[reasons] == [{"reason": f"TableWrite{limit}ThroughputExceeded", "resource": ARN}]
    status, content = batch(slow, "a", "b")
    assert status == 200
    refused, inserted = content["Responses"]
    assert (refused.keys(), refused["Error"]["Code"], refused["TableName"]) == (
        {"Error", "TableName"},
        of_statement,
        TABLE,
    )
    assert refused["Error"].keys() == {"Code", "Message"}
    assert inserted == {"TableName": TABLE}
    assert read(slow, "a", "b")[1]["Responses"][TABLE] == [{"id": {"S": "b"}, "v": {"S": "v"}}]
    assert slow.seen == {"throttle_table": 2}


def test_an_index_and_a_partition_are_throttled_by_what_is_in_them(proxy):
    """An item without the index's attribute passes; another partition, too."""
    slow = proxy(throttle_index={"first": 1}, throttle_partition={"first": 1})
    assert put(slow, "a")[1]["throttlingReasons"][0] == {
        "reason": "TableWriteKeyRangeThroughputExceeded",
        "resource": ARN,
    }
    assert put(slow, "a")[1]["throttlingReasons"][0] == {
        "reason": "IndexWriteKeyRangeThroughputExceeded",
        "resource": f"{ARN}/index/byV",
    }
    assert put(slow, "a")[0] == 200
    assert put(slow, "b")[1]["throttlingReasons"][0]["resource"] == ARN
    assert slow.seen == {"throttle_partition": 2, "throttle_index": 1}


@pytest.fixture
def clock(monkeypatch):
    """The proxy's clock, which stands still: a list with the seconds."""
    now = [0.0]
    monkeypatch.setattr(aws_answers, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_a_bucket_refills_and_a_window_ends(proxy, clock):
    slow = proxy(throttle_table={"units": 5})
    assert [put(slow, str(n))[0] for n in range(7)] == [200] * 5 + [400] * 2
    clock[0] = 0.4
    assert [put(slow, str(n))[0] for n in range(3)] == [200, 200, 400]
    assert slow.seen == {"throttle_table": 3}
    slow = proxy(throttle_table={"seconds": 2.0})
    assert put(slow, "a")[0] == 400
    clock[0] = 2.5
    assert put(slow, "a")[0] == 200


def test_keys_that_are_throttled_are_left_over(proxy):
    """Some: UnprocessedKeys; all: refused."""
    slow = proxy(throttle_partition={"first": 1, "reads": True, "on_demand": False})
    for key in "ab":
        put(slow, key)
    status, content = read(slow, "a", "b")
    assert (status, content["__type"]) == (400, "ProvisionedThroughputExceededException")
    assert content["ThrottlingReasons"] == [{"reason": "TableReadKeyRangeThroughputExceeded", "resource": ARN}]
    content = read(slow, "a", "c", "b")[1]
    assert [item["id"]["S"] for item in content["Responses"][TABLE]] == ["a", "b"]
    assert content["UnprocessedKeys"] == {TABLE: {"Keys": [{"id": {"S": "c"}}], "ConsistentRead": True}}


def test_a_batch_with_equal_keys_is_refused_as_a_whole(proxy):
    strict = proxy(equal_keys=True)
    status, content = batch(strict, "a", "b", "a")
    assert (status, content["__type"]) == (400, "ValidationException")
    assert batch(strict, "a", "b")[1]["Responses"] == [{"TableName": TABLE}] * 2
    assert strict.seen == {"equal_keys": 1}


def test_capacity_is_counted_as_on_aws_where_it_is_asked_for(proxy):
    counting = proxy(capacity=True)
    told = {"ReturnConsumedCapacity": "TOTAL"}
    assert put(counting, "a") == (200, {})
    assert put(counting, "a", ReturnConsumedCapacity="INDEXES")[1]["ConsumedCapacity"] == {
        "TableName": TABLE,
        "CapacityUnits": 2.0,
        "Table": {"CapacityUnits": 1.0},
        "GlobalSecondaryIndexes": {"byV": {"CapacityUnits": 1.0}},
    }
    large = {"id": {"S": "large"}, "text": {"S": "x" * 9000}}
    content = ask(counting, "PutItem", TableName=TABLE, Item=large, **told)[1]
    assert content["ConsumedCapacity"]["CapacityUnits"] == 9.0
    assert read(counting, "a", "none", "large", **told)[1]["ConsumedCapacity"] == [
        {"TableName": TABLE, "CapacityUnits": 5.0}  # 1, 1 and 3
    ]
    names = {"ExpressionAttributeNames": {"#a0": "id"}, "ProjectionExpression": "#a0"}
    for consistent, units in ((True, 3.0), (False, 1.5)):
        content = ask(counting, "Scan", TableName=TABLE, ConsistentRead=consistent, **names, **told)[1]
        assert content["ConsumedCapacity"]["CapacityUnits"] == units
        assert all(item.keys() == {"id"} for item in content["Items"])
    assert counting.seen["capacity"] == 5


def test_statements_that_fail_are_charged_but_not_alone(proxy):
    """As far as they ran: a statement names its table then."""

    def engine(operation, body):
        if operation == "DescribeTable":
            return Engine().answer(operation, body)
        ran = {"Error": {"Code": "DuplicateItem"}, "TableName": TABLE}
        answers = {"a": {"TableName": TABLE}, "ran": ran, "early": {"Error": {"Code": "ValidationError"}}}
        return 200, {"Responses": [answers[one["Parameters"][0]["S"]] for one in body["Statements"]]}

    counting = aws_shaped.Proxy(engine, capacity=True)
    charged = batch(counting, "a", "ran", "early", ReturnConsumedCapacity="TOTAL")[1]["ConsumedCapacity"]
    assert charged == [{"TableName": TABLE, "CapacityUnits": 3.0}]
    assert "ConsumedCapacity" not in batch(counting, "ran", "ran", ReturnConsumedCapacity="TOTAL")[1]
    counting.close()


def test_an_index_lags_behind(proxy, clock):
    """The table itself does not; so many queries, or until the time has passed."""
    lagging = proxy(lagging_indexes={"writes": 1, "queries": 1})
    assert [batch(lagging, "a")[0], put(lagging, "b")[0]] == [200, 200]
    assert ask(lagging, "Query", TableName=TABLE)[1]["Count"] == 2
    answers = [ask(lagging, "Query", TableName=TABLE, IndexName="byV")[1] for _ in range(2)]
    assert [[item["id"]["S"] for item in answer["Items"]] for answer in answers] == [["a"], ["a", "b"]]
    assert [answer["Count"] for answer in answers] == [1, 2]
    assert lagging.seen["lagging_indexes"] == 1
    lagging = proxy(lagging_indexes={"seconds": 2.0})
    put(lagging, "a")
    assert ask(lagging, "Query", TableName=TABLE, IndexName="byV")[1]["Items"] == []
    clock[0] = 2.5
    assert ask(lagging, "Query", TableName=TABLE, IndexName="byV")[1]["Count"] == 1


def test_rights_are_looked_at_for_each_operation_index_and_statement(proxy):
    policy = [
        {"Effect": "Allow", "Action": ["dynamodb:GetItem", "dynamodb:PartiQL*"], "Resource": ARN},
        {"Effect": "Allow", "Action": "dynamodb:Query", "Resource": [f"{ARN}/index/byV"]},
    ]
    guarded = proxy(iam={"policy": policy, "role": "mover"})
    assert ask(guarded, "GetItem", TableName=TABLE, Key={"id": {"S": "a"}}) == (200, {})
    status, content = put(guarded, "a")
    assert (status, content["__type"]) == (400, "AccessDeniedException")
    assert content["Message"] == (
        "User: arn:aws:sts::123456789012:assumed-role/mover/runbook is not authorized to perform: dynamodb:PutItem on "
        f"resource: {ARN} because no identity-based policy allows the dynamodb:PutItem action"
    )
    assert ask(guarded, "Query", TableName=TABLE, IndexName="byV")[0] == 200
    assert ask(guarded, "Query", TableName=TABLE)[1]["Message"].endswith("allows the dynamodb:Query action")
    assert ask(guarded, "ListTables")[1]["Message"].count("table/* ") == 1
    assert batch(guarded, "a")[1]["Responses"] == [{"TableName": TABLE}]
    policy.append({"Effect": "Deny", "Action": "dynamodb:PartiQLInsert", "Resource": "*"})
    (response,) = batch(guarded, "b")[1]["Responses"]
    assert response["Error"]["Code"] == "AccessDenied"
    assert response["Error"]["Message"].endswith("with an explicit deny in an identity-based policy")
    assert guarded.seen == {"iam": 4}


def test_a_table_is_described_as_on_aws(proxy):
    about = ask(proxy(warm={"Replicas": []}), "DescribeTable", TableName=TABLE)[1]["Table"]
    assert about["WarmThroughput"] == {"ReadUnitsPerSecond": 12_000, "WriteUnitsPerSecond": 4_000, "Status": "ACTIVE"}
    assert about["Replicas"] == []
    assert about["GlobalSecondaryIndexes"][0]["WarmThroughput"]["Status"] == "ACTIVE"


@pytest.mark.parametrize(
    ("answer", "taken"),
    [
        ("validation", [True, True]),
        ("unknown", [False, False]),
        ("crash", [False, False]),
        ("error", [False, True]),
        ("throttled", [False, True]),
        ("denied", [False, True]),
        ("lost", [False, True]),
    ],
)
def test_only_a_definite_answer_to_the_question_for_batches_is_kept(answer, taken, proxy):
    """What decides nothing is no for now, and asked again. (Engines that lack it answer 500 without a type.)"""
    asked = proxy(probe={"answer": answer, "times": 1})
    wire = make(asked)
    assert [not wire.why_single(TABLE, ("id",)) for _ in range(2)] == taken
    assert asked.seen == {"probe": 1}
    assert ask(asked, "Scan", TableName=TABLE)[1]["Count"] == 0


# what the network does


def post(proxy, operation, patience=10.0, **body):
    """Status and body that one attempt of the program's own transport gets; None where it gets none."""
    transport = Transport(proxy.url, "us-west-1", connections=1, api="DynamoDB_20120810", read_timeout=patience)
    try:
        status, _, raw = transport.post(Keys().frozen(), operation, json.dumps({"TableName": TABLE, **body}).encode())
    except Again:
        return None
    return status, bytes(raw)


ITEM = {"Item": {"id": {"S": "a"}}}
PAGE = b"<html>a page of something in between</html>"


@pytest.mark.parametrize(
    ("fault", "operation", "body", "got", "lands"),
    [
        ("lost", "PutItem", ITEM, None, True),
        ("cut", "PutItem", ITEM, None, True),
        ("late", "PutItem", ITEM, None, True),
        ("empty", "Scan", {}, (200, b"{}"), False),
        ("status", "PutItem", ITEM, (413, PAGE), False),
    ],
)
def test_a_reply_goes_wrong_so_many_times_for_each_request(fault, operation, body, got, lands, proxy):
    late = fault == "late"
    hit = proxy(**{fault: {"times": 2, **({"seconds": 0.3} if late else {})}})
    assert post(hit, operation, 0.2 if late else 10.0, **body) == got
    assert (ask(hit, "DescribeTable", TableName=TABLE)[0], hit.seen[fault]) == (200, 1 + (fault == "empty"))
    assert bool(hit.engine.content(TABLE)) == lands
    post(hit, operation, **body)
    assert post(hit, operation, **body)[0] == 200


def test_statuses_come_by_turns(proxy):
    """Whatever a DynamoDB, or something before it, may answer."""
    hit = proxy(status={"times": 5})
    found = [post(hit, "PutItem", **ITEM) for _ in range(6)]
    assert [status for status, _ in found] == [413, 400, 413, 500, 403, 200]
    assert [b"__type" in raw for _, raw in found] == [False, False, True, True, False, False]


def test_which_requests_are_hit_depends_on_seed_and_number_alone(proxy):
    """Half of them, the same ones again; others with another seed."""

    def hit(seed):
        half = proxy(empty={"rate": 0.5, "seed": seed})
        return [ask(half, "Scan", TableName=TABLE, Limit=n)[1] == {} for n in range(1, 31)]

    assert hit(1) == hit(1) != hit(2)
    assert 5 < sum(hit(1)) < 25


def test_a_request_arrives_twice(proxy):
    """And the client gets what became of the second."""
    twice = proxy(doubled=True)
    assert batch(twice, "a")[1]["Responses"][0]["Error"]["Code"] == "DuplicateItem"


def test_two_requests_under_way_get_each_others_replies(proxy):
    """One that is alone gets its own."""
    swapping = proxy(swapped={"wait": 5.0, "operations": ["GetItem"]})
    for key in "ab":
        put(swapping, key)
    with ThreadPoolExecutor(2) as pool:
        got = list(pool.map(lambda key: ask(swapping, "GetItem", TableName=TABLE, Key={"id": {"S": key}})[1], "ab"))
    assert [content["Item"]["id"]["S"] for content in got] == ["b", "a"]
    assert swapping.seen == {"swapped": 2}
    alone = proxy(swapped={"wait": 0.01})
    assert put(alone, "a") == (200, {})
    assert not alone.seen


ASKED, OTHER = {"id": {"S": "asked"}}, {"id": {"S": "other"}}


@pytest.mark.parametrize(
    ("answer", "work"),
    [
        (reply({"Responses": {TABLE: [OTHER]}}), lambda wire: wire.get_many(TABLE, [ASKED])),
        (reply({"Attributes": OTHER}), lambda wire: wire.delete_if(TABLE, ASKED, [("id", ASKED["id"])])),
        (error("ConditionalCheckFailedException", Item=OTHER), lambda wire: wire.put_new(TABLE, ASKED, "id")),
        (
            error("ConditionalCheckFailedException", Item=OTHER),
            lambda wire: wire.delete_if(TABLE, ASKED, [("id", ASKED["id"])]),
        ),
        (reply({"Item": OTHER}), lambda wire: wire.get(TABLE, ASKED)),
        (reply({"Attributes": {"id": {"N": "1"}}}), lambda wire: wire.delete_if(TABLE, {"id": {"N": "2"}}, [])),
    ],
    ids=["read", "delete", "insert", "kept", "get", "number"],
)
def test_a_reply_about_another_item_is_nobodys_answer(answer, work):
    """A wrong item read makes one's own be taken for absent, one deleted be put back, one refused a conflict."""
    stub = Stub()
    stub.script = [answer]
    with pytest.raises(Interrupted):
        work(make(stub))
    stub.close()


def test_the_sort_key_tells_items_apart():
    """All of a table may be one partition."""
    one, other = ({"PK": {"S": "LEAD"}, "SK": {"S": sort}} for sort in "ab")
    stub = Stub()
    stub.script = [
        error("ConditionalCheckFailedException", Item=other),
        error("ConditionalCheckFailedException", Item=one),
    ]
    wire = make(stub)
    (there,) = wire.insert_many(TABLE, [one], ("PK", "SK"))
    assert isinstance(there, MaybeOurs)
    assert there == one
    stub.close()


def test_an_insert_that_got_anothers_reply_is_looked_at():
    """The other one's showed its item: it was the refused one, so what is there is not ours."""
    there, new = ASKED | {"v": {"S": "theirs"}}, OTHER
    stub = Stub()
    refusals = [error("ConditionalCheckFailedException", Item=there)]

    def answer(body):
        if "Statements" in body:
            return error("UnknownOperationException")
        if "RequestItems" in body:
            return reply({"Responses": {TABLE: [there]}, "UnprocessedKeys": {}})
        return refusals.pop() if body["Item"] == new and refusals else reply({})

    stub.script = [answer]
    assert make(stub).insert_many(TABLE, [ASKED, new], ("id",)) == [there, None]
    stub.close()


def test_two_refusals_that_change_places_make_nobodys_item_ours():
    """Each showed the other's item, so both were refused at their first attempt; equal or not, the items are not ours."""
    stub, first = Stub(), {"asked": OTHER, "other": ASKED}

    def answer(body):
        if "Statements" in body:
            return error("UnknownOperationException")
        item = body["Item"]
        return error("ConditionalCheckFailedException", Item=first.pop(item["id"]["S"], item))

    stub.script = [answer]
    found = make(stub).insert_many(TABLE, [ASKED, OTHER], ("id",))
    assert found == [ASKED, OTHER]
    assert not any(isinstance(one, MaybeOurs) for one in found)
    stub.close()


def test_a_delete_that_got_anothers_refusal_is_tried_again():
    """A refusal without an item may be about one that is gone; this one is there, as the condition says."""
    stub = Stub()
    found = reply({"Responses": {TABLE: [ASKED]}, "UnprocessedKeys": {}})
    stub.script = [error("ConditionalCheckFailedException"), found, reply({"Attributes": ASKED})]
    assert make(stub).delete_if(TABLE, ASKED, [("id", ASKED["id"])]) == ASKED
    stub.script = [error("ConditionalCheckFailedException"), found]
    with pytest.raises(ConditionFailed):  # at once: it was edited
        make(stub).delete_if(TABLE, ASKED, [("id", ASKED["id"]), ("v", {"S": "before"})])
    assert len(stub.requests) == 5
    stub.close()
