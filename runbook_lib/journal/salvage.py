"""What is intact in a journal file whose chain is broken: which records are surely this file's, and in which order.

A record is intact where its link fits the record before it, all the way from the first one; or where its seal fits, which
proves that it was written to this file of this run, whatever became of the records around it. Nothing here writes.
"""

import hashlib
import mmap
import re
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from ..errors import Damaged
from .log import INSERTED, LINK, lines, link_of, place_of, seal_of

SEALED = LINK + 16  # characters of a link with its seal
WINDOW = 500  # records that are looked through for the one that comes next, where it is not where it should be
_START = rb'\{"kind":"'
_JOINED = re.compile(rb"(?<=\}.)(?=(?:[0-9a-f]{%d}|[0-9a-f]{%d}) %s)" % (SEALED, LINK, _START), re.DOTALL)
_READABLE = re.compile(rb'"kind":"(\w+)"(?:,"n":(\d+))?')


@dataclass(frozen=True)
class Kept:
    """An intact record: where its body lies in the file, and what repairing needs to know of it."""

    at: int
    size: int
    link: bytes  # as it was when it was written
    about: dict[str, Any]  # see _about
    lost: int = 0  # so many records at least are missing before it
    exact: bool = False  # one is missing, and no more


@dataclass(frozen=True)
class Lost:
    """A line that is no intact record of this file."""

    at: int
    kind: str  # what it seems to have been; "" where that cannot be told
    n: int | None


@dataclass(frozen=True)
class Salvage:
    """What a file still holds."""

    path: Path
    damaged: bool  # its chain is broken
    kept: list[Kept]
    lost: list[Lost]  # lines in the place of records that are missing
    strange: int  # lines where nothing is missing: repetitions, records of other files

    @property
    def behind(self) -> list[Lost]:
        """The damaged lines after the last intact record."""
        return [one for one in self.lost if not self.kept or one.at > self.kept[-1].at]


@dataclass(frozen=True)
class _Piece:
    at: int
    end: int
    link: bytes  # as it stands there; b"" where it cannot be told
    begin: int  # of the body


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The bytes of a file, without reading all of them."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            yield b""
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data


def read(path: Path) -> Salvage:
    """The intact records of a journal file in the order in which they were written. Read-only."""
    kept, end = [], 0
    try:
        for end, link, body in lines(path):
            kept.append(Kept(end - len(body) - 1, len(body), link, _about(orjson.loads(body))))
    except (Damaged, ValueError):
        with opened(path) as data:
            return _Search(path, data).run()
    return Salvage(path, False, kept, [], 0)


def fingerprint(path: Path) -> str | None:
    """SHA-256 of a file; None where it is not there. Read-only."""
    if not path.exists():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_done(kept: list[Kept]) -> bool:
    """Whether these records of a table's file say that its segment was walked to its end."""
    pages = [one.about for one in kept if one.about["kind"] == "outcome" and one.about["page"] is not None]
    return bool(pages) and pages[-1]["last"] is None


def _about(record: dict) -> dict[str, Any]:
    """The small parts of a record, and how much the large ones hold."""
    about = {key: value for key, value in record.items() if key not in ("rows", "losers", "rejects", "unrouted")}
    if record["kind"] == "intent":
        about["rows"] = len(record["rows"])
    elif record["kind"] == "outcome":
        about["inserted"] = record["rows"].count(INSERTED)
    elif record["kind"] == "undone":
        about["states"] = sorted(set(record["rows"].values()))
    return about


