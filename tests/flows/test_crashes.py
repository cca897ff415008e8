"""Whatever kills the program, wherever: the same run goes on to the same end, and the way back is as exact as before."""

import itertools
import os
from datetime import UTC, datetime

import pytest
import support_worlds as worlds
from support_crashes import KILLED, at_record, at_request, in_child, lose_replies, small_pages
from support_flows import flow_of

from runbook_lib import process
from runbook_lib.dynamo.items import Wire
from runbook_lib.dynamo.transport import Transport
from runbook_lib.errors import Again, Interrupted, Refused
from runbook_lib.journal import stage
from runbook_lib.mapping.file.load import load_mapping
from runbook_lib.report.runs.index import write_index
from runbook_lib.report.runs.status import status, status_of_all
from runbook_lib.run import folder as runs
from runbook_lib.run.folder import run_json
from runbook_lib.stages import execution
from runbook_lib.stages.rollback.rollback import Undoing
from runbook_lib.stages.selection import latest_checkpoint

SOURCE, TARGET = worlds.SOURCE, worlds.TARGET
MAPPING = """{
  Ports: {},
  Ships: {references: {portId: Ports, "sisters[]": Ships}},
  Crews: {references: {shipId: Ships}, fields: {id: {from: id}, wage: {from: wage, type: number}}, rest: copy}}"""
INSERTED = 21  # of 24: one is already there, one is a conflict, one quarantined


def new(entry, old):
    """The new id of an old one, typed."""
    return {"S": worlds.new_id(TARGET, entry, "uuid", "S", old)}


def build(world):
    """Ports, ships and crews, and three residents in the target: equal, different, unrelated."""
    ports = [{"id": {"S": f"p{n}"}, "depth": {"N": str(n)}} for n in range(6)]
    ships = [
        {"id": {"S": f"s{n}"}, "portId": {"S": f"p{n % 6}"}, "sisters": {"L": [{"S": f"s{(n + 1) % 9}"}]}}
        for n in range(9)
    ]
    crews = [
        {"id": {"S": f"c{n}"}, "shipId": {"S": f"s{n}"}, "wage": {"S": "much" if n == 5 else f"{n}.50"}}
        for n in range(9)
    ]
    key = {"key": {"id": "S"}}
    world.build(
        {"Ports": key | {"items": ports}, "Ships": key | {"items": ships}, "Crews": key | {"items": crews}}, SOURCE
    )
    residents = {
        "Ports": [{"id": new("Ports", "p3"), "depth": {"N": "3.0"}}, {"id": {"S": "nobody's"}}],
        "Ships": [{"id": new("Ships", "s7"), "theirs": {"BOOL": True}}],
    }
    world.build({name: key | {"items": residents.get(name, [])} for name in ("Ports", "Ships", "Crews")}, TARGET)


@pytest.fixture(autouse=True)
def pages(monkeypatch):
    """Many pages, and retries that do not wait."""
    small_pages(monkeypatch)
    monkeypatch.setattr(Wire, "_back_off", lambda *_: None)


@pytest.fixture(scope="module")
def untouched(engine_pool, tmp_path_factory):
    """What a run that nothing happens to leaves: the target, and the report's counts."""
    world = worlds.World(engine_pool("moto"))
    build(world)
    report = flow_of(MAPPING, world, tmp_path_factory.mktemp("untouched")).migrate()
    content = world.content(TARGET)
    world.drop()
    assert report["totals"]["inserted"] == INSERTED
    assert [report["totals"][key] for key in ("already_there", "conflicts", "quarantined")] == [1, 1, 1]
    return content, report


def begin(world, outputs, **limits):
    """The tables, and their migration; what the target held before."""
    build(world)
    return flow_of(MAPPING, world, outputs, **limits), world.content(TARGET)


def check_same(report, world, untouched):
    """The run is as complete as one that nothing happened to."""
    content, wanted = untouched
    assert world.content(TARGET) == content
    for key in ("tables", "totals", "verdict", "relationships", "relationships_preserved"):
        assert report[key] == wanted[key], key
    assert report["id_map"]["rows"] == wanted["id_map"]["rows"]


