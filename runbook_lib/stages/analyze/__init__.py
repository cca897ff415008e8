"""01: the walk that only observes."""
