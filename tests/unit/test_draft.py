"""What 00 drafts from tables: their names, kinds, ids and references; and a file that says so and loads."""

import json
import re
import uuid
from pathlib import Path

import pytest
from support_draft import Source, draft_of, parameters_of, rules
from support_schemas import database

from runbook_lib.dynamo.rate_limiter import RateLimiter
from runbook_lib.errors import Refused
from runbook_lib.mapping.file.load import load_mapping
from runbook_lib.report.draft.json_draft import draft_alerts
from runbook_lib.stages.draft.draft import check_free, write_mapping
from runbook_lib.stages.draft.survey import sources_at
from runbook_lib.verdict import PASS, REVIEW, worst
from runbook_lib.yaml_files import literal, parse_value, scalar


def u(number: int) -> str:
    """A uuid, the same for the same number."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(number)))


def s(text: str) -> dict:
    return {"S": text}


def rows(count: int, first: int = 0, **more) -> list[dict]:
    """Items with a uuid each; a function in `more` makes the attribute from the item's number."""
    return [
        {"id": s(u(first + n)), **{k: v(n) if callable(v) else v for k, v in more.items() if v is not None}}
        for n in range(count)
    ]


# names of tables


@pytest.mark.parametrize(
    ("tables", "source", "entries"),
    [
        (["Users-dev", "Orders-dev"], "{table}-{source.environment}", ["Orders", "Users"]),
        (["Users-dev-NONE", "Cases-dev-NONE"], "{table}-{source.environment}-NONE", ["Cases", "Users"]),
        (["dev_Users", "dev_Orders"], "{source.environment}_{table}", ["Orders", "Users"]),
        (["shop-dev-Users", "shop-dev-Orders"], "shop-{source.environment}-{table}", ["Orders", "Users"]),
        (["shop-Users-dev", "shop-Orders-dev"], "shop-{table}-{source.environment}", ["Orders", "Users"]),
        (["dev-dev-a", "dev-dev-b"], "{source.environment}-{source.environment}-{table}", ["a", "b"]),
        (["A-dev", "A-B-dev"], "{table}-{source.environment}", ["A", "A-B"]),
        (["no-dev", "on-dev", "123-dev"], "{table}-{source.environment}", ["123", "no", "on"]),
        (["Users-dev"], "{table}-{source.environment}", ["Users"]),
        (["Users-dev-NONE"], "{table}-{source.environment}-NONE", ["Users"]),
        (["app-dev-users"], "app-{source.environment}-{table}", ["users"]),
    ],
)
def test_names_give_the_pattern(tables, source, entries):
    """One pattern for all names: what stands around the entries, with the environment's name as a hole."""
    made = draft_of(Source({name: [] for name in tables}))
    defaults = parse_value(made.text)["defaults"]
    assert defaults == {"source": source, "target": source.replace("source.", "target.")}
    assert sorted(made.mapping.entries) == sorted(entries)
    assert sorted(entry.source for entry in made.mapping.entries.values()) == sorted(tables)


def test_names_without_a_pattern_get_entries_of_their_own():
    """Names built in several ways; two that would be the same entry get different ones."""
    tables = ["Users-dev", "dev-Users", "dev.Orders.x", "dev"]
    made = draft_of(Source({name: [] for name in tables}))
    entries = made.mapping.entries
    assert {entry.source: entry.target for entry in entries.values()} == {
        name: name.replace("dev", "prod") for name in tables
    }
    assert sorted(entries) == ["Orders-x", "Users", "Users-2", "dev"]


def test_only_tables_of_the_environment_are_drafted():
    """The name is a whole part; a table of the target's environment, whose name may hold it, and the leases are none."""
    tables = ["Users-dev", "Users-develop", "mydev-Users", "Users-dev-2", "Orders-dev", "leases-dev", "Other"]
    source = Source({name: [] for name in tables})
    made = draft_of(source, parameters=parameters_of(target={"environment": "dev-2"}, lease={"table": "leases-dev"}))
    assert sorted(entry.source for entry in made.mapping.entries.values()) == ["Orders-dev", "Users-dev"]


