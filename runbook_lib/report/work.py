"""What was done, as HTML: tables created, a test, a migration and its progress, an undo."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ..mapping.model import Mapping
from ..stages.migrate.migrate import Migration
from ..stages.rollback.drop_tables import TableDeletion
from ..stages.rollback.restore import COPY, NOT_CARRIED_OVER, Restored
from ..stages.rollback.undo import Preview, Undone
from ..stages.test.canary import Canary, Created, Pair
from ..values import equal
from ..verdict import plural
from ..walk.plan import Plan
from . import figures
from .drawing.html import (
    TICK,
    Html,
    chip,
    details,
    duration,
    flagged,
    heading,
    mono,
    muted,
    note,
    number,
    quiet,
    sorted_by,
    table,
)
from .samples import LEGEND, changes, changes_table, key_tag, masked

PAIRS = 6  # of a test that are shown in full
FEW = 6  # rows of a list that stand open; more unfold
KEPT = 20  # items that an undo left alone that are listed


def created(tables: Sequence[Created]) -> Html:
    """The target tables that were created."""
    if not tables:
        return note("Every target table exists; none was created.", "good")
    rows = [[made.entry, made.table, sorted_by(duration(made.seconds), made.seconds)] for made in tables]
    slowest = duration(max(made.seconds for made in tables))
    said = f"{plural(len(rows), 'table')} created, the last one active after {slowest}"
    return _folded(said, rows, table(["entry", "created table", "until active"], rows, align="llr"))


def canary(result: Canary, mapping: Mapping | None = None) -> Html:
    """Source and target, item by item, and the undo. With `mapping` it names the rules exactly."""
    unequal = [pair for pair in result.pairs if not pair.equal]
    asked = f"{plural(result.limit, 'item')} of {result.table} requested; with everything they refer to"
    equals = f"{len(result.pairs) - len(unequal):,} equal in the target"
    blocks = [note(f"{asked}: {plural(len(result.pairs), 'item')}, {equals}.", "bad" if result.wrong else "good")]
    blocks.append(_canary_counts(result))
    if matched := result.closure.matched:
        whose = ", ".join(sorted({one.entry for one in matched}))
        said = f"{plural(len(matched), 'item')} of {whose} not inserted: the target has them, and what refers to them"
        blocks.append(note(f"{said} has the ids of the target's items.", "good"))
    if result.closure.cut:
        cut = plural(len(result.closure.cut), "reference")
        blocks.append(note(f"{cut} not followed: the test has reached its limit of items.", "look"))
    if result.closure.dangling:
        dangling = plural(result.closure.dangling, "reference")
        blocks.append(note(f"{dangling} to items that are not in the source.", "look"))
    first = sorted(result.pairs, key=lambda pair: (pair.equal, pair.row.entry != result.table))
    blocks.append(heading(f"Source and target, {min(PAIRS, len(first))} of {len(first):,} items"))
    blocks.append(note(muted(LEGEND)))
    blocks += [_pair(pair, mapping, open_=index < 2 or not pair.equal) for index, pair in enumerate(first[:PAIRS])]
    blocks.append(heading("Afterwards"))
    if result.undone is None:
        blocks.append(note("Kept in the target, as requested; the migration counts them as already there.", "look"))
    else:
        blocks.append(undone(result.undone))
    return Html("").join(blocks)


def _canary_counts(result: Canary) -> Html:
    rows = []
    for name, counts in sorted(result.state.tables.items()):
        pairs = [pair for pair in result.pairs if pair.row.entry == name]
        equals = sum(pair.equal for pair in pairs)
        rows.append(
            [
                name,
                len(pairs),
                counts["inserted"],
                counts["already_there"],
                flagged(counts["conflicts"]),
                flagged(counts["failed"], "bad"),
                equals,
                flagged(len(pairs) - equals, "bad"),
            ]
        )
    columns = ("entry", "items", "inserted", "already there", "conflicts", "failed", "equal", "not equal")
    return table(columns, rows, align="lrrrrrrr")


def _pair(pair: Pair, mapping: Mapping | None, open_: bool) -> Html:
    state = chip("equal", "good") if pair.equal else chip("not equal" if pair.found else "not found", "bad")
    item = muted(f"item #{key_tag(pair.row.source_key)}")
    title = Html("<b>{}</b> {} {}").format(pair.row.entry, item, state)
    entry = mapping.entries.get(pair.row.entry) if mapping else None
    sides = ("source", "target" if pair.equal else "target should be")
    body = changes_table(changes(pair.source, pair.row, entry), sides)
    if not pair.equal and pair.found is not None:
        wanted, found = pair.row.item, pair.found
        names = sorted(n for n in wanted.keys() | found.keys() if not equal(wanted.get(n), found.get(n)))
        rows = [[name, masked(wanted.get(name)), masked(found.get(name))] for name in names]
        differs = table(["attribute", "should be", "is"], rows, align="lvv", caption="Not as expected")
        body = differs + body
    return details(title, body, open=open_)


def counts(result: Migration) -> Html:
    """Where the items of a migration went: all of them as a flow, and each entry's as bars."""
    return figures.flow(result) + Html("<div>{}</div>").format(figures.counts(result.state.tables))


