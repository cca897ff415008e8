"""The templates that texts with ids in them follow, lists of ids between one separator, and texts without the own id. Pure."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import takewhile
from typing import NamedTuple

from ...mapping.model import Entry
from ...mapping.text import templates
from .tokens import LONG, token_spans

OWN = "\x01"  # what stands for an item's own id; it separates parts, and is none itself
AGREEING = 0.8  # of the sampled texts that must have one of the patterns
COVERED = 0.9  # of the parts of a text that must be ids, for the others not to be kept on purpose
MOST = 4  # patterns of one path
_WRITTEN = (
    "00000000-0000-8000-8000-000000000000",
    "a1b2c3d4-1j2k3l4m",
)  # new ids as they may be written beside a reference
_BEGUN = re.compile(r"(?:[^\W\d_]*[\W_]+)*")  # whole words without digits, and what separates them
_LIST = re.compile(r"(\{[^{}]+\})(?:(\s*[,;]\s*)\1)(?:\2\1)*")  # ids of one entry, between commas
_SEPARATED = re.compile(r"([\W_])")
_LETTERS = re.compile(r"[^\W_]")
_PLACED = 0xE000  # characters of nobody's, to tell the own ids of texts apart

OwnerOf = Callable[[str, int, int], str | None]  # a text, and where a part stands in it → the entry whose id that is
Span = tuple[int, int]  # where a part of a text begins and ends
_Read = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]  # entries, their ids, what stands around these


def own_ids(entries: Mapping[str, Entry]) -> dict[str, tuple[str, Callable[[dict], dict]]]:
    """Entry → the attribute that its id is a part of, and a function from its value to the same with OWN in the id's place."""
    return {name: (entry.model.id, without(entry.id_parts)) for name, entry in entries.items() if entry.id_parts}


def without(id_parts: templates.Parts) -> Callable[[dict], dict]:
    """A function from a typed value to the same with OWN in the place of its id; as it is where no id can be read."""
    find = templates.finder(id_parts)

    def masked(value: dict) -> dict:
        text = value.get("S", "")
        at = find(text)
        return {"S": f"{text[: at[0]]}{OWN}{text[at[1] :]}"} if at else value

    return masked


class Shape(NamedTuple):
    """What texts with ids in them have in common; nothing where too few of them agree."""

    templates: list[str]  # with entries where ids stand; those of most texts first
    separator: str = ""  # of lists of ids
    all_ids: bool = True  # whether nearly all parts of the lists are ids


def shape_of(
    texts: Iterable[str],
    owner_of: OwnerOf,
    more: Callable[[str], list[Span]] = lambda _: [],
    *,
    lists: bool = False,
) -> Shape:
    """The one template that nearly all texts follow; else what separates the ids in them; else templates with {*} in them.

    `more`: where else than between separators ids may stand in a text. `lists`: ids of one entry between commas are a list, even
    where all texts hold as many.
    """
    texts = [*dict.fromkeys(texts)]
    inside = [text for text in texts if owner_of(text, 0, len(text)) is None]  # else the text is an id itself
    read = {text: found for text in inside if (found := _read(text, owner_of, more=more(text)))}
    exact: dict[str, list[str]] = defaultdict(list)
    for text, (owners, _, around) in read.items():
        exact[_joined(owners, [*map(_escaped, around)])].append(text)
    best = max(exact, key=lambda pattern: len(exact[pattern]), default="")
    is_one = (
        OWN not in best and exact and len(exact[best]) >= AGREEING * len(inside) and _reads(best, exact[best], read)
    )
    varies = len({len(ids) for _, ids, _ in read.values()}) > 1
    commas = _LIST.fullmatch(best) if lists and is_one and not varies else None
    if is_one and not varies and not commas:
        wider = _starred(read) if len(exact[best]) < len(inside) else []
        return Shape(wider if len(wider) == 1 else [best])
    if found := _list(texts, owner_of) or (Shape([], commas[2].strip()) if commas else None):
        return found
    starred = [] if is_one or len(read) < AGREEING * len(inside) else _starred(read)
    return Shape([best] if is_one else starred)


def _starred(read: Mapping[str, _Read]) -> list[str]:
    alike: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for text, (owners, _, _) in read.items():
        alike[owners].append(text)
    found, explained = [], 0
    for owners, several in sorted(alike.items(), key=lambda pair: (-len(pair[1]), pair[0]))[:MOST]:
        places = range(len(owners) + 1)
        between = [[_distinct(read[text][2][at], n) for n, text in enumerate(several)] for at in places]
        plain, fine = [_gap(gaps, at, places[-1]) for at, gaps in enumerate(between)], [*map(_fine_gap, between)]
        fitting = [
            pattern
            for gaps in (plain, fine)
            if None not in gaps and _reads(pattern := _joined(owners, gaps), several, read)
        ]
        if fitting:
            found.append(fitting[0])
            explained += len(several)
    return found if explained >= AGREEING * len(read) else []


