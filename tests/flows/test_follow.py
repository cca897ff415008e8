"""03 with `follow`: what changes in the source while and after it is migrated is in the target, until somebody ends it."""

import threading

import pytest
from support_flows import flow_of
from support_follow import (
    SOURCE,
    TARGET,
    Fleet,
    Script,
    figures,
    followed,
    hurry,
    last_report,
    lines,
    lose_positions,
    turn_on,
    white,
)

from runbook_lib.dynamo.items import Wire
from runbook_lib.dynamo.streams.reader import StreamReader
from runbook_lib.errors import DynamoError, Interrupted, Refused
from runbook_lib.journal import audit
from runbook_lib.journal.log import records
from runbook_lib.journal.repair import repair
from runbook_lib.report.runs.status import status
from runbook_lib.stages.follow import follow as following
from runbook_lib.stages.follow import keeper
from runbook_lib.stages.follow.journal import TableJournal, touched
from runbook_lib.walk import control
from runbook_lib.walk.insert import Inserter

TOO_LARGE = DynamoError(
    "target Ships: PutItem", "ValidationException", "Item size has exceeded the maximum allowed size"
)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch):
    hurry(monkeypatch)


@pytest.fixture
def fleet(moto_world, tmp_path):
    return Fleet(moto_world, tmp_path)


def check_sums(report: dict) -> None:
    """Invariant 4."""
    for counts in report["tables"].values():
        parts = ("inserted", "already_there", "conflicts", "quarantined", "failed", "expired")
        assert counts["scanned"] == sum(counts[name] for name in parts)
        assert min(counts[name] for name in parts) >= 0


def test_edits_inserts_and_deletes_arrive(fleet):
    """While it follows: the target is what a migration of the source as it is now would make; 05 takes all of it back."""
    script = Script(
        lambda: (fleet.put(fleet.ship(3, "red"), fleet.ship(11)), fleet.sink(5)),
        lambda: (fleet.put(fleet.ship(3, "blue"), fleet.ship(3, "green")), fleet.put(fleet.ship(5, "black"))),
        lambda: fleet.sink(11),
    )
    report = followed(fleet.flow, script)
    assert figures(report) == {"inserted": 2, "replaced": 2, "deleted": 2}
    assert report["totals"]["scanned"] == report["totals"]["inserted"] == 10
    check_sums(report)
    fleet.check(**white(0, 1, 2, 4, 6, 7, 8, 9), s3="green", s5="black")
    assert report["verdict"] == "PASS"
    assert not fleet.flow.listing("drift")
    validation = fleet.flow.validate()["validation"]
    assert (validation["equal"], validation["missing"], validation["different"], validation["extra"]) == (10, 0, 0, 1)
    assert fleet.flow.rollback()["rollback"]["deleted"] == 10
    fleet.check()


def test_what_changes_during_the_walk_arrives_and_old_records_have_no_effect(fleet, monkeypatch):
    """The positions are noted before the walk. Records that are older than it, or played again, change nothing anywhere."""
    fleet.put(fleet.ship(1, "red"), fleet.ship(1, "blue"))
    report = followed(fleet.flow)
    assert figures(report) == {}
    assert report["follow"]["tables"][fleet.world.name("Ships", SOURCE)]["records"] > 0
    fleet.check(**white(0, *range(2, 10)), s1="blue")
    before = fleet.journals()
    for path in fleet.flow.run().journal("follow").glob("Ships*"):
        path.unlink()  # the stream is read from its beginning
    fleet.flow.accept_changed = True
    report = followed(fleet.flow)
    assert figures(report) == {}
    assert fleet.journals() == before
    fleet.check(**white(0, *range(2, 10)), s1="blue")


# what is left alone


