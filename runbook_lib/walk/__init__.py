"""Every page of the source through its routes to a last step."""
