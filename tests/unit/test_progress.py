"""Progress: the meter on a clock of the test's own, the line, the file that is believed only while it is held, what shows it."""

import fcntl
import io
import json
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from runbook_lib.dynamo.rate_limiter import Budgets, RateLimiter
from runbook_lib.errors import Refused
from runbook_lib.journal import audit
from runbook_lib.notebook import progress as of_notebook
from runbook_lib.process import executor, outlive_readers
from runbook_lib.report.runs import terminal
from runbook_lib.report.runs.progress import clock, following_lines, line, progress
from runbook_lib.report.runs.status import watch
from runbook_lib.run import progress_file
from runbook_lib.run.folder import Run
from runbook_lib.run.progress_file import (
    Published,
    StageProgress,
    TableFollowing,
    TableProgress,
    at_work,
    path_of,
    progress_of,
)
from runbook_lib.walk.progress import POINTS, Meter, SegmentCount

BEGAN = datetime(2026, 11, 28, 19, 36, 2, tzinfo=UTC)
FORM = re.compile(
    r"03_migrate: [\d,]+( of [\d,]+)? items, [\d,]+ of [\d,]+ tables, [\d,]+ items/s(, [\d:]+ left)?(, slowed: .+)?"
)


class Clock:
    """Seconds that pass when the test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time():
    return Clock()


@pytest.fixture
def meter(time):
    found = Meter(RateLimiter(clock=time), clock=time, wall=lambda: BEGAN)
    found.start()
    return found


@pytest.fixture
def run(tmp_path):
    return Run("run-of-a-test", tmp_path)


def some(**more) -> StageProgress:
    table = TableProgress("Orders", 12, 50, 4.0, "writing")
    return StageProgress("03_migrate", (table,), 4.0, **more)


# the meter


def test_the_rate_is_of_the_last_seconds_and_the_time_left_follows(meter, time):
    """Not of the time since the beginning: after a fast start it says how fast it is now."""
    meter.begin({"A": 1_000, "B": 500})
    meter.move("A")
    for _ in range(20):
        time.now += 1
        meter.add("A", 40)
        meter.sample()
    for _ in range(10):
        time.now += 1
        meter.add("A", 10)
        meter.sample()
    now = meter.look("03_migrate")
    assert (now.done, now.total) == (900, 1_500)
    assert now.rate == pytest.approx(10)
    assert now.left == pytest.approx(60)
    assert now.seconds == 30
    assert now.since == "2026-11-28T19:36:02Z"
    assert [(table.state, round(table.rate)) for table in now.tables] == [("reading", 10), ("waiting", 0)]


def test_more_than_was_estimated_shows_no_total(meter, time):
    """DynamoDB counts a table's items every six hours: a fresh one has none."""
    meter.begin({"Fresh": 0, "Old": 10})
    meter.add("Fresh", 5)
    time.now = 1
    now = meter.look("03_migrate")
    assert (now.total, now.left, now.tables[0].total) == (None, None, None)
    assert "5 items, 0 of 2 tables" in line(now)
    meter.finish("Fresh")
    assert meter.look("03_migrate").total == 15  # what is finished is known
    meter.begin({"Fresh": 0})
    assert meter.look("03_migrate").total is None


def test_earlier_executions_count(meter, time):
    meter.begin({"A": 10, "B": 20, "C": 5}, earlier={"A": 10, "B": 4}, finished=["A"], execution=3)
    meter.wait({"C": {"B"}})
    meter.move("B")
    meter.add("B", 6)
    time.now = 2
    now = meter.look("03_migrate")
    assert (now.done, now.total, now.earlier, now.execution) == (20, 35, 14, 3)
    assert [(table.name, table.state, table.after, table.before) for table in now.tables] == [
        ("A", "finished", (), True),
        ("B", "reading", (), False),
        ("C", "waiting", ("B",), False),
    ]
    assert now.rate == 3  # of this execution's


