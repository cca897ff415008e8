"""A DynamoDB endpoint that costs little: canned source pages, a target that counts or keeps what it is given.

It is asked over HTTP/1.1 with keep-alive, one process, one thread. Besides DynamoDB's operations it knows Bench.Reset (a
case, and whether to keep) and Bench.Counters. It checks neither signatures nor conditions other than the key's absence.
"""

import asyncio
import contextlib
import resource
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from .shapes import Case, place_of
from .store import Target, projection

_HEAD = b"HTTP/1.1 %s\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: %d\r\n\r\n"
_STATUS = {200: b"200 OK", 400: b"400 Bad Request"}
_UNKNOWN = b'{"__type":"com.amazonaws.dynamodb.v20120810#%s","message":"not here"}'
INDEX = "GSI1"


class Endpoint:
    """The operations."""

    def __init__(self) -> None:
        self.reset(Case.named("copy-1kB-0", 1), False)

    def reset(self, case: Case, keep: bool, batches: bool = True) -> None:
        """Begins anew, with empty targets and counters; `batches`: whether there is BatchExecuteStatement."""
        self._case, self._target = case, Target(case.targets, keep)
        self._requests: Counter[str] = Counter()
        self._received: Counter[str] = Counter()
        self._sent: Counter[str] = Counter()
        self._forms: Counter[str] = Counter()  # projection → scans of the source with it
        self._cpu = _cpu()
        target = self._target
        self._operations: dict[str, Callable[[bytes], tuple[int, bytes]]] = {
            "Scan": self._scan,
            "DescribeTable": self._describe,
            "PutItem": target.put,
            "BatchExecuteStatement": target.statements,
            "BatchWriteItem": target.batch_write,
            "BatchGetItem": self._get_many,
            "GetItem": target.get,
            "DeleteItem": target.delete,
            "Query": lambda body: (200, b'{"Count":0,"ScannedCount":0,"Items":[]}'),
        }
        if not batches:
            del self._operations["BatchExecuteStatement"]

    def answer(self, operation: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the reply."""
        service, _, operation = operation.rpartition(".")
        if service == "Bench":
            return 200, self._own(operation, body)
        known = self._operations.get(operation)
        status, reply = known(body) if known else (400, _UNKNOWN % b"UnknownOperationException")
        self._requests[operation] += 1
        self._received[operation] += len(body)
        self._sent[operation] += len(reply)
        return status, reply

    def _own(self, operation: str, body: bytes) -> bytes:
        if operation == "Reset":
            request = orjson.loads(body)
            self.reset(Case(**request.pop("case")), **request)
        target = self._target
        return orjson.dumps(
            {
                "requests": self._requests,
                "received": self._received,
                "sent": self._sent,
                "scans": self._forms,
                "inserted": target.inserted,
                "refused": target.refused,
                "deleted": target.deleted,
                "cpu": _cpu() - self._cpu,
            }
        )

    def _scan(self, body: bytes) -> tuple[int, bytes]:
        request, case = orjson.loads(body), self._case
        if request["TableName"] != case.source:
            if request["TableName"] not in case.targets:
                return 400, _UNKNOWN % b"ResourceNotFoundException"
            return 200, self._target.scan(request, case.page_items)
        names = projection(request)
        self._forms[",".join(names)] += 1
        segment, segments = request.get("Segment", 0), request.get("TotalSegments", 1)
        page, first = segment, 0
        if start := request.get("ExclusiveStartKey"):
            page, place = place_of(start)
            first = (place + 1) % case.page_items
            page += 0 if first else segments
        if page * case.page_items + first >= case.items:
            return 200, b'{"Count":0,"ScannedCount":0,"Items":[]}'
        items, count = case.scan_page(page, names, first, request.get("Limit", 0))
        at_end = page * case.page_items + first + count >= case.items
        more = not at_end and (first + count < case.page_items or (page + segments) * case.page_items < case.items)
        last = b',"LastEvaluatedKey":' + orjson.dumps(case.source_key(page, first + count - 1)) if more else b""
        return 200, b'{"Count":%d,"ScannedCount":%d,"Items":[%s]%s}' % (count, count, items, last)

    def _get_many(self, body: bytes) -> tuple[int, bytes]:
        """Of the target what it holds; of the source items that have changed since they were scanned."""
        asked = orjson.loads(body)["RequestItems"].get(self._case.source)
        if asked is None:
            return self._target.get_many(body)
        items = b",".join(self._case.changed(*place_of(key)) for key in asked["Keys"])
        return 200, b'{"Responses":{%s:[%s]},"UnprocessedKeys":{}}' % (orjson.dumps(self._case.source), items)

    def _describe(self, body: bytes) -> tuple[int, bytes]:
        name, case = orjson.loads(body)["TableName"], self._case
        if name != case.source and name not in case.targets:
            return 400, _UNKNOWN % b"ResourceNotFoundException"
        is_source = name == case.source
        key = case.key if is_source else case.targets[name]
        index = ["GSI1PK", "GSI1SK"] if case.mode == "split" and not is_source else []
        arn = f"arn:aws:dynamodb:us-west-1:123456789012:table/{name}"
        table: dict[str, Any] = {
            "TableName": name,
            "TableArn": arn,
            "TableStatus": "ACTIVE",
            "KeySchema": _schema(key),
            "AttributeDefinitions": [{"AttributeName": part, "AttributeType": "S"} for part in key + index],
            "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
            "ItemCount": case.items if is_source else 0,
            "TableSizeBytes": case.items * case.item_bytes if is_source else 0,
        }
        if index:
            about = {"IndexName": INDEX, "IndexStatus": "ACTIVE", "Projection": {"ProjectionType": "ALL"}}
            table["GlobalSecondaryIndexes"] = [
                {**about, "KeySchema": _schema(index), "IndexArn": f"{arn}/index/{INDEX}"}
            ]
        return 200, orjson.dumps({"Table": table})


class _Connection(asyncio.Protocol):
    """One connection: a request after the other, as DynamoDB's clients send them."""

    def __init__(self, endpoint: Endpoint):
        self._endpoint, self._buffer, self._needed = endpoint, bytearray(), 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        while len(buffer) >= self._needed:
            if (end := buffer.find(b"\r\n\r\n")) < 0:
                return
            lines = bytes(buffer[:end]).split(b"\r\n")[1:]
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
            self._needed = end + 4 + int(headers.get(b"content-length", 0))
            if len(buffer) < self._needed:
                return
            body = bytes(memoryview(buffer)[end + 4 : self._needed])
            del buffer[: self._needed]
            self._needed = 0
            status, reply = self._endpoint.answer(headers.get(b"x-amz-target", b"").decode(), body)
            self._transport.write(_HEAD % (_STATUS[status], len(reply)) + reply)


def _schema(key: list[str]) -> list[dict[str, str]]:
    return [{"AttributeName": name, "KeyType": kind} for name, kind in zip(key, ("HASH", "RANGE"), strict=False)]


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def _serve() -> None:
    endpoint = Endpoint()
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(endpoint), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)  # ends when the one who started it does, however that comes


