"""Compares one source item with the journal's record of it: whether it changed, and what to do. Pure."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from ...journal.intents import NOT_ROWS, JournalRow
from ...journal.log import (
    ALREADY_THERE,
    CONFLICT,
    EXPIRED,
    FAILED,
    INSERTED,
    KEPT_EDITED,
    LOSER,
    MATCHED,
    REJECT,
    UNROUTED,
)
from ...journal.lookup import ANNOUNCED, GONE, OF_NO_ENTRY, OPEN, STANDS, Said, item_hash, reason_digest
from ...mapping.routes import Matched, Reject, Row
from ...values import digest, key_hash
from ...walk.walk import Page, Routed, Skipped
from .drift import ADDED, CHANGED

OUTDATED = "outdated"  # like KEPT_EDITED, reasons to leave an item alone; figures of drift.Drift
HELD, UNWRITTEN = "held", "unwritten"  # as well: another item has the new key; DynamoDB refused the new version
SETTLED = (INSERTED, ALREADY_THERE, FAILED)  # outcomes that stay true as long as the source item is the same
ARRIVED = (INSERTED, ALREADY_THERE)
MISSING = "-"  # the letter of a Met whose source item is gone, or is no longer selected by the entry
NO_ENTRY = "no entry selects it"
OVER = "its time to live is over"
IN_PLACE = "an item of the target has its place"


Home = tuple[str, int]  # a source table and a segment: a journal file


class Met(NamedTuple):
    """One source item and what one of its routes makes of it now."""

    home: Home  # where an item is recorded that the journal does not know
    item_hash: bytes
    entry: str  # of an unrouted item its source table
    source_key: dict
    letter: str  # "" for a row; LOSER, REJECT, EXPIRED, MATCHED, UNROUTED or MISSING
    digest: str
    thing: Row | Reject | Skipped | Matched | dict

    def why_not(self) -> str:
        """The reason why there is nothing to write."""
        if self.letter == REJECT:
            return f"{self.thing.attribute}: {self.thing.reason}" if self.thing.attribute else self.thing.reason
        reasons = {UNROUTED: NO_ENTRY, EXPIRED: OVER, MATCHED: IN_PLACE}
        return reasons.get(self.letter, "another source item has its target key")


@dataclass(eq=False)
class Copy:
    """One version of an item that this run inserted or may have inserted, and the item now under its key."""

    row: JournalRow
    said: list[Said]  # all that the journal says about this version
    item: dict | None = None

    @property
    def sure(self) -> bool:
        """Whether the journal says that it was inserted."""
        return any(one.letter == INSERTED for one in self.said)

    @cached_property
    def found(self) -> str | None:
        """The digest of the item; call it when that is known."""
        return None if self.item is None else digest(self.item)

    @property
    def stands(self) -> bool:
        """Whether the target holds it unchanged."""
        return self.found == self.row.digest

    @property
    def vanished(self) -> bool:
        """Whether an earlier pass announced its delete and the delete arrived."""
        return self.item is None and any(one.state == ANNOUNCED for one in self.said)


@dataclass(eq=False)
class Change:
    """What to do for one item."""

    met: Met
    said: list[Said]
    remove: list[Copy] = field(default_factory=list)  # once the new version is there
    vanished: list[Copy] = field(default_factory=list)  # to be recorded as removed
    abandoned: list[Copy] = field(default_factory=list)  # edited, beside the new version: no longer ours
    write: bool = False  # the new version, or why there is none, takes the place of what was said
    kept: str = ""  # KEPT_EDITED, OUTDATED, HELD or UNWRITTEN: the copies to be removed stay
    blocked: bool = False  # another item has the new key
    beside: bool = False  # a copy was edited when its new version was there already, and stays beside it
    reason: str = ""  # why DynamoDB refused the new version

    @property
    def settled(self) -> list[Said]:
        """What complete intents say about the item."""
        return [one for one in self.said if one.letter != OPEN]

    @property
    def counted(self) -> list[Said]:
        """What says that a copy of ours stands."""
        return [one for one in self.said if one.letter == INSERTED and one.state != GONE]

    def strays(self) -> list[Said]:
        """What a pass that died left behind of other versions, where something else counts for the item.

        All that counts for it, where the item is gone and nothing is kept.
        """
        if self.met.letter == MISSING:
            return [] if self.kept else self.settled
        over = [one for one in self.settled if one.state == GONE or (self.counted and one.letter in (CONFLICT, FAILED))]
        return over if len(over) < len(self.settled) else []

    def keeps_key(self, copy: Copy) -> bool:
        """Whether the new version has the key of this copy, or there is none: then the copy is deleted first."""
        return bool(self.met.letter) or key_hash(copy.row.key) == self.met.thing.key_hash

    def told(self, letter: str) -> tuple[str, str]:
        """The figure that counts it, or "", and the reason in `drift.jsonl`. `letter` is its row's outcome."""
        replaced = bool(self.remove) or any(one.letter == INSERTED for one in self.said)
        if self.kept == KEPT_EDITED:
            figure, done = self.kept, "its copy was edited or deleted in the target, and is left alone"
        elif self.kept == HELD:
            figure, done = "conflicts", "the target holds another item under its new key; the older copy stays"
        elif self.kept == UNWRITTEN:
            figure, done = "failed", f"it could not be written ({self.reason}); the older copy stays"
        elif self.kept:
            figure, done = self.kept, f"not copied again ({self.met.why_not()}); the older copy stays"
        elif self.beside or self.abandoned:
            figure, done = (
                KEPT_EDITED,
                "it is copied; its older copy was edited in the target meanwhile, and is left alone",
            )
        elif not self.write:
            figure, done = "updated", "an older copy was deleted"
        elif self.met.letter:
            figure = {LOSER: "conflicts", REJECT: "quarantined"}.get(self.met.letter, "")
            done = f"not copied ({self.met.why_not()})"
        else:
            figure, done = {
                INSERTED: ("updated", "the copy was replaced") if replaced else ("inserted", "inserted"),
                ALREADY_THERE: ("updated", "the target holds an equal item already; the older copy was deleted")
                if self.remove
                else ("", "the target holds an equal item"),
                CONFLICT: ("conflicts", "the target holds a different item under its key"),
                FAILED: ("failed", "it could not be written, see failed.jsonl"),
            }[letter]
        return figure, f"{CHANGED if self.said else ADDED}; {done}"


