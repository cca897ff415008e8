"""The gate of a cut-over, on a clock of the test's own: what keeps it closed, and what it must look at again."""

import json
from collections import Counter
from contextlib import ExitStack

import pytest

from runbook_lib.errors import Refused
from runbook_lib.run.folder import Run
from runbook_lib.stages.follow.gate import LISTED, PATIENCE, Compared, Gate, Standing
from runbook_lib.walk import control

QUIET = 10.0


class World:
    """A follower of two tables that the test moves."""

    def __init__(self, run: Run):
        self.run, self.now, self.compared = run, 0.0, 0
        self.rounds, self.changed, self.waiting = Counter(), Counter(), Counter()
        self.wrong: dict[str, Counter] = {}
        self.gate = Gate(run, self.compare, clock=lambda: self.now)
        self.operator = ExitStack()

    def compare(self) -> Compared:
        self.compared += 1
        return Compared(7, self.wrong)

    def standing(self) -> list[Standing]:
        return [
            Standing(t, self.rounds[t], self.now - self.changed[t], bool(self.waiting[t])) for t in ("Orders", "People")
        ]

    def round(self, seconds: float = 1.0):
        """One round of following, in which every shard is read and gives nothing."""
        self.now += seconds
        self.rounds.update(("Orders", "People"))
        return self.gate(self.standing())

    def change(self, table: str) -> None:
        """A change of a table comes, and is applied."""
        self.rounds[table], self.changed[table] = 0, self.now

    def answers(self) -> list[dict]:
        return [json.loads(path.read_text()) for path in self.run.json_files("cutover")]


@pytest.fixture
def world(tmp_path):
    folder = tmp_path / "run-of-a-test"
    folder.mkdir()
    found = World(Run("run-of-a-test", folder))
    with found.operator:
        yield found


def ask(world: World, quiet: float = QUIET, *, accept_drift: bool = False) -> control.CutoverRequest:
    """Somebody asks from now on, instead of whoever asked before."""
    world.operator.close()
    return world.operator.enter_context(control.asking_cutover(world.run, quiet, accept_drift=accept_drift))


def until_answer(world: World, rounds: int = 100):
    before = len(world.answers())
    for _ in range(rounds):
        opened = world.round()
        if len(world.answers()) > before:
            return opened
    raise AssertionError("the gate never answered")


def test_it_opens_when_nothing_changes_any_more_and_both_sides_are_equal(world):
    asked = ask(world)
    opened = until_answer(world)
    assert (opened.open, opened.verdict, opened.missing, world.compared) == (True, "PASS", [], 1)
    (answer,) = world.answers()
    assert (answer["request"], answer["verdict"], answer["moment"]) == (asked.id, "PASS", opened.moment)
    assert answer["compared"] == {"items": 7, "wrong": {}}
    assert [world.round() for _ in range(40)] == [None] * 40  # it is answered once
    assert len(world.answers()) == 1


def test_it_says_what_it_waits_for(world):
    """Whoever watches reads it in the progress line."""
    ask(world)
    said = []
    while not world.answers():
        world.round()
        said += [world.gate.doing] if world.gate.doing not in said else []
    assert said == ["the gate waits until nothing has come for 10 s", "", "the gate reads every stream once more"]
    assert world.gate.doing == ""


def test_nobody_asks_and_nothing_is_compared(world):
    assert [world.round() for _ in range(40)] == [None] * 40
    assert (world.compared, world.answers()) == (0, [])


@pytest.mark.parametrize("quiet", [0.0, 3.0, 60.0])
def test_it_waits_for_the_quiet_time_and_for_three_reads(world, quiet):
    for _ in range(5):
        world.round()
    world.change("People")
    ask(world, quiet)
    assert until_answer(world).open
    assert world.rounds["People"] > 3  # three before the comparison, one after it
    assert world.now - world.changed["People"] >= max(quiet, 4.0)


def test_a_last_change_that_comes_late_is_waited_for_however_long_all_was_silent_before(world):
    for _ in range(100):
        world.round()
    asked = ask(world)
    for _ in range(int(QUIET) - 1):
        assert world.round() is None
    assert (world.compared, control.cutover_request(world.run)) == (0, asked)
    world.change("People")
    assert until_answer(world).open
    assert world.now >= 100 + 2 * QUIET - 1