def test_a_page_counts_request_by_request_and_never_more_than_it_has(meter):
    """An item may become several rows; what no request settles counts when the page is done."""
    meter.begin({"A": 100})
    page = meter.page("A", 60, "writing")
    page.answered(25)
    assert meter.look("03_migrate").done == 25
    assert meter.look("03_migrate").tables[0].state == "writing"
    page.answered(25)
    page.answered(25)
    assert meter.look("03_migrate").done == 60
    page.end("reading")
    assert meter.look("03_migrate").done == 60
    other = meter.page("A", 40)
    other.answered(10)
    other.end()
    assert meter.look("03_migrate").done == 100


def test_each_look_asks_who_counts_elsewhere(meter, time):
    """While it counts; rates and series are of it, too."""
    meter.begin({"A": 100})
    with meter.asking(lambda: meter.add("A", 10)):
        assert [meter.look("03_migrate").done for _ in range(3)] == [10, 20, 30]
        time.now = 2
        assert meter.look("03_migrate").rate == 20
    assert meter.look("03_migrate").done == 40
    assert sum(point["items"] for point in meter.throughput()) == 40


def test_nobody_asks_a_source_after_its_block(meter):
    """Then the worker may be at another segment: who looks is waited for."""
    asked, over, early = threading.Event(), threading.Event(), []

    def source():
        asked.set()
        early.append(over.wait(0.2))

    meter.begin({"A": 100})
    with meter.asking(source):
        looking = threading.Thread(target=meter.look, args=("03_migrate",))
        looking.start()
        asked.wait(10)
    over.set()
    looking.join()
    meter.look("03_migrate")
    assert early == [False]


def test_a_segment_of_another_process_counts_once(meter, time):
    """One that died is followed by one that begins with the page that it was at; what is known already is nothing new."""
    meter.begin({"A": 100}, earlier={"A": 20})
    count = SegmentCount(meter, "A", 20)
    told = []
    for items in (0, 20, 45, 40, 45, 60, 0):
        count.reached(items)
        told.append(meter.look("03_migrate").done)
    assert told == [20, 20, 45, 45, 45, 60, 60]
    time.now = 1
    assert meter.look("03_migrate").rate == 40
    time.now = 30
    meter.sample()
    count.end(58)
    now = meter.look("03_migrate")
    assert (now.done, now.rate) == (58, 0)  # no rate is negative
    time.now = 31
    assert sum(point["items"] for point in meter.throughput()) == 38


def test_what_an_earlier_execution_left_open_is_shown_until_it_is_looked_up(meter):
    meter.begin({"A": 100, "B": 9}, earlier={"A": 20, "B": 9}, uncertain={"A": 5, "B": 1}, finished=["B"])
    now = meter.look("03_migrate")
    assert (now.done, now.uncertain) == (29, 5)
    assert line(now).endswith(", 1 of 2 tables, 0 items/s, 5 items of unfinished pages to look up")
    assert "29 items from before; 5 items of unfinished pages to look up" in progress(now)
    meter.add("A", 3)
    assert meter.look("03_migrate").uncertain == 2
    meter.add("A", 30)
    assert meter.look("03_migrate").uncertain == 0
    meter.begin({"A": 50}, "undoing")
    assert meter.look("03_migrate").uncertain == 0


