"""References to one of several entries, in whole runs."""

import json

import support_worlds as worlds
from support_flows import flow_of

from runbook_lib.verdict import PASS, REVIEW

KEY = {"key": {"id": "S"}}
MAPPING = "{Users: {}, Groups: {}, Rights: {references: {owner: {to: [Users, Groups]}}}}"


def new(entry, old):
    return worlds.new_id(worlds.TARGET, entry, "uuid", "S", old)


def run(world, folder, owners):
    """01, 03 and 04 of rights with these owners; what each gave, and the owners that the target has."""
    ids = {"Users": ("u", "both"), "Groups": ("g", "both")}
    tables = {name: KEY | {"items": [{"id": {"S": one}} for one in found]} for name, found in ids.items()}
    rights = [{"id": {"S": f"r{at}"}, "owner": {"S": owner}} for at, owner in enumerate(owners)]
    world.build(tables | {"Rights": KEY | {"items": rights}}, worlds.SOURCE)
    world.build(dict.fromkeys([*tables, "Rights"], KEY), worlds.TARGET)
    flow = flow_of(MAPPING, world, folder)
    found = flow.analyze(), flow.migrate(), flow.validate()
    made = {item["id"]["S"]: item["owner"]["S"] for item in world.items(world.name("Rights", worlds.TARGET))}
    return found, [made[new("Rights", f"r{at}")] for at in range(len(owners))]


def test_the_entry_that_has_the_id_counts(moto_world, tmp_path):
    """Whichever of them it is."""
    found, made = run(moto_world, tmp_path, ["u", "g", "u"])
    assert [report["verdict"] for report in found] == [PASS, PASS, PASS]
    assert made == [new("Users", "u"), new("Groups", "g"), new("Users", "u")]
    assert found[2]["validation"]["dangling"] == 0


def test_an_id_that_several_have_is_taken_as_the_first_ones_and_asked_about(moto_world, tmp_path):
    """In 01, 03 and 04 alike, with the number of references; the plain report can be written as JSON."""
    found, made = run(moto_world, tmp_path, ["both", "g", "both"])
    assert made == [new("Users", "both"), new("Groups", "g"), new("Users", "both")]
    for report in found:
        assert report["verdict"] == REVIEW
        said = [alert["message"] for alert in report["alerts"] if alert["level"] == REVIEW]
        assert "2 references at owner to ids that several entries have" in said
    analysis, report, _ = found
    assert analysis["tables"]["Rights"]["several"] == {"owner": 2}
    assert report["several"] == 2
    assert json.dumps(found)


def test_an_id_that_none_has_dangles(moto_world, tmp_path):
    """Mapped as an id of the first."""
    found, made = run(moto_world, tmp_path, ["nobody"])
    assert made == [new("Users", "nobody")]
    assert found[0]["tables"]["Rights"]["dangling"] == {"owner": 1}
    assert found[2]["validation"]["dangling"] == 1
