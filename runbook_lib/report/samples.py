"""Sample items before and after, attribute by attribute, as shapes: what the mapping does, not the items' contents."""

import secrets
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import blake2b

from ..mapping.model import Entry, FieldRule, Mapping
from ..mapping.routes import Row
from ..mapping.text import templates
from ..mapping.text.derivation import DATETIME, reading
from ..mapping.text.paths import value_at
from ..mapping.walkers import GONE, NULL, Found
from ..stages.analyze.analysis import Analysis
from ..values import SCALARS, canonical, equal, is_empty, key_hash, serialize, text_of
from ..verdict import plural
from .drawing.html import MONO, QUIET, Html, chip, details, mono, muted, note, quiet, table

ID_CHARACTERS = 8  # of a newly made id that are shown
OPEN = 2  # entries whose samples are unfolded: those in which most happened
TONES = {  # what happened to an attribute -> its colour; copied ones are not listed one by one
    "copied": None,
    "new id": "good",
    "reference": "good",
    "nulled": "look",
    "made": "accent",
    "default": "accent",
    "renamed": "accent",
    "converted": "accent",
    "moved": "accent",
    "merged": "accent",
    "transformed": "accent",
    "changed": "look",
    "dropped": "quiet",
}
LEGEND = (
    "Shapes, not values: x and X are letters, 9 is a digit; equal #hashes are equal values within this notebook. "
    "Bold text comes from the mapping. New ids show their first characters."
)
LONGEST = 48  # characters of a shape
_KEY = secrets.token_bytes(32)
_ASCII_KEPT = set(" !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")


@dataclass(frozen=True)
class Change:
    """What happened to one attribute."""

    attribute: str
    before: dict | None
    after: dict | None
    kind: str  # a key of TONES
    what: str
    shown: Html | None = None  # the value after, where more of it may be shown than its shape


def changes(source: dict, row: Row, entry: Entry | None = None) -> list[Change]:
    """What happened to each attribute of a source item: the target's attributes in order, then moved and dropped ones. Pure.

    With the mapping's entry it knows the rules; without it, it infers them from the changes.
    """
    if row.before is not None:
        by_rules = replace(row, item=row.before, before=None)
        return _transformed(changes(source, by_rules, entry), by_rules, row, entry)
    rules = (entry.model.fields if entry else None) or {}
    rest = _rest_name(source, row, entry)
    used: set[str] = set()
    found = []
    for name, after in row.item.items():
        rule = rules.get(name)
        if name == rest:
            continue
        if rule and rule.template is not None:
            shown = _templated(templates.parse(rule.template), after, source)
            found.append(Change(name, None, after, "made", f"made by template {rule.template}", shown))
            continue
        if rule and rule.is_constant:
            found.append(Change(name, None, after, "made", "a constant", _default(after)))
            continue
        origin = rule.uses_up if rule else name if name in source else _renamed_from(after, source, row)
        used.add(origin or name)
        found.append(_change(name, origin or name, source, after, row, rule, entry))
    moved = row.item[rest]["M"] if rest else {}
    for name, before in source.items():
        if name == rest:
            found.append(
                Change(name, before, row.item[name], "merged", "merged with the attributes that no rule names")
            )
        elif name not in used and name in moved:
            found.append(Change(name, before, moved[name], "moved", f"moved to {rest}"))
        elif name not in used:
            gone = [one for one in row.references if _first(one.path) == name and one.new == GONE]
            dropped = Change(name, before, None, "dropped", "dropped")
            found.append(_reference(name, before, None, gone, entry) if gone else dropped)
    return found


def _transformed(found: list[Change], by_rules: Row, row: Row, entry: Entry | None) -> list[Change]:
    """What the rules have done, followed by what the transform has made of it."""
    by, rest = f"by {entry.model.transform}" if entry else "by a function", _rest_name(by_rules.source, by_rules, entry)
    before, after = by_rules.item, row.item
    rest_before, rest_after = [item.get(rest, {}).get("M", {}) for item in (before, after)]
    changed = []
    for change in found:
        was, now = [
            (in_rest if change.kind == "moved" else item).get(change.attribute)
            for item, in_rest in ((before, rest_before), (after, rest_after))
        ]
        if change.after is not None and now is not was:
            what = f"transformed {by}" if now else f"left out {by}"
            change = replace(change, after=now, kind="transformed", what=what, shown=None)
        changed.append(change)
    added = [(name, value) for name, value in after.items() if name not in before]
    if rest in before:
        added += [(f"{rest}.{name}", value) for name, value in rest_after.items() if name not in rest_before]
    return changed + [Change(name, None, value, "made", f"made {by}") for name, value in added]


