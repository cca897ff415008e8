"""Objects in an S3 bucket, created by one writer and never changed. The credentials are this process's own."""

import time
from typing import Any

PATIENCE = (0.1, 0.5, 2.0)  # seconds to wait where another request for the same object is under way


class Bucket:
    """Objects below a prefix of a bucket. Thread-safe. Its methods raise what botocore raises."""

    def __init__(self, name: str, prefix: str, connections: int):
        """Finds the credentials as boto3 does; asks for nothing yet."""
        import boto3
        from botocore.config import Config
        from botocore.exceptions import ClientError

        retries = {"mode": "standard", "total_max_attempts": 5}
        config = Config(connect_timeout=5, read_timeout=30, retries=retries, max_pool_connections=connections)
        self._client = boto3.session.Session().client("s3", config=config)
        self._name, self._prefix, self._refused = name, f"{prefix}/" if prefix else "", ClientError

    def put(self, name: str, content: bytes) -> bool:
        """Whether this request has created the object. Writes to the bucket."""
        for pause in (*PATIENCE, None):
            try:
                self._client.put_object(**self._at(name), Body=content, IfNoneMatch="*")
                return True
            except self._refused as problem:
                status = problem.response["ResponseMetadata"]["HTTPStatusCode"]
                if status == 412:
                    return False
                if status != 409 or pause is None:
                    raise
            time.sleep(pause)
        raise AssertionError

    def get(self, name: str) -> bytes | None:
        """An object's content; None where there is none. Read-only."""
        try:
            return self._client.get_object(**self._at(name))["Body"].read()
        except self._client.exceptions.NoSuchKey:
            return None

    def names(self, folder: str, after: str) -> list[str]:
        """The names in a folder that come after one. Read-only."""
        first = f"{self._prefix}{folder}/"
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._name, Prefix=first, StartAfter=first + after
        )
        return [found["Key"].removeprefix(first) for page in pages for found in page.get("Contents", ())]

    def _at(self, name: str) -> dict[str, Any]:
        return {"Bucket": self._name, "Key": self._prefix + name}
