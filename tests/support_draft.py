"""A source in memory: enough of a connection for 00 to list, describe and scan its tables; and what 01 would find in a draft."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from botocore.exceptions import ClientError

from runbook_lib.discover.columns import as_columns
from runbook_lib.discover.evidence import Evidence
from runbook_lib.discover.references import find_references, same_ids, undeclared
from runbook_lib.dynamo.rate_limiter import RateLimiter
from runbook_lib.errors import DynamoError
from runbook_lib.mapping.routes import Shape, compile_route, parents_of
from runbook_lib.parameters import Parameters, build_parameters
from runbook_lib.stages.draft.draft import Draft, Sources, draft
from runbook_lib.stages.draft.matching.targets import Targets, targets_at
from runbook_lib.stages.draft.survey import sources_at
from runbook_lib.values import text_of

TTL = {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}


@dataclass
class Source:
    """Tables by name. `key`: attribute → type letter, of each table that does not have the key `id` (S)."""

    tables: dict[str, list[dict]]
    keys: dict[str, dict[str, str]] = field(default_factory=dict)
    indexes: dict[str, list[dict]] = field(default_factory=dict)
    page: int = 1_000  # items of a page
    denied: bool = False  # ListTables
    unreadable: bool = False  # every Scan is denied
    label: str = "source"
    served: dict[str, int] = field(default_factory=dict)  # table → items that scans have given
    listed: int = 0

    limiter: RateLimiter = field(default_factory=RateLimiter)

    region, account, endpoint_url, environment = "eu-west-1", None, "http://127.0.0.1:1", "dev"
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

    def scan_pages(self, table: str, **how: Any) -> Iterator[list[dict]]:
        start = None
        while True:
            items, start = self.scan_page(table, start=start, **how)
            yield items
            if start is None:
                return

    def scan_page(
        self, table: str, *, start=None, segment=0, segments=1, limit=None, attributes=None, **_: Any
    ) -> tuple:
        if self.unreadable:
            raise DynamoError("target: Scan was refused.", "AccessDeniedException", "no", "Scan", table, None)
        items = self.tables[table][segment::segments]
        if attributes:
            items = [{name: item[name] for name in attributes if name in item} for item in items]
        at = int(start["at"]["N"]) if start else 0
        until = min(at + self.page, at + (limit or self.page))
        self.served[table] = self.served.get(table, 0) + len(items[at:until])
        return items[at:until], {"at": {"N": str(until)}} if until < len(items) else None


def parameters_of(mapping: str = "drafted.yaml", **more: Any) -> Parameters:
    """Parameters from environment dev to prod; `more` has other keys of theirs."""
    sides = {"source": {"environment": "dev"}, "target": {"environment": "prod"}}
    return build_parameters({"mapping": mapping, **sides, **more})


def draft_of(
    source: Source,
    pattern: str = "",
    most: int | None = None,
    parameters: Parameters | None = None,
    target: Source | None = None,
) -> Draft:
    """What is drafted from a source, and a target."""
    limiter, parameters = RateLimiter(), parameters or parameters_of()
    plan, names = sources_at(source, limiter, parameters, pattern)
    if target:
        target.label = "target"
        plan = replace(plan, target=target)
    return draft(parameters, Sources(names, plan, targets_at(plan) if target else Targets()), None, most)


def rules(draft: Draft) -> dict[tuple[str, str], Any]:
    """(entry, path) → what the drafted mapping says of it, as loaded."""
    return {
        (name, path): rule.to or rule.model_dump(exclude_none=True, exclude_unset=True)
        for name, entry in draft.mapping.entries.items()
        for path, rule in entry.model.references.items()
    }


def findings(draft: Draft, items: list[dict], key: dict[str, str]) -> Counter:
    """What 01 would find in the items of one table, routed as drafted: (what, entry, of what) → how many; nothing if all is well.

    Ids that come twice, references that name nothing, texts that cannot be read, ids that no rule rewrites, and two entries with
    the same ids.
    """
    entries = draft.mapping.entries
    shape = Shape(tuple(key.items()), tuple(key.items()), {})
    parents = parents_of(entries, dict.fromkeys(entries, shape), "prod")
    routes = {name: compile_route(entry, shape, parents) for name, entry in entries.items()}
    evidence, found, rows, ids = Evidence(entries, {}, entries), Counter(), [], {}
    for name, route in routes.items():
        own = [item for item in items if route.selects(item)]
        ids[name] = Counter(text_of(old) for item in own if (old := route.id_of(item)) is not None)
        evidence.add(name, own, as_columns(own), [*ids[name].elements()])
        rows += [route.route(item) for item in own]
    for row in rows:
        found.update(("unreadable", row.entry, path) for path in row.unreadable)
        dangling = [one for one in row.references if text_of(one.old) not in ids.get(one.parent, ())]
        found.update(("dangling", row.entry, one.path) for one in dangling)
    found.update({("repeated", name, ""): of.total() - len(of) for name, of in ids.items() if of.total() > len(of)})
    columns = evidence.columns()
    open_, _ = undeclared(find_references(columns, evidence, entries), entries)
    found.update({("undeclared", one.table, one.line): one.found for one in open_})
    found.update({("same", one.table, one.to): one.found for one in same_ids(columns, entries, evidence)})
    return found