def _list(texts: list[str], owner_of: OwnerOf) -> Shape | None:
    several = [found for text in texts if (found := _read(text, owner_of, most=len(text))) and len(found[1]) > 1]
    between = several[0][2][1] if several else ""
    separator = _LETTERS.split(between, maxsplit=1)[0]
    separator = separator.strip() or separator[:1]
    if not separator or ")" in separator or OWN in separator:
        return None
    parts = [[core for part in text.split(separator) if (core := part.strip())] for text in texts]
    owned = [sum(owner_of(part, 0, len(part)) is not None for part in some) for some in parts]
    lists = sum(2 * number >= len(some) > 0 for number, some in zip(owned, parts, strict=True))
    if lists >= AGREEING * len(texts):
        return Shape([], separator, sum(owned) >= COVERED * sum(map(len, parts)))
    marked = {_joined(found[0], [*map(_escaped, found[2])]) if found else "" for some in parts for part in some
              for found in [_read(part, owner_of, most=1)]}  # fmt: skip
    return Shape([*marked], separator) if len(marked) == 1 and "" not in marked else None


def as_reference(id_parts: templates.Parts, entry: str) -> str:
    """How a reference to an entry says that its ids stand like this in a text; the entry's name where they are all of it."""
    said = "".join(
        _escaped(part) if isinstance(part, str) else f"{{{entry if part.name == 'id' else part.name}}}"
        for part in id_parts
    )
    return said or entry


def common(texts: Iterable[str]) -> str:
    """What all texts begin with."""
    return "".join(letters[0] for letters in takewhile(lambda letters: len({*letters}) == 1, zip(*texts, strict=False)))


def names_entries(text: str) -> list[str] | None:
    """The entries that `to` names, in their order; None where it cannot be read."""
    if not {*"{}"} & {*text}:
        return [text]
    try:
        return [hole.name for hole in templates.entries(templates.parse(text))]
    except ValueError:
        return None


def _read(text: str, owner_of: OwnerOf, most: int = LONG, more: Iterable[Span] = ()) -> _Read | None:
    owners, ids, around, end = [], [], [], 0
    for start, stop in sorted({*token_spans(text), *more}, key=lambda span: (span[0], -span[1])):
        owner = owner_of(text, start, stop) if start >= end else None
        if owner:
            around.append(text[end:start])
            owners.append(owner)
            ids.append(text[start:stop])
            end = stop
    return (tuple(owners), tuple(ids), (*around, text[end:])) if 0 < len(ids) <= most else None


def _joined(owners: Iterable[str], gaps: list[str]) -> str:
    return gaps[0] + "".join(f"{{{owner}}}{gap}" for owner, gap in zip(owners, gaps[1:], strict=True))


def _reads(pattern: str, texts: Iterable[str], read: Mapping[str, _Read]) -> bool:
    """Whether a template reads the ids, and nothing else, out of texts; also where new ids stand beside them."""
    try:
        parts = templates.parse(pattern)
    except ValueError:  # the name of an entry is no name of a hole
        return False
    names, reader = [hole.name for hole in templates.holes(parts)], templates.reader(parts)
    if any(hole.format or hole.default is not None for hole in templates.holes(parts)):
        return False
    for text in texts:
        owners, ids, _ = read[text]
        for one in [text.replace(OWN, new) for new in _WRITTEN] if OWN in text else [text]:
            pieces = reader(one)
            found = [(n, p) for n, p in zip(names, pieces or names, strict=True) if n != templates.ANY]
            if pieces is None or found != [*zip(owners, ids, strict=True)]:
                return False
    return True


def _distinct(gap: str, number: int) -> str:
    return gap.replace(OWN, chr(_PLACED + number))


def _gap(gaps: list[str], at: int, last: int) -> str | None:
    """What stands around ids in several texts, as a part of a template; None where too little of it is the same.

    `at`: its place, from 0 before the first id to `last` behind the last one.
    """
    varies = len({*gaps}) > 1 or any(chr(_PLACED) <= character <= chr(_PLACED + len(gaps)) for character in gaps[0])
    if not varies:
        return _escaped(gaps[0])
    if len(gaps) == 1:
        gaps = [gaps[0], gaps[0].replace(chr(_PLACED), chr(_PLACED + 1))]
    before = _BEGUN.match(common(gaps))[0]
    room = min(map(len, gaps)) - len(before)
    turned = common([gap[::-1] for gap in gaps])[:room]
    after = _BEGUN.match(turned)[0][::-1]
    if (at > 0 and not before) or (at < last and not after):
        return None
    return _escaped(before) + "{*}" + _escaped(after)


def _fine_gap(gaps: list[str]) -> str | None:
    """The same, with all separators in it; None where they are not the same in all texts."""
    pieces = [_SEPARATED.split(gap) for gap in gaps]
    if any(some[1::2] != pieces[0][1::2] for some in pieces):
        return None
    return "".join("{*}" if len({*alike}) > 1 else _escaped(alike[0]) for alike in zip(*pieces, strict=True))


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
