"""Items that could not be written, tried again: what arrives counts as if it had the first time, the rest stays failed."""

import contextlib
import itertools
import json

import pytest
import support_notebooks
import support_worlds as worlds
from faults import harness
from faults.harness import INSERTED, PORTS, SHIPS, SOURCE, TARGET, killed, new_id
from faults.test_rows import answering, refusal
from support_flows import flow_of

from runbook_lib import cli
from runbook_lib.errors import Interrupted, Refused
from runbook_lib.journal import log as journal
from runbook_lib.journal.intents import intents
from runbook_lib.journal.stage import Stage
from runbook_lib.journal.table_file import read_table_file
from runbook_lib.stages.migrate import retry_failed as retries

in_process = support_notebooks.in_process
BAD = {"Ports": ("p1", "p4"), "Ships": ("s6",)}  # not written at the first time
FAILED = 3


@contextlib.contextmanager
def refused(bad, code="ValidationException"):
    """A block in which the inserts of some items are refused for good."""
    keys = [new_id(entry, old)["S"].encode() for entry, olds in bad.items() for old in olds]

    def change(operation, body, ask):
        met = operation == "PutItem" and any(b'"Item":{"id":{"S":"%s"' % key in body for key in keys)
        return refusal(code) if met else ask()

    with answering(change):
        yield


def failing(bench, bad=BAD, **limits):
    """A migration that came to its end and could not write some items."""
    flow = bench.flow(on_failure="keep", **limits)
    with refused(bad):
        found = flow.migrate()
    assert (found["verdict"], found["totals"]["failed"]) == ("FAIL", sum(map(len, bad.values())))
    assert bench.landed() == INSERTED - found["totals"]["failed"]
    return flow


def set_on_failure(flow, word):
    """The same run, with another limit."""
    limits = flow.parameters.limits.model_copy(update={"on_failure": word})
    flow.parameters = flow.parameters.model_copy(update={"limits": limits})


def back(bench, flow, deleted=INSERTED):
    """The rollback gives the first target back, and counts each item once."""
    counts = flow.rollback()["rollback"]
    bench.check_back()
    assert (counts["deleted"], counts["kept_edited"], counts["not_found"]) == (deleted, 0, 0)


@pytest.mark.parametrize("limits", [{}, {"segments": 2}], ids=["one-segment", "two-segments"])
def test_what_can_be_written_now_counts_as_if_it_had_been_the_first_time(limits, bench):
    """Counts, id map, relationships, listings, status, and the way back."""
    flow = failing(bench, **limits)
    assert len(flow.listing("failed")) == FAILED
    bench.check_whole(flow.retry())
    assert flow.listing("failed") == []
    assert Stage(flow.run(), "migrate").read().state().finished
    bench.check_whole(flow.migrate())
    back(bench, flow)


def test_nothing_but_the_failed_items_is_asked_for(bench):
    """One read and one insert for each; no page is scanned, no other item looked at."""
    flow, asked = failing(bench), []

    def noting(operation, body, ask):
        asked.append((operation, body))
        return ask()

    with answering(noting):
        flow.retry()
    assert sum(operation == "PutItem" for operation, _ in asked) == FAILED
    assert not [body for operation, body in asked if operation == "Scan" and b'"Limit":1' not in body]
    back(bench, flow)


@pytest.mark.parametrize("on_failure", ["keep", "rollback"])
def test_what_still_cannot_be_written_stays_failed_and_takes_nothing_back(on_failure, bench):
    """Whatever the limits say of failures: the others arrive, and a third time all do."""
    flow = failing(bench)
    set_on_failure(flow, on_failure)
    with refused({"Ports": ("p4",)}):
        found = flow.retry()
    assert (found["verdict"], found["totals"]["failed"], found["totals"]["inserted"]) == ("FAIL", 1, INSERTED - 1)
    assert bench.landed() == INSERTED - 1
    (line,) = flow.listing("failed")
    assert line["key"] == {"id": {"S": "p4"}}
    assert found["errors"] == [{"table": "Ports", "reason": line["reason"], "items": 1}]
    assert flow.migrate()["totals"] == found["totals"]  # the run is complete: nothing is taken back here either
    bench.check_whole(flow.retry())
    back(bench, flow)