def _change(
    name: str, origin: str, source: dict, after: dict, row: Row, rule: FieldRule | None, entry: Entry | None
) -> Change:
    before, origin = (source.get(origin), origin) if rule is None else (_read(rule, source), rule.source)
    if rule and rule.has_default and (before is None or is_empty(before)):
        return Change(name, before, after, "default", "default", _default(after))
    if before is None:
        return Change(name, before, after, "made", "made by a rule")
    if equal(before, after):
        kind = "copied" if name == origin else "renamed"
        return Change(name, before, after, kind, "copied" if name == origin else f"renamed from {origin}")
    top = rule.steps[0] if rule else origin
    references = [found for found in row.references if _first(found.path) == top]
    if references:
        return _reference(name, before, after, references, entry)
    if before == row.old and row.old_id != row.new_id and set(after) & {"S", "N", "B"} and text_of(after) == row.new_id:
        return Change(name, before, after, "new id", "new id", _new_id(after, before))
    if name in row.fell_back:
        return Change(name, before, after, "default", "default, because it does not convert", _default(after))
    letters = next(iter(before)), next(iter(after))
    if rule and (how := _derived(rule)):
        return Change(name, before, after, "converted", f"{how} from {rule.source}")
    if letters[0] != letters[1]:
        renamed = f", renamed from {origin}" if name != origin else ""
        return Change(name, before, after, "converted", f"converted {letters[0]} → {letters[1]}{renamed}")
    return Change(name, before, after, "changed", "changed")


def _read(rule: FieldRule, source: dict) -> dict | None:
    try:
        return reading(rule.steps)(source)
    except ValueError:
        return None


def _derived(rule: FieldRule) -> str:
    """How a rule makes a value that is not only of another type."""
    if rule.values is not None:
        return "by `values`"
    if rule.type == DATETIME:
        return f"{rule.read} → {rule.write}"
    return f"taken out as {rule.form}" if rule.form is not None else ""


def _reference(name: str, before: dict, after: dict | None, references: list[Found], entry: Entry | None) -> Change:
    parents = ", ".join(sorted({found.parent for found in references if found.parent})) or "nothing"
    what = f"reference → {parents}" if len(references) == 1 else f"{len(references):,} references → {parents}"
    if after in (None, NULL):
        return Change(name, before, after, "nulled", f"{what}: {'set to null' if after else 'left out'}")
    first, shown = references[0], None
    places = entry.references_to.get(first.path, ()) if entry else ()
    parts = (
        places[0] if len(places) == 1 and not any(h.name == templates.ANY for h in templates.holes(places[0])) else ()
    )
    if len(references) == 1 and equal(first.new, after):
        shown = _new_id(after, first.old)
    elif parts and first.path == name and "S" in after and all(found.new for found in references):
        ids = (_new_id(found.new, found.old) or shape(text_of(found.new)) for found in references)
        shown = Html("").join(next(ids) if isinstance(part, templates.Hole) else _literal(part) for part in parts)
    return Change(name, before, after, "reference", what, shown)


def _new_id(after: dict, before: dict) -> Html | None:
    """The beginning of a new id; None where the id is the old one, or is not text."""
    if not set(after) & {"S", "N"} or text_of(after) == text_of(before):
        return None
    return Html("{}…").format(text_of(after)[:ID_CHARACTERS])


def _literal(words: str) -> Html:
    """Text from the mapping, not from the data."""
    return Html("<b>{}</b>").format(words)


def _default(value: dict) -> Html | None:
    return _literal(text_of(value)) if set(value) & {"S", "N"} else None


def _templated(parts: tuple, after: dict, source: dict) -> Html | None:
    """A template's text: literal parts as in the mapping, the rest as shapes."""
    found = templates.reader(parts)(after.get("S", ""))
    if found is None:
        return None
    pieces = iter(found)
    shown = Html("")
    for part in parts:
        if not isinstance(part, templates.Hole):
            shown += _literal(part)
            continue
        piece, value = next(pieces), value_at(source, part.steps)
        by_default = piece == part.default and (value is None or is_empty(value))
        shown += _literal(piece) if by_default else shape(piece)
    return shown


def _rest_name(source: dict, row: Row, entry: Entry | None) -> str | None:
    """The target's map that holds the attributes that no rule names."""
    if entry:
        name = entry.model.rest
        return name if name and "M" in row.item.get(name, {}) and name != "copy" else None
    for name, value in row.item.items():
        members = value.get("M")
        if members and name not in source and all(equal(source.get(n), v) for n, v in members.items()):
            return name
    return None


def _renamed_from(after: dict, source: dict, row: Row) -> str | None:
    """The source attribute with this value whose own name is gone; used only where no rule names it."""
    return next((name for name, value in source.items() if name not in row.item and equal(value, after)), None)


def _first(path: str) -> str:
    """The attribute at which a reference path starts."""
    return path.partition(".")[0].partition("[")[0].partition(":")[0]


def changes_table(found: list[Change], sides: tuple[str, str] = ("before", "after")) -> Html:
    """The changed attributes as a table, the copied ones in one line below it."""
    changed = [change for change in found if TONES[change.kind]]
    same = [change.attribute for change in found if not TONES[change.kind]]
    rows = [[change.attribute, masked(change.before), _after(change), _what(change)] for change in changed]
    body = Html("")
    if changed:
        marks = [TONES[change.kind] for change in changed]
        body = table(["attribute", *sides, "what happened"], rows, align="lvvw", marks=marks)
    if same:
        line = f"{plural(len(same), 'attribute')} copied unchanged"
        body += details(muted(line), ", ".join(same))
    return body


