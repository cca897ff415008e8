"""Ids of the source that were renewed and still stand somewhere in the target: at any path, at any depth.

An id that can be recognised (a uuid, a prefix, letters and digits) is a survivor wherever it stands. A bare one, such as a
number, looks like other things, too: it is a survivor at a path whose values are ids for sure (see `references`), and a
coincidence elsewhere.
"""

import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple
from zlib import crc32

import numpy as np

from ..mapping.model import Entry
from ..run.spill import HashSet
from .columns import Path, Reader, as_columns, spelled
from .evidence import PART, Column, Evidence, Ids, steps_of
from .references import COVERED, find_references
from .renewed import HASH_BYTES, Renewed, bare_code, hash_of
from .tokens import TEXT, as_number, is_recognisable, parts_of, whole_part

BITS_PER_ID = 128  # of the table that says of nearly every text that it is no id
LEAST_BITS, MOST_BITS = 20, 30  # of its length, as powers of two


class Survivor(NamedTuple):
    """A value of an item of the target that is an id of the source."""

    index: int  # of the item in its page
    path: str
    to: str | None  # the entry whose id it was; None for the name of the source's environment


class Survivors:
    """Looks through the target's items, page by page. Its memory does not grow with the target."""

    def __init__(
        self,
        renewed: Renewed,
        entries: Mapping[str, Entry],
        left_out: Mapping[str, set[str]],
        environment: str | None = None,
        within: str = "",
    ):
        """`entries`: target table → an entry that writes to it. `left_out`: target table → paths not to look at.

        `environment`: the name of the source's environment, where it must not be left in any text; as a part of the name
        `within`, the target's, it is no finding.
        """
        self._entries, self._left_out = entries, left_out
        self._known = {name: log.frozen() for name, log in renewed.hashes.items()}
        self._table = _Table(self._known.values())
        # A number can only be a bare id.
        self._readers: dict[str, Reader] = defaultdict(lambda: Reader(numbers=bool(renewed.codes)))
        self._environment = environment
        name, around = (
            re.escape(environment or ""),
            rf"{re.escape(within)}|" if environment and environment in within else "",
        )
        self._named = re.compile(around + whole_part(f"({name})"))
        self._codes = renewed.codes
        self._evidence = Evidence([]) if renewed.codes else None
        if self._evidence:
            self._evidence.ids |= {name: Ids(others=log) for name, log in renewed.codes.items()}
        # (target table, path) → entry → values that can be recognised; only where there are bare ids, too.
        self._recognised: dict[tuple[str, str], Counter] = defaultdict(Counter)
        self._bare: dict[tuple[str, str], dict[str, HashSet]] = {}

    def look(self, target: str, items: list[dict]) -> list[Survivor]:
        """The survivors of a page of a target table that can be recognised, and texts with the environment's name."""
        found = _Texts(self._readers[target], items, once=not self._evidence)
        wanted: dict[Path, dict[str, str | None]] = defaultdict(dict)
        coded = {}
        for path, texts in found.all():
            if spelled(steps_of(path)) in self._left_out.get(target, ()):
                continue
            sums = _checksums(texts)
            for at in self._table.may_hold(sums):
                text = texts[at]
                if text not in wanted[path] and (owner := self._owner(text)):
                    wanted[path][text] = owner
            if self._environment and self._environment in "\0".join(texts) and path[-1] is not PART:
                wanted[path] |= {text: None for text in texts if any(self._named.findall(text))}
            if self._evidence:
                numbers = [as_number(text) for text in texts]
                coded[path, None] = array(
                    "q",
                    [int(s) | TEXT if n is None else n for s, n in zip(sums, numbers, strict=True)],
                )
        if self._evidence:
            self._evidence.take(target, self._readers[target], coded)
        return [*self._located(target, items, wanted)] if any(wanted.values()) else []

    def _located(self, target: str, items: list[dict], wanted: Mapping[Path, Mapping]) -> Iterator[Survivor]:
        for index, item in enumerate(items):
            for path, texts in _Texts(self._readers[target], [item]).all():
                if known := wanted.get(path):
                    place = spelled(steps_of(path))
                    for text in texts:
                        if text in known:
                            if self._evidence and path[-1] is not PART:
                                self._recognised[target, place][known[text]] += 1
                            yield Survivor(index, place, known[text])

    def _owner(self, text: str) -> str | None:
        known = hash_of(text)
        return next((name for name, hashes in self._known.items() if known in hashes), None)

    def bare(self) -> tuple[set[str], Counter]:
        """The target tables that have to be looked through again for bare ids, and (table, path) → coincidences.

        Call it after the last page.
        """
        coincidences: Counter = Counter()
        if not self._evidence:
            return set(), coincidences
        columns = self._evidence.columns()
        findings = find_references(columns, self._evidence, self._entries)
        certain = {(one.table, one.path, one.to) for one in findings if one.is_certain}
        for column in columns:
            place = column.entry, spelled(column.steps)
            among = self._among_recognised(column, place)
            owners = [match.to for match in column.matches if match.to in among or (*place, match.to) in certain]
            for to in owners:
                self._bare.setdefault(place, {})[to] = self._codes[to].frozen()
            if not owners:
                hits = np.unique(np.concatenate([match.hits for match in column.matches]))
                coincidences[place] += int(column.values.counts[hits].sum())
        return {target for target, _ in self._bare}, coincidences

    def _among_recognised(self, column: Column, place: tuple[str, str]) -> set[str]:
        """The entries of which a path holds ids that can be recognised and others; none where it holds other things, too."""
        recognised = self._recognised.get(place, Counter())
        matches = [match for match in column.matches if recognised[match.to]]
        if not matches or column.path[-1] is PART:
            return set()
        values = column.values
        ids = values.counts[np.unique(np.concatenate([match.hits for match in matches]))].sum() + recognised.total()
        said = values.total - values.count(bare_code(""))
        return {match.to for match in matches} if ids >= COVERED * said else set()

    def look_again(self, target: str, items: list[dict]) -> list[Survivor]:
        """The bare survivors of a page, after `bare`."""
        found = []
        for index, item in enumerate(items):
            for path, texts in _Texts(self._readers[target], [item]).all():
                place = spelled(steps_of(path))
                for to, codes in self._bare.get((target, place), {}).items():
                    found += [
                        Survivor(index, place, to)
                        for text in texts
                        if array("q", [bare_code(text)]).tobytes() in codes and not is_recognisable(text)
                    ]
        return found


