"""A damaged journal without a copy is repaired: what is left of it is used, and nothing that is lost is claimed.

Whatever was damaged: the source stays; nothing that was in the target first is touched; the repaired run, resumed, ends with
the target of an untouched run, and every item is accounted for; a rollback, with or without resuming, leaves no more than
what the repair said it would.
"""

import itertools
import json
import shutil
from pathlib import Path

import pytest
from faults import harness
from faults.harness import INSERTED, PORTS, TARGET, killed
from faults.test_drift import changed_source
from faults.test_retry import failing, refused, retry

from runbook_lib import cli
from runbook_lib.errors import Interrupted, Refused
from runbook_lib.journal import audit, repair
from runbook_lib.journal import log as journal
from runbook_lib.journal.log import Log
from runbook_lib.journal.stage import Stage
from runbook_lib.report.status import status

STAGE, NAMES = "stage.jsonl", ("stage.jsonl", "Ports", "Ships")


def file_of(flow, name, stage="migrate"):
    """A journal file, by the table it is about."""
    folder = flow.run().journal(stage)
    return folder / name if name == STAGE else next(folder.glob(f"{name}-dev-*.00000.jsonl"))


def few(cases, *default):
    """Cases as parameters, all but some of them slow."""
    return [pytest.param(case, marks=[] if case in default else pytest.mark.slow) for case in cases]


# the runs that are damaged


def interrupted(bench):
    """It died in the second page of the second table; nothing ended."""
    flow = bench.flow()
    assert killed(flow.migrate, "wire.PutItem.after=kill@10")
    return flow


def finished(bench):
    """It came to its end, and the audit chain knows its journal."""
    flow = bench.flow()
    flow.migrate()
    audit.append(flow.run(), "03_migrate")
    return flow


def rolling_back(bench):
    """It was finished; its rollback died half-way."""
    flow = finished(bench)
    assert killed(flow.rollback, "wire.DeleteItem.after=kill@6")
    return flow


def tried_again(bench):
    """Some items could not be written; most of them were, when they were tried again."""
    flow = failing(bench)
    with refused({"Ports": ("p4",)}):
        retry(flow)
    return flow


RUNS = {"interrupted": interrupted, "finished": finished, "rolling-back": rolling_back, "tried-again": tried_again}


class Copy:
    """A run as it was before it was damaged, so that one run serves many damages."""

    def __init__(self, bench, flow):
        self._bench, self._flow = bench, flow
        self._folder = flow.outputs.with_name(f"{flow.outputs.name}-kept")
        shutil.copytree(flow.run().folder, self._folder, symlinks=True)
        self._target = bench.content(TARGET)

    def restore(self):
        """Puts run and target back."""
        harness.close_logs()
        folder = self._flow.outputs / self._flow.run_id
        shutil.rmtree(folder)
        shutil.copytree(self._folder, folder, symlinks=True)
        for table, items in self._target.items():
            name = self._bench.world.name(table, TARGET)
            now = self._bench.world.items(name)
            for item in (item for item in now if item not in items):
                self._bench.world.client.delete_item(TableName=name, Key={"id": item["id"]})
            for item in (item for item in items if item not in now):
                self._bench.world.put(name, item)


# what becomes of it


def mend(flow):
    """Repairs the run; gives, of the migration, how many items may be unclaimed (None: nobody knows)."""
    planned = repair.examine(flow.run()).files()
    done = repair.repair(flow.run())
    assert done.files() == planned != {}
    assert not repair.examine(flow.run()).needed
    found = Stage(flow.run(), "migrate").repairs()
    assert found
    return None if None in (one["items"] for one in found) else sum(one["items"] for one in found)


