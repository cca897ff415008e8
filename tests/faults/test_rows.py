"""Single rows of the fault matrix on the small migration. README.md in this folder lists all rows with their tests."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import orjson
import pytest
import support_worlds as worlds
from botocore.exceptions import ClientError
from faults import harness
from faults.harness import INSERTED, PORTS, SHIPS, SOURCE, TARGET, armed, killed, new_id
from support_batches import inserts
from support_flows import flow_of

from runbook_lib import process
from runbook_lib.dynamo import errors as faults
from runbook_lib.dynamo import tables
from runbook_lib.dynamo.requests import ATTEMPTS
from runbook_lib.dynamo.transport import Transport
from runbook_lib.errors import Again, Interrupted, Refused
from runbook_lib.journal import audit
from runbook_lib.journal import log as journal
from runbook_lib.journal.intents import intents
from runbook_lib.run import folder as runs
from runbook_lib.run.locks import locks
from runbook_lib.walk import control

PREFIX = "com.amazonaws.dynamodb.v20120810#"


def refusal(code, status=400, **more):
    """DynamoDB's reply to a request that it refuses."""
    return status, {}, orjson.dumps({"__type": PREFIX + code, "message": "no", **more})


def some(cases, *few):
    """Cases as parameters, all but a few of them slow."""
    cases = cases if isinstance(cases, dict) else {case: case for case in cases}
    return [pytest.param(c, id=str(n), marks=[] if n in few else pytest.mark.slow) for n, c in cases.items()]


@contextlib.contextmanager
def answering(change):
    """A block in which `change` may put a reply in the place of the engine's: it gets operation, body and a way to ask.

    What is asked is the body, unless another one is given.
    """
    post = Transport.post

    def posted(transport, keys, operation, body):
        return change(operation, body, lambda other=body: post(transport, keys, operation, other))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Transport, "post", posted)
        yield


@contextlib.contextmanager
def refusing(code_for):
    """A block in which inserts are refused: `code_for` gives a code for table and item, or None. Counts the refusals.

    In a batch each statement for itself, the others are done; DynamoDB's codes are shorter there.
    """
    met = Counter()

    def change(operation, body, ask):
        codes = [code_for(*one) for one in inserts(operation, body)]
        met.update(f"{operation} {code}" for code in codes if code)
        if not any(codes):
            return ask()
        if operation == "PutItem":
            return refusal(codes[0])
        statements = orjson.loads(body)["Statements"]
        allowed = [statement for statement, code in zip(statements, codes, strict=True) if not code]
        done = iter(orjson.loads(ask(orjson.dumps({"Statements": allowed}))[2])["Responses"] if allowed else ())
        of_statements = {long: short for short, long in faults._OF_STATEMENTS.items()}
        refused = (
            {"Error": {"Code": of_statements.get(code, code), "Message": "no"}} if code else None for code in codes
        )
        return 200, {}, orjson.dumps({"Responses": [one or next(done) for one in refused]})

    with answering(change):
        yield met


class Luck:
    """Chance, for any number of threads. No thread loses more than `most` times in a row, or a request of it would give up: which
    one meets which number differs from run to run, whatever the seed."""

    def __init__(self, chance, most):
        self._chance, self._most, self._thread = chance, most, threading.local()

    def lose(self, odds, *, last):
        """Breaks the connection, or not; `last` where an attempt that comes so far has got through."""
        in_a_row = getattr(self._thread, "in_a_row", 0)
        if in_a_row < self._most and self._chance.random() < odds:
            self._thread.in_a_row = in_a_row + 1
            raise ConnectionResetError(104, "reset")
        if last:
            self._thread.in_a_row = 0


def back_again(bench, flow, deleted=INSERTED):
    """The rollback gives the first target back, and counts each item once."""
    counts = flow.rollback()["rollback"]
    bench.check_back()
    assert (counts["deleted"], counts["kept_edited"], counts["not_found"]) == (deleted, 0, 0)


# an endpoint in trouble

