"""The world of test_follow_machine.py: two sides in this process, streams of the source, and clocks that only the test moves.

Everything that a death must not lose is in the world's `state`: a child that is about to be killed sends it to its parent.
"""

import io
import os
import pickle
import random
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from faults.machine_operator import KILLED, Clock, End, OneByOne, ended
from support_memory import Memory, key_text
from support_streams import KEYS, Service

from runbook_lib import failpoints, process
from runbook_lib.dynamo.rate_limiter import RateLimiter
from runbook_lib.dynamo.requests import Requests
from runbook_lib.dynamo.streams.reader import StreamReader
from runbook_lib.errors import DynamoError, Interrupted
from runbook_lib.journal import checkpoint, stage
from runbook_lib.run import folder as runs
from runbook_lib.run.locks import locks
from runbook_lib.stages.follow import compare, follow, gate, journal, keeper, table
from runbook_lib.stages.migrate import replace
from runbook_lib.stages.rollback import undo
from runbook_lib.stages.validate.matched import look
from runbook_lib.walk import control, walk

EPOCH = datetime(2025, 1, 1, tzinfo=UTC)
SHARDS = 1_000  # a table at most: a shard's number says whose it is
REPLIES = ({}, {"Records": "none"}, {"StreamDescription": []}, {"ShardIterator": ""})  # that lack what they should hold


class Seconds:
    """A clock that only sleeping moves."""

    def __init__(self):
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float | None = None) -> None:
        self.now += seconds or 0.0


