"""Rows 67 and 68: a way back before the first insert into production, and what restoring it does and does not."""

import itertools
import json
import stat
from datetime import timedelta
from types import SimpleNamespace

import pytest
import support_fixtures
import support_worlds as worlds
from botocore.awsrequest import AWSResponse
from support_flows import flow_of

from runbook_lib.dynamo import errors as faults
from runbook_lib.dynamo import session, tables
from runbook_lib.dynamo.transport import Transport
from runbook_lib.errors import Interrupted, Refused
from runbook_lib.journal.stage import Stage
from runbook_lib.run import folder as runs
from runbook_lib.stages.migrate import backup_gate as backups
from runbook_lib.stages.migrate import migrate
from runbook_lib.stages.rollback import restore

moto_world, world = support_fixtures.moto_world, support_fixtures.world
SOURCE, TARGET = worlds.SOURCE, worlds.TARGET
SHIPS = "{Ports: {}, Ships: {references: {portId: Ports}}}"
RESIDENTS = {"Ports": [{"id": {"S": "old"}, "depth": {"N": "7"}}], "Ships": [{"id": {"S": "wreck"}}]}
WRITING = {"PutItem", "DeleteItem", "BatchWriteItem", "UpdateItem"}


@pytest.fixture(autouse=True)
def quick_polls(monkeypatch):
    """Looks follow each other at once."""
    monkeypatch.setattr(tables, "POLL", 0.01)
    monkeypatch.setattr(tables, "MAX_POLL", 0.02)


@pytest.fixture
def calls(monkeypatch):
    """What is asked of the target, in order, as (operation, table): by boto3's client and on the data path.

    `calls.answers` gives an operation the code of a refusal, or a function of the request that may give one.
    """
    found = SimpleNamespace(seen=[], answers={})
    connect, post = session.connect, Transport.post

    def before(params, model, **_):
        request = json.loads(params["body"] or b"{}")
        found.seen.append((model.name, request.get("TableName") or request.get("BackupArn")))
        answer = found.answers.get(model.name)
        code = answer(request) if callable(answer) else answer
        if isinstance(code, str):
            return AWSResponse("", 400, {}, None), {
                "Error": {"Code": code, "Message": "no"},
                "ResponseMetadata": {"HTTPStatusCode": 400},
            }
        return code and (AWSResponse("", 200, {}, None), code)

    def connected(side, label, **options):
        opened = connect(side, label, **options)
        if label == "target":
            opened.client.meta.events.register("before-call.dynamodb", before)
        return opened

    def posted(transport, keys, operation, body):
        if operation in WRITING:
            found.seen.append((operation, json.loads(body)["TableName"]))
        return post(transport, keys, operation, body)

    monkeypatch.setattr(session, "connect", connected)
    monkeypatch.setattr(Transport, "post", posted)
    found.of = lambda operation: [name for seen, name in found.seen if seen == operation]
    return found


def harbour(world, folder, *, recovering=(), run_id="the-first-run", **changes):
    """A production migration, not yet begun, into tables that hold an item each; `recovering` have recovery on."""
    key = {"key": {"id": "S"}}
    world.build(
        {
            "Ports": key | {"items": [{"id": {"S": f"p{n}"}} for n in range(3)]},
            "Ships": key | {"items": [{"id": {"S": f"s{n}"}, "portId": {"S": "p1"}} for n in range(4)]},
        },
        SOURCE,
    )
    world.build({table: key | {"items": items} for table, items in RESIDENTS.items()}, TARGET)
    for table in recovering:
        world.client.update_continuous_backups(
            TableName=world.name(table, TARGET), PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
        )
    folder.mkdir(exist_ok=True)
    return production(flow_of(SHIPS, world, folder, run_id, workers=2), **changes)


def production(flow, **changes):
    """The flow with a production target."""
    target = flow.parameters.target.model_copy(update={"production": True} | changes)
    flow.parameters = flow.parameters.model_copy(update={"target": target})
    return flow


def checkpoint(flow):
    """The content of the migration's checkpoint."""
    return json.loads(flow.checkpoint().read_text())


