"""The audit chain: an untouched folder is proved, and any edit is named by its kind; what an execution may leave is allowed."""

import json
import os
import random
import shutil
import socket
import subprocess

import orjson
import pytest

from runbook_lib import cli
from runbook_lib.errors import Refused
from runbook_lib.journal import audit
from runbook_lib.journal.log import Log, line_of
from runbook_lib.run.folder import Run

ID = "some-run-id"
TABLE, STAGE = "journal/migrate/T.00000.jsonl", "journal/migrate/stage.jsonl"
COMPARED = "journal/validate/T.00000.jsonl"
CHECKPOINT, REPORT = "migration-checkpoint-1.json", "migration-report-1.json"


def grow(folder, name, *kinds):
    """Appends records to a journal file as the program does."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    log = Log(folder / name)
    for kind in kinds:
        log.append(kind, n=0, rows=[])
    log.close()


def put(folder, **files):
    """Writes files of the run's folder; `__` in a name is a dot, `_` a dash."""
    for name, text in files.items():
        path = folder / name.replace("__", ".").replace("_", "-")
        path.write_text(text)
        path.chmod(0o600 if name.endswith(("__jsonl", "plan__json", "__parquet")) else 0o644)


def work(run, *, until="end"):
    """A migration as a command runs it, up to a moment: working, reporting or end."""
    folder = run.folder
    audit.begin(run, "03_migrate")
    (folder / "03_migrate.ipynb").write_text("half")
    with (folder / "run.log").open("a") as log:
        log.write("03 begins\n")
    audit.enter(run, "03_migrate")
    grow(folder, STAGE, "execution")
    put(folder, migration_checkpoint_1__json="{}")
    audit.append(run, "03_migrate", audit.WORK)
    grow(folder, TABLE, "begin", "intent", "outcome")
    if until == "working":
        return
    grow(folder, STAGE, "end")
    audit.append(run, "03_migrate", audit.REPORT)
    put(folder, conflicts__jsonl="{}\n", migration_report_1__json="{}", id_map__parquet="ids")
    if until == "reporting":
        return
    for name in ("03_migrate.ipynb", "03_migrate.html"):
        (folder / name).write_text("whole")
    audit.append(run, "03_migrate")


def entered(run):
    """The beginning of a command that writes to the target."""
    audit.begin(run, "03_migrate")
    audit.enter(run, "03_migrate")


