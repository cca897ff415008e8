"""The items of the target that are source items already, as a run has found and frozen them: `plan-matches.jsonl`.

One line each, in a fixed order: entry, source key, old id, target key, the target item's id, and a hash of the values by which
the two are equal.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple
from weakref import finalize

import orjson

from ..errors import Refused
from ..mapping.ids import id_hash
from ..values import key_hash
from .files import open_file, write_atomically
from .spill import HashLog

FILE = "plan-matches.jsonl"
_HASH, _PLACE, _LENGTH = (
    16,
    8,
    4,
)  # bytes of an index line: a hash of entry and old id, where the line begins, how long it is
_CHUNK = 1 << 20

Figures = Mapping[str, Mapping[str, Any]]  # entry -> by, found, source_items, target_items, matched, ambiguous, nearly


class Match(NamedTuple):
    """The item of the target that a source item is already."""

    source_key_hash: bytes  # `values.key_hash` of the source item's key: another item may have the same old id
    target_key: dict
    new: dict | None  # the target item's id, typed; None where the entry has no ids
    by: bytes  # hash of the values by which they are equal


class Matches:
    """Frozen matches, read where they are needed: memory holds no line, and of a long file not even the index.

    Another process gets the path of the file, and reads it again.
    """

    def __init__(self, path: Path, sha256: str | None = None, figures: Figures | None = None):
        """Opens the file and reads it once. Raises Refused where it is missing, not whole, or has another SHA-256 than given.

        `figures`: what the search counted, by entry.
        """
        self.path, self.figures = path, figures or {}
        try:
            self._file = open_file(path)
        except FileNotFoundError:
            raise Refused(f"{path} is missing; restore it from a copy, or start a new run.") from None
        finalize(self, os.close, self._file)
        hashed, index, start, self._counts = hashlib.sha256(), HashLog(_HASH + _PLACE + _LENGTH), 0, Counter()
        for raw in self._lines():
            hashed.update(raw)
            one = self._parsed(raw)
            self._counts[one["table"]] += 1
            if one["id"] is not None:
                place = start.to_bytes(_PLACE, "big") + len(raw).to_bytes(_LENGTH, "big")
                index.extend([id_hash(one["table"], one["id"], _HASH) + place])
            start += len(raw)
        self.sha256 = hashed.hexdigest()
        if sha256 not in (None, self.sha256):
            raise self._changed()
        self._index = index.frozen()

    @classmethod
    def open(cls, path: Path, sha256: str | None = None, figures: Figures | None = None) -> "Matches":
        """The matches in a file. Raises Refused as the constructor does."""
        return cls(path, sha256, figures)

    @classmethod
    def write(cls, path: Path, lines: Iterable[dict[str, Any]], figures: Figures | None = None) -> "Matches":
        """Writes the file, mode 0600, whole or not at all, and opens it. `lines` as `line_of` makes them. Raises OSError."""
        write_atomically(path, (orjson.dumps(line) + b"\n" for line in lines), 0o600)
        return cls(path, None, figures)

    def save(self, path: Path) -> "Matches":
        """The same matches in another file, which it writes as `write` does."""
        write_atomically(path, self._lines(), 0o600)
        return Matches(path, self.sha256, self.figures)

    def as_json(self) -> dict[str, Any]:
        """As `plan.json` and the journals have them."""
        return {"file": self.path.name, "rows": len(self), "sha256": self.sha256, "tables": self.figures}

    def of(self, entry: str, old: dict) -> Match | None:
        """The match of the source item that has an old id (typed); None where there is none. Thread-safe. Raises Refused."""
        try:
            hashed = id_hash(entry, old, _HASH)
        except ValueError:  # no key can hold it, so nothing was matched by it
            return None
        found = self._index.after(hashed)
        if found is None:
            return None
        place = int.from_bytes(found[_HASH : _HASH + _PLACE], "big")
        line = self._parsed(os.pread(self._file, int.from_bytes(found[-_LENGTH:], "big"), place))
        if line["id"] is None or id_hash(line["table"], line["id"], _HASH) != hashed:  # somebody writes into it
            raise self._changed()
        return match_of(line)

    def count(self, entry: str) -> int:
        """How many items of an entry are matched."""
        return self._counts[entry]

    def __bool__(self) -> bool:
        return True  # also where nothing was matched: that was found out, too

    def __len__(self) -> int:
        return self._counts.total()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The lines of the file, in its order."""
        return map(self._parsed, self._lines())

    def __reduce__(self) -> tuple:
        return Matches, (self.path, self.sha256, self.figures)

    def hashes(self) -> Iterator[tuple[str, bytes]]:
        """Of each line its entry and a hash: equal exactly where the same two items are equal by the same values."""
        for raw in self._lines():
            yield self._parsed(raw)["table"], blake2b(raw, digest_size=_HASH).digest()

    def _lines(self) -> Iterator[bytes]:
        left, at = b"", 0
        while chunk := os.pread(self._file, _CHUNK, at):
            at += len(chunk)
            *lines, left = (left + chunk).split(b"\n")
            for line in lines:
                yield line + b"\n"
        if left:
            yield left

    def _parsed(self, raw: bytes) -> dict[str, Any]:
        try:
            if not raw.endswith(b"\n"):
                raise ValueError
            line = orjson.loads(raw)
            match_of(line)
            if line["id"] is not None:
                id_hash(line["table"], line["id"])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self._changed() from None
        return line

    def _changed(self) -> Refused:
        return Refused(f"{self.path} is not as the run wrote it; restore it from a copy, or start a new run.")


def line_of(entry: str, key: dict, old: dict | None, target_key: dict, new: dict | None, by: bytes) -> dict[str, Any]:
    """One match as the file has it; `key` is the source item's, `old` and `new` are typed ids."""
    return {"table": entry, "key": key, "id": old, "target_key": target_key, "target_id": new, "by": by.hex()}


def match_of(line: dict[str, Any]) -> Match:
    """What a line of the file says of the target's item."""
    return Match(key_hash(line["key"]), line["target_key"], line["target_id"], bytes.fromhex(line["by"]))
