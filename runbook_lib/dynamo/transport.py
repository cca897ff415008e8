"""One signed POST to a DynamoDB endpoint: no retries, no parsing. Loaded when the first side is opened.

Signing, CA bundle and proxies are botocore's; connections and TLS are urllib3's. Through a proxy urllib3 also sends and
reads; without one `exchange` does.
"""

import hmac
import os
import ssl
import zlib
from collections.abc import Mapping
from hashlib import sha256
from http.client import IncompleteRead
from typing import Any
from urllib.parse import quote, urlsplit

import urllib3
from botocore.auth import SigV4Auth
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies
from urllib3 import exceptions as broken
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util import Timeout, make_headers
from urllib3.util.ssl_ import create_urllib3_context

from .. import failpoints
from ..errors import Again, Interrupted, Refused
from .http import CUT_OFF, Line

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 30.0

# Replies come as they are. Compressed ("gzip", which post understands) a page is a third to a fifth, but unpacking costs
# as much CPU as parsing, and CPU is what limits a run near its tables. AWS's own clients leave it off, too; it has had
# checksums that do not match.
ACCEPT_ENCODING = "identity"

# In this order: the first that fits.
_REASONS = (
    (broken.NameResolutionError, "the endpoint's name cannot be resolved"),
    (broken.NewConnectionError, "the endpoint refuses connections"),
    (broken.ConnectTimeoutError, "the endpoint could not be reached in time"),
    (broken.ReadTimeoutError, "no reply in time"),
    (broken.ProxyError, "the proxy failed"),
    ((broken.SSLError, ssl.SSLError), "TLS failed; check the CA bundle"),
    (TimeoutError, "no reply in time"),
    (IncompleteRead, CUT_OFF),
)


_NO_CONNECTION = (broken.NameResolutionError, broken.NewConnectionError, broken.ConnectTimeoutError)


