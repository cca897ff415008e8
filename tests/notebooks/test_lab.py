"""The notebooks by hand: working copies in a run's folder, and what is left when JupyterLab saves one of them."""

import builtins
import json
import logging
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from nbformat.v4 import new_code_cell
from support_notebooks import CellError, execute_notebook, run

from runbook_lib import process
from runbook_lib.cli import main
from runbook_lib.errors import Refused
from runbook_lib.journal import audit
from runbook_lib.journal.audit import verify
from runbook_lib.notebook import base_book, display, execute
from runbook_lib.notebook.lab import copies, hook, start
from runbook_lib.notebook.parameters_cell import as_parameters
from runbook_lib.parameters import load_parameters
from runbook_lib.report.runs.executions import history
from runbook_lib.report.runs.status import bar_of
from runbook_lib.stages.rollback.rollback import Undoing
from runbook_lib.verdict import INTERRUPTED, PLANNED, REFUSED, REVIEW, ROLLED_BACK
from runbook_lib.walk import control

pytestmark = pytest.mark.usefixtures("in_process")
WRITING = {"execute": True}


@pytest.fixture
def parameters(shop):
    return load_parameters(shop.params)


@pytest.fixture
def opened(shop, parameters):
    """A run as `runbook lab` opens it."""
    found = start.choose(parameters, str(shop.outputs), "shop")
    copies.prepare(found, parameters)
    return found


def cell_of(path: Path) -> dict[str, str]:
    """Name → the line of the parameters cell that sets it."""
    cells = nbformat.read(path, 4).cells
    source = next(cell.source for cell in cells if "parameters" in cell.metadata.get("tags", ()))
    return {line.partition(":")[0]: line for line in source.splitlines()}


def change(path: Path, **values: object) -> None:
    """Edits a working copy as a person would."""
    notebook = nbformat.read(path, 4)
    cell = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    lines = [line for line in cell.source.splitlines() if line.partition(":")[0] not in values]
    cell.source = "\n".join(
        [*lines, *(f"{name}: {type(value).__name__} = {value!r}" for name, value in values.items())]
    )
    nbformat.write(notebook, path)


