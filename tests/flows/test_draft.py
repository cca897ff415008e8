"""Drafted mappings, unedited, through all stages: the copy holds no id of the source, and nothing is lost."""

import json
import re
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5

import pytest
import support_worlds as worlds
from support_flows import Flow
from support_single_tables import KINDS

from runbook_lib.demo.data import EXPECTED
from runbook_lib.demo.world import World as DemoWorld
from runbook_lib.mapping.file.load import load_mapping
from runbook_lib.parameters import Parameters, build_parameters, load_parameters
from runbook_lib.stages.draft.draft import Draft, draft, find_sources, write_mapping

PARAMETERS = Path(__file__).resolve().parents[2] / "parameters"


def u(name: object) -> str:
    return str(uuid5(NAMESPACE_OID, str(name)))


def s(text: str) -> dict:
    return {"S": text}


def app() -> dict:
    """A shop in one table, settings keyed by their user, numbered invoices, a log of all, attributes with odd names."""
    users = [
        {"PK": s(f"USER#{u(n)}"), "SK": s(f"PROFILE#{u(n)}"), "type": s("User"), "userId": s(u(n)), "on": s(u(n // 2))}
        for n in range(12)
    ]
    orders = [
        {"PK": s(f"USER#{u(n % 12)}"), "SK": s(f"ORDER#{u(100 + n)}"), "type": s("it's: an #order ${HOME}"),
         "orderId": s(u(100 + n)), "byStatus": s(f"ORDER#{u(100 + n)}"), "user's": s(u(n % 12))}
        for n in range(30)
    ]  # fmt: skip
    lines = [
        {"PK": s(f"ORDER#{u(100 + n % 30)}"), "SK": s(f"LINE#{n}"), "type": s("Line"), "count": {"N": "1"}}
        for n in range(60)
    ]
    settings = [{"userId": s(u(n)), "theme": s("dark")} for n in range(10)]
    invoices = [{"no": {"N": str(70_000 + 7 * n)}, "user": s(u(n % 12))} for n in range(20)]
    logs = []
    for n in range(30):
        kind = ("Settings", "Invoices")[n % 2]
        about = u(n % 10) if n % 2 == 0 else str(70_000 + 7 * (n % 20))
        state = {"no": int(about), "user": u(n % 12)} if n % 2 else {"userId": about}
        logs.append({"id": s(u(f"log {n}")), "kind": s(kind), "now": s(json.dumps(state, indent=n % 3))})
    return {
        "App": {"key": {"PK": "S", "SK": "S"}, "indexes": {"byStatus": {"byStatus": "S"}}, "items": [*users, *orders, *lines]},
        "Settings": {"key": {"userId": "S"}, "items": settings},
        "Invoices": {"key": {"no": "N"}, "items": invoices},
        "Logs": {"key": {"id": "S"}, "items": logs},
        "Empty": {"key": {"id": "S"}},
    }  # fmt: skip


def test_a_copy_by_a_drafted_mapping_holds_no_id_of_the_source(moto_world, tmp_path, monkeypatch):
    """Draft, analysis, tables, migration and validation, of kinds, keys and names of every sort; nothing is edited."""
    monkeypatch.setenv("HOME", "elsewhere")
    moto_world.build(app(), worlds.SOURCE)
    side = {"region": "us-west-1", "endpoint_url": moto_world.engine.endpoint_url}
    content = {
        "mapping": str(tmp_path / "drafted.yaml"),
        "source": {"environment": worlds.SOURCE, **side},
        "target": {"environment": worlds.TARGET, **side},
    }
    parameters = build_parameters(content)
    made = drafted(parameters, f"{{table}}-{{source.environment}}-{moto_world.suffix}")
    assert made.rules(ambiguous=True) == []
    flow = Flow(parameters, tmp_path)
    analysis = flow.analyze()
    assert (analysis["undeclared"], analysis["totals"]["dangling"]) == ([], 0)
    assert [(one["table"], one["rule"]) for one in analysis["unmatched"]] == [("Empty", "empty")]
    assert len(flow.create()) == 5
    assert flow.migrate()["totals"]["inserted"] == 162
    validation = flow.validate()["validation"]
    assert (validation["missing"], validation["different"], validation["residual_ids"]["items"]) == (0, 0, 0)
    copied = json.dumps(moto_world.content(worlds.TARGET))
    assert not [n for n in range(130) if u(n) in copied]


def test_what_the_target_has_already_is_proposed_as_a_match(moto_world, tmp_path):
    """Both sides are only read: the target's connection cannot write, and both are as they were."""
    people = [
        {"id": s(u(n)), "email": s(f"user{n}@example.com"), "boss": s(u(n // 2)), "at": s("2025-01-01")}
        for n in range(30)
    ]
    known = [{"id": s(u(1000 + n)), "email": s(f"user{n % 13}@example.com")} for n in range(7, 21)]
    moto_world.build({"Users": {"key": {"id": "S"}, "items": people}, "Empty": {"key": {"id": "S"}}}, worlds.SOURCE)
    moto_world.build({"Users": {"key": {"id": "S"}, "items": known}}, worlds.TARGET)
    before = [moto_world.content(side) for side in (worlds.SOURCE, worlds.TARGET)]
    side = {"region": "us-west-1", "endpoint_url": moto_world.engine.endpoint_url}
    content = {
        "mapping": str(tmp_path / "drafted.yaml"),
        "source": {"environment": worlds.SOURCE, **side},
        "target": {"environment": worlds.TARGET, **side},
        "limits": {"read_units": 1_000},
    }
    parameters = build_parameters(content)
    sources = find_sources(parameters, f"{{table}}-{{source.environment}}-{moto_world.suffix}")
    assert [*sources.targets.tables.values()] == [moto_world.name("Users", worlds.TARGET)]
    with pytest.raises(AssertionError):
        sources.plan.target.wire.call("PutItem", {"TableName": sources.targets.tables.popitem()[1], "Item": known[0]})
    sources = find_sources(parameters, f"{{table}}-{{source.environment}}-{moto_world.suffix}")
    made = draft(parameters, sources, None, None)
    ((entry, found),) = made.natural_keys()
    assert (entry, found.attribute, found.both, found.ambiguous) == ("Users", "email", 13, 1)
    assert "    # match: {by: [email], found: reuse}" in made.text
    assert [moto_world.content(side) for side in (worlds.SOURCE, worlds.TARGET)] == before


def of_the_demo(name: str, folder: Path) -> Parameters:
    """The parameters of one of the demo's migrations, with a mapping file that does not exist yet."""
    changes = {"mapping": str(folder / "drafted.yaml"), "target.backup": "waived"}
    return load_parameters(PARAMETERS / f"demo_{name}.yaml", changes)


def drafted(parameters: Parameters, pattern: str = "") -> Draft:
    """The draft, after its file is written."""
    made = draft(parameters, find_sources(parameters, pattern), None, None)
    write_mapping(parameters.mapping_path(), made.text, force=False)
    return made


@pytest.fixture(scope="module")
def demo():
    with DemoWorld() as world:
        yield world


@pytest.mark.long
def test_the_demos_environment_is_copied_with_a_drafted_mapping(demo, tmp_path):
    """35 tables. What the mapping by hand leaves undeclared is found, records in logs as well."""
    parameters = of_the_demo("env_copy", tmp_path)
    made = drafted(parameters)
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
    parameters = of_the_demo("table_split", tmp_path)
    made = drafted(parameters, "{table}")
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


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_table_is_copied_with_a_drafted_mapping(kind, moto_world, tmp_path):
    """Nothing is edited: every item arrives once, every key is as it was but for its ids, and no id of the source is left."""
    made = KINDS[kind]()
    moto_world.build({"App": {"key": made.key, "indexes": made.indexes, "items": made.items}}, worlds.SOURCE)
    side = {"region": "us-west-1", "endpoint_url": moto_world.engine.endpoint_url}
    sides = {"source": {"environment": worlds.SOURCE, **side}, "target": {"environment": worlds.TARGET, **side}}
    parameters = build_parameters({"mapping": str(tmp_path / "drafted.yaml"), **sides})
    drafted(parameters, f"{{table}}-{{source.environment}}-{moto_world.suffix}")
    flow = Flow(parameters, tmp_path)
    analysis = flow.analyze()
    assert [one for one in analysis["undeclared"] if one["confidence"] >= 0.9] == analysis["unmatched"] == []
    assert (analysis["totals"]["unrouted"], analysis["totals"]["dangling"]) == (0, 0)
    assert {name: table["unreadable"] for name, table in analysis["tables"].items() if table["unreadable"]} == {}
    flow.create()
    assert flow.migrate()["totals"]["inserted"] == len(made.items)
    validation = flow.validate()["validation"]
    assert (validation["missing"], validation["different"], validation["residual_ids"]["items"]) == (0, 0, 0)
    copied = json.dumps(moto_world.content(worlds.TARGET))
    assert [one for one in made.source_ids if re.search(rf"{re.escape(one)}(?![0-9A-Za-z])", copied)] == []


@pytest.mark.slow
def test_the_demos_shop_is_drafted_as_it_was_mapped_by_hand(demo, tmp_path):
    """Ids inside keys, the same entries and the same references; only which of two equal keys holds the id may differ."""
    made = drafted(of_the_demo("shop_copy", tmp_path))
    by_hand = load_mapping(load_parameters(PARAMETERS / "demo_shop_copy.yaml")).entries
    names = {"line": "Lines", "order": "Orders", "customer": "Customers", "product": "Products", "cart": "Carts"}
    assert (made.rules(ambiguous=True), made.unrouted, {*made.entries}) == ([], [], {*names})
    for name, other in names.items():
        mine, theirs = made.mapping.entries[name], by_hand[other]
        assert {names[parent] for path in mine.paths for parent in mine.named(path)} == theirs.parents()
        holds_id = {mine.model.id, theirs.model.id}
        assert {path for path in mine.paths if path not in holds_id} == {p for p in theirs.paths if p not in holds_id}
        assert bool(mine.id_parts) is bool(theirs.id_parts)
