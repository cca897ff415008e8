"""Batched inserts against a stub that keeps items, and against the engines: nothing lost, nothing overwritten."""

import itertools
import random
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import orjson
import pytest
import strategies
from botocore.credentials import ReadOnlyCredentials
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support_pace import overall
from support_wire import CANARY, HANG_UP, RESET, THROTTLED, Keys, Stub, error, make, operations, reply

from runbook_lib import failpoints
from runbook_lib.dynamo import batch_insert as batch
from runbook_lib.dynamo.batch_insert import MAX_BYTES, STATEMENT_BYTES, pack, statement_text
from runbook_lib.dynamo.errors import MaybeOurs
from runbook_lib.dynamo.items import Wire
from runbook_lib.dynamo.rate_limiter import RateLimiter
from runbook_lib.dynamo.requests import guarded
from runbook_lib.errors import Again, DynamoError, Interrupted, NotSent
from runbook_lib.values import digest

NAMES = ("id",)
STATEMENT = re.compile(r"""INSERT INTO "T" VALUE \{('(?:[^']|'')*': \?(?:, '(?:[^']|'')*': \?)*)\}""")
NAME = re.compile(r"'((?:[^']|'')*)': \?")


def row(number, **more):
    return {"id": {"S": f"{number}"}, "v": {"N": f"{number}"}} | more


def rows(count):
    return [row(number) for number in range(count)]


def inserted(statement):
    """The item of one statement."""
    names = [name.replace("''", "'") for name in NAME.findall(STATEMENT.fullmatch(statement["Statement"])[1])]
    return dict(zip(names, statement["Parameters"], strict=True))


class Table:
    """What a stub answers for a table with the key `id`: items are kept; `fault` may give a code for a statement."""

    def __init__(self, stub, *there):
        self.items = {orjson.dumps(item["id"]): item for item in there}
        self.lock = threading.Lock()
        self.fault = lambda item: None
        self.probes = self.overwritten = 0
        stub.script = [self]

    def __call__(self, body):
        with self.lock:
            if "Statements" in body:
                items = [inserted(statement) for statement in body["Statements"]]
                assert len({orjson.dumps(item.get("id")) for item in items}) == len(items) <= 25
                return reply({"Responses": [self.one(item) for item in items]})
            if "Item" in body:
                there = self.items.setdefault(orjson.dumps(body["Item"]["id"]), body["Item"])
                refused = error("ConditionalCheckFailedException", Item=there)
                return reply({}) if there is body["Item"] else refused
            keys = body["RequestItems"]["T"]["Keys"]
            found = [self.items[name] for key in keys if (name := orjson.dumps(key["id"])) in self.items]
            return reply({"Responses": {"T": found}, "UnprocessedKeys": {}})

    def one(self, item):
        if "id" not in item:
            self.probes += 1
            return {"Error": {"Code": "ValidationError", "Message": "Missing the key id in the item"}}
        if code := self.fault(item):
            return {"Error": {"Code": code, "Message": f"about {CANARY}, index table/T/index/GSI1"}}
        there = self.items.setdefault(orjson.dumps(item["id"]), item)
        return {"TableName": "T"} | ({} if there is item else {"Error": {"Code": "DuplicateItem", "Message": CANARY}})


class AtOnce:
    """Keeps requests waiting until `number` are under way, and then for a moment, for one too many to come in."""

    def __init__(self, answer, number):
        self.answer, self.number = answer, number
        self.lock, self.full = threading.Lock(), threading.Event()
        self.flying = self.most = 0

    def __call__(self, body):
        with self.lock:
            self.flying += 1
            self.most = max(self.most, self.flying)
            if self.flying == self.number:
                self.full.set()
        self.full.wait(60)
        time.sleep(0.01)
        with self.lock:
            self.flying -= 1
        return self.answer(body)


@pytest.fixture
def stub():
    server = Stub()
    yield server
    server.close()


@pytest.fixture
def wire(stub):
    return make(stub)


@pytest.fixture
def table(stub):
    return Table(stub)


def sizes(stub):
    """Of the batches that were sent, probes left out."""
    return [
        len(body["Statements"]) for _, body in stub.requests if "Statements" in body and len(body["Statements"]) > 1
    ]


# Statements


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (("id", "v"), "INSERT INTO \"T-1.x_y\" VALUE {'id': ?, 'v': ?}"),
        (("id", "a.b", "it's", "''"), "INSERT INTO \"T-1.x_y\" VALUE {'id': ?, 'a.b': ?, 'it''s': ?, '''''': ?}"),
        (
            ("VALUE", "insert", "select", '"'),
            "INSERT INTO \"T-1.x_y\" VALUE {'VALUE': ?, 'insert': ?, 'select': ?, '\"': ?}",
        ),
        (
            ("größe", "名前", "😀", "?", "{a}"),
            "INSERT INTO \"T-1.x_y\" VALUE {'größe': ?, '名前': ?, '😀': ?, '?': ?, '{a}': ?}",
        ),
    ],
)
def test_statement_text(names, text):
    """Values are parameters; names are quoted, with quotes in them doubled; the table is in double quotes."""
    assert statement_text("T-1.x_y", names) == text


