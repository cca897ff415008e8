"""The notebooks by hand, in the JupyterLab that `runbook lab` opens, in headless Chromium. Slow: a server, a browser, kernels."""

import hashlib
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
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest

from runbook_lib.demo.data import ENV_REGION, EXPECTED
from runbook_lib.demo.world import World
from runbook_lib.journal.audit import verify
from runbook_lib.run.folder import Run

pytestmark = pytest.mark.slow
SMALL = [
    "Affiliates",
    "Auth",
    "AppPreferences",
    "BackOfficeBrokerage",
    "BackOfficeNotifications",
    "EmailSuppressionList",
]
SMALL += ["MemberSignature", "NotificationTemplate", "ContactUs", "eSignatureDocuments", "SecureConfig", "Legal"]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project folder of the test's own: what Lab saves does not touch the notebooks of the checkout."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    shutil.copytree(ROOT / "parameters", folder / "parameters")
    return folder


@dataclass
class Lab:
    """A JupyterLab that `runbook lab` opened."""

    address: str
    world: World
    run: Run

    @property
    def copies(self) -> Path:
        """The folder of the working copies."""
        return self.run.folder / "lab"


@pytest.fixture(scope="module")
def lab(project, browser, tmp_path_factory):
    """`runbook lab PARAMS` on the embedded world, with settings of its own, slow enough for a person to press a button."""
    home = tmp_path_factory.mktemp("jupyter")
    settings = home / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    quiet = {"fetchNews": "false", "checkForUpdates": False}
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(quiet))
    (home / "config").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server_settings = {"open_browser": False, "ip": "127.0.0.1", "port": port, "disable_check_xsrf": True}
    own = {"ServerApp": server_settings, "IdentityProvider": {"token": ""}}
    (home / "config" / "jupyter_server_config.json").write_text(json.dumps(own))
    with World() as world:
        environment = {name: value for name, value in os.environ.items() if name != "RUNBOOK_HEADLESS"} | {
            "JUPYTER_CONFIG_DIR": str(home / "config"),
            "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
            "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
            "IPYTHONDIR": str(home / "ipython"),
            "PYTHONPATH": str(ROOT),
        }
        command = [sys.executable, "-m", "runbook_lib", "lab", "parameters/demo_env_copy.yaml", "-p"]
        command += ["limits.write_units=10", "-p", "limits.workers=2"]
        with (home / "lab.log").open("wb") as log:
            server = subprocess.Popen(
                command, cwd=project, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        try:
            address = _answering(home / "runtime", server)
            (folder,) = (project / "outputs").glob("*-demo-env-copy")
            yield Lab(address, world, Run(folder.name, folder))
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
    """The page with a notebook opened and Run All Cells chosen, its first cell done.

    Now and then JupyterLab loses what it asks of a kernel that has just come up: all cells stay at `[*]` and the kernel
    idle. A person would restart the kernel and run again, and so does this.
    """
    from playwright.sync_api import TimeoutError as Late

    for seconds in (45, 45, 300):  # at last it may be the machine that is slow
        page = _opened(browser, lab, path)
        run_cells(page)
        try:
            page.locator(".jp-InputPrompt", has_text=re.compile(r"^\[1\]:?$")).first.wait_for(timeout=seconds * 1_000)
        except Late:
            page.close()
        else:
            return page
    raise AssertionError("JupyterLab runs no cell")


def _opened(browser, lab: Lab, path: Path):
    _end_kernels(lab.address)
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(120_000)
    page.goto(f"{lab.address}/lab/tree/{path.relative_to(lab.run.folder.parents[1])}?reset")
    page.locator(".jp-NotebookPanel").wait_for()
    idle(page)
    return page


def idle(page) -> None:
    """Waits until the kernel is there and has nothing to do."""
    page.locator("#jp-main-statusbar", has_text=re.compile(r"Python 3.*\| Idle")).wait_for()


def run_cells(page) -> None:
    """Run, Run All Cells."""
    choose(page, "Run", "Run All Cells")


def restart_and_run_cells(page) -> None:
    """Kernel, Restart Kernel and Run All Cells…; JupyterLab waits for the new kernel before it sends a cell."""
    choose(page, "Kernel", "Restart Kernel and Run All Cells…")
    page.locator(".jp-Dialog button", has_text="Restart").click()


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

    expect(page.locator(".jp-OutputArea-output", has_text=text).first).to_be_attached(timeout=120_000)


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
    assert {path.suffix for path in lab.run.folder.glob(f"{name}.*")} == {".ipynb", ".html"}
    return (lab.run.folder / f"{name}.html").read_text()


def until(condition, complaint: str) -> None:
    """Waits for something that no page shows."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, complaint
        time.sleep(0.05)


def digests(folder: Path) -> dict[str, str]:
    """File → SHA-256."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


def test_a_migration_by_hand(lab, browser, project):
    """01 to 05 on the working copies: paused, resumed, the kernel restarted, run twice, rolled back; each leaves its files."""
    before = digests(project / "notebooks")
    names = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert {path.stem for path in lab.copies.glob("*.ipynb")} == names
    chosen = SMALL  # a page each: whenever somebody stops, most are still to come
    writing = {"execute": True, "tables": chosen}
    client = lab.world.client(ENV_REGION)

    def count() -> int:
        found = [client.scan(TableName=f"{name}-demoprod-NONE", Select="COUNT")["Count"] for name in chosen]
        return sum(found)

    page = run_all(browser, lab, lab.copies / "01_analyze.ipynb")
    shows(page, "Save this notebook")
    assert page.locator(".jp-OutputArea-output", has_text="$0.").count() > 0
    assert page.locator("mjx-container").count() == 0  # prices are no formulas
    report = save(page, lab, "01_analyze")
    assert "REVIEW" in report
    assert "Save this notebook" not in report
    assert 'href="03_migrate' not in report  # not there yet
    page.close()

    set_parameters(lab.copies / "02_test.ipynb", execute=True, confirm="demoprod")
    page = run_all(browser, lab, lab.copies / "02_test.ipynb")
    shows(page, "every target table exists")
    shows(page, "Save this notebook")
    save(page, lab, "02_create_tables")
    page.locator(".widget-dropdown select").select_option("Requests")
    run_cells(page)
    shows(page, "items compared")
    shows(page, "Save this notebook")
    assert page.locator(".widget-dropdown select").input_value() == "Requests"
    assert 'href="01_analyze.html"' in save(page, lab, "02_test")
    page.close()

    set_parameters(lab.copies / "03_migrate.ipynb", **writing)
    there = count()
    page = run_all(browser, lab, lab.copies / "03_migrate.ipynb")
    answer(page, "demoprod", 2)
    press(page, "Pause")
    shows(page, "stop was requested")
    assert page.locator(".jupyter-button", has_text="Pause").count() == 0
    paused = count()
    report = save(page, lab, "03_migrate")
    assert "INTERRUPTED" in report

    run_cells(page)  # resumes
    answer(page, "demoprod", 2)
    page.locator(".jupyter-button", has_text="Pause").wait_for()
    restart_and_run_cells(page)
    answer(page, "demoprod", 2)
    shows(page, "this is execution 3")
    press(page, "Stop…")
    press(page, "Stop now")
    shows(page, "interrupted by hand")
    save(page, lab, "03_migrate-2")
    run_cells(page)
    answer(page, "demoprod", 2)
    shows(page, "items inserted")
    shows(page, "Save this notebook")
    assert there <= paused < count() == there + sum(EXPECTED["env_copy"]["items"][name] for name in chosen)
    assert "items inserted" in save(page, lab, "03_migrate-3")

    run_cells(page)  # a second time: it is over, and nobody is asked
    shows(page, "Nothing was written: this run was complete")
    save(page, lab, "03_migrate-4")
    page.close()

    set_parameters(lab.copies / "04_validate.ipynb", tables=chosen)
    page = run_all(browser, lab, lab.copies / "04_validate.ipynb")
    shows(page, "Save this notebook")
    assert 'href="03_migrate-4.html"' in save(page, lab, "04_validate")
    page.close()

    set_parameters(lab.copies / "05_rollback.ipynb", execute=True)
    page = run_all(browser, lab, lab.copies / "05_rollback.ipynb")
    answer(page, "demoprod", 2)
    shows(page, "items deleted")
    assert "deleted" in save(page, lab, "05_rollback")
    page.close()
    assert count() == there

    assert verify(lab.run).problems == []
    index = (lab.run.folder.parent / "index.html").read_text()
    assert f"{lab.run.id}/05_rollback.html" in index
    assert digests(project / "notebooks") == before


def test_a_wrong_answer_writes_nothing(lab, browser):
    """Another name than the target environment stops 03 before the first insert, and the banner says so."""
    path = lab.copies / "03_migrate.ipynb"
    set_parameters(path, tables=["Legal"], execute=True, run_id="a-run-of-its-own")
    page = run_all(browser, lab, path)
    answer(page, "demodev")
    shows(page, "REFUSED")
    page.close()


def test_a_notebook_of_the_repository_says_that_it_has_the_demos_parameters(lab, browser, project):
    """Opened by hand where it lies, its banner leads to `runbook lab`."""
    page = run_all(browser, lab, project / "notebooks" / "05_rollback.ipynb")
    shows(page, "These are the demo's parameters: demodev to demoprod.")
    page.close()
