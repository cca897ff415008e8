"""What a stage says of itself while it works: every request counts, earlier executions too, and none says a value."""

import json
import os
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace

import pytest
import support_worlds as worlds
from support_crashes import small_pages
from support_flows import flow_of

from runbook_lib import folder_commands
from runbook_lib.cli import main
from runbook_lib.dynamo import items
from runbook_lib.dynamo.items import Wire
from runbook_lib.dynamo.rate_limiter import RateLimiter
from runbook_lib.dynamo.requests import Requests
from runbook_lib.errors import DynamoError, Interrupted, WorkersLost
from runbook_lib.journal import audit
from runbook_lib.journal.stage import Stage
from runbook_lib.notebook import progress
from runbook_lib.notebook.progress import Progress
from runbook_lib.report.runs.progress import line
from runbook_lib.report.runs.status import status
from runbook_lib.run.progress_file import FINISHED, Published, StageProgress, TableProgress, at_work
from runbook_lib.stages.migrate import migrate as migration
from runbook_lib.stages.migrate.delta import catch_up
from runbook_lib.stages.migrate.migrate import migrate
from runbook_lib.stages.migrate.retry_failed import retry_failed
from runbook_lib.stages.rollback import undo
from runbook_lib.stages.rollback.rollback import Undoing
from runbook_lib.stages.validate.repair import ALL, repair
from runbook_lib.stages.validate.validate import validate
from runbook_lib.walk import control
from runbook_lib.walk.workers import engines, worker

SOURCE, TARGET = worlds.SOURCE, worlds.TARGET
MAPPING = "{Ports: {}, Ships: {references: {portId: Ports}, create: {key: {id: S}}}}"
CANARY = "quokka"


class Shown:
    """What a notebook's cell shows, in the place of IPython's handle."""

    def __init__(self):
        self.pages = []

    def update(self, html):
        self.pages.append(html.data)


@pytest.fixture
def cell(monkeypatch):
    cell = Shown()
    monkeypatch.setattr(progress, "EVERY", 0.0)
    monkeypatch.setattr("IPython.display.display", lambda *shown, display_id: cell)
    monkeypatch.setattr(progress.Progress, "_watch", lambda self: None)  # nothing but what the work itself calls
    return cell


@pytest.fixture
def flow(moto_world, tmp_path, monkeypatch):
    """Six ports and thirteen ships, in pages of four."""
    small_pages(monkeypatch)
    monkeypatch.setattr(Wire, "_back_off", lambda *_: None)
    key = {"key": {"id": "S"}}
    ports = [{"id": {"S": f"{CANARY}-p{n}"}, CANARY: {"S": CANARY}} for n in range(6)]
    ships = [
        {"id": {"S": f"{CANARY}-s{n}"}, "portId": {"S": f"{CANARY}-p{n % 7}"}, "m": {"M": {CANARY: {"S": CANARY}}}}
        for n in range(13)
    ]
    moto_world.build({"Ports": key | {"items": ports}, "Ships": key | {"items": ships}}, SOURCE)
    moto_world.build({"Ports": key | {"items": []}, "Ships": key | {"items": []}}, TARGET)
    return flow_of(MAPPING, moto_world, tmp_path)


def figures(work, stage="03_migrate"):
    """Table → items done, of all."""
    return {one.name.partition("-")[0]: (one.done, one.total) for one in work.meter.look(stage).tables}


def stopped(work, flow, plan, pages):
    """What the meter says when a work is interrupted after so many pages."""
    left = iter(range(pages - 1))

    def on_page(table, counts):
        if next(left, None) is None:
            raise Interrupted("stop was requested; the current page is complete.")

    with pytest.raises(Interrupted):
        work(flow.run(), plan, on_page)
    return plan.meter.look("03_migrate")


def test_a_page_counts_while_it_is_written(flow, monkeypatch):
    """Not only when it is done: a first page may take minutes."""
    plan, seen = flow._plan(["Ports"]), []
    put = Wire.put_new

    def looking(*arguments, **named):
        seen.append(plan.meter.look("03_migrate").done)
        return put(*arguments, **named)

    monkeypatch.setattr(Wire, "put_new", looking)
    plan.target.wire._batches._at_once = plan.target.wire._batches._workers = 1  # one request after the other
    migrate(flow.run(), plan)
    assert seen == [0, 1, 2, 3, 4, 5]
    assert figures(plan) == {"Ports": (6, 6)}


