"""Wire against a stub endpoint that answers as scripted: what is retried, what is raised, what is sent."""

import pickle
import random
import re
import socket
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from decimal import Decimal
from email.utils import formatdate

import orjson
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from support_pace import overall
from support_wire import (
    CANARY,
    GOOD,
    HANG_UP,
    HTTP_1_0,
    ITEM,
    REFUSED_BARE,
    REFUSED_WITH_ITEM,
    RESET,
    THROTTLED,
    TRUNCATED,
    Keys,
    Stub,
    error,
    make,
    operations,
    reply,
)

from runbook_lib.dynamo import errors as faults
from runbook_lib.dynamo.items import Wire
from runbook_lib.dynamo.rate_limiter import RateLimiter
from runbook_lib.errors import ConditionFailed, DynamoError, Interrupted


@pytest.fixture
def stub():
    server = Stub()
    yield server
    server.close()


@pytest.fixture
def wire(stub):
    return make(stub)


# Retries


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(THROTTLED, id="throttled"),
        pytest.param(error("ThrottlingException"), id="throttling"),
        pytest.param(error("RequestLimitExceeded"), id="account-limit"),
        pytest.param(error("InternalServerError", 500), id="500"),
        pytest.param(reply({}, 503, raw=b"<html>busy</html>"), id="503-html"),
        pytest.param(error("TransactionConflictException"), id="conflict-with-a-transaction"),
        pytest.param(HANG_UP, id="hang-up"),
        pytest.param(RESET, id="reset"),
        pytest.param(TRUNCATED, id="truncated"),
        pytest.param(reply({}, raw=b'{"Item": {"id": {"S": "\xff\xfe"}}}'), id="no-utf8"),
        pytest.param(reply({}, raw=b'{"Item": {"id"'), id="cut-json"),
        pytest.param(reply({}, raw=b"[]"), id="no-object"),
        pytest.param(reply({"Item": {"id": {"S": "other"}}}, crc=1), id="wrong-checksum"),
        pytest.param(reply({}, 400, raw=b"garbage"), id="400-garbage"),
        pytest.param(reply({"__type": "x#Condi\u0001"}, 400), id="garbled-code"),
        pytest.param(reply({}, 413, raw=b"<html>too large</html>"), id="413-html"),
        pytest.param(error("RequestEntityTooLargeException", 413), id="413-of-a-gateway"),
        pytest.param(reply({"message": "Forbidden"}, 403), id="403-without-a-type"),
        pytest.param(error("SomethingNewException"), id="unknown-code"),
        pytest.param(reply({"Item": []}), id="an-item-that-is-none"),
        pytest.param(reply({"Item": {}}), id="an-item-without-its-key"),
    ],
)
def test_a_passing_fault_is_retried(stub, wire, fault):
    """A fault that passes costs one more request, and the caller sees only the good reply."""
    stub.script = [fault, GOOD]
    assert wire.get("T", {"id": {"S": "a"}}) == ITEM
    assert operations(stub) == ["GetItem", "GetItem"]
    assert wire.retries.total() == 1
    assert CANARY not in str(wire.retries)


def test_a_late_reply_is_retried(stub):
    """A reply that does not come within the read timeout counts as lost."""
    done = threading.Event()
    stub.script = [lambda body: done.wait(60) and GOOD, GOOD]
    wire = make(stub, read_timeout=0.1)
    assert wire.get("T", {"id": {"S": "a"}}) == ITEM
    done.set()
    assert set(wire.retries) == {"no reply in time"}  # once, or more often where the machine is slow


@pytest.mark.parametrize(
    ("fault", "reason"),
    [(THROTTLED, "ProvisionedThroughputExceededException"), (HANG_UP, "the connection broke"), (TRUNCATED, "cut off")],
)
def test_an_exhausted_budget_interrupts(stub, fault, reason):
    """After the last attempt: Interrupted, naming side, operation, table and the last reason, without a value."""
    stub.script = [fault]
    with pytest.raises(
        Interrupted, match=rf"target: PutItem on T: gave up after 4 attempts.*{reason}[^;]*\.$"
    ) as raised:
        make(stub, attempts=4).put_new("T", ITEM, "id")
    assert len(stub.requests) == 4
    assert CANARY not in "".join(traceback.format_exception(raised.value))