INDEX = {
    "reason": "IndexWriteProvisionedThroughputExceeded",
    "resource": "arn:aws:dynamodb:us-west-1:123456789012:table/Ships/index/byPort",
}
TROUBLE = {
    "throttled": lambda ask: refusal("ProvisionedThroughputExceededException"),
    "account-limit": lambda ask: refusal("RequestLimitExceeded"),
    "index-too-slow": lambda ask: refusal("ThrottlingException", ThrottlingReasons=[INDEX]),
    "500": lambda ask: refusal("InternalServerError", 500),
    "503-html": lambda ask: (503, {}, b"<html>busy</html>"),
    "done-but-500": lambda ask: ask() and refusal("InternalServerError", 500),
    "reply-cut": lambda ask: (200, {}, ask()[2][:-3]),
    "reply-garbled": lambda ask: (200, {}, b"\xff\xfe" + ask()[2]),
    "reply-empty": lambda ask: ask() and (200, {}, b"{}"),
    "413-html": lambda ask: (413, {}, b"<html>too large</html>"),
    "unknown-code": lambda ask: refusal("SomethingNewException"),
}


@harness.by("puts", "batches", "ministack")
@pytest.mark.parametrize("trouble", some(TROUBLE, "throttled", "done-but-500", "reply-empty"))
def test_an_endpoint_in_trouble_costs_retries_and_nothing_else(trouble, bench):
    """Rows 22, 26, 27, 33, 34, 35: every third request, in the migration and in the rollback: nothing lost or doubled."""
    chance, met = random.Random(7), Counter()

    def troubled(operation, body, ask):
        if chance.random() < 0.3:
            met[operation] += 1
            return trouble(ask)
        return ask()

    flow = bench.flow()
    with answering(troubled):
        bench.check_whole(flow.migrate())
        back_again(bench, flow)
    assert met[bench.way.operation] > (2 if bench.way == harness.PUTS else 0)
    assert met["DeleteItem"] > 2


@harness.by("puts", "batches", "ministack")
def test_a_table_that_throttles_for_good_interrupts_and_is_named(bench):
    """Row 23: given up after a bounded number of attempts, with side, table, index and the way on; nothing is rolled back."""
    taken, refused = [], []

    def throttling(operation, body, ask):
        items = inserts(operation, body)
        if items and len(taken) + len(items) > 9:
            return refused.append(operation) or TROUBLE["index-too-slow"](ask)
        taken.extend(items)
        return ask()

    flow = bench.flow()
    named = rf"target: {bench.way.operation} on Ships.*/index/byPort"
    with answering(throttling), pytest.raises(Interrupted, match=named):
        flow.migrate()
    assert 0 < len(refused) < 40
    assert bench.landed() == len(taken) > PORTS
    bench.check_whole(flow.migrate())
    back_again(bench, flow)


ENDED = ("ExpiredTokenException", "UnrecognizedClientException", "InvalidSignatureException")


@harness.by("puts", "batches", "ministack")
@pytest.mark.parametrize("code", some(ENDED, "ExpiredTokenException"))
def test_credentials_that_end_interrupt(code, bench):
    """Rows 28, 31: resumable when they are renewed, or the clock is set; the same for the rollback."""
    asked = Counter()

    def expiring(operation, body, ask):
        if asked["inserts"] > 3 or asked["DeleteItem"] > 3:
            return refusal(code)
        asked[operation] += 1
        asked["inserts"] += len(inserts(operation, body))
        return ask()

    flow = bench.flow()
    with answering(expiring), pytest.raises(Interrupted, match="credentials"):
        flow.migrate()
    assert 0 < bench.landed() < INSERTED
    bench.check_whole(flow.migrate())
    asked.clear()
    with answering(expiring), pytest.raises(Interrupted, match="credentials"):
        flow.rollback()
    assert 0 < bench.landed() < INSERTED
    back_again(bench, flow)


@harness.by("puts", "batches", "ministack")
@pytest.mark.parametrize("on_failure", ["rollback", "keep"])
def test_a_table_that_may_no_longer_be_written_fails_the_migration(on_failure, bench):
    """Row 30: what was inserted is taken back, or kept and accounted for, as the limits say."""
    flow = bench.flow(on_failure=on_failure)
    with refusing(lambda table, item: "AccessDeniedException" if table.startswith("Ships") else None):
        report = flow.migrate()
    bench.check_unharmed()
    if on_failure == "rollback":
        assert (report["verdict"], report["rollback"]["deleted"]) == ("ROLLED_BACK", PORTS)
        bench.check_back()
        return
    assert report["verdict"] == "FAIL"
    assert report["tables"]["Ports"]["inserted"] == PORTS == bench.landed()
    assert report["tables"]["Ships"]["failed"] > 0
    back_again(bench, flow, PORTS)


