"""The commands as an operator types them, on tables of another domain: what they leave, say and return."""

import json
from pathlib import Path

import pytest
import support_notebooks
import support_worlds as worlds
from support_flows import CASES, begin, counts_of

in_process = support_notebooks.in_process
SOURCE, TARGET = worlds.SOURCE, worlds.TARGET
WRITE = ("--execute", "--confirm", TARGET)

pytestmark = pytest.mark.slow


@pytest.fixture
def runbook(tmp_path, in_process, capsys):
    """A function that runs one command; gives its exit code and the JSON object on stdout."""

    def run(name, *arguments):
        code, content, said = support_notebooks.command(capsys, name, *arguments, "--outputs", tmp_path / "out")
        assert "Traceback" not in said
        return code, content

    return run


@pytest.fixture(params=["moto", "ministack", "dynalite"])
def engine(request, engine_pool):
    """Each engine in turn."""
    return engine_pool(request.param)


def test_a_clean_migration_from_the_dry_run_to_the_last_deleted_table(world, tmp_path, runbook):
    """PASS and 0 throughout; plans write nothing; a resumed run writes nothing; the rollback takes tables away by name."""
    begin("shop", world, tmp_path)
    params, expected = CASES / "shop" / "parameters.yaml", worlds.read(CASES / "shop" / "expected.yaml")
    wanted = {table: worlds.plain_items(items) for table, items in expected["target"].items()}
    source = world.digest(SOURCE)
    run = ("--run-id", "the-first-run")

    code, analysis = runbook("analyze", params, *run)
    assert (code, analysis["verdict"], analysis["totals"]["records"]) == (0, "PASS", 7)
    for plan in (("full-migration", params), ("migrate", params), ("create-tables", params), ("test", params, "Lines")):
        assert runbook(*plan, *run)[0] == 0
        assert world.content(TARGET) == {}

    code, report = runbook("full-migration", params, *run, *WRITE)
    assert (code, report["verdict"], report["validation"]["verdict"]) == (0, "PASS", "PASS")
    assert world.content(TARGET) == wanted
    assert report["totals"]["inserted"] == 7

    code, again = runbook("migrate", params, *run, *WRITE)
    assert (code, again["totals"]) == (0, report["totals"])
    code, reported = runbook("migrate", params, *WRITE)
    assert (code, reported["run_id"], reported["totals"]) == (0, "the-first-run", report["totals"])
    code, second = runbook("migrate", params, "--new", *WRITE)
    assert (code, second["totals"]["already_there"], second["totals"]["inserted"]) == (0, 7, 0)
    assert second["run_id"] != "the-first-run"
    assert runbook("test", params, "Lines", "--limit", 2, *run, "--execute")[0] == 0
    assert world.content(TARGET) == wanted

    code, status = runbook("status", "the-first-run")
    assert (code, status["totals"]["inserted"], status["state"]) == (0, 7, "complete")
    code, proof = runbook("verify", "the-first-run")
    assert (code, proof.get("problems", [])) == (0, [])

    folder = tmp_path / "out" / "the-first-run"
    checkpoint = next(
        path
        for path in folder.glob("migration-checkpoint-*.json")
        if json.loads(path.read_text())["stage"] == "migrate"
    )
    back = (
        "rollback",
        "--checkpoint",
        checkpoint,
        "--delete-tables",
        "Lines,Customers",
        "--confirm-delete",
        "Customers,Lines",
    )
    assert runbook(*back)[0] == 0
    assert world.content(TARGET) == wanted
    stranger = {"PK": {"S": "ORDER#9"}, "SK": {"S": "HEAD"}}
    world.put(world.name("Sales", TARGET), stranger)
    code, undone = runbook(*back, *WRITE)
    assert (code, undone["verdict"]) == (1, "ROLLED_BACK")  # a table was kept
    assert undone["rollback"]["deleted"] == 7
    assert undone["rollback"]["tables_deleted"] == [world.name("Customers", TARGET)]
    assert world.content(TARGET) == {"Sales": [stranger]}
    assert world.digest(SOURCE) == source


def test_an_untidy_migration_says_review_and_names_what_is_open(world, tmp_path, runbook):
    """REVIEW and 1 from every stage; the tables hold what the case expects; what is open is listed."""
    begin("university", world, tmp_path)
    params, expected = CASES / "university" / "parameters.yaml", worlds.read(CASES / "university" / "expected.yaml")
    before, source = world.digest(TARGET), world.digest(SOURCE)
    assert runbook("analyze", params)[0] == 1
    code, tested = runbook("test", params, "Notes", "--limit", 2, "--execute")
    assert (code, tested["test"]["wrong"], tested["totals"]["conflicts"]) == (
        1,
        0,
        1,
    )  # p-3 is among what the notes need
    assert world.digest(TARGET) == before
    code, report = runbook("migrate", params, *WRITE)
    assert (code, report["verdict"]) == (1, "REVIEW")
    assert world.content(TARGET) == {t: worlds.plain_items(items) for t, items in sorted(expected["target"].items())}
    for name, counts in expected["migration"]["tables"].items():
        assert {key: number for key, number in counts_of(report)[name].items() if number} == counts
    code, validation = runbook("validate", params, "--tables", "Persons,Rooms")
    assert (code, validation["validation"]["missing"], validation["validation"]["different"]) == (1, 0, 0)
    folder = Path(report["notebook"]).parent
    assert {path.name for path in folder.glob("*.jsonl")} >= {"conflicts.jsonl", "unrouted.jsonl"}
    code, undone = runbook("rollback", "--checkpoint", folder / report["checkpoint"], *WRITE)
    assert (code, undone["rollback"]["deleted"]) == (0, report["totals"]["inserted"])
    assert (world.digest(TARGET), world.digest(SOURCE)) == (before, source)
