"""The same migration by threads and by several processes, also where one of them dies."""

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import support_worlds as worlds
from support_cluster import in_the_middle
from support_flows import flow_of

from runbook_lib import errors, process
from runbook_lib.errors import Interrupted, Refused
from runbook_lib.journal import log as journal
from runbook_lib.stages.migrate.migrate import migrate
from runbook_lib.walk.workers import engines, worker

ITEMS, FEW = 120, 24
MAPPING = "{Ports: {}, Ships: {references: {portId: {to: Ports, dangling: 'null'}}}}"
COUNTED = ("tables", "totals", "relationships", "relationships_preserved", "verdict")


@pytest.fixture
def sea(world):
    """Two tables; every tenth ship is of a port that is not there."""
    return world.sea(ITEMS)


def content(world):
    """Table → the items of the target."""
    return {table: world.items(world.name(table, worlds.TARGET)) for table in ("Ports", "Ships")}


def migrated(world, folder: Path, **limits):
    """A migration's report and what it made; taken back."""
    folder.mkdir()
    return settled(world, flow_of(MAPPING, world, folder, **limits))


def settled(world, flow):
    """A migration's report and what it made; taken back."""
    report = flow.migrate()
    made = content(world)
    validation = flow.validate()
    proved = {key: validation["validation"][key] for key in ("missing", "different", "extra", "dangling")}
    assert proved == {"missing": 0, "different": 0, "extra": 0, "dangling": ITEMS // 10}, validation["alerts"]
    assert flow.rollback()["rollback"]["deleted"] == report["totals"]["inserted"]
    assert content(world) == {"Ports": [], "Ships": []}
    return {key: report[key] for key in COUNTED}, made


@pytest.mark.slow
def test_processes_do_what_threads_do(sea, tmp_path):
    """Counts, ids and items are the same; the ids that references ask for reach the workers."""
    by_threads = migrated(sea, tmp_path / "threads")
    by_processes = migrated(sea, tmp_path / "processes", engine="processes", segments=3)
    assert by_processes == by_threads


@pytest.mark.parametrize("where", ["threads", pytest.param("processes", marks=pytest.mark.slow)])
def test_a_table_is_held_to_its_budget_and_the_report_says_so(where, world, tmp_path):
    """By several processes, too, which share it; the other table is not held back."""
    budgets = {"Ships": {"write_units": FEW / 4}}  # few items, which take a slow machine no longer than the budget does
    flow = flow_of(MAPPING, world.sea(FEW), tmp_path, engine=where, segments=3, tables=budgets)
    report = flow.migrate()
    assert report["totals"]["inserted"] == 2 * FEW
    assert report["migration"]["duration_seconds"] > 2.5  # the first second's units may come at once
    held = {(one["table"], one["reason"]): one["seconds"] for one in report["held_back"]}
    ((table, reason),) = held
    assert table == f"target {world.name('Ships', worlds.TARGET)}"
    assert reason == "limits.tables (its write_units)"
    assert 1 < held[table, reason] < 10


@pytest.mark.slow
def test_a_worker_that_is_killed_is_replaced(sea, tmp_path, monkeypatch):
    """Its segment goes on with another one, from what the journal says."""
    by_threads = migrated(sea, tmp_path / "threads")
    killed = []

    def kill(worker):
        os.kill(worker, signal.SIGKILL)
        killed.append(worker)

    folder = tmp_path / "processes"
    folder.mkdir()
    flow = flow_of(MAPPING, sea, folder, engine="processes", segments=2, write_units=80)
    watch = in_the_middle(flow, "Ships", kill)
    assert settled(sea, flow) == by_threads
    watch.join()
    assert killed
    written = json.loads(min(flow.run().folder.glob("migration-report-*.json")).read_text())
    assert sum(point["items"] for point in written["throughput"]) == 2 * ITEMS


@pytest.mark.slow
def test_processes_count_the_items_that_no_entry_selects(world, tmp_path):
    """As threads do: progress is of the source's items."""
    world.sea(FEW)
    flow = flow_of("{Ships: {where: {portId: p1}}}", world, tmp_path, engine="processes")
    report = flow.migrate()
    assert (report["totals"]["scanned"], report["totals"]["unrouted"]) == (1, FEW - 1)
    assert sum(point["items"] for point in report["throughput"]) == FEW


@pytest.mark.slow
def test_processes_are_seen_to_go_on_in_the_middle_of_a_page(sea, tmp_path):
    """A page of several batches takes as long as its budget says; the driver looks meanwhile."""
    limits = {"engine": "processes", "segments": 1, "workers": 1, "tables": {"Ports": {"write_units": ITEMS / 4}}}
    flow = flow_of("{Ports: {}}", sea, tmp_path, **limits)
    plan, seen, over = flow._plan(), [], threading.Event()

    def look():
        while not over.wait(0.05):
            seen.append(plan.meter.look("03_migrate").done)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        migrate(flow.run(), plan)
    finally:
        over.set()
        looking.join()
    assert {*seen} - {0, ITEMS}
    assert seen == sorted(seen)
    assert plan.meter.look("03_migrate").done == ITEMS


@pytest.mark.slow
def test_workers_that_die_again_and_again_interrupt(sea, tmp_path, monkeypatch):
    """A segment that kills its workers is given up after three; the run resumes when that is mended."""
    alive = engines._Process.advance

    def dying(self, job, table, number, budget):
        if table.startswith("Ships"):
            self._pool.submit(os.kill, self._pool.submit(os.getpid).result(), signal.SIGKILL)
        return alive(self, job, table, number, budget)

    monkeypatch.setattr(engines._Process, "advance", dying)
    flow = flow_of(MAPPING, sea, tmp_path, engine="processes", segments=2)
    with pytest.raises(Interrupted, match="3 workers died while working on it"):
        flow.migrate()
    monkeypatch.setattr(engines._Process, "advance", alive)
    report = flow.migrate()
    assert report["totals"]["inserted"] == 2 * ITEMS, report["tables"]


@pytest.mark.slow
def test_a_worker_follows_what_started_it(tmp_path):
    """A worker whose parent is gone ends by itself."""
    script = tmp_path / "parent.py"
    script.write_text(
        "import os\n"
        "from runbook_lib.walk.workers import engines\n"
        "if __name__ == '__main__':\n"
        "    lane = engines._Process()\n"
        "    print(lane._pool.submit(os.getpid).result(), flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    told = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)
    worker = int(told.stdout)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError("the worker lives on")


def by_arn(world, *tables, region="us-west-1"):
    """A mapping that names its tables by their ARNs."""
    account = {"moto": "123456789012", "ministack": "000000000000"}[world.engine.name]
    sides = {
        side: f"arn:aws:dynamodb:{region}:{account}:table/{{table}}-{environment}-{world.suffix}"
        for side, environment in (("source", worlds.SOURCE), ("target", worlds.TARGET))
    }
    return f"{{Ports: {sides}, Ships: {sides | {'references': {'portId': 'Ports'}}}}}"


@pytest.mark.slow
def test_tables_may_be_named_by_their_arns(ministack, batches, tmp_path):
    """As those of another account are: every stage, one item at a time, because PartiQL does not reach them."""
    world = worlds.World(ministack).sea(FEW)
    flow = flow_of(by_arn(world), world, tmp_path)
    assert flow.analyze()["totals"]["records"] == 2 * FEW
    assert flow.test("Ships", 4).undone.deleted > 4  # with the ports of some of them
    assert flow.migrate()["totals"]["inserted"] == 2 * FEW
    assert flow.delta()["verdict"] == "REVIEW"  # every tenth ship's port is not there
    proved = flow.validate()["validation"]
    assert (proved["missing"], proved["different"], proved["extra"]) == (0, 0, 0)
    assert flow.rollback()["rollback"]["deleted"] == 2 * FEW
    assert (content(world), batches) == ({"Ports": [], "Ships": []}, [])
    world.drop()


def test_a_table_named_by_its_arn_is_migrated_and_taken_back(moto_world, tmp_path):
    """The journal's files have names that a file system takes, and are found again."""
    flow = flow_of(by_arn(moto_world.sea(1)), moto_world, tmp_path)
    assert flow.migrate()["totals"]["inserted"] == 2
    assert flow.rollback()["rollback"]["deleted"] == 2
    names = [path.name for path in (flow.run().folder / "journal" / "migrate").glob("arn*")]
    assert sorted(names) == [
        f"arn+aws+dynamodb+us-west-1+123456789012+table+{table}-dev-{moto_world.suffix}.00000.jsonl"
        for table in ("Ports", "Ships")
    ]


def test_an_arn_that_leads_elsewhere_is_refused(moto_world, tmp_path):
    """Not a table's; of another region; the source, or another entry's table, by its other name."""
    moto_world.sea(1)
    named, own = f"Ships-dev-{moto_world.suffix}", "arn:aws:dynamodb:us-west-1:123456789012:table"
    for mapping, told in {
        "{Ships: {source: 'arn:aws:s3:::bucket/Ships'}}": "is not a table's ARN; write arn:aws:dynamodb:REGION",
        f"{{Ships: {{target: '{own}/a/index/b'}}}}": "is not a table's ARN",
        by_arn(moto_world, region="eu-west-1"): "is in eu-west-1, but the source is in us-west-1",
        f"{{Ships: {{target: '{own}/{named}'}}}}": "source and target are the same table",
        f"{{Ships: {{}}, Ports: {{source: '{own}/{named}'}}}}": f"{named} are one table; give it the same name",
    }.items():
        with pytest.raises(Refused, match=told):
            flow_of(mapping, moto_world, tmp_path).migrate()
    missing = f"{{Ships: {{target: '{own}/nowhere', create: {{key: {{id: S}}}}}}}}"
    with pytest.raises(Refused, match="a table is not created by its ARN"):
        flow_of(missing, moto_world, tmp_path).create()


def test_who_writes_a_segment_holds_its_file(tmp_path, monkeypatch):
    """A worker that outlived what started it is waited for; what it wrote meanwhile is seen."""
    monkeypatch.setattr(process, "lock_patience", 0.2)
    first = journal.Log(tmp_path / "A.00000.jsonl")
    with pytest.raises(Interrupted, match="still being written by a worker"):
        journal.Log(first.path)
    first.let_go()
    second = journal.Log(first.path)
    second.append("begin")
    second.close()
    assert not first.take_again()


def kinds(kind):
    """A class and all that derive from it."""
    return [kind, *(below for one in kind.__subclasses__() for below in kinds(one))]


@pytest.mark.parametrize("kind", kinds(errors.RunbookError), ids=lambda kind: kind.__name__)
def test_what_a_worker_ran_into_reaches_the_driver_as_what_it_is(kind, monkeypatch):
    """What is resumed by threads is not rolled back by processes: only the class says which."""

    def fail(job):
        raise kind("the sentence.")

    monkeypatch.setattr(worker._Worker, "of", fail)
    found = pickle.loads(pickle.dumps(worker.advance(None, "A", 0, None)))
    with pytest.raises(kind, match=r"^the sentence\.$") as raised:
        found.raise_problem()
    assert type(raised.value) is kind
