"""The five notebooks through the command line, on a server on a port: what they do to the tables, say and leave."""

import json
from pathlib import Path

import pytest
import yaml
from support_notebooks import NoProgress, command, run

from runbook_lib.cli import main
from runbook_lib.dynamo import session
from runbook_lib.errors import Interrupted
from runbook_lib.notebook import execute
from runbook_lib.notebook.display import STAYS
from runbook_lib.notebook.steps import Steps
from runbook_lib.run.files import json_seal
from runbook_lib.run.released import digest

pytestmark = pytest.mark.usefixtures("in_process")

CONFIRMED = ["--execute", "--confirm"]


@pytest.mark.pages
def test_the_five_stages_in_sequence(shop, capsys, monkeypatch):
    """Each stage does its part, in one run and in its name, and the rollback leaves the target as it was."""
    target, connect, names = f"{shop.name}prod", session.connect, []
    monkeypatch.setattr(
        session, "connect", lambda *a, run_id="", **k: names.append(run_id) or connect(*a, run_id=run_id, **k)
    )
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
        "expired": 0,
        "matched": 0,
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
    verify = ["verify", checkpoint.parent.name, "--outputs", str(shop.outputs)]
    assert main([*verify, "--head", migrated["audit_head"]]) == 0
    assert "untouched" in capsys.readouterr().out
    rollback = [
        "rollback",
        "--checkpoint",
        str(checkpoint),
        *CONFIRMED,
        target,
        "--delete-tables",
        "Orders",
        "--confirm-delete",
        "Orders",
    ]
    written = checkpoint.read_bytes()
    content = json.loads(written)
    content["entries"]["Orders"]["target"] = content["entries"]["Customers"]["target"]
    del content["sha256"]
    checkpoint.write_text(json.dumps({**content, "sha256": json_seal(content)}))
    code, refused = run(shop, capsys, *rollback, params=False)
    assert (code, refused["verdict"]) == (2, "REFUSED")
    assert refused["error"].startswith(f"{checkpoint.name} was changed; restore the file from a copy")
    assert (main(verify), len(shop.items("Customers", "prod"))) == (1, 6)
    assert f"{checkpoint.name} was changed\n" in capsys.readouterr().out
    checkpoint.write_bytes(written)

    code, rolled = run(shop, capsys, *rollback, params=False)
    assert (code, rolled["verdict"]) == (0, "ROLLED_BACK")
    assert rolled["rollback"]["deleted"] == 26
    assert rolled["rollback"]["tables_deleted"] == [f"Orders-{target}"]
    assert not shop.exists("Orders", "prod")
    assert shop.items("Customers", "prod") == []

    assert {analysis["run_id"], migrated["run_id"], rolled["run_id"], *names} == {checkpoint.parent.name}
    left = {path.name for path in checkpoint.parent.iterdir()}
    assert {f"{stage}.{kind}" for stage in STAGES for kind in ("ipynb", "html")} <= left
    assert {"id-map.parquet", "run.log", "journal"} <= left
    assert (shop.outputs / "index.html").read_text().count("03_migrate") >= 1
    assert main([*verify, "--head", rolled["audit_head"]]) == 0


STAGES = ("01_analyze", "02_test", "03_migrate", "04_validate", "05_rollback")


def test_full_migration_creates_migrates_and_validates(shop, capsys):
    """One command makes the tables, inserts everything and proves it."""
    code, result = run(shop, capsys, "full-migration", *CONFIRMED, f"{shop.name}prod")
    assert (code, result["stage"], result["validation"]["missing"]) == (1, "validate", 0)
    assert len(shop.items("Orders", "prod")) == 20


