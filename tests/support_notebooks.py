"""Notebooks executed in this process, by an IPython shell of their own, in the place of papermill and a kernel.

The code cells run in order, the parameters as a cell of their own behind the parameters cell, and what they display goes
into the copy, as papermill writes it. A kernel adds only what dies with it: see tests/notebooks/test_bare.py and the
interrupted commands in tests/faults for those.
"""

import atexit
import contextlib
import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from nbformat.v4 import new_code_cell, new_output
from traitlets.config import Config

from runbook_lib.cli import main
from runbook_lib.notebook import execute
from runbook_lib.run.folder import write_atomically


class CellError(Exception):
    """An exception in a cell, as papermill raises it."""

    def __init__(self, ename: str, evalue: str, traceback: list[str]):
        super().__init__(f"{ename}: {evalue}")
        self.ename, self.evalue, self.traceback = ename, evalue, traceback


class NoProgress:
    """In the place of `Progress`, which needs a kernel to show itself in."""

    def __init__(self, *_: object):
        pass

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


class _Displays(DisplayPublisher):
    """Puts what is displayed into the outputs of the cell that runs, or in the place of what has the same id."""

    def __init__(self, *arguments: Any, **named: Any):
        super().__init__(*arguments, **named)
        self.outputs: list[Any] = []
        self._by_id: dict[str, Any] = {}

    def publish(self, data: dict, metadata: dict | None = None, *, transient=None, update=False, **_: Any) -> None:
        """Called by `display`, from any thread."""
        name = (transient or {}).get("display_id")
        if update:
            if name in self._by_id:
                self._by_id[name].data = nbformat.from_dict(data)
            return
        output = new_output("display_data", data=data, metadata=metadata or {})
        self.outputs.append(output)
        if name:
            self._by_id[name] = output


def execute_notebook(source: str | Path, copy: str | Path, parameters: dict[str, Any], **_: Any) -> None:
    """Runs a notebook and writes its executed copy, as `papermill.execute_notebook`. Raises CellError, KeyboardInterrupt."""
    notebook = nbformat.read(source, 4)
    at = next(n for n, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", ()))
    lines = ["# Parameters", *(f"{name} = {value!r}" for name, value in parameters.items())]
    notebook.cells.insert(at + 1, new_code_cell("\n".join(lines), metadata={"tags": ["injected-parameters"]}))
    try:
        with _shell() as shell:
            for cell in notebook.cells:
                if cell.cell_type == "code":
                    _run(shell, cell)
    finally:
        write_atomically(Path(copy), nbformat.writes(notebook).encode())


def _run(shell: InteractiveShell, cell: Any) -> None:
    shell.display_pub.outputs = cell.outputs
    cell.execution_count = shell.execution_count
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        result = shell.run_cell(cell.source, store_history=True)
    error = result.error_before_exec or result.error_in_exec
    if error is None:
        if printed.getvalue():
            cell.outputs.append(new_output("stream", name="stdout", text=printed.getvalue()))
        return
    if isinstance(error, KeyboardInterrupt):
        raise error
    ename, evalue, lines = type(error).__name__, str(error), printed.getvalue().splitlines()
    cell.outputs.append(new_output("error", ename=ename, evalue=evalue, traceback=lines))
    raise CellError(ename, evalue, lines)


@contextlib.contextmanager
def _shell() -> Iterator[InteractiveShell]:
    """A shell that nothing has run in, the one that `get_ipython` gives until the block ends."""
    settings = Config()
    settings.HistoryManager.enabled = False
    settings.InteractiveShell.cache_size = 0  # else each shell collects the garbage of the whole process when it ends
    settings.InteractiveShell.colors = "nocolor"
    InteractiveShell.clear_instance()
    with tempfile.TemporaryDirectory() as folder:
        shell = InteractiveShell.instance(config=settings, ipython_dir=folder)
        shell.display_pub = _Displays(parent=shell)
        try:
            yield shell
        finally:
            atexit.unregister(shell.atexit_operations)
            shell.atexit_operations()
            shell.restore_sys_module_state()  # it stands in for `__main__`
            InteractiveShell.clear_instance()


def _no_pages(notebook: Path) -> tuple[Path, Path]:
    """In the place of nbconvert, which takes as long as all else: pages that say where they come from."""
    paths = (notebook.with_suffix(".html"), notebook.with_name(f"{notebook.stem}-code.html"))
    for path in paths:
        path.write_text(f"<p>{notebook.name}</p>")
    return paths


@pytest.fixture
def in_process(monkeypatch, request):
    """The command executes its notebooks here. Only with the mark `pages` it makes true HTML pages of them."""
    papermill = SimpleNamespace(
        execute_notebook=execute_notebook, exceptions=SimpleNamespace(PapermillExecutionError=CellError)
    )
    monkeypatch.setattr(execute, "papermill_with", lambda write: papermill)
    if request.node.get_closest_marker("pages") is None:
        monkeypatch.setattr(execute, "export", _no_pages)


def command(capsys: pytest.CaptureFixture, *words: object) -> tuple[int, dict[str, Any], str]:
    """Exit code, JSON result and messages of one command line, given in this process."""
    code = main([*map(str, words), "--json"])
    said = capsys.readouterr()
    assert said.out, said.err
    return code, json.loads(said.out), said.err


def run(shop: Any, capsys: pytest.CaptureFixture, name: str, *words: object, params: bool = True) -> tuple[int, dict]:
    """Exit code and JSON result of one command on a shop, with its parameters file unless `params` says no."""
    return command(capsys, name, *([shop.params] if params else []), *words, "--outputs", shop.outputs)[:2]
