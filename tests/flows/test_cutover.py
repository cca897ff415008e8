"""The gate of a cut-over, with real streams of moto: it opens when both sides are equal, and only then."""

import json

import pytest
from support_follow import SOURCE, Fleet, Script, followed, hurry, lines, turn_on

from runbook_lib.errors import Interrupted
from runbook_lib.stages.follow import gate
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

    def __init__(self, fleet: Fleet, *steps, accept_drift: bool = False, then=None):
        self._fleet, self._accept, self._then = fleet, accept_drift, then
        self._script, self._asked = Script(*steps), None

    def __call__(self, states) -> None:
        run = self._fleet.flow.run()
        if self._asked is None and self._script(states):
            self._asked = control.request_cutover(run, 0.0, accept_drift=self._accept)
        elif self._asked and control.cutover_request(run) is None:
            control.request_stop(run)  # it was answered, and following goes on


def answers(fleet: Fleet) -> list[dict]:
    return [json.loads(path.read_text()) for path in fleet.flow.run().json_files("cutover")]


def changes(fleet: Fleet):
    """An edit, an insert, and a delete."""
    return lambda: (fleet.put(fleet.ship(3, "red"), fleet.ship(11)), fleet.sink(5))


def test_it_opens_where_all_is_applied_and_equal_and_following_ends(fleet):
    report = followed(fleet.flow, Operator(fleet, changes(fleet)))
    (answer,) = answers(fleet)
    assert (answer["open"], answer["verdict"], answer["missing"]) == (True, "PASS", [])
    assert answer["compared"] == {"items": 3, "wrong": {}}
    assert report["cutover"]["moment"] == answer["moment"]
    assert report["verdict"] == "PASS"
    assert fleet.flow.validate()["verdict"] != "FAIL"
    assert fleet.flow.rollback()["rollback"]["deleted"] == 10
    fleet.check()


@pytest.mark.parametrize(
    ("spoil", "wrong"),
    [
        (lambda fleet: fleet.remove(3), "missing"),
        (lambda fleet: fleet.edit(fleet.copy(3, "pirates")), "different"),
        (lambda fleet: fleet.edit(fleet.copy(3, "white")), "different"),
    ],
)
def test_a_touched_copy_that_is_not_as_it_should_be_keeps_it_closed(fleet, spoil, wrong):
    """Nobody told the follower: the gate reads both sides itself."""
    with pytest.raises(Interrupted):
        followed(fleet.flow, Operator(fleet, changes(fleet), lambda: spoil(fleet)))
    (answer,) = answers(fleet)
    assert (answer["open"], answer["verdict"], answer["moment"]) == (False, "FAIL", None)
    assert answer["compared"]["wrong"] == {"Ships": {wrong: 1}}


def test_what_drift_lists_keeps_it_closed_until_it_is_accepted(fleet):
    steps = (
        lambda: fleet.edit(fleet.copy(1, "pirates")),
        lambda: (fleet.put(fleet.ship(1, "red")), fleet.sink(2)),
    )
    with pytest.raises(Interrupted):
        followed(fleet.flow, Operator(fleet, *steps))
    assert answers(fleet)[-1]["compared"]["wrong"] == {"Ships": {"listed": 1}}
    assert answers(fleet)[-1]["verdict"] == "REVIEW"
    control.clear(fleet.flow.run())  # as a command does first
    report = followed(fleet.flow, Operator(fleet, accept_drift=True))
    assert (report["cutover"]["open"], len(report["cutover"]["accepted"]), report["verdict"]) == (True, 1, "PASS")
    assert set(dict(lines(fleet.flow))) == {"s1"}
    fleet.check(fleet.copy(1, "pirates"), **{f"s{n}": "white" for n in (0, *range(3, 10))})


def test_an_application_that_goes_on_keeps_it_closed(fleet):
    class Busy(Operator):
        def __call__(self, states) -> None:
            super().__call__(states)
            if self._asked:
                fleet.put(fleet.ship(3, f"sails {len(answers(fleet))}"), fleet.ship(3))

    with pytest.raises(Interrupted):
        followed(fleet.flow, Busy(fleet))
    assert answers(fleet)[-1]["missing"][0].startswith(f"{fleet.world.name('Ships', SOURCE)}: the last change")


def test_a_copy_that_a_walk_left_in_the_target_keeps_it_closed(moto_world, tmp_path):
    """No stream names it: its source item went before the stream was turned on."""
    fleet = Fleet(moto_world, tmp_path, stream=False)
    fleet.flow.migrate()
    fleet.sink(2)
    turn_on(moto_world, "Ships")
    with pytest.raises(Interrupted):
        followed(fleet.flow, Operator(fleet))
    assert answers(fleet)[-1]["compared"]["wrong"] == {"Ships": {"listed": 1}}
    fleet.remove(2)
    control.clear(fleet.flow.run())
    assert followed(fleet.flow, Operator(fleet))["cutover"]["open"]
