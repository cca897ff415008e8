"""`expired: skip`: what is left out, and that every stage of a run goes by one moment, however the clock moves."""

import json
from datetime import UTC, datetime, timedelta

import pytest
import support_worlds as worlds
from support_crashes import KILLED, at_record, in_child, small_pages
from support_flows import counts_of, flow_of

from runbook_lib.dynamo import tables
from runbook_lib.dynamo.items import Wire
from runbook_lib.errors import DynamoError, NotAvailable, Refused
from runbook_lib.journal.stage import Stage
from runbook_lib.report import views
from runbook_lib.run.files import json_seal
from runbook_lib.stages import expiry
from runbook_lib.stages.migrate.migrate import migrate
from runbook_lib.stages.validate.repair import repair
from runbook_lib.stages.validate.validate import validate

SOURCE, TARGET = worlds.SOURCE, worlds.TARGET
MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = int(MOMENT.timestamp())
YEAR = 365 * 86_400
SOON = 60  # seconds after the moment
UNTIL = {  # note → what its attribute `until` holds
    "past": {"N": str(SECOND - 1)},
    "decimal": {"N": f"{SECOND - 100}.50"},
    "long-ago": {"N": str(SECOND - 5 * YEAR)},
    "now": {"N": str(SECOND)},
    "soon": {"N": str(SECOND + SOON)},
    "too-long-ago": {"N": str(SECOND - 5 * YEAR - 1)},
    "text": {"S": str(SECOND - 1)},
    "none": None,
}
OVER = ("past", "decimal", "long-ago")
LEFT = [name for name in UNTIL if name not in OVER]
MAPPING = "{Notes: {expired: skip}, Links: {references: {note: Notes}}}"


class Clock:
    """The clock that the moment is read from."""

    def __init__(self):
        self.now, self.readings = MOMENT, 0

    def __call__(self):
        self.readings += 1
        return self.now

    def forward(self, seconds=3_600):
        self.now += timedelta(seconds=seconds)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Stands at MOMENT until it is moved."""
    clock = Clock()
    monkeypatch.setattr(expiry, "now", clock)
    return clock


def note(name, until=None):
    until = until or UNTIL.get(name)
    return {"id": {"S": name}} | ({"until": until} if until else {})


def new(name, entry="Notes"):
    """The new id of an old one."""
    return worlds.new_id(TARGET, entry, "uuid", "S", name)


def expire(world, name, side=SOURCE, *, on=True):
    """Turns a table's TTL on, or off."""
    wanted = {"Enabled": on, "AttributeName": "until"}
    world.client.update_time_to_live(TableName=world.name(name, side), TimeToLiveSpecification=wanted)


def build(world, *, ttl=True):
    """Notes, of which some have expired, and a link to each."""
    key = {"key": {"id": "S"}}
    links = [{"id": {"S": f"to-{name}"}, "note": {"S": name}} for name in UNTIL]
    world.build({"Notes": key | {"items": list(map(note, UNTIL))}, "Links": key | {"items": links}}, SOURCE)
    world.build({"Notes": key, "Links": key}, TARGET)
    if ttl:
        expire(world, "Notes")
    return world


@pytest.fixture
def notes(moto_world):
    return build(moto_world)


def arrived(world):
    """The old names of the notes that are in the target."""
    known = {new(name): name for name in (*UNTIL, "later", "other")}
    return {known[item["id"]["S"]] for item in world.items(world.name("Notes", TARGET))}


def linked(world, name):
    """What the link to a note holds in the target; None where it is gone."""
    key = {"id": {"S": new(f"to-{name}", "Links")}}
    return world.engine.call("GetItem", TableName=world.name("Links", TARGET), Key=key)["Item"].get("note")


def counted(report, entry="Notes"):
    """The counts that are not 0; they add up."""
    counts = counts_of(report)[entry]
    assert counts["scanned"] == sum(counts.values()) - counts["scanned"]
    assert report["totals"]["expired"] == sum(table["expired"] for table in report["tables"].values())
    return {key: number for key, number in counts.items() if number}