@pytest.fixture
def begun(tmp_path):
    """The folder of a run that nothing was executed in."""
    folder = tmp_path / ID
    folder.mkdir()
    put(folder, run__json="{}")
    return Run(ID, folder)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run that was analyzed, migrated and validated by commands."""
    folder = tmp_path_factory.mktemp("outputs") / ID
    folder.mkdir()
    put(folder, run__json="{}")
    run = Run(ID, folder)
    audit.begin(run, "01_analyze")
    audit.append(run, "01_analyze", audit.REPORT)
    put(folder, plan__json="{}", migration_analysis_1__json="{}", dangling__jsonl="{}\n")
    audit.append(run, "01_analyze")
    work(run)
    audit.begin(run, "04_validate")
    grow(folder, COMPARED, "begin", "compared")
    audit.append(run, "04_validate", audit.REPORT)
    put(folder, differences__jsonl="{}\n", migration_report_2__json="{}")
    audit.append(run, "04_validate")
    return folder


@pytest.fixture
def run(finished, tmp_path):
    """A copy of that folder."""
    return Run(ID, shutil.copytree(finished, tmp_path / ID))


# every kind of edit


def write(name, content=None):
    def edit(folder):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(path.read_bytes() + b" " if content is None else content)
        path.chmod(0o600)

    return edit


def lines(name, change):
    """Edits the lines of a file as a list."""

    def edit(folder):
        path = folder / name
        path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))

    return edit


def remove(name):
    return lambda folder: shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()


def swap(name, make):
    """Puts something else in the place of a file."""

    def edit(folder):
        path = folder / name
        kept = folder.parent / "kept"
        path.replace(kept)
        make(path, kept)

    return edit


def symlink(path, kept):
    path.symlink_to(kept)


def pipe(path, kept):
    os.mkfifo(path)


def directory(path, kept):
    path.mkdir()


def full_directory(path, kept):
    path.mkdir()
    (path / "inside").touch()


def link_folder(folder):
    shutil.move(folder / "journal", folder.parent / "journal")
    (folder / "journal").symlink_to(folder.parent / "journal")


def sealed(**changes):
    """A record more, which continues the chain and has a seal: the last one with some changes; without a key for None."""

    def edit(folder):
        path = folder / audit.FILE
        last = json.loads(path.read_bytes().splitlines()[-1])
        record = {**last, "previous": last.pop("hash"), **changes}
        record = {key: value for key, value in record.items() if value is not None and key != "hash"}
        with path.open("ab") as file:
            file.write(json.dumps({**record, "hash": audit.json_seal(record)}).encode() + b"\n")

    return edit


def sealed_again(folder):
    """The first record with another name, and a valid hash of its own; the next one knows the old hash."""
    path = folder / audit.FILE
    first, *rest = path.read_bytes().splitlines(keepends=True)
    record = json.loads(first)
    record["actor"] = "nobody"
    del record["hash"]
    path.write_bytes(json.dumps({**record, "hash": audit.json_seal(record)}).encode() + b"\n" + b"".join(rest))


def duplicate_key(records):
    return [records[0].replace(b'{"at"', b'{"actor": "nobody", "at"', 1), *records[1:]]


def rebuilt(folder):
    """The second record is another one, and those behind it are chained to it."""
    path, link, made = folder / TABLE, b"", b""
    for number, line in enumerate(path.read_bytes().splitlines()):
        body = line.partition(b" ")[2]
        record = orjson.loads(body) | ({"n": 7} if number == 1 else {})
        link, line = line_of(link, orjson.dumps(record))
        made += line
    path.write_bytes(made)


def forged(name):
    return lambda folder: grow(folder, name, "intent", "outcome")


IN_NO_RECORD = "was added: it is in no record"
NO_CHAIN = "audit.jsonl: record {} does not continue the chain"
EDITS = {
    # removed
    "a list": (remove("conflicts.jsonl"), ["conflicts.jsonl was removed"]),
    "a report": (remove(REPORT), [f"{REPORT} was removed"]),
    "the checkpoint": (remove(CHECKPOINT), [f"{CHECKPOINT} was removed"]),
    "a notebook": (remove("03_migrate.ipynb"), ["03_migrate.ipynb was removed"]),
    "the log": (remove("run.log"), ["run.log was removed"]),
    "the id map": (remove("id-map.parquet"), ["id-map.parquet was removed"]),
    "run.json": (remove("run.json"), ["run.json was removed"]),
    "a journal file": (remove(TABLE), [f"{TABLE} was removed"]),
    "a journal": (remove("journal/migrate"), [f"{TABLE} was removed", f"{STAGE} was removed"]),
    "the journal of 04": (remove("journal/validate"), [f"{COMPARED} was removed"]),
    # added
    "an empty file": (write("empty", b""), [f"empty {IN_NO_RECORD}"]),
    "another list": (write("failed.jsonl", b"{}\n"), [f"failed.jsonl {IN_NO_RECORD}"]),
    "another report": (write("migration-report-9.json", b"{}"), [f"migration-report-9.json {IN_NO_RECORD}"]),
    "another notebook": (write("03_migrate-2.ipynb", b"{}"), [f"03_migrate-2.ipynb {IN_NO_RECORD}"]),
    "another checkpoint": (
        write("migration-checkpoint-2.json", b"{}"),
        [f"migration-checkpoint-2.json {IN_NO_RECORD}"],
    ),
    "a hidden file": (write(".notes", b""), [f".notes {IN_NO_RECORD}"]),
    "a folder": (lambda folder: (folder / "new").mkdir(), [f"new/ {IN_NO_RECORD}"]),
    "a file in a folder": (write("new/file", b""), [f"new/file {IN_NO_RECORD}"]),
    "a file beside a journal": (write("journal/migrate/notes", b""), [f"journal/migrate/notes {IN_NO_RECORD}"]),
    "another journal file": (
        forged("journal/migrate/U.00000.jsonl"),
        [f"journal/migrate/U.00000.jsonl {IN_NO_RECORD}"],
    ),
    "another journal": (forged("journal/test/stage.jsonl"), [f"journal/test/stage.jsonl {IN_NO_RECORD}"]),
    "a symlink": (lambda folder: (folder / "link").symlink_to("run.json"), ["link, a symlink, was added"]),
    "a symlink to nothing": (lambda folder: (folder / "link").symlink_to("nothing"), ["link, a symlink, was added"]),
    "a lock that is a symlink": (
        lambda folder: (folder / ".lock").symlink_to("nothing"),
        [".lock, a symlink, was added"],
    ),
    "a lock that is a pipe": (
        lambda folder: os.mkfifo(folder / ".lock"),
        [".lock, neither a file nor a folder, was added"],
    ),
    "a lock in a folder": (write("new/.lock", b""), [f"new/.lock {IN_NO_RECORD}"]),
    "a file in a folder named as zip files are": (write("new.zip/file", b""), [f"new.zip/file {IN_NO_RECORD}"]),
    "a hard link": (lambda folder: os.link(folder / "run.json", folder / "link"), [f"link {IN_NO_RECORD}"]),
    "another case": (
        lambda folder: (folder / "conflicts.jsonl").rename(folder / "Conflicts.jsonl"),
        ["conflicts.jsonl was removed", f"Conflicts.jsonl {IN_NO_RECORD}"],
    ),
    # changed
    **{
        f"{name} by a byte": (write(name), [f"{name} was changed"])
        for name in (
            CHECKPOINT,
            REPORT,
            "conflicts.jsonl",
            "run.json",
            "plan.json",
            "03_migrate.html",
            "id-map.parquet",
        )
    },
    "an emptied list": (write("conflicts.jsonl", b""), ["conflicts.jsonl was changed"]),
    "NUL bytes in a list": (write("conflicts.jsonl", b"{}\n\0\0"), ["conflicts.jsonl was changed"]),
    "a line more in a list": (lines("conflicts.jsonl", lambda all_: all_ * 2), ["conflicts.jsonl was changed"]),
    "a rewritten log": (write("run.log", b"03 BEGINS\n"), ["run.log was changed"]),
    "a shorter log": (write("run.log", b"03"), ["run.log was changed"]),
    "a longer log": (write("run.log", b"03 begins\nmore\n"), ["run.log grew by 5 bytes"]),
    # the journal
    "records lost": (
        lines(TABLE, lambda all_: all_[:2]),
        [f"{TABLE} has lost records: it held 3 and holds 2"],
    ),
    "a torn record": (
        lines(TABLE, lambda all_: [*all_[:2], all_[2][:-5]]),
        [f"{TABLE} has lost records: it held 3 and holds 2"],
    ),
    "an emptied journal": (write(TABLE, b""), [f"{TABLE} has lost records: it held 3 and holds 0"]),
    "records swapped": (
        lines(TABLE, lambda all_: [all_[0], all_[2], all_[1]]),
        [f"{TABLE}: record 2 is damaged"],
    ),
    "a record repeated": (
        lines(TABLE, lambda all_: [*all_, all_[2]]),
        [f"{TABLE}: record 4 is damaged"],
    ),
    "a chain rebuilt": (rebuilt, [f"{TABLE}: record 3 is not the one that was written"]),
    "records forged": (forged(TABLE), [f"{TABLE} grew: it held 3 records and holds 5"]),
    "events forged": (forged(STAGE), [f"{STAGE} grew: it held 2 records and holds 4"]),
    "comparisons forged": (forged(COMPARED), [f"{COMPARED} grew: it held 2 records and holds 4"]),
    "NUL bytes behind a journal": (
        lines(TABLE, lambda all_: [*all_, b"\0" * 8]),
        [f"{TABLE} grew by a part of a record"],
    ),
    "a part of a record": (lines(TABLE, lambda all_: [*all_, all_[2][:9]]), [f"{TABLE} grew by a part of a record"]),
    # no file of its own any more
    "a symlink to equal content": (swap(REPORT, symlink), [f"{REPORT} is a symlink now"]),
    "a symlink for a journal": (swap(TABLE, symlink), [f"{TABLE} is a symlink now"]),
    "a symlink for the log": (swap("run.log", symlink), ["run.log is a symlink now"]),
    "a symlink for a folder": (
        link_folder,
        [*(f"{name} was removed" for name in (TABLE, STAGE, COMPARED)), "journal, a symlink, was added"],
    ),
    "a pipe": (swap(REPORT, pipe), [f"{REPORT} is neither a file nor a folder now"]),
    "a pipe for a journal": (swap(TABLE, pipe), [f"{TABLE} is neither a file nor a folder now"]),
    "a pipe for the log": (swap("run.log", pipe), ["run.log is neither a file nor a folder now"]),
    "an empty folder for a file": (
        swap(REPORT, directory),
        [f"{REPORT} is a folder now", f"{REPORT}/ {IN_NO_RECORD}"],
    ),
    "a folder for a file": (
        swap(REPORT, full_directory),
        [f"{REPORT} is a folder now", f"{REPORT}/inside {IN_NO_RECORD}"],
    ),
    # the chain itself
    "a duplicate key": (lines(audit.FILE, duplicate_key), [NO_CHAIN.format(1)]),
    "a space in a record": (lines(audit.FILE, lambda all_: [all_[0][:-1] + b" \n", *all_[1:]]), [NO_CHAIN.format(1)]),
    "line ends of Windows": (
        lines(audit.FILE, lambda all_: [line.replace(b"\n", b"\r\n") for line in all_]),
        [NO_CHAIN.format(1)],
    ),
    "an empty line": (lines(audit.FILE, lambda all_: [*all_, b"\n"]), [NO_CHAIN.format(12)]),
    "a record taken out": (lines(audit.FILE, lambda all_: [all_[0], *all_[2:]]), [NO_CHAIN.format(2)]),
    "a record put in": (lines(audit.FILE, lambda all_: [*all_, all_[-1]]), [NO_CHAIN.format(12)]),
    "audit records swapped": (
        lines(audit.FILE, lambda all_: [*all_[:3], all_[4], all_[3], *all_[5:]]),
        [NO_CHAIN.format(4)],
    ),
    "a record sealed again": (sealed_again, [NO_CHAIN.format(2)]),
    "a record without its log": (sealed(log=None), [NO_CHAIN.format(12)]),
    "a record with a list for its files": (sealed(files=["run.json"]), [NO_CHAIN.format(12)]),
    "a record with a word for a head": (sealed(journal={TABLE: "3"}), [NO_CHAIN.format(12)]),
    "a torn audit record": (lines(audit.FILE, lambda all_: [*all_, all_[0][:40]]), [NO_CHAIN.format(12)]),
    "a symlink for the chain": (swap(audit.FILE, symlink), ["audit.jsonl is a symlink now"]),
}


@pytest.mark.parametrize(("edit", "told"), EDITS.values(), ids=EDITS)
def test_verify_names_every_edit_by_its_kind(edit, told, run):
    """And nothing else. What writes to the target refuses for it, and no later record of another stage takes it over."""
    edit(run.folder)
    assert sorted(audit.verify(run).problems) == sorted(told)
    exempt = (
        told[0].startswith("journal/validate") or (run.folder / audit.FILE).read_bytes()[-1:] != b"\n"
    )  # a torn line
    if not exempt:
        with pytest.raises(Refused) as raised:
            entered(run)
        first, _, fix = str(raised.value).partition("; ")
        assert fix.startswith("move it elsewhere, or go on") == (" was added" in first)
    if audit.FILE not in told[0]:
        audit.append(run, "03_migrate")
        audit.begin(run, "01_analyze")
        audit.append(run, "01_analyze")
        assert sorted(audit.verify(run).problems) == sorted(told)


def test_what_others_can_read_is_named_and_no_problem(run):
    """The file is as it was, so `verify` exits with 0, and commands go on."""
    (run.folder / TABLE).chmod(0o644)
    found = audit.verify(run)
    assert (found.problems, found.readable) == (
        [],
        [f"{TABLE}: others can read it now, and it may hold keys; `chmod 600` it"],
    )
    entered(run)


def test_what_nobody_counts_may_come_and_go(run):
    """Locks, unfinished files, what an editor leaves, `lab/` and zip files."""
    for name in (
        ".lock",
        ".stop",
        ".conflicts.jsonl-0_abcdef",
        ".run.json-ab12_x9z",
        "journal/migrate/.known-ab12_x9z",
        "run.zip",
        ".DS_Store",
    ):
        write(name, b"")(run.folder)
    for name in ("lab", ".ipynb_checkpoints"):
        (run.folder / name).mkdir()
        (run.folder / name / "notes").touch()
    assert audit.verify(run).problems == audit.verify(run).growth == []


def test_every_byte_of_the_chain_counts(run):
    """A bit flipped anywhere in audit.jsonl is noticed."""
    path = run.folder / audit.FILE
    content = path.read_bytes()
    for at in range(0, len(content) - 1, 211):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert audit.verify(run).problems, at


def test_a_chain_of_another_run_and_one_made_anew(run, finished, tmp_path):
    """The first names its run. The second is whole, and only a head that was kept elsewhere tells."""
    kept = audit.verify(run).head
    path = run.folder / audit.FILE
    other = Run("another-run", shutil.copytree(finished, tmp_path / "another-run"))
    assert audit.verify(other).problems == [f"audit.jsonl: record 1 is of run {ID}"]
    assert audit.verify(run, kept).problems == []
    write(CHECKPOINT, b"[]")(run.folder)
    path.unlink()
    with pytest.raises(Refused, match=r"no audit\.jsonl"):
        audit.verify(run)
    with pytest.raises(Refused, match=r"audit\.jsonl was removed"):
        audit.check(run)
    audit.renew(run, "03_migrate", None, audit.Repaired({}, {}))
    assert audit.verify(run).problems == []
    assert audit.verify(run, kept).problems == [
        f"audit.jsonl has no record {kept}: it lost its end, or somebody made it anew"
    ]


def test_records_cut_from_the_end_of_the_chain_are_known_by_a_head(run):
    """Where nothing else has changed since, only the head tells."""
    audit.append(run, "04_validate")
    kept = audit.verify(run).head
    lines(audit.FILE, lambda all_: all_[:-1])(run.folder)
    assert audit.verify(run).problems == []
    assert "has no record" in audit.verify(run, kept).problems[0]


# what may grow


@pytest.mark.parametrize("until", ["working", "reporting"])
def test_what_a_killed_execution_leaves_is_named_and_allowed(until, begun):
    """Its journal, its log, its notebook; what it reports only once its work is done. The next one takes all of it over."""
    work(begun, until=until)
    found = audit.verify(begun)
    assert found.problems == []
    assert any(line.startswith(TABLE if until == "working" else REPORT) for line in found.growth)
    audit.check(begun)
    audit.enter(begun, "03_migrate")
    growth = audit.verify(begun).growth
    assert growth == [f"03_migrate.ipynb {IN_NO_RECORD}"]
    (begun.folder / "03_migrate.html").write_text("{}")
    audit.append(begun, "03_migrate")
    assert audit.verify(begun).growth == audit.verify(begun).problems == []


KILLED = {
    "a checkpoint edited": write(CHECKPOINT, b"[]"),
    "a checkpoint removed": remove(CHECKPOINT),
    "run.json": write("run.json"),
    "a list, before it reports": write("conflicts.jsonl", b"{}\n"),
    "a report, before it reports": write("migration-report-9.json", b"{}"),
    "another stage's journal": forged("journal/test/stage.jsonl"),
    "another stage's notebook": write("05_rollback.ipynb", b"{}"),
    "a broken record": lines(TABLE, lambda all_: [*all_, b"00 {}\n"]),
    "an earlier record": lines(STAGE, lambda all_: [b"0" + all_[0][1:]]),
    "a symlink": swap(TABLE, symlink),
    "a note": write("notes", b""),
}


@pytest.mark.parametrize("edit", KILLED.values(), ids=KILLED)
def test_what_a_killed_execution_cannot_have_done_is_refused(edit, begun):
    """What a record covers must be as it was, and only unbroken records of that execution may stand behind the last one."""
    work(begun, until="working")
    edit(begun.folder)
    assert len(audit.verify(begun).problems) == 1
    with pytest.raises(Refused):
        audit.enter(begun, "03_migrate")


@pytest.mark.parametrize("stage", ["00_draft", "01_analyze", "04_validate"])
def test_a_killed_execution_that_reads_has_reported_nothing_before_its_work_was_done(stage, begun):
    """Lists, a plan or a report that lie there before are somebody else's, and the next execution does not take them over."""
    audit.begin(begun, stage)
    (begun.folder / f"{stage}.ipynb").write_text("half")
    assert audit.verify(begun).problems == []
    forged = {
        "dangling.jsonl",
        "plan.json",
        "migration-report-9.json",
        "migration-analysis-9.json",
        "mapping-draft-9.json",
    }
    for name in forged:
        put(begun.folder, **{name.replace("-", "_").replace(".", "__"): "{}"})
    told = sorted(f"{name} {IN_NO_RECORD}" for name in forged)
    assert sorted(audit.verify(begun).problems) == told
    audit.begin(begun, stage)
    audit.append(begun, stage, audit.REPORT)
    assert sorted(audit.verify(begun).problems) == told


