"""Source items whose target keys change, and whose new keys others may have: a delta loses none of them, wherever it ends.

Beads on hooks: a bead's hook is its key in the target. Each case says on which hooks the beads are first and then, what the
application does in between, and what hangs there in the end. The engine is in this process, and every write of the program
is looked at: a bead must hang somewhere all the time, unless its old hook is the only place for it.
"""

import contextlib
import itertools
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from faults.machine_operator import close_logs
from support_flows import Flow, flow_of
from support_memory import URL, Memory, in_place, key_text

from runbook_lib import failpoints
from runbook_lib.journal import audit
from runbook_lib.journal.stage import Stage
from runbook_lib.run.locks import locks
from runbook_lib.stages.migrate.delta import catch_up

SOURCE, TARGET = "Beads-dev-mem", "Hooks-prod-mem"
MAPPING = f"{{Beads: {{source: {SOURCE}, target: {TARGET}, id_format: keep}}}}"
LETTERS = ("inserted", "already_there", "conflicts", "quarantined", "failed")


class Case(NamedTuple):
    """What happens: bead → hook; hook → what is there, a bead or "theirs", "edited" or None."""

    before: dict[str, str]
    after: dict[str, str]
    theirs: dict[str, str | None]  # what the application does before the delta
    then: dict[str, str]  # what hangs there after the delta: a bead, "theirs" or "edited BEAD"
    figures: dict[str, int]
    absent: str = ""  # beads that hang nowhere between a delete and an insert

    @property
    def beads(self) -> set[str]:
        """All, with those that are new."""
        return {*self.before, *self.after}


CASES = {
    "moves": Case({"a": "1", "b": "2"}, {"a": "3", "b": "2"}, {}, {"3": "a", "2": "b"}, {"updated": 1}),
    "stays": Case({"a": "1"}, {"a": "1*"}, {}, {"1": "a"}, {"updated": 1}, "a"),
    "another-has-the-new-key": Case(
        {"a": "1", "b": "2"}, {"a": "3", "b": "2"}, {"3": "theirs"}, {"1": "a", "2": "b", "3": "theirs"}, {"conflicts": 1}
    ),
    "an-equal-one-has-the-new-key": Case({"a": "1"}, {"a": "3"}, {"3": "a"}, {"3": "a"}, {"updated": 1}),
    "a-new-one-where-another-leaves": Case(
        {"a": "1"}, {"a": "3", "b": "1"}, {}, {"1": "b", "3": "a"}, {"updated": 1, "inserted": 1}
    ),
    "swap": Case({"a": "1", "b": "2"}, {"a": "2", "b": "1"}, {}, {"1": "b", "2": "a"}, {"updated": 2}, "ab"),
    "circle": Case(
        {"a": "1", "b": "2", "c": "3", "d": "4"},
        {"a": "2", "b": "3", "c": "1", "d": "2"},
        {},
        {"1": "c", "2": "a", "3": "b", "4": "d"},
        {"updated": 3, "outdated": 1},
        "abc",
    ),
    "chain": Case(
        {"a": "1", "b": "2", "c": "3", "d": "4"},
        {"a": "2", "b": "3", "c": "4", "d": "5"},
        {},
        {"2": "a", "3": "b", "4": "c", "5": "d"},
        {"updated": 4},
    ),
    "chain-with-a-stop": Case(
        {"a": "1", "b": "2", "c": "3"},
        {"a": "2", "b": "3", "c": "4"},
        {"4": "theirs"},
        {"1": "a", "2": "b", "3": "c", "4": "theirs"},
        {"conflicts": 3},
    ),
    "the-holder-is-gone-from-the-source": Case(
        {"a": "1", "b": "2"}, {"a": "2"}, {}, {"1": "a", "2": "b"}, {"conflicts": 1, "deleted": 1}
    ),
    "edited-meanwhile": Case(
        {"a": "1", "b": "2"}, {"a": "2", "b": "3"}, {"2": "edited b"}, {"1": "a", "2": "edited b"},
        {"conflicts": 1, "kept_edited": 1},
    ),
    "deleted-meanwhile": Case({"a": "1", "b": "2"}, {"a": "3", "b": "2"}, {"1": None}, {"2": "b"}, {"kept_edited": 1}),
}  # fmt: skip


class Dead(BaseException):
    """The end of the process, as far as one process can play it: nothing more is sent or written."""


