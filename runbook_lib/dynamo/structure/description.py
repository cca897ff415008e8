"""What DescribeTable says of a table, and the same as plain JSON. Pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from ...mapping.create import ALL, KEYS_ONLY

Key = tuple[tuple[str, str], ...]  # (attribute, type letter), partition key first
AWS_OWNED = "AWS_OWNED"  # the encryption of a table that names no key


class Units(NamedTuple):
    """Capacity a second."""

    read: int
    write: int


# What a new on-demand table or index takes at once; more as it is used ("On-demand capacity mode" in the developer guide).
NEW = Units(12_000, 4_000)


class Pace(NamedTuple):
    """How much a table or an index takes, and how that is known."""

    units: int  # a second
    why: str


NEW_PACE = Pace(NEW.write, "what a new on-demand table takes")


@dataclass(frozen=True)
class Index:
    """A secondary index."""

    key: Key
    projection: str | tuple[str, ...] = ALL  # ALL, KEYS_ONLY, or the attributes beside the keys, sorted
    local: bool = False
    partition: int = 1  # so many attributes of the key, from the first, are its partition key
    units: Units | None = None  # of a provisioned table's global index
    warm: Units | None = None  # as of a table
    most: Units | None = None


@dataclass(frozen=True)
class Table:
    """What DescribeTable says. `items` and `size_bytes` are DynamoDB's own counts, hours old."""

    name: str
    key: Key
    indexes: dict[str, Index]  # global and local
    items: int
    size_bytes: int
    status: str
    billing: str  # PAY_PER_REQUEST or PROVISIONED
    arn: str | None
    stream: str | None  # what its records show (NEW_IMAGE, …); None: off
    deletion_protection: bool
    units: Units | None = None  # provisioned
    warm: Units | None = None  # what the table takes at once; None where the engine does not say
    most: Units | None = None  # what it takes at all, on demand; 0 is no limit
    encryption: str = AWS_OWNED  # else AES256 or KMS
    kms_key: str | None = None  # ARN
    replicas: tuple[str, ...] = ()  # other regions
    table_class: str = "STANDARD"
    id: str | None = None  # DynamoDB's own, of which no two tables have the same
    created: int | None = None  # milliseconds since 1970
    replica_arns: frozenset[str] = frozenset()

    @property
    def identity(self) -> str | None:
        """What no other table has, wherever and whenever: its id, else ARN and creation; None where the engine says neither."""
        return self.id or (f"{self.arn} of {self.created}" if self.arn and self.created else None)

    def is_same(self, other: "Table") -> bool | None:
        """Whether both are one table, or replicas of one global table; None where the engine does not tell."""
        if self.arn and (self.arn in other.replica_arns or other.arn in self.replica_arns):
            return True
        if self.id and other.id:
            return self.id == other.id
        mine, others = (self.arn, self.created), (other.arn, other.created)
        return mine == others if all((*mine, *others)) else None


def pace(place: Table | Index, kind: str) -> Pace:
    """How many units a second a table or a global index takes from the start; `kind`: "read" or "write"."""
    provisioned, warm, most = (getattr(units, kind, 0) for units in (place.units, place.warm, place.most))
    if provisioned:
        return Pace(provisioned, "its provisioned capacity")
    known = Pace(warm, "its warm throughput")
    if not warm:
        known = Pace(getattr(NEW, kind), f"{NEW_PACE.why}; DescribeTable does not say what this one does")
    return Pace(most, "its own limit, OnDemandThroughput") if 0 < most < known.units else known


