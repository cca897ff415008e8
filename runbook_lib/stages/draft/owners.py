"""Whose the ids inside keys are: of all kinds of items with `ORDER#7` in their keys, one is the orders. Pure.

An owner is a kind of which every item has a value of its own there: all of the key says it (ORDER#7 with METADATA), or it is
unique. A value that comes again among a kind's items is another kind's. Two parts of keys are one thing if the same word stands
before them (ORDER#7 here and there), or if their values are the same and no coincidence (O#7 here, ORDER#7 there). Of each
thing there is one owner; the others refer to it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import NamedTuple

from ...discover.confidence import CHANCE
from ...mapping.text import templates
from ...mapping.text.paths import escaped
from .entries import Group
from .ids import PRESENT, Candidate, Choice, Overlap, overlap
from .keys import VALUE, Spot, is_general
from .references import Rule, keep_apart, of_key, weight

ROOT, UNIQUE, SHARED = 3, 2, 1  # how far the values at a spot are an item's own
EQUAL = 0.95  # of the values of one spot that must be values of another one, for both to be one thing
MOSTLY = 0.8  # of the values of a thing that its owner must have, if another kind has all
SOME, MANY = 3, 20  # different values that are no coincidence: with digits in them; of any texts
SAMPLE = 0.3  # of an owner's ids that bare numbers must be, for them to be a sample of these
SAID, CONTAINED = (
    0.5,
    0.9,
)  # share of the values that must be ids, where the word before them says whose; where none does


class _Claim(NamedTuple):
    """A spot of a group that may hold its ids."""

    rank: int
    different: int
    group: Group
    spot: Spot
    is_main: bool  # the key says that the item is the thing itself, as USER#7 with PROFILE does

    @property
    def held(self) -> Candidate:
        """What stands there."""
        return self.group.place.candidates[self.spot]

    @property
    def order(self) -> tuple:
        """The best claim first: of equal ones the profile before the settings, and the sort key before the partition key."""
        in_partition = self.spot.attribute == self.group.partition
        return -self.rank, -self.different, -self.group.place.items, self.group.name, in_partition


class _Owner(NamedTuple):
    """A kind that has ids of its own."""

    name: str
    held: Candidate  # its ids
    words: frozenset[str]  # in small letters: that stand before its ids, and its name

    def is_named(self, mark: str) -> bool:
        """Whether a word is one of its own."""
        return mark in self.words

    def is_like(self, mark: str) -> bool:
        """Whether a word is short for one of its own, or one of them for it: O and ORDER."""
        return any(_short(mark, word) for word in self.words)


def inside_keys(groups: list[Group], chosen: Mapping[str, Choice]) -> dict[str, Choice]:
    """Entry → its id inside its key, or why there is none, for entries of which no attribute is the id.

    `chosen`: what is known without.
    """
    found: dict[str, Choice] = {}
    for several in _by_table(groups):
        found |= _of_table(several, chosen)
    return found


def _by_table(groups: list[Group]) -> Iterable[list[Group]]:
    of_table: dict[str, list[Group]] = defaultdict(list)
    for group in groups:
        of_table[group.table].append(group)
    return of_table.values()


def _of_table(groups: list[Group], chosen: Mapping[str, Choice]) -> dict[str, Choice]:
    claims = [claim for group in groups for claim in _claims(group)]
    taken = {c.spot.mark: c.group.name for c in claims if chosen[c.group.name].attribute and c.rank >= UNIQUE}
    owners = [owner for group in groups if (owner := _owner(group, chosen[group.name]))]
    own = [claim for claim in claims if claim.rank >= UNIQUE and not chosen[claim.group.name].attribute]
    able = [claim for claim in own if _may_own(claim, claims)]
    found: dict[str, Choice] = {}
    lost: dict[str, Choice] = {}
    for claim in sorted(able, key=lambda claim: (not claim.is_main, _is_part(claim, able), *claim.order)):
        name, mark = claim.group.name, claim.spot.mark
        if name in found:
            continue
        other = None if _is_bare(mark) else taken.get(mark)
        alike = (o.name for o in owners if _are_one(claim, o.held, like=_is_bare(mark) or o.is_like(mark)))
        if other := other or next(alike, None):
            why = f"the part of its key that is unique holds the ids of {other}: a reference"
            lost.setdefault(name, Choice(None, "uuid", why))
            continue
        found[name] = _choice(claim)
        owners += filter(None, [_owner(claim.group, found[name])])
        # The same value under another word, as in USER#7 with PROFILE#7, is owned, too.
        also = {c.spot.mark for c in claims if c.group.name == name and c.rank == ROOT == claim.rank}
        taken |= dict.fromkeys({mark, *also}, name)
    return lost | found


def _claims(group: Group) -> list[_Claim]:
    found = []
    spots = [spot for spot in group.place.candidates if isinstance(spot, Spot)]
    said = {group.name.lower(), group.said.lower()}
    of_all = is_general(group.said) or bool({spot.mark for spot in spots if spot.twin} & said)
    for spot in spots:
        one = group.place.candidates[spot]
        if one.letters.total() < PRESENT * group.place.items or _is_time_or_mail(one):
            continue
        rank = (ROOT if spot.twin else UNIQUE) if one.fits(group.place.items) else SHARED
        found.append(_Claim(rank, one.different, group, spot, of_all or spot.mark in said))
    return found


def _is_time_or_mail(one: Candidate) -> bool:
    return 2 * one.times > one.letters.total() or 2 * one.mails > one.letters.total()


def _is_part(claim: _Claim, others: Iterable[_Claim]) -> bool:
    """Whether another kind has all values of this thing, and the claim's only a part of them."""
    return any(
        claim.different < MOSTLY * other.different
        and other.group is not claim.group
        and (_same_mark(claim, other) or _are_one(claim, other.held, like=False))
        for other in others
    )


