"""An analysis as HTML and DataFrames: contents, references, and the outlook for each item."""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..discover.distinct import ERROR, KEPT
from ..discover.profile import AttributeProfile
from ..stages.analyze.analysis import Analysis, EntryAnalysis
from ..verdict import FAIL
from .drawing.html import ACCENT, LINE, Html, chip, details, flagged, muted, note, number, quiet, size, table
from .drawing.reference_map import draw_map

if TYPE_CHECKING:
    import pandas

OPEN = 2  # entries that are unfolded in a profile
Edge = tuple[str, str | None, int, int]  # child, parent (None: none could be told), references, dangling


def ordered(analysis: Analysis, entries: Iterable[str] | None = None) -> list[tuple[str, EntryAnalysis]]:
    """The entries by level and name, parents first."""
    names = analysis.tables if entries is None else set(entries) & analysis.tables.keys()
    return [(n, analysis.tables[n]) for n in sorted(names, key=lambda n: (analysis.levels.get(n, 0), n))]


def conflicts(entry: EntryAnalysis) -> int:
    """Items that will not be written because another item has, or gets, their target key."""
    return entry.losers + entry.different_there


def overview(analysis: Analysis) -> Html:
    """One row an entry, by level, with a row of totals."""
    tables = analysis.tables.values()
    rare = any(t.skipped for t in tables)
    rows = [
        [
            level(analysis, name),
            name,
            t.records,
            t.routed,
            *([t.skipped] if rare else []),
            flagged(t.quarantined),
            flagged(conflicts(t)),
            t.already_there,
            t.references.total(),
            flagged(t.dangling.total()),
            t.write_units,
            size(t.bytes),
        ]
        for name, t in ordered(analysis)
    ]
    foot = [
        "",
        f"{len(rows)} in all",
        analysis.records,
        sum(t.routed for t in tables),
        *([sum(t.skipped for t in tables)] if rare else []),
        sum(t.quarantined for t in tables),
        sum(conflicts(t) for t in tables),
        sum(t.already_there for t in tables),
        analysis.relationships,
        analysis.dangling,
        analysis.write_units,
        size(sum(t.bytes for t in tables)),
    ]
    columns = (
        "level", "entry", "records", "routed", *(["expired"] if rare else []), "quarantined", "conflicts", "already there",
        "references", "dangling", "write units", "size",
    )  # fmt: skip
    return table(columns, rows, align="cl" + "r" * (len(columns) - 2), foot=foot)


def level(analysis: Analysis, name: str) -> Html:
    """An entry's level, in a quiet colour."""
    return quiet(str(analysis.levels.get(name, "")))


def profile(analysis: Analysis) -> "pandas.DataFrame":
    """One row an attribute: types, presence, different values and lengths."""
    import pandas

    rows = [
        {
            "entry": name,
            "attribute": attribute,
            "items": profile.types.total(),
            "present %": round(100 * profile.types.total() / entry.records, 1) if entry.records else 0.0,
            "types": types(profile),
            "empty": profile.empty,
            "distinct": profile.distinct.count,
            "shortest": profile.shortest,
            "longest": profile.longest,
            "mixed": is_mixed(profile),
        }
        for name, entry in ordered(analysis)
        for attribute, profile in _attributes(entry)
    ]
    columns = ["entry", "attribute", "items", "present %", "types", "empty", "distinct", "shortest", "longest", "mixed"]
    return pandas.DataFrame(rows, columns=columns).astype({"shortest": "Int64", "longest": "Int64"})


def types(profile: AttributeProfile) -> str:
    """`S 120 · NULL 3`, the most frequent first."""
    return " · ".join(f"{letter} {count:,}" for letter, count in profile.types.most_common())


def is_mixed(profile: AttributeProfile) -> bool:
    """Whether an attribute has more than one type, not counting null."""
    return len(profile.types.keys() - {"NULL"}) > 1


def _attributes(entry: EntryAnalysis) -> list[tuple[str, AttributeProfile]]:
    """The most present first."""
    return sorted(entry.profile.items(), key=lambda place: (-place[1].types.total(), place[0]))


