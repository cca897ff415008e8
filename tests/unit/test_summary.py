"""The sheet that stands for a run: what it says of each state, that nothing outlives what it was said of, and that it is safe."""

import html
import json
import re
from datetime import UTC, datetime
from itertools import count

import pytest
from support_runs import ABOUT, add, alert, analysis, checkpoint, migrated, report, widest

from runbook_lib.journal import audit
from runbook_lib.journal.stage import Stage
from runbook_lib.report.drawing.html import clipped
from runbook_lib.report.runs.day_after import day_after
from runbook_lib.report.runs.outcome import outcome_of
from runbook_lib.report.runs.status import status
from runbook_lib.report.runs.summary import write_summary
from runbook_lib.run.chain import SUMMARY
from runbook_lib.run.fingerprints import Identity
from runbook_lib.run.folder import Run, open_run


@pytest.fixture
def run(tmp_path):
    """A run in which nothing was executed."""
    return open_run(tmp_path, "the-first-run", ABOUT)


def shown(run):
    """The page as text: tags left out, spaces as one."""
    page = re.sub(r"<style>.*?</style>", "", (run.folder / SUMMARY).read_text(), flags=re.DOTALL)
    return html.unescape(" ".join(re.sub(r"<[^>]*>", " ", page).split()))


def test_each_stage_leaves_its_own_sentence_and_verdict(run):
    """Until 04 has compared, the page says that nothing is proved."""
    assert write_summary(run).headline == "No stage has come to a result yet"
    said = [add(run, "01_analyze", "migration-analysis", analysis(alerts=[alert(), alert(1)]))]
    assert "read would arrive open" in shown(run)
    test = report("test", records=3, test={"items": 3, "equal": 3, "kept": False})
    assert add(run, "02_test", "migration-report", test).headline.startswith(
        "3 items tested, 3 equal; nothing was migrated yet"
    )
    assert "Orders 100 100 · " in shown(run)  # the numbers of a test are not those of the run
    said.append(add(run, "03_migrate", "migration-report", report("migrate", left=2)))
    assert "Not proved yet" in shown(run)
    said.append(add(run, "04_validate", "migration-report", report("validate", left=2, alerts=[alert()])))
    assert "Equal means" in shown(run)
    rolled = report("rollback", verdict="ROLLED_BACK", rollback={"deleted": 98, "kept_edited": 1, "stage": "migrate"})
    said.append(add(run, "05_rollback", "migration-report", rolled))
    assert [(one.verdict, one.headline) for one in said] == [
        ("REVIEW", "100 items read; nothing was written yet; 2 decisions are open"),
        ("PASS", "98 of 100 items copied; not proved yet"),
        ("REVIEW", "98 of 100 items copied and proved equal; 1 decision is open"),
        ("ROLLED_BACK", "Rolled back: 98 items deleted again, 1 edited item kept"),
    ]
    assert "REVIEW 98 equal" in shown(run)


OPEN = {"open": True, "moment": "2026-11-28T19:45:00Z", "missing": [], "verdict": "PASS"}
CLOSED = {
    "open": False,
    "asked_at": "2026-11-28T19:44:00Z",
    "missing": ["Orders are late", "People"],
    "verdict": "FAIL",
}


def test_the_answer_of_the_gate_stands_where_a_reader_looks_first(run):
    """On the page, in its headline and in the status; until something writes again, or all was taken back."""
    with Stage(run, "migrate") as stage:

        def said(*kinds):
            for kind in kinds:
                stage.record(kind, entries=["Orders"], **stage.identity(Identity("m", "e", "c")))
            write_summary(run, [stage.read()])
            told = status(run)
            assert (told.cutover or "") in shown(run)
            assert ("cut-over: " in told.text()) == bool(told.cutover)
            return shown(run)

        add(run, "03_migrate", "migration-report", report("migrate"))
        assert "Cut-over" not in said("execution", "end", "follow")
        run.write_json("cutover", CLOSED)
        assert "Cut-over not yet, asked at 2026-11-28T19:44:00Z: Orders are late (and 1 more)" in said()
        run.write_json("cutover", OPEN)
        assert "may write" not in said("follow_end")  # a file that nobody vouches for opens nothing
        audit.begin(run, "03_migrate")
        audit.append(run, "03_migrate", audit.REPORT)
        run.write_json("cutover", OPEN)
        audit.append(run, "03_migrate", own=[SUMMARY])
        opened = "the application may write to the target from 2026-11-28T19:45:00Z on"
        page = said()
        assert f"The gate is open: {opened}; 100 of 100 items copied" in page
        assert "may write" not in said("follow")
        add(run, "04_validate", "migration-report", report("validate"))
        assert f"Cut-over {opened}" in said("follow_end")
        assert "may write" not in said("rolled_back")


