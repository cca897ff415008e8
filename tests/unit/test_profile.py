"""The attribute profile: counts, types and lengths, page by page."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from strategies import items

from runbook_lib import values
from runbook_lib.discover import profile
from runbook_lib.discover.profile import AttributeProfile, merge_into, profile_items
from runbook_lib.values import is_empty


@given(st.lists(st.lists(items, max_size=4), max_size=4))
def test_pages_add_up_to_the_whole(pages):
    """Merged page by page it is what all items at once give."""
    whole = {}
    for page in pages:
        merge_into(whole, profile_items(page))
    assert whole == profile_items([item for page in pages for item in page])


@given(st.lists(items, max_size=5))
def test_what_is_counted(page):
    """Types and empty values; shortest and longest of what has a length."""
    for name, found in profile_items(page).items():
        values = [item[name] for item in page if name in item]
        assert found.types == Counter(next(iter(value)) for value in values)
        assert found.empty == sum(map(is_empty, values))
        lengths = [
            len(content) for value in values for letter, content in value.items() if letter not in ("N", "BOOL", "NULL")
        ]
        assert (found.shortest, found.longest) == ((min(lengths), max(lengths)) if lengths else (None, None))


def test_no_value_is_kept():
    """Only figures: nothing personal can leave through a profile."""
    (found,) = profile_items([{"email": {"S": "canary@example.com"}}]).values()
    assert found == AttributeProfile(Counter(S=1), 0, 18, 18, found.distinct)
    assert "canary" not in repr(found)


def test_names_without_end_share_one_line(monkeypatch):
    """A table whose attribute names are data is profiled in bounded memory."""
    monkeypatch.setattr(values, "MAX_ATTRIBUTES", 3)
    whole = {}
    for number in range(10):
        profile.merge_into(whole, profile.profile_items([{"id": {"S": "x"}, f"n{number}": {"S": "y"}}]))
    assert sorted(whole) == [values.FURTHER, "id", "n0", "n1"]
    assert whole[values.FURTHER].types["S"] == 8
    assert whole["id"].types["S"] == 10
