"""The walk, as far as it needs no table."""

import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from compiled import routes_of

from runbook_lib.dynamo.rate_limiter import RateLimiter
from runbook_lib.errors import Interrupted
from runbook_lib.process import COLLECT_EVERY
from runbook_lib.walk.walk import Page, Segment, in_order, route_items

HEAD = "defaults: {source: t, target: '{table}-t', id: id}\n"


@pytest.fixture
def _collector():
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.usefixtures("_collector")
@pytest.mark.parametrize(("before", "after"), [(700, COLLECT_EVERY), (COLLECT_EVERY * 2, COLLECT_EVERY * 2), (0, 0)])
def test_a_walk_makes_the_cycle_collector_rare(before, after):
    """Never more eager than it was, and not on where somebody has turned it off. What is there already is left out, once."""
    gc.unfreeze()
    gc.set_threshold(before, 10, 10)

    class NoPlan:
        def by_source(self):
            assert gc.get_threshold() == (after, 10, 10)
            raise StopIteration

    for _ in range(2):
        with pytest.raises(StopIteration):
            Segment(NoPlan(), "t", 0, 1, {}).walk(None, None, None)
        assert (gc.get_freeze_count() > 0) == (before == 700)
        gc.unfreeze()
        before = after


def test_what_becomes_of_a_page():
    """Each item goes to every entry that selects it; to the winner of a shared key alone; to `unrouted` where none does."""
    fields = "fields: {pk: '{kind}'}, rest: copy, id_format: keep"
    text = f"{HEAD}tables: {{A: {{where: {{kind: [a, c]}}, {fields}}}, B: {{where: {{kind: b}}}}, C: {{where: {{kind: c}}}}}}"
    routes = routes_of(text, {name: {"pk": "S"} for name in "ABC"})
    items = [
        {"pk": {"S": f"k{number}"}, "kind": {"S": kind}, "pk2": {"N": "1.0"}} for number, kind in enumerate("aacdbz")
    ]
    rows = [routes["A"].route({**item}) for item in items[:2]]
    assert all(getattr(row, "attribute", None) == "pk" for row in rows)  # pk is left over, and a rule makes it
    page = Page("t", 0, 0, None, None, items)
    routed = route_items(page, [routes["A"], routes["C"]], [routes["B"]], {})
    assert routed.scanned == {"A": 3, "C": 1}
    assert [row.entry for row in routed.rows] == ["C"]
    assert [reject.source_key for reject in routed.rejects] == [{"pk": {"S": f"k{n}"}} for n in (0, 1, 2)]
    assert routed.unrouted == [{"pk": {"S": "k3"}}, {"pk": {"S": "k5"}}]
    winners = {("C-t", routed.rows[0].key_hash): ("C", '{"pk":{"S":"k9"}}')}
    assert [row.entry for row in route_items(page, [routes["C"]], [], winners).losers] == ["C"]
    winners = {("C-t", routed.rows[0].key_hash): ("C", '{"pk":{"S":"k2"}}')}
    assert route_items(page, [routes["C"]], [], winners).losers == []


def test_a_walk_that_ends_waits_for_no_table_that_accepts_nothing():
    """An exception in one segment, or Ctrl-C: the others end, also those that would wait for minutes."""
    limiter, waiting = RateLimiter(patience=600), threading.Event()
    plan = SimpleNamespace(limiter=limiter, parents=lambda: {"A": set(), "B": set()}, levels=lambda: {"A": 0, "B": 0})

    def fail():
        waiting.wait(60)
        raise Interrupted("the endpoint is lost.")

    def wait():
        waiting.set()
        limiter.pause(600)
        return limiter.is_patient

    with ThreadPoolExecutor(2) as pool:
        ended = {}
        start = lambda one: ended.setdefault(one.table, pool.submit(fail if one.table == "A" else wait))  # noqa: E731
        with pytest.raises(Interrupted, match="is lost"):
            in_order(plan, [Segment(plan, name, 0, 1, {}) for name in "AB"], start, lambda: None)
        assert ended["B"].result(timeout=60) is False
    assert limiter.is_patient
