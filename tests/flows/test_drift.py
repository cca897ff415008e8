"""A source that changes while and after it is migrated: what is found, what a delta does about it, and what it leaves alone."""

import pytest
import support_worlds as worlds
from support_crashes import small_pages
from support_flows import Flow, flow_of

from runbook_lib import failpoints
from runbook_lib.dynamo.items import Wire
from runbook_lib.errors import DynamoError, Interrupted, Refused
from runbook_lib.journal import audit
from runbook_lib.journal.stage import Stage
from runbook_lib.report.runs.status import status
from runbook_lib.stages.migrate.delta import catch_up
from runbook_lib.walk import control

SOURCE, TARGET = worlds.SOURCE, worlds.TARGET
COUNTS = ("inserted", "already_there", "conflicts", "quarantined", "failed")
SPLIT = """{{
  Leads: {{source: Crm-dev-{suffix}, target: Leads-prod-{suffix}, id_format: keep, where: {{kind: lead}},
    fields: {{PK: LEAD, SK: "{{day|0000}}#{{id}}", id: {{from: id}}, n: {{from: n, type: number}}}}, drop: [kind, day]}},
  Deals: {{source: Crm-dev-{suffix}, target: Deals-prod-{suffix}, id_format: keep, where: {{kind: deal}}}}}}"""


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch):
    small_pages(monkeypatch)


class Fleet:
    """Ten ships, migrated; and what may happen to them on either side."""

    def __init__(self, world: worlds.World, outputs, ships: int = 10):
        self.world = world
        key = {"key": {"id": "S"}}
        items = [self.ship(number) for number in range(ships)]
        world.build({"Ships": key | {"items": items}}, SOURCE)
        world.build({"Ships": key | {"items": [{"id": {"S": "nobody's"}}]}}, TARGET)
        self.first = world.content(TARGET)
        self.flow = flow_of("{Ships: {}}", world, outputs)

    @staticmethod
    def ship(number: int, sails: str = "white") -> dict:
        return {"id": {"S": f"s{number}"}, "sails": {"S": sails}, "crew": {"L": [{"N": str(number)}]}}

    def copy(self, number: int, sails: str = "white") -> dict:
        """What the migration makes of a ship."""
        return self.ship(number, sails) | {"id": self.new_id(number)}

    @staticmethod
    def new_id(number: int) -> dict:
        return {"S": worlds.new_id(TARGET, "Ships", "uuid", "S", f"s{number}")}

    def put(self, item: dict) -> None:
        """In the source."""
        self.world.put(self.world.name("Ships", SOURCE), item)

    def sink(self, number: int) -> None:
        """In the source."""
        self.world.delete(self.world.name("Ships", SOURCE), {"id": {"S": f"s{number}"}})

    def edit(self, item: dict) -> None:
        """In the target."""
        self.world.put(self.world.name("Ships", TARGET), item)

    def remove(self, number: int) -> None:
        """In the target."""
        self.world.delete(self.world.name("Ships", TARGET), {"id": self.new_id(number)})

    def target(self) -> list[dict]:
        return self.world.content(TARGET)["Ships"]

    def check(self, *theirs: dict, **sails: str) -> None:
        """The target holds the copies s0=…, s1=…, and what others put there."""
        mine = [self.copy(int(name[1:]), colour) for name, colour in sails.items()]
        assert self.target() == worlds.plain_items([*mine, *theirs, *self.first["Ships"]])


@pytest.fixture
def fleet(moto_world, tmp_path):
    fleet = Fleet(moto_world, tmp_path)
    fleet.flow.migrate()
    return fleet


WHITE = {f"s{number}": "white" for number in range(10)}


def found(report: dict, *names: str) -> dict[str, int]:
    """The figures of a delta that are not 0, without how many items were looked at."""
    return {name: number for name, number in report["drift"].items() if number and name != "looked_at"}


