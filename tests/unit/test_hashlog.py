"""Bags of hashes: spilled to files they answer as in memory, and as a Counter does."""

import threading
from collections import Counter
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runbook_lib.run.spill import HashLog, HashSet, SpillLimit
from runbook_lib.walk.workers.engines import _saved

WIDTH = 3
hashes = st.lists(
    st.binary(min_size=WIDTH, max_size=WIDTH) | st.sampled_from([b"\x00aa", b"@aa", b"\xffaa"]), max_size=30
)
batches = st.lists(hashes, max_size=4)


def bag(batches_, spill_bytes):
    """A bag filled batch by batch."""
    log = HashLog(WIDTH, SpillLimit(spill_bytes))
    for batch in batches_:
        log.extend(batch)
    return log


@settings(max_examples=30)
@given(batches, batches, st.sampled_from([0, 10, 50, 10**9]), st.sampled_from([0, 10, 10**9]))
def test_spilled_or_not_it_answers_like_a_counter(mine, theirs, spill_mine, spill_theirs):
    """Length, duplicates, what the other lacks, membership."""
    left, right = bag(mine, spill_mine), bag(theirs, spill_theirs)
    counted, others = Counter(chain(*mine)), Counter(chain(*theirs))
    assert len(left) == counted.total()
    assert left.duplicates() == {hashed for hashed, number in counted.items() if number > 1}
    lacking = left.without(right)
    assert Counter(chain(*lacking._each())) == Counter({h: n for h, n in counted.items() if h not in others})
    assert len(left.without(left)) == 0
    frozen = left.frozen()
    assert len(frozen) == len(counted)
    assert all(hashed in frozen for hashed in counted)
    assert not any(hashed in frozen for hashed in others if hashed not in counted)
    left.extend([b"new"])  # reading does not change it
    assert len(left) == counted.total() + 1


@pytest.mark.parametrize("width", [8, 16])
def test_the_widths_that_are_used(width):
    """Every first byte, in order and out of it."""
    members = [bytes([first]) + bytes(width - 1) for first in range(256)]
    log = HashLog(width, SpillLimit(100))
    log.extend(reversed(members))
    frozen = log.frozen()
    assert all(member in frozen for member in members)
    assert bytes([7]) + b"x" * (width - 1) not in frozen
    assert (len(frozen), len(log), log.duplicates()) == (256, 256, set())


def test_an_empty_bag():
    """Holds nothing, misses nothing."""
    log = HashLog(WIDTH)
    assert (len(log), log.duplicates(), len(log.without(HashLog(WIDTH))), len(log.frozen())) == (0, set(), 0, 0)
    assert b"abc" not in log.frozen()


def test_the_files_go_with_the_object():
    """Nothing is left in the temporary folder."""
    log = HashLog(WIDTH, SpillLimit(0))
    log.extend([b"abc"])
    folder = Path(log._folder.name)
    assert folder.exists()
    del log
    assert not folder.exists()


def test_many_bags_hold_no_more_than_one():
    """The limit is for their sum; the largest go to files first, and what is gone no longer counts."""
    limit = SpillLimit(3_200)
    gone = HashLog(WIDTH, limit)
    gone.extend([b"abc"] * 1_000)
    del gone
    bags = [HashLog(WIDTH, limit) for _ in range(50)]
    for n in range(40):
        for number, log in enumerate(bags):
            log.extend([bytes([n, number, 7])] * (20 if number == 9 else 1))
            assert sum(other.held for other in bags) <= 3_200 + 3_200 // 16 + 20 * WIDTH
    spilled = [log._folder is not None for log in bags]
    assert spilled[9]
    assert not all(spilled)
    assert [len(log) for log in bags] == [800 if number == 9 else 40 for number in range(50)]
    assert len(bags[9].frozen()) == 40


def test_workers_may_add_at_the_same_time():
    """Nothing is lost, spilled or not."""
    log = HashLog(WIDTH, SpillLimit(1000))

    def add(first):
        for n in range(200):
            log.extend([bytes([first, n, 0]), bytes([n, first, 1])])

    threads = [threading.Thread(target=add, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(log) == 8 * 200 * 2
    assert len(log.frozen()) == 8 * 200 * 2


@pytest.mark.parametrize("spill", [0, 10**6])
def test_a_frozen_set_survives_its_bag_and_can_be_saved(spill, tmp_path):
    """In memory or in a file without a name; saved, another process opens it."""
    hashes = [bytes([n % 256, n // 256, 7]) for n in range(1000)]
    log = HashLog(WIDTH, SpillLimit(spill))
    log.extend(hashes)
    frozen = log.frozen()
    del log
    with (tmp_path / "known").open("wb") as file:
        frozen.save(file)
    for found in (frozen, HashSet.open(tmp_path / "known", WIDTH)):
        assert len(found) == 1000
        assert all(hashed in found for hashed in hashes)
        assert b"\0\0\0" not in found
    empty = HashLog(WIDTH).frozen()
    with (tmp_path / "none").open("wb") as file:
        empty.save(file)
    assert b"\0\0\0" not in HashSet.open(tmp_path / "none", WIDTH)


def test_a_set_that_a_worker_reads_stays_as_it_is_when_another_execution_saves_its_own(tmp_path):
    """A worker of an execution that was killed may read on for some seconds. Each file goes with its execution."""
    stage, ids = SimpleNamespace(folder=tmp_path), [bytes([n]) * 16 for n in range(2)]
    with ExitStack() as first, ExitStack() as second:
        places = [
            _saved(SimpleNamespace(known=HashSet(hashed, 16)), stage, block)
            for hashed, block in zip(ids, (first, second), strict=True)
        ]
        earlier, later = map(HashSet.open, places)
        first.close()
        assert [str(path) for path in tmp_path.iterdir()] == places[1:]
        assert [[hashed in known for hashed in ids] for known in (earlier, later)] == [[True, False], [False, True]]
    assert [*tmp_path.iterdir()] == []
