"""The notebooks in JupyterLab, as a person meets them, in headless Chromium. Slow: a server, a browser, kernels."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

from runbook_lib.demo.world import World

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project folder of the test's own: what Lab saves does not touch the notebooks of the checkout."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    shutil.copytree(ROOT / "parameters", folder / "parameters")
    return folder


@pytest.fixture(scope="module")
def lab(project, browser, tmp_path_factory):
    """JupyterLab on the embedded world, with settings of its own; gives its address."""
    home = tmp_path_factory.mktemp("jupyter")
    settings = home / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    quiet = {"fetchNews": "false", "checkForUpdates": False}
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(quiet))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with World():
        environment = {name: value for name, value in os.environ.items() if name != "RUNBOOK_HEADLESS"} | {
            "JUPYTER_CONFIG_DIR": str(home / "config"),
            "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
            "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
            "IPYTHONDIR": str(home / "ipython"),
        }
        command = [
            sys.executable,
            "-m",
            "jupyterlab",
            "--no-browser",
            "--allow-root",
            "--ip=127.0.0.1",
            f"--port={port}",
        ]
        command += [
            "--ServerApp.disable_check_xsrf=True",
            "--IdentityProvider.token=",
            "--ServerApp.password=",
        ]
        command += [
            f"--ServerApp.root_dir={project}",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        ]
        with (home / "lab.log").open("wb") as log:
            server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            yield _answering(home / "runtime", server)
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(15)
            except subprocess.TimeoutExpired:
                server.kill()


def _answering(runtime: Path, server: subprocess.Popen) -> str:
    """The address of the server once it answers: it says which port it has, another one where its own was taken meanwhile."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        assert server.poll() is None, "JupyterLab ended early"
        try:
            told = (runtime / f"jpserver-{server.pid}.json").read_text()
            address = json.loads(told)["url"].rstrip("/")
            urllib.request.urlopen(address + "/api/status", timeout=10).read()
            return address
        except (OSError, ValueError):  # not yet there; not yet whole
            time.sleep(0.1)
    raise AssertionError("JupyterLab does not answer")


def run_all(browser, lab: str, stage: str):
    """The page with a notebook opened and Run All Cells chosen, its first cell done.

    Now and then JupyterLab loses what it asks of a kernel that has just come up: all cells stay at `[*]` and the kernel
    idle. A person would restart the kernel and run again, and so does this.
    """
    from playwright.sync_api import TimeoutError as Late

    for _ in range(2):
        page = _open_and_run(browser, lab, stage)
        try:
            _first_cell_done(page)
        except Late:
            page.close()
        else:
            return page
    page = _open_and_run(browser, lab, stage)
    _first_cell_done(page, 300)  # it may be the machine that is slow
    return page


def _open_and_run(browser, lab: str, stage: str):
    _end_kernels(lab)
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(300_000)
    page.goto(f"{lab}/lab/tree/notebooks/{stage}.ipynb?reset")
    page.locator(".jp-NotebookPanel").wait_for()
    page.locator("#jp-main-statusbar", has_text=re.compile(r"Python 3.*\| Idle")).wait_for()
    page.locator("#jp-MainMenu >> text=Run").first.click()
    page.locator(".lm-Menu-itemLabel", has_text=re.compile(r"^Run All Cells$")).click()
    return page


def _first_cell_done(page, seconds: int = 45) -> None:
    page.locator(".jp-InputPrompt", has_text=re.compile(r"^\[1\]:?$")).first.wait_for(timeout=seconds * 1_000)


def _end_kernels(lab: str) -> None:
    with urllib.request.urlopen(f"{lab}/api/sessions") as reply:
        for session in json.load(reply):
            ended = urllib.request.Request(f"{lab}/api/sessions/{session['id']}", method="DELETE")
            urllib.request.urlopen(ended).close()


def banner(page, word: str) -> None:
    """Waits until the verdict at the top says `word`."""
    from playwright.sync_api import expect

    expect(page.locator(".jp-OutputArea-output", has_text=word).first).to_be_visible(timeout=300_000)


def set_parameters(project: Path, stage: str, **values: object) -> None:
    """Edits the parameters cell as a person would."""
    path = project / "notebooks" / f"{stage}.ipynb"
    notebook = nbformat.read(path, 4)
    cell = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    for name, value in values.items():
        cell.source = re.sub(
            rf"^{name}: (\w+) = .*?(  #|$)", rf"{name}: \1 = {value!r}\2", cell.source, flags=re.MULTILINE
        )
    nbformat.write(notebook, path)


def answer(page, text: str) -> None:
    """Types into the input field that a cell has opened."""
    page.locator(".jp-Stdin-input").last.wait_for()
    field = page.locator(".jp-Stdin-input").last.element_handle()  # this one, whatever comes after it
    field.fill(text)
    field.press("Enter")
    field.wait_for_element_state("hidden")


def test_a_person_steps_through_analysis_test_and_migration(lab, browser, project, tmp_path):
    """01 shows its verdict; 02 offers its dropdown; 03 asks twice for the environment before it writes."""
    from playwright.sync_api import expect

    page = run_all(browser, lab, "01_analyze")
    banner(page, "REVIEW")
    page.screenshot(path=str(tmp_path / "analyze.png"))
    page.close()

    set_parameters(project, "02_test", table="Requests", execute=True, confirm="demoprod")
    page = run_all(browser, lab, "02_test")
    banner(page, "PASS")
    expect(page.locator(".widget-dropdown select")).to_have_count(1, timeout=60_000)
    page.close()

    set_parameters(project, "03_migrate", tables=["Contacts"], execute=True)
    page = run_all(browser, lab, "03_migrate")
    answer(page, "demoprod")
    answer(page, "demoprod")
    banner(page, "300 of 300 items inserted")
    page.close()


def test_a_wrong_answer_writes_nothing(lab, browser, project):
    """Another name than the target environment stops 03 before the first insert, and the banner says so."""
    set_parameters(project, "03_migrate", tables=["Legal"], execute=True)
    page = run_all(browser, lab, "03_migrate")
    answer(page, "demodev")
    banner(page, "REFUSED")
    page.close()
