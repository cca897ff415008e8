"""`runbook lab`: the run, its working copies, and JupyterLab on them."""

import os
import subprocess
import sys

from ...parameters import Parameters, project_root
from ...process import visible
from ...run.folder import Run
from ...stages.selection import DRAFT, LAB, mapping_for, select_run
from .copies import FOLDER, prepare

HOOK = "runbook_lib.notebook.lab.hook"  # loaded by this JupyterLab alone


def choose(parameters: Parameters, outputs: str, name: str, run_id: str | None = None) -> Run:
    """The run to work in: the one named, the latest of the same migration that is not rolled back, or a new one.

    The mapping file need not exist yet, nor be right: 00 writes it, and 01 says what is wrong with it. Raises Refused.
    """
    return select_run(LAB, parameters, mapping_for(DRAFT, parameters), outputs=outputs, run_id=run_id, name=name)


def open_lab(run: Run, parameters: Parameters) -> int:
    """JupyterLab on the run's working copies until it ends; gives its exit code. Writes to the run's folder."""
    with run.saving():
        for sentence in prepare(run, parameters):
            print(visible(sentence), file=sys.stderr)
    folder = (run.folder / FOLDER).resolve()
    first = "01_analyze" if parameters.mapping_path().exists() else DRAFT
    sides = f"{parameters.source.environment} → {parameters.target.environment}"
    print(visible(f"{run.id}: {sides}"))
    print(visible(f"JupyterLab on {folder}: it opens {first}; Run All Cells, then the next."), flush=True)
    try:
        return subprocess.call(command(run, first))
    except KeyboardInterrupt:
        return 0


def command(run: Run, first: str) -> list[str]:
    """The command line that opens JupyterLab on a run's copies, `first` in front, with the hook that files executed copies.

    The rest is the user's own configuration of Jupyter.
    """
    folder, root = (run.folder / FOLDER).resolve(), project_root()
    if not folder.is_relative_to(root):
        root = run.folder.parent.resolve()
    words = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={root}"]
    words += [f"--ServerApp.jpserver_extensions={HOOK}=True"]
    words += [f"--LabApp.default_url=/lab/tree/{folder.relative_to(root).as_posix()}/{first}.ipynb"]
    return words + (["--allow-root"] if os.geteuid() == 0 else [])