def test_a_copy_that_somebody_edited_stays_and_is_listed(fleet):
    """Whether its source item changed or is gone; a later change back, or the edit's end, takes it from the list."""
    edited = [fleet.copy(n, "pirates") for n in (1, 2)]
    script = Script(
        lambda: (*map(fleet.edit, edited), fleet.remove(4)),
        lambda: (fleet.put(fleet.ship(1, "red"), fleet.ship(4, "red")), fleet.sink(2)),
    )
    report = followed(fleet.flow, script)
    assert figures(report) == {"drifted": 3}
    reasons = dict(lines(fleet.flow))
    assert "left alone" in reasons["s1"]
    assert reasons["s2"].startswith("deleted from the source")
    assert "edited or deleted in the target" in reasons["s4"]
    fleet.check(*edited, **white(0, 3, 5, 6, 7, 8, 9))
    assert report["verdict"] == "REVIEW"
    script = Script(
        lambda: fleet.put(fleet.ship(1)), lambda: fleet.edit(fleet.copy(2)), lambda: fleet.put(fleet.ship(2))
    )
    followed(fleet.flow, script)
    assert set(dict(lines(fleet.flow))) == {"s4"}
    counts = fleet.flow.rollback()["rollback"]
    assert (counts["deleted"], counts["kept_edited"], counts["not_found"]) == (8, 1, 1)
    fleet.check(edited[0])


def test_what_somebody_has_decided_is_applied_when_following_goes_on(fleet):
    """The edit was taken back: its item's last version comes without another change of it."""
    edited = fleet.copy(1, "pirates")
    followed(fleet.flow, Script(lambda: fleet.edit(edited), lambda: fleet.put(fleet.ship(1, "red"))))
    assert set(dict(lines(fleet.flow))) == {"s1"}
    fleet.edit(fleet.copy(1))
    assert figures(followed(fleet.flow)) == {"replaced": 1}
    assert not fleet.flow.listing("drift")
    fleet.check(**white(0, *range(2, 10)), s1="red")


def test_a_source_item_and_its_copy_that_are_both_gone_leave_nothing(fleet):
    """Somebody deleted the copy before: there is nothing to decide, and nothing stays to be undone."""
    script = Script(lambda: fleet.remove(4), lambda: fleet.sink(4))
    report = followed(fleet.flow, script)
    assert figures(report) == {}
    assert (report["totals"]["scanned"], report["totals"]["inserted"]) == (9, 9)
    counts = fleet.flow.rollback()["rollback"]
    assert (counts["deleted"], counts["not_found"]) == (9, 0)


def test_an_item_of_others_under_the_key_is_left_alone(fleet):
    """A conflict, once and for all its changes, until it is gone and the item changes again."""
    theirs = fleet.copy(11, "pirates")
    script = Script(
        lambda: fleet.edit(theirs), lambda: fleet.put(fleet.ship(11)), lambda: fleet.put(fleet.ship(11, "red"))
    )
    report = followed(fleet.flow, script)
    assert figures(report) == {"drifted": 1}
    assert report["totals"]["conflicts"] == 1
    check_sums(report)
    fleet.check(theirs, **white(*range(10)))
    report = followed(fleet.flow, Script(lambda: fleet.remove(11), lambda: fleet.put(fleet.ship(11, "blue"))))
    assert figures(report) == {"inserted": 1}
    fleet.check(**white(*range(10)), s11="blue")


def test_an_item_that_cannot_be_written_is_listed_and_the_others_go_on(fleet, monkeypatch):
    """Nothing is rolled back; its next version is tried again. The list is there while it follows."""
    monkeypatch.setattr(following, "LIST", 0.0)
    insert, seen = Wire.insert_many, []

    def without(wire, table, items, *rest, **options):
        huge = [item for item in items if item["sails"] == {"S": "huge"}]
        if not huge:
            return insert(wire, table, items, *rest, **options)
        return [TOO_LARGE if item in huge else insert(wire, table, [item], ("id",))[0] for item in items]

    monkeypatch.setattr(Wire, "insert_many", without)
    script = Script(
        lambda: fleet.put(fleet.ship(1, "huge"), fleet.ship(11, "huge"), fleet.ship(12)),
        lambda: seen.append(dict(lines(fleet.flow))),
        lambda: fleet.put(fleet.ship(11, "red")),
    )
    report = followed(fleet.flow, script)
    assert set(seen[0]) == {"s1", "s11"}
    assert "could not be written" in dict(lines(fleet.flow))["s1"]
    assert figures(report) == {"inserted": 2, "drifted": 1}
    check_sums(report)
    fleet.check(**white(*range(10), 12), s11="red")


