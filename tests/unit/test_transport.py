"""Transport and below: what is signed, when a connection is kept, and that only a whole reply is one."""

import datetime
import gzip
import ipaddress
import ssl
import threading

import pytest
from botocore import auth
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st
from support_wire import GOOD, ITEM, TRUNCATED, Keys, Stub, make, reply
from urllib3.util import wait_for_read

from runbook_lib.dynamo import transport
from runbook_lib.dynamo.http import Line
from runbook_lib.dynamo.transport import Request, Signer, Transport
from runbook_lib.errors import Again, Interrupted

KEYS = ReadOnlyCredentials("AKID", "secret", "token")
KEY = {"id": {"S": "a"}}


@pytest.fixture
def stub():
    server = Stub()
    yield server
    server.close()


# Connections


def test_a_connection_that_was_closed_meanwhile_is_no_fault(stub):
    """The server ends an idle connection, as DynamoDB does: the next request takes a new one, without a retry."""
    stub.script = [GOOD + b"\0close"]
    wire = make(stub)
    for _ in range(3):
        assert wire.get("T", KEY) == ITEM
        (line,) = wire._transport._idle
        assert wait_for_read(line._socket, 60)  # until the end of it has come
    assert stub.connections == 3
    assert wire.retries.total() == 0


def test_a_reply_is_never_taken_for_that_of_the_next_request(stub):
    """What follows a reply unasked, with it or later, is thrown away with its connection."""
    first, stale = (KEY | {"n": {"S": n}} for n in ("1", "stale"))
    stub.script = [reply({"Item": first}) + reply({"Item": stale}), GOOD]
    wire = make(stub)
    assert wire.get("T", KEY) == first
    assert wire.get("T", KEY) == ITEM
    assert stub.connections == 2


def test_connection_close_is_obeyed(stub):
    """A server that announces the end of a connection is not written to on it."""
    stub.script = [reply({"Item": ITEM}, headers="Connection: close\r\n")]
    wire = make(stub)
    for _ in range(3):
        assert wire.get("T", KEY) == ITEM
    assert stub.connections == 3


def test_threads_share_no_connection_at_a_time(stub):
    """Each thread gets the reply to its own request, and no more connections are opened than threads send at once."""
    stub.script = [lambda body: reply({"Item": body["Key"]})]
    wire = make(stub, workers=4)
    wrong = []

    def ask(thread):
        for number in range(50):
            key = {"id": {"S": f"{thread}-{number}"}}
            if wire.get("T", key) != key:
                wrong.append(key)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert stub.connections <= 4


# Replies


class Pieces:
    """A connection that brings a reply in pieces of some size, then its end."""

    def __init__(self, data, size):
        self.data, self.size, self.sock = data, size, self

    def connect(self):
        pass

    def settimeout(self, seconds):
        pass

    def sendall(self, data):
        pass

    def recv(self, size):
        piece, self.data = self.data[: min(size, self.size)], self.data[min(size, self.size) :]
        return piece

    def recv_into(self, view):
        piece = self.recv(len(view))
        view[: len(piece)] = piece
        return len(piece)


CHUNKED = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\n{"a":\r\n3\r\n 1}\r\n0\r\nTrailer: t\r\n\r\n'
SIZED = b'HTTP/1.1 200 OK\r\nX-Some: thing \r\nContent-Length: 8\r\n\r\n{"a": 1}'
AFTER_100 = b"HTTP/1.1 100 Continue\r\n\r\n" + SIZED


@pytest.mark.parametrize("data", [CHUNKED, SIZED, AFTER_100], ids=["chunked", "sized", "after-100"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 20, 1000])
def test_a_reply_is_read_whole_however_it_arrives(data, size):
    """Cut into packets anywhere, the reply is the same, and the connection can be used again."""
    line = Line(Pieces(data, size), 1)
    status, headers, body = line.exchange(b"")
    assert (status, bytes(body), line.reusable) == (200, b'{"a": 1}', True)
    if data is SIZED:
        assert headers["x-some"] == "thing"


