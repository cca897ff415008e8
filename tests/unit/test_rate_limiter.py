"""The rate limiter: unit budgets, and tables that slow down when they are refused. All on a clock of the tests' own."""

import itertools
import random

import pytest
from support_pace import allowed, overall

from runbook_lib.dynamo.rate_limiter import FLOOR, WINDOW, Budgets, RateLimiter


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


def limiter(clock, budgets=None):
    return RateLimiter(budgets, clock=clock, sleep=clock.sleep)


def send(limiter, clock, table, seconds, *, rate=200.0, refuse=lambda n: False):
    """Send for some seconds, as fast as the table lets and at most `rate` a second; return the rate that went out."""
    began, sent = clock.now, 0
    while clock.now < began + seconds:
        limiter.wait_turn(table)
        clock.now += 1 / rate
        if refuse(sent):
            limiter.refused(table, "ThrottlingException")
        else:
            limiter.accepted(table)
        sent += 1
    return sent / (clock.now - began)


def test_without_limits_nobody_waits(clock):
    """No limit, no refusal: no wait at all."""
    free = limiter(clock)
    for _ in range(1000):
        free.wait_turn("T")
        free.wait_read(256)
        free.wait_write(400)
        free.accepted("T")
    assert clock.now == 100.0
    assert not free.limited


@pytest.mark.parametrize("kind", ["read", "write"])
def test_units_per_second_are_kept(clock, kind):
    """Over a minute the units taken are those allowed, with at most one second's worth made up for."""
    limited = limiter(clock, overall(**{kind: 50}))
    take = getattr(limited, f"wait_{kind}")
    began, taken = clock.now, 0
    while clock.now < began + 60:
        take(7)
        taken += 7
    assert 50 * 60 <= taken <= 50 * 61 + 7
    assert limited.limited


def test_limits_are_separate(clock):
    """Writes do not use up the read units."""
    limited = limiter(clock, overall(write=1))
    limited.wait_read(10_000)
    assert clock.now == 100.0


def test_a_table_is_held_to_its_own_budget_and_to_that_of_all(clock):
    """Two tables share the run's budget; one of them has less. Each wait is told with the parameter that it comes from."""
    limits = Budgets({("", "write"): 100, ("target T", "write"): 20})
    limited, taken = limiter(clock, limits), {"target T": 0, "target U": 0}
    began = clock.now
    while clock.now < began + 60:
        table = min(taken, key=taken.get) if taken["target T"] < 20 * (clock.now - began) else "target U"
        limited.wait_write(1, table)
        taken[table] += 1
    assert 19 * 60 <= taken["target T"] <= 20 * 61 + 1
    assert 100 * 60 <= sum(taken.values()) <= 100 * 61 + 1
    limited.wait_write(30, "target T")
    assert limited.slowed() == [
        "held to 100 write units a second by limits.write_units",
        "target T: held to 20 write units a second by limits.tables (its write_units)",
    ]
    limited.allow(overall(write=100))
    assert limited.slowed() == ["held to 100 write units a second by limits.write_units"]


def test_workers_share_budgets():
    """A table's budget among those that may be at it, the run's among all."""
    whole = Budgets({("", "read"): 80, ("source T", "read"): 30, ("source U", "read"): 30})
    share = whole.share(8, {"source T": 3, "source U": 20})
    assert share.units == {("", "read"): 10, ("source T", "read"): 10, ("source U", "read"): 30 / 8}
    assert allowed(whole.share(8, {"source T": 0, "source U": 1}), "source T") == (30, None)


def test_what_held_back_is_counted_with_its_reason(clock):
    """Seconds in which somebody waited, not those of each waiter added up; and the requests that were refused."""
    slow = limiter(clock, overall(write=10))
    send(slow, clock, "target T", 10, refuse=lambda n: True)
    slow.wait_write(10, "target T")  # the burst
    now = clock.now
    slow.wait_write(10, "target T")
    clock.now = now  # another thread, at the same time
    slow.wait_write(10, "target T")
    budget, table = sorted(slow.slowdowns(), key=lambda found: found.name)
    assert (budget.name, budget.reason, budget.refused) == ("", "limits.write_units", 0)
    assert budget.seconds == pytest.approx(2)
    assert (table.name, table.reason) == ("target T", "ThrottlingException")
    assert table.refused > 50
    assert 5 < table.seconds < 11
    other = limiter(clock)
    other.add_slowdowns(slow.take_slowdowns(), 2)
    assert [found.seconds for found in other.slowdowns()] == [table.seconds / 2, 1.0]
    assert slow.slowdowns() == []


def test_a_rate_grows_by_the_same_amount(clock):
    """After refusals the rate climbs in equal steps, so that others who use the table keep their part."""
    slow = limiter(clock)
    send(slow, clock, "T", 6, refuse=lambda n: True)
    rates = []
    for _ in range(8):
        send(slow, clock, "T", 1.2)
        rates.append(slow._rates["T"].bucket.rate)
    steps = [later - earlier for earlier, later in itertools.pairwise(rates)]
    assert max(steps) < 3 * min(steps)
    assert min(steps) > 0


def test_one_large_take_delays_the_taker(clock):
    """A page larger than the budget of a second waits until its units are earned."""
    limited = limiter(clock, overall(read=10))
    limited.wait_read(256)
    assert clock.now == pytest.approx(100 + 24.6)


