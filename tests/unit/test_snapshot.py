"""One reading of a journal file against what its records say when each question goes over them anew."""

from collections import Counter, defaultdict
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbook_lib.errors import Damaged
from runbook_lib.journal import log as journal
from runbook_lib.journal.intents import intents
from runbook_lib.journal.log import CONFLICT, DELETED, FAILED, INSERTED, KEPT_EDITED, MADE_ROOM, NOT_FOUND, Log
from runbook_lib.journal.stage import Stage
from runbook_lib.journal.table_file import Position, place_of, read_table_file
from runbook_lib.run.folder import Run
from runbook_lib.stages.rollback.undo import _candidates

IDENTITY = SimpleNamespace(_asdict=lambda: {"mapping": "m", "environments": "e", "code": "c"})


def row(name: str, *, digest: int = 1, present: bool = False) -> list:
    return [
        "AB"[digest % 2],
        {"id": {"S": name}},
        {"id": {"S": f"new-{name}"}},
        name,
        name,
        f"{digest:032x}",
        present,
        "",
    ]


def write(log: Log, steps: list) -> None:
    """Writes pages, and undos of earlier ones, as steps say."""
    written: list[tuple[int, int]] = []  # intent, rows
    settled: list[tuple[int, str, int]] = []  # intent, letter and index of what nothing has replaced yet
    execution = 1
    for step in steps:
        if step == "again":
            execution += 1
        elif step[0] == "page":
            _, rows, letters, unsent, instead = step
            n = log.number()
            page = None if instead is not None else n
            about = {"n": n, "execution": execution, "page": page}
            log.append("intent", **about, start=None, rows=rows, losers=[], rejects=[], unrouted=[])
            if unsent is not None and rows:
                log.append("unsent", n=n, execution=execution, rows=[unsent % len(rows)])
            if letters is not None:
                found = [settled.pop(instead % len(settled))] if settled and instead is not None else []
                settled += [(n, letter, index) for index, letter in enumerate(letters[: len(rows)])]
                counts = Counter(letters[: len(rows)])
                named = {INSERTED: "inserted", CONFLICT: "conflicts", FAILED: "failed", "a": "already_there"}
                log.append(
                    "outcome",
                    **about,
                    last={"id": {"S": "k"}},
                    counts={"A": {named[letter]: number for letter, number in counts.items()}},
                    unrouted=1,
                    rows=letters[: len(rows)],
                    errors={},
                    **({"instead": found} if found else {}),
                )
            written.append((n, len(rows)))
        else:
            _, which, index, state = step
            if written and written[which % len(written)][1]:
                n, size = written[which % len(written)]
                log.append("undo", n=n, execution=execution, rows=[index % size])
                if state:
                    rows = {str(index % size): state}
                    log.append("undone", n=n, execution=execution, rows=rows, counts={state: 1})


rows = st.lists(
    st.builds(row, st.sampled_from("pqrs"), digest=st.integers(1, 3), present=st.booleans()), min_size=1, max_size=3
)
letters = st.none() | st.text("iacf", min_size=3, max_size=3)
small = st.integers(0, 5)
pages = st.tuples(st.just("page"), rows, letters, st.none() | small, st.none() | small)
undos = st.tuples(st.just("undo"), small, small, st.sampled_from([None, DELETED, KEPT_EDITED, NOT_FOUND, MADE_ROOM]))


@given(st.lists(pages | undos | st.just("again"), max_size=8))
def test_one_reading_says_what_many_say(tmp_path_factory, steps):
    """Counts, position, rows that may have landed, those that stand and those that nobody knows of."""
    path = tmp_path_factory.mktemp("journal") / "T.00000.jsonl"
    log = Log(path)
    log.append("begin", table="T", entries=["A", "B"], segment=0)
    write(log, steps)
    log.close()
    file = read_table_file(path)
    records = list(journal.records(path))
    assert (file.begin, file.tail.records, file.tail.end) == (records[0], len(records), path.stat().st_size)
    assert list(file.intents()) == list(intents(path))
    assert list(file.intents(whole=True)) == list(intents(path, whole=True))
    some = {0, 2}
    assert list(file.intents(only=some)) == [intent for intent in intents(path) if intent.n in some]

    pages_done = [record for record in records if record["kind"] == "outcome" and record["page"] is not None]
    last = pages_done[-1] if pages_done else None
    assert file.position == (Position(last["page"] + 1, last["last"], False) if last else Position())
    by_execution = defaultdict(Counter)
    for intent in intents(path):
        by_execution[intent.execution].update((intent.outcome or "").replace("-", ""))
    for execution, counted in file.counted.items():
        assert +counted.letters == by_execution[execution]
        mine = [record for record in records if record.get("execution") == execution]
        outcomes = [record for record in mine if record["kind"] == "outcome"]
        assert counted.unrouted == len(outcomes)
        assert counted.entries.get("A", Counter()) == sum((Counter(one["counts"]["A"]) for one in outcomes), Counter())
    assert {
        letter: [intent.n for intent in intents(path, whole=True) if letter in (intent.outcome or "")]
        for letter in "cf"
    } == file.holding

    landed: dict = {}
    for intent in intents(path):
        for index, one in enumerate(intent.rows):
            if intent.outcome is not None:
                landed.pop(place_of(one), None)
            elif not one.present and index not in intent.undone:
                landed.setdefault(place_of(one), set()).add(one.digest)
    assert file.maybe_landed == landed

    wanted = {one.place for one in file.cut_off}
    claimed = {
        place_of(one)
        for intent in intents(path)
        for index, (one, letter) in enumerate(zip(intent.rows, intent.outcome or "", strict=False))
        if letter == INSERTED and intent.undone.get(index) != MADE_ROOM
    }
    assert file.standing.claimed == claimed & wanted
    standing, unknown = Counter(), Counter()
    for intent, indexes in _candidates(file, file.intents(), None):
        (unknown if intent.outcome is None else standing).update(intent.rows[index].entry for index in indexes)
    if file.marks or file.cut_off:  # else the counts tell, which these made-up pages do not by entry
        assert +file.standing.entries == standing
    else:
        assert file.standing.entries.total() == standing.total()
    assert +file.unknown() == unknown


