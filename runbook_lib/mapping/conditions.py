"""Conditions: the words of `where` and `queries`, and what they mean, by DynamoDB's own rules. Pure.

A condition compares the value at a path through maps. What it says is a value, a list of values (any of them), or words:
``{begins_with: VISIT#}``, ``{exists: true}``, ``{ge: 5, lt: 10}``, ``{not: …}``. Types must match. Numbers compare by value,
text and binary by their bytes. An absent attribute meets no condition, so it meets every `not`.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal, localcontext
from itertools import pairwise
from typing import Any, NamedTuple

from ..values import canonical_number, equal, from_python, order
from ..yaml_files import bare, scalar, suggest
from .text import paths, templates

EQUAL, BEGINS_WITH, EXISTS, NOT, BETWEEN = "=", "begins_with", "exists", "not", "between"
ORDERED = {
    "lt": lambda mine, other: mine < other,
    "le": lambda mine, other: mine <= other,
    "gt": lambda mine, other: mine > other,
    "ge": lambda mine, other: mine >= other,
}
WORDS = (BEGINS_WITH, BETWEEN, EXISTS, *ORDERED, NOT)
KEY_WORDS = (EQUAL, BEGINS_WITH, BETWEEN, *ORDERED)  # those that a Query takes for its sort key
_INSTEAD = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "=": "the value alone", "eq": "the value alone", "ne": "not"}
_INSTEAD |= {"<>": "not", "!=": "not", "in": "a list", "or": "a list", "and": "both words in one {…}"}
_COMPARABLE = ("S", "N", "B")


class Comparison(NamedTuple):
    """One word and its operands."""

    word: str  # EQUAL: any of the values; NOT: negates all of `tests` together; EXISTS: has no operands; or another of WORDS
    values: tuple[dict, ...] = ()
    tests: tuple["Comparison", ...] = ()


class Condition(NamedTuple):
    """What is asked of the value at a path: all of the tests."""

    path: tuple[str, ...]  # names; each but the last is a map's
    tests: tuple[Comparison, ...]

    @property
    def words(self) -> set[str]:
        """The words of its tests."""
        return {test.word for test in self.tests}


def read(path: str, wanted: Any, letter: str | None = None) -> Condition:
    """The condition that a mapping states. Raises ValueError, what is wrong and what to write.

    `letter`: the type of a key attribute, as which plain values are then read: 2025 as text, "7" as a number.
    """
    return Condition(paths.members(path), _tests(wanted, letter))


def read_key(attribute: str, wanted: Any, letter: str | None = None) -> Condition:
    """The same for a key attribute of a query, whose name is no path. Raises ValueError for what no Query can ask of a key."""
    tests = _tests(wanted, letter)
    if len(tests) > 1 or tests[0].word not in KEY_WORDS or len(tests[0].values) != 1 + (tests[0].word == BETWEEN):
        words = ", ".join(word for word in KEY_WORDS if word != EQUAL)
        raise ValueError(f"a query asks one thing of a key; give a value, or one of {words}")
    return Condition((attribute,), tests)


def _tests(wanted: Any, letter: str | None) -> tuple[Comparison, ...]:
    if not isinstance(wanted, dict):
        if wanted == []:
            raise ValueError("is an empty list, which selects nothing; give a value")
        values = wanted if isinstance(wanted, list) else [wanted]
        if any(isinstance(value, dict) for value in values):
            raise ValueError("is a list that holds a map; give values alone, or words without [ ]: {begins_with: x}")
        return (Comparison(EQUAL, tuple(_typed(value, letter) for value in values)),)
    if not wanted:
        raise ValueError(f"compares with nothing; give a value, or one of {', '.join(WORDS)}")
    if not wanted.keys() & {*WORDS, *_INSTEAD} and all(operand is None for operand in wanted.values()):
        raise ValueError(bare(wanted))
    tests = tuple(_test(word, operand, letter) for word, operand in wanted.items())
    if letter != "B" and not any(map(_all(tests), _representatives(tests))):
        mend = " together; correct them, or give each an entry of its own" if len(wanted) > 1 else "; correct its value"
        raise ValueError(f"no value meets {' and '.join(wanted)}{mend}")
    return tests


def _test(word: str, operand: Any, letter: str | None) -> Comparison:
    if word == NOT:
        if operand == []:
            raise ValueError("`not: []` leaves nothing out; give a value or a list of values, or remove the condition")
        return Comparison(NOT, (), _tests(operand, letter))
    if word == EXISTS:
        if not isinstance(operand, bool):
            raise ValueError(f"exists: {operand!r} is neither true nor false; write one of them")
        return Comparison(EXISTS) if operand else Comparison(NOT, (), (Comparison(EXISTS),))
    if word == BETWEEN:
        if not isinstance(operand, list) or len(operand) != 2:
            raise ValueError("between needs two values; write [from, to]")
        low, high = values = tuple(_comparable(word, one, letter) for one in operand)
        if low.keys() != high.keys() or order(low) > order(high):
            raise ValueError("between needs two values of one type, the smaller one first; correct them")
        return Comparison(BETWEEN, values)
    if word in (BEGINS_WITH, *ORDERED):
        value = _comparable(word, operand, letter)
        if word == BEGINS_WITH and not next(iter(value.values())):
            raise ValueError("begins_with: every text begins with nothing; give a text, or write {exists: true}")
        return Comparison(word, (value,))
    if instead := _INSTEAD.get(word.casefold().strip("$ ")):
        raise ValueError(f"{word!r} is no word of a condition; write {instead}")
    raise ValueError(f"{word!r} is no word of a condition{suggest(word, list(WORDS)).rstrip('.')}")


def _comparable(word: str, operand: Any, letter: str | None) -> dict:
    value = None if isinstance(operand, list | dict) else _typed(operand, letter)
    if value is None or not value.keys() & {*_COMPARABLE} or (word == BEGINS_WITH and "N" in value):
        kinds = "text, in quotes" if word == BEGINS_WITH else "text or number"
        raise ValueError(f"{word} compares with one {kinds}; give that alone")
    return value


def _typed(value: Any, letter: str | None) -> dict:
    is_number = isinstance(value, int | Decimal) and not isinstance(value, bool)
    if letter == "S" and is_number:
        return {"S": str(value)}
    if letter in ("N", "B") and isinstance(value, str):
        return {"N": canonical_number(value)} if letter == "N" else {"B": value}
    value = templates.constant(value, _instead(value))
    try:
        return from_python(value)
    except ValueError as problem:
        raise ValueError(f"{problem}; write a value that DynamoDB can hold") from None


def _instead(value: Any) -> str:
    """What to write for a text with holes, which no condition fills in."""
    before, _, after = value.partition("{") if isinstance(value, str) else ("", "", "")
    if before:
        return f"write {{begins_with: {scalar(before)}}}"
    return "write {exists: true}" if after.endswith("}") and after.count("}") == 1 else "ask for another attribute"


def holds(conditions: tuple[Condition, ...]) -> Callable[[dict], bool]:
    """A function from an item to whether it meets all of the conditions."""
    met = [_on_item(condition) for condition in conditions]
    if not met:
        return lambda item: True
    return met[0] if len(met) == 1 else lambda item: all(one(item) for one in met)


def _on_item(condition: Condition) -> Callable[[dict], bool]:
    steps, meets = condition.path, _all(condition.tests)
    if len(steps) == 1:
        (name,) = steps
        return lambda item: meets(item.get(name))
    return lambda item: meets(paths.value_at(item, steps))


Meets = Callable[[dict | None], bool]


def _all(tests: tuple[Comparison, ...]) -> Meets:
    if len(tests) == 1:
        return _meets(tests[0])
    meets = [_meets(test) for test in tests]
    return lambda value: all(one(value) for one in meets)


def _meets(test: Comparison) -> Meets:
    if test.word == NOT:
        inner = _all(test.tests)
        return lambda value: not inner(value)
    if test.word == EXISTS:
        return lambda value: value is not None
    if test.word == EQUAL:
        return _is_any(test.values)
    (letter,) = test.values[0]
    if test.word == BEGINS_WITH and letter == "S":
        prefix = test.values[0]["S"]
        return lambda value: value is not None and "S" in value and value["S"].startswith(prefix)
    others = [order(value) for value in test.values]
    if test.word == BEGINS_WITH:
        return lambda value: value is not None and letter in value and order(value)[1].startswith(others[0][1])
    if test.word == BETWEEN:
        return lambda value: value is not None and letter in value and others[0] <= order(value) <= others[1]
    compare, (other,) = ORDERED[test.word], others
    return lambda value: value is not None and letter in value and compare(order(value), other)


def telling(condition: Condition) -> Iterator[tuple[dict | None, Meets]]:
    """What a condition says perhaps in vain: a value of a list, or None where it leaves something out by `not`; and which values
    tell that it does not. `{exists: true, not: null}` is never in vain.
    """
    operands = [value for value in _operands(condition.tests) if "NULL" not in value]
    if NOT in condition.words and (operands or _all(condition.tests)(None)):
        meets = _all(condition.tests)
        yield None, lambda value: not meets(value)
    for test in _flat(condition.tests):
        for value in test.values if test.word == EQUAL and len(test.values) > 1 else ():
            yield value, _is_any((value,))


def _flat(tests: tuple[Comparison, ...]) -> Iterator[Comparison]:
    for test in tests:
        yield test
        yield from _flat(test.tests)


def contradiction(conditions: Sequence[Condition]) -> tuple[int, int] | None:
    """The numbers of two conditions that no item meets: one wants a map of which the other says that it is none."""
    for inner, one in enumerate(conditions):
        for outer, other in enumerate(conditions):
            is_inside = len(other.path) < len(one.path) and one.path[: len(other.path)] == other.path
            maps = [{"M": {"": {}}}, *(value for value in _operands(other.tests) if "M" in value)]
            if is_inside and not _all(one.tests)(None) and not any(map(_all(other.tests), maps)):
                return inner, outer
    return None


def _representatives(tests: tuple[Comparison, ...]) -> list[dict | None]:
    """A value of each kind that tests can tell apart: if they hold for none of these, they hold for none at all."""
    known = [*_operands(tests)]
    texts = {""} | {value["S"] for value in known if "S" in value}
    numbers = sorted({Decimal(value["N"]) for value in known if "N" in value})
    with localcontext(prec=300):  # the exponents of two numbers differ by 255 at most
        between = [(one + other) / 2 for one, other in pairwise(numbers)]
        around = [numbers[0] - 1, numbers[-1] + 1] if numbers else []
    cuts = {cut for text in texts for cut in (text, f"{text}\0", _after(text))}
    plain = [{"S": text} for text in cuts] + [{"N": format(number, "f")} for number in (*between, *around)]
    return [None, *known, *plain, {"NULL": True}, {"BOOL": True}, {"BOOL": False}, {"SS": ["\0"]}]


def _operands(tests: tuple[Comparison, ...]) -> Iterator[dict]:
    for test in tests:
        yield from test.values
        yield from _operands(test.tests)


def _after(prefix: str) -> str:
    """The first text after all that begin so; "" after which there is none."""
    whole = prefix.rstrip(chr(sys.maxunicode))
    last = ord(whole[-1]) + 1 if whole else 0
    return whole and whole[:-1] + chr(0xE000 if last == 0xD800 else last)  # no text holds a half character


def _is_any(choices: tuple[dict, ...]) -> Meets:
    # Text, booleans and null have only one spelling.
    plain = [choice for choice in choices if not choice.keys() & {"N", "L", "M"}]
    others = [choice for choice in choices if choice.keys() & {"N", "L", "M"}]
    if not others:
        return lambda value: value in plain
    return lambda value: value in plain or (value is not None and any(equal(value, choice) for choice in others))


def misfit(key: Mapping[str, Any], names: Sequence[str], partition: int) -> str:
    """Why no Query asks for this by a key of these attributes, the first so many its partition key; "" where one does."""
    first, given = names[:partition], [name for name in names[partition:] if name in key]
    if key.keys() - {*names} or not key.keys() >= {*first}:
        least = "the partition key" if partition == 1 else " and ".join(first)
        return f"key must give {' and '.join(names)} ({least} at least)"
    for name in first:
        if isinstance(key[name], dict | list):
            return f"the partition key {name} needs one value; compare the sort key"
    for name, before in zip(given, names[partition:], strict=False):
        if name != before:
            return f"key gives {name} without {before}, which stands before it in the sort key; give both"
    for name in given[:-1]:
        if isinstance(key[name], dict):
            return f"{name} needs one value; of a sort key only the last attribute that is given is compared"
    return ""