def check_report(bench, flow, report, unclaimed):
    """Target and counts are those of the untouched run; what cannot be claimed counts as already there, and is told."""
    assert bench.content(TARGET) == bench.after
    assert {**report["totals"], "inserted": 0, "already_there": 0} == {
        **bench.report["totals"],
        "inserted": 0,
        "already_there": 0,
    }
    lost = INSERTED - report["totals"]["inserted"]
    assert lost == report["totals"]["already_there"] - 1
    assert unclaimed is None or lost <= unclaimed
    for name, counts in report["tables"].items():
        assert counts["scanned"] == bench.report["tables"][name]["scanned"]
        assert counts["scanned"] == sum(counts.values()) - counts["scanned"]
    assert report["id_map"]["rows"] == bench.report["id_map"]["rows"]
    told = [alert for alert in report["alerts"] if "was repaired" in alert["message"]]
    assert [alert["level"] for alert in told] == ["NOTE" if unclaimed == 0 else "REVIEW"]
    return lost


def check_way_back(bench, flow, lost, edited=0):
    """The rollback leaves what was there first, and no more of ours than what cannot be claimed."""
    counts = flow.rollback()["rollback"]
    assert counts["kept_edited"] <= edited
    bench.check_unharmed()
    assert lost is None or bench.landed() <= lost
    return bench.landed()


def go_on(flow):
    """The run resumed, and what failed in it tried again; gives the report."""
    report = flow.migrate()
    return retry(flow) if report["totals"]["failed"] else report


def check_repaired(bench, flow, *, resume):
    """Repairs, and goes on or back."""
    unclaimed = mend(flow)
    bench.check_unharmed()
    if resume:
        lost = check_report(bench, flow, go_on(flow), unclaimed)
        assert check_way_back(bench, flow, lost) == lost
    else:
        check_way_back(bench, flow, unclaimed)
        assert status(flow.run()).state == "rolled back"
    assert bench.content("dev") == bench.source
    found = audit.verify(flow.run())
    assert [p for p in found.problems if "is in no record" not in p and "was changed" not in p] == []
    assert found.repairs


# what is done to a file


def flip(lines, number, place):
    """A bit of a line, at a place of it between 0 and 1."""
    line = bytearray(lines[number])
    line[int(place * (len(line) - 2))] ^= 1
    return [*lines[:number], bytes(line), *lines[number + 1 :]]


def damages(lines, other):
    """Every way to damage each record of a file."""
    for at in range(len(lines)):
        for place in (0.0, 0.05, 0.5, 1.0):
            yield f"flip {at} {place}", flip(lines, at, place)
        yield f"join {at}", [*lines[:at], lines[at][:-1] + b"\x0b", *lines[at + 1 :]]
        yield f"drop {at}", lines[:at] + lines[at + 1 :]
        yield f"repeat {at}", lines[: at + 1] + lines[at:]
        yield f"splice {at}", [*lines[:at], other[at % len(other)], *lines[at + 1 :]]
        yield f"splice two {at}", [*lines[:at], *(other * 2)[at % len(other) :][:2], *lines[at + 2 :]]
        yield f"insert {at}", [*lines[:at], other[at % len(other)], *lines[at:]]
        yield f"cut {at}", lines[:at]
        if at:
            yield f"swap {at}", [*lines[: at - 1], lines[at], lines[at - 1], *lines[at + 1 :]]


def is_damage(flow):
    """Whether anything is wrong that can be known."""
    return repair.examine(flow.run()).needed


def sweep(bench, kind, name, *, resume, step):
    """Each damage of a file in turn (or every STEP-th); gives how many were tried."""
    twin = bench.flow()  # of a run that inserted the same items, and was rolled back: none of it is to be claimed
    twin.run_id = "another-run"
    twin.migrate()
    other = file_of(twin, name).read_bytes().splitlines(keepends=True)
    twin.rollback()
    flow = RUNS[kind](bench)
    copy = Copy(bench, flow)
    path = file_of(flow, name)
    lines = path.read_bytes().splitlines(keepends=True)
    tried = 0
    for number, (what, changed) in enumerate(damages(lines, other)):
        if number % step:
            continue
        try:
            copy.restore()
            path.write_bytes(b"".join(changed))
            if not is_damage(flow):
                assert what.startswith(("cut", "drop", "join")), "not found"
                continue
            tried += 1
            check_repaired(bench, flow, resume=resume)
        except BaseException as problem:
            problem.add_note(f"{kind}, {name}: {what}")
            raise
    copy.restore()
    bench.clear()
    return tried


