"""Anything, in any order: three runs of one migration that migrate, die, resume, catch up, try again, roll back and
validate, while an application edits, adds and deletes on both sides, before and in the middle of each of them.

The rules of a Hypothesis state machine; what must hold after each is in machine_checks.py. The default and the slow tier
take a few examples, always the same; `make soak` takes 500 others. The examples follow from their seed and number,
whatever else is loaded: `make soak SEED=7 EXAMPLES=50` is the same fifty everywhere.
"""

import json
import os
import shutil
import tempfile
from collections import Counter
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from faults import machine_operator
from faults.machine_checks import Checks
from faults.machine_model import (
    BOOK,
    EVENTS,
    MAPPING,
    NEW_PORTS,
    NEW_SHIPS,
    NO_OUTCOME,
    PORTS,
    SHIPS,
    SOURCES,
    SUFFIX,
    TARGETS,
    Model,
    RunModel,
    expect,
    possible,
    text,
)
from faults.machine_operator import DONE, REFUSED, Clock, OneByOne, Operator
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import seed as hypothesis_seed
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from support_flows import flow_of
from support_memory import URL, Memory, in_place

from runbook_lib import process
from runbook_lib.journal import checkpoint, stage
from runbook_lib.run import folder as runs
from runbook_lib.run.locks import locks
from runbook_lib.stages.migrate import replace
from runbook_lib.stages.rollback import undo as rollback
from runbook_lib.walk import control, walk

RUNS = ("the-first-run", "the-second-run", "the-third-run")
WHICH = st.integers(0, 119)  # beyond 127 Hypothesis prefers small numbers
numbers = st.integers(0, 3)
vs = st.builds(lambda n: {"N": str(n)}, st.integers(0, 2))
refs = {letter: st.builds(lambda n, letter=letter: {"S": f"{letter}{n}"}, st.integers(0, 4)) for letter in "ps"}


def one_of(*words: str) -> st.SearchStrategy[dict]:
    return st.sampled_from([{"S": word} for word in words])


