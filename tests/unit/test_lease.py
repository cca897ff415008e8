"""The lease: one operator for each target table, across machines. Rows 31, 32 and 41 to 44 of the fault matrix.

Time is the tests' own; the lease table is a dict, or moto's where what DynamoDB makes of the conditions matters.
"""

import os
import subprocess
import sys
import threading
import uuid
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest

from runbook_lib import parameters
from runbook_lib.dynamo import session, transport
from runbook_lib.dynamo.requests import guarded
from runbook_lib.errors import ConditionFailed, DynamoError, Interrupted, NotSent, ParametersError, Refused
from runbook_lib.run.folder import Run
from runbook_lib.run.locks import lease as leases
from runbook_lib.run.locks import lease_file as lease_cell
from runbook_lib.run.locks.lease_table import LeaseTable, Record
from runbook_lib.walk.guard import check_lease

SETTINGS = parameters.LeaseSettings(table="Leases", seconds=60)
RIVAL = Record("17@elsewhere", "another machine", "the-rivals-run", "n1", 4, 0, 60.0, "2020-02-02T02:02:02Z")
UNREACHABLE = Interrupted("target: PutItem on Leases: gave up after 3 attempts.")


class Clock:
    """Time that passes only where somebody waits; what is due then happens."""

    def __init__(self):
        self.now = 1_000.0
        self.due = []  # (moment, what happens)

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        while self.due and self.due[0][0] <= self.now:
            self.due.pop(0)[1]()

    def at(self, seconds, work):
        self.due.append((self.now + seconds, work))


class Table:
    """A lease table that takes conditions as DynamoDB does. `next` says what goes wrong with the requests to come."""

    def __init__(self):
        self.items, self.next, self.asked = {}, [], 0

    def get(self, table, key):
        self._fail()
        return self.items.get(key["lock"]["S"])

    def call(self, operation, body):
        assert operation == "PutItem"
        action = self._fail()
        if not self._holds(body):
            raise ConditionFailed("refused")
        self.items[body["Item"]["lock"]["S"]] = body["Item"]
        if action == "reply lost":  # and the request sent again by the wire
            raise ConditionFailed("refused")
        if action == "replies lost":
            raise UNREACHABLE

    def _fail(self):
        self.asked += 1
        action = self.next.pop(0) if self.next else None
        if isinstance(action, Exception):
            raise action
        return action

    def _holds(self, body):
        item = self.items.get(body["Item"]["lock"]["S"])
        if body["ConditionExpression"] == "attribute_not_exists(#k)":
            return item is None
        for part in body["ConditionExpression"].split(" AND "):
            name, sign, place = part.split()
            there = item and item.get(body["ExpressionAttributeNames"][name])
            wanted = body["ExpressionAttributeValues"][place]
            if not there or not (there == wanted if sign == "=" else float(there["N"]) < float(wanted["N"])):
                return False
        return True


class Bench:
    """An operator's target, run and clock, and the lease table that all share."""

    def __init__(self, folder):
        self.clock, self.table = Clock(), Table()
        self.lease_table = LeaseTable(self.table, "Leases", "lock", "r")
        self.target = SimpleNamespace(
            region="r", account=None, endpoint_url="http://x", open_wire=lambda **_: self.table
        )
        self.run = Run("our-first-run", folder)
        self.folder = folder

    def hold(self, *names, settings=SETTINGS, **options):
        names = list(names or ["A"])
        return leases.hold(self.target, names, self.run, settings, clock=self.clock, sleep=self.clock.sleep, **options)

    def put(self, record, name="A"):
        """Writes a lease as another operator does."""
        kept, self.table.next = self.table.next, []
        assert self.lease_table.write(name, record, self.lease_table.read(name)) is None
        self.table.next = kept

    def says(self, name="A"):
        return self.lease_table.read(name)

    def log(self):
        return (self.folder / "run.log").read_text()


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """An operator with a lease table; the tables of the target are not looked at."""
    monkeypatch.setattr(leases.tables, "describe", lambda *_: SimpleNamespace(key=(("lock", "S"),)))
    monkeypatch.setattr(leases, "LONGEST_REQUEST", 0.0)
    return Bench(tmp_path)


