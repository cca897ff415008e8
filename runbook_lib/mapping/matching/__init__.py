"""Natural keys: what of the items of the target tells which source item each of them is."""
