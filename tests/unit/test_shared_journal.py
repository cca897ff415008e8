"""A journal whose records are objects: who may write, what is fetched, what is refused."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import fsspec
import pytest
from fsspec.spec import AbstractFileSystem

from runbook_lib.errors import Damaged, Interrupted, Refused
from runbook_lib.journal import log as journal
from runbook_lib.journal.intents import intents
from runbook_lib.journal.log import Log
from runbook_lib.journal.stage import Stage
from runbook_lib.parameters import LeaseSettings, Limits
from runbook_lib.run.files import make_folder
from runbook_lib.run.folder import Run
from runbook_lib.walk import guard
from runbook_lib.walk.guard import check_journal_url
from runbook_lib.walk.workers import object_log as shared_log
from runbook_lib.walk.workers import shared_journal
from runbook_lib.walk.workers.object_log import GUARD, BaseFile, SharedLog
from runbook_lib.walk.workers.object_store import Store
from runbook_lib.walk.workers.shared_journal import _Copy, settle

NAME = "A.00000.jsonl"
PLACE = f"the-first-run/migrate/1/{NAME}"
PAGES = 3


@pytest.fixture
def store(tmp_path):
    """A folder as a store."""
    return Store(f"file://{tmp_path}/store")


class World:
    """A driver's file, begun, and workers that have none."""

    def __init__(self, folder, store):
        self.store, self.folder = store, folder
        self.stage = Stage(Run("the-first-run", folder / "driver/the-first-run"), "migrate")
        make_folder(self.stage.folder)
        self.stage.run.logger()
        self.path = self.stage.folder / NAME
        log = Log(self.path)
        log.append("begin", table="A", entries=["A"], segment=0, segments=1, schema=1, run="r", stage="s")
        log.close()
        with self.path.open("rb") as file:
            base = store.save(f"{PLACE}/base", file)
        self.base = BaseFile(NAME, 1, next(iter(journal.links(self.path))).decode(), base)

    def worker(self, name="w1"):
        """The file, opened by a worker."""
        path = self.folder / name / "the-first-run/journal/migrate" / NAME
        make_folder(path.parent)
        return SharedLog(self.store, PLACE, path, self.base)

    def copy(self):
        """The driver's copy of the file."""
        return _Copy(self.store, PLACE, self.path, self.base)

    def begin(self):
        """Says what SharedJournal does, so that `settle` has something to do."""
        files = [[*self.base[:3], [*self.base.blob]]]
        self.stage.record("shared", url=self.store.url, place=PLACE.rpartition("/")[0], files=files)

    def objects(self):
        """The records' objects in order."""
        return sorted((self.folder / "store" / PLACE).glob("0*"))


@pytest.fixture
def world(tmp_path, store):
    """One journal file."""
    return World(tmp_path, store)


def page(log, part=None):
    """A page's records, or one of them."""
    n = log.number() if part != 1 else 0
    if part != 1:
        log.append("intent", n=n, execution=1, page=n, start=None, rows=[], losers=[], rejects=[], unrouted=[])
    if part != 0:
        log.append("outcome", n=n, execution=1, page=n, last=None, counts={}, unrouted=0, rows="", errors={})


def kinds(path):
    """The kinds of a file's records."""
    return [record["kind"] for record in journal.records(path)]


def test_the_drivers_file_is_the_objects_byte_for_byte(world):
    """And reads as any other, the fences apart."""
    log = world.worker()
    for _ in range(PAGES):
        page(log)
    world.copy().fence()
    assert world.path.read_bytes().split(b"\n", 1)[1] == b"".join(path.read_bytes() for path in world.objects())
    assert kinds(world.path) == ["begin", "fence", *["intent", "outcome"] * PAGES, "fence"]
    assert [intent.n for intent in intents(world.path)] == [0, 1, 2]
    assert Log(world.path).number() == PAGES
    assert log.path.read_bytes() == world.path.read_bytes()[: log.path.stat().st_size]


