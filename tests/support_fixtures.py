"""Fixtures that folders of tests share; each conftest.py imports what it offers."""

import os
import shutil

import orjson
import pytest
import support_worlds as worlds

from runbook_lib.dynamo.transport import Transport

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


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


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium."""
    if not CHROMIUM:
        pytest.skip("Chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()
