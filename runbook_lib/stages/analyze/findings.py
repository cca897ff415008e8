"""What the figures of the walk mean for the go/no-go list: a check for each fact, made once. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from ...discover.references import Finding
from ...mapping.model import INSERT
from ...verdict import FAIL, REVIEW, alerts_of_counts, plural, unrouted_alert
from ...walk import ledger
from ...walk.plan import Plan
from .. import expiry, references
from ..matching import CORRECT, STOP
from . import names
from .analysis import Analysis, EntryAnalysis
from .checks import NOTE, Check, from_alert

TOO_LARGE = "the target item is "  # how the reason begins where an item is above 400 KB


def walk_checks(plan: Plan, analysis: Analysis) -> list[Check]:
    """The checks on both sides' items. Of each kind there is at least one, also where all is well."""
    return [*_sources(plan, analysis), *_targets(plan, analysis), *_items(plan, analysis)]


def _sources(plan: Plan, analysis: Analysis) -> Iterator[Check]:
    many = "entry" if len(analysis.tables) == 1 else "entries"
    read = f"{plural(analysis.records, 'item')} of {len(analysis.tables)} {many} read to the last page"
    yield _well("source", "access", analysis.records, read)
    empty = [name for name, route in plan.routes.items() if not analysis.sources[route.entry.source].items]
    for name in empty:
        message = "the source table is empty, so nothing of this entry is proved"
        if plan.routes[name].entry.model.accept.empty:
            yield Check("source", name, "empty", 0, None, "", "", f"{message}; the mapping accepts it")
        else:
            action = "Check that this is the right table; `accept: {empty: true}` in the mapping says that it may be."
            yield Check("source", name, "empty", 0, None, REVIEW, action, message)
    if not empty:
        yield _well("source", "empty", len(analysis.sources), "every source table has items")
    yield from _expired(plan, analysis)


def _expired(plan: Plan, analysis: Analysis) -> Iterator[Check]:
    blind = [name for name, about in analysis.sources.items() if not about.ttl_known]
    gone = {name: table.expired for name, table in analysis.tables.items() if table.expired}
    for name, number in gone.items():
        message = f"{plural(number, 'item')} whose time to live is over"
        action = "They are copied like all others; where the target's table has a time to live too, DynamoDB deletes them there."
        if analysis.tables[name].skipped:
            message += f" (as of {plan.expiry.moment})"
            action = "They are left out, as `expired: skip` in the mapping says."
        yield Check("source", name, "expired", number, None, NOTE, action, message)
    powerless = expiry.alerts(plan.mapping.entries, plan.routes, plan.expiry)
    yield from (from_alert(alert, "expired", None) for alert in powerless)
    if not gone and not powerless and len(blind) < len(analysis.sources):
        yield _well("source", "expired", 0, "no item's time to live is over")


def _targets(plan: Plan, analysis: Analysis) -> Iterator[Check]:
    states = analysis.targets
    for target, state in states.items():
        creatable = any(r.entry.model.create for r in plan.routes.values() if r.entry.target == target)
        if state.exists:
            continue
        if creatable:
            action = "02_test creates it before it tests; so do `runbook create-tables` and `full-migration`."
            message = "the target table does not exist yet; the mapping says how to create it"
            yield Check("target", target, "table", None, None, NOTE, action, message)
        else:
            action = "Deploy it, or describe it under `create` in the mapping."
            yield Check("target", target, "table", None, "exists", FAIL, action, "the target table does not exist")
    existing = sum(state.exists for state in states.values())
    if existing:
        yield _well("target", "table", existing, f"{plural(existing, 'target table')} there already")
    full = [target for target, state in states.items() if state.exists and not state.empty]
    for target in full:
        message = "already holds items; none of them will be touched"
        yield Check("target", target, "contents", "items", None, NOTE, "Nothing to do.", message)
    if not full:
        yield _well("target", "contents", 0, "no target table holds items")


def _items(plan: Plan, analysis: Analysis) -> Iterator[Check]:
    found: dict[str, list[Check]] = {what: [] for what in WELL}
    for name, table in analysis.tables.items():
        for what, check in _of_entry(plan, name, table):
            found[what].append(check)
    unrouted = sum(analysis.unrouted.values())
    if unrouted and plan.mapping.ignore_unrouted:
        message = f"{plural(unrouted, 'source item')} that no entry selects, which the mapping ignores"
        found["unrouted"].append(_well("source", "unrouted", unrouted, message))
    elif unrouted:
        found["unrouted"].append(from_alert(unrouted_alert(unrouted), "unrouted", unrouted))
    for what, checks in found.items():
        yield from checks or [_well("source", what, 0, WELL[what])]


WELL = {
    "quarantine": "every value fits",
    "size": "every target item is within DynamoDB's 400 KB",
    "conflict": "no target key is taken by another item",
    "collision": "no two ids become one",
    "dangling": "every reference names an item of the source",
    "unreadable": "every declared reference is readable",
    "several": "no reference is to an id that several entries have",
    "unrouted": "every item has an entry",
}  # what -> how it is said where nothing is wrong


