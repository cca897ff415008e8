"""The notebooks by hand, in the JupyterLab that `runbook lab` opens, in headless Chromium. Slow: a server, a browser, kernels."""

import hashlib
import shutil
from pathlib import Path

import pytest
from support_lab import (
    ROOT,
    answer,
    press,
    restart_and_run_cells,
    run_all,
    run_cells,
    running_lab,
    save,
    set_parameters,
    shows,
)

from runbook_lib.demo.data import ENV_REGION, EXPECTED
from runbook_lib.demo.world import World
from runbook_lib.journal.audit import verify

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


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project folder of the test's own: what Lab saves does not touch the notebooks of the checkout."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    shutil.copytree(ROOT / "parameters", folder / "parameters")
    return folder


@pytest.fixture(scope="module")
def world():
    """The demo's tables."""
    with World() as filled:
        yield filled


@pytest.fixture(scope="module")
def lab(project, world, browser, tmp_path_factory):
    """`runbook lab PARAMS`, slow enough for a person to press a button."""
    slow = ("-p", "limits.write_units=10", "-p", "limits.workers=2")
    with running_lab(project, tmp_path_factory.mktemp("jupyter"), "parameters/demo_env_copy.yaml", *slow) as opened:
        yield opened


def digests(folder: Path) -> dict[str, str]:
    """File → SHA-256."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


def test_a_migration_by_hand(lab, world, browser, project):
    """01 to 05 on the working copies: paused, resumed, the kernel restarted, run twice, rolled back; each leaves its files."""
    before = digests(project / "notebooks")
    names = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert {path.stem for path in lab.copies.glob("*.ipynb")} == names
    chosen = SMALL  # a page each: whenever somebody stops, most are still to come
    writing = {"execute": True, "tables": chosen}
    client = world.client(ENV_REGION)

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
