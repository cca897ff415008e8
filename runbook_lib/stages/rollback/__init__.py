"""05: undo, restore, delete tables."""
