"""00 proposes natural keys: attributes that are nearly unique on both sides, as comments with their evidence, never as rules."""

import json
import re
from collections import Counter
from uuid import NAMESPACE_OID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_draft import Source, draft_of, parameters_of

from runbook_lib.dynamo.structure.description import Table
from runbook_lib.report.draft import views
from runbook_lib.report.draft.json_draft import _match, draft_alerts
from runbook_lib.stages.draft.matching import natural_keys
from runbook_lib.stages.draft.matching.natural_keys import Held
from runbook_lib.verdict import PASS, REVIEW, worst
from runbook_lib.yaml_files import parse_value


def u(name: object) -> str:
    return str(uuid5(NAMESPACE_OID, str(name)))


def s(text: str) -> dict:
    return {"S": text}


def users(numbers, **more) -> list[dict]:
    """Items whose ids are those of this call; `more`: attribute → function from the number to the typed value, or None."""
    side = id(numbers)
    return [
        {"id": s(u((side, n))), **{name: value for name, make in more.items() if (value := make(n))}} for n in numbers
    ]


def mail(n: int) -> dict:
    return s(f"user{n}@example.com")


def draft_with(source: list[dict], target: list[dict], **more):
    return draft_of(Source({"Users-dev": source}), target=Source({"Users-prod": target}), **more)


def proposed(made) -> list[tuple]:
    return [(name, one.attribute, one.both, one.ambiguous, one.nearly) for name, one in made.natural_keys()]


def test_an_attribute_that_both_sides_have_is_a_comment_to_decide():
    """With its evidence; without its sign the line is a rule."""
    made = draft_with(users(range(340), email=mail), [*users(range(328, 1529), email=mail), *users([328], email=mail)])
    assert proposed(made) == [("Users", "email", 12, 1, 0)]
    (line,) = re.findall(r"^ +# match: .*$", made.text, re.MULTILINE)
    assert line.strip().split("  # ") == [
        "# match: {by: [email], found: reuse}",
        "decide: 12 of 340 values are also in the target; unique there: 1,200 of 1,202; "
        "1 of the 12 ambiguous: several items have one",
    ]
    assert "# Natural keys: 1 attribute with values that the target has, too (search for match)." in made.text
    assert "match" not in parse_value(made.text)["tables"]["Users"]
    assert _match(made.entries["Users"].natural_keys[0]) == {
        "by": ["email"],
        "source": {"values": 340, "different": 340, "unique": 340},
        "target": {"values": 1202, "different": 1201, "unique": 1200},
        "both": 12,
        "ambiguous": 1,
        "nearly": 0,
        "decision": "ambiguous",
    }
    (alert,) = draft_alerts(made)
    assert (alert.level, alert.table) == (REVIEW, "Users")
    assert "user330" not in made.text + str(views.matches(made)) + json.dumps([alert.message, alert.action])


def test_where_no_value_is_on_both_sides_nothing_is_to_decide():
    """It is said that it was looked at."""
    made = draft_with(users(range(30), email=mail, nick=mail), users(range(100, 130), email=mail))
    assert "    # no match: no value of email is also in the target\n" in made.text
    assert proposed(made) == [("Users", "email", 0, 0, 0)]
    assert _match(made.entries["Users"].natural_keys[0])["decision"] == "none"
    assert worst(draft_alerts(made)) == PASS


def test_values_that_are_nearly_the_same_are_counted_and_do_not_match():
    """Of e-mail addresses that is a trap: `match` compares exactly."""
    upper = users(range(5), email=lambda n: s(f"User{n}@Example.com"))
    made = draft_with(users(range(30), email=mail), [*upper, *users(range(4, 7), email=mail)])
    assert proposed(made) == [("Users", "email", 3, 0, 4)]  # user4 is there as it is, too
    assert "4 more differ only in letter case or blanks, and do not match" in made.text
    made = draft_with(users(range(30), email=mail), upper)
    assert "no value of email is also in the target; 5 values differ only in letter case or blanks\n" in made.text
    (alert,) = draft_alerts(made)
    assert (alert.level, alert.message) == ("", "5 values of email also in the target, but for letter case or blanks")


@pytest.mark.parametrize(
    "target",
    [Source({}), Source({"Users-prod": []}), None],
    ids=["missing", "empty", "not looked at"],
)
def test_a_target_without_items_is_not_mentioned(target):
    """And nothing is kept for it."""
    made = draft_of(Source({"Users-dev": users(range(30), email=mail)}), target=target)
    assert (proposed(made), made.unread) == ([], ())
    assert "match" not in made.text
    assert draft_alerts(made) == []


