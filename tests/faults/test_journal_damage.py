"""A journal that was damaged is refused, by name, before anything is done; one that was torn by a crash is recovered.

What cannot be found, because nothing tells it from a crash: whole records missing from the end of a file that no
execution ended after (an end is anchored in audit.jsonl, and in stage.jsonl). After a crash only the last record of a run
can be missing, as each is on disk before the next is written; so it takes somebody who cuts the file. Even then nothing is
overwritten and the target becomes what it should: `test_records_lost_without_a_trace` shows what is lost.
"""

import json
import re
import shutil
from pathlib import Path

import pytest
from faults.harness import INSERTED, TARGET, killed

from runbook_lib.errors import Damaged, Refused
from runbook_lib.journal import audit
from runbook_lib.journal import log as journal
from runbook_lib.journal.log import Log
from runbook_lib.journal.stage import Stage
from runbook_lib.run.files import json_seal
from runbook_lib.stages.rollback.rollback import Undoing

FILES = ["stage.jsonl", "Ports", "Ships"]
WHOLE = pytest.param(1, marks=pytest.mark.long)


@pytest.fixture
def flow(bench):
    """A finished migration, with its audit record."""
    flow = bench.flow()
    flow.migrate()
    audit.append(flow.run(), "03_migrate")
    return flow


def file_of(flow, name):
    """A journal file, by the table it is about."""
    folder = flow.run().journal("migrate")
    return folder / name if name == "stage.jsonl" else next(folder.glob(f"{name}-dev-*.00000.jsonl"))


def check_refused(bench, flow, match):
    """Neither resumed nor rolled back: both say why, and nothing is done."""
    before = bench.content(TARGET)
    files = {path: path.read_bytes() for path in flow.run().folder.glob("journal/*/*.jsonl")}
    if not (flow.run().folder / audit.FILE).exists():
        audit.renew(flow.run(), "03_migrate", None, audit.Repaired({}, {}))
    for command in (flow.migrate, flow.rollback):
        with pytest.raises(Refused, match=match):
            command()
    assert bench.content(TARGET) == before
    assert {path: path.read_bytes() for path in flow.run().folder.glob("journal/*/*.jsonl")} == files


def forget_audit(flow):
    """As if somebody made the audit chain anew over what is there then: the journal alone has to tell."""
    (flow.run().folder / audit.FILE).unlink(missing_ok=True)


# bits


@pytest.mark.parametrize(
    ("name", "bits"),
    [
        ("stage.jsonl", range(1)),
        *(pytest.param(name, range(1), marks=pytest.mark.slow) for name in FILES[1:]),
        *(pytest.param(name, range(1, 8), marks=pytest.mark.long) for name in FILES),
    ],
)
def test_a_bit_flipped_in_any_byte_is_found_and_the_record_named(name, bits, flow):
    """Row 7: each byte of each file, in turn. The last line's end is the exception: without it the line counts as torn."""
    path, stage = file_of(flow, name), Stage(flow.run(), "migrate")
    content = path.read_bytes()
    records = list(journal.records(path))
    for at in range(len(content)):
        number = content[:at].count(b"\n") + 1
        for bit in bits:
            changed = bytearray(content)
            changed[at] ^= 1 << (at + bit) % 8
            path.write_bytes(changed)
            if at == len(content) - 1:
                assert list(journal.records(path)) == records[:-1]
                continue
            with pytest.raises(Damaged, match=rf"^{path.name}: record {number} is damaged"):
                stage.read()


