"""Results of steps, made by hand."""

from collections import Counter

from runbook_lib.journal.snapshot import State
from runbook_lib.stages.analyze.analysis import Analysis, EntryAnalysis
from runbook_lib.stages.migrate.migrate import Migration


def analysis_of(tables: dict[str, EntryAnalysis], **more) -> Analysis:
    """An analysis with what is given, all else empty."""
    values = {
        "levels": dict.fromkeys(tables, 1),
        "targets": {},
        "unrouted": {},
        "seconds": 1.0,
        "checks": [],
        "listed": {},
        **more,
    }
    return Analysis(tables=tables, **values)


def state_of(tables: dict[str, dict], **more) -> State:
    """A stage that ended."""
    values = {
        "unrouted": 0,
        "executions": 1,
        "started": "2025-01-01T00:00:00Z",
        "ended": None,
        "finished": True,
        "rolled_back": False,
        "rolling_back": False,
        "undone": Counter(),
        **more,
    }
    return State(tables={name: Counter(counts) for name, counts in tables.items()}, **values)


def migration_of(tables: dict[str, dict], **more) -> Migration:
    """A migration that ended so."""
    return Migration(state_of(tables, **more), None, False, None)