def _same_mark(one: _Claim, other: _Claim) -> bool:
    return one.spot.mark == other.spot.mark and not _is_bare(one.spot.mark)


def _is_bare(mark: str) -> bool:
    return mark.startswith(VALUE)


def _short(one: str, other: str) -> bool:
    return bool(one) and bool(other) and one != other and (one.startswith(other) or other.startswith(one))


def _are_one(claim: _Claim, held: Candidate, *, like: bool) -> bool:
    """Whether the values of a claim are values of another place, and that is no coincidence. `like`: the words are alike."""
    one = overlap(claim.held, held)
    if one.shared < max(SOME, EQUAL * one.different):
        return False
    if like and one.covered >= EQUAL:
        return True
    if claim.held.mostly(len(claim.held.ids.recognisable)):
        return True
    # Of words without digits, one kind's few may be among another's many, as the names of cities and of people.
    tells = claim.held.mostly(claim.held.mixed) or one.covered >= EQUAL
    return tells and one.shared >= MANY and one.by_chance < CHANCE


def _may_own(claim: _Claim, claims: list[_Claim]) -> bool:
    """Whether the values at a unique spot may be ids: bare numbers are also positions, if no other kind has them, too."""
    held, mark = claim.held, claim.spot.mark
    is_bare = _is_bare(mark) or not claim.spot.form.strip("{}*id")
    says_id = claim.rank == ROOT or not held.mostly(held.numbers)
    if (says_id and not is_bare) or held.mostly(len(held.ids.recognisable)):
        return True
    names = {mark, claim.group.name.lower()}
    for other in claims:
        if other.group is claim.group:
            continue
        if _same_mark(claim, other):
            return True
        lap = overlap(other.held, held)
        like = any(_short(other.spot.mark, name) for name in names) and lap.covered >= SAMPLE
        least = SOME if like or (held.mostly(held.mixed) and not held.mostly(held.numbers)) else MANY
        if lap.shared >= max(least, EQUAL * lap.different) and (like or lap.by_chance < CHANCE):
            return True
    return False


def _choice(claim: _Claim) -> Choice:
    one, spot = claim.held, claim.spot
    alike = f"{len(one.ids.recognisable):,} look like ids" if one.ids.recognisable else "bare"
    said = {
        ROOT: f"a part of the key that is all the item's own: {one.different:,} values, {alike}",
        UNIQUE: f"a part of the key that is unique in {claim.group.place.items:,} items, {alike}",
    }[claim.rank]
    id_format = "number" if one.letters.total() == one.numbers else "uuid"  # numbers may stand elsewhere as such
    return (
        Choice(spot.attribute, id_format, said, spot.form)
        if spot.form != "{id}"
        else Choice(spot.attribute, "uuid", said)
    )


