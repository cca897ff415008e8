"""What every view is drawn with."""
