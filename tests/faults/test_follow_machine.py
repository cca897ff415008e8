"""An application that writes all day, and a run that follows it: killed, cut off, stopped, left behind, and asked to cut over.

Each example is a voyage of a few commands, drawn from its seed alone. Between them and in the middle of them an application
changes the source, others edit the target, the streams split, forget and come late, clocks are set, and other operators
give commands for the same run. The last command is a rollback. What must hold is checked after each: see `Voyage`.

The default tier takes a few voyages, always the same; `make soak-follow` takes as many as it is told. A voyage that fails names
its own seed: `make soak SEED=… EXAMPLES=1` takes it alone.
"""

import json
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from faults import machine_operator
from faults.follow_model import (
    BOOK,
    EVENTS,
    MAPPING,
    NEW_OWNERS,
    OWNERS,
    PORTS,
    SHIPS,
    SOURCES,
    SUFFIX,
    TARGETS,
    Model,
    Router,
    differences,
    expect,
    text,
)
from faults.follow_world import REPLIES, Attended, Changes, World
from faults.machine_operator import DONE, INTERRUPTED, KILLED, REFUSED, End, Operator, ended
from support_flows import flow_of
from support_memory import URL, in_place, key_text

from runbook_lib import failpoints
from runbook_lib.journal import audit
from runbook_lib.report.runs.status import status
from runbook_lib.stages.follow.follow import follow
from runbook_lib.walk import control

QUIET = 10.0  # seconds of the gate
LATE = 8.0  # seconds that a record or a shard may come late: less than the gate waits
ASKED = 12  # times that the gate is asked before it must have opened
ENOUGH = 3_000  # rounds of one command
HAPPENED: Counter = Counter()
RUN = "the-first-run"


class Sailor(Operator):
    """An operator who may follow."""

    hook: Callable = staticmethod(lambda states: None)

    def follow(self) -> dict:
        """03 with `follow`."""
        with self._notebook("03_migrate"):
            return self.steps().migrate(self._plan(), partial(follow, hook=self.hook)).content


