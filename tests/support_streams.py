"""A stream service that does what AWS's does and local engines do not, on a clock of its own; and a reader of it.

It splits and rolls shards, lists them late, in pages and in any order, leaves some out of a listing, trims, throttles, lets
iterators expire, and answers empty pages. Deterministic, without threads or sockets: it stands where `Transport` does.
"""

import random
from dataclasses import dataclass, field
from itertools import pairwise

import orjson

from runbook_lib.dynamo.rate_limiter import RateLimiter
from runbook_lib.dynamo.streams.reader import StreamReader
from runbook_lib.dynamo.streams.stream import Stream
from runbook_lib.dynamo.streams.wire import StreamRequests

ARN = "arn:aws:dynamodb:us-west-1:123456789012:table/orders/stream/2026-01-01T00:00:00.000"
LABEL = "2026-01-01T00:00:00.000"
KEYS = 8
VALID = 900.0  # seconds of an iterator


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Keys:
    who = ""

    @staticmethod
    def frozen():
        return None


@dataclass
class Shard:
    name: str
    parent: str | None
    keys: tuple[int, int]  # from, to
    start: int
    end: int | None = None
    records: list = field(default_factory=list)  # sequence, key, version; version 0: removed
    trimmed: int = 0  # records that are gone
    hidden: float = float("-inf")  # until when no listing shows it
    shown_open: float = float("-inf")  # until when a listing shows it as open


