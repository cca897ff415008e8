"""A damaged journal without a copy is repaired: its records before the first break stay, and nothing else is claimed.

Whatever was damaged: the source stays; nothing that was in the target first is touched; the repaired run, resumed, ends with
the target of an untouched run, and every item is accounted for; a rollback takes back what the records that stayed say
was inserted, and leaves the rest.
"""

import itertools
import json
import shutil

import orjson
import pytest
from faults import harness
from faults.harness import INSERTED, PORTS, TARGET, killed
from faults.test_drift import changed_source
from faults.test_retry import failing, refused
from support_flows import counts_of

from runbook_lib import cli
from runbook_lib.errors import Interrupted, Refused
from runbook_lib.journal import audit, repair
from runbook_lib.journal import log as journal
from runbook_lib.journal.log import Log
from runbook_lib.journal.stage import Stage
from runbook_lib.report.runs.status import status
from runbook_lib.values import digest

STAGE, NAMES = "stage.jsonl", ("stage.jsonl", "Ports", "Ships")


def file_of(flow, name, stage="migrate"):
    """A journal file, by the table it is about."""
    folder = flow.run().journal(stage)
    return folder / name if name == STAGE else next(folder.glob(f"{name}-dev-*.00000.jsonl"))


def lines_of(path):
    """The lines of a file."""
    return path.read_bytes().splitlines(keepends=True)


def records_of(lines):
    """The records of undamaged lines."""
    return [orjson.loads(line.partition(b" ")[2]) for line in lines]


def flip(lines, number, place=1.0):
    """The lines, a bit of one of them changed, at a place between 0 and 1."""
    line = bytearray(lines[number])
    line[int(place * (len(line) - 2))] ^= 1
    return [*lines[:number], bytes(line), *lines[number + 1 :]]


def damage(flow, name, number=1, stage="migrate"):
    """Changes a bit of one record; gives the file."""
    path = file_of(flow, name, stage)
    path.write_bytes(b"".join(flip(lines_of(path), number)))
    return path


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


def tried_again(bench):
    """Some items could not be written; most of them were, when they were tried again."""
    flow = failing(bench)
    with refused({"Ports": ("p4",)}):
        flow.retry()
    return flow


def rolling_back(bench):
    """It was finished; its rollback died half-way."""
    flow = finished(bench)
    assert killed(flow.rollback, "wire.DeleteItem.after=kill@6")
    return flow


RUNS = {"interrupted": interrupted, "finished": finished, "tried-again": tried_again, "rolling-back": rolling_back}


def another_run(bench):
    """A finished migration of the same items in a folder of its own, which nobody knows of here."""
    twin = bench.flow()
    twin.run_id = "another-run"
    twin.migrate(["Ports"])  # so that not even its first record can be the same, byte for byte
    twin.migrate()
    return twin


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
                self._bench.world.delete(name, {"id": item["id"]})
            for item in (item for item in items if item not in now):
                self._bench.world.put(name, item)


# what becomes of them


def mend(flow):
    """Repairs the run: what was planned is done, and there is nothing left to do."""
    planned = repair.examine(flow.run()).files()
    assert repair.repair(flow.run()).files() == planned != {}
    assert not repair.examine(flow.run()).needed
    assert repair.told(Stage(flow.run(), "migrate")) or repair.told(Stage(flow.run(), "test"))


def claims(path):
    """What a table's file says was inserted and not deleted, as ids and digests; and rows of pages without an outcome."""
    inserted, unknown = {}, {}
    for record in records_of(lines_of(path)) if path.exists() else ():
        n, rows = record.get("n"), record.get("rows")
        if record["kind"] == "intent":
            unknown |= {(n, at): (row[2]["id"]["S"], row[5]) for at, row in enumerate(rows)}
        elif record["kind"] == "unsent":
            unknown = {place: new for place, new in unknown.items() if place not in {(n, at) for at in rows}}
        elif record["kind"] == "outcome":
            page = {(n, at): unknown.pop((n, at)) for at in range(len(rows))}
            inserted |= {place: new for place, new in page.items() if rows[place[1]] == "i"}
        elif record["kind"] == "undone":
            for at in rows:
                inserted.pop((n, int(at)), None)
    return set(inserted.values()), set(unknown.values())


