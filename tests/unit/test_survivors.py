"""Ids of the source that still stand in the target: found at any depth, and nothing that only looks like one."""

import json

import pytest
from compiled import mapping_of
from support_schemas import UUIDS, text

from runbook_lib.discover import survivors
from runbook_lib.discover.left_out import LeftOut, Mixed
from runbook_lib.discover.renewed import Renewed, hashed
from runbook_lib.discover.survivors import Survivor, Survivors

ENVIRONMENT = "fvn7t5hbobaxjklhrqzdl4ac34"


def looking(
    ids: dict[str, list[str]],
    left_out: dict[str, LeftOut] | None = None,
    environment: str | None = None,
    tables: str = '{"T": {"source": "t-old", "target": "T"}}',
):
    """A search through the items of entries for ids of entries."""
    renewed = Renewed()
    for entry, some in ids.items():
        renewed.add(entry, *hashed(some))
    entries = mapping_of(f'{{"tables": {tables}}}').entries
    return Survivors(renewed, entries, left_out or {}, environment)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (text(UUIDS[0]), "a"),
        ({"M": {"b": {"L": [text("x"), text(UUIDS[0])]}}}, "a.b[]"),
        ({"SS": [UUIDS[0], "x"]}, "a[]"),
        ({"M": {UUIDS[0]: text("x")}}, "a{keys}"),
        (text(json.dumps({"deep": [{"id": UUIDS[0]}]})), "a:json.deep[].id"),
        (text(json.dumps({"text": json.dumps([UUIDS[0]])})), "a:json.text:json[]"),
        (text(f"USER#{UUIDS[0]}#END"), "a"),
        (text(f"see {UUIDS[0]}, please"), "a"),
        (text(f"files/{UUIDS[0]}.pdf"), "a"),
        (text(f"user_{UUIDS[0]}"), "a"),
        (text(f"{UUIDS[5]}-{UUIDS[0]}"), "a"),
    ],
)
def test_an_id_is_found_wherever_it_stands(value, path):
    found = looking({"Users": UUIDS[:3]}).look("T", [{"id": text("x")}, {"id": text("y"), "a": value}])
    assert found == [Survivor(1, path, "Users")]


@pytest.mark.parametrize(
    ("id_", "value"),
    [
        ("CUS#00001", "CUS#00001"),
        ("CUS#00001", "ORDER#CUS#00001#2024-01"),
        ("CUS#00001", "2024-01#CUS#00001"),
        ("CUS#00001", "moved by CUS#00001 today"),
        ("CUS#00001", "CUS#00001-small"),
        ("eu/cus/7", "a/eu/cus/7"),
        ("eu/cus/7", "n=eu/cus/7|x"),
        ("CUS-117", "INV-2024-CUS-117"),
        ("ORD-2024-EU-7", "copy of-ORD-2024-EU-7"),
        ("cus_117", "report_cus_117.pdf"),
        ("65a1b2c3d4e5f60718293a4b", "thumb-65a1b2c3d4e5f60718293a4b-small.png"),
        ("01HABCDEFGHJKMNPQRSTVWX0Y1", "thumb-01HABCDEFGHJKMNPQRSTVWX0Y1"),
        (UUIDS[0], f"https://f.example.org/users%2F{UUIDS[0]}%2Fpic"),
        (UUIDS[0], f"next=%3Fuser%3D{UUIDS[0]}"),
        ("CUS-100", "von „CUS-100“"),
        ("CUS-100", "de «CUS-100»"),
        ("CUS-100", "Kunde\xa0CUS-100–weg"),
        ("CUS-100", "客户:CUS-100。"),
        ("CUS-100", "T\x1fCUS-100"),
        (UUIDS[0], f"TENANT\0{UUIDS[0]}"),
        ("WRD-7", "so many words " * 20 + "WRD-7 and more"),
        ("cus_117", "so many words " * 20 + "report_cus_117.pdf"),
    ],
)
def test_an_id_is_found_within_text_whatever_stands_beside_it(id_, value):
    found = looking({"Customers": [id_]}).look("T", [{"a": text(value)}])
    assert found == [Survivor(0, "a", "Customers")]
    assert looking({"Customers": [f"{id_}0", f"X{id_}", id_[:-1]]}).look("T", [{"a": text(value)}]) == []


