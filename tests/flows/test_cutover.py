"""The gate of a cut-over, with real streams of moto: it opens when both sides are equal, and only then."""

import json
from contextlib import ExitStack

import pytest
from support_follow import SOURCE, Fleet, Script, followed, hurry, lines, lose_positions, turn_on

from runbook_lib.dynamo.items import Wire
from runbook_lib.errors import DynamoError, Interrupted
from runbook_lib.stages.follow import gate
from runbook_lib.stages.follow.apply import EDITED, Applied, Follower
from runbook_lib.stages.migrate.drift import GONE_EDITED
from runbook_lib.walk import control


@pytest.fixture(autouse=True)
def _hurry(monkeypatch):
    hurry(monkeypatch)
    monkeypatch.setattr(gate, "PATIENCE", 0.5)


@pytest.fixture
def fleet(moto_world, tmp_path):
    return Fleet(moto_world, tmp_path)


class Operator:
    """A hook: does one thing after the other, each when nothing of the one before is left, then asks the gate."""

    asked = None

    def __init__(self, fleet: Fleet, *steps, accept_drift: bool = False):
        self._fleet, self._accept = fleet, accept_drift
        self._script, self.asking, self._before = Script(*steps), ExitStack(), len(answers(fleet))

    def __call__(self, states) -> None:
        run = self._fleet.flow.run()
        if self.asked is None and self._script(states):
            request = control.asking_cutover(run, 0.0, accept_drift=self._accept)
            self.asked = self.asking.enter_context(request)
        elif self.asked and len(answers(self._fleet)) > self._before:
            control.request_stop(run)  # it was answered, and following goes on
            self.asking.close()


def operate(fleet: Fleet, *steps, kind=None, **how) -> dict:
    """The report of following with an operator. Raises Interrupted where the gate stays closed."""
    control.clear(fleet.flow.run())  # as a command does first
    operator = (kind or Operator)(fleet, *steps, **how)
    with operator.asking:
        return followed(fleet.flow, operator)


def answers(fleet: Fleet) -> list[dict]:
    return [json.loads(path.read_text()) for path in fleet.flow.run().json_files("cutover")]


def changes(fleet: Fleet):
    """An edit, an insert, and a delete."""
    return lambda: (fleet.put(fleet.ship(3, "red"), fleet.ship(11)), fleet.sink(5))


def test_it_opens_where_all_is_applied_and_equal_and_following_ends(fleet):
    report = operate(fleet, changes(fleet), lambda: fleet.put(fleet.ship(3, "blue")))
    (answer,) = answers(fleet)
    assert (answer["open"], answer["verdict"], answer["missing"]) == (True, "PASS", [])
    assert answer["compared"] == {"items": 3, "wrong": {}}  # each once
    assert report["cutover"]["moment"] == answer["moment"]
    assert report["verdict"] == "PASS"
    assert fleet.flow.validate()["verdict"] != "FAIL"
    assert fleet.flow.rollback()["rollback"]["deleted"] == 10
    fleet.check()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda fleet: fleet.remove(3),
        lambda fleet: fleet.edit(fleet.copy(3, "pirates")),
        lambda fleet: fleet.edit(fleet.copy(3, "white")),
    ],
)
def test_a_copy_that_somebody_changed_after_it_was_applied_is_listed_and_may_be_accepted(fleet, spoil):
    """Nobody told the follower: the gate reads both sides itself. The list is there when it answers, and stays."""
    with pytest.raises(Interrupted):
        operate(fleet, changes(fleet), lambda: spoil(fleet))
    (answer,) = answers(fleet)
    assert (answer["open"], answer["verdict"], answer["moment"]) == (False, "REVIEW", None)
    assert answer["compared"]["wrong"] == {"Ships": {"listed": 1}}
    assert dict(lines(fleet.flow)) == {"s3": EDITED}
    control.clear(fleet.flow.run())
    assert followed(fleet.flow)["follow"]["tables"][fleet.world.name("Ships", SOURCE)]["drifted"] == 1
    report = operate(fleet, accept_drift=True)
    assert (report["cutover"]["open"], len(report["cutover"]["accepted"])) == (True, 1)
    assert dict(lines(fleet.flow)) == {"s3": EDITED}