@harness.by("puts", "batches", "ministack")
@pytest.mark.parametrize("on_failure", ["rollback", "keep"])
def test_a_table_that_is_deleted_meanwhile_is_not_made_again(on_failure, bench, tmp_path):
    """Row 65: the migration fails, and says which table is lost; the others are taken back, or kept, all the same."""
    world = worlds.World(bench.world.engine)
    harness.sea(world)
    flow = flow_of(harness.MAPPING, world, tmp_path, workers=1, on_failure=on_failure)
    name, done, there = world.name("Ships", TARGET), Counter(), []

    def losing(operation, body, ask):
        done["inserts"] += len(inserts(operation, body))
        if done["inserts"] >= 9 and not there:
            there.extend(world.items(name))
            world.client.delete_table(TableName=name)
        gone = there and name.encode() in body  # moto answers some reads all the same
        return refusal("ResourceNotFoundException") if gone else ask()

    with answering(losing):
        report = flow.migrate()
        assert f"{name} is lost" in str(report["alerts"])
        assert world.names(TARGET) == [world.name("Ports", TARGET)]
        if on_failure == "keep":
            assert (report["verdict"], report["tables"]["Ports"]["inserted"]) == ("FAIL", PORTS)
            assert len(world.items(world.name("Ports", TARGET))) == PORTS
            counts = flow.rollback()["rollback"]
        else:
            assert report["verdict"] == "ROLLED_BACK"
            counts = report["rollback"]
    landed = len(there) - len(bench.first["Ships"])
    assert (counts["deleted"], counts["kept_edited"], counts["not_found"]) == (PORTS, 0, landed)
    assert world.content(TARGET) == {"Ports": []}
    world.drop()


def test_a_rollback_at_another_place_is_refused_and_leaves_the_journal_as_it_was(bench):
    """Row 65: where no table is there, nothing is found gone; the right place is rolled back later."""
    flow = bench.flow()
    flow.migrate()
    with (
        answering(lambda operation, body, ask: refusal("ResourceNotFoundException")),
        pytest.raises((Interrupted, Refused), match="none of the target tables"),
    ):
        flow.rollback()
    assert bench.content(TARGET) == bench.after
    back_again(bench, flow)


@pytest.mark.parametrize("answer", ["nothing", "no right"])
def test_a_rollback_asks_what_its_tables_are_unless_it_may_not(answer, bench, monkeypatch):
    """Without an answer nobody knows whether they are the run's, or who else holds them: nothing is deleted yet."""
    flow = bench.flow()
    flow.migrate()
    refusal = {"Error": {"Code": "AccessDeniedException", "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": 400}}

    def describe(**_):
        if answer == "nothing":
            return {}
        raise ClientError(refusal, "DescribeTable")

    monkeypatch.setattr(tables, "POLL", 0.0)
    with monkeypatch.context() as patch:
        client = flow._plan().target.client
        patch.delattr(client, tables._UNDERSTOOD)  # as in a process that only rolls back
        patch.setattr(client, "describe_table", describe)
        if answer == "nothing":
            with pytest.raises(Interrupted, match="DescribeTable on .*the reply lacks"):
                flow.rollback()
            assert bench.content(TARGET) == bench.after
        else:
            assert flow.rollback()["rollback"]["deleted"] == INSERTED
    assert flow.rollback()["rollback"]["deleted"] == INSERTED
    bench.check_back()


def test_empty_pages_are_not_the_end(bench, monkeypatch):
    """Row 69: a page may hold nothing and still have a key to go on from."""
    scan_page, given = harness.Wire.scan_page, Counter()

    def sparse(wire, table, **options):
        if wire.label != "source":
            return scan_page(wire, table, **options)
        start = options.get("start")
        given[orjson.dumps([table, start])] += 1
        if given[orjson.dumps([table, start])] == 1:
            return [], start or {"id": {"S": "a key before all others"}}
        if start == {"id": {"S": "a key before all others"}}:
            options["start"] = None
        return scan_page(wire, table, **options)

    monkeypatch.setattr(harness.Wire, "scan_page", sparse)
    flow = bench.flow()
    bench.check_whole(flow.migrate())
    assert given.total() > 6
    monkeypatch.undo()
    back_again(bench, flow)


# replies that come late, or not


