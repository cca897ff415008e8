"""A validation as HTML: what was compared, what differs and why, which queries work."""

from ..stages.validate.groups import DifferenceGroup
from ..stages.validate.validate import Validation
from ..verdict import plural
from .drawing.html import TICK, Html, chip, details, flagged, heading, muted, note, quiet, table, with_code
from .samples import key_tag

CAUSES = 50  # rows of the differences by cause
RARE = (
    "skipped",
    "matched",
    "expired",
    "accepted",
    "conflicts",
    "quarantined",
    "references",
    "dangling",
    "unreadable",
)  # often 0
TONED = {"missing": "bad", "different": "bad"} | dict.fromkeys(
    ("conflicts", "quarantined", "dangling", "unreadable"), "look"
)
TONES = dict.fromkeys(
    ("extra", "expired", "accepted", "match gone", "match changed"), "look"
)  # kinds of differences; others are bad


def validation(result: Validation) -> Html:
    """One row per entry with its figures, then extra items in the target."""
    names = "scanned skipped matched checked equal missing expired different accepted conflicts quarantined references".split()
    names += ["dangling", "unreadable"]
    tones = [TONED.get(name) for name in names]
    rows, marks = [], []
    for entry, figures in sorted(result.tables.items()):
        values = [getattr(figures, name) for name in names]
        cells = [flagged(value, tone) if tone else value for value, tone in zip(values, tones, strict=True)]
        wrong = figures.missing or figures.different
        sound = figures.equal + figures.expired + figures.accepted == figures.checked
        tick = TICK if sound else quiet("·")
        rows.append([entry, *cells, chip("✗", "bad") if wrong else tick])
        marks.append("bad" if wrong else None)
    foot = [f"{len(rows)} in all", *(result.total(name) for name in names), ""]
    align = "l" + "r" * len(names) + "c"
    blocks = [_sentence(result), table(("entry", *names, "ok"), rows, align=align, foot=foot, marks=marks, rare=RARE)]
    if result.earlier_pages:
        earlier = plural(result.earlier_pages, "page")
        since = f"the oldest at {result.oldest}; what has changed since in them is not seen"
        blocks.append(note(f"Resumed: {earlier} were compared before an interruption and not again, {since}.", "look"))
    if result.again_pages:
        again = plural(result.again_pages, "page")
        blocks.append(
            note(f"Resumed: {again} were compared once more: too long ago, or the clock was set back.", "good")
        )
    if result.extra:
        extra = [[name, flagged(count)] for name, count in sorted(result.extra.items())]
        title = "Extra items in the target that the mapping does not produce; not touched"
        blocks.append(table(["target table", "items"], extra, align="lr", caption=title))
    if any(result.drift.values()):
        since = (
            f"Since the migration {result.drift['added']:,} added to the source, {result.drift['changed']:,} changed there, "
            f"{result.drift['deleted']:,} deleted from it; {result.drift['edited_in_target']:,} edited in the target."
        )
        blocks.append(note(since, "look"))
    if result.unrouted:
        blocks.append(note(f"{plural(result.unrouted, 'source item')} that no entry selects.", "look"))
    if result.structure:
        blocks.append(heading("Structure"))
        blocks += [note(sentence, "bad") for sentence in result.structure]
    else:
        blocks.append(note("Every target table has the keys and indexes that the mapping describes.", "good"))
    return Html("").join(blocks)


def _sentence(result: Validation) -> Html:
    checked, equal = result.total("checked"), result.total("equal")
    missing, different = result.total("missing"), result.total("different")
    conflicts, extra = result.total("conflicts"), sum(result.extra.values())
    accepted = f"{seen:,} different as accepted, " if (seen := result.total("accepted")) else ""
    expired = f"{gone:,} expired, " if (gone := result.total("expired")) else ""
    said = (
        f"{plural(checked, 'item')} compared with what the mapping makes of the source, every attribute with its type: "
        f"{equal:,} equal, {missing:,} missing, {accepted}"
        f"{expired}{different:,} different, {conflicts:,} with another item under the key; {extra:,} extra in the target."
    )
    said += f" The oldest comparison is of {result.oldest}." if result.oldest else ""
    return note(said, "bad" if missing or different else "look" if conflicts or extra else "good")


