"""Results → the JSON files of a run. Each report repeats the earlier sections and adds its own."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import wraps
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..dynamo.rate_limiter import RateLimiter
from ..journal import repair
from ..journal.listings import Written, entry_of, write_listing, write_lists
from ..journal.snapshot import COUNTED, Snapshot, State, state_of
from ..journal.stage import Stage
from ..run.folder import Run, iso, now
from ..stages import expiry, matching, references
from ..stages.analyze import names
from ..stages.migrate import backup_gate
from ..stages.migrate.followed import STOPPED
from ..stages.migrate.migrate import Migration
from ..stages.rollback.restore import Restored
from ..stages.rollback.undo import Undone
from ..stages.test.canary import MAX_ITEMS, Canary, Created
from ..stages.validate import journal as validation_journal
from ..stages.validate import residual
from ..stages.validate.compare import Difference
from ..stages.validate.origins import FIGURES
from ..stages.validate.repair import Repaired
from ..stages.validate.validate import Validation
from ..verdict import FAIL, REVIEW, ROLLED_BACK, Alert, alerts_of_counts, plural, worst
from ..walk import ledger
from ..walk.plan import Plan
from ..walk.progress import Meter
from .samples import key_tag

SCHEMA = 1
NOTHING = Counter()


def saved(write):
    """Decorates a function that writes files: a full disk interrupts, because all files can be written again."""

    @wraps(write)
    def guarded(run: Run, *arguments, **named):
        with run.saving():
            return write(run, *arguments, **named)

    return guarded


@saved
def write_test(
    run: Run, plan: Plan, created: list[Created], canary: Canary | None, alerts: list[Alert]
) -> tuple[dict[str, Any], Path]:
    """Writes the report of 02."""
    sections: dict[str, Any] = {"tables_created": [{"entry": c.entry, "table": c.table} for c in created]}
    if canary is not None:
        counts = table_counts(canary.state, list(canary.state.tables))
        sections |= _counted(counts, 0)
        sections["test"] = {
            "table": canary.table,
            "limit": canary.limit,
            "items": len(canary.closure.rows),
            "matched": len(canary.closure.matched),
            "cut": len(canary.closure.cut),
            "equal": sum(pair.equal for pair in canary.pairs),
            "wrong": canary.wrong,
            "kept": canary.undone is None,
            "undone": canary.undone.deleted if canary.undone else 0,
            "verdict": worst(alerts),
        }
    return _write(run, plan.sides(), plan.meter, "test", sections, alerts)


def canary_alerts(canary: Canary) -> list[Alert]:
    """The open items of a test."""
    alerts = []
    if canary.wrong > 0:
        alerts.append(Alert(FAIL, "", f"{plural(canary.wrong, 'item')} not as expected", "See the comparison below."))
    for name, counts in canary.state.tables.items():
        if counts["conflicts"]:
            message = f"{plural(counts['conflicts'], 'conflict')}: another item has the target key"
            alerts.append(Alert(REVIEW, name, message, "Decide which item is right. Nothing is overwritten."))
    if canary.undone and canary.undone.kept_edited:
        message = f"{plural(canary.undone.kept_edited, 'test item')} edited in the meantime and left in the target"
        alerts.append(Alert(REVIEW, "", message, "See the rollback's list."))
    if not canary.pairs:
        message = "no route takes any item; nothing was tested"
        alerts.append(Alert(REVIEW, canary.table, message, "Choose an entry that has items."))
    if canary.limit > MAX_ITEMS:
        message = f"{canary.limit:,} items requested, limited to {MAX_ITEMS:,}"
        alerts.append(Alert("", canary.table, message, "The test is a sample; 03 migrates all."))
    if canary.closure.matched:
        message = (
            f"{plural(len(canary.closure.matched), 'item')} matched: the target has them, and they were not inserted"
        )
        alerts.append(Alert("", "", message, "Nothing to do: what refers to them has the ids of the target's items."))
    if canary.closure.cut:
        message = f"{plural(len(canary.closure.cut), 'reference')} beyond {MAX_ITEMS:,} items not followed"
        alerts.append(Alert("", "", message, "The test is a sample; 03 migrates all."))
    if canary.closure.dangling:
        message = f"{plural(canary.closure.dangling, 'reference')} to items that do not exist"
        alerts.append(Alert("", "", message, "01 lists them by path."))
    return alerts


@saved
def write_migration(
    run: Run, plan: Plan, migration: Migration, notes: Sequence[Alert] = ()
) -> tuple[dict[str, Any], Path]:
    """Writes the report of 03, with `notes` among its alerts, the listings and the id map."""
    stage = Stage(run, "migrate")
    journal = stage.read(migration.journal)
    written = write_lists(run.folder, journal, plan.mapping.entries)
    dangling = references.list_dangling(run, plan, journal, written.lost)
    counts = table_counts(migration.state, journal.entries())
    alerts = migration_alerts(plan, migration, counts, dangling, written) + repair.alerts(stage)
    alerts += migration.held.alerts() if migration.held else []
    if unanswered := journal.unanswered():
        message = (
            f"{plural(unanswered, 'item')} counted as inserted without an answer that said so: an equal one is there"
        )
        action = "Nothing to do, unless your application writes equal items under the same keys: see docs/rollback.md."
        alerts.append(Alert("", "", message, action))
    alerts += backup_gate.alerts(stage.backups()) + names.alerts_of_latest(run.latest_json("migration-analysis"), plan)
    as_of = expiry.recorded(journal.events("execution"))
    alerts += matching.alerts(matching.recorded(journal.events("execution")), journal.entries())
    alerts += [*expiry.alerts(plan.mapping.entries, journal.entries(), as_of), *notes]
    sections = {
        **_counted(counts, migration.state.unrouted, journal),
        "relationships": written.relationships,
        "relationships_preserved": written.preserved,
        "unreadable": written.unreadable.total(),
        "several": written.several.total(),
        "id_map": written.id_map,
        "errors": written.errors,
        "checkpoint": migration.checkpoint.name if migration.checkpoint else None,
        "executions": migration.state.executions,
        "expired_as_of": as_of and as_of.moment,
        "backups": stage.backups(),
    }
    if migration.drift:
        sections["drift"] = migration.drift.as_json()
    if migration.followed:
        sections["follow"] = migration.followed.as_json()
        if migration.followed.cutover:
            sections["cutover"] = migration.followed.cutover
    if migration.held:
        sections["plan"] = migration.held.as_json()
    if migration.state.rolled_back:
        sections["rollback"] = _rollback(migration.state.undone)
    if migration.undone:
        write_listing(run.folder, "kept", migration.undone.kept)
    verdict = ROLLED_BACK if migration.state.rolled_back else None
    return _write(run, plan.sides(), plan.meter, "migrate", sections, alerts, verdict, journal)


def migration_alerts(
    plan: Plan, migration: Migration, counts: dict[str, dict[str, int]], dangling: Counter, written: Written
) -> list[Alert]:
    """The open items of a migration. `dangling`: (entry, path) → references."""
    alerts = alerts_of_counts(counts, migration.state.unrouted, plan.mapping.ignore_unrouted)
    for name, entry in plan.mapping.entries.items():
        found = (dangling, written.unreadable, written.several)
        by_path = [{path: n for (of, path), n in all_.items() if of == name} for all_ in found]
        alerts += references.alerts(entry, *by_path)
    for name, seen in (migration.journal.seen() if migration.journal else {}).items():
        alerts += ledger.alerts(name, seen.ledger, NOTHING, NOTHING, ())
    if migration.drift:
        alerts += migration.drift.alerts()
    if migration.followed:
        alerts += migration.followed.alerts()
    if migration.failure:
        message = f"the migration failed: {migration.failure}{taken_back(migration)}"
        alerts.insert(0, Alert(FAIL, "", message, "Fix the cause, then run it again."))
    elif not migration.state.finished:
        alerts.insert(0, Alert(FAIL, "", "the migration is not complete", "Resume it with its run ID."))
    elif migration.state.catching_up:
        alerts.insert(0, Alert(FAIL, "", "a delta started and has not ended", "Run it again with the run ID."))
    elif migration.state.following:
        alerts.append(Alert(REVIEW, "", STOPPED, "Resume it with --follow and the run ID."))
    return alerts


def taken_back(migration: Migration) -> str:
    """What happened to the inserts of a failed migration, as a sentence; "" where they were kept."""
    if not migration.undone:
        return ""
    left = (
        f"; {plural(migration.undone.kept_edited, 'item')} edited in the meantime stay"
        if migration.undone.kept_edited
        else ""
    )
    return f" Its inserts were rolled back{left}."


@saved
def write_validation(
    run: Run, plan: Plan, validation: Validation, repaired: Repaired | None = None
) -> tuple[dict[str, Any], Path]:
    """Writes the report of 04, and `differences.jsonl` with the first differences; this ends the validation."""
    write_listing(run.folder, "differences", (_different(found) for found in validation.differences))
    migrated = Stage(run, "migrate").read(validation.migrated)
    sections = _migration_sections(migrated)
    sections["validation"] = {
        "checked": validation.total("checked"),
        "equal": validation.total("equal"),
        "missing": validation.total("missing"),
        "expired": validation.total("expired"),
        "skipped": validation.total("skipped"),
        "matched": validation.total("matched"),
        **({"matches": validation.matches.as_json()} if validation.matches else {}),
        "expired_as_of": validation.expired_as_of,
        "different": validation.total("different"),
        "accepted": validation.total("accepted"),
        "extra": sum(validation.extra.values()),
        "dangling": validation.total("dangling"),
        "unreadable": validation.total("unreadable"),
        "references": validation.total("references"),
        "conflicts": validation.total("conflicts"),
        "quarantined": validation.total("quarantined"),
        "unrouted": validation.unrouted,
        "drift": {name: validation.drift[name] for name in FIGURES},
        **({"repaired": repaired.as_json()} if repaired else {}),
        "difference_groups": [group.as_json() for group in validation.groups],
        "oldest_comparison": validation.oldest or None,
        "structure": validation.structure,
        **residual.as_json(validation.residual),
        "queries": [
            {
                "entry": proof.entry,
                "name": proof.name,
                "index": proof.index,
                "expected": proof.expected,
                "returned": proof.returned,
                "proved": proof.problem is None,
                "problem": proof.problem,
                "vacuous": proof.vacuous,
            }
            for proof in validation.patterns
        ],
        "tables": {name: vars(table) for name, table in validation.tables.items()},
        "verdict": worst(validation.alerts),
    }
    written = _write(run, plan.sides(), plan.meter, "validate", sections, validation.alerts, migrated=migrated)
    validation_journal.end(run)
    return written


def _different(found: Difference) -> dict[str, Any]:
    """One line of `differences.jsonl`; the key is the target's, because an extra item has no source key."""
    reason = found.kind
    if found.expected or found.found:
        same = found.expected == found.found
        reason += f": another {found.expected}" if same else f": should be {found.expected}, is {found.found}"
    return {**entry_of(found.table, found.key, found.attribute, reason), "code": key_tag(found.key)}


