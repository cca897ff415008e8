"""03: insert everything, resume, try failed items again, bring the target up to date."""
