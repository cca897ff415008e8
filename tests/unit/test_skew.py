"""How evenly partition keys spread what is written: bounded memory, and what is proposed where they do not."""

from collections import Counter
from types import SimpleNamespace

import pytest
from compiled import routes_of
from hypothesis import given
from hypothesis import strategies as st

from runbook_lib.stages.analyze import skew
from runbook_lib.stages.analyze.checks import NOTE
from runbook_lib.stages.analyze.skew import Heavy, Spread, Use, skew_checks
from runbook_lib.verdict import REVIEW

MAPPING = """
defaults: {{source: t, target: "{{table}}-t", id: id, id_format: keep}}
tables:
  Leads:
    create: {{key: {{PK: S, SK: S}}, indexes: {{by_status: {{G: S, SK: S}}}}}}
    fields: {{PK: "{pk}", SK: "{sk}", G: "STATUS#{{status}}", id: {{from: id}}}}
    rest: more
"""
values = st.sampled_from([f"v{number}" for number in range(40)])
pages = st.lists(st.lists(st.tuples(values, st.integers(1, 400)), max_size=30), max_size=8)


def spread_of(pk: str = "LEAD", sk: str = "{id}", text: str = MAPPING) -> Spread:
    """Of a table that does not exist yet."""
    routes = routes_of(text.format(pk=pk, sk=sk))
    return Spread(SimpleNamespace(routes=routes, target_tables={"Leads-t": None}))


def walk(spread: Spread, pages_: list[list[dict]]) -> dict[str, Use]:
    """What the spread says of items, page by page."""
    for items in pages_:
        rows = [spread._plan.routes["Leads"].route(item) for item in items]
        spread.add(spread.of_page("Leads", rows))
    return spread.result()["Leads-t"]


def leads(number: int, **more) -> list[dict]:
    """Items of fourteen months."""
    months = [f"{2024 + month // 12}-{month % 12 + 1:02}-03T10:00:00Z" for month in range(14)]
    return [
        {"id": {"S": f"i{n}"}, "status": {"S": "new" if n % 4 else "won"}, "at": {"S": months[n % 14]}} | more
        for n in range(number)
    ]


def summed(page: list[tuple[str, int]]) -> Counter:
    """Value → its units."""
    found: Counter = Counter()
    for value, units in page:
        found[value] += units
    return found


@given(pages)
def test_few_values_are_counted_exactly(found):
    heavy, naive = Heavy(), Counter()
    for page in found:
        one = summed(page)
        heavy.add(one)
        naive += one
    assert (heavy.total, heavy.distinct) == (naive.total(), len(naive))
    assert heavy.top[0] == (min(naive, key=lambda v: (-naive[v], v)), max(naive.values())) if naive else ("", 0)


@given(pages)
def test_beyond_that_a_count_is_too_small_by_a_bounded_part(found):
    """With room for four values: never more than the truth, and less by at most a fifth of all."""
    naive: Counter = Counter()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(skew, "KEPT", 4)
        heavy = Heavy()
        for page in found:
            one = summed(page)
            heavy.add(one)
            naive += one
            assert len(heavy._units) <= 4
        value, units = heavy.top[0]
    most = max(naive.values(), default=0)
    assert most - naive.total() / 5 <= units <= most
    assert units <= naive[value]
    assert heavy.distinct == len(naive)


def test_memory_stays_bounded_and_the_heavy_value_is_found():
    """A tenth of a hundred thousand items under one value, each other under its own."""
    heavy = Heavy()
    for page in range(100):
        heavy.add({"heavy": 100} | {f"{page} {number}": 1 for number in range(900)})
        assert len(heavy._units) <= skew.KEPT
    assert heavy.top[0][0] == "heavy"
    assert 10_000 - heavy.total / skew.KEPT <= heavy.top[0][1] <= 10_000
    assert abs(heavy.distinct / 90_001 - 1) < 0.3  # an estimate with a standard error of 6 %


