"""What is latest: among runs by their number, within a run by the audit chain; never by a clock, nor by what names say."""

import fcntl
import json
import os
import shutil
from datetime import UTC, datetime, timedelta

import pytest

from runbook_lib import process
from runbook_lib.errors import Refused
from runbook_lib.journal import audit
from runbook_lib.report.json_report import _seconds
from runbook_lib.report.runs.index import write_index
from runbook_lib.report.runs.status import status
from runbook_lib.run import folder as runs
from runbook_lib.run.folder import Run, about_of, new_run, open_run

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def about(name="shop", fingerprint="f", created="2026-01-01T00:00:00Z"):
    """What `run_json` gives, as far as it counts here."""
    sides = {side: {"environment": side} for side in ("source", "target")}
    return {"name": name, "created": created, "fingerprint": fingerprint, "mapping": "m.yaml", **sides}


def set_clock(monkeypatch, *hours):
    """So many hours after noon at the next looks; the last one from then on."""
    left = iter(hours)
    monkeypatch.setattr(runs, "now", lambda: NOON + timedelta(hours=next(left, hours[-1])))


def ids(found):
    """Of runs."""
    return [run.id for run in found]


# the files of a run


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run at noon."""
    set_clock(monkeypatch, 0)
    return open_run(tmp_path, "the-first-run", about())


@pytest.mark.parametrize("hours", [(0, 0, 0), (0, -1, -2), (0, -1, 1)])
def test_the_latest_file_is_the_last_one_whatever_the_clock_says(hours, run, monkeypatch):
    """It stands still, or steps back; before and after the chain knows the files."""
    set_clock(monkeypatch, *hours)
    paths = [run.write_json("migration-report", {"n": n}) for n in range(3)]
    assert run.json_files("migration-report") == paths
    assert run.latest_json("migration-report") == {"n": 2}
    for may in (audit.REPORT, audit.OVER):
        audit.append(run, "04_validate", may)
    assert run.latest_json("migration-report") == {"n": 2}


def test_the_chain_says_which_file_came_last_where_the_names_do_not(run, monkeypatch):
    """An earlier version named them by the clock alone. The third is in no record: nobody knows whose it is."""
    for n, hour in enumerate((14, 10, 12)):
        audit.append(run, "03_migrate", audit.REPORT)
        (run.folder / f"migration-report-20260101T{hour}0000Z.json").write_text(json.dumps({"n": n}))
        if n < 2:
            audit.append(run, "03_migrate")
            assert run.latest_json("migration-report") == {"n": n}
    assert run.latest_json("migration-report") == {"n": 1}
    (run.folder / "migration-report-20260101T140000Z copy.json").write_text(json.dumps({"n": 0}))
    (run.folder / audit.FILE).open("ab").write(b'{"files": ["migration-rep')  # a disk was full
    assert run.latest_json("migration-report") == {"n": 1}
    set_clock(monkeypatch, -100)
    assert run.write_json("migration-report", {}).name == "migration-report-20260101T140001Z.json"


def test_the_latest_report_that_was_removed_is_missed(run):
    """An older one does not stand in for it, unless somebody accepted that it has gone."""
    for n in range(2):
        audit.append(run, "04_validate", audit.REPORT)
        last = run.write_json("migration-report", {"n": n})
        audit.append(run, "04_validate")
    last.unlink()
    with pytest.raises(Refused, match=f"{last.name} was removed; restore it from a copy"):
        run.latest_json("migration-report")
    audit.enter(run, "05_rollback", accepts=lambda found: True)
    assert run.latest_json("migration-report") == {"n": 0}


def test_no_name_is_used_twice(run):
    """Nor where the file has gone: the chain knows it."""
    audit.append(run, "03_migrate", audit.REPORT)
    paths = [run.write_json("migration-report", {}), run.folder / "03_migrate.ipynb", run.folder / "03_migrate-2.ipynb"]
    assert run.free_name("03_migrate") == "03_migrate"
    for path in paths[1:]:
        path.write_text("{}")
    audit.append(run, "03_migrate")
    for path in paths:
        path.unlink()
    assert run.write_json("migration-report", {}).name == "migration-report-20260101T120001Z.json"
    assert run.free_name("03_migrate") == "03_migrate-3"
    (run.folder / "03_migrate-10.html").touch()
    assert run.free_name("03_migrate") == "03_migrate-11"


def test_the_executed_copies_are_in_the_order_in_which_they_were_made(run):
    """In the index, whatever the times of their files are."""
    names = ["03_migrate", "04_validate", "03_migrate-2", "03_migrate-10", "01_analyze"]
    for age, name in enumerate(names):
        audit.begin(run, name[:10])
        (run.folder / f"{name}.ipynb").touch()
        os.utime(run.folder / f"{name}.ipynb", (1e9 - age, 1e9 - age))
        if name != "03_migrate-2":  # killed: it comes with the next record
            audit.append(run, name[:10])
    page = write_index(run.folder.parent).read_text()
    assert sorted(names, key=lambda name: page.index(f">{name}<")) == names


def test_a_duration_is_never_negative():
    """What the clock was set back between two events is left out of it."""

    def events(*moments):
        kinds = ("execution", "targets", "end", "rollback")
        return [{"kind": kind, "at": f"2026-01-01T{at}:00Z"} for kind, at in zip(kinds, moments, strict=False)]

    assert _seconds(events("10:00", "10:01", "10:05", "10:50")) == 300
    assert _seconds(events("10:00", "09:00", "09:05")) == 300
    assert _seconds(events("10:00", "10:01", "09:00")) == 60
    assert _seconds(events("10:00", "10:01")) is _seconds(()) is None


# the order of runs


def test_runs_are_ordered_by_their_numbers(tmp_path, monkeypatch):
    """The clock steps back, or stands still; ids that it would give twice get a number of their own."""
    set_clock(monkeypatch, 0, 0, -2, -1, -1)
    made = [new_run(tmp_path, about()) for _ in range(3)]
    made += [open_run(tmp_path, "a-run-of-its-own", about()), open_run(tmp_path, "another-migration", about("x", "g"))]
    assert ids(made[:3]) == ["20260101-120000-shop", "20260101-120000-shop-2", "20260101-100000-shop"]
    assert [about_of(run)["number"] for run in made] == [1, 2, 3, 4, 5]
    assert runs.runs(tmp_path) == made[::-1]
    assert runs.runs(tmp_path, "f") == made[3::-1]
    assert open_run(tmp_path, made[0].id, about()) == made[0]
    assert about_of(made[0])["number"] == 1


def test_runs_of_earlier_versions_come_before_all_others(tmp_path):
    """They have no number, and go by when they were made. Two of one number: a folder that came from elsewhere."""
    for run_id, hour in {"old-second": 11, "old-first": 10, "new-second": 9, "new-first": 8}.items():
        made = open_run(tmp_path, run_id, about(created=f"2026-01-01T{hour:02}:00:00Z"))
        known = about_of(made) | {"number": 7}
        if run_id.startswith("old"):
            del known["number"]
        (made.folder / "run.json").write_text(json.dumps(known))
    assert ids(runs.runs(tmp_path)) == ["new-second", "new-first", "old-second", "old-first"]
    assert about_of(new_run(tmp_path, about()))["number"] == 8


def test_a_copy_of_a_run_is_no_run(tmp_path):
    """Its `run.json` names the one beside it."""
    made = new_run(tmp_path, about())
    shutil.copytree(made.folder, tmp_path / "zz-before-the-rollback")
    (tmp_path / "notes").mkdir()
    assert runs.runs(tmp_path) == runs.runs(tmp_path, "f") == [made]
    assert about_of(new_run(tmp_path, about()))["number"] == 2


@pytest.mark.parametrize("content", [None, "{", "[]", '{"run_id": "the-first-run"}', "renamed"])
def test_a_run_without_its_run_json_is_not_passed_over(content, tmp_path):
    """Whether it is the latest of a migration, nobody can tell: choosing is refused. It is listed, and can be verified."""
    lost, other = open_run(tmp_path, "the-first-run", about()), new_run(tmp_path, about())
    audit.append(lost, "01_analyze")
    if content == "renamed":
        lost = Run("the-last-run", lost.folder.rename(tmp_path / "the-last-run"))
    elif content is None:
        (lost.folder / "run.json").unlink()
    else:
        (lost.folder / "run.json").write_text(content)
    for choose in (lambda: runs.runs(tmp_path, "f"), lambda: open_run(tmp_path, lost.id, about())):
        with pytest.raises(Refused, match=f"{lost.id}/run.json is missing, damaged or of another run; restore it"):
            choose()
    assert runs.runs(tmp_path) == [lost, other]
    assert "run.json is missing" in status(open_run(tmp_path, lost.id)).text()
    assert "run.json is missing" in write_index(tmp_path).read_text()
    if content != "renamed":
        assert [found for found in audit.verify(open_run(tmp_path, lost.id)).problems if found.startswith("run.json ")]


def test_a_folder_that_holds_nothing_yet_becomes_the_run(tmp_path):
    """The process was killed between making it and writing `run.json`."""
    (tmp_path / "the-first-run").mkdir()
    assert runs.runs(tmp_path, "f") == []
    assert about_of(open_run(tmp_path, "the-first-run", about()))["number"] == 1
    with pytest.raises(Refused, match="no run the-other-run in"):
        open_run(tmp_path, "the-other-run")


def test_numbers_are_given_under_a_lock(tmp_path, monkeypatch):
    """Nobody reads the highest number while another one takes the next."""
    monkeypatch.setattr(process, "lock_patience", 0)
    with runs.numbering(tmp_path):
        assert (tmp_path / ".lock").stat().st_mode & 0o777 == 0o666  # for other users as well
        for take in (lambda: new_run(tmp_path, about()), lambda: Run("x", tmp_path / "x").write_json("a", {})):
            with pytest.raises(Refused, match="is held by another process that takes a number; wait"):
                take()
    assert about_of(new_run(tmp_path, about()))["number"] == 1


def test_a_file_system_without_locks_stops_no_run(tmp_path, monkeypatch):
    """Two may then get one number; they still have an order."""

    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert [about_of(new_run(tmp_path, about()))["number"] for _ in range(2)] == [1, 2]
