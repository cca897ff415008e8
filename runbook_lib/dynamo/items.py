"""The data path: raw DynamoDB JSON in and out, signed, retried, paced. No boto3 serialization, no Python number types.

An item is what the wire holds, parsed: `{"id": {"S": "a"}, "n": {"N": "1.5"}}`. Every method raises Interrupted when
the endpoint does not recover within the attempts, or the credentials are not accepted (the run can be resumed), and
DynamoError for a refusal that no retry can change.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, Unpack

from ..errors import Again, ConditionFailed
from . import errors as faults
from .batch_insert import Batches, Outcome, key_identity
from .requests import WORKERS, Keys, Requests, Settings, Trying

Looked = Callable[[int, int], object]  # a reply settled so many keys, and so many of them have an item
BATCH_GET_KEYS = 100  # DynamoDB's limit for one BatchGetItem
VANISHING = 5  # how often a put may be refused for an item that is gone when looked at


def unheard(keys: int, items: int) -> None:
    """Where nobody counts what a reply settles."""


class Wire(Requests):
    """The data path to one side's tables. Thread-safe."""

    def __init__(self, endpoint_url: str, region: str, keys: Keys, **settings: Unpack[Settings]):
        super().__init__(endpoint_url, region, keys, **settings)
        self._key_schemas: dict[str, list[str]] = {}
        self._batches = Batches(self, settings.get("workers", WORKERS))
        self.singly = self._batches.singly

    # reads

    def scan_page(
        self,
        table: str,
        *,
        start: dict | None = None,
        segment: int = 0,
        segments: int = 1,
        limit: int | None = None,
        attributes: list[str] | None = None,
        consistent: bool = True,
    ) -> tuple[list[dict], dict | None]:
        """Return the items of one page and the key to go on from, None at the segment's end. Read-only.

        A page may be empty and still not be the last. `attributes` names what to bring (default: all).
        """
        body: dict[str, Any] = {"TableName": table, "ConsistentRead": consistent}
        if start is not None:
            body["ExclusiveStartKey"] = start
        if segments > 1:
            body |= {"Segment": segment, "TotalSegments": segments}
        if limit is not None:
            body["Limit"] = limit
        if attributes:
            names = {f"#a{number}": name for number, name in enumerate(attributes)}
            body |= {"ProjectionExpression": ",".join(names), "ExpressionAttributeNames": names}
        return self._page("Scan", body)

    def scan_pages(self, table: str, **how: Any) -> Iterator[list[dict]]:
        """Yield the items of each page of a whole table. Read-only. `how`: see `scan_page`."""
        start = None
        while True:
            items, start = self.scan_page(table, start=start, **how)
            yield items
            if start is None:
                return

    def query_pages(self, body: dict) -> Iterator[tuple[list[dict], dict | None]]:
        """Yield each page's items and the key to go on from. Read-only. `body` is Query's."""
        body = dict(body)
        while True:
            items, last = self._page("Query", body)
            yield items, last
            if last is None:
                return
            body["ExclusiveStartKey"] = last

    def _page(self, operation: str, body: dict) -> tuple[list[dict], dict | None]:
        reply = self.call(operation, body)
        return reply["Items"], reply.get("LastEvaluatedKey")

    def get(self, table: str, key: dict) -> dict | None:
        """Return the item, by a consistent read, or None. Read-only.

        An empty reply means that there is none, and a damaged one may be empty. Where something is counted as missing or
        deleted for it, use get_many, whose reply always says something.
        """
        return self.call("GetItem", {"TableName": table, "Key": key, "ConsistentRead": True}).get("Item")

    def get_many(self, table: str, keys: list[dict], answered: Looked = unheard) -> list[dict | None]:
        """Return the item of each key, None where there is none, in the order of the keys. Read-only.

        Consistent reads of up to 100 keys, each key once; what DynamoDB leaves over is asked for again. `answered` hears of
        each reply.
        """
        wanted = {key_identity(key, key): key for key in keys}
        found: dict[tuple, dict] = {}
        left = list(wanted.values())
        trying = None
        while left:
            batch, left = left[:BATCH_GET_KEYS], left[BATCH_GET_KEYS:]
            reply = self.call("BatchGetItem", {"RequestItems": {table: {"Keys": batch, "ConsistentRead": True}}})
            over = faults.of_table(reply.get("UnprocessedKeys", {}), table, {}).get("Keys", [])
            problem = None
            try:
                items = {key_identity(batch[0], item): item for item in faults.of_table(reply["Responses"], table, ())}
                if not items.keys() | {key_identity(batch[0], key) for key in over} <= wanted.keys():
                    self.shown += [(table, item) for item in items.values()]
                    raise KeyError
                found |= items
            except (KeyError, ArithmeticError, AttributeError, TypeError):
                over, problem = batch, Again("the reply holds other keys than those asked for")
            left = over + left
            # Left over after 16 MB is no reason to wait; nothing at all having come through is.
            if len(over) < len(batch):
                self._note("BatchGetItem", table, 1)
                answered(len(batch) - len(over), len(items))
                trying = None
                continue
            trying = trying or Trying(self, "BatchGetItem", table)
            trying.failed(problem or Again("UnprocessedKeys: DynamoDB processed none of the keys", overload=True))
        return [found.get(key_identity(key, key)) for key in keys]

    # writes: every one of them on a condition

    def put_new(
        self,
        table: str,
        item: dict,
        partition_key: str,
        *,
        guarded: bool = True,
        unanswered: list[str] | None = None,
    ) -> dict | None:
        """Return None when the item was inserted, else the item that has its key already. Writes to the table.

        Never overwrites. Where an attempt was not answered, the item that is there may be the one that it inserted: then it
        is MaybeOurs, and the caller compares. Raises ConditionFailed where an item appears and vanishes again and again.

        `guarded=False` is for putting back what this process has taken away: that has to be done, whatever has changed.
        `unanswered`: see `call`; who gives it says MaybeOurs, because other requests' replies may tell whose the item is.
        """
        body = {
            "TableName": table,
            "Item": item,
            "ConditionExpression": "attribute_not_exists(#k)",
            "ExpressionAttributeNames": {"#k": partition_key},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        lost = [] if unanswered is None else unanswered
        key = {name: item[name] for name in self._key_schemas.get(table, [partition_key]) if name in item}
        for again in range(VANISHING):
            if again:
                self._back_off(again)
            try:
                self.call("PutItem", body, guarded=guarded, unanswered=lost, key=key)
                return None
            except ConditionFailed as refused:
                last = refused
            # Some engines refuse without the item; then it has to be looked up.
            there = last.item or self.get(table, {name: item[name] for name in self._key_names(table)})
            if there is not None:
                return faults.MaybeOurs(there) if lost and unanswered is None else there
        raise last

    def why_single(self, table: str, key_names: tuple[str, ...]) -> str:
        """Return why insert_many sends single requests to this table, "" where it sends batches. Read-only.

        What it may send to know lacks the key.
        """
        assert not self._read_only, f"{self.label} is only read, never written"
        return self._batches.why_single(table, key_names)

    def insert_many(
        self,
        table: str,
        items: list[dict],
        key_names: tuple[str, ...],
        unsent: list[int] | None = None,
        *,
        keys: Sequence[Hashable] | None = None,
        sizes: Sequence[int] | None = None,
        values: Sequence[bytes | None] | None = None,
        answered: Callable[[int], object] = lambda rows: None,
    ) -> list[Outcome]:
        """Return for each item None when it was inserted, the item that has its key already, or why it cannot be written.

        Writes to the table; never overwrites. In batches where the table takes them, else by put_new, up to as many requests
        at once as there are workers, in any order; equal keys in the order given. Where an attempt was not answered, the
        item that is there is MaybeOurs, as in `put_new`. Raises Interrupted when all requests under way have ended, and
        NotSent where guards held back whatever was not done; then `unsent` gets the numbers of items of which no copy
        has left.

        `keys` tell equal keys apart from others, and `sizes` are the items' bytes as JSON, about: where the caller knows
        them, they need not be worked out again. `values` are each item's values in the order of its names, serialized, or None.
        `answered` hears of each request, once it is settled, how many items it was about; any thread calls it.
        """
        assert not self._read_only, f"{self.label} is only read, never written"
        self._key_schemas.setdefault(table, list(key_names))
        return self._batches.insert(table, items, key_names, unsent, keys, sizes, values, answered)

    def _key_names(self, table: str) -> list[str]:
        if table not in self._key_schemas:
            schema = self.call("DescribeTable", {"TableName": table})["Table"]["KeySchema"]
            self._key_schemas[table] = [part["AttributeName"] for part in schema]
        return self._key_schemas[table]

    def delete_if(self, table: str, key: dict, condition: list[tuple[str, dict]]) -> dict | None:
        """Return the deleted item, or None where there was none. Writes to the table.

        `condition` lists attributes with the typed values that they must still have. Raises ConditionFailed, with the
        item as it is now, where one has not.
        """
        body: dict[str, Any] = {"TableName": table, "Key": key, "ReturnValues": "ALL_OLD"}
        if condition:
            body |= {
                "ConditionExpression": " AND ".join(f"#a{n} = :v{n}" for n in range(len(condition))),
                "ExpressionAttributeNames": {f"#a{n}": name for n, (name, _) in enumerate(condition)},
                "ExpressionAttributeValues": {f":v{n}": value for n, (_, value) in enumerate(condition)},
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        for again in range(VANISHING):
            if again:
                self._back_off(again)
            try:
                return self.call("DeleteItem", body).get("Attributes")
            except ConditionFailed as refused:
                last = refused
            # No item in the refusal: it is gone (perhaps by us, with the reply lost), or the engine does not say.
            last.item = last.item or self.get_many(table, [key])[0]
            if last.item is None:
                return None
            if not all(faults.is_of({name: value}, last.item) for name, value in condition):
                break  # else the condition holds, and the refusal was another one's
        raise last