DEATHS = {
    "before-the-checkpoint": at_record("execution", 1, "after"),
    "before-the-first-intent": at_record("intent", 1, "before"),
    "in-an-intent": at_record("intent", 4, "middle"),
    "after-an-intent": at_record("intent", 3, "after"),
    "before-a-put": at_request("PutItem", 6, "before"),
    "after-a-put": at_request("PutItem", 13, "after"),
    "before-an-outcome": at_record("outcome", 2, "before"),
    "in-an-outcome": at_record("outcome", 5, "middle"),
    "after-an-outcome": at_record("outcome", 3, "after"),
    "before-the-end": at_record("end", 1, "before"),
}


def deaths(*quick):
    """The deaths as parameters; all but some only in the slow tier."""
    return [
        pytest.param(death, id=name, marks=() if name in quick else pytest.mark.slow)
        for name, death in DEATHS.items()
        if name != "before-the-checkpoint"
    ]


@pytest.mark.parametrize("death", deaths("after-a-put", "in-an-outcome"))
def test_a_killed_migration_goes_on_to_the_same_end(death, moto_world, tmp_path, untouched):
    """The same run id: same target, same counts as if nothing had happened; then the way back is the whole way."""
    flow, before = begin(moto_world, tmp_path)
    source = moto_world.digest(SOURCE)
    assert in_child(flow.migrate, death) == KILLED
    report = flow.migrate()
    check_same(report, moto_world, untouched)
    assert "took over the lock" in (tmp_path / flow.run_id / "run.log").read_text()
    assert flow.rollback()["rollback"]["deleted"] == INSERTED
    assert moto_world.content(TARGET) == before
    assert moto_world.digest(SOURCE) == source


@pytest.mark.parametrize("death", deaths("in-an-intent", "after-a-put"))
def test_a_killed_migration_can_be_rolled_back_at_once(death, moto_world, tmp_path):
    """Without resuming: whatever had landed, with an outcome or without, is taken back, and nothing else."""
    flow, before = begin(moto_world, tmp_path)
    assert in_child(flow.migrate, death) == KILLED
    flow.rollback()
    assert moto_world.content(TARGET) == before
    with pytest.raises(Refused, match="was rolled back"):
        flow.migrate()


def test_a_run_that_died_before_its_checkpoint_has_written_nothing(moto_world, tmp_path, untouched):
    """No checkpoint, no insert; the run goes on like any other."""
    flow, before = begin(moto_world, tmp_path)
    assert in_child(flow.migrate, DEATHS["before-the-checkpoint"]) == KILLED
    assert not list((tmp_path / flow.run_id).glob("migration-checkpoint-*"))
    assert moto_world.content(TARGET) == before
    check_same(flow.migrate(), moto_world, untouched)


def test_a_migration_killed_again_and_again_still_arrives(moto_world, tmp_path, untouched):
    """Three deaths in a row, in the same page and in others, and the undo of it all is exact."""
    flow, before = begin(moto_world, tmp_path, workers=1)
    for death in (
        at_request("PutItem", 3, "after"),
        at_request("PutItem", 2, "after"),
        at_record("outcome", 3, "before"),
    ):
        assert in_child(flow.migrate, death) == KILLED
    report = flow.migrate()
    check_same(report, moto_world, untouched)
    assert flow.rollback()["rollback"]["deleted"] == INSERTED
    assert moto_world.content(TARGET) == before


@pytest.mark.parametrize(
    "death",
    [at_request("DeleteItem", 7, "before"), at_request("DeleteItem", 7, "after"), at_record("undone", 2, "before")],
    ids=["before-a-delete", "after-a-delete", "before-the-word-of-it"],
)
def test_a_killed_rollback_goes_on_to_the_same_end(death, moto_world, tmp_path):
    """A second rollback deletes the rest; each item counts once."""
    flow, before = begin(moto_world, tmp_path)
    flow.migrate()
    assert in_child(flow.rollback, death) == KILLED
    with pytest.raises(Refused, match="was rolled back in part; run the rollback command again"):
        flow.migrate()
    counts = flow.rollback()["rollback"]
    assert (counts["deleted"], counts["kept_edited"], counts["not_found"]) == (INSERTED, 0, 0)
    assert moto_world.content(TARGET) == before


