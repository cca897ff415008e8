"""docs/cutover.md, done step by step by command, while an application writes to the source; and the way back."""

import json
import re

import engines
import pytest
from support_cutover import ENV_COPY, TABLE_SPLIT, Cutover, commands
from support_worlds import plain_items

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("in_process")]
SHIPPED = pytest.mark.parametrize(
    ("migration", "engine_name"),
    [
        pytest.param(ENV_COPY, "moto", id="env_copy"),
        pytest.param(TABLE_SPLIT, "ministack", id="table_split-ministack"),
        pytest.param(TABLE_SPLIT, "moto", id="table_split", marks=pytest.mark.long),
    ],
)


@pytest.fixture
def cutover(migration, engine_name, tmp_path, monkeypatch):
    """A reader with a server of his own, because the shipped files name their tables."""
    if reason := engines.missing(engine_name):
        pytest.skip(reason)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_REGION", engines.REGION)
    with engines.running(engine_name) as engine:
        monkeypatch.setenv("AWS_ENDPOINT_URL", engine.endpoint_url)
        with Cutover(migration, engine, tmp_path) as reader:
            yield reader


def until_following(cutover: Cutover, page: dict[str, list[str]]) -> None:
    """The page's steps until the target is followed and the application has written a little."""
    for line in page["What you need"]:
        cutover.do(line)
    (draft,) = page["1"]
    cutover.do(f"{draft} -p mapping=drafted.yaml")  # the shipped mapping is there
    assert cutover.code in (0, 1), cutover.said
    for step, codes in (("2", (0, 1)), ("3", (0,)), ("4", (0,))):
        for line in page[step]:
            cutover.do(line)
            assert cutover.code in codes, cutover.said
    assert cutover.content() == cutover.emptied()
    cutover.application.start()
    (migrate,) = page["5"]
    cutover.do(migrate)
    (watch,) = page["6"]
    cutover.watched(watch, rf"03_migrate: following {len(cutover.keys)} tables?, \d+ s behind .*, [1-9][\d,]* applied")


@SHIPPED
def test_the_timetable_leads_to_two_equal_sides(cutover):
    """Each command of the page, in order. Where it fails, the text or the program is wrong."""
    page = commands()
    until_following(cutover, page)
    stop, validate, again = page["7"]
    cutover.do(stop)
    assert (cutover.code, cutover.ended()[0]) == (0, 3)
    cutover.do(validate)
    assert cutover.code in (0, 1), cutover.said
    cutover.do(again)
    cutover.application.stop()  # step 8
    assert all(cutover.application.done.values())
    (ask,) = page["9"]
    cutover.do(ask)
    assert cutover.code == 0, cutover.said
    answer = cutover.said.splitlines()[-1]
    code, said = cutover.ended()
    assert code in (0, 1), said
    assert re.search(r"from (\S+) on", answer)[0] in said
    assert cutover.content() == cutover.expected()
    cutover.do(ask)
    assert (cutover.code, cutover.said.splitlines()[-1]) == (0, answer)
    validate, verify, bundle = page["11"]
    cutover.do(validate)
    assert cutover.code in (0, 1), cutover.said
    for line in (verify, bundle):
        cutover.do(line)
        assert cutover.code == 0, cutover.said
    assert (cutover.project / f"outputs/{cutover.run_id}.zip").exists()
    report = json.loads(
        sorted((cutover.project / "outputs" / cutover.run_id).glob("migration-report-*"))[-1].read_text()
    )
    assert {key: report["validation"][key] for key in ("missing", "different")} == {"missing": 0, "different": 0}


@pytest.mark.parametrize(("migration", "engine_name"), [(TABLE_SPLIT, "moto")], ids=["table_split"])
def test_the_way_back_before_the_gate_opens(cutover):
    """While the application writes the gate stays closed; a rollback empties the target."""
    page = commands()
    until_following(cutover, page)
    (ask,) = page["9"]
    cutover.do(ask)
    assert cutover.code == 1, cutover.said
    assert "expressnext-crm: the last change came" in cutover.said
    stop, rollback = page["How to go back"]
    cutover.do(stop)
    assert (cutover.code, cutover.ended()[0]) == (0, 3)
    cutover.do(ask)
    assert cutover.code == 2, cutover.said
    assert f"nothing follows the source of {cutover.run_id} now" in cutover.said
    cutover.do(rollback)
    assert cutover.code == 0, cutover.said
    cutover.application.stop()
    assert cutover.content() == cutover.emptied()


@pytest.mark.parametrize(("migration", "engine_name"), [(ENV_COPY, "moto")], ids=["env_copy"])
def test_the_way_back_after_the_gate_has_opened(cutover):
    """What the application has written to the target stays, and is listed; everything else goes."""
    page = commands()
    until_following(cutover, page)
    cutover.application.stop()
    cutover.do(page["9"][0])
    assert cutover.code == 0, cutover.said
    cutover.ended()
    target = cutover.migration.target("Properties")
    copy = cutover.content()[target][0]
    written = {**copy, "title": {"S": "edited in the target"}}
    new = {"id": {"S": "new"}, "title": {"S": "made in the target"}}
    for item in (written, new):
        cutover.engine.call("PutItem", TableName=target, Item=item)
    _, rollback = page["How to go back"]  # nothing follows any more
    cutover.do(rollback)
    assert cutover.code == 1, cutover.said
    wanted = {**cutover.emptied(), target: plain_items([written, new])}
    assert cutover.content() == wanted
    kept = (cutover.project / "outputs" / cutover.run_id / "kept.jsonl").read_text().splitlines()
    assert [json.loads(line)["table"] for line in kept] == ["Properties"]
