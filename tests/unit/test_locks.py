"""One operator per target table: row 42 of the fault matrix, and rows 41 and 43 as far as one machine goes."""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from runbook_lib import process
from runbook_lib.dynamo.requests import Requests
from runbook_lib.errors import Interrupted, Refused
from runbook_lib.run.folder import Run
from runbook_lib.run.locks import locks

TARGET = SimpleNamespace(account="1", region="r", endpoint_url="http://127.0.0.1:1")
WIRE = Requests("http://127.0.0.1:1", "r", None)
HOLDER = """
import sys, time, pathlib
from types import SimpleNamespace
from runbook_lib.run.locks import locks
from runbook_lib.run.folder import Run
locks.FOLDER = pathlib.Path(sys.argv[1])
target = SimpleNamespace(account="1", region="r", endpoint_url="http://127.0.0.1:1")
with locks.hold_targets(target, {"A": None, "B": None}, Run("first-run-id", pathlib.Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Locks of this test's own, and no patience."""
    monkeypatch.setattr(locks, "FOLDER", tmp_path)
    monkeypatch.setattr(process, "lock_patience", 0.3)
    return tmp_path


@pytest.fixture
def holder(folder):
    """Another process that holds the tables A and B."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_second_run_on_the_same_table_is_refused_with_who_holds_it(folder, holder):
    """The sentence names the run and the process, and how to take the lock of one that hangs."""
    with (
        pytest.raises(Refused, match=f"run first-run-id .process {holder.pid}@{socket.gethostname()}.*--break-lock"),
        locks.hold_targets(TARGET, {"B": None, "C": None}, Run("second-run-id", folder)),
    ):
        pass


def test_other_tables_and_other_places_are_free(folder, holder):
    """A lock is of one table at one place."""
    elsewhere = SimpleNamespace(**{**vars(TARGET), "region": "s"})
    with locks.hold_targets(TARGET, {"C": None}, Run("second-run-id", folder)):
        WIRE.check_guards()
    with locks.hold_targets(elsewhere, {"A": None}, Run("second-run-id", folder)):
        pass


def test_the_lock_of_a_dead_process_is_free(folder, holder):
    """A killed process leaves nothing to clean up."""
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with locks.hold_targets(TARGET, {"A": None, "B": None}, Run("second-run-id", folder)):
        pass
    assert list(folder.glob("*.lock")) == []


def test_a_lock_is_broken_only_by_naming_its_holder(folder, holder):
    """The wrong name breaks nothing; the right one takes the lock."""
    with (
        pytest.raises(Refused),
        locks.hold_targets(TARGET, {"A": None}, Run("second-run-id", folder), break_lock=f"{holder.pid + 1}@elsewhere"),
    ):
        pass
    name = f"{holder.pid}@{socket.gethostname()}"
    with locks.hold_targets(TARGET, {"A": None}, Run("second-run-id", folder), break_lock=name):
        WIRE.check_guards()


def test_who_lost_the_lock_stops(folder):
    """A process whose lock was broken notices it before its next write."""
    with locks.hold_targets(TARGET, {"A": None}, Run("first-run-id", folder)):
        WIRE.check_guards()
        (path,) = folder.glob("*.lock")
        os.replace(path, folder / "gone")
        with pytest.raises(Interrupted, match="broken the lock"):
            WIRE.check_guards()


@pytest.mark.parametrize("age", [0, 100])
def test_a_lock_that_is_broken_is_noticed_whatever_the_folder_tells(age, folder):
    """A folder that changed just now may show the same time after another change; an old time is enough."""
    with locks.hold_targets(TARGET, {"A": "the-id", "B": None}, Run("first-run-id", folder)):
        first, *_ = paths = sorted(folder.glob("*.lock"))
        assert len(paths) == 3
        changed = time.time_ns() - age * 10**9
        os.utime(folder, ns=(changed, changed))
        WIRE.check_guards()
        first.rename(folder.parent / "gone")
        if not age:
            os.utime(folder, ns=(changed, changed))
        with pytest.raises(Interrupted, match="broken the lock"):
            WIRE.check_guards()


def test_no_lock_is_looked_at_while_their_folder_is_as_it_was(folder, monkeypatch):
    """However many there are: the check stands before every write."""
    with locks.hold_targets(TARGET, dict.fromkeys("ABCDE"), Run("first-run-id", folder)):
        os.utime(folder, (1, 1))
        WIRE.check_guards()
        looked, stat = [], os.stat
        monkeypatch.setattr(os, "stat", lambda path, **options: looked.append(str(path)) or stat(path, **options))
        WIRE.check_guards()
        assert looked == [str(folder)]
        monkeypatch.undo()


def test_one_table_has_one_lock_however_it_is_named(folder):
    """By its identity, at any address; by its address, for who does not know the identity."""
    elsewhere = SimpleNamespace(**{**vars(TARGET), "endpoint_url": "http://localhost:1", "account": None})
    with locks.hold_targets(TARGET, {"A": "the-id", "arn:A": "the-id"}, Run("first-run-id", folder)):
        for target, known in ((elsewhere, "the-id"), (TARGET, None)):
            with (
                pytest.raises(Refused, match="run first-run-id"),
                locks.hold_targets(target, {"A": known}, Run("second-run-id", folder)),
            ):
                pass
        with locks.hold_targets(elsewhere, {"A": "another"}, Run("second-run-id", folder)):
            pass
    assert list(folder.glob("*.lock")) == []


def test_the_folder_is_one_for_all_users(tmp_path, monkeypatch):
    """Whatever TMPDIR is: the first where all may write and none may remove what is another's."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for name, mode in (("of-one-user", 0o755), ("not-sticky", 0o777), ("of-all", 0o1777)):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(mode)
    monkeypatch.setattr(
        locks, "PLACES", tuple(tmp_path / n for n in ("missing", "of-one-user", "not-sticky", "of-all"))
    )
    assert locks.shared_folder() == tmp_path / "of-all"
    monkeypatch.setattr(locks, "PLACES", ())
    assert str(locks.shared_folder()) == "/tmp"


