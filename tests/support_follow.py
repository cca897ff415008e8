"""A fleet whose source has a stream, and hooks that end following when there is nothing left."""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import support_worlds as worlds
from support_flows import Flow, flow_of

from runbook_lib.dynamo.streams import reader
from runbook_lib.dynamo.streams.reader import StreamReader
from runbook_lib.dynamo.streams.wire import StreamRequests
from runbook_lib.errors import PositionLost
from runbook_lib.stages.follow import follow as following
from runbook_lib.stages.follow.follow import follow

SOURCE, TARGET = worlds.SOURCE, worlds.TARGET
DONE = "nothing is left"


def hurry(monkeypatch) -> None:
    """Shards are asked again at once: moto's streams throttle nobody."""
    for module, name in ((reader, "EMPTY"), (reader, "BEHIND"), (reader, "LIST"), (following, "IDLE")):
        monkeypatch.setattr(module, name, 0.01)
    monkeypatch.setattr(StreamRequests, "_back_off", lambda *_: None)


def turn_on(world: worlds.World, table: str, view: str = "NEW_AND_OLD_IMAGES") -> None:
    """Gives a source table a stream."""
    about = {"StreamEnabled": True, "StreamViewType": view}
    world.engine.call("UpdateTable", TableName=world.name(table, SOURCE), StreamSpecification=about)


def until_quiet(states) -> str | None:
    """A hook: ends when no table has anything left."""
    return DONE if all(state.caught_up for state in states.values()) else None


class Script:
    """A hook that does one thing after the other, each when nothing of the one before is left; then it ends."""

    def __init__(self, *steps: Callable[[], object]):
        self._left = list(steps)

    def __call__(self, states) -> str | None:
        if not until_quiet(states):
            return None
        if not self._left:
            return DONE
        self._left.pop(0)()
        return None


def followed(flow: Flow, hook: Callable = until_quiet, tables: Sequence[str] | None = None) -> dict[str, Any]:
    """03 with `follow`: its report."""
    with flow._notebook("03_migrate"):
        return flow.steps().migrate(flow._plan(tables), partial(follow, hook=hook)).content


def last_report(flow: Flow) -> dict[str, Any]:
    """The report of an execution that was stopped: no record names it yet."""
    return json.loads(sorted(flow.run().folder.glob("migration-report-*.json"))[-1].read_text())


def lose_positions(monkeypatch, times: int = 1) -> None:
    """The next reads of any stream find that what came next is gone."""
    read, left = StreamReader.read, [None] * times

    def lost(one):
        if left:
            left.pop()
            raise PositionLost("it is gone")
        return read(one)

    monkeypatch.setattr(StreamReader, "read", lost)


def figures(report: dict[str, Any]) -> dict[str, int]:
    """What following did, in sum, without figures that are 0 and without records."""
    found: dict[str, int] = {}
    for table in report["follow"]["tables"].values():
        for name in ("inserted", "replaced", "deleted", "drifted"):
            found[name] = found.get(name, 0) + table[name]
    return {name: number for name, number in found.items() if number}


class Fleet:
    """Ships, some of them already in the target; a stream on the source."""

    def __init__(
        self,
        world: worlds.World,
        outputs,
        ships: int = 10,
        mapping: str = "{Ships: {}}",
        *,
        stream: bool = True,
        **limits: Any,
    ):
        self.world = world
        key = {"key": {"id": "S"}}
        world.build({"Ships": key | {"items": [self.ship(n) for n in range(ships)]}}, SOURCE)
        theirs = [{"id": {"S": "nobody's"}}]
        world.build({"Ships": key | {"items": theirs}}, TARGET)
        if stream:
            turn_on(world, "Ships")
        self.first = world.content(TARGET)
        self.flow = flow_of(mapping, world, outputs, **limits)

    @staticmethod
    def ship(number: int, sails: str = "white") -> dict:
        return {"id": {"S": f"s{number}"}, "sails": {"S": sails}, "crew": {"L": [{"N": str(number)}]}}

    def copy(self, number: int, sails: str = "white") -> dict:
        """What the migration makes of a ship."""
        return self.ship(number, sails) | {"id": self.new_id(number)}

    @staticmethod
    def new_id(number: int) -> dict:
        return {"S": worlds.new_id(TARGET, "Ships", "uuid", "S", f"s{number}")}

    def put(self, *items: dict) -> None:
        """In the source."""
        for item in items:
            self.world.put(self.world.name("Ships", SOURCE), item)

    def sink(self, *numbers: int) -> None:
        """In the source."""
        for number in numbers:
            self.world.delete(self.world.name("Ships", SOURCE), {"id": {"S": f"s{number}"}})

    def edit(self, item: dict) -> None:
        """In the target."""
        self.world.put(self.world.name("Ships", TARGET), item)

    def remove(self, number: int) -> None:
        """In the target."""
        self.world.delete(self.world.name("Ships", TARGET), {"id": self.new_id(number)})

    def check(self, *theirs: dict, **sails: str) -> None:
        """The target holds the copies s0=…, s1=…, and what others put there."""
        mine = [self.copy(int(name[1:]), colour) for name, colour in sails.items()]
        wanted = worlds.plain_items([*mine, *theirs, *self.first["Ships"]])
        assert self.world.content(TARGET)["Ships"] == wanted

    def journals(self) -> dict[str, bytes]:
        """The table files of the migration's journal."""
        return {path.name: path.read_bytes() for path in self.flow.run().journal("migrate").glob("Ships*")}


def white(*numbers: int) -> dict[str, str]:
    """Ships as they were first."""
    return {f"s{number}": "white" for number in numbers}


def lines(flow: Flow) -> Iterator[tuple[str, str]]:
    """Old id and reason of each line of `drift.jsonl`."""
    return ((line["key"]["id"]["S"], line["reason"]) for line in flow.listing("drift"))
