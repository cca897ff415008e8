"""An analysis → `migration-analysis-<timestamp>.json`, and the phrase that sums it up."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..discover.profile import AttributeProfile
from ..journal.listings import write_listing
from ..run.folder import Run, iso, now
from ..stages import matching, sealed
from ..stages.analyze.analysis import Analysis, Bound, EntryAnalysis
from ..verdict import FAIL, REVIEW, Alert, plural, worst
from ..walk import ledger
from ..walk.plan import Plan
from .json_report import SCHEMA, alerts_as_json, held_back, saved


@saved
def write_analysis(
    run: Run, plan: Plan, analysis: Analysis, notes: Sequence[Alert] = ()
) -> tuple[dict[str, Any], Path]:
    """Writes `migration-analysis-<timestamp>.json`, `plan.json` and the listings of the dry run. Gives content and path.

    `notes` stand among its alerts.
    """
    for name in ("quarantine", "conflicts", "unrouted", "dangling", "unreadable"):
        write_listing(run.folder, name, analysis.listed.get(name, []))
    if analysis.search:
        matching.freeze(run, analysis.search)
    elif plan.matches is None:
        matching.clear(run)
    sealed.write_plan(run, plan, analysis.structures, {name: _sealed(one) for name, one in analysis.tables.items()})
    tables = {
        name: {
            "records": table.records,
            "level": analysis.levels[name],
            "routed": table.routed,
            "quarantined": table.quarantined,
            "conflicts": table.losers + table.different_there,
            "already_there": table.already_there,
            "matched": table.matched,
            "references": dict(table.references),
            "dangling": dict(table.dangling),
            "unreadable": dict(table.unreadable),
            "several": dict(table.several),
            "sparse": dict(table.sparse),
            "fell_back": dict(table.fell_back),
            "valued": {field: table.valued[field] for field in table.fell_back},
            "ledger": ledger.as_json(table.ledger),
            "bytes": table.bytes,
            "write_units": table.write_units,
            "expired": table.expired if analysis.sources[plan.routes[name].entry.source].ttl_known else None,
            "attributes": {n: _attribute(p) for n, p in sorted(table.profile.items())},
            **({"matches": analysis.matches[name]} if name in analysis.matches else {}),
        }
        for name, table in analysis.tables.items()
    }
    content = {
        "schema": SCHEMA,
        "run_id": run.id,
        "created": iso(now()),
        "source": plan.sides()["source"],
        "target": plan.sides()["target"],
        "tables": tables,
        "totals": {
            "records": analysis.records,
            "relationships": analysis.relationships,
            "dangling": analysis.dangling,
            "unreadable": sum(table.unreadable.total() for table in analysis.tables.values()),
            "quarantined": sum(table["quarantined"] for table in tables.values()),
            "conflicts": sum(table["conflicts"] for table in tables.values()),
            "already_there": sum(table["already_there"] for table in tables.values()),
            "matched": sum(table["matched"] for table in tables.values()),
            "unrouted": sum(analysis.unrouted.values()),
            "unmatched": sum(one.level == REVIEW and not one.accepted for one in analysis.unmatched),
            "undeclared": len({(one.table, one.path) for one in analysis.undeclared if one.is_certain}),
        },
        "unmatched": [{**one._asdict(), "level": one.level or "NOTE"} for one in analysis.unmatched],
        "unrouted": analysis.unrouted,
        "targets": {
            name: {
                "exists": state.exists,
                "empty": state.empty,
                "differences": state.differences,
                "skew": {
                    attribute: {"distinct": use.distinct, "largest_share": round(use.share, 4)}
                    for attribute, use in analysis.skew[name].items()
                },
            }
            for name, state in analysis.targets.items()
        },
        "undeclared": [found.as_json() for found in analysis.undeclared],
        "not_references": [found.as_json() for found in analysis.not_references],
        "estimated_duration_seconds": round(analysis.estimated_seconds, 1),
        "estimated_duration": {
            "reading": _bound(analysis.reading),
            "writing": _bound(analysis.writing),
        },
        "estimated_write_units": analysis.costs["03_migrate"].write_units,
        "costs": {stage: {**cost._asdict(), "usd": round(cost.usd, 6)} for stage, cost in analysis.costs.items()},
        "prices": analysis.prices._asdict(),
        "expired_as_of": plan.expiry and plan.expiry.moment,
        "matches": plan.matches and {"rows": len(plan.matches), "sha256": plan.matches.sha256},
        "fingerprints": plan.identity._asdict(),
        "held_back": held_back(plan.limiter),
        "throughput": plan.meter.throughput(),
        "verdict": worst(analysis.alerts),
        "checks": [{**check._asdict(), "level": check.level or "OK"} for check in analysis.checks],
        "alerts": alerts_as_json([*analysis.alerts, *notes]),
    }
    return content, run.write_json("migration-analysis", content)


def _sealed(table: EntryAnalysis) -> dict[str, Any]:
    """What 03 holds an entry's items against."""
    names = sorted(table.profile.keys() | table.ledger.keys())
    return {
        "records": table.records - table.skipped,  # TTL may delete the others at any time
        "attributes": {
            name: {
                "types": sorted(table.profile[name].types) if name in table.profile else [],
                "routed": sealed.present(table.ledger[name]) if name in table.ledger else 0,
            }
            for name in names
        },
    }


def left_open(plan: Plan, totals: Mapping[str, int], alerts: Sequence[Alert]) -> str:
    """The counts of an analysis that need a decision, and the number of obstacles to the migration, as a phrase."""
    names = {
        "dangling": "dangling",
        "unreadable": "unreadable",
        "quarantined": "quarantined",
        "conflicts": "in conflict",
        "unrouted": "unrouted",
        "unmatched": "unmatched in the mapping",
        "undeclared": "undeclared",
    }
    if plan.mapping.ignore_unrouted:
        del names["unrouted"]
    found = [f"{totals[key]:,} {word}" for key, word in names.items() if totals[key]]
    if obstacles := sum(alert.level == FAIL for alert in alerts):
        found.append(f"{plural(obstacles, 'obstacle')} to the migration")
    if not found and (
        checks := sum(alert.level == REVIEW for alert in alerts)
    ):  # the verdict says that something is open
        found.append(f"{plural(checks, 'check')} to decide")
    return ", ".join(found) or "nothing open"


def _bound(bound: Bound) -> dict[str, Any]:
    return {"seconds": round(bound.seconds, 1), "bound": bound.reason}


def _attribute(profile: AttributeProfile) -> dict[str, Any]:
    distinct = profile.distinct
    return {
        "types": dict(profile.types),
        "empty": profile.empty,
        "distinct": distinct.count,
        "distinct_is_exact": distinct.exact,
    }