class _Search:
    """Puts the pieces of one damaged file in order."""

    def __init__(self, path: Path, data: Any):
        self._path, self._data, self._place = path, data, place_of(path)
        self._left = deque(self._pieces())
        self._kept: list[Kept] = []
        self._lost: list[Lost] = []
        self._known: set[tuple] = set()  # what is kept, to tell repetitions
        self._strange = 0

    def run(self) -> Salvage:
        chain, broken = b"", False
        while self._left:
            found = self._next(chain, sealed=broken)
            if found is not None:
                piece, chain = found
                self._keep(piece, chain)
                continue
            damaged = self._skip_to_sealed()
            if not self._left:
                break
            piece, broken = self._left.popleft(), True
            exact = len(damaged) == 1 and self._fit(piece, damaged[0].link) is not None
            chain = piece.link
            self._keep(piece, chain, max(1, len(damaged)), exact)
        return Salvage(self._path, True, self._kept, self._lost, self._strange)

    def _next(self, chain: bytes, *, sealed: bool) -> tuple[_Piece, bytes] | None:
        """The piece that follows a link, with its own link as it was written; None where there is none.

        `sealed`: behind a gap the chain proves no more than that the pieces belong together.
        """
        for index, piece in enumerate(islice(self._left, WINDOW)):
            if sealed and not self._is_sealed(piece):
                continue
            link = self._fit(piece, chain)
            if link is None and index == 0 and len(self._left) > 1:
                after = self._left[1]  # if that fits what the link should be, the link alone is damaged
                link = next((link for link in self._links(piece, chain) if self._fit(after, link)), None)
            if link is not None:
                del self._left[index]
                return piece, link
        return None

    def _skip_to_sealed(self) -> list[_Piece]:
        """Leaves out what is damaged, repeated or of another file; gives what stands in the place of something missing."""
        skipped = []
        behind = self._kept[-1].at if self._kept else -1
        while self._left and not (self._is_sealed(self._left[0]) and not self._is_known(self._left[0])):
            piece = self._left.popleft()
            if piece.at < behind or self._is_known(piece):
                self._strange += 1
                continue
            skipped.append(piece)
            about = _READABLE.search(self._data[piece.at : piece.at + SEALED + 40])
            kind, n = (about[1].decode(), about[2] and int(about[2])) if about else ("", None)
            self._lost.append(Lost(piece.at, kind, n))
        return skipped

    def _keep(self, piece: _Piece, link: bytes, lost: int = 0, exact: bool = False) -> None:
        body = self._body(piece)
        about = _about(orjson.loads(body))
        self._known.add((link[:LINK], seal_of(self._place, body)))
        self._kept.append(Kept(piece.begin, len(body), link, about, lost, exact))

    def _is_known(self, piece: _Piece) -> bool:
        return (piece.link[:LINK], seal_of(self._place, self._body(piece))) in self._known

    def _is_sealed(self, piece: _Piece) -> bool:
        return len(piece.link) == SEALED and piece.link[LINK:] == seal_of(self._place, self._body(piece))

    def _fit(self, piece: _Piece, chain: bytes) -> bytes | None:
        """The piece's link as it was written, where it follows the chain."""
        return next((link for link in self._links(piece, chain) if link[:LINK] == piece.link[:LINK]), None)

    def _links(self, piece: _Piece, chain: bytes) -> list[bytes]:
        """What the piece's link would be behind a chain, if it is this file's: sealed, or from before there were seals."""
        body = self._body(piece)
        return [link_of(chain, body, seal) for seal in (seal_of(self._place, body), b"")]

    def _body(self, piece: _Piece) -> bytes:
        return self._data[piece.begin : piece.end]

    def _pieces(self) -> Iterator[_Piece]:
        """The lines; one whose end was damaged is taken apart. A torn last line is none."""
        at, size = 0, len(self._data)
        while at < size:
            end = self._data.find(b"\n", at)
            line = self._data[at : end if end >= 0 else size]
            starts = [0, *(match.start() for match in _JOINED.finditer(line))]
            ends = [*(start - 1 for start in starts[1:]), len(line)]
            for start, stop in zip(starts, ends, strict=True):
                piece = self._piece(at + start, at + stop)
                if end >= 0 or stop < len(line) or self._is_sealed(piece):
                    yield piece
            at += len(line) + 1

    def _piece(self, at: int, end: int) -> _Piece:
        head = self._data[at : min(end, at + SEALED + 1 + len(_START))]
        for length in (SEALED, LINK):
            if head[length + 1 : length + 9] == b'{"kind":':
                return _Piece(at, end, head[:length], at + length + 1)
        link, space, _ = head.partition(b" ")
        known = len(link) in (SEALED, LINK)
        return _Piece(at, end, link if known else b"", at + len(link) + len(space))