def test_values_that_came_first_do_not_keep_a_heavy_one_out():
    """Full of others, and then one value, a unit a page."""
    heavy = Heavy()
    heavy.add({f"v{number}": 2 for number in range(skew.KEPT)})
    for _ in range(3_000):
        heavy.add({"heavy": 1})
    assert heavy.top[0] == ("heavy", 2_998)


def test_a_partition_of_an_index_takes_what_is_projected():
    """Of two indexes with one partition key the heavier counts; an item without an index's sort key is not in it."""
    indexes = "{byAt: {key: {G: S, at: S}, projection: KEYS_ONLY}, byN: {key: {G: S, n: S}, projection: [some]}}"
    text = MAPPING.replace("{{by_status: {{G: S, SK: S}}}}", indexes.replace("{", "{{").replace("}", "}}"))
    text = text.replace("rest: more", "rest: copy").replace(", id: {{from: id}}", "")
    large = {"text": {"S": "x" * 5000}, "some": {"S": "x" * 2000}, "status": {"S": "new"}}
    items = [one | large for one in leads(10)] + [one | large | {"n": {"S": "1"}} for one in leads(10)]
    use = walk(spread_of(text=text), [items, [{"id": {"S": "x"}, "status": {"S": "won"}} | {"text": large["text"]}]])
    assert (use["PK"].units, use["PK"].hot) == (20 * 7 + 5, 20 * 7 + 5)
    assert (use["G"].units, use["G"].hot, use["G"].distinct) == (10 * 1 + 10 * 2, 30, 1)


def test_a_partition_key_of_several_attributes_is_divided_by_all_of_them():
    """By no single one; each index's units are counted apart; a local index writes into its table's partitions."""
    indexes = "{byTwo: {key: {G: S, at: S, n: S}, partition: 2}}, local_indexes: {byN: {PK: S, n: S}}"
    text = MAPPING.replace("{{by_status: {{G: S, SK: S}}}}", indexes.replace("{", "{{").replace("}", "}}"))
    text = text.replace("rest: more", "rest: copy").replace(", id: {{from: id}}", "")
    items = [one | {"n": {"S": "1"}} for one in leads(28)] + leads(7)
    spread = spread_of(text=text)
    rows = [spread._plan.routes["Leads"].route(item) for item in items]
    page = spread.of_page("Leads", rows)
    assert page.index_units == {"byTwo": 28, "byN": 28}
    spread.add(page)
    use = spread.result()["Leads-t"]
    assert list(use) == ["G + at", "PK"]
    assert (use["G + at"].units, use["G + at"].distinct, use["G + at"].hot) == (28, 14 + 7, 2)
    assert (use["PK"].units, use["PK"].hot) == (28 * 2 + 7, 28 * 2 + 7)


def test_a_constant_key_is_one_partition():
    """And its months are counted; the index has a key of its own, made by another template."""
    use = walk(spread_of(), [leads(50), leads(90)])
    assert use["PK"] == Use(1, 140, 140, "LEAD", True, "LEAD#{at:%Y-%m}", 14, (("LEAD", 140),))
    assert (use["G"].distinct, use["G"].hot, use["G"].rule, use["G"].constant) == (2, 104, "STATUS#{status}", False)


@pytest.mark.parametrize(
    ("absent", "proposal", "months"),
    [(0, "LEAD#{at:%Y-%m}", 14), (9, "LEAD#{at:%Y-%m|0000-00}", 15), (20, "", 0)],  # 20 of 140: too many have no date
)
def test_the_month_is_proposed_where_nearly_all_items_have_a_date(absent, proposal, months):
    items = leads(140)
    for item in items[100 : 100 + absent]:
        item["at"] = {"S": "last Tuesday"}
    use = walk(spread_of(), [items])["PK"]
    assert (use.proposal, use.months) == (proposal, months)


