"""What the network before AWS does: replies that are lost, late, cut, empty, foreign, or another server's.

A fault hits a share (`rate`) of the requests of some `operations`, by `seed` and their number among those of one operation,
which depends on no clock. One body is hit at most `times` times, so that who tries again gets through in the end.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import orjson
from aws_requests import BATCH, DYNAMODB, READS, WRITES, Call, Go, Reply
from support_wire import HANG_UP, reply

# Those whose true reply is never `{}`: of another one nobody could tell that it was emptied.
NEVER_EMPTY = READS - {"GetItem"} | {BATCH, "DescribeTable"}
KINDS = ("413", "untyped", "unknown", "500", "403")


class Broken(Exception):
    """A reply that no DynamoDB gives: the bytes that are sent instead."""


def network(
    name: str,
    act: Callable[..., Reply],
    proxy: Any,
    *,
    rate: float = 1.0,
    seed: int = 0,
    times: int = 2,
    operations: Iterable[str] = READS | WRITES,
    **options: Any,
) -> Callable:
    """A handler that lets a fault happen here and there."""
    numbers: Counter[str] = Counter()
    hits: Counter[bytes] = Counter()

    def hit(call: Call) -> bool:
        text = orjson.dumps(call.body)
        with proxy.lock:
            number = numbers[call.operation]
            numbers[call.operation] += 1
            if hits[text] >= times or random.Random(f"{seed} {name} {call.operation} {number}").random() >= rate:
                return False
            hits[text] += 1
            return True

    def on(call: Call, go: Go) -> Reply:
        return act(proxy, call, go, **options) if call.operation in operations and hit(call) else go(call)

    return on


def late(proxy: Any, call: Call, go: Go, seconds: float = 1.0) -> Reply:
    """The reply comes when the client has given up."""
    answer = go(call)
    proxy.met("late")
    time.sleep(seconds)
    return answer


def lost(proxy: Any, call: Call, go: Go) -> Reply:
    """The engine does what is asked; then the connection ends without a reply."""
    go(call)
    proxy.met("lost")
    raise Broken(HANG_UP)


def cut(proxy: Any, call: Call, go: Go) -> Reply:
    """The reply ends early."""
    status, content = go(call)
    proxy.met("cut")
    whole = orjson.dumps(content)
    raise Broken(reply(None, status, raw=whole[: len(whole) // 2], length=len(whole)) + b"\0close")


def empty(proxy: Any, call: Call, go: Go) -> Reply:
    """The engine does what is asked; the reply is `{}`, status 200."""
    go(call)
    proxy.met("empty")
    return 200, {}


def status(proxy: Any, call: Call, go: Go, answers: Iterable[str] = KINDS) -> Reply:
    """The request does not reach the engine. By turns: 413 with a page, a 400 without a type, a 413 with a
    type that DynamoDB does not have, a 500, a 403 with a page."""
    with proxy.lock:
        kind = answers[proxy.seen["status"] % len(answers)]
        proxy.met("status")
    if kind == "untyped":
        return 400, {"message": "something is amiss"}
    if kind == "unknown":
        return 413, {"__type": "RequestEntityTooLarge", "message": "something is too large"}
    if kind == "500":
        return 500, {"__type": f"{DYNAMODB}#InternalServerError", "message": "Internal server error"}
    raise Broken(reply(None, int(kind), raw=b"<html>a page of something in between</html>"))


def doubled(proxy: Any, call: Call, go: Go) -> Reply:
    """The engine gets the request twice, and the client the second reply."""
    go(call)
    proxy.met("doubled")
    return go(call)


def swapped(proxy: Any, call: Call, go: Go, wait: float = 0.2) -> Reply:
    """Two requests of one operation on one table, under way at once, get each other's replies; one that is alone, its own.

    Nothing in a reply names its request or its table: between tables no client could tell.
    """
    mine = go(call)
    place = (call.operation, *sorted({place.table for place in call.places()}))
    with proxy.lock:
        if other := proxy.waiting.pop(place, None):
            proxy.met("swapped", 2)
            other[1] = mine
            other[2].set()
            return other[0]
        proxy.waiting[place] = slot = [mine, None, threading.Event()]  # this one's reply, the other's
    slot[2].wait(wait)
    with proxy.lock:
        if proxy.waiting.get(place) is slot:
            del proxy.waiting[place]
        return slot[1] or mine


# From the client inwards.
NETWORK: dict[str, Callable] = {
    act.__name__: partial(network, act.__name__, act) for act in (late, lost, cut, swapped, doubled, status)
} | {"empty": partial(network, "empty", empty, operations=NEVER_EMPTY)}
