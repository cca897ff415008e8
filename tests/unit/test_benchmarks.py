"""The benchmarks stay alive: every contender moves every item once, and figures become ratios and targets."""

import json
import sys
from pathlib import Path

import orjson
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def importable(monkeypatch, tmp_path):
    """The package lies beside the tests, not in what is installed; its runs go where the test's files go."""
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks import measure, report

    for module in (measure, report):
        monkeypatch.setattr(module, "work_folder", lambda: tmp_path)


@pytest.fixture
def canned():
    """The canned endpoint."""
    from benchmarks.server import serving

    with serving() as endpoint:
        yield endpoint


def asked(endpoint, operation: str, **request) -> dict:
    """The reply of an endpoint in this process."""
    return orjson.loads(endpoint.answer(f"DynamoDB_20120810.{operation}", orjson.dumps(request))[1])


def endpoint_for(name: str, items: int, **how):
    """An endpoint in this process, with a case's source."""
    from benchmarks.server import Endpoint
    from benchmarks.shapes import Case

    endpoint = Endpoint()
    endpoint.reset(Case.named(name, items), **{"keep": False, **how})
    return endpoint


def scanned(endpoint, table: str, **form) -> list[dict]:
    """All items that a scan of one segment brings."""
    items, more = [], {}
    while True:
        page = asked(endpoint, "Scan", TableName=table, **form, **more)
        assert page["Count"] == len(page["Items"])
        items += page["Items"]
        if "LastEvaluatedKey" not in page:
            return items
        more = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


@pytest.mark.parametrize(
    ("items", "segments"),
    [
        (1, 1),
        (1_000, 3),
        *(pytest.param(*other, marks=pytest.mark.slow) for other in ((1, 3), (1_000, 1), (2_600, 1), (2_600, 3))),
    ],
)
def test_a_scan_of_the_canned_source_brings_each_item_once(items, segments):
    """Over all its pages and segments, and in smaller pages too."""
    for name in ("copy-1kB-3", "split-1kB-0"):
        endpoint = endpoint_for(name, items)
        source = "Items-dev" if name.startswith("copy") else "Crm-dev"
        for limit in ({}, {"Limit": 300}):
            parts = [
                scanned(endpoint, source, Segment=segment, TotalSegments=segments, **limit)
                for segment in range(segments)
            ]
            ids = [item["id"]["S"] for part in parts for item in part]
            assert len(ids) == len(set(ids)) == items
    assert {"id": {"S": ids[0]}} in scanned(
        endpoint, source, ProjectionExpression="#a", ExpressionAttributeNames={"#a": "id"}
    )


def test_references_name_items_of_the_source():
    """So that the validation finds none dangling."""
    items = scanned(endpoint_for("copy-1kB-8", 1_500), "Items-dev")
    ids = {item["id"]["S"] for item in items}
    for path in ("customerId", "agentId", "regionId", "productId", "ownerId", "teamId"):
        assert {item[path]["S"] for item in items} <= ids
    assert {item["details"]["M"]["planId"]["S"] for item in items} <= ids


def test_the_canned_target_refuses_what_dynamodb_refuses():
    """A statement without the key, and a second item under one key; nothing is overwritten."""
    endpoint = endpoint_for("copy-1kB-0", 1, keep=True)
    insert = {"Statement": "INSERT INTO \"Items-prod\" VALUE {'id': ?, 'n': ?}", "Parameters": [{"S": "a"}, {"N": "1"}]}
    other = {**insert, "Parameters": [{"S": "a"}, {"N": "2"}], "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    probe = {"Statement": "INSERT INTO \"Items-prod\" VALUE {'n': ?}", "Parameters": [{"N": "1"}]}
    replies = asked(endpoint, "BatchExecuteStatement", Statements=[insert, other, probe])["Responses"]
    assert replies[0] == {"TableName": "Items-prod"}
    assert (replies[1]["Error"]["Code"], replies[1]["Error"]["Item"]["n"]) == ("DuplicateItem", {"N": "1"})
    assert replies[2]["Error"]["Code"] == "ValidationError"
    put = asked(endpoint, "PutItem", TableName="Items-prod", Item={"id": {"S": "a"}})
    assert put["Item"]["n"] == {"N": "1"}
    assert [item["n"] for item in scanned(endpoint, "Items-prod")] == [{"N": "1"}]


