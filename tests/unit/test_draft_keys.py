"""Single tables without a type attribute: taken apart by their keys, with the ids inside them."""

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support_draft import Source, draft_of, findings, rules
from support_single_tables import KEY, KINDS, Single, n, order_ids, orders, s

from runbook_lib.mapping.conditions import holds
from runbook_lib.report.draft.json_draft import draft_alerts
from runbook_lib.stages.draft import ids
from runbook_lib.stages.draft.draft import Draft
from runbook_lib.stages.draft.ids import Candidate
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


def candidate(texts) -> Candidate:
    """A place that holds these."""
    found = Candidate()
    found.add([s(str(text)) for text in texts])
    return found


@pytest.mark.parametrize("wide", [65_536, 50])
def test_what_two_places_share_is_the_same_however_many_they_hold(monkeypatch, wide):
    """Of very many a part stands for all: a few among many, many among many, and eight that come again and again."""
    monkeypatch.setattr(ids, "WIDE", wide)
    many, half = candidate(f"o{n}" for n in range(4_000)), candidate(f"o{n}" for n in range(0, 4_000, 2))
    few, again, eight = (candidate(f"o{n}" for n in range(0, 4_000, 100)), candidate(f"p{n % 8}" for n in range(4_000)),
                         candidate(f"p{n}" for n in range(8)))  # fmt: skip
    assert (half.different, again.different) == (2_000, 8)
    for one, other, share, covered in (
        (half, many, 1, 0.5), (many, half, 0.5, 1), (few, many, 1, 0.01), (again, eight, 1, 1), (again, many, 0, 0),
    ):  # fmt: skip
        lap = ids.overlap(one, other)
        assert lap.share == pytest.approx(share, abs=0.35)
        assert lap.covered == pytest.approx(covered, abs=0.35)
        assert (lap.shared == lap.different > 0) is (share == 1)
    dense, sparse = candidate(range(4_000)), candidate(range(0, 400_000, 100))
    assert ids.overlap(candidate(range(0, 4_000, 100)), dense).by_chance == 1.0
    assert ids.overlap(candidate(range(0, 400_000, 10_000)), sparse).by_chance < 1e-6


STYLES = pytest.mark.parametrize("style", ["short", "uuid", "number"])
BY_DAY = {"in": "SK", "as": "ORDER#{*}#{id}"}


def open_rules(draft: Draft) -> list[tuple]:
    """Entry, path and rule: of what is left to decide."""
    return [(name, rule.path, rule.rule) for name, rule in draft.rules(ambiguous=True)]


def lines_of(draft: Draft, kind: str) -> dict:
    """Path → rule, of the drafted lines, orders or others."""
    return {path: rule for (name, path), rule in rules(draft).items() if name == kind}


@STYLES
def test_a_kind_whose_values_are_unique_owns_the_ids_and_the_others_refer_to_it(style):
    """An id that comes again in the lines of an order is the order's, whatever word stands before it; 01 finds nothing to add."""
    items = orders(style)
    draft = drafted(items)
    assert said_ids(draft) == {
        "line": None, "order": BY_DAY, "c": {"in": "PK", "as": "C#{id}"}, "p": {"in": "SK", "as": "P#{id}"},
    }  # fmt: skip
    product = {"SK": "LINE#{*}#{p}"}
    if style == "number":  # 1 to 8: also quantities
        assert open_rules(draft) == [("line", "SK", product["SK"])]
        assert (
            '# SK: "LINE#{*}#{p}"  # decide: 120 of 120 texts hold ids of p, but such values are common' in draft.text
        )
        product = {}
    assert lines_of(draft, "line") == {"PK": "O#{order}", **product}
    assert lines_of(draft, "order") == {"PK": "C#{c}"}
    assert (findings(draft, items, KEY), draft.unrouted) == ({}, [])