@pytest.mark.parametrize("name", ["a\nb", "a\x00", "\u2028", "back\\slash", "\u200b"])
def test_names_that_no_literal_surely_holds_have_no_statement(name):
    """Such an item goes by itself, where names need no quoting."""
    assert statement_text("T", ("id", name)) is None


@given(st.lists(strategies.names, min_size=1, max_size=5, unique=True).map(tuple))
def test_the_names_of_a_statement_can_be_read_back(names):
    """Whatever the names, their quoting is unambiguous."""
    text = statement_text("T", names)
    if text is not None:
        assert tuple(name.replace("''", "'") for name in NAME.findall(STATEMENT.fullmatch(text)[1])) == names


def test_a_statement_has_its_limit():
    """Too many attributes, or too long names, for the 8,192 characters that DynamoDB reads."""
    names = tuple(f"attribute-{number}" for number in range(600))
    longest = next(count for count in range(600, 0, -1) if statement_text("T", names[:count]))
    assert STATEMENT_BYTES - 30 < len(statement_text("T", names[:longest])) <= STATEMENT_BYTES
    assert statement_text("T", ("é" * 4096,)) is None


def test_texts_are_kept_but_not_for_ever():
    """Items of one shape share their text; a table where each item has another shape does not fill the memory."""
    assert statement_text("T", ("a", "b")) is statement_text("T", ("a", "b"))
    for number in range(2 * batch.TEXTS):
        statement_text("T", (f"n{number}",))
    assert statement_text.cache_info().currsize == batch.TEXTS


def test_batches_are_split_by_number_and_by_bytes():
    """25 statements, or 4 MB, whichever comes first; an item is in one batch."""
    items = [row(number, x={"S": "x" * 390_000}) if number % 3 else row(number) for number in range(120)]
    items.append(row(120) | {"a\nb": {"S": "x"}})
    batches, singles = pack("T", items, list(range(121)), [len(orjson.dumps(item)) for item in items])
    assert singles == [120]
    assert sorted(index for one in batches for index, _ in one) == list(range(120))
    for one in batches:
        assert len(one) <= 25
        assert len(orjson.dumps([fragment for _, fragment in one])) <= MAX_BYTES + 100
    assert max(len(one) for one in batches) < 25


# insert_many


def test_insert_many_inserts_in_batches(stub, wire, table):
    """110 items are five requests beside the probe; all are stored as given."""
    items = rows(110)
    assert wire.insert_many("T", items, NAMES) == [None] * 110
    assert sorted(sizes(stub)) == [10, 25, 25, 25, 25]
    assert list(operations(stub)) == ["BatchExecuteStatement"] * 6
    assert sorted(table.items.values(), key=digest) == sorted(items, key=digest)


def test_insert_many_of_nothing_asks_nothing(stub, wire):
    """No items, no request."""
    assert wire.insert_many("T", [], NAMES) == []
    assert stub.requests == []


def test_one_item_goes_by_itself(stub, wire, table):
    """A PutItem brings the item that is there with its refusal; a batch of one gains nothing."""
    assert wire.insert_many("T", [row(1)], NAMES) == [None]
    assert operations(stub) == ["PutItem"]


def test_neighbours_are_not_sent_together(stub, wire, table):
    """Items next to each other may be in one partition; they are spread over the requests."""
    wire.insert_many("T", rows(100), NAMES)
    for _, body in stub.requests[1:]:
        numbers = sorted(int(inserted(statement)["id"]["S"]) for statement in body["Statements"])
        assert numbers[-1] - numbers[0] > 50
        assert all(after - before > 1 for before, after in itertools.pairwise(numbers))


def test_batches_go_out_at_once_but_no_more_than_workers(stub, table):
    """Several requests are under way, at most as many as there are workers; results come in the order of the items."""
    slow = AtOnce(table, 3)
    stub.script = [lambda body: slow(body) if len(body.get("Statements", ())) > 1 else table(body)]
    table.items = {orjson.dumps(item["id"]): item for item in (row(7, x={"S": "there"}), row(200, x={"S": "there"}))}
    found = make(stub, workers=3).insert_many("T", rows(300), NAMES)
    assert slow.most == 3
    assert [index for index, item in enumerate(found) if item] == [7, 200]
    assert [found[7], found[200]] == [row(7, x={"S": "there"}), row(200, x={"S": "there"})]


class Counting(ThreadPoolExecutor):
    """A pool that counts what it was given."""

    given = 0

    def submit(self, *work):
        self.given += 1
        return super().submit(*work)


def test_a_busy_processor_gets_fewer_requests_at_a_time_and_an_idle_one_more(stub, table, monkeypatch):
    """Threads that wait for the processor only hinder each other; threads that wait for the network do not."""
    wire, number = make(stub, workers=8), 0
    with Counting(8) as pool:
        wire._batches._pool = pool
        # The share of time that the processor was busy, and the threads beside the caller's own.
        for busy, threads in [(1, 8), (1, 4), (1, 2), (1, 0), (0.6, 0), (0.2, 0), (0.2, 2), (0.6, 4), (0.6, 4)]:
            clock = SimpleNamespace(perf_counter=itertools.count().__next__)
            clock.process_time = itertools.count(0, busy).__next__
            monkeypatch.setattr(batch, "time", clock)
            pool.given, number = 0, number + 1
            assert wire.insert_many("T", [row(1000 * number + n) for n in range(300)], NAMES) == [None] * 300
            assert pool.given == threads
    assert len(table.items) == 9 * 300