def test_no_count_is_lost_among_threads(meter):
    meter.begin({"A": 0})
    threads = [threading.Thread(target=lambda: [meter.add("A", 1) for _ in range(2_000)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert meter.look("03_migrate").done == 16_000


def test_what_slows_a_table_down_stands_with_it(time):
    limiter = RateLimiter(Budgets({("target T", "write"): 10.0}), clock=time, sleep=lambda seconds: None)
    meter = Meter(limiter, clock=time)
    meter.begin(
        {"S": 10, "Other": 10}, places={"S": ["source S", "target T"], "Other": ["source Other", "target Over"]}
    )
    meter.move("S")
    meter.move("Other")
    limiter.wait_write(100, "target T")
    now = meter.look("03_migrate")
    assert now.slowed == ("target T: held to 10 write units a second by limits.tables (its write_units)",)
    assert [table.slowed for table in now.tables] == [now.slowed, ()]


def test_the_series_is_bounded_and_loses_nothing(time):
    """Points become longer, not more; items, refusals and waits add up, and no point waits longer than it lasts."""
    limiter = RateLimiter(Budgets({("", "write"): 10.0}), clock=time, sleep=lambda seconds: None)
    meter = Meter(limiter, clock=time, wall=lambda: BEGAN)
    meter.start()
    meter.begin({"A": 0})
    limiter.wait_write(40, "target T")  # 3 seconds, noted when they begin
    for number in range(5_000):
        time.now += 1
        meter.add("A", number % 7)
        if number == 100:
            limiter.refused("target T", "ThrottlingException")
        meter.sample()
    points = meter.throughput()
    assert POINTS / 3 < len(points) <= POINTS
    assert sum(point["items"] for point in points) == sum(number % 7 for number in range(5_000))
    assert sum(point["throttled"] for point in points) == 1
    assert sum(point["held_back"] for point in points) == pytest.approx(3, abs=0.3)
    assert sum(point["seconds"] for point in points) == pytest.approx(5_000)
    assert all(point["held_back"] <= point["seconds"] for point in points)
    moments = [datetime.fromisoformat(point["at"]) for point in points]
    assert moments == sorted(moments)
    assert moments[0] == BEGAN
    assert moments[-1] <= BEGAN + timedelta(seconds=5_000)


def test_the_series_goes_on_when_the_stage_does_something_else(meter, time):
    """A failed migration takes back what it inserted; the steps of a rollback are one series."""
    meter.begin({"A": 10})
    meter.add("A", 4)
    time.now = 0.2
    meter.begin({"A": 4}, "undoing")
    meter.add("A", 4)
    time.now = 5
    meter.sample()
    meter.start(anew=False)
    time.now = 9
    points = meter.throughput()
    assert sum(point["items"] for point in points) == 8
    assert [point["at"] for point in points] == ["2026-11-28T19:36:02Z"] * 2  # the wall clock of this test stands still
    meter.start()
    assert meter.throughput() == []


# the line


def test_the_line_has_its_form():
    tables = tuple(TableProgress(f"T{n}", 2_000, 2_000, 0.0, "finished") for n in range(4))
    tables += (TableProgress("Busy", 4_400, 42_000, 820.0, "writing"),)
    tables += tuple(TableProgress(f"W{n}", 0, 0, 0.0, "waiting") for n in range(30))
    held = ("held to 600 write units a second by limits.write_units",)
    now = StageProgress("03_migrate", tables, 820.0, slowed=held)
    assert line(now) == (
        "03_migrate: 12,400 of 50,000 items, 4 of 35 tables, 820 items/s, 0:46 left, "
        "slowed: held to 600 write units a second by limits.write_units"
    )
    one = StageProgress("03_migrate", (TableProgress("T", 1, 1, 1.0, "writing"),), 1.0)
    assert FORM.fullmatch(line(one))
    assert line(replace(now, doing="writing the report", slowed=())).endswith("4 of 35 tables, writing the report")
    assert line(replace(now, ended="stopped")) == "03_migrate: stopped at 12,400 of 50,000 items, 4 of 35 tables"
    assert (
        line(replace(now, tables=tables[:4], seconds=29.4, ended="finished"))
        == "03_migrate: 4 tables, 8,000 items, 29 s"
    )
    assert line(StageProgress("02_test", doing="creating table T")) == "02_test: creating table T"
    assert line(StageProgress("x\x1b[2J")).startswith("x\\u001b[2J")


def test_following_has_a_form_of_its_own(meter, run):
    """As far behind as the last table; each table has a line in the status; the file gives it back."""
    followed = (
        TableFollowing("Orders", 12.4, 340, 5_000, 2, 0),
        TableFollowing("bad\x1b[2Jname", 0.0, 0, 120, 0, 3),
    )
    with meter.following(lambda: followed):
        now = meter.look("03_migrate")
    assert line(now) == "03_migrate: following 2 tables, 12 s behind (340 records), 5,120 applied, 2 drifted"
    assert following_lines(now)[0] == "Orders: 12 s behind (340 records), 5,000 applied, 2 drifted"
    assert following_lines(now)[1].startswith("bad\\u001b[2Jname: 0 s behind (0 records)")
    assert StageProgress.of_json(json.loads(json.dumps(now.as_json()))).following == followed
    judged = replace(now, doing="the gate waits", slowed=("throttled",))
    assert line(judged).endswith("2 drifted, the gate waits, slowed: throttled")
    shown = progress(now, "a-run-of-it")
    for words in ("following 2 tables", "Orders", "5,000 applied", "runbook stop a-run-of-it"):
        assert words in shown
    assert meter.look("03_migrate").following == ()


@pytest.mark.parametrize(("seconds", "told"), [(0.4, "0:00"), (46, "0:46"), (3_725, "1:02:05"), (360_000, "100:00:00")])
def test_time_left_is_minutes_and_seconds(seconds, told):
    assert clock(seconds) == told


# the file


def test_what_is_held_is_shown_and_nothing_else(run):
    """Whoever wrote it may have been killed: the system then lets go of the file, and nobody has to believe a process id."""
    published = Published(run, "03_migrate")
    published.write(some())
    assert at_work(run) == [some()]
    assert path_of(run, "03_migrate").stat().st_mode & 0o777 == 0o600
    published.write(some(execution=2))
    assert at_work(run) == [some(execution=2)]
    published.end()
    assert at_work(run) == []
    assert list(run.folder.iterdir()) == []


def test_a_killed_process_leaves_nothing_that_goes_on(run):
    code = (
        "import os, sys; from pathlib import Path; from runbook_lib.run.folder import Run;"
        "from runbook_lib.run.progress_file import *;"
        "p = Published(Run('run-of-a-test', Path(sys.argv[1])), '03_migrate');"
        "p.write(StageProgress('03_migrate', by='somebody')); print(flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen([sys.executable, "-c", code, run.folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
    assert [one.stage for one in at_work(run)] == ["03_migrate"]
    process.kill()
    process.communicate()
    assert path_of(run, "03_migrate").exists()
    assert at_work(run) == []
    assert progress_of(run, "03_migrate") is None  # and it is no command's last word but its own


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '"x"', "[" * 100_000, json.dumps(some().as_json())[:-40], json.dumps({**some().as_json(), "rate": "x"}),
     json.dumps({**some().as_json(), "tables": [{"name": 1}]}), json.dumps({**some().as_json(), "stage": "04_validate"})],
)  # fmt: skip
def test_a_file_that_the_program_did_not_write_is_no_progress(content, run):
    """Half a file, another stage's, something else: also where it is held."""
    path = path_of(run, "03_migrate")
    path.write_text(content)
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert at_work(run) == []
        assert progress_of(run, "03_migrate") is None


def test_what_lies_in_its_place_harms_nobody(run):
    """A folder, a pipe, a link: nothing is shown, nothing waits, and publishing goes on without."""
    (run.folder / "elsewhere").write_text(json.dumps(some().as_json()))
    path = path_of(run, "03_migrate")
    for make in (path.mkdir, lambda: os.mkfifo(path), lambda: path.symlink_to("elsewhere")):
        make()
        assert at_work(run) == []
        Published(run, "03_migrate").end()
        progress_file.clear(run, "03_migrate")
        if path.is_dir():
            Published(run, "03_migrate").write(some())
            path.rmdir()
    assert not path.exists()


def test_a_disk_that_refuses_ends_nothing(run):
    run = replace(run, folder=run.folder / "missing")
    published = Published(run, "03_migrate")
    published.write(some())
    published.end(some())
    assert at_work(run) == []


def test_the_last_word_is_for_the_command_alone(run):
    """It is not shown as going on."""
    published = Published(run, "03_migrate")
    published.write(some())
    published.end(some(ended="finished"))
    assert at_work(run) == []
    assert progress_of(run, "03_migrate") == some(ended="finished")
    assert progress_of(run, "03_migrate").by == executor()
    assert progress_of(run, "04_validate") is None


def test_verify_has_no_word_for_it(run):
    (run.folder / "run.json").write_text("{}")
    audit.begin(run, "03_migrate")
    published = Published(run, "03_migrate")
    published.write(some())
    (run.folder / ".progress-abcd1234").write_text("of a process that was killed while it wrote")
    found = audit.verify(run)
    published.end()
    assert (found.problems, found.growth) == ([], [])


# stderr


def test_lines_tell_each_table_once_and_come_every_half_minute(time):
    stream = io.StringIO()
    lines = terminal.Lines(stream, time)
    done = TableProgress("Done", 9, 9, 0.0, "finished", before=True)
    first, second = (TableProgress(name, 5, 5, 0.0, "finished") for name in ("First", "Sec\x1bond"))
    lines.show(StageProgress("03_migrate", doing="starting"))
    assert stream.getvalue() == ""
    at_first = some()
    lines.show(at_first)
    lines.show(at_first)
    assert stream.getvalue() == line(at_first) + "\n"
    time.now = 29
    lines.show(replace(at_first, tables=(done, first, *at_first.tables)))
    time.now = 58
    lines.show(replace(at_first, tables=(done, first, *at_first.tables)))
    time.now = 59
    lines.show(at_first)
    time.now = 90
    last = replace(at_first, tables=(done, first, second), ended="finished", seconds=90)
    lines.end(last)
    told = stream.getvalue().splitlines()[1:]
    assert told[:2] == ["03_migrate: finished First, 5 items", line(at_first)]
    assert "03_migrate: finished Sec\\u001bond, 5 items" in told
    assert told[-1] == "03_migrate: 3 tables, 19 items, 1 min 30 s"
    assert sum("finished First" in one for one in told) == 1
    assert not any("Done" in one for one in told)


def test_every_table_has_its_line_however_fast_the_stage_was(run):
    """Also where the command had no time to look: the kernel leaves its last word."""
    stream = io.StringIO()
    with terminal.following(run, "03_migrate", every=60, stream=stream):
        assert [one.doing for one in at_work(run)] == ["starting"]
        table = TableProgress("Orders", 12, 12, 0.0, "finished")
        Published(run, "03_migrate").end(StageProgress("03_migrate", (table,), seconds=3.0, ended="finished"))
    assert stream.getvalue().splitlines() == [
        "03_migrate: finished Orders, 12 items",
        "03_migrate: 1 table, 12 items, 3 s",
    ]
    assert at_work(run) == []


def test_a_kernel_that_died_is_not_finished(run):
    stream = io.StringIO()
    with terminal.following(run, "03_migrate", every=60, stream=stream):
        Published(run, "03_migrate").end(some())
    assert stream.getvalue().splitlines()[-1] == "03_migrate: stopped at 12 of 50 items, 0 of 1 tables"


def test_a_display_that_fails_ends_nothing(run):
    class Broken(io.StringIO):
        def write(self, text):
            raise RuntimeError("not today")

    with terminal.following(run, "03_migrate", every=0.001, stream=Broken()):
        Published(run, "03_migrate").end(some())
    assert not [thread for thread in threading.enumerate() if thread.name == "show"]


def test_a_reader_that_went_away_ends_nothing(run, monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    monkeypatch.setattr(sys, "stderr", os.fdopen(writing, "w"))
    with outlive_readers(), terminal.following(run, "03_migrate", every=60):
        Published(run, "03_migrate").end(some())


@pytest.mark.parametrize("width", [60, 200])
def test_what_a_terminal_shows_fits_it_and_names_steer_nothing(width):
    from rich.console import Console

    tables = (
        TableProgress("Orders-" + "x" * 80, 960, 1_500, 12.0, "writing", slowed=("slow",)),
        TableProgress("bad\x1b[2Jname[red]", 3, None, 1.0, "reading"),
        TableProgress("Old", 5, 5, 0.0, "finished"),
        TableProgress("Later", 0, 5, 0.0, "waiting"),
    )
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=True, color_system=None)
    console.print(terminal._drawn(StageProgress("03_migrate", tables, 13.0), width))
    shown = stream.getvalue()
    assert "\x1b" not in shown
    assert max(map(len, shown.splitlines())) <= width
    for words in ("960 of 1,500", "12 items/s", "✓ 1 table, 5 items", "1 table waiting", "[red]"):
        assert words in shown


PTY = """
import os, sys, time
from pathlib import Path
from runbook_lib.process import outlive_readers, stop_before_interrupting
from runbook_lib.report.runs.terminal import following
from runbook_lib.run.folder import Run
from runbook_lib.run.progress_file import *
run = Run("run-of-a-test", Path(sys.argv[1]))
table = TableProgress("Ord\\x1b[2Jers", 12, 50, 4.0, "writing")
def stop(): print("Stopping after the current page\\x1b[2J", file=sys.stderr, flush=True)
try:
    with outlive_readers():
        with stop_before_interrupting(stop), following(run, "03_migrate", every=0.02):
            published = Published(run, "03_migrate")
            published.write(StageProgress("03_migrate", (table,), 4.0))
            time.sleep(30)
except KeyboardInterrupt:
    print("Interrupted.")
"""


@pytest.mark.parametrize("kind", ["xterm", "dumb"])
def test_ctrl_c_leaves_a_sane_terminal(kind, run):
    """The cursor is back, the display is gone, the sentence stands; a terminal that cannot be steered gets lines."""
    import pty

    pid, terminal_ = pty.fork()
    if pid == 0:
        os.execve(
            sys.executable, [sys.executable, "-c", PTY, str(run.folder)], {**os.environ, "TERM": kind, "NO_COLOR": "1"}
        )
    shown, pressed = b"", 0
    with suppress(OSError):  # what a terminal says when nobody has it any more
        while data := os.read(terminal_, 4_096):
            shown += data
            if (pressed == 0 and b"4 items/s" in shown) or (pressed == 1 and b"Stopping after" in shown):
                pressed += 1
                os.write(terminal_, b"\x03")
    os.close(terminal_)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    text = shown.decode()
    assert text.rstrip().endswith("Interrupted.")
    assert "Stopping after the current page\\u001b[2J" in text
    assert "\x1b[2J" not in text
    assert "03_migrate: stopped at 12 of 50 items, 0 of 1 tables" in text
    assert not re.search(r"\x1b\[[\d;]*3\dm", text)  # no colour
    if kind == "dumb":
        assert "\x1b" not in text
    else:
        assert "Ord\\u001b[2Jers" in text
        assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


# status --watch


def test_watching_ends_with_the_run(run):
    """A moment between two stages of one command is not its end."""
    published, told, looks = Published(run, "03_migrate"), [], []

    def pause():
        looks.append(None)
        match len(looks):
            case 2 | 5:
                published.end()
            case 3:
                published.write(some(execution=2))

    published.write(some())
    watch([run], lambda _, now: told.append(now.execution), pause)
    assert told == [1, 1, 2, 2]
    assert len(looks) == 6
    watch([run], lambda *_: told.append(0), pause)
    assert told == [1, 1, 2, 2]
    assert len(looks) == 6


# run.log


class Work:
    """What a stage works with, as far as the log asks."""

    def __init__(self, meter):
        self.meter, self.retries = meter, Counter()
        self.wire = self

    def target(self):
        return self


def test_the_log_tells_each_slow_down_once_with_its_end(run, monkeypatch, meter):
    moments = Clock()
    monkeypatch.setattr(of_notebook.time, "monotonic", moments)
    work = Work(meter)
    log = of_notebook._Log(run, work)
    for second in range(60):
        moments.now = float(second)
        work.retries["ThrottlingException"] += 2 if second < 20 else 0
        slowed = (f"target T9: slowed to {second + 1} requests a second because of ThrottlingException",)
        log.look(some(slowed=slowed if second < 20 else ()))
    log.page("T9", Counter(scanned=25, inserted=20, conflicts=5, failed=0))
    log.end(some(ended="stopped"))
    said = [text.split("Z ", 1)[1] for text in (run.folder / "run.log").read_text().splitlines()]
    assert said == [
        "WARNING slowed: target T9: slowed to 1 requests a second because of ThrottlingException",
        "WARNING 22 requests tried again: ThrottlingException",
        "WARNING 18 requests tried again: ThrottlingException",
        "INFO no longer slowed: target T9: slowed to 20 requests a second because of ThrottlingException",
        "INFO T9: a page is done: 25 scanned, 20 inserted, 5 conflicts",
        "INFO 03_migrate: stopped at 12 of 50 items, 0 of 1 tables",
    ]


def test_status_without_anything_at_work_is_refused(tmp_path, capsys):
    from runbook_lib.cli import main

    assert main(["status", "--watch", "--outputs", str(tmp_path)]) == Refused.exit_code
    assert "nothing is at work" in capsys.readouterr().err
