"""Made-up single tables of the kinds that are published: seeded, without a type attribute, ids inside keys alone."""

import random
import uuid
from dataclasses import dataclass
from typing import Any

KEY = {"PK": "S", "SK": "S"}


@dataclass
class Single:
    """One table, and what a draft of it must say."""

    key: dict[str, str]
    items: list[dict]
    where: dict[str, dict[str, Any]]  # entry → the condition that selects its items
    ids: dict[str, Any]  # entry → its id, as a mapping says it
    references: dict[tuple[str, str], Any]  # (entry, path) → what it refers to
    indexes: dict[str, dict[str, str]]
    source_ids: list[str]  # none of which may be left in the target


def s(text: str) -> dict:
    """A typed text."""
    return {"S": text}


def n(number: int) -> dict:
    """A typed number."""
    return {"N": str(number)}


def _hex(chance: random.Random, number: int) -> list[str]:
    return [f"{chance.getrandbits(64):016x}" for _ in range(number)]


def begins(text: str) -> dict:
    """A condition."""
    return {"begins_with": text}


def shop() -> Single:
    """An online shop: addresses as items, order lines under their order, products and status in indexes."""
    chance = random.Random(1)
    customers, orders, products = _hex(chance, 12), _hex(chance, 30), _hex(chance, 9)
    items = []
    for one in customers:
        items.append(
            {"PK": s(f"CUSTOMER#{one}"), "SK": s(f"CUSTOMER#{one}"), "name": s("Ann"), "email": s("ann@example.com")}
        )
        items += [
            {"PK": s(f"CUSTOMER#{one}"), "SK": s(f"ADDRESS#{kind}"), "street": s("Main St")}
            for kind in ("home", "work", "other")[: chance.randint(1, 3)]
        ]
    for one in products:
        items.append(
            {"PK": s(f"PRODUCT#{one}"), "SK": s("METADATA"), "title": s("Lamp"), "price": n(chance.randint(1, 90))}
        )
    for at, one in enumerate(orders):
        day, owner = f"2025-0{1 + at % 9}-1{at % 10}", chance.choice(customers)
        items.append(
            {
                "PK": s(f"CUSTOMER#{owner}"),
                "SK": s(f"ORDER#{one}"),
                "GSI1PK": s(f"ORDER#{one}"),
                "GSI1SK": s(f"ORDER#{one}"),
                "GSI2PK": s(f"STATUS#{chance.choice(['OPEN', 'PAID', 'SENT'])}"),
                "GSI2SK": s(f"{day}T08:00:00Z#{one}"),
                "placed": s(day),
            }
        )
        items += [
            {"PK": s(f"ORDER#{one}"), "SK": s(f"ITEM#{line}"), "GSI1PK": s(f"ORDER#{one}"), "GSI1SK": s(f"PRODUCT#{product}"),
             "quantity": n(line), "product": s(product)}
            for line, product in enumerate(chance.sample(products, 3), 1)
        ]  # fmt: skip
    customer, order, product = "CUSTOMER#{customer}", "ORDER#{order}", "PRODUCT#{product}"
    return Single(
        KEY,
        items,
        {
            "customer": {"PK": begins("CUSTOMER#"), "SK": begins("CUSTOMER#")},
            "address": {"PK": begins("CUSTOMER#"), "SK": begins("ADDRESS#")},
            "order": {"PK": begins("CUSTOMER#"), "SK": begins("ORDER#")},
            "item": {"PK": begins("ORDER#"), "SK": begins("ITEM#")},
            "product": {"PK": begins("PRODUCT#"), "SK": "METADATA"},
        },
        {
            "customer": {"in": "SK", "as": "CUSTOMER#{id}"},
            "address": None,
            "order": {"in": "SK", "as": "ORDER#{id}"},
            "item": None,
            "product": {"in": "PK", "as": "PRODUCT#{id}"},
        },
        {
            ("customer", "PK"): customer,
            ("address", "PK"): customer,
            ("order", "PK"): customer,
            ("order", "GSI1PK"): order,
            ("order", "GSI1SK"): order,
            ("order", "GSI2SK"): "{*}#{order}",
            ("item", "PK"): order,
            ("item", "GSI1PK"): order,
            ("item", "GSI1SK"): product,
            ("item", "product"): "product",
        },
        {"GSI1": {"GSI1PK": "S", "GSI1SK": "S"}, "GSI2": {"GSI2PK": "S", "GSI2SK": "S"}},
        [*customers, *orders, *products],
    )


