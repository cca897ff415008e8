"""Ids of the source that were renewed and still stand somewhere in the target: at any path, at any depth.

An id that can be recognised (a uuid, a prefix, letters and digits) is a survivor wherever it stands. A bare one, such as a
number, looks like other things, too: it is a survivor at a path whose values are ids for sure (see `references`), and a
coincidence elsewhere. Items are looked at entry by entry: what one entry leaves out says nothing about the items of another.
"""

import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple
from zlib import crc32

import numpy as np

from ..mapping.model import Entry
from ..mapping.text.paths import KEYS, VALUES, parse, spelled
from ..run.spill import HashSet
from .columns import Path, Reader, as_columns, leads_to
from .confidence import COVERED
from .evidence import PART, Column, Evidence, Ids, is_inside, samples_of, steps_of
from .left_out import LeftOut
from .references import find_references
from .renewed import HASH_BYTES, Renewed, bare_code, hash_of
from .text.slots import Seen, Slot, slots_of
from .text.tokens import TEXT, as_number, is_recognisable, parts_of, unescaped, whole_part

BITS_PER_ID = 128  # of the table that says of nearly every text that it is no id
LEAST_BITS, MOST_BITS = 20, 30  # of its length, as powers of two
PLACES = 10_000  # paths, and names, of which it is remembered how they are spelled


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
        left_out: Mapping[str, LeftOut],
        environment: str | None = None,
        within: str = "",
        mapped: Mapping[str, Entry] | None = None,
    ):
        """`entries`: those whose items are looked at; `mapped`: all of the mapping (default: these). `left_out`: entry → what
        not to look at.

        `environment`: the name of the source's environment, where it must not be left in any text; as a part of the name
        `within`, the target's, it is no finding.
        """
        self._mapped = mapped or entries  # whose records items may hold
        self._entries, self._left_out = entries, {name: left_out.get(name, LeftOut()) for name in entries}
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
        self._evidence = Evidence([], code_of=bare_code) if renewed.codes else None
        if self._evidence:
            self._evidence.ids |= {name: Ids(others=log) for name, log in renewed.codes.items()}
        # (entry, path) → entry → values that can be recognised; only where there are bare ids, too.
        self._recognised: dict[tuple[str, str], Counter] = defaultdict(Counter)
        self._bare: dict[tuple[str, str], dict[str, HashSet]] = {}
        self._place, self._is_named = lru_cache(PLACES)(self._place_of), lru_cache(PLACES)(self._names_one)

    def look(self, entry: str, items: list[dict]) -> list[Survivor]:
        """The survivors of a page of an entry's items that can be recognised, and texts with the environment's name."""
        reader = self._readers[entry]
        found = _Texts(reader, items, once=not self._evidence)
        ids: dict[Path, dict[str, str]] = defaultdict(dict)
        coded: dict[tuple[Path, None], array] = {}
        for raw, texts in found.all():
            if (path := self._place(entry, raw)) is None:
                continue
            sums = self._collect(ids[path], texts)
            if self._evidence:
                numbers = [as_number(text) for text in texts]
                codes = [int(s) | TEXT if n is None else n for s, n in zip(sums, numbers, strict=True)]
                coded.setdefault((path, None), array("q")).extend(codes)
        if self._evidence:
            in_slots = [(path, seen) for raw, seen in found.slots() if (path := self._place(entry, raw)) is not None]
            self._evidence.take(entry, reader, coded, found.samples(), in_slots)
        in_names: dict[Path, dict[str, str]] = defaultdict(dict)
        for raw, names in found.names():
            if (path := self._place(entry, raw)) is not None:
                self._collect(in_names[path], names)
        named = self._environments(entry, found) if self._environment else {}
        if not (any(ids.values()) or any(in_names.values()) or named):
            return []
        return [*self._located(entry, items, ids, in_names, named)]

    def _collect(self, owners: dict[str, str], texts: list[str]) -> np.ndarray:
        """Adds those of the texts that are ids, with their entries. The texts' checksums."""
        sums = _checksums(texts)
        for at in self._table.may_hold(sums):
            text = texts[at]
            if text not in owners and (owner := self._owner(text)):
                owners[text] = owner
        return sums

    def _environments(self, entry: str, found: "_Texts") -> dict[Path, set[str]]:
        """Path → the texts there that hold the name of the environment."""
        named: dict[Path, set[str]] = defaultdict(set)
        model = self._entries[entry].model
        attributes = {(KEYS,)}  # paths of names of attributes, which are no data
        if model.fields is not None and model.rest != "copy":
            attributes.add((model.rest, KEYS))
        for raw, texts in found.said():
            if raw not in attributes and self._environment in "\0".join(texts) and (path := self._place(entry, raw)):
                named[path] |= {text for text in texts if self._environment in text and self._says_it(text)}
        return {path: texts for path, texts in named.items() if texts}

    def _says_it(self, text: str) -> bool:
        return any(self._named.findall(unescaped(text)))

    def _place_of(self, entry: str, path: Path) -> Path | None:
        """The path without ids of the source in it, as where the names are data; None where nobody looks."""
        left = self._left_out[entry]
        place = tuple(VALUES if isinstance(step, str) and self._is_named(step) else step for step in path)
        if path[0] in left.made or not left.paths.isdisjoint((spelled(steps_of(path)), spelled(steps_of(place)))):
            return None
        through = [parse(one) for one in left.paths if "{}" in one]
        return None if any(leads_to(declared, steps_of(path)) for declared in through) else place

    def _names_one(self, name: str) -> bool:
        return any(is_recognisable(part) and self._owner(part) for part in (name, *parts_of([name])))

    def _stays(self, entry: str, item: dict, path: Path, text: str) -> bool:
        """Whether a template put it there from what stays on purpose."""
        mixed = self._left_out[entry].mixed.get(path[0]) if isinstance(path[0], str) else None
        return mixed is not None and mixed.explains(item[path[0]].get("S", ""), text)

    def _located(
        self,
        entry: str,
        items: list[dict],
        ids: Mapping[Path, Mapping[str, str]],
        in_names: Mapping[Path, Mapping[str, str]],
        named: Mapping[Path, set[str]],
    ) -> Iterator[Survivor]:
        for index, item in enumerate(items):
            found = _Texts(self._readers[entry], [item])
            kinds = ((ids, found.all()), (in_names, found.names() if any(in_names.values()) else ()))
            for raw, texts, owners in ((raw, texts, kind) for kind, paths in kinds for raw, texts in paths):
                if not (known := owners.get(path := self._place(entry, raw))):
                    continue
                place = spelled(steps_of(path))
                for text in texts:
                    if text in known and not self._stays(entry, item, path, text):
                        if self._evidence and path[-1] is not PART:
                            self._recognised[entry, place][known[text]] += 1
                        yield Survivor(index, place, known[text])
            for raw, texts in found.said() if named else ():
                if some := named.get(path := self._place(entry, raw)):
                    yield from (Survivor(index, spelled(path), None) for text in texts if text in some)

    def _owner(self, text: str) -> str | None:
        known = hash_of(text)
        return next((name for name, hashes in self._known.items() if known in hashes), None)

    def bare(self) -> tuple[set[str], Counter]:
        """The entries whose items have to be looked at again for bare ids, and (entry, path) → coincidences.

        Call it after the last page.
        """
        coincidences, in_slots = Counter(), Counter()
        if not self._evidence:
            return set(), coincidences
        columns = self._evidence.columns()
        findings = find_references(columns, self._evidence, self._mapped)
        certain = {(one.table, one.path, one.to) for one in findings if one.is_certain}
        for column in columns:
            place = column.entry, spelled(column.steps)
            among = self._among_recognised(column, place)
            owners = [match.to for match in column.matches if match.to in among or (*place, match.to) in certain]
            for to in owners:
                self._bare.setdefault(place, {})[to] = self._codes[to].frozen()
            if not owners:
                hits = np.unique(np.concatenate([match.hits for match in column.matches]))
                counted = in_slots if isinstance(column.path[-1], Slot) else coincidences
                counted[place] += int(column.values.counts[hits].sum())
        for place in (
            in_slots.keys() - coincidences.keys() - self._bare.keys()
        ):  # else they are among all parts of the texts
            coincidences[place] = in_slots[place]
        return {entry for entry, _ in self._bare}, coincidences

    def _among_recognised(self, column: Column, place: tuple[str, str]) -> set[str]:
        """The entries of which a path holds ids that can be recognised and others; none where it holds other things, too."""
        recognised = self._recognised.get(place, Counter())
        matches = [match for match in column.matches if recognised[match.to]]
        if not matches or is_inside(column.path):
            return set()
        values = column.values
        ids = values.counts[np.unique(np.concatenate([match.hits for match in matches]))].sum() + recognised.total()
        said = values.total - values.count(bare_code(""))
        return {match.to for match in matches} if ids >= COVERED * said else set()

    def look_again(self, entry: str, items: list[dict]) -> list[Survivor]:
        """The bare survivors of a page, after `bare`."""
        found = []
        for index, item in enumerate(items):
            read, seen = _Texts(self._readers[entry], [item]), set()
            for raw, texts in (*read.all(), *((raw, seen.parts) for raw, seen in read.slots())):
                if (path := self._place(entry, raw)) is None:
                    continue
                place = spelled(steps_of(path))
                texts = [text for text in texts if not isinstance(path[-1], Slot) or (place, text) not in seen]
                seen |= {(place, text) for text in texts}
                for to, codes in self._bare.get((entry, place), {}).items():
                    found += [
                        Survivor(index, place, to)
                        for text in texts
                        if array("q", [bare_code(text)]).tobytes() in codes
                        and not is_recognisable(text)
                        and not self._stays(entry, item, path, text)
                    ]
        return found


