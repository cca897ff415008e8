"""The go or no-go list of an analysis."""

from collections.abc import Iterable

from ..stages.analyze import Analysis
from ..verdict import FAIL
from .analysis import ordered
from .html import Raw, chip, duration, note, table

TOO_LARGE = "the target item is "  # how the reason begins where an item is above 400 KB


def decision(analysis: Analysis) -> Raw:
    """The go or no-go list: each check with ok, look or stop, and a sentence."""
    rows, marks = [], []
    checks = list(_checks(analysis))
    for name, state, sentence in checks:
        tone = {"ok": "good", "look": "look", "stop": "bad"}[state]
        rows.append([chip(state, tone), name, sentence])
        marks.append(tone)
    states = [state for _, state, _ in checks]
    stops, looks = states.count("stop"), states.count("look")
    if stops:
        word, why, tone = "No go.", f"{_said(stops, 'check says', 'checks say')} stop.", "bad"
    elif looks:
        word, why, tone = "Go, after a look.", f"{_said(looks, 'check asks', 'checks ask')} for a decision.", "look"
    else:
        word, why, tone = "Go.", "Nothing stands against the migration.", "good"
    line = note(Raw(f"<b>{word}</b> {why}"), tone)
    return Raw(line + table(["", "check", "what was found"], rows, align="clw", marks=marks))


def _said(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def _items(count: int) -> str:
    return _said(count, "item", "items")


def _checks(analysis: Analysis) -> Iterable[tuple[str, str, str]]:
    """Check, ok or look or stop, a sentence."""
    tables, states = analysis.tables.values(), analysis.targets
    failing = [alert for alert in analysis.alerts if alert.level == FAIL]

    took = duration(analysis.seconds)
    yield (
        "source readable",
        "ok",
        f"{_items(analysis.records)} of {len(tables)} entries read to the last page in {took}.",
    )

    missing = [name for name, state in states.items() if not state.exists]
    broken = sum(alert.table in missing for alert in failing)
    different = sum(bool(state.differences) for state in states.values())
    if broken or different:
        yield "target tables", "stop", f"{broken} missing and not described, {different} of another shape."
    else:
        made = f", {len(missing)} will be created by 02_test" if missing else ""
        yield "target tables", "ok", f"{len(states) - len(missing)} exist as described{made}."

    losers = sum(table.losers for table in tables)
    if collide := [name for name, table in ordered(analysis) if table.collisions]:
        yield "target keys", "stop", f"Two items get the same key in {', '.join(collide)}."
    elif losers:
        yield (
            "target keys",
            "look",
            f"{_items(losers)} would have the key of another source item: not written, but listed.",
        )
    else:
        yield "target keys", "ok", f"No two of {sum(table.routed for table in tables):,} keys are the same."

    large = sum(count for t in tables for (_, reason), count in t.reasons.items() if reason.startswith(TOO_LARGE))
    if large:
        yield "400 KB limit", "look", f"{_items(large)} would be larger than DynamoDB takes: not written, but listed."
    else:
        yield "400 KB limit", "ok", "Every target item is within DynamoDB's limit."

    unreadable = sum(table.unreadable.total() for table in tables)
    sentence = f"{analysis.relationships:,} references, {analysis.dangling:,} of them dangling."
    if unreadable:
        sentence += f" {_said(unreadable, 'value', 'values')} not readable as ids, copied unchanged."
    if not analysis.relationships and not unreadable:
        sentence = "None is declared, or none was found."
    stops = any("dangling" in alert.message for alert in failing)
    yield "references", "stop" if stops else "look" if analysis.dangling or unreadable else "ok", sentence

    held = sum(table.quarantined for table in tables)
    stops = any("does not convert" in alert.message for alert in failing)
    sentence = f"{_items(held)} would not be written, because a value does not fit." if held else "Every value fits."
    yield "quarantined", "stop" if stops else "look" if held else "ok", sentence

    unrouted = sum(analysis.unrouted.values())
    ignored = unrouted and not any("selected by no entry" in alert.message for alert in analysis.alerts)
    sentence = f"{_items(unrouted)} that no entry selects" if unrouted else "Every item has an entry"
    sentence += ", which the mapping ignores." if ignored else "."
    yield "unrouted", "look" if unrouted and not ignored else "ok", sentence

    full = sum(state.exists and not state.empty for state in states.values())
    taken, there = sum(t.different_there for t in tables), sum(t.already_there for t in tables)
    streams = sum(state.has_stream for state in states.values())
    sentence = "No target table holds items."
    if full:
        equal = f"{there:,} equal to what would be inserted, {taken:,} different under the same key"
        sentence = f"{_said(full, 'table holds', 'tables hold')} items: {equal}. None is touched."
    if streams:
        sentence += f" {_said(streams, 'table has a stream', 'tables have streams')} that will see the inserts."
    yield "target contents", "look" if full or streams else "ok", sentence

    estimate = duration(analysis.estimated_seconds)
    yield "cost, duration", "ok", f"{analysis.write_units:,} write units, indexes included; about {estimate}."
