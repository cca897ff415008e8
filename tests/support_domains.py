"""Three small databases for the corpus of planted mistakes, each with its right mapping: nothing in them is amiss.

Two more, `whole-copy` and `whole-split`, are all of the demo's data, in which much is amiss.

`library` is invented: members with uuids, books with prefixed ids, branches with bare numbers, desk notes that are split by
kind. `copy` and `split` are parts of the demo's data with the mappings that the program comes with. Each gives tables as a
table file describes them, and the content of a mapping file in which `@source` and `@target` end the tables' names.
"""

import functools
import json
import random
import re
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml

from runbook_lib.demo.crm import COUNTS
from runbook_lib.demo.data import SEED, env_copy_source, env_copy_target, table_split_source
from runbook_lib.demo.env import FIRST_PLAIN
from runbook_lib.values import from_python

MAPPINGS = Path(__file__).parents[1] / "parameters/mappings"
Made = tuple[dict[str, Any], dict[str, Any]]  # tables, mapping

ITEMS = 12  # of a table of the library
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@functools.cache
def library() -> Made:
    """Every form of reference, and attributes that look like references and are none."""
    chance = random.Random("library")
    members = [_uuid(chance) for _ in range(ITEMS)]
    books = [f"BOK-{100 + 7 * n}" for n in range(ITEMS)]
    branches = [str(chance.randint(10_000, 99_999)) for _ in range(ITEMS)]
    loans = [_uuid(chance) for _ in range(ITEMS)]

    def some(ids: list[str], number: int) -> list[str]:
        return sorted(chance.sample(ids, number))

    tables = {
        "Members": [],
        "Books": [],
        "Branches": [],
        "Loans": [],
        "Events": [],
        "Desk": [],
        "Shelf": [],
        "Oddments": [],
    }
    for n in range(ITEMS):
        tables["Members"].append(
            {
                "id": members[n],
                "name": f"Member {n}",
                "invitedBy": members[n - 1] if n % 3 else None,
                "favourites": set(some(books, 2)),
                "homeBranch": int(branches[n * 5 % ITEMS]),
                "email": f"member.{n}@example.org",
            }
        )
        tables["Books"].append(
            {"id": books[n], "title": f"Volume {n}", "pages": 100 + 13 * n, "branchId": int(branches[n])}
        )
        tables["Branches"].append(
            {"id": int(branches[n]), "town": chance.choice(["Ely", "Hay", "Wem"]), "head": {"memberId": members[n]}}
        )
        loan = {
            "id": loans[n],
            "memberId": members[n * 7 % ITEMS],
            "lines": [{"bookId": one, "days": 7 + n % 14} for one in some(books, 2)],
            "witnesses": some(members, 2),
            "branchNo": branches[n * 3 % ITEMS],
            "slip": json.dumps({"by": members[n * 5 % ITEMS], "at": "2025-03-01"}),
            "reserved": json.dumps(some(books, 2)),
            "label": f"loan of {books[n]} (main)",
        }
        tables["Loans"].append(loan | {"copyOf": json.dumps({"id": loan["id"], "memberId": loan["memberId"]})})
        kind, record = [("Books", {"id": books[n], "title": "old"}), ("Members", {"id": members[n], "name": "old"})][
            n % 2
        ]
        tables["Events"].append(
            {"id": _uuid(chance), "kind": kind, "about": record["id"], "before": json.dumps(record)}
        )
        tables["Desk"].append(
            {
                "id": f"desk-{n}",
                "kind": "FINE" if n % 2 else "LOSS",
                "member": members[n],
                "day": f"2025-0{1 + n % 9}-11",
                "amount": f"{n}.50",
                "paid": n % 4 == 1,
                "tags": "late, warned",
                "remark": "first reminder",
            }
        )
        readers = dict.fromkeys(some(members, 2), 1)
        tables["Shelf"].append({"id": _uuid(chance), "readers": readers, "signs": ", ".join(some(books, 2 + n % 3))})
        tables["Oddments"].append({"id": _uuid(chance), **_oddments(n, chance, members, books)})
    return {
        name: {"key": {"id": "N" if name == "Branches" else "S"}, "items": _typed(of)} for name, of in tables.items()
    }, {
        "defaults": {"source": "{table}@source", "target": "{table}@target", "create": {"key": {"id": "S"}}},
        "tables": {
            "Members": {
                "references": {"invitedBy": "Members", "favourites[]": "Books", "homeBranch": "Branches"},
            },
            "Books": {"references": {"branchId": "Branches"}},
            "Branches": {
                "id_format": "number",
                "create": {"key": {"id": "N"}},
                "references": {"head.memberId": "Members"},
            },
            "Loans": {
                "references": {
                    "memberId": "Members",
                    "lines[].bookId": "Books",
                    "witnesses[]": "Members",
                    "branchNo": "Branches",
                    "slip:json.by": "Members",
                    "reserved:json[]": "Books",
                    "label": "loan of {Books} (main)",
                    "copyOf:json": {"record_of": "Loans"},
                }
            },
            "Events": {
                "references": {
                    "about": {"table_named_by": "kind"},
                    "before:json": {"record_of": {"table_named_by": "kind"}},
                }
            },
            "Fines": _of_desk("FINE"),
            "Losses": _of_desk("LOSS"),
            "Oddments": {},
        },
    }