def table_of(content: dict[str, Any]) -> Table:
    """A table from the `Table` of DescribeTable's reply."""
    types = {part["AttributeName"]: part["AttributeType"] for part in content["AttributeDefinitions"]}
    billing = content.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED")
    provisioned = billing == "PROVISIONED"
    stream, sealed = content.get("StreamSpecification", {}), content.get("SSEDescription", {})
    is_sealed = sealed.get("Status") in ("ENABLED", "ENABLING", "UPDATING")
    arn, replicas, created = content.get("TableArn"), content.get("Replicas") or (), content.get("CreationDateTime")
    return Table(
        name=content["TableName"],
        key=_key(content["KeySchema"], types),
        indexes={
            about["IndexName"]: _index(about, types, local=local, provisioned=provisioned)
            for group, local in (("GlobalSecondaryIndexes", False), ("LocalSecondaryIndexes", True))
            for about in content.get(group) or ()
        },
        items=content.get("ItemCount", 0),
        size_bytes=content.get("TableSizeBytes", 0),
        status=content["TableStatus"],
        billing=billing,
        arn=arn,
        stream=stream.get("StreamViewType") if stream.get("StreamEnabled") else None,
        deletion_protection=content.get("DeletionProtectionEnabled", False),
        units=_units(content.get("ProvisionedThroughput"), "CapacityUnits") if provisioned else None,
        **_on_demand(content),
        encryption=sealed.get("SSEType", "KMS") if is_sealed else AWS_OWNED,
        kms_key=sealed.get("KMSMasterKeyArn") if is_sealed else None,
        replicas=_replicas(content),
        table_class=content.get("TableClassSummary", {}).get("TableClass", "STANDARD"),
        id=content.get("TableId"),
        created=round(created.timestamp() * 1000) if isinstance(created, datetime) else None,
        replica_arns=frozenset(
            replica.get("ReplicaArn") or _in_region(arn, replica["RegionName"]) for replica in replicas
        )
        - {arn},
    )


def _in_region(arn: str | None, region: str) -> str:
    """The ARN of a table of that name and account in another region; "" where there is none."""
    parts = (arn or "").split(":")
    return ":".join([*parts[:3], region, *parts[4:]]) if len(parts) > 4 else ""


def _index(about: dict, types: dict[str, str], *, local: bool, provisioned: bool) -> Index:
    projection = about.get("Projection", {})
    kind = projection.get("ProjectionType", ALL)
    return Index(
        _key(about["KeySchema"], types),
        (tuple(sorted(projection.get("NonKeyAttributes", ()))) or KEYS_ONLY) if kind == "INCLUDE" else kind,
        local,
        sum(part["KeyType"] == "HASH" for part in about["KeySchema"]),
        _units(about.get("ProvisionedThroughput"), "CapacityUnits") if provisioned and not local else None,
        **_on_demand(about),
    )


def _on_demand(about: dict) -> dict[str, Units | None]:
    """What a table or an index takes beside provisioned units. AWS writes -1 for no limit."""
    most = about.get("OnDemandThroughput") or {}
    limits = Units(*(max(0, most.get(f"Max{word}RequestUnits", 0)) for word in ("Read", "Write")))
    return {"warm": _units(about.get("WarmThroughput"), "UnitsPerSecond"), "most": limits if any(limits) else None}


def _replicas(content: dict) -> tuple[str, ...]:
    """The other regions that hold the table."""
    here = (content.get("TableArn") or "").split(":")[3:4]
    return tuple(sorted({replica["RegionName"] for replica in content.get("Replicas") or ()}.difference(here)))


def _key(schema: list[dict], types: dict[str, str]) -> Key:
    parts = sorted(schema, key=lambda part: part["KeyType"])  # HASH before RANGE, each kind in its order
    return tuple((part["AttributeName"], types[part["AttributeName"]]) for part in parts)


def _units(about: dict | None, word: str) -> Units | None:
    """`word`: how the figures' names end."""
    return Units(about.get(f"Read{word}", 0), about.get(f"Write{word}", 0)) if about else None


def as_json(table: Table, settings: dict[str, Any] | None = None) -> dict[str, Any]:
    """The structure of a table as plain JSON; name, status and counts are no part of it.

    A key is a list of [attribute, type letter], whose order no writer of JSON changes. `settings`: what other calls say
    (`ttl`, `recovery`); what is not known is left out.
    """
    return {
        "key": _pairs(table.key),
        "indexes": {name: index_json(index) for name, index in sorted(table.indexes.items())},
        "billing": table.billing,
        "units": table.units and table.units._asdict(),
        "warm": table.warm and table.warm._asdict(),
        "stream": table.stream,
        "protection": table.deletion_protection,
        "encryption": {"type": table.encryption, "key": table.kms_key},
        "replicas": list(table.replicas),
        "class": table.table_class,
        **(settings or {}),
    }


def index_json(index: Index) -> dict[str, Any]:
    """An index as plain JSON."""
    return {
        "local": index.local,
        "key": _pairs(index.key),
        "partition": index.partition,
        "projection": index.projection if isinstance(index.projection, str) else list(index.projection),
        "units": index.units and index.units._asdict(),
    }


def _pairs(key: Key) -> list[list[str]]:
    return [list(part) for part in key]
