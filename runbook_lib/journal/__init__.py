"""The record of what a run did, and the readings of it: state, lists, look-up, checkpoint, audit, repair."""
