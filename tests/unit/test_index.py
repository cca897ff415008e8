"""The index of the runs in a folder: what it shows of each run, and that it reads little for it."""

import json
import os
import re
import threading

import pytest
from support_runs import ABOUT, add, alert, analysis, migrated, report

from runbook_lib.journal import audit
from runbook_lib.journal.stage import Stage
from runbook_lib.notebook.execute import conclude
from runbook_lib.report.runs import index, outcome
from runbook_lib.report.runs.bundle import write_bundle
from runbook_lib.report.runs.index import write_index
from runbook_lib.report.runs.summary import write_summary
from runbook_lib.run.folder import open_run


def row(outputs, run_id):
    """A run's row, as text: tags left out, spaces as one."""
    page = write_index(outputs).read_text().partition("</main>")[0]
    found = next(part for part in page.split("<tr>") if f">{run_id}<" in part)
    return " ".join(re.sub(r"<[^>]*>", " ", found).split())


def test_each_link_has_its_own_verdict_and_the_run_has_one(tmp_path):
    """A plan and a refusal are told from executions; the run's verdict is the one that stands."""
    run = migrated(tmp_path)
    for verdict, copy in (("PLAN", "03_migrate-2"), ("REFUSED", "03_migrate-3")):
        audit.begin(run, "03_migrate")
        (run.folder / f"{copy}.ipynb").touch()
        told = {"copy": f"{copy}.ipynb", "stage_verdict": verdict, "verdict": "REVIEW", "headline": "as before"}
        audit.append(run, "03_migrate", own=[f"{copy}.ipynb"], outcome=told)
    assert row(tmp_path, run.id).startswith(
        "the-first-run 28 Nov 2026, 19:33 UTC staging → live shop.yaml REVIEW as before 01_analyze REVIEW "
    )
    took = r"( \d+ s)?"
    assert re.search(
        rf"03_migrate REVIEW{took} 04_validate REVIEW{took} 03_migrate-2 PLAN 03_migrate-3 REFUSED$",
        row(tmp_path, run.id),
    )
    page = (tmp_path / "index.html").read_text()
    assert 'href="the-first-run/summary.html"' in page
    assert 'href="the-first-run/03_migrate.html"' in page
    assert 'href="the-first-run/03_migrate-3.ipynb"' in page