def test_a_pattern_chooses():
    """Names that it does not describe are left out; it may hold the region."""
    source = Source({name: [] for name in ("x-eu-Users", "x-eu-Orders", "x-us-Users", "Users-dev")})
    sides = {"source": {"environment": "dev", "region": "eu"}, "target": {"environment": "prod", "region": "us"}}
    made = draft_of(source, "x-{source.region}-{table}", parameters=parameters_of(**sides))
    assert {entry.source: entry.target for entry in made.mapping.entries.values()} == {
        "x-eu-Users": "x-us-Users-prod", "x-eu-Orders": "x-us-Orders-prod",
    }  # fmt: skip


def test_a_pattern_without_the_environment_never_makes_the_source_the_target():
    """The target's name is added; tables that an earlier migration made so are no source."""
    made = draft_of(Source({"Users": [], "Users-prod": [], "A-prod": []}), "{table}")
    assert {e.source: e.target for e in made.mapping.entries.values()} == {
        "Users": "Users-prod", "A-prod": "A-prod-prod",
    }  # fmt: skip


def test_a_pattern_that_is_one_name_needs_no_list():
    """Where ListTables is denied, one table can still be drafted."""
    source = Source({"crm": []}, denied=True)
    made = draft_of(source, "crm")
    assert source.listed == 0
    assert [(e.name, e.source, e.target) for e in made.mapping.entries.values()] == [("crm", "crm", "crm-prod")]


@pytest.mark.parametrize(
    ("source", "pattern", "said"),
    [
        (Source({"Users": []}), "", "has dev as a part of its name; check source.environment"),
        (Source({"Users": []}), "x-{table}", "has a name like x-{table}; correct --pattern"),
        (Source({"Users": []}), "nothing", "table nothing does not exist"),
        (Source({"Users": []}), "{table}-{source.account}", "{source.account} has no value"),
        (Source({"Users": []}), "{table}-{target.environment}", "{target.environment} has no value"),
        (Source({"Users": []}), "{table", "--pattern: a single '{'"),
        (Source({"Users": []}, denied=True), "", "access denied; allow dynamodb:ListTables"),
    ],
)
def test_what_cannot_be_drafted_is_refused(source, pattern, said):
    """In one sentence that says what to do."""
    with pytest.raises(Refused) as problem:
        draft_of(source, pattern)
    assert said in str(problem.value)
    assert str(problem.value).endswith(".")


# references


@pytest.mark.parametrize(
    "style", ["uuid", *(pytest.param(style, marks=pytest.mark.slow) for style in ("prefix", "ulid"))]
)
def test_all_references_of_a_database_are_drafted_and_no_other(style):
    """Plain, in lists and sets, nested, in JSON and in text; the file as it is written and loaded again."""
    for seed in range(4):
        made = database(seed, style)
        drafted = draft_of(Source({f"{name}-dev": items for name, items in made.items.items()}, page=50))
        assert {(name, path) for name, path in rules(drafted)} == {(name, path) for name, path, _ in made.truth}
        assert {(n, p, r.to) for n, r in drafted.rules(ambiguous=False) for p in [r.path]} == made.truth
        assert worst(draft_alerts(drafted)) == PASS
        assert not [one for one in _ids(made.items) if one in drafted.text]


def _ids(items):
    return [item["id"][letter] for of in items.values() for item in of for letter in item["id"]]


def test_numbers_that_may_be_anything_are_comments_to_decide():
    """What is not certain is no rule, and makes the verdict REVIEW."""
    made = database(1, "integer", meaningless=True)
    source = Source(
        {f"{name}-dev": items for name, items in made.items.items()},
        {f"{name}-dev": {"id": "N"} for name in made.items},
    )  # fmt: skip
    drafted = draft_of(source)
    open_ = {(name, rule.path) for name, rule in drafted.rules(ambiguous=True)}
    assert len(open_ & {(name, path) for name, path, _ in made.truth}) > 5
    assert not open_ & rules(drafted).keys()
    assert worst(draft_alerts(drafted)) == REVIEW
    assert drafted.text.count("# decide: ") >= len(open_)
    assert {entry.model.id_format for entry in drafted.mapping.entries.values()} == {"number"}


def test_the_draft_does_not_depend_on_the_pages():
    """One page or many."""
    made = database(2, "uuid")
    texts = {
        draft_of(Source({f"{n}-dev": items for n, items in made.items.items()}, page=page)).text.split("\n", 1)[1]
        for page in (7, 50, 1_000)
    }
    assert len(texts) == 1


