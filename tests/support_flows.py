"""The stages as the notebooks run them, without a kernel: same functions, same order, same files."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import support_worlds as worlds

from runbook_lib.dynamo.session import Connection
from runbook_lib.mapping.load import load_mapping
from runbook_lib.parameters import Parameters, build_parameters, load_parameters
from runbook_lib.report import json_report as report
from runbook_lib.run.folder import Run, identify, open_run
from runbook_lib.run.locks import Held, hold_targets
from runbook_lib.stages.analyze import analyze
from runbook_lib.stages.migrate.catch_up import catch_up
from runbook_lib.stages.migrate.migrate import migrate
from runbook_lib.stages.rollback.rollback import Undoing
from runbook_lib.stages.test import Canary, create_tables, run_canary
from runbook_lib.stages.validate.validate import validate
from runbook_lib.walk.plan import open_plan

CASES = Path(__file__).parent / "cases"


@dataclass
class Flow:
    """One run of one migration. Every method writes its report and returns the content."""

    parameters: Parameters
    outputs: Path
    run_id: str = "the-first-run"

    def run(self) -> Run:
        """The run's folder, made where it is missing."""
        return open_run(self.outputs, self.run_id, identify(self.parameters, load_mapping(self.parameters), "flow"))

    def analyze(self) -> dict[str, Any]:
        """01."""
        plan = self._plan()
        return report.write_analysis(self.run(), plan, analyze(plan))[0]

    def create(self) -> list[str]:
        """02, tables only: the names of those it made."""
        run = self.run()
        with run.lock("02_test"):
            return [created.table for created in create_tables(run, self._plan())]

    def test(self, table: str, limit: int = 1, *, keep: bool = False) -> Canary:
        """02."""
        run, plan = self.run(), self._plan()
        with self._writing("02_test", run, plan.target, plan.target_names()):
            canary = run_canary(run, plan, table, limit, keep=keep)
        report.write_test(run, plan, [], canary, [])
        return canary

    def migrate(self, tables: list[str] | None = None) -> dict[str, Any]:
        """03."""
        run, plan = self.run(), self._plan(tables)
        with self._writing("03_migrate", run, plan.target, plan.target_names()):
            return report.write_migration(run, plan, migrate(run, plan))[0]

    def delta(self, tables: list[str] | None = None) -> dict[str, Any]:
        """03 with `delta`."""
        run, plan = self.run(), self._plan(tables)
        with self._writing("03_migrate", run, plan.target, plan.target_names()):
            return report.write_migration(run, plan, catch_up(run, plan))[0]

    def validate(self, tables: list[str] | None = None) -> dict[str, Any]:
        """04."""
        run, plan = self.run(), self._plan(tables)
        with run.lock("04_validate"):
            return report.write_validation(run, plan, validate(run, plan))[0]

    def rollback(self, stage: str = "migrate") -> dict[str, Any]:
        """05, from the checkpoint of a stage."""
        undoing = Undoing(str(self.checkpoint(stage)), str(self.outputs), self.parameters)
        run = undoing.checkpoint.run
        undoing.preview([])
        with self._writing("05_rollback", run, undoing.target(), undoing.tables()) as held:
            undone = undoing.undo(held)
        return report.write_rollback(run, undoing.sides(), undone, [], undoing.alerts(undone, []), stage)[0]

    def checkpoint(self, stage: str = "migrate") -> Path:
        """The checkpoint file that a stage of this run wrote."""
        paths = sorted((self.outputs / self.run_id).glob("migration-checkpoint-*.json"))
        return next(path for path in paths if json.loads(path.read_text())["stage"] == stage)

    def listing(self, name: str) -> list[dict[str, Any]]:
        """The objects of a listing file; [] where there is none."""
        path = self.outputs / self.run_id / f"{name}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @contextmanager
    def _writing(self, stage: str, run: Run, target: Connection, tables: list[str]) -> Iterator[Held]:
        with run.lock(stage), hold_targets(target, tables, run, lease=self.parameters.lease) as held:
            yield held

    def _plan(self, chosen: list[str] | None = None):
        return open_plan(self.parameters, chosen=chosen)


def begin(case: str, world: worlds.World, outputs: Path, **limits: Any) -> Flow:
    """The tables of a folder in tests/cases on the world's engine, and its migration, not yet begun."""
    world.build(worlds.read(CASES / case / "source.yaml"), worlds.SOURCE)
    world.build(worlds.read(CASES / case / "target.yaml"), worlds.TARGET)
    settings = {f"limits.{name}": value for name, value in limits.items()}
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
    return Flow(build_parameters({"mapping": str(path), **sides, "limits": limits}), outputs, run_id)