def test_nothing_else_is_found():
    """New ids, ids of nobody, dates, addresses, numbers."""
    items = [
        {
            "id": text(UUIDS[9]),
            "email": text("ann.lee84@example.com"),
            "at": text("2024-01-31T08:00:00Z"),
            "n": {"N": "7"},
            "upper": text(UUIDS[0].upper()),
            "longer": text(f"{UUIDS[0]}0"),
            "json": text(json.dumps({"id": UUIDS[8], "n": 7})),
            "bytes": {"B": "AAAA"},
        }
    ]
    search = looking({"Users": [*UUIDS[:3], "ann.lee84@example.com", "2024-01-31T08:00:00Z"]})
    assert search.look("T", items) == []


def test_every_one_of_many_is_found_and_counted():
    """Also several in one item."""
    items = [{"id": text(f"x{n}"), "refs": {"L": [text(UUIDS[n]), text(UUIDS[n + 1])]}} for n in range(200)]
    found = looking({"Users": UUIDS[:150], "Orgs": UUIDS[150:250]}).look("T", items)
    assert len(found) == 400
    assert found[0] == Survivor(0, "refs[]", "Users")
    assert found[-1] == Survivor(199, "refs[]", "Orgs")


def test_bare_ids_are_survivors_where_the_path_says_so_and_coincidences_elsewhere():
    """The names, and the whole of the page, decide; the second look finds the items."""
    items = [
        {
            "id": text(f"x{n}"),
            "customerId": {"N": str(1 + n * 37 % 100)},
            "quantity": {"N": str(1 + n % 4)},
            "text": text(f"{1 + n % 3} pieces"),
        }
        for n in range(80)
    ]
    search = looking({"Customers": [str(n) for n in range(1, 101)]})
    assert [one for page in (items[:40], items[40:]) for one in search.look("T", page)] == []
    tables, coincidences = search.bare()
    assert tables == {"T"}
    assert coincidences == {("T", "quantity"): 80, ("T", "text"): 80}
    found = [one for page in (items[:40], items[40:]) for one in search.look_again("T", page)]
    assert {(one.path, one.to) for one in found} == {("customerId", "Customers")}
    assert len(found) == 80


def test_bare_ids_are_survivors_among_ids_that_can_be_recognised():
    """Where nearly all values are ids, the few that look like nothing are, too; not where texts say other things as well."""
    ids = [*UUIDS[:18], "legacy", "7"]
    items = [
        {
            "id": text(f"x{n}"),
            "owner": text(one),
            "about": text(one if n % 2 else UUIDS[100 + n]),
            "remark": text(one if n % 2 else "paid"),
            "note": text(f"see {one}"),
            "empty": text(one if n % 2 else ""),
        }
        for n, one in enumerate(ids)
    ]
    search = looking({"Users": ids, "Orgs": [*UUIDS[100:130], "other"]})
    assert {one.path for one in search.look("T", items)} == {"owner", "about", "remark", "note", "empty"}
    assert search.bare() == ({"T"}, {("T", "remark"): 1, ("T", "note"): 2})
    again = sorted((one.index, one.path, one.to) for one in search.look_again("T", items))
    assert again == [(18, "owner", "Users"), *((19, path, "Users") for path in ("about", "empty", "owner"))]