def test_a_table_that_is_refused_meanwhile_leaves_the_rest_failed_and_is_told(bench):
    """A failure of the whole table ends the attempt; nothing is taken back, and the next attempt goes on."""
    flow = failing(bench)
    set_on_failure(flow, "rollback")
    with refused({"Ports": ("p1",)}, "AccessDeniedException"):
        found = flow.retry()
    assert found["verdict"] == "FAIL"
    assert "AccessDeniedException: allow dynamodb:PutItem on Ports" in found["alerts"][0]["message"]
    assert found["totals"]["failed"] == 2  # p1; and s6, which was not tried
    bench.check_whole(flow.retry())
    back(bench, flow)


@pytest.mark.parametrize("segments", [1, 2])
def test_failed_items_of_an_interrupted_run_can_be_tried_before_or_after_it_is_resumed(segments, bench):
    """The run stays interrupted: its pages are the migration's to go on with."""
    flow = bench.flow(on_failure="keep", segments=segments)
    with refused({"Ports": ("p1",), "Ships": ("s0", "s1", "s6")}):
        assert killed(flow.migrate, "wire.PutItem.after=kill@6")
    found = flow.retry()
    assert (found["verdict"], found["totals"]["failed"]) == ("FAIL", 0)
    assert not Stage(flow.run(), "migrate").read().state().finished
    bench.check_whole(flow.migrate())
    back(bench, flow)


# what is there to try


def test_nothing_failed(bench):
    """The verdict is the run's, and nothing is written."""
    flow = bench.flow()
    first = flow.migrate()
    files = {path: path.read_bytes() for path in flow.run().folder.rglob("journal/*/*")}
    assert flow.retry()["verdict"] == first["verdict"]
    assert {path: path.read_bytes() for path in flow.run().folder.rglob("journal/*/*")} == files
    back(bench, flow)


def test_a_run_that_migrated_nothing_or_was_rolled_back_is_refused(bench):
    """Each says what to do instead."""
    flow = bench.flow()
    with pytest.raises(Refused, match="has migrated nothing yet"):
        flow.retry()
    flow = failing(bench)
    flow.rollback()
    with pytest.raises(Refused, match="was rolled back; start a new run"):
        flow.retry()
    bench.check_back()


def test_chosen_entries_alone(bench):
    """The others stay failed."""
    flow = failing(bench)
    assert retries.failed(flow.run(), ["Ports", "Ships"]) == {"Ports": 2, "Ships": 1}
    found = flow.retry(["Ships"])
    assert (found["tables"]["Ports"]["failed"], found["tables"]["Ships"]["failed"]) == (2, 0)
    bench.check_whole(flow.retry())
    back(bench, flow)


# the source changed meanwhile


@contextlib.contextmanager
def source_item(bench, table, item):
    """A block in which a source item is another one; with the key alone it is gone."""
    name = bench.world.name(table, SOURCE)
    (before,) = (one for one in bench.source[table] if one["id"] == item["id"])
    if len(item) == 1:
        bench.world.delete(name, item)
    else:
        bench.world.put(name, item)
    yield
    bench.world.put(name, before)


def test_a_source_item_that_is_gone_stays_failed_with_that_reason(bench):
    """It is in the list, and in the counts; when it is back it is tried as before."""
    flow = failing(bench)
    with source_item(bench, "Ports", {"id": {"S": "p1"}}):
        found = flow.retry()
    assert (found["verdict"], found["tables"]["Ports"]["failed"]) == ("FAIL", 1)
    assert found["id_map"]["rows"] == bench.report["id_map"]["rows"]
    (line,) = flow.listing("failed")
    assert (line["key"], line["reason"]) == ({"id": {"S": "p1"}}, retries.GONE)
    bench.check_whole(flow.retry())
    back(bench, flow)