def moments(flow, stage="migrate"):
    """The moments that a stage's executions recorded."""
    return [event["expiry"]["moment"] for event in Stage(flow.run(), stage).events("execution")]


def iso(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize("engine", ["moto", pytest.param("ministack", marks=pytest.mark.slow)], indirect=True)
def test_what_has_expired_is_left_out_counted_and_dangling(world, tmp_path):
    """The dry run, the migration and the comparison agree; a number before the moment, by at most five years, has expired."""
    flow = flow_of(MAPPING, build(world), tmp_path)
    analysis = flow.analyze()
    assert (analysis["tables"]["Notes"]["expired"], analysis["tables"]["Notes"]["records"]) == (3, 8)
    assert analysis["tables"]["Notes"]["routed"] == 5
    assert analysis["tables"]["Links"]["dangling"] == {"note": 3}
    assert analysis["expired_as_of"] == iso(MOMENT)
    report = flow.migrate()
    assert arrived(world) == set(LEFT)
    assert counted(report) == {"scanned": 8, "inserted": 5, "expired": 3}
    assert report["id_map"]["rows"] == 5 + 8
    assert report["relationships_preserved"] == 5
    assert len(flow.listing("dangling")) == 3
    assert report["expired_as_of"] == iso(MOMENT)
    assert [(a["level"], a["table"]) for a in report["alerts"] if "left out" in a["message"]] == [("NOTE", "Notes")]
    validation = flow.validate()["validation"]
    figures = {key: validation[key] for key in ("checked", "missing", "extra", "expired", "skipped", "dangling")}
    assert figures == {"checked": 13, "missing": 0, "extra": 0, "expired": 0, "skipped": 3, "dangling": 3}
    assert validation["expired_as_of"] == iso(MOMENT)
    assert validation["verdict"] == "REVIEW"  # for the references alone
    assert flow.rollback()["rollback"]["deleted"] == 13


def test_left_out_items_alone_are_no_reason_for_review(notes, tmp_path):
    """PASS, with a note."""
    expire(notes, "Notes", side=TARGET)
    flow = flow_of("{Notes: {expired: skip}}", notes, tmp_path)
    assert [report["verdict"] for report in (flow.analyze(), flow.migrate(), flow.validate())] == ["PASS"] * 3


def test_ttl_may_delete_what_has_expired_between_the_stages(notes, tmp_path):
    """DynamoDB does so at any time; what is left out anyway is no difference."""
    expire(notes, "Notes", side=TARGET)
    flow = flow_of("{Notes: {expired: skip}}", notes, tmp_path)
    assert flow.analyze()["tables"]["Notes"]["expired"] == 3
    for gone, stage, left in (("past", flow.migrate, 2), ("decimal", flow.validate, 1)):
        notes.delete(notes.name("Notes", SOURCE), {"id": {"S": gone}})
        report = stage()
        assert report["verdict"] == "PASS", report["alerts"]
        assert (report.get("validation", {}).get("skipped") or counted(report)["expired"]) == left
    assert arrived(notes) == set(LEFT)


def test_without_the_rule_nothing_is_asked_and_all_is_copied(notes, tmp_path, clock):
    """The analysis counts the expired all the same; the clock is not read, and no moment is recorded."""
    flow = flow_of(MAPPING.replace("expired: skip", ""), notes, tmp_path)
    analysis = flow.analyze()
    assert analysis["tables"]["Notes"]["routed"] == 8
    assert analysis["expired_as_of"] is None
    assert counted(flow.migrate()) == {"scanned": 8, "inserted": 8}
    assert flow.validate()["validation"]["skipped"] == 0
    assert clock.readings == 0
    assert not any("expiry" in event for event in Stage(flow.run(), "migrate").events())
    assert "expiry" not in json.loads((tmp_path / flow.run_id / "plan.json").read_text())


# one moment


def test_the_moment_of_the_plan_counts_for_all_stages(notes, tmp_path, clock):
    """What expires after 01 is tested, copied, compared, found again and repaired by 01's moment."""
    flow = flow_of(MAPPING, notes, tmp_path)
    flow.analyze()
    clock.forward()
    canary = flow.test("Notes", 8)
    assert {row.old_id for row in canary.closure.rows} == set(LEFT)
    assert counted(flow.migrate())["expired"] == 3
    clock.forward()
    assert flow.delta()["drift"]["changed"] == 0
    notes.delete(notes.name("Notes", TARGET), {"id": {"S": new("soon")}})
    missing = repair(flow.run(), flow._plan(), word="deleted").missing
    assert missing == {("Notes", "deleted"): 1}
    validation = flow.validate()["validation"]
    assert (validation["missing"], validation["extra"], validation["skipped"]) == (0, 0, 3)
    assert arrived(notes) == set(LEFT)
    assert {*moments(flow, "test"), *moments(flow)} == {iso(MOMENT)}
    assert clock.readings == 1


@pytest.mark.slow
def test_without_a_plan_the_first_execution_decides(notes, tmp_path, clock, monkeypatch):
    """A migration that was killed goes on as of its own moment; a plan that comes later has it, too."""
    small_pages(monkeypatch)
    flow = flow_of(MAPPING, notes, tmp_path)
    assert in_child(flow.migrate, at_record("outcome", 2, "after")) == KILLED
    clock.forward()
    flow.analyze()
    clock.forward()
    report = flow.migrate()
    assert counted(report) == {"scanned": 8, "inserted": 5, "expired": 3}
    assert report["executions"] == 2
    assert moments(flow) == [iso(MOMENT)] * 2
    assert "moment" not in {one["what"] for one in report["plan"]["drift"]}
    validation = flow.validate()["validation"]
    assert (validation["missing"], validation["extra"]) == (0, 0)


def test_a_test_before_the_migration_decides(notes, tmp_path, clock):
    """Without a plan the migration goes by the moment of 02."""
    flow = flow_of(MAPPING, notes, tmp_path)
    flow.test("Notes", 8)
    clock.forward()
    flow.migrate()
    assert moments(flow) == [iso(MOMENT)]
    assert arrived(notes) == set(LEFT)


@pytest.mark.slow
def test_another_analysis_takes_another_moment_until_the_migration_begins(notes, tmp_path, clock):
    """Then it has that of the migration."""
    flow = flow_of(MAPPING, notes, tmp_path)
    flow.analyze()
    flow.test("Notes", 1)
    clock.forward()
    later = iso(clock.now)
    assert flow.analyze()["tables"]["Notes"]["expired"] == 4  # now and soon, but long-ago is too long ago by then
    clock.forward()
    flow.test("Notes", 1)
    assert counted(flow.migrate()) == {"scanned": 8, "inserted": 4, "expired": 4}
    assert (moments(flow, "test"), moments(flow)) == ([iso(MOMENT), later], [later])
    clock.forward()
    assert flow.analyze()["expired_as_of"] == later


@pytest.mark.slow
def test_a_validation_alone_keeps_its_first_moment(notes, tmp_path, clock, monkeypatch):
    """Also in the next validation of the run, and where the first was killed; with no migration everything is missing."""
    small_pages(monkeypatch)
    flow = flow_of(MAPPING, notes, tmp_path)
    assert in_child(flow.validate, at_record("compared", 2, "after")) == KILLED
    clock.forward()
    resumed = validate(flow.run(), flow._plan())
    assert (resumed.earlier_pages, resumed.expired_as_of) == (2, iso(MOMENT))
    for _ in range(2):
        validation = flow.validate()["validation"]
        assert (validation["missing"], validation["skipped"]) == (13, 3)
        assert validation["expired_as_of"] == iso(MOMENT)


def test_a_plan_of_another_moment_is_told(notes, tmp_path, clock):
    """01 was at work when 03 began: the migration's moment counts, and the report says so."""
    flow = flow_of(MAPPING, notes, tmp_path)
    flow.analyze()
    flow.migrate(["Notes"])
    path = tmp_path / flow.run_id / "plan.json"
    content = json.loads(path.read_text())
    del content["sha256"]
    content["expiry"]["moment"] = iso(MOMENT + timedelta(days=1))
    path.write_text(json.dumps(content | {"sha256": json_seal(content)}))
    flow.accept_changed = True
    (tmp_path / flow.run_id / "audit.jsonl").unlink()
    report = flow.migrate()
    (told,) = [alert["message"] for alert in report["alerts"] if "as of" in alert["message"]]
    assert (
        told == f"not as 01 saw it: items count as expired as of {iso(MOMENT)}, not {iso(MOMENT + timedelta(days=1))}"
    )
    assert views.drift(migrate(flow.run(), flow._plan())).count("moment") == 1


def test_the_attribute_is_frozen_as_well(notes, tmp_path):
    """Where the source's TTL is turned off meanwhile, the migration goes on as planned, and says so."""
    flow = flow_of(MAPPING, notes, tmp_path)
    flow.analyze()
    expire(notes, "Notes", on=False)
    report = flow.migrate()
    assert counted(report)["expired"] == 3
    assert "ttl is none, not until" in " ".join(alert["message"] for alert in report["alerts"])


def forget(flow):
    """Takes the moment out of 03's journal, as a repair may that makes lost executions again."""
    stage = Stage(flow.run(), "migrate")
    events = list(stage.events())
    (stage.folder / "stage.jsonl").unlink()
    stage = Stage(flow.run(), "migrate")
    for event in events:
        stage.record(**{key: value for key, value in event.items() if key not in ("at", "expiry")})


@pytest.mark.slow
def test_a_run_that_has_lost_its_moment_is_refused(notes, tmp_path):
    """Another moment would split the run in two."""
    flow = flow_of(MAPPING, notes, tmp_path)
    flow.migrate(["Links"])
    forget(flow)
    for step in (migrate, validate):
        with pytest.raises(Refused, match=r"began without a moment .* start a new run\.$"):
            step(flow.run(), flow._plan())
    with pytest.raises(Refused, match="began without a moment"):
        flow.analyze()


@pytest.mark.slow
def test_the_plan_knows_a_moment_that_the_journal_has_lost(notes, tmp_path, clock):
    """The migration began with it; another analysis keeps it."""
    flow = flow_of(MAPPING, notes, tmp_path)
    flow.analyze()
    flow.migrate(["Links"])
    forget(flow)
    clock.forward()
    assert expiry.as_of(flow.run(), flow._plan(), renew=True).expiry.moment == iso(MOMENT)
    migrate(flow.run(), flow._plan())
    assert arrived(notes) == set(LEFT)


# what goes by it


@pytest.mark.parametrize(
    ("dangling", "kept"),
    [("keep", {"S": "past"}), ("'null'", {"NULL": True}), ("remove", None), ("map", {"S": new("past")})],
)
def test_a_reference_to_what_is_left_out_dangles(dangling, kept, notes, tmp_path):
    """The ids that are read ahead are those of the items that are copied."""
    mapping = MAPPING.replace("note: Notes", f"note: {{to: Notes, dangling: {dangling}}}")
    flow = flow_of(mapping, notes, tmp_path)
    assert flow.analyze()["tables"]["Links"]["dangling"] == {"note": 3}
    flow.migrate()
    assert linked(notes, "past") == kept
    assert linked(notes, "soon") == {"S": new("soon")}


def test_stop_refuses_a_reference_to_what_is_left_out(notes, tmp_path):
    """Before the first insert."""
    flow = flow_of(MAPPING.replace("note: Notes", "note: {to: Notes, dangling: stop}"), notes, tmp_path)
    with pytest.raises(Refused, match="names no item of Notes"):
        flow.migrate()


def test_of_several_parents_the_one_that_is_copied_counts(notes, tmp_path):
    """An id that one entry leaves out is the other's."""
    notes.build({"Others": {"key": {"id": "S"}, "items": [{"id": {"S": "past"}}]}}, SOURCE)
    notes.build({"Others": {"key": {"id": "S"}}}, TARGET)
    mapping = "{Notes: {expired: skip}, Others: {}, Links: {references: {note: {to: [Notes, Others]}}}}"
    flow = flow_of(mapping, notes, tmp_path)
    flow.migrate()
    assert linked(notes, "past") == {"S": new("past", "Others")}
    assert linked(notes, "soon") == {"S": new("soon")}


@pytest.mark.slow
def test_what_is_left_out_competes_for_no_key(moto_world, tmp_path):
    """Of two items with one target key the expired one would come first."""
    items = [note("a", {"N": str(SECOND - 1)}), note("b", {"N": str(SECOND + 1)})]
    moto_world.build({"Notes": {"key": {"id": "S"}, "items": items}}, SOURCE)
    moto_world.build({"Notes": {"key": {"until": "N"}}}, TARGET)
    expire(moto_world, "Notes")
    fields = "{until: {from: same, type: number, default: 1}, id: {from: id}}, drop: [until]"
    flow = flow_of(f"{{Notes: {{id_format: keep, expired: skip, fields: {fields}}}}}", moto_world, tmp_path)
    flow.analyze()
    assert counted(flow.migrate()) == {"scanned": 2, "inserted": 1, "expired": 1}
    assert moto_world.items(moto_world.name("Notes", TARGET)) == worlds.plain_items(
        [{"id": {"S": "b"}, "until": {"N": "1"}}]
    )
    assert flow.validate()["verdict"] == "PASS"


@pytest.mark.slow
def test_an_item_of_the_target_that_is_left_out_now_is_extra(notes, tmp_path):
    """The mapping does not produce it. A reference to it counts as dangling, because it is not the run's."""
    notes.put(notes.name("Notes", TARGET), note("past") | {"id": {"S": new("past")}})
    flow = flow_of(MAPPING, notes, tmp_path)
    flow.migrate()
    validation = flow.validate()["validation"]
    assert (validation["extra"], validation["missing"], validation["dangling"]) == (1, 0, 3)
    assert flow.validate(["Links"])["validation"]["dangling"] == 3


def test_an_entry_that_is_not_chosen_leaves_out_as_well(notes, tmp_path):
    """Of links alone the comparison knows which notes are parents."""
    flow = flow_of(MAPPING, notes, tmp_path)
    flow.migrate()
    assert flow.validate(["Links"])["validation"]["dangling"] == 3


@pytest.mark.slow
def test_what_is_left_out_is_not_listed_for_its_own_references(notes, tmp_path):
    """Of two notes that refer to nothing, one of which is left out, the other is listed: before, after, and in the proof."""
    for name in ("past", "none"):
        notes.put(notes.name("Notes", SOURCE), note(name) | {"parent": {"S": "nobody"}})
    flow = flow_of("{Notes: {expired: skip, references: {parent: Notes}}}", notes, tmp_path)
    for stage in (flow.analyze, flow.migrate, flow.validate):
        stage()
        assert [line["key"] for line in flow.listing("dangling")] == [{"id": {"S": "none"}}]


@pytest.mark.slow
def test_a_test_follows_no_reference_to_what_is_left_out(notes, tmp_path):
    """By the key, and by a scan where the id is not the key."""
    flow = flow_of(MAPPING, notes, tmp_path)
    closure = flow.test("Links", 8).closure
    assert (len(closure.rows), closure.dangling) == (8 + 5, 3)
    items = [{"key": {"S": name}} | note(name) for name in UNTIL]
    notes.build({"Keyed": {"key": {"key": "S"}, "items": items}}, SOURCE)
    notes.build({"Keyed": {"key": {"key": "S"}}}, TARGET)
    expire(notes, "Keyed")
    mapping = "{Keyed: {expired: skip}, Links: {references: {note: Keyed}}}"
    closure = flow_of(mapping, notes, tmp_path, "the-second-run").test("Links", 8).closure
    assert (len(closure.rows), closure.dangling) == (8 + 5, 3)


def test_an_id_of_what_is_left_out_that_survives_is_found(notes, tmp_path):
    """It is renewed like the others: a reference that nobody declared points at nothing."""
    notes.put(notes.name("Notes", SOURCE), note("NOTE-7788", UNTIL["past"]))
    notes.put(notes.name("Links", SOURCE), {"id": {"S": "to-none"}, "about": {"S": "NOTE-7788"}})
    flow = flow_of(MAPPING, notes, tmp_path)
    flow.migrate()
    assert flow.validate()["validation"]["residual_ids"]["by_path"] == {"Links": {"about": 1}}


@pytest.mark.slow
def test_of_two_entries_one_table_only_one_leaves_out(notes, tmp_path):
    """What one leaves out the other copies. Both count what has expired, as of the same moment."""
    notes.build({"Copies": {"key": {"id": "S"}}}, TARGET)
    mapping = f"{{Notes: {{expired: skip}}, Copies: {{source: {notes.name('Notes', SOURCE)}, id_format: keep}}}}"
    flow = flow_of(mapping, notes, tmp_path)
    assert [flow.analyze()["tables"][name]["expired"] for name in ("Notes", "Copies")] == [3, 3]
    report = flow.migrate()
    assert counted(report) == {"scanned": 8, "inserted": 5, "expired": 3}
    assert counted(report, "Copies") == {"scanned": 8, "inserted": 8}
    assert report["totals"]["unrouted"] == 0
    assert len(notes.items(notes.name("Copies", TARGET))) == 8


def test_a_transform_sees_nothing_of_what_is_left_out(notes, tmp_path):
    """Not in the dry run either, which calls it twice."""
    (tmp_path / "change.py").write_text("def old(item):\n    return item | {'old': 'until' in item}\n")
    flow = flow_of("{Notes: {expired: skip, transform: change.py:old}}", notes, tmp_path)
    assert flow.analyze()["tables"]["Notes"]["routed"] == 5
    assert counted(flow.migrate()) == {"scanned": 8, "inserted": 5, "expired": 3}
    assert flow.validate()["validation"]["missing"] == 0


@pytest.mark.slow
def test_a_delta_takes_over_what_no_longer_expires_and_leaves_the_rest(notes, tmp_path, clock):
    """By the run's moment. The copy of what has expired by now stays and is listed; nothing is counted twice."""
    flow = flow_of(MAPPING, notes, tmp_path)
    assert counted(flow.migrate()) == {"scanned": 8, "inserted": 5, "expired": 3}
    clock.forward()
    source = notes.name("Notes", SOURCE)
    notes.put(source, note("past", {"N": str(SECOND + 1)}))
    notes.put(source, note("none", {"N": str(SECOND - 1)}))
    notes.put(source, note("later", {"N": str(SECOND + 1)}))
    notes.put(source, note("other", {"N": str(SECOND - 1)}))
    notes.delete(source, {"id": {"S": "decimal"}})
    report = flow.delta()
    figures = {name: number for name, number in report["drift"].items() if number and name != "looked_at"}
    assert figures == {"added": 2, "changed": 2, "inserted": 2, "outdated": 1, "withdrawn": 1}
    assert counted(report) == {"scanned": 9, "inserted": 7, "expired": 2}  # long-ago, other; none has its older copy
    assert arrived(notes) == {*LEFT, "past", "later"}
    (reason,) = [line["reason"] for line in flow.listing("drift") if line["key"] == {"id": {"S": "none"}}]
    assert "its time to live is over" in reason
    assert flow.delta()["totals"] == report["totals"]
    assert flow.rollback()["rollback"]["deleted"] == 7 + 8


def test_a_failed_item_that_has_expired_by_now_is_left_out(notes, tmp_path, monkeypatch):
    """It was changed in the source; by the run's moment it has expired."""
    flow = flow_of(MAPPING, notes, tmp_path, on_failure="keep")
    insert_many = Wire.insert_many

    def refusing(wire, table, items, *rest, **named):
        found = insert_many(wire, table, items, *rest, **named)
        refused = DynamoError("no", "ValidationException", "no", "", "")
        return [refused if item["id"]["S"] == new("none") else one for item, one in zip(items, found, strict=True)]

    with monkeypatch.context() as patch:
        patch.setattr(Wire, "insert_many", refusing)
        assert counted(flow.migrate()) == {"scanned": 8, "inserted": 4, "failed": 1, "expired": 3}
    notes.put(notes.name("Notes", SOURCE), note("none", {"N": str(SECOND - 1)}))
    assert counted(flow.retry()) == {"scanned": 8, "inserted": 4, "expired": 4}


@pytest.mark.slow
def test_workers_leave_out_the_same(notes, tmp_path, clock):
    """The moment reaches processes, whose clock is another."""
    flow = flow_of(MAPPING, notes, tmp_path, engine="processes", segments=2)
    assert counted(flow.migrate()) == {"scanned": 8, "inserted": 5, "expired": 3}
    assert arrived(notes) == set(LEFT)
    assert flow.validate()["validation"]["missing"] == 0


# no TTL


def test_a_source_without_ttl_leaves_nothing_out_and_says_so(moto_world, tmp_path):
    """REVIEW in every stage, with what to do."""
    flow = flow_of(MAPPING, build(moto_world, ttl=False), tmp_path)
    for report in (flow.analyze(), flow.migrate(), flow.validate()):
        (alert,) = [alert for alert in report["alerts"] if "expired: skip" in alert["message"]]
        assert (alert["level"], alert["table"]) == ("REVIEW", "Notes")
        assert "leaves nothing out" in alert["message"]
        assert "Turn TTL on" in alert["action"]
    assert counted(flow.migrate()) == {"scanned": 8, "inserted": 8}


def test_an_engine_without_ttl_leaves_nothing_out(notes, tmp_path, monkeypatch):
    """As a source without TTL."""

    def lacking(connection, name):
        raise NotAvailable("no")

    monkeypatch.setattr(tables, "ttl_attribute", lacking)
    report = flow_of(MAPPING, notes, tmp_path).migrate()
    assert counted(report) == {"scanned": 8, "inserted": 8}
    assert "leaves nothing out" in " ".join(alert["message"] for alert in report["alerts"])


@pytest.mark.parametrize(
    "problem", [Refused("source: access denied"), DynamoError("source: access denied", "X", "", "", "")]
)
def test_where_ttl_may_not_be_read_nothing_is_done(problem, notes, tmp_path, monkeypatch):
    """To copy what was to be left out would be no dry run of anything."""

    def refusing(connection, name):
        raise problem

    monkeypatch.setattr(tables, "ttl_attribute", refusing)
    with pytest.raises(Refused, match="access denied"):
        flow_of(MAPPING, notes, tmp_path).migrate()
    assert arrived(notes) == set()


@pytest.mark.slow
def test_the_views_show_what_is_left_out(notes, tmp_path):
    """Counts that add up, a bar, and a reason."""
    flow = flow_of("{Notes: {expired: skip}}", notes, tmp_path)
    analysis = flow.steps().analyze(flow._plan()).result
    assert "expired" in views.overview(analysis)
    assert "expired: left out" in views.quarantine(analysis)
    done = flow.steps().migrate(flow._plan()).result
    assert "+ 3 expired" in views.migration(done)
    assert "✗" not in views.migration(done)
    assert "3 expired" in views.counts(done)
    assert "skipped" in views.validation(validate(flow.run(), flow._plan()))
