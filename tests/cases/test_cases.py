"""Each folder here is a migration with what must come of it: every table, item for item, after every stage.

mapping.yaml and parameters.yaml are ordinary ones; source.yaml and target.yaml hold the tables before; expected.yaml
holds the figures and the target after the migration, or the refusal. See support_worlds.py for how tables are written.
"""

from pathlib import Path

import pytest
import support_worlds as worlds
from support_flows import Flow, begin, counts_of

from runbook_lib.errors import Refused
from runbook_lib.parameters import load_parameters

HERE = Path(__file__).parent
CASES = {path.parent.name: worlds.read(path) for path in sorted(HERE.glob("*/expected.yaml"))}
MIGRATIONS = [name for name, expected in CASES.items() if "refused" not in expected]
REFUSALS = [name for name, expected in CASES.items() if "refused" in expected]
COUNTED = ("scanned", "inserted", "already_there", "conflicts", "quarantined", "failed", "expired", "matched")


@pytest.mark.parametrize("name", MIGRATIONS)
def test_a_migration_makes_exactly_the_expected_tables_and_its_rollback_unmakes_them(name, world, batches, tmp_path):
    """Analyze, create, migrate, validate, roll back: figures and tables are as expected after each; the source never
    changes, nor does the target where a stage only reads. On an engine that takes batches the inserts go in batches."""
    expected = CASES[name]
    flow = begin(name, world, tmp_path)
    source, before = world.digest(worlds.SOURCE), world.content(worlds.TARGET)
    assert any(world.content(worlds.SOURCE).values())  # a case without data would prove nothing

    analysis = flow.analyze()
    check_analysis(expected, analysis)
    check_loose(expected, flow, {name: _sum(analysis, name) for name in ("dangling", "unreadable")})
    assert world.content(worlds.TARGET) == before
    assert batches == []
    made = flow.create()
    assert world.content(worlds.TARGET) == before | {table.rsplit("-", 2)[0]: [] for table in made}
    empty = world.content(worlds.TARGET)

    report = flow.migrate()
    assert world.content(worlds.TARGET) == target_of(expected)
    if expected["migration"]["verdict"] != "ROLLED_BACK":
        foretold, became = ({n: t["ledger"] for n, t in found["tables"].items()} for found in (analysis, report))
        assert became == foretold
        assert report["plan"]["drift"] == []
    check_migration(expected, report, flow)
    lost = report["relationships"] - report["relationships_preserved"]
    check_loose(expected, flow, {"dangling": lost, "unreadable": report["unreadable"]})
    several = any(counts["scanned"] > 1 for counts in report["tables"].values())  # a single item goes alone
    assert bool(batches) == (several and world.engine.name == "ministack"), batches

    after = world.digest(worlds.TARGET)
    validation = flow.validate()
    assert world.digest(worlds.TARGET) == after
    check_validation(expected, validation)
    check_loose(expected, flow, validation["validation"])

    undone = flow.rollback()
    if expected["migration"]["verdict"] != "ROLLED_BACK":
        assert undone["rollback"]["deleted"] == report["totals"]["inserted"]
    assert undone["rollback"]["kept_edited"] == 0
    assert world.content(worlds.TARGET) == empty
    assert world.digest(worlds.SOURCE) == source


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_is_one_sentence_and_changes_nothing(name, world, tmp_path):
    """What the contract refuses is refused before the first insert, in one sentence that says where and what to do."""
    refused = CASES[name]["refused"]
    source, target = worlds.SOURCE, worlds.TARGET
    world.build(worlds.read(HERE / name / "source.yaml"), source)
    world.build(worlds.read(HERE / name / "target.yaml"), target)
    before = world.content(source), world.content(target)
    with pytest.raises(Refused) as raised:
        Flow(load_parameters(HERE / name / "parameters.yaml"), tmp_path).migrate()
    sentence = str(raised.value).replace(world.suffix, "SUFFIX")
    assert "\n" not in sentence
    assert raised.value.exit_code == 2
    for part in refused:
        assert part in sentence
    assert (world.content(source), world.content(target)) == before