SOURCE_ITEMS = st.one_of(
    st.tuples(
        st.just(PORTS),
        st.fixed_dictionaries(
            {"id": st.builds(lambda n: {"S": f"p{n}"}, numbers), "kind": one_of("port", "port", "light"), "v": vs},
            optional={"flagship": refs["s"]},
        ),
    ),
    st.tuples(
        st.just(SHIPS),
        st.fixed_dictionaries(
            {"id": st.builds(lambda n: {"S": f"s{n}"}, numbers), "v": vs},
            optional={"portId": refs["p"], "sisters": st.lists(refs["s"], max_size=2).map(lambda found: {"L": found})},
        ),
    ),
    st.tuples(
        st.just(EVENTS),
        st.builds(
            lambda n, more: {"pk": {"S": f"e{n}"}, "sk": {"S": "1"}, "id": {"S": f"e{n}"}, **more},
            numbers,
            st.fixed_dictionaries(
                {"kind": one_of("log", "log", "note", "other"), "num": vs},
                optional={
                    "month": one_of("2025-01", "2025-02"),
                    "size": one_of("12", "7", "many"),
                    "shipId": refs["s"],
                },
            ),
        ),
    ),
)
HOW = ("scalar", "grow", "list", "delete", "delete", "back", "equal", "other", "new")
TARGET_EDITS = st.tuples(st.sampled_from(HOW), st.integers(0, 30), st.integers(0, 99))
SOURCE_EDITS = st.tuples(SOURCE_ITEMS, st.sampled_from(("put", "put", "change", "change", "delete")))
points, requests, records, writes = (
    st.one_of(st.integers(1, most // 3), st.integers(1, most)) for most in (120, 70, 45, 12)
)
FAULTS = st.one_of(
    st.none(),
    st.none(),
    st.tuples(st.just("kill"), points),
    st.tuples(st.just("kill at a request"), requests),
    st.tuples(st.just("lost"), requests),
    st.tuples(st.just("gone"), requests),
    st.tuples(st.just("gone for writes"), writes),
    st.tuples(st.sampled_from(("eio", "enospc")), records),
    st.tuples(st.sampled_from(("pause", "by hand")), st.integers(1, 6)),
    st.tuples(st.sampled_from(("refuse", "refuse", "throttle")), st.integers(1, 6)),
    st.tuples(st.just("operator"), points),
    st.tuples(st.just("race"), writes, st.sampled_from(("equal", "other"))),
    st.tuples(
        st.just("race for a delete"),
        st.sampled_from((1, 1, 2, 4)),
        st.sampled_from(("delete", "grow", "list", "scalar")),
    ),
    st.tuples(st.just("source"), points, SOURCE_EDITS),
    st.tuples(st.just("target"), points, TARGET_EDITS),
)
EDITS = st.one_of(st.just([]), st.lists(st.one_of(SOURCE_EDITS, TARGET_EDITS), max_size=3))
COMMANDS = {"migrate": 4, "resume": 9, "delta": 8, "retry": 8, "roll_back": 4, "validate": 3, "be_refused": 1}
RULES = {
    "lost": "wire.*=error@{}",
    "gone": "wire.*=error@{}+",
    "gone for writes": ";".join(
        f"wire.{name}.*=error@{{0}}+" for name in ("PutItem", "BatchExecuteStatement", "DeleteItem")
    ),
    "eio": "journal.*=eio@{0};file.*=eio@{0}",
    "enospc": "journal.*=enospc@{0};file.*=enospc@{0}",
    "kill": "*=kill@{}",
    "kill at a request": "wire.*=kill@{}",
}
UNANSWERED = ("lost", "gone", "gone for writes")  # what a command asks may have been done, without an answer
OTHER_FAULTS = ("pause", "by hand", "refuse", "throttle", "operator", "race", "race for a delete", "source", "target")
HABITS = {  # of Hypothesis, put off here; private, so that another version may not have them
    # Of each example it makes five others by copying parts of it over other parts: the same command at the same point,
    # over and over. New ones find more.
    "hypothesis.internal.conjecture.engine.ConjectureRunner.generate_mutations_from": lambda runner, data: None,
    # It also takes numbers that stand in the project's code, as far as that is loaded: no seed would tell the examples.
    "hypothesis.internal.conjecture.providers.HypothesisProvider._maybe_draw_constant": lambda *_, **__: None,
}
MANY = 100  # examples: among so many each of the above comes up
HAPPENED = Counter()  # (command, fault, how it ended) -> times


class Machine(RuleBasedStateMachine):
    """One world, three runs of one migration."""

    def __init__(self):
        super().__init__()
        self.stack = ExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="machine-"))
        self.stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        patch = self.stack.enter_context(pytest.MonkeyPatch.context())
        self.clock = Clock(datetime(2025, 1, 1, tzinfo=UTC))
        for module in (runs, stage, checkpoint):
            patch.setattr(module, "now", self.clock)
        patch.setattr(process, "lock_patience", 0)
        for module in (walk, replace, rollback):
            patch.setattr(module, "ThreadPoolExecutor", OneByOne)
        patch.setattr(walk, "wait", OneByOne.wait)
        patch.setattr(locks, "FOLDER", self.folder)
        # A death loses nothing that was written; power cuts are not tried.
        patch.setattr(os, "fsync", lambda descriptor: None)

    def teardown(self):
        self.stack.close()
        machine_operator.close_logs()

    @initialize(
        page=st.integers(1, 5),
        batches=st.booleans(),
        segments=st.sampled_from((None, None, 2)),
        on_failure=st.sampled_from(("keep", "keep", "rollback")),
        items=st.lists(SOURCE_ITEMS, min_size=8, max_size=20),
        residents=st.lists(TARGET_EDITS, max_size=3),
        edited=st.sampled_from(("both", "both", "source", "target", "nothing")),
    )
    def begin(self, page, batches, segments, on_failure, items, residents, edited):
        self.edited = edited
        self.memory = Memory(page=page, keys=7, batches=batches)
        for name, key in {**SOURCES, **TARGETS}.items():
            self.memory.create(name, key)
        self.stack.enter_context(in_place(self.memory))
        self.model = Model(self.memory)
        self.checks = Checks(self.model, self.memory)
        for table, item in items:
            self.memory.put(table, item)
        for how, index, value in residents:
            self.edit_target(({"delete": "other", "back": "equal"}.get(how, how), index, value))
        world = SimpleNamespace(suffix=SUFFIX, engine=SimpleNamespace(endpoint_url=URL))
        limits = {"workers": 1, "on_failure": on_failure} | ({"segments": segments} if segments else {})
        self.operators, self.on_failure = {}, on_failure
        outputs = self.folder / "outputs"
        outputs.mkdir()
        for name in RUNS:
            flow = flow_of(MAPPING, world, outputs, name, **limits)
            self.operators[name] = Operator(flow.parameters, flow.outputs, name)
            self.model.runs[name] = RunModel(name, outputs / name)

    # the application

    def edit_source(self, edit):
        """Puts an item, changes one that is there and leaves its key and kind as they are, or deletes one."""
        (table, item), how = edit
        there = sorted(place for place in self.model.source if place[0] == table)
        with self.model.application():
            if how == "put" or not there:
                self.memory.put(table, item)
            elif how == "change":
                place = there[int(item.get("v", item.get("num"))["N"]) % len(there)]
                old = self.model.source[place]
                self.memory.replay(place, old | {"news": {"BOOL": "news" not in old or not old["news"]["BOOL"]}})
            else:
                self.memory.delete(*self.memory.place(table, item))

    def edit_target(self, edit):
        """Edits what is there, adds what will be made or something else under its key, or puts back what was deleted."""
        how, index, value = edit
        there = sorted(self.model.target)
        made = sorted(row for row in expect(self.model.source).rows.values() if row.place not in self.model.target)
        earlier = sorted(
            (place, version)
            for run in self.model.runs.values()
            for place, versions in run.versions.items()
            for version in versions
            if place not in self.model.target or text(self.model.target[place]) != version
        )
        with self.model.application():
            if how in ("scalar", "grow", "list", "delete") and there:
                place = there[index % len(there)]
                change = {"v": {"N": f"9{value}"}, "theirs": {"N": str(value)}, "sisters": {"L": [{"N": str(value)}]}}
                name = {"scalar": "v", "grow": "theirs", "list": "sisters"}.get(how)
                item = self.model.target[place] | {name: change[name]} if name else None
                self.memory.replay(place, item)
            elif how == "back" and earlier:
                place, version = earlier[index % len(earlier)]
                self.memory.replay(place, json.loads(version))
            elif how in ("equal", "other") and made:
                open_ones = {
                    row.place for run in self.model.runs.values() for row in run.rows() if row.letter in NO_OUTCOME
                }
                made = [row for row in made if row.place in open_ones] or made  # where it may be taken for the run's
                row = made[index % len(made)]
                self.memory.replay(row.place, row.item if how == "equal" else row.item | {"theirs": {"BOOL": True}})
            elif how == "new":
                table = (NEW_PORTS, NEW_SHIPS, BOOK)[index % 3]
                key = {name: {"S": f"nobody's {value % 3}"} for name in TARGETS[table]}
                self.memory.put(table, key | {"v": {"N": str(value)}})

    def race(self, place, how):
        """Writes to a place that the program is just about to write to."""
        item = self.model.target.get(place)
        made = {row.place: row.item for _, row in possible(self.model.source)}.get(place)
        if item is None:
            item = made if how == "equal" else (made or json.loads(place[1])) | {"theirs": {"BOOL": False}}
        elif how == "delete":
            item = None
        else:
            name = {"scalar": "v", "list": "sisters"}.get(how, "theirs")
            item = item | {name: {"L": [{"S": how}]} if how == "list" else {"N": "77"}}
        with self.model.application():
            self.memory.replay(place, item)

    # the operators

    @rule(choice=WHICH, which=WHICH, edits=EDITS, change=SOURCE_EDITS, fault=FAULTS)
    def go_on(self, choice, which, edits, change, fault):
        """The application edits something; then one of the commands that make sense now is given, for one of the runs."""
        able = {name: found for name in COMMANDS if (found := self.able(name))}
        names = [name for name in able for _ in range(COMMANDS[name])]
        name = names[choice % len(names)]
        found = able[name]
        for edit in [*edits, change] if name == "delta" else edits:  # so that it has something to do
            is_source = len(edit) == 2
            if self.edited in ("both", "source" if is_source else "target"):
                note(f"  edit {edit}")
                (self.edit_source if is_source else self.edit_target)(edit)
        getattr(self, name)(found[which % len(found)], fault)

    def migrate(self, run, fault):
        """Begins, or is given again when all is done."""
        self.run_command(run, "migrate", fault)

    def resume(self, run, fault):
        self.run_command(run, "migrate", fault)

    def delta(self, run, fault):
        """Once more where it came through: then there is nothing left to do, but to try what was refused."""
        done = self.run_command(run, "delta", fault).how == DONE
        if done and not self.model.meddled and not self.last["drift"]["failed"]:
            wanted = self.checks.counts(self.last)
            self.run_command(run, "delta", None)
            assert self.model.writes == 0
            assert self.checks.counts(self.last) == wanted

    def retry(self, run, fault):
        self.run_command(run, "retry", fault)

    def roll_back(self, run, fault):
        self.run_command(run, "rollback", fault)

    def validate(self, run, fault):
        self.run_command(run, "validate", fault)

    def be_refused(self, run, fault):
        """What cannot be done now."""
        for name in ("migrate", "delta", "retry", "rollback"):
            if (name != "rollback" or run.has_checkpoint()) and self.checks.refusal(run, name):
                self.run_command(run, name, None)

    def able(self, name):
        """The runs for which a command makes sense now."""
        runs_, check = self.model.runs.values(), self.checks.refusal
        if name == "be_refused":
            return [run for run in runs_ if run.started()]
        command = {"resume": "migrate", "roll_back": "rollback"}.get(name, name)
        found = [run for run in runs_ if not check(run, command)]
        return {
            "migrate": found,
            "resume": [run for run in found if run.last_event() == "execution"],
            "delta": found,
            "retry": [run for run in found if run.listed("failed")],
            "roll_back": [run for run in found if run.has_checkpoint()],
            "validate": [run for run in found if run.started() and run.to_compare],
        }[name]

    def run_command(self, run, command, fault):
        """A command of a run, with a fault; what must hold whatever became of it, and what if it was done."""
        operator = self.operators[run.id]
        control.clear(operator.run())
        expected = self.checks.refusal(run, command)
        self.checks.before(run, command)
        deleting = command in ("delta", "rollback") or (command == "migrate" and self.on_failure == "rollback")
        with self.model.command(run, may_delete=deleting, replaces=command == "delta"):
            end = self.attempt(operator, command, fault)
        note(f"{run.id}: {command} {fault}: {end.how} {end.sentence}")
        self.last = end.report
        HAPPENED[command, fault[0] if fault else "no fault", end.how] += 1
        self.checks.after(run, command, fault, end, expected)
        return end

    def attempt(self, operator, command, fault):
        operator.on_page = None
        self.model.unanswered = bool(fault) and fault[0] in UNANSWERED
        self.memory.before_write = lambda operation, place: None
        kind, number, *more = fault or ("", 0)

        def work():
            return operator.command(command)

        if kind.startswith("kill"):
            return machine_operator.killed(work, RULES[kind].format(number), self.memory, self.clock)
        if kind in RULES:
            armed = RULES[kind].format(number)
        elif kind == "source":
            armed = machine_operator.at_point(number, lambda: self.edit_source(*more))
        elif kind == "target":
            armed = machine_operator.at_point(number, lambda: self.edit_target(*more))
        elif kind == "operator":
            armed = machine_operator.at_point(number, lambda: self.meet_the_other(operator, command))
        else:
            armed = ""
        if kind in ("pause", "by hand"):
            machine_operator.at_page(operator, number, kind)
        elif kind.startswith("race"):
            deletes = kind == "race for a delete"
            machine_operator.racing(self.memory, number, lambda place: self.race(place, *more), deletes=deletes)
        elif kind in ("refuse", "throttle"):
            machine_operator.refusing(self.memory, self.model, number, for_good=kind == "refuse")
        with machine_operator.armed(armed):
            return machine_operator.ended(work)

    def meet_the_other(self, operator, command):
        """Somebody else gives a command for the same run, or for the other one, which writes to the same tables."""
        names = [operator.run_id] if command == "validate" else RUNS
        for name in names:
            other = Operator(operator.parameters, operator.outputs, name)
            end = machine_operator.ended(lambda other=other: other.command("migrate"))
            assert end.how == REFUSED, end
            reasons = ("being written by", "rolled back", "takes a number")  # the last one in the middle of taking it
            assert any(reason in end.sentence for reason in reasons), end.sentence

    @invariant()
    def what_is_others_is_as_they_left_it(self):
        if hasattr(self, "checks"):
            self.checks.check_tables()


