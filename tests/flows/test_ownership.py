"""Whose an item is: what each stage believes of what it finds in the target, and looks at before it takes something away."""

from types import SimpleNamespace

import pytest
from support_flows import flow_of
from support_memory import URL, Memory, in_place, key_text

from runbook_lib import failpoints
from runbook_lib.dynamo.items import Wire
from runbook_lib.errors import Interrupted, Refused
from runbook_lib.journal import audit
from runbook_lib.journal.log import Log
from runbook_lib.journal.stage import Stage
from runbook_lib.run.locks import locks
from runbook_lib.stages.validate.repair import ALL, MISSING

SOURCE, TARGET = "Ships-dev-mem", "Ships-prod-mem"
MAPPING = f"{{Ships: {{source: {SOURCE}, target: {TARGET}, id_format: keep}}}}"


def ship(number: int, berth: str = "", sails: str = "white") -> dict:
    """An item of either side; its berth is its key in the target."""
    return {"id": {"S": f"s{number}"}, "berth": {"S": berth or f"b{number}"}, "sails": {"S": sails}}


class Harbour:
    """Three ships to migrate into an empty table, and what an application does there."""

    def __init__(self, outputs):
        self.memory, self._outputs = Memory(), outputs
        self.memory.create(SOURCE, {"id": "S"})
        self.memory.create(TARGET, {"berth": "S"})
        for number in range(3):
            self.memory.put(SOURCE, ship(number))

    def flow(self, run_id: str = "the-first-run", **limits):
        """A migration of them in a run of its own."""
        world = SimpleNamespace(suffix="mem", engine=SimpleNamespace(endpoint_url=URL))
        return flow_of(MAPPING, world, self._outputs, run_id, workers=1, **limits)

    def put(self, item: dict, table: str = TARGET) -> None:
        self.memory.put(table, item)

    def remove(self, number: int) -> dict:
        """An application takes a ship away."""
        self.memory.delete(TARGET, key_text({"berth": {"S": f"b{number}"}}))
        return ship(number)

    def target(self) -> list[dict]:
        return sorted(self.memory.content(TARGET).values(), key=lambda item: item["berth"]["S"])


@pytest.fixture
def harbour(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "FOLDER", tmp_path)
    harbour = Harbour(tmp_path)
    with in_place(harbour.memory):
        yield harbour


def undone(report: dict) -> tuple[int, int, int]:
    """What a rollback counts."""
    return tuple(report["rollback"][name] for name in ("deleted", "kept_edited", "not_found"))


def test_an_equal_item_written_anew_cannot_be_told_from_ours_and_a_changed_one_can(harbour):
    """The limit that docs/rollback.md states; whatever the application adds to its item saves it."""
    flow = harbour.flow()
    flow.migrate()
    harbour.put(harbour.remove(0))
    theirs = harbour.remove(1) | {"written": {"S": "by the application"}}
    harbour.put(theirs)
    assert undone(flow.rollback()) == (2, 1, 0)
    assert harbour.target() == [theirs]


def test_a_second_rollback_takes_nothing_that_came_after_the_first(harbour):
    """Neither equal items of an application, nor those of a later run in another folder, which nobody sees."""
    flow = harbour.flow()
    flow.migrate()
    harbour.remove(2)
    assert undone(flow.rollback()) == (2, 0, 1)
    for number in range(3):
        harbour.put(ship(number))
    assert undone(flow.rollback()) == (2, 0, 1)
    assert len(harbour.target()) == 3


