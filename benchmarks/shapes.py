"""The items of the benchmarks: made from their number, so that a million of them needs the memory of one page."""

import json
import zlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import orjson

SOURCE, TARGET = "dev", "prod"  # the two environments
PAGE_BYTES = 1_000_000  # of items, as DynamoDB counts them: its page is a megabyte
HOLE = b"@@PAGE@@"  # stands for the number of the page in the text of a page that is used for all pages
REFERENCES = [
    "customerId",
    "agentId",
    "regionId",
    "productId",
    "ownerId",
    "teamId",
    "details.sourceId",
    "details.planId",
]
INSIDE = {"PK": "CUSTOMER#{Items}", "GSI1PK": "ORDER#{Items}", "GSI1SK": "DAY#{*}#{Items}"}  # those of a single table
POPULAR = 50  # so many parents take all references of every third path
KINDS = ("LEAD", "CONTACT")  # of the table that is split: half of the items each
TAGS = ("new", "returning", "priority", "overseas", "trade", "warranty")
WORDS = (
    "order refund delivery warehouse invoice customer quotation renewal callback escalation partner região süd "
    "approval shipment contract estimate follow-up address payment reminder visit technician catalogue sample"
).split()
BYTES = {"300B": 300, "1kB": 1_000, "20kB": 20_000}