def test_a_resumed_run_counts_on(flow):
    plan = flow._plan()
    first = stopped(migrate, flow, plan, 3)
    assert (first.done, first.total, first.earlier, first.execution) == (10, 19, 0, 1)
    again, seen = flow._plan(), []
    migrate(flow.run(), again, lambda *_: seen.append(again.meter.look("03_migrate")))
    assert (seen[0].done, seen[0].earlier, seen[0].execution) == (14, 10, 2)
    assert [table.before for table in seen[0].tables] == [True, False]
    last = again.meter.look("03_migrate", FINISHED)
    assert figures(again) == {"Ports": (6, 6), "Ships": (13, 13)}
    assert line(last).startswith("03_migrate: 2 tables, 19 items, ")
    logged = (flow.run().folder / "run.log").read_text()
    assert "migrate: execution 2, resumed, 10 items from before; 1 entries" in logged


def test_what_a_page_had_sent_counts_as_soon_as_it_is_looked_up(flow, monkeypatch):
    """The journal does not know it when an execution dies in the middle of its page."""
    plan, put, seen = flow._plan(["Ports"]), Wire.put_new, []

    def dying(wire, *arguments, **named):
        seen.append(1)
        if len(seen) > 2:
            raise Interrupted("the process ends")
        return put(wire, *arguments, **named)

    monkeypatch.setattr(Wire, "put_new", dying)
    plan.target.wire._batches._at_once = plan.target.wire._batches._workers = 1  # one request after the other
    with pytest.raises(Interrupted):
        migrate(flow.run(), plan)
    told = status(flow.run())
    assert (told.totals["inserted"], told.uncertain) == (0, 3)  # a page of four, the last of which was never sent
    assert "not counted: 3 items of pages that were not finished." in told.text()
    again, at_each = flow._plan(["Ports"]), []

    def looking(*arguments, **named):
        at_each.append(again.meter.look("03_migrate").done)
        return put(*arguments, **named)

    monkeypatch.setattr(Wire, "put_new", looking)
    again.target.wire._batches._at_once = again.target.wire._batches._workers = 1
    migrate(flow.run(), again)
    assert at_each == [2, 3, 4, 5]
    assert status(flow.run()).uncertain == 0
    assert figures(again) == {"Ports": (6, 6)}


def test_a_resumed_run_shows_what_the_journal_knows_from_the_first_moment(flow, monkeypatch):
    """Getting ready may take longer than a page; and of a page that was not finished nobody knows how far it came."""
    seen, prepare, put = [], migration.prepare, Wire.put_new

    def dying(wire, table, *arguments, **named):
        if "Ships" in table:
            raise Interrupted("the process ends")
        return put(wire, table, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Wire, "put_new", dying)
        plan = flow._plan()
        plan.target.wire._batches._at_once = plan.target.wire._batches._workers = 1
        with pytest.raises(Interrupted):
            migrate(flow.run(), plan)
    again = flow._plan()

    def looking(*arguments):
        seen.append(again.meter.look("03_migrate"))
        return prepare(*arguments)

    monkeypatch.setattr(migration, "prepare", looking)
    migrate(flow.run(), again, lambda *_: seen.append(again.meter.look("03_migrate")))
    first = seen[0]
    assert (first.done, first.total, first.earlier, first.execution, first.uncertain) == (6, 19, 6, 2, 1)
    assert [table.before for table in first.tables] == [True, False]
    assert line(first) == (
        "03_migrate: 6 of 19 items, 1 of 2 tables, looking for target keys that several items have, "
        "1 item of unfinished pages to look up"
    )
    assert (seen[1].done, seen[1].uncertain, seen[1].doing) == (10, 0, "")