class Hooks:
    """The two tables and the run of a case."""

    def __init__(self, case: Case, outputs):
        self.case, self.memory = case, Memory(page=2, keys=3)
        self.memory.create(SOURCE, {"id": "S"})
        self.memory.create(TARGET, {"hook": "S"})
        for bead, hook in case.before.items():
            self.memory.put(SOURCE, source(bead, hook))
        self.others = {"0": item("somebody", "0")}
        self.memory.put(TARGET, self.others["0"])
        world = SimpleNamespace(suffix="mem", engine=SimpleNamespace(endpoint_url=URL))
        self.flow: Flow = flow_of(MAPPING, world, outputs, workers=1)

    def change(self) -> None:
        """What the source and the application do before the delta."""
        for bead, hook in self.case.before.items():
            if bead not in self.case.after:
                self.memory.delete(SOURCE, key_text({"id": {"S": bead}}))
            elif self.case.after[bead] != hook:
                self.memory.put(SOURCE, source(bead, self.case.after[bead], "2"))
        for bead in self.case.after.keys() - self.case.before.keys():
            self.memory.put(SOURCE, source(bead, self.case.after[bead]))
        for hook, what in self.case.theirs.items():
            if what is None:
                self.memory.delete(TARGET, key_text({"hook": {"S": hook}}))
            else:
                self.others[hook] = self.item_of(hook, what)
                self.memory.put(TARGET, self.others[hook])

    def item_of(self, hook: str, what: str) -> dict:
        """The item that a case means."""
        if what == "theirs" or what.startswith("edited"):
            return item(what, hook)
        if what.startswith("old "):
            return item(what.removeprefix("old "), hook)
        moved = hook == self.case.after.get(what, "").strip("*")
        return item(what, hook, "2" if moved and self.case.before.get(what, hook) != self.case.after[what] else "1")

    def target(self) -> dict[str, dict]:
        """Hook → item."""
        return {one["hook"]["S"]: one for one in self.memory.content(TARGET).values()}

    def wanted(self, then: dict[str, str] | None = None) -> dict[str, dict]:
        """The same, as the case says."""
        found = {hook: self.item_of(hook, what) for hook, what in (then or self.case.then).items()}
        return found | {"0": self.others["0"]}

    @contextlib.contextmanager
    def watched(self):
        """A block in which the program loses no bead, and touches nothing of others."""
        beads = {one["id"]["S"] for one in self.target().values()}

        def look(place: tuple, before: dict | None, after: dict | None) -> None:
            assert place[0] == TARGET
            assert before is None or after is None, "something is overwritten"
            now = {text: one for text, one in self.memory.content(TARGET).items() if text != place[1]}
            now |= {} if after is None else {place[1]: after}
            lost = beads - {one["id"]["S"] for one in now.values()} - set(self.case.absent)
            assert not lost, f"{lost} hang nowhere"
            hook = json.loads(place[1])["hook"]["S"]
            assert hook not in self.others, f"{hook} is not ours"

        self.memory.on_write = look
        try:
            yield
        finally:
            self.memory.on_write = lambda *_: None

    def delta(self) -> dict[str, Any]:
        """The pass, with what must hold after any of them."""
        report = self.flow.delta()
        for counts in report["tables"].values():
            assert counts["scanned"] == sum(counts[name] for name in LETTERS)
        assert report["totals"]["scanned"] == report["id_map"]["rows"] == len(self.case.beads)
        return report

    def check_back(self) -> dict[str, int]:
        """A rollback leaves what others put there, and no more."""
        counts = self.flow.rollback()["rollback"]
        assert self.target() == self.others
        return counts


def source(bead: str, hook: str, v: str = "1") -> dict:
    """A bead of the source; its value changes with its hook, and with a star alone."""
    return item(bead, hook.strip("*"), v)


def item(bead: str, hook: str, v: str = "1") -> dict:
    """What hangs on a hook."""
    return {"hook": {"S": hook}, "id": {"S": bead}, "v": {"N": v}}


def dying(number: int):
    """To be armed: everything ends at the Nth point."""
    left = iter(range(1, number))

    def reached(point: str) -> None:
        if point.startswith(("wire.", "journal.append.")) and next(left, None) is None:
            raise Dead

    return reached


@contextlib.contextmanager
def migrated(case: Case, outputs: Path):
    """A case after its migration and all that happened then; what is written to disk is not waited for."""
    outputs.mkdir()
    hooks = Hooks(case, outputs)
    with in_place(hooks.memory), pytest.MonkeyPatch.context() as patch:
        patch.setattr(locks, "FOLDER", outputs)
        patch.setattr(os, "fsync", lambda descriptor: None)
        hooks.flow.migrate()
        hooks.change()
        yield hooks


@pytest.mark.parametrize("name", CASES)
def test_a_change_of_keys(name, tmp_path):
    """All hang where they should, what is not done is listed, a second pass finds the same; a rollback leaves the others'."""
    case = CASES[name]
    with migrated(case, tmp_path / "runs") as hooks:
        audit.begin(hooks.flow.run(), "03_migrate")
        planned = catch_up(hooks.flow.run(), hooks.flow._plan(), write=False).drift
        with hooks.watched():
            report = hooks.delta()
        assert hooks.target() == hooks.wanted()
        figures = {
            name: n for name, n in report["drift"].items() if n and name not in ("looked_at", "changed", "added")
        }
        assert figures == case.figures
        assert planned.as_json() == report["drift"]
        left = {name: n for name, n in figures.items() if name not in ("updated", "inserted")}
        assert (report["verdict"] == "REVIEW") == bool(left)
        assert len(hooks.flow.listing("drift")) == sum(figures.values())
        again = hooks.delta()["drift"]
        assert {name: n for name, n in again.items() if n and name not in ("looked_at", "changed")} == left
        assert hooks.target() == hooks.wanted()
        hooks.check_back()


