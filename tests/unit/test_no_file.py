"""What lies where a file of the program belongs and is none is neither waited for nor followed: one sentence names it."""

import os

import pytest

from runbook_lib.errors import Interrupted, Refused
from runbook_lib.journal import audit
from runbook_lib.journal.log import Log
from runbook_lib.journal.stage import Stage
from runbook_lib.report.runs.index import write_index
from runbook_lib.report.runs.status import status_of_all
from runbook_lib.run import files
from runbook_lib.run.files import file_sha256, make_folder
from runbook_lib.run.folder import Run, numbering, open_run
from runbook_lib.run.locks import lease_file
from runbook_lib.walk import control

ABOUT = {"fingerprint": "f", "created": "2026-01-01T00:00:00Z", "mapping": "m.yaml"}
EVENTS, TABLE = "journal/migrate/stage.jsonl", "journal/migrate/A.00000.jsonl"


@pytest.fixture
def run(tmp_path):
    """A run, with the folder of a journal."""
    run = open_run(tmp_path / "outputs", "the-first-run", ABOUT)
    run.journal("migrate").mkdir(parents=True)
    return run


def hold(block):
    with block:
        pass


def put(path, what, victim):
    """Puts something that is no file of its own at a path; whatever leads elsewhere leads to the victim."""
    path.unlink(missing_ok=True)
    victim.write_text("precious")
    make = {"a symlink": path.symlink_to, "a hard link": path.hardlink_to}
    {**make, "a pipe": lambda _: os.mkfifo(path), "a folder": lambda _: path.mkdir()}[what](victim)


READERS = {
    "the stage's events": (EVENTS, lambda run: Stage(run, "migrate").read()),
    "a table's journal": (TABLE, lambda run: Stage(run, "migrate").read()),
    "the audit chain": ("audit.jsonl", lambda run: run.latest_json("migration-report")),
    "the holder": (".lock", lambda run: run.holder()),
    "the lease": (".lease", lease_file.follow),
    "any file": ("plan.json", lambda run: file_sha256(run.folder / "plan.json")),
}
WRITERS = {
    "the run's lock": (".lock", lambda run: hold(run.lock("test"))),
    "the lock of all runs": ("../.lock", lambda run: hold(numbering(run.folder.parent))),
    "the log": ("run.log", lambda run: run.logger().warning("begins")),
    "a journal": (EVENTS, lambda run: Log(run.folder / EVENTS)),
}
LEADING = {**WRITERS, "the audit chain": ("audit.jsonl", lambda run: audit.append(run, "01_analyze"))}


@pytest.mark.parametrize("what", ["a pipe", "a folder"])
@pytest.mark.parametrize("of", [*READERS, *WRITERS])
def test_what_can_hold_no_content_is_refused_and_not_waited_for(of, what, run, tmp_path, in_time):
    """By whoever reads there, and by whoever writes there."""
    name, work = {**READERS, **WRITERS}[of]
    put(run.folder / name, what, tmp_path / "victim")
    with pytest.raises(
        Refused, match=r"cannot be used: it is (not a regular file|a folder); (restore|remove) it"
    ) as told:
        work(run)
    assert str(told.value).startswith(f"{os.path.normpath(run.folder / name)} cannot")


@pytest.mark.parametrize("what", ["a symlink", "a hard link"])
@pytest.mark.parametrize("of", LEADING)
def test_what_leads_to_another_file_is_not_written_to(of, what, run, tmp_path):
    """A lock is emptied, and the one of all runs is made writable for all users."""
    name, work = LEADING[of]
    victim = tmp_path / "victim"
    put(run.folder / name, what, victim)
    victim.chmod(0o640)
    with pytest.raises(
        Refused, match=rf"{os.path.basename(name)} (cannot be used: it )?is {what}.*; (restore|remove|put) "
    ):
        work(run)
    assert (victim.read_text(), victim.stat().st_mode & 0o777) == ("precious", 0o640)
    victim.unlink()
    if what == "a symlink":
        with pytest.raises(Refused, match="is a symlink"):
            work(run)
        assert not victim.exists()


