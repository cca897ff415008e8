"""00 through the command line: the file it writes, what it refuses, and that 01 takes what it wrote."""

import json
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5

import pytest
import yaml
from support_notebooks import run

pytestmark = pytest.mark.usefixtures("in_process")


@pytest.fixture
def undrafted(shop):
    """The shop, whose mapping file does not exist yet."""
    Path(_mapping(shop)).unlink()
    return shop


@pytest.fixture
def with_uuids(undrafted):
    """The same shop with ids that look like ids."""
    ids = {n: str(uuid5(NAMESPACE_OID, str(n))) for n in range(100)}
    for table, new in (
        ("Customers", [{"id": {"S": ids[n]}} for n in range(6)]),
        ("Orders", [
            {"id": {"S": ids[50 + n]}, "customerId": {"S": ids[n % 7]}, "notes": {"S": f'["{ids[50 + n]}"]'}}
            for n in range(20)
        ]),
    ):  # fmt: skip
        name = f"{table}-{undrafted.name}dev"
        for item in undrafted.items(table, "dev"):
            undrafted.client.delete_item(TableName=name, Key={"id": item["id"]})
        for item in new:
            undrafted.client.put_item(TableName=name, Item=item)
    return undrafted


def _mapping(shop) -> str:
    return yaml.safe_load(shop.params.read_text())["mapping"]


def test_the_draft_is_what_the_later_stages_run_with(with_uuids, capsys):
    """Draft, analysis, migration and validation of one run; nothing of the draft is edited."""
    shop, target = with_uuids, f"{with_uuids.name}prod"
    code, drafted = run(shop, capsys, "draft", "--run-id", "the-only-run")
    assert (code, drafted["verdict"], drafted["mapping"]) == (0, "PASS", "shop.yaml")
    assert {name: entry["records"] for name, entry in drafted["tables"].items()} == {"Customers": 6, "Orders": 20}
    found = drafted["tables"]["Orders"]["references"]
    assert {path: (one["to"], one["decision"]) for path, one in found.items()} == {
        "customerId": ("Customers", "declared"),
        "notes:json[]": ("Orders", "declared"),
    }
    assert (found["customerId"]["values"], found["customerId"]["found"]) == (20, 18)
    names = {path.name for path in (shop.outputs / "the-only-run").iterdir()}
    assert {"00_draft.ipynb", "00_draft.html", "audit.jsonl"} <= names
    assert any(name.startswith("mapping-draft-") for name in names)

    code, analysis = run(shop, capsys, "analyze", "--run-id", "the-only-run")
    assert (code, analysis["undeclared"], analysis["unmatched"]) == (1, [], [])
    confirmed = ["--run-id", "the-only-run", "--execute", "--confirm", target]
    assert run(shop, capsys, "create-tables", *confirmed)[0] == 0
    _, migrated = run(shop, capsys, "migrate", *confirmed, "-p", "target.backup=waived")
    assert migrated["totals"]["inserted"] == 26
    _, validated = run(shop, capsys, "validate", "--run-id", "the-only-run")
    assert validated["validation"]["residual_ids"]["items"] == 0
    assert validated["validation"]["missing"] == validated["validation"]["different"] == 0
    assert run(shop, capsys, "verify", "the-only-run", params=False)[0] == 0


def test_a_natural_key_is_yours_to_decide(with_uuids, capsys):
    """The notebook shows it, the file has it as a comment, and the exit code is 1; no value of an item is in either."""
    shop = with_uuids
    shop.client.create_table(
        TableName=f"Customers-{shop.name}prod",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    for side, first, shift in (("dev", 0, 0), ("prod", 1_000, 3)):
        for n in range(6):
            item = {
                "id": {"S": str(uuid5(NAMESPACE_OID, str(first + n)))},
                "email": {"S": f"someone{n + shift}@example.com"},
            }
            shop.client.put_item(TableName=f"Customers-{shop.name}{side}", Item=item)
    code, drafted = run(shop, capsys, "draft")
    assert (code, drafted["verdict"], drafted["totals"]["matches"]) == (1, "REVIEW", 1)
    (found,) = drafted["tables"]["Customers"]["matches"]
    assert (found["by"], found["both"], found["ambiguous"], found["decision"]) == (["email"], 3, 0, "ambiguous")
    assert "1 natural key to decide" in drafted["headline"]
    text, notebook = Path(_mapping(shop)).read_text(), Path(drafted["notebook"]).read_text()
    assert "# match: {by: [email], found: reuse}" in text
    assert "nearly the same" in notebook
    assert "someone" not in text + notebook + json.dumps(drafted)


def test_an_existing_mapping_is_replaced_only_by_force(shop, capsys):
    """Refused before a run begins; with --force the old one stays beside it."""
    old = Path(_mapping(shop)).read_text()
    code, refused = run(shop, capsys, "draft")
    assert (code, "shop.yaml exists" in refused["error"]) == (2, True)
    assert not shop.outputs.exists()
    key = {"PK": "HASH", "SK": "RANGE"}
    shop.client.create_table(
        TableName=f"Lines-{shop.name}dev",
        KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in key.items()],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in key],
        BillingMode="PAY_PER_REQUEST",
    )
    shop.client.put_item(TableName=f"Lines-{shop.name}dev", Item={"PK": {"S": "SETTINGS"}, "SK": {"S": "MAIN"}})
    _, done = run(shop, capsys, "draft", "--force")
    (shown,) = shop.outputs.glob("*/00_draft.ipynb")
    assert "No ids are renewed in Lines: no attribute and no part of a key was found there" in shown.read_text()
    (kept,) = Path(_mapping(shop)).parent.glob("shop.yaml.*")
    assert kept.read_text() == old != Path(_mapping(shop)).read_text()
    assert kept.name in done["headline"]


def test_what_cannot_be_drafted_leaves_no_file(undrafted, capsys):
    """No table of that name, an unknown hole, fewer than no items: one sentence, exit code 2."""
    for words, said in (
        (["--pattern", "nothing-{table}-here"], "has a name like nothing-{table}-here"),
        (["--pattern", "{tabel}"], "{tabel} has no value"),
        (["--items", "-1"], "items is -1"),
    ):
        code, refused = run(undrafted, capsys, "draft", *words)
        assert (code, said in refused["error"]) == (2, True), refused
    assert not Path(_mapping(undrafted)).exists()


def test_what_is_ambiguous_makes_the_exit_code_1(undrafted, capsys):
    """`o5` is an id of an order, and could be anything; the file loads all the same."""
    shop = undrafted
    code, drafted = run(shop, capsys, "draft", "--items", "15")
    found = drafted["tables"]["Orders"]["references"]
    assert {path: one["decision"] for path, one in found.items()} == {
        "customerId": "declared",
        "notes:json[]": "ambiguous",
    }
    assert (code, drafted["verdict"], drafted["at_most"], drafted["items_read"]) == (1, "REVIEW", 15, 21)
    assert '# "notes:json[]": Orders  # decide: ' in Path(_mapping(shop)).read_text()
    assert "# decide: " in json.dumps(json.loads(Path(drafted["notebook"]).read_text()))
    assert run(shop, capsys, "analyze")[0] == 1
