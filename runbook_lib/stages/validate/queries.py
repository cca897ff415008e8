"""Access patterns: the mapping's queries as requests and as conditions on routed items, and the proof that both agree."""

import time
from collections.abc import Callable, Container
from dataclasses import dataclass

from ...dynamo.items import Wire
from ...dynamo.structure.description import Index, Table
from ...errors import DynamoError
from ...mapping import conditions
from ...mapping.conditions import Comparison, Condition
from ...mapping.create import ALL, KEYS_ONLY
from ...mapping.model import Entry
from ...run.spill import HashLog
from ...values import key_hash, order
from ...verdict import plural
from ...walk.plan import Plan
from ...yaml_files import suggest

RETRY_SECONDS = 60.0  # indexes are eventually consistent
INVALID = "ValidationException"  # passes where it is about an index that is still being filled

_EXPRESSIONS = {
    conditions.BEGINS_WITH: "begins_with({0}, {1})",
    conditions.BETWEEN: "{0} BETWEEN {1} AND {2}",
    conditions.EXISTS: "attribute_exists({0})",
    "lt": "{0} < {1}",
    "le": "{0} <= {1}",
    "gt": "{0} > {1}",
    "ge": "{0} >= {1}",
}


@dataclass(frozen=True)
class Pattern:
    """A compiled access pattern of one entry."""

    name: str
    entry: str
    table: str
    request: dict  # Query parameters
    matches: Callable[[dict], bool]  # target item -> whether the query must return it
    sort_key: list[str]  # the attributes whose order the results must have
    key_names: list[str]  # of the table
    index: str | None


def compile_patterns(plan: Plan, entry: Entry) -> list[Pattern]:
    """The entry's queries. Raises ValueError, a sentence, where one does not fit the target table."""
    table = plan.target_tables[entry.target]
    if table is None:
        return []
    patterns = []
    for name, query in entry.model.queries.items():
        if query.index is not None and query.index not in table.indexes:
            known = suggest(query.index, list(table.indexes)).rstrip(".")
            raise ValueError(f"{entry.name}.{name}: {entry.target} has no index {query.index}{known}")
        index = table.indexes[query.index] if query.index else None
        key = index.key if index else table.key
        letters = dict(key)
        if unknown := set(query.key) - letters.keys():
            raise ValueError(f"{entry.name}.{name}: {', '.join(sorted(unknown))} is not a key attribute there")
        partition = index.partition if index else 1
        if misfit := conditions.misfit(query.key, list(letters), partition):
            raise ValueError(f"{entry.name}.{name}: {misfit}")
        on_rest = [conditions.read(path, wanted) for path, wanted in query.filter.items()]
        if index and (unseen := _unseen({one.path[0] for one in on_rest}, table, index)):
            attributes = ", ".join(sorted(unseen))
            raise ValueError(
                f"{entry.name}.{name}: {query.index} does not project {attributes}, so a filter finds nothing"
            )
        try:
            on_key = [conditions.read_key(name, wanted, letters[name]) for name, wanted in query.key.items()]
        except ValueError as problem:
            raise ValueError(f"{entry.name}.{name}: a key value is {problem}") from None
        request: dict = {"TableName": entry.target, "ExpressionAttributeNames": {}, "ExpressionAttributeValues": {}}
        if query.index:
            request["IndexName"] = query.index
        else:
            request["ConsistentRead"] = True
        request["KeyConditionExpression"] = _expression(on_key, request)
        if on_rest:
            request["FilterExpression"] = _expression(on_rest, request)
        in_index = [attribute for attribute, _ in key]
        matches = _matcher(on_key + on_rest, in_index)
        names = [attribute for attribute, _ in table.key]
        patterns.append(
            Pattern(name, entry.name, entry.target, request, matches, in_index[partition:], names, query.index)
        )
    return patterns


def _unseen(names: set[str], table: Table, index: Index) -> set[str]:
    """Those of the attributes that an index does not hold."""
    if index.projection == ALL:
        return set()
    named = set() if index.projection == KEYS_ONLY else set(index.projection)
    return names - named - {name for name, _ in (*table.key, *index.key)}


def _matcher(asked: list[Condition], in_index: list[str]) -> Callable[[dict], bool]:
    holds = conditions.holds(tuple(asked))
    return lambda item: all(name in item for name in in_index) and holds(item)


def _expression(asked: list[Condition], request: dict) -> str:
    return " AND ".join(_said(one.tests, _place(one.path, request), request) for one in asked)


def _place(path: tuple[str, ...], request: dict) -> str:
    names, found = request["ExpressionAttributeNames"], []
    for name in path:
        placeholder = next((p for p, known in names.items() if known == name), f"#n{len(names)}")
        names[placeholder] = name
        found.append(placeholder)
    return ".".join(found)


def _said(tests: tuple[Comparison, ...], place: str, request: dict) -> str:
    return " AND ".join(_comparison(test, place, request) for test in tests)


def _comparison(test: Comparison, place: str, request: dict) -> str:
    if test.word == conditions.NOT:
        return f"(NOT ({_said(test.tests, place, request)}))"
    values, placeholders = request["ExpressionAttributeValues"], []
    for value in test.values:
        placeholders.append(f":v{len(values)}")
        values[placeholders[-1]] = value
    if test.word == conditions.EQUAL:
        equal = [f"{place} = {placeholder}" for placeholder in placeholders]
        return equal[0] if len(equal) == 1 else f"({' OR '.join(equal)})"
    return _EXPRESSIONS[test.word].format(place, *placeholders)


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

    @property
    def vacuous(self) -> bool:
        """Whether it expected nothing and got nothing, which proves next to nothing."""
        return self.problem is None and not self.expected and not self.returned


PAGE_ITEMS = 100  # small pages, so that following LastEvaluatedKey is proved too


def prove(
    wire: Wire, pattern: Pattern, expected: HashLog, foreign: list[Container[bytes]], seconds: float = RETRY_SECONDS
) -> PatternProof:
    """The proof; repeated for up to `seconds` where an index may lag behind. Read-only.

    `foreign`: keys of items that the chosen entries do not produce; the query may return them too. Raises DynamoError where
    the query is not allowed.
    """
    deadline = time.monotonic() + (seconds if pattern.index else 0)
    wait = 0.2
    while True:
        try:
            proof = _run(wire, pattern, expected, foreign)
        except DynamoError as problem:
            if problem.denied:
                raise
            proof = PatternProof(
                pattern.entry, pattern.name, pattern.index, len(expected), 0, 0, 0, f"refused: {problem.code}"
            )
            if problem.code != INVALID:
                return proof
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
                value = [order(item[name]) for name in pattern.sort_key]
                ordered, last = ordered and (last is None or last <= value), value
    missing, twice = len(expected.without(returned)), len(returned.duplicates())
    problem = None
    if missing:
        problem = f"not returned: {plural(missing, 'item')} that it should return"
    elif unexpected:
        problem = f"returned unexpectedly: {plural(unexpected, 'item')}"
    elif twice:
        problem = f"returned twice: {plural(twice, 'item')}"
    elif not ordered:
        problem = f"the results are not in order of {', '.join(pattern.sort_key)}"
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
