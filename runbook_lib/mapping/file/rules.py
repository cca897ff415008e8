"""Single rules of a mapping file, read: names of tables and fields, what references and ids say, paths of `drop`. Pure.

Each function raises ValueError, what is wrong and what to write.
"""

import re
from typing import Any

from ...parameters import Parameters
from ...yaml_files import suggest
from ..ids import FORMATS, around
from ..model import EntryModel, IdInside, Reference
from ..text import paths, templates

_TABLE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,255}")
_TABLE_ARN = re.compile(r"arn:aws[a-z-]*:dynamodb:[a-z0-9-]+:\d{12}:table/[A-Za-z0-9_.-]{3,255}")


def table_name(side: str, template: str | None, name: str, parameters: Parameters) -> str:
    """The table that `source` or `target` (`side`) of the entry `name` names."""
    if not template:
        raise ValueError(f"is missing; name the {side} table in the entry or in defaults")
    known = {"table": name}
    for label, values in (("source", parameters.source), ("target", parameters.target)):
        known |= {f"{label}.{key}": getattr(values, key) for key in ("environment", "region", "account")}
    text = ""
    for part in templates.parse(template):
        if isinstance(part, templates.Hole):
            if part.name not in known or part.format:
                raise ValueError(f"unknown hole {{{part.name}}}{suggest(part.name, list(known))}")
            part = known[part.name] or part.default
            if part is None:
                raise ValueError(f"{template!r} needs a value that the parameters file does not give; add it there")
        text += part
    if text.startswith("arn:"):
        if not _TABLE_ARN.fullmatch(text):
            raise ValueError(f"{text!r} is not a table's ARN; write arn:aws:dynamodb:REGION:ACCOUNT:table/NAME")
        return text
    if not _TABLE_NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not a table name; use letters, digits, '_', '-' and '.', 255 at most")
    return text


def field_name(written: str) -> str:
    """The attribute of the target that a key under `fields` names."""
    if not written:
        raise ValueError("is not a name; name an attribute")
    try:
        steps = paths.parse(written)
    except ValueError:
        steps = ()
    if len(steps) != 1:
        plain = paths.escaped(written.replace("\\", ""))
        raise ValueError(
            f"is a path, and a field is one attribute; if its name holds these characters, write {plain!r}"
        )
    if steps[0] != steps[0].strip():
        raise ValueError(f"names an attribute with a space beside it; write {written.strip()}")
    return steps[0]


def reference(rule: Reference, models: dict[str, EntryModel]) -> tuple[templates.Parts, ...]:
    """The parsed templates of what a reference may refer to; () where it names no entry. `models`: all entries."""
    given = [name for name in ("to", "table_named_by", "record_of") if getattr(rule, name) is not None]
    if len(given) != 1:
        raise ValueError("needs one of `to` (an entry), `table_named_by` (an attribute) and `record_of`")
    record = rule.record_of
    if isinstance(record, str) and record not in models:
        raise ValueError(f"refers to {record!r}, which is not an entry{suggest(record, list(models))}")
    if rule.to == [] or len({*rule.places}) < len(rule.places):
        raise ValueError("`to` is empty or names an entry twice; name one entry or more, each once")
    return tuple(_place(place, models) for place in rule.places)


def _place(place: str, models: dict[str, EntryModel]) -> templates.Parts:
    if "{" not in place and "}" not in place:
        parts: templates.Parts = (templates.Hole(place),)
    else:
        parts = templates.parse(place)
        _check_separated(parts)
    holes = templates.entries(parts)
    if not holes:
        raise ValueError("names no entry; write one in braces, as in 'ORG#{Orgs}'")
    for hole in templates.holes(parts):
        if hole.format or hole.default is not None:
            raise ValueError(f"{{{hole.name}}} takes no format or default; name the entry alone")
    for hole in holes:
        if hole.name not in models:
            raise ValueError(f"refers to {hole.name!r}, which is not an entry{suggest(hole.name, list(models))}")
        if models[hole.name].id is None:
            raise ValueError(f"refers to {hole.name}, which has no ids (`id: null`); give it an id attribute")
    return parts


def _check_separated(parts: templates.Parts) -> None:
    if templates.touch(parts):
        raise ValueError("two holes with nothing between them cannot be told apart; add the separator")


def drop(path: str) -> paths.Steps:
    """The steps to what `drop` leaves out: names, elements and values of maps."""
    steps = paths.parse(path)
    if not all(isinstance(step, str) or step in (paths.EACH, paths.VALUES) for step in steps):
        raise ValueError(
            "drop leaves out attributes, members of maps and elements; change texts and keys by `transform`"
        )
    return steps


def id_parts(rule: Any) -> templates.Parts:
    """The template of an id inside its attribute; () where the id is the whole attribute, or none."""
    if isinstance(rule, str) and "{id}" in rule:
        raise ValueError(f"is the name of an attribute; write {{in: NAME, as: {rule!r}}} for an id inside its text")
    if not isinstance(rule, IdInside):
        return ()
    parts = templates.parse(rule.form)
    _check_separated(parts)
    names = [hole.name for hole in templates.entries(parts)]
    if names != ["id"]:
        raise ValueError(
            f"`as: {rule.form}` needs the hole {{id}} once, and else only {{*}}; write it as in 'USER#{{id}}'"
        )
    if any(hole.format or hole.default is not None for hole in templates.holes(parts)):
        raise ValueError(f"`as: {rule.form}`: the holes take no format or default; write {{id}} alone")
    return parts


def check_around(id_format: str, parts: templates.Parts) -> None:
    """Raises ValueError where a format repeats the text that stands round the id (`parts`) anyway."""
    if id_format in FORMATS or not parts:
        return
    name, *texts = around(id_format)
    at = next(at for at, part in enumerate(parts) if isinstance(part, templates.Hole) and part.name == "id")
    before, after = "".join(parts[at - 1 : at]), "".join(parts[at + 1 : at + 2])
    for text, is_twice in zip(texts, (before.endswith(texts[0]), after.startswith(texts[1])), strict=True):
        if text and is_twice:
            raise ValueError(f"{text!r} stands beside the id in `as`, and would stand there twice; write {name}")


def takes_id(places: tuple[templates.Parts, ...], own: templates.Parts) -> bool:
    """Whether a reference at the attribute that holds the id would rewrite the id once more."""
    sample = templates.writer(own)(["\0" if hole.name == "id" else "\1" for hole in templates.holes(own)])
    for parts in places:
        taken = templates.reader(parts)(sample) or []
        if any(
            "\0" in text and hole.name != templates.ANY
            for hole, text in zip(templates.holes(parts), taken, strict=False)
        ):
            return True
    return not places  # another attribute names the entry: the whole attribute is read
