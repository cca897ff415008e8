"""How each target table is built, compared with its sources and with the mapping's `create`: what stops, what is lost.

Read-only. A table that does not exist yet is compared as `create` will make it.
"""

from collections.abc import Iterator
from typing import Any

from ...dynamo.structure.differences import SHAPE, Difference, differences, is_narrower, lacking, sentence
from ...mapping.model import Entry
from ...verdict import FAIL, REVIEW, plural
from ...walk.plan import Plan
from ...walk.structure import NOT_AVAILABLE, Structures, planned_of, read_structures
from .checks import NOTE, Check

SETTINGS = ("ttl", "stream", "recovery", "protection")  # what `create` may ask for beside the shape
CALLED = {
    "ttl": "TTL",
    "stream": "the stream",
    "recovery": "point-in-time recovery",
    "protection": "deletion protection",
    "billing": "billing",
    "capacity": "capacity",
    "replica": "replicas",
    "encryption": "encryption",
    "class": "the table class",
}
_LOST = {  # what the source has and an existing target lacks → what to do
    "index": "Add it to the target, or make sure that nothing queries it.",
    "projection": "Create the index anew, or make sure that its readers do not need the rest.",
    "ttl": "Turn it on in the target, or items that the source would delete stay for ever.",
    "stream": "Turn it on before its consumers move to the target.",
    "recovery": "Turn it on in the target: it is a way back from what others do, too.",
    "protection": "Turn it on in the target after the migration.",
    "replica": "Add the replicas after the migration: each of them takes every write again.",
    "encryption": "Set the target's key before the migration if your rules ask for one.",
    "class": "Change the target's table class if you want the source's.",
}
_IN_CREATE = ("index", "projection", *SETTINGS)
_LOCAL = "A local index can be made only together with its table: create the target anew, or do without it."
_WIDER = "Nothing is lost; a wider index costs more to write and to keep."


def structure_checks(plan: Plan, structures: Structures | None = None, *, ahead: bool = True) -> list[Check]:
    """The structure's lines of the go/no-go list: what differs, by target table; else one line for the table. Read-only.

    FAIL: a migration would be refused. REVIEW: an index, a part of one, or TTL is lost; in production also point-in-time
    recovery and deletion protection. NOTE: the rest. A missing table that nobody describes has no line here. `ahead`: also what
    a migration that is still to come will meet.
    """
    structures = structures or read_structures(plan)
    checks = [check for name in structures.target for check in _of_table(plan, structures, name, ahead)]
    return [*checks, *_without_safeguards(plan, structures, checks), *_unknown(structures)]


def _of_table(plan: Plan, structures: Structures, name: str, ahead: bool) -> list[Check]:
    found, exists = structures.target[name], plan.target_tables[name] is not None
    if found is None:
        return []
    entries = [route.entry for route in plan.routes.values() if route.entry.target == name]
    copies = {entry.source for entry in entries if entry.model.fields is None}
    table = _Table(name, found, exists, plan.parameters.target.production)
    if exists and entries[0].model.create:
        table.compare_with_create(entries[0], structures.source[entries[0].source])
    for source in sorted(copies):
        table.compare_with_source(structures.source[source], described=entries[0].model.create is not None)
    if exists and ahead:
        table.look_at_itself()
    if table.checks:
        return list(table.checks.values())
    compared = [f"{', '.join(sorted(copies))}"] if copies else []
    compared += ["`create`"] if exists and entries[0].model.create else []
    message = f"has everything that {' and '.join(compared)} has" if compared else "has no table to be compared with"
    return [Check("target", name, "structure", "nothing lost" if compared else None, None, "", "", message)]


