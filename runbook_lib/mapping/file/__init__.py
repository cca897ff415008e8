"""Reading a mapping file: its form, its names, and rules that can never work."""
