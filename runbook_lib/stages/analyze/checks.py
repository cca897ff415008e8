"""One line of the go/no-go list, and the alert that it becomes where something is open. Pure."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from ...verdict import Alert

NOTE = "NOTE"


class Check(NamedTuple):
    """One fact of one side that was looked at, with what it should be and what to do about it."""

    side: str  # source or target; "" for both
    table: str  # a table's name, an entry's for what concerns its items; "" for the whole run
    what: str  # key, index, projection, ttl, stream, recovery, protection, billing, capacity, replica, encryption, …
    found: Any  # plain JSON
    wanted: Any  # plain JSON; None where nothing in particular is wanted
    level: str  # "" where all is well, NOTE, REVIEW, FAIL
    action: str  # what to do; "" where there is nothing to do
    message: str  # the fact as a sentence without its full stop


def alerts_of(checks: Iterable[Check]) -> list[Alert]:
    """The open items: every check that has a level, as an alert."""
    return [Alert("" if c.level == NOTE else c.level, c.table, c.message, c.action) for c in checks if c.level]


def from_alert(alert: Alert, what: str, found: Any, side: str = "source") -> Check:
    """The check that becomes this alert."""
    return Check(side, alert.table, what, found, None, alert.level or NOTE, alert.action, alert.message)