def test_rate_halves_while_everything_is_refused(clock):
    """Each window in which all was refused halves the rate, down to the floor, and says why."""
    slow = limiter(clock)
    send(slow, clock, "target T", WINDOW + 0.01, refuse=lambda n: True)
    ((_, rate),) = [line.split("slowed to ") for line in slow.slowed()]
    assert float(rate.split()[0]) == pytest.approx(100, abs=2)
    send(slow, clock, "target T", 30, refuse=lambda n: True)
    assert slow.slowed() == [f"target T: slowed to {FLOOR:.0f} requests a second because of ThrottlingException"]


class Capacity:
    """Refuses what is beyond so many requests a second."""

    def __init__(self, clock, rate):
        self.clock, self.rate, self.left, self.at = clock, rate, 0.0, clock.now

    def __call__(self, _):
        self.left = min(self.rate, self.left + self.rate * (self.clock.now - self.at))
        self.at = self.clock.now
        if self.left < 1:
            return True
        self.left -= 1
        return False


@pytest.mark.parametrize("capacity", [5, 50, 150])
def test_rate_settles_near_capacity(clock, capacity):
    """A table that accepts some requests a second is sent little more, and not much less."""
    slow = limiter(clock)
    refuse = Capacity(clock, capacity)
    send(slow, clock, "T", 20, refuse=refuse)
    assert 0.8 * capacity <= send(slow, clock, "T", 60, refuse=refuse) <= 1.5 * capacity


def test_refusals_that_slowing_does_not_help_do_not_stop_the_run(clock):
    """Three of ten are refused at any rate: slowing further gains nothing, so the rate stays near what it was."""
    slow = limiter(clock)
    dice = random.Random(1)
    send(slow, clock, "T", 20, refuse=lambda n: dice.random() < 0.3)
    assert send(slow, clock, "T", 60, refuse=lambda n: dice.random() < 0.3) > 120


def test_rate_recovers(clock):
    """When refusals end the rate climbs back, and the table is free again."""
    slow = limiter(clock)
    send(slow, clock, "T", 10, refuse=lambda n: True)
    send(slow, clock, "T", 40)
    assert slow.slowed() == []
    assert send(slow, clock, "T", 1) == pytest.approx(200, rel=0.05)


@pytest.mark.parametrize(("silent", "within"), [(1, 3), (3, 7), (10, 25)])
def test_a_table_that_was_silent_is_back_at_speed_soon(silent, within, clock):
    """It accepted nothing, then takes everything: about twice as long."""
    slow = limiter(clock)
    send(slow, clock, "T", 5)
    send(slow, clock, "T", silent, refuse=lambda n: True)
    send(slow, clock, "T", within)
    assert send(slow, clock, "T", 1) == pytest.approx(200, rel=0.05)


def test_a_few_refusals_after_a_pause_say_little(clock):
    """Not how much the table takes, whenever its last request was."""
    slow = limiter(clock)
    slow.accepted("T")
    clock.now += 3.9
    for _ in range(6):
        slow.refused("T", "ThrottlingException")
        clock.now += 0.2
    slow.accepted("T")
    assert send(slow, clock, "T", 2, rate=20.0) == pytest.approx(20, rel=0.05)
    assert slow.slowed() == []


def test_a_wait_for_a_turn_ends_with_the_silence(clock):
    """Other threads may wait for the turns of a rate that is no longer true."""
    slow = limiter(clock)
    send(slow, clock, "T", 20, refuse=lambda n: True)
    for _ in range(30):
        slow._rates["T"].bucket.take(1, clock.now)
    began, slow._sleep = clock.now, lambda seconds: (clock.sleep(seconds), slow.accepted("T"))
    slow.wait_turn("T")
    assert clock.now - began < 1


@pytest.mark.parametrize("capacity", [1, 2])
def test_a_table_that_takes_next_to_nothing_is_not_hurried(capacity, clock):
    """Between what it takes it accepts nothing, which is no reason to send as much as at first."""
    slow = limiter(clock)
    refuse = Capacity(clock, capacity)
    send(slow, clock, "T", 20, refuse=refuse)
    assert send(slow, clock, "T", 60, refuse=refuse) <= 2.5 * capacity


def test_only_the_throttling_table_is_slowed(clock):
    """Another table goes on at full speed."""
    slow = limiter(clock)
    send(slow, clock, "T", 5, refuse=lambda n: True)
    assert send(slow, clock, "other", 1) == pytest.approx(200, rel=0.05)


def test_stopping_ends_all_waits():
    """Once the run is stopping, nobody sleeps, so that what is in flight ends soon."""
    limited = RateLimiter(overall(read=1))
    limited.stopping.set()
    limited.wait_read(10_000)  # would be hours
    limited.pause(10_000)


def test_a_share_of_each_request_refused_slows_by_that_share(clock):
    """Requests of which a tenth is refused are no reason to halve the rate; of which most is, they are."""
    partly, mostly = limiter(clock), limiter(clock)
    for slow, share in ((partly, 0.1), (mostly, 0.9)):
        for _ in range(200):
            slow.wait_turn("T")
            clock.now += 1 / 200
            slow.refused("T", "ThrottlingError", share)
    assert partly.accepts("T") == 200
    assert mostly.accepts("T") == 0
    assert not any("slowed to 100" in line for line in partly.slowed())
    assert any("slowed" in line for line in mostly.slowed())