def test_somebody_elses_equal_item_is_not_ours_because_the_source_item_is_gone(bench):
    """A crash in an attempt that could try nothing leaves nothing to claim."""
    flow = failing(bench)
    (port,) = (item for item in bench.after["Ports"] if item["id"] == new_id("Ports", "p1"))
    with source_item(bench, "Ports", {"id": {"S": "p1"}}), refused({"Ports": ("p4",)}):
        assert killed(flow.retry, "wire.PutItem.before=kill@1")
    bench.world.put(bench.world.name("Ports", TARGET), port)
    flow.rollback()
    bench.check_back_but([("Ports", port)])


def test_a_source_item_that_changed_is_written_as_it_is_now(bench):
    """It is routed anew."""
    flow = failing(bench)
    port = {"id": {"S": "p1"}, "kind": {"S": "port"}, "depth": {"N": "77"}}
    with source_item(bench, "Ports", port):
        assert flow.retry()["totals"] == bench.report["totals"]
    assert {**port, "id": new_id("Ports", "p1")} in bench.content(TARGET)["Ports"]
    back(bench, flow)


def test_a_source_item_that_no_entry_selects_any_more_is_unrouted(bench):
    """The counts move with it."""
    flow = failing(bench)
    with source_item(bench, "Ports", {"id": {"S": "p1"}, "kind": {"S": "wreck"}}):
        found = flow.retry()
    assert found["tables"]["Ports"] == {**bench.report["tables"]["Ports"], "scanned": PORTS - 1, "inserted": PORTS - 1}
    assert (found["totals"]["unrouted"], len(flow.listing("unrouted"))) == (2, 2)
    assert found["id_map"]["rows"] == bench.report["id_map"]["rows"] - 1
    back(bench, flow, INSERTED - 1)


FIELDS = """{
  Goods: {where: {kind: good}, fields: {id: {from: name}, price: {from: price, type: number}}, drop: [id], rest: copy},
  Gifts: {where: {kind: gift}, source: "Goods-dev-SUFFIX"}}"""


@pytest.fixture
def shop(bench, tmp_path):
    """Goods of which one could not be written, and a way to change a source item."""
    world = worlds.World(bench.world.engine)
    goods = [
        {"id": {"S": f"g{n}"}, "kind": {"S": "good"}, "name": {"S": f"n{n}"}, "price": {"S": f"{n}.5"}}
        for n in range(4)
    ]
    world.build({"Goods": {"key": {"id": "S"}, "items": goods}}, SOURCE)
    world.build({"Goods": {"key": {"id": "S"}}, "Gifts": {"key": {"id": "S"}}}, TARGET)
    flow = flow_of(FIELDS.replace("SUFFIX", world.suffix), world, tmp_path, workers=1, on_failure="keep")

    def refusing(operation, body, ask):
        return refusal("ValidationException") if operation == "PutItem" and b'"n2"' in body else ask()

    with answering(refusing):
        found = flow.migrate()
        assert found["tables"]["Goods"]["failed"] == 1
    yield flow, lambda item: world.put(world.name("Goods", SOURCE), goods[2] | item)
    flow.rollback()
    assert world.content(TARGET) == {"Goods": [], "Gifts": []}
    world.drop()


def test_a_source_item_that_no_longer_fits_is_quarantined(shop):
    """It leaves the failed ones, and is listed with the reason."""
    flow, change = shop
    change({"price": {"S": "dear"}})
    counts = flow.retry()["tables"]["Goods"]
    assert (counts["scanned"], counts["inserted"], counts["quarantined"], counts["failed"]) == (4, 3, 1, 0)
    assert (flow.listing("quarantine")[0]["attribute"], flow.listing("failed")) == ("price", [])


def test_a_source_item_whose_key_another_one_has_by_now_is_a_conflict(shop):
    """The item with the smaller source key has it."""
    flow, change = shop
    change({"name": {"S": "n0"}})
    counts = flow.retry()["tables"]["Goods"]
    assert (counts["inserted"], counts["conflicts"], counts["failed"]) == (3, 1, 0)
    assert flow.listing("conflicts")[0]["key"] == {"id": {"S": "g2"}}


