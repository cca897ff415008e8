"""The embedded world: what it isolates, and that it holds the demo's data exactly."""

import os
from collections import Counter

import pytest

from runbook_lib.demo import data as demo_data
from runbook_lib.demo import world as demo
from runbook_lib.demo.data import CRM_REGION, CRM_TABLE, ENV_REGION, EXPECTED


@pytest.fixture(scope="module")
def world():
    outside = dict(os.environ)
    with demo.World() as world:
        yield world
    assert dict(os.environ) == outside
    assert world.process.returncode is not None


def scan(client, table: str) -> list[dict]:
    pages = client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    return [item for page in pages for item in page["Items"]]


def count(client, table: str) -> int:
    return client.describe_table(TableName=table)["Table"]["ItemCount"]  # live in moto


def test_environment_hides_the_users_aws():
    """No AWS setting, table name or proxy from outside is left; other variables stay."""
    outside = {
        "AWS_PROFILE": "production",
        "AWS_ENDPOINT_URL_DYNAMODB": "https://elsewhere.example.com",
        "AWS_SESSION_TOKEN": "t",
        "LEADS_TABLE": "mine",
        "no_proxy": "localhost",
        "HOME": "/home/me",
    }
    inside = demo.environment("http://127.0.0.1:1", outside)
    assert not {"AWS_PROFILE", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_SESSION_TOKEN", "LEADS_TABLE"} & inside.keys()
    assert inside["AWS_ENDPOINT_URL"] == "http://127.0.0.1:1"
    assert inside["no_proxy"] == inside["NO_PROXY"] == "localhost,127.0.0.1"
    assert inside["HOME"] == "/home/me"


@pytest.mark.slow
def test_tables_of_the_world(world):
    """35 source tables, 32 target tables and the CRM table are there; the tables to create are not."""
    pages = world.client(ENV_REGION).get_paginator("list_tables").paginate()
    names = [name for page in pages for name in page["TableNames"]]
    missing = EXPECTED["env_copy"]["missing"]
    assert Counter(name.split("-")[1] for name in names) == {"demodev": 35, "demoprod": 35 - len(missing)}
    assert not {f"{entry}-demoprod-NONE" for entry in missing} & set(names)
    assert world.client(CRM_REGION).list_tables()["TableNames"] == [CRM_TABLE]


@pytest.mark.slow
def test_items_arrive_as_they_were_made(world):
    """Items read back equal, value for value; every table has its number, the target its residents alone."""
    client = world.client(ENV_REGION)
    source = demo_data.env_copy_source()
    for entry in ("Properties", "Contacts", "Quotes", "NotificationQueue"):  # the oddest
        wanted = {item["id"]["S"]: demo.for_boto3({"M": item})["M"] for item in source[entry]}
        assert {item["id"]["S"]: item for item in scan(client, f"{entry}-demodev-NONE")} == wanted
    for entry, items in source.items():
        assert count(client, f"{entry}-demodev-NONE") == len(items)
        if entry not in EXPECTED["env_copy"]["missing"]:
            assert count(client, f"{entry}-demoprod-NONE") == EXPECTED["env_copy"]["foreign"].get(entry, 0)
    wanted = {item["pk"]["S"] + item["sk"]["S"]: item for item in demo_data.table_split_source()}
    found = {item["pk"]["S"] + item["sk"]["S"]: item for item in scan(world.client(CRM_REGION), CRM_TABLE)}
    assert found == {key: demo.for_boto3({"M": item})["M"] for key, item in wanted.items()}


@pytest.mark.slow
def test_target_is_a_careful_production(world):
    """The target has point-in-time recovery, expiry on its logs, and a stream that somebody may listen to."""
    client = world.client(ENV_REGION)
    backups = client.describe_continuous_backups(TableName="Contacts-demoprod-NONE")
    recovery = backups["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
    assert recovery["PointInTimeRecoveryStatus"] == "ENABLED"
    expiry = client.describe_time_to_live(TableName="AuditLog-demoprod-NONE")["TimeToLiveDescription"]
    assert expiry == {"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"}
    queue = client.describe_table(TableName="NotificationQueue-demoprod-NONE")["Table"]
    assert queue["StreamSpecification"]["StreamEnabled"] is True
