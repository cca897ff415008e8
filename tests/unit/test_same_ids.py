"""Entries whose ids are ids of another entry: which of them gets the finding, and what is a coincidence."""

import json

import pytest
from compiled import mapping_of
from support_schemas import UUIDS

from runbook_lib.discover.columns import as_columns
from runbook_lib.discover.evidence import Evidence
from runbook_lib.discover.references import same_ids
from runbook_lib.values import text_of

WIDE = [7_919 * n * n % 1_000_000_007 for n in range(2, 62)]  # numbers from a space that chance does not hit
WORDS = [f"{a}{b}" for a in "bcdfgklm" for b in ("ar", "el", "in", "op", "us", "yx")]


def told(ids: dict[str, list], models: dict[str, dict] | None = None) -> list[tuple]:
    """Entry, the other one, values, found: of entries with these ids."""
    body = {name: (models or {}).get(name, {}) for name in ids}
    sides = {"source": "{table}-s", "target": "{table}-t"}
    entries = mapping_of(json.dumps({"defaults": sides, "tables": body})).entries
    evidence = Evidence(entries)
    for name, own in ids.items():
        items = [{"id": {"S": one} if isinstance(one, str) else {"N": str(one)}} for one in own]
        for at in range(0, len(items), 17):
            page = items[at : at + 17]
            evidence.add(name, page, as_columns(page), [text_of(one["id"]) for one in page])
    return [(one.table, one.to, one.values, one.found) for one in same_ids(evidence.columns(), entries, evidence)]


@pytest.mark.parametrize("own", [UUIDS[:30], WIDE[:30], WORDS[:30]])
def test_two_entries_with_the_same_ids(own):
    """The finding is on the later one, once; where one has more ids, on the other, wherever it stands."""
    assert told({"Users": own, "Profiles": own}) == [("Profiles", "Users", 30, 30)]
    assert told({"Profiles": own[:25], "Users": own}) == [("Profiles", "Users", 25, 25)]


def test_of_several_with_the_same_ids_each_is_told_the_first():
    own = UUIDS[:30]
    assert told({"Users": own, "Profiles": own, "Settings": own}) == [
        ("Profiles", "Users", 30, 30),
        ("Settings", "Users", 30, 30),
    ]


@pytest.mark.parametrize(
    ("ids", "models"),
    [
        ({"A": UUIDS[:30], "B": UUIDS[30:60]}, {}),
        ({"A": UUIDS[:30], "B": UUIDS[3:33]}, {}),  # nine in ten
        ({"A": UUIDS[:19], "B": UUIDS[:19]}, {}),  # too few
        ({"A": WORDS[:40], "B": WORDS[1:41]}, {}),
        ({"A": [*range(1, 101)], "B": [*range(1, 201)]}, {}),  # numbered from 1, as in every second database
        ({"A": UUIDS[:30], "B": UUIDS[:30]}, {"A": {"id_format": "keep"}}),
        ({"A": UUIDS[:30], "B": UUIDS[:30]}, {"B": {"id": None, "references": {"id": "A"}}}),
    ],
)
def test_what_says_nothing(ids, models):
    """Other ids, few ids, numbers that chance hits, and entries of which one keeps its ids or refers to the other."""
    assert told(ids, models) == []


def test_ids_inside_attributes_are_compared_too():
    """And the line says how the attribute refers to the other entry's ids."""
    body = {"Users": {}, "Profiles": {"id": {"in": "id", "as": "PROFILE#{id}"}}}
    sides = {"source": "{table}-s", "target": "{table}-t"}
    entries = mapping_of(json.dumps({"defaults": sides, "tables": body})).entries
    evidence = Evidence(entries, None, entries)
    for name, form in (("Users", "{}"), ("Profiles", "PROFILE#{}")):
        page = [{"id": {"S": form.format(one)}} for one in UUIDS[:30]]
        evidence.add(name, page, as_columns(page), UUIDS[:30])
    (one,) = same_ids(evidence.columns(), entries, evidence)
    assert (one.table, one.path, one.to, one.found, one.line) == (
        "Profiles",
        "id",
        "Users",
        30,
        'id: "PROFILE#{Users}"',
    )