def check_sums(report: dict) -> None:
    """Invariant 4, and the id map."""
    for counts in report["tables"].values():
        assert counts["scanned"] == sum(counts[name] for name in COUNTS)
    totals = report["totals"]
    assert report["id_map"]["rows"] == totals["scanned"] - totals["quarantined"]


def reasons(flow: Flow, name: str = "drift") -> dict[str, str]:
    """Old id → reason of a listing's lines."""
    return {line["key"]["id"]["S"]: line["reason"] for line in flow.listing(name)}


# what a delta does


def test_a_delta_inserts_what_was_added_and_replaces_what_was_changed(fleet):
    """The target is what a migration of the source as it is now would make; a deleted item's copy stays, and is listed."""
    fleet.put(fleet.ship(3, "red"))
    fleet.put(fleet.ship(11))
    fleet.sink(5)
    report = fleet.flow.delta()
    assert found(report) == {"added": 1, "changed": 1, "inserted": 1, "updated": 1, "deleted": 1}
    assert report["drift"]["looked_at"] == 10
    assert (report["totals"]["scanned"], report["totals"]["inserted"]) == (11, 11)
    check_sums(report)
    fleet.check(**WHITE | {"s3": "red", "s11": "white"})
    assert {old: reason.partition(" since")[0] for old, reason in reasons(fleet.flow).items()} == {
        "s3": "changed in the source",
        "s11": "added to the source",
        "s5": "deleted from the source",
    }
    assert (fleet.flow.outputs / fleet.flow.run_id / "drift.jsonl").stat().st_mode & 0o777 == 0o600
    assert report["verdict"] == "REVIEW"
    assert fleet.flow.validate()["validation"]["different"] == 0
    assert fleet.flow.rollback()["rollback"]["deleted"] == 11
    fleet.check()


@pytest.mark.parametrize(
    "engine",
    ["moto", *(pytest.param(name, marks=pytest.mark.slow) for name in ("ministack", "dynalite"))],
    indirect=True,
)
def test_workers_and_segments_do_not_disturb_each_other(world, tmp_path):
    """Sixty items in three segments, all changed, some new, on each engine: all there, and the way back is whole."""
    fleet = Fleet(world, tmp_path, 60)
    fleet.flow = flow_of("{Ships: {}}", world, tmp_path, workers=8, segments=3)
    assert fleet.flow.migrate()["totals"]["inserted"] == 60
    for number in range(70):
        fleet.put(fleet.ship(number, "red"))
    report = fleet.flow.delta()
    assert found(report) == {"added": 10, "changed": 60, "inserted": 10, "updated": 60}
    check_sums(report)
    fleet.check(**{f"s{number}": "red" for number in range(70)})
    assert found(fleet.flow.delta()) == {}
    assert fleet.flow.rollback()["rollback"]["deleted"] == 70
    fleet.check()


def test_without_a_change_a_delta_writes_nothing(fleet):
    """Not to the target, and of the journal only that it was there."""
    run = fleet.flow.run()
    before = {path: path.read_bytes() for path in run.journal("migrate").glob("Ships*")}
    report = fleet.flow.delta()
    assert found(report) == {}
    assert report["verdict"] == "PASS"
    assert {path: path.read_bytes() for path in run.journal("migrate").glob("Ships*")} == before
    assert not fleet.flow.listing("drift")


def test_one_delta_can_follow_another(fleet):
    """Each looks at what the one before left: an item may change, go and come as often as it likes."""
    for sails in ("red", "blue", "white"):
        fleet.put(fleet.ship(3, sails))
        report = fleet.flow.delta()
        assert found(report) == {"changed": 1, "updated": 1}
        fleet.check(**WHITE | {"s3": sails})
    fleet.sink(3)
    assert found(fleet.flow.delta()) == {"deleted": 1}
    fleet.put(fleet.ship(3, "green"))
    report = fleet.flow.delta()
    assert found(report) == {"changed": 1, "updated": 1}
    assert report["totals"]["inserted"] == report["totals"]["scanned"] == 10
    check_sums(report)
    assert fleet.flow.rollback()["rollback"]["deleted"] == 10
    fleet.check()


