"""Whether a notebook is as it was released: digests over the sources of its cells.

What a cell with the tag of a parameters cell sets does not count, as long as it only sets literal values.
"""

import ast
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ..verdict import Alert

RELEASED = Path(__file__).with_name("released.json")  # stage → digest; `make notebooks` writes it
_PARAMETERS = {"parameters", "injected-parameters"}
_ERROR = "papermill-error-cell-tag"  # of cells that papermill adds where a notebook stopped
DIFFERS = "this notebook differs from the released one"
NOTE = Alert(
    "", "", DIFFERS, "Compare it with the one in the folder notebooks of your version; its results are its own."
)


class Notebook(NamedTuple):
    """What is known of a notebook that was executed."""

    name: str | None  # of its file
    source_sha256: str | None  # over its cells, None where it is not known what was executed
    released: bool | None  # None: not known

    def notes(self) -> list[Alert]:
        """The note for a report, where it differs."""
        return [NOTE] if self.released is False else []


UNKNOWN = Notebook(None, None, None)


@cache
def released() -> dict[str, str]:
    """Stage → the digest of its released notebook. Read-only."""
    return json.loads(RELEASED.read_bytes())


def digest(path: Path) -> str:
    """SHA-256 in hex over type and source of a notebook's cells, in order. Raises OSError, ValueError. Read-only."""
    return _digest(_cells(path))


def _digest(cells: Iterable[tuple[str, str]]) -> str:
    return hashlib.sha256(json.dumps(list(cells)).encode()).hexdigest()


def look(stage: str, path: Path | None, executed: Iterable[str] = ()) -> Notebook:
    """What is known of the notebook in a file, executed for a stage. Read-only.

    `executed` are the sources of cells that ran: where one of them is not in the file, something else was executed.
    """
    if path is None:
        return UNKNOWN
    try:
        cells = _cells(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Notebook(path.name, None, None)
    sources = {source.strip() for _, source in cells} | {""}
    if any(source.strip() not in sources and not _sets_values(source) for source in executed):
        return Notebook(path.name, None, False)
    found = _digest(cells)
    return Notebook(path.name, found, found == released().get(stage))


def _cells(path: Path) -> list[tuple[str, str]]:
    """Type and source of the cells that count."""
    found = []
    for cell in json.loads(path.read_bytes())["cells"]:
        tags, source = {*cell["metadata"].get("tags", ())}, "".join(cell["source"])
        kind = cell["cell_type"]
        is_added = kind == "markdown" and _ERROR in tags  # with that tag, code still runs
        if not is_added and not (tags & _PARAMETERS and _sets_values(source)):
            found.append((kind, source))
    return found


def _sets_values(source: str) -> bool:
    """Whether a cell only gives names literal values."""
    try:
        return all(map(_is_value, ast.parse(source).body))
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # what is nested too deeply runs out of either
        return False


def _is_value(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.Assign | ast.AnnAssign):
        return False
    if isinstance(statement, ast.AnnAssign) and not isinstance(statement.annotation, ast.Name):
        return False  # an annotation is executed
    targets: list[Any] = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    ast.literal_eval(statement.value)
    return all(isinstance(target, ast.Name) for target in targets)
