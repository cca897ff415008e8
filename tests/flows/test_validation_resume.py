"""A validation that is interrupted goes on: what was compared is not read again, and the figures are those of one go."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import support_notebooks
import support_worlds as worlds
from support_crashes import KILLED, at_record, in_child, small_pages
from support_flows import flow_of

from runbook_lib import failpoints, process
from runbook_lib.cli import main
from runbook_lib.dynamo.items import Wire
from runbook_lib.errors import Interrupted, Refused
from runbook_lib.journal import audit
from runbook_lib.journal import log as journal
from runbook_lib.report import views
from runbook_lib.report.runs.status import status
from runbook_lib.stages.validate import journal as validation_journal
from runbook_lib.stages.validate.validate import validate
from runbook_lib.walk import control

SOURCE, TARGET = worlds.SOURCE, worlds.TARGET
in_process = support_notebooks.in_process
PAGES = 9  # of 4 items: 6 ports, 13 ships, 9 crews
MAPPING = """{
  Ports: {},
  Ships: {references: {portId: Ports, "sisters[]": Ships}, create: {key: {id: S}},
          queries: {one: {key: {id: "<Ships uuid S s4>"}}}},
  Crews: {references: {shipId: Ships}, fields: {id: {from: id}, wage: {from: wage, type: number}}, rest: copy}}"""


def new(entry, old):
    """The new id of an old one, typed."""
    return {"S": worlds.new_id(TARGET, entry, "uuid", "S", old)}


@pytest.fixture
def flow(moto_world, tmp_path, monkeypatch):
    """A migration with something of everything: missing, different, extra, in conflict, quarantined, dangling, a query."""
    small_pages(monkeypatch)
    monkeypatch.setattr(Wire, "_back_off", lambda *_: None)
    key = {"key": {"id": "S"}}
    ports = [{"id": {"S": f"p{n}"}, "depth": {"N": str(n)}} for n in range(6)]
    ships = [
        {"id": {"S": f"s{n}"}, "portId": {"S": f"p{n % 7}"}, "sisters": {"L": [{"S": f"s{(n + 1) % 13}"}]}}
        for n in range(13)
    ]
    crews = [
        {"id": {"S": f"c{n}"}, "shipId": {"S": f"s{n}"}, "wage": {"S": "much" if n == 5 else "7"}} for n in range(9)
    ]
    tables = {"Ports": ports, "Ships": ships, "Crews": crews}
    moto_world.build({name: key | {"items": items} for name, items in tables.items()}, SOURCE)
    theirs = {"Ports": [{"id": {"S": "nobody's"}}], "Ships": [{"id": new("Ships", "s7"), "theirs": {"BOOL": True}}]}
    moto_world.build({name: key | {"items": theirs.get(name, [])} for name in tables}, TARGET)
    flow = flow_of(worlds.filled(MAPPING), moto_world, tmp_path, workers=2)
    flow.migrate()
    moto_world.delete(moto_world.name("Ships", TARGET), {"id": new("Ships", "s3")})
    moto_world.put(moto_world.name("Crews", TARGET), {"id": new("Crews", "c2"), "wage": {"S": "7"}})
    return flow


@pytest.fixture
def whole(flow):
    """The report of a validation that nothing happened to, and how many pages of the source it read."""
    return untouched(flow)


def untouched(flow):
    """As `whole`."""
    report, pages = counted(flow.validate)
    figures = report["validation"]
    wanted = {"checked": 27, "equal": 24, "missing": 1, "different": 1, "extra": 1, "conflicts": 1, "quarantined": 1}
    assert {name: figures[name] for name in wanted} == wanted
    assert (figures["dangling"], figures["queries"][0]["proved"]) == (3, True)
    assert pages == PAGES
    return report


def counted(work):
    """What some work gives, and how many pages of the source it read for comparing: whole items."""
    scan_page, pages = Wire.scan_page, []

    def counting(wire, table, **options):
        if wire.label == "source" and options.get("attributes") is None:
            pages.append(table)
        return scan_page(wire, table, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Wire, "scan_page", counting)
        return work(), len(pages)


def compared(flow):
    """How many pages the journal of the last validation holds."""
    folder = max(flow.run().folder.glob("journal/validate*"), key=lambda path: path.stat().st_ctime_ns)
    return sum(1 for path in journal.logs(folder) for _ in journal.records(path, "compared"))


def folders(flow):
    """The names of the validations' journals."""
    return sorted(path.name for path in flow.run().folder.glob("journal/validate*"))