def test_an_item_that_goes_to_two_entries_is_one_item_of_the_journal_too(flow, moto_world, tmp_path):
    """A resumed run, and a resumed validation, begin where the interrupted one ended."""
    both = {
        "Ports": {},
        "Twice": {"source": moto_world.name("Ports", SOURCE), "target": moto_world.name("Ships", TARGET)},
    }
    flow = flow_of(json.dumps(both), moto_world, tmp_path)
    at = stopped(migrate, flow, flow._plan(), 1)
    again = flow._plan()
    migrate(flow.run(), again)
    assert (at.done, again.meter.look("03_migrate").earlier) == (4, 4)
    assert figures(again) == {"Ports": (6, 6)}
    at = stopped(validate, flow, flow._plan(), 1)
    again = flow._plan()
    validate(flow.run(), again)
    assert (at.done, again.meter.look("04_validate").earlier) == (4, 4)
    assert figures(again) == {"Ports": (6, 6)}


def lookups(monkeypatch, plan):
    """What the meter says at each request for one item of the target."""
    call, seen = Wire.call, []

    def looking(wire, operation, *arguments, **named):
        if operation == "BatchGetItem" and wire.label == "target":
            seen.append(plan.meter.look("04_validate").done)
        return call(wire, operation, *arguments, **named)

    monkeypatch.setattr(items, "BATCH_GET_KEYS", 1)
    monkeypatch.setattr(Wire, "call", looking)
    return seen


def test_a_validation_counts_each_answered_request(flow, moto_world, monkeypatch):
    """Also those about items that are missing: they were looked up."""
    flow.migrate()
    moto_world.delete(moto_world.name("Ports", TARGET), {"id": moto_world.content(TARGET)["Ports"][1]["id"]})
    plan = flow._plan(["Ports"])
    seen = lookups(monkeypatch, plan)
    validation = validate(flow.run(), plan)
    assert seen[:6] == [0, 1, 2, 3, 4, 5]
    assert figures(plan) == {"Ports": (6, 6)}
    assert validation.total("missing") == 1


def test_a_repair_counts_each_answered_request(flow, moto_world, monkeypatch):
    """What is there is settled by its answer; what is missing, by its insert."""
    flow.migrate()
    moto_world.delete(moto_world.name("Ports", TARGET), {"id": moto_world.content(TARGET)["Ports"][1]["id"]})
    plan = flow._plan(["Ports"])
    seen = lookups(monkeypatch, plan)
    assert repair(flow.run(), plan, word=ALL).inserted == 1
    assert len(set(seen)) > 4
    assert seen == sorted(seen)
    assert figures(plan) == {"Ports": (6, 6)}


def test_a_resumed_validation_tells_finished_tables_from_those_it_finishes(flow):
    flow.migrate()
    stopped(validate, flow, flow._plan(), 3)
    again, seen = flow._plan(), []
    validate(flow.run(), again, lambda *_: seen.append(again.meter.look("04_validate")))
    assert [table.before for table in seen[0].tables] == [True, False]


class Here:
    """A worker of the engine with several processes, in this one. It dies at some of its requests."""

    def __init__(self, plan, dies, *, silent=False):
        self.plan, self.dies, self.silent, self.seen, self.requests = plan, dies, silent, [], 0

    def advance(self, *slice_):
        call = Wire.call
        self.look()  # its driver may, at any time

        def looking(wire, operation, *arguments, **named):
            self.look()
            if operation == "PutItem":
                self.requests += 1
                if self.requests in self.dies:
                    raise KeyboardInterrupt
            return call(wire, operation, *arguments, **named)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Wire, "call", looking)
            try:
                return worker.advance(*slice_)
            except KeyboardInterrupt:  # its driver gets no slice
                raise WorkersLost from None

    def look(self):
        self.seen.append(self.plan.meter.look("03_migrate").done)

    def items(self):
        return 0 if self.silent else worker._items.value

    def close(self):
        worker._Worker.forget()


def by_one_worker(moto_world, tmp_path, monkeypatch, *dies, silent=False):
    """A migration by a worker that sends one request after the other: the worker, and its plan."""
    flow = flow_of(MAPPING, moto_world, tmp_path, engine="processes", workers=1)
    plan = flow._plan()
    here = Here(plan, dies, silent=silent)
    monkeypatch.setattr(engines, "_processes", lambda *_: [here])
    migrate(flow.run(), plan)
    assert Stage(flow.run(), "migrate").read().items(plan.routes) == {
        table.name: table.done for table in plan.meter.look("03_migrate").tables
    }
    assert sum(point["items"] for point in plan.meter.throughput()) == 19
    return here, plan


