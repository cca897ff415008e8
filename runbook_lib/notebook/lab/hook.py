"""A server extension of the JupyterLab that `runbook lab` starts: a saved notebook that has ended leaves its executed copy.

The copy, its pages, the index and the audit record come as after a command. Nothing happens to other files.
"""

from contextlib import suppress
from pathlib import Path
from typing import Any

from ...errors import Refused, RunbookError
from ...run.chain import CREATED
from ...run.folder import Run, open_run
from ...verdict import NOT_FINISHED
from ..execute import banner_of, keep, own_copy
from ..parameters_cell import OWN
from .copies import FOLDER

_told: set[tuple[str, str]] = set()  # (execution, problem) that a dialog has shown


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(server: Any) -> None:
    server.contents_manager.register_post_save_hook(after_save)


def after_save(os_path: str, contents_manager: Any, **_: Any) -> None:
    """Files the executed copy of what was saved. What fails is logged, and shown once: the save itself has happened."""
    from tornado.web import HTTPError

    path = Path(os_path)
    try:
        if filed := file_copy(path):
            contents_manager.log.info("runbook: filed %s", filed)
    except Exception as problem:  # whatever it is, the save must not seem lost
        contents_manager.log.error("runbook: %s was saved, but not filed", path, exc_info=not _is_said(problem))
        said = str(problem) if _is_said(problem) else type(problem).__name__
        contents_manager.log.error("runbook: %s", said)
        if (str(path), said) not in _told:
            _told.add((str(path), said))
            text = f"The notebook is saved, but its executed copy could not be filed: {said} Fix that and save again."
            raise HTTPError(500, text) from None


def _is_said(problem: Exception) -> bool:
    return isinstance(problem, RunbookError | OSError)


def file_copy(path: Path) -> Path | None:
    """The executed copy of a working copy as it was saved. None where it has not ended, or has its copy already.

    Writes to the folder of the run that the notebook worked in. Raises RunbookError, OSError.
    """
    if path.suffix != ".ipynb" or path.parent.name != FOLDER:
        return None
    result = banner_of(path)
    if (
        result.get("verdict", NOT_FINISHED) == NOT_FINISHED
        or result.get("stage") not in OWN
        or not result.get("run_id")
    ):
        return None
    run, stage = open_run(path.parents[2], str(result["run_id"])), result["stage"]
    if _has_copy(run, result.get("execution")):
        return None
    with run.saving():
        copy = own_copy(run, CREATED if result.get("copy") == CREATED else stage, path.read_bytes())
        try:
            keep(run, stage, copy, result, result["verdict"])
        except BaseException:  # the next save files it whole
            for left in (copy, copy.with_suffix(".html"), copy.with_name(f"{copy.stem}-code.html")):
                left.unlink(missing_ok=True)
            raise
    return copy


def _has_copy(run: Run, execution: Any) -> bool:
    """Whether an execution has an executed copy in the run's folder. It looks into the copies, and remembers nothing."""
    for copy in run.folder.glob("*.ipynb"):
        with suppress(OSError, ValueError, KeyError, AttributeError, TypeError, Refused):  # no notebook of ours
            if banner_of(copy)["execution"] == execution:
                return True
    return False
