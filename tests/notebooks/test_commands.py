"""The five notebooks through the command line, on a server on a port: what they do to the tables, say and leave."""

import json

import pytest

from runbook_lib.cli import main

CONFIRMED = ["--execute", "--confirm"]


def run(shop, capsys, command, *arguments, params=True):
    """Exit code and JSON result of one command."""
    words = [command, *([str(shop.params)] if params else []), *arguments]
    code = main([*words, "--outputs", str(shop.outputs), "--json"])
    out = capsys.readouterr().out
    return code, json.loads(out)


def test_the_five_stages_in_sequence(shop, capsys):
    """Each stage does its part, in one run, and the rollback leaves the target as it was."""
    target = f"{shop.name}prod"
    code, analysis = run(shop, capsys, "analyze")
    assert (code, analysis["verdict"]) == (1, "REVIEW")
    assert analysis["totals"]["records"] == 26
    assert analysis["tables"]["Orders"]["references"] == {"customerId": 20, "notes:json[]": 40}
    assert analysis["tables"]["Orders"]["dangling"] == {"customerId": 2, "notes:json[]": 1}
    assert not shop.exists("Orders", "prod")

    code, tested = run(shop, capsys, "test", "Orders", "--limit", "2", *CONFIRMED, target)
    assert (code, tested["verdict"]) == (0, "PASS")
    assert tested["test"]["undone"] == tested["test"]["items"] > 2
    assert shop.items("Orders", "prod") == [] == shop.items("Customers", "prod")

    code, migrated = run(shop, capsys, "migrate", *CONFIRMED, target)
    assert (code, migrated["verdict"]) == (1, "REVIEW")
    assert migrated["totals"] == {
        "scanned": 26,
        "inserted": 26,
        "already_there": 0,
        "conflicts": 0,
        "quarantined": 0,
        "failed": 0,
        "unrouted": 0,
    }
    assert migrated["relationships_preserved"] == 57
    assert migrated["id_map"]["rows"] == 26
    ids = {item["id"]["S"] for item in shop.items("Customers", "prod")}
    assert sum(order["customerId"]["S"] in ids for order in shop.items("Orders", "prod")) == 18

    code, validated = run(shop, capsys, "validate")
    assert (code, validated["verdict"]) == (1, "REVIEW")
    figures = validated["validation"]
    assert [figures[key] for key in ("checked", "missing", "different", "extra", "dangling")] == [26, 0, 0, 0, 3]

    checkpoint = next(shop.outputs.glob(f"*/{migrated['checkpoint']}"))
    code, rolled = run(
        shop,
        capsys,
        "rollback",
        "--checkpoint",
        str(checkpoint),
        *CONFIRMED,
        target,
        "--delete-tables",
        "Orders",
        params=False,
    )
    assert (code, rolled["verdict"]) == (0, "ROLLED_BACK")
    assert rolled["rollback"]["deleted"] == 26
    assert rolled["rollback"]["tables_deleted"] == [f"Orders-{target}"]
    assert not shop.exists("Orders", "prod")
    assert shop.items("Customers", "prod") == []

    assert {analysis["run_id"], migrated["run_id"], rolled["run_id"]} == {checkpoint.parent.name}
    left = {path.name for path in checkpoint.parent.iterdir()}
    assert {f"{stage}.{kind}" for stage in STAGES for kind in ("ipynb", "html")} <= left
    assert {"id-map.parquet", "run.log", "journal"} <= left
    assert (shop.outputs / "index.html").read_text().count("03_migrate") >= 1


STAGES = ("01_analyze", "02_test", "03_migrate", "04_validate", "05_rollback")


def test_full_migration_creates_migrates_and_validates(shop, capsys):
    """One command makes the tables, inserts everything and proves it."""
    code, result = run(shop, capsys, "full-migration", *CONFIRMED, f"{shop.name}prod")
    assert (code, result["stage"], result["validation"]["missing"]) == (1, "validate", 0)
    assert len(shop.items("Orders", "prod")) == 20