def same(report, whole):
    """Whether both reports say the same, apart from when; differences may be listed in another order."""
    one, other = (
        [found["validation"] | {"oldest_comparison": ""}, found["verdict"], found["alerts"]]
        for found in (report, whole)
    )
    return one == other


def stop_after(flow, pages, monkeypatch):
    """Lets the validation be interrupted after so many pages."""
    left = itertools.count(1)

    def on_page(table, counts):
        if next(left) == pages:
            raise Interrupted("stop was requested; the current page is complete.")

    run, plan = flow.run(), flow._plan()
    audit.begin(run, "04_validate")
    with pytest.raises(Interrupted, match="Run the same command with the run ID the-first-run to resume"):
        validate(run, plan, on_page)


# whatever interrupts it


def kill_and_go_on(flow, whole, arm):
    """Whether a validation was killed; then it goes on."""
    code = in_child(flow.validate, arm)
    if code != KILLED:
        assert code == 0
        return False
    before = compared(flow) if folders(flow) else 0
    interrupted = validation_journal.state(flow.run()) != "complete"
    report, pages = counted(flow.validate)
    assert same(report, whole)
    assert pages == (PAGES - before if interrupted else PAGES)
    return True


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(m, marks=pytest.mark.slow if m == "middle" else pytest.mark.long)
        for m in ("before", "middle", "after")
    ],
)
def test_a_validation_killed_at_any_page_goes_on_and_counts_the_same(moment, flow, whole):
    """Before a page's record, in the middle of it, after it: pages with a record are not read again."""
    killed = [kill_and_go_on(flow, whole, at_record("compared", number, moment)) for number in range(1, PAGES + 2)]
    assert killed == [True] * PAGES + [False]


@pytest.mark.parametrize(
    ("first", "step"),
    [
        (5, 29),
        *(pytest.param(n, 8, marks=pytest.mark.long) for n in range(1, 9)),
    ],
)
def test_a_validation_killed_at_any_call_goes_on_and_counts_the_same(first, step, flow, whole):
    """Every request and every write, those of the target's pass, the queries and the report among them."""
    for number in itertools.count(first, step):
        if not kill_and_go_on(flow, whole, lambda number=number: failpoints.arm(f"*=kill@{number}")):
            break
    assert number > 60


@pytest.mark.parametrize(
    "point", ["journal.append.before=enospc@1", "journal.fsync.before=enospc@4", "file.*.write.before=enospc"]
)
def test_a_disk_that_fails_interrupts_and_the_validation_goes_on(point, flow, whole):
    """At the journal's first record, at a page, at the report: one sentence, and the same figures afterwards."""
    failpoints.arm(point)
    try:
        with pytest.raises(Interrupted, match="No space left on device"):
            flow.validate()
    finally:
        failpoints.disarm()
    assert same(flow.validate(), whole)


def test_a_request_to_stop_is_met_in_every_part(flow, whole):
    """While the source is walked and while the target is read for itself: interrupted, with how to go on."""
    run, scan_page = flow.run(), Wire.scan_page
    audit.begin(run, "04_validate")
    for label in ("source", "target"):
        with pytest.MonkeyPatch.context() as patch:

            def asking(wire, table, label=label, **options):
                if wire.label == label:
                    control.request_stop(run)
                return scan_page(wire, table, **options)

            patch.setattr(Wire, "scan_page", asking)
            with pytest.raises(Interrupted, match="stop was requested.* Run the same command with the run ID"):
                validate(run, flow._plan(), lambda table, counts: control.check(run))
        control.clear(run)
        assert validation_journal.state(run) == "interrupted"
    report, pages = counted(flow.validate)
    assert same(report, whole)
    assert pages == 0  # the source had been walked


def test_an_interrupted_kernel_is_told_how_to_go_on(flow, monkeypatch):
    """Ctrl-C by hand, in JupyterLab."""

    def interrupting(*_):
        raise KeyboardInterrupt

    with pytest.raises(Interrupted, match=r"interrupted by hand\. Run the same command with the run ID the-first-run"):
        validate(flow.run(), flow._plan(), interrupting)