def game() -> Single:
    """Players and games by #METADATA#, a player's place in a game in both directions."""
    chance = random.Random(2)
    players, games = [f"player-{one}" for one in range(14)], [f"{chance.getrandbits(48):012x}" for _ in range(8)]
    items = [
        {"PK": s(f"USER#{one}"), "SK": s(f"#METADATA#{one}"), "address": s("Main St"), "birthday": s("2001-02-03")}
        for one in players
    ]
    items += [
        {
            "PK": s(f"GAME#{one}"),
            "SK": s(f"#METADATA#{one}"),
            "map": s("Dirty Desert"),
            "created": s("2025-04-01T08:00:00"),
            "creator": s(chance.choice(players)),
        }
        for one in games
    ]
    items += [
        {"PK": s(f"GAME#{one}"), "SK": s(f"USER#{player}"), "place": n(place), "score": n(chance.randint(1, 99))}
        for one in games
        for place, player in enumerate(chance.sample(players, 5))
    ]  # fmt: skip
    user, game_ = "USER#{user}", "GAME#{game}"
    return Single(
        KEY,
        items,
        {
            "user": {"PK": begins("USER#"), "SK": begins("#METADATA#")},
            "game": {"PK": begins("GAME#"), "SK": begins("#METADATA#")},
            "gameuser": {"PK": begins("GAME#"), "SK": begins("USER#")},
        },
        {"user": {"in": "SK", "as": "#METADATA#{id}"}, "game": {"in": "SK", "as": "#METADATA#{id}"}, "gameuser": None},
        {
            ("user", "PK"): user,
            ("game", "PK"): game_,
            ("game", "creator"): "user",
            ("gameuser", "PK"): game_,
            ("gameuser", "SK"): user,
        },
        {},
        [*players, *games],
    )


def saas() -> Single:
    """Organisations, members, documents by date; settings as one item; short bare ids in small letters."""
    chance = random.Random(3)
    orgs, users = [f"acme{'abcdefg'[at]}" for at in range(5)], [f"u{at}x" for at in range(16)]
    docs = [f"d{at:03}" for at in range(40)]
    items = [{"PK": s(f"org#{one}"), "SK": s(f"org#{one}"), "plan": s("free")} for one in orgs]
    items += [{"PK": s(f"org#{one}"), "SK": s("settings"), "theme": s("dark"), "locale": s("de")} for one in orgs]
    of = {one: chance.choice(orgs) for one in users}
    items += [
        {
            "PK": s(f"org#{of[one]}"),
            "SK": s(f"usr#{one}"),
            "GSI1PK": s(f"usr#{one}"),
            "GSI1SK": s(f"org#{of[one]}"),
            "mail": s("x"),
        }
        for one in users
    ]
    items += [
        {"PK": s(f"usr#{(owner := chance.choice(users))}"), "SK": s(f"2025-0{1 + at % 9}-{1 + at % 28:02}#doc#{one}"),
         "orgRef": s(f"org#{of[owner]}"), "title": s("t"), "parents": s(",".join(f"doc#{d}" for d in docs[max(0, at - 2) : at]))}
        for at, one in enumerate(docs)
    ]  # fmt: skip
    org, usr = "org#{org}", "usr#{usr}"
    return Single(
        KEY,
        items,
        {
            "org": {"PK": begins("org#"), "SK": begins("org#")},
            "settings": {"PK": begins("org#"), "SK": "settings"},
            "usr": {"PK": begins("org#"), "SK": begins("usr#")},
            "doc": {"PK": begins("usr#"), "SK": {"between": ["0", ":"]}},
        },
        {
            "org": {"in": "SK", "as": "org#{id}"},
            "settings": None,
            "usr": {"in": "SK", "as": "usr#{id}"},
            "doc": {"in": "SK", "as": "{*}#doc#{id}"},
        },
        {
            ("org", "PK"): org,
            ("settings", "PK"): org,
            ("usr", "PK"): org,
            ("usr", "GSI1PK"): usr,
            ("usr", "GSI1SK"): org,
            ("doc", "PK"): usr,
            ("doc", "orgRef"): org,
            ("doc", "parents:split(,)[]"): "doc#{doc}",
        },
        {"GSI1": {"GSI1PK": "S", "GSI1SK": "S"}},
        [f"{mark}#{one}" for mark, some in (("org", orgs), ("usr", users), ("doc", docs)) for one in some],
    )


