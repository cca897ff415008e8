"""What a validation went through without proving anything: empty source tables, and queries that expect and get nothing."""

from collections.abc import Mapping, Sequence

from ...dynamo import tables
from ...verdict import REVIEW, Alert
from ...walk.plan import Plan
from ..references import accepted_alert
from .compare import EntryValidation
from .queries import PatternProof


def proves_nothing(plan: Plan, figures: Mapping[str, EntryValidation], proofs: Sequence[PatternProof]) -> list[Alert]:
    """The open items; what the mapping accepts is a note. Asks whether the source tables are empty of which no item came."""
    alerts = []
    for table, routes in plan.by_source().items():
        names = [route.entry.name for route in routes]
        if any(figures[name].scanned for name in names) or not tables.is_empty(plan.source, table):
            continue
        message = f"the source table {table} is empty: nothing was compared"
        action = "Check that it is the right table; or accept it in the mapping (`accept: {empty: true}`)."
        is_accepted = all(route.entry.model.accept.empty for route in routes)
        alerts.append(accepted_alert(names[0], message) if is_accepted else Alert(REVIEW, names[0], message, action))
    for proof in proofs:
        if not proof.vacuous:
            continue
        message = f"query {proof.name} expects and gets nothing: proves only that the index exists"
        action = "Give it a value that items have; or accept it in the mapping (`accept: {queries: [NAME]}`)."
        is_accepted = proof.name in plan.mapping.entries[proof.entry].model.accept.queries
        alerts.append(
            accepted_alert(proof.entry, message) if is_accepted else Alert(REVIEW, proof.entry, message, action)
        )
    return alerts
