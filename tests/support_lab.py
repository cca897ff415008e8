"""JupyterLab as `runbook lab` opens it, and what a person does in it, in headless Chromium: for tests and pictures."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nbformat

from runbook_lib.run.folder import Run

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = 120_000  # milliseconds


@dataclass
class Lab:
    """A JupyterLab that `runbook lab` opened."""

    address: str
    run: Run

    @property
    def copies(self) -> Path:
        """The folder of the working copies."""
        return self.run.folder / "lab"


@contextmanager
def running_lab(project: Path, home: Path, *words: str) -> Iterator[Lab]:
    """A block in which `runbook lab` with these words works in a project, with Jupyter's settings in `home` alone."""
    quiet = {"fetchNews": "false", "checkForUpdates": False}
    # Else a cell out of sight is not in the page, and a kernel outlives its tab.
    whole = {"windowingMode": "none", "kernelShutdown": True}
    for name, content in (("apputils-extension/notification", quiet), ("notebook-extension/tracker", whole)):
        file = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(content))
    (home / "config").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server_settings = {"open_browser": False, "ip": "127.0.0.1", "port": port, "disable_check_xsrf": True}
    own = {"ServerApp": server_settings, "IdentityProvider": {"token": ""}}
    (home / "config" / "jupyter_server_config.json").write_text(json.dumps(own))
    environment = {name: value for name, value in os.environ.items() if name != "RUNBOOK_HEADLESS"} | {
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "IPYTHONDIR": str(home / "ipython"),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "runbook_lib", "lab", *words]
    with (home / "lab.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=project, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        address = _answering(home / "runtime", server)
        folder = max((project / "outputs").glob("2*"))
        yield Lab(address, Run(folder.name, folder))
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)


def _answering(runtime: Path, server: subprocess.Popen) -> str:
    """The address of the server once it answers: it says which port it has, another one where its own was taken meanwhile."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        assert server.poll() is None, "JupyterLab ended early"
        try:
            told = next(runtime.glob("jpserver-*.json")).read_text()
            address = json.loads(told)["url"].rstrip("/")
            urllib.request.urlopen(address + "/api/status", timeout=10).read()
            return address
        except (OSError, ValueError, StopIteration):  # not yet there; not yet whole
            time.sleep(0.1)
    raise AssertionError("JupyterLab does not answer")


def run_all(browser, lab: Lab, path: Path):
    """A page of its own with a notebook opened in a new kernel, and Run All Cells chosen."""
    _end_kernels(lab.address)
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(PATIENCE)
    page.goto(f"{lab.address}/lab/tree/{path.relative_to(lab.run.folder.parents[1])}?reset")
    page.locator(".jp-NotebookPanel").wait_for()
    _idle(page)
    run_cells(page)
    return page


def run_next(page, stage: str) -> None:
    """Follows the link to another notebook in the one that is open, closes that one, and chooses Run All Cells."""
    from playwright.sync_api import expect

    page.locator(f".jp-MarkdownOutput a >> text={stage}").last.click()
    page.locator(".jp-NotebookPanel").nth(1).wait_for()
    page.locator("#jp-main-dock-panel .lm-TabBar-tab:not(.lm-mod-current) .lm-TabBar-tabCloseIcon").click()
    expect(page.locator(".jp-NotebookPanel")).to_have_count(1, timeout=PATIENCE)
    _idle(page)
    run_cells(page)


def _idle(page) -> None:
    """Waits until the kernel is there and has nothing to do: without one, Run All Cells asks which one to take."""
    page.locator("#jp-main-statusbar", has_text=re.compile(r"Python 3.*\| Idle")).wait_for()


def run_cells(page) -> None:
    """Run, Run All Cells."""
    choose(page, "Run", "Run All Cells")


def restart_and_run_cells(page) -> None:
    """Kernel, Restart Kernel and Run All Cells…; JupyterLab waits for the new kernel before it sends a cell."""
    choose(page, "Kernel", "Restart Kernel and Run All Cells…")
    page.locator(".jp-Dialog button", has_text="Restart").click()


def reload(page, text: str) -> None:
    """File, Reload Notebook from Disk; `text` is what the file has and the page did not have."""
    choose(page, "File", "Reload Notebook from Disk")
    page.locator(".cm-content", has_text=text).wait_for()


def choose(page, menu: str, entry: str) -> None:
    """Chooses from a menu of the main menu bar."""
    page.locator(f"#jp-MainMenu >> text={menu}").first.click()
    page.locator(".lm-Menu-itemLabel", has_text=re.compile(rf"^{entry}$")).click()


def _end_kernels(lab: str) -> None:
    with urllib.request.urlopen(f"{lab}/api/sessions") as reply:
        for session in json.load(reply):
            ended = urllib.request.Request(f"{lab}/api/sessions/{session['id']}", method="DELETE")
            urllib.request.urlopen(ended).close()


def shows(page, text: str) -> None:
    """Waits until some output has this text."""
    from playwright.sync_api import expect

    expect(page.locator(".jp-OutputArea-output", has_text=text).first).to_be_attached(timeout=PATIENCE)


def set_parameters(path: Path, **values: object) -> None:
    """Edits the parameters cell as a person would."""
    notebook = nbformat.read(path, 4)
    cell = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    for name, value in values.items():
        cell.source = re.sub(
            rf"^{name}: (\w+) = .*?(  #|$)", rf"{name}: \1 = {value!r}\2", cell.source, flags=re.MULTILINE
        )
    nbformat.write(notebook, path)


def answer(page, text: str, times: int = 1) -> None:
    """Types into the input fields that a cell opens."""
    for _ in range(times):
        page.locator(".jp-Stdin-input").last.wait_for()
        field = page.locator(".jp-Stdin-input").last.element_handle()  # this one, whatever comes after it
        field.fill(text)
        field.press("Enter")
        field.wait_for_element_state("hidden")


def press(page, label: str) -> None:
    """Clicks a button of the notebook's own."""
    page.locator(".jupyter-button", has_text=re.compile(rf"^{label}$")).click()


def save(page, lab: Lab, name: str) -> str:
    """Ctrl-S, and the text of the report that this files, once its audit record is there."""
    page.keyboard.press("Escape")
    page.keyboard.press("Control+s")
    recorded = lab.run.folder / "audit.jsonl"
    until(lambda: f'"{name}-code.html"' in recorded.read_text(), f"{name} is not filed")
    # Else JupyterLab asks before it closes.
    page.locator("#jp-main-dock-panel .jp-mod-dirty").wait_for(state="detached")
    filed = {path.name for path in lab.run.folder.glob(f"{name}.*")}
    assert filed == {f"{name}.ipynb", f"{name}.html"}, filed
    return (lab.run.folder / f"{name}.html").read_text()


def until(condition, complaint: str) -> None:
    """Waits for something that no page shows."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, complaint
        time.sleep(0.05)
