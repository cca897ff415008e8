"""Whether transforms give the same result twice: a few items of each page go through their routes once more."""

from itertools import islice

from ...errors import MappingError
from ...mapping.routes import Reject, Route, Row
from ...values import differences
from ...walk.walk import Routed

SAMPLED = 8  # items of each page and entry, beside the first that the notebook shows


def check_repeatable(routed: Routed, routes: list[Route]) -> None:
    """Raises MappingError where a transform makes something else of a sampled item than it did before. Pure.

    `routes`: of the page's table. What has no transform costs nothing.
    """
    for route in routes:
        if route.entry.code is None:
            continue
        rows = [row for row in (*routed.rows, *routed.losers) if row.entry == route.entry.name]
        before = {id(row.source): row for row in rows}
        rejects = [reject for reject in routed.rejects if reject.entry == route.entry.name]
        first = [*islice(filter(route.writes, routed.page.items), SAMPLED), *[row.source for row in rows[:SAMPLED]]]
        for item in {id(item): item for item in first}.values():
            again = route.route(item)
            was = before.get(id(item)) or next(one for one in rejects if one.source_key == again.source_key)
            if (attribute := _differs(was, again)) is not None:
                where = f"{route.entry.name}, {attribute}" if attribute else route.entry.name
                raise MappingError(
                    f"{where}: {route.entry.model.transform} gives different results for one item; it must depend on the "
                    "item alone."
                )


def _differs(was: Row | Reject, again: Row | Reject) -> str | None:
    """The attribute at which two results differ, "" where no attribute does; None where they are the same."""
    if isinstance(was, Row) and isinstance(again, Row):
        return None if was.digest == again.digest else differences(was.item, again.item)[0][0]
    if isinstance(was, Row) or isinstance(again, Row):
        return ""
    return None if (was.attribute, was.reason) == (again.attribute, again.reason) else ""