@pytest.fixture
def held(bench):
    """A lease that is held, renewed by nobody."""
    with bench.hold() as (lease,):
        yield lease


@contextmanager
def refused(pattern):
    """A block, with what it enters, that is refused."""
    with ExitStack() as stack, pytest.raises(Refused, match=pattern):
        yield stack


@pytest.mark.parametrize(
    ("account", "target", "key"),
    [
        ("1", "T", "T"),
        (None, "T", "T"),
        ("1", "arn:aws:dynamodb:r:1:table/T", "T"),
        ("1", "arn:aws:dynamodb:r:2:table/T", "2/T"),
        (None, "arn:aws:dynamodb:r:2:table/T", "2/T"),
    ],
)
def test_a_table_named_by_its_arn_has_the_lease_that_it_has_by_its_name(account, target, key):
    """Unless it is another account's."""
    assert LeaseTable(Table(), "Leases", "lock", "r", account)._id(target) == {"lock": {"S": f"runbook#r#{key}"}}


def test_a_free_table_is_taken_and_given_up_with_a_number_that_never_repeats(bench):
    """The item stays when the lease is given up, so that the next fence is greater."""
    for fence in (1, 2, 3):
        with bench.hold("A", "B") as both:
            for lease in both:
                lease.check()
                lease.renew()
            assert [lease.target for lease in both] == ["A", "B"]
            says = bench.says()
            assert (says.holder.partition("@")[0], says.run) == (str(os.getpid()), "our-first-run")
            assert (says.fence, says.counter, says.released) == (fence, 1, False)
        assert (bench.says("B").fence, bench.says("B").released) == (fence, True)
    assert bench.clock.now == 1_000
    assert "holds the lease on A, fence 3" in bench.log()


def test_a_holder_that_renews_is_named(bench):
    """One change is enough: there is no waiting for the rest of its time. Nothing was taken."""
    bench.put(RIVAL, "B")
    bench.clock.at(20, lambda: bench.put(replace(RIVAL, counter=1), "B"))
    with refused(r"B is being written by run the-rivals-run \(process 17@elsewhere.*since 2020.*--break-lock 17@") as s:
        s.enter_context(bench.hold("A", "B"))
    assert 20 <= bench.clock.now - 1_000 < 22
    assert bench.says("A") is None
    assert bench.says("B").counter == 1


@pytest.mark.parametrize("age", [-400, 0, 400])
def test_a_lease_that_nobody_renews_is_taken_when_its_time_is_over_by_our_clock(age, bench, monkeypatch):
    """Whatever any clock says of the day; and not before the last request of its holder has ended."""
    monkeypatch.setattr(leases, "LONGEST_REQUEST", 30.0)
    bench.put(replace(RIVAL, since=f"{2024 + age}-01-01T00:00:00Z", seconds=40.0), "A")
    bench.put(RIVAL, "B")
    with bench.hold("A", "B") as both:
        assert {lease.record.fence for lease in both} == {5}
        assert 40 + 30 <= bench.clock.now - 1_000 < 75  # both were watched at the same time
        assert (
            "took over the lease of 17@elsewhere (run the-rivals-run) on B: it was not renewed for 60 sec"
            in bench.log()
        )


def test_a_renewal_at_the_last_moment_keeps_the_lease(bench):
    """Between the last look and the taking: the condition of the write finds it."""
    bench.put(RIVAL)
    write = bench.lease_table.write

    def renewed_first(lease_table, target, record, instead_of, **options):
        patch.undo()
        write("A", replace(RIVAL, counter=9), RIVAL)
        return lease_table.write(target, record, instead_of, **options)

    with pytest.MonkeyPatch.context() as patch, refused("being written by run the-rivals-run") as stack:
        patch.setattr(LeaseTable, "write", renewed_first)
        stack.enter_context(bench.hold())
    assert bench.says() == replace(RIVAL, counter=9)


