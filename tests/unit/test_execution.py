"""What interrupts a stage says what happened and what to do about it; how to resume is said once, whoever shows it."""

import argparse
import ast
from pathlib import Path
from types import SimpleNamespace

import pytest
from support_notebooks import CellError

from runbook_lib import cli
from runbook_lib.errors import Failed, Interrupted
from runbook_lib.notebook import execute
from runbook_lib.notebook.execute import Execution
from runbook_lib.run.folder import Run
from runbook_lib.stages.execution import explained, resumable, resume_hint

PACKAGE = Path(cli.__file__).parent
HINT = "Run the same command with the run ID the-first-run to resume."


@pytest.fixture
def run(tmp_path):
    return Run("the-first-run", tmp_path)


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (
            Interrupted("target: the credentials have expired; renew them."),
            "target: the credentials have expired; renew them",
        ),
        (OSError(28, "No space left on device", "journal"), "journal: No space left on device; fix that"),
        (KeyboardInterrupt(), "interrupted by hand"),
    ],
)
def test_a_block_in_a_block_says_how_to_resume_once(run, problem, said):
    """By whatever it was interrupted."""
    with pytest.raises(Interrupted) as raised, resumable(run), resumable(run), run.saving():
        raise problem
    assert str(raised.value) == f"{said}. {HINT}"
    assert explained(raised.value, run, "03_migrate") == (raised.value, HINT)


def test_a_block_that_names_another_way_keeps_it(run):
    """Then the same command is not said to be the way on."""
    with pytest.raises(Interrupted) as raised, resumable(run), resumable(run, "Roll back first."):
        raise Interrupted("the disk is full.")
    assert str(raised.value) == "the disk is full. Roll back first."
    assert explained(raised.value, run, "02_test") == (raised.value, None)


def test_what_reaches_a_notebook_without_a_hint_gets_one(run):
    """A stage may be interrupted before its block begins; a failure is none of this."""
    error, resume = explained(Interrupted("the lease is lost."), run, "05_rollback")
    assert (str(error), resume) == (f"the lease is lost. {resume}", resume_hint(run, "05_rollback"))
    failed = Failed("the table is lost.")
    assert explained(failed, run, "03_migrate") == (failed, "")


@pytest.mark.parametrize(
    ("resume", "lines"),
    [
        (HINT, ["the disk is full.", "Resume with: runbook migrate p.yaml --run-id the-first-run"]),
        (None, [f"the disk is full. {HINT}"]),
    ],
)
def test_the_command_says_it_once(capsys, resume, lines):
    """The command that resumes takes the place of the sentence."""
    result = {"headline": f"the disk is full. {HINT}", "resume": resume, "run_id": "the-first-run"}
    options = argparse.Namespace(words=["migrate", "p.yaml"], params="p.yaml", json=False)
    assert cli._finish(options, Execution(Path("03_migrate.ipynb"), None, 3, result)) == 3
    assert capsys.readouterr().err.splitlines() == lines


def test_the_traceback_of_a_notebook_has_no_colours(run, monkeypatch):
    """IPython writes them for whatever reads it; a terminal would be shown their escapes."""

    def fail(*_, **__):
        raise CellError(
            "ZeroDivisionError", "division by zero", ["\x1b[0;31mZeroDivisionError\x1b[39m:", "\x1b[1m1 / 0\x1b[0m"]
        )

    papermill = SimpleNamespace(execute_notebook=fail, exceptions=SimpleNamespace(PapermillExecutionError=CellError))
    monkeypatch.setattr(execute, "papermill_with", lambda write: papermill)
    monkeypatch.setattr(execute, "export", lambda copy: (copy, copy))
    found = execute.execute("01_analyze", run, {})
    assert (found.exit_code, found.traceback) == (70, "ZeroDivisionError:\n1 / 0")


def test_no_other_interruption_speaks_of_it():
    """Whoever raises Interrupted leaves that to `stages.execution`."""
    for path in PACKAGE.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "Interrupted" and call.args:
                words = [node.value for node in ast.walk(call.args[0]) if isinstance(node, ast.Constant)]
                said = " ".join(word for word in words if isinstance(word, str))
                assert "resume" not in said, f"{path}:{call.lineno}"
