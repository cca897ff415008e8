"""Items of the target that have the place of source items: whether they are as they were when they were matched."""
