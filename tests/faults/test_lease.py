"""Several machines at one target, with a lease. Rows 41 to 45.

A machine is a process with a host name and a folder of locks of its own; the run folders are shared where a test says so.
"""

import contextlib
import multiprocessing
import os
import shutil
import signal
import socket
import struct
import threading
import time
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest
from faults.harness import INSERTED, PORTS, SHIPS, TARGET

from runbook_lib.dynamo.items import Wire
from runbook_lib.dynamo.requests import guarded
from runbook_lib.dynamo.transport import Transport
from runbook_lib.errors import Again, Interrupted, NotSent, Refused
from runbook_lib.parameters import LeaseSettings
from runbook_lib.run.locks import lease as leases
from runbook_lib.run.locks import lease_file as lease_cell
from runbook_lib.run.locks import locks
from runbook_lib.walk.workers import engines
from runbook_lib.walk.workers import worker as units

SECONDS = 2.0
HOSTNAME = socket.gethostname
FORK = multiprocessing.get_context("fork")


@pytest.fixture
def sea(bench, tmp_path, monkeypatch):
    """The small migration with a lease table, on a machine called here."""
    monkeypatch.setattr(leases, "LONGEST_REQUEST", 0.0)
    be_machine(tmp_path, "here", monkeypatch)
    name = bench.world.name("Leases", TARGET)
    if name not in bench.world.names(TARGET):
        bench.world.create(name, {"of": "S"})
    return Sea(bench, name, tmp_path)


class Sea:
    """Migrations of the bench's world that take a lease."""

    def __init__(self, bench, table, folder):
        self.bench, self.table, self.folder = bench, table, folder

    def flow(self, *, seconds=SECONDS, **limits):
        """A migration in a run of its own; its lease is short where a test waits for its end."""
        flow = self.bench.flow(**limits)
        flow.parameters = flow.parameters.model_copy(update={"lease": LeaseSettings(table=self.table, seconds=seconds)})
        return flow

    def copy(self, flow, name):
        """The same run as another machine has it: its folder, copied as it is now."""
        shutil.copytree(flow.outputs, self.folder / name)
        return replace(flow, outputs=self.folder / name)

    @contextlib.contextmanager
    def requests(self, change):
        """A block in which `change` stands before the engine: it gets operation, whether it is about leases, a way to ask."""
        post = Transport.post

        def posted(transport, keys, operation, body):
            return change(operation, self.table.encode() in body, lambda: post(transport, keys, operation, body))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Transport, "post", posted)
            yield

    @contextlib.contextmanager
    def elsewhere(self, work, number, then):
        """Another machine at work: after its Nth insert or delete it does `then`. Gives its process and what it says.

        The block is entered when it has come so far.
        """
        reached, (heard, says) = FORK.Event(), FORK.Pipe(duplex=False)
        done = Counter()

        def child():
            with pytest.MonkeyPatch.context() as patch:
                be_machine(self.folder, "elsewhere", patch)

                def change(operation, lease, ask):
                    reply = ask()
                    if operation in ("PutItem", "DeleteItem") and not lease:
                        done["writes"] += 1
                        if done["writes"] == number:
                            reached.set()
                            then()
                    return reply

                with self.requests(change):
                    try:
                        says.send(work())
                    except (Interrupted, Refused) as problem:
                        says.send(f"{type(problem).__name__}: {problem}")

        process = FORK.Process(target=child)
        process.start()
        try:
            assert reached.wait(60)
            yield process, heard
        finally:
            process.kill()
            process.join()


def be_machine(folder, name, patch):
    """This process is on another machine from now on."""
    patch.setattr(socket, "gethostname", lambda: name)
    (locks_of := folder / f"locks of {name}").mkdir(exist_ok=True)
    patch.setattr(locks, "FOLDER", locks_of)


def sleep_until_woken():
    """Stops this process, all its threads, as a machine that is suspended."""
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(1)  # the signal may take its time, and another request leave before; over when it is woken


def heard_from(heard, seconds=60):
    assert heard.poll(seconds), "the other machine says nothing"
    return heard.recv()


@pytest.mark.parametrize("same_run", [pytest.param(True, marks=pytest.mark.slow), False])
def test_a_second_operator_on_another_machine_is_refused_and_told_who_is_there(same_run, sea):
    """Rows 41, 42: whatever the run, and at once, not after the whole lease; when the first is through, the way is free."""
    seconds = 6  # renewed every two, which ends the look
    first, go = sea.flow(seconds=seconds), FORK.Event()
    with sea.elsewhere(first.migrate, 3, lambda: go.wait(60)) as (process, heard):
        second = sea.copy(first, "copied") if same_run else sea.flow(seconds=seconds)
        began = time.monotonic()
        with pytest.raises(Refused, match=rf"run {first.run_id} \(process {process.pid}@elsewhere, by its lease since"):
            second.migrate()
        assert time.monotonic() - began < seconds
        go.set()
        sea.bench.check_whole(heard_from(heard))
    if not same_run:
        assert second.migrate()["totals"]["already_there"] == INSERTED + 1
        assert second.migrate()["totals"]["inserted"] == 0
    assert first.rollback()["rollback"]["deleted"] == INSERTED
    sea.bench.check_back()


