"""03 by command, held against the plan of 01: exit codes, sentences, what the notebook shows, `runbook verify`."""

import json

import nbformat
import pytest
from support_notebooks import run

pytestmark = pytest.mark.usefixtures("in_process")


def shown(result) -> str:
    """What the executed copy shows."""
    outputs = (o for cell in nbformat.read(result["notebook"], 4).cells for o in cell.get("outputs", ()))
    return "\n".join(str(output.get("data", {}).get("text/html", "")) for output in outputs)


@pytest.fixture
def analyzed(shop, capsys):
    """The run of an analysis and its tables, and what confirms the writing."""
    _, analysis = run(shop, capsys, "analyze")
    writing = ("--execute", "--confirm", f"{shop.name}prod", "--run-id", analysis["run_id"])
    assert run(shop, capsys, "create-tables", *writing)[0] == 0
    return writing


def with_index(shop, table):
    """Adds an index to a target table."""
    shop.client.update_table(
        TableName=f"{table}-{shop.name}prod",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("id", "customerId")],
        GlobalSecondaryIndexUpdates=[
            {
                "Create": {
                    "IndexName": "byCustomer",
                    "KeySchema": [{"AttributeName": "customerId", "KeyType": "HASH"}],
                    "Projection": {"ProjectionType": "ALL"},
                }
            }
        ],
    )


def test_a_changed_table_is_refused_with_two_and_accepted_where_the_command_says_so(shop, analyzed, capsys):
    """Nothing is written before; then the notebook shows what differs, and the ledger of 03."""
    with_index(shop, "Orders")
    code, refused = run(shop, capsys, "migrate", *analyzed)
    assert (code, refused["verdict"]) == (2, "REFUSED")
    assert f"Orders-{shop.name}prod is not as 01 saw it" in refused["error"]
    assert "index byCustomer is new" in refused["error"]
    assert shop.items("Orders", "prod") == [] == shop.items("Customers", "prod")

    code, migrated = run(shop, capsys, "migrate", *analyzed, "--accept-drift")
    assert (code, migrated["totals"]["inserted"]) == (1, 26)
    assert [(one["what"], one["name"]) for one in migrated["plan"]["drift"]] == [("index", "byCustomer")]
    assert migrated["plan"]["accepted"]
    text = shown(migrated)
    assert "customerId (S), projects ALL" in text
    assert "All 78 values are accounted for" in text
    assert migrated["tables"]["Orders"]["ledger"]["customerId"] | {} == {
        word: 20 if word == "rewritten" else 0 for word in migrated["tables"]["Orders"]["ledger"]["customerId"]
    }

    assert run(shop, capsys, "verify", migrated["run_id"], params=False)[0] == 0
    path = next(shop.outputs.glob("*/plan.json"))
    path.write_text(json.dumps(json.loads(path.read_text())))
    code, verified = run(shop, capsys, "verify", migrated["run_id"], params=False)
    assert (code, verified["problems"]) == (1, ["plan.json was changed"])
    code, refused = run(shop, capsys, "migrate", *analyzed)
    assert (code, "is not the one that 01 left" in refused["error"]) == (2, True)


@pytest.mark.slow
def test_full_migration_takes_the_word_too(shop, analyzed, capsys):
    """Refused without it before 04; with it all stages run."""
    with_index(shop, "Orders")
    code, refused = run(shop, capsys, "full-migration", *analyzed)
    assert (code, "byCustomer" in refused["error"]) == (2, True)
    code, validated = run(shop, capsys, "full-migration", *analyzed, "--accept-drift")
    assert (code, validated["stage"], validated["plan"]["accepted"]) == (1, "validate", True)