# which items, and under which keys


def test_an_item_that_is_no_longer_selected_goes_and_comes_back(moto_world, tmp_path):
    """By `where`: to no entry, to another one, and back. Counts stay those of the source."""
    fleet = Fleet(
        moto_world,
        tmp_path,
        3,
        "{Ships: {where: {sails: white}}, Red: {where: {sails: red}, id_format: keep, TABLES}}".replace(
            "TABLES", f"source: {moto_world.name('Ships', SOURCE)}, target: {moto_world.name('Ships', TARGET)}"
        ),
    )
    red = fleet.ship(1, "red")
    script = Script(
        lambda: fleet.put(fleet.ship(0, "blue")),
        lambda: fleet.put(red),
        lambda: fleet.put(fleet.ship(2, "red"), fleet.ship(2)),
    )
    report = followed(fleet.flow, script)
    assert figures(report) == {"inserted": 1, "deleted": 2}
    check_sums(report)
    assert (report["totals"]["scanned"], report["totals"]["unrouted"]) == (2, 1)
    fleet.check(red, s2="white")
    report = followed(fleet.flow, Script(lambda: fleet.put(fleet.ship(0), fleet.ship(1))))
    assert (report["totals"]["scanned"], report["totals"]["unrouted"]) == (3, 0)
    check_sums(report)
    fleet.check(**white(0, 1, 2))
    fleet.flow.rollback()
    fleet.check()


KEYED = """{Ships: {id_format: keep, fields: {id: {from: berth}, sails: {from: sails}}, drop: [crew, id]}}"""


def berth(number: int, at: str, sails: str = "white") -> dict:
    return {"id": {"S": f"s{number}"}, "berth": {"S": at}, "sails": {"S": sails}}


def at_berths(world) -> dict[str, str]:
    """Berth → sails in the target."""
    return {item["id"]["S"]: item.get("sails", {}).get("S", "") for item in world.content(TARGET)["Ships"]}


@pytest.fixture
def harbour(moto_world, tmp_path):
    """Ships that change their target keys: the berth is the key."""
    fleet = Fleet(moto_world, tmp_path, 0, KEYED)
    fleet.put(berth(0, "a", "red"), berth(1, "b", "blue"), berth(2, "c", "green"))
    return fleet


def test_keys_that_change_and_change_places(harbour):
    """To a free one, along a chain, in a circle: in one batch or one after the other."""
    script = Script(
        lambda: harbour.put(berth(0, "d", "red")),
        lambda: harbour.put(berth(1, "c", "blue"), berth(2, "b", "green")),
        lambda: (harbour.put(berth(0, "c", "red")), harbour.put(berth(1, "e", "blue"))),
    )
    report = followed(harbour.flow, script)
    assert figures(report) == {"replaced": 5}
    check_sums(report)
    assert at_berths(harbour.world) == {"nobody's": "", "c": "red", "e": "blue", "b": "green"}
    assert harbour.flow.rollback()["rollback"]["deleted"] == 3


def test_who_waits_for_a_key_gets_it_when_it_is_free(harbour):
    """In a later batch, whether the first holder moves or is deleted; and in a later execution."""
    script = Script(
        lambda: harbour.put(berth(3, "a", "black")),  # taken
        lambda: harbour.put(berth(2, "b", "green")),  # taken
    )
    report = followed(harbour.flow, script)
    assert figures(report) == {"drifted": 2}
    assert set(dict(lines(harbour.flow))) == {"s3", "s2"}
    report = followed(harbour.flow, Script(lambda: harbour.put(berth(0, "z", "red")), lambda: harbour.sink(1)))
    assert figures(report) == {"inserted": 1, "replaced": 2, "deleted": 1}
    check_sums(report)
    assert at_berths(harbour.world) == {"nobody's": "", "z": "red", "a": "black", "b": "green"}
    assert not harbour.flow.listing("drift")


