"""The commands with a lease: every stage that writes takes it, and gives it up again."""

import re

import pytest
from support_notebooks import command

pytestmark = pytest.mark.usefixtures("in_process")


def run(shop, capsys, *words):
    """Exit code, JSON result and messages of one command."""
    return command(capsys, *words, "--execute", "--confirm", f"{shop.name}prod", "--outputs", shop.outputs)


@pytest.mark.slow
def test_test_migration_and_rollback_hold_the_lease_one_after_the_other(shop, capsys):
    """Named for the first two by `-p`, known to the third from the checkpoint; the numbers grow."""
    leases = f"Leases-{shop.name}"
    shop.client.create_table(
        TableName=leases,
        KeySchema=[{"AttributeName": "of", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "of", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    with_lease = ("-p", f"lease.table={leases}", "-p", "lease.seconds=20", "--run-id", "the-only-run")
    assert run(shop, capsys, "test", str(shop.params), "Orders", *with_lease)[0] == 0
    code, migrated, _ = run(shop, capsys, "migrate", str(shop.params), *with_lease)
    assert (code, migrated["totals"]["inserted"]) == (1, 26)
    checkpoint = next(shop.outputs.glob(f"*/{migrated['checkpoint']}"))
    assert run(shop, capsys, "rollback", "--checkpoint", str(checkpoint))[0] == 0
    log = (checkpoint.parent / "run.log").read_text()
    assert re.findall(r"holds the lease on Orders-\w+, fence (\d)", log) == ["1", "2", "3"]
    items = shop.client.scan(TableName=leases)["Items"]
    assert [(item["lease_fence"]["N"], item["lease_released"]["BOOL"]) for item in items] == [("3", True)] * 2


def test_without_the_table_nothing_is_written(shop, capsys):
    """Refused in one sentence that says how to make it."""
    code, result, said = run(shop, capsys, "migrate", str(shop.params), "-p", "lease.table=Nowhere")
    assert (code, result["verdict"]) == (2, "REFUSED")
    assert "lease.table Nowhere does not exist in us-west-1" in said
    assert "with one partition key of type S" in said
    assert not shop.exists("Orders", "prod")