@STYLES
@pytest.mark.parametrize(
    ("line", "own", "said"),
    [
        ("LINE#{no}", None, None),
        ("LINE#{product}", None, "LINE#{p}"),
        ("LINE#{line}", "LINE#{id}", None),
        ("LINE#{line}#{product}", "LINE#{id}#{*}", "LINE#{*}#{p}"),
    ],
)
def test_lines_with_and_without_ids_of_their_own(style, line, own, said):
    """Bare numbers may be positions: they are no ids of lines, and those of products are left to decide."""
    items = orders(style, line)
    draft = drafted(items)
    is_number = style == "number"
    assert said_ids(draft)["line"] == (None if is_number or not own else {"in": "SK", "as": own})
    assert said_ids(draft)["order"] == BY_DAY
    assert lines_of(draft, "line") == {"PK": "O#{order}"} | ({"SK": said} if said and not is_number else {})
    assert open_rules(draft) == ([("line", "SK", said)] if said and is_number else [])
    assert findings(draft, items, KEY) == {}


@STYLES
@pytest.mark.parametrize(("mirror", "own"), [("O#{order}", "SK"), ("META", "PK")])
@pytest.mark.parametrize("order", ["ORDER#{order}", "ORDER#{day}#{order}"])
def test_a_thing_in_two_partitions_has_one_owner(style, mirror, own, order):
    """The item of which all of the key is the order's has the id; the one under the customer refers to it, as the lines do."""
    items = orders(style, "LINE#{no}", order, mirror)
    draft = drafted(items)
    assert said_ids(draft)["o"] == {"in": own, "as": "O#{id}"}
    assert said_ids(draft)["order"] is said_ids(draft)["line"] is None
    assert draft.entries["order"].id.why == "the part of its key that is unique holds the ids of o: a reference"
    assert lines_of(draft, "order") == {"PK": "C#{c}", "SK": order.format(day="{*}", order="{o}")}
    assert lines_of(draft, "line") == {"PK": "O#{o}"}
    assert (findings(draft, items, KEY), open_rules(draft)) == ({}, [])


@STYLES
def test_ids_that_are_all_of_the_sort_key(style):
    """No word stands before them: the partition is called after the kind."""
    items = [{"PK": s("ORDERS"), "SK": s(one), "status": s("x")} for one in order_ids(style, "o", 60)]
    items += [{"PK": s(f"O#{one}"), "SK": s(f"LINE#{at:03}"), "price": n(1)}
              for one in order_ids(style, "o", 60) for at in (1, 2)]  # fmt: skip
    draft = drafted(items)
    assert said_ids(draft) == {"line": None, "orders": "SK"}
    assert rules(draft) == {("line", "PK"): "O#{orders}"}
    assert findings(draft, items, KEY) == {}


def test_ids_of_which_the_owner_is_not_there_stay_and_a_comment_says_so():
    """They are unique in no kind."""
    lines = [one for one in orders("short") if one["SK"]["S"].startswith("LINE")]
    draft = drafted([*lines, *({"PK": s(f"C#c{at}"), "SK": s("PROFILE"), "name": s("x")} for at in range(30))])
    assert (said_ids(draft)["line"], rules(draft)) == (None, {})
    said = [line.strip() for line in draft.text.splitlines() if "stay as they are" in line]
    assert said == [
        '# PK: "O#{id}": 60 values of which no item here is the owner: they stay as they are',
        '# SK: "LINE#{*}#{id}": 8 values of which no item here is the owner: they stay as they are',
    ]
    assert draft.entries["line"].stays == {'PK: "O#{id}"': 60, 'SK: "LINE#{*}#{id}"': 8}


def test_the_owner_is_the_kind_that_is_named_so_or_has_all_of_a_thing():
    """Each payment holds its order alone, settings are of some users: neither owns."""
    made = orders("short")
    payments = [{"PK": s(f"ORDER#o{at}"), "SK": s("PAYMENT"), "amount": n(1)} for at in range(1, 61)]
    assert rules(drafted([*made, *payments]))["payment", "PK"] == "ORDER#{order}"
    users = [{"PK": s(f"TEAM#t{at % 5}x"), "SK": s(f"USER#u{at}x"), "name": s("x")} for at in range(30)]
    settings_ = [{"PK": s(f"USER#u{at}x"), "SK": s("SETTINGS"), "theme": s("x")} for at in range(20)]
    draft = drafted([*users, *settings_])
    assert said_ids(draft) == {"user": {"in": "SK", "as": "USER#{id}"}, "settings": None}
    assert rules(draft) == {("settings", "PK"): "USER#{user}"}


