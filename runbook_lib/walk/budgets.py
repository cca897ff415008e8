"""What `limits` allows each table, by the mapping's entries."""

from collections.abc import Mapping

from ..dynamo.rate_limiter import ALL, READ, WRITE, Budgets
from ..errors import ParametersError
from ..mapping.model import Entry
from ..parameters import Limits
from ..yaml_files import suggest

EACH = "*"  # in `limits.tables`: every table that is not named


def tables_of(entries: Mapping[str, Entry]) -> dict[str, tuple[str, str]]:
    """Entry → source table, target table."""
    return {name: (entry.source, entry.target) for name, entry in entries.items()}


def budgets_of(limits: Limits, tables: Mapping[str, tuple[str, str]]) -> Budgets:
    """The budgets of a run; `tables` is entry → source table, target table.

    An entry's read units hold for its source table and for its target table, each; its write units for its target
    table. Of several entries of one table the lowest holds. Raises ParametersError for a name that is not an entry.
    """
    units = {}
    for kind, of_all in ((READ, limits.read_units), (WRITE, limits.write_units)):
        if of_all is not None:
            units[ALL, kind] = of_all
    for name in sorted(limits.tables.keys() - tables.keys() - {EACH}):
        raise ParametersError(f"limits.tables: no entry {name!r}{suggest(name, [*tables, EACH])}")
    for name, (source, target) in tables.items():
        own = limits.tables.get(name) or limits.tables.get(EACH)
        if own is None:
            continue
        places = [(f"source {source}", READ, own.read_units), (f"target {target}", READ, own.read_units)]
        for side_table, kind, allowed in [*places, (f"target {target}", WRITE, own.write_units)]:
            if allowed is not None:
                units[side_table, kind] = min(allowed, units.get((side_table, kind), allowed))
    return Budgets(units)
