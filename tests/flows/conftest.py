"""The fixtures of this folder."""

from support_fixtures import closed_logs, moto_world, quick_clock, world  # noqa: F401
