"""A delta that fails at its Nth call, N = 1, 2, …: every write, fsync and request, then on or back; and edits at random.

The small migration of harness.py, after which a ship and a port were changed in the source, a port added and one deleted.

The default tier takes every STEP-th call and a few seeds, the slow one every few calls and more seeds, the long one all.
"""

import contextlib
import itertools
import random

import pytest
import support_worlds as worlds
from faults import harness
from faults.harness import PORTS, SHIPS, SOURCE, TARGET, killed, new_id, ship, stopped
from faults.test_every_call import EVERY, FAULTS, STEP, Fault
from support_flows import counts_of, flow_of

from runbook_lib import failpoints
from runbook_lib.errors import Interrupted
from runbook_lib.journal.listings import STALE

CHANGES = {
    "Ports": {
        "p1": {"id": {"S": "p1"}, "kind": {"S": "port"}, "depth": {"N": "100"}},
        "p3": None,
        "p99": {"id": {"S": "p99"}, "kind": {"S": "port"}},
    },
    "Ships": {"s1": ship(1) | {"flag": {"S": "red"}}},
}
LEAST = {"killed": 60, "disk": 20, "endpoint-lost": 15}  # so many points a delta has


@contextlib.contextmanager
def changed_source(bench, changes=CHANGES):
    """The source as it is after the changes; None is no item."""

    def put(table, old_id, item):
        name = bench.world.name(table, SOURCE)
        if item is None:
            bench.world.delete(name, {"id": {"S": old_id}})
        else:
            bench.world.put(name, item)

    before = {table: {item["id"]["S"]: item for item in items} for table, items in bench.source.items()}
    for table, items in changes.items():
        for old_id, item in items.items():
            put(table, old_id, item)
    try:
        yield
    finally:
        for table, items in changes.items():
            for old_id in items:
                put(table, old_id, before[table].get(old_id))


@pytest.fixture(scope="module")
def wanted(_bench):
    """The target and the totals after a delta to which nothing happened."""
    flow = _bench.flow()
    flow.migrate()
    with changed_source(_bench):
        report = flow.delta()
        content = _bench.content(TARGET)
    assert {name: n for name, n in report["drift"].items() if n and name != "looked_at"} == {
        "added": 1,
        "changed": 2,
        "deleted": 1,
        "inserted": 1,
        "updated": 2,
    }
    flow.rollback()
    _bench.check_back()
    return content, report["totals"]


def fail_and_go_on(bench, wanted, fault: Fault, number: int) -> bool:
    """Whether the delta failed; then it is given again, and what it did is rolled back."""
    flow = bench.flow()
    flow.migrate()
    with changed_source(bench):
        failed = fault(flow.delta, number)
        bench.check_unharmed()
        report = flow.delta()
        assert (bench.content(TARGET), report["totals"]) == wanted
        assert report["id_map"]["rows"] == report["totals"]["scanned"]
    counts = flow.rollback()["rollback"]
    bench.check_back()
    assert (counts["deleted"], counts["kept_edited"], counts["not_found"]) == (wanted[1]["inserted"], 0, 0)
    return failed


def fail_and_roll_back(bench, wanted, fault: Fault, number: int) -> bool:
    """Whether the delta failed; then all that stands is rolled back as it was left, and counted once."""
    flow = bench.flow()
    flow.migrate()
    with changed_source(bench):
        failed = fault(flow.delta, number)
    bench.check_unharmed()
    landed = bench.landed()
    counts = flow.rollback()["rollback"]
    bench.check_back()
    # A copy whose delete was announced, and arrived without a word, counts as deleted by whoever looks next.
    assert counts["deleted"] - landed in (0, 1)
    assert (counts["kept_edited"], counts["not_found"]) == (0, 0)
    return failed


def until_through(once, bench, wanted, name: str, first: int = 1, step: int = 1) -> None:
    """Fails at one call after the other until a delta gets through."""
    fault = FAULTS[name]
    for number in itertools.count(first, step):
        try:
            failed = once(bench, wanted, fault, number)
        except BaseException as problem:
            problem.add_note(f"at {fault.at(number)}")
            raise
        if not failed:
            break
    assert number > LEAST[name]


@pytest.mark.parametrize("once", [fail_and_go_on, fail_and_roll_back])
@pytest.mark.parametrize("name", FAULTS)
def test_a_delta_that_fails_here_and_there(name, once, bench, wanted):
    """Rows 46, 47, 48, a sample: given again, the same end; rolled back, the first target."""
    until_through(once, bench, wanted, name, first=7, step=STEP)


