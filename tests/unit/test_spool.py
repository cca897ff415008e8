"""Objects kept in order."""

import pytest

from runbook_lib.run import spill


@pytest.mark.parametrize("limit", [1, 10**6])
def test_objects_come_back_in_order_and_more_may_follow(limit, monkeypatch):
    """In memory or in a file; read twice, and added to after reading."""
    monkeypatch.setattr(spill, "SPOOL_BYTES", limit)
    objects = spill.Spool()
    assert (list(objects), len(objects)) == ([], 0)
    for number in range(100):
        objects.append({"n": number})
    assert [one["n"] for one in objects] == list(range(100))
    objects.append({"n": 100})
    assert [one["n"] for one in objects] == list(range(101))
    assert len(objects) == 101
