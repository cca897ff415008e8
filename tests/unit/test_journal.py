"""The journal: what is appended is read back; a torn tail is cut; any other damage is found."""

import errno
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbook_lib.errors import Damaged
from runbook_lib.journal import log as journal
from runbook_lib.journal.intents import Intent, JournalRow, intents
from runbook_lib.journal.log import Log
from runbook_lib.journal.repair import _copy
from runbook_lib.journal.stage import is_named_for
from runbook_lib.journal.table_file import Position, read_table_file
from runbook_lib.run.files import write_atomically

ROWS = [
    ["A", {"id": {"S": f"ä{n}\n"}}, {"id": {"S": f"new-{n}"}}, f"ä{n}\n", f"new-{n}", "0" * 32, n == 1, "AAAA"]
    for n in range(3)
]

SEALED = (
    b'5f09ab90946e5ffd7a0ee9c084536eaf582912b73be5bda4 {"kind":"begin","table":"T"}\n'
    b'1c4443d416086a6f3dcc392aeae184cfd57ca6e14c1328b2 {"kind":"undo","n":0,"execution":1,"rows":[]}\n'
)


def write_page(log, page, *, outcome="iac", last=None, execution=1):
    """An intent, with its outcome unless that is None."""
    number = log.number()
    log.append(
        "intent",
        n=number,
        execution=execution,
        page=page,
        start=None,
        rows=ROWS,
        losers=ROWS[:1],
        rejects=[["A", {}, "x", "why"]],
        unrouted=[{"id": {"S": "u"}}],
    )
    if outcome is not None:
        log.append(
            "outcome",
            n=number,
            execution=execution,
            page=page,
            last=last,
            counts={"A": {"scanned": 5}},
            unrouted=1,
            rows=outcome,
            errors={"2": "code"},
        )
    return number


def small(path):
    """A file with a begin, a page, an undo and an open page."""
    log = Log(path)
    log.append("begin", table="T", segment=0)
    number = write_page(log, 0, last={"id": {"S": "k"}})
    log.append("undo", n=number, execution=1, rows=[0, 2])
    log.append("undone", n=number, execution=1, rows={"0": "deleted", "2": "kept_edited"}, counts={"deleted": 1})
    write_page(log, 1, outcome=None, execution=2)
    log.close()
    return path


def test_what_is_appended_is_read_back(tmp_path):
    """Records in order, whole or by kind; intents with their outcome and their undo."""
    path = small(tmp_path / journal.log_name("My.Table-1", 3))
    assert path.name == "My.Table-1.00003.jsonl"
    assert [record["kind"] for record in journal.records(path)] == [
        "begin",
        "intent",
        "outcome",
        "undo",
        "undone",
        "intent",
    ]
    assert [record["n"] for record in journal.records(path, "intent")] == [0, 1]
    assert journal.begin_of(path) == {"kind": "begin", "table": "T", "segment": 0}
    done, waiting = intents(path)
    rows = [JournalRow(*row) for row in ROWS]
    assert done == Intent(
        0,
        1,
        0,
        None,
        rows,
        rows[:1],
        [["A", {}, "x", "why"]],
        [{"id": {"S": "u"}}],
        "iac",
        {"id": {"S": "k"}},
        {"2": "code"},
        {0, 2},
        {0: "deleted", 2: "kept_edited"},
    )
    assert waiting == Intent(1, 2, 1, None, rows, rows[:1], [["A", {}, "x", "why"]], [{"id": {"S": "u"}}])


@given(
    st.lists(
        st.dictionaries(
            st.text(st.characters(codec="utf-8"), max_size=4),
            st.text(st.characters(codec="utf-8")) | st.integers(-(2**63), 2**63) | st.none(),
            max_size=3,
        ),
        max_size=6,
    )
)
def test_any_record_survives(tmp_path_factory, records):
    """Whatever text stands in it: line ends, quotes, other scripts."""
    path = tmp_path_factory.mktemp("journal") / "T.00000.jsonl"
    log = Log(path)
    for content in records:
        log.append("undo", content=content)
    log.close()
    assert [record["content"] for record in journal.records(path)] == records
    assert Log(path).empty == (not records)