class _Table:
    """The checks of one target table; of a setting or an index the first that says something counts."""

    def __init__(self, name: str, table: dict[str, Any], exists: bool, production: bool):
        """`exists`: False where the table is as `create` will make it."""
        self._name, self._table, self._exists, self._production = name, table, exists, production
        self.checks: dict[tuple[str, str], Check] = {}  # (what, index or "") → check

    def compare_with_create(self, entry: Entry, source: dict[str, Any]) -> None:
        """What an existing table lacks of what the mapping describes. Billing and units may have been tuned since."""
        wanted = planned_of(entry, source) or {}
        for one in lacking(wanted, self._table):
            self._add(one, FAIL, "Correct the table, or the mapping's `create`.")
        for one in differences(wanted, self._table):
            if one.what == "projection":
                self._add(one, NOTE, _WIDER)
            elif one.what in SETTINGS and one.wanted:
                self._add(one, self._level(one.what), "The mapping's `create` asks for it: set it by hand.")

    def compare_with_source(self, source: dict[str, Any], *, described: bool) -> None:
        """What a table lacks of its source; `described`: the mapping has a `create`, which decides on the key."""
        for one in differences(source, self._table):
            if one.what == "key":
                fix = "Correct the table, or describe the new key under `create`."
                self._add(one, NOTE if described else FAIL, "`create` wants it so." if described else fix)
            elif one.what in _LOST and _is_lost(one):
                self._add(one, self._level(one.what), self._remedy(one))
            elif one.what == "projection":
                self._add(one, NOTE, _WIDER)
            elif one.what == "ttl":
                self._add(one, NOTE, f"The target deletes items by {one.found}: turn it off if the source keeps them.")
            elif one.what == "billing" and one.wanted == "PROVISIONED":
                self._add(one, NOTE, "Switch to provisioned after the migration if you want the source's units.")
            elif one.what == "billing":
                self._add(one, NOTE, "Its units bound the migration: raise them, or switch to on demand for it.")
            elif one.what == "capacity" and not one.name and one.wanted and one.found and _is_less(one):
                self._add(one, NOTE, "Fewer units than the source has: raise them before the application moves.")

    def look_at_itself(self) -> None:
        """What a migration meets in an existing table, whatever it is compared with."""
        if self._table["stream"]:
            stream = Difference("stream", "", None, self._table["stream"])
            self._add(
                stream, NOTE, "Pause the consumers if unwanted.", "has a stream: its consumers will see every insert"
            )
        if self._table["replicas"]:
            replicas = Difference("replica", "", None, self._table["replicas"])
            message = f"has replicas in {_text(self._table['replicas'])}"
            self._add(replicas, NOTE, "Each replica takes every write again, and costs as much.", message)

    def _level(self, what: str) -> str:
        is_grave = what in ("index", "projection", "ttl") or (self._production and what in ("recovery", "protection"))
        return REVIEW if is_grave else NOTE

    def _remedy(self, one: Difference) -> str:
        if not self._exists and one.what in _IN_CREATE:
            return "Add it to the mapping's `create` before 02 makes the table, or make sure that nobody needs it."
        return _LOCAL if one.what == "index" and one.wanted["local"] else _LOST[one.what]

    def _add(self, one: Difference, level: str, action: str, message: str = "") -> None:
        if not message and one.what in SHAPE:
            message = sentence(one)
        elif not message:
            message = f"{CALLED[one.what]} is {_text(one.found)}, not {_text(one.wanted)}"
        found, wanted = ({one.name: one.found}, {one.name: one.wanted}) if one.name else (one.found, one.wanted)
        check = Check("target", self._name, one.what, found, wanted, level, action, message)
        self.checks.setdefault((one.what, one.name), check)


def _is_lost(one: Difference) -> bool:
    """Whether the source has a setting that the target lacks, or has otherwise."""
    if one.what == "projection":
        return is_narrower(one.found, one.wanted)
    if one.what == "encryption":  # the keys of two accounts always differ
        return one.wanted["type"] == "KMS" and one.found["type"] != "KMS"
    if one.what == "replica":
        return bool(set(one.wanted) - set(one.found))
    return bool(one.wanted) and (one.what != "class" or one.found == "STANDARD")


def _is_less(one: Difference) -> bool:
    return any(one.found[unit] < one.wanted[unit] for unit in one.wanted)


def _without_safeguards(plan: Plan, structures: Structures, checks: list[Check]) -> Iterator[Check]:
    """One line for all production tables that lack what their sources lack as well."""
    existing = [name for name, table in plan.target_tables.items() if table and name in structures.target]
    for what in ("recovery", "protection") if plan.parameters.target.production else ():
        said = {check.table for check in checks if check.what == what}
        bare = sorted(
            name for name in existing if (structures.target[name] or {}).get(what) is False and name not in said
        )
        if bare:
            message = f"{CALLED[what]} is off in {len(bare):,} of {plural(len(existing), 'production table')}"
            yield Check("target", bare[0] if len(bare) == 1 else "", what, bare, None, NOTE, _LOST[what], message)


def _unknown(structures: Structures) -> Iterator[Check]:
    """One line for a setting of a side that cannot be told, not one for each of its tables."""
    grouped: dict[tuple[str, str, str], list[str]] = {}
    for (side, _), unknown in structures.unknown.items():
        for what, why in unknown.items():
            grouped.setdefault((side, what, why.reason), []).append(why.sentence)
    for (side, what, reason), sentences in grouped.items():
        action = "Nothing to do: the endpoint has no such call." if reason == NOT_AVAILABLE else sentences[0]
        yield Check(side, "", what, reason, None, NOTE, action, f"{CALLED[what]} of the {side}'s tables: {reason}")


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return "on" if value else "off"
    if isinstance(value, dict):
        return ", ".join(f"{key} {part}" for key, part in value.items() if part is not None)
    return ", ".join(value) or "none" if isinstance(value, list) else str(value)