def mapping_checks(plan: Plan, analysis: Analysis) -> list[Check]:
    """What the mapping's names and rules do to the data: names that nothing has, conversions that fell back, lost values."""
    named = names.alerts(analysis.unmatched)
    found = [from_alert(alert, "names", None) for alert in named]
    for name, table in analysis.tables.items():
        accepted = plan.routes[name].entry.model.accept.unmatched
        kept = ledger.alerts(name, table.ledger, table.fell_back, table.valued, accepted)
        found += [from_alert(alert, "ledger", None) for alert in kept]
        unneeded = (
            {*accepted} - {one.name for one in analysis.unmatched} - table.fell_back.keys() if table.records else ()
        )
        for one in sorted(unneeded):
            message = f"`accept: {{unmatched: […]}}` names {one}, and nothing of that name is unmatched"
            found.append(Check("source", name, "names", None, None, NOTE, "Correct it there, or remove it.", message))
    found += [Check("source", one.table, "names", None, None, NOTE, one.action, one.said) for one in analysis.doubts]
    found += [*_kept(plan, analysis), *_shared(plan, analysis)]
    found += [] if named else [_well("source", "names", 0, "items have every name that the mapping uses")]
    whats = {check.what for check in found}
    return found if "ledger" in whats else [*found, _well("target", "ledger", 0, "every attribute is accounted for")]


def match_checks(plan: Plan, analysis: Analysis) -> list[Check]:
    """What the target has already of the entries that say `match`, chosen or not; none where no entry says it."""
    checks: list[Check] = []
    for name, about in analysis.matches.items():
        checks += _matched(name, about)
    said = [name for name, about in analysis.matches.items() if not about["matched"] and not about["ambiguous"]]
    if said and not checks:
        checks.append(_well("target", "match", 0, "the target has no item that a source item equals"))
    return checks


def _matched(name: str, about: Mapping[str, Any]) -> Iterator[Check]:
    by, number, doubtful = ", ".join(about["by"]), about["matched"], about["ambiguous"]
    if about["found"] == STOP and number + doubtful:
        message = (
            f"the target has {plural(number + doubtful, 'source item')} already, by {by}, and the mapping says stop"
        )
        action = "02 and 03 will be refused. Correct the items, or choose reuse or insert."
        yield Check("target", name, "match", number + doubtful, 0, FAIL, action, message)
        return
    if number:
        message = f"the target has {plural(number, 'item')} already, by {by}: not written again, and references follow"
        if about["found"] == INSERT:
            beside = f"{plural(number, 'item')} will be inserted beside"
            message = f"the target has {plural(number, 'item')} already, by {by}: {beside}"
        yield Check("target", name, "match", number, None, NOTE, "Nothing to do, if that is meant.", message)
    if doubtful:
        message = (
            f"{plural(doubtful, 'item')} ambiguous by {by}: which of the target's items is the same cannot be told"
        )
        action = f"See matches.jsonl. {CORRECT}; else they are inserted."
        yield Check("target", name, "match", doubtful, 0, REVIEW, action, message)
    if near := about["nearly"]:
        message = (
            f"{plural(near, 'item')} nearly the same by {by}: only the case of letters or blanks around texts differ"
        )
        action = "Correct them on one side, if they are to count as the same."
        yield Check("target", name, "match", near, None, NOTE, action, message)


def _kept(plan: Plan, analysis: Analysis) -> Iterator[Check]:
    """A note on each entry that keeps its ids, or on all of them together: by mistake it looks the same.

    Where the mapping says `id_format: keep` of every entry, that is a decision: a line, but no note.
    """
    keeping = [route.entry for route in plan.routes.values() if not route.entry.model.makes_ids]
    action = "Nothing to do, if that is meant; else correct `id_format` or `id`."
    if not any(entry.model.renews_ids for entry in plan.mapping.entries.values()):
        message = "no entry renews ids: all items keep theirs, and those inside keys, texts and references stay too"
        is_said = all(entry.model.id for entry in keeping)
        yield Check("target", "", "ids", "kept", None, "" if is_said else NOTE, "" if is_said else action, message)
        return
    parents = sum((table.parents for table in analysis.tables.values()), Counter())
    for name, model in [(entry.name, entry.model) for entry in keeping]:
        rewritten = {steps[0] for steps in plan.routes[name].entry.paths.values()}
        if not model.id and rewritten >= {attribute for attribute, _ in plan.routes[name].shape.source_key}:
            continue  # its key is made of references, which become new
        message = "the items keep their ids" if model.id else "no id attribute: ids inside its items' keys stay"
        if not model.id and rewritten:
            message = "no ids of its own: only the ids of other entries inside its items are renewed"
        if number := sum(found for (_, parent), found in parents.items() if parent == name):
            message += f", and so does what refers to them ({plural(number, 'reference')})"
        if model.reuses and model.id:
            message += ", unless the target has them already under others"
        yield Check("target", name, "ids", "kept", None, NOTE, action, message)


