"""Hypothesis strategies for typed values as they stand on the wire."""

import base64
from decimal import Decimal

from hypothesis import strategies as st

DIGITS = 38
# Beside ordinary letters: what sorts differently in UTF-8 and UTF-16, quotes, escapes, and what looks like our syntax.
texts = st.text(
    st.sampled_from('aA0 "\\/{}[]#:,.-\n\té\u0000\u2028\uffff\U00010000😀') | st.characters(codec="utf-8"), max_size=8
)
names = st.sampled_from(["id", "S", "N", "SS", "M", "a.b", "tags", "\uffff", "\U00010000"]) | texts.filter(bool)
base64s = st.binary(max_size=6).map(lambda raw: base64.b64encode(raw).decode())


@st.composite
def decimals(draw) -> Decimal:
    """Every number that DynamoDB can store."""
    digits = draw(st.integers(0, 10 ** draw(st.integers(1, DIGITS)) - 1))
    top = draw(st.integers(-4, 4) | st.integers(-130, 125))  # exponent of the first digit
    return Decimal((draw(st.sampled_from((0, 1))), tuple(map(int, str(digits))), top + 1 - len(str(digits))))


def spellings(number: Decimal) -> st.SearchStrategy[str]:
    """Texts that all mean this number."""
    size, sign = number.copy_abs(), "-" if number.is_signed() else ""  # abs() would round
    plain = format(size, "f")
    padded = (plain if "." in plain else plain + ".0") + "00"
    forms = [sign + form for form in (plain, "0" + plain, padded, f"{size:E}", f"{size:e}".replace("+", ""))]
    return st.sampled_from([*forms, *(["-0", "0", "0.00", "0E+3"] if not number else [])])


numbers = decimals().flatmap(spellings)
scalars = st.one_of(
    texts.map(lambda text: {"S": text}),
    numbers.map(lambda number: {"N": number}),
    base64s.map(lambda blob: {"B": blob}),
)
_sets = st.one_of(
    st.lists(texts, min_size=1, max_size=4, unique=True).map(lambda members: {"SS": members}),
    st.lists(decimals(), min_size=1, max_size=4, unique=True).flatmap(
        lambda members: st.tuples(*map(spellings, members)).map(lambda spelled: {"NS": list(spelled)})
    ),
    st.lists(base64s, min_size=1, max_size=4, unique=True).map(lambda members: {"BS": members}),
)
_leaves = st.one_of(scalars, _sets, st.booleans().map(lambda b: {"BOOL": b}), st.just({"NULL": True}))
values = st.recursive(
    _leaves,
    lambda members: st.one_of(
        st.lists(members, max_size=4).map(lambda content: {"L": content}),
        st.dictionaries(names, members, max_size=4).map(lambda content: {"M": content}),
    ),
    max_leaves=10,
)
items = st.dictionaries(names, values, max_size=5)


def meaning(value: dict):
    """What a typed value means, for `==`: numbers by value, sets without order. Independent of runbook_lib."""
    ((letter, content),) = value.items()
    if letter == "N":
        return letter, Decimal(content)
    if letter == "NS":
        return letter, frozenset(map(Decimal, content))
    if letter in ("SS", "BS"):
        return letter, frozenset(content)
    if letter == "L":
        return letter, tuple(map(meaning, content))
    if letter == "M":
        return letter, frozenset((name, meaning(member)) for name, member in content.items())
    return letter, content


def respelled(value: dict) -> st.SearchStrategy[dict]:
    """The same value spelled in other ways: numbers, order of sets and of map keys."""
    ((letter, content),) = value.items()
    if letter == "N":
        return spellings(Decimal(content)).map(lambda text: {"N": text})
    if letter == "NS":
        spelled = st.permutations(content).flatmap(lambda order: st.tuples(*(spellings(Decimal(n)) for n in order)))
        return spelled.map(lambda members: {"NS": list(members)})
    if letter in ("SS", "BS"):
        return st.permutations(content).map(lambda members: {letter: list(members)})
    if letter == "L":
        return st.tuples(*map(respelled, content)).map(lambda members: {"L": list(members)})
    if letter == "M":
        return respelled_item(content).map(lambda members: {"M": members})
    return st.just(value)


def respelled_item(item: dict) -> st.SearchStrategy[dict]:
    """The same item spelled in other ways."""
    return st.permutations(list(item)).flatmap(
        lambda order: st.fixed_dictionaries({n: respelled(item[n]) for n in order})
    )
