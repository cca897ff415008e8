"""One table's stream: whether it can be followed, and where its shards stand."""

from collections.abc import Callable
from functools import partial
from typing import Any

from ...errors import Denied, DynamoError, Interrupted, NotAvailable, Refused
from .. import errors as faults
from ..aws.partitions import is_aws
from ..session import Connection
from ..tables import answer, where_is
from .positions import Position, Positions
from .records import Listing, Record, records_of, shards_of
from .wire import StreamRequests, requests_to_streams

VIEW = "NEW_AND_OLD_IMAGES"
ON = frozenset({"ENABLED", "ENABLING"})
WORKERS = 4  # shards that are read at the same time
AGAIN = 1.0  # seconds between two listings that do not fit together
LOOKS = 5  # how often a listing that does not fit is read again


class Stream:
    """A stream that is on and shows new and old images. Read-only, thread-safe."""

    def __init__(self, requests: StreamRequests, table: str, arn: str, label: str):
        """Asks nobody; `open_stream` looks first."""
        self.table, self.arn, self.label = table, arn, label
        self._requests = requests
        self._about = f"{table} (stream)"  # what messages, and the rate limiter, call it

    def positions_now(self) -> Positions:
        """Return positions from which every change that is made from now on is read, and some older ones again.

        Open shards stand at their StartingSequenceNumber. A closed one counts as read, and is noted only where no child of
        it is listed yet. Raises Refused where the stream was turned off meanwhile, Interrupted where it has no shards yet,
        else as `listing`.
        """
        listing = self._when(lambda found: not _seems_stale(found), LOOKS)
        if not listing.shards:  # a new stream
            listing = self._when(lambda found: bool(found.shards), int(faults.NEW_TABLE / AGAIN))
        if listing.status not in ON or listing.label != self.label:
            raise Refused(f"the stream of {self.table} was turned off meanwhile; run this again.")
        if not listing.shards:
            raise Interrupted(f"The stream of {self.table} has no shards yet; wait a while.")
        parents = {one.parent for one in listing.shards.values()}
        shards = {
            name: Position(one.parent, one.start, ended=one.end is not None)
            for name, one in listing.shards.items()
            if one.end is None or name not in parents
        }
        return Positions(self.arn, self.label, shards)

    def _when(self, fits: Callable[[Listing], bool], looks: int) -> Listing:
        """The first listing that fits, else the last of so many."""
        for look in range(looks):
            if look:
                self._requests.limiter.pause(AGAIN)
            if fits(listing := self.listing()):
                break
        return listing

    def wait_until_known(self) -> None:
        """Waits until DescribeStream knows the stream: that takes a while where it is new. Raises as `listing`."""
        for _ in range(int(faults.NEW_TABLE / AGAIN)):
            try:
                self.listing()
                return
            except DynamoError as refused:
                if not refused.not_found:
                    raise
            self._requests.limiter.pause(AGAIN)
        raise Interrupted(f"DescribeStream does not know the stream of {self.table} yet; wait a while.")

    def listing(self) -> Listing:
        """Return what DescribeStream says, all pages. Raises DynamoError where the stream is gone, Interrupted, Denied."""
        shards: dict[str, Any] = {}
        body: dict[str, Any] = {"StreamArn": self.arn}
        pages = 0
        while True:
            about = self._call("DescribeStream", body)["StreamDescription"]
            pages += 1
            shards |= shards_of(about)
            last = about.get("LastEvaluatedShardId")
            if last is None:
                break
            body = body | {"ExclusiveStartShardId": last}
        label = about.get("StreamLabel") or ""
        return Listing(about["StreamStatus"], about.get("StreamViewType") or "", label, shards, pages)

    def iterator(self, shard: str, position: Position) -> str:
        """Return an iterator that begins right behind what was seen of a shard. Raises DynamoError as `records`."""
        body = {"StreamArn": self.arn, "ShardId": shard}
        if position.sequence is None:
            body["ShardIteratorType"] = "TRIM_HORIZON"
        else:
            kind = "AFTER_SEQUENCE_NUMBER" if position.seen else "AT_SEQUENCE_NUMBER"
            body |= {"ShardIteratorType": kind, "SequenceNumber": position.sequence}
        return self._call("GetShardIterator", body)["ShardIterator"]

    def records(self, shard: str, iterator: str) -> tuple[list[Record], str | None]:
        """Return the records behind an iterator, perhaps none, and the next one; None: the shard is read to its end.

        Raises DynamoError, with its code, where iterator, records or shard are gone.
        """
        reply = self._call("GetRecords", {"ShardIterator": iterator})
        return records_of(reply, shard), reply.get("NextShardIterator")

    def _call(self, operation: str, body: dict) -> dict:
        try:
            return self._requests.call(operation, body, table=self._about)
        except DynamoError as refused:
            if refused.denied:
                raise Denied(str(refused)) from None
            raise


def open_stream(connection: Connection, table: str, workers: int = WORKERS) -> Stream:
    """Return the stream of a table. Read-only.

    `workers`: requests in flight at most. Raises Refused where it is off or does not show new and old images, NotAvailable
    where the engine has no streams, Denied without the rights, Interrupted where the endpoint does not answer.
    """
    where = where_is(connection, "DescribeStream", table)
    send = partial(connection.client.describe_table, TableName=table)
    try:
        about = answer(connection, "DescribeTable", table, send)["Table"]
    except DynamoError as refused:
        if refused.not_found:
            raise Refused(f"{connection.label}: the table {table} does not exist, so it cannot be followed.") from None
        raise
    requests = requests_to_streams(connection, workers)
    settings, arn = about.get("StreamSpecification") or {}, about.get("LatestStreamArn")
    on = settings.get("StreamEnabled") and arn
    try:
        if not on:
            if not is_aws(connection.endpoint_url):  # which may say nothing of a stream because it has none at all
                requests.call("ListStreams", {"TableName": table}, table=table)
            raise Refused(f"{connection.label}: the stream of {table} is off; {_remedy(table)}.")
        if (view := settings.get("StreamViewType")) != VIEW:
            raise Refused(
                f"{connection.label}: the stream of {table} shows {view}, not {VIEW}; turn it off, and then {_remedy(table)}."
            )
        stream = Stream(requests, table, arn, about.get("LatestStreamLabel") or arn.rpartition("/")[2])
        stream.wait_until_known()
    except DynamoError as refused:
        if refused.code in faults.LACKS and not is_aws(connection.endpoint_url):
            raise NotAvailable(f"{where}: not available here: this endpoint has no streams.") from None
        raise
    return stream


def _remedy(table: str) -> str:
    specification = f"StreamEnabled=true,StreamViewType={VIEW}"
    return f"turn it on with `aws dynamodb update-table --table-name {table} --stream-specification {specification}`"


def _seems_stale(listing: Listing) -> bool:
    """Whether a listing shows what passes: a closed shard without children, or an open one with some."""
    parents = {one.parent for one in listing.shards.values()}
    return any((one.end is None) == (name in parents) for name, one in listing.shards.items())