def test_a_plan_counts_and_writes_nothing(fleet):
    """Without execute: the same figures, the same target and journal."""
    fleet.put(fleet.ship(3, "red"))
    fleet.put(fleet.ship(11))
    run = fleet.flow.run()
    before = {path: path.read_bytes() for path in run.folder.rglob("*.jsonl")}
    drift = catch_up(run, fleet.flow._plan(), write=False).drift
    assert (drift.added, drift.changed, drift.inserted, drift.updated) == (1, 1, 1, 1)
    assert {path: path.read_bytes() for path in run.folder.rglob("*.jsonl")} == before
    fleet.check(**WHITE)


# what it leaves alone


def test_what_was_changed_on_both_sides_stays_and_is_listed(fleet):
    """Edited, grown, or deleted in the target: no delta overwrites it, however often it is given, and no rollback."""
    for number in (1, 2, 3):
        fleet.put(fleet.ship(number, "red"))
    edited, grown = fleet.copy(1, "black"), fleet.copy(2) | {"theirs": {"BOOL": True}}
    fleet.edit(edited)
    fleet.edit(grown)
    fleet.remove(3)
    rest = {name: sails for name, sails in WHITE.items() if name not in ("s1", "s2", "s3")}
    for _ in range(2):
        report = fleet.flow.delta()
        assert found(report) == {"changed": 3, "kept_edited": 3}
        assert any(alert["level"] == "REVIEW" and "left alone" in alert["message"] for alert in report["alerts"])
        assert set(reasons(fleet.flow)) == {"s1", "s2", "s3"}
        fleet.check(edited, grown, **rest)
    counts = fleet.flow.rollback()["rollback"]
    assert (counts["deleted"], counts["kept_edited"], counts["not_found"]) == (7, 2, 1)
    fleet.check(edited, grown)


def test_what_was_edited_in_the_target_alone_is_no_drift(fleet):
    """The source is as it was: a delta has nothing to bring."""
    edited = fleet.copy(1, "black")
    fleet.edit(edited)
    fleet.remove(2)
    assert found(fleet.flow.delta()) == {}
    fleet.check(edited, **{name: "white" for name in WHITE if name not in ("s1", "s2")})


def test_an_edit_between_the_look_and_the_delete_is_put_back(fleet, monkeypatch):
    """In a list, which the delete's condition does not cover: the item is kept, and the delta goes on with the others."""
    fleet.put(fleet.ship(3, "red"))
    fleet.put(fleet.ship(4, "red"))
    edited = fleet.copy(3) | {"crew": {"L": [{"S": "someone"}]}}
    delete_if = Wire.delete_if

    def late(wire, table, key, condition):
        if key == {"id": fleet.new_id(3)}:
            fleet.edit(edited)
        return delete_if(wire, table, key, condition)

    monkeypatch.setattr(Wire, "delete_if", late)
    assert found(fleet.flow.delta()) == {"changed": 2, "updated": 1, "kept_edited": 1}
    rest = {name: sails for name, sails in WHITE.items() if name != "s3"}
    fleet.check(edited, **rest | {"s4": "red"})
    assert fleet.flow.rollback()["rollback"]["kept_edited"] == 1
    fleet.check(edited)


def test_what_others_had_put_there_is_not_replaced(moto_world, tmp_path):
    """An item that was already there when the run came is not its own, also when the source changes: a conflict now."""
    fleet = Fleet(moto_world, tmp_path)
    fleet.edit(fleet.copy(2))
    assert fleet.flow.migrate()["totals"]["already_there"] == 1
    fleet.put(fleet.ship(2, "red"))
    report = fleet.flow.delta()
    assert found(report) == {"changed": 1, "conflicts": 1}
    assert (report["totals"]["already_there"], report["totals"]["conflicts"]) == (0, 1)
    check_sums(report)
    fleet.check(**WHITE)
    assert list(reasons(fleet.flow, "conflicts")) == ["s2"]
    fleet.put(fleet.ship(2))
    assert fleet.flow.delta()["totals"]["already_there"] == 1
    fleet.flow.rollback()
    fleet.check(fleet.copy(2))


