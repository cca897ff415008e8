"""One writer at a time: of a target table on this machine, and across machines."""
