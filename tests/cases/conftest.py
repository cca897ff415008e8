"""The fixtures of this folder."""

from support_fixtures import batches, moto_world, quick_clock, world  # noqa: F401