def test_what_is_missing_or_different_is_in_the_first_sentence(run):
    """Before the number of decisions."""
    checked = report("validate", alerts=[alert(level="FAIL")], verdict="FAIL")
    checked["validation"] |= {"equal": 90, "missing": 3, "different": 7}
    written = add(run, "04_validate", "migration-report", checked)
    assert written.verdict == "FAIL"
    assert written.headline == "90 of 100 items proved equal; 3 items missing, 7 items different; 1 decision is open"


EVENTS = {
    "a migration": ["execution"],
    "a delta": ["execution", "end", "delta"],
    "a rollback": ["execution", "end", "rollback"],
}


@pytest.mark.parametrize("what", EVENTS)
def test_a_verdict_does_not_outlive_a_change(what, tmp_path):
    """Begun and not ended; or ended, and its report could not be written."""
    run = migrated(tmp_path)
    assert outcome_of(run, []).proved
    found = outcome_of(run, [{"kind": kind} for kind in EVENTS[what]])
    assert (found.verdict, found.proved) == ("NOT FINISHED", False)
    ended = outcome_of(run, [{"kind": kind} for kind in ("execution", "end", "rollback", "rolled_back")])
    assert (ended.verdict, ended.proved) == ("ROLLED_BACK", False)


def test_a_delta_after_04_takes_its_proof_away(tmp_path):
    """Whatever the delta's own verdict is: the earlier comparison is in its report as well."""
    run = migrated(tmp_path)
    later = {**report("validate"), **report("migrate"), "validation": report("validate")["validation"]}
    written = add(run, "03_migrate", "migration-report", later)
    assert (written.verdict, outcome_of(run, []).proved) == ("PASS", False)
    assert written.headline == "100 of 100 items copied; changed since 04 compared it, and not proved yet"
    assert "before the last change" in shown(run)
    assert "proved equal" not in shown(run)


def test_taking_the_tests_back_takes_no_migration_back(tmp_path):
    """05 has a checkpoint of each."""
    run = migrated(tmp_path)
    undone = {"deleted": 3, "kept_edited": 0, "stage": "test"}
    written = add(run, "05_rollback", "migration-report", report("rollback", verdict="ROLLED_BACK", rollback=undone))
    assert written.headline.startswith("100 of 100 items copied and proved equal")


def test_a_stage_that_begins_to_write_leaves_no_verdict(tmp_path):
    """It may be killed before it says anything."""
    run = migrated(tmp_path)
    audit.begin(run, "03_migrate")
    assert write_summary(run, writing="03_migrate").verdict == "NOT FINISHED"
    assert shown(run).startswith("NOT FINISHED: staging, eu-central-1 → live")
    assert "03_migrate has begun and not ended" in shown(run)
    assert "proved equal" not in shown(run)
    assert audit.verify(run).problems == []  # this execution may


def test_verify_knows_the_page_and_says_who_changed_it(tmp_path):
    """Untouched after every stage; edited it is named, stops no command, and is written anew by the next stage."""
    run = migrated(tmp_path)
    assert (audit.verify(run).problems, audit.verify(run).growth) == ([], [])
    path = run.folder / SUMMARY
    path.write_text(path.read_text().replace("REVIEW", "PASS"))
    assert audit.verify(run).problems == ["summary.html was changed"]
    audit.begin(run, "04_validate")
    assert audit.verify(run).problems == ["summary.html was changed"]  # nor does a later execution cover it
    assert audit.check(run) == []
    add(run, "04_validate", "migration-report", report("validate"))
    assert audit.verify(run).problems == []
    path.unlink()
    assert audit.verify(run).problems == ["summary.html was removed"]


HOSTILE = '"><script>alert(1)</script>\u202e'


