"""Relationships in the journal: eight bytes an id, so that they can be counted after any crash."""

import base64
from binascii import b2a_base64

from ..mapping.ids import id_hash
from ..mapping.references import LINK_BYTES as WIDTH
from ..mapping.references import NOWHERE
from ..mapping.routes import Row
from ..run.spill import HashLog
from .log import CONFLICT, FAILED, REPLACED, Intent


def encode(row: Row) -> str:
    """Base64 of a hash of the row's own id, then one of each id it refers to."""
    own = row.link or (id_hash(row.entry, row.old, WIDTH) if row.old else NOWHERE)
    links = own + b"".join([found.link for found in row.references])
    return b2a_base64(links, newline=False).decode()


class Relations:
    """References of items that arrived: inserted or already there."""

    def __init__(self) -> None:
        """Counts what `add` is given."""
        self._parents, self._asked = HashLog(WIDTH), HashLog(WIDTH)

    def add(self, intent: Intent) -> None:
        """Takes an intent with its outcome."""
        parents, asked = [], []
        for row, letter in zip(intent.rows, intent.outcome, strict=True):
            if letter in (FAILED, REPLACED):
                continue
            blob = base64.b64decode(row.ids)
            if (own := blob[:WIDTH]) != NOWHERE:
                parents.append(own)
            if letter != CONFLICT and len(blob) > WIDTH:
                asked += [blob[at : at + WIDTH] for at in range(WIDTH, len(blob), WIDTH)]
        self._parents.extend(parents)
        self._asked.extend(asked)

    def count(self) -> tuple[int, int]:
        """(references, those of them whose parent is in the target as well)."""
        total = len(self._asked)
        return total, total - len(self._asked.missing_from(self._parents))