def check_nothing_written(flow, calls, world):
    """No insert, no checkpoint, the target as it was."""
    assert not WRITING & {operation for operation, _ in calls.seen}
    assert world.content(TARGET) == {t: worlds.plain_items(items) for t, items in RESIDENTS.items()}
    assert not list((flow.outputs / flow.run_id).glob("migration-checkpoint-*.json"))


# the gate


def test_recovery_that_is_on_is_noted(moto_world, tmp_path, calls):
    """Row 68: nothing is taken; checkpoint and report name the kind, and no alert is raised."""
    flow = harbour(moto_world, tmp_path, recovering=("Ports", "Ships"))
    content = flow.migrate()
    ports, ships = (moto_world.name(table, TARGET) for table in ("Ports", "Ships"))
    assert content["verdict"] == "PASS"
    assert {name: about["kind"] for name, about in content["backups"].items()} == dict.fromkeys(
        (ports, ships), "point_in_time"
    )
    assert checkpoint(flow)["backups"] == content["backups"]
    assert content["backups"][ports]["arn"] is None
    assert calls.of("CreateBackup") == []


def test_a_backup_is_taken_before_the_first_insert(moto_world, tmp_path, calls):
    """Row 68: of the table without recovery alone; it holds what the target held, and its ARN is in the checkpoint."""
    flow = harbour(moto_world, tmp_path, recovering=("Ports",))
    content = flow.migrate()
    ships = moto_world.name("Ships", TARGET)
    assert calls.of("CreateBackup") == [ships]
    operations = [operation for operation, _ in calls.seen]
    assert operations.index("CreateBackup") < operations.index("DescribeBackup") < operations.index("PutItem")
    about = checkpoint(flow)["backups"][ships]
    assert (about["kind"], about["status"]) == ("on_demand", "AVAILABLE")
    assert about["name"] == f"runbook-the-first-run-{ships}"
    assert content["backups"][ships] == about
    moto_world.client.restore_table_from_backup(TargetTableName=f"Look-{ships}", BackupArn=about["arn"])
    assert moto_world.items(f"Look-{ships}") == worlds.plain_items(RESIDENTS["Ships"])
    moto_world.client.delete_table(TableName=f"Look-{ships}")


def test_a_resumed_run_takes_no_other_backup(moto_world, tmp_path, calls, monkeypatch):
    """Row 68: interrupted after the gate, resumed, and executed once more: each table is asked about once."""
    flow = harbour(moto_world, tmp_path)
    look = migrate.look_at_targets
    monkeypatch.setattr(migrate, "look_at_targets", lambda *_: (_ for _ in ()).throw(Interrupted("by hand.")))
    with pytest.raises(Interrupted):
        flow.migrate()
    monkeypatch.setattr(migrate, "look_at_targets", look)
    first = flow.migrate()["backups"]
    assert flow.migrate()["backups"] == first == checkpoint(flow)["backups"]
    assert len(calls.of("CreateBackup")) == len(calls.of("DescribeContinuousBackups")) == 2


def test_an_execution_of_more_tables_asks_for_those(moto_world, tmp_path, calls):
    """Row 68: `--tables` first of one entry, then of the other: each table is backed up before its own first insert."""
    flow = harbour(moto_world, tmp_path)
    ports, ships = (moto_world.name(table, TARGET) for table in ("Ports", "Ships"))
    assert list(flow.migrate(["Ports"])["backups"]) == [ports]
    assert calls.of("CreateBackup") == [ports]
    assert sorted(flow.migrate(["Ships"])["backups"]) == [ports, ships]
    assert calls.of("CreateBackup") == [ports, ships]
    assert calls.seen.index(("CreateBackup", ships)) < calls.seen.index(("PutItem", ships))


def test_a_waiver_is_recorded_and_shown(moto_world, tmp_path, calls):
    """Row 68: nothing is asked of DynamoDB; checkpoint, report and its notes say so; the verdict stays."""
    flow = harbour(moto_world, tmp_path, backup="waived")
    content = flow.migrate()
    assert {about["kind"] for about in checkpoint(flow)["backups"].values()} == {"waived"}
    assert content["verdict"] == "PASS"
    assert [alert["message"] for alert in content["alerts"]] == ["no backup: waived by target.backup"] * 2
    assert not {"DescribeContinuousBackups", "CreateBackup"} & {operation for operation, _ in calls.seen}