def migration(result: Migration) -> Html:
    """The counts, and for each entry whether they add up."""
    state = result.state
    rare = tuple(name for name in ("expired", "matched") if any(counts[name] for counts in state.tables.values()))
    columns = ("entry", "scanned", "inserted", "already there", "conflicts", "quarantined", "failed", *rare, "adds up")
    names = ("scanned", "inserted", "already_there", "conflicts", "quarantined", "failed", *rare)
    tones = (None, None, None, "look", "look", "bad", *(None for _ in rare))
    rows, marks = [], []
    sums = dict.fromkeys(names, 0)
    for entry, counts in sorted(state.tables.items()):
        values = [counts[name] for name in names]
        for name, value in zip(names, values, strict=True):
            sums[name] += value
        cells = [flagged(value, tone) if tone else number(value) for value, tone in zip(values, tones, strict=True)]
        off = values[0] - sum(values[1:])
        rows.append([entry, *cells, _tick(off)])
        marks.append("bad" if off or counts["failed"] else None)
    totals = list(sums.values())
    foot = [f"{len(rows)} in all", *totals, _tick(totals[0] - sum(totals[1:]))]
    equation = (
        f"{totals[0]:,} scanned = {totals[1]:,} inserted + {totals[2]:,} already there + {plural(totals[3], 'conflict')} "
        f"+ {totals[4]:,} quarantined + {totals[5]:,} failed"
    ) + "".join(f" + {value:,} {name}" for name, value in zip(rare, totals[6:], strict=True))
    off = totals[0] - sum(totals[1:])
    line = note(Html("{} {}").format(equation, _tick(off)), "bad" if off else "good")
    singly: Counter = Counter()
    for reasons in (result.journal.singly() if result.journal else {}).values():
        singly.update(reasons)
    for reason, items in singly.items():
        line += note(muted(f"{plural(items, 'item')} inserted by single requests, not in batches: {reason}."))
    if state.unrouted:
        read = f"{plural(totals[0] + state.unrouted, 'source item')} read"
        line += note(f"{read}; no entry selects {state.unrouted:,} of them, which are not counted here.", "look")
    if state.rolled_back or state.rolling_back:
        left = f"{state.undone['kept_edited']:,} kept, {state.undone['not_found']:,} not found"
        how = "Rolled back" if state.rolled_back else "The undo started and is not complete"
        line += note(f"{how}: {state.undone['deleted']:,} deleted again, {left}.", "look")
    return line + table(columns, rows, align="l" + "r" * len(names) + "c", foot=foot, marks=marks)


def _tick(off: int) -> Html:
    return chip(f"✗ {off:+,}", "bad") if off else TICK


def preview(result: Preview) -> Html:
    """The items that an undo would look at, and what was accepted before."""
    accepted = Html("").join(note(f"Accepted: {sentence}.", "look") for sentence in result.changed)
    if not result.entries and not result.unknown:
        return accepted + note(
            "There is nothing to undo: this stage inserted nothing, or everything is undone already.", "good"
        )
    rows, body = sorted(result.entries.items()), accepted
    if rows:
        items = sum(result.entries.values())
        said = f"{plural(items, 'item')} of {plural(len(rows), 'entry', 'entries')}, inserted by this run"
        listed = table(["entry", "inserted by this run"], rows, align="lr", foot=["in all", items])
        body += _folded(said, rows, listed)
    if result.unknown:
        announced = plural(sum(result.unknown.values()), "insert")
        body += note(f"{announced} announced without a result: the undo looks each of them up.", "look")
    why = "The undo deletes an item only if it is still exactly as inserted. An item that was edited since stays and is listed."
    return body + note(muted(why))


def undone(result: Undone) -> Html:
    """What an undo deleted, and what it kept."""
    counts = [["deleted", result.deleted], ["kept: edited since", flagged(result.kept_edited)]]
    body = table(["undo", "items"], [*counts, ["no longer found", flagged(result.not_found)]], align="lr")
    if result.kept:
        tags = [f"#{key_tag(k.get('target_key', k['key']))}" for k in result.kept]
        changes = [_changes(k.get("differences", ())) for k in result.kept]
        rows = [[k["table"], tag, what, k["reason"]] for k, tag, what in zip(result.kept, tags, changes, strict=True)]
        columns = ("entry", "target key", "attribute (was → is)", "why it stays")
        body += table(columns, rows, align="llww", limit=KEPT, caption="Left alone, for review")
        body += muted("All of them are in kept.jsonl.")
    if others := result.others():
        body += note(f"Items of others, not touched: {others}.")
    return body


