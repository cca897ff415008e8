"""`runbook migrate --follow` by command: the plan, what it refuses, and a process that follows until it is stopped."""

import json
import os
import signal
import subprocess
import sys

import pytest
from support_cutover import PATIENCE, running, until
from support_notebooks import run

from runbook_lib.cli import main
from runbook_lib.run.folder import runs
from runbook_lib.run.progress_file import at_work


def turn_on(shop, *tables: str) -> None:
    """Gives source tables a stream."""
    about = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    for table in tables:
        shop.client.update_table(TableName=f"{table}-{shop.name}dev", StreamSpecification=about)


@pytest.mark.usefixtures("in_process")
def test_a_plan_looks_at_the_streams_and_writes_nothing(shop, capsys):
    """One sentence where one is off, and where two ways of going on are asked for."""
    writing = ("--execute", "--confirm", f"{shop.name}prod")
    assert run(shop, capsys, "create-tables", *writing)[0] == 0
    turn_on(shop, "Customers")
    code, refused = run(shop, capsys, "migrate", "--follow", *writing)
    assert (code, refused["verdict"]) == (2, "REFUSED")
    assert f"the stream of Orders-{shop.name}dev is off" in refused["error"]
    assert shop.items("Customers", "prod") == []
    turn_on(shop, "Orders")
    code, planned = run(shop, capsys, "migrate", "--follow")
    assert (code, planned["verdict"]) == (0, "PLAN")
    assert (
        planned["plan"][-1]
        == f"apply what changes in Orders-{shop.name}dev, from before the walk on, until it is stopped"
    )
    for other in ("--delta", "--retry-failed"):
        code, refused = run(shop, capsys, "migrate", "--follow", other)
        assert (code, "cannot run together" in refused["error"]) == (2, True)


@pytest.mark.slow
@pytest.mark.parametrize("shop", ["moto", "ministack"], indirect=True)
def test_a_process_follows_until_it_is_stopped_and_goes_on(shop, capsys):
    """Its status is seen from outside; stopped it ends with 3 and the way to resume; then it takes up what came meanwhile."""
    turn_on(shop, "Customers", "Orders")
    params, outputs = str(shop.params), str(shop.outputs)
    writing = ["--execute", "--confirm", f"{shop.name}prod", "--outputs", outputs]
    assert main(["create-tables", params, *writing]) == 0
    command = [sys.executable, "-m", "runbook_lib", "migrate", params, "--follow", *writing, "--json"]

    def names() -> set[str]:
        return {item["name"]["S"] for item in shop.items("Customers", "prod")}

    def start():
        return running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def put(number: int, name: str) -> None:
        item = {"id": {"S": f"c{number}"}, "name": {"S": name}}
        shop.client.put_item(TableName=f"Customers-{shop.name}dev", Item=item)

    with start() as process:
        until(lambda: any(now.following for one in runs(shop.outputs) for now in at_work(one)), process)
        (of,) = runs(shop.outputs)
        put(1, "Changed")
        shop.client.delete_item(TableName=f"Customers-{shop.name}dev", Key={"id": {"S": "c2"}})
        until(lambda: "Changed" in names() and "Name 2" not in names(), process)
        capsys.readouterr()
        told = ("03_migrate: following 2 tables, 0 s behind", f"Customers-{shop.name}dev: 0 s behind (0 records), ")
        until(lambda: all(line in shown for shown in [show_status(of, outputs, capsys)] for line in told), process)
        assert main(["stop", of.id, "--outputs", outputs]) == 0
        told, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 3, said
    result = json.loads(told)
    assert result["verdict"] == "INTERRUPTED"
    assert of.id in result["error"]
    assert f"--follow --execute --confirm {shop.name}prod" in said  # the command that resumes
    put(3, "Changed meanwhile")
    with start() as process:
        until(lambda: "Changed meanwhile" in names(), process)
        assert main(["stop", of.id, "--outputs", outputs]) == 0
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 3
    checkpoint = next(of.folder.glob("migration-checkpoint-*.json"))
    assert main(["rollback", "--checkpoint", str(checkpoint), *writing[:3]]) == 0
    assert shop.items("Customers", "prod") == []


@pytest.mark.slow
def test_who_asks_to_cut_over_learns_that_the_follower_was_killed(shop, capsys):
    """The asker ends, refused; its request is gone; the same command follows on, and then the gate opens."""
    turn_on(shop, "Customers", "Orders")
    params, outputs = str(shop.params), str(shop.outputs)
    writing = ["--execute", "--confirm", f"{shop.name}prod", "--outputs", outputs]
    assert main(["create-tables", params, *writing]) == 0
    program = [sys.executable, "-m", "runbook_lib"]
    command = [*program, "migrate", params, "--follow", "--run-id", "to-be-killed", *writing]

    def following() -> bool:
        return any(now.following for one in runs(shop.outputs) for now in at_work(one))

    ask = [*program, "cutover", "to-be-killed", "--outputs", outputs]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with running(command, **quiet) as process:
        until(following, process)
        (of,) = [one for one in runs(shop.outputs) if one.id == "to-be-killed"]
        with running([*ask, "--quiet", "600"], stderr=subprocess.PIPE, text=True) as asking:
            until((of.folder / ".cutover").exists, asking)
            os.killpg(process.pid, signal.SIGKILL)  # its kernel, too
            _, said = asking.communicate(timeout=PATIENCE)
            assert asking.returncode == 2
    assert "the process that followed to-be-killed ended before it answered" in said
    assert not (of.folder / ".cutover").exists()
    with running(command, **quiet) as process:
        until(following, process)
        assert main([*ask[3:], "--quiet", "0"]) == 0
        assert process.wait(PATIENCE) in (0, 1)
    assert "both sides are equal" in capsys.readouterr().out


def show_status(of, outputs: str, capsys) -> str:
    """What `runbook status` prints."""
    main(["status", of.id, "--outputs", outputs])
    return capsys.readouterr().out