def test_a_conflict_that_was_cleared_away_is_inserted(moto_world, tmp_path):
    """Its key was taken; somebody decided, and deleted the other item."""
    fleet = Fleet(moto_world, tmp_path)
    fleet.edit(fleet.copy(2, "black"))
    assert fleet.flow.migrate()["totals"]["conflicts"] == 1
    assert found(fleet.flow.delta()) == {}
    fleet.remove(2)
    report = fleet.flow.delta()
    assert found(report) == {"changed": 1, "inserted": 1}
    assert (report["totals"]["inserted"], report["totals"]["conflicts"], report["verdict"]) == (10, 0, "PASS")
    fleet.flow.rollback()
    fleet.check()


# items that no route took, or takes no more


def leads(world, outputs, *items: dict) -> Flow:
    """A table that is split in two by kind; a lead's key holds its day."""
    world.build({"Crm": {"key": {"id": "S"}, "items": list(items)}}, SOURCE)
    world.build({"Leads": {"key": {"PK": "S", "SK": "S"}}, "Deals": {"key": {"id": "S"}}}, TARGET)
    return flow_of(SPLIT.format(suffix=world.suffix), world, outputs)


def lead(number: int, **attributes: str) -> dict:
    """A source item: a lead, unless its kind is given."""
    about = {"kind": "lead", "day": "2026-01", "n": "7"} | attributes
    return {"id": {"S": f"l{number}"}, **{name: {"S": text} for name, text in about.items()}}


def sort_keys(world) -> list[str]:
    return [item["SK"]["S"] for item in world.content(TARGET)["Leads"]]


def test_an_item_whose_key_changes_is_moved(moto_world, tmp_path):
    """The sort key holds a date that was corrected: the copy under the old key goes, and the id map has one row."""
    flow = leads(moto_world, tmp_path, *(lead(n) for n in range(6)))
    flow.migrate()
    crm = moto_world.name("Crm", SOURCE)
    moto_world.put(crm, lead(2, day="2026-02"))
    moto_world.put(crm, lead(3, day="2026-03"))
    moto_world.put(
        moto_world.name("Leads", TARGET), {"PK": {"S": "LEAD"}, "SK": {"S": "2026-01#l3"}, "id": {"S": "theirs"}}
    )
    report = flow.delta()
    assert found(report) == {"changed": 2, "updated": 1, "kept_edited": 1}
    assert sorted(sort_keys(moto_world)) == [*(f"2026-01#l{n}" for n in (0, 1, 3, 4, 5)), "2026-02#l2"]
    check_sums(report)
    assert flow.rollback()["rollback"]["deleted"] == 5
    assert sort_keys(moto_world) == ["2026-01#l3"]


def test_a_quarantined_item_that_was_mended_is_inserted_and_the_other_way_round(moto_world, tmp_path):
    """What fits now arrives and leaves the list; what fits no longer keeps the copy that it has; other reasons are told anew."""
    flow = leads(moto_world, tmp_path, *(lead(n) for n in range(5)), lead(5, n="seven"), lead(6, n="six"))
    assert flow.migrate()["totals"]["quarantined"] == 2
    crm = moto_world.name("Crm", SOURCE)
    moto_world.put(crm, lead(5, n="5"))
    moto_world.put(crm, lead(6) | {"n": {"BOOL": True}})
    moto_world.put(crm, lead(1, n="one"))
    moto_world.put(crm, lead(7, n="more"))
    before = reasons(flow, "quarantine")["l6"]
    report = flow.delta()
    assert found(report) == {"added": 1, "changed": 3, "inserted": 1, "outdated": 1, "quarantined": 2}
    assert (report["totals"]["quarantined"], report["totals"]["inserted"]) == (2, 6)
    check_sums(report)
    assert set(reasons(flow, "quarantine")) == {"l6", "l7"}
    assert reasons(flow, "quarantine")["l6"] != before
    assert "older copy stays" in reasons(flow)["l1"]
    assert len(sort_keys(moto_world)) == 6
    flow.rollback()
    assert sort_keys(moto_world) == []