STEP = 23
SAMPLE = [
    ("interrupted", "Ports", True),
    ("finished", "Ships", True),
    ("finished", STAGE, False),
    ("rolling-back", "Ports", False),
    ("tried-again", "Ships", True),
]
WAYS = [
    (kind, name, resume)
    for kind, name, resume in itertools.product(RUNS, NAMES, (True, False))
    if not (kind == "rolling-back" and resume)  # a run whose rollback was begun is not resumed
]


@pytest.mark.parametrize(("kind", "name", "resume"), SAMPLE)
def test_a_record_damaged_here_and_there(kind, name, resume, bench):
    """Rows 7, 8, 9, a sample."""
    assert sweep(bench, kind, name, resume=resume, step=STEP)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name", "resume"), WAYS)
def test_each_record_damaged_in_turn(kind, name, resume, bench):
    """Rows 7, 8, 9."""
    assert sweep(bench, kind, name, resume=resume, step=1) >= 30


@pytest.mark.parametrize("name", few(NAMES, "Ports"))
@pytest.mark.parametrize("finish", few([True, False], True))
def test_what_another_run_inserted_is_never_claimed(finish, name, bench):
    """Row 9: its records announce items that were absent; spliced into ours, where the same items were there, they count for
    nothing, however many of them follow each other."""
    twin = bench.flow()
    twin.run_id = "another-run"
    twin.migrate()
    other = file_of(twin, name).read_bytes().splitlines(keepends=True)
    flow = bench.flow()
    if finish:
        flow.migrate()
    else:
        assert killed(flow.migrate, "journal.append.after=kill@12")
    copy = Copy(bench, flow)
    path = file_of(flow, name)
    lines = path.read_bytes().splitlines(keepends=True)
    for at in range(len(lines)):
        for changed in (other[:at] + lines[at:], lines[:at] + other[at:], [*lines[:at], *other, *lines[at:]]):
            copy.restore()
            path.write_bytes(b"".join(changed))
            if not repair.examine(flow.run()).needed:
                assert changed == lines
                continue
            mend(flow)
            if at % 2:
                assert flow.migrate()["totals"]["inserted"] == 0
            if harness.has_checkpoint(flow):
                assert flow.rollback()["rollback"]["deleted"] == 0
            assert bench.content(TARGET) == bench.after
    twin.rollback()
    bench.check_back()


def test_a_file_of_another_run_is_set_aside(bench):
    """Row 9: the pass begins again; what it had inserted is told to be unclaimed."""
    twin = bench.flow()
    twin.run_id = "another-run"
    twin.migrate()
    twin.rollback()
    for name in NAMES:
        flow = finished(bench)
        shutil.copy(file_of(twin, name), file_of(flow, name))
        with pytest.raises(Refused, match=r"`runbook repair the-first-run`"):
            flow.migrate()
        unclaimed = mend(flow)
        assert unclaimed == (0 if name == STAGE else None)
        lost = check_report(bench, flow, flow.migrate(), unclaimed)
        assert lost == {STAGE: 0, "Ports": PORTS, "Ships": INSERTED - PORTS}[name]
        assert check_way_back(bench, flow, lost) == lost
        bench.clear()


