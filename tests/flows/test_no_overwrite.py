"""What is in the target stays as it is, bit for bit: by whatever way items are inserted, and whoever does so at the same time."""

import multiprocessing
import threading
from collections import Counter
from contextlib import contextmanager

import orjson
import pytest
import support_worlds as worlds
from support_batches import OPERATION, inserts
from support_flows import CASES, begin, flow_of

from runbook_lib.dynamo.transport import Transport
from runbook_lib.errors import Interrupted, Refused
from runbook_lib.failpoints import arm, disarm
from runbook_lib.journal import audit
from runbook_lib.journal.stage import Stage
from runbook_lib.stages import execution
from runbook_lib.walk.insert import Inserter
from runbook_lib.walk.walk import Page, route_items

SOURCE, TARGET = worlds.SOURCE, worlds.TARGET
FORK = multiprocessing.get_context("fork")
MIGRATIONS = [path.parent.name for path in sorted(CASES.glob("*/expected.yaml")) if "refused" not in worlds.read(path)]
ITEMS = 60


class Intruder:
    """Another application: it puts an item of its own under each key just before the request with our insert leaves."""

    def __init__(self, world):
        self._world = world
        self._keys: dict[str, list[str]] = {}
        self.items: dict[tuple[str, str], dict] = {}
        self._lock = threading.Lock()

    def __call__(self, table, item):
        with self._lock:
            if table not in self._keys:
                schema = self._world.client.describe_table(TableName=table)["Table"]["KeySchema"]
                self._keys[table] = [part["AttributeName"] for part in schema]
            key = worlds.plain_item({name: item[name] for name in self._keys[table]})
            place = table, worlds.as_text(key)
            if place not in self.items:
                self.items[place] = {**key, "theirs": {"L": [{"N": "1.5"}, {"BOOL": True}]}}
                self._world.put(table, self.items[place])

    @contextmanager
    def at_work(self):
        """A block in which it is there."""
        post = Transport.post

        def posted(transport, keys, operation, body):
            for table, item in inserts(operation, body):
                self(table, item)
            return post(transport, keys, operation, body)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Transport, "post", posted)
            yield

    def beside(self, content):
        """A target's content with these items in it."""
        found = {table: list(items) for table, items in content.items()}
        for (table, _), item in self.items.items():
            found[table.rsplit("-", 2)[0]].append(item)
        return {table: sorted(items, key=worlds.as_text) for table, items in found.items()}


QUICK = ("shared-keys", "shop", "university")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in MIGRATIONS]
)
def test_no_route_overwrites_what_comes_before_it(name, world, tmp_path, batches):
    """Every key that a migration is about to insert is taken in the last moment: all of them are conflicts, and what is there
    stays, after the rollback, too."""
    flow = begin(name, world, tmp_path)
    flow.create()
    before, intruder = world.content(TARGET), Intruder(world)
    with intruder.at_work():
        found = flow.migrate()
    assert intruder.items
    assert found["totals"]["inserted"] == 0
    assert world.content(TARGET) == intruder.beside(before)
    if found["verdict"] != "ROLLED_BACK":
        assert found["totals"]["conflicts"] >= len(intruder.items)
        assert flow.rollback()["rollback"]["deleted"] == 0
    assert world.content(TARGET) == intruder.beside(before)
    several = any(counts["scanned"] > 1 for counts in found["tables"].values())  # a single item goes alone
    assert bool(batches) == (several and world.engine.name == "ministack")


def fill(world, numbers=range(ITEMS), **more):
    """Puts source items."""
    for number in numbers:
        world.put(world.name("Ships", SOURCE), {"id": {"S": f"s{number}"}, "n": {"N": str(number)}, **more})


WAYS = ("resume", "test", "retry", "delta")


@pytest.mark.parametrize("way", WAYS)
def test_no_way_of_inserting_overwrites_what_comes_before_it(way, world, tmp_path):
    """Resuming, the test of a few, trying failed items again, catching up (also where our own earlier version was deleted to make
    room for a newer one): what got there first stays, and counts as a conflict."""
    for side in (SOURCE, TARGET):
        world.build({"Ships": {"key": {"id": "S"}}}, side)
    fill(world)
    flow = flow_of("{Ships: {}}", world, tmp_path, on_failure="keep", workers=4)
    intruder = Intruder(world)
    if way == "resume":  # the intent is on disk, and nothing has left
        arm("journal.append.after=eio@5")
        with pytest.raises(Interrupted):
            flow.migrate()
        disarm()
        ((_, intent),) = Stage(flow.run(), "migrate").read().intents()
        assert (len(intent.rows), intent.outcome) == (ITEMS, None)
    elif way == "retry":
        with refused():
            assert flow.migrate()["totals"]["failed"] == ITEMS
    elif way == "delta":
        flow.migrate()
        fill(world, range(10), changed={"BOOL": True})
        fill(world, range(ITEMS, 2 * ITEMS))
    before = world.content(TARGET)
    with intruder.at_work():
        if way == "retry":
            totals = flow.retry()["totals"]
        elif way == "test":
            assert flow.test("Ships", 30).state.tables["Ships"]["conflicts"] == 30
        else:
            totals = (flow.delta if way == "delta" else flow.migrate)()["totals"]
    if way == "delta":  # ten of the first have made room
        replaced = {worlds.new_id(TARGET, "Ships", "uuid", "S", f"s{number}") for number in range(10)}
        before["Ships"] = [item for item in before["Ships"] if item["id"]["S"] not in replaced]
        assert (totals["inserted"], totals["conflicts"]) == (ITEMS - 10, ITEMS + 10)
    elif way != "test":
        assert (totals["inserted"], totals["conflicts"]) == (0, ITEMS)
    assert world.content(TARGET) == intruder.beside(before)
    flow.rollback("test" if way == "test" else "migrate")
    assert world.content(TARGET) == intruder.beside({"Ships": []})


