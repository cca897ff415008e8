"""Drift: how source and target differ from the journal. Figures, and `drift.jsonl`."""

import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import orjson

from ...journal.listings import entry_of, write_listing
from ...verdict import FAIL, REVIEW, Alert, plural

ADDED = "added to the source since it was read"
CHANGED = "changed in the source since it was read"
DELETED = "deleted from the source since it was copied; the copy stays"
UNSELECTED = "changed so that its entry no longer selects it; the copy stays"
GONE_EDITED = "deleted from the source, or no longer to be copied; its copy was edited in the target, and is left alone"
HELD = 1_000_000  # bytes of notes in memory


@dataclass(frozen=True)
class Drift:
    """What one pass of `migrate --delta` found and did, in items."""

    looked_at: int = 0
    added: int = 0  # in the source, and unknown to the journal
    changed: int = 0  # not what the journal says; or its earlier version was still in the target
    deleted: int = 0  # copies whose source item is gone, or is no longer selected
    inserted: int = 0  # of the added and changed: had no copy of ours, has one now
    updated: int = 0  # of the changed: the new version took the copy's place
    kept_edited: int = 0  # of the changed: the copy was edited or deleted in the target, and is left alone
    outdated: int = 0  # of the changed: there is no new version to write, so the copy stays
    conflicts: int = 0  # of the added and changed: the target holds another item under the key; an older copy stays
    quarantined: int = 0  # of the added and changed, without a copy: now not written
    failed: int = 0  # of the added and changed: could not be written; an older copy stays
    withdrawn: int = 0  # had no copy, and is gone from the source: no longer counted
    ambiguous: int = 0  # by `match`: in the target twice now, or perhaps
    match_gone: int = 0  # frozen matches that no longer hold

    def as_json(self) -> dict[str, int]:
        """The figures by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def headline(self) -> str:
        """The pass's result, as a sentence."""
        open_items = self.deleted + self.kept_edited + self.outdated + self.conflicts + self.quarantined + self.failed
        open_items += self.ambiguous + self.match_gone
        return (
            f"{plural(self.looked_at, 'source item')} compared: {self.added:,} added and {self.changed:,} changed since; "
            f"{self.inserted:,} inserted, {self.updated:,} replaced, {open_items:,} left for you to decide."
        )

    def steps(self) -> list[str]:
        """The steps that the pass would take."""
        left = self.kept_edited + self.outdated + self.deleted
        found = {
            f"insert {plural(self.inserted, 'item')} added to the source since": self.inserted,
            f"replace {plural(self.updated, 'item')} that the source has changed": self.updated,
            f"leave and list {plural(left, 'item')}": left,
        }
        return [step for step, number in found.items() if number] or ["write nothing: the source has not changed"]

    def alerts(self) -> list[Alert]:
        """The open items after the pass."""
        done = self.inserted + self.updated
        alerts = []
        if done:
            message = f"{plural(self.inserted, 'item')} inserted and {self.updated:,} replaced, because the source had changed"
            alerts.append(Alert("", "", message, "Nothing to do."))
        for level, number, message, action in (
            (
                REVIEW,
                self.deleted,
                "{} in the target whose source item is gone",
                "The migration never deletes them; decide by hand.",
            ),
            (
                REVIEW,
                self.kept_edited,
                "{} changed in the source, and in the target too: left alone",
                "Decide which version is right; delete the other one, then give --delta again.",
            ),
            (
                REVIEW,
                self.outdated,
                "{} changed in the source to a version that is not written: the older copies stay",
                "Correct the items or the mapping.",
            ),
            (
                REVIEW,
                self.conflicts,
                "{} added or changed in the source whose key another item in the target has: that and older copies stay",
                "Decide which is right; move or delete the other one, then give --delta again.",
            ),
            (
                FAIL,
                self.failed,
                "{} added or changed in the source that could not be written: older copies stay",
                "The reasons are there or in failed.jsonl; correct that, then give --delta again.",
            ),
        ):
            if number:
                see = f"See drift.jsonl. {action}"
                alerts.append(Alert(level, "", message.format(plural(number, "item")), see))
        alerts += alerts_of_doubles(self.ambiguous, self.match_gone)
        return alerts


def alerts_of_doubles(ambiguous: int, gone: int) -> list[Alert]:
    """What a delta has found of `match`, in source items."""
    action = "See matches.jsonl. The target's items stay; decide by hand, or roll back and start a new run."
    told = {
        "{} in the target twice now, or perhaps: as copies, and as items of its own": ambiguous,
        "{} matched no longer: one of both is gone, or has other values": gone,
    }
    return [
        Alert(REVIEW, "", message.format(plural(number, "source item")), action)
        for message, number in told.items()
        if number
    ]


class Notes:
    """The lines of `drift.jsonl`, on disk until they are written. Thread-safe; memory is bounded."""

    def __init__(self):
        """Nothing yet."""
        self._file = tempfile.SpooledTemporaryFile(HELD, prefix="runbook-")  # noqa: SIM115
        self._lock = threading.Lock()

    def add(self, table: str, key: dict, reason: str) -> None:
        """Notes one item by its source key. Raises OSError."""
        with self._lock:
            self._file.write(orjson.dumps(entry_of(table, key, "", reason)) + b"\n")

    def write(self, folder: Path) -> int:
        """Writes `drift.jsonl` into a run's folder; replaces or removes an older one. Returns the number of lines."""
        return write_listing(folder, "drift", self._lines())

    def _lines(self) -> Iterator[dict[str, Any]]:
        self._file.seek(0)
        for line in self._file:
            yield orjson.loads(line)