def test_a_touched_copy_that_was_never_written_keeps_it_closed(fleet, monkeypatch):
    monkeypatch.setattr(Follower, "apply", lambda *_: Applied())
    with pytest.raises(Interrupted):
        operate(fleet, changes(fleet), accept_drift=True)
    (answer,) = answers(fleet)
    assert (answer["open"], answer["verdict"], answer["moment"]) == (False, "FAIL", None)
    assert answer["compared"]["wrong"] == {"Ships": {"different": 1, "missing": 1, "left": 1}}


def test_what_is_left_alone_is_still_listed_when_a_table_was_walked_again(fleet, monkeypatch):
    """A copy that somebody edited and whose item is gone; an item whose key another item of the target has."""
    theirs = fleet.copy(11, "pirates")
    steps = (
        lambda: (fleet.edit(fleet.copy(1, "pirates")), fleet.edit(theirs)),
        lambda: (fleet.sink(1), fleet.put(fleet.ship(11))),
    )
    followed(fleet.flow, Script(*steps))
    assert set(dict(lines(fleet.flow))) == {"s1", "s11"}
    lose_positions(monkeypatch)
    report = followed(fleet.flow)
    assert report["follow"]["tables"][fleet.world.name("Ships", SOURCE)]["walked_again"]
    assert dict(lines(fleet.flow))["s1"] == GONE_EDITED
    report = operate(fleet, accept_drift=True)
    assert (report["cutover"]["open"], report["cutover"]["compared"]["wrong"]) == (True, {"Ships": {"listed": 2}})
    assert set(dict(lines(fleet.flow))) == {"s1", "s11"}


def test_what_drift_lists_keeps_it_closed_until_it_is_accepted(fleet):
    steps = (
        lambda: fleet.edit(fleet.copy(1, "pirates")),
        lambda: (fleet.put(fleet.ship(1, "red")), fleet.sink(2)),
    )
    with pytest.raises(Interrupted):
        operate(fleet, *steps)
    assert answers(fleet)[-1]["compared"]["wrong"] == {"Ships": {"listed": 1}}
    assert answers(fleet)[-1]["verdict"] == "REVIEW"
    report = operate(fleet, accept_drift=True)
    assert (report["cutover"]["open"], len(report["cutover"]["accepted"]), report["verdict"]) == (True, 1, "PASS")
    assert set(dict(lines(fleet.flow))) == {"s1"}
    fleet.check(fleet.copy(1, "pirates"), **{f"s{n}": "white" for n in (0, *range(3, 10))})


def test_an_application_that_goes_on_keeps_it_closed(fleet):
    class Busy(Operator):
        def __call__(self, states) -> None:
            super().__call__(states)
            if self.asked:
                fleet.put(fleet.ship(3, f"sails {len(answers(fleet))}"), fleet.ship(3))

    with pytest.raises(Interrupted):
        operate(fleet, kind=Busy)
    assert answers(fleet)[-1]["missing"][0].startswith(f"{fleet.world.name('Ships', SOURCE)}: the last change")


def test_a_copy_that_a_walk_left_in_the_target_keeps_it_closed(moto_world, tmp_path):
    """No stream names it: its source item went before the stream was turned on."""
    fleet = Fleet(moto_world, tmp_path, stream=False)
    fleet.flow.migrate()
    fleet.sink(2)
    turn_on(moto_world, "Ships")
    with pytest.raises(Interrupted):
        operate(fleet)
    assert answers(fleet)[-1]["compared"]["wrong"] == {"Ships": {"listed": 1}}
    fleet.remove(2)
    assert operate(fleet)["cutover"]["open"]


def test_an_item_that_could_not_be_written_is_not_accepted_with_what_others_changed(fleet, monkeypatch):
    insert = Wire.insert_many

    def without(wire, table, items, *rest, **options):
        refused = DynamoError("ValidationException", "Item size has exceeded the maximum allowed size")
        huge = [item["sails"] == {"S": "huge"} for item in items]
        return [refused] * len(items) if any(huge) else insert(wire, table, items, *rest, **options)

    monkeypatch.setattr(Wire, "insert_many", without)
    with pytest.raises(Interrupted):
        operate(fleet, lambda: fleet.put(fleet.ship(11, "huge")), accept_drift=True)
    assert set(dict(lines(fleet.flow))) == {"s11"}
    assert answers(fleet)[-1]["compared"]["wrong"] == {"Ships": {"missing": 1}}
