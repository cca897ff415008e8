"""What the data say about references, whatever the mapping says, as HTML."""

from ..discover.references import Finding
from ..stages.analyze.analysis import Analysis
from .html import Html, chip, mono, muted, note, table


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
    columns = ["", "entry", "path", "ids of", "values", "of them ids", "coverage", "to paste under references"]
    return table(columns, rows, align="clllrrrw", marks=marks)


def _cells(one: Finding) -> list[object]:
    to = one.to if not one.declared else Html("{} {}").format(one.to, muted(f"(the mapping says {one.declared})"))
    return [one.table, one.path, to, one.values, one.found, f"{one.coverage:.0%}"]


def _line(one: Finding) -> Html:
    return mono(one.line) if one.line else muted("the mapping cannot rewrite these")