def test_a_run_that_found_its_items_there_neither_takes_them_away_nor_replaces_them(harbour):
    """They are the earlier run's, whose rollback takes them; a repair of the later run puts its own there, if it is asked to."""
    first, later = harbour.flow(), harbour.flow("the-later-run")
    first.migrate()
    assert later.migrate()["totals"]["already_there"] == 3
    harbour.put(ship(0, sails="red"), SOURCE)
    assert later.delta()["drift"]["conflicts"] == 1
    assert undone(later.rollback()) == (0, 0, 0)
    later = harbour.flow("the-latest-run")
    assert later.migrate()["totals"] | {"already_there": 2, "conflicts": 1} == later.migrate()["totals"]
    assert undone(first.rollback()) == (3, 0, 0)
    assert later.validate()["validation"]["missing"] == 3
    audit.begin(later.run(), "04_validate")
    plan = later.steps().plan_repair(later._plan(), MISSING)
    assert any("leave out 2 items of Ships: deleted" in step for step in plan)
    later.steps().repair(later._plan(), ALL)
    assert len(harbour.target()) == 3
    with pytest.raises(Refused, match="run the-latest-run inserted into the same target"):
        first.rollback()
    assert undone(later.rollback()) == (3, 0, 0)
    for number in range(3):
        harbour.put(ship(number))
    assert undone(first.rollback()) == (3, 0, 0)  # as before
    assert len(harbour.target()) == 3


def cut_off(command) -> None:
    """The command, which loses the endpoint when its intent is on disk and nothing is sent."""
    failpoints.arm("wire.PutItem.before=error@1+;wire.BatchExecuteStatement.before=error@1+")
    try:
        with pytest.raises(Interrupted):
            command()
    finally:
        failpoints.disarm()


def test_what_counts_as_ours_without_an_answer_is_said_in_the_reports(harbour):
    """The limit that docs/rollback.md states: equal items that came after the run was cut off."""
    flow = harbour.flow()
    cut_off(flow.migrate)
    for number in range(3):
        harbour.put(ship(number))
    report = flow.migrate()
    assert (report["totals"]["inserted"], report["inserted_unanswered"]) == (1, 1)  # the others never left
    assert "1 item counted as inserted without an answer" in report["alerts"][-1]["message"]
    report = flow.rollback()
    assert (report["rollback"]["deleted"], report["rollback"]["unanswered"]) == (1, 1)
    assert any("1 item deleted of which no answer had said" in alert["message"] for alert in report["alerts"])


@pytest.mark.parametrize("resumed", [True, False])
def test_confirmed_inserts_are_not_counted_among_those_without_an_answer(resumed, harbour):
    """Nor those that a rollback of a killed run finds neither there nor equal."""
    flow = harbour.flow()
    if resumed:
        report = flow.migrate()
        assert report["inserted_unanswered"] == 0
    else:
        cut_off(flow.migrate)
        harbour.put(ship(0, sails="red"))
    report = flow.rollback()["rollback"]
    assert (report["deleted"], report["unanswered"]) == (3 if resumed else 0, 0)


def claims(flow) -> int:
    """How many items the migration has announced that may have arrived."""
    return sum(len(file.maybe_landed) for file in Stage(flow.run(), "migrate").read().files)


def test_a_run_that_was_cut_off_does_not_claim_what_another_run_inserted_before_it_goes_on(harbour):
    """It fails when it is resumed, and takes back what is its own alone."""
    first, later = harbour.flow(), harbour.flow("the-later-run")
    cut_off(first.migrate)
    assert harbour.target() == []
    harbour.put(ship(0))
    assert later.migrate()["totals"]["already_there"] == 1
    harbour.put(ship(4), SOURCE)
    harbour.memory.before_write = lambda operation, place: "ValidationException" if "b4" in place[1] else None
    report = first.migrate()
    assert (report["verdict"], report["totals"]["already_there"], report["totals"]["failed"]) == ("ROLLED_BACK", 3, 1)
    assert harbour.target() == [ship(0), ship(1), ship(2)]
    assert undone(later.rollback()) == (2, 0, 0)


@pytest.mark.parametrize("then", ["rollback", "test"])
def test_a_test_that_died_before_its_inserts_does_not_claim_what_the_migration_inserted(then, harbour, monkeypatch):
    """Its intent is open; the items that are equal now came later, and stay."""
    flow = harbour.flow()
    cut_off(lambda: flow.test("Ships", 3))
    assert harbour.target() == []
    assert flow.migrate()["totals"]["inserted"] == 3
    assert audit.verify(flow.run()).problems == []
    if then == "test":
        assert flow.test("Ships", 3).state.tables["Ships"]["already_there"] == 3
    else:
        flow.rollback("test")
    assert len(harbour.target()) == 3
    assert undone(flow.rollback()) == (3, 0, 0)


