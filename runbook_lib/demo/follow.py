"""The demo's cut-over: an application that changes a few items of the shop while 03 follows, stops, and asks the gate."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..run.folder import Run
from ..run.progress_file import at_work
from ..stages.follow.gate import ask
from .data import SEED, SHOP_REGION, SHOP_TABLE, shop_source
from .words import typed_item
from .world import World, for_boto3

CHANGES = {"inserted": 1, "replaced": 3, "deleted": 1, "drifted": 0}  # what following has to make of them
QUIET = 1.0  # seconds without a change that the gate waits for
LOOK = 0.1  # seconds between two looks at how far 03 is


@contextmanager
def application(world: World, run: Run) -> Iterator[list[dict[str, Any] | None]]:
    """A block in which 03 follows the shop. Afterwards the list has the answer of the gate, or None where there was none.

    Changes items in the shop's table, whose stream is on.
    """
    client = world.client(SHOP_REGION)
    over, answers = threading.Event(), []

    def work() -> None:
        while not any(one.following for one in at_work(run)):
            if over.wait(LOOK):
                return
        try:
            _change(client, world.seed)
            answers.append(ask(run, QUIET, accept_drift=False, waiting=lambda _: over.wait(LOOK)))
        finally:
            if not (answers and answers[0] and answers[0]["open"]):
                os.kill(os.getpid(), signal.SIGINT)  # as Ctrl-C: else it would be followed for ever

    thread = threading.Thread(target=work, daemon=True, name="application")
    thread.start()
    try:
        yield answers
    finally:
        over.set()
        thread.join()


def _change(client: Any, seed: int = SEED) -> None:
    """Sends three orders back, takes one line out, and adds a customer."""
    items = shop_source(seed)
    orders = [item for item in items if item["SK"]["S"].startswith("ORDER#")][:3]
    line = next(item for item in items if item["PK"]["S"].startswith("ORDER#"))
    new = {
        "PK": "CUSTOMER#c-new",
        "SK": "PROFILE",
        "name": "Nora Newcomer",
        "email": "nora@example.com",
        "newsletter": "no",
    }
    for item in (*({**order, "status": {"S": "returned"}} for order in orders), typed_item(new)):
        client.put_item(TableName=SHOP_TABLE, Item=for_boto3({"M": item})["M"])
    client.delete_item(TableName=SHOP_TABLE, Key={name: line[name] for name in ("PK", "SK")})
