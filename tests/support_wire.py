"""A stub endpoint that answers as scripted, and a wire to it."""

import socket
import struct
import threading
import zlib
from collections.abc import Callable
from contextlib import suppress

import orjson
from botocore.credentials import ReadOnlyCredentials

from runbook_lib.dynamo.items import Wire

CANARY = "canary-of-a-value"
ITEM = {"id": {"S": "a"}, "secret": {"S": CANARY}}


# What the stub can do with a request.


def reply(content, status=200, *, raw=None, crc=None, length=None, version="1.1", headers=""):
    """The bytes of a reply; `crc` and `length` override what is true, `raw` the body."""
    body = orjson.dumps(content) if raw is None else raw
    head = (
        f"HTTP/{version} {status} X\r\nContent-Type: application/x-amz-json-1.0\r\n{headers}"
        f"x-amz-crc32: {zlib.crc32(body) if crc is None else crc}\r\n"
    )
    if version == "1.1":
        head += f"Content-Length: {len(body) if length is None else length}\r\n"
    return head.encode() + b"\r\n" + body


def error(code, status=400, message="", headers="", **more):
    content = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message, **more}
    return reply(content, status, headers=headers)


HANG_UP, RESET = object(), object()  # close the connection politely, or with a reset; either way without a reply
THROTTLED = error("ProvisionedThroughputExceededException", message=f"too much {CANARY}")
TRUNCATED = reply({"Item": ITEM}, length=5000) + b"\0close"
HTTP_1_0 = reply({"Item": ITEM}, version="1.0") + b"\0close"
GOOD = reply({"Item": ITEM})
REFUSED_WITH_ITEM = error("ConditionalCheckFailedException", message="The conditional request failed", Item=ITEM)
REFUSED_BARE = error("ConditionalCheckFailedException", message="The conditional request failed")


class Stub:
    """An HTTP/1.1 server with keep-alive. Answers each request with the next of `script`, a function of the body or
    fixed; the last one for ever."""

    def __init__(self, tls=None, port=0):
        """`tls` is the context of a server that speaks it; port 0 is any free one."""
        self.script: list = [GOOD]
        self.requests: list[tuple[str, dict]] = []  # operation, body
        self.headers: list[dict[str, str]] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", port))
        self._tls = tls
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()

    def answer(self, headers, raw):
        """The bytes that answer a request, HANG_UP or RESET."""
        body = orjson.loads(raw)
        self.requests.append((headers["x-amz-target"].rpartition(".")[2], body))
        self.headers.append(headers)
        answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return answer(body) if isinstance(answer, Callable) else answer

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        if self._tls:
            try:
                connection = self._tls.wrap_socket(connection, server_side=True)
            except OSError:  # it was not trusted
                return
        with suppress(ConnectionError), connection, connection.makefile("rb") as stream:  # the client may be killed
            while stream.readline():
                headers = {}
                while line := stream.readline().strip():
                    name, _, value = line.decode().partition(":")
                    headers[name.lower()] = value.strip()
                answer = self.answer(headers, stream.read(int(headers.get("content-length", 0))))
                if answer is RESET:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                if answer in (RESET, HANG_UP):
                    return
                connection.sendall(answer.removesuffix(b"\0close"))
                if answer.endswith(b"\0close"):
                    return


class Keys:
    """Credentials; `spare` are what a renewal brings."""

    def __init__(self, *spare):
        self.now = ReadOnlyCredentials("AKID", "secret", "token-0")
        self.spare = list(spare)

    def frozen(self):
        return self.now

    def renew(self, stale):
        if self.spare:
            self.now = self.spare.pop(0)
        return self.now != stale


def make(stub, keys=None, **options):
    return Wire(stub.url, "us-west-1", keys or Keys(), label="target", base_delay=0.001, **options)


def operations(stub):
    return [operation for operation, _ in stub.requests]
