"""Matched items and what happens later: a source that changes while it is followed, and before a delta."""

from contextlib import ExitStack

import pytest
import support_worlds as worlds
from support_flows import flow_of
from support_follow import Script, figures, followed, hurry, turn_on

from runbook_lib.stages.follow import gate
from runbook_lib.walk import control

SOURCE, TARGET = worlds.SOURCE, worlds.TARGET
KEY = {"key": {"id": "S"}}
MAPPING = "{People: {match: {by: [email]}}, Visits: {references: {who: People}}}"


@pytest.fixture(autouse=True)
def _hurry(monkeypatch):
    hurry(monkeypatch)
    monkeypatch.setattr(gate, "PATIENCE", 0.5)


def person(id_, email, **more):
    return {name: {"S": value} for name, value in ({"id": id_, "email": email} | more).items()}


def visit(name, who):
    return {"id": {"S": name}, "who": {"S": who}, "old": {"S": name}}


class Town:
    """Ann and Bob; the target has Ann, and somebody else. Both source tables have streams."""

    def __init__(self, world, outputs):
        self.world = world
        here = [person("ann", "a"), person("bob", "b")]
        world.build({"People": KEY | {"items": here}, "Visits": KEY | {"items": [visit("v1", "ann")]}}, SOURCE)
        world.build({"People": KEY | {"items": [person("t-ann", "a"), person("t-zoe", "z")]}, "Visits": KEY}, TARGET)
        for table in ("People", "Visits"):
            turn_on(world, table)
        self.before = self.people()
        self.flow = flow_of(MAPPING, world, outputs)

    def put(self, table, item, side=SOURCE):
        self.world.put(self.world.name(table, side), item)

    def delete(self, table, id_):
        self.world.delete(self.world.name(table, SOURCE), {"id": {"S": id_}})

    def people(self):
        return self.world.items(self.world.name("People", TARGET))

    def check(self):
        """The target's own people are as they were; what others the run has written: e-mail addresses."""
        now = self.people()
        assert all(one in now for one in self.before)
        return sorted(one["email"]["S"] for one in now if one not in self.before)

    def whose(self):
        return {one["old"]["S"]: one["who"]["S"] for one in self.world.items(self.world.name("Visits", TARGET))}


@pytest.fixture
def town(moto_world, tmp_path):
    return Town(moto_world, tmp_path)


@pytest.mark.parametrize("planned", [True, False])
def test_following_goes_by_the_frozen_matches(town, planned):
    """A matched item that changes or goes is not written, and what refers to it has the target's id; 05 leaves the target's."""
    if planned:
        town.flow.analyze()
    script = Script(
        lambda: (town.put("People", person("ann", "a", note="new")), town.put("Visits", visit("v2", "ann"))),
        lambda: (
            town.put("Visits", visit("v1", "ann") | {"note": {"S": "x"}}),
            town.put("People", person("bob", "b", n="1")),
        ),
        lambda: town.delete("People", "ann"),
    )
    report = followed(town.flow, script)
    assert figures(report) == {"inserted": 1, "replaced": 2}
    assert town.check() == ["b"]
    assert town.whose() == {"v1": "t-ann", "v2": "t-ann"}
    town.flow.rollback()
    assert town.people() == town.before


def test_following_goes_on_with_the_same_matches(town):
    """Another process reads them from the run's folder."""
    followed(town.flow)
    town.put("People", person("ann", "a", note="new"))
    town.put("Visits", visit("v2", "ann"))
    followed(town.flow)
    assert (town.check(), town.whose()) == (["b"], {"v1": "t-ann", "v2": "t-ann"})


def reasons(flow):
    return {line["key"]["id"]["S"]: line["reason"].split(":")[0] for line in flow.listing("matches")}


SINCE = "the target has an item with these values that it did not have when the matches were frozen; it is written beside that"
GONE, TWICE = "its match no longer holds", "its copy in the target, and 1 item beside it, have these values"


def test_the_report_of_a_cut_over_lists_who_may_be_there_twice(town):
    """Somebody new whom the target has, and a matched item with other values: the frozen matches hold, so the gate opens."""
    run, asked = town.flow.run(), []
    script = Script(lambda: (town.put("People", person("zoe", "z")), town.put("People", person("ann", "new"))))
    with ExitStack() as asking:

        def ask(states):
            if not asked and script(states):
                asked.append(asking.enter_context(control.asking_cutover(run, 0.0, accept_drift=False)))

        report = followed(town.flow, ask)
    assert (report["cutover"]["open"], report["cutover"]["missing"]) == (True, [])
    assert report["verdict"] == "REVIEW"
    assert reasons(town.flow) == {"zoe": TWICE, "ann": GONE}
    assert sum(one["action"].startswith("See matches.jsonl") for one in report["alerts"]) == 2
    assert town.check() == ["b", "z"]
    assert town.whose() == {"v1": "t-ann"}


def test_a_delta_lists_who_may_be_there_twice(town):
    """REVIEW; it says so again as long as it is so."""
    town.flow.migrate()
    town.put("People", person("zoe", "z"))
    town.put("People", person("ann", "new"))
    for _ in range(2):
        report = town.flow.delta()
        assert (report["drift"]["ambiguous"], report["drift"]["match_gone"]) == (1, 1)
        said = sorted(one["message"] for one in report["alerts"] if one["action"].startswith("See matches.jsonl"))
        assert said == [
            "1 source item in the target twice now, or perhaps: as copies, and as items of its own",
            "1 source item matched no longer: one of both is gone, or has other values",
        ]
        assert report["verdict"] == "REVIEW"
        assert reasons(town.flow) == {"zoe": TWICE, "ann": GONE}
    told = {one["message"] for one in town.flow.validate()["alerts"]}
    assert told.issuperset(said)
    assert town.check() == ["b", "z"]
    assert town.flow.rollback()["verdict"] == "ROLLED_BACK"
    assert town.people() == town.before


def test_03_lists_what_matches_otherwise_since_01(town):
    """Who is new in the target is written beside that; the listing says who."""
    town.flow.analyze()
    town.put("People", person("t-bob", "b"), TARGET)
    town.put("People", person("t-ann", "other"), TARGET)
    town.flow.migrate()
    assert reasons(town.flow) == {"bob": SINCE, "ann": GONE}
