"""02: a few items and what they refer to, on trial."""
