"""Objects that are created once, by one writer, and never changed: what makes a journal beyond this machine possible.

If two processes create the same object, exactly one succeeds, and a reader finds the whole of it. That holds on S3 (a put with
the condition that the object does not exist), in a folder (a finished file gets its name), and on a file system of fsspec whose
server decides. Where fsspec decides itself, its own local files included, it looks first and writes afterwards.
"""

import hashlib
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from inspect import signature
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import unquote, urlsplit

from ...errors import Interrupted, Refused, RunbookError
from ...run.files import make_folder, sync_folder
from ...yaml_files import shown
from ..guard import check_journal_url

PARALLEL = 16  # requests
CHUNK = 16_000_000  # bytes of a file in one object
DIGITS = 10  # of a number in a name
UNDER_WAY = (0.1, 0.5, 2.0)  # seconds to wait where S3 is at another request for the same object


class Blob(NamedTuple):
    """A file in several objects."""

    chunks: int
    sha256: str


class Store:
    """The objects below a URL. Thread-safe. Raises Interrupted where they cannot be reached."""

    def __init__(self, url: str):
        """Raises Refused where the URL's file system cannot create exclusively, or needs a package that is missing."""
        check_journal_url(url)
        self.url = url.rstrip("/")
        try:
            self._objects = _open(url)
        except (RunbookError, MemoryError):
            raise
        except Exception as problem:
            told = shown(str(problem)).rstrip(".")  # an endpoint of the AWS configuration, perhaps
            known = told if isinstance(problem, ImportError | ValueError) else _reason(problem)
            raise Refused(f"limits.journal: {self.url} cannot be opened: {known}.") from None

    def create(self, name: str, content: bytes) -> bool:
        """Whether the object exists with this content: created now, or by an attempt whose reply was lost. Writes it.

        False if it exists with another content.
        """
        return self._reach(self._objects.put, name, content) or self.read(name) == content

    def read(self, name: str) -> bytes | None:
        """An object's content; None where there is none. Read-only."""
        return self._reach(self._objects.get, name)

    def read_all(self, names: Iterable[str]) -> Iterator[bytes | None]:
        """As `read`, of many, in order. Read-only."""
        names = list(names)
        if len(names) < 2:
            yield from map(self.read, names)
            return
        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="objects") as pool:
            for at in range(0, len(names), PARALLEL * 4):  # no more in memory than are asked for together
                yield from pool.map(self.read, names[at : at + PARALLEL * 4])

    def last(self, folder: str, first: int) -> int:
        """The largest number of an object in a folder, not below `first`; `first` - 1 where there is none. Read-only."""
        after = number_name(first - 1) if first else ""
        names = self._reach(self._objects.names, folder, after)
        return max((int(name) for name in names if len(name) == DIGITS and name.isdigit()), default=first - 1)

    def save(self, folder: str, file: BinaryIO) -> Blob:
        """A file's content, put into a folder that holds nothing else. Writes it."""
        hashed, chunks = hashlib.sha256(), 0
        while content := file.read(CHUNK):
            hashed.update(content)
            if not self.create(f"{folder}/{number_name(chunks)}", content):
                raise Interrupted(f"{self.url}/{folder}/{number_name(chunks)} was written by somebody else.")
            chunks += 1
        return Blob(chunks, hashed.hexdigest())

    def load(self, folder: str, blob: Blob, file: BinaryIO) -> None:
        """What was saved, written to a file. Raises Refused where it is not as it was."""
        hashed = hashlib.sha256()
        for number in range(blob.chunks):
            name = f"{folder}/{number_name(number)}"
            if (content := self.read(name)) is None:
                raise Refused(f"{self.url}/{name} is missing; give all workers the same limits.journal, and resume.")
            hashed.update(content)
            file.write(content)
        file.flush()
        if hashed.hexdigest() != blob.sha256:
            raise Refused(f"{self.url}/{folder} has changed since it was written; restore it, or resume.")

    def probe(self, name: str) -> None:
        """Refused where an object can be created twice. Writes one."""
        if not self.create(name, b"1") or self.create(name, b"2") or self.read(name) != b"1":
            raise Refused(f"limits.journal: {self.url} allows overwriting an object; use s3:// on AWS, or file://.")

    def _reach(self, call: Any, *given: Any) -> Any:
        try:
            return call(*given)
        except (RunbookError, MemoryError):
            raise
        except Exception as problem:  # each file system has its own
            raise Interrupted(f"the journal at {self.url} cannot be reached: {_reason(problem)}; fix that.") from None