def held(group: Group, choice: Choice) -> Candidate | None:
    """What the group holds at the place of its ids; None where it has none."""
    of = group.place.candidates
    if not choice.form:
        return of.get(choice.attribute) if choice.attribute else None
    return next(one for spot, one in of.items() if _is_own(spot, choice))


def _is_own(spot: object, choice: Choice) -> bool:
    return isinstance(spot, Spot) and (spot.attribute, spot.form) == (choice.attribute, choice.form)


def _owner(group: Group, choice: Choice) -> _Owner | None:
    ids = held(group, choice)
    if ids is None:
        return None
    words = {group.name.lower(), group.said.lower()}
    for spot, one in group.place.candidates.items():
        if isinstance(spot, Spot) and not _is_bare(spot.mark):
            lap = None if _is_own(spot, choice) else overlap(one, ids)
            if lap is None or lap.share >= EQUAL <= lap.covered:
                words.add(spot.mark)
    return _Owner(group.name, ids, frozenset(word for word in words if word and not is_general(word)))


class Part(NamedTuple):
    """What a part of a key refers to."""

    owners: tuple[str, ...]  # several where nothing says which
    is_sure: bool
    found: int  # items whose value there is an id


class InKeys(NamedTuple):
    """What the keys of an entry hold beside its own id."""

    read: set[str]  # the attributes of the key that were looked at: texts with several parts
    rules: list[Rule]
    stays: dict[tuple[str, str], int]  # attribute, and the part of it → different values, which are ids of nothing here


def in_keys(groups: list[Group], chosen: Mapping[str, Choice]) -> dict[str, InKeys]:
    """Entry → what the parts of its keys refer to. `chosen`: all ids."""
    found = {}
    for several in _by_table(groups):
        owners = [owner for group in several if (owner := _owner(group, chosen[group.name]))]
        for group in several:
            found[group.name] = _in_key(group, chosen[group.name], owners)
    return found


def _in_key(group: Group, choice: Choice, owners: list[_Owner]) -> InKeys:
    found = InKeys(set(), [], {})
    for name, spots in _texts(group):
        if name == choice.attribute and not choice.form:
            continue
        parts = dict(_parts(group, choice, spots, owners))
        found.read.add(name)
        found.rules.extend(_rules(group, name, spots, parts))
        for spot in spots:
            one = group.place.candidates[spot]
            if spot not in parts and not _is_own(spot, choice) and _may_be_ids(group, spot, one):
                found.stays[name, spot.form] = one.different
    return found


def _texts(group: Group) -> Iterator[tuple[str, list[Spot]]]:
    """Attributes of the key that are texts of one pattern in (nearly) all items, and their spots from left to right."""
    alike: dict[tuple[str, str], list[Spot]] = defaultdict(list)
    for spot, one in group.place.candidates.items():
        if isinstance(spot, Spot) and spot.form != "{id}" and one.letters.total() >= PRESENT * group.place.items:
            alike[spot.attribute, spot.form.replace("{id}", "{*}")].append(spot)
    for (name, _), spots in sorted(alike.items(), key=lambda pair: pair[0][0] != group.partition):
        yield name, sorted(spots, key=_place)


def _place(spot: Spot) -> int:
    return [hole.name for hole in templates.holes(templates.parse(spot.form))].index("id")


def _parts(group: Group, choice: Choice, spots: list[Spot], owners: list[_Owner]) -> Iterator[tuple[Spot, Part]]:
    """What the spots of one attribute, from left to right, refer to. A word says whose the first value behind it is."""
    said: set[str] = set()
    for spot in spots:
        one = group.place.candidates[spot]
        if _is_own(spot, choice):
            said.add(spot.mark)
        elif not _is_time_or_mail(one) and (part := _meant(group, spot, one, owners, speaks=spot.mark not in said)):
            said.add(spot.mark)
            yield spot, part