@pytest.mark.parametrize("name", few(NAMES, "Ships"))
@pytest.mark.parametrize("step", few([11, 1], 11))
def test_a_test_that_was_kept_is_taken_back_as_far_as_it_is_known(step, name, bench):
    """Rows 7 to 9 for the journal of 02; another test works all the same."""
    flow = bench.flow()
    flow.test("Ships", 2, keep=True)
    copy = Copy(bench, flow)
    path = file_of(flow, name, "test")
    lines = path.read_bytes().splitlines(keepends=True)
    for number, (what, changed) in enumerate(damages(lines, lines[::-1])):
        if number % step:
            continue
        copy.restore()
        path.write_bytes(b"".join(changed))
        if not is_damage(flow):
            continue
        repair.repair(flow.run())
        unclaimed = [one["items"] for one in Stage(flow.run(), "test").repairs()]
        if number % 2:
            assert flow.test("Ships", 1).wrong == 0
        flow.rollback("test")
        bench.check_unharmed()
        assert None in unclaimed or bench.landed() <= sum(unclaimed), what
    copy.restore()
    bench.clear()


@pytest.mark.parametrize("name", few(NAMES, "Ports"))
@pytest.mark.parametrize("resume", few([True, False], True))
@pytest.mark.parametrize("step", few([STEP, 1], STEP))
def test_a_run_that_was_caught_up_with_its_source(step, resume, name, bench):
    """Rows 7 to 9: the pages are gone over again, and then what changed is looked for again; nothing is copied twice."""
    flow = bench.flow()
    flow.migrate()
    with changed_source(bench):
        flow.delta()
    content = bench.content(TARGET)
    audit.append(flow.run(), "03_migrate")
    copy = Copy(bench, flow)
    path = file_of(flow, name)
    lines = path.read_bytes().splitlines(keepends=True)
    for number, (what, changed) in enumerate(damages(lines, lines[::-1])):
        if number % step:
            continue
        try:
            copy.restore()
            path.write_bytes(b"".join(changed))
            if not is_damage(flow):
                continue
            unclaimed = mend(flow)
            if resume:
                with changed_source(bench):
                    flow.migrate()
                    report = flow.delta()
                assert bench.content(TARGET) == content
                for counts in report["tables"].values():
                    assert counts["scanned"] == sum(counts.values()) - counts["scanned"]
            check_way_back(bench, flow, unclaimed, edited=2)  # a newer version that is not known counts as edited
        except BaseException as problem:
            problem.add_note(f"{name}: {what}")
            raise
    copy.restore()
    bench.clear()


# what is missing


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", few(RUNS, "finished"))
def test_a_file_that_is_missing_is_told(kind, name, bench):
    """Where the audit chain or the stage knows it: its pass begins again. `stage.jsonl` is made again from the others."""
    flow = RUNS[kind](bench)
    file_of(flow, name).unlink()
    files = repair.examine(flow.run()).files()
    if kind == "interrupted" and name != STAGE:
        assert files == {}  # nobody knows that it was there: as after a crash before its first record
    else:
        assert "missing" in str(files) or "lost" in str(files)
        unclaimed = mend(flow)
        if kind != "rolling-back":
            lost = check_report(bench, flow, go_on(flow), unclaimed)
            assert check_way_back(bench, flow, lost) == lost
    bench.clear()


@pytest.mark.parametrize("name", NAMES[1:])
def test_records_lost_at_the_end_are_known_from_the_stage_alone(name, bench):
    """Row 8: without an audit chain the stage's own end tells that a table was walked to its end."""
    flow = finished(bench)
    lines = file_of(flow, name).read_bytes().splitlines(keepends=True)
    copy = Copy(bench, flow)
    for number in range(len(lines)):
        copy.restore()
        (flow.run().folder / audit.FILE).unlink()
        file_of(flow, name).write_bytes(b"".join(lines[:number]))
        with pytest.raises(Refused, match="see `runbook repair the-first-run`"):
            flow.migrate()
        unclaimed = mend(flow)
        assert status(flow.run()).state == "interrupted"
        lost = check_report(bench, flow, flow.migrate(), unclaimed)
        assert check_way_back(bench, flow, lost) == lost
    bench.clear()


