"""Whole migrations in batches: cut in two, refused statement by statement, held back, slowed down, taken back.

On an engine in this process, which takes batches of 25 as DynamoDB does. What kills the process is in test_every_call.py
and test_rows.py, which go through batches, too.
"""

import itertools
import random
import re
import threading
import time
from collections import Counter
from datetime import timedelta
from functools import partial
from types import SimpleNamespace

import orjson
import pytest
from botocore.exceptions import ClientError
from faults.harness import armed, new_id
from faults.test_rows import Luck, answering, refusal, refusing, some
from support_batches import inserts
from support_flows import flow_of
from support_memory import URL, Memory, in_place

from runbook_lib.dynamo import errors as faults
from runbook_lib.dynamo import requests as retries
from runbook_lib.dynamo.items import Wire
from runbook_lib.dynamo.rate_limiter import RateLimiter
from runbook_lib.dynamo.requests import Requests, guarded
from runbook_lib.errors import Again, DynamoError, Interrupted, Refused
from runbook_lib.journal import audit
from runbook_lib.journal import log as journal
from runbook_lib.journal import stage as stages
from runbook_lib.journal.stage import Stage
from runbook_lib.notebook import progress
from runbook_lib.stages.migrate.migrate import migrate
from runbook_lib.walk import control, plan

SOURCE_TABLE, TARGET_TABLE = "Many-dev-mem", "Many-prod-mem"
BATCH, PAGE = 25, 100
CANARY = "a value that nobody may read"
REFUSED = RateLimiter.refused  # which the engine in this process leaves out, as the back-off, so that nobody waits


class Sea:
    """One table on both sides, and migrations of it."""

    def __init__(self, folder):
        self.memory, self._folder = Memory(page=PAGE), folder
        for table in (SOURCE_TABLE, TARGET_TABLE):
            self.memory.create(table, {"id": "S"})

    def fill(self, count, residents=()):
        """So many items to copy, and what is in the target already. Gives the new items by their old number."""
        for number in range(count):
            self.memory.put(SOURCE_TABLE, {"id": {"S": f"i{number}"}, "v": {"S": CANARY}})
        for item in residents:
            self.memory.put(TARGET_TABLE, item)
        return {number: made(number) for number in range(count)}

    def flow(self, run_id="the-first-run", **limits):
        """A migration, not started."""
        world = SimpleNamespace(suffix="mem", engine=SimpleNamespace(endpoint_url=URL))
        return flow_of("{Many: {}}", world, self._folder, run_id, **{"workers": 1} | limits)

    def target(self):
        """The items of the target."""
        return in_order(self.memory.content(TARGET_TABLE).values())


def made(number):
    """What the migration makes of an item."""
    return {"id": new_id("Many", f"i{number}"), "v": {"S": CANARY}}


def in_order(items):
    """Items in a fixed order."""
    return sorted(items, key=lambda item: item["id"]["S"])


@pytest.fixture
def sea(tmp_path):
    """Nothing is in the tables yet."""
    sea = Sea(tmp_path)
    with in_place(sea.memory):
        yield sea