@pytest.mark.parametrize("name", FILES)
def test_damage_stops_everything_before_anything_is_done(name, bench, flow):
    """Row 7: migrate and rollback read all files to their ends first, also where no audit chain helps."""
    path = file_of(flow, name)
    content = path.read_bytes()
    for at in range(len(content) // 10, len(content), len(content) // 3):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        check_refused(bench, flow, rf"^{path.name}: record \d+ is damaged|migrate/{path.name}: record \d+ is damaged")
    forget_audit(flow)
    check_refused(bench, flow, rf"^{path.name}: record \d+ is damaged")


# ends


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("step", [29, WHOLE])
def test_a_file_cut_anywhere_is_found_where_an_execution_ended(name, step, bench, flow):
    """Row 8: shorter than the audit chain knows it, by a byte or by all."""
    path = file_of(flow, name)
    content = path.read_bytes()
    for length in range(0, len(content), step):
        path.write_bytes(content[:length])
        with pytest.raises(Refused, match=rf"{path.name} has lost records: it held \d+ and holds \d+"):
            audit.check(flow.run())
    check_refused(bench, flow, f"{path.name} has lost records")
    path.unlink()
    check_refused(bench, flow, f"{path.name} was removed")


FEW = (3, 5, 13)


@pytest.mark.parametrize("number", [n if n in FEW else pytest.param(n, marks=pytest.mark.slow) for n in range(1, 15)])
def test_a_torn_last_record_is_cut_and_its_page_done_again(number, bench, appended):
    """Row 5: the Nth record was torn, at any of its bytes: the file opens as if it had never been begun; the run goes on to
    the same end, says in its log what was cut, and can be taken back."""
    flow = bench.flow()
    assert killed(flow.migrate, f"journal.fsync.before=kill@{number}")
    path, whole = tear(appended(), 1)
    last = path.read_bytes()[len(whole) :]
    for length in range(len(last) + 1):
        path.write_bytes(whole + last[:length])
        log = Log(path)
        log.close()
        assert (log.cut, path.read_bytes()) == (length, whole)
    path.write_bytes(whole + last)
    bench.check_whole(flow.migrate())
    assert f"{path.name}: cut a torn last record of {len(last)} bytes" in (flow.run().folder / "run.log").read_text()
    assert flow.rollback()["rollback"]["deleted"] == INSERTED
    bench.check_back()


@pytest.fixture
def appended(monkeypatch, tmp_path):
    """A function that gives the journal file written last, by whatever process: file times are too coarse to tell."""
    append, note = Log.append, tmp_path / "appended"

    def noting(log, kind, **record):
        note.write_text(str(log.path))
        append(log, kind, **record)

    monkeypatch.setattr(Log, "append", noting)
    return lambda: Path(note.read_text())


def tear(path, length):
    """A file whose last record was torn: it loses its last bytes. Gives the path, and what stands before that record."""
    *before, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*before, last[:-length]]))
    return path, b"".join(before)


@pytest.mark.parametrize("number", [5, 8])
def test_a_torn_last_record_does_not_disturb_the_rollback(number, bench, appended):
    """Row 5: rolled back without resuming."""
    flow = bench.flow()
    assert killed(flow.migrate, f"journal.fsync.before=kill@{number}")
    path, _ = tear(appended(), 9)
    landed = bench.landed()
    assert flow.rollback()["rollback"]["deleted"] == landed
    assert f"{path.name}: cut a torn last record" in (flow.run().folder / "run.log").read_text()
    bench.check_back()


def test_a_torn_line_of_the_audit_chain_is_no_end_of_it(flow):
    """Row 8: a disk that was full tore it; the next record goes on from the last whole one."""
    path = flow.run().folder / audit.FILE
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:100])
    number = whole.count(b"\n") + 1
    assert audit.verify(flow.run()).problems == [f"audit.jsonl: record {number} does not continue the chain"]
    audit.append(flow.run(), "03_migrate")
    found = audit.verify(flow.run())
    assert (found.records, found.problems) == (number, [])


@pytest.mark.parametrize("name", FILES[1:])
def test_a_stage_that_ended_before_its_pages_has_lost_records(name, bench, flow):
    """Row 8: without an audit chain the stage's own end tells that a table was walked to its end."""
    path = file_of(flow, name)
    lines = path.read_bytes().splitlines(keepends=True)
    for number in range(1, len(lines)):
        path.write_bytes(b"".join(lines[:number]))
        forget_audit(flow)
        check_refused(bench, flow, f"migrate: the journal of {name} has lost records")
    path.unlink()
    forget_audit(flow)
    check_refused(bench, flow, f"migrate: the journal of {name} has lost records")