@pytest.mark.slow
@harness.by("puts", "batches", "ministack")
@pytest.mark.parametrize("share", [0.05, 0.3])
def test_lost_replies_by_the_hundred(share, bench, tmp_path):
    """Rows 18, 20: 600 items with 8 workers; each counts as inserted once, and is taken back once."""
    world, luck = worlds.World(bench.world.engine), Luck(random.Random(3), ATTEMPTS - 2)
    items = [{"id": {"S": f"i{number}"}, "n": {"N": str(number)}} for number in range(600)]
    world.build({"Many": {"key": {"id": "S"}, "items": items}}, SOURCE)
    world.build({"Many": {"key": {"id": "S"}}}, TARGET)
    flow = flow_of("{Many: {}}", world, tmp_path, workers=8)

    def losing(point):
        if point.startswith("wire.") and point.endswith(".after"):
            within = "Statement." in point  # a batch, which is cut off
            luck.lose(share / 25 if within else share, last=not within)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harness, "PAGE", 100)
        with armed(losing):
            report = flow.migrate()
            assert (report["totals"]["inserted"], report["totals"]["conflicts"]) == (600, 0)
            assert len(world.items(world.name("Many", TARGET))) == 600
            assert flow.rollback()["rollback"]["deleted"] == 600
    assert world.items(world.name("Many", TARGET)) == []
    world.drop()


@harness.by("puts", "batches", "ministack")
def test_a_request_that_arrives_after_its_retry_changes_nothing(bench):
    """Row 21: no reply in time; the first copy commits later, or had committed: the item is there once and is ours."""
    late = []
    turns = Counter()

    def delaying(operation, body, ask):
        if not inserts(operation, body):  # the question for batches too: without an answer, single puts would go out
            return ask()
        turns[operation] += 1
        if turns[operation] % 2:
            late.append(ask)
            raise TimeoutError("no reply in time")  # on its way still
        reply = ask()
        while late:
            assert late.pop()()[0] in (200, 400)  # now it arrives
        return reply

    def timing_out(operation, body, ask):
        try:
            return delaying(operation, body, ask)
        except TimeoutError:
            raise Again("no reply in time") from None

    flow = bench.flow()
    with answering(timing_out):
        bench.check_whole(flow.migrate())
    assert turns[bench.way.operation]
    assert (
        turns.total() > 6
    )  # a page of a single item goes by PutItem, and which items share a page is the engine's affair
    back_again(bench, flow)


# disks


@contextlib.contextmanager
def tmpfs(folder: Path, kilobytes: int):
    """A small disk of its own. Skips where mounting is not allowed."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("free", some(range(0, 36, 4), 0, 8, 20))
def test_a_full_disk_interrupts_and_the_run_goes_on_when_there_is_room(free, bench, tmp_path, capsys):
    """Row 14: a disk of 96 KiB with less and less left of it: one sentence, no write without its intent, resumable."""
    with tmpfs(tmp_path / "disk", 96) as disk:
        flow = flow_of(harness.MAPPING, bench.world, disk, workers=1)
        flow.run()
        ballast = disk / "ballast"
        ballast.write_bytes(b"\0" * 1024 * max(0, shutil.disk_usage(disk).free // 1024 - free))
        with contextlib.suppress(Interrupted):
            flow.migrate()
            assert free > 20, "there was no room for that"
        bench.check_unharmed()
        intents = sum(
            len(record["rows"])
            for path in flow.run().journal("migrate").glob("*.0*.jsonl")
            for record in journal.records(path, "intent")
        )
        assert bench.landed() <= intents
        ballast.unlink()
        bench.check_whole(flow.migrate())
        ballast.write_bytes(b"\0" * 1024 * max(0, shutil.disk_usage(disk).free // 1024 - free // 2))
        with contextlib.suppress(Interrupted):
            flow.rollback()
        bench.check_unharmed()
        ballast.unlink()
        back_again(bench, flow)
        harness.close_logs()
    assert capsys.readouterr().err == ""


def test_a_read_only_disk_is_told_before_anything_is_written(bench, tmp_path):
    """Row 17: a run that was begun elsewhere, on a disk that only reads."""
    with tmpfs(tmp_path / "disk", 64) as disk:
        flow = flow_of(harness.MAPPING, bench.world, disk, workers=1)
        flow.run()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises((Interrupted, Refused), match="Read-only file system"):
            flow.migrate()
    bench.check_back()


@pytest.mark.parametrize("vanished", ["run", "journal"])
def test_a_folder_that_vanished_or_is_none_is_told_before_anything_is_written(vanished, bench):
    """Row 17: the run's folder is gone, or a file lies where its journal should be."""
    flow = bench.flow()
    run = flow.run()
    if vanished == "journal":
        (run.folder / "journal").write_text("")
    else:
        flow.run = lambda: run
        shutil.rmtree(run.folder)
    with pytest.raises((Interrupted, Refused), match="No such file|Not a directory|was added"):
        flow.migrate()
    bench.check_back()