class Voyage:
    """One example."""

    def __init__(self, world: World, limits: dict):
        self.world, self.memory = world, world.memory
        self.state.model = Model()
        self.state.paused = self.state.known = False
        self.memory.on_write = self.observe
        for name, key in {**SOURCES, **TARGETS}.items():
            self.memory.create(name, key)
        for number, (name, key) in enumerate(SOURCES.items()):
            shards = self.dice.choice((1, 1, 2, 3))
            self.state.streams[name] = Changes(self.state.seconds, name, number, list(key), shards)
        ports = SimpleNamespace(suffix=SUFFIX, engine=SimpleNamespace(endpoint_url=URL))
        outputs = world.folder / "outputs"
        outputs.mkdir()
        self.flow = flow_of(MAPPING, ports, outputs, RUN, **limits)
        self.operator = self.sailor()
        self.run = self.operator.run()
        self.asking = ExitStack()
        self.fault, self.count, self.asked, self.open, self.equal, self.idle = "", 0, None, False, False, False

    def sailor(self) -> Sailor:
        """An operator of the run."""
        return Sailor(self.flow.parameters, self.flow.outputs, RUN)

    @property
    def state(self) -> SimpleNamespace:
        return self.world.state

    @property
    def dice(self):
        return self.world.state.dice

    @property
    def model(self) -> Model:
        return self.world.state.model

    def chance(self, of: float) -> bool:
        """Whether it happens."""
        return self.dice.random() < of

    def log(self, what: str) -> None:
        """For whoever has to understand a failure."""
        self.state.log.append(f"{self.state.seconds.now:.0f} {what}")

    def side(self, tables: dict) -> dict:
        """Place → item, of these tables."""
        return {(name, key): item for name in tables for key, item in self.memory.content(name).items()}

    def observe(self, place, before, after) -> None:
        """Is told of every write."""
        if self.model.sailing and not self.state.known:
            self.learn()
        self.model.observe(self.side(SOURCES), place, before, after)
        self.log(
            f"{'program' if self.model.sailing else 'somebody'}: {place} {'-' if after is None else text(after)[:300]}"
        )
        if place[0] in SOURCES:
            self.state.streams[place[0]].change(before, after)

    # the application, and others

    @contextmanager
    def others(self) -> Iterator[None]:
        """A block in which not the program writes."""
        before, self.model.sailing = self.model.sailing, False
        try:
            yield
        finally:
            self.model.sailing = before

    def write_source(self) -> None:
        """One write of the application."""
        dice = self.dice
        table = dice.choice((PORTS, SHIPS, SHIPS, OWNERS, EVENTS, EVENTS, EVENTS))
        there = sorted(self.memory.content(table))
        how = dice.choice(("put", "put", "change", "change", "delete", "again"))
        with self.others():
            if how == "put" or not there:
                self.memory.put(table, self.item(table))
                return
            key = dice.choice(there)
            item = self.memory.content(table)[key]
            if how == "delete":
                self.memory.delete(table, key)
            elif how == "again":
                self.memory.put(table, item)
            else:
                self.memory.put(table, item | {"news": {"N": str(dice.randrange(3))}})

    def item(self, table: str) -> dict:
        """A source item."""
        dice = self.dice

        def one(letter: str, most: int = 6) -> dict:
            return {"S": f"{letter}{dice.randrange(most)}"}

        if table == PORTS:
            found = {"id": one("p"), "kind": {"S": dice.choice(("port", "port", "light"))}}
            return found | ({"flagship": one("s")} if self.chance(0.5) else {})
        if table == SHIPS:
            found = {"id": one("s"), "portId": one("p"), "v": {"N": str(dice.randrange(3))}}
            found |= {"ownerId": one("o")} if self.chance(0.5) else {}
            return found | ({"sisters": {"L": [one("s"), one("s")]}} if self.chance(0.5) else {})
        if table == OWNERS:
            return {"id": one("o"), "email": one("mail"), "v": {"N": str(dice.randrange(3))}}
        found = {"pk": (name := one("e", 8)), "sk": {"S": "1"}, "id": name}
        found |= {"kind": {"S": dice.choice(("log", "log", "note", "other"))}, "num": {"N": str(dice.randrange(3))}}
        found |= {"month": {"S": dice.choice(("2025-01", "2025-02"))}} if self.chance(0.9) else {}
        found |= {"size": {"S": dice.choice(("12", "7", "many"))}} if self.chance(0.4) else {}
        return found | ({"shipId": one("s")} if self.chance(0.3) else {})

    def edit_target(self) -> None:
        """Somebody edits, deletes or writes once more what is in the target, puts back what was deleted, or adds something."""
        dice, there = self.dice, self.side(TARGETS)
        how = dice.choice(("scalar", "grow", "delete", "again", "back", "new"))
        with self.others():
            if how == "new":
                table = dice.choice(list(TARGETS))
                key = {name: {"S": f"nobody's {dice.randrange(3)}"} for name in TARGETS[table]}
                self.memory.put(table, key | {"v": {"N": str(dice.randrange(9))}})
            elif how == "back":
                gone = sorted(place for place in self.model.removed if place not in there)
                if gone:
                    place = dice.choice(gone)
                    self.memory.replay(place, json.loads(dice.choice(sorted(self.model.versions[place]))))
            elif there:
                place = dice.choice(sorted(there))
                item = there[place]
                change = {"scalar": {"v": {"N": "99"}}, "grow": {"theirs": {"N": str(dice.randrange(9))}}}.get(how, {})
                self.memory.replay(place, None if how == "delete" else item | change)

    def trouble(self) -> None:
        """Something happens to a stream, or to time."""
        dice = self.dice
        name = dice.choice(list(SOURCES))
        stream, state = self.state.streams[name], self.state
        what = dice.choice(
            ("split", "late", "hide", "throttle", "lacking", "empty", "expire", "set", "trim", "order", "page")
        )
        self.log(f"{what} {name}")
        HAPPENED["trouble", what, ""] += 1
        shards = [one.name for one in stream.open()]
        if what == "split" and shards:
            late = [dice.choice((0.0, LATE * self.dice.random())) for _ in range(3)]
            stream.split(dice.choice(shards), dice.choice((1, 2, 3)), late, dice.choice((0.0, LATE)))
        elif what == "late" and shards:
            stream.late[dice.choice(shards)] = state.seconds() + LATE * dice.random()
        elif what == "hide" and shards:
            stream.hide(dice.choice(shards), dice.choice((LATE / 2, LATE)))
        elif what == "throttle":
            codes = ("ThrottlingException", "LimitExceededException", "InternalServerError")
            stream.refusals += [(500 if (code := dice.choice(codes))[0] == "I" else 400, code)] * dice.randrange(1, 4)
        elif what == "lacking":
            stream.replies.append(dice.choice(REPLIES))
        elif what == "empty":
            stream.empty_pages += dice.randrange(1, 3)
        elif what == "expire":
            state.seconds.sleep(1_000.0)
        elif what == "set":
            state.wall.at += timedelta(seconds=dice.choice((-3_600, -30, 30, 3_600)))
        elif what == "trim" and self.chance(0.3):
            for one in state.streams.values():
                one.forget()
            state.seconds.sleep(25 * 3_600.0)
        elif what == "order":
            stream.order += 1
        elif what == "page":
            stream.page, stream.limit = dice.choice((1, 2, 100)), dice.choice((1, 3, 1_000))

    def meddle(self) -> None:
        """Another operator gives a command for the same run."""
        name = self.dice.choice(("follow", "migrate", "delta", "retry", "rollback"))
        before = self.model.writes
        self.log(f"meddles with {name}")
        end = ended(lambda: self.sailor().command(name))
        assert end.how == REFUSED, (name, end)
        assert self.model.writes == before, name
        HAPPENED["meddle", name, end.how] += 1

    # one command

    def command(self, name: str, fault: str, rounds: int, end: str) -> End:
        """One command, with a fault, and how it ended: what must hold after it, whatever it was."""
        model = self.model
        self.fault, self.count, self.rounds, self.left, self.end = fault, 0, 0, rounds, end
        self.at = int(4 ** (1 + 3.6 * self.dice.random()))  # the point at which the fault comes
        self.asked, self.times, self.met = None, 0, False
        control.clear(self.run)
        self.log(f"{name} {fault} at {self.at}, {rounds} rounds, then {end}")
        model.sailing, model.writes, model.round = True, 0, model.step
        model.may_delete = {"follow": "stale", "delta": True, "rollback": True}.get(name, False)
        self.operator.hook = self.hook
        self.operator.on_page = self.page

        def work() -> dict:
            return self.operator.command(name)

        try:
            if fault == "kill":
                found = self.world.killed(work, lambda point: self.reached(point))
            else:
                with machine_operator.armed(self.reached):
                    found = ended(work)
        finally:
            self.model.sailing = False
            Attended.now = None
            self.asking.close()
        self.log(f"  {found.how} {found.sentence}")
        HAPPENED[name, fault or "no fault", found.how] += 1
        self.check(name, fault, found)
        return found

    def reached(self, point: str) -> bool:
        """Is told of each failpoint; whether the process is to be killed there."""
        self.count += 1
        wire, harmless = point.startswith("wire."), self.fault in ("", "stop", "by hand")
        if wire and not self.state.paused and not self.idle:
            if self.chance(0.03):
                self.write_source()
            elif harmless and self.chance(0.02):
                self.edit_target()
        if not self.met and point == "wire.GetRecords.before" and self.chance(0.01):
            self.met = True
            failpoints.disarm()
            self.meddle()
            failpoints.arm(self.reached)
        if self.fault == "lost" and wire and self.chance(0.04):
            raise ConnectionResetError("lost")
        if self.fault == "gone" and wire and self.count >= self.at:
            raise ConnectionResetError("gone")
        if self.fault == "disk" and not wire and self.count >= self.at and self.chance(0.3):
            self.at = 10**9
            raise OSError(28, "No space left on device")
        return self.fault == "kill" and self.count >= self.at

    def page(self, *_: object) -> None:
        """After a page, and after each round."""
        if Attended.now and self.chance(0.2):
            Attended.now.look(self.world.sleep)
        control.check(self.run)

    def hook(self, states) -> str | None:
        """Once a round: the application goes on; in the end somebody stops it, or asks whether to cut over."""
        self.rounds += 1
        self.model.round = self.model.step
        if not self.state.known:
            self.learn()
        assert self.rounds < ENOUGH, "it never came to an end"
        if self.end == "quiet":
            return "quiet" if all(state.caught_up for state in states.values()) else None
        if self.times <= ASKED // 2 and self.chance(0.25):
            self.trouble()
        if self.asked:
            return self.judge()
        if not self.state.paused:
            for _ in range(self.dice.choice((0, 0, 1, 1, 2, 5))):
                self.write_source()
            if self.chance(0.15):
                self.edit_target()
        if self.rounds < self.left:
            return None
        if self.end == "stop":
            control.request_stop(self.run)
        elif self.end == "by hand":
            raise KeyboardInterrupt
        elif self.end == "done":
            return "done"
        elif self.end == "gate":
            self.world.sleep(self.dice.choice((0.0, 60.0)))  # the application has been silent for a while
            for _ in range(self.dice.randrange(3)):  # the last ones, which may come late
                self.write_source()
            if self.chance(0.5):
                for stream in self.state.streams.values():
                    stream.late |= {one.name: self.state.seconds() + LATE * self.dice.random() for one in stream.open()}
            self.state.paused = True
            self.ask()
        return None

    # the gate

    def ask(self) -> None:
        """The application has stopped, and somebody asks."""
        self.times += 1
        accept = self.times > ASKED // 2 or self.chance(0.5)
        self.log(f"asks, accept_drift={accept}")
        self.asking.close()
        self.asked = self.asking.enter_context(control.asking_cutover(self.run, QUIET, accept_drift=accept))

    def judge(self) -> str | None:
        """Waits for an answer."""
        answers = [json.loads(path.read_text()) for path in self.run.json_files("cutover")]
        answer = next((one for one in answers if one["request"] == self.asked.id), None)
        if answer is None:
            return None
        self.log(f"  answer: {answer['verdict']} {answer['missing']}")
        HAPPENED["gate", answer["verdict"], ""] += 1
        assert not answer["open"], "it is open, and following goes on"
        assert self.times < ASKED, f"it does not open: {answer['missing']}"
        self.ask()
        return None

    def learn(self) -> None:
        """The matches are frozen."""
        path = self.run.folder / "plan-matches.jsonl"
        matched = {}
        for line in path.read_text().splitlines() if path.exists() else ():
            one = json.loads(line)
            matched[one["table"], key_text(one["key"])] = one["target_id"]
        self.state.known = True
        self.model.know(Router(matched), self.side(SOURCES))

    # what must hold

    def listed(self, *names: str) -> set:
        """(Entry, source key) of the items that listings name."""
        found = set()
        for name in names or ("drift", "conflicts", "quarantine", "failed"):
            for line in self.operator.listing(name):
                found.add((line["table"], key_text(line["key"])))
        return found

    def check(self, name: str, fault: str, end: End) -> None:
        """After each command."""
        model = self.model
        assert not model.wrong, model.wrong
        assert not model.taken, f"not put back: {model.taken}"
        assert "\n" not in end.sentence, end.sentence
        allowed = {
            "kill": {DONE, KILLED},
            "lost": {DONE, INTERRUPTED},
            "gone": {DONE, INTERRUPTED, REFUSED},
            "disk": {DONE, INTERRUPTED, REFUSED},
        }.get(fault, {DONE})
        assert end.how in allowed | ({INTERRUPTED} if self.end in ("stop", "by hand") else set()), end
        held = self.side(TARGETS)
        for place, item in model.theirs.items():
            assert held.get(place) == item, f"an edit is lost: {place}"
        if end.how == DONE:
            found = audit.verify(self.run)
            assert not found.problems, found.problems
            if "totals" in end.report and name != "rollback":
                self.add_up(end.report)
        status(self.run)
        if end.how == DONE and name == "follow" and self.asked and not end.report.get("stopped"):
            self.check_open()

    @staticmethod
    def add_up(report: dict) -> None:
        """Invariant 4."""
        parts = ("inserted", "already_there", "conflicts", "quarantined", "failed", "expired", "matched")
        for entry, counts in report["tables"].items():
            numbers = [counts[part] for part in parts]
            assert min(numbers) >= 0, (entry, counts)
            assert counts["scanned"] == sum(numbers), (entry, counts)

    def check_open(self) -> None:
        """The gate has opened: an independent comparison finds the same."""
        expected, target = expect(self.model.router, self.side(SOURCES)), self.side(TARGETS)
        told, silent = differences(expected, target, self.model, self.listed())
        assert not silent, f"it opened, and both sides are not equal: {silent}"
        self.open, self.equal = True, not self.listed("drift")
        HAPPENED["open", "with a list" if told else "equal", ""] += 1

    def go(self) -> None:
        """All of it."""
        dice = self.dice
        for _ in range(dice.randrange(8, 25)):
            self.write_source()
        with self.others():
            for n in range(dice.randrange(3)):
                self.memory.put(NEW_OWNERS, {"id": {"S": f"r{n}"}, "email": {"S": f"mail{n}"}})
            for n in range(dice.randrange(2)):
                self.memory.put(BOOK, {"PK": {"S": "2025-01"}, "SK": {"S": str(n)}, "theirs": {"BOOL": True}})
        if self.chance(0.2):
            self.idle = True
            self.command("migrate", "", 0, "done")
            self.idle = False
        for _ in range(dice.randrange(1, 5)):
            for _ in range(dice.randrange(4)):
                (self.write_source if self.chance(0.7) else self.edit_target)()
            if self.chance(0.3):
                self.trouble()
            if self.chance(0.05):
                self.state.streams[dice.choice(list(SOURCES))].turn_on_again()
            fault = dice.choice(("", "", "", "kill", "kill", "kill", "lost", "gone", "disk"))
            self.command("follow", fault, dice.randrange(1, 12), dice.choice(("stop", "by hand", "done", "gate")))
            self.state.paused = False
        self.command("follow", "", dice.randrange(1, 6), "gate")
        assert self.open
        self.command("follow", "", 0, "quiet")
        # What is listed is looked at again when following begins: somebody may have decided.
        assert not (self.equal and self.model.writes), "what was applied was applied again"
        self.state.paused = False
        for _ in range(dice.randrange(4)):
            (self.write_source if self.chance(0.3) else self.edit_target)()
        self.idle = True
        while self.chance(0.3):
            self.command("rollback", "kill", 0, "done")
        self.command("rollback", "", 0, "done")
        assert not self.model.mine, f"left behind: {sorted(self.model.mine)}"
        held = self.side(TARGETS)
        for place in held:
            assert place in self.model.theirs, f"left behind: {place}"


