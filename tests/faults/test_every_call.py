"""The Nth call fails, N = 1, 2, ... until a run gets through: every write, fsync, rename and request of a small migration.

After each failure: the source is untouched, and nothing that was in the target first is altered; the same run, resumed,
ends with target and counts of a run that nothing happened to, or, rolled back without resuming, gives the first target
back; so does the rollback after resuming, which fails at its own Nth call, and leaves alone what was edited meanwhile.

With inserts one by one; in batches, where each statement of a batch may be the last that is done; and on an engine that
takes batches by itself. The default tier takes every STEP-th call, the slow one every few, the long one all.
"""

import itertools
from typing import NamedTuple

import pytest
from faults import harness
from faults.harness import INSERTED, killed, stopped

pytestmark = harness.by("puts", "batches", "ministack")
STEP = 113


class Fault(NamedTuple):
    """A way to fail at the Nth of some points."""

    rule: str
    least: int  # so many points there are at least, or the test would prove nothing

    def __call__(self, work, number: int) -> bool:
        """Whether the work was ended by it."""
        end = killed if "kill" in self.rule else stopped
        return end(work, self.at(number))

    def at(self, number: int) -> str:
        """The rule for the Nth; a disk is full and broken in turn."""
        return self.rule.format(number, ("eio", "enospc")[number % 2])


FAULTS = {
    "killed": Fault("*=kill@{}", 75),
    "disk": Fault("journal.*={1}@{0};file.*={1}@{0}", 40),
    "endpoint-lost": Fault("wire.*=error@{}+", 20),
}


def fail_and_resume(bench, fault: Fault, number: int) -> bool:
    """Whether the migration failed; then it is resumed, edited every third time, and rolled back with failures."""
    flow = bench.flow()
    failed = fault(flow.migrate, number)
    bench.check_unharmed()
    if failed:
        bench.check_whole(flow.migrate())
    edited = bench.edit() if number % 3 == 0 else []
    fault(flow.rollback, number)
    bench.check_unharmed()
    counts = flow.rollback()["rollback"]
    bench.check_back_but(edited)
    assert (counts["deleted"], counts["kept_edited"], counts["not_found"]) == (INSERTED - len(edited), len(edited), 0)
    return failed


def fail_and_roll_back(bench, fault: Fault, number: int) -> bool:
    """Whether the migration failed; then what had landed is rolled back, with failures, and counted once."""
    flow = bench.flow()
    failed = fault(flow.migrate, number)
    bench.check_unharmed()
    landed = bench.landed()
    if not harness.has_checkpoint(flow):
        assert landed == 0
        return failed
    fault(flow.rollback, number)
    bench.check_unharmed()
    counts = flow.rollback()["rollback"]
    bench.check_back()
    assert (counts["deleted"], counts["kept_edited"], counts["not_found"]) == (landed, 0, 0)
    return failed


def until_through(once, bench, fault: Fault, first: int = 1, step: int = 1) -> None:
    """Fails at one call after the other until a run gets through."""
    for number in itertools.count(first, step):
        try:
            failed = once(bench, fault, number)
        except BaseException as problem:
            problem.add_note(f"at {fault.at(number)}")
            raise
        if not failed:
            break
    assert number > fault.least


EVERY = pytest.mark.parametrize(
    "every",
    [pytest.param(False, marks=pytest.mark.slow), pytest.param(True, marks=pytest.mark.long)],
    ids=["some", "all"],
)


def step_of(bench, every: bool) -> int:
    """Every call; else every 19th in batches, and every 41st of the other ways, which are much like that."""
    if every:
        return 1
    return 19 if bench.way.point == "Statement" else 41


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_failure_here_and_there_and_on(fault, bench):
    """Rows 1, 2, 4, 6, 14, 16, 23, 36, 57, a sample: resumed, as if nothing had happened; then rolled back."""
    until_through(fail_and_resume, bench, fault, first=6, step=STEP)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_failure_here_and_there_and_back(fault, bench):
    """Rows 1, 2, 4, 6, 14, 16, 23, 36, 57, a sample: rolled back as it was left."""
    until_through(fail_and_roll_back, bench, fault, first=18, step=STEP)


@EVERY
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_failure_at_every_call_and_on(fault, every, bench):
    """Rows 1, 2, 4, 6, 14, 16, 23, 36, 57: resumed, as if nothing had happened; then rolled back."""
    until_through(fail_and_resume, bench, fault, step=step_of(bench, every))