@pytest.mark.parametrize("done", range(2 * PAGES))
def test_of_two_writers_the_earlier_one_puts_nothing_more(world, done):
    """Wherever in the file the second one takes over: before the first one's next record, so before its next request."""
    first = world.worker()
    for record in range(done):
        page(first, record % 2)
    second = world.worker("w2")
    assert second.path.read_bytes().startswith(first.path.read_bytes())
    with pytest.raises(Interrupted, match=f"has taken over {NAME}; this worker writes nothing more"):
        page(first, done % 2)
    assert not first.take_again()
    page(second)
    assert second.number() == done // 2 + done % 2 + 1
    world.copy().pull()
    assert kinds(world.path).count("fence") == 2
    assert world.path.read_bytes() == second.path.read_bytes()


@pytest.mark.parametrize("done", range(2 * PAGES))
def test_behind_the_drivers_fence_nobody_writes(world, done):
    """Neither who had the file, nor who opens it anew."""
    log = world.worker()
    for record in range(done):
        page(log, record % 2)
    copy = world.copy()
    copy.fence()
    with pytest.raises(Interrupted):
        page(log, done % 2)
    with pytest.raises(Interrupted):
        world.worker("w2")
    before = world.path.read_bytes()
    world.copy().fence()  # again: it is closed
    assert world.path.read_bytes() == before
    assert (copy.lost is not None) == bool(done % 2)


def test_a_workers_copy_goes_with_its_first_pause(world):
    """It holds keys; what comes later is in the store alone."""
    log = world.worker()
    page(log)
    log.let_go()
    assert not log.path.exists()
    assert log.take_again()
    page(log)
    log.let_go()
    assert not list(log.path.parent.iterdir())
    world.copy().pull()
    assert kinds(world.path) == ["begin", "fence", *["intent", "outcome"] * 2]
    world.worker("w2")
    assert not log.take_again()


def test_of_many_that_take_over_at_once_the_last_one_has_it(world):
    """All others are refused, whatever the order; the chain holds."""
    barrier = threading.Barrier(6)

    def work(number):
        barrier.wait()
        try:
            log = world.worker(f"w{number}")
            page(log)
        except Interrupted:
            return 0
        return 1

    with ThreadPoolExecutor(6) as pool:
        done = sum(pool.map(work, range(6)))
    copy = world.copy()
    copy.fence()
    assert kinds(world.path).count("outcome") == done >= 1


def test_a_record_whose_reply_was_lost_is_ones_own(world, monkeypatch):
    """A put that is tried again finds what it has put."""
    log, put = world.worker(), world.store._objects.put
    monkeypatch.setattr(world.store._objects, "put", lambda *call: put(*call) and False)
    page(log)
    assert len(world.objects()) == 3


def test_a_worker_asks_before_a_request_whether_it_still_has_the_file(world, monkeypatch):
    """Not before each, but so often that none leaves GUARD seconds after a fence."""
    moment, asked = [0.0], []
    monkeypatch.setattr(shared_log, "running_time", lambda: moment[0])
    log, read = world.worker(), world.store.read
    monkeypatch.setattr(world.store, "read", lambda name: asked.append(name) or read(name))
    page(log, 0)
    moment[0] = GUARD
    log.check()
    assert not asked
    moment[0] = GUARD + 0.1
    log.check()
    log.check()
    assert len(asked) == 1
    world.copy().fence()
    log.check()
    moment[0] += GUARD + 0.1
    with pytest.raises(Interrupted, match="this worker writes nothing more"):
        log.check()
    log.let_go()
    log.check()  # between two slices nothing is sent


def test_a_store_that_answers_too_late_lets_nothing_through(world, monkeypatch):
    """What it has said counts from when it was asked."""
    moment = [0.0]
    monkeypatch.setattr(shared_log, "running_time", lambda: moment[0])
    log = world.worker()

    def slow(name):
        moment[0] += GUARD + 1

    monkeypatch.setattr(world.store, "read", slow)
    moment[0] = GUARD + 1
    with pytest.raises(Interrupted):
        log.check()