def test_a_notebook_that_differs_from_the_released_one_says_so(shop, capsys, monkeypatch, tmp_path):
    """Banner, report, stderr and audit record; the digest is of the copy that was executed."""
    released = execute.notebook_path("01_analyze")
    code, result, said = command(capsys, "analyze", shop.params, "--outputs", shop.outputs)
    assert (result["released"], "differs from" in said) == (True, False)
    mine = tmp_path / "01_analyze.ipynb"
    content = json.loads(released.read_text())
    content["cells"][0]["source"] = ["# 01 Analyze, my own"]
    mine.write_text(json.dumps(content))
    monkeypatch.setattr(execute, "notebook_path", lambda stage: mine)
    code, result, said = command(capsys, "analyze", shop.params, "--outputs", shop.outputs)
    assert (code, result["released"]) == (1, False)
    assert "01_analyze: this notebook differs from the released one.\n" in said
    assert "this notebook differs from the released one" in [alert["message"] for alert in result["alerts"]]
    copy = Path(result["notebook"])
    assert copy.read_text().count("This notebook differs from the released one.") == 1
    records = [json.loads(line) for line in (copy.parent / "audit.jsonl").read_text().splitlines()]
    about = {"name": "01_analyze.ipynb", "source_sha256": digest(copy), "released": False}
    assert [record["notebook"] for record in records if "notebook" in record] == [about, about]
    assert digest(mine) == digest(copy) != digest(released)


def test_executed_copies_are_named_for_what_they_did(shop, capsys):
    """Tables are not a test. Both words of 02 count on their own, and the chain lets 02 leave either."""
    target, words = f"{shop.name}prod", ["--run-id", "the-only-run"]
    run(shop, capsys, "full-migration", *CONFIRMED, target, *words)
    run(shop, capsys, "test", "Orders", *CONFIRMED, target, *words)
    run(shop, capsys, "create-tables", *words)
    folder = shop.outputs / "the-only-run"
    copies = ["02_create_tables", "02_create_tables-2", "02_test", "03_migrate", "04_validate"]
    assert sorted(path.stem for path in folder.glob("*.ipynb")) == copies
    assert main(["verify", "the-only-run", "--outputs", str(shop.outputs)]) == 0
    links = [f'href="the-only-run/{name}.html"' for name in copies]
    assert all(link in (shop.outputs / "index.html").read_text() for link in links)


@pytest.mark.parametrize("command", ["migrate", "full-migration", "create-tables"])
def test_without_execute_the_plan_is_shown_and_nothing_written(shop, capsys, command):
    """A writing command without --execute exits 0, says what it would do, and touches nothing."""
    if command == "migrate":
        run(shop, capsys, "create-tables", *CONFIRMED, f"{shop.name}prod")
    code, result = run(shop, capsys, command)
    assert (code, result["verdict"]) == (0, "PLAN")
    assert {step.split()[0] for step in result["plan"]} <= {"insert", "create", "take"}  # after "would"
    assert result["plan"]
    if command == "migrate":
        assert shop.items("Orders", "prod") == []
    else:
        assert not shop.exists("Orders", "prod")


def test_a_second_migration_inserts_nothing_and_says_so(shop, capsys):
    """It reports the complete run; with `new`, or an ID of its own, it begins another, in which everything is already there."""
    target = f"{shop.name}prod"
    run(shop, capsys, "create-tables", *CONFIRMED, target)
    _, first = run(shop, capsys, "migrate", *CONFIRMED, target)
    before = shop.items("Orders", "prod")
    code, planned = run(shop, capsys, "migrate")
    assert (code, planned["plan"]) == (
        0,
        [f"write nothing: run {first['run_id']} is complete; `new` begins another one"],
    )
    _, again = run(shop, capsys, "migrate", *CONFIRMED, target)
    assert (again["run_id"], again["totals"]) == (first["run_id"], first["totals"])
    assert "Nothing was written" in again["headline"]
    for words in (["--new"], ["--run-id", "a-run-of-its-own"]):
        _, second = run(shop, capsys, "migrate", *CONFIRMED, target, *words)
        assert second["run_id"] != first["run_id"]
        assert (second["totals"]["inserted"], second["totals"]["already_there"]) == (0, 26)
    code, refused = run(shop, capsys, "migrate", *CONFIRMED, target, "--new", "--run-id", first["run_id"])
    assert (code, refused["error"]) == (
        2,
        "`new` begins another run, and this goes on with the ID of a run; choose one of them.",
    )
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


