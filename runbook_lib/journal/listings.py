"""What a run leaves beside its report: the listing files and the id map, read from the journal."""

import binascii
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from ..mapping.model import Entry, IdInside
from ..mapping.walkers import LINK_BYTES, NOWHERE
from ..run.files import Unfinished, file_sha256
from ..run.spill import HashLog
from .intents import Intent, JournalRow
from .log import ALREADY_THERE, CONFLICT, FAILED, INSERTED, REPLACED
from .snapshot import Snapshot

LISTINGS = ("quarantine", "conflicts", "unrouted", "failed", "unreadable")
TAKEN = "the target holds a different item under this key"
STALE = "the source item changed after its earlier version had arrived; `runbook migrate --delta` replaces that version"
SHARED = "another source item has the same target key and comes first"
UNROUTED = "no entry selects it"
ARRIVED = (INSERTED, ALREADY_THERE)
NEW, KEPT, FOUND = "new", "kept", "matched"  # how an item has the id that the id map gives
_ROWS = 50_000  # of the id map in memory at a time


def entry_of(table: str, key: dict, attribute: str = "", reason: str = "") -> dict[str, Any]:
    """One object of a listing file."""
    return {"table": table, "key": key, "attribute": attribute, "reason": reason}


def write_listing(folder: Path, name: str, entries: Iterable[dict[str, Any]]) -> int:
    """Writes `<name>.jsonl` (mode 0600), whole or not at all; removes it where there are no entries. Gives their number."""
    with _Listing(folder, name) as listing:
        for entry in entries:
            listing.add(entry)
    return listing.number


class _Listing:
    """A listing file that is being written; in its place when the block ends."""

    def __init__(self, folder: Path, name: str):
        self._path, self.number = folder / f"{name}.jsonl", 0

    def __enter__(self) -> "_Listing":
        self._beside = Unfinished(self._path)
        return self

    def add(self, entry: dict[str, Any]) -> None:
        self._beside.file.write(orjson.dumps(entry) + b"\n")
        self.number += 1

    def __exit__(self, *exception) -> None:
        self._beside.end(whole=exception[0] is None and self.number > 0)
        if exception[0] is None and not self.number:
            self._path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Written:
    """What one reading of a stage's journal gave."""

    id_map: dict[str, Any]  # file, rows, sha256
    relationships: int  # references of items that arrived
    preserved: int  # those of them whose parent is in the target as well
    errors: list[dict[str, Any]]  # failed items by entry and reason
    lost: HashLog  # links of the references whose parent is not in the target
    unreadable: Counter  # entry, reference path -> values of items that arrived and that no rule could read as ids
    several: Counter  # entry, reference path -> references whose id several entries have


def reference_line(entry: Entry | str, key: dict, path: str | None, to: str | None = None) -> dict[str, Any]:
    """One object of `dangling.jsonl` or `unreadable.jsonl`. Where no parent is given, `to` is what the mapping says there."""
    if isinstance(entry, Entry):
        entry, to = entry.name, to or (_meant(entry, path) if path else None)
    return {"table": entry, "key": key, "path": path, "to": to}


def _meant(entry: Entry, path: str) -> str | None:
    """The entry whose ids a path should hold; of several what should stand there; None where the item names the entry."""
    rule = entry.model.references.get(path)
    said = [*rule.places, *([rule.record_of] if isinstance(rule.record_of, str) else [])] if rule else []
    names = entry.named(path) if rule and rule.places else {*said}
    if path == entry.model.id:
        own = entry.model.id_rule
        said.append(own.form.replace("{id}", f"{{{entry.name}}}") if isinstance(own, IdInside) else entry.name)
        names |= {entry.name}
    return names.pop() if len(names) == 1 else " or ".join(said) or None


def write_lists(folder: Path, journal: Snapshot, entries: Mapping[str, Entry]) -> Written:
    """Writes the listing files and the id map of a stage into its run's folder. Reads each of its journal files once."""
    passes = Counter(file.begin["table"] for file in journal.files if file.begin["segment"] == 0)
    relations, errors, unreadable, several = Relations(), Counter(), Counter(), Counter()
    with ExitStack() as stack:
        files = {name: stack.enter_context(_Listing(folder, name)) for name in LISTINGS}
        id_map = stack.enter_context(_IdMap(folder))
        seen: set[bytes] = set()
        for table, intent in journal.intents(final=True):
            for name, entry in _entries(table, intent):
                if name == "unrouted" and passes[table] > 1:  # each pass over a table meets the same ones
                    place = orjson.dumps([table, entry["key"]])
                    if place in seen:
                        continue
                    seen.add(place)
                files[name].add(entry)
            errors.update((intent.rows[int(index)].entry, reason) for index, reason in intent.errors.items())
            for path, row in _unreadable(intent) if intent.unreadable else ():
                unreadable[row.entry, path] += 1
                files["unreadable"].add(reference_line(entries.get(row.entry, row.entry), row.source_key, path))
            for entry, paths in intent.several.items():
                several.update({(entry, path): number for path, number in paths.items()})
            relations.add(intent)
            id_map.add(intent)
    total, lost = relations.count()
    found = [{"table": table, "reason": reason, "items": number} for (table, reason), number in errors.items()]
    return Written(id_map.as_json(), total, total - len(lost), found, lost, unreadable, several)