def test_a_target_that_is_not_production_is_not_asked(moto_world, tmp_path, calls):
    """No call, an empty section."""
    flow = harbour(moto_world, tmp_path, production=False)
    assert flow.migrate()["backups"] == {} == checkpoint(flow)["backups"]
    assert not {"DescribeContinuousBackups", "CreateBackup"} & {operation for operation, _ in calls.seen}


@pytest.mark.parametrize("operation", ["DescribeContinuousBackups", "CreateBackup", "DescribeBackup"])
def test_a_missing_right_refuses_and_names_it(operation, moto_world, tmp_path, calls):
    """Row 68: one sentence with the right and the waiver; nothing is written. With the right the same run goes on."""
    flow = harbour(moto_world, tmp_path)
    calls.answers[operation] = "AccessDeniedException"
    with pytest.raises(
        Refused, match=rf"allow dynamodb:{operation} on \S+ for .*, or set target\.backup: waived"
    ) as raised:
        flow.migrate()
    assert "\n" not in str(raised.value)
    check_nothing_written(flow, calls, moto_world)
    calls.answers.clear()
    assert flow.migrate()["verdict"] == "PASS"
    assert len(calls.of("CreateBackup")) == (3 if operation == "CreateBackup" else 2)


def test_a_backup_that_never_comes_interrupts(moto_world, tmp_path, calls, monkeypatch):
    """Row 68: after the deadline, naming the tables; nothing is written. Resuming waits for the same backups."""
    flow = harbour(moto_world, tmp_path)
    calls.answers["DescribeBackup"] = lambda request: described(request, "CREATING")
    monkeypatch.setattr(backups, "DEADLINE", 0.1)
    with pytest.raises(
        Interrupted, match=r"after 0 seconds these backups are not available: Ports.* \(CREATING\), Ships"
    ):
        flow.migrate()
    check_nothing_written(flow, calls, moto_world)
    calls.answers.clear()
    assert flow.migrate()["verdict"] == "PASS"
    assert len(calls.of("CreateBackup")) == 2
    assert {about["status"] for about in checkpoint(flow)["backups"].values()} == {"AVAILABLE"}


def test_a_waiver_ends_the_waiting(moto_world, tmp_path, calls, monkeypatch):
    """Row 68: a run whose backups did not come goes on without them when target.backup says so."""
    flow = harbour(moto_world, tmp_path)
    calls.answers["DescribeBackup"] = lambda request: described(request, "CREATING")
    monkeypatch.setattr(backups, "DEADLINE", 0.05)
    with pytest.raises(Interrupted):
        flow.migrate()
    production(flow, backup="waived")
    assert {about["kind"] for about in flow.migrate()["backups"].values()} == {"waived"}


def described(request, status):
    """The reply to DescribeBackup."""
    details = {"BackupArn": request["BackupArn"], "BackupStatus": status}
    return {"BackupDescription": {"BackupDetails": details}}


def test_a_backup_that_was_deleted_meanwhile_is_taken_anew(moto_world, tmp_path, calls, monkeypatch):
    """Row 68: what is recorded as begun and is gone when the run is resumed does not count."""
    flow = harbour(moto_world, tmp_path)
    calls.answers["DescribeBackup"] = lambda request: described(request, "CREATING")
    monkeypatch.setattr(backups, "DEADLINE", 0.05)
    with pytest.raises(Interrupted):
        flow.migrate()
    calls.answers.clear()
    monkeypatch.setattr(backups, "DEADLINE", 10)
    begun = Stage(flow.run(), "migrate").backups()
    for about in begun.values():
        moto_world.client.delete_backup(BackupArn=about["arn"])
    now = flow.migrate()["backups"]
    assert not {about["arn"] for about in now.values()} & {about["arn"] for about in begun.values()}
    assert len(calls.of("CreateBackup")) == 4


