"""What a journal says of an item, found again by its key."""

import sqlite3
from types import SimpleNamespace

import pytest

from runbook_lib.errors import Interrupted
from runbook_lib.journal import lookup as journal_lookup
from runbook_lib.journal.intents import intent_at, intents
from runbook_lib.journal.log import Log
from runbook_lib.journal.lookup import (
    ANNOUNCED,
    BY_TARGET,
    GONE,
    OF_NO_ENTRY,
    OPEN,
    STANDS,
    Lookup,
    item_hash,
    reason_digest,
)
from runbook_lib.journal.table_file import read_table_file
from runbook_lib.stages.rollback.undo import MADE_ROOM


def key(name: str) -> dict:
    return {"id": {"S": name}}


def row(name: str, digest: int = 1, present: bool = False) -> list:
    return ["Ships", key(name), key(f"new-{name}"), name, f"new-{name}", f"{digest:032x}", present, ""]


class Journal:
    """One file, and a stage that has no other."""

    def __init__(self, folder):
        self.path = folder / "Ships.00000.jsonl"
        self.log = Log(self.path)
        self.begin = {"table": "Sea", "entries": ["Ships"], "segment": 0}
        self.log.append("begin", **self.begin)

    def intent(self, *rows: list, page: int | None = 0, **lists) -> int:
        n = self.log.number()
        lists = {"losers": [], "rejects": [], "unrouted": []} | lists
        self.log.append("intent", n=n, execution=1, page=page, start=None, rows=list(rows), **lists)
        return n

    def outcome(self, n: int, letters: str, page: int | None = 0, **more) -> None:
        self.log.append(
            "outcome", n=n, execution=1, page=page, last=None, counts={}, unrouted=0, rows=letters, errors={}, **more
        )

    def lookup(self, **options) -> Lookup:
        return Lookup(SimpleNamespace(files=(read_table_file(self.path),)), **options)


@pytest.fixture
def sea(tmp_path):
    return Journal(tmp_path)


def said(lookup: Lookup, *names: str) -> list[tuple]:
    """(n, letter, state) of everything that is said of the items."""
    hashes = [item_hash("Ships", key(name)) for name in names]
    found = lookup.find(hashes)
    return [(one.n, one.letter, one.state) for hashed in hashes for one in found.get(hashed, [])]


def test_everything_that_an_intent_says_is_found_by_its_key(sea):
    """Rows by their outcome, losers, rejects by their reason, and unrouted items by their table; with their source keys."""
    n = sea.intent(
        row("a"), row("b"), losers=[row("c")], rejects=[["Ships", key("d"), "sails", "torn"]], unrouted=[key("e")]
    )
    sea.outcome(n, "ic")
    with sea.lookup() as lookup:
        assert said(lookup, "a", "b", "c", "d", "e", "f") == [(n, letter, STANDS) for letter in "iclq"]
        (d,) = lookup.find([item_hash("Ships", key("d"))]).popitem()[1]
        assert d.digest == reason_digest("sails", "torn")
        assert lookup.source_key(d) == ("Ships", key("d"))
        (e,) = lookup.find([item_hash("Sea", key("e"), OF_NO_ENTRY)]).popitem()[1]
        assert lookup.source_key(e) == ("Sea", key("e"))
        assert lookup.unrouted == {0}


def test_what_a_later_intent_stands_for_is_not_said_any_more(sea):
    """Only its outcome takes the place; until then both are said."""
    first = sea.intent(row("a"), row("b"), unrouted=[key("c")])
    sea.outcome(first, "ii")
    second = sea.intent(row("a", 2), page=None)
    with sea.lookup() as lookup:
        assert said(lookup, "a") == [(first, "i", STANDS), (second, OPEN, STANDS)]
    sea.outcome(second, "i", page=None, instead=[[first, "i", 0], [first, "u", 0]])
    with sea.lookup() as lookup:
        assert said(lookup, "a", "b") == [(second, "i", STANDS), (first, "i", STANDS)]
        assert not lookup.unrouted


def test_deletes_that_were_announced_or_made_room_are_known(sea):
    """And nothing else of an undo."""
    n = sea.intent(row("a"), row("b"), row("c"))
    sea.outcome(n, "iii")
    sea.log.append("undo", n=n, execution=1, rows=[0, 1])
    sea.log.append("undone", n=n, execution=1, rows={"0": MADE_ROOM}, counts={"replaced": 1})
    with sea.lookup() as lookup:
        assert said(lookup, "a", "b", "c") == [(n, "i", GONE), (n, "i", ANNOUNCED), (n, "i", STANDS)]


def test_an_open_row_claims_only_what_was_absent_and_sent(sea):
    """What was there before is nobody's claim, and neither is what never left."""
    n = sea.intent(row("a"), row("b", present=True), row("c"))
    sea.log.append("unsent", n=n, execution=1, rows=[2])
    with sea.lookup() as lookup:
        assert said(lookup, "a", "b", "c") == [(n, OPEN, STANDS)]