def met_of(routed: Routed) -> Iterator[Met]:
    """The items of a page, once for each route that takes them."""
    table = routed.page.table
    home = table, routed.page.segment
    for letter, rows in (("", routed.rows), (LOSER, routed.losers)):
        for row in rows:
            yield Met(home, item_hash(row.entry, row.source_key), row.entry, row.source_key, letter, row.digest, row)
    for one in routed.rejects:
        told = reason_digest(one.attribute, one.reason)
        yield Met(home, item_hash(one.entry, one.source_key), one.entry, one.source_key, REJECT, told, one)
    for one in routed.skipped:
        yield Met(home, item_hash(one.entry, one.source_key), one.entry, one.source_key, EXPIRED, "", one)
    for one in routed.matched:
        told = one.by.hex()
        yield Met(home, item_hash(one.entry, one.source_key), one.entry, one.source_key, MATCHED, told, one)
    for key in routed.unrouted:
        yield Met(home, item_hash(table, key, OF_NO_ENTRY), table, key, UNROUTED, "", key)


def is_quiet(met: Met, said: list[Said]) -> bool:
    """Whether the item is as the journal says, judged without reading the target."""
    if len(said) != 1:
        return False
    if met.letter:
        return _says_the_same(met, said[0])
    return said[0].letter in SETTLED and said[0].state == STANDS and said[0].digest == met.digest


def _says_the_same(met: Met, one: Said) -> bool:
    """For an item that is not written: whether the reason is the same as before."""
    return one.letter == met.letter and (met.letter == LOSER or one.digest == met.digest)


