"""The lease table: an item for each target table that says who may write it. It talks only to that table.

`lease` says when an item is written, and what it means.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ...dynamo.items import Wire
from ...errors import ConditionFailed, DynamoError, Refused
from ..folder import iso, now


@dataclass(frozen=True)
class Record:
    """What a lease's item says."""

    holder: str  # PID@HOST
    machine: str  # distinguishes the machine from others of its name
    run: str
    nonce: str  # of one acquisition
    fence: int  # one more at each acquisition, for ever
    counter: int  # one more at each renewal
    seconds: float
    since: str  # for people; compared with nothing
    released: bool = False

    def same_hold(self, other: "Record") -> bool:
        """Whether both are of one acquisition."""
        return (self.nonce, self.fence) == (other.nonce, other.fence)


class LeaseTable:
    """The lease table: an item for each target table. Written only on the condition that it says what it said."""

    def __init__(self, wire: Wire, table: str, key: str, region: str, account: str | None = None):
        """`key` is the table's partition key; requests go by a wire of their own, so that they wait for no data.

        `account` is the side's own, as far as it is known: a target table is named by its ARN, or without.
        """
        self.table, self._wire, self._key, self._region, self._account = table, wire, key, region, account

    def read(self, target: str) -> Record | None:
        """The lease on a target table, or None where there never was one. Read-only, consistent."""
        with self._sentences():
            return self._record(self._wire.get(self.table, self._id(target)))

    def write(self, target: str, record: Record, instead_of: Record | None, *, counted: bool = True) -> Record | None:
        """None if the lease is now this record, else the record that it is. Writes to the lease table.

        `counted`: only if nobody renewed it since `instead_of` was read. A delayed copy of an earlier write never
        overwrites a later one of the same lease holder.
        """
        body = {"TableName": self.table, "Item": self._id(target) | _item(record)}
        if instead_of is None:
            body |= {"ConditionExpression": "attribute_not_exists(#k)", "ExpressionAttributeNames": {"#k": self._key}}
        else:
            own = record.same_hold(instead_of)
            condition = "#n = :n AND #f = :f" + (" AND #c < :c" if own else " AND #c = :c" if counted else "")
            names = {"#n": "lease_nonce", "#f": "lease_fence"}
            values = {":n": {"S": instead_of.nonce}, ":f": {"N": str(instead_of.fence)}}
            if "#c" in condition:
                names["#c"], values[":c"] = "lease_counter", {"N": str((record if own else instead_of).counter)}
            body |= {
                "ConditionExpression": condition,
                "ExpressionAttributeNames": names,
                "ExpressionAttributeValues": values,
            }
        with self._sentences():
            try:
                self._wire.call("PutItem", body)
                return None
            except ConditionFailed:
                there = self._record(self._wire.get(self.table, self._id(target)))
        if there is None:
            return replace(record, holder="", nonce="")  # it was there, and is not: nobody's
        # Refused, and yet of this very acquisition: the reply to an earlier attempt was lost.
        return None if there.same_hold(record) else there

    def _id(self, target: str) -> dict:
        # Not the account: the lease table is in the same one, and STS may tell it to one operator and not to another.
        account, name = self._account, target
        if target.startswith("arn:"):
            account, _, name = target.split(":", 4)[4].partition(":table/")
        name = name if account == self._account else f"{account}/{name}"
        return {self._key: {"S": f"runbook#{self._region}#{name}"}}

    def _record(self, item: dict | None) -> Record | None:
        try:
            return None if item is None else _parsed(item)
        except (KeyError, ValueError):
            raise Refused(
                f"lease.table {self.table} holds an item that is not a lease; give the leases a table of their own."
            ) from None

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        try:
            yield
        except DynamoError as problem:
            fix = f"the lease needs DescribeTable, GetItem and PutItem on {self.table}"
            raise Refused(f"{str(problem).rstrip('.')}; {fix}.") from None


def _item(record: Record) -> dict:
    texts = {"holder": record.holder, "machine": record.machine, "run": record.run, "nonce": record.nonce}
    numbers = {"fence": record.fence, "counter": record.counter, "seconds": record.seconds}
    return {
        **{
            f"lease_{name}": {"S": text} for name, text in (texts | {"since": record.since, "seen": iso(now())}).items()
        },
        **{f"lease_{name}": {"N": str(number)} for name, number in numbers.items()},
        "lease_released": {"BOOL": record.released},
    }


def _parsed(item: dict) -> Record:
    def of(name: str, letter: str):
        return item[f"lease_{name}"][letter]

    return Record(
        *(of(name, "S") for name in ("holder", "machine", "run", "nonce")),
        int(of("fence", "N")),
        int(of("counter", "N")),
        float(of("seconds", "N")),
        of("since", "S"),
        of("released", "BOOL"),
    )
