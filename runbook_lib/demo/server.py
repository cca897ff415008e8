"""moto's server for the demo and the tests: `python -m runbook_lib.demo.server [PORT] [--detach]`.

It listens on 127.0.0.1 only, prints "ready PORT" once it does, keeps everything in memory, and ends with the
process that started it unless it is detached. moto is unsafe under concurrent writes: one request at a time.
"""

import argparse
import functools
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from ..errors import Refused


def start(port: int = 0, *, detach: bool = False) -> tuple[subprocess.Popen, str]:
    """Return the process of a new server and its endpoint URL, once it answers. Port 0 picks a free one.

    Stop it with `process.kill()`: moto needs many seconds to end politely. Raises Refused if it fails.
    """
    command = [sys.executable, "-m", "runbook_lib.demo.server", str(port), *(["--detach"] if detach else [])]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if detach else None,
        text=True,
        start_new_session=True,  # Ctrl-C in the terminal is meant for the run, which still needs its server
    )
    word, _, number = process.stdout.readline().partition(" ")
    process.stdout.close()
    if word != "ready":
        process.kill()
        where = f"on port {port}: stop what uses that port, or name another" if port else "on any free port"
        raise Refused(f"The embedded DynamoDB server did not start {where}.")
    return process, f"http://127.0.0.1:{int(number)}"


def serve(port: int = 0) -> None:
    """Serve moto on 127.0.0.1 until the process ends; prints "ready PORT" when it listens. Never returns."""
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Handler(WSGIRequestHandler):
        timeout = 5  # seconds that a silent client may hold up the others

        def log_request(self, *_):
            pass

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    try:
        server = make_server("127.0.0.1", port, _application(), threaded=False, request_handler=Handler)
    except SystemExit:  # werkzeug has written to stderr that the port is taken
        sys.exit(1)
    log = server.log
    # moto fails at the probe for batches; its 500 is a sufficient answer.
    server.log = lambda kind, message, *values: "batch_execute" in message or log(kind, message, *values)
    print(f"ready {server.port}", flush=True)
    sys.stdout.close()
    server.serve_forever()


def _application() -> Callable[..., Any]:
    """moto as a WSGI application, without the work that it repeats at every request: it answers in a third of the time.

    It changes moto for this whole process.
    """
    from moto import backends
    from moto.core import responses, serialize
    from moto.dynamodb.responses import DynamoHandler
    from moto.moto_server import werkzeug_app
    from werkzeug import Response

    class Dispatcher(werkzeug_app.DomainDispatcherApplication):
        """Hands what names a DynamoDB operation to its handler, past Flask's routing; the rest goes the usual way."""

        def __call__(self, environ, start_response):
            if not environ.get("HTTP_X_AMZ_TARGET", "").startswith("DynamoDB_20120810."):
                return super().__call__(environ, start_response)
            request = werkzeug_app.BackendRequest(environ)
            status, headers, body = DynamoHandler.dispatch(request, request.raw_url, dict(request.headers))
            return Response(body, status, headers)(environ, start_response)

    backends.list_of_moto_modules = functools.cache(lambda found=backends.list_of_moto_modules: tuple(found()))
    responses.method_names_from_class = functools.cache(responses.method_names_from_class)
    kind = serialize.BaseJSONSerializer
    kind._serialize_type_structure = _by_members(kind._serialize_type_structure)
    return Dispatcher(werkzeug_app.create_backend_app)


def _by_members(by_shape: Callable[..., None]) -> Callable[..., None]:
    """moto's serializer of structures; it looks for the members that a dict has, not for all there could be."""

    def serialized(self, serialized, value, shape, key):
        if key and isinstance(value, dict) and value.keys() <= shape.members.keys():
            wrapper = self.MAP_TYPE()
            for name, member in value.items():
                if member is not None:
                    self._serialize(wrapper, member, shape.members[name], name)
            self._default_serialize(serialized, wrapper, shape, key)
        else:
            by_shape(self, serialized, value, shape, key)

    return serialized


def end_with(parent: int) -> None:
    """End this process within a second after the process `parent` is gone."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)


def main() -> None:
    """Serve as the command line says."""
    parent = os.getppid()  # before the slow imports, during which the parent may already end
    parser = argparse.ArgumentParser("python -m runbook_lib.demo.server", description="moto on 127.0.0.1")
    parser.add_argument("port", nargs="?", type=int, default=0, help="0 picks a free port (default)")
    parser.add_argument("--detach", action="store_true", help="outlive the process that started it")
    arguments = parser.parse_args()
    if not arguments.detach:
        threading.Thread(target=end_with, args=(parent,), daemon=True).start()
    serve(arguments.port)


if __name__ == "__main__":
    main()