@pytest.mark.parametrize("data", [CHUNKED, SIZED, AFTER_100], ids=["chunked", "sized", "after-100"])
def test_a_reply_that_ends_early_is_none(data):
    """Wherever the connection ends before the reply does: Again, never a shorter body."""
    for end in range(len(data)):
        with pytest.raises(Again):
            Line(Pieces(data[:end], 1000), 1).exchange(b"")


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.0\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\ntwo\r\n{}\r\n0\r\n\r\n",
        b"x" * 200_000,
    ],
)
def test_what_is_not_http_is_no_reply(data):
    """Something else answers at that port, or the head is damaged: Again."""
    with pytest.raises(Again):
        Line(Pieces(data, 1000), 1).exchange(b"")


def test_a_body_without_length_ends_with_the_connection():
    """As HTTP/1.0 has it; such a connection is not used again."""
    line = Line(Pieces(b"HTTP/1.1 500 Oops\r\n\r\nplain text", 5), 1)
    assert line.exchange(b"")[0::2] == (500, b"plain text")
    assert not line.reusable


@pytest.mark.parametrize("damage", [False, True])
def test_a_compressed_reply_is_unpacked(stub, damage):
    """Checked by the checksum of what was sent; one that does not unpack is a fault that passes."""
    packed = gzip.compress(b'{"Item": {"id": {"S": "a"}, "n": {"S": "packed"}}}')
    broken = packed[:12] + b"\xff\xff" + packed[14:]
    header = "Content-Encoding: gzip\r\n"
    stub.script = [reply({}, raw=broken if damage else packed, headers=header), reply({}, raw=packed, headers=header)]
    wire = make(stub)
    assert wire.get("T", KEY) == KEY | {"n": {"S": "packed"}}
    assert dict(wire.retries) == ({"the reply cannot be decompressed": 1} if damage else {})
    assert stub.headers[0]["accept-encoding"] == transport.ACCEPT_ENCODING


@pytest.mark.parametrize("fault", [TRUNCATED, reply({"Item": {}}, crc=1)], ids=["truncated", "wrong-checksum"])
def test_through_a_proxy_replies_are_checked_as_well(stub, monkeypatch, fault):
    """Another way to the endpoint, the same faults found."""
    monkeypatch.setenv("HTTP_PROXY", stub.url)
    monkeypatch.setenv("NO_PROXY", "")
    stub.script = [fault, GOOD]
    wire = make(stub)
    wire._transport = Transport("http://dynamo.invalid:8000", "us-west-1", connections=1, api="DynamoDB_20120810")
    assert wire.get("T", KEY) == ITEM
    assert wire.retries.total() == 1


# TLS


@pytest.fixture(scope="module")
def certified(tmp_path_factory):
    """Return a function giving the file of a certificate and a server's context with it, for one IP address."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def make_one(address):
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stub")])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), False)
            .add_extension(x509.BasicConstraints(True, None), True)
            .sign(key, hashes.SHA256())
        )
        path = tmp_path_factory.mktemp("tls") / "certificate.pem"
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (path.parent / "key.pem").write_bytes(private)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path, path.parent / "key.pem")
        return path, context

    return make_one


def test_tls_with_a_trusted_certificate(certified):
    """Large requests and replies over one kept TLS connection."""
    path, context = certified("127.0.0.1")
    stub = Stub(context)
    big = {"id": {"S": "x" * 1_000_000}, "x": {"S": "x" * 3_000_000}}
    stub.script = [reply({"Item": big})]
    wire = make(stub, ca_bundle=str(path))
    for _ in range(3):
        assert wire.get("T", {"id": big["id"]}) == big
    assert stub.connections == 1
    assert wire.retries.total() == 0
    stub.close()


@pytest.mark.parametrize("fault", ["unknown", "other-host"])
def test_tls_is_verified(certified, fault):
    """A certificate that nobody vouches for, or of another host: nothing is sent, and the text says what to look at."""
    path, context = certified("127.0.0.2" if fault == "other-host" else "127.0.0.1")
    stub = Stub(context)
    trusted = {"ca_bundle": str(path)} if fault == "other-host" else {}
    with pytest.raises(Interrupted, match="TLS failed; check the CA bundle"):
        make(stub, attempts=2, **trusted).get("T", KEY)
    assert stub.requests == []
    stub.close()


def test_a_silent_tls_server_is_given_up(stub):
    """One that accepts and then says nothing: bounded by the time to connect."""
    from socket import create_server

    with create_server(("127.0.0.1", 0)) as silent:
        stub.url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(Interrupted, match="could not be reached in time"):
            make(stub, attempts=1, connect_timeout=0.2).get("T", KEY)


# Signatures


class Clock:
    """Stands in for botocore's clock."""

    def __init__(self, monkeypatch, moment):
        self.moment = moment
        monkeypatch.setattr(auth, "get_current_datetime", lambda: self.moment)