def test_the_first_differences_are_as_bounded_after_an_interruption(flow, monkeypatch):
    """The journal holds no more of them than are shown."""
    monkeypatch.setattr("runbook_lib.stages.validate.compare.MAX_SHOWN", 1)
    stop_after(flow, PAGES - 1, monkeypatch)
    validation = validate(flow.run(), flow._plan())
    assert (len(validation.differences), validation.total("missing"), validation.total("different")) == (1, 1, 1)
    assert f"{PAGES - 1} pages were compared before an interruption and not again" in views.validation(validation)


# what begins anew


def test_a_validation_that_ended_is_followed_by_a_new_one(flow, whole):
    """Everything is read again, in a journal of its own; the one before goes, and the audit chain accepts that."""
    for number in (2, 3):
        audit.append(flow.run(), "04_validate")
        report, pages = counted(flow.validate)
        assert same(report, whole)
        assert pages == PAGES
        assert folders(flow) == [f"validate-{number}"]
        audit.append(flow.run(), "04_validate")
        assert audit.verify(flow.run()).problems == []


def test_what_was_asked_or_done_otherwise_begins_anew(flow, monkeypatch, moto_world, tmp_path):
    """Chosen tables, segments, the mapping, another migration of the run, the program: nothing of before is taken over."""
    others = {
        "tables": lambda: flow.validate(["Ports", "Ships", "Crews"][:2]),
        "segments": lambda: flow_of(worlds.filled(MAPPING), moto_world, tmp_path, segments=2).validate(),
        "program": lambda: flow.validate(),
        "mapping": lambda: flow_of(worlds.filled(MAPPING).replace("one:", "other:"), moto_world, tmp_path).validate(),
        "migration": lambda: (flow.rollback(), flow.validate())[1],
    }
    for what, other in others.items():
        flow_of(worlds.filled(MAPPING), moto_world, tmp_path)  # writes the mapping
        stop_after(flow, 3, monkeypatch)
        before = folders(flow)
        with pytest.MonkeyPatch.context() as patch:
            if what == "program":
                patch.setattr(validation_journal, "sources_fingerprint", lambda _: "another program")
            pages = counted(other)[1]
        assert pages >= (6 if what == "tables" else PAGES), what
        assert folders(flow) != before, what


def test_the_recorded_number_of_segments_is_used_again(flow, whole, monkeypatch):
    """A table that has grown meanwhile is still cut as it was."""
    stop_after(flow, 3, monkeypatch)
    monkeypatch.setattr("runbook_lib.walk.plan.SEGMENT_BYTES", 1)
    monkeypatch.setattr("runbook_lib.walk.plan.Plan.segments", lambda plan, table: 2)
    report, pages = counted(flow.validate)
    assert same(report, whole)
    assert pages == PAGES - 3


# damage


@pytest.mark.parametrize("name", ["stage.jsonl", "*.0*.jsonl"])
def test_a_damaged_journal_is_set_aside_and_stops_nothing(name, flow, whole, monkeypatch):
    """The validation begins anew and says so in the log; migration, rollback and audit do not mind."""
    stop_after(flow, 6, monkeypatch)
    run = flow.run()
    audit.append(run, "04_validate")
    (folder,) = run.folder.glob("journal/validate*")
    path = next(iter(sorted(folder.glob(name))))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    audit.check(run)
    assert "is damaged" in audit.verify(run).problems[0]
    audit.append(run, "04_validate")
    assert flow.migrate()["totals"]["inserted"] == 26
    assert status(run).validation == (None if name == "stage.jsonl" else "interrupted")

    report, pages = counted(flow.validate)
    assert same(report, whole)
    assert pages == PAGES
    assert "starts again, because its journal cannot be read" in (run.folder / "run.log").read_text()
    assert [path.name for path in run.folder.glob("set-aside/*")] == [folder.name]
    audit.append(run, "04_validate")
    assert audit.verify(run).problems == []
    assert counted(flow.validate)[1] == PAGES
    assert flow.rollback()["rollback"]["deleted"] == 24


def test_a_journal_that_lost_records_costs_only_their_pages(flow, whole, monkeypatch):
    """Cut anywhere, or a file gone: those pages are compared again."""
    stop_after(flow, 6, monkeypatch)
    (folder,) = flow.run().folder.glob("journal/validate*")
    first, second, *_ = sorted(folder.glob("*.0*.jsonl"))
    first.unlink()
    second.write_bytes(second.read_bytes()[:-7])
    before = compared(flow)
    report, pages = counted(flow.validate)
    assert same(report, whole)
    assert pages == PAGES - before


