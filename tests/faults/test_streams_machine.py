"""Anything may happen to a stream while it is read: every change comes at least once and in order, or the position is lost."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support_streams import KEYS, Clock, Service, reader_of, stream_of

from runbook_lib.dynamo.streams.positions import Positions
from runbook_lib.errors import PositionLost

LATE = st.sampled_from([0.0, 0.0, 3.0, 40.0])  # seconds; what is listed later than a minute may be a lost position


class Following(RuleBasedStateMachine):
    """Writes, splits, trims, and a reader that is stopped and resumed.

    `applied[key]` is the last version that came, None before the first: the next one must be the one after it. The first
    that comes may be older than the positions, but none may be missing.
    """

    @initialize(
        shards=st.integers(1, 3),
        page=st.sampled_from([1, 2, 100]),
        before=st.lists(st.integers(0, KEYS - 1), max_size=5),
    )
    def begin(self, shards, page, before):
        self.clock = Clock()
        self.service = Service(self.clock, shards, page)
        for key in before:
            self.service.write(key)
        self.reader, self.lossy, self.over = None, False, False
        self.marked = 0  # of what was asked, how much was checked

    @precondition(lambda self: self.reader is None)
    @rule()
    def note(self):
        self.at_first = dict(self.service.versions)
        self.noted = stream_of(self.service).positions_now().as_json()
        for (
            key,
            version,
        ) in self.service.versions.items():  # nothing is written while the positions are noted, in this test
            assert version == self.at_first[key]
        self.applied = dict.fromkeys(range(KEYS))
        self.noted_applied = dict(self.applied)
        self.resume()

    def resume(self):
        self.marked = len(self.service.asked)  # another reader does not know when the last one asked
        self.reader = reader_of(self.service, Positions.from_json(self.noted))

    # what happens to the stream

    @rule(key=st.integers(0, KEYS - 1), times=st.integers(1, 3), removed=st.booleans())
    def write(self, key, times, removed):
        if self.service.status == "ENABLED":
            for n in range(times):
                self.service.write(key, removed and n == times - 1)

    @rule(which=st.integers(0, 9), parts=st.integers(1, 2), late=st.tuples(LATE, LATE), seen_open=LATE)
    def split(self, which, parts, late, seen_open):
        shards = self.service.open()
        if shards and len(shards) < 8:
            self.service.split(shards[which % len(shards)].name, parts, late, seen_open)

    @rule(which=st.integers(0, 99), seconds=LATE)
    def leave_out(self, which, seconds):
        names = list(self.service.shards)
        if names:
            self.service.hide(names[which % len(names)], seconds)

    @rule(seed=st.integers(0, 99), limit=st.sampled_from([1, 2, 1000]), gaps=st.integers(0, 2))
    def answer_otherwise(self, seed, limit, gaps):
        self.service.order, self.service.limit, self.service.empty_pages = seed, limit, gaps

    @rule(
        codes=st.lists(
            st.sampled_from([(400, "LimitExceededException"), (400, "ThrottlingException"), (503, "")]), max_size=3
        )
    )
    def refuse(self, codes):
        self.service.refusals = list(codes)

    @precondition(lambda self: self.reader)
    @rule(share=st.floats(0, 1))
    def trim_what_was_noted(self, share):
        """The oldest records, as far as all of their shard were noted as read, or are older than what is read."""
        kept = [int(one["sequence"]) for one in self.noted["shards"].values()]
        kept += [one.start for one in self.service.shards.values() if one.end is None]
        unread = [one[0] for shard in self.service.shards.values() for one in shard.records if not self.was_noted(one)]
        oldest = min([*kept, *unread, self.service.sequence])
        self.service.trim(int(oldest * share) if share < 1 else oldest)

    def was_noted(self, record):
        _, key, version, _ = record
        return self.noted_applied[key] is not None and version <= self.noted_applied[key]

    @precondition(lambda self: self.reader)
    @rule()
    def trim_anything(self):
        """All records so far, of shards that are closed: none is open for as long as records are kept."""
        self.lossy = True
        for shard in self.service.open():
            self.service.split(shard.name, parts=1)
        self.service.trim(self.service.sequence)

    @precondition(lambda self: self.reader)
    @rule(sure=st.integers(0, 5))
    def turn_off(self, sure):
        if not sure:
            self.lossy = True
            self.service.disable()

    @rule(seconds=st.sampled_from([0.1, 0.5, 1.0, 5.0, 70.0, 1000.0]))
    def wait(self, seconds):
        self.clock.sleep(seconds)

    # the reader

    @precondition(lambda self: self.reader)
    @rule(times=st.integers(1, 5), note=st.booleans())
    def read(self, times, note):
        for _ in range(times):
            batch = self.batch()
            if batch is None:
                return
            if note:
                self.noted, self.noted_applied = batch.positions.as_json(), dict(self.applied)
            self.clock.sleep(batch.wait)

    @precondition(lambda self: self.reader)
    @rule()
    def stop_and_resume(self):
        self.applied = dict(self.noted_applied)
        self.resume()

    def batch(self):
        """One round; None where the position is lost, which ends the reader, and another position is noted."""
        try:
            batch = self.reader.read()
        except PositionLost:
            assert self.lossy
            self.reader, self.lossy = None, False
            if self.service.status != "ENABLED":
                self.begin(1, 100, [])
            return None
        for record in batch.records:
            key = int(record.key["id"]["N"])
            version = self.version(record)
            before = self.applied[key]
            if before is None:
                assert version <= self.at_first[key] + 1, "records after the positions are missing"
            else:
                assert version == before + 1
            self.applied[key] = version
        return batch

    def version(self, record):
        return next(
            version
            for shard in self.service.shards.values()
            for number, _, version, _ in shard.records
            if str(number) == record.sequence
        )

    def is_complete(self):
        return all(
            version == (self.at_first[key] if self.applied[key] is None else self.applied[key])
            for key, version in self.service.versions.items()
        )

    @invariant()
    def nothing_is_asked_too_often(self):
        last = {}
        for name, at, gave in self.service.asked[self.marked :] if hasattr(self, "service") else ():
            if name in last:
                before, had = last[name]
                assert at - before >= (0.2 if had else 1.0) - 1e-6
            last[name] = at, gave

    def teardown(self):
        """Left alone, it reads everything, and says so only then. Of a shard that no listing shows, nobody knows."""
        if getattr(self, "reader", None) is None:
            return
        for shard in self.service.shards.values():
            shard.hidden = float("-inf")
        since = self.reader._quiet
        for _ in range(6000):
            batch = self.batch()
            if batch is None:
                return
            since = min(since, batch.quiet)
            # The first round may have begun before the last change, and two may be pages that are empty by chance.
            if batch.quiet >= since + 4:
                assert self.is_complete()
                assert batch.caught_up
                return
            self.clock.sleep(batch.wait)
        raise AssertionError("it never became quiet")


def test_every_change_comes_in_order_or_the_position_is_lost():
    """Thirty examples of up to forty steps."""
    run_state_machine_as_test(Following, settings=settings(stateful_step_count=40))


@pytest.mark.long
def test_every_change_comes_in_order_or_the_position_is_lost_at_length():
    """The same with many more."""
    run_state_machine_as_test(Following, settings=settings(stateful_step_count=60, max_examples=1500))
