"""00: the mapping file that the source tables suggest. Reads the source; writes the file."""
