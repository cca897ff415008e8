"""The engines themselves: each starts, answers, refuses a second insert, and is gone after the kill."""

import uuid

import engines
import pytest
from botocore.exceptions import ClientError


def test_an_engine_stores_an_item_and_refuses_to_overwrite_it(engine):
    client, table = engine.client(), f"Engine-{uuid.uuid4()}"
    client.create_table(
        TableName=table,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    client.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1, "MaxAttempts": 10})
    item = {"id": {"S": "a"}, "n": {"N": "7.5"}, "s": {"SS": ["x", "y"]}, "b": {"B": b"\x00\xff"}}
    client.put_item(TableName=table, Item=item, ConditionExpression="attribute_not_exists(id)")
    with pytest.raises(ClientError, match="ConditionalCheckFailed"):
        client.put_item(TableName=table, Item=item, ConditionExpression="attribute_not_exists(id)")
    (stored,) = client.scan(TableName=table, ConsistentRead=True)["Items"]
    assert {**stored, "s": {"SS": sorted(stored["s"]["SS"])}} == item


def test_a_stopped_engine_is_gone():
    with engines.running("moto") as engine:
        assert engine.client().list_tables()["TableNames"] == []
    assert engine.process.poll() is not None


@pytest.mark.slow
def test_dynalite_keeps_its_data_through_a_kill(tmp_path):
    if reason := engines.missing("dynalite"):
        pytest.skip(reason)
    with engines.running("dynalite", path=tmp_path) as engine:
        engine.client().create_table(
            TableName="Kept",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
    with engines.running("dynalite", path=tmp_path) as engine:
        assert engine.client().list_tables()["TableNames"] == ["Kept"]