def by_hand(opened, stage: str, **values: object) -> Path:
    """Runs all cells of a working copy in its place, and saves it; nothing is filed yet."""
    path = opened.folder / "lab" / f"{stage}.ipynb"
    change(path, **values)
    notebook = nbformat.read(path, 4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []  # as JupyterLab does when a cell runs again
    nbformat.write(notebook, path)
    copy = path.with_name("result.ipynb")
    try:
        execute_notebook(path, copy, {})
    finally:
        copy.replace(path)
    return path


def banner(path: Path) -> str:
    return execute.banner_of(path)["headline"]


# working copies


def test_a_working_copy_holds_the_parameters_as_a_person_reads_them(opened, shop):
    """One line each, with the comments of the released cell, and the run; nothing of the command line's own."""
    lines = cell_of(opened.folder / "lab" / "03_migrate.ipynb")
    assert lines["source"] == (
        f'source: dict = {{"environment": "{shop.name}dev", "region": "us-west-1"}}  # where the data is; never written'
    )
    assert lines["limits"].startswith('limits: dict = {"workers": 2, "on_failure": "rollback"}  # ')
    assert lines["run_id"].startswith(f'run_id: str = "{opened.id}"  # ')
    assert lines["outputs"].startswith(f'outputs: str = "{shop.outputs}"  # ')
    assert lines["execute"].startswith("execute: bool = False")
    assert not {"lease", "break_lock"} & lines.keys()


def test_a_working_copy_stays_except_for_parameters_that_changed(opened, shop, parameters):
    """Cells of an analyst's own stay, and so does what he set; a changed parameters file is filled in again, and told."""
    path = opened.folder / "lab" / "03_migrate.ipynb"
    change(path, execute=True, outputs="elsewhere")
    notebook = nbformat.read(path, 4)
    notebook.cells.append(new_code_cell("my_own = 1"))
    nbformat.write(notebook, path)
    assert copies.prepare(opened, parameters) == []
    told = copies.prepare(opened, load_parameters(shop.params, {"limits.write_units": 50}))
    assert "03_migrate.ipynb: filled in again, because it changed: limits." in told
    lines = cell_of(path)
    assert '"write_units": 50' in lines["limits"]
    assert lines["execute"] == "execute: bool = True"
    assert lines["outputs"] == "outputs: str = 'elsewhere'"
    assert nbformat.read(path, 4).cells[-1].source == "my_own = 1"


def test_a_copy_of_another_release_is_set_aside(opened, parameters, monkeypatch, tmp_path):
    """The new release comes in its place, and nothing of the old copy is lost."""
    folder = opened.folder / "lab"
    released = tmp_path / "released"
    shutil.copytree(execute.notebook_path("01_analyze").parent, released)
    monkeypatch.setattr(copies, "notebook_path", lambda stage: released / f"{stage}.ipynb")
    newer = nbformat.read(released / "04_validate.ipynb", 4)
    newer.cells.append(new_code_cell("newer = 1"))
    nbformat.write(newer, released / "04_validate.ipynb")
    before = (folder / "04_validate.ipynb").read_bytes()
    (told,) = copies.prepare(opened, parameters)
    assert told.startswith(
        "04_validate.ipynb was made from another release of the notebook: it is 04_validate-before-1.ipynb"
    )
    assert (folder / "04_validate-before-1.ipynb").read_bytes() == before
    assert nbformat.read(folder / "04_validate.ipynb", 4).cells[-1].source == "newer = 1"
    assert opened.id in cell_of(folder / "04_validate.ipynb")["run_id"]


def test_working_copies_are_written_to_no_folder_that_a_link_leads_to(opened, parameters, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    shutil.rmtree(opened.folder / "lab")
    (opened.folder / "lab").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused, match="lab is a symlink"):
        copies.prepare(opened, parameters)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_parameters_cell_that_is_no_python_is_left_alone(opened, shop):
    path = opened.folder / "lab" / "01_analyze.ipynb"
    path.write_text(path.read_text().replace("mapping: str =", "mapping: str = ("))
    before = path.read_bytes()
    told = copies.prepare(opened, load_parameters(shop.params, {"limits.workers": 3}))
    assert "01_analyze.ipynb: its parameters cell cannot be read and was left as it is." in told
    assert path.read_bytes() == before


@pytest.mark.slow
def test_lab_goes_on_with_the_latest_run_until_it_is_rolled_back(opened, parameters, shop, capsys):
    """As long as there is something to do in it: a finished migration is still validated, or undone."""

    def choose():
        return start.choose(parameters, str(shop.outputs), "shop").id

    assert choose() == opened.id
    confirmed = ("--execute", "--confirm", f"{shop.name}prod")
    assert run(shop, capsys, "create-tables", *confirmed)[0] == 0
    assert run(shop, capsys, "migrate", *confirmed)[0] == 1  # REVIEW
    assert choose() == opened.id
    (checkpoint,) = opened.folder.glob("migration-checkpoint-*.json")
    assert run(shop, capsys, "rollback", "--checkpoint", str(checkpoint), *confirmed, params=False)[0] == 0
    assert choose() != opened.id
    assert start.choose(parameters, str(shop.outputs), "shop", opened.id).id == opened.id


def test_lab_opens_before_there_is_a_mapping(shop, parameters):
    """00 writes it; the run is the one that later stages take."""
    Path(parameters.mapping).rename(shop.params.parent / "later.yaml")
    found = start.choose(parameters, str(shop.outputs), "shop")
    (shop.params.parent / "later.yaml").rename(parameters.mapping)
    assert start.choose(parameters, str(shop.outputs), "shop").id == found.id


def test_lab_starts_jupyterlab_with_its_hook_and_no_configuration_of_its_own(
    opened, shop, parameters, monkeypatch, capsys
):
    """It serves the project, or, where the runs lie elsewhere, their folder."""
    started = []
    monkeypatch.setattr(start.subprocess, "call", lambda words: started.append(words) or 0)
    assert main(["lab", str(shop.params), "--outputs", str(shop.outputs), "-p", "limits.workers=5"]) == 0
    (words,) = started
    assert f"--ServerApp.root_dir={shop.outputs}" in words
    assert "--ServerApp.jpserver_extensions=runbook_lib.notebook.lab.hook=True" in words
    assert f"--LabApp.default_url=/lab/tree/{opened.id}/lab/01_analyze.ipynb" in words
    assert '"workers": 5' in cell_of(opened.folder / "lab" / "02_test.ipynb")["limits"]
    said = capsys.readouterr()
    first, second = said.out.splitlines()
    assert first.startswith(f"{opened.id}: ")
    assert second.startswith("JupyterLab on ")
    assert "02_test.ipynb: filled in again, because it changed: limits." in said.err


def test_lab_without_parameters_takes_no_run_id(capsys):
    assert main(["lab", "--run-id", "an-older-run"]) == 2
    assert "need PARAMS" in capsys.readouterr().err


# what saving leaves


def test_a_saved_notebook_that_has_ended_leaves_what_a_command_leaves(opened, shop):
    """Copy, pages, index and audit record, once for each execution, however often it is saved."""
    path = by_hand(opened, "01_analyze")
    assert hook.file_copy(path) == opened.folder / "01_analyze.ipynb"
    assert (opened.folder / "01_analyze.ipynb").read_bytes() == path.read_bytes()
    assert {path.name for path in opened.folder.glob("01_analyze*")} == {
        "01_analyze.ipynb",
        "01_analyze.html",
        "01_analyze-code.html",
    }
    assert f"{opened.id}/01_analyze.html" in (shop.outputs / "index.html").read_text()
    records = [json.loads(line) for line in (opened.folder / "audit.jsonl").read_text().splitlines()]
    assert {"01_analyze.ipynb", "01_analyze.html", "01_analyze-code.html"} <= records[-1]["files"].keys()
    assert records[-1]["open"] == {}
    assert hook.file_copy(path) is None
    change(path, outputs="another edit, saved")
    assert hook.file_copy(path) is None
    assert verify(opened).problems == verify(opened).growth == []
    assert (
        hook.file_copy(by_hand(opened, "01_analyze", outputs=str(shop.outputs))) == opened.folder / "01_analyze-2.ipynb"
    )


def test_what_has_not_ended_or_lies_elsewhere_is_not_filed(opened, shop):
    """A notebook that was never run, one whose kernel was killed, one of another folder, and what is no notebook."""
    path = opened.folder / "lab" / "01_analyze.ipynb"
    assert hook.file_copy(path) is None
    by_hand(opened, "01_analyze")
    outside = shop.outputs / "01_analyze.ipynb"
    shutil.copy(path, outside)
    assert hook.file_copy(outside) is None
    path.write_text(path.read_text().replace('"verdict": "REVIEW"', '"verdict": "NOT FINISHED"'))
    assert hook.file_copy(path) is None
    notes = path.with_name("notes.txt")
    notes.write_text("mine")
    assert hook.file_copy(notes) is None
    assert list(opened.folder.glob("*.ipynb")) == []


def test_a_copy_that_cannot_be_filed_is_told_once_and_filed_by_the_next_save(opened, monkeypatch, caplog):
    """The save has happened; a dialog says why nothing was filed; nothing is left half-way."""
    from tornado.web import HTTPError

    path = by_hand(opened, "01_analyze")
    manager = SimpleNamespace(log=logging.getLogger("server"))

    def full(*_):
        raise OSError(28, "No space left on device", str(opened.folder))

    with monkeypatch.context() as broken:
        broken.setattr(execute, "export", full)
        with pytest.raises(HTTPError, match=r"is saved, but its executed copy could not be filed: .*No space left"):
            hook.after_save(str(path), manager)
        hook.after_save(str(path), manager)
    assert list(opened.folder.glob("01_analyze*")) == []
    assert sum("No space left" in record.message for record in caplog.records) >= 2
    hook.after_save(str(path), manager)
    assert (opened.folder / "01_analyze.html").exists()
    assert verify(opened).problems == []


def test_what_happens_in_lab_is_no_tampering(opened):
    """An analyst saves, adds and deletes there at will."""
    hook.file_copy(by_hand(opened, "01_analyze"))
    (opened.folder / "lab" / "02_test.ipynb").unlink()
    (opened.folder / "lab" / "mine.csv").write_text("a,b")
    assert verify(opened).problems == verify(opened).growth == []


def test_a_whole_migration_by_hand(opened, shop, monkeypatch):
    """03 asks once, a second time nobody is asked and nothing is written, and 05 finds the checkpoint of its run."""
    monkeypatch.setattr(display, "interactive", lambda: True)
    asked = []

    def person(question: str) -> str:
        asked.append(question)
        return f"{shop.name}prod"

    monkeypatch.setattr(builtins, "input", person)
    for stage in ("02_test", "03_migrate", "03_migrate", "04_validate", "05_rollback"):
        own = {} if stage == "04_validate" else WRITING
        asked.clear()
        path = by_hand(opened, stage, **own)
        hook.file_copy(path)
        if stage == "03_migrate":
            first = not (opened.folder / "03_migrate-2.ipynb").exists()
            assert len(asked) == (2 if first else 0)
            assert first or banner(path).startswith("Nothing was written: this run was complete")
            assert len(shop.items("Orders", "prod")) == 20
    assert shop.items("Orders", "prod") == []
    words = bar_of(opened).words
    assert (words["03_migrate"], words["05_rollback"]) == (ROLLED_BACK, ROLLED_BACK)
    assert path.read_text().count("✓ rolled back") == 2  # in the bar of 05 itself, 03 and 05
    assert verify(opened).problems == []


def test_a_run_that_changed_after_nobody_was_asked_is_not_migrated(opened, shop, capsys, monkeypatch):
    """Between the confirmation's cell and the next, somebody else may have begun what was not confirmed here."""
    monkeypatch.setattr(display, "interactive", lambda: True)
    monkeypatch.setattr(builtins, "input", lambda question: f"{shop.name}prod")
    by_hand(opened, "02_test", **WRITING)
    by_hand(opened, "03_migrate", **WRITING)
    complete = iter([True, False])
    monkeypatch.setattr("runbook_lib.notebook.book.is_complete", lambda *_: next(complete))
    with pytest.raises(CellError, match="the run has changed since the confirmation cell"):
        by_hand(opened, "03_migrate")


def test_05_of_a_run_finds_no_checkpoint_of_another(opened, shop, parameters, capsys):
    confirmed = ("--execute", "--confirm", f"{shop.name}prod")
    assert run(shop, capsys, "create-tables", "--run-id", "another-run", *confirmed)[0] == 0
    assert run(shop, capsys, "migrate", "--run-id", "another-run", *confirmed)[0] == 1  # REVIEW
    path = by_hand(opened, "05_rollback")
    assert "There is nothing to roll back" in banner(path)
    with pytest.raises(Refused, match=f"run {opened.id} has no checkpoint"):
        Undoing("", str(shop.outputs), parameters, run_id=opened.id)


# the banner


def test_an_own_cell_that_fails_leaves_the_verdict_alone(opened):
    """Below the last cell, or in between: it is no fault of the program, and nothing that a report says."""
    path = opened.folder / "lab" / "01_analyze.ipynb"
    notebook = nbformat.read(path, 4)
    notebook.cells.append(new_code_cell("no_such_name"))
    nbformat.write(notebook, path)
    with pytest.raises(CellError, match="no_such_name"):
        by_hand(opened, "01_analyze")
    assert execute.banner_of(path)["verdict"] == REVIEW


def test_an_execution_that_goes_on_after_a_stop_gets_a_copy_of_its_own(opened):
    """Stopped, then put right in the same kernel: each end is filed. The last cell again is no other execution."""
    path = opened.folder / "lab" / "01_analyze.ipynb"
    notebook = nbformat.read(path, 4)
    ends = [
        "book.finish()",
        "book.finish()",
        "book._stopped(Refused('no'))",
        "book._stopped(Refused('no'))",
        "book.finish()",
    ]
    lines = [f"{end}\nids.append(book._execution)" for end in ends]
    notebook.cells.append(new_code_cell("\n".join(["from runbook_lib.errors import Refused", "ids = []", *lines])))
    notebook.cells.append(new_code_cell("assert [ids.index(one) for one in ids] == [0, 0, 2, 3, 4]"))
    nbformat.write(notebook, path)
    by_hand(opened, "01_analyze")


def test_only_a_cell_that_was_left_alone_is_said_to_be_the_demos(opened, shop, monkeypatch):
    """A person who forgot it is led to the command; a working copy names its run, and says nothing."""
    monkeypatch.setattr(base_book, "DEMO", (f"{shop.name}dev", f"{shop.name}prod"))
    monkeypatch.setattr(display, "interactive", lambda: True)
    path = by_hand(opened, "01_analyze")
    assert "These are the demo" not in path.read_text()
    by_hand(opened, "01_analyze", run_id="")
    assert "These are the demo" in path.read_text()


def test_the_demos_parameters_are_said_where_there_is_nothing_to_roll_back(opened, shop, monkeypatch):
    """The first notebook that somebody opens may be 05: no run of these parameters is there, and the note is."""
    monkeypatch.setattr(base_book, "DEMO", (f"{shop.name}dev", f"{shop.name}prod"))
    monkeypatch.setattr(display, "interactive", lambda: True)
    path = by_hand(opened, "05_rollback", run_id="")
    assert "There is nothing to roll back" in banner(path)
    assert "These are the demo" in path.read_text()


def test_what_stops_a_cell_speaks_of_the_parameters_cell(opened, monkeypatch):
    """In the banner and below the cell: no option of the command, and no command to repeat."""
    monkeypatch.setattr(display, "interactive", lambda: True)
    with pytest.raises(CellError) as stopped:
        by_hand(opened, "00_draft")
    said = banner(opened.folder / "lab" / "00_draft.ipynb")
    assert "go on with 01" in said
    assert "or use `force`, which keeps the old one" in said
    assert stopped.value.traceback == [f"Refused: {said}"]


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        ("go on with --accept-drift.", "go on with `accept_drift`."),
        ("or go on with --accept-changed.", "or go on with `accept_changed` in `advanced`."),
        ("take its lock with --break-lock 1@host.", "take its lock with --break-lock 1@host."),
        ("undo it: runbook rollback --checkpoint C --execute", "undo it: runbook rollback --checkpoint C --execute"),
        ("`runbook migrate --delta` moves them", "`runbook migrate --delta` moves them"),
    ],
)
def test_an_option_is_called_as_the_parameters_cell_calls_it(sentence, said):
    """Commands to copy stay as they are, and so does what only the command line takes."""
    assert as_parameters(sentence, "03_migrate") == said


