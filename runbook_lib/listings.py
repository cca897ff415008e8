"""What a run leaves beside its report: the listing files and the id map, read from the journal."""

import base64
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from .journal import CONFLICT, FAILED, REPLACED
from .run import Run
from .stage import Stage

LISTINGS = ("quarantine", "conflicts", "unrouted", "failed")
TAKEN = "the target holds a different item under this key"
SHARED = "another source item has the same target key and comes first"
UNROUTED = "no entry selects it"
_ROWS = 50_000  # of the id map in memory at a time


def entry_of(table: str, key: dict, attribute: str = "", reason: str = "") -> dict[str, Any]:
    """One object of a listing file."""
    return {"table": table, "key": key, "attribute": attribute, "reason": reason}


def write_listing(folder: Path, name: str, entries: Iterable[dict[str, Any]]) -> int:
    """Writes `<name>.jsonl` (mode 0600), whole or not at all; removes it where there are no entries. Gives their number."""
    path, number = folder / f"{name}.jsonl", 0
    temporary = folder / f".{name}.jsonl"
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        for entry in entries:
            file.write(orjson.dumps(entry) + b"\n")
            number += 1
    if number:
        temporary.replace(path)
    else:
        temporary.unlink()
        path.unlink(missing_ok=True)
    return number


def write_listings(stage: Stage) -> dict[str, int]:
    """Writes the listing files of a stage from its journal. Gives how many each holds."""
    return {name: write_listing(stage.run.folder, name, _entries(stage, name)) for name in LISTINGS}


def _entries(stage: Stage, name: str) -> Iterator[dict[str, Any]]:
    seen: set[bytes] = set()
    for table, intent in stage.intents(final=True):
        if name == "quarantine":
            yield from (entry_of(*reject) for reject in intent.rejects)
        elif name == "unrouted":
            for key in intent.unrouted:
                place = orjson.dumps([table, key])  # each pass over a table meets the same ones
                if place not in seen:
                    seen.add(place)
                    yield entry_of(table, key, "", UNROUTED)
        elif name == "conflicts":
            yield from (entry_of(row.entry, row.source_key, "", SHARED) for row in intent.losers)
            for row, letter in zip(intent.rows, intent.outcome, strict=True):
                if letter == CONFLICT:
                    yield entry_of(row.entry, row.source_key, "", TAKEN)
        else:
            for index, (row, letter) in enumerate(zip(intent.rows, intent.outcome, strict=True)):
                if letter == FAILED:
                    yield entry_of(row.entry, row.source_key, "", intent.errors[str(index)])


def write_id_map(run: Run, stage: Stage) -> dict[str, Any]:
    """Writes `id-map.parquet` (columns table, source_id, target_id), one row per routed item. Gives file, rows, sha256."""
    import pyarrow
    import pyarrow.parquet

    schema = pyarrow.schema([(name, pyarrow.string()) for name in ("table", "source_id", "target_id")])
    path, temporary = run.folder / "id-map.parquet", run.folder / ".id-map.parquet"
    rows = 0
    with pyarrow.parquet.ParquetWriter(temporary, schema) as writer:
        for batch in _batches(stage):
            writer.write_batch(pyarrow.record_batch([list(column) for column in zip(*batch, strict=True)], schema))
            rows += len(batch)
    os.chmod(temporary, 0o600)
    temporary.replace(path)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {"file": path.name, "rows": rows, "sha256": sha256}


def _batches(stage: Stage) -> Iterator[list[tuple[str, str, str]]]:
    batch: list[tuple[str, str, str]] = []
    for _, intent in stage.intents(final=True):
        rows = (row for row, letter in zip(intent.rows, intent.outcome, strict=True) if letter != REPLACED)
        batch += [(row.entry, row.old_id, row.new_id) for row in (*rows, *intent.losers)]
        if len(batch) >= _ROWS:
            yield batch
            batch = []
    if batch:
        yield batch


def keyed_hash(key: dict) -> str:
    """A short hash that stands for a key in what is sent around; new for every process, so it gives nothing away."""
    return hashlib.blake2b(orjson.dumps(key, option=orjson.OPT_SORT_KEYS), key=_SECRET, digest_size=4).hexdigest()


_SECRET = base64.b64encode(os.urandom(24))
