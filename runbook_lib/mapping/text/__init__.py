"""Text in a mapping and in items: paths, templates, JSON, conversions, dates. Pure."""
