"""04: compare both sides, item by item."""