def test_a_page_that_was_begun_again_is_given_twice(tmp_path):
    """An intent whose outcome was never written is an intent still."""
    log = Log(tmp_path / "T.00000.jsonl")
    log.append("begin", table="T")
    write_page(log, 0, outcome=None)
    write_page(log, 0, execution=2)
    log.append("undo", n=0, execution=2, rows=[1])
    log.close()
    first, second = intents(log.path)
    assert (first.n, first.outcome, first.undoing) == (0, None, {1})
    assert (second.n, second.outcome, second.undoing) == (1, "iac", set())


def test_numbers_go_on_after_reopening(tmp_path):
    """An intent's number is its own, whichever execution wrote it."""
    log = Log(small(tmp_path / "T.00000.jsonl"))
    assert [log.number(), log.number()] == [2, 3]


def test_the_file_is_for_its_owner_alone(tmp_path):
    """It holds keys."""
    assert stat.S_IMODE(small(tmp_path / "T.00000.jsonl").stat().st_mode) == 0o600


def test_a_torn_tail_is_cut_at_every_byte(tmp_path):
    """A crash in an append: reading stops before it, opening cuts it off, and the next record fits."""
    whole = small(tmp_path / "whole").read_bytes()
    ends = [at + 1 for at, byte in enumerate(whole) if byte == ord("\n")]
    records = list(journal.records(tmp_path / "whole"))
    torn = tmp_path / "T.00000.jsonl"
    for length in range(len(whole) + 1):
        torn.write_bytes(whole[:length])
        good = max((end for end in ends if end <= length), default=0)
        kept = records[: ends.index(good) + 1 if good else 0]
        assert list(journal.records(torn)) == kept
        if length in (0, *ends) or length % 7 == 0:  # opening fsyncs: not at each byte
            log = Log(torn)
            assert (log.cut, log.empty, torn.stat().st_size) == (length - good, not kept, good)
            log.append("undo", n=0, execution=1, rows=[])
            log.close()
            assert [record["kind"] for record in journal.records(torn)] == [record["kind"] for record in kept] + [
                "undo"
            ]


@pytest.mark.parametrize("bit", [0, 5, *(pytest.param(bit, marks=pytest.mark.slow) for bit in (1, 3, 7))])
def test_a_flipped_bit_is_found_in_every_byte(tmp_path, bit):
    """Damaged, naming the record; or, where it takes the last line's end, a torn tail."""
    whole = small(tmp_path / "whole").read_bytes()
    number = list(journal.records(tmp_path / "whole"))
    flipped = tmp_path / "T.00000.jsonl"
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << bit
        flipped.write_bytes(damaged)
        if at == len(whole) - 1:
            assert list(journal.records(flipped)) == number[:-1]
            continue
        with pytest.raises(Damaged, match=rf"^T\.00000\.jsonl: record {whole[:at].count(10) + 1} is damaged; "):
            list(journal.records(flipped))


def test_a_damaged_file_is_not_opened_and_not_touched(tmp_path):
    """No append behind damage."""
    path = small(tmp_path / "T.00000.jsonl")
    damaged = path.read_bytes().replace(b"deleted", b"DELETED", 1)
    path.write_bytes(damaged)
    with pytest.raises(Damaged, match="record 5 is damaged"):
        Log(path)
    assert path.read_bytes() == damaged