def test_a_torn_last_record_is_no_damage(bench):
    """Row 5: it is cut when the run goes on."""
    flow = interrupted(bench)
    path = file_of(flow, "Ships")
    path.write_bytes(path.read_bytes() + path.read_bytes()[:100])
    assert not repair.examine(flow.run()).needed
    bench.check_whole(flow.migrate())
    flow.rollback()
    bench.check_back()


# what a lost record would have said


def test_a_first_record_is_made_again_where_there_is_no_doubt(bench):
    """Of two segments the other one tells which this is; where both are lost, and nobody tells, the files are set aside."""
    flow = bench.flow(segments=2)
    flow.migrate()
    audit.append(flow.run(), "03_migrate")
    copy = Copy(bench, flow)
    paths = sorted(flow.run().journal("migrate").glob("Ports-*"))
    assert len(paths) == 2
    for broken in ([paths[0]], [paths[1]], paths):
        copy.restore()
        begins = {path: journal.begin_of(path) for path in paths}
        for path in broken:
            path.write_bytes(path.read_bytes().replace(b'"begin"', b'"begun"', 1))
        unclaimed = mend(flow)
        if broken == paths:
            assert not any(path.exists() for path in paths)
        else:
            again = journal.begin_of(broken[0])
            assert again.pop("made_again")
            assert (unclaimed, again) == (0, begins[broken[0]])
        lost = check_report(bench, flow, flow.migrate(), unclaimed)
        assert check_way_back(bench, flow, lost) == lost == (PORTS if broken == paths else 0)
    bench.clear()


def test_what_was_held_back_is_not_claimed_where_that_is_lost(bench):
    """An intent of which some rows never left: if which ones is lost, none of them is the run's."""
    flow = bench.flow()
    assert killed(flow.migrate, "journal.append.after=kill@5")  # the first page's intent
    assert bench.landed() == 0
    path = file_of(flow, "Ports")
    with_unsent = Log(path)
    with_unsent.append("unsent", n=0, execution=1, rows=[0, 1, 2])
    with_unsent.append("undo", n=0, execution=1, rows=[])
    with_unsent.close()
    ports = [item for item in bench.after["Ports"] if item not in bench.first["Ports"]]
    for item in ports:
        bench.world.put(bench.world.name("Ports", TARGET), item)  # another operator's, equal
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(flip(lines, 2, 1.0)))
    mend(flow)
    report = flow.migrate()
    assert report["tables"]["Ports"]["already_there"] == PORTS
    flow.rollback()
    bench.check_back_but([("Ports", item) for item in ports])


@pytest.mark.parametrize("name", [STAGE, "Ports"])
def test_a_repaired_run_goes_on_only_with_what_it_was_begun_with(name, bench, monkeypatch):
    """Row 12: also where the event that said so had to be made again."""
    from runbook_lib.journal import stage

    flow = interrupted(bench)
    path = file_of(flow, name)
    path.write_bytes(path.read_bytes().replace(b'"environments"', b'"environmentz"'))
    mend(flow)
    with monkeypatch.context() as patch:
        patch.setattr(stage, "code_fingerprint", lambda: "another")
        with pytest.raises(Refused, match="started with other program code"):
            flow.migrate()
    assert Stage(flow.run(), "migrate").executions() == 1
    flow.migrate()
    assert bench.content(TARGET) == bench.after
    flow.rollback()
    bench.check_back()


def test_a_rollback_that_was_under_way_stays_one(bench):
    """Where the event is lost, the undo records tell: the run is not resumed, and the rollback goes on to its end."""
    flow = rolling_back(bench)
    path = file_of(flow, STAGE)
    path.write_bytes(path.read_bytes().replace(b'"rollback"', b'"rollbuck"'))
    mend(flow)
    assert status(flow.run()).state == "rollback interrupted"
    with pytest.raises(Refused, match="was rolled back"):
        flow.migrate()
    assert flow.rollback()["rollback"]["deleted"] == INSERTED
    bench.check_back()


