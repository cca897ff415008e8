"""What is confirmed says what will happen, with the numbers that are known, and where."""

from types import SimpleNamespace

import pytest

from runbook_lib.journal.stage import Stage
from runbook_lib.parameters import Target
from runbook_lib.run.folder import Run
from runbook_lib.stages import confirmation
from runbook_lib.stages.rollback import confirmation as rollback
from runbook_lib.stages.rollback.undo import Preview

LIVE = Target(environment="live", region="eu-central-1", production=True)
PLACE = "live (production, eu-central-1)"


def entry(name, source=None, where=None, expired="copy"):
    """A mapping's entry, as far as the words need it."""
    model = SimpleNamespace(where=where or {}, expired=expired, reuses=False)
    return SimpleNamespace(name=name, source=source or f"{name}-dev", target=f"{name}-live", model=model)


ENTRIES = [entry("Customers"), entry("Orders")]


@pytest.fixture
def run(tmp_path):
    """An empty run."""
    return Run("the-first-run", tmp_path)


def test_a_place_says_production_and_region():
    assert confirmation.place(LIVE) == PLACE
    assert confirmation.place(Target(environment="trial")) == "trial"


def test_a_migration_names_what_its_analysis_would_insert(run):
    """Without the items that it would not insert, each of which counts once; of the chosen entries alone.

    Of two items for one key one is routed, and one a conflict; of an item whose key the target holds, the one is both.
    """
    assert confirmation.migrating(run, ENTRIES, LIVE) == f"insert the items into 2 tables of {PLACE}"
    counts = {"records": 4007, "routed": 4002, "quarantined": 2, "conflicts": 8, "already_there": 1, "expired": 300}
    tables = dict.fromkeys(("Customers", "Orders"), counts)
    run.write_json("migration-analysis", {"tables": tables})
    assert confirmation.migrating(run, ENTRIES, LIVE) == f"insert 7,992 items into 2 tables of {PLACE}"
    assert confirmation.migrating(run, ENTRIES[:1], LIVE) == f"insert 3,996 items into 1 table of {PLACE}"
    skipping = [entry("Customers", expired="skip")]
    assert confirmation.migrating(run, skipping, LIVE) == f"insert 3,696 items into 1 table of {PLACE}"
    with Stage(run, "migrate") as stage:
        stage.record("execution", entries=["Customers"])
    assert confirmation.migrating(run, ENTRIES, LIVE) == f"insert the rest of 7,992 items into 2 tables of {PLACE}"
    done = confirmation.migrating(run, ENTRIES, LIVE, complete=True)
    assert done == f"report run the-first-run, which is complete, and write nothing into {PLACE}"


def test_counts_of_dynamodb_are_no_more_than_about():
    """A table that several entries share counts once; a condition selects some of it."""
    counts = {"Customers-dev": 1000, "Orders-dev": 500, "one": 70}
    assert "insert about 1,500 items into 2 tables" in confirmation.migrating(None, ENTRIES, LIVE, counts)
    shared = [entry("Leads", "one", {"type": "LEAD"}), entry("Deals", "one", {"type": "DEAL"})]
    assert "insert at most about 70 items into 2 tables" in confirmation.migrating(None, shared, LIVE, counts)
    assert "insert the items into 2 tables" in confirmation.migrating(None, ENTRIES, LIVE, {"one": 70})


@pytest.mark.parametrize(
    ("missing", "table", "keep", "words"),
    [
        (None, "", False, "create the missing tables"),
        (2, "", False, "create 2 tables"),
        (0, "", False, "create no table"),
        (
            1,
            "Orders",
            False,
            "create 1 table, insert 3 items of Orders with what they refer to and delete all of it again",
        ),
        (0, "Orders", True, "insert 3 items of Orders with what they refer to"),
    ],
)
def test_a_test_says_what_it_creates_inserts_and_deletes(missing, table, keep, words):
    assert confirmation.testing(LIVE, missing, table, 3, keep=keep) == f"{words} in {PLACE}"


def test_one_item_is_no_they():
    said = confirmation.testing(LIVE, 0, "Orders", 1, keep=True)
    assert said == f"insert 1 item of Orders with what it refers to in {PLACE}"


def test_other_stages_say_what_they_write():
    assert confirmation.repairing(ENTRIES, LIVE) == f"insert what is missing into 2 tables of {PLACE}"
    delta, retry = (confirmation.migrating(None, ENTRIES, LIVE, again=word) for word in ("delta", "retry_failed"))
    assert delta == f"insert added items and replace the copies of changed ones in 2 tables of {PLACE}"
    assert retry == f"insert the items that failed before into 2 tables of {PLACE}"


def test_a_rollback_says_how_many_items_it_may_delete():
    """Those that were announced without a result may not be there."""
    entries = {"Customers": {"target": "Customers-live"}, "Orders": {"target": "Orders-live"}}
    checkpoint = SimpleNamespace(entries=entries, parameters=SimpleNamespace(target=LIVE))
    told = rollback.undoing(checkpoint, Preview({"Customers": 1000, "Orders": 24}, {}))
    assert told == f"delete 1,024 inserted items from 2 tables of {PLACE}, unless somebody has changed them"
    assert "delete up to 1 inserted item from 1 table" in rollback.undoing(checkpoint, Preview({}, {"Orders": 1}))
    assert rollback.undoing(checkpoint, Preview({"Orders": 1}, {})).endswith(", unless somebody has changed it")
    assert "delete 0 inserted items from no table," in rollback.undoing(checkpoint, Preview({}, {}))
