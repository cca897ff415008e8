"""`notify`: the user's command is told once of each event, and cannot disturb the run."""

import json
import os
import sys
import time
from pathlib import Path

import pytest
import yaml
from support_notebooks import NoProgress, command

from runbook_lib.cli import main
from runbook_lib.errors import ParametersError, Refused
from runbook_lib.journal.audit import verify
from runbook_lib.journal.checkpoint import read_checkpoint
from runbook_lib.mapping.file.load import load_mapping
from runbook_lib.notebook import book, execute, rollback_book
from runbook_lib.parameters import load_parameters
from runbook_lib.run.files import json_seal
from runbook_lib.run.fingerprints import identity_of
from runbook_lib.run.folder import Run, run_json
from runbook_lib.stages import notify
from runbook_lib.stages.notify import Notifier, event_of

pytestmark = pytest.mark.usefixtures("in_process")

CONFIRMED = ["--execute", "--confirm"]
PROGRAM = """import os, sys
text = sys.stdin.read()
with open(sys.argv[1], "a") as file:
    file.write(text)
"""


class Told:
    """A program that keeps what it is told, and the words that run it."""

    def __init__(self, folder):
        self._path = folder / "told.jsonl"
        (folder / "my program.py").write_text(PROGRAM)
        self.command = f"{sys.executable} '{folder / 'my program.py'}' {self._path}"

    def events(self):
        """What it was told since it was asked last."""
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        self._path.unlink(missing_ok=True)
        return [json.loads(line) for line in lines]


@pytest.fixture
def told(tmp_path):
    """A program that keeps what it is told."""
    return Told(tmp_path)


@pytest.fixture
def notified(shop, told):
    """The shop, whose parameters name that program."""
    content = yaml.safe_load(shop.params.read_text())
    shop.params.write_text(yaml.safe_dump({**content, "notify": told.command}))
    return shop


def test_a_command_tells_of_begin_and_end_once_each(notified, told, capsys):
    """With the paths of what it left, and no value; the executed copy does not hold the command."""
    target = f"{notified.name}prod"
    _, result, _ = command(capsys, "full-migration", notified.params, *CONFIRMED, target, "--outputs", notified.outputs)
    events = told.events()
    stages = ["02_test", "03_migrate", "04_validate"]
    assert [(one["stage"], one["event"]) for one in events] == [(s, e) for s in stages for e in ("begin", "end")]
    first, last = events[0], events[-1]
    assert first == {
        "event": "begin", "run_id": result["run_id"], "stage": "02_test", "from": f"{notified.name}dev", "to": target,
        "at": first["at"], "verdict": None, "exit_code": None, "headline": None, "html": None, "audit_head": None,
        "summary": None,
    }  # fmt: skip
    keys = ("verdict", "exit_code", "headline", "html", "audit_head")
    assert [last[key] for key in keys] == [result[key] for key in keys]
    folder = notified.outputs / result["run_id"]
    assert not [
        path for path in folder.rglob("*") if path.is_file() and "my program" in path.read_text(errors="replace")
    ]

    (checkpoint,) = folder.glob("migration-checkpoint-*.json")
    back = ("rollback", "--checkpoint", checkpoint, *CONFIRMED, target)
    undone = command(capsys, *back)[1]
    assert undone["verdict"] == "ROLLED_BACK", undone
    assert told.events() == []  # it comes from no checkpoint
    assert command(capsys, *back, "--notify", told.command)[0] == 0
    assert [(one["event"], one["verdict"]) for one in told.events()] == [("begin", None), ("end", "ROLLED_BACK")]


def test_a_refused_and_an_interrupted_stage_are_told(notified, told, capsys, monkeypatch):
    """Refused by the notebook: fail. Interrupted: pause, with how to resume."""
    code, *_ = command(
        capsys, "migrate", notified.params, *CONFIRMED, f"{notified.name}prod", "--outputs", notified.outputs
    )
    assert code == 2
    began, failed = told.events()
    assert (began["event"], failed["event"], failed["verdict"], failed["exit_code"]) == ("begin", "fail", "REFUSED", 2)
    assert "does not exist" in failed["headline"]

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("runbook_lib.notebook.steps.analyze", interrupt)
    code, *_ = command(capsys, "analyze", notified.params, "--outputs", notified.outputs)
    assert code == 3
    began, paused = told.events()
    assert (began["event"], paused["event"], paused["verdict"]) == ("begin", "pause", "INTERRUPTED")