def test_counts_of_an_undo_are_what_it_adds_to_those_that_are_left(bench):
    """An item that was kept by an undo whose record is lost is counted by the next one."""
    flow = finished(bench)
    edited = bench.edit()
    flow.rollback()
    flow.rollback()  # looks at the kept ones again
    path = file_of(flow, "Ports")
    lines = path.read_bytes().splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if b'"undone"' in line and b"kept_edited" in line)
    path.write_bytes(b"".join(flip(lines, at, 1.0)))
    mend(flow)
    undone = Stage(flow.run(), "migrate").read().state().undone
    assert (undone["kept_edited"], undone["deleted"]) == (2, INSERTED - 2 - 1)  # of one nobody knows who deleted it
    assert flow.rollback()["rollback"]["kept_edited"] == 2
    bench.check_back_but(edited)


def test_the_records_of_a_run_from_before_there_were_seals_count_up_to_the_damage(bench):
    """Behind it nothing proves that they are this run's."""
    flow = interrupted(bench)
    for path in flow.run().journal("migrate").glob("*.jsonl"):
        chain, lines = b"", []
        for _, _, body in list(journal.lines(path)):
            chain = journal.link_of(chain, body)
            lines.append(chain + b" " + body + b"\n")
        path.write_bytes(b"".join(lines))
    path = file_of(flow, "Ports")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(flip(lines, 2, 1.0)))
    unclaimed = mend(flow)
    assert unclaimed is None
    assert len(list(journal.records(path))) == 2
    lost = check_report(bench, flow, flow.migrate(), unclaimed)
    assert check_way_back(bench, flow, lost) == lost == 3
    bench.clear()


def test_several_damages_in_all_files_and_a_second_repair(bench):
    """What a first repair found lost is not told again by a second one."""
    flow = interrupted(bench)
    for name in NAMES:
        path = file_of(flow, name)
        path.write_bytes(b"".join(flip(path.read_bytes().splitlines(keepends=True), 1, 1.0)))
    unclaimed = mend(flow)
    assert unclaimed == 6  # of the first pages
    path = file_of(flow, "Ports")
    path.write_bytes(b"".join(flip(path.read_bytes().splitlines(keepends=True), 1, 1.0)))
    found = repair.examine(flow.run())
    (told,) = found.mends["migrate"]
    assert (told.intents, told.items) == ([1], None)
    mend(flow)
    lost = check_report(bench, flow, flow.migrate(), None)
    assert check_way_back(bench, flow, lost) == lost
    bench.clear()


# what cannot be repaired


def test_what_cannot_be_repaired_is_refused(bench):
    """A copy beside its original, another schema, a chain that was made anew: each says what to do. Nothing is written."""
    flow = finished(bench)
    copy = Copy(bench, flow)
    path = file_of(flow, "Ships")
    content = path.read_bytes()

    def check(match):
        files = {path: path.read_bytes() for path in flow.run().folder.rglob("*") if path.is_file()}
        for command in (repair.examine, repair.repair):
            with pytest.raises(Refused, match=match):
                command(flow.run())
        now = {path: path.read_bytes() for path in flow.run().folder.rglob("*") if path.is_file()}
        assert {**now, flow.run().folder / ".lock": b""} == {**files, flow.run().folder / ".lock": b""}

    twice = path.with_name(path.name.replace(".00000.", ".00001."))
    shutil.copy(path, twice)
    check("hold the same segment; remove the copy")
    twice.unlink()

    def rewrite(change):
        records = list(journal.records(path))
        path.unlink()
        log = Log(path)
        for record in change(records):
            log.append(record.pop("kind"), **record)
        log.close()

    rewrite(lambda records: [records[0] | {"schema": 99}, *records[1:]])
    check("has schema 99, this program knows 1; use the version that wrote it")
    path.write_bytes(content)
    rewrite(lambda records: [*records[:-1], records[-1] | {"errors": {"0": "an invention"}}])
    check("record 5 is not the one that was written, and the chain was made anew over it")
    copy.restore()
    flow.rollback()
    bench.check_back()