def _what(change: Change) -> Html:
    by = "made by template "
    template = change.what.removeprefix(by) if change.kind == "made" and change.what.startswith(by) else ""
    if template:
        return Html("{} {}").format(chip(by.strip(), TONES[change.kind]), mono(template, breaks=True))
    return chip(change.what, TONES[change.kind])


def _after(change: Change) -> Html:
    if change.kind in ("moved", "renamed") and equal(change.before, change.after):
        return muted("the same")
    if change.shown is None or change.after is None:
        return masked(change.after)
    return _type(change.after) + mono(change.shown, breaks=True)


def masked(value: dict | None) -> Html:
    """Type, shape and hash of a value; a dash where there is none."""
    if value is None:
        return quiet("–")
    plain = any(value.get(letter) for letter in ("S", "N"))
    content = mono(value_shape(value), breaks=True) if plain else muted(value_shape(value))
    hashed = Html(' <span style="{};{}">#{}</span>').format(MONO, QUIET, tag(value))
    return _type(value) + content + hashed


def _type(value: dict) -> Html:
    return Html('<span style="{};font-size:.93em">{}</span> ').format(QUIET, next(iter(value)))


def samples(analysis: Analysis, entries: Iterable[str] | None = None, mapping: Mapping | None = None) -> Html:
    """Before and after of sample items, per entry. With `mapping` (plan.mapping) it names the rules exactly."""
    shown = {}
    for name, analyzed in analysis.ordered(entries):
        entry = mapping.entries.get(name) if mapping else None
        if found := [(row, changes(item, row, entry)) for item, row in analyzed.samples]:
            shown[name] = found
    telling = sorted(shown, key=lambda name: -max(sum(bool(TONES[c.kind]) for c in all_) for _, all_ in shown[name]))
    blocks = []
    for name, found in shown.items():
        one = Html('<div style="margin:6px 0 12px 0">{}{}</div>')
        tags = [muted(f"item #{key_tag(row.source_key)}") for row, _ in found]
        body = Html("").join(one.format(tag, changes_table(all_)) for tag, (_, all_) in zip(tags, found, strict=True))
        title = Html("<b>{}</b> {}").format(name, muted(_summary(found[0][1])))
        blocks.append(details(title, body, open=name in telling[:OPEN]))
    if not blocks:
        return note("No items to show.")
    return Html("").join([note(muted(LEGEND)), *blocks])


def _summary(found: list[Change]) -> str:
    counts = Counter(change.kind for change in found)
    words = {kind: f"{kind}s" if kind in ("reference", "new id") and counts[kind] > 1 else kind for kind in TONES}
    return " · ".join(f"{counts[kind]:,} {word}" for kind, word in words.items() if counts[kind])


def shape(content: str) -> str:
    """`Ana Lopez 7` → `Xxx Xxxxx 9`; beyond 48 characters cut, with the length said."""
    masked = "".join(map(_masked, content[:LONGEST]))
    return masked if len(content) <= LONGEST else f"{masked}… {len(content):,} characters"


def _masked(character: str) -> str:
    if character in _ASCII_KEPT:
        return character
    category = unicodedata.category(character)
    if category in ("Lu", "Lt"):
        return "X"
    if category[0] in "LM":  # marks are parts of letters
        return "x"
    return "9" if category[0] == "N" else "•"


def value_shape(value: dict) -> str:
    """The shape of a typed value of any type; containers by the number of their members."""
    ((letter, content),) = value.items()
    if letter == "NULL":
        return "null"
    if letter == "BOOL":
        return "true/false"
    if letter in ("S", "N"):
        return shape(content) or "empty"
    if letter == "B":
        return plural(len(content) * 3 // 4 - content[-2:].count("="), "byte")
    return plural(len(content), "name" if letter == "M" else "member")


def described(value: dict) -> str:
    """Type and shape in one: `S · Xxx Xxxxx 9`, `L · 3 members`."""
    return f"{next(iter(value))} · {value_shape(value)}"


def tag(value: dict) -> str:
    """Six hex digits, equal for equal values; text and number of the same digits have the same."""
    try:
        value = canonical(value)
    except ValueError:  # what is no legal value is shown as well
        pass
    ((letter, content),) = value.items()
    return _hash(content.encode() if letter in SCALARS else serialize(value))


def key_tag(key: dict) -> str:
    """Six hex digits for a key of one or two attributes."""
    try:
        return _hash(key_hash(key))
    except ValueError:  # what is no legal key can still be in a listing
        return _hash(serialize(key))


def _hash(content: bytes) -> str:
    return blake2b(content, digest_size=3, key=_KEY).hexdigest()
