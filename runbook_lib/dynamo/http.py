"""One request and its reply on a connection that is kept: a small HTTP/1.1 client for what DynamoDB sends.

urllib3 makes the connection, TLS and its checks included; writing and reading are done here, because its general way
through a request costs several times what signing, sending and parsing cost together.
"""

from typing import Any

from urllib3.util import wait_for_read

from ..errors import Again

CHUNK = 1 << 18
MAX_HEAD = 1 << 16
MAX_BODY = 1 << 28  # far above DynamoDB's 16 MB as JSON: a number beyond it is damaged

CUT_OFF = "the reply was cut off"
NOT_HTTP = "the reply is not HTTP"


class Line:
    """A connection to the endpoint. For one thread at a time. Its methods raise Again, OSError or TimeoutError."""

    def __init__(self, connection: Any, timeout: float):
        """Connects; `timeout` in seconds is for each wait from then on. Raises what urllib3 does."""
        try:
            connection.connect()
        except BaseException:
            connection.close()
            raise
        self._connection, self._socket = connection, connection.sock
        self._socket.settimeout(timeout)
        self.reusable = False  # whether the last reply was taken whole and the other side keeps the connection

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def dropped(self) -> bool:
        """Return whether the other side has closed it, or said something unasked."""
        return wait_for_read(self._socket, 0)

    def exchange(self, request: bytes) -> tuple[int, dict[str, str], bytes | bytearray]:
        """Return status, headers by lower-case name, and body as sent, of the reply to these bytes."""
        try:
            self._socket.sendall(request)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it may have answered before it closed
        status = 100
        rest = self._socket.recv(CHUNK)
        if not rest:
            raise Again("the connection broke")
        while status < 200:  # 1xx: the reply is still to come
            head, rest = self._until(b"\r\n\r\n", rest, MAX_HEAD)
            version, status, headers = _parse(head)
        length = headers.get("content-length")
        whole = True
        if status == 204:
            body = b""
        elif "chunked" in headers.get("transfer-encoding", "").lower():
            body, rest = self._chunks(rest)
        elif length is None:
            body, rest, whole = self._to_the_end(rest), b"", False
        else:
            body, rest = self._exactly(length, rest)
        kept = headers.get("connection", "" if version == "HTTP/1.1" else "close").lower()
        self.reusable = whole and not rest and "close" not in kept
        return status, headers, body

    def _until(self, mark: bytes, data: bytes, limit: int) -> tuple[bytes, bytes]:
        while (end := data.find(mark)) < 0:
            if len(data) > limit:
                raise Again(NOT_HTTP)
            data += self._more()
        return data[:end], data[end + len(mark) :]

    def _more(self) -> bytes:
        data = self._socket.recv(CHUNK)
        if not data:
            raise Again(CUT_OFF)
        return data

    def _exactly(self, length: str, data: bytes) -> tuple[bytes | bytearray, bytes]:
        if not (length.isascii() and length.isdigit()) or (size := int(length)) > MAX_BODY:
            raise Again(NOT_HTTP)
        if len(data) >= size:
            return data[:size], data[size:]
        body = bytearray(size)
        body[: len(data)] = data
        left = memoryview(body)[len(data) :]
        while left:
            count = self._socket.recv_into(left)
            if not count:
                raise Again(CUT_OFF)
            left = left[count:]
        return body, b""

    def _chunks(self, data: bytes) -> tuple[bytes, bytes]:
        body = bytearray()
        while True:
            line, data = self._until(b"\r\n", data, MAX_HEAD)
            try:
                size = int(line.partition(b";")[0], 16)
            except ValueError:
                raise Again(NOT_HTTP) from None
            if not size:
                break
            while len(data) < size + 2:
                data += self._more()
            body += data[:size]
            data = data[size + 2 :]
        while line:  # trailers end with an empty line
            line, data = self._until(b"\r\n", data, MAX_HEAD)
        return bytes(body), data

    def _to_the_end(self, data: bytes) -> bytes:
        parts = [data]
        while parts[-1]:
            parts.append(self._socket.recv(CHUNK))
        return b"".join(parts)


def _parse(head: bytes) -> tuple[str, int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    if version not in ("HTTP/1.1", "HTTP/1.0") or not rest[:3].isdecimal():
        raise Again(NOT_HTTP)
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return version, int(rest[:3]), headers
