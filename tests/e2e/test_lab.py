"""The notebooks by hand, in the JupyterLab that `runbook lab` opens, in headless Chromium. Slow: a server, a browser, kernels."""

import hashlib
import shutil
import time
from pathlib import Path

import pytest
import yaml
from support_lab import (
    ROOT,
    answer,
    press,
    reload,
    restart_and_run_cells,
    run_all,
    run_cells,
    run_next,
    running_lab,
    save,
    set_parameters,
    shows,
    until,
)

from runbook_lib.demo.data import ENV_REGION, EXPECTED
from runbook_lib.demo.world import World
from runbook_lib.journal.audit import verify
from runbook_lib.run.folder import Run
from runbook_lib.stages.follow.gate import ask, follower

pytestmark = pytest.mark.slow
CHOSEN = [
    "BackOfficeBookingStatuses",
    "BackOfficeRoleTypes",
    "BackOfficeRequestStatuses",
    "BackOfficeQuoteStatuses",
    "BackOfficeProjectStatuses",
    "BackOfficeBrokerage",
    "Legal",
    "SecureConfig",
    "NotificationTemplate",
    "BackOfficeProducts",
]  # a page each: whenever somebody stops, most are still to come
OTHERS = [
    "Contacts",
    "Properties",
    "Requests",
    "SESReputationMetrics",
]  # references, some of them dangling; a missing table


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project folder of the test's own: what Lab saves does not touch the notebooks of the checkout. A third of the tables."""
    return project_in(tmp_path_factory.mktemp("project"))


def project_in(folder: Path) -> Path:
    """The folder, filled."""
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    shutil.copytree(ROOT / "parameters", folder / "parameters")
    path = folder / "parameters/mappings/demo_env_copy.yaml"
    mapping = yaml.safe_load(path.read_text())
    mapping["tables"] = {name: mapping["tables"][name] for name in [*OTHERS, *CHOSEN]}
    path.write_text(yaml.safe_dump(mapping, sort_keys=False))
    return folder


@pytest.fixture(scope="module")
def world():
    """The demo's tables."""
    with World() as filled:
        yield filled


@pytest.fixture(scope="module")
def lab(project, world, browser, tmp_path_factory):
    """`runbook lab PARAMS`, so slow that nobody is too late to press a button: 03 would take 25 seconds."""
    slow = ("-p", "limits.write_units=4", "-p", "limits.workers=2")
    with running_lab(project, tmp_path_factory.mktemp("jupyter"), "parameters/demo_env_copy.yaml", *slow) as opened:
        yield opened


