"""What following did: figures for the report, and whether the migration ends with it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...errors import Interrupted
from ...verdict import FAIL, REVIEW, Alert, plural
from .drift import alerts_of_doubles

STOPPED = "following was stopped: what the source changes since then is not in the target"


@dataclass(frozen=True)
class TableFollowed:
    """What came of one source table's stream, over all executions."""

    since: str  # when a position was first noted
    records: int = 0  # of the stream, that were applied
    inserted: int = 0  # items
    replaced: int = 0
    deleted: int = 0  # copies of ours whose source item is gone, or no longer to be copied
    drifted: int = 0  # left alone now: see drift.jsonl
    walked_again: list[Mapping[str, Any]] = field(default_factory=list)  # at, until, lost, and what the walk did

    def as_json(self) -> dict[str, Any]:
        """The figures in the report."""
        return {**vars(self), "applied": self.inserted + self.replaced + self.deleted}


@dataclass(frozen=True)
class Followed:
    """What following did."""

    tables: dict[str, TableFollowed]  # by source table
    until: str  # ISO 8601
    result: Any = None  # of what ended it; None where it was stopped
    stopped: Interrupted | None = None  # by hand
    cutover: Mapping[str, Any] | None = None  # the answer of the gate that ended it, as its file has it
    ambiguous: int = 0  # by `match`: source items that are in the target twice, or perhaps
    match_gone: int = 0  # matches that no longer hold

    def total(self, figure: str) -> int:
        """The sum of a figure over the tables."""
        return sum(getattr(table, figure) for table in self.tables.values())

    def as_json(self) -> dict[str, Any]:
        """The report's section `follow`."""
        since = min((table.since for table in self.tables.values()), default=None)
        tables = {name: table.as_json() for name, table in self.tables.items()}
        return {"since": since, "until": self.until, "tables": tables}

    def headline(self) -> str:
        """The result as a sentence."""
        first = ""
        if self.cutover:
            first = f"Both sides are equal: the application may write to the target from {self.cutover['moment']} on. "
        return first + (
            f"{plural(len(self.tables), 'table')} followed: {plural(self.total('records'), 'record')} applied; "
            f"{self.total('inserted'):,} inserted, {self.total('replaced'):,} replaced, {self.total('deleted'):,} deleted, "
            f"{self.total('drifted'):,} left alone."
        )

    def alerts(self) -> list[Alert]:
        """The open items."""
        found = alerts_of_doubles(self.ambiguous, self.match_gone)
        if drifted := self.total("drifted"):
            message = f"{plural(drifted, 'item')} changed in the source, and left alone in the target"
            action = (
                "See drift.jsonl. Decide which version is right; the next change of the item in the source is applied."
            )
            accepted = bool(self.cutover and self.cutover["accepted"])
            done = "Nothing to do: --accept-drift accepts it. drift.jsonl lists them."
            found.append(Alert("" if accepted else REVIEW, "", message, done if accepted else action))
        for name, table in self.tables.items():
            unfinished = [walk for walk in table.walked_again if "until" not in walk]
            lost = sum(bool(walk["lost"]) for walk in table.walked_again)
            if unfinished:
                found.append(Alert(FAIL, name, "a walk that following needs has not ended", "Resume it with --follow."))
            elif lost:
                message = (
                    "the stream no longer held what came next; the table was walked again with the rules of --delta"
                )
                found.append(Alert("", name, message, "Look at drift.jsonl for copies whose source item is gone."))
        return found