def test_few_values_that_are_ids_leave_the_others_as_they_are():
    """`createdBy` is a user or a program: the program's name is not to become an id."""
    tasks = rows(60, 100, createdBy=lambda n: s(u(n)) if n < 20 else s(f"importer {n}"), ownerId=lambda n: s(u(n % 30)))
    drafted = draft_of(Source({"Users-dev": rows(30), "Tasks-dev": tasks}))
    found = {path: rule.dangling for path, rule in drafted.mapping.entries["Tasks"].model.references.items()}
    assert found == {"createdBy": "keep", "ownerId": "map"}


def test_empty_texts_are_no_values():
    """An attribute that is often empty is covered all the same."""
    tasks = rows(60, 100, ownerId=lambda n: s(u(n)) if n < 20 else s(""))
    (rule,) = [rule for _, rule in draft_of(Source({"Users-dev": rows(30), "Tasks-dev": tasks})).rules(ambiguous=False)]
    assert (rule.values, rule.found, rule.rule) == (20, 20, "Users")


def test_an_attribute_that_names_the_entry_is_found():
    """Also where a few items name one that is not here."""

    def log(n):
        return s("Legacy" if n == 5 else ("Users", "Orders")[n % 2])

    logs = rows(60, 500, kindOf=log, ref=lambda n: s(u(n % 20 + 100 * (n % 2))))
    tables = {"Users-dev": rows(20), "Orders-dev": rows(20, 100, userId=lambda n: s(u(n))), "Logs-dev": logs}
    drafted = draft_of(Source(tables))
    assert rules(drafted) == {("Orders", "userId"): "Users", ("Logs", "ref"): {"table_named_by": "kindOf"}}


def test_ids_of_several_tables_at_one_path_are_of_the_table_that_has_them():
    """Where no attribute says of which, each id is looked up."""
    logs = rows(60, 500, ref=lambda n: s(u(n % 20 + 100 * (n % 2))))
    drafted = draft_of(Source({"Users-dev": rows(20), "Orders-dev": rows(20, 100), "Logs-dev": logs}))
    assert rules(drafted) == {("Logs", "ref"): ["Orders", "Users"]}
    ((_, rule),) = drafted.rules(ambiguous=False)
    assert (rule.parents, rule.to) == ({"Orders": 30, "Users": 30}, ["Orders", "Users"])


def test_ids_that_two_tables_have_need_a_decision():
    """Each of the tables is offered as a comment."""
    tables = {"Users-dev": rows(20), "Members-dev": rows(20), "Logs-dev": rows(60, 500, ref=lambda n: s(u(n % 20)))}
    drafted = draft_of(Source(tables))
    assert [(e, r.path, r.parents) for e, r in drafted.rules(ambiguous=True) if e == "Logs"] == [
        ("Logs", "ref", {"Members": 60, "Users": 60})
    ]
    assert "    #   ref: Users  # decide:" in drafted.text
    assert "    #   ref: Members  # decide:" in drafted.text
    taken_in = [
        line for line in drafted.text.splitlines() if "ref: Members" not in line and "# id  # decide" not in line
    ]
    plain = re.sub(r"^    # ( *ref)", r"    \1", "\n".join(taken_in), flags=re.MULTILINE).replace(
        "    # references", "    references"
    )
    assert parse_value(plain)["tables"]["Logs"]["references"] == {"ref": "Users"}
    assert rules(drafted) == {}


def test_kinds_of_a_table_can_be_named_by_an_attribute():
    """As tables can: notes about users and orders, all in one table."""
    items = single({"USER": 20, "ORDER": 20, "NOTE": 30})
    for n, item in enumerate(items[40:]):
        kind = ("USER", "ORDER")[n % 2]
        item |= {"about": s(u(f"{kind}{n % 20}")), "aboutKind": s(kind)}
    drafted = draft_of(Source({"app-dev": items}, KEY))
    assert rules(drafted) == {("NOTE", "about"): {"table_named_by": "aboutKind"}}


def test_one_text_is_no_pattern():
    """What stands around the id may be anybody's words; they are not shown."""
    letters = rows(2, 500, text=lambda n: s(f"Dear Ann, your order {u(n)} is lost."))
    drafted = draft_of(Source({"Orders-dev": rows(20), "Letters-dev": letters}))
    assert {(name, rule.path, rule.rule) for name, rule in drafted.rules(ambiguous=True)} == {("Letters", "text", None)}
    assert "Ann" not in drafted.text


