"""Capacity units of a request: what its reply says, or an estimate that is not too low. Talks to nobody."""

READS = frozenset({"Scan", "Query", "GetItem", "BatchGetItem"})
WRITES = frozenset({"PutItem", "DeleteItem", "BatchExecuteStatement"})
_READ_UNIT, _WRITE_UNIT = 4096, 1024  # bytes


def measured(operation: str, body: dict) -> dict:
    """Return the body with the wish to be told the units, those of the indexes included; it costs bytes."""
    return body | {"ReturnConsumedCapacity": "TOTAL"} if operation in READS or operation in WRITES else body


def units(operation: str, body: dict, reply: dict, sent: int, received: int) -> float:
    """Return the units that a request has used up, 0 for an operation that uses none.

    Where the reply does not tell, by the bytes of request and reply, which are more than DynamoDB counts for the table
    (but leave out what its indexes take).
    """
    told = reply.get("ConsumedCapacity")
    parts = told if isinstance(told, list) else [told]
    consumed = sum(part.get("CapacityUnits", 0) for part in parts if isinstance(part, dict))
    if consumed > 0:
        return consumed
    if operation in READS:
        keys = sum(len(part["Keys"]) for part in body.get("RequestItems", {}).values())
        return max(1, keys, -(-received // _READ_UNIT))
    if operation in WRITES:
        statements = body.get("Statements")
        if statements is not None:  # each is rounded up for itself
            return len(statements) + sent // _WRITE_UNIT
        return max(1, -(-max(sent, received) // _WRITE_UNIT))
    return 0