@pytest.mark.parametrize(
    "death",
    [at_record("intent", 1, "after"), at_request("PutItem", 2, "after"), at_record("outcome", 2, "before")],
    ids=["after-an-intent", "after-a-put", "before-an-outcome"],
)
def test_a_killed_test_can_be_undone_and_done_again(death, moto_world, tmp_path):
    """Its checkpoint takes back what had landed; another test of the run works and leaves nothing of its own."""
    flow, before = begin(moto_world, tmp_path)
    assert in_child(lambda: flow.test("Crews", 2), death) == KILLED
    flow.test("Crews", 2)
    flow.rollback("test")
    assert moto_world.content(TARGET) == before
    assert flow.test("Crews", 2).wrong == 0
    assert moto_world.content(TARGET) == before


def test_an_item_edited_while_the_run_lay_dead_is_a_conflict_and_stays(moto_world, tmp_path):
    """Landed without a word, then changed by its new owner: not ours any more, neither to resume nor to undo."""
    flow, before = begin(moto_world, tmp_path, workers=1)
    assert in_child(flow.migrate, at_request("PutItem", 2, "after")) == KILLED
    landed = [item for item in moto_world.content(TARGET)["Ports"] if item not in before["Ports"]]
    edited = landed[0] | {"depth": {"N": "99"}}
    moto_world.put(moto_world.name("Ports", TARGET), edited)
    report = flow.migrate()
    assert report["totals"]["conflicts"] == 2
    assert report["totals"]["inserted"] == INSERTED - 1
    flow.rollback()
    assert moto_world.content(TARGET)["Ports"] == worlds.plain_items([*before["Ports"], edited])


@pytest.mark.parametrize(
    "death", [at_request("PutItem", 7, "after"), at_record("outcome", 1, "before")], ids=["put", "outcome"]
)
@pytest.mark.parametrize(
    "fields", ["", ", fields: {id: {from: id}, n: {from: n, default: 0}}"], ids=["equal", "different"]
)
def test_one_item_in_two_tables_under_one_key_is_two_items(death, fields, moto_world, tmp_path):
    """Two entries copy one source table into two, the ids kept: what landed in each is resumed, and undone, in each."""
    moto_world.build({"Ships": {"key": {"id": "S"}, "items": [{"id": {"S": f"s{n}"}} for n in range(6)]}}, SOURCE)
    moto_world.build({"Live": {"key": {"id": "S"}}, "Old": {"key": {"id": "S"}}}, TARGET)
    source = f"source: Ships-dev-{moto_world.suffix}, id_format: keep"
    mapping = f"{{Live: {{{source}}}, Old: {{{source}{fields}}}}}"
    for run_id, resumed in (("rolled-back", False), ("resumed-first", True)):
        flow = flow_of(mapping, moto_world, tmp_path, run_id, workers=1)
        assert in_child(flow.migrate, death) == KILLED
        if resumed:
            assert flow.migrate()["totals"]["inserted"] == 12
        flow.rollback()
        assert moto_world.content(TARGET) == {"Live": [], "Old": []}, run_id


def test_a_table_that_is_lost_half_way_does_not_hold_up_the_way_back(moto_world, tmp_path, monkeypatch):
    """Somebody deletes a target table: the migration fails, and what it had inserted into the others is taken back."""
    flow, _ = begin(moto_world, tmp_path, workers=1)
    put_new, puts = Wire.put_new, itertools.count()

    def losing(wire, table, item, partition_key, **options):
        if next(puts) == 8:  # five of six ports are inserted; this is the fourth ship
            moto_world.client.delete_table(TableName=moto_world.name("Ships", TARGET))
        return put_new(wire, table, item, partition_key, **options)

    monkeypatch.setattr(Wire, "put_new", losing)
    report = flow.migrate()
    assert report["verdict"] == "ROLLED_BACK"
    assert (report["rollback"]["deleted"], report["rollback"]["not_found"]) == (5, 3)
    assert "Ships" not in moto_world.content(TARGET)
    assert len(moto_world.content(TARGET)["Ports"]) == 2