def test_a_run_that_is_being_written_is_not_repaired(bench, monkeypatch):
    """Neither by a command, nor by a worker that outlived its command."""
    from runbook_lib.run import files

    monkeypatch.setattr(files, "PATIENCE", 0.1)
    flow = interrupted(bench)
    path = file_of(flow, "Ports")
    log = Log(path)
    path.write_bytes(path.read_bytes()[:-9] + b"xxxxxxxx\n")
    with pytest.raises(Refused, match=f"{path.name} is still being written by a worker"):
        repair.repair(flow.run())
    log.close()
    with flow.run().lock("03_migrate"), pytest.raises(Refused, match="is being written by process"):
        repair.repair(flow.run())
    mend(flow)
    flow.rollback()
    bench.check_unharmed()
    bench.clear()


# the audit chain


@pytest.mark.parametrize("damage", ["flip", "drop"])
def test_a_damaged_audit_chain_is_set_aside_and_named_by_a_new_one(damage, bench):
    """It is evidence: nothing of it is changed. Nothing else is touched for it."""
    flow = finished(bench)
    audit.append(flow.run(), "04_validate")
    audit.append(flow.run(), "04_validate")
    path = flow.run().folder / audit.FILE
    lines = path.read_bytes().splitlines(keepends=True)
    content = b"".join(flip(lines, 1, 0.5) if damage == "flip" else [lines[0], lines[2]])
    path.write_bytes(content)
    assert audit.verify(flow.run()).problems == ["audit.jsonl: record 2 does not continue the chain"]
    journals = {path: path.read_bytes() for path in flow.run().journal("migrate").rglob("*.jsonl")}
    repair.repair(flow.run())
    found = audit.verify(flow.run())
    assert (found.problems, found.records) == ([], 1)
    assert "audit.jsonl: does not continue" in found.repairs[0]
    assert {path: path.read_bytes() for path in flow.run().journal("migrate").rglob("*.jsonl")} == journals
    (old,) = (flow.run().folder / "damaged").iterdir()
    assert old.read_bytes() == content
    record = json.loads(path.read_text())
    assert record["replaces"] == [old.name, json.loads(lines[2])["hash"]]
    old.write_bytes(b"")
    assert audit.verify(flow.run()).problems == [f"damaged/{old.name} was changed"]
    bench.check_whole(flow.migrate())
    flow.rollback()
    bench.check_back()


def test_a_repair_is_a_statement_of_the_audit_chain_and_no_problem(bench):
    """Later damage is found as before, also that of what was set aside."""
    flow = finished(bench)
    path = file_of(flow, "Ships")
    content = path.read_bytes()
    path.write_bytes(b"".join(flip(content.splitlines(keepends=True), 2, 1.0)))
    mend(flow)
    found = audit.verify(flow.run())
    assert found.problems == []
    assert f"{path.name}: 1 record lost; 1 outcome behind the gap left out" in found.repairs[0]
    assert "journal/migrate/stage.jsonl" not in found.repairs[0]
    path.write_bytes(content)
    assert "is not the one that was written" in str(audit.verify(flow.run()).problems)
    with pytest.raises(Refused, match="is not the one that was written"):
        flow.migrate()
    flow.outputs.rename(flow.outputs.with_name("elsewhere"))
    bench.clear()


# dying of it


