"""Row 74: what a run needs does not grow with its tables, and a run that gets no more memory goes on later."""

import itertools
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import orjson
import pytest
from faults import harness
from faults.harness import INSERTED, armed
from faults.test_batches import sea  # noqa: F401

from runbook_lib.dynamo import requests as retries
from runbook_lib.errors import Interrupted
from runbook_lib.run.folder import Run

ROOT = Path(__file__).resolve().parents[2]
MB = 1_000_000
STEP = 53


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
            return "not enough memory" in str(problem)
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
@pytest.mark.parametrize(
    "step", [STEP, pytest.param(5, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.long)]
)
def test_memory_that_runs_out_interrupts_and_the_run_goes_on(step, bench):
    """Row 74: at every third call, or some: the journal is sound, and the same run ends as if nothing had happened."""
    for number in itertools.count(step % 7, step):
        if not starve_and_go_on(bench, number):
            break
    assert number > 60


@pytest.mark.parametrize(
    ("problem", "raised", "says"),
    [
        (MemoryError(), Interrupted, "not enough memory; .* lower limits.workers"),
        (
            RuntimeError("can't start new thread"),
            Interrupted,
            "not enough room for more threads; .* lower limits.workers",
        ),
        (RecursionError("maximum recursion depth exceeded"), RecursionError, "maximum recursion depth"),
        (RuntimeError("a fault"), RuntimeError, "a fault"),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, Exception) else None,
)
def test_only_what_more_memory_mends_is_an_interruption(problem, raised, says, tmp_path):
    """Faults of the program stay what they are."""
    with pytest.raises(raised, match=says), Run("the-first-run", tmp_path).saving():
        raise problem


def test_a_reply_that_there_is_no_memory_for_is_not_called_garbled(sea, monkeypatch):  # noqa: F811
    """The parser has one kind of error for both; a retry would not help."""
    loads = orjson.loads

    def out_of_memory(raw):
        if b'"Items"' in raw:
            raise orjson.JSONDecodeError("Not enough memory to allocate buffer for parsing", "", 0)
        return loads(raw)

    sea.fill(30)
    monkeypatch.setattr(retries, "orjson", SimpleNamespace(**{**vars(orjson), "loads": out_of_memory}))
    with pytest.raises(Interrupted, match="not enough memory"):
        sea.flow().migrate()


# for real


@pytest.fixture
def canned(monkeypatch):
    """The endpoint of the benchmarks, which takes batches and remembers items, in a process of its own."""
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks.server import serving

    with serving() as endpoint:
        yield endpoint


# What a process held at most is asked of itself: what the system tells its parent counts the parent's own before the start.
MEASURED = """
import json, sys
from benchmarks.contenders import CONTENDERS, Meter
from benchmarks.shapes import Case

stage, name, items, about = json.loads(sys.argv[1])
CONTENDERS[stage](Case.named(name, items), Meter(), **about)
with open("/proc/self/status") as file:
    print(next(line.split()[1] for line in file if line.startswith("VmHWM:")))
"""


def peak_of(stage, name, items, **about):
    """The most bytes that a stage held, in a process of its own."""
    words = [sys.executable, "-c", MEASURED, json.dumps([stage, name, items, about])]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=600, check=True)
    return int(done.stdout) * 1024


@pytest.mark.long
def test_twice_the_items_need_no_more_memory(canned, tmp_path):
    """Row 74: pages are streamed; no stage holds what it has done. 6,000 and 12,000 items of 1 kB, each stage in its process."""
    from benchmarks.shapes import Case

    peaks = {}
    for items in (6_000, 12_000):
        case = Case.named("copy-1kB-3", items)
        canned.reset(case, keep=True)
        folder = tmp_path / str(items)
        folder.mkdir()
        for stage in ("analyze", "migrate", "validate", "undo"):
            peaks[stage, items] = peak_of(stage, case.name, items, url=canned.url, folder=str(folder))
        assert canned.counters()["requests"]["BatchExecuteStatement"] >= items // 25
    for (stage, items), peak in peaks.items():
        assert 30 * MB < peak < peaks[stage, 6_000] + 10 * MB < 200 * MB, (stage, items, peak)


LIMITED = """
import json, resource, sys
import boto3
from runbook_lib.stages.migrate import migrate
from runbook_lib.walk import plan
from runbook_lib.walk.workers import engines
from runbook_lib.dynamo import transport
from benchmarks.contenders import Meter, migrate_items
from benchmarks.shapes import Case

name, items, url, folder, room = json.loads(sys.argv[1])
with open("/proc/self/statm") as file:
    mapped = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (mapped + room, resource.RLIM_INFINITY))
try:
    migrate_items(Case.named(name, items), Meter(), url=url, folder=folder, workers=4)
    word = "done"
except BaseException as problem:
    word = type(problem).__name__
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(word, flush=True)
"""


def with_room(room, *about):
    """What became of a migration in a process that may map so many bytes more than it needs to begin: a word."""
    words, used = [sys.executable, "-c", LIMITED, json.dumps([*about, room])], 0
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        for _ in range(60):
            try:  # not Python alone asks for memory: some code that gets none ends the process
                return process.communicate(timeout=10)[0].strip() or "died"
            except subprocess.TimeoutExpired:
                before, used = used, ticks_of(process.pid)
                if used - before < 10:  # Python waits for ever for a thread that dies of it at once
                    break
        process.kill()  # as somebody would
    return "hung"


def ticks_of(process):
    """Hundredths of a second that a process has computed; a slow machine's does so, too."""
    return sum(map(int, Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]))


@pytest.mark.parametrize(
    "step", [pytest.param(176, marks=pytest.mark.slow), pytest.param(11, marks=pytest.mark.long)], ids="{} MB".format
)
def test_a_process_that_gets_no_more_memory_leaves_a_run_that_goes_on(step, canned, tmp_path):
    """Row 74: with a limit on what the process may map, from nothing at all to enough: it stops somewhere, in one sentence or not
    even that, and the same run, given more, inserts what is missing, each item once."""
    from benchmarks.contenders import Meter, migrate_items
    from benchmarks.shapes import Case

    case, words = Case.named("copy-1kB-3", 3_000), []
    for number in range(1, 1_500 // step):  # 1.5 GB is plenty: a process that never gets enough is a fault
        canned.reset(case, keep=True)
        folder = tmp_path / f"{number}"
        folder.mkdir()
        words.append(with_room(number * step * MB, case.name, case.items, canned.url, str(folder)))
        migrate_items(case, Meter(), url=canned.url, folder=str(folder), workers=4)
        counters = canned.counters()
        assert (counters["inserted"], counters["refused"]) == (case.items, 0), (number, words[-1])
        if words[-1] == "done":
            break
    assert len(words) > 1
    assert words[-1] == "done"
    assert set(words) <= {"done", "Interrupted", "MemoryError", "died", "hung"}