def with_a_cut_off_delta(harbour):
    """A run whose delta was cut off, and behind which a migration with nothing left to do has ended; and a later run."""
    first, later = harbour.flow(), harbour.flow("the-later-run")
    first.migrate()
    harbour.put(ship(3), SOURCE)
    cut_off(first.delta)
    first.migrate()
    return first, later


def test_ended_claims_are_no_change_to_the_run_that_made_them(harbour):
    """No execution of that run is open."""
    first, later = with_a_cut_off_delta(harbour)
    assert claims(first) == 1
    later.migrate()
    assert claims(first) == 0
    found = audit.verify(first.run())
    assert (found.problems, found.growth) == ([], [])
    first.delta()
    assert undone(later.rollback()) == (1, 0, 0)
    assert undone(first.rollback()) == (3, 0, 0)


def test_records_forged_before_claims_are_ended_stay_a_finding(harbour):
    """The later run says nothing of what somebody did to that journal."""
    first, later = with_a_cut_off_delta(harbour)
    log = Log(first.outputs / first.run_id / "journal/migrate/Ships-dev-mem.00000.jsonl")
    log.append("undone", n=0, execution=1, rows={"0": "deleted"}, counts={})
    log.close()
    later.migrate()
    (problem,) = audit.verify(first.run()).problems
    assert problem.startswith("journal/migrate/Ships")
    assert "grew" in problem


def test_a_repair_leaves_a_copy_under_an_older_key_to_a_delta(harbour):
    """It is not missing: the journal goes on to claim the copy, and a rollback takes it back."""
    flow = harbour.flow()
    flow.migrate()
    harbour.put(ship(0, "b9"), SOURCE)
    harbour.put(ship(1, "b8"), SOURCE)
    edited = ship(1, sails="black")
    harbour.put(edited)
    audit.begin(flow.run(), "04_validate")
    plan = flow.steps().plan_repair(flow._plan(), ALL)
    assert plan == [
        "leave out 2 items of Ships: the source has changed its key since "
        "(`runbook migrate --delta` moves the older copies)"
    ]
    figures = flow.steps().repair(flow._plan(), ALL).content["validation"]["repaired"]
    assert (figures["moved"], figures["inserted"], figures["left_out"]) == (2, 0, 2)
    assert harbour.target() == [ship(0), edited, ship(2)]
    assert undone(flow.rollback()) == (2, 1, 0)
    assert harbour.target() == [edited]


def test_what_an_application_writes_between_a_delete_and_the_way_back_stays(harbour, monkeypatch):
    """An undo deleted an item that had been edited after all; when it puts that back, a newer one is there."""
    flow = harbour.flow()
    flow.migrate()
    newer = ship(0, sails="newer")
    delete_if, put_new = Wire.delete_if, Wire.put_new

    def late(wire, table, key, condition):
        if key == {"berth": {"S": "b0"}}:
            harbour.put(ship(0) | {"crew": {"L": []}})
        return delete_if(wire, table, key, condition)

    def later(wire, table, item, partition_key, **options):
        harbour.put(newer)
        return put_new(wire, table, item, partition_key, **options)

    monkeypatch.setattr(Wire, "delete_if", late)
    monkeypatch.setattr(Wire, "put_new", later)
    assert undone(flow.rollback()) == (2, 1, 0)
    assert harbour.target() == [newer]


def test_a_retry_counts_what_somebody_else_has_written_meanwhile_as_theirs(harbour):
    """The failed row was refused, so an equal item under its key is not ours."""
    flow = harbour.flow(on_failure="keep")
    harbour.memory.before_write = lambda operation, place: "ValidationException" if "b0" in place[1] else None
    assert flow.migrate()["totals"]["failed"] == 1
    harbour.memory.before_write = lambda operation, place: None
    harbour.put(ship(0))
    totals = flow.retry()["totals"]
    assert (totals["inserted"], totals["already_there"], totals["failed"]) == (2, 1, 0)
    assert undone(flow.rollback()) == (2, 0, 0)
    assert harbour.target() == [ship(0)]