@pytest.mark.parametrize("stage", ["01_analyze", "04_validate"])
def test_what_a_notebook_reported_stays_when_its_kernel_begins_it_again(stage, begun):
    """Its last cell was not run: the report is its own, and the next record has it."""
    audit.begin(begun, stage)
    audit.append(begun, stage, audit.REPORT)
    report = f"migration-{'analysis' if stage == '01_analyze' else 'report'}-1.json"
    put(begun.folder, **{report.replace("-", "_").replace(".", "__"): "{}"})
    audit.begin(begun, stage)
    assert audit.verify(begun).problems == []
    audit.append(begun, stage, audit.REPORT)
    audit.append(begun, stage)
    assert audit.verify(begun).problems == audit.verify(begun).growth == []


def test_a_killed_rollback_has_written_no_checkpoint(run):
    """What it deletes follows from one."""
    audit.begin(run, "05_rollback")
    audit.enter(run, "05_rollback")
    put(run.folder, migration_checkpoint_9__json="{}")
    assert audit.verify(run).problems == [f"migration-checkpoint-9.json {IN_NO_RECORD}"]


@pytest.mark.parametrize("table", [".nfs-data", ".lease-data", ".job-data", ".data-12345678"])
def test_the_journal_of_a_table_is_in_the_chain_whatever_the_table_is_called(table, begun):
    """Others name the tables: also as the program, or a file system, names what no record counts."""
    name = f"journal/migrate/{table}.00000.jsonl"
    work(begun, until="working")
    grow(begun.folder, name, "begin")
    audit.append(begun, "03_migrate")
    (begun.folder / name).unlink()
    assert f"{name} was removed" in audit.verify(begun).problems