def test_a_full_disk_for_locks_is_told(bench, tmp_path, monkeypatch):
    """Row 14: the locks lie elsewhere."""
    with tmpfs(tmp_path / "disk", 4) as disk:
        monkeypatch.setattr(locks, "FOLDER", disk)
        (disk / "ballast").write_bytes(b"\0" * shutil.disk_usage(disk).free)
        with pytest.raises(Interrupted, match="No space left"):
            bench.flow().migrate()
    bench.check_back()


@harness.by("puts", "batches")
def test_what_the_first_insert_stands_on_is_on_disk_before_it_leaves(bench, monkeypatch):
    """Rows 2, 6: every file and every folder on the way to the intent and the checkpoint was fsynced."""
    flow, synced, first = bench.flow(), set(), []
    fsync = os.fsync

    def noting(descriptor):
        fsync(descriptor)
        synced.add(os.readlink(f"/proc/self/fd/{descriptor}").split("/.migration-checkpoint")[0])

    def at(point):
        if point == f"wire.{bench.way.operation}.before" and not first:
            first.append(set(synced))

    monkeypatch.setattr(os, "fsync", noting)
    with armed(at):
        flow.migrate()
    stage = flow.run().journal("migrate")
    ports = next(stage.glob("Ports-*"))
    wanted = [flow.outputs, flow.run().folder, stage.parent, stage, stage / "stage.jsonl", ports]
    assert [str(path) for path in wanted if str(path) not in first[0]] == []
    monkeypatch.undo()
    back_again(bench, flow)


# the run and its settings


def test_the_number_of_segments_is_the_recorded_one(bench):
    """Row 13: a limit that says nothing takes it up; another number, said in so many words, is refused."""
    flow = bench.flow(segments=2)
    assert killed(flow.migrate, "journal.append.after=kill@7")
    for segments in (1, 3):
        other = flow_of(harness.MAPPING, bench.world, flow.outputs, segments=segments, workers=1)
        with pytest.raises(Refused, match=f"started with 2 segments, but limits.segments says {segments}"):
            other.migrate()
    bench.check_whole(flow_of(harness.MAPPING, bench.world, flow.outputs, workers=1).migrate())
    back_again(bench, flow)


def test_a_clock_that_steps_back_changes_nothing(bench, monkeypatch):
    """Row 32: order comes from the journal's numbers."""
    flow = harness.open_page(bench)
    now = runs.now
    monkeypatch.setattr(runs, "now", lambda: now() - timedelta(days=400))
    bench.check_whole(flow.migrate())
    for path in flow.run().journal("migrate").glob("*.0*.jsonl"):
        numbers = [record["n"] for record in journal.records(path, "intent")]
        assert numbers == sorted(set(numbers))
    monkeypatch.setattr(runs, "now", lambda: now() - timedelta(days=800))
    back_again(bench, flow)


def test_other_program_code_may_not_resume_but_roll_back(bench, monkeypatch):
    """Row 12: what transforms items is part of the run's identity; an undo compares items, and needs none of it."""
    from runbook_lib.journal import checkpoint
    from runbook_lib.run import fingerprints

    flow = harness.open_page(bench)
    landed = bench.landed()
    for module in (fingerprints, checkpoint):
        monkeypatch.setattr(module, "code_fingerprint", lambda: "another")
    with pytest.raises(Refused, match="started with other program code"):
        flow.migrate()
    back_again(bench, flow, landed)


# several hands


def test_a_stopped_process_holds_its_run_until_it_is_killed(bench, monkeypatch):
    """Rows 43, 45: neither a second migration nor a rollback passes a process that only sleeps; killed, it is out of the way."""
    import multiprocessing

    monkeypatch.setattr(process, "lock_patience", 0.1)
    flow = bench.flow()

    def child():
        def stop(point):
            if point == "wire.PutItem.after":
                os.kill(os.getpid(), signal.SIGSTOP)
                time.sleep(60)  # the signal may take its time, and the next request leave before

        with armed(stop):
            flow.migrate()

    sleeper = multiprocessing.get_context("fork").Process(target=child)
    sleeper.start()
    try:
        assert os.WIFSTOPPED(os.waitpid(sleeper.pid, os.WUNTRACED)[1])
        for command in (flow.migrate, flow.rollback):
            with pytest.raises(Refused, match=f"process {sleeper.pid}"):
                command()
    finally:
        sleeper.kill()
        sleeper.join()
    landed = bench.landed()
    assert landed == 1
    back_again(bench, flow, landed)