@pytest.mark.slow
def test_every_contender_moves_every_item_once(canned, capsys):
    """The program, the floor and boto3: as many inserts as items, none refused, and a ratio for each."""
    from benchmarks import scenarios
    from benchmarks.report import Report
    from benchmarks.shapes import Case

    report = Report()
    scenarios.contest(report, canned, Case.named("copy-1kB-3", 200), 1, with_boto3=True, keep=True)
    scenarios.contest(report, canned, Case.named("split-1kB-0", 200), 1, with_boto3=False)
    assert {"migrate", "floor", "boto3 PutItem", "boto3 batch_writer"} <= {
        row.contender for row in report.rows.values()
    }
    for row in report.rows.values():
        assert (row.counters["inserted"], row.counters["refused"]) == (200, 0), row.contender
        assert report.ratio("shapes", row.case, row.contender) > 0
    assert not report.notes, "the floor does not send what the program sends"
    report.show("shapes")
    content = json.loads(report.close("compare").read_text())
    assert content["machine"]["cores"]
    assert len(content["measurements"]) == len(report.rows)
    assert {"copy against the floor", "split against the floor"} <= {each["target"] for each in content["targets"]}
    assert "copy against boto3 PutItem" in capsys.readouterr().out


@pytest.mark.slow
def test_every_stage_is_measured(canned):
    """On a target that remembers, what was migrated is found equal, found again, and taken back."""
    from benchmarks import scenarios
    from benchmarks.report import Report
    from benchmarks.shapes import Case

    report = Report()
    scenarios.stages(report, canned, Case.named("split-1kB-0", 200), 1)
    counted = {row.contender: row.counters for row in report.rows.values()}
    assert counted["migrate"]["inserted"] == counted["undo"]["deleted"] == 200
    assert {name for name, counters in counted.items() if counters["inserted"] or counters["refused"]} == {"migrate"}


def test_a_target_is_met_or_missed(capsys):
    """Growth is held against linear growth, memory against the smallest size."""
    from benchmarks.measure import Measured
    from benchmarks.report import MAIN, MB, Report

    report = Report()
    report.add("growth", "migrate", Measured("migrate", MAIN, 100, 1.0, 1.0, 100 * MB), {})
    report.add("growth", "migrate", Measured("migrate", MAIN, 10_000, 100.0, 104.0, 140 * MB), {})
    assert [each["met"] for each in report.targets()] == [True, False, True]
    report.show_growth(10_000)
    assert "1.04" in capsys.readouterr().out


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="what a process holds is read in /proc")
@pytest.mark.parametrize("in_child", [False, True], ids=["itself", "its-child"])
def test_the_memory_of_a_command_is_its_own_and_its_children_s(in_child, tmp_path, monkeypatch):
    """What the process holds that began it does not count: a large one measures the same as a small one."""
    from benchmarks import measure

    holds, seen, peak, looks = tmp_path / "holds", tmp_path / "seen", measure._peak, []

    def counted(pid):
        if holds.exists():
            looks.append(pid)
        if len(looks) == 2:  # the first of them may have begun before it was held
            seen.touch()
        return peak(pid)

    monkeypatch.setattr(measure, "_peak", counted)
    hold = (
        "import pathlib, time; held = b'x' * 60_000_000\n"
        f"pathlib.Path({str(holds)!r}).touch()\n"
        f"while not pathlib.Path({str(seen)!r}).exists(): time.sleep(0.01)"
    )
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}])" if in_child else hold
    ballast = b"x" * 400_000_000
    _, _, memory = measure.spent([sys.executable, "-c", start])
    assert 60_000_000 < memory < 150_000_000 < len(ballast)


@pytest.mark.slow
def test_each_rule_of_the_mapping_has_its_cost(capsys):
    """Each of them does something to the items that it is measured with: an item that none changes would cost nothing."""
    from benchmarks import rules
    from benchmarks.report import Report
    from benchmarks.shapes import item_id

    found = rules.rules(item_id(1, "00000000"))
    for rule in found:
        made = [side.rows()[0] for side in (rules.Side(rule, rule.entry), rules.Side(rule, rule.without))]
        assert (made[0].item != made[1].item) is not rule.selects, rule.name
        assert not made[0].unreadable, rule.name
    report = Report()
    rules.measure(report, 1, [found[0].name, found[-1].name])
    assert [row.contender for row in report.rows.values()] == [found[0].name, found[-1].name]
    assert found[-1].name in capsys.readouterr().out