def test_a_lease_given_up_meanwhile_is_taken_at_once(bench):
    """The holder came to its end while it was watched."""
    bench.put(RIVAL)
    bench.clock.at(10, lambda: bench.put(replace(RIVAL, counter=3, released=True)))
    with bench.hold() as (lease,):
        assert lease.record.fence == 5
    assert bench.clock.now - 1_000 < 12


def test_who_asks_for_less_time_than_the_holder_waits_no_longer_than_that(bench):
    """The holder's lease lasts an hour: it is not proved dead, so it is named."""
    bench.put(replace(RIVAL, seconds=3600.0))
    with refused("17@elsewhere") as stack:
        stack.enter_context(bench.hold())
    assert bench.clock.now - 1_000 < 65


def dead_process():
    """A process id that is nobody's."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_lease_of_a_dead_process_of_this_machine_is_taken_at_once(bench):
    """Logged, and not for a machine that only has the same name; one whose exit code nobody asked for is dead, too."""
    zombie = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)  # it has ended; its exit code is still to be asked for
    for pid in (dead_process(), zombie.pid):
        bench.put(replace(RIVAL, holder=f"{pid}@here", machine=leases.machine(), nonce=uuid.uuid4().hex))
        with bench.hold():
            assert bench.clock.now == 1_000
    assert bench.log().count("its process is dead") == 2
    zombie.wait()
    bench.put(replace(RIVAL, holder=f"{zombie.pid}@here", nonce="n3"))
    with bench.hold():
        assert bench.clock.now > 1_059


def test_a_live_process_of_this_machine_is_not_dead(bench):
    """It is watched as any other."""
    bench.put(replace(RIVAL, holder=f"{os.getppid()}@here", machine=leases.machine()))
    with bench.hold():
        assert bench.clock.now > 1_059


def test_what_this_process_could_not_give_up_it_takes_back_at_once(bench):
    """And what it holds it does not take from itself."""
    with bench.hold():
        bench.table.next = [UNREACHABLE]
    assert not bench.says().released
    with bench.hold() as (lease,):
        assert (lease.record.fence, bench.clock.now) == (2, 1_000)
        bench.clock.at(15, lease.renew)
        with refused("our-first-run") as stack:
            stack.enter_context(bench.hold())
    assert "could not be released" in bench.log()


def test_a_lease_is_broken_only_by_naming_its_holder(bench, monkeypatch):
    """Whoever lost it may write until it finds that it cannot renew: for so long the new one waits."""
    monkeypatch.setattr(leases, "LONGEST_REQUEST", 30.0)
    bench.put(RIVAL)
    bench.clock.at(20, lambda: bench.put(replace(RIVAL, counter=1)))
    with refused("17@elsewhere") as stack:
        stack.enter_context(bench.hold(break_lock="18@elsewhere"))
    began = bench.clock.now
    with bench.hold(break_lock="17@elsewhere") as (lease,):
        assert lease.record.fence == 5
        assert bench.clock.now - began == pytest.approx(40 + 30)
    assert "took over the lease of 17@elsewhere (run the-rivals-run) on A: --break-lock names its holder" in bench.log()


def test_a_lease_is_broken_though_it_was_renewed_just_now(bench):
    """A hanging process may still renew."""
    bench.put(RIVAL)
    get = bench.table.get

    def renewing(table, key):
        item = get(table, key)
        bench.table.get = get
        bench.put(replace(RIVAL, counter=8))
        return item

    bench.table.get = renewing
    with bench.hold(break_lock="17@elsewhere") as (lease,):
        assert lease.record.fence == 5


@pytest.mark.parametrize("before", [None, replace(RIVAL, released=True)])
def test_an_acquisition_whose_reply_was_lost_is_ours(before, bench):
    """The request sent again is refused by our own item."""
    if before:
        bench.put(before)
    bench.table.next = [None, "reply lost"]
    with bench.hold() as (lease,):
        lease.check()
        assert bench.says() == lease.record


def test_a_renewal_whose_reply_was_lost_is_ours(bench, held):
    """Known by the acquisition's own mark."""
    bench.clock.sleep(30)
    bench.table.next = ["reply lost"]
    held.renew()
    bench.clock.sleep(39)
    held.check()


