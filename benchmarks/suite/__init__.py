"""The benchmarks that ``python -m benchmarks`` runs, each against the plain implementation in `benchmarks.baseline`."""