class Transport:
    """Connections to one endpoint, kept between requests. Thread-safe."""

    def __init__(
        self,
        endpoint_url: str,
        region: str,
        *,
        connections: int,
        api: str,
        ca_bundle: str | None = None,
        connect_timeout: float = CONNECT_TIMEOUT,
        read_timeout: float = READ_TIMEOUT,
    ):
        """`api`: whose operations are asked for, as the header X-Amz-Target says it."""
        parts = urlsplit(endpoint_url)
        self._url, self._region, self._api = endpoint_url, region, api
        self._host = parts.netloc.rpartition("@")[2].removesuffix(":443" if parts.scheme == "https" else ":80").lower()
        self._target = quote(parts.path, safe="/%:@!$&'()*+,;=~") or "/"
        self._timeouts = connect_timeout, read_timeout
        self._headers: dict[str, dict[str, str]] = {}
        self._signer: Signer | None = None
        self._idle: list[Line] = []  # append and pop are atomic; the last used first
        self._new = (HTTPConnection, parts.hostname, parts.port, {})
        tls: dict[str, Any] = {}
        if parts.scheme == "https":  # one context for all connections: reading the certificates takes its time
            trusted = get_cert_path(ca_bundle or True)
            tls["ssl_context"] = context = create_urllib3_context()
            context.load_verify_locations(**{"capath" if os.path.isdir(trusted) else "cafile": trusted})
            self._new = (HTTPSConnection, parts.hostname, parts.port, tls)
        proxy = get_environ_proxies(endpoint_url).get(parts.scheme)
        try:
            self._pool = self._proxied(proxy, parts.scheme, connections, tls) if proxy else None
        except ValueError:  # whose text may hold a part of the password
            raise Refused(
                f"the proxy in {parts.scheme.upper()}_PROXY is not a URL that can be used; correct it, and write /, #, ?, [ "
                "and @ of a password as %2F, %23, %3F, %5B and %40."
            ) from None

    def _proxied(self, proxy: str, scheme: str, connections: int, tls: dict[str, Any]) -> Any:
        proxy = proxy if "://" in proxy else f"http://{proxy}"
        login = urlsplit(proxy)
        if login.username:
            tls = tls | {"proxy_headers": make_headers(proxy_basic_auth=f"{login.username}:{login.password or ''}")}
        connect, read = self._timeouts
        manager = urllib3.ProxyManager(proxy, maxsize=connections, timeout=Timeout(connect=connect, read=read), **tls)
        if scheme == "http":  # https goes through a tunnel; for http a proxy wants the whole address
            self._target = f"http://{self._host}{self._target}"
        return manager.connection_from_url(self._url)

    def post(self, keys: Any, operation: str, body: bytes) -> tuple[int, Mapping[str, str], bytes | bytearray]:
        """Return status, headers and body of the reply. Raises Again where none arrived whole.

        `keys` are frozen credentials; each call signs anew, so that a retry carries its own time and token.
        """
        headers = self._sign(keys, operation, body)
        try:
            if failpoints.armed:
                failpoints.reach(f"wire.{operation}.before")
            send = self._through_proxy if self._pool else self._directly
            status, received, raw = send(headers, body)
            if failpoints.armed:
                failpoints.reach(f"wire.{operation}.after")
        except (broken.HTTPError, OSError) as problem:
            reason, connected = _reason(problem)
            raise Again(reason, may_have_landed=connected) from None
        checksum = received.get("x-amz-crc32")
        if checksum and checksum != str(zlib.crc32(raw)):  # of the bytes as sent, so before they are unpacked
            raise Again("the reply's checksum does not match")
        if received.get("content-encoding") == "gzip":
            try:
                raw = zlib.decompress(raw, 31)
            except zlib.error:
                raise Again("the reply cannot be decompressed") from None
        return status, received, raw

    def _sign(self, keys: Any, operation: str, body: bytes) -> dict[str, str]:
        signer = self._signer
        if signer is None or signer.credentials != keys:
            self._signer = signer = Signer(keys, self._region, self._url)
        prepared = self._headers.get(operation) or self._prepare(operation)
        request = Request(self._url, prepared.copy(), body)
        signer.add_auth(request)
        return request.headers

    def _prepare(self, operation: str) -> dict[str, str]:
        self._headers[operation] = {
            "Host": self._host,
            "User-Agent": "runbook",
            "Accept-Encoding": ACCEPT_ENCODING,
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": f"{self._api}.{operation}",
        }
        return self._headers[operation]

    def _directly(self, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes | bytearray]:
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        head = f"POST {self._target} HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
        line = self._line()
        try:
            reply = line.exchange(head.encode("ascii") + body)
        finally:
            if line.reusable:
                self._idle.append(line)
            else:
                line.close()
        return reply

    def _line(self) -> Line:
        while self._idle:
            try:
                line = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if not line.dropped():
                line.reusable = False
                return line
            line.close()
        kind, host, port, options = self._new
        connect, read = self._timeouts
        try:
            return Line(kind(host, port, timeout=connect, **options), read)
        except TimeoutError:  # of the TLS handshake
            raise Again("the endpoint could not be reached in time") from None

    def _through_proxy(self, headers: dict[str, str], body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        reply = self._pool.urlopen(
            "POST",
            self._target,
            body=body,
            headers=headers,
            retries=False,
            assert_same_host=False,
            decode_content=False,
        )
        return reply.status, reply.headers, reply.data


def _reason(problem: Exception) -> tuple[str, bool]:
    """Why no reply came, and whether there was a connection that the request may have left by."""
    causes = [problem, *(cause for cause in problem.args if isinstance(cause, Exception))]
    for kind, words in _REASONS:
        if any(isinstance(cause, kind) for cause in causes):
            return words, kind not in _NO_CONNECTION
    return "the connection broke", True


SERVICE = "dynamodb"


class Request:
    """What SigV4Auth reads of a request, without AWSRequest's per-header work."""

    __slots__ = ("body", "context", "headers", "url")
    method = "POST"
    params = None

    def __init__(self, url: str, headers: dict[str, str], body: bytes):
        self.url, self.headers, self.body, self.context = url, headers, body, {}


class Signer(SigV4Auth):
    """Signs for one set of frozen credentials. Thread-safe.

    `add_auth` is botocore's. What it calls is replaced where the answer is known: the canonical request of a POST with
    these five headers and no query, and the key, which is derived once a day.
    """

    def __init__(self, keys: Any, region: str, url: str):
        """Raises Interrupted where the credentials hold what no header may."""
        super().__init__(keys, SERVICE, region)
        sent = keys.access_key + (keys.token or "")
        if not (sent.isascii() and sent.isprintable()):
            raise Interrupted("The credentials hold line breaks or other characters that no header may; correct them.")
        token = "x-amz-security-token;" if keys.token else ""
        self._signed = f"content-type;host;x-amz-date;{token}x-amz-target"
        self._token = f"x-amz-security-token:{keys.token}\n" if keys.token else ""
        self._path = self._normalize_url_path(urlsplit(url).path)
        self._derived = ("", b"")  # day, key: one assignment, so that a thread sees a pair that fits

    def canonical_request(self, request: Request) -> str:
        headers = request.headers
        return (
            f"POST\n{self._path}\n\ncontent-type:{headers['Content-Type']}\nhost:{headers['Host']}\n"
            f"x-amz-date:{headers['X-Amz-Date']}\n{self._token}x-amz-target:{headers['X-Amz-Target']}\n\n"
            f"{self._signed}\n{sha256(request.body).hexdigest()}"
        )

    def signature(self, string_to_sign: str, request: Request) -> str:
        day = request.context["timestamp"][:8]
        known, key = self._derived
        if known != day:
            key = f"AWS4{self.credentials.secret_key}".encode()
            for part in (day, self._region_name, SERVICE, "aws4_request"):
                key = self._sign(key, part)
            self._derived = (day, key)
        return hmac.digest(key, string_to_sign.encode(), "sha256").hex()

    def _inject_signature_to_request(self, request: Request, signature: str) -> Request:
        request.headers["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.scope(request)}, SignedHeaders={self._signed}, Signature={signature}"
        )
        return request
