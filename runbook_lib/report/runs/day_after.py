"""What is left to do after a run, as a checklist: only what applies to it, from its reports and its checkpoint. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ...stages.analyze.structure import CALLED
from ...verdict import plural
from ..drawing.html import clipped
from .outcome import Outcome

SHOWN, LONGEST = 2, 44  # names in one line, and the letters of each; where there are more, their number says enough
SETTINGS = ("ttl", "stream", "recovery", "protection", "replica", "encryption", "class")
MONEY = ("billing", "capacity")


def day_after(run_id: str, outcome: Outcome, checkpoint: Mapping[str, Any]) -> list[str]:
    """Sentences in the order in which they are due; code in backticks. `checkpoint`: of 03, {} where there is none."""
    report = outcome.report
    made = [one["table"] for one in report.get("tables_created", [])]
    if outcome.rolled_back:
        return list(_after_a_rollback(report, made))
    if not checkpoint or "03_migrate" not in outcome.results:
        return []
    return list(_after_a_migration(run_id, outcome, checkpoint, made))


def _after_a_rollback(report: Mapping[str, Any], made: list[str]) -> Iterator[str]:
    undone = report.get("rollback", {})
    if undone.get("kept_edited"):
        yield f"Decide what becomes of {plural(undone['kept_edited'], 'edited item')} that stayed: see `kept.jsonl`."
    if left := [name for name in made if name not in undone.get("tables_deleted", [])]:
        yield f"Delete the empty tables that this run made, if nobody needs them: {_tables(left)}."
    yield "Correct what the rollback was for, and start a new run: this one writes nothing more."


def _after_a_migration(run_id: str, outcome: Outcome, checkpoint: Mapping[str, Any], made: list[str]) -> Iterator[str]:
    report, entries, models = outcome.report, checkpoint["entries"], checkpoint["mapping"]["entries"]
    if not outcome.proved:
        yield f"Before anything else: prove the copy with `runbook validate PARAMS --run-id {run_id}`."
    targets = sorted({about["target"] for about in entries.values()})
    yield f"Switch the application to the new tables: {_tables(targets)}."
    if any(model.get("id_format", "uuid") != "keep" or model.get("match") for model in models.values()):
        yield "Update ids outside these tables (configuration, caches, search, links): `id-map.parquet` has old and new."
    checks = outcome.results.get("01_analyze", {}).get("checks", [])
    skewed = sorted(one["table"] for one in checks if one["what"] == "skew" and one["level"] != "OK")
    watch = f"; 01 saw most writes go into one partition of {_tables(skewed)}" if skewed else ""
    yield f"Watch throttled requests and errors for a day{watch}."
    alerts = report["alerts"] if "validation" in report else outcome.results.get("01_analyze", {}).get("alerts", [])
    if to_set := _found(alerts, SETTINGS):
        yield f"Settings of the new tables that are not as the source's, or off: {'; '.join(to_set)}."
    if money := _found(alerts, MONEY):
        yield f"Billing mode and capacity of the new tables: {'; '.join(money)}."
    if made:
        yield f"Take what this run made into your infrastructure code: {_tables(made)}."
    sources = sorted({about["source"] for about in entries.values()})
    yield f"Keep the source ({_tables(sources)}) as it is until __________; until then `05_rollback` is a way back."
    shared = Counter(about["source"] for about in entries.values())
    if old := [name for name, number in shared.items() if number > 1]:
        unrouted = report["totals"].get("unrouted", 0)
        left = f"; {plural(unrouted, 'item')} in it went nowhere" if unrouted and len(old) == 1 else ""
        yield f"Then clean up what was taken apart: {_tables(sorted(old))}{left}."


def _found(alerts: Iterable[Mapping[str, str]], whats: Iterable[str]) -> list[str]:
    """What the comparison of structures found of some settings: each with its tables."""
    found: dict[str, list[str]] = {}
    for what in whats:
        for alert in alerts:
            if alert["message"].startswith(f"{CALLED[what]} is "):
                found.setdefault(CALLED[what] if alert["table"] else alert["message"], []).append(alert["table"])
    return [f"{words} ({_tables(sorted(names))})" if names[0] else words for words, names in found.items()]


def _tables(names: list[str]) -> str:
    if len(names) > SHOWN:
        return plural(len(names), "table")
    return " and ".join(f"`{clipped(name, LONGEST)}`" for name in names)
