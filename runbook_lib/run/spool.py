"""Objects in the order in which they came, of any number: in memory up to a limit, then in a file without a name."""

import tempfile
from collections.abc import Iterator
from typing import Any

import orjson

SPOOL_BYTES = 1_000_000


class Spool:
    """JSON objects, appended and read again. Not thread-safe."""

    def __init__(self) -> None:
        """Writes to the temporary folder above SPOOL_BYTES; what it writes goes with the object."""
        self._file = tempfile.SpooledTemporaryFile(SPOOL_BYTES)  # noqa: SIM115
        self._number = 0

    def append(self, content: dict[str, Any]) -> None:
        """Adds one object."""
        self._file.write(orjson.dumps(content) + b"\n")
        self._number += 1

    def __len__(self) -> int:
        return self._number

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self._file.seek(0)
        for line in self._file:
            yield orjson.loads(line)
        self._file.seek(0, 2)