def test_a_closed_port_interrupts():
    """An endpoint that is gone is Interrupted as well: the run can be resumed."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # held, so that nobody else listens there
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(Interrupted, match="the endpoint refuses connections"):
            Wire(url, "us-west-1", Keys(), base_delay=0.001, attempts=3).get("T", {"id": {"S": "a"}})


def test_a_stopping_run_does_not_go_on_trying(stub):
    """Once the run stops, the first failed attempt is the last."""
    stub.script = [THROTTLED]
    limiter = RateLimiter()
    limiter.stopping.set()
    with pytest.raises(Interrupted):
        make(stub, limiter=limiter).get("T", {"id": {"S": "a"}})
    assert len(stub.requests) == 1


def test_a_table_that_takes_others_requests_gets_more_patience(stub):
    """Throttled again and again while other requests go through: not given up after the first ten attempts."""

    def unlucky(body):
        if body["Key"]["id"]["S"] != "unlucky":
            return GOOD
        wire.get("T", {"id": {"S": "a"}})  # another one gets through meanwhile
        return THROTTLED

    stub.script = [unlucky]
    wire = make(stub, attempts=4)
    with pytest.raises(Interrupted, match="gave up after 12 attempts"):
        wire.get("T", {"id": {"S": "unlucky"}})


def test_throttling_slows_that_table_and_names_the_index(stub):
    """Throttling is passed on to the pace, under side and table, with the index that DynamoDB names."""
    arn = "arn:aws:dynamodb:us-west-1:123456789012:table/T/index/GSI1"
    reasons = [{"reason": "IndexWriteProvisionedThroughputExceeded", "resource": arn}]
    stub.script = [error("ProvisionedThroughputExceededException", ThrottlingReasons=reasons), GOOD]
    seen = []
    limiter = RateLimiter()
    limiter.refused = lambda table, reason, share: seen.append((table, reason, share))
    make(stub, limiter=limiter).get("T", {"id": {"S": "a"}})
    assert seen == [("target T", "IndexWriteProvisionedThroughputExceeded (table/T/index/GSI1)", 1.0)]


def test_lost_connections_do_not_slow(stub):
    """A lost reply is retried but says nothing about load. The report says that the request was sent again."""
    stub.script = [HANG_UP, GOOD]
    limiter = RateLimiter()
    limiter.refused = lambda *_: pytest.fail("slowed")
    make(stub, limiter=limiter).get("T", {"id": {"S": "a"}})
    assert [(one.name, one.refused, one.seconds) for one in limiter.slowdowns()] == [("target T", 1, 0.0)]


@pytest.mark.parametrize("code", ["AccessDeniedException", "SerializationException", "ValidationException"])
def test_a_permanent_refusal_is_raised_at_once(stub, wire, code):
    """No retry; the error has code, operation and table, and nothing of what the engine quotes."""
    stub.script = [error(code, message=f"The parameter cannot be converted to a numeric value: {CANARY}")]
    with pytest.raises(DynamoError, match=f"target: PutItem on T was refused: {code}") as raised:
        wire.put_new("T", ITEM, "id")
    assert (raised.value.code, raised.value.operation, raised.value.table) == (code, "PutItem", "T")
    assert len(stub.requests) == 1
    assert CANARY not in "".join(traceback.format_exception(raised.value)) + raised.value.message


@pytest.mark.parametrize(
    "sentence",
    [
        "Item size has exceeded the maximum allowed size",
        "Missing the key id in the item",
        "Type mismatch for key id expected: S actual: N",
        "not authorized to perform: dynamodb:PutItem on resource: arn:aws:dynamodb:us-west-1:123456789012:table/T",
    ],
)
def test_what_helps_and_holds_no_value_is_passed_on(stub, wire, sentence):
    """Known sentences about sizes, names and types reach the user; what stands around them does not."""
    stub.script = [error("ValidationException", message=f"One or more {CANARY}: {sentence} {CANARY}")]
    with pytest.raises(DynamoError) as raised:
        wire.put_new("T", ITEM, "id")
    assert raised.value.message == sentence
    assert CANARY not in str(raised.value)


def test_errors_survive_pickling():
    """An error crosses a process border with its attributes."""
    copy = pickle.loads(pickle.dumps(ConditionFailed("text", "code", "message", "PutItem", "T", "id")))
    assert (str(copy), copy.code, copy.table, copy.item) == ("text", "code", "T", None)


# Credentials and signatures


def test_an_expired_token_is_renewed_once(stub):
    """The retry is signed anew, with the new token."""
    stub.script = [error("ExpiredTokenException"), GOOD]
    make(stub, Keys(ReadOnlyCredentials("AKID2", "secret", "token-1"))).get("T", {"id": {"S": "a"}})
    assert [headers["x-amz-security-token"] for headers in stub.headers] == ["token-0", "token-1"]
    assert "AKID2" in stub.headers[1]["authorization"]


@pytest.mark.parametrize("spare", [(), (ReadOnlyCredentials("AKID2", "secret", "token-1"),)])
def test_an_expired_token_that_stays_expired_interrupts(stub, spare):
    """Without other credentials, or with others that are expired too: Interrupted, no storm of requests."""
    stub.script = [error("ExpiredTokenException")]
    with pytest.raises(Interrupted, match=r"have expired; renew them\.$"):
        make(stub, Keys(*spare)).get("T", {"id": {"S": "a"}})
    assert len(stub.requests) == 1 + len(spare)


def test_a_wrong_clock_is_explained(stub, wire):
    """A refused signature is not retried; the reply's date tells that the clock is off."""
    date = f"Date: {formatdate(time.time() - 3600, usegmt=True)}\r\n"
    stub.script = [error("InvalidSignatureException", headers=date)]
    with pytest.raises(
        Interrupted, match=r"InvalidSignatureException\); this machine's clock is 3[56]\d\d seconds fast"
    ):
        wire.get("T", {"id": {"S": "a"}})
    assert len(stub.requests) == 1


