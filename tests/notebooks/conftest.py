"""A small shop in two environments on a server of its own, for the notebooks to work on."""

from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
import support_fixtures
import support_notebooks
import yaml

in_process = support_notebooks.in_process
browser = support_fixtures.browser

ROOT = Path(__file__).resolve().parents[2]
REGION = "us-west-1"
MAPPING = {
    "defaults": {
        "source": "{table}-{source.environment}",
        "target": "{table}-{target.environment}",
        "create": {"key": {"id": "S"}},
    },
    "tables": {
        "Customers": {},
        "Orders": {"references": {"customerId": "Customers", "notes:json[]": "Orders"}},
    },
}
CUSTOMERS = [{"id": {"S": f"c{n}"}, "name": {"S": f"Name {n}"}, "credit": {"N": f"{n}.50"}} for n in range(6)]
ORDERS = [
    {"id": {"S": f"o{n}"}, "customerId": {"S": f"c{n % 7}"}, "notes": {"S": f'["o{n}", "o{n + 1}"]'}} for n in range(20)
]
DANGLING = 3  # orders 6 and 13 name c6, and the notes of the last one an order that is not there


@dataclass
class Shop:
    """The tables of one test, with what a command line needs to find them."""

    name: str  # part of both environments' names, so that tests do not meet
    client: object
    params: Path
    outputs: Path

    def items(self, table: str, side: str) -> list[dict]:
        """Everything in a table, as boto3 gives it."""
        return self.client.scan(TableName=f"{table}-{self.name}{side}", ConsistentRead=True)["Items"]

    def exists(self, table: str, side: str) -> bool:
        """Whether a table is there."""
        pages = self.client.get_paginator("list_tables").paginate()
        return any(f"{table}-{self.name}{side}" in page["TableNames"] for page in pages)


@pytest.fixture
def shop(request, engine_pool, tmp_path, monkeypatch) -> Shop:
    """A shop with two tables, 26 items and three dangling references; the target has no tables yet. On moto, or as asked."""
    engine = engine_pool(getattr(request, "param", "moto"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", engine.endpoint_url)
    name = f"t{uuid4().hex[:12]}"
    client = engine.client(REGION)
    for table, items in (("Customers", CUSTOMERS), ("Orders", ORDERS)):
        client.create_table(
            TableName=f"{table}-{name}dev",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        for item in items:
            client.put_item(TableName=f"{table}-{name}dev", Item=item)
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump(MAPPING))
    params = {
        "mapping": str(tmp_path / "shop.yaml"),
        "source": {"environment": f"{name}dev", "region": REGION},
        "target": {"environment": f"{name}prod", "region": REGION, "production": True},
        "limits": {"workers": 2},
    }
    path = tmp_path / "shop_params.yaml"
    path.write_text(yaml.safe_dump(params))
    return Shop(name, client, path, tmp_path / "outputs")