def check_analysis(expected: dict, analysis: dict) -> None:
    """The dry run foretells what the migration does."""
    wanted = expected["analysis"]
    tables = analysis["tables"]
    assert {name: table["records"] for name, table in tables.items()} == wanted["records"]
    assert analysis["totals"]["records"] == sum(wanted["records"].values())
    for figure in ("dangling", "unreadable", "sparse"):
        assert {n: table[figure] for n, table in tables.items() if table[figure]} == wanted.get(figure, {}), figure
    found = [
        [one["table"], one["rule"], one["name"].partition("-dev-")[0], one["items"], one["suggestion"]]
        for one in analysis["unmatched"]
    ]
    assert found == wanted.get("unmatched", []), analysis["alerts"]
    decided = [one for one in analysis["unmatched"] if one["level"] == "NOTE" or one["accepted"]]
    assert analysis["totals"]["unmatched"] == len(found) - len(decided)
    ids = [[one["table"], one["path"], one["to"], one["found"], one["line"]] for one in analysis["undeclared"]]
    assert ids == wanted.get("undeclared", []), analysis["undeclared"]
    if "open" in wanted:
        assert sorted(alert["table"] for alert in analysis["alerts"] if alert["level"] == "REVIEW") == wanted["open"]
    assert {n: table["fell_back"] for n, table in tables.items() if table["fell_back"]} == wanted.get("fell_back", {})
    for name, ledger in wanted.get("ledger", {}).items():
        counts = {a: {w: n for w, n in words.items() if n} for a, words in tables[name]["ledger"].items()}
        assert counts == ledger, name
    assert not any(words["unaccounted"] for table in tables.values() for words in table["ledger"].values())
    assert analysis["totals"]["unrouted"] == wanted.get("unrouted", 0)
    if "levels" in wanted:
        assert {name: table["level"] for name, table in tables.items()} == wanted["levels"]
    assert analysis["verdict"] == wanted["verdict"], analysis["alerts"]
    if expected["migration"]["verdict"] == "ROLLED_BACK":
        return
    migration = expected["migration"]["tables"]
    for figure in ("quarantined", "conflicts", "already_there"):
        foretold = {name: table[figure] for name, table in tables.items()}
        assert foretold == {name: counts.get(figure, 0) for name, counts in migration.items()}, figure


def check_migration(expected: dict, report: dict, flow: Flow) -> None:
    """Counts per entry and in sum, listings and id map."""
    wanted = expected["migration"]
    assert report["verdict"] == wanted["verdict"], report["alerts"]
    assert counts_of(report) == {name: dict.fromkeys(COUNTED, 0) | counts for name, counts in wanted["tables"].items()}
    for counts in report["tables"].values():
        assert counts["scanned"] == sum(counts[key] for key in COUNTED[1:])
    sums = {key: sum(counts[key] for counts in report["tables"].values()) for key in COUNTED}
    assert report["totals"] == sums | {"unrouted": wanted.get("unrouted", 0)}
    for name in ("quarantine", "conflicts", "unrouted", "failed"):
        found = [{key: value for key, value in line.items() if key != "reason"} for line in flow.listing(name)]
        assert sorted(map(_listed, found)) == sorted(map(_listed, expected.get("listings", {}).get(name, ()))), name
    check_id_map(expected, report, flow)


def check_loose(expected: dict, flow: Flow, counted: dict[str, int]) -> None:
    """The listings of references are whole: as many lines as the stage counted, and those that are expected."""
    for name in ("dangling", "unreadable"):
        lines = flow.listing(name)
        assert len(lines) == counted[name], name
        if wanted := expected.get("loose", {}).get(name):
            assert sorted(map(worlds.as_text, lines)) == sorted(map(worlds.as_text, wanted)), name


def _sum(analysis: dict, name: str) -> int:
    return sum(sum(table[name].values()) for table in analysis["tables"].values())


def _listed(line: dict) -> str:
    table = line["table"].partition("-dev-")[0]  # unrouted items are listed under their source table
    return worlds.as_text([table, worlds.plain_item(line["key"]), line.get("attribute", "")])


def check_id_map(expected: dict, report: dict, flow: Flow) -> None:
    """One row for each routed item, with the ids the design describes."""
    import pyarrow.parquet

    rows = pyarrow.parquet.read_table(flow.outputs / flow.run_id / "id-map.parquet").to_pylist()
    assert report["id_map"]["rows"] == len(rows)
    assert len(rows) == report["totals"]["scanned"] - report["totals"]["quarantined"]
    found = [(row["table"], row["source_id"], row["target_id"]) for row in rows]
    for row in expected.get("id_map", ()):
        assert tuple(row) in found


def check_validation(expected: dict, report: dict) -> None:
    """The proof agrees with what is there."""
    for figure, number in expected["validation"].items():
        assert report["validation"][figure] == number, (figure, report["validation"], report["alerts"])
    for query in report["validation"]["queries"]:
        assert query["proved"], query
    left = expected.get("residual", {})
    residual = report["validation"]["residual_ids"]
    assert residual["by_path"] == left.get("ids", {}), residual
    coincidences = {table.partition("-")[0]: paths for table, paths in residual["coincidences_by_path"].items()}
    assert coincidences == left.get("coincidences", {})
    assert report["validation"]["residual_environment"]["by_path"] == left.get("environment", {})
    assert len(report["validation"]["queries"]) == expected.get("queries", 0)


def target_of(expected: dict) -> dict[str, list[dict]]:
    """Table → items, as they must be after the migration."""
    return {table: worlds.plain_items(items) for table, items in sorted(expected["target"].items())}