MOMENT = datetime.datetime(2025, 6, 30, 23, 59, 59)
HEADERS = {"Host": "h.example:8000", "User-Agent": "u"}  # the first is signed, the second not


def botocores(keys, region, url, headers, body, moment):
    """The Authorization that botocore gives such a request."""
    request = AWSRequest("POST", url, data=body, headers=headers)
    signer = SigV4Auth(keys, "dynamodb", region)
    request.context["timestamp"] = moment.strftime(auth.SIGV4_TIMESTAMP)
    signer._modify_request_before_signing(request)
    signature = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    return signer._inject_signature_to_request(request, signature).headers["Authorization"]


words = st.text("abcXYZ019+/=-_.~", min_size=1, max_size=40)


@given(words, words, st.none() | words, st.binary(max_size=100), words, st.sampled_from(["", "/", "/a b/ü//c/../d"]))
def test_signatures_are_botocores(access, secret, token, body, operation, path):
    """For any credentials, body, operation and path; twice with one signer, which keeps the derived key."""
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock(patch, MOMENT)
        keys = ReadOnlyCredentials(access, secret, token)
        url = f"https://h.example:8000{path}"
        signer = Signer(keys, "us-west-1", url)
        for moment in (MOMENT, MOMENT, MOMENT + datetime.timedelta(seconds=1)):  # the last is of the next day
            clock.moment = moment
            headers = {**HEADERS, "Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"D.{operation}"}
            request = Request(url, dict(headers), body)
            signer.add_auth(request)
            assert request.headers["Authorization"] == botocores(keys, "us-west-1", url, headers, body, moment)


def test_other_credentials_sign_from_then_on(stub):
    """A refresh brings another secret for the same access key: the derived key of the old one is not used."""
    keys = Keys()
    wire = make(stub, keys)
    for secret in ("secret", "other", "secret"):
        keys.now = ReadOnlyCredentials("AKID", secret, None)
        wire.get("T", KEY)
        sent = stub.headers[-1]
        moment = datetime.datetime.strptime(sent["x-amz-date"], auth.SIGV4_TIMESTAMP)
        headers = {name: sent[name] for name in ("host", "content-type", "x-amz-target")}
        body = b'{"TableName":"T","Key":{"id":{"S":"a"}},"ConsistentRead":true}'
        assert sent["authorization"] == botocores(keys.now, "us-west-1", stub.url, headers, body, moment)


@pytest.mark.parametrize("token", ["to\nken", "token\r\nX-Injected: 1", "tökén"])
def test_credentials_that_no_header_may_hold_are_told(stub, token):
    """A line break in a token would end its header: one sentence, without the token, and nothing is sent."""
    keys = Keys()
    keys.now = ReadOnlyCredentials("AKID", "secret", token)
    with pytest.raises(Interrupted, match="hold line breaks") as raised:
        make(stub, keys).get("T", KEY)
    assert token not in str(raised.value)
    assert stub.requests == []
