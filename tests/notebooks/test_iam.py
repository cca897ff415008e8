"""The commands as a user gives them, each with exactly the policy that `runbook iam` prints for it."""

import json
import os

import pytest
import yaml
from aws_shaped import Proxy
from support_notebooks import run

from runbook_lib.cli import main

pytestmark = [pytest.mark.usefixtures("in_process"), pytest.mark.slow]


def test_each_command_gets_by_with_its_policy(shop, capsys, monkeypatch):
    """From the draft to the deleted tables, on a production target; the verdicts are those of a run without a policy."""
    target, engine, policy = f"{shop.name}prod", os.environ["AWS_ENDPOINT_URL"], {"Statement": []}
    proxy = Proxy(engine, iam={"policy": policy})
    confirmed = ["--execute", "--confirm", target]
    drafted = shop.params.with_name("drafted_params.yaml")
    drafted.write_text(yaml.safe_dump(yaml.safe_load(shop.params.read_text()) | {"mapping": str(drafted) + ".mapping"}))

    def allow(stage, *words, params=shop.params):
        monkeypatch.setenv("AWS_ENDPOINT_URL", engine)
        assert main(["iam", str(params), stage, *words]) == 0
        policy["Statement"] = json.loads(capsys.readouterr().out)["Statement"]
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)

    def verdict(*words, params=True):
        _, result = run(shop, capsys, *words, params=params)
        assert proxy.denied == [], words
        return result["verdict"]

    pattern = ["--pattern", "{table}-{source.environment}"]
    allow("draft", *pattern, params=drafted)
    assert main(["draft", str(drafted), *pattern, "--outputs", str(shop.outputs)]) in (0, 1)
    capsys.readouterr()
    assert proxy.denied == []
    allow("analyze")
    assert verdict("analyze") == "REVIEW"
    allow("test")
    assert verdict("test", "Orders", *confirmed) == "PASS"
    allow("create-tables")
    assert verdict("create-tables", *confirmed) == "PASS"
    allow("migrate")
    assert verdict("migrate", *confirmed) == "REVIEW"
    allow("delta")
    assert verdict("migrate", "--delta", *confirmed) == "REVIEW"
    allow("validate")
    assert verdict("validate") == "REVIEW"
    (*_, checkpoint) = sorted(shop.outputs.glob("*/migration-checkpoint-*.json"))
    tables = f"Customers-{target},Orders-{target}"
    allow("rollback")
    rollback = [
        "rollback",
        "--checkpoint",
        checkpoint,
        "--delete-tables",
        tables,
        "--confirm-delete",
        tables,
        *confirmed,
    ]
    assert verdict(*rollback, params=False) == "ROLLED_BACK"
    assert not [name for name in shop.client.list_tables()["TableNames"] if name.endswith(target)]
    proxy.close()
