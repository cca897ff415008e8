"""The failpoints themselves: what fits, what counts, what is raised, what is refused."""

import errno
import subprocess
import sys
import threading
import timeit

import pytest
from faults.harness import armed

from runbook_lib import failpoints
from runbook_lib.errors import Refused


def outcome(point):
    """What reaching a point comes to: None, or the error number."""
    try:
        return failpoints.reach(point)
    except OSError as problem:
        return problem.errno


def test_nothing_is_armed_unless_somebody_does_it():
    """Reaching a point does nothing."""
    assert failpoints.armed is False
    assert outcome("journal.append.after") is None


@pytest.mark.parametrize(
    ("rule", "reached", "wanted"),
    [
        ("journal.append.after=eio", ["journal.append.after"] * 2, [errno.EIO, None]),
        ("journal.append.after=enospc@2", ["journal.append.after"] * 3, [None, errno.ENOSPC, None]),
        ("journal.append.after=error@2+", ["journal.append.after"] * 3, [None, errno.EIO, errno.EIO]),
        ("wire.*.after=error", ["wire.PutItem.before", "wire.PutItem.after"], [None, errno.ECONNRESET]),
        ("wire.Scan.after=lost-reply", ["wire.Scan.after"], [errno.ECONNRESET]),
        ("file.run*=eio@2", ["file.run.json.write.before", "file.run.json.after"], [None, errno.EIO]),
        ("*=eio@3", ["wire.Scan.before", "file.a.after", "journal.open.before"], [None, None, errno.EIO]),
        ("file.*=eio ; wire.Scan.before=error", ["wire.Scan.before", "file.a.after"], [errno.ECONNRESET, errno.EIO]),
    ],
)
def test_a_rule_fails_at_the_nth_time(rule, reached, wanted):
    """Each rule counts for itself; several rules stand side by side."""
    with armed(rule) as points:
        assert [outcome(point) for point in reached] == wanted
        assert points.fired


@pytest.mark.parametrize(
    "rule",
    [
        "journal.append.after",
        "journal.append.after=",
        "journal.append.after=explode",
        "journal.append.after=kill@0",
        "journal.append.after=kill@x",
        "journal.append=kill",
        "wire.PutItem=kill",
        "nothing.*=kill",
        "journal.append.after=lost-reply",
        "wire.*=lost-reply",
    ],
)
def test_a_rule_that_could_never_do_anything_is_refused(rule):
    """In one sentence that quotes it."""
    with pytest.raises(Refused, match="RUNBOOK_FAILPOINTS: "):
        failpoints.arm(rule)
    assert not failpoints.armed


def test_a_function_gets_each_point():
    """And raises what it likes."""
    seen = []
    with armed(seen.append):
        failpoints.reach("wire.Scan.before")
        failpoints.reach("wire.Scan.after")
    assert seen == ["wire.Scan.before", "wire.Scan.after"]
    assert not failpoints.armed


def test_threads_count_together():
    """Of many at once exactly one is the Nth."""
    found = []
    with armed("wire.*=error@500"):
        threads = [
            threading.Thread(target=lambda: found.extend(outcome("wire.PutItem.before") for _ in range(100)))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [number for number in found if number] == [errno.ECONNRESET]


def test_the_environment_arms_a_process_and_kill_leaves_no_time():
    """SIGKILL: not even a `finally` is run."""
    code = "from runbook_lib import failpoints\ntry: failpoints.reach('journal.append.after')\nfinally: print('cleaned up')"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={failpoints.VARIABLE: "journal.append.after=kill"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout) == (-9, "")


def test_an_unarmed_point_costs_next_to_nothing():
    """One look at a name: less than a microsecond, where an item takes tens of them."""
    assert min(timeit.repeat("if failpoints.armed: pass", number=10_000, globals=globals(), repeat=5)) < 0.01
