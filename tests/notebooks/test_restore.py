"""Backups and restores by the command line and its notebooks: what is planned, done, shown and refused."""

import json
from datetime import UTC, datetime
from functools import partial

import pytest
import support_notebooks

from runbook_lib import commands
from runbook_lib.notebook import rollback_book

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

    code, restored = run(*rollback, arn, *execute, "--confirm-restore", arn, params=False)
    assert (code, restored["verdict"]) == (0, "ROLLED_BACK")
    assert restored["rollback"]["deleted"] == 26
    table = restored["restore"]["table"]
    assert shop.client.scan(TableName=table)["Items"] == [RESIDENT]
    assert shop.items("Customers", "prod") == [RESIDENT]
    page = (migrated.parent / "05_rollback-2.html").read_text()
    assert "A restore is not an undo" in page
    assert table in page

    shop.client.delete_item(TableName=name, Key={"id": RESIDENT["id"]})
    code, copied = run(*rollback, table, *execute, "--confirm-restore", table, params=False)
    assert (code, copied["verdict"], copied["restore"]["inserted"]) == (0, "ROLLED_BACK", 1)
    assert shop.items("Customers", "prod") == [RESIDENT]

    shop.client.put_item(TableName=name, Item=RESIDENT | {"name": {"S": "edited"}})
    code, copied = run(*rollback, table, *execute, "--confirm-restore", table, params=False)
    assert (code, copied["restore"]["different"]) == (1, 1)
    assert (migrated.parent / "restore-conflicts.jsonl").exists()
    shop.client.delete_table(TableName=table)


def test_a_time_is_restored(shop, run, migrated):
    """TABLE@TIME, by the entry's name; refused where point-in-time recovery is off, before anything is deleted."""
    moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    words = ["rollback", "--checkpoint", str(migrated), *CONFIRMED, f"{shop.name}prod", "--restore-from"]
    words = [*words, f"Orders@{moment}", "--confirm-restore", f"Orders@{moment}"]
    code, refused = run(*words, params=False)
    assert (code, refused["verdict"]) == (2, "REFUSED")
    assert "is off" in refused["headline"]
    assert len(shop.items("Orders", "prod")) == 20
    shop.client.update_continuous_backups(
        TableName=f"Orders-{shop.name}prod", PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    code, restored = run(*words, params=False)
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
    book.confirm(book.preview())
    undone = book.undo()
    with pytest.raises(notebook.Refused, match="this was not done: restore Customers"):
        book.restore(undone)
    pages = shop.client.get_paginator("list_tables").paginate()
    assert not [name for page in pages for name in page["TableNames"] if f"{shop.name}prod-restored" in name]
    restored = book.restore(undone)
    assert shop.client.scan(TableName=restored.result.table)["Items"] == [RESIDENT]
    shop.client.delete_table(TableName=restored.result.table)


ORDERS = ("--delete-tables", "Orders")


REFUSALS = (
    (ORDERS, "where empty: Orders needs its own confirmation: --confirm-delete Orders."),
    (
        (*ORDERS, "--confirm-delete", "Customers"),
        "--confirm-delete Customers does not fit: what this rollback would do",
    ),
    ((*ORDERS, "--restore-from", "ARN"), "into a new table needs its own confirmation: --confirm-restore ARN."),
    (("--restore-from", "ARN", "--confirm-restore", "Orders"), "--confirm-restore Orders does not fit"),
    (("--confirm-restore", "ARN"), "this rollback has no such step"),
    (("--confirm-delete", "Orders"), "this rollback has no such step"),
    (("--delete-tables", "Order"), "did not create this table"),
)


def test_each_step_after_the_undo_is_refused_before_it_without_its_own_confirmation(shop, run, migrated, capsys):
    """By command, and by papermill alone: nothing is deleted then."""
    arn = json.loads(migrated.read_text())["backups"][f"Customers-{shop.name}prod"]["arn"]
    words = ["rollback", "--checkpoint", str(migrated), *CONFIRMED, f"{shop.name}prod"]
    for more, sentence in REFUSALS:
        more = [arn if word == "ARN" else word for word in more]
        code, refused = run(*words, *more, params=False)
        assert (code, refused["verdict"]) == (2, "REFUSED")
        assert sentence.replace("ARN", arn) in refused["error"]
        assert not list(migrated.parent.glob("05_rollback*"))

        values = dict(zip((word.removeprefix("--").replace("-", "_") for word in more[::2]), more[1::2], strict=True))
        content = {"checkpoint": str(migrated), "execute": True, "confirm": f"{shop.name}prod", **values}
        book = rollback_book.begin({"mapping": "unused", **content, **_sides(migrated)})
        with pytest.raises(rollback_book.Refused) as problem:
            book.confirm(book.preview())
        assert sentence.replace("ARN", arn) in str(problem.value)
        capsys.readouterr()  # what the notebook displayed is none of the next command's
    assert len(shop.items("Orders", "prod")) == 20


def test_a_terminal_asks_for_each_step_before_the_notebook_starts(shop, run, migrated, monkeypatch):
    """Each question says what will happen, with numbers; a wrong answer to the last one stops the first step, too."""
    target, asked = f"{shop.name}prod", []
    monkeypatch.setattr(commands, "terminal", lambda: lambda question: asked.append(question) or next(answers))
    arn = json.loads(migrated.read_text())["backups"][f"Customers-{target}"]["arn"]
    words = ["rollback", "--checkpoint", str(migrated), "--execute", "--restore-from", arn, *ORDERS]
    answers = iter([target, target, "RESTORE", "yes"])
    code, refused = run(*words, params=False)
    assert (code, len(shop.items("Orders", "prod"))) == (2, 20)
    assert "the answer was not DELETE; this was not done: delete 1 table" in refused["error"]
    place = f"{target} (production, us-west-1)"
    assert asked == [
        f"Delete 26 inserted items from 2 tables of {place}, unless somebody has changed them? Type the environment to "
        "confirm: ",
        f"Once more, {target}, to be sure: ",
        f"Restore Customers-{target} from {arn} into a new table? Type RESTORE to confirm: ",
        f"Delete 1 table of {place}, where empty: Orders? Type DELETE to confirm: ",
    ]
    answers = iter(["RESTORE", "DELETE"])
    code, rolled = run(*words, "--confirm", target, params=False)
    assert (code, rolled["rollback"]["tables_deleted"]) == (0, [f"Orders-{target}"])
    records = [json.loads(line) for line in (migrated.parent / "audit.jsonl").read_text().splitlines()]
    confirmed = next(one["confirmed"] for one in reversed(records) if "confirmed" in one)
    assert [line.partition(" ")[0] for line in confirmed] == ["restore", "delete", "delete"]
    assert confirmed[-1].endswith(f"confirmed for {target} by parameter")
    shop.client.delete_table(TableName=rolled["restore"]["table"])


def _sides(checkpoint):
    parameters = json.loads(checkpoint.read_text())["parameters"]
    return {"source": parameters["source"], "target": parameters["target"], "limits": parameters["limits"]}