def test_no_month_is_added_to_a_key_that_has_one():
    assert walk(spread_of("{at:%Y-%m}"), [leads(140)])["PK"].proposal == ""
    assert (
        walk(spread_of("LEAD"), [leads(13, at={"S": "2024-01-01"})])["PK"].proposal == ""
    )  # one month divides nothing


def test_a_date_that_another_template_reads_is_preferred():
    """It is meant to stay; also where a page's first item, or a few items, have none."""
    items = leads(140)
    items[0]["made"] = {"S": "unknown"}
    for item in items[1:]:
        item["made"] = {"S": item["at"]["S"][:7] + "-20"}
    sk = "{made:%Y-%m|0000-00}#{id}"
    assert walk(spread_of(sk=sk), [items])["PK"].proposal == "LEAD#{made:%Y-%m|0000-00}"
    for item in items[:20]:
        item["made"] = {"S": "unknown"}  # too few have one
    assert walk(spread_of(sk=sk), [items])["PK"].proposal == "LEAD#{at:%Y-%m}"


def test_many_attributes_that_look_like_dates_stay_bounded():
    """Names made from data, and texts that only begin like months."""
    spread = spread_of()
    for page in range(9):
        walk(spread, [leads(3, **{f"d{page}": {"S": f"20{page}0-01-01"}, "x": {"S": f"{page}999-99-99"}})])
    assert len(spread._months["Leads"]) == skew.DATES
    assert sum(map(len, spread._months["Leads"].values())) <= 14 + skew.DATES


def test_a_key_without_sort_key_spreads_by_itself():
    """No two items share it: only the size of one counts."""
    text = 'defaults: {source: t, target: "{table}-t", id: id}\ntables: {Leads: {}}\n'
    spread = Spread(SimpleNamespace(routes=routes_of(text), target_tables={"Leads-t": None}))
    assert walk(spread, [leads(5), leads(3, x={"S": "x" * 1024})]) == {"id": Use(8, 11, 2, top=(("", 2),))}


def use(hot: int, units: int = 0, **more) -> dict:
    return {"T": {"PK": Use(1, units or hot, hot, **more)}}


@pytest.mark.parametrize(
    ("found", "others", "level"),
    [
        (use(700_000), 100.0, REVIEW),  # 700 s in one partition
        (use(700_000), 800.0, ""),  # a budget bounds it before
        (use(590_000), 100.0, NOTE),
        (use(10_000), 9.0, NOTE),
        (use(9_999), 0.0, ""),
        (use(100, rule="LEAD", constant=True), 5.0, NOTE),  # small today, but the design does not grow
        (use(99, rule="LEAD", constant=True), 5.0, ""),
        (use(400, 1_000, rule="LEAD", constant=True), 5.0, ""),
        (use(400, rule="S#{status}"), 5.0, ""),
    ],
)
def test_when_a_heavy_value_is_worth_a_word(found, others, level):
    """Never for a small table whose key comes from its data."""
    (check,) = skew_checks(found, others)
    assert (check.what, check.level) == ("skew", level)
    assert bool(check.table) == bool(check.action) == bool(level)


def test_what_is_said_of_it():
    """Constants of the mapping are named, values of items never."""
    made = use(700_000, rule="LEAD", constant=True, proposal="LEAD#{at:%Y-%m}", months=14)
    (check,) = skew_checks(made, 0.0)
    assert check.message == (
        "PK: LEAD puts 100 % of the write units into one partition, which takes 1,000 a second, so at least 700 seconds"
    )
    assert check.action == '`PK: "LEAD#{at:%Y-%m}"` would spread them over 14 values; queries then name the month.'
    assert check.found == {"attribute": "PK", "distinct": 1, "largest_share": 1.0}
    (check,) = skew_checks(use(20_000, 30_000, rule="S#{status}"), 0.0)
    assert check.message.startswith("one value of PK: S#{status} puts 67 % of")
    (check,) = skew_checks(use(20_000, 30_000), 0.0)
    assert check.message.startswith("one value of PK puts 67 %")
