"""The fixtures of this folder."""

import pytest
import support_batches
import support_worlds as worlds
from faults import harness


@pytest.fixture(scope="module")
def _bench(request, engine_pool, tmp_path_factory):
    """One world for all tests of a module, or one for each way of inserting: see harness.by()."""
    way = harness.WAYS[getattr(request, "param", "puts")]
    engine = engine_pool(way.engine)
    with pytest.MonkeyPatch.context() as patch:
        harness.quicken(patch)
        if way.point == "Statement":
            support_batches.give(patch)
        bench = harness.Bench(worlds.World(engine), tmp_path_factory.mktemp("runs"), way)
        yield bench
        bench.world.drop()


@pytest.fixture
def bench(_bench):
    """The small migration, its target as it was first."""
    yield _bench
    _bench.clear()