def _of_desk(kind: str) -> dict[str, Any]:
    return {
        "source": "Desk@source",
        "where": {"kind": kind},
        "references": {"member": "Members"},
        "create": {"key": {"PK": "S", "SK": "S"}, "indexes": {"byDay": {"day": "S"}}},
        "fields": {
            "PK": kind,
            "SK": "{day}#{id}",
            "id": {"from": "id"},
            "member": {"from": "member"},
            "day": {"from": "day"},
            "amount": {"from": "amount", "type": "number", "default": 0, "on_error": "default"},
            "paid": {"from": "paid", "type": "boolean", "on_error": "rest"},
            "tags": {"from": "tags", "type": "list"},
            "text": "{remark} of {day}",
        },
        "rest": "more",
        "drop": ["kind", "remark"],
        "queries": {
            "all": {"key": {"PK": kind}, "filter": {"amount": {"gt": 1}}},
            "day": {"index": "byDay", "key": {"day": "2025-02-11" if kind == "FINE" else "2025-03-11"}},
        },
    }


def _oddments(n: int, chance: random.Random, members: list[str], books: list[str]) -> dict[str, Any]:
    """What looks like an id and is none: nothing of it may raise an alarm."""
    member, book = members[n], books[n]
    return {
        "almost": member[:-1] + ("0" if member[-1] != "0" else "1"),  # a uuid that differs in one digit
        "upper": member.upper(),  # compared by case
        "longer": f"{book}0",
        "lower": book.lower(),
        "prefix": "BOK-",
        "whole": [1, 1.0, -0.0, 100, 1e3][n % 5],
        "stars": 1 + n % 5,
        "set": {"b", "a", f"c{n}"},
        "json": json.dumps({"b": [1, 2.50], "a": None}, indent=n % 3),
        "email": f"reader{n}.{chance.randint(1, 99)}@example.com",
        "day": f"2025-0{1 + n % 9}-{10 + n % 18}",
        "time": f"2025-0{1 + n % 9}-11T0{n % 10}:15:00.123+02:00",
        "stamp": 1_740_000_000 + 86_400 * n,
        "checksum": f"{chance.getrandbits(256):064x}",
        "base64": "QUJDREVGR0hJSktMTU5PUFFSU1RVVldY" + "ABCD"[n % 4] * 3 + "=",
        "link": f"https://example.com/catalogue/{100 + n}?page={n}&sort=asc#top",
        "phone": f"+44 20 7946 0{100 + n}",
        "postcode": f"SW{1 + n % 9}A {n % 9}AA",
        "iban": f"GB82 WEST 1234 5698 7654 {10 + n}",
        "account": f"DE8937040044053201{3000 + n}",
        "version": f"v1.{n}.0",
        "sku": f"SKU-{1000 + n}",
        "isbn": f"978-0-306-40{615 + n}-7",
        "trace": _uuid(chance),
        "ip": f"192.0.2.{n}",
        "colour": f"#{chance.getrandbits(24):06x}",
        "place": {"lat": 51.5 + n / 100, "lon": -0.12},
        "note": f"Ring {n} times; ask for BOK or for room {n + 2}, at 10:30.",
    }


