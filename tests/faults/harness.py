"""One small migration that is made to fail at any point, and what must hold after that.

Two tables, parents and children, two pages each; in the target items of others: equal to ours, different under our key,
unrelated. One world serves many failures, because each of them leaves it as it was: the source is never written, and a
rollback gives the target's first content back. That this is so is what is tested.
"""

import contextlib
import functools
import itertools
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import support_batches
import support_worlds as worlds
from support_crashes import KILLED, in_child
from support_flows import Flow, flow_of

from runbook_lib import failpoints
from runbook_lib.dynamo import session
from runbook_lib.dynamo.items import Wire
from runbook_lib.errors import Interrupted, Refused
from runbook_lib.stages.rollback import undo as rollback

SOURCE, TARGET = worlds.SOURCE, worlds.TARGET
PAGE = 4  # source items a page
MAPPING = "{Ports: {where: {kind: port}}, Ships: {references: {portId: Ports, 'sisters[]': Ships}}}"
# Of 6 ports and 7 ships one ship is already there, and the key of another is taken; a lighthouse is selected by nobody.
PORTS, SHIPS, INSERTED = 6, 7, 11
COMPARED = ("tables", "totals", "verdict", "relationships", "relationships_preserved")
_wires: list[Wire] = []  # that are used by one flow after the other


class Way(NamedTuple):
    """How items come into the target."""

    engine: str
    operation: str
    point: str  # of the failpoints `wire.POINT.before` and `wire.POINT.after` around an insert
    together: int = 1  # about so many items are inserted between these

    def after(self, inserts: int, action: str = "kill") -> str:
        """The rule that fails when about so many items have landed; only the batches of ministack land as a whole."""
        return f"wire.{self.point}.after={action}@{-(-inserts // self.together)}"


PUTS = Way("moto", "PutItem", "PutItem")
WAYS = {
    "puts": PUTS,
    "batches": Way("moto", support_batches.OPERATION, "Statement"),
    "ministack": Way("ministack", support_batches.OPERATION, support_batches.OPERATION, 3),
}


def new_id(entry: str, old: str) -> dict:
    """The new id of an old one, typed."""
    return {"S": worlds.new_id(TARGET, entry, "uuid", "S", old)}


def ship(number: int) -> dict:
    """A source item."""
    sister = {"S": f"s{(number + 1) % SHIPS}"}
    return {"id": {"S": f"s{number}"}, "portId": {"S": f"p{number % PORTS}"}, "sisters": {"L": [sister]}}


def sea(world: worlds.World) -> None:
    """Builds the tables of both sides."""
    key = {"key": {"id": "S"}}
    ports = [{"id": {"S": f"p{n}"}, "kind": {"S": "port"}, "depth": {"N": str(n)}} for n in range(PORTS)]
    ports.append({"id": {"S": "l0"}, "kind": {"S": "lighthouse"}})
    ships = [ship(number) for number in range(SHIPS)]
    world.build({"Ports": key | {"items": ports}, "Ships": key | {"items": ships}}, SOURCE)
    equal = {
        "id": new_id("Ships", "s2"),
        "portId": new_id("Ports", "p2"),
        "sisters": {"L": [new_id("Ships", "s3")]},
    }
    residents = [equal, {"id": new_id("Ships", "s5"), "theirs": {"BOOL": True}}, {"id": {"S": "nobody's"}}]
    world.build({"Ports": key, "Ships": key | {"items": residents}}, TARGET)


def by(*ways: str) -> pytest.MarkDecorator:
    """A mark: tests with the bench run once for each of these ways; on ministack only in the slow tier."""
    marks = {"ministack": pytest.mark.slow}
    values = [pytest.param(way, marks=marks.get(way, ())) for way in ways]
    return pytest.mark.parametrize("_bench", values, indirect=True, scope="module")


