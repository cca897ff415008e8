"""The structure of the package: imports go one way, and what is light stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "runbook_lib"
HEAVY = ("pandas", "matplotlib", "papermill", "numpy", "pyarrow", "nbformat", "IPython", "boto3", "moto")
PURE = "values ids templates convert jsontext references routes graph hashlog masks html errors".split()
LONGEST = 500  # lines of a module


def modules() -> dict[str, Path]:
    """Dotted name within the package → file."""
    return {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}


def imports(name: str, path: Path) -> set[str]:
    """The package's modules that a module imports, also inside functions."""
    found = set()
    folder = name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        base = folder[: len(folder) - node.level + 1]
        inside = [*base, *(node.module.split(".") if node.module else [])]
        for alias in node.names:
            for candidate in ([*inside, alias.name], inside):
                if ".".join(candidate) in modules():
                    found.add(".".join(candidate))
                    break
    return found - {name}


def test_imports_go_downward_only():
    """No ring of modules, lazy imports included: each can be read after those it stands on."""
    graph = {name: imports(name, path) for name, path in modules().items()}
    done: set[str] = set()
    while ready := {name for name, needed in graph.items() if name not in done and needed <= done}:
        done |= ready
    assert set(graph) == done, f"in a ring: {sorted(set(graph) - done)}"


@pytest.mark.parametrize("name", PURE)
def test_the_pure_core_talks_to_nobody(name):
    """Items in, items out: no DynamoDB, no run folder, no plan."""
    assert not imports(name, PACKAGE / f"{name}.py") & {
        "plan",
        "run",
        "stage",
        "walk",
        "journal",
        "dynamo.wire",
        "notebook",
    }


def test_only_dynamo_talks_to_dynamodb():
    """boto3 and botocore are imported under dynamo/ alone; the embedded world has a client of its own."""
    for name, path in modules().items():
        if name.startswith(("dynamo.", "demo")):
            continue
        text = path.read_text(encoding="utf-8")
        assert "import boto3" not in text, name
        assert "import botocore" not in text, name
        assert "from botocore" not in text, name


@pytest.mark.parametrize(
    "module", ["runbook_lib", "runbook_lib.cli", "runbook_lib.report.status", "runbook_lib.commands"]
)
def test_importing_loads_nothing_heavy(module):
    """A command answers before pandas would have been imported."""
    if module == "runbook_lib.commands":
        heavy = ("pandas", "matplotlib", "papermill", "moto")
    else:
        heavy = HEAVY
    code = f"import {module}, sys; print([name for name in {heavy!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_modules_stay_small():
    """One thing a module."""
    long = {name: len(path.read_text().splitlines()) for name, path in modules().items()}
    assert {name: lines for name, lines in long.items() if lines > LONGEST} == {}
