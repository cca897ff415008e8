"""What has to be known of the source before the first insert: which ids it holds, and which items share a target key.

Read-only. Only the tables that need it are read, and only where the mapping makes it necessary.
"""

import threading
from hashlib import blake2b

from .errors import Refused
from .hashlog import HashLog, HashSet
from .plan import Plan
from .routes import Row
from .values import key_bytes, key_hash, key_text, order
from .walk import Routed, Winners, walk


def id_hash(entry: str, value: dict, width: int = 16) -> bytes:
    """A hash that identifies an old id of an entry."""
    letter, content = key_bytes(value)
    return blake2b(b"\0".join((entry.encode(), letter.encode(), content)), digest_size=width).digest()


def prepare(plan: Plan, *, refuse: bool = True) -> tuple[Plan, Winners]:
    """The plan with its routes knowing the source's ids where the mapping asks, and the winners of shared target keys.

    Raises Refused where a reference with `dangling: stop` is dangling (unless `refuse` is False). Read-only.
    """
    policies = {
        name: {reference.dangling for reference in entry.model.references.values()}
        for name, entry in plan.mapping.entries.items()
        if name in plan.routes
    }
    stopping = {name for name, found in policies.items() if refuse and "stop" in found}
    if any(found & {"keep", "null"} for found in policies.values()) or stopping:
        known = _source_ids(plan)
        plan = plan.with_exists(lambda entry, old: id_hash(entry, old) in known)
    else:
        known = HashSet(b"", 16)
    targets = {route.entry.target for route in plan.routes.values() if plan.shares_target_keys(route)}
    # All entries that write to such a table take part, chosen or not, so that the choice does not change the winner.
    sharing = {name for name, route in plan.all_routes.items() if route.entry.target in targets}
    if not sharing and not stopping:
        return plan, {}
    whole = plan.choose(list(sharing | stopping))
    logs = {target: HashLog() for target in targets}

    def collect(routed: Routed) -> None:
        for row in routed.rows:
            if row.entry in stopping:
                _refuse_dangling(plan, row, known)
            if row.entry in sharing:
                logs[plan.all_routes[row.entry].entry.target].extend([key_hash(row.key)])

    walk(whole, collect)
    duplicates = {target: found for target, log in logs.items() if (found := log.duplicates())}
    return plan, _winners(whole, duplicates) if duplicates else {}


def _source_ids(plan: Plan) -> HashSet:
    """The ids of all items that any entry of the mapping selects, chosen for this run or not."""
    log = HashLog()
    for name, entry in plan.mapping.entries.items():
        route = plan.all_routes[name]
        attributes = sorted({entry.model.id or "", *entry.model.where} - {""})
        start = None
        while attributes:
            items, start = plan.source.wire.scan_page(entry.source, start=start, attributes=attributes)
            ids = [route.id_of(item) for item in items if route.selects(item)]
            log.extend(id_hash(name, value) for value in ids if value is not None)
            if start is None:
                break
    return log.frozen()


def _refuse_dangling(plan: Plan, row: Row, known: HashSet) -> None:
    references = plan.mapping.entries[row.entry].model.references
    for found in row.references:
        dangling = found.old is None or id_hash(found.parent, found.old) not in known
        if dangling and references[found.path].dangling == "stop":
            raise Refused(
                f"{row.entry}: a reference at {found.path} names no item of {found.parent or 'any entry'}, and the "
                "mapping says `dangling: stop`; see 01_analyze for all of them, or choose map, keep or null."
            )


def _winners(plan: Plan, duplicates: dict[str, set[bytes]]) -> Winners:
    """Per shared target key the item with the smallest source key (by entry order where that is the same item)."""
    positions = {name: position for position, name in enumerate(plan.routes)}
    best: dict[tuple[str, bytes], tuple] = {}
    lock = threading.Lock()

    def collect(routed: Routed) -> None:
        for row in routed.rows:
            target, hashed = plan.routes[row.entry].entry.target, key_hash(row.key)
            if hashed not in duplicates.get(target, ()):
                continue
            names = [name for name, _ in plan.routes[row.entry].shape.source_key]
            rank = ([order(row.source_key[name]) for name in names], positions[row.entry])
            with lock:
                if (target, hashed) not in best or rank < best[target, hashed][0]:
                    best[target, hashed] = (rank, row.entry, key_text(row.source_key))

    walk(plan, collect)
    return {place: (entry, source_key) for place, (_, entry, source_key) in best.items()}