def test_a_refusal_in_the_notebook_has_its_sentence_as_error(shop, capsys):
    """In JSON a refusal reads the same wherever it comes from."""
    code, refused = run(shop, capsys, "migrate", *CONFIRMED, f"{shop.name}prod")
    assert (code, refused["verdict"]) == (2, "REFUSED")
    assert "does not exist" in refused["error"]


def _text(notebook):
    cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
    return "".join("".join(o.get("data", {}).get("text/html", "")) for c in cells for o in c.get("outputs", []))


def test_what_differs_is_listed_by_key_and_nothing_is_shown_where_nothing_does(shop, capsys):
    """04 leaves the keys of missing, different and extra items in `differences.jsonl`; without any: no list, no table."""
    _, done = run(shop, capsys, "full-migration", *CONFIRMED, f"{shop.name}prod")
    listing = shop.outputs / done["run_id"] / "differences.jsonl"
    assert not listing.exists()
    assert ">key<" not in _text(done["notebook"])

    name = f"Customers-{shop.name}prod"
    gone, edited = [item["id"] for item in shop.items("Customers", "prod")[:2]]
    shop.client.delete_item(TableName=name, Key={"id": gone})
    shop.client.put_item(TableName=name, Item={"id": edited, "name": {"N": "1"}, "credit": {"N": "0.50"}})
    shop.client.put_item(TableName=name, Item={"id": {"S": "a-stranger"}})
    _, done = run(shop, capsys, "validate", "--run-id", done["run_id"])
    assert ">key<" in _text(done["notebook"])
    lines = [json.loads(line) for line in listing.read_text().splitlines()]
    found = {(line["table"], line["key"]["id"]["S"], line["attribute"], line["reason"]) for line in lines}
    assert ("Customers", gone["S"], "", "missing") in found
    assert ("Customers", edited["S"], "name", "different: should be S, is N") in found
    assert (name, "a-stranger", "", "extra") in found
    assert listing.stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
def test_steps_that_were_not_asked_for_say_so(shop, capsys):
    """05 without a restore and without tables to delete says that neither was asked for; a plan says what it is."""
    _, done = run(shop, capsys, "full-migration", *CONFIRMED, f"{shop.name}prod")
    checkpoint = next((shop.outputs / done["run_id"]).glob("migration-checkpoint-*.json"))
    words = ["rollback", "--checkpoint", str(checkpoint)]
    _, planned = run(shop, capsys, *words, params=False)
    assert _text(planned["notebook"]).count("Nothing to show: execute is False.") == 3
    assert "How to do the same from a terminal" in _text(planned["notebook"])
    _, done = run(shop, capsys, *words, *CONFIRMED, f"{shop.name}prod", params=False)
    assert _text(done["notebook"]).count("Not requested: nothing was done here.") == 2


def test_a_report_is_written_while_the_run_is_held(shop, monkeypatch):
    """A second process that waits for the run does not write the same lists at the same time."""
    from runbook_lib.notebook import base_book, rollback_book
    from runbook_lib.notebook import book as notebook
    from runbook_lib.parameters import load_parameters
    from runbook_lib.report import json_report as report

    parameters, seen = load_parameters(str(shop.params), {}), {}

    def watched(name):
        write = getattr(report, name)

        def writing(run, *arguments):
            seen[name] = run.holder()
            return write(run, *arguments)

        monkeypatch.setattr(report, name, writing)

    monkeypatch.setattr(base_book, "Progress", NoProgress)
    for name in ("write_test", "write_migration", "write_validation", "write_rollback"):
        watched(name)
    common = {**parameters.model_dump(mode="json"), "outputs": str(shop.outputs), "run_id": "the-only-run"}
    confirmed = {"execute": True, "confirm": f"{shop.name}prod"}

    def book(stage, **own):
        opened = notebook.begin(stage, {**common, **confirmed, **own})
        if stage != "04_validate":
            opened.confirm(opened.plan())
        return opened

    tables = book("02_test", table="", limit=1, keep=False)
    tables.create_tables(tables.plan())
    migrating = book("03_migrate", tables=[], retry_failed=False, delta=False)
    migrating.migrate(migrating.plan())
    validating = book("04_validate", tables=[])
    validating.validate(validating.plan())
    checkpoint = str(next(shop.outputs.glob("*/migration-checkpoint-*.json")))
    undoing = rollback_book.begin(
        {**common, **confirmed, "checkpoint": checkpoint, "restore_from": "", "delete_tables": []}
    )
    undoing.confirm(undoing.preview())
    undoing.undo()
    assert len(seen) == 4
    assert all(seen.values()), seen


