"""What stands at every path, as hashes in bounded memory, and how much of it are ids of each entry.

A whole number stands for itself, so that how numbers lie among the ids can be seen; any other text is a negative number
made of its hash. Each path keeps its different values with their counts. When all of them together become too many, the
paths that have most keep those of a part of the hashes, and what is counted there is an estimate. The ids themselves are
always complete: they spill to files.
"""

import heapq
import threading
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from zlib import crc32

import numpy as np

from ..mapping.model import Entry
from ..mapping.text.paths import VALUES
from ..run.spill import PARTS, HashLog
from .columns import Path, Reader, as_columns
from .distinct import Values
from .text import names
from .text.patterns import OWN, own_ids
from .text.slots import Seen, Slot, slots_of
from .text.tokens import TEXT, as_number, is_recognisable, parts_of

KEPT = 500_000  # different values of all paths together
KEPT_OF_SLOT = 4_096  # of one slot: whether its values are ids, a part of them says, too
SAMPLES = 16  # texts of a path from which its pattern is read
NAMING = 0.8  # of what an attribute says, in every page, that must be names of entries
SAMPLED = 64  # texts of a page from which those are chosen
PART = object()  # ends a path whose values are the parts of the texts there
OWN_ID = object()  # ends a path whose values are the items' own ids, where these are parts of the texts there
Named = tuple[str, str] | None  # an attribute and what it says: the values in items in which it says so


def steps_of(path: Path) -> Path:
    """The path of the attribute: without PART or OWN_ID at its end."""
    return path[:-1] if is_inside(path) or path[-1] is OWN_ID else path


def is_inside(path: Path) -> bool:
    """Whether a path leads to parts of the texts at a path: to all of them, or to one slot."""
    return path[-1] is PART or isinstance(path[-1], Slot)


def samples_of(texts: list[str]) -> list[str]:
    """Some of the texts of a page, the same in any order of as many."""
    return heapq.nsmallest(SAMPLES, {*texts[:SAMPLED]}, _order)


def code_of(text: str) -> int:
    """The number by which a text is known in this process: itself, or below 0."""
    number = as_number(text)
    return hash(text) | TEXT if number is None else number


def codes_of(texts: list[str]) -> array:
    """The same for many texts, of which most are no numbers."""
    if True in map(str.isdigit, texts):
        return array("q", map(code_of, texts))
    return array("q", (np.fromiter(map(hash, texts), np.int64, len(texts)) | TEXT).tobytes())


class Ids:
    """The ids of one entry: those that can be recognised as ids, and the others."""

    def __init__(self, others: HashLog | None = None):
        """None yet but `others`."""
        self.recognisable, self.others = HashLog(8), others or HashLog(8)

    def add(self, texts: list[str]) -> None:
        """Adds ids. Thread-safe."""
        recognised = [*map(is_recognisable, texts)]
        for log, wanted in ((self.recognisable, True), (self.others, False)):
            codes = array(
                "q", [code_of(text) for text, is_so in zip(texts, recognised, strict=True) if is_so is wanted]
            )
            log.extend_packed(codes.tobytes())

    def merge(self, other: "Ids") -> None:
        """Adds the ids of another bag."""
        for mine, theirs in ((self.recognisable, other.recognisable), (self.others, other.others)):
            for blob in theirs.parts():
                mine.extend_packed(blob)


@dataclass(frozen=True)
class Match:
    """How much of a path are ids of one entry."""

    to: str
    hits: np.ndarray  # places of the values in the column's codes
    recognised: int  # of these, hits in ids that can be recognised


@dataclass(frozen=True)
class Column:
    """A path some of whose values are ids."""

    entry: str
    path: Path
    named: Named
    values: Values
    samples: list[str]  # some of the texts at the path of the attribute
    inside: list[str]  # some of what stands there
    matches: list[Match]
    code_of: Callable[[str], int] = code_of  # by which the values are known

    @property
    def steps(self) -> Path:
        """The path of the attribute."""
        return steps_of(self.path)

    @property
    def name(self) -> str:
        """The last name of the path; "" where it ends with none."""
        return self.steps[-1] if isinstance(self.steps[-1], str) else ""


