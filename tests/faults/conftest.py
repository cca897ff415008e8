"""The fixtures of this folder."""

import pytest
import support_worlds as worlds
from faults import harness


@pytest.fixture(scope="module")
def _bench(engine_pool, tmp_path_factory):
    """One world for all tests of a module."""
    with pytest.MonkeyPatch.context() as patch:
        harness.quicken(patch)
        bench = harness.Bench(worlds.World(engine_pool("moto")), tmp_path_factory.mktemp("runs"))
        yield bench
        bench.world.drop()


@pytest.fixture
def bench(_bench):
    """The small migration, its target as it was first."""
    yield _bench
    _bench.clear()
