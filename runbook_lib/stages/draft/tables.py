"""Which tables to draft: those that a pattern describes, and the name of each one's entry.

A pattern is a name template of a mapping, such as `{table}-{source.environment}`. Where nobody gives one it is derived from
the names that hold the source environment's name as a whole part.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ...discover.text.patterns import common
from ...discover.text.tokens import whole_part
from ...dynamo import tables
from ...dynamo.session import Connection
from ...errors import Refused
from ...mapping.text import templates
from ...parameters import Parameters, Side

ENVIRONMENT = "{source.environment}"
KEYS = ("environment", "region", "account")  # holes of a pattern, of the source
_SEPARATED = re.compile(r"[-_.]")


@dataclass(frozen=True)
class Names:
    """The tables to draft, and how their names are written in the mapping."""

    tables: dict[str, str]  # entry → source table
    source: str | None  # the pattern for `defaults`; None: each entry has its own
    target: str | None
    own: dict[str, tuple[str, str]]  # entry → its own `source` and `target`, where there is no pattern


def find_names(source: Connection, parameters: Parameters, pattern: str) -> Names:
    """The tables to draft. Asks for the list of tables, unless the pattern names one. Raises Refused where there are none."""
    own = parameters.lease.table if parameters.lease else None
    if pattern:
        return _by_pattern(source, parameters, pattern, own)
    side, other = parameters.source, parameters.target.environment
    found = [name for name in tables.names(source) if name != own and _holds(name, side.environment, other)]
    if not found:
        raise Refused(
            f"no table in {source.region} ({source.endpoint_url}) has {side.environment} as a part of its name; check "
            "source.environment and the region, or say how the names are built with --pattern, such as "
            '--pattern "{table}".'
        )
    return _derived(found, side.environment)


def wildcards(parameters: Parameters, pattern: str) -> dict[str, str]:
    """Side → the name, `*` for what varies in it, of the tables that a draft may read there.

    Raises Refused as `find_names` does. Pure.
    """
    sides = {"source": parameters.source, "target": parameters.target}
    if not pattern:
        return {name: f"*{side.environment}*" for name, side in sides.items()}
    parts = ["*" if isinstance(part, templates.Hole) and part.name == "table" else part for part in _parsed(pattern)]
    names = {
        name: "".join(_value(part, side, pattern) if isinstance(part, templates.Hole) else part for part in parts)
        for name, side in sides.items()
    }
    if ENVIRONMENT not in pattern:
        names["target"] += f"-{parameters.target.environment}"
    return names


def _by_pattern(source: Connection, parameters: Parameters, pattern: str, own: str | None) -> Names:
    matching = _regex(pattern, parameters.source)
    target = pattern.replace("{source.", "{target.")
    if ENVIRONMENT not in pattern:  # else it would be the source table itself
        target += "-{target.environment}"
    if "{table}" not in pattern:
        name = _rendered(pattern, parameters.source)
        return Names({name: name}, None, None, {name: (pattern, target)})
    known = set(tables.names(source)) - {own}
    copy = "" if ENVIRONMENT in pattern else f"-{parameters.target.environment}"  # how the names of earlier copies end
    known -= {name for name in known if copy and name.endswith(copy) and name.removesuffix(copy) in known}
    found = {match[1]: match[0] for name in sorted(known) if (match := matching.fullmatch(name))}
    if not found:
        raise Refused(
            f"no table in {source.region} ({source.endpoint_url}) has a name like {pattern}; correct --pattern, the "
            "environment or the region."
        )
    return Names(found, pattern, target, {})


def _regex(pattern: str, side: Side) -> re.Pattern:
    text = ""
    for part in _parsed(pattern):
        if not isinstance(part, templates.Hole):
            text += re.escape(part)
        elif part.name == "table":
            text += "(.+)" if "(.+)" not in text else r"\1"
        else:
            text += re.escape(_value(part, side, pattern))
    return re.compile(text)


def _rendered(pattern: str, side: Side) -> str:
    return "".join(
        _value(part, side, pattern) if isinstance(part, templates.Hole) else part for part in _parsed(pattern)
    )


def _parsed(pattern: str) -> tuple:
    try:
        return templates.parse(pattern)
    except ValueError as problem:
        raise Refused(f"--pattern: {problem}.") from None


def _value(hole: templates.Hole, side: Side, pattern: str) -> str:
    group, _, key = hole.name.partition(".")
    value = getattr(side, key) if group == "source" and key in KEYS else None
    if value is None:
        raise Refused(
            f"--pattern {pattern}: {{{hole.name}}} has no value; use {{table}}, and {', '.join(f'{{source.{k}}}' for k in KEYS)} "
            "as far as the parameters give them."
        )
    return value


def _parts(name: str, environment: str) -> list[re.Match]:
    """Where the environment stands in a name as a whole part."""
    return [*re.finditer(whole_part(re.escape(environment)), name)]


def _holds(name: str, environment: str, other: str) -> bool:
    """Whether a name belongs to the environment, and not to the other one, whose name may hold this one's."""
    inside = _parts(name, other) if environment in other and environment != other else []
    return any(
        not any(o.start() <= part.start() and part.end() <= o.end() for o in inside)
        for part in _parts(name, environment)
    )


def _derived(found: list[str], environment: str) -> Names:
    for before, after in _around(found, environment):
        entries = {name[len(before) : len(name) - len(after)]: name for name in found}
        if all(name == before + entry + after and entry for entry, name in entries.items()):
            pattern = _with_hole(before, environment) + "{table}" + _with_hole(after, environment)
            return Names(entries, pattern, pattern.replace("{source.", "{target."), {})
    used: dict[str, str] = {}
    for name in found:
        used[unique(_SEPARATED.sub("-", _without(name, environment)), used)] = name
    own = {entry: _with_hole(name, environment) for entry, name in used.items()}
    return Names(used, None, None, {e: (text, text.replace("{source.", "{target.")) for e, text in own.items()})


def _around(found: list[str], environment: str) -> Iterable[tuple[str, str]]:
    """What may stand before and after the entries in all names, the most first; the environment is in one of both."""
    whole = found[0]
    if len(found) == 1:  # the name before the environment, else the name after it
        part = _parts(whole, environment)[-1]
        head, tail = whole[: part.start()].rstrip("-_."), whole[part.end() :].lstrip("-_.")
        if head and (not tail or tail.isupper()):
            yield "", whole[len(head) :]
        elif tail:
            yield whole[: len(whole) - len(tail)], ""
        return
    before, after = common(found), common([name[::-1] for name in found])[::-1]
    before = before[: max((at.end() for at in _SEPARATED.finditer(before)), default=0)]
    after = after[min((at.start() for at in _SEPARATED.finditer(after)), default=len(after)) :]
    for one, other in ((before, after), ("", after), (before, "")):
        if _parts(f"{one} {other}", environment):
            yield one, other


def _with_hole(text: str, environment: str) -> str:
    for part in reversed(_parts(text, environment)):
        text = text[: part.start()] + ENVIRONMENT + text[part.end() :]
    return text


def _without(name: str, environment: str) -> str:
    rest = re.sub("[-_.]?" + whole_part(re.escape(environment)), "", name).strip("-_.")
    return rest or name


def unique(name: str, used: Iterable[str]) -> str:
    """The name, with a number behind it where it is in use."""
    taken, number, wanted = set(used), 1, name
    while wanted in taken:
        number += 1
        wanted = f"{name}-{number}"
    return wanted