class _Texts:
    """The texts of some items by path, whole and in parts, with the names that are data."""

    def __init__(self, reader: Reader, items: list[dict], *, once: bool = False):
        """`once`: each text once a path, not as often as it stands there."""
        self._attributes = as_columns(items)
        self._reader, self._found, self._once = reader, reader.columns(self._attributes), once

    def all(self) -> Iterator[tuple[Path, list[str]]]:
        """Path and texts; the path of parts ends with PART."""
        for path, texts in self._found.whole.items():
            yield self._reader.collapse(path), [*{*texts}] if self._once else texts
        for path, keys in self._found.keys.items():
            yield self._reader.collapse(path), [*keys] if self._once else [*keys.elements()]
        for path, texts in self._found.free.items():
            if parts := parts_of({*texts} if self._once else texts):
                yield (*self._reader.collapse(path), PART), [*{*parts}] if self._once else parts

    def slots(self) -> Iterator[tuple[Path, Seen]]:
        """Path and what stands in a slot of the texts there."""
        for path, texts in self._found.free.items():
            for slot, seen in slots_of(texts).items():
                yield (*self._reader.collapse(path), slot), seen

    def samples(self) -> dict[Path, list[str]]:
        """Some of the texts that are no JSON."""
        return {self._reader.collapse(path): samples_of(texts) for path, texts in self._found.free.items()}

    def names(self) -> Iterator[tuple[Path, list[str]]]:
        """The parts of the names of attributes and of other names, each once."""
        for path, names in {**self._found.keys, (KEYS,): self._attributes}.items():
            if parts := parts_of([*names]):
                yield (*self._reader.collapse(path), PART), parts

    def said(self) -> Iterator[tuple[Path, list[str]]]:
        """The texts that are no JSON, which is read at its own paths, and the names that are data."""
        for path, texts in (*self._found.free.items(), *self._found.keys.items()):
            yield self._reader.collapse(path), [*texts]


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