@pytest.mark.parametrize("code", sorted(backups.backups.BUSY))
def test_a_busy_dynamodb_is_asked_again(code, moto_world, tmp_path, calls):
    """Row 68: too many at once, or a table that is not ready for it: tried again until it takes the backup."""
    refusals = itertools.chain([code] * 3, itertools.repeat(None))
    calls.answers["CreateBackup"] = lambda request: next(refusals)
    flow = harbour(moto_world, tmp_path)
    assert flow.migrate()["verdict"] == "PASS"
    assert len(calls.of("CreateBackup")) == 5


def test_only_so_many_backups_are_begun_at_once(moto_world, tmp_path, calls, monkeypatch):
    """Row 68: the next is begun when one is available."""
    monkeypatch.setattr(backups, "IN_FLIGHT", 1)
    harbour(moto_world, tmp_path).migrate()
    operations = [operation for operation, _ in calls.seen if operation.endswith("eBackup")]
    assert operations == ["CreateBackup", "DescribeBackup"] * 2


@pytest.mark.parametrize("code", ["UnknownOperationException", "NotImplemented"])
@pytest.mark.parametrize("operation", ["DescribeContinuousBackups", "CreateBackup"])
def test_an_engine_without_backups_is_noted(operation, code, moto_world, tmp_path, calls):
    """Row 68: a line in the report, no crash, no change of the verdict."""
    calls.answers[operation] = code
    flow = harbour(moto_world, tmp_path)
    content = flow.migrate()
    assert {about["kind"] for about in content["backups"].values()} == {"not_available"}
    assert content["verdict"] == "PASS"
    assert "not available here" in content["alerts"][0]["message"]


@pytest.mark.slow
def test_the_third_engine_has_no_backups(dynalite, tmp_path, calls):
    """Row 68: dynalite knows none of the calls; the migration goes through, a restore is refused before the undo."""
    world = worlds.World(dynalite)
    flow = harbour(world, tmp_path)
    assert {about["kind"] for about in flow.migrate()["backups"].values()} == {"not_available"}
    arn = f"arn:aws:dynamodb:us-west-1:123456789012:table/{world.name('Ships', TARGET)}/backup/0123"
    for wanted in (arn, f"{world.name('Ships', TARGET)}@2026-01-01"):
        with pytest.raises(Refused, match="not available here"):
            flow.rollback(restore_from=wanted)
    assert "DeleteItem" not in {operation for operation, _ in calls.seen}
    world.drop()


@pytest.mark.parametrize("table", ["Ships", "S" * 255, "Ships.of_the-Line"])
def test_the_name_of_a_backup_is_one_that_dynamodb_takes(table):
    """3 to 255 of letters, digits, `_`, `.` and `-`; two tables never share one."""
    name = backups.backup_name("r" * 64, table)
    assert 3 <= len(name) <= 255
    assert name.startswith(f"runbook-{'r' * 64}-S")
    assert name != backups.backup_name("r" * 64, table[:-1] + "X")


# restoring


@pytest.fixture(params=["moto", pytest.param("ministack", marks=pytest.mark.slow)])
def engine(request, engine_pool):
    """The engines that have backups."""
    return engine_pool(request.param)


@pytest.fixture(autouse=True)
def no_tables_left(request):
    """Restored tables go when the test ends; their names are not those of a world's."""
    found = [request.getfixturevalue(name) for name in ("world", "moto_world") if name in request.fixturenames]
    yield
    for world in found:
        pages = world.client.get_paginator("list_tables").paginate()
        for name in [name for page in pages for name in page["TableNames"] if f"-{world.suffix}-restored-" in name]:
            world.client.delete_table(TableName=name)