def test_folders_in_folders_without_end_are_named(begun, monkeypatch):
    """Deeper than Python calls itself."""
    audit.begin(begun, "01_analyze")
    monkeypatch.chdir(begun.folder)
    for _ in range(1500):
        os.mkdir("d")
        os.chdir("d")
    try:
        assert audit.verify(begun).problems == [f"{'d/' * 1500} {IN_NO_RECORD}"]
    finally:
        for _ in range(1500):
            os.chdir("..")
            os.rmdir("d")


def test_what_was_accepted_is_told_for_ever_and_no_problem_any_more(run):
    """The record of who accepted it names each file."""
    write(CHECKPOINT, b"[]")(run.folder)
    forged(TABLE)(run.folder)
    told = audit.enter(run, "05_rollback", accepts=lambda found: True)
    assert told == [f"{TABLE} grew: it held 3 records and holds 5", f"{CHECKPOINT} was changed"]
    audit.append(run, "05_rollback")
    found = audit.verify(run)
    assert found.problems == []
    assert f"@{socket.gethostname()}: accepted {'; '.join(told)}" in found.repairs[0]


def test_a_second_command_that_is_refused_does_not_end_the_first(run, monkeypatch):
    """Each ends its own execution; the next one that holds the run takes over those that were killed."""
    monkeypatch.setattr(audit, "executor", lambda: "1@here")
    audit.begin(run, "03_migrate")
    audit.enter(run, "03_migrate")
    monkeypatch.setattr(audit, "executor", lambda: "2@here")
    audit.begin(run, "03_migrate")
    audit.append(run, "03_migrate")
    forged(TABLE)(run.folder)
    assert (audit.verify(run).problems, len(audit.verify(run).growth)) == ([], 1)
    audit.begin(run, "05_rollback")
    audit.enter(run, "05_rollback")
    audit.append(run, "05_rollback")
    forged(TABLE)(run.folder)
    assert len(audit.verify(run).problems) == 1