def own_lock(folder):
    """Where this user's lock of table A lies."""
    with locks.hold_targets(TARGET, {"A": None}, Run("first-run-id", folder)):
        (path,) = folder.glob("*.lock")
    return path


@pytest.mark.parametrize("what", ["a link", "a hanging link", "a hard link", "a folder", "a pipe"])
def test_what_is_no_lock_is_neither_followed_nor_overwritten(what, folder):
    """Whoever put it there: one sentence names it, and it is as it was."""
    path, other = own_lock(folder), folder / "other"
    other.write_text("precious")
    if what == "a link":
        path.symlink_to(other)
    elif what == "a hanging link":
        path.symlink_to(folder / "nowhere")
    elif what == "a hard link":
        path.hardlink_to(other)
    else:
        (os.mkfifo if what == "a pipe" else os.mkdir)(path)
    with pytest.raises(Refused, match=str(path)), locks.hold_targets(TARGET, {"A": None}, Run("first-run-id", folder)):
        pass
    assert other.read_text() == "precious"
    assert not (folder / "nowhere").exists()
    assert os.path.lexists(path)


def test_what_a_lock_says_is_quoted_only_if_it_looks_like_it(folder, holder):
    """Another user may have written it."""
    for path in folder.glob("*.lock"):
        path.write_text('{"pid": 1, "host": "<b>", "run": "x\\ny", "since": "z"}')
    with (
        pytest.raises(Refused, match=r"^A is being written by another process on this machine; wait for it to end\.$"),
        locks.hold_targets(TARGET, {"A": None}, Run("second-run-id", folder)),
    ):
        pass


STRANGER = 54321  # a user that need not exist
FORK = multiprocessing.get_context("fork")


@pytest.fixture
def shared(monkeypatch):
    """A folder that every user can write to."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        os.chmod(name, 0o1777)
        monkeypatch.setattr(locks, "FOLDER", Path(name))
        monkeypatch.setattr(process, "lock_patience", 0.3)
        yield Path(name)


def as_stranger(work):
    """What `work`, done by another user in a process of its own, gives or is refused with."""
    here, there = FORK.Pipe()

    def child():
        os.umask(0o077)
        os.setgid(STRANGER)
        os.setuid(STRANGER)
        try:
            there.send(work())
        except (Refused, Interrupted) as problem:
            there.send(str(problem))

    other = FORK.Process(target=child)
    other.start()
    answer = here.recv() if here.poll(30) else None
    other.join()
    return answer


def hold_briefly(break_lock="", folder="/tmp"):
    run = Run("strange-run-id", Path(folder))
    with locks.hold_targets(TARGET, {"A": "the-id"}, run, break_lock=break_lock):
        return "held"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_two_users_exclude_each_other(shared):
    """Each has a file of their own; who comes second is told whose lock it is, and cannot break it; root can."""
    name = f"{os.getpid()}@{socket.gethostname()}"
    with locks.hold_targets(TARGET, {"A": "the-id"}, Run("first-run-id", shared)):
        assert f"run first-run-id (process {name} of user root, since" in as_stranger(hold_briefly)
        assert "belongs to user root; only that user or root can break it" in as_stranger(lambda: hold_briefly(name))
        WIRE.check_guards()
    assert as_stranger(hold_briefly) == "held"
    assert list(shared.iterdir()) == []

    def dies():
        with locks.hold_targets(TARGET, {"A": "the-id"}, Run("strange-run-id", shared)):
            left.send("held")
            time.sleep(60)

    mine, left = FORK.Pipe()
    other = FORK.Process(target=lambda: (os.umask(0o077), os.setuid(STRANGER), dies()))
    other.start()
    assert mine.recv() == "held"
    stranger = f"{other.pid}@{socket.gethostname()}"
    with (
        pytest.raises(Refused, match=f"process {stranger} of user {STRANGER}, since"),
        locks.hold_targets(TARGET, {"A": "the-id"}, Run("first-run-id", shared)),
    ):
        pass
    other.kill()
    other.join()
    with locks.hold_targets(TARGET, {"A": "the-id"}, Run("first-run-id", shared)):  # a dead user's is free
        WIRE.check_guards()
    assert {path.stat().st_uid for path in shared.iterdir()} == {STRANGER}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_file_that_another_user_puts_in_the_way_is_left_alone(shared):
    """Under this user's name it is named and refused; under a third one's it holds nobody up."""
    path = own_lock(shared)

    def forge():
        path.write_text("mine")
        forged = path.with_name(path.name.replace(f".{0}.", ".4711."))
        file = forged.open("w")
        locks.fcntl.flock(file, locks.fcntl.LOCK_EX)
        ready.send("forged")
        time.sleep(60)

    mine, ready = FORK.Pipe()
    other = FORK.Process(target=lambda: (os.setuid(STRANGER), forge()))
    other.start()
    assert mine.recv() == "forged"
    run = Run("first-run-id", shared)
    with pytest.raises(Refused, match="is not a lock of this user"), locks.hold_targets(TARGET, {"A": None}, run):
        pass
    assert path.read_text() == "mine"
    path.unlink()
    with locks.hold_targets(TARGET, {"A": None}, run):
        WIRE.check_guards()
    other.kill()
    other.join()
