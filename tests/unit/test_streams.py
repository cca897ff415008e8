"""The reader of a stream's shards, against a service that does what AWS's does: see support_streams."""

import json
import threading
import time
from itertools import pairwise

import pytest
from support_streams import ARN, LABEL, Clock, Service, reader_of, rounds, stream_of

from runbook_lib.dynamo.streams.positions import Position, Positions
from runbook_lib.dynamo.streams.reader import StreamReader
from runbook_lib.errors import Damaged, Denied, Interrupted, PositionLost, Refused


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def service(clock):
    return Service(clock)


def only(service):
    (shard,) = service.shards
    return shard


def changes(records):
    """Key and version of each record."""
    return [(int(one.key["id"]["N"]), one.image and int(one.image["version"]["N"])) for one in records]


def test_changes_come_in_order_with_their_images(service, clock):
    """An insert, a modification and a removal, as they were made, and positions behind them."""
    reader = reader_of(service)
    service.write(3), service.write(3), service.write(3, removed=True)
    records, batch = rounds(reader, clock)
    assert [(one.kind, one.image and one.image["version"]["N"]) for one in records] == [
        ("INSERT", "1"),
        ("MODIFY", "2"),
        ("REMOVE", None),
    ]
    assert {one.at for one in records} == {1.7e9 + 1, 1.7e9 + 2, 1.7e9 + 3}
    assert batch.newest.at == 1.7e9 + 3
    assert batch.positions.shards[only(service)] == Position(None, records[-1].sequence, seen=True)


def test_positions_are_plain_json_both_ways(service):
    """A journal can hold them; what is no such thing is refused."""
    positions = Positions(ARN, LABEL, {"a": Position(None, "1"), "b": Position("x", None, True, True)})
    assert Positions.from_json(json.loads(json.dumps(positions.as_json()))) == positions
    for damage in ({}, [], {"stream": ARN, "label": LABEL, "shards": {"a": {"parent": 1}}}, None):
        with pytest.raises(Damaged, match="walk its table again"):
            Positions.from_json(damage)
    content = positions.as_json()
    content["shards"]["a"]["seen"] = 1
    with pytest.raises(Damaged):
        Positions.from_json(content)


def test_positions_now_stand_at_the_start_of_open_shards_over_all_pages(clock):
    """Closed shards with children are left out; a listing comes in pages and in any order."""
    service = Service(clock, shards=3, page=2)
    for name in list(service.shards):
        service.split(name)
    positions = stream_of(service).positions_now()
    assert positions.shards == {one.name: Position(one.parent, str(one.start)) for one in service.open()}
    assert service.calls.count("DescribeStream") == 5


def test_a_listing_that_cannot_be_right_is_read_again_before_positions_are_noted(service, clock):
    """A closed shard without children, or an open one with some, was listed too early."""
    service.split(only(service), late=2.0)
    assert set(stream_of(service).positions_now().shards) == {one.name for one in service.open()}
    service.split(service.open()[0].name, seen_open=2.0)
    assert set(stream_of(service).positions_now().shards) == {one.name for one in service.open()}


def test_children_of_a_shard_that_stays_without_any_are_read_when_they_come(service, clock):
    """The closed shard is noted in their place; nothing of it is read."""
    service.write(1)
    service.split(only(service), late=30.0)
    positions = stream_of(service).positions_now()
    assert [one.ended for one in positions.shards.values()] == [True]
    service.write(1), service.write(5)
    records, _ = rounds(reader_of(service, positions), clock, lambda batch: batch.quiet)
    assert sorted(changes(records)) == [(1, 2), (5, 1)]


def test_a_child_is_read_only_after_the_next_call(service, clock):
    """The last records of its parent are applied and noted by then."""
    reader = reader_of(service)
    service.write(1)
    children = service.split(only(service), parts=1)
    service.write(1)
    first = reader.read()
    assert changes(first.records) == [(1, 1)]
    assert [one.ended for one in first.positions.shards.values()] == [True, False]
    clock.sleep(1)
    second = reader.read()
    assert changes(second.records) == [(1, 2)]
    assert {one.shard for one in second.records} == set(children)


