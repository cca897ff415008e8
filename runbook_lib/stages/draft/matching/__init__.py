"""00: attributes by which items of the source may be items that the target holds already. Reads both sides."""
