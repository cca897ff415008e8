"""The command itself interrupted, as operators and machines do it: rows 38, 39, 40, 57 and 75 of the fault matrix."""

import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import engines
import pytest
import support_notebooks

from runbook_lib.demo import server as demo_server
from runbook_lib.demo.data import EXPECTED
from runbook_lib.demo.world import World

in_process = support_notebooks.in_process
pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
PARAMS = "parameters/demo_env_copy.yaml"
RUN = "interrupted-run"
TOTAL = EXPECTED["env_copy"]["total"]
MATCHED = sum(EXPECTED["env_copy"]["matched"].values())  # which the target has already
FOREIGN = sum(EXPECTED["env_copy"]["foreign"].values())
PAGES = 240  # seconds to wait for the first page


@pytest.fixture(params=[pytest.param("moto", marks=pytest.mark.long), "ministack"])
def world(request, monkeypatch):
    """The demo's data, on the demo's own server, and on one that takes inserts in batches."""
    with contextlib.ExitStack() as stack:
        if request.param != "moto":
            if reason := engines.missing(request.param):
                pytest.skip(reason)
            engine = stack.enter_context(engines.running(request.param))
            monkeypatch.setattr(demo_server, "start", lambda: (engine.process, engine.endpoint_url))
        yield stack.enter_context(World())


def start(outputs, *words):
    """A running command."""
    command = [sys.executable, "-m", "runbook_lib", *words, "--outputs", str(outputs)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def run(in_process, capsys, monkeypatch):
    """A function that runs a command to its end, in this process; gives exit code and JSON result."""
    monkeypatch.chdir(ROOT)

    def give(outputs, *words):
        return support_notebooks.command(capsys, *words, "--outputs", outputs)[:2]

    return give


def records(outputs):
    """How many records the journal of the migration holds."""
    logs = outputs.glob(f"{RUN}/journal/migrate/*.0*.jsonl")
    return sum(path.read_bytes().count(b"\n") for path in logs)


def wait_for_records(outputs, number):
    """Waits until the journal of the migration holds at least so many records."""
    deadline = time.monotonic() + PAGES
    while time.monotonic() < deadline:
        if records(outputs) >= number:
            return
        time.sleep(0.05)
    raise AssertionError("no page was finished")


def target_items(world):
    """How many items the target environment holds."""
    client = world.client("us-west-1")
    tables = [name for name in client.list_tables()["TableNames"] if "demoprod" in name]
    return sum(client.scan(TableName=name, Select="COUNT", ConsistentRead=True)["Count"] for name in tables)


def test_a_migration_interrupted_three_ways_ends_as_if_nothing_had_happened(world, run, tmp_path):
    """Ctrl-C finishes the page and exits 3 with the command that resumes; SIGKILL leaves a journal to go on from; the
    counts add up to those of an untouched run; an interrupted rollback goes on as well."""
    migrate = ("migrate", PARAMS, "--run-id", RUN, "--execute", "--confirm", "demoprod")
    assert run(tmp_path, "create-tables", PARAMS, "--execute", "--confirm", "demoprod")[0] == 0

    process = start(tmp_path, *migrate)
    wait_for_records(tmp_path, 6)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 3, err
    assert f"Resume with: runbook migrate {PARAMS} --run-id {RUN}" in err
    _, told = run(tmp_path, "status", RUN)
    assert told["state"] == "interrupted"
    assert told["totals"]["scanned"] == told["totals"]["inserted"] + told["totals"]["matched"]
    assert told["totals"]["inserted"] == target_items(world) - FOREIGN

    process = start(tmp_path, *migrate)
    wait_for_records(tmp_path, 40)
    process.kill()
    process.communicate(timeout=240)

    code, report = run(tmp_path, *migrate)
    assert code == 1
    assert report["totals"]["scanned"] == report["id_map"]["rows"] == TOTAL
    assert (report["totals"]["inserted"], report["totals"]["matched"]) == (TOTAL - MATCHED, MATCHED)
    assert target_items(world) == TOTAL - MATCHED + FOREIGN
    assert run(tmp_path, "verify", RUN)[0] == 0

    (checkpoint,) = (tmp_path / RUN).glob("migration-checkpoint-*.json")
    rollback = ("rollback", "--checkpoint", str(checkpoint), "--execute", "--confirm", "demoprod")
    before, migrated = target_items(world), records(tmp_path)
    process = start(tmp_path, *rollback)
    wait_for_records(tmp_path, migrated + 2)  # a page was announced and undone
    process.kill()
    process.communicate(timeout=240)
    assert FOREIGN < target_items(world) < before

    code, report = run(tmp_path, *rollback)
    assert (code, report["verdict"]) == (0, "ROLLED_BACK")
    assert report["rollback"]["deleted"] == TOTAL - MATCHED
    assert target_items(world) == FOREIGN
    assert run(tmp_path, *migrate)[0] == 2