def test_of_a_run_that_ended_no_report_and_no_journal_is_read(tmp_path, monkeypatch):
    """What it came to stands in its chain; of one that has begun something since, it is looked up."""
    run = migrated(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(index, "outcome_of", None)
        patched.setattr(Stage, "events", None)
        patched.setattr(outcome, "own_json", None)
        assert "REVIEW 100 of 100 items copied and proved equal; 2 decisions are open" in row(tmp_path, run.id)
    audit.begin(run, "03_migrate")
    audit.enter(run, "03_migrate")
    assert "NOT FINISHED 03_migrate has begun and not ended" in row(tmp_path, run.id)


def test_of_two_runs_that_end_at_once_the_index_has_both(tmp_path, monkeypatch):
    """The second one waits for the first: else the page that is written last may be of before."""
    runs = [migrated(tmp_path, name) for name in ("the-first-run", "the-second-run")]
    for run in runs:
        audit.begin(run, "03_migrate")
        audit.enter(run, "03_migrate")
    other, write = threading.Thread(target=conclude, args=(runs[1], "03_migrate")), index.write_atomically

    def late(path, content):
        if other.ident is None:
            other.start()
            other.join(0.5)  # it ends, where nothing holds it back
        write(path, content)

    monkeypatch.setattr(index, "write_atomically", late)
    conclude(runs[0], "03_migrate")
    other.join()
    page = (tmp_path / "index.html").read_text()
    assert page.count("proved equal") >= 2
    assert "has begun and not ended" not in page


def test_no_verdict_is_written_beside_a_stage_that_writes(tmp_path):
    """03 has begun meanwhile: what 04 had found may not hold any more. A process that is gone writes nothing."""
    run = migrated(tmp_path)
    audit.begin(run, "03_migrate")
    audit.enter(run, "03_migrate")
    assert write_summary(run, after="04_validate").verdict == "NOT FINISHED"
    assert write_summary(run, after="03_migrate").verdict == "REVIEW"
    path = run.folder / audit.FILE
    path.write_text(path.read_text().replace(f"{os.getpid()}@", "999999999@"))
    assert write_summary(run, after="04_validate").verdict == "REVIEW"


def test_a_run_that_lost_a_file_is_said_to_be_damaged(tmp_path):
    """Whatever its chain says it came to. So is one whose chain or `run.json` cannot be read."""
    run = migrated(tmp_path)
    path = run.json_files("migration-report")[-1]
    content = path.read_bytes()
    path.unlink()
    assert f"{path.name} was removed; see runbook verify" in row(tmp_path, run.id)
    path.write_bytes(content)
    chain = run.folder / audit.FILE
    whole = chain.read_text()
    chain.write_text(whole.replace('"files"', '"fileS"'))
    assert "see runbook verify" in row(tmp_path, run.id)
    chain.write_text(whole)
    (run.folder / "run.json").write_text("{")
    assert "run.json is missing, damaged or of another run" in row(tmp_path, run.id)


def test_runs_in_which_nothing_was_executed_are_folded_at_the_end(tmp_path):
    """Newest first, the others."""
    first = migrated(tmp_path)
    empty = open_run(tmp_path, "the-empty-run", ABOUT)
    last = open_run(tmp_path, "the-third-run", ABOUT)
    add(last, "01_analyze", "migration-analysis", analysis(alerts=[alert()]))
    page = write_index(tmp_path).read_text()
    assert page.index(last.id) < page.index(first.id) < page.index("<details>") < page.index(empty.id)
    assert "1 in which nothing was executed" in page
    assert "01_analyze by hand REVIEW" in row(tmp_path, last.id)


def test_a_bundle_of_an_earlier_state_is_called_so(tmp_path):
    """It would say what no longer stands."""
    run = migrated(tmp_path)
    assert "zip" not in row(tmp_path, run.id)
    path = write_bundle(run).path
    assert "UTC · zip staging" in row(tmp_path, run.id)
    add(run, "04_validate", "migration-report", report("validate"))
    assert "UTC · zip of an earlier state staging" in row(tmp_path, run.id)
    path.write_bytes(b"no zip file")
    assert "UTC · zip of an earlier state staging" in row(tmp_path, run.id)


def test_names_are_escaped(tmp_path):
    """Those of files in a run's folder, of environments, of the mapping; and what the chain says."""
    hostile = "<script>alert(1)</script>"
    sides = {side: {"environment": hostile} for side in ("source", "target")}
    run = open_run(tmp_path, "the-first-run", {**ABOUT, **sides, "mapping": hostile})
    audit.begin(run, "01_analyze")
    (run.folder / '01_"><img src=x>.ipynb').touch()
    audit.append(run, "01_analyze", outcome={"stage_verdict": hostile, "verdict": hostile, "headline": hostile})
    page = write_index(tmp_path).read_text()
    assert page.count("<script>") == 1
    assert "<img" not in page
    assert page.count("&lt;script&gt;") >= 5


@pytest.mark.parametrize("outcome_", [{"verdict": 3}, [], "x", {"verdict": None, "headline": {}}])
def test_an_outcome_of_another_kind_hides_no_run(outcome_, tmp_path):
    """Anybody can write a line; the seals are for `verify`."""
    run = migrated(tmp_path)
    other = open_run(tmp_path, "the-second-run", ABOUT)
    path = run.folder / audit.FILE
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], json.dumps({**json.loads(lines[-1]), "outcome": outcome_})]))
    page = write_index(tmp_path).read_text()
    assert run.id in page
    assert other.id in page
