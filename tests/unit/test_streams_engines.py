"""Streams of real engines: what they answer is read, and what they cannot do is one sentence."""

import time
import uuid

import pytest
from engines import REGION

from runbook_lib.dynamo.session import connect
from runbook_lib.dynamo.streams.positions import Positions
from runbook_lib.dynamo.streams.reader import StreamReader
from runbook_lib.dynamo.streams.stream import open_stream
from runbook_lib.dynamo.streams.wire import endpoint_of
from runbook_lib.errors import NotAvailable, PositionLost, Refused
from runbook_lib.parameters import Side

HASTE = 50
STREAM = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}


@pytest.fixture(params=["moto", pytest.param("ministack", marks=pytest.mark.slow)])
def engine(request, engine_pool):
    """The engines that have streams."""
    return engine_pool(request.param)


def table_on(engine, stream=STREAM):
    """A new table's name."""
    name = f"streams-{uuid.uuid4().hex[:12]}"
    keys = {
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    }
    more = {"StreamSpecification": stream} if stream else {}
    engine.call("CreateTable", TableName=name, BillingMode="PAY_PER_REQUEST", **keys, **more)
    return name


def side_of(engine):
    return connect(Side(environment="dev", region=REGION, endpoint_url=engine.endpoint_url), "source")


def put(engine, table, id, **attributes):
    engine.call("PutItem", TableName=table, Item={"id": {"S": id}, **{k: {"S": v} for k, v in attributes.items()}})


def reader_of(stream, positions):
    """A reader whose seconds are short: no engine here limits how often it is asked."""
    return StreamReader(stream, positions, clock=lambda: HASTE * time.monotonic())


def drained(reader):
    """All there is, and the last batch."""
    records = []
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        batch = reader.read()
        records += batch.records
        if batch.quiet:
            return records, batch
        time.sleep(batch.wait / HASTE)
    raise AssertionError("it never became quiet")


def test_changes_are_read_and_gone_on_with(engine):
    """Inserts, a modification and a removal, with their images and times; a second reader goes on behind them."""
    table = table_on(engine)
    stream = open_stream(side_of(engine), table)
    positions = stream.positions_now()
    put(engine, table, "a", x="1")
    put(engine, table, "b")
    put(engine, table, "a", x="2")
    engine.call("DeleteItem", TableName=table, Key={"id": {"S": "b"}})
    with reader_of(stream, positions) as reader:
        records, batch = drained(reader)
    assert [(one.kind, one.key, one.image) for one in records] == [
        ("INSERT", {"id": {"S": "a"}}, {"id": {"S": "a"}, "x": {"S": "1"}}),
        ("INSERT", {"id": {"S": "b"}}, {"id": {"S": "b"}}),
        ("MODIFY", {"id": {"S": "a"}}, {"id": {"S": "a"}, "x": {"S": "2"}}),
        ("REMOVE", {"id": {"S": "b"}}, None),
    ]
    assert all(abs(one.at - time.time()) < 120 for one in records)
    put(engine, table, "c")
    with reader_of(stream, Positions.from_json(batch.positions.as_json())) as reader:
        assert [one.key for one in drained(reader)[0]] == [{"id": {"S": "c"}}]


@pytest.mark.slow
def test_a_stream_turned_off_is_read_to_its_end_and_another_one_when_on_again(ministack):
    """Then the position is lost; moto cannot turn one on again."""
    table = table_on(ministack)
    connection = side_of(ministack)
    stream = open_stream(connection, table)
    put(ministack, table, "a")
    reader = reader_of(stream, stream.positions_now())
    _, batch = drained(reader)
    put(ministack, table, "b")
    ministack.call("UpdateTable", TableName=table, StreamSpecification={"StreamEnabled": False})
    records = []

    def go_on():
        while True:
            records.extend((batch := reader.read()).records)
            time.sleep(batch.wait / HASTE)

    with pytest.raises(PositionLost, match="turned off"):
        go_on()
    assert [one.key for one in records] == [{"id": {"S": "b"}}]
    time.sleep(0.01)  # a label has milliseconds
    ministack.call("UpdateTable", TableName=table, StreamSpecification=STREAM)
    with pytest.raises(PositionLost, match="off and on again"):
        reader_of(open_stream(connection, table), batch.positions)


def test_a_stream_without_both_images_is_refused(engine):
    """With what it shows and how to change that."""
    table = table_on(engine, STREAM | {"StreamViewType": "KEYS_ONLY"})
    with pytest.raises(Refused, match="shows KEYS_ONLY, not NEW_AND_OLD_IMAGES; turn it off, and then turn it on with"):
        open_stream(side_of(engine), table)


def test_a_table_without_a_stream_or_none_at_all_is_refused(engine):
    """Following it is not possible."""
    with pytest.raises(Refused, match="is off; turn it on with `aws dynamodb update-table --table-name streams-"):
        open_stream(side_of(engine), table_on(engine, None))
    with pytest.raises(Refused, match="does not exist"):
        open_stream(side_of(engine), "streams-of-nothing")


@pytest.mark.slow
def test_an_engine_without_streams_says_so(dynalite):
    """One sentence."""
    with pytest.raises(NotAvailable, match="this endpoint has no streams"):
        open_stream(side_of(dynalite), table_on(dynalite, None))


@pytest.mark.parametrize(
    ("region", "given", "where"),
    [
        ("us-east-1", None, "https://streams.dynamodb.us-east-1.amazonaws.com"),
        ("cn-north-1", None, "https://streams.dynamodb.cn-north-1.amazonaws.com.cn"),
        ("us-gov-west-1", None, "https://streams.dynamodb.us-gov-west-1.amazonaws.com"),
        (
            "us-east-1",
            "https://dynamodb-fips.us-east-1.amazonaws.com",
            "https://streams.dynamodb-fips.us-east-1.amazonaws.com",
        ),
        ("us-east-1", "http://localhost:8000", "http://localhost:8000"),
    ],
)
def test_streams_have_an_endpoint_of_their_own_on_aws(region, given, where, monkeypatch):
    """As botocore's data say; an engine of your own answers everything in one place."""
    monkeypatch.setattr("runbook_lib.dynamo.session.Login.check", lambda self, declared: None)
    connection = connect(Side(environment="dev", region=region, endpoint_url=given), "source")
    assert endpoint_of(connection) == where
    if given is None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB_STREAMS", "https://vpce-1.example")
        assert endpoint_of(connect(Side(environment="dev", region=region), "source")) == "https://vpce-1.example"
