"""Dask: rows 70 to 73 of the fault matrix, and what keeps a cluster from doing harm."""

import gc
import hashlib
import os
import pickle
import signal
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import support_cluster
import support_worlds as worlds
from support_cluster import in_the_middle
from support_crashes import KILLED, in_child, small_pages
from support_fixtures import moto_world  # noqa: F401
from support_flows import flow_of
from support_pace import allowed

from runbook_lib import process
from runbook_lib.dynamo.rate_limiter import Budgets
from runbook_lib.errors import Interrupted, Refused
from runbook_lib.journal import log as journal
from runbook_lib.journal.stage import Stage
from runbook_lib.journal.table_file import read_table_file
from runbook_lib.parameters import Limits
from runbook_lib.walk import guard
from runbook_lib.walk.workers import dask as cluster
from runbook_lib.walk.workers import engines
from runbook_lib.walk.workers import worker as units

ITEMS = 120
MAPPING = "{Ports: {}, Ships: {references: {portId: {to: Ports, dangling: 'null'}}}}"
COUNTED = ("tables", "totals", "relationships", "relationships_preserved", "verdict")


@pytest.fixture
def sea(moto_world):  # noqa: F811
    """Two tables; every tenth ship is of a port that is not there."""
    return moto_world.sea(ITEMS)


def flow(world, folder, **limits):
    """The migration, not started."""
    folder.mkdir()
    return flow_of(MAPPING, world, folder, **limits)


def outcome(world, ended):
    """What a migration made and what it told: items by digest, counts, id map."""
    report = ended.migrate()
    table = ended.outputs / ended.run_id / report["id_map"]["file"]
    return world.digest(worlds.TARGET), {key: report[key] for key in COUNTED}, id_map(table)


def id_map(path):
    """The rows of an id map, in order."""
    import pyarrow.parquet

    return sorted(map(tuple, (row.values() for row in pyarrow.parquet.read_table(path).to_pylist())))


@pytest.fixture
def by_threads(sea, tmp_path):
    """What threads make of it; taken back."""
    ended = flow(sea, tmp_path / "threads")
    found = outcome(sea, ended)
    ended.rollback()
    return found


@pytest.fixture(autouse=True)
def two_processors(monkeypatch):
    """Whatever the machine has."""
    monkeypatch.setattr(cluster.os, "cpu_count", lambda: 2)


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_of_a_page_changes_nothing(sea, tmp_path, by_threads):
    """Row 70. Items, counts and id map are those of threads."""
    ended = flow(sea, tmp_path / "dask", engine="dask", segments=2, write_units=80)
    killed = []

    def kill(process):
        os.kill(process, signal.SIGKILL)
        killed.append(process)

    watch = in_the_middle(ended, "Ships", kill)
    assert outcome(sea, ended) == by_threads
    watch.join()
    assert killed
    assert killed != [os.getpid()]
    folder = ended.outputs / ended.run_id / "journal/migrate"
    assert sum(path.read_text().count('"kind":"intent"') for path in folder.glob("Ships-*.jsonl")) == 3
    assert not list(folder.glob(".*"))
    assert ended.rollback()["rollback"]["deleted"] == 2 * ITEMS
    assert sea.content(worlds.TARGET) == {"Ports": [], "Ships": []}


class Here:
    """A worker in this process, which remembers what it was given."""

    given: list = []
    one = threading.Lock()

    def advance(self, job, table, number, budget):
        with self.one:
            self.given.append((self, job, budget))
            return units.advance(self.changed(job), table, number, budget)

    def changed(self, job):
        return job

    def items(self):
        return 0

    def close(self):
        units._Worker.forget()


@pytest.fixture
def here(monkeypatch):
    """Three workers in this process in place of a cluster."""
    monkeypatch.setattr(Here, "given", [])
    monkeypatch.setattr(engines, "_cluster", lambda plan, segments: [Here(), Here(), Here()])
    return Here.given


def test_the_budget_is_divided_among_the_workers(sea, tmp_path, here):
    """The shares of all workers are what the parameters allow, requests in flight included."""
    flow(sea, tmp_path / "run", engine="dask", segments=3, read_units=3000, write_units=900, workers=7).migrate()
    shares = {one: allowed(budgets) for one, _, budgets in here}
    assert len(shares) == 3
    assert [sum(units) for units in zip(*shares.values(), strict=True)] == [3000, 900]
    assert 3 * here[0][1].parameters["limits"]["workers"] <= 7


