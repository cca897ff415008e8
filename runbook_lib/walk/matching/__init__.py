"""Natural keys: which source items the target has already, found before the first insert."""