class Execution:
    """A stage that a command executes; it writes its notebook again and again, and its results at the end."""

    def __init__(self, run, stage, pid, monkeypatch, copy=""):
        self._run, self._stage, self._notebook = run, stage, f"{stage}{copy}.ipynb"
        self._report = f"migration-{'analysis' if stage == '01_analyze' else 'report'}-{pid}.json"
        self.become = lambda: monkeypatch.setattr(audit, "executor", lambda: f"{pid}@{socket.gethostname()}")

    def __iter__(self):
        """The steps, one after the other."""
        folder, stage = self._run.folder, self._stage
        self.become()
        yield audit.begin(self._run, stage)
        yield (folder / self._notebook).write_text("half")
        if stage == "03_migrate":
            self.become()
            yield audit.enter(self._run, stage)
            grow(folder, STAGE, "execution")
            grow(folder, TABLE, "begin", "intent", "outcome")
        self.become()
        yield audit.append(self._run, stage, audit.REPORT)
        yield put(folder, dangling__jsonl=f"{{}}\n{self._report}")
        yield (folder / self._report).write_text("{}")
        self.become()
        yield audit.append(self._run, stage, audit.SAVING)
        (folder / self._notebook).write_text("whole")
        yield (folder / self._notebook).with_suffix(".html").write_text("whole")
        self.become()
        own = [self._notebook, self._notebook.replace("ipynb", "html")]
        yield audit.append(self._run, stage, own=own)


