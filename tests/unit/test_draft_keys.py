"""Single tables without a type attribute: taken apart by their keys, with the ids inside them."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support_draft import Source, draft_of, rules
from support_single_tables import KEY, KINDS, Single, n, s

from runbook_lib.mapping.conditions import holds
from runbook_lib.report.draft.json_draft import draft_alerts
from runbook_lib.stages.draft.draft import Draft
from runbook_lib.stages.draft.keys import Patterns, pieces
from runbook_lib.verdict import PASS, worst


def drafted(items: list[dict], key: dict[str, str] = KEY, **more) -> Draft:
    """The draft of one table."""
    return draft_of(Source({"app-dev": items}, {"app-dev": key}, **more))


def said_ids(draft: Draft) -> dict:
    """Entry → its id, as the mapping says it."""
    return {
        name: entry.model.id_rule.model_dump(by_alias=True) if entry.id_parts else entry.model.id_rule
        for name, entry in draft.mapping.entries.items()
    }


def where(draft: Draft) -> dict:
    """Entry → its condition."""
    return {name: entry.model.where for name, entry in draft.mapping.entries.items()}


def each_once(draft: Draft, items: list[dict]) -> bool:
    """Whether every item is selected by exactly one entry, and the draft says how many each selects."""
    selects = {name: holds(entry.conditions) for name, entry in draft.mapping.entries.items()}
    counts = {name: sum(map(select, items)) for name, select in selects.items()}
    assert counts == {name: entry.items for name, entry in draft.entries.items()}
    return all(sum(select(item) for select in selects.values()) == 1 for item in items)


@pytest.mark.parametrize("kind", KINDS)
def test_published_kinds_of_single_tables_are_drafted_whole(kind):
    """Which items each entry takes, what its id is, and all that refers to it; nothing is left to decide, nothing unrouted."""
    made: Single = KINDS[kind]()
    draft = drafted(made.items, made.key)
    assert where(draft) == made.where
    assert said_ids(draft) == made.ids
    assert rules(draft) == made.references
    assert draft.rules(ambiguous=True) == draft.unrouted == []
    assert worst(draft_alerts(draft)) == PASS
    assert each_once(draft, made.items)
    assert not [one for one in made.source_ids if one in draft.text]


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_and_the_pages_of_the_items_change_nothing(kind):
    """The sample is another one then."""
    made: Single = KINDS[kind]()
    turned = random.Random(kind).sample(made.items, len(made.items))
    texts = {drafted(items, made.key, page=page).text.split("\n", 1)[1]
             for items, page in ((made.items, 1_000), (turned, 1_000), (made.items, 7))}  # fmt: skip
    assert len(texts) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_type_attribute_divides_before_the_keys_do(kind):
    """The ids are inside the keys all the same, and what refers to them."""
    made: Single = KINDS[kind]()
    plain = drafted(made.items, made.key)
    selects = {name: holds(entry.conditions) for name, entry in plain.mapping.entries.items()}
    items = [
        {**item, "entity": s(next(name for name, select in selects.items() if select(item)))} for item in made.items
    ]
    draft = drafted(items, made.key)
    assert where(draft) == {name: {"entity": name} for name in made.where}
    assert said_ids(draft) == made.ids
    assert rules(draft) == made.references


def test_items_of_no_pattern_are_unrouted_and_take_no_entry():
    """One or two among hundreds; an item like others goes with these."""
    made = KINDS["shop"]()
    items = [*made.items, {"PK": s("x"), "SK": s("lost")}, {"PK": s("CUSTOMER#1/2"), "SK": s("ORDER#7")}]
    many = [{"PK": s(f"PRODUCT#{at:05}"), "SK": s("METADATA"), "title": s("Lamp"), "price": n(1)} for at in range(300)]
    draft = drafted([*items, *many])
    assert where(draft) == made.where
    assert draft.entries["order"].items == 31
    assert [(one.table, one.items) for one in draft.unrouted] == [("app-dev", 1)]
    assert "# app-dev holds items of several kinds. 1 item is of none of these: unrouted." in draft.text


def test_owners_are_profiles_before_settings():
    """Both have the user's id and nothing else in their keys; one is the user."""
    users = [f"a{at}b{at * 7}" for at in range(20)]
    items = [{"PK": s(f"USER#{one}"), "SK": s("SETTINGS"), "theme": s("dark")} for one in users]
    items += [{"PK": s(f"USER#{one}"), "SK": s("PROFILE"), "name": s("x")} for one in users]
    draft = drafted(items)
    assert said_ids(draft) == {"user": {"in": "PK", "as": "USER#{id}"}, "settings": None}
    assert rules(draft) == {("settings", "PK"): "USER#{user}"}