@saved
def write_rollback(
    run: Run,
    sides: dict[str, Any],
    undone: Undone,
    deleted_tables: list[str],
    alerts: list[Alert],
    stage: str,
    restored: Restored | None = None,
    meter: Meter | None = None,
) -> tuple[dict[str, Any], Path]:
    """Writes the report of 05, and `kept.jsonl` with what was left alone."""
    write_listing(run.folder, "kept", undone.kept)
    migrated = Stage(run, "migrate").read(undone.journal if stage == "migrate" else None)
    sections = {
        **_migration_sections(migrated),
        "rollback": {**_rollback(vars(undone)), "stage": stage, "tables_deleted": deleted_tables},
    }
    if restored:
        sections["restore"] = restored.as_json()
    return _write(run, sides, meter or Meter(), "rollback", sections, alerts, ROLLED_BACK, migrated)


def table_counts(state: State, entries: list[str]) -> dict[str, dict[str, int]]:
    """Entry → its counts; entries without items have zeros."""
    return {name: {key: state.tables.get(name, NOTHING)[key] for key in COUNTED} for name in entries}


def _counted(tables: dict[str, dict[str, int]], unrouted: int, migrated: Snapshot | None = None) -> dict[str, Any]:
    """Counts and sums; with the journal of 03 also what became of each entry's attributes, and what went in single requests."""
    totals = {key: sum(counts[key] for counts in tables.values()) for key in COUNTED}
    singly, unanswered = {}, 0
    if migrated:
        seen = migrated.seen()
        ledgers = {name: ledger.as_json(seen[name].ledger) if name in seen else {} for name in tables}
        tables = {name: {**counts, "ledger": ledgers[name]} for name, counts in tables.items()}
        singly, unanswered = migrated.singly(), migrated.unanswered()
    totals |= {"unrouted": unrouted}
    return {"tables": tables, "totals": totals, "inserted_singly": singly, "inserted_unanswered": unanswered}