def landed(bench):
    """The ids and digests of the items that were not in the target first."""
    now = bench.content(TARGET).items()
    return {(item["id"]["S"], digest(item)) for table, items in now for item in items if item not in bench.first[table]}


def check_report(bench, report):
    """Target and counts are those of the untouched run, but what is not claimed is already there; gives how many."""
    assert bench.content(TARGET) == bench.after
    either = {"inserted": 0, "already_there": 0}
    assert report["totals"] | either == bench.report["totals"] | either
    for name, counts in counts_of(report).items():
        assert counts["scanned"] == bench.report["tables"][name]["scanned"]
        assert counts["scanned"] == sum(counts.values()) - counts["scanned"]
    assert report["id_map"]["rows"] == bench.report["id_map"]["rows"]
    assert [alert["level"] for alert in report["alerts"] if "was repaired" in alert["message"]] == ["REVIEW"]
    lost = INSERTED - report["totals"]["inserted"]
    assert lost == report["totals"]["already_there"] - 1
    return lost


def check_way_back(bench, flow):
    """The rollback takes back what the journal claims, and nothing else."""
    before, journals = landed(bench), [claims(file) for file in journal.logs(flow.run().journal("migrate"))]
    claimed = set().union(*(sure for sure, _ in journals))
    flow.rollback()
    bench.check_unharmed()
    assert not landed(bench) & claimed
    assert before - landed(bench) <= claimed.union(*(unknown for _, unknown in journals))
    assert status(flow.run()).state == "rolled back"


def go_on(flow):
    """The run resumed, and what failed in it tried again; gives the report."""
    report = flow.migrate()
    return flow.retry() if report["totals"]["failed"] else report


def check_repaired(bench, flow, *, resume):
    """Repairs, and goes on or back."""
    mend(flow)
    bench.check_unharmed()
    lost = check_report(bench, go_on(flow)) if resume else None
    check_way_back(bench, flow)
    assert lost in (None, bench.landed())
    assert bench.content("dev") == bench.source
    found = audit.verify(flow.run())
    assert [p for p in found.problems if "is in no record" not in p and "was changed" not in p] == []
    assert found.repairs


def damages(lines, other):
    """Every way to damage each record of a file: what it is, the lines, and how many of them must stay."""
    for at in range(len(lines)):
        for place in (0.0, 0.05, 0.5, 1.0):
            yield f"flip {at} {place}", flip(lines, at, place), at
        yield f"drop {at}", lines[:at] + lines[at + 1 :], at
        yield f"repeat {at}", lines[: at + 1] + lines[at:], at + 1
        yield f"splice {at}", [*lines[:at], other[at % len(other)], *lines[at + 1 :]], at
        yield f"cut {at}", lines[:at], at
        if at:
            yield f"swap {at}", [*lines[: at - 1], lines[at], lines[at - 1], *lines[at + 1 :]], at - 1


def sweep(bench, kind, name, *, resume, step):
    """Each damage of a file in turn (or every STEP-th); gives how many were tried."""
    twin = another_run(bench)
    other = lines_of(file_of(twin, name))
    twin.rollback()
    flow = RUNS[kind](bench)
    copy = Copy(bench, flow)
    path = file_of(flow, name)
    lines = lines_of(path)
    tried = 0
    for what, changed, stays in itertools.islice(damages(lines, other), 0, None, step):
        try:
            copy.restore()
            path.write_bytes(b"".join(changed))
            if not repair.examine(flow.run()).needed:
                assert what.startswith(("cut", "drop")) or changed == lines, "not found"
                continue
            tried += 1
            check_repaired(bench, flow, resume=resume)
            if changed:  # of an empty file there is nothing to keep
                (aside,) = path.parent.glob(f"damaged/{path.name}-*")
                assert aside.read_bytes() == b"".join(changed)
            if kind == "rolling-back" and name != STAGE:
                assert not path.exists()
            else:
                assert not stays or path.read_bytes().startswith(b"".join(lines[:stays]))
        except BaseException as problem:
            problem.add_note(f"{kind}, {name}: {what}")
            raise
    copy.restore()
    bench.clear()
    return tried