def dangling_rows(
    journal: Snapshot, lost: Container[bytes]
) -> Iterator[tuple[str, list[tuple[JournalRow, list[bytes]]]]]:
    """(Source table, rows of one page that arrived and refer to what is lost, each with those links)."""
    for table, intent in journal.intents(final=True):
        found = []
        for row, letter in zip(intent.rows, intent.outcome, strict=True):
            if letter in ARRIVED and (links := [link for link in _links(row) if link in lost]):
                found.append((row, links))
        if found:
            yield table, found


def _unreadable(intent: Intent) -> Iterator[tuple[str, JournalRow]]:
    for path, indexes in intent.unreadable.items():
        yield from ((path, intent.rows[index]) for index in indexes if intent.outcome[index] in ARRIVED)


def _links(row: JournalRow) -> list[bytes]:
    """Hashes of the ids that a row refers to."""
    blob = binascii.a2b_base64(row.ids)
    return [blob[at : at + LINK_BYTES] for at in range(LINK_BYTES, len(blob), LINK_BYTES)]


def _entries(table: str, intent: Intent) -> Iterator[tuple[str, dict[str, Any]]]:
    """What an intent with its outcome has for the listings: (listing, object)."""
    for reject in intent.rejects:
        yield "quarantine", entry_of(*reject)
    for row in intent.losers:
        yield "conflicts", entry_of(row.entry, row.source_key, "", SHARED)
    for key in intent.unrouted:
        yield "unrouted", entry_of(table, key, "", UNROUTED)
    if CONFLICT in intent.outcome or FAILED in intent.outcome:
        for index, (row, letter) in enumerate(zip(intent.rows, intent.outcome, strict=True)):
            if letter == CONFLICT:
                yield "conflicts", entry_of(row.entry, row.source_key, "", STALE if index in intent.stale else TAKEN)
            elif letter == FAILED:
                yield "failed", entry_of(row.entry, row.source_key, "", intent.errors[str(index)])


class _IdMap:
    """`id-map.parquet` (columns table, source_id, target_id, how), one row per routed item; in its place when the block ends."""

    def __init__(self, folder: Path):
        self._path, self._rows = folder / "id-map.parquet", 0
        self._batch: list[tuple[str, str, str, str]] = []

    def __enter__(self) -> "_IdMap":
        import pyarrow
        import pyarrow.parquet

        names = ("table", "source_id", "target_id", "how")
        self._schema = pyarrow.schema([(name, pyarrow.string()) for name in names])
        self._beside = Unfinished(self._path)
        self._make, self._writer = pyarrow.record_batch, pyarrow.parquet.ParquetWriter(self._beside.file, self._schema)
        return self

    def add(self, intent: Intent) -> None:
        rows = (row for row, letter in zip(intent.rows, intent.outcome, strict=True) if letter != REPLACED)
        self._batch += [
            (row.entry, row.old_id, row.new_id, KEPT if row.new_id == row.old_id else NEW)
            for row in (*rows, *intent.losers)
        ]
        self._batch += [(row.entry, row.old_id, row.new_id, FOUND) for row in intent.matched]
        if len(self._batch) >= _ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._batch:
            columns = [list(column) for column in zip(*self._batch, strict=True)]
            self._writer.write_batch(self._make(columns, self._schema))
            self._rows += len(self._batch)
            self._batch = []

    def __exit__(self, *exception) -> None:
        whole = False
        try:
            if exception[0] is None:
                self._flush()
            self._writer.close()
            whole = exception[0] is None
        finally:
            self._beside.end(whole=whole)

    def as_json(self) -> dict[str, Any]:
        """File, rows, sha256."""
        return {"file": self._path.name, "rows": self._rows, "sha256": file_sha256(self._path)}


class Relations:
    """References of items that arrived: inserted or already there."""

    def __init__(self) -> None:
        """Counts what `add` is given."""
        self._parents, self._asked = HashLog(LINK_BYTES), HashLog(LINK_BYTES)

    def add(self, intent: Intent) -> None:
        """Takes an intent with its outcome."""
        parents, asked = bytearray(), bytearray()
        for row, letter in zip(intent.rows, intent.outcome, strict=True):
            if letter in (FAILED, REPLACED):
                continue
            blob = binascii.a2b_base64(row.ids)
            if (own := blob[:LINK_BYTES]) != NOWHERE:
                parents += own
            if letter != CONFLICT:
                asked += blob[LINK_BYTES:]
        for row in intent.matched:  # the target has it, under its own id
            parents += binascii.a2b_base64(row.ids)
        self._parents.extend_packed(parents)
        self._asked.extend_packed(asked)

    def count(self) -> tuple[int, HashLog]:
        """(references, links of those whose parent is not in the target)."""
        return len(self._asked), self._asked.without(self._parents)