@pytest.mark.parametrize(
    "step", [23, pytest.param(11, marks=pytest.mark.slow), pytest.param(1, marks=pytest.mark.long)]
)
@pytest.mark.parametrize("name", CASES)
def test_a_change_of_keys_that_is_cut_off(name, step, tmp_path):
    """At one request or record after the other: given again it ends as if nothing had been, and it can be rolled back at once.

    A reply that is lost there is nothing to give it again for.
    """
    with migrated(CASES[name], tmp_path / "first") as hooks:
        tables = {name: dict(table.items) for name, table in hooks.memory.tables.items()}
        for number in itertools.count(step // 3 + 1, step):
            for way in ("again", "back", "reply"):
                hooks.flow.outputs = tmp_path / f"{number}-{way}"
                shutil.copytree(tmp_path / "first", hooks.flow.outputs)
                for table, items in tables.items():
                    hooks.memory.tables[table].items = dict(items)
                try:
                    if not ends_well(hooks, number, way):
                        return
                except BaseException as problem:
                    problem.add_note(f"at {number}, {way}")
                    raise
                finally:
                    close_logs()
                    shutil.rmtree(hooks.flow.outputs)


def ends_well(hooks: Hooks, number: int, way: str) -> bool:
    """Whether there was an Nth point; a delta was cut off there, or lost a reply, and all is as it must be after that."""
    run, plan = hooks.flow.run(), hooks.flow._plan()
    armed = failpoints.arm(f"wire.*.after=lost-reply@{number}" if way == "reply" else dying(number))
    try:
        with hooks.watched():
            audit.enter(run, "03_migrate")
            catch_up(run, plan)
        if way != "reply" or not armed.fired:
            return False
    except Dead:
        failpoints.disarm()
        if way == "again":
            with hooks.watched():
                audit.enter(run, "03_migrate")
                catch_up(run, plan)
    finally:
        failpoints.disarm()
    if way != "back":
        assert hooks.target() == hooks.wanted()
        assert Stage(run, "migrate").read().state().tables["Beads"]["scanned"] == len(hooks.case.beads)
    hooks.check_back()
    return True


class Race(NamedTuple):
    """What happens just before the program's Nth put or delete on a hook, and what there is in the end."""

    case: str
    operation: str
    hook: str
    do: str | None  # what the application writes there then; None: the engine refuses the request for good
    then: dict[str, str]
    figures: dict[str, int]
    again: dict[str, str] = {}  # what a second pass makes of it, if anything


RACES = {
    "another-takes-the-new-key": Race(
        *("moves", "PutItem", "3", "theirs"), {"1": "a", "2": "b", "3": "theirs"}, {"conflicts": 1}
    ),
    "the-new-version-is-refused": Race(
        *("moves", "PutItem", "3", None), {"1": "a", "2": "b"}, {"failed": 1}, {"2": "b", "3": "a"}
    ),
    "it-is-refused-under-the-same-key": Race(
        *("stays", "PutItem", "1", None), {"1": "old a"}, {"failed": 1}, {"1": "a"}
    ),
    "the-copy-is-edited-before-its-delete": Race(
        *("moves", "DeleteItem", "1", "edited a"), {"1": "edited a", "2": "b", "3": "a"}, {"kept_edited": 1}
    ),
    "one-of-a-circle-is-edited": Race(
        *("swap", "DeleteItem", "2", "edited b"), {"1": "a", "2": "edited b"}, {"conflicts": 1, "kept_edited": 1}
    ),
    "one-of-a-circle-is-refused": Race(
        *("swap", "PutItem", "2", None), {"1": "b"}, {"updated": 1, "failed": 1}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RACES)
def test_what_happens_in_between(name, tmp_path):
    """Nothing of others' is touched, no bead is lost that is not refused, each counts once, and a second pass goes on."""
    race = RACES[name]
    with migrated(CASES[race.case], tmp_path / "runs") as hooks:
        hooks.memory.batches, left = False, iter(range(1))

        def before(operation: str, place: tuple) -> str | None:
            if (
                operation != race.operation
                or json.loads(place[1])["hook"]["S"] != race.hook
                or next(left, None) is None
            ):
                return None
            if race.do is None:
                return "ValidationException"
            hooks.others[race.hook] = hooks.item_of(race.hook, race.do)
            hooks.memory.tables[TARGET].items[place[1]] = hooks.others[race.hook]
            return None

        hooks.memory.before_write = before
        report = hooks.delta()
        assert hooks.target() == hooks.wanted(race.then)
        assert {n: v for n, v in report["drift"].items() if v and n not in ("looked_at", "changed")} == race.figures
        assert report["verdict"] == ("FAIL" if "failed" in race.figures else "REVIEW")
        hooks.delta()
        assert hooks.target() == hooks.wanted(race.again or race.then)
        hooks.check_back()
