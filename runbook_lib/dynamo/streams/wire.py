"""Requests to DynamoDB Streams, which has an API and an endpoint of its own."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ..aws.partitions import is_aws
from ..requests import Requests
from ..session import Connection
from .records import lacking

SERVICE = "dynamodbstreams"


class StreamRequests(Requests):
    """Requests to the streams of one side: signed, retried and throttled as those to its tables. Read-only, thread-safe."""

    api = "DynamoDBStreams_20120810"

    def _lacking(self, operation: str, body: Mapping[str, Any], reply: Mapping[str, Any]) -> str:
        return lacking(operation, body, reply)

    def _is_lost(self, table: str | None) -> bool:
        return True  # what a shard that is not found means, the reader knows


def requests_to_streams(connection: Connection, workers: int) -> StreamRequests:
    """Return requests to the streams of a side. Asks nobody."""
    return connection.wire.beside(StreamRequests, endpoint_of(connection), workers)


def endpoint_of(connection: Connection) -> str:
    """Return where the side's streams are: an engine of your own answers everything in one place, AWS does not.

    On AWS it is what botocore finds for the region, with the profile's settings (FIPS, dual stack,
    AWS_ENDPOINT_URL_DYNAMODB_STREAMS, which a network without a way to AWS's own names needs for its VPC endpoint).
    """
    from botocore.config import Config

    if not is_aws(connection.endpoint_url):
        return connection.endpoint_url
    fips = "-fips." in (urlsplit(connection.endpoint_url).hostname or "") or None  # None: as the profile says
    config = Config(use_fips_endpoint=fips, account_id_endpoint_mode="disabled")
    session = connection.wire.keys.session
    return session.create_client(SERVICE, region_name=connection.region, config=config).meta.endpoint_url