STEP = 23
FIRST = ("interrupted", "Ports", True)
SAMPLE = {FIRST, ("finished", STAGE, False), ("tried-again", "Ships", True)}
HALF = {*[*itertools.product(RUNS, NAMES, (True, False))][::2]}  # of the ways, in the slow tier
WAYS = [
    pytest.param(*way, step, marks=marks)
    for way in itertools.product(RUNS, NAMES, (True, False))
    for step, marks in ((STEP, [] if way == FIRST else pytest.mark.slow), (11, pytest.mark.slow), (1, pytest.mark.long))
    if way[0] != "rolling-back" or not way[2]  # a run whose rollback was begun is not resumed
    if way in SAMPLE or step != STEP
    if way in HALF or step != 11
]


@pytest.mark.parametrize(("kind", "name", "resume", "step"), WAYS)
def test_each_record_damaged_in_turn(kind, name, resume, step, bench):
    """Rows 7, 8, 9; each record in the long tier, samples in the others."""
    assert sweep(bench, kind, name, resume=resume, step=step) >= 20 // step


@pytest.mark.parametrize("resume", [pytest.param(True, marks=pytest.mark.slow), False])
def test_a_run_that_was_caught_up_with_its_source(resume, bench):
    """Rows 7 to 9: what changed is looked for again; an item whose newer version is not claimed is left alone."""
    flow = bench.flow()
    flow.migrate()
    with changed_source(bench):
        flow.delta()
    content = bench.content(TARGET)
    copy = Copy(bench, flow)
    path = file_of(flow, "Ports")
    lines = lines_of(path)
    kinds = [record["kind"] for record in records_of(lines)]
    for number in range(kinds.index("undo") - 1, len(lines)):
        copy.restore()
        path.write_bytes(b"".join(flip(lines, number)))
        mend(flow)
        if resume:
            with changed_source(bench):
                flow.migrate()
                report = flow.delta()
            assert bench.content(TARGET) == content, number
            for counts in counts_of(report).values():
                assert counts["scanned"] == sum(counts.values()) - counts["scanned"]
        check_way_back(bench, flow)
    copy.restore()
    bench.clear()


# what is not ours


@pytest.mark.parametrize("name", few(NAMES[1:], "Ports"))
def test_what_another_run_inserted_is_never_claimed(name, bench):
    """Row 9: its records announce items that were absent; spliced into ours, where the same items were there, they count for
    nothing."""
    twin = another_run(bench)
    other = lines_of(file_of(twin, name))
    flow = bench.flow()
    flow.migrate()
    copy = Copy(bench, flow)
    path = file_of(flow, name)
    lines = lines_of(path)
    for at in range(len(lines)):
        for changed in (other[:at] + lines[at:], lines[:at] + other[at:], [*lines[:at], *other, *lines[at:]]):
            copy.restore()
            path.write_bytes(b"".join(changed))
            if changed == lines:
                continue
            mend(flow)
            if at % 2:
                assert flow.migrate()["totals"]["inserted"] == 0
            flow.rollback()
            assert bench.content(TARGET) == bench.after
    twin.rollback()
    bench.check_back()


@pytest.mark.parametrize(
    "broken",
    [(STAGE, "Ports"), *(pytest.param(of, marks=pytest.mark.slow) for of in (("Ports",), NAMES))],
    ids=" and ".join,
)
def test_what_others_inserted_after_a_rollback_stays(broken, bench):
    """A lost record may have said that an item was deleted: whoever inserted an equal one since keeps it, at each record."""
    flow = finished(bench)
    flow.rollback()
    bench.check_back()
    copy = Copy(bench, flow)
    shortest = min(len(lines_of(file_of(flow, name))) for name in broken)
    for number in range(shortest):
        copy.restore()
        for name in broken:
            damage(flow, name, -1 - number)
        another_run(bench)
        mend(flow)
        if harness.has_checkpoint(flow):
            assert Stage(flow.run(), "migrate").read().state().standing <= 0
            flow.rollback()
        assert bench.content(TARGET) == bench.after
        bench.clear()