class Bench:
    """The world, what it was first, and what an untouched migration makes of it."""

    def __init__(self, world: worlds.World, folder: Path, way: Way = PUTS, **limits: Any):
        """Runs the untouched migration and takes it back."""
        self.world, self.way, self._folder, self._limits = world, way, folder, {"workers": 1} | limits
        self._numbers = itertools.count()
        sea(world)
        self.source, self.first = self.content(SOURCE), self.content(TARGET)
        flow = self.flow()
        self.report = flow.migrate()
        self.after = self.content(TARGET)
        assert self.report["totals"] == {
            "scanned": PORTS + SHIPS,
            "inserted": INSERTED,
            "already_there": 1,
            "conflicts": 1,
            "quarantined": 0,
            "failed": 0,
            "expired": 0,
            "matched": 0,
            "unrouted": 1,
        }
        assert self.report["relationships"] == 2 * (SHIPS - 1)  # those of the conflict do not count
        assert bool(flow._plan().target.wire.why_single(world.name("Ships", TARGET), ("id",))) == (way == PUTS)
        flow.rollback()
        self.check_back()

    def flow(self, **limits: Any) -> Flow:
        """A migration of this world in a run of its own, not yet begun."""
        close_logs()
        if self.way.point == "Statement":  # it asks anew whether batches are taken
            for wire in _wires:
                wire._batches._single.clear()
        outputs = self._folder / f"{next(self._numbers):05}"
        outputs.mkdir()
        return flow_of(MAPPING, self.world, outputs, **self._limits | limits)

    def content(self, environment: str) -> dict[str, list[dict]]:
        """Table → its items, for one side."""
        return {table: self.world.items(self.world.name(table, environment)) for table in ("Ports", "Ships")}

    def landed(self) -> int:
        """How many items the target holds that were not there first."""
        now = self.content(TARGET)
        return sum(item not in self.first[table] for table, items in now.items() for item in items)

    def check_unharmed(self) -> None:
        """Every item that was in the target first is as it was."""
        now = self.content(TARGET)
        for table, items in self.first.items():
            for item in items:
                assert item in now[table]

    def check_whole(self, report: dict[str, Any]) -> None:
        """Target and counts are those of the untouched run."""
        assert self.content(TARGET) == self.after
        for key in COMPARED:
            assert report[key] == self.report[key], key
        assert report["id_map"]["rows"] == self.report["id_map"]["rows"]

    def check_back(self) -> None:
        """Source and target are as they were first."""
        assert self.content(TARGET) == self.first
        assert self.content(SOURCE) == self.source

    def edit(self) -> list[tuple[str, dict]]:
        """Changes one migrated item and lets another grow by an attribute, as an application does; gives both."""
        found = []
        now = self.content(TARGET)["Ports"]
        mine = [item for item in now if item not in self.first["Ports"]]
        for item, change in zip(mine, ({"depth": {"N": "99"}}, {"extra": {"S": "theirs"}}), strict=False):
            self.world.put(self.world.name("Ports", TARGET), item | change)
            found.append(("Ports", item | change))
        return found

    def clear(self) -> None:
        """Makes the target what it was first, for the next test, where one left it otherwise."""
        if self.content(TARGET) == self.first:
            return
        for table, items in self.first.items():
            name = self.world.name(table, TARGET)
            for item in self.world.items(name):
                self.world.delete(name, {"id": item["id"]})
            for item in items:
                self.world.put(name, item)

    def check_back_but(self, edited: list[tuple[str, dict]]) -> None:
        """The target is as it was first, and holds what was edited; then that goes, too."""
        wanted = {
            name: worlds.plain_items([*items, *(i for n, i in edited if n == name)])
            for name, items in self.first.items()
        }
        assert self.content(TARGET) == wanted
        for table, item in edited:
            self.world.delete(self.world.name(table, TARGET), {"id": item["id"]})
        self.check_back()


def killed(work: Callable[[], Any], points: str) -> bool:
    """Whether the work, done in a child process, was killed at one of the points."""

    def alone() -> None:
        for wire in _wires:
            wire._batches._pool = None  # its threads are not here
            wire._transport._idle.clear()  # two processes on one connection would get each other's replies

    code = in_child(work, alone, lambda: failpoints.arm(points))
    assert code in (0, KILLED), points
    return code == KILLED


def stopped(work: Callable[[], Any], points: str) -> bool:
    """Whether the work, done in this process, was stopped at one of the points: interrupted or refused, in one sentence."""
    with armed(points):
        try:
            work()
        except (Interrupted, Refused) as problem:
            sentence = str(problem)
        else:
            return False
    assert "\n" not in sentence, points
    return True


@contextlib.contextmanager
def armed(points: str | Callable[[str], object]) -> Iterator[Any]:
    """A block in which points fail; gives what is armed."""
    try:
        yield failpoints.arm(points)
    finally:
        failpoints.disarm()


def open_page(bench: Bench) -> Flow:
    """A migration that died with a page open, of which some items have landed."""
    flow = bench.flow()
    assert killed(flow.migrate, bench.way.after(9))
    assert 0 < bench.landed() < INSERTED
    return flow


def close_logs() -> None:
    """Closes the run logs of earlier flows, of which a loop makes hundreds."""
    for name in [name for name in logging.Logger.manager.loggerDict if name.startswith("runbook./")]:
        logger = logging.getLogger(name)
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
            handler.close()


def has_checkpoint(flow: Flow) -> bool:
    """Whether the run came so far as to write its checkpoint."""
    return any((flow.outputs / flow.run_id).glob("migration-checkpoint-*.json"))


def quicken(monkeypatch) -> None:
    """Small pages, no waiting before retries, connections opened once."""
    scan_page, connect = Wire.scan_page, session.connect

    def few(wire: Wire, table: str, **options: Any):
        return scan_page(wire, table, **({"limit": PAGE} if wire.label == "source" else {}) | options)

    @functools.cache
    def known(endpoint: str, label: str, workers: int):
        connection = connect(sides[endpoint, label], label, workers=workers)
        _wires.append(connection.wire)
        return connection

    sides: dict = {}

    def connect_once(side: Any, label: str, *, workers: int = 8, **_: Any):
        sides[side.endpoint_url, label] = side
        return known(side.endpoint_url, label, workers)

    monkeypatch.setattr(Wire, "scan_page", few)
    monkeypatch.setattr(Wire, "_back_off", lambda *_: None)
    monkeypatch.setattr(session, "connect", connect_once)
    assert rollback.session is session  # both ways of connecting go through the same name
