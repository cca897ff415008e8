"""The demo's source environment for the environment copy: 35 tables, full of references. Pure, seeded."""

import json
import re
from collections.abc import Callable

from .plants import FIRST_PLAIN, HOSTILE_IDS, RAW_NUMBERS, plant
from .words import LISTS, Item, Words, read_words, typed_item

COUNTS = {
    "Properties": 220, "Contacts": 300, "BackOfficeAssignTo": 12, "BackOfficeBookingStatuses": 6,
    "BackOfficeBrokerage": 15, "BackOfficeNotifications": 20, "BackOfficeProducts": 12,
    "BackOfficeProjectStatuses": 9, "BackOfficeQuoteStatuses": 8, "BackOfficeRequestStatuses": 7,
    "BackOfficeRoleTypes": 6, "NotificationTemplate": 18, "Auth": 25, "AppPreferences": 20,
    "SecureConfig": 10, "ContactUs": 60, "Requests": 250, "Affiliates": 30, "Legal": 8, "MemberSignature": 25,
    "eSignatureDocuments": 50, "AuditLog": 300, "ContactAuditLog": 120, "EmailSuppressionList": 20,
    "SESReputationMetrics": 30, "NotificationQueue": 120, "NotificationEvents": 180, "Projects": 150,
    "PendingAppoitments": 40, "Quotes": 130, "ProjectComments": 180, "ProjectMilestones": 160,
    "ProjectPaymentTerms": 150, "ProjectPermissions": 60, "QuoteItems": 320,
}  # fmt: skip
PARENTS = {  # attribute -> the table whose ids it holds
    "agentContactId": "Contacts",
    "homeownerContactId": "Contacts",
    "homeowner2ContactId": "Contacts",
    "homeowner3ContactId": "Contacts",
    "contactId": "Contacts",
    "postedByContactId": "Contacts",
    "addressId": "Properties",
    "requestId": "Requests",
    "projectId": "Projects",
    "quoteId": "Quotes",
}
UNDECLARED = {  # the same, but in no mapping: for the analysis to discover
    "eSignatureDocumentId": "eSignatureDocuments",
    "notificationId": "NotificationQueue",
}
# Table -> attribute and n: of every n items the first is the parent of the others.
GROUPS = {"QuoteItems": ("parentStageId", 5), "ProjectPaymentTerms": ("parentPaymentId", 3)}
ONE_TO_ONE = {("Projects", "quoteId"), ("Quotes", "projectId"), ("Projects", "requestId")}
PRESENT = {"homeowner2ContactId": 0.3, "homeowner3ContactId": 0.1}  # other references: 0.9
AUDITED = (
    *("Contacts", "Requests", "Projects", "Quotes", "QuoteItems", "Properties"),
    *("ProjectComments", "ProjectPaymentTerms", "ContactUs"),
)
FIRST_TTL = 2_000_000_000  # in 2033: no engine may expire the demo