@pytest.mark.parametrize("passes", [[None], [["Deals"], ["Leads"]]], ids=["at-once", "one-by-one"])
def test_items_that_change_sides(passes, moto_world, tmp_path):
    """Selected by another entry now, by none, by one at last, or gone without ever having had a copy."""
    items = [lead(n, kind=kind) for n, kind in enumerate(("lead", "lead", "deal", "odd", "odd", "odd", "lead"))]
    flow = leads(moto_world, tmp_path, *items, lead(7, n="x"))
    for tables in passes:
        report = flow.migrate(tables)
    assert (report["totals"]["unrouted"], report["totals"]["quarantined"], report["totals"]["inserted"]) == (3, 1, 4)
    crm = moto_world.name("Crm", SOURCE)
    for number, kind in ((0, "deal"), (2, "odd"), (3, "lead"), (9, "odd")):
        moto_world.put(crm, lead(number, kind=kind))
    for number in (4, 7):
        moto_world.delete(crm, {"id": {"S": f"l{number}"}})
    report = flow.delta()
    totals = report["totals"]
    # unrouted: 5 of old, 2 and 9 now; inserted: four of old, 0 as a deal, 3 as a lead; nothing is quarantined any more
    assert (totals["unrouted"], totals["quarantined"], totals["inserted"]) == (3, 0, 6)
    check_sums(report)
    figures = found(report)
    assert (figures["inserted"], figures["deleted"]) == (2, 2)
    assert {line["key"]["id"]["S"] for line in flow.listing("unrouted")} == {"l2", "l5", "l9"}
    assert "no longer selects" in reasons(flow)["l0"]
    assert len(moto_world.content(TARGET)["Leads"]) == 4
    assert len(moto_world.content(TARGET)["Deals"]) == 2
    again = flow.delta()
    assert found(again) == {"deleted": 2}
    assert again["totals"] == totals
    assert flow.rollback()["rollback"]["deleted"] == 6
    assert moto_world.content(TARGET) == {"Leads": [], "Deals": []}


def test_an_item_that_wins_a_shared_key_later_is_a_conflict_with_the_copy_of_the_other(moto_world, tmp_path):
    """Its rival's copy is not deleted for it; once that is gone, it arrives."""
    moto_world.build({"Crm": {"key": {"id": "S"}, "items": [lead(n, kind=f"k{n}") for n in (1, 2)]}}, SOURCE)
    moto_world.build({"Kinds": {"key": {"kind": "S"}}}, TARGET)
    entry = f"{{source: Crm-dev-{moto_world.suffix}, target: Kinds-prod-{moto_world.suffix}, id_format: keep}}"
    flow = flow_of(f"{{Kinds: {entry}}}", moto_world, tmp_path)
    crm = moto_world.name("Crm", SOURCE)
    moto_world.put(crm, lead(1, kind="k2"))
    assert flow.migrate()["totals"]["conflicts"] == 1  # l1 comes first, l2 loses
    moto_world.delete(crm, {"id": {"S": "l1"}})
    assert found(flow.delta()) == {"changed": 1, "conflicts": 1, "deleted": 1}
    moto_world.put(crm, lead(1, kind="k1"))
    figures = found(flow.delta())
    assert figures["updated"] == 1  # l1 goes where nobody is; its copy makes room
    figures = flow.delta()
    assert (figures["totals"]["inserted"], figures["totals"]["conflicts"]) == (2, 0)
    assert {item["kind"]["S"] for item in moto_world.content(TARGET)["Kinds"]} == {"k1", "k2"}
    flow.rollback()
    assert moto_world.content(TARGET) == {"Kinds": []}