def test_a_change_while_both_sides_are_compared_makes_it_compare_again(world):
    ask(world)
    while not world.compared:
        world.round()
    world.change("Orders")
    until_answer(world)
    assert world.compared == 2


def test_no_answer_before_every_shard_was_read_once_more_after_the_comparison(world):
    ask(world)
    while not world.compared:
        world.round()
    for _ in range(3):
        world.now += 1  # rounds in which the shards of one table cannot be read
        world.rounds["Orders"] += 1
        assert world.gate(world.standing()) is None
    assert world.round() is None  # it may have begun before the comparison ended
    assert world.round().open


def test_an_application_that_goes_on_writing_keeps_it_closed_and_is_named(world):
    ask(world)
    for _ in range(int(QUIET + PATIENCE) + 2):
        world.change("Orders")
        assert world.round() is None
    (answer,) = world.answers()
    assert (answer["open"], answer["verdict"], answer["moment"]) == (False, "FAIL", None)
    (told,) = answer["missing"]
    assert told.startswith("Orders: the last change came 1 s ago, and 1 read of its stream gave nothing since")
    assert world.compared == 0
    ask(world)  # later
    assert until_answer(world).open


def test_changes_that_are_not_applied_keep_it_closed(world):
    world.waiting["People"] = 3
    ask(world)
    until_answer(world)
    assert world.answers()[-1]["missing"] == ["changes of People are not applied yet"]


@pytest.mark.parametrize("kind", ["missing", "different", "left", LISTED])
def test_a_difference_keeps_it_closed_and_following_goes_on(world, kind):
    world.wrong = {"Contacts": Counter({kind: 2})}
    ask(world)
    assert until_answer(world) is None
    (answer,) = world.answers()
    assert (answer["open"], answer["verdict"]) == (False, "REVIEW" if kind == LISTED else "FAIL")
    assert answer["missing"][0].startswith("2 items of Contacts")
    world.wrong = {}
    ask(world)
    assert until_answer(world).open


def test_what_somebody_has_changed_in_the_target_may_be_accepted_and_nothing_else(world):
    world.wrong = {"Contacts": Counter({LISTED: 2})}
    ask(world, accept_drift=True)
    opened = until_answer(world)
    assert (opened.open, opened.verdict, len(opened.accepted)) == (True, "PASS", 1)
    world.wrong = {"Contacts": Counter({LISTED: 2, "missing": 1})}
    ask(world, accept_drift=True)
    assert until_answer(world) is None
    assert (world.answers()[-1]["verdict"], len(world.answers()[-1]["missing"])) == ("FAIL", 1)


def test_a_request_that_is_withdrawn_and_made_again_begins_anew(world):
    ask(world)
    for _ in range(int(QUIET + PATIENCE) - 1):
        world.change("Orders")
        world.round()
    second = ask(world)
    assert until_answer(world).request == second.id  # not late, although the first one nearly was


def test_two_operators_do_not_ask_at_the_same_time(world):
    first = ask(world)
    with (
        pytest.raises(Refused, match="another process asks"),
        control.asking_cutover(world.run, 0.0, accept_drift=True),
    ):
        pass
    assert control.cutover_request(world.run) == first


def test_nobody_is_answered_who_has_gone(world):
    """The file of an operator who was killed is left, and nobody holds it."""
    content = ask(world)._asdict()
    world.operator.close()
    path = world.run.folder / control.CUTOVER
    assert not path.exists()
    path.write_text(json.dumps(content))
    assert [world.round() for _ in range(40)] == [None] * 40
    assert world.answers() == []
    assert ask(world).id != content["id"]
    assert until_answer(world).open


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"id": 1}', '{"id":"a","at":"","quiet":-1.0,"accept_drift":false}', "null"]
)
def test_a_file_that_is_no_request_asks_for_nothing(world, content):
    ask(world)
    (world.run.folder / control.CUTOVER).write_text(content)  # as it is before it is written whole
    assert control.cutover_request(world.run) is None
    assert world.round() is None