STRINGS: tuple[tuple[str, Callable[[Words, int], str]], ...] = (  # the first pattern that matches the name
    ("firstName", lambda w, i: w.first),
    ("lastName", lambda w, i: w.last),
    (
        "nickname|owner|(created|updated|lastModified)By|userId|assignedTo",
        lambda w, i: f"{w.first.lower()}-{i % 12}",
    ),
    (".*[pP]hone|mobile", lambda w, i: w.phone()),
    ("company|brokerage|escrowCompanyName", lambda w, i: w.company),
    ("itemName|paymentName|serviceName", lambda w, i: w.phrase()),
    (".*(fullName|[nN]ame|signedBy)", lambda w, i: f"{w.first} {w.last}"),
    ("city|preferredLocation", lambda w, i: w.city),
    ("state", lambda w, i: w.state),
    ("zip", lambda w, i: w.zip),
    ("houseAddress", lambda w, i: w.house),
    ("propertyFullAddress|requestAddress", lambda w, i: f"{w.house}, {w.city}, {w.state} {w.zip}"),
    ("to|cc|bcc|recipient|viewedBy", lambda w, i: w.email()),
    (".*[sS]tatus", lambda w, i: w.one("status")),
    ("product|propertyType", lambda w, i: w.one("product")),
    ("roleType|userRole", lambda w, i: w.one("role")),
    ("source|leadSource|leadFrom.*", lambda w, i: w.one("source")),
    ("ip|ipAddress", lambda w, i: f"192.0.2.{w.number(1, 254)}"),
    ("userAgent", lambda w, i: "Mozilla/5.0 (demo)"),
    (".*[hH]tml", lambda w, i: f"<p>Hello {{{{firstName}}}},</p><p>{w.sentence()}</p>"),
    ("bedrooms|floors", lambda w, i: f"{w.number(1, 5)}"),
    ("bathrooms", lambda w, i: f"{w.decimal(1, 4, 1)}"),
    ("yearBuilt", lambda w, i: f"{w.number(1920, 2024)}"),
    (".*([pP]rice|[cC]ost|[pP]rofit|[bB]alance|budget|total.*)", lambda w, i: f"{w.decimal(500, 90_000)}"),
    ("token|.*Id|item04Projects", lambda w, i: w.uuid()),
    ("key|categoryKey|parameterPath", lambda w, i: f"demo/{w.one('noun')}/{i:03}"),
    ("message|comment|.*[dD]escription|.*Notes|body.*|content.*|reason.*", lambda w, i: w.sentence()),
)
TITLES = {"BackOfficeProducts": "product", "BackOfficeRoleTypes": "role"}  # else: status


def env_tables(seed: int) -> dict[str, list[Item]]:
    """Wire items per table (entry name) of the source environment."""
    schema = {table: _types(words) for table, words in read_words("schema.yaml").items()}
    ids = {table: [Words(f"{seed}/{table}/{i}/id").uuid() for i in range(n)] for table, n in COUNTS.items()}
    ids["Contacts"][: len(HOSTILE_IDS)] = HOSTILE_IDS
    tables = {
        table: [_item(table, schema[table], i, ids, Words(f"{seed}/{table}/{i}")) for i in range(n)]
        for table, n in COUNTS.items()
    }
    _fill_audit_logs(tables, seed)
    plant(tables, seed)
    wire = {table: [typed_item(item) for item in items] for table, items in tables.items()}
    for (table, index), numbers in RAW_NUMBERS.items():
        wire[table][index] |= numbers
    return wire


def _types(words: list[str]) -> dict[str, str]:
    return {name: kind or "string" for name, _, kind in (word.partition(":") for word in words)}


def _item(table: str, types: dict[str, str], index: int, ids: dict[str, list[str]], words: Words) -> dict:
    created, updated = sorted((words.time(), words.time()))
    item = {"id": ids[table][index], "__typename": table, "createdAt": created, "updatedAt": updated}
    fill = 0.45 if len(types) > 30 else 0.8
    for name, kind in types.items():
        if parents := ids.get((PARENTS | UNDECLARED).get(name)):
            position = _parent(table, name, index, len(parents), words)
            _set_optional(item, name, parents[position], PRESENT.get(name, 0.9), words)
        elif words.chance(fill) or (table, name) == ("Contacts", "email"):  # Contacts has an index on email
            item[name] = _value(table, name, kind, index, words)
        elif kind == "string":
            _set_optional(item, name, "", 0, words)
    if table in GROUPS:
        attribute, group = GROUPS[table]
        item["isCategory"] = index % group == 0
        item.pop(attribute, None)
        if index % group:
            item[attribute] = ids[table][index - index % group]
    if table == "NotificationQueue":
        item["templateId"] = words.pick(ids["NotificationTemplate"])
        item["recipientIds"] = _json(words.random.sample(ids["Contacts"], words.number(1, 4)), index)
    return item