def test_grandchildren_wait_for_the_first_shard_even_where_a_middle_one_is_not_listed(service, clock):
    """Nothing is read before all of its ancestors, whichever of them a listing lacks."""
    for _ in range(3):
        service.write(1)
        service.split(service.open()[0].name, parts=1)
    first, second, third, last = service.shards
    positions = Positions(ARN, LABEL, {first: Position(None, str(service.shards[first].start))})
    service.hide(second, 20.0), service.hide(third, 5.0)
    service.write(1)
    reader = reader_of(service, positions)
    records, batch = rounds(reader, clock)
    assert changes(records) == [(1, 1), (1, 2), (1, 3), (1, 4)]
    assert set(batch.positions.shards) == {last}


def test_a_shard_waits_for_all_of_its_ancestors(service, clock):
    """Also where the position does not hold what is between them."""
    service.limit = 1
    for _ in range(3):
        service.write(1)
    (middle,) = service.split(only(service), parts=1)
    first = service.shards[middle].parent
    (last,) = service.split(middle, parts=1)
    service.write(1)
    start = {name: str(service.shards[name].start) for name in (first, last)}
    positions = Positions(ARN, LABEL, {first: Position(None, start[first]), last: Position(middle, start[last])})
    assert changes(rounds(reader_of(service, positions), clock)[0]) == [(1, 1), (1, 2), (1, 3), (1, 4)]


def test_positions_stay_small_while_shards_roll(service, clock):
    """An ended shard is dropped as soon as a child of it is known."""
    reader = reader_of(service)
    for n in range(30):
        service.write(n % 8)
        service.split(service.open()[0].name, parts=1)
        _, batch = rounds(reader, clock, lambda batch: batch.caught_up)
        assert len(batch.positions.shards) == 1


def test_a_sibling_that_is_listed_late_is_read_too(service, clock):
    """Also where its parent was dropped from the positions by then, and by another reader."""
    reader = reader_of(service)
    service.write(1), service.write(6)
    service.split(only(service), late=(0.0, 30.0))
    service.write(1), service.write(6)
    records, batch = rounds(reader, clock, lambda batch: len(batch.positions.shards) == 1 and batch.caught_up)
    assert changes(records) == [(1, 1), (6, 1), (1, 2)]
    positions = Positions.from_json(batch.positions.as_json())
    for one in (reader, reader_of(service, positions)):
        more, batch = rounds(one, clock, lambda batch: len(batch.positions.shards) == 2 and batch.caught_up)
        assert changes(more) == [(6, 2)]


def test_a_listing_that_lacks_a_link_makes_nothing_old_new(service, clock):
    """What stands above a shard is not read again where the listing leaves out what connects them."""
    left, _ = service.split(only(service))
    service.write(1)
    middle = service.split(left, parts=1)[0]
    service.write(1)
    service.split(middle, parts=1)
    positions = stream_of(service).positions_now()
    service.hide(middle, 40.0)
    reader = reader_of(service, positions)
    assert rounds(reader, clock)[0] == []
    clock.sleep(10)
    reader.read()
    service.hide(middle, 200.0)  # what a reader has seen once it need not see again
    assert rounds(reader, clock, lambda batch: clock() > service.shards[middle].hidden)[0] == []


def test_an_open_shard_is_asked_once_a_second_while_it_gives_nothing(service, clock):
    """And not more often than five times a second while it gives records."""
    reader = reader_of(service)
    service.limit = 1
    for n in range(20):
        service.write(n % 8)
    rounds(reader, clock, lambda batch: batch.quiet >= 3)
    for (_, before, gave), (_, after, _) in pairwise(service.asked):
        assert after - before >= (0.2 if gave else 1.0) - 1e-9
    assert clock() < 1000 + 20 * 0.2 + 6
    assert service.calls.count("GetShardIterator") == 1