# when it goes wrong


def test_an_item_that_cannot_be_written_stays_failed_and_takes_nothing_back(fleet, monkeypatch):
    """`on_failure: rollback` is for the migration; a delta leaves what stands, lists the item, and does the others."""
    fleet.put(fleet.ship(3, "red"))
    fleet.put(fleet.ship(4, "red"))
    put_new = Wire.put_new

    def refusing(wire, table, item, partition_key, **options):
        if item["id"] == fleet.new_id(3):
            raise DynamoError("refused", code="ValidationException", message="a made-up reason")
        return put_new(wire, table, item, partition_key, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Wire, "put_new", refusing)
        report = fleet.flow.delta()
    assert found(report) == {"changed": 2, "updated": 1, "failed": 1}
    assert (report["verdict"], report["totals"]["failed"], report["totals"]["inserted"]) == ("FAIL", 1, 9)
    check_sums(report)
    assert list(reasons(fleet.flow, "failed")) == ["s3"]
    assert fleet.flow.migrate()["verdict"] == "FAIL"  # the run is complete: nothing is done, nothing taken back
    rest = {name: sails for name, sails in WHITE.items() if name != "s3"}
    fleet.check(**rest | {"s4": "red"})
    fleet.put(fleet.ship(3, "blue"))
    assert found(fleet.flow.delta()) == {"changed": 1, "inserted": 1}
    assert fleet.flow.rollback()["rollback"]["deleted"] == 10
    fleet.check()


def test_a_delta_that_was_stopped_goes_on(fleet):
    """It ends with its page; the run says so until the same command was given again."""
    fleet.put(fleet.ship(3, "red"))
    fleet.put(fleet.ship(11))
    run, plan = fleet.flow.run(), fleet.flow._plan()
    control.request_stop(run)
    audit.enter(run, "03_migrate")
    with pytest.raises(Interrupted, match=r"same command with the run ID the-first-run"):
        catch_up(run, plan, lambda *_: control.check(run))
    control.clear(run)
    assert status(run).state == "delta interrupted"
    report = fleet.flow.migrate()
    assert report["verdict"] == "FAIL"
    assert any("a delta started" in alert["message"] for alert in report["alerts"])
    fleet.flow.delta()
    assert status(run).state == "complete"
    fleet.check(**WHITE | {"s3": "red", "s11": "white"})
    assert fleet.flow.migrate()["verdict"] == "PASS"


def test_a_role_that_may_not_delete_is_told_what_to_name(fleet, monkeypatch):
    """Nothing is lost: the copy is there, and the same command with the right role replaces it."""
    fleet.put(fleet.ship(3, "red"))

    def denied(*_):
        raise DynamoError("target: DeleteItem was denied", code="AccessDeniedException", message="denied")

    with monkeypatch.context() as patched:
        patched.setattr(Wire, "delete_if", denied)
        with pytest.raises(Interrupted, match="target.rollback_role_arn"):
            fleet.flow.delta()
    fleet.check(**WHITE)
    assert found(fleet.flow.delta()) == {"changed": 1, "updated": 1}
    fleet.check(**WHITE | {"s3": "red"})


def test_a_delta_is_refused_where_there_is_nothing_to_catch_up_with(moto_world, tmp_path, monkeypatch):
    """Not begun, not finished, rolled back; entries that the run has not, or has only with others."""
    flow = leads(moto_world, tmp_path, *(lead(n) for n in range(6)))
    with pytest.raises(Refused, match="has not finished its migration"):
        flow.delta()
    monkeypatch.setattr(Wire, "_back_off", lambda *_: None)
    failpoints.arm("wire.PutItem.before=error@5+")
    try:
        with pytest.raises(Interrupted):
            flow.migrate()
    finally:
        failpoints.disarm()
    with pytest.raises(Refused, match="has not finished its migration; resume it first"):
        flow.delta()
    flow.migrate()
    with pytest.raises(Refused, match="name all of them with --tables"):
        flow.delta(["Leads"])
    flow.rollback()
    with pytest.raises(Refused, match="was rolled back"):
        flow.delta()
    flow.run_id = "the-second-run"
    flow.migrate(["Leads"])
    with pytest.raises(Refused, match="has migrated none of Deals"):
        flow.delta(["Deals"])
    assert set(flow.delta()["tables"]) == {"Leads"}
    assert Stage(flow.run(), "migrate").read().state().finished