class Canned:
    """The endpoint in its process."""

    def __init__(self, url: str):
        self.url = url

    def reset(self, case: Case, *, keep: bool = False, batches: bool = True) -> None:
        """Gives the endpoint the case's source and empty targets; with `keep` they remember.

        Without `batches` it does not know BatchExecuteStatement.
        """
        self._ask("Reset", {"case": asdict(case), "keep": keep, "batches": batches})

    def counters(self) -> dict[str, Any]:
        """What came since the last reset: requests and bytes by operation, items inserted, refused, deleted, CPU."""
        return self._ask("Counters", {})

    def _ask(self, operation: str, body: dict[str, Any]) -> dict[str, Any]:
        headers = {"X-Amz-Target": f"Bench.{operation}"}
        request = urllib.request.Request(self.url, orjson.dumps(body), headers)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as reply:
            return orjson.loads(reply.read())


@contextlib.contextmanager
def serving() -> Iterator[Canned]:
    """The endpoint, started on a free loopback port; gone at the end."""
    words = [sys.executable, "-m", "benchmarks.server"]
    root = Path(__file__).resolve().parents[1]
    with subprocess.Popen(words, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Canned(f"http://127.0.0.1:{int(process.stdout.readline())}")
        finally:
            process.kill()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who started it
    asyncio.run(_serve())