COPIED = (
    *("Properties", "Contacts", "NotificationTemplate", "NotificationQueue", "Requests", "Projects", "Quotes"),
    *("QuoteItems", "ProjectPaymentTerms", "AuditLog", "ContactAuditLog"),
)
CHILDREN = {"QuoteItems": 5, "NotificationQueue": 3, "AuditLog": 8, "ContactAuditLog": 4, "ProjectPaymentTerms": 4}
HOSTILE = ("legacy contact", "コンタクト", "30b3", "quoted", "alert('id')", "long-xx")  # of ids that the demo plants


@functools.cache
def copy() -> Made:
    """A part of the environment copy's data in which every reference finds its item, with the mapping that comes with it."""
    mapping = yaml.safe_load((MAPPINGS / "env_copy.yaml").read_text(encoding="utf-8"))
    everything = env_copy_source(SEED)
    owner = {item["id"]["S"]: (name, n) for name, items in everything.items() for n, item in enumerate(items)}
    needs: dict[tuple[str, int], set[tuple[str, int]]] = {}
    for name in COPIED:
        for n, item in enumerate(everything[name]):
            text = json.dumps(item)
            ids = {one for one in _UUID.findall(text) if one in owner}
            places = {owner[one] for one in ids if owner[one][0] in COPIED or name == "AuditLog"}
            if (n >= FIRST_PLAIN or name == "NotificationTemplate") and not any(word in text for word in HOSTILE):
                needs[name, n] = places
    while lost := [place for place, wanted in needs.items() if not wanted <= needs.keys()]:
        for place in lost:
            del needs[place]
    taken: set[tuple[str, int]] = set()
    waiting = [place for name, number in CHILDREN.items() for place in [p for p in needs if p[0] == name][:number]]
    while waiting:
        if (place := waiting.pop()) not in taken:
            taken.add(place)
            waiting += needs[place]
    items = {name: [everything[name][n] for of, n in sorted(taken) if of == name] for name in COPIED}
    defaults = mapping["defaults"] | {"source": "{table}@source", "target": "{table}@target"}
    return (
        {name: {"key": {"id": "S"}, "items": of} for name, of in items.items()},
        {"defaults": defaults, "tables": {name: mapping["tables"][name] for name in COPIED}},
    )


TAKEN = {"LEAD": 20, "DEAL": 12, "RESOURCE": 16, "PIPELINE": 8}
UNFIT = {"LEAD": {0, 9, 10}, "DEAL": {0}, "RESOURCE": {0, 5}, "PIPELINE": {0}}  # what the demo plants to be quarantined


@functools.cache
def split() -> Made:
    """A part of the table split's data that fits the mapping that comes with it, with that mapping."""
    mapping = yaml.safe_load((MAPPINGS / "table_split.yaml").read_text(encoding="utf-8"))
    items, seen = [], dict.fromkeys(COUNTS, 0)
    for item in table_split_source(SEED):
        kind = item.get("entity_type", {}).get("S")
        if kind in seen and item["sk"]["S"] == "META":
            if seen[kind] < TAKEN[kind] and seen[kind] not in UNFIT[kind]:
                items.append(item)
            seen[kind] += 1
    for name, entry in mapping["tables"].items():
        entry |= {"source": "crm@source", "target": f"{name}@target"}
    return {"crm": {"key": {"pk": "S", "sk": "S"}, "items": items}}, mapping


@functools.cache
def whole_copy() -> Made:
    """All that the demo copies, and what its target holds before (`residents`), with the mapping that comes with it."""
    mapping = yaml.safe_load((MAPPINGS / "env_copy.yaml").read_text(encoding="utf-8"))
    mapping["defaults"] |= {"source": "{table}@source", "target": "{table}@target"}
    residents = env_copy_target()
    return {
        name: {"key": {"id": "S"}, "items": items, "residents": residents.get(name, [])}
        for name, items in env_copy_source(SEED).items()
    }, mapping


@functools.cache
def whole_split() -> Made:
    """All that the demo splits, with the mapping that comes with it."""
    _, mapping = split()
    return {"crm": {"key": {"pk": "S", "sk": "S"}, "items": table_split_source(SEED)}}, mapping


DOMAINS: dict[str, Callable[[], Made]] = {"library": library, "copy": copy, "split": split}
WHOLE: dict[str, Callable[[], Made]] = {"whole-copy": whole_copy, "whole-split": whole_split}


def _uuid(chance: random.Random) -> str:
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))


def _typed(items: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: _value(value) for name, value in item.items()} for item in items]


def _value(value: Any) -> dict[str, Any]:
    return {"SS": sorted(value)} if isinstance(value, set) else from_python(value)