@pytest.mark.parametrize("command", ["migrate", "full-migration", "create-tables"])
def test_without_execute_the_plan_is_shown_and_nothing_written(shop, capsys, command):
    """A writing command without --execute exits 0, says what it would do, and touches nothing."""
    if command == "migrate":
        run(shop, capsys, "create-tables", *CONFIRMED, f"{shop.name}prod")
    code, result = run(shop, capsys, command)
    assert (code, result["verdict"]) == (0, "PLAN")
    assert result["plan"]
    if command == "migrate":
        assert shop.items("Orders", "prod") == []
    else:
        assert not shop.exists("Orders", "prod")


def test_a_second_migration_inserts_nothing_and_says_so(shop, capsys):
    """Without a run id a complete migration begins a new run, in which everything is already there."""
    target = f"{shop.name}prod"
    run(shop, capsys, "create-tables", *CONFIRMED, target)
    _, first = run(shop, capsys, "migrate", *CONFIRMED, target)
    before = shop.items("Orders", "prod")
    _, second = run(shop, capsys, "migrate", *CONFIRMED, target)
    assert second["run_id"] != first["run_id"]
    assert (second["totals"]["inserted"], second["totals"]["already_there"]) == (0, 26)
    _, again = run(shop, capsys, "migrate", *CONFIRMED, target, "--run-id", first["run_id"])
    assert again["totals"] == first["totals"]
    assert "Nothing was written" in again["headline"]
    assert shop.items("Orders", "prod") == before


def test_a_writing_command_without_a_terminal_needs_its_confirmation(shop, capsys):
    """No --confirm and nobody to ask: refused, exit code 2, no run folder, nothing written."""
    code, result = run(shop, capsys, "migrate", "--execute")
    assert (code, result["verdict"]) == (2, "REFUSED")
    assert f"--confirm {shop.name}prod" in result["error"]
    assert not shop.outputs.exists()


def test_a_refusal_in_the_notebook_is_one_sentence_and_exit_code_2(shop, capsys):
    """A missing target table refuses the migration in the kernel; the command says so in a sentence."""
    code = main(["migrate", str(shop.params), *CONFIRMED, f"{shop.name}prod", "--outputs", str(shop.outputs)])
    captured = capsys.readouterr()
    assert code == 2
    assert "does not exist" in captured.err
    assert "Traceback" not in captured.err
    assert len(captured.err.strip().splitlines()) == 1


def test_status_reads_the_journal(shop, capsys):
    """`status` tells a finished migration's counts without touching DynamoDB."""
    target = f"{shop.name}prod"
    _, result = run(shop, capsys, "full-migration", *CONFIRMED, target)
    code, told = run(shop, capsys, "status", result["run_id"], params=False)
    assert (code, told["state"], told["totals"]["inserted"]) == (0, "complete", 26)


def test_a_rollback_is_refused_while_a_later_run_stands_on_it(shop, capsys):
    """Row 58: what a later run inserted into the same target may build on the first; it is rolled back first."""
    target = f"{shop.name}prod"
    _, first = run(shop, capsys, "full-migration", *CONFIRMED, target)
    shop.client.put_item(TableName=f"Orders-{shop.name}dev", Item={"id": {"S": "late"}, "customerId": {"S": "c1"}})
    _, second = run(shop, capsys, "migrate", *CONFIRMED, target)
    assert (second["totals"]["inserted"], second["totals"]["already_there"]) == (1, 26)

    def roll_back(run_id):
        (checkpoint,) = (shop.outputs / run_id).glob("migration-checkpoint-*.json")
        return run(shop, capsys, "rollback", "--checkpoint", str(checkpoint), *CONFIRMED, target, params=False)

    code, refused = roll_back(first["run_id"])
    assert (code, second["run_id"] in refused["headline"]) == (2, True)
    assert len(shop.items("Orders", "prod")) == 21
    assert roll_back(second["run_id"])[0] == 0
    assert len(shop.items("Orders", "prod")) == 20
    assert roll_back(first["run_id"])[0] == 0
    assert shop.items("Orders", "prod") == []
