"""What texts and names say by themselves: ids in them, the templates they follow, which entry a name speaks for."""