# two at once, and from another terminal


def test_a_second_validation_of_a_run_is_refused_and_the_first_can_be_stopped(flow, monkeypatch, capsys):
    """It holds the run as a migration does; status says so and waits for nothing."""
    monkeypatch.setattr(process, "lock_patience", 0.1)
    run = flow.run()
    words = [str(flow.outputs), run.id]
    with run.lock("04_validate"):
        with pytest.raises(Refused, match=r"is being written by process \d+ .*04_validate"):
            flow.validate()
        told = status(run)
        assert (told.state, "04_validate" in told.holder) == ("running", True)
        assert main(["stop", run.id, "--outputs", words[0]]) == 0
        assert "asked process" in capsys.readouterr().out
        with pytest.raises(Interrupted, match="stop was requested"):
            control.check(run)
        control.clear(run)
        assert main(["pause", run.id, "--outputs", words[0], "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["asked"] == "pause"
        with pytest.raises(Interrupted, match="stop was requested"):
            control.check(run)
    assert main(["stop", run.id, "--outputs", words[0]]) == 2


def test_status_tells_where_the_validation_stands(flow, monkeypatch, capsys):
    """None before, interrupted, complete."""
    run = flow.run()
    assert status(run).validation is None
    stop_after(flow, 2, monkeypatch)
    assert status(run).validation == "interrupted"
    assert main(["status", run.id, "--outputs", str(flow.outputs), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["state"], told["validation"]) == ("complete", "interrupted")
    assert main(["status", "--outputs", str(flow.outputs), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"runs": [told]}
    flow.validate()
    assert status(run).validation == "complete"
    assert "validation: complete" in status(run).text()


# the command


def command(outputs, *words, points=""):
    """A running command."""
    return subprocess.Popen(
        [sys.executable, "-m", "runbook_lib", *map(str, words), "--outputs", str(outputs)],
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, failpoints.VARIABLE: points},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def records(outputs):
    """How many whole records the validations' journals hold."""
    return sum(path.read_bytes().count(b"\n") for path in outputs.glob("*/journal/validate*/*.0*.jsonl"))


@pytest.mark.slow
def test_a_validate_command_that_is_interrupted_goes_on(moto_world, tmp_path, in_process, capsys):
    """Its kernel is killed, then Ctrl-C: 3, with the command that goes on; that one ends as if nothing had happened, and the
    run's folder is as it was left."""
    items = [{"id": {"S": f"s{n:04}"}, "text": {"S": "x" * 20_000}} for n in range(1_500)]
    moto_world.build({"Ships": {"key": {"id": "S"}, "items": items}}, SOURCE)
    moto_world.build({"Ships": {"key": {"id": "S"}}}, TARGET)
    flow = flow_of("{Ships: {}}", moto_world, tmp_path, workers=1)
    flow.migrate()
    params = tmp_path / "ships.yaml"
    params.write_text(json.dumps(flow.parameters.model_dump(mode="json")), encoding="utf-8")
    goes_on = f"Resume with: runbook validate {params} --outputs {tmp_path} --run-id the-first-run"

    killed = command(tmp_path, "validate", params, points="journal.append.after=kill@5")
    _, err = killed.communicate(timeout=600)
    assert killed.returncode == 3, err
    assert goes_on in err
    done = records(tmp_path)
    assert done == 4

    stopped = command(tmp_path, "validate", params)
    deadline = time.monotonic() + 300
    while records(tmp_path) == done and time.monotonic() < deadline:
        time.sleep(0.02)
    stopped.send_signal(signal.SIGINT)
    _, err = stopped.communicate(timeout=600)
    assert stopped.returncode == 3, err
    assert f"stop was requested; the current page is complete.\n{goes_on}" in err
    assert records(tmp_path) > done

    words = ("validate", params, "--run-id", "the-first-run", "--outputs", tmp_path)
    code, report, err = support_notebooks.command(capsys, *words)
    assert code == 0, err
    figures = report["validation"]
    assert (figures["checked"], figures["equal"], figures["extra"]) == (1_500, 1_500, 0)
    assert folders(flow) == ["validate"]
    assert main(["verify", "the-first-run", "--outputs", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("the-first-run: untouched")