def test_a_backup_is_restored_into_a_new_table(world, tmp_path, calls):
    """Row 67: after the undo; the new table is named and counted, the old one left alone; what it lacks is said.

    The same command again finds that table, and asks for no other.
    """
    flow = harbour(world, tmp_path)
    ships = world.name("Ships", TARGET)
    arn = flow.migrate()["backups"][ships]["arn"]
    content = flow.rollback(restore_from=arn)
    restored = content["restore"]
    assert (restored["from"], restored["kind"], restored["items"]) == (arn, "backup", 1)
    assert restored["table"].startswith(f"{ships}-restored-20")
    assert set(restore.NOT_CARRIED_OVER) == set(restored["not_carried_over"])
    assert world.items(restored["table"]) == worlds.plain_items(RESIDENTS["Ships"])
    assert world.items(ships) == worlds.plain_items(RESIDENTS["Ships"])
    assert content["rollback"]["deleted"] == 7
    assert content["verdict"] == "ROLLED_BACK"
    (note,) = content["alerts"]
    assert note["level"] == "NOTE"
    assert "A restore is not an undo" in note["action"]
    assert flow.rollback(restore_from=arn)["restore"] == restored
    assert len(calls.of("RestoreTableFromBackup")) == 1
    world.client.delete_table(TableName=restored["table"])
    faults._new.clear()  # else it counts as new for a minute, and is waited for
    assert flow.rollback(restore_from=arn)["restore"]["items"] == 1
    assert len(calls.of("RestoreTableFromBackup")) == 2


def test_a_table_is_restored_as_it_was_at_a_time(world, tmp_path, calls):
    """Row 67: TABLE@TIME, by the table's or the entry's name, where point-in-time recovery is on."""
    flow = harbour(world, tmp_path, recovering=("Ships",))
    flow.migrate()
    moment = runs.iso(runs.now() - timedelta(minutes=1))
    restored = flow.rollback(restore_from=f"Ships@{moment}")["restore"]
    ships = world.name("Ships", TARGET)
    assert restored["kind"] == "point_in_time"
    assert restored["table"].startswith(f"{ships}-restored-20")
    assert world.items(restored["table"]) == worlds.plain_items(RESIDENTS["Ships"])
    with pytest.raises(Refused, match=r"point-in-time recovery of Ports.* is off"):
        flow.rollback(restore_from=f"Ports@{moment}")


def lost_and_edited(world):
    """A target that lost an item, holds one changed, one untouched and one of its own; gives what it holds."""
    ships = world.name("Ships", TARGET)
    wanted = [{"id": {"S": f"w{n}"}, "n": {"N": str(n)}, "crew": {"SS": ["a", "b"]}} for n in range(3)]
    for item in wanted:
        world.put(ships, item)
    yield wanted
    world.delete(ships, {"id": {"S": "w0"}})
    world.put(ships, wanted[1] | {"n": {"N": "99"}})
    world.put(ships, {"id": {"S": "new"}})
    yield world.items(ships)


def test_what_the_target_lost_is_copied_back(world, tmp_path):
    """Row 67: absent items are inserted, equal ones left, different ones left and listed; again it finds all equal."""
    flow = harbour(world, tmp_path)
    harm = lost_and_edited(world)
    wanted = next(harm)
    ships = world.name("Ships", TARGET)
    backup = flow.migrate()["backups"][ships]["arn"]
    table = flow.rollback(restore_from=backup)["restore"]["table"]
    held = next(harm)
    content = flow.rollback(restore_from=table)
    counts = {"items": 4, "inserted": 1, "equal": 2, "different": 1, "not_carried_over": []}
    assert content["restore"] == {"from": table, "kind": "copy", "table": ships, **counts}
    assert world.items(ships) == worlds.plain_items([*held, wanted[0]])
    path = flow.outputs / flow.run_id / "restore-conflicts.jsonl"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (listed,) = flow.listing("restore-conflicts")
    assert (listed["table"], listed["key"], listed["attribute"]) == ("Ships", {"id": {"S": "w1"}}, "n")
    assert "99" not in path.read_text()
    assert any("different in the backup" in alert["message"] for alert in content["alerts"])
    again = flow.rollback(restore_from=f"{table}>{ships}")["restore"]
    assert (again["inserted"], again["equal"], again["different"]) == (0, 3, 1)
    assert world.items(table) == worlds.plain_items([*RESIDENTS["Ships"], *wanted])


