"""`runbook demo` and `runbook lab`: the notebooks on the embedded world."""

import sys
from pathlib import Path
from typing import Any

from ..errors import Refused, RunbookError
from ..journal.checkpoint import read_checkpoint
from ..mapping.file.load import load_mapping
from ..notebook.execute import Execution, execute
from ..notebook.lab.start import open_lab
from ..parameters import Parameters, load_parameters, project_root, resolve_path
from ..report.runs.index import write_index
from ..run.folder import Run, new_run, run_json
from ..stages.selection import select_run
from ..verdict import PASS, REVIEW, STOPPED
from .data import EXPECTED, SHOP_TABLE
from .follow import CHANGES, application
from .world import World

# What 02 tests of each, and how many
MIGRATIONS = {
    "env_copy": ("QuoteItems", 3),
    "table_split": ("Leads", 5),
    "shop_copy": ("Lines", 3),
    "shop_split": ("Lines", 3),
}
CLEAN = ("shop_copy", "shop_split")  # those whose data holds nothing that asks for a decision
FOLLOWED = "shop_split"  # the migration that follows its source for a moment, and cuts over
WITH_ROLLBACK = "table_split"  # the migration that the demo rolls back
# How each stage must end.
VERDICTS = {"01_analyze": REVIEW, "02_test": PASS, "03_migrate": REVIEW, "04_validate": REVIEW}


def run_demo(outputs: str) -> int:
    """The exit code: 0 when every stage ends as the sample data requires. Writes runs into `outputs`. Raises Refused outside
    the project."""
    check_project()
    print("Starting the embedded DynamoDB and filling it with made-up data.", flush=True)
    wrong: list[str] = []
    with World() as world:
        for name, (table, limit) in MIGRATIONS.items():
            parameters = load_parameters(resolve_path(f"parameters/demo_{name}.yaml"))
            run = select_run("01_analyze", parameters, load_mapping(parameters), outputs=outputs, name=f"demo_{name}")
            print(f"\n{name}: {parameters.source.environment} → {parameters.target.environment}", flush=True)
            writing = {"execute": True, "confirm": parameters.target.environment}
            own: dict[str, dict[str, Any]] = {
                "02_test": {"table": table, "limit": limit, **writing},
                "03_migrate": writing,
            }
            for stage, verdict in VERDICTS.items():
                verdict = PASS if name in CLEAN else verdict
                if (name, stage) == (FOLLOWED, "03_migrate"):
                    wrong += _cut_over(world, run, parameters, own[stage], verdict)
                    continue
                execution = _stage(stage, run, parameters, own.get(stage, {}))
                wrong += _problems(name, stage, execution, verdict, run)
            if name == WITH_ROLLBACK:
                wrong += _roll_back(name, run, parameters, writing)
        index = write_index(resolve_path(outputs))
    if wrong:
        print("\nThese stages did not end as the sample data requires:\n  " + "\n  ".join(wrong))
        return 1
    print(
        "\nEvery stage ended as expected. REVIEW, where the sample data contains what real data contains: dangling references,"
        "\nvalues that do not convert, unknown item types, people whom the target has already. The reports count, list and"
        "\nexplain each of them."
        f"\nOpen {index}"
    )
    return 0


def run_lab(outputs: str) -> int:
    """The exit code of JupyterLab on the embedded world, in a new run of the demo's environment copy in `outputs`."""
    print("Starting the embedded DynamoDB and filling it with made-up data.", flush=True)
    with World():
        parameters = load_parameters(resolve_path("parameters/demo_env_copy.yaml"))
        return open_lab(new_run(outputs, run_json(parameters, load_mapping(parameters), "lab")), parameters)


def check_project() -> None:
    """Raises Refused outside the project, before anything is started or written."""
    if not (project_root() / "notebooks").is_dir():
        raise Refused("no folder notebooks/ here or above; run this from the project's folder.")


def _stage(stage: str, run: Run, parameters: Parameters, own: dict[str, Any]) -> Execution:
    common = {**parameters.model_dump(mode="json"), "run_id": run.id, "outputs": str(run.folder.parent)}
    execution = execute(stage, run, {**common, **own})
    verdict, headline = execution.result.get("verdict", STOPPED), execution.result.get("headline", "")
    print(f"  {stage:<12} {verdict:<12} {headline}", flush=True)
    if execution.traceback:
        print(execution.traceback, file=sys.stderr)
    return execution