@EVERY
@pytest.mark.parametrize("once", [fail_and_go_on, fail_and_roll_back])
@pytest.mark.parametrize("name", FAULTS)
def test_a_delta_that_fails_at_every_call(name, once, every, bench, wanted):
    """Rows 46, 47, 48: given again, the same end; rolled back, the first target."""
    until_through(once, bench, wanted, name, step=1 if every else 4)


def test_a_new_version_that_landed_without_a_word_is_rolled_back(bench):
    """Its old copy was deleted, and that is recorded: the journal's only claim on what is there is the open intent."""
    flow = bench.flow()
    flow.migrate()
    with changed_source(bench, {"Ships": CHANGES["Ships"]}):
        assert killed(flow.delta, "wire.PutItem.after=kill@1")
        assert any("flag" in item for item in bench.content(TARGET)["Ships"])
        assert flow.rollback()["rollback"]["deleted"] == harness.INSERTED
    bench.check_back()


def test_a_later_run_may_be_rolled_back_after_a_delta_that_died_half_way(bench):
    """A copy that made room, and whose new version never came, does not count as standing for ever."""
    flow = bench.flow()
    flow.migrate()
    with changed_source(bench, {"Ships": CHANGES["Ships"]}):
        assert killed(flow.delta, "wire.PutItem.before=kill@1")
        flow.rollback()
    earlier = flow_of(harness.MAPPING, bench.world, flow.outputs, "the-other-run", workers=1)
    earlier.migrate()
    assert earlier.rollback()["rollback"]["deleted"] == harness.INSERTED
    from runbook_lib.journal.stage import Stage

    assert Stage(flow.run(), "migrate").read().state().standing == 0
    bench.check_back()


# a page that was open when the source changed


def test_a_conflict_with_an_earlier_version_is_called_stale_and_a_delta_mends_it(bench):
    """Row 46: it had landed without a word when the source changed; nothing is overwritten, and the delta replaces it."""
    flow = harness.open_page(bench)
    ids = {item["id"]["S"] for item in bench.content(TARGET)["Ships"] if item not in bench.first["Ships"]}
    number = next(n for n in range(SHIPS) if new_id("Ships", f"s{n}")["S"] in ids)
    with changed_source(bench, {"Ships": {f"s{number}": ship(number) | {"flag": {"S": "red"}}}}):
        report = flow.migrate()
        assert report["totals"]["conflicts"] == 2
        told = {line["key"]["id"]["S"]: line["reason"] for line in flow.listing("conflicts")}
        assert told[f"s{number}"] == STALE
        assert flow.validate()["validation"]["drift"]["changed"] == 1
        report = flow.delta()
        assert (report["drift"]["updated"], report["totals"]["conflicts"]) == (1, 1)
        assert report["totals"]["inserted"] == harness.INSERTED
        (item,) = (item for item in bench.content(TARGET)["Ships"] if "flag" in item)
        assert item["id"] == new_id("Ships", f"s{number}")
    assert flow.rollback()["rollback"]["deleted"] == harness.INSERTED
    bench.check_back()


# anything, anywhere


