"""The working copies of the notebooks in a run's folder: made once, then theirs who works in them."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import Refused
from ...parameters import Parameters
from ...run.files import make_folder, read_json, write_atomically
from ...run.folder import Run
from ..execute import notebook_path
from ..parameters_cell import OWN
from . import cell

FOLDER = "lab"  # of the run's folder; the audit chain leaves it out
ABOUT = "runbook"  # in a copy's metadata: the release that it was made from, and what was filled in


def prepare(run: Run, parameters: Parameters) -> list[str]:
    """Makes the run's working copies, their parameters filled in; gives what else there is to say, a sentence each.

    A copy that is there stays as it is. Only parameters that have changed since they were filled in are filled in again,
    and where the released notebook is another than it was made from, the copy is set aside and a new one made.
    Writes to `lab` in the run's folder. Raises Refused where that is a symlink, OSError.
    """
    folder = run.folder / FOLDER
    make_folder(folder)
    values, told = cell.of_run(parameters, run), []
    for stage in OWN:
        path, released = folder / f"{stage}.ipynb", notebook_path(stage).read_bytes()
        kept = _read(path)
        if path.exists() and (kept is None or kept["metadata"].get(ABOUT, {}).get("release") != _digest(released)):
            aside = _free(path)
            path.rename(aside)
            why = "cannot be read" if kept is None else "was made from another release of the notebook"
            told.append(f"{path.name} {why}: it is {aside.name} now, and {path.name} is new.")
            kept = None
        content, changed = _with(kept or json.loads(released), values, _digest(released))
        if changed is None:
            told.append(f"{path.name}: its parameters cell cannot be read and was left as it is.")
        elif kept is None or changed:
            write_atomically(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
        if kept is not None and changed:
            told.append(f"{path.name}: filled in again, because it changed: {', '.join(changed)}.")
    return told


def _with(notebook: dict[str, Any], values: Mapping[str, str], release: str) -> tuple[dict[str, Any], list[str] | None]:
    """The notebook with the values that it was not filled with before, and their names; None where its cell is no Python."""
    before = notebook["metadata"].get(ABOUT, {}).get("filled", {})
    changed = {name: value for name, value in values.items() if before.get(name) != value}
    for one in notebook["cells"]:
        if "parameters" in one["metadata"].get("tags", ()):
            try:
                source = cell.filled("".join(one["source"]), changed)
            except SyntaxError:
                return notebook, None
            one["source"] = source.splitlines(keepends=True)
    notebook["metadata"][ABOUT] = {"release": release, "filled": dict(values)}
    return notebook, list(changed)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = read_json(path)
        return content if isinstance(content["metadata"], dict) and isinstance(content["cells"], list) else None
    except (OSError, ValueError, KeyError, TypeError, Refused):
        return None


def _digest(released: bytes) -> str:
    return hashlib.sha256(released).hexdigest()


def _free(path: Path) -> Path:
    """A name for what is set aside that nothing has."""
    number = 1
    while (aside := path.with_name(f"{path.stem}-before-{number}.ipynb")).exists():
        number += 1
    return aside