def test_processes_count_each_answered_request(flow, moto_world, tmp_path, monkeypatch):
    here, plan = by_one_worker(moto_world, tmp_path, monkeypatch)
    assert here.seen == sorted(here.seen)
    assert {*here.seen} == {*range(19)}
    assert figures(plan) == {"Ports": (6, 6), "Ships": (13, 13)}


@pytest.mark.parametrize("silent", [False, True], ids=["seen", "told by slices alone"])
def test_a_worker_that_dies_is_counted_once(silent, flow, moto_world, tmp_path, monkeypatch):
    """In the first page, in a later one, twice in the same; what it did before is in the journal, and never told."""
    here, plan = by_one_worker(moto_world, tmp_path, monkeypatch, 3, 16, 18, silent=silent)
    assert here.requests == 19 + 3
    assert here.seen == sorted(here.seen)
    assert {*here.seen} == ({0, 6} if silent else {*range(19)})
    assert figures(plan) == {"Ports": (6, 6), "Ships": (13, 13)}


def test_a_page_that_is_shorter_when_it_is_read_again_counts_as_the_journal_does(
    flow, moto_world, tmp_path, monkeypatch
):
    """Somebody deleted items of the source between the worker's death and the next one's begin."""
    name = moto_world.name("Ports", SOURCE)
    advance = Here.advance

    def deleting(self, *slice_):
        if self.requests:
            for number in range(6):
                moto_world.delete(name, {"id": {"S": f"{CANARY}-p{number}"}})
        return advance(self, *slice_)

    monkeypatch.setattr(Here, "advance", deleting)
    flow = flow_of("{Ports: {}}", moto_world, tmp_path, engine="processes", workers=1)
    plan = flow._plan()
    here = Here(plan, [4])
    monkeypatch.setattr(engines, "_processes", lambda *_: [here])
    migrate(flow.run(), plan)
    assert {*here.seen} == {0, 1, 2, 3}
    assert figures(plan) == {"Ports": (0, 0)}


@pytest.mark.slow
def test_a_process_counts_where_its_driver_can_look():
    """While its slice goes on; another one, in its place, begins anew."""
    one = engines._Process()
    count = "from runbook_lib.walk.workers import worker; worker._items.value += 7"
    one._pool.submit(exec, count).result()
    assert one.items() == 7
    one._pool.submit(exec, count).result()
    assert one.items() == 14
    with pytest.raises(BrokenProcessPool):
        one._pool.submit(os._exit, 1).result()
    with pytest.raises(WorkersLost):
        one.advance(None, "A", 0, None)
    assert one.items() == 0
    one.close()


def test_children_wait_for_their_parents(flow):
    plan, seen = flow._plan(), []
    migrate(flow.run(), plan, lambda *_: seen.append(plan.meter.look("03_migrate")))
    first = {table.name.partition("-")[0]: table for table in seen[0].tables}
    assert first["Ports"].state == "reading"
    assert first["Ships"].state == "waiting"
    assert [name.partition("-")[0] for name in first["Ships"].after] == ["Ports"]


def test_a_resumed_validation_and_a_resumed_rollback_count_on(flow, monkeypatch):
    flow.migrate()
    plan = flow._plan()
    audit.begin(flow.run(), "04_validate")
    assert stopped(validate, flow, plan, 2).done == 6
    again = flow._plan()
    validate(flow.run(), again)
    assert figures(again) == {"Ports": (6, 6), "Ships": (13, 13)}
    assert again.meter.look("04_validate").earlier == 6
    undoing, taken = Undoing(str(flow.checkpoint()), str(flow.outputs), flow.parameters, True), []

    def until_third():
        taken.append(1)
        if len(taken) == 3:
            raise Interrupted("stop was requested.")

    with monkeypatch.context() as patch:
        batch = undo._UndoFile.batch
        patch.setattr(undo._UndoFile, "batch", lambda self, *given: (until_third(), batch(self, *given))[1])
        with pytest.raises(Interrupted):
            undoing.undo()
    at = undoing.meter.look("05_rollback")
    assert (at.done, at.total) == (8, 19)
    again = Undoing(str(flow.checkpoint()), str(flow.outputs), flow.parameters, True)
    again.undo()
    assert figures(again) == {"Ports": (6, 6), "Ships": (13, 13)}
    last = again.meter.look("05_rollback")
    assert (last.earlier, last.execution, len(last.finished)) == (8, 2, 2)