class Sea:
    """One seed: random edits on both sides, commands that fail at random, and a model of what is nobody's but others'."""

    def __init__(self, bench, seed: int):
        self.bench, self.random = bench, random.Random(seed)
        self.flow = bench.flow()
        self.theirs = {(table, item["id"]["S"]): item for table, items in bench.first.items() for item in items}
        self.known: dict[tuple[str, str], dict] = {}  # what the target held when we last looked
        self.source = {(table, i["id"]["S"]): i for table, items in bench.source.items() for i in items}
        self.lost: set[tuple[str, str]] = set()  # target keys that others deleted

    def edit_source(self) -> None:
        """One to three items are changed, added or deleted."""
        for _ in range(self.random.randint(1, 3)):
            table = self.random.choice(("Ports", "Ships"))
            old_id = ("p" if table == "Ports" else "s") + str(self.random.randrange(PORTS + 4))
            item = {"id": {"S": old_id}, "v": {"N": str(self.random.randrange(4))}, "note": {"L": [{"S": "x"}]}}
            item |= {"kind": {"S": self.random.choice(("port", "port", "light"))}} if table == "Ports" else {}
            name = self.bench.world.name(table, SOURCE)
            if self.random.random() < 0.3:
                self.bench.world.delete(name, {"id": {"S": old_id}})
                self.source.pop((table, old_id), None)
            else:
                self.bench.world.put(name, item)
                self.source[table, old_id] = item

    def edit_target(self) -> None:
        """Somebody edits, or deletes, an item of the target, whosesoever it is."""
        table = self.random.choice(("Ports", "Ships"))
        items = self.bench.content(TARGET)[table]
        if not items:
            return
        item = self.random.choice(items)
        place, name = (table, item["id"]["S"]), self.bench.world.name(table, TARGET)
        if self.random.random() < 0.3:
            self.bench.world.delete(name, {"id": item["id"]})
            self.theirs.pop(place, None)
            self.lost.add(place)
        else:
            mark = {"theirs": {"N": str(self.random.randrange(1_000_000))}}
            self.bench.world.put(name, item | mark)
            self.theirs[place] = worlds.plain_item(item | mark)

    def check_theirs(self) -> None:
        """What others put there is as they left it."""
        now = {(table, i["id"]["S"]): i for table, items in self.bench.content(TARGET).items() for i in items}
        for place, item in self.theirs.items():
            assert now.get(place) == worlds.plain_item(item), place

    def fail(self, command) -> None:
        """The command, cut off somewhere, or not."""
        rule = self.random.choice(
            ("journal.*=eio@{}", "wire.*.before=error@{}+", "wire.*.after=error@{}+", "wire.*=error@{}")
        )
        stopped(command, rule.format(self.random.randint(1, 60)))
        self.check_theirs()

    def check_caught_up(self) -> None:
        """Every source item whose key nobody else touched is in the target in its last version."""
        now = {(table, i["id"]["S"]): i for table, items in self.bench.content(TARGET).items() for i in items}
        for (table, old_id), item in self.source.items():
            place = (table, new_id(table, old_id)["S"])
            if place in self.theirs or place in self.lost or (table == "Ports" and item["kind"]["S"] != "port"):
                continue
            assert now[place] == worlds.plain_item(expected(table, item)), place

    def restore(self) -> None:
        """Both sides as they were first."""
        for environment, first in ((SOURCE, self.bench.source), (TARGET, self.bench.first)):
            for table, items in first.items():
                name = self.bench.world.name(table, environment)
                for item in self.bench.world.items(name):
                    self.bench.world.delete(name, {"id": item["id"]})
                for item in items:
                    self.bench.world.put(name, item)


def expected(table: str, item: dict) -> dict:
    """What the mapping makes of a source item."""
    made = item | {"id": new_id(table, item["id"]["S"])}
    if "portId" in item:
        made["portId"] = new_id("Ports", item["portId"]["S"])
        made["sisters"] = {"L": [new_id("Ships", sister["S"]) for sister in item["sisters"]["L"]]}
    return made


def sail(bench, seed: int) -> None:
    """A migration, some deltas, and the way back, with edits and failures between all of them."""
    sea = Sea(bench, seed)
    try:
        for _ in range(sea.random.randint(0, 2)):
            sea.fail(sea.flow.migrate)
            sea.edit_source()
            if sea.random.random() < 0.5:
                sea.edit_target()
        sea.flow.migrate()
        for _ in range(sea.random.randint(1, 4)):
            sea.edit_source()
            if sea.random.random() < 0.5:
                sea.edit_target()
            sea.fail(sea.flow.delta)
        if sea.random.random() < 0.7:
            sea.flow.delta()
            report = sea.flow.delta()
            sea.check_theirs()
            sea.check_caught_up()
            assert not any(report["drift"][name] for name in ("added", "inserted", "updated", "failed", "withdrawn"))
            for counts in counts_of(report).values():
                assert counts["scanned"] == sum(counts[n] for n in counts if n != "scanned")
                assert min(counts.values()) >= 0
        sea.flow.rollback()
        sea.check_theirs()
        left = {(table, i["id"]["S"]) for table, items in bench.content(TARGET).items() for i in items}
        assert left == set(sea.theirs)
    except Interrupted as problem:
        raise AssertionError("a command without a fault was interrupted") from problem
    finally:
        failpoints.disarm()
        sea.restore()


@pytest.mark.parametrize("seed", range(6))
def test_edits_and_failures_at_random(seed, bench):
    """Rows 46, 47, 48, 54, a few seeds: what is others' stays theirs, what is ours is caught up with, and goes back."""
    sail(bench, seed)


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=pytest.mark.slow if seed < 11 else pytest.mark.long) for seed in range(6, 100)]
)
def test_many_edits_and_failures_at_random(seed, bench):
    """Rows 46, 47, 48, 54: as above."""
    sail(bench, seed)