def test_a_stop_ends_with_the_page(bench):
    """Row 75: what was asked for from outside is looked at after each page."""
    flow = bench.flow()
    run = flow.run()
    control.request_stop(run)
    with pytest.raises(Interrupted, match="stop was requested; the current page is complete"):
        migrate_watching(flow)
    (page,) = intents(next(run.journal("migrate").glob("Ports-*")))
    assert bench.landed() == len(page.rows)
    control.clear(run)
    bench.check_whole(flow.migrate())
    back_again(bench, flow)


def migrate_watching(flow):
    """03, looking after each page whether it was asked to stop, as the notebook does."""
    from runbook_lib.stages.migrate.migrate import migrate

    run = flow.run()
    audit.enter(run, "03_migrate")
    return migrate(run, flow._plan(), lambda *_: control.check(run))


# data that change


def source_change(bench, before, after):
    """A context in which a source item is another one; None stands for none."""

    @contextlib.contextmanager
    def changed():
        name = bench.world.name("Ships", SOURCE)

        def put(item, other):
            if item is None:
                bench.world.delete(name, {"id": other["id"]})
            else:
                bench.world.put(name, item)

        put(after, before)
        yield
        put(before, after)

    return changed()


def landed_ship(bench):
    """The source item of a ship that has landed."""
    ids = {item["id"]["S"] for item in bench.content(TARGET)["Ships"] if item not in bench.first["Ships"]}
    return next(harness.ship(n) for n in range(SHIPS) if new_id("Ships", f"s{n}")["S"] in ids)


def test_a_source_item_that_changes_while_the_run_lies_dead_is_a_conflict(bench):
    """Row 46: the older copy has landed, without a word: it is not overwritten, it is listed, and the rollback takes it."""
    flow = harness.open_page(bench)
    item = landed_ship(bench)
    with source_change(bench, item, item | {"flag": {"S": "red"}}):
        report = flow.migrate()
    assert report["totals"]["conflicts"] == 2
    assert [line["key"] for line in flow.listing("conflicts")].count({"id": item["id"]}) == 1
    flow.rollback()
    bench.check_back()


def test_a_source_item_added_behind_the_cursor_is_missing_and_comes_with_the_next_run(bench):
    """Row 47: the validation counts it; a new run inserts it, and nothing else."""
    flow = bench.flow()
    flow.migrate()
    with source_change(bench, None, {**harness.ship(0), "id": {"S": "s99"}}):
        assert flow.validate()["validation"]["missing"] == 1
        again = flow_of(harness.MAPPING, bench.world, flow.outputs, "the-second-run", workers=1)
        assert again.migrate()["totals"]["inserted"] == 1
        assert again.rollback()["rollback"]["deleted"] == 1
    back_again(bench, flow)


def test_a_source_item_deleted_after_it_was_copied_is_extra_and_stays(bench):
    """Row 48: the validation counts it; nothing deletes it but the rollback."""
    flow = bench.flow()
    flow.migrate()
    before = flow.validate()["validation"]["extra"]
    item = landed_ship(bench)
    with source_change(bench, item, None):
        assert flow.validate()["validation"]["extra"] == before + 1
    assert bench.content(TARGET) == bench.after
    back_again(bench, flow)


def test_an_edit_between_the_look_and_the_delete_is_put_back(bench):
    """Row 55: in a list, which no condition of the delete covers: what came back differs, so it is put back and reported."""
    flow = bench.flow()
    flow.migrate()
    ship = next(i for i in bench.content(TARGET)["Ships"] if i not in bench.first["Ships"])
    edited = ship | {"sisters": {"L": [{"S": "someone"}]}}
    done = []

    def editing(point):
        if point == "wire.DeleteItem.before" and not done:
            done.append(point)
            bench.world.put(bench.world.name("Ships", TARGET), edited)

    with armed(editing):
        counts = flow.rollback()["rollback"]
    assert (counts["deleted"], counts["kept_edited"], counts["not_found"]) == (INSERTED - 1, 1, 0)
    assert [line["target_key"] for line in flow.listing("kept")] == [{"id": ship["id"]}]
    bench.check_back_but([("Ships", edited)])


