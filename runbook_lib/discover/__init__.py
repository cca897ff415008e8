"""Looks at the data whatever the mapping says: what stands at every path, and which of it are ids of other items."""
