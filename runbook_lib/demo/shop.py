"""The demo's single table: a shop's customers, orders, order lines, products and carts. Pure, seeded.

No item says what it is; ids stand inside keys alone. Nothing is wrong with these items, so every stage ends with PASS. Some of
the carts have expired: the copy leaves them out.
"""

from datetime import timedelta

from .words import START, Item, Words, typed_item

COUNTS = {"products": 40, "customers": 60, "carts": 30}
ORDERS, LINES = 4, 3  # at most, of a customer and of an order
EXPIRED = 12  # carts whose time to live is over
DAY = 86_400  # seconds
TITLES = ("mug", "lamp", "chair", "shelf", "clock", "rug")


def shop_items(seed: int, now: int) -> list[Item]:
    """Wire items of the one table, as it is at `now` (seconds since 1970): only the carts depend on it."""
    products = [_product(number, seed) for number in range(COUNTS["products"])]
    ids = [product["PK"].removeprefix("PRODUCT#") for product in products]
    found = list(products)
    for number in range(COUNTS["customers"]):
        found += _customer(number, ids, seed, now)
    return [typed_item(item) for item in found]


def _id(words: Words, letter: str) -> str:
    return f"{letter}-{words.random.getrandbits(32):08x}"


def _product(number: int, seed: int) -> dict:
    words = Words(f"{seed}/shop/product/{number}")
    key = f"PRODUCT#{_id(words, 'p')}"
    return {
        "PK": key,
        "SK": key,
        "title": f" {words.one('adjective')} {TITLES[number % len(TITLES)]}",
        "price": words.decimal(5, 300),
        "stock": str(words.number(0, 90)),
        "tags": ", ".join(words.one("noun") for _ in range(words.number(1, 3))),
    }


def _customer(number: int, products: list[str], seed: int, now: int) -> list[dict]:
    words = Words(f"{seed}/shop/customer/{number}")
    key = f"CUSTOMER#{_id(words, 'c')}"
    wished = words.random.sample(products, words.number(1, 3))
    profile = {
        "PK": key,
        "SK": "PROFILE",
        "name": f"{words.first} {words.last}",
        "email": words.email(),
        "newsletter": words.pick(("yes", "no")),
        "addresses": {"home": {"street": words.house, "city": words.city, "zip": words.zip}},
        "wishlist": {product: words.time()[:10] for product in wished},
    }
    found = [profile]
    for _ in range(words.number(1, ORDERS)):
        found += _order(key, words, products)
    if number < COUNTS["carts"]:
        found.append(_cart(key, now + DAY * (number - EXPIRED) + DAY // 2, words, products))
    return found


def _order(customer: str, words: Words, products: list[str]) -> list[dict]:
    key, placed = _id(words, "o"), START + timedelta(seconds=words.number(0, 240 * DAY))
    day, bought = f"{placed:%Y-%m-%d}", words.random.sample(products, words.number(1, LINES))
    order = {
        "PK": customer,
        "SK": f"ORDER#{day}#{key}",
        "GSI1PK": f"ORDER#{key}",
        "GSI1SK": "ORDER",
        "status": words.pick(("open", "sent", "done")),
        "placedAt": int(placed.timestamp()),
        "updatedAt": words.time(),
        "products": ",".join(bought),
    }
    return [order, *(_line(key, day, number, product, words) for number, product in enumerate(bought, 1))]


def _line(order: str, day: str, number: int, product: str, words: Words) -> dict:
    return {
        "PK": f"ORDER#{order}",
        "SK": f"LINE#{number:03}#{product}",
        "GSI1PK": f"PRODUCT#{product}",
        "GSI1SK": f"ORDER#{day}#{order}",
        "quantity": words.number(1, 5),
        "price": words.decimal(5, 300),
    }


def _cart(customer: str, expires: int, words: Words, products: list[str]) -> dict:
    return {
        "PK": customer,
        "SK": f"CART#{expires - 7 * DAY}",
        "expiresAt": expires,
        "lines": [{"product": product, "quantity": 1} for product in words.random.sample(products, 2)],
    }
