"""Dask workers that share no folder with the driver: rows 41, 45, 70 and 73 of the fault matrix, over a URL."""

import contextlib
import errno
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
import support_cluster
import support_worlds as worlds
from faults.test_cluster import ITEMS, Here, by_threads, flow, outcome, sea  # noqa: F401
from faults.test_rows import some
from support_crashes import KILLED, in_child, small_pages
from support_fixtures import moto_world  # noqa: F401

from runbook_lib.errors import Interrupted, Refused
from runbook_lib.journal import log as journal
from runbook_lib.journal.repair import repair, told
from runbook_lib.journal.stage import Stage
from runbook_lib.parameters import Limits
from runbook_lib.report.runs.status import status
from runbook_lib.walk.workers import dask as cluster
from runbook_lib.walk.workers import engines, shared_journal
from runbook_lib.walk.workers import object_log as shared_log
from runbook_lib.walk.workers import object_store as objects
from runbook_lib.walk.workers import worker as units
from runbook_lib.walk.workers.shared_journal import SharedJournal


class Away(Here):
    """A lane of this process that is told neither the run's folder nor the mapping's place."""

    def changed(self, job):
        assert (job.folder, job.known, job.parameters["mapping"]) == ("", None, "")
        return job


@pytest.fixture
def here(monkeypatch):
    """Three lanes of this process in the place of a cluster; pages are small, and slices short."""
    monkeypatch.setattr(Here, "given", [])
    monkeypatch.setattr(engines, "_cluster", lambda plan, segments: [Away(), Away(), Away()])
    support_cluster.one_page_slices(monkeypatch)
    monkeypatch.setattr(shared_journal, "ENDED", 0.0)
    small_pages(monkeypatch)
    return Here.given


def shared(sea, folder, **limits):  # noqa: F811
    """A migration whose journal lies at a URL."""
    settings = {"engine": "dask", "segments": 2, "journal": f"file://{folder}-store"} | limits
    return flow(sea, folder, **settings)


def without(ended):
    """The same migration, by threads of this process."""
    ended.parameters = ended.parameters.model_copy(update={"limits": Limits(segments=ended.parameters.limits.segments)})
    return ended


def folder_of(ended):
    """The migration's journal."""
    return ended.outputs / ended.run_id / "journal/migrate"


