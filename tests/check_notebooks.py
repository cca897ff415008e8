"""Checks committed notebooks: `python tests/check_notebooks.py [NOTEBOOK ...]` (default: all in notebooks/).

Prints one line for each problem and exits 1, or says how many are clean. Read-only.
`--release` writes their digests into the package instead: after a change of a notebook.
"""

import ast
import json
import sys
from pathlib import Path

import nbformat

from runbook_lib.run import released

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
MAX_CELLS = 30
NOTEBOOK_METADATA = {"kernelspec", "language_info"}
RUN_METADATA = {"papermill", "execution", "ExecuteTime", "collapsed", "scrolled"}
FORBIDDEN = {
    ast.FunctionDef: "defines a function",
    ast.AsyncFunctionDef: "defines a function",
    ast.ClassDef: "defines a class",
    ast.For: "has a loop",
    ast.While: "has a loop",
}


def problems(path: Path) -> list[str]:
    """Return what is wrong with a notebook, a sentence each; empty when it is clean. Read-only."""
    raw = path.read_text(encoding="utf-8")
    major, minor = (json.loads(raw).get(key) for key in ("nbformat", "nbformat_minor"))
    if (major, minor) != (4, 5):
        return [f"is nbformat {major}.{minor}, not 4.5"]
    # Not nbformat.reads: that one quietly repairs missing and doubled ids.
    notebook = nbformat.v4.reads(raw)
    ids = [cell.get("id") for cell in notebook.cells]
    found = []
    if None in ids or len(set(ids)) != len(ids):
        found.append("has missing or doubled cell ids")
    elif error := _invalid(notebook):
        found.append(f"is not valid: {error}")
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        found.append("does not name the kernel python3")
    if extra := set(notebook.metadata) - NOTEBOOK_METADATA:
        found.append(f"has extra metadata: {', '.join(sorted(extra))}")
    if "version" in notebook.metadata.get("language_info", {}):
        found.append("names the Python version it was saved with (language_info.version)")
    if len(notebook.cells) > MAX_CELLS:
        found.append(f"has {len(notebook.cells)} cells, more than {MAX_CELLS}")
    if nbformat.v4.writes(notebook).rstrip("\n") + "\n" != raw:
        found.append("is not in canonical form: write it with nbformat.writes, one line break at the end")
    return found + _title(path, notebook) + _parameters(notebook) + _cells(notebook)


def _invalid(notebook) -> str | None:
    try:
        nbformat.validate(notebook)
    except nbformat.ValidationError as error:
        return str(error).splitlines()[0]
    return None


def _title(path: Path, notebook) -> list[str]:
    first = notebook.cells[0] if notebook.cells else None
    heading = first.source.partition("\n")[0].lower() if first and first.cell_type == "markdown" else ""
    if heading.startswith("# ") and all(word in heading for word in path.stem.lower().split("_")):
        return []
    return [f"does not begin with a heading that names it, such as '# {path.stem.replace('_', ' ')}'"]


def _parameters(notebook) -> list[str]:
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        return [f"has {len(tagged)} cells tagged 'parameters', not one"]
    return [] if tagged[0] is code[0] else ["has its parameters not in the first code cell"]


def _cells(notebook) -> list[str]:
    found = []
    for number, cell in enumerate(notebook.cells, 1):
        if run := set(cell.metadata) & RUN_METADATA:
            found.append(f"cell {number} has metadata of a run: {', '.join(sorted(run))}")
        if cell.cell_type != "code":
            continue
        if cell.outputs or cell.execution_count is not None:
            found.append(f"cell {number} has outputs or an execution count")
        try:
            tree = ast.parse(cell.source)
        except SyntaxError:
            found.append(f"cell {number} is not plain Python")
            continue
        for node in ast.walk(tree):
            if reason := FORBIDDEN.get(type(node)):
                found.append(f"cell {number} {reason}")
            if isinstance(node, ast.ExceptHandler) and node.type is None:
                found.append(f"cell {number} has a bare except")
    return found


def unreleased() -> list[str]:
    """Return the stages whose notebook is not the one that `released.json` knows. Read-only."""
    found = {path.stem: released.digest(path) for path in FOLDER.glob("*.ipynb")}
    return sorted(stage for stage, _ in found.items() ^ released.released().items())


def release() -> None:
    """Write the digests of the committed notebooks into the package."""
    found = {path.stem: released.digest(path) for path in sorted(FOLDER.glob("*.ipynb"))}
    released.RELEASED.write_text(json.dumps(found, indent=2) + "\n")


def main(arguments: list[str]) -> int:
    """Return the exit code: 0 all clean, 1 problems, which are printed. `--release` writes their digests instead."""
    if arguments == ["--release"]:
        release()
        return 0
    paths = [Path(name) for name in arguments] or sorted(FOLDER.glob("*.ipynb"))
    lines = [f"{path.name} {problem}" for path in paths for problem in problems(path)]
    lines += [f"{stage}.ipynb is not the released one: run `make notebooks`" for stage in dict.fromkeys(unreleased())]
    print("\n".join(lines) or f"{len(paths)} notebooks clean")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
