"""Why a validation finds a difference: did the source change since it was read, or the target since it was written?

The run's own journal decides. It is read at the first question, so a validation without differences does not read it.
"""

import threading
from collections import Counter
from typing import NamedTuple

from ...journal.log import ALREADY_THERE, CONFLICT, INSERTED
from ...journal.lookup import BY_TARGET, GONE, OF_NO_ENTRY, OPEN, Lookup, Said, item_hash, item_hash_of
from ...journal.snapshot import Snapshot
from ...mapping.routes import Row
from ...run.folder import Run
from ...run.spill import HashSet
from ...values import digest, key_hash
from ...verdict import REVIEW, Alert, plural
from ...walk.plan import Plan
from ..migrate.drift import ADDED, CHANGED, DELETED, UNSELECTED, Notes

FIGURES = ("added", "changed", "deleted", "edited_in_target")
EDITED = "edited in the target since it was copied"
REMOVED = "deleted from the target since it was copied"
BOTH = "changed in the source since it was read, and edited or deleted in the target"
OLDER = "changed in the source since it was copied; the target holds the older copy"
ON_ITS_WAY = "its older copy was deleted for a new version that did not arrive; run the same delta again to insert it"
NOTHING = ("", "")
BATCH = 100


class Drifted(NamedTuple):
    """What happened to one item."""

    figure: str  # one of FIGURES, or "" where the journal explains nothing
    reason: str  # for `drift.jsonl`


class Origins:
    """Answers from the journal of a run's migration. Thread-safe; a `with` block."""

    def __init__(self, migrated: Snapshot, plan: Plan):
        """Explains nothing where the run has not finished a migration, or was rolled back. Read-only."""
        self._plan, self._migrated, self._lock = plan, migrated, threading.Lock()
        self._lookup: Lookup | None = None
        self._entries = set(migrated.entries()) if migrated.state().finished else set()

    def __enter__(self) -> "Origins":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._lookup:
            self._lookup.__exit__(*exception)

    def of_row(self, row: Row, item: dict | None) -> Drifted:
        """What happened to a source item that the target does not hold as expected. `item` is what it holds under the key."""
        if row.entry not in self._entries:
            return Drifted(*NOTHING)
        lookup, found = self._journal(), None if item is None else digest(item)
        source = item_hash(row.entry, row.source_key)
        said = lookup.find([source]).get(source, [])
        if not said:
            of_no_entry = item_hash(self._plan.all_routes[row.entry].entry.source, row.source_key, OF_NO_ENTRY)
            return Drifted("changed", CHANGED) if lookup.find([of_no_entry]) else Drifted("added", ADDED)
        if any(one.digest == found and _is_ours(one) for one in said):
            return Drifted("changed", OLDER)
        settled = [one for one in said if one.letter != OPEN]
        if not settled:
            return Drifted("added", ADDED)
        last = settled[-1]
        if last.letter == INSERTED and last.state == GONE:
            return Drifted("changed", ON_ITS_WAY)
        if last.letter not in (INSERTED, ALREADY_THERE):
            same = last.digest == row.digest
            return Drifted(*NOTHING) if same or (last.letter == CONFLICT and found) else Drifted("changed", CHANGED)
        if last.digest == row.digest:
            return Drifted("edited_in_target", REMOVED if item is None else EDITED)
        if key_hash(lookup.intent(last).rows[last.index].key) != key_hash(row.key):
            return Drifted("changed", CHANGED)
        return Drifted("edited_in_target", BOTH)

    def of_extra(self, extra: dict[str, HashSet], notes: Notes) -> Counter:
        """Figures for the extra items; adds a note for each. `extra`: target table → key hashes."""
        counts: Counter = Counter()
        for target, hashes in extra.items() if self._entries else ():
            for at in range(0, len(hashes), BATCH):
                some = [hashes[index] for index in range(at, min(at + BATCH, len(hashes)))]
                asked = [item_hash_of(target, hashed, BY_TARGET) for hashed in some]
                found = [said[-1] for said in self._journal().find(asked).values()]
                for (entry, key), drifted in self._of_copies(target, found):
                    if drifted.figure:
                        counts[drifted.figure] += 1
                        notes.add(entry, key, drifted.reason)
        return counts

    def _of_copies(self, target: str, copies: list[Said]) -> list[tuple[tuple[str, dict], Drifted]]:
        """Copies that the source no longer produces, and what happened to each item. Reads both sides."""
        rows = [self._journal().intent(one).rows[one.index] for one in copies]
        found = []
        items = self._plan.target.wire.get_many(target, [row.key for row in rows]) if rows else []
        for one, row, item in zip(copies, rows, items, strict=True):
            untouched = item is not None and digest(item) == row.digest
            if one.letter == OPEN and not untouched:
                continue  # it may never have been written
            found.append(((row.entry, row.source_key), self._of_copy(row.entry, row.source_key)))
        return found

    def _of_copy(self, entry: str, source_key: dict) -> Drifted:
        route = self._plan.all_routes[entry]
        (source,) = self._plan.source.wire.get_many(route.entry.source, [source_key])
        if source is None:
            return Drifted("deleted", DELETED)
        if not route.selects(source):
            return Drifted("deleted", UNSELECTED)
        if isinstance(route.route(source), Row):
            return Drifted(*NOTHING)  # it has another key now, under which it counts as missing
        return Drifted("changed", f"{CHANGED} to a version that is not copied; the older copy stays")

    def _journal(self) -> Lookup:
        with self._lock:
            if self._lookup is None:
                targets = {name: route.entry.target for name, route in self._plan.all_routes.items()}
                self._lookup = Lookup(self._migrated, targets)
            return self._lookup


def _is_ours(said: Said) -> bool:
    return said.letter in (INSERTED, OPEN) and said.state != GONE


def alerts(run: Run, counts: Counter) -> list[Alert]:
    """The alerts that follow from the figures."""
    fix = f"Bring the target up to date: runbook migrate PARAMS --run-id {run.id} --delta --execute --confirm ENVIRONMENT."
    found = []
    if number := counts["added"] + counts["changed"]:
        message = f"{plural(number, 'item')} added or changed in the source since the migration"
        found.append(Alert(REVIEW, "", message, f"See drift.jsonl. {fix}"))
    if number := counts["deleted"]:
        message = f"{plural(number, 'item')} deleted from the source, or no longer selected, since the migration"
        found.append(Alert(REVIEW, "", message, "See drift.jsonl. Their copies stay; decide by hand."))
    if number := counts["edited_in_target"]:
        message = f"{plural(number, 'item')} edited or deleted in the target since the migration"
        found.append(
            Alert(REVIEW, "", message, "See drift.jsonl; decide which version is right. Nothing overwrites it.")
        )
    return found