def test_a_lease_lasts_from_the_moment_its_renewal_left(bench, held):
    """Not from its reply: others may have seen the change long before."""
    bench.clock.sleep(20)
    call = bench.table.call
    bench.table.call = lambda *request: bench.clock.sleep(15) or call(*request)
    held.renew()
    bench.clock.sleep(25)
    held.check()
    bench.clock.sleep(1)
    with pytest.raises(Interrupted):
        held.check()


def test_what_cannot_be_renewed_is_given_up_at_two_thirds(bench, held):
    """With the reason, in one sentence; and for good: somebody may have looked since."""
    for _ in range(3):
        bench.clock.sleep(13)
        bench.table.next = [UNREACHABLE]
        held.renew()
        held.check()
    bench.clock.sleep(2)
    with pytest.raises(
        Interrupted, match=r"lease on A was not renewed for 41 seconds \(target: PutItem on Leases: gave"
    ):
        held.check()
    asked = bench.table.asked
    for again in (held.renew, held.check):
        with pytest.raises(Interrupted, match="this run writes nothing more"):
            again()
    assert bench.table.asked == asked


def test_one_answer_in_time_is_enough(bench, held):
    """Failures before it are forgotten."""
    bench.table.next = [UNREACHABLE, "replies lost"]
    for _ in range(8):
        bench.clock.sleep(13)
        held.renew()
        held.check()


def test_a_process_that_was_stopped_finds_its_lease_too_old(bench, held):
    """Nothing was refused, and nobody has taken it; but somebody may be about to."""
    bench.clock.sleep(3_000)
    with pytest.raises(Interrupted, match="not renewed for 3000 seconds .this process was not running."):
        held.check()
    assert leases.running_time() > 0


@pytest.mark.parametrize("whole", [True, False])
def test_who_took_it_over_is_named(bench, held, whole):
    """At the next renewal, and before the next page; what somebody else has stays his."""
    other = replace(RIVAL, fence=2)
    bench.table.items.clear()
    if whole:
        bench.put(other)
    who = "17@elsewhere .run the-rivals-run. has taken over" if whole else "somebody has deleted"
    for step in (held.renew, held.check):
        with pytest.raises(Interrupted, match=f"{who} the lease on A; this run writes nothing more."):
            step()
    assert held.release()
    assert bench.says() == (other if whole else None)


def test_late_copies_of_requests_change_nothing(bench):
    """A renewal that arrives after the lease was given up does not bring it back."""
    with bench.hold() as (lease,):
        late = replace(lease.record, counter=1)
        lease.renew()
        lease.renew()
    given_up = bench.says()
    bench.lease_table.write("A", late, lease.record)
    assert bench.says() == given_up
    assert given_up.released


def test_a_table_that_does_not_answer_interrupts_and_one_that_refuses_refuses(bench):
    """Both before anything was written, and with the mend."""
    bench.table.next = [UNREACHABLE]
    with pytest.raises(Interrupted, match="gave up"), bench.hold():
        pass
    denied = DynamoError("target: PutItem on Leases was refused: AccessDeniedException.", "AccessDeniedException")
    bench.table.next = [None, denied]
    with refused("AccessDenied.*the lease needs DescribeTable, GetItem and PutItem on Leases") as stack:
        stack.enter_context(bench.hold())
    assert bench.table.items == {}


def test_the_end_does_not_wait_for_a_table_that_is_gone(bench):
    """After a renewal that failed, and after the first lease that could not be given up, none is asked for."""
    with bench.hold("A", "B", "C") as (first, *_):
        bench.table.next = [UNREACHABLE]
        first.renew()
        asked = bench.table.asked
    assert bench.table.asked == asked
    assert "could not be released" in bench.log()