@pytest.mark.parametrize("change", ["swap", "repeat", "drop", "insert"])
def test_records_cannot_be_moved(tmp_path, change):
    """Each is chained to all before it."""
    lines = small(tmp_path / "whole").read_bytes().splitlines(keepends=True)
    changed = {
        "swap": [lines[0], lines[2], lines[1], *lines[3:]],
        "repeat": [*lines[:3], lines[2], *lines[3:]],
        "drop": [lines[0], *lines[2:]],
        "insert": [lines[0], lines[4], *lines[1:]],
    }[change]
    path = tmp_path / "T.00000.jsonl"
    path.write_bytes(b"".join(changed))
    with pytest.raises(Damaged):
        list(intents(path))


@pytest.mark.parametrize("failure", ["partial", "fsync", "interrupt"])
def test_after_a_failed_append_nothing_is_written_behind_it(tmp_path, monkeypatch, failure):
    """A full disk, a disk error, Ctrl-C: what is there stays readable, and opening again goes on."""
    path = small(tmp_path / "T.00000.jsonl")
    before = list(journal.records(path))
    log = Log(path)

    class Disk:
        def __init__(self, file):
            self.file = file

        def write(self, line):
            return self.file.write(line[:20] if failure == "partial" else line)

        def __getattr__(self, name):
            return getattr(self.file, name)

    def fsync(descriptor):
        if failure != "partial":
            raise KeyboardInterrupt if failure == "interrupt" else OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(log, "_file", Disk(log._file))
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(KeyboardInterrupt if failure == "interrupt" else OSError):
        log.append("undo", n=0, execution=1, rows=[])
    for again in (lambda: log.append("undo", n=0, execution=1, rows=[]), log.reader):
        with pytest.raises(OSError, match="an earlier record could not be written"):
            again()
    monkeypatch.undo()
    assert list(journal.records(path))[: len(before)] == before
    again = Log(path)
    again.append("undo", n=1, execution=1, rows=[])
    again.close()
    assert list(journal.records(path))[-1]["n"] == 1


