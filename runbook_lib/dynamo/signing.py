"""botocore's SigV4 for requests that differ only in operation, time and body. Loaded with `transport`."""

import hmac
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth

from ..errors import Interrupted

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