def test_the_same_words_in_two_kinds_are_left_to_decide():
    """Names of cities and of people: one has all of the other's by chance."""
    words = [
        a + b for a in ("ba", "do", "ke", "lu", "mi", "no", "ra") for b in ("lin", "met", "par", "sol", "tan", "vis")
    ]
    items = [{"PK": s(f"CITY#{one}"), "SK": s("META"), "area": n(1)} for one in words[:25]]
    items += [{"PK": s(f"PERSON#{one}"), "SK": s("META"), "born": n(1)} for one in words]
    draft = drafted(items)
    assert said_ids(draft) == {name: {"in": "PK", "as": f"{name.upper()}#{{id}}"} for name in ("city", "person")}
    assert open_rules(draft) == [("city", "PK", None)]


def test_several_ids_in_one_part_of_the_key():
    """A tenant, an order of the tenant's; in one key alone, too."""
    both = [f"ORDER#o{at}" for at in range(1, 41)]
    single = [{"PK": s(one), "status": s("x")} for one in both]
    single += [
        {"PK": s(f"{one}#LINE#{no}#p{no + at % 4}"), "amount": n(1)} for at, one in enumerate(both) for no in (1, 2)
    ]
    single += [{"PK": s(f"PRODUCT#p{at}"), "title": s("x")} for at in range(1, 9)]
    draft = drafted(single, {"PK": "S"})
    assert rules(draft) == {("orderline", "PK"): "ORDER#{order}#LINE#{*}#{product}"}
    assert findings(draft, single, {"PK": "S"}) == {}
    tenants = [{"PK": s(f"TENANT#t{at}x"), "SK": s("META"), "plan": s("x")} for at in range(5)]
    of_them = [{"PK": s(f"TENANT#t{at % 5}x#{one}"), "SK": s("META"), "status": s("x")} for at, one in enumerate(both)]
    lines = [{"PK": one["PK"], "SK": s(f"LINE#{no:02}"), "amount": n(1)} for one in of_them for no in (1, 2)]
    draft = drafted([*tenants, *of_them, *lines])
    assert rules(draft) == {
        ("tenantorder", "PK"): "TENANT#{tenant}#ORDER#{*}", ("line", "PK"): "TENANT#{tenant}#ORDER#{tenantorder}",
    }  # fmt: skip


@pytest.mark.parametrize(("joint", "form"), [("-", "{*}-{*}-{*}-{id}"), ("_", "{*}_{id}"), (" ", None)])
def test_a_value_right_behind_a_date(joint, form):
    """A hyphen divides the date, too; what nothing separates from it is one value with it."""
    items = [{"PK": s(f"C#c{at % 9}"), "SK": s(f"ORDER#2025-01-{1 + at % 28:02}{joint}o{at}x")} for at in range(40)]
    items += [{"PK": s(f"C#c{at}"), "SK": s("PROFILE"), "name": s("x")} for at in range(9)]
    draft = drafted(items)
    assert said_ids(draft)["order"] == {"in": "SK", "as": f"ORDER#{form}" if form else "ORDER#{id}"}
    assert findings(draft, items, KEY) == {}


def test_whose_items_hold_ids_of_others_only_is_said():
    """They are no items of which no ids are renewed."""
    draft = drafted(orders("short", "LINE#{no}"))
    assert draft.kept == "line has no ids of its own: only the ids of other entries inside its items are renewed."
    assert f"\n# {draft.kept}\n" in draft.text
    (alert,) = draft_alerts(draft)
    assert alert.action.startswith("Its items keep their keys, but for the ids of other entries.")
    logs = [{"PK": s("LOG"), "SK": s(f"2025-01-01T00:00:{at:02}Z"), "said": s("x")} for at in range(30)]
    alone, others = drafted([*orders("short", "LINE#{no}"), *logs]).kept.split(". ")
    assert (alone[:27], others) == ("No ids are renewed in log: ", draft.kept)


@pytest.mark.parametrize("joint", "#/:|")
def test_a_table_of_one_key_attribute_has_parts_whatever_stands_between_them(joint):
    """The words stay where they are, and the settings stay with their user."""
    users = [f"{number:08x}-0000-4000-8000-0000000000ab" for number in range(20)]
    items = [{"pk": s(joint.join(("user", user))), "email": s("x")} for user in users]
    items += [{"pk": s(joint.join(("user", user, "settings"))), "theme": s("dark")} for user in users]
    draft = drafted(items, {"pk": "S"})
    assert said_ids(draft) == {"user": {"in": "pk", "as": f"user{joint}{{id}}"}, "usersettings": None}
    assert rules(draft) == {("usersettings", "pk"): f"user{joint}{{user}}{joint}settings"}