def test_an_item_that_is_no_lease_is_refused(bench):
    """Whoever put it there needs it."""
    bench.table.items["runbook#r#A"] = {"lock": {"S": "runbook#r#A"}, "title": {"S": "x"}}
    with refused("holds an item that is not a lease") as stack:
        stack.enter_context(bench.hold())


def test_renewal_goes_on_by_itself(bench):
    """A thread of its own, every third of the time; it ends with the lease."""
    settings = parameters.LeaseSettings(table="Leases", seconds=1.0)

    def slow():  # a thread that is kept waiting for some seconds does not lose the lease
        return leases.running_time() / 50

    with leases.hold(bench.target, ["A"], bench.run, settings, clock=slow) as (lease,):
        counted, enough = bench.table.call, threading.Event()

        def call(*request):
            counted(*request)
            if bench.table.items["runbook#r#A"]["lease_counter"]["N"] == "3":
                enough.set()

        bench.table.call = call
        assert enough.wait(60)
        lease.check()
    names = {thread.name for thread in threading.enumerate()}
    assert "lease A" not in names


def test_a_request_cannot_be_under_way_longer_than_the_transport_waits():
    """One number, in two places: the transport is not loaded where it is not needed."""
    assert transport.READ_TIMEOUT == leases.LONGEST_REQUEST


# for the processes that work for the holder


def test_workers_follow_the_lease_that_lasts_least(bench, monkeypatch):
    """From the moment it is held until one is lost; then, and when it is given up, they write nothing more."""
    monkeypatch.setattr(lease_cell, "running_time", bench.clock)
    with pytest.raises(Interrupted, match="this run holds no lease"):
        lease_cell.follow(bench.run)
    with bench.hold("A", "B") as (first, second):
        check = lease_cell.follow(bench.run)
        bench.clock.sleep(30)
        first.renew()
        bench.clock.sleep(9)
        check()
        bench.clock.sleep(2)
        with pytest.raises(Interrupted, match="expired"):
            check()
    with bench.hold("A", "B") as (first, second):
        check = lease_cell.follow(bench.run)
        bench.put(replace(RIVAL, fence=9), "B")
        check()
        with pytest.raises(Interrupted, match="taken over"):
            second.renew()
        with pytest.raises(Interrupted, match="taken over"):
            check()
    with bench.hold("A"):
        check = lease_cell.follow(bench.run)
        check()
    with pytest.raises(Interrupted):
        check()
    assert [path.name for path in bench.folder.iterdir()] == ["run.log"]


def test_workers_that_an_earlier_holder_left_do_not_follow_the_next(bench, monkeypatch):
    """Killed, it left its file: what follows that comes to its end, whoever resumes the run."""
    monkeypatch.setattr(lease_cell, "running_time", bench.clock)
    left = lease_cell.Cell(bench.run)
    left.write(lambda: bench.clock() + 40)
    check = lease_cell.follow(bench.run)
    bench.clock.sleep(39)
    with bench.hold():
        check()
        bench.clock.sleep(2)
        with pytest.raises(Interrupted):
            check()
        lease_cell.follow(bench.run)()


def test_a_worker_on_another_machine_is_refused(bench, monkeypatch):
    """It has another clock."""
    with bench.hold():
        monkeypatch.setattr(lease_cell.socket, "gethostname", lambda: "elsewhere")
        with pytest.raises(Refused, match="another machine"):
            lease_cell.follow(bench.run)


# with DynamoDB's own conditions


