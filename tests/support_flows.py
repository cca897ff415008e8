"""Whole stages without a notebook: the steps that a book takes, with nothing shown."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import support_worlds as worlds

from runbook_lib.journal import audit
from runbook_lib.mapping.file.load import load_mapping
from runbook_lib.notebook.steps import Steps
from runbook_lib.parameters import Parameters, build_parameters, load_parameters
from runbook_lib.run.folder import Run, open_run, run_json
from runbook_lib.stages.migrate.delta import catch_up
from runbook_lib.stages.migrate.retry_failed import retry_failed
from runbook_lib.stages.rollback.rollback import Undoing
from runbook_lib.stages.test.canary import Canary
from runbook_lib.walk.plan import open_plan

CASES = Path(__file__).parent / "cases"
HURRIED = {"patience": 0}  # a test that throttles for good does not wait for minutes


@dataclass
class Flow:
    """One run of one migration. Every method writes its report and returns the content."""

    parameters: Parameters
    outputs: Path
    run_id: str = "the-first-run"
    accept_drift: bool = False
    accept_changed: bool = False

    def run(self) -> Run:
        """The run's folder, made where it is missing."""
        return open_run(self.outputs, self.run_id, run_json(self.parameters, load_mapping(self.parameters), "flow"))

    def steps(self) -> Steps:
        """The steps of this run, as a book takes them."""
        return Steps(
            self.run(), self.parameters.lease, accept_drift=self.accept_drift, accept_changed=self.accept_changed
        )

    def analyze(self) -> dict[str, Any]:
        """01."""
        with self._notebook("01_analyze"):
            return self.steps().analyze(self._plan()).content

    def create(self) -> list[str]:
        """02, tables only: the names of those it made."""
        with self._notebook("02_test"):
            return [created.table for created in self.steps().create_tables(self._plan()).result]

    def test(self, table: str, limit: int = 1, *, keep: bool = False) -> Canary:
        """02."""
        with self._notebook("02_test"):
            return self.steps().test(self._plan(), table, limit, keep=keep).result

    def migrate(self, tables: list[str] | None = None) -> dict[str, Any]:
        """03."""
        with self._notebook("03_migrate"):
            return self.steps().migrate(self._plan(tables)).content

    def retry(self, tables: list[str] | None = None) -> dict[str, Any]:
        """03 with `retry_failed`."""
        with self._notebook("03_migrate"):
            return self.steps().migrate(self._plan(tables), retry_failed).content

    def delta(self, tables: list[str] | None = None) -> dict[str, Any]:
        """03 with `delta`."""
        with self._notebook("03_migrate"):
            return self.steps().migrate(self._plan(tables), catch_up).content

    def validate(self, tables: list[str] | None = None) -> dict[str, Any]:
        """04."""
        with self._notebook("04_validate"):
            return self.steps().validate(self._plan(tables)).content

    def rollback(self, stage: str = "migrate", restore_from: str = "") -> dict[str, Any]:
        """05, from the checkpoint of a stage."""
        with self._notebook("05_rollback"):
            undoing = Undoing(str(self.checkpoint(stage)), str(self.outputs), self.parameters, self.accept_changed)
            undoing.preview([], restore_from)
            run, lease = undoing.checkpoint.run, self.parameters.lease
            steps = Steps(run, lease, accept_changed=self.accept_changed)
            done = steps.undo(undoing)
            if restore_from:
                done = steps.restore(undoing, done.result, undoing.wanted(restore_from))
            return done.content

    @contextmanager
    def _notebook(self, stage: str) -> Iterator[None]:
        """The records that a command adds around its notebook; what stops it leaves its execution open."""
        folder = self.outputs / self.run_id
        run = Run(self.run_id, folder) if (folder / "run.json").exists() else self.run()
        audit.begin(run, stage)
        yield
        audit.append(run, stage)

    def checkpoint(self, stage: str = "migrate") -> Path:
        """The checkpoint file that a stage of this run wrote."""
        paths = sorted((self.outputs / self.run_id).glob("migration-checkpoint-*.json"))
        return next(path for path in paths if json.loads(path.read_text())["stage"] == stage)

    def listing(self, name: str) -> list[dict[str, Any]]:
        """The objects of a listing file; [] where there is none."""
        path = self.outputs / self.run_id / f"{name}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def _plan(self, chosen: list[str] | None = None):
        return open_plan(self.parameters, chosen=chosen)


def counts_of(report: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Entry → its counts in 03's report, without the ledger."""
    return {name: {key: n for key, n in table.items() if key != "ledger"} for name, table in report["tables"].items()}


def begin(case: str, world: worlds.World, outputs: Path, **limits: Any) -> Flow:
    """The tables of a folder in tests/cases on the world's engine, and its migration, not yet begun."""
    world.build(worlds.read(CASES / case / "source.yaml"), worlds.SOURCE)
    world.build(worlds.read(CASES / case / "target.yaml"), worlds.TARGET)
    settings = {f"limits.{name}": value for name, value in (HURRIED | limits).items()}
    return Flow(load_parameters(CASES / case / "parameters.yaml", settings), outputs)


def flow_of(mapping: str, world: worlds.World, outputs: Path, run_id: str = "the-first-run", **limits: Any) -> Flow:
    """A migration by the `tables` part of a mapping, as YAML text; entries are named like their tables, `id` is the id."""
    defaults = "".join(
        f'{side}: "{{table}}-{environment}-{world.suffix}", '
        for side, environment in (("source", worlds.SOURCE), ("target", worlds.TARGET))
    )
    path = outputs / "mapping.yaml"
    path.write_text(f"defaults: {{{defaults}id: id}}\ntables: {mapping}\n", encoding="utf-8")
    sides = {
        label: {"environment": environment, "region": "us-west-1", "endpoint_url": world.engine.endpoint_url}
        for label, environment in (("source", worlds.SOURCE), ("target", worlds.TARGET))
    }
    return Flow(build_parameters({"mapping": str(path), **sides, "limits": HURRIED | limits}), outputs, run_id)
