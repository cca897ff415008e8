"""What a command says of a run that ended badly."""

import os
import re
import shlex

import pytest
from aws_shaped import Proxy
from support_notebooks import run

from runbook_lib.cli import main

pytestmark = pytest.mark.usefixtures("in_process")


def test_a_failure_whose_undo_failed_too_is_said_on_the_terminal(shop, capsys, monkeypatch):
    """What is denied on which table to whom, and the command that takes the inserts back, as it must be typed."""
    target, engine = f"{shop.name}prod", os.environ["AWS_ENDPOINT_URL"]
    run(shop, capsys, "create-tables", "--execute", "--confirm", target)
    lacks = [
        (["dynamodb:PutItem", "dynamodb:PartiQLInsert"], f"*:table/Orders-{target}"),
        (["dynamodb:DeleteItem"], "*"),
    ]
    policy = [{"Effect": "Allow", "Action": "*", "Resource": "*"}]
    policy += [{"Effect": "Deny", "Action": actions, "Resource": where} for actions, where in lacks]
    proxy = Proxy(engine, iam={"policy": policy, "role": "mover"})
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    words = ["--execute", "--confirm", target, "--outputs", str(shop.outputs), "--run-id", "the-only-run"]
    assert main(["migrate", str(shop.params), *words]) == 1
    headline = capsys.readouterr().out.splitlines()[0]
    assert headline.startswith("03_migrate: FAIL. 6 of 26 items inserted, 0 already there. Failed: Orders: ")
    for action, table in (("PutItem", "Orders"), ("DeleteItem", "Customers")):
        assert re.search(rf"allow dynamodb:{action} on \S*{table}-{target} for \S*assumed-role/mover", headline)
    command = headline.rpartition(" Then take it back with: runbook ")[2]
    monkeypatch.setenv("AWS_ENDPOINT_URL", engine)
    proxy.close()
    assert len(shop.items("Customers", "prod")) == 6
    assert main(shlex.split(command)) == 0
    assert shop.items("Customers", "prod") == []