def test_workers_without_the_folder_make_the_same(sea, tmp_path, by_threads, here):  # noqa: F811
    """Items, counts, id map; with references that ask what the source holds. The journal is whole, and can be rolled back."""
    ended = shared(sea, tmp_path / "run")
    assert outcome(sea, ended) == by_threads
    stage = Stage(ended.run(), "migrate")
    assert not stage.unsettled()
    (event,) = stage.events("shared")
    for path in journal.logs(stage.folder):
        objects = sorted((tmp_path / "run-store" / event["place"] / path.name).glob("0*"))
        assert path.read_bytes().split(b"\n", 1)[1] == b"".join(found.read_bytes() for found in objects)
    proved = ended.validate()["validation"]
    assert [proved[key] for key in ("missing", "different", "extra", "dangling")] == [0, 0, 0, ITEMS // 10]
    assert ended.rollback()["rollback"]["deleted"] == 2 * ITEMS
    assert sea.content(worlds.TARGET) == {"Ports": [], "Ships": []}


@pytest.mark.parametrize("slices", some([0, 4], 4))
@pytest.mark.parametrize(
    "then", ["the same", *(pytest.param(way, marks=pytest.mark.slow) for way in ("another URL", "threads", "rollback"))]
)
def test_what_a_dead_driver_had_not_fetched_is_fetched_before_anything_is_decided(
    sea,  # noqa: F811
    tmp_path,
    by_threads,  # noqa: F811
    here,
    monkeypatch,
    slices,
    then,
):
    """Wherever the parameters say now that the journal lies: the records of the last slices are where they were put."""
    ended = shared(sea, tmp_path / "run")

    class Dying(Away):
        def advance(self, job, table, number, budgets):
            if len(self.given) >= slices + 1:
                raise Interrupted("as if the driver had died")
            return super().advance(job, table, number, budgets)

    with monkeypatch.context() as patch:
        patch.setattr(engines, "_cluster", lambda plan, segments: [Dying()])
        patch.setattr(SharedJournal, "pull", lambda *_: None)
        patch.setattr(SharedJournal, "end", lambda *_, **options: None)
        with pytest.raises(Interrupted, match="as if the driver had died"):
            ended.migrate()
    there = len(sea.content(worlds.TARGET)["Ports"])
    assert there
    assert status(ended.run()).totals["inserted"] == 0
    stage = Stage(ended.run(), "migrate")
    assert stage.read().may_stand()  # so that a rollback of an earlier run is refused
    assert "-store; resuming or rolling back fetches them" in status(ended.run()).text()
    if then == "rollback":
        assert without(ended).rollback()["rollback"]["deleted"] == there
        assert sea.content(worlds.TARGET) == {"Ports": [], "Ships": []}
        return
    if then == "another URL":
        limits = ended.parameters.limits.model_copy(update={"journal": f"file://{tmp_path}/other"})
        ended.parameters = ended.parameters.model_copy(update={"limits": limits})
    assert outcome(sea, without(ended) if then == "threads" else ended) == by_threads
    assert not Stage(ended.run(), "migrate").unsettled()
    assert status(ended.run()).elsewhere is None


@pytest.mark.slow
def test_a_worker_of_a_dead_driver_begins_nothing_when_the_run_goes_on(sea, tmp_path, by_threads, here, monkeypatch):  # noqa: F811
    """It has its file open, and its job; what it does afterwards is refused, by whatever way the run went on."""
    ended, kept = shared(sea, tmp_path / "run"), []

    class Kept(Away):
        def advance(self, job, table, number, budgets):
            kept.append((job, table, number, budgets))
            if len(kept) > 2:
                raise Interrupted("as if the driver had died")
            return super().advance(job, table, number, budgets)

        def close(self):
            pass

    with monkeypatch.context() as patch:
        patch.setattr(engines, "_cluster", lambda plan, segments: [Kept()])
        patch.setattr(SharedJournal, "end", lambda *_, **options: None)
        with pytest.raises(Interrupted, match="as if the driver had died"):
            ended.migrate()
    zombie = units._Worker._now
    assert without(ended).rollback()["rollback"]["deleted"]
    for worker in (zombie, None):  # with all it has open; and anew
        units._Worker._now = worker
        for call in kept:
            found = units.advance(*call)
            assert found.problem[0] is Interrupted
            assert "this worker writes nothing more" in found.problem[1]
    assert sea.content(worlds.TARGET) == {"Ports": [], "Ships": []}


def test_the_page_under_way_ends_with_the_fence(sea, tmp_path, here, monkeypatch):  # noqa: F811
    """Row 45. A page of many requests: none leaves once the worker cannot know that it may."""
    ended, fenced = shared(sea, tmp_path / "run", segments=1, workers=1), []
    check = shared_log.SharedLog.check

    def fence(log):
        if log.path.name.startswith("Ports") and log._objects.records == 3 and not fenced:  # begin, fence, intent
            fenced.append(None)
        elif fenced == [None]:  # the page's first request: the second one is to be held back
            copy = shared_journal._Copy(
                log._objects.store,
                log._objects.folder,
                folder_of(ended) / log.path.name,
                ended_base(ended, log.path.name),
            )
            copy.fence()
            fenced.append(copy)
            log._confirmed -= shared_log.GUARD  # as if that time had passed
        return check(log)

    monkeypatch.setattr(shared_log.SharedLog, "check", fence)
    with pytest.raises(Interrupted, match="this worker writes nothing more"):
        ended.migrate()
    assert len(fenced) == 2
    assert len(sea.content(worlds.TARGET)["Ports"]) <= 1
    assert fenced[1].lost is not None


def ended_base(ended, name):
    """What the stage says of a file of its last shared execution."""
    (*_, event) = Stage(ended.run(), "migrate").events("shared")
    file, records, link, blob = next(file for file in event["files"] if file[0] == name)
    return shared_log.BaseFile(file, records, link, shared_journal.Blob(*blob))


@pytest.mark.slow
def test_a_repair_waits_for_what_lies_elsewhere(sea, tmp_path, by_threads, here, monkeypatch):  # noqa: F811
    """A damaged file is whole there: it is taken away, and fetched."""
    ended = shared(sea, tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(SharedJournal, "end", lambda *_, **options: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ended.migrate()
    path = journal.logs(folder_of(ended))[0]
    content = path.read_bytes()
    path.write_bytes(content.replace(b"intent", b"intend", 1))
    with pytest.raises(Refused, match="damaged; restore the file from a copy"):
        ended.migrate()
    with pytest.raises(Refused, match="records of an interrupted execution lie at file://.*move it elsewhere first"):
        repair(ended.run())
    path.unlink()
    assert outcome(sea, ended) == by_threads
    assert path.read_bytes().startswith(content)


@pytest.mark.slow
def test_a_last_fence_that_is_damaged_costs_no_item(sea, tmp_path, by_threads, here):  # noqa: F811
    """It announces none, and all records before it stay."""
    ended = shared(sea, tmp_path / "run")
    ended.migrate()
    path = journal.logs(folder_of(ended))[0]
    content = path.read_bytes()
    assert content.splitlines()[-1].count(b'"kind":"fence"') == 1
    path.write_bytes(content[:-9] + b"\x00" * 8 + b"\n")
    repair(ended.run())
    assert "1 record lost" in told(Stage(ended.run(), "migrate"))
    assert content.startswith(path.read_bytes())
    assert outcome(sea, ended)[0] == by_threads[0]
    assert ended.rollback()["rollback"]["deleted"] == 2 * ITEMS
    assert sea.content(worlds.TARGET) == {"Ports": [], "Ships": []}


@pytest.mark.long
def test_a_store_that_is_lost_at_any_moment_interrupts_and_the_run_goes_on(
    sea,  # noqa: F811
    tmp_path,
    by_threads,  # noqa: F811
    here,
    monkeypatch,
):
    """Whether the last request before that was done, or not: what is resumed ends as an untouched run does."""
    number, stopped = 1, [None]
    while stopped:
        ended, stopped = shared(sea, tmp_path / f"run-{number}", journal=f"file://{tmp_path}/store-{number}"), []
        with monkeypatch.context() as patch:
            lose(patch, number, arrives=bool(number % 2))
            try:
                ended.migrate()
            except Interrupted as problem:
                stopped = [str(problem)]
        assert all("cannot be reached: Input/output error" in sentence for sentence in stopped)
        assert outcome(sea, ended) == by_threads
        assert ended.rollback()["rollback"]["deleted"] == 2 * ITEMS
        number = number * 4 + 1 + number % 2
    assert number > 100


def lose(patch, number, *, arrives):
    """From its Nth request on the store is out of reach; that one may arrive."""
    count, lock = [0], threading.Lock()
    for name in ("put", "get", "names"):
        real = getattr(objects._Folder, name)

        def call(folder, *given, real=real):
            with lock:
                count[0] += 1
                now = count[0]
            if now == number and arrives:
                real(folder, *given)
            if now >= number:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return real(folder, *given)

        patch.setattr(objects._Folder, name, call)


def test_a_worker_that_sees_another_store_is_refused(sea, tmp_path, here, monkeypatch):  # noqa: F811
    """A URL that leads elsewhere there."""
    monkeypatch.setattr(
        Away, "changed", lambda _, job: replace(job, shared=replace(job.shared, url=f"file://{tmp_path}/elsewhere"))
    )
    with pytest.raises(Refused, match="is missing; give all workers the same limits.journal"):
        shared(sea, tmp_path / "run").migrate()
    assert sea.content(worlds.TARGET) == {"Ports": [], "Ships": []}


def test_nothing_secret_is_put(sea, tmp_path, here, monkeypatch):  # noqa: F811
    """Credentials, which every worker finds by itself."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret-itself")
    shared(sea, tmp_path / "run").migrate()
    files = [path for path in (tmp_path / "run-store").rglob("*") if path.is_file()]
    assert files
    assert all(path.stat().st_mode & 0o77 == 0 for path in files)
    assert not any(b"the-secret-itself" in path.read_bytes() for path in files)


@pytest.mark.slow
def test_records_as_objects_of_s3(sea, tmp_path, by_threads, here, moto, monkeypatch):  # noqa: F811
    """As far as moto's S3 is like AWS's."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto.endpoint_url)
    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket="journals")
    ended = shared(sea, tmp_path / "run", journal="s3://journals/a/prefix")
    assert outcome(sea, ended) == by_threads
    (event,) = Stage(ended.run(), "migrate").events("shared")
    path = journal.logs(folder_of(ended))[0]
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket="journals", Prefix=f"a/prefix/{event['place']}/{path.name}/0"
    )
    names = [found["Key"] for page in pages for found in page["Contents"]]
    content = [client.get_object(Bucket="journals", Key=name)["Body"].read() for name in names]
    assert path.read_bytes().split(b"\n", 1)[1] == b"".join(content)
    with pytest.raises(Interrupted, match="cannot be reached: NoSuchBucket"):
        shared(sea, tmp_path / "other", journal="s3://nowhere/x").migrate()


def in_the_middle(store, table, act):
    """Calls `act` when a page of a table is announced and not done, as far as the store knows."""

    def watch():
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            for path in store.glob(f"*/*/*/{table}-*"):
                found = sorted(path.glob("0*"))
                if found and b'{"kind":"intent"' in found[-1].read_bytes()[:100]:
                    act()
                    return
            time.sleep(0.01)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_of_a_page_changes_nothing_there(sea, tmp_path, by_threads, monkeypatch):  # noqa: F811
    """Row 70. Another one takes its file over; processes of their own, with folders of their own."""
    monkeypatch.setattr(shared_journal, "ENDED", 1.0)  # it is dead
    monkeypatch.setattr(cluster, "RESTART", 1.0)
    with support_cluster.running(tmp_path / "cluster", 2) as found:
        ended = shared(sea, tmp_path / "run", scheduler=found.address, segments=1, write_units=80)
        watch = in_the_middle(
            tmp_path / "run-store",
            "Ships",
            lambda: found.kill(next(w for w in found.workers if has_open(w, "/Ships-"))),
        )
        assert outcome(sea, ended) == by_threads
        watch.join()
        assert [worker.poll() for worker in found.workers].count(KILLED) == 1
    (path,) = folder_of(ended).glob("Ships-*")
    assert [path.read_text().count(f'"kind":"{kind}"') for kind in ("intent", "outcome", "fence")] == [2, 1, 3]
    assert ended.rollback()["rollback"]["deleted"] == 2 * ITEMS
    assert sea.content(worlds.TARGET) == {"Ports": [], "Ships": []}


def has_open(process, name):
    """Whether a process has a file open whose path holds this."""
    for link in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it is closed meanwhile
            if name in os.readlink(link):
                return True
    return False


@pytest.mark.slow
def test_workers_that_wake_after_a_rollback_write_nothing(sea, tmp_path, by_threads, monkeypatch):  # noqa: F811
    """Rows 45 and 73. The driver is killed and its workers are stopped in the middle of a page; the same cluster goes on."""
    monkeypatch.setattr(shared_journal, "ENDED", shared_log.GUARD + 1)  # the requests here are quick
    with support_cluster.running(tmp_path / "cluster", 2) as found:
        for run_id in ("the-first-run", "the-second-run"):
            ended = shared(sea, tmp_path / run_id, scheduler=found.address, segments=1, write_units=40)
            ended.run_id = run_id

            def stop():
                for worker in found.workers:
                    worker.send_signal(signal.SIGSTOP)
                os.kill(os.getpid(), signal.SIGKILL)

            def work(ended=ended, run_id=run_id):
                in_the_middle(tmp_path / f"{run_id}-store", "Ports", stop)
                ended.migrate()

            assert in_child(work) == KILLED
            if run_id == "the-second-run":
                for worker in found.workers:
                    worker.send_signal(signal.SIGCONT)
                assert outcome(sea, ended) == by_threads
                continue
            assert without(ended).rollback()["rollback"]["deleted"]
            for worker in found.workers:
                worker.send_signal(signal.SIGCONT)
            time.sleep(2 * units.SLICE)
            assert sea.content(worlds.TARGET) == {"Ports": [], "Ships": []}
