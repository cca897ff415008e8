"""The fixtures of this folder."""

from support_fixtures import batches, moto_world, world  # noqa: F401
