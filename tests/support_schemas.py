"""Databases whose references are known: seeded entries with ids of one style, references of many forms, and decoys."""

import json
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

ENTRIES = ("Customers", "Orders", "Products", "Invoices", "Warehouses", "Employees", "Shipments", "Regions")
WORDS = "amber birch cedar delta ember flint grove heath inlet jetty knoll larch".split()
FORMS = ("plain", "list", "set", "nested", "members", "json", "json list", "text", "text list")

RECOGNISABLE = ("uuid", "prefix", "ulid", "joined", "path")  # joined: CUS#00001; path: eu/cus/00001

UUIDS = [str(uuid.UUID(int=number * 0x1234567_89ABCDEF_01234567, version=4)) for number in range(1, 400)]

Truth = set[tuple[str, str, str]]  # entry, path, the entry whose ids stand there


def text(value: str) -> dict:
    """A typed text."""
    return {"S": value}


@dataclass
class Database:
    """Items by entry, and the references in them."""

    items: dict[str, list[dict]]
    truth: Truth = field(default_factory=set)


def database(seed: int, style: str, *, items: int = 120, meaningless: bool = False) -> Database:
    """A database. `style`: one of RECOGNISABLE, integer (1, 2, 3, …) or sparse (six digits)."""
    chance = random.Random(f"{seed} {style}")
    entries = chance.sample(ENTRIES, 6)
    ids = {name: _ids(style, name, chance.randint(items // 3, items), chance) for name in entries}
    made = Database({name: [{"id": _typed(style, one)} for one in ids[name]] for name in entries})
    for name in entries:
        for number, parent in enumerate(chance.sample(entries, 3)):
            form = chance.choice(FORMS if style in RECOGNISABLE else FORMS[:7])
            base = f"x{number}" if meaningless else f"{parent[:-1].lower()}{chance.choice(['Id', '_id', 'Ref', 'No'])}"
            made.truth.add((name, _PATHS[form].format(base), parent))
            for item in made.items[name]:
                if chance.random() < 0.85:
                    _put(item, form, base, [chance.choice(ids[parent]) for _ in range(3)], style)
        for item in made.items[name]:
            _decoys(item, chance)
    return made


_PATHS = {
    "plain": "{}", "list": "{}s[]", "set": "{}s[]", "nested": "details.{}", "members": "lines[].{}",
    "json": "{}:json.ref", "json list": "{}s:json[]", "text": "{}", "text list": "{}s",
}  # fmt: skip


def _put(item: dict, form: str, base: str, ids: list[str], style: str) -> None:
    letter = "N" if style in ("integer", "sparse") else "S"
    in_json: Callable = int if letter == "N" else str
    typed = [{letter: one} for one in ids]
    if form == "plain":
        item[base] = typed[0]
    elif form == "list":
        item[f"{base}s"] = {"L": typed}
    elif form == "set":
        item[f"{base}s"] = {f"{letter}S": sorted(set(ids))}
    elif form == "nested":
        item.setdefault("details", {"M": {}})["M"][base] = typed[0]
    elif form == "members":
        lines = item.setdefault("lines", {"L": [{"M": {"quantity": {"N": str(n + 1)}}} for n in range(3)]})["L"]
        for line, one in zip(lines, typed, strict=True):
            line["M"][base] = one
    elif form == "json":
        item[base] = {"S": json.dumps({"ref": in_json(ids[0]), "note": "kept"})}
    elif form == "json list":
        item[f"{base}s"] = {"S": json.dumps([in_json(one) for one in ids])}
    elif form == "text":
        item[base] = {"S": f"REF#{ids[0]}#END"}
    else:
        item[f"{base}s"] = {"S": ",".join(ids)}


def _decoys(item: dict, chance: random.Random) -> None:
    """What looks like an id and is none."""
    day = f"2025-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}"
    item |= {
        "email": {"S": f"{chance.choice(WORDS)}.{chance.randint(1, 999)}@example.com"},
        "createdAt": {"S": f"{day}T08:{chance.randint(0, 59):02}:00Z"},
        "day": {"S": day},
        "year": {"N": str(chance.randint(2015, 2026))},
        "quantity": {"N": str(min(int(chance.expovariate(0.5)), 12))},
        "position": {"N": str(chance.randint(1, 10))},
        "customerRating": {"N": str(chance.randint(1, 5))},
        "orderStatus": {"N": str(chance.randint(1, 9))},
        "productCount": {"N": str(chance.randint(0, 40))},
        "percent": {"N": str(chance.randint(1, 100))},
        "age": {"N": str(chance.randint(18, 80))},
        "stars": {"N": str(chance.randint(1, 5))},
        "orders": {"N": str(min(int(chance.expovariate(0.4)), 15))},
        "pricePerCustomer": {"N": str(chance.randint(1, 40))},
        "ordersPerRegion": {"N": str(chance.randint(1, 30))},
        "minEmployee": {"N": str(chance.randint(1, 30))},
        "inv": {"N": str(chance.randint(1, 30))},
        "regional": {"N": str(chance.randint(1, 30))},
        "total": {"N": f"{chance.randint(100, 99_999) / 100:.2f}"},
        "checksum": {"S": f"{chance.getrandbits(128):032x}"},
        "trace": {"S": str(uuid.UUID(int=chance.getrandbits(128), version=4))},
        "sku": {"S": f"SKU-{chance.randint(1, 99_999):05}"},
        "note": {"S": " ".join(chance.choice(WORDS) for _ in range(30))},
        "active": {"BOOL": chance.random() < 0.5},
        "meta": {"S": json.dumps({"page": chance.randint(1, 20), "size": chance.choice([10, 25, 50])})},
    }


def _typed(style: str, text: str) -> dict:
    return {"N" if style in ("integer", "sparse") else "S": text}


def _ids(style: str, name: str, number: int, chance: random.Random) -> list[str]:
    if style == "uuid":
        return [str(uuid.UUID(int=chance.getrandbits(128), version=4)) for _ in range(number)]
    if style == "prefix":
        return [f"{name[:3].upper()}-{at:05}" for at in range(1, number + 1)]
    if style == "joined":
        return [f"{name[:3].upper()}#{at:05}" for at in range(1, number + 1)]
    if style == "path":
        return [f"eu/{name[:3].lower()}/{at:05}" for at in range(1, number + 1)]
    if style == "ulid":
        return ["01H" + "".join(chance.choices("0123456789ABCDEFGHJKMNPQRSTVWXYZ", k=23)) for _ in range(number)]
    if style == "sparse":
        return [str(one) for one in chance.sample(range(100_000, 1_000_000), number)]
    return [str(at) for at in range(1, number + 1)]
