"""The reader of a table's stream: its shards, parents first, from a position that is plain JSON."""
