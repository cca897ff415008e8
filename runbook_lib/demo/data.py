"""The demo's data, generated from a seed: the same seed gives the same bytes. Every value is invented.

EXPECTED lists what the data contains for the default seed, and so what each stage must find:

env_copy     items        per table; total: their sum
             references   reference values in all tables, dangling ones too, but no null or empty ones
             dangling     table -> path -> values whose item does not exist (or whose table no mapping names)
             unreadable   table -> path -> texts that should be JSON and are not
             foreign      target table -> items that exist before, and that no run may touch
             matched      entry -> source items whose natural key exactly one of these has
ambiguous    entry -> source items whose natural key several of these have
missing      target tables that do not exist before
             undeclared   attribute -> table whose ids it holds, although the mapping does not declare it
table_split  items        items in the one source table
             selected     items per entry, of which quarantined and conflicts are not written
             quarantined  entry -> attribute -> items; "" where it is the item's size
             conflicts    entry -> items whose target key another item with a smaller source key takes
             unrouted     items that no entry selects
             undated      entry -> items written with the month 0000-00
             sparse       entry -> items written that are left out of GSI1, having no created_at
shop_copy,   items        in the one source table
shop_split   selected     items per entry
             expired      of them those that the entry leaves out
             unrouted     items that no entry selects
"""

import time

from .crm import crm_items
from .env import COUNTS, env_tables
from .plants import KNOWN
from .shop import shop_items
from .words import Item, typed_item

SEED = 2025
ENV_REGION, ENV_SOURCE, ENV_TARGET = "us-west-1", "demodev", "demoprod"
SHOP_REGION, SHOP_TABLE = "eu-central-1", "shop-demoshop"
CRM_REGION, CRM_TABLE = "ap-southeast-2", "expressnext-crm"

EXPECTED: dict[str, dict] = {
    "env_copy": {
        "items": COUNTS,
        "total": 3071,
        "references": 6085,
        "dangling": {
            "Requests": {"agentContactId": 2, "addressId": 1},
            "Projects": {"homeowner2ContactId": 1, "quoteId": 1},
            "Quotes": {"requestId": 1},
            "QuoteItems": {"parentStageId": 1},
            "ProjectComments": {"postedByContactId": 1},
            "NotificationQueue": {"recipientIds:json[]": 1},
            "ContactAuditLog": {"contactId": 1},
            "AuditLog": {"recordId": 2, "previousData:json": 1, "newData:json": 1},
        },
        "unreadable": {"NotificationQueue": {"recipientIds:json[]": 1}},
        "foreign": {"Contacts": 6, "BackOfficeRoleTypes": 1},
        "matched": {"Contacts": 2},
        "ambiguous": {"Contacts": 1},
        "missing": ("PendingAppoitments", "ProjectPermissions", "SESReputationMetrics"),
        "undeclared": {
            "Quotes.eSignatureDocumentId": "eSignatureDocuments",
            "NotificationEvents.notificationId": "NotificationQueue",
        },
    },
    "table_split": {
        "items": 901,
        "selected": {"Leads": 421, "Deals": 261, "Resources": 190, "Pipelines": 24},
        "quarantined": {
            "Leads": {"followers": 1, "industry": 1, "custom_fields": 1, "": 1},
            "Deals": {"value": 1},
            "Resources": {"size": 1, "id": 1},
            "Pipelines": {"is_default": 1},
        },
        "conflicts": {"Deals": 1},
        "unrouted": 5,
        "undated": {"Leads": 12, "Deals": 3, "Resources": 2, "Pipelines": 1},
        "sparse": {"Leads": 8, "Deals": 2, "Resources": 2, "Pipelines": 1},
    },
    "shop_copy": {
        "items": 563,
        "selected": {"Customers": 60, "Orders": 148, "Lines": 285, "Products": 40, "Carts": 30},
        "expired": {"Carts": 12},
        "unrouted": 0,
    },
    "shop_split": {
        "items": 563,
        "selected": {"Customers": 60, "Orders": 148, "Lines": 285, "Products": 40},
        "expired": {},
        "unrouted": 30,
    },
}


def env_copy_source(seed: int = SEED) -> dict[str, list[Item]]:
    """Wire items per entry of the environment that is copied."""
    return env_tables(seed)


def env_copy_target() -> dict[str, list[Item]]:
    """Wire items per entry that the target environment holds before the migration."""
    emails = {"Contacts": (*["a@example.com"] * 2, *KNOWN, KNOWN[-1]), "BackOfficeRoleTypes": ["a@example.com"]}
    return {
        name: [
            typed_item({"id": f"resident-{number}", "__typename": name, "title": "here before", "email": email})
            for number, email in enumerate(of_entry)
        ]
        for name, of_entry in emails.items()
    }


def table_split_source(seed: int = SEED) -> list[Item]:
    """Wire items of the CRM table that is split."""
    return crm_items(seed)


def shop_source(seed: int = SEED, now: float | None = None) -> list[Item]:
    """Wire items of the shop's single table, as it is at `now` (seconds since 1970; default: the clock's)."""
    return shop_items(seed, int(time.time() if now is None else now))
