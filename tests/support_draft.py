"""A source in memory: enough of a connection for 00 to list, describe and scan its tables."""

from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from runbook_lib.dynamo.rate_limiter import RateLimiter
from runbook_lib.parameters import Parameters, build_parameters
from runbook_lib.stages.draft.draft import Draft, Sources, draft
from runbook_lib.stages.draft.survey import sources_at

TTL = {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}


@dataclass
class Source:
    """Tables by name. `key`: attribute → type letter, of each table that does not have the key `id` (S)."""

    tables: dict[str, list[dict]]
    keys: dict[str, dict[str, str]] = field(default_factory=dict)
    indexes: dict[str, list[dict]] = field(default_factory=dict)
    page: int = 1_000  # items of a page
    denied: bool = False  # ListTables
    served: dict[str, int] = field(default_factory=dict)  # table → items that scans have given
    listed: int = 0

    limiter: RateLimiter = field(default_factory=RateLimiter)

    label, region, account, endpoint_url, environment = "source", "eu-west-1", None, "http://127.0.0.1:1", "dev"
    address = endpoint_url, region
    who = ""

    @property
    def client(self) -> "Source":
        return self

    @property
    def wire(self) -> "Source":
        return self

    def list_tables(self, ExclusiveStartTableName: str = "") -> dict:
        self.listed += not ExclusiveStartTableName
        if self.denied:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "ListTables")
        names = [name for name in sorted(self.tables) if name > ExclusiveStartTableName]
        return {"TableNames": names[:2]} | ({"LastEvaluatedTableName": names[1]} if names[2:] else {})

    def describe_table(self, TableName: str) -> dict:
        if TableName not in self.tables:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": ""}}, "DescribeTable")
        key = self.keys.get(TableName, {"id": "S"})
        indexes = self.indexes.get(TableName, [])
        names = {**key, **{part["AttributeName"]: "S" for index in indexes for part in index["KeySchema"]}}
        about = {
            "TableName": TableName,
            "TableStatus": "ACTIVE",
            "KeySchema": [{"AttributeName": n, "KeyType": k} for n, k in zip(key, ("HASH", "RANGE"), strict=False)],
            "AttributeDefinitions": [{"AttributeName": n, "AttributeType": t} for n, t in names.items()],
            "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
            "GlobalSecondaryIndexes": indexes,
        }
        return {"Table": about}

    def describe_time_to_live(self, TableName: str) -> dict:
        return TTL

    def scan_page(self, table: str, *, start=None, segment=0, segments=1, limit=None, **_: Any) -> tuple:
        items = self.tables[table][segment::segments]
        at = int(start["at"]["N"]) if start else 0
        until = min(at + self.page, at + (limit or self.page))
        self.served[table] = self.served.get(table, 0) + len(items[at:until])
        return items[at:until], {"at": {"N": str(until)}} if until < len(items) else None


def parameters_of(mapping: str = "drafted.yaml", **more: Any) -> Parameters:
    """Parameters from environment dev to prod; `more` has other keys of theirs."""
    sides = {"source": {"environment": "dev"}, "target": {"environment": "prod"}}
    return build_parameters({"mapping": mapping, **sides, **more})


def draft_of(source: Source, pattern: str = "", most: int | None = None, parameters: Parameters | None = None) -> Draft:
    """What is drafted from a source."""
    limiter, parameters = RateLimiter(), parameters or parameters_of()
    plan, names = sources_at(source, limiter, parameters, pattern)
    return draft(parameters, Sources(names, plan), None, most)


def rules(draft: Draft) -> dict[tuple[str, str], Any]:
    """(entry, path) → what the drafted mapping says of it, as loaded."""
    return {
        (name, path): rule.to or rule.model_dump(exclude_none=True, exclude_unset=True)
        for name, entry in draft.mapping.entries.items()
        for path, rule in entry.model.references.items()
    }
