"""An analysis as HTML: contents, references, and the outlook for each item."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..discover.distinct import ERROR, KEPT
from ..stages.analyze.analysis import Analysis, EntryAnalysis
from ..verdict import FAIL, plural
from .drawing.html import ACCENT, LINE, Html, chip, details, flagged, muted, note, number, quiet, size, sorted_by, table
from .drawing.reference_map import draw_map
from .frames import AnalysisFrames

if TYPE_CHECKING:
    import pandas

OPEN = 2  # entries that are unfolded in a profile
RARE = (
    "expired",
    "matched",
    "quarantined",
    "conflicts",
    "already there",
    "references",
    "dangling",
)  # figures that are often 0
Edge = tuple[str, str | None, int, int]  # child, parent (None: none could be told), references, dangling


def conflicts(entry: EntryAnalysis) -> int:
    """Items that will not be written because another item has, or gets, their target key."""
    return entry.losers + entry.different_there


def overview(analysis: Analysis) -> Html:
    """One row an entry, by level, with a row of totals; a figure that is 0 everywhere has no column."""
    tables = analysis.tables.values()
    differ = any(t.routed != t.records for t in tables)
    rows = [
        [
            level(analysis, name),
            name,
            t.records,
            *([t.routed] if differ else []),
            t.skipped,
            t.matched,
            flagged(t.quarantined),
            flagged(conflicts(t)),
            t.already_there,
            t.references.total(),
            flagged(t.dangling.total()),
            t.write_units,
            size(t.bytes),
        ]
        for name, t in analysis.ordered()
    ]
    foot = [
        "",
        f"{len(rows)} in all",
        analysis.records,
        *([sum(t.routed for t in tables)] if differ else []),
        sum(t.skipped for t in tables),
        sum(t.matched for t in tables),
        sum(t.quarantined for t in tables),
        sum(conflicts(t) for t in tables),
        sum(t.already_there for t in tables),
        analysis.relationships,
        analysis.dangling,
        analysis.write_units,
        size(sum(t.bytes for t in tables)),
    ]
    columns = ("level", "entry", "records", *(["routed"] if differ else []), *RARE, "write units", "size")
    said = Html("") if differ else note("Every record makes an item of the target.")
    return said + table(columns, rows, align="cl" + "r" * (len(columns) - 2), foot=foot, rare=RARE)


def level(analysis: Analysis, name: str) -> Html:
    """An entry's level, in a quiet colour."""
    return quiet(str(analysis.levels.get(name, "")))


def profile_html(analysis: Analysis, entries: Iterable[str] | None = None) -> Html:
    """A row an entry, then every entry's attributes behind a line that unfolds."""
    chosen = analysis.ordered(entries)
    attributes = AnalysisFrames(analysis).attributes
    attributes["partly"] = attributes["share"] < 1
    sums = attributes.groupby("entry")[["mixed", "partly", "empty"]].sum()
    rows = []
    for name, t in chosen:
        special = {x for a in t.profile.values() for x in a.types} & {"SS", "NS", "BS", "B"}
        mixed, partly, empty = map(int, sums.loc[name]) if t.profile else (0, 0, 0)
        counts = [t.records, len(t.profile), flagged(mixed), number(partly), empty]
        rows.append([level(analysis, name), name, *counts, " ".join(sorted(special)) or quiet("·")])
    names = [name for name, _ in chosen]
    shown = attributes[attributes["entry"].isin(names)]
    counts = sum(t.records for _, t in chosen), len(shown), int(shown["mixed"].sum())
    foot = ["", f"{len(rows)} in all", *counts, *[""] * 3]
    columns = ["level", "entry", "records", "attributes"]
    columns += ["of mixed type", "not in every item", "empty values", "sets, binary"]
    blocks = [table(columns, rows, align="clrrrrrl", foot=foot)]
    lead = f"Distinct: how many different values. Exact below {KEPT}; ≈ is an estimate, usually within {ERROR:.0%}."
    blocks.append(note(muted(lead)))
    opened = 0
    for name, t in chosen:
        mine = shown[shown["entry"] == name]
        mixed = int(mine["mixed"].sum())
        unfold = bool(mixed) and opened < OPEN
        opened += unfold
        said = f"{plural(len(mine), 'attribute')} in {plural(t.records, 'item')}"
        flag = chip(f"{mixed} of mixed type", "look") if mixed else ""
        title = Html("<b>{}</b> {} {}").format(name, muted(said), flag)
        blocks.append(details(title, _attribute_table(mine), open=unfold))
    return Html("").join(blocks)


def _attribute_table(attributes: "pandas.DataFrame") -> Html:
    rows, marks = [], []
    for one in attributes.itertuples():
        marks.append("look" if one.mixed else None)
        kinds, lengths = chip(one.types, "look") if one.mixed else one.types, _lengths(one.shortest, one.longest)
        rows.append([one.attribute, one.items, _share(one.share), kinds, one.empty, _distinct(one), lengths])
    return table(
        ["attribute", "items", "present", "types", "empty", "distinct", "length"], rows, align="lrrlrrr", marks=marks
    )


def _distinct(attribute: Any) -> Html:
    """The number of different values: quiet where all differ, with ≈ where it is an estimate."""
    if not attribute.exact:
        return f"≈ {attribute.distinct:,}"
    return quiet(f"{attribute.distinct:,}") if attribute.distinct == attribute.items else f"{attribute.distinct:,}"


def _share(share: float) -> Html:
    """A percentage with a small bar; quiet at 100 %."""
    if share >= 1:
        return quiet("100 %")
    percent = 100 * share
    full = max(2, round(percent * 0.4))
    style = f"width:{40 - full}px;background:{LINE};border-left:{full}px solid {ACCENT}"
    bar = Html('<span style="display:inline-block;height:6px;margin:0 6px 1px 0;{}"></span>').format(style)
    return sorted_by(bar + ("<1 %" if percent < 1 else f"{percent:.0f} %"), percent)