def test_a_row_that_landed_when_its_page_was_sent_again_is_ours(tmp_path):
    """Held back the first time, cut off the second: it may be there."""
    log = Log(tmp_path / "T.00000.jsonl")
    log.append("begin", table="T", entries=["A"], segment=0)
    write(log, [("page", [row("p")], None, 0, None), ("page", [row("p")], None, None, None)])
    log.close()
    file = read_table_file(log.path)
    assert [(intent.n, indexes) for intent, indexes in _candidates(file, file.intents(), None)] == [(1, [0])]
    assert file.unknown() == {"B": 1}


@pytest.fixture
def stage(tmp_path):
    """A stage with one page written."""
    stage = Stage(Run("the-first-run", tmp_path / "the-first-run"), "migrate")
    stage.record("execution", entries=["A"], **stage.identity(IDENTITY))
    log, file = stage.open_log(IDENTITY, "T", ["A"], 0, 1)
    assert file is None
    write(log, [("page", [row("p")], "iii", None, None)])
    log.close()
    return stage


def test_what_was_not_written_since_is_taken_over(stage):
    """And what was is read anew, by whomever it was written."""
    before = stage.read()
    assert stage.read().files[0] is before.files[0]
    assert Stage(stage.run, "migrate").read(before).files[0] is before.files[0]
    log = Log(before.files[0].path)
    write(log, [("page", [row("q")], None, None, None)])
    log.close()
    after = stage.read()
    assert (before.files[0].maybe_landed, len(after.files[0].maybe_landed)) == ({}, 1)
    Stage(stage.run, "migrate").record("end")
    assert [event["kind"] for event in stage.events()] == ["execution", "end"]
    assert (after.state().finished, stage.read().state().finished) == (False, True)


def test_events_are_what_was_written(stage):
    """Kept in memory as the file has them, between records of one's own and of others."""
    other = Stage(stage.run, "migrate")
    with stage:
        for number in range(3):
            stage.record("targets", empty={"T": bool(number)}, number=(1, 2))
            other.record("retry", items=number)
            assert list(stage.events()) == list(Stage(stage.run, "migrate").events())
            assert list(stage.read().events()) == list(other.events())
    assert len(list(journal.records(stage.folder / "stage.jsonl"))) == 7


def test_a_known_file_is_opened_without_reading_it_again(stage):
    """Unless somebody wrote to it, or took something from it."""
    (known,) = stage.read().files
    log, file = stage.open_log(IDENTITY, "T", ["A"], 0, 1)
    assert file is known
    assert log.number() == 1
    write(log, [("page", [row("q")], "iii", None, None)])
    log.close()
    assert len(list(journal.records(known.path))) == 5
    log, file = stage.hold(known)
    assert (file.tail.records, log.number()) == (5, file.tail.next)
    assert [intent.n for intent in file.intents(file=log.reader())] == [0, 2]
    log.append("undo", n=2, execution=1, rows=[0])
    assert [intent.n for intent in file.intents(file=log.reader())] == [0, 2]
    log.close()
    with known.path.open("r+b") as whole:
        whole.truncate(known.tail.end - 10)
    with pytest.raises(Damaged, match="shorter than it was"):
        Log(known.path, known.tail)


def test_links_are_those_that_were_asked_for(stage):
    """Of each file by its name in the audit chain."""
    links = [link.decode() for link in journal.links(stage.folder / "T.00000.jsonl")]
    wanted = {
        "journal/migrate/T.00000.jsonl": [(0, ""), (2, links[1]), (9, "")],
        "journal/migrate/stage.jsonl": [(1, "")],
    }
    heads = stage.read(heads=wanted).heads()
    head = heads[stage.folder / "T.00000.jsonl"]
    assert (head.records, head.link, head.links, head.stands) == (3, links[2], {0: "", 2: links[1]}, True)
    assert heads[stage.folder / "stage.jsonl"].records == 1
