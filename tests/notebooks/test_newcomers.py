"""Mistakes of a first day: one sentence each, which says what to write instead."""

import pytest
import yaml
from support_notebooks import command

from runbook_lib import cli
from runbook_lib.parameters import load_parameters
from runbook_lib.run.folder import open_run

pytestmark = pytest.mark.usefixtures("in_process")

CONFIRMED = ["--execute", "--confirm"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("-p", "limit.workers=3"), "-p limit.workers=3: no key of PARAMS; did you mean 'limits'?"),
        (("-p", "execute=true"), "-p execute=true: execute is no key of PARAMS but an option: --execute."),
        (("-p", "run_id=x"), "-p run_id=x: run_id is no key of PARAMS but an option: --run-id."),
        (("-p", "limits"), "-p limits: write KEY=VALUE, such as limits.workers=16."),
        (("--tables", "Order"), "shop.yaml: no entry 'Order'; did you mean 'Orders'?"),
        (("--execute",), "to insert the items into 2 tables of ENV (production, us-west-1) needs --confirm ENV."),
        (("--execute", "--confirm", "prod"), "confirmation 'prod' is not the target environment; to insert the items"),
    ],
)
def test_an_option_that_is_wrong(words, sentence, shop, capsys):
    """Nothing begins: no run's folder is made."""
    code, refused, _ = command(capsys, "migrate", shop.params, *words, "--outputs", shop.outputs)
    assert code == 2
    assert refused["error"].startswith(sentence.replace("ENV", f"{shop.name}prod"))
    assert not shop.outputs.exists()


def test_a_command_that_is_misspelt(capsys):
    code, refused, _ = command(capsys, "anlyze", "x.yaml")
    assert (code, refused["error"]) == (2, "no command 'anlyze' (did you mean 'analyze'?); see `runbook --help`.")


def test_a_plan_says_how_to_do_it(shop, capsys):
    """The last line under the steps; a result of what was done says no such thing."""
    target, words = f"{shop.name}prod", ["--outputs", str(shop.outputs)]
    assert cli.main(["create-tables", str(shop.params), *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("  would") or "to do it" in line][
        -1
    ] == "  to do it, add --execute"
    cli.main(["create-tables", str(shop.params), *words, *CONFIRMED, target])
    assert "to do it" not in capsys.readouterr().out


def test_a_run_where_a_checkpoint_is_wanted(shop, capsys, tmp_path):
    """Its ID, its folder, or another of its files: the checkpoints are named, with what each rolls back."""
    target, outputs = f"{shop.name}prod", ["--outputs", shop.outputs]
    for words in (["test", shop.params, "Orders"], ["migrate", shop.params]):
        command(capsys, *words, *CONFIRMED, target, "--run-id", "the-only-run", *outputs)
    folder = shop.outputs / "the-only-run"
    tests, migration = sorted(folder.glob("migration-checkpoint-*.json"))
    for named in ("the-only-run", folder):
        code, refused, _ = command(capsys, "rollback", "--checkpoint", named, *outputs)
        told = f"{named} is a folder of a run, not a checkpoint; give --checkpoint {migration} (the migration) or "
        assert (code, refused["error"]) == (2, f"{told}--checkpoint {tests} (the tests).")
    code, refused, _ = command(capsys, "rollback", "--checkpoint", folder / "run.json")
    assert (code, refused["error"].rpartition("; ")[2]) == (2, "give migration-checkpoint-*.json.")
    open_run(shop.outputs, "an-empty-run", {"created": "", "fingerprint": ""})
    code, refused, _ = command(capsys, "rollback", "--checkpoint", "an-empty-run", *outputs)
    assert "an-empty-run holds no checkpoint: nothing was inserted there" in refused["error"]


@pytest.mark.slow
def test_a_validation_says_resume_only_where_there_is_something_to_resume(shop, capsys):
    """Of a complete run that lost an item, 04 names its own repair."""
    target, outputs = f"{shop.name}prod", ["--outputs", shop.outputs]
    command(capsys, "full-migration", shop.params, *CONFIRMED, target, *outputs)
    item = shop.items("Customers", "prod")[0]
    shop.client.delete_item(TableName=f"Customers-{target}", Key={"id": item["id"]})
    code, result, _ = command(capsys, "validate", shop.params, *outputs)
    assert (code, result["validation"]["missing"]) == (1, 1)
    (missing,) = [alert for alert in result["alerts"] if "missing in the target" in alert["message"]]
    assert missing["action"] == "`runbook validate PARAMS --repair` lists them by cause."
    assert "Resume" not in str(result)


@pytest.mark.slow
def test_where_nothing_is_selected_each_stage_says_so(shop, capsys):
    """By entry and table, with where to look; so does 03 where only the entries that `--tables` names select nothing."""
    target, outputs = f"{shop.name}prod", ["--outputs", shop.outputs, "--run-id", "nothing-here"]
    mapping = load_parameters(shop.params).mapping_path()
    content = yaml.safe_load(mapping.read_text())
    content["tables"]["Orders"]["where"] = {"status": "NO-SUCH"}
    mapping.write_text(yaml.safe_dump(content))
    said = f"Orders selects no item of Orders-{shop.name}dev (look at its `where`)"
    command(capsys, "create-tables", shop.params, *CONFIRMED, target, *outputs)
    _, tested, _ = command(capsys, "test", shop.params, "Orders", *CONFIRMED, target, *outputs)
    assert tested["headline"].startswith(f"No item was tested: Orders-{shop.name}dev has none that Orders selects")
    command(capsys, "migrate", shop.params, "--tables", "Customers", *CONFIRMED, target, *outputs)
    for words in (["migrate", shop.params, *CONFIRMED, target], ["validate", shop.params]):
        _, result, _ = command(capsys, *words, "--tables", "Orders", *outputs)
        assert result["headline"].startswith(f"Nothing to do: {said}. "), result["headline"]
    _, analyzed, _ = command(capsys, "analyze", shop.params, "--outputs", shop.outputs)
    assert not analyzed["headline"].startswith("Nothing")  # the other entry selects something


def test_01_counts_the_tables_that_it_reads_not_the_entries(shop, capsys):
    """One table that is split into two is one table; who validates before there is a target learns which notebook makes it."""
    mapping = load_parameters(shop.params).mapping_path()
    content = yaml.safe_load(mapping.read_text())
    halves = {"Some": ["c0", "c1"], "Others": {"not": ["c0", "c1"]}}
    source = "Customers-{source.environment}"
    content["tables"] = {name: {"source": source, "where": {"id": where}} for name, where in halves.items()}
    mapping.write_text(yaml.safe_dump(content))
    _, result, _ = command(capsys, "analyze", shop.params, "--outputs", shop.outputs)
    assert result["headline"].startswith("6 records of 2 entries in 1 table, 0 references;")
    _, refused, _ = command(capsys, "validate", shop.params, "--outputs", shop.outputs)
    assert refused["error"].endswith("; create it with 02_test, or with `runbook create-tables`.")


def test_the_log_says_why_a_stage_stops(shop, capsys):
    target = f"{shop.name}prod"
    _, refused, _ = command(capsys, "migrate", shop.params, *CONFIRMED, target, "--outputs", shop.outputs)
    log = (shop.outputs / refused["run_id"] / "run.log").read_text()
    assert f"ERROR 03_migrate stops: REFUSED: {refused['error']}\n" in log
