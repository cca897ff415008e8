"""A run as a whole: its status, its files, the index of all runs."""
