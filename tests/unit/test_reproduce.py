"""The line with which a notebook says how to do the same from a terminal: the command takes it, and it does the same."""

import pytest

from runbook_lib.cli import _parser
from runbook_lib.notebook.parameters_cell import COMMON, OWN
from runbook_lib.report.runs.executions import STAGES
from runbook_lib.report.runs.files import command, reproduce
from runbook_lib.run.folder import Run

ARN = "arn:aws:dynamodb:us-west-1:123456789012:table/Orders/backup/01"
WRITES = "--execute --confirm ENVIRONMENT"
CASES = [
    ("00_draft", {}, "draft PARAMS --run-id the-run-1"),
    (
        "00_draft",
        {"pattern": "{table} x", "items": 5, "force": True},
        "draft PARAMS --run-id the-run-1 --pattern {table} x --items 5 --force",
    ),
    ("01_analyze", {}, "analyze PARAMS --run-id the-run-1"),
    ("02_test", {"limit": 1}, "create-tables PARAMS --run-id the-run-1"),
    ("02_test", {"limit": 1, "execute": True}, f"create-tables PARAMS --run-id the-run-1 {WRITES}"),
    (
        "02_test",
        {"table": "Orders", "limit": 3, "keep": True, "execute": True},
        f"test PARAMS Orders --run-id the-run-1 --limit 3 --keep {WRITES}",
    ),
    ("03_migrate", {"tables": ["A", "B"]}, "migrate PARAMS --run-id the-run-1 --tables A,B"),
    ("03_migrate", {"execute": True, "new": True}, f"migrate PARAMS --run-id the-run-1 {WRITES}"),
    ("03_migrate", {"execute": True, "delta": True}, f"migrate PARAMS --run-id the-run-1 --delta {WRITES}"),
    (
        "03_migrate",
        {"execute": True, "retry_failed": True, "accept_drift": True},
        f"migrate PARAMS --run-id the-run-1 --retry-failed --accept-drift {WRITES}",
    ),
    ("04_validate", {"execute": True, "tables": ["A"]}, "validate PARAMS --run-id the-run-1 --tables A"),
    (
        "04_validate",
        {"execute": True, "repair": "deleted"},
        f"validate PARAMS --run-id the-run-1 --repair deleted {WRITES}",
    ),
    ("05_rollback", {"checkpoint": "/x/y.json"}, "rollback --checkpoint FILE"),
    (
        "05_rollback",
        {"execute": True, "restore_from": ARN, "delete_tables": ["A", "B"]},
        f"rollback --checkpoint FILE --restore-from {ARN} --delete-tables A,B {WRITES} "
        f"--confirm-restore {ARN} --confirm-delete A,B",
    ),
]


@pytest.mark.parametrize(("stage", "given", "line"), CASES)
def test_the_line_is_one_that_the_command_takes(stage, given, line):
    """With everything that the notebook was given, and no more: a plan stays one."""
    values = {name: wanted() for name, wanted in (COMMON | OWN[stage]).items()} | given
    words = command(stage, "the-run-1", values)
    assert " ".join(words) == line
    options = vars(_parser().parse_args(words))
    for name, value in given.items():
        if name in options and (stage, name) != ("04_validate", "execute") and name not in ("checkpoint", "new"):
            assert options[name] == value
    for option, asked in (("confirm_restore", "restore_from"), ("confirm_delete", "delete_tables")):
        if given.get("execute") and asked in given:
            assert options[option] == options[asked]


def test_every_stage_has_such_a_line():
    """Each of the six, so that a new stage has a case here."""
    assert {stage for stage, _, _ in CASES} == set(STAGES) == OWN.keys()


def test_what_a_shell_would_take_apart_is_quoted(tmp_path):
    """A pattern with spaces, and a name that closes a tag."""
    values = {"pattern": "{table} <b>", "items": 0, "force": False}
    assert "--pattern &#39;{table} &lt;b&gt;&#39;" in reproduce("00_draft", Run("the-run-1", tmp_path), None, values)
