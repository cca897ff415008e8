"""Faults planted in the demo's source environment: broken references, odd ids, hostile but legal values.

`data.EXPECTED` counts them. Planted items have an index below FIRST_PLAIN; the audit logs, which quote
whole records, quote the later ones, so nothing counts twice.
"""

import json

from .words import Words

FIRST_PLAIN = 20
DANGLING = (  # table, index, attribute: refers to an item that does not exist
    ("Requests", 1, "agentContactId"),
    ("Requests", 2, "agentContactId"),
    ("Requests", 3, "addressId"),
    ("Projects", 1, "homeowner2ContactId"),
    ("Projects", 2, "quoteId"),
    ("Quotes", 1, "requestId"),
    ("QuoteItems", 1, "parentStageId"),
    ("ProjectComments", 1, "postedByContactId"),
)
HOSTILE_IDS = (  # of the first contacts
    "legacy contact #7",
    "コンタクト-✓-7",
    'contact "quoted" \\ back',
    "<script>alert('id')</script>",
    "long-" + "x" * 120,
)
# E-mail addresses of contacts that the target has already, under other ids: the last one in two of its items.
KNOWN = ("here@example.com", "there@example.com", "twice@example.com")
PLANTED: dict[tuple[str, int], dict] = {  # (table, index) -> attributes, mostly unknown to the schema
    ("Properties", 0): {"straße": "Größe ✓ 你好", "emoji 🏠": {"naïve.key": "a.b[0]", "key:json": [""]}},
    ("Properties", 1): {"sizeSqft": "2450.75", "bathrooms": "7.5"},
    ("Properties", 2): {"parcelNumber": 12345678901234567890123456789012345678, "taxRate": 0, "debt": -0.5},
    ("Properties", 4): {"rooms": [{"name": "attic", "sizes": [0, None, [], {}]}, "cellar", False, b"\x00\xff"]},
    ("Contacts", 5): {
        "labels": {"vip", "späť"},
        "luckyNumbers": {7, 11.5, -13},
        "keys": {b"\x01", b"\xfe\xff"},
    },
    ("Contacts", 6): {"avatar": bytes(range(256)), "noBytes": b"", "signature": b"\x89PNG\r\n"},
    ("Contacts", 7): {
        "firstName": "<script>alert(1)</script>",
        "company": "=cmd|' /C calc'!A0",
        "lastName": "@SUM(1)",
    },
    ("Contacts", 8): {"mobile": "", "company": None, "brokerage": "  ", "phone": "\u202e5550-1+"},
    ("Contacts", 9): {"fullName": "Robert'); DROP TABLE Contacts;--", "owner": "{source.environment}${HOME}"},
    **{("Contacts", 10 + number): {"email": email} for number, email in enumerate(KNOWN)},
    ("Requests", 10): {"visitDate": "31/12/2024", "assignedDate": "0000-00-00T00:00:00Z", "followUpDate": ""},
    ("Requests", 11): {"visitDate": "2024-02-30T10:00:00Z", "expiredDate": "9999-12-31", "createdAt": "soon"},
    ("Requests", 12): {"message": "<img src=x onerror=alert(1)>", "tags": "not json", "readinessScore": 0},
    ("Projects", 10): {"gallery": [{"url": "https://example.com/1.jpg", "size": {"w": 1600, "h": 900}}]},
    ("Projects", 11): {
        "deep": {"a": {"b": {"c": {"d": {"e": ["f", {"g": None}]}}}}},
        "__proto__": "polluted?",
    },
    ("Quotes", 10): {"totalPrice": "35000.75", "title": "line one\nline two\ttab\u0000nul", "images": []},
    ("AppPreferences", 0): {"value": "x" * 20_000, "description": "a long text"},
    ("Legal", 0): {"content": "<h1>Terms</h1><p onclick='x()'>…</p>" * 200},
}
RAW_NUMBERS = {  # (table, index) -> numbers as the wire may spell them
    ("Properties", 2): {"ratio": {"N": "-0.0000000012345678901234567890123456789012345678"}},
    ("Properties", 3): {"assessedValue": {"N": "1.50E+2"}},
}


def plant(tables: dict[str, list[dict]], seed: int) -> None:
    """Put all of the above into the tables of Python values."""
    missing = Words(f"{seed}/missing")
    for (table, index), attributes in PLANTED.items():
        tables[table][index] |= attributes
    for table, index, attribute in DANGLING:
        tables[table][index][attribute] = missing.uuid()
    for index, contact in enumerate(HOSTILE_IDS):
        tables["Requests"][index + 4]["homeownerContactId"] = contact
    items = tables["QuoteItems"]
    for child, parent in ((16, 16), (17, 18), (18, 17)):  # its own parent; each other's parent
        items[child]["parentStageId"] = items[parent]["id"]
    _plant_recipients(tables["NotificationQueue"], [contact["id"] for contact in tables["Contacts"]], missing)
    _plant_logs(tables, missing)


def _plant_recipients(queue: list[dict], contacts: list[str], missing: Words) -> None:
    queue[3]["recipientIds"] = json.dumps([contacts[30], missing.uuid(), contacts[31]])
    queue[4]["recipientIds"] = "contact-1, contact-2"  # no JSON
    queue[5]["recipientIds"] = json.dumps(HOSTILE_IDS)  # with escapes: \u30b3, \", \\
    queue[6]["recipientIds"] = "[]"
    queue[7]["recipientIds"] = "null"
    queue[8]["recipientIds"] = f'[ "{contacts[40]}" ,\n\t"{contacts[41]}",null, "" ]'


def _plant_logs(tables: dict[str, list[dict]], missing: Words) -> None:
    """Log entries of a contact that is gone, of a deleted request, of a table that no mapping names."""
    tables["ContactAuditLog"][1]["contactId"] = missing.uuid()
    tables["AuditLog"][1] |= _log_entry("Requests", "deleted", missing.uuid())
    tables["AuditLog"][2] |= _log_entry("LegacyOrders", "created", missing.uuid())


def _log_entry(table: str, action: str, record: str) -> dict:
    state = json.dumps({"id": record, "status": "Archived"})
    before, after = (state, None) if action == "deleted" else ("", state)
    entry = {"tableName": table, "action": action, "recordId": record}
    return entry | {"previousData": before, "newData": after}