@pytest.mark.parametrize("step", few([11, 1], 11))
@pytest.mark.parametrize("fault", ["kill", "eio"])
def test_a_repair_that_dies_is_done_by_the_same_command(fault, step, bench):
    """At every write: the run is as it was, or repaired; what is told is told once."""
    flow = finished(bench)
    for name in NAMES:
        path = file_of(flow, name)
        path.write_bytes(b"".join(flip(path.read_bytes().splitlines(keepends=True), 1, 1.0)))
    audit_path = flow.run().folder / audit.FILE
    audit_path.write_bytes(audit_path.read_bytes() * 2)
    copy = Copy(bench, flow)
    number = 0
    while True:
        number += step
        copy.restore()
        points = f"journal.*={fault}@{number};file.*={fault}@{number}"
        if fault == "kill":
            died = killed(lambda: repair.repair(flow.run()), points)
        else:
            with harness.armed(points):
                try:
                    repair.repair(flow.run())
                    died = False
                except Interrupted:
                    died = True
        if not died:
            break
        if repair.examine(flow.run()).needed:
            repair.repair(flow.run())
        assert not repair.examine(flow.run()).needed
        assert sum(one["lost"] for one in Stage(flow.run(), "migrate").repairs()) == 3
        assert audit.verify(flow.run()).repairs
        if number % 3 == 0:
            lost = check_report(bench, flow, flow.migrate(), 6)
            assert check_way_back(bench, flow, lost) == lost == 6
    assert number > 10
    copy.restore()
    bench.clear()


@pytest.mark.parametrize("step", few([23, 1], 23))
def test_a_repaired_run_dies_and_goes_on_as_any_other(step, bench):
    """A journal that was repaired is as good a start for failures as any other: at every call, on or back."""
    flow = finished(bench)
    path = file_of(flow, "Ports")
    path.write_bytes(b"".join(flip(path.read_bytes().splitlines(keepends=True), 2, 1.0)))
    unclaimed = mend(flow)
    copy = Copy(bench, flow)
    number = 0
    while True:
        number += step
        copy.restore()
        died = killed(flow.migrate, f"*=kill@{number}")
        bench.check_unharmed()
        if number % 2:
            lost = check_report(bench, flow, flow.migrate(), unclaimed)
        else:
            lost = unclaimed
        assert check_way_back(bench, flow, lost) == lost == 0
        if not died:
            break
    assert number > 30
    bench.check_back()


# the command


def test_the_command_says_what_it_would_do_and_does_it(bench, capsys):
    """Without --execute nothing is written; 0 in either case; `status`, `verify` and the report tell of it afterwards."""
    flow = finished(bench)
    command = ["repair", flow.run_id, "--outputs", str(flow.outputs)]
    assert cli.main(command) == 0
    assert capsys.readouterr().out == "the-first-run: nothing to repair.\n"
    path = file_of(flow, "Ships")
    damaged = b"".join(flip(path.read_bytes().splitlines(keepends=True), 1, 1.0))
    path.write_bytes(damaged)
    files = sorted(flow.run().folder.rglob("*"))
    assert cli.main(command) == 0
    out = capsys.readouterr().out
    assert f"journal/migrate/{path.name}: 1 record lost; 2 outcomes behind the gap left out" in out
    assert "can be repaired, with --execute; nothing was changed" in out
    assert sorted(flow.run().folder.rglob("*")) == files
    assert path.read_bytes() == damaged
    assert cli.main([*command, "--execute", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["repaired"], list(found["files"])) == (True, [f"journal/migrate/{path.name}"])
    (aside,) = Path(path.parent / "damaged").iterdir()
    assert (aside.read_bytes(), aside.name[: len(path.name)]) == (damaged, path.name)
    assert cli.main(["verify", flow.run_id, "--outputs", str(flow.outputs)]) == 0
    assert "repaired journal/migrate/Ships" in capsys.readouterr().out
    assert cli.main(["status", flow.run_id, "--outputs", str(flow.outputs)]) == 0
    out = capsys.readouterr().out
    assert "the-first-run: interrupted, repaired\n" in out
    assert "the journal was repaired: 1 record lost; 3 items may be counted as already there" in out
    assert cli.main(["repair", "never-begun", "--outputs", str(flow.outputs)]) == 2
    path.write_bytes(damaged.replace(b'"schema":1', b'"schema":9'))
    flow.outputs.rename(flow.outputs.with_name("gone"))
    bench.clear()
