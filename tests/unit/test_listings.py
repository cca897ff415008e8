"""Listing files and the id map, while another process writes the same, fails, or is killed."""

import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import orjson
import pyarrow.parquet
import pytest
from compiled import mapping_of

from runbook_lib.journal import audit
from runbook_lib.journal.intents import Intent, JournalRow
from runbook_lib.journal.listings import entry_of, reference_line, write_listing, write_lists
from runbook_lib.mapping.walkers import NOWHERE
from runbook_lib.run.files import Unfinished
from runbook_lib.run.folder import Run

ROOT = Path(__file__).resolve().parents[2]
KEY = {"id": {"S": "a"}}
NO_IDS = b64encode(NOWHERE).decode()


def lines(folder: Path, name: str) -> list[dict]:
    return [orjson.loads(line) for line in (folder / f"{name}.jsonl").read_bytes().splitlines()]


ENTRIES = """
defaults: {source: s, target: t}
tables:
  Orgs: {id: {in: PK, as: "ORG#{id}"}}
  Users:
    id: {in: SK, as: "USER#{id}"}
    references:
      PK: "ORG#{Orgs}"
      both: "ORG#{Orgs}#USER#{Users}"
      either: {to: [Orgs, "USER#{Users}"]}
      named: {table_named_by: kind}
      record: {record_of: Orgs}
  Posts: {id: {in: PK, as: "{*}#{id}"}, references: {PK: "{Users}#{*}"}}
  Plain: {}
"""


@pytest.mark.parametrize(
    ("entry", "path", "to"),
    [
        ("Orgs", "PK", "Orgs"),
        ("Plain", "id", "Plain"),
        ("Users", "SK", "Users"),
        ("Users", "PK", "Orgs"),
        ("Users", "both", "ORG#{Orgs}#USER#{Users}"),
        ("Users", "either", "Orgs or USER#{Users}"),
        ("Users", "named", None),
        ("Users", "record", "Orgs"),
        ("Posts", "PK", "{Users}#{*} or {*}#{Posts}"),
        ("Posts", None, None),
    ],
)
def test_a_value_that_cannot_be_read_says_what_should_stand_there(entry, path, to):
    """The entry, the item's own where its id is meant; a text that should hold several ids, as the mapping says it."""
    line = reference_line(mapping_of(ENTRIES).entries[entry], KEY, path)
    assert line == {"table": entry, "key": KEY, "path": path, "to": to}
    assert reference_line(mapping_of(ENTRIES).entries[entry], KEY, path, "Others")["to"] == "Others"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def journal(entry: str, meanwhile: Callable[[], object]) -> SimpleNamespace:
    """What `write_lists` reads: one page of an entry, with an item that arrived and one that did not fit."""

    def intents(final: bool) -> Iterator[tuple[str, Intent]]:
        row = JournalRow(entry, KEY, KEY, "a", "new-a", "", False, NO_IDS)
        yield entry, Intent(rows=[row], outcome="i", rejects=[[entry, KEY, "n", "not a number"]])
        meanwhile()

    return SimpleNamespace(files=[], intents=intents)


def test_two_processes_write_the_lists_of_one_run_at_once(tmp_path):
    """Both get on; what is in place is whole, of the one that ended last, and nothing lies beside it."""
    write_lists(tmp_path, journal("First", lambda: write_lists(tmp_path, journal("Second", lambda: None), {})), {})
    assert [line["table"] for line in lines(tmp_path, "quarantine")] == ["First"]
    assert pyarrow.parquet.read_table(tmp_path / "id-map.parquet").to_pylist() == [
        {"table": "First", "source_id": "a", "target_id": "new-a", "how": "new"}
    ]
    assert names(tmp_path) == ["id-map.parquet", "quarantine.jsonl"]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_one_without_lines_removes_the_list_of_another_and_not_its_unfinished_one(tmp_path):
    """Which of two lists stays is decided by who ends last."""

    def entries():
        yield entry_of("First", KEY)
        assert write_listing(tmp_path, "conflicts", []) == 0

    assert write_listing(tmp_path, "conflicts", entries()) == 1
    assert [line["table"] for line in lines(tmp_path, "conflicts")] == ["First"]
    assert write_listing(tmp_path, "conflicts", []) == 0
    assert names(tmp_path) == []


def test_whoever_fails_leaves_what_was_there(tmp_path):
    """Of none of its lists, and of no id map, is anything left."""
    write_lists(tmp_path, journal("Earlier", lambda: None), {})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail():
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        write_lists(tmp_path, journal("Failing", fail), {})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_disk_that_takes_no_more_leaves_what_was_there(tmp_path, monkeypatch):
    """It may say so as late as when all is written."""
    write_lists(tmp_path, journal("Earlier", lambda: None), {})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(descriptor):
        raise OSError("the disk is full")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="the disk is full"):
        write_lists(tmp_path, journal("Failing", lambda: None), {})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


KILLED = """
import os, pathlib, signal, sys
from runbook_lib.journal.listings import entry_of, write_listing

def entries():
    for _ in range(10_000):
        yield entry_of("Killed", {"id": {"S": "a"}})
    os.kill(os.getpid(), signal.SIGKILL)

write_listing(pathlib.Path(sys.argv[1]), "conflicts", entries())
"""


def test_what_a_killed_process_left_is_nobodys_and_goes_with_the_next_list(tmp_path):
    """The one that another process is writing stays."""
    run = Run("some-run-id", tmp_path / "some-run-id")
    run.folder.mkdir()
    (run.folder / "run.json").write_text("{}")
    audit.append(run, "01_analyze")
    before = {*names(run.folder)}
    subprocess.run([sys.executable, "-c", KILLED, str(run.folder)], env={"PYTHONPATH": str(ROOT)}, check=False)
    (left,) = {*names(run.folder)} - before
    assert (run.folder / left).stat().st_size > 0
    found = audit.verify(run)
    assert (found.problems, found.growth) == ([], [])
    live = Unfinished(run.folder / "conflicts.jsonl")
    assert not (run.folder / left).exists()
    write_listing(run.folder, "conflicts", [entry_of("Second", KEY)])
    assert {*names(run.folder)} - before == {"conflicts.jsonl", live.path.name}
    live.file.write(b"{}\n")
    live.end(whole=True)
    assert lines(run.folder, "conflicts") == [{}]
    assert {*names(run.folder)} - before == {"conflicts.jsonl"}


def test_one_that_is_taken_for_a_left_one_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    """Another process may look between the moment at which the file is there and the one at which it is locked."""
    taken = []

    def lock(file, **options):
        if not taken:
            taken.extend(tmp_path.iterdir())
            taken[0].unlink()
        return True

    monkeypatch.setattr("runbook_lib.run.files.lock_file", lock)
    made = Unfinished(tmp_path / "kept.jsonl")
    assert names(tmp_path) == [made.path.name] != [taken[0].name]
    made.end(whole=False)
    assert names(tmp_path) == []
