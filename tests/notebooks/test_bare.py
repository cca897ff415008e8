"""The notebooks without the command: by papermill with kernels, by a shell in this process, and as they are opened."""

import shutil
import subprocess
import sys

import nbformat
import papermill
import pytest
import yaml
from support_notebooks import CellError, execute_notebook

from runbook_lib.demo.world import World

from .conftest import ROOT

STAGES = ("01_analyze", "02_test", "03_migrate", "04_validate", "05_rollback")


def by_papermill(shop, stage, tmp_path, **parameters):
    """The executed copy of a stage with the shop's parameters file, as `papermill … -f` runs it."""
    return _executed(papermill.execute_notebook, shop, stage, tmp_path, parameters)


def executed(shop, stage, tmp_path, **parameters):
    """The same, in this process."""
    return _executed(execute_notebook, shop, stage, tmp_path, parameters)


def by_papermill_first(shop, stage, tmp_path, **parameters):
    """The first stage by papermill, the others in this process: a kernel takes seconds."""
    return (by_papermill if stage == "01_analyze" else executed)(shop, stage, tmp_path, **parameters)


def _executed(way, shop, stage, tmp_path, parameters):
    copy = tmp_path / f"{stage}-out.ipynb"
    content = yaml.safe_load(shop.params.read_text()) | {"outputs": str(shop.outputs)} | parameters
    way(ROOT / "notebooks" / f"{stage}.ipynb", copy, content, progress_bar=False)
    return nbformat.read(copy, 4)


def text(notebook) -> str:
    """All output text of a notebook."""
    return "\n".join(
        str(output.get("data", {}).get("text/html", "")) + str(output.get("text", ""))
        for cell in notebook.cells
        for output in cell.get("outputs", [])
    )


@pytest.mark.parametrize("way", [by_papermill_first, pytest.param(by_papermill, marks=pytest.mark.slow)])
def test_every_notebook_runs_with_a_parameters_file_alone(shop, tmp_path, way):
    """`papermill notebooks/X.ipynb OUT.ipynb -f PARAMS` works for each stage, one handing over to the next."""
    confirmed = {"execute": True, "confirm": f"{shop.name}prod"}
    assert "REVIEW" in text(way(shop, "01_analyze", tmp_path))
    assert "PASS" in text(way(shop, "02_test", tmp_path, table="Orders", **confirmed))
    migrated = text(way(shop, "03_migrate", tmp_path, **confirmed))
    for said in ("REVIEW", "All 78 values are accounted for", "All is as 01 saw it"):
        assert said in migrated
    assert len(shop.items("Orders", "prod")) == 20
    assert "REVIEW" in text(way(shop, "04_validate", tmp_path))
    checkpoint = str(sorted(shop.outputs.glob("*/migration-checkpoint-*.json"))[-1])
    assert "ROLLED_BACK" in text(way(shop, "05_rollback", tmp_path, checkpoint=checkpoint, **confirmed))
    assert shop.items("Orders", "prod") == []
    assert len(list(shop.outputs.glob("*/run.json"))) == 1


def test_a_misspelt_parameter_is_refused(shop, tmp_path):
    """papermill only warns of an unknown name; the notebook refuses it before it connects to anything."""
    with pytest.raises(papermill.PapermillExecutionError, match="exceute is not a parameter.*did you mean 'execute'"):
        by_papermill(shop, "03_migrate", tmp_path, exceute=True)
    assert not shop.outputs.exists()


def test_a_list_that_names_nothing_is_refused(shop, tmp_path):
    """papermill gives a list as text; commas alone must not mean all tables."""
    with pytest.raises(CellError, match="tables is ',', which names nothing"):
        executed(shop, "03_migrate", tmp_path, tables=",")


@pytest.mark.parametrize(("name", "value"), [("execute", "yes"), ("limit", "many"), ("keep", 1)])
def test_a_parameter_of_another_type_is_refused(shop, tmp_path, name, value):
    """Types are checked: a text for a switch is not true."""
    with pytest.raises(CellError, match=f"{name} is"):
        executed(shop, "02_test", tmp_path, **{name: value})


def test_in_batch_a_missing_confirmation_is_an_error(shop, tmp_path):
    """Nothing waits for input: without `confirm` the notebook stops, and nothing is written."""
    with pytest.raises(CellError, match="--confirm"):
        executed(shop, "02_test", tmp_path, table="Orders", execute=True)
    assert not shop.exists("Orders", "prod")


@pytest.mark.parametrize("stage", STAGES)
def test_the_banner_comes_first_and_says_the_verdict(shop, tmp_path, stage):
    """The first output of every notebook is its verdict, also where nothing is executed."""
    if stage in ("03_migrate", "04_validate"):
        executed(shop, "02_test", tmp_path, execute=True, confirm=f"{shop.name}prod")
    notebook = executed(shop, stage, tmp_path)
    first = next(cell for cell in notebook.cells if cell.get("outputs"))
    banner = first.outputs[0]["data"]
    assert banner["text/plain"].startswith(f"{stage}: ")
    assert "NOT FINISHED" not in banner["text/html"]


@pytest.mark.slow
def test_the_notebooks_run_as_they_are_opened(tmp_path):
    """nbval, lax: top to bottom with their own defaults, on the embedded world, in a project folder of their own."""
    for folder in ("notebooks", "parameters"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "-q", "-p", "no:cacheprovider", "-c", "/dev/null"]
    command += [f"--rootdir={tmp_path}", *(f"notebooks/{stage}.ipynb" for stage in STAGES)]
    with World():
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-3000:]
    assert "passed" in result.stdout
    assert len(list((tmp_path / "outputs").glob("*/migration-analysis-*.json"))) == 1