def test_records_lost_without_a_trace(bench):
    """Row 8: where nothing ended, a file without its last records is what a crash would have left: nobody can tell. The
    target still becomes what it should and nothing is overwritten, but what had landed is taken for others', and stays."""
    flow = bench.flow()
    assert killed(flow.migrate, "wire.PutItem.after=kill@10")
    path = file_of(flow, "Ports")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))  # the second page's records are gone
    report = flow.migrate()
    assert bench.content(TARGET) == bench.after
    lost = INSERTED - report["totals"]["inserted"]
    assert lost == report["totals"]["already_there"] - 1 > 0
    assert flow.rollback()["rollback"]["deleted"] == INSERTED - lost
    bench.check_unharmed()
    assert bench.landed() == lost


# records


def moved(lines, other):
    """Every way to drop, swap, repeat or splice whole records, apart from dropping the last ones."""
    for at in range(len(lines)):
        if at < len(lines) - 1:
            yield f"drop {at}", lines[:at] + lines[at + 1 :]
        yield f"repeat {at}", lines[: at + 1] + lines[at:]
        yield f"splice {at}", [*lines[:at], other[at % len(other)], *lines[at + 1 :]]
        yield f"insert {at}", [*lines[:at], other[at % len(other)], *lines[at:]]
        for to in range(at + 1, len(lines)):
            swapped = list(lines)
            swapped[at], swapped[to] = lines[to], lines[at]
            yield f"swap {at} {to}", swapped
    yield "append", [*lines, other[-1]]


@pytest.mark.parametrize("name", FILES)
def test_records_dropped_swapped_repeated_or_spliced_are_found(name, bench, flow):
    """Row 9: each is chained to all before it; those of another run of the same migration fit nowhere."""
    path, stage = file_of(flow, name), Stage(flow.run(), "migrate")
    twin = bench.flow()
    twin.run_id = "another-run"
    twin.migrate()
    lines, other = (file_of(f, name).read_bytes().splitlines(keepends=True) for f in (flow, twin))
    for what, changed in moved(lines, other):
        path.write_bytes(b"".join(changed))
        try:
            stage.read()
        except Refused as problem:
            found = str(problem)
        else:
            found = "nothing"
        assert re.match(rf"{path.name}(: record \d+ is damaged| belongs to run another-run)", found), what
    forget_audit(flow)
    check_refused(bench, flow, rf"^{path.name}: record \d+ is damaged")


# files


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_run_is_refused(name, bench, flow):
    """Row 9: whole and valid, but not this run's; nobody's items are deleted for it."""
    twin = bench.flow()
    twin.run_id = "another-run"
    twin.migrate()
    forget_audit(flow)
    shutil.copy(file_of(twin, name), file_of(flow, name))
    check_refused(bench, flow, rf"^{file_of(flow, name).name} belongs to run another-run \(migrate\)")


def test_a_file_of_another_stage_is_refused(bench):
    """Row 9: what a test kept is not the migration's."""
    flow = bench.flow()
    flow.test("Ships", 2, keep=True)
    flow.migrate()
    tested = flow.run().journal("test") / file_of(flow, "Ships").name
    shutil.copy(tested, file_of(flow, "Ships"))
    forget_audit(flow)
    check_refused(bench, flow, r"Ships-.* belongs to run the-first-run \(test\)")


def test_a_file_that_is_there_twice_is_refused(bench, flow):
    """Row 9: or everything in it would count twice."""
    forget_audit(flow)
    path = file_of(flow, "Ships")
    copy = path.with_name(path.name.replace(".00000.", ".00001."))
    shutil.copy(path, copy)
    check_refused(bench, flow, f"^{copy.name} and {path.name} hold the same segment")


def sealed_again(path, target):
    """The checkpoint sends the ports' rollback to another table."""
    content = json.loads(path.read_text())
    content["entries"]["Ports"]["target"] = target
    del content["sha256"]
    path.write_text(json.dumps({**content, "sha256": json_seal(content)}))


def forged(path):
    """A journal claims the items of somebody else: records as the program writes them, in a chain that fits."""
    intent, outcome = (list(journal.records(path, kind))[-1] for kind in ("intent", "outcome"))
    log = Log(path)
    for record in (intent, outcome):
        log.append(record.pop("kind"), **record)
    log.close()