@pytest.mark.parametrize("number", [9, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 6))])
def test_a_paused_holder_stops_when_it_wakes_and_every_item_is_one_runs(number, sea):
    """Row 43: its lease has run out, another operator has finished; it sends nothing more, and both counts add up.

    In the middle of a page and at its end; resumed it claims what it inserted, and nothing of the other's.
    """
    first, second = sea.flow(), sea.flow()
    with sea.elsewhere(first.migrate, number, sleep_until_woken) as (process, heard):
        assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
        landed = sea.bench.landed()
        report = second.migrate()
        assert landed in (number, number + 1)
        assert report["totals"]["inserted"] == INSERTED - landed
        whole = sea.bench.content(TARGET)
        os.kill(process.pid, signal.SIGCONT)
        assert ": the lease on" in (said := heard_from(heard))
        assert "this run writes nothing more. Run the same command with the run ID" in said
    assert sea.bench.content(TARGET) == whole == sea.bench.after
    resumed = first.migrate()
    assert resumed["totals"]["inserted"] == landed
    assert sea.bench.content(TARGET) == whole
    assert second.rollback()["rollback"]["deleted"] == INSERTED - landed
    assert first.rollback()["rollback"]["deleted"] == landed
    sea.bench.check_back()


def test_a_zombie_inserts_nothing_behind_a_rollback(sea):
    """Row 45: another machine waits for its lease to end, and takes back what it did; then it wakes."""
    first = sea.flow()
    with sea.elsewhere(first.migrate, 8, sleep_until_woken) as (process, heard):
        assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
        landed = sea.bench.landed()
        copied = sea.copy(first, "copied")
        began = time.monotonic()
        assert copied.rollback()["rollback"]["deleted"] == landed
        assert time.monotonic() - began >= SECONDS
        sea.bench.check_back()
        os.kill(process.pid, signal.SIGCONT)
        assert ": the lease on" in heard_from(heard)
    sea.bench.check_back()


@pytest.mark.slow
def test_a_zombie_deletes_nothing_behind_a_new_migration(sea):
    """Row 45, the other way round: it was rolling back when it was paused."""
    first, second = sea.flow(), sea.flow()
    first.migrate()
    with sea.elsewhere(first.rollback, 3, sleep_until_woken) as (process, heard):
        assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
        landed = sea.bench.landed()
        assert landed in (INSERTED - 3, INSERTED - 4)
        assert second.migrate()["totals"]["inserted"] == INSERTED - landed
        os.kill(process.pid, signal.SIGCONT)
        assert ": the lease on" in heard_from(heard)
    assert sea.bench.content(TARGET) == sea.bench.after


@contextlib.contextmanager
def cut_off(sea, after, slow=0.25):
    """A network in which the lease table answers no more after so many writes of data, which are slow from then on.

    Gives when the last request about leases that was answered left, and the last write of data.
    """
    done, times = Counter(), SimpleNamespace(lease=0.0, write=0.0)

    def change(operation, lease, ask):
        if lease and done["writes"] >= after:
            time.sleep(0.1)
            raise Again("no reply in time")
        if lease:
            times.lease = time.monotonic()
        elif operation in ("PutItem", "DeleteItem"):
            times.write = time.monotonic()
            done["writes"] += 1
            time.sleep(slow if done["writes"] > after else 0)
        return ask()

    with sea.requests(change):
        yield times


