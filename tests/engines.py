"""The DynamoDB engines of the tests: each a process of its own on a free loopback port, killed at the end.

moto is always there; `make engines` installs ministack (`.venv-ministack`) and dynalite
(`tests/engines/node_modules`). None of them throttles or reports true capacity.
"""

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

from runbook_lib.demo import server as demo_server

ROOT = Path(__file__).resolve().parents[1]
MINISTACK = ROOT / ".venv-ministack/bin/ministack"
# Once a minute its reaper deletes what has expired, in the middle of whatever test; tests decide themselves what goes, and when.
MINISTACK_WITHOUT_REAPER = """
import sys, threading
start = threading.Thread.start
threading.Thread.start = lambda thread: None if thread.name == "dynamodb-ttl-reaper" else start(thread)
from ministack.app import main
sys.exit(main())
"""
DYNALITE = ROOT / "tests/engines/node_modules/.bin/dynalite"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
REGION = "us-west-1"
# No engine checks a signature, but each looks for one: it names the region.
UNSIGNED = {
    "Authorization": f"AWS4-HMAC-SHA256 Credential=testing/20000101/{REGION}/dynamodb/aws4_request, "
    "SignedHeaders=host, Signature=0",
    "X-Amz-Date": "20000101T000000Z",
    "Content-Type": "application/x-amz-json-1.0",
}


class NotInstalled(Exception):
    """The engine is not on this machine; the text says how to get it."""


class Rejected(Exception):
    """An engine has rejected a request."""


@dataclass(frozen=True)
class Engine:
    """A running server. One that lives for the whole session needs a table name of its own for each test."""

    name: str
    endpoint_url: str
    process: subprocess.Popen

    def client(self, region: str = REGION, service: str = "dynamodb"):
        """Return a boto3 client with made-up credentials; `service` may also be "sts"."""
        return boto3.client(
            service,
            region_name=region,
            endpoint_url=self.endpoint_url,
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            config=Config(retries={"total_max_attempts": 1}, max_pool_connections=32),
        )

    def call(self, operation: str, **parameters) -> dict:
        """Return the reply to one DynamoDB operation, both in DynamoDB's JSON. Raises Rejected with the engine's words."""
        connection = http.client.HTTPConnection(urlsplit(self.endpoint_url).netloc, timeout=60)
        headers = {"X-Amz-Target": f"DynamoDB_20120810.{operation}", **UNSIGNED}
        with contextlib.closing(connection):
            connection.request("POST", "/", json.dumps(parameters), headers)
            reply = connection.getresponse()
            content = json.loads(reply.read())
        if reply.status != 200:
            raise Rejected(f"{operation}: {content}")
        return content

    def pages(self, operation: str, last: str, start: str, **parameters) -> Iterator[dict]:
        """Yield the replies to an operation whose replies name in `last` where the next one starts."""
        at = {}
        while at is not None:
            page = self.call(operation, **parameters, **at)
            at = {start: page[last]} if page.get(last) else None
            yield page


def missing(name: str) -> str | None:
    """Return why the engine cannot run here, with the mend, or None where it can. Read-only."""
    if name == "ministack" and not MINISTACK.exists():
        return "ministack is not installed: make engines"
    if name == "dynalite" and not (DYNALITE.exists() and shutil.which("node")):
        return "dynalite is not installed: make engines (it needs Node.js and npm)"
    return None


@contextlib.contextmanager
def running(name: str, *, path: Path | None = None) -> Iterator[Engine]:
    """Yield the named engine, freshly started and empty; kill it at the end. Raises NotInstalled.

    `path` is a folder where dynalite keeps its data, to be started from again; the others keep nothing.
    """
    if reason := missing(name):
        raise NotInstalled(reason)
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as scratch:
        process, url = _moto() if name == "moto" else _start(name, Path(scratch), path)
        try:
            yield Engine(name, url, process)
        finally:
            process.kill()  # moto and ministack take seconds over a polite end
            process.wait()


def _moto() -> tuple[subprocess.Popen, str]:
    return demo_server.start()


def _start(name: str, scratch: Path, path: Path | None) -> tuple[subprocess.Popen, str]:
    # Between choosing a free port and the server's bind another process may take it, hence three tries.
    for _ in range(3):
        port = free_port()
        if name == "ministack":
            command = [str(MINISTACK.with_name("python")), "-c", MINISTACK_WITHOUT_REAPER]
            settings = {
                "GATEWAY_PORT": str(port),
                "BIND_HOST": "127.0.0.1",
                "SFTP_ENABLED": "0",
                "STATE_DIR": str(scratch / "state"),
            }
        else:
            # `node` by name: the wrapper in .bin would be the process to kill, and leave its child behind.
            command = ["node", str(DYNALITE.resolve()), "--host", "127.0.0.1", "--port", str(port)]
            command += ["--createTableMs", "0", "--deleteTableMs", "0", "--updateTableMs", "0"]
            command += ["--path", str(path)] if path else []
            settings = {}
        with open(scratch / "log", "wb") as log:
            process = subprocess.Popen(
                command,
                cwd=scratch,
                env={**os.environ, **settings},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        url = f"http://127.0.0.1:{port}"
        if _answers(process, url):
            return process, url
        process.kill()
        process.wait()
    tail = (scratch / "log").read_text(errors="replace")[-2000:]
    raise RuntimeError(f"{name} did not start:\n{tail}")


def _answers(process: subprocess.Popen, url: str, timeout: float = 120) -> bool:
    """Return whether DynamoDB answers at `url` before the process ends or the time is up."""
    engine = Engine("", url, process)
    client = engine.client()
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline and process.poll() is None:
        try:
            client.list_tables(Limit=1)
            return True
        except Exception:
            time.sleep(0.05)
    return False


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