def number_name(number: int) -> str:
    """Of as many digits always, so that names are in the order of their numbers."""
    return f"{number:0{DIGITS}}"


def _open(url: str) -> "_Folder | _Bucket | _Other":
    """The objects below a URL: `put` says whether it has created one, `get` gives one or None, `names` those after a name."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return _Folder(Path(unquote(parts.path)))
    if parts.scheme == "s3":
        return _Bucket(parts.netloc, parts.path.strip("/"))
    return _Other(url)


def _reason(problem: Exception) -> str:
    """Without what was sent."""
    told = getattr(problem, "response", None)
    code = told.get("Error", {}).get("Code") if isinstance(told, dict) else None
    return code or getattr(problem, "strerror", None) or type(problem).__name__


class _Folder:
    """Files in a folder of this machine, or one that machines share."""

    def __init__(self, root: Path):
        self._root = root

    def put(self, name: str, content: bytes) -> bool:
        path = self._root / name
        make_folder(path.parent)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            os.link(temporary, path)
        except FileExistsError:
            return False
        finally:
            os.unlink(temporary)
        sync_folder(path.parent)
        return True

    def get(self, name: str) -> bytes | None:
        try:
            return (self._root / name).read_bytes()
        except FileNotFoundError:
            return None

    def names(self, folder: str, after: str) -> list[str]:
        try:
            return [name for name in os.listdir(self._root / folder) if name > after]
        except FileNotFoundError:
            return []


class _Bucket:
    """Objects below a prefix of an S3 bucket. The credentials are this process's own, found as boto3 finds them."""

    def __init__(self, name: str, prefix: str):
        import boto3
        from botocore.config import Config
        from botocore.exceptions import ClientError

        retries = {"mode": "standard", "total_max_attempts": 5}
        config = Config(connect_timeout=5, read_timeout=30, retries=retries, max_pool_connections=PARALLEL)
        self._client = boto3.session.Session().client("s3", config=config)
        self._name, self._prefix, self._refused = name, f"{prefix}/" if prefix else "", ClientError

    def put(self, name: str, content: bytes) -> bool:
        for pause in (*UNDER_WAY, None):
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
        try:
            return self._client.get_object(**self._at(name))["Body"].read()
        except self._client.exceptions.NoSuchKey:
            return None

    def names(self, folder: str, after: str) -> list[str]:
        first = f"{self._prefix}{folder}/"
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._name, Prefix=first, StartAfter=first + after
        )
        return [found["Key"].removeprefix(first) for page in pages for found in page.get("Contents", ())]

    def _at(self, name: str) -> dict[str, Any]:
        return {"Bucket": self._name, "Key": self._prefix + name}


class _Other:
    """A file system of fsspec."""

    def __init__(self, url: str):
        import fsspec

        self._files, self._root = fsspec.core.url_to_fs(url, use_listings_cache=False, skip_instance_cache=True)
        kind = type(self._files)
        pipe = getattr(kind, "_pipe_file", None) or kind.pipe_file  # the asynchronous ones have the first
        if pipe.__module__.startswith("fsspec.") or "mode" not in signature(pipe).parameters:
            raise Refused(
                f"limits.journal: {urlsplit(url).scheme}:// cannot create an object only where none exists; "
                "use s3://, or file:// where driver and workers share a folder."
            )

    def put(self, name: str, content: bytes) -> bool:
        try:
            self._files.pipe_file(f"{self._root}/{name}", content, mode="create")
        except FileExistsError:
            return False
        return True

    def get(self, name: str) -> bytes | None:
        try:
            return self._files.cat_file(f"{self._root}/{name}")
        except FileNotFoundError:
            return None

    def names(self, folder: str, after: str) -> list[str]:
        self._files.invalidate_cache()
        try:
            found = self._files.ls(f"{self._root}/{folder}", detail=False)
        except FileNotFoundError:
            return []
        return [name for name in (path.rpartition("/")[2] for path in found) if name > after]