@pytest.mark.parametrize("workers", [1, 8])
def test_what_is_there_is_given_back_and_stays(stub, workers):
    """Refused keys are read by consistent batches; what was there is what is there."""
    there = [row(number, x={"S": "mine"}) for number in range(0, 300, 2)]
    table = Table(stub, *there)
    found = make(stub, workers=workers).insert_many("T", rows(300), NAMES)
    assert found == [None if number % 2 else there[number // 2] for number in range(300)]
    assert [item for item in table.items.values() if "x" in item] == there
    reads = [body["RequestItems"]["T"] for operation, body in stub.requests if operation == "BatchGetItem"]
    assert sorted(len(read["Keys"]) for read in reads) == [50, 100]
    assert all(read["ConsistentRead"] for read in reads)


def test_equal_keys_are_never_in_one_batch(stub, wire, table):
    """The first in the given order is inserted, numbers compared by value; the others are told what is there."""
    items = [
        {"id": {"N": text}, "v": {"N": str(number)}} for number, text in enumerate(["1", "2", "1.0", "10e-1", "3"])
    ]
    table.items = {}
    found = wire.insert_many("T", items, NAMES)
    assert found[:2] == [None, None]
    assert found[4] is None
    assert sizes(stub) == [3]
    assert operations(stub)[-2:] == ["PutItem", "PutItem"]  # an engine knows them to be one key; the stub does not


def test_items_no_statement_can_carry_go_by_themselves(stub, wire, table):
    """Names with control characters, and more attributes than a statement can name."""
    wide = row(3) | {f"attribute-{number}": {"NULL": True} for number in range(1000)}
    items = [row(1), row(2) | {"a\nb": {"S": "x"}}, wide, row(4)]
    assert wire.insert_many("T", items, NAMES) == [None] * 4
    assert sizes(stub) == [2]
    assert operations(stub).count("PutItem") == 2
    assert sorted(table.items.values(), key=digest) == sorted(items, key=digest)


def test_an_item_without_its_key_is_the_engines_to_refuse(stub, wire):
    """It is sent by itself, so that the refusal is its own."""
    stub.script = [error("ValidationException", message="Missing the key id in the item")]
    (found,) = wire.insert_many("T", [{"v": {"S": "x"}}], NAMES)
    assert (found.code, found.message) == ("ValidationException", "Missing the key id in the item")


def test_the_source_is_never_asked_or_written(stub):
    """A wire that is read only refuses before anything is sent."""
    wire = make(stub, read_only=True)
    with pytest.raises(AssertionError):
        wire.insert_many("T", rows(30), NAMES)
    with pytest.raises(AssertionError):
        wire.why_single("T", NAMES)
    assert stub.requests == []


# The codes of single statements


@pytest.mark.parametrize("code", ["DuplicateItem", "ConditionalCheckFailed"])
def test_a_key_that_is_there_is_read(stub, code):
    """Both codes say the same; the refusal brings no item."""
    table = Table(stub, row(3, x={"S": "there"}))
    table.fault = lambda item: code if item["id"]["S"] == "3" else None
    found = make(stub).insert_many("T", rows(5), NAMES)
    assert found == [None, None, None, row(3, x={"S": "there"}), None]


def test_an_item_that_has_vanished_when_looked_at_is_put(stub, wire, table):
    """Refused as a duplicate, but nothing is there any more: inserted by a conditional put."""
    table.fault = lambda item: "DuplicateItem" if item["id"]["S"] == "3" else None
    assert wire.insert_many("T", rows(5), NAMES) == [None] * 5
    assert operations(stub)[-2:] == ["BatchGetItem", "PutItem"]
    assert len(table.items) == 5


def test_where_reading_is_not_allowed_a_put_tells(stub):
    """Without BatchGetItem the refused PutItem brings what is there."""
    table = Table(stub, row(3, x={"S": "there"}))
    stub.script = [lambda body: error("AccessDeniedException") if "RequestItems" in body else table(body)]
    found = make(stub).insert_many("T", rows(5), NAMES)
    assert found == [None, None, None, row(3, x={"S": "there"}), None]


PASSING = [
    "ThrottlingError",
    "ProvisionedThroughputExceeded",
    "RequestLimitExceeded",
    "InternalServerError",
    "TransactionConflict",
]


@pytest.mark.parametrize("code", PASSING)
@pytest.mark.parametrize("often", [1, 3])
def test_a_statement_refused_for_a_passing_fault_is_tried_again_alone(stub, table, code, often):
    """Only that statement is sent again; the pace is told, with the share that was refused and what of it is slow."""
    refused, seen = [], []

    def fault(item):
        if item["id"]["S"] in "34" and len(refused) < 2 * often:
            return refused.append(1) or code
        return None

    table.fault = fault
    limiter = RateLimiter()
    limiter.refused = lambda lane, reason, share: seen.append((lane, reason, share))
    wire = make(stub, limiter=limiter)
    assert wire.insert_many("T", rows(25), NAMES) == [None] * 25
    assert len(table.items) == 25
    again = [body["Statements"] for _, body in stub.requests[2:] if "Statements" in body]
    assert {inserted(one)["id"]["S"] for one in itertools.chain(*again)} == {"3", "4"}
    assert seen[0][0] == "target T"
    assert code in seen[0][1]
    assert seen[0][2] == 2 / 25
    if code in PASSING[:2]:
        assert "(table/T/index/GSI1)" in seen[0][1]
    assert CANARY not in str(seen) + str(wire.retries)
    assert wire.retries.total() == min(often, 2)  # refused as a whole the second time, they go one by one


def test_a_batch_that_is_refused_for_the_most_part_is_no_progress(stub, table):
    """What was refused goes one by one then, so that a table with little capacity is not sent 25 at a time."""
    table.fault = lambda item: None if int(item["id"]["S"]) < 10 else "ThrottlingError"
    limiter = RateLimiter()
    wire = make(stub, limiter=limiter)
    assert wire.insert_many("T", rows(25), NAMES) == [None] * 25
    assert operations(stub) == ["BatchExecuteStatement"] * 2 + ["PutItem"] * 15
    assert limiter.accepts("target T") == 15  # the puts


def test_throttling_in_part_is_told_as_that_part(stub, table):
    """A tenth of each batch refused: to the pace that is a tenth of the requests, not all of them."""
    limiter, shares = RateLimiter(), []
    limiter.accepted = lambda lane: shares.append(0.0)
    limiter.refused = lambda lane, reason, share: shares.append(share)
    dice = itertools.count()
    table.fault = lambda item: "ThrottlingError" if next(dice) % 10 == 9 else None
    assert make(stub, limiter=limiter).insert_many("T", rows(1000), NAMES) == [None] * 1000
    assert 0.04 < sum(shares) / len(shares) < 0.3


def test_throttled_for_good_interrupts(stub, table):
    """Bounded, and loud, with table and reason; what was not started by then has not left."""
    table.fault = lambda item: "ThrottlingError"
    stub.script = [lambda body: THROTTLED if "Item" in body else table(body)]
    unsent = []
    with pytest.raises(Interrupted, match="PutItem on T: gave up after 3 attempts") as raised:
        make(stub, attempts=3, workers=2).insert_many("T", rows(200), NAMES, unsent)
    assert CANARY not in str(raised.value)
    sent = {inserted(one).get("id", {}).get("S") for _, body in stub.requests for one in body.get("Statements", ())}
    assert unsent
    assert {str(number) for number in range(200)} - sent == {str(number) for number in unsent}


def test_a_statement_refused_for_good_is_that_items_error(stub, wire, table):
    """The code is that of a single request, at once and without a value; the others are inserted."""
    table.fault = lambda item: "ItemCollectionSizeLimitExceeded" if item["id"]["S"] == "3" else None
    found = wire.insert_many("T", rows(5), NAMES)
    assert found[:3] + found[4:] == [None] * 4
    assert isinstance(found[3], DynamoError)
    assert found[3].code == "ItemCollectionSizeLimitExceededException"
    assert (found[3].table, found[3].operation) == ("T", "BatchExecuteStatement")
    assert CANARY not in str(found[3]) + found[3].message
    assert sizes(stub) == [5]
    assert wire.retries.total() == 0


def test_statements_that_do_not_find_the_table_say_nothing_of_batches(stub, wire, table):
    """A new table is not known everywhere at once: the items go singly, later ones in batches again."""
    left = [1] * 25
    table.fault = lambda item: "ResourceNotFound" if left and left.pop() else None
    assert wire.insert_many("T", rows(25), NAMES) == [None] * 25
    assert wire.insert_many("T", [row(number) for number in range(100, 125)], NAMES) == [None] * 25
    assert sizes(stub) == [25, 25]
    assert len(table.items) == 50


@pytest.mark.parametrize("code", ["ValidationError", "AccessDenied", "SomethingNew", "", None, "x\n" + CANARY])
@pytest.mark.parametrize("at_fault", ["item", "statement"])
def test_any_other_refusal_is_put_to_a_single_request(stub, wire, table, code, at_fault):
    """Whether the item cannot be written, or only not so, its PutItem tells."""
    plain = table.one

    def one(item):
        refused = {"Error": {"Code": code, "Message": CANARY}}
        return refused if item.get("id") == {"S": "3"} else plain(item)

    table.one = one
    no = error("ValidationException", message=f"Number overflow {CANARY}")
    stub.script = [lambda body: no if "Item" in body and at_fault == "item" else table(body)]
    found = wire.insert_many("T", rows(5), NAMES)
    assert operations(stub) == ["BatchExecuteStatement"] * 2 + ["PutItem"]
    assert found[:3] + found[4:] == [None] * 4
    if at_fault == "statement":
        assert found[3] is None
    else:
        assert (found[3].code, found[3].message) == ("ValidationException", "Number overflow")


def test_an_engine_that_refuses_every_statement_gets_no_more_batches(stub, wire, table):
    """It answers the probe as DynamoDB does, but takes no parameters at all: single puts, after one batch of each."""
    table.fault = lambda item: "ValidationError"
    for part in (rows(25), [row(number) for number in range(100, 150)]):
        assert wire.insert_many("T", part, NAMES) == [None] * len(part)
    assert len(table.items) == 75
    assert sizes(stub) == [25]


# Requests and replies as a whole


def test_after_a_lost_reply_the_items_are_ones_own(stub, wire, table):
    """The batch has landed, its reply has not: the retry finds the keys there, and the caller gets its items to compare."""
    lost = []

    def losing(body):
        answer = table(body)
        if "Statements" in body and len(body["Statements"]) > 1 and not lost:
            return lost.append(1) or HANG_UP
        return answer

    stub.script = [losing]
    found = wire.insert_many("T", rows(20), NAMES)
    assert found == rows(20)
    assert all(isinstance(one, MaybeOurs) for one in found)
    assert len(table.items) == 20


UNUSABLE = reply({"Responses": []})


@pytest.mark.parametrize(
    ("first", "maybe"),
    [
        ([], False),
        ([THROTTLED], False),  # it was not carried out, and says so
        ([error("ExpiredTokenException")], False),
        ([RESET], True),  # it may have arrived, or not
        ([error("InternalServerError", 500)], True),
        ([reply({}, raw=b"<html>")], True),
        ([reply({}, 502, raw=b"<html>")], True),
        ([UNUSABLE], True),
        ([reply({}, length=500) + b"\0close"], True),
    ],
    ids=["answered", "throttled", "expired", "reset", "500", "garbage", "502", "unusable", "cut"],
)
@pytest.mark.parametrize("way", ["batch", "put"])
def test_an_equal_item_is_ones_own_only_where_an_attempt_was_not_answered(stub, table, way, first, maybe):
    """Somebody else writes the same items: refused at the first attempt they are his, whatever else they are equal to."""
    wire = make(stub, Keys(ReadOnlyCredentials("NEW", "secret", "token-1")))
    for item in rows(5):
        table.items[orjson.dumps(item["id"])] = item
    if way == "batch":
        stub.script = [table, *first, table]
        found = wire.insert_many("T", rows(5), NAMES)
    else:
        # To PutItem every reply of status 200 says that it inserted, so it has no unusable one.
        stub.script = [*(RESET if one is UNUSABLE else one for one in first), table]
        found = [wire.put_new("T", row(1), "id")]
    assert found == (rows(5) if way == "batch" else [row(1)])
    assert [isinstance(one, MaybeOurs) for one in found] == [maybe] * len(found)


def test_only_the_statements_that_were_not_answered_may_be_ones_own(stub, wire, table):
    """DynamoDB's own failure of one statement says nothing of what became of it; its neighbours were refused."""
    codes = {"2": "InternalServerError", "3": "ThrottlingError"}
    table.fault = lambda item: codes.pop(item["id"]["S"], None)
    for item in rows(5):
        table.items[orjson.dumps(item["id"])] = item
    found = wire.insert_many("T", rows(5), NAMES)
    assert found == rows(5)
    assert [isinstance(one, MaybeOurs) for one in found] == [False, False, True, False, False]


@pytest.mark.parametrize("landed", [True, False])
@pytest.mark.parametrize("way", ["batch", "put"])
def test_what_is_refused_for_good_after_an_attempt_without_an_answer_is_looked_up(stub, wire, table, way, landed):
    """The first attempt landed and its reply was lost; then the right to write is withdrawn: the item is ones own."""
    denied = error("AccessDeniedException")
    lost = []

    def failing(body):
        if "RequestItems" in body or "runbook" in str(body):
            return table(body)
        if lost:
            return denied
        lost.append(1)
        if landed:
            table(body)
        return HANG_UP

    stub.script = [failing]
    items = rows(5) if way == "batch" else [row(1)]
    found = wire.insert_many("T", items, NAMES)
    assert [isinstance(one, MaybeOurs if landed else DynamoError) for one in found] == [True] * len(items)
    assert found == items if landed else len(table.items) == 0


def test_nothing_left_where_there_was_no_connection():
    """What is there then is somebody else's: no request can have arrived."""
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        nowhere = SimpleNamespace(url=f"http://127.0.0.1:{nobody.getsockname()[1]}")
    with pytest.raises(Again) as refused:
        make(nowhere)._transport.post(Keys().frozen(), "PutItem", b"{}")
    assert not refused.value.may_have_landed


def test_a_batch_lost_before_it_arrived_is_sent_again(stub, wire, table):
    """Nothing has landed: the retry inserts."""
    answers = iter([table, RESET])
    stub.script = [lambda body: answer(body) if callable(answer := next(answers, table)) else answer]
    assert wire.insert_many("T", rows(20), NAMES) == [None] * 20
    assert dict(wire.retries) == {"the connection broke": 1}


@pytest.mark.parametrize("fault", ["error", "lost-reply", "lost-request"])
def test_failpoints_reach_batches(stub, wire, table, fault):
    """The harness of the faults can fail them like any request."""
    point = "wire.BatchExecuteStatement.before=error@2" if fault == "lost-request" else f"wire.BatchE*.after={fault}@2"
    failpoints.arm(point)
    try:
        found = wire.insert_many("T", rows(20), NAMES)
    finally:
        failpoints.disarm()
    assert found == ([None] * 20 if fault == "lost-request" else rows(20))
    assert len(table.items) == 20


@pytest.mark.parametrize("damage", ["short", "long", "none", "text", "odd", "nameless", "other-table"])
def test_a_reply_that_does_not_answer_every_statement_is_no_success(stub, wire, table, damage):
    """Whatever it says, the keys are read: what is there is given back, what is not is put."""
    missing = {orjson.dumps(row(number)["id"]) for number in (3, 4)}

    def damaged(body):
        answer = table(body)
        if len(body.get("Statements", ())) < 2:
            return answer
        for key in missing:  # two have not landed
            table.items.pop(key)
        good = [{"TableName": "T"}] * len(body["Statements"])
        content = {
            "short": {"Responses": good[1:]},
            "long": {"Responses": [*good, good[0]]},
            "none": {},
            "text": {"Responses": "x" * len(good)},
            "odd": {"Responses": [None] * len(good)},
            "nameless": {"Responses": [{}] * len(good)},
            "other-table": {"Responses": [{"TableName": "U"}] * len(good)},
        }
        return reply(content[damage])

    stub.script = [damaged]
    found = wire.insert_many("T", rows(20), NAMES)
    assert found == [None if number in (3, 4) else row(number) for number in range(20)]
    assert sorted(table.items.values(), key=digest) == sorted(rows(20), key=digest)


@pytest.mark.parametrize(
    "code", ["ValidationException", "UnknownOperationException", "InvalidAction", "AccessDeniedException"]
)
def test_a_batch_refused_as_a_whole_goes_one_by_one(stub, wire, table, code):
    """Which item is at fault, only single requests tell. Where it is the operation, no more batches are sent."""
    stub.script = [lambda body: error(code) if len(body.get("Statements", ())) > 1 else table(body)]
    for part in (rows(25), [row(number) for number in range(100, 125)]):
        assert wire.insert_many("T", part, NAMES) == [None] * 25
    assert len(table.items) == 50
    lacks = code in ("UnknownOperationException", "InvalidAction")
    assert len(sizes(stub)) == (1 if lacks else 2)
    assert bool(wire.singly) == lacks


def test_nothing_is_lost_or_doubled_under_any_fault(stub):
    """Of 1,000 items, by 4 threads: requests and replies lost, statements throttled, items of others in between."""
    others = [row(number, x={"S": "of others"}) for number in range(0, 1000, 7)]
    table = Table(stub, *others)
    dice = random.Random(11)
    table.fault = lambda item: dice.choice(PASSING) if dice.random() < 0.2 else None

    def faulty(body):
        fate = dice.random()
        if fate < 0.1:
            return RESET
        if fate < 0.15:
            return THROTTLED
        answer = table(body)
        return HANG_UP if fate < 0.25 else answer

    stub.script = [faulty]
    wire = make(stub, attempts=30)
    parts = [[row(number) for number in range(first, 1000, 4)] for first in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda part: wire.insert_many("T", part, NAMES), parts))
    for part, outcomes in zip(parts, found, strict=True):
        for item, outcome in zip(part, outcomes, strict=True):
            mine = int(item["id"]["S"]) % 7 != 0
            assert outcome in ([None, item] if mine else [row(int(item["id"]["S"]), x={"S": "of others"})])
    assert len(table.items) == 1000
    assert [item for item in table.items.values() if "x" in item] == others


# Guards


def test_a_guard_holds_all_back(stub, wire, table):
    """No copy of anything has left; the numbers say so."""
    unsent = []

    def no():
        raise Interrupted("the lock is lost.")

    with guarded(no), pytest.raises(NotSent, match="the lock is lost"):
        wire.insert_many("T", rows(60), NAMES, unsent)
    assert sorted(unsent) == list(range(60))
    assert table.items == {}


@pytest.mark.parametrize("workers", [1, 4])
def test_a_guard_that_fails_on_the_way_tells_what_has_not_left(stub, table, workers):
    """Batches sent before are sent; of the others nothing is."""
    unsent, passed = [], itertools.count()

    def two():
        if next(passed) >= 2:
            raise Interrupted("the lock is lost.")

    with guarded(two), pytest.raises(NotSent):
        make(stub, workers=workers).insert_many("T", rows(200), NAMES, unsent)
    assert len(table.items) == 50
    assert sorted(unsent) == [number for number in range(200) if orjson.dumps(row(number)["id"]) not in table.items]


@pytest.mark.parametrize("refused", [3, 20], ids=["batch-again", "one-by-one"])
def test_what_a_guard_holds_back_after_an_attempt_is_not_unsent(stub, table, refused):
    """A copy of it has left, so what became of it has to be looked at."""
    unsent, passed = [], itertools.count()
    table.fault = lambda item: "InternalServerError" if int(item["id"]["S"]) < refused else None

    def once():
        if next(passed):
            raise Interrupted("the lock is lost.")

    with guarded(once), pytest.raises(Interrupted) as raised:
        make(stub).insert_many("T", rows(20), NAMES, unsent)
    assert not isinstance(raised.value, NotSent)
    assert unsent == []


def test_ctrl_c_waits_for_what_is_under_way_and_sends_no_more(stub, table, monkeypatch):
    """When the caller goes on, to close its journal, no request of this call is under way or will be."""
    real, waits, under_way, go_on = batch.wait, [], threading.Event(), threading.Event()

    def interrupted(futures):
        waits.append(1)
        if len(waits) == 1:
            assert under_way.wait(60)
            raise KeyboardInterrupt
        go_on.set()
        return real(futures)

    def answer(body):
        if len(stub.requests) > 5:  # the others come when it has stopped
            under_way.set()
            go_on.wait(60)
        return table(body)

    monkeypatch.setattr(batch, "wait", interrupted)
    stub.script = [answer]
    unsent = []
    with pytest.raises(KeyboardInterrupt):
        make(stub, workers=2).insert_many("T", rows(1000), NAMES, unsent)
    sent, landed = len(stub.requests), len(table.items)
    go_on.set()
    time.sleep(0.1)
    assert len(stub.requests) == sent < 41
    assert len(table.items) == landed == 1000 - len(unsent)


def test_where_no_more_threads_are_to_be_had_nothing_is_under_way_when_it_raises(stub, table, monkeypatch):
    """The requests that had begun are waited for; of what never began, the caller is told."""
    submit, calls = ThreadPoolExecutor.submit, itertools.count(1)

    def exhausted(pool, *work):
        if next(calls) > 2:
            raise RuntimeError("can't start new thread")
        return submit(pool, *work)

    real, waiting = batch.wait, threading.Event()
    monkeypatch.setattr(ThreadPoolExecutor, "submit", exhausted)
    monkeypatch.setattr(batch, "wait", lambda futures: waiting.set() or real(futures))

    def answer(body):
        if len(body["Statements"]) > 1:  # no batch is answered before it has stopped
            waiting.wait(60)
            time.sleep(0.05)
        return table(body)

    stub.script = [answer]
    unsent = []
    with pytest.raises(RuntimeError, match="new thread"):
        make(stub, workers=4).insert_many("T", rows(250), NAMES, unsent)
    landed = len(table.items)
    waiting.set()
    time.sleep(0.1)
    assert len(table.items) == landed <= 50
    assert len(unsent) >= 175
    assert not {f"{number}" for number in unsent} & {item["id"]["S"] for item in table.items.values()}


# The probe


YES = reply({"Responses": [{"Error": {"Code": "ValidationError", "Message": "Missing the key id"}}]})


WHOLE = error(
    "ValidationException",
    message="One or more parameter values were invalid: Missing the key id in the item",
)


def said(code):
    return reply({"Responses": [{"Error": {"Code": code, "Message": ""}}]})


@pytest.mark.parametrize(
    ("answer", "taken", "asked"),
    [
        pytest.param(YES, True, 1, id="yes"),
        pytest.param(reply({}, 500, raw=b"<html>Internal Server Error</html>"), False, 1, id="500"),
        pytest.param(WHOLE, True, 1, id="yes-as-a-whole"),
        pytest.param(error("InternalServerError", 500), False, 2, id="500-of-dynamodb"),
        pytest.param(reply({}, 502, raw=b"<html>Bad Gateway</html>"), False, 2, id="502"),
        pytest.param(error("UnknownOperationException"), False, 1, id="unknown"),
        pytest.param(error("NotImplemented"), False, 1, id="not-implemented"),
        pytest.param(error("AccessDeniedException"), False, 2, id="denied"),
        pytest.param(error("ResourceNotFoundException"), False, 2, id="not-found"),
        pytest.param(error("ValidationException", message="Unsupported"), False, 1, id="invalid-as-a-whole"),
        pytest.param(said("AccessDenied"), False, 2, id="statement-denied"),
        pytest.param(said("ResourceNotFound"), False, 2, id="no-table"),
        pytest.param(said("ThrottlingError"), False, 2, id="statement-throttled"),
        pytest.param(reply({"Responses": [{"TableName": "T"}]}), False, 1, id="inserted"),
        pytest.param(reply({"Responses": []}), False, 2, id="empty"),
        pytest.param(reply({}), False, 2, id="nothing"),
        pytest.param(THROTTLED, False, 2, id="throttled"),
        pytest.param(HANG_UP, False, 2, id="lost"),
        pytest.param(error("ExpiredTokenException"), False, 2, id="expired"),
    ],
)
def test_one_request_tells_whether_a_table_takes_batches(stub, wire, answer, taken, asked):
    """The refusal for the missing key means yes, of the statement or of all. What may be otherwise later is asked again."""
    stub.script = [answer]
    assert (not wire.why_single("T", NAMES)) is taken
    assert len(stub.requests) == 1
    assert (not wire.why_single("T", NAMES)) is taken
    assert len(stub.requests) == asked
    assert wire.retries.total() == 0


def test_the_probe_lacks_the_key(stub, wire, table):
    """Whatever the key is called: nothing could be written by it. Each table is asked for itself."""
    wire.why_single("T", ("runbook", "runbook_"))
    assert set(inserted(stub.requests[0][1]["Statements"][0])) == {"runbook__"}
    stub.script = [error("UnknownOperationException")]
    assert wire.why_single("U", NAMES)
    assert not wire.why_single("T", ("runbook", "runbook_"))


def test_where_batches_are_not_taken_puts_go_at_once(stub):
    """As many at a time as there are workers, and with the same results."""
    table = Table(stub, row(3, x={"S": "there"}))
    slow = AtOnce(table, 4)
    stub.script = [lambda body: error("UnknownOperationException") if "Statements" in body else slow(body)]
    found = make(stub, workers=4).insert_many("T", rows(30), NAMES)
    assert found == [row(3, x={"S": "there"}) if number == 3 else None for number in range(30)]
    assert slow.most == 4
    assert operations(stub) == ["BatchExecuteStatement"] + ["PutItem"] * 30


# Budgets


@pytest.mark.parametrize("told", [True, False])
def test_batches_take_their_units_from_the_budget(stub, table, told):
    """What the reply tells, indexes included; else one for each statement and one for each KB, which is not less."""
    taken = []
    limiter = RateLimiter(overall(write=1000))
    limiter.wait_write = lambda units, lane: taken.append(units)

    def answer(body):
        if not told or len(body["Statements"]) < 2:
            return table(body)
        table(body)
        consumed = [{"TableName": "T", "CapacityUnits": 3.0}] * len(body["Statements"])
        return reply({"Responses": [{"TableName": "T"}] * len(body["Statements"]), "ConsumedCapacity": consumed})

    stub.script = [answer]
    items = [row(number, x={"S": "x" * 2000}) for number in range(20)]
    assert make(stub, limiter=limiter).insert_many("T", items, NAMES) == [None] * 20
    assert taken == ([60.0] if told else [20 + len(orjson.dumps(stub.requests[1][1])) // 1024])
    assert stub.requests[1][1]["ReturnConsumedCapacity"] == "TOTAL"


# Engines


@pytest.fixture
def new_table(engine):
    """Return a function giving a wire and the name of a new, empty table with these keys."""
    names = (f"batch-{engine.name}-{number}-{random.getrandbits(40)}" for number in itertools.count())

    def make_table(**key):
        name, client = next(names), engine.client()
        client.create_table(
            TableName=name,
            KeySchema=[
                {"AttributeName": attribute, "KeyType": kind}
                for attribute, kind in zip(key, ("HASH", "RANGE"), strict=False)
            ],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": letter} for name, letter in key.items()],
            BillingMode="PAY_PER_REQUEST",
        )
        client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
        keys = Keys()
        return Wire(engine.endpoint_url, "us-west-1", keys, label="target", base_delay=0.001), name

    return make_table


def test_engines_are_known_for_what_they_take(engine, new_table):
    """One of them takes batches; nobody is written to by the question."""
    wire, name = new_table(PK="S", SK="N")
    assert (not wire.why_single(name, ("PK", "SK"))) == (engine.name == "ministack")
    assert wire.scan_page(name)[0] == []
    assert wire.retries.total() == 0


@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_an_engine_keeps_what_it_was_given_and_what_it_had(new_table, count):
    """New keys hold the items bit by bit; keys that were there hold what they held, which is given back."""
    wire, name = new_table(PK="S", SK="N")
    items = [
        {
            "PK": {"S": f"p{n % 7}"},
            "SK": {"N": str(n)},
            "b": {"B": "AAE="},
            "it's": {"L": [{"M": {"a'?": {"NULL": True}}}]},
        }
        for n in range(count)
    ]
    there = [{**item, "b": {"S": "there"}} for item in items[::5]]
    assert wire.insert_many(name, there, ("PK", "SK")) == [None] * len(there)
    found = wire.insert_many(name, items, ("PK", "SK"))
    assert found == [there[n // 5] if n % 5 == 0 else None for n in range(count)]
    assert wire.insert_many(name, items, ("PK", "SK")) == [
        there[n // 5] if n % 5 == 0 else items[n] for n in range(count)
    ]
    stored = wire.get_many(name, [{key: item[key] for key in ("PK", "SK")} for item in items])
    assert stored == [there[n // 5] if n % 5 == 0 else item for n, item in enumerate(items)]


# What all three engines hold. Their own limits: one takes names apart at dots in projections, none of that is used here.
contents = st.dictionaries(strategies.names.filter(lambda name: name != "id"), strategies.values, max_size=5)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(contents, min_size=2, max_size=8))
def test_any_names_and_types_arrive(engine, new_table, contents):
    """Whatever DynamoDB's types and names allow: what is read afterwards means what was given, or it was refused by a put."""
    if not hasattr(engine_tables, engine.name):
        setattr(engine_tables, engine.name, new_table(id="S"))
    wire, name = getattr(engine_tables, engine.name)
    items = [{"id": {"S": f"{next(numbers)}"}, **content} for content in contents]
    found = wire.insert_many(name, items, NAMES)
    stored = wire.get_many(name, [{"id": item["id"]} for item in items])
    for item, outcome, held in zip(items, found, stored, strict=True):
        if outcome is None:
            assert {n: strategies.meaning(v) for n, v in held.items()} == {
                n: strategies.meaning(v) for n, v in item.items()
            }
        else:
            assert isinstance(outcome, DynamoError)
            assert (outcome.operation, held) == ("PutItem", None)


class engine_tables:
    """One table for each engine, for all examples."""


numbers = itertools.count()
