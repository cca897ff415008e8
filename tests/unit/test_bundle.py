"""`runbook bundle`: what is in the zip file, what is not, and when there is none."""

import hashlib
import json
import os
import zipfile

import pytest
from support_runs import ABOUT, add, alert, migrated, report

from runbook_lib import process
from runbook_lib.cli import main
from runbook_lib.errors import Refused
from runbook_lib.journal import audit
from runbook_lib.report.runs.bundle import MANIFEST, _unlinked, write_bundle
from runbook_lib.report.runs.summary import write_summary
from runbook_lib.run.chain import SUMMARY
from runbook_lib.run.folder import open_run


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run from 01 to 04 with its pages; nobody waits for locks."""
    monkeypatch.setattr(process, "lock_patience", 0.1)
    return migrated(tmp_path)


def contents(path):
    """Name → bytes."""
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None
        return {name: file.read(name) for name in file.namelist()}


def test_the_bundle_holds_pages_and_reports_and_a_manifest_of_them(run):
    """No checkpoint, no journal, no list, no page with code: those hold keys and parameters."""
    (run.folder / "quarantine.jsonl").write_text("{}")
    found = write_bundle(run)
    held = contents(found.path)
    reports = [path.name for kind in ("migration-analysis", "migration-report") for path in run.json_files(kind)]
    pages = [SUMMARY, "01_analyze.html", "03_migrate.html", "04_validate.html"]
    assert sorted(held) == sorted([*pages, *reports, MANIFEST])
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in held.items() if name != MANIFEST}
    assert json.loads(held[MANIFEST]) == digests == found.files
    assert held[SUMMARY] == (run.folder / SUMMARY).read_bytes()
    assert (found.path, found.size) == (run.folder.with_name("the-first-run.zip"), found.path.stat().st_size)


def test_the_same_run_gives_the_same_bytes(run):
    """Whatever the times and modes of its files are."""
    first = write_bundle(run).path.read_bytes()
    for path in run.folder.glob("*.html"):
        os.utime(path, (1e9, 1e9))
        path.chmod(0o600)
    assert write_bundle(run).path.read_bytes() == first


def test_no_link_leads_out_of_the_bundle(run):
    """05 was not executed: its name stays, as text."""
    held = contents(write_bundle(run).path)
    assert held["03_migrate.html"] == b"<!doctype html><a>03_migrate.html</a>"
    assert b'href="04_validate.html"' in held[SUMMARY]
    kept = b'<a class="x" href="a.html#there">a</a> <a href="#here">b</a> <a href="https://aws.amazon.com">c</a>'
    assert _unlinked(kept + b'<a class="y" href="b.html#there">d</a>', ["a.html"]) == kept + b'<a class="y">d</a>'


@pytest.mark.parametrize("name", [SUMMARY, "03_migrate.html", "migration-report"])
@pytest.mark.parametrize("what", ["changed", "removed", "a symlink", "a pipe"])
def test_what_is_not_as_it_was_left_is_not_sent(what, name, run, tmp_path):
    """Nor what a link leads to. A bundle that is there already stays."""
    before = write_bundle(run).path.read_bytes()
    path = run.json_files(name)[-1] if name == "migration-report" else run.folder / name
    content = path.read_bytes()
    path.unlink()
    if what == "changed":
        path.write_bytes(content + b" ")
    elif what == "a symlink":
        (tmp_path / "elsewhere").write_bytes(content)
        path.symlink_to(tmp_path / "elsewhere")
    elif what == "a pipe":
        os.mkfifo(path)
    said = (
        "neither a file"
        if what == "a pipe"
        else "has no summary.html"
        if (what, name) == ("removed", SUMMARY)
        else what
    )
    with pytest.raises(Refused, match=said):
        write_bundle(run)
    assert run.folder.with_name("the-first-run.zip").read_bytes() == before


def test_what_nobody_recorded_and_tracebacks_stay_out(run):
    """A page that somebody put there; and one that ended in a fault of the program."""
    (run.folder / "09_notes.html").write_text("notes")
    add(run, "04_validate", "migration-report", report("validate"), "04_validate-2", "BUG")
    found = write_bundle(run)
    assert found.left_out == [
        "04_validate-2.html ended in a fault of the program, whose traceback may quote an item",
        "09_notes.html is in no record of the audit chain",
    ]
    assert not {"09_notes.html", "04_validate-2.html"} & contents(found.path).keys()


def test_a_run_that_is_being_written_is_not_sent(run):
    """Under its lock, and before it takes it."""
    with run.lock("03_migrate"), pytest.raises(Refused, match=r"is being written by process \d+"):
        write_bundle(run)
    audit.begin(run, "01_analyze")
    with pytest.raises(Refused, match="is being written by 01_analyze; wait for it to end"):
        write_bundle(run)


def test_without_a_page_or_a_sound_chain_there_is_no_bundle(run, tmp_path):
    """One sentence each."""
    fresh = open_run(tmp_path, "the-second-run", ABOUT)
    with pytest.raises(Refused, match=r"the-second-run has no summary\.html: no stage has ended in it"):
        write_bundle(fresh)
    path = run.folder / audit.FILE
    path.write_bytes(path.read_bytes()[10:])
    with pytest.raises(Refused, match=r"nobody can say .* `runbook verify the-first-run`"):
        write_bundle(run)


def test_a_folder_in_its_place_is_not_replaced(run):
    """It is somebody's."""
    run.folder.with_name("the-first-run.zip").mkdir()
    with pytest.raises(Refused, match=r"the-first-run\.zip is a folder; move it elsewhere"):
        write_bundle(run)


def test_the_command_says_where_it_is(run, tmp_path, capsys):
    """And the index has it, as long as it is of what the run is now."""
    command = ["bundle", "the-first-run", "--outputs", str(tmp_path)]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{tmp_path}/the-first-run.zip: 7 files, ")
    assert said.endswith(" bytes\n")
    assert '<a href="the-first-run.zip">zip</a>' in (tmp_path / "index.html").read_text()
    assert main([*command, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["run_id"], result["path"]) == ("the-first-run", f"{tmp_path}/the-first-run.zip")
    assert set(result) == {"run_id", "path", "size", "files", "left_out"}
    add(run, "04_validate", "migration-report", report("validate", alerts=[alert(level="FAIL")]))
    assert main(["bundle", "the-third-run", "--outputs", str(tmp_path)]) == 2
    assert "no run the-third-run" in capsys.readouterr().err
    audit.begin(run, "03_migrate")
    write_summary(run, writing="03_migrate")
    assert audit.verify(run).problems == []
