"""Pace: unit budgets, and lanes that slow down when they are refused. All on a clock of the tests' own."""

import random

import pytest

from runbook_lib.dynamo.pace import FLOOR, WINDOW, Pace


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


def pace(clock, **limits):
    return Pace(**limits, clock=clock, sleep=clock.sleep)


def send(pace, clock, lane, seconds, *, rate=200.0, refuse=lambda n: False):
    """Send for some seconds, as fast as the lane lets and at most `rate` a second; return the rate that went out."""
    began, sent = clock.now, 0
    while clock.now < began + seconds:
        pace.wait_turn(lane)
        clock.now += 1 / rate
        if refuse(sent):
            pace.refused(lane, "ThrottlingException")
        else:
            pace.accepted(lane)
        sent += 1
    return sent / (clock.now - began)


def test_without_limits_nobody_waits(clock):
    """No limit, no refusal: no wait at all."""
    free = pace(clock)
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
    limited = pace(clock, **{f"{kind}_units": 50})
    take = getattr(limited, f"wait_{kind}")
    began, taken = clock.now, 0
    while clock.now < began + 60:
        take(7)
        taken += 7
    assert 50 * 60 <= taken <= 50 * 61 + 7
    assert limited.limited


def test_limits_are_separate(clock):
    """Writes do not use up the read units."""
    limited = pace(clock, write_units=1)
    limited.wait_read(10_000)
    assert clock.now == 100.0


def test_one_large_take_delays_the_taker(clock):
    """A page larger than the budget of a second waits until its units are earned."""
    limited = pace(clock, read_units=10)
    limited.wait_read(256)
    assert clock.now == pytest.approx(100 + 24.6)


def test_rate_halves_while_everything_is_refused(clock):
    """Each window in which all was refused halves the rate, down to the floor, and says why."""
    slow = pace(clock)
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
    slow = pace(clock)
    refuse = Capacity(clock, capacity)
    send(slow, clock, "T", 20, refuse=refuse)
    assert 0.8 * capacity <= send(slow, clock, "T", 60, refuse=refuse) <= 1.5 * capacity


def test_refusals_that_slowing_does_not_help_do_not_stop_the_run(clock):
    """Three of ten are refused at any rate: slowing further gains nothing, so the rate stays near what it was."""
    slow = pace(clock)
    dice = random.Random(1)
    send(slow, clock, "T", 20, refuse=lambda n: dice.random() < 0.3)
    assert send(slow, clock, "T", 60, refuse=lambda n: dice.random() < 0.3) > 120


def test_rate_recovers(clock):
    """When refusals end the rate climbs back, and the lane is free again."""
    slow = pace(clock)
    send(slow, clock, "T", 10, refuse=lambda n: True)
    send(slow, clock, "T", 30)
    assert slow.slowed() == []
    assert send(slow, clock, "T", 1) == pytest.approx(200, rel=0.05)


def test_only_the_refusing_lane_is_slowed(clock):
    """Another table goes on at full speed."""
    slow = pace(clock)
    send(slow, clock, "T", 5, refuse=lambda n: True)
    assert send(slow, clock, "other", 1) == pytest.approx(200, rel=0.05)


def test_stopping_ends_all_waits():
    """Once the run is stopping, nobody sleeps, so that what is in flight ends soon."""
    limited = Pace(read_units=1)
    limited.stopping.set()
    limited.wait_read(10_000)  # would be hours
    limited.pause(10_000)


def test_a_share_of_each_request_refused_slows_by_that_share(clock):
    """Requests of which a tenth is refused are no reason to halve the rate; of which most is, they are."""
    partly, mostly = pace(clock), pace(clock)
    for slow, share in ((partly, 0.1), (mostly, 0.9)):
        for _ in range(200):
            slow.wait_turn("T")
            clock.now += 1 / 200
            slow.refused("T", "ThrottlingError", share)
    assert partly.accepts("T") == 200
    assert mostly.accepts("T") == 0
    assert not any("slowed to 100" in line for line in partly.slowed())
    assert any("slowed" in line for line in mostly.slowed())
