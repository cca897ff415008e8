"""What a table is, as data: from DescribeTable's words, from a mapping's `create`, compared, and made like another one."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from runbook_lib.dynamo.structure.creation import create_request, like, planned
from runbook_lib.dynamo.structure.description import as_json, pace, table_of
from runbook_lib.dynamo.structure.differences import differences, is_narrower, lacking, sentence
from runbook_lib.mapping.create import Create

# As AWS documents the reply; no engine of the tests gives all of it.
REPLY = {
    "TableName": "orders",
    "TableStatus": "ACTIVE",
    "TableArn": "arn:aws:dynamodb:eu-west-1:1:table/orders",
    "ItemCount": 7,
    "TableSizeBytes": 70,
    "AttributeDefinitions": [{"AttributeName": n, "AttributeType": t} for n, t in zip("abcde", "SNSSB", strict=True)],
    "KeySchema": [{"AttributeName": "b", "KeyType": "RANGE"}, {"AttributeName": "a", "KeyType": "HASH"}],
    "ProvisionedThroughput": {"ReadCapacityUnits": 5, "WriteCapacityUnits": 6, "NumberOfDecreasesToday": 0},
    "WarmThroughput": {"ReadUnitsPerSecond": 12000, "WriteUnitsPerSecond": 4000, "Status": "ACTIVE"},
    "GlobalSecondaryIndexes": [
        {
            "IndexName": "wide",
            "KeySchema": [
                {"AttributeName": "c", "KeyType": "HASH"},
                {"AttributeName": "e", "KeyType": "RANGE"},
                {"AttributeName": "d", "KeyType": "HASH"},
            ],
            "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["z", "y"]},
            "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 2},
        }
    ],
    "LocalSecondaryIndexes": [
        {
            "IndexName": "local",
            "KeySchema": [{"AttributeName": "a", "KeyType": "HASH"}, {"AttributeName": "c", "KeyType": "RANGE"}],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        }
    ],
    "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "OLD_IMAGE"},
    "SSEDescription": {"Status": "ENABLED", "SSEType": "KMS", "KMSMasterKeyArn": "arn:aws:kms:eu-west-1:1:key/k"},
    "Replicas": [{"RegionName": name} for name in ("us-east-1", "eu-west-1", "eu-central-1")],
    "TableClassSummary": {"TableClass": "STANDARD_INFREQUENT_ACCESS"},
    "DeletionProtectionEnabled": True,
}
PLAIN = Create(key={"a": "S", "b": "N"})


def test_everything_that_matters_is_read():
    """Keys in their order, both kinds of index, capacity, stream, encryption, replicas, class."""
    table = table_of(REPLY)
    assert as_json(table, {"ttl": "until", "recovery": True}) == {
        "key": [["a", "S"], ["b", "N"]],
        "indexes": {
            "local": {"local": True, "key": [["a", "S"], ["c", "S"]], "partition": 1, "projection": "KEYS_ONLY", "units": None},
            "wide": {
                "local": False,
                "key": [["c", "S"], ["d", "S"], ["e", "B"]],
                "partition": 2,
                "projection": ["y", "z"],
                "units": {"read": 1, "write": 2},
            },
        },
        "billing": "PROVISIONED",
        "units": {"read": 5, "write": 6},
        "warm": {"read": 12000, "write": 4000},
        "stream": "OLD_IMAGE",
        "protection": True,
        "encryption": {"type": "KMS", "key": "arn:aws:kms:eu-west-1:1:key/k"},
        "replicas": ["eu-central-1", "us-east-1"],
        "class": "STANDARD_INFREQUENT_ACCESS",
        "ttl": "until",
        "recovery": True,
    }  # fmt: skip
    assert (table.items, table.size_bytes, table.most, pace(table, "write").units) == (7, 70, None, 6)
    assert pace(table.indexes["wide"], "read") == (1, "its provisioned capacity")


def test_what_a_reply_lacks_is_off():
    """Older engines leave most of it out; a disabled stream or key is none; on demand, zeros are no capacity."""
    bare = {name: REPLY[name] for name in ("TableName", "TableStatus", "AttributeDefinitions", "KeySchema")}
    bare |= {"BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"}, "StreamSpecification": {"StreamEnabled": False}}
    bare |= {"ProvisionedThroughput": {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0}}
    bare |= {"SSEDescription": {"Status": "DISABLED"}, "Replicas": None, "GlobalSecondaryIndexes": None}
    table = table_of(bare)
    assert as_json(table) == {k: v for k, v in planned(PLAIN).items() if k not in ("ttl", "recovery")}
    assert pace(table, "write") == (
        4_000,
        "what a new on-demand table takes; DescribeTable does not say what this one does",
    )


def test_an_on_demand_table_takes_what_it_is_warm_for_within_its_limit():
    """Table and global index alike; AWS writes -1 where there is no limit."""
    said = {
        "WarmThroughput": {"ReadUnitsPerSecond": 12000, "WriteUnitsPerSecond": 9000},
        "OnDemandThroughput": {"MaxReadRequestUnits": -1, "MaxWriteRequestUnits": 70},
    }
    index = REPLY["GlobalSecondaryIndexes"][0] | said
    mode = {"BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"}, "GlobalSecondaryIndexes": [index]}
    table = table_of(REPLY | said | mode)
    for place in (table, table.indexes["wide"]):
        assert pace(place, "read") == (12_000, "its warm throughput")
        assert pace(place, "write") == (70, "its own limit, OnDemandThroughput")


CREATED = datetime(2026, 1, 2, tzinfo=UTC)
AMERICA = "arn:aws:dynamodb:us-east-1:1:table/orders"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"TableId": "a", "TableArn": AMERICA}, {"TableId": "a"}, True),
        ({"TableId": "a", "CreationDateTime": CREATED}, {"TableId": "b", "CreationDateTime": CREATED}, False),
        ({"CreationDateTime": CREATED}, {"CreationDateTime": CREATED}, True),
        ({"TableId": "a", "CreationDateTime": CREATED}, {"CreationDateTime": CREATED}, True),
        ({"CreationDateTime": CREATED}, {"CreationDateTime": CREATED + timedelta(milliseconds=1)}, False),
        ({"CreationDateTime": CREATED}, {"CreationDateTime": CREATED, "TableArn": AMERICA}, False),
        ({}, {}, None),
        ({"CreationDateTime": CREATED}, {}, None),
        ({"TableArn": None, "CreationDateTime": CREATED}, {"TableArn": None, "CreationDateTime": CREATED}, None),
        ({"TableId": "a", "Replicas": [{"RegionName": "us-east-1"}]}, {"TableId": "b", "TableArn": AMERICA}, True),
        ({"TableId": "a", "Replicas": [{"RegionName": "us-east-2"}]}, {"TableId": "b", "TableArn": AMERICA}, False),
        (
            {"TableId": "a", "Replicas": [{"RegionName": "us-east-1", "ReplicaArn": AMERICA.replace(":1:", ":2:")}]},
            {"TableId": "b", "TableArn": AMERICA.replace(":1:", ":2:")},
            True,
        ),
        ({"TableArn": None, "Replicas": [{"RegionName": "us-east-1"}]}, {"TableArn": None}, None),
    ],
)
def test_two_descriptions_are_of_one_table_by_what_no_other_table_has(one, other, same):
    """The id, else ARN and creation; equal ARNs alone prove nothing, and a replica is its table. In both directions."""
    bare = {name: value for name, value in REPLY.items() if name != "Replicas"}
    tables = [table_of(bare | about) for about in (one, other)]
    assert tables[0].is_same(tables[1]) is tables[1].is_same(tables[0]) is same


def test_a_description_outlives_a_file():
    """Also one whose keys were sorted: a sealed plan is compared with the live table."""
    described = as_json(table_of(REPLY), {"ttl": None, "recovery": False})
    read = json.loads(json.dumps(described, sort_keys=True))
    assert differences(read, described) == []


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"key": [["a", "S"]]}, [("key", "")]),
        ({"key": [["b", "N"], ["a", "S"]]}, [("key", "")]),
        ({"indexes": {}}, [("index", "local"), ("index", "wide")]),
        ({"billing": "PAY_PER_REQUEST", "units": None}, [("billing", ""), ("capacity", "")]),
        ({"stream": None}, [("stream", "")]),
        ({"protection": False}, [("protection", "")]),
        ({"encryption": {"type": "AWS_OWNED", "key": None}}, [("encryption", "")]),
        ({"replicas": []}, [("replica", "")]),
        ({"class": "STANDARD"}, [("class", "")]),
        ({"ttl": "other"}, [("ttl", "")]),
        ({"recovery": False}, [("recovery", "")]),
        ({"warm": None}, []),
    ],
)
def test_each_difference_has_its_word(change, what):
    """Warm throughput grows by itself, so it is no difference; a setting that one side does not know is none either."""
    one = as_json(table_of(REPLY), {"ttl": "until", "recovery": True})
    found = differences(one, one | change)
    assert [(difference.what, difference.name) for difference in found] == what
    for difference in found:
        assert difference.wanted != difference.found
    unknown = {key: value for key, value in (one | change).items() if key not in ("ttl", "recovery")}
    assert not {"ttl", "recovery"} & {difference.what for difference in differences(one, unknown)}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"local": False}, "index local is global, not local"),
        ({"key": [["a", "S"], ["d", "S"]]}, "the key of index local is a (S) + d (S), not a (S) + c (S)"),
        ({"partition": 2}, "the key of index local is [a (S) + c (S)], not a (S) + c (S)"),
        ({"projection": "ALL"}, "index local projects ALL, not KEYS_ONLY"),
        ({"projection": ["x", "y"]}, "index local projects x, y, not KEYS_ONLY"),
    ],
)
def test_a_difference_of_an_index_is_a_sentence(change, text):
    """What was found, and what was to be."""
    one = as_json(table_of(REPLY))
    other = one | {"indexes": {**one["indexes"], "local": one["indexes"]["local"] | change}}
    assert [sentence(difference) for difference in differences(one, other)] == [text]
    wider = "projection" in change
    assert bool(lacking(one, other)) is not wider


@pytest.mark.parametrize(
    ("found", "wanted", "narrower"),
    [
        ("ALL", "ALL", False), ("ALL", "KEYS_ONLY", False), ("ALL", ["x"], False),
        ("KEYS_ONLY", "ALL", True), ("KEYS_ONLY", "KEYS_ONLY", False), ("KEYS_ONLY", ["x"], True),
        (["x"], "ALL", True), (["x"], "KEYS_ONLY", False), (["x"], ["x"], False), (["x"], ["x", "y"], True),
        (["y", "x"], ["x", "y"], False),
    ],
)  # fmt: skip
def test_a_projection_is_narrower_where_something_is_missing(found, wanted, narrower):
    """ALL holds everything, KEYS_ONLY is in every index."""
    assert is_narrower(found, wanted) is narrower


def test_a_table_like_another_has_its_keys_and_indexes():
    """With their projections and kinds; on demand, without stream, protection and replicas, which are told instead."""
    source = as_json(table_of(REPLY))
    made = planned(like(table_of(REPLY)))
    assert [(d.what, d.name) for d in differences(source, made)] == [
        ("capacity", "wide"), ("billing", ""), ("capacity", ""), ("stream", ""), ("protection", ""), ("encryption", ""),
        ("replica", ""), ("class", ""),
    ]  # fmt: skip


def test_the_request_says_it_all():
    """Every key attribute once; projections; several attributes in an index's partition key."""
    spec = like(table_of(REPLY)).model_copy(update={"stream": "NEW_IMAGE", "deletion_protection": True, "ttl": "until"})
    assert create_request("orders", spec) == {
        "TableName": "orders",
        "KeySchema": [{"AttributeName": "a", "KeyType": "HASH"}, {"AttributeName": "b", "KeyType": "RANGE"}],
        "AttributeDefinitions": REPLY["AttributeDefinitions"],
        "BillingMode": "PAY_PER_REQUEST",
        "GlobalSecondaryIndexes": [
            {
                "IndexName": "wide",
                "KeySchema": [
                    {"AttributeName": "c", "KeyType": "HASH"},
                    {"AttributeName": "d", "KeyType": "HASH"},
                    {"AttributeName": "e", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["y", "z"]},
            }
        ],
        "LocalSecondaryIndexes": REPLY["LocalSecondaryIndexes"],
        "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
        "DeletionProtectionEnabled": True,
    }
    assert create_request("t", PLAIN).keys() == {"TableName", "KeySchema", "AttributeDefinitions", "BillingMode"}


@pytest.mark.parametrize("hashes", [1, 2, 3])
def test_any_index_that_a_source_can_have_can_be_made(hashes):
    """However many attributes its key has; one that includes nothing by name holds the keys alone."""
    kinds = ["HASH"] * hashes + ["RANGE"] * (4 - hashes)
    index = {
        "IndexName": "wide",
        "KeySchema": [{"AttributeName": name, "KeyType": kind} for name, kind in zip("acde", kinds, strict=True)],
        "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": []},
    }
    spec = like(table_of(REPLY | {"GlobalSecondaryIndexes": [index]}))
    (made,) = create_request("t", spec)["GlobalSecondaryIndexes"]
    assert made == index | {"Projection": {"ProjectionType": "KEYS_ONLY"}}