def test_every_report_has_the_series(flow):
    """Its items are those that the stage has gone through."""
    for report in (flow.analyze(), flow.migrate(), flow.validate(), flow.rollback()):
        assert sum(point["items"] for point in report["throughput"]) == 19
        assert {"at", "seconds", "items", "throttled", "held_back"} == report["throughput"][0].keys()


def test_a_retry_and_a_delta_count_requests(flow, moto_world, tmp_path, monkeypatch):
    """The second ship of a batch finds the first one counted."""
    flow = flow_of(MAPPING, moto_world, tmp_path, on_failure="keep")
    put, fails, looks, plans = Wire.put_new, True, [], []

    def failing(self, table, item, *arguments, **named):
        if fails and "Ships" in table:
            raise DynamoError("no", code="ValidationException")
        if plans:
            looks.append(plans[-1].meter.look("03_migrate").done)
        return put(self, table, item, *arguments, **named)

    monkeypatch.setattr(Wire, "put_new", failing)
    flow.migrate()
    fails = False
    for work, more, done in (
        (retry_failed, {}, {"Ships": (13, 13)}),
        (catch_up, {"n": {"N": "1"}}, {"Ships": (14, 14)}),
    ):
        if more:
            for number in range(3):
                moto_world.put(moto_world.name("Ships", SOURCE), {"id": {"S": f"{CANARY}-s{number}"}, **more})
            moto_world.put(moto_world.name("Ships", SOURCE), {"id": {"S": "new"}})
        plans.append(flow._plan())
        plans[-1].target.wire._batches._at_once = plans[-1].target.wire._batches._workers = 1
        looks.clear()
        work(flow.run(), plans[-1])
        assert figures(plans[-1]).items() >= done.items()
        assert len(set(looks)) > 1


@pytest.mark.parametrize("end", ["finished", "stopped"])
def test_a_notebook_shows_publishes_and_logs_no_value(end, flow, cell, monkeypatch):
    """The same figures everywhere; afterwards no file is left, and the last display is true."""
    lines = []
    steps = replace(flow.steps(), watch=Progress)
    plan = flow._plan()
    call = Requests.call

    def looking(self, operation, *arguments, **named):
        if operation == "PutItem":
            found = at_work(flow.run())
            lines.extend(map(line, found))
            if found and end == "stopped" and found[0].done >= 6:
                raise Interrupted("cut off.")
        return call(self, operation, *arguments, **named)

    monkeypatch.setattr(Requests, "call", looking)
    if end == "finished":
        steps.migrate(plan)
        assert "2 tables, 19 items, " in cell.pages[-1]
    else:
        with pytest.raises(Interrupted):
            steps.migrate(plan)
        assert "stopped at 6 of 19 items" in cell.pages[-1]
        assert "role=" in cell.pages[-1]
    assert any(told.startswith("03_migrate: 6 of 19 items, 0 of 2 tables, ") for told in lines)  # as of the last page
    folder = flow.run().folder
    assert not list(folder.glob(".progress*"))
    assert status(flow.run()).progress is None
    logged = (folder / "run.log").read_text()
    assert "a page is done: 4 scanned, 4 inserted" in logged
    assert CANARY not in logged + "".join(cell.pages) + "".join(lines)
    assert all(len(told) < 300 for told in logged.splitlines())


def test_a_table_that_does_not_answer_at_first_is_shown_and_its_wait_can_be_stopped(flow, monkeypatch):
    """Before a stage works, too: progress, log, and the end of the waiting."""
    run, shown, times = flow.run(), [], iter(range(0, 600, 12))
    audit.begin(run, "01_analyze")
    limiter = RateLimiter(patience=600, clock=lambda: next(times), sleep=lambda _: shown.extend(at_work(run)))
    with progress.opening(run, "01_analyze") as follow:
        follow(limiter)
        limiter.waits("source Ports", "HTTP status 500")
        limiter.pause(0.4)
        limiter.pause(0.4)
        control.request_stop(run)
        with pytest.raises(Interrupted, match="stop was requested while a table was waited for"):
            limiter.pause(0.4)
    assert line(shown[-1]).startswith("01_analyze: source Ports: nothing accepted for ")
    assert "WARNING waiting: source Ports: nothing accepted for " in (run.folder / "run.log").read_text()
    assert at_work(run) == []