def test_bare_ids_at_one_place_of_texts_are_survivors_however_short():
    """What separates them may be a hyphen. Two are enough where the text says whose they are, as in their own attribute."""
    items = [
        {
            "PK": text(f"C#c{n % 2}"),
            "SK": text(f"LINE#{n % 3}#p{n % 8}"),
            "ref": text(f"line-{n % 3}-p{n % 8}"),
            "tag": text("p1"),
        }
        for n in range(80)
    ]
    tables = """{"T": {"source": "t-old", "target": "T"},
        "Customers": {"source": "c-old", "target": "C", "id": {"in": "PK", "as": "C#{id}"}}}"""
    search = looking({"Products": [f"p{n}" for n in range(8)], "Customers": ["c0", "c1"]}, tables=tables)
    assert search.look("T", items) == []
    assert search.bare() == ({"T"}, {("T", "tag"): 80})
    found = search.look_again("T", items)
    assert sorted(found) == sorted(
        Survivor(n, path, to)
        for n in range(80)
        for path, to in (("PK", "Customers"), ("SK", "Products"), ("ref", "Products"))
    )


def test_bare_texts_are_told_apart_from_numbers():
    """The id "07" is not the number 7."""
    items = [{"id": text(f"x{n}"), "customerId": {"N": str(n)}} for n in range(10)]
    search = looking({"Customers": [f"0{n}" for n in range(10)]})
    search.look("T", items)
    assert search.bare() == (set(), {})


def test_left_out_paths_are_not_looked_at():
    items = [{"id": text("x"), "seen": text(UUIDS[0]), "list": {"L": [text(UUIDS[0])]}}]
    search = looking({"Users": UUIDS[:3]}, {"T": LeftOut(paths=frozenset({"seen", "list[]"}))})
    assert search.look("T", items) == []


def test_what_one_entry_leaves_out_another_does_not():
    """Two entries of one target; also where the ids look like nothing."""
    ids = [str(n) for n in range(1000, 1060)]
    items = [{"id": text(f"x{n}"), "userId": text(one), "note": text(UUIDS[0])} for n, one in enumerate(ids)]
    tables = '{"A": {"source": "a-old", "target": "T"}, "B": {"source": "b-old", "target": "T"}}'
    left = {"A": LeftOut(paths=frozenset({"userId", "note"}))}
    search = looking({"Users": [*ids, UUIDS[0]]}, left, tables=tables)
    assert search.look("A", items) == []
    assert search.look("B", items) == [Survivor(n, "note", "Users") for n in range(60)]
    assert search.bare() == ({"B"}, {})
    assert search.look_again("A", items) == []
    assert search.look_again("B", items) == [Survivor(n, "userId", "Users") for n in range(60)]


def test_what_a_template_made_is_left_out_as_far_as_it_stays():
    """Whole, with what stands inside; or the values of some of its holes."""
    mixed = {"label": Mixed(("", "#", ""), (False, True))}
    search = looking({"Users": [*UUIDS[:3], "7"]}, {"T": LeftOut(made=frozenset({"js"}), mixed=mixed)})
    items = [
        {"id": text(f"x{n}"), "js": text(json.dumps({"a": UUIDS[0]})), "label": text(label)}
        for n, label in enumerate([f"K#{UUIDS[0]}", f"{UUIDS[1]}#{UUIDS[2]}", f"{UUIDS[1]}#7"])
    ]
    assert search.look("T", items) == [Survivor(1, "label", "Users"), Survivor(2, "label", "Users")]


def test_a_path_spells_no_id():
    """Where ids are the keys of maps, all their values have one path, under which they are left out, too."""
    ids = [*UUIDS[:40], *map(str, range(100, 140))]
    items = [
        {
            "id": text(f"x{n}"),
            "by": {"M": {one: {"M": {"who": text(one), "no": {"N": str(100 + n)}}}}},
            "at": {"M": {f"USER#{one}": text(one), "other": text(one)}},
        }
        for n, one in enumerate(UUIDS[:40])
    ]
    search = looking({"Users": ids})
    paths = ["at.other", "at{keys}", "at{}", "by{keys}", "by{}.who"]
    assert [*map(tuple, sorted(search.look("T", items)))] == [(n, path, "Users") for n in range(40) for path in paths]
    tables, coincidences = search.bare()
    assert not tables or not coincidences
    assert {one.path for one in search.look_again("T", items)} | {path for _, path in coincidences} == {"by{}.no"}
    left = {"T": LeftOut(paths=frozenset({"by{}.who", f"at.USER#{UUIDS[0]}", "at{keys}"}))}
    assert {one.path for one in looking({"Users": ids}, left).look("T", items[:1])} == {"at.other", "by{keys}"}


