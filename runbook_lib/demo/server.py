"""moto's server for the demo and the tests: `python -m runbook_lib.demo.server [PORT] [--detach]`.

It listens on 127.0.0.1 only, prints "ready PORT" once it does, keeps everything in memory, and ends with the
process that started it unless it is detached. moto is unsafe under concurrent writes: one request at a time.
"""

import argparse
import logging
import os
import subprocess
import sys
import threading
import time

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

    from .quick_moto import application

    class Handler(WSGIRequestHandler):
        timeout = 5  # seconds that a silent client may hold up the others

        def log_request(self, *_):
            pass

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    try:
        server = make_server("127.0.0.1", port, application(), threaded=False, request_handler=Handler)
    except SystemExit:  # werkzeug has written to stderr that the port is taken
        sys.exit(1)
    log = server.log
    # moto fails at the probe for batches; its 500 is a sufficient answer.
    server.log = lambda kind, message, *values: "batch_execute" in message or log(kind, message, *values)
    print(f"ready {server.port}", flush=True)
    sys.stdout.close()
    server.serve_forever()


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