def test_what_the_migration_inserted_after_a_test_stays(bench):
    """A test deletes what it inserted, without an event: of the damaged files of its journal nothing is claimed."""
    flow = bench.flow()
    flow.test("Ships", 2)
    flow.migrate()
    copy = Copy(bench, flow)
    for number in range(1, len(lines_of(file_of(flow, "Ships", "test")))):
        copy.restore()
        for name in NAMES[1:]:
            damage(flow, name, number, "test")
        mend(flow)
        flow.rollback("test")
        assert bench.content(TARGET) == bench.after
        assert flow.test("Ships", 1).wrong == 0
    copy.restore()
    flow.rollback()
    bench.check_back()


def test_what_was_held_back_is_not_claimed_where_that_is_lost(bench):
    """Rows that never left, and that somebody else inserted since: the lost record would have said so."""
    flow = bench.flow()
    assert killed(flow.migrate, "journal.append.after=kill@5")  # the first page's intent
    assert bench.landed() == 0
    path = file_of(flow, "Ports")
    log = Log(path)
    log.append("unsent", n=0, execution=1, rows=[0, 1, 2])
    log.close()
    ports = [item for item in bench.after["Ports"] if item not in bench.first["Ports"]]
    for item in ports:
        bench.world.put(bench.world.name("Ports", TARGET), item)  # another operator's, equal
    damage(flow, "Ports", 2)
    mend(flow)
    report = flow.migrate()
    assert report["tables"]["Ports"]["already_there"] == PORTS
    flow.rollback()
    bench.check_back_but([("Ports", item) for item in ports])


# lost files, lost ends


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("how", ["of another run", "missing"])
def test_a_file_that_is_not_there_or_of_another_run(how, name, bench):
    """Its pass is walked again, and what lies in the target is already there. `stage.jsonl` is made again from the others."""
    twin = another_run(bench)
    twin.rollback()
    flow = finished(bench)
    if how == "missing":
        file_of(flow, name).unlink()
    else:
        shutil.copy(file_of(twin, name), file_of(flow, name))
        with pytest.raises(Refused, match=r"`runbook repair the-first-run`"):
            flow.migrate()
    mend(flow)
    assert status(flow.run()).state == "interrupted"
    lost = check_report(bench, flow.migrate())
    assert lost == {STAGE: 0, "Ports": PORTS, "Ships": INSERTED - PORTS}[name]
    check_way_back(bench, flow)
    assert bench.landed() == lost
    bench.clear()


def test_a_file_under_the_name_of_another_table_is_refused_and_set_aside(bench):
    """Row 9: a file's first record says what it is of."""
    flow = interrupted(bench)
    ships = file_of(flow, "Ships")
    file_of(flow, "Ports").rename(ships)
    with pytest.raises(Refused, match=f"{ships.name} is a file of Ports-dev-"):
        flow.rollback()
    before = bench.landed()
    mend(flow)
    assert check_report(bench, flow.migrate()) == before
    check_way_back(bench, flow)
    assert bench.landed() == before
    bench.clear()


@pytest.mark.parametrize("name", [NAMES[1], *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES[2:])])
def test_records_lost_at_the_end_are_known_from_the_stage_alone(name, bench):
    """Row 8: without an audit chain the stage's own end tells that a table was walked to its end."""
    flow = finished(bench)
    lines = lines_of(file_of(flow, name))
    copy = Copy(bench, flow)
    for number in range(len(lines)):
        copy.restore()
        (flow.run().folder / audit.FILE).unlink()
        file_of(flow, name).write_bytes(b"".join(lines[:number]))
        with pytest.raises(Refused, match="see `runbook repair the-first-run`"):
            flow.migrate()
        check_repaired(bench, flow, resume=True)
    copy.restore()
    file_of(flow, name).unlink()  # and nobody but the stage's end knows that there was one
    (flow.run().folder / audit.FILE).unlink()
    check_repaired(bench, flow, resume=True)
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