@pytest.mark.parametrize("token", [None, "token-0"])
def test_the_signature_is_botocores(stub, token):
    """What arrives carries the signature that botocore computes for such a request."""
    keys = Keys()
    keys.now = ReadOnlyCredentials("AKID", "secret", token)
    make(stub, keys).put_new("T", {"id": {"S": "ü"}}, "id")
    got = stub.headers[0]
    signed = got["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    assert {"host", "x-amz-date", "x-amz-target", "content-type"} <= set(signed)
    request = AWSRequest("POST", stub.url, {name: got[name] for name in signed}, orjson.dumps(stub.requests[0][1]))
    request.context["timestamp"] = got["x-amz-date"]
    signer = SigV4Auth(keys.now, "dynamodb", "us-west-1")
    signature = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    assert got["authorization"].endswith(f"Signature={signature}")
    assert got["user-agent"] == "runbook"


# Connections


def test_connections_are_kept(stub, wire):
    """One caller needs one connection."""
    for _ in range(5):
        wire.get("T", {"id": {"S": "a"}})
    assert stub.connections == 1


def test_a_server_that_closes_each_connection_is_no_fault(stub, wire):
    """HTTP/1.0 without keep-alive: a new connection each time, and no retry."""
    stub.script = [HTTP_1_0]
    for _ in range(5):
        assert wire.get("T", {"id": {"S": "a"}}) == ITEM
    assert stub.connections == 5
    assert wire.retries.total() == 0


def test_workers_bound_what_is_in_flight(stub):
    """However many threads call, no more than `workers` requests are under way."""
    flying, most, lock, full = [], [], threading.Lock(), threading.Event()

    def slow(_):
        with lock:
            flying.append(1)
            most.append(len(flying))
            if len(flying) == 3:
                full.set()
        full.wait(60)
        time.sleep(0.02)  # for one too many to come in
        with lock:
            flying.pop()
        return GOOD

    stub.script = [slow]
    wire = make(stub, workers=3)
    threads = [threading.Thread(target=wire.get, args=("T", {"id": {"S": "a"}})) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 12
    assert max(most) == 3


def test_a_proxy_gets_the_whole_address(stub, monkeypatch):
    """HTTP_PROXY and NO_PROXY count, as for botocore."""
    monkeypatch.setenv("HTTP_PROXY", stub.url)
    monkeypatch.setenv("NO_PROXY", "")
    assert Wire("http://dynamo.invalid:8000", "r", Keys(), attempts=1).get("T", {"id": {"S": "a"}}) == ITEM
    assert stub.headers[0]["host"] == "dynamo.invalid:8000"
    monkeypatch.setenv("NO_PROXY", "dynamo.invalid")
    with pytest.raises(Interrupted, match="name cannot be resolved"):
        Wire("http://dynamo.invalid:8000", "r", Keys(), attempts=1).get("T", {"id": {"S": "a"}})


def test_the_source_cannot_be_written(stub):
    """A wire that is read only refuses before anything is sent."""
    wire = make(stub, read_only=True)
    with pytest.raises(AssertionError):
        wire.put_new("T", ITEM, "id")
    with pytest.raises(AssertionError):
        wire.delete_if("T", {"id": {"S": "a"}}, [])
    assert stub.requests == []


# put_new


def test_put_new_never_overwrites(stub, wire):
    """The one put is on the condition that the key is absent, and asks for what is there."""
    stub.script = [reply({})]
    assert wire.put_new("T", ITEM, "id") is None
    ((operation, body),) = stub.requests
    assert operation == "PutItem"
    assert body == {
        "TableName": "T",
        "Item": ITEM,
        "ConditionExpression": "attribute_not_exists(#k)",
        "ExpressionAttributeNames": {"#k": "id"},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


def test_put_new_returns_what_is_there(stub, wire):
    """A refused put costs no further read where the engine sends the item."""
    stub.script = [REFUSED_WITH_ITEM]
    assert wire.put_new("T", {"id": {"S": "a"}}, "id") == ITEM
    assert operations(stub) == ["PutItem"]


def test_put_new_after_a_lost_reply(stub, wire):
    """The insert landed, the reply was lost: the retry is refused, and the caller gets its own item to compare."""
    stub.script = [HANG_UP, REFUSED_WITH_ITEM]
    assert wire.put_new("T", ITEM, "id") == ITEM
    assert operations(stub) == ["PutItem", "PutItem"]


def test_no_insert_is_lost_or_doubled_when_replies_are(stub):
    """Of 400 inserts by 8 threads every third loses its request or its reply; each ends with its item stored once."""
    stored, lock, dice = {}, threading.Lock(), random.Random(7)

    def table(body):
        key = body["Item"]["id"]["S"]
        with lock:
            fate = dice.random()
            if fate < 0.15:
                return RESET  # before the commit
            there = stored.setdefault(key, body["Item"])
            if fate < 0.30:
                return HANG_UP  # after it
            known = there is not body["Item"]
            return error("ConditionalCheckFailedException", Item=there) if known else reply({})

    stub.script = [table]
    wire = make(stub, attempts=30)
    items = [{"id": {"S": f"{n}"}, "v": {"N": f"{n}"}} for n in range(400)]
    with ThreadPoolExecutor(8) as pool:
        held = list(pool.map(lambda item: wire.put_new("T", item, "id"), items))
    assert all(there in (None, item) for there, item in zip(held, items, strict=True))
    assert sorted(stored.values(), key=lambda item: int(item["v"]["N"])) == items
    assert wire.retries.total() > 100
    assert any(held)


def described(status="ACTIVE", **key):
    """What DescribeTable says of a table."""
    return {
        "TableName": "T",
        "TableStatus": status,
        "KeySchema": [{"AttributeName": n, "KeyType": k} for n, k in zip(key, ("HASH", "RANGE"), strict=False)],
        "AttributeDefinitions": [{"AttributeName": n, "AttributeType": letter} for n, letter in key.items()],
    }


def test_put_new_reads_where_the_engine_does_not_tell(stub, wire):
    """Without the item in the refusal it is read, consistently and by its whole key; the schema is asked for once."""
    item = {"PK": {"S": "a"}, "SK": {"N": "1"}, "x": {"S": CANARY}}
    schema = {"Table": described(PK="S", SK="N")}
    found = reply({"Item": item})
    stub.script = [REFUSED_BARE, reply(schema), found, REFUSED_BARE, found]
    assert wire.put_new("T", item, "PK") == item
    assert wire.put_new("T", item, "PK") == item
    assert operations(stub) == ["PutItem", "DescribeTable", "GetItem", "PutItem", "GetItem"]
    assert stub.requests[2][1] == {
        "TableName": "T",
        "Key": {"PK": {"S": "a"}, "SK": {"N": "1"}},
        "ConsistentRead": True,
    }


def test_put_new_tries_again_when_the_item_has_vanished(stub, wire):
    """Refused, but nothing there on reading: somebody deleted it; the put is tried again."""
    schema = {"Table": described(id="S")}
    stub.script = [REFUSED_BARE, reply(schema), reply({}), reply({})]
    assert wire.put_new("T", ITEM, "id") is None
    assert operations(stub) == ["PutItem", "DescribeTable", "GetItem", "PutItem"]


def test_put_new_gives_up_on_an_item_that_comes_and_goes(stub, wire):
    """Bounded: after a few rounds ConditionFailed, without a value in its text."""
    schema = reply({"Table": described(id="S")})

    def answer(body):
        return REFUSED_BARE if "Item" in body else reply({}) if "Key" in body else schema

    stub.script = [answer]
    with pytest.raises(ConditionFailed) as raised:
        wire.put_new("T", ITEM, "id")
    assert operations(stub).count("PutItem") == 5
    assert CANARY not in "".join(traceback.format_exception(raised.value))


# delete_if


def test_delete_if_deletes_on_all_conditions(stub, wire):
    """Each attribute must still have its value; what was deleted comes back."""
    stub.script = [reply({"Attributes": ITEM})]
    assert wire.delete_if("T", {"id": {"S": "a"}}, [("id", {"S": "a"}), ("size", {"N": "1"})]) == ITEM
    assert stub.requests[0][1] == {
        "TableName": "T",
        "Key": {"id": {"S": "a"}},
        "ReturnValues": "ALL_OLD",
        "ConditionExpression": "#a0 = :v0 AND #a1 = :v1",
        "ExpressionAttributeNames": {"#a0": "id", "#a1": "size"},
        "ExpressionAttributeValues": {":v0": {"S": "a"}, ":v1": {"N": "1"}},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


NOTHING = reply({"Responses": {"T": []}, "UnprocessedKeys": {}})
READ = reply({"Responses": {"T": [ITEM]}, "UnprocessedKeys": {}})


@pytest.mark.parametrize(
    "script",
    [[REFUSED_WITH_ITEM], [REFUSED_BARE, READ], [reply({}), REFUSED_BARE, reply({}), READ]],
    ids=["told", "read", "damaged"],
)
def test_delete_if_keeps_what_changed(stub, wire, script):
    """A changed item raises with the item as an attribute; no value gets into text, repr or traceback."""
    stub.script = script
    with pytest.raises(ConditionFailed) as raised:
        wire.delete_if("T", {"id": {"S": "a"}}, [("id", {"S": "b"})])
    assert raised.value.item == ITEM
    assert CANARY not in repr(raised.value) + "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize(
    "script",
    [
        [REFUSED_BARE, NOTHING],
        [HANG_UP, REFUSED_BARE, NOTHING],
        [reply({}), REFUSED_BARE, NOTHING],
        [REFUSED_BARE, reply({}), NOTHING],
    ],
    ids=["condition", "lost-reply", "damaged", "damaged-look"],
)
def test_delete_if_counts_absent_as_done(stub, wire, script):
    """What is not there needs no delete; that includes our own delete whose reply was lost, or said nothing."""
    stub.script = [*script]
    assert wire.delete_if("T", {"id": {"S": "a"}}, [("id", {"S": "a"})]) is None
    assert len(stub.requests) == len(script)


# get_many


def table_of(count, *, skip=()):
    """A stub's answer to BatchGetItem: the items with numbers below `count`, in reverse order."""

    def answer(body):
        keys = body["RequestItems"]["T"]["Keys"]
        assert len(keys) <= 100
        assert body["RequestItems"]["T"]["ConsistentRead"]
        items = [
            number(value(key)) | {"v": {"S": "x"}}
            for key in reversed(keys)
            if value(key) < count and value(key) not in skip
        ]
        return reply({"Responses": {"T": items}, "UnprocessedKeys": {}})

    return answer


def number(n):
    return {"n": {"N": str(n)}}


def value(key):
    return int(Decimal(key["n"]["N"]))


def test_get_many_returns_items_in_the_order_of_the_keys(stub, wire):
    """250 keys in three requests; None where there is no item."""
    stub.script = [table_of(250, skip={7})]
    told = []
    found = wire.get_many("T", [number(n) for n in range(250)], lambda *numbers: told.append(numbers))
    assert told == [(100, 99), (100, 100), (50, 50)]
    assert [item and int(item["n"]["N"]) for item in found] == [None if n == 7 else n for n in range(250)]
    assert [len(body["RequestItems"]["T"]["Keys"]) for _, body in stub.requests] == [100, 100, 50]


def test_get_many_asks_for_each_key_once(stub, wire):
    """Equal keys, also numbers written differently, are one key; each place gets the item."""
    stub.script = [table_of(10)]
    found = wire.get_many("T", [number(1), number("1.0"), number("10e-1"), number(2)])
    assert [item["n"]["N"] for item in found] == ["1", "1", "1", "2"]
    assert len(stub.requests[0][1]["RequestItems"]["T"]["Keys"]) == 2


OTHERS = "arn:aws:dynamodb:us-west-1:111122223333:table/T"


@pytest.mark.parametrize("named", ["T", OTHERS])
def test_get_many_by_an_arn_takes_the_answer_under_either_name(stub, wire, named):
    """Also what was left over; and no batch of inserts is tried where PartiQL does not reach."""

    def one(body):
        (key, *left) = body["RequestItems"][OTHERS]["Keys"]
        over = {"UnprocessedKeys": {named: {"Keys": left}}} if left else {}
        return reply({"Responses": {named: [key]}, **over})

    stub.script = [one]
    keys = [number(n) for n in range(3)]
    assert wire.get_many(OTHERS, keys) == keys
    assert len(stub.requests) == 3
    assert "PartiQL does not reach" in wire.why_single(OTHERS, ("n",))
    assert len(stub.requests) == 3


def test_get_many_of_nothing_asks_nothing(stub, wire):
    """No keys, no request."""
    assert wire.get_many("T", []) == []
    assert stub.requests == []


def test_get_many_asks_again_for_what_was_left_over(stub, wire):
    """UnprocessedKeys (a reply full at 16 MB) come without an error; they are asked for until all have come."""

    def some(body):
        keys = body["RequestItems"]["T"]["Keys"]
        content = {"Responses": {"T": keys[:40]}}
        if keys[40:]:
            content["UnprocessedKeys"] = {"T": {"Keys": keys[40:], "ConsistentRead": True}}
        return reply(content)

    stub.script = [some]
    keys = [number(n) for n in range(130)]
    told = []
    assert wire.get_many("T", keys, lambda *numbers: told.append(numbers)) == keys
    assert told == [(40, 40)] * 3 + [(10, 10)]
    assert wire.retries.total() == 0


def test_get_many_gives_up_when_nothing_comes(stub):
    """All keys unprocessed every time: bounded, and loud."""

    def none(body):
        return reply({"Responses": {}, "UnprocessedKeys": body["RequestItems"]})

    stub.script = [none]
    told = []
    with pytest.raises(Interrupted, match="BatchGetItem on T: gave up after 4 attempts.* processed none of the keys"):
        make(stub, attempts=4).get_many("T", [number(n) for n in range(3)], lambda *numbers: told.append(numbers))
    assert told == []
    assert len(stub.requests) == 4


# scan_page and query_pages


def test_scan_page_sends_what_was_asked(stub, wire):
    """Segment, limit, start key and projection; by default one consistent segment of everything."""
    last = {"id": {"S": "b"}}
    stub.script = [reply({"Items": [ITEM], "Count": 1, "LastEvaluatedKey": last}), reply({"Items": [], "Count": 0})]
    assert wire.scan_page("T") == ([ITEM], last)
    assert wire.scan_page("T", start=last, segment=2, segments=4, limit=5, attributes=["id", "a.b"]) == ([], None)
    assert [body for _, body in stub.requests] == [
        {"TableName": "T", "ConsistentRead": True},
        {
            "TableName": "T",
            "ConsistentRead": True,
            "ExclusiveStartKey": last,
            "Segment": 2,
            "TotalSegments": 4,
            "Limit": 5,
            "ProjectionExpression": "#a0,#a1",
            "ExpressionAttributeNames": {"#a0": "id", "#a1": "a.b"},
        },
    ]


LAST = {"id": {"S": "b"}}
DAMAGED_PAGES = {
    "empty": {},
    "null": {"Items": None},
    "text": {"Items": "x"},
    "texts": {"Items": ["x"]},
    "too-few": {"Items": [ITEM], "Count": 2},
    "no-key": {"Items": [], "LastEvaluatedKey": {}},
    "text-key": {"Items": [], "LastEvaluatedKey": "b"},
    "untyped-key": {"Items": [], "LastEvaluatedKey": {"id": "b"}},
    "same-key": {"Items": [], "LastEvaluatedKey": LAST},
    "other-key": {"Items": [], "LastEvaluatedKey": {"other": {"S": "c"}}},
}


@pytest.mark.parametrize("operation", ["Scan", "Query"])
@pytest.mark.parametrize("content", DAMAGED_PAGES.values(), ids=DAMAGED_PAGES)
def test_a_page_that_lacks_what_a_page_has_is_asked_for_again(stub, operation, content):
    """No item is silently lost, and no walk goes round in a circle: tried again; bounded, then Interrupted, without a value."""
    good = {"Items": [ITEM], "Count": 1}
    stub.script = [reply(content), reply(good)]
    wire = make(stub, attempts=3)

    def page():
        if operation == "Scan":
            return wire.scan_page("T", start=LAST)
        return next(wire.query_pages({"TableName": "T", "ExclusiveStartKey": LAST}))

    assert page() == ([ITEM], None)
    stub.script = [reply(content)]
    with pytest.raises(Interrupted, match=f"{operation} on T: gave up after 3 attempts; .*the reply lacks") as raised:
        page()
    assert CANARY not in str(raised.value)


KEYS = [{"n": {"N": str(n)}} for n in (1, 2)]
DAMAGED_READS = {
    "empty": {},
    "null": {"Responses": None, "UnprocessedKeys": {}},
    "other-table": {"Responses": {"U": KEYS}, "UnprocessedKeys": {}},
    "no-table": {"Responses": {}, "UnprocessedKeys": {}},
    "texts": {"Responses": {"T": ["x", "y"]}, "UnprocessedKeys": {}},
    "nothing-left-over": {"Responses": {"T": KEYS[:1]}},
    "null-left-over": {"Responses": {"T": KEYS[:1]}, "UnprocessedKeys": None},
    "texts-left-over": {"Responses": {"T": KEYS[:1]}, "UnprocessedKeys": {"T": {"Keys": ["x"]}}},
    "other-left-over": {"Responses": {"T": KEYS[:1]}, "UnprocessedKeys": {"T": {"Keys": [{"n": {"N": "3"}}]}}},
    "other-item": {"Responses": {"T": [{"n": {"N": "3"}}]}, "UnprocessedKeys": {}},
    "no-key": {"Responses": {"T": [{"m": {"N": "1"}}]}, "UnprocessedKeys": {}},
    "untyped": {"Responses": {"T": [{"n": "1"}]}, "UnprocessedKeys": {}},
}


@pytest.mark.parametrize("content", DAMAGED_READS.values(), ids=DAMAGED_READS)
def test_a_read_of_keys_that_does_not_answer_for_each_is_asked_again(stub, content):
    """Nothing counts as missing for a reply that does not say so: tried again; bounded, then Interrupted."""
    stub.script = [reply(content), reply({"Responses": {"T": KEYS[1:]}, "UnprocessedKeys": {}})]
    wire = make(stub, attempts=3)
    assert wire.get_many("T", KEYS) == [None, KEYS[1]]
    stub.script = [reply(content)]
    with pytest.raises(Interrupted, match="BatchGetItem on T: gave up after 3 attempts"):
        wire.get_many("T", KEYS)


def test_a_description_without_its_key_is_asked_for_again(stub, wire):
    """Where the item that has the key is to be read, and the engine did not send it."""
    stub.script = [
        REFUSED_BARE,
        reply({}),
        reply({"Table": {"TableStatus": "ACTIVE"}}),
        reply({"Table": described(id="S")}),
        GOOD,
    ]
    assert wire.put_new("T", ITEM, "id") == ITEM
    assert operations(stub) == ["PutItem", *["DescribeTable"] * 3, "GetItem"]


# A table that is not found


GONE = error("ResourceNotFoundException", message="Requested resource not found")


@pytest.fixture
def no_new_tables(monkeypatch):
    monkeypatch.setattr(faults, "_new", {})


def test_a_table_that_describe_table_knows_is_asked_again(stub, wire, no_new_tables):
    """Some hosts do not know it yet: not lost, tried again."""
    stub.script = [GONE, reply({"Table": described(id="S")}), GONE, THROTTLED, GOOD]
    assert wire.get("T", {"id": {"S": "a"}}) == ITEM
    assert operations(stub) == ["GetItem", "DescribeTable"] * 2 + ["GetItem"]


@pytest.mark.parametrize(
    "answer",
    [GONE, reply({"Table": {"TableName": "T", "TableStatus": "DELETING"}}), error("AccessDeniedException")],
    ids=["gone", "deleting", "denied"],
)
def test_a_table_that_describe_table_does_not_know_is_lost(stub, wire, no_new_tables, answer):
    """At once; and where nobody may ask, the refusal counts."""
    stub.script = [GONE, answer]
    with pytest.raises(DynamoError) as raised:
        wire.get("T", {"id": {"S": "a"}})
    assert raised.value.code == "ResourceNotFoundException"
    assert len(stub.requests) == 2


def test_a_table_that_is_there_and_never_found_interrupts(stub, no_new_tables):
    """Bounded by the time that a new table needs, however many attempts that is."""
    clock = Clock()
    stub.script = [lambda body: GONE if "Key" in body else reply({"Table": described(id="S")})]
    wire = make(stub, attempts=3, max_delay=5, limiter=RateLimiter(clock=clock, sleep=clock.sleep))
    wire._base_delay = 5
    with pytest.raises(Interrupted, match="ResourceNotFoundException, although the table is there"):
        wire.get("T", {"id": {"S": "a"}})
    assert 60 <= clock.now < 70
    assert len(stub.requests) > 6


def test_a_table_of_this_run_is_new_for_a_minute(stub, wire, no_new_tables):
    """Whatever DescribeTable says meanwhile; a table that the run deleted itself is not new any more."""
    faults.note_active(wire.address, "T")
    stub.script = [GONE, GONE, GOOD]
    assert wire.get("T", {"id": {"S": "a"}}) == ITEM
    assert operations(stub) == ["GetItem"] * 3
    faults.note_deleted(wire.address, "T")
    faults.note_active(wire.address, "T", age=60)
    stub.script = [GONE]
    with pytest.raises(DynamoError):
        wire.get("T", {"id": {"S": "a"}})


@pytest.mark.parametrize("other", ["region", "endpoint"])
def test_a_new_table_is_new_at_its_own_address(stub, wire, no_new_tables, other):
    """Where one of the same name is missing elsewhere, that is said at once."""
    endpoint, region = wire.address
    faults.note_active((endpoint, "elsewhere") if other == "region" else ("http://elsewhere", region), "T")
    stub.script = [GONE]
    with pytest.raises(DynamoError) as raised:
        wire.get("T", {"id": {"S": "a"}})
    assert raised.value.not_found
    assert operations(stub) == ["GetItem", "DescribeTable"]


# Patience


class Clock:
    """Time that passes only when somebody sleeps."""

    now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def patient(stub, clock, **options):
    limiter = RateLimiter(patience=600, clock=clock, sleep=clock.sleep)
    wire = make(stub, limiter=limiter, **{"attempts": 4} | options)
    wire._base_delay = 5
    return wire, limiter


@pytest.mark.parametrize("fault", [THROTTLED, error("InternalServerError", 500)], ids=["throttled", "500"])
@pytest.mark.parametrize("reads", ["get", "get_many"])
def test_throttling_and_5xx_are_waited_for(stub, fault, reads):
    """For the patience, whatever the attempts; meanwhile the limiter says what is waited for, since when, and why."""
    clock, seen = Clock(), []
    wire, limiter = patient(stub, clock)
    limiter.on_wait = lambda: seen.extend(limiter.slowed()) if clock.now > 200 else None
    stub.script = [lambda body: fault if clock.now < 300 else GOOD if reads == "get" else READ]
    key = {"id": {"S": "a"}}
    assert (wire.get("T", key) if reads == "get" else wire.get_many("T", [key])[0]) == ITEM
    assert 300 <= clock.now < 320
    assert re.fullmatch(
        r"target T: nothing accepted for 3:\d\d because of \w+; waiting up to 10:00 .limits.patience.", seen[0]
    )
    assert not any("nothing accepted" in line for line in limiter.slowed())
    stub.script = [fault]
    with pytest.raises(
        Interrupted, match=r"on T: gave up after \d+ attempts in 60\d seconds .limits.patience.; the last one [^;]*\.$"
    ):
        wire.get_many("T", [key])
    assert 900 <= clock.now < 930


def test_keys_that_are_left_over_are_waited_for(stub):
    """UnprocessedKeys are throttling."""
    clock = Clock()
    wire, limiter = patient(stub, clock)
    none = lambda body: reply({"Responses": {"T": []}, "UnprocessedKeys": body["RequestItems"]})  # noqa: E731
    seen = []
    limiter.on_wait = lambda: seen.extend(limiter.slowed())
    stub.script = [lambda body: none(body) if clock.now < 300 else READ]
    assert wire.get_many("T", [{"id": {"S": "a"}}]) == [ITEM]
    assert 300 <= clock.now < 320
    assert "target T: nothing accepted for 0:1" in seen[0]


@pytest.mark.parametrize("fault", [HANG_UP, reply({}, 400, raw=b"garbage"), error("SomethingNew")])
def test_other_faults_are_not_waited_for(stub, fault):
    """Attempts alone bound them, also where throttling came before."""
    clock = Clock()
    wire, _ = patient(stub, clock)
    stub.script = [THROTTLED] * 10 + [fault]
    with pytest.raises(Interrupted, match="gave up after 14 attempts; "):
        wire.get("T", {"id": {"S": "a"}})
    assert clock.now < 70


@pytest.mark.parametrize("end", ["stopping", "ending", "raised"])
def test_waiting_ends_where_the_run_does(stub, end):
    """By stopping, by the end of a walk that waits for this request, and by what `on_wait` raises."""
    clock, stack = Clock(), ExitStack()
    wire, limiter = patient(stub, clock)

    def asked(body):
        if clock.now > 100:
            if end == "stopping":
                limiter.stopping.set()
            elif end == "ending":
                stack.enter_context(limiter.ending())
            else:
                limiter.on_wait = stop
        return THROTTLED

    def stop():
        raise Interrupted("stop was requested")

    stub.script = [asked]
    with stack, pytest.raises(Interrupted):
        wire.get("T", {"id": {"S": "a"}})
    assert 100 < clock.now < 112
    assert limiter.is_patient == (end != "stopping")


# Missing rights


ARN = "arn:aws:dynamodb:us-west-1:123456789012:table/T"
ROLE = "arn:aws:sts::123456789012:assumed-role/writer/runbook"
KEY = "arn:aws:kms:us-west-1:123456789012:key/5b40e09a-d91a-4e01-8216-4ddfbfa93000"
KMS = "KMS key access denied error: com.amazonaws.services.kms.model.AWSKMSException: "


@pytest.mark.parametrize(
    ("said", "allow"),
    [
        (
            f"User: {ROLE} is not authorized to perform: dynamodb:PutItem on resource: {ARN} because no identity-based "
            "policy allows the dynamodb:PutItem action",
            f"allow dynamodb:PutItem on {ARN} for {ROLE}.",
        ),
        (
            f"User: {ROLE} is not authorized to perform: dynamodb:PutItem on resource: {ARN} with an explicit deny in a "
            "service control policy",
            f"allow dynamodb:PutItem on {ARN} for {ROLE}; a policy denies it explicitly.",
        ),
        (
            f"{KMS}User: {ROLE} is not authorized to perform: kms:Decrypt on resource: {KEY} because no resource-based",
            f"allow kms:Decrypt on the key {KEY} for {ROLE}, in its policy and in the key's.",
        ),
        (
            f"{KMS}The ciphertext refers to a customer master key that does not exist, (Service: AWSKMS; Status Code: 400)",
            "allow kms:Decrypt on the key of T for role-of-the-keys, in its policy and in the key's.",
        ),
        (f"about {CANARY}", "allow dynamodb:PutItem on T for role-of-the-keys."),
    ],
    ids=["iam", "deny", "kms", "kms-old", "unsaid"],
)
def test_a_missing_right_is_named_with_the_role_that_lacks_it(stub, said, allow):
    """Action, table or key, and role as DynamoDB says them; else what is known here. Never its text."""
    keys = Keys()
    keys.who = "role-of-the-keys"
    stub.script = [error("AccessDeniedException", message=said)]
    with pytest.raises(DynamoError) as raised:
        make(stub, keys).put_new("T", ITEM, "id")
    assert str(raised.value) == f"target: PutItem on T was refused: AccessDeniedException: {allow}"
    assert f"{raised.value.message}." == allow


def test_a_denial_in_xml_is_one(stub, wire):
    """As some gateways, and an engine with IAM, send it."""
    said = f"User: {ROLE} is not authorized to perform: dynamodb:Scan on resource: *"
    raw = f"<ErrorResponse><Errors><Error><Code>AccessDenied</Code><Message>{said}</Message></Error></Errors></ErrorResponse>"
    stub.script = [reply({}, 403, raw=raw.encode())]
    with pytest.raises(DynamoError, match=f"AccessDeniedException: allow dynamodb:Scan on T for {ROLE}"):
        wire.scan_page("T")


def test_query_pages_goes_on_through_empty_pages(stub, wire):
    """An empty page with a LastEvaluatedKey is not the end; the caller's body stays as it was."""
    last = {"id": {"S": "b"}}
    stub.script = [reply({"Items": [], "Count": 0, "LastEvaluatedKey": last}), reply({"Items": [ITEM], "Count": 1})]
    body = {"TableName": "T", "IndexName": "GSI1"}
    assert list(wire.query_pages(body)) == [([], last), ([ITEM], None)]
    assert body == {"TableName": "T", "IndexName": "GSI1"}
    assert stub.requests[1][1]["ExclusiveStartKey"] == last


# Budgets


def test_units_are_taken_from_the_budget(stub):
    """Reads by 4 KB of reply or number of keys, writes by 1 KB of request: never less than DynamoDB counts."""
    taken = []
    limiter = RateLimiter(overall(1, 1))
    limiter.wait_read = lambda units, table: taken.append(("read", units))
    limiter.wait_write = lambda units, table: taken.append(("write", units))
    wire = make(stub, limiter=limiter)
    big = {"id": {"S": "a"}, "x": {"S": "x" * 10_000}}
    stub.script = [
        *(reply({"Items": [big], "Count": 1}), table_of(30)),
        *(reply({}), reply({"Attributes": big}), REFUSED_WITH_ITEM),
    ]
    wire.scan_page("T")
    wire.get_many("T", [number(n) for n in range(30)])
    wire.put_new("T", big, "id")
    wire.delete_if("T", {"id": {"S": "a"}}, [])
    wire.put_new("T", big, "id")  # a refused put costs as much
    assert taken == [("read", 3), ("read", 30), ("write", 10), ("write", 10), ("write", 10)]


def test_units_are_those_that_the_reply_tells(stub):
    """With a budget each request asks for the units it takes, indexes included; they count, and not the bytes."""
    taken = []
    limiter = RateLimiter(overall(1, 1))
    limiter.wait_read = lambda units, table: taken.append(("read", units))
    limiter.wait_write = lambda units, table: taken.append(("write", units))
    wire = make(stub, limiter=limiter)
    told = {"ConsumedCapacity": {"TableName": "T", "CapacityUnits": 7.5}}
    stub.script = [
        reply({"Items": [], "Count": 0} | told),
        reply(
            {
                "Responses": {"T": []},
                "UnprocessedKeys": {},
                "ConsumedCapacity": [{"CapacityUnits": 2}, {"CapacityUnits": 0.5}],
            }
        ),
        reply(told),
        reply({"Items": [], "Count": 0, "ConsumedCapacity": {"CapacityUnits": 0}}),
    ]
    wire.scan_page("T")
    wire.get_many("T", [number(1)])
    wire.put_new("T", ITEM, "id")
    wire.scan_page("T")
    assert taken == [("read", 7.5), ("read", 2.5), ("write", 7.5), ("read", 1)]
    assert {body["ReturnConsumedCapacity"] for _, body in stub.requests} == {"TOTAL"}


def test_without_a_budget_no_units_are_asked_for(stub, wire):
    """They would cost bytes in every reply."""
    wire.get("T", {"id": {"S": "a"}})
    assert "ReturnConsumedCapacity" not in stub.requests[0][1]