def test_everything_is_escaped(tmp_path):
    """Names of tables, entries and environments, sentences, the mapping's file."""
    sides = {side: {"environment": HOSTILE, "region": HOSTILE, "account": HOSTILE} for side in ("source", "target")}
    run = open_run(tmp_path, "the-first-run", {**ABOUT, "mapping": HOSTILE, **sides})
    alerts = [{"level": "REVIEW", "table": HOSTILE, "message": HOSTILE, "action": f"`{HOSTILE}`"}]
    made = {"tables_created": [{"entry": HOSTILE, "table": HOSTILE}], "migration": sides}
    moved = report("migrate", [HOSTILE], alerts, **made)
    add(run, "03_migrate", "migration-report", moved, checkpoint=checkpoint([HOSTILE]))
    page = (run.folder / SUMMARY).read_text()
    assert page.count("&lt;script&gt;") >= 8
    assert "<script" not in page
    assert "\u202e" not in page


DAMAGES = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:50]),
    "gone": lambda path: path.unlink(),
    "a list": lambda path: path.write_text("[]"),
    "another object": lambda path: path.write_text('{"stage": "migrate", "totals": null}'),
    "another stage": lambda path: path.write_text('{"stage": [], "verdict": 7}'),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_gives_a_page_that_says_so(damage, tmp_path):
    """Never an error of the stage that ends, nor a verdict."""
    run = migrated(tmp_path)
    DAMAGES[damage](run.json_files("migration-report")[-1])
    written = write_summary(run)
    assert written.verdict == "DAMAGED"
    assert "This run's folder cannot be read" in shown(run)
    assert str(tmp_path) not in shown(run)
    assert "PASS" not in shown(run)


@pytest.mark.parametrize(
    "about", [{"source": {"environment": 7}}, {"target": [], "mapping": {"a": 1}}, {"source": None}]
)
def test_a_run_json_of_another_kind_gives_a_page_too(about, tmp_path):
    """It is sealed by nobody."""
    run = migrated(tmp_path)
    (run.folder / "run.json").write_text(json.dumps({**ABOUT, "run_id": run.id, "number": 1, **about}))
    assert write_summary(run).verdict == "REVIEW"
    run.json_files("migration-report")[-1].unlink()
    assert write_summary(run).verdict == "DAMAGED"


def test_a_folder_in_its_place_stops_nothing(tmp_path):
    """`verify` names it."""
    run = migrated(tmp_path)
    (run.folder / SUMMARY).unlink()
    (run.folder / SUMMARY).mkdir()
    assert write_summary(run).verdict == "REVIEW"
    assert "summary.html" in audit.verify(run).problems[0]


def test_what_does_not_fit_on_the_sheet_is_counted(tmp_path):
    """The largest entries, the rest summed; the first decisions, the rest with the way to the report."""
    run = widest(tmp_path)
    page = shown(run)
    assert "29 more entries 29,000,000,000 26,100,000,000 2,900,000,000" in page
    more = re.search(r"(\d+) more open items, see the report of 04_validate", page)
    assert int(more[1]) + page.count("many words of a long sentence many") // 4 >= 37
    assert page.count("FAIL") >= 1
    assert "W" * 100 not in page


def test_decisions_that_are_one_stand_in_one_line(run):
    """Their numbers summed, the tables with most first."""
    alerts = [
        alert(table=f"T{n}", message=f"{n} dangling references (a.b): the item does not exist") for n in range(1, 6)
    ]
    assert add(run, "03_migrate", "migration-report", report("migrate", alerts=alerts)).headline.endswith(
        "1 decision is open"
    )
    assert "15 dangling references: the item does not exist T5 5, T4 4, T3 3 and 2 more" in shown(run)


def test_the_page_says_who_when_how_long_and_what_it_cost(run, monkeypatch):
    """From the chain, the analysis and the report; what nobody recorded is not made up."""
    assert write_summary(run)
    assert "By not recorded" in shown(run)
    monkeypatch.setattr(audit.getpass, "getuser", lambda: "ines")
    monkeypatch.setattr(audit.socket, "gethostname", lambda: "laptop")
    add(run, "01_analyze", "migration-analysis", analysis())
    kinds = {"A": {"kind": "point_in_time"}, "B": {"kind": "point_in_time"}, "C": {"kind": "on_demand"}}
    add(run, "03_migrate", "migration-report", report("migrate", backups=kinds))
    for said in (
        "By ines@laptop",
        "under $0.01; 11,198 write units in 03",
        "2 tables point in time, 1 table on demand",
        "Ids of the source left not looked for yet",
        "staging, eu-central-1 → live, eu-central-1, account 123456789012",
        f"content sha256 {'9f' * 32}",
    ):
        assert said in shown(run), said
    head = re.search(r"Audit head before this page: ([0-9a-f]{64})", shown(run))[1]
    assert audit.verify(run, head).problems == []