def profile_html(analysis: Analysis, entries: Iterable[str] | None = None) -> Html:
    """A row an entry, then every entry's attributes behind a line that unfolds."""
    chosen = ordered(analysis, entries)
    rows = []
    for name, t in chosen:
        special = {x for a in t.profile.values() for x in a.types} & {"SS", "NS", "BS", "B"}
        rows.append(
            [
                level(analysis, name),
                name,
                t.records,
                len(t.profile),
                flagged(sum(map(is_mixed, t.profile.values()))),
                number(sum(1 for a in t.profile.values() if a.types.total() < t.records)),
                sum(a.empty for a in t.profile.values()),
                " ".join(sorted(special)) or quiet("·"),
            ]
        )
    profiles = [profile for _, t in chosen for profile in t.profile.values()]
    sums = (sum(t.records for _, t in chosen), len(profiles), sum(map(is_mixed, profiles)))
    foot = ["", f"{len(rows)} in all", *sums, *[""] * 3]
    columns = ["level", "entry", "records", "attributes"]
    columns += ["of mixed type", "not in every item", "empty values", "sets, binary"]
    blocks = [table(columns, rows, align="clrrrrrl", foot=foot)]
    lead = f"Distinct: how many different values. Exact below {KEPT}; ≈ is an estimate, usually within {ERROR:.0%}."
    blocks.append(note(muted(lead)))
    opened = 0
    for name, t in chosen:
        mixed = sum(map(is_mixed, t.profile.values()))
        unfold = bool(mixed) and opened < OPEN
        opened += unfold
        said = f"{len(t.profile):,} attributes in {t.records:,} items"
        flag = chip(f"{mixed} of mixed type", "look") if mixed else ""
        title = Html("<b>{}</b> {} {}").format(name, muted(said), flag)
        blocks.append(details(title, _attribute_table(t), open=unfold))
    return Html("").join(blocks)


def _attribute_table(entry: EntryAnalysis) -> Html:
    rows, marks = [], []
    for name, profile in _attributes(entry):
        marks.append("look" if is_mixed(profile) else None)
        rows.append(
            [
                name,
                profile.types.total(),
                _share(profile.types.total(), entry.records),
                chip(types(profile), "look") if is_mixed(profile) else types(profile),
                profile.empty,
                _distinct(profile),
                _lengths(profile),
            ]
        )
    return table(
        ["attribute", "items", "present", "types", "empty", "distinct", "length"], rows, align="lrrlrrr", marks=marks
    )


def _distinct(profile: AttributeProfile) -> Html:
    """The number of different values: quiet where all differ, with ≈ where it is an estimate."""
    found, items = profile.distinct, profile.types.total()
    if found.exact:
        return quiet(f"{found.count:,}") if found.count == items else f"{found.count:,}"
    return f"≈ {min(found.count, items):,}"


def _share(part: int, whole: int) -> Html:
    """A percentage with a small bar; quiet at 100 %."""
    if part >= whole:
        return quiet("100 %")
    percent = 100 * part / whole
    full = max(2, round(percent * 0.4))
    style = f"width:{40 - full}px;background:{LINE};border-left:{full}px solid {ACCENT}"
    bar = Html('<span style="display:inline-block;height:6px;margin:0 6px 1px 0;{}"></span>').format(style)
    return bar + ("<1 %" if percent < 1 else f"{percent:.0f} %")


def _lengths(profile: AttributeProfile) -> Html | str:
    if profile.longest is None:
        return quiet("–")
    if profile.shortest == profile.longest:
        return f"{profile.longest:,}"
    return f"{profile.shortest:,} – {profile.longest:,}"


def references(analysis: Analysis) -> Html:
    """One row for each entry, path and parent."""
    rows, marks = [], []
    for name, t in ordered(analysis):
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
    found: Counter = Counter()
    dangling: Counter = Counter()
    for name, t in analysis.tables.items():
        for (_, parent), count in t.parents.items():
            found[name, parent] += count
        for path, count in t.dangling.items():
            parents = [parent for p, parent in t.parents if p == path]
            dangling[name, parents[0] if len(parents) == 1 else None] += count
    return [(child, parent, found[child, parent], dangling[child, parent]) for child, parent in {**found, **dangling}]


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
    return table(["target table", "", "contents", "structure", "stream"], rows, align="lllwl", marks=marks)


def quarantine(analysis: Analysis) -> Html:
    """The items that would not be written, by reason: quarantined, in conflict, expired, unrouted."""
    rows = [
        [name, attribute or muted("the whole item"), reason, count]
        for name, t in ordered(analysis)
        for (attribute, reason), count in sorted(t.reasons.items())
    ]
    for name, t in ordered(analysis):
        held = {"another source item makes the same key": t.losers, "the target's item is different": t.different_there}
        rows += [[name, muted("the key"), f"conflict: {why}", count] for why, count in held.items() if count]
    rows += [[n, muted("the whole item"), "expired: left out", t.skipped] for n, t in ordered(analysis) if t.skipped]
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
