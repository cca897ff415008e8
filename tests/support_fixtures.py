"""Fixtures that tests/cases and tests/flows share; each conftest.py imports what it offers."""

import itertools
from datetime import timedelta

import orjson
import pytest
import support_worlds as worlds

from runbook_lib.dynamo.transport import Transport
from runbook_lib.journal import stage
from runbook_lib.run import folder as runs


@pytest.fixture(autouse=True)
def quick_clock(monkeypatch):
    """File names hold seconds and never repeat: a clock that ticks at every look, so that no stage waits for the next."""
    began, ticks = runs.now(), itertools.count()
    for module in (runs, stage):
        monkeypatch.setattr(module, "now", lambda: began + timedelta(seconds=next(ticks)))


@pytest.fixture
def batches(monkeypatch):
    """How many inserts each batch held that left this process: so that falling back to single ones is seen."""
    post, sizes = Transport.post, []

    def posted(transport, keys, operation, body):
        if operation == "BatchExecuteStatement" and (size := len(orjson.loads(body)["Statements"])) > 1:
            sizes.append(size)  # one is the question whether batches are taken
        return post(transport, keys, operation, body)

    monkeypatch.setattr(Transport, "post", posted)
    return sizes


@pytest.fixture
def world(engine, monkeypatch):
    """A world of its own for each test and engine, gone afterwards."""
    yield from _world(engine, monkeypatch)


@pytest.fixture
def moto_world(moto, monkeypatch):
    """As `world`, on moto alone."""
    yield from _world(moto, monkeypatch)


def _world(engine, monkeypatch):
    world = worlds.World(engine)
    # What the mappings and parameters of the cases read.
    monkeypatch.setenv("CASE_ENDPOINT", engine.endpoint_url)
    monkeypatch.setenv("CASE_SUFFIX", world.suffix)
    yield world
    world.drop()
