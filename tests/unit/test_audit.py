"""The audit chain: an untouched folder is proved, anything else is named."""

import json

import pytest

from runbook_lib.errors import Refused
from runbook_lib.journal import audit
from runbook_lib.journal.log import Log
from runbook_lib.run.folder import Run


@pytest.fixture
def run(tmp_path):
    """A folder with a report, a listing, a log and a journal, recorded twice."""
    folder = tmp_path / "some-run-id"
    (folder / "journal" / "migrate").mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    (folder / "run.log").write_text("one\n")
    (folder / "migration-report-1.json").write_text("{}")
    (folder / "conflicts.jsonl").write_text("{}\n")
    log = Log(folder / "journal" / "migrate" / "T.00000.jsonl")
    for number in range(4):
        log.append("begin", number=number)
    made = Run("some-run-id", folder)
    audit.append(made, "03_migrate")
    log.append("begin", number=4)
    (folder / "run.log").write_text("one\ntwo\n")
    audit.append(made, "04_validate")
    return made


ADDED = "migration-report-2.json is in no record: somebody added it, or an execution that was killed left it"


def journal(run):
    """The journal file."""
    return run.folder / "journal" / "migrate" / "T.00000.jsonl"


def test_an_untouched_folder_is_proved(run):
    """Nothing changed: no problem, and the head is that of the last record."""
    found = audit.verify(run)
    assert found.problems == []
    assert found.records == 2
    assert found.head == json.loads((run.folder / "audit.jsonl").read_text().splitlines()[-1])["hash"]


def test_a_folder_may_grow(run):
    """A journal and a log may go on after the last record."""
    Log(journal(run)).append("begin", number=5)
    (run.folder / "run.log").write_text("one\ntwo\nthree\n")
    assert audit.verify(run).problems == []


@pytest.mark.parametrize("name", ["migration-report-1.json", "conflicts.jsonl", "run.json"])
def test_a_changed_file_is_named(run, name):
    """One byte more is a change."""
    (run.folder / name).write_text((run.folder / name).read_text() + " ")
    assert audit.verify(run).problems == [f"{name} was changed"]


def test_a_missing_or_added_report_is_named(run):
    """Reports neither vanish nor appear."""
    (run.folder / "migration-report-1.json").rename(run.folder / "migration-report-2.json")
    assert audit.verify(run).problems == ["migration-report-1.json is missing", ADDED]


def test_a_file_of_any_other_name_is_named_too(run):
    """What was put into the folder by hand is no part of the run; what an editor or a running command hides is nobody's."""
    (run.folder / "notes.txt").write_text("looks fine")
    (run.folder / ".stop").write_text("{}")
    named = ADDED.replace("migration-report-2.json", "notes.txt")
    assert audit.verify(run).problems == [named]
    audit.append(run, "05_rollback")
    assert audit.verify(run).problems == [named]


def test_a_log_that_was_rewritten_is_named(run):
    """What the log held when it was recorded stays."""
    (run.folder / "run.log").write_text("one\nTWO\nthree\n")
    assert audit.verify(run).problems == ["run.log was changed"]


def test_a_journal_that_lost_whole_records_is_refused(run):
    """Records cut from the end leave a valid chain; the audit knows how long it was."""
    lines = journal(run).read_bytes().splitlines(keepends=True)
    journal(run).write_bytes(b"".join(lines[:3]))
    assert "lost records: it held 4 and holds 3" in audit.verify(run).problems[0]
    with pytest.raises(Refused, match="lost records"):
        audit.check_journals(run)


def test_every_byte_of_the_chain_counts(run):
    """A bit flipped anywhere in audit.jsonl is noticed."""
    path = run.folder / "audit.jsonl"
    content = path.read_bytes()
    for at in range(0, len(content) - 1, 7):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert audit.verify(run).problems, at


def test_a_record_taken_out_of_the_chain_is_noticed(run):
    """The second record does not continue an empty chain."""
    path = run.folder / "audit.jsonl"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[1])
    assert audit.verify(run).problems[0] == "audit.jsonl: record 1 does not continue the chain"


def test_without_a_chain_there_is_nothing_to_prove(tmp_path):
    """A folder that no stage was executed in is refused with a sentence."""
    with pytest.raises(Refused, match=r"no audit\.jsonl"):
        audit.verify(Run("other-run-id", tmp_path))