def test_a_loser_of_the_walk_gets_the_key_when_the_winner_is_gone(harbour):
    """Two source items of one target key: the other one's turn comes."""
    harbour.put(berth(3, "a", "black"))
    report = followed(harbour.flow, Script(lambda: harbour.put(berth(3, "a", "black")), lambda: harbour.sink(0)))
    assert figures(report) == {"inserted": 1, "deleted": 1}
    assert report["totals"]["conflicts"] == 0
    check_sums(report)
    assert at_berths(harbour.world)["a"] == "black"


def test_what_is_matched_stays_and_references_to_it_follow(moto_world, tmp_path):
    """Its changes are not written and its item is never deleted; what comes later refers to it, in a later execution too."""
    key, theirs = {"key": {"id": "S"}}, {"id": {"S": "theirs"}, "email": {"S": "a@a.test"}}
    ann = {"id": {"S": "ann"}, "email": {"S": "a@a.test"}}
    moto_world.build({"People": key | {"items": [ann]}, "Visits": key}, SOURCE)
    moto_world.build({"People": key | {"items": [theirs]}, "Visits": key}, TARGET)
    for table in ("People", "Visits"):
        turn_on(moto_world, table)
    flow = flow_of("{People: {match: {by: [email]}}, Visits: {references: {to: People}}}", moto_world, tmp_path)

    def put(table: str, **values: str) -> None:
        moto_world.put(moto_world.name(table, SOURCE), {name: {"S": value} for name, value in values.items()})

    def visits() -> list[dict]:
        return sorted(item["to"]["S"] for item in moto_world.content(TARGET)["Visits"])

    followed(
        flow,
        Script(lambda: put("Visits", id="v1", to="ann"), lambda: put("People", id="ann", email="b@b.test")),
    )
    assert visits() == ["theirs"]
    people = moto_world.name("People", SOURCE)
    report = followed(
        flow, Script(lambda: put("Visits", id="v2", to="ann"), lambda: moto_world.delete(people, {"id": {"S": "ann"}}))
    )
    assert visits() == ["theirs", "theirs"]
    assert moto_world.content(TARGET)["People"] == [theirs]
    assert report["tables"]["People"]["scanned"] == 0
    flow.rollback()
    assert moto_world.content(TARGET) == {"People": [theirs], "Visits": []}


# stopping, resuming, walking again


def test_stopped_by_hand_it_reports_and_goes_on_later(fleet):
    """Exit 3 with the way to resume; what changed meanwhile comes with the next execution."""
    run = fleet.flow.run()
    script = Script(lambda: fleet.put(fleet.ship(1, "red")), lambda: control.request_stop(run), lambda: None)
    with pytest.raises(Interrupted, match="stop was requested.*") as stopped:
        followed(fleet.flow, script)
    assert run.id in stopped.value.hint
    report = last_report(fleet.flow)
    assert figures(report) == {"replaced": 1}
    assert any("following was stopped" in alert["message"] for alert in report["alerts"])
    assert status(run).state == "following stopped"
    control.clear(run)
    fleet.put(fleet.ship(2, "red"))
    fleet.sink(3)
    report = followed(fleet.flow)
    assert figures(report) == {"replaced": 2, "deleted": 1}
    assert report["verdict"] == "PASS"
    assert status(run).state == "complete"
    fleet.check(**white(0, *range(4, 10)), s1="red", s2="red")


def test_ctrl_c_ends_it_as_a_stop_does(fleet):
    """What is under way is finished."""

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="by hand"):
        followed(fleet.flow, Script(lambda: fleet.put(fleet.ship(1, "red")), interrupt))
    assert figures(last_report(fleet.flow)) == {"replaced": 1}