BESIDE = {
    "01 and 03": ("01_analyze", "03_migrate"),
    "03 and 04": ("03_migrate", "04_validate"),
    "04 and 04": ("04_validate", "04_validate"),
    "01 and 04": ("01_analyze", "04_validate"),
}


@pytest.mark.parametrize("order", range(8))
@pytest.mark.parametrize("stages", BESIDE.values(), ids=BESIDE)
def test_executions_beside_each_other_seal_their_own_files_alone(stages, order, begun, monkeypatch):
    """In any order of their steps the folder is as it may be at each moment, and sealed as a whole behind the last end."""
    alive = os.getpid(), os.getppid()
    left = [
        iter(Execution(begun, stage, pid, monkeypatch, copy))
        for stage, pid, copy in zip(stages, alive, ("", "-2"), strict=True)
    ]
    chosen = random.Random(order)
    while left:
        one = chosen.choice(left)
        try:
            next(one)
        except StopIteration:
            left.remove(one)
        assert audit.verify(begun).problems == []
    assert audit.verify(begun).growth == []
    for name in ("ipynb", "html"):
        for notebook in begun.folder.glob(f"*.{name}"):
            notebook.write_text("forged")
            assert audit.verify(begun).problems == [f"{notebook.name} was changed"]
            notebook.write_text("whole")