def test_a_status_names_what_goes_on(flow, cell):
    with Progress(flow.run(), plan := flow._plan(), "03_migrate") as on_page:
        plan.count(earlier={}, execution=1)
        plan.meter.add(next(iter(plan.by_source())), 3)
        on_page("Ports", {"scanned": 3})
        found = status(flow.run())
        assert found.text().splitlines()[1].startswith("03_migrate: 3 of 19 items, 0 of 2 tables, ")
        told = json.loads(json.dumps(found.as_json()))["progress"]
    assert (told["stage"], told["items"], told["of"], told["tables_finished"]) == ("03_migrate", 3, 19, 0)
    assert told["line"].startswith("03_migrate: 3 of 19 items")


def test_a_failed_migration_says_that_it_takes_back(flow, cell, monkeypatch):
    """And what it took back, request by request; the log names each batch."""
    lines, put, delete = [], Wire.put_new, Wire.delete_if

    def failing(self, table, item, *arguments, **named):
        if "Ships" in table:
            raise DynamoError("no", code="ValidationException")
        return put(self, table, item, *arguments, **named)

    def looking(self, *arguments):
        lines.append(line(plan.meter.look("03_migrate")))
        return delete(self, *arguments)

    monkeypatch.setattr(Wire, "put_new", failing)
    monkeypatch.setattr(Wire, "delete_if", looking)
    plan = flow._plan()
    report = replace(flow.steps(), watch=Progress).migrate(plan).content
    assert report["verdict"] == "ROLLED_BACK"
    assert lines[0].startswith("03_migrate, undoing: 0 of 6 items, 0 of 1 tables, ")
    assert figures(plan) == {"Ports": (6, 6)}
    assert "undoing: 1 table, 6 items, " in (flow.run().folder / "run.log").read_text()


def test_a_rollback_logs_each_batch_and_its_report_has_one_series(flow, cell):
    flow.migrate()
    undoing = Undoing(str(flow.checkpoint()), str(flow.outputs), flow.parameters, True)
    steps = replace(flow.steps(), watch=Progress)
    done = steps.undo(undoing)
    deleted = steps.delete_tables(undoing, done.result, [])
    assert sum(point["items"] for point in deleted.content["throughput"]) == 19
    assert (flow.run().folder / "run.log").read_text().count("Ships") >= 4
    assert any("2 tables, 19 items, " in page for page in cell.pages)


def test_status_can_be_watched_and_ends_with_the_run(flow, monkeypatch, capsys):
    """The first line at once, the status at the end; nothing at work: the status at once; Ctrl-C ends the watching alone."""
    flow.migrate()
    words, pauses = ["status", flow.run_id, "--watch", "--outputs", str(flow.outputs)], []
    table = TableProgress("Ships", 12, 50, 4.0, "writing")
    published = Published(flow.run(), "03_migrate")
    published.write(StageProgress("03_migrate", (table,), 4.0))

    def sleep(seconds):
        pauses.append(seconds)
        published.end()

    monkeypatch.setattr(folder_commands.time, "sleep", sleep)
    assert main(words) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "03_migrate: 12 of 50 items, 0 of 1 tables, 4 items/s, 0:10 left"
    assert told[1] == f"{flow.run_id}: complete"
    assert pauses == [2.0, 2.0]
    assert main(words) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"{flow.run_id}: complete"
    assert pauses == [2.0, 2.0]
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["progress"] is None
    published.write(StageProgress("03_migrate", (table,), 4.0))
    assert main(["status", "--outputs", str(flow.outputs), flow.run_id]) == 0
    assert capsys.readouterr().out.splitlines()[1] == told[0]

    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(folder_commands.time, "sleep", interrupt)
    assert main(["status", "--watch", "--outputs", str(flow.outputs)]) == 0
    assert capsys.readouterr().out.splitlines() == told[:1]
    published.end()