def test_a_run_that_was_migrated_without_it_is_walked_again_first(moto_world, tmp_path):
    """With the rules of a delta: a copy whose source item is gone stays, and is listed, until the item comes again."""
    fleet = Fleet(moto_world, tmp_path, stream=False)
    fleet.flow.migrate()
    fleet.put(fleet.ship(3, "red"), fleet.ship(11))
    fleet.sink(5, 6)
    turn_on(moto_world, "Ships")
    report = followed(fleet.flow, Script(lambda: fleet.put(fleet.ship(6, "red")), lambda: fleet.sink(3)))
    (table,) = report["follow"]["tables"].values()
    (walk,) = table["walked_again"]
    assert {name: walk[name] for name in ("lost", "inserted", "updated", "deleted")} == {
        "lost": False,
        "inserted": 1,
        "updated": 1,
        "deleted": 2,
    }
    assert set(dict(lines(fleet.flow))) == {"s5"}
    check_sums(report)
    fleet.check(**white(0, 1, 2, 4, 5, 7, 8, 9, 11), s6="red")
    report = followed(fleet.flow, Script(lambda: fleet.put(fleet.ship(5, "red"))))
    assert len(table["walked_again"]) == 1
    assert not fleet.flow.listing("drift")


@pytest.mark.parametrize("times", [1, 2])
def test_a_position_that_is_lost_means_another_walk(fleet, monkeypatch, times):
    """While it follows: new positions are noted first, then the table is walked; the report says so."""
    followed(fleet.flow)
    lose_positions(monkeypatch, times)
    fleet.put(fleet.ship(1, "red"))
    report = followed(fleet.flow, Script(lambda: fleet.put(fleet.ship(2, "red"))))
    (table,) = report["follow"]["tables"].values()
    assert [walk["lost"] for walk in table["walked_again"]] == [True] * times
    assert sum(walk.get("updated", 0) for walk in table["walked_again"]) == table["replaced"] == 1
    assert any("walked again" in alert["message"] for alert in report["alerts"])
    fleet.check(**white(0, *range(3, 10)), s1="red", s2="red")


def test_positions_stay_young_while_a_walk_goes_on(fleet, monkeypatch):
    """What is read meanwhile is only noted, and applied first after the walk; once more where that is cut off."""
    monkeypatch.setattr(keeper, "AGE", 0.0)
    noted, step = threading.Event(), Inserter.__call__

    def slow(inserter, routed):
        fleet.put(fleet.ship(1, "red"), fleet.ship(11))
        fleet.sink(2)
        assert noted.wait(10)
        step(inserter, routed)

    read = TableJournal.read

    def seen(journal, positions, keys, newest):
        read(journal, positions, keys, newest)
        if {"id": {"S": "s2"}} in keys:
            noted.set()

    monkeypatch.setattr(Inserter, "__call__", slow)
    monkeypatch.setattr(TableJournal, "read", seen)
    report = followed(fleet.flow)
    kinds = [record["kind"] for path in fleet.flow.run().journal("follow").glob("Ships*") for record in records(path)]
    assert kinds.index("read") > kinds.index("noted")
    assert figures(report) == {"inserted": 1, "replaced": 1, "deleted": 1}
    fleet.check(**white(0, *range(3, 10), 11), s1="red")
    before = fleet.journals()
    assert figures(followed(fleet.flow)) == figures(report)
    assert fleet.journals() == before


def test_a_position_that_is_lost_during_the_walk_means_another_walk(fleet, monkeypatch):
    """The thread that keeps positions young notes new ones."""
    monkeypatch.setattr(keeper, "AGE", 0.0)
    lose_positions(monkeypatch)
    lost, step, note = threading.Event(), Inserter.__call__, TableJournal.note

    def slow(inserter, routed):
        assert lost.wait(10)
        step(inserter, routed)

    def seen(journal, *positions, **how):
        note(journal, *positions, **how)
        if how.get("lost"):
            lost.set()

    monkeypatch.setattr(Inserter, "__call__", slow)
    monkeypatch.setattr(TableJournal, "note", seen)
    (table,) = followed(fleet.flow)["follow"]["tables"].values()
    assert [walk["lost"] for walk in table["walked_again"]] == [True]
    fleet.check(**white(*range(10)))


# the journal of the positions