def test_copies_are_found_by_their_target_key_where_that_is_asked_for(sea):
    """Inserted and open rows; not those that were there before, or that are gone."""
    n = sea.intent(row("a"), row("b"), row("c"))
    sea.outcome(n, "iai")
    sea.log.append("undone", n=n, execution=1, rows={"2": MADE_ROOM}, counts={})
    with sea.lookup(targets={"Ships": "Fleet"}) as lookup:
        hashes = {name: item_hash("Fleet", key(f"new-{name}"), BY_TARGET) for name in "abc"}
        assert set(lookup.find(hashes.values())) == {hashes["a"]}
    with sea.lookup() as lookup:
        assert not lookup.find(hashes.values())


def test_what_a_file_has_grown_by_is_taken_as_if_it_were_read_anew(sea):
    """New intents, what they stand for, announced and arrived deletes; an intent without its outcome waits for it."""
    names = "abcdefg"
    first = sea.intent(row("a"), row("b"), losers=[row("c")], unrouted=[key("d")])
    sea.outcome(first, "ii")
    kinds = {name: [item_hash("Ships", key(name)), item_hash("Sea", key(name), OF_NO_ENTRY)] for name in names}
    steps = [
        lambda: sea.log.append("undo", n=first, execution=1, rows=[0]),
        lambda: sea.log.append("undone", n=first, execution=1, rows={"0": MADE_ROOM}, counts={"replaced": 1}),
        lambda: sea.outcome(sea.intent(row("a", 2), page=None), "i", page=None, instead=[[first, "i", 0]]),
        lambda: sea.outcome(sea.intent(row("c", 2), row("e"), page=None), "cf", page=None, instead=[[first, "l", 0]]),
        lambda: sea.outcome(sea.intent(page=None), "", page=None, instead=[[first, "i", 1], [first, "u", 0]]),
        lambda: (
            sea.intent(row("f")),
            sea.outcome(sea.intent(row("f", 2), rejects=[["Ships", key("g"), "x", "y"]]), "i"),
        ),
    ]
    with sea.lookup() as grown:
        for step in steps:
            step()
            grown.grow({0})
            with sea.lookup() as anew:
                for hashes in kinds.values():
                    assert grown.find(hashes) == anew.find(hashes)
        n = sea.intent(row("b", 3))
        grown.grow({0})
        assert not said(grown, "b")
        sea.outcome(n, "i")
        grown.grow({0})
        assert said(grown, "b") == [(n, "i", STANDS)]


def test_one_row_is_found_in_an_intent_without_the_others(sea):
    """Also where a text before it looks like its end; what a search does not find is read."""
    strange = ["Ships", key('a"],["b'), key("new"), 'x"]', "y", f"{7:032x}", False, "ids"]
    n = sea.intent(row("a"), strange, row("b", 3))
    sea.outcome(n, "iii")
    with sea.lookup() as lookup:
        for name, wanted in (('a"],["b', strange), ("b", row("b", 3))):
            ((one,),) = lookup.find([item_hash("Ships", key(name))]).values()
            assert list(lookup.row(one, "Ships", key(name))) == wanted
            assert not lookup._intents
            assert lookup.execution(one) == 1
        assert list(lookup.row(one, "Ships", key("spelt in another way"))) == row("b", 3)


def test_what_was_not_seen_comes_in_batches_in_the_order_of_the_journal(sea, monkeypatch):
    """While others go on looking things up and seeing them."""
    monkeypatch.setattr(journal_lookup, "ASKED", 7)
    for number in range(5):
        n = sea.intent(*(row(f"{number}-{at}") for at in range(10)))
        sea.outcome(n, "i" * 10)
    with sea.lookup() as lookup:
        lookup.see([item_hash("Ships", key(f"{number}-{at}")) for number in range(5) for at in range(0, 10, 2)])
        found = []
        for batch in lookup.unseen({0}):
            assert len(batch) <= 7
            lookup.see([item_hash("Ships", key("4-9"))])
            found += [(one.n, one.index) for one in batch]
        assert found == [(n, at) for n in range(5) for at in range(1, 10, 2) if (n, at) != (4, 9)]
        assert list(lookup.unseen({1})) == []


def test_an_intent_is_read_again_from_its_place(sea):
    """As it was written; few are kept in memory."""
    for number in range(journal_lookup.HELD_INTENTS + 3):
        sea.outcome(sea.intent(row(f"s{number}")), "i")
    with sea.lookup() as lookup:
        for number in (*range(journal_lookup.HELD_INTENTS + 3), 0):
            (one,) = lookup.find([item_hash("Ships", key(f"s{number}"))]).popitem()[1]
            assert lookup.intent(one).rows[one.index].source_key == key(f"s{number}")
        assert len(lookup._intents) == journal_lookup.HELD_INTENTS
    at = [intent.at for intent in intents(sea.path)]
    with sea.path.open("rb") as file:
        assert intent_at(file, at[2]).rows[0].source_key == key("s2")


def test_a_full_temporary_folder_interrupts(sea):
    """In one sentence, with the mend."""
    with (
        sea.lookup() as lookup,
        pytest.raises(Interrupted, match="make room in the machine's temporary folder"),
        lookup._saving(),
    ):
        raise sqlite3.OperationalError("database or disk is full")
