"""One line of the go/no-go list. Pure."""

from typing import Any, NamedTuple


class Check(NamedTuple):
    """One fact of one side that was looked at, with what it should be and what to do about it."""

    side: str  # source or target; "" for both
    table: str  # a table's name, an entry's for what concerns its items; "" for the whole run
    what: str  # key, index, projection, ttl, stream, recovery, protection, billing, capacity, replica, encryption, …
    found: Any  # plain JSON
    wanted: Any  # plain JSON; None where nothing in particular is wanted
    level: str  # "" where all is well, NOTE, REVIEW, FAIL
    action: str  # what to do; "" where there is nothing to do
