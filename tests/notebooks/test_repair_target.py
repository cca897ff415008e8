"""`runbook validate --repair` by command: the plan, the confirmation, exit codes, and what a rollback takes back."""

import pytest
from support_notebooks import run

pytestmark = pytest.mark.usefixtures("in_process")


@pytest.mark.slow
def test_a_repair_by_command(shop, capsys):
    """Without --execute a plan; without --confirm a refusal; with both the missing items, compared."""
    target = f"{shop.name}prod"
    writing = ("--execute", "--confirm", target)
    run(shop, capsys, "full-migration", *writing)
    table = f"Customers-{target}"
    shop.client.delete_item(TableName=table, Key={"id": shop.items("Customers", "prod")[0]["id"]})
    shop.client.put_item(TableName=f"Customers-{shop.name}dev", Item={"id": {"S": "c6"}})
    before = shop.items("Customers", "prod")

    code, result = run(shop, capsys, "validate", "--execute")
    assert (code, "--execute belongs to --repair" in result["error"]) == (2, True)
    code, result = run(shop, capsys, "validate", "--repair", "--execute")
    assert (code, f"--confirm {target}" in result["error"]) == (2, True)
    code, planned = run(shop, capsys, "validate", "--repair")
    assert (code, planned["verdict"]) == (0, "PLAN")
    assert planned["plan"] == [
        "insert 1 item of Customers: added to the source since",
        "leave out 1 item of Customers: deleted in the target since (`--repair deleted` inserts them)",
    ]
    assert shop.items("Customers", "prod") == before

    code, result = run(shop, capsys, "validate", "--repair", *writing)
    assert (code, result["verdict"], result["validation"]["missing"]) == (1, "FAIL", 1)
    code, result = run(shop, capsys, "validate", "--repair", "deleted", *writing)
    assert (code, result["verdict"], result["validation"]["missing"]) == (1, "REVIEW", 0)  # for what dangles
    assert result["headline"].startswith("27 of 27 items equal to what the mapping makes of the source; 0 missing")
    assert result["validation"]["repaired"]["inserted"] == 1
    assert len(shop.items("Customers", "prod")) == 7