def differences_html(result: Validation) -> Html:
    """All differences by cause: table, attribute, the type it should have and has, the rule that makes it, and what to do."""
    if not result.groups:
        return note("No item is missing, different or extra.", "good")
    examples = {(d.table, d.kind, d.attribute, d.expected, d.found): d for d in reversed(result.differences)}
    rows, marks = [], []
    for group in result.groups:
        tone = TONES.get(group.kind, "bad")
        example = examples.get((group.table, group.kind, group.attribute, group.expected, group.found))
        code = muted(f"#{key_tag(example.key)}") if example else ""
        rows.append([group.table, chip(group.kind, tone), _what(group), group.items, code, group.action])
        marks.append(tone)
    columns = ("table", "kind", "what differs", "items", "example", "what to do")
    body = table(columns, rows, align="llwrlw", limit=CAUSES, marks=marks)
    shown = len(result.differences)
    said = f"Counted over all items. differences.jsonl has the first {shown:,} with their keys; `code` there is the code here."
    return body + muted(with_code(said))


def _what(group: DifferenceGroup) -> Html:
    """The attribute, its type as it should be and as it is, and the rule that makes it."""
    if not group.attribute:
        return muted("the whole item")
    types = f"should be {group.expected}, is {group.found}" if group.expected != group.found else "another value"
    rule = Html("<div>{}</div>").format(muted(f"rule: {group.rule}")) if group.rule else ""
    return Html("{}: {}{}").format(group.attribute, types, rule)


def patterns(result: Validation) -> Html:
    """The proofs of the access patterns, each run page by page."""
    if not result.patterns:
        return note("The mapping names no queries to prove.")
    rows, marks = [], []
    for proof in result.patterns:
        state = chip(proof.problem, "bad") if proof.problem else chip("proved", "good")
        if proof.vacuous:
            state = chip("expects nothing, gets nothing", "look")
        where = proof.index or muted("table")
        figures = (proof.expected, proof.returned, proof.pages, proof.foreign)
        rows.append([proof.entry, proof.name, where, *figures, state])
        marks.append("bad" if proof.problem else "look" if proof.vacuous else None)
    vacuous = sum(proof.vacuous for proof in result.patterns)
    proved = sum(proof.problem is None for proof in result.patterns) - vacuous
    of = plural(len(rows), "query", "queries")
    said = f"{proved:,} of {of} returned exactly what they should, in order, through all pages."
    said += f" {plural(vacuous, 'query', 'queries')} found nothing to return." if vacuous else ""
    line = note(said, "good" if proved == len(rows) else "look" if proved + vacuous == len(rows) else "bad")
    columns = ("entry", "pattern", "index", "expected", "returned", "pages", "of other origin", "result")
    return line + table(columns, rows, align="lllrrrrw", marks=marks)


def residual(result: Validation) -> Html:
    """Ids of the source, and the name of its environment, that are left in the target, by path; and where nobody looked."""
    left = result.residual
    kinds = [("id of the source", left.ids, "bad"), (f"the name {left.name}", left.environment, "look")]
    rows, marks = [], []
    for what, found, tone in kinds:
        for entry, paths in sorted(found.by_path.items()):
            for path, items in sorted(paths.items()):
                rows.append([chip(what, tone), entry, path, items])
                marks.append(tone)
    whose = plural(len(left.entries), "entry", "entries")
    looked = (
        f"Looked for the ids of {whose} in every text, number, map key, JSON text and part of a text of the target."
    )
    if not left.entries:
        looked = "No entry gets new ids, so no id of the source can be left over."
    if left.not_looked_for:
        looked += f" Not for those of {', '.join(left.not_looked_for)}, which this validation left out."
    looked += f" The source's environment {left.name} was looked for, too." if left.name else ""
    blocks = [note(looked + ("" if rows else " None was found."), "look" if rows else "good")]
    if rows:
        blocks.append(table(["left in the target", "entry", "path", "items"], rows, align="lllr", marks=marks))
    if number := left.coincidences.total():
        places = [[target, path, count] for (target, path), count in sorted(left.coincidences.items())]
        said = (
            f"{plural(number, 'value')} only looks like an id"
            if number == 1
            else f"{number:,} values only look like ids"
        )
        blocks.append(details(said, table(["target table", "path", "values"], places, align="llr")))
    if left.left_out:
        kept = [[entry, ", ".join(paths)] for entry, paths in sorted(left.left_out.items())]
        blocks.append(
            details(
                "Paths not looked at: ids that are kept, and what the mapping calls no reference",
                table(["entry", "paths"], kept, align="lw"),
            )
        )
    return Html("").join(blocks)