# failing, and dying of it


@harness.by("puts", "batches")
@pytest.mark.parametrize("record", some(range(12, 21), 14, 15))
def test_a_migration_that_dies_between_its_failure_and_its_undo_takes_it_back_when_resumed(record, bench):
    """Row 57: the same run id does what the limits ask for; it does not go on as if nothing had failed."""
    flow, late = bench.flow(), new_id("Ships", "s6")
    with refusing(lambda table, item: "ValidationException" if item["id"] == late else None):
        died = killed(flow.migrate, f"journal.append.before=kill@{record}")
        report = flow.migrate() if died and not is_rolling_back(flow) else None
    if report:
        assert report["verdict"] == "ROLLED_BACK"
    else:
        flow.rollback()
    bench.check_back()


def is_rolling_back(flow):
    from runbook_lib.journal.stage import Stage

    state = Stage(flow.run(), "migrate").read().state()
    return state.rolling_back or state.rolled_back


# the test of a few


def kill_a_test(bench, number):
    """Whether a test of a few died; the next test, and the rollback of its checkpoint, leave nothing of it."""
    flow = bench.flow()
    died = killed(lambda: flow.test("Ships", 2), f"*=kill@{number}")
    bench.check_unharmed()
    if number % 2:
        assert flow.test("Ships", 2).wrong == 0
    if harness.has_checkpoint(flow):
        flow.rollback("test")
    bench.check_back()
    return died


@harness.by("puts", "batches")
@pytest.mark.parametrize(
    "step", [60, pytest.param(17, marks=pytest.mark.slow), pytest.param(5, marks=pytest.mark.long)]
)
def test_a_killed_test_of_a_few_leaves_nothing(step, bench):
    """Row 57, and rows 1 to 6 for 02: at every call, or some."""
    number = step % 7
    while kill_a_test(bench, number):
        number += step
    assert number > 70


@pytest.mark.slow
@harness.by("puts", "batches", "ministack")
def test_a_death_among_four_workers_and_two_segments(bench, tmp_path_factory):
    """Row 3: with requests side by side, at points that differ from time to time."""
    world, folder = worlds.World(bench.world.engine), tmp_path_factory.mktemp("wide")
    wide = harness.Bench(world, folder, bench.way, workers=4, segments=2)
    chance, point = random.Random(5), f"wire.{bench.way.point}.*"
    for _ in range(6):
        flow = wide.flow()
        number = chance.randint(1, 2 * INSERTED // bench.way.together)
        if killed(flow.migrate, f"{point}=kill@{number}"):
            time.sleep(0.05)  # the engine may still be at what the dead process had sent
        landed = wide.landed()
        wide.check_unharmed()
        if chance.random() < 0.5:
            wide.check_whole(flow.migrate())
            landed = INSERTED
        killed(flow.rollback, f"wire.DeleteItem.*=kill@{chance.randint(1, 2 * INSERTED)}")
        counts = flow.rollback()["rollback"]
        wide.check_back()
        assert (counts["deleted"], counts["kept_edited"], counts["not_found"]) == (landed, 0, 0)
    wide.world.drop()


@pytest.mark.parametrize("number", some(range(1, 14), 2, 6))
def test_a_killed_making_of_tables_goes_on_and_the_tables_are_known_as_the_runs(number, bench, tmp_path, monkeypatch):
    """Row 57, and rows 1 to 4 for the tables: made once, and deleted on request by the run that made them."""
    from support_flows import begin

    from runbook_lib.journal.checkpoint import read_checkpoint
    from runbook_lib.stages.rollback.drop_tables import created_tables

    world = worlds.World(bench.world.engine)
    monkeypatch.setenv("CASE_ENDPOINT", world.engine.endpoint_url)
    monkeypatch.setenv("CASE_SUFFIX", world.suffix)
    flow = begin("shop", world, tmp_path, workers=1)
    before = world.names(TARGET)
    killed(flow.create, f"journal.*=kill@{number}")
    flow.create()
    made = set(world.names(TARGET)) - set(before)
    assert made
    flow.migrate()
    assert set(created_tables(read_checkpoint(flow.checkpoint()))) == made
    flow.rollback()
    world.drop()