def test_numbers_of_lines_and_moments_are_no_ids():
    """Although each is unique; years, dates, moments and mail addresses as well."""
    stamps = {
        "LINE": lambda at: str(at),
        "AT": lambda at: f"2025-01-01T00:{at:02}:00Z",
        "ON": lambda at: f"202{at % 10}-0{1 + at // 10}-01",
        "SINCE": lambda at: str(1_700_000_000 + at),
        "MAIL": lambda at: f"ann{at}@example.com",
    }
    items = [
        {"PK": s(f"ORDER#o{at % 5}x"), "SK": s(f"{word}#{of(at)}"), f"of{word}": s("x")}
        for word, of in stamps.items()
        for at in range(40)
    ]
    found = said_ids(drafted(items))
    assert len(found) == len(stamps)
    assert [one for one in found.values() if one and one["in"] == "SK"] == []


def test_names_of_people_in_keys_divide_nothing():
    """Words that come again, but say nothing of what the items hold."""
    names = ["ann", "bob", "cid"]
    items = [
        {"PK": s(one), "SK": s(f"VISIT#2025-01-{day:02}"), "place": s("lab")} for one in names for day in range(1, 20)
    ]
    items += [{"PK": s(one), "SK": s("REG#1"), "major": s("cs")} for one in names]
    assert where(drafted(items)) == {"visit": {"SK": {"begins_with": "VISIT#"}}, "reg": {"SK": {"begins_with": "REG#"}}}


def test_kinds_that_nothing_tells_apart_stay_one_entry():
    """`ORDER#7` and `ORDER#7#LINE#1` under one partition, with the same attributes."""
    items = [{"PK": s(f"SHOP#s{at % 4}x"), "SK": s(f"ORDER#o{at}x"), "note": s("x")} for at in range(30)]
    items += [
        {"PK": s(f"SHOP#s{at % 4}x"), "SK": s(f"ORDER#o{at % 30}x#LINE#{at}"), "note": s("x")} for at in range(60)
    ]
    draft = drafted(items)
    assert where(draft) == {"app": {}}
    assert each_once(draft, items)


def test_words_that_are_no_names_of_yaml_are_quoted():
    """A word of the key may be anything."""
    items = [
        {"PK": s(f"{word}#{at:04}x"), "SK": s("a: b #{c}"), f"own{word}": s("x")}
        for word in ("NO", "ON", "{T}")
        for at in range(9)
    ]
    draft = drafted(items)
    assert each_once(draft, items)
    items = [one | {"__typename": s(f"{{{next(name for name in one if name.startswith('own'))}}}")} for one in items]
    draft = drafted(items)
    assert each_once(draft, items)
    assert {"__typename": "{{ownNO}}"} in where(draft).values()


SEGMENTS = st.sampled_from(
    [
        "ORDER",
        "user",
        "7",
        "a1",
        "x",
        "",
        "2025-01-01",
        "2025-01-01T08:00:00Z",
        "META",
        "ü",
        "a b",
        "{id}",
        "line_1",
        "A-7",
    ]
)


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.lists(SEGMENTS, min_size=1, max_size=4),
            st.lists(SEGMENTS, min_size=1, max_size=4),
            st.sampled_from("abc"),
        ),
        min_size=1,
        max_size=40,
    ),
    st.sampled_from("#|:/"),
)
def test_whatever_the_keys_the_draft_loads_and_no_item_is_taken_twice(rows, separator):
    """Nor is one missing that the draft does not call unrouted."""
    items = {}
    for pk, sk, name in rows:
        item = {"PK": s(separator.join(pk) or "-"), "SK": s(separator.join(sk) or "-"), name: s("x")}
        items[item["PK"]["S"], item["SK"]["S"]] = item
    items = [*items.values()]
    draft = drafted(items)
    selects = [holds(entry.conditions) for entry in draft.mapping.entries.values()]
    taken = [sum(select(item) for select in selects) for item in items]
    assert max(taken) <= 1
    assert taken.count(0) == sum(one.items for one in draft.unrouted)


@given(st.text(st.sampled_from("aB10-_#/|:.T Z"), max_size=24))
def test_the_pieces_of_a_key_are_all_of_it(text):
    """Nothing is lost, so that a pattern reads what it was made of."""
    assert "".join(pieces(text)) == text


def test_a_pattern_says_words_and_values():
    """Dates are one value; a word after a word is a value; one that comes again at the end is a word."""
    items = [{"PK": s(f"USER#u{at}"), "SK": s(f"2025-01-{at:02}T10:00:00Z#doc#d{at}")} for at in range(10, 30)]
    known = Patterns((("PK", "S"), ("SK", "S")), items)
    assert [known.pattern("PK", text) for text in ("USER#u1", "USER#ann", "TEAM#7#META", "7")] == [
        "USER#\0", "USER#\0", "TEAM#\0#META", "\1",
    ]  # fmt: skip
    assert known.pattern("SK", "2025-01-01T10:00:00Z#doc#d1") == "\1#doc#\0"
