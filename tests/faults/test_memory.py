"""The engine in this process, which the state machine and others stand on, beside real ones: the same answers."""

import uuid

import pytest
from support_memory import URL, Memory, in_place
from support_wire import Keys
from support_worlds import plain_item

from runbook_lib.dynamo.items import Wire
from runbook_lib.errors import ConditionFailed, DynamoError

KEY = {"PK": "S", "SK": "N"}
ITEMS = [
    {"PK": {"S": part}, "SK": {"N": f"{number}"}, "v": {"N": "1.50"}, "w": {"L": [{"SS": ["b", "a"]}]}}
    for part in "abc"
    for number in range(4)
]


def key(item):
    """The key of an item."""
    return {name: item[name] for name in KEY}


def seen(items):
    """Items in one form and order; in place of one that is not there None."""
    return sorted(("" if item is None else repr(sorted(plain_item(item).items())) for item in items), key=str)


def told(ask):
    """What a call gives, or the code and the item with which it is refused."""
    try:
        found = ask()
    except ConditionFailed as refused:
        return "refused", plain_item(refused.item)
    except DynamoError as problem:
        return problem.code
    return plain_item(found) if isinstance(found, dict) else found


def pages(wire, table, **how):
    """All items of a scan, page by page; no page is longer than asked for."""
    items, start = [], None
    while True:
        found, start = wire.scan_page(table, start=start, limit=5, **how)
        assert len(found) <= 5
        items += found
        if start is None:
            return items


def answers(wire, table):
    """What an engine says to all that the data path asks of it, in turn."""
    first, second, *rest = ITEMS
    changed = first | {"v": {"N": "2"}}
    yield told(lambda: wire.put_new(table, first, "PK"))
    yield told(lambda: wire.put_new(table, changed, "PK"))
    yield told(lambda: wire.put_new(table, {"PK": {"S": "a"}}, "PK"))
    yield told(lambda: wire.put_new(table, {"PK": {"S": "a"}, "SK": {"S": "1"}}, "PK"))
    yield told(lambda: wire.get(table, key(first)))
    yield told(lambda: wire.get(table, key(second)))
    yield [told(lambda one=one: one) for one in wire.insert_many(table, [changed, second, *rest], tuple(KEY))]
    yield seen(wire.get_many(table, [key(second), key(first), key(second), {"PK": {"S": "z"}, "SK": {"N": "1"}}]))
    yield seen(pages(wire, table))
    yield seen(pages(wire, table, attributes=["PK", "w", "nothing"]))
    yield seen([item for segment in (0, 1) for item in pages(wire, table, segment=segment, segments=2)])
    yield told(lambda: wire.delete_if(table, key(first), [("PK", first["PK"]), ("v", {"N": "2"})]))
    yield told(lambda: wire.delete_if(table, key(first), [("nothing", {"S": "x"})]))
    yield told(lambda: wire.delete_if(table, key(first), [("PK", first["PK"]), ("v", {"N": "1.5"})]))
    yield told(lambda: wire.delete_if(table, key(first), [("PK", first["PK"])]))
    yield told(lambda: wire.delete_if(table, key(second), []))
    yield told(lambda: wire.get(f"{table}-that-is-not-there", key(first)))
    yield seen(pages(wire, table))


@pytest.mark.parametrize("batches", [False, True])
def test_it_answers_as_other_engines_do(engine, batches):
    """Inserts, reads, scans, conditional deletes and refusals; pages by their items, as the order is each engine's own."""
    table, memory = f"Answers-{uuid.uuid4().hex[:8]}", Memory(keys=3, batches=batches)
    engine.client().create_table(
        TableName=table,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": letter} for name, letter in KEY.items()],
        KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}, {"AttributeName": "SK", "KeyType": "RANGE"}],
    )
    real = list(answers(Wire(engine.endpoint_url, "us-west-1", Keys(), label="target", base_delay=0.001), table))
    memory.create(table, KEY)
    with in_place(memory):
        for number, (found, wanted) in enumerate(
            zip(answers(Wire(URL, "us-west-1", Keys(), label="target"), table), real, strict=True)
        ):
            assert found == wanted, number


def test_keys_that_differ_in_the_last_digit_are_two():
    """Of 38, where Python's own decimals keep 28."""
    memory = Memory()
    memory.create("t", {"id": "N"})
    for last in "12":
        memory.put("t", {"id": {"N": "9" * 37 + last}})
    assert len(memory.content("t")) == 2
