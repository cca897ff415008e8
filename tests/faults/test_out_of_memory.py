"""Row 74: what a run needs does not grow with its tables, and a run that gets no more memory goes on later."""

import itertools
import multiprocessing
import resource
from functools import partial
from pathlib import Path

import pytest
from faults import harness
from faults.harness import INSERTED, armed

from runbook_lib.errors import Interrupted

ROOT = Path(__file__).resolve().parents[2]
FORK = multiprocessing.get_context("fork")
MB = 1_000_000
STEP = 11


# at any point


def starved(work, number):
    """Whether the work was interrupted at the Nth point, where there was no memory left."""
    reached = itertools.count(1)

    def at(point):
        if next(reached) == number:
            raise MemoryError

    with armed(at):
        try:
            work()
        except Interrupted as problem:
            assert "not enough memory" in str(problem), number
            return True
        except MemoryError:  # outside of what reads and writes the run's folder
            return True
    return False


def starve_and_go_on(bench, number):
    """Whether the migration was starved; then it is resumed, and rolled back, which is starved as well."""
    flow = bench.flow()
    ended = starved(flow.migrate, number)
    bench.check_unharmed()
    if ended:
        bench.check_whole(flow.migrate())
    starved(flow.rollback, number)
    bench.check_unharmed()
    counts = flow.rollback()["rollback"]
    bench.check_back()
    assert (counts["deleted"], counts["kept_edited"], counts["not_found"]) == (INSERTED, 0, 0)
    return ended


@harness.by("batches", "ministack")
@pytest.mark.parametrize("step", [STEP, pytest.param(1, marks=pytest.mark.slow)])
def test_memory_that_runs_out_interrupts_and_the_run_goes_on(step, bench):
    """Row 74: at every call, or some: the journal is sound, and the same run ends as if nothing had happened."""
    for number in itertools.count(step % 7, step):
        if not starve_and_go_on(bench, number):
            break
    assert number > 60


# for real


@pytest.fixture
def canned(monkeypatch, tmp_path):
    """The endpoint of the benchmarks, which takes batches and remembers items, in a process of its own."""
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks import measure
    from benchmarks.server import serving

    monkeypatch.setattr(measure, "work_folder", lambda: tmp_path)
    with serving() as endpoint:
        yield endpoint


@pytest.mark.slow
def test_twice_the_items_need_no_more_memory(canned, tmp_path):
    """Row 74: pages are streamed; neither stage holds what it has done. 6,000 and 12,000 items of 1 kB, each stage in a process of
    its own."""
    from benchmarks import measure
    from benchmarks.shapes import Case

    peaks = {}
    for items in (6_000, 12_000):
        case = Case.named("copy-1kB-3", items)
        canned.reset(case, keep=True)
        folder = tmp_path / str(items)
        folder.mkdir()
        for stage in ("analyze", "migrate", "validate", "undo"):
            peaks[stage, items] = measure.run(stage, case, url=canned.url, folder=str(folder)).memory
        assert canned.counters()["requests"]["BatchExecuteStatement"] >= items // 25
    for (stage, items), peak in peaks.items():
        assert peak < peaks[stage, 6_000] + 5 * MB < 200 * MB, (stage, items, peak)


def within(limit, work):
    """What became of the work in a child that may map so many bytes more than it has now: a word."""
    heard, says = FORK.Pipe(duplex=False)

    def child():
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + limit, resource.RLIM_INFINITY))
        try:
            work()
            word = "done"
        except BaseException as problem:
            word = type(problem).__name__
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        says.send(word)

    process = FORK.Process(target=child)
    process.start()
    says.close()
    try:
        assert heard.poll(120), f"{limit}: it hangs"
        return heard.recv()
    except EOFError:  # not Python alone asks for memory: some code that gets none ends the process
        return "died"
    finally:
        process.kill()
        process.join()


@pytest.mark.slow
def test_a_process_that_gets_no_more_memory_leaves_a_run_that_goes_on(canned, tmp_path):
    """Row 74: with a limit on what the process may map, from nothing at all to enough: it stops somewhere, in one sentence or not
    even that, and the same run, given more, inserts what is missing, each item once."""
    from benchmarks.contenders import Meter, migrate_items
    from benchmarks.shapes import Case

    case, words = Case.named("copy-1kB-3", 3_000), []
    for number in itertools.count():
        canned.reset(case, keep=True)
        folder = tmp_path / f"{number}"
        folder.mkdir()
        work = partial(migrate_items, case, Meter(), url=canned.url, folder=str(folder), workers=4)
        words.append(within(number * 8 * MB, work))
        assert words[-1] in ("done", "Interrupted", "MemoryError", "died")
        work()
        counters = canned.counters()
        assert (counters["inserted"], counters["refused"]) == (case.items, 0), number
        if words[-1] == "done":
            break
    assert len(words) > 5
    assert "Interrupted" in words