@pytest.fixture
def patch(sea):
    """Patches over those of `sea`, and undone before them."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture
def unhurried(monkeypatch):
    """A table that refuses is not slowed down, so that nobody waits."""
    monkeypatch.setattr(RateLimiter, "wait_turn", lambda limiter, table: None)


# cut in two


@pytest.mark.parametrize("landed", some(range(BATCH + 1), 0, 1, 12, 24, 25))
def test_a_batch_of_which_a_part_landed_when_the_endpoint_was_lost(landed, sea):
    """Row 3: k of n statements were done, whichever: resumed, all count as inserted once; or taken back as it is."""
    wanted = sea.fill(BATCH)
    chance = random.Random(landed)

    def cut(operation, body, ask):
        if not inserts(operation, body):
            return ask()
        if landed and not sea.target():
            statements = orjson.loads(body)["Statements"]
            chance.shuffle(statements)
            ask(orjson.dumps({"Statements": statements[:landed]}))
        raise Again("the connection broke")

    for run_id in ("rolled-back", "resumed-first"):
        flow = sea.flow(run_id)
        with (
            answering(cut),
            pytest.raises(Interrupted, match="BatchExecuteStatement on Many.*gave up after 10 attempts"),
        ):
            flow.migrate()
        assert len(sea.target()) == landed
        if run_id == "resumed-first":
            totals = flow.migrate()["totals"]
            assert (totals["inserted"], totals["already_there"], totals["conflicts"]) == (BATCH, 0, 0)
            assert sea.target() == in_order(wanted.values())
        counts = flow.rollback()["rollback"]
        deleted = BATCH if run_id == "resumed-first" else landed
        assert (counts["deleted"], counts["kept_edited"], counts["not_found"]) == (deleted, 0, 0)
        assert sea.target() == []


# refused, statement by statement

PASSING = (
    "ThrottlingException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "InternalServerError",
    "TransactionConflictException",
)


@pytest.mark.parametrize(
    ("workers", "seed"), [(1, 1), (8, 2), *(pytest.param(8, n, marks=pytest.mark.slow) for n in range(3, 12))]
)
def test_a_storm_loses_nothing_and_doubles_nothing(workers, seed, sea, unhurried):
    """Rows 18, 19, 20, 22, 24, 27: a third of all statements refused for now, a fifth of all requests or replies lost, items
    of others in between: each item is counted once, what was there stays, and the way back is whole."""
    equal = [made(number) for number in range(0, 1000, 11)]
    taken = [made(number) | {"theirs": {"N": "1"}} for number in range(0, 1000, 7) if number % 11]
    wanted = sea.fill(1000, [*equal, *taken, {"id": {"S": "nobody's"}}])
    before, chance, times = sea.target(), random.Random(seed), Counter()
    luck = Luck(chance, 4)  # and five refusals of an item: one attempt less than those after which a request gives up

    def losing(point):
        if point.startswith("wire."):
            luck.lose(0.1, last=point.endswith(".after"))

    def overloaded(table, item):
        if times[item["id"]["S"]] == 5 or chance.random() >= 0.3:
            return None
        times[item["id"]["S"]] += 1
        return chance.choice(PASSING)

    flow = sea.flow(workers=workers)
    with refusing(overloaded) as refused, armed(losing):
        totals = flow.migrate()["totals"]
    assert all(refused[f"BatchExecuteStatement {code}"] > 10 for code in PASSING)
    assert [totals[key] for key in ("already_there", "conflicts", "failed")] == [len(equal), len(taken), 0]
    assert totals["inserted"] == 1000 - len(equal) - len(taken)
    theirs = {item["id"]["S"] for item in before}
    assert sea.target() == in_order([*before, *(item for item in wanted.values() if item["id"]["S"] not in theirs)])
    with armed(losing):
        counts = flow.rollback()["rollback"]
    assert (counts["deleted"], counts["kept_edited"], counts["not_found"]) == (totals["inserted"], 0, 0)
    assert sea.target() == before


@pytest.mark.parametrize("code", PASSING)
def test_statements_that_are_refused_for_good_as_too_many_interrupt(code, sea, unhurried):
    """Rows 20, 23, 25: what a batch is not rid of goes singly, with a bounded number of attempts; then the run ends with table
    and reason, and goes on later."""
    wanted = sea.fill(250)
    places, one = iter(range(60)), threading.Lock()  # of two threads one gets the last place

    def late(table, item):
        with one:
            return code if next(places, None) is None else None

    flow = sea.flow(workers=2)
    with (
        refusing(late) as refused,
        pytest.raises(Interrupted, match=rf"target: PutItem on {TARGET_TABLE}: gave up after \d+ attempts.*{code[:8]}"),
    ):
        flow.migrate()
    assert refused.total() < 600
    assert len(sea.target()) == 60
    totals = flow.migrate()["totals"]
    assert (totals["inserted"], totals["already_there"]) == (250, 0)
    assert sea.target() == in_order(wanted.values())
    assert flow.rollback()["rollback"]["deleted"] == 250


@pytest.mark.parametrize("on_failure", ["keep", "rollback"])
@pytest.mark.parametrize("code", ["ItemCollectionSizeLimitExceededException", "ValidationException"])
def test_statements_that_are_refused_for_good_are_listed_and_can_be_tried_again(code, on_failure, sea):
    """Row 30, and those that are one item's fault: the others of their batch are inserted, these fail with their code and
    without a value; kept, they can be tried again, in a batch again."""
    wanted = sea.fill(250)
    bad = [wanted[number]["id"] for number in range(0, 250, 50)]
    flow = sea.flow(on_failure=on_failure)
    with refusing(lambda table, item: code if item["id"] in bad else None):
        report = flow.migrate()
    if on_failure == "rollback":
        assert (report["verdict"], sea.target()) == ("ROLLED_BACK", [])
        return
    assert (report["verdict"], report["totals"]["failed"], report["totals"]["inserted"]) == ("FAIL", 5, 245)
    assert sea.target() == in_order(item for item in wanted.values() if item["id"] not in bad)
    listed = flow.listing("failed")
    assert sorted(line["key"]["id"]["S"] for line in listed) == sorted(f"i{number}" for number in range(0, 250, 50))
    assert all(code in line["reason"] and CANARY not in line["reason"] for line in listed)
    asked = []
    with answering(lambda operation, body, ask: asked.append(len(inserts(operation, body))) or ask()):
        report = flow.retry()
    assert max(asked) > 1
    assert (report["totals"]["failed"], report["totals"]["inserted"]) == (0, 250)
    assert sea.target() == in_order(wanted.values())
    assert flow.rollback()["rollback"]["deleted"] == 250


@pytest.mark.parametrize("code", ["AccessDeniedException", "ResourceNotFoundException"])
def test_a_table_that_is_lost_statement_by_statement_ends_the_migration(code, sea):
    """Rows 30, 65: after the page in which it was met; what landed of that page, too, is accounted for. What DynamoDB does not
    find when it is asked for the table is lost; where a right is missing, it is named."""
    sea.fill(250)
    done = []
    flow = sea.flow(on_failure="keep")
    with (
        answering(lambda operation, body, ask: refusal(code) if operation == "DescribeTable" else ask()),
        refusing(lambda table, item: code if len(done) >= 130 else done.append(item)),
    ):
        report = flow.migrate()
    told = (
        f"allow dynamodb:PutItem on {TARGET_TABLE}" if code == "AccessDeniedException" else "is lost: ResourceNotFound"
    )
    assert told in str(report["alerts"])
    assert (report["totals"]["inserted"], report["totals"]["failed"]) == (130, 70)
    assert len(sea.target()) == 130
    assert flow.rollback()["rollback"]["deleted"] == 130
    assert sea.target() == []


KNOWING = {"Scan", "BatchGetItem", "BatchExecuteStatement", "PutItem", "DeleteItem"}


PASSING_ANSWERS = {
    "not-found": lambda operation, ask: refusal("ResourceNotFoundException"),
    "statements-not-found": None,
    "413": lambda operation, ask: (413, {}, b"<html>too large</html>"),
    "unknown": lambda operation, ask: refusal("SomethingNewException"),
    "empty": lambda operation, ask: (200, {}, b"{}") if operation in ("Scan", "BatchGetItem") else ask(),
    "done-and-empty": lambda operation, ask: ask() and (200, {}, b"{}"),
}


@pytest.mark.parametrize("answer", PASSING_ANSWERS)
def test_answers_that_pass_cost_requests_and_nothing_else(answer, sea):
    """Rows 34, 35: every third request is answered with nothing, something unknown, or that the table is not there, which
    DescribeTable denies: in the migration, 04 and the rollback nothing is lost, missing or left."""
    sea.fill(250)
    turn, instead = itertools.count(), PASSING_ANSWERS[answer]

    def change(operation, body, ask):
        return instead(operation, ask) if operation in KNOWING and not next(turn) % 3 else ask()

    code = "ResourceNotFoundException"
    flow = sea.flow()
    with answering(change) if instead else refusing(lambda table, item: None if next(turn) % 3 else code):
        report = flow.migrate()
        assert (report["verdict"], report["totals"]["inserted"]) == ("PASS", 250)
        assert flow.validate()["validation"]["equal"] == 250
        assert flow.rollback()["rollback"]["deleted"] == 250
    assert sea.target() == []
    assert next(turn) > 10


@pytest.mark.parametrize(
    ("age", "region"),
    [(0, "us-west-1"), (61, "us-west-1"), (-3600, "us-west-1"), (0, "us-east-1")],
    ids=["new", "old", "clock-set-back", "elsewhere"],
)
def test_a_table_that_this_run_created_in_another_process_is_new(age, region, sea, patch):
    """Neither DescribeTable nor an insert finds it at first: it is there. Later, and elsewhere, what DescribeTable says holds."""
    sea.fill(60)
    flow = sea.flow()
    audit.enter(flow.run(), "02_test")
    Stage(flow.run(), "create").record("created", entry="Many", table=TARGET_TABLE, address=[URL, region])
    patch.setattr(faults, "_new", {})  # another process
    moment = stages.now() + timedelta(seconds=age)
    patch.setattr(stages, "now", lambda: moment)
    describe, left = sea.memory.describe_table, [1, 1]

    def unknown(TableName):
        if TableName == TARGET_TABLE and left and left.pop():
            error = {"Error": {"Code": "ResourceNotFoundException", "Message": ""}}
            raise ClientError(error, "DescribeTable")
        return describe(TableName)

    patch.setattr(sea.memory, "describe_table", unknown)
    patch.setattr(RateLimiter, "pause", lambda limiter, seconds: None)
    if age == 61 or region != "us-west-1":
        with pytest.raises(Refused, match=f"{TARGET_TABLE} does not exist"):
            flow.migrate()
        return
    gone = itertools.count()

    def change(operation, body, ask):
        missed = TARGET_TABLE.encode() in body and next(gone) < 3
        return refusal("ResourceNotFoundException") if missed else ask()

    with answering(change):
        assert flow.migrate()["totals"]["inserted"] == 60


def test_a_table_that_is_there_and_never_found_interrupts(sea, monkeypatch):
    """After the time that a new table needs: nothing is taken back, and the same command resumes."""
    monkeypatch.setattr(faults, "NEW_TABLE", 0.0)
    sea.fill(60)
    flow = sea.flow()
    gone = refusing(lambda table, item: "ResourceNotFoundException")
    with gone, pytest.raises(Interrupted, match="ResourceNotFoundException, although the table is there.*resume"):
        flow.migrate()
    assert flow.migrate()["totals"]["inserted"] == 60


@pytest.mark.parametrize("status", [413, 400])
def test_an_answer_that_is_in_no_table_interrupts(status, sea):
    """Bounded; then the migration can be resumed, and so can the rollback, with what was answered."""
    sea.fill(60)
    flow = sea.flow()
    odd = (413, {}, b"<html>too large</html>") if status == 413 else refusal("SomethingNewException")
    left = [1]

    def answered(operation, body, ask):
        writes = operation in ("BatchExecuteStatement", "PutItem", "DeleteItem")
        return odd if writes and not (left and left.pop()) else ask()

    named = (
        "HTTP status 413.* is not DynamoDB's"
        if status == 413
        else "unknown error SomethingNewException .HTTP status 400"
    )
    with answering(answered), pytest.raises(Interrupted, match=f"gave up after 10 attempts.*{named}.*resume"):
        flow.migrate()
    assert flow.migrate()["totals"]["inserted"] == 60
    left += [1] * 30
    with answering(answered), pytest.raises(Interrupted, match=f"DeleteItem on {TARGET_TABLE}: gave up.*{named}"):
        flow.rollback()
    assert len(sea.target()) == 30
    assert flow.rollback()["rollback"]["deleted"] == 60
    assert sea.target() == []


@pytest.mark.parametrize("answer", ["lost", "500", "throttled", "refused", "odd"])
def test_whatever_becomes_of_the_question_whether_batches_are_taken(answer, sea):
    """Rows 19, 33: items that are not taken in batches are put one by one; nothing depends on the answer."""
    wanted, met = sea.fill(60), []

    def answered(operation, body, ask):
        if operation == "BatchExecuteStatement" and not inserts(operation, body):
            met.append(operation)
            if answer == "lost":
                raise Again("the connection broke")
            status = 500 if answer == "500" else 200 if answer == "odd" else 400
            codes = {
                "500": "InternalServerError",
                "throttled": "ThrottlingException",
                "refused": "AccessDeniedException",
            }
            return status, {}, orjson.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{codes.get(answer)}"})
        return ask()

    flow = sea.flow()
    with answering(answered):
        assert flow.migrate()["totals"]["inserted"] == 60
    assert met
    assert sea.target() == in_order(wanted.values())
    assert flow.rollback()["rollback"]["deleted"] == 60


def test_what_gets_there_between_the_look_and_the_batch_stays(sea):
    """Rows 42, 53: the table was empty when the run began; every third key is taken when its batch arrives: a conflict, as it
    differs, and left alone, the others of its batch are inserted."""
    wanted, theirs = sea.fill(250), []

    def intruding(operation, body, ask):
        for table, item in inserts(operation, body):
            is_free = sea.memory.place(table, item)[1] not in sea.memory.content(table)
            if is_free and int(item["id"]["S"][-2:], 16) % 3 == 0:
                theirs.append({"id": item["id"], "theirs": {"BOOL": True}})
                sea.memory.put(table, theirs[-1])
        return ask()

    flow = sea.flow()
    with answering(intruding):
        totals = flow.migrate()["totals"]
    assert (totals["inserted"], totals["conflicts"]) == (250 - len(theirs), len(theirs))
    assert 50 < len(theirs) < 120
    taken = [item["id"] for item in theirs]
    assert sea.target() == in_order([*theirs, *(item for item in wanted.values() if item["id"] not in taken)])
    assert flow.rollback()["rollback"]["deleted"] == 250 - len(theirs)
    assert sea.target() == in_order(theirs)


# held back


def test_rows_that_never_left_are_not_claimed_when_another_run_inserts_them(sea):
    """Rows 43, 44: a page in the middle of which the lease is lost: its last batches did not leave, and the journal says so; what
    another run inserts meanwhile, equal, is that run's."""
    wanted = sea.fill(PAGE)
    looks = itertools.count(1)

    def lost():
        if next(looks) > 3:  # before the intent, and before two batches
            raise Interrupted("the lease is lost.")

    first, second = sea.flow(), sea.flow("the-second-run")
    with guarded(lost), pytest.raises(Interrupted, match="the lease is lost"):
        first.migrate()
    assert len(sea.target()) == 2 * BATCH
    path = next(first.run().journal("migrate").glob("Many-*"))
    (unsent,) = journal.records(path, "unsent")
    assert len(unsent["rows"]) == PAGE - 2 * BATCH
    totals = second.migrate()["totals"]
    assert (totals["inserted"], totals["already_there"]) == (PAGE - 2 * BATCH, 2 * BATCH)
    totals = first.migrate()["totals"]
    assert (totals["inserted"], totals["already_there"]) == (2 * BATCH, PAGE - 2 * BATCH)
    assert sea.target() == in_order(wanted.values())
    assert second.rollback()["rollback"]["deleted"] == PAGE - 2 * BATCH
    assert len(sea.target()) == 2 * BATCH
    assert first.rollback()["rollback"]["deleted"] == 2 * BATCH


