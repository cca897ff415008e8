"""A process that dies where a test wants it to: forked, patched, killed with SIGKILL, so that nothing gets to clean up."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from runbook_lib.dynamo.items import Wire
from runbook_lib.dynamo.transport import Transport
from runbook_lib.journal.log import Log, link_of

KILLED = -signal.SIGKILL
PAGE = 4  # source items a page, so that a few dozen items make many


def die() -> None:
    """Ends this process as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)


def in_child(work: Callable[[], Any], *arms: Callable[[], None]) -> int:
    """The exit code of a child that arms its failures and does the work; negative where a signal killed it."""

    def child() -> None:
        for arm in arms:
            arm()
        work()

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(120)
    if process.exitcode is None:
        process.kill()
        raise AssertionError("the child hangs")
    return process.exitcode


def _counted(number: int) -> Callable[[], bool]:
    """A function that says True at its Nth call."""
    lock, calls = threading.Lock(), [0]

    def now() -> bool:
        with lock:
            calls[0] += 1
            return calls[0] == number

    return now


def small_pages(monkeypatch) -> None:
    """Scans of the source bring PAGE items at a time."""
    scan_page = Wire.scan_page

    def few(wire, table, **options):
        return scan_page(wire, table, **({"limit": PAGE} if wire.label == "source" else {}) | options)

    monkeypatch.setattr(Wire, "scan_page", few)


def at_record(kind: str, number: int, moment: str) -> Callable[[], None]:
    """Dies at the Nth journal record of a kind: before it is written, in the middle of it, or after."""

    def arm() -> None:
        append, now = Log.append, _counted(number)

        def dying(log: Log, what: str, **record: Any) -> None:
            here = what == kind and now()
            if here and moment == "before":
                die()
            if here and moment == "middle":
                line = link_of(log._chain, b"{}") + b' {"kind":"' + what.encode() + b'","rows":['
                os.write(log._file.fileno(), line)
                die()
            append(log, what, **record)
            if here:
                die()

        Log.append = dying

    return arm


def at_request(operation: str, number: int, moment: str) -> Callable[[], None]:
    """Dies at the Nth request of an operation: before it leaves, or when it has been done."""

    def arm() -> None:
        call, now = Wire.call, _counted(number)

        def dying(wire: Wire, what: str, body: dict, **options: Any) -> dict:
            here = what == operation and now()
            if here and moment == "before":
                die()
            try:
                return call(wire, what, body, **options)
            finally:
                if here:
                    die()

        Wire.call = dying

    return arm


def lose_replies(monkeypatch, operation: str, every: int = 2) -> None:
    """Every Nth request of an operation is done, and its reply never arrives."""
    from runbook_lib.errors import Again

    post, lock, calls = Transport.post, threading.Lock(), [0]

    def losing(transport, keys, what, body):
        reply = post(transport, keys, what, body)
        if what == operation:
            with lock:
                calls[0] += 1
                lost = calls[0] % every == 0
            if lost:
                raise Again("the connection broke")
        return reply

    monkeypatch.setattr(Transport, "post", losing)