def test_a_path_of_several_types_has_a_rule_for_each():
    """Here one id, there a list of them; maps as records as well as JSON."""
    orders = rows(30, 100, userId=lambda n: s(u(n)))
    mixed = rows(40, 500, ref=lambda n: s(u(n % 30)) if n % 2 else {"L": [s(u(n % 30))]},
                 was=lambda n: {"M": dict(orders[n % 30])})  # fmt: skip
    drafted = draft_of(Source({"Users-dev": rows(30), "Orders-dev": orders, "Mixed-dev": mixed}))
    assert rules(drafted) == {
        ("Orders", "userId"): "Users",
        ("Mixed", "ref"): "Users",
        ("Mixed", "ref[]"): "Users",
        ("Mixed", "was"): {"record_of": "Orders"},
    }


def test_whole_records_are_drafted_as_records():
    """Ids and references of an order stand in a log as the order has them; what is beside them is a rule of its own."""
    orders = rows(30, 100, userId=lambda n: s(u(n)), parentId=lambda n: s(u(100 + n // 2)))

    def snapshot(n):
        order = orders[n % 30]
        plain = {name: value["S"] for name, value in order.items()}
        return s(json.dumps({**plain, "by": u(n % 20)}))

    logs = rows(40, 500, was=snapshot)
    drafted = draft_of(Source({"Users-dev": rows(30), "Orders-dev": orders, "Logs-dev": logs}))
    assert rules(drafted) == {
        ("Orders", "userId"): "Users",
        ("Orders", "parentId"): "Orders",
        ("Logs", "was:json"): {"record_of": "Orders"},
        ("Logs", "was:json.by"): "Users",
    }


def test_ids_that_two_tables_share_need_a_decision():
    """A profile with its user's id: as each gets its own new one, they would part."""
    drafted = draft_of(Source({"Users-dev": rows(20, name=s("x")), "Profiles-dev": rows(20, bio=s("y"))}))
    assert {(name, rule.path) for name, rule in drafted.rules(ambiguous=True)} == {("Users", "id")}
    assert worst(draft_alerts(drafted)) == REVIEW


def test_ids_of_nothing_here_are_told():
    """A path that is named like an id, with values like ids, none of which is one here."""
    tasks = rows(30, 100, tenantId=lambda n: s(u(900 + n)), stateId=s("open"))
    drafted = draft_of(Source({"Tasks-dev": tasks}))
    assert drafted.entries["Tasks"].like_ids == {"tenantId": 30}
    assert "    # tenantId: 30 values look like ids" in drafted.text


# ids


def test_a_key_is_the_id_where_its_values_are_ids():
    """Else it is copied, and nothing refers to it."""
    source = Source(
        {
            "Numbers-dev": [{"no": {"N": str(n)}} for n in range(20)],
            "Bytes-dev": [{"id": {"B": "YWJj"}}],
            "Mails-dev": [{"email": s(f"ann{n}@example.com")} for n in range(20)],
            "Composed-dev": [{"pk": s(f"USER#{u(n)}")} for n in range(20)],
            "Both-dev": [{"email": s(f"bo{n}@example.com"), "bothId": s(u(n))} for n in range(20)],
        },
        {
            "Numbers-dev": {"no": "N"}, "Bytes-dev": {"id": "B"}, "Mails-dev": {"email": "S"},
            "Composed-dev": {"pk": "S"}, "Both-dev": {"email": "S"},
        },
    )  # fmt: skip
    found = {name: (e.model.id, e.model.id_format) for name, e in draft_of(source).mapping.entries.items()}
    assert draft_of(source).mapping.entries["Composed"].model.id_rule.form == "USER#{id}"
    assert found == {
        "Numbers": ("no", "number"),
        "Bytes": ("id", "uuid"),
        "Mails": (None, "uuid"),
        "Composed": ("pk", "uuid"),
        "Both": ("bothId", "uuid"),
    }


def test_a_composite_key_has_the_id_that_is_unique():
    """The entry's own one before others; none where nothing is unique."""
    key = {"customerId": "S", "orderId": "S"}
    orders = [{"customerId": s(u(n % 10)), "orderId": s(u(100 + n))} for n in range(40)]
    members = [{"groupId": s(u(n % 5)), "userId": s(u(n % 8))} for n in range(40)]
    source = Source(
        {"Customers-dev": rows(10), "Orders-dev": orders, "Members-dev": members},
        {"Orders-dev": key, "Members-dev": {"groupId": "S", "userId": "S"}},
    )
    drafted = draft_of(source)
    assert {n: e.model.id for n, e in drafted.mapping.entries.items()} == {
        "Customers": "id", "Orders": "orderId", "Members": None,
    }  # fmt: skip
    assert rules(drafted)["Orders", "customerId"] == "Customers"


def test_an_attribute_is_the_id_where_only_references_say_so():
    """Products are keyed by place and known by a code, which orders hold."""
    products = [{"shelf": s(f"row {n % 3}"), "at": {"N": str(n)}, "code": s(f"PRD-{n:04}")} for n in range(30)]
    key = {"Products-dev": {"shelf": "S", "at": "N"}}
    orders = rows(20, item=lambda n: s(f"PRD-{n:04}"))
    drafted = draft_of(Source({"Products-dev": products, "Orders-dev": orders}, key))
    assert drafted.mapping.entries["Products"].model.id == "code"
    assert rules(drafted) == {("Orders", "item"): "Products"}
    alone = draft_of(Source({"Products-dev": products}, key))
    assert alone.mapping.entries["Products"].model.id is None


def test_an_id_inside_the_key_is_rewritten_there():
    """The key is a text with the id in it: a template."""
    items = [{"PK": s(f"USER#{u(n)}"), "SK": s("PROFILE"), "id": s(u(n))} for n in range(20)]
    drafted = draft_of(Source({"Users-dev": items}, {"Users-dev": {"PK": "S", "SK": "S"}}))
    assert rules(drafted) == {("Users", "PK"): "USER#{Users}"}


def test_a_key_that_is_another_entrys_id_is_a_reference():
    """Settings keyed by `userId` follow their user; by an id of their own they would part."""
    settings = [{"userId": s(u(n)), "theme": s("dark")} for n in range(15)]
    logs = rows(20, 500, userId=lambda n: s(u(n % 15)))
    source = Source(
        {"Users-dev": rows(20), "Settings-dev": settings, "Logs-dev": logs}, {"Settings-dev": {"userId": "S"}}
    )
    drafted = draft_of(source)
    assert drafted.mapping.entries["Settings"].model.id is None
    assert rules(drafted) == {("Settings", "userId"): "Users", ("Logs", "userId"): "Users"}
    assert worst(draft_alerts(drafted)) == PASS


# kinds of items in one table


def single(counts: dict[str, int], by: str = "entity_type", **more) -> list[dict]:
    """Items of a single table; each kind has an attribute of its own."""
    items = []
    for kind, count in counts.items():
        for n in range(count):
            one = {"PK": s(f"{kind}#{n}"), "SK": s("META"), "id": s(u(f"{kind}{n}")), f"own{kind}": s("x"), **more}
            items.append(one | ({by: s(kind)} if kind else {}))
    return items


KEY = {"app-dev": {"PK": "S", "SK": "S"}}


def kinds(items: list[dict], key=KEY, page: int = 1_000) -> dict[str, dict]:
    """Entry → where, of a draft of one table."""
    drafted = draft_of(Source({"app-dev": items}, key, page=page))
    return {name: entry.model.where for name, entry in drafted.mapping.entries.items()}


@pytest.mark.parametrize("by", ["entity_type", "__typename", "_et", "type", "kind", "anyName"])
def test_a_table_with_several_kinds_has_an_entry_for_each(by):
    """By an attribute with a known name, or one that the data show: the kinds hold different attributes."""
    assert kinds(single({"USER": 30, "ORDER": 40}, by)) == {"ORDER": {by: "ORDER"}, "USER": {by: "USER"}}


def test_a_kind_that_comes_after_the_sample_is_found():
    """Items lie in order of their keys: the first pages may hold one kind alone."""
    assert set(kinds(single({"USER": 400, "ORDER": 300, "ITEM": 9}), page=100)) == {"USER", "ORDER", "ITEM"}


def test_entries_of_one_table_share_source_and_target_and_refer_to_each_other():
    """References between the kinds are found as between tables."""
    items = single({"USER": 20, "ORDER": 40})
    for n, item in enumerate(items[20:]):
        item["owner"] = s(u(f"USER{n % 20}"))
    drafted = draft_of(Source({"app-dev": items, "x-dev": rows(3)}, KEY))
    assert {(e.source, e.target) for e in drafted.mapping.entries.values() if e.name != "x"} == {
        ("app-dev", "app-prod")
    }
    assert rules(drafted) == {("ORDER", "owner"): "USER"}


def test_kinds_that_references_do_not_tell_apart_stay_one_entry():
    """A payment by card or by bank has one id: divided, an order's `paymentId` would name neither."""
    payments = [
        {"id": s(u(n)), "type": s(("CARD", "BANK")[n % 2]), ("cardNo", "iban")[n % 2]: s("x")} for n in range(40)
    ]
    orders = rows(40, 500, paymentId=lambda n: s(u(n)))
    drafted = draft_of(Source({"Payments-dev": payments, "Orders-dev": orders}))
    assert {name: entry.model.where for name, entry in drafted.mapping.entries.items()} == {
        "Orders": {},
        "Payments": {},
    }
    assert rules(drafted) == {("Orders", "paymentId"): "Payments"}
    alone = draft_of(Source({"Payments-dev": payments}))
    assert sorted(alone.entries) == ["BANK", "CARD"]


def test_a_single_table_in_the_usual_way_is_drafted_whole():
    """Ids in attributes, and again inside keys and index keys, of the item and of its parent."""
    users = [
        {"PK": s(f"USER#{u(n)}"), "SK": s(f"PROFILE#{u(n)}"), "type": s("User"), "userId": s(u(n)), "email": s("a@b")}
        for n in range(20)
    ]
    orders = [
        {"PK": s(f"USER#{u(n % 20)}"), "SK": s(f"ORDER#{u(100 + n)}"), "type": s("Order"), "orderId": s(u(100 + n)),
         "userId": s(u(n % 20)), "total": {"N": str(n)}, "GSI1PK": s(f"ORDER#{u(100 + n)}")}
        for n in range(50)
    ]  # fmt: skip
    lines = [
        {"PK": s(f"ORDER#{u(100 + n % 50)}"), "SK": s(f"LINE#{n}"), "type": s("Line"), "quantity": {"N": "1"}}
        for n in range(100)
    ]
    drafted = draft_of(Source({"app-dev": [*users, *orders, *lines]}, KEY))
    assert {name: entry.model.id for name, entry in drafted.mapping.entries.items()} == {
        "User": "userId", "Order": "orderId", "Line": None,
    }  # fmt: skip
    assert rules(drafted) == {
        ("User", "PK"): "USER#{User}",
        ("User", "SK"): "PROFILE#{User}",
        ("Order", "PK"): "USER#{User}",
        ("Order", "SK"): "ORDER#{Order}",
        ("Order", "userId"): "User",
        ("Order", "GSI1PK"): "ORDER#{Order}",
        ("Line", "PK"): "ORDER#{Order}",
    }
    assert worst(draft_alerts(drafted)) == PASS


@pytest.mark.parametrize(
    ("items", "key"),
    [
        (single({"USER": 60}, "__typename"), KEY),  # one kind
        ([{**one, "state": s(("open", "shipped")[n % 2]), **({"trackingNo": s("1")} if n % 2 else {})}
          for n, one in enumerate(single({"": 60}))], KEY),  # a state: shipped ones hold more, open ones nothing else
        (
            [
                {**one, "state": s(("open", "paid", "void")[n % 3]), ("own", "paidAt", "voidedAt")[n % 3]: s(f"{n}")}
                for n, one in enumerate(single({"": 60}))
            ],
            KEY,
        ),  # states that end in two ways
        (rows(60, type=lambda n: s(("EMAIL", "SMS")[n % 2])), {}),  # same attributes
        (single({f"K{n}": 3 for n in range(60)}), KEY),  # too many
    ],
)  # fmt: skip
def test_other_attributes_divide_no_table(items, key):
    """The table is one entry, whose counts and references are those of all items."""
    drafted = draft_of(Source({"app-dev": items}, key))
    assert {name: entry.model.where for name, entry in drafted.mapping.entries.items()} == {"app": {}}
    assert drafted.entries["app"].items == len(items)
    assert drafted.unrouted == []


def test_too_few_items_of_a_kind_are_unrouted():
    """One or two among hundreds are no kind, nor is an item without one: counted, and said in the file."""
    drafted = draft_of(Source({"app-dev": single({"USER": 400, "ORDER": 300, "Odd": 2, "": 1})}, KEY))
    assert set(drafted.entries) == {"USER", "ORDER"}
    assert [(one.table, one.items) for one in drafted.unrouted] == [("app-dev", 3)]
    assert "3 items are of none of these: unrouted" in drafted.text


def test_kinds_of_several_tables_have_names_of_their_own():
    """A kind that is called like a table, or like a kind of another table."""
    tables = {
        "app-dev": single({"Users": 20, "b c/d": 20}),
        "two-dev": single({"Users": 20, "b c/d": 20}),
        "Users-dev": [],
    }
    drafted = draft_of(Source(tables, {**KEY, "two-dev": KEY["app-dev"]}))
    assert sorted(drafted.entries) == ["Users", "Users-2", "Users-3", "b-c-d", "b-c-d-2"]


# the file


HOSTILE = ["no", "on", "null", "1e3", "2025-01-01", "a: b", "a #b", "it's", 'say "hi"', "back\\slash", "größe ✓", "🏠",
           "line\nbreak", "nul\u0000", "nel\u0085", "ls\u2028", "~", "-", "*a", "&a", "!t", "%x", "@x", "`x", "{x}", "[x]",
           " x ", "", "${HOME}", "${NOT_SET_ANYWHERE}", "yes", "y", "=", "<<"]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_text_is_written_so_that_it_is_read_as_it_was(text):
    """As a key and as a value, whatever YAML makes of it unquoted."""
    assert "\n" not in scalar(text)
    assert parse_value(f"{{{scalar(text)}: {scalar(text)}}}" if text else f"{{a: {scalar(text)}}}") in (
        {text: text},
        {"a": text},
    )


def test_hostile_names_make_a_file_that_loads(tmp_path, monkeypatch):
    """Attributes and kinds with every character that a mapping can name; what it cannot name is said in a comment."""
    monkeypatch.setenv("HOME", "elsewhere")
    names = [name for name in HOSTILE if name]
    items = [
        {"PK": s(f"{n}"), "SK": s("M"), "id": s(u(n)), "_et": s(kind), f"own {kind}": s("x"),
         **{name: s(u(n - 1)) for name in names if n}}
        for n, kind in enumerate(kind for kind in names for _ in range(4))
    ]  # fmt: skip
    path = tmp_path / "hostile.yaml"
    drafted = draft_of(Source({"app-dev": items}, KEY), parameters=parameters_of(str(path)))
    write_mapping(path, drafted.text, force=False)
    loaded = load_mapping(parameters_of(str(path)))
    asked = [test.values for entry in loaded.entries.values() for one in entry.conditions for test in one.tests]
    assert sorted(value["S"] for (value,) in asked) == sorted(names)
    assert len(loaded.entries) == len(names)
    assert all("\n" not in name for name in loaded.entries)
    declared = {path for entry in loaded.entries.values() for path in entry.model.references}
    said = {rule.path for _, rule in drafted.rules(ambiguous=True)}
    assert {"no", "on", "it's", 'say "hi"', "a #b", "größe ✓"} <= declared | said


def test_tables_without_items_are_drafted_by_their_keys():
    """An id is what the key says; nothing else is known."""
    drafted = draft_of(Source({"A-dev": [], "B-dev": []}, {"B-dev": {"PK": "S", "SK": "S"}}))
    assert {name: e.model.id for name, e in drafted.mapping.entries.items()} == {"A": "id", "B": None}
    assert (drafted.items, worst(draft_alerts(drafted))) == (0, PASS)


def test_whose_ids_stay_is_said_at_the_beginning():
    """Of all entries, or of some. Not where the key is a reference."""
    why = "no attribute and no part of a key was found"
    stays = [{"PK": s(f"name {n}"), "SK": s("x")} for n in range(40)]
    keys = {name: {"PK": "S", "SK": "S"} for name in ("U0-dev", "U1-dev")}
    drafted = draft_of(Source({"U0-dev": stays}, keys))
    assert drafted.kept == f"No ids are renewed: {why} that is the id of every item."
    assert f"\n# {drafted.kept}\n" in drafted.text
    tables = {"U0-dev": stays, "U1-dev": stays, "Visits-dev": rows(40), "Empty-dev": []}
    drafted = draft_of(Source(tables, {**keys, "Empty-dev": {"PK": "S"}}))
    assert drafted.kept == f"No ids are renewed in U0 and U1: {why} there that is the id of every item."
    settings = [{"userId": s(u(n)), "theme": s("dark")} for n in range(40)]
    drafted = draft_of(Source({"Users-dev": rows(40), "Settings-dev": settings}, {"Settings-dev": {"userId": "S"}}))
    assert drafted.mapping.entries["Settings"].model.id is None
    assert (drafted.kept, "renewed" in drafted.text) == ("", False)


def test_the_structure_is_the_sources_and_said():
    """`create: like_source` for each entry, with what that is."""
    index = {
        "IndexName": "byOwner",
        "KeySchema": [{"AttributeName": "owner", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "KEYS_ONLY"},
    }
    drafted = draft_of(Source({"A-dev": rows(3), "B-dev": []}, indexes={"A-dev": [index]}))
    assert {entry.model.create for entry in drafted.mapping.entries.values()} == {"like_source"}
    assert "global index byOwner on owner (S) (KEYS_ONLY)" in drafted.text


def test_at_most_so_many_items_of_each_table_are_read():
    """The sample and the walk; what is then missing is not taken for dangling."""
    orders = rows(500, 1_000, userId=lambda n: s(u(n)))
    source = Source({"Users-dev": rows(500), "Orders-dev": orders}, page=100)
    drafted = draft_of(source, most=120)
    assert source.served == {"Users-dev": 100 + 120, "Orders-dev": 100 + 120}
    assert {name: entry.items for name, entry in drafted.entries.items()} == {"Users": 120, "Orders": 120}
    assert "at most 120 of each read" in drafted.text
    assert rules(draft_of(source, most=300)) == {("Orders", "userId"): "Users"}


def test_limits_of_entries_that_are_not_known_yet_do_not_stop_the_draft():
    """`limits.tables` may name the entries that the draft makes of kinds."""
    limits = {"tables": {"USER": {"read_units": 5}, "app": {"read_units": 1_000_000}, "*": {"read_units": 1_000_000}}}
    source, limiter = Source({"app-dev": []}), RateLimiter()
    sources_at(source, limiter, parameters_of(limits=limits), "")
    assert limiter.limited


def test_two_processes_that_replace_a_file_keep_both_of_what_they_found(tmp_path, monkeypatch):
    """In one second, and neither sees what the other is about to keep."""
    monkeypatch.setattr(Path, "exists", lambda path, exists=Path.exists: path.name == "shop.yaml" and exists(path))
    path = tmp_path / "shop.yaml"
    path.write_text("by hand\n")
    for text in ("of the first\n", "of the second\n"):
        write_mapping(path, text, force=True)
    assert sorted(file.read_text() for file in tmp_path.iterdir()) == ["by hand\n", "of the first\n", "of the second\n"]


def test_a_file_is_replaced_only_by_force_and_kept(tmp_path):
    """Each older one, under a name of its own."""
    path = tmp_path / "mappings" / "shop.yaml"
    assert write_mapping(path, "first\n", force=False) is None
    with pytest.raises(Refused, match="shop.yaml exists: .*--force"):
        check_free(path, force=False)
    with pytest.raises(Refused, match="shop.yaml exists"):
        write_mapping(path, "second\n", force=False)
    kept = [write_mapping(path, text, force=True) for text in ("second\n", "third\n")]
    long = tmp_path / f"{'x' * 250}.yaml"
    long.touch()
    assert len(write_mapping(long, "new\n", force=True).name) == 255
    for place, why in (
        (Path("/dev/null"), "is not a regular file"),
        (tmp_path / ("x" * 300), "cannot be written: File"),
    ):
        with pytest.raises(Refused, match=why):
            check_free(place, force=True)
    assert [path.read_text(), *(one.read_text() for one in kept)] == ["third\n", "first\n", "second\n"]


def test_a_value_that_looks_like_a_variable_stays():
    """`${HOME}` in the data is not the home folder."""
    from runbook_lib.yaml_files import expand

    for text in ("${HOME}", "${X:-y}", "$", "a ${B} c"):
        assert expand(parse_value(literal(text)), []) == text


def test_the_draft_does_not_depend_on_segments():
    """Several threads look at one table."""
    made = database(3, "uuid")
    source = Source({f"{name}-dev": items for name, items in made.items.items()}, page=20)
    one, four = (
        draft_of(source, parameters=parameters_of(limits={"segments": segments})).text.split("\n", 1)[1]
        for segments in (1, 4)
    )
    assert one == four