@EVERY
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_failure_at_every_call_and_back(fault, every, bench):
    """Rows 1, 2, 4, 6, 14, 16, 23, 36, 57: rolled back as it was left."""
    until_through(fail_and_roll_back, bench, fault, first=2, step=step_of(bench, every))


# a request that fails once


def fail_once(bench, rule: str) -> bool:
    """Whether a request of the migration failed; its retry gets through, in the migration and in the rollback."""
    flow = bench.flow()
    with harness.armed(rule) as points:
        bench.check_whole(flow.migrate())
    with harness.armed(rule):
        counts = flow.rollback()["rollback"]
    bench.check_back()
    assert (counts["deleted"], counts["kept_edited"], counts["not_found"]) == (INSERTED, 0, 0)
    return points.fired


def test_a_lost_request_or_reply_here_and_there_changes_nothing(bench):
    """Rows 18, 19, 59, a sample: an insert whose reply is lost counts as inserted, a delete as deleted."""
    for number in itertools.count(1, 7):
        if not fail_once(bench, f"wire.*=error@{number}"):
            break
    assert number > 25


@EVERY
@pytest.mark.parametrize("rule", ["wire.*.before=error@{}", "wire.*.after=lost-reply@{}"])
def test_any_lost_request_or_reply_changes_nothing(rule, every, bench):
    """Rows 18, 19, 59: each request, before it leaves and after it was done."""
    for number in itertools.count(1, 1 if every else 3):
        if not fail_once(bench, rule.format(number)):
            break
    assert number > 10


# a second failure while the first is being mended


def kill_twice_and_resume(bench, fault: Fault, number: int) -> bool:
    """Whether the resumed migration died, too."""
    flow = harness.open_page(bench)
    failed = fault(flow.migrate, number)
    bench.check_unharmed()
    bench.check_whole(flow.migrate())
    assert flow.rollback()["rollback"]["deleted"] == INSERTED
    bench.check_back()
    return failed


def kill_twice_and_roll_back(bench, fault: Fault, number: int) -> bool:
    """Whether the rollback of what the migration left died, too."""
    flow = harness.open_page(bench)
    landed = bench.landed()
    failed = fault(flow.rollback, number)
    bench.check_unharmed()
    counts = flow.rollback()["rollback"]
    bench.check_back()
    assert (counts["deleted"], counts["kept_edited"], counts["not_found"]) == (landed, 0, 0)
    return failed


TWICE = {"resume": (kill_twice_and_resume, 40), "rollback": (kill_twice_and_roll_back, 30)}


@pytest.mark.parametrize("way", TWICE)
def test_a_second_death_here_and_there(way, bench):
    """Rows 3, 57, a sample: the resumed run, or the rollback, of an open page dies as well."""
    once, least = TWICE[way]
    until_through(once, bench, Fault("*=kill@{}", least), first=7, step=STEP)


@EVERY
@pytest.mark.parametrize("way", TWICE)
def test_a_second_death_at_every_call(way, every, bench):
    """Rows 3, 57: the resumed run, or the rollback, of an open page dies as well, anywhere."""
    once, least = TWICE[way]
    until_through(once, bench, Fault("*=kill@{}", least), step=step_of(bench, every))


def test_an_edited_item_of_a_page_that_was_open_twice_is_kept_once(bench):
    """Row 57: two deaths in one page leave two intents for each row, but one item."""
    flow = bench.flow()
    assert killed(flow.migrate, bench.way.after(1))
    assert killed(flow.migrate, bench.way.after(1))
    landed = bench.landed()
    assert landed == 2 or bench.way.together > 1  # on ministack a batch lands whole: these are two pages
    edited = bench.edit()
    counts = flow.rollback()["rollback"]
    assert (counts["deleted"], counts["kept_edited"], counts["not_found"]) == (landed - 2, 2, 0)
    assert len(flow.listing("kept")) == 2
    bench.check_back_but(edited)


@pytest.mark.parametrize("page", [1, 3, 20])
def test_a_page_that_ends_elsewhere_when_it_is_read_again_changes_nothing(page, bench, monkeypatch):
    """Row 3: what had landed of the open page is the run's, also where the page is cut otherwise by then."""
    flow = harness.open_page(bench)
    monkeypatch.setattr(harness, "PAGE", page)
    bench.check_whole(flow.migrate())
    counts = flow.rollback()["rollback"]
    bench.check_back()
    assert (counts["deleted"], counts["kept_edited"], counts["not_found"]) == (INSERTED, 0, 0)