def test_a_source_item_that_another_entry_selects_by_now_stays_failed(shop):
    """It is another item to migrate; nothing of it is written here."""
    flow, change = shop
    change({"kind": {"S": "gift"}})
    found = flow.retry()
    assert (found["tables"]["Goods"]["failed"], found["totals"]["unrouted"]) == (1, 0)
    assert flow.listing("failed")[0]["reason"] == retries.ELSEWHERE


# dying of it

STEP = 23


def die_and_go_on(bench, number, *, roll_back):
    """Whether an attempt was killed; then the same command, or a rollback, as if nothing had happened."""
    flow = failing(bench)
    died = killed(flow.retry, f"*=kill@{number}")
    bench.check_unharmed()
    landed = bench.landed()
    if roll_back:
        back(bench, flow, landed)
        return died
    if died and number % 2:
        flow.migrate()  # a complete run: it writes the report, and nothing else
        assert bench.landed() == landed
    bench.check_whole(flow.retry())
    back(bench, flow)
    return died


@pytest.mark.parametrize("roll_back", [False, True], ids=["on", "back"])
@pytest.mark.parametrize(
    "step", [STEP, pytest.param(11, marks=pytest.mark.slow), pytest.param(1, marks=pytest.mark.long)]
)
def test_a_death_in_an_attempt_leaves_it_to_the_same_command(roll_back, step, bench):
    """At every call: an item that had landed without a word is found to be ours, and counts once."""
    for number in itertools.count(step, step):
        if not die_and_go_on(bench, number, roll_back=roll_back):
            break
    assert number > 30


def test_an_attempt_that_was_interrupted_goes_on(bench):
    """An endpoint that is lost: exit code 3, and the same command."""
    flow = failing(bench)
    with (
        harness.armed("wire.PutItem.before=error@2+"),
        pytest.raises(Interrupted, match="Run the same command with the run ID"),
    ):
        flow.retry()
    bench.check_whole(flow.retry())
    back(bench, flow)


def test_an_attempt_does_not_move_where_the_segment_goes_on(bench):
    """Its intents are of no page; what they stand for is told by number, list and index."""
    flow = failing(bench)
    paths = journal.logs(flow.run().journal("migrate"))
    before = [read_table_file(path).position for path in paths]
    flow.retry()
    assert [read_table_file(path).position for path in paths] == before
    replaced = [(intent.n, one) for path in paths for intent in intents(path) for one in intent.replaced]
    assert sorted(letter for _, (letter, _) in replaced) == ["f"] * FAILED
    again = [intent for path in paths for intent in intents(path) if intent.page is None]
    assert sum(len(intent.rows) for intent in again) == FAILED
    back(bench, flow)


# the command


def test_the_command_plans_tries_and_is_refused_where_there_is_nothing(bench, tmp_path, in_process, capsys):
    """Without --execute a line for each entry; with it the rest arrives; without a run that migrated: exit code 2."""
    flow = failing(bench)
    content = flow.parameters.model_dump(mode="json", exclude_none=True)
    path = tmp_path / "sea.json"
    path.write_text(json.dumps(content))
    command = ["migrate", str(path), "--retry-failed", "--json", "--outputs"]
    assert cli.main([*command, str(tmp_path / "none")]) == 2
    assert "migrate first" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
    assert cli.main([*command, str(flow.outputs), "--run-id", "never-begun"]) == 2
    assert "no run never-begun" in capsys.readouterr().err
    assert cli.main([*command, str(flow.outputs)]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert (planned["run_id"], planned["plan"]) == (
        flow.run_id,
        ["retry 2 failed items of Ports", "retry 1 failed item of Ships"],
    )
    assert cli.main([*command, str(flow.outputs), "--execute", "--confirm", TARGET]) == 1  # REVIEW, as the first time
    found = json.loads(capsys.readouterr().out)
    assert (found["verdict"], found["totals"]) == ("REVIEW", bench.report["totals"])
    assert found["headline"].startswith(f"{INSERTED} of {PORTS + SHIPS} items inserted")
    assert bench.content(TARGET) == bench.after
    back(bench, flow)