def test_a_rollback_where_none_of_the_tables_is_leaves_its_journal_as_it_was(moto_world, tmp_path, monkeypatch):
    """At the wrong endpoint nothing counts as undone: at the right one everything is."""
    flow, before = begin(moto_world, tmp_path)
    flow.migrate()
    get_many, call = Wire.get_many, Wire.call

    def astray(wire, operation, body, **options):
        there = body | {"TableName": f"{body['TableName']}-not"} if operation == "DescribeTable" else body
        return call(wire, operation, there, **options)

    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(Wire, "get_many", lambda wire, table, *keys: get_many(wire, f"{table}-not", *keys))
        elsewhere.setattr(Wire, "call", astray)
        with pytest.raises(Interrupted, match="none of the target tables exists here; check region and endpoint"):
            flow.rollback()
    assert flow.rollback()["rollback"]["deleted"] == INSERTED
    assert moto_world.content(TARGET) == before


def test_a_resumed_run_does_not_claim_what_another_run_inserted_meanwhile(moto_world, tmp_path):
    """The other's items are already there to it, and its undo leaves them. But the other one built on it, however often it
    has been resumed since."""
    moto_world.build({"Ships": {"key": {"id": "S"}, "items": [{"id": {"S": f"s{n}"}} for n in range(10)]}}, SOURCE)
    moto_world.build({"Ships": {"key": {"id": "S"}}}, TARGET)
    dead, other = (
        flow_of("{Ships: {}}", moto_world, tmp_path, run_id) for run_id in ("the-first-run", "the-second-run")
    )
    assert in_child(dead.migrate, at_record("outcome", 1, "after")) == KILLED
    theirs = other.migrate()["totals"]
    assert (theirs["already_there"], theirs["inserted"]) == (4, 6)
    mine = dead.migrate()["totals"]
    assert (mine["inserted"], mine["already_there"]) == (4, 6)
    with pytest.raises(Refused, match="the-second-run inserted into the same target after this one"):
        dead.rollback()
    undoing = Undoing(str(dead.checkpoint()), str(tmp_path), dead.parameters)
    assert dead.steps().undo(undoing).content["rollback"]["deleted"] == 4
    assert len(moto_world.content(TARGET)["Ships"]) == 6


# replies and endpoints that get lost


@pytest.mark.parametrize("every", [1, 2])
def test_an_insert_whose_reply_is_lost_counts_as_inserted(every, moto_world, tmp_path, untouched, monkeypatch):
    """The put landed, its retry is refused: equal and ours, counted once, and rolled back with the rest."""
    flow, before = begin(moto_world, tmp_path)
    once = itertools.count()
    post = Transport.post

    def first_reply_lost(transport, keys, operation, body):  # each item's first reply: the retry must get through
        reply = post(transport, keys, operation, body)
        if operation == "PutItem" and reply[0] == 200 and next(once) % every == 0:
            raise Again("the connection broke")
        return reply

    monkeypatch.setattr(Transport, "post", first_reply_lost)
    report = flow.migrate()
    monkeypatch.undo()
    check_same(report, moto_world, untouched)
    assert flow.rollback()["rollback"]["deleted"] == INSERTED
    assert moto_world.content(TARGET) == before


def test_a_delete_whose_reply_is_lost_is_done(moto_world, tmp_path, monkeypatch):
    """Absent at the retry is deleted, by whom else."""
    flow, before = begin(moto_world, tmp_path)
    flow.migrate()
    lose_replies(monkeypatch, "DeleteItem")
    counts = flow.rollback()["rollback"]
    assert counts["deleted"] + counts["not_found"] == INSERTED
    assert counts["kept_edited"] == 0
    assert moto_world.content(TARGET) == before


def lost_after(number):
    """Transport.post of an endpoint that is gone after so many puts."""
    post, calls = Transport.post, itertools.count()

    def lost(transport, keys, operation, body):
        if operation == "PutItem" and next(calls) >= number:
            raise Again("the endpoint refuses connections")
        return post(transport, keys, operation, body)

    return lost