class _Texts:
    """The texts of some items by path, whole and in parts, with the names that are data."""

    def __init__(self, reader: Reader, items: list[dict], *, once: bool = False):
        """`once`: each text once a path, not as often as it stands there."""
        self._reader, self._found, self._once = reader, reader.columns(as_columns(items)), once

    def all(self) -> Iterator[tuple[Path, list[str]]]:
        """Path and texts; the path of parts ends with PART."""
        for path, texts in self._found.whole.items():
            yield self._reader.collapse(path), [*{*texts}] if self._once else texts
        for path, keys in self._found.keys.items():
            yield self._reader.collapse(path), [*keys] if self._once else [*keys.elements()]
        for path, texts in self._found.free.items():
            if parts := parts_of({*texts} if self._once else texts):
                yield (*self._reader.collapse(path), PART), [*{*parts}] if self._once else parts


class _Table:
    """A bit for each checksum that some id has, so that nearly every other text is told apart without a lookup."""

    def __init__(self, known: Iterable[HashSet]):
        known = [*known]
        bits = min(MOST_BITS, max(LEAST_BITS, (BITS_PER_ID * sum(map(len, known))).bit_length()))
        self._shift, self._bits = np.uint32(32 - bits), np.zeros(1 << (bits - 3), np.uint8)
        for hashes in known:
            for blob in hashes.blobs():
                sums = np.frombuffer(blob, np.uint8).reshape(-1, HASH_BYTES)[:, :4].copy().view(">u4").ravel()
                places = sums.astype(np.uint32) >> self._shift
                np.bitwise_or.at(self._bits, places >> 3, (1 << (places & 7)).astype(np.uint8))

    def may_hold(self, sums: np.ndarray) -> Iterable[int]:
        """The places of the checksums that some id has."""
        places = sums >> self._shift
        return np.flatnonzero(self._bits[places >> 3] >> (places & 7).astype(np.uint8) & 1).tolist()


def _checksums(texts: list[str]) -> np.ndarray:
    try:
        return np.fromiter(map(crc32, map(str.encode, texts)), np.uint32, len(texts))
    except UnicodeEncodeError:  # half a character, from an escape in JSON text
        return np.fromiter((crc32(text.encode("utf-8", "surrogatepass")) for text in texts), np.uint32, len(texts))