def test_the_table_files_of_a_folder(tmp_path):
    """By name, without what else lies there; an empty file has no begin."""
    for name in ("b.00001.jsonl", "b.00000.jsonl", "a.b.00000.jsonl", "stage.jsonl", "b.00000.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in journal.logs(tmp_path)] == ["a.b.00000.jsonl", "b.00000.jsonl", "b.00001.jsonl"]
    assert journal.begin_of(tmp_path / "b.00000.jsonl") is None


def test_every_table_has_a_file_name_that_fits():
    """Also one of 255 characters, for every segment. What fitted before has the name that it had; no two share one."""
    names = ["T" * length for length in (3, 242, 243, 244, 255)] + ["T" * 254 + "U", "a.b", "...", "stage"]
    files = {journal.log_name(name, segment): name for name in names for segment in (0, 7, 99_999, 999_999)}
    assert len(files) == 4 * len(names)
    assert max(map(len, files)) == 255
    assert journal.log_name("T" * 243, 0) == f"{'T' * 243}.00000.jsonl"
    for file, name in files.items():
        assert [other for other in names if is_named_for(Path(file), {"table": other})] == [name]
    assert not is_named_for(Path("stage.jsonl"), {"kind": "execution"})


def test_a_file_whose_name_is_full_is_replaced_and_set_aside_like_any_other(tmp_path):
    """What lies beside it meanwhile, and its copy, have names that fit."""
    path = tmp_path / journal.log_name("T" * 255, 0)
    for content in (b"one", b"two"):
        write_atomically(path, content)
        assert (path.read_bytes(), _copy(path).read_bytes()) == (content, content)
    assert [len(copy.name) for copy in (tmp_path / "damaged").iterdir()] == [255, 255]


# what a later intent stands for


def again(log, instead, rows=ROWS, outcome="ifi", **outcome_more):
    """An intent of no page, which stands for what earlier ones said."""
    number = log.number()
    about = {"n": number, "execution": 2, "page": None}
    log.append("intent", **about, start=None, rows=rows, losers=[], rejects=[], unrouted=[])
    if outcome is not None:
        counts = {"A": {"scanned": 0, "inserted": 1, "failed": -1}}
        told = {"last": None, "counts": counts, "unrouted": 0, "rows": outcome, "errors": {}, "instead": instead}
        log.append("outcome", **about, **told, **outcome_more)
    return number


def test_what_a_later_intent_stands_for_is_taken_out(tmp_path):
    """A row keeps its place, its letter is REPLACED and its error goes; losers, rejects and unrouted items leave the lists."""
    log = Log(tmp_path / "T.00000.jsonl")
    log.append("begin", table="T")
    first = write_page(log, 0, outcome="iaf")
    again(log, [[first, "f", 2], [first, "l", 0], [first, "q", 0], [first, "u", 0]])
    log.close()
    one, two = intents(log.path)
    assert (one.outcome, one.errors, len(one.rows)) == ("ia-", {}, 3)
    assert (one.losers, one.rejects, one.unrouted) == ([], [], [])
    assert (two.page, two.outcome) == (None, "ifi")
    whole, _ = intents(log.path, whole=True)
    assert (whole.outcome, whole.errors) == ("iaf", {"2": "code"})
    assert [len(part) for part in (whole.losers, whole.rejects, whole.unrouted)] == [1, 1, 1]
    assert whole.replaced == one.replaced == {("f", 2), ("l", 0), ("q", 0), ("u", 0)}


def test_until_it_has_its_outcome_it_stands_for_nothing(tmp_path):
    """A crash in between leaves what was said before."""
    log = Log(tmp_path / "T.00000.jsonl")
    log.append("begin", table="T")
    first = write_page(log, 0, outcome="iaf")
    again(log, [[first, "f", 2]], outcome=None)
    log.close()
    one, two = intents(log.path)
    assert (one.outcome, one.replaced, two.outcome) == ("iaf", set(), None)


def test_what_stands_for_something_can_itself_be_replaced(tmp_path):
    """An item that failed, failed again, and then was written."""
    log = Log(tmp_path / "T.00000.jsonl")
    log.append("begin", table="T")
    first = write_page(log, 0, outcome="iaf")
    second = again(log, [[first, "f", 2]], ROWS[2:], "f")
    again(log, [[second, "f", 0]], ROWS[2:], "i")
    log.close()
    assert [intent.outcome for intent in intents(log.path)] == ["ia-", "-", "i"]


def test_a_segment_goes_on_behind_its_last_page_whatever_came_after(tmp_path):
    """An intent of no page does not move it."""
    log = Log(tmp_path / "T.00000.jsonl")
    log.append("begin", table="T")
    first = write_page(log, 0, outcome="iaf", last={"id": {"S": "k"}})
    before = read_table_file(log.path).position
    again(log, [[first, "f", 2]])
    log.close()
    assert read_table_file(log.path).position == before == Position(1, {"id": {"S": "k"}}, False)


# numbers, and records of older versions


def test_a_number_is_never_given_twice(tmp_path):
    """Also where intents are missing from a file, or not in their order, as older versions may have left them."""
    log = Log(tmp_path / "T.00000.jsonl")
    log.append("begin", table="T")
    for number in (3, 0, 2):
        log.append("intent", n=number, execution=1, rows=[])
    log.close()
    assert Log(log.path).number() == 4


def test_records_of_older_versions_are_read_and_go_on_without_seals(tmp_path):
    """They have 16 characters more behind their link; a bit of these counts, too."""
    path = tmp_path / "T.00000.jsonl"
    path.write_bytes(SEALED)
    log = Log(path)
    log.append("undone", n=0, execution=1, rows={}, counts={})
    log.close()
    assert [record["kind"] for record in journal.records(path)] == ["begin", "undo", "undone"]
    assert [len(link) for link in journal.links(path)] == [48, 48, 32]
    for at in range(SEALED.index(b"\n")):
        path.write_bytes(SEALED[:at] + bytes([SEALED[at] ^ 1]) + SEALED[at + 1 :])
        with pytest.raises(Damaged, match="record 1 is damaged"):
            list(journal.records(path))
