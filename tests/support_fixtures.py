"""Fixtures that tests/cases and tests/flows share; each conftest.py imports what it offers."""

import orjson
import pytest
import support_worlds as worlds

from runbook_lib.dynamo.transport import Transport


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
