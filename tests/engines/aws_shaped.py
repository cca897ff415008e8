"""A proxy that makes a local engine behave as AWS does, or as the network before it: each behaviour is switched on by name.

In a test: `Proxy(engine.endpoint_url, fresh_tables={"requests": 3}, lost={"rate": 0.2})`; its address is `url`, and
`seen[name]` counts how often a behaviour was met. By itself, for other programs:

    PYTHONPATH=.:tests python tests/engines/aws_shaped.py http://127.0.0.1:4566 --port 8001 warm 'lost:{"rate": 0.2}'

prints `ready PORT`; the operation `Seen` answers with the counts. Only DynamoDB's own operations are changed; STS,
Streams and others are passed on.

Where the answers come from. Captured on AWS by others: a throttled statement of a batch (boto/boto3#3834: code, sentence,
TableName, no resource), the throttling sentences, the sentence on missing rights, and of paritysuite/dynamodb-conformance: a
statement that failed before it ran names no table, one that ran does; ReturnValuesOnConditionCheckFailure brings no
item in a batch. Documented: which reason goes with which limit, what is charged, the fields of DescribeTable, that a batch
without one processed key is refused as a whole. Nothing is known of: the sentence for equal keys in a BatchExecuteStatement
(BatchGetItem's is used), what an INSERT without its key answers in a batch (`probe` gives every answer one may
think of), which statements of a batch DynamoDB throttles, how long a new table or an index lags, and the order in which
AWS checks rights, tables, keys and throughput (here: in this order).
"""

import argparse
import http.client
import json
import select
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
from aws_answers import ANSWERS
from aws_network import NETWORK, Broken
from aws_requests import Call, Go, Reply, key_names, plain
from support_wire import HANG_UP, Stub, reply

PREFIX, OF_STREAMS = "DynamoDB_20120810.", "DynamoDBStreams_20120810."
STREAM_OPERATIONS = ("DescribeStream", "GetShardIterator", "GetRecords", "ListStreams")
BEHAVIOURS = NETWORK | ANSWERS  # from the client inwards


class Proxy(Stub):
    """The proxy, serving on threads of its own from the beginning until `close`."""

    def __init__(self, engine: str | Callable[[str, dict], Reply], port: int = 0, **behaviours: Any):
        """`engine` is an address, or a function of operation and body. A behaviour is given its options; True: none."""
        assert behaviours.keys() <= BEHAVIOURS.keys(), f"no such behaviour: {behaviours.keys() - BEHAVIOURS.keys()}"
        self.seen: Counter[str] = Counter()  # behaviour -> how often it was met
        self.calls: Counter[str] = Counter()  # operation -> requests that came
        self.calm = False  # whether it passes everything on as it is, from now on
        self.lock = threading.RLock()
        self.waiting: dict[tuple, list] = {}  # for another one's reply: see aws_network.swapped
        self._engine, self._own, self._tables = engine, threading.local(), {}
        self._go: Go = self._pass_on
        for name in reversed([name for name in BEHAVIOURS if behaviours.get(name)]):
            options = behaviours[name]
            of = BEHAVIOURS[name](self, **({} if options is True else options))
            self._go = partial(of, go=self._go)
        super().__init__(port=port)

    def met(self, name: str, times: int = 1) -> None:
        """Counts a behaviour."""
        with self.lock:
            self.seen[name] += times

    def answer(self, headers: dict[str, str], raw: bytes) -> Any:
        """As Stub's."""
        target = headers.get("x-amz-target", "")
        try:
            if not target.startswith((PREFIX, OF_STREAMS)):
                status, content = self._forward(headers, raw)
                return reply(None, status, raw=content)
            call = Call(target.rpartition(".")[2], orjson.loads(raw), headers)
            if call.operation == "Seen":
                return reply(self.seen)
            with self.lock:
                self.calls[call.operation] += 1
            status, content = (self._pass_on if self.calm else self._go)(call)
            return reply(content, status)
        except Broken as instead:
            return instead.args[0]
        except (OSError, http.client.HTTPException):  # the engine is gone
            return HANG_UP

    def ask(self, call: Call, operation: str, **body: Any) -> Reply:
        """What the engine answers to a request of the proxy's own, in the caller's name."""
        return self._pass_on(Call(operation, body, call.headers))

    def shape(self, call: Call, table: str) -> tuple[list[str], dict[str, list[str]]]:
        """The names of a table's key, and those of each of its global indexes. Empty where there is no such table."""
        if table not in self._tables:
            status, content = self.ask(call, "DescribeTable", TableName=table)
            if status != 200:
                return [], {}
            about = content["Table"]
            indexes = about.get("GlobalSecondaryIndexes") or ()
            self._tables[table] = key_names(about), {index["IndexName"]: key_names(index) for index in indexes}
        return self._tables[table]

    def _pass_on(self, call: Call) -> Reply:
        if call.operation in ("DeleteTable", "UpdateTable"):
            self._tables.pop(plain(call.body["TableName"]), None)
        if callable(self._engine):
            return self._engine(call.operation, call.body)
        prefix = OF_STREAMS if call.operation in STREAM_OPERATIONS else PREFIX
        status, raw = self._forward(call.headers | {"x-amz-target": prefix + call.operation}, orjson.dumps(call.body))
        try:
            return status, orjson.loads(raw)
        except orjson.JSONDecodeError:  # the engine crashed over it: a page of its web server
            raise Broken(reply(None, status, raw=raw)) from None

    def _forward(self, headers: dict[str, str], raw: bytes) -> tuple[int, bytes]:
        """Through a connection of this thread, which is kept; a new one where the engine has closed it."""
        connection = getattr(self._own, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection(urlsplit(self._engine).netloc, timeout=60)
            self._own.connection = connection
        if connection.sock and select.select([connection.sock], [], [], 0)[0]:
            connection.close()
        sent = {name: value for name, value in headers.items() if name not in ("content-length", "connection")}
        try:
            connection.request("POST", "/", raw, sent)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except BaseException:
            connection.close()
            raise


def main() -> None:
    """Serves until the process ends."""
    parser = argparse.ArgumentParser(description="A proxy that makes a local engine behave as AWS does.")
    parser.add_argument("engine", help="its address, as http://127.0.0.1:4566")
    parser.add_argument(
        "behaviours", nargs="*", metavar="NAME[:OPTIONS]", help="options: a JSON object, or @FILE with one"
    )
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one (default)")
    arguments = parser.parse_intermixed_args()  # behaviours may follow --port
    wanted = {}
    for one in arguments.behaviours:
        name, _, options = one.partition(":")
        text = Path(options[1:]).read_text(encoding="utf-8") if options.startswith("@") else options
        wanted[name] = json.loads(text) if text else True
    proxy = Proxy(arguments.engine, arguments.port, **wanted)
    print(f"ready {urlsplit(proxy.url).port}", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