def test_no_output_holds_a_formula(opened):
    """JupyterLab would set what stands between two dollar signs, such as two prices, as one."""
    path = by_hand(opened, "01_analyze")
    shown = [
        output["data"]["text/html"]
        for cell in nbformat.read(path, 4).cells
        for output in cell.get("outputs", ())
        if "text/html" in output.get("data", {})
    ]
    assert any("$0.0" in one for one in shown)
    assert all(one.startswith('<div class="mathjax_ignore">') for one in shown)


def test_what_was_chosen_to_test_stays_when_the_notebook_runs_again(opened, monkeypatch):
    """Until the parameter is another; copy and report are of what was chosen."""
    monkeypatch.setattr(display, "_dropdowns", {})
    options = [("none", ""), ("Orders", "Orders"), ("Users", "Users")]
    display.dropdown("Test", options, "").value = "Orders"
    assert display.dropdown("Test", options, "").value == "Orders"
    assert display.dropdown("Test", options, "Users").value == "Users"
    display.dropdown("Test", options, "").value = "Orders"
    monkeypatch.setattr(display, "interactive", lambda: True)
    path = by_hand(opened, "02_test")
    assert execute.banner_of(path)["copy"] == "02_test"
    assert "Entry to test: Orders." in path.read_text()


# the stage bar