def test_an_interrupted_copy_is_given_again(moto_world, tmp_path, monkeypatch):
    """Row 67: exit code 3, no list, what was copied stays; the same again copies the rest. Nothing is overwritten."""
    flow = harbour(moto_world, tmp_path)
    ships = moto_world.name("Ships", TARGET)
    for n in range(10):
        moto_world.put(ships, {"id": {"S": f"w{n}"}})
    arn = flow.migrate()["backups"][ships]["arn"]
    table = flow.rollback(restore_from=arn)["restore"]["table"]
    whole = moto_world.items(ships)
    for n in range(10):
        moto_world.delete(ships, {"id": {"S": f"w{n}"}})
    from runbook_lib.dynamo.items import Wire

    put, puts = Wire.put_new, itertools.count()

    def failing(wire, *arguments):
        if next(puts) == 4:
            raise Interrupted("the endpoint is gone.")
        return put(wire, *arguments)

    monkeypatch.setattr(Wire, "put_new", failing)
    with pytest.raises(Interrupted):
        flow.rollback(restore_from=table)
    assert 0 < len(moto_world.items(ships)) < len(whole)
    monkeypatch.setattr(Wire, "put_new", put)
    restored = flow.rollback(restore_from=table)["restore"]
    assert restored["inserted"] + restored["equal"] == len(whole)
    assert restored["equal"] > 1
    assert moto_world.items(ships) == whole


def test_a_table_that_stays_in_restoration_interrupts(moto_world, tmp_path, calls, monkeypatch):
    """Row 67: at the deadline, with the table's name; given again, it waits for the same table."""
    flow = harbour(moto_world, tmp_path)
    arn = flow.migrate()["backups"][moto_world.name("Ships", TARGET)]["arn"]
    monkeypatch.setattr(restore, "DEADLINE", 0.1)
    wait = restore.backups.tables.wait_active

    def never(connection, name, timeout):
        raise Interrupted(f"target: {name} is not active after {timeout:.0f} seconds (CREATING); wait a while.")

    monkeypatch.setattr(restore.backups.tables, "wait_active", never)
    with pytest.raises(Interrupted, match=r"Ships.*-restored-\d{14} is not active .*\(CREATING\)"):
        flow.rollback(restore_from=arn)
    monkeypatch.setattr(restore.backups.tables, "wait_active", wait)
    assert flow.rollback(restore_from=arn)["restore"]["items"] == 1
    assert len(calls.of("RestoreTableFromBackup")) == 1


@pytest.mark.parametrize(
    ("operation", "code", "words"),
    [
        ("DescribeBackup", "AccessDeniedException", r"allow dynamodb:DescribeBackup on "),
        ("DescribeBackup", "BackupNotFoundException", "is missing; choose one that is AVAILABLE"),
        ("DescribeBackup", "UnknownOperationException", "not available here"),
    ],
)
def test_what_cannot_be_restored_is_refused_before_the_undo(operation, code, words, moto_world, tmp_path, calls):
    """Row 67: one sentence, and nothing is deleted."""
    flow = harbour(moto_world, tmp_path)
    arn = flow.migrate()["backups"][moto_world.name("Ships", TARGET)]["arn"]
    before = moto_world.content(TARGET)
    calls.answers[operation] = code
    with pytest.raises(Refused, match=words) as raised:
        flow.rollback(restore_from=arn)
    assert "\n" not in str(raised.value)
    assert moto_world.content(TARGET) == before


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("AccessDeniedException", r"allow dynamodb:RestoreTableFromBackup on "),
        ("InvalidRestoreTimeException", "choose a time within the table's recovery window"),
        ("UnknownOperationException", "RestoreTableFromBackup .* not available here"),
    ],
)
def test_a_restore_that_is_refused_leaves_the_undo_done(code, words, moto_world, tmp_path, calls):
    """Row 67: the undo is a step by itself; when the refusal is mended the same command restores."""
    flow = harbour(moto_world, tmp_path)
    arn = flow.migrate()["backups"][moto_world.name("Ships", TARGET)]["arn"]
    calls.answers["RestoreTableFromBackup"] = code
    with pytest.raises(Refused, match=words):
        flow.rollback(restore_from=arn)
    assert moto_world.content(TARGET) == {t: worlds.plain_items(items) for t, items in RESIDENTS.items()}
    calls.answers.clear()
    assert flow.rollback(restore_from=arn)["restore"]["items"] == 1


