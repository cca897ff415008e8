"""Backups and restores by the command line and its notebooks: what is planned, done, shown and refused."""

import json
from datetime import UTC, datetime
from functools import partial

import pytest
import support_notebooks

pytestmark = pytest.mark.usefixtures("in_process")

CONFIRMED = ["--execute", "--confirm"]
RESIDENT = {"id": {"S": "theirs"}, "name": {"S": "of the application"}}


@pytest.fixture
def run(shop, capsys):
    """A function that runs one command; gives its exit code and JSON result."""
    return partial(support_notebooks.run, shop, capsys)


@pytest.fixture
def migrated(shop, run):
    """The shop migrated into production tables of which one held an item; gives the checkpoint."""
    code, made = run("create-tables", *CONFIRMED, f"{shop.name}prod")
    assert code == 0, made
    shop.client.put_item(TableName=f"Customers-{shop.name}prod", Item=RESIDENT)
    _, planned = run("migrate")
    assert f"take an on-demand backup of Customers-{shop.name}prod before the first insert" in planned["plan"]
    _, result = run("migrate", *CONFIRMED, f"{shop.name}prod")
    assert {about["kind"] for about in result["backups"].values()} == {"on_demand"}
    (checkpoint,) = shop.outputs.glob("*/migration-checkpoint-*.json")
    return checkpoint


@pytest.mark.pages
def test_a_backup_is_restored_and_copied_back(shop, run, migrated):
    """First only the plan; then the undo and a new table; then, of a run that is rolled back, what the target lost."""
    name = f"Customers-{shop.name}prod"
    arn = json.loads(migrated.read_text())["backups"][name]["arn"]
    rollback = ["rollback", "--checkpoint", str(migrated), "--restore-from"]
    execute = [*CONFIRMED, f"{shop.name}prod"]

    code, planned = run(*rollback, arn, params=False)
    assert (code, planned["verdict"]) == (0, "PLAN")
    assert f"restore {name} from {arn} into a new table" in planned["plan"]
    assert len(shop.items("Orders", "prod")) == 20

    code, restored = run(*rollback, arn, *execute, params=False)
    assert (code, restored["verdict"]) == (0, "ROLLED_BACK")
    assert restored["rollback"]["deleted"] == 26
    table = restored["restore"]["table"]
    assert shop.client.scan(TableName=table)["Items"] == [RESIDENT]
    assert shop.items("Customers", "prod") == [RESIDENT]
    page = (migrated.parent / "05_rollback-2.html").read_text()
    assert "A restore is not an undo" in page
    assert table in page

    shop.client.delete_item(TableName=name, Key={"id": RESIDENT["id"]})
    code, copied = run(*rollback, table, *execute, params=False)
    assert (code, copied["verdict"], copied["restore"]["inserted"]) == (0, "ROLLED_BACK", 1)
    assert shop.items("Customers", "prod") == [RESIDENT]

    shop.client.put_item(TableName=name, Item=RESIDENT | {"name": {"S": "edited"}})
    code, copied = run(*rollback, table, *execute, params=False)
    assert (code, copied["restore"]["different"]) == (1, 1)
    assert (migrated.parent / "restore-conflicts.jsonl").exists()
    shop.client.delete_table(TableName=table)


def test_a_time_is_restored(shop, run, migrated):
    """TABLE@TIME, by the entry's name; refused where point-in-time recovery is off, before anything is deleted."""
    moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    words = ["rollback", "--checkpoint", str(migrated), *CONFIRMED, f"{shop.name}prod", "--restore-from"]
    code, refused = run(*words, f"Orders@{moment}", params=False)
    assert (code, refused["verdict"]) == (2, "REFUSED")
    assert "is off" in refused["headline"]
    assert len(shop.items("Orders", "prod")) == 20
    shop.client.update_continuous_backups(
        TableName=f"Orders-{shop.name}prod", PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    code, restored = run(*words, f"Orders@{moment}", params=False)
    assert (code, restored["restore"]["kind"]) == (0, "point_in_time")
    shop.client.delete_table(TableName=restored["restore"]["table"])


def test_in_jupyterlab_a_restore_is_asked_for_once_more(shop, run, migrated, monkeypatch):
    """Another answer than RESTORE refuses it; the undo is done by then, and nothing is restored."""
    from runbook_lib.notebook import display
    from runbook_lib.notebook import rollback_book as notebook

    name = f"Customers-{shop.name}prod"
    arn = json.loads(migrated.read_text())["backups"][name]["arn"]
    answers = iter(["no", "RESTORE"])
    monkeypatch.setattr(display, "interactive", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: next(answers))
    content = {"checkpoint": str(migrated), "restore_from": arn, "execute": True, "confirm": f"{shop.name}prod"}
    book = notebook.begin({"mapping": "unused", **content, **_sides(migrated)})
    book.preview()
    book.confirm("rollback")
    undone = book.undo()
    with pytest.raises(notebook.Refused, match="nothing was restored"):
        book.restore(undone)
    pages = shop.client.get_paginator("list_tables").paginate()
    assert not [name for page in pages for name in page["TableNames"] if f"{shop.name}prod-restored" in name]
    restored = book.restore(undone)
    assert shop.client.scan(TableName=restored.result.table)["Items"] == [RESIDENT]
    shop.client.delete_table(TableName=restored.result.table)


def _sides(checkpoint):
    parameters = json.loads(checkpoint.read_text())["parameters"]
    return {"source": parameters["source"], "target": parameters["target"], "limits": parameters["limits"]}