@pytest.fixture
def target(engine, monkeypatch):
    """An engine, opened as a target."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", engine.endpoint_url)
    side = parameters.Target(environment="prod", region="us-west-1")
    return session.connect(side, "target")


def make(target, **key):
    """A table with that key; its name."""
    name = f"Leases-{uuid.uuid4().hex[:8]}"
    target.client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": n, "KeyType": k} for n, k in zip(key, ("HASH", "RANGE"), strict=False)],
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": t} for n, t in key.items()],
        BillingMode="PAY_PER_REQUEST",
    )
    target.client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
    return name


def test_leases_in_a_real_table(target, tmp_path):
    """Taken, renewed, taken over, given up, with the conditions as the engine understands them."""
    run, settings = (
        Run("our-first-run", tmp_path),
        parameters.LeaseSettings(table=make(target, anything="S"), seconds=60),
    )
    lease_table = leases._open(target, [], settings)
    for fence in (1, 2):
        with leases.hold(target, ["A"], run, settings) as (lease,):
            lease.renew()
            lease.renew()
            lease.check()
            assert lease_table.read("A") == lease.record
            assert (lease.record.fence, lease.record.counter) == (fence, 2)
        assert lease_table.read("A").released
    with leases.hold(target, ["A"], run, settings) as (lease,):
        assert lease_table.write("A", replace(RIVAL, fence=4), lease.record, counted=False) is None
        with pytest.raises(Interrupted, match="17@elsewhere"):
            lease.renew()
    assert lease_table.read("A") == replace(RIVAL, fence=4)


@pytest.mark.parametrize("key", [{"a": "S", "b": "S"}, {"a": "N"}])
def test_a_lease_table_of_another_shape_is_refused(key, target, tmp_path):
    """With what it should be."""
    settings = parameters.LeaseSettings(table=make(target, **key))
    with refused("a different key.*one partition key of type S and no sort key") as stack:
        stack.enter_context(leases.hold(target, ["A"], Run("our-first-run", tmp_path), settings))


@pytest.mark.parametrize(
    ("table", "sentence"), [("A", "is a target table"), ("None-such", "does not exist.*create it")]
)
def test_a_lease_table_that_cannot_be_one_is_refused(table, sentence, target, tmp_path):
    """One sentence, with the mend."""
    with refused(f"lease.table {table} {sentence}") as stack:
        stack.enter_context(
            leases.hold(target, ["A"], Run("our-first-run", tmp_path), parameters.LeaseSettings(table=table))
        )


def test_no_write_leaves_while_a_guard_says_no(target):
    """Whatever the connection; reading goes on, and what was taken away can be put back."""
    table, item = make(target, id="S"), {"id": {"S": "x"}}

    def no():
        raise Interrupted("the lease is lost.")

    with guarded(no):
        for write in (
            lambda: target.wire.put_new(table, item, "id"),
            lambda: target.wire.delete_if(table, item, []),
            target.wire.check_guards,
        ):
            with pytest.raises(NotSent, match="the lease is lost"):
                write()
        assert target.wire.get(table, item) is None
        assert target.wire.put_new(table, item, "id", guarded=False) is None
        assert target.open_wire(guarded=False).delete_if(table, item, []) == item
    assert target.wire.put_new(table, item, "id") is None


# parameters


def test_the_parameters_name_a_table_and_a_time():
    """Sixty seconds where nothing is said; none at all without the group."""
    sides = {"mapping": "m", "source": {"environment": "a"}, "target": {"environment": "b"}}
    assert parameters.build_parameters(sides).lease is None
    assert parameters.build_parameters({**sides, "lease": {"table": "L"}}).lease.seconds == 60
    for wrong in ({"seconds": 5}, {"table": "L", "seconds": 0.5}, {"table": "L", "tables": 1}, {"table": ""}):
        with pytest.raises(ParametersError, match=r"^parameters: lease\."):
            parameters.build_parameters({**sides, "lease": wrong})


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_table_of_the_migration_is_no_lease_table(side):
    """Found when the plan is made, before anything is written."""
    entry = SimpleNamespace(name="Ports", **{"source": "Ports-dev", "target": "Ports-prod", side: "Leases"})
    with pytest.raises(Refused, match=r"lease.table Leases is a table of Ports"):
        check_lease(SETTINGS, [entry])
    check_lease(None, [entry])