def test_asked_too_early_it_says_how_long_to_wait(service, clock):
    """Nothing is asked meanwhile."""
    reader = reader_of(service)
    reader.read()
    calls = list(service.calls)
    batch = reader.read()
    assert (batch.records, batch.wait) == ([], pytest.approx(1.0))
    clock.sleep(batch.wait / 2)
    assert reader.read().wait == pytest.approx(0.5)
    assert service.calls == calls


def test_quiet_counts_rounds_with_a_listing_of_their_own(clock):
    """Every open shard gave nothing after that listing; a record, an end, or a new shard begins at 0 again."""
    service = Service(clock, shards=2, page=1)
    reader = reader_of(service)
    service.calls.clear()
    _, batch = rounds(reader, clock, lambda batch: batch.quiet == 3)
    assert batch.caught_up
    assert service.calls.count("DescribeStream") == 3 * 2
    service.page = 100
    service.write(1)
    clock.sleep(batch.wait)
    batch = reader.read()
    assert (batch.quiet, batch.caught_up, len(batch.records)) == (0, False, 1)
    rounds(reader, clock, lambda batch: batch.quiet == 3)
    service.split(service.open()[0].name, late=20.0)
    listed = clock() + 20
    clock.sleep(1)
    batch = reader.read()
    assert (batch.quiet, batch.caught_up) == (0, False)
    rounds(reader, clock)
    assert clock() >= listed


def test_empty_pages_before_records_are_read_over(service, clock):
    """GetRecords may give nothing although there is something."""
    reader = reader_of(service)
    service.write(1)
    service.empty_pages = 3
    records, _ = rounds(reader, clock, lambda batch: batch.records)
    assert changes(records) == [(1, 1)]


def test_a_long_pause_costs_an_iterator_not_a_record(service, clock):
    """An iterator that has expired is replaced by one from the position."""
    reader = reader_of(service)
    service.write(1)
    rounds(reader, clock)
    clock.sleep(3600)
    service.write(1)
    records, _ = rounds(reader, clock, lambda batch: batch.records)
    assert changes(records) == [(1, 2)]


def test_a_reader_goes_on_where_another_one_was(service, clock):
    """From the positions of a batch, whatever was read after it and not noted."""
    service.limit = 2
    reader = reader_of(service)
    for _ in range(6):
        service.write(2)
    first = reader.read()
    clock.sleep(first.wait)
    reader.read()
    records, _ = rounds(reader_of(service, Positions.from_json(first.positions.as_json())), clock)
    assert changes(records) == [(2, 3), (2, 4), (2, 5), (2, 6)]


def lost(reader, clock, why):
    with pytest.raises(PositionLost, match=why) as raised:
        rounds(reader, clock, lambda batch: False)
    assert "orders" in str(raised.value)


@pytest.mark.parametrize("seen", [False, True])
def test_records_that_are_gone_are_a_lost_position(service, clock, seen):
    """By the last one that was seen, and by a shard's start."""
    reader = reader_of(service)
    if seen:
        service.write(1)
        rounds(reader, clock)
    service.write(1), service.write(1)
    service.trim(service.sequence)
    lost(
        reader_of(service, Positions.from_json(reader.read().positions.as_json())) if seen else reader,
        clock,
        "24 hours",
    )


def test_a_shard_that_vanished_is_a_lost_position(service, clock):
    """After it was looked for a while: a listing may lack it, and what answers may not know it yet."""
    reader = reader_of(service)
    gone = service.shards.pop(only(service))
    assert [reader.read().quiet for _ in range(2)] == [0, 0]
    service.shards[gone.name] = gone
    clock.sleep(1)
    service.write(1)
    assert changes(rounds(reader, clock, lambda batch: batch.records)[0]) == [(1, 1)]
    service.shards.clear()
    lost(reader, clock, "a shard that was not read to its end is gone")


