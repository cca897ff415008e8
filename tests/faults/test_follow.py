"""Following that fails at its Nth call, N = 1, 2, …: every write, fsync and request, then on or back.

The small migration of harness.py, while and after which a ship and a port are changed in the source, a port added and one
deleted. The default tier takes every STEP-th call, the slow one every few calls, the long one all.
"""

import itertools

import pytest
from faults import harness
from faults.test_drift import changed_source
from faults.test_every_call import EVERY, FAULTS, Fault
from support_follow import followed, hurry, turn_on

STEP = 61
LEAST = {"killed": 90, "disk": 30, "endpoint-lost": 20}  # so many points following has


@pytest.fixture(scope="module", autouse=True)
def _streams(_bench):
    with pytest.MonkeyPatch.context() as patch:
        hurry(patch)
        for table in ("Ports", "Ships"):
            turn_on(_bench.world, table)
        yield


@pytest.fixture(scope="module")
def wanted(_bench, _streams):
    """The target and the totals after following to which nothing happened."""
    flow = _bench.flow()
    followed(flow)
    with changed_source(_bench):
        report = followed(flow)
        content = _bench.content(harness.TARGET)
    figures = [report["follow"]["tables"][_bench.world.name(table, harness.SOURCE)] for table in ("Ports", "Ships")]
    assert [(one["inserted"], one["replaced"], one["deleted"]) for one in figures] == [(1, 1, 1), (0, 1, 0)]
    flow.rollback()
    _bench.check_back()
    return content, report["totals"]


def fail_and_go_on(bench, wanted, fault: Fault, number: int) -> bool:
    """Whether following failed; then it goes on, and what it did is rolled back."""
    flow = bench.flow()
    followed(flow)
    with changed_source(bench):
        failed = fault(lambda: followed(flow), number)
        bench.check_unharmed()
        report = followed(flow)
        assert (bench.content(harness.TARGET), report["totals"]) == wanted
        assert report["id_map"]["rows"] == report["totals"]["scanned"]
    counts = flow.rollback()["rollback"]
    bench.check_back()
    assert (counts["deleted"], counts["kept_edited"], counts["not_found"]) == (wanted[1]["inserted"], 0, 0)
    return failed


def fail_at_first_and_go_on(bench, wanted, fault: Fault, number: int) -> bool:
    """Whether the walk, or what came after it, failed; the source had changed since the positions were noted."""
    flow = bench.flow()
    failed = fault(lambda: followed(flow), number)
    bench.check_unharmed()
    with changed_source(bench):
        report = followed(flow)
        assert bench.content(harness.TARGET) == wanted[0]
        assert report["totals"]["inserted"] == wanted[1]["inserted"]
    flow.rollback()
    bench.check_back()
    return failed


def fail_and_roll_back(bench, wanted, fault: Fault, number: int) -> bool:
    """Whether following failed; then all that stands is rolled back as it was left, and counted once."""
    flow = bench.flow()
    followed(flow)
    with changed_source(bench):
        failed = fault(lambda: followed(flow), number)
    bench.check_unharmed()
    landed = bench.landed()
    counts = flow.rollback()["rollback"]
    bench.check_back()
    # A copy whose delete was announced, and arrived without a word, counts as deleted by whoever looks next.
    assert counts["deleted"] - landed in (0, 1, 2)
    assert (counts["kept_edited"], counts["not_found"]) == (0, 0)
    return failed


def until_through(once, bench, wanted, name: str, first: int = 1, step: int = 1) -> None:
    """Fails at one call after the other until following gets through."""
    fault = FAULTS[name]
    for number in itertools.count(first, step):
        try:
            failed = once(bench, wanted, fault, number)
        except BaseException as problem:
            problem.add_note(f"at {fault.at(number)}")
            raise
        if not failed:
            break
    assert number > LEAST[name]


WAYS = pytest.mark.parametrize("once", [fail_and_go_on, fail_at_first_and_go_on, fail_and_roll_back])


@WAYS
@pytest.mark.parametrize("name", FAULTS)
def test_following_that_fails_here_and_there(name, once, bench, wanted):
    """A sample: given again, the same end; rolled back, the first target."""
    until_through(once, bench, wanted, name, first=7, step=STEP)


@EVERY
@WAYS
@pytest.mark.parametrize("name", FAULTS)
def test_following_that_fails_at_every_call(name, once, every, bench, wanted):
    """Given again, the same end; rolled back, the first target."""
    until_through(once, bench, wanted, name, step=1 if every else 7)
