"""The demo's CRM table for the table split: leads, deals, resources and pipelines together. Pure, seeded.

Numbers, tags and stages come in every form that such tables contain. `data.EXPECTED` counts the planted faults.
"""

import json
from collections.abc import Callable
from itertools import chain

from ..values import size
from .words import LISTS, START, Item, Words, typed, typed_item

COUNTS = {"LEAD": 420, "DEAL": 260, "RESOURCE": 190, "PIPELINE": 24}
SOURCE_BYTES = 400 * 1024 - 40  # of the item that outgrows 400 KB only by its new keys
STAGES = ("new", "contacted", "qualified", "proposal", "won", "lost")
COLORS = ("#4c78a8", "#f58518", "#54a24b", "#e45756")
TWIN = 40  # index of the deal that is entered twice

CUSTOM = (  # left-over attributes: the n-th item of a kind takes the n-th, going round
    {"score": 0, "opted_in": False, "nickname": ""},
    {"last_reply": None, "labels": {"vip", "späť"}, "hits": {0, -1.5, 12}},
    {"thumbnail": b"\x00\x01\xfe\xff", "hashes": {b"\x01", b"\xff\xfe"}, "no_bytes": b""},
    {"office": {"street": "12 Elm Lane", "geo": {"lat": -33.8688, "lon": 151.2093}, "floors": []}},
    {"touches": [{"by": "mail", "count": 3}, ["nested", [1, None, True]], "call", {}], "empty": {}},
    {"tax_number": 98765432109876543210987654321098765432, "rate": "0.10", "größe ✓": "Übermaß 🚀"},
    {"note": "<script>alert(1)</script>", "formula": "=HYPERLINK('//example.com')", "STATUS#": "{status}"},
)

ABSENT = object()
# Of each kind, index -> what is different. ABSENT takes the attribute away.
LEADS: dict[int, dict] = {
    0: {"followers": "12k"},  # quarantined: does not convert
    1: {"followers": 0, "bio_match": "7.5"},
    2: {"followers": "0", "bio_match": "100"},
    3: {"followers": ABSENT, "bio_match": ""},
    4: {"followers": None, "bio_match": None},
    5: {"followers": "", "tags": "", "company": "", "status": ""},
    6: {"followers": 99999999999999999999999999999999999999, "bio_match": "0.12345678901234567890"},
    7: {"company": "<b>Acme & Söhne</b>", "name": "=1+2", "status": None},
    8: {"custom_fields": {"legacy_score": 3, "flags": {"a", "b"}}, "industry": "Healthcare"},  # merged
    9: {
        "custom_fields": {"industry": "Finance", "kept": 1},
        "industry": "Retail",
    },  # quarantined: one name twice
    10: {"custom_fields": '{"industry": "Finance"}'},  # quarantined: text, not a map
    11: {"custom_fields": {}},
    12: {"created_at": "2025-07-31T23:30:00-07:00"},  # August in UTC
    13: {"created_at": "2025-08-09"},
    14: {"created_at": "last Tuesday"},
    15: {"created_at": "31/08/2025"},
    16: {"created_at": "2025-02-30T10:00:00Z"},
    17: {"created_at": 1722470400},
    18: {"created_at": ""},
    19: {"created_at": None},
    **{index: {"created_at": ABSENT} for index in range(20, 26)},
    26: {"tags": []},
    27: {"tags": None},
    28: {"tags": '["with, comma", "semi;colon", "ünï"]'},
    29: {"status": ABSENT, "company": ABSENT},
}
DEALS: dict[int, dict] = {
    0: {"value": "about 5000"},  # quarantined
    1: {"value": "35000.75"},
    2: {"value": "7.5"},
    3: {"value": 0, "stage": ABSENT, "owner": ABSENT},
    4: {"value": ABSENT, "owner": "", "stage": ""},
    5: {"value": "-120.50", "region": "APAC"},
    6: {"value": "12345678901234567890123456789012345678"},
    7: {"created_at": ABSENT},
    8: {"created_at": ABSENT},
    9: {"created_at": "Q3 2025"},
}
RESOURCES: dict[int, dict] = {
    0: {"size": "1,024"},  # quarantined
    1: {"size": "2048", "version": "1.10"},
    2: {"size": 0, "version": "2"},
    3: {"category": ABSENT, "sync_status": ABSENT},
    4: {"category": "", "sync_status": None, "size": ABSENT},
    5: {"id": ABSENT},  # quarantined: nothing to build the sort key from
    6: {"created_at": ABSENT},
    7: {"created_at": ABSENT},
}
PIPELINES: dict[int, dict] = {
    0: {"is_default": "yes"},  # quarantined
    1: {"is_default": True},
    2: {"is_default": "true"},
    3: {"is_default": "FALSE"},
    4: {"is_default": ABSENT},
    5: {"created_at": ABSENT},
}
PLANTED = {"LEAD": LEADS, "DEAL": DEALS, "RESOURCE": RESOURCES, "PIPELINE": PIPELINES}