def test_a_lost_endpoint_interrupts_and_the_run_goes_on(moto_world, tmp_path, untouched, monkeypatch):
    """Interrupted with the command that resumes, nothing rolled back; a reply that never came is no conflict."""
    flow, before = begin(moto_world, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(Transport, "post", lost_after(9))
        with pytest.raises(Interrupted, match=r"same command with the run ID the-first-run") as raised:
            flow.migrate()
    assert raised.value.exit_code == 3
    assert "the endpoint refuses connections" in str(raised.value)
    assert sum(map(len, moto_world.content(TARGET).values())) > sum(map(len, before.values()))
    check_same(flow.migrate(), moto_world, untouched)


def test_a_verdict_of_before_does_not_stand_while_a_migration_is_open(moto_world, tmp_path, monkeypatch):
    """Interrupted, a run's status and its line in the index have no verdict: the analysis' is no word on it."""
    flow, _ = begin(moto_world, tmp_path)
    flow.analyze()
    told = ("REVIEW", ">REVIEW<")
    assert (status(flow.run()).verdict, told[1] in write_index(tmp_path).read_text()) == (told[0], True)
    with monkeypatch.context() as patched:
        patched.setattr(Transport, "post", lost_after(4))
        with pytest.raises(Interrupted):
            flow.migrate()
    found = status(flow.run())
    assert (found.state, found.verdict) == ("interrupted", None)
    assert told[1] not in write_index(tmp_path).read_text()
    flow.validate()
    assert status(flow.run()).verdict == "FAIL"
    flow.migrate()
    assert (status(flow.run()).verdict, told[1] in write_index(tmp_path).read_text()) == (told[0], True)


def test_status_and_index_show_the_last_verdict_when_the_clock_steps_back(moto_world, tmp_path, monkeypatch):
    """A FAIL after a PASS, and the other way round; a run that came later stands first. What is wrong with a run is told
    in its line, and stops nothing else."""
    flow, _ = begin(moto_world, tmp_path)
    flow.validate()
    flow.migrate()
    for module in (runs, stage):
        monkeypatch.setattr(module, "now", lambda: datetime(2020, 1, 1, tzinfo=UTC))
    moto_world.delete(moto_world.name("Ports", TARGET), {"id": new("Ports", "p2")})
    assert (flow.validate()["verdict"], status(flow.run()).verdict) == ("FAIL", "FAIL")
    assert ">FAIL<" in write_index(tmp_path).read_text()
    later = flow_of(MAPPING, moto_world, tmp_path, "a-second-run")
    assert later.migrate()["totals"]["inserted"] == 1
    assert (flow.validate()["verdict"], status(flow.run()).verdict) == ("REVIEW", "REVIEW")
    assert [one.run_id for one in status_of_all(tmp_path)] == ["a-second-run", "the-first-run"]
    about = run_json(flow.parameters, load_mapping(flow.parameters), "flow")
    assert latest_checkpoint(str(tmp_path), about["fingerprint"])[0] == later.checkpoint()
    path = later.run().journal("migrate") / "stage.jsonl"
    path.write_bytes(path.read_bytes()[5:])
    told = "stage.jsonl: record 1 is damaged"
    assert [bool(one.problem) for one in status_of_all(tmp_path)] == [True, False]
    assert told in status_of_all(tmp_path)[0].text()
    assert told in write_index(tmp_path).read_text()


# two at once


@pytest.mark.parametrize("run_id", ["the-first-run", "the-second-run"])
def test_what_another_process_writes_is_refused(run_id, moto_world, tmp_path, monkeypatch):
    """The same run, or another run into the same tables: the second is told who holds them, and writes nothing."""
    flow, before = begin(moto_world, tmp_path)
    second = flow_of(MAPPING, moto_world, tmp_path, run_id)
    monkeypatch.setattr(process, "lock_patience", 0.1)
    plan = flow._plan()

    def refused():
        with pytest.raises(Refused, match=rf"is being written by .*process {os.getppid()}"):
            second.migrate()

    with flow.steps().writing("03_migrate", plan.target, plan.targets()):
        assert in_child(refused) == 0
    assert moto_world.content(TARGET) == before


@pytest.mark.parametrize(("made_first", "turns"), [(False, True), (True, True), (False, False)])
def test_a_run_that_a_later_one_built_on_is_not_rolled_back_before_it(
    made_first, turns, moto_world, tmp_path, monkeypatch
):
    """Only after the later run was taken back; until then nothing is deleted. Later is what migrated later: whatever the
    clock says, and also where its folder was made before. Without turns, as an earlier version leaves it, by its number."""
    flow, before = begin(moto_world, tmp_path)
    if not turns:
        monkeypatch.setattr(execution, "_next_turn", lambda run: 0)
    later = flow_of(MAPPING, moto_world, tmp_path, "the-second-run")
    if made_first:
        later.run()
    flow.migrate(["Ports"])
    for module in (runs, stage):
        monkeypatch.setattr(module, "now", lambda: datetime(2020, 1, 1, tzinfo=UTC))
    later.migrate()
    after = moto_world.digest(TARGET)
    with pytest.raises(Refused, match="the-second-run"):
        flow.rollback()
    assert moto_world.digest(TARGET) == after
    later.rollback()
    flow.rollback()
    assert moto_world.content(TARGET) == before


def test_a_later_run_that_died_in_its_first_page_counts_as_one_that_inserted(moto_world, tmp_path):
    """What landed has no outcome yet, but stands: the earlier run is not rolled back before it, nor taken for the latest."""
    flow, before = begin(moto_world, tmp_path)
    flow.migrate(["Ports"])
    later = flow_of(MAPPING, moto_world, tmp_path, "the-second-run", workers=1)
    assert in_child(lambda: later.migrate(["Ships"]), at_request("PutItem", 1, "after")) == KILLED
    after = moto_world.digest(TARGET)
    with pytest.raises(Refused, match="the-second-run"):
        flow.rollback()
    assert moto_world.digest(TARGET) == after
    about = run_json(flow.parameters, load_mapping(flow.parameters), "flow")
    assert latest_checkpoint(str(tmp_path), about["fingerprint"])[0] == later.checkpoint()
    assert later.rollback()["rollback"]["deleted"] == 1
    assert latest_checkpoint(str(tmp_path), about["fingerprint"])[0] == flow.checkpoint()
    flow.rollback()
    assert moto_world.content(TARGET) == before


def test_a_later_test_that_died_and_was_undone_does_not_stand_in_the_way(moto_world, tmp_path):
    """What an undo has looked at in a page that was cut off is no longer in doubt, whatever else was tested since."""
    flow, before = begin(moto_world, tmp_path)
    flow.migrate(["Ports"])
    later = flow_of(MAPPING, moto_world, tmp_path, "the-second-run", workers=1)
    assert in_child(lambda: later.test("Crews"), at_request("PutItem", 2, "after")) == KILLED
    with pytest.raises(Refused, match="the-second-run"):
        flow.rollback()
    assert later.rollback("test")["rollback"]["deleted"] == 2
    later.test("Ports")
    flow.rollback()
    assert moto_world.content(TARGET) == before


# every point there is


@pytest.mark.long
@pytest.mark.parametrize("way", ["resume", "rollback"])
def test_every_death_there_is(way, moto, tmp_path, untouched):
    """The Nth journal record, the Nth request, N = 1 until the run gets through: each death, then on or back."""
    for kind, moment in (("intent", "after"), ("outcome", "before"), ("PutItem", "before"), ("PutItem", "after")):
        at = at_request if kind == "PutItem" else at_record
        for number in itertools.count(1):
            world = worlds.World(moto)
            outputs = tmp_path / f"{kind}-{moment}-{number}"
            outputs.mkdir()
            flow, before = begin(world, outputs)
            died = in_child(flow.migrate, at(kind, number, moment)) == KILLED
            if way == "resume":
                check_same(flow.migrate(), world, untouched)
            flow.rollback()
            assert world.content(TARGET) == before, (kind, moment, number)
            world.drop()
            if not died:
                break
        assert number > 5
