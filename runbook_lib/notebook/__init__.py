"""What a notebook imports, and how a notebook is executed and exported."""