def _migration_sections(migrated: Snapshot) -> dict[str, Any]:
    """The counts of 03 from its journal; other sections come from the earlier report."""
    if not migrated.began:
        return {}
    state = migrated.state()
    return _counted(table_counts(state, migrated.entries()), state.unrouted, migrated)


def _rollback(counts: Mapping[str, Any]) -> dict[str, int]:
    return {key: counts[key] for key in ("deleted", "kept_edited", "not_found", "unanswered")}


def alerts_as_json(alerts: list[Alert]) -> list[dict[str, str]]:
    return [{**alert._asdict(), "level": alert.level or "NOTE"} for alert in alerts]


def held_back(limiter: RateLimiter) -> list[dict[str, Any]]:
    """What slowed this execution down: side and table ("" for all), reason, and seconds."""
    return [
        {"table": found.name, "reason": found.reason, "refused": found.refused, "seconds": round(found.seconds, 1)}
        for found in limiter.slowdowns()
    ]


def _write(
    run: Run,
    sides: dict[str, Any],
    meter: Meter,
    stage: str,
    sections: dict[str, Any],
    alerts: list[Alert],
    verdict: str | None = None,
    migrated: Snapshot | None = None,
) -> tuple[dict[str, Any], Path]:
    earlier = run.latest_json("migration-report") or {}
    content = {
        "schema": SCHEMA,
        "relationships_preserved": 0,
        "id_map": None,
        "errors": [],
        **_counted({}, 0),
        **earlier,
        "stage": stage,
        "created": iso(now()),
        "migration": {"run_id": run.id, **_times(run, migrated), **sides},
        **sections,
        "held_back": held_back(meter.limiter),
        "throughput": meter.throughput(),
        "verdict": verdict or worst(alerts),
        "alerts": alerts_as_json(alerts),
    }
    return content, run.write_json("migration-report", content)


def _times(run: Run, migrated: Snapshot | None) -> dict[str, Any]:
    """Start, end and duration of the migration, else of the test."""
    events = list(migrated.events() if migrated else Stage(run, "migrate").events()) or list(
        Stage(run, "test").events()
    )
    state = state_of(events)
    return {"start_time": state.started, "end_time": state.ended, "duration_seconds": _seconds(events)}


def _seconds(events: Sequence[dict[str, Any]]) -> float | None:
    """From the first execution to the last end; None before that. What the clock was set back between two is left out."""
    kinds = [event["kind"] for event in events]
    if "execution" not in kinds or "end" not in kinds:
        return None
    begin, end = kinds.index("execution"), len(kinds) - kinds[::-1].index("end")
    moments = [datetime.fromisoformat(event["at"]) for event in events[begin:end]]
    return sum(max(0.0, (after - before).total_seconds()) for before, after in pairwise(moments))
