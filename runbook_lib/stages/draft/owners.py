"""Whose the ids inside keys are: of all kinds of items with `ORDER#7` in their keys, one is the orders. Pure.

The owner of a word is the kind whose items have the value as their own: all of the key says it (ORDER#7 with METADATA), or it is
unique. Where nothing is, the kind with most different values stands for it. An owner has one id; the others refer to it.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from .entries import Group
from .ids import Choice
from .keys import VALUE, Spot, is_general

ROOT, UNIQUE, SHARED = 3, 2, 1  # how far the values at a spot are an item's own


class _Claim(NamedTuple):
    """A spot of a group that may hold its ids."""

    rank: int
    different: int
    group: Group
    spot: Spot
    is_main: bool  # the key says that the item is the thing itself, as USER#7 with PROFILE does

    @property
    def order(self) -> tuple:
        """The best claim first: of equal ones the profile before the settings, and the sort key before the partition key."""
        in_partition = self.spot.attribute == self.group.partition
        return -self.rank, not self.is_main, -self.different, -self.group.place.items, self.group.name, in_partition


def inside_keys(groups: list[Group], chosen: Mapping[str, Choice]) -> dict[str, Choice]:
    """Entry → its id inside its key, for entries of which no attribute is the id. `chosen`: what is known without."""
    found: dict[str, Choice] = {}
    of_table: dict[str, list[Group]] = defaultdict(list)
    for group in groups:
        of_table[group.table].append(group)
    for several in of_table.values():
        found |= _of_table(several, chosen)
    return found


def _of_table(groups: list[Group], chosen: Mapping[str, Choice]) -> dict[str, Choice]:
    claims = [claim for group in groups for claim in _claims(group)]
    holders: dict[str, set[str]] = defaultdict(set)  # mark → the groups that have values there
    for claim in claims:
        holders[claim.spot.mark].add(claim.group.name)
    owned = {c.spot.mark for c in claims if chosen[c.group.name].attribute and c.rank >= UNIQUE}
    found: dict[str, Choice] = {}
    for claim in sorted(claims, key=lambda claim: claim.order):
        name, mark = claim.group.name, claim.spot.mark
        if chosen[name].attribute or name in found or mark in owned:
            continue
        if not _may_own(claim, is_elsewhere=len(holders[mark]) > 1):
            continue
        found[name] = _choice(claim)
        # The same value under another word, as in USER#7 with PROFILE#7, is owned, too.
        owned |= {mark} | {c.spot.mark for c in claims if c.group.name == name and c.rank == ROOT == claim.rank}
    return found


def _claims(group: Group) -> list[_Claim]:
    found = []
    twins = {spot.mark for spot in group.place.candidates if isinstance(spot, Spot) and spot.twin}
    is_main = is_general(group.said) or bool(twins & {group.name.lower(), group.said.lower()})
    for spot, one in group.place.candidates.items():
        if not isinstance(spot, Spot) or one.letters.total() < 0.99 * group.place.items:
            continue
        if 2 * one.times > one.letters.total() or 2 * one.mails > one.letters.total():
            continue
        rank = (ROOT if spot.twin else UNIQUE) if one.fits(group.place.items) else SHARED
        found.append(_Claim(rank, one.different, group, spot, is_main))
    return found


def _may_own(claim: _Claim, *, is_elsewhere: bool) -> bool:
    one = claim.group.place.candidates[claim.spot]
    in_partition = claim.spot.attribute == claim.group.partition
    if claim.spot.mark.startswith(VALUE) or not claim.spot.form.strip("{}*id"):
        return claim.rank >= UNIQUE and one.mostly(len(one.ids.recognisable))
    if claim.rank == ROOT:
        return True
    if claim.rank == UNIQUE:  # bare numbers are also positions
        return is_elsewhere or not one.mostly(one.numbers)
    return one.mostly(one.mixed) and (is_elsewhere or in_partition)


def _choice(claim: _Claim) -> Choice:
    one, spot = claim.group.place.candidates[claim.spot], claim.spot
    alike = f"{len(one.ids.recognisable):,} look like ids" if one.ids.recognisable else "bare"
    said = {
        ROOT: f"a part of the key that is all the item's own: {one.different:,} values, {alike}",
        UNIQUE: f"a part of the key that is unique in {claim.group.place.items:,} items, {alike}",
        SHARED: f"a part of the key: {one.different:,} values in {claim.group.place.items:,} items, {alike}; of no other kind",
    }[claim.rank]
    id_format = "number" if one.letters.total() == one.numbers else "uuid"  # numbers may stand elsewhere as such
    return (
        Choice(spot.attribute, id_format, said, spot.form)
        if spot.form != "{id}"
        else Choice(spot.attribute, "uuid", said)
    )