def digests(folder: Path) -> dict[str, str]:
    """File → SHA-256."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


def test_a_migration_by_hand(lab, world, browser, project):
    """00 to 05 on the working copies: paused, resumed, the kernel restarted, run twice, rolled back; each leaves its files."""
    before = digests(project / "notebooks")
    names = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert {path.stem for path in lab.copies.glob("*.ipynb")} == names
    client = world.client(ENV_REGION)

    def count() -> int:
        found = [client.scan(TableName=f"{name}-demoprod-NONE", Select="COUNT")["Count"] for name in CHOSEN]
        return sum(found)

    def wait_for_more(than: int) -> None:
        until(lambda: count() > than, "nothing is inserted")

    mapping = project / "parameters/mappings/demo_env_copy.yaml"
    own = mapping.read_text()
    set_parameters(lab.copies / "00_draft.ipynb", force=True)
    page = run_all(browser, lab, lab.copies / "00_draft.ipynb")
    shows(page, "Save this notebook")
    assert "certain" in save(page, lab, "00_draft")
    assert own != mapping.read_text()
    mapping.write_text(own)  # a person corrects what the data cannot know

    run_next(page, "01_analyze")
    shows(page, "Save this notebook")
    assert page.locator(".jp-OutputArea-output", has_text="$0.").count() > 0
    assert page.locator("mjx-container").count() == 0  # prices are no formulas
    report = save(page, lab, "01_analyze")
    assert "REVIEW" in report
    assert "Save this notebook" not in report
    assert 'href="03_migrate' not in report  # not there yet

    set_parameters(lab.copies / "02_test.ipynb", execute=True, confirm="demoprod")
    run_next(page, "02_test")
    shows(page, "every target table exists")
    shows(page, "Save this notebook")
    save(page, lab, "02_create_tables")
    page.locator(".widget-dropdown select").select_option("Requests")
    run_cells(page)
    shows(page, "items compared")
    shows(page, "Save this notebook")
    assert page.locator(".widget-dropdown select").input_value() == "Requests"
    assert 'href="01_analyze.html"' in save(page, lab, "02_test")

    set_parameters(lab.copies / "03_migrate.ipynb", tables=CHOSEN, execute=True)
    there = count()
    run_next(page, "03_migrate")
    answer(page, "demoprod", 2)
    wait_for_more(there)
    press(page, "Pause")
    shows(page, "stop was requested")
    assert page.locator(".jupyter-button", has_text="Pause").count() == 0
    paused = count()
    report = save(page, lab, "03_migrate")
    assert "INTERRUPTED" in report

    run_cells(page)  # resumes
    answer(page, "demoprod", 2)
    wait_for_more(paused)
    restart_and_run_cells(page)
    answer(page, "demoprod", 2)
    shows(page, "this is execution 3")
    press(page, "Stop…")
    press(page, "Stop now")
    shows(page, "interrupted by hand")
    save(page, lab, "03_migrate-2")

    set_parameters(lab.copies / "03_migrate.ipynb", limits={"workers": 2})  # as fast as it goes
    reload(page, "limits: dict = {'workers': 2}")
    run_cells(page)
    answer(page, "demoprod", 2)
    shows(page, "items inserted")
    shows(page, "Save this notebook")
    assert there < paused < count() == there + sum(EXPECTED["env_copy"]["items"][name] for name in CHOSEN)
    assert "items inserted" in save(page, lab, "03_migrate-3")

    run_cells(page)  # a second time: it is over, and nobody is asked
    shows(page, "Nothing was written: this run was complete")
    save(page, lab, "03_migrate-4")

    set_parameters(lab.copies / "04_validate.ipynb", tables=CHOSEN)
    run_next(page, "04_validate")
    shows(page, "Save this notebook")
    assert 'href="03_migrate-4.html"' in save(page, lab, "04_validate")

    set_parameters(lab.copies / "05_rollback.ipynb", execute=True)
    run_next(page, "05_rollback")
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


def test_following_by_hand(browser, tmp_path):
    """Paused, resumed, stopped at once, resumed; the gate's answer ends it, and stands at the top of the notebook."""
    project, home, chosen = tmp_path / "project", tmp_path / "jupyter", CHOSEN[:2]
    project.mkdir()
    with World() as world, running_lab(project_in(project), home, "parameters/demo_env_copy.yaml") as lab:
        client, run = world.client(ENV_REGION), Run(lab.copies.parent.name, lab.copies.parent)
        for name in chosen:
            view = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
            client.update_table(TableName=f"{name}-demodev-NONE", StreamSpecification=view)
        set_parameters(lab.copies / "03_migrate.ipynb", tables=chosen, execute=True, follow=True)
        page = run_all(browser, lab, lab.copies / "03_migrate.ipynb")
        answer(page, "demoprod", 2)
        until(lambda: follower(run), "nothing follows")
        shows(page, "following 2 tables")
        press(page, "Pause")
        shows(page, "stop was requested")
        assert "INTERRUPTED" in save(page, lab, "03_migrate")

        run_cells(page)
        answer(page, "demoprod", 2)
        until(lambda: follower(run), "nothing follows")
        press(page, "Stop…")
        press(page, "Stop now")
        shows(page, "interrupted by hand")
        assert "INTERRUPTED" in save(page, lab, "03_migrate-2")

        run_cells(page)
        answer(page, "demoprod", 2)
        until(lambda: follower(run), "nothing follows")
        found = ask(run, 0.0, accept_drift=False, waiting=lambda _: time.sleep(0.2))
        assert found["open"]
        shows(page, f"the application may write to the target from {found['moment']} on")
        shows(page, "Save this notebook")
        assert found["moment"] in save(page, lab, "03_migrate-3")
