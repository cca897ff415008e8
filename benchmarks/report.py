"""Figures as a table, as ratios, as targets that are met or missed, and as JSON."""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from .measure import Measured, machine, work_folder

MAIN, SPLIT, SINGLE = "copy-1kB-3", "split-1kB-0", "single-1kB-3"
MB = 2**20
REQUESTS = {"Scan", "PutItem", "BatchExecuteStatement", "BatchGetItem"}
HEADS = ("", "items", "µs/item", "spread", "seconds", "items/s", "MB", "ours is")


@dataclass
class Row:
    """One contender on one case, measured some times."""

    part: str
    contender: str
    case: str
    items: int
    runs: list[Measured] = field(default_factory=list)
    counters: dict[str, Any] = field(default_factory=dict)  # of the endpoint, in the last of the runs

    @property
    def per_item(self) -> float:
        """Median CPU in microseconds for each item."""
        return median(run.per_item for run in self.runs)

    @property
    def spread(self) -> float:
        """From the least to the most CPU, as a share of the median."""
        found = [run.cpu for run in self.runs]
        return (max(found) - min(found)) / median(found)

    @property
    def seconds(self) -> float:
        """Median time by the clock."""
        return median(run.seconds for run in self.runs)

    @property
    def memory(self) -> int:
        """The most memory of all runs."""
        return max(run.memory for run in self.runs)