def test_what_a_rule_stopped_is_not_resumed(shop, capsys):
    """`on_error: stop` under `on_failure: keep`: FAIL, then refused; the status says so; a new run finds what was kept."""
    rules = {"id": {"from": "id"}, "name": {"from": "name", "type": "string", "on_error": "stop"}}
    create = {"key": {"id": "S"}}
    mapping = {
        "defaults": {"source": "{table}-{source.environment}", "target": "{table}-{target.environment}"},
        "tables": {"Customers": {"create": create, "fields": rules, "rest": "copy"}},
    }
    Path(shop.params).with_name("shop.yaml").write_text(yaml.safe_dump(mapping))
    name = f"Customers-{shop.name}dev"
    sound = shop.items("Customers", "dev")[0]
    shop.client.put_item(TableName=name, Item={**sound, "name": {"L": [{"S": "a"}]}})
    run(shop, capsys, "create-tables", *CONFIRMED, f"{shop.name}prod", "--run-id", "the-first-run")
    words = ["migrate", *CONFIRMED, f"{shop.name}prod", "-p", "limits.on_failure=keep", "--run-id"]
    code, failed = run(shop, capsys, *words, "the-first-run")
    assert (code, failed["verdict"]) == (1, "FAIL")
    assert " items inserted, 0 already there, 1 quarantined. Failed: Customers: " in failed["headline"]
    code, refused = run(shop, capsys, *words, "the-first-run")
    assert code == 2
    assert "start a new run" in refused["error"]
    assert run(shop, capsys, "status", "the-first-run", params=False)[1]["state"] == "stopped by the mapping"
    shop.client.put_item(TableName=name, Item=sound)
    code, done = run(shop, capsys, *words, "the-second-run")
    assert (code, done["totals"]["scanned"]) == (0, 6)
    assert done["totals"]["inserted"] + done["totals"]["already_there"] == 6


def test_status_reads_the_journal(shop, capsys):
    """`status` tells a finished migration's counts without touching DynamoDB."""
    target = f"{shop.name}prod"
    _, result = run(shop, capsys, "full-migration", *CONFIRMED, target)
    code, told = run(shop, capsys, "status", result["run_id"], params=False)
    assert (code, told["state"], told["totals"]["inserted"]) == (0, "complete", 26)


@pytest.mark.slow
def test_a_rollback_is_refused_while_a_later_run_stands_on_it(shop, capsys):
    """Row 58: what a later run inserted into the same target may build on the first; it is rolled back first."""
    target = f"{shop.name}prod"
    _, first = run(shop, capsys, "full-migration", *CONFIRMED, target)
    shop.client.put_item(TableName=f"Orders-{shop.name}dev", Item={"id": {"S": "late"}, "customerId": {"S": "c1"}})
    _, second = run(shop, capsys, "migrate", *CONFIRMED, target, "--new")
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


@pytest.mark.parametrize("stage", ["validate", "migrate"])
def test_an_interruption_says_what_became_of_what_had_arrived(stage, shop, capsys, monkeypatch):
    """In the banner of 03, which had inserted some; a validation had not."""
    target = f"{shop.name}prod"
    run(shop, capsys, "create-tables", *CONFIRMED, target)
    run(shop, capsys, "migrate", *CONFIRMED, target, "--run-id", "the-first-run")

    def full(*_, **__):
        raise Interrupted("the disk is full.")

    monkeypatch.setattr(Steps, stage, full)
    words = [*CONFIRMED, target] if stage == "migrate" else []
    code, result = run(shop, capsys, stage, *words, "--run-id", "the-first-run")
    assert (code, result["verdict"]) == (3, "INTERRUPTED")
    assert (STAYS in Path(result["notebook"]).read_text(encoding="utf-8")) == (stage == "migrate")