def _problems(name: str, stage: str, execution: Execution, verdict: str, run: Run) -> list[str]:
    """Sentences on results that differ from what the planted data requires."""
    if execution.result.get("verdict") != verdict:
        return [f"{name} {stage}: verdict {execution.result.get('verdict')}, not {verdict}"]
    if stage == "02_test":
        return []
    kind = "migration-analysis" if stage == "01_analyze" else "migration-report"
    figures, expected = run.latest_json(kind), _expected(name)
    found = {
        "01_analyze": lambda: {**figures["totals"], "scanned": figures["totals"]["records"]},
        "03_migrate": lambda: {**figures["totals"], "dangling": _lost(figures)},
        "04_validate": lambda: {**figures["validation"], **figures["totals"]},
    }[stage]()
    return [
        f"{name} {stage}: {key} is {found[key]}, not {number}"
        for key, number in expected.items()
        if key in found and found[key] != number
    ]


def _cut_over(world: World, run: Run, parameters: Parameters, writing: dict[str, Any], verdict: str) -> list[str]:
    """03 that follows while the shop goes on, until the gate opens."""
    with application(world, run) as answers:
        execution = _stage("03_migrate", run, parameters, {**writing, "follow": True})
    wrong = _problems(FOLLOWED, "03_migrate", execution, verdict, run)
    if wrong:
        return wrong
    followed = run.latest_json("migration-report")["follow"]["tables"][SHOP_TABLE]
    told = ", ".join(f"{followed[figure]} {figure}" for figure in CHANGES)
    opened = bool(answers and answers[0] and answers[0]["open"])
    print(f"  {'cut-over':<12} {'open' if opened else 'closed':<12} the shop went on meanwhile: {told}.", flush=True)
    if not opened or any(followed[figure] != number for figure, number in CHANGES.items()):
        return [f"{FOLLOWED} cut-over: {answers}, {told}, not {CHANGES}"]
    return []


def _lost(report: dict[str, Any]) -> int:
    return report["relationships"] - report["relationships_preserved"]


def _expected(name: str) -> dict[str, int]:
    planted = EXPECTED[name]
    if name == "env_copy":
        dangling = sum(number for paths in planted["dangling"].values() for number in paths.values())
        matched = sum(planted["matched"].values())
        return {
            "scanned": planted["total"],
            "inserted": planted["total"] - matched,
            "matched": matched,
            "dangling": dangling,
            "relationships": planted["references"],
            "extra": sum(planted["foreign"].values()) - matched,
            **dict.fromkeys(("quarantined", "conflicts", "unrouted", "failed", "missing", "different"), 0),
        }
    quarantined = sum(number for found in planted.get("quarantined", {}).values() for number in found.values())
    conflicts, scanned = sum(planted.get("conflicts", {}).values()), sum(planted["selected"].values())
    expired = sum(planted.get("expired", {}).values())
    return {
        "scanned": scanned,
        "expired": expired,
        "inserted": scanned - quarantined - conflicts - expired,
        "quarantined": quarantined,
        "conflicts": conflicts,
        "unrouted": planted["unrouted"],
        **dict.fromkeys(("failed", "missing", "different", "extra", "dangling"), 0),
    }


def _roll_back(name: str, run: Run, parameters: Parameters, writing: dict[str, Any]) -> list[str]:
    path = _migration_checkpoint(run)
    execution = _stage("05_rollback", run, parameters, {**writing, "checkpoint": str(path)})
    undone = (run.latest_json("migration-report") or {}).get("rollback", {})
    expected = {"deleted": _expected(name)["inserted"], "kept_edited": 0, "not_found": 0}
    if execution.exit_code or any(undone.get(key) != number for key, number in expected.items()):
        return [f"{name} 05_rollback: {undone}, not {expected}"]
    return []


def _migration_checkpoint(run: Run) -> Path:
    for path in reversed(run.json_files("migration-checkpoint")):
        if read_checkpoint(path).stage == "migrate":
            return path
    raise RunbookError(f"{run.id} has no checkpoint of a migration")
