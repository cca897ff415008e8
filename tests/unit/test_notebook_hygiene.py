"""The committed notebooks are the six, and clean; the check that says so finds what it should."""

import json

import check_notebooks
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

SIX = ["00_draft", "01_analyze", "02_test", "03_migrate", "04_validate", "05_rollback"]


def test_the_notebooks_are_the_six():
    assert sorted(path.stem for path in check_notebooks.FOLDER.glob("*.ipynb")) == SIX


@pytest.mark.parametrize("name", SIX)
def test_a_committed_notebook_is_clean(name):
    assert check_notebooks.problems(check_notebooks.FOLDER / f"{name}.ipynb") == []


def test_the_committed_notebooks_are_the_released_ones():
    """After a change of a notebook: `make notebooks`."""
    assert check_notebooks.unreleased() == []


@pytest.fixture
def clean():
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    parameters = new_code_cell("run_id = None  # an earlier run", metadata={"tags": ["parameters"]})
    cells = [new_markdown_cell("# 09 Sample"), parameters, new_code_cell("run_id")]
    return new_notebook(metadata=metadata, cells=cells)


def found(notebook, tmp_path, raw=None):
    path = tmp_path / "09_sample.ipynb"
    path.write_text(raw or nbformat.writes(notebook).rstrip("\n") + "\n", encoding="utf-8")
    return check_notebooks.problems(path)


def test_a_clean_notebook_has_no_problem(clean, tmp_path):
    assert found(clean, tmp_path) == []


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda n: n.cells[2].update(execution_count=1), "cell 3 has outputs or an execution count"),
        (lambda n: n.cells[2].outputs.append(new_output("stream", text="x")), "cell 3 has outputs"),
        (lambda n: n.cells[2].metadata.update(papermill={}), "cell 3 has metadata of a run: papermill"),
        (lambda n: n.metadata.update(papermill={}), "has extra metadata: papermill"),
        (lambda n: n.metadata.kernelspec.update(name="other"), "does not name the kernel python3"),
        (lambda n: n.cells[1].metadata.update(tags=[]), "has 0 cells tagged 'parameters'"),
        (lambda n: n.cells.insert(1, new_code_cell("1")), "has its parameters not in the first code cell"),
        (lambda n: n.cells.extend(new_code_cell("1") for _ in range(28)), "has 31 cells"),
        (lambda n: n.cells[0].update(source="# Something else"), "does not begin with a heading"),
        (lambda n: n.cells[2].update(source="def f():\n    pass"), "cell 3 defines a function"),
        (lambda n: n.cells[2].update(source="for x in []:\n    pass"), "cell 3 has a loop"),
        (lambda n: n.cells[2].update(source="try:\n    x\nexcept:\n    pass"), "cell 3 has a bare except"),
        (lambda n: n.cells[2].update(source="%matplotlib inline"), "cell 3 is not plain Python"),
        (lambda n: n.update(nbformat_minor=4), "is nbformat 4.4, not 4.5"),
    ],
)
def test_a_problem_is_found(clean, tmp_path, spoil, problem):
    spoil(clean)
    assert any(sentence.startswith(problem) for sentence in found(clean, tmp_path))


def test_doubled_ids_are_found_on_the_raw_text(clean, tmp_path):
    raw = json.loads(nbformat.writes(clean))
    raw["cells"][2]["id"] = raw["cells"][1]["id"]
    text = json.dumps(raw, indent=1, ensure_ascii=False) + "\n"
    assert "has missing or doubled cell ids" in found(clean, tmp_path, text)


def test_another_layout_of_the_same_json_is_found(clean, tmp_path):
    text = json.dumps(json.loads(nbformat.writes(clean)), indent=2) + "\n"
    assert any(sentence.startswith("is not in canonical form") for sentence in found(clean, tmp_path, text))