@pytest.mark.parametrize("stage", ["01_analyze", "03_migrate", "04_validate"])
def test_the_end_of_a_stage_ends_those_of_it_that_were_killed(stage, begun, monkeypatch):
    """What one of them could have left is a finding from then on. An execution that still works is not ended."""
    for pid, steps in ((_pid_of_nobody(), 4), (os.getpid(), 99)):
        for _, _ in zip(range(steps), Execution(begun, stage, pid, monkeypatch, f"-{steps}"), strict=False):
            pass
    assert audit.verify(begun).growth == audit.verify(begun).problems == []
    name = f"migration-{'analysis' if stage == '01_analyze' else 'report'}-9.json"
    put(begun.folder, **{name.replace("-", "_").replace(".", "__"): "{}"})
    assert audit.verify(begun).problems == [f"{name} {IN_NO_RECORD}"]


def _pid_of_nobody():
    """The number of a process that has ended."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    return ended.pid


def test_an_interrupted_execution_has_not_ended(run):
    """A worker on another machine may be at its last page when its command is not there any more."""
    audit.begin(run, "03_migrate")
    audit.enter(run, "03_migrate")
    audit.append(run, "03_migrate", None)
    forged(TABLE)(run.folder)
    assert (audit.verify(run).problems, len(audit.verify(run).growth)) == ([], 1)


def test_the_command_says_what_grew_and_what_is_wrong(run, capsys):
    """Exit code 0 where an execution that has not ended may have done it, else 1."""

    def verified(*more):
        code = cli.main(["verify", ID, "--outputs", str(run.folder.parent), *more])
        return code, capsys.readouterr().out.splitlines()

    code, told = verified()
    assert (code, "untouched" in told[-1]) == (0, True)
    assert verified("--head", told[-1].rpartition(" ")[2])[0] == 0
    assert verified("--head", "0" * 64)[0] == 1
    audit.enter(run, "03_migrate")
    forged(TABLE)(run.folder)
    code, told = verified()
    assert (code, "grew, as it may" in told[-1]) == (0, True)
    assert told[0].startswith(f"{TABLE} grew: it held 3 records and holds 5 (")
    remove("plan.json")(run.folder)
    code, told = verified()
    assert (code, "NOT as it was left" in told[-1], told[1]) == (1, True, "plan.json was removed")
    code, (told,) = verified("--json")
    assert (code, json.loads(told)["problems"]) == (1, ["plan.json was removed"])


def test_a_list_that_was_edited_is_a_finding_until_its_stage_writes_it_anew(run):
    """An execution that does not come to its report takes nothing over."""
    put(run.folder, dangling__jsonl="[]\n")
    audit.begin(run, "01_analyze")
    audit.append(run, "01_analyze")
    assert audit.verify(run).problems == ["dangling.jsonl was changed"]
    audit.begin(run, "01_analyze")
    audit.append(run, "01_analyze", audit.REPORT)
    put(run.folder, dangling__jsonl="{}\n{}\n")
    audit.append(run, "01_analyze")
    assert audit.verify(run).problems == []