class Service:
    """The stream of one table with `KEYS` keys. `now_versions[key]` counts the changes of a key."""

    def __init__(self, clock, shards=1, page=100):
        self.clock, self.page = clock, page
        self.status, self.label, self.arn = "ENABLED", LABEL, ARN
        self.shards: dict[str, Shard] = {}
        self.versions = dict.fromkeys(range(KEYS), 0)
        self.sequence, self.made = 100, 0
        self.order = 0  # of listings
        self.refusals: list[tuple[int, str]] = []  # status and code of the next answers
        self.empty_pages = 0  # how many of the next GetRecords give nothing, although there is something
        self.replies: list = []  # instead of the next answers of status 200
        self.calls: list[str] = []
        self.asked: list[tuple[str, float, bool]] = []  # shard, when, whether it gave records
        self.limit = 1000
        for n in range(shards):
            self._add(None, (n * KEYS // shards, (n + 1) * KEYS // shards))

    def _add(self, parent, keys):
        self.sequence += 1
        self.made += 1
        name = f"shardId-{self.made:08}-{random.Random(self.made).getrandbits(32):08x}"
        self.shards[name] = Shard(name, parent, keys, self.sequence)
        return name

    # what happens to it

    def open(self):
        return [one for one in self.shards.values() if one.end is None]

    def write(self, key, removed=False):
        self.versions[key] += 1
        shard = next(one for one in self.open() if one.keys[0] <= key < one.keys[1])
        self.sequence += bool(shard.records)  # a shard's StartingSequenceNumber is its first record's
        number = self.sequence if shard.records else shard.start
        shard.records.append((number, key, self.versions[key], removed))

    def split(self, name, parts=2, late=0.0, seen_open=0.0):
        """Closes a shard and opens its children; `late`: seconds until they are listed, one figure or one each."""
        shard = self.shards[name]
        self.sequence += 1
        shard.end, shard.shown_open = self.sequence, self.clock() + seen_open
        low, high = shard.keys
        parts = min(parts, high - low) or 1
        edges = [low + n * (high - low) // parts for n in range(parts + 1)]
        made = [self._add(name, pair) for pair in pairwise(edges)]
        for n, child in enumerate(made):
            self.hide(child, late[n % len(late)] if isinstance(late, (list, tuple)) else late)
        return made

    def hide(self, name, seconds):
        self.shards[name].hidden = self.clock() + seconds

    def trim(self, sequence):
        """Drops all records before a sequence number, and the shards that hold nothing later; oldest first."""
        for shard in self.shards.values():
            shard.trimmed = max(shard.trimmed, sum(one[0] < sequence for one in shard.records))
        for name, shard in list(self.shards.items()):
            if shard.end is not None and shard.end < sequence and shard.parent not in self.shards:
                del self.shards[name]

    def disable(self):
        self.status = "DISABLED"
        for shard in self.open():
            self.sequence += 1
            shard.end = self.sequence

    # what it answers

    def post(self, keys, operation, data):
        body = orjson.loads(data)
        self.calls.append(operation)
        if self.refusals:
            status, code = self.refusals.pop(0)
            return self._refuse(code, status)
        if self.replies:
            return 200, {}, orjson.dumps(self.replies.pop(0))
        reply = getattr(self, operation)(body)
        return reply if isinstance(reply, tuple) else (200, {}, orjson.dumps(reply))

    @staticmethod
    def _refuse(code, status=400):
        return status, {}, orjson.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "x"})

    def DescribeStream(self, body):
        if body["StreamArn"] != self.arn:
            return self._refuse("ResourceNotFoundException")
        now = self.clock()
        shown = [one for one in self.shards.values() if one.hidden <= now]
        random.Random(self.order).shuffle(shown)
        names = [one.name for one in shown]
        at = names.index(body["ExclusiveStartShardId"]) + 1 if "ExclusiveStartShardId" in body else 0
        page = shown[at : at + self.page]
        content = {"StreamArn": self.arn, "StreamLabel": self.label, "StreamStatus": self.status}
        content |= {"StreamViewType": "NEW_AND_OLD_IMAGES", "Shards": [self._shown(one) for one in page]}
        if at + self.page < len(shown):
            content["LastEvaluatedShardId"] = page[-1].name
        return {"StreamDescription": content}

    def _shown(self, shard):
        numbers = {"StartingSequenceNumber": str(shard.start)}
        # A listing that knows of a shard's grandchildren knows its end, too.
        rolled = any(one.parent == shard.name and one.end is not None for one in self.shards.values())
        if shard.end is not None and (rolled or shard.shown_open <= self.clock()):
            numbers["EndingSequenceNumber"] = str(shard.end)
        parent = {"ParentShardId": shard.parent} if shard.parent else {}
        return {"ShardId": shard.name, "SequenceNumberRange": numbers} | parent

    def GetShardIterator(self, body):
        shard = self.shards.get(body["ShardId"])
        if shard is None or body["StreamArn"] != self.arn:
            return self._refuse("ResourceNotFoundException")
        if body["ShardIteratorType"] == "TRIM_HORIZON":
            at = shard.trimmed
        else:
            number = int(body["SequenceNumber"]) + (body["ShardIteratorType"] == "AFTER_SEQUENCE_NUMBER")
            at = sum(one[0] < number for one in shard.records)
            if at < shard.trimmed:
                return self._refuse("TrimmedDataAccessException")
        return {"ShardIterator": self._iterator(shard, at)}

    def _iterator(self, shard, at):
        return f"{shard.name}|{at}|{self.clock()}"

    def GetRecords(self, body):
        name, at, made = body["ShardIterator"].split("|")
        if self.clock() - float(made) >= VALID:
            return self._refuse("ExpiredIteratorException")
        shard = self.shards.get(name)
        if shard is None:
            return self._refuse("ResourceNotFoundException")
        if (at := int(at)) < shard.trimmed:
            return self._refuse("TrimmedDataAccessException")
        records = shard.records[at : at + self.limit]
        if self.empty_pages and records:
            self.empty_pages, records = self.empty_pages - 1, []
        self.asked.append((name, self.clock(), bool(records)))
        reply = {"Records": [self._record(*one) for one in records]}
        at += len(records)
        if shard.end is None or at < len(shard.records):
            reply["NextShardIterator"] = self._iterator(shard, at)
        return reply

    def _record(self, sequence, key, version, removed):
        about = {"Keys": {"id": {"N": str(key)}}, "SequenceNumber": str(sequence)}
        about["ApproximateCreationDateTime"] = 1.7e9 + version
        image = {"id": {"N": str(key)}, "version": {"N": str(version)}}
        about |= {"OldImage": image} if removed else {"NewImage": image}
        kind = "REMOVE" if removed else "INSERT" if version == 1 else "MODIFY"
        return {"eventID": "x", "eventName": kind, "dynamodb": about}


def stream_of(service, workers=1, **settings):
    """The stream, over requests that wait on the service's clock."""
    limiter = RateLimiter(clock=service.clock, sleep=service.clock.sleep)
    settings = {"label": "source", "read_only": True, "workers": workers, "limiter": limiter} | settings
    requests = StreamRequests("http://streams.invalid", "us-west-1", Keys(), **settings)
    requests._transport = service
    return Stream(requests, "orders", ARN, LABEL)


def reader_of(service, positions=None, workers=1):
    stream = stream_of(service)
    return StreamReader(stream, positions or stream.positions_now(), workers=workers, clock=service.clock)


def rounds(reader, clock, until=lambda batch: batch.quiet >= 1, at_most=2000):
    """Read until a batch fits, waiting as each says; all records, and the last batch."""
    records = []
    for _ in range(at_most):
        batch = reader.read()
        records += batch.records
        if until(batch):
            return records, batch
        clock.sleep(batch.wait)
    raise AssertionError("it never came to that")