def _meant(group: Group, spot: Spot, one: Candidate, owners: list[_Owner], *, speaks: bool) -> Part | None:
    laps = [(owner, overlap(one, owner.held)) for owner in owners]
    number = one.letters.total()
    for owner, lap in laps:
        if speaks and owner.is_named(spot.mark) and lap.share >= SAID:
            return Part((owner.name,), True, round(lap.share * number))
    near = [(owner, lap) for owner, lap in laps if lap.share >= CONTAINED and lap.shared >= min(SOME, lap.different)]
    least = SOME if one.mostly(one.mixed) else MANY
    if one.mostly(
        one.numbers
    ):  # also quantities and positions, unless they are so many of the ids that they are a sample
        near = [(owner, lap) for owner, lap in near if lap.by_chance < CHANCE or _is_sample(owner, lap, group)]
    like = [(owner, lap) for owner, lap in near if speaks and owner.is_like(spot.mark)]
    whose = like if len(like) == 1 else near
    if not whose:
        return None
    _, first = whose[0]
    is_sure = whose is like or (len(near) == 1 and first.shared >= least and first.by_chance < CHANCE)
    return Part(tuple(owner.name for owner, _ in whose), is_sure, round(max(lap.share for _, lap in whose) * number))


def _is_sample(owner: _Owner, lap: Overlap, group: Group) -> bool:
    return lap.covered >= SAMPLE and lap.shared >= SOME and owner.name != group.name


def _rules(group: Group, name: str, spots: list[Spot], parts: Mapping[Spot, Part]) -> Iterator[Rule]:
    """At most two: of the parts that are sure, and of all where some are not."""
    sure = {spot: part for spot, part in parts.items() if part.is_sure}
    for some in (parts, sure) if len(sure) < len(parts) else (sure,):
        if not some or (text := _template(spots, some)) is None:
            continue
        parents: dict[str, int] = {}
        for part in some.values():
            parents |= {owner: max(part.found, parents.get(owner, 0)) for owner in part.owners}
        counted = (
            min(group.place.candidates[spot].letters.total() for spot in spots),
            min(part.found for part in some.values()),
        )
        is_one = all(len(part.owners) == 1 for part in some.values())
        why = "" if some is sure else ", but such values are common" if is_one else "; nothing says of which"
        yield of_key(name, text, parents, counted, some is sure, why)


def with_keys(rules: Iterable[Rule], in_key: InKeys, choice: Choice) -> tuple[list[Rule], dict[str, int]]:
    """All rules, and parts of the key, as a comment says them → different values there that are ids of nothing here.

    `rules`: what was found whatever the key says. `choice`: its own id. Of one path stays what is certain,
    and of that what names most entries; so of paths that lead to one value.
    """
    found: dict[str, list[Rule]] = defaultdict(list)
    of_keys: dict[str, list[Rule]] = defaultdict(list)
    for of_path, several in ((found, rules), (of_keys, in_key.rules)):
        for rule in several:
            of_path[rule.path].append(rule)
    for path, several in of_keys.items():
        if max(map(weight, several)) >= max(map(weight, found[path]), default=(False, 0)):
            found[path] = several
    keep_apart(found, choice)
    others = {path for path, several in found.items() if several is not of_keys[path] and weight(several[0])[0]}
    stays = {
        f'{name}: "{form}"': number for (name, form), number in in_key.stays.items() if escaped(name) not in others
    }
    return [rule for path in sorted(found) for rule in found[path]], stays


def _template(spots: list[Spot], parts: Mapping[Spot, Part]) -> str | None:
    """The key as a reference says it; None where an entry's name cannot stand in braces."""
    named = {_place(spot): f"{{{part.owners[0]}}}" for spot, part in parts.items()}
    text, at = "", count()
    for part in templates.parse(spots[0].form):
        text += part.replace("{", "{{").replace("}", "}}") if isinstance(part, str) else named.get(next(at), "{*}")
    try:
        named = [hole.name for hole in templates.entries(templates.parse(text))]
    except ValueError:
        return None
    return text if named == [parts[spot].owners[0] for spot in spots if spot in parts] else None


def _may_be_ids(group: Group, spot: Spot, one: Candidate) -> bool:
    """Whether the values at a spot may be ids of something that is not here: they make partitions, or hold letters and digits."""
    if _is_time_or_mail(one) or one.different < SOME:
        return False
    return spot.attribute == group.partition or (one.mostly(one.mixed) and not one.mostly(one.numbers))