def test_a_target_that_cannot_be_read_is_a_note():
    """The mapping is drafted all the same."""
    target = Source({"Users-prod": users(range(3), email=mail)}, unreadable=True)
    made = draft_of(Source({"Users-dev": users(range(30), email=mail)}), target=target)
    (alert,) = draft_alerts(made)
    assert (alert.level, alert.message) == (
        "",
        "The target was not looked at for items that it has already: target: Scan was refused.",
    )
    assert [*made.mapping.entries] == ["Users"]


def number(n: int) -> dict:
    return {"N": str(10_000_000_000 + n)}


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda n: s(f"user{n // 2}@example.com"), "repeated"),
        (lambda n: mail(n) if n % 5 < 2 else None, "in too few items"),
        (lambda n: s(f"2025-01-{n % 28 + 1:02}T00:{n // 28:02}:00Z"), "a moment"),
        (lambda n: {"N": str(1_700_000_000 + n)}, "a moment"),
        (lambda n: {"N": f"{n}.5"}, "no whole number"),
        (lambda n: s("long " * 20 + str(n)), "a long text"),
        (lambda n: s(json.dumps({"n": n})), "a structure"),
        (lambda n: {"L": [s(str(n))]}, "a list"),
        (lambda n: {"BOOL": True}, "no text"),
        (lambda n: s(""), "empty"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_is_no_natural_key_is_not_looked_for(make, why):
    """It would be on both sides."""
    target = Source({"Users-prod": users(range(100), email=make)})
    made = draft_of(Source({"Users-dev": users(range(100), email=make)}), target=target)
    assert proposed(made) == []
    assert target.served == {"Users-prod": 1}  # whether there are items; without a candidate no more is read


def test_ids_references_keys_and_entries_without_new_ids_have_none():
    """What gets a new value cannot be compared, and an item that keeps its key is found by it."""
    people = [{"id": s(u(n)), "boss": s(u((n + 1) % 40)), "GSI1PK": s(f"u{n}")} for n in range(40)]
    made = draft_with(people, people)
    assert (proposed(made), len(made.rules(ambiguous=False))) == ([], 1)
    plain = [{"name": s(f"name {n}"), "email": mail(n)} for n in range(40)]
    source = Source({"Users-dev": plain}, keys={"Users-dev": {"name": "S"}})
    made = draft_of(source, target=Source({"Users-prod": plain}))
    assert (made.entries["Users"].id.attribute, proposed(made)) == (None, [])


def test_what_is_unique_in_few_items_only_counts_where_it_says_so():
    """Among five items nearly everything is unique. A name or the values may say that it is a natural key all the same."""
    make = {"city": lambda n: s(f"city {n}"), "sku": lambda n: s(f"sku {n}"), "contact": mail}
    made = draft_with(users(range(5), **make), users(range(3, 8), **make))
    assert proposed(made) == [("Users", "contact", 2, 0, 0), ("Users", "sku", 2, 0, 0)]
    made = draft_with(users(range(30), **make), users(range(28, 40), **make))
    assert [attribute for _, attribute, *_ in proposed(made)] == ["city", "contact", "sku"]


def test_numbers_may_be_equal_by_chance():
    """That is said; numbers are compared as such, and never with texts."""
    source = users(range(30), no=lambda n: {"N": str(5000 + n)}, code=lambda n: s(str(70 + n)))
    target = users(range(30), no=lambda n: {"N": f"{5000 + n}.0"}, code=lambda n: {"N": str(70 + n)})
    made = draft_with(source, target)
    assert proposed(made) == [("Users", "no", 30, 0, 0), ("Users", "code", 0, 0, 0)]
    assert "unique there: 30 of 30; such numbers may be equal by chance" in made.text


def test_an_entry_of_a_single_table_is_compared_with_its_own_kind():
    """An order's number is no customer's, although both are called number."""

    def kinds(shift: int) -> list[dict]:  # fmt: skip
        return [
            {"PK": s(f"{kind}#{u((shift, kind, n))}"), "SK": s("A"), "entity_type": s(kind), "number": s(f"x-{n + of}"),
             "only" + kind: s("x")}
            for kind, of in (("CUSTOMER", 0), ("ORDER", 100 - shift))
            for n in range(40)
        ]  # fmt: skip

    key = {"PK": "S", "SK": "S"}
    source = Source({"App-dev": kinds(0)}, keys={"App-dev": key})
    made = draft_of(source, target=Source({"App-prod": kinds(90)}, keys={"App-prod": key}))
    assert {name: entry.where for name, entry in made.entries.items()} == {
        kind: {"entity_type": kind} for kind in ("CUSTOMER", "ORDER")
    }
    assert proposed(made) == [("CUSTOMER", "number", 40, 0, 0), ("ORDER", "number", 0, 0, 0)]


def test_no_more_is_read_than_needed():
    """Each target table once, or at most so many items of it; of these only what is compared."""
    asked = []

    class Target(Source):
        def scan_page(self, table, **how):
            asked.append(how.get("attributes"))
            return super().scan_page(table, **how)

    target = Target(
        {"Users-prod": users(range(90), email=mail, secret=mail), "Other-prod": users(range(9), a=mail)}, page=7
    )
    source = Source({"Users-dev": users(range(50), email=mail), "Other-dev": users(range(9), b=mail)})
    made = draft_of(source, target=target)
    assert target.served == {"Users-prod": 1 + 90, "Other-prod": 1 + 9}
    assert [*filter(None, asked)] == [["b"]] * 2 + [["email"]] * 13
    assert made.entries["Users"].natural_keys[0].target.values == 90
    target.served.clear()
    made = draft_of(source, target=target, most=20)
    assert target.served == {"Users-prod": 1 + 20, "Other-prod": 1 + 9}
    (one,) = made.entries["Users"].natural_keys
    assert (one.both, one.source.values, one.target.values) == (20, 20, 20)


@pytest.mark.parametrize("same", [True, None])
def test_a_target_that_is_a_source_is_not_its_own_match(same, monkeypatch):
    """01 refuses such a mapping. Where the engine does not tell what a table is, place and name do."""
    monkeypatch.setattr(Table, "is_same", lambda *_: same)
    people = users(range(30), email=mail)
    source = Source({"Users-dev": people, "Users-dev-2": people})
    parameters = parameters_of(target={"environment": "dev-2"})
    if same is None:
        monkeypatch.setattr("runbook_lib.stages.draft.tables._holds", lambda *_: True)
    made = draft_of(source, target=Source({"Users-dev-2": people}), parameters=parameters)
    assert proposed(made) == []
    monkeypatch.setattr(Table, "is_same", lambda *_: False)
    made = draft_of(source, target=Source({"Users-dev-2": people}), parameters=parameters)
    assert proposed(made) != []


@pytest.mark.parametrize("name", ["e-mail", "e.mail", "it's: #1 {mail}", "№ mail", "mail\n  x: 1", "mail${HOME}"])
def test_names_are_written_so_that_the_line_is_a_rule_without_its_sign(name):
    """As a path that leads to the attribute."""
    source, target = (users(numbers, **{name: mail}) for numbers in (range(30), range(25, 40)))
    made = draft_with(source, target)
    text = re.sub(r"^(    )# (match: )", r"\1\2", made.text, flags=re.MULTILINE)
    entry = parse_value(text)["tables"]["Users"]
    assert entry["match"] == {"by": made.entries["Users"].natural_keys[0].by, "found": "reuse"}


held = st.lists(
    st.sampled_from(["a", "A", "b", "B", " b", "ä", "Ä", "1", "1.0", ""]).map(s)
    | st.sampled_from("12").map(lambda n: {"N": n})
)


@given(held, held)
def test_what_is_counted_is_what_counting_by_hand_gives(source, target):
    """Values as pairs of type and text; two that differ only in letter case or blanks are one folded value."""

    def known(values: list[dict]) -> Counter:  # fmt: skip
        return Counter(pair for value in values for pair in value.items() if pair[1])

    mine, theirs = known(source), known(target)
    one, other = Held(), Held()
    for at in range(0, len(source), 2):
        part = Held()
        part.add(source[at : at + 2])
        one.merge(part)
    other.add(target)
    assert natural_keys.tally(one) == (mine.total(), len(mine), sum(number == 1 for number in mine.values()))
    both = mine.keys() & theirs.keys()
    fold = lambda pairs: {(letter, text.strip().casefold()) for letter, text in pairs}  # noqa: E731
    found = natural_keys._compared("x", one, other)
    assert found.both == len(both)
    assert found.ambiguous == sum(mine[pair] > 1 or theirs[pair] > 1 for pair in both)
    assert found.nearly == len((fold(mine) & fold(theirs)) - fold(both))
