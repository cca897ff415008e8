"""Drafted mappings, unedited, through all stages: the copy holds no id of the source, and nothing is lost."""

from pathlib import Path

import pytest
from support_flows import Flow

from runbook_lib.demo.data import EXPECTED
from runbook_lib.demo.world import World as DemoWorld
from runbook_lib.mapping.load import load_mapping
from runbook_lib.parameters import Parameters, load_parameters
from runbook_lib.stages.draft.draft import Draft, Sources, draft, write_mapping
from runbook_lib.stages.draft.survey import open_sources

PARAMETERS = Path(__file__).resolve().parents[2] / "parameters"


def drafted(name: str, folder: Path, pattern: str = "") -> tuple[Parameters, Draft]:
    """The mapping of one of the demo's migrations, drafted into a folder; and the parameters that name it."""
    changes = {"mapping": str(folder / "drafted.yaml"), "target.backup": "waived"}
    parameters = load_parameters(PARAMETERS / f"demo_{name}.yaml", changes)
    plan, names = open_sources(parameters, pattern)
    made = draft(parameters, Sources(names, plan), None, None)
    write_mapping(parameters.mapping_path(), made.text, force=False)
    return parameters, made


@pytest.fixture(scope="module")
def demo():
    with DemoWorld() as world:
        yield world


@pytest.mark.slow
def test_the_demos_environment_is_copied_with_a_drafted_mapping(demo, tmp_path):
    """35 tables. What the mapping by hand leaves undeclared is found, records in logs as well."""
    parameters, made = drafted("env_copy", tmp_path)
    assert made.rules(ambiguous=True) == []
    by_hand = load_mapping(load_parameters(PARAMETERS / "demo_env_copy.yaml"))
    wanted = {(name, path) for name, entry in by_hand.entries.items() for path in entry.model.references}
    found = {(name, rule.path) for name, rule in made.rules(ambiguous=False)}
    undeclared = {tuple(path.split(".")) for path in EXPECTED["env_copy"]["undeclared"]}
    records = {("ContactAuditLog", f"{data}Data:json") for data in ("previous", "new")}  # of contacts: an id is all
    assert found == (wanted | undeclared) - records | {(name, f"{path}.id") for name, path in records}

    flow = Flow(parameters, tmp_path / "outputs")
    analysis = flow.analyze()
    assert (analysis["undeclared"], analysis["unmatched"]) == ([], [])
    assert sorted(flow.create()) == sorted(f"{n}-demoprod-NONE" for n in EXPECTED["env_copy"]["missing"])
    assert flow.migrate()["totals"]["inserted"] == EXPECTED["env_copy"]["total"]
    validation = flow.validate()["validation"]
    assert validation["residual_ids"]["items"] == 0
    assert (validation["missing"], validation["different"]) == (0, 0)
    assert validation["dangling"] == sum(
        number for paths in EXPECTED["env_copy"]["dangling"].values() for number in paths.values()
    )


@pytest.mark.slow
def test_the_demos_single_table_becomes_an_entry_for_each_kind(demo, tmp_path):
    """Four kinds; what is of none is unrouted, as with the mapping by hand."""
    parameters, made = drafted("table_split", tmp_path, "{table}")
    expected = EXPECTED["table_split"]
    kinds = {"Leads": "LEAD", "Deals": "DEAL", "Resources": "RESOURCE", "Pipelines": "PIPELINE"}
    assert {name: entry.where for name, entry in made.entries.items()} == {
        kind: {"entity_type": kind} for kind in kinds.values()
    }
    assert {name: made.entries[kinds[name]].items for name in kinds} == expected["selected"]
    assert sum(one.items for one in made.unrouted) == expected["unrouted"]
    assert {name: [r.rule for r in entry.rules if r.path == "pk"] for name, entry in made.entries.items()} == {
        kind: [f"{kind}#{{{kind}}}"] for kind in kinds.values()
    }
    flow = Flow(parameters, tmp_path / "outputs")
    flow.analyze()
    assert flow.create() == ["expressnext-crm-democrm-v2"]
    report = flow.migrate()
    assert report["totals"]["inserted"] == sum(expected["selected"].values())
    validation = flow.validate()["validation"]
    assert validation["residual_ids"]["items"] == validation["missing"] == validation["different"] == 0