@pytest.mark.parametrize(
    ("harm", "number"),
    [
        (harm, number)
        for harm in ("missing", "damaged", "cut", "of another file")
        for number in range(2 * PAGES + (harm != "missing"))  # the last one may not have been put: see below
    ],
)
def test_a_harmed_object_is_refused_by_name(world, harm, number):
    """By the driver and by a worker; nothing behind it is read."""
    log = world.worker()
    for _ in range(PAGES):
        page(log)
    path = world.objects()[number]
    line = path.read_bytes()
    path.unlink()
    changed = {"damaged": line[:60] + b"!" + line[61:], "cut": line[:-1]}
    if harm == "of another file":
        body = line.rstrip(b"\n").partition(b" ")[2]
        changed[harm] = journal.line_of(b"of another chain", body)[1]
    if harm != "missing":
        path.write_bytes(changed[harm])
    for look in (world.copy().fence, lambda: world.worker("w2")):
        with pytest.raises(
            Damaged, match=f"{NAME}/{number + 1:010} is {'missing' if harm == 'missing' else 'damaged'}"
        ):
            look()


def test_what_was_fetched_must_stay(world):
    """Else two records could have one number: the second of them is not believed."""
    log = world.worker()
    page(log)
    copy = world.copy()
    copy.pull()
    last = world.objects()[-1]
    last.unlink()
    with pytest.raises(Damaged, match=f"{last.name} is not what it was"):
        copy.pull()


def test_a_base_that_is_not_what_was_put_is_refused(world):
    """A worker begins with what the driver had."""
    (base,) = (world.folder / "store" / PLACE / "base").iterdir()
    content = base.read_bytes()
    base.unlink()
    with pytest.raises(Refused, match="base/0000000000 is missing; give all workers the same limits.journal"):
        world.worker()
    base.write_bytes(content.replace(b"A", b"B"))
    with pytest.raises(Refused, match="has changed since it was written"):
        world.worker()


def test_what_a_dead_driver_had_not_fetched_is_fetched_at_whatever_byte_its_file_ends(world, monkeypatch):
    """A torn record, none at all, or no file; once it is settled nothing is asked for any more."""
    monkeypatch.setattr(shared_journal, "ENDED", 0)
    world.begin()
    log = world.worker()
    for _ in range(PAGES):
        page(log)
    page(log, 0)
    begun = world.path.read_bytes()
    world.copy().fence()
    whole = world.path.read_bytes()
    events = (world.stage.folder / "stage.jsonl").read_bytes()
    for size in range(len(begun), len(whole) + 1, 7):
        world.path.write_bytes(whole[:size])
        (world.stage.folder / "stage.jsonl").write_bytes(events)
        assert len(world.stage.unsettled()) == 1
        settle(world.stage)
        assert world.path.read_bytes() == whole
        assert not world.stage.unsettled()
    (world.stage.folder / "stage.jsonl").write_bytes(events)
    world.path.unlink()
    settle(world.stage)
    assert world.path.read_bytes() == whole
    monkeypatch.setattr(shared_journal, "Store", None)
    settle(world.stage)


@pytest.mark.parametrize(("part", "waits"), [(0, True), (None, False)])
def test_an_open_page_is_waited_for_and_only_that(world, monkeypatch, part, waits):
    """Row 45. Whoever has announced a page may be sending it; whoever has not, cannot begin."""
    slept = []
    monkeypatch.setattr(shared_journal, "time", SimpleNamespace(sleep=slept.append))
    world.begin()
    page(world.worker(), part)
    settle(world.stage)
    assert len(slept) == waits
    assert all(shared_journal.ENDED - 1 < seconds <= shared_journal.ENDED for seconds in slept)


def test_a_local_file_that_is_another_one_is_refused(world):
    """It was changed, or put there from a copy, since the execution began."""
    world.path.write_bytes(b"")
    log = Log(world.path)
    log.append("begin", table="B")
    log.close()
    with pytest.raises(Damaged, match=f"{NAME} is not the file that the execution started with"):
        world.copy()


def test_a_disk_that_is_full_stops_the_driver_and_loses_nothing(world, monkeypatch):
    """What was taken of a record is cut when it goes on."""
    monkeypatch.setattr(shared_journal, "ENDED", 0)
    world.begin()
    page(world.worker())
    copy = world.copy()

    def full(file, how, *given, **options):
        return open(file, how, *given, **options) if how != "ab" else Full(open(file, how, *given, **options))

    with monkeypatch.context() as patch:
        patch.setattr(shared_journal, "open", full, raising=False)
        for _ in range(2):
            with pytest.raises(Interrupted, match=r"make room\.$"):
                copy.fence()
    settle(world.stage)
    assert kinds(world.path) == ["begin", "fence", "intent", "outcome", "fence"]