class Changes(Service):
    """The stream of one table: each record holds an item's key and what it is after the change."""

    def __init__(self, clock: Seconds, table: str, number: int, names: list[str], shards: int):
        self.table, self.names, self.turns = table, names, 0
        super().__init__(clock, 0)
        self.made = number * SHARDS
        self._address()
        for n in range(shards):
            self._add(None, (n * KEYS // shards, (n + 1) * KEYS // shards))
        self.late: dict[str, float] = {}  # shard → until when it gives no records

    def _address(self) -> None:
        self.turns += 1
        self.label = f"turn {self.turns}"
        self.arn = f"arn:aws:dynamodb:us-west-1:123456789012:table/{self.table}/stream/{self.label}"

    def change(self, before: dict | None, after: dict | None) -> None:
        """A record of one change; none where nothing has changed, or the stream is off."""
        if before == after or self.status != "ENABLED":
            return
        key = {name: (after or before)[name] for name in self.names}
        slot = sum(key_text(key).encode()) % KEYS
        shard = next(one for one in self.open() if one.keys[0] <= slot < one.keys[1])
        self.sequence += bool(shard.records)
        number = self.sequence if shard.records else shard.start
        shard.records.append((number, key, before, after))

    def forget(self) -> None:
        """What a day does: every shard was closed after hours, and what is older than a day is gone."""
        for shard in self.open():
            self.split(shard.name, 1)
        self.trim(min(shard.start for shard in self.open()))

    def turn_on_again(self) -> None:
        """Another stream: it holds nothing of what the old one held."""
        self.shards.clear()
        self.status = "ENABLED"
        self._address()
        self._add(None, (0, KEYS))

    def GetRecords(self, body: dict) -> Any:
        if self.late.get(body["ShardIterator"].split("|")[0], 0.0) > self.clock():
            self.empty_pages += 1
            reply = super().GetRecords(body)
            self.empty_pages = 0
            return reply
        return super().GetRecords(body)

    def _record(self, sequence: int, key: dict, before: dict | None, after: dict | None) -> dict:
        about = {"Keys": key, "SequenceNumber": str(sequence)}
        about["ApproximateCreationDateTime"] = EPOCH.timestamp() + self.clock()
        about |= {"NewImage": after} if after else {}
        about |= {"OldImage": before} if before else {}
        return {"eventName": "MODIFY" if before and after else "INSERT" if after else "REMOVE", "dynamodb": about}


class Streaming(Memory):
    """An engine with streams. `streams`: table → its stream."""

    streams: dict[str, Changes]

    def answer(self, operation: str, body: dict) -> tuple[int, dict]:
        """Status and reply."""
        if operation not in ("DescribeStream", "GetShardIterator", "GetRecords", "ListStreams"):
            return super().answer(operation, body)
        self.requests += 1
        if operation == "ListStreams":
            return 200, {"Streams": []}
        status, _, raw = self._asked(body).post(None, operation, orjson.dumps(body))
        return status, orjson.loads(raw)

    def _asked(self, body: dict) -> Changes:
        services = list(self.streams.values())
        if "ShardIterator" in body:
            return services[int(body["ShardIterator"][8:16]) // SHARDS]
        return next(one for one in services if f"/{one.table}/" in body["StreamArn"])

    def describe_table(self, TableName: str) -> dict:
        """What boto3 gives."""
        found = super().describe_table(TableName)
        if (one := self.streams.get(TableName)) and one.status == "ENABLED":
            on = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
            found["Table"] |= {"StreamSpecification": on, "LatestStreamArn": one.arn, "LatestStreamLabel": one.label}
        return found


class Attended(keeper.Keeper):
    """The keeper of positions, without a thread: it reads when the world says so."""

    now: "Attended | None" = None

    def __enter__(self) -> "Attended":
        Attended.now = self
        return self

    def __exit__(self, *exception: object) -> None:
        Attended.now = None

    def look(self, sleep: Callable[[float], None]) -> None:
        """Reads every stream to its end, as the thread does after hours."""
        self._over = SimpleNamespace(is_set=lambda: False, wait=sleep)
        with suppress(Interrupted, DynamoError, OSError):
            for name in self._streams:
                self._read(name)


class World:
    """Both sides, and all that is patched. A `with` block."""

    def __init__(self, folder: Path, seed: int):
        """Nothing is built yet."""
        self.folder = folder
        self.memory = Streaming()
        self.state = SimpleNamespace(
            dice=random.Random(seed),
            seconds=Seconds(),
            wall=Clock(EPOCH),
            streams={},
            tables=self.memory.tables,
            log=[],
        )
        self.memory.streams = self.state.streams
        self._stack = ExitStack()

    def __enter__(self) -> "World":
        patch = self._stack.enter_context(pytest.MonkeyPatch.context())
        for module in (runs, stage, checkpoint, follow, gate, journal, control):
            patch.setattr(module, "now", lambda: self.state.wall())
        seconds = SimpleNamespace(monotonic=lambda: self.state.seconds(), time=lambda: self.state.seconds())
        for module in (follow, table):
            patch.setattr(module, "time", seconds)
        for work in (StreamReader, gate.Gate):
            patch.setitem(work.__init__.__kwdefaults__, "clock", seconds.monotonic)
        patch.setitem(StreamReader.__init__.__kwdefaults__, "workers", 1)
        patch.setattr(follow, "threading", SimpleNamespace(Event=lambda: SimpleNamespace(wait=self.sleep)))
        patch.setattr(follow, "Keeper", Attended)
        for module in (walk, replace, undo, follow, compare, look):
            patch.setattr(module, "ThreadPoolExecutor", OneByOne)
        for module in (walk, follow):
            patch.setattr(module, "wait", OneByOne.wait)
        patch.setattr(Requests, "_back_off", lambda *_: None)
        patch.setattr(RateLimiter, "pause", lambda limiter, seconds: self.sleep(seconds))
        patch.setattr(process, "lock_patience", 0)
        patch.setattr(locks, "FOLDER", self.folder)
        patch.setattr(os, "fsync", lambda descriptor: None)  # a death loses nothing that was written
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def sleep(self, seconds: float | None = None) -> None:
        """Time passes."""
        self.state.seconds.sleep(seconds)

    def killed(self, work: Callable[[], dict[str, Any]], reached: Callable[[str], bool]) -> End:
        """The work, done in a child process that SIGKILL ends where `reached` says so of a failpoint, if it comes to it."""
        reading, writing = os.pipe()
        sys.stdout.flush()
        child = os.fork()
        if not child:
            code = 1
            try:
                os.close(reading)
                with os.fdopen(writing, "wb") as pipe:

                    def tell(end: End) -> None:
                        pickle.dump((end, vars(self.state)), pipe)
                        pipe.flush()

                    def point(name: str) -> None:
                        if reached(name):
                            tell(End(KILLED))
                            os.kill(os.getpid(), signal.SIGKILL)

                    failpoints.arm(point)
                    tell(ended(work))
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            told = pipe.read()
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        assert code in (0, -signal.SIGKILL), f"the child ended with {code}"
        end, state = pickle.load(io.BytesIO(told))
        self.state.__dict__.update(state)
        self.memory.tables, self.memory.streams = self.state.tables, self.state.streams
        return end