# what a validation says about it


def drift_of(report: dict) -> dict[str, int]:
    """The figures that are not 0."""
    return {name: number for name, number in report["validation"]["drift"].items() if number}


def test_a_validation_tells_who_changed_what(fleet):
    """Missing, different and extra items by their cause, in figures, in `drift.jsonl`, and with the command that mends them."""
    fleet.put(fleet.ship(11))  # added
    fleet.put(fleet.ship(1, "red"))  # changed
    fleet.sink(2)  # deleted
    fleet.edit(fleet.copy(3, "black"))  # edited in the target
    fleet.remove(4)  # deleted there
    fleet.put(fleet.ship(5, "red"))  # changed on both sides
    fleet.edit(fleet.copy(5, "black"))
    report = fleet.flow.validate()
    figures = report["validation"]
    assert [figures[name] for name in ("missing", "different", "extra", "equal")] == [2, 3, 2, 5]
    assert drift_of(report) == {"added": 1, "changed": 1, "deleted": 1, "edited_in_target": 3}
    assert report["verdict"] == "FAIL"
    assert {old: reason.split()[0] for old, reason in reasons(fleet.flow).items()} == {
        "s11": "added",
        "s1": "changed",
        "s2": "deleted",
        "s3": "edited",
        "s4": "deleted",
        "s5": "changed",
    }
    assert any(f"--run-id {fleet.flow.run_id} --delta" in alert["action"] for alert in report["alerts"])

    fleet.flow.delta()
    report = fleet.flow.validate()
    assert drift_of(report) == {"deleted": 1, "edited_in_target": 3}


def test_a_validation_without_findings_leaves_no_list(fleet):
    """And takes away that of an earlier one."""
    fleet.put(fleet.ship(11))
    assert drift_of(fleet.flow.validate()) == {"added": 1}
    assert fleet.flow.listing("drift")
    fleet.sink(11)
    assert drift_of(fleet.flow.validate()) == {}
    assert not (fleet.flow.outputs / fleet.flow.run_id / "drift.jsonl").exists()


def test_a_validation_of_a_run_that_has_not_migrated_explains_nothing(fleet, tmp_path):
    """What is missing before the migration, in another run, or after a rollback, was not added since."""
    fleet.put(fleet.ship(11))
    fleet.flow.rollback()
    report = fleet.flow.validate()
    assert (report["validation"]["missing"], drift_of(report)) == (11, {})
    other = flow_of("{Ships: {}}", fleet.world, tmp_path, "the-second-run")
    assert drift_of(other.validate()) == {}


def test_a_copy_under_an_earlier_key_is_not_counted_twice(moto_world, tmp_path):
    """Moved: missing under the new key and extra under the old one, but one changed item. Quarantined since: a copy too many."""
    flow = leads(moto_world, tmp_path, *(lead(n) for n in range(4)), lead(5, kind="odd"))
    flow.migrate()
    crm = moto_world.name("Crm", SOURCE)
    moto_world.put(crm, lead(0, day="2026-02"))
    moto_world.put(crm, lead(1, n="one"))
    moto_world.put(crm, lead(2, kind="odd"))
    moto_world.put(crm, lead(5))
    report = flow.validate()
    assert [report["validation"][name] for name in ("missing", "extra")] == [2, 3]
    assert drift_of(report) == {"changed": 3, "deleted": 1}
    flow.delta()
    assert drift_of(flow.validate()) == {"changed": 1, "deleted": 1}
