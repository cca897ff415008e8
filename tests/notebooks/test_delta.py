"""`runbook migrate --delta` by command: the plan, the confirmation, the run that it belongs to, exit codes."""

import pytest
from support_notebooks import run

pytestmark = pytest.mark.usefixtures("in_process")


def test_a_delta_by_command(shop, capsys):
    """The plan reads and counts; with execute the finished run is brought up to date, and 04 proves it."""
    target = f"{shop.name}prod"
    writing = ("--execute", "--confirm", target)
    code, result = run(shop, capsys, "migrate", "--delta", *writing)
    assert (code, "migrate first" in result["error"]) == (2, True)
    _, migrated = run(shop, capsys, "full-migration", *writing)
    source = f"Customers-{shop.name}dev"
    shop.client.put_item(TableName=source, Item={"id": {"S": "c1"}, "name": {"S": "Another"}})
    shop.client.put_item(TableName=source, Item={"id": {"S": "c6"}, "name": {"S": "New"}})
    shop.client.delete_item(TableName=source, Key={"id": {"S": "c2"}})
    before = shop.items("Customers", "prod")

    code, validated = run(shop, capsys, "validate")
    assert (code, validated["verdict"]) == (1, "FAIL")
    assert validated["validation"]["drift"] == {"added": 1, "changed": 1, "deleted": 1, "edited_in_target": 0}
    assert any("--delta" in alert["action"] for alert in validated["alerts"])

    code, planned = run(shop, capsys, "migrate", "--delta")
    assert planned["verdict"] == "PLAN", planned["headline"]
    assert (code, planned["verdict"], planned["run_id"]) == (0, "PLAN", migrated["run_id"])
    assert planned["plan"] == [
        "insert 1 item added to the source since",
        "replace 1 item that the source has changed",
        "leave and list 1 item",
    ]
    assert shop.items("Customers", "prod") == before

    code, result = run(shop, capsys, "migrate", "--delta", "--retry-failed", *writing)
    assert (code, result["verdict"]) == (2, "REFUSED")

    code, caught_up = run(shop, capsys, "migrate", "--delta", *writing)
    assert (code, caught_up["verdict"], caught_up["run_id"]) == (1, "REVIEW", migrated["run_id"])
    assert caught_up["headline"].startswith(
        "26 source items compared: 1 added and 1 changed since; 1 inserted, 1 replaced"
    )
    assert {name: n for name, n in caught_up["drift"].items() if n} == {
        "looked_at": 26,
        "added": 1,
        "changed": 1,
        "deleted": 1,
        "inserted": 1,
        "updated": 1,
    }
    assert {item["name"]["S"] for item in shop.items("Customers", "prod")} >= {"Another", "New"}

    code, validated = run(shop, capsys, "validate")
    assert [validated["validation"][key] for key in ("missing", "different", "extra")] == [0, 0, 1]
    assert validated["drift"] == caught_up["drift"]
