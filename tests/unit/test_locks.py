"""One operator per target table: row 42 of the fault matrix, and rows 41 and 43 as far as one machine goes."""

import os
import signal
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest

from runbook_lib import process
from runbook_lib.errors import Interrupted, Refused
from runbook_lib.run import locks
from runbook_lib.run.folder import Run

TARGET = SimpleNamespace(account="1", region="r", endpoint_url="http://127.0.0.1:1")
HOLDER = """
import sys, time, pathlib
from types import SimpleNamespace
from runbook_lib.run import locks
from runbook_lib.run.folder import Run
locks.FOLDER = pathlib.Path(sys.argv[1])
target = SimpleNamespace(account="1", region="r", endpoint_url="http://127.0.0.1:1")
with locks.hold_targets(target, ["A", "B"], Run("first-run-id", pathlib.Path(sys.argv[1]))):
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
        locks.hold_targets(TARGET, ["B", "C"], Run("second-run-id", folder)),
    ):
        pass


def test_other_tables_and_other_places_are_free(folder, holder):
    """A lock is of one table at one place."""
    elsewhere = SimpleNamespace(**{**vars(TARGET), "region": "s"})
    with locks.hold_targets(TARGET, ["C"], Run("second-run-id", folder)) as held:
        held.check()
    with locks.hold_targets(elsewhere, ["A"], Run("second-run-id", folder)):
        pass


def test_the_lock_of_a_dead_process_is_free(folder, holder):
    """A killed process leaves nothing to clean up."""
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with locks.hold_targets(TARGET, ["A", "B"], Run("second-run-id", folder)):
        pass
    assert list(folder.glob("*.lock")) == []


def test_a_lock_is_broken_only_by_naming_its_holder(folder, holder):
    """The wrong name breaks nothing; the right one takes the lock."""
    with (
        pytest.raises(Refused),
        locks.hold_targets(TARGET, ["A"], Run("second-run-id", folder), break_lock=f"{holder.pid + 1}@elsewhere"),
    ):
        pass
    name = f"{holder.pid}@{socket.gethostname()}"
    with locks.hold_targets(TARGET, ["A"], Run("second-run-id", folder), break_lock=name) as held:
        held.check()


def test_who_lost_the_lock_stops(folder):
    """A process whose lock was broken notices it before its next page."""
    with locks.hold_targets(TARGET, ["A"], Run("first-run-id", folder)) as held:
        held.check()
        (path,) = folder.glob("*.lock")
        os.replace(path, folder / "gone")
        with pytest.raises(Interrupted, match="broken the lock"):
            held.check()
