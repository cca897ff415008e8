"""A run's folder on disk: identity, files, locks, leases, spilled working data."""