def _shared(plan: Plan, analysis: Analysis) -> Iterator[Check]:
    """A check on each entry whose ids are those of another one: two halves of one thing would get different ids."""
    for one in analysis.shared_ids:
        message = f"{one.found:,} of {plural(one.values, 'id')} at {one.path} are ids of {one.to}, too; each gets its own new one"
        if one.path in plan.routes[one.table].entry.model.not_references:
            yield Check("source", one.table, "ids", one.found, None, NOTE, "The mapping accepts it.", message)
            continue
        action = (
            f"If they are the same ids, make one entry's a reference: in {one.table} `id: null` and, under `references`, "
            f"`{one.line}`, and let what refers to {one.table} refer to {one.to}. Or keep both (`id_format: keep`). "
            f"Else list `{one.path}` under `not_references` of {one.table}."
        )
        yield Check("source", one.table, "ids", one.found, 0, REVIEW, action, message)


def undeclared_checks(analysis: Analysis) -> list[Check]:
    """One check for each path whose values are ids that no rule rewrites."""
    by_path: dict[tuple[str, str], list[Finding]] = {}
    for one in analysis.undeclared:
        by_path.setdefault((one.table, one.path), []).append(one)
    checks = [_undeclared(table, path, several) for (table, path), several in by_path.items()]
    return checks or [_well("source", "undeclared", 0, "no value that stays is an id of an entry that gets new ones")]


def _undeclared(table: str, path: str, several: list[Finding]) -> Check:
    first, more = several[0], len(several) - 1
    certain = first.is_certain
    to = first.to if not more else f"{first.to} and {plural(more, 'other')}"
    same = [one for one in several if one.found == first.found > first.values / 2]
    if len(same) > 1:  # more than half of the values are ids of each: the entries have the same ids
        to = " and of ".join(one.to for one in same)
    said = ("is an id" if certain else "may be an id") if first.found == 1 else ("are ids" if certain else "may be ids")
    message = f"{path}: {first.found:,} of {plural(first.values, 'value')} {said} of {to}"
    message += f", but the mapping says {first.declared}" if first.declared else ", and no rule rewrites them"
    paste = "The mapping language cannot say this path or pattern: change it in the source, or by hand afterwards"
    if first.line:
        paste = f"Add `{first.line}` under `references`"
    elif not certain:
        paste = "Look at the values: if they are ids, write a template that says which is which, or change them in the source"
    if len(same) > 1 and first.line:
        paste = f"Add {' or '.join(f'`{one.line}`' for one in same)} under `references`, whichever is meant"
    paste = f"Declare it under `references` of {first.record}, whose record it is" if first.record else paste
    action = f"{paste}; or list `{path}` under `not_references`."
    return Check("source", table, "undeclared", first.found, 0, REVIEW if certain else NOTE, action, message)


def _of_entry(plan: Plan, name: str, table: EntryAnalysis) -> Iterator[tuple[str, Check]]:
    """What is wrong with an entry's items."""
    model = plan.routes[name].entry.model
    conflicts = table.losers + table.different_there
    for what, key, number in (("quarantine", "quarantined", table.quarantined), ("conflict", "conflicts", conflicts)):
        for alert in alerts_of_counts({name: {key: number, "scanned": number}}, 0, True):
            yield what, from_alert(alert, what, number)
    entry = plan.mapping.entries[name]
    for alert in references.alerts(entry, table.dangling, {}, {}):
        yield "dangling", from_alert(alert, "dangling", dict(table.dangling))
    for alert in references.alerts(entry, {}, {}, table.several):
        yield "several", from_alert(alert, "several", dict(table.several))
    for alert in references.alerts(entry, {}, table.unreadable, {}):
        yield "unreadable", from_alert(alert, "unreadable", dict(table.unreadable))
    if stopping := [path for path in table.dangling if model.references[path].dangling == "stop"]:
        message = f"dangling references at {', '.join(stopping)}, where the mapping says stop"
        action = "Migrate the parents, or choose map, keep or null."
        yield "dangling", Check("source", name, "dangling", stopping, None, FAIL, action, message)
    if table.collisions:
        message = f"{plural(table.collisions, 'target key')} collide"
        yield "collision", Check("source", name, "collision", table.collisions, 0, FAIL, "Change id_format.", message)
    rules = (model.fields or {}).values()
    stops = {rule.origin for rule in rules if rule.on_error == "stop"}
    if any(attribute in stops for attribute, _ in table.reasons):
        message = "a value does not convert, where the mapping says stop"
        yield "quarantine", Check("source", name, "quarantine", None, None, FAIL, "See quarantine.jsonl.", message)
    if large := sum(number for (_, reason), number in table.reasons.items() if reason.startswith(TOO_LARGE)):
        message = f"{plural(large, 'item')} larger than the 400 KB that DynamoDB takes"
        action = "They are among the quarantined. Make them smaller in the source, or drop attributes."
        yield "size", Check("source", name, "size", large, 0, REVIEW, action, message)


def _well(side: str, what: str, found: Any, message: str) -> Check:
    return Check(side, "", what, found, None, "", "", message)
