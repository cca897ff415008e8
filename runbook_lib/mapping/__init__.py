"""What moves: a mapping file, checked, and compiled to pure functions from a source item to a target item."""