def test_the_other_runs_are_shown_beside_one_that_cannot_be_read(run, in_time, monkeypatch):
    """Whatever of it that is; what another user may not read is no fault of the program either."""
    second = open_run(run.folder.parent, "the-second-run", ABOUT)

    def states():
        assert {run.id, second.id} <= set(write_index(run.folder.parent).read_text().replace("<", ">").split(">"))
        return {one.run_id: one.problem and one.state for one in status_of_all(run.folder.parent)}

    assert states() == {run.id: None, second.id: None}
    for name in (EVENTS, TABLE, "audit.jsonl", ".lock"):
        os.mkfifo(run.folder / name)
        (run.folder / "03_migrate.ipynb").touch()
        (run.folder / "03_migrate-2.ipynb").touch()
        assert states() == {run.id: "damaged", second.id: None}, name
        (run.folder / name).unlink()
    (run.folder / EVENTS).touch()

    def denied(path, *more):
        if str(path).startswith(str(run.folder)):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *more)

    real = files.open_regular
    monkeypatch.setattr(files, "open_regular", denied)
    assert states() == {run.id: "damaged", second.id: None}
    (problem,) = {one.problem for one in status_of_all(run.folder.parent)} - {None}
    assert problem == f"{run.folder / '.lock'} cannot be read: Permission denied; ask its owner, or change its mode."


@pytest.mark.parametrize("what", ["a file", "a pipe"])
def test_the_journal_s_folder_is_one(what, run):
    """Else every run would look as if it had never begun."""
    folder = run.journal("migrate")
    folder.rmdir()
    folder.touch() if what == "a file" else os.mkfifo(folder)
    with pytest.raises(Refused, match=rf"^{folder} is no folder; restore it"):
        Stage(run, "migrate").read()


def test_requests_are_neither_waited_for_nor_followed(run, tmp_path, in_time):
    """A run that works looks for them after every page."""
    victim = tmp_path / "victim"
    for name in (control.STOP, control.TUNE):
        put(run.folder / name, "a symlink", victim)
    os.replace(run.folder / control.TUNE, tmp_path / "link")
    os.mkfifo(run.folder / control.TUNE)
    control.Tuning(run, None).apply()
    (run.folder / control.TUNE).unlink()
    os.replace(tmp_path / "link", run.folder / control.TUNE)
    control.request_stop(run)
    control.request_tuning(run, {"limits.read_units": 5})
    assert control._asked(run) == {"limits.read_units": 5}
    control.clear(run)
    assert victim.read_text() == "precious"
    for name, work in (
        (control.STOP, control.clear),
        (control.TUNE, control.clear),
        (lease_file.FILE, lease_file.Cell),
    ):
        (run.folder / name).mkdir()
        with pytest.raises(Refused, match=rf"{name} is a folder; remove it"):
            work(run)
        if work is control.clear:
            ask = control.request_stop if name == control.STOP else lambda run: control.request_tuning(run, {})
            with pytest.raises(Interrupted, match=rf"^{run.folder / name}: Is a directory; fix that"):
                ask(run)
        (run.folder / name).rmdir()


def test_a_folder_of_the_program_is_no_symlink(run, tmp_path):
    """What is set aside would be written elsewhere."""
    (run.folder / "damaged").symlink_to(tmp_path)
    with pytest.raises(Refused, match="damaged is a symlink"):
        make_folder(run.folder / "damaged")


def test_a_lock_that_holds_anything_else_stops_nobody(run):
    """Somebody may have written to it: a holder that is unknown is another process."""
    for content in (b"[]", b"\xff", b"7"):
        (run.folder / ".lock").write_bytes(content)
        with run.lock("test"):
            assert run.holder().startswith("process ")
        with open(run.folder / ".lock", "r+b") as file:
            file.write(content)
            assert files.lock_file(file)
            assert run.holder() == "another process"
    with pytest.raises(FileNotFoundError):
        files.open_file(run.folder / "nothing")
    assert Run("x", run.folder / "x").holder() is None