class Full:
    """A file that takes half of what it is given."""

    def __init__(self, file):
        self._file = file

    def write(self, data):
        return self._file.write(data[: len(data) // 2])

    def close(self):
        self._file.close()


def test_one_of_many_creates_an_object(store):
    """However close they are; and who reads it meanwhile finds all of it or nothing."""
    barrier = threading.Barrier(8)

    def create(number):
        barrier.wait()
        return store.create("x/1", bytes([number]) * 100_000)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(create, range(8))) == 1
    assert len(set(store.read("x/1"))) == 1
    assert store.read("x/2") is None
    assert (store.last("x", 0), store.last("y", 3)) == (-1, 2)


def test_a_store_that_overwrites_is_refused(store, monkeypatch):
    """Before anything is written."""
    store.probe("probe")
    monkeypatch.setattr(store._objects, "put", lambda *_: True)
    with pytest.raises(Refused, match="allows overwriting an object"):
        store.probe("other")


class Cautious(AbstractFileSystem):
    """A file system that leaves it to its server whether an object is there."""

    protocol = "cautious"
    cachable = False
    held: dict = {}

    def pipe_file(self, path, value, mode="overwrite", **options):
        if self.held.setdefault(path, value) is not value and mode == "create":
            raise FileExistsError(path)

    def cat_file(self, path, **options):
        if path not in self.held:
            raise FileNotFoundError(path)
        return self.held[path]

    def ls(self, path, detail=True, **options):
        return [name for name in self.held if name.startswith(f"{path}/")]


def test_another_file_system_does_where_its_server_decides(monkeypatch):
    """Others, which look first and write then, are refused."""
    fsspec.register_implementation("cautious", Cautious, clobber=True)
    monkeypatch.setattr(Cautious, "held", {})
    found = Store("cautious://bucket/prefix")
    found.probe("probe")
    assert found.create("x/0000000000", b"1")
    assert not found.create("x/0000000000", b"2")
    assert (found.read("x/0000000000"), found.read("x/1"), found.last("x", 0)) == (b"1", None, 0)
    with pytest.raises(Refused, match="memory:// cannot create an object only where none exists"):
        Store("memory://x")
    with pytest.raises(Refused, match="cannot be opened: Protocol not known: nothing"):
        Store("nothing://x")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("/srv/x", "write s3://BUCKET/PREFIX"),
        ("s3:///x", "without a bucket"),
        ("file://host/x", "write s3://BUCKET/PREFIX"),
        ("s3://b/x?versionId=secret", "contains a user, a password or a query"),
        ("s3://key:secret@bucket/x", "contains a user, a password or a query"),
        ("s3://key:se/secret@bucket/x", "contains a user, a password or a query"),
    ],
)
def test_a_url_that_will_not_do_is_refused(url, told):
    """In a sentence that holds no password."""
    with pytest.raises(Refused, match=told) as problem:
        check_journal_url(url)
    assert "secret" not in str(problem.value)


def test_an_endpoint_that_the_journal_cannot_use_is_told_without_its_password(monkeypatch):
    """The AWS configuration of the process may name one, which botocore's sentence quotes."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://user:sekret@ho st")
    with pytest.raises(Refused, match=r"limits.journal: s3://b/x cannot be opened: .*//\*\*\*@ho st") as problem:
        Store("s3://b/x")
    assert "sekret" not in str(problem.value)


def test_the_journal_elsewhere_is_for_dask_and_without_a_lease():
    """Refused before anything is done."""
    with pytest.raises(Refused, match="limits.journal needs limits.engine: dask"):
        guard.check_engine(Limits(journal="s3://b/x"))
    guard.check_engine(Limits(journal="s3://b/x", engine="dask"))
    with pytest.raises(Refused, match="exclude each other"):
        guard.check_lease(LeaseSettings(table="leases"), [], Limits(journal="s3://b/x", engine="dask"))


def test_what_cannot_be_reached_interrupts_and_can_be_resumed(store, monkeypatch):
    """With the reason, and nothing of what was sent."""

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(store._objects, "put", refuse)
    with pytest.raises(Interrupted, match=r"cannot be reached: Permission denied; fix that\.$"):
        store.create("x", b"value")
