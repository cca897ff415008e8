"""One signed POST to a DynamoDB endpoint: no retries, no parsing. Loaded when the first side is opened.

Signing, CA bundle and proxies are botocore's; the connection pool is urllib3's own, which finds truncated replies.
"""

import os
import zlib
from collections.abc import Mapping
from http.client import IncompleteRead
from typing import Any
from urllib.parse import urlsplit

import urllib3
from botocore.auth import SigV4Auth
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies
from urllib3 import exceptions as broken
from urllib3.util import Timeout, make_headers
from urllib3.util.ssl_ import create_urllib3_context

from .. import failpoints
from .faults import Again

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 30.0

# In this order: the first that fits.
_REASONS = (
    (broken.NameResolutionError, "the endpoint's name cannot be resolved"),
    (broken.NewConnectionError, "the endpoint refuses connections"),
    (broken.ConnectTimeoutError, "the endpoint could not be reached in time"),
    (broken.ReadTimeoutError, "no reply in time"),
    (broken.SSLError, "TLS failed; check the CA bundle"),
    (broken.ProxyError, "the proxy failed"),
    (IncompleteRead, "the reply was cut off"),
    (broken.DecodeError, "the reply cannot be decompressed"),
    (broken.ProtocolError, "the connection broke"),
)


class _Request:
    """What SigV4Auth reads of a request, without AWSRequest's per-header work."""

    __slots__ = ("body", "context", "headers", "url")
    method = "POST"
    params = None

    def __init__(self, url: str, headers: dict[str, str], body: bytes):
        self.url, self.headers, self.body, self.context = url, headers, body, {}


class Transport:
    """A pool of connections to one endpoint. Thread-safe."""

    def __init__(
        self,
        endpoint_url: str,
        region: str,
        *,
        connections: int,
        ca_bundle: str | None = None,
        connect_timeout: float = CONNECT_TIMEOUT,
        read_timeout: float = READ_TIMEOUT,
    ):
        parts = urlsplit(endpoint_url)
        self._url, self._region = endpoint_url, region
        self._host = parts.netloc.rpartition("@")[2].removesuffix(":443" if parts.scheme == "https" else ":80").lower()
        self._headers: dict[str, dict[str, str]] = {}
        options: dict[str, Any] = {
            "maxsize": connections,
            "timeout": Timeout(connect=connect_timeout, read=read_timeout),
        }
        if parts.scheme == "https":  # one context for all connections: reading the certificates takes its time
            trusted = get_cert_path(ca_bundle or True)
            options["ssl_context"] = context = create_urllib3_context()
            context.load_verify_locations(**{"capath" if os.path.isdir(trusted) else "cafile": trusted})
        self._target = parts.path or "/"
        if proxy := get_environ_proxies(endpoint_url).get(parts.scheme):
            proxy = proxy if "://" in proxy else f"http://{proxy}"
            login = urlsplit(proxy)
            if login.username:
                options["proxy_headers"] = make_headers(proxy_basic_auth=f"{login.username}:{login.password or ''}")
            manager = urllib3.ProxyManager(proxy, **options)
            if parts.scheme == "http":  # https goes through a tunnel; for http a proxy wants the whole address
                self._target = f"http://{self._host}{self._target}"
        else:
            manager = urllib3.PoolManager(**options)
        self._pool = manager.connection_from_url(endpoint_url)

    def post(self, keys: Any, operation: str, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        """Return status, headers and body of the reply. Raises Again where none arrived whole.

        `keys` are frozen credentials; each call signs anew, so that a retry carries its own time and token.
        """
        prepared = self._headers.get(operation) or self._prepare(operation)
        request = _Request(self._url, prepared.copy(), body)
        SigV4Auth(keys, "dynamodb", self._region).add_auth(request)
        try:
            if failpoints.armed:
                failpoints.reach(f"wire.{operation}.before")
            reply = self._pool.urlopen(
                "POST", self._target, body=body, headers=request.headers, retries=False, assert_same_host=False
            )
            if failpoints.armed:
                failpoints.reach(f"wire.{operation}.after")
        except (broken.HTTPError, OSError) as problem:
            raise Again(_reason(problem)) from None
        headers, raw = reply.headers, reply.data
        checksum = headers.get("x-amz-crc32")
        # The checksum is of the bytes as sent; urllib3 has unpacked what came compressed.
        if checksum and "content-encoding" not in headers and checksum != str(zlib.crc32(raw)):
            raise Again("the reply's checksum does not match")
        return reply.status, headers, raw

    def _prepare(self, operation: str) -> dict[str, str]:
        self._headers[operation] = {
            "Host": self._host,
            "User-Agent": "runbook",
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": f"DynamoDB_20120810.{operation}",
        }
        return self._headers[operation]


def _reason(problem: Exception) -> str:
    causes = [problem, *(cause for cause in problem.args if isinstance(cause, Exception))]
    for kind, words in _REASONS:
        if any(isinstance(cause, kind) for cause in causes):
            return words
    return "the connection broke"