# lost events of a stage


@pytest.mark.parametrize("number", range(5))
def test_an_execution_is_never_counted_twice(number, bench):
    """The tables' files know how many there were, and what the run was begun with; row 12 holds behind a repair, too."""
    flow = interrupted(bench)
    assert killed(flow.migrate, "journal.append.after=kill@4")
    assert Stage(flow.run(), "migrate").executions() == 2
    known = max(
        r.get("execution", 0) for file in journal.logs(flow.run().journal("migrate")) for r in journal.records(file)
    )
    damage(flow, STAGE, number)
    mend(flow)
    assert Stage(flow.run(), "migrate").executions() >= known
    flow.migrate()
    assert bench.content(TARGET) == bench.after
    begun = [record["execution"] for record in journal.records(file_of(flow, "Ships"), "intent")]
    assert begun == sorted(begun)
    assert max(begun) >= known
    flow.rollback()
    bench.check_back()


@pytest.mark.parametrize("name", [STAGE, "Ports"])
def test_a_repaired_run_goes_on_only_with_what_it_was_begun_with(name, bench, monkeypatch):
    """Row 12: also where the event that said so had to be made again."""
    flow = interrupted(bench)
    damage(flow, name, 0)
    mend(flow)
    with pytest.raises(Refused, match="started with other program code"):
        Stage(flow.run(), "migrate").check_identity(flow._plan().identity._replace(code="another"))
    flow.migrate()
    flow.rollback()
    bench.check_unharmed()
    bench.clear()


@pytest.mark.parametrize("lost", ["rolled_back", "rollback", "end", "execution"])
def test_a_rollback_that_is_lost_is_seen_in_the_other_files(lost, bench):
    """The run is not resumed, and no later command takes its items for standing ones; the rollback goes on to its end."""
    flow = finished(bench)
    flow.rollback()
    audit.append(flow.run(), "05_rollback")
    path = file_of(flow, STAGE)
    kinds = [record["kind"] for record in journal.records(path)]
    path.write_bytes(b"".join(lines_of(path)[: kinds.index(lost)]))
    mend(flow)
    stage = Stage(flow.run(), "migrate")
    assert status(flow.run()).state == "rollback interrupted"
    assert (stage.read().state().standing, len(list(stage.events("checkpoint")))) == (0, 1)
    with pytest.raises(Refused, match="was rolled back in part"):
        flow.migrate()
    assert flow.rollback()["rollback"]["deleted"] == INSERTED
    assert status(flow.run()).state == "rolled back"
    bench.check_back()


def test_a_second_repair_that_dies_knows_of_the_first_one(bench):
    """Also where the event that told of it is what is lost."""
    flow = finished(bench)
    damage(flow, "Ports", 4)
    mend(flow)
    damage(flow, STAGE, -1)
    assert killed(lambda: repair.repair(flow.run()), "file.stage.jsonl.after=kill")
    mend(flow)
    assert len(audit.verify(flow.run()).repairs) == 2
    check_report(bench, flow.migrate())
    check_way_back(bench, flow)
    bench.clear()


# what is not repaired


def test_what_cannot_be_repaired_is_refused(bench):
    """Another schema, a chain that was made anew: each says what to do. Nothing is written."""
    flow = finished(bench)
    copy = Copy(bench, flow)
    path = file_of(flow, "Ships")

    def check(change, match):
        records = list(journal.records(path))
        path.unlink()
        log = Log(path)
        for record in change(records):
            log.append(record.pop("kind"), **record)
        log.close()
        files = {path: path.read_bytes() for path in flow.run().folder.rglob("*") if path.is_file()}
        for command in (repair.examine, repair.repair):
            with pytest.raises(Refused, match=match):
                command(flow.run())
        now = {path: path.read_bytes() for path in flow.run().folder.rglob("*") if path.is_file()}
        assert {**now, flow.run().folder / ".lock": b""} == {**files, flow.run().folder / ".lock": b""}
        copy.restore()

    check(lambda records: [records[0] | {"schema": 99}, *records[1:]], "has schema 99, this program knows 1")
    invented = "record 5 is not the one that was written, and the chain was made anew over it"
    check(lambda records: [*records[:-1], records[-1] | {"errors": {"0": "an invention"}}], invented)
    flow.rollback()
    bench.check_back()