def test_the_stage_bar_shows_how_the_stages_of_this_run_stand(opened, shop, capsys):
    """Verdicts, and what was interrupted, of the latest execution that counts; links to the notebooks beside it."""
    assert bar_of(opened).words == {}
    by_hand(opened, "01_analyze")
    bar = bar_of(opened)
    assert bar.words == {"01_analyze": REVIEW}
    shown = bar.html("02_test", PLANNED)
    assert '<b aria-current="page">02 Test</b>' in shown
    assert '<a href="01_analyze.ipynb">01 Analyze</a>' in shown
    assert "✓ REVIEW" in shown
    assert "✓ PASS" in bar.html("02_test", "PASS")
    confirmed = ("--run-id", opened.id, "--execute", "--confirm", f"{shop.name}prod")
    assert run(shop, capsys, "create-tables", *confirmed)[0] == 0
    assert run(shop, capsys, "migrate", *confirmed)[0] == 1  # REVIEW
    assert bar_of(opened).words == {"01_analyze": REVIEW, "02_test": "PASS", "03_migrate": REVIEW}
    audit.enter(opened, "03_migrate")  # and nothing more: it was killed
    assert bar_of(opened).words["03_migrate"] == INTERRUPTED


def test_what_was_refused_by_hand_is_not_interrupted(opened, shop, capsys, monkeypatch):
    """Saved or not. What is run again in the same kernel is another execution, with a time of its own."""
    monkeypatch.delenv(process.HEADLESS)
    with pytest.raises(CellError, match="does not exist"):
        by_hand(opened, "04_validate")
    assert bar_of(opened).words == {"04_validate": REFUSED}
    assert verify(opened).problems == []
    confirmed = ("--run-id", opened.id, "--execute", "--confirm", f"{shop.name}prod")
    assert run(shop, capsys, "full-migration", *confirmed)[0] == 1  # REVIEW
    monkeypatch.delenv(process.HEADLESS, raising=False)
    by_hand(opened, "04_validate")
    found = [one.verdict for one in history(opened).executions if one.stage == "04_validate"]
    assert found == [REFUSED, REVIEW, REVIEW]


