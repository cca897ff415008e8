"""Budgets, made and read in short."""

from runbook_lib.dynamo.rate_limiter import ALL, READ, WRITE, Budgets


def overall(read: float | None = None, write: float | None = None) -> Budgets:
    """Budgets of all tables together."""
    return Budgets({(ALL, kind): units for kind, units in ((READ, read), (WRITE, write)) if units is not None})


def allowed(budgets: Budgets, table: str = ALL) -> tuple[float | None, float | None]:
    """Read and write units a second of a table, of all tables together where none is given."""
    return budgets.units.get((table, READ)), budgets.units.get((table, WRITE))
