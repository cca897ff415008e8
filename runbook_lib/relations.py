"""Relationships in the journal: eight bytes an id, so that they can be counted after any crash."""

import base64

from .hashlog import HashLog
from .journal import CONFLICT, FAILED, REPLACED
from .lookups import id_hash
from .routes import Row
from .stage import Stage

WIDTH = 8
_NOWHERE = b"\0" * WIDTH  # a reference for which no entry could be told, or an item without an id


def encode(row: Row) -> str:
    """Base64 of a hash of the row's own id, then one of each id it refers to."""
    blob = id_hash(row.entry, row.old, WIDTH) if row.old else _NOWHERE
    for found in row.references:
        blob += id_hash(found.parent, found.old, WIDTH) if found.old else _NOWHERE
    return base64.b64encode(blob).decode()


def count(stage: Stage) -> tuple[int, int]:
    """(references of items that arrived, those of them whose parent is in the target as well).

    An item arrived when it was inserted or already there. Read-only.
    """
    parents, asked = HashLog(WIDTH), HashLog(WIDTH)
    for _, intent in stage.intents(final=True):
        for row, letter in zip(intent.rows, intent.outcome, strict=True):
            if letter in (FAILED, REPLACED):
                continue
            blob = base64.b64decode(row.ids)
            parents.extend([blob[:WIDTH]] if blob[:WIDTH] != _NOWHERE else [])
            if letter != CONFLICT:
                asked.extend(blob[at : at + WIDTH] for at in range(WIDTH, len(blob), WIDTH))
    total = len(asked)
    return total, total - len(asked.missing_from(parents))
