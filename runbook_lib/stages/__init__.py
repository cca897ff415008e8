"""What the notebooks do, one file or folder a stage."""
