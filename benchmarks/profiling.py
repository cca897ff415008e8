"""Where the program spends its CPU time: cProfile in every thread, figures for each item."""

import argparse
import cProfile
import json
import pstats
import sys
import tempfile
import threading
import time
from collections.abc import Iterator

from . import measure, server
from .contenders import CONTENDERS, Meter
from .shapes import Case

TOP = 45
STAGES = ("analyze", "migrate", "validate", "undo")  # in this order each finds what it needs


class ProfilingMeter(Meter):
    """A meter that profiles the work: the calling thread and all threads that begin meanwhile, by their own CPU time."""

    def __init__(self) -> None:
        super().__init__()
        self._profiles = [cProfile.Profile(time.thread_time)]
        self._run = threading.Thread.run

    def __enter__(self) -> None:
        super().__enter__()
        profiles, run = self._profiles, self._run

        def profiled(thread: threading.Thread) -> None:
            profiles.append(profile := cProfile.Profile(time.thread_time))
            profile.runcall(run, thread)

        threading.Thread.run = profiled
        profiles[0].enable()

    def __exit__(self, *exception) -> None:
        self._profiles[0].disable()
        threading.Thread.run = self._run
        super().__exit__(*exception)

    def stats(self) -> pstats.Stats:
        """All threads in one."""
        return pstats.Stats(*self._profiles)


def profile(options: argparse.Namespace) -> None:
    """Prints the functions of one stage of the program that take most."""
    if sys.version_info >= (3, 12):
        raise SystemExit("From Python 3.12 on cProfile follows one thread only: take Python 3.11 for this.")
    case = Case.named(options.case, options.items)
    with server.serving() as canned, tempfile.TemporaryDirectory(dir=measure.work_folder()) as folder:
        canned.reset(case, keep=options.stage != "migrate")
        place = {"url": canned.url, "folder": folder, "workers": options.workers}
        for stage in () if options.stage in ("analyze", "migrate") else STAGES[1 : STAGES.index(options.stage)]:
            measure.run(stage, case, **place)
        spec = json.dumps(
            {"stage": options.stage, "case": vars(case), "sort": options.sort, "top": options.top, **place}
        )
        print(measure.spent([sys.executable, "-m", "benchmarks.profiling", spec])[0], end="")


def main(stage: str, case: dict, sort: str, top: int, **place) -> None:
    """Runs the stage in this process and prints the table."""
    meter = ProfilingMeter()
    items = CONTENDERS[stage](Case(**case), meter, **place)
    for line in _lines(meter.stats(), items, sort, top):
        print(line)


def _lines(stats: pstats.Stats, items: int, sort: str, top: int) -> Iterator[str]:
    rows = [
        (own * 1e6 / items, whole * 1e6 / items, calls / items, _place(*place))
        for place, (_, calls, own, whole, _) in stats.stats.items()
    ]
    total = sum(row[0] for row in rows)
    yield f"{items:,} items, {total:.1f} µs an item under the profiler, which makes small functions look dear"
    yield f"{'own µs':>10}{'with callees':>14}{'calls':>10}   for each item"
    for own, whole, calls, name in sorted(rows, key=lambda row: -row[sort == "cumulative"])[:top]:
        yield f"{own:>10.2f}{whole:>14.2f}{calls:>10.3f}   {name}"


def _place(file: str, line: int, name: str) -> str:
    for root in (f"{measure.ROOT}/", *sorted((f"{path}/" for path in sys.path if path), key=len, reverse=True)):
        file = file.removeprefix(root)
    return name if file == "~" else f"{file}:{line} {name}"


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