# slowed down


class Clock:
    """Time that passes with requests and sleep."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Capacity:
    """A table that takes `units` inserts a second from one time to another, and else any number."""

    def __init__(self, clock, units, begin, end):
        self._clock, self._units, self._begin, self._end = clock, units, begin, end
        self._left, self._at = float(BATCH), begin
        self.taken, self.refused = [], []  # times

    def __call__(self, table, item):
        now = self._clock.now
        if self._begin <= now < self._end:
            self._left = min(BATCH, self._left + (now - self._at) * self._units)
            self._at = now
            if self._left < 1:
                self.refused.append(now)
                return "ThrottlingException"
            self._left -= 1
        self.taken.append(now)
        return None

    def rate(self, begin, end):
        """Inserts a second in that time."""
        return sum(begin <= at < end for at in self.taken) / (end - begin)


class Shown:
    """What a notebook's cell shows, in the place of IPython's handle."""

    def __init__(self):
        self.pages = []

    def update(self, html):
        self.pages.append(html.data)


@pytest.mark.slow
def test_a_table_that_throttles_single_statements_is_slowed_says_why_and_recovers(sea, patch):
    """Rows 22, 26: four seconds in which a table takes a fiftieth of what it was sent. Most of what it can take is used, with few
    refusals; the progress names it, with the reason, as long as it is so; then the speed comes back."""
    sea.memory.page = 2_000
    count, clock, cell, lines = 60_000, Clock(), Shown(), []
    sea.fill(count)
    begin, end, units = 0.4, 4.4, 200
    capacity = Capacity(clock, units, begin, end)
    patch.setattr(plan, "RateLimiter", partial(RateLimiter, clock=clock, sleep=clock.sleep))
    patch.setattr(Wire, "_back_off", Requests._back_off)
    patch.setattr(retries, "random", random.Random(1))  # the same waits each time
    patch.setattr(RateLimiter, "refused", REFUSED)
    patch.setattr(progress, "EVERY", 0.0)
    patch.setattr("IPython.display.display", lambda *shown, display_id: cell)
    flow = sea.flow()
    run, opened = flow.run(), flow._plan()

    def timed(operation, body, ask):
        clock.now += 0.0025
        lines.append((clock.now, opened.limiter.slowed()))
        return ask()

    with (
        refusing(capacity),
        answering(timed),
        flow.steps().writing("03_migrate", opened.target, {TARGET_TABLE: None}),
        progress.Progress(run, opened, "inserted") as on_page,
    ):
        state = migrate(run, opened, on_page).state
    assert state.tables["Many"]["inserted"] == count == len(sea.target())

    told = [line for _, found in lines for line in found]
    rates = [int(line.split(" slowed to ")[1].split()[0]) for line in told]
    assert {line.partition(":")[0] for line in told} == {f"target {TARGET_TABLE}"}
    assert all("because of ThrottlingException" in line for line in told)
    assert min(rates) < max(rates) / 2
    assert all(found for at, found in lines if begin + 1 < at < end)
    assert any("because of ThrottlingException" in html for html in cell.pages)
    assert 0.75 * units < capacity.rate(begin + 1, end) < 1.1 * units
    assert len(capacity.refused) < 1.2 * units * (end - begin)
    assert capacity.rate(clock.now - 0.5, clock.now) > 0.8 * capacity.rate(0, begin) > 20 * units
    assert lines[-1][1] == []
    assert "because of" not in cell.pages[-1]


@pytest.mark.parametrize("end", some(["success", "patience", "stop"], "patience", "stop"))
def test_a_table_that_accepts_nothing_is_waited_for_and_says_so(end, sea, patch):
    """Row 23: for `limits.patience`, on a clock of the test's own; progress and log say since when and why. A request to stop
    ends it."""
    wanted, clock, cell = sea.fill(60), Clock(), Shown()
    patch.setattr(plan, "RateLimiter", partial(RateLimiter, clock=clock, sleep=clock.sleep))
    patch.setattr(Wire, "_back_off", Requests._back_off)
    patch.setattr(RateLimiter, "refused", REFUSED)
    patch.setattr(progress, "EVERY", 0.0)
    patch.setattr("IPython.display.display", lambda *shown, display_id: cell)
    flow = sea.flow(patience=5)
    run, opened = flow.run(), flow._plan()

    def throttled(table, item):
        if end == "stop" and clock.now > 100:
            control.request_stop(run)
        return None if end == "success" and clock.now > 200 else "ThrottlingException"

    def migrated():
        with (
            flow.steps().writing("03_migrate", opened.target, {TARGET_TABLE: None}),
            progress.Progress(run, opened, "inserted") as on_page,
        ):
            return migrate(run, opened, on_page).state

    with refusing(throttled):
        if end == "success":
            assert migrated().tables["Many"]["inserted"] == len(sea.target()) == len(wanted)
        else:
            with pytest.raises(
                Interrupted, match="stop was requested while" if end == "stop" else "limits.patience.*resume"
            ):
                migrated()
    assert (
        {"success": 200, "patience": 300, "stop": 100}[end]
        < clock.now
        < {"success": 230, "patience": 330, "stop": 120}[end]
    )
    told = rf"target {TARGET_TABLE}: nothing accepted for \d:\d\d because of ThrottlingException; waiting up to 5:00"
    assert any(re.search(told, page) for page in cell.pages)
    assert not re.search(told, cell.pages[-1])
    logged = re.findall(rf"WARNING waiting: {told}", (run.folder / "run.log").read_text())
    assert len(logged) == {"success": 4, "patience": 5, "stop": 2}[end]


# taken back


@pytest.mark.parametrize("workers", [1, 8])
def test_a_rollback_whose_delete_is_refused_begins_no_other_one(workers, sea):
    """Row 30: the tenth delete of a page is denied, and those that are under way then are the last; what has been deleted counts
    once, the rest goes when it is allowed again."""
    sea.fill(PAGE)
    flow = sea.flow(workers=workers)
    assert flow.migrate()["totals"]["inserted"] == PAGE
    asked = itertools.count(1)

    def deny(operation, body, ask):
        number = next(asked) if operation == "DeleteItem" else 0
        if number == 10:
            raise DynamoError("target: DeleteItem was denied", code="AccessDeniedException", message="denied")
        if number > 10:
            time.sleep(0.2)  # longer than it takes to tell the others
        return ask()

    with answering(deny), pytest.raises(Interrupted, match="denied"):
        flow.rollback()
    assert PAGE - 9 - workers < len(sea.target()) <= PAGE - 9
    counts = flow.rollback()["rollback"]
    assert (counts["deleted"], counts["kept_edited"], counts["not_found"]) == (PAGE, 0, 0)
    assert sea.target() == []