class Report:
    """What was measured so far; says each part as it is done."""

    def __init__(self) -> None:
        self.started = datetime.now(UTC)
        self.rows: dict[tuple, Row] = {}
        self.notes: list[str] = []
        here = machine()
        print(
            f"{here['cores']} cores ({here['processor']}), {here['memory_gb']} GB, {here['system']}, "
            f"Python {here['python']}, load {here['load']}"
        )
        self.machine = here

    def add(self, part: str, contender: str, measured: Measured, counters: dict[str, Any]) -> None:
        """Takes one measurement."""
        place = (part, contender, measured.case, measured.items)
        row = self.rows.setdefault(place, Row(*place))
        row.runs.append(measured)
        row.counters = counters

    def note(self, text: str) -> None:
        """Says something that is no figure, once, and keeps it."""
        if text not in self.notes:
            print(f"\n{text}")
            self.notes.append(text)

    def find(self, part: str, contender: str, case: str = "", items: int | None = None) -> Row | None:
        """The row, or None where that was not measured."""
        found = (row for row in self.rows.values() if (row.part, row.contender, row.case) == (part, contender, case))
        return next((row for row in found if items in (None, row.items)), None)

    def ratio(self, part: str, case: str, other: str, ours: str = "migrate") -> float | None:
        """The program's CPU for each item over another's: the median over the rounds, in which they took turns.

        A round's runs follow each other, so that what the machine does meanwhile hits both.
        """
        first, second = self.find(part, ours, case), self.find(part, other, case)
        if not (first and second):
            return None
        return median(one.per_item / two.per_item for one, two in zip(first.runs, second.runs, strict=True))

    def compare_requests(self, case: str, ours: dict[str, Any], floor: dict[str, Any]) -> None:
        """Notes where the floor did not send about what the program sent."""
        for what, allowed in (("requests", 0.02), ("received", 0.1)):
            mine, other = (sum(n for key, n in side[what].items() if key in REQUESTS) for side in (ours, floor))
            if abs(other - mine) > allowed * mine + 10:
                kind = "bytes" if what == "received" else what
                self.note(
                    f"{case}: the program sent {mine:,} {kind}, the floor {other:,}: hold that against the ratio."
                )

    # what is printed

    def show(self, part: str) -> None:
        """Prints a part's table."""
        if part == "start-up":
            self._show_start_up()
            return
        last = "× migrate" if part == "stages" else HEADS[-1]
        by_case: dict[str, list[Row]] = defaultdict(list)
        for row in self.rows.values():
            if row.part == part:
                by_case[row.case].append(row)
        for case, rows in by_case.items():
            _print_row((f"\n{part}: {case}", *HEADS[1:-1], last), 29)
            for row in rows:
                ratio = self.ratio(part, case, row.contender)
                if part == "stages" and ratio:
                    ratio = 1 / ratio
                mine = row.contender == "migrate" or not ratio
                _print_row((*_cells(row), "" if mine else _times(ratio)))

    def _show_start_up(self) -> None:
        print(f"\n{'start-up':<28}{'CPU ms':>9}{'wall ms':>9}")
        for row in self.rows.values():
            if row.part == "start-up":
                print(f"{row.contender:<28}{row.per_item / 1000:>9.0f}{row.seconds * 1000:>9.0f}")

    def show_growth(self, items: int) -> None:
        """Prints the rows of one size, with the time against what linear growth from the smallest would give."""
        rows = [row for row in self.rows.values() if row.part == "growth"]
        least = min(row.items for row in rows)
        if items == least:
            _print_row(("\ngrowth", *HEADS[1:-1], "× linear"), 29)
        for row in rows:
            if row.items == items:
                first = next(r for r in rows if r.items == least and r.contender == row.contender)
                factor = row.seconds / row.items / (first.seconds / first.items)
                _print_row((*_cells(row), f"{factor:.2f}"))

    def targets(self) -> list[dict[str, Any]]:
        """Each target of which both sides were measured: name, value, limit, met."""
        # Where the program did not insert in batches although it could have, that is no excuse.
        copy_floor, split_floor, single_floor = (
            self.ratio("shapes", case, "floor in batches") or self.ratio("shapes", case, "floor")
            for case in (MAIN, SPLIT, SINGLE)
        )
        found: list[tuple[str, float | None, float]] = [
            ("copy against the floor", copy_floor, 1.6),
            ("copy against boto3 PutItem", self.ratio("shapes", MAIN, "boto3 PutItem"), 1 / 20),
            ("copy against boto3 batch_writer", self.ratio("shapes", MAIN, "boto3 batch_writer"), 1 / 4),
            ("split against the floor", split_floor, 2.0),
            ("single table against the floor", single_floor, 2.0),
            ("analysis against migration", self.ratio("stages", MAIN, "migrate", "analyze"), 2.5),
            ("validation against migration", self.ratio("stages", MAIN, "migrate", "validate"), 2.5),
        ]
        sizes = sorted({row.items for row in self.rows.values() if row.part == "growth"})
        first, last = (
            (self.find("growth", "migrate", MAIN, size) for size in (sizes[0], sizes[-1])) if sizes else (None, None)
        )
        if first and last and last.items > first.items:
            factor = last.items / first.items
            found += [
                (f"time, × {factor:g} items", last.seconds / first.seconds, 1.05 * factor),
                (f"memory, × {factor:g} items", last.memory / first.memory, 1.3),
                ("memory in MB", last.memory / MB, 250),
            ]
        boto3, both = self.find("start-up", "import boto3"), self.find("start-up", "import boto3 and runbook_lib")
        if boto3 and both:
            found.append(("import over boto3's in ms", (both.per_item - boto3.per_item) / 1000, 60))  # CPU: less noise
        if status := self.find("start-up", "runbook status"):
            found.append(("runbook status in s", status.seconds, 0.5))
        return [
            {"target": name, "value": round(value, 4), "limit": limit, "met": value <= limit}
            for name, value, limit in found
            if value is not None
        ]

    def close(self, kind: str) -> Path:
        """Prints the targets, and writes everything to a file; gives its path."""
        targets = self.targets()
        if targets:
            print(f"\n{'target':<36}{'measured':>10}{'at most':>10}")
        for each in targets:
            print(
                f"{each['target']:<36}{each['value']:>10.3g}{each['limit']:>10.3g}   {'PASS' if each['met'] else 'miss'}"
            )
        path = work_folder() / f"{self.started:%Y%m%dT%H%M%SZ}.json"
        path.write_text(json.dumps(self._content(kind, targets), indent=1) + "\n", encoding="utf-8")
        print(f"\n{path}")
        return path

    def _content(self, kind: str, targets: list[dict[str, Any]]) -> dict[str, Any]:
        rows = []
        for row in self.rows.values():
            ratio = self.ratio(row.part, row.case, row.contender) if row.part not in ("growth", "stages") else None
            rows.append(
                {
                    "part": row.part,
                    "case": row.case,
                    "contender": row.contender,
                    "items": row.items,
                    "cpu_us_per_item": [round(run.per_item, 2) for run in row.runs],
                    "seconds": [round(run.seconds, 4) for run in row.runs],
                    "peak_memory_bytes": [run.memory for run in row.runs],
                    "median_cpu_us_per_item": round(row.per_item, 2),
                    "ours_over_this": ratio and round(ratio, 4),
                    "endpoint": row.counters,
                }
            )
        return {
            "kind": kind,
            "started": f"{self.started:%Y-%m-%dT%H:%M:%SZ}",
            "ended": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "machine": self.machine,
            "measurements": rows,
            "targets": targets,
            "notes": self.notes,
        }


def _cells(row: Row) -> tuple[str, ...]:
    return (
        f"  {row.contender}",
        f"{row.items:,}",
        f"{row.per_item:.1f}",
        f"{row.spread:.0%}",
        f"{row.seconds:.2f}",
        f"{row.items / row.seconds:,.0f}",
        f"{row.memory / MB:.0f}",
    )


def _print_row(cells: tuple[str, ...], first: int = 28) -> None:
    print(f"{cells[0]:<{first}}" + "".join(f"{cell:>10}" for cell in cells[1:]))


def _times(ratio: float) -> str:
    return f"× {ratio:.2f}" if ratio >= 0.5 else f"1/{1 / ratio:.1f}"