def crm_items(seed: int) -> list[Item]:
    """Wire items of the one CRM table."""
    makers = {"LEAD": _lead, "DEAL": _deal, "RESOURCE": _resource, "PIPELINE": _pipeline}
    items = {kind: [_item(kind, i, makers[kind], seed) for i in range(n)] for kind, n in COUNTS.items()}
    return [*chain(*items.values()), _twin(items["DEAL"][TWIN]), _giant(), *_strangers(seed)]


def _item(kind: str, index: int, make: Callable[[Words, int], dict], seed: int) -> Item:
    words = Words(f"{seed}/crm/{kind}/{index}")
    key = f"{kind.lower()}-{words.random.getrandbits(40):010x}"
    created = words.time()
    updated = max(created, words.time())
    item = {"pk": f"{kind}#{key}", "sk": "META", "entity_type": kind, "id": key}
    item |= make(words, index) | {"created_at": created, "updated_at": updated}
    item |= CUSTOM[index % len(CUSTOM)] | PLANTED[kind].get(index, {})
    return typed_item({name: value for name, value in item.items() if value is not ABSENT})


def _lead(words: Words, index: int) -> dict:
    followers = words.number(0, 90_000)
    return {
        "name": f"{words.first} {words.last}",
        "company": words.company,
        "status": words.pick(("new", "contacted", "qualified", "won", "lost")),
        "bio_match": words.decimal(0, 100, 1),
        "followers": str(followers) if index % 5 == 0 else followers,
        "source": words.one("source"),
        "website": f"https://example.com/{words.last.lower()}",
        "tags": _in_shape(words.random.sample(LISTS["adjective"], words.number(1, 4)), index),
        "pipeline_id": f"pipeline-{words.number(1, 6)}",
        "pipeline_stage": words.pick(STAGES),
        "email": words.email(),
        "phone": words.phone(),
        "industry": words.one("industry"),
    }


def _deal(words: Words, index: int) -> dict:
    value = words.decimal(100, 90_000)
    return {
        "title": f"{words.company}: {words.phrase()}",
        "company": words.company,
        "stage": words.pick(STAGES),
        "owner": words.first.lower(),
        "value": str(value) if index % 5 == 0 else value,
        "due_date": words.time()[:10],
        "pipeline_id": f"pipeline-{words.number(1, 6)}",
        "region": words.pick(("APAC", "EMEA", "AMER")),
    }


def _resource(words: Words, index: int) -> dict:
    name = f"{words.one('noun')}-{index:03}.pdf"
    return {
        "name": name,
        "category": words.pick(("contract", "brochure", "floor-plan", "photo")),
        "department": words.pick(("sales", "legal", "design")),
        "type": "application/pdf",
        "file_url": f"https://example.com/files/{name}",
        "s3_key": f"demo/{name}",
        "size": words.number(1_000, 9_000_000),
        "sync_status": words.pick(("synced", "pending", "failed")),
        "google_drive_id": words.uuid(),
        "google_modified_time": words.time(),
        "uploaded_by": words.email(),
        "description": words.sentence(),
        "version": words.number(1, 9),
        "last_synced_at": words.time(),
        "language": words.pick(("en", "de", "fr")),
    }


def _pipeline(words: Words, index: int) -> dict:
    stages = [{"id": f"s{n}", "name": name, "color": COLORS[n % 4], "order": n} for n, name in enumerate(STAGES)]
    return {
        "name": f"{words.one('industry')} {index:02}",
        "description": words.sentence(),
        "is_default": False,
        "stages": ",".join(STAGES) if index % 4 == 2 else _in_shape(stages, index),
        "team": words.pick(("sales", "partners")),
    }


def _in_shape(members: list, index: int):
    """The list in one of its shapes: list, JSON text, text with commas, exported DynamoDB JSON."""
    shape = index % 4
    if shape == 0:
        return members
    if shape == 1:
        return json.dumps(members)
    if shape == 2:
        return ", ".join(members)
    exported = typed(members)
    return json.dumps(exported if index % 8 == 3 else exported["L"])


def _twin(deal: Item) -> Item:
    """Another source item for the deal's target key: the same id and month under another source key."""
    return deal | {"sk": {"S": "META#copy"}, "title": {"S": "the same deal, entered twice"}}


def _giant() -> Item:
    """A lead just within 400 KB that the new key and index attributes push over the limit.

    Its bulk is a list, because moto, which refuses above 405,000, counts one byte less for each member.
    """
    giant = {
        "pk": "L#giant",
        "sk": "M",
        "entity_type": "LEAD",
        "id": "lead-giant",
        "name": "Notes without end",
    }
    giant |= {"created_at": START.isoformat(), "transcript": ["and then they said, " * 3] * 6_000}
    padding = SOURCE_BYTES - size(typed_item(giant | {"padding": ""}))
    return typed_item(giant | {"padding": "x" * padding})


def _strangers(seed: int) -> list[Item]:
    """Items that no entry selects: of two unknown kinds (one is LEAD in different case), and without a kind."""
    strangers = []
    for index, kind in enumerate(("TASK", "TASK", "Lead", "Lead", None)):
        words = Words(f"{seed}/crm/stranger/{index}")
        item = {"pk": f"OTHER#{index}", "sk": "META", "id": f"other-{index}", "text": words.sentence()}
        strangers.append(typed_item(item | ({"entity_type": kind} if kind else {})))
    return strangers
