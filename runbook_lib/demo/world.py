"""The embedded world: moto's server on a loopback port, filled with the demo's data. AWS is not touched."""

import base64
import os
import subprocess
from collections.abc import Iterable
from contextlib import ExitStack

from ..process import replace_environment
from . import data as demo_data
from . import server as demo_server
from .data import CRM_REGION, CRM_TABLE, ENV_REGION, ENV_SOURCE, ENV_TARGET, EXPECTED, SEED, SHOP_REGION, SHOP_TABLE
from .words import Item

BATCH = 25  # items in one BatchWriteItem
TTL_TABLES = ("AuditLog", "ContactAuditLog", "NotificationEvents")
STREAM_TABLES = ("NotificationQueue",)  # in the target: it has consumers, and the analysis must say so
INDEXES = {"Contacts": {"byEmail": "email"}}
OWN_VARIABLES = ("OLD_TABLE_NAME", "LEADS_TABLE", "DEALS_TABLE", "RESOURCES_TABLE", "PIPELINES_TABLE")


class World:
    """A `with` block in which AWS is the embedded server, for this process and its children.

    Inside, `endpoint` is the server's URL, and os.environ holds dummy credentials and no other AWS setting:
    no profile, proxy or endpoint of the user leads elsewhere. Afterwards os.environ is restored and the data is
    gone.
    """

    endpoint: str
    process: subprocess.Popen

    def __init__(self, seed: int = SEED):
        self.seed = seed

    def __enter__(self) -> "World":
        with ExitStack() as ending:
            self.process, self.endpoint = demo_server.start()
            ending.callback(self.process.wait)
            ending.callback(self.process.kill)
            ending.enter_context(replace_environment(environment(self.endpoint, dict(os.environ))))
            seed_env_copy(self.client(ENV_REGION), self.seed)
            seed_table_split(self.client(CRM_REGION), self.seed)
            seed_shop(self.client(SHOP_REGION), self.seed)
            self._ending = ending.pop_all()
        return self

    def __exit__(self, *_) -> None:
        self._ending.close()

    def client(self, region: str):
        """A boto3 DynamoDB client of this world."""
        import boto3

        return boto3.Session(region_name=region).client("dynamodb")


def environment(endpoint: str, outside: dict[str, str]) -> dict[str, str]:
    """The variables of `outside` with AWS replaced by the embedded server at `endpoint`. Pure."""
    inside = {n: v for n, v in outside.items() if not n.startswith("AWS_") and n not in OWN_VARIABLES}
    no_proxy = ",".join(filter(None, (outside.get("no_proxy") or outside.get("NO_PROXY"), "127.0.0.1")))
    return inside | {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "demo",
        "AWS_SECRET_ACCESS_KEY": "demo",
        "AWS_DEFAULT_REGION": ENV_REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
    }


def seed_env_copy(client, seed: int = SEED) -> None:
    """Writes to the client's endpoint: source tables, and those target tables that the demo does not create."""
    missing, residents = EXPECTED["env_copy"]["missing"], demo_data.env_copy_target()
    for entry, items in demo_data.env_copy_source(seed).items():
        source, target = (f"{entry}-{environment}-NONE" for environment in (ENV_SOURCE, ENV_TARGET))
        _create(client, source, {"id": "HASH"}, INDEXES.get(entry, {}))
        _fill(client, source, items)
        if entry in missing:
            continue
        _create(client, target, {"id": "HASH"}, INDEXES.get(entry, {}), stream=entry in STREAM_TABLES)
        _fill(client, target, residents.get(entry, ()))
        _optional(
            client.update_continuous_backups,
            TableName=target,
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
        )
        if entry in TTL_TABLES:
            expiry = {"AttributeName": "ttl", "Enabled": True}
            for table in (source, target):
                _optional(client.update_time_to_live, TableName=table, TimeToLiveSpecification=expiry)


def seed_table_split(client, seed: int = SEED) -> None:
    """Writes to the client's endpoint: the CRM table. The demo creates the four new tables."""
    _create(client, CRM_TABLE, {"pk": "HASH", "sk": "RANGE"})
    _fill(client, CRM_TABLE, demo_data.table_split_source(seed))


def seed_shop(client, seed: int = SEED) -> None:
    """Writes to the client's endpoint: the shop's single table, with a local and a global index and a time to live."""
    keys = {"byUpdate": ("PK", "updatedAt"), "GSI1": ("GSI1PK", "GSI1SK")}
    local, global_ = (
        {"IndexName": name, "KeySchema": _schema(keys[name]), "Projection": {"ProjectionType": kind}}
        for name, kind in (("byUpdate", "KEYS_ONLY"), ("GSI1", "ALL"))
    )
    names = ("PK", "SK", "updatedAt", "GSI1PK", "GSI1SK")
    client.create_table(
        TableName=SHOP_TABLE,
        KeySchema=_schema(("PK", "SK")),
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},  # to be followed
        LocalSecondaryIndexes=[local],
        GlobalSecondaryIndexes=[global_],
        BillingMode="PAY_PER_REQUEST",
    )
    client.get_waiter("table_exists").wait(TableName=SHOP_TABLE, WaiterConfig={"Delay": 1})
    expiry = {"AttributeName": "expiresAt", "Enabled": True}
    _optional(client.update_time_to_live, TableName=SHOP_TABLE, TimeToLiveSpecification=expiry)
    _fill(client, SHOP_TABLE, demo_data.shop_source(seed))


def _schema(names: tuple[str, ...]) -> list[dict[str, str]]:
    return [{"AttributeName": name, "KeyType": kind} for name, kind in zip(names, ("HASH", "RANGE"), strict=True)]


def _create(client, table: str, key: dict[str, str], indexes: dict[str, str] | None = None, stream: bool = False):
    indexes = indexes or {}
    optional = {
        "GlobalSecondaryIndexes": [
            {
                "IndexName": index,
                "KeySchema": [{"AttributeName": attribute, "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
            }
            for index, attribute in indexes.items()
        ],
        "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"} if stream else None,
    }
    client.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in key.items()],
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": "S"} for name in dict.fromkeys((*key, *indexes.values()))
        ],
        BillingMode="PAY_PER_REQUEST",
        **{name: value for name, value in optional.items() if value},
    )
    client.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1})


def _fill(client, table: str, items: Iterable[Item]) -> None:
    """Writes items with BatchWriteItem. It overwrites, which is safe only here, in this module's own new tables."""
    waiting = [{"PutRequest": {"Item": for_boto3({"M": item})["M"]}} for item in items]
    while waiting:
        answer = client.batch_write_item(RequestItems={table: waiting[:BATCH]})
        waiting = answer["UnprocessedItems"].get(table, []) + waiting[BATCH:]


def for_boto3(value: dict) -> dict:
    """The typed value with binary as bytes, as boto3 needs it, instead of base64 text."""
    ((letter, content),) = value.items()
    if letter == "B":
        return {"B": base64.b64decode(content)}
    if letter == "BS":
        return {"BS": [base64.b64decode(member) for member in content]}
    if letter == "L":
        return {"L": [for_boto3(member) for member in content]}
    if letter == "M":
        return {"M": {name: for_boto3(member) for name, member in content.items()}}
    return value


def _optional(call, **arguments) -> None:
    """Makes a call that some engines do not have."""
    from botocore.exceptions import ClientError

    try:
        call(**arguments)
    except ClientError:
        pass
