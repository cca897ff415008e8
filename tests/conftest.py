"""Fixtures for all tests: an environment that can reach no real account, and the engines."""

import copy
import functools
import os
import random
import signal
import sys

import engines
import pytest
from botocore.hooks import BaseEventHooks, EventAliaser
from botocore.loaders import JSONFileLoader, Loader, create_loader
from hypothesis import settings

from runbook_lib import process, yaml_files

# nbformat imports it: a grammar for IRIs that takes most of a second to build, in every process, and checks nothing here.
sys.modules.setdefault("rfc3987_syntax", None)
# Every botocore session reads the same files of a megabyte anew, looks through all of its folders, and works out the
# same names and signatures of event handlers: a quarter of what a stage takes in these tests.
_loaded = functools.cache(JSONFileLoader().load_file)
_services = functools.cache(create_loader().list_available_services)
_event_names = functools.cache(EventAliaser(None)._alias_event_name)
JSONFileLoader.load_file = lambda self, path: _loaded(path)
Loader.list_available_services = lambda self, type_name: _services(type_name)
EventAliaser._alias_event_name = lambda self, name: _event_names(name)
BaseEventHooks._verify_accept_kwargs = lambda self, handler: None
# Hundreds of runs read the same mapping, and PyYAML takes ten milliseconds for one.
_parsed = functools.cache(yaml_files._parsed)


def _parsed_anew(text):
    nodes, content, mistakes = _parsed(text)
    return nodes, copy.deepcopy(content), mistakes  # of the nodes only places are read


yaml_files._parsed = _parsed_anew
# How many examples a property gets: the same on every machine, except in the long tier.
settings.register_profile("default", deadline=None, derandomize=True, max_examples=30)
settings.register_profile("long", deadline=None, max_examples=1500)
settings.load_profile("default")

# What could name a real account, or lead past the test's own engine.
LEADING_AWAY = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ENDPOINT_URL_DYNAMODB_STREAMS",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_STS",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
)
SAFE = {
    **engines.CREDENTIALS,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "RUNBOOK_HEADLESS": "1",
}
ENGINES = (
    "moto",
    pytest.param("ministack", marks=pytest.mark.slow),
    pytest.param("dynalite", marks=pytest.mark.slow),
)


def pytest_addoption(parser):
    group = parser.getgroup("this project")
    group.addoption("--shuffle", type=int, metavar="SEED", help="run files, and tests within a file, in another order")
    group.addoption("--soak", type=int, metavar="N", help="examples of the state machine of faults/test_machine.py")
    group.addoption("--seed", type=int, default=0, metavar="N", help="which of its examples (default: %(default)s)")


def pytest_configure(config):
    # In os.environ, not in a fixture: kernels and commands that tests start inherit it.
    for name in LEADING_AWAY:
        os.environ.pop(name, None)
    os.environ.update(SAFE)


def pytest_collection_modifyitems(config, items):
    """Shuffles by seed: every worker must collect the same order, and a file's tests stay together."""
    if (seed := config.getoption("--shuffle")) is not None:
        order = random.Random(seed)
        files = {item.path: order.random() for item in items}
        items.sort(key=lambda item: (files[item.path], order.random()))


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    """What a process sets for as long as it lives, where a test is that process: how long a Dask worker waits for locks, and
    the command that executes notebooks."""
    monkeypatch.setattr(process, "lock_patience", process.lock_patience)
    monkeypatch.setenv(process.HEADLESS, SAFE[process.HEADLESS])


@pytest.fixture(scope="session")
def engine_pool():
    """Return a function giving the session's server of an engine, started when first used; all are killed."""
    contexts, started = [], {}

    def get(name: str) -> engines.Engine:
        if name not in started:
            context = engines.running(name)
            try:
                started[name] = context.__enter__()
            except engines.NotInstalled as reason:
                pytest.skip(str(reason))
            contexts.append(context)
        return started[name]

    yield get
    for context in contexts:
        context.__exit__(None, None, None)


@pytest.fixture
def moto(engine_pool) -> engines.Engine:
    """moto's server: one for the session, so tests name their tables apart."""
    return engine_pool("moto")


@pytest.fixture
def fresh_moto():
    """A moto server of this test's own, empty."""
    with engines.running("moto") as engine:
        yield engine


@pytest.fixture
def ministack(engine_pool) -> engines.Engine:
    """ministack's server, one for the session; for tests marked slow."""
    return engine_pool("ministack")


@pytest.fixture
def dynalite(engine_pool) -> engines.Engine:
    """dynalite's server, one for the session; for tests marked slow."""
    return engine_pool("dynalite")


@pytest.fixture(params=ENGINES)
def engine(request, engine_pool) -> engines.Engine:
    """Each engine in turn; the others only in the slow tier, skipped with a reason where missing."""
    return engine_pool(request.param)


@pytest.fixture
def in_time():
    """Ends a test that waits for what never comes, such as the other end of a pipe."""

    def end(*_):
        pytest.fail("it waits")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