def test_the_time_of_03_is_that_of_all_its_executions(run, monkeypatch):
    """An execution that finds the run complete takes seconds, and inserted nothing of what the page counts."""
    moments = count(step=10)
    monkeypatch.setattr(audit, "now", lambda: datetime.fromtimestamp(next(moments), UTC))
    add(run, "01_analyze", "migration-analysis", analysis())
    add(run, "01_analyze", "migration-analysis", analysis())
    for _ in range(2):
        add(run, "03_migrate", "migration-report", report("migrate"))
    write_summary(run)
    assert "items read, 30 s" in shown(run)
    assert "inserted, 1 min" in shown(run)
    audit.enter(run, "03_migrate")  # and nothing more: it was killed
    write_summary(run)
    assert "inserted, " not in shown(run)


# the day after


def test_the_checklist_names_what_applies(tmp_path):
    """A copy with new ids, with settings that 04 found missing."""
    run = migrated(tmp_path)
    alerts = [
        alert(0, "REVIEW", "Orders-live", "TTL is off, not expiresAt"),
        alert(0, "NOTE", "", "point-in-time recovery is off in 3 of 35 production tables"),
        alert(0, "NOTE", "Orders-live", "billing is PAY_PER_REQUEST, not PROVISIONED"),
    ]
    add(run, "04_validate", "migration-report", report("validate", alerts=alerts))
    lines = day_after(run.id, outcome_of(run, []), checkpoint())
    assert lines == [
        "Switch the application to the new tables: `Orders-live`.",
        "Update ids outside these tables (configuration, caches, search, links): `id-map.parquet` has old and new.",
        "Watch throttled requests and errors for a day.",
        "Settings of the new tables that are not as the source's, or off: TTL (`Orders-live`); point-in-time recovery is off in "
        "3 of 35 production tables.",
        "Billing mode and capacity of the new tables: billing (`Orders-live`).",
        "Keep the source (`Orders-staging`) as it is until __________; until then `05_rollback` is a way back.",
    ]


def test_the_checklist_of_a_split_ends_with_the_old_table(run):
    """It is said what went nowhere; ids that stay need no update; tables that the run made are nobody's code yet."""
    names = ["Leads", "Deals", "Pipelines"]
    made = [{"entry": name, "table": name} for name in names]
    moved = report("migrate", names, tables_created=made)
    moved["totals"]["unrouted"] = 5
    add(run, "03_migrate", "migration-report", moved)
    lines = day_after(run.id, outcome_of(run, []), checkpoint(names, "crm", "keep"))
    assert lines[0] == "Before anything else: prove the copy with `runbook validate PARAMS --run-id the-first-run`."
    assert "Take what this run made into your infrastructure code: 3 tables." in lines
    assert lines[-1] == "Then clean up what was taken apart: `crm`; 5 items in it went nowhere."
    assert not [line for line in lines if "id-map" in line]


def test_after_a_rollback_the_checklist_is_another(run):
    """Nothing to switch."""
    undone = {"deleted": 1, "kept_edited": 2, "stage": "migrate", "tables_deleted": ["A"]}
    made = [{"entry": name, "table": name} for name in "AB"]
    back = report("rollback", verdict="ROLLED_BACK", rollback=undone, tables_created=made)
    add(run, "05_rollback", "migration-report", back)
    lines = day_after(run.id, outcome_of(run, []), checkpoint())
    assert lines[:2] == [
        "Decide what becomes of 2 edited items that stayed: see `kept.jsonl`.",
        "Delete the empty tables that this run made, if nobody needs them: `B`.",
    ]
    assert not [line for line in lines if "Switch" in line]


def test_before_a_migration_there_is_no_day_after(run):
    """01 and 02 change nothing that would last."""
    add(run, "01_analyze", "migration-analysis", analysis())
    assert day_after(run.id, outcome_of(run, []), {}) == []


def test_a_clipped_text_ends_with_a_word():
    """And says that it was clipped."""
    assert clipped("one two three", 13) == "one two three"
    assert clipped("one two three", 12) == "one two…"
    assert clipped("x" * 50, 10) == "x" * 9 + "…"


def test_the_folder_of_a_run_may_be_given_by_any_path(tmp_path, monkeypatch):
    """Problems are told from the run's folder on."""
    migrated(tmp_path)
    monkeypatch.chdir(tmp_path)
    run = Run("the-first-run", tmp_path / "the-first-run")
    (run.folder / "run.json").write_text(json.dumps([]))
    assert write_summary(run).verdict == "REVIEW"
