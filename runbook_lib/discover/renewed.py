"""The ids of the source that get new ones, as hashes that are the same in every process: they are kept in a journal."""

from array import array
from collections import defaultdict
from collections.abc import Iterable
from hashlib import blake2b
from zlib import crc32

from ..run.spill import HashLog
from .text.tokens import TEXT, as_number, is_recognisable

HASH_BYTES, CODE_BYTES = 12, 8


class Renewed:
    """The ids of the source that get new ones, by entry: their hashes, and the codes of the bare ones."""

    def __init__(self) -> None:
        """None yet."""
        self.hashes: dict[str, HashLog] = defaultdict(lambda: HashLog(HASH_BYTES))
        self.codes: dict[str, HashLog] = defaultdict(lambda: HashLog(CODE_BYTES))

    @property
    def entries(self) -> list[str]:
        """Whose ids there are."""
        return sorted({*self.hashes, *self.codes})

    def add(self, entry: str, hashes: bytes, codes: bytes) -> None:
        """Adds what `hashed` gave for some ids of an entry. Thread-safe after the first ids of the entry."""
        for log, blob in ((self.hashes, hashes), (self.codes, codes)):
            if blob:
                log[entry].extend_packed(blob)


def hashed(ids: Iterable[str]) -> tuple[bytes, bytes]:
    """Hashes of the ids that can be recognised, and codes of the bare ones; the same in every process."""
    hashes, codes = [], array("q")
    for text in ids:
        if is_recognisable(text):
            hashes.append(hash_of(text))
        else:
            codes.append(bare_code(text))
    return b"".join(hashes), codes.tobytes()


def hash_of(text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    return crc32(data).to_bytes(4, "big") + blake2b(data, digest_size=HASH_BYTES - 4).digest()


def bare_code(text: str) -> int:
    number = as_number(text)
    return number if number is not None else crc32(text.encode("utf-8", "surrogatepass")) | TEXT