def test_a_shard_whose_children_never_come_is_a_lost_position(service, clock):
    """Also where grandchildren are listed: what is between them is not skipped."""
    reader = reader_of(service)
    (child,) = service.split(only(service), parts=1)
    (grandchild,) = service.split(child, parts=1)
    service.write(1)
    del service.shards[child]
    lost(reader, clock, "comes after none|is not listed")
    assert grandchild not in {name for name, *_ in service.asked}


def test_a_stream_that_is_turned_off_is_read_to_its_end_first(service, clock):
    """And then is a lost position, at once."""
    reader = reader_of(service)
    service.write(1)
    service.disable()
    since = clock()
    records, _ = rounds(reader, clock, lambda batch: batch.records)
    assert changes(records) == [(1, 1)]
    lost(reader, clock, "turned off")
    assert clock() - since < 5


def test_another_stream_of_the_table_is_a_lost_position(service, clock):
    """A stream that was turned off and on again does not hold what the old one held."""
    positions = stream_of(service).positions_now()
    with pytest.raises(PositionLost, match="off and on again"):
        StreamReader(stream_of(service), Positions(ARN + "x", LABEL, positions.shards))
    reader = reader_of(service, positions)
    service.label = "later"
    lost(reader, clock, "off and on again")


def test_a_stream_that_is_gone_is_a_lost_position(service, clock):
    """With its table, for instance."""
    reader = reader_of(service)
    service.arn = "another"
    lost(reader, clock, "it is gone|is gone")


def test_positions_of_a_stream_that_is_off_are_refused(service):
    """It would hold nothing of what is changed from now on."""
    service.disable()
    with pytest.raises(Refused, match="turned off"):
        stream_of(service).positions_now()


def test_throttling_is_waited_for_and_costs_nothing(service, clock):
    """LimitExceededException is throttling here, as are 5xx."""
    reader = reader_of(service)
    service.write(1)
    service.refusals = [(400, "LimitExceededException"), (400, "ThrottlingException"), (500, "InternalServerError")]
    records, _ = rounds(reader, clock)
    assert changes(records) == [(1, 1)]


def test_a_shard_that_throttled_is_not_asked_at_once_again(service, clock):
    """The seconds count from the answer on."""
    stream = stream_of(service, base_delay=5.0)
    reader = StreamReader(stream, stream.positions_now(), workers=1, clock=clock)
    rounds(reader, clock)
    clock.sleep(1)
    answered, left = service.GetRecords, iter(range(9))
    service.GetRecords = lambda body: (
        answered(body) if next(left, None) is None else service._refuse("LimitExceededException")
    )
    rounds(reader, clock, lambda batch: batch.quiet >= 4)
    for (_, before, _), (_, after, _) in pairwise(service.asked):
        assert after - before >= 1.0 - 1e-9


def test_an_error_ends_a_round_when_all_of_it_are_answered(clock):
    """So that the next round asks no shard that is still being asked."""
    service = Service(clock, shards=2)
    first = next(iter(service.shards))
    answered, done = service.GetRecords, threading.Event()

    def answer(body):
        if first in body["ShardIterator"]:
            return service._refuse("AccessDeniedException")
        time.sleep(0.05)
        done.set()
        return answered(body)

    service.GetRecords = answer
    stream = stream_of(service, workers=2)
    with StreamReader(stream, stream.positions_now(), workers=2, clock=clock) as reader:
        with pytest.raises(Denied):
            reader.read()
        assert done.is_set()


def test_an_endpoint_that_does_not_recover_interrupts_and_loses_no_record(clock):
    """What other shards gave in that round is read again."""
    service = Service(clock, shards=2)
    reader = reader_of(service)
    rounds(reader, clock)
    clock.sleep(1)
    service.write(1), service.write(6)
    answered = service.GetRecords
    first = next(iter(service.shards))
    service.GetRecords = lambda body: answered(body) if first in body["ShardIterator"] else service._refuse("Nonsense")
    with pytest.raises(Interrupted, match="GetRecords on orders .stream."):
        rounds(reader, clock, lambda batch: False)
    service.GetRecords = answered
    assert sorted(changes(rounds(reader, clock)[0])) == [(1, 1), (6, 1)]


