"""What 00 shows and writes as JSON."""