@pytest.mark.parametrize(
    ("label", "what", "value"),
    [
        ("target", "account", "999999999999"),
        ("source", "region", "eu-west-9"),
        ("target", "endpoint", "https://other"),
        ("source", "tables", {}),
        ("target", "tables", {"Ports": "another"}),
    ],
)
def test_a_worker_that_reaches_something_else_is_refused(sea, tmp_path, here, monkeypatch, label, what, value):
    """Credentials and settings are the worker's own: where they lead elsewhere, nothing is written."""
    monkeypatch.setattr(
        Here,
        "changed",
        lambda _, job: replace(job, sides=job.sides | {label: job.sides[label] | {what: value}}),
    )
    ended = flow(sea, tmp_path / "run", engine="dask")
    told = f"{label}: a worker's {what} is .*, but {value} in the process that started it"
    with pytest.raises(Refused, match=told if what != "tables" else f"{label}: a worker finds other tables at http://"):
        ended.migrate()
    assert sea.content(worlds.TARGET) == {"Ports": [], "Ships": []}


def test_a_worker_with_another_program_is_refused(sea, tmp_path, here, monkeypatch):
    """The code that decides what an item becomes must be the same everywhere."""
    monkeypatch.setattr(Here, "changed", lambda _, job: replace(job, identity=job.identity | {"code": "other"}))
    with pytest.raises(Refused, match="a worker has a different code from the process that started it"):
        flow(sea, tmp_path / "run", engine="dask").migrate()


def test_a_worker_whose_driver_is_gone_begins_no_page(sea, tmp_path, here, monkeypatch):
    """Another process holds the run, or none does."""
    monkeypatch.setattr(Here, "changed", lambda _, job: replace(job, holder="process 1 on elsewhere"))
    with pytest.raises(Interrupted, match="the process that started this worker has ended"):
        flow(sea, tmp_path / "run", engine="dask").migrate()
    assert sea.content(worlds.TARGET) == {"Ports": [], "Ships": []}


def test_an_execution_waits_for_the_workers_of_an_earlier_one(tmp_path, monkeypatch):
    """What they still write is read before anything is decided."""
    monkeypatch.setattr(process, "lock_patience", 0.2)
    log = journal.Log(tmp_path / "A.00000.jsonl")
    with pytest.raises(
        Interrupted, match=r"A\.00000\.jsonl is still being written by a worker of an earlier execution"
    ):
        read_table_file(log.path, wait=True)
    log.let_go()
    assert read_table_file(log.path, wait=True) is None
    assert log.take_again()


def test_a_worker_that_does_not_share_the_folder_is_refused(tmp_path):
    """In one sentence with the mend."""
    found = cluster.work(cluster.JobFile(str(tmp_path / "journal" / ".job-1"), ""), "A", 0, Budgets())
    with pytest.raises(
        Refused, match=r"a worker cannot see .*journal; choose an --outputs folder that driver and workers"
    ):
        found.raise_problem()


def job_file(folder):
    """A job, handed in."""
    content = pickle.dumps("job")
    (folder / "job").write_bytes(content)
    return cluster.JobFile(str(folder / "job"), hashlib.sha256(content).hexdigest())


def test_a_job_file_that_somebody_has_changed_is_not_read(tmp_path):
    """To read it would be to do what it says."""
    job = job_file(tmp_path)
    (tmp_path / "job").write_bytes(pickle.dumps("another job"))
    with pytest.raises(Refused, match="a worker cannot start: .*job is not the job that this run submitted"):
        cluster.work(job, "A", 0, Budgets()).raise_problem()


