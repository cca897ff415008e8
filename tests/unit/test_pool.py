"""As many threads as keep a processor busy. On a clock of the tests' own; the threads are real."""

import threading
import time
from collections import deque

import pytest

from runbook_lib.walk.pool import WINDOW, ProcessorTime, SegmentPool

SEGMENTS, PAGES = 8, 5


class World:
    """Segments of some pages; each page takes a window of time, of which a share is computed.

    The threads take turns, page by page, and none begins one before all that the crew has are at a segment: however the
    machine is loaded, the same happens.
    """

    def __init__(self, busy, most=3, held_back=False):
        self.now = self.used = 0.0
        self.busy, self.held_back = busy, held_back
        self.at_work, self.seen = deque(), []
        self.lock, self.begun = threading.Lock(), threading.Event()
        self.crew = SegmentPool(most, lambda: self.held_back, clock=lambda: self.now, processor=lambda: self.used)

    def segment(self, number):
        me = threading.current_thread()
        assert self.begun.wait(60)
        with self.lock:
            self.at_work.append(me)
        for _ in range(PAGES):
            self.page(me)
        with self.lock:
            self.at_work.remove(me)
        return number

    def page(self, me):
        for _ in range(100_000):
            with self.lock:
                if self.at_work[0] is me and len(self.at_work) == len(self.crew._threads):
                    self.seen.append(len(self.at_work))
                    self.now += WINDOW
                    self.used += self.busy * WINDOW
                    self.crew.between_pages()
                    self.at_work.rotate(-1)
                    return
            time.sleep(0.0005)
        raise AssertionError("it is never its turn")

    def walk(self):
        with self.crew as crew:
            futures = [crew.submit(self.segment, number) for number in range(SEGMENTS)]
            self.begun.set()
        assert [future.result(0) for future in futures] == list(range(SEGMENTS))
        assert len(self.seen) == SEGMENTS * PAGES
        return max(self.seen)


def test_a_busy_processor_gets_one_segment_after_the_other():
    """Another page at the same time would take memory and give nothing."""
    world = World(busy=1.0)
    assert world.walk() == 1
    assert world.crew.allowed == 1


def test_while_the_process_waits_more_segments_are_begun():
    """Up to the number that memory allows."""
    assert World(busy=0.2).walk() == 3


def test_a_budget_is_waited_for_by_one():
    """Where it is the budget that holds back, others would wait for it, too."""
    assert World(busy=0.2, held_back=True).walk() == 1


def test_threads_end_with_their_segment_when_the_processor_is_busy_again():
    """The number comes down as it went up."""
    world = World(busy=0.2)
    segment = world.segment

    def slower_first(number):
        if number == SEGMENTS - 3:
            world.busy = 1.5
        return segment(number)

    world.segment = slower_first
    assert world.walk() == 3
    assert world.crew.allowed == 1
    assert world.seen[-1] == 1


def test_what_a_segment_raises_reaches_who_waits_for_it():
    """The others are worked on all the same."""
    with SegmentPool(2) as crew:
        bad, good = crew.submit(lambda: 1 / 0), crew.submit(lambda: "done")
    assert isinstance(bad.exception(0), ZeroDivisionError)
    assert good.result(0) == "done"


def test_without_a_thread_to_be_had_nothing_is_left_waiting(monkeypatch):
    """It is said at once where there is none; where there is one, it does all."""
    start = threading.Thread.start
    wanted = []

    def refused(thread):
        wanted.append(thread)
        if len(wanted) != 2:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refused)
    with SegmentPool(3, clock=iter(range(100)).__next__, processor=lambda: 0.0) as crew:
        with pytest.raises(RuntimeError, match="can't start new thread"):
            crew.submit(lambda: "never")
        go = threading.Event()
        futures = [crew.submit(lambda: go.wait(10) and crew.between_pages()), crew.submit(lambda: "too")]
        go.set()
    assert [future.result(0) for future in futures] == [None, "too"]
    assert len(wanted) == 3


def test_waiting_for_a_processor_counts_as_computing(tmp_path, monkeypatch):
    """What a thread had waited counts when it has ended, too; without such a file only what was computed does."""
    monkeypatch.setattr(time, "process_time", lambda: 10.0)
    for name, waited in (("11", 2_000_000_000), ("12", 500_000_000)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "schedstat").write_text(f"7 {waited} 3\n")
    (tmp_path / "13").mkdir()
    seconds = ProcessorTime(tmp_path)
    assert seconds() == 12.5
    (tmp_path / "11" / "schedstat").unlink()
    (tmp_path / "12" / "schedstat").write_text("7 1500000000 3\n")
    assert seconds() == 13.5
    assert ProcessorTime(tmp_path / "nowhere")() == 10.0
