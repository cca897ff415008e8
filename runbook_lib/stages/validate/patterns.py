"""Proves an access pattern: run page by page, the query returns exactly the routed items that satisfy it."""

import time
from collections.abc import Container
from dataclasses import dataclass

from ...dynamo.items import Wire
from ...errors import DynamoError
from ...run.spill import HashLog
from ...values import key_hash, order
from .queries import RETRY_SECONDS, Pattern


@dataclass(frozen=True)
class PatternProof:
    """The result of running one access pattern."""

    entry: str
    name: str
    index: str | None
    expected: int
    returned: int
    pages: int
    foreign: int  # returned items that the chosen entries do not produce
    problem: str | None  # None: proved


PAGE_ITEMS = 100  # small pages, so that following LastEvaluatedKey is proved too


def prove(
    wire: Wire, pattern: Pattern, expected: HashLog, foreign: list[Container[bytes]], seconds: float = RETRY_SECONDS
) -> PatternProof:
    """The proof; repeated for up to `seconds` where an index may lag behind. Read-only.

    `foreign`: keys of items that the chosen entries do not produce; the query may return them too.
    """
    deadline = time.monotonic() + (seconds if pattern.index else 0)
    wait = 0.2
    while True:
        try:
            proof = _run(wire, pattern, expected, foreign)
        except DynamoError as problem:
            proof = PatternProof(
                pattern.entry, pattern.name, pattern.index, len(expected), 0, 0, 0, f"refused: {problem.code}"
            )
        if proof.problem is None or time.monotonic() > deadline:
            return proof
        time.sleep(wait)
        wait = min(wait * 2, 5.0)


def _run(wire: Wire, pattern: Pattern, expected: HashLog, foreign: list[Container[bytes]]) -> PatternProof:
    wanted = expected.frozen()
    returned = HashLog()
    pages = others = unexpected = 0
    ordered, last = True, None
    for items, _ in wire.query_pages({**pattern.request, "Limit": PAGE_ITEMS}):
        pages += 1
        for item in items:
            hashed = key_hash({name: item[name] for name in pattern.key_names})
            if hashed in wanted:
                returned.extend([hashed])
            elif any(hashed in keys for keys in foreign):
                others += 1
            else:
                unexpected += 1
            if pattern.sort_key:
                value = order(item[pattern.sort_key])
                ordered, last = ordered and (last is None or last <= value), value
    missing, twice = len(expected.missing_from(returned)), len(returned.duplicates())
    problem = None
    if missing:
        problem = f"{missing} items that satisfy it are not returned"
    elif unexpected:
        problem = f"{unexpected} items are returned unexpectedly"
    elif twice:
        problem = f"{twice} items are returned twice"
    elif not ordered:
        problem = f"the results are not in order of {pattern.sort_key}"
    return PatternProof(
        pattern.entry,
        pattern.name,
        pattern.index,
        len(expected),
        len(returned) + others + unexpected,
        pages,
        others,
        problem,
    )
