"""A holder whose lock another operator broke sends no further write, whatever it is doing: row 43 of the fault matrix."""

import contextlib

import pytest
from faults.harness import INSERTED, PORTS, SOURCE, TARGET

from runbook_lib.dynamo import requests
from runbook_lib.dynamo.transport import Transport
from runbook_lib.errors import Interrupted, NotSent
from runbook_lib.run.locks import locks
from runbook_lib.stages.validate.repair import ALL
from runbook_lib.walk.workers import engines
from runbook_lib.walk.workers import worker as units

BROKEN = "another operator has broken the lock of this run; it writes nothing more"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The locks of this test alone."""
    (tmp_path / "locks").mkdir()
    monkeypatch.setattr(locks, "FOLDER", tmp_path / "locks")
    return tmp_path / "locks"


def break_locks(folder):
    """What --break-lock does to a holder."""
    paths = list(folder.glob("*.lock"))
    assert paths
    for path in paths:
        path.unlink()


@contextlib.contextmanager
def broken_after(number, folder):
    """A block in which the locks are broken once so many writes are answered. Gives the writes that left."""
    post, writes = Transport.post, []

    def posted(transport, keys, operation, body):
        reply = post(transport, keys, operation, body)
        if operation in requests.WRITES:
            writes.append(operation)
            if len(writes) == number:
                break_locks(folder)
        return reply

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Transport, "post", posted)
        yield writes


def deepen(bench, depth):
    """The application changes two ports in the source."""
    for number in (1, 2):
        port = {"id": {"S": f"p{number}"}, "kind": {"S": "port"}, "depth": {"N": depth or str(number)}}
        bench.world.put(bench.world.name("Ports", SOURCE), port)


def lose(bench):
    """Somebody deletes two migrated ports."""
    for port in bench.content(TARGET)["Ports"][:2]:
        bench.world.delete(bench.world.name("Ports", TARGET), {"id": port["id"]})


def repaired(flow):
    with flow._notebook("04_validate"):
        return flow.steps().repair(flow._plan(), ALL)


def check_stopped(work, number, folder):
    with broken_after(number, folder) as writes, pytest.raises(Interrupted, match=BROKEN):
        work()
    assert len(writes) == number


@pytest.mark.parametrize("number", [1, 6])
def test_a_migration(number, bench, folder):
    """In the middle of a page; resumed, it counts what it inserted."""
    flow = bench.flow()
    check_stopped(flow.migrate, number, folder)
    assert bench.landed() == number
    bench.check_whole(flow.migrate())
    flow.rollback()
    bench.check_back()


def test_a_test_of_a_few(bench, folder):
    """02, which looks at no page."""
    flow = bench.flow()
    check_stopped(lambda: flow.test("Ships", 3), 2, folder)
    assert bench.landed() == 2
    flow.rollback("test")
    bench.check_back()


def test_a_rollback(bench, folder):
    """What is not deleted yet is left to the next."""
    flow = bench.flow()
    flow.migrate()
    check_stopped(flow.rollback, 2, folder)
    assert bench.landed() == INSERTED - 2
    assert flow.rollback()["rollback"]["deleted"] == INSERTED
    bench.check_back()


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_delta_that_replaces(number, bench, folder):
    """Between two deletes, before the inserts and between them; the next one brings the rest."""
    flow = bench.flow()
    flow.migrate()
    deepen(bench, "77")
    check_stopped(flow.delta, number, folder)
    flow.delta()
    assert sum(port.get("depth") == {"N": "77"} for port in bench.content(TARGET)["Ports"]) == 2
    flow.rollback()
    deepen(bench, "")
    bench.check_back()


def test_a_repair(bench, folder):
    """04 that inserts what is missing."""
    flow = bench.flow()
    flow.migrate()
    flow.validate()
    lose(bench)
    check_stopped(lambda: repaired(flow), 1, folder)
    assert bench.landed() == INSERTED - 1
    repaired(flow)
    assert bench.content(TARGET) == bench.after
    flow.rollback()
    bench.check_back()


class Elsewhere:
    """A worker of the engine with several processes, with guards of its own. From the second slice on the locks are broken."""

    def __init__(self, folder):
        self._folder, self._guards, self.problems = folder, [], []

    @contextlib.contextmanager
    def _there(self):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(requests, "_guards", self._guards)
            yield

    def advance(self, *slice_):
        if self.problems:
            break_locks(self._folder)
        with self._there():
            found = units.advance(*slice_)
        self.problems.append(found.problem)
        return found

    def items(self):
        return 0

    def close(self):
        with self._there():
            units._Worker.forget()


def test_workers_of_the_holder(bench, folder, monkeypatch):
    """They look for themselves, and what they say interrupts; it is no failure that is taken back."""
    flow, worker = bench.flow(engine="processes"), Elsewhere(folder)
    monkeypatch.setattr(engines, "_processes", lambda *_: [worker])
    with pytest.raises(Interrupted, match=BROKEN):
        flow.migrate()
    assert (worker.problems[0], worker.problems[1][0]) == (None, NotSent)
    assert bench.landed() == PORTS
    monkeypatch.undo()
    bench.check_whole(flow.migrate())
    flow.rollback()
    bench.check_back()