def test_a_busy_dynamodb_is_asked_again_to_restore(moto_world, tmp_path, calls, monkeypatch):
    """Row 67: too many restores at once are waited out, and not for ever."""
    flow = harbour(moto_world, tmp_path)
    arn = flow.migrate()["backups"][moto_world.name("Ships", TARGET)]["arn"]
    refusals = itertools.chain(["LimitExceededException", "BackupInUseException"], itertools.repeat(None))
    calls.answers["RestoreTableFromBackup"] = lambda request: next(refusals)
    assert flow.rollback(restore_from=arn)["restore"]["items"] == 1
    monkeypatch.setattr(restore, "START_DEADLINE", 0.05)
    calls.answers["RestoreTableFromBackup"] = "LimitExceededException"
    arn = flow.checkpoint() and checkpoint(flow)["backups"][moto_world.name("Ports", TARGET)]["arn"]
    with pytest.raises(Interrupted, match=r"cannot be restored now \(LimitExceededException\)"):
        flow.rollback(restore_from=arn)


def test_tables_of_different_keys_are_not_copied(moto_world, tmp_path):
    """Row 67: refused before the undo, naming both."""
    flow = harbour(moto_world, tmp_path)
    flow.migrate()
    before = moto_world.content(TARGET)
    ships, other = moto_world.name("Ships", TARGET), moto_world.name("Other", SOURCE)
    moto_world.build({"Other": {"key": {"id": "S", "at": "N"}}}, SOURCE)
    with pytest.raises(Refused, match=f"{other} and {ships} have different keys"):
        flow.rollback(restore_from=f"{other}>Ships")
    with pytest.raises(Refused, match="nowhere is not in us-west-1"):
        flow.rollback(restore_from="nowhere>Ships")
    assert moto_world.content(TARGET) == before


WANTED = [
    ("arn:aws:dynamodb:eu-west-1:1:table/Ships", "not the ARN of a backup"),
    ("arn:aws:dynamodb:eu-west-1:1:table/Boats/backup/01", "Boats is not a target table of run"),
    ("Boats@2026-01-01", "Boats is not a target table of run"),
    ("Ships@yesterday", "'yesterday' is not a time; write it as in TABLE@2026-11-22T03:00:00Z"),
    ("Ships@2999-01-01T00:00:00Z", "that time is in the future"),
    ("Somewhere", "its name does not say which table it was restored from; write 'Somewhere>TABLE'"),
    ("Boats-restored-20260101000000", "Boats is not a target table"),
    ("Ships-prod>Ships", "a table cannot be copied into itself"),
]


@pytest.mark.parametrize(("text", "words"), WANTED)
def test_what_is_no_backup_of_this_checkpoint_is_refused(text, words):
    """One sentence that says what is wrong with it."""
    known = SimpleNamespace(entries={"Ships": {"target": "Ships-prod"}}, run=SimpleNamespace(id="the-first-run"))
    with pytest.raises(Refused, match=words):
        restore.wanted(text, known)


def test_the_four_forms_of_a_backup():
    """An ARN, a table and a time (UTC where it says no zone), a restored table, a table and where its items go."""
    known = SimpleNamespace(entries={"Ships": {"target": "Ships-prod"}}, run=SimpleNamespace(id="the-first-run"))
    arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/Ships-prod/backup/0123-ab"
    forms = {text: restore.wanted(text, known) for text in (arn, "Ships@2026-01-01T03:00", "B>Ships-prod")}
    assert {found.table for found in forms.values()} == {"Ships-prod"}
    assert [found.kind for found in forms.values()] == ["backup", "point_in_time", "copy"]
    assert runs.iso(forms["Ships@2026-01-01T03:00"].at) == "2026-01-01T03:00:00Z"
    assert restore.wanted("Ships-prod-restored-20260101000000", known).table == "Ships-prod"
    known.entries["Long"] = {"target": "T" * 250}
    shortened = f"{'T' * 231}-restored-20260101000000"  # as a restore names its table
    assert restore.wanted(shortened, known).table == "T" * 250
    known.entries["Other"] = {"target": "T" * 249}
    with pytest.raises(Refused, match="its name does not say which table it was restored from"):
        restore.wanted(shortened, known)