@pytest.mark.parametrize("undoing", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_run_whose_lease_table_is_out_of_reach_stops_in_time_and_goes_on_later(undoing, sea):
    """Row 44: at two thirds of the lease's time, with the reason; resumed it comes to the end of an untouched run."""
    flow = sea.flow()
    if undoing:
        flow.migrate()
    work = flow.rollback if undoing else flow.migrate
    with (
        cut_off(sea, 2) as times,
        pytest.raises(Interrupted, match="was not renewed for .*no reply in time.*this run writes nothing more"),
    ):
        work()
    assert 0 < times.write - times.lease < SECONDS
    landed = sea.bench.landed()
    assert 2 < (INSERTED - landed if undoing else landed) < INSERTED
    with sea.requests(lambda operation, lease, ask: refuse_to_go_on(lease, ask)), pytest.raises((Interrupted, Refused)):
        work()
    assert sea.bench.landed() == landed
    if not undoing:
        sea.bench.check_whole(flow.migrate())
    counts = flow.rollback()["rollback"]
    assert (counts["deleted"], counts["kept_edited"], counts["not_found"]) == (INSERTED, 0, 0)
    sea.bench.check_back()


def refuse_to_go_on(lease, ask):
    """No lease, no work: the table is still out of reach."""
    if lease:
        raise Again("no reply in time")
    return ask()


@pytest.mark.slow
def test_a_lease_that_is_lost_while_a_failure_is_taken_back_stops_that_too(sea, monkeypatch):
    """Row 44: another operator broke it; what is not taken back yet is left to a rollback."""
    flow, stolen, noticed = sea.flow(on_failure="rollback"), [], threading.Event()
    renew = leases.Lease.renew
    thief = leases.Record("17@third", "m", "the-thiefs-run", "n", 99, 0, 1.0, "")

    def change(operation, lease, ask):
        if operation == "PutItem" and not lease and sea.bench.landed() == PORTS + 2:
            return 400, {}, b'{"__type": "com.amazonaws.dynamodb.v20120810#ValidationException", "message": "no"}'
        reply = ask()
        if operation == "DeleteItem" and not stolen:
            stolen.append(True)
            store = leases._open(flow._plan().target, [], flow.parameters.lease)
            for table in ("Ports", "Ships"):
                name = sea.bench.world.name(table, TARGET)
                assert store.write(name, thief, store.read(name), counted=False) is None
            assert noticed.wait(60)
        return reply

    def noting(lease):
        try:
            renew(lease)
        finally:
            if lease._lost:
                noticed.set()

    monkeypatch.setattr(leases.Lease, "renew", noting)
    with (
        sea.requests(change),
        pytest.raises(Interrupted, match="its rollback was interrupted .17@third .run the-thiefs"),
    ):
        flow.migrate()
    assert 0 < sea.bench.landed() < PORTS + 2 < PORTS + SHIPS
    time.sleep(1.1)
    flow.rollback()
    sea.bench.check_back()


class Here:
    """A worker of the engine with several processes, in this one. From the second slice on it is told: no lease."""

    def __init__(self, run):
        self._cell, self.problems = run.folder / lease_cell.FILE, []

    def advance(self, *slice_):
        if self.problems:
            content = self._cell.read_bytes()
            self._cell.write_bytes(content[:16] + struct.pack("=d", 0.0))
        found = units.advance(*slice_)
        self.problems.append(found.problem)
        return found

    def items(self):
        return 0

    def close(self):
        units._Worker.forget()


def test_workers_of_a_run_whose_lease_is_lost_stop_before_their_driver_does(sea, monkeypatch):
    """Row 43: they have a guard of their own, and what they say interrupts; it is no failure that is taken back."""
    flow = sea.flow(engine="processes", seconds=60)  # no renewal, which would tell it otherwise, until it is over
    lane = Here(flow.run())
    monkeypatch.setattr(engines, "_processes", lambda *_: [lane])
    with pytest.raises(
        Interrupted, match=r"expired or was taken over; this worker writes nothing more\. Run the same command"
    ):
        flow.migrate()
    assert (lane.problems[0], lane.problems[1][0]) == (None, NotSent)
    assert sea.bench.landed() == PORTS
    monkeypatch.undo()
    sea.bench.check_whole(flow.migrate())
    flow.rollback()
    sea.bench.check_back()


@pytest.mark.slow
def test_processes_follow_the_lease(sea, monkeypatch):
    """Real ones, to the end."""
    monkeypatch.setattr(socket, "gethostname", HOSTNAME)  # which they ask for themselves
    flow = sea.flow(engine="processes", seconds=60)
    sea.bench.check_whole(flow.migrate())
    flow.rollback()
    sea.bench.check_back()


def test_what_an_undo_took_away_by_mistake_is_put_back_though_the_lease_is_lost(sea, monkeypatch):
    """Row 55 with row 43: an edit that the delete could not see, and no lease any more when it came to light."""
    flow, edited, lost = sea.bench.flow(), [], []
    flow.migrate()
    delete_if = Wire.delete_if

    def edit_first(wire, table, key, condition):
        if not edited and table == sea.bench.world.name("Ships", TARGET):
            ship = next(item for item in sea.bench.content(TARGET)["Ships"] if item["id"] == key["id"])
            edited.append(ship | {"sisters": {"L": [{"S": "someone"}]}})
            sea.bench.world.put(table, edited[0])
        return delete_if(wire, table, key, condition)

    def change(operation, lease, ask):
        reply = ask()
        lost.extend(["now"] if edited and operation == "DeleteItem" else [])
        return reply

    def check():
        if lost:
            raise Interrupted("the lease is lost.")

    monkeypatch.setattr(Wire, "delete_if", edit_first)
    with sea.requests(change), guarded(check), pytest.raises(Interrupted, match="the lease is lost"):
        flow.rollback()
    assert edited[0] in sea.bench.content(TARGET)["Ships"]
    assert flow.rollback()["rollback"]["kept_edited"] == 1
    sea.bench.check_back_but([("Ships", edited[0])])
