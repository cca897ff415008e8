"""The fixtures of this folder."""

from support_fixtures import moto_world, quick_clock, world  # noqa: F401