def test_a_program_that_fails_leaves_the_folder_as_the_audit_chain_has_it(shop, capsys):
    """Its note in run.log comes after the stage's last record: it has one of its own, which is the head that is printed."""
    failing = ("-p", "notify=no-such-program", "--outputs", shop.outputs)
    _, result, _ = command(capsys, "analyze", shop.params, *failing)
    folder = shop.outputs / result["run_id"]
    assert (folder / "run.log").read_text().count("notify: no-such-program cannot be started") == 2
    found = verify(Run(result["run_id"], folder), result["audit_head"])
    assert (found.problems, found.growth, found.head) == ([], [], result["audit_head"])


@pytest.mark.parametrize(
    ("error", "code", "event"),
    [
        (RuntimeError("Kernel died before replying to kernel_info"), 3, "pause"),
        (RuntimeError("Kernel didn't respond in 60 seconds"), 3, "pause"),
        (RuntimeError("a value"), 70, "fail"),
        (KeyboardInterrupt(), 3, "pause"),
    ],
)
def test_what_ends_a_command_itself_is_told(error, code, event, notified, told, capsys, monkeypatch):
    """A kernel that does not start is an interruption, as one that dies. A fault keeps its words to itself."""

    def fail(*_, **__):
        raise error

    if isinstance(error, KeyboardInterrupt):
        monkeypatch.setattr(execute, "export", fail)
    else:
        monkeypatch.setattr(execute.papermill_with(None), "execute_notebook", fail)
    assert main(["analyze", str(notified.params), "--outputs", str(notified.outputs)]) == code
    began, over = told.events()
    assert (began["event"], over["event"], over["exit_code"]) == ("begin", event, code)
    assert "a value" not in str(over)
    assert ("kernel did not start" in over["headline"]) == str(error).startswith("Kernel d")


@pytest.mark.parametrize(
    ("stage", "verdict", "exit_code", "event"),
    [
        ("01_analyze", "PASS", 0, "end"),
        ("01_analyze", "REVIEW", 1, "end"),
        ("05_rollback", "ROLLED_BACK", 0, "end"),
        ("03_migrate", "ROLLED_BACK", 1, "fail"),
        ("04_validate", "FAIL", 1, "fail"),
        ("03_migrate", "REFUSED", 2, "fail"),
        ("03_migrate", "INTERRUPTED", 3, "pause"),
        ("03_migrate", "STOPPED", 70, "fail"),
    ],
)
def test_how_a_stage_ended_decides_the_event(stage, verdict, exit_code, event):
    assert event_of(stage, verdict, exit_code) == event


def test_by_hand_the_notebook_tells(notified, told, monkeypatch):
    """Begin and end, or what stopped it, once each; 05 takes the command from its own cell, never from the checkpoint."""
    monkeypatch.delenv("RUNBOOK_HEADLESS", raising=False)
    monkeypatch.setattr("runbook_lib.notebook.base_book.Progress", NoProgress)
    values = load_parameters(notified.params).model_dump(mode="json") | {"outputs": str(notified.outputs)}
    analyzing = book.begin("01_analyze", values)
    analyzing.analyze(analyzing.plan())
    analyzing.finish()
    began, ended = told.events()
    assert (began["event"], ended["event"], ended["verdict"], ended["html"]) == ("begin", "end", "REVIEW", None)
    assert len(ended["audit_head"]) == 64
    stopping = book.begin("01_analyze", values)
    for _ in range(2):
        stopping._stopped(KeyError("a value"))
    began, failed = told.events()
    assert (failed["event"], failed["headline"]) == ("fail", "A fault in the program; the notebook shows it.")
    stopping._stopped(Refused("later"))
    assert told.events() == []
    nothing = rollback_book.begin({**values, "notify": ""})
    nothing.finish()
    assert told.events() == []


# a command that fails