@pytest.mark.parametrize("edit", ["checkpoint", "journal"])
def test_what_somebody_else_wrote_is_not_believed(edit, bench, flow):
    """Neither a checkpoint that was edited and sealed again, nor records that were forged: a rollback deletes nothing by it,
    also after 04 has ended, unless it is accepted."""
    path = flow.checkpoint() if edit == "checkpoint" else file_of(flow, "Ports")
    whole, before = path.read_bytes(), bench.content(TARGET)
    sealed_again(path, bench.world.name("Ships", TARGET)) if edit == "checkpoint" else forged(path)
    name = str(path.relative_to(flow.run().folder))
    for _ in range(2):
        check_refused(bench, flow, rf"^{name} (was changed|grew: it held 5 records and holds 7);")
        with pytest.raises(Refused, match=f"^{name} "):
            flow.create()
        report = flow.validate()
    (alert,) = [one["message"] for one in report["alerts"] if name in one["message"]]
    assert alert.startswith("the run's folder is not as it was left")
    assert bench.content(TARGET) == before
    path.write_bytes(whole)
    assert flow.rollback()["rollback"]["deleted"] == INSERTED
    bench.check_back()


@pytest.mark.parametrize("name", ["copy.zip", ".nfs0001", "migration-checkpoint-20991231T000000Z.json"])
@pytest.mark.parametrize("killed_in", [None, "migrate", "rollback"])
def test_a_checkpoint_that_no_execution_wrote_is_not_believed(killed_in, name, bench):
    """Sealed as the program does, under a name that no record counts, or that a killed execution may have written."""
    flow = bench.flow()
    if killed_in == "migrate":
        assert killed(flow.migrate, "wire.PutItem.after=kill@10")
    else:
        flow.migrate()
    if killed_in == "rollback":
        assert killed(flow.rollback, "wire.DeleteItem.after=kill@3")
    forged = flow.run().folder / name
    shutil.copy(flow.checkpoint(), forged)
    sealed_again(forged, bench.world.name("Ships", TARGET))
    before = bench.content(TARGET)
    with pytest.raises(Refused, match=f"^{forged.name} was added|{forged.name} is not named in the journal"):
        Undoing(str(forged), str(flow.outputs), flow.parameters)
    assert bench.content(TARGET) == before
    forged.unlink()
    flow.rollback()
    bench.check_back()


def test_a_checkpoint_that_was_edited_is_known_by_the_journal(bench, flow):
    """Also where the audit chain was made anew over it, or had no record of it yet."""
    path, before = flow.checkpoint(), bench.content(TARGET)
    sealed_again(path, bench.world.name("Ships", TARGET))
    audit.renew(flow.run(), "03_migrate", None, audit.Repaired({}, {}))
    with pytest.raises(
        Refused, match=f"{path.name} was changed since run {flow.run_id} wrote it; restore it from a copy"
    ):
        flow.rollback()
    assert bench.content(TARGET) == before


def test_what_is_not_as_it_was_can_be_accepted(bench, flow):
    """A note beside the files stops a rollback, and no longer when somebody has accepted it: the chain says who."""
    (flow.run().folder / "notes").touch()
    check_refused(bench, flow, "^notes was added: it is in no record; move it elsewhere")
    flow.accept_changed = True
    assert flow.rollback()["rollback"]["deleted"] == INSERTED
    assert "accepted notes was added" in audit.verify(flow.run()).repairs[0]
    assert audit.verify(flow.run()).problems == []


def test_a_preview_of_a_changed_folder_is_refused_too(bench, flow):
    """Somebody decides by its figures. Where the change is accepted it says what has changed; it writes nothing."""
    run, before = flow.run(), bench.content(TARGET)
    (run.folder / "notes").touch()
    chain = (run.folder / audit.FILE).read_bytes()
    given = str(flow.checkpoint()), str(flow.outputs), flow.parameters
    with pytest.raises(Refused, match="^notes was added: it is in no record; move it elsewhere"):
        Undoing(*given).preview([])
    seen = Undoing(*given, accept_changed=True).preview([])
    assert (sum(seen.entries.values()), seen.changed) == (INSERTED, ["notes was added: it is in no record"])
    assert ((run.folder / audit.FILE).read_bytes(), bench.content(TARGET)) == (chain, before)