@dataclass(frozen=True)
class Case:
    """What is moved, and how: `copy-1kB-3` copies items of about 1 kB with three references each.

    `single-1kB-3` copies a single table: the id and the three references stand inside keys.
    """

    mode: str  # copy, split or single
    size: str
    references: int
    items: int

    @staticmethod
    def named(name: str, items: int) -> "Case":
        """The case of that name. Raises ValueError where there is none."""
        mode, size, references = name.split("-")
        most = {"copy": len(REFERENCES), "split": len(REFERENCES), "single": len(INSIDE)}.get(mode, -1)
        if size not in BYTES or int(references) > most:
            raise ValueError(
                f"{name}: no such case; it is copy, split or single, {', '.join(BYTES)}, 0 to {max(most, 0)}"
            )
        return Case(mode, size, int(references), items)

    @property
    def name(self) -> str:
        """Mode, size and references, as in `copy-1kB-3`."""
        return f"{self.mode}-{self.size}-{self.references}"

    @property
    def key(self) -> list[str]:
        """The key attributes of the source table, all of type S."""
        return {"copy": ["id"], "split": ["pk", "sk"], "single": ["PK", "SK"]}[self.mode]

    @property
    def item_bytes(self) -> int:
        """About what DynamoDB counts for an item."""
        return BYTES[self.size]

    @property
    def page_items(self) -> int:
        """Items in a page of the source."""
        return max(1, PAGE_BYTES // self.item_bytes)

    @property
    def pages(self) -> int:
        """Pages of the source."""
        return -(-self.items // self.page_items)

    @cached_property
    def targets(self) -> dict[str, list[str]]:
        """Target table → its key attributes, all of type S."""
        if self.mode != "split":
            return {f"Items-{TARGET}": self.key}
        return {f"{name}-{TARGET}": ["PK", "SK"] for name in ("Leads", "Contacts")}

    @property
    def source(self) -> str:
        """The source table."""
        return f"{'Crm' if self.mode == 'split' else 'Items'}-{SOURCE}"

    def mapping(self) -> str:
        """The mapping file that moves them (JSON is YAML)."""
        sides = {"source": "{table}-{source.environment}", "target": "{table}-{target.environment}", "id": "id"}
        if self.mode == "copy":
            references = dict.fromkeys(REFERENCES[: self.references], "Items")
            return json.dumps({"defaults": sides, "tables": {"Items": {"references": references}}})
        if self.mode == "single":
            entry = {"id": {"in": "SK", "as": "ORDER#{*}#{id}"}, "where": {"SK": {"begins_with": "ORDER#"}}}
            entry["references"] = dict([*INSIDE.items()][: self.references])
            return json.dumps({"defaults": sides, "tables": {"Items": entry}})
        entries = {
            name: {
                "where": {"entity_type": kind},
                "fields": {
                    "PK": kind,
                    "SK": "{created_at:%Y-%m|0000-00}#{id}",
                    "GSI1PK": "STATUS#{status|new}",
                    "GSI1SK": "{updated_at}",
                    "id": {"from": "id"},
                    "name": {"from": "name"},
                    "email": {"from": "email"},
                    "amount": {"from": "amount"},
                    "followers": {"from": "followers", "type": "number", "default": 0},
                    "tags": {"from": "tag_list", "type": "list", "default": []},
                },
                "rest": "custom_fields",
                "drop": ["pk", "sk", "entity_type"],
            }
            for kind, name in zip(KINDS, ("Leads", "Contacts"), strict=True)
        }
        return json.dumps({"defaults": {**sides, "source": self.source, "id_format": "keep"}, "tables": entries})

    def scan_page(self, number: int, names: tuple[str, ...] = (), first: int = 0, limit: int = 0) -> tuple[bytes, int]:
        """The items of a page as JSON, joined by commas, and how many; `names` are those projected (default all)."""
        here = min(self.page_items, self.items - number * self.page_items)
        texts = _page(self, here, names)
        if first or limit:
            texts = texts[first : first + (limit or here)]
            return b",".join(texts).replace(HOLE, b"%08x" % number), len(texts)
        return _joined(self, here, names).replace(HOLE, b"%08x" % number), here

    def items_of(self, number: int) -> list[dict]:
        """The items of a page, parsed."""
        return orjson.loads(b"[%s]" % self.scan_page(number)[0])

    def changed(self, number: int, place: int) -> bytes:
        """An item as it is after a change: one attribute more."""
        return b'{"changed":{"N":"1"},' + self.scan_page(number, first=place, limit=1)[0][1:]

    def source_key(self, number: int, place: int) -> dict[str, dict]:
        """The source key of an item, which tells its page and place: see `place_of`."""
        new = orjson.loads(orjson.dumps(_item(self, place, self.page_items)).replace(HOLE, b"%08x" % number))
        return {name: new[name] for name in self.key}


def place_of(key: dict[str, dict]) -> tuple[int, int]:
    """The page and the place in it of the item with a source key."""
    page, place, _ = next(iter(reversed(key.values())))["S"].rpartition("#")[2].split("-", 2)
    return int(page, 16), int(place, 16)


def item_id(place: int, page: str = HOLE.decode()) -> str:
    """The id of an item: as long as a UUID, and the same whenever it is made."""
    return f"{page}-{place:04x}-4000-8000-{place * 0x9E3779B1D & 0xFFFFFFFFFFFF:012x}"


@lru_cache(maxsize=8)
def _joined(case: Case, here: int, names: tuple[str, ...]) -> bytes:
    return b",".join(_page(case, here, names))


@lru_cache(maxsize=8)
def _page(case: Case, here: int, names: tuple[str, ...]) -> list[bytes]:
    """The items of a page of `here` items, each as JSON, with the hole where the page's number goes."""
    items = (_item(case, place, here) for place in range(here))
    if names:
        items = ({name: item[name] for name in names if name in item} for item in items)
    return [orjson.dumps(item) for item in items]


def _item(case: Case, place: int, here: int) -> dict[str, Any]:
    """One item. A third of its references names a parent of its own, a third one of ten siblings, a third one of few."""
    noise = zlib.crc32(b"%d" % place)
    created = f"2025-{noise % 12 + 1:02}-{noise % 28 + 1:02}T{noise % 24:02}:{noise % 60:02}:00Z"
    item: dict[str, Any] = {
        "id": {"S": item_id(place)},
        "name": {"S": f"{WORDS[noise % len(WORDS)]} {noise % 9973}"},
        "status": {"S": ("open", "closed", "waiting")[noise % 3]},
        "created_at": {"S": created},
        "amount": {"N": f"{noise % 100_000}.{noise % 9}5"},
        "active": {"BOOL": noise % 2 == 0},
    }
    parents = [
        item_id((place + 1) % here),
        item_id(place - place % 10),
        item_id(place % min(POPULAR, here), "00000000"),
    ]
    if case.mode == "single":
        for (name, form), parent in zip([*INSIDE.items()][: case.references], parents, strict=False):
            item[name] = {"S": form.replace("{*}", created[:10]).replace("{Items}", parent)}
        item["SK"] = {"S": f"ORDER#{created[:10]}#{item.pop('id')['S']}"}
        item.setdefault("PK", {"S": "ORDERS"})
    for number, path in enumerate(REFERENCES[: case.references] if case.mode != "single" else ()):
        outer, _, inner = path.rpartition(".")
        into = item.setdefault(outer, {"M": {}})["M"] if outer else item
        into[inner] = {"S": parents[number % 3]}
    if case.mode == "split":
        kind = KINDS[place % 2]
        item |= {"pk": {"S": kind}, "sk": {"S": f"{kind}#{item_id(place)}"}, "entity_type": {"S": kind}}
    if case.size != "300B":
        item |= _nested(place, noise, created, lines=2 if case.size == "1kB" else 60)
    left = case.item_bytes - _bytes({"M": item}) - len("notes")
    item["notes"] = {"S": _text(noise, max(20, left))}
    return item


def _nested(place: int, noise: int, created: str, lines: int) -> dict[str, Any]:
    nested: dict[str, Any] = {
        "email": {"S": f"user{noise % 99_991}@example.com"},
        "updated_at": {"S": created.replace("2025", "2026")},
        "followers": {"S": str(noise % 5_000)},
        "tag_list": {"S": ",".join(TAGS[noise % 3 : noise % 3 + 2])},
        "labels": {"SS": sorted(TAGS[noise % 4 : noise % 4 + 2])},
        "scores": {"NS": [str(noise % 97), str(noise % 89 + 100)]},
        "address": {
            "M": {
                "street": {"S": f"{noise % 400} {WORDS[noise % 7].title()} Street"},
                "city": {"S": "San Diego"},
                "geo": {"M": {"lat": {"N": f"32.{noise % 9_000 + 1000}1"}, "lon": {"N": f"-117.{noise % 900 + 100}1"}}},
            }
        },
        "lines": {
            "L": [
                {
                    "M": {
                        "sku": {"S": f"SKU-{(noise + line) % 100_000:05}"},
                        "quantity": {"N": str(line + 1)},
                        "price": {"N": f"{(noise + line) % 1_000}.5"},
                    }
                }
                for line in range(lines)
            ]
        },
        "ended_at": {"NULL": True},
    }
    if place % 7:  # not every item has everything
        nested["phone"] = {"S": f"+1619555{noise % 10_000:04}"}
    return nested


def _text(noise: int, length: int) -> str:
    words = " ".join(WORDS[(noise >> shift) % len(WORDS)] for shift in range(24))
    return (words + " " + words * (length // len(words)))[:length]


def _bytes(value: dict) -> int:
    """About what DynamoDB counts for a value."""
    ((letter, content),) = value.items()
    if letter == "M":
        return 3 + sum(len(name) + 1 + _bytes(member) for name, member in content.items())
    if letter == "L":
        return 3 + sum(1 + _bytes(member) for member in content)
    if letter in ("SS", "NS"):
        return sum(map(len, content))
    return 1 if letter in ("BOOL", "NULL") else len(content) // 2 + 1 if letter == "N" else len(content.encode())