@pytest.fixture
def notifier(tmp_path):
    """A function that makes a notifier of a run, for a command."""
    sides = [load_parameters_of(name) for name in ("dev", "prod")]
    return lambda words: Notifier(words, Run("the-only-run", tmp_path), "01_analyze", *sides)


def load_parameters_of(environment):
    from runbook_lib.parameters import Target

    return Target(environment=environment)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("no-such-program --secret", "no-such-program cannot be started: No such file or directory"),
        (f"{sys.executable} -c 'raise SystemExit(7)'", f"{sys.executable} ended with exit code 7"),
        (f"{sys.executable} -c 'import os; os.close(0)'", None),  # it does not read what it is told
    ],
)
def test_a_command_that_fails_is_a_note(words, problem, notifier, tmp_path, capsys):
    """On stderr and in run.log, without its arguments."""
    telling = notifier(words)
    telling.begin()
    telling.over("PASS", 0, "x" * 1_000_000)
    said, log = capsys.readouterr(), tmp_path / "run.log"
    assert said.err == (f"notify: {problem}.\n" * 2 if problem else "")
    assert said.out == ""
    assert (log.read_text().count(f"notify: {problem}\n") if log.exists() else 0) == (2 if problem else 0)


def test_a_command_that_hangs_is_killed_with_what_it_started(notifier, tmp_path, monkeypatch, capsys):
    """After PATIENCE; no process is left, not even as a zombie. The beginning waits for nothing."""
    monkeypatch.setattr(notify, "PATIENCE", 0.5)
    pids = tmp_path / "pids"
    telling = notifier(f"sh -c 'echo $$ >> {pids}; sleep 600 & echo $! >> {pids}; wait'")
    start = time.monotonic()
    telling.begin()
    assert time.monotonic() - start < 0.4
    telling.over("PASS", 0, "done")
    assert capsys.readouterr().err == "notify: sh did not end within 0.5 seconds and was killed.\n" * 2
    deadline = time.monotonic() + 10
    left = [int(pid) for pid in pids.read_text().split()]
    assert len(left) == 4
    while any(map(_lives, left)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z" or os.getpid() == int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_its_environment_is_that_of_the_command(told, tmp_path, notifier, monkeypatch):
    """Nothing is added, and no shell reads its words."""
    monkeypatch.setenv("MY_OWN", "1")
    out = tmp_path / "environment"
    telling = notifier(
        f"""{sys.executable} -c "import os; open('{out}', 'w').write(repr(dict(os.environ)))" '$HOME' ';'"""
    )
    telling.over("PASS", 0, "done")
    extra = eval(out.read_text()).keys() - os.environ.keys()
    assert extra <= {"LC_CTYPE", "COLUMNS", "LINES"}  # Python's own, and that of readline


# where the command comes from


def test_it_belongs_to_no_identity_and_no_checkpoint(notified, capsys):
    """Another command hinders no resume; one that somebody wrote into a checkpoint is not run."""
    with_it = load_parameters(notified.params)
    without = load_parameters(notified.params, {"notify": None})
    mapping = load_mapping(with_it)
    assert identity_of(mapping, with_it) == identity_of(mapping, without)
    assert run_json(with_it, mapping, "x")["fingerprint"] == run_json(without, mapping, "x")["fingerprint"]
    target = f"{notified.name}prod"
    command(capsys, "full-migration", notified.params, *CONFIRMED, target, "--outputs", notified.outputs)
    (path,) = notified.outputs.glob("*/migration-checkpoint-*.json")
    content = json.loads(path.read_text())
    assert "notify" not in content["parameters"]
    del content["sha256"]
    content["parameters"]["notify"] = "touch /tmp/never"
    path.write_text(json.dumps({**content, "sha256": json_seal(content)}))
    assert read_checkpoint(path).parameters.notify is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [("curl 'http://x", "has a quote that is not closed"), ("  ", "names no program"), ("''", "names no program")],
)
def test_a_command_that_is_none_is_refused_when_the_parameters_are_read(text, problem, shop, capsys):
    """In the file, by -p, and by rollback's own option."""
    with pytest.raises(ParametersError, match=problem):
        load_parameters(shop.params, {"notify": text})
    code, refused, _ = command(capsys, "rollback", "--checkpoint", "x", "--notify", text)
    assert (code, problem in refused["error"]) == (2, True)
