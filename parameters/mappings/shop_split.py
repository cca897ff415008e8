"""The function that `shop_split.yaml` names: it gets each product as plain values, last of all, and returns it."""


def tidy(product: dict) -> dict:
    """The same product with a tidy title and a word on its stock. Raises ValueError for one that nobody could sell."""
    if product["price"] <= 0:
        raise ValueError("a product without a price")
    product["title"] = product["title"].strip().capitalize()
    product["availability"] = "in stock" if product["stock"] else "sold out"
    return product
