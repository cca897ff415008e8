"""The runbook's helper package. Importing it loads nothing heavy: pandas, matplotlib and papermill come when needed."""

__version__ = "0.1.0"