class Evidence:
    """Collects, page by page, what stands at every path of every entry, and the entries' ids. Thread-safe."""

    def __init__(
        self,
        entries: Iterable[str],
        naming: Mapping[str, Iterable[str]] | None = None,
        mapped: Mapping[str, Entry] | None = None,
        code_of: Callable[[str], int] = code_of,
    ):
        """`entries`: their names, which an attribute may hold. `naming`: entry → attributes of which the mapping says so.

        `mapped`: the entries, where ids may stand inside attributes. `code_of`: the code of a text in what `take` gets.
        """
        self._code_of = code_of
        self._names = frozenset(entries)
        self._naming = naming or {}
        self._own = own_ids(mapped or {})
        self.ids = {name: Ids() for name in self._names}
        self._readers = {name: Reader() for name in self._names}
        self._not_naming: dict[str, set[str]] = defaultdict(set)  # entry -> attributes that mostly hold other things
        self._values: dict[tuple, Values] = defaultdict(Values)
        self._samples: dict[tuple, list[str]] = defaultdict(list)
        self._named: set[tuple[str, Path]] = set()  # entry and path of a map that has names that are no data
        self._lock = threading.Lock()

    def add(self, entry: str, items: list[dict], attributes: Mapping[str, list[dict]], ids: list[str]) -> None:
        """Adds a page of an entry's source items: `attributes` are their columns, `ids` their ids as text."""
        self.ids[entry].add(ids)
        if entry in self._own:
            items, attributes = self._without_ids(entry, items, attributes, ids)
        self.look(entry, self._readers[entry], items, attributes)

    def _without_ids(
        self, entry: str, items: list[dict], attributes: Mapping[str, list[dict]], ids: list[str]
    ) -> tuple[list[dict], Mapping[str, list[dict]]]:
        """The page without the ids that are parts of a text: what stands beside them is data. The ids get their own path."""
        name, masked = self._own[entry]
        with self._lock:
            self._values[entry, (name, OWN_ID), None].add(codes_of(ids))
        if name not in attributes:
            return items, attributes
        items = [{**item, name: masked(item[name])} if name in item else item for item in items]
        return items, {**attributes, name: [*map(masked, attributes[name])]}

    def look(self, place: str, reader: Reader, items: list[dict], attributes: Mapping[str, list[dict]]) -> None:
        """The same without ids. `place`: an entry, or any other name for where the items are."""
        found, samples, in_slots = reader.columns(attributes), {}, []
        coded = {(path, None): codes_of(texts) for path, texts in found.whole.items()}
        for path, keys in found.keys.items():
            coded[path, None] = array("q", chain.from_iterable([code_of(key)] * n for key, n in keys.items()))
            if parts := [part for key, n in keys.items() if not key.isalnum() for part in parts_of([key]) * n]:
                coded[(*path, PART), None] = codes_of(parts)
                samples[path] = samples_of([*islice(keys, SAMPLED)])
        for path, texts in found.free.items():
            if parts := parts_of(texts):
                coded[(*path, PART), None] = codes_of(parts)
            slots = slots_of(texts)
            in_slots += [((*path, slot), seen) for slot, seen in slots.items()]
            if parts or slots or (isinstance(path[-1], str) and names.says_nothing(path[-1])):
                samples[path] = samples_of(texts)
        coded |= self._by_name(place, reader, items, attributes)
        self.take(place, reader, coded, samples, in_slots)

    def take(
        self,
        place: str,
        reader: Reader,
        coded: Mapping[tuple[Path, Named], array],
        samples: Mapping[Path, list[str]] | None = None,
        in_slots: Iterable[tuple[Path, Seen]] = (),
    ) -> None:
        """Adds what stands at the paths of a page, in codes. `place`: an entry, or any other name for where that is."""
        samples, slots = {**(samples or {})}, []
        for path, seen in in_slots:
            known = {part: self._code_of(part) for part in {*seen.parts}}
            slots.append((path, array("q", map(known.__getitem__, seen.parts)), seen.number))
            samples[path] = samples_of(seen.parts)
        with self._lock:
            self._readers[place] = reader
            for (path, named), codes in coded.items():
                self._values[place, reader.collapse(path), named].add(codes)
            for path, codes, number in slots:
                values = self._values[place, reader.collapse(path), None]
                values.add(codes, number)
                if len(values) > 2 * KEPT_OF_SLOT:
                    values.shrink(KEPT_OF_SLOT)
            for path, texts in samples.items():
                self._samples[place, path] = heapq.nsmallest(SAMPLES, {*self._samples[place, path], *texts}, _order)
            if sum(map(len, self._values.values())) > KEPT:
                for values in self._values.values():
                    values.settle()
                while sum(map(len, self._values.values())) > KEPT:
                    max(self._values.values(), key=len).halve()

    def _by_name(
        self, entry: str, reader: Reader, items: list[dict], attributes: Mapping[str, list[dict]]
    ) -> dict[tuple[Path, Named], array]:
        """What stands in the items again, apart by what an attribute says that holds names of entries, if there is one."""
        no, coded = self._not_naming[entry], {}
        for naming in [name for name in attributes if name not in no]:
            said = Counter(value.get("S") for value in attributes[naming] if "NULL" not in value)
            named = sum(said[name] for name in said.keys() & self._names)
            if named < NAMING * said.total() and naming not in self._naming.get(entry, ()):
                no.add(naming)
            if naming in no or said.keys() <= {entry}:  # what an item itself is, as many say, names nothing else
                continue
            of_name: dict[str, list[dict]] = defaultdict(list)
            for item in items:
                of_name[item.get(naming, {}).get("S", "")].append(item)
            for name in self._names & of_name.keys():
                found = reader.columns(as_columns(of_name[name]))
                for path, texts in found.whole.items():
                    if path != (naming,):
                        coded[path, (naming, name)] = codes_of(texts)
        return coded

    def columns(self) -> list[Column]:
        """Every path some of whose values are ids of an entry. Call it once, after the last page.

        Names in a path that are ids themselves stand as VALUES.
        """
        self._join_collapsed()
        self._join_named_by_ids()
        self._named = {
            (e, path[:at]) for e, path, _ in self._values for at, step in enumerate(path) if isinstance(step, str)
        }
        places = list(self._values)
        for values in self._values.values():
            values.settle()
        codes = np.concatenate([self._values[place].codes for place in places] or [np.empty(0, np.int64)])
        starts = np.cumsum([0, *(len(self._values[place].codes) for place in places)], dtype=np.int32)
        for at, place in enumerate(places):  # the same memory
            self._values[place].codes = codes[starts[at] : starts[at + 1]]
        matches: dict[int, list[Match]] = defaultdict(list)
        by_part = _by_part(codes)
        for name in sorted(self.ids):
            recognised = _hits(codes, by_part, self.ids[name].recognisable)
            others = _hits(codes, by_part, self.ids[name].others)
            hits = np.sort(np.concatenate([recognised, others]))
            edges, sure = np.searchsorted(hits, starts), np.searchsorted(np.sort(recognised), starts)
            for at in np.flatnonzero(np.diff(edges)):
                own = hits[edges[at] : edges[at + 1]] - starts[at]
                matches[at].append(Match(name, own, int(sure[at + 1] - sure[at])))
        return [
            Column(
                entry,
                path,
                named,
                self._values[entry, path, named],
                self._samples.get((entry, steps_of(path)), []),
                self._samples.get((entry, path), []),
                matches[at],
                self._code_of,
            )
            for at, (entry, path, named) in enumerate(places)
            if at in matches and (named is None or named[0] not in self._not_naming[entry])
        ]

    def _join_collapsed(self) -> None:
        """Adds the values of names that turned out to be data only after they were counted."""
        for place in list(self._values):
            entry, path, named = place
            if (new := self._readers[entry].collapse(path)) != path:
                self._values[entry, new, named].merge(self._values.pop(place))

    def _join_named_by_ids(self) -> None:
        """Adds the values of names that are ids, or hold one: such names are data, however few there are."""
        names = {step for _, path, _ in self._values for step in path if isinstance(step, str)}
        parts = [(part, name) for name in names for part in (name, *parts_of([name])) if is_recognisable(part)]
        codes = np.frombuffer(codes_of([part for part, _ in parts]), np.int64)
        by_part = _by_part(codes)
        data = {parts[at][1] for ids in self.ids.values() for at in _hits(codes, by_part, ids.recognisable)}
        for place in [place for place in self._values if not data.isdisjoint(place[1])]:
            entry, path, named = place
            new = tuple(VALUES if step in data else step for step in path)
            self._values[entry, new, named].merge(self._values.pop(place))

    def joined(self, names: Mapping[str, str], ids: Mapping[str, Ids], mapped: Mapping[str, Entry]) -> "Evidence":
        """The evidence under other names: place → entry (several places may be one), and the entries' ids.

        What is at other places is left out. `mapped`: the entries; of ids inside attributes what was counted is taken away again.
        Call it after the last page; this evidence can be joined again.
        """
        self._join_collapsed()
        new = Evidence(self._names, mapped=mapped)
        new.ids = dict(ids)
        for (place, path, named), values in self._values.items():
            if place in names:
                new._values[names[place], path, named].merge(values)
        for (place, path), texts in self._samples.items():
            if place in names:
                of_entry = new._samples[names[place], path]
                new._samples[names[place], path] = heapq.nsmallest(SAMPLES, {*of_entry, *texts}, _order)
        for place, entry in names.items():
            new._readers[entry] = self._readers.get(place) or Reader()
            new._not_naming[entry] |= self._not_naming[place]
        for entry, (name, masked) in new._own.items():
            if entry in new.ids:
                own = new._values[entry, (name, OWN_ID), None]
                for log in (new.ids[entry].recognisable, new.ids[entry].others):
                    own.add(array("q", b"".join(log.parts())))
                own.settle()
                for named in {named for e, path, named in new._values if (e, path) == (entry, (name, PART))}:
                    new._values[entry, (name, PART), named].take_away(own)
            texts = {text: masked({"S": text})["S"] for text in new._samples.get((entry, (name,)), ())}
            new._move_slots(entry, name, texts)
            new._samples[entry, (name,)] = [*texts.values()]
        return new

    def _move_slots(self, entry: str, name: str, texts: Mapping[str, str]) -> None:
        """The slots of an attribute without the item's own id. `texts`: some texts there, as they are → without it."""
        slots = [
            path[1] for e, path, _ in self._values if e == entry and path[0] == name and isinstance(path[-1], Slot)
        ]
        for slot in slots:
            values = self._values.pop((entry, (name, slot), None))
            inside = self._samples.pop((entry, (name, slot)), [])
            moved = {slot.without(text, masked, OWN) for text, masked in texts.items() if slot.span(text)}
            if len(moved) == 1 and None not in moved:
                self._values[entry, (name, *moved), None] = values
                self._samples[entry, (name, *moved)] = inside

    def total(self, entry: str, path: Path) -> int:
        """How many texts and numbers stand at a path; empty texts do not count."""
        values = self._values[entry, path, None]
        return values.total - values.count(code_of(""))

    def is_mixed(self, entry: str, path: Path) -> bool:
        """Whether a path leads through all values of a map that has members of other names, too. Call it after `columns`."""
        return any(step is VALUES and (entry, path[:at]) in self._named for at, step in enumerate(path))

    def bare_of(self, entry: str) -> tuple[np.ndarray, int]:
        """The codes of an entry's bare ids, ascending, and how many ids each stands for: of very many, each 64th."""
        log = self.ids[entry].others
        every = PARTS if len(log) > KEPT else 1
        return np.unique(np.frombuffer(b"".join([*log.parts()][::every]), np.int64)), every


def _order(text: str) -> tuple[int, str]:
    """An order that has nothing to do with what the text says."""
    return crc32(text.encode("utf-8", "surrogatepass")), text


def _by_part(codes: np.ndarray) -> list[np.ndarray]:
    """The places of the codes of each part of a log."""
    parts = codes.view(np.uint8).reshape(-1, 8)[:, 0] % PARTS
    return [np.flatnonzero(parts == part).astype(np.int32) for part in range(PARTS)]


def _hits(codes: np.ndarray, by_part: list[np.ndarray], log: HashLog) -> np.ndarray:
    """The places of the codes that the log holds."""
    found = []
    for places, blob in zip(by_part, log.parts(), strict=True):
        if len(places) and blob:
            ids = np.unique(np.frombuffer(blob, np.int64))
            asked = codes[places]
            at = np.searchsorted(ids, asked)
            at[at == len(ids)] = 0
            found.append(places[ids[at] == asked])
    return np.concatenate(found) if found else np.empty(0, np.int32)