def test_the_name_of_an_attribute_may_be_an_id():
    """At the top of an item, whole or as a part."""
    items = [
        {"id": text("x"), UUIDS[0]: {"M": {"who": text(UUIDS[1])}}},
        {"id": text("y"), f"USER#{UUIDS[2]}": text("x")},
        {"id": text("z"), UUIDS[3]: text("x")},
    ]
    found = looking({"Users": UUIDS[:3]}).look("T", items)
    assert [*map(tuple, found)] == [(0, "{}.who", "Users"), (0, "{keys}", "Users"), (1, "{keys}", "Users")]


def test_the_name_of_the_environment_counts_once_and_as_data():
    """JSON text counts where it stands in it, and an escape ends a word; names of attributes are no data."""
    items = [
        {
            "id": text("x"),
            "js": text(json.dumps({"bucket": f"media-{ENVIRONMENT}"})),
            "url": text(f"https%3A%2F%2F{ENVIRONMENT}%2Fa"),
            "word": text(f"2F{ENVIRONMENT}"),
            "by": {"M": {ENVIRONMENT: text("x")}},
            "more": {"M": {f"{ENVIRONMENT}_id": text("x"), "b": text(ENVIRONMENT)}},
            f"{ENVIRONMENT}_no": text("x"),
        }
    ]
    rest = '{"T": {"source": "t-old", "target": "T", "fields": {"id": {"from": "id"}}, "rest": "more"}}'
    found = looking({}, environment=ENVIRONMENT, tables=rest).look("T", items)
    assert sorted(one.path for one in found) == ["by{keys}", "js:json.bucket", "more.b", "url"]
    found = looking({}, environment=ENVIRONMENT).look("T", items)
    assert sorted(one.path for one in found) == ["by{keys}", "js:json.bucket", "more.b", "more{keys}", "url"]


def test_an_id_that_holds_the_environments_name_is_an_id_all_the_same():
    found = looking({"Users": [f"{ENVIRONMENT}-7"]}, environment=ENVIRONMENT).look(
        "T", [{"a": text(f"{ENVIRONMENT}-7")}]
    )
    assert found == [Survivor(0, "a", "Users"), Survivor(0, "a", None)]


def test_the_name_of_the_environment_is_found_as_a_whole_part():
    """Not inside a longer word, nor in other case."""
    texts = [f"arn:aws:s3:::files-{ENVIRONMENT}/x", ENVIRONMENT, f"x{ENVIRONMENT}", ENVIRONMENT.upper(), "other"]
    items = [{"id": text(f"x{n}"), "a": {"M": {"b": text(one)}}} for n, one in enumerate(texts)]
    found = looking({}, environment=ENVIRONMENT).look("T", items)
    assert found == [Survivor(0, "a.b", None), Survivor(1, "a.b", None)]


def test_the_table_of_bits_lets_no_id_through(monkeypatch):
    """However small it is for the ids: it may only say too often that a text could be one."""
    monkeypatch.setattr(survivors, "LEAST_BITS", 3)
    monkeypatch.setattr(survivors, "BITS_PER_ID", 0)
    items = [{"id": text(one)} for one in UUIDS[:300]]
    found = looking({"Users": UUIDS[:150]}).look("T", items)
    assert [one.index for one in found] == [*range(150)]


def test_hashes_do_not_depend_on_the_process():
    """They are kept in a journal, and an interrupted validation goes on in another one."""
    assert [part.hex() for part in hashed([UUIDS[0], "7", "ab"])] == [
        "4bb86426129ed8d9a5eca946",
        "07000000000000006d48839e00000080",
    ]