def test_it_is_in_the_audit_chain_and_can_be_repaired(fleet):
    """What is lost of it is read again from the stream; without the file the table is walked again."""
    followed(fleet.flow, Script(lambda: fleet.put(fleet.ship(1, "red")), lambda: fleet.put(fleet.ship(2, "red"))))
    run = fleet.flow.run()
    (path,) = run.journal("follow").glob("Ships*")
    before, whole = fleet.journals(), path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*whole[:-1], whole[-1].replace(b"red", b"RED").replace(b"applied", b"Applied")]))
    assert any("journal/follow/Ships" in problem for problem in audit.verify(run).problems)
    with pytest.raises(Refused, match="runbook repair"):
        followed(fleet.flow)
    assert list(repair(run).files()) == [str(path.relative_to(run.folder))]
    assert path.read_bytes().startswith(b"".join(whole[:-1]))
    fleet.sink(3)
    assert figures(followed(fleet.flow))["deleted"] == 1
    assert audit.verify(run).problems == []
    assert all(after.startswith(before[name]) for name, after in fleet.journals().items())
    path.write_bytes(whole[0][:50] + b"\n")
    repair(run)
    fleet.sink(4)
    (table,) = followed(fleet.flow)["follow"]["tables"].values()
    assert [walk["lost"] for walk in table["walked_again"]] == [False]
    fleet.check(**white(0, *range(5, 10)), s1="red", s2="red")


# what is refused


def test_what_cannot_be_followed_is_refused_before_anything_is_written(moto_world, tmp_path):
    """No stream, another view, routes that ask which items exist: one sentence each, and no journal."""
    asking = "{Ships: {references: {mother: {to: Ships, dangling: keep}}}}"
    fleet = Fleet(moto_world, tmp_path, 2, asking, stream=False)
    with pytest.raises(Refused, match="Ships: what becomes of mother depends on which items exist.*--delta"):
        followed(fleet.flow)
    fleet.flow = flow_of("{Ships: {}}", moto_world, tmp_path, "another-run")
    with pytest.raises(Refused, match="the stream of .* is off"):
        followed(fleet.flow)
    turn_on(moto_world, "Ships", "KEYS_ONLY")
    with pytest.raises(Refused, match="shows KEYS_ONLY"):
        followed(fleet.flow)
    fleet.check()
    assert not list(fleet.flow.run().folder.glob("journal/*/*"))


def test_the_entries_that_are_followed_are_named_together(moto_world, tmp_path):
    """A position counts for all entries of a table; one that comes later is migrated, and its table not walked again."""
    fleet = Fleet(
        moto_world,
        tmp_path,
        4,
        "{Ships: {where: {sails: white}}, Red: {where: {sails: red}, TABLES}}".replace(
            "TABLES", f"source: {moto_world.name('Ships', SOURCE)}, target: {moto_world.name('Ships', TARGET)}"
        ),
    )
    fleet.put(fleet.ship(0, "red"))
    assert followed(fleet.flow, tables=["Ships"])["totals"]["inserted"] == 3
    report = followed(fleet.flow, Script(lambda: fleet.put(fleet.ship(1, "red"))))
    assert report["totals"]["inserted"] == 4
    (table,) = report["follow"]["tables"].values()
    assert table["walked_again"] == []
    assert (table["inserted"], table["deleted"]) == (1, 1)
    with pytest.raises(Refused, match="follows Red of .*, too; name all of them with --tables"):
        followed(fleet.flow, tables=["Ships"])


def test_what_is_touched_can_be_read_again(fleet):
    """All source keys that the streams named, for whoever compares them."""
    followed(fleet.flow, Script(lambda: fleet.put(fleet.ship(1, "red")), lambda: fleet.sink(2)))
    keys = {key["id"]["S"] for table, found in touched(fleet.flow.run()) for key in found}
    assert {"s1", "s2"} <= keys


def test_it_is_not_behind_while_it_only_looks_whether_there_are_more_shards(fleet, monkeypatch):
    """The newest change that was applied may be hours old: that says nothing once all was applied."""
    read, behind = StreamReader.read, []

    def unsure(reader):
        batch = read(reader)
        return batch if batch.records or not behind else batch._replace(caught_up=False)

    def watch(states):
        (state,) = states.values()
        if behind or state.caught_up:
            behind.append(state.progress.behind)
        return "enough" if len(behind) > 3 else None

    fleet.put(fleet.ship(1, "red"))
    monkeypatch.setattr(StreamReader, "read", unsure)
    followed(fleet.flow, watch)
    assert behind == [0.0] * 4
