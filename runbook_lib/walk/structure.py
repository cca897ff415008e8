"""The structure of a plan's tables on both sides: as they are, or as they will be made. Read-only."""

from typing import Any, NamedTuple

from ..dynamo import backups, tables
from ..dynamo.session import Connection
from ..dynamo.structure.creation import planned
from ..dynamo.structure.description import as_json
from ..errors import DynamoError, Interrupted, NotAvailable, Refused, RunbookError
from ..mapping.model import Entry
from .plan import Plan

NOT_AVAILABLE, NOT_KNOWN = "not available here", "not known"


class Unknown(NamedTuple):
    """Why a setting of a table cannot be told."""

    reason: str  # NOT_AVAILABLE: the engine has no such call; NOT_KNOWN: the call was refused
    sentence: str


class Settings(NamedTuple):
    """What a table has set that DescribeTable does not tell."""

    known: dict[str, Any]  # ttl: the attribute or None; recovery: whether point-in-time recovery is on
    unknown: dict[str, Unknown]


def read_settings(connection: Connection, name: str) -> Settings:
    """A table's TTL and point-in-time recovery. What is not answered is unknown, never an error: only notes depend on it."""
    found = Settings({}, {})
    for what, ask in (
        ("ttl", lambda: tables.ttl_attribute(connection, name)),
        ("recovery", lambda: backups.recovery(connection, name).on),
    ):
        try:
            found.known[what] = ask()
        except (DynamoError, Refused, Interrupted) as problem:
            found.unknown[what] = _unknown(problem)
    return found


def _unknown(problem: RunbookError) -> Unknown:
    return Unknown(NOT_AVAILABLE if isinstance(problem, NotAvailable) else NOT_KNOWN, str(problem))


class Structures(NamedTuple):
    """Both sides' tables, each as `description.as_json` gives it."""

    source: dict[str, dict[str, Any]]
    target: dict[str, dict[str, Any] | None]  # of a missing table what `create` will make; None: nobody makes it
    unknown: dict[tuple[str, str], dict[str, Unknown]]  # side, table → settings that cannot be told


def read_structures(plan: Plan) -> Structures:
    """The structure of every table of the chosen entries, on both sides."""
    found = Structures({}, {}, {})

    def settings_of(connection: Connection, name: str) -> dict[str, Any]:
        settings = read_settings(connection, name)
        if settings.unknown:
            found.unknown[connection.label, name] = settings.unknown
        return settings.known

    for name in sorted(plan.by_source()):
        found.source[name] = as_json(plan.source_tables[name], settings_of(plan.source, name))
    for name, entry in sorted({route.entry.target: route.entry for route in plan.routes.values()}.items()):
        if (table := plan.target_tables[name]) is None:
            found.target[name] = planned_of(entry, found.source[entry.source])
        else:
            found.target[name] = as_json(table, settings_of(plan.target, name))
    return found


def planned_of(entry: Entry, source: dict[str, Any]) -> dict[str, Any] | None:
    """The table that an entry's `create` makes, None without one; `source` is its source's description."""
    if entry.model.create is None:
        return None
    made = planned(entry.model.create)
    if entry.like_source:
        del made["ttl"]
        made |= {key: source[key] for key in ("ttl",) if key in source}
    return made


def wanted_ttl(plan: Plan, entry: Entry) -> tuple[str | None, Unknown | None]:
    """The TTL attribute that a created table gets, and why the source's cannot be told where it is to have that.

    Raises Interrupted where the endpoint is overloaded.
    """
    if not entry.like_source:
        return entry.model.create.ttl, None
    try:
        return tables.ttl_attribute(plan.source, entry.source), None
    except (DynamoError, Refused) as problem:
        return None, _unknown(problem)
