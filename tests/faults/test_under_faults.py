"""The command itself, with failpoints armed by the environment: exit code 3 and one sentence, and the same command goes on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import support_notebooks
import support_worlds as worlds
from support_flows import CASES, begin

from runbook_lib import cli, failpoints
from runbook_lib.demo.data import EXPECTED
from runbook_lib.demo.world import World

in_process = support_notebooks.in_process
ROOT = Path(__file__).resolve().parents[2]
CONFIRM = ("--execute", "--confirm", "democrm-v2")
MIGRATE = ("migrate", "parameters/demo_table_split.yaml", "--run-id", "the-only-run", *CONFIRM)


@pytest.fixture
def run(in_process, capsys, monkeypatch):
    """A function that runs a command, with failpoints as a process of its own; gives exit code, JSON and stderr."""
    monkeypatch.chdir(ROOT)

    def give(outputs, *words, points=""):
        if points:
            return under_faults(outputs, *words, points=points)
        return support_notebooks.command(capsys, *words, "--outputs", outputs)

    return give


def under_faults(outputs, *words, points):
    """Exit code, JSON and stderr of a command and its kernel under failpoints."""
    process = subprocess.run(
        [sys.executable, "-m", "runbook_lib", *words, "--outputs", str(outputs), "--json"],
        cwd=ROOT,
        env={**os.environ, failpoints.VARIABLE: points},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return process.returncode, json.loads(process.stdout or "{}"), process.stderr


@pytest.mark.long
def test_a_command_that_is_killed_or_cannot_save_what_it_shows_is_resumed(run, tmp_path):
    """Rows 15, 38: the kernel dies in the middle; then the notebook cannot be saved: each time exit code 3, no traceback. A
    summary and an index that cannot be saved are a line each. The last command ends as the first should have."""
    with World():
        assert run(tmp_path, "create-tables", *MIGRATE[1:2], *CONFIRM)[0] == 0
        code, result, err = run(tmp_path, *MIGRATE, points="wire.PutItem.after=kill@400")
        assert (code, result["verdict"]) == (3, "INTERRUPTED"), err
        assert "kernel died" in result["headline"]
        code, result, err = run(tmp_path, *MIGRATE, points="file.03_migrate*.ipynb.write.before=enospc@3+")
        assert (code, result["verdict"]) == (3, "INTERRUPTED"), err
        assert "Traceback" not in err
        assert err.count("Run the same command with the run ID") == 1
        code, _, err = run(
            tmp_path, *MIGRATE, points="file.index.html.fsync.before=eio;file.summary.html.fsync.before=eio@2"
        )
        assert code == 1, err
        assert "summary.html cannot be written: Input/output error" in err
        assert "index.html cannot be written: Input/output error" in err
        code, report, err = run(tmp_path, *MIGRATE)
        assert code == 1, err
        assert report["totals"]["scanned"] == report["totals"]["inserted"] + sum(
            report["totals"][key] for key in ("already_there", "conflicts", "quarantined", "failed")
        )
        assert report["totals"]["already_there"] == 0
        assert report["totals"]["scanned"] + report["totals"]["unrouted"] == EXPECTED["table_split"]["items"]


@pytest.mark.slow
def test_commands_insert_in_batches_and_one_that_dies_in_a_batch_goes_on(run, ministack, tmp_path, monkeypatch):
    """Rows 3, 38: where the engine takes batches, a migration without a single PutItem; killed when a batch had landed and
    nothing was known of it, resumed to the same end; and back."""
    world = worlds.World(ministack)
    monkeypatch.setenv("CASE_ENDPOINT", ministack.endpoint_url)
    monkeypatch.setenv("CASE_SUFFIX", world.suffix)
    begin("shop", world, tmp_path)
    expected = worlds.read(CASES / "shop" / "expected.yaml")["target"]
    params, outputs = str(CASES / "shop" / "parameters.yaml"), tmp_path / "out"
    words = (params, "--run-id", "the-only-run", "--execute", "--confirm", worlds.TARGET)
    none_alone = "wire.PutItem.before=kill"
    assert run(outputs, "create-tables", *words)[0] == 0

    death = f"{none_alone};wire.BatchExecuteStatement.after=kill@2"  # the first asks whether batches are taken
    code, result, err = run(outputs, "migrate", *words, points=death)
    assert (code, result["verdict"]) == (3, "INTERRUPTED"), err
    landed = sum(map(len, world.content(worlds.TARGET).values()))
    assert 1 < landed < 7
    code, told, _ = run(outputs, "status", "the-only-run")
    assert told["totals"]["inserted"] == 0
    code, report, err = run(outputs, "migrate", *words, points=none_alone)
    assert (code, report["verdict"]) == (0, "PASS"), err
    assert (report["totals"]["inserted"], report["totals"]["already_there"]) == (7, 0)
    wanted = {table: worlds.plain_items(items) for table, items in expected.items()}
    assert {table: items for table, items in world.content(worlds.TARGET).items() if items} == wanted

    (checkpoint,) = (outputs / "the-only-run").glob("migration-checkpoint-*.json")
    code, undone, err = run(outputs, "rollback", "--checkpoint", str(checkpoint), *words[3:])
    assert (code, undone["rollback"]["deleted"]) == (0, 7), err
    assert not any(world.content(worlds.TARGET).values())
    world.drop()


def test_a_misspelt_failpoint_is_a_sentence(tmp_path):
    """It would prove nothing if it were passed over."""
    code, _, err = under_faults(tmp_path, "analyze", MIGRATE[1], points="journal.apend.after=kill")
    assert code == 2
    assert err.startswith("RUNBOOK_FAILPOINTS: 'journal.apend.after=kill' is no rule")
    assert err.count("\n") == 1


def test_a_fault_in_the_program_has_an_exit_code_of_its_own(monkeypatch, capsys):
    """Not 1, which says that a stage is complete; with its traceback."""

    def faulty(options):
        raise ZeroDivisionError

    monkeypatch.setattr("runbook_lib.folder_commands.run_status", faulty)
    assert cli.main(["status"]) == 70
    assert "Traceback" in capsys.readouterr().err