@contextmanager
def refused():
    """A block in which every insert is refused for good."""
    post = Transport.post

    def posted(transport, keys, operation, body):
        if inserts(operation, body):
            content = {"__type": "com.amazonaws.dynamodb.v20120810#ValidationException", "message": "no"}
            return 400, {}, orjson.dumps(content)
        return post(transport, keys, operation, body)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Transport, "post", posted)
        yield


# two at once


class Worker:
    """One that inserts a page in a run of its own, without the locks that keep another one away."""

    def __init__(self, flow, items):
        plan = flow._plan()
        self._stage = Stage(flow.run(), "migrate")
        audit.enter(flow.run(), "03_migrate")
        table, route = plan.routes["Ships"].entry.source, plan.routes["Ships"]
        execution.begin(self._stage, plan, ["Ships"])
        self._routed = route_items(Page(table, 0, 0, None, None, items), [route], [], {})
        self._plan, self._target = plan, route.entry.target

    def insert(self, ready):
        """Inserts when the other one is ready, too; gives a letter for each row, and the keys that the engine took."""
        with self.counting() as taken, Inserter(self._plan, self._stage, 1, {self._target: True}) as step:
            ready.wait()
            step(self._routed)
        (intent,) = (intent for _, intent in self._stage.read().intents())
        return intent.outcome, taken

    @contextmanager
    def counting(self):
        """A block that counts the inserts that were taken."""
        taken, wire = Counter(), self._plan.target.wire
        post = wire._transport.post

        def posted(keys, operation, body):
            reply = post(keys, operation, body)
            sent = inserts(operation, body)
            if operation == "PutItem":
                done = [reply[0] == 200]
            elif operation == OPERATION and sent:
                done = ["Error" not in one for one in orjson.loads(reply[2])["Responses"]]
            else:
                done = []
            taken.update(item["id"]["S"] for (_, item), yes in zip(sent, done, strict=bool(done)) if yes)
            return reply

        wire._transport.post = posted
        yield taken


def in_threads(workers):
    """Both at once in this process."""
    ready, found = threading.Barrier(2), {}
    threads = [
        threading.Thread(target=lambda n=n, w=w: found.update({n: w().insert(ready)})) for n, w in enumerate(workers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[0], found[1]]


def in_processes(workers):
    """Both at once, each in a process."""
    ready, pipes = FORK.Barrier(2), []
    for worker in workers:
        heard, says = FORK.Pipe(duplex=False)
        process = FORK.Process(target=lambda w=worker, s=says: s.send(w().insert(ready)))
        process.start()
        pipes.append((process, heard))
    found = [heard.recv() for _, heard in pipes if heard.poll(300)]
    for process, _ in pipes:
        process.join(60)
    return found


@pytest.mark.parametrize("version", ["equal", "different"])
@pytest.mark.parametrize("at_once", [in_threads, in_processes])
def test_an_item_that_two_workers_read_is_inserted_once(at_once, version, world, tmp_path, batches):
    """The same page, by two at the same time: the engine takes each key once; of two versions the one that came first stays, and
    the other one is a conflict. The rollbacks take away what is theirs, and all of it together."""
    for side in (SOURCE, TARGET):
        world.build({"Ships": {"key": {"id": "S"}}}, side)
    flows = [flow_of("{Ships: {}}", world, tmp_path, f"the-run-{number}") for number in range(2)]
    pages = [[{"id": {"S": f"s{n}"}, "n": {"N": str(n)}} for n in range(ITEMS)] for _ in flows]
    if version == "different":
        pages[1] = [item | {"later": {"BOOL": True}} for item in pages[1]]
    workers = [lambda flow=flow, page=page: Worker(flow, page) for flow, page in zip(flows, pages, strict=True)]
    (first, taken), (second, also) = at_once(workers)
    assert taken + also == Counter({worlds.new_id(TARGET, "Ships", "uuid", "S", f"s{n}"): 1 for n in range(ITEMS)})
    made = [
        worlds.plain_item(item | {"id": {"S": new}})
        for keys, page in ((taken, pages[0]), (also, pages[1]))
        for item in page
        if (new := worlds.new_id(TARGET, "Ships", "uuid", "S", item["id"]["S"])) in keys
    ]
    assert world.items(world.name("Ships", TARGET)) == worlds.plain_items(made)
    if version == "different":
        assert {"".join(sorted(pair)) for pair in zip(first, second, strict=True)} == {"ci"}
        assert (first.count("i"), second.count("i")) == (len(taken), len(also))
    try:
        deleted = [flow.rollback()["rollback"]["deleted"] for flow in flows]
    except Refused:  # the one that began later comes first
        deleted = [flow.rollback()["rollback"]["deleted"] for flow in reversed(flows)]
    assert sum(deleted) == ITEMS
    assert world.items(world.name("Ships", TARGET)) == []
    assert bool(batches) == (at_once is in_threads and world.engine.name == "ministack")