@pytest.mark.parametrize("form", ["CUS-{}", "{}", "usr_{}x9k"])
def test_a_key_that_is_the_id_has_no_parts(form):
    """A prefix of the id belongs to it."""
    items = [{"pk": s(form.format(f"{1000 + number}abcd")), "email": s("x")} for number in range(20)]
    assert said_ids(drafted(items, {"pk": "S"})) == {"app": "pk"}


def test_a_date_stays_between_underscores_too():
    """RES_2024-05-01_r7 keeps its order; INV-2024-05-0007 is a number."""
    items = [{"PK": s(f"GUEST_{at % 7}g"), "SK": s(f"RES_2024-05-{1 + at % 28:02}_r{at}")} for at in range(40)]
    items += [{"PK": s(f"GUEST_{at}g"), "SK": s("META")} for at in range(7)]
    assert said_ids(drafted(items)) == {
        "res": {"in": "SK", "as": "RES_{*}_{id}"},
        "guest": {"in": "PK", "as": "GUEST_{id}"},
    }
    invoices = [{"pk": s(f"INV-2024-05-{at:04}")} for at in range(40)]
    assert said_ids(drafted(invoices, {"pk": "S"})) == {"app": "pk"}


@pytest.mark.parametrize("joint", "_-")
def test_a_few_prefixed_ids_have_no_digit_by_chance(joint):
    """`usr_abcdef` is a user as `usr_abc7ef` is, and no kind of its own."""
    users = [f"usr{joint}{'abcdefghijkl'[at % 12 :]}{'zy'[at % 2]}{'' if at in (5, 18) else at}q" for at in range(24)]
    items = [{"PK": s(user), "SK": s("PROFILE"), "name": s("x")} for user in users]
    items += [{"PK": s(user), "SK": s(f"FOLLOWS#{other}")} for user in users for other in users[:3]]
    draft = drafted(items)
    assert each_once(draft, items)
    assert set(where(draft)) == {"follows", "usr"}
    own = {"in": "PK", "as": "usr_{id}"} if joint == "_" else "PK"
    assert said_ids(draft) == {"follows": None, "usr": own}


def test_numbers_of_four_digits_are_years_only_if_they_can_be():
    """Guests 9001 to 9029 are guests; what counts from 2001 to 2029 are years."""
    for first, found in ((9001, {"in": "PK", "as": "guest#{id}"}), (2001, None)):
        items = [{"PK": s(f"guest#{first + number}"), "SK": s("META")} for number in range(29)]
        items += [{"PK": s(f"hotel#{number}h7k"), "SK": s("META"), "guest": n(first + number)} for number in range(20)]
        assert said_ids(drafted(items))["guest"] == found


def test_an_index_key_that_repeats_the_key_is_no_reference_to_the_item():
    """The text of GSI1SK is that in SK: taken for an id, it would make a bare one of both, and the words would be gone."""
    items = [{"PK": s(f"hotel#{number % 9}h7k"), "SK": s(f"booking#2024-05-{10 + number % 9}#{70000 + number}")}
             for number in range(60)]  # fmt: skip
    items = [{**item, "GSI1PK": s("guest#x"), "GSI1SK": item["SK"]} for item in items]
    items += [{"PK": s(f"hotel#{number}h7k"), "SK": s("hotel")} for number in range(9)]
    draft = drafted(items)
    assert said_ids(draft) == {"booking": None, "hotel": {"in": "PK", "as": "hotel#{id}"}}
    assert rules(draft) == {("booking", "PK"): "hotel#{hotel}"}


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
        "2025-01-01-x7",
        "2025-01-01 x7",
    ]
)


@example([(["ORDER"], ["ORDER"] * 4, "a")], "#")
@example([(["ORDER"] * 2, ["ORDER"], "a"), (["ORDER"] * 2, ["ORDER"] * 2, "a"), (["ORDER"] * 2, ["a1"], "a")], "#")
@example(
    [(["ORDER"] * n, ["ORDER", *more, *["ORDER"] * n], "a") for n, more in ((1, []), (2, ["user"]), (3, []))],
    "#",
)
@settings(max_examples=30)
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
