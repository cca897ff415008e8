"""The sealed plan: `plan.json` holds what 01 saw, and 03 of the same run holds the world against it.

Before its first insert 03 compares the tables. After the walk its journal tells how many items there were, and with which
attributes. What it finds goes into the journal, so that a report can be made again.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..dynamo.structure.differences import (
    SHAPE,
    Difference,
    differences,
    key_text,
    projection_text,
    sentence,
)
from ..errors import Refused
from ..journal.log import check_schema
from ..journal.snapshot import Snapshot
from ..journal.stage import Stage
from ..journal.table_file import Seen
from ..run.chain import recorded
from ..run.files import file_sha256, json_seal, read_json, write_atomically
from ..run.folder import Run, iso, now
from ..values import FURTHER
from ..verdict import REVIEW, Alert, plural
from ..walk.plan import Plan
from ..walk.structure import Structures, read_structures

FILE, SCHEMA = "plan.json", 1
WRITER = "01_analyze"
# Beside the words of `differences`:
TABLE, RECORDS, ATTRIBUTE, TYPE, MOMENT, MATCH = "table", "records", "attribute", "type", "moment", "match"
MISSING, ELSEWHERE = "missing", "made by somebody else"  # what is said of a target table
NAMED = 6  # deviations of a table that an alert names


class Deviation(NamedTuple):
    """One thing that is not as 01 saw it. `planned` and `found` are plain JSON; None where there is, or was, nothing."""

    side: str  # source or target
    table: str  # of RECORDS, ATTRIBUTE, TYPE and MATCH the entry
    what: str
    name: str  # of the index or the attribute; of MATCH, of all that are compared
    planned: Any
    found: Any

    @property
    def is_shape(self) -> bool:
        """Whether a migration depends on it: a key, an index or a projection of a target table."""
        return self.side == "target" and self.what in SHAPE

    def phrase(self) -> str:
        """What is different, as a phrase without its table."""
        if self.what == "index" and self.planned is None:
            return f"index {self.name} is new"
        if self.what in SHAPE:
            return sentence(Difference(self.what, self.name, self.planned, self.found))
        if self.what == TABLE:
            return f"the table was {self.planned}, and is {self.found}"
        if self.what == RECORDS:
            return f"{plural(self.found, 'item')}, not {self.planned:,}"
        if self.what == ATTRIBUTE:
            return f"attribute {self.name} is {'new' if self.planned is None else 'in no item any more'}"
        if self.what == MOMENT:
            return f"items count as expired as of {self.found}, not {self.planned}"
        if self.what == MATCH:
            planned = f"{plural(self.planned['matched'], 'match', 'matches')} by {self.name} planned"
            return f"{planned}, {self.found['new']:,} new since and {self.found['gone']:,} gone"
        if self.what == TYPE:
            return f"attribute {self.name} has values of type {said(self.found)}, not only {said(self.planned)}"
        where = f" of index {self.name}" if self.name else ""
        return f"{self.what}{where} is {said(self.found)}, not {said(self.planned)}"


@dataclass(frozen=True)
class Held:
    """What 03 found when it held the world against the plan."""

    created: str  # when 01 wrote the plan
    accepted: bool  # by `--accept-drift`
    drift: list[Deviation]

    def as_json(self) -> dict[str, Any]:
        """The report's section `plan`."""
        drift = [deviation._asdict() for deviation in self.drift]
        return {"file": FILE, "created": self.created, "accepted": self.accepted, "drift": drift}

    def alerts(self) -> list[Alert]:
        """One for each table and level. Provisioned capacity may scale by itself: a note."""
        groups: dict[tuple[str, str], list[str]] = {}
        for one in self.drift:
            level = "" if self.accepted or one.what == "capacity" else REVIEW
            groups.setdefault((level, one.table), []).append(one.phrase())
        action = (
            "See plan.drift in the report. If this is as you want it, go on with --accept-drift; else analyze again."
        )
        done = "Nothing to do: --accept-drift accepts it." if self.accepted else action
        return [
            Alert(level, table, f"not as 01 saw it: {_listed(phrases)}", done)
            for (level, table), phrases in groups.items()
        ]


def said(value: Any) -> str:
    """A planned or found thing in words."""
    if value is None or value == []:
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return key_text(value) if isinstance(value[0], list) else ", ".join(value)
    if isinstance(value, dict) and "key" in value and "projection" in value:
        return f"{key_text(value['key'], value['partition'])}, projects {projection_text(value['projection'])}"
    return value if isinstance(value, str) else json.dumps(value)


def _listed(phrases: list[str]) -> str:
    more = len(phrases) - NAMED
    return "; ".join(phrases[:NAMED]) + (f"; and {more:,} more" if more > 0 else "")


# 01


def write_plan(run: Run, plan: Plan, structures: Structures, tables: Mapping[str, dict[str, Any]]) -> None:
    """Writes `plan.json`, in the place of an older one. It holds names, types, counts and structures, never a value.

    `tables`: entry → `records` (items, without those left out because they have expired), and `attributes`: name → `types`,
    and `routed`: the routed items that have it.
    """
    content = {
        "schema": SCHEMA,
        "run_id": run.id,
        "created": iso(now()),
        "fingerprints": plan.identity._asdict(),
        "tables": tables,
        "source": {name: {"exists": True, "structure": table} for name, table in structures.source.items()},
        "target": {
            name: {"exists": plan.target_tables[name] is not None, "structure": table}
            for name, table in structures.target.items()
        },
    }
    if plan.expiry:
        content["expiry"] = plan.expiry.as_json()
    if plan.matches:
        content["matches"] = plan.matches.as_json()
    content["sha256"] = json_seal(content)
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_atomically(run.folder / FILE, text.encode(), 0o600)