def test_a_rollback_whose_next_step_is_refused_says_what_it_deleted(opened, shop, capsys, monkeypatch):
    """In the banner, which else would say that nothing was done; and the bar says that 03 is rolled back."""
    confirmed = ("--run-id", opened.id, "--execute", "--confirm", f"{shop.name}prod")
    assert run(shop, capsys, "full-migration", *confirmed)[0] == 1  # REVIEW
    monkeypatch.delenv(process.HEADLESS)
    monkeypatch.setattr(display, "interactive", lambda: True)
    monkeypatch.setattr(builtins, "input", lambda _: "no")
    confirm = f"{shop.name}prod"
    with pytest.raises(CellError, match="the answer was not DELETE"):
        by_hand(opened, "05_rollback", execute=True, confirm=confirm, delete_tables=["Customers"])
    path = opened.folder / "lab" / "05_rollback.ipynb"
    assert banner(path).startswith("26 items deleted, 0 kept because they were edited, 0 not found. Then it stopped:")
    assert bar_of(opened).words["03_migrate"] == ROLLED_BACK
    assert "rolled back" in path.read_text()
    assert verify(opened).problems == []


def test_a_copy_that_works_in_another_run_says_where_its_report_goes(opened, monkeypatch):
    """It lies in the folder of one run, and its parameters may name another; saving files it there."""
    monkeypatch.setattr(display, "interactive", lambda: True)
    monkeypatch.chdir(opened.folder / "lab")
    path = by_hand(opened, "01_analyze", run_id="another-run")
    assert "files its executed copy and report in another-run" in path.read_text()


