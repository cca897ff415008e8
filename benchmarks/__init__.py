"""What the program costs, side by side with what else one could do: `python -m benchmarks`; see docs/performance.md."""
