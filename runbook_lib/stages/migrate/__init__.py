"""03: insert everything, resume, try failed items again, catch up with changes."""