def _set_optional(item: dict, name: str, value: str, probability: float, words: Words) -> None:
    """Set it with this probability; else leave it out, or make it null or empty, which are not the same."""
    if words.chance(probability):
        item[name] = value
    elif words.chance(0.3):
        item[name] = None if words.chance(0.6) else ""


def _parent(table: str, name: str, index: int, parents: int, words: Words) -> int:
    if table in GROUPS:  # a group of items belongs to one project
        return index // GROUPS[table][1] % parents
    return index % parents if (table, name) in ONE_TO_ONE else words.number(0, parents - 1)


def _value(table: str, name: str, kind: str, index: int, words: Words):
    if kind == "boolean":
        return words.chance(0.6)
    if kind in ("integer", "float"):
        return _number(name, kind, index, words)
    if kind == "json":
        return _json_value(name, index, words)
    if "|" in kind:
        return words.pick(kind.split("|"))
    if kind == "string":
        if name == "title" and table.startswith("BackOffice"):
            titles = LISTS[TITLES.get(table, "status")]
            return titles[index % len(titles)]
        maker = next((make for pattern, make in STRINGS if re.fullmatch(pattern, name)), None)
        return maker(words, index) if maker else words.phrase()
    if kind == "url":
        return f"https://example.com/{name}/{index}"
    return {
        "id": words.uuid,
        "email": words.email,
        "datetime": words.time,
        "date": lambda: words.time()[:10],
    }[kind]()


def _number(name: str, kind: str, index: int, words: Words):
    if name == "ttl":
        return FIRST_TTL + index * 3600
    if name in ("order", "statusOrder"):
        return index + 1
    if name == "yearBuilt":
        return words.number(1920, 2024)
    if name in ("bedrooms", "floors", "retryCount"):
        return words.number(0, 5)
    if name.endswith(("Rate", "Percent", "Score")):
        return words.decimal(0, 1, 4)
    return words.number(0, 900) if kind == "integer" else words.decimal(0, 900_000)


def _json_value(name: str, index: int, words: Words) -> str:
    if name in ("variables", "channels", "tags", "missingInformation", "changedFields"):
        return _json(words.random.sample(LISTS["adjective"], 2), index)
    return _json({"note": words.phrase(), "count": index, "flag": words.chance(0.5), "city": words.city}, index)


def _json(value, index: int) -> str:
    """JSON text in one of four spellings, because a rewrite must keep the spelling."""
    spellings = ({"separators": (",", ":")}, {}, {"indent": 2}, {"ensure_ascii": True})
    return json.dumps(value, **{"ensure_ascii": False, **spellings[index % 4]})


def _fill_audit_logs(tables: dict[str, list[dict]], seed: int) -> None:
    """Let each log entry tell of a record that exists: its id, and its states before and after as JSON."""
    for index, entry in enumerate(tables["AuditLog"]):
        turn, table = divmod(index, len(AUDITED))
        record = Words(f"{seed}/audit/{index}").pick(tables[AUDITED[table]][FIRST_PLAIN:])
        action = ("created", "updated", "deleted")[turn % 3]
        entry |= {"tableName": AUDITED[table], "recordId": record["id"], "action": action}
        _log_states(entry, record, index)
    for index, entry in enumerate(tables["ContactAuditLog"]):
        contact = Words(f"{seed}/contact-audit/{index}").pick(tables["Contacts"][FIRST_PLAIN:])
        entry |= {"contactId": contact["id"], "action": ("created", "updated")[index % 2]}
        _log_states(entry, contact | {"contactId": contact["id"]}, index)


def _log_states(entry: dict, record: dict, index: int) -> None:
    kept = {"id", "status", "title", "firstName", "parentStageId", "parentPaymentId", *PARENTS}
    before = {name: value for name, value in record.items() if name in kept}
    entry["previousData"] = None if entry["action"] == "created" else _json(before, index)
    after = before | {"status": "Changed"}
    entry["newData"] = None if entry["action"] == "deleted" else _json(after, index + 1)
    entry["ttl"] = FIRST_TTL + index * 3600
