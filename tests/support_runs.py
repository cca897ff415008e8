"""Run folders with made-up reports: what reads them needs no database."""

from runbook_lib.journal import audit
from runbook_lib.report.runs.summary import write_summary
from runbook_lib.run.chain import SUMMARY
from runbook_lib.run.folder import open_run

SIDES = {
    "source": {"environment": "staging", "region": "eu-central-1", "account": None},
    "target": {"environment": "live", "region": "eu-central-1", "account": "123456789012"},
}
COUNTS = {"inserted": 0, "already_there": 0, "conflicts": 0, "quarantined": 0, "failed": 0, "expired": 0, "matched": 0}
ABOUT = {"name": "shop", "created": "2026-11-28T19:33:08Z", "fingerprint": "f", "mapping": "shop.yaml", **SIDES}
FINGERPRINTS = {"mapping": "9f" * 32, "environments": "e", "code": "c"}


def alert(number=0, level="REVIEW", table="Orders", message="1 dangling reference: the item does not exist"):
    """An open item, as a report has it; each number is another decision."""
    action = f"See dangling.jsonl; decide about the {number}th with `map`." if number else "See dangling.jsonl."
    return {"level": level, "table": table, "message": message, "action": action}


def analysis(names=("Orders",), alerts=(), records=100, **more):
    """An analysis of entries that have so many items each."""
    tables = {n: {"records": records, "routed": records, "quarantined": 0, "conflicts": 0} for n in names}
    costs = {stage: {"read_units": 1, "write_units": 11_198, "usd": 0.004} for stage in ("01_analyze", "03_migrate")}
    totals = {"records": records * len(tables), "unrouted": 0}
    return {
        **SIDES,
        "tables": tables,
        "totals": totals,
        "verdict": "REVIEW" if alerts else "PASS",
        "alerts": list(alerts),
        "costs": costs,
        "checks": [],
        "fingerprints": FINGERPRINTS,
        **more,
    }


def report(stage, names=("Orders",), alerts=(), records=100, left=0, **more):
    """A report of 02 to 05 in which `left` items of each entry were quarantined."""
    one = {**COUNTS, "scanned": records, "inserted": records - left, "quarantined": left}
    totals = {key: value * len(names) for key, value in one.items()} | {"unrouted": 0}
    checked = {"missing": 0, "different": 0, "equal": records - left}
    validation = {key: value * len(names) for key, value in checked.items()} | {
        "tables": dict.fromkeys(names, checked),
        "oldest_comparison": "2026-11-28T19:41:00Z",
        "residual_ids": {"items": 0},
    }
    return {
        "stage": stage,
        "migration": SIDES,
        "tables": dict.fromkeys(names, one),
        "totals": totals,
        "tables_created": [],
        "backups": {},
        "verdict": "REVIEW" if alerts else "PASS",
        "alerts": list(alerts),
        **({"validation": validation} if stage == "validate" else {}),
        **more,
    }


def checkpoint(names=("Orders",), source="{}-staging", id_format="uuid"):
    """What 03 writes before its first insert, as far as the summary reads it."""
    entries = {name: {"source": source.format(name), "target": f"{name}-live"} for name in names}
    models = {name: {"id_format": id_format} for name in names}
    return {"stage": "migrate", "entries": entries, "mapping": {"entries": models}, "fingerprints": FINGERPRINTS}


def add(run, stage, kind, content, copy=None, verdict=None, checkpoint=None):
    """One stage's execution: what it writes, with its records; its pages where `copy` names them."""
    audit.begin(run, stage)
    audit.append(run, stage, audit.WORK)
    if checkpoint:
        run.write_json("migration-checkpoint", checkpoint)
    audit.append(run, stage, audit.REPORT)
    run.write_json(kind, content)
    audit.append(run, stage, audit.SAVING, outcome={"stage_verdict": verdict or content["verdict"]})
    own = [f"{copy}.ipynb", f"{copy}.html", f"{copy}-code.html"] if copy else []
    for name in own:
        (run.folder / name).write_text(f'<!doctype html><a href="05_rollback.html">{name}</a>')
    written = write_summary(run)
    outcome = written.as_outcome(verdict or content["verdict"], f"{copy}.ipynb" if copy else "")
    audit.append(run, stage, own=[*own, SUMMARY], outcome=outcome)
    return written


def migrated(outputs, run_id="the-first-run", **more):
    """A run from 01 to 04, all equal: two decisions are open."""
    run = open_run(outputs, run_id, ABOUT)
    add(run, "01_analyze", "migration-analysis", analysis(alerts=[alert()]), "01_analyze")
    before = checkpoint(**more)
    add(run, "03_migrate", "migration-report", report("migrate", alerts=[alert()]), "03_migrate", checkpoint=before)
    add(run, "04_validate", "migration-report", report("validate", alerts=[alert(), alert(1)]), "04_validate")
    return run


def widest(outputs):
    """A run that fills the sheet: 35 entries and 40 decisions, all names and sentences as long as they get."""
    names = [f"{'W' * 200}{number}" for number in range(35)]
    alerts = [
        alert(n, "FAIL" if n < 3 else "REVIEW", names[n % 35], f"{'many words of a long sentence ' * 9}{n}")
        for n in range(1, 41)
    ]
    alerts = [{**one, "action": one["action"] + " and then do that" * 20} for one in alerts]
    settings = (
        "TTL",
        "the stream",
        "point-in-time recovery",
        "deletion protection",
        "encryption",
        "billing",
        "capacity",
    )
    alerts += [alert(0, "NOTE", names[3], f"{what} is off, not on") for what in settings]
    side = {"environment": "E" * 70, "region": "ap-southeast-2", "account": "123456789012"}
    sides = {"source": side, "target": side}
    run = open_run(outputs, "a" * 64, {**ABOUT, **sides})
    skew = [{"what": "skew", "level": "NOTE", "table": name} for name in names[:2]]
    add(run, "00_draft", "mapping-draft", analysis(names), "00_draft")
    add(run, "01_analyze", "migration-analysis", analysis(names, alerts, 10**9, checks=skew, **sides), "01_analyze")
    before = checkpoint(names[:2], "one-table")
    more = {
        "migration": sides,
        "tables_created": [{"entry": n, "table": n} for n in names[:2]],
        "backups": {
            n: {"kind": kind} for n, kind in zip(names, ("point_in_time", "on_demand", "waived"), strict=False)
        },
    }
    test = {"items": 10**9, "equal": 10**9, "kept": True}
    add(run, "02_test", "migration-report", report("test", names, alerts, 10**9, **more, test=test), "02_test")
    moved = report("migrate", names, alerts, 10**9, 10**8, **more)
    add(run, "03_migrate", "migration-report", moved, "03_migrate", "INTERRUPTED", before)
    compared = report("validate", names, alerts, 10**9, 10**8, **more)
    compared["totals"]["unrouted"] = 10**9
    add(run, "04_validate", "migration-report", compared, "04_validate", "INTERRUPTED")
    return run
