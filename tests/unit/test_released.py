"""Whether a notebook that was executed is the released one."""

import json

import check_notebooks
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell

from runbook_lib import process
from runbook_lib.run.released import UNKNOWN, digest, look

STAGE = "01_analyze"


@pytest.fixture
def notebook():
    """The released notebook, as nbformat reads it."""
    return nbformat.read(check_notebooks.FOLDER / f"{STAGE}.ipynb", 4)


def looked(notebook, folder, executed=()):
    """What is known of a notebook that lies in a folder."""
    path = folder / "my copy.ipynb"
    path.write_text(nbformat.writes(notebook))
    return look(STAGE, path, executed)


def parameters_of(notebook):
    """Its parameters cell."""
    return next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))


def injected(notebook, source):
    """Adds a cell of parameters as papermill does."""
    at = notebook.cells.index(parameters_of(notebook)) + 1
    notebook.cells.insert(at, new_code_cell(source, metadata={"tags": ["injected-parameters"]}))


def unchanged(notebook):
    """Nothing."""


def executed(notebook):
    """Outputs, counts and the error cells of papermill are no sources."""
    notebook.cells[2].update(execution_count=3)
    notebook.cells.insert(0, new_markdown_cell("Stopped.", metadata={"tags": ["papermill-error-cell-tag"]}))


@pytest.mark.parametrize(
    "change",
    [
        unchanged,
        executed,
        lambda n: parameters_of(n).update(
            source="mapping = 'mine.yaml'\nsource: dict = {'environment': 'dev'}  # mine"
        ),
        lambda n: injected(n, "# Parameters\nmapping = 'mine.yaml'\nlimits = {'workers': 2}\n"),
    ],
)
def test_values_of_parameters_and_results_are_no_difference(notebook, tmp_path, change):
    change(notebook)
    found = looked(notebook, tmp_path)
    assert found == ("my copy.ipynb", digest(check_notebooks.FOLDER / f"{STAGE}.ipynb"), True)
    assert found.notes() == []


@pytest.mark.parametrize(
    "change",
    [
        lambda n: n.cells[0].update(source="# 01 Analyze, improved"),
        lambda n: n.cells.append(new_code_cell("1 + 1")),
        lambda n: n.cells.pop(),
        lambda n: n.cells.reverse(),
        lambda n: parameters_of(n).update(source="mapping = open('names').read()"),
        lambda n: injected(n, "import os\nos.remove('x')"),
        lambda n: injected(n, "run_id: exec('import os') = 'mine'"),
        lambda n: injected(n, "x = " + "-" * 100_000 + "1"),
        lambda n: n.cells.append(new_code_cell("1 + 1", metadata={"tags": ["papermill-error-cell-tag"]})),
    ],
)
def test_a_changed_cell_is_a_difference(notebook, tmp_path, change):
    """Also a cell of parameters that does more than give names a value."""
    change(notebook)
    found = looked(notebook, tmp_path)
    assert (found.released, len(found.source_sha256)) == (False, 64)
    assert [alert.level for alert in found.notes()] == [""]


def test_another_stage_s_notebook_is_a_difference(tmp_path):
    """It is not what the stage was released with."""
    assert look(STAGE, check_notebooks.FOLDER / "02_test.ipynb").released is False


def test_what_ran_and_is_not_in_the_file_is_a_difference(notebook, tmp_path):
    """JupyterLab has not saved it: what was executed as a whole is not known."""
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    values = "mapping = 'mine.yaml'\nsource = {}"
    assert looked(notebook, tmp_path, ["", values, cells[1] + "\n", *cells[2:]]).released is True
    assert looked(notebook, tmp_path, [cells[1], "plan.routes.clear()"]) == ("my copy.ipynb", None, False)


@pytest.mark.parametrize("text", [None, "", "[]", '{"cells": [{}]}', '{"cells": 1}'])
def test_where_the_file_says_nothing_nothing_is_claimed(text, tmp_path):
    path = tmp_path / "gone.ipynb"
    if text is not None:
        path.write_text(text)
    assert look(STAGE, path) == ("gone.ipynb", None, None)
    assert look(STAGE, None) == UNKNOWN


def test_the_file_is_named_by_who_executes_it(monkeypatch, tmp_path):
    """A kernel that papermill starts from JupyterLab inherits the name of the notebook that called it."""
    for name in (process.HEADLESS, process.NOTEBOOK):
        monkeypatch.delenv(name, raising=False)
    assert process.notebook_file(interactive=True) is None
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "mine.ipynb"))
    assert process.notebook_file(interactive=True) == tmp_path / "mine.ipynb"
    assert process.notebook_file(interactive=False) is None
    with process.headless(tmp_path / "copy.ipynb"):
        assert process.notebook_file(interactive=False) == tmp_path / "copy.ipynb"
    assert process.notebook_file(interactive=False) is None


def test_the_committed_digests_are_sorted_json():
    """As `make notebooks` writes them."""
    text = check_notebooks.released.RELEASED.read_text()
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"
