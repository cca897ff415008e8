"""What 00 shows, each view from `Sources` or a `Draft`. No value of an item is shown but those that name its kind."""

from typing import Any

from ...mapping import levels as graph
from ...stages.draft.draft import Draft, Sources
from ...stages.draft.references import Rule
from ...stages.draft.text import structure
from ...verdict import plural
from ..drawing.html import Html, chip, mono, muted, note, quiet, table
from ..drawing.reference_map import draw_map


def sources(found: Sources) -> Html:
    """The tables that will be read, with DynamoDB's own counts, which may be hours old."""
    rows = [
        [entry, name, found.plan.source_tables[name].items, found.plan.source_tables[name].size_bytes]
        for entry, name in found.names.tables.items()
    ]
    foot = ["in all", plural(len(rows), "table"), sum(row[2] for row in rows), sum(row[3] for row in rows)]
    columns = ["entry", "source table", "items, about", "bytes, about"]
    said = Html("Names are built as {}").format(mono(found.names.source)) if found.names.source else ""
    return (note(said) if said else Html("")) + table(columns, rows, align="llrr", foot=foot)


def entries(draft: Draft) -> Html:
    """One row for each entry: which items it takes, and what is their id."""
    rows, marks = [], []
    for entry in draft.entries.values():
        kind = ", ".join(f"{name} {_words(value)}" for name, value in entry.where.items())
        inside = f"{entry.id.attribute}: {entry.id.form}" if entry.id.form else entry.id.attribute
        identity = inside or chip("no id", "look")
        made = structure(entry.table, entry.ttl)
        rows.append([entry.name, entry.table.name, kind or quiet("all"), entry.items, identity, entry.id.why, made])
        marks.append(None if entry.id.attribute else "look")
    columns = ["entry", "source table", "items that", "items", "id", "why", "the target will have"]
    shown = table(columns, rows, align="lllrlww", marks=marks)
    left = sum(one.items for one in draft.unrouted)
    return shown + note(f"{plural(left, 'item')} of no kind that has an entry.", "look") if left else shown


def _words(said: Any) -> str:
    if not isinstance(said, dict):
        return f"= {said}"
    return " and ".join(f"{word} {_words(value) if isinstance(value, dict) else value}" for word, value in said.items())


def references(draft: Draft) -> Html:
    """One row for each reference that is certain."""
    rows = _rows(draft.rules(ambiguous=False))
    return _references(rows) if rows else note("No value is an id of another item.")


def ambiguous(draft: Draft) -> Html:
    """The same for those that need a decision."""
    rows = _rows(draft.rules(ambiguous=True))
    return _references(rows, "look") if rows else note("Nothing is ambiguous.", "good")


def matches(draft: Draft) -> Html:
    """One row for each attribute that is nearly unique on both sides, where the target holds items."""
    found = draft.natural_keys()
    if not found:
        return note("The target holds no items, or no attribute of theirs is nearly unique on both sides.")
    rows = [
        [name, ", ".join(one.by), one.source.values, one.source.unique, one.target.values, one.target.unique,
         one.both, one.ambiguous, one.nearly]
        for name, one in found
    ]  # fmt: skip
    columns = ["entry", "attribute", "values here", "unique", "in the target", "unique there", "on both sides",
               "ambiguous", "nearly the same"]  # fmt: skip
    return table(columns, rows, align="llrrrrrrr", marks=["look" if one.to_decide else None for _, one in found])


def _rows(rules: list[tuple[str, Rule]]) -> list[list[object]]:
    return [
        [name, rule.path, _to(rule.to), rule.values, rule.found, f"{int(100 * rule.coverage)}%", rule.why]
        for name, rule in rules
    ]


def _references(rows: list[list[object]], mark: str | None = None) -> Html:
    columns = ["entry", "path", "refers to", "values", "of them ids", "coverage", "evidence"]
    return table(columns, rows, align="lllrrrw", marks=[mark] * len(rows))


def _to(rule: object) -> object:
    if not isinstance(rule, dict):
        return rule
    ((word, said),) = rule.items()
    said = said if isinstance(said, str) else next(iter(said.values()))
    return Html("{} {}").format(muted(word.replace("_", " ")), said)


def unknown(draft: Draft) -> Html:
    """Attributes named like ids whose values look like ids, and are none of any item here."""
    rows = [[e.name, name, number] for e in draft.entries.values() for name, number in e.like_ids.items()]
    if not rows:
        return note(
            "Every attribute that is named like an id holds ids of items here, or nothing that looks like one.", "good"
        )
    return table(["entry", "attribute", "values like ids"], rows, align="llr")


def reference_map(draft: Draft) -> Html:
    """What refers to what, as a picture: parents left of their children."""
    found = [
        (name, parent, number, 0)
        for name, rule in draft.rules(ambiguous=False)
        for parent, number in rule.parents.items()
    ]
    records = {name: entry.items for name, entry in draft.entries.items()}
    parents = {name: {parent for child, parent, *_ in found if child == name} for name in records}
    return draw_map(graph.levels(parents), found, records)


def text(draft: Draft) -> Html:
    """The mapping file."""
    # it scrolls, so that the keyboard has to reach it
    start = Html('<pre tabindex="0" role="group" aria-label="The mapping file" style="white-space:pre;overflow-x:auto;')
    return start + Html('font-size:12px;line-height:1.35">{}</pre>').format(draft.text)