@pytest.mark.pages
@pytest.mark.slow
def test_links_of_the_bar_lead_to_pages_that_are_there(opened, shop, capsys):
    """In an exported page: to the newest copy of a stage; a stage without one is found on the summary."""
    confirmed = ("--run-id", opened.id, "--execute", "--confirm", f"{shop.name}prod")
    assert run(shop, capsys, "create-tables", *confirmed)[0] == 0
    for _ in range(2):
        assert run(shop, capsys, "test", "Customers", *confirmed)[0] == 0
    hook.file_copy(by_hand(opened, "01_analyze"))
    page = (opened.folder / "01_analyze.html").read_text()
    assert '<a href="02_test-2.html">02 Test</a>' in page
    assert '<a href="03_migrate' not in page
    assert "03 Migrate" in page


# parameters


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"advanced": {"leese": {}}}, "advanced: leese is not a key of it; did you mean 'lease'?"),
        ({"advanced": {"lease": "Leases"}}, "lease is 'Leases'; give a value of type dict."),
        ({"advanced": {"break_lock": "1@here"}}, "advanced: break_lock is not a key of it"),
    ],
)
def test_a_wrong_key_of_advanced_is_refused(opened, values, sentence):
    with pytest.raises(CellError, match=sentence.replace("?", r"\?")):
        by_hand(opened, "01_analyze", **values)