@pytest.mark.parametrize(
    "examples", [pytest.param(8, marks=pytest.mark.slow), pytest.param(500, marks=pytest.mark.long)]
)
def test_whatever_happens(request, examples):
    """The target holds what the source makes, others' items stay, every report adds up: after each of many commands."""
    examples, seed = request.config.getoption("--soak") or examples, request.config.getoption("--seed")
    chosen = settings(
        max_examples=examples,
        stateful_step_count=20,
        deadline=None,
        derandomize=False,
        database=None,
        print_blob=False,
        phases=[Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    HAPPENED.clear()
    with pytest.MonkeyPatch.context() as patch:
        for habit, instead in HABITS.items():
            with suppress(ImportError, AttributeError):
                patch.setattr(habit, instead)
        try:
            run_state_machine_as_test(hypothesis_seed(seed)(Machine), settings=chosen)
        except Exception as problem:
            problem.add_note(f"To see it again: make soak SEED={seed} EXAMPLES={examples}")
            raise
    tell_what_happened()
    if examples >= MANY:
        assert {command for command, _, _ in HAPPENED} == {"migrate", "delta", "retry", "rollback", "validate"}
        assert {fault for _, fault, _ in HAPPENED} == {"no fault", *RULES, *OTHER_FAULTS}


def tell_what_happened():
    """Prints how often each command ended how, under each fault."""
    for (command, fault, how), times in sorted(HAPPENED.items()):
        print(f"{command:9} {fault:18} {how:12} {times:5}")
