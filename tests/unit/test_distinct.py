"""Counting different values."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbook_lib.discover.distinct import ERROR, KEPT, Distinct, content_of
from runbook_lib.discover.profile import merge_into, profile_items

LETTERS = st.sampled_from(("S", "N", "B"))


@given(st.lists(st.lists(st.tuples(LETTERS, st.text(max_size=3)), max_size=40), max_size=6))
def test_few_values_are_counted_exactly(pages):
    """In any number of pages, each with repetitions; a number is not the text that reads like it."""
    whole = Distinct()
    for page in pages:
        whole.merge(Distinct(page))
    values = {value for page in pages for value in page}
    assert whole.exact
    assert whole.count == len(values)


@pytest.mark.parametrize("number", [300, 3_000, 20_000])
def test_many_values_are_estimated(number):
    """Within four standard errors, whatever the order of the pages; values that are alike do not lead astray."""
    values = [("S", f"item-{n:08}") for n in range(number)] * 2
    random.Random(number).shuffle(values)
    pages = [Distinct(values[at : at + 1_000]) for at in range(0, len(values), 1_000)]
    counts = []
    for order in (pages, pages[::-1]):
        whole = Distinct()
        for page in order:
            whole.merge(page)
        assert not whole.exact
        counts.append(whole.count)
    assert counts[0] == counts[1] == pytest.approx(number, rel=4 * ERROR)
    assert len(whole._hashes) == KEPT


def test_values_of_every_type_are_told_apart():
    """Sets whatever their order, maps whatever that of their keys."""
    equal = [
        ({"SS": ["a", "b"]}, {"SS": ["b", "a"]}),
        ({"M": {"x": {"N": "1"}, "y": {"S": ""}}}, {"M": {"y": {"S": ""}, "x": {"N": "1"}}}),
    ]
    for one, other in equal:
        ((letter, content),), ((_, again),) = one.items(), other.items()
        assert content_of(letter, content) == content_of(letter, again)
    values = [
        {"S": "1"},
        {"N": "1"},
        {"BOOL": True},
        {"BOOL": False},
        {"NULL": True},
        {"L": []},
        {"M": {}},
        {"SS": ["1"]},
    ]
    profile = profile_items([{"a": value} for value in values * 3])
    assert profile["a"].distinct.count == len(values)


def test_a_table_s_profile_counts_over_its_pages():
    """As any other figure of it."""
    whole = {}
    for page in range(3):
        merge_into(whole, profile_items([{"id": {"S": f"{page}-{n}"}, "kind": {"S": "same"}} for n in range(50)]))
    assert {name: profile.distinct.count for name, profile in whole.items()} == {"id": 150, "kind": 1}
