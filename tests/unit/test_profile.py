"""The attribute profile: counts, types and lengths, page by page."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from strategies import items

from runbook_lib.profile import AttributeProfile, merge_into, profile_items
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
    for name, profile in profile_items(page).items():
        values = [item[name] for item in page if name in item]
        assert profile.types == Counter(next(iter(value)) for value in values)
        assert profile.empty == sum(map(is_empty, values))
        lengths = [
            len(content) for value in values for letter, content in value.items() if letter not in ("N", "BOOL", "NULL")
        ]
        assert (profile.shortest, profile.longest) == ((min(lengths), max(lengths)) if lengths else (None, None))


def test_no_value_is_kept():
    """Only figures: nothing personal can leave through a profile."""
    (profile,) = profile_items([{"email": {"S": "canary@example.com"}}]).values()
    assert profile == AttributeProfile(Counter(S=1), 0, 18, 18)
    assert "canary" not in repr(profile)
