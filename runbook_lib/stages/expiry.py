"""The moment as of which `expired: skip` leaves items out: the clock is read once for all stages of a run, and recorded.

1. 03's first execution decides, and writes the moment into its journal.
2. Before that `plan.json` of 01 counts. 01 itself takes a new moment, as long as 03 has not begun.
3. Without a plan 02's last execution counts, then the last validation of the run.
4. Where none of them knows a moment, it is now. Whoever begins an execution records it.

With the moment the TTL attributes of the source tables are recorded, and every stage goes by these.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from ..dynamo import tables
from ..errors import DynamoError, NotAvailable, Refused
from ..journal.stage import Stage
from ..mapping.model import Entry
from ..run.folder import Run, iso, now
from ..verdict import REVIEW, Alert
from ..walk.plan import SKIP, Expiry, Plan
from . import sealed


def as_of(run: Run, plan: Plan, *, last: Stage | None = None, renew: bool = False) -> Plan:
    """The plan that leaves out what has expired as of the run's moment; itself where no entry says `expired: skip`.

    `last` is the journal of the run's last validation. `renew` is for 01. Reads the run's folder, and DescribeTimeToLive of
    the source where the moment is now. Raises Refused where 03 has begun without a moment, or TTL may not be read.
    """
    skipping = plan.skipping()
    if plan.expiry or not skipping:
        return plan
    sources = {entry.source for entry in skipping}
    found = _of_run(run, last, renew=renew)
    if found and sources - found.attributes.keys():
        raise _unknown(run)
    return plan.as_of(found or Expiry(iso(now()), {name: _attribute(plan, name) for name in sorted(sources)}))


def _of_run(run: Run, last: Stage | None, *, renew: bool) -> Expiry | None:
    migrated = Stage(run, "migrate")
    if found := recorded(migrated.events("execution")):
        return found
    begun = migrated.executions()
    if not renew or begun:
        found = (sealed.read_plan(run) or {}).get("expiry")
        if not found and begun:
            raise _unknown(run)
    if found or renew:
        return Expiry(**found) if found else None
    if found := recorded(Stage(run, "test").events("execution")):
        return found
    with suppress(Refused):  # a damaged journal of a validation is set aside, and the comparison starts again
        return recorded(last.events("execution")) if last else None


def _unknown(run: Run) -> Refused:
    return Refused(
        f"run {run.id} began without a moment as of which items count as expired: its mapping did not say `expired: skip`, "
        "or a repair lost it; start a new run."
    )


def _attribute(plan: Plan, table: str) -> str | None:
    try:
        return tables.ttl_attribute(plan.source, table)
    except NotAvailable:
        return None
    except DynamoError as problem:
        raise Refused(str(problem)) from None


def recorded(executions: Iterable[Mapping[str, Any]]) -> Expiry | None:
    """What the last of a journal's events `execution` says that has a moment."""
    found = [event["expiry"] for event in executions if event.get("expiry")]
    return Expiry(**found[-1]) if found else None


def alerts(entries: Mapping[str, Entry], names: Iterable[str], expiry: Expiry | None) -> list[Alert]:
    """One for each of the entries `names` that says `expired: skip` of a source table without TTL."""
    if expiry is None:
        return []
    found = [entries[name] for name in names if name in entries and entries[name].model.expired == SKIP]
    return [
        Alert(
            REVIEW,
            entry.name,
            f"`expired: skip` leaves nothing out: {entry.source} has no TTL, or DescribeTimeToLive is not available there",
            "Turn TTL on in the source and start a new run, or take `expired: skip` out of the mapping.",
        )
        for entry in found
        if not expiry.attributes.get(entry.source)
    ]