def test_a_worker_does_one_slice_at_a_time(tmp_path, monkeypatch):
    """Whatever threads it has: what it keeps open is for one job and one thread."""
    job = job_file(tmp_path)
    running, most = [], []

    def advance(*_):
        running.append(1)
        most.append(len(running))
        time.sleep(0.05)
        running.pop()

    monkeypatch.setattr(units, "advance", advance)
    threads = [threading.Thread(target=cluster.work, args=(job, "A", n, None)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1, 1]


@pytest.mark.parametrize(
    "scheduler",
    [
        "tcp://10.0.0.7:8786",
        "10.0.0.7:8786",
        "tls://10.0.0.7",
        "ws://127.0.0.1:1",
        "tls://a:b",
        "tcp://localhost.evil.example:1",
    ],
)
def test_a_scheduler_beyond_this_machine_needs_tls(scheduler):
    """Whoever reaches a scheduler in the clear runs programs on its workers."""
    with pytest.raises(Refused, match="outside this machine, use tls://HOST:PORT") as problem:
        guard.check_engine(Limits(engine="dask", scheduler=scheduler))
    assert scheduler in str(problem.value)


@pytest.mark.parametrize(
    "scheduler", [None, "tls://10.0.0.7:8786", "tcp://127.0.0.1:8786", "tcp://[::1]:1", "tcp://localhost:1"]
)
def test_other_schedulers_are_fine(scheduler):
    """By TLS anywhere, in the clear on this machine alone."""
    guard.check_engine(Limits(engine="dask", scheduler=scheduler))


def test_a_scheduler_without_the_engine_is_refused():
    """Rather than not used."""
    with pytest.raises(Refused, match="limits.scheduler needs limits.engine: dask"):
        guard.check_engine(Limits(scheduler="tls://10.0.0.7:8786"))


def test_a_missing_package_is_named_before_anything_is_done(sea, tmp_path, monkeypatch):
    """With the command that installs it."""
    monkeypatch.setattr(guard, "find_spec", lambda name: None)
    ended = flow(sea, tmp_path / "run", engine="dask")
    with pytest.raises(Refused, match=r"needs the package distributed; run pip install '\.\[dask\]'"):
        ended.migrate()
    assert not (ended.outputs / ended.run_id / "journal").exists()


class Scheduler:
    """What a pinned worker needs of Dask's client: workers come and go by name."""

    def __init__(self, *workers):
        self.workers, self.status, self.calls, self.released = list(workers), "running", [], 0
        self.answer = lambda: units.Slice(True)

    def nthreads(self, callback_timeout):
        if self.status != "running":
            raise OSError("gone")
        return dict.fromkeys(self.workers, 1)

    def submit(self, *call, **options):
        self.calls.append(options)
        return SimpleNamespace(status="pending", result=self.result, release=self.release)

    def result(self, timeout):
        return self.answer()

    def release(self):
        self.released += 1

    def wait_for_workers(self, number, timeout):
        pass

    def close(self, timeout):
        self.status = "closed"


@pytest.fixture
def scheduler(monkeypatch):
    """A scheduler with three workers, a, b and c; time is quick."""
    found = Scheduler("a", "b", "c")
    monkeypatch.setattr(cluster, "_connect", lambda address: found)
    for name, value in {"POLL": 0.01, "RESTART": 0.1, "PATIENCE": 0.2}.items():
        monkeypatch.setattr(cluster, name, value)
    return found


def advance(one, folder):
    """One slice."""
    (folder / "journal/migrate").mkdir(parents=True, exist_ok=True)
    return one.advance(SimpleNamespace(folder=str(folder), stage="migrate", shared=None), "A", 0, Budgets())


LIMITS = Limits(engine="dask", scheduler="tls://10.0.0.7:8786")


def pinned(scheduler):
    """The workers that the calls were pinned to."""
    return [call["workers"][0] for call in scheduler.calls]


@pytest.mark.parametrize(("segments", "workers", "wanted"), [(8, 8, 3), (2, 8, 2), (8, 1, 1)])
def test_there_is_one_for_each_worker_that_is_of_use(scheduler, segments, workers, wanted):
    """No more than workers, segments, and requests in flight."""
    assert len(cluster.workers(LIMITS.model_copy(update={"workers": workers}), segments)) == wanted


def test_each_keeps_to_a_worker_of_its_own(scheduler, tmp_path):
    """Every slice is a task of its own, tried once, pinned, and let go at once; the job's file goes with the last one."""
    workers = cluster.workers(LIMITS, 3)
    for _ in range(3):
        for one in workers:
            assert advance(one, tmp_path).done
    assert pinned(scheduler) == ["a", "b", "c"] * 3
    assert all(call | {"workers": 1} == {"workers": 1, "pure": False, "retries": 0} for call in scheduler.calls)
    assert scheduler.released == 9
    assert len(list((tmp_path / "journal/migrate").glob(".job-*"))) == 1
    for one in workers:
        one.close()
    assert not list((tmp_path / "journal/migrate").iterdir())
    assert scheduler.status == "closed"


def test_a_lost_worker_is_replaced_by_one_that_is_free_and_else_shared(scheduler, tmp_path):
    """The slice is lost with it; one that joins later may take its place."""
    workers = cluster.workers(LIMITS, 3)
    for one in workers:
        advance(one, tmp_path)

    def lose():
        scheduler.workers.remove("a")
        scheduler.workers.append("d")
        scheduler.answer = pending

    scheduler.answer = lose
    with pytest.raises(engines.WorkersLost):
        advance(workers[0], tmp_path)
    scheduler.answer = lambda: units.Slice(True)
    advance(workers[0], tmp_path)
    assert pinned(scheduler)[-1] == "d"
    scheduler.workers.remove("d")
    time.sleep(0.02)
    advance(workers[0], tmp_path)
    assert pinned(scheduler)[-1] in ("b", "c")


def pending():
    """No answer yet."""
    raise TimeoutError


def test_no_worker_and_no_scheduler_interrupt_after_a_while(scheduler, tmp_path):
    """Rows 72 and 73, quick."""
    (one,) = cluster.workers(LIMITS, 1)
    advance(one, tmp_path)
    scheduler.workers.clear()
    time.sleep(0.02)
    with pytest.raises(Interrupted, match="tls://10.0.0.7:8786 has no worker left; start some"):
        advance(one, tmp_path)
    scheduler.workers.append("e")
    scheduler.status = "connecting"
    scheduler.answer = pending
    time.sleep(0.02)
    with pytest.raises(Interrupted, match="the Dask scheduler tls://10.0.0.7:8786 is lost; start it again"):
        advance(one, tmp_path)


def test_a_slice_that_does_not_end_is_given_up_and_its_worker_with_it(scheduler, tmp_path, monkeypatch):
    """As long as the worker lives and a page may take, it is waited for."""
    monkeypatch.setattr(cluster, "HUNG", 0)
    monkeypatch.setattr(cluster, "PAGE_UNITS", 0.1)
    (one,) = cluster.workers(LIMITS, 1)
    scheduler.answer = pending
    with pytest.raises(engines.WorkersLost):
        advance(one, tmp_path)
    scheduler.answer = lambda: units.Slice(True)
    advance(one, tmp_path)
    assert pinned(scheduler) == ["a", "b"]


def test_a_segment_that_comes_on_may_lose_any_number_of_workers(sea, tmp_path, monkeypatch):
    """Row 70: three in a row, without a page between them, are too many."""
    lost = []

    class Unsteady(Here):
        def advance(self, job, table, number, budget):
            lost.append(table)
            if len(lost) % 3:
                raise engines.WorkersLost
            return super().advance(job, table, number, budget)

    monkeypatch.setattr(engines, "_cluster", lambda plan, segments: [Unsteady()])
    support_cluster.one_page_slices(monkeypatch)
    small_pages(monkeypatch)
    report = flow(sea, tmp_path / "run", engine="dask", segments=1).migrate()
    assert report["totals"]["inserted"] == 2 * ITEMS
    assert len(lost) > 20


@pytest.mark.parametrize(
    ("poison", "done"),
    [("Ships", {"Ports": [0, 1, 2], "Ships": [0, 2]}), ("Ports", {"Ports": [0, 2]})],
)
def test_the_others_go_on_when_a_segment_cannot(sea, tmp_path, here, monkeypatch, poison, done):
    """Row 71. Except in tables that refer to its own: parents come first."""

    class Poisoned(Here):
        def advance(self, job, table, number, budget):
            if table.startswith(poison) and number == 1:
                raise engines.WorkersLost
            return super().advance(job, table, number, budget)

    monkeypatch.setattr(engines, "_cluster", lambda plan, segments: [Poisoned(), Poisoned()])
    ended = flow(sea, tmp_path / "run", engine="dask", segments=3)
    with pytest.raises(Interrupted, match="segment 1: 3 workers died while working on it"):
        ended.migrate()
    assert finished(ended) == done


def finished(ended):
    """Table → the segments that were walked to their end."""
    return {
        one.table.partition("-")[0]: [number for number, at in sorted(one.positions.items()) if at.done]
        for one in Stage(ended.run(), "migrate").read().passes()
    }


@pytest.mark.long
def test_a_segment_that_kills_its_workers_is_given_up_and_the_others_end(sea, tmp_path, by_threads, monkeypatch):
    """Row 71. Three workers die; what does not depend on that segment is done; the run is resumable."""
    ended = flow(sea, tmp_path / "dask", engine="dask", segments=3)
    with monkeypatch.context() as patch:
        patch.setattr(cluster, "work", support_cluster.poisoned)
        with pytest.raises(Interrupted, match="segment 1: 3 workers died while working on it"):
            ended.migrate()
    assert finished(ended) == {"Ports": [0, 1, 2], "Ships": [0, 2]}
    assert outcome(sea, ended) == by_threads


@pytest.mark.slow
def test_without_any_worker_the_run_is_interrupted_and_goes_on_later(sea, tmp_path, by_threads, monkeypatch):
    """Row 72. By threads, or by a cluster: the journal knows."""
    monkeypatch.setattr(cluster, "PATIENCE", 3.0)
    with support_cluster.running(tmp_path / "cluster", 2) as found:
        ended = flow(sea, tmp_path / "dask", engine="dask", scheduler=found.address, segments=2, write_units=80)
        watch = in_the_middle(ended, "Ships", lambda _: [found.kill(worker) for worker in found.workers])
        with pytest.raises(Interrupted, match=r"has no worker left; start some. Run the same command with the run ID"):
            ended.migrate()
        watch.join()
        found.join()
        assert outcome(sea, ended) == by_threads


@pytest.mark.slow
def test_without_the_scheduler_the_run_is_interrupted_and_goes_on_later(sea, tmp_path, by_threads, monkeypatch):
    """Row 73. A worker may be at its last page still; the next execution waits for it."""
    monkeypatch.setattr(cluster, "PATIENCE", 3.0)
    with support_cluster.running(tmp_path / "cluster", 2) as found:
        ended = flow(sea, tmp_path / "dask", engine="dask", scheduler=found.address, segments=2, write_units=80)
        watch = in_the_middle(ended, "Ships", lambda _: found.kill(found.scheduler))
        with pytest.raises(
            Interrupted, match=r"the Dask scheduler tcp://\S+ is lost; start it again. Run the same command"
        ):
            ended.migrate()
        watch.join()
        ended.parameters = ended.parameters.model_copy(update={"limits": Limits(segments=2)})
        assert outcome(sea, ended) == by_threads


@pytest.mark.long
def test_a_scheduler_that_comes_back_is_used_again(sea, tmp_path, by_threads):
    """Row 73. With other workers, as those of the old one may end with it."""
    with support_cluster.running(tmp_path / "cluster", 2) as found:
        ended = flow(sea, tmp_path / "dask", engine="dask", scheduler=found.address, segments=2, write_units=80)

        def restart(_):
            found.kill(found.scheduler)
            found.begin()
            found.join()

        watch = in_the_middle(ended, "Ships", restart)
        assert outcome(sea, ended) == by_threads
        watch.join()


@pytest.mark.slow
def test_workers_stop_when_what_started_them_is_killed(sea, tmp_path, by_threads):
    """They belong to the cluster and live on, but begin no page more: the run is taken back, or goes on, at once."""
    with support_cluster.running(tmp_path / "cluster", 2) as found:
        for run_id in ("the-first-run", "the-second-run"):
            ended = flow(sea, tmp_path / run_id, engine="dask", scheduler=found.address, segments=1, write_units=40)
            ended.run_id = run_id

            def work(ended=ended):
                in_the_middle(ended, "Ports", lambda _: os.kill(os.getpid(), signal.SIGKILL))
                ended.migrate()

            assert in_child(work) == KILLED
            assert all(worker.poll() is None for worker in found.workers)
            ended.parameters = ended.parameters.model_copy(update={"limits": Limits(segments=1)})
            if run_id == "the-second-run":
                assert outcome(sea, ended) == by_threads
                continue
            assert ended.rollback()["rollback"]["deleted"] == ITEMS
            time.sleep(units.SLICE)
            assert sea.content(worlds.TARGET) == {"Ports": [], "Ships": []}


@pytest.mark.slow
def test_a_cluster_is_reached_by_tls(sea, tmp_path, by_threads):
    """With the files that Dask's own configuration names; without them it is refused."""
    import dask
    from distributed import Security

    temporary = Security.temporary()
    files = {}
    for name in ("ca_file", "client_cert", "client_key"):
        files[name] = tmp_path / f"{name}.pem"
        files[name].write_text(getattr(temporary, f"tls_{name}"))
    options = [
        f"--tls-{o}={files[n]}" for o, n in (("ca-file", "ca_file"), ("cert", "client_cert"), ("key", "client_key"))
    ]
    found = support_cluster.Cluster(tmp_path)
    try:
        found.begin("--protocol", "tls", *options)
        found.join(*options)
        ended = flow(sea, tmp_path / "dask", engine="dask", scheduler=found.address, segments=2)
        with pytest.raises(Refused, match="see docs/scale.md for the TLS settings"):
            ended.migrate()
        names = {"ca-file": "ca_file", "client.cert": "client_cert", "client.key": "client_key"}
        with dask.config.set({f"distributed.comm.tls.{key}": str(files[name]) for key, name in names.items()}):
            assert outcome(sea, ended) == by_threads
    finally:
        for process in filter(None, [*found.workers, found.scheduler]):
            found.kill(process)


@pytest.mark.slow
def test_a_cluster_of_this_machine_leaves_ctrl_c_to_what_started_it():
    """A terminal, and a notebook that is interrupted, send it to all processes of the group."""
    (one,) = cluster.workers(Limits(engine="dask", workers=1), 1)
    found = one._cluster
    worker = found.worker_of(one)
    assert worker.startswith("tls://127.0.0.1:")

    def told(*call):
        with found.submitted(worker, *call) as future:
            while (result := found.result(future)) is None:
                assert worker in found.workers()
            return result

    process = told(os.getpid)
    os.kill(process, signal.SIGINT)
    time.sleep(1)
    assert told(os.getpid) == process
    one.close()


@pytest.mark.slow
def test_a_scheduler_that_cannot_be_spoken_to_is_refused_at_once(tmp_path, monkeypatch):
    """None there, none with workers, none in the clear where Dask's configuration forbids it; the process ends as soon."""
    import dask

    monkeypatch.setattr(cluster, "CONNECT", 2.0)
    nobody = Limits(engine="dask", scheduler="tcp://127.0.0.1:9")
    with support_cluster.running(tmp_path / "cluster", 0) as found:
        began = time.monotonic()
        with pytest.raises(Refused, match="no Dask scheduler answers at tcp://127.0.0.1:9; start it, or correct"):
            cluster.workers(nobody, 1)
        with (
            dask.config.set({"distributed.comm.require-encryption": True}),
            pytest.raises(Refused, match=r"cannot be reached \(encryption required.*see docs/scale.md for the TLS"),
        ):
            cluster.workers(nobody, 1)
        with pytest.raises(Refused, match="has no workers; start some"):
            cluster.workers(Limits(engine="dask", scheduler=found.address), 1)
        gc.collect()  # Dask's client waits a minute for itself, where it was not closed
        assert time.monotonic() - began < 45


@pytest.mark.slow
def test_workers_with_another_program_are_refused(sea, tmp_path):
    """Here one without it."""
    other = tmp_path / "other" / "runbook_lib"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("raise ImportError('not this one')")
    with support_cluster.running(tmp_path / "cluster", 1, PYTHONPATH=str(other.parent)) as found:
        ended = flow(sea, tmp_path / "dask", engine="dask", scheduler=found.address)
        with pytest.raises(Refused, match="the Dask cluster has a different version of this program"):
            ended.migrate()