def rewrite(path, **changes):
    """A file with a changed first record and a valid chain, as another version might have written it."""
    records = list(journal.records(path))
    records[0] |= changes
    path.unlink()
    log = Log(path)
    for record in records:
        log.append(record.pop("kind"), **record)
    log.close()


@pytest.mark.parametrize("name", FILES[1:])
def test_a_journal_of_an_unknown_schema_is_refused(name, bench, flow):
    """Row 11: which version it is, and which one this program knows."""
    forget_audit(flow)
    rewrite(file_of(flow, name), schema=99)
    check_refused(bench, flow, rf"^{file_of(flow, name).name} has schema 99, this program knows {journal.SCHEMA}; ")


def test_a_checkpoint_of_an_unknown_schema_is_refused(bench, flow):
    """Row 11: likewise; a checkpoint that was changed without its seal is no checkpoint."""
    from runbook_lib.journal import checkpoint

    path = flow.checkpoint()
    content = json.loads(path.read_text())
    del content["sha256"]
    content["schema"] = 99
    path.write_text(json.dumps({**content, "sha256": json_seal(content)}))
    with pytest.raises(Refused, match="has schema 99, this program knows 1"):
        checkpoint.read_checkpoint(path)
    path.write_text(json.dumps({**content, "schema": 1, "sha256": json_seal(content)}))
    with pytest.raises(Refused, match="is damaged or not a checkpoint"):
        checkpoint.read_checkpoint(path)
    assert bench.content(TARGET) == bench.after


def test_every_byte_of_a_checkpoint_counts(bench, flow):
    """Row 6: a bit flipped anywhere, or a file cut anywhere, is refused."""
    from runbook_lib.journal.checkpoint import read_checkpoint

    path = flow.checkpoint()
    content = path.read_bytes()
    whole = json.loads(content)
    for at in range(0, len(content), 3):
        for damaged in (content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :], content[:at]):
            path.write_bytes(damaged)
            try:
                read_checkpoint(path)
            except Refused:
                continue
            assert json.loads(damaged) == whole, at  # white space between the values says nothing


def test_an_old_copy_of_the_checkpoint_undoes_all_executions(bench):
    """Row 10: it holds no progress, so it cannot be behind: the journal tells what to undo."""
    flow = bench.flow()
    assert killed(flow.migrate, "wire.PutItem.after=kill@5")
    old = flow.checkpoint().read_bytes()
    bench.check_whole(flow.migrate())
    assert flow.checkpoint().read_bytes() == old
    assert flow.rollback()["rollback"]["deleted"] == INSERTED
    bench.check_back()


@pytest.mark.parametrize("finished", [True, False], ids=["finished", "interrupted"])
@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_a_checkpoint_that_was_lost_is_written_again_by_the_same_command(damage, finished, bench):
    """Row 10: the journal is the truth; what stood in the checkpoint can be made again from parameters and mapping."""
    flow = bench.flow()
    if finished:
        flow.migrate()
    else:
        assert killed(flow.migrate, "wire.PutItem.after=kill@5")
    path = flow.checkpoint()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes().replace(b"Ships", b"Shops"))
    bench.check_whole(flow.migrate())
    assert f"{path.name} was" in audit.verify(flow.run()).repairs[0]
    flow.checkpoint = lambda stage: Stage(flow.run(), stage).checkpoint()
    assert flow.rollback()["rollback"]["deleted"] == INSERTED
    bench.check_back()


def test_a_damaged_run_beside_it_is_named_when_it_stops_a_rollback(bench, flow):
    """Row 58: nobody can tell whether it built on this one; moved elsewhere it is out of the way."""
    twin = bench.flow()
    twin.run_id = "another-run"
    twin.outputs = flow.outputs
    assert killed(twin.migrate, "journal.append.after=kill@3")
    path = twin.run().journal("migrate") / "stage.jsonl"
    path.write_bytes(path.read_bytes()[5:])
    with pytest.raises(
        Refused, match=r"^run another-run may have built on this one.*stage.jsonl: record 1 is damaged.*move"
    ):
        flow.rollback()
    twin.run().folder.rename(bench.flow().outputs / "another-run")
    assert flow.rollback()["rollback"]["deleted"] == INSERTED
    bench.check_back()
