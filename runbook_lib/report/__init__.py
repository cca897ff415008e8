"""A run's results as JSON, HTML and pictures."""
