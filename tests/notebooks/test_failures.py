"""What a command says of a run that ended badly: why, and what a rollback would do."""

import json
import os
import re
import shlex

import pytest
from aws_shaped import Proxy
from support_crashes import KILLED, in_child
from support_notebooks import run
from support_wire import reply

from runbook_lib import failpoints
from runbook_lib.cli import main

pytestmark = pytest.mark.usefixtures("in_process")


ROLE = "arn:aws:iam::123456789012:role/eraser"


class WithoutRoles(Proxy):
    """Nobody may assume a role."""

    def answer(self, headers, raw):
        if b"Action=AssumeRole" in raw:
            content = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"
            return reply(None, 403, raw=content)
        return super().answer(headers, raw)


@pytest.mark.parametrize("role", ["", ROLE])
def test_a_failure_that_may_not_be_undone_is_said_on_the_terminal(shop, capsys, monkeypatch, role):
    """With the policy of `migrate` alone: what is missing, and the command that takes the inserts back, as it must be typed."""
    target, engine = f"{shop.name}prod", os.environ["AWS_ENDPOINT_URL"]
    run(shop, capsys, "create-tables", "--execute", "--confirm", target)
    given = ["-p", f"target.rollback_role_arn={role}", "-p", "target.backup=waived"]
    assert main(["iam", str(shop.params), "migrate", *given]) == 0
    said = capsys.readouterr()
    assert ("The automatic undo also needs the policy of `rollback`" in said.err) is (role == "")
    lacks = ["dynamodb:PutItem", "dynamodb:PartiQLInsert"], f"*:table/Orders-{target}"
    policy = json.loads(said.out)["Statement"] + [{"Effect": "Deny", "Action": lacks[0], "Resource": lacks[1]}]
    proxy = WithoutRoles(engine, iam={"policy": policy, "role": "mover"})
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    words = [*given, "--execute", "--confirm", target, "--outputs", str(shop.outputs), "--run-id", "the-only-run"]
    assert main(["migrate", str(shop.params), *words]) == 1
    headline = capsys.readouterr().out.splitlines()[0]
    assert headline.startswith("03_migrate: FAIL. 6 of 26 items inserted, 0 already there. Failed: Orders: ")
    assert re.search(rf"allow dynamodb:PutItem on \S*Orders-{target} for \S*assumed-role/mover", headline)
    eraser = "target: AssumeRole was refused .AccessDenied.; check the role"
    undo = eraser if role else rf"allow dynamodb:DeleteItem on \S*Customers-{target} for \S*assumed-role/mover"
    assert re.search(undo, headline)
    command = headline.rpartition(" Then take it back with: runbook ")[2]
    monkeypatch.setenv("AWS_ENDPOINT_URL", engine)
    proxy.close()
    assert len(shop.items("Customers", "prod")) == 6
    assert main(shlex.split(command)) == 0
    assert shop.items("Customers", "prod") == []


def test_items_announced_without_a_result_are_part_of_the_plan(shop, capsys):
    """Of a run that was killed before the first of them was known to be there: the undo looks all of them up."""
    target = f"{shop.name}prod"
    run(shop, capsys, "create-tables", "--execute", "--confirm", target)
    words = ["--execute", "--confirm", target, "--outputs", str(shop.outputs), "--run-id", "the-only-run"]
    killed = in_child(
        lambda: main(["migrate", str(shop.params), *words]), lambda: failpoints.arm("wire.PutItem.after=kill@3")
    )
    assert killed == KILLED
    (checkpoint,) = (shop.outputs / "the-only-run").glob("migration-checkpoint-*.json")
    rollback = ["rollback", "--checkpoint", str(checkpoint)]
    step = "look up 6 items of Customers announced without a result, and delete what is there and equal"
    code, planned = run(shop, capsys, *rollback, params=False)
    assert (code, planned["verdict"], planned["plan"]) == (0, "PLAN", [step])
    assert main(rollback) == 0
    assert f"  would {step}\n" in capsys.readouterr().out
    assert shop.items("Customers", "prod") != []
    code, done = run(shop, capsys, *rollback, "--execute", "--confirm", target, params=False)
    assert (code, done["verdict"], shop.items("Customers", "prod")) == (0, "ROLLED_BACK", [])
    assert run(shop, capsys, *rollback, params=False)[1]["plan"] == []