def test_a_run_that_is_being_written_is_not_repaired(bench, monkeypatch):
    """Neither by a command, nor by a worker that outlived its command."""
    from runbook_lib import process

    flow = interrupted(bench)
    path = damage(flow, "Ships", -1)
    content = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(process, "lock_patience", 0.1)
        with path.open("rb") as held:
            journal.hold(held, path.name)
            with pytest.raises(Interrupted, match=f"{path.name} is still being written by a worker"):
                repair.repair(flow.run())
        with flow.run().lock("03_migrate"), pytest.raises(Refused, match="is being written by process"):
            repair.repair(flow.run())
    assert path.read_bytes() == content
    mend(flow)
    check_way_back(bench, flow)
    bench.clear()


# the audit chain


@pytest.mark.parametrize("damage", ["flip", "drop"])
def test_a_damaged_audit_chain_is_set_aside_and_named_by_a_new_one(damage, bench):
    """It is evidence: nothing of it is changed. Nothing else is touched for it."""
    flow = finished(bench)
    audit.append(flow.run(), "04_validate")
    audit.append(flow.run(), "04_validate")
    path = flow.run().folder / audit.FILE
    lines = lines_of(path)
    content = b"".join(flip(lines, 1, 0.5) if damage == "flip" else [lines[0], *lines[2:]])
    path.write_bytes(content)
    assert audit.verify(flow.run()).problems == ["audit.jsonl: record 2 does not continue the chain"]
    journals = {path: path.read_bytes() for path in flow.run().journal("migrate").rglob("*.jsonl")}
    repair.repair(flow.run())
    found = audit.verify(flow.run())
    assert (found.problems, found.records) == ([], 1)
    assert "audit.jsonl: a record does not continue the chain" in found.repairs[0]
    assert {path: path.read_bytes() for path in flow.run().journal("migrate").rglob("*.jsonl")} == journals
    (old,) = (flow.run().folder / "damaged").iterdir()
    assert old.read_bytes() == content
    record = json.loads(path.read_text())
    assert record["replaces"] == [old.name, json.loads(lines[-1])["hash"]]
    old.write_bytes(b"")
    assert audit.verify(flow.run()).problems == [f"damaged/{old.name} was changed"]
    old.write_bytes(content)
    bench.check_whole(flow.migrate())
    flow.rollback()
    bench.check_back()


def test_a_repair_is_a_statement_of_the_audit_chain_and_no_problem(bench):
    """Later damage is found as before, also that of what was set aside."""
    flow = finished(bench)
    path = file_of(flow, "Ships")
    content = path.read_bytes()
    damage(flow, "Ships", 2)
    mend(flow)
    found = audit.verify(flow.run())
    assert found.problems == []
    assert f"{path.name}: record 3 does not fit the chain; 2 records kept, 3 lost" in found.repairs[0]
    assert "journal/migrate/stage.jsonl" not in found.repairs[0]
    path.write_bytes(content)
    assert "is not the one that was written" in str(audit.verify(flow.run()).problems)
    with pytest.raises(Refused, match="is not the one that was written"):
        flow.migrate()
    bench.clear()