def _lengths(shortest: Any, longest: Any) -> Html | str:
    if not isinstance(longest, int):  # pandas.NA
        return quiet("–")
    if shortest == longest:
        return f"{longest:,}"
    return sorted_by(f"{shortest:,} – {longest:,}", longest)


def references(analysis: Analysis) -> Html:
    """One row for each entry, path and parent."""
    rows, marks = [], []
    for name, t in analysis.ordered():
        for path in sorted({*t.references, *t.dangling, *t.unreadable}):
            parents = {parent: count for (p, parent), count in t.parents.items() if p == path}
            open_ = t.dangling[path], t.unreadable[path]
            rows.append([name, path, _parents(parents), t.references[path], *map(flagged, open_)])
            marks.append("look" if any(open_) else None)
    if not rows:
        return note("The mapping declares no references, or no item has one.")
    all_ = analysis.tables.values()
    foot = ["in all", "", "", analysis.relationships, analysis.dangling, sum(t.unreadable.total() for t in all_)]
    columns = ("entry", "path", "refers to", "references", "dangling", "unreadable")
    return table(columns, rows, align="llwrrr", foot=foot, marks=marks)


def _parents(parents: dict[str, int]) -> object:
    if len(parents) == 1:
        return next(iter(parents))
    each = " · ".join(f"{parent} {count:,}" for parent, count in sorted(parents.items()))
    return details(f"{len(parents)} tables", each) if parents else quiet("no table")


def reference_map(analysis: Analysis) -> Html:
    """What refers to what, as a picture: entries by level, arrows with the number of references."""
    return draw_map(analysis.levels, edges(analysis), analysis.records_by_entry)


def edges(analysis: Analysis) -> list[Edge]:
    """(child, parent, references, dangling) for the map; parent None: a path to several tables."""
    found = AnalysisFrames(analysis).references
    found = found[found["to"].notna() | (found["dangling"] > 0)]
    sums = found.groupby(["entry", "to"], dropna=False, sort=False)[["references", "dangling"]].sum()
    return [
        (child, parent if isinstance(parent, str) else None, int(references), int(dangling))
        for (child, parent), references, dangling in sums.itertuples()
    ]


def targets(analysis: Analysis) -> Html:
    """The target tables as they are before the migration."""
    refused = {alert.table for alert in analysis.alerts if alert.level == FAIL}
    rows, marks = [], []
    for name, state in sorted(analysis.targets.items()):
        missing = chip("missing", "bad") if name in refused else chip("to be created", "accent")
        differences = chip("differs", "bad") + " " + "; ".join(state.differences)
        rows.append(
            [
                name,
                "exists" if state.exists else missing,
                "–" if not state.exists else quiet("empty") if state.empty else chip("holds items", "look"),
                differences if state.differences else quiet("as described") if state.exists else quiet("–"),
                chip("has a stream", "look") if state.has_stream else quiet("–"),
            ]
        )
        marks.append("bad" if name in refused or state.differences else None)
    return table(["target table", "state", "contents", "structure", "stream"], rows, align="lllwl", marks=marks)


def quarantine(analysis: Analysis) -> Html:
    """The items that would not be written, by reason: quarantined, in conflict, expired, unrouted."""
    rows = [
        [name, attribute or muted("the whole item"), reason, count]
        for name, t in analysis.ordered()
        for (attribute, reason), count in sorted(t.reasons.items())
    ]
    for name, t in analysis.ordered():
        held = {"another source item makes the same key": t.losers, "the target's item is different": t.different_there}
        rows += [[name, muted("the key"), f"conflict: {why}", count] for why, count in held.items() if count]
    rows += [[n, muted("the whole item"), "expired: left out", t.skipped] for n, t in analysis.ordered() if t.skipped]
    rows += [
        [n, muted("the whole item"), "matched: the target has it", t.matched]
        for n, t in analysis.ordered()
        if t.matched
    ]
    rows += [[source, muted("the whole item"), "no entry selects it", n] for source, n in analysis.unrouted.items()]
    if not rows:
        return note("Every item would be written.", "good")
    foot = ["in all", "", "", sum(row[-1] for row in rows)]
    return table(["entry", "attribute", "reason", "items"], rows, align="llwr", foot=foot)


def costs(analysis: Analysis) -> Html:
    """What each stage takes, in units and at list price."""
    rows = [
        [stage, cost.read_units, cost.write_units, f"${cost.usd:,.4f}" if cost.usd else quiet("–")]
        for stage, cost in analysis.costs.items()
    ]
    found = analysis.costs.values()
    total = sum(cost.usd for cost in found)
    foot = ["in all", sum(c.read_units for c in found), sum(c.write_units for c in found), f"${total:,.4f}"]
    prices = analysis.prices
    said = (
        f"List price of {prices.region}, {prices.date} ({prices.source}; {prices.file}): without tax, reserved capacity "
        "and free tier. Provisioned tables give their units without extra money. Reads are strongly consistent. Replicas "
        "take every write again. Not included: the few items of 02, the queries of 04, retries."
    )
    if prices.source_region != prices.region:
        said += f" Reads of the source at the price of {prices.source_region}."
    if prices.old:
        said += " These prices are more than a year old."
    if prices.unknown:
        said += f" No price is known here for {', '.join(prices.unknown)}."
    columns = ["stage", "read units", "write units", "list price"]
    return table(columns, rows, align="lrrr", foot=foot) + note(muted(said))