def sail(seed: int) -> None:
    """One voyage."""
    folder = Path(tempfile.mkdtemp(prefix="voyage-"))
    try:
        with World(folder, seed) as world:
            dice = world.state.dice
            world.memory.page, world.memory.keys = dice.choice((1, 2, 5, 100)), 7
            world.memory.batches = dice.choice((True, False))
            with in_place(world.memory):
                voyage = None
                try:
                    voyage = Voyage(world, {"workers": 1} | dice.choice(({}, {}, {"segments": 2})))
                    voyage.go()
                except BaseException as problem:
                    for line in world.state.log:
                        print(line)
                    problem.add_note(f"To see it again: make soak-follow SEED={seed} EXAMPLES=1")
                    raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        machine_operator.close_logs()


@pytest.mark.parametrize(
    "examples",
    [2, pytest.param(25, marks=pytest.mark.slow), pytest.param(500, marks=pytest.mark.long)],
)
def test_whatever_happens(request, examples):
    """At the gate both sides are equal, no edit is lost, nothing is applied twice, and a rollback takes back what came."""
    examples, seed = request.config.getoption("--soak") or examples, request.config.getoption("--seed")
    HAPPENED.clear()
    began = time.monotonic()
    for number in range(examples):
        sail(seed + number)
    print(f"{examples} voyages from seed {seed}, {examples / (time.monotonic() - began) * 60:.0f} a minute")
    for (what, how, end), times in sorted(HAPPENED.items()):
        print(f"{what:9} {how:18} {end:12} {times:5}")