def decide(
    met: Met, said: list[Said], copies: list[Copy], item: dict | None, *, deletes: bool = False
) -> Change | None:
    """What to do for an item that is not quiet; None where there is nothing to do.

    `copies` are its versions with what the target holds under their keys. `item` is what it holds under the row's key, where
    that was asked: for a row of an item that the journal knows. With `deletes` the copies of an item go of which there is no
    version to write; else they stay.
    """
    same = next((copy for copy in copies if copy.item is item), None)  # most changes keep their keys
    there = same.found if same else None if item is None else digest(item)
    change = Change(met, said, vanished=[copy for copy in copies if copy.vanished])
    standing = [copy for copy in copies if copy.stands]
    edited = [copy for copy in copies if copy.sure and not copy.stands and not copy.vanished]
    if met.letter and deletes:
        edited = [copy for copy in edited if copy.item is not None]
        change.vanished = [copy for copy in copies if copy.item is None]  # nobody is to look for them any more
        change.kept = KEPT_EDITED if edited else ""
        change.remove = [] if edited else standing
        settled = len(said) == 1 and _says_the_same(met, said[0])
        change.write = not (edited or settled or met.letter == MISSING)
    elif met.letter:
        change.kept = OUTDATED if standing or edited else ""
        change.write = not change.kept and not (len(said) == 1 and _says_the_same(met, said[0]))
    elif edited and there == met.digest and any(one.letter in ARRIVED and one.digest == there for one in said):
        change.abandoned = [copy for copy in edited if copy.row.digest != there]
    elif edited and any(copy.row.digest != met.digest for copy in (*edited, *standing)):
        change.kept = KEPT_EDITED
    elif not edited:
        change.remove = [copy for copy in standing if copy.row.digest != met.digest]
        # Who follows asks the target who has a key, not the source: a loser is one as long as another item is there.
        change.write = not _is_settled(change, standing, there, (CONFLICT, LOSER) if deletes else (CONFLICT,))
        if change.remove:  # only for a new version that is seen in the target
            change.write |= there != met.digest
        taken = there not in (None, met.digest) and not any(map(change.keeps_key, change.remove))
        change.blocked = change.write and taken
        if change.blocked and change.remove:
            change.kept, change.write = HELD, False
    todo = change.write or change.kept or change.remove or change.vanished or change.abandoned or change.strays()
    return change if todo else None


def _is_settled(change: Change, standing: list[Copy], there: str | None, taken: Collection[str]) -> bool:
    """Whether the journal's record of a row still holds. `taken`: letters that say that another item has its key."""
    if not change.settled:
        return False
    met, last = change.met, change.settled[-1]
    if last.digest != met.digest:
        return False
    if last.letter == INSERTED:
        return any(copy.sure and copy.row.digest == met.digest for copy in standing)
    if last.letter in taken:  # holds for as long as the target's item is there
        return there not in (None, met.digest, *(copy.row.digest for copy in change.remove))
    return last.letter in SETTLED


def first_rows(changes: Iterable[Change]) -> list[Row]:
    """The rows of items for which no complete intent had one."""
    return [
        change.met.thing
        for change in changes
        if not change.met.letter and all(one.letter in NOT_ROWS for one in change.settled)
    ]


def routed_of(table: str, segment: int, met: list[Met]) -> Routed:
    """Some items as a page of a segment, for `Inserter.again`. A `stop` rule no longer stops the run here: its item is listed."""
    return Routed(
        Page(table, segment, 0, None, None, []),
        Counter(one.entry for one in met if one.letter != UNROUTED),
        [one.thing for one in met if not one.letter],
        [one.thing for one in met if one.letter == LOSER],
        [one.thing._replace(stop=False) for one in met if one.letter == REJECT],
        [one.thing for one in met if one.letter == UNROUTED],
        [one.thing for one in met if one.letter == EXPIRED],
        [one.thing for one in met if one.letter == MATCHED],
    )