def forum() -> Single:
    """Threads and posts under one prefix of the sort key, told apart by what they hold; users by name; likes of posts."""
    chance = random.Random(4)
    threads, posts = [f"T{one}" for one in _hex(chance, 8)], [f"P{one}" for one in _hex(chance, 40)]
    people = [f"{name}{at}" for at, name in enumerate(("ann", "bob", "cid", "dan", "eve", "fay"))]
    items = [{"PK": s(f"USER|{one}"), "SK": s("PROFILE"), "bio": s("hi")} for one in people]
    items += [
        {
            "PK": s("FORUM|general"),
            "SK": s(f"THREAD|{one}"),
            "subject": s("x"),
            "by": s(f"USER|{chance.choice(people)}"),
        }
        for one in threads
    ]
    for at, one in enumerate(posts):
        thread = threads[at % 8]
        items.append(
            {
                "PK": s("FORUM|general"),
                "SK": s(f"THREAD|{thread}|POST|{one}"),
                "body": s(f"see {posts[at - 1]}!"),
                "by": s(f"USER|{chance.choice(people)}"),
            }
        )
        items += [
            {"PK": s(f"POST|{one}"), "SK": s(f"LIKE|{who}"), "at": n(1_700_000_000 + at)}
            for who in chance.sample(people, 2)
        ]
    user = "USER|{user}"
    return Single(
        KEY,
        items,
        {
            "user": {"PK": begins("USER|"), "SK": "PROFILE"},
            "thread": {"PK": begins("FORUM|"), "SK": begins("THREAD|"), "body": {"exists": False}},
            "threadpost": {"PK": begins("FORUM|"), "SK": begins("THREAD|"), "body": {"exists": True}},
            "like": {"PK": begins("POST|"), "SK": begins("LIKE|")},
        },
        {
            "user": {"in": "PK", "as": "USER|{id}"},
            "thread": {"in": "SK", "as": "THREAD|{id}"},
            "threadpost": {"in": "SK", "as": "THREAD|{*}|POST|{id}"},
            "like": None,
        },
        {
            ("thread", "by"): user,
            ("threadpost", "SK"): "THREAD|{thread}|POST|{*}",
            ("threadpost", "body"): "see {threadpost}!",
            ("threadpost", "by"): user,
            ("like", "PK"): "POST|{threadpost}",
            ("like", "SK"): "LIKE|{user}",
        },
        {},
        [*threads, *posts, *(f"USER|{one}" for one in people)],
    )