def _changes(differences: Sequence[dict]) -> str:
    """The attributes that differ, with their types."""
    kinds = ["another value" if d["was"] == d["is"] else f"{d['was']} → {d['is']}" for d in differences]
    pairs = zip(differences, kinds, strict=True)
    return ", ".join(f"{d['attribute']} ({kind})" for d, kind in pairs) or "not known"


def held_back(found: Sequence[dict]) -> Html:
    """What slowed a stage down or failed and was tried again, from its report, longest first; empty where nothing did."""
    if not found:
        return Html("")
    rows = [
        [
            one["table"] or "all tables",
            one["reason"],
            flagged(one["refused"]),
            sorted_by(duration(one["seconds"]), one["seconds"]) if one["seconds"] else quiet("·"),
        ]
        for one in found
    ]
    lead = "Requests waited or were sent again; nothing is lost. Waited: the time in which at least one request did."
    held = table(["table", "because of", "sent again", "waited"], rows, align="lwrr")
    return heading("What slowed it down") + note(lead) + held


def plan(result: Plan) -> Html:
    """Which entry goes from where to where, parents first; a long list is open where a target table is missing."""
    levels = result.mapping.levels()
    rows = []
    for name in sorted(result.routes, key=lambda entry: (levels[entry], entry)):
        entry = result.routes[name].entry
        tables = Html("{} → {}").format(mono(entry.source), mono(entry.target))
        items = result.source_tables[entry.source].items
        rows.append([number(levels[name]), name, tables, number(items), _state(result.target_tables[entry.target])])
    targets = {route.entry.target for route in result.routes.values()}
    missing = sum(result.target_tables[name] is None for name in targets)
    said = f"{plural(len(rows), 'entry', 'entries')}, {plural(len(targets), 'table')}"
    if (depth := len({levels[name] for name in result.routes})) > 1:
        said += f", parents before children in {depth} levels"
    if missing:
        said += f"; {plural(missing, 'target table')} missing"
    head = ["level", "entry", "source table → target table", "items in the source table", "target"]
    return _folded(said, rows, table(head, rows, align="rlwrl"), open=bool(missing))


def _state(target: Any) -> Html:
    return chip("missing", "bad") if target is None else chip("there", "good")


def backups(found: dict[str, dict[str, Any]]) -> Html:
    """The backup of each target table before the first insert."""
    if not found:
        return note("No backup is needed: the target is not marked as production, or none of its tables exists yet.")
    says = {
        "point_in_time": ("good", "point-in-time recovery is on"),
        "on_demand": ("good", "an on-demand backup is taken before the first insert"),
        "waived": ("look", "none: target.backup says waived"),
        "not_available": ("look", "none: not available here, because the engine has no backups"),
    }
    rows, kinds = [], Counter()
    for name, about in found.items():
        tone, words = says[about["kind"]]
        kinds[words] += 1
        rows.append([mono(name), chip(about["kind"].replace("_", " "), tone), about["arn"] or words])
    listed = table(["target table", "backup", "what it is"], rows, align="llw")
    said = "; ".join(f"{plural(count, 'table')}: {words}" for words, count in kinds.items())
    return _folded(said, rows, listed)


def _folded(said: str, rows: Sequence[object], listed: Html, *, open: bool = False) -> Html:
    """The list, under a line that unfolds where it has more than FEW rows."""
    return details(said, listed, open=open) if len(rows) > FEW else listed


def restored(result: Restored) -> Html:
    """What a restore did, and what it does not do."""
    if result.kind == COPY:
        counts = {"in the backup": result.items, "copied back": result.inserted, "equal already": result.equal}
        rows = [*counts.items(), ["different, left as they are", flagged(result.different)]]
        body = table([f"into {result.table}", "items"], rows, align="lr")
        return body + note("Nothing that the target held was overwritten or deleted.")
    line = note(f"{result.source} was restored into the new table {result.table}, {plural(result.items, 'item')}.")
    lacks = f"A restore is not an undo: the old table is unchanged. The new one lacks: {', '.join(NOT_CARRIED_OVER)}."
    lacks += " AWS restores into the table class Standard, whatever the class of the old one."
    return line + note(lacks, "look")


def deletions(results: Sequence[TableDeletion]) -> Html:
    """The results for the tables to delete."""
    rows = [
        [mono(result.table), chip("deleted", "good") if result.deleted else chip("left", "look"), result.reason]
        for result in results
    ]
    return table(["table", "result", "why"], rows, align="llw")
