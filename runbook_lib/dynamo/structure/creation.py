"""`create` of a mapping: as a request of CreateTable, as the description of the table it makes, and made from another table.

Pure.
"""

from itertools import chain
from typing import Any

from ...mapping.create import Create, GlobalIndex, LocalIndex
from .description import Index, Table, Units, as_json


def like(source: Table) -> Create:
    """A `create` that makes a table with the keys and indexes of another one. TTL is not among what a Table knows.

    The new table is on demand, whatever the source is: provisioned units fit the source's daily traffic, and a copy that
    had to keep to them would take days; what auto scaling does beyond them, DescribeTable does not say.
    """
    local, other = {}, {}
    for name, index in source.indexes.items():
        projection = index.projection if isinstance(index.projection, str) else list(index.projection)
        if index.local:
            local[name] = LocalIndex(key=dict(index.key), projection=projection)
        else:
            other[name] = GlobalIndex(key=dict(index.key), projection=projection, partition=index.partition)
    return Create(key=dict(source.key), indexes=other, local_indexes=local)


def planned(spec: Create) -> dict[str, Any]:
    """The description of the table that `spec` makes."""
    units = None if spec.billing == "PAY_PER_REQUEST" else Units(spec.billing.read, spec.billing.write)
    indexes = {name: _described(index, partition=index.partition, units=units) for name, index in spec.indexes.items()}
    indexes |= {name: _described(index, local=True) for name, index in spec.local_indexes.items()}
    table = Table(
        name="",
        key=tuple(spec.key.items()),
        indexes=indexes,
        items=0,
        size_bytes=0,
        status="",
        billing="PROVISIONED" if units else "PAY_PER_REQUEST",
        arn=None,
        stream=spec.stream,
        deletion_protection=spec.deletion_protection,
        units=units,
    )
    return as_json(table, {"ttl": spec.ttl, "recovery": spec.point_in_time_recovery})


def _described(index: LocalIndex, **more: Any) -> Index:
    named = isinstance(index.projection, list)
    return Index(tuple(index.key.items()), tuple(sorted(index.projection)) if named else index.projection, **more)


def create_request(name: str, spec: Create) -> dict[str, Any]:
    """The parameters of CreateTable. TTL and point-in-time recovery have calls of their own, once the table is active."""
    capacity: dict[str, Any] = {}
    if spec.billing != "PAY_PER_REQUEST":
        units = {"ReadCapacityUnits": spec.billing.read, "WriteCapacityUnits": spec.billing.write}
        capacity = {"ProvisionedThroughput": units}
    keys = (spec.key, *(index.key for index in spec.all_indexes.values()))
    types = dict(chain.from_iterable(key.items() for key in keys))
    request: dict[str, Any] = {
        "TableName": name,
        "KeySchema": _key_schema(spec.key),
        "AttributeDefinitions": [{"AttributeName": a, "AttributeType": letter} for a, letter in types.items()],
        "BillingMode": "PROVISIONED" if capacity else "PAY_PER_REQUEST",
        **capacity,
    }
    if spec.indexes:
        request["GlobalSecondaryIndexes"] = [
            _index(index, other, other.partition) | capacity for index, other in spec.indexes.items()
        ]
    if spec.local_indexes:
        request["LocalSecondaryIndexes"] = [_index(index, local) for index, local in spec.local_indexes.items()]
    if spec.tags:
        request["Tags"] = [{"Key": key, "Value": value} for key, value in spec.tags.items()]
    if spec.stream:
        request["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": spec.stream}
    if spec.deletion_protection:
        request["DeletionProtectionEnabled"] = True
    return request


def _index(name: str, index: LocalIndex, partition: int = 1) -> dict[str, Any]:
    projection: dict[str, Any] = {"ProjectionType": index.projection}
    if isinstance(index.projection, list):
        projection = {"ProjectionType": "INCLUDE", "NonKeyAttributes": index.projection}
    return {"IndexName": name, "KeySchema": _key_schema(index.key, partition), "Projection": projection}


def _key_schema(key: dict[str, str], partition: int = 1) -> list[dict[str, str]]:
    return [
        {"AttributeName": name, "KeyType": "HASH" if number < partition else "RANGE"} for number, name in enumerate(key)
    ]
