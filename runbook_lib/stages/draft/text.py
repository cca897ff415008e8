"""A draft as the text of a mapping file. Each line says by a comment what it is drawn from; no value of an item is in it."""

from collections.abc import Iterable, Mapping
from typing import Any

from ...dynamo.structure.description import Table
from ...dynamo.structure.differences import key_text, projection_text
from ...verdict import plural
from ...yaml_files import literal, scalar
from .entries import Drafted, Unrouted
from .references import Rule
from .tables import Names

COLUMN = 40  # where comments begin, if the line is not longer


def render(
    head: Iterable[str],
    names: Names,
    entries: Mapping[str, Drafted],
    unrouted: Mapping[str, Unrouted],
) -> str:
    """The file's text. `head`: sentences for its beginning; `unrouted`: table → its items that no entry takes."""
    lines = [f"# {line}" for line in head]
    if names.source:
        lines += ["defaults:", f"  source: {scalar(names.source)}", f"  target: {scalar(names.target)}"]
    lines.append("tables:")
    told: set[str] = set()
    entry_of = {table: entry for entry, table in names.tables.items()}
    for entry in entries.values():
        table = entry.table.name
        if table in unrouted and table not in told:
            told.add(table)
            one = unrouted[table]
            many = "is" if one.items == 1 else "are"
            lines.append(
                f"  # {table} holds items of several kinds. {plural(one.items, 'item')} {many} of none of these: unrouted."
            )
        lines += _entry(entry, _own(names, entry, entry_of[table]))
    return "\n".join(lines) + "\n"


def _own(names: Names, entry: Drafted, table_entry: str) -> tuple[str, str] | None:
    """The entry's own source and target, where the defaults do not make them from its name."""
    if not names.source:
        return names.own[table_entry]
    if entry.name == table_entry:
        return None
    return names.source.replace("{table}", table_entry), names.target.replace("{table}", table_entry)


def _entry(entry: Drafted, own: tuple[str, str] | None) -> list[str]:
    key = key_text([list(part) for part in entry.table.key])
    lines = [_with(f"  {scalar(entry.name)}:", f"{plural(entry.items, 'item')}; key {one_line(key)}")]
    if own:
        lines += [f"    source: {scalar(own[0])}", f"    target: {scalar(own[1])}"]
    if entry.where:
        said = f"{entry.items:,} of {plural(entry.of_table, 'item')}"
        lines.append(_with(f"    where: {_said(entry.where)}", said))
    choice = entry.id
    lines.append(_with(f"    id: {_said(choice.rule) if choice.attribute else 'null'}", choice.why))
    if choice.attribute and choice.id_format != "uuid":
        lines.append(f"    id_format: {choice.id_format}")
    lines += _matches(entry)
    lines.append(_with("    create: like_source", structure(entry.table, entry.ttl)))
    certain = [rule for rule in entry.rules if not rule.ambiguous]
    if certain:
        lines.append("    references:")
        lines += [_with(f"      {scalar(rule.path)}: {_said(rule.rule)}", rule.why) for rule in certain]
    open_ = [rule for rule in entry.rules if rule.ambiguous]
    if open_ and not certain:
        lines.append("    # references:")
    for rule in open_:
        lines += _open(rule, begin="      # " if certain else "    #   ")
    lines += [
        f"    # {one_line(name)}: {plural(number, 'value')} look like ids, and none is an id of a table here"
        for name, number in entry.like_ids.items()
    ]
    lines += [
        f"    # {one_line(part)}: {plural(number, 'value')} of which no item here is the owner: they stay as they are"
        for part, number in entry.stays.items()
    ]
    return lines


def _matches(entry: Drafted) -> list[str]:
    """Comments on natural keys: a rule for each that needs a decision, and which have no value that both sides have."""
    found = entry.natural_keys
    lines = [
        _with(f"    # match: {_said({'by': one.by, 'found': 'reuse'})}", f"decide: {one.why}")
        for one in found
        if one.to_decide
    ]
    if apart := [one for one in found if not one.to_decide]:
        names = " or ".join(one_line(one.attribute) for one in apart)
        nearly = sum(one.nearly for one in apart)
        verb = "differs" if nearly == 1 else "differ"
        but = f"; {plural(nearly, 'value')} {verb} only in letter case or blanks" if nearly else ""
        lines.append(f"    # no match: no value of {names} is also in the target{but}")
    return lines


def _open(rule: Rule, begin: str) -> list[str]:
    """A rule that needs a decision: comments, one for each entry that it may refer to."""
    why = f"decide: {rule.why}"
    if rule.rule is None:
        return [f"{begin}{one_line(rule.path)}  # {why}"]
    said = [rule.rule] if "{" in str(rule.rule) else list(rule.parents)
    return [f"{begin}{scalar(rule.path)}: {_said(one)}  # {why}" for one in said]


def _said(rule: Any) -> str:
    """A rule as YAML on one line; its texts are read as they are."""
    if isinstance(rule, dict):
        return "{" + ", ".join(f"{scalar(name)}: {_said(value)}" for name, value in rule.items()) + "}"
    if isinstance(rule, list):
        return f"[{', '.join(map(_said, rule))}]"
    return str(rule).lower() if isinstance(rule, bool) else literal(rule)


def structure(table: Table, ttl: str | None) -> str:
    """What `create: like_source` makes, as a phrase."""
    kinds = [
        f"{'local' if index.local else 'global'} index {name} on "
        f"{one_line(key_text([list(part) for part in index.key], index.partition))}"
        f" ({one_line(projection_text(index.projection if isinstance(index.projection, str) else list(index.projection)))})"
        for name, index in sorted(table.indexes.items())
    ]
    provisioned = "on demand" + ("" if table.billing != "PROVISIONED" else ", the source is provisioned")
    return ", ".join([*kinds, f"TTL by {one_line(ttl)}" if ttl else "no TTL", provisioned])


def one_line(text: str) -> str:
    """A name as it may stand in a comment."""
    return text if text.isprintable() else scalar(text)


def _with(line: str, comment: str) -> str:
    return f"{line:<{COLUMN}}  # {comment}"
