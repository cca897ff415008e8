"""Frozen matches: what is written is found again by entry and old id, in any process, and a changed file is refused."""

import os
import pickle
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runbook_lib.errors import Refused
from runbook_lib.run.matches import FILE, Matches, line_of
from runbook_lib.values import key_hash

BY = bytes(range(16))
IDS = [{"S": "a"}, {"N": "1"}, {"S": "1"}, {"B": "YQ=="}]


def line(old, entry="Contacts", **changed):
    """One match: the item `old` of the source has the id NEW in the target."""
    key, target_key = {"id": old}, {"PK": {"S": f"C#{old}"}}
    return line_of(entry, key, old, target_key, {"S": f"new {old}"}, BY) | changed


@pytest.fixture
def path(tmp_path):
    """Where the file is to stand."""
    return tmp_path / FILE


def test_what_is_written_is_found_by_entry_and_old_id(path):
    """Ids of other types and other entries are others; the file is for its owner alone."""
    written = Matches.write(path, [*map(line, IDS), line({"S": "a"}, "Leads", target_id={"N": "7"})])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for matches in (written, Matches.open(path, written.sha256), pickle.loads(pickle.dumps(written))):
        found = [matches.of("Contacts", old) for old in IDS]
        assert [match.new for match in found] == [{"S": f"new {old}"} for old in IDS]
        assert [match.target_key for match in found] == [{"PK": {"S": f"C#{old}"}} for old in IDS]
        assert [match.source_key_hash for match in found] == [key_hash({"id": old}) for old in IDS]
        assert {match.by for match in found} == {BY}
        assert matches.of("Leads", {"S": "a"}).new == {"N": "7"}
        assert matches.of("Contacts", {"N": "1.0"}) == matches.of("Contacts", {"N": "1"})
        assert [matches.of("Leads", {"S": "1"}), matches.of("Contacts", {"SS": ["a"]})] == [None, None]
        assert [matches.count(name) for name in ("Contacts", "Leads", "Deals")] == [4, 1, 0]
        assert [one["id"] for one in matches] == [*IDS, {"S": "a"}]
        assert (matches.rows, matches.sha256) == (5, written.sha256)


def test_there_may_be_none_and_an_entry_may_have_no_ids(path):
    """An empty file has a hash, too; what has no id is counted, and no id finds it."""
    empty = Matches.write(path, [])
    assert (empty.rows, empty.of("Contacts", {"S": "a"}), [*empty]) == (0, None, [])
    matches = Matches.write(path, [line({"S": "a"}, id=None, target_id=None)])
    assert (matches.count("Contacts"), matches.of("Contacts", {"S": "a"})) == (1, None)


@settings(max_examples=30)
@given(st.sets(st.text(min_size=1, max_size=5), max_size=40), st.sampled_from([0, 100, 10**9]))
def test_any_number_of_ids_is_found_spilled_or_not(tmp_path_factory, ids, spill):
    """As a dict would find them."""
    path = tmp_path_factory.mktemp("run") / FILE
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("runbook_lib.run.spill._TOGETHER._bytes", spill)
        matches = Matches.write(path, (line({"S": one}) for one in ids))
    assert all(matches.of("Contacts", {"S": one}).new == {"S": f"new {{'S': {one!r}}}"} for one in ids)
    assert matches.of("Contacts", {"S": "longer than any"}) is None


def test_a_file_that_is_not_as_it_was_written_is_refused(path):
    """Missing, cut off, another one, or garbled: a sentence that quotes nothing of it."""
    written = Matches.write(path, map(line, IDS))
    whole = path.read_bytes()
    for content in (
        whole[:-1],
        whole[: whole.rfind(b"\n", 0, -1) + 1],
        whole.replace(b"new", b"old", 1),
        b"",
        b"[1]\n",
        b'{"table": "Contacts"}\n',
        whole.replace(b'{"S":"a"}', b'{"L":[]}'),
    ):
        path.write_bytes(content)
        with pytest.raises(
            Refused, match="plan-matches.jsonl is not as the run wrote it; restore it from a copy"
        ) as told:
            Matches.open(path, written.sha256)
        assert "C#" not in str(told.value)
    path.unlink()
    with pytest.raises(Refused, match="plan-matches.jsonl is missing; restore it from a copy, or start a new run."):
        Matches.open(path)


def test_what_somebody_writes_into_the_open_file_is_noticed(path):
    """A line is looked at when it is read; nobody takes another item's id for it."""
    matches = Matches.write(path, [line({"S": "a"}), line({"S": "b"})])
    lines = path.read_bytes().splitlines(keepends=True)
    with path.open("r+b") as file:
        file.write(lines[1] + lines[0])
    with pytest.raises(Refused, match="is not as the run wrote it"):
        matches.of("Contacts", {"S": "a"})
    os.truncate(path, 3)
    with pytest.raises(Refused, match="is not as the run wrote it"):
        matches.of("Contacts", {"S": "b"})