def present(counts: Counter) -> int:
    """Of a ledger's counts: the items that have the attribute."""
    return counts.total() - counts["defaulted"]


# 03


def read_plan(run: Run) -> dict[str, Any] | None:
    """The plan of the run; None where 01 wrote none. Read-only. Refused where it is not as 01 left it."""
    path, left = run.folder / FILE, recorded(run, FILE, WRITER)
    fix = f"restore it from a copy, or analyze again with the run ID {run.id}"
    if not path.exists():
        if left:
            raise Refused(f"{path} is missing; {fix}.")
        return None
    try:
        content = read_json(path)
        if content.pop("sha256") != json_seal(content):
            raise ValueError
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        raise Refused(f"{path} is damaged; {fix}.") from None
    check_schema(path, content["schema"], SCHEMA)
    if content["run_id"] != run.id or left not in (None, file_sha256(path)):
        raise Refused(f"{path} is not the one that 01 left; {fix}.")
    return content


def hold(stage: Stage, plan: Plan, *, accepted: bool = False, more: Sequence[Deviation] = ()) -> None:
    """Compares the tables of the plan's entries with `plan.json`, where the run has one. Writes to the journal.

    `more`: what else was found not to be as planned.
    Refused where a key, an index or a projection of a target table is not as planned, unless `accepted`.
    """
    if (content := read_plan(stage.run)) is None:
        return
    found = [*_of_tables(content, plan, _made_by(stage.run)), *more]
    shape = [one for one in found if one.is_shape]
    if shape and not accepted:
        raise Refused(
            f"{shape[0].table} is not as 01 saw it ({content['created']}): "
            f"{_listed([one.phrase() for one in shape if one.table == shape[0].table])}; "
            f"analyze again with the run ID {stage.run.id}, or go on with --accept-drift."
        )
    stage.record(
        "plan",
        sha256=json_seal(content),
        created=content["created"],
        share=plan.parameters.limits.drift,
        accepted=accepted,
        drift=[list(one) for one in found],
        tables={name: content["tables"][name] for name in plan.routes},
    )


def accept(stage: Stage, *, accepted: bool) -> None:
    """Accepts what an earlier execution found, where this one has nothing to insert. Writes to the journal."""
    if accepted and (events := list(stage.events("plan"))) and not events[-1]["accepted"]:
        content = {key: value for key, value in events[-1].items() if key not in ("kind", "at")}
        stage.record("plan", **{**content, "accepted": True})


def _of_tables(content: dict[str, Any], plan: Plan, made: set[str]) -> Iterator[Deviation]:
    structures = read_structures(plan)
    if plan.expiry and plan.expiry.moment != (planned := content.get("expiry", {}).get("moment")):
        yield Deviation("source", "", MOMENT, "", planned, plan.expiry.moment)  # 01 was at work when 03 began
    for side, tables in (("source", structures.source), ("target", structures.target)):
        for name, found in tables.items():
            planned = content[side][name]
            if not planned["exists"] and name not in made:
                yield Deviation(side, name, TABLE, "", MISSING, ELSEWHERE)
            if planned["structure"] is not None:
                for one in differences(planned["structure"], found):
                    yield Deviation(side, name, *one)


def _made_by(run: Run) -> set[str]:
    """The target tables that this run created."""
    last = {one["table"]: one["kind"] for one in Stage(run, "create").events("made", "created", "deleted")}
    return {table for table, kind in last.items() if kind != "deleted"}


def held(journal: Snapshot) -> Held | None:
    """What a migration's journal says of the plan it was held against last; None where it was held against none."""
    events = journal.events("plan")
    if not events:
        return None
    last, found, tables = events[-1], [], {}
    for event in events:  # an execution may have been for some entries alone
        if event["sha256"] == last["sha256"]:  # else 01 was repeated since
            found += [one for one in map(Deviation._make, event["drift"]) if one not in found]
            tables |= event["tables"]
    done = {entry for one in journal.passes() if one.done for entry in one.entries}
    counted, seen = journal.state().tables, journal.seen()
    for entry, planned in tables.items():
        if entry in done:
            number = counted[entry]["scanned"] - counted[entry]["expired"] if entry in counted else 0
            if abs(number - planned["records"]) > last["share"] * planned["records"]:
                found.append(Deviation("source", entry, RECORDS, "", planned["records"], number))
        if entry in seen:  # a journal of an older version says nothing of attributes
            found += _of_attributes(entry, planned["attributes"], seen[entry], whole=entry in done)
    return Held(last["created"], last["accepted"], found)


def _of_attributes(entry: str, planned: dict[str, dict], seen: Seen, *, whole: bool) -> Iterator[Deviation]:
    """Attributes and types that 01 did not see, and, of a `whole` entry, attributes that are gone.

    Where there are too many names to tell them apart, a name says nothing.
    """
    there = seen.types.keys() | {name for name, counts in seen.ledger.items() if present(counts)}
    for name in sorted(planned.keys() | there):
        known = planned.get(name, {}).get("types", ())
        letters = sorted(seen.types.get(name, ()))
        if name in there and not known:
            if FURTHER not in (name, *planned):
                yield Deviation("source", entry, ATTRIBUTE, name, None, letters)
        elif known and name not in there:
            if whole and planned[name]["routed"] and FURTHER not in (name, *there):
                yield Deviation("source", entry, ATTRIBUTE, name, known, None)
        elif known and name != FURTHER and not set(letters) <= set(known):
            yield Deviation("source", entry, TYPE, name, known, letters)
