"""The compiled routes against a naive implementation of docs/mapping.md (`naive`), on random mappings and random items.

Every item follows from the seed and the number of its mapping. `make test-long` takes another seed each time.
"""

import json
import re
from collections import Counter

import pytest
from compiled import routes_of
from naive_random import World
from strategies import meaning
from support_worlds import as_text, plain, plain_item

from runbook_lib.errors import Refused
from runbook_lib.mapping.routes import Row

ITEMS = 12  # of each entry of a mapping
CHUNKS = 4  # of the long test, so that several processes share it


def test_the_program_does_what_the_docs_say():
    """2,000 items; most mappings load, and the items show all that can become of one."""
    counts = compare(0, 2000)
    assert counts["loaded"] >= 0.8 * counts["mappings"]
    for what in ("not selected", "quarantined", "references", "unreadable", "several", "sparse"):
        assert counts[what] >= 20, (what, counts)
    assert counts["quarantined"] < counts["items"] / 2


@pytest.mark.long
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_the_program_does_what_the_docs_say_at_large(chunk, request):
    """60,000 items in all."""
    counts = compare(1 + CHUNKS * request.config.getoption("--seed") + chunk, 60_000 // CHUNKS)
    assert counts["loaded"] >= 0.8 * counts["mappings"]


def compare(seed, wanted):
    """Compares at least so many items, and counts what they are. Fails with the first item that differs."""
    counts = Counter()
    while counts["items"] < wanted:
        number = counts["mappings"]
        counts["mappings"] += 1
        world = World(seed * 1_000_003 + number)
        try:
            routes = routes_of(json.dumps(world.mapping, ensure_ascii=False), world.keys, world.exists)
        except Refused:
            continue
        counts["loaded"] += 1
        naive = world.naive()
        for entry in world.entries:
            for _ in range(ITEMS):
                item = world.item(entry)
                expected = naive.outcome(entry, item)
                count(counts, expected)
                differs = difference(routes[entry], item, expected)
                rules = world.mapping["tables"][entry]
                assert not differs, (
                    f"compare({seed}, …), mapping {number}, entry {entry}: {differs[0]}\n"
                    f"  docs say {differs[1]}\n  program  {differs[2]}\n  item     {item}\n  rules    {rules}\n"
                    f"  keys     {world.keys}\n  entries  {world.mapping['tables']}"
                )
    return counts


def count(counts, expected):
    """What becomes of the items."""
    counts["items"] += 1
    counts["not selected"] += expected is None
    if expected is not None:
        counts["quarantined"] += bool(expected.causes)
        for what in ("references", "unreadable", "several", "sparse"):
            counts[what] += bool(getattr(expected, what))


def difference(route, item, expected):
    """None, or what differs: its name, as the docs have it, as the program has it."""
    if route.selects(item) != (expected is not None):
        return "selected", expected is not None, route.selects(item)
    if expected is None:
        return None
    row = route.route(item)
    if isinstance(row, Row) == bool(expected.causes):
        return "quarantined", expected.causes, row if expected.causes else (row.attribute, row.reason)
    if isinstance(row, Row):
        pairs = of_row(expected, row)
        references, unreadable = row.references, row.unreadable
    else:
        if row.attribute not in expected.causes:
            return "attribute", expected.causes, (row.attribute, row.reason)
        if expected.early:
            return None
        pairs = []
        references, unreadable = route.references_of(item)
        unreadable = [path for path in unreadable if type(path) is str]  # the others: of several entries
    pairs += [
        ("unreadable", Counter(expected.unreadable), Counter(unreadable)),
        ("references", Counter(map(reference, expected.references)), Counter(map(reference, references))),
    ]
    return next((pair for pair in pairs if pair[1] != pair[2]), None)


def of_row(expected, row):
    """What must be the same of an item that is written."""
    mine, theirs = expected.item, row.item
    if expected.loose and bare(mine) == bare(theirs):
        mine = theirs
    apart = [n for n in {**mine, **theirs} if mine.get(n) is None or theirs.get(n) is None or far(mine[n], theirs[n])]
    return [
        ("item", {n: mine.get(n) for n in apart}, {n: theirs.get(n) for n in apart}),
        ("several", set(expected.several), set(row.several)),
        ("sparse", sorted(expected.sparse), sorted(row.sparse)),
    ]


def far(one, other):
    """Whether two values are not the same: numbers by value, sets without order."""
    return meaning(one) != meaning(other)


def bare(item):
    """An item without spaces, also of text within text."""
    return re.sub(r"(\s|\\+[ntr])+", "", as_text(plain_item(item)))


def reference(found):
    """Path, entry and old id. What names no entry has no id."""
    path, parent, old = found[:3]
    return path, parent, as_text(plain(old)) if parent is not None else None