# dying of it


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("fault", ["kill", "eio"])
def test_a_repair_that_dies_is_done_by_the_same_command(fault, step, bench):
    """At every write: the run is as it was, or repaired; what is told is told once; nothing more is claimed for it."""
    flow = finished(bench)
    audit_path = flow.run().folder / audit.FILE
    audit_path.write_bytes(audit_path.read_bytes() * 2)
    file_of(flow, "Ports").write_bytes(b"".join(lines_of(file_of(flow, "Ports"))[:-1]))  # it ends with an intent now
    damage(flow, STAGE, -1)
    damage(flow, "Ships", 3)
    copy = Copy(bench, flow)
    number = died = 0
    while True:
        number += step
        copy.restore()
        points = f"file.*={fault}@{number}"
        if fault == "kill":
            dies = killed(lambda: repair.repair(flow.run()), points)
        else:
            with harness.armed(points):
                try:
                    repair.repair(flow.run())
                    dies = False
                except Interrupted:
                    dies = True
        if not dies:
            break
        died += 1
        if repair.examine(flow.run()).needed:
            repair.repair(flow.run())
        assert not repair.examine(flow.run()).needed
        assert len(Stage(flow.run(), "migrate").repairs()) == 3
        assert audit.verify(flow.run()).repairs
        # A process killed while it writes a copy leaves that under a temporary name, which begins with a dot.
        assert len(list(flow.run().journal("migrate").glob("damaged/[!.]*"))) == 3
        if step > 1 or died % 3 == 0:
            assert check_report(bench, flow.migrate()) == INSERTED  # of all files a rollback may be lost
            check_way_back(bench, flow)
    assert died > 20 // step
    copy.restore()
    bench.clear()


def held_back(bench):
    """One item landed; its page's other rows never left, which is known."""
    flow = bench.flow()
    assert killed(flow.migrate, "wire.PutItem.after=kill@1")
    log = Log(file_of(flow, "Ports"))
    log.append("unsent", n=0, execution=1, rows=[1, 2])
    log.close()
    return flow


@pytest.mark.parametrize(("number", "lost"), [(2, PORTS), (3, PORTS - 3), (None, 1)])
@pytest.mark.parametrize(
    "step", [23, pytest.param(11, marks=pytest.mark.slow), pytest.param(1, marks=pytest.mark.long)]
)
def test_a_repaired_run_dies_and_goes_on_as_any_other(step, number, lost, bench):
    """A journal that was repaired is as good a start for failures as any other: at every call, on or back. What it inserts
    anew is its own, also rows of an intent that was given up."""
    flow = held_back(bench) if number is None else finished(bench)
    damage(flow, "Ports", number or 2)
    mend(flow)
    copy = Copy(bench, flow)
    for at in itertools.count(step, step):
        copy.restore()
        died = killed(flow.migrate, f"*=kill@{at}")
        bench.check_unharmed()
        if at % 2:
            assert check_report(bench, flow.migrate()) == lost
        check_way_back(bench, flow)
        assert bench.landed() == lost
        if not died:
            break
    assert at > 20
    bench.clear()


# the command


def test_the_command_says_what_it_would_do_and_does_it(bench, capsys):
    """Without --execute nothing is written; 0 in either case; `status`, `verify` and the report tell of it afterwards."""
    flow = finished(bench)
    command = ["repair", flow.run_id, "--outputs", str(flow.outputs)]
    assert cli.main(command) == 0
    assert capsys.readouterr().out == "the-first-run: nothing to repair.\n"
    path = damage(flow, "Ships")
    damaged, files = path.read_bytes(), sorted(flow.run().folder.rglob("*"))
    assert cli.main(command) == 0
    out = capsys.readouterr().out
    assert f"journal/migrate/{path.name}: record 2 does not fit the chain; 1 record kept, 4 lost\n" in out
    assert "can be repaired, with --execute; nothing was changed" in out
    assert sorted(flow.run().folder.rglob("*")) == files
    assert path.read_bytes() == damaged
    assert cli.main([*command, "--execute", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["repaired"], list(found["files"])) == (True, [f"journal/migrate/{path.name}"])
    assert cli.main(["verify", flow.run_id, "--outputs", str(flow.outputs)]) == 0
    assert "repaired journal/migrate/Ships" in capsys.readouterr().out
    assert cli.main(["status", flow.run_id, "--outputs", str(flow.outputs)]) == 0
    out = capsys.readouterr().out
    assert "the-first-run: interrupted, repaired\n" in out
    assert "the journal was repaired: 4 records lost; a rollback leaves the items that only these name" in out
    assert cli.main(["repair", "never-begun", "--outputs", str(flow.outputs)]) == 2
    bench.clear()
