"""The reader of a table's stream: its shards, parents first, from a position that is plain JSON."""

from .positions import Position, Positions
from .reader import Batch, Newest, StreamReader
from .records import Record
from .stream import Stream, open_stream

__all__ = ["Batch", "Newest", "Position", "Positions", "Record", "Stream", "StreamReader", "open_stream"]