def test_what_is_rare_can_still_be_given_by_name(opened, shop, tmp_path):
    """As papermill does: a name that the cell folds away is one of the notebook's parameters all the same."""
    with pytest.raises(CellError, match="lease.table Nowhere does not exist"):
        execute_notebook(
            opened.folder / "lab" / "02_test.ipynb",
            tmp_path / "copy.ipynb",
            {
                "lease": {"table": "Nowhere"},
                "break_lock": "",
                "table": "Orders",
                "execute": True,
                "confirm": f"{shop.name}prod",
            },
        )


# buttons


@pytest.fixture
def buttons(opened, monkeypatch):
    """The buttons of a cell at work; SIGINT is only noted."""
    signals = []
    monkeypatch.setattr(display.os, "kill", lambda pid, number: signals.append(number))
    made = display._Buttons(opened)
    made.signals = signals
    return made


def test_pause_asks_the_run_to_stop_after_its_page(opened, buttons):
    buttons._pause.click()
    assert (opened.folder / ".stop").exists()
    assert buttons._pause.disabled
    assert buttons._said.value == "Pausing after this page…"
    assert buttons.signals == []


def test_stop_asks_once_then_interrupts_the_cell(opened, buttons):
    buttons._stop.click()
    assert buttons.signals == []
    assert buttons._said.value == "Stop now? The current page is looked up on resuming."
    buttons._stay.click()
    assert buttons.box.children[:2] == (buttons._pause, buttons._stop)
    buttons._stop.click()
    buttons._now.click()
    assert buttons.signals == [signal.SIGINT]


def test_a_click_after_the_end_does_nothing(opened, buttons):
    buttons.end()
    buttons._on_pause(None)
    buttons._on_stop(None)
    assert not (opened.folder / ".stop").exists()
    assert buttons.signals == []


def test_a_batch_run_has_no_buttons(opened):
    """Nor does any page: what is for the person at the notebook is left out of it."""
    path = by_hand(opened, "01_analyze")
    assert "widget-view" not in path.read_text()


def test_beginning_beside_a_run_at_work_leaves_its_stop_request(opened, monkeypatch):
    """A second notebook of the run is opened while the first one is asked to stop."""
    monkeypatch.delenv(process.HEADLESS)
    control.request_stop(opened)
    with opened.lock("03_migrate"):
        by_hand(opened, "05_rollback")
        path = opened.folder / "lab" / "02_test.ipynb"
        by_hand(opened, "02_test")
        assert (opened.folder / ".stop").exists()
    by_hand(opened, "02_test")
    assert not (opened.folder / ".stop").exists()
    assert path.exists()