def sensors() -> Single:
    """Devices and sites with numbers for ids, readings by moment, alarms by day."""
    chance = random.Random(5)
    devices, sites = range(101, 121), range(1, 6)
    items = [{"PK": s(f"SITE#{one}"), "SK": s(f"SITE#{one}"), "city": s("Bern")} for one in sites]
    items += [
        {"PK": s(f"DEVICE#{one}"), "SK": s("#INFO"), "GSI1PK": s(f"SITE#{(site := chance.choice(sites))}"),
         "GSI1SK": s(f"DEVICE#{one}"), "siteNo": n(site), "model": s("m1")}
        for one in devices
    ]  # fmt: skip
    items += [
        {"PK": s(f"DEVICE#{one}"), "SK": s(f"READING#{1_700_000_000 + 60 * at}"), "value": n(chance.randint(1, 99))}
        for one in devices
        for at in range(6)
    ]
    items += [
        {
            "PK": s(f"ALARM#2025-03-{1 + at:02}"),
            "SK": s(f"DEVICE#{chance.choice(devices)}#2025-03-{1 + at:02}T08:15:00Z"),
            "level": n(2),
        }
        for at in range(20)
    ]
    device, site_ = "DEVICE#{device}", "SITE#{site}"
    return Single(
        KEY,
        items,
        {
            "site": {"PK": begins("SITE#"), "SK": begins("SITE#")},
            "device": {"PK": begins("DEVICE#"), "SK": "#INFO"},
            "reading": {"PK": begins("DEVICE#"), "SK": begins("READING#")},
            "alarmdevice": {"PK": begins("ALARM#"), "SK": begins("DEVICE#")},
        },
        {
            "site": {"in": "SK", "as": "SITE#{id}"},
            "device": {"in": "PK", "as": "DEVICE#{id}"},
            "reading": None,
            "alarmdevice": None,
        },
        {
            ("site", "PK"): site_,
            ("device", "GSI1PK"): site_,
            ("device", "GSI1SK"): device,
            ("device", "siteNo"): "site",
            ("reading", "PK"): device,
            ("alarmdevice", "SK"): "DEVICE#{device}#{*}",
        },
        {"GSI1": {"GSI1PK": "S", "GSI1SK": "S"}},
        [*(f"DEVICE#{one}" for one in devices), *(f"SITE#{one}" for one in sites)],
    )


KINDS = {made.__name__: made for made in (shop, game, saas, forum, sensors)}


def order_ids(style: str, kind: str, number: int) -> list[str]:
    """Ids of one kind: `short` (o1, o2), `uuid`, or `number` (1, 2, of every kind alike)."""
    if style == "uuid":
        return [str(uuid.uuid5(uuid.NAMESPACE_OID, f"{kind}{at}")) for at in range(number)]
    return [f"{kind if style == 'short' else ''}{at}" for at in range(1, number + 1)]


def orders(
    style: str, line: str = "LINE#{no}#{product}", order: str = "ORDER#{day}#{order}", mirror: str = ""
) -> list[dict]:
    """30 customers, 60 orders under them, 120 lines under the orders, 8 products; short marks in the partition keys.

    `line` and `order` are their sort keys; `mirror` the sort key of a second item of each order, in a partition of its own.
    """
    chance = random.Random(style)
    customers, numbers, products, lines = (
        order_ids(style, kind, number) for kind, number in (("c", 30), ("o", 60), ("p", 8), ("l", 120))
    )
    items = [{"PK": s(f"C#{one}"), "SK": s("PROFILE"), "name": s("Ann")} for one in customers]
    items += [{"PK": s(f"P#{one}"), "SK": s(f"P#{one}"), "title": s("Lamp")} for one in products]
    for at, one in enumerate(numbers):
        sort = order.format(day=f"2025-0{1 + at % 9}-{10 + at % 18}", order=one)
        items.append({"PK": s(f"C#{chance.choice(customers)}"), "SK": s(sort), "status": s("open")})
        items += [{"PK": s(f"O#{one}"), "SK": s(mirror.format(order=one)), "status": s("open")}] if mirror else []
    for at, one in enumerate(lines):
        sort = line.format(no=f"{1 + at % 2:03}", product=products[at % 8], line=one)
        items.append({"PK": s(f"O#{numbers[at // 2]}"), "SK": s(sort), "quantity": n(1 + at % 4)})
    return items
