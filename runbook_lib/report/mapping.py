"""What the data say about the mapping: names that match nothing, ids that no rule rewrites, what became of every attribute."""

from collections import Counter
from collections.abc import Mapping

from ..discover.references import Finding
from ..stages.analyze.analysis import Analysis, Unmatched
from ..stages.migrate.migrate import Migration
from ..stages.sealed import said
from ..verdict import REVIEW, plural
from .drawing.canvas import stacked, widths
from .drawing.html import Html, chip, details, flagged, mono, muted, note, quiet, sorted_by, table, with_code
from .samples import masked

WORDS = {  # what became of an attribute's value, as the ledger says it -> its name and colour
    "copied": ("copied", "#3f9d6a"),
    "rewritten": ("new id", "#2f6fb3"),
    "converted": ("converted", "#7d5ba6"),
    "transformed": ("transformed", "#c06bab"),
    "defaulted": ("default", "#a9b4bf"),
    "rest": ("rest", "#a9cbb6"),
    "dropped": ("dropped", "#f0b030"),
    "unaccounted": ("unaccounted", "#bf2c2c"),
}


def ledger(result: Analysis | Migration) -> Html:
    """What became of the values of every source attribute: a bar an entry, and each attribute behind a line that unfolds."""
    entries = {name: found for name, found in result.ledgers.items() if found}
    if not entries:
        return note("No items.")
    names = list(entries)
    sums = {name: dict(sum(entries[name].values(), Counter())) for name in names}
    used = {word: about for word, about in WORDS.items() if any(sums[name].get(word) for name in names)}
    lost = sum(counts.get("unaccounted", 0) for counts in sums.values())
    values = sum(sum(counts.values()) for counts in sums.values())
    said = f"{plural(lost, 'value')} of {values:,} neither in the target nor dropped." if lost else ""
    whole = f"All {values:,} values are" if values != 1 else "The only value is"
    said = said or f"{whole} accounted for: looked for in the target items, not taken from the rules."
    title = f"What became of the attribute values of {plural(len(names), 'entry', 'entries')}"
    folds = [_attributes(name, entries[name], sums[name]) for name in names]
    return Html("").join(
        [note(said, "bad" if lost else "good"), stacked(names, sums, used, title, "no values"), *folds]
    )


def _attributes(name: str, found: Mapping[str, Counter], sums: Mapping[str, int]) -> Html:
    """The attributes of one entry, most present first, with a column for each word that any of them has."""
    words = [word for word in WORDS if sums.get(word)]
    rows, marks = [], []
    for attribute, counts in sorted(found.items(), key=lambda line: (-line[1].total(), line[0])):
        cells = [flagged(counts[word], "bad") if word == "unaccounted" else counts[word] for word in words]
        rows.append([attribute, _bar(counts), *cells])
        marks.append("bad" if counts["unaccounted"] else None)
    columns = ["source attribute", "shares", *(WORDS[word][0] for word in words)]
    foot = ["in all", "", *(sums[word] for word in words)]
    title = Html("<b>{}</b> {}").format(name, muted(plural(len(rows), "attribute")))
    body = table(columns, rows, align="ll" + "r" * len(words), foot=foot, marks=marks)
    return details(title, body, open=bool(sums.get("unaccounted")))


def _bar(counts: Mapping[str, int]) -> Html:
    """The shares of one attribute as a small bar. Of borders, because these are printed where grounds are not."""
    scale = 80 / max(1, sum(counts.values()))
    part = Html('<span style="display:inline-block;height:8px;border-left:{:.0f}px solid {}"></span>')
    return Html("").join(part.format(width, WORDS[word][1]) for word, width in widths(counts, WORDS, scale).items())


def drift(result: Migration) -> Html:
    """What is not as 01 saw it: tables, numbers of items, attributes; what stops a migration first."""
    held = result.held
    if held is None:
        return note("01 was not run in this run: there is no plan to hold 03 against.")
    if not held.drift:
        return note(f"All is as 01 saw it ({held.created}).", "good")
    rows, marks = [], []
    for one in sorted(held.drift, key=lambda one: not one.is_shape):
        tone = "quiet" if held.accepted else "look"
        cells = [one.side, one.table, one.what, one.name or quiet("–"), said(one.planned), said(one.found)]
        rows.append([chip("accepted" if held.accepted else "look", tone), *cells])
        marks.append(tone)
    return table(["state", "side", "table", "what", "name", "planned", "found"], rows, align="cllllww", marks=marks)


def unmatched(analysis: Analysis) -> Html:
    """The names in the mapping that no item has, those that need a decision first."""
    if not analysis.unmatched:
        return note("Every name in the mapping is an attribute that items have.", "good")
    rows, marks = [], []
    for one in sorted(analysis.unmatched, key=lambda one: (not _is_open(one), one.table)):
        state = chip("accepted") if one.accepted else chip("REVIEW", "look") if _is_open(one) else chip("note")
        rows.append([state, one.table, one.rule, one.name, one.suggestion or quiet("–"), one.items])
        marks.append("look" if _is_open(one) else None)
    return table(["state", "entry", "rule", "no item has", "did you mean", "items"], rows, align="clllwr", marks=marks)


def matches(analysis: Analysis) -> Html:
    """What the target has already of the entries that say `match`, with examples as shapes; nothing where none says it."""
    if not analysis.matches:
        return Html("")
    rows, marks = [], []
    for name, about in analysis.matches.items():
        examples = analysis.search.examples[name] if analysis.search else []
        shapes = Html(" · ").join(Html(", ").join(map(masked, values)) for values in examples)
        read = [quiet("not read") if about[side] is None else about[side] for side in ("source_items", "target_items")]
        counts = [about["matched"], flagged(about["ambiguous"]), about["nearly"]]
        rows.append([name, ", ".join(about["by"]), about["found"], *read, *counts, shapes or quiet("–")])
        marks.append("look" if about["ambiguous"] else None)
    columns = ["entry", "by", "found", "in the source", "in the target", "matched", "ambiguous", "nearly", "such as"]
    said = "What the target has already, by the values that `match` names. In the source, in the target: items that have them."
    return note(with_code(said)) + table(columns, rows, align="lllrrrrrw", marks=marks)


def _is_open(one: Unmatched) -> bool:
    return one.level == REVIEW and not one.accepted


def undeclared(analysis: Analysis) -> Html:
    """One row for each path whose values are ids that no rule rewrites, with the line that would; and what is none."""
    if not analysis.undeclared and not analysis.not_references:
        return note("No value that stays is an id of an entry that gets new ids.", "good")
    rows, marks = [], []
    for one in analysis.undeclared:
        certain = one.is_certain
        rows.append([chip("certain", "look") if certain else chip("ambiguous", "quiet"), *_cells(one), _line(one)])
        marks.append("look" if certain else "quiet")
    for one in analysis.not_references:
        rows.append([chip("accepted", "good"), *_cells(one), muted("the mapping says that it is none")])
        marks.append(None)
    columns = ["state", "entry", "path", "ids of", "ids among the values", "to paste under references"]
    return table(columns, rows, align="clllrw", marks=marks)


def _cells(one: Finding) -> list[object]:
    to = one.to if not one.declared else Html("{} {}").format(one.to, muted(f"(the mapping says {one.declared})"))
    found = Html("{:,} of {:,} {}").format(one.found, one.values, muted(f"{one.coverage:.0%}"))
    return [one.table, one.path, to, sorted_by(found, one.coverage)]


def _line(one: Finding) -> Html:
    return mono(one.line) if one.line else muted("the mapping cannot rewrite these")