def test_a_missing_right_is_named(service):
    """With the action to allow."""
    service.refusals = [(400, "AccessDeniedException")]
    with pytest.raises(Denied, match="allow dynamodb:DescribeStream on orders"):
        stream_of(service).positions_now()


RECORD = {"eventName": "INSERT", "dynamodb": {"Keys": {}, "NewImage": {}, "SequenceNumber": "1"}}


@pytest.mark.parametrize(
    "damaged",
    [
        {},
        {"Records": None},
        {"Records": [{}]},
        {"Records": [RECORD | {"eventName": "MERGE"}]},
        {"Records": [RECORD | {"dynamodb": {"Keys": {}, "SequenceNumber": "1"}}]},
        {"Records": [RECORD | {"dynamodb": {"Keys": {}, "NewImage": {}}}]},
        {"Records": [], "NextShardIterator": 5},
    ],
)
def test_a_damaged_reply_is_asked_for_again(service, clock, damaged):
    """It is no empty page, and no end of a shard."""
    reader = reader_of(service)
    service.write(1)
    post = service.post

    def once(keys, operation, data):
        if operation == "GetRecords":
            service.post = post
            service.replies.append(damaged)
        return post(keys, operation, data)

    service.post = reader._stream._requests._transport.post = once
    records, batch = rounds(reader, clock)
    assert changes(records) == [(1, 1)]
    assert not next(iter(batch.positions.shards.values())).ended


@pytest.mark.parametrize(
    "damaged",
    [
        {},
        {"StreamDescription": {"StreamStatus": "ENABLED"}},
        {"StreamDescription": {"StreamStatus": "ENABLED", "Shards": [{}]}},
        {"StreamDescription": {"StreamStatus": "ENABLED", "Shards": [], "StreamArn": "another"}},
        {"StreamDescription": {"StreamStatus": "ENABLED", "Shards": [], "LastEvaluatedShardId": ""}},
    ],
)
def test_a_damaged_listing_is_asked_for_again(service, damaged):
    """Positions without shards would skip everything."""
    service.replies = [damaged]
    assert set(stream_of(service).positions_now().shards) == set(service.shards)


def test_several_shards_are_asked_at_the_same_time(clock):
    """As many as there are workers."""
    service = Service(clock, shards=4)
    meeting = threading.Barrier(4, timeout=30)
    answered = service.GetRecords
    service.GetRecords = lambda body: (meeting.wait(), answered(body))[1]
    for key in range(8):
        service.write(key)
    stream = stream_of(service, workers=4)
    with StreamReader(stream, stream.positions_now(), workers=4, clock=clock) as reader:
        assert sorted(changes(reader.read().records)) == [(key, 1) for key in range(8)]


def test_a_round_that_has_enough_leaves_the_other_shards_for_the_next(clock, monkeypatch):
    """So that memory is bounded whatever the number of shards; they come first then."""
    monkeypatch.setattr("runbook_lib.dynamo.streams.reader.ENOUGH", 3)
    service = Service(clock, shards=4)
    for key in range(8):
        service.write(key)
    reader = reader_of(service)
    first, second = reader.read(), reader.read()
    assert [len(one.records) for one in (first, second)] == [4, 4]
    assert first.wait == 0.0


@pytest.mark.parametrize("written", [1.7e9, 1_700_000_000, "2023-11-14T22:13:20Z", "2023-11-14T22:13:20+00:00"])
def test_the_time_of_a_change_is_read_in_every_form(service, clock, written):
    """Engines write it differently."""
    record = service._record
    service._record = lambda *one: (
        record(*one) | {"dynamodb": record(*one)["dynamodb"] | {"ApproximateCreationDateTime": written}}
    )
    reader = reader_of(service)
    service.write(1)
    assert rounds(reader, clock)[0][0].at == 1.7e9
